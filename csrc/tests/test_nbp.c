/* Nested bit planes at every level and precision: bounds, equal bytes, tails, threads, codes. */
#include "kernelkit.h"

#include "dns/nbp.h"

typedef struct nested {
    dns_nbp_codes c;
    float *w;
} nested;

static nested
nested_new(size_t rows, size_t cols, int bits, size_t group, bool codebook, uint64_t *state)
{
    const size_t groups = dns_nbp_groups(cols, group);
    nested n = {{rows, cols, bits, group, calloc(rows * cols + 1, 1),
                 calloc(rows * groups + 1, sizeof(float)), calloc(rows * groups + 1, sizeof(float)),
                 codebook ? calloc(rows * (((size_t)2 << bits) - 2) + 1, sizeof(float)) : NULL},
                malloc((rows * cols + 1) * sizeof(float))};
    if (n.c.codes == NULL || n.c.scale == NULL || n.c.zero == NULL || n.w == NULL) {
        abort();
    }
    for (size_t i = 0; i < rows * cols; i++) {
        const float u = kit_float(state);
        n.w[i] = u * u * u + 0.1F;
    }
    dns_error err;
    if (dns_nbp_quantize(n.w, (ptrdiff_t)cols, &n.c, NULL, &err) != DNS_OK) {
        printf("# %s\n", err.message);
        abort();
    }
    return n;
}

static void
nested_free(nested *n)
{
    free(n->c.codes);
    free(n->c.scale);
    free(n->c.zero);
    free(n->c.lut);
    free(n->w);
}

/* What a code of precision p stands for, from the header's equations. */
static double
weight(const nested *n, int p, size_t m, size_t k)
{
    const unsigned q = (unsigned)n->c.codes[m * n->c.cols + k] >> (n->c.bits - p);
    if (n->c.lut != NULL) {
        return (double)n->c.lut[m * (((size_t)2 << n->c.bits) - 2) + ((size_t)1 << p) - 2 + q];
    }
    const size_t groups = dns_nbp_groups(n->c.cols, n->c.group);
    const size_t at = m * groups + (n->c.group == 0 ? 0 : k / n->c.group);
    const double step = (double)(1 << (n->c.bits - p));
    return (double)n->c.scale[at] * (q * step + (step - 1.0) / 2.0) + (double)n->c.zero[at];
}

/* Largest error of y in units of the bound; x has n rows of cols, y n rows of rows. */
static double
worst_of(const nested *n, int p, size_t count, const float *x, const float *y)
{
    double worst = 0.0;
    for (size_t i = 0; i < count * n->c.rows; i++) {
        const size_t m = i % n->c.rows;
        const float *v = x + i / n->c.rows * n->c.cols;
        double top = 0.0;
        double sum = 0.0;
        double size = 0.0;
        double weights = 0.0;
        for (size_t k = 0; k < n->c.cols; k++) {
            const double w = weight(n, p, m, k);
            top = fmax(top, fabs((double)v[k]) / 127.0);
            sum += w * (double)v[k];
            size += fabs(w * (double)v[k]);
            weights += fabs(w);
        }
        const double bound =
            n->c.lut != NULL
                ? 2.0 * ((double)n->c.cols / 16.0 + 18.0) * KIT_UNIT * size
                : weights * top * (0.5 + 1.0 / 16384.0 + 4.0 * KIT_UNIT) + 4.0 * KIT_UNIT * size;
        worst = fmax(worst, fabs((double)y[i] - sum) / (bound + 1e-38));
    }
    return worst;
}

