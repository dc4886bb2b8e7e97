/* N:M plans: checks, packing, and the split over threads.
 *
 * Every row stores the same number of weights (slots), row after row, columns ascending: values,
 * their columns modulo a period as bytes, and a mask of 16 bits per 16 columns. A block is a
 * period, or half of one where panels are so wide that the whole would not fit the first cache;
 * halves are multiples of m, so that a block's share of the slots is the same in every row. How K
 * is cut does not change a sum.
 *
 * Where m divides 4 a second packing, in quads of rows, serves a single vector and takes the place
 * of the masks.
 */
#include "kernels/nm_internal.h"

#include <string.h>

#include "kernels/panels.h"

typedef struct nm_plan {
    dns_plan base;
    const dns_nm_ops *ops;
    size_t n, m;
    size_t period;       /* columns, a multiple of 2 m */
    size_t slots, words; /* of a row */
    size_t four;         /* stored weights of four columns, where m divides 4; else 0 */
    size_t vectors;      /* of 16 weights in quads of rows, where m divides 4; else 0 */
    float *values;       /* [rows * slots + NM_PAD] */
    uint8_t *columns;    /* [rows * slots] */
    uint16_t *masks;     /* [rows * words], unless m divides 4 */
    float *quads;        /* [vectors * NM_UNIT], see nm_quads */
    uint32_t *codes;     /* [vectors] */
} nm_plan;

DNS_OPS_SELECT(dns_nm_ops)

/* Stored weights of a row left of a column that begins a group, or of the whole row. */
static size_t
slots_before(const nm_plan *plan, size_t column)
{
    const size_t rest = column % plan->m;
    return column / plan->m * plan->n + (rest < plan->n ? rest : plan->n);
}

static size_t
quad_bytes(const nm_plan *plan)
{
    return plan->vectors * (NM_UNIT * sizeof *plan->quads + sizeof *plan->codes);
}

/* Every 32 columns from a multiple of 32 on have 16 stored weights. */
static bool
stores_half(const nm_plan *plan)
{
    return 2 * plan->n == plan->m && 32 % plan->m == 0;
}

/* The k-th weight of a row is w, in a column. */
static void
pack_weight(nm_plan *plan, size_t row, size_t k, size_t column, float w)
{
    plan->values[row * plan->slots + k] = w;
    plan->columns[row * plan->slots + k] = (uint8_t)(column % plan->period);
    if (plan->four == 0) {
        plan->masks[row * plan->words + column / NM_WORD] |= (uint16_t)(1U << column % NM_WORD);
        return;
    }
    const size_t lane = column % NM_UNIT / 4 * 4 + row % NM_QUAD;
    const size_t unit =
        row / NM_QUAD * ((plan->base.cols + NM_UNIT - 1) / NM_UNIT) + column / NM_UNIT;
    const size_t at = unit * plan->four + k % plan->four;
    plan->quads[at * NM_UNIT + lane] = w;
    plan->codes[at] ^= (uint32_t)(3 ^ column % 4) << 2 * lane; /* was 3 */
}

/* One row; false when a group holds too many non-zeros, `bad` is then its first column and `got`
 * their number. */
static bool
pack_row(nm_plan *plan, const float *w, size_t row, size_t *bad, size_t *got)
{
    size_t at = 0;
    for (size_t j = 0; j < plan->base.cols; j += plan->m) {
        const size_t width = plan->base.cols - j < plan->m ? plan->base.cols - j : plan->m;
        const size_t n = width < plan->n ? width : plan->n;
        size_t filled = 0;
        for (size_t k = j; k < j + width; k++) {
            filled += w[k] != 0.0F;
        }
        if (filled > n) {
            *bad = j;
            *got = filled;
            return false;
        }
        size_t spare = n - filled; /* zeros to store */
        for (size_t k = j; k < j + width; k++) {
            const bool zero = !(w[k] != 0.0F);
            if (zero && spare == 0) {
                continue;
            }
            spare -= zero;
            pack_weight(plan, row, at++, k, w[k]);
        }
    }
    return true;
}

