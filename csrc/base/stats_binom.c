/* Binomial tails, and what follows from them: order-statistic intervals of quantiles and early
 * stopping.
 *
 * The tail is an incomplete beta function (Abramowitz and Stegun 26.5.24), for X ~ Bin(n, p):
 *
 *   P[X <= k] = I_{1-p}(n - k, k + 1),   0 <= k < n
 *
 * Quantile: of n independent values, the number at or below the true p-quantile is Bin(n, p) (for
 * a continuous distribution; otherwise the interval errs on the safe side). With X_(1) <= ... <=
 * X_(n), [X_(l), X_(u)] therefore covers it with probability P[l <= B <= u - 1], and l and u
 * are chosen so that each side misses with at most (1 - level)/2 (David and Nagaraja, Order
 * Statistics, 3rd ed., section 7.1). No distribution is assumed, but independence is.
 *
 * Early stopping of MLPerf loadgen: with t of n queries over the latency target, "a fraction p of
 * all queries meets it" is accepted with confidence c when t or fewer would be seen with
 * probability at most 1 - c if the true fraction were p, so that
 *
 *   n_min(t, p, c) = smallest n with P[Bin(n, 1 - p) <= t] <= 1 - c
 *
 * (MLPerf Inference Rules, "Early stopping", tolerance 0). The tail falls as n grows and rises as
 * k grows, hence doubling and bisection.
 */
#include "dns/stats.h"

#include <math.h>

#include "stats_internal.h"

static const int64_t max_count = 100000000;

/* P[Bin(n, p) <= k] with q = 1 - p. */
static double
lower_tail(int64_t k, int64_t n, double p, double q)
{
    if (k < 0) {
        return 0.0;
    }
    return k >= n ? 1.0 : dns_betainc_xy((double)(n - k), (double)(k + 1), q, p);
}

/* Largest k with P[Bin(n, p) <= k] <= alpha < 1; -1 if there is none. */
static int64_t
last_below(int64_t n, double p, double q, double alpha)
{
    int64_t low = -1, high = n;
    while (high - low > 1) {
        const int64_t k = low + (high - low) / 2;
        if (lower_tail(k, n, p, q) <= alpha) {
            low = k;
        }
        else {
            high = k;
        }
    }
    return low;
}

static dns_status
check_open(double value, const char *name, dns_error *err)
{
    DNS_REQUIRE(value > 0.0 && value < 1.0, err, DNS_ERR_VALUE, -1,
                "%s: expected a value in (0, 1), got %g", name, value);
    return DNS_OK;
}

static dns_status
check_count(int64_t value, int64_t low, const char *name, dns_error *err)
{
    DNS_REQUIRE(value >= low && value <= max_count, err, DNS_ERR_VALUE, -1,
                "%s: expected a count in [%lld, %lld], got %lld", name, (long long)low,
                (long long)max_count, (long long)value);
    return DNS_OK;
}

dns_status
dns_binomial_cdf(int64_t k, int64_t n, double p, double *out, dns_error *err)
{
    DNS_TRY(check_count(n, 0, "n", err));
    DNS_REQUIRE(p >= 0.0 && p <= 1.0, err, DNS_ERR_VALUE, -1,
                "p: expected a value in [0, 1], got %g", p);
    *out = lower_tail(k, n, p, 1.0 - p);
    return DNS_OK;
}

dns_status
dns_quantile_ranks(int64_t n, double p, double level, int64_t *low, int64_t *high, dns_error *err)
{
    DNS_TRY(check_count(n, 1, "n", err));
    DNS_TRY(check_open(p, "p", err));
    DNS_TRY(check_open(level, "level", err));
    const double side = 0.5 * (1.0 - level);
    const int64_t below = last_below(n, p, 1.0 - p, side);
    const int64_t above = last_below(n, 1.0 - p, p, side);
    DNS_REQUIRE(below >= 0 && above >= 0, err, DNS_ERR_VALUE, n,
                "insufficient samples: a %g %% interval of the %g quantile needs at least %.0f "
                "independent values, got %lld",
                100.0 * level, p, ceil(log(side) / log(fmax(p, 1.0 - p))), (long long)n);
    *low = below;
    *high = n - 1 - above;
    return DNS_OK;
}

dns_status
dns_early_stop_min(int64_t t, double p, double c, int64_t *n, dns_error *err)
{
    DNS_TRY(check_count(t, 0, "t", err));
    DNS_TRY(check_open(p, "p", err));
    DNS_TRY(check_open(c, "c", err));
    int64_t low = t, high = t + 1;
    while (lower_tail(t, high, 1.0 - p, p) > 1.0 - c) {
        DNS_REQUIRE(
            high < max_count, err, DNS_ERR_VALUE, -1,
            "t: more than %lld queries are needed for %lld over the target, p = %.9g, c = %g",
            (long long)max_count, (long long)t, p, c);
        low = high;
        high = high < max_count / 2 ? 2 * high : max_count;
    }
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        if (lower_tail(t, middle, 1.0 - p, p) <= 1.0 - c) {
            high = middle;
        }
        else {
            low = middle;
        }
    }
    *n = high;
    return DNS_OK;
}

dns_status
dns_early_stop_allowed(int64_t n, double p, double c, int64_t *t, dns_error *err)
{
    DNS_TRY(check_count(n, 0, "n", err));
    DNS_TRY(check_open(p, "p", err));
    DNS_TRY(check_open(c, "c", err));
    *t = last_below(n, 1.0 - p, p, 1.0 - c);
    return DNS_OK;
}
