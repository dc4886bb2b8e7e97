/* Entries of some rows and columns of a pattern; the method is in sddmm_isa.c. */
#ifndef DNS_SDDMM_INTERNAL_H
#define DNS_SDDMM_INTERNAL_H

#include <stdbool.h>

#include "dns/sddmm.h"

/* Rows that are fetched into the second cache while a segment is computed. */
typedef struct sddmm_ahead {
    const float *rows;
    ptrdiff_t ld;
    size_t n;
} sddmm_ahead;

/* The entries of one segment of a pattern. */
typedef struct sddmm_run {
    const float *q; /* the tile's first row */
    ptrdiff_t ldq;
    const float *k; /* the block's first row of the packed K */
    size_t depth;
    float scale;
    const dns_pattern_run *runs;
    size_t n_runs;
    const uint16_t *columns; /* of the first run */
    float *values;           /* of the tile */
    sddmm_ahead ahead[2];    /* what is needed next: rows of Q and of K */
} sddmm_run;

typedef struct dns_sddmm_ops {
    dns_isa isa;
    size_t lanes;
    /* packed [rows][pitch] = k [rows][depth], zeros up to the pitch, a multiple of the lanes. */
    void (*pack)(const float *k, ptrdiff_t ldk, size_t rows, size_t depth, float *packed);
    /* Returns where the columns of the next segment begin. */
    const uint16_t *(*segment)(const sddmm_run *run);
} dns_sddmm_ops;

const dns_sddmm_ops *dns_sddmm_ops_select(dns_isa isa);

/* Floats between the rows of a packed K. */
static inline size_t
sddmm_pitch(const dns_sddmm_ops *ops, size_t depth)
{
    return (depth + ops->lanes - 1) / ops->lanes * ops->lanes;
}

/* Unit u, see dns_pattern_unit: q, ldq, depth and scale, and what units up to `stop` need next. */
sddmm_run dns_sddmm_unit(const dns_pattern *pattern, const dns_sddmm *call, size_t u, size_t stop);

/* Tile t of head h, of which `run` is what dns_sddmm_unit gave: the values of its entries, the
 * first one in values[0]. */
void dns_sddmm_tile(const dns_sddmm_ops *ops, const dns_pattern *pattern, size_t h, size_t t,
                    sddmm_run run, const float *packed, float *values);

/* Floats of a thread's packed K, and of a tile's values; whole lines. False on overflow. */
bool dns_sddmm_floats(const dns_sddmm_ops *ops, const dns_pattern *pattern, size_t depth,
                      size_t *packed, size_t *values);

/* A unit is a tile of a problem, in the order of entries. First unit of part p of `parts`, so that
 * parts hold about equally many entries. */
size_t dns_pattern_unit(const dns_pattern *pattern, size_t batch, size_t parts, size_t p);

#endif
