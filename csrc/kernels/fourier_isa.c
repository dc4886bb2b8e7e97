/* Fourier mixing of real matrices, compiled per instruction-set level.
 *
 * Only the even part e[r][c] = (x[r][c] + x[-r][-c]) / 2 (indices modulo L and d) contributes to
 * y = Re(F_L F_d x), and F_L F_d e is real: y itself. Three symmetries leave a quarter of the work
 * of a complex transform of L x d:
 *
 * - e has real columns, so two columns a and b are one transform Z of a + i b:
 *   A[i] = (Z[i] + conj Z[-i]) / 2, B[i] = (Z[i] - conj Z[-i]) / 2i, needed for i <= L / 2;
 * - E[i][-c] = conj E[i][c], so columns c <= d / 2 are enough;
 * - rows i of the result are real, so rows i and k are one transform of w = E[i] + i E[k], with
 *   w[-c] = conj(E[i][c] - i E[k][c]), whose parts are the rows of y; and y[-i][-c] = y[i][c].
 *
 * Columns are tiles of the transform between vectors: lanes are columns, no shuffles but one
 * reversal for e. That makes L d (log2 L + log2 d) 5 / 4 operations, one reading of x, one writing
 * of y, and L d / 2 floats written and read twice between: as tiles, and as their spectra. x and y
 * go by whole rows, each with its mirror image: pieces of rows would come from the third cache at
 * half its rate, and rows of w are made where they are transformed.
 */
#include "kernels/fourier_internal.h"

#include <stdbool.h>

#include "kernels/vec_complex.h"

enum { TOGETHER = 8 }; /* tiles that are filled at once: pieces of rows of a KiB at 16 lanes */

/* A quarter of x[r][c ...] + x[-r][-c ...], `count` lanes of it, the others zero. */
static inline vs
even(const fourier_job *job, size_t r, size_t c, size_t count)
{
    const size_t rows = (size_t)1 << job->rows->log2n;
    const size_t d = (size_t)1 << job->cols->log2n;
    const float *here = job->x + (ptrdiff_t)r * job->ldx + c;
    const float *there = job->x + (ptrdiff_t)((rows - r) & (rows - 1)) * job->ldx;
    if (count >= VS_LANES) {
        const float *back = there + d - c - (VS_LANES - 1);
        vs sum = vs_load(here);
        if (c == 0) { /* -0 is 0, at the row's other end */
            sum = vs_add(sum, vs_load_mask(there, vs_first(1)));
            sum = vs_add(sum, vs_reverse(vs_load_mask(back, vs_first(VS_LANES - 1))));
        }
        else {
            sum = vs_add(sum, vs_reverse(vs_load(back)));
        }
        return vs_mul(vs_set(0.25F), sum);
    }
    float lanes[VS_LANES] = {0};
    for (size_t i = 0; i < count; i++) {
        lanes[i] = 0.25F * (here[i] + there[(d - c - i) & (d - 1)]);
    }
    return vs_load(lanes);
}

/* `count` columns from c on of w = a + i b, and their mirror images conj(a - i b). */
static inline void
put(float *w, size_t d, size_t c, size_t count, vc a, vc b)
{
    const vc sum = {vs_sub(a.re, b.im), vs_add(a.im, b.re)};
    const vc mirror = {vs_add(a.re, b.im), vs_sub(b.re, a.im)};
    if (count >= VS_LANES) {
        vc_store_pairs(w + 2 * c, sum, VS_LANES);
        vc_store_pairs(w + 2 * (d - c - (VS_LANES - 1)), vc_reverse(mirror),
                       c == 0 ? VS_LANES - 1 : VS_LANES);
        return;
    }
    float pairs[VC_FLOATS];
    vc_store_pairs(w + 2 * c, sum, count);
    vc_store_pairs(pairs, mirror, VS_LANES);
    for (size_t i = c == 0 ? 1 : 0; i < count; i++) {
        memcpy(w + 2 * (d - c - i), pairs + 2 * i, 2 * sizeof *w);
    }
}

/* Twice the spectra a and b of two columns at frequency i of n, from that of a + i b. */
static inline void
split(const float *u, size_t i, size_t n, vc *a, vc *b)
{
    const vc p = vc_load(u + i * VC_FLOATS);
    const vc q = vc_load(u + ((n - i) & (n - 1)) * VC_FLOATS);
    *a = (vc){vs_add(p.re, q.re), vs_sub(p.im, q.im)};
    *b = (vc){vs_add(p.im, q.im), vs_sub(q.re, p.re)};
}

/* Columns of the tile that begins at column c. */
static inline size_t
columns_of(size_t d, size_t c)
{
    const size_t left = d / 2 + 1 - c;
    return left <= VC_FLOATS ? left : VC_FLOATS;
}

/* Row r of tile k, to the tile t. */
static inline void
gather_row(const fourier_job *job, size_t k, size_t r, float *t)
{
    const size_t c = k * VC_FLOATS;
    const size_t count = columns_of((size_t)1 << job->cols->log2n, c);
    const size_t beyond = count > VS_LANES ? count - VS_LANES : 0;
    const vc v = {even(job, r, c, count), even(job, r, c + VS_LANES, beyond)};
    vc_store(t + r * VC_FLOATS, v);
}

