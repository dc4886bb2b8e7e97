/* The packed stream of a BSR plan; the method is in bsr_isa.c. */
#ifndef DNS_BSR_INTERNAL_H
#define DNS_BSR_INTERNAL_H

#include "dns/bsr.h"

enum { BSR_STRIP = 4 }; /* most rows of a strip */

/* An entry of the stream is one column of a strip: the byte offset of its row in a packed block of
 * X, then one value per row of the strip. */
typedef union bsr_word {
    uint32_t offset;
    float value;
} bsr_word;

/* One block of columns times one panel of X, for the strips [first, stop). */
typedef struct bsr_run {
    const int32_t *rows; /* strip s has the rows rows[s] .. rows[s+1) */
    const size_t *start; /* and in this block the words start[s] .. start[s+1) */
    size_t first, stop;
    const bsr_word *words;
    const float *x; /* the block's first row in the packed panel; for gemv the vector from there */
    float *y;       /* column 0 of the panel in row 0 of Y */
    ptrdiff_t ldy;
    size_t n;          /* columns, <= the panel's width */
    const float *bias; /* of all rows, in the first block; NULL: Y holds the sums so far */
    bool last;         /* the last block, whose sums are activated */
    dns_act act;
} bsr_run;

typedef struct dns_bsr_ops {
    dns_isa isa;
    size_t panel; /* columns of a packed panel */
    void (*pack)(const float *x, ptrdiff_t ldx, size_t k, size_t n, float *panel);
    void (*spmm)(const bsr_run *run);
    void (*gemv)(const bsr_run *run);
} dns_bsr_ops;

const dns_bsr_ops *dns_bsr_ops_select(dns_isa isa);

#endif
