/* CSR plans at every level: oracle bounds, tails, guard pages, threads, checks, the way back. */
#define KIT_ONE_ROUND /* plans go through the places with their pools */
#include "kernelkit.h"

#include "dns/csr.h"

/* A caller's matrix made from dense weights, in guarded memory; `keep_zeros` stores every element.
 */
typedef struct arrays {
    int64_t *indptr, *indices;
    float *values;
    dns_csr view;
    kit_guard memory[3];
} arrays;

static arrays
arrays_new(const kit_weights *k, bool keep_zeros)
{
    size_t nnz = 0;
    for (size_t i = 0; i < k->rows * k->cols; i++) {
        nnz += k->w[i] != 0.0F || keep_zeros;
    }
    arrays a;
    a.memory[0] = kit_guard_new(k->rows + 1, sizeof *a.indptr);
    a.memory[1] = kit_guard_new(nnz, sizeof *a.indices);
    a.memory[2] = kit_guard_new(nnz, sizeof *a.values);
    a.indptr = a.memory[0].data;
    a.indices = a.memory[1].data;
    a.values = a.memory[2].data;
    int64_t n = 0;
    for (size_t i = 0; i < k->rows; i++) {
        a.indptr[i] = n;
        for (size_t j = 0; j < k->cols; j++) {
            const float v = k->w[i * k->cols + j];
            if (v != 0.0F || keep_zeros) {
                a.indices[n] = (int64_t)j;
                a.values[n++] = v;
            }
        }
    }
    a.indptr[k->rows] = n;
    a.view = (dns_csr){k->rows, k->cols, (size_t)n, a.indptr, a.indices, a.values};
    return a;
}

static void
arrays_free(arrays *a)
{
    for (size_t i = 0; i < 3; i++) {
        kit_guard_free(a->memory[i]);
    }
}

static dns_status
create(const kit_weights *k, dns_isa isa, const dns_alloc *alloc, dns_plan **out, dns_error *err)
{
    arrays a = arrays_new(k, k->ctx != NULL);
    const dns_status status = dns_csr_plan_create(&a.view, k->bias, k->act, isa, alloc, out, err);
    arrays_free(&a);
    return status;
}

/* Every number of columns around the vectors and panels of all levels. */
static void
test_every_tail(void)
{
    uint64_t state = 1;
    float bias[37];
    for (size_t i = 0; i < 37; i++) {
        bias[i] = kit_float(&state);
    }
    kit_weights k = kit_weights_new(37, 53, 0.3, &state);
    k.bias = bias;
    k.act = (dns_act){-0.75F, 1.25F};
    kit_plan_check(create, &k, 2 * 64 + 33, 1);
    kit_weights_free(&k);
}

/* Every number of rows and of columns around the vectors, for one vector and two. */
static void
test_every_extent(void)
{
    kit_every_extent(create, 0.5, NULL);
}

static void
test_shapes_and_densities(void)
{
    static const struct {
        size_t rows, cols, n;
        double density;
    } cases[] = {{1, 1, 3, 1.0},       {1, 700, 5, 0.5},      {300, 1, 5, 0.5},
                 {129, 300, 70, 0.0},  {0, 5, 3, 0.5},        {5, 0, 3, 0.5},
                 {257, 1300, 66, 0.3}, {130, 2000, 65, 0.01}, {64, 64, 64, 1.0},
                 {500, 90, 129, 0.1},  {300, 700, 600, 0.4}};
    uint64_t state = 2;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        kit_weights k = kit_weights_new(cases[c].rows, cases[c].cols, cases[c].density, &state);
        kit_plan_check(create, &k, cases[c].n, cases[c].n);
        kit_weights_free(&k);
    }
}

/* Rows of very different lengths pair up badly; the last rows of a group stand alone. */
static void
test_skewed_rows(void)
{
    uint64_t state = 3;
    kit_weights k = kit_weights_new(261, 400, 0.0, &state);
    for (size_t i = 0; i < k.rows; i++) {
        const size_t n = i % 5 == 0 ? k.cols : i % 7;
        for (size_t j = 0; j < n; j++) {
            k.w[i * k.cols + (n == k.cols ? j : j * 57)] = kit_float(&state);
        }
    }
    kit_plan_check(create, &k, 67, 66);
    kit_weights_free(&k);
}

