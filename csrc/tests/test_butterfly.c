/* Butterfly plans: the product of their factors at every level, shapes, checks, the way back. */
#include "kernelkit.h"

#include "dns/butterfly.h"

/* One matrix: its view, its dense form and that of the absolute values (float64, [rows][cols]). */
typedef struct matrix {
    dns_butterfly view;
    float *twiddle;
    double *w, *size;
} matrix;

/* v = level's factor times v, literally. */
static void
level(const dns_butterfly *b, const float *twiddle, unsigned j, bool size, double *v)
{
    const size_t s = (size_t)1 << j;
    const size_t n = (size_t)1 << b->log2n;
    for (size_t i = 0; i < n; i++) {
        if (i & s) {
            continue;
        }
        const float *t = twiddle + (i / (2 * s) * s + i % s) * 4;
        const double x0 = v[i];
        const double x1 = v[i + s];
        double c[4];
        for (size_t k = 0; k < 4; k++) {
            c[k] = size ? fabs((double)t[k]) : (double)t[k];
        }
        v[i] = c[0] * x0 + c[1] * x1;
        v[i + s] = c[2] * x0 + c[3] * x1;
    }
}

static void
densify(matrix *m, bool size, double *w)
{
    const dns_butterfly *b = &m->view;
    const size_t n = (size_t)1 << b->log2n;
    double *v = malloc(n * sizeof *v);
    if (v == NULL) {
        abort();
    }
    for (size_t k = 0; k < b->cols; k++) {
        for (size_t stack = 0; stack < b->nstack; stack++) {
            memset(v, 0, n * sizeof *v);
            v[k] = 1.0;
            for (size_t block = 0; block < b->nblock; block++) {
                const float *t = m->twiddle + (stack * b->nblock + block) * b->log2n * n * 2;
                const bool up = b->increasing == (block % 2 == 0);
                for (unsigned j = 0; j < b->log2n; j++) {
                    const unsigned l = up ? j : b->log2n - 1 - j;
                    level(b, t + l * n * 2, l, size, v);
                }
            }
            for (size_t i = stack * n; i < b->rows && i < (stack + 1) * n; i++) {
                w[i * b->cols + k] = v[i - stack * n];
            }
        }
    }
    free(v);
}

static matrix
matrix_new(size_t rows, size_t cols, size_t nblock, bool increasing, uint64_t seed)
{
    matrix m;
    unsigned log2n = 1;
    while ((size_t)1 << log2n < cols) {
        log2n++;
    }
    const size_t n = (size_t)1 << log2n;
    const size_t nstack = rows == 0 ? 1 : (rows + n - 1) / n;
    const size_t count = nstack * nblock * log2n * n * 2;
    m.twiddle = malloc(count * sizeof *m.twiddle);
    m.w = malloc((rows * cols + 1) * sizeof *m.w);
    m.size = malloc((rows * cols + 1) * sizeof *m.size);
    if (m.twiddle == NULL || m.w == NULL || m.size == NULL) {
        abort();
    }
    for (size_t i = 0; i < count; i++) {
        m.twiddle[i] = kit_float(&seed);
    }
    m.view = (dns_butterfly){m.twiddle, nstack, nblock, log2n, increasing, rows, cols};
    densify(&m, false, m.w);
    densify(&m, true, m.size);
    return m;
}

static void
matrix_free(matrix *m)
{
    free(m->twiddle);
    free(m->w);
    free(m->size);
}

static const dns_act all = {-INFINITY, INFINITY};

