/* The integer product over vec_i8.h, for igemm_isa.c and igemm_vnni.c; igemm_amx.c takes packing
 * and storing from here.
 *
 * Weights lie in panels [K / 4][P][4]: a vector holds four consecutive k of neighbouring rows of W,
 * which is what vpdpbusd (and vpmaddubsw + vpmaddwd) sums, and what a tile register of AMX takes as
 * its second operand. A vector of X is one row of bytes; four of them are broadcast against NV
 * vectors of weights, for NR rows of X at once: NR * NV accumulators hide the latency, and per
 * group of four k there are NV loads and NR broadcasts for NR * NV products.
 *
 * Byte products want one unsigned operand, so x = u + off with u >= 0 and
 *     sum (w - zero) x = sum w u + off sum w - zero sum x,
 * the last two terms from sums that packing leaves behind. With vpdpbusd u = x + 128 (that is x ^
 * 0x80) whatever x is. vpmaddubsw saturates unless u <= 128: a vector whose values span no more
 * than 128 is shifted by its minimum; any other is cut in two halves, x + 128 = u + v with u and v
 * at most 128, and both are summed. Nothing saturates, so all levels agree.
 */
#ifndef DNS_IGEMM_BODY_H
#define DNS_IGEMM_BODY_H

#include <string.h>

#include "kernels/igemm_internal.h"
#include "kernels/vec_i8.h"

#if VB_LANES == 16 && VB_DOT_MAX == 255
enum { NR = 6, NV = 4 };
#elif VB_LANES == 16
enum { NR = 6, NV = 2 };
#elif VB_LANES == 8
enum { NR = 4, NV = 2 };
#else
enum { NR = 2, NV = 4 };
#endif
#define PANEL (NV * VB_LANES)

#define INLINE static inline __attribute__((always_inline))

