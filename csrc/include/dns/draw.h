/* Random variates from a caller's stream of uniform 64-bit words.
 *
 * The library owns no generator: a dns_words is a function and its context, for example
 * NumPy's PCG64. Equal words give equal variates on one build; how many words a variate
 * takes is stated, so that streams can be split and chunked. Not thread-safe per stream.
 */
#ifndef DNS_DRAW_H
#define DNS_DRAW_H

#include <stddef.h>
#include <stdint.h>

#include "dns/mem.h"
#include "dns/status.h"

typedef struct dns_words {
    uint64_t (*next)(void *ctx);
    void *ctx;
} dns_words;

/* Uniform multiple of 2^-53 in [0, 1); one word. */
double dns_draw_unit(const dns_words *w);

/* Mean 1; one word. */
double dns_draw_exponential(const dns_words *w);

/* Mean 0, variance 1; two words per try, 1.27 tries on average. */
double dns_draw_normal(const dns_words *w);

/* Gamma of this shape (> 0) and scale 1: mean = variance = shape; a varying number of words. */
double dns_draw_gamma(const dns_words *w, double shape);

/* Uniform integer of 0 .. n-1, n >= 1 (bias below n / 2^53); one word. */
int32_t dns_draw_below(const dns_words *w, int32_t n);

/* Categorical distribution with O(1) draws. Owns two arrays of n from `alloc`. */
typedef struct dns_alias {
    int32_t n;
    double *keep;
    int32_t *other;
    const dns_alloc *alloc;
} dns_alias;

/* weight[n]: finite, >= 0, not all 0; n >= 1. DNS_ERR_VALUE (err->index = position),
 * DNS_ERR_MEMORY. */
DNS_NODISCARD dns_status dns_alias_init(dns_alias *a, const double *weight, int32_t n,
                                        const dns_alloc *alloc, dns_error *err);
void dns_alias_fini(dns_alias *a);

/* Index drawn with probability weight / sum of weights; one word. */
int32_t dns_draw_alias(const dns_words *w, const dns_alias *a);

/* Arrival times: out[i] = *clock after each gap; *clock moves on. rate > 0 (events per second). */
void dns_arrivals_poisson(const dns_words *w, double rate, size_t n, double *clock, double *out);
/* Gaps gamma-distributed with mean 1/rate and coefficient of variation cv > 0. */
void dns_arrivals_gamma(const dns_words *w, double rate, double cv, size_t n, double *clock,
                        double *out);

/* Markov-modulated Poisson process: the rate is rate[state]; a state lasts an exponential
 * time of mean sojourn_s[state], then state+1 (cyclic) follows. */
typedef struct dns_mmpp {
    int32_t n_states;        /* >= 1 */
    const double *rate;      /* >= 0, at least one > 0 */
    const double *sojourn_s; /* > 0 */
    int32_t state;           /* current; set by dns_mmpp_start */
    double left_s;           /* of the current state's stay */
} dns_mmpp;

/* Starts in the stationary regime: state with probability proportional to sojourn_s; two words. */
void dns_mmpp_start(const dns_words *w, dns_mmpp *m);
void dns_arrivals_mmpp(const dns_words *w, dns_mmpp *m, size_t n, double *clock, double *out);

/* Which model, input sample and priority each request has; one word of each stream per
 * request. n_samples[model_alias->n] >= 1; value[priority_alias->n]. */
void dns_draw_requests(const dns_words *model_words, const dns_alias *model_alias,
                       const dns_words *sample_words, const int32_t *n_samples,
                       const dns_words *priority_words, const dns_alias *priority_alias,
                       const double *value, size_t n, int32_t *model, int32_t *sample,
                       double *priority);

/* Input samples of requests whose models are given: the same words as dns_draw_requests takes. */
void dns_draw_samples(const dns_words *sample_words, const int32_t *n_samples, const int32_t *model,
                      size_t n, int32_t *sample);

#endif
