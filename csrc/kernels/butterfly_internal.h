/* One level's code for butterfly plans; the method is in butterfly_isa.c. */
#ifndef DNS_BUTTERFLY_INTERNAL_H
#define DNS_BUTTERFLY_INTERNAL_H

#include "dns/butterfly.h"

/* One to four fused levels, of strides s, 2 s, ..., R s / 2 with R = 2^levels, over the groups of
 * rows j, j + s, ..., j + (R - 1) s, j = i + from .. i + to - 1 (to <= s), for i = first, first +
 * R s, ... below first + count. A group's twiddles lie together in the order in which they are
 * used: level after level, and by ascending rows within one, 4 for each pair. */
typedef struct butterfly_step {
    size_t first, count, stride, from, to;
    unsigned levels;
    bool ascending; /* the shortest stride is applied first */
    bool opens;     /* the first step of the block that touches these rows, */
    bool closes;    /* the last one */
} butterfly_step;

typedef struct dns_butterfly_ops {
    dns_isa isa;
    size_t lanes;    /* a tile's width is a multiple of it */
    unsigned levels; /* that a step may fuse */
    /* Applies a step in place to the tile [n][width]; returns the twiddles behind the step's. */
    const float *(*step)(const butterfly_step *step, const float *twiddle, float *tile,
                         size_t width);
    /* to[i*ldt .. + width) = from[i*ldf .. + n), zeros behind, for i < rows. */
    void (*load)(const float *from, ptrdiff_t ldf, size_t rows, size_t n, float *to, size_t width);
    /* y[i*ldy .. + n) = act(tile[i*width ..] + bias[i]) for i < rows. */
    void (*store)(const float *tile, size_t width, const float *bias, dns_act act, size_t rows,
                  size_t n, float *y, ptrdiff_t ldy);
} dns_butterfly_ops;

const dns_butterfly_ops *dns_butterfly_ops_select(dns_isa isa);

#endif
