/* One level's code for Fourier mixing; the method is in fourier_isa.c. */
#ifndef DNS_FOURIER_INTERNAL_H
#define DNS_FOURIER_INTERNAL_H

#include "kernels/fft_internal.h"

/* One mixing of L x d numbers. A tile is [L][re, im][lanes] of 2 lanes columns: lane i of it is
 * column i plus i times column lanes + i. Spectra of tile k begin at u + k * slot. */
typedef struct fourier_job {
    const dns_fft *rows, *cols; /* of length L and d */
    const float *x;
    float *y;
    ptrdiff_t ldx, ldy;
    float *u;
    size_t slot;   /* floats from one tile to the next */
    float *middle; /* [L][2] spectrum of column d / 2, where tiles do not hold it */
} fourier_job;

typedef struct dns_fourier_ops {
    dns_isa isa;
    /* The even part of tiles [first, stop), as far as columns are <= d / 2. Tile k goes where the
     * spectra of tile k + 1 will be, the last one to `last`. */
    void (*gather)(const fourier_job *job, size_t first, size_t stop, float *last);
    /* The even part of column d / 2, pairs with 0. */
    void (*middle)(const fourier_job *job, float *pairs);
    /* Rows j to j + rows of w, 2 d floats each: row i is frequencies 2 i and 2 i + 1 <= L / 2 of
     * all d columns, see fourier_isa.c. */
    void (*pack)(const fourier_job *job, size_t j, size_t rows, float *w, size_t pitch);
    /* The transform of such a row to its two rows of y and their mirror images. */
    void (*unpack)(const fourier_job *job, size_t j, const float *z);
} dns_fourier_ops;

const dns_fourier_ops *dns_fourier_ops_select(dns_isa isa);

#endif