/* More columns than 16 bits count, with rows that end in either strip; one vector and two. */
static void
test_wide_matrix(void)
{
    uint64_t state = 10;
    kit_weights k = kit_weights_new(35, 66000, 0.004, &state);
    for (size_t i = 0; i < k.rows; i += 3) {
        memset(k.w + i * k.cols + 60000, 0, 6000 * sizeof *k.w);
    }
    k.act = (dns_act){-1.0F, 1.0F};
    kit_plan_check(create, &k, 2, 1);
    kit_weights_free(&k);
}

/* The sum of an output depends neither on how many columns are computed together nor on whether the
 * vectors lie in columns or in rows. */
static void
test_columns_do_not_meet(void)
{
    enum { ROWS = 70, COLS = 300, N = 130 };
    uint64_t state = 4;
    kit_weights k = kit_weights_new(ROWS, COLS, 0.2, &state);
    float *x = malloc(COLS * N * sizeof *x);
    float *y = malloc(ROWS * N * sizeof *y);
    float *one = malloc(ROWS * sizeof *one);
    float *x_rows = malloc(COLS * N * sizeof *x_rows);
    float *y_rows = malloc(ROWS * N * sizeof *y_rows);
    REQUIRE(x != NULL && y != NULL && one != NULL && x_rows != NULL && y_rows != NULL);
    for (size_t i = 0; i < (size_t)COLS * N; i++) {
        x[i] = kit_float(&state);
        x_rows[i % N * COLS + i / N] = x[i];
    }
    KIT_FOR_EACH_LEVEL(isa)
    {
        dns_plan *plan = NULL;
        REQUIRE(create(&k, isa, NULL, &plan, NULL) == DNS_OK);
        size_t bytes = 0; /* rows need the most */
        REQUIRE(dns_plan_workspace(plan, DNS_ROWS, N, 1, &bytes, NULL) == DNS_OK);
        void *ws = dns_mem_new(NULL, bytes, 1);
        REQUIRE(ws != NULL);
        const dns_call all = {N, x, N, y, N, ws, NULL};
        dns_plan_execute(plan, DNS_COLUMNS, &all);
        const dns_call rows = {N, x_rows, COLS, y_rows, ROWS, ws, NULL};
        dns_plan_execute(plan, DNS_ROWS, &rows);
        for (size_t i = 0; i < (size_t)ROWS * N; i++) {
            CHECK_F64((double)y_rows[i % N * ROWS + i / N], (double)y[i]);
        }
        for (size_t j = 0; j < N; j += 43) {
            const dns_call column = {1, x + j, N, one, 1, ws, NULL};
            dns_plan_execute(plan, DNS_COLUMNS, &column);
            for (size_t i = 0; i < ROWS; i++) {
                CHECK_F64((double)one[i], (double)y[i * N + j]);
            }
        }
        dns_mem_free(NULL, ws, bytes, 1);
        dns_plan_destroy(plan);
    }
    free(y_rows);
    free(x_rows);
    free(one);
    free(y);
    free(x);
    kit_weights_free(&k);
}

/* Stored zeros are multiplied, absent weights are not; the activation keeps NaN. */
static void
test_not_finite(void)
{
    uint64_t state = 5;
    kit_weights k = kit_weights_new(3, 2, 0.0, &state);
    k.act = (dns_act){0.0F, 6.0F};
    float stored = 0.0F;
    const float x[2] = {INFINITY, 1.0F};
    KIT_FOR_EACH_LEVEL(isa)
    {
        for (int keep = 0; keep < 2; keep++) {
            dns_plan *plan = NULL;
            k.ctx = keep ? &stored : NULL;
            k.w[2] = 1.0F; /* row 1 */
            REQUIRE(create(&k, isa, NULL, &plan, NULL) == DNS_OK);
            float y[3] = {9.0F, 9.0F, 9.0F};
            float ws[2 * 64];
            const dns_call call = {1, x, 1, y, 1, ws, NULL};
            dns_plan_execute(plan, DNS_COLUMNS, &call);
            CHECK(keep ? isnan(y[0]) != 0 : y[0] == 0.0F);
            CHECK_F64((double)y[1], 6.0);
            dns_plan_destroy(plan);
        }
    }
    kit_weights_free(&k);
}

