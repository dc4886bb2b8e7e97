/* Eyeriss v2 cycle model of the Sparse-DySta benchmark.
 *
 * Machine: 16 clusters (8 x 2) of 3 x 4 processing elements at 200 MHz, three input buffers per
 * cluster, 16-word input scratch pads. A layer with R x S kernels, C inputs, M outputs and an
 * E x F output is cut into
 *
 *     C = C0 (in a PE) x C1 (cluster rows, <= 8) x C2 (time)
 *     F = F0 (in a PE) x F1 (PE columns, <= 4)   x F2 (time)
 *     M = M0 (in a PE) x M1 (cluster columns, 2) x M2 (time)     S = S1 (PE rows, <= 3) x S2 (time)
 *
 * with C0 the largest power of two such that R C0 words fit the scratch pad, and F0 the largest
 * such that E F0 R C0 bytes fit the three buffers. Then
 *
 *     cycles = floor((4 V + A + 2 M1 S1 M2 S2 Z) / 192)
 *
 * V valid products take four cycles each (load weight, multiply, add, write back); every input
 * address is checked once, A = M1 F1 C1 S1 M2 F2 C2 S2 E F0; every non-empty input column costs two
 * cycles more per weight pass (read data, check weight address). Work is spread perfectly over the
 * 192 elements and memory is hidden by double buffering.
 *
 * Two readings. DNS_COMPAT_ARTIFACT is the public code: input extents stand for output extents,
 * stride and padding are ignored, and because its two permutations discard their result, Z sums
 * over the width instead of over C0 channels (dns_eyeriss2_row_visits has the formula).
 * DNS_COMPAT_CORRECTED maps output extents, rounds channel remainders up, and takes Z as the number
 * of (C0 x R column, output position, kernel column) visits that meet a non-zero; the kernel
 * columns are then in Z and not in the weight factor 2 M1 M2.
 *
 * Sources: Chen, Yang, Emer, Sze: Eyeriss v2, JETCAS 2019; Fan et al.: Sparse-DySta, MICRO 2023,
 * with its public simulator hw_simulator/cnn_eyerissv2.
 */
#include "dns/accel_eyeriss2.h"

#include <math.h>

enum {
    SPAD_WORDS = 16,
    BUFFERS = 3,
    CLUSTER_ROWS = 8,
    CLUSTER_COLUMNS = 2,
    PE_ROWS = 3,
    PE_COLUMNS = 4
};

static int64_t
min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t
ceil_div(int64_t a, int64_t b)
{
    return a / b + (a % b != 0);
}

/* Largest power of two <= x, x >= 1. */
static int64_t
floor_pow2(int64_t x)
{
    int64_t p = 1;
    while (p <= x / 2) {
        p *= 2;
    }
    return p;
}

/* Parts of an axis that work in parallel: all `lanes` of them if n fills them, else as many as it
 * fills (the public code) or needs. */
static int64_t
parallel(dns_compat compat, int64_t n, int64_t part, int64_t lanes)
{
    if (part * lanes <= n) {
        return lanes;
    }
    return compat == DNS_COMPAT_ARTIFACT ? n / part : min64(lanes, ceil_div(n, part));
}

static dns_status
check_layer(const dns_eyeriss2_layer *l, int64_t glb_bytes, dns_error *err)
{
    const int64_t fields[] = {l->in_channels, l->out_channels, l->groups, l->kernel_h, l->kernel_w,
                              l->in_h,        l->in_w,         l->out_h,  l->out_w};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        DNS_REQUIRE(fields[i] >= 1 && fields[i] <= INT32_MAX, err, DNS_ERR_VALUE, i,
                    "layer: expected extents in [1, 2^31), got %lld", (long long)fields[i]);
    }
    DNS_REQUIRE(l->out_channels % l->groups == 0, err, DNS_ERR_VALUE, 2,
                "groups: expected a divisor of %lld output channels, got %lld",
                (long long)l->out_channels, (long long)l->groups);
    DNS_REQUIRE(glb_bytes >= 1 && glb_bytes <= INT32_MAX, err, DNS_ERR_VALUE, -1,
                "iact_glb_bytes: expected an integer in [1, 2^31), got %lld", (long long)glb_bytes);
    return DNS_OK;
}

