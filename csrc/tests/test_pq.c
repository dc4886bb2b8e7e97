/* Product quantisers at every level: codes are the double-precision definition's, in close races,
 * at all magnitudes, with tails, gaps, guard pages and threads; training; refusals. */
#include "kernelkit.h"

#include "dns/pq.h"

static float *
floats_new(size_t n)
{
    float *x = malloc((n + 1) * sizeof *x);
    if (x == NULL) {
        abort();
    }
    return x;
}

/* size * uniform + offset */
static float *
random_new(size_t n, double size, double offset, uint64_t *state)
{
    float *x = floats_new(n);
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)((double)kit_float(state) * size + offset);
    }
    return x;
}

static dns_pq *
pq_new(const float *books, dns_pq_shape shape, dns_isa isa)
{
    dns_pq *pq = NULL;
    dns_error err;
    if (dns_pq_create(books, shape, isa, NULL, &pq, &err) != DNS_OK) {
        abort();
    }
    return pq;
}

/* The definition. */
static size_t
oracle(const float *books, dns_pq_shape shape, size_t s, const float *x)
{
    size_t at = 0;
    double best = INFINITY;
    for (size_t j = 0; j < shape.ksub; j++) {
        double sum = 0.0;
        for (size_t k = 0; k < shape.dsub; k++) {
            const double d = (double)x[s * shape.dsub + k] -
                             (double)books[(s * shape.ksub + j) * shape.dsub + k];
            sum += d * d;
        }
        if (sum < best) {
            best = sum;
            at = j;
        }
    }
    return at;
}

static dns_status
encode(const dns_pq *pq, size_t n, const float *x, ptrdiff_t ldx, uint8_t *codes, ptrdiff_t ldc,
       dns_threads *threads, dns_error *err)
{
    const size_t bytes = dns_pq_workspace(pq, dns_threads_count(threads));
    const kit_guard ws = kit_workspace(bytes);
    const dns_status status = dns_pq_encode(pq, n, x, ldx, codes, ldc, ws.data, threads, err);
    kit_guard_free(ws);
    return status;
}

/* Codes decode to their centroids, bit for bit, into guarded rows with gaps. */
static void
check_decoded(const dns_pq *pq, const float *books, size_t n, const uint8_t *codes, size_t ldc,
              size_t extra, dns_threads *threads)
{
    const dns_pq_shape shape = dns_pq_shape_of(pq);
    const size_t dim = shape.m * shape.dsub;
    const kit_guard y = kit_matrix(n, dim, dim + extra);
    CHECK(dns_pq_decode(pq, n, codes, (ptrdiff_t)ldc, y.data, (ptrdiff_t)(dim + extra), threads,
                        NULL) == DNS_OK);
    size_t wrong = 0;
    for (size_t i = 0; i < n * shape.m; i++) {
        const size_t s = i % shape.m;
        const float *centroid =
            books + (s * shape.ksub + codes[i / shape.m * ldc + s]) * shape.dsub;
        const float *got = (const float *)y.data + i / shape.m * (dim + extra) + s * shape.dsub;
        wrong += memcmp(got, centroid, shape.dsub * sizeof *got) != 0;
    }
    CHECK_I64(wrong, 0);
    CHECK(kit_gaps_untouched(y.data, n, dim, dim + extra));
    kit_guard_free(y);
}

/* Encodes n of the rows (guarded, with gaps), on several pools, and compares with the definition.
 */
