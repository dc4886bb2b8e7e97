/* Product quantisation: vectors as a few bytes, each the nearest of 16 or 256 centroids of a piece.
 *
 * A vector of m * dsub elements is cut into m pieces. Piece s has a codebook of ksub centroids c_j
 * of dsub elements, and its code is
 *
 *     argmin_j D_j,   D_j = sum_k (x_k - c_jk)^2 in double, ascending k; ties: lowest j.
 *
 * Codes are exact: the same at every level and number of threads. (Jegou, Douze, Schmid, "Product
 * quantization for nearest neighbor search", IEEE TPAMI 33, 2011.)
 *
 * Arrays are row-major, innermost dimension contiguous, leading dimensions in elements.
 */
#ifndef DNS_PQ_H
#define DNS_PQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dns/cpu.h"
#include "dns/mem.h"
#include "dns/status.h"
#include "dns/threads.h"

#define DNS_PQ_MAX_DIM (1 << 24) /* elements of a vector */
#define DNS_PQ_MAX_DSUB 65536

/* Extents of a quantiser: m, dsub >= 1, ksub 16 or 256. */
typedef struct dns_pq_shape {
    size_t m, ksub, dsub;
} dns_pq_shape;

/* Packed codebooks; immutable, may be used by any number of threads at once. */
typedef struct dns_pq dns_pq;

/* Packs codebooks [m][ksub][dsub]. Fails with DNS_ERR_VALUE when an extent is out of range or, with
 * the position as index, an element is not finite; DNS_ERR_MEMORY. */
DNS_NODISCARD dns_status dns_pq_create(const float *codebooks, dns_pq_shape shape, dns_isa isa,
                                       const dns_alloc *alloc, dns_pq **out, dns_error *err);

/* Frees; NULL is ignored. */
void dns_pq_destroy(dns_pq *pq);

dns_pq_shape dns_pq_shape_of(const dns_pq *pq);

/* Level of the code that runs, bytes that the quantiser holds. */
dns_isa dns_pq_isa(const dns_pq *pq);
size_t dns_pq_bytes(const dns_pq *pq);

/* Bytes of workspace, to be aligned to DNS_ALIGN, of dns_pq_encode on a pool of `threads` threads.
 */
size_t dns_pq_workspace(const dns_pq *pq, size_t threads);

/* codes [n][ldc >= m] of x [n][ldx >= m * dsub], n below 2^31. Fails with DNS_ERR_VALUE naming the
 * first row that is not finite; codes written until then are of no use. */
DNS_NODISCARD dns_status dns_pq_encode(const dns_pq *pq, size_t n, const float *x, ptrdiff_t ldx,
                                       uint8_t *codes, ptrdiff_t ldc, void *ws,
                                       dns_threads *threads, dns_error *err);

/* y [n][ldy >= m * dsub] = the centroids of codes [n][ldc >= m], bit for bit. Fails with
 * DNS_ERR_VALUE naming the first row with a code >= ksub; y is then untouched. */
DNS_NODISCARD dns_status dns_pq_decode(const dns_pq *pq, size_t n, const uint8_t *codes,
                                       ptrdiff_t ldc, float *y, ptrdiff_t ldy, dns_threads *threads,
                                       dns_error *err);

/* What a quantiser is trained on. */
typedef struct dns_pq_training {
    dns_pq_shape shape;
    const float *x; /* [n][ldx >= m * dsub], finite, ksub <= n < 2^31 */
    ptrdiff_t ldx;
    size_t n;
    const int64_t *order; /* [n]: the rows, in the order in which they are taken */
    size_t batch;         /* rows of a step, >= ksub; n or more = all */
    size_t steps;         /* >= 1 */
    /* Called between steps; false ends the training with DNS_ERR_CALLBACK. May be NULL. */
    bool (*go_on)(void *ctx);
    void *ctx;
} dns_pq_training;

/* Trains codebooks [m][ksub][dsub] by mini-batch k-means. Centroids begin as the first ksub rows of
 * the order. Every step takes the next `batch` rows of the order, round and round, encodes them and
 * moves each centroid to the weighted mean of itself and its rows,
 *
 *     c = (k w c + sum x) / (k w + rows),   w = k w + rows,   k = 1 - batch / n,
 *
 * (Sculley, "Web-scale k-means clustering", WWW 2010, with weights that forget over one pass of the
 * data); with all rows in a step these are Lloyd's iterations. A centroid whose weight is below one
 * row is re-seeded from the largest cluster: it becomes that cluster's farthest row of the batch
 * and takes the rows that are nearer to it, with their share of the weight. Sums are in double, in
 * the batch's order: the same bytes at every level and number of threads. Fails with DNS_ERR_VALUE
 * (parameters; not finite, naming the row; order out of range), DNS_ERR_MEMORY,
 * DNS_ERR_CALLBACK. */
DNS_NODISCARD dns_status dns_pq_train(const dns_pq_training *training, dns_isa isa,
                                      dns_threads *threads, const dns_alloc *alloc,
                                      float *codebooks, dns_error *err);

#endif
