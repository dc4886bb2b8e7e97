/* Direct convolutions, compiled per instruction-set level.
 *
 * Sparse: the padded image is one row of flat positions, so that a weight w(o, c, i, j) adds w
 * times a *shifted* stretch of channel c to output channel o: position f = u * P + v of the result,
 * with P the pitch, reads position f + i * P + j. The right padding of a row is the left padding of
 * the next (P = W + pad), and the few positions between two result rows are computed and thrown
 * away. Per weight that is one offset and one value, whatever the kernel's size: the "stretched"
 * column index of SkimCaffe (Park et al., ICLR 2017).
 *
 * A tile is up to NV vectors of flat positions of one output channel, all in registers. NV = 13
 * leaves three of sixteen registers free at AVX2 and fills rows of 28 and 56 well at AVX-512. Per
 * weight it takes one broadcast and NV loads, unaligned: where a load crosses a line the bound is
 * one load, and one multiply-add, per cycle.
 *
 * Direct, with all weights: the same shifted stretches, so nothing is unfolded: a tile is
 * CONV_PANEL output channels times ND vectors of positions, and per tap takes ND loads and
 * CONV_PANEL broadcasts for CONV_PANEL ND multiply-adds, like a matrix product whose second operand
 * is read where it lies (cf. Georganas et al., SC 2018, whose tiles run along channels).
 *
 * Depthwise, channels last: lanes are channels; eight pixels at a time share each weight vector,
 * and pixels whose window leaves the image are computed one by one with fewer taps.
 *
 * Depthwise, channels first, 3x3 and 5x5 at unit stride: lanes are columns of one plane, which is
 * read where it lies, without a padded copy. A tile is ROWS rows of results, one vector wide, and
 * walks down the ROWS + k - 1 image rows below them: a row's k shifted loads serve all the k result
 * rows that it reaches. Lanes outside the image are masked, rows outside read zeros, so padding is
 * multiplied as in a padded copy. Per vector of results that is k * k multiply-adds and
 * k (ROWS + k - 1) / ROWS loads, nearly all across a line. What a later tile reads is prefetched:
 * images beyond the second cache are bound by its latency.
 */
#include "kernels/conv_internal.h"
#include "kernels/vec_f32.h"
#include "kernels/vec_span.h"

enum {
    NV = 13,
    ND = VS_LANES == 16 ? 4 : 2,
    ROWS = 7,
    K_MAX = 5,
    SPAN_MAX = 31,
    AHEAD = 4096 /* bytes */
};
#define TILE (NV * VS_LANES)

/* to[t] = from[t] for t < n; zeros if from is NULL. */
static inline void
take(const float *from, size_t n, float *to)
{
    for (size_t t = 0; t < n; t += VS_LANES) {
        const size_t left = n - t < VS_LANES ? n - t : VS_LANES;
        vs_store_part(to + t, from == NULL ? vs_set(0.0F) : vs_load_part(from + t, left), left);
    }
}

static void
pad(const conv_pad *p)
{
    const conv_pad c = *p;
    const size_t right = c.left + c.width;
    int64_t row = c.first;
    for (float *to = c.to; to < c.to + c.rows * c.pitch; to += c.pitch, row += c.step) {
        if (row < 0 || row >= c.height) {
            take(NULL, c.pitch, to);
            continue;
        }
        take(NULL, c.left, to);
        take(c.x + (size_t)row * c.width, c.width, to + c.left);
        take(NULL, c.pitch - right, to + right);
    }
}

