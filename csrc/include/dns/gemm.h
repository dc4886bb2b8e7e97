/* Dense single-precision products: a BLAS that the caller hands in, or the library's own.
 *
 * The own product sums ascending in k, one fp32 accumulator per output (matrix) or one per vector
 * lane (vector), one fused multiply-add each: |c - c64| <= 2 (k + 2) u sum |a b|, u = 2^-24. A BLAS
 * has its own order and the same bound. All functions run on the calling thread; who splits outputs
 * over threads cuts them at places that do not depend on the number of threads, because a BLAS may
 * add in another order when a shape changes.
 */
#ifndef DNS_GEMM_H
#define DNS_GEMM_H

#include "dns/blas.h"
#include "dns/plan.h"

/* Bytes of workspace, aligned to DNS_ALIGN, of one dns_gemm, dns_gemm_t or dns_gemv call; 0 with a
 * BLAS. */
size_t dns_gemm_workspace(const dns_blas *blas, dns_isa isa);

/* C = A B with A [m][k], B [k][n], C [m][n], row-major; k = 0 gives zeros. Extents below 2^31. */
void dns_gemm(const dns_blas *blas, dns_isa isa, size_t m, size_t n, size_t k, const float *a,
              ptrdiff_t lda, const float *b, ptrdiff_t ldb, float *c, ptrdiff_t ldc, void *ws);

/* C = A B^T with B [n][k], the rest as dns_gemm. */
void dns_gemm_t(const dns_blas *blas, dns_isa isa, size_t m, size_t n, size_t k, const float *a,
                ptrdiff_t lda, const float *b, ptrdiff_t ldb, float *c, ptrdiff_t ldc, void *ws);

/* y = A x with A [m][k], y[i*incy], x contiguous. */
void dns_gemv(const dns_blas *blas, dns_isa isa, size_t m, size_t k, const float *a, ptrdiff_t lda,
              const float *x, float *y, ptrdiff_t incy);

/* y[j] = act(y[j] + b) for the n elements of each of `rows` rows, b = bias[row]. */
void dns_bias_act(float *y, ptrdiff_t ldy, size_t rows, size_t n, const float *bias, dns_act act,
                  dns_isa isa);

/* The same with b = bias[column]. */
void dns_bias_act_rows(float *y, ptrdiff_t ldy, size_t rows, size_t n, const float *bias,
                       dns_act act, dns_isa isa);

/* A plan of all M x K weights, the yardstick of the sparse ones: W [M][ldw]. The BLAS table must
 * outlive the plan; NULL = the library's own product. Fails as dns_plan_new does. */
DNS_NODISCARD dns_status dns_dense_plan_create(const float *w, ptrdiff_t ldw, size_t rows,
                                               size_t cols, const float *bias, dns_act act,
                                               const dns_blas *blas, dns_isa isa,
                                               const dns_alloc *alloc, dns_plan **out,
                                               dns_error *err);

#endif
