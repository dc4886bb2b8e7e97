/* Fourier transforms, compiled per instruction-set level.
 *
 * Between vectors (`tile`): a tile holds one vector of lanes per element and plane, real and
 * imaginary apart, so butterflies have no shuffles and one root serves all lanes. Passes of radix
 * 2 to 16 (Cooley and Tukey, 1965; decimation in frequency) run in place, each part being finished
 * before the next is begun, so that it stays in the nearest cache that holds it. The last pass has
 * no roots and writes element k1 + r1 k2 + ... where it belongs: no bit reversal.
 *
 * Columns are tiles as they lie. Rows of n >= lanes^2 use the decomposition n = lanes * m: the
 * first pass, of radix `lanes` at distance m, takes neighbours as lanes, turns them by w^(p c), and
 * transposes each block of lanes^2, after which output p sits in lane p. The rest is a tile of m
 * vectors whose vector k is y[k * lanes ...], contiguous. Rows of lanes^2 / 2 go two by two.
 * Shorter ones lie in the lanes, one each, transposed on the way in and out.
 *
 * Count for a complex vector: radix 16 takes 160 additions and products for 16 elements, a root 4
 * operations, the transposition 8 shuffles, pairs to planes and back 4; at two vector instructions
 * a cycle a row of 256 takes 286 cycles (16 lanes).
 */
#include "kernels/fft_internal.h"

#include <stdbool.h>

#include "kernels/vec_complex.h"
#include "kernels/vec_transpose.h"

#if VS_LANES == 16
enum { LANES_LOG2 = 4, RADIX_LOG2 = 4 };
#elif VS_LANES == 8
enum { LANES_LOG2 = 3, RADIX_LOG2 = 3 };
#else
enum { LANES_LOG2 = 2, RADIX_LOG2 = 3 };
#endif
#define RADIX_MAX 16

/* cos and sin of pi / 4 and pi / 8 */
#define HALF_ROOT 0.70710678118654752440F
#define COS_8TH 0.92387953251128675613F
#define SIN_8TH 0.38268343236508977173F

/* Where the results of the last pass go. */
typedef enum target { TILE, PAIRS, PART } target;
typedef struct sink {
    float *y;
    ptrdiff_t ld; /* floats from one element to the next */
    size_t width; /* lanes written, for PART */
} sink;

/* The next functions transform r elements in registers; output p is then in v[place(p, r)]. */
VC_INLINE void
dft2(vc *a, vc *b)
{
    const vc sum = vc_add(*a, *b);
    *b = vc_sub(*a, *b);
    *a = sum;
}

VC_INLINE void
dft4(vc *v0, vc *v1, vc *v2, vc *v3)
{
    const vc s = vc_add(*v0, *v2);
    const vc t = vc_sub(*v0, *v2);
    const vc p = vc_add(*v1, *v3);
    const vc m = vc_sub_turned(*v1, *v3);
    *v0 = vc_add(s, p);
    *v1 = vc_add(t, m);
    *v2 = vc_sub(s, p);
    *v3 = vc_sub(t, m);
}

/* a e^(-i pi / 4) and a e^(-3 i pi / 4) */
VC_INLINE vc
turn_1(vc a)
{
    const vs h = vs_set(HALF_ROOT);
    return (vc){vs_mul(h, vs_add(a.re, a.im)), vs_mul(h, vs_sub(a.im, a.re))};
}
VC_INLINE vc
turn_3(vc a)
{
    const vs h = vs_set(HALF_ROOT);
    const vs minus = vs_set(-HALF_ROOT);
    return (vc){vs_mul(h, vs_sub(a.im, a.re)), vs_mul(minus, vs_add(a.re, a.im))};
}
VC_INLINE vc
turn_2(vc a)
{
    return (vc){a.im, vs_sub(vs_set(0.0F), a.re)};
}

VC_INLINE void
dft8(vc *v)
{
    for (size_t i = 0; i < 2; i++) {
        dft2(v + i, v + i + 4);
    }
    const vc s2 = vc_add(v[2], v[6]);
    const vc d2 = vc_sub_turned(v[2], v[6]);
    v[2] = s2;
    v[6] = d2;
    dft2(v + 3, v + 7);
    v[5] = turn_1(v[5]);
    v[7] = turn_3(v[7]);
    dft4(v, v + 1, v + 2, v + 3);
    dft4(v + 4, v + 5, v + 6, v + 7);
}