#if VB_LANES == 16
/* 16 rows of 16 words to 16 columns: to[j * pitch + 4 i] = word j of row i. */
static inline void
transpose_words(const int8_t *from, ptrdiff_t ld, int8_t *to, size_t pitch)
{
    __m512i a[16];
    __m512i b[16];
    for (size_t i = 0; i < 16; i++) {
        a[i] = _mm512_loadu_si512(from + (ptrdiff_t)i * ld);
    }
    for (size_t i = 0; i < 16; i += 2) {
        b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
    }
    for (size_t i = 0; i < 16; i += 4) {
        a[i] = _mm512_unpacklo_epi64(b[i], b[i + 2]);
        a[i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
        a[i + 2] = _mm512_unpacklo_epi64(b[i + 1], b[i + 3]);
        a[i + 3] = _mm512_unpackhi_epi64(b[i + 1], b[i + 3]);
    }
    for (size_t c = 0; c < 4;
         c++) { /* lane l of a[4 g + c] is column 4 l + c of rows 4 g .. 4 g + 3 */
        const __m512i low = _mm512_shuffle_i32x4(a[c], a[4 + c], 0x88);
        const __m512i odd = _mm512_shuffle_i32x4(a[c], a[4 + c], 0xdd);
        const __m512i low2 = _mm512_shuffle_i32x4(a[8 + c], a[12 + c], 0x88);
        const __m512i odd2 = _mm512_shuffle_i32x4(a[8 + c], a[12 + c], 0xdd);
        _mm512_storeu_si512(to + c * pitch, _mm512_shuffle_i32x4(low, low2, 0x88));
        _mm512_storeu_si512(to + (4 + c) * pitch, _mm512_shuffle_i32x4(odd, odd2, 0x88));
        _mm512_storeu_si512(to + (8 + c) * pitch, _mm512_shuffle_i32x4(low, low2, 0xdd));
        _mm512_storeu_si512(to + (12 + c) * pitch, _mm512_shuffle_i32x4(odd, odd2, 0xdd));
    }
}
#endif

/* One panel of `panel` rows; see dns_igemm_ops. */
static inline void
pack_panel(const int8_t *w, ptrdiff_t ldw, size_t m, size_t k, size_t k_pad, size_t panel,
           int8_t *to)
{
    if (m < panel || k < k_pad) {
        memset(to, 0, panel * k_pad);
    }
    size_t done = 0; /* rows */
#if VB_LANES == 16
    for (; done + 16 <= m; done += 16) {
        const int8_t *rows = w + (ptrdiff_t)done * ldw;
        size_t j = 0;
        for (; j + 64 <= k; j += 64) {
            transpose_words(rows + j, ldw, to + j * panel + 4 * done, 4 * panel);
        }
        for (size_t i = 0; i < 16; i++) {
            for (size_t r = j; r < k; r++) {
                to[(r / 4 * panel + done + i) * 4 + r % 4] =
                    rows[(ptrdiff_t)i * ldw + (ptrdiff_t)r];
            }
        }
    }
#endif
    for (; done < m; done++) {
        const int8_t *row = w + (ptrdiff_t)done * ldw;
        for (size_t r = 0; r < k; r++) {
            to[(r / 4 * panel + done) * 4 + r % 4] = row[r];
        }
    }
}

static inline void
pack_w(const int8_t *w, ptrdiff_t ldw, size_t m, size_t k, size_t k_pad, int8_t *to)
{
    pack_panel(w, ldw, m, k, k_pad, PANEL, to);
}

static inline int32_t
sum_bytes(const int8_t *x, size_t k)
{
    int32_t sum = 0;
    for (size_t i = 0; i < k; i++) {
        sum += x[i];
    }
    return sum;
}

static inline void
convert(const igemm_x *x, size_t n, size_t k)
{
    uint8_t *u = x->rows + n * x->pitch;
    int8_t *s = (int8_t *)u;
    x->sum[n] = sum_bytes(s, k);
    x->wide[n] = 0;
    int low = -128;
#if VB_DOT_MAX < 255
    int high = -128;
    low = 127;
    for (size_t i = 0; i < k; i++) {
        low = s[i] < low ? s[i] : low;
        high = s[i] > high ? s[i] : high;
    }
    if (high - low > VB_DOT_MAX) {
        uint8_t *restrict v = u + x->k_pad;
        for (size_t i = 0; i < k; i++) {
            const int both = s[i] + 128;
            u[i] = (uint8_t)(both >> 1);
            v[i] = (uint8_t)(both - (both >> 1));
        }
        memset(v + k, 0, x->k_pad - k);
        memset(u + k, 0, x->k_pad - k);
        x->wide[n] = 1;
        x->off[n] = -128;
        return;
    }
    memset(u + x->k_pad, 0, x->k_pad); /* a neighbour in the tile may be wide */
#endif
    for (size_t i = 0; i < k; i++) {
        u[i] = (uint8_t)(s[i] - low);
    }
    memset(u + k, 0, x->k_pad - k);
    x->off[n] = low;
}

/* Results of one vector from its sums, in place: acc [panel]. Sums wrap, results fit. */
static inline void
finish_row(const igemm_run *r, size_t n, size_t panel, int32_t *acc)
{
    if (!r->plain) {
        const uint32_t off = (uint32_t)r->x.off[n];
        const uint32_t sum = (uint32_t)r->x.sum[n];
        for (size_t m = 0; m < panel; m++) {
            acc[m] = (int32_t)((uint32_t)acc[m] + off * (uint32_t)r->colsum[m] -
                               sum * (uint32_t)r->zero[m]);
        }
    }
    if (r->yf != NULL) {
        const float t = r->x.scale[n];
        float out[IGEMM_MAX_PANEL];
        for (size_t m = 0; m < panel; m++) {
            float v = (float)acc[m] * (r->scale[m] * t) + r->bias[m];
            v = r->act.lo > v ? r->act.lo : v;
            out[m] = r->act.hi < v ? r->act.hi : v;
        }
        /* cppcheck-suppress uninitvar ; at least one vector wrote it */
        memcpy(acc, out, panel * sizeof *acc);
    }
}

/* Writes nr vectors' results from acc [nr][panel]; floats travel as their bits. */
static inline void
store_rows(const igemm_run *r, size_t n0, size_t nr, size_t panel, int32_t *acc)
{
    for (size_t i = 0; i < nr; i++) {
        finish_row(r, n0 + i, panel, acc + i * panel);
    }
    char *y = r->yf != NULL ? (char *)r->yf : (char *)r->y;
    const size_t pitch = (size_t)r->ldy * sizeof(int32_t);
    if (r->layout == DNS_ROWS) {
        for (size_t i = 0; i < nr; i++) {
            memcpy(y + (n0 + i) * pitch, acc + i * panel, r->m * sizeof *acc);
        }
        return;
    }
    size_t m = 0;
#if VB_LANES == 16
    for (; nr % 16 == 0 && m + 16 <= r->m; m += 16) {
        for (size_t i = 0; i < nr; i += 16) {
            transpose_words((const int8_t *)(acc + i * panel + m), (ptrdiff_t)(4 * panel),
                            (int8_t *)y + m * pitch + (n0 + i) * sizeof *acc, pitch);
        }
    }
#endif
    for (; m < r->m; m++) {
        int32_t line[IGEMM_MAX_ROWS];
        for (size_t i = 0; i < nr; i++) {
            line[i] = acc[i * panel + m];
        }
        /* cppcheck-suppress uninitvar ; nr >= 1 */
        memcpy(y + m * pitch + n0 * sizeof(int32_t), line, nr * sizeof *line);
    }
}

/* nr vectors from n0 on times the panel, in one or two halves. */
INLINE void
tile(const igemm_run *r, size_t n0, size_t nr, size_t halves)
{
    vb acc[NR][NV];
    int32_t out[NR * PANEL];
#pragma GCC unroll 8
    for (size_t i = 0; i < nr; i++) {
#pragma GCC unroll 8
        for (size_t v = 0; v < NV; v++) {
            acc[i][v] = vb_set(0);
        }
    }
    for (size_t h = 0; h < halves; h++) {
        const uint8_t *x = r->x.rows + n0 * r->x.pitch + h * r->x.k_pad;
        const int8_t *w = r->w;
        for (size_t k = 0; k < r->x.k_pad; k += 4, w += 4 * PANEL, x += 4) {
            vb wv[NV];
#pragma GCC unroll 8
            for (size_t v = 0; v < NV; v++) {
                wv[v] = vb_load(w + v * VB_BYTES);
            }
#pragma GCC unroll 8
            for (size_t i = 0; i < nr; i++) {
                const vb u = vb_set(vb_word(x + i * r->x.pitch));
#pragma GCC unroll 8
                for (size_t v = 0; v < NV; v++) {
                    acc[i][v] = vb_dot(acc[i][v], u, wv[v]);
                }
            }
        }
    }
#pragma GCC unroll 8
    for (size_t i = 0; i < nr; i++) {
#pragma GCC unroll 8
        for (size_t v = 0; v < NV; v++) {
            vb_store(out + i * PANEL + v * VB_LANES, acc[i][v]);
        }
    }
    store_rows(r, n0, nr, PANEL, out);
}

static inline void
run(const igemm_run *r)
{
    for (size_t n0 = r->first; n0 < r->n; n0 += NR) {
        const size_t nr = r->n - n0 < NR ? r->n - n0 : NR;
        size_t halves = 1;
        for (size_t i = 0; VB_DOT_MAX < 255 && i < nr; i++) {
            if (r->x.wide[n0 + i]) {
                halves = 2;
            }
        }
        switch (nr) {
        case NR:
            tile(r, n0, NR, halves);
            break;
        case 1:
            tile(r, n0, 1, halves);
            break;
        default:
            for (size_t i = 0; i + 1 < nr; i += 2) {
                tile(r, n0 + i, 2, halves);
            }
            if (nr % 2 != 0) {
                tile(r, n0 + nr - 1, 1, halves);
            }
            break;
        }
    }
}

#endif
