/* Incomplete beta and Student's t against closed forms. */
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

TAP_MAIN(TAP(test_betainc_closed_forms), TAP(test_log_beta_closed_forms),
         TAP(test_student_quantile_closed_forms), TAP(test_stats_reject_bad_arguments))
