/* Complex vectors, real and imaginary parts apart; for files compiled per level, beside vec_f32.h.
 */
#ifndef DNS_VEC_COMPLEX_H
#define DNS_VEC_COMPLEX_H

#include "kernels/vec_f32.h"

#define VC_INLINE static inline __attribute__((always_inline))
#define VC_FLOATS (2 * VS_LANES) /* of one complex vector */

typedef struct vc {
    vs re, im;
} vc;

/* c - a * b, rounded as vs_fma. */
VC_INLINE vs
vs_fnma(vs a, vs b, vs c)
{
#if VS_LANES == 16
    return _mm512_fnmadd_ps(a, b, c);
#elif VS_LANES == 8
    return _mm256_fnmadd_ps(a, b, c);
#else
    return c - a * b;
#endif
}

/* Lanes backwards. */
VC_INLINE vs
vs_reverse(vs a)
{
#if VS_LANES == 16
    const __m512i order = _mm512_set_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return _mm512_permutexvar_ps(order, a);
#elif VS_LANES == 8
    return _mm256_permutevar8x32_ps(a, _mm256_set_epi32(0, 1, 2, 3, 4, 5, 6, 7));
#else
    return (vs){a[3], a[2], a[1], a[0]};
#endif
}

/* Numbers from vectors of pairs (re, im), and back. */
VC_INLINE vc
vc_unzip(vs a, vs b)
{
#if VS_LANES == 16
    const __m512i even =
        _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i odd = _mm512_set_epi32(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
    return (vc){_mm512_permutex2var_ps(a, even, b), _mm512_permutex2var_ps(a, odd, b)};
#elif VS_LANES == 8
    const __m256 low = _mm256_permute2f128_ps(a, b, 0x20);
    const __m256 high = _mm256_permute2f128_ps(a, b, 0x31);
    return (vc){_mm256_shuffle_ps(low, high, 0x88), _mm256_shuffle_ps(low, high, 0xdd)};
#else
    return (vc){{a[0], a[2], b[0], b[2]}, {a[1], a[3], b[1], b[3]}};
#endif
}
VC_INLINE void
vc_zip(vc v, vs *a, vs *b)
{
#if VS_LANES == 16
    const __m512i low = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    const __m512i high =
        _mm512_set_epi32(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8);
    *a = _mm512_permutex2var_ps(v.re, low, v.im);
    *b = _mm512_permutex2var_ps(v.re, high, v.im);
#elif VS_LANES == 8
    const __m256 low = _mm256_unpacklo_ps(v.re, v.im);
    const __m256 high = _mm256_unpackhi_ps(v.re, v.im);
    *a = _mm256_permute2f128_ps(low, high, 0x20);
    *b = _mm256_permute2f128_ps(low, high, 0x31);
#else
    *a = (vs){v.re[0], v.im[0], v.re[1], v.im[1]};
    *b = (vs){v.re[2], v.im[2], v.re[3], v.im[3]};
#endif
}

/* Planar: VS_LANES real parts, then the imaginary ones. */
VC_INLINE vc
vc_load(const float *p)
{
    return (vc){vs_load(p), vs_load(p + VS_LANES)};
}
VC_INLINE void
vc_store(float *p, vc a)
{
    vs_store(p, a.re);
    vs_store(p + VS_LANES, a.im);
}

/* Pairs: the first n <= VS_LANES numbers; absent ones are zero and not written. */
VC_INLINE vc
vc_load_pairs(const float *p, size_t n)
{
    if (n >= VS_LANES) {
        return vc_unzip(vs_load(p), vs_load(p + VS_LANES));
    }
    const vs a = vs_load_part(p, 2 * n);
    return vc_unzip(a, 2 * n > VS_LANES ? vs_load_part(p + VS_LANES, 2 * n - VS_LANES) : vs_set(0));
}
VC_INLINE void
vc_store_pairs(float *p, vc v, size_t n)
{
    vs a;
    vs b;
    vc_zip(v, &a, &b);
    vs_store_part(p, a, 2 * n);
    if (2 * n > VS_LANES) {
        vs_store_part(p + VS_LANES, b, 2 * n - VS_LANES);
    }
}

VC_INLINE vc
vc_add(vc a, vc b)
{
    return (vc){vs_add(a.re, b.re), vs_add(a.im, b.im)};
}
VC_INLINE vc
vc_sub(vc a, vc b)
{
    return (vc){vs_sub(a.re, b.re), vs_sub(a.im, b.im)};
}
/* -i (a - b) */
VC_INLINE vc
vc_sub_turned(vc a, vc b)
{
    return (vc){vs_sub(a.im, b.im), vs_sub(b.re, a.re)};
}
/* a (c + i s) */
VC_INLINE vc
vc_mul(vc a, vs c, vs s)
{
    return (vc){vs_fnma(a.im, s, vs_mul(a.re, c)), vs_fma(a.re, s, vs_mul(a.im, c))};
}
VC_INLINE vc
vc_reverse(vc a)
{
    return (vc){vs_reverse(a.re), vs_reverse(a.im)};
}

#endif
