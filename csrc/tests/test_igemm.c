/* Integer products at every level: exact against int64, tails, guard pages, threads, floats. */
#include "kernelkit.h"

#include "dns/igemm.h"
#include "dns/quant.h"

typedef struct bytes {
    size_t rows, cols;
    int8_t *w;
    float *scale;
    int32_t *zero;
} bytes;

static bytes
bytes_new(size_t rows, size_t cols, bool zeros, uint64_t *state)
{
    bytes b = {rows, cols, malloc(rows * cols + 1), malloc((rows + 1) * sizeof(float)),
               malloc((rows + 1) * sizeof(int32_t))};
    if (b.w == NULL || b.scale == NULL || b.zero == NULL) {
        abort();
    }
    for (size_t i = 0; i < rows * cols; i++) {
        b.w[i] = (int8_t)(kit_random(state) >> 56);
    }
    for (size_t i = 0; i < rows; i++) {
        b.scale[i] = 0.01F + 0.005F * kit_float(state);
        b.zero[i] = zeros ? (int8_t)(kit_random(state) >> 56) : 0;
    }
    return b;
}

static void
bytes_free(bytes *b)
{
    free(b->w);
    free(b->scale);
    free(b->zero);
}

static dns_status
create(const bytes *b, const float *bias, dns_act act, dns_isa isa, const dns_alloc *alloc,
       dns_plan **out, dns_error *err)
{
    const dns_igemm_weights w = {b->rows, b->cols, b->w, (ptrdiff_t)b->cols, b->scale, b->zero};
    return dns_igemm_plan_create(&w, bias, act, isa, alloc, out, err);
}

static const dns_act NONE = {-INFINITY, INFINITY};

static int64_t
oracle(const bytes *b, size_t m, const int8_t *x, size_t step)
{
    int64_t sum = 0;
    for (size_t k = 0; k < b->cols; k++) {
        sum += (int64_t)(b->w[m * b->cols + k] - b->zero[m]) * x[k * step];
    }
    return sum;
}

/* One integer product; `narrow` draws vectors that span at most 127. */
static void
check_product(const dns_plan *plan, const bytes *b, dns_layout layout, size_t n, bool narrow,
              dns_threads *threads, uint64_t *state)
{
    const bool rows = layout == DNS_ROWS;
    const size_t extra = n % 3;
    const size_t ldx = (rows ? b->cols : n) + extra;
    const size_t ldy = (rows ? b->rows : n) + extra;
    const size_t x_rows = rows ? n : b->cols;
    const size_t y_rows = rows ? n : b->rows;
    const kit_guard x = kit_guard_new(x_rows == 0 || ldx == extra ? 0 : x_rows * ldx - extra, 1);
    const kit_guard y =
        kit_guard_new(y_rows == 0 || ldy == extra ? 0 : y_rows * ldy - extra, sizeof(int32_t));
    int8_t *xs = x.data;
    for (size_t i = 0; i < x_rows; i++) {
        for (size_t j = 0; j + extra < ldx; j++) {
            const int v = (int)(kit_random(state) >> 56);
            const size_t vector = rows ? i : j;
            xs[i * ldx + j] = (int8_t)(narrow && vector % 3 != 1 ? v / 2 - 100 : v - 128);
        }
    }
    size_t size = 0;
    dns_error err;
    REQUIRE(dns_igemm_workspace(plan, n, &size, &err) == DNS_OK);
    const kit_guard ws = kit_workspace(size);
    const dns_igemm_call call = {n, xs, (ptrdiff_t)ldx, y.data, (ptrdiff_t)ldy, ws.data, threads};
    dns_igemm_execute(plan, layout, &call);
    size_t wrong = 0;
    for (size_t j = 0; j < n; j++) {
        for (size_t m = 0; m < b->rows; m++) {
            const int64_t want = rows ? oracle(b, m, xs + j * ldx, 1) : oracle(b, m, xs + j, ldx);
            wrong += ((int32_t *)y.data)[rows ? j * ldy + m : m * ldy + j] != want;
        }
    }
    if (wrong != 0) {
        printf("# level %s, layout %d, %zu x %zu x %zu: %zu wrong\n", dns_isa_name((int)plan->isa),
               (int)layout, b->rows, b->cols, n, wrong);
    }
    CHECK(wrong == 0);
    CHECK(kit_gaps_untouched(y.data, y_rows, ldy - extra, ldy));
    kit_guard_free(ws);
    kit_guard_free(y);
    kit_guard_free(x);
}

