/* Masks and counts of zeros, compiled once per instruction-set level.
 *
 * Packing and counting read each float once and write at most 1/32 of what they read, so away from
 * the first caches they run at the read bandwidth. In L1 they are bound by instructions: per 64
 * bytes AVX-512 needs one AND with load, one compare into a mask, and one masked add (counting) or
 * one mask move (packing); AVX2 needs three per 32 bytes for counting.
 *
 * Valid multiply-accumulates of a convolution need no convolution. With w(c,i,j) the number of
 * non-zero weights of input channel c at kernel offset (i,j) over its output channels, and n(c,i,j)
 * the number of non-zero inputs of channel c at the positions which that offset touches,
 *
 *     V = sum_c sum_{i,j} w(c,i,j) n(c,i,j),
 *
 * because a product is valid exactly when both factors are, and for a fixed offset the output
 * channels and the positions vary independently. The touched positions form a grid: columns
 * x0, x0 + s, ... (a bit mask m_j per kernel column, made once) and rows y0, y0 + s, ... . So per
 * channel and kernel column one popcount of (row & m_j) per row gives row counts r(y); the prefix
 * sum with stride s, P(y) = r(y) + P(y - s), gives every kernel row as a difference of two of its
 * elements. Cost O(C H K_w W/64 + C K_h K_w) instead of O(C M H W K_h K_w) for the convolution.
 *
 * Source: the factorisation is elementary; it is used for the Eyeriss v2 cycle model of the
 * Sparse-DySta benchmark (Fan et al., MICRO 2023), whose public code convolves the two masks.
 */
#include "dns/count.h"
#include "kernels/vec.h"

/* Rows that follow each other without a gap and end on a word are one long row. */
static bool
merge_rows(size_t *rows, size_t *width, ptrdiff_t ld, size_t unit)
{
    if (*rows > 1 && ld == (ptrdiff_t)*width && *width % unit == 0) {
        *width *= *rows;
        *rows = 1;
        return true;
    }
    return false;
}

static void
pack_f32(const float *x, size_t rows, size_t width, ptrdiff_t ld, uint32_t limit, uint64_t *bits)
{
    const vu lim = vu_set(limit);
    (void)merge_rows(&rows, &width, ld, 64);
    for (size_t r = 0; r < rows; r++, x += ld) {
        size_t j = 0;
        for (; j + 64 <= width; j += 64) {
            vu_prefetch(x + j, VU_AHEAD, 256);
            vu_prefetch(bits, 256, 64);
            *bits++ = vu_over_word(x + j, lim);
        }
        if (j == width) {
            continue;
        }
        uint64_t word = 0;
        size_t shift = 0;
        vu_prefetch(x + j, VU_AHEAD, (width - j) * sizeof *x);
        for (; j + VU_LANES <= width; j += VU_LANES, shift += VU_LANES) {
            word |= vu_over(vu_load(x + j), lim) << shift;
        }
        if (j < width) {
            word |= vu_over(vu_load_part(x + j, width - j), lim) << shift;
        }
        *bits++ = word;
    }
}

static void
pack_u8(const uint8_t *x, size_t rows, size_t width, ptrdiff_t ld, uint64_t *bits)
{
    (void)merge_rows(&rows, &width, ld, 64);
    for (size_t r = 0; r < rows; r++, x += ld) {
        size_t j = 0;
        for (; j + 64 <= width; j += 64) {
            *bits++ = vu_bytes_word(x + j);
        }
        if (j < width) {
            uint8_t tail[64] = {0};
            memcpy(tail, x + j, width - j);
            *bits++ = vu_bytes_word(tail);
        }
    }
}

/* Non-zeros of n values. Lanes are 32 bits wide, so they are drained before they can overflow. */
static uint64_t
nonzeros(const float *x, size_t n, uint32_t limit)
{
    const size_t drain = (size_t)1 << 30;
    const vu lim = vu_set(limit);
    uint64_t total = 0;
    for (size_t start = 0; start < n; start += drain) {
        const float *p = x + start;
        const size_t m = n - start < drain ? n - start : drain;
        vu a = vu_set(0);
        vu b = vu_set(0);
        size_t j = 0;
        for (; j + 4 * VU_LANES <= m; j += 4 * VU_LANES) {
            vu_prefetch(p + j, VU_AHEAD, 4 * sizeof(vu));
            a = vu_add_over(a, vu_load(p + j), lim);
            b = vu_add_over(b, vu_load(p + j + VU_LANES), lim);
            a = vu_add_over(a, vu_load(p + j + (size_t)2 * VU_LANES), lim);
            b = vu_add_over(b, vu_load(p + j + (size_t)3 * VU_LANES), lim);
        }
        for (; j + VU_LANES <= m; j += VU_LANES) {
            a = vu_add_over(a, vu_load(p + j), lim);
        }
        if (j < m) {
            b = vu_add_over(b, vu_load_part(p + j, m - j), lim);
        }
        total += vu_sum(a) + vu_sum(b);
    }
    return total;
}

