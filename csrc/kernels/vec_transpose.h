/* Transposition of a square of VS_LANES vectors, and of matrices by such squares; for files
 * compiled per level, beside vec_f32.h. */
#ifndef DNS_VEC_TRANSPOSE_H
#define DNS_VEC_TRANSPOSE_H

#include <stdbool.h>

#include "kernels/vec_f32.h"

/* Lane j of r[i] changes places with lane i of r[j]. */
#if VS_LANES == 16
static inline __attribute__((always_inline)) void
vs_transpose(vs *r)
{
    __m512 t[16];
    for (int i = 0; i < 16; i += 4) {
        const __m512 a = _mm512_unpacklo_ps(r[i], r[i + 1]);
        const __m512 b = _mm512_unpackhi_ps(r[i], r[i + 1]);
        const __m512 c = _mm512_unpacklo_ps(r[i + 2], r[i + 3]);
        const __m512 d = _mm512_unpackhi_ps(r[i + 2], r[i + 3]);
        t[i] = _mm512_shuffle_ps(a, c, 0x44);
        t[i + 1] = _mm512_shuffle_ps(a, c, 0xee);
        t[i + 2] = _mm512_shuffle_ps(b, d, 0x44);
        t[i + 3] = _mm512_shuffle_ps(b, d, 0xee);
    }
    for (int i = 0; i < 4; i++) {
        const __m512 a = _mm512_shuffle_f32x4(t[i], t[i + 4], 0x88);
        const __m512 b = _mm512_shuffle_f32x4(t[i], t[i + 4], 0xdd);
        const __m512 c = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0x88);
        const __m512 d = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0xdd);
        r[i] = _mm512_shuffle_f32x4(a, c, 0x88);
        r[i + 4] = _mm512_shuffle_f32x4(b, d, 0x88);
        r[i + 8] = _mm512_shuffle_f32x4(a, c, 0xdd);
        r[i + 12] = _mm512_shuffle_f32x4(b, d, 0xdd);
    }
}
#elif VS_LANES == 8
static inline __attribute__((always_inline)) void
vs_transpose(vs *r)
{
    __m256 t[8];
    for (int i = 0; i < 8; i += 4) {
        const __m256 a = _mm256_unpacklo_ps(r[i], r[i + 1]);
        const __m256 b = _mm256_unpackhi_ps(r[i], r[i + 1]);
        const __m256 c = _mm256_unpacklo_ps(r[i + 2], r[i + 3]);
        const __m256 d = _mm256_unpackhi_ps(r[i + 2], r[i + 3]);
        t[i] = _mm256_shuffle_ps(a, c, 0x44);
        t[i + 1] = _mm256_shuffle_ps(a, c, 0xee);
        t[i + 2] = _mm256_shuffle_ps(b, d, 0x44);
        t[i + 3] = _mm256_shuffle_ps(b, d, 0xee);
    }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x31);
    }
}
#else
static inline void
vs_transpose(vs *r)
{
    for (size_t i = 0; i < VS_LANES; i++) {
        for (size_t j = 0; j < i; j++) {
            const float t = r[i][j];
            r[i][j] = r[j][i];
            r[j][i] = t;
        }
    }
}
#endif

/* to[j*ldt + i] = from[i*ldf + j] for i < rows, j < cols, both at most VS_LANES; with `pad` zeros
 * for the i up to VS_LANES. */
static inline __attribute__((always_inline)) void
vs_transpose_tile_(const float *from, ptrdiff_t ldf, size_t rows, size_t cols, float *to,
                   ptrdiff_t ldt, bool pad)
{
    vs r[VS_LANES];
    for (size_t i = 0; i < VS_LANES; i++) {
        r[i] = i < rows ? vs_load_part(from + (ptrdiff_t)i * ldf, cols) : vs_set(0.0F);
    }
    vs_transpose(r);
    for (size_t j = 0; j < cols; j++) {
        vs_store_part(to + (ptrdiff_t)j * ldt, r[j], pad ? VS_LANES : rows);
    }
}

static inline __attribute__((always_inline)) void
vs_transpose_rows(const float *from, ptrdiff_t ldf, size_t rows, size_t cols, float *to,
                  ptrdiff_t ldt, bool pad)
{
    for (size_t i = 0; i < rows; i += VS_LANES) {
        for (size_t j = 0; j < cols; j += VS_LANES) {
            const float *tile = from + (ptrdiff_t)i * ldf + (ptrdiff_t)j;
            float *out = to + (ptrdiff_t)j * ldt + (ptrdiff_t)i;
            if (rows - i >= VS_LANES && cols - j >= VS_LANES) {
                vs_transpose_tile_(tile, ldf, VS_LANES, VS_LANES, out, ldt, pad);
            }
            else {
                vs_transpose_tile_(tile, ldf, rows - i < VS_LANES ? rows - i : VS_LANES,
                                   cols - j < VS_LANES ? cols - j : VS_LANES, out, ldt, pad);
            }
        }
    }
}

#endif
