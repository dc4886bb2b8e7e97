/* Walsh-Hadamard transform, compiled per instruction-set level.
 *
 * The first levels run inside a vector: with p the vector whose neighbours at distance 2^k are
 * exchanged, the level is x * s + p, s = +1 in the lower and -1 in the upper lanes, one shuffle and
 * one multiply-add (exact: the product is). The next ones run between the 8 or 16 vectors of a base
 * block in registers. All others are passes of radix 8: eight vectors at one distance are loaded,
 * taken through three levels, and stored, so data moves once per three levels. Radix 16 would touch
 * 16 lines at distances that are powers of two, which fall into one set of an 8-way first cache,
 * and evict each other; FFHT (Andoni, Razenshteyn and others) stops at eight vectors as well.
 *
 * Order: a leaf (which fits the first cache) is transformed whole, then each pass runs as soon as
 * its eight parts are ready, so a part is still in the nearest cache that holds it.
 *
 * What bounds it: in the first cache the additions (log2 n of them per element, two vectors a
 * cycle), beyond it one load and one store per element and pass.
 */
#include "kernels/fwht_internal.h"
#include "kernels/vec_f32.h"

enum { LEAF_LOG2 = 12, TILE = 64 };

#if VS_LANES == 16
enum { LANES_LOG2 = 4, BASE_LOG2 = 8 };
#elif VS_LANES == 8
enum { LANES_LOG2 = 3, BASE_LOG2 = 6 };
#else
enum { LANES_LOG2 = 2, BASE_LOG2 = 5 };
#endif
enum { BASE_VECTORS = 1 << (BASE_LOG2 - LANES_LOG2) };

/* Lanes exchanged at distance 2^level. */
static inline __attribute__((always_inline)) vs
flip(vs a, unsigned level)
{
#if VS_LANES == 16
    switch (level) {
    case 0:
        return _mm512_permute_ps(a, 0xb1);
    case 1:
        return _mm512_permute_ps(a, 0x4e);
    case 2:
        return _mm512_shuffle_f32x4(a, a, 0xb1);
    default:
        return _mm512_shuffle_f32x4(a, a, 0x4e);
    }
#elif VS_LANES == 8
    switch (level) {
    case 0:
        return _mm256_permute_ps(a, 0xb1);
    case 1:
        return _mm256_permute_ps(a, 0x4e);
    default:
        return _mm256_permute2f128_ps(a, a, 1);
    }
#else
    return level == 0 ? (vs){a[1], a[0], a[3], a[2]} : (vs){a[2], a[3], a[0], a[1]};
#endif
}

/* The first `levels` <= LANES_LOG2 levels. */
static inline __attribute__((always_inline)) vs
within(vs a, unsigned levels)
{
    static const float signs[4][16] = {
        {1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1},
        {1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1},
        {1, 1, 1, 1, -1, -1, -1, -1, 1, 1, 1, 1, -1, -1, -1, -1},
        {1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1, -1},
    };
    for (unsigned k = 0; k < LANES_LOG2; k++) {
        if (k < levels) {
            a = vs_fma(a, vs_load(signs[k]), flip(a, k));
        }
    }
    return a;
}

static inline __attribute__((always_inline)) void
r2(vs *a, vs *b)
{
    const vs sum = vs_add(*a, *b);
    *b = vs_sub(*a, *b);
    *a = sum;
}

/* All levels between n vectors; n is a constant where it is called. */
static inline __attribute__((always_inline)) void
between(vs *v, size_t n)
{
    for (size_t i = 0; i < n; i += 2) {
        r2(v + i, v + i + 1);
    }
    for (size_t i = 0; n > 2 && i < n; i += 4) {
        r2(v + i, v + i + 2);
        r2(v + i + 1, v + i + 3);
    }
    for (size_t i = 0; n > 4 && i < n; i += 8) {
        r2(v + i, v + i + 4);
        r2(v + i + 1, v + i + 5);
        r2(v + i + 2, v + i + 6);
        r2(v + i + 3, v + i + 7);
    }
    for (size_t i = 0; n > 8 && i < 8; i++) {
        r2(v + i, v + i + 8);
    }
}

/* A whole transform of nv vectors. */
static inline __attribute__((always_inline)) void
block(const float *x, float *y, size_t nv)
{
    vs v[BASE_VECTORS];
    for (size_t i = 0; i < nv; i++) {
        v[i] = within(vs_load(x + i * VS_LANES), LANES_LOG2);
    }
    if (nv > 1) {
        between(v, nv);
    }
    for (size_t i = 0; i < nv; i++) {
        vs_store(y + i * VS_LANES, v[i]);
    }
}

/* One vector, or the first `lanes` lanes of it, through nv rows at distances sx and sy. */
static inline __attribute__((always_inline)) void
fly(const float *x, ptrdiff_t sx, float *y, ptrdiff_t sy, size_t nv, size_t lanes)
{
    vs v[8];
    for (size_t i = 0; i < nv; i++) {
        v[i] = vs_load_part(x + (ptrdiff_t)i * sx, lanes);
    }
    between(v, nv);
    for (size_t i = 0; i < nv; i++) {
        vs_store_part(y + (ptrdiff_t)i * sy, v[i], lanes);
    }
}

static inline __attribute__((always_inline)) void
pass_of(const float *x, ptrdiff_t sx, float *y, ptrdiff_t sy, size_t width, size_t nv)
{
    /* Up to a line's begin first: full vectors then never lie across two lines. */
    const size_t across = (uintptr_t)y % (VS_LANES * sizeof *y) / sizeof *y;
    size_t j = 0;
    if (across != 0 && width >= 4 * VS_LANES) {
        j = VS_LANES - across;
        fly(x, sx, y, sy, nv, j);
    }
    for (; j + VS_LANES <= width; j += VS_LANES) {
        fly(x + j, sx, y + j, sy, nv, VS_LANES);
    }
    if (j < width) {
        fly(x + j, sx, y + j, sy, nv, width - j);
    }
}

