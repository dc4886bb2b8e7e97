/* Walsh-Hadamard transform and filters generated from orthogonal binary codes.
 *
 *     y[i] = sum over j < n of (-1)^popcount(i & j) x[j],   n = 2^m
 *
 * i.e. y = H x with Sylvester's H of +1 and -1 in natural order, not normalised (H H = n I). Levels
 * run by ascending stride 1, 2, 4, ..., n / 2, each a sum and a difference, at every
 * instruction-set level and in both layouts: the results are the same bytes everywhere, exact while
 * sums stay below 2^24 in magnitude of integers, and otherwise, with u = 2^-24,
 *
 *     |y - y64| <= 1.001 m u sum |x|.
 *
 * OVSF codes (orthogonal variable spreading factor): C(1,0) = [1], C(2k,2i) = [C(k,i), C(k,i)],
 * C(2k,2i+1) = [C(k,i), -C(k,i)]. The first split decides the longest stride, so code i of length
 * n is Sylvester's row bitrev(i), and sum_j alpha_j C(n, index_j) is one transform of the alphas
 * scattered to their rows: n log2 n additions instead of n times the number of codes.
 */
#ifndef DNS_FWHT_H
#define DNS_FWHT_H

#include <stddef.h>
#include <stdint.h>

#include "dns/cpu.h"
#include "dns/status.h"
#include "dns/threads.h"

#define DNS_FWHT_MAX_LOG2 30

/* One transform of each of `batch` rows of 2^log2n contiguous elements, from x to y, which are the
 * same array (ldx = ldy) or apart; leading dimensions in elements. log2n <= DNS_FWHT_MAX_LOG2. */
void dns_fwht_rows(dns_isa isa, const float *x, ptrdiff_t ldx, float *y, ptrdiff_t ldy,
                   size_t batch, unsigned log2n, dns_threads *threads);

/* One transform of each of `columns` columns of 2^log2n rows; otherwise as dns_fwht_rows. */
void dns_fwht_columns(dns_isa isa, const float *x, ptrdiff_t ldx, float *y, ptrdiff_t ldy,
                      size_t columns, unsigned log2n, dns_threads *threads);

/* What is kept of a filter of 2^log2n elements, read as rows of `pitch`: the first `rows` rows'
 * first `cols` elements. */
typedef struct dns_ovsf_crop {
    size_t pitch, rows, cols;
} dns_ovsf_crop;

/* Bytes of workspace of dns_ovsf, to be aligned to DNS_ALIGN. */
size_t dns_ovsf_workspace(unsigned log2n);

/* w[f] = crop(sum over j < n_codes of alpha[f * n_codes + j] C(2^log2n, index[j])) for f < filters;
 * w is [filters][crop.rows][crop.cols]. Rounding as above with |alpha| for |x|. Fails with
 * DNS_ERR_VALUE, naming the first bad index, unless indices are distinct and in [0, 2^log2n), and
 * the crop lies within the filter; w is then untouched. */
DNS_NODISCARD dns_status dns_ovsf(dns_isa isa, const float *alpha, size_t filters,
                                  const int64_t *index, size_t n_codes, unsigned log2n,
                                  dns_ovsf_crop crop, float *w, void *ws, dns_error *err);

#endif