static void
test_every_tail_is_exact(void)
{
    uint64_t state = 1;
    static const size_t shapes[][2] = {{1, 1},   {15, 3},  {16, 64},  {33, 65},  {64, 127},
                                       {65, 66}, {70, 63}, {130, 17}, {129, 200}};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        bytes b = bytes_new(shapes[s][0], shapes[s][1], s % 2 == 0, &state);
        KIT_FOR_EACH_LEVEL(isa)
        {
            dns_plan *plan = NULL;
            REQUIRE(create(&b, NULL, NONE, isa, NULL, &plan, NULL) == DNS_OK);
            CHECK(plan->isa == isa);
            for (size_t n = 0; n < 68; n += s == 3 ? 1 : 5) {
                check_product(plan, &b, DNS_ROWS, n, n % 2 == 0, NULL, &state);
                check_product(plan, &b, DNS_COLUMNS, n, n % 2 == 0, NULL, &state);
            }
            dns_plan_destroy(plan);
        }
        bytes_free(&b);
    }
    kit_say_skipped();
}

/* Every number of columns and of rows around the vectors and tiles. */
static void
test_every_extent_is_exact(void)
{
    uint64_t state = 9;
    for (size_t cols = 0; cols <= 131; cols++) {
        bytes b = bytes_new(cols * 7 % 68, cols, cols % 2 == 0, &state);
        KIT_FOR_EACH_LEVEL(isa)
        {
            dns_plan *plan = NULL;
            REQUIRE(create(&b, NULL, NONE, isa, NULL, &plan, NULL) == DNS_OK);
            check_product(plan, &b, DNS_ROWS, 1 + cols % 5, cols % 3 == 0, NULL, &state);
            check_product(plan, &b, DNS_COLUMNS, 1 + cols % 5, cols % 3 == 0, NULL, &state);
            dns_plan_destroy(plan);
        }
        bytes_free(&b);
    }
}

static void
test_empty_extents(void)
{
    uint64_t state = 2;
    static const size_t shapes[][2] = {{0, 5}, {5, 0}, {0, 0}};
    for (size_t s = 0; s < 3; s++) {
        bytes b = bytes_new(shapes[s][0], shapes[s][1], true, &state);
        KIT_FOR_EACH_LEVEL(isa)
        {
            dns_plan *plan = NULL;
            REQUIRE(create(&b, NULL, NONE, isa, NULL, &plan, NULL) == DNS_OK);
            check_product(plan, &b, DNS_ROWS, 3, false, NULL, &state);
            check_product(plan, &b, DNS_COLUMNS, 3, false, NULL, &state);
            dns_plan_destroy(plan);
        }
        bytes_free(&b);
    }
}

static void
test_threads_change_nothing(void)
{
    uint64_t state = 3;
    dns_threads *pools[3] = {NULL, NULL, NULL};
    for (size_t t = 0; t < 3; t++) {
        REQUIRE(dns_threads_create(t == 2 ? 7 : t + 2, NULL, &pools[t], NULL) == DNS_OK);
    }
    for (size_t wide = 0; wide < 2; wide++) {
        bytes b = bytes_new(wide ? 40 : 300, 300, true, &state);
        KIT_FOR_EACH_LEVEL(isa)
        {
            dns_plan *plan = NULL;
            REQUIRE(create(&b, NULL, NONE, isa, NULL, &plan, NULL) == DNS_OK);
            for (size_t t = 0; t < 3; t++) {
                check_product(plan, &b, DNS_ROWS, 210, false, pools[t], &state);
                check_product(plan, &b, DNS_COLUMNS, 210, true, pools[t], &state);
            }
            dns_plan_destroy(plan);
        }
        bytes_free(&b);
    }
    for (size_t t = 0; t < 3; t++) {
        dns_threads_destroy(pools[t]);
    }
}

