/* One level's code for butterfly plans; the method is in butterfly_isa.c. */
#ifndef DNS_BUTTERFLY_INTERNAL_H
#define DNS_BUTTERFLY_INTERNAL_H

#include "dns/butterfly.h"

/* One or two levels over `count` rows of a tile from `first` on. Two levels fuse the strides s and
 * 2s: groups of rows i, i+s, i+2s, i+3s in ascending order of i, 16 twiddles each: those of the
 * pairs of the level applied first, then of the other one. One level: pairs i, i+s, 4 twiddles
 * each. */
typedef struct butterfly_step {
    size_t first, count, stride;
    bool two;       /* levels */
    bool ascending; /* stride s is applied before 2s */
} butterfly_step;

typedef struct dns_butterfly_ops {
    dns_isa isa;
    size_t lanes; /* a tile's width is a multiple of it */
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