static void
nonzeros_f32(const float *x, size_t rows, size_t width, ptrdiff_t ld, uint32_t limit,
             uint64_t *count)
{
    for (size_t r = 0; r < rows; r++, x += ld) {
        count[r] = nonzeros(x, width, limit);
    }
}

static uint64_t
popcount(const uint64_t *a, const uint64_t *b, size_t n)
{
    uint64_t total = 0;
    size_t k = 0;
#if VU_LANES > 1
    vu sum = vu_set(0);
    for (; k + VU_LANES / 2 <= n; k += VU_LANES / 2) {
        const vu x = b == NULL ? vu_load(a + k) : vu_and(vu_load(a + k), vu_load(b + k));
        sum = vu_add64(sum, vu_popcount64(x));
    }
    total = vu_sum64(sum);
#endif
    for (; k < n; k++) {
        total += popcount64(b == NULL ? a[k] : a[k] & b[k]);
    }
    return total;
}

static void
row_any(const uint64_t *bits, size_t rows, size_t words, uint8_t *any)
{
    if (words == 1) {
        for (size_t r = 0; r < rows; r++) {
            any[r] = bits[r] != 0;
        }
        return;
    }
    for (size_t r = 0; r < rows; r++, bits += words) {
        uint64_t x = 0;
        for (size_t k = 0; k < words; k++) {
            x |= bits[k];
        }
        any[r] = x != 0;
    }
}

/* Ones of a row in columns [from, to), from < to. */
static uint64_t
count_range(const uint64_t *row, size_t from, size_t to)
{
    const size_t first = from / 64;
    const size_t last = (to - 1) / 64;
    const uint64_t head = ~(uint64_t)0 << from % 64;
    const uint64_t tail = ~(uint64_t)0 >> (63 - (to - 1) % 64);
    if (first == last) {
        return popcount64(row[first] & head & tail);
    }
    uint64_t total = popcount64(row[first] & head) + popcount64(row[last] & tail);
    for (size_t k = first + 1; k < last; k++) {
        total += popcount64(row[k]);
    }
    return total;
}

static void
tiles(const uint64_t *bits, size_t planes, size_t h, size_t w, size_t th, size_t tw,
      uint64_t *count)
{
    const size_t words = dns_mask_words(w);
    const size_t across = w / tw + (w % tw != 0);
    const size_t down = h / th + (h % th != 0);
    memset(count, 0, planes * down * across * sizeof *count);
    for (size_t p = 0; p < planes; p++, count += down * across) {
        for (size_t y = 0; y < h; y++, bits += words) {
            uint64_t *out = count + y / th * across;
            for (size_t t = 0; t < across; t++) {
                const size_t to = (t + 1) * tw;
                out[t] += count_range(bits, t * tw, to < w ? to : w);
            }
        }
    }
}

static void
weights(const float *w, size_t groups, size_t rows, size_t n, uint32_t limit, int32_t *count)
{
    memset(count, 0, groups * n * sizeof *count);
    for (size_t g = 0; g < groups; g++, count += n) {
        for (size_t r = 0; r < rows; r++, w += n) {
            for (size_t k = 0; k < n; k++) {
                uint32_t x;
                memcpy(&x, w + k, sizeof x);
                count[k] += (x & VU_MAGNITUDE) > limit;
            }
        }
    }
}

/* Bits of the columns that kernel column j touches. */
static void
column_mask(const dns_window *g, int32_t j, uint64_t *mask)
{
    const dns_span s = dns_window_span(j, g->in_w, g->out_w, g->stride_w, g->dilation_w, g->pad_w);
    memset(mask, 0, dns_mask_words((size_t)g->in_w) * sizeof *mask);
    for (int64_t i = 0; i < s.n; i++) {
        const size_t x = (size_t)(s.first + i * g->stride_w);
        mask[x / 64] |= (uint64_t)1 << x % 64;
    }
}

