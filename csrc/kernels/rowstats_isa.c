/* Row statistics of logits, compiled per instruction-set level.
 *
 * Two passes: the two largest values by min and max, then S and T. Dividing, ln and the exp of the
 * margin wait until a vector of rows is complete, and are done for all its lanes at once.
 *
 * Rows of at most SMALL classes are transposed, a vector of rows at a time, so that a lane is a row
 * and nothing is ever added across lanes; maps have that order from the start. In longer rows a
 * lane takes every VS_LANES-th class. Sums are folded into a second accumulator every FOLD vectors,
 * so that rounding grows with FOLD + C / (FOLD VS_LANES), not with C. Whether a row holds a NaN is
 * read off S; only then is it looked for.
 *
 * Per vector of logits the second pass takes 15 arithmetic instructions (one more with a
 * temperature), the first 3 (5 where the argmax is kept per lane), at two a cycle.
 */
#include "kernels/rowstats_internal.h"
#include "kernels/vec_exp.h"

enum {
    SMALL = 128,       /* classes of rows that are transposed */
    FOLD = 32,         /* vectors between folds */
    TILE_FLOATS = 8192 /* of a copied tile of a map: 32 KiB */
};

/* What is known of a vector of rows after both passes. */
typedef struct row_sums {
    vs top, second, s, t;
} row_sums;

static inline __attribute__((always_inline)) vs
shifted(vs v, vs top, vs scale, bool scaled)
{
    const vs d = vs_sub(v, top);
    return vs_exp_floor(scaled ? vs_mul(d, scale) : d);
}

/* Results of n <= VS_LANES rows. */
static inline void
finish(const row_sums *r, float scale, size_t n, const dns_rowstats *out)
{
    const vs one = vs_set(1.0F);
    const vs inverse = vs_div(one, r->s);
    const vs gap = vs_exp(vs_mul(vs_sub(r->second, r->top), vs_set(scale)));
    vs_store_part(out->max_prob, inverse, n);
    vs_store_part(out->margin, vs_mul(vs_sub(one, gap), inverse), n);
    vs_store_part(out->entropy, vs_sub(vs_log(r->s), vs_mul(r->t, inverse)), n);
}

/* Index of the first NaN of a row whose classes are `pitch` apart; `other` if there is none. */
static int64_t
first_nan(const float *x, ptrdiff_t pitch, size_t classes, int64_t other)
{
    for (size_t c = 0; c < classes; c++) {
        const float v = x[(ptrdiff_t)c * pitch];
        if (v != v) {
            return (int64_t)c;
        }
    }
    return other;
}

/* n <= VS_LANES lanes whose classes are `pitch` apart; `full` when all VS_LANES may be read. */
static inline __attribute__((always_inline)) void
lanes(const float *x, ptrdiff_t pitch, size_t n, bool full, size_t classes, float scale,
      bool scaled, dns_rowstats out)
{
    const vs_mask mask = vs_first(n);
    const vs none = vs_set(-INFINITY);
    row_sums r = {none, none, vs_set(0.0F), vs_set(0.0F)};
    vs index = vs_set(0.0F);
    const float *p = x;
    for (size_t c = 0; c < classes; c++, p += pitch) {
        const vs v = full ? vs_load(p) : vs_load_mask(p, mask);
        index = vs_if_gt(v, r.top, vs_set((float)c), index);
        r.second = vs_max(r.second, vs_min(r.top, v));
        r.top = vs_max(r.top, v);
    }
    const vs factor = vs_set(scale);
    p = x;
    for (size_t c = 0; c < classes;) {
        const size_t stop = classes - c < FOLD ? classes : c + FOLD;
        vs s = vs_set(0.0F);
        vs t = vs_set(0.0F);
        for (; c < stop; c++, p += pitch) {
            const vs v = full ? vs_load(p) : vs_load_mask(p, mask);
            const vs d = shifted(v, r.top, factor, scaled);
            const vs e = vs_exp_near(d);
            s = vs_add(s, e);
            t = vs_fma(d, e, t);
        }
        r.s = vs_add(r.s, s);
        r.t = vs_add(r.t, t);
    }
    finish(&r, scale, n, &out);
    float at[VS_LANES];
    vs_store(at, index);
    const unsigned whole = vs_eq_bits(r.s, r.s);
    for (size_t i = 0; i < n; i++) {
        const int64_t k = (int64_t)at[i];
        out.argmax[i] = whole >> i & 1U ? k : first_nan(x + i, pitch, classes, k);
    }
}