static void
gather(const fourier_job *job, size_t first, size_t stop, float *last)
{
    const size_t n = (size_t)1 << job->rows->log2n;
    for (size_t from = first; from < stop; from += TOGETHER) {
        const size_t to = stop - from < TOGETHER ? stop : from + TOGETHER;
        for (size_t r = 0; r <= n / 2; r++) {
            for (size_t k = from; k < to; k++) {
                float *t = k + 1 < stop ? job->u + (k + 1) * job->slot : last;
                gather_row(job, k, r, t);
                gather_row(job, k, (n - r) & (n - 1), t);
            }
        }
    }
}

static void
middle(const fourier_job *job, float *pairs)
{
    const size_t n = (size_t)1 << job->rows->log2n;
    const float *x = job->x + ((size_t)1 << job->cols->log2n) / 2;
    for (size_t r = 0; r <= n / 2; r++) {
        const size_t back = (n - r) & (n - 1);
        pairs[2 * r] = 0.5F * (x[(ptrdiff_t)r * job->ldx] + x[(ptrdiff_t)back * job->ldx]);
        pairs[2 * r + 1] = 0.0F;
        memcpy(pairs + 2 * back, pairs + 2 * r, 2 * sizeof *pairs);
    }
}

/* `count` columns from c on of row j of w, from the tile u. */
static inline void
pack_tile(const fourier_job *job, const float *u, size_t c, size_t count, size_t j, float *w)
{
    const size_t n = (size_t)1 << job->rows->log2n;
    const size_t d = (size_t)1 << job->cols->log2n;
    const vs zero = vs_set(0.0F);
    vc a[2];
    vc b[2] = {{zero, zero}, {zero, zero}};
    split(u, 2 * j, n, &a[0], &a[1]);
    if (j < n / 4) {
        split(u, 2 * j + 1, n, &b[0], &b[1]);
    }
    put(w, d, c, count < VS_LANES ? count : VS_LANES, a[0], b[0]);
    if (count > VS_LANES) {
        put(w, d, c + VS_LANES, count - VS_LANES, a[1], b[1]);
    }
}

static void
pack(const fourier_job *job, size_t j, size_t rows, float *w, size_t pitch)
{
    const size_t n = (size_t)1 << job->rows->log2n;
    const size_t d = (size_t)1 << job->cols->log2n;
    const float *u = job->u;
    for (size_t c = 0; c < d / 2; c += VC_FLOATS, u += job->slot) {
        const size_t count = columns_of(d, c);
        for (size_t i = 0; i < rows; i++) {
            pack_tile(job, u, c, count, j + i, w + i * pitch);
        }
    }
    for (size_t i = 0; i < rows && d % (2 * VC_FLOATS) == 0; i++) {
        const float *pair = job->middle + 4 * (j + i);
        w[i * pitch + d] = pair[0];
        w[i * pitch + d + 1] = j + i < n / 4 ? pair[2] : 0.0F;
    }
}

/* A row of y at frequency i, and row -i, from v[k ...]. */
static inline void
put_row(const fourier_job *job, size_t i, size_t k, vs v)
{
    const size_t n = (size_t)1 << job->rows->log2n;
    const size_t d = (size_t)1 << job->cols->log2n;
    float *y = job->y + (ptrdiff_t)i * job->ldy;
    vs_store(y + k, v);
    if (i == 0 || i == n / 2) {
        return;
    }
    y = job->y + (ptrdiff_t)(n - i) * job->ldy;
    vs_store_part(y + d - k - (VS_LANES - 1), vs_reverse(v), k == 0 ? VS_LANES - 1 : VS_LANES);
    if (k == 0) {
        vs_store_mask(y, v, vs_first(1));
    }
}

/* The same for rows shorter than a vector. */
static void
put_short(const fourier_job *job, size_t i, const float *z)
{
    const size_t n = (size_t)1 << job->rows->log2n;
    const size_t d = (size_t)1 << job->cols->log2n;
    for (size_t k = 0; k < d; k++) {
        job->y[(ptrdiff_t)i * job->ldy + (ptrdiff_t)k] = z[2 * k];
        job->y[(ptrdiff_t)((n - i) & (n - 1)) * job->ldy + (ptrdiff_t)((d - k) & (d - 1))] =
            z[2 * k];
    }
}

static void
unpack(const fourier_job *job, size_t j, const float *z)
{
    const size_t n = (size_t)1 << job->rows->log2n;
    const size_t d = (size_t)1 << job->cols->log2n;
    const bool both = j < n / 4;
    if (d < VS_LANES) {
        put_short(job, 2 * j, z);
        if (both) {
            put_short(job, 2 * j + 1, z + 1);
        }
        return;
    }
    for (size_t k = 0; k < d; k += VS_LANES) {
        const vc v = vc_load_pairs(z + 2 * k, VS_LANES);
        put_row(job, 2 * j, k, v.re);
        if (both) {
            put_row(job, 2 * j + 1, k, v.im);
        }
    }
}

extern const dns_fourier_ops DNS_ISA_FN(dns_fourier_ops);
const dns_fourier_ops DNS_ISA_FN(dns_fourier_ops) = {
    .isa = DNS_ISA_VALUE,
    .gather = gather,
    .middle = middle,
    .pack = pack,
    .unpack = unpack,
};
