/* The kernels of row statistics; the method is in rowstats_isa.c. */
#ifndef DNS_ROWSTATS_INTERNAL_H
#define DNS_ROWSTATS_INTERNAL_H

#include "dns/rowstats.h"

typedef struct dns_rowstats_ops {
    dns_isa isa;
    /* n rows of classes, ld elements apart; results from out's first element on. scale = 1 / t. */
    void (*rows)(const float *x, ptrdiff_t ld, size_t n, size_t classes, float scale,
                 dns_rowstats out);
    /* n places whose classes are `pitch` elements apart. */
    void (*places)(const float *x, ptrdiff_t pitch, size_t n, size_t classes, float scale,
                   dns_rowstats out);
} dns_rowstats_ops;

const dns_rowstats_ops *dns_rowstats_ops_select(dns_isa isa);

#endif
