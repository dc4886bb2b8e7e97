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

#endif
