/* Packed planes of a nested matrix; the method is in nbp_body.h. */
#ifndef DNS_NBP_INTERNAL_H
#define DNS_NBP_INTERNAL_H

#include "dns/nbp.h"

enum {
    NBP_PLANES = 4,
    NBP_CHUNK = 512, /* columns; rows are padded to whole chunks */
    NBP_BLOCK = 64   /* columns of a field: byte i of a plane's vector holds column i of each */
};

/* One row: its planes, and which bits of a plane's fields count (0: the plane is not read). */
typedef struct nbp_row {
    const uint8_t *plane[NBP_PLANES];
    uint8_t mask[NBP_PLANES];
} nbp_row;

typedef struct dns_nbp_ops {
    dns_isa isa;
    /* Sum of code8(k) x(k) over the chunks, code8 with the masked bits in their places of 8. */
    int32_t (*sum)(const nbp_row *row, const int8_t *x, size_t chunks);
    /* The same over the columns of blocks [first, stop). */
    int32_t (*sum_blocks)(const nbp_row *row, const int8_t *x, size_t first, size_t stop);
    /* Sum of lut[code8 >> (8 - p)] x. */
    float (*lookup)(const nbp_row *row, int p, const float *lut, const float *x, size_t chunks);
} dns_nbp_ops;

const dns_nbp_ops *dns_nbp_ops_select(dns_isa isa);

#endif
