/* Tabulated quantiles, gaps with a slow swing, and pairs: checks, hand values, moments. */
#include "dns/arta.h"

#include <math.h>

#include "tap.h"

/* splitmix64 */
static uint64_t
mixed_word(void *ctx)
{
    uint64_t *state = ctx;
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static const double P[4] = {0.0, 0.5, 0.75, 1.0};
static const double X[4] = {1.0, 2.0, 2.0, 10.0};
static const dns_quantiles TABLE = {.n = 4, .p = P, .x = X};

static void
test_quantiles_are_linear_between_the_knots(void)
{
    CHECK_F64(dns_quantile_at(&TABLE, 0.0), 1.0);
    CHECK_F64(dns_quantile_at(&TABLE, 0.25), 1.5);
    CHECK_F64(dns_quantile_at(&TABLE, 0.5), 2.0);
    CHECK_F64(dns_quantile_at(&TABLE, 0.6), 2.0);
    CHECK_F64(dns_quantile_at(&TABLE, 0.875), 6.0);
    CHECK_F64(dns_quantile_at(&TABLE, 1.0), 10.0);
}

static void
test_bad_tables_are_refused(void)
{
    dns_error err = {0};
    CHECK(dns_quantiles_check(&TABLE, &err) == DNS_OK);
    CHECK(dns_quantiles_check(&(dns_quantiles){.n = 1, .p = P, .x = X}, &err) == DNS_ERR_VALUE);
    CHECK(dns_quantiles_check(&(dns_quantiles){.n = 3, .p = P, .x = X}, &err) == DNS_ERR_VALUE);
    const double falling[4] = {1.0, 2.0, 1.5, 3.0};
    CHECK(dns_quantiles_check(&(dns_quantiles){.n = 4, .p = P, .x = falling}, &err) ==
          DNS_ERR_VALUE);
    CHECK_I64(err.index, 2);
    const double tied[4] = {0.0, 0.5, 0.5, 1.0};
    CHECK(dns_quantiles_check(&(dns_quantiles){.n = 4, .p = tied, .x = X}, &err) == DNS_ERR_VALUE);
    const double infinite[4] = {1.0, 2.0, 3.0, INFINITY};
    CHECK(dns_quantiles_check(&(dns_quantiles){.n = 4, .p = P, .x = infinite}, &err) ==
          DNS_ERR_VALUE);
}

enum { N = 200000 };

static void
test_gaps_keep_their_mean_and_move_together(void)
{
    static double time[N];
    uint64_t state = 5;
    const dns_words w = {mixed_word, &state};
    dns_arta a = {.gap = TABLE, .share = 0.5, .keep = 0.9, .level = 0.3};
    double clock = 7.0;
    dns_arrivals_arta(&w, &a, N, &clock, time);
    CHECK_F64(clock, time[N - 1]);
    CHECK_NEAR((clock - 7.0) / N, 0.75 + 0.5 + 1.5, 0.05);
    double product = 0.0;
    double square = 0.0;
    for (int i = 2; i < N; i++) {
        const double before = time[i - 1] - time[i - 2] - 2.75;
        product += before * (time[i] - time[i - 1] - 2.75);
        square += before * before;
    }
    CHECK(product / square > 0.25 && product / square < 0.5);
}

static void
test_pieces_of_any_size_give_the_same_gaps(void)
{
    double whole[100];
    double parts[100];
    for (int r = 0; r < 2; r++) {
        uint64_t state = 11;
        const dns_words w = {mixed_word, &state};
        dns_arta a = {.gap = TABLE, .share = 0.3, .keep = 0.99};
        double clock = 0.0;
        if (r == 0) {
            dns_arrivals_arta(&w, &a, 100, &clock, whole);
        }
        for (size_t at = 0; r == 1 && at < 100; at += 7) {
            dns_arrivals_arta(&w, &a, at + 7 <= 100 ? 7 : 100 - at, &clock, parts + at);
        }
    }
    for (int i = 0; i < 100; i++) {
        CHECK_F64(whole[i], parts[i]);
    }
}

static void
test_pairs_follow_rho(void)
{
    static double a[N];
    static double b[N];
    uint64_t state = 3;
    const dns_words w = {mixed_word, &state};
    dns_draw_pairs(&w, &TABLE, &TABLE, 1.0, N, a, b);
    for (int i = 0; i < N; i++) {
        CHECK_F64(a[i], b[i]);
    }
    dns_draw_pairs(&w, &TABLE, &TABLE, -1.0, N, a, b);
    double sum = 0.0;
    double product = 0.0;
    for (int i = 0; i < N; i++) {
        sum += a[i];
        product += (a[i] - 2.75) * (b[i] - 2.75);
    }
    CHECK_NEAR(sum / N, 2.75, 0.05);
    CHECK(product < 0.0);
}

TAP_MAIN(TAP(test_quantiles_are_linear_between_the_knots), TAP(test_bad_tables_are_refused),
         TAP(test_gaps_keep_their_mean_and_move_together),
         TAP(test_pieces_of_any_size_give_the_same_gaps), TAP(test_pairs_follow_rho))
