/* N:M sparse times dense, compiled per instruction-set level.
 *
 * Matrix: as CSR (csr_isa.c), on packed panels of X, two rows times NV vectors, but without row
 * pointers, sorting or offsets: every row has the same number of weights in a block, and a block is
 * so short that a byte holds a column. Five bytes a weight. A weight takes a broadcast, a byte and
 * NV loads for NV multiply-adds, so where 32 registers allow it NV is 8; a wide panel also reads
 * the weights less often. Weights from afar are prefetched, two rows ahead, since a block's lie a
 * whole row's apart.
 *
 * Vector: the weights' bytes bound it. Where m divides 4 four rows lie together, so that the four
 * lanes of an in-lane permutation (vpermilps), which all choose among the same four columns of x,
 * are four rows: 16 weights take a load, a permutation, a multiply-add and, for the choice, a shift
 * of 32 broadcast bits; x is read in order, and a weight takes 4.25 bytes in one stream.
 *
 * Any other m: a mask of 16 bits per 16 columns spreads the packed weights over the lanes
 * (AVX-512's vexpandps). Four rows run side by side to hide the latency of the multiply-add.
 * Spreading takes three instructions of one port per 16 columns. Where half of all columns are
 * stored (4:8), AVX-512 does the opposite: 16 packed weights meet the 16 of 32 columns that their
 * bytes name (vpermt2ps), two such instructions per 32 columns for 5/8 of a byte more.
 */
#include "kernels/nm_internal.h"
#include "kernels/panel_f32.h"
#include "kernels/vec_expand.h"

enum {
    NV = VS_LANES == 16 ? 8 : 4,
    ROWS = 4,
    CHAINS = 4,
    AHEAD = 2048 /* bytes of weights */
};
#define NT (NV * VS_LANES)

static void
pack(const float *x, ptrdiff_t ldx, size_t k, size_t n, float *panel)
{
    panel_pack(x, ldx, k, n, (n + VS_LANES - 1) / VS_LANES * VS_LANES, panel);
}

/* Hints that row i's weights in the block will be read soon; never faults. */
PANEL_INLINE void
prefetch_row(const nm_run *r, size_t i)
{
    enum { LINE = 64 };
    const uintptr_t values = (uintptr_t)r->values + i * r->slots * sizeof *r->values;
    const uintptr_t columns = (uintptr_t)r->columns + i * r->slots;
    for (size_t at = 0; at < r->count * sizeof *r->values + LINE; at += LINE) {
        __builtin_prefetch((const void *)(values + at));
    }
    for (size_t at = 0; at < r->count + LINE; at += LINE) {
        __builtin_prefetch((const void *)(columns + at));
    }
}

PANEL_INLINE void
add(uintptr_t origin, uint8_t column, float value, size_t nv, vs *acc)
{
    const float *x = (const float *)(origin + column * nv * sizeof(vs));
    __asm__("" : "+r"(x)); /* one register: an indexed operand splits the multiply-add in two */
    const vs w = vs_set(value);
    for (size_t v = 0; v < nv; v++) {
        acc[v] = vs_fma(w, vs_load(x + v * VS_LANES), acc[v]);
    }
}

/* `rows` rows, 1 or 2, from row i on. */
PANEL_INLINE void
tile(const nm_run *r, size_t i, size_t rows, size_t nv, panel_tail t)
{
    vs acc[2][NV];
    for (size_t k = 0; k < rows; k++) {
        panel_begin(r->bias != NULL ? r->bias + i + k : NULL, r->y + (ptrdiff_t)(i + k) * r->ldy,
                    nv, t, acc[k]);
    }
    const uintptr_t origin = (uintptr_t)r->x - r->origin * nv * sizeof(vs);
    const float *values = r->values + i * r->slots;
    const uint8_t *columns = r->columns + i * r->slots;
    for (size_t k = 0; r->far && k < rows; k++) {
        prefetch_row(r, i + rows + k);
    }
    for (size_t p = 0; p < r->count; p++) {
        for (size_t k = 0; k < rows; k++) {
            add(origin, columns[k * r->slots + p], values[k * r->slots + p], nv, acc[k]);
        }
    }
    for (size_t k = 0; k < rows; k++) {
        panel_end(r->y + (ptrdiff_t)(i + k) * r->ldy, r->last, r->act, nv, t, acc[k]);
    }
}

