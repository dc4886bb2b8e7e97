/* BSR times dense, compiled per instruction-set level.
 *
 * A block row is cut into strips of at most four rows, and a block into its columns, so that one
 * kernel serves all block sizes: per stored column of a strip it loads one row of a packed panel of
 * X once and uses it for every row of the strip. A tile of 4 rows times NV = 4 vectors has sixteen
 * accumulators and takes 4 loads and 4 broadcasts for 16 multiply-adds; with two of either a cycle
 * the arithmetic bounds it, where CSR is bound by loads. (8 rows times 2 vectors would need 2 + 8.)
 * AVX2's sixteen registers hold 4 x 3 sums, three vectors of X and a weight.
 *
 * K is cut into blocks whose packed panel fits the first cache (bsr.c), as for CSR (csr_isa.c).
 */
#include "kernels/bsr_internal.h"
#include "kernels/panel_f32.h"

enum { NV = VS_LANES == 16 ? 4 : VS_LANES == 8 ? 3 : 2 };
#define NT (NV * VS_LANES)

static void
pack(const float *x, ptrdiff_t ldx, size_t k, size_t n, float *panel)
{
    panel_pack(x, ldx, k, n, NT, panel);
}

/* Strip s, which has `rows` rows, on nv vectors. */
PANEL_INLINE void
strip(const bsr_run *r, size_t s, size_t rows, size_t nv, panel_tail t)
{
    const ptrdiff_t row = r->rows[s];
    float *y = r->y + row * r->ldy;
    vs acc[BSR_STRIP][NV];
    for (size_t i = 0; i < rows; i++) {
        panel_begin(r->bias != NULL ? r->bias + row + i : NULL, y + (ptrdiff_t)i * r->ldy, nv, t,
                    acc[i]);
    }
    const bsr_word *stop = r->words + r->start[s + 1];
    for (const bsr_word *e = r->words + r->start[s]; e < stop; e += rows + 1) {
        const float *x = (const float *)((const char *)r->x + e->offset);
        vs b[NV];
        for (size_t v = 0; v < nv; v++) {
            b[v] = vs_load(x + v * VS_LANES);
        }
        for (size_t i = 0; i < rows; i++) {
            const vs w = vs_set(e[1 + i].value);
            for (size_t v = 0; v < nv; v++) {
                acc[i][v] = vs_fma(w, b[v], acc[i][v]);
            }
        }
    }
    for (size_t i = 0; i < rows; i++) {
        panel_end(y + (ptrdiff_t)i * r->ldy, r->last, r->act, nv, t, acc[i]);
    }
}

PANEL_INLINE void
strips(const bsr_run *r, size_t nv)
{
    const panel_tail t = panel_tail_of(r->n);
    for (size_t s = r->first; s < r->stop; s++) {
        if (r->start[s] == r->start[s + 1] && r->bias == NULL && !r->last) {
            continue;
        }
        switch (r->rows[s + 1] - r->rows[s]) {
        case 4:
            strip(r, s, 4, nv, t);
            break;
        case 3:
            strip(r, s, 3, nv, t);
            break;
        case 2:
            strip(r, s, 2, nv, t);
            break;
        default:
            strip(r, s, 1, nv, t);
            break;
        }
    }
}

static void
spmm(const bsr_run *r)
{
    switch ((r->n + VS_LANES - 1) / VS_LANES) {
#if VS_LANES == 16
    case 4:
        strips(r, 4);
        break;
#endif
#if VS_LANES >= 8
    case 3:
        strips(r, 3);
        break;
#endif
    case 2:
        strips(r, 2);
        break;
    default:
        strips(r, 1);
        break;
    }
}

PANEL_INLINE void
vector_strip(const bsr_run *r, size_t s, size_t rows)
{
    const ptrdiff_t row = r->rows[s];
    float *y = r->y + row * r->ldy;
    float acc[BSR_STRIP];
    for (size_t i = 0; i < rows; i++) {
        acc[i] = r->bias != NULL ? r->bias[row + (ptrdiff_t)i] : y[(ptrdiff_t)i * r->ldy];
    }
    const bsr_word *stop = r->words + r->start[s + 1];
    for (const bsr_word *e = r->words + r->start[s]; e < stop; e += rows + 1) {
        const float x = *(const float *)((const char *)r->x + e->offset / NT);
        for (size_t i = 0; i < rows; i++) {
            acc[i] = vs_fma1(e[1 + i].value, x, acc[i]);
        }
    }
    for (size_t i = 0; i < rows; i++) {
        y[(ptrdiff_t)i * r->ldy] = r->last ? vs_clamp1(acc[i], r->act.lo, r->act.hi) : acc[i];
    }
}

static void
gemv(const bsr_run *r)
{
    for (size_t s = r->first; s < r->stop; s++) {
        switch (r->rows[s + 1] - r->rows[s]) {
        case 4:
            vector_strip(r, s, 4);
            break;
        case 3:
            vector_strip(r, s, 3);
            break;
        case 2:
            vector_strip(r, s, 2);
            break;
        default:
            vector_strip(r, s, 1);
            break;
        }
    }
}

extern const dns_bsr_ops DNS_ISA_FN(dns_bsr_ops);
const dns_bsr_ops DNS_ISA_FN(dns_bsr_ops) = {
    .isa = DNS_ISA_VALUE,
    .panel = NT,
    .pack = pack,
    .spmm = spmm,
    .gemv = gemv,
};
