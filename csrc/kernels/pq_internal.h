/* Shared by the sources of product quantisation; the method is in pq_isa.c. */
#ifndef DNS_PQ_INTERNAL_H
#define DNS_PQ_INTERNAL_H

#include "dns/pq.h"

enum {
    PQ_GROUP = 8, /* centroids that are packed together; divides 16 and 256 */
    PQ_TILE = 32  /* most rows of a tile */
};

/* One piece's packed codebook. */
typedef struct pq_piece {
    const float *minus; /* [ksub / PQ_GROUP][dsub][PQ_GROUP]: mean - c */
    const float *half;  /* [ksub]: |c - mean|^2 / 2; infinite for a copy of an earlier centroid */
    const float *exact; /* [ksub / PQ_GROUP][dsub][PQ_GROUP]: c */
    float slope,
        floor; /* scores that differ by more than slope |x - mean|^2 + floor are in order */
} pq_piece;

typedef struct dns_pq_ops {
    dns_isa isa;
    /* Codes of rows [first, stop); panel holds PQ_TILE * m * dsub floats. Returns the first row
     * that is not finite, at which it ends, else stop. */
    size_t (*encode)(const dns_pq *pq, const float *x, ptrdiff_t ldx, size_t first, size_t stop,
                     uint8_t *codes, ptrdiff_t ldc, float *panel);
    /* Centroids of n rows of codes below ksub. */
    void (*decode)(const dns_pq *pq, size_t n, const uint8_t *codes, ptrdiff_t ldc, float *y,
                   ptrdiff_t ldy);
} dns_pq_ops;

struct dns_pq {
    dns_alloc alloc;
    const dns_pq_ops *ops;
    dns_pq_shape shape;
    size_t bytes;
    float *codebooks; /* [m][ksub][dsub] */
    float *mean;      /* [m][dsub] of the centroids */
    float *minus, *half, *exact;
    float *number;   /* [ksub]: 0, 1, 2, .. */
    pq_piece *piece; /* [m] */
};

const dns_pq_ops *dns_pq_ops_select(dns_isa isa);

/* Fails with DNS_ERR_VALUE when an extent is out of range. */
DNS_NODISCARD dns_status dns_pq_check(dns_pq_shape shape, dns_error *err);

/* A quantiser of a checked shape, to be packed; NULL when memory is short. */
dns_pq *dns_pq_blank(dns_pq_shape shape, dns_isa isa, const dns_alloc *alloc);

/* Packs codebooks, which must be finite, over what was there; piece s alone. */
void dns_pq_pack(dns_pq *pq, const float *codebooks, size_t s);

/* Position of the first element that is not finite, n if there is none. */
size_t dns_pq_not_finite(const float *x, size_t n);

#endif