/* One product through guarded buffers; y is written as [n][rows] whatever the layout. */
static void
product(const dns_plan *plan, int p, dns_layout layout, size_t n, const float *x, dns_threads *pool,
        float *y)
{
    const bool rows = layout == DNS_ROWS;
    const size_t extra = 2;
    const size_t x_rows = rows ? n : plan->cols;
    const size_t x_cols = rows ? plan->cols : n;
    const size_t y_rows = rows ? n : plan->rows;
    const size_t y_cols = rows ? plan->rows : n;
    const kit_guard in = kit_matrix(x_rows, x_cols, x_cols + extra);
    const kit_guard out = kit_matrix(y_rows, y_cols, y_cols + extra);
    for (size_t i = 0; i < n * plan->cols; i++) {
        const size_t v = i / plan->cols;
        const size_t k = i % plan->cols;
        ((float *)in.data)[rows ? v * (x_cols + extra) + k : k * (x_cols + extra) + v] = x[i];
    }
    size_t size = 0;
    REQUIRE(dns_plan_workspace(plan, layout, n, dns_threads_count(pool), &size, NULL) == DNS_OK);
    const kit_guard ws = kit_workspace(size);
    const dns_call call = {
        n,       in.data, (ptrdiff_t)(x_cols + extra), out.data, (ptrdiff_t)(y_cols + extra),
        ws.data, pool};
    dns_nbp_execute(plan, p, layout, &call);
    CHECK(kit_gaps_untouched(out.data, y_rows, y_cols, y_cols + extra));
    for (size_t i = 0; i < n * plan->rows; i++) {
        const size_t v = i / plan->rows;
        const size_t m = i % plan->rows;
        y[i] = ((float *)out.data)[rows ? v * (y_cols + extra) + m : m * (y_cols + extra) + v];
    }
    kit_guard_free(ws);
    kit_guard_free(out);
    kit_guard_free(in);
}

/* All precisions of one matrix at all levels; uniform results are the same bytes at every level. */
static void
check_matrix(const nested *w, size_t n, dns_threads *pool, uint64_t *state)
{
    const size_t outputs = n * w->c.rows;
    float *x = malloc((n * w->c.cols + 1) * sizeof *x);
    float *y = malloc((outputs + 1) * sizeof *y);
    float *other = malloc((outputs + 1) * sizeof *y);
    float *first = malloc((outputs + 1) * 8 * sizeof *y);
    REQUIRE(x != NULL && y != NULL && other != NULL && first != NULL);
    for (size_t i = 0; i < n * w->c.cols; i++) {
        x[i] = kit_float(state);
    }
    KIT_FOR_EACH_LEVEL(isa)
    {
        dns_plan *plan = NULL;
        REQUIRE(dns_nbp_plan_create(&w->c, isa, NULL, &plan, NULL) == DNS_OK);
        for (int p = 1; p <= w->c.bits && plan->isa == isa; p++) {
            product(plan, p, DNS_ROWS, n, x, NULL, y);
            product(plan, p, DNS_COLUMNS, n, x, pool, other);
            CHECK(memcmp(y, other, outputs * sizeof *y) == 0);
            product(plan, p, DNS_ROWS, n, x, pool, other);
            CHECK(memcmp(y, other, outputs * sizeof *y) == 0);
            const double worst = worst_of(w, p, n, x, y);
            if (!(worst <= 1.0)) {
                printf("# %s, %zu x %zu, %d of %d bits, group %zu, codebook %d: %g\n",
                       dns_isa_name((int)isa), w->c.rows, w->c.cols, p, w->c.bits, w->c.group,
                       w->c.lut != NULL, worst);
            }
            CHECK(worst <= 1.0);
            float *kept = first + (size_t)(p - 1) * outputs;
            if (isa == DNS_ISA_GENERIC) {
                memcpy(kept, y, outputs * sizeof *y);
            }
            CHECK(w->c.lut != NULL || memcmp(y, kept, outputs * sizeof *y) == 0);
        }
        dns_plan_destroy(plan);
    }
    free(first);
    free(other);
    free(y);
    free(x);
}