/* Writes a finished tile row: activation, and the positions between rows left out. */
static void
put(const conv_run *r, const float *sums, float *y)
{
    const vs lo = vs_set(r->act.lo);
    const vs hi = vs_set(r->act.hi);
    size_t u = r->first / r->width_flat;
    size_t v = r->first % r->width_flat;
    for (size_t t = 0; t < r->vectors * VS_LANES && u < r->out_h; u++, v = 0) {
        const size_t left = r->width_flat - v;
        const size_t n = r->vectors * VS_LANES - t < left ? r->vectors * VS_LANES - t : left;
        const size_t kept = v >= r->out_w ? 0 : r->out_w - v < n ? r->out_w - v : n;
        float *to = y + (ptrdiff_t)(u * r->out_w + v) * r->y_pixel;
        if (r->y_pixel == 1) {
            size_t k = 0;
            for (; k + VS_LANES <= kept; k += VS_LANES) {
                vs_store(to + k, vs_clamp(vs_load(sums + t + k), lo, hi));
            }
            if (k < kept) {
                const vs_mask m = vs_first(kept - k);
                vs_store_mask(to + k, vs_clamp(vs_load_mask(sums + t + k, m), lo, hi), m);
            }
        }
        else {
            for (size_t k = 0; k < kept; k++) {
                to[(ptrdiff_t)k * r->y_pixel] = vs_clamp1(sums[t + k], r->act.lo, r->act.hi);
            }
        }
        t += n;
    }
}

static inline __attribute__((always_inline)) void
rows_of(const conv_run *r, size_t nv)
{
    const conv_entry *e = r->entries;
    for (size_t i = 0; i < r->n_rows; i++) {
        float *sums = r->sums + i * TILE;
        vs acc[NV];
#pragma GCC unroll 13
        for (size_t v = 0; v < nv; v++) {
            acc[v] = r->bias != NULL ? vs_set(r->bias[i]) : vs_load(sums + v * VS_LANES);
        }
        for (const conv_entry *stop = e + r->counts[i]; e < stop; e++) {
            const float *x = (const float *)((const char *)r->x + e->offset);
            const vs w = vs_set(e->value);
#pragma GCC unroll 13
            for (size_t v = 0; v < nv; v++) {
                acc[v] = vs_fma(w, vs_load(x + v * VS_LANES), acc[v]);
            }
        }
#pragma GCC unroll 13
        for (size_t v = 0; v < nv; v++) {
            vs_store(sums + v * VS_LANES, acc[v]);
        }
        if (r->last) {
            put(r, sums, r->y + (ptrdiff_t)i * r->y_row);
        }
    }
}

#define ROWS_OF(n)                                                                                 \
    case n:                                                                                        \
        rows_of(r, n);                                                                             \
        break

static void
run(const conv_run *r)
{
    switch (r->vectors) {
        ROWS_OF(1);
        ROWS_OF(2);
        ROWS_OF(3);
        ROWS_OF(4);
        ROWS_OF(5);
        ROWS_OF(6);
        ROWS_OF(7);
        ROWS_OF(8);
        ROWS_OF(9);
        ROWS_OF(10);
        ROWS_OF(11);
        ROWS_OF(12);
    default:
        rows_of(r, NV);
        break;
    }
}

/* ---- direct ---------------------------------------------------------------------------------- */

/* Adds the taps of a block to mr output channels at nv vectors from position t of the tile on. */
static inline __attribute__((always_inline)) void
direct_tile(const conv_direct_run *d, size_t i, const float *w, size_t t, size_t mr, size_t nv)
{
    const conv_run *r = &d->at;
    const size_t pitch = r->vectors * VS_LANES;
    float *sums = r->sums + i * pitch + t;
    vs acc[CONV_PANEL][ND];
    for (size_t m = 0; m < mr; m++) {
        for (size_t v = 0; v < nv; v++) {
            acc[m][v] =
                r->bias != NULL ? vs_set(r->bias[i + m]) : vs_load(sums + m * pitch + v * VS_LANES);
        }
    }
    for (size_t k = 0; k < d->n_taps; k++, w += mr) {
        const float *x = (const float *)((const char *)(r->x + t) + d->offsets[k]);
        vs b[ND];
        for (size_t v = 0; v < nv; v++) {
            b[v] = vs_load(x + v * VS_LANES);
        }
        __builtin_prefetch((const void *)((uintptr_t)w + AHEAD));
        for (size_t m = 0; m < mr; m++) {
            const vs a = vs_set(w[m]);
            for (size_t v = 0; v < nv; v++) {
                acc[m][v] = vs_fma(a, b[v], acc[m][v]);
            }
        }
    }
    for (size_t m = 0; m < mr; m++) {
        for (size_t v = 0; v < nv; v++) {
            vs_store(sums + m * pitch + v * VS_LANES, acc[m][v]);
        }
    }
}

