/* Sanger: published latency table, mask statistics of hand-made masks, prediction, failures. */
#include "dns/accel_sanger.h"
#include "tap.h"

static const dns_sanger artifact = {DNS_COMPAT_ARTIFACT, 2, 768, 32};

static void
test_latency_table(void)
{
    static const double r[5] = {0.1, 0.25, 0.5, 0.75, 1.0};
    static const double ones[5] = {1.0, 1.0, 1.0, 1.0, 1.0};
    static const double want_ms[5] = {.9424, 1.0486, 1.2780, 1.5729, 1.9333};
    static const int64_t seq[5] = {512, 512, 512, 512, 512};
    double t[5];
    double ratio = 0.0;
    REQUIRE(dns_sanger_latency(&artifact, 5, r, ones, seq, t, &ratio, NULL) == DNS_OK);
    for (int i = 0; i < 5; i++) {
        CHECK_NEAR(t[i] * 1e3, want_ms[i], 5e-5);
        CHECK_NEAR(t[i] * 1e3, 0.884736 + 0.524288 * (r[i] + r[i] * r[i]), 1e-12);
    }
    CHECK_F64(ratio, 1.0);
}

static void
test_corrected_latency_counts_what_the_mask_needs(void)
{
    const dns_sanger m = {DNS_COMPAT_CORRECTED, 2, 768, 32};
    const double density = 0.5;
    const double lb = 1.0;
    const int64_t seq = 512;
    double t = 0.0;
    REQUIRE(dns_sanger_latency(&m, 1, &density, &lb, &seq, &t, NULL, NULL) == DNS_OK);
    const double n = 0.5 * 2 * 512; /* sub-rows: two passes of 32 per vector, half the vectors */
    CHECK_NEAR(t, 8.0 * 512 * 768 * 768 / 2048e9 + n / 64 * (832 + n + 64) * 8 / 1e9, 1e-15);
}

