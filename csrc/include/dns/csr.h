/* Compressed sparse rows: Y = act(W X + b) with W in CSR.
 *
 * Per output the sum starts with the bias and takes the stored weights in ascending column order,
 * one fp32 accumulator, one fused multiply-add each (two roundings in the portable path). So
 * results depend neither on the number of threads, nor on N, nor on the layout, and with k stored
 * weights in the row
 *
 *     |y - y64| <= 2 (k + 2) u (|b| + sum |w x|),   u = 2^-24.
 *
 * Stored zeros are computed (0 * inf is NaN), absent weights are not.
 */
#ifndef DNS_CSR_H
#define DNS_CSR_H

#include "dns/plan.h"

/* A matrix as the caller holds it. Row i's columns are indices[indptr[i] .. indptr[i+1]). */
typedef struct dns_csr {
    size_t rows, cols, nnz;
    const int64_t *indptr;  /* [rows + 1] */
    const int64_t *indices; /* [nnz] */
    const float *values;    /* [nnz] */
} dns_csr;

/* Fails with DNS_ERR_FORMAT, naming the first bad row (index), unless row pointers begin with 0,
 * never fall, end with nnz, and every row's columns ascend strictly within [0, cols); with
 * DNS_ERR_VALUE when an extent or nnz is 2^31 or more. */
DNS_NODISCARD dns_status dns_csr_check(const dns_csr *w, dns_error *err);

/* Packs a checked copy of w. Fails as dns_csr_check and dns_plan_new do. */
DNS_NODISCARD dns_status dns_csr_plan_create(const dns_csr *w, const float *bias, dns_act act,
                                             dns_isa isa, const dns_alloc *alloc, dns_plan **out,
                                             dns_error *err);

/* The weights of a plan made by dns_csr_plan_create, in CSR order: indptr [rows + 1], indices
 * [nnz], values [nnz]. Fails with DNS_ERR_VALUE when the plan is of another format. */
DNS_NODISCARD dns_status dns_csr_plan_unpack(const dns_plan *plan, int64_t *indptr,
                                             int64_t *indices, float *values, dns_error *err);

#endif