static void
test_every_precision_and_tail(void)
{
    static const struct {
        size_t rows, cols, n;
        int bits;
        size_t group;
    } cases[] = {{1, 1, 1, 8, 0},     {5, 63, 2, 8, 0},    {3, 65, 3, 4, 0},   {4, 511, 1, 3, 0},
                 {3, 512, 2, 2, 0},   {6, 513, 1, 5, 0},   {2, 1100, 3, 8, 0}, {3, 300, 2, 8, 64},
                 {2, 700, 1, 6, 128}, {2, 640, 2, 7, 640}, {3, 100, 2, 4, 512}};
    uint64_t state = 1;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        for (int codebook = 0; codebook <= (cases[c].group == 0); codebook++) {
            nested w = nested_new(cases[c].rows, cases[c].cols, cases[c].bits, cases[c].group,
                                  codebook != 0, &state);
            check_matrix(&w, cases[c].n, NULL, &state);
            nested_free(&w);
        }
    }
    kit_say_skipped();
}

/* Every number of columns, rows and vectors around the vectors of the levels. */
static void
test_every_extent(void)
{
    uint64_t state = 6;
    for (size_t cols = 0; cols <= 131; cols++) {
        nested w = nested_new(cols * 5 % 19, cols, cols % 2 == 0 ? 4 : 8, 0, cols % 5 == 0, &state);
        check_matrix(&w, cols % 4, NULL, &state);
        nested_free(&w);
    }
}

/* Vector k is 127 times unit vector k, so that its scale is 1 and results are exactly the weights
 * of column k: every bit of every column is where the product looks for it, in tiles and beyond. */
static void
check_columns(const nested *w, const float *x, float *y)
{
    KIT_FOR_EACH_LEVEL(isa)
    {
        dns_plan *plan = NULL;
        REQUIRE(dns_nbp_plan_create(&w->c, isa, NULL, &plan, NULL) == DNS_OK);
        for (int p = 1; p <= w->c.bits; p++) {
            size_t wrong = 0;
            product(plan, p, DNS_ROWS, w->c.cols, x, NULL, y);
            for (size_t i = 0; i < w->c.cols * w->c.rows; i++) {
                const double exact = 127.0 * weight(w, p, i % w->c.rows, i / w->c.rows);
                wrong += (double)y[i] != (double)(float)exact;
            }
            CHECK_I64(wrong, 0);
        }
        dns_plan_destroy(plan);
    }
}

static void
test_every_column_alone(void)
{
    enum { K = 640 };
    static const struct {
        size_t rows;
        int bits;
        size_t group;
    } cases[] = {{4, 8, 0}, {7, 4, 0}, {18, 3, 0}, {5, 5, 64}, {2, 2, 192}};
    uint64_t state = 6;
    float *x = calloc((size_t)K * K, sizeof *x);
    float *y = malloc((size_t)K * 18 * sizeof *y);
    REQUIRE(x != NULL && y != NULL);
    for (size_t k = 0; k < K; k++) {
        x[k * K + k] = 127.0F;
    }
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        nested w = nested_new(cases[c].rows, K, cases[c].bits, cases[c].group, false, &state);
        for (size_t i = 0; i < w.c.rows * dns_nbp_groups(K, w.c.group); i++) {
            w.c.scale[i] = (float)(1 + i % 3);
            w.c.zero[i] = -(float)(i % 5);
        }
        check_columns(&w, x, y);
        nested_free(&w);
    }
    free(y);
    free(x);
}

static void
test_threads_change_nothing(void)
{
    uint64_t state = 2;
    for (size_t threads = 2; threads < 8; threads += threads == 2 ? 1 : 4) {
        dns_threads *pool = NULL;
        REQUIRE(dns_threads_create(threads, NULL, &pool, NULL) == DNS_OK);
        for (int codebook = 0; codebook < 2; codebook++) {
            nested w = nested_new(150, 520, 4, 0, codebook != 0, &state);
            check_matrix(&w, 16, pool, &state);
            nested_free(&w);
        }
        dns_threads_destroy(pool);
    }
}