PANEL_INLINE void
tiles(const nm_run *r, size_t nv)
{
    const panel_tail t = panel_tail_of(r->n);
    size_t i = r->first;
    for (; i + 2 <= r->stop; i += 2) {
        tile(r, i, 2, nv, t);
    }
    if (i < r->stop) {
        tile(r, i, 1, nv, t);
    }
}

static void
spmm(const nm_run *r)
{
    switch ((r->n + VS_LANES - 1) / VS_LANES) {
#if VS_LANES == 16
    case 8:
        tiles(r, 8);
        break;
    case 7:
        tiles(r, 7);
        break;
    case 6:
        tiles(r, 6);
        break;
    case 5:
        tiles(r, 5);
        break;
#endif
    case 4:
        tiles(r, 4);
        break;
    case 3:
        tiles(r, 3);
        break;
    case 2:
        tiles(r, 2);
        break;
    default:
        tiles(r, 1);
        break;
    }
}

/* One mask's columns of `rows` rows; p[k] is row k's next value. */
PANEL_INLINE void
spread(const nm_vector *r, size_t rows, size_t word, const uint16_t *masks, size_t pitch,
       const float **p, vs *acc)
{
    const float *x = r->x + word * NM_WORD;
    for (size_t k = 0; k < rows; k++) {
        const uint32_t mask = masks[k * pitch + word];
        for (size_t lane = 0; lane < NM_WORD; lane += VS_LANES) {
            const uint32_t part = mask >> lane & ((1U << VS_LANES) - 1U);
            acc[k] = vs_fma_expand(p[k], part, x + lane, acc[k]);
            p[k] += __builtin_popcount(part);
        }
    }
}

/* The columns that come in whole groups of 32 with 16 weights stored; their number. */
PANEL_INLINE size_t
pick(const nm_vector *r, size_t i, size_t rows, const float **p, vs *acc)
{
#if VS_LANES == 16
    const uint8_t *columns = r->columns + i * r->slots;
    size_t j = 0;
    for (; r->half && j + 32 <= r->cols; j += 32, columns += 16) {
        const vs lo = vs_load(r->x + j);
        const vs hi = vs_load(r->x + j + 16);
        for (size_t k = 0; k < rows; k++) {
            acc[k] = vs_fma(vs_load(p[k]), vs_pick32(lo, hi, columns + k * r->slots), acc[k]);
            __builtin_prefetch((const void *)((uintptr_t)p[k] + AHEAD));
            p[k] += 16;
        }
    }
    return j;
#else
    (void)r;
    (void)i;
    (void)rows;
    (void)p;
    (void)acc;
    return 0;
#endif
}

PANEL_INLINE void
vector_rows(const nm_vector *r, size_t i, size_t rows)
{
    const size_t words = (r->cols + NM_WORD - 1) / NM_WORD;
    const uint16_t *masks = r->masks + i * words;
    const float *p[ROWS];
    vs acc[ROWS];
    for (size_t k = 0; k < rows; k++) {
        p[k] = r->values + (i + k) * r->slots;
        acc[k] = vs_set(0.0F);
    }
    for (size_t word = pick(r, i, rows, p, acc) / NM_WORD; word < words; word++) {
        spread(r, rows, word, masks, words, p, acc);
    }
    for (size_t k = 0; k < rows; k++) {
        r->y[(ptrdiff_t)(i + k) * r->ldy] =
            vs_clamp1(vs_sum(acc[k]) + r->bias[i + k], r->act.lo, r->act.hi);
    }
}