/* A panel of mr output channels from i on, at all positions of the tile. */
static inline __attribute__((always_inline)) void
direct_panel(const conv_direct_run *d, size_t i, const float *w, size_t mr)
{
    size_t v = 0;
    for (; v + ND <= d->at.vectors; v += ND) {
        direct_tile(d, i, w, v * VS_LANES, mr, ND);
    }
    if (v + ND / 2 <= d->at.vectors) {
        direct_tile(d, i, w, v * VS_LANES, mr, ND / 2);
        v += ND / 2;
    }
    if (v < d->at.vectors) {
        direct_tile(d, i, w, v * VS_LANES, mr, 1);
    }
}

static void
direct(const conv_direct_run *d)
{
    const conv_run *r = &d->at;
    for (size_t i = 0, mr = 0; i < r->n_rows; i += mr) {
        mr = conv_panel_rows(r->n_rows - i);
        const float *w = d->w + i * d->n_taps;
        switch (mr) {
        case CONV_PANEL:
            direct_panel(d, i, w, CONV_PANEL);
            break;
        case 4:
            direct_panel(d, i, w, 4);
            break;
        case 2:
            direct_panel(d, i, w, 2);
            break;
        default:
            direct_panel(d, i, w, 1);
            break;
        }
    }
    for (size_t i = 0; r->last && i < r->n_rows; i++) {
        put(r, r->sums + i * r->vectors * VS_LANES, r->y + (ptrdiff_t)i * r->y_row);
    }
}

/* ---- depthwise, channels last ---------------------------------------------------------------- */

/* Taps [begin, stop) along one axis that stay inside the image. */
typedef struct taps {
    int64_t begin, stop;
} taps;

static taps
taps_inside(int64_t at, int64_t in, int64_t kernel, int64_t dilation)
{
    taps s = {at >= 0 ? 0 : (-at + dilation - 1) / dilation,
              at >= in ? 0 : (in - at + dilation - 1) / dilation};
    s.stop = s.stop > kernel ? kernel : s.stop;
    s.begin = s.begin > s.stop ? s.stop : s.begin;
    return s;
}

/* Vector k of nc vectors of channels, the last one of `lanes`. */
static inline __attribute__((always_inline)) vs
dw_load(const float *from, size_t k, size_t nc, size_t lanes)
{
    return vs_load_part(from + k * VS_LANES, k + 1 < nc ? VS_LANES : lanes);
}

/* n pixels from column v on, all with the taps ti, tj, n * nc <= 8; nc vectors of channels from c
 * on, the last one of `lanes` channels. */
static inline __attribute__((always_inline)) void
pixels(const conv_dw_run *r, size_t n, size_t nc, int64_t v, taps ti, taps tj, size_t c,
       size_t lanes)
{
    const dns_window *g = &r->conv->window;
    const ptrdiff_t depth = (ptrdiff_t)r->conv->channels;
    const ptrdiff_t step = (ptrdiff_t)g->stride_w * depth;
    const int64_t top = (int64_t)r->out_row * g->stride_h - g->pad_h;
    const int64_t left = v * g->stride_w - g->pad_w;
    vs acc[8];
#pragma GCC unroll 8
    for (size_t a = 0; a < n * nc; a++) {
        acc[a] = dw_load(r->bias + c, a % nc, nc, lanes);
    }
    for (int64_t i = ti.begin; i < ti.stop; i++) {
        const int64_t row = (top + i * g->dilation_h) * g->in_w + left;
        for (int64_t j = tj.begin; j < tj.stop; j++) {
            const float *x = r->x + (row + j * g->dilation_w) * depth + (ptrdiff_t)c;
            const float *taps_w = r->w + (i * g->kernel_w + j) * depth + (ptrdiff_t)c;
            vs w[8];
#pragma GCC unroll 8
            for (size_t k = 0; k < nc; k++) {
                w[k] = dw_load(taps_w, k, nc, lanes);
            }
#pragma GCC unroll 8
            for (size_t a = 0; a < n * nc; a++) {
                const float *at = x + (ptrdiff_t)(a / nc) * step;
                acc[a] = vs_fma(w[a % nc], dw_load(at, a % nc, nc, lanes), acc[a]);
            }
        }
    }
    const vs lo = vs_set(r->act.lo);
    const vs hi = vs_set(r->act.hi);
#pragma GCC unroll 8
    for (size_t a = 0; a < n * nc; a++) {
        const size_t k = a % nc;
        float *y = r->y + (v + (int64_t)(a / nc)) * depth + (ptrdiff_t)(c + k * VS_LANES);
        vs_store_part(y, vs_clamp(acc[a], lo, hi), k + 1 < nc ? VS_LANES : lanes);
    }
}