static void
check_codes(const dns_pq *pq, const float *books, size_t n, const float *x, size_t extra,
            dns_threads *const *pools, size_t n_pools)
{
    const dns_pq_shape shape = dns_pq_shape_of(pq);
    const size_t dim = shape.m * shape.dsub;
    const size_t ldx = dim + extra;
    const size_t ldc = shape.m + extra;
    const kit_guard rows = kit_matrix(n, dim, ldx);
    for (size_t i = 0; i < n; i++) {
        memcpy((float *)rows.data + i * ldx, x + i * dim, dim * sizeof *x);
    }
    for (size_t t = 0; t < n_pools; t++) {
        const kit_guard codes = kit_guard_new(n == 0 ? 0 : (n - 1) * ldc + shape.m, 1);
        const uint8_t *got = codes.data;
        dns_error err;
        CHECK(encode(pq, n, rows.data, (ptrdiff_t)ldx, codes.data, (ptrdiff_t)ldc, pools[t],
                     &err) == DNS_OK);
        size_t wrong = 0;
        for (size_t i = 0; i < n; i++) {
            for (size_t s = 0; s < shape.m; s++) {
                wrong += got[i * ldc + s] != oracle(books, shape, s, x + i * dim);
            }
            for (size_t s = shape.m; i + 1 < n && s < ldc; s++) {
                wrong += got[i * ldc + s] != 0x7f;
            }
        }
        if (wrong > 0) {
            printf("# level %s, n %zu, m %zu, ksub %zu, dsub %zu, pool %zu: %zu wrong\n",
                   dns_isa_name((int)dns_pq_isa(pq)), n, shape.m, shape.ksub, shape.dsub, t, wrong);
        }
        CHECK(wrong == 0);
        check_decoded(pq, books, n, got, ldc, extra, pools[t]);
        kit_guard_free(codes);
    }
    kit_guard_free(rows);
}

/* Random codebooks and rows at every level. */
static void
check_shape(dns_pq_shape shape, size_t n, dns_threads *const *pools, size_t n_pools,
            uint64_t *state)
{
    float *books = random_new(shape.m * shape.ksub * shape.dsub, 1.0, 0.0, state);
    float *x = random_new(n * shape.m * shape.dsub, 1.2, 0.0, state);
    KIT_FOR_EACH_LEVEL(isa)
    {
        dns_pq *pq = pq_new(books, shape, isa);
        if (dns_pq_isa(pq) == isa) {
            check_codes(pq, books, n, x, n % 3, pools, n_pools);
        }
        dns_pq_destroy(pq);
    }
    free(books);
    free(x);
}

static void
test_every_tail(void)
{
    uint64_t state = 1;
    dns_threads *none = NULL;
    for (size_t n = 0; n <= 67; n++) {
        check_shape((dns_pq_shape){1 + n % 4, 16, 1 + n % 5}, n, &none, 1, &state);
    }
    for (size_t dsub = 1; dsub <= 33; dsub++) {
        check_shape((dns_pq_shape){1 + dsub % 3, dsub % 2 == 0 ? 16 : 256, dsub}, 5, &none, 1,
                    &state);
    }
    check_shape((dns_pq_shape){2, 256, 200}, 40, &none, 1, &state);
    kit_say_skipped();
}

static void
test_threads(void)
{
    uint64_t state = 2;
    dns_threads *pools[KIT_POOLS];
    kit_pools_new(pools);
    check_shape((dns_pq_shape){8, 256, 8}, 301, pools, KIT_POOLS, &state);
    check_shape((dns_pq_shape){3, 16, 7}, 3203, pools, KIT_POOLS, &state);
    kit_pools_free(pools);
}

/* Rows at, between and next to centroids that lie on a coarse grid and repeat: ties everywhere. */
static void
test_ties_take_the_lowest(void)
{
    uint64_t state = 3;
    const dns_pq_shape shape = {2, 256, 3};
    const size_t n = 200;
    float *books = floats_new(shape.m * shape.ksub * shape.dsub);
    float *x = floats_new(n * shape.m * shape.dsub);
    for (size_t i = 0; i < shape.m * shape.ksub * shape.dsub; i++) {
        books[i] = (float)(kit_random(&state) % 4);
    }
    for (size_t i = 0; i < n * shape.m * shape.dsub; i++) {
        x[i] = (float)(kit_random(&state) % 9) / 2.0F;
        if (kit_random(&state) % 4 == 0) {
            x[i] = nextafterf(x[i], 1.3F);
        }
    }
    dns_threads *none = NULL;
    KIT_FOR_EACH_LEVEL(isa)
    {
        dns_pq *pq = pq_new(books, shape, isa);
        check_codes(pq, books, n, x, 1, &none, 1);
        dns_pq_destroy(pq);
    }
    free(books);
    free(x);
}

