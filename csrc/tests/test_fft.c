/* Fourier transforms of rows and columns: the definition, every tail, guard pages, threads. */
#include "kernelkit.h"

#include "dns/fft.h"

#define TWO_PI 6.283185307179586476925286766559

static dns_fft *
new_fft(unsigned log2n, dns_isa isa)
{
    dns_fft *fft = NULL;
    if (dns_fft_create(log2n, isa, NULL, &fft, NULL) != DNS_OK || dns_fft_log2n(fft) != log2n) {
        abort();
    }
    return fft;
}

/* Pairs of vector v of an array of rows or columns: element j begins at the result. */
static size_t
at(bool rows, size_t ld, size_t v, size_t j)
{
    return rows ? v * ld + 2 * j : j * ld + 2 * v;
}

/* Relative error in the 2-norm of vector v, at elements of all residues of powers of two. */
static double
error_of(bool rows, const float *x, const float *y, size_t ld, size_t v, size_t n)
{
    static double root[2 << DNS_FFT_MAX_LOG2];
    for (size_t j = 0; j < n; j++) {
        root[2 * j] = cos(TWO_PI * (double)j / (double)n);
        root[2 * j + 1] = -sin(TWO_PI * (double)j / (double)n);
    }
    double error = 0.0;
    double size = 0.0;
    for (size_t k = 0; k < n; k += n > 256 ? n / 64 - 1 : 1) {
        double re = 0.0;
        double im = 0.0;
        for (size_t j = 0; j < n; j++) {
            const float *p = x + at(rows, ld, v, j);
            const double *w = root + 2 * (j * k % n);
            re += (double)p[0] * w[0] - (double)p[1] * w[1];
            im += (double)p[0] * w[1] + (double)p[1] * w[0];
        }
        const float *q = y + at(rows, ld, v, k);
        error += ((double)q[0] - re) * ((double)q[0] - re);
        error += ((double)q[1] - im) * ((double)q[1] - im);
        size += re * re + im * im;
    }
    return size == 0.0 ? error : sqrt(error / size);
}

static void
transform(bool rows, const dns_fft *fft, const float *x, float *y, size_t ld, size_t count,
          dns_threads *threads)
{
    const kit_guard ws = kit_workspace(dns_fft_workspace(fft, dns_threads_count(threads)));
    if (rows) {
        dns_fft_rows(fft, x, (ptrdiff_t)ld, y, (ptrdiff_t)ld, count, ws.data, threads);
    }
    else {
        dns_fft_columns(fft, x, (ptrdiff_t)ld, y, (ptrdiff_t)ld, count, ws.data, threads);
    }
    kit_guard_free(ws);
}

/* Every level's transform of n x count numbers with `extra` floats between the rows of the array,
 * to a new array with several threads and in place with one, against the definition. */
static void
check(bool rows, unsigned log2n, size_t count, size_t extra, dns_threads *threads)
{
    const size_t n = (size_t)1 << log2n;
    const size_t high = rows ? count : n;
    const size_t wide = 2 * (rows ? n : count);
    const size_t ld = wide + extra;
    uint64_t state = log2n + 31 * count;
    const kit_guard x = kit_matrix(high, wide, ld);
    const kit_guard same = kit_matrix(high, wide, ld);
    for (size_t i = 0; i < high; i++) {
        for (size_t j = 0; j < wide; j++) {
            ((float *)x.data)[i * ld + j] = kit_float(&state);
        }
    }
    const size_t bytes = high == 0 || wide == 0 ? 0 : ((high - 1) * ld + wide) * sizeof(float);
    KIT_FOR_EACH_LEVEL(isa)
    {
        if (isa > DNS_ISA_AVX512) { /* the same code as there */
            continue;
        }
        dns_fft *fft = new_fft(log2n, isa);
        const kit_guard y = kit_matrix(high, wide, ld);
        transform(rows, fft, x.data, y.data, ld, count, threads);
        CHECK(kit_gaps_untouched(y.data, high, wide, ld));
        for (size_t v = 0; v < count; v += 1 + count / 3) {
            CHECK(error_of(rows, x.data, y.data, ld, v, n) <= 3e-7 * log2n);
        }
        memcpy(same.data, x.data, bytes);
        transform(rows, fft, same.data, same.data, ld, count, NULL);
        CHECK(memcmp(same.data, y.data, bytes) == 0);
        kit_guard_free(y);
        dns_fft_destroy(fft);
    }
    kit_guard_free(same);
    kit_guard_free(x);
}

