/* Butterfly levels, compiled per instruction-set level.
 *
 * A tile is n rows by 32 or 64 columns (vectors of the batch). One level alone is 6 flop per 16
 * bytes moved, so up to four (AVX-512) or three are fused: 16 or 8 rows of a vector of columns are
 * loaded, taken through the levels in registers, and stored. Twiddles are operands broadcast from
 * memory, one for each arithmetic instruction (one or two levels keep theirs in registers instead
 * while the tile's columns pass). Per 16 rows of 16 columns: 128 arithmetic instructions, 144
 * loads, 16 stores, so 72 cycles of two load ports for 16 x 192 flop by the count of 3 n log2 n: 43
 * flop a cycle. Beyond it, large batches wait for x and y: 12 bytes per element with the reading of
 * the lines of y that are written.
 */
#include "kernels/butterfly_internal.h"
#include "kernels/vec_f32.h"

#define UNROLL _Pragma("GCC unroll 32")

#if VS_LANES == 16
enum { LEVELS = 4 };
#else
enum { LEVELS = 3 };
#endif

/* One pair by its twiddles (a, b, c, d). */
static inline __attribute__((always_inline)) void
pair(const vs *t, vs *x0, vs *x1)
{
    const vs y0 = vs_fma(t[1], *x1, vs_mul(t[0], *x0));
    *x1 = vs_fma(t[3], *x1, vs_mul(t[2], *x0));
    *x0 = y0;
}

/* All levels of R = 2^levels vectors; `held` has the first twiddles, the others come from memory.
 */
static inline __attribute__((always_inline)) void
group(vs *x, const vs *held, const float *twiddle, size_t levels, bool ascending)
{
    const size_t pairs = (size_t)1 << (levels - 1);
    UNROLL
    for (size_t at = 0; at < 32; at++) {
        if (at < levels * pairs) {
            const size_t l = at / pairs;
            const size_t k = at % pairs;
            const size_t near = (size_t)1 << (ascending ? l : levels - 1 - l);
            const size_t i = k / near * 2 * near + k % near;
            if (levels <= 2) {
                pair(held + 4 * at, x + i, x + i + near);
            }
            else {
                const float *t = twiddle + 4 * at;
                const vs four[4] = {vs_set(t[0]), vs_set(t[1]), vs_set(t[2]), vs_set(t[3])};
                pair(four, x + i, x + i + near);
            }
        }
    }
}

static inline __attribute__((always_inline)) void
rows_of(const float *twiddle, float *row, size_t distance, size_t width, unsigned levels,
        bool ascending)
{
    const unsigned n = 1U << levels;
    const size_t kept = levels <= 2 ? 2 * (size_t)levels * n : 0;
    vs held[16];
    UNROLL
    for (size_t i = 0; i < kept; i++) {
        held[i] = vs_set(twiddle[i]);
    }
    for (size_t v = 0; v < width; v += VS_LANES, row += VS_LANES) {
        vs x[16];
        UNROLL
        for (size_t i = 0; i < n; i++) {
            x[i] = vs_load(row + i * distance);
        }
        group(x, held, twiddle, levels, ascending);
        UNROLL
        for (size_t i = 0; i < n; i++) {
            vs_store(row + i * distance, x[i]);
        }
    }
}

static inline __attribute__((always_inline)) const float *
step_of(const butterfly_step *p, const float *twiddle, float *tile, size_t width, unsigned levels,
        bool ascending)
{
    const size_t span = p->stride << levels;
    for (size_t i = p->first; i < p->first + p->count; i += span) {
        for (size_t j = i + p->from; j < i + p->to; j++) {
            rows_of(twiddle, tile + j * width, p->stride * width, width, levels, ascending);
            twiddle += (size_t)levels * 2 << levels;
        }
    }
    return twiddle;
}

static inline __attribute__((always_inline)) const float *
step_by(const butterfly_step *p, const float *twiddle, float *tile, size_t width, unsigned levels)
{
    return p->ascending ? step_of(p, twiddle, tile, width, levels, true)
                        : step_of(p, twiddle, tile, width, levels, false);
}

static const float *
step(const butterfly_step *p, const float *twiddle, float *tile, size_t width)
{
    switch (p->levels) {
    case 1:
        return step_by(p, twiddle, tile, width, 1);
    case 2:
        return step_by(p, twiddle, tile, width, 2);
    case 3:
        return step_by(p, twiddle, tile, width, 3);
    default:
        return step_by(p, twiddle, tile, width, LEVELS);
    }
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
    .levels = LEVELS,
    .step = step,
    .load = load,
    .store = store,
};