static void
test_weights_come_back(void)
{
    uint64_t state = 6;
    kit_weights k = kit_weights_new(140, 900, 0.05, &state);
    float *dense = malloc(k.rows * k.cols * sizeof *dense);
    REQUIRE(dense != NULL);
    KIT_FOR_EACH_LEVEL(isa)
    {
        arrays a = arrays_new(&k, false);
        arrays b = arrays_new(&k, false);
        dns_plan *plan = NULL;
        REQUIRE(create(&k, isa, NULL, &plan, NULL) == DNS_OK);
        CHECK_I64(plan->nnz, a.view.nnz);
        dns_plan_to_dense(plan, dense);
        CHECK(memcmp(dense, k.w, k.rows * k.cols * sizeof *dense) == 0);
        memset(b.indptr, 0x7f, (k.rows + 1) * sizeof *b.indptr);
        memset(b.indices, 0x7f, a.view.nnz * sizeof *b.indices);
        memset(b.values, 0x7f, a.view.nnz * sizeof *b.values);
        CHECK(dns_csr_plan_unpack(plan, b.indptr, b.indices, b.values, NULL) == DNS_OK);
        CHECK(memcmp(a.indptr, b.indptr, (k.rows + 1) * sizeof *a.indptr) == 0);
        CHECK(memcmp(a.indices, b.indices, a.view.nnz * sizeof *a.indices) == 0);
        CHECK(memcmp(a.values, b.values, a.view.nnz * sizeof *a.values) == 0);
        dns_plan_destroy(plan);
        arrays_free(&a);
        arrays_free(&b);
    }
    free(dense);
    kit_weights_free(&k);
}

static void
check_refused(const int64_t *indptr, const int64_t *indices, size_t nnz, int64_t row,
              const char *message)
{
    const float values[4] = {1.0F, 2.0F, 3.0F, 4.0F};
    const dns_csr w = {2, 3, nnz, indptr, indices, values};
    dns_error err;
    dns_plan *plan = NULL;
    CHECK_I64(
        dns_csr_plan_create(&w, NULL, (dns_act){-1.0F, 1.0F}, DNS_ISA_GENERIC, NULL, &plan, &err),
        DNS_ERR_FORMAT);
    CHECK(plan == NULL);
    CHECK_I64(err.index, row);
    CHECK_STR(err.message, message);
}

static void
test_bad_matrices_name_the_row(void)
{
    const int64_t fine[4] = {0, 2, 0, 1};
    check_refused((const int64_t[]){1, 2, 4}, fine, 4, 0,
                  "indptr: row 0: expected a first pointer of 0, got 1");
    check_refused(
        (const int64_t[]){0, 3, 4}, fine, 4, 0,
        "indices: row 0: expected ascending columns below 3 without repeats, got 0 after a "
        "column not below it");
    check_refused((const int64_t[]){0, 2, 1}, fine, 4, 1,
                  "indptr: row 1: expected an end in [2, 4], got 1");
    check_refused((const int64_t[]){0, 2, 5}, fine, 4, 1,
                  "indptr: row 1: expected an end in [2, 4], got 5");
    check_refused((const int64_t[]){0, 2, 3}, fine, 4, 1,
                  "indptr: row 1: expected the last pointer to be the number of weights 4, got 3");
    check_refused(
        (const int64_t[]){0, 2, 4}, (const int64_t[]){0, 2, 1, 1}, 4, 1,
        "indices: row 1: expected ascending columns below 3 without repeats, got 1 after a "
        "column not below it");
    check_refused((const int64_t[]){0, 2, 4}, (const int64_t[]){0, 3, 1, 2}, 4, 0,
                  "indices: row 0: expected ascending columns below 3 without repeats, got 3");
    check_refused((const int64_t[]){0, 2, 4}, (const int64_t[]){-1, 2, 1, 2}, 4, 0,
                  "indices: row 0: expected ascending columns below 3 without repeats, got -1");
}