/* The largest sums that can occur, at the largest K. */
static void
test_extremes_fit(void)
{
    enum { K = DNS_IGEMM_MAX_COLS };
    int8_t *w = malloc((size_t)2 * K);
    int8_t *x = malloc((size_t)3 * K);
    REQUIRE(w != NULL && x != NULL);
    memset(w, -128, K);
    memset(w + K, 127, K);
    memset(x, -128, K);
    memset(x + K, 127, K);
    for (size_t k = 0; k < K; k++) {
        x[2 * K + k] = k % 2 ? 127 : -128;
    }
    const float scale[2] = {1.0F, 1.0F};
    const int32_t zero[2] = {127, -128};
    const dns_igemm_weights weights = {2, K, w, K, scale, zero};
    KIT_FOR_EACH_LEVEL(isa)
    {
        dns_plan *plan = NULL;
        REQUIRE(dns_igemm_plan_create(&weights, NULL, NONE, isa, NULL, &plan, NULL) == DNS_OK);
        size_t size = 0;
        REQUIRE(dns_igemm_workspace(plan, 3, &size, NULL) == DNS_OK);
        void *ws = dns_mem_new(NULL, size, 1);
        REQUIRE(ws != NULL);
        int32_t y[6];
        const dns_igemm_call call = {3, x, K, y, 2, ws, NULL};
        dns_igemm_execute(plan, DNS_ROWS, &call);
        CHECK_I64(y[0], (int64_t)255 * 128 * K);
        CHECK_I64(y[1], (int64_t)-255 * 128 * K);
        CHECK_I64(y[2], (int64_t)-255 * 127 * K);
        CHECK_I64(y[3], (int64_t)255 * 127 * K);
        CHECK_I64(y[4], (int64_t)255 * K / 2);
        CHECK_I64(y[5], (int64_t)-255 * K / 2);
        dns_mem_free(NULL, ws, size, 1);
        dns_plan_destroy(plan);
    }
    free(x);
    free(w);
}

/* Float vectors [n][cols] and what a level made of them, [n][rows]. */
typedef struct vectors {
    size_t n;
    float *x, *first, *y, *bias;
} vectors;

static vectors
vectors_new(const bytes *b, size_t n, uint64_t *state)
{
    vectors v = {n, calloc(n * b->cols + 1, sizeof(float)), calloc(n * b->rows + 1, sizeof(float)),
                 calloc(n * b->rows + 1, sizeof(float)), calloc(b->rows + 1, sizeof(float))};
    if (v.x == NULL || v.first == NULL || v.y == NULL || v.bias == NULL) {
        abort();
    }
    for (size_t i = 0; i < n * b->cols; i++) {
        v.x[i] = i / b->cols == 3 ? 0.0F : kit_float(state) * (float)(i / b->cols + 1);
    }
    for (size_t i = 0; i < b->rows; i++) {
        v.bias[i] = kit_float(state);
    }
    return v;
}

static void
vectors_free(vectors *v)
{
    free(v->x);
    free(v->first);
    free(v->y);
    free(v->bias);
}

static const dns_act FLOAT_ACT = {-20.0F, 30.0F};

/* Largest distance of `first` from the float64 product in units of the header's bound; NaN for
 * vectors that are not finite. */
static double
worst_float(const bytes *b, const vectors *v)
{
    double worst = 0.0;
    for (size_t i = 0; i < v->n * b->rows; i++) {
        const size_t m = i % b->rows;
        const float *vector = v->x + i / b->rows * b->cols;
        double top = 0.0;
        double sum = (double)v->bias[m];
        bool finite = true;
        for (size_t k = 0; k < b->cols; k++) {
            top = fmax(top, fabs((double)vector[k]) / 127.0);
            finite = finite && isfinite(vector[k]);
        }
        double bound = fabs(sum) * 4.0 * KIT_UNIT + 1e-38;
        for (size_t k = 0; k < b->cols; k++) {
            const double w = (double)b->scale[m] * (b->w[m * b->cols + k] - b->zero[m]);
            sum += w * (double)vector[k];
            bound += fabs(w) * (top * (0.5 + 1.0 / 16384.0) +
                                4.0 * KIT_UNIT * (fabs((double)vector[k]) + top));
        }
        sum = fmin((double)FLOAT_ACT.hi, fmax((double)FLOAT_ACT.lo, sum));
        CHECK(finite || isnan(v->first[i]));
        worst = finite ? fmax(worst, fabs((double)v->first[i] - sum) / bound) : worst;
    }
    return worst;
}