static dns_status
fill(nm_plan *plan, const float *w, ptrdiff_t ldw, dns_error *err)
{
    const dns_alloc *alloc = &plan->base.alloc;
    const size_t rows = plan->base.rows;
    plan->values = dns_mem_zero(alloc, rows * plan->slots + NM_PAD, sizeof *plan->values);
    plan->columns = dns_mem_new(alloc, rows * plan->slots, sizeof *plan->columns);
    plan->masks = dns_mem_zero(alloc, rows * plan->words, sizeof *plan->masks);
    plan->quads = dns_mem_zero(alloc, plan->vectors, NM_UNIT * sizeof *plan->quads);
    plan->codes = dns_mem_new(alloc, plan->vectors, sizeof *plan->codes);
    if (plan->values == NULL || plan->columns == NULL || plan->masks == NULL ||
        plan->quads == NULL || plan->codes == NULL) {
        return dns_fail(err, DNS_ERR_MEMORY, -1, "plan: out of memory for %zu weights",
                        plan->base.nnz);
    }
    /* Lanes without a weight choose the last of their four columns, which is behind the matrix. */
    for (size_t i = 0; i < plan->vectors; i++) {
        plan->codes[i] = UINT32_MAX;
    }
    for (size_t i = 0; i < rows; i++) {
        size_t bad = 0;
        size_t got = 0;
        DNS_REQUIRE(pack_row(plan, w + (ptrdiff_t)i * ldw, i, &bad, &got), err, DNS_ERR_FORMAT, i,
                    "W: row %zu: expected at most %zu non-zeros in the %zu columns from %zu on, "
                    "got %zu",
                    i, plan->n, plan->m, bad, got);
    }
    plan->base.bytes += (rows * plan->slots + NM_PAD) * sizeof *plan->values +
                        rows * plan->slots * sizeof *plan->columns +
                        rows * plan->words * sizeof *plan->masks + quad_bytes(plan);
    return DNS_OK;
}

static void
nm_destroy(dns_plan *base)
{
    nm_plan *plan = (nm_plan *)base;
    const dns_alloc *alloc = &base->alloc;
    dns_mem_free(alloc, plan->values, base->rows * plan->slots + NM_PAD, sizeof *plan->values);
    dns_mem_free(alloc, plan->columns, base->rows * plan->slots, sizeof *plan->columns);
    dns_mem_free(alloc, plan->masks, base->rows * plan->words, sizeof *plan->masks);
    dns_mem_free(alloc, plan->quads, plan->vectors, NM_UNIT * sizeof *plan->quads);
    dns_mem_free(alloc, plan->codes, plan->vectors, sizeof *plan->codes);
}

static void
multiply(const dns_plan *base, const panels_step *step)
{
    const nm_plan *plan = (const nm_plan *)base;
    const size_t stop = step->column + step->k;
    const size_t before = slots_before(plan, step->column);
    const nm_run run = {.values = plan->values + before,
                        .columns = plan->columns + before,
                        .origin = step->column % plan->period,
                        .far = 5 * base->nnz > NM_NEAR_BYTES,
                        .slots = plan->slots,
                        .count = slots_before(plan, stop) - before,
                        .first = step->first,
                        .stop = step->stop,
                        .x = step->x,
                        .y = step->y,
                        .ldy = step->ldy,
                        .n = step->n,
                        .bias = step->block == 0 ? base->bias : NULL,
                        .last = stop == base->cols,
                        .act = base->act};
    plan->ops->spmm(&run);
}

static void
vector(const dns_plan *base, size_t first, size_t stop, const float *x, float *y, ptrdiff_t ldy)
{
    const nm_plan *plan = (const nm_plan *)base;
    if (plan->four > 0) {
        const nm_quads quads = {.values = plan->quads,
                                .codes = plan->codes,
                                .t = plan->four,
                                .cols = base->cols,
                                .first = first,
                                .stop = stop,
                                .far = quad_bytes(plan) > NM_NEAR_BYTES,
                                .x = x,
                                .y = y,
                                .ldy = ldy,
                                .bias = base->bias,
                                .act = base->act};
        plan->ops->gemv_quads(&quads);
        return;
    }
    const nm_vector run = {.values = plan->values,
                           .columns = plan->columns,
                           .half = stores_half(plan),
                           .masks = plan->masks,
                           .slots = plan->slots,
                           .cols = base->cols,
                           .first = first,
                           .stop = stop,
                           .x = x,
                           .y = y,
                           .ldy = ldy,
                           .bias = base->bias,
                           .act = base->act};
    plan->ops->gemv(&run);
}

