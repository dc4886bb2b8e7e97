/* The packed weights of an N:M plan; the method is in nm_isa.c. */
#ifndef DNS_NM_INTERNAL_H
#define DNS_NM_INTERNAL_H

#include "dns/nm.h"

enum {
    NM_QUAD = 4,            /* rows that lie together for a vector, where m divides 4 */
    NM_UNIT = 16,           /* columns of theirs that do */
    NM_WORD = 16,           /* columns that one mask tells of */
    NM_PAD = 16,            /* values that may be read behind the last */
    NM_HALF = 80,           /* most columns of half a period (nm.c) */
    NM_PANEL_BYTES = 40960, /* most of a block's packed rows: they fit the first cache */
    NM_NEAR_BYTES = 1 << 20 /* weights of so many bytes stay in the second cache */
};

/* One block of columns times one panel of X, for the rows [first, stop). */
typedef struct nm_run {
    const float *values;    /* row i's stored weights in the block: values[i*slots .. + count) */
    const uint8_t *columns; /* likewise their columns, counted from `origin` before the block */
    size_t origin;
    bool far;     /* the weights do not stay in the second cache */
    size_t slots; /* stored weights of a row in all blocks */
    size_t count; /* in this block */
    size_t first, stop;
    const float *x; /* the block's first row in the packed panel */
    float *y;       /* column 0 of the panel in row 0 of Y */
    ptrdiff_t ldy;
    size_t n;          /* columns, <= the panel's width */
    const float *bias; /* of all rows, in the first block; NULL: Y holds the sums so far */
    bool last;         /* the last block, whose sums are activated */
    dns_act act;
} nm_run;

/* A vector times the rows [first, stop). */
typedef struct nm_vector {
    const float *values;    /* [rows][slots], NM_PAD more behind the last */
    const uint8_t *columns; /* [rows][slots], modulo a multiple of 32 where half */
    bool half;              /* 16 of every 32 columns are stored */
    const uint16_t *masks; /* [rows][ceil(cols / NM_WORD)], bit j: column j of the word is stored */
    size_t slots, cols;
    size_t first, stop;
    const float *x;
    float *y;
    ptrdiff_t ldy;
    const float *bias;
    dns_act act;
} nm_vector;

/* As nm_vector, from quads of rows where m divides 4. Lane 4g + i of a unit's vector is row i of
 * the quad and holds a weight of the columns 4g .. 4g + 3 of the unit; with t stored weights in
 * four columns a unit has t vectors, columns ascending. */
typedef struct nm_quads {
    const float *values;   /* [quads][units][t][NM_UNIT], zeros where there is no weight */
    const uint32_t *codes; /* [quads][units][t], bits 2l and 2l + 1: lane l's column in its four */
    size_t t, cols;
    size_t first, stop; /* rows */
    bool far;           /* the weights do not stay in the second cache */
    const float *x;
    float *y;
    ptrdiff_t ldy;
    const float *bias;
    dns_act act;
} nm_quads;

typedef struct dns_nm_ops {
    dns_isa isa;
    size_t panel; /* columns of a packed panel */
    void (*pack)(const float *x, ptrdiff_t ldx, size_t k, size_t n, float *panel);
    void (*spmm)(const nm_run *run);
    void (*gemv)(const nm_vector *run);
    void (*gemv_quads)(const nm_quads *run);
} dns_nm_ops;

const dns_nm_ops *dns_nm_ops_select(dns_isa isa);

#endif