/* The largest sums at the largest K, and vectors that are not finite. */
static void
test_extremes(void)
{
    enum { K = DNS_NBP_MAX_COLS };
    uint8_t *codes = malloc(K);
    float *x = malloc(3 * K * sizeof *x);
    float *y = malloc(3 * sizeof *y);
    REQUIRE(codes != NULL && x != NULL && y != NULL);
    memset(codes, 255, K);
    for (size_t k = 0; k < K; k++) {
        x[k] = 1.0F;
        x[K + k] = k == 7 ? NAN : 1.0F;
        x[2 * K + k] = k == 8 ? -INFINITY : 1.0F;
    }
    float scale = 1.0F;
    float zero = 0.0F;
    const dns_nbp_codes c = {1, K, 8, 0, codes, &scale, &zero, NULL};
    KIT_FOR_EACH_LEVEL(isa)
    {
        dns_plan *plan = NULL;
        REQUIRE(dns_nbp_plan_create(&c, isa, NULL, &plan, NULL) == DNS_OK);
        product(plan, 8, DNS_ROWS, 3, x, NULL, y);
        CHECK_NEAR((double)y[0], 255.0 * K, 255.0 * K * 2e-7);
        CHECK(y[1] != y[1] && y[2] != y[2]);
        dns_plan_destroy(plan);
    }
    free(y);
    free(x);
    free(codes);
}

static void
test_codes_come_back(void)
{
    uint64_t state = 3;
    for (int codebook = 0; codebook < 2; codebook++) {
        for (int bits = 2; bits <= 8; bits += 3) {
            nested w = nested_new(7, 700, bits, codebook ? 0 : 64, codebook != 0, &state);
            nested other = nested_new(7, 700, bits, codebook ? 0 : 64, codebook != 0, &state);
            float *dense = malloc(7 * 700 * sizeof *dense);
            dns_plan *plan = NULL;
            REQUIRE(dense != NULL);
            REQUIRE(dns_nbp_plan_create(&w.c, dns_isa_detect(), NULL, &plan, NULL) == DNS_OK);
            REQUIRE(dns_nbp_unpack(plan, &other.c, NULL) == DNS_OK);
            CHECK(memcmp(other.c.codes, w.c.codes, 7 * 700) == 0);
            for (int p = 1; p <= bits; p++) {
                dns_nbp_to_dense(plan, p, dense);
                for (size_t i = 0; i < 7 * 700; i++) {
                    CHECK_NEAR((double)dense[i], weight(&w, p, i / 700, i % 700), 1e-6);
                }
            }
            int got = 0;
            size_t group = 1;
            bool book = false;
            dns_nbp_describe(plan, &got, &group, &book);
            CHECK(got == bits && group == (codebook ? 0 : 64) && book == (codebook != 0));
            CHECK(dns_nbp_is(plan));
            dns_plan_destroy(plan);
            free(dense);
            nested_free(&other);
            nested_free(&w);
        }
    }
}

/* More bits never make the error larger by much, and 8 bits are near the weights. */
static void
test_quantisation_is_close(void)
{
    uint64_t state = 4;
    for (int codebook = 0; codebook < 2; codebook++) {
        nested w = nested_new(4, 1000, 8, 0, codebook != 0, &state);
        double last = 1e9;
        for (int p = 1; p <= 8; p++) {
            double error = 0.0;
            for (size_t i = 0; i < 4000; i++) {
                const double d = weight(&w, p, i / 1000, i % 1000) - (double)w.w[i];
                error += d * d;
            }
            CHECK(error < last);
            last = error;
        }
        CHECK(last < 4000 * 2e-5);
        nested_free(&w);
    }
}

/* Few different values are their own centroids. */
static void
test_codebook_of_few_values(void)
{
    float w[40];
    uint8_t codes[40];
    float lut[30];
    for (size_t i = 0; i < 40; i++) {
        w[i] = (float)(i * 7 % 5) - 2.0F;
    }
    const dns_nbp_codes c = {1, 40, 4, 0, codes, NULL, NULL, lut};
    REQUIRE(dns_nbp_quantize(w, 40, &c, NULL, NULL) == DNS_OK);
    for (size_t i = 0; i < 40; i++) {
        CHECK_F64((double)lut[14 + codes[i]], (double)w[i]);
    }
}

