/* How formats that work on packed panels of X share an execution among threads.
 *
 * Outputs are cut into panels of columns and, when there are few of those, into ranges of the
 * format's units of rows. A thread packs one block of a panel after the other into its part of the
 * workspace and lets the format add that block's weights. N = 1 has a path without packing.
 */
#ifndef DNS_PANELS_H
#define DNS_PANELS_H

#include "dns/plan.h"

/* One block of columns of W times one panel, for the units [first, stop). */
typedef struct panels_step {
    size_t block;
    size_t column, k; /* the block's columns of W: [column, column + k) */
    size_t first, stop;
    const float *x; /* the block's rows of the packed panel */
    float *y;       /* the panel's first column of Y */
    ptrdiff_t ldy;
    size_t n; /* columns, <= width */
} panels_step;

/* What a format says about itself. */
typedef struct panels_form {
    const dns_plan *plan;
    size_t width;    /* columns of a panel */
    size_t block;    /* columns of W in a block */
    size_t n_blocks; /* ceil(K / block) */
    size_t n_units;
    const uint64_t *before; /* [n_units + 1] weights of the units before; NULL: all alike */
    /* As panel_pack for panels of `width`. */
    void (*pack)(const float *x, ptrdiff_t ldx, size_t k, size_t n, float *panel);
    void (*multiply)(const dns_plan *plan, const panels_step *step);
    /* y[i*ldy] for the rows of the units [first, stop), all blocks; x has K contiguous elements. */
    void (*vector)(const dns_plan *plan, size_t first, size_t stop, const float *x, float *y,
                   ptrdiff_t ldy);
} panels_form;

/* dns_plan_ops.workspace and .execute of such a format. */
bool dns_panels_workspace(const panels_form *form, size_t n, size_t threads, size_t *bytes);
void dns_panels_execute(const panels_form *form, const dns_call *call);

/* Adds what all such formats move to *work: X into panels, Y's sums; rows of X taken from a block
 * `taken` times per panel; `stream` bytes of weights once per panel. */
void dns_panels_work(const panels_form *form, size_t n, double taken, double stream,
                     const dns_machine *machine, dns_work *work);

#endif