static inline dns_rowstats
from(dns_rowstats out, size_t i)
{
    return (dns_rowstats){out.max_prob + i, out.margin + i, out.entropy + i, out.argmax + i};
}

/* tile[c][i] = class c of row i of n <= VS_LANES; lanes from n on hold 0. */
static void
transpose_rows(const float *x, ptrdiff_t ld, size_t n, size_t classes, float *tile)
{
    for (size_t c = 0; c < classes; c += VS_LANES) {
        const size_t width = classes - c < VS_LANES ? classes - c : VS_LANES;
        vs r[VS_LANES];
        if (n == VS_LANES && width == VS_LANES) {
            for (size_t i = 0; i < VS_LANES; i++) {
                r[i] = vs_load(x + (ptrdiff_t)i * ld + c);
            }
        }
        else {
            const vs_mask m = vs_first(width);
            for (size_t i = 0; i < VS_LANES; i++) {
                r[i] = i < n ? vs_load_mask(x + (ptrdiff_t)i * ld + c, m) : vs_set(0.0F);
            }
        }
        vs_transpose(r);
        for (size_t i = 0; i < VS_LANES; i++) {
            vs_store(tile + (c + i) * VS_LANES, r[i]);
        }
    }
}

static inline __attribute__((always_inline)) void
small_rows(const float *x, ptrdiff_t ld, size_t n, size_t classes, float scale, bool scaled,
           dns_rowstats out)
{
    float tile[SMALL * VS_LANES] __attribute__((aligned(64)));
    for (size_t i = 0; i < n; i += VS_LANES) {
        const size_t count = n - i < VS_LANES ? n - i : VS_LANES;
        transpose_rows(x + (ptrdiff_t)i * ld, ld, count, classes, tile);
        lanes(tile, VS_LANES, count, true, classes, scale, scaled, from(out, i));
    }
}

/* The two largest of a row, and their place in its lanes' order. */
static inline void
top_two(const float *x, size_t classes, float *top, float *second)
{
    enum { WAYS = 4 };
    const vs none = vs_set(-INFINITY);
    vs a[WAYS];
    vs b[WAYS];
    for (size_t w = 0; w < WAYS; w++) {
        a[w] = none;
        b[w] = none;
    }
    size_t c = 0;
    for (; c + WAYS * VS_LANES <= classes; c += WAYS * VS_LANES) {
        for (size_t w = 0; w < WAYS; w++) {
            const vs v = vs_load(x + c + w * VS_LANES);
            b[w] = vs_max(b[w], vs_min(a[w], v));
            a[w] = vs_max(a[w], v);
        }
    }
    for (; c < classes; c += VS_LANES) {
        const vs v =
            classes - c < VS_LANES ? vs_load_else(x + c, classes - c, none) : vs_load(x + c);
        b[0] = vs_max(b[0], vs_min(a[0], v));
        a[0] = vs_max(a[0], v);
    }
    for (size_t w = 1; w < WAYS; w++) {
        b[0] = vs_max(vs_max(b[0], b[w]), vs_min(a[0], a[w]));
        a[0] = vs_max(a[0], a[w]);
    }
    *top = vs_top(a[0]);
    const unsigned holders = vs_eq_bits(a[0], vs_set(*top));
    const unsigned first = holders & (0U - holders);
    *second = vs_top(vs_keep(a[0], ~first, b[0]));
}

static inline size_t
first_equal(const float *x, size_t classes, float value)
{
    const vs v = vs_set(value);
    size_t c = 0;
    for (; c + VS_LANES <= classes; c += VS_LANES) {
        const unsigned bits = vs_eq_bits(vs_load(x + c), v);
        if (bits != 0) {
            return c + (size_t)__builtin_ctz(bits);
        }
    }
    for (; c < classes; c++) {
        if (x[c] == value) {
            return c;
        }
    }
    return 0;
}

