/* Packed planes of a nested matrix; the method is in nbp_body.h. */
#ifndef DNS_NBP_INTERNAL_H
#define DNS_NBP_INTERNAL_H

#include "dns/nbp.h"

enum {
    NBP_PLANES = 4,
    NBP_CHUNK = 512, /* columns; rows are padded to whole chunks */
    NBP_BLOCK = 64,  /* columns of a field: byte i of a plane's vector holds column i of each */
    NBP_TILE = 4, /* rows whose vectors alternate in memory; rows that are left over stand alone */
    NBP_ROWS = 16 /* at most, of one call of sums; whole tiles but for a matrix's end */
};

/* One row: its planes, and which bits of a plane's fields count (0: the plane is not read). */
typedef struct nbp_row {
    const uint8_t *plane[NBP_PLANES];
    uint8_t mask[NBP_PLANES];
    size_t step; /* bytes from one vector of the row to the next */
} nbp_row;

typedef struct dns_nbp_ops {
    dns_isa isa;
    size_t rows; /* that meet one load of x in sums */
    int product; /* instructions of a vb_dot; portable: what fp32 takes for as many products */
    /* Sums of code8(k) x(k) of so many rows from `row` on, the first of its tile, code8 with the
     * masked bits in their places of 8. */
    void (*sums)(const nbp_row *row, size_t rows, const int8_t *x, size_t chunks, int32_t *out);
    /* The same sums of one row over each block of one chunk; x is the chunk's. */
    void (*block_sums)(const nbp_row *row, size_t chunk, const int8_t *x, int32_t out[8]);
    /* Sum of lut[code8 >> (8 - p)] x. */
    float (*lookup)(const nbp_row *row, int p, const float *lut, const float *x, size_t chunks);
} dns_nbp_ops;

const dns_nbp_ops *dns_nbp_ops_select(dns_isa isa);

#endif
