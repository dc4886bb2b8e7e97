/* BSR plans: checks, packing into the stream of bsr_isa.c, and the way back.
 *
 * The stream is ordered by block of columns, within it by strip of rows, within it by column.
 */
#include "kernels/bsr_internal.h"

#include <string.h>

#include "dns/csr.h"
#include "kernels/panels.h"

enum {
    BLOCK_MIN_ENTRIES = 40,    /* per strip and block below which blocks grow */
    BLOCK_BYTES = 40960,       /* of a packed block: fits the first cache beside Y */
    BLOCK_BYTES_MOST = 262144, /* stays in the second */
    BLOCK_MAX = 1 << 20,       /* columns; keeps offsets below 2^32 */
    EXTENT_MAX = 4096          /* of a block */
};

typedef struct bsr_plan {
    dns_plan base;
    const dns_bsr_ops *ops;
    size_t r, c, n_stored;
    size_t block; /* columns, a multiple of c */
    size_t n_blocks, n_strips;
    int32_t *rows;    /* [n_strips + 1] first row of a strip */
    size_t *start;    /* [n_blocks * n_strips + 1] first word of a strip in a block */
    bsr_word *words;  /* [n_words] */
    uint64_t *before; /* [n_strips + 1] words of the strips before, all blocks */
    size_t n_words;
} bsr_plan;

DNS_OPS_SELECT(dns_bsr_ops)

static size_t
ceil_div(size_t n, size_t d)
{
    return n / d + (n % d != 0);
}

dns_status
dns_bsr_check(const dns_bsr *w, dns_error *err)
{
    DNS_REQUIRE(w->r >= 1 && w->c >= 1 && w->r <= EXTENT_MAX && w->c <= EXTENT_MAX, err,
                DNS_ERR_VALUE, -1, "block: expected extents in [1, %d], got %zu x %zu", EXTENT_MAX,
                w->r, w->c);
    DNS_REQUIRE(w->rows <= INT32_MAX && w->cols <= INT32_MAX &&
                    w->n_blocks <= INT32_MAX / (w->r * w->c),
                err, DNS_ERR_VALUE, -1,
                "W: expected extents and stored weights below 2^31, got %zu x %zu with %zu blocks",
                w->rows, w->cols, w->n_blocks);
    const dns_csr blocks = {
        ceil_div(w->rows, w->r), ceil_div(w->cols, w->c), w->n_blocks, w->indptr, w->indices, NULL};
    return dns_csr_check(&blocks, err);
}

/* Columns of a block: see the bounds above. */
static size_t
block_columns(const dns_bsr *w, size_t panel)
{
    const size_t pitch = panel * sizeof(float);
    const double places = (double)ceil_div(w->rows, w->r) * (double)ceil_div(w->cols, w->c);
    const double density = places > 0.0 ? (double)w->n_blocks / places : 0.0;
    size_t block = BLOCK_BYTES / pitch;
    while (block * pitch < BLOCK_BYTES_MOST && (double)block * density < BLOCK_MIN_ENTRIES) {
        block *= 2;
    }
    while (block < BLOCK_MAX / 2 && (double)block * density < 1.0) {
        block *= 2;
    }
    return block < w->c ? w->c : block / w->c * w->c;
}

/* Strips of a block row: as few and as even as can be. */
static size_t
strips_of(const dns_bsr *w, size_t block_row)
{
    const size_t first = block_row * w->r;
    const size_t rows = w->rows - first < w->r ? w->rows - first : w->r;
    return ceil_div(rows, BSR_STRIP);
}

static size_t
count_strips(const dns_bsr *w)
{
    const size_t full = w->rows / w->r;
    return full * ceil_div(w->r, BSR_STRIP) + ceil_div(w->rows % w->r, BSR_STRIP);
}

static void
place_strips(bsr_plan *plan, const dns_bsr *w)
{
    size_t s = 0;
    for (size_t i = 0; i < ceil_div(w->rows, w->r); i++) {
        const size_t first = i * w->r;
        const size_t rows = w->rows - first < w->r ? w->rows - first : w->r;
        const size_t n = strips_of(w, i);
        for (size_t k = 0; k < n; k++) {
            plan->rows[s++] = (int32_t)(first + dns_part(rows, n, k));
        }
    }
    plan->rows[s] = (int32_t)w->rows;
}

