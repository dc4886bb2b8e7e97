/* Attention: y = softmax(scale * q k^T under a mask) v, for a batch of heads.
 *
 * With a pattern: sampled products (dns/sddmm.h), softmax of each row of values (dns/softmax.h),
 * and the CSR kernel's product with V (dns/csr.h: ascending columns, one accumulator). What the
 * pattern does not name is not touched. Without one: dense products (dns/gemm.h) of tiles of
 * queries, whose borders depend on the extents alone; columns beyond what a tile's mask lets any of
 * its rows see are left out, and hidden ones among the rest have probability 0, which times NaN or
 * infinity in V is NaN. A query that sees nothing gives zeros and is counted.
 *
 * Results do not depend on the number of threads. Against float64, with e the largest error of a
 * query's scores (2 (depth + 2) u |scale| sum |q k|, and u |s + add| under an additive mask), n
 * what it sees, V the largest magnitude of a column of v, u = 2^-24:
 *
 *     |y - y64| <= V (exp(2 e) - 1 + 4e-6 + 4e-7 n + 2 (n + 2) u).
 */
#ifndef DNS_ATTENTION_H
#define DNS_ATTENTION_H

#include "dns/gemm.h"
#include "dns/sddmm.h"
#include "dns/softmax.h"

/* Q [batch][queries][depth], K [batch][keys][depth], V [batch][keys][width], Y
 * [batch][queries][width], all contiguous, Y apart. With a pattern (queries x keys; batch a
 * multiple of its heads, problem b has head b % heads) the mask has none; else `mask` gives causal,
 * lengths, bits and add for the rows b * queries + i of batch * queries, as in dns/softmax.h; its
 * rows, cols, x and y are not read. */
typedef struct dns_attention {
    size_t batch, queries, keys, depth, width;
    const float *q, *k, *v;
    float *y;
    float scale;
    const dns_pattern *pattern; /* NULL: dense */
    dns_softmax mask;
    const dns_blas *blas; /* NULL: the library's own product */
} dns_attention;

/* Bytes of workspace, aligned to DNS_ALIGN, on a pool of `threads` threads. Fails with
 * DNS_ERR_SHAPE when the pattern does not fit, DNS_ERR_VALUE when a length is out of range, or
 * DNS_ERR_OVERFLOW. */
DNS_NODISCARD dns_status dns_attention_workspace(const dns_attention *call, dns_isa isa,
                                                 size_t threads, size_t *bytes, dns_error *err);

/* Computes a call that dns_attention_workspace has passed; returns the queries that saw nothing.
 * Below 2 Mflop the pool is not used. */
size_t dns_attention_execute(const dns_attention *call, dns_isa isa, dns_threads *threads,
                             void *ws);

#endif
