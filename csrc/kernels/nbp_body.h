/* Products with bit planes over vec_i8.h, for nbp_isa.c and nbp_vnni.c.
 *
 * Columns come in chunks of 512, that is eight blocks of 64. Plane A has bits 7 and 6 of the codes,
 * B bit 5, C bit 4 and D bits 3 to 0; a plane of f-bit fields holds a chunk in 8 f vectors of 64
 * bytes. Byte i of vector v of A has four fields, field j for column (4 v + j) 64 + i, and D has
 * two likewise. B and C have one vector: of the field of A at bits s and s + 1 of a 32-bit word, B
 * has its bit at s - 1 - v and C at s - 2 - v, modulo 32, v being A's vector.
 *
 * At 1 and 2 bits a field is taken out by one AND and multiplied in place: a mask at bit s gives
 * 2^s times the field, sums of products of bytes stay exact, and every position has its own
 * accumulator, which is shifted into place once per row. Per chunk that is 8 AND and 8 vpdpbusd.
 *
 * At 3 bits or more the planes are merged before the product. On the ring of a word's 32 bits the
 * bits of one column are a nibble [a a b c], as d = (v = 0: B at odd bits, C at even ones; v = 1: B
 * at even ones, C at odd ones, all rotated by one place) shows: what d has at s - 1 and s - 2 goes
 * with the field of A at s. The nibbles of j = 1 and 3 lie as nibbles of bytes, those of j = 0 and
 * 2 do after a rotation by two places. One bit-wise choice between A and d for either pair, one
 * rotation, an AND and a product per nibble: with d that are 23 instructions per chunk at 3 bits
 * and 25 at 4, where a product per plane and field would take 32 and 48. The upper nibbles are
 * multiplied where they lie, which gives 16 times their sum, in an accumulator of their own. D adds
 * 8 AND and 8 products.
 *
 * The vectors of a tile's four rows alternate in memory, so that every plane is read as one stream
 * while x is loaded for NR rows at once, and the lanes of four rows are summed together.
 *
 * Where byte products saturate (VB_DOT_MAX 128) a field at the top is shifted down before. Sums are
 * exact modulo 2^32 and results fit, so that all levels agree.
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

#if VB_LANES == 16
enum { NR = 4 }; /* rows that meet one load of x */
#else
enum { NR = 2 };
#endif
#define NARROW (VB_DOT_MAX < 255) /* a field at the top would saturate where it lies */
#define AHEAD 2048                /* bytes of a plane of one bit */

/* Sums of nr rows at 1 or 2 bits, in lanes: each field is multiplied where it lies. */
INLINE void
pair_sums(const nbp_row *row, size_t nr, size_t step, const int8_t *x, size_t chunks, vb *s)
{
    const uint8_t *a = row->plane[0];
    const uint32_t mask = row->mask[0];
    vb acc[NR][4];
#pragma GCC unroll 4
    for (size_t i = 0; i < nr; i++) {
#pragma GCC unroll 4
        for (size_t j = 0; j < 4; j++) {
            acc[i][j] = vb_set(0);
        }
    }
    for (size_t c = 0; c < chunks; c++, a += 2 * step, x += NBP_CHUNK) {
        vu_prefetch(a, 2 * AHEAD, nr * NBP_BLOCK);
        vu_prefetch(a + step, 2 * AHEAD, nr * NBP_BLOCK);
        for (size_t h = 0; h < NBP_BLOCK; h += VB_BYTES) {
#pragma GCC unroll 8
            for (size_t b = 0; b < 8; b++) {
                const size_t j = b % 4;
                const vb in = vb_load(x + b * NBP_BLOCK + h);
#pragma GCC unroll 4
                for (size_t i = 0; i < nr; i++) {
                    const vb word = vb_load(a + b / 4 * step + i * NBP_BLOCK + h);
                    const vb field = NARROW && j == 3 ? vb_and(vb_srl(word, 6), bytes(mask))
                                                      : vb_and(word, bytes(mask << 2 * j & 255U));
                    acc[i][j] = vb_dot(acc[i][j], field, in);
                }
            }
        }
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < nr; i++) {
        s[i] = vb_sll(acc[i][3], NARROW ? 6 : 0);
#pragma GCC unroll 4
        for (size_t j = 0; j < 3; j++) {
            s[i] = vb_add(s[i], vb_sll(acc[i][j], (int)(6 - 2 * j)));
        }
    }
}

