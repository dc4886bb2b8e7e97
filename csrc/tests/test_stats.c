/* Incomplete beta, Student's t, binomial tails, ranks, early stopping and series against closed
 * forms and tabulated values. */
#include "dns/stats.h"
#include "tap.h"

static const double pi = 3.14159265358979323846;

static int
close_to(double got, double want)
{
    return fabs(got - want) <= 1e-12 * fabs(want);
}

static void
test_betainc_closed_forms(void)
{
    double v = -1.0;
    REQUIRE(dns_betainc(1.0, 3.0, 0.25, &v, NULL) == DNS_OK);
    CHECK(close_to(v, 1.0 - 0.75 * 0.75 * 0.75)); /* I_x(1, b) = 1 - (1-x)^b */
    REQUIRE(dns_betainc(2.5, 1.0, 0.3, &v, NULL) == DNS_OK);
    CHECK(close_to(v, pow(0.3, 2.5))); /* I_x(a, 1) = x^a */
    REQUIRE(dns_betainc(40.0, 40.0, 0.5, &v, NULL) == DNS_OK);
    CHECK(close_to(v, 0.5));
    REQUIRE(dns_betainc(2.0, 3.0, 0.0, &v, NULL) == DNS_OK);
    CHECK(v == 0.0);
    REQUIRE(dns_betainc(2.0, 3.0, 1.0, &v, NULL) == DNS_OK);
    CHECK(v == 1.0);
}

static void
test_log_beta_closed_forms(void)
{
    CHECK(close_to(dns_log_beta(0.5, 0.5), log(pi)));
    CHECK(close_to(dns_log_beta(3.0, 4.0), log(1.0 / 60.0)));
}

static void
test_student_quantile_closed_forms(void)
{
    double v = -1.0;
    REQUIRE(dns_student_t_quantile(0.975, 1.0, &v, NULL) == DNS_OK);
    CHECK(close_to(v, tan(pi * 0.475))); /* one degree of freedom: Cauchy */
    REQUIRE(dns_student_t_quantile(0.05, 2.0, &v, NULL) == DNS_OK);
    CHECK(close_to(v, -0.9 / sqrt(2 * 0.05 * 0.95)));
    REQUIRE(dns_student_t_quantile(0.5, 7.0, &v, NULL) == DNS_OK);
    CHECK(v == 0.0);
}

static void
test_stats_reject_bad_arguments(void)
{
    double v = 42.0;
    dns_error err = {DNS_OK, 0, ""};
    CHECK(dns_student_t_quantile(1.0, 7.0, &v, &err) == DNS_ERR_VALUE);
    CHECK_STR(err.message, "p: expected a value in (0, 1), got 1");
    CHECK(dns_student_t_quantile(0.9, 0.5, &v, &err) == DNS_ERR_VALUE);
    CHECK(dns_betainc(1.0, 1.0, (double)NAN, &v, &err) == DNS_ERR_VALUE);
    CHECK(dns_betainc(-1.0, 1.0, 0.5, &v, &err) == DNS_ERR_VALUE);
    CHECK(v == 42.0);
}

static void
test_binomial_closed_forms(void)
{
    double v = -1.0;
    REQUIRE(dns_binomial_cdf(0, 5, 0.25, &v, NULL) == DNS_OK);
    CHECK(close_to(v, pow(0.75, 5.0)));
    REQUIRE(dns_binomial_cdf(3, 4, 0.5, &v, NULL) == DNS_OK);
    CHECK(close_to(v, 15.0 / 16.0));
    REQUIRE(dns_binomial_cdf(4, 4, 0.5, &v, NULL) == DNS_OK);
    CHECK(v == 1.0);
    REQUIRE(dns_binomial_cdf(-1, 4, 0.5, &v, NULL) == DNS_OK);
    CHECK(v == 0.0);
    REQUIRE(dns_binomial_cdf(2, 4, 0.0, &v, NULL) == DNS_OK);
    CHECK(v == 1.0);
    REQUIRE(dns_binomial_cdf(3, 4, 1.0, &v, NULL) == DNS_OK);
    CHECK(v == 0.0);
}

/* MLPerf prints 64 (one over the target at the 90th percentile) and 662 (at the 99th). */
static void
test_early_stop_table(void)
{
    static const struct {
        double p;
        int64_t t, n;
    } rows[] = {
        {0.90, 0, 44},      {0.90, 1, 64},        {0.90, 2, 81},    {0.90, 5, 127},
        {0.90, 10, 197},    {0.90, 100, 1246},    {0.99, 0, 459},   {0.99, 1, 662},
        {0.99, 2, 838},     {0.99, 5, 1307},      {0.99, 10, 2010}, {0.99, 100, 12571},
        {0.999, 0, 4603},   {0.999, 1, 6636},     {0.999, 2, 8403}, {0.999, 5, 13105},
        {0.999, 10, 20140}, {0.999, 100, 125826},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t n = -1, t = -1;
        REQUIRE(dns_early_stop_min(rows[i].t, rows[i].p, 0.99, &n, NULL) == DNS_OK);
        CHECK_I64(n, rows[i].n);
        REQUIRE(dns_early_stop_allowed(n, rows[i].p, 0.99, &t, NULL) == DNS_OK);
        CHECK_I64(t, rows[i].t);
        REQUIRE(dns_early_stop_allowed(n - 1, rows[i].p, 0.99, &t, NULL) == DNS_OK);
        CHECK_I64(t, rows[i].t - 1);
    }
}

