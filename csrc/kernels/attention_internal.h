/* From a tile's probabilities to the CSR kernel's stream; the method is in attention_isa.c. */
#ifndef DNS_ATTENTION_INTERNAL_H
#define DNS_ATTENTION_INTERNAL_H

#include "dns/attention.h"
#include "kernels/csr_internal.h"

typedef struct dns_attention_ops {
    dns_isa isa;
    /* The stream of a segment's runs, two by two: pairs [(n + 1) / 2] and their entries; `pitch` is
     * the bytes between rows of the packed panel. Returns where the next segment's columns begin.
     */
    const uint16_t *(*stream)(const dns_pattern_run *runs, size_t n, const uint16_t *columns,
                              const float *values, uint32_t pitch, csr_pair *pairs,
                              csr_entry *entries);
    /* to = factor * from, n elements. */
    void (*scale)(const float *from, float factor, float *to, size_t n);
} dns_attention_ops;

const dns_attention_ops *dns_attention_ops_select(dns_isa isa);

#endif
