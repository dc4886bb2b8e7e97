/* BSR plans at every level: oracle bounds, tails, guard pages, threads, blocks of any extents, the
 * bytes of CSR, checks, the way back. */
#define KIT_ONE_ROUND /* plans go through the places with their pools */
#include "kernelkit.h"

#include "dns/bsr.h"
#include "dns/csr.h"

/* The block of a test's weights; kit_weights.ctx points to one. */
typedef struct extents {
    size_t r, c;
} extents;

/* A caller's blocks in guarded memory. */
typedef struct arrays {
    int64_t *indptr, *indices;
    float *values;
    dns_bsr view;
    kit_guard memory[3];
} arrays;

static bool
any_in_block(const kit_weights *k, size_t i0, size_t j0, extents e)
{
    for (size_t i = i0; i < i0 + e.r && i < k->rows; i++) {
        for (size_t j = j0; j < j0 + e.c && j < k->cols; j++) {
            if (k->w[i * k->cols + j] != 0.0F) {
                return true;
            }
        }
    }
    return false;
}

/* Blocks that hold a non-zero; what lies beyond the matrix is NaN, which a plan must ignore. */
static arrays
arrays_new(const kit_weights *k, extents e)
{
    const size_t rows = (k->rows + e.r - 1) / e.r;
    const size_t cols = (k->cols + e.c - 1) / e.c;
    size_t blocks = 0;
    for (size_t i = 0; i < rows * cols; i++) {
        blocks += any_in_block(k, i / cols * e.r, i % cols * e.c, e);
    }
    arrays a;
    a.memory[0] = kit_guard_new(rows + 1, sizeof *a.indptr);
    a.memory[1] = kit_guard_new(blocks, sizeof *a.indices);
    a.memory[2] = kit_guard_new(blocks * e.r * e.c, sizeof *a.values);
    a.indptr = a.memory[0].data;
    a.indices = a.memory[1].data;
    a.values = a.memory[2].data;
    size_t n = 0;
    for (size_t i = 0; i < rows; i++) {
        a.indptr[i] = (int64_t)n;
        for (size_t j = 0; j < cols; j++) {
            if (!any_in_block(k, i * e.r, j * e.c, e)) {
                continue;
            }
            for (size_t p = 0; p < e.r * e.c; p++) {
                const size_t row = i * e.r + p / e.c;
                const size_t col = j * e.c + p % e.c;
                a.values[n * e.r * e.c + p] =
                    row < k->rows && col < k->cols ? k->w[row * k->cols + col] : NAN;
            }
            a.indices[n++] = (int64_t)j;
        }
    }
    a.indptr[rows] = (int64_t)n;
    a.view = (dns_bsr){k->rows, k->cols, e.r, e.c, n, a.indptr, a.indices, a.values};
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
    arrays a = arrays_new(k, *(const extents *)k->ctx);
    const dns_status status = dns_bsr_plan_create(&a.view, k->bias, k->act, isa, alloc, out, err);
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
    extents block = {4, 1};
    kit_weights k = kit_weights_new(37, 53, 0.1, &state);
    k.bias = bias;
    k.act = (dns_act){-0.75F, 1.25F};
    k.ctx = &block;
    kit_plan_check(create, &k, 2 * 64 + 33, 1);
    kit_weights_free(&k);
}

/* Every number of rows and of columns around the vectors, for one vector and two. */
static void
test_every_extent(void)
{
    extents blocks[2] = {{4, 1}, {3, 5}};
    kit_every_extent(create, 0.2, &blocks[0]);
    kit_every_extent(create, 0.2, &blocks[1]);
}

static void
test_shapes_blocks_and_densities(void)
{
    static const struct {
        size_t rows, cols, n;
        double density;
        extents block;
    } cases[] = {{1, 1, 3, 1.0, {4, 1}},        {1, 700, 5, 0.5, {1, 1}},
                 {300, 1, 5, 0.5, {8, 4}},      {129, 300, 70, 0.0, {4, 1}},
                 {0, 5, 3, 0.5, {4, 1}},        {5, 0, 3, 0.5, {4, 1}},
                 {257, 1300, 66, 0.1, {8, 1}},  {130, 2000, 65, 0.002, {16, 1}},
                 {64, 64, 64, 1.0, {16, 4}},    {500, 90, 129, 0.03, {3, 7}},
                 {300, 700, 300, 0.1, {4, 1}},  {61, 5001, 17, 0.001, {5, 2}},
                 {47, 900, 49, 0.01, {6, 300}}, {23, 19, 65, 0.2, {100, 100}}};
    uint64_t state = 2;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        extents block = cases[c].block;
        kit_weights k = kit_weights_new(cases[c].rows, cases[c].cols, cases[c].density, &state);
        k.ctx = &block;
        kit_plan_check(create, &k, cases[c].n, cases[c].n);
        kit_weights_free(&k);
    }
}