/* Product of n positive factors below 2^63, or failure. */
static dns_status
product(const int64_t *factors, size_t n, int64_t *out, dns_error *err)
{
    int64_t p = 1;
    for (size_t i = 0; i < n; i++) {
        DNS_REQUIRE(factors[i] <= INT64_MAX / p, err, DNS_ERR_OVERFLOW, -1,
                    "layer: address checks do not fit in 63 bits");
        p *= factors[i];
    }
    *out = p;
    return DNS_OK;
}

dns_status
dns_eyeriss2_make_map(dns_compat compat, int64_t glb_bytes, const dns_eyeriss2_layer *l,
                      dns_eyeriss2_map *out, dns_error *err)
{
    DNS_TRY(check_layer(l, glb_bytes, err));
    const int artifact = compat == DNS_COMPAT_ARTIFACT;
    DNS_REQUIRE(!artifact || l->in_h == l->in_w, err, DNS_ERR_VALUE, -1,
                "in_h, in_w: compat='artifact' expects square maps, got %lld x %lld",
                (long long)l->in_h, (long long)l->in_w);
    DNS_REQUIRE(l->kernel_h <= SPAD_WORDS || (artifact && l->in_channels <= 3), err, DNS_ERR_VALUE,
                -1, "kernel_h: expected at most 16 (scratch pad words), got %lld",
                (long long)l->kernel_h);
    dns_eyeriss2_map m;
    const int64_t width = artifact ? l->in_w : l->out_w;
    const int64_t filters = l->out_channels / l->groups;
    m.R = l->kernel_h;
    m.E = artifact ? l->in_w : l->out_h;
    m.C0 =
        l->in_channels <= 3 ? l->in_channels : min64(floor_pow2(SPAD_WORDS / m.R), l->in_channels);
    const double row = (double)m.E * (double)m.R * (double)m.C0;
    DNS_REQUIRE(row <= (double)(BUFFERS * glb_bytes), err, DNS_ERR_VALUE, -1,
                "iact_glb_bytes: one output column needs %.0f bytes of input, the three buffers of "
                "%lld bytes hold %lld",
                row, (long long)glb_bytes, (long long)(BUFFERS * glb_bytes));
    m.F0 = min64(floor_pow2(BUFFERS * glb_bytes / (m.E * m.R * m.C0)), width);
    m.M0 = min64(32, filters);
    m.C1 = parallel(compat, l->in_channels, m.C0, CLUSTER_ROWS);
    m.F1 = parallel(compat, width, m.F0, PE_COLUMNS);
    m.M1 = parallel(compat, filters, m.M0, CLUSTER_COLUMNS);
    m.S1 = min64(l->kernel_w, PE_ROWS);
    m.C2 = ceil_div(l->in_channels, m.C0 * m.C1);
    m.F2 = ceil_div(width, m.F0 * m.F1);
    m.M2 = ceil_div(filters, m.M0 * m.M1);
    m.S2 = ceil_div(l->kernel_w, m.S1);
    DNS_REQUIRE(!artifact || m.C0 * m.C1 * m.C2 == l->in_channels, err, DNS_ERR_VALUE, -1,
                "in_channels: compat='artifact' expects C0*C1*C2 = %lld*%lld*%lld channels, got "
                "%lld",
                (long long)m.C0, (long long)m.C1, (long long)m.C2, (long long)l->in_channels);
    const int64_t factors[] = {m.M1, m.F1, m.C1, m.S1, m.M2, m.F2, m.C2, m.S2, m.E, m.F0};
    DNS_TRY(product(factors, sizeof factors / sizeof factors[0], &m.address_checks, err));
    m.weight_factor = 2 * m.M1 * m.M2 * (artifact ? m.S1 * m.S2 : 1);
    *out = m;
    return DNS_OK;
}

/* Rows y of [0, n) such that one of y .. min(y + reach, n) - 1 is not empty. */
static uint64_t
block_visits(const uint8_t *any, size_t n, size_t reach)
{
    uint64_t visits = 0;
    if (reach == 1) {
        for (size_t y = 0; y < n; y++) {
            visits += any[y] != 0;
        }
        return visits;
    }
    size_t next = n + reach; /* nearest non-empty row at or after y: out of reach for now */
    for (size_t y = n; y-- > 0;) {
        next = any[y] != 0 ? y : next;
        visits += next - y < reach;
    }
    return visits;
}

