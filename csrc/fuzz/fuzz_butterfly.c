/* Butterfly plans from any extents: refused exactly when they do not agree or ask for too much
 * memory, else executed at every level with results that agree with the factors applied one after
 * another, and unpacked into what came in. */
#include "dns/butterfly.h"
#include "fuzzkit.h"

enum { MAX_TWIDDLES = 1 << 14, MAX_ROWS = 300, MAX_LOG2 = 7, N = 3 };

/* A wild number in the place of an extent that fits. */
static size_t
maybe(fuzz_in *in, int64_t wild, size_t fits)
{
    return wild > 220 && fuzz_int(in, 0, 3) == 0 ? (size_t)fuzz_bytes(in, 8) : fits;
}

static dns_butterfly
read_extents(fuzz_in *in)
{
    const unsigned log2n = (unsigned)fuzz_int(in, 1, MAX_LOG2);
    const int64_t n = (int64_t)1 << log2n;
    const size_t cols = (size_t)fuzz_int(in, log2n == 1 ? 1 : n / 2 + 1, n);
    const size_t rows = (size_t)fuzz_int(in, 0, MAX_ROWS);
    const size_t nblock = (size_t)fuzz_int(in, 1, 3);
    const int64_t wild = fuzz_int(in, 0, 255);
    dns_butterfly w = {.increasing = wild % 2 == 0};
    w.nstack = maybe(in, wild, rows == 0 ? 1 : (rows + (size_t)n - 1) / (size_t)n);
    w.nblock = maybe(in, wild, nblock);
    w.log2n = (unsigned)maybe(in, wild, log2n);
    w.rows = maybe(in, wild, rows);
    w.cols = maybe(in, wild, cols);
    return w;
}

/* The header's rule. */
static int
agree(const dns_butterfly *w)
{
    if (w->log2n < 1 || w->log2n > DNS_BUTTERFLY_MAX_LOG2) {
        return 0;
    }
    const size_t n = (size_t)1 << w->log2n;
    const size_t stacks = w->rows == 0 ? 1 : (w->rows - 1) / n + 1;
    return w->nstack == stacks && w->nblock >= 1 && w->nblock <= INT32_MAX && w->cols >= 1 &&
           w->cols <= n && (w->log2n == 1 || w->cols > n / 2);
}

/* One level on v, and on the sizes of its terms. */
static void
level(const float *t, size_t n, size_t s, double *v, double *size)
{
    for (size_t q = 0; q < n / 2; q++, t += 4) {
        const size_t i = q / s * 2 * s + q % s;
        const double a = v[i];
        const double b = v[i + s];
        const double size_a = size[i];
        const double size_b = size[i + s];
        v[i] = (double)t[0] * a + (double)t[1] * b;
        v[i + s] = (double)t[2] * a + (double)t[3] * b;
        size[i] = fabs((double)t[0]) * size_a + fabs((double)t[1]) * size_b;
        size[i + s] = fabs((double)t[2]) * size_a + fabs((double)t[3]) * size_b;
    }
}

static void
check_product(const dns_butterfly *w, const float *x, const float *y)
{
    const size_t n = (size_t)1 << w->log2n;
    double v[1 << MAX_LOG2];
    double size[1 << MAX_LOG2];
    for (size_t at = 0; at < w->nstack * N; at++) {
        const size_t stack = at / N;
        for (size_t i = 0; i < n; i++) {
            v[i] = i < w->cols ? (double)x[i * N + at % N] : 0.0;
            size[i] = fabs(v[i]);
        }
        const float *t = w->twiddle + stack * w->nblock * w->log2n * n * 2;
        for (size_t block = 0; block < w->nblock; block++, t += w->log2n * n * 2) {
            const bool up = w->increasing == (block % 2 == 0);
            for (unsigned j = 0; j < w->log2n; j++) {
                const unsigned l = up ? j : w->log2n - 1 - j;
                level(t + l * n * 2, n, (size_t)1 << l, v, size);
            }
        }
        for (size_t i = 0; i < n && stack * n + i < w->rows; i++) {
            fuzz_near(y[(stack * n + i) * N + at % N], v[i], size[i], (double)w->nblock * w->log2n);
        }
    }
}

static void
solve(const dns_butterfly *w, dns_isa isa)
{
    size_t most = MAX_TWIDDLES * sizeof(float);
    const dns_alloc alloc = {fuzz_alloc, fuzz_free, &most};
    dns_plan *plan = NULL;
    dns_error err;
    const dns_status status =
        dns_butterfly_plan_create(w, NULL, fuzz_no_act, isa, &alloc, &plan, &err);
    require((status == DNS_ERR_SHAPE) == !agree(w));
    if (!fuzz_taken(status, &err)) {
        require(status == DNS_ERR_SHAPE || status == DNS_ERR_OVERFLOW || status == DNS_ERR_VALUE ||
                status == DNS_ERR_MEMORY);
        return;
    }
    if (w->log2n <= MAX_LOG2) {
        float *x = fuzz_new(w->cols * N, sizeof *x);
        float *y = fuzz_new(w->rows * N, sizeof *y);
        float *back = fuzz_new(plan->nnz, sizeof *back);
        fuzz_ramp(x, w->cols * N);
        fuzz_product(plan, N, x, y);
        check_product(w, x, y);
        require(dns_butterfly_plan_unpack(plan, back, NULL) == DNS_OK);
        require(memcmp(back, w->twiddle, plan->nnz * sizeof *back) == 0);
        free(back);
        free(y);
        free(x);
    }
    dns_plan_destroy(plan);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_in in = {data, size};
    dns_butterfly w = read_extents(&in);
    float *twiddle = fuzz_new(MAX_TWIDDLES, sizeof *twiddle);
    for (size_t i = 0; i < MAX_TWIDDLES; i++) {
        twiddle[i] = (float)((int)(i * 37 % 61) - 30 + (int)fuzz_int(&in, -3, 3)) / 30.0F;
    }
    w.twiddle = twiddle;
    FUZZ_FOR_EACH_LEVEL(isa, DNS_ISA_AVX512)
    {
        solve(&w, isa);
    }
    free(twiddle);
    return 0;
}
