/* Dependent variates with tabulated marginals.
 *
 *   marginal     x = Q(Phi(z)), z standard normal, Phi(z) = erfc(-z / sqrt 2) / 2, Q the
 *                tabulated quantile function
 *   gaps         z_i correlated along the stream: a first-order autoregression (the slow swing
 *                of the load) plus white noise, as in Cario and Nelson, "Autoregressive to
 *                anything", Operations Research Letters 19(2), 1996
 *   pairs        z_2 = rho z_1 + sqrt(1 - rho^2) e, as in Cario and Nelson, "Modeling and
 *                generating random vectors with arbitrary marginal distributions and correlation
 *                matrix", 1997
 *
 * The marginals hold whatever the dependence, which is what a stand-in for a recorded stream
 * is judged by.
 */
#include "dns/arta.h"

#include <math.h>

dns_status
dns_quantiles_check(const dns_quantiles *q, dns_error *err)
{
    DNS_REQUIRE(q->n >= 2, err, DNS_ERR_VALUE, -1, "quantiles: expected at least two, got %zu",
                q->n);
    DNS_REQUIRE(q->p[0] == 0.0 && q->p[q->n - 1] == 1.0, err, DNS_ERR_VALUE, 0,
                "probability: expected the first to be 0 and the last 1, got %g and %g", q->p[0],
                q->p[q->n - 1]);
    for (size_t i = 0; i < q->n; i++) {
        DNS_REQUIRE(isfinite(q->x[i]) && (i == 0 || q->x[i] >= q->x[i - 1]), err, DNS_ERR_VALUE,
                    (int64_t)i, "quantile %zu: expected a finite value >= the one before, got %g",
                    i, q->x[i]);
        DNS_REQUIRE(i == 0 || q->p[i] > q->p[i - 1], err, DNS_ERR_VALUE, (int64_t)i,
                    "probability %zu: expected a value > the one before, got %g", i, q->p[i]);
    }
    return DNS_OK;
}

double
dns_quantile_at(const dns_quantiles *q, double u)
{
    size_t low = 0;
    size_t high = q->n - 1;
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        if (q->p[middle] <= u) {
            low = middle;
        }
        else {
            high = middle;
        }
    }
    const double part = (u - q->p[low]) / (q->p[high] - q->p[low]);
    return q->x[low] + part * (q->x[high] - q->x[low]);
}

static double
at_normal(const dns_quantiles *q, double z)
{
    return dns_quantile_at(q, 0.5 * erfc(-z * 0.70710678118654752440));
}

void
dns_arrivals_arta(const dns_words *w, dns_arta *a, size_t n, double *clock, double *out)
{
    const double slow = sqrt(a->share);
    const double fast = sqrt(1.0 - a->share);
    const double fresh = sqrt(1.0 - a->keep * a->keep);
    double t = *clock;
    for (size_t i = 0; i < n; i++) {
        a->level = a->keep * a->level + fresh * dns_draw_normal(w);
        t += at_normal(&a->gap, slow * a->level + fast * dns_draw_normal(w));
        out[i] = t;
    }
    *clock = t;
}

void
dns_draw_pairs(const dns_words *w, const dns_quantiles *a, const dns_quantiles *b, double rho,
               size_t n, double *first, double *second)
{
    const double rest = sqrt(1.0 - rho * rho);
    for (size_t i = 0; i < n; i++) {
        const double z = dns_draw_normal(w);
        first[i] = at_normal(a, z);
        second[i] = at_normal(b, rho * z + rest * dns_draw_normal(w));
    }
}
