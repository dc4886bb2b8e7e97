/* The cost record that every accelerator model fills.
 *
 * A quantity that a model does not give is NaN, never 0.
 */
#ifndef DNS_COST_H
#define DNS_COST_H

#include <stdint.h>

/* Which public behaviour a model reproduces: the published code with its mistakes, or ours. */
typedef enum dns_compat { DNS_COMPAT_ARTIFACT = 0, DNS_COMPAT_CORRECTED = 1 } dns_compat;

/* The term that limits a layer. */
typedef enum dns_bound {
    DNS_BOUND_COMPUTE = 0,
    DNS_BOUND_IFM = 1,
    DNS_BOUND_WEIGHTS = 2,
    DNS_BOUND_OFM = 3,
    DNS_BOUND_GENERATION = 4,
    DNS_BOUND_LAUNCH = 5,
    DNS_BOUND_NONE = 6 /* the model does not say */
} dns_bound;

typedef struct dns_cost {
    double cycles;
    double stalls; /* cycles of `cycles` in which the array waits */
    double seconds;
    double energy_j;
    double ifm_bytes, weight_bytes, ofm_bytes; /* DRAM traffic per operand */
    double utilization;                        /* useful MACs / MACs the array could do meanwhile */
    int64_t bound;                             /* dns_bound */
} dns_cost;

#endif
