/* CSR times dense, compiled per instruction-set level.
 *
 * Each stored weight w(i,k) adds w times row k of X to row i of Y: 2 N flop for 4 N bytes of X, so
 * the speed is that of the level in which the touched part of X lies. X is therefore packed into
 * panels of NT columns, [N / NT][K][NT], and K is cut into blocks that fit the first cache: a block
 * of a panel is read from there by all rows. Packing also removes the power-of-two row pitch of X,
 * whose lines would share a few cache sets.
 *
 * A tile is two rows times NT = 4 vectors: eight accumulators hide the latency of the multiply-add
 * (four cycles, two per cycle). Per weight it takes one broadcast and four loads, so with two loads
 * a cycle the bound is 0.8 of the arithmetic peak. The two rows' weights alternate in one stream of
 * {byte offset, value}; rows are sorted by their number of weights in the block, so that two
 * neighbours end together and the part that runs with four accumulators is short.
 *
 * The idea of a stream of offsets is that of XNNPACK's f32-spmm; sorting rows by their length that
 * of Sputnik (Gale et al., SC 2020), which uses it for balance.
 *
 * One vector (N = 1) uses the same stream: an offset divided by the panel's pitch is the index in
 * x.
 */
#include "kernels/csr_internal.h"
#include "kernels/vec_f32.h"

enum { NV = 4 };
#define NT (NV * VS_LANES)

static void
pack(const float *x, ptrdiff_t ldx, size_t k, size_t n, float *panel)
{
    const size_t full = n / VS_LANES;
    const vs_mask tail = vs_first(n % VS_LANES);
    for (size_t i = 0; i < k; i++, x += ldx, panel += NT) {
        for (size_t v = 0; v < full; v++) {
            vs_store(panel + v * VS_LANES, vs_load(x + v * VS_LANES));
        }
        if (n % VS_LANES != 0) {
            vs_store(panel + full * VS_LANES, vs_load_mask(x + full * VS_LANES, tail));
        }
    }
}

/* Shape of a tile: nv vectors, of which the last has `tail` lanes (0 = all). */
typedef struct shape {
    size_t tail;
    vs_mask mask;
} shape;

static inline __attribute__((always_inline)) void
begin(const csr_run *r, int32_t row, size_t nv, shape s, vs *acc)
{
    if (r->bias != NULL) {
        for (size_t v = 0; v < nv; v++) {
            acc[v] = vs_set(r->bias[row]);
        }
        return;
    }
    const float *y = r->y + row * r->ldy;
    for (size_t v = 0; v < nv; v++) {
        acc[v] = v + 1 == nv && s.tail ? vs_load_mask(y + v * VS_LANES, s.mask)
                                       : vs_load(y + v * VS_LANES);
    }
}

static inline __attribute__((always_inline)) void
end(const csr_run *r, int32_t row, bool last, size_t nv, shape s, const vs *acc)
{
    float *y = r->y + row * r->ldy;
    const vs lo = vs_set(r->act.lo);
    const vs hi = vs_set(r->act.hi);
    for (size_t v = 0; v < nv; v++) {
        const vs a = last ? vs_clamp(acc[v], lo, hi) : acc[v];
        if (v + 1 == nv && s.tail) {
            vs_store_mask(y + v * VS_LANES, a, s.mask);
        }
        else {
            vs_store(y + v * VS_LANES, a);
        }
    }
}

static inline __attribute__((always_inline)) void
add(const csr_run *r, const csr_entry *e, size_t nv, vs *acc)
{
    const float *x = (const float *)((const char *)r->x + e->offset);
    const vs w = vs_set(e->value);
    for (size_t v = 0; v < nv; v++) {
        acc[v] = vs_fma(w, vs_load(x + v * VS_LANES), acc[v]);
    }
}

static inline __attribute__((always_inline)) void
tiles(const csr_run *r, size_t nv, shape s)
{
    const csr_entry *e = r->entries;
    for (const csr_pair *p = r->pairs; p < r->pairs + r->n_pairs; p++) {
        vs a[NV];
        begin(r, p->row[0], nv, s, a);
        if (p->row[1] >= 0) {
            vs b[NV];
            begin(r, p->row[1], nv, s, b);
            for (const csr_entry *stop = e + (size_t)2 * p->both; e < stop; e += 2) {
                add(r, e, nv, a);
                add(r, e + 1, nv, b);
            }
            end(r, p->row[1], p->last & 2, nv, s, b);
        }
        for (const csr_entry *stop = e + p->rest; e < stop; e++) {
            add(r, e, nv, a);
        }
        end(r, p->row[0], p->last & 1, nv, s, a);
    }
}

static void
spmm(const csr_run *r)
{
    const size_t tail = r->n % VS_LANES;
    const shape s = {tail, vs_first(tail)};
    switch ((r->n + VS_LANES - 1) / VS_LANES) {
    case 4:
        tiles(r, 4, s);
        break;
    case 3:
        tiles(r, 3, s);
        break;
    case 2:
        tiles(r, 2, s);
        break;
    default:
        tiles(r, 1, s);
        break;
    }
}

static inline float
element(const csr_run *r, const csr_entry *e)
{
    return *(const float *)((const char *)r->x + e->offset / NT);
}

static inline void
finish(const csr_run *r, int32_t row, bool last, float sum)
{
    r->y[row * r->ldy] = last ? vs_clamp1(sum, r->act.lo, r->act.hi) : sum;
}

static void
gemv(const csr_run *r)
{
    const csr_entry *e = r->entries;
    for (const csr_pair *p = r->pairs; p < r->pairs + r->n_pairs; p++) {
        float a = r->bias != NULL ? r->bias[p->row[0]] : r->y[p->row[0] * r->ldy];
        if (p->row[1] >= 0) {
            float b = r->bias != NULL ? r->bias[p->row[1]] : r->y[p->row[1] * r->ldy];
            for (const csr_entry *stop = e + (size_t)2 * p->both; e < stop; e += 2) {
                a = vs_fma1(e[0].value, element(r, e), a);
                b = vs_fma1(e[1].value, element(r, e + 1), b);
            }
            finish(r, p->row[1], p->last & 2, b);
        }
        for (const csr_entry *stop = e + p->rest; e < stop; e++) {
            a = vs_fma1(e->value, element(r, e), a);
        }
        finish(r, p->row[0], p->last & 1, a);
    }
}

extern const dns_csr_ops DNS_ISA_FN(dns_csr_ops);
const dns_csr_ops DNS_ISA_FN(dns_csr_ops) = {
    .isa = DNS_ISA_VALUE,
    .panel = NT,
    .pack = pack,
    .spmm = spmm,
    .gemv = gemv,
};
