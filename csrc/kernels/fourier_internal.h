/* One level's code for Fourier mixing; the method is in fourier_isa.c. */
#ifndef DNS_FOURIER_INTERNAL_H
#define DNS_FOURIER_INTERNAL_H

#include "kernels/fft_internal.h"

/* One mixing of L x d numbers. Spectra of the columns lie in `w` as pairs: row j holds the
 * frequencies 2 j and 2 j + 1 <= L / 2 of all d columns, see fourier_isa.c. */
typedef struct fourier_job {
    const dns_fft *rows, *cols; /* of length L and d */
    const float *x;
    float *y;
    ptrdiff_t ldx, ldy;
    float *w; /* [L / 4 + 1][pitch] */
    size_t pitch;
} fourier_job;

typedef struct dns_fourier_ops {
    dns_isa isa;
    /* Spectra of the columns [c, c + 2 lanes), as far as they are <= d / 2, without d / 2 where
     * that is a multiple of 2 lanes; two tiles of L. */
    void (*columns)(const fourier_job *job, size_t c, float *tiles);
    /* The spectrum of column d / 2 alone, which is real; two rows of L pairs, and what a
     * transform of rows needs. */
    void (*middle)(const fourier_job *job, float *pairs, float *own);
    /* The transform of row j of w, d pairs, to its two rows of y and their mirror images. */
    void (*unpack)(const fourier_job *job, size_t j, const float *z);
} dns_fourier_ops;

const dns_fourier_ops *dns_fourier_ops_select(dns_isa isa);

#endif
