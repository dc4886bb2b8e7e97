/* Choice of the count kernels, geometry arithmetic and checked entry points. */
#include "dns/count.h"

#include <math.h>
#include <string.h>

DNS_OPS_SELECT(dns_count_ops)

uint32_t
dns_count_limit(double eps)
{
    float nearest = (float)eps;
    if ((double)nearest > eps) {
        nearest = nextafterf(nearest, 0.0F);
    }
    uint32_t bits;
    memcpy(&bits, &nearest, sizeof bits);
    return bits & 0x7fffffffU;
}

dns_status
dns_mask_check(const uint64_t *bits, size_t rows, size_t width, dns_error *err)
{
    const size_t words = dns_mask_words(width);
    if (width % 64 == 0) {
        return DNS_OK;
    }
    const uint64_t tail = ~(uint64_t)0 << width % 64;
    for (size_t r = 0; r < rows; r++) {
        DNS_REQUIRE((bits[r * words + words - 1] & tail) == 0, err, DNS_ERR_VALUE, r,
                    "mask: expected zeros beyond column %zu, got a one in row %zu", width, r);
    }
    return DNS_OK;
}

dns_status
dns_count_check_eps(double eps, dns_error *err)
{
    DNS_REQUIRE(eps >= 0.0, err, DNS_ERR_VALUE, -1, "eps: expected a number >= 0, got %g", eps);
    return DNS_OK;
}

dns_span
dns_window_span(int64_t k, int64_t in, int64_t out, int64_t stride, int64_t dilation, int64_t pad)
{
    const int64_t offset = k * dilation - pad; /* y = o * stride + offset */
    const int64_t low = offset >= 0 ? 0 : (-offset + stride - 1) / stride;
    int64_t high = out - 1;
    if (in - 1 - offset < 0) {
        high = -1;
    }
    else if ((in - 1 - offset) / stride < high) {
        high = (in - 1 - offset) / stride;
    }
    dns_span span = {0, 0, 0};
    if (low <= high) {
        span.first = low * stride + offset;
        span.last = high * stride + offset;
        span.n = high - low + 1;
    }
    return span;
}

dns_status
dns_window_check(const dns_window *g, dns_error *err)
{
    static const struct {
        const char *name;
        size_t at;
        int32_t min;
    } fields[] = {
        {"in_h", offsetof(dns_window, in_h), 1},
        {"in_w", offsetof(dns_window, in_w), 1},
        {"out_h", offsetof(dns_window, out_h), 1},
        {"out_w", offsetof(dns_window, out_w), 1},
        {"kernel_h", offsetof(dns_window, kernel_h), 1},
        {"kernel_w", offsetof(dns_window, kernel_w), 1},
        {"stride_h", offsetof(dns_window, stride_h), 1},
        {"stride_w", offsetof(dns_window, stride_w), 1},
        {"dilation_h", offsetof(dns_window, dilation_h), 1},
        {"dilation_w", offsetof(dns_window, dilation_w), 1},
        {"pad_h", offsetof(dns_window, pad_h), 0},
        {"pad_w", offsetof(dns_window, pad_w), 0},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        int32_t value;
        memcpy(&value, (const char *)g + fields[i].at, sizeof value);
        DNS_REQUIRE(value >= fields[i].min, err, DNS_ERR_VALUE, i,
                    "%s: expected an integer >= %d, got %d", fields[i].name, (int)fields[i].min,
                    (int)value);
    }
    DNS_REQUIRE((int64_t)g->in_h * g->in_w <= INT32_MAX, err, DNS_ERR_VALUE, 0,
                "in_h * in_w: expected less than 2^31 positions, got %d * %d", (int)g->in_h,
                (int)g->in_w);
    DNS_REQUIRE((int64_t)g->kernel_h * g->kernel_w <= INT32_MAX, err, DNS_ERR_VALUE, 4,
                "kernel_h * kernel_w: expected less than 2^31 weights, got %d * %d",
                (int)g->kernel_h, (int)g->kernel_w);
    return DNS_OK;
}

size_t
dns_window_work(const dns_window *g)
{
    const size_t masks = dns_mask_words((size_t)g->in_w) * (size_t)g->kernel_w;
    const size_t halves =
        2 * (size_t)g->kernel_h + (size_t)g->in_h + 1 + (size_t)g->kernel_h * (size_t)g->kernel_w;
    return masks + halves / 2 + 1;
}

size_t
dns_columns_work(const dns_window *g)
{
    return dns_mask_words((size_t)g->in_w) * ((size_t)g->kernel_w + (size_t)g->in_h + 1);
}

uint64_t
dns_window_rect(const dns_window *g)
{
    uint64_t rows = 0;
    uint64_t columns = 0;
    for (int32_t i = 0; i < g->kernel_h; i++) {
        rows +=
            (uint64_t)dns_window_span(i, g->in_h, g->out_h, g->stride_h, g->dilation_h, g->pad_h).n;
    }
    for (int32_t j = 0; j < g->kernel_w; j++) {
        columns +=
            (uint64_t)dns_window_span(j, g->in_w, g->out_w, g->stride_w, g->dilation_w, g->pad_w).n;
    }
    return rows * columns;
}

dns_status
dns_valid_macs(const dns_count_ops *ops, const dns_window *g, size_t channels,
               const int32_t *weights, size_t samples, const uint64_t *bits, uint64_t *out,
               uint64_t *work, dns_error *err)
{
    DNS_TRY(dns_window_check(g, err));
    const size_t kernel = (size_t)g->kernel_h * (size_t)g->kernel_w;
    const size_t plane = (size_t)g->in_h * dns_mask_words((size_t)g->in_w);
    double bound = 0.0; /* every position of every channel non-zero */
    for (size_t k = 0; k < channels * kernel; k++) {
        DNS_REQUIRE(weights[k] >= 0, err, DNS_ERR_VALUE, k,
                    "weights: expected counts >= 0, got %d at channel %zu", (int)weights[k],
                    k / kernel);
        bound += (double)weights[k];
    }
    bound *= (double)g->in_h * (double)g->in_w;
    DNS_REQUIRE(bound < 9.0e18, err, DNS_ERR_OVERFLOW, -1,
                "weights: expected at most 9e18 multiply-accumulates, got up to %g", bound);
    for (size_t s = 0; s < samples; s++) {
        out[s] = ops->valid_macs(g, bits + s * channels * plane, channels, weights, work);
    }
    return DNS_OK;
}

uint64_t
dns_probe_multiply_chain(uint64_t x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x *= x;
    }
    return x;
}
