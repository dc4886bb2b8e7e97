/* Sampled products, compiled per instruction-set level.
 *
 * An entry is the dot product of a row of Q, held in registers, with a row of K: 2 depth flop for 4
 * depth bytes, so a block of K's rows must stay in the first cache while a tile of Q's rows passes.
 * K is packed, once per problem, into rows that begin at cache lines: a vector that straddles two
 * costs two loads. Adding up each product's lanes on its own would cost as much as a product of
 * depth 64; so as many products as a vector has lanes are kept in registers, and one tree of
 * shuffles, half of them blends, adds each level for two of them at once. The result is the vector
 * of their sums. What is left of a row's entries in the block goes by four. The rows of a tile come
 * in the order of their number of entries in the block, so that branches are predicted.
 *
 * Per entry of depth 64 at sixteen lanes: 4 multiply-adds and 2.8 instructions of the tree on two
 * ports, 3.4 cycles; 4 loads, two a cycle, hide behind them.
 */
#include "kernels/sddmm_internal.h"
#include "kernels/vec_sums.h"

enum { NV = 4, NEAR = 8 }; /* vectors of Q, and pointers to rows of K, in registers */

static void
pack(const float *k, ptrdiff_t ldk, size_t rows, size_t depth, float *packed)
{
    for (size_t i = 0; i < rows; i++, k += ldk) {
        for (size_t t = 0; t < depth; t += VS_LANES, packed += VS_LANES) {
            vs_store(packed, vs_load_part(k + t, depth - t));
        }
    }
}

/* acc[i] += the products of nv vectors of a row of Q, the last of which is masked unless `whole`,
 * with those of rows columns[i] of K, `pitch` apart. */
static inline __attribute__((always_inline)) void
step(const float *q, const float *k, size_t pitch, const uint16_t *columns, size_t n, size_t nv,
     bool whole, vs_mask mask, bool begin, vs *acc)
{
    vs a[NV];
    for (size_t v = 0; v < nv; v++) {
        a[v] =
            v + 1 < nv || whole ? vs_load(q + v * VS_LANES) : vs_load_mask(q + v * VS_LANES, mask);
    }
    const size_t near = n < NEAR ? n : NEAR;
#pragma GCC unroll 2
    for (size_t i = 0; i < n; i += near) {
        const float *row[NEAR];
#pragma GCC unroll 8
        for (size_t j = 0; j < near; j++) {
            row[j] = k + (size_t)columns[i + j] * pitch;
        }
#pragma GCC unroll 4
        for (size_t v = 0; v < nv; v++) {
#pragma GCC unroll 8
            for (size_t j = 0; j < near; j++) {
                const vs b = vs_load(row[j] + v * VS_LANES);
                acc[i + j] = v == 0 && begin ? vs_mul(a[v], b) : vs_fma(a[v], b, acc[i + j]);
            }
        }
    }
}

/* The products of n rows of K: of depth nv vectors; nv = 0: of any depth, groups of NV vectors,
 * then single ones. */
static inline __attribute__((always_inline)) void
products(const sddmm_run *r, const float *q, size_t pitch, const uint16_t *columns, size_t n,
         size_t nv, bool whole, vs_mask mask, vs *acc)
{
    if (nv > 0) {
        step(q, r->k, nv * VS_LANES, columns, n, nv, whole, mask, true, acc);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        acc[i] = vs_set(0.0F);
    }
    size_t t = 0;
    for (; t + NV * VS_LANES <= r->depth; t += NV * VS_LANES) {
        step(q + t, r->k + t, pitch, columns, n, NV, true, mask, false, acc);
    }
    for (; t < r->depth; t += VS_LANES) {
        const vs_mask some = vs_first(r->depth - t);
        step(q + t, r->k + t, pitch, columns, n, 1, false, some, false, acc);
    }
}

/* The entries of one row: columns [n] and their values. */
static inline __attribute__((always_inline)) void
row_entries(const sddmm_run *r, const float *q, const uint16_t *columns, size_t n, float *values,
            size_t nv, bool whole, vs_mask mask)
{
    const vs scale = vs_set(r->scale);
    const size_t pitch = (r->depth + VS_LANES - 1) / VS_LANES * VS_LANES;
    size_t e = 0;
    for (; e + VS_LANES <= n; e += VS_LANES) {
        vs acc[VS_LANES];
        products(r, q, pitch, columns + e, VS_LANES, nv, whole, mask, acc);
        vs_store(values + e, vs_mul(vs_sums(acc), scale));
    }
    for (; e + 4 <= n; e += 4) {
        vs acc[4];
        products(r, q, pitch, columns + e, 4, nv, whole, mask, acc);
        vs_sums4(acc, r->scale, values + e, 4);
    }
    if (e < n) {
        const size_t some = n - e;
        const uint16_t first = columns[e];
        const uint16_t three[4] = {first, some > 1 ? columns[e + 1] : first,
                                   some > 2 ? columns[e + 2] : first, first};
        vs acc[4];
        products(r, q, pitch, three, 4, nv, whole, mask, acc);
        vs_sums4(acc, r->scale, values + e, some);
    }
}

/* Fetches rows [from, from + n) of those that are needed next, as far as there are. */
static inline void
fetch(const sddmm_ahead *ahead, size_t from, size_t n, size_t depth)
{
    const size_t line = DNS_ALIGN / sizeof(float);
    const size_t stop = from + n < ahead->n ? from + n : ahead->n;
    for (size_t i = from; i < stop; i++) {
        for (size_t t = 0; t < depth; t += line) {
            __builtin_prefetch(ahead->rows + (ptrdiff_t)i * ahead->ld + t, 0, 2);
        }
    }
}

static inline __attribute__((always_inline)) const uint16_t *
runs(const sddmm_run *r, size_t nv, bool whole)
{
    const vs_mask mask = vs_first(r->depth % VS_LANES);
    const uint16_t *columns = r->columns;
    const size_t some = r->n_runs > 0 ? r->n_runs : 1;
    const size_t fetched[2] = {(r->ahead[0].n + some - 1) / some,
                               (r->ahead[1].n + some - 1) / some};
    for (size_t i = 0; i < r->n_runs; i++) {
        const dns_pattern_run *run = r->runs + i;
        fetch(&r->ahead[0], i * fetched[0], fetched[0], r->depth);
        fetch(&r->ahead[1], i * fetched[1], fetched[1], r->depth);
        const float *q = r->q + (ptrdiff_t)run->row * r->ldq;
        row_entries(r, q, columns, run->n, r->values + run->at, nv, whole, mask);
        columns += run->n;
    }
    return columns;
}

static const uint16_t *
segment(const sddmm_run *r)
{
    const bool whole = r->depth % VS_LANES == 0;
    switch ((r->depth + VS_LANES - 1) / VS_LANES) {
    case 1:
        return whole ? runs(r, 1, true) : runs(r, 1, false);
    case 2:
        return whole ? runs(r, 2, true) : runs(r, 2, false);
    case 3:
        return whole ? runs(r, 3, true) : runs(r, 3, false);
    case 4:
        return whole ? runs(r, 4, true) : runs(r, 4, false);
    default:
        return runs(r, 0, true);
    }
}

extern const dns_sddmm_ops DNS_ISA_FN(dns_sddmm_ops);
const dns_sddmm_ops DNS_ISA_FN(dns_sddmm_ops) = {
    .isa = DNS_ISA_VALUE,
    .lanes = VS_LANES,
    .pack = pack,
    .segment = segment,
};
