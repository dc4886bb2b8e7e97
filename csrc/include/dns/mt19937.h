/* The random stream of Python's `random.Random`, for request tables published with it.
 *
 * Not for new work: own streams are 64-bit words through dns/draw.h.
 */
#ifndef DNS_MT19937_H
#define DNS_MT19937_H

#include <stddef.h>
#include <stdint.h>

#include "dns/status.h"

#define DNS_MT_WORDS 624

/* Caller-owned, one user at a time. Equal to random.Random().getstate()[1]. */
typedef struct dns_mt19937 {
    uint32_t key[DNS_MT_WORDS];
    uint32_t index; /* next unused word; DNS_MT_WORDS = all used */
} dns_mt19937;

/* Next 32-bit word. */
uint32_t dns_mt19937_next(dns_mt19937 *mt);

/* random.random(): 53 bits of two words, in [0, 1). */
double dns_mt19937_random(dns_mt19937 *mt);

/* random.randrange(n), 1 <= n <= 2^31: the top bits of words until one is below n. */
uint32_t dns_mt19937_below(dns_mt19937 *mt, uint32_t n);

/* random.expovariate(rate) with this machine's log. */
double dns_mt19937_expovariate(dns_mt19937 *mt, double rate);

/* A request table in the draw order of the public Sparse-DySta simulator. */
typedef struct dns_mt_table {
    double rate;              /* requests per second, finite and > 0 */
    uint32_t n_models;        /* >= 1, drawn uniformly */
    const int32_t *n_samples; /* [n_models], each >= 1 */
    uint32_t n_priorities;    /* >= 1 */
    const double *priorities; /* [n_priorities], drawn uniformly */
} dns_mt_table;

/* Fills n rows: t += expovariate(rate), model, priority, sample drawn in this order, t from 0.
 * DNS_ERR_VALUE for a bad table or state; mt advances past the draws on success only. */
DNS_NODISCARD dns_status dns_mt_requests(dns_mt19937 *mt, const dns_mt_table *table, size_t n,
                                         double *arrival, int32_t *model, int32_t *sample,
                                         double *priority, dns_error *err);

#endif
