/* Products with bit planes by vpmaddubsw and vpmaddwd, or portable; the method is in nbp_body.h. */
#include "kernels/nbp_body.h"

extern const dns_nbp_ops DNS_ISA_FN(dns_nbp_ops);
const dns_nbp_ops DNS_ISA_FN(dns_nbp_ops) = {
    .isa = DNS_ISA_VALUE,
    .rows = NR,
    .product = VB_LANES > 4 ? 3 : 4,
    .sums = sums,
    .block_sums = block_sums,
    .lookup = lookup,
};
