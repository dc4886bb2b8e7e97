/* Zero masks, zero counts and valid multiply-accumulate counts of sparse layers.
 *
 * A *mask* is a bit per value, set where the value counts as non-zero: |x| > eps, or NaN. With
 * eps = 0 that is x != 0 (and -0.0 is zero). Row r of a matrix with `width` columns takes
 * dns_mask_words(width) 64-bit words; column j is bit j % 64 of word j / 64, and the tail bits of
 * the last word are zero. Maps of C channels, H rows and W columns are C*H such rows.
 *
 * Integer results are identical at every instruction-set level. Inputs need no alignment beyond
 * their element's; nothing outside [row, row + width) is read. Zero extents are legal.
 *
 * Two layers of functions: dns_count_ops is the bare, unchecked kernel table of one level; the
 * dns_* functions below it check their arguments and take the table as first parameter. All are
 * pure functions of their arguments, safe from any thread.
 */
#ifndef DNS_COUNT_H
#define DNS_COUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dns/cpu.h"
#include "dns/status.h"

/* Words of one mask row. */
static inline size_t
dns_mask_words(size_t width)
{
    return width / 64 + (width % 64 != 0);
}

/* Geometry of a convolution as seen by its input: which positions (y, x) of an in_h x in_w map a
 * kernel offset (i, j) touches, y = o * stride_h + i * dilation_h - pad_h for o in [0, out_h), and
 * likewise in x. pad is the number of zeros at the low end; the high end follows from out. */
typedef struct dns_window {
    int32_t in_h, in_w;
    int32_t out_h, out_w;
    int32_t kernel_h, kernel_w;
    int32_t stride_h, stride_w;
    int32_t dilation_h, dilation_w;
    int32_t pad_h, pad_w;
} dns_window;

/* Positions first, first + step, ... last that one kernel offset touches inside the map along one
 * axis; n of them (n = 0: first and last are meaningless). */
typedef struct dns_span {
    int64_t first, last, n;
} dns_span;

/* The span of kernel offset k along an axis with `in` inputs and `out` outputs. */
dns_span dns_window_span(int64_t k, int64_t in, int64_t out, int64_t stride, int64_t dilation,
                         int64_t pad);

/* Kernels of one level; see the file comment. Argument meaning: `rows` rows of `width` values,
 * row r begins at x + r*ld; limit is dns_count_limit(eps). */
typedef struct dns_count_ops {
    dns_isa isa;
    /* Mask of rows; bits holds rows * dns_mask_words(width) words. */
    void (*pack_f32)(const float *x, size_t rows, size_t width, ptrdiff_t ld, uint32_t limit,
                     uint64_t *bits);
    /* The same from bytes (a NumPy bool array): set where the byte is not zero. */
    void (*pack_u8)(const uint8_t *x, size_t rows, size_t width, ptrdiff_t ld, uint64_t *bits);
    /* Non-zeros of each row. */
    void (*nonzeros_f32)(const float *x, size_t rows, size_t width, ptrdiff_t ld, uint32_t limit,
                         uint64_t *count);
    /* Ones of a[0..n), or of a & b when b is not NULL. */
    uint64_t (*popcount)(const uint64_t *a, const uint64_t *b, size_t n);
    /* any[r] = 1 if one of the row's `words` words is not zero, else 0. */
    void (*row_any)(const uint64_t *bits, size_t rows, size_t words, uint8_t *any);
    /* Ones per th x tw tile (ragged at the high ends) of each of `planes` maps of h x w bits;
     * count is [planes][ceil(h/th)][ceil(w/tw)]. */
    void (*tiles)(const uint64_t *bits, size_t planes, size_t h, size_t w, size_t th, size_t tw,
                  uint64_t *count);
    /* count[g*n + k] = number of rows r with a non-zero w[(g*rows + r)*n + k]. */
    void (*weights)(const float *w, size_t groups, size_t rows, size_t n, uint32_t limit,
                    int32_t *count);
    /* count[c][i][j] = ones of channel c at the positions that offset (i, j) touches. work holds
     * dns_window_work(g) words. */
    void (*windows)(const dns_window *g, const uint64_t *bits, size_t channels, uint32_t *count,
                    uint64_t *work);
    /* sum over c, i, j of weights[c][i][j] * count[c][i][j]. */
    uint64_t (*valid_macs)(const dns_window *g, const uint64_t *bits, size_t channels,
                           const int32_t *weights, uint64_t *work);
    /* Non-empty columns: number of (group of `depth` consecutive channels, output row, output
     * column, kernel column) such that a channel of the group has a one in the touched input column
     * at one of the input rows that the output row's kernel rows touch. work holds
     * dns_columns_work(g) words. */
    uint64_t (*columns)(const dns_window *g, const uint64_t *bits, size_t channels, size_t depth,
                        uint64_t *work);
    /* sum of v[k] over the set bits k < n of one row. */
    uint64_t (*masked_sum)(const uint64_t *bits, const int32_t *v, size_t n);
    /* OR of all 32-bit words of n floats: reads every byte once and does nothing else. */
    uint32_t (*read_all)(const float *x, size_t n);
} dns_count_ops;

/* Table of the highest level <= isa that this build holds. */
const dns_count_ops *dns_count_ops_select(dns_isa isa);

/* Bit pattern of the largest float <= eps, with which magnitudes are compared; eps must be >= 0 and
 * not NaN. With eps = +inf only NaN counts as non-zero; with any finite eps beyond the largest
 * float, inf and NaN do. */
uint32_t dns_count_limit(double eps);

/* Fails with DNS_ERR_VALUE at the first row (index) of a mask whose tail bits are not all zero. */
DNS_NODISCARD dns_status dns_mask_check(const uint64_t *bits, size_t rows, size_t width,
                                        dns_error *err);

/* Fails with DNS_ERR_VALUE unless eps >= 0. */
DNS_NODISCARD dns_status dns_count_check_eps(double eps, dns_error *err);

/* Fails with DNS_ERR_VALUE unless all extents are >= 1, pads >= 0, and in_h * in_w and
 * (kernel_h * kernel_w) are below 2^31. */
DNS_NODISCARD dns_status dns_window_check(const dns_window *g, dns_error *err);

/* 64-bit words of workspace that `windows` and `valid_macs` need for a checked geometry. */
size_t dns_window_work(const dns_window *g);

/* The same for `columns`. */
size_t dns_columns_work(const dns_window *g);

/* Sum over i, j of the number of touched positions: multiply-accumulates of one (input channel,
 * output channel) pair whose input lies inside the map. */
uint64_t dns_window_rect(const dns_window *g);

/* Valid multiply-accumulates of one layer for `samples` inputs.
 *
 * bits: [samples][channels][in_h][words] mask of the input; weights: [channels][kernel_h][kernel_w]
 * numbers of non-zero weights over the output channels of the channel's group (see
 * dns_count_ops.weights), all >= 0; out: [samples]. Fails with DNS_ERR_VALUE on a bad geometry or a
 * negative weight count, DNS_ERR_OVERFLOW when a dense input could reach 2^63. */
DNS_NODISCARD dns_status dns_valid_macs(const dns_count_ops *ops, const dns_window *g,
                                        size_t channels, const int32_t *weights, size_t samples,
                                        const uint64_t *bits, uint64_t *out, uint64_t *work,
                                        dns_error *err);

/* Clock probe: n dependent 64-bit multiplications of x with itself (wrapping), which no processor
 * can overlap; x86-64 cores take three cycles for each. */
uint64_t dns_probe_multiply_chain(uint64_t x, size_t n);

#endif