/* Far from zero, tiny, huge, and beyond what float32 can sum. */
static void
test_every_magnitude(void)
{
    static const double size[9] = {1.0, 1e-3, 1e-25, 1e-41, 1e10, 1e19, 1e30, 3e38, 0.0};
    static const double offset[9] = {1e6, 1e4, 0.0, 0.0, -3e10, 0.0, 0.0, 0.0, 7.0};
    uint64_t state = 4;
    const dns_pq_shape shape = {3, 256, 4};
    const size_t n = 70;
    dns_threads *none = NULL;
    for (size_t c = 0; c < 9; c++) {
        float *books = random_new(shape.m * shape.ksub * shape.dsub, size[c], offset[c], &state);
        float *x = random_new(n * shape.m * shape.dsub, size[c], offset[c], &state);
        x[5] = 3e38F;
        x[6] = -3e38F;
        KIT_FOR_EACH_LEVEL(isa)
        {
            dns_pq *pq = pq_new(books, shape, isa);
            check_codes(pq, books, n, x, 0, &none, 1);
            dns_pq_destroy(pq);
        }
        free(books);
        free(x);
    }
}

static void
test_not_finite_names_the_first_row(void)
{
    uint64_t state = 5;
    const dns_pq_shape shape = {8, 256, 4};
    const size_t n = 150;
    const size_t dim = shape.m * shape.dsub;
    float *books = random_new(shape.m * shape.ksub * shape.dsub, 1.0, 0.0, &state);
    float *x = random_new(n * dim, 1.0, 0.0, &state);
    uint8_t *codes = malloc(n * shape.m);
    REQUIRE(codes != NULL);
    x[97 * dim + 3] = NAN;
    x[98 * dim] = INFINITY;
    x[149 * dim + 31] = -INFINITY;
    dns_threads *pools[KIT_POOLS];
    kit_pools_new(pools);
    KIT_FOR_EACH_LEVEL(isa)
    {
        dns_pq *pq = pq_new(books, shape, isa);
        for (size_t t = 0; t < 4; t++) {
            dns_error err;
            CHECK(encode(pq, n, x, (ptrdiff_t)dim, codes, (ptrdiff_t)shape.m, pools[t], &err) ==
                  DNS_ERR_VALUE);
            CHECK(err.index == 97);
            CHECK(strcmp(err.message, "X: expected finite numbers, got nan in row 97, column 3") ==
                  0);
            CHECK(encode(pq, n - 99, x + 99 * dim, (ptrdiff_t)dim, codes, (ptrdiff_t)shape.m,
                         pools[t], &err) == DNS_ERR_VALUE);
            CHECK(err.index == 50);
        }
        dns_pq_destroy(pq);
    }
    kit_pools_free(pools);
    free(codes);
    free(books);
    free(x);
}

/* Centroids encode to themselves and come back bit for bit, whatever dsub copies by. */
static void
test_centroids_come_back(void)
{
    uint64_t state = 6;
    static const size_t dsubs[9] = {1, 2, 3, 4, 7, 8, 16, 32, 37};
    for (size_t c = 0; c < 9; c++) {
        const dns_pq_shape shape = {3, c % 2 == 0 ? 256 : 16, dsubs[c]};
        const size_t dim = shape.m * shape.dsub;
        float *books = random_new(shape.m * shape.ksub * shape.dsub, 1.0, 0.0, &state);
        float *x = floats_new(shape.ksub * dim);
        for (size_t j = 0; j < shape.ksub; j++) {
            for (size_t s = 0; s < shape.m; s++) {
                const size_t other = (j * 7 + s) % shape.ksub;
                memcpy(x + j * dim + s * shape.dsub, books + (s * shape.ksub + other) * shape.dsub,
                       shape.dsub * sizeof *x);
            }
        }
        const kit_guard codes = kit_guard_new(shape.ksub * shape.m, 1);
        KIT_FOR_EACH_LEVEL(isa)
        {
            const kit_guard y = kit_matrix(shape.ksub, dim, dim + 2);
            dns_pq *pq = pq_new(books, shape, isa);
            dns_error err;
            CHECK(encode(pq, shape.ksub, x, (ptrdiff_t)dim, codes.data, (ptrdiff_t)shape.m, NULL,
                         &err) == DNS_OK);
            CHECK(dns_pq_decode(pq, shape.ksub, codes.data, (ptrdiff_t)shape.m, y.data,
                                (ptrdiff_t)dim + 2, NULL, &err) == DNS_OK);
            for (size_t j = 0; j < shape.ksub; j++) {
                CHECK(memcmp((float *)y.data + j * (dim + 2), x + j * dim, dim * sizeof *x) == 0);
            }
            CHECK(kit_gaps_untouched(y.data, shape.ksub, dim, dim + 2));
            dns_pq_destroy(pq);
            kit_guard_free(y);
        }
        kit_guard_free(codes);
        free(books);
        free(x);
    }
}

