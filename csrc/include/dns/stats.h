/* Distribution functions behind the intervals of every report.
 *
 * All functions are pure: no state, no allocation, the same bits for the same
 * arguments on one machine.
 */
#ifndef DNS_STATS_H
#define DNS_STATS_H

#include "dns/status.h"

/* ln B(a, b) for a, b > 0, to about 1e-14 relative even where ln Gamma alone would cancel. */
double dns_log_beta(double a, double b);

/* Regularised incomplete beta I_x(a, b), 0 <= x <= 1, a, b in (0, 1e8]. DNS_ERR_VALUE names the
 * argument that is out of range; *out is untouched then. */
DNS_NODISCARD dns_status dns_betainc(double a, double b, double x, double *out, dns_error *err);

/* The t with P(T <= t) = p for Student's distribution with df degrees of freedom; 0 < p < 1,
 * df in [1, 1e8] (not necessarily whole). Relative error about 1e-12. */
DNS_NODISCARD dns_status dns_student_t_quantile(double p, double df, double *out, dns_error *err);

/* P[X <= k] of X ~ Bin(n, p); n in [0, 1e8], p in [0, 1]; any k. */
DNS_NODISCARD dns_status dns_binomial_cdf(int64_t k, int64_t n, double p, double *out,
                                          dns_error *err);

/* Positions (0-based, in ascending order) of the two of n independent values between which the true
 * p-quantile lies with at least the given probability, each side missing with at most
 * (1 - level)/2. n in [1, 1e8]; 0 < p, level < 1. DNS_ERR_VALUE with "insufficient samples" and the
 * number needed when n is too small for it. */
DNS_NODISCARD dns_status dns_quantile_ranks(int64_t n, double p, double level, int64_t *low,
                                            int64_t *high, dns_error *err);

/* Smallest n with P[Bin(n, 1-p) <= t] <= 1 - c: the queries that MLPerf loadgen's early stopping
 * asks for when t are over the latency target, percentile p, confidence c (both in (0, 1)).
 * DNS_ERR_VALUE if that is more than 1e8. */
DNS_NODISCARD dns_status dns_early_stop_min(int64_t t, double p, double c, int64_t *n,
                                            dns_error *err);

/* The inverse: the largest t with dns_early_stop_min(t, p, c) <= n; -1 if not even 0 is allowed. */
DNS_NODISCARD dns_status dns_early_stop_allowed(int64_t n, double p, double c, int64_t *t,
                                                dns_error *err);

/* Sample autocorrelation out[0 .. lags] of x[0 .. n), 0 <= lags < n, n >= 2; out[0] = 1. NaN beyond
 * lag 0 for a constant series. O(n lags). DNS_ERR_VALUE names the first value that is not finite.
 */
DNS_NODISCARD dns_status dns_autocorrelation(const double *x, int64_t n, int64_t lags, double *out,
                                             dns_error *err);

/* Means out[0 .. batches) of consecutive batches of n / batches values each; the first
 * n mod batches values are left out. 1 <= batches <= n. */
DNS_NODISCARD dns_status dns_batch_means(const double *x, int64_t n, int64_t batches, double *out,
                                         dns_error *err);

#endif
