/* N:M plans at every level: oracle bounds, tails, guard pages, threads, short last groups, the
 * bytes of CSR, masks with few non-zeros, refusals. */
#define KIT_ONE_ROUND /* plans go through the places with their pools */
#include "kernelkit.h"

#include "dns/csr.h"
#include "dns/nm.h"

/* The pattern of a test's weights; kit_weights.ctx points to one. */
typedef struct pattern {
    size_t n, m;
} pattern;

static dns_status
create(const kit_weights *k, dns_isa isa, const dns_alloc *alloc, dns_plan **out, dns_error *err)
{
    const pattern *p = k->ctx;
    return dns_nm_plan_create(k->w, (ptrdiff_t)k->cols, k->rows, k->cols, p->n, p->m, k->bias,
                              k->act, isa, alloc, out, err);
}

/* Weights that keep to the pattern; a third of the groups have fewer non-zeros than they may. */
static kit_weights
weights_new(size_t rows, size_t cols, pattern *p, uint64_t *state)
{
    kit_weights k = kit_weights_new(rows, cols, 1.0, state);
    k.ctx = p;
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < cols; j += p->m) {
            const size_t width = cols - j < p->m ? cols - j : p->m;
            size_t left = kit_random(state) % 3 == 0 ? kit_random(state) % (p->n + 1) : p->n;
            left = left < width ? left : width;
            for (size_t q = 0; q < width; q++) {
                const bool keep = kit_random(state) % (width - q) < left;
                left -= keep;
                k.w[i * cols + j + q] = keep ? k.w[i * cols + j + q] : 0.0F;
            }
        }
    }
    return k;
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
    pattern p = {2, 4};
    kit_weights k = weights_new(37, 53, &p, &state);
    k.bias = bias;
    k.act = (dns_act){-0.75F, 1.25F};
    kit_plan_check(create, &k, 2 * 64 + 33, 1);
    kit_weights_free(&k);
}

/* Extents of K around words and blocks, where a vector's path has its tails. */
static void
test_every_length_of_a_vector(void)
{
    uint64_t state = 2;
    static pattern patterns[] = {{2, 4}, {1, 4}, {3, 4}, {1, 1}, {1, 2}, {4, 8}, {3, 5}};
    for (size_t c = 0; c < sizeof patterns / sizeof *patterns; c++) {
        for (size_t cols = 1; cols <= 67; cols++) {
            kit_weights k = weights_new(9, cols, &patterns[c], &state);
            kit_plan_check(create, &k, 1, 1);
            kit_weights_free(&k);
        }
    }
}

static void
test_shapes_and_patterns(void)
{
    static const struct {
        size_t rows, cols, n;
        pattern p;
    } cases[] = {{1, 1, 3, {1, 1}},       {1, 700, 5, {2, 4}},    {300, 1, 5, {2, 4}},
                 {129, 300, 70, {1, 4}},  {0, 5, 3, {2, 4}},      {5, 0, 3, {2, 4}},
                 {257, 1300, 66, {2, 4}}, {130, 321, 65, {4, 8}}, {64, 64, 64, {4, 4}},
                 {51, 90, 129, {1, 64}},  {33, 479, 17, {7, 13}}, {300, 700, 300, {2, 4}},
                 {62, 161, 33, {64, 64}}, {40, 400, 128, {3, 7}}};
    uint64_t state = 3;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        pattern p = cases[c].p;
        kit_weights k = weights_new(cases[c].rows, cases[c].cols, &p, &state);
        kit_plan_check(create, &k, cases[c].n, cases[c].n);
        kit_weights_free(&k);
    }
}

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

