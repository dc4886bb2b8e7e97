/* Variates: hand values from chosen words, conservation in the alias tables, failing allocations;
 * and the words of Python's generator. */
#include "dns/draw.h"
#include "dns/mt19937.h"

#include "tap.h"

/* splitmix64, or the same word again and again. */
static uint64_t
mixed_word(void *ctx)
{
    uint64_t *state = ctx;
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static uint64_t
same_word(void *ctx)
{
    return *(const uint64_t *)ctx;
}

static void
test_draw_unit_and_exponential_extremes(void)
{
    uint64_t word = UINT64_MAX;
    const dns_words w = {same_word, &word};
    CHECK_F64(dns_draw_unit(&w), 1.0 - 0x1.0p-53);
    CHECK(dns_draw_exponential(&w) < 37.0 && dns_draw_exponential(&w) > 36.7);
    CHECK_I64(dns_draw_below(&w, INT32_MAX), INT32_MAX - 1);
    word = 0;
    CHECK_F64(dns_draw_unit(&w), 0.0);
    CHECK(dns_draw_exponential(&w) == 0.0);
    CHECK_I64(dns_draw_below(&w, 1), 0);
}

/* The mass that an alias table gives to each value equals its weight. */
static void
check_mass(const double *weight, int32_t n)
{
    dns_alias a;
    double mass[16] = {0};
    double sum = 0.0;
    REQUIRE(dns_alias_init(&a, weight, n, NULL, NULL) == DNS_OK);
    for (int32_t i = 0; i < n; i++) {
        CHECK(a.keep[i] >= 0.0 && a.keep[i] <= 1.0 && a.other[i] >= 0 && a.other[i] < n);
        mass[i] += a.keep[i];
        mass[a.other[i]] += 1.0 - a.keep[i];
        sum += weight[i];
    }
    for (int32_t i = 0; i < n; i++) {
        CHECK_NEAR(mass[i] / n, weight[i] / sum, 1e-14);
    }
    dns_alias_fini(&a);
}

static void
test_draw_alias_keeps_the_weights(void)
{
    const double cases[4][6] = {
        {1, 1, 1, 1, 1, 1}, {0, 0, 5, 0, 0, 0}, {1e-9, 1, 1e9, 3, 0, 2}, {7, 0.5, 0.25, 0.1, 3, 3}};
    for (int i = 0; i < 4; i++) {
        for (int32_t n = 3; n <= 6; n++) {
            check_mass(cases[i], n);
        }
    }
    const double one = 3.0;
    check_mass(&one, 1);
}

static void
test_draw_alias_rejects_bad_weights(void)
{
    dns_alias a;
    dns_error err = {0};
    const double bad[3] = {1.0, -1.0, NAN};
    CHECK(dns_alias_init(&a, bad, 3, NULL, &err) == DNS_ERR_VALUE);
    CHECK_I64(err.index, 1);
    CHECK(dns_alias_init(&a, bad + 2, 1, NULL, &err) == DNS_ERR_VALUE);
    const double zero[2] = {0, 0};
    CHECK(dns_alias_init(&a, zero, 2, NULL, &err) == DNS_ERR_VALUE);
    CHECK(dns_alias_init(&a, zero, 0, NULL, &err) == DNS_ERR_VALUE);
}

static dns_status
alias_life(const dns_alloc *alloc, void *ctx)
{
    (void)ctx;
    const double weight[3] = {1, 2, 3};
    dns_alias a;
    dns_status status = dns_alias_init(&a, weight, 3, alloc, NULL);
    if (status == DNS_OK) {
        dns_alias_fini(&a);
    }
    return status;
}

static void
test_oom_alias(void)
{
    CHECK(tap_oom_sweep(alias_life, NULL) > 0);
}

static void
test_draw_gamma_moments(void)
{
    uint64_t seed = 1;
    const dns_words w = {mixed_word, &seed};
    const double shapes[3] = {0.2, 1.0, 7.5};
    for (int s = 0; s < 3; s++) {
        double sum = 0.0;
        double square = 0.0;
        const int n = 100000;
        for (int i = 0; i < n; i++) {
            const double x = dns_draw_gamma(&w, shapes[s]);
            CHECK(x >= 0.0);
            sum += x;
            square += x * x;
        }
        const double mean = sum / n;
        CHECK_NEAR(mean, shapes[s], 5.0 * sqrt(shapes[s] / n));
        CHECK_NEAR((square / n - mean * mean) / shapes[s], 1.0,
                   5.0 * sqrt((2.0 + 6.0 / shapes[s]) / n));
    }
}

static void
test_draw_mmpp_waits_out_silent_states(void)
{
    uint64_t seed = 3;
    const dns_words w = {mixed_word, &seed};
    const double rate[2] = {10.0, 0.0};
    const double sojourn[2] = {1.0, 5.0};
    dns_mmpp m = {.n_states = 2, .rate = rate, .sojourn_s = sojourn};
    double clock = 0.0;
    double last = 0.0;
    double out[1000];
    dns_mmpp_start(&w, &m);
    dns_arrivals_mmpp(&w, &m, 1000, &clock, out);
    for (int i = 0; i < 1000; i++) {
        CHECK(out[i] >= last && isfinite(out[i]));
        last = out[i];
    }
    CHECK_I64(m.state, 0);
    CHECK_F64(clock, last);
    CHECK_NEAR(clock, 600.0, 250.0);
}

static void
test_draw_arrivals_move_the_clock(void)
{
    uint64_t half = UINT64_C(1) << 63;
    const dns_words w = {same_word, &half};
    const double gap = -log1p(-0.5) / 4.0;
    double clock = 1.0;
    double out[2];
    dns_arrivals_poisson(&w, 4.0, 2, &clock, out);
    CHECK_F64(out[0], 1.0 + gap);
    CHECK_F64(out[1], (1.0 + gap) + gap);
    CHECK_F64(clock, out[1]);
    uint64_t seed = 9;
    const dns_words mixed = {mixed_word, &seed};
    double many[2000];
    clock = 0.0;
    dns_arrivals_gamma(&mixed, 2.0, 0.5, 2000, &clock, many);
    CHECK_NEAR(clock, 1000.0, 5.0 * 0.5 * 0.5 * sqrt(2000.0));
    CHECK_F64(many[1999], clock);
}

static void
test_draw_requests_follow_their_words(void)
{
    const double weight[2] = {1, 1};
    const double value[2] = {3, 9};
    const int32_t samples[2] = {4, 8};
    dns_alias models;
    dns_alias priorities;
    REQUIRE(dns_alias_init(&models, weight, 2, NULL, NULL) == DNS_OK);
    REQUIRE(dns_alias_init(&priorities, weight, 2, NULL, NULL) == DNS_OK);
    uint64_t word[3] = {UINT64_MAX, UINT64_C(1) << 62, 0};
    const dns_words w[3] = {{same_word, &word[0]}, {same_word, &word[1]}, {same_word, &word[2]}};
    int32_t model[2];
    int32_t sample[2];
    double priority[2];
    dns_draw_requests(&w[0], &models, &w[1], samples, &w[2], &priorities, value, 2, model, sample,
                      priority);
    for (int i = 0; i < 2; i++) {
        CHECK_I64(model[i], 1);
        CHECK_I64(sample[i], 2);
        CHECK_F64(priority[i], 3.0);
    }
    dns_alias_fini(&models);
    dns_alias_fini(&priorities);
}

/* State of random.Random(1) would be 624 words; the reference sequence of the authors' own
 * init_genrand(5489) checks the recurrence, its 10000th word being 4123659995. */
static void
test_mt19937_reference_sequence(void)
{
    dns_mt19937 mt;
    mt.key[0] = 5489u;
    for (uint32_t i = 1; i < DNS_MT_WORDS; i++) {
        mt.key[i] = 1812433253u * (mt.key[i - 1] ^ (mt.key[i - 1] >> 30)) + i;
    }
    mt.index = DNS_MT_WORDS;
    CHECK_I64(dns_mt19937_next(&mt), 3499211612u);
    uint32_t word = 0;
    for (int i = 1; i < 10000; i++) {
        word = dns_mt19937_next(&mt);
    }
    CHECK_I64(word, 4123659995u);
    for (int i = 0; i < 1000; i++) {
        const double u = dns_mt19937_random(&mt);
        CHECK(u >= 0.0 && u < 1.0 && u * 0x1.0p53 == floor(u * 0x1.0p53));
        CHECK(dns_mt19937_below(&mt, 3) < 3);
        CHECK(dns_mt19937_below(&mt, 1) == 0);
        CHECK(dns_mt19937_below(&mt, 1u << 31) < 1u << 31);
    }
}

static void
test_mt_requests_rejects_bad_tables(void)
{
    static dns_mt19937 const zero;
    dns_mt19937 mt = zero;
    const int32_t samples[2] = {7, 0};
    const double priority = 1.0;
    dns_error err = {0};
    dns_mt_table t = {.rate = 1.0,
                      .n_models = 1,
                      .n_samples = samples,
                      .n_priorities = 1,
                      .priorities = &priority};
    CHECK(dns_mt_requests(&mt, &t, 0, NULL, NULL, NULL, NULL, &err) == DNS_OK);
    double arrival = 0.0;
    double drawn = 0.0;
    int32_t model = -1;
    int32_t sample = -1;
    CHECK(dns_mt_requests(&mt, &t, 1, &arrival, &model, &sample, &drawn, &err) == DNS_OK);
    CHECK(arrival >= 0.0 && model == 0 && sample >= 0 && sample < 7);
    CHECK_F64(drawn, 1.0);
    t.n_models = 2;
    CHECK(dns_mt_requests(&mt, &t, 0, NULL, NULL, NULL, NULL, &err) == DNS_ERR_VALUE);
    CHECK_I64(err.index, 1);
    t.n_models = 0;
    CHECK(dns_mt_requests(&mt, &t, 0, NULL, NULL, NULL, NULL, &err) == DNS_ERR_VALUE);
    t.n_models = 1;
    t.n_priorities = 0;
    CHECK(dns_mt_requests(&mt, &t, 0, NULL, NULL, NULL, NULL, &err) == DNS_ERR_VALUE);
    t.n_priorities = 1;
    t.rate = -1.0;
    CHECK(dns_mt_requests(&mt, &t, 0, NULL, NULL, NULL, NULL, &err) == DNS_ERR_VALUE);
    t.rate = 1.0;
    mt.index = DNS_MT_WORDS + 1;
    CHECK(dns_mt_requests(&mt, &t, 0, NULL, NULL, NULL, NULL, &err) == DNS_ERR_VALUE);
}

TAP_MAIN(TAP(test_draw_unit_and_exponential_extremes), TAP(test_draw_alias_keeps_the_weights),
         TAP(test_draw_alias_rejects_bad_weights), TAP(test_oom_alias),
         TAP(test_draw_gamma_moments), TAP(test_draw_mmpp_waits_out_silent_states),
         TAP(test_draw_arrivals_move_the_clock), TAP(test_draw_requests_follow_their_words),
         TAP(test_mt19937_reference_sequence), TAP(test_mt_requests_rejects_bad_tables))