/* y of n columns within the bound; the same bytes whatever the number of threads. */
static void
check_columns(const matrix *m, const float *bias, dns_isa isa, size_t n, dns_layout layout,
              uint64_t seed)
{
    const size_t rows = m->view.rows;
    const size_t cols = m->view.cols;
    const bool across = layout == DNS_ROWS;
    const size_t ldx = (across ? cols : n) + n % 3;
    const size_t ldy = (across ? rows : n) + n % 2;
    dns_plan *plan = NULL;
    REQUIRE(dns_butterfly_plan_create(&m->view, bias, all, isa, NULL, &plan, NULL) == DNS_OK);
    const kit_guard x = across ? kit_matrix(n, cols, ldx) : kit_matrix(cols, n, ldx);
    for (size_t i = 0; i < (across ? n : cols); i++) {
        for (size_t j = 0; j < (across ? cols : n); j++) {
            ((float *)x.data)[i * ldx + j] = kit_float(&seed);
        }
    }
    static const size_t counts[] = {1, 2, 3, 7};
    float *first = malloc((rows * n + 1) * sizeof *first);
    REQUIRE(first != NULL);
    for (size_t t = 0; t < 4; t++) {
        const kit_guard y = across ? kit_matrix(n, rows, ldy) : kit_matrix(rows, n, ldy);
        dns_threads *pool = NULL;
        REQUIRE(dns_threads_create(counts[t], NULL, &pool, NULL) == DNS_OK);
        size_t bytes = 0;
        REQUIRE(dns_plan_workspace(plan, layout, n, counts[t], &bytes, NULL) == DNS_OK);
        const kit_guard ws = kit_workspace(bytes);
        const dns_call call = {n, x.data, (ptrdiff_t)ldx, y.data, (ptrdiff_t)ldy, ws.data, pool};
        dns_plan_execute(plan, layout, &call);
        CHECK(kit_gaps_untouched(y.data, across ? n : rows, across ? rows : n, ldy));
        const double terms = 2.0 * (double)(m->view.log2n * m->view.nblock) + 1.0;
        for (size_t i = 0; i < rows; i++) {
            for (size_t j = 0; j < n; j++) {
                const float got = ((float *)y.data)[across ? j * ldy + i : i * ldy + j];
                if (t > 0) {
                    CHECK(memcmp(&first[i * n + j], &got, sizeof got) == 0);
                    continue;
                }
                first[i * n + j] = got;
                double sum = (double)bias[i];
                double size = fabs(sum);
                for (size_t k = 0; k < cols; k++) {
                    const double v = (double)((float *)x.data)[across ? j * ldx + k : k * ldx + j];
                    sum += m->w[i * cols + k] * v;
                    size += m->size[i * cols + k] * fabs(v);
                }
                CHECK(fabs((double)got - sum) <= 1.01 * terms * KIT_UNIT * size + 1e-38);
            }
        }
        kit_guard_free(ws);
        kit_guard_free(y);
        dns_threads_destroy(pool);
    }
    free(first);
    kit_guard_free(x);
    dns_plan_destroy(plan);
}

static void
check_matrix(size_t rows, size_t cols, size_t nblock, bool increasing, size_t n_first,
             size_t n_last, size_t n_step)
{
    matrix m = matrix_new(rows, cols, nblock, increasing, rows + 7 * cols);
    float *bias = malloc((rows + 1) * sizeof *bias);
    REQUIRE(bias != NULL);
    uint64_t seed = 5;
    for (size_t i = 0; i < rows; i++) {
        bias[i] = kit_float(&seed);
    }
    KIT_FOR_EACH_LEVEL(isa)
    {
        if (isa > DNS_ISA_AVX512) {
            continue; /* runs that level's code */
        }
        for (size_t n = n_first; n <= n_last; n += n_step) {
            check_columns(&m, bias, isa, n, DNS_COLUMNS, n);
            check_columns(&m, bias, isa, n, DNS_ROWS, n);
        }
    }
    free(bias);
    matrix_free(&m);
}

static void
test_every_tail(void)
{
    check_matrix(13, 11, 1, true, 0, 33, 1);
    check_matrix(13, 11, 2, false, 63, 66, 1);
    kit_say_skipped();
}