/* Ranks of the median as printed in tables of the sign test: n = 6: (1, 6), 10: (2, 9), 20: (6, 15)
 * at 95 %. */
static void
test_median_ranks_of_tables(void)
{
    static const int64_t rows[][3] = {
        {6, 1, 6}, {10, 2, 9}, {20, 6, 15}, {25, 8, 18}, {50, 18, 33}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t low = -1, high = -1;
        REQUIRE(dns_quantile_ranks(rows[i][0], 0.5, 0.95, &low, &high, NULL) == DNS_OK);
        CHECK_I64(low + 1, rows[i][1]);
        CHECK_I64(high + 1, rows[i][2]);
    }
}

static void
test_quantile_ranks_need_samples(void)
{
    int64_t low = -7, high = -7;
    dns_error err = {DNS_OK, 0, ""};
    CHECK(dns_quantile_ranks(367, 0.99, 0.95, &low, &high, &err) == DNS_ERR_VALUE);
    CHECK_STR(err.message,
              "insufficient samples: a 95 % interval of the 0.99 quantile needs at least 368 "
              "independent values, got 367");
    CHECK_I64(low, -7);
    REQUIRE(dns_quantile_ranks(368, 0.99, 0.95, &low, &high, NULL) == DNS_OK);
    CHECK_I64(high, 367);
    REQUIRE(dns_quantile_ranks(368, 0.01, 0.95, &low, &high, NULL) == DNS_OK);
    CHECK_I64(low, 0);
}

static void
test_autocorrelation_by_hand(void)
{
    const double x[] = {1.0, -1.0, 1.0, -1.0}, same[] = {3.0, 3.0, 3.0};
    double r[3] = {0.0, 0.0, 0.0};
    REQUIRE(dns_autocorrelation(x, 4, 2, r, NULL) == DNS_OK);
    CHECK_F64(r[0], 1.0);
    CHECK_F64(r[1], -0.75);
    CHECK_F64(r[2], 0.5);
    REQUIRE(dns_autocorrelation(same, 3, 2, r, NULL) == DNS_OK);
    CHECK(r[0] == 1.0 && isnan(r[1]) && isnan(r[2]));
}

static void
test_batch_means_leave_out_the_first(void)
{
    const double x[] = {100.0, 1.0, 3.0, 5.0, 7.0};
    double mean[2] = {0.0, 0.0};
    REQUIRE(dns_batch_means(x, 5, 2, mean, NULL) == DNS_OK);
    CHECK_F64(mean[0], 2.0);
    CHECK_F64(mean[1], 6.0);
}

static void
test_counts_and_series_reject_bad_arguments(void)
{
    const double x[] = {1.0, 2.0, (double)INFINITY};
    double v = 42.0;
    int64_t n = 42;
    dns_error err = {DNS_OK, 0, ""};
    CHECK(dns_autocorrelation(x, 3, 1, &v, &err) == DNS_ERR_VALUE);
    CHECK_I64(err.index, 2);
    CHECK(dns_autocorrelation(x, 1, 0, &v, &err) == DNS_ERR_VALUE);
    CHECK(dns_autocorrelation(x, 2, 2, &v, &err) == DNS_ERR_VALUE);
    CHECK(dns_batch_means(x, 3, 4, &v, &err) == DNS_ERR_VALUE);
    CHECK(dns_batch_means(x, 3, 1, &v, &err) == DNS_ERR_VALUE);
    CHECK(dns_binomial_cdf(1, -1, 0.5, &v, &err) == DNS_ERR_VALUE);
    CHECK(dns_binomial_cdf(1, 2, (double)NAN, &v, &err) == DNS_ERR_VALUE);
    CHECK(dns_early_stop_min(-1, 0.9, 0.99, &n, &err) == DNS_ERR_VALUE);
    CHECK(dns_early_stop_min(1, 1.0, 0.99, &n, &err) == DNS_ERR_VALUE);
    CHECK(dns_early_stop_min(1, 0.9, 0.0, &n, &err) == DNS_ERR_VALUE);
    CHECK(dns_early_stop_min(1000, 1.0 - 1e-7, 0.99, &n, &err) == DNS_ERR_VALUE);
    CHECK_STR(err.message, "t: more than 100000000 queries are needed for 1000 over the target, p "
                           "= 0.9999999, c = 0.99");
    CHECK(dns_early_stop_allowed(-1, 0.9, 0.99, &n, &err) == DNS_ERR_VALUE);
    CHECK(dns_quantile_ranks(0, 0.5, 0.95, &n, &n, &err) == DNS_ERR_VALUE);
    CHECK(v == 42.0 && n == 42);
}

TAP_MAIN(TAP(test_betainc_closed_forms), TAP(test_log_beta_closed_forms),
         TAP(test_student_quantile_closed_forms), TAP(test_stats_reject_bad_arguments),
         TAP(test_binomial_closed_forms), TAP(test_early_stop_table),
         TAP(test_median_ranks_of_tables), TAP(test_quantile_ranks_need_samples),
         TAP(test_autocorrelation_by_hand), TAP(test_batch_means_leave_out_the_first),
         TAP(test_counts_and_series_reject_bad_arguments))