/* A product on a pool of no threads, into y [rows][n]. */
static void
execute(const dns_plan *plan, size_t n, const float *x, float *y)
{
    size_t bytes = 0;
    REQUIRE(dns_plan_workspace(plan, DNS_COLUMNS, n, 1, &bytes, NULL) == DNS_OK);
    void *ws = dns_mem_new(NULL, bytes, 1);
    REQUIRE(ws != NULL);
    const dns_call call = {n, x, (ptrdiff_t)n, y, (ptrdiff_t)n, ws, NULL};
    dns_plan_execute(plan, DNS_COLUMNS, &call);
    dns_mem_free(NULL, ws, bytes, 1);
}

/* With the same stored weights CSR gives the same bytes: same order, same roundings. */
static void
test_blocks_of_one_are_csr(void)
{
    enum { ROWS = 70, COLS = 300, N = 130 };
    uint64_t state = 3;
    extents one = {1, 1};
    kit_weights k = kit_weights_new(ROWS, COLS, 0.2, &state);
    k.ctx = &one;
    arrays a = arrays_new(&k, one);
    const dns_csr csr = {ROWS, COLS, a.view.n_blocks, a.indptr, a.indices, a.values};
    float *x = malloc(COLS * N * sizeof *x);
    float *y = malloc(2 * ROWS * N * sizeof *y);
    REQUIRE(x != NULL && y != NULL);
    for (size_t i = 0; i < (size_t)COLS * N; i++) {
        x[i] = kit_float(&state);
    }
    KIT_FOR_EACH_LEVEL(isa)
    {
        for (size_t n = 1; n <= N; n += N - 1) {
            dns_plan *plans[2] = {NULL, NULL};
            REQUIRE(create(&k, isa, NULL, &plans[0], NULL) == DNS_OK);
            REQUIRE(dns_csr_plan_create(&csr, NULL, k.act, isa, NULL, &plans[1], NULL) == DNS_OK);
            execute(plans[0], n, x, y);
            execute(plans[1], n, x, y + ROWS * N);
            CHECK(memcmp(y, y + ROWS * N, ROWS * n * sizeof *y) == 0);
            dns_plan_destroy(plans[0]);
            dns_plan_destroy(plans[1]);
        }
    }
    free(y);
    free(x);
    arrays_free(&a);
    kit_weights_free(&k);
}

/* A column computed alone has the bytes it has among others. */
static void
test_columns_do_not_meet(void)
{
    enum { ROWS = 43, COLS = 700, N = 67 };
    uint64_t state = 4;
    extents block = {4, 1};
    kit_weights k = kit_weights_new(ROWS, COLS, 0.1, &state);
    k.ctx = &block;
    float *x = malloc(COLS * N * sizeof *x);
    float *column = malloc(COLS * sizeof *column);
    float *y = malloc(ROWS * (N + 1) * sizeof *y);
    REQUIRE(x != NULL && column != NULL && y != NULL);
    for (size_t i = 0; i < (size_t)COLS * N; i++) {
        x[i] = kit_float(&state);
    }
    KIT_FOR_EACH_LEVEL(isa)
    {
        dns_plan *plan = NULL;
        REQUIRE(create(&k, isa, NULL, &plan, NULL) == DNS_OK);
        execute(plan, N, x, y);
        for (size_t j = 0; j < N; j += 22) {
            for (size_t i = 0; i < COLS; i++) {
                column[i] = x[i * N + j];
            }
            execute(plan, 1, column, y + (size_t)ROWS * N);
            for (size_t i = 0; i < ROWS; i++) {
                CHECK_F64((double)y[(size_t)ROWS * N + i], (double)y[i * N + j]);
            }
        }
        dns_plan_destroy(plan);
    }
    free(y);
    free(column);
    free(x);
    kit_weights_free(&k);
}

/* Weights of stored blocks are multiplied, zeros among them; absent blocks are not. */
static void
test_not_finite(void)
{
    uint64_t state = 5;
    extents block = {2, 1};
    kit_weights k = kit_weights_new(4, 2, 0.0, &state);
    k.act = (dns_act){0.0F, 6.0F};
    k.ctx = &block;
    k.w[0] = 1.0F; /* block row 0, column 0 */
    const float x[2] = {INFINITY, 1.0F};
    KIT_FOR_EACH_LEVEL(isa)
    {
        dns_plan *plan = NULL;
        REQUIRE(create(&k, isa, NULL, &plan, NULL) == DNS_OK);
        float y[4] = {9.0F, 9.0F, 9.0F, 9.0F};
        execute(plan, 1, x, y);
        CHECK_F64((double)y[0], 6.0);
        CHECK(isnan(y[1]));
        CHECK_F64((double)y[2], 0.0);
        CHECK_F64((double)y[3], 0.0);
        dns_plan_destroy(plan);
    }
    kit_weights_free(&k);
}

