/* The softmax of one row; the method is in softmax_isa.c. */
#ifndef DNS_SOFTMAX_INTERNAL_H
#define DNS_SOFTMAX_INTERNAL_H

#include "dns/softmax.h"

typedef struct dns_softmax_ops {
    dns_isa isa;
    /* n scores; add and bits may be NULL; y may be x. False when nothing is seen: y is zeros. */
    bool (*row)(const float *x, size_t n, const float *add, const uint64_t *bits, float *y);
} dns_softmax_ops;

const dns_softmax_ops *dns_softmax_ops_select(dns_isa isa);

/* Number of columns from the left that row i of a call may see; the lengths have been checked. */
size_t dns_softmax_limit(const dns_softmax *call, size_t i);

/* Row i of a call whose scores and results are elsewhere: cols, at least the row's limit, of each.
 * False when nothing is seen. */
bool dns_softmax_row(const dns_softmax_ops *ops, const dns_softmax *call, size_t i, const float *x,
                     float *y, size_t cols);

/* Fails with DNS_ERR_VALUE as dns_softmax_rows does. */
DNS_NODISCARD dns_status dns_softmax_check(const dns_softmax *call, dns_error *err);

#endif
