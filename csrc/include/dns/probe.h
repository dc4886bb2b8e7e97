/* What one core of this machine does at most: work of known size, to be timed by the caller. */
#ifndef DNS_PROBE_H
#define DNS_PROBE_H

#include <stddef.h>

#include "dns/cpu.h"

typedef struct dns_probe_ops {
    dns_isa isa;
    size_t flops; /* of one step of `fma` */
    /* n steps of independent fp32 multiply-adds in registers; the result depends on all of them. */
    float (*fma)(size_t n, float x);
    /* Loads x[0..n) `times` times and does nothing else but, the last time, add it up. */
    float (*read)(const float *x, size_t n, size_t times);
} dns_probe_ops;

const dns_probe_ops *dns_probe_ops_select(dns_isa isa);

#endif
