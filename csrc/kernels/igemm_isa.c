/* The integer product without vpdpbusd; the method is in igemm_body.h. Three instructions per
 * vector of byte products on two ports: 4/3 of the fp32 peak, half of that for wide vectors. */
#include "kernels/igemm_body.h"

extern const dns_igemm_ops DNS_ISA_FN(dns_igemm_ops);
const dns_igemm_ops DNS_ISA_FN(dns_igemm_ops) = {
    .isa = DNS_ISA_VALUE,
    .panel = PANEL,
    .k_align = 4,
    .parts = VB_DOT_MAX < 255 ? 2 : 1,
    .speed = VB_LANES > 4 ? 4.0 / 3.0 : 1.0,
    .pack_w = pack_w,
    .convert = convert,
    .run = run,
    .vectors = SIZE_MAX,
};
