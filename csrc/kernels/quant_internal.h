/* The loops of the quantisers, per level; the method is in dns/quant.h. */
#ifndef DNS_QUANT_INTERNAL_H
#define DNS_QUANT_INTERNAL_H

#include "dns/quant.h"

typedef struct dns_quant_ops {
    dns_isa isa;
    /* Smallest and largest of x and 0; false if a value is NaN or infinite. */
    bool (*range)(const float *x, size_t n, float *lo, float *hi);
    /* q = clamp(rint(x / scale) + zero, lo, hi), |x / scale| < 2^22; the low byte is stored. */
    void (*encode)(const float *x, size_t n, float scale, const float zero_lo_hi[3], uint8_t *q);
} dns_quant_ops;

const dns_quant_ops *dns_quant_ops_select(dns_isa isa);

#endif