/* With exactly 2 of 4 weights CSR stores the same ones: same order, same roundings. */
static void
test_two_of_four_is_csr(void)
{
    enum { ROWS = 71, COLS = 400, N = 70, SLOTS = COLS / 2 };
    uint64_t state = 4;
    pattern p = {2, 4};
    kit_weights k = kit_weights_new(ROWS, COLS, 0.0, &state);
    k.ctx = &p;
    int64_t *index = malloc((ROWS + 1 + ROWS * SLOTS) * sizeof *index);
    float *values = malloc(ROWS * SLOTS * sizeof *values);
    float *x = malloc(COLS * N * sizeof *x);
    float *y = malloc(2 * ROWS * N * sizeof *y);
    REQUIRE(index != NULL && values != NULL && x != NULL && y != NULL);
    for (size_t i = 0; i <= ROWS; i++) {
        index[i] = (int64_t)(i * SLOTS);
    }
    for (size_t at = 0; at < (size_t)ROWS * SLOTS; at++) {
        const size_t second = at % 2;
        const size_t column = at % SLOTS / 2 * 4 + second * 2 + kit_random(&state) % 2;
        values[at] = kit_float(&state) + 2.0F;
        index[ROWS + 1 + at] = (int64_t)column;
        k.w[at / SLOTS * COLS + column] = values[at];
    }
    for (size_t i = 0; i < (size_t)COLS * N; i++) {
        x[i] = kit_float(&state);
    }
    const dns_csr csr = {ROWS, COLS, (size_t)ROWS * SLOTS, index, index + ROWS + 1, values};
    KIT_FOR_EACH_LEVEL(isa)
    {
        dns_plan *plans[2] = {NULL, NULL};
        REQUIRE(create(&k, isa, NULL, &plans[0], NULL) == DNS_OK);
        REQUIRE(dns_csr_plan_create(&csr, NULL, k.act, isa, NULL, &plans[1], NULL) == DNS_OK);
        CHECK_I64(plans[0]->nnz, plans[1]->nnz);
        CHECK(plans[0]->bytes < plans[1]->bytes);
        execute(plans[0], N, x, y);
        execute(plans[1], N, x, y + ROWS * N);
        CHECK(memcmp(y, y + ROWS * N, ROWS * N * sizeof *y) == 0);
        dns_plan_destroy(plans[0]);
        dns_plan_destroy(plans[1]);
    }
    free(y);
    free(x);
    free(values);
    free(index);
    kit_weights_free(&k);
}

/* Stored zeros fill the lowest free columns and are multiplied; absent weights are not, for a
 * vector and for a matrix. */
static void
test_not_finite(void)
{
    uint64_t state = 5;
    pattern p = {2, 4};
    kit_weights k = kit_weights_new(2, 8, 0.0, &state);
    k.ctx = &p;
    k.w[1] = 1.0F; /* row 0: columns 0 (a zero) and 1, then 4 and 5 */
    k.w[8] = 1.0F; /* row 1: columns 0 and 1 (a zero), then 5 (a zero is at 4) and 7 */
    k.w[15] = 1.0F;
    KIT_FOR_EACH_LEVEL(isa)
    {
        dns_plan *plan = NULL;
        REQUIRE(create(&k, isa, NULL, &plan, NULL) == DNS_OK);
        CHECK_I64(plan->nnz, 8);
        for (size_t n = 1; n <= 3; n += 2) {
            for (size_t j = 0; j < 8; j++) {
                float x[8 * 3];
                float y[2 * 3];
                for (size_t i = 0; i < 8 * n; i++) {
                    x[i] = i / n == j ? INFINITY : 1.0F;
                }
                execute(plan, n, x, y);
                CHECK((isnan(y[0]) != 0) == (j == 0 || j == 4 || j == 5));
                CHECK((isinf(y[0]) != 0) == (j == 1));
                CHECK((isnan(y[n]) != 0) == (j == 1 || j == 4));
                CHECK((isinf(y[n]) != 0) == (j == 0 || j == 7));
            }
        }
        dns_plan_destroy(plan);
    }
    kit_weights_free(&k);
}