/* Words whose nibbles are the top four bits of the code (the last is garbage where c is not given)
 * in vector v of plane a: blocks 4 v and 4 v + 2 (even), 4 v + 1 and 4 v + 3 (odd). */
INLINE void
merge(vb a, vb b, const vb *c, size_t v, vb *even, vb *odd)
{
    vb d = c == NULL ? b : vb_select(bytes(v == 0 ? 0xaaU : 0x55U), b, *c);
    d = v == 0 ? d : vb_rol(d, 1);
    *even = vb_rol(vb_select(bytes(0x33U), a, d), 2);
    *odd = vb_select(bytes(0xccU), a, d);
}

/* The upper nibbles, where they lie if they may. */
INLINE vb
upper(vb word, uint32_t mask)
{
    return NARROW ? vb_and(vb_srl(word, 4), bytes(mask)) : vb_and(word, bytes(mask << 4));
}

/* The same as pair_sums at 3 bits, or 4 (four). */
INLINE void
nibble_sums(const nbp_row *row, size_t nr, size_t step, const int8_t *x, size_t chunks, bool four,
            vb *s)
{
    const uint8_t *a = row->plane[0];
    const uint32_t mask = four ? 15U : 14U;
    vb low[NR];
    vb up[NR];
#pragma GCC unroll 4
    for (size_t i = 0; i < nr; i++) {
        low[i] = vb_set(0);
        up[i] = vb_set(0);
    }
    for (size_t k = 0; k < chunks * step; k += step, a += 2 * step, x += NBP_CHUNK) {
        const uint8_t *b = row->plane[1] + k;
        const uint8_t *c = four ? row->plane[2] + k : b;
        vu_prefetch(a, 2 * AHEAD, nr * NBP_BLOCK);
        vu_prefetch(a + step, 2 * AHEAD, nr * NBP_BLOCK);
        vu_prefetch(b, AHEAD, nr * NBP_BLOCK);
        vu_prefetch(c, AHEAD, four ? nr * NBP_BLOCK : 0);
        for (size_t h = 0; h < NBP_BLOCK; h += VB_BYTES) {
#pragma GCC unroll 8
            for (size_t i = 0; i < 2 * nr; i++) {
                const size_t v = i / nr;
                const size_t at = i % nr;
                const int8_t *in = x + 4 * v * NBP_BLOCK + h;
                const vb cv = vb_load(c + at * NBP_BLOCK + h);
                vb even;
                vb odd;
                merge(vb_load(a + v * step + at * NBP_BLOCK + h), vb_load(b + at * NBP_BLOCK + h),
                      four ? &cv : NULL, v, &even, &odd);
                low[at] = vb_dot(low[at], vb_and(even, bytes(mask)), vb_load(in));
                low[at] = vb_dot(low[at], vb_and(odd, bytes(mask)), vb_load(in + NBP_BLOCK));
                up[at] = vb_dot(up[at], upper(even, mask), vb_load(in + 2 * NBP_BLOCK));
                up[at] = vb_dot(up[at], upper(odd, mask), vb_load(in + 3 * NBP_BLOCK));
            }
        }
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < nr; i++) {
        s[i] = vb_add(vb_sll(low[i], 4), vb_sll(up[i], NARROW ? 4 : 0));
    }
}

