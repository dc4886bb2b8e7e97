/* Probes: CHAINS independent multiply-adds, enough to hide their latency on two ports; and loads
 * with one operation each, without the prefetches that dns_count_ops.read_all spends load slots on.
 */
#include "dns/probe.h"
#include "kernels/vec_f32.h"

enum { CHAINS = 12 };

static float
fma_steps(size_t n, float x)
{
    vs acc[CHAINS];
    const vs a = vs_set(x);
    const vs b = vs_set(1.0F - x);
    for (size_t i = 0; i < CHAINS; i++) {
        acc[i] = vs_set(x * (float)i);
    }
    for (size_t s = 0; s < n; s++) {
        for (size_t i = 0; i < CHAINS; i++) {
            acc[i] = vs_fma(acc[i], a, b);
        }
    }
    for (size_t i = 1; i < CHAINS; i++) {
        acc[0] = vs_add(acc[0], acc[i]);
    }
    return vs_sum(acc[0]);
}

static float
read_floats(const float *x, size_t n, size_t times)
{
    enum { STEP = 8 };
    vs acc[STEP];
    for (size_t i = 0; i < STEP; i++) {
        acc[i] = vs_set(0.0F);
    }
    for (size_t t = 0; t < times; t++) {
        size_t j = 0;
        for (; j + STEP * VS_LANES <= n; j += STEP * VS_LANES) {
            for (size_t i = 0; i < STEP; i++) {
                acc[i] = vs_add(acc[i], vs_load(x + j + i * VS_LANES));
            }
        }
        for (; j < n; j += VS_LANES) {
            acc[0] = vs_add(acc[0], vs_load_part(x + j, n - j));
        }
    }
    for (size_t i = 1; i < STEP; i++) {
        acc[0] = vs_add(acc[0], acc[i]);
    }
    return vs_sum(acc[0]);
}

extern const dns_probe_ops DNS_ISA_FN(dns_probe_ops);
const dns_probe_ops DNS_ISA_FN(dns_probe_ops) = {
    .isa = DNS_ISA_VALUE,
    .flops = 2 * CHAINS * VS_LANES,
    .fma = fma_steps,
    .read = read_floats,
};
