/* Butterfly matrices: W = the first M rows of stacked products of sparse factors.
 *
 * With n = 2^m >= K, one stack is nblock blocks of m levels. The level of stride s = 2^j combines
 * rows i and i + s of every segment of 2s rows by its own 2 x 2 block:
 *
 *     y[i] = a x[i] + b x[i+s],   y[i+s] = c x[i] + d x[i+s].
 *
 * twiddle is [nstack][nblock][m][n/2][2][2] = (..., (a, b), (c, d)); element q of a level belongs
 * to segment q div s, offset q mod s; level j has stride 2^j wherever it is applied. The first
 * block applies strides 1, 2, ..., n/2 (increasing) or n/2, ..., 1, and directions alternate from
 * block to block. Inputs are padded with zeros from K to n, and of the nstack n outputs the first M
 * are kept (Dao et al., ICML 2019, arXiv 1903.05895; layout of the public code that goes with it).
 *
 * Each level rounds as fma(b, x1, a x0) (portable: both products and the sum), so results do not
 * depend on the number of threads or on N; with P = m nblock, |W| the product of the factors'
 * absolute values, and u = 2^-24,
 *
 *     |y - y64| <= 1.01 (2 P + 1) u (|W| |x| + |bias|).
 */
#ifndef DNS_BUTTERFLY_H
#define DNS_BUTTERFLY_H

#include "dns/plan.h"

#define DNS_BUTTERFLY_MAX_LOG2 24

/* A matrix as the caller holds it: W is rows x cols, (nstack - 1) 2^log2n < rows <= nstack 2^log2n
 * (nstack = 1 where rows = 0) and 2^(log2n - 1) < cols <= 2^log2n, log2n >= 1. */
typedef struct dns_butterfly {
    const float *twiddle;
    size_t nstack, nblock;
    unsigned log2n;
    bool increasing;
    size_t rows, cols;
} dns_butterfly;

/* Packs a copy of the twiddles. Fails as dns_plan_new does, and with DNS_ERR_SHAPE when the extents
 * do not agree or log2n is 0 or above DNS_BUTTERFLY_MAX_LOG2. */
DNS_NODISCARD dns_status dns_butterfly_plan_create(const dns_butterfly *w, const float *bias,
                                                   dns_act act, dns_isa isa, const dns_alloc *alloc,
                                                   dns_plan **out, dns_error *err);

/* The twiddles of a plan made by dns_butterfly_plan_create, as they came. Fails with DNS_ERR_VALUE
 * when the plan is of another format. */
DNS_NODISCARD dns_status dns_butterfly_plan_unpack(const dns_plan *plan, float *twiddle,
                                                   dns_error *err);

#endif
