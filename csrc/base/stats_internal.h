/* Shared by the statistics sources; not part of the public API. */
#ifndef DNS_STATS_INTERNAL_H
#define DNS_STATS_INTERNAL_H

/* I_x(a, b) for a, b > 0 and 0 <= x <= 1, with y = 1 - x given separately, so that neither loses
 * digits near its end. */
double dns_betainc_xy(double a, double b, double x, double y);

#endif