static void
gemv(const nm_vector *r)
{
    size_t i = r->first;
    for (; i + ROWS <= r->stop; i += ROWS) {
        vector_rows(r, i, ROWS);
    }
    for (; i < r->stop; i++) {
        vector_rows(r, i, 1);
    }
}

/* The c-th vector of columns behind the column at which values and codes begin; x are its elements.
 */
PANEL_INLINE vs
add_quad(const float *values, const uint32_t *codes, size_t c, size_t t, bool far, vs x, vs acc)
{
    const size_t lane = c * VS_LANES % NM_UNIT;
    const size_t at = c * VS_LANES / NM_UNIT * t;
    for (size_t s = 0; s < t; s++) {
        const float *v = values + (at + s) * NM_UNIT + lane;
        if (far) {
            __builtin_prefetch((const void *)((uintptr_t)v + AHEAD));
        }
        acc = vs_fma(vs_load(v), vs_pick4(x, codes[at + s] >> 2 * lane), acc);
    }
    return acc;
}

/* The sums of a quad's rows. */
PANEL_INLINE void
quad(const nm_quads *r, const float *values, const uint32_t *codes, size_t t, bool far, float *sums)
{
    enum { SPAN = CHAINS * VS_LANES };
    vs acc[CHAINS];
    for (size_t c = 0; c < CHAINS; c++) {
        acc[c] = vs_set(0.0F);
    }
    const float *x = r->x;
    size_t left = r->cols;
    for (; left >= SPAN; left -= SPAN) {
        for (size_t c = 0; c < CHAINS; c++) {
            acc[c] = add_quad(values, codes, c, t, far, vs_load(x + c * VS_LANES), acc[c]);
        }
        x += SPAN;
        values += SPAN * t;
        codes += SPAN / NM_UNIT * t;
    }
    for (size_t c = 0; c < CHAINS; c++) {
        const size_t at = c * VS_LANES;
        if (at < left) {
            acc[c] = add_quad(values, codes, c, t, far, vs_load_part(x + at, left - at), acc[c]);
        }
    }
    vs_sum_by4(vs_add(vs_add(acc[0], acc[2]), vs_add(acc[1], acc[3])), sums);
}

PANEL_INLINE void
quads(const nm_quads *r, size_t t, bool far)
{
    const size_t units = (r->cols + NM_UNIT - 1) / NM_UNIT;
    for (size_t q = r->first / NM_QUAD; q * NM_QUAD < r->stop; q++) {
        float sums[NM_QUAD];
        const size_t at = q * units * t;
        quad(r, r->values + at * NM_UNIT, r->codes + at, t, far, sums);
        for (size_t k = 0; k < NM_QUAD; k++) {
            const size_t i = q * NM_QUAD + k;
            if (i >= r->first && i < r->stop) {
                r->y[(ptrdiff_t)i * r->ldy] = vs_clamp1(sums[k] + r->bias[i], r->act.lo, r->act.hi);
            }
        }
    }
}

PANEL_INLINE void
quads_of(const nm_quads *r, bool far)
{
    switch (r->t) {
    case 4:
        quads(r, 4, far);
        break;
    case 3:
        quads(r, 3, far);
        break;
    case 2:
        quads(r, 2, far);
        break;
    default:
        quads(r, 1, far);
        break;
    }
}

static void
gemv_quads(const nm_quads *r)
{
    if (r->far) {
        quads_of(r, true);
    }
    else {
        quads_of(r, false);
    }
}

extern const dns_nm_ops DNS_ISA_FN(dns_nm_ops);
const dns_nm_ops DNS_ISA_FN(dns_nm_ops) = {
    .isa = DNS_ISA_VALUE,
    .panel = NT,
    .pack = pack,
    .spmm = spmm,
    .gemv = gemv,
    .gemv_quads = gemv_quads,
};