static void
check_comes_back(const kit_weights *k, extents e, dns_isa isa, float *dense)
{
    arrays a = arrays_new(k, e);
    arrays b = arrays_new(k, e);
    const size_t n_values = a.view.n_blocks * e.r * e.c;
    size_t r = 0;
    size_t c = 0;
    size_t n_blocks = 0;
    dns_plan *plan = NULL;
    REQUIRE(create(k, isa, NULL, &plan, NULL) == DNS_OK);
    dns_plan_to_dense(plan, dense);
    CHECK(memcmp(dense, k->w, k->rows * k->cols * sizeof *dense) == 0);
    CHECK(dns_bsr_plan_blocks(plan, &r, &c, &n_blocks, NULL) == DNS_OK);
    CHECK(r == e.r && c == e.c && n_blocks == a.view.n_blocks);
    memset(b.indptr, 0x7f, ((k->rows + e.r - 1) / e.r + 1) * sizeof *b.indptr);
    memset(b.indices, 0x7f, n_blocks * sizeof *b.indices);
    memset(b.values, 0x7f, n_values * sizeof *b.values);
    CHECK(dns_bsr_plan_unpack(plan, b.indptr, b.indices, b.values, NULL) == DNS_OK);
    CHECK(memcmp(a.indptr, b.indptr, ((k->rows + e.r - 1) / e.r + 1) * sizeof *a.indptr) == 0);
    CHECK(memcmp(a.indices, b.indices, n_blocks * sizeof *a.indices) == 0);
    size_t stored = 0;
    for (size_t i = 0; i < n_values; i++) {
        stored += !isnan(a.values[i]);
        CHECK_F64((double)b.values[i], isnan(a.values[i]) ? 0.0 : (double)a.values[i]);
    }
    CHECK_I64(plan->nnz, stored);
    dns_plan_destroy(plan);
    arrays_free(&a);
    arrays_free(&b);
}

static void
test_weights_come_back(void)
{
    static const extents blocks[] = {{4, 1}, {1, 1}, {9, 2}, {16, 37}, {200, 1}};
    uint64_t state = 6;
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        extents e = blocks[i];
        kit_weights k = kit_weights_new(141, 900, 0.01, &state);
        k.ctx = &e;
        float *dense = malloc(k.rows * k.cols * sizeof *dense);
        REQUIRE(dense != NULL);
        KIT_FOR_EACH_LEVEL(isa)
        {
            check_comes_back(&k, e, isa, dense);
        }
        free(dense);
        kit_weights_free(&k);
    }
}

static void
check_refused(const dns_bsr *w, dns_status status, int64_t row, const char *message)
{
    dns_error err;
    dns_plan *plan = NULL;
    const dns_act act = {-1.0F, 1.0F};
    CHECK_I64(dns_bsr_plan_create(w, NULL, act, DNS_ISA_GENERIC, NULL, &plan, &err), status);
    CHECK(plan == NULL);
    CHECK_I64(err.index, row);
    CHECK_STR(err.message, message);
}

static void
test_bad_matrices_are_refused(void)
{
    const float values[8] = {1.0F};
    const int64_t indptr[3] = {0, 1, 2};
    const int64_t columns[2] = {0, 2};
    dns_bsr w = {3, 4, 2, 2, 2, indptr, columns, values};
    check_refused(&w, DNS_ERR_FORMAT, 1,
                  "indices: row 1: expected ascending columns below 2 without repeats, got 2");
    w.n_blocks = 3;
    w.cols = 6;
    check_refused(&w, DNS_ERR_FORMAT, 1,
                  "indptr: row 1: expected the last pointer to be the number of weights 3, got 2");
    w.r = 0;
    check_refused(&w, DNS_ERR_VALUE, -1, "block: expected extents in [1, 4096], got 0 x 2");
    w.r = 4097;
    check_refused(&w, DNS_ERR_VALUE, -1, "block: expected extents in [1, 4096], got 4097 x 2");
    w = (dns_bsr){3, 4, 64, 64, (size_t)1 << 19, indptr, columns, values};
    check_refused(
        &w, DNS_ERR_VALUE, -1,
        "W: expected extents and stored weights below 2^31, got 3 x 4 with 524288 blocks");
    size_t n = 0;
    dns_error err;
    const int64_t none[2] = {0, 0};
    const dns_csr other = {1, 1, 0, none, none, values};
    dns_plan *plan = NULL;
    REQUIRE(dns_csr_plan_create(&other, NULL, (dns_act){0.0F, 1.0F}, DNS_ISA_GENERIC, NULL, &plan,
                                &err) == DNS_OK);
    CHECK_I64(dns_bsr_plan_blocks(plan, &n, &n, &n, &err), DNS_ERR_VALUE);
    CHECK_STR(err.message, "plan: expected format bsr, got csr");
    CHECK_I64(dns_bsr_plan_unpack(plan, NULL, NULL, NULL, &err), DNS_ERR_VALUE);
    dns_plan_destroy(plan);
}

static void
test_oom_bsr(void)
{
    uint64_t state = 8;
    extents block = {4, 2};
    kit_weights k = kit_weights_new(20, 30, 0.5, &state);
    k.ctx = &block;
    kit_life life = {create, &k};
    CHECK(tap_oom_sweep(kit_plan_life, &life) > 5);
    kit_weights_free(&k);
}

TAP_MAIN(TAP(test_every_tail), TAP(test_every_extent), TAP(test_shapes_blocks_and_densities),
         TAP(test_blocks_of_one_are_csr), TAP(test_columns_do_not_meet), TAP(test_not_finite),
         TAP(test_weights_come_back), TAP(test_bad_matrices_are_refused), TAP(test_oom_bsr))
