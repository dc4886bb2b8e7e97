/* CSR times dense, compiled per instruction-set level.
 *
 * Each stored weight w(i,k) adds w times row k of X to row i of Y: 2 N flop for 4 N bytes of X, so
 * the speed is that of the level in which the touched part of X lies. X is therefore packed into
 * panels of NT columns, [N / NT][K][NT], and K is cut into blocks that fit the first cache: a block
 * of a panel is read from there by all rows. Packing also removes the power-of-two row pitch of X,
 * whose lines would share a few cache sets.
 *
 * A tile is two rows times NT = 4 vectors: eight accumulators hide the latency of the multiply-add
 * (four cycles, two per cycle). Per weight it takes one broadcast and four loads, so two loads a
 * cycle would allow 0.8 of the arithmetic peak; cores that do not load and multiply at both full
 * rates at once stay near half of it. The two rows' weights alternate in one stream of
 * {byte offset, value}; rows are sorted by their number of weights in the block, so that two
 * neighbours end together and the part that runs with four accumulators is short. Streams that come
 * from beyond the second cache are prefetched: the processor's own prefetcher stops at every page.
 * Nearer ones are not, for a prefetch takes the place of a load.
 *
 * The idea of a stream of offsets is that of XNNPACK's f32-spmm; sorting rows by their length that
 * of Sputnik (Gale et al., SC 2020), which uses it for balance.
 *
 * Vectors that lie in rows are transposed into the same panels, and their sums, [M][NT] per panel,
 * back, a square of vectors at a time.
 *
 * One vector (N = 1) has a stream of its own, in which the rows of a slice alternate: one lane per
 * row, its elements of x gathered. So each row's sum is still one accumulator in column order, as
 * with many vectors. Slices take rows of about equal length (as SELL-C-sigma does: Kreutzer et al.,
 * SIAM J. Sci. Comput. 36, 2014) but hold no padding: once the shortest row has ended, the
 * remaining weights are added one by one. A weight takes 6 bytes.
 */
#include "kernels/csr_internal.h"
#include "kernels/panel_f32.h"
#include "kernels/vec_gather.h"
#include "kernels/vec_transpose.h"

enum { NV = 4, AHEAD = 1024 /* bytes of a stream */ };
#define NT (NV * VS_LANES)

/* Hints that p's `bytes`-th next byte will be read soon; never faults. */
static inline void
prefetch(const void *p, size_t bytes)
{
    __builtin_prefetch((const void *)((uintptr_t)p + bytes));
}

static void
pack(const float *x, ptrdiff_t ldx, size_t k, size_t n, float *panel)
{
    panel_pack(x, ldx, k, n, NT, panel);
}

static void
pack_rows(const float *x, ptrdiff_t ldx, size_t k, size_t n, float *panel)
{
    vs_transpose_rows(x, ldx, n, k, panel, NT, true);
}

static void
unpack_rows(const float *sums, size_t rows, size_t n, float *y, ptrdiff_t ldy)
{
    vs_transpose_rows(sums, NT, rows, n, y, ldy, false);
}

PANEL_INLINE void
begin(const csr_run *r, int32_t row, size_t nv, panel_tail t, vs *acc)
{
    panel_begin(r->bias != NULL ? r->bias + row : NULL, r->y + row * r->ldy, nv, t, acc);
}

PANEL_INLINE void
end(const csr_run *r, int32_t row, bool last, size_t nv, panel_tail t, const vs *acc)
{
    panel_end(r->y + row * r->ldy, last, r->act, nv, t, acc);
}

PANEL_INLINE void
add(const csr_run *r, const csr_entry *e, size_t nv, vs *acc)
{
    const float *x = (const float *)((const char *)r->x + e->offset);
    __asm__("" : "+r"(x)); /* one register: an indexed operand splits the multiply-add in two */
    const vs w = vs_set(e->value);
    for (size_t v = 0; v < nv; v++) {
        acc[v] = vs_fma(w, vs_load(x + v * VS_LANES), acc[v]);
    }
}