/* v->y of v->x through either layout, in guarded memory with gaps between rows. */
static void
run_floats(const dns_plan *plan, dns_layout layout, const vectors *v, dns_threads *pool)
{
    enum { GAP = 3 };
    const bool rows = layout == DNS_ROWS;
    const size_t x_cols = rows ? plan->cols : v->n;
    const size_t y_rows = rows ? v->n : plan->rows;
    const size_t y_cols = rows ? plan->rows : v->n;
    const kit_guard x = kit_matrix(rows ? v->n : plan->cols, x_cols, x_cols + GAP);
    const kit_guard y = kit_matrix(y_rows, y_cols, y_cols + GAP);
    size_t size = 0;
    REQUIRE(dns_plan_workspace(plan, layout, v->n, dns_threads_count(pool), &size, NULL) == DNS_OK);
    const kit_guard ws = kit_workspace(size);
    for (size_t i = 0; i < v->n * plan->cols; i++) {
        const size_t j = i / plan->cols;
        const size_t k = i % plan->cols;
        ((float *)x.data)[rows ? j * (x_cols + GAP) + k : k * (x_cols + GAP) + j] = v->x[i];
    }
    const dns_call call = {
        v->n, x.data, (ptrdiff_t)(x_cols + GAP), y.data, (ptrdiff_t)(y_cols + GAP), ws.data, pool};
    dns_plan_execute(plan, layout, &call);
    for (size_t i = 0; i < v->n * plan->rows; i++) {
        const size_t j = i / plan->rows;
        const size_t m = i % plan->rows;
        v->y[i] = ((float *)y.data)[rows ? j * (y_cols + GAP) + m : m * (y_cols + GAP) + j];
    }
    CHECK(kit_gaps_untouched(y.data, y_rows, y_cols, y_cols + GAP));
    kit_guard_free(ws);
    kit_guard_free(y);
    kit_guard_free(x);
}

/* Within the header's bound, and the same bytes at every level, in both layouts, on every pool. */
static void
check_floats(const bytes *b, const vectors *v, dns_threads *const *pools, size_t n_pools)
{
    KIT_FOR_EACH_LEVEL(isa)
    {
        dns_plan *plan = NULL;
        REQUIRE(create(b, v->bias, FLOAT_ACT, isa, NULL, &plan, NULL) == DNS_OK);
        for (size_t t = 0; t < 2 * n_pools; t++) {
            run_floats(plan, t % 2 ? DNS_ROWS : DNS_COLUMNS, v, pools[t / 2]);
            if (isa == DNS_ISA_GENERIC && t == 0) {
                memcpy(v->first, v->y, v->n * b->rows * sizeof *v->y);
            }
            size_t wrong = 0;
            for (size_t i = 0; i < v->n * b->rows; i++) {
                wrong += v->y[i] != v->first[i] && !(isnan(v->y[i]) && isnan(v->first[i]));
            }
            CHECK_I64(wrong, 0);
        }
        dns_plan_destroy(plan);
    }
    CHECK(worst_float(b, v) <= 1.0);
}

/* Enough work for threads at every level. */
static void
test_floats(void)
{
    uint64_t state = 4;
    bytes b = bytes_new(140, 500, true, &state);
    vectors v = vectors_new(&b, 260, &state);
    v.x[5 * b.cols + 7] = NAN;
    v.x[6 * b.cols + 8] = -INFINITY;
    dns_threads *pools[KIT_POOLS];
    kit_pools_new(pools);
    check_floats(&b, &v, pools, KIT_POOLS);
    kit_pools_free(pools);
    vectors_free(&v);
    bytes_free(&b);
}

/* Every number of columns and rows around the vectors. */
static void
test_floats_of_every_extent(void)
{
    uint64_t state = 11;
    dns_threads *none = NULL;
    for (size_t cols = 0; cols <= 67; cols++) {
        bytes b = bytes_new(cols * 5 % 36, cols, cols % 2 == 0, &state);
        vectors v = vectors_new(&b, 1 + cols % 4, &state);
        check_floats(&b, &v, &none, 1);
        vectors_free(&v);
        bytes_free(&b);
    }
}

