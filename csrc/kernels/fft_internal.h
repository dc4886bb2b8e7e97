/* One level's code for Fourier transforms; the method is in fft_isa.c. */
#ifndef DNS_FFT_INTERNAL_H
#define DNS_FFT_INTERNAL_H

#include "dns/fft.h"

typedef struct dns_fft_ops {
    dns_isa isa;
    unsigned lanes_log2;
    unsigned radix_log2; /* largest radix between vectors */
    void (*rows)(const dns_fft *fft, const float *x, ptrdiff_t ldx, float *y, ptrdiff_t ldy,
                 size_t batch, float *ws);
    void (*columns)(const dns_fft *fft, const float *x, ptrdiff_t ldx, float *y, ptrdiff_t ldy,
                    size_t columns, float *ws);
    /* A whole tile [n][re, im][lanes] from t, which is spoilt, to u. */
    void (*tile)(const dns_fft *fft, float *t, float *u);
} dns_fft_ops;

struct dns_fft {
    dns_alloc alloc;
    const dns_fft_ops *ops;
    unsigned log2n;
    size_t floats; /* of all three */
    float *whole;  /* roots between n vectors */
    float *first; /* a row's first pass, or NULL: ceil(n / lanes^2) of [lanes - 1][re, im][lanes] */
    float *rest;  /* between the n / lanes vectors after it */
};

const dns_fft_ops *dns_fft_ops_select(dns_isa isa);

/* log2 of the radix of the first pass over 2^log2m vectors: as few passes as can be, evenly. */
static inline unsigned
dns_fft_radix(unsigned log2m, unsigned largest)
{
    const unsigned passes = (log2m + largest - 1) / largest;
    return (log2m + passes - 1) / passes;
}

#endif
