/* Products with bit planes over vec_i8.h, for nbp_isa.c and nbp_vnni.c.
 *
 * Columns come in chunks of 512. A plane of f-bit fields holds a chunk in 8 f vectors of 64 bytes;
 * byte i of vector v has 8 / f fields, field j for column (v * 8 / f + j) * 64 + i. So a field is
 * taken out by one AND and multiplied in place: a mask at bit s gives 2^s times the field, sums of
 * products of bytes stay exact, and every position has its own accumulator, which is shifted into
 * place once per row. That is two instructions per 64 weights and plane with vpdpbusd, and no code
 * is ever rebuilt. Planes: bits 7 and 6 of the code (f = 2), 5 (f = 1), 4 (f = 1), 3 to 0 (f = 4).
 * Where byte products saturate (VB_DOT_MAX 128) a field at the top is shifted down before.
 */
#ifndef DNS_NBP_BODY_H
#define DNS_NBP_BODY_H

#include "kernels/nbp_internal.h"
#include "kernels/vec.h"
#include "kernels/vec_i8.h"

#define INLINE static inline __attribute__((always_inline))

/* All bytes equal. */
INLINE vb
bytes(uint32_t byte)
{
    return vb_set((int32_t)(byte * 0x01010101U));
}

/* acc 2^shift, shift of either sign; a right shift is exact. */
INLINE vb
scaled(vb acc, int shift)
{
    return shift >= 0 ? vb_sll(acc, shift) : vb_sra(acc, -shift);
}

/* Sum over a plane of f-bit fields whose lowest bit has weight 2^place, in lanes. */
INLINE vb
plane_sum(const uint8_t *plane, uint32_t mask, const int8_t *x, size_t chunks, size_t f, int place)
{
    const size_t fields = 8 / f;
    vb acc[8];
#pragma GCC unroll 8
    for (size_t a = 0; a < 8; a++) {
        acc[a] = vb_set(0);
    }
    for (size_t c = 0; c < chunks; c++) {
        vu_prefetch(plane, 2048, 64 * f);
        for (size_t h = 0; h < NBP_BLOCK; h += VB_BYTES) {
#pragma GCC unroll 8
            for (size_t a = 0; a < 8; a++) {
                const size_t v = a / fields;
                const size_t j = a % fields;
                const vb word = vb_load(plane + v * NBP_BLOCK + h);
                const vb in = vb_load(x + a * NBP_BLOCK + h);
                const bool top = VB_DOT_MAX < 255 && f > 1 && j == fields - 1;
                const vb field = top ? vb_and(vb_srl(word, (int)(f * j)), bytes(mask))
                                     : vb_and(word, bytes(mask << f * j & 255U));
                acc[a] = vb_dot(acc[a], field, in);
            }
        }
        plane += NBP_BLOCK * f;
        x += NBP_CHUNK;
    }
    vb sum = vb_set(0);
#pragma GCC unroll 8
    for (size_t a = 0; a < 8; a++) {
        const size_t j = a % fields;
        const bool top = VB_DOT_MAX < 255 && f > 1 && j == fields - 1;
        sum = vb_add(sum, scaled(acc[a], place - (top ? 0 : (int)(f * j))));
    }
    return sum;
}

static inline int32_t
sum(const nbp_row *row, const int8_t *x, size_t chunks)
{
    vb s = plane_sum(row->plane[0], row->mask[0], x, chunks, 2, 6);
    if (row->mask[1] != 0) {
        s = vb_add(s, plane_sum(row->plane[1], row->mask[1], x, chunks, 1, 5));
    }
    if (row->mask[2] != 0) {
        s = vb_add(s, plane_sum(row->plane[2], row->mask[2], x, chunks, 1, 4));
    }
    if (row->mask[3] != 0) {
        s = vb_add(s, plane_sum(row->plane[3], row->mask[3], x, chunks, 4, 0));
    }
    return vb_sum(s);
}

/* Field of block b in a plane of f-bit fields, at the low end of each byte, from byte h on. */
INLINE vb
field(const uint8_t *plane, uint32_t mask, size_t f, size_t b, size_t h)
{
    const size_t fields = 8 / f;
    const vb word = vb_load(plane + b / fields * NBP_BLOCK + h);
    return vb_and(vb_srl(word, (int)(b % fields * f)), bytes(mask));
}

