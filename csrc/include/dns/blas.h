/* The BLAS that dense products call, as a table that the caller hands in.
 *
 * csrc links no BLAS. Who has one fills this table and keeps it as long as the plans that were
 * given it; NULL instead of a table means the library's own product (dns/gemm.h). The functions are
 * those of CBLAS with 32-bit integers, must work on the calling thread alone, and be callable from
 * several threads at once.
 */
#ifndef DNS_BLAS_H
#define DNS_BLAS_H

/* Values of the CBLAS enumerations. */
enum { DNS_BLAS_ROW_MAJOR = 101, DNS_BLAS_PLAIN = 111, DNS_BLAS_TRANSPOSED = 112 };

typedef struct dns_blas {
    void (*sgemm)(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
                  const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);
    void (*sgemv)(int order, int trans, int m, int n, float alpha, const float *a, int lda,
                  const float *x, int incx, float beta, float *y, int incy);
} dns_blas;

#endif