/* Workspace: kernel_w column masks, kernel_h row spans (first, last), in_h prefix sums, and the
 * counts of one channel. */
typedef struct window_work {
    uint64_t *mask;
    uint32_t *upper, *lower; /* per kernel row: P(last) is element upper, P(first - s) lower */
    uint32_t *prefix;        /* in_h + 1 elements; the last one stays zero */
    uint32_t *count;
} window_work;

static window_work
window_begin(const dns_window *g, uint64_t *work)
{
    const size_t words = dns_mask_words((size_t)g->in_w);
    const uint32_t zero = (uint32_t)g->in_h;
    window_work w;
    w.mask = work;
    w.upper = (uint32_t *)(work + words * (size_t)g->kernel_w);
    w.lower = w.upper + g->kernel_h;
    w.prefix = w.lower + g->kernel_h;
    w.count = w.prefix + g->in_h + 1;
    for (int32_t j = 0; j < g->kernel_w; j++) {
        column_mask(g, j, w.mask + (size_t)j * words);
    }
    for (int32_t i = 0; i < g->kernel_h; i++) {
        const dns_span s =
            dns_window_span(i, g->in_h, g->out_h, g->stride_h, g->dilation_h, g->pad_h);
        const int64_t before = s.first - g->stride_h;
        w.upper[i] = s.n > 0 ? (uint32_t)s.last : zero;
        w.lower[i] = s.n > 0 && before >= 0 ? (uint32_t)before : zero;
    }
    w.prefix[zero] = 0;
    return w;
}

/* Strided prefix sums of the ones of each row under one column mask. */
static inline void
row_prefix(const uint64_t *bits, const uint64_t *mask, size_t words, size_t h, size_t stride,
           uint32_t *prefix)
{
    for (size_t y = 0; y < h; y++, bits += words) {
        uint64_t ones = 0;
        for (size_t k = 0; k < words; k++) {
            ones += popcount64(bits[k] & mask[k]);
        }
        prefix[y] = (uint32_t)ones + (y >= stride ? prefix[y - stride] : 0);
    }
}

/* One-word rows with stride one: the sum stays in a register. */
static inline void
row_prefix_narrow(const uint64_t *bits, uint64_t mask, size_t h, uint32_t *prefix)
{
    uint32_t sum = 0;
    for (size_t y = 0; y < h; y++) {
        sum += (uint32_t)popcount64(bits[y] & mask);
        prefix[y] = sum;
    }
}

/* Window counts of one channel. */
static void
channel_windows(const dns_window *g, const window_work *w, const uint64_t *bits, uint32_t *count)
{
    const size_t words = dns_mask_words((size_t)g->in_w);
    const size_t h = (size_t)g->in_h;
    const size_t kw = (size_t)g->kernel_w;
    for (size_t j = 0; j < kw; j++) {
        if (words == 1 && g->stride_h == 1) {
            row_prefix_narrow(bits, w->mask[j], h, w->prefix);
        }
        else {
            row_prefix(bits, w->mask + j * words, words, h, (size_t)g->stride_h, w->prefix);
        }
        for (size_t i = 0; i < (size_t)g->kernel_h; i++) {
            count[i * kw + j] = w->prefix[w->upper[i]] - w->prefix[w->lower[i]];
        }
    }
}

static void
windows(const dns_window *g, const uint64_t *bits, size_t channels, uint32_t *count, uint64_t *work)
{
    const size_t plane = (size_t)g->in_h * dns_mask_words((size_t)g->in_w);
    const size_t kernel = (size_t)g->kernel_h * (size_t)g->kernel_w;
    const window_work w = window_begin(g, work);
    for (size_t c = 0; c < channels; c++) {
        channel_windows(g, &w, bits + c * plane, count + c * kernel);
    }
}

static uint64_t
valid_macs(const dns_window *g, const uint64_t *bits, size_t channels, const int32_t *weights_,
           uint64_t *work)
{
    const size_t plane = (size_t)g->in_h * dns_mask_words((size_t)g->in_w);
    const size_t kernel = (size_t)g->kernel_h * (size_t)g->kernel_w;
    const window_work w = window_begin(g, work);
    uint64_t total = 0;
    for (size_t c = 0; c < channels; c++, weights_ += kernel) {
        channel_windows(g, &w, bits + c * plane, w.count);
        for (size_t k = 0; k < kernel; k++) {
            total += (uint64_t)(uint32_t)weights_[k] * w.count[k];
        }
    }
    return total;
}

