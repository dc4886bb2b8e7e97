/* The own matrix product's kernels; the method is in gemm_isa.c. */
#ifndef DNS_GEMM_INTERNAL_H
#define DNS_GEMM_INTERNAL_H

#include "dns/gemm.h"

enum { GEMM_BLOCK = 256 }; /* rows of B in a packed block */

typedef struct dns_gemm_ops {
    dns_isa isa;
    size_t panel; /* columns of a packed panel */
    /* panel[i*panel ..] = the n <= panel columns of k rows of b, zeros behind them. */
    void (*pack)(const float *b, ptrdiff_t ldb, size_t k, size_t n, float *panel);
    /* The same of columns that lie in rows of b: panel[i*panel + j] = b[j*ldb + i]. */
    void (*pack_rows)(const float *b, ptrdiff_t ldb, size_t k, size_t n, float *panel);
    /* c [m][n <= panel] = a [m][k] panel, added to c unless `first`. */
    void (*block)(const float *a, ptrdiff_t lda, size_t m, size_t k, const float *panel, float *c,
                  ptrdiff_t ldc, size_t n, bool first);
    void (*gemv)(const float *a, ptrdiff_t lda, size_t m, size_t k, const float *x, float *y,
                 ptrdiff_t incy);
    /* One row: y = act(y + bias[0]), or act(y + bias[j]) when `each`. */
    void (*bias_act)(float *y, size_t n, const float *bias, bool each, dns_act act);
} dns_gemm_ops;

const dns_gemm_ops *dns_gemm_ops_select(dns_isa isa);

#endif