/* `levels` levels between 2^levels rows of `width` elements at distances sx and sy. */
static void
pass(const float *x, ptrdiff_t sx, float *y, ptrdiff_t sy, size_t width, unsigned levels)
{
    switch (levels) {
    case 1:
        pass_of(x, sx, y, sy, width, 2);
        break;
    case 2:
        pass_of(x, sx, y, sy, width, 4);
        break;
    default:
        pass_of(x, sx, y, sy, width, 8);
        break;
    }
}

/* 2^log2n <= 2^BASE_LOG2 elements, at least a vector. */
static void
small(const float *x, float *y, unsigned log2n)
{
    switch (log2n - LANES_LOG2) {
    case 0:
        block(x, y, 1);
        break;
    case 1:
        block(x, y, 2);
        break;
    case 2:
        block(x, y, 4);
        break;
    case 3:
        block(x, y, 8);
        break;
    default:
        block(x, y, BASE_VECTORS);
        break;
    }
}

/* A leaf of 2^log2n elements: base blocks, then passes over all of it. */
static void
leaf(const float *x, float *y, unsigned log2n)
{
    if (log2n <= BASE_LOG2) {
        small(x, y, log2n);
        return;
    }
    const size_t n = (size_t)1 << log2n;
    for (size_t i = 0; i < n; i += (size_t)1 << BASE_LOG2) {
        block(x + i, y + i, BASE_VECTORS);
    }
    for (unsigned done = BASE_LOG2; done < log2n;) {
        const unsigned left = log2n - done;
        const unsigned levels = left == 4 || left == 2 ? 2 : left == 1 ? 1 : 3;
        const size_t h = (size_t)1 << done;
        for (size_t i = 0; i < n; i += h << levels) {
            pass(y + i, (ptrdiff_t)h, y + i, (ptrdiff_t)h, h, levels);
        }
        done += levels;
    }
}

static void
one_row(const float *x, float *y, unsigned log2n)
{
    unsigned leaf_log2 = log2n;
    while (leaf_log2 > LEAF_LOG2) {
        leaf_log2 -= 3;
    }
    const size_t leaf_n = (size_t)1 << leaf_log2;
    for (size_t t = 0; t < (size_t)1 << (log2n - leaf_log2); t++) {
        leaf(x + t * leaf_n, y + t * leaf_n, leaf_log2);
        size_t h = leaf_n;
        for (size_t ready = t + 1; ready % 8 == 0; ready /= 8, h *= 8) {
            float *first = y + (ready / 8 - 1) * 8 * h;
            pass(first, (ptrdiff_t)h, first, (ptrdiff_t)h, h, 3);
            if (ready == 8) {
                break;
            }
        }
    }
}

/* Rows shorter than a vector: many at once where they follow each other without gaps. */
static void
short_rows(const float *x, ptrdiff_t ldx, float *y, ptrdiff_t ldy, size_t batch, unsigned log2n)
{
    size_t n = (size_t)1 << log2n;
    if (ldx == (ptrdiff_t)n && ldy == ldx) {
        n *= batch;
        batch = 1;
    }
    for (size_t b = 0; b < batch; b++, x += ldx, y += ldy) {
        for (size_t i = 0; i < n; i += VS_LANES) {
            vs_store_part(y + i, within(vs_load_part(x + i, n - i), log2n), n - i);
        }
    }
}

static void
rows(const float *x, ptrdiff_t ldx, float *y, ptrdiff_t ldy, size_t batch, unsigned log2n)
{
    if (log2n < LANES_LOG2) {
        short_rows(x, ldx, y, ldy, batch, log2n);
        return;
    }
    for (size_t b = 0; b < batch; b++, x += ldx, y += ldy) {
        one_row(x, y, log2n);
    }
}

/* A tile of at most TILE columns: groups of 2, 4 or 8 rows, then passes of radix 8. */
static void
column_tile(const float *x, ptrdiff_t ldx, float *y, ptrdiff_t ldy, size_t width, unsigned log2n)
{
    const unsigned first = log2n % 3 == 0 ? 3 : log2n % 3;
    for (size_t t = 0; t < (size_t)1 << (log2n - first); t++) {
        const ptrdiff_t row = (ptrdiff_t)(t << first);
        pass(x + row * ldx, ldx, y + row * ldy, ldy, width, first);
        size_t h = (size_t)1 << first;
        for (size_t ready = t + 1; ready % 8 == 0; ready /= 8, h *= 8) {
            float *begin = y + (ptrdiff_t)((ready / 8 - 1) * 8 * h) * ldy;
            for (size_t j = 0; j < h; j++) {
                float *at = begin + (ptrdiff_t)j * ldy;
                pass(at, (ptrdiff_t)h * ldy, at, (ptrdiff_t)h * ldy, width, 3);
            }
            if (ready == 8) {
                break;
            }
        }
    }
}

static void
columns(const float *x, ptrdiff_t ldx, float *y, ptrdiff_t ldy, size_t n, unsigned log2n)
{
    for (size_t j = 0; j < n; j += TILE) {
        const size_t width = n - j < TILE ? n - j : TILE;
        if (log2n == 0) {
            memmove(y + j, x + j, width * sizeof *y);
        }
        else {
            column_tile(x + j, ldx, y + j, ldy, width, log2n);
        }
    }
}

extern const dns_fwht_ops DNS_ISA_FN(dns_fwht_ops);
const dns_fwht_ops DNS_ISA_FN(dns_fwht_ops) = {
    .isa = DNS_ISA_VALUE,
    .rows = rows,
    .columns = columns,
};
