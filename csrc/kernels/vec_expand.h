/* Packed values times a vector, for the lanes that a mask picks. */
#ifndef DNS_VEC_EXPAND_H
#define DNS_VEC_EXPAND_H

#include "kernels/vec_f32.h"

/* acc + v * x in the lanes of `mask`, where v is the next of the values at p for each lane in
 * ascending order; the other lanes keep acc. The low VS_LANES bits count. May read p[0 ..
 * VS_LANES), reads of x the lanes of the mask only. */
static inline __attribute__((always_inline)) vs
vs_fma_expand(const float *p, uint32_t mask, const float *x, vs acc)
{
#if VS_LANES == 16
    const __mmask16 m = (__mmask16)mask;
    const vs v = _mm512_maskz_expand_ps(m, _mm512_loadu_ps(p));
    return _mm512_mask3_fmadd_ps(v, _mm512_maskz_loadu_ps(m, x), acc, m);
#elif VS_LANES == 8
    /* A byte per lane; prefix sums of the bytes by one multiplication are the lanes' places. */
    const uint64_t bytes = _pdep_u64(mask, 0x0101010101010101U);
    const __m128i place = _mm_cvtsi64_si128((long long)(bytes * 0x0101010101010101U << 8));
    const __m128i picked = _mm_cvtsi64_si128((long long)(bytes * 0xff));
    const __m256i m = _mm256_cvtepi8_epi32(picked);
    const vs v = _mm256_permutevar8x32_ps(vs_load(p), _mm256_cvtepu8_epi32(place));
    return _mm256_blendv_ps(acc, vs_fma(v, _mm256_maskload_ps(x, m), acc), _mm256_castsi256_ps(m));
#else
    for (size_t i = 0; i < VS_LANES; i++) {
        if (mask >> i & 1) {
            acc[i] = *p++ * x[i] + acc[i];
        }
    }
    return acc;
#endif
}

/* Lane l is element codes >> 2l & 3 of the four lanes l - l % 4 and following. */
static inline vs
vs_pick4(vs x, uint32_t codes)
{
#if VS_LANES == 16
    const __m512i shift =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    return _mm512_permutevar_ps(x, _mm512_srlv_epi32(_mm512_set1_epi32((int)codes), shift));
#elif VS_LANES == 8
    const __m256i shift = _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14);
    return _mm256_permutevar_ps(x, _mm256_srlv_epi32(_mm256_set1_epi32((int)codes), shift));
#else
    return (vs){x[codes & 3], x[codes >> 2 & 3], x[codes >> 4 & 3], x[codes >> 6 & 3]};
#endif
}

/* out[i] = sum of the lanes l with l % 4 == i, by halves. */
static inline void
vs_sum_by4(vs a, float *out)
{
#if VS_LANES == 16
    const __m256 low = _mm512_castps512_ps256(a);
    const __m256 b = _mm256_add_ps(low, _mm512_extractf32x8_ps(a, 1));
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1)));
#elif VS_LANES == 8
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1)));
#else
    vs_store(out, a);
#endif
}

#if VS_LANES == 16
/* Lane l is element columns[l] % 32 of the 32 that lo and hi hold; reads 16 columns. */
static inline vs
vs_pick32(vs lo, vs hi, const uint8_t *columns)
{
    const __m128i bytes = _mm_loadu_si128((const __m128i *)columns);
    return _mm512_permutex2var_ps(lo, _mm512_cvtepu8_epi32(bytes), hi);
}
#endif

#endif
