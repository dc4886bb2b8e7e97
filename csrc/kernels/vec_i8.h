/* Byte products summed into 32-bit lanes, one vocabulary for every instruction-set level; for files
 * compiled per level.
 *
 * VB_LANES is 16 (AVX-512), 8 (AVX2) or 4 (portable) lanes of four bytes. vb_dot adds to each lane
 * the products of its four unsigned and four signed bytes, exactly as long as every unsigned byte
 * is at most VB_DOT_MAX: 255 where the level has vpdpbusd or does without vectors, else 128,
 * because vpmaddubsw saturates sums of two products beyond 16 bits (128 * 127 * 2 = 32512 and 128 *
 * -128 * 2 = -32768 fit). Lanes wrap modulo 2^32. Only static inline functions.
 */
#ifndef DNS_VEC_I8_H
#define DNS_VEC_I8_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Four bytes as a lane holds them. */
static inline int32_t
vb_word(const void *p)
{
    int32_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#include <immintrin.h>
#define VB_LANES 16UL
typedef __m512i vb;

static inline vb
vb_set(int32_t x)
{
    return _mm512_set1_epi32(x);
}
static inline vb
vb_load(const void *p)
{
    return _mm512_loadu_si512(p);
}
static inline void
vb_store(void *p, vb a)
{
    _mm512_storeu_si512(p, a);
}
static inline vb
vb_and(vb a, vb b)
{
    return _mm512_and_si512(a, b);
}
static inline vb
vb_add(vb a, vb b)
{
    return _mm512_add_epi32(a, b);
}
/* Lanes shifted right: with their sign, and as bit strings. */
static inline vb
vb_sra(vb a, int n)
{
    return _mm512_sra_epi32(a, _mm_cvtsi32_si128(n));
}
static inline vb
vb_srl(vb a, int n)
{
    return _mm512_srl_epi32(a, _mm_cvtsi32_si128(n));
}
static inline vb
vb_sll(vb a, int n)
{
    return _mm512_sll_epi32(a, _mm_cvtsi32_si128(n));
}
/* Lanes rotated left, and bits of a where mask has ones, of b elsewhere. */
static inline vb
vb_rol(vb a, int n)
{
    return _mm512_rolv_epi32(a, _mm512_set1_epi32(n));
}
static inline vb
vb_select(vb mask, vb a, vb b)
{
    return _mm512_ternarylogic_epi32(mask, a, b, 0xca);
}
static inline int32_t
vb_sum(vb a)
{
    return _mm512_reduce_add_epi32(a);
}
/* The sums of four vectors' lanes. */
static inline void
vb_sum4(vb a, vb b, vb c, vb d, int32_t out[4])
{
    const vb ab = vb_add(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    const vb cd = vb_add(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    const vb s = vb_add(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    const __m256i half =
        _mm256_add_epi32(_mm512_castsi512_si256(s), _mm512_extracti64x4_epi64(s, 1));
    _mm_storeu_si128((__m128i *)out, _mm_add_epi32(_mm256_castsi256_si128(half),
                                                   _mm256_extracti128_si256(half, 1)));
}
#if defined(__AVX512VNNI__)
#define VB_DOT_MAX 255
static inline vb
vb_dot(vb acc, vb u, vb s)
{
    return _mm512_dpbusd_epi32(acc, u, s);
}
#else
#define VB_DOT_MAX 128
static inline vb
vb_dot(vb acc, vb u, vb s)
{
    const __m512i pairs = _mm512_maddubs_epi16(u, s);
    return _mm512_add_epi32(acc, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
}
#endif

#elif defined(__AVX2__)
#include <immintrin.h>
#define VB_LANES 8UL
#define VB_DOT_MAX 128
typedef __m256i vb;

static inline vb
vb_set(int32_t x)
{
    return _mm256_set1_epi32(x);
}
static inline vb
vb_load(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}
static inline void
vb_store(void *p, vb a)
{
    _mm256_storeu_si256((__m256i *)p, a);
}
static inline vb
vb_and(vb a, vb b)
{
    return _mm256_and_si256(a, b);
}
static inline vb
vb_add(vb a, vb b)
{
    return _mm256_add_epi32(a, b);
}
static inline vb
vb_sra(vb a, int n)
{
    return _mm256_sra_epi32(a, _mm_cvtsi32_si128(n));
}
static inline vb
vb_srl(vb a, int n)
{
    return _mm256_srl_epi32(a, _mm_cvtsi32_si128(n));
}
static inline vb
vb_sll(vb a, int n)
{
    return _mm256_sll_epi32(a, _mm_cvtsi32_si128(n));
}
static inline vb
vb_rol(vb a, int n)
{
    return _mm256_or_si256(vb_sll(a, n), vb_srl(a, 32 - n));
}
static inline vb
vb_select(vb mask, vb a, vb b)
{
    return _mm256_or_si256(_mm256_and_si256(mask, a), _mm256_andnot_si256(mask, b));
}
static inline void
vb_sum4(vb a, vb b, vb c, vb d, int32_t out[4])
{
    const vb s = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
    _mm_storeu_si128((__m128i *)out,
                     _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1)));
}
static inline int32_t
vb_sum(vb a)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}
static inline vb
vb_dot(vb acc, vb u, vb s)
{
    const __m256i pairs = _mm256_maddubs_epi16(u, s);
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

#else
#define VB_LANES 4UL
#define VB_DOT_MAX 255
typedef uint32_t vb __attribute__((vector_size(16)));

static inline vb
vb_set(int32_t x)
{
    const uint32_t u = (uint32_t)x;
    return (vb){u, u, u, u};
}
static inline vb
vb_load(const void *p)
{
    vb a;
    memcpy(&a, p, sizeof a);
    return a;
}
static inline void
vb_store(void *p, vb a)
{
    memcpy(p, &a, sizeof a);
}
static inline vb
vb_and(vb a, vb b)
{
    return a & b;
}
static inline vb
vb_add(vb a, vb b)
{
    return a + b;
}
static inline vb
vb_sra(vb a, int n)
{
    typedef int32_t lanes __attribute__((vector_size(16)));
    return (vb)((lanes)a >> n);
}
static inline vb
vb_srl(vb a, int n)
{
    return a >> n;
}
static inline vb
vb_sll(vb a, int n)
{
    return a << n;
}
static inline vb
vb_rol(vb a, int n)
{
    return a << n | a >> (32 - n);
}
static inline vb
vb_select(vb mask, vb a, vb b)
{
    return (mask & a) | (~mask & b);
}
static inline int32_t
vb_sum(vb a)
{
    return (int32_t)((a[0] + a[2]) + (a[1] + a[3]));
}
static inline void
vb_sum4(vb a, vb b, vb c, vb d, int32_t out[4])
{
    out[0] = vb_sum(a);
    out[1] = vb_sum(b);
    out[2] = vb_sum(c);
    out[3] = vb_sum(d);
}
static inline vb
vb_dot(vb acc, vb u, vb s)
{
    uint8_t a[16];
    int8_t b[16];
    /* cppcheck-suppress bufferAccessOutOfBounds ; as many bytes as the vector has */
    memcpy(a, &u, sizeof a);
    /* cppcheck-suppress bufferAccessOutOfBounds ; likewise */
    memcpy(b, &s, sizeof b);
    for (size_t l = 0; l < VB_LANES; l++) {
        int32_t sum = 0;
        for (size_t i = 4 * l; i < 4 * l + 4; i++) {
            sum += a[i] * b[i];
        }
        acc[l] += (uint32_t)sum;
    }
    return acc;
}
#endif

#define VB_BYTES (4 * VB_LANES)

#endif
