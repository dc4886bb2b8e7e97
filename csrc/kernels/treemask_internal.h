/* Expansion of one row of sight bits; the method is in treemask_isa.c. */
#ifndef DNS_TREEMASK_INTERNAL_H
#define DNS_TREEMASK_INTERNAL_H

#include "dns/treemask.h"

typedef struct dns_treemask_ops {
    dns_isa isa;
    void (*bytes)(const uint64_t *bits, size_t n, uint8_t *out);
    void (*floats)(const uint64_t *bits, size_t n, float *out);
} dns_treemask_ops;

const dns_treemask_ops *dns_treemask_ops_select(dns_isa isa);

#endif