/* For n columns, in panels that are about equally wide. */
static panels_form
form_of(const dns_plan *base, size_t n)
{
    const nm_plan *plan = (const nm_plan *)base;
    const size_t panels = n == 0 ? 1 : (n + plan->ops->panel - 1) / plan->ops->panel;
    const size_t width = (n / panels + (n % panels != 0) + 15) / 16 * 16;
    const bool fits = plan->period * width * sizeof(float) <= NM_PANEL_BYTES;
    const size_t block = fits ? plan->period : plan->period / 2;
    return (panels_form){.plan = base,
                         .width = width,
                         .block = block,
                         .n_blocks = (base->cols + block - 1) / block,
                         .n_units = base->rows,
                         .pack = plan->ops->pack,
                         .multiply = multiply,
                         .vector = vector};
}

static bool
nm_workspace(const dns_plan *base, size_t n, size_t threads, size_t *bytes)
{
    const panels_form form = form_of(base, n);
    return dns_panels_workspace(&form, n, threads, bytes);
}

static void
nm_execute(const dns_plan *base, const dns_call *call)
{
    const panels_form form = form_of(base, call->n);
    dns_panels_execute(&form, call);
}

static void
nm_work(const dns_plan *base, size_t n, const dns_machine *machine, dns_work *work)
{
    const nm_plan *plan = (const nm_plan *)base;
    const panels_form form = form_of(base, n);
    const double nnz = (double)base->nnz;
    const bool by_columns =
        n > 1 || (plan->four == 0 && stores_half(plan) && base->isa >= DNS_ISA_AVX512);
    const double masks = (double)(base->rows * plan->words * sizeof *plan->masks);
    work->flops = 2.0 * nnz * (double)n;
    const double vector = plan->four > 0 ? (double)quad_bytes(plan) : 4.0 * nnz + masks;
    dns_panels_work(&form, n, nnz, by_columns ? 5.0 * nnz : vector, machine, work);
}

static void
nm_to_dense(const dns_plan *base, float *w)
{
    const nm_plan *plan = (const nm_plan *)base;
    for (size_t at = 0; at < base->nnz; at++) {
        const size_t group = at % plan->slots / plan->n * plan->m;
        const size_t period = group - group % plan->period;
        w[at / plan->slots * base->cols + period + plan->columns[at]] = plan->values[at];
    }
}

static const dns_plan_ops nm_plan_ops = {
    .format = "nm",
    .workspace = nm_workspace,
    .execute = nm_execute,
    .work = nm_work,
    .to_dense = nm_to_dense,
    .destroy = nm_destroy,
};

dns_status
dns_nm_plan_create(const float *w, ptrdiff_t ldw, size_t rows, size_t cols, size_t n, size_t m,
                   const float *bias, dns_act act, dns_isa isa, const dns_alloc *alloc,
                   dns_plan **out, dns_error *err)
{
    dns_plan *base = NULL;
    DNS_REQUIRE(n >= 1 && n <= m && m <= DNS_NM_MAX, err, DNS_ERR_VALUE, -1,
                "n, m: expected 1 <= n <= m <= %d, got %zu:%zu", DNS_NM_MAX, n, m);
    DNS_TRY(dns_plan_new(&nm_plan_ops, sizeof(nm_plan), rows, cols, bias, act, alloc, &base, err));
    nm_plan *plan = (nm_plan *)base;
    plan->ops = dns_nm_ops_select(isa);
    base->isa = plan->ops->isa;
    plan->n = n;
    plan->m = m;
    plan->period = NM_HALF / m * m * 2;
    plan->slots = slots_before(plan, cols);
    plan->four = 4 % m == 0 ? 4 / m * n : 0;
    plan->words = plan->four > 0 ? 0 : (cols + NM_WORD - 1) / NM_WORD;
    plan->vectors = (rows + NM_QUAD - 1) / NM_QUAD * ((cols + NM_UNIT - 1) / NM_UNIT) * plan->four;
    dns_status status = DNS_OK;
    if (rows > 0 && plan->slots > INT32_MAX / rows) {
        status = dns_fail(err, DNS_ERR_VALUE, -1,
                          "W: expected stored weights below 2^31, got %zu rows of %zu", rows,
                          plan->slots);
    }
    else {
        base->nnz = rows * plan->slots;
        status = fill(plan, w, ldw, err);
    }
    if (status != DNS_OK) {
        dns_plan_destroy(base);
        return status;
    }
    *out = base;
    return DNS_OK;
}
