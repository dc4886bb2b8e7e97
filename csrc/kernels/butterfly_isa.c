/* Butterfly levels, compiled per instruction-set level.
 *
 * A tile is n rows by 32 or 64 columns (vectors of the batch), so that a twiddle, broadcast once,
 * serves several vectors. One level alone is 6 flop per 16 bytes moved; two levels fused (radix 4)
 * move four rows once for 16 multiply-adds per vector of columns. Sixteen broadcasts stay in
 * registers while the tile's columns pass (AVX-512), so per vector: 4 loads, 4 stores, 16
 * arithmetic instructions, of which the last bound it: 24 flop each by the count of 3 n log2 n per
 * stack and column, 48 lanes a cycle.
 */
#include "kernels/butterfly_internal.h"
#include "kernels/vec_f32.h"

/* One pair by its twiddles (a, b, c, d). */
static inline __attribute__((always_inline)) void
pair(const vs *t, vs *x0, vs *x1)
{
    const vs y0 = vs_fma(t[1], *x1, vs_mul(t[0], *x0));
    *x1 = vs_fma(t[3], *x1, vs_mul(t[2], *x0));
    *x0 = y0;
}

static inline __attribute__((always_inline)) void
four(const float *twiddle, float *row, size_t s, size_t width, bool ascending)
{
    const size_t near = s * width;
    vs t[16];
    for (size_t i = 0; i < 16; i++) {
        t[i] = vs_set(twiddle[i]);
    }
    for (size_t v = 0; v < width; v += VS_LANES, row += VS_LANES) {
        vs x0 = vs_load(row);
        vs x1 = vs_load(row + near);
        vs x2 = vs_load(row + 2 * near);
        vs x3 = vs_load(row + 3 * near);
        if (ascending) {
            pair(t, &x0, &x1);
            pair(t + 4, &x2, &x3);
            pair(t + 8, &x0, &x2);
            pair(t + 12, &x1, &x3);
        }
        else {
            pair(t, &x0, &x2);
            pair(t + 4, &x1, &x3);
            pair(t + 8, &x0, &x1);
            pair(t + 12, &x2, &x3);
        }
        vs_store(row, x0);
        vs_store(row + near, x1);
        vs_store(row + 2 * near, x2);
        vs_store(row + 3 * near, x3);
    }
}

static const float *
step_two(const butterfly_step *p, const float *twiddle, float *tile, size_t width)
{
    const size_t s = p->stride;
    for (size_t i = p->first; i < p->first + p->count; i += 4 * s) {
        for (size_t j = i; j < i + s; j++, twiddle += 16) {
            if (p->ascending) {
                four(twiddle, tile + j * width, s, width, true);
            }
            else {
                four(twiddle, tile + j * width, s, width, false);
            }
        }
    }
    return twiddle;
}

static const float *
step_one(const butterfly_step *p, const float *twiddle, float *tile, size_t width)
{
    const size_t s = p->stride;
    for (size_t i = p->first; i < p->first + p->count; i += 2 * s) {
        for (size_t j = i; j < i + s; j++, twiddle += 4) {
            float *row = tile + j * width;
            vs t[4];
            for (size_t k = 0; k < 4; k++) {
                t[k] = vs_set(twiddle[k]);
            }
            for (size_t v = 0; v < width; v += VS_LANES) {
                vs x0 = vs_load(row + v);
                vs x1 = vs_load(row + s * width + v);
                pair(t, &x0, &x1);
                vs_store(row + v, x0);
                vs_store(row + s * width + v, x1);
            }
        }
    }
    return twiddle;
}

static const float *
step(const butterfly_step *p, const float *twiddle, float *tile, size_t width)
{
    return p->two ? step_two(p, twiddle, tile, width) : step_one(p, twiddle, tile, width);
}

static void
load(const float *from, ptrdiff_t ldf, size_t rows, size_t n, float *to, size_t width)
{
    for (size_t i = 0; i < rows; i++, from += ldf, to += width) {
        for (size_t v = 0; v < width; v += VS_LANES) {
            vs_store(to + v, v < n ? vs_load_part(from + v, n - v) : vs_set(0.0F));
        }
    }
}

static void
store(const float *tile, size_t width, const float *bias, dns_act act, size_t rows, size_t n,
      float *y, ptrdiff_t ldy)
{
    const vs lo = vs_set(act.lo);
    const vs hi = vs_set(act.hi);
    for (size_t i = 0; i < rows; i++, tile += width, y += ldy) {
        const vs b = vs_set(bias[i]);
        for (size_t v = 0; v < n; v += VS_LANES) {
            vs_store_part(y + v, vs_clamp(vs_add(vs_load(tile + v), b), lo, hi), n - v);
        }
    }
}

extern const dns_butterfly_ops DNS_ISA_FN(dns_butterfly_ops);
const dns_butterfly_ops DNS_ISA_FN(dns_butterfly_ops) = {
    .isa = DNS_ISA_VALUE,
    .lanes = VS_LANES,
    .step = step,
    .load = load,
    .store = store,
};
