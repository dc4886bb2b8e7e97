/* Sums over the lanes of several vectors at once; for files compiled per level, beside vec_f32.h.
 *
 * A pair of vectors is halved at a time: the halves that stay in place are blended, those that
 * change places shuffled, and one addition serves both vectors. The order is that of no other sum.
 */
#ifndef DNS_VEC_SUMS_H
#define DNS_VEC_SUMS_H

#include "kernels/vec_f32.h"

#if VS_LANES == 16
/* Quarter q of the result is, in each of its lanes j, the sum of quarter q of a[j]. */
static inline __attribute__((always_inline)) vs
vs_quarters_(const vs *a)
{
    const vs ab = _mm512_add_ps(_mm512_mask_blend_ps(0xcccc, a[0], a[1]),
                                _mm512_shuffle_ps(a[0], a[1], 0x4e));
    const vs cd = _mm512_add_ps(_mm512_mask_blend_ps(0xcccc, a[2], a[3]),
                                _mm512_shuffle_ps(a[2], a[3], 0x4e));
    return _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x88), _mm512_shuffle_ps(ab, cd, 0xdd));
}
/* Lane j of the result is the sum of the lanes of a[j]. */
static inline __attribute__((always_inline)) vs
vs_sums(const vs *a)
{
    vs t[4];
    for (size_t i = 0; i < 4; i++) {
        t[i] = vs_quarters_(a + 4 * i);
    }
    const vs x = _mm512_add_ps(_mm512_mask_blend_ps(0xff00, t[0], t[1]),
                               _mm512_shuffle_f32x4(t[0], t[1], 0x4e));
    const vs y = _mm512_add_ps(_mm512_mask_blend_ps(0xff00, t[2], t[3]),
                               _mm512_shuffle_f32x4(t[2], t[3], 0x4e));
    return _mm512_add_ps(_mm512_shuffle_f32x4(x, y, 0x88), _mm512_shuffle_f32x4(x, y, 0xdd));
}
/* The sums of four vectors, added in the same order, times scale; the first n <= 4 are stored. */
static inline __attribute__((always_inline)) void
vs_sums4(const vs *a, float scale, float *to, size_t n)
{
    const vs t = vs_quarters_(a);
    const __m256 h = _mm256_add_ps(_mm512_castps512_ps256(t), _mm512_extractf32x8_ps(t, 1));
    const __m128 s = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    _mm_mask_storeu_ps(to, (__mmask8)((1U << n) - 1U), _mm_mul_ps(s, _mm_set1_ps(scale)));
}
#elif VS_LANES == 8
static inline __attribute__((always_inline)) vs
vs_halves_(const vs *a)
{
    const vs ab =
        _mm256_add_ps(_mm256_blend_ps(a[0], a[1], 0xcc), _mm256_shuffle_ps(a[0], a[1], 0x4e));
    const vs cd =
        _mm256_add_ps(_mm256_blend_ps(a[2], a[3], 0xcc), _mm256_shuffle_ps(a[2], a[3], 0x4e));
    return _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x88), _mm256_shuffle_ps(ab, cd, 0xdd));
}
static inline __attribute__((always_inline)) vs
vs_sums(const vs *a)
{
    const vs x = vs_halves_(a);
    const vs y = vs_halves_(a + 4);
    return _mm256_add_ps(_mm256_blend_ps(x, y, 0xf0), _mm256_permute2f128_ps(x, y, 0x21));
}
static inline __attribute__((always_inline)) void
vs_sums4(const vs *a, float scale, float *to, size_t n)
{
    const vs t = vs_halves_(a);
    const __m128 s = _mm_add_ps(_mm256_castps256_ps128(t), _mm256_extractf128_ps(t, 1));
    _mm_maskstore_ps(to, _mm256_castsi256_si128(vs_first(n)), _mm_mul_ps(s, _mm_set1_ps(scale)));
}
#else
static inline vs
vs_sums(const vs *a)
{
    return (vs){vs_sum(a[0]), vs_sum(a[1]), vs_sum(a[2]), vs_sum(a[3])};
}
static inline void
vs_sums4(const vs *a, float scale, float *to, size_t n)
{
    vs_store_part(to, vs_mul(vs_sums(a), vs_set(scale)), n);
}
#endif

#endif
