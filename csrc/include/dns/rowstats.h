/* What an early exit asks of its logits: largest softmax probability, margin, entropy, argmax.
 *
 * For logits v of C classes and a temperature t, with p = softmax(v / t):
 *
 *     max_prob = max p,   margin = max p - second p,   entropy = -sum p ln p (nats),   argmax.
 *
 * One class: 1, 1, 0. The argmax is the lowest index of the maximum. A logit of -inf has p = 0. A
 * NaN among the logits, nothing but -inf, or +inf: the three numbers are NaN and the argmax is
 * NumPy's (the first NaN, else the first maximum).
 *
 * With M the maximum and M2 the second: d = (v - M) / t, S = sum exp d, T = sum d exp d; then
 * max_prob = 1 / S, margin = (1 - exp((M2 - M) / t)) / S, entropy = ln S - T / S. A row's result
 * depends on nothing but the row and, in the last bits, on the level: against float64 within 1e-6
 * for the two probabilities and 5e-6 for the entropy, up to 2^17 classes.
 */
#ifndef DNS_ROWSTATS_H
#define DNS_ROWSTATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dns/cpu.h"
#include "dns/status.h"
#include "dns/threads.h"

/* Logits: class c of place p of sample i is x[i * ld + c * inner + p]. Rows of classes have inner
 * = 1 and ld >= classes; maps [N][C][H W] have inner = H W and ld >= classes * inner. */
typedef struct dns_logits {
    size_t n, classes, inner;
    const float *x;
    ptrdiff_t ld;
} dns_logits;

/* Results, each [n * inner], at i * inner + p; apart from the logits and from each other. */
typedef struct dns_rowstats {
    float *max_prob, *margin, *entropy;
    int64_t *argmax;
} dns_rowstats;

/* Computes all four. Nothing is allocated; below 2^16 logits the pool is not used. Fails with
 * DNS_ERR_VALUE when the temperature is not a number > 0 whose reciprocal is a positive float32, or
 * there are results but no classes, or 2^24 classes or more. */
DNS_NODISCARD dns_status dns_rowstats_compute(const dns_logits *logits, double temperature,
                                              dns_isa isa, dns_threads *threads,
                                              const dns_rowstats *out, dns_error *err);

#endif
