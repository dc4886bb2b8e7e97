/* Products with bit planes by vpdpbusd; the method is in nbp_body.h. */
#include "kernels/nbp_body.h"

extern const dns_nbp_ops DNS_ISA_FN(dns_nbp_ops);
const dns_nbp_ops DNS_ISA_FN(dns_nbp_ops) = {
    .isa = DNS_ISA_VALUE,
    .rows = NR,
    .product = 1,
    .sums = sums,
    .block_sums = block_sums,
    .lookup = lookup,
};
