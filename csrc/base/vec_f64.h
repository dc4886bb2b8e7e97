/* Doubles in vectors, one vocabulary for every instruction-set level; for files compiled per level.
 * Lanes compute exactly what scalar code computes (no fused multiply-add), so any lane count gives
 * the same bytes. Only static inline functions: each level's object keeps its own copy. */
#ifndef DNS_VEC_F64_H
#define DNS_VEC_F64_H

#include <stdint.h>

#if defined(__AVX512F__)
#include <immintrin.h>
#define VF_N 8
typedef __m512d vf;
typedef __m512i vi;
static inline vf
vf_load(const double *p)
{
    return _mm512_loadu_pd(p);
}
static inline void
vf_store(double *p, vf a)
{
    _mm512_storeu_pd(p, a);
}
static inline void
vi_store(int64_t *p, vi a)
{
    _mm512_storeu_si512(p, a);
}
static inline vf
vf_set(double x)
{
    return _mm512_set1_pd(x);
}
static inline vf
vf_add(vf a, vf b)
{
    return _mm512_add_pd(a, b);
}
static inline vf
vf_sub(vf a, vf b)
{
    return _mm512_sub_pd(a, b);
}
static inline vf
vf_mul(vf a, vf b)
{
    return _mm512_mul_pd(a, b);
}
static inline vf
vf_plus(vf a)
{
    return _mm512_max_pd(a, _mm512_setzero_pd());
} /* max(a, 0) */
static inline vi
vi_set(int64_t x)
{
    return _mm512_set1_epi64(x);
}
static inline unsigned
vf_mask_le(vf a, vf b)
{
    return _mm512_cmp_pd_mask(a, b, _CMP_LE_OQ);
} /* bit l: a <= b in lane l */
/* Where a < *best: *best = a, *at = i. */
static inline void
vf_least(vf a, vi i, vf *best, vi *at)
{
    const __mmask8 m = _mm512_cmp_pd_mask(a, *best, _CMP_LT_OQ);
    *best = _mm512_mask_mov_pd(*best, m, a);
    *at = _mm512_mask_mov_epi64(*at, m, i);
}
#elif defined(__AVX2__)
#include <immintrin.h>
#define VF_N 4
typedef __m256d vf;
typedef __m256i vi;
static inline vf
vf_load(const double *p)
{
    return _mm256_loadu_pd(p);
}
static inline void
vf_store(double *p, vf a)
{
    _mm256_storeu_pd(p, a);
}
static inline void
vi_store(int64_t *p, vi a)
{
    _mm256_storeu_si256((__m256i *)p, a);
}
static inline vf
vf_set(double x)
{
    return _mm256_set1_pd(x);
}
static inline vf
vf_add(vf a, vf b)
{
    return _mm256_add_pd(a, b);
}
static inline vf
vf_sub(vf a, vf b)
{
    return _mm256_sub_pd(a, b);
}
static inline vf
vf_mul(vf a, vf b)
{
    return _mm256_mul_pd(a, b);
}
static inline vf
vf_plus(vf a)
{
    return _mm256_max_pd(a, _mm256_setzero_pd());
}
static inline vi
vi_set(int64_t x)
{
    return _mm256_set1_epi64x(x);
}
static inline unsigned
vf_mask_le(vf a, vf b)
{
    return (unsigned)_mm256_movemask_pd(_mm256_cmp_pd(a, b, _CMP_LE_OQ));
}
static inline void
vf_least(vf a, vi i, vf *best, vi *at)
{
    const __m256d m = _mm256_cmp_pd(a, *best, _CMP_LT_OQ);
    *best = _mm256_blendv_pd(*best, a, m);
    *at =
        _mm256_castpd_si256(_mm256_blendv_pd(_mm256_castsi256_pd(*at), _mm256_castsi256_pd(i), m));
}
#else
#define VF_N 1
typedef double vf;
typedef int64_t vi;
static inline vf
vf_load(const double *p)
{
    return *p;
}
static inline void
vf_store(double *p, vf a)
{
    *p = a;
}
static inline void
vi_store(int64_t *p, vi a)
{
    *p = a;
}
static inline vf
vf_set(double x)
{
    return x;
}
static inline vf
vf_add(vf a, vf b)
{
    return a + b;
}
static inline vf
vf_sub(vf a, vf b)
{
    return a - b;
}
static inline vf
vf_mul(vf a, vf b)
{
    return a * b;
}
static inline vf
vf_plus(vf a)
{
    return a > 0.0 ? a : 0.0;
}
static inline vi
vi_set(int64_t x)
{
    return x;
}
static inline unsigned
vf_mask_le(vf a, vf b)
{
    return a <= b;
}
static inline void
vf_least(vf a, vi i, vf *best, vi *at)
{
    const int m = a < *best;
    *best = m ? a : *best;
    *at = m ? i : *at;
}
#endif

#endif