VC_INLINE void
dft16(vc *v)
{
    const vs c = vs_set(COS_8TH);
    const vs s = vs_set(SIN_8TH);
    const vs minus_s = vs_set(-SIN_8TH);
    const vs minus_c = vs_set(-COS_8TH);
    dft4(v, v + 4, v + 8, v + 12);
    dft4(v + 1, v + 5, v + 9, v + 13);
    v[5] = vc_mul(v[5], c, minus_s);
    v[9] = turn_1(v[9]);
    v[13] = vc_mul(v[13], s, minus_c);
    dft4(v + 2, v + 6, v + 10, v + 14);
    v[6] = turn_1(v[6]);
    v[10] = turn_2(v[10]);
    v[14] = turn_3(v[14]);
    dft4(v + 3, v + 7, v + 11, v + 15);
    v[7] = vc_mul(v[7], s, minus_c);
    v[11] = turn_3(v[11]);
    v[15] = vc_mul(v[15], minus_c, s);
    dft4(v, v + 1, v + 2, v + 3);
    dft4(v + 4, v + 5, v + 6, v + 7);
    dft4(v + 8, v + 9, v + 10, v + 11);
    dft4(v + 12, v + 13, v + 14, v + 15);
}

VC_INLINE size_t
place(size_t p, size_t r)
{
    return r == 16 ? p % 4 * 4 + p / 4 : r == 8 ? p % 2 * 4 + p / 2 : p;
}

VC_INLINE void
dft(vc *v, size_t r)
{
    if (r == 2) {
        dft2(v, v + 1);
    }
    else if (r == 4) {
        dft4(v, v + 1, v + 2, v + 3);
    }
    else if (r == 8) {
        dft8(v);
    }
    else {
        dft16(v);
    }
}

/* A pass of radix r over m = r q vectors in place, with roots [q][r - 1][cos, sin]. */
VC_INLINE void
middle_of(float *t, size_t q, size_t r, const float *w)
{
    for (size_t c = 0; c < q; c++, t += VC_FLOATS, w += 2 * (r - 1)) {
        vc v[RADIX_MAX];
#pragma GCC unroll 16
        for (size_t a = 0; a < r; a++) {
            v[a] = vc_load(t + a * q * VC_FLOATS);
        }
        dft(v, r);
        vc_store(t, v[0]);
#pragma GCC unroll 16
        for (size_t p = 1; p < r; p++) {
            const float *root = w + 2 * (p - 1);
            vc_store(t + p * q * VC_FLOATS,
                     vc_mul(v[place(p, r)], vs_set(root[0]), vs_set(root[1])));
        }
    }
}

static void
middle(float *t, size_t q, unsigned radix_log2, const float *w)
{
    switch (radix_log2) {
    case 2:
        middle_of(t, q, 4, w);
        break;
    case 3:
        middle_of(t, q, 8, w);
        break;
    default:
        middle_of(t, q, 16, w);
        break;
    }
}

/* The last pass over `blocks` parts of r vectors; output p of part b is element
 * k + step * (b + blocks * p). */
VC_INLINE void
last_of(const float *t, size_t blocks, size_t r, const sink *out, size_t k, size_t step, target to)
{
    for (size_t b = 0; b < blocks; b++, t += r * VC_FLOATS) {
        vc v[RADIX_MAX];
#pragma GCC unroll 16
        for (size_t a = 0; a < r; a++) {
            v[a] = vc_load(t + a * VC_FLOATS);
        }
        dft(v, r);
#pragma GCC unroll 16
        for (size_t p = 0; p < r; p++) {
            float *y = out->y + (ptrdiff_t)(k + step * (b + blocks * p)) * out->ld;
            if (to == TILE) {
                vc_store(y, v[place(p, r)]);
            }
            else {
                vc_store_pairs(y, v[place(p, r)], to == PAIRS ? VS_LANES : out->width);
            }
        }
    }
}

VC_INLINE void
last_to(const float *t, size_t blocks, unsigned radix_log2, const sink *out, size_t k, size_t step,
        target to)
{
    switch (radix_log2) {
    case 1:
        last_of(t, blocks, 2, out, k, step, to);
        break;
    case 2:
        last_of(t, blocks, 4, out, k, step, to);
        break;
    case 3:
        last_of(t, blocks, 8, out, k, step, to);
        break;
    default:
        last_of(t, blocks, 16, out, k, step, to);
        break;
    }
}

