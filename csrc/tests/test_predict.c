/* Averages, suffix sums and sparsity predictors against values worked out by hand. */
#include "dns/predict.h"

#include "tap.h"

static const double sparsity[2 * 4] = {0.5, 0.75, 0.25, 0.5, 0.0, 0.5, 1.0, 0.25};
static const double average[4] = {0.5, 0.5, 0.5, 0.5};

static dns_predictor
config(dns_predictor_kind kind, bool artifact)
{
    return (dns_predictor){.kind = kind,
                           .n_last = 3,
                           .literal = false,
                           .artifact = artifact,
                           .low = 0.1,
                           .high = 10.0};
}

static void
test_predict_column_means(void)
{
    const double x[6] = {1, 2, 3, 3, 5, 8};
    double mean[3];
    REQUIRE(dns_column_means(x, 2, 3, mean, NULL) == DNS_OK);
    CHECK_F64(mean[0], 2.0);
    CHECK_F64(mean[1], 3.5);
    CHECK_F64(mean[2], 5.5);
    dns_error err = {0};
    CHECK(dns_column_means(x, 0, 3, mean, &err) == DNS_ERR_SHAPE);
}

static void
test_predict_suffix_sums_round_each_suffix(void)
{
    const double x[3] = {1e16, 1.0, 1.0};
    double out[3];
    dns_suffix_sums(x, 1, 3, out);
    CHECK_F64(out[0], (1e16 + 1.0) + 1.0);
    CHECK_F64(out[1], 2.0);
    CHECK_F64(out[2], 1.0);
}

static void
test_predict_last_one(void)
{
    const dns_predictor p = config(DNS_PREDICT_LAST_ONE, false);
    double g[8];
    int64_t clamped = -1;
    REQUIRE(dns_predict_gamma(sparsity, average, 2, 4, &p, g, &clamped, NULL) == DNS_OK);
    const double want[8] = {1.0, 1.0, 0.5, 1.5, 1.0, 2.0, 1.0, 0.1};
    for (int i = 0; i < 8; i++) {
        CHECK_F64(g[i], want[i]);
    }
    CHECK_I64(clamped, 1);
}

static void
test_predict_average_and_window(void)
{
    double all[8];
    double window[8];
    int64_t clamped = 0;
    dns_predictor p = config(DNS_PREDICT_AVERAGE_ALL, false);
    REQUIRE(dns_predict_gamma(sparsity, average, 2, 4, &p, all, &clamped, NULL) == DNS_OK);
    CHECK_F64(all[2], 0.75);
    CHECK_F64(all[3], 1.5 / 1.5);
    p = config(DNS_PREDICT_LAST_N, false);
    p.n_last = 2;
    REQUIRE(dns_predict_gamma(sparsity, average, 2, 4, &p, window, &clamped, NULL) == DNS_OK);
    CHECK_F64(window[2], 0.75);
    CHECK_F64(window[3], 1.0);
    CHECK_F64(window[1], all[1]);
}

static void
test_predict_artifact_divides_by_n(void)
{
    double all[8];
    double window[8];
    int64_t clamped = 0;
    dns_predictor p = config(DNS_PREDICT_AVERAGE_ALL, true);
    REQUIRE(dns_predict_gamma(sparsity, average, 2, 4, &p, all, &clamped, NULL) == DNS_OK);
    p = config(DNS_PREDICT_LAST_N, true);
    REQUIRE(dns_predict_gamma(sparsity, average, 2, 4, &p, window, &clamped, NULL) == DNS_OK);
    CHECK_F64(window[1], all[1] / 3.0);
    CHECK_F64(window[2], (1.0 + 0.5) / 3.0);
    CHECK_F64(window[3], all[3]);
    CHECK_F64(window[0], 1.0);
    CHECK_I64(clamped, 0);
}

static void
test_predict_full_average_sparsity_is_one(void)
{
    const double full[4] = {1, 1, 1, 1};
    const dns_predictor_kind kinds[3] = {DNS_PREDICT_LAST_ONE, DNS_PREDICT_AVERAGE_ALL,
                                         DNS_PREDICT_LAST_N};
    for (int i = 0; i < 3; i++) {
        const dns_predictor p = config(kinds[i], false);
        double g[8];
        int64_t clamped = 0;
        REQUIRE(dns_predict_gamma(sparsity, full, 2, 4, &p, g, &clamped, NULL) == DNS_OK);
        for (int k = 0; k < 8; k++) {
            CHECK_F64(g[k], 1.0);
        }
    }
}

static void
test_predict_literal_ratio(void)
{
    dns_predictor p = config(DNS_PREDICT_LAST_ONE, false);
    p.literal = true;
    double g[8];
    int64_t clamped = 0;
    REQUIRE(dns_predict_gamma(sparsity, average, 2, 4, &p, g, &clamped, NULL) == DNS_OK);
    CHECK_F64(g[2], 1.5);
    CHECK_F64(g[3], 0.5);
}

static void
test_predict_rejects_bad_input(void)
{
    const double bad[4] = {0.5, 1.5, 0.0, 0.0};
    double g[4] = {7, 7, 7, 7};
    int64_t clamped = -5;
    dns_error err = {0};
    dns_predictor p = config(DNS_PREDICT_LAST_ONE, false);
    CHECK(dns_predict_gamma(bad, average, 1, 4, &p, g, &clamped, &err) == DNS_ERR_VALUE);
    CHECK_I64(err.index, 1);
    CHECK(dns_predict_gamma(sparsity, bad, 1, 4, &p, g, &clamped, &err) == DNS_ERR_VALUE);
    CHECK_I64(err.index, -2);
    p.low = 2.0;
    CHECK(dns_predict_gamma(sparsity, average, 1, 4, &p, g, &clamped, &err) == DNS_ERR_VALUE);
    p = config(DNS_PREDICT_LAST_N, true);
    p.n_last = 0;
    CHECK(dns_predict_gamma(sparsity, average, 1, 4, &p, g, &clamped, &err) == DNS_ERR_VALUE);
    p = config((dns_predictor_kind)9, true);
    CHECK(dns_predict_gamma(sparsity, average, 1, 4, &p, g, &clamped, &err) == DNS_ERR_VALUE);
    CHECK_F64(g[0], 7.0);
    CHECK_I64(clamped, -5);
}

static void
test_predict_errors(void)
{
    const double gamma[4] = {1, 2, 1, 0.5};
    const double remaining[2] = {4, 2};
    const double truth[4] = {5, 3, 3, 1};
    dns_prediction_error e;
    dns_prediction_errors(gamma, remaining, truth, 2, 2, 1.0, &e);
    CHECK_I64(e.n, 2);
    CHECK_F64(e.rmse_s, sqrt(0.5));
    CHECK_F64(e.rmse_rel, sqrt((1.0 / 3) * (1.0 / 3) / 2));
    CHECK_F64(e.correlation, 1.0);
    dns_prediction_errors(gamma, remaining, truth, 4, 1, 1.0, &e);
    CHECK_I64(e.n, 0);
    CHECK(isnan(e.rmse_s) && isnan(e.correlation));
}

TAP_MAIN(TAP(test_predict_column_means), TAP(test_predict_suffix_sums_round_each_suffix),
         TAP(test_predict_last_one), TAP(test_predict_average_and_window),
         TAP(test_predict_artifact_divides_by_n), TAP(test_predict_full_average_sparsity_is_one),
         TAP(test_predict_literal_ratio), TAP(test_predict_rejects_bad_input),
         TAP(test_predict_errors))
