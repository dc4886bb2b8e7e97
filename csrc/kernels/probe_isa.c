/* Probes: CHAINS independent multiply-adds, enough to hide their latency on two ports; and loads
 * alone, without the prefetches that dns_count_ops.read_all spends load slots on. (An addition per
 * load costs a quarter of the rate of the first cache, though its ports are not the loads'.)
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

enum { STEP = 8 };

/* Has v in a register, where the compiler must load it to. */
static inline void
touch(vs v)
{
#ifdef DNS_NO_X86
    __asm__ volatile("" : : "m"(v));
#else
    __asm__ volatile("" : : "x"(v));
#endif
}

static void
load_floats(const float *x, size_t n)
{
    size_t j = 0;
    for (; j + STEP * VS_LANES <= n; j += STEP * VS_LANES) {
        for (size_t i = 0; i < STEP; i++) {
            touch(vs_load(x + j + i * VS_LANES));
        }
    }
    for (; j < n; j += VS_LANES) {
        touch(vs_load_part(x + j, n - j));
    }
}

static float
sum_floats(const float *x, size_t n)
{
    vs acc[STEP];
    for (size_t i = 0; i < STEP; i++) {
        acc[i] = vs_set(0.0F);
    }
    size_t j = 0;
    for (; j + STEP * VS_LANES <= n; j += STEP * VS_LANES) {
        for (size_t i = 0; i < STEP; i++) {
            acc[i] = vs_add(acc[i], vs_load(x + j + i * VS_LANES));
        }
    }
    for (; j < n; j += VS_LANES) {
        acc[0] = vs_add(acc[0], vs_load_part(x + j, n - j));
    }
    for (size_t i = 1; i < STEP; i++) {
        acc[0] = vs_add(acc[0], acc[i]);
    }
    return vs_sum(acc[0]);
}

static float
read_floats(const float *x, size_t n, size_t times)
{
    for (size_t t = 1; t < times; t++) {
        load_floats(x, n);
    }
    return times == 0 ? 0.0F : sum_floats(x, n);
}

extern const dns_probe_ops DNS_ISA_FN(dns_probe_ops);
const dns_probe_ops DNS_ISA_FN(dns_probe_ops) = {
    .isa = DNS_ISA_VALUE,
    .flops = 2 * CHAINS * VS_LANES,
    .fma = fma_steps,
    .read = read_floats,
};
