/* exp and log of vectors, and the selections that rows of logits need; for files compiled per
 * level, beside vec_f32.h.
 *
 *     exp(d) = 2^n exp(r),   n = round(d / ln 2),   r = d - n ln 2 in [-0.347, 0.347]
 *
 * with ln 2 in two parts (Cody and Waite, Software Manual for the Elementary Functions, 1980) and a
 * polynomial of degree 5. vs_exp is for d <= 0, which is all that a row shifted by its maximum
 * needs: n + 127 lies in [0, 127], so adding 1.5 * 2^23 + 127 rounds and leaves the exponent field
 * of 2^n in the low bits, to be shifted into place. Two instructions where a conversion and scalef
 * take four, and the same on every level. Relative error <= 2.5e-7; 0 below -87.7, -inf among them;
 * NaN stays NaN.
 *
 *     ln(m 2^e) = e ln 2 + 2 atanh((m - 1) / (m + 1)),   m in [0.707, 1.414]
 *
 * with the series of atanh up to the ninth power: for normal x > 0, absolute error <= 2e-7 + 1e-7
 * ln x; anything for other x.
 *
 * The functions of recurrent gates take t = -|x| or -2 |x|, split as above, and
 * p = exp(r) - 1 = r + r^2 q(r) with q of degree 5, so that nothing is cancelled near zero:
 *
 *     sigmoid(x) = (x < 0 ? e : 1) / (1 + e),   e = 2^n (1 + p)
 *     tanh(x) = -m / (2 + m) with the sign of x,   m = exp(-2 |x|) - 1 = 2^n p + (2^n - 1)
 *
 * Sigmoid within 2 units in the last place, where it is below 2^-126 within 2^-126; tanh within 3,
 * odd, -0 included; infinities saturate, NaN stays NaN.
 */
#ifndef DNS_VEC_EXP_H
#define DNS_VEC_EXP_H

#include <math.h>

#include "kernels/vec_f32.h"
#include "kernels/vec_transpose.h"

#if VS_LANES == 16
static inline vs
vs_div(vs a, vs b)
{
    return _mm512_div_ps(a, b);
}
/* a > b ? x : y per lane; y where either is NaN. */
static inline vs
vs_if_gt(vs a, vs b, vs x, vs y)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), y, x);
}
/* Bit i is set where lane i of a equals that of b. */
static inline unsigned
vs_eq_bits(vs a, vs b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ);
}
/* Lanes whose bit is clear become `other`. */
static inline vs
vs_keep(vs a, unsigned bits, vs other)
{
    return _mm512_mask_blend_ps((__mmask16)bits, other, a);
}
/* The bits of t shifted left by 23. */
static inline vs
vs_shift23(vs t)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(t), 23));
}
/* The magnitude of a with the sign of b. */
static inline vs
vs_sign(vs a, vs b)
{
    const vs sign = vs_set(-0.0F);
    return _mm512_or_ps(_mm512_andnot_ps(sign, a), _mm512_and_ps(sign, b));
}
/* x = mantissa * 2^exponent, mantissa in [1, 2), for normal x > 0. */
static inline vs
vs_exponent(vs x)
{
    return _mm512_getexp_ps(x);
}
static inline vs
vs_mantissa(vs x)
{
    return _mm512_getmant_ps(x, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src);
}

#elif VS_LANES == 8
static inline vs
vs_div(vs a, vs b)
{
    return _mm256_div_ps(a, b);
}
static inline vs
vs_if_gt(vs a, vs b, vs x, vs y)
{
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_GT_OQ));
}
static inline unsigned
vs_eq_bits(vs a, vs b)
{
    return (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_EQ_OQ));
}
static inline vs
vs_keep(vs a, unsigned bits, vs other)
{
    const __m256i one = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i on = _mm256_and_si256(_mm256_set1_epi32((int)bits), one);
    return _mm256_blendv_ps(other, a, _mm256_castsi256_ps(_mm256_cmpeq_epi32(on, one)));
}
static inline vs
vs_shift23(vs t)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(t), 23));
}
static inline vs
vs_sign(vs a, vs b)
{
    const vs sign = vs_set(-0.0F);
    return _mm256_or_ps(_mm256_andnot_ps(sign, a), _mm256_and_ps(sign, b));
}
static inline vs
vs_exponent(vs x)
{
    const __m256i e = _mm256_srli_epi32(_mm256_castps_si256(x), 23);
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(e, _mm256_set1_epi32(127)));
}
static inline vs
vs_mantissa(vs x)
{
    const __m256i m = _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x007fffff));
    return _mm256_castsi256_ps(_mm256_or_si256(m, _mm256_set1_epi32(0x3f800000)));
}

#else
typedef int32_t vs_bits_ __attribute__((vector_size(16)));

static inline vs
vs_div(vs a, vs b)
{
    return a / b;
}
static inline vs
vs_if_gt(vs a, vs b, vs x, vs y)
{
    vs r = y;
    for (size_t i = 0; i < VS_LANES; i++) {
        r[i] = a[i] > b[i] ? x[i] : y[i];
    }
    return r;
}
static inline unsigned
vs_eq_bits(vs a, vs b)
{
    unsigned bits = 0;
    for (size_t i = 0; i < VS_LANES; i++) {
        bits |= (unsigned)(a[i] == b[i]) << i;
    }
    return bits;
}
static inline vs
vs_keep(vs a, unsigned bits, vs other)
{
    vs r = other;
    for (size_t i = 0; i < VS_LANES; i++) {
        r[i] = bits >> i & 1U ? a[i] : other[i];
    }
    return r;
}
static inline vs
vs_shift23(vs t)
{
    typedef uint32_t words __attribute__((vector_size(16)));
    return (vs)((words)t << 23);
}
static inline vs
vs_sign(vs a, vs b)
{
    return (vs)(((vs_bits_)a & 0x7fffffff) | ((vs_bits_)b & ~0x7fffffff));
}
static inline vs
vs_exponent(vs x)
{
    const vs_bits_ e = ((vs_bits_)x >> 23) - 127;
    return __builtin_convertvector(e, vs);
}
static inline vs
vs_mantissa(vs x)
{
    return (vs)(((vs_bits_)x & 0x007fffff) | 0x3f800000);
}
#endif