static void
test_codes_are_checked(void)
{
    uint64_t state = 7;
    const dns_pq_shape shape = {2, 16, 1};
    float *books = random_new(32, 1.0, 0.0, &state);
    dns_pq *pq = pq_new(books, shape, DNS_ISA_GENERIC);
    static const uint8_t codes[6] = {0, 15, 3, 4, 2, 16};
    float y[6] = {9.0F, 9.0F, 9.0F, 9.0F, 9.0F, 9.0F};
    dns_error err;
    CHECK(dns_pq_decode(pq, 3, codes, 2, y, 2, NULL, &err) == DNS_ERR_VALUE);
    CHECK(err.index == 2 && y[0] == 9.0F);
    CHECK(strcmp(err.message, "codes: expected values below 16, got 16 in row 2, column 1") == 0);
    CHECK(dns_pq_decode(pq, 2, codes, 2, y, 2, NULL, &err) == DNS_OK);
    CHECK(y[1] == books[31] && y[4] == 9.0F);
    dns_pq_destroy(pq);
    free(books);
}

static void
check_refused(dns_pq_shape shape, const float *books, int64_t index, const char *message)
{
    dns_pq *pq = NULL;
    dns_error err;
    CHECK(dns_pq_create(books, shape, DNS_ISA_GENERIC, NULL, &pq, &err) == DNS_ERR_VALUE);
    CHECK(err.index == index && pq == NULL);
    CHECK(strcmp(err.message, message) == 0);
}

static void
test_codebooks_are_checked(void)
{
    uint64_t state = 8;
    float *books = random_new(64, 1.0, 0.0, &state);
    check_refused((dns_pq_shape){1, 32, 1}, books, -1,
                  "codebooks: expected 16 or 256 centroids, got 32");
    check_refused((dns_pq_shape){0, 16, 1}, books, -1,
                  "codebooks: expected 1 to 16777216 codebooks of 1 elements, got 0");
    check_refused((dns_pq_shape){1, 16, 0}, books, -1,
                  "codebooks: expected centroids of 1 to 65536 elements, got 0");
    check_refused((dns_pq_shape){(size_t)1 << 60, 256, 8}, books, -1,
                  "codebooks: expected 1 to 2097152 codebooks of 8 elements, got "
                  "1152921504606846976");
    books[2 * (16 + 5) + 1] = NAN;
    check_refused((dns_pq_shape){2, 16, 2}, books, 43,
                  "codebooks: expected finite numbers, got nan in centroid 5 of codebook 1");
    free(books);
}

/* Rows of n_clumps clumps, so that random rows begin many centroids in one clump and none in
 * others. */
static float *
clumps_new(size_t n, size_t dim, size_t n_clumps, double spread, uint64_t *state)
{
    float *centre = random_new(n_clumps * dim, 100.0, 0.0, state);
    float *x = floats_new(n * dim);
    for (size_t i = 0; i < n; i++) {
        const size_t c = i < n_clumps ? i : kit_random(state) % n_clumps;
        for (size_t k = 0; k < dim; k++) {
            x[i * dim + k] =
                (float)((double)centre[c * dim + k] + spread * (double)kit_float(state));
        }
    }
    free(centre);
    return x;
}

