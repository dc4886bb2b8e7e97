/* Eyeriss v2: golden mapping, row windows against their definition, cycles, expectations, failures.
 */
#include "dns/accel_eyeriss2.h"
#include "tap.h"

static const dns_eyeriss2_layer golden = {64, 64, 1, 3, 3, 56, 56, 56, 56};

static void
test_golden_mapping(void)
{
    dns_eyeriss2_map m;
    REQUIRE(dns_eyeriss2_make_map(DNS_COMPAT_ARTIFACT, 4000, &golden, &m, NULL) == DNS_OK);
    CHECK_I64(m.C0, 4);
    CHECK_I64(m.C1, 8);
    CHECK_I64(m.C2, 2);
    CHECK_I64(m.F0, 16);
    CHECK_I64(m.F1, 3);
    CHECK_I64(m.F2, 2);
    CHECK_I64(m.address_checks, 516096);
    CHECK_I64(m.weight_factor, 12);
    REQUIRE(dns_eyeriss2_make_map(DNS_COMPAT_ARTIFACT, 2500, &golden, &m, NULL) == DNS_OK);
    CHECK_I64(m.F0, 8);
}

static void
test_row_visits_equal_their_definition(void)
{
    enum { H = 13, CHANNELS = 3 };
    uint32_t seed = 1;
    for (int trial = 0; trial < 2000; trial++) {
        uint8_t any[CHANNELS * H];
        dns_eyeriss2_map m = {.R = 1 + trial % 5, .F0 = 1 + trial / 5 % 16};
        uint64_t want = 0;
        uint64_t got = 0;
        for (int i = 0; i < CHANNELS * H; i++) {
            seed = seed * 1664525U + 1013904223U;
            any[i] = (seed >> 28) < (uint32_t)(trial % 17);
        }
        for (int c = 0; c < CHANNELS; c++) {
            for (int y = 0; y < H; y++) {
                const int end = (int)((y / m.F0 + 1) * m.F0);
                int hit = 0;
                for (int k = y; k < y + m.R && k < end && k < H; k++) {
                    hit |= any[c * H + k];
                }
                want += (uint64_t)hit;
            }
        }
        dns_eyeriss2_row_visits(&m, 1, CHANNELS, H, any, &got);
        CHECK_I64(got, want);
    }
}

static void
test_cycles_truncate_and_refuse_overflow(void)
{
    dns_eyeriss2_map m;
    dns_error err = {DNS_OK, 0, ""};
    REQUIRE(dns_eyeriss2_make_map(DNS_COMPAT_ARTIFACT, 4000, &golden, &m, NULL) == DNS_OK);
    const uint64_t macs[2] = {112869376, 0};
    const uint64_t z[2] = {3584, 0};
    uint64_t cycles[2];
    REQUIRE(dns_eyeriss2_cycles(&m, 2, macs, z, cycles, NULL) == DNS_OK);
    CHECK_I64(cycles[0], (4 * 112869376LL + 516096 + 12 * 3584) / 192);
    CHECK_I64(cycles[1], 516096 / 192);
    const uint64_t huge[2] = {0, UINT64_MAX / 4};
    CHECK_I64(dns_eyeriss2_cycles(&m, 2, huge, z, cycles, &err), DNS_ERR_OVERFLOW);
    CHECK_I64(err.index, 1);
}

static void
test_expected_any_at_the_ends(void)
{
    static const double density[4] = {0.0, 1.0, 0.5, 1e-12};
    static const int64_t n[3] = {1, 3, 0};
    static const int64_t times[3] = {10, 2, 7};
    double out[4];
    dns_eyeriss2_expected_any(4, density, 3, n, times, out);
    CHECK_F64(out[0], 0.0);
    CHECK_F64(out[1], 12.0);
    CHECK_NEAR(out[2], 10 * 0.5 + 2 * 0.875, 1e-14);
    CHECK_NEAR(out[3], 16e-12, 1e-22);
}

static void
test_memory_bound_names_the_operand(void)
{
    dns_eyeriss2_map m;
    dns_cost cost;
    const double macs = 1.0;
    const double z = 0.0;
    REQUIRE(dns_eyeriss2_make_map(DNS_COMPAT_CORRECTED, 4000, &golden, &m, NULL) == DNS_OK);
    dns_eyeriss2_cost(&m, 1, &macs, &z, NULL, &cost);
    CHECK_I64(cost.bound, DNS_BOUND_COMPUTE);
    CHECK(isnan(cost.energy_j) && isnan(cost.stalls) && isnan(cost.ifm_bytes));
    for (int operand = 0; operand < 3; operand++) {
        double bytes[3] = {1.0, 1.0, 1.0};
        bytes[operand] = 25.6e9;
        dns_eyeriss2_cost(&m, 1, &macs, &z, bytes, &cost);
        CHECK_I64(cost.bound, DNS_BOUND_IFM + operand);
        CHECK_NEAR(cost.seconds, 1.0, 1e-6);
        CHECK(cost.stalls > 0.0);
    }
}

static void
expect_failure(dns_compat compat, int64_t glb, dns_eyeriss2_layer layer, const char *word)
{
    dns_eyeriss2_map m;
    dns_error err = {DNS_OK, 0, ""};
    CHECK(dns_eyeriss2_make_map(compat, glb, &layer, &m, &err) != DNS_OK);
    CHECK(strstr(err.message, word) != NULL);
}

static void
test_layers_that_do_not_fit(void)
{
    dns_eyeriss2_layer l = golden;
    expect_failure(DNS_COMPAT_ARTIFACT, 0, l, "iact_glb_bytes");
    expect_failure(DNS_COMPAT_ARTIFACT, 200, l, "iact_glb_bytes: one output column needs");
    l.in_h = 57;
    expect_failure(DNS_COMPAT_ARTIFACT, 4000, l, "square");
    l = golden;
    l.in_channels = 24;
    l.kernel_h = l.kernel_w = 1;
    expect_failure(DNS_COMPAT_ARTIFACT, 4000, l, "in_channels");
    l.kernel_h = 17;
    expect_failure(DNS_COMPAT_CORRECTED, 4000, l, "kernel_h");
    l = golden;
    l.groups = 3;
    expect_failure(DNS_COMPAT_CORRECTED, 4000, l, "groups");
    l = golden;
    l.in_channels = 0;
    expect_failure(DNS_COMPAT_CORRECTED, 4000, l, "layer");
    l = golden;
    l.out_w = l.out_channels = l.in_channels = l.kernel_w = INT32_MAX;
    expect_failure(DNS_COMPAT_CORRECTED, 4000, l, "address checks");
    l = golden;
    l.in_channels = 24;
    l.kernel_h = l.kernel_w = 1;
    dns_eyeriss2_map m;
    CHECK_I64(dns_eyeriss2_make_map(DNS_COMPAT_CORRECTED, 4000, &l, &m, NULL), DNS_OK);
    CHECK_I64(m.C0 * m.C1 * m.C2, 32);
}

TAP_MAIN(TAP(test_golden_mapping), TAP(test_row_visits_equal_their_definition),
         TAP(test_cycles_truncate_and_refuse_overflow), TAP(test_expected_any_at_the_ends),
         TAP(test_memory_bound_names_the_operand), TAP(test_layers_that_do_not_fit))