static void
test_bad_parameters(void)
{
    float w[4] = {1.0F, NAN, 2.0F, 3.0F};
    uint8_t codes[4] = {0};
    float scale[2] = {1.0F, 1.0F};
    float zero[2] = {0.0F, 0.0F};
    float lut[30];
    dns_plan *plan = NULL;
    dns_error err;
    dns_nbp_codes c = {2, 2, 4, 0, codes, scale, zero, NULL};
    CHECK_I64(dns_nbp_quantize(w, 2, &c, NULL, &err), DNS_ERR_VALUE);
    CHECK_STR(err.message, "W: row 0, column 1: expected a finite number, got nan");
    c.bits = 9;
    CHECK_I64(dns_nbp_quantize(w, 2, &c, NULL, &err), DNS_ERR_VALUE);
    CHECK_I64(dns_nbp_plan_create(&c, DNS_ISA_GENERIC, NULL, &plan, &err), DNS_ERR_VALUE);
    c.bits = 4;
    c.group = 65;
    CHECK_I64(dns_nbp_plan_create(&c, DNS_ISA_GENERIC, NULL, &plan, &err), DNS_ERR_VALUE);
    CHECK_STR(err.message, "group: expected a multiple of 64, got 65");
    c.group = 64;
    c.lut = lut;
    CHECK_I64(dns_nbp_quantize(w, 2, &c, NULL, &err), DNS_ERR_VALUE);
    c = (dns_nbp_codes){2, 2, 4, 64, codes, scale, zero, NULL};
    scale[1] = NAN;
    CHECK_I64(dns_nbp_plan_create(&c, DNS_ISA_GENERIC, NULL, &plan, &err), DNS_ERR_VALUE);
    CHECK_STR(err.message, "scale: row 1: expected finite numbers, got nan");
    CHECK_I64(err.index, 1);
    scale[1] = 1.0F;
    zero[0] = INFINITY;
    CHECK_I64(dns_nbp_plan_create(&c, DNS_ISA_GENERIC, NULL, &plan, &err), DNS_ERR_VALUE);
    CHECK_STR(err.message, "zero: row 0: expected finite numbers, got inf");
    c = (dns_nbp_codes){1, DNS_NBP_MAX_COLS + 1, 4, 0, codes, scale, zero, NULL};
    CHECK_I64(dns_nbp_plan_create(&c, DNS_ISA_GENERIC, NULL, &plan, &err), DNS_ERR_VALUE);
    CHECK(plan == NULL);
}

static dns_status
life(const dns_alloc *alloc, void *ctx)
{
    nested *w = ctx;
    dns_plan *plan = NULL;
    DNS_TRY(dns_nbp_quantize(w->w, (ptrdiff_t)w->c.cols, &w->c, alloc, NULL));
    DNS_TRY(dns_nbp_plan_create(&w->c, dns_isa_detect(), alloc, &plan, NULL));
    dns_plan_destroy(plan);
    return DNS_OK;
}

static void
test_oom_nbp(void)
{
    uint64_t state = 5;
    for (int codebook = 0; codebook < 2; codebook++) {
        nested w = nested_new(3, 70, 8, 0, codebook != 0, &state);
        CHECK(tap_oom_sweep(life, &w) > 5);
        nested_free(&w);
    }
}

TAP_MAIN(TAP(test_every_precision_and_tail), TAP(test_every_extent), TAP(test_every_column_alone),
         TAP(test_threads_change_nothing), TAP(test_extremes), TAP(test_codes_come_back),
         TAP(test_quantisation_is_close), TAP(test_codebook_of_few_values),
         TAP(test_bad_parameters), TAP(test_oom_nbp))