static void
test_rows_of_every_length(void)
{
    for (unsigned log2n = DNS_FFT_MIN_LOG2; log2n <= DNS_FFT_MAX_LOG2; log2n++) {
        check(true, log2n, 3, 0, NULL);
        check(true, log2n, 2, 3, NULL);
    }
    for (size_t count = 0; count <= 35; count++) {
        check(true, 3 + (unsigned)(count % 5), count, count % 2, NULL);
    }
    kit_say_skipped();
}

static void
test_columns_of_every_tail(void)
{
    for (size_t count = 0; count <= 35; count++) {
        check(false, 3 + (unsigned)(count % 4), count, count % 3, NULL);
    }
    for (unsigned log2n = 7; log2n <= DNS_FFT_MAX_LOG2; log2n++) {
        check(false, log2n, 17, 0, NULL);
    }
}

static void
test_threads_do_not_matter(void)
{
    static const size_t counts[] = {2, 3, 7};
    for (size_t t = 0; t < 3; t++) {
        dns_threads *threads = NULL;
        REQUIRE(dns_threads_create(counts[t], NULL, &threads, NULL) == DNS_OK);
        check(true, 6, 300, 1, threads);
        check(true, 10, 37, 0, threads);
        check(false, 9, 301, 0, threads);
        dns_threads_destroy(threads);
    }
}

/* A vector gives the same bytes wherever it stands and whatever stands beside it. */
static void
check_neighbours(unsigned log2n)
{
    enum { COUNT = 21, FLOATS = 512 };
    static float x[COUNT * FLOATS];
    static float y[COUNT * FLOATS];
    float alone[FLOATS];
    const size_t wide = (size_t)2 << log2n;
    uint64_t state = 5;
    for (size_t i = 0; i < COUNT * wide; i++) {
        x[i] = i / wide == 3 ? NAN : kit_float(&state);
    }
    KIT_FOR_EACH_LEVEL(isa)
    {
        dns_fft *fft = new_fft(log2n, isa);
        transform(true, fft, x, y, wide, COUNT, NULL);
        for (size_t v = 0; v < COUNT; v++) {
            transform(true, fft, x + v * wide, alone, wide, 1, NULL);
            if (v != 3) {
                CHECK(memcmp(alone, y + v * wide, wide * sizeof *alone) == 0);
            }
        }
        dns_fft_destroy(fft);
    }
}

static void
test_neighbours_do_not_matter(void)
{
    for (unsigned log2n = 3; log2n <= 8; log2n++) {
        check_neighbours(log2n);
    }
}

static void
test_other_lengths_are_refused(void)
{
    dns_fft *fft = NULL;
    dns_error err;
    CHECK_I64(dns_fft_create(2, DNS_ISA_GENERIC, NULL, &fft, &err), DNS_ERR_VALUE);
    CHECK_STR(err.message, "length: expected 2^3 to 2^13, got 2^2");
    CHECK_I64(dns_fft_create(14, DNS_ISA_GENERIC, NULL, &fft, &err), DNS_ERR_VALUE);
    CHECK(fft == NULL);
    dns_fft_destroy(NULL);
}

static dns_status
life(const dns_alloc *alloc, void *ctx)
{
    (void)ctx;
    dns_fft *fft = NULL;
    DNS_TRY(dns_fft_create(9, dns_isa_detect(), alloc, &fft, NULL));
    dns_fft_destroy(fft);
    return DNS_OK;
}

static void
test_oom_fft(void)
{
    CHECK_I64(tap_oom_sweep(life, NULL), 2);
}

TAP_MAIN(TAP(test_rows_of_every_length), TAP(test_columns_of_every_tail),
         TAP(test_threads_do_not_matter), TAP(test_neighbours_do_not_matter),
         TAP(test_other_lengths_are_refused), TAP(test_oom_fft))