static size_t
strip_rows(const bsr_plan *plan, size_t s)
{
    return (size_t)(plan->rows[s + 1] - plan->rows[s]);
}

/* One column of a stored block, for the strips [s, s + n) of its block row. */
typedef struct bsr_column {
    size_t s, n;
    size_t column;
    const float *values; /* the block's first value in this column, rows c apart */
} bsr_column;

/* Calls visit for every stored column inside the matrix; block rows and columns ascend. */
static void
for_each_column(bsr_plan *plan, const dns_bsr *w, void (*visit)(bsr_plan *, const bsr_column *))
{
    bsr_column at = {0, 0, 0, NULL};
    for (size_t i = 0; i < ceil_div(w->rows, w->r); i++, at.s += at.n) {
        at.n = strips_of(w, i);
        for (int64_t k = w->indptr[i]; k < w->indptr[i + 1]; k++) {
            for (size_t j = 0; j < w->c; j++) {
                at.column = (size_t)w->indices[k] * w->c + j;
                at.values = w->values + (size_t)k * w->r * w->c + j;
                if (at.column < w->cols) {
                    visit(plan, &at);
                }
            }
        }
    }
}

/* Counts words into the place after the strip's. */
static void
count_column(bsr_plan *plan, const bsr_column *at)
{
    size_t *start = plan->start + at->column / plan->block * plan->n_strips;
    for (size_t s = at->s; s < at->s + at->n; s++) {
        start[s + 1] += 1 + strip_rows(plan, s);
        plan->before[s + 1] += 1 + strip_rows(plan, s);
        plan->base.nnz += strip_rows(plan, s);
    }
}

/* Writes words; start[s] runs from the strip's first word to the next strip's. */
static void
write_column(bsr_plan *plan, const bsr_column *at)
{
    size_t *start = plan->start + at->column / plan->block * plan->n_strips;
    const size_t pitch = plan->ops->panel * sizeof(float);
    const float *value = at->values;
    for (size_t s = at->s; s < at->s + at->n; s++) {
        plan->words[start[s]++].offset = (uint32_t)(at->column % plan->block * pitch);
        for (size_t i = 0; i < strip_rows(plan, s); i++, value += plan->c) {
            plan->words[start[s]++].value = *value;
        }
    }
}

/* Fills a plan whose extents are set; DNS_OK or DNS_ERR_MEMORY, what was allocated stays. */
static dns_status
fill(bsr_plan *plan, const dns_bsr *w)
{
    const dns_alloc *alloc = &plan->base.alloc;
    const size_t n_start = plan->n_blocks * plan->n_strips;
    plan->rows = dns_mem_new(alloc, plan->n_strips + 1, sizeof *plan->rows);
    plan->start = dns_mem_zero(alloc, n_start + 1, sizeof *plan->start);
    plan->before = dns_mem_zero(alloc, plan->n_strips + 1, sizeof *plan->before);
    if (plan->rows == NULL || plan->start == NULL || plan->before == NULL) {
        return DNS_ERR_MEMORY;
    }
    place_strips(plan, w);
    for_each_column(plan, w, count_column);
    for (size_t i = 0; i < n_start; i++) {
        plan->start[i + 1] += plan->start[i];
    }
    for (size_t s = 0; s < plan->n_strips; s++) {
        plan->before[s + 1] += plan->before[s];
    }
    plan->n_words = plan->start[n_start];
    plan->words = dns_mem_new(alloc, plan->n_words, sizeof *plan->words);
    if (plan->words == NULL) {
        plan->n_words = 0;
        return DNS_ERR_MEMORY;
    }
    for_each_column(plan, w, write_column);
    memmove(plan->start + 1, plan->start, n_start * sizeof *plan->start);
    plan->start[0] = 0;
    plan->base.bytes += (plan->n_strips + 1) * (sizeof *plan->rows + sizeof *plan->before) +
                        (n_start + 1) * sizeof *plan->start + plan->n_words * sizeof *plan->words;
    return DNS_OK;
}

