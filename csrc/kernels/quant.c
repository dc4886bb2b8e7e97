/* Quantisers: scales from ranges, rows and groups; the equations are in dns/quant.h. */
#include "kernels/quant_internal.h"

#include <float.h>
#include <math.h>

DNS_OPS_SELECT(dns_quant_ops)

void
dns_quant_scale(float lo, float hi, int bits, bool symmetric, float *scale, int32_t *zero)
{
    const int steps = symmetric ? (1 << (bits - 1)) - 1 : (1 << bits) - 1;
    const double top = -(double)lo > (double)hi ? -(double)lo : (double)hi;
    const double extent = symmetric ? top : (double)hi - (double)lo;
    float s = (float)(extent / steps);
    s = s < FLT_MIN ? FLT_MIN : s;
    s = extent == 0.0 ? 1.0F : s;
    *scale = s;
    *zero = 0;
    if (!symmetric) {
        const double z = rint(-(double)lo / (double)s);
        *zero = z > steps ? steps : (int32_t)z;
    }
}

dns_status
dns_quantize(const dns_quant_in *in, dns_isa isa, void *q, float *scale, int32_t *zero,
             dns_error *err)
{
    DNS_REQUIRE(in->bits >= DNS_QUANT_MIN_BITS && in->bits <= DNS_QUANT_MAX_BITS, err,
                DNS_ERR_VALUE, -1, "bits: expected %d to %d, got %d", DNS_QUANT_MIN_BITS,
                DNS_QUANT_MAX_BITS, in->bits);
    DNS_REQUIRE(in->group >= 1, err, DNS_ERR_VALUE, -1, "group: expected at least 1, got 0");
    const dns_quant_ops *ops = dns_quant_ops_select(isa);
    const float top = (float)(in->symmetric ? (1 << (in->bits - 1)) - 1 : (1 << in->bits) - 1);
    uint8_t *code = q;
    for (size_t i = 0; i < in->rows; i++) {
        const float *row = in->x + (ptrdiff_t)i * in->ldx;
        for (size_t k = 0; k < in->cols; k += in->group) {
            const size_t n = in->cols - k < in->group ? in->cols - k : in->group;
            float lo = 0.0F;
            float hi = 0.0F;
            DNS_REQUIRE(ops->range(row + k, n, &lo, &hi), err, DNS_ERR_VALUE, i,
                        "x: row %zu: expected finite numbers in elements %zu to %zu", i, k,
                        k + n - 1);
            dns_quant_scale(lo, hi, in->bits, in->symmetric, scale, zero);
            const float limits[3] = {(float)*zero, in->symmetric ? -top : 0.0F, top};
            ops->encode(row + k, n, *scale, limits, code);
            code += n;
            scale++;
            zero++;
        }
    }
    return DNS_OK;
}
