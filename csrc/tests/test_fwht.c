/* Walsh-Hadamard transforms and OVSF filters: the definition, every tail, guard pages, threads. */
#include "kernelkit.h"

#include "dns/fwht.h"

static double
entry(size_t i, size_t j)
{
    size_t bits = i & j;
    double sign = 1.0;
    for (; bits != 0; bits &= bits - 1) {
        sign = -sign;
    }
    return sign;
}

/* Runs one transform per level from x to a new guarded array, checks the first level's result
 * against the definition (for n <= 512) and the others against the first; n x count are rows or
 * columns with `extra` elements between them. */
static void
check_transform(bool rows, unsigned log2n, size_t count, size_t extra, dns_threads *threads)
{
    const size_t n = (size_t)1 << log2n;
    const size_t high = rows ? count : n;
    const size_t wide = rows ? n : count;
    const size_t ld = wide + extra;
    uint64_t state = log2n + 31 * count;
    const kit_guard x = kit_matrix(high, wide, ld);
    float *in = x.data;
    for (size_t i = 0; i < high; i++) {
        for (size_t j = 0; j < wide; j++) {
            in[i * ld + j] = kit_float(&state);
        }
    }
    const kit_guard first = kit_matrix(high, wide, ld);
    const size_t bytes = high == 0 || wide == 0 ? 0 : ((high - 1) * ld + wide) * sizeof(float);
    KIT_FOR_EACH_LEVEL(isa)
    {
        const kit_guard y = isa == DNS_ISA_GENERIC ? first : kit_matrix(high, wide, ld);
        if (rows) {
            dns_fwht_rows(isa, in, (ptrdiff_t)ld, y.data, (ptrdiff_t)ld, count, log2n, threads);
        }
        else {
            dns_fwht_columns(isa, in, (ptrdiff_t)ld, y.data, (ptrdiff_t)ld, count, log2n, threads);
        }
        CHECK(kit_gaps_untouched(y.data, high, wide, ld));
        CHECK(memcmp(first.data, y.data, bytes) == 0);
        if (isa != DNS_ISA_GENERIC) {
            kit_guard_free(y);
        }
    }
    const float *out = first.data;
    for (size_t b = 0; b < count && n <= 512; b++) {
        for (size_t i = 0; i < n; i += n > 64 ? 37 : 1) {
            double sum = 0.0;
            double size = 0.0;
            for (size_t j = 0; j < n; j++) {
                const double v = (double)in[rows ? b * ld + j : j * ld + b];
                sum += entry(i, j) * v;
                size += fabs(v);
            }
            const double got = (double)out[rows ? b * ld + i : i * ld + b];
            CHECK(fabs(got - sum) <= 1.001 * (double)log2n * KIT_UNIT * size);
        }
    }
    /* In place, all threads: the same bytes. */
    if (rows) {
        dns_fwht_rows(dns_isa_detect(), in, (ptrdiff_t)ld, in, (ptrdiff_t)ld, count, log2n, NULL);
    }
    else {
        dns_fwht_columns(dns_isa_detect(), in, (ptrdiff_t)ld, in, (ptrdiff_t)ld, count, log2n,
                         NULL);
    }
    for (size_t i = 0; i < high && wide > 0; i++) {
        CHECK(memcmp(in + i * ld, out + i * ld, wide * sizeof *in) == 0);
    }
    kit_guard_free(first);
    kit_guard_free(x);
}

static void
test_rows_of_every_length(void)
{
    for (unsigned log2n = 0; log2n <= 16; log2n++) {
        check_transform(true, log2n, 3, 0, NULL);
        check_transform(true, log2n, 2, 3, NULL);
    }
    for (size_t count = 0; count <= 35; count++) {
        check_transform(true, 1, count, 0, NULL);
        check_transform(true, 3, count, count % 2, NULL);
    }
    kit_say_skipped();
}

static void
test_columns_of_every_tail(void)
{
    for (size_t count = 0; count <= 67; count++) {
        check_transform(false, (unsigned)(count % 5), count, count % 3, NULL);
    }
    for (unsigned log2n = 5; log2n <= 12; log2n++) {
        check_transform(false, log2n, 17, 0, NULL);
    }
}

static void
test_threads_do_not_matter(void)
{
    static const size_t counts[] = {2, 3, 7};
    for (size_t t = 0; t < 3; t++) {
        dns_threads *threads = NULL;
        REQUIRE(dns_threads_create(counts[t], NULL, &threads, NULL) == DNS_OK);
        check_transform(true, 9, 300, 1, threads); /* checked against one thread in place */
        check_transform(false, 9, 301, 0, threads);
        dns_threads_destroy(threads);
    }
}

/* H H = n I, exactly, while integers stay below 2^24. */
static void
test_twice_is_n_times(void)
{
    uint64_t state = 9;
    KIT_FOR_EACH_LEVEL(isa)
    {
        for (unsigned log2n = 0; log2n <= 14; log2n += 7) {
            const size_t n = (size_t)1 << log2n;
            float *x = malloc(n * sizeof *x);
            float *y = malloc(n * sizeof *y);
            REQUIRE(x != NULL && y != NULL);
            for (size_t i = 0; i < n; i++) {
                x[i] = (float)(int)(kit_random(&state) % 7) - 3.0F;
            }
            dns_fwht_rows(isa, x, (ptrdiff_t)n, y, (ptrdiff_t)n, 1, log2n, NULL);
            dns_fwht_rows(isa, y, (ptrdiff_t)n, y, (ptrdiff_t)n, 1, log2n, NULL);
            for (size_t i = 0; i < n; i++) {
                CHECK(y[i] == (float)n * x[i]);
            }
            free(y);
            free(x);
        }
    }
}