static void
bsr_destroy(dns_plan *base)
{
    bsr_plan *plan = (bsr_plan *)base;
    const dns_alloc *alloc = &base->alloc;
    dns_mem_free(alloc, plan->rows, plan->n_strips + 1, sizeof *plan->rows);
    dns_mem_free(alloc, plan->start, plan->n_blocks * plan->n_strips + 1, sizeof *plan->start);
    dns_mem_free(alloc, plan->before, plan->n_strips + 1, sizeof *plan->before);
    dns_mem_free(alloc, plan->words, plan->n_words, sizeof *plan->words);
}

/* ---- execution ------------------------------------------------------------------------------- */

static bsr_run
run_of(const bsr_plan *plan, size_t b, size_t first, size_t stop)
{
    return (bsr_run){.rows = plan->rows,
                     .start = plan->start + b * plan->n_strips,
                     .first = first,
                     .stop = stop,
                     .words = plan->words,
                     .bias = b == 0 ? plan->base.bias : NULL,
                     .last = b + 1 == plan->n_blocks,
                     .act = plan->base.act};
}

static void
multiply(const dns_plan *base, const panels_step *step)
{
    const bsr_plan *plan = (const bsr_plan *)base;
    bsr_run run = run_of(plan, step->block, step->first, step->stop);
    run.x = step->x;
    run.y = step->y;
    run.ldy = step->ldy;
    run.n = step->n;
    plan->ops->spmm(&run);
}

static void
vector(const dns_plan *base, size_t first, size_t stop, const float *x, float *y, ptrdiff_t ldy)
{
    const bsr_plan *plan = (const bsr_plan *)base;
    for (size_t b = 0; b < plan->n_blocks; b++) {
        bsr_run run = run_of(plan, b, first, stop);
        run.x = x + b * plan->block;
        run.y = y;
        run.ldy = ldy;
        run.n = 1;
        plan->ops->gemv(&run);
    }
}

static panels_form
form_of(const dns_plan *base)
{
    const bsr_plan *plan = (const bsr_plan *)base;
    return (panels_form){.plan = base,
                         .width = plan->ops->panel,
                         .block = plan->block,
                         .n_blocks = plan->n_blocks,
                         .n_units = plan->n_strips,
                         .before = plan->before,
                         .pack = plan->ops->pack,
                         .multiply = multiply,
                         .vector = vector};
}

static bool
bsr_workspace(const dns_plan *base, size_t n, size_t threads, size_t *bytes)
{
    const panels_form form = form_of(base);
    return dns_panels_workspace(&form, n, threads, bytes);
}

static void
bsr_execute(const dns_plan *base, const dns_call *call)
{
    const panels_form form = form_of(base);
    dns_panels_execute(&form, call);
}

static void
bsr_work(const dns_plan *base, size_t n, const dns_machine *machine, dns_work *work)
{
    const bsr_plan *plan = (const bsr_plan *)base;
    const panels_form form = form_of(base);
    work->flops = 2.0 * (double)base->nnz * (double)n;
    dns_panels_work(&form, n, (double)(plan->n_words - base->nnz),
                    (double)(sizeof(bsr_word) * plan->n_words), machine, work);
}

/* ---- the way back ---------------------------------------------------------------------------- */

/* Column of an entry of block b. */
static size_t
column_of(const bsr_plan *plan, size_t b, const bsr_word *e)
{
    return b * plan->block + e->offset / (plan->ops->panel * sizeof(float));
}

static void
bsr_to_dense(const dns_plan *base, float *w)
{
    const bsr_plan *plan = (const bsr_plan *)base;
    for (size_t b = 0; b < plan->n_blocks; b++) {
        const size_t *start = plan->start + b * plan->n_strips;
        for (size_t s = 0; s < plan->n_strips; s++) {
            const size_t rows = strip_rows(plan, s);
            for (size_t k = start[s]; k < start[s + 1]; k += rows + 1) {
                const bsr_word *e = plan->words + k;
                float *to = w + (size_t)plan->rows[s] * base->cols + column_of(plan, b, e);
                for (size_t i = 0; i < rows; i++) {
                    to[i * base->cols] = e[1 + i].value;
                }
            }
        }
    }
}