/* Adds the low four bits. */
INLINE void
add_low_sums(const nbp_row *row, size_t nr, size_t step, const int8_t *x, size_t chunks, vb *s)
{
    const uint8_t *a = row->plane[3];
    const uint32_t mask = row->mask[3];
    vb up[NR];
#pragma GCC unroll 4
    for (size_t i = 0; i < nr; i++) {
        up[i] = vb_set(0);
    }
    for (size_t v = 0; v < 4 * chunks; v++, a += step, x += 2 * NBP_BLOCK) {
        vu_prefetch(a, 2 * AHEAD, nr * NBP_BLOCK);
        for (size_t h = 0; h < NBP_BLOCK; h += VB_BYTES) {
#pragma GCC unroll 4
            for (size_t i = 0; i < nr; i++) {
                const vb word = vb_load(a + i * NBP_BLOCK + h);
                s[i] = vb_dot(s[i], vb_and(word, bytes(mask)), vb_load(x + h));
                up[i] = vb_dot(up[i], upper(word, mask), vb_load(x + NBP_BLOCK + h));
            }
        }
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < nr; i++) {
        s[i] = vb_add(s[i], vb_sra(up[i], NARROW ? 0 : 4));
    }
}

/* Rows first to first + nr of the tile that row begins. */
INLINE void
some_rows(const nbp_row *row, size_t first, size_t nr, size_t step, const int8_t *x, size_t chunks,
          int32_t *out)
{
    nbp_row at = *row;
    vb s[NR];
    for (size_t i = 0; i < NBP_PLANES && first > 0; i++) {
        at.plane[i] += at.mask[i] != 0 ? first * NBP_BLOCK : 0;
    }
    if (at.mask[1] == 0) {
        pair_sums(&at, nr, step, x, chunks, s);
    }
    else {
        nibble_sums(&at, nr, step, x, chunks, at.mask[2] != 0, s);
    }
    if (at.mask[3] != 0) {
        add_low_sums(&at, nr, step, x, chunks, s);
    }
#if VB_LANES == 16
    if (nr == NR) {
        vb_sum4(s[0], s[1], s[2], s[3], out);
        return;
    }
#endif
    for (size_t i = 0; i < nr; i++) {
        out[i] = vb_sum(s[i]);
    }
}

static inline void
sums(const nbp_row *row, size_t rows, const int8_t *x, size_t chunks, int32_t *out)
{
    static const size_t width[NBP_PLANES] = {2, 1, 1, 4};
    nbp_row at = *row;
    for (size_t tile = 0, r = 0; r < rows; r += tile) {
        tile = rows - r < NBP_TILE ? 1 : NBP_TILE;
        if (tile == 1) {
            some_rows(&at, 0, 1, NBP_BLOCK, x, chunks, out + r);
        }
        for (size_t i = 0; i < NBP_TILE && tile > 1; i += NR) {
            some_rows(&at, i, NR, NBP_TILE * NBP_BLOCK, x, chunks, out + r + i);
        }
        for (size_t i = 0; i < NBP_PLANES; i++) {
            at.plane[i] += at.mask[i] != 0 ? tile * chunks * NBP_BLOCK * width[i] : 0;
        }
    }
}

/* Bits 7 to 4 of a chunk's codes, one vector per block, from byte h of the blocks on. */
INLINE void
top_bits(const nbp_row *row, size_t chunk, size_t h, vb code[8])
{
    const size_t at = chunk * row->step + h;
    const vb b = row->mask[1] != 0 ? vb_load(row->plane[1] + at) : vb_set(0);
    const vb c = row->mask[2] != 0 ? vb_load(row->plane[2] + at) : vb_set(0);
    const vb mask = bytes((uint32_t)row->mask[0] << 2 | (uint32_t)row->mask[1] << 1 | row->mask[2]);
#pragma GCC unroll 2
    for (size_t v = 0; v < 2; v++) {
        vb even;
        vb odd;
        merge(vb_load(row->plane[0] + (2 * chunk + v) * row->step + h), b, &c, v, &even, &odd);
        code[4 * v] = vb_and(even, mask);
        code[4 * v + 1] = vb_and(odd, mask);
        code[4 * v + 2] = vb_and(vb_srl(even, 4), mask);
        code[4 * v + 3] = vb_and(vb_srl(odd, 4), mask);
    }
}

