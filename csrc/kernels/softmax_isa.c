/* Softmax of a row, compiled per instruction-set level.
 *
 * Three passes: the maximum; exponentials, stored and summed; the division by the sum, as one
 * product. Nothing is added across lanes before a row's end. Columns that are not seen are -inf in
 * the first two passes, and so 0. Of NaN the maximum tells nothing; the sum does, unless all else
 * is -inf, where the row is looked through. The second pass takes 14 arithmetic instructions per
 * vector, the others one each.
 */
#include "kernels/softmax_internal.h"
#include "kernels/vec_exp.h"

enum { FOLD = 32 }; /* vectors between folds of the sum */

/* One row: which masks it has is known when this is compiled in. */
typedef struct line {
    const float *x, *add;
    const uint64_t *bits;
    size_t n;
} line;

static inline __attribute__((always_inline)) unsigned
seen(const line *r, size_t j)
{
    return (unsigned)(r->bits[j / 64] >> j % 64) & ((1U << VS_LANES) - 1U);
}

/* Scores of columns j to j + VS_LANES, -inf where they are not seen or beyond the row. */
static inline __attribute__((always_inline)) vs
scores(const line *r, size_t j, bool whole, bool added, bool masked)
{
    const vs none = vs_set(-INFINITY);
    vs z = whole ? vs_load(r->x + j) : vs_load_else(r->x + j, r->n - j, none);
    if (added) {
        z = vs_add(z, whole ? vs_load(r->add + j) : vs_load_part(r->add + j, r->n - j));
    }
    return masked ? vs_keep(z, seen(r, j), none) : z;
}

static inline __attribute__((always_inline)) float
largest(const line *r, bool added, bool masked)
{
    vs a = vs_set(-INFINITY);
    vs b = a;
    size_t j = 0;
    for (; j + 2 * VS_LANES <= r->n; j += 2 * VS_LANES) {
        a = vs_max(a, scores(r, j, true, added, masked));
        b = vs_max(b, scores(r, j + VS_LANES, true, added, masked));
    }
    for (; j + VS_LANES <= r->n; j += VS_LANES) {
        a = vs_max(a, scores(r, j, true, added, masked));
    }
    if (j < r->n) {
        b = vs_max(b, scores(r, j, false, added, masked));
    }
    return vs_top(vs_max(a, b));
}

/* Exponentials into y; their sum. */
static inline __attribute__((always_inline)) float
exponentials(const line *r, float top, float *y, bool added, bool masked)
{
    const vs m = vs_set(top);
    vs all = vs_set(0.0F);
    for (size_t j = 0; j < r->n;) {
        const size_t left = r->n - j;
        const size_t stop = left < (size_t)FOLD * VS_LANES ? r->n : j + FOLD * VS_LANES;
        vs sum = vs_set(0.0F);
        for (; j + VS_LANES <= stop; j += VS_LANES) {
            const vs e = vs_exp(vs_sub(scores(r, j, true, added, masked), m));
            vs_store(y + j, e);
            sum = vs_add(sum, e);
        }
        if (j < stop) {
            const vs e = vs_exp(vs_sub(scores(r, j, false, added, masked), m));
            vs_store_part(y + j, e, stop - j);
            sum = vs_add(sum, vs_keep(e, (1U << (stop - j)) - 1U, vs_set(0.0F)));
            j = stop;
        }
        all = vs_add(all, sum);
    }
    return vs_sum(all);
}

static inline __attribute__((always_inline)) void
scale(const line *r, float factor, float *y, bool masked)
{
    const vs f = vs_set(factor);
    for (size_t j = 0; j < r->n; j += VS_LANES) {
        const size_t some = r->n - j;
        vs p = vs_mul(vs_load_part(y + j, some), f);
        if (masked) {
            p = vs_keep(p, seen(r, j), vs_set(0.0F));
        }
        vs_store_part(y + j, p, some);
    }
}

static bool
holds_nan(const line *r)
{
    for (size_t j = 0; j < r->n; j++) {
        const float z = r->add != NULL ? r->x[j] + r->add[j] : r->x[j];
        if (z != z && (r->bits == NULL || (r->bits[j / 64] >> j % 64 & 1) != 0)) {
            return true;
        }
    }
    return false;
}

static inline __attribute__((always_inline)) bool
solve(const line *r, float *y, bool added, bool masked)
{
    const float top = largest(r, added, masked);
    if (top == -INFINITY && !holds_nan(r)) {
        memset(y, 0, r->n * sizeof *y);
        return false;
    }
    const float sum = exponentials(r, top, y, added, masked);
    scale(r, 1.0F / sum, y, masked);
    return true;
}

static bool
row(const float *x, size_t n, const float *add, const uint64_t *bits, float *y)
{
    const line r = {x, add, bits, n};
    if (bits != NULL) {
        return add != NULL ? solve(&r, y, true, true) : solve(&r, y, false, true);
    }
    return add != NULL ? solve(&r, y, true, false) : solve(&r, y, false, false);
}

extern const dns_softmax_ops DNS_ISA_FN(dns_softmax_ops);
const dns_softmax_ops DNS_ISA_FN(dns_softmax_ops) = {
    .isa = DNS_ISA_VALUE,
    .row = row,
};
