/* The softmax of one row; the method is in softmax_isa.c. */
#ifndef DNS_SOFTMAX_INTERNAL_H
#define DNS_SOFTMAX_INTERNAL_H

#include "dns/softmax.h"

typedef struct dns_softmax_ops {
    dns_isa isa;
    /* n scores; add and bits may be NULL; y may be x. False when nothing is seen: y is zeros. */
    bool (*row)(const float *x, size_t n, const float *add, const uint64_t *bits, float *y);
} dns_softmax_ops;

const dns_softmax_ops *dns_softmax_ops_select(dns_isa isa);

#endif
