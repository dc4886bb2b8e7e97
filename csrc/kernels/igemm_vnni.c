/* The integer product by vpdpbusd, four times the fp32 peak; the method is in igemm_body.h. */
#include "kernels/igemm_body.h"

extern const dns_igemm_ops DNS_ISA_FN(dns_igemm_ops);
const dns_igemm_ops DNS_ISA_FN(dns_igemm_ops) = {
    .isa = DNS_ISA_VALUE,
    .panel = PANEL,
    .k_align = 4,
    .parts = 1,
    .speed = 4.0,
    .pack_w = pack_w,
    .convert = convert,
    .run = run,
    .vectors = SIZE_MAX,
};
