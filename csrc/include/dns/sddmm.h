/* Sampled dense-dense products: the entries of Q K^T that a sparse pattern names.
 *
 *     s_ij = scale * sum_t q_it k_jt   for (i, j) of the pattern
 *
 * A sum runs over vectors of t in ascending order, lane by lane, one fused multiply-add each (two
 * roundings in the portable path); then its lanes are added by halves and the sum is scaled. So an
 * entry depends on its two rows alone, and with u = 2^-24
 *
 *     |s - s64| <= 2 (depth + 2) u |scale| sum |q k|.
 */
#ifndef DNS_SDDMM_H
#define DNS_SDDMM_H

#include <stddef.h>
#include <stdint.h>

#include "dns/cpu.h"
#include "dns/mem.h"
#include "dns/status.h"
#include "dns/threads.h"

/* Entries of one row of a tile in one block of columns. */
typedef struct dns_pattern_run {
    uint32_t at;  /* the first one's place among the tile's entries */
    uint32_t n;   /* >= 1 */
    uint32_t row; /* of the tile */
} dns_pattern_run;

/* Where the entries lie: `heads` patterns of rows x cols behind each other, in CSR. Row i of head h
 * is row h * rows + i of the structure. Rows are cut into tiles of DNS_PATTERN_ROWS, columns into
 * blocks; a segment is a tile's block. Columns are stored segment by segment, in it run by run, the
 * longest first. Immutable; read-only for users; any number of threads may use it at once. */
#define DNS_PATTERN_ROWS 128
typedef struct dns_pattern {
    dns_alloc alloc;
    size_t heads, rows, cols, nnz;
    size_t bytes;          /* memory held */
    size_t block;          /* columns, at most 2^16 */
    size_t n_blocks;       /* ceil(cols / block), at least 1 */
    size_t n_tiles;        /* of one head */
    size_t tile_nnz;       /* entries of the largest tile */
    size_t n_runs;         /* of all segments */
    int32_t *indptr;       /* [heads * rows + 1] */
    uint32_t *segments;    /* [heads * n_tiles * n_blocks + 1] first run of each */
    dns_pattern_run *runs; /* [n_runs] */
    uint16_t *columns;     /* [nnz] less the block's first */
} dns_pattern;

/* A checked copy of indptr [heads * rows + 1] and indices [indptr's last]. heads >= 1. Fails as
 * dns_csr_check does for the heads * rows x cols structure, and with DNS_ERR_MEMORY. */
DNS_NODISCARD dns_status dns_pattern_create(size_t heads, size_t rows, size_t cols,
                                            const int64_t *indptr, const int64_t *indices,
                                            size_t nnz, const dns_alloc *alloc, dns_pattern **out,
                                            dns_error *err);

/* NULL is ignored. */
void dns_pattern_destroy(dns_pattern *pattern);

/* The structure as it came in: indptr [heads * rows + 1], indices [nnz]. */
void dns_pattern_unpack(const dns_pattern *pattern, int64_t *indptr, int64_t *indices);

/* Entries before row i of head h; row `rows` of the last head ends the structure. */
static inline size_t
dns_pattern_entry(const dns_pattern *p, size_t h, size_t i)
{
    return (size_t)p->indptr[h * p->rows + i];
}

/* `batch` problems, a multiple of the pattern's heads: problem b has head b % heads. Q [rows][ldq
 * >= depth] and K [cols][ldk >= depth] of problem b begin b * q_step and b * k_step elements from q
 * and k. The values of the problems of all heads lie behind each other in the pattern's order. */
typedef struct dns_sddmm {
    size_t batch, depth;
    const float *q;
    ptrdiff_t ldq, q_step;
    const float *k;
    ptrdiff_t ldk, k_step;
    float scale;
    float *values; /* [batch / heads][nnz] */
} dns_sddmm;

/* Bytes of workspace, aligned to DNS_ALIGN, on a pool of `threads` threads. Fails with
 * DNS_ERR_SHAPE when batch is no multiple of the heads, or DNS_ERR_OVERFLOW. */
DNS_NODISCARD dns_status dns_sddmm_workspace(const dns_pattern *pattern, const dns_sddmm *call,
                                             dns_isa isa, size_t threads, size_t *bytes,
                                             dns_error *err);

/* Computes all entries of a call that dns_sddmm_workspace has passed. Below 2 Mflop the pool is not
 * used. */
void dns_sddmm_execute(const dns_pattern *pattern, const dns_sddmm *call, dns_isa isa,
                       dns_threads *threads, void *ws);

#endif