static int64_t *
order_new(size_t n)
{
    int64_t *order = malloc(n * sizeof *order);
    if (order == NULL) {
        abort();
    }
    for (size_t i = 0; i < n; i++) {
        order[i] = (int64_t)(i * 7919 % n);
    }
    return order;
}

static double
squared_error(const float *books, dns_pq_shape shape, const float *x, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        for (size_t s = 0; s < shape.m; s++) {
            const float *row = x + i * shape.m * shape.dsub;
            const size_t at = oracle(books, shape, s, row);
            for (size_t k = 0; k < shape.dsub; k++) {
                const double d = (double)row[s * shape.dsub + k] -
                                 (double)books[(s * shape.ksub + at) * shape.dsub + k];
                sum += d * d;
            }
        }
    }
    return sum;
}

/* All centroids begin as one row: those that win no row are re-seeded, and none is left unused. */
static void
test_training_reseeds(void)
{
    uint64_t state = 9;
    const dns_pq_shape shape = {1, 16, 3};
    const size_t n = 1009;
    float *x = clumps_new(n, 3, 16, 0.01, &state);
    int64_t *order = order_new(n);
    float books[16 * 3];
    float mean[16 * 3];
    for (size_t i = 0; i < 16; i++) {
        order[i] = 5;
    }
    dns_pq_training t = {
        .shape = shape, .x = x, .ldx = 3, .n = n, .order = order, .batch = 300, .steps = 20};
    dns_error err;
    CHECK(dns_pq_train(&t, DNS_ISA_GENERIC, NULL, NULL, books, &err) == DNS_OK);
    size_t rows[16] = {0};
    for (size_t i = 0; i < n; i++) {
        rows[oracle(books, shape, 0, x + i * 3)]++;
    }
    for (size_t j = 0; j < 16; j++) {
        CHECK(rows[j] > 0);
        memcpy(mean + j * 3, x + order[5] * 3, 3 * sizeof *x);
    }
    CHECK(squared_error(books, shape, x, n) <= 0.05 * squared_error(mean, shape, x, n));
    free(order);
    free(x);
}

/* The same bytes at every level and number of threads; gaps between rows; mini-batches. */
static void
test_training_is_reproducible(void)
{
    uint64_t state = 10;
    const dns_pq_shape shape = {3, 16, 5};
    const size_t n = 701;
    float *rows = clumps_new(n, 17, 40, 20.0, &state);
    int64_t *order = order_new(n);
    dns_threads *pools[KIT_POOLS];
    kit_pools_new(pools);
    for (size_t batch = 100; batch <= 800; batch += 350) {
        const dns_pq_training t = {.shape = shape,
                                   .x = rows,
                                   .ldx = 17,
                                   .n = n,
                                   .order = order,
                                   .batch = batch,
                                   .steps = 9};
        float first[3 * 16 * 5];
        bool any = false;
        KIT_FOR_EACH_LEVEL(isa)
        {
            for (size_t p = 0; p < 4; p++) {
                float books[3 * 16 * 5];
                dns_error err;
                CHECK(dns_pq_train(&t, isa, pools[p], NULL, books, &err) == DNS_OK);
                if (!any) {
                    memcpy(first, books, sizeof first);
                    any = true;
                }
                CHECK(memcmp(first, books, sizeof first) == 0);
            }
        }
    }
    kit_pools_free(pools);
    free(order);
    free(rows);
}

/* Fewer different rows than centroids: each of them is a centroid. */
static void
test_training_with_few_values(void)
{
    const dns_pq_shape shape = {1, 16, 2};
    float x[64][2];
    int64_t order[64];
    float books[32];
    for (size_t i = 0; i < 64; i++) {
        x[i][0] = i < 50 ? 0.0F : (float)(i % 5);
        x[i][1] = 1e20F;
        order[i] = (int64_t)i;
    }
    const dns_pq_training t = {
        .shape = shape, .x = x[0], .ldx = 2, .n = 64, .order = order, .batch = 64, .steps = 3};
    dns_error err;
    CHECK(dns_pq_train(&t, DNS_ISA_GENERIC, NULL, NULL, books, &err) == DNS_OK);
    CHECK(squared_error(books, shape, x[0], 64) == 0.0);
}