static inline int32_t
sum_blocks(const nbp_row *row, const int8_t *x, size_t first, size_t stop)
{
    static const size_t width[NBP_PLANES] = {2, 1, 1, 4};
    static const int place[NBP_PLANES] = {6, 5, 4, 0};
    vb total = vb_set(0);
    for (size_t p = 0; p < NBP_PLANES; p++) {
        vb acc = vb_set(0);
        for (size_t b = first; row->mask[p] != 0 && b < stop; b++) {
            for (size_t h = 0; h < NBP_BLOCK; h += VB_BYTES) {
                acc = vb_dot(acc, field(row->plane[p], row->mask[p], width[p], b, h),
                             vb_load(x + b * NBP_BLOCK + h));
            }
        }
        total = vb_add(total, vb_sll(acc, place[p]));
    }
    return vb_sum(total);
}

/* Codes of p bits of one block. */
INLINE void
codes(const nbp_row *row, int p, size_t b, uint8_t code[NBP_BLOCK])
{
    for (size_t h = 0; h < NBP_BLOCK; h += VB_BYTES) {
        vb c = vb_sll(field(row->plane[0], row->mask[0], 2, b, h), 6);
        if (row->mask[1] != 0) {
            c = vb_add(c, vb_sll(field(row->plane[1], row->mask[1], 1, b, h), 5));
        }
        if (row->mask[2] != 0) {
            c = vb_add(c, vb_sll(field(row->plane[2], row->mask[2], 1, b, h), 4));
        }
        if (row->mask[3] != 0) {
            c = vb_add(c, field(row->plane[3], row->mask[3], 4, b, h));
        }
        vb_store(code + h, vb_and(vb_srl(c, 8 - p), bytes((1U << p) - 1U)));
    }
}

enum { LANES = 16 };

static inline float
lookup(const nbp_row *row, int p, const float *lut, const float *x, size_t chunks)
{
    uint8_t code[NBP_BLOCK];
    float lane[LANES] = {0.0F};
#if VB_LANES == 16
    __m512 acc = _mm512_setzero_ps();
    const __mmask16 some = (__mmask16)(p < 4 ? (1U << (1U << p)) - 1U : 0xffffU);
    const __m512 table = _mm512_maskz_loadu_ps(p <= 4 ? some : 0, lut);
    for (size_t b = 0; b < chunks * (NBP_CHUNK / NBP_BLOCK); b++, x += NBP_BLOCK) {
        codes(row, p, b, code);
        for (size_t i = 0; i < NBP_BLOCK; i += LANES) {
            const __m512i index =
                _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(code + i)));
            const __m512 w = p <= 4 ? _mm512_permutexvar_ps(index, table)
                                    : _mm512_i32gather_ps(index, lut, sizeof *lut);
            acc = _mm512_fmadd_ps(w, _mm512_loadu_ps(x + i), acc);
        }
    }
    _mm512_storeu_ps(lane, acc);
#elif VB_LANES == 8
    __m256 acc[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    for (size_t b = 0; b < chunks * (NBP_CHUNK / NBP_BLOCK); b++, x += NBP_BLOCK) {
        codes(row, p, b, code);
        for (size_t i = 0; i < NBP_BLOCK; i += 8) {
            const __m256i index =
                _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(code + i)));
            const __m256 w = _mm256_i32gather_ps(lut, index, sizeof *lut);
            acc[i / 8 % 2] = _mm256_fmadd_ps(w, _mm256_loadu_ps(x + i), acc[i / 8 % 2]);
        }
    }
    _mm256_storeu_ps(lane, acc[0]);
    _mm256_storeu_ps(lane + 8, acc[1]);
#else
    for (size_t b = 0; b < chunks * (NBP_CHUNK / NBP_BLOCK); b++, x += NBP_BLOCK) {
        codes(row, p, b, code);
        for (size_t i = 0; i < NBP_BLOCK; i++) {
            lane[i % LANES] += lut[code[i]] * x[i];
        }
    }
#endif
    float total = 0.0F;
    for (size_t l = 0; l < LANES; l++) {
        total += lane[l];
    }
    return total;
}

#endif