/* Columns of one merged plane; row is scratch for one row. */
static uint64_t
plane_columns(const dns_window *g, const uint64_t *plane, const uint64_t *masks, uint64_t *row)
{
    const size_t words = dns_mask_words((size_t)g->in_w);
    uint64_t total = 0;
    for (int64_t o = 0; o < g->out_h; o++) {
        memset(row, 0, words * sizeof *row);
        for (int64_t i = 0; i < g->kernel_h; i++) {
            const int64_t y = o * g->stride_h + i * g->dilation_h - g->pad_h;
            for (size_t k = 0; y >= 0 && y < g->in_h && k < words; k++) {
                row[k] |= plane[(size_t)y * words + k];
            }
        }
        for (size_t j = 0; j < (size_t)g->kernel_w; j++) {
            for (size_t k = 0; k < words; k++) {
                total += popcount64(row[k] & masks[j * words + k]);
            }
        }
    }
    return total;
}

static uint64_t
columns(const dns_window *g, const uint64_t *bits, size_t channels, size_t depth, uint64_t *work)
{
    const size_t words = dns_mask_words((size_t)g->in_w);
    const size_t plane = (size_t)g->in_h * words;
    uint64_t *masks = work;
    uint64_t *merged = masks + (size_t)g->kernel_w * words;
    uint64_t *row = merged + plane;
    uint64_t total = 0;
    for (int32_t j = 0; j < g->kernel_w; j++) {
        column_mask(g, j, masks + (size_t)j * words);
    }
    for (size_t c = 0; c < channels; c += depth) {
        const size_t end = channels - c < depth ? channels : c + depth;
        memcpy(merged, bits + c * plane, plane * sizeof *merged);
        for (size_t k = c + 1; k < end; k++) {
            for (size_t i = 0; i < plane; i++) {
                merged[i] |= bits[k * plane + i];
            }
        }
        total += plane_columns(g, merged, masks, row);
    }
    return total;
}

static uint64_t
masked_sum(const uint64_t *bits, const int32_t *v, size_t n)
{
    uint64_t total = 0;
    for (size_t k = 0; k < n; k += 64, bits++) {
        const size_t m = n - k < 64 ? n - k : 64;
        for (size_t i = 0; i < m; i++) {
            total += (uint64_t)(uint32_t)v[k + i] * (*bits >> i & 1);
        }
    }
    return total;
}

static uint32_t
read_all(const float *x, size_t n)
{
    vu a = vu_set(0);
    vu b = a;
    vu c = a;
    vu d = a;
    size_t j = 0;
    for (; j + 4 * VU_LANES <= n; j += 4 * VU_LANES) {
        vu_prefetch(x + j, VU_AHEAD, 4 * sizeof(vu));
        a = vu_or(a, vu_load(x + j));
        b = vu_or(b, vu_load(x + j + VU_LANES));
        c = vu_or(c, vu_load(x + j + (size_t)2 * VU_LANES));
        d = vu_or(d, vu_load(x + j + (size_t)3 * VU_LANES));
    }
    for (; j < n; j += VU_LANES) {
        a = vu_or(a, n - j >= VU_LANES ? vu_load(x + j) : vu_load_part(x + j, n - j));
    }
    uint32_t lanes[VU_LANES];
    const vu all = vu_or(vu_or(a, b), vu_or(c, d));
    memcpy(lanes, &all, sizeof lanes);
    uint32_t out = 0;
    for (size_t i = 0; i < VU_LANES; i++) {
        out |= lanes[i];
    }
    return out;
}

extern const dns_count_ops DNS_ISA_FN(dns_count_ops);
const dns_count_ops DNS_ISA_FN(dns_count_ops) = {
    .isa = DNS_ISA_VALUE,
    .pack_f32 = pack_f32,
    .pack_u8 = pack_u8,
    .nonzeros_f32 = nonzeros_f32,
    .popcount = popcount,
    .row_any = row_any,
    .tiles = tiles,
    .weights = weights,
    .windows = windows,
    .valid_macs = valid_macs,
    .columns = columns,
    .masked_sum = masked_sum,
    .read_all = read_all,
};