static void
test_latency_refuses_bad_elements(void)
{
    static const struct {
        double density, lb;
        int64_t seq;
        const char *word;
    } bad[] = {{-0.1, 1, 64, "density"}, {NAN, 1, 64, "density"}, {0.5, 0, 64, "lb"},
               {0.5, 1.01, 64, "lb"},    {0.5, NAN, 64, "lb"},    {0.5, 1, 0, "seq_len"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        double t = -1.0;
        dns_error err = {DNS_OK, 0, ""};
        CHECK_I64(dns_sanger_latency(&artifact, 1, &bad[i].density, &bad[i].lb, &bad[i].seq, &t,
                                     NULL, &err),
                  DNS_ERR_VALUE);
        CHECK(strstr(err.message, bad[i].word) == err.message);
        CHECK_F64(t, -1.0);
    }
    const dns_sanger wrong[] = {{2, 2, 768, 32}, {0, 3, 768, 32}, {0, 2, 0, 32}, {0, 2, 768, 65}};
    for (size_t i = 0; i < 4; i++) {
        CHECK_I64(dns_sanger_check(&wrong[i], NULL), DNS_ERR_VALUE);
    }
}

static void
test_counts_of_a_small_mask(void)
{
    enum { SEQ = 128, WORDS = 2 };
    uint64_t bits[SEQ * WORDS] = {0};
    uint8_t key[SEQ];
    dns_sanger_counts c;
    memset(key, 1, sizeof key);
    memset(key + 64, 0, 64);          /* the second half is padding */
    bits[0] = (1ULL << 33) - 1;       /* 33 ones: 2 passes of 32 */
    bits[1] = 1;                      /* outside: its vector is left out */
    bits[WORDS * 5] = 7;              /* 3 ones: 1 pass */
    bits[WORDS * 100] = ~(uint64_t)0; /* a padded query: left out */
    REQUIRE(dns_sanger_mask_counts(bits, 1, SEQ, key, 32, 1, &c, NULL) == DNS_OK);
    CHECK_I64(c.area, 64 * 64);
    CHECK_I64(c.nonzeros, 36);
    CHECK_I64(c.ones, 36);
    CHECK_I64(c.vectors, 64);
    CHECK_I64(c.nonempty, 2);
    CHECK_I64(c.segments, 3);
    REQUIRE(dns_sanger_mask_counts(bits, 1, SEQ, NULL, 32, 1, &c, NULL) == DNS_OK);
    CHECK_I64(c.vectors, 256);
    CHECK_I64(c.segments, 6);
    CHECK_I64(dns_sanger_mask_counts(bits, 1, 100, NULL, 32, 1, &c, NULL), DNS_ERR_VALUE);
    CHECK_I64(dns_sanger_mask_counts(bits, 1, SEQ, NULL, 0, 1, &c, NULL), DNS_ERR_VALUE);
}

static void
test_greedy_packing(void)
{
    enum { SEQ = 64 };
    uint64_t bits[SEQ] = {0};
    int64_t groups = -1;
    REQUIRE(dns_sanger_mask_groups(bits, 1, SEQ, NULL, 16, &groups, NULL) == DNS_OK);
    CHECK_I64(groups, 0);
    bits[3] = ~(uint64_t)0; /* 64 ones in one row: 4 groups of 16 */
    REQUIRE(dns_sanger_mask_groups(bits, 1, SEQ, NULL, 16, &groups, NULL) == DNS_OK);
    CHECK_I64(groups, 4);
    bits[3] = 0xffff;
    bits[7] = 0xffff0000; /* two rows that fill one after the other share a group */
    REQUIRE(dns_sanger_mask_groups(bits, 1, SEQ, NULL, 16, &groups, NULL) == DNS_OK);
    CHECK_I64(groups, 1);
    bits[3] = 0x1ffff; /* the 17th one closes the group: row 7 goes on in the next */
    REQUIRE(dns_sanger_mask_groups(bits, 1, SEQ, NULL, 16, &groups, NULL) == DNS_OK);
    CHECK_I64(groups, 2);
    CHECK_I64(dns_sanger_mask_groups(bits, 1, 63, NULL, 16, &groups, NULL), DNS_ERR_VALUE);
}

static void
test_prediction_of_orthogonal_keys(void)
{
    enum { SEQ = 70, DIM = 70, WORDS = 2 };
    static float x[SEQ * DIM];
    static uint64_t out[SEQ * WORDS];
    dns_error err = {DNS_OK, 0, ""};
    dns_sanger_predict p = {.bits = 4, .normalize = 1, .threshold = 0.5};
    void *work = dns_mem_new(NULL, dns_sanger_predict_work(1, SEQ, DIM), 1);
    REQUIRE(work != NULL);
    for (int i = 0; i < SEQ; i++) {
        x[i * DIM + i] = 30.0F; /* score 900 / sqrt(70) = 107 on the diagonal, 0 elsewhere */
    }
    CHECK_I64(dns_sanger_predict_mask(&p, 1, SEQ, DIM, x, x, NULL, out, work, &err), DNS_OK);
    for (int i = 0; i < SEQ; i++) {
        CHECK_I64(out[i * WORDS], i < 64 ? (int64_t)(1ULL << i) : 0);
        CHECK_I64(out[i * WORDS + 1], i < 64 ? 0 : (int64_t)(1ULL << (i - 64)));
    }
    uint8_t key[SEQ] = {0};
    CHECK_I64(dns_sanger_predict_mask(&p, 1, SEQ, DIM, x, x, key, out, work, &err), DNS_OK);
    for (int i = 0; i < SEQ * WORDS; i++) {
        CHECK_I64(out[i], 0);
    }
    x[5] = NAN;
    CHECK_I64(dns_sanger_predict_mask(&p, 1, SEQ, DIM, x, x, NULL, out, work, &err), DNS_ERR_VALUE);
    CHECK_I64(err.index, 5);
    x[5] = 0.0F;
    p.bits = 1;
    CHECK_I64(dns_sanger_predict_mask(&p, 1, SEQ, DIM, x, x, NULL, out, work, &err), DNS_ERR_VALUE);
    p.bits = 4;
    p.threshold = 1.0;
    CHECK_I64(dns_sanger_predict_mask(&p, 1, SEQ, DIM, x, x, NULL, out, work, &err), DNS_ERR_VALUE);
    dns_mem_free(NULL, work, dns_sanger_predict_work(1, SEQ, DIM), 1);
}

TAP_MAIN(TAP(test_latency_table), TAP(test_corrected_latency_counts_what_the_mask_needs),
         TAP(test_latency_refuses_bad_elements), TAP(test_counts_of_a_small_mask),
         TAP(test_greedy_packing), TAP(test_prediction_of_orthogonal_keys))
