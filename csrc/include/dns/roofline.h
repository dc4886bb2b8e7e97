/* What a machine could do: the roofline bound of a piece of work.
 *
 *     t >= max(flops / P, bytes[l] / B[l] for every memory level l)
 *
 * with P the arithmetic rate and B[l] the read bandwidth of one core from level l (Williams,
 * Waterman and Patterson, CACM 2009, with one roof per level). Bytes of a level are those that must
 * be moved out of it when every operand lies in the smallest cache that holds it.
 */
#ifndef DNS_ROOFLINE_H
#define DNS_ROOFLINE_H

#include <stddef.h>

#define DNS_N_CACHES 3                  /* L1d, L2, L3 */
#define DNS_N_MEMORY (DNS_N_CACHES + 1) /* and main memory */

/* One core. Rates must be > 0. */
typedef struct dns_machine {
    double flops_per_s;
    double bytes_per_s[DNS_N_MEMORY];
    double cache_bytes[DNS_N_CACHES];
} dns_machine;

typedef struct dns_work {
    double flops;
    double bytes[DNS_N_MEMORY];
} dns_work;

/* Adds `traffic` bytes to the level in which an operand of `footprint` bytes stays between uses. */
void dns_work_add(dns_work *work, const dns_machine *machine, double footprint, double traffic);

/* Seconds that one core of the machine needs at least. */
double dns_roofline(const dns_work *work, const dns_machine *machine);

#endif