static void
test_sizes_and_activation_are_checked(void)
{
    const int64_t zeros[2] = {0, 0};
    const dns_csr wide = {1, (size_t)1 << 31, 0, zeros, zeros, NULL};
    const dns_csr fine = {1, 3, 0, zeros, zeros, NULL};
    dns_plan *plan = NULL;
    dns_error err;
    CHECK_I64(
        dns_csr_plan_create(&wide, NULL, (dns_act){0.0F, 1.0F}, DNS_ISA_GENERIC, NULL, &plan, &err),
        DNS_ERR_VALUE);
    CHECK_I64(
        dns_csr_plan_create(&fine, NULL, (dns_act){1.0F, 0.0F}, DNS_ISA_GENERIC, NULL, &plan, &err),
        DNS_ERR_VALUE);
    CHECK_STR(err.message, "act: expected lo <= hi, got lo = 1, hi = 0");
    CHECK_I64(
        dns_csr_plan_create(&fine, NULL, (dns_act){NAN, 0.0F}, DNS_ISA_GENERIC, NULL, &plan, &err),
        DNS_ERR_VALUE);
    CHECK(plan == NULL);
    REQUIRE(dns_csr_plan_create(&fine, NULL, (dns_act){0.0F, 1.0F}, DNS_ISA_GENERIC, NULL, &plan,
                                &err) == DNS_OK);
    size_t bytes = 77;
    CHECK_I64(dns_plan_workspace(plan, DNS_COLUMNS, SIZE_MAX / 4, 1, &bytes, &err),
              DNS_ERR_OVERFLOW);
    CHECK_I64(bytes, 77);
    dns_plan_destroy(plan);
}

static void
test_oom_csr(void)
{
    uint64_t state = 8;
    kit_weights k = kit_weights_new(20, 30, 0.5, &state);
    kit_life life = {create, &k};
    CHECK(tap_oom_sweep(kit_plan_life, &life) > 5);
    kit_weights_free(&k);
}

static void
test_work_is_counted(void)
{
    uint64_t state = 9;
    kit_weights k = kit_weights_new(64, 64, 1.0, &state);
    dns_plan *plan = NULL;
    REQUIRE(create(&k, DNS_ISA_GENERIC, NULL, &plan, NULL) == DNS_OK);
    const dns_machine machine = {1e9, {4e9, 3e9, 2e9, 1e9}, {1e9, 2e9, 3e9}};
    const dns_work work = dns_plan_work(plan, 10, &machine);
    CHECK_F64(work.flops, 2.0 * 64 * 64 * 10);
    CHECK(work.bytes[0] >= 4.0 * 64 * 64 * 10);
    CHECK_F64(work.bytes[3], 0.0);
    CHECK_F64(dns_roofline(&work, &machine), work.flops / 1e9);
    const dns_machine tiny = {1e15, {4e9, 3e9, 2e9, 1e9}, {1.0, 2.0, 3.0}};
    const dns_work far = dns_plan_work(plan, 10, &tiny);
    CHECK_F64(far.bytes[0], 0.0);
    CHECK_F64(dns_roofline(&far, &tiny), far.bytes[3] / 1e9);
    CHECK_F64(dns_plan_work(plan, 0, &tiny).flops, 0.0);
    dns_plan_destroy(plan);
    kit_weights_free(&k);
}

TAP_MAIN(TAP(test_every_tail), TAP(test_every_extent), TAP(test_shapes_and_densities),
         TAP(test_skewed_rows), TAP(test_wide_matrix), TAP(test_columns_do_not_meet),
         TAP(test_not_finite), TAP(test_weights_come_back), TAP(test_bad_matrices_name_the_row),
         TAP(test_sizes_and_activation_are_checked), TAP(test_oom_csr), TAP(test_work_is_counted))
