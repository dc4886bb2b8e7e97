/* Row statistics at every level: float64 oracle, every tail, guard pages, maps, threads, and the
 * rules for NaN, infinities and ties. */
#include "kernelkit.h"

#include "dns/rowstats.h"

/* Guarded results. */
typedef struct results {
    kit_guard max_prob, margin, entropy, argmax;
    dns_rowstats view;
} results;

static results
results_new(size_t n)
{
    results r;
    r.max_prob = kit_guard_new(n, sizeof(float));
    r.margin = kit_guard_new(n, sizeof(float));
    r.entropy = kit_guard_new(n, sizeof(float));
    r.argmax = kit_guard_new(n, sizeof(int64_t));
    r.view =
        (dns_rowstats){r.max_prob.data, r.margin.data, r.entropy.data, (int64_t *)r.argmax.data};
    return r;
}

static void
results_free(results r)
{
    kit_guard_free(r.max_prob);
    kit_guard_free(r.margin);
    kit_guard_free(r.entropy);
    kit_guard_free(r.argmax);
}

static bool
near(float got, double want, double bound)
{
    return isnan(want) ? isnan(got) : fabs((double)got - want) <= bound;
}

/* Checks one place against float64. */
static void
check_place(const float *x, size_t pitch, size_t classes, double temperature, const dns_rowstats *r,
            size_t at)
{
    double top = -INFINITY;
    double second = -INFINITY;
    int64_t index = 0;
    int64_t nan_at = -1;
    for (size_t c = 0; c < classes; c++) {
        const double v = (double)x[c * pitch];
        if (isnan(v) && nan_at < 0) {
            nan_at = (int64_t)c;
        }
        if (v > top) {
            second = top;
            top = v;
            index = (int64_t)c;
        }
        else if (v > second) {
            second = v;
        }
    }
    double sum = 0.0;
    double t = 0.0;
    for (size_t c = 0; c < classes; c++) {
        const double d = ((double)x[c * pitch] - top) / temperature;
        const double e = exp(d);
        sum += e;
        t += e > 0.0 || isnan(e) ? d * e : 0.0;
    }
    const double margin = (1.0 - exp((second - top) / temperature)) / sum;
    const bool good = near(r->max_prob[at], 1.0 / sum, 1e-6) && near(r->margin[at], margin, 1e-6) &&
                      near(r->entropy[at], log(sum) - t / sum, 5e-6) &&
                      r->argmax[at] == (nan_at >= 0 ? nan_at : index);
    if (!good) {
        printf("# classes %zu, place %zu: got %g %g %g %lld, want %g %g %g %lld\n", classes, at,
               (double)r->max_prob[at], (double)r->margin[at], (double)r->entropy[at],
               (long long)r->argmax[at], 1.0 / sum, margin, log(sum) - t / sum, (long long)index);
    }
    CHECK(good);
}

static void
compute(const dns_logits *v, double temperature, dns_isa isa, dns_threads *threads,
        const dns_rowstats *out)
{
    dns_error err;
    CHECK(dns_rowstats_compute(v, temperature, isa, threads, out, &err) == DNS_OK);
}

static void
fill(float *x, size_t n, double size, uint64_t *state)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)((double)kit_float(state) * size);
    }
}

/* n rows with `extra` unused elements between them. */
static void
check_rows(size_t n, size_t classes, size_t extra, double temperature, dns_isa isa, uint64_t *state)
{
    const size_t ld = classes + extra;
    const kit_guard x = kit_matrix(n, classes, ld);
    float *data = x.data;
    for (size_t i = 0; i < n; i++) {
        fill(data + i * ld, classes, i % 3 == 0 ? 40.0 : 3.0, state);
    }
    const results r = results_new(n);
    const dns_logits v = {n, classes, 1, data, (ptrdiff_t)ld};
    compute(&v, temperature, isa, NULL, &r.view);
    for (size_t i = 0; i < n; i++) {
        check_place(data + i * ld, 1, classes, temperature, &r.view, i);
    }
    results_free(r);
    kit_guard_free(x);
}

