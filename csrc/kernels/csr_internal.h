/* The packed streams of a CSR plan; the method is in csr_isa.c. */
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
    const float *x; /* the block's first row in the packed panel */
    float *y;       /* column 0 of the panel in row 0 of Y */
    ptrdiff_t ldy;
    size_t n;          /* columns, <= the panel's width */
    const float *bias; /* of all rows, in the first block; NULL: Y holds the sums so far */
    dns_act act;
    bool far; /* the entries come from beyond the second cache */
} csr_run;

enum { CSR_SLICE = 16, CSR_STRIP = 65536 };

/* Rows of Y whose weights in one strip of CSR_STRIP columns alternate in the stream for one vector:
 * those with most weights first. Step k holds the k-th weight of every row that has one; row[] is
 * -1 where there are fewer rows. */
typedef struct csr_slice {
    int32_t row[CSR_SLICE];
    uint32_t n[CSR_SLICE]; /* weights of each row, falling */
    uint32_t last;         /* bit r: no later strip holds weights of row[r] */
} csr_slice;

/* One strip of columns times one vector, for some slices. */
typedef struct csr_vector_run {
    const csr_slice *slices;
    size_t n_slices;
    const uint16_t *columns; /* within the strip */
    const float *values;
    const float *x; /* from the strip's first column */
    float *y;
    ptrdiff_t ldy;
    const float *bias; /* in the first strip; NULL: Y holds the sums so far */
    dns_act act;
} csr_vector_run;

typedef struct dns_csr_ops {
    dns_isa isa;
    size_t panel; /* columns of a packed panel */
    /* panel[i*panel .. + n) = x[i*ldx .. + n) for i < k, n <= panel, zeros up to a whole vector. */
    void (*pack)(const float *x, ptrdiff_t ldx, size_t k, size_t n, float *panel);
    /* The same of vectors that lie in rows: panel[i*panel + j] = x[j*ldx + i]. */
    void (*pack_rows)(const float *x, ptrdiff_t ldx, size_t k, size_t n, float *panel);
    /* y[j*ldy + i] = sums[i*panel + j] for i < rows, j < n. */
    void (*unpack_rows)(const float *sums, size_t rows, size_t n, float *y, ptrdiff_t ldy);
    void (*spmm)(const csr_run *run);
    void (*gemv)(const csr_vector_run *run);
} dns_csr_ops;

const dns_csr_ops *dns_csr_ops_select(dns_isa isa);

#endif
