/* Softmax of rows of scores under masks.
 *
 *     y_j = exp(z_j - M) / sum_k exp(z_k - M),   z = x + add,   M = max z,
 *
 * over the columns that a row may see: those below its limit, with their bit set where there are
 * bits. The others are 0. A row that sees nothing, or nothing but z = -inf, becomes zeros and is
 * counted, not NaN. A NaN or +inf among what is seen makes every seen column NaN.
 *
 * A sum is a vector of lanes, folded every 32 vectors and then across: a row's result depends on
 * the row alone and, in the last bits, on the level. Against float64 |y - y64| <= 4e-7 + 4e-6 y and
 * |sum y - 1| <= 2e-6 sqrt(columns).
 */
#ifndef DNS_SOFTMAX_H
#define DNS_SOFTMAX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dns/cpu.h"
#include "dns/status.h"
#include "dns/threads.h"

/* Scores [rows][ldx >= cols] and results [rows][ldy >= cols]; y may be x when ldy is ldx, else they
 * are apart. Masks that are NULL or false are absent; any may be combined. Row i, with
 * q = i % queries, sees
 *
 *     causal   columns up to q + cols - queries: the last query sees all
 *     lengths  columns below lengths[i / length_rows]
 *     bits     row i % bit_rows of (cols + 63) / 64 words, column j being bit j % 64 of word j / 64
 *     add      row i % add_rows, ldadd elements apart, added to the scores
 */
typedef struct dns_softmax {
    size_t rows, cols;
    const float *x;
    ptrdiff_t ldx;
    float *y;
    ptrdiff_t ldy;
    bool causal;
    size_t queries; /* >= 1 */
    const int32_t *lengths;
    size_t length_rows; /* >= 1 */
    const uint64_t *bits;
    size_t bit_rows; /* >= 1 */
    const float *add;
    ptrdiff_t ldadd;
    size_t add_rows; /* >= 1 */
} dns_softmax;

/* Computes all rows; *empty is the number of rows that saw nothing. Nothing is allocated; below
 * 2^16 scores the pool is not used. Fails with DNS_ERR_VALUE when a length is outside [0, cols]
 * (index: which), before anything is written. */
DNS_NODISCARD dns_status dns_softmax_rows(const dns_softmax *call, dns_isa isa,
                                          dns_threads *threads, size_t *empty, dns_error *err);

/* Softmax of each segment [offsets[s], offsets[s + 1]) of every row of x [rows][ldx]: ragged
 * sequences behind each other, or the values of a CSR matrix by its row pointers. y may be x, or is
 * apart; offsets [segments + 1]. Fails with DNS_ERR_FORMAT unless offsets begin with 0, never fall
 * and end with cols (index: the first that does not). */
DNS_NODISCARD dns_status dns_softmax_segments(const dns_softmax *call, const int64_t *offsets,
                                              size_t segments, dns_isa isa, dns_threads *threads,
                                              size_t *empty, dns_error *err);

#endif