void
dns_eyeriss2_row_visits(const dns_eyeriss2_map *map, size_t samples, size_t channels, size_t h,
                        const uint8_t *any, uint64_t *z)
{
    const size_t reach = (size_t)map->R;
    /* with windows of one row the blocks do not matter, nor do the channels */
    const size_t rows = reach == 1 ? channels * h : h;
    const size_t block = reach == 1 ? rows : (size_t)map->F0;
    for (size_t s = 0; s < samples; s++, any += channels * h) {
        uint64_t visits = 0;
        for (size_t row = 0; row < channels * h; row += rows) {
            for (size_t y = 0; y < rows; y += block) {
                const size_t n = rows - y < block ? rows - y : block;
                visits += block_visits(any + row + y, n, reach);
            }
        }
        z[s] = visits;
    }
}

dns_status
dns_eyeriss2_cycles(const dns_eyeriss2_map *map, size_t samples, const uint64_t *macs,
                    const uint64_t *z, uint64_t *cycles, dns_error *err)
{
    const uint64_t third = UINT64_MAX / 3;
    const uint64_t factor = (uint64_t)map->weight_factor;
    for (size_t s = 0; s < samples; s++) {
        DNS_REQUIRE(macs[s] <= third / 4 && z[s] <= third / factor, err, DNS_ERR_OVERFLOW, s,
                    "sample %zu: the cycle count does not fit in 64 bits", s);
    }
    for (size_t s = 0; s < samples; s++) {
        cycles[s] =
            (4 * macs[s] + (uint64_t)map->address_checks + factor * z[s]) / DNS_EYERISS2_PES;
    }
    return DNS_OK;
}

void
dns_eyeriss2_expected_any(size_t samples, const double *density, size_t terms, const int64_t *n,
                          const int64_t *times, double *out)
{
    for (size_t s = 0; s < samples; s++) {
        const double log_empty = log1p(-density[s]);
        double sum = 0.0;
        for (size_t t = 0; t < terms; t++) {
            if (n[t] > 0) { /* 0 * log 0 is no number */
                sum -= (double)times[t] * expm1((double)n[t] * log_empty);
            }
        }
        out[s] = sum;
    }
}

void
dns_eyeriss2_cost(const dns_eyeriss2_map *map, size_t samples, const double *macs, const double *z,
                  const double *bytes, dns_cost *cost)
{
    for (size_t s = 0; s < samples; s++) {
        dns_cost c;
        const double compute = floor(
            (4.0 * macs[s] + (double)map->address_checks + (double)map->weight_factor * z[s]) /
            DNS_EYERISS2_PES);
        c.cycles = compute;
        c.stalls = NAN;
        c.energy_j = NAN;
        c.ifm_bytes = c.weight_bytes = c.ofm_bytes = NAN;
        c.bound = DNS_BOUND_COMPUTE;
        if (bytes != NULL) {
            const double *b = bytes + 3 * s;
            const double moving = (b[0] + b[1] + b[2]) / DNS_EYERISS2_DRAM_BYTES_PER_S;
            const double memory = ceil(moving * DNS_EYERISS2_CLOCK_HZ);
            c.ifm_bytes = b[0];
            c.weight_bytes = b[1];
            c.ofm_bytes = b[2];
            c.stalls = memory > compute ? memory - compute : 0.0;
            if (memory > compute) {
                c.cycles = memory;
                c.bound = b[0] >= b[1] && b[0] >= b[2] ? DNS_BOUND_IFM
                          : b[1] >= b[2]               ? DNS_BOUND_WEIGHTS
                                                       : DNS_BOUND_OFM;
            }
        }
        c.seconds = c.cycles / DNS_EYERISS2_CLOCK_HZ;
        c.utilization = c.cycles > 0.0 ? macs[s] / (c.cycles * DNS_EYERISS2_PES) : 0.0;
        cost[s] = c;
    }
}