static void
test_weights_come_back(void)
{
    static pattern patterns[] = {{2, 4}, {1, 4}, {5, 9}, {16, 16}};
    uint64_t state = 6;
    for (size_t c = 0; c < 4; c++) {
        kit_weights k = weights_new(45, 501, &patterns[c], &state);
        float *dense = malloc(k.rows * k.cols * sizeof *dense);
        REQUIRE(dense != NULL);
        dns_plan *plan = NULL;
        REQUIRE(create(&k, DNS_ISA_GENERIC, NULL, &plan, NULL) == DNS_OK);
        dns_plan_to_dense(plan, dense);
        CHECK(memcmp(dense, k.w, k.rows * k.cols * sizeof *dense) == 0);
        dns_plan_destroy(plan);
        free(dense);
        kit_weights_free(&k);
    }
}

static void
check_refused(const float *w, size_t cols, pattern p, dns_status status, int64_t row,
              const char *message)
{
    dns_error err;
    dns_plan *plan = NULL;
    const dns_act act = {-1.0F, 1.0F};
    CHECK_I64(
        dns_nm_plan_create(w, 9, 2, cols, p.n, p.m, NULL, act, DNS_ISA_GENERIC, NULL, &plan, &err),
        status);
    CHECK(plan == NULL);
    CHECK_I64(err.index, row);
    CHECK_STR(err.message, message);
}

static void
test_violations_name_row_and_group(void)
{
    float w[18] = {1.0F, 0.0F, 2.0F, -0.0F, 1.0F, 0.0F, 0.0F, 0.0F, 5.0F,
                   0.0F, 0.0F, 0.0F, 0.0F,  1.0F, NAN,  1.0F, 0.0F, 5.0F};
    check_refused(w, 8, (pattern){2, 4}, DNS_ERR_FORMAT, 1,
                  "W: row 1: expected at most 2 non-zeros in the 4 columns from 4 on, got 3");
    w[14] = 0.0F;
    check_refused(w, 9, (pattern){1, 4}, DNS_ERR_FORMAT, 0,
                  "W: row 0: expected at most 1 non-zeros in the 4 columns from 0 on, got 2");
    dns_plan *plan = NULL;
    REQUIRE(dns_nm_plan_create(w, 9, 2, 9, 2, 4, NULL, (dns_act){0.0F, 1.0F}, DNS_ISA_GENERIC, NULL,
                               &plan, NULL) == DNS_OK);
    CHECK_I64(plan->nnz, 2 * (2 + 2 + 1));
    dns_plan_destroy(plan);
}

static void
test_patterns_and_sizes_are_checked(void)
{
    const float w[18] = {0.0F};
    check_refused(w, 8, (pattern){0, 4}, DNS_ERR_VALUE, -1,
                  "n, m: expected 1 <= n <= m <= 64, got 0:4");
    check_refused(w, 8, (pattern){5, 4}, DNS_ERR_VALUE, -1,
                  "n, m: expected 1 <= n <= m <= 64, got 5:4");
    check_refused(w, 8, (pattern){5, 65}, DNS_ERR_VALUE, -1,
                  "n, m: expected 1 <= n <= m <= 64, got 5:65");
    check_refused(w, (size_t)1 << 31, (pattern){2, 4}, DNS_ERR_VALUE, -1,
                  "W: expected extents below 2^31, got 2 x 2147483648");
    check_refused(w, ((size_t)1 << 31) - 1, (pattern){4, 4}, DNS_ERR_VALUE, -1,
                  "W: expected stored weights below 2^31, got 2 rows of 2147483647");
}

static void
test_oom_nm(void)
{
    uint64_t state = 8;
    pattern p = {2, 4};
    kit_weights k = weights_new(20, 30, &p, &state);
    kit_life life = {create, &k};
    CHECK(tap_oom_sweep(kit_plan_life, &life) > 4);
    kit_weights_free(&k);
}

TAP_MAIN(TAP(test_every_tail), TAP(test_every_length_of_a_vector), TAP(test_shapes_and_patterns),
         TAP(test_two_of_four_is_csr), TAP(test_not_finite), TAP(test_weights_come_back),
         TAP(test_violations_name_row_and_group), TAP(test_patterns_and_sizes_are_checked),
         TAP(test_oom_nm))