static void
test_weights_come_back(void)
{
    uint64_t state = 5;
    bytes b = bytes_new(67, 131, true, &state);
    int8_t *w = malloc((size_t)67 * 131);
    float *dense = malloc((size_t)67 * 131 * sizeof *dense);
    REQUIRE(w != NULL && dense != NULL);
    KIT_FOR_EACH_LEVEL(isa)
    {
        dns_plan *plan = NULL;
        REQUIRE(create(&b, NULL, NONE, isa, NULL, &plan, NULL) == DNS_OK);
        REQUIRE(dns_igemm_unpack(plan, w, NULL) == DNS_OK);
        CHECK(memcmp(w, b.w, (size_t)67 * 131) == 0);
        dns_plan_to_dense(plan, dense);
        for (size_t i = 0; i < (size_t)67 * 131; i++) {
            const size_t m = i / 131;
            CHECK(dense[i] == b.scale[m] * (float)(b.w[i] - b.zero[m]));
        }
        dns_plan_destroy(plan);
    }
    free(dense);
    free(w);
    bytes_free(&b);
}

static void
test_bad_weights_name_the_row(void)
{
    uint64_t state = 6;
    bytes b = bytes_new(3, 4, false, &state);
    dns_plan *plan = NULL;
    dns_error err;
    b.scale[1] = NAN;
    CHECK_I64(create(&b, NULL, NONE, DNS_ISA_GENERIC, NULL, &plan, &err), DNS_ERR_VALUE);
    CHECK_I64(err.index, 1);
    CHECK_STR(err.message, "scale: row 1: expected a finite number > 0, got nan");
    b.scale[1] = 1.0F;
    b.zero[2] = 128;
    CHECK_I64(create(&b, NULL, NONE, DNS_ISA_GENERIC, NULL, &plan, &err), DNS_ERR_VALUE);
    CHECK_STR(err.message, "zero: row 2: expected an integer in [-128, 127], got 128");
    b.zero[2] = 0;
    b.cols = DNS_IGEMM_MAX_COLS + 1;
    CHECK_I64(create(&b, NULL, NONE, DNS_ISA_GENERIC, NULL, &plan, &err), DNS_ERR_VALUE);
    CHECK(plan == NULL);
    bytes_free(&b);
}

static dns_status
life(const dns_alloc *alloc, void *ctx)
{
    dns_plan *plan = NULL;
    DNS_TRY(create(ctx, NULL, NONE, dns_isa_detect(), alloc, &plan, NULL));
    dns_plan_destroy(plan);
    return DNS_OK;
}

static void
test_oom_igemm(void)
{
    uint64_t state = 7;
    bytes b = bytes_new(20, 30, false, &state);
    CHECK(tap_oom_sweep(life, &b) > 5);
    bytes_free(&b);
}

/* Codes are what the equations say, at every level; groups, both kinds, all widths. */
static void
test_quantizers(void)
{
    enum { R = 3, C = 75, G = 17, N_GROUPS = 5 };
    uint64_t state = 8;
    const kit_guard x = kit_matrix(R, C, C + 2);
    float *xs = x.data;
    for (size_t i = 0; i < R * (C + 2) - 2; i++) {
        xs[i] = kit_float(&state) * 3.0F + (i > C ? 2.0F : 0.0F);
    }
    KIT_FOR_EACH_LEVEL(isa)
    {
        for (int bits = 2; bits <= 8; bits++) {
            for (int symmetric = 0; symmetric < 2; symmetric++) {
                const dns_quant_in in = {xs, C + 2, R, C, G, bits, symmetric != 0};
                const kit_guard q = kit_guard_new((size_t)R * C, 1);
                float scale[R * N_GROUPS];
                int32_t zero[R * N_GROUPS];
                REQUIRE(dns_quantize(&in, isa, q.data, scale, zero, NULL) == DNS_OK);
                for (size_t i = 0; i < R * C; i++) {
                    const size_t g = i / C * N_GROUPS + i % C / G;
                    const float v = xs[i / C * (C + 2) + i % C];
                    const int code = symmetric ? ((int8_t *)q.data)[i] : ((uint8_t *)q.data)[i];
                    const int top = symmetric ? (1 << (bits - 1)) - 1 : (1 << bits) - 1;
                    double want = rint((double)(v / scale[g])) + zero[g];
                    want = fmin(top, fmax(symmetric ? -top : 0, want));
                    CHECK_I64(code, (int64_t)want);
                    CHECK(fabs((double)v - (double)scale[g] * (code - zero[g])) <=
                          (double)scale[g] * (symmetric ? 0.5001 : 1.0));
                }
                kit_guard_free(q);
            }
        }
    }
    kit_guard_free(x);
}