/* Largest lane; anything where a lane is NaN. */
static inline float
vs_top(vs a)
{
#if VS_LANES == 16
    return _mm512_reduce_max_ps(a);
#elif VS_LANES == 8
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
#else
    const float l = a[0] > a[2] ? a[0] : a[2];
    const float h = a[1] > a[3] ? a[1] : a[3];
    return l > h ? l : h;
#endif
}

/* The first n < VS_LANES lanes from memory, `other` in the rest. */
static inline vs
vs_load_else(const float *p, size_t n, vs other)
{
    return vs_keep(vs_load_mask(p, vs_first(n)), (1U << n) - 1U, other);
}

/* exp(t) for -88 <= t <= 0. */
static inline vs
vs_exp_near(vs t)
{
    const vs magic = vs_set(12582912.0F + 127.0F);
    const vs k = vs_fma(t, vs_set(1.44269504F), magic);
    const vs n = vs_sub(k, magic);
    const vs r = vs_fma(n, vs_set(-1.4286068e-6F), vs_fma(n, vs_set(-0.69314575F), t));
    vs p = vs_fma(r, vs_set(8.312501e-3F), vs_set(4.189033e-2F));
    p = vs_fma(p, r, vs_set(0.16667116F));
    p = vs_fma(p, r, vs_set(0.4999923F));
    p = vs_fma(p, r, vs_set(1.0F));
    p = vs_fma(p, r, vs_set(1.0F));
    return vs_mul(p, vs_shift23(k));
}

/* d, but not below where vs_exp_near gives 0; NaN stays. */
static inline vs
vs_exp_floor(vs d)
{
    return vs_max(vs_set(-88.0F), d);
}

static inline vs
vs_exp(vs d)
{
    return vs_exp_near(vs_exp_floor(d));
}

static inline vs
vs_log(vs x)
{
    const vs one = vs_set(1.0F);
    vs m = vs_mantissa(x);
    vs e = vs_exponent(x);
    const vs root = vs_set(1.41421356F);
    e = vs_if_gt(m, root, vs_add(e, one), e);
    m = vs_if_gt(m, root, vs_mul(m, vs_set(0.5F)), m);
    const vs s = vs_div(vs_sub(m, one), vs_add(m, one));
    const vs q = vs_mul(s, s);
    vs p = vs_fma(q, vs_set(2.0F / 9.0F), vs_set(2.0F / 7.0F));
    p = vs_fma(p, q, vs_set(2.0F / 5.0F));
    p = vs_fma(p, q, vs_set(2.0F / 3.0F));
    p = vs_fma(p, q, vs_set(2.0F));
    return vs_fma(e, vs_set(0.693147181F), vs_mul(p, s));
}

/* 2^n and p = exp(r) - 1 for -88 <= t <= 0. */
static inline vs
vs_exp_parts(vs t, vs *p)
{
    const vs magic = vs_set(12582912.0F + 127.0F);
    const vs k = vs_fma(t, vs_set(1.44269504F), magic);
    const vs n = vs_sub(k, magic);
    const vs r = vs_fma(n, vs_set(-1.4286068e-6F), vs_fma(n, vs_set(-0.69314575F), t));
    vs q = vs_fma(r, vs_set(1.9914166e-4F), vs_set(1.3941006e-3F));
    q = vs_fma(q, r, vs_set(8.333273e-3F));
    q = vs_fma(q, r, vs_set(4.1666355e-2F));
    q = vs_fma(q, r, vs_set(0.16666667F));
    q = vs_fma(q, r, vs_set(0.5F));
    *p = vs_fma(vs_mul(r, r), q, r);
    return vs_shift23(k);
}

static inline vs
vs_sigmoid(vs x)
{
    const vs zero = vs_set(0.0F);
    const vs one = vs_set(1.0F);
    vs p;
    const vs s = vs_exp_parts(vs_exp_floor(vs_sign(x, vs_set(-1.0F))), &p);
    const vs e = vs_fma(s, p, s);
    const vs e_low = vs_fma(s, p, vs_sub(s, e)); /* what the rounding of e dropped */
    const vs d = vs_add(one, e);
    const vs d_low = vs_add(vs_sub(e, vs_sub(d, one)), e_low);
    const vs top = vs_if_gt(zero, x, e, one);
    const vs top_low = vs_if_gt(zero, x, e_low, zero);
    const vs q = vs_div(top, d);
    const vs left = vs_fma(vs_sub(zero, q), d, top);
    const vs rest = vs_add(left, vs_sub(top_low, vs_mul(q, d_low)));
    return vs_fma(rest, vs_if_gt(zero, x, vs_sub(one, q), q), q); /* 1 / d is q or 1 - q */
}

static inline vs
vs_tanh(vs x)
{
    vs p;
    const vs t = vs_mul(vs_set(2.0F), vs_sign(x, vs_set(-1.0F)));
    const vs s = vs_exp_parts(vs_exp_floor(t), &p);
    const vs m = vs_fma(s, p, vs_sub(s, vs_set(1.0F)));
    return vs_sign(vs_div(m, vs_add(vs_set(2.0F), m)), x);
}

#endif