/* Element i of code k of length 2^log2n, by the tree's definition. */
static double
code(size_t k, unsigned log2n, size_t i)
{
    double sign = 1.0;
    for (; log2n > 0; log2n--, k /= 2) {
        const size_t half = (size_t)1 << (log2n - 1);
        if (i >= half) {
            i -= half;
            sign = k % 2 != 0 ? -sign : sign;
        }
    }
    return sign;
}

typedef struct filters {
    unsigned log2n;
    size_t n_codes, filters;
    dns_ovsf_crop crop;
} filters;

static void
check_filters(filters f, uint64_t *state)
{
    const size_t n = (size_t)1 << f.log2n;
    const dns_ovsf_crop crop = f.crop;
    const size_t kept = crop.rows * crop.cols;
    const kit_guard alpha = kit_matrix(f.filters, f.n_codes, f.n_codes);
    const kit_guard w = kit_matrix(f.filters, kept, kept);
    const kit_guard ws = kit_workspace(dns_ovsf_workspace(f.log2n));
    int64_t index[64];
    for (size_t j = 0; j < f.n_codes; j++) {
        index[j] = (int64_t)((j * 5 + 3) % n);
    }
    for (size_t i = 0; i < f.filters * f.n_codes; i++) {
        ((float *)alpha.data)[i] = kit_float(state);
    }
    KIT_FOR_EACH_LEVEL(isa)
    {
        REQUIRE(dns_ovsf(isa, alpha.data, f.filters, index, f.n_codes, f.log2n, crop, w.data,
                         ws.data, NULL) == DNS_OK);
        for (size_t i = 0; i < f.filters * kept; i++) {
            const float *a = (const float *)alpha.data + i / kept * f.n_codes;
            const size_t at = i % kept / crop.cols * crop.pitch + i % crop.cols;
            double sum = 0.0;
            double size = 0.0;
            for (size_t j = 0; j < f.n_codes; j++) {
                sum += (double)a[j] * code((size_t)index[j], f.log2n, at);
                size += fabs((double)a[j]);
            }
            CHECK(fabs((double)((float *)w.data)[i] - sum) <= 1.001 * f.log2n * KIT_UNIT * size);
        }
    }
    kit_guard_free(ws);
    kit_guard_free(w);
    kit_guard_free(alpha);
}

/* Every number of filters, of codes and of kept elements around the vectors. */
static void
test_filters_of_every_extent(void)
{
    uint64_t state = 12;
    for (size_t n = 0; n <= 35; n++) {
        check_filters((filters){6, n, n * 7 % 36, {64, 1, n * 11 % 36}}, &state);
    }
}

static void
test_filters_are_sums_of_codes(void)
{
    static const filters cases[] = {{4, 16, 300, {4, 3, 3}},  {4, 5, 129, {16, 1, 16}},
                                    {0, 1, 5, {1, 1, 1}},     {6, 20, 70, {8, 5, 7}},
                                    {12, 9, 3, {64, 60, 61}}, {5, 0, 4, {32, 1, 20}},
                                    {5, 32, 0, {32, 1, 20}},  {3, 8, 7, {8, 0, 3}}};
    uint64_t state = 11;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        check_filters(cases[c], &state);
    }
}

static void
test_bad_codes_and_crops_are_named(void)
{
    float ws[512];
    float w = 7.0F;
    const float alpha[2] = {1.0F, 1.0F};
    const int64_t far[2] = {0, 16};
    const int64_t low[2] = {-1, 3};
    const int64_t twice[2] = {5, 5};
    const dns_ovsf_crop all = {4, 1, 1};
    dns_error err;
    CHECK_I64(dns_ovsf(DNS_ISA_GENERIC, alpha, 1, far, 2, 4, all, &w, ws, &err), DNS_ERR_VALUE);
    CHECK_STR(err.message, "index: element 1: expected a code in [0, 16), got 16");
    CHECK_I64(err.index, 1);
    CHECK_I64(dns_ovsf(DNS_ISA_GENERIC, alpha, 1, low, 2, 4, all, &w, ws, &err), DNS_ERR_VALUE);
    CHECK_I64(err.index, 0);
    CHECK_I64(dns_ovsf(DNS_ISA_GENERIC, alpha, 1, twice, 2, 4, all, &w, ws, &err), DNS_ERR_VALUE);
    CHECK_STR(err.message, "index: element 1: expected distinct codes, got 5 twice");
    const dns_ovsf_crop crops[] = {{4, 5, 1}, {4, 1, 5}, {0, 1, 1}};
    for (size_t i = 0; i < 3; i++) {
        CHECK_I64(dns_ovsf(DNS_ISA_GENERIC, alpha, 1, far, 1, 4, crops[i], &w, ws, &err),
                  DNS_ERR_VALUE);
    }
    CHECK_I64(dns_ovsf(DNS_ISA_GENERIC, alpha, 1, far, 1, 31, all, &w, ws, &err), DNS_ERR_VALUE);
    CHECK(w == 7.0F);
}

TAP_MAIN(TAP(test_rows_of_every_length), TAP(test_columns_of_every_tail),
         TAP(test_threads_do_not_matter), TAP(test_twice_is_n_times),
         TAP(test_filters_are_sums_of_codes), TAP(test_filters_of_every_extent),
         TAP(test_bad_codes_and_crops_are_named))
