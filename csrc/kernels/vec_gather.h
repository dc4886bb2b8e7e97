/* Vectors gathered by 16-bit indices; for files compiled per level, beside vec_f32.h. */
#ifndef DNS_VEC_GATHER_H
#define DNS_VEC_GATHER_H

#include "kernels/vec_f32.h"

/* x[at[i]] in lane i. */
static inline vs
vs_gather(const float *x, const uint16_t *at)
{
#if VS_LANES == 16
    const __m512i i = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)at));
    return _mm512_i32gather_ps(i, x, sizeof *x);
#elif VS_LANES == 8
    const __m256i i = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)at));
    return _mm256_i32gather_ps(x, i, sizeof *x);
#else
    return (vs){x[at[0]], x[at[1]], x[at[2]], x[at[3]]};
#endif
}

/* The first n < VS_LANES lanes, zeros in the rest, for which nothing is read. */
static inline vs
vs_gather_part(const float *x, const uint16_t *at, size_t n)
{
    float some[VS_LANES] = {0.0F};
    for (size_t i = 0; i < n; i++) {
        some[i] = x[at[i]];
    }
    return vs_load(some);
}

#endif