static const dns_plan_ops bsr_plan_ops = {
    .format = "bsr",
    .workspace = bsr_workspace,
    .execute = bsr_execute,
    .work = bsr_work,
    .to_dense = bsr_to_dense,
    .destroy = bsr_destroy,
};

dns_status
dns_bsr_plan_create(const dns_bsr *w, const float *bias, dns_act act, dns_isa isa,
                    const dns_alloc *alloc, dns_plan **out, dns_error *err)
{
    dns_plan *base = NULL;
    DNS_TRY(dns_bsr_check(w, err));
    DNS_TRY(dns_plan_new(&bsr_plan_ops, sizeof(bsr_plan), w->rows, w->cols, bias, act, alloc, &base,
                         err));
    bsr_plan *plan = (bsr_plan *)base;
    plan->ops = dns_bsr_ops_select(isa);
    base->isa = plan->ops->isa;
    plan->r = w->r;
    plan->c = w->c;
    plan->n_stored = w->n_blocks;
    plan->block = block_columns(w, plan->ops->panel);
    plan->n_blocks = w->cols == 0 ? 1 : ceil_div(w->cols, plan->block);
    plan->n_strips = count_strips(w);
    return dns_plan_finish(base, fill(plan, w), out, err);
}

dns_status
dns_bsr_plan_blocks(const dns_plan *base, size_t *r, size_t *c, size_t *n_blocks, dns_error *err)
{
    DNS_REQUIRE(base->ops == &bsr_plan_ops, err, DNS_ERR_VALUE, -1,
                "plan: expected format bsr, got %s", base->ops->format);
    const bsr_plan *plan = (const bsr_plan *)base;
    *r = plan->r;
    *c = plan->c;
    *n_blocks = plan->n_stored;
    return DNS_OK;
}

/* The blocks of a block row from its strip s, whose first is number `at`; returns the number after
 * the last. */
static size_t
unpack_strip(const bsr_plan *plan, size_t s, size_t at, int64_t *indices, float *values)
{
    const size_t rows = strip_rows(plan, s);
    const size_t top = (size_t)plan->rows[s] % plan->r;
    for (size_t b = 0; b < plan->n_blocks; b++) {
        const size_t *start = plan->start + b * plan->n_strips;
        for (size_t k = start[s]; k < start[s + 1]; k += rows + 1) {
            const bsr_word *e = plan->words + k;
            const size_t column = column_of(plan, b, e);
            at += column % plan->c == 0; /* a block's first column lies in the matrix */
            indices[at - 1] = (int64_t)(column / plan->c);
            for (size_t i = 0; i < rows; i++) {
                values[((at - 1) * plan->r + top + i) * plan->c + column % plan->c] =
                    e[1 + i].value;
            }
        }
    }
    return at;
}

dns_status
dns_bsr_plan_unpack(const dns_plan *base, int64_t *indptr, int64_t *indices, float *values,
                    dns_error *err)
{
    DNS_REQUIRE(base->ops == &bsr_plan_ops, err, DNS_ERR_VALUE, -1,
                "plan: expected format bsr, got %s", base->ops->format);
    const bsr_plan *plan = (const bsr_plan *)base;
    size_t at = 0;
    size_t s = 0;
    if (plan->n_stored > 0) {
        memset(values, 0, plan->n_stored * plan->r * plan->c * sizeof *values);
    }
    indptr[0] = 0;
    for (size_t i = 0; i < ceil_div(base->rows, plan->r); i++) {
        size_t end = at;
        for (; s < plan->n_strips && (size_t)plan->rows[s] / plan->r == i; s++) {
            end = unpack_strip(plan, s, at, indices, values);
        }
        at = end;
        indptr[i + 1] = (int64_t)at;
    }
    return DNS_OK;
}
