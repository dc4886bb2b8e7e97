/* Quantisers: small integers and the scale that turns them back.
 *
 *     x ~ scale (q - zero),   q = clamp(rint(x / scale) + zero)
 *
 * Symmetric: zero = 0, scale = max |x| / L, q in [-L, L], L = 2^(bits - 1) - 1.
 * Affine: the range [min(x, 0), max(x, 0)] is cut into 2^bits - 1 steps, q in [0, 2^bits - 1], zero
 * = rint(-min / scale), so that 0 is a code. Rounding is to nearest, ties to even; |x - scale (q -
 * zero)| <= scale (1/2 + 2^-14) for symmetric codes and one step for affine ones at the ends, whose
 * zero is rounded. A range of 0 has scale 1, and no scale is below 2^-126. The same bytes at every
 * level.
 */
#ifndef DNS_QUANT_H
#define DNS_QUANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dns/cpu.h"
#include "dns/status.h"

#define DNS_QUANT_MIN_BITS 2
#define DNS_QUANT_MAX_BITS 8

/* rows x cols floats, leading dimension ldx; every row is cut into groups of `group` elements (the
 * last may be shorter), each with its own scale. */
typedef struct dns_quant_in {
    const float *x;
    ptrdiff_t ldx;
    size_t rows, cols, group; /* group >= 1 */
    int bits;
    bool symmetric;
} dns_quant_in;

/* Scale and zero of a range lo <= 0 <= hi of finite numbers. */
void dns_quant_scale(float lo, float hi, int bits, bool symmetric, float *scale, int32_t *zero);

/* q [rows][cols] (int8 if symmetric, else uint8), scale and zero [rows][ceil(cols / group)]. Fails
 * with DNS_ERR_VALUE when bits or group is out of range or, naming the row, a value is not finite;
 * what was written until then is of no use. */
DNS_NODISCARD dns_status dns_quantize(const dns_quant_in *in, dns_isa isa, void *q, float *scale,
                                      int32_t *zero, dns_error *err);

#endif
