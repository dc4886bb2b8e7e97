/* Incomplete beta function and Student's t quantile.
 *
 * The regularised incomplete beta is the continued fraction (Abramowitz and Stegun 26.5.8)
 *
 *   I_x(a, b) = x^a (1-x)^b / (a B(a, b)) * 1/(1 + d1/(1 + d2/(1 + ...)))
 *   d_{2m}   =  m (b-m) x / ((a+2m-1)(a+2m))
 *   d_{2m+1} = -(a+m)(a+b+m) x / ((a+2m)(a+2m+1))
 *
 * evaluated by the modified Lentz scheme; it converges in O(sqrt(max(a, b))) terms for
 * x < (a+1)/(a+b+2), and I_x(a, b) = 1 - I_{1-x}(b, a) covers the rest.
 *
 * ln B(a, b): both arguments are shifted above 10 by B(a, b) = B(a+1, b) (a+b)/a, then Stirling's
 * formula is applied to the three Gammas at once, so that their large parts cancel on paper and
 * not in the floating point (DiDonato and Morris 1992, section 2).
 *
 * Student: P(|T| > t) = I_{df/(df+t^2)}(df/2, 1/2), which keeps full relative accuracy in the tail;
 * the quantile is the root of that function, by Newton steps kept inside a shrinking bracket.
 */
#include "dns/stats.h"

#include <float.h>
#include <math.h>

#include "stats_internal.h"

enum { MAX_TERMS = 200000, MAX_STEPS = 200 };

static const double half_log_2pi = 0.91893853320467274178;

/* ln Gamma(x) - [(x - 1/2) ln x - x + ln(2 pi)/2] for x >= 10: five terms give 1e-15 absolute. */
static double
stirling_rest(double x)
{
    const double r = 1.0 / (x * x);
    return (1.0 / 12 -
            r * (1.0 / 360 -
                 r * (1.0 / 1260 - r * (1.0 / 1680 - r * (1.0 / 1188 - r * (691.0 / 360360)))))) /
           x;
}

double
dns_log_beta(double a, double b)
{
    double shift = 1.0;
    while (a < 10.0) {
        shift *= (a + b) / a;
        a += 1.0;
    }
    while (b < 10.0) {
        shift *= (a + b) / b;
        b += 1.0;
    }
    const double p = a < b ? a : b;
    const double q = a < b ? b : a;
    const double rest = stirling_rest(p) + stirling_rest(q) - stirling_rest(p + q);
    return log(shift) + half_log_2pi - 0.5 * log(q) + rest + (p - 0.5) * log(p / (p + q)) +
           q * log1p(-p / (p + q));
}

/* The continued fraction above, without its leading factor. */
static double
beta_fraction(double a, double b, double x)
{
    const double tiny = DBL_MIN / DBL_EPSILON;
    double c = 1.0;
    double d = 1.0 - (a + b) * x / (a + 1.0);
    d = 1.0 / (fabs(d) < tiny ? tiny : d);
    double f = d;
    for (int m = 1; m < MAX_TERMS; m++) {
        const double even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 + even * d;
        c = 1.0 + even / c;
        d = 1.0 / (fabs(d) < tiny ? tiny : d);
        c = fabs(c) < tiny ? tiny : c;
        f *= c * d;
        const double odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 + odd * d;
        c = 1.0 + odd / c;
        d = 1.0 / (fabs(d) < tiny ? tiny : d);
        c = fabs(c) < tiny ? tiny : c;
        f *= c * d;
        if (fabs(c * d - 1.0) < DBL_EPSILON) {
            break;
        }
    }
    return f;
}

double
dns_betainc_xy(double a, double b, double x, double y)
{
    if (x <= 0.0) {
        return 0.0;
    }
    if (y <= 0.0) {
        return 1.0;
    }
    const double log_x = x > 0.5 ? log1p(-y) : log(x);
    const double log_y = y > 0.5 ? log1p(-x) : log(y);
    const double front = exp(a * log_x + b * log_y - dns_log_beta(a, b));
    if (x < (a + 1.0) / (a + b + 2.0)) {
        return front * beta_fraction(a, b, x) / a;
    }
    return 1.0 - front * beta_fraction(b, a, y) / b;
}

dns_status
dns_betainc(double a, double b, double x, double *out, dns_error *err)
{
    DNS_REQUIRE(a > 0.0 && a <= 1e8, err, DNS_ERR_VALUE, -1,
                "a: expected a value in (0, 1e8], got %g", a);
    DNS_REQUIRE(b > 0.0 && b <= 1e8, err, DNS_ERR_VALUE, -1,
                "b: expected a value in (0, 1e8], got %g", b);
    DNS_REQUIRE(x >= 0.0 && x <= 1.0, err, DNS_ERR_VALUE, -1,
                "x: expected a value in [0, 1], got %g", x);
    *out = dns_betainc_xy(a, b, x, 1.0 - x);
    return DNS_OK;
}

/* P(T > t) for t >= 0. */
static double
upper_tail(double t, double df)
{
    const double s = df + t * t;
    return 0.5 * dns_betainc_xy(0.5 * df, 0.5, df / s, t * t / s);
}

/* Density of T at t. */
static double
density(double t, double df)
{
    return exp(-0.5 * (df + 1.0) * log1p(t * t / df) - dns_log_beta(0.5 * df, 0.5) - 0.5 * log(df));
}

dns_status
dns_student_t_quantile(double p, double df, double *out, dns_error *err)
{
    DNS_REQUIRE(p > 0.0 && p < 1.0, err, DNS_ERR_VALUE, -1, "p: expected a value in (0, 1), got %g",
                p);
    DNS_REQUIRE(df >= 1.0 && df <= 1e8, err, DNS_ERR_VALUE, -1,
                "df: expected a value in [1, 1e8], got %g", df);
    if (p == 0.5) {
        *out = 0.0;
        return DNS_OK;
    }
    const double tail = p < 0.5 ? p : 1.0 - p;
    double low = 0.0, high = 1.0;
    while (upper_tail(high, df) > tail && high < DBL_MAX / 4) {
        low = high;
        high *= 2.0;
    }
    double t = 0.5 * (low + high);
    for (int i = 0; i < MAX_STEPS; i++) {
        const double excess = upper_tail(t, df) - tail;
        if (excess > 0.0) {
            low = t;
        }
        else {
            high = t;
        }
        double next = t + excess / density(t, df);
        if (!(next > low && next < high)) {
            next = 0.5 * (low + high);
        }
        const double step = fabs(next - t);
        t = next;
        if (step <= 4 * DBL_EPSILON * t || high - low <= 2 * DBL_EPSILON * high) {
            break;
        }
    }
    *out = p < 0.5 ? -t : t;
    return DNS_OK;
}
