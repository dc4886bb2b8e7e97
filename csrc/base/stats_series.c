/* Correlated series: autocorrelation and batch means.
 *
 *   r_k = sum_{i < n-k} (x_i - m)(x_{i+k} - m) / sum_i (x_i - m)^2,   m the mean of all values
 *
 * (Box and Jenkins; of independent values about normal with mean -1/n and variance 1/n). Batch
 * means cut one long run into consecutive pieces whose means are nearly independent if the pieces
 * are long enough, which their own r_1 has to confirm (Law, Simulation Modeling and Analysis,
 * section 9.5.3).
 */
#include "dns/stats.h"

#include <math.h>

static double
mean_of(const double *x, int64_t n)
{
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) {
        sum += x[i];
    }
    return sum / (double)n;
}

static dns_status
check_series(const double *x, int64_t n, dns_error *err)
{
    for (int64_t i = 0; i < n; i++) {
        DNS_REQUIRE(isfinite(x[i]), err, DNS_ERR_VALUE, i,
                    "x: row %lld: expected a finite value, got %g", (long long)i, x[i]);
    }
    return DNS_OK;
}

dns_status
dns_autocorrelation(const double *x, int64_t n, int64_t lags, double *out, dns_error *err)
{
    DNS_REQUIRE(n >= 2, err, DNS_ERR_VALUE, -1, "x: expected at least 2 values, got %lld",
                (long long)n);
    DNS_REQUIRE(lags >= 0 && lags < n, err, DNS_ERR_VALUE, -1,
                "lags: expected a number in [0, %lld], got %lld", (long long)(n - 1),
                (long long)lags);
    DNS_TRY(check_series(x, n, err));
    const double m = mean_of(x, n);
    double total = 0.0;
    for (int64_t i = 0; i < n; i++) {
        total += (x[i] - m) * (x[i] - m);
    }
    out[0] = 1.0;
    for (int64_t k = 1; k <= lags; k++) {
        double sum = 0.0;
        for (int64_t i = 0; i + k < n; i++) {
            sum += (x[i] - m) * (x[i + k] - m);
        }
        out[k] = total > 0.0 ? sum / total : (double)NAN;
    }
    return DNS_OK;
}

dns_status
dns_batch_means(const double *x, int64_t n, int64_t batches, double *out, dns_error *err)
{
    DNS_REQUIRE(batches >= 1 && batches <= n, err, DNS_ERR_VALUE, -1,
                "batches: expected a number in [1, %lld], got %lld", (long long)n,
                (long long)batches);
    DNS_TRY(check_series(x, n, err));
    const int64_t size = n / batches;
    const double *first = x + (n - size * batches);
    for (int64_t b = 0; b < batches; b++) {
        out[b] = mean_of(first + b * size, size);
    }
    return DNS_OK;
}