static void
test_rows_every_tail(void)
{
    uint64_t state = 1;
    KIT_FOR_EACH_LEVEL(isa)
    {
        for (size_t classes = 1; isa <= DNS_ISA_AVX512 && classes <= 145; classes++) {
            check_rows(1 + classes % 7, classes, classes % 3, 1.0, isa, &state);
        }
        for (size_t n = 1; isa <= DNS_ISA_AVX512 && n <= 33; n++) {
            check_rows(n, 10, n % 2, 0.5, isa, &state);
            check_rows(n, 131 + n, n % 2, 2.5, isa, &state);
        }
    }
    kit_say_skipped();
}

static void
test_long_rows(void)
{
    uint64_t state = 2;
    KIT_FOR_EACH_LEVEL(isa)
    {
        if (isa <= DNS_ISA_AVX512) {
            check_rows(3, 32001, 1, 1.0, isa, &state);
            check_rows(1, (1U << 17) + 5, 0, 0.25, isa, &state);
        }
    }
}

/* Maps of every number of places around the vectors and tiles, and too many classes for a tile. */
static void
test_maps(void)
{
    static const size_t classes[] = {1, 2, 19, 21, 130, 520, 2100};
    uint64_t state = 3;
    KIT_FOR_EACH_LEVEL(isa)
    {
        for (size_t k = 0; isa <= DNS_ISA_AVX512 && k < sizeof classes / sizeof classes[0]; k++) {
            for (size_t inner = 2; inner <= 67; inner += classes[k] > 30 ? 9 : 1) {
                const size_t ld = classes[k] * inner + inner % 3;
                const kit_guard x = kit_matrix(2, classes[k] * inner, ld);
                fill(x.data, ld + classes[k] * inner, 5.0, &state);
                const results r = results_new(2 * inner);
                const dns_logits v = {2, classes[k], inner, x.data, (ptrdiff_t)ld};
                compute(&v, 1.0, isa, NULL, &r.view);
                for (size_t i = 0; i < 2 * inner; i++) {
                    check_place((float *)x.data + i / inner * ld + i % inner, inner, classes[k],
                                1.0, &r.view, i);
                }
                results_free(r);
                kit_guard_free(x);
            }
        }
    }
}

/* The same bytes for every number of threads, in rows and in maps. */
static void
test_threads(void)
{
    enum { N = 1500, C = 100 };
    uint64_t state = 4;
    dns_threads *pools[KIT_POOLS];
    kit_pools_new(pools);
    float *x = malloc(sizeof(float) * N * C);
    REQUIRE(x != NULL);
    fill(x, (size_t)N * C, 6.0, &state);
    const dns_logits shapes[] = {
        {N, C, 1, x, C}, {30, C, 50, x, 50 * C}, {1, C, N, x, 0}, {3, 50000, 1, x, 50000}};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        const size_t places = shapes[s].n * shapes[s].inner;
        KIT_FOR_EACH_LEVEL(isa)
        {
            const results one = results_new(places);
            compute(&shapes[s], 1.0, isa, NULL, &one.view);
            for (size_t t = 1; t < KIT_POOLS; t++) {
                const results many = results_new(places);
                compute(&shapes[s], 1.0, isa, pools[t], &many.view);
                CHECK(memcmp(one.view.max_prob, many.view.max_prob, places * sizeof(float)) == 0);
                CHECK(memcmp(one.view.margin, many.view.margin, places * sizeof(float)) == 0);
                CHECK(memcmp(one.view.entropy, many.view.entropy, places * sizeof(float)) == 0);
                CHECK(memcmp(one.view.argmax, many.view.argmax, places * sizeof(int64_t)) == 0);
                results_free(many);
            }
            results_free(one);
        }
    }
    kit_pools_free(pools);
    free(x);
}