/* Bits 3 to 0 of block b. */
INLINE vb
low_bits(const nbp_row *row, size_t chunk, size_t h, size_t b)
{
    const vb word = vb_load(row->plane[3] + (4 * chunk + b / 2) * row->step + h);
    return vb_and(vb_srl(word, (int)(b % 2 * 4)), bytes(row->mask[3]));
}

static inline void
block_sums(const nbp_row *row, size_t chunk, const int8_t *x, int32_t out[8])
{
    vb s[8];
    for (size_t b = 0; b < 8; b++) {
        s[b] = vb_set(0);
    }
    for (size_t h = 0; h < NBP_BLOCK; h += VB_BYTES) {
        vb code[8];
        top_bits(row, chunk, h, code);
        for (size_t b = 0; b < 8; b++) {
            const vb in = vb_load(x + b * NBP_BLOCK + h);
            s[b] = vb_add(s[b], vb_sll(vb_dot(vb_set(0), code[b], in), 4));
            if (row->mask[3] != 0) {
                s[b] = vb_dot(s[b], low_bits(row, chunk, h, b), in);
            }
        }
    }
    vb_sum4(s[0], s[1], s[2], s[3], out);
    vb_sum4(s[4], s[5], s[6], s[7], out + 4);
}

/* Codes of p bits of one chunk. */
INLINE void
codes(const nbp_row *row, int p, size_t chunk, uint8_t to[NBP_CHUNK])
{
    const vb mask = bytes((1U << p) - 1U);
    for (size_t h = 0; h < NBP_BLOCK; h += VB_BYTES) {
        vb code[8];
        top_bits(row, chunk, h, code);
        for (size_t b = 0; b < 8; b++) {
            const vb shifted =
                p <= 4 ? vb_srl(code[b], 4 - p)
                       : vb_srl(vb_add(vb_sll(code[b], 4), low_bits(row, chunk, h, b)), 8 - p);
            vb_store(to + b * NBP_BLOCK + h, vb_and(shifted, mask));
        }
    }
}

enum { LANES = 16 };

static inline float
lookup(const nbp_row *row, int p, const float *lut, const float *x, size_t chunks)
{
    uint8_t code[NBP_CHUNK];
    float lane[LANES] = {0.0F};
#if VB_LANES == 16
    __m512 acc = _mm512_setzero_ps();
    const __mmask16 some = (__mmask16)(p < 4 ? (1U << (1U << p)) - 1U : 0xffffU);
    const __m512 table = _mm512_maskz_loadu_ps(p <= 4 ? some : 0, lut);
    for (size_t b = 0; b < chunks; b++, x += NBP_CHUNK) {
        codes(row, p, b, code);
        for (size_t i = 0; i < NBP_CHUNK; i += LANES) {
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
    for (size_t b = 0; b < chunks; b++, x += NBP_CHUNK) {
        codes(row, p, b, code);
        for (size_t i = 0; i < NBP_CHUNK; i += 8) {
            const __m256i index =
                _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(code + i)));
            const __m256 w = _mm256_i32gather_ps(lut, index, sizeof *lut);
            acc[i / 8 % 2] = _mm256_fmadd_ps(w, _mm256_loadu_ps(x + i), acc[i / 8 % 2]);
        }
    }
    _mm256_storeu_ps(lane, acc[0]);
    _mm256_storeu_ps(lane + 8, acc[1]);
#else
    for (size_t b = 0; b < chunks; b++, x += NBP_CHUNK) {
        codes(row, p, b, code);
        for (size_t i = 0; i < NBP_CHUNK; i++) {
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