/* The same for all channels, nc vectors of them at a time. */
static inline __attribute__((always_inline)) void
all_channels(const conv_dw_run *r, size_t n, size_t nc, int64_t v, taps ti, taps tj)
{
    const size_t channels = r->conv->channels;
    size_t c = 0;
    for (; c + nc * VS_LANES <= channels; c += nc * VS_LANES) {
        pixels(r, n, nc, v, ti, tj, c, VS_LANES);
    }
    for (; c < channels; c += VS_LANES) {
        pixels(r, n, 1, v, ti, tj, c, channels - c < VS_LANES ? channels - c : VS_LANES);
    }
}

static void
depthwise(const conv_dw_run *r)
{
    const dns_window *g = &r->conv->window;
    const taps ti = taps_inside((int64_t)r->out_row * g->stride_h - g->pad_h, g->in_h, g->kernel_h,
                                g->dilation_h);
    const taps whole = {0, g->kernel_w};
    const int64_t reach = (int64_t)g->dilation_w * (g->kernel_w - 1);
    for (int64_t v = 0; v < g->out_w;) {
        const int64_t left = v * g->stride_w - g->pad_w;
        /* pixels from v on whose whole window lies inside */
        int64_t inner = left < 0 || left + reach >= g->in_w
                            ? 0
                            : (g->in_w - 1 - reach - left) / g->stride_w + 1;
        inner = inner > g->out_w - v ? g->out_w - v : inner;
        if (inner >= 8) {
            all_channels(r, 8, 1, v, ti, whole);
            v += 8;
        }
        else if (inner >= 4) {
            all_channels(r, 4, 2, v, ti, whole);
            v += 4;
        }
        else {
            all_channels(r, 1, 4, v, ti, taps_inside(left, g->in_w, g->kernel_w, g->dilation_w));
            v++;
        }
    }
}

/* ---- depthwise, channels first --------------------------------------------------------------- */

/* One plane of a depthwise result. */
typedef struct plane {
    int64_t in_h, in_w, out_h, out_w, pad_h, pad_w;
    uintptr_t x;
    float *y;
    const float *w;
    float bias;
    dns_act act;
} plane;

/* `rows` rows of results from row u and column v on; `inner`: all lanes are in the image. */
static inline __attribute__((always_inline)) void
plane_tile(const plane *p, int64_t k, int64_t rows, int64_t u, int64_t v, bool inner)
{
    static const float zeros[VS_LANES + K_MAX];
    vs w[K_MAX * K_MAX];
#pragma GCC unroll 25
    for (int64_t t = 0; t < k * k; t++) {
        w[t] = vs_set(p->w[t]);
    }
    const int64_t left = v - p->pad_w;
    const int64_t begin = left < -SPAN_MAX ? SPAN_MAX : left < 0 ? -left : 0;
    const int64_t end = p->in_w - left < SPAN_MAX ? p->in_w - left : SPAN_MAX;
    const vs_span inside = vs_between((int32_t)begin, (int32_t)(end < 0 ? 0 : end));
    const uintptr_t pitch = (uintptr_t)p->in_w * sizeof(float);
    int64_t row = u - p->pad_h;
    uintptr_t at = p->x + (uintptr_t)(row * p->in_w + left) * sizeof(float);
    vs acc[ROWS];
    for (int64_t r = 0; r < rows; r++) {
        acc[r] = vs_set(p->bias);
    }
#pragma GCC unroll 11
    for (int64_t r = 0; r < rows + k - 1; r++, row++, at += pitch) {
        const uintptr_t from = (uint64_t)row < (uint64_t)p->in_h ? at : (uintptr_t)zeros;
        __builtin_prefetch((const void *)(at + AHEAD));
#pragma GCC unroll 5
        for (int64_t j = 0; j < k; j++) {
            const uintptr_t shifted = from + (uintptr_t)j * sizeof(float);
            const vs x =
                inner ? vs_load((const float *)shifted) : vs_load_span(shifted, inside, (int32_t)j);
#pragma GCC unroll 5
            for (int64_t i = 0; i < k; i++) {
                if (r - i >= 0 && r - i < rows) {
                    acc[r - i] = vs_fma(w[i * k + j], x, acc[r - i]);
                }
            }
        }
    }
    const vs lo = vs_set(p->act.lo);
    const vs hi = vs_set(p->act.hi);
    const vs_mask kept = vs_first((size_t)(p->out_w - v));
    float *y = p->y + u * p->out_w + v;
#pragma GCC unroll 7
    for (int64_t r = 0; r < rows; r++) {
        const vs out = vs_clamp(acc[r], lo, hi);
        if (inner) {
            vs_store(y + r * p->out_w, out);
        }
        else {
            vs_store_mask(y + r * p->out_w, out, kept);
        }
    }
}