PANEL_INLINE void
tiles(const csr_run *run, size_t nv, panel_tail t)
{
    const csr_run copy = *run; /* which stores to Y cannot change: it stays in registers */
    const csr_run *r = &copy;
    const csr_entry *e = r->entries;
    for (const csr_pair *p = r->pairs; p < r->pairs + r->n_pairs; p++) {
        vs a[NV];
        begin(r, p->row[0], nv, t, a);
        if (p->row[1] >= 0) {
            vs b[NV];
            begin(r, p->row[1], nv, t, b);
            for (const csr_entry *stop = e + (size_t)2 * p->both; e < stop; e += 2) {
                if (r->far) {
                    prefetch(e, AHEAD);
                }
                add(r, e, nv, a);
                add(r, e + 1, nv, b);
            }
            end(r, p->row[1], p->last & 2, nv, t, b);
        }
        for (const csr_entry *stop = e + p->rest; e < stop; e++) {
            add(r, e, nv, a);
        }
        end(r, p->row[0], p->last & 1, nv, t, a);
    }
}

static void
spmm(const csr_run *r)
{
    const panel_tail t = panel_tail_of(r->n);
    switch ((r->n + VS_LANES - 1) / VS_LANES) {
    case 4:
        tiles(r, 4, t);
        break;
    case 3:
        tiles(r, 3, t);
        break;
    case 2:
        tiles(r, 2, t);
        break;
    default:
        tiles(r, 1, t);
        break;
    }
}

#if VS_LANES > 4
/* acc + values * x[columns] for VS_LANES rows. */
static inline vs
add_gathered(const float *x, const uint16_t *columns, const float *values, vs acc)
{
    return vs_fma(vs_load(values), vs_gather(x, columns), acc);
}

/* The first `steps` steps of a slice, which hold weights of all its rows. */
static inline void
whole_steps(const csr_vector_run *r, size_t at, size_t steps, float *sums)
{
    enum { VECTORS = CSR_SLICE / VS_LANES };
    vs acc[VECTORS];
    for (size_t v = 0; v < VECTORS; v++) {
        acc[v] = vs_load(sums + v * VS_LANES);
    }
    for (size_t k = 0; k < steps; k++, at += CSR_SLICE) {
        prefetch(r->values + at, AHEAD);
        prefetch(r->columns + at, AHEAD / 2);
        for (size_t v = 0; v < VECTORS; v++) {
            const size_t from = at + v * VS_LANES;
            acc[v] = add_gathered(r->x, r->columns + from, r->values + from, acc[v]);
        }
    }
    for (size_t v = 0; v < VECTORS; v++) {
        vs_store(sums + v * VS_LANES, acc[v]);
    }
}
#endif

/* Adds a slice's weights, which begin at `at`, to its sums; returns where they end. */
static inline size_t
add_slice(const csr_vector_run *r, const csr_slice *s, size_t at, float *sums)
{
    size_t k = 0;
#if VS_LANES > 4
    k = s->n[CSR_SLICE - 1];
    whole_steps(r, at, k, sums);
    at += k * CSR_SLICE;
#endif
    size_t rows = CSR_SLICE;
    for (;; k++) {
        while (rows > 0 && s->n[rows - 1] <= k) {
            rows--;
        }
        if (rows == 0) {
            return at;
        }
        for (size_t i = 0; i < rows; i++, at++) {
            sums[i] = vs_fma1(r->values[at], r->x[r->columns[at]], sums[i]);
        }
    }
}

static void
gemv(const csr_vector_run *r)
{
    size_t at = 0;
    for (const csr_slice *s = r->slices; s < r->slices + r->n_slices; s++) {
        float sums[CSR_SLICE] = {0.0F};
        for (size_t i = 0; i < CSR_SLICE && s->row[i] >= 0; i++) {
            sums[i] = r->bias != NULL ? r->bias[s->row[i]] : r->y[s->row[i] * r->ldy];
        }
        at = add_slice(r, s, at, sums);
        for (size_t i = 0; i < CSR_SLICE && s->row[i] >= 0; i++) {
            r->y[s->row[i] * r->ldy] =
                s->last >> i & 1 ? vs_clamp1(sums[i], r->act.lo, r->act.hi) : sums[i];
        }
    }
}

extern const dns_csr_ops DNS_ISA_FN(dns_csr_ops);
const dns_csr_ops DNS_ISA_FN(dns_csr_ops) = {
    .isa = DNS_ISA_VALUE,
    .panel = NT,
    .pack = pack,
    .pack_rows = pack_rows,
    .unpack_rows = unpack_rows,
    .spmm = spmm,
    .gemv = gemv,
};