/* Rows and groups of every length around the vectors, in guarded memory: the generic level's bytes,
 * which test_quantizers checks, at every level. */
static void
test_quantizers_every_tail(void)
{
    enum { R = 2, MOST = 67 };
    uint64_t state = 10;
    for (size_t cols = 0; cols <= MOST; cols++) {
        const size_t group = cols % 3 == 0 ? cols + 1 : 1 + cols * 5 % 19;
        const size_t groups = (cols + group - 1) / group;
        const kit_guard x = kit_matrix(R, cols, cols + cols % 2);
        for (size_t i = 0; i < x.bytes / sizeof(float); i++) {
            ((float *)x.data)[i] = kit_float(&state);
        }
        const dns_quant_in in = {
            x.data,       (ptrdiff_t)(cols + cols % 2), R, cols, group, 2 + (int)(cols % 7),
            cols % 2 == 0};
        uint8_t first[R * MOST + 1];
        float first_scale[R * MOST + 1];
        KIT_FOR_EACH_LEVEL(isa)
        {
            const kit_guard q = kit_guard_new(R * cols, 1);
            const kit_guard scale = kit_guard_new(R * groups, sizeof(float));
            const kit_guard zero = kit_guard_new(R * groups, sizeof(int32_t));
            REQUIRE(dns_quantize(&in, isa, q.data, scale.data, zero.data, NULL) == DNS_OK);
            if (isa == DNS_ISA_GENERIC) {
                memcpy(first, q.data, q.bytes);
                memcpy(first_scale, scale.data, scale.bytes);
            }
            CHECK(memcmp(first, q.data, q.bytes) == 0);
            CHECK(memcmp(first_scale, scale.data, scale.bytes) == 0);
            kit_guard_free(zero);
            kit_guard_free(scale);
            kit_guard_free(q);
        }
        kit_guard_free(x);
    }
}

static void
test_quantizers_refuse(void)
{
    float x[4] = {1.0F, 2.0F, 3.0F, 4.0F};
    uint8_t q[4];
    float scale[2];
    int32_t zero[2];
    dns_error err;
    dns_quant_in in = {x, 2, 2, 2, 2, 9, true};
    CHECK_I64(dns_quantize(&in, DNS_ISA_GENERIC, q, scale, zero, &err), DNS_ERR_VALUE);
    CHECK_STR(err.message, "bits: expected 2 to 8, got 9");
    in.bits = 8;
    in.group = 0;
    CHECK_I64(dns_quantize(&in, DNS_ISA_GENERIC, q, scale, zero, &err), DNS_ERR_VALUE);
    in.group = 2;
    x[3] = NAN;
    KIT_FOR_EACH_LEVEL(isa)
    {
        CHECK_I64(dns_quantize(&in, isa, q, scale, zero, &err), DNS_ERR_VALUE);
        CHECK_STR(err.message, "x: row 1: expected finite numbers in elements 0 to 1");
        CHECK_I64(err.index, 1);
    }
    memset(x, 0, sizeof x);
    REQUIRE(dns_quantize(&in, DNS_ISA_GENERIC, q, scale, zero, &err) == DNS_OK);
    CHECK_F64((double)scale[0], 1.0);
    x[0] = 1e-45F;
    REQUIRE(dns_quantize(&in, DNS_ISA_GENERIC, q, scale, zero, &err) == DNS_OK);
    CHECK(scale[0] >= 1.17549435e-38F);
}

TAP_MAIN(TAP(test_every_tail_is_exact), TAP(test_every_extent_is_exact), TAP(test_empty_extents),
         TAP(test_threads_change_nothing), TAP(test_extremes_fit), TAP(test_floats),
         TAP(test_floats_of_every_extent), TAP(test_weights_come_back),
         TAP(test_bad_weights_name_the_row), TAP(test_oom_igemm), TAP(test_quantizers),
         TAP(test_quantizers_every_tail), TAP(test_quantizers_refuse))