/* Not inlined: their addresses and masks would crowd the registers of one another. */
#define PLANE_TILE(name, k, rows, inner)                                                           \
    static __attribute__((noinline)) void name(const plane *p, int64_t u, int64_t v)               \
    {                                                                                              \
        plane_tile(p, k, rows, u, v, inner);                                                       \
    }
PLANE_TILE(tile_3, 3, ROWS, false)
PLANE_TILE(tile_3_inner, 3, ROWS, true)
PLANE_TILE(tile_3_one, 3, 1, false)
PLANE_TILE(tile_5, 5, ROWS, false)
PLANE_TILE(tile_5_inner, 5, ROWS, true)
PLANE_TILE(tile_5_one, 5, 1, false)

/* The last tile of a column may repeat rows of the one before it. */
static inline __attribute__((always_inline)) void
plane_tiles(const plane *p, int64_t k)
{
    const int64_t lanes = (int64_t)VS_LANES;
    const int64_t high = p->out_h;
    const int64_t right = p->in_w + p->pad_w - k + 1;
    const int64_t stop = right < p->out_w ? right : p->out_w;
    for (int64_t u = 0; u < high;) {
        const bool whole = high >= ROWS && high - u > 2;
        u = whole && high - u < ROWS ? high - ROWS : u;
        for (int64_t v = 0; v < p->out_w; v += lanes) {
            if (!whole) {
                (k == 3 ? tile_3_one : tile_5_one)(p, u, v);
            }
            else if (v >= p->pad_w && v + lanes <= stop) {
                (k == 3 ? tile_3_inner : tile_5_inner)(p, u, v);
            }
            else {
                (k == 3 ? tile_3 : tile_5)(p, u, v);
            }
        }
        u += whole ? ROWS : 1;
    }
}

static void
planes(const conv_planes_run *r)
{
    const dns_window *g = &r->conv->window;
    const size_t each = r->conv->outputs / r->conv->channels;
    const size_t in = (size_t)g->in_h * (size_t)g->in_w;
    const size_t out = (size_t)g->out_h * (size_t)g->out_w;
    plane p = {g->in_h, g->in_w, g->out_h, g->out_w, g->pad_h, g->pad_w, .act = r->act};
    for (size_t o = r->first; o < r->stop; o++) {
        p.x = (uintptr_t)(r->x + o / each * in);
        p.y = r->y + o * out;
        p.w = r->w + o * (size_t)g->kernel_h * (size_t)g->kernel_w;
        p.bias = r->bias[o];
        if (g->kernel_w == 3) {
            plane_tiles(&p, 3);
        }
        else {
            plane_tiles(&p, 5);
        }
    }
}

extern const dns_conv_ops DNS_ISA_FN(dns_conv_ops);
const dns_conv_ops DNS_ISA_FN(dns_conv_ops) = {
    .isa = DNS_ISA_VALUE,
    .lanes = VS_LANES,
    .tile_vectors = NV,
    .pad = pad,
    .run = run,
    .direct = direct,
    .depthwise = depthwise,
    .planes = planes,
};
