/* Softmax under lengths and offsets of any numbers: refused with the first bad one, or segments and
 * rows of the level's code that agree with a plain loop. */
#include "dns/softmax.h"
#include "fuzzkit.h"

enum { MAX_ROWS = 9, MAX_COLS = 300, MAX_SEGMENTS = 40 };

/* y [0, n) is the softmax of x [0, n), or zeros where all is -inf. */
static void
check(const float *x, const float *y, int64_t n)
{
    double top = -(double)INFINITY;
    double sum = 0.0;
    for (int64_t j = 0; j < n; j++) {
        top = fmax(top, (double)x[j]);
    }
    for (int64_t j = 0; j < n; j++) {
        sum += isinf(top) ? 0.0 : exp((double)x[j] - top);
    }
    for (int64_t j = 0; j < n; j++) {
        const double want = isinf(top) ? 0.0 : exp((double)x[j] - top) / sum;
        require(fabs((double)y[j] - want) <= 4e-7 + 4e-6 * want);
    }
}

static void
segments(const dns_softmax *c, fuzz_in *in)
{
    int64_t offsets[MAX_SEGMENTS + 1] = {0};
    const size_t n = (size_t)fuzz_int(in, 1, MAX_SEGMENTS);
    for (size_t s = 1; s <= n; s++) {
        offsets[s] = fuzz_int(in, offsets[s - 1], (int64_t)c->cols);
    }
    offsets[n] = (int64_t)c->cols;
    if (fuzz_int(in, 0, 255) > 240) {
        offsets[fuzz_int(in, 0, (int64_t)n)] = (int64_t)fuzz_bytes(in, 8);
    }
    FUZZ_FOR_EACH_LEVEL(isa, DNS_ISA_AVX512)
    {
        size_t empty = 0;
        dns_error err;
        const dns_status status = dns_softmax_segments(c, offsets, n, isa, NULL, &empty, &err);
        require(status == DNS_OK || status == DNS_ERR_FORMAT);
        if (!fuzz_taken(status, &err)) {
            return;
        }
        for (size_t i = 0; i < c->rows; i++) {
            for (size_t s = 0; s < n; s++) {
                const size_t at = i * c->cols + (size_t)offsets[s];
                check(c->x + at, c->y + at, offsets[s + 1] - offsets[s]);
            }
        }
    }
}

static void
lengths(dns_softmax c, fuzz_in *in)
{
    int32_t n[MAX_ROWS] = {0};
    for (size_t i = 0; i < c.rows; i++) {
        n[i] = (int32_t)fuzz_int(in, 0, (int64_t)c.cols);
    }
    if (fuzz_int(in, 0, 255) > 240 && c.rows > 0) {
        n[fuzz_int(in, 0, (int64_t)c.rows - 1)] = (int32_t)fuzz_int(in, INT32_MIN, INT32_MAX);
    }
    c.lengths = n;
    size_t empty = 0;
    dns_error err;
    if (dns_softmax_rows(&c, dns_isa_detect(), NULL, &empty, &err) != DNS_OK) {
        require(err.index >= 0 && (size_t)err.index < c.rows && err.message[0] != '\0');
        return;
    }
    for (size_t i = 0; i < c.rows; i++) {
        check(c.x + i * c.cols, c.y + i * c.cols, n[i]);
        for (size_t j = (size_t)n[i]; j < c.cols; j++) {
            require(c.y[i * c.cols + j] == 0.0F);
        }
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_in in = {data, size};
    const size_t rows = (size_t)fuzz_int(&in, 0, MAX_ROWS);
    const size_t cols = (size_t)fuzz_int(&in, 0, MAX_COLS);
    float *x = fuzz_new(rows * cols, sizeof *x);
    float *y = fuzz_new(rows * cols, sizeof *y);
    const int64_t hidden = fuzz_int(&in, 0, 7);
    for (size_t i = 0; i < rows * cols; i++) {
        x[i] = (int64_t)(i * 5 % 8) < hidden ? -INFINITY : (float)(i * 37 % 101) / 8.0F - 6.0F;
    }
    const dns_softmax c = {.rows = rows,
                           .cols = cols,
                           .x = x,
                           .ldx = (ptrdiff_t)cols,
                           .y = y,
                           .ldy = (ptrdiff_t)cols,
                           .queries = 1,
                           .length_rows = 1};
    segments(&c, &in);
    lengths(c, &in);
    free(y);
    free(x);
    return 0;
}
