/* Loads of some lanes that need not begin at the first; beside vec_f32.h. */
#ifndef DNS_VEC_SPAN_H
#define DNS_VEC_SPAN_H

#include "kernels/vec_f32.h"

/* The positions [begin, end) of a line of 32, of which a vector sees VS_LANES at a time. */
#if VS_LANES == 16
typedef uint32_t vs_span;
#else
typedef struct vs_span {
    int32_t begin, end;
} vs_span;
#endif

/* 0 <= begin, end <= 31; none when end <= begin. */
static inline vs_span
vs_between(int32_t begin, int32_t end)
{
#if VS_LANES == 16
    return ((1U << end) - 1U) & ~((1U << begin) - 1U);
#else
    return (vs_span){begin, end};
#endif
}

/* p[lane] in the lanes whose position first + lane is in m, zeros elsewhere; reads nothing there.
 * The address is a number because p itself may lie outside the object. */
static inline __attribute__((always_inline)) vs
vs_load_span(uintptr_t p, vs_span m, int32_t first)
{
#if VS_LANES == 16
    return _mm512_maskz_loadu_ps((__mmask16)(m >> first), (const float *)p);
#elif VS_LANES == 8
    const __m256i at =
        _mm256_add_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(first));
    const __m256i low = _mm256_cmpgt_epi32(_mm256_set1_epi32(m.begin), at);
    const __m256i high = _mm256_cmpgt_epi32(_mm256_set1_epi32(m.end), at);
    return _mm256_maskload_ps((const float *)p, _mm256_andnot_si256(low, high));
#else
    if (m.begin <= first && first + (int32_t)VS_LANES <= m.end) {
        return vs_load((const float *)p);
    }
    vs a = vs_set(0.0F);
    for (int32_t i = 0; i < (int32_t)VS_LANES; i++) {
        if (i + first >= m.begin && i + first < m.end) {
            a[i] = ((const float *)p)[i];
        }
    }
    return a;
#endif
}

#endif
