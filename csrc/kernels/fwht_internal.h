/* The transform's code of one level; the method is in fwht_isa.c. */
#ifndef DNS_FWHT_INTERNAL_H
#define DNS_FWHT_INTERNAL_H

#include "dns/fwht.h"

typedef struct dns_fwht_ops {
    dns_isa isa;
    void (*rows)(const float *x, ptrdiff_t ldx, float *y, ptrdiff_t ldy, size_t batch,
                 unsigned log2n);
    void (*columns)(const float *x, ptrdiff_t ldx, float *y, ptrdiff_t ldy, size_t columns,
                    unsigned log2n);
} dns_fwht_ops;

const dns_fwht_ops *dns_fwht_ops_select(dns_isa isa);

#endif
