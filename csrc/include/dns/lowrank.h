/* A matrix as a sum of rank-one terms, each with a pruned right factor.
 *
 *     W ~= sum over t < N of s_t u_t v_t^T,   |u_t| = 1, v_t with nz non-zeros at most
 *
 * From E_0 = W: (s, u, v) is the leading singular triplet of E_t; v keeps its nz elements of
 * largest magnitude (the lower index of equal ones); E_t+1 = E_t - s u v^T with s, u and v as
 * stored in fp32, so that later terms make up for pruning and for rounding (Rizakis et al., ARC
 * 2018, arXiv 1801.02190, algorithm 1). Then
 *
 *     |E_t+1|^2 = |E_t|^2 - s^2 |v_t|^2   (Frobenius, v_t pruned)
 *
 * up to rounding, and without pruning the terms are the singular triplets in order. The largest
 * element of u is positive. Once s has fallen below 2^-26 of the first one, what is left is
 * rounding: that term and all after it are zeros.
 */
#ifndef DNS_LOWRANK_H
#define DNS_LOWRANK_H

#include <stddef.h>
#include <stdint.h>

#include "dns/cpu.h"
#include "dns/mem.h"
#include "dns/status.h"

/* The first `terms` terms of w [m][ldw >= n]: s [terms], u [terms][m], v [terms][nz], columns
 * [terms][nz], ascending within a term. 1 <= nz <= n. Works in double and takes two to three times
 * the memory of w in double; the same bytes at every level. Fails with DNS_ERR_VALUE when an extent
 * or nz is out of range, an element is not finite (its row is the index), or |W| exceeds fp32;
 * DNS_ERR_MEMORY. */
DNS_NODISCARD dns_status dns_lowrank_terms(const float *w, ptrdiff_t ldw, size_t m, size_t n,
                                           size_t terms, size_t nz, dns_isa isa,
                                           const dns_alloc *alloc, float *s, float *u, float *v,
                                           int32_t *columns, dns_error *err);

#endif
