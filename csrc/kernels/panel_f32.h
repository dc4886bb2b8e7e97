/* Panels of X and rows of Y in registers, for sparse kernels that are compiled per level.
 *
 * A panel is a strip of `nt` columns of X, packed so that its rows follow each other: the rows that
 * sparse weights pick lie in the first cache, and the pitch of X, which may put them all in a few
 * cache sets, is gone. One row of a tile of Y is nv vectors, of which the last may be partial.
 */
#ifndef DNS_PANEL_F32_H
#define DNS_PANEL_F32_H

#include <stdbool.h>

#include "dns/plan.h"
#include "kernels/vec_f32.h"

#define PANEL_INLINE static inline __attribute__((always_inline))

/* panel[i*nt .. + n) = x[i*ldx .. + n) for i < k, n <= nt, zeros up to a whole vector. */
PANEL_INLINE void
panel_pack(const float *x, ptrdiff_t ldx, size_t k, size_t n, size_t nt, float *panel)
{
    const size_t full = n / VS_LANES;
    const vs_mask tail = vs_first(n % VS_LANES);
    for (size_t i = 0; i < k; i++, x += ldx, panel += nt) {
        for (size_t v = 0; v < full; v++) {
            vs_store(panel + v * VS_LANES, vs_load(x + v * VS_LANES));
        }
        if (n % VS_LANES != 0) {
            vs_store(panel + full * VS_LANES, vs_load_mask(x + full * VS_LANES, tail));
        }
    }
}

/* Lanes of a row's last vector; 0 = all. */
typedef struct panel_tail {
    size_t lanes;
    vs_mask mask;
} panel_tail;

static inline panel_tail
panel_tail_of(size_t n)
{
    return (panel_tail){n % VS_LANES, vs_first(n % VS_LANES)};
}

/* The sums of a row so far: its bias, or what y holds when bias is NULL. */
PANEL_INLINE void
panel_begin(const float *bias, const float *y, size_t nv, panel_tail t, vs *acc)
{
    for (size_t v = 0; v < nv; v++) {
        acc[v] = bias != NULL             ? vs_set(*bias)
                 : v + 1 == nv && t.lanes ? vs_load_mask(y + v * VS_LANES, t.mask)
                                          : vs_load(y + v * VS_LANES);
    }
}

/* Stores a row, activated if these are its last sums. */
PANEL_INLINE void
panel_end(float *y, bool last, dns_act act, size_t nv, panel_tail t, const vs *acc)
{
    const vs lo = vs_set(act.lo);
    const vs hi = vs_set(act.hi);
    for (size_t v = 0; v < nv; v++) {
        const vs a = last ? vs_clamp(acc[v], lo, hi) : acc[v];
        if (v + 1 == nv && t.lanes) {
            vs_store_mask(y + v * VS_LANES, a, t.mask);
        }
        else {
            vs_store(y + v * VS_LANES, a);
        }
    }
}

#endif
