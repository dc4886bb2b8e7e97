/* Floats in vectors, one vocabulary for every instruction-set level; for files compiled per level.
 *
 * The level is the one of the including file's own compiler flags. VS_LANES is 16 (AVX-512), 8
 * (AVX2) or 4 (portable, the compilers' vector extension). vs_fma is one rounding where the level
 * has the instruction and two in the portable path, so float results differ between levels in the
 * last bits, never within one: a masked lane computes exactly what a full one does. Only static
 * inline functions: each level's object keeps its own copy.
 *
 * A vs_mask selects the first n lanes of a vector: masked loads give zero elsewhere and read
 * nothing there, masked stores leave the rest alone.
 */
#ifndef DNS_VEC_F32_H
#define DNS_VEC_F32_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#include <immintrin.h>
#define VS_LANES 16UL
typedef __m512 vs;
typedef __mmask16 vs_mask;

static inline vs
vs_set(float x)
{
    return _mm512_set1_ps(x);
}
static inline vs
vs_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
static inline void
vs_store(float *p, vs a)
{
    _mm512_storeu_ps(p, a);
}
static inline vs_mask
vs_first(size_t n)
{
    return (vs_mask)(n >= VS_LANES ? 0xffffU : (1U << n) - 1U);
}
static inline vs
vs_load_mask(const float *p, vs_mask m)
{
    return _mm512_maskz_loadu_ps(m, p);
}
static inline void
vs_store_mask(float *p, vs a, vs_mask m)
{
    _mm512_mask_storeu_ps(p, m, a);
}
static inline vs
vs_add(vs a, vs b)
{
    return _mm512_add_ps(a, b);
}
static inline vs
vs_sub(vs a, vs b)
{
    return _mm512_sub_ps(a, b);
}
static inline vs
vs_mul(vs a, vs b)
{
    return _mm512_mul_ps(a, b);
}
/* a * b + c */
static inline vs
vs_fma(vs a, vs b, vs c)
{
    return _mm512_fmadd_ps(a, b, c);
}
/* Larger and smaller of two; b where either is NaN or both are zero. */
static inline vs
vs_max(vs a, vs b)
{
    return _mm512_max_ps(a, b);
}
static inline vs
vs_min(vs a, vs b)
{
    return _mm512_min_ps(a, b);
}
/* Sum of the lanes, by halves: ((l0 + l8) + (l4 + l12)) + ... */
static inline float
vs_sum(vs a)
{
    return _mm512_reduce_add_ps(a);
}

#elif defined(__AVX2__)
#include <immintrin.h>
#define VS_LANES 8UL
typedef __m256 vs;
typedef __m256i vs_mask;

static inline vs
vs_set(float x)
{
    return _mm256_set1_ps(x);
}
static inline vs
vs_load(const float *p)
{
    return _mm256_loadu_ps(p);
}
static inline void
vs_store(float *p, vs a)
{
    _mm256_storeu_ps(p, a);
}
static inline vs_mask
vs_first(size_t n)
{
    static const int32_t ones[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
    return _mm256_loadu_si256((const __m256i *)(ones + 8 - (n < VS_LANES ? n : VS_LANES)));
}
static inline vs
vs_load_mask(const float *p, vs_mask m)
{
    return _mm256_maskload_ps(p, m);
}
static inline void
vs_store_mask(float *p, vs a, vs_mask m)
{
    _mm256_maskstore_ps(p, m, a);
}
static inline vs
vs_add(vs a, vs b)
{
    return _mm256_add_ps(a, b);
}
static inline vs
vs_sub(vs a, vs b)
{
    return _mm256_sub_ps(a, b);
}
static inline vs
vs_mul(vs a, vs b)
{
    return _mm256_mul_ps(a, b);
}
static inline vs
vs_fma(vs a, vs b, vs c)
{
    return _mm256_fmadd_ps(a, b, c);
}
static inline vs
vs_max(vs a, vs b)
{
    return _mm256_max_ps(a, b);
}
static inline vs
vs_min(vs a, vs b)
{
    return _mm256_min_ps(a, b);
}
static inline float
vs_sum(vs a)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

#else
#define VS_LANES 4UL
typedef float vs __attribute__((vector_size(16)));
typedef size_t vs_mask; /* number of lanes */

static inline vs
vs_set(float x)
{
    return (vs){x, x, x, x};
}
static inline vs
vs_load(const float *p)
{
    vs a;
    memcpy(&a, p, sizeof a);
    return a;
}
static inline void
vs_store(float *p, vs a)
{
    memcpy(p, &a, sizeof a);
}
static inline vs_mask
vs_first(size_t n)
{
    return n < VS_LANES ? n : VS_LANES;
}
static inline vs
vs_load_mask(const float *p, vs_mask m)
{
    vs a = vs_set(0.0F);
    for (size_t i = 0; i < m; i++) {
        a[i] = p[i];
    }
    return a;
}
static inline void
vs_store_mask(float *p, vs a, vs_mask m)
{
    for (size_t i = 0; i < m; i++) {
        p[i] = a[i];
    }
}
static inline vs
vs_add(vs a, vs b)
{
    return a + b;
}
static inline vs
vs_sub(vs a, vs b)
{
    return a - b;
}
static inline vs
vs_mul(vs a, vs b)
{
    return a * b;
}
static inline vs
vs_fma(vs a, vs b, vs c)
{
    return a * b + c;
}
static inline vs
vs_max(vs a, vs b)
{
    vs r = b;
    for (size_t i = 0; i < VS_LANES; i++) {
        r[i] = a[i] > b[i] ? a[i] : b[i];
    }
    return r;
}
static inline vs
vs_min(vs a, vs b)
{
    vs r = b;
    for (size_t i = 0; i < VS_LANES; i++) {
        r[i] = a[i] < b[i] ? a[i] : b[i];
    }
    return r;
}
static inline float
vs_sum(vs a)
{
    return (a[0] + a[2]) + (a[1] + a[3]);
}
#endif

/* All lanes, or the first n of them. */
static inline vs
vs_load_part(const float *p, size_t n)
{
    return n >= VS_LANES ? vs_load(p) : vs_load_mask(p, vs_first(n));
}
static inline void
vs_store_part(float *p, vs a, size_t n)
{
    if (n >= VS_LANES) {
        vs_store(p, a);
    }
    else {
        vs_store_mask(p, a, vs_first(n));
    }
}

/* One float as the lanes compute it. */
static inline float
vs_fma1(float a, float b, float c)
{
#if VS_LANES > 4
    return _mm_cvtss_f32(_mm_fmadd_ss(_mm_set_ss(a), _mm_set_ss(b), _mm_set_ss(c)));
#else
    return a * b + c;
#endif
}

/* v held between lo and hi; NaN stays, -0 is not less than 0. */
static inline vs
vs_clamp(vs v, vs lo, vs hi)
{
    return vs_min(hi, vs_max(lo, v));
}
static inline float
vs_clamp1(float v, float lo, float hi)
{
    v = lo > v ? lo : v;
    return hi < v ? hi : v;
}

#endif