typedef struct stops {
    size_t left;
} stops;

static bool
countdown(void *ctx)
{
    stops *s = ctx;
    return s->left-- > 0;
}

static void
test_training_is_checked(void)
{
    float x[20] = {0.0F};
    int64_t order[20];
    float books[16] = {5.0F};
    for (size_t i = 0; i < 20; i++) {
        x[i] = (float)i;
        order[i] = (int64_t)i;
    }
    stops stop = {2};
    const dns_pq_training good = {.shape = {1, 16, 1},
                                  .x = x,
                                  .ldx = 1,
                                  .n = 20,
                                  .order = order,
                                  .batch = 20,
                                  .steps = 5,
                                  .go_on = countdown,
                                  .ctx = &stop};
    dns_error err;
    CHECK(dns_pq_train(&good, DNS_ISA_GENERIC, NULL, NULL, books, &err) == DNS_ERR_CALLBACK);
    CHECK(strcmp(err.message, "training: stopped after 3 steps") == 0 && books[0] == 5.0F);
    dns_pq_training t = good;
    t.n = 15;
    CHECK(dns_pq_train(&t, DNS_ISA_GENERIC, NULL, NULL, books, &err) == DNS_ERR_VALUE);
    CHECK(strcmp(err.message, "X: expected at least 16 rows, one per centroid, and below 2^31, got "
                              "15") == 0);
    t = good;
    t.batch = 15;
    CHECK(dns_pq_train(&t, DNS_ISA_GENERIC, NULL, NULL, books, &err) == DNS_ERR_VALUE);
    CHECK(strcmp(err.message, "batch: expected at least 16 rows, one per centroid, got 15") == 0);
    t = good;
    t.steps = 0;
    CHECK(dns_pq_train(&t, DNS_ISA_GENERIC, NULL, NULL, books, &err) == DNS_ERR_VALUE);
    order[7] = 20;
    CHECK(dns_pq_train(&good, DNS_ISA_GENERIC, NULL, NULL, books, &err) == DNS_ERR_VALUE);
    CHECK(err.index == 7);
    x[3] = INFINITY;
    CHECK(dns_pq_train(&good, DNS_ISA_GENERIC, NULL, NULL, books, &err) == DNS_ERR_VALUE);
    CHECK(strcmp(err.message, "X: expected finite numbers, got inf in row 3, column 0") == 0);
    CHECK(books[0] == 5.0F);
}

static dns_status
life(const dns_alloc *alloc, void *ctx)
{
    const dns_pq_training *t = ctx;
    float books[16];
    dns_pq *pq = NULL;
    DNS_TRY(dns_pq_train(t, dns_isa_detect(), NULL, alloc, books, NULL));
    DNS_TRY(dns_pq_create(books, t->shape, dns_isa_detect(), alloc, &pq, NULL));
    dns_pq_destroy(pq);
    return DNS_OK;
}

static void
test_oom_pq(void)
{
    float x[20];
    int64_t order[20];
    for (size_t i = 0; i < 20; i++) {
        x[i] = (float)i;
        order[i] = (int64_t)i;
    }
    dns_pq_training t = {.shape = {1, 16, 1}, .x = x, .ldx = 1, .n = 20, .order = order};
    t.batch = 20;
    t.steps = 2;
    CHECK(tap_oom_sweep(life, &t) > 16);
}

TAP_MAIN(TAP(test_every_tail), TAP(test_threads), TAP(test_ties_take_the_lowest),
         TAP(test_every_magnitude), TAP(test_not_finite_names_the_first_row),
         TAP(test_centroids_come_back), TAP(test_codes_are_checked),
         TAP(test_codebooks_are_checked), TAP(test_training_reseeds),
         TAP(test_training_is_reproducible), TAP(test_training_with_few_values),
         TAP(test_training_is_checked), TAP(test_oom_pq))