static void
last(const float *t, size_t blocks, unsigned radix_log2, const sink *out, size_t k, size_t step,
     target to)
{
    if (to == TILE) {
        last_to(t, blocks, radix_log2, out, k, step, TILE);
    }
    else if (to == PAIRS) {
        last_to(t, blocks, radix_log2, out, k, step, PAIRS);
    }
    else {
        last_to(t, blocks, radix_log2, out, k, step, PART);
    }
}

/* 2^log2m vectors from t, which is spoilt; element f of the result is element k + step * f of the
 * sink. */
static void
between(float *t, unsigned log2m, const float *w, const sink *out, size_t k, size_t step, target to)
{
    if (log2m <= RADIX_LOG2) {
        last(t, 1, log2m, out, k, step, to);
        return;
    }
    const unsigned radix_log2 = dns_fft_radix(log2m, RADIX_LOG2);
    const unsigned left = log2m - radix_log2;
    const size_t r = (size_t)1 << radix_log2;
    const size_t q = (size_t)1 << left;
    middle(t, q, radix_log2, w);
    if (left <= RADIX_LOG2) {
        last(t, r, left, out, k, step, to);
        return;
    }
    for (size_t b = 0; b < r; b++) {
        between(t + b * q * VC_FLOATS, left, w + 2 * (r - 1) * q, out, k + b * step, step * r, to);
    }
}

static void
tile(const dns_fft *fft, float *t, float *u)
{
    const sink out = {u, VC_FLOATS, VS_LANES};
    between(t, fft->log2n, fft->whole, &out, 0, 1, TILE);
}

/* A row's first pass on one block of VS_LANES^2 elements, loaded to v: to VS_LANES vectors of t. */
VC_INLINE void
first_block(vc *v, float *t, const float *w)
{
    vs re[VS_LANES];
    vs im[VS_LANES];
    dft(v, VS_LANES);
    re[0] = v[0].re;
    im[0] = v[0].im;
#pragma GCC unroll 16
    for (size_t p = 1; p < VS_LANES; p++) {
        const vc root = vc_load(w + (p - 1) * VC_FLOATS);
        const vc turned = vc_mul(v[place(p, VS_LANES)], root.re, root.im);
        re[p] = turned.re;
        im[p] = turned.im;
    }
    vs_transpose(re);
    vs_transpose(im);
#pragma GCC unroll 16
    for (size_t i = 0; i < VS_LANES; i++) {
        vc_store(t + i * VC_FLOATS, (vc){re[i], im[i]});
    }
}

/* A row x of VS_LANES m numbers to a tile t of m vectors. */
static void
first(const float *x, float *t, size_t m, const float *w)
{
    for (size_t c = 0; c < m; c += VS_LANES, w += (VS_LANES - 1) * VC_FLOATS) {
        vc v[VS_LANES];
#pragma GCC unroll 16
        for (size_t a = 0; a < VS_LANES; a++) {
            v[a] = vc_load_pairs(x + 2 * (a * m + c), VS_LANES);
        }
        first_block(v, t + c * VC_FLOATS, w);
    }
}

/* Two rows of VS_LANES^2 / 2 numbers to two tiles, one behind the other. */
static void
first_two(const float *x, const float *other, float *t, const float *w)
{
    vc v[VS_LANES];
#pragma GCC unroll 16
    for (size_t a = 0; a < VS_LANES; a++) {
        v[a] = vc_unzip(vs_load(x + a * VS_LANES), vs_load(other + a * VS_LANES));
    }
    first_block(v, t, w);
}

