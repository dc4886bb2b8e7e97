/* Ranges and codes, compiled per instruction-set level; equations in dns/quant.h.
 *
 * rint(v) of |v| < 2^22 is (v + 3 * 2^22) - 3 * 2^22 in the default rounding mode, which every
 * level can do in vectors. Division, not multiplication by a reciprocal: a code is then what the
 * equation says, in the last bit too.
 */
#include "kernels/quant_internal.h"
#include "kernels/vec_f32.h"

static bool
range(const float *x, size_t n, float *lo, float *hi)
{
    vs low = vs_set(0.0F);
    vs high = vs_set(0.0F);
    vs odd = vs_set(0.0F); /* x * 0 is NaN where x is not finite */
    for (size_t i = 0; i < n; i += VS_LANES) {
        const vs v = vs_load_part(x + i, n - i);
        low = vs_min(v, low);
        high = vs_max(v, high);
        odd = vs_add(odd, vs_mul(v, vs_set(0.0F)));
    }
    float lanes[2 * VS_LANES];
    vs_store(lanes, low);
    vs_store(lanes + VS_LANES, high);
    *lo = 0.0F;
    *hi = 0.0F;
    for (size_t l = 0; l < VS_LANES; l++) {
        *lo = lanes[l] < *lo ? lanes[l] : *lo;
        *hi = lanes[VS_LANES + l] > *hi ? lanes[VS_LANES + l] : *hi;
    }
    return vs_sum(odd) == 0.0F;
}

static void
encode(const float *x, size_t n, float scale, const float zero_lo_hi[3], uint8_t *restrict q)
{
    const float magic = 12582912.0F;
    const float zero = zero_lo_hi[0];
    const float lo = zero_lo_hi[1];
    const float hi = zero_lo_hi[2];
    for (size_t i = 0; i < n; i++) {
        float v = (x[i] / scale + magic) - magic + zero;
        v = v < lo ? lo : v;
        v = v > hi ? hi : v;
        q[i] = (uint8_t)(int32_t)v;
    }
}

extern const dns_quant_ops DNS_ISA_FN(dns_quant_ops);
const dns_quant_ops DNS_ISA_FN(dns_quant_ops) = {
    .isa = DNS_ISA_VALUE,
    .range = range,
    .encode = encode,
};