static inline __attribute__((always_inline)) void
sums(const float *x, size_t classes, float top, float scale, bool scaled, float *s_out,
     float *t_out)
{
    const vs m = vs_set(top);
    const vs factor = vs_set(scale);
    vs s_all = vs_set(0.0F);
    vs t_all = vs_set(0.0F);
    for (size_t c = 0; c < classes;) {
        const size_t left = classes - c;
        const size_t stop = left < (size_t)FOLD * VS_LANES ? classes : c + FOLD * VS_LANES;
        vs s = vs_set(0.0F);
        vs t = vs_set(0.0F);
        for (; c + VS_LANES <= stop; c += VS_LANES) {
            const vs d = shifted(vs_load(x + c), m, factor, scaled);
            const vs e = vs_exp_near(d);
            s = vs_add(s, e);
            t = vs_fma(d, e, t);
        }
        if (c < stop) {
            const vs v = vs_load_else(x + c, stop - c, vs_set(-INFINITY));
            const vs d = shifted(v, m, factor, scaled);
            const vs e = vs_exp_near(d);
            s = vs_add(s, e);
            t = vs_fma(d, e, t);
            c = stop;
        }
        s_all = vs_add(s_all, s);
        t_all = vs_add(t_all, t);
    }
    *s_out = vs_sum(s_all);
    *t_out = vs_sum(t_all);
}

static inline __attribute__((always_inline)) void
long_rows(const float *x, ptrdiff_t ld, size_t n, size_t classes, float scale, bool scaled,
          dns_rowstats out)
{
    for (size_t i0 = 0; i0 < n; i0 += VS_LANES) {
        const size_t count = n - i0 < VS_LANES ? n - i0 : VS_LANES;
        float part[4][VS_LANES] = {{0.0F}};
        for (size_t i = 0; i < count; i++) {
            const float *row = x + (ptrdiff_t)(i0 + i) * ld;
            top_two(row, classes, &part[0][i], &part[1][i]);
            sums(row, classes, part[0][i], scale, scaled, &part[2][i], &part[3][i]);
            const int64_t at = (int64_t)first_equal(row, classes, part[0][i]);
            out.argmax[i0 + i] = part[2][i] == part[2][i] ? at : first_nan(row, 1, classes, at);
        }
        const row_sums r = {vs_load(part[0]), vs_load(part[1]), vs_load(part[2]), vs_load(part[3])};
        const dns_rowstats here = from(out, i0);
        finish(&r, scale, count, &here);
    }
}

static void
rows(const float *x, ptrdiff_t ld, size_t n, size_t classes, float scale, dns_rowstats out)
{
    if (classes <= SMALL) {
        if (scale == 1.0F) {
            small_rows(x, ld, n, classes, scale, false, out);
        }
        else {
            small_rows(x, ld, n, classes, scale, true, out);
        }
    }
    else if (scale == 1.0F) {
        long_rows(x, ld, n, classes, scale, false, out);
    }
    else {
        long_rows(x, ld, n, classes, scale, true, out);
    }
}

/* Classes of a map lie at one address modulo a power of two more often than not, in a few sets of
 * every cache: the tile is copied once, and both passes read the copy. */
static inline __attribute__((always_inline)) void
tiles(const float *x, ptrdiff_t pitch, size_t n, size_t classes, float scale, bool scaled,
      dns_rowstats out)
{
    float tile[TILE_FLOATS] __attribute__((aligned(64)));
    const size_t fit = TILE_FLOATS / classes / VS_LANES;
    const size_t width = (fit < 4 ? fit : 4) * VS_LANES;
    for (size_t i = 0; i < n; i += width) {
        const size_t count = n - i < width ? n - i : width;
        for (size_t c = 0; c < classes; c++) {
            memcpy(tile + c * width, x + (ptrdiff_t)c * pitch + i, count * sizeof *tile);
            memset(tile + c * width + count, 0, (width - count) * sizeof *tile);
        }
        for (size_t k = 0; k < count; k += VS_LANES) {
            const size_t some = count - k < VS_LANES ? count - k : VS_LANES;
            lanes(tile + k, (ptrdiff_t)width, some, true, classes, scale, scaled, from(out, i + k));
        }
    }
}

static void
places(const float *x, ptrdiff_t pitch, size_t n, size_t classes, float scale, dns_rowstats out)
{
    if (classes * VS_LANES <= TILE_FLOATS) {
        if (scale == 1.0F) {
            tiles(x, pitch, n, classes, scale, false, out);
        }
        else {
            tiles(x, pitch, n, classes, scale, true, out);
        }
        return;
    }
    for (size_t i = 0; i < n; i += VS_LANES) {
        lanes(x + i, pitch, n - i < VS_LANES ? n - i : VS_LANES, false, classes, scale, true,
              from(out, i));
    }
}

extern const dns_rowstats_ops DNS_ISA_FN(dns_rowstats_ops);
const dns_rowstats_ops DNS_ISA_FN(dns_rowstats_ops) = {
    .isa = DNS_ISA_VALUE,
    .rows = rows,
    .places = places,
};
