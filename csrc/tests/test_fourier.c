/* Fourier mixing: the definition, every shape's tails, guard pages, threads. */
#include "kernelkit.h"

#include "dns/fft.h"

#define TWO_PI 6.283185307179586476925286766559

/* Relative error in the 2-norm, at elements of all residues of powers of two. */
static double
error_of(const float *x, const float *y, size_t ld, size_t n, size_t d)
{
    double error = 0.0;
    double size = 0.0;
    for (size_t at = 0; at < n * d; at += n * d > 512 ? n * d / 64 - 1 : 1) {
        const size_t i = at / d;
        const size_t k = at % d;
        double sum = 0.0;
        for (size_t r = 0; r < n; r++) {
            for (size_t c = 0; c < d; c++) {
                const double turn =
                    (double)(i * r % n) / (double)n + (double)(k * c % d) / (double)d;
                sum += (double)x[r * ld + c] * cos(TWO_PI * turn);
            }
        }
        const double off = (double)y[i * ld + k] - sum;
        error += off * off;
        size += sum * sum;
    }
    return sqrt(error / size);
}

static void
mix(dns_isa isa, unsigned log2_rows, unsigned log2_cols, const float *x, float *y, size_t ld,
    dns_threads *threads)
{
    dns_fft *rows = NULL;
    dns_fft *cols = NULL;
    if (dns_fft_create(log2_rows, isa, NULL, &rows, NULL) != DNS_OK ||
        dns_fft_create(log2_cols, isa, NULL, &cols, NULL) != DNS_OK) {
        abort();
    }
    const size_t bytes = dns_fourier_workspace(rows, cols, dns_threads_count(threads));
    const kit_guard ws = kit_workspace(bytes);
    dns_fourier_mix(rows, cols, x, (ptrdiff_t)ld, y, (ptrdiff_t)ld, ws.data, threads);
    kit_guard_free(ws);
    dns_fft_destroy(cols);
    dns_fft_destroy(rows);
}

/* At every level: to a new array with several threads against the definition (where `exact`), and
 * in place with one thread, the same bytes. */
static void
check(unsigned log2_rows, unsigned log2_cols, size_t extra, bool exact, dns_threads *threads)
{
    const size_t n = (size_t)1 << log2_rows;
    const size_t d = (size_t)1 << log2_cols;
    const size_t ld = d + extra;
    const size_t bytes = ((n - 1) * ld + d) * sizeof(float);
    uint64_t state = log2_rows * 16 + log2_cols;
    const kit_guard x = kit_matrix(n, d, ld);
    const kit_guard same = kit_matrix(n, d, ld);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < d; j++) {
            ((float *)x.data)[i * ld + j] = kit_float(&state);
        }
    }
    KIT_FOR_EACH_LEVEL(isa)
    {
        if (isa > DNS_ISA_AVX512) { /* the same code as there */
            continue;
        }
        const kit_guard y = kit_matrix(n, d, ld);
        mix(isa, log2_rows, log2_cols, x.data, y.data, ld, threads);
        CHECK(kit_gaps_untouched(y.data, n, d, ld));
        if (exact) {
            CHECK(error_of(x.data, y.data, ld, n, d) <= 3e-7 * (log2_rows + log2_cols));
        }
        memcpy(same.data, x.data, bytes);
        mix(isa, log2_rows, log2_cols, same.data, same.data, ld, NULL);
        CHECK(memcmp(same.data, y.data, bytes) == 0);
        kit_guard_free(y);
    }
    kit_guard_free(same);
    kit_guard_free(x);
}

static void
test_every_shape(void)
{
    for (unsigned log2_rows = 3; log2_rows <= 7; log2_rows++) {
        for (unsigned log2_cols = 3; log2_cols <= 9; log2_cols++) {
            check(log2_rows, log2_cols, log2_rows % 2 * 3, true, NULL);
        }
    }
    check(10, 5, 0, true, NULL);
    check(13, 3, 1, false, NULL);
    check(3, 13, 0, true, NULL);
    kit_say_skipped();
}

static void
test_threads_do_not_matter(void)
{
    static const size_t counts[] = {2, 3, 7};
    for (size_t t = 0; t < 3; t++) {
        dns_threads *threads = NULL;
        REQUIRE(dns_threads_create(counts[t], NULL, &threads, NULL) == DNS_OK);
        check(9, 7, 1, false, threads);
        check(7, 10, 0, false, threads);
        dns_threads_destroy(threads);
    }
}

/* One number away from the origin gives a wave, at every level. */
static void
test_impulse(void)
{
    enum { N = 16, D = 64 };
    static float x[N * D];
    static float y[N * D];
    x[3 * D + 5] = 2.0F;
    KIT_FOR_EACH_LEVEL(isa)
    {
        mix(isa, 4, 6, x, y, D, NULL);
        for (size_t i = 0; i < N; i++) {
            for (size_t k = 0; k < D; k++) {
                const double turn = 3.0 * (double)i / N + 5.0 * (double)k / D;
                CHECK(fabs((double)y[i * D + k] - 2.0 * cos(TWO_PI * turn)) < 1e-6);
            }
        }
    }
}

TAP_MAIN(TAP(test_every_shape), TAP(test_threads_do_not_matter), TAP(test_impulse))
