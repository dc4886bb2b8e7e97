/* Variates with given marginal distributions and a given dependence, from a caller's words.
 *
 * Distributions are tables of their quantile function, so a recorded distribution is kept to
 * any detail. Not thread-safe per stream of words.
 */
#ifndef DNS_ARTA_H
#define DNS_ARTA_H

#include <stddef.h>

#include "dns/draw.h"
#include "dns/status.h"

/* Quantile function: x[i] at probability p[i], linear between. p rises from 0 to 1, x does not
 * fall. */
typedef struct dns_quantiles {
    size_t n; /* >= 2 */
    const double *p;
    const double *x;
} dns_quantiles;

/* DNS_ERR_VALUE (err->index = position). */
DNS_NODISCARD dns_status dns_quantiles_check(const dns_quantiles *q, dns_error *err);

/* Quantile at u in [0, 1]. */
double dns_quantile_at(const dns_quantiles *q, double u);

/* Gaps with a slow common swing: the latent normal of gap i is sqrt(share) y_i +
 * sqrt(1 - share) e_i, y_i = keep y_(i-1) + sqrt(1 - keep^2) e'_i. */
typedef struct dns_arta {
    dns_quantiles gap;
    double share; /* of the swing in the latent variance, [0, 1] */
    double keep;  /* autocorrelation of the swing from one gap to the next, [0, 1) */
    double level; /* y; a standard normal at the start */
} dns_arta;

/* out[i] = *clock after each gap; *clock and a->level move on. A varying number of words. */
void dns_arrivals_arta(const dns_words *w, dns_arta *a, size_t n, double *clock, double *out);

/* Pairs (first[i], second[i]) whose latent normals have correlation rho in [-1, 1]. */
void dns_draw_pairs(const dns_words *w, const dns_quantiles *a, const dns_quantiles *b, double rho,
                    size_t n, double *first, double *second);

#endif
