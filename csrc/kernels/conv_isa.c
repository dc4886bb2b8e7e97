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
 * Depthwise, channels last: lanes are channels; PIXELS pixels at a time share each weight vector,
 * and pixels whose window leaves the image are computed one by one with fewer taps.
 */
#include "kernels/conv_internal.h"
#include "kernels/vec_f32.h"

enum { NV = 13 };
#define TILE (NV * VS_LANES)

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

/* n pixels from column v on, all with the taps ti, tj; `lanes` channels from c on. */
static inline __attribute__((always_inline)) void
pixels(const conv_dw_run *r, size_t n, int64_t v, taps ti, taps tj, size_t c, size_t lanes)
{
    const dns_window *g = &r->conv->window;
    const ptrdiff_t depth = (ptrdiff_t)r->conv->channels;
    const ptrdiff_t step = (ptrdiff_t)g->stride_w * depth;
    const int64_t top = (int64_t)r->out_row * g->stride_h - g->pad_h;
    const int64_t left = v * g->stride_w - g->pad_w;
    vs acc[8];
    for (size_t p = 0; p < n; p++) {
        acc[p] = vs_load_part(r->bias + c, lanes);
    }
    for (int64_t i = ti.begin; i < ti.stop; i++) {
        const int64_t row = (top + i * g->dilation_h) * g->in_w + left;
        for (int64_t j = tj.begin; j < tj.stop; j++) {
            const float *x = r->x + (row + j * g->dilation_w) * depth + (ptrdiff_t)c;
            const vs w = vs_load_part(r->w + (i * g->kernel_w + j) * depth + (ptrdiff_t)c, lanes);
#pragma GCC unroll 8
            for (size_t p = 0; p < n; p++) {
                acc[p] = vs_fma(w, vs_load_part(x + (ptrdiff_t)p * step, lanes), acc[p]);
            }
        }
    }
    const vs lo = vs_set(r->act.lo);
    const vs hi = vs_set(r->act.hi);
    for (size_t p = 0; p < n; p++) {
        float *y = r->y + (v + (int64_t)p) * depth + (ptrdiff_t)c;
        vs_store_part(y, vs_clamp(acc[p], lo, hi), lanes);
    }
}

static inline __attribute__((always_inline)) void
all_channels(const conv_dw_run *r, size_t n, int64_t v, taps ti, taps tj)
{
    size_t c = 0;
    for (; c + VS_LANES <= r->conv->channels; c += VS_LANES) {
        pixels(r, n, v, ti, tj, c, VS_LANES);
    }
    if (c < r->conv->channels) {
        pixels(r, n, v, ti, tj, c, r->conv->channels - c);
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
            all_channels(r, 8, v, ti, whole);
            v += 8;
        }
        else if (inner >= 4) {
            all_channels(r, 4, v, ti, whole);
            v += 4;
        }
        else {
            all_channels(r, 1, v, ti, taps_inside(left, g->in_w, g->kernel_w, g->dilation_w));
            v++;
        }
    }
}

extern const dns_conv_ops DNS_ISA_FN(dns_conv_ops);
const dns_conv_ops DNS_ISA_FN(dns_conv_ops) = {
    .isa = DNS_ISA_VALUE,
    .lanes = VS_LANES,
    .tile_vectors = NV,
    .run = run,
    .depthwise = depthwise,
};
