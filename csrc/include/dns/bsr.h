/* Block sparse rows: Y = act(W X + b) with W in blocks of r x c.
 *
 * Every weight of a stored block is computed, zeros among them too (0 * inf is NaN); absent blocks
 * are not. Per output the sum starts with the bias and takes the stored weights in ascending column
 * order, one fp32 accumulator, one fused multiply-add each (two roundings in the portable path):
 * the bytes of a CSR plan (csr.h) that stores the same weights, on any number of threads, for any
 * N. With k stored weights in the row
 *
 *     |y - y64| <= 2 (k + 2) u (|b| + sum |w x|),   u = 2^-24.
 *
 * M and K need not be multiples of r and c: the last blocks may reach beyond the matrix, and what
 * lies there is ignored.
 */
#ifndef DNS_BSR_H
#define DNS_BSR_H

#include "dns/plan.h"

/* A matrix as the caller holds it. Block row i's block columns are
 * indices[indptr[i] .. indptr[i+1]). */
typedef struct dns_bsr {
    size_t rows, cols;      /* of the matrix */
    size_t r, c;            /* of a block */
    size_t n_blocks;        /* stored */
    const int64_t *indptr;  /* [ceil(rows / r) + 1] */
    const int64_t *indices; /* [n_blocks] */
    const float *values;    /* [n_blocks][r][c] */
} dns_bsr;

/* Fails with DNS_ERR_VALUE when an extent, n_blocks or the number of values is 2^31 or more, or
 * unless 1 <= r, c <= 4096; with DNS_ERR_FORMAT, naming the first bad block row, as dns_csr_check
 * does. */
DNS_NODISCARD dns_status dns_bsr_check(const dns_bsr *w, dns_error *err);

/* Packs a checked copy of w. Fails as dns_bsr_check and dns_plan_new do. */
DNS_NODISCARD dns_status dns_bsr_plan_create(const dns_bsr *w, const float *bias, dns_act act,
                                             dns_isa isa, const dns_alloc *alloc, dns_plan **out,
                                             dns_error *err);

/* Extents of the blocks of a plan made by dns_bsr_plan_create and their number. Fails with
 * DNS_ERR_VALUE when the plan is of another format. */
DNS_NODISCARD dns_status dns_bsr_plan_blocks(const dns_plan *plan, size_t *r, size_t *c,
                                             size_t *n_blocks, dns_error *err);

/* The weights of such a plan in BSR order: indptr [ceil(rows / r) + 1], indices [n_blocks], values
 * [n_blocks][r][c], zeros beyond the matrix. Fails as dns_bsr_plan_blocks. */
DNS_NODISCARD dns_status dns_bsr_plan_unpack(const dns_plan *plan, int64_t *indptr,
                                             int64_t *indices, float *values, dns_error *err);

#endif