/* Odd and even numbers of levels within and above a leaf, stacks, both directions. */
static void
test_shapes_and_orders(void)
{
    static const struct {
        size_t rows, cols, nblock;
    } cases[] = {{1, 1, 1},    {2, 2, 3},     {7, 2, 2},    {3, 3, 1},     {40, 16, 2}, {32, 32, 3},
                 {100, 64, 1}, {128, 128, 2}, {64, 100, 1}, {300, 256, 1}, {5, 512, 1}, {0, 9, 1}};
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        for (int up = 0; up < 2; up++) {
            check_matrix(cases[c].rows, cases[c].cols, cases[c].nblock, up, 3, 40, 32);
        }
    }
}

/* Tiles over several threads: more than 2 Mflop. */
static void
test_threads_share_tiles_and_stacks(void)
{
    check_matrix(150, 128, 1, true, 700, 700, 1);
}

static void
test_twiddles_come_back(void)
{
    matrix m = matrix_new(150, 100, 3, false, 3);
    dns_plan *plan = NULL;
    REQUIRE(dns_butterfly_plan_create(&m.view, NULL, all, dns_isa_detect(), NULL, &plan, NULL) ==
            DNS_OK);
    float *back = malloc(plan->nnz * sizeof *back);
    float *w = malloc(plan->rows * plan->cols * sizeof *w);
    REQUIRE(back != NULL && w != NULL);
    CHECK_I64(plan->nnz, (size_t)2 * 3 * 7 * 256);
    REQUIRE(dns_butterfly_plan_unpack(plan, back, NULL) == DNS_OK);
    CHECK(memcmp(back, m.twiddle, plan->nnz * sizeof *back) == 0);
    dns_plan_to_dense(plan, w);
    for (size_t i = 0; i < plan->rows * plan->cols; i++) {
        CHECK(fabs((double)w[i] - m.w[i]) <= 1.01 * 43.0 * KIT_UNIT * m.size[i] + 1e-38);
    }
    const dns_machine machine = {1e9, {4e9, 3e9, 2e9, 1e9}, {1e9, 2e9, 3e9}};
    CHECK_F64(dns_plan_work(plan, 10, &machine).flops, 3.0 * 128 * 7 * 3 * 2 * 10);
    free(w);
    free(back);
    dns_plan_destroy(plan);
    matrix_free(&m);
}

static void
test_extents_must_agree(void)
{
    const float twiddle[64] = {0};
    const dns_butterfly bad[] = {
        {twiddle, 1, 1, 0, true, 1, 1},  {twiddle, 1, 1, 2, true, 4, 5},
        {twiddle, 1, 1, 2, true, 4, 2},  {twiddle, 1, 1, 2, true, 5, 4},
        {twiddle, 2, 1, 2, true, 4, 4},  {twiddle, 1, 0, 2, true, 4, 4},
        {twiddle, 1, 1, 25, true, 4, 4}, {twiddle, 1, 1, 1, true, 2, 0},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        dns_plan *plan = NULL;
        dns_error err;
        CHECK_I64(dns_butterfly_plan_create(&bad[i], NULL, all, DNS_ISA_GENERIC, NULL, &plan, &err),
                  DNS_ERR_SHAPE);
        CHECK(plan == NULL);
        CHECK(err.message[0] != '\0');
    }
}

static dns_status
life(const dns_alloc *alloc, void *ctx)
{
    const matrix *m = ctx;
    dns_plan *plan = NULL;
    DNS_TRY(dns_butterfly_plan_create(&m->view, NULL, all, dns_isa_detect(), alloc, &plan, NULL));
    dns_plan_destroy(plan);
    return DNS_OK;
}

static void
test_oom_butterfly(void)
{
    matrix m = matrix_new(40, 16, 2, true, 1);
    CHECK_I64(tap_oom_sweep(life, &m), 5);
    matrix_free(&m);
}

TAP_MAIN(TAP(test_every_tail), TAP(test_shapes_and_orders),
         TAP(test_threads_share_tiles_and_stacks), TAP(test_twiddles_come_back),
         TAP(test_extents_must_agree), TAP(test_oom_butterfly))