/* Up to VS_LANES short rows, one per lane. */
static void
short_rows(const dns_fft *fft, const float *x, ptrdiff_t ldx, float *y, ptrdiff_t ldy, size_t count,
           float *t)
{
    const size_t floats = (size_t)2 << fft->log2n;
    float *u = t + floats * VS_LANES;
    vs r[VS_LANES];
    for (size_t f = 0; f < floats; f += VS_LANES) {
        for (size_t i = 0; i < VS_LANES; i++) {
            r[i] = i < count ? vs_load(x + (ptrdiff_t)i * ldx + f) : vs_set(0.0F);
        }
        vs_transpose(r);
        for (size_t i = 0; i < VS_LANES; i++) {
            vs_store(t + (f + i) * VS_LANES, r[i]);
        }
    }
    tile(fft, t, u);
    for (size_t f = 0; f < floats; f += VS_LANES) {
        for (size_t i = 0; i < VS_LANES; i++) {
            r[i] = vs_load(u + (f + i) * VS_LANES);
        }
        vs_transpose(r);
        for (size_t i = 0; i < VS_LANES && i < count; i++) {
            vs_store(y + (ptrdiff_t)i * ldy + f, r[i]);
        }
    }
}

/* A row's passes after the first one, from its tile t to y. Results come in the order of the last
 * pass; where y is not aligned they would cut each line in two pieces written at different times,
 * so they are put in order in u first. A single pass gives them in order. */
static void
finish_row(const dns_fft *fft, float *t, float *y, float *u)
{
    const size_t floats = (size_t)2 << fft->log2n;
    const bool in_order = fft->log2n <= LANES_LOG2 + RADIX_LOG2;
    const size_t off = in_order ? 0 : (uintptr_t)y % (VS_LANES * sizeof *y) / sizeof *y;
    const sink out = {off == 0 ? y : u, VC_FLOATS, VS_LANES};
    between(t, fft->log2n - LANES_LOG2, fft->rest, &out, 0, 1, PAIRS);
    if (off == 0) {
        return;
    }
    size_t i = VS_LANES - off;
    vs_store_part(y, vs_load(u), i);
    for (; i + VS_LANES <= floats; i += VS_LANES) {
        vs_store(y + i, vs_load(u + i));
    }
    vs_store_part(y + i, vs_load_part(u + i, floats - i), floats - i);
}

static void
rows(const dns_fft *fft, const float *x, ptrdiff_t ldx, float *y, ptrdiff_t ldy, size_t batch,
     float *ws)
{
    if (fft->first == NULL) {
        for (size_t b = 0; b < batch; b += VS_LANES) {
            const size_t count = batch - b < VS_LANES ? batch - b : VS_LANES;
            short_rows(fft, x + (ptrdiff_t)b * ldx, ldx, y + (ptrdiff_t)b * ldy, ldy, count, ws);
        }
        return;
    }
    const size_t m = (size_t)1 << (fft->log2n - LANES_LOG2);
    const size_t at_once = m < VS_LANES ? 2 : 1;
    for (size_t b = 0; b < batch; b += at_once, x += ldx, y += ldy) {
        if (at_once == 1) {
            first(x, ws, m, fft->first);
            finish_row(fft, ws, y, ws + m * VC_FLOATS);
            continue;
        }
        const bool both = b + 1 < batch;
        first_two(x, both ? x + ldx : x, ws, fft->first);
        finish_row(fft, ws, y, ws + 2 * m * VC_FLOATS);
        if (both) {
            x += ldx;
            y += ldy;
            finish_row(fft, ws + m * VC_FLOATS, y, ws + 2 * m * VC_FLOATS);
        }
    }
}

static void
columns(const dns_fft *fft, const float *x, ptrdiff_t ldx, float *y, ptrdiff_t ldy, size_t count,
        float *ws)
{
    const size_t n = (size_t)1 << fft->log2n;
    for (size_t c = 0; c < count; c += VS_LANES) {
        const size_t width = count - c < VS_LANES ? count - c : VS_LANES;
        const sink out = {y + 2 * c, ldy, width};
        for (size_t i = 0; i < n; i++) {
            vc_store(ws + i * VC_FLOATS, vc_load_pairs(x + (ptrdiff_t)i * ldx + 2 * c, width));
        }
        between(ws, fft->log2n, fft->whole, &out, 0, 1, width < VS_LANES ? PART : PAIRS);
    }
}

extern const dns_fft_ops DNS_ISA_FN(dns_fft_ops);
const dns_fft_ops DNS_ISA_FN(dns_fft_ops) = {
    .isa = DNS_ISA_VALUE,
    .lanes_log2 = LANES_LOG2,
    .radix_log2 = RADIX_LOG2,
    .rows = rows,
    .columns = columns,
    .tile = tile,
};
