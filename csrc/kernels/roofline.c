/* Roofline bound; the equation is in the header. */
#include "dns/roofline.h"

void
dns_work_add(dns_work *work, const dns_machine *machine, double footprint, double traffic)
{
    size_t level = 0;
    while (level < DNS_N_CACHES && footprint > machine->cache_bytes[level]) {
        level++;
    }
    work->bytes[level] += traffic;
}

double
dns_roofline(const dns_work *work, const dns_machine *machine)
{
    double least = work->flops / machine->flops_per_s;
    for (size_t l = 0; l < DNS_N_MEMORY; l++) {
        const double t = work->bytes[l] / machine->bytes_per_s[l];
        least = t > least ? t : least;
    }
    return least;
}
