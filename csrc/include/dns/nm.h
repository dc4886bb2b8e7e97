/* N:M sparsity: Y = act(W X + b) where every m consecutive columns of a row hold at most n
 * non-zeros.
 *
 * Groups begin at multiples of m; the last one may be short. A plan stores n weights of every group
 * (as many as it has columns, if fewer): its non-zeros, then zeros at its lowest free columns.
 * Stored zeros are computed (0 * inf is NaN), absent weights are not.
 *
 * For N > 1 the sum of an output starts with the bias and takes the stored weights in ascending
 * column order, one fp32 accumulator, one fused multiply-add each (two roundings in the portable
 * path): the bytes of a CSR plan (csr.h) that stores the same weights. For N = 1 there are L
 * partial sums (L = 16, 8, 4 lanes for AVX-512, AVX2, portable). Where m divides 4 column j goes to
 * partial sum (j / 4) mod L, otherwise to j mod L; at AVX-512, in whole groups of 32 columns of
 * which 16 are stored (n : m = 1 : 2, m = 8, 16 or 32), the l-th of these goes to partial sum l.
 * The partial sums are added by halves, and the bias last. With k stored weights in the row both
 * keep
 *
 *     |y - y64| <= 2 (k + 2) u (|b| + sum |w x|),   u = 2^-24,
 *
 * and neither depends on the number of threads.
 */
#ifndef DNS_NM_H
#define DNS_NM_H

#include "dns/plan.h"

#define DNS_NM_MAX 64 /* largest m */

/* Packs w [rows][ldw >= cols]. Fails with DNS_ERR_VALUE unless 1 <= n <= m <= DNS_NM_MAX and
 * extents and stored weights are below 2^31; with DNS_ERR_FORMAT, index = the row, when a group
 * holds more than n non-zeros (NaN is one, -0 is none); and as dns_plan_new does. */
DNS_NODISCARD dns_status dns_nm_plan_create(const float *w, ptrdiff_t ldw, size_t rows, size_t cols,
                                            size_t n, size_t m, const float *bias, dns_act act,
                                            dns_isa isa, const dns_alloc *alloc, dns_plan **out,
                                            dns_error *err);

#endif
