/* The packed stream of a CSR plan; the method is in csr_isa.c. */
#ifndef DNS_CSR_INTERNAL_H
#define DNS_CSR_INTERNAL_H

#include "dns/csr.h"

/* One stored weight: the byte offset of its row in a packed block of X, and its value. */
typedef struct csr_entry {
    uint32_t offset;
    float value;
} csr_entry;

/* Two rows of Y whose entries alternate in the stream: `both` from each, then `rest` of row[0]
 * alone. row[1] is -1 where there is no second row. */
typedef struct csr_pair {
    int32_t row[2];
    uint32_t both, rest;
    uint32_t last; /* bit r: no later block holds entries of row[r], so it is activated here */
} csr_pair;

/* One block of columns times one panel of X, for some pairs of rows. */
typedef struct csr_run {
    const csr_pair *pairs;
    size_t n_pairs;
    const csr_entry *entries;
    const float *x; /* the block's first row in the packed panel; for gemv the vector from there */
    float *y;       /* column 0 of the panel in row 0 of Y */
    ptrdiff_t ldy;
    size_t n;          /* columns, <= the panel's width */
    const float *bias; /* of all rows, in the first block; NULL: Y holds the sums so far */
    dns_act act;
} csr_run;

typedef struct dns_csr_ops {
    dns_isa isa;
    size_t panel; /* columns of a packed panel */
    /* panel[i*panel .. + n) = x[i*ldx .. + n) for i < k, n <= panel, zeros up to a whole vector. */
    void (*pack)(const float *x, ptrdiff_t ldx, size_t k, size_t n, float *panel);
    void (*spmm)(const csr_run *run);
    void (*gemv)(const csr_run *run);
} dns_csr_ops;

const dns_csr_ops *dns_csr_ops_select(dns_isa isa);

#endif