/* Special values at every place of short and long rows, and of maps. */
static void
test_rules(void)
{
    static const size_t classes[] = {2, 5, 17, 128, 300};
    enum { MOST = 300 };
    float x[2 * MOST];
    KIT_FOR_EACH_LEVEL(isa)
    {
        for (size_t k = 0; k < sizeof classes / sizeof classes[0]; k++) {
            const size_t c = classes[k];
            for (size_t at = 0; at < c; at += 1 + c / 40) {
                for (int kind = 0; kind < 5; kind++) {
                    for (size_t i = 0; i < 2 * c; i++) {
                        x[i] = kind == 3 ? -INFINITY : 1.0F;
                    }
                    x[at] = kind == 0 ? NAN : kind == 1 ? INFINITY : kind == 2 ? -INFINITY : 2.0F;
                    if (kind == 4) { /* two NaN, with other bits, before a larger value */
                        x[at] = -NAN;
                        x[c - 1] = at == c - 1 ? NAN : 9.0F;
                    }
                    const results r = results_new(2);
                    const dns_logits rows = {2, c, 1, x, (ptrdiff_t)c};
                    compute(&rows, 1.0, isa, NULL, &r.view);
                    check_place(x, 1, c, 1.0, &r.view, 0);
                    check_place(x + c, 1, c, 1.0, &r.view, 1);
                    const dns_logits map = {1, c, 2, x, (ptrdiff_t)(2 * c)};
                    compute(&map, 1.0, isa, NULL, &r.view);
                    check_place(x, 2, c, 1.0, &r.view, 0);
                    check_place(x + 1, 2, c, 1.0, &r.view, 1);
                    results_free(r);
                }
            }
        }
    }
}

static void
test_certain_rows_are_exact(void)
{
    const float x[6] = {-INFINITY, 3.0F, -INFINITY, -500.0F, 3.0F, 2.0F};
    KIT_FOR_EACH_LEVEL(isa)
    {
        const results r = results_new(1);
        const dns_logits sure = {1, 4, 1, x, 4};
        compute(&sure, 1.0, isa, NULL, &r.view);
        CHECK_F64((double)r.view.max_prob[0], 1.0);
        CHECK_F64((double)r.view.margin[0], 1.0);
        CHECK_F64((double)r.view.entropy[0], 0.0);
        CHECK_I64(r.view.argmax[0], 1);
        const dns_logits tie = {1, 6, 1, x, 6};
        compute(&tie, 1.0, isa, NULL, &r.view);
        CHECK_F64((double)r.view.margin[0], 0.0);
        CHECK_I64(r.view.argmax[0], 1);
        results_free(r);
    }
}

static void
test_bad_arguments(void)
{
    const float x[1] = {0.0F};
    const dns_logits one = {1, 1, 1, x, 1};
    const double temperatures[] = {0.0, -1.0, (double)NAN, (double)INFINITY, 1e-40, 1e300};
    const results r = results_new(1);
    dns_error err;
    for (size_t i = 0; i < sizeof temperatures / sizeof temperatures[0]; i++) {
        CHECK(dns_rowstats_compute(&one, temperatures[i], DNS_ISA_GENERIC, NULL, &r.view, &err) ==
              DNS_ERR_VALUE);
    }
    const dns_logits none = {1, 0, 1, x, 0};
    CHECK(dns_rowstats_compute(&none, 1.0, DNS_ISA_GENERIC, NULL, &r.view, &err) == DNS_ERR_VALUE);
    const dns_logits many = {1, 1U << 24, 1, x, 1 << 24};
    CHECK(dns_rowstats_compute(&many, 1.0, DNS_ISA_GENERIC, NULL, &r.view, &err) == DNS_ERR_VALUE);
    const dns_logits empty = {0, 0, 1, x, 0};
    CHECK(dns_rowstats_compute(&empty, 1.0, DNS_ISA_GENERIC, NULL, &r.view, &err) == DNS_OK);
    results_free(r);
}

TAP_MAIN(TAP(test_rows_every_tail), TAP(test_long_rows), TAP(test_maps), TAP(test_threads),
         TAP(test_rules), TAP(test_certain_rows_are_exact), TAP(test_bad_arguments))
