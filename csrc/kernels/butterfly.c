/* Butterfly plans: the order of levels, packing of the twiddles in that order, tiles and threads.
 *
 * The levels of a block with strides below LEAF are done leaf by leaf (LEAF rows of the tile stay
 * in the first cache), the longer ones over the whole tile. Levels are taken in twos from the short
 * end within the leaf, and so above it; where their number is odd one level stands alone.
 */
#include "kernels/butterfly_internal.h"

#include <stdatomic.h>
#include <string.h>

enum { LEAF_LOG2 = 6, TILE_MAX = 64, TILE_FLOATS = 1 << 13, MAX_PARTS = 32 };

DNS_OPS_SELECT(dns_butterfly_ops)

/* A tile for dns_plan_to_dense, which may not fail; one caller at a time uses it. */
typedef struct scratch {
    atomic_flag busy;
    float *tile; /* [n][lanes] */
} scratch;

typedef struct butterfly_plan {
    dns_plan base;
    const dns_butterfly_ops *ops;
    size_t nstack, nblock, n;
    unsigned log2n;
    bool increasing;
    size_t per_stack; /* twiddles */
    float *twiddle;   /* of each stack, in the order of its steps */
    scratch *dense;
} butterfly_plan;

/* Levels [from, to) of a block that are applied together. */
typedef struct part {
    unsigned from, to;
} part;

/* The block's levels cut in ones and twos, ascending; leaves end at a cut. Returns their number. */
static size_t
parts_of(unsigned log2n, part *parts)
{
    size_t count = 0;
    unsigned at = 0;
    const unsigned leaf = log2n < LEAF_LOG2 ? log2n : LEAF_LOG2;
    while (at < log2n) {
        const unsigned end = at < leaf ? leaf : log2n;
        const unsigned levels = end - at >= 2 ? 2 : 1;
        parts[count++] = (part){at, at + levels};
        at += levels;
    }
    return count;
}

/* Calls visit for every step of a block, in order. */
typedef void (*visitor)(void *ctx, const butterfly_step *step);

static void
visit_part(part p, bool ascending, size_t first, size_t count, visitor visit, void *ctx)
{
    const butterfly_step step = {first, count, (size_t)1 << p.from, p.to - p.from == 2, ascending};
    visit(ctx, &step);
}

static void
visit_block(unsigned log2n, bool ascending, visitor visit, void *ctx)
{
    part parts[MAX_PARTS];
    const size_t n = (size_t)1 << log2n;
    const size_t n_parts = parts_of(log2n, parts);
    const unsigned leaf_log2 = log2n < LEAF_LOG2 ? log2n : LEAF_LOG2;
    size_t near = 0;
    while (near < n_parts && parts[near].to <= leaf_log2) {
        near++;
    }
    for (size_t k = n_parts; !ascending && k > near; k--) {
        visit_part(parts[k - 1], ascending, 0, n, visit, ctx);
    }
    for (size_t first = 0; first < n; first += (size_t)1 << leaf_log2) {
        for (size_t k = 0; k < near; k++) {
            visit_part(parts[ascending ? k : near - 1 - k], ascending, first,
                       (size_t)1 << leaf_log2, visit, ctx);
        }
    }
    for (size_t k = near; ascending && k < n_parts; k++) {
        visit_part(parts[k], ascending, 0, n, visit, ctx);
    }
}

/* ---- packing --------------------------------------------------------------------------------- */

typedef struct packer {
    float *user;   /* [m][n/2][2][2] of a block */
    float *packed; /* where the next step's twiddles lie */
    size_t n;
    bool back; /* from packed to user */
} packer;

/* The pair of rows i and i + s of the level of stride s. */
static void
move_pair(packer *p, size_t s, size_t i)
{
    size_t level = 0;
    while ((size_t)1 << level < s) {
        level++;
    }
    float *user = p->user + (level * (p->n / 2) + i / (2 * s) * s + i % s) * 4;
    memcpy(p->back ? user : p->packed, p->back ? p->packed : user, 4 * sizeof *user);
    p->packed += 4;
}

static void
move_step(void *ctx, const butterfly_step *step)
{
    packer *p = ctx;
    const size_t s = step->stride;
    const size_t span = step->two ? 4 * s : 2 * s;
    for (size_t i = step->first; i < step->first + step->count; i += span) {
        for (size_t j = i; j < i + s; j++) {
            if (!step->two) {
                move_pair(p, s, j);
                continue;
            }
            for (int half = 0; half < 2; half++) {
                const bool near = (half == 0) == step->ascending;
                move_pair(p, near ? s : 2 * s, j);
                move_pair(p, near ? s : 2 * s, near ? j + 2 * s : j + s);
            }
        }
    }
}

/* Between the caller's order and the plan's. */
static void
move_all(const butterfly_plan *plan, float *user, bool back)
{
    packer p = {user, plan->twiddle, plan->n, back};
    for (size_t b = 0; b < plan->nstack * plan->nblock; b++) {
        const bool ascending = plan->increasing == (b % plan->nblock % 2 == 0);
        visit_block(plan->log2n, ascending, move_step, &p);
        p.user += (size_t)plan->log2n * plan->n * 2;
    }
}

/* ---- execution ------------------------------------------------------------------------------- */

typedef struct runner {
    const dns_butterfly_ops *ops;
    const float *twiddle;
    float *tile;
    size_t width;
} runner;

static void
run_step(void *ctx, const butterfly_step *step)
{
    runner *r = ctx;
    r->twiddle = r->ops->step(step, r->twiddle, r->tile, r->width);
}

/* All levels of a stack, in place. */
static void
run_stack(const butterfly_plan *plan, size_t stack, float *tile, size_t width)
{
    runner r = {plan->ops, plan->twiddle + stack * plan->per_stack, tile, width};
    for (size_t b = 0; b < plan->nblock; b++) {
        visit_block(plan->log2n, plan->increasing == (b % 2 == 0), run_step, &r);
    }
}

/* Columns of a tile: 64, or 32 where that keeps it in the nearer caches; whole vectors. */
static size_t
tile_width(const butterfly_plan *plan, size_t n)
{
    const size_t lanes = plan->ops->lanes;
    const size_t most = plan->n * TILE_MAX <= TILE_FLOATS ? TILE_MAX : TILE_MAX / 2;
    const size_t needed = (n + lanes - 1) / lanes * lanes;
    return needed < most ? needed : most;
}

typedef struct job {
    const butterfly_plan *plan;
    const dns_call *call;
    size_t width, items, parts;
} job;

/* Items are tiles of columns, each stack of each. */
static void
execute_part(void *ctx, size_t part_index)
{
    const job *j = ctx;
    const butterfly_plan *plan = j->plan;
    const dns_call *call = j->call;
    const size_t stop = dns_part(j->items, j->parts, part_index + 1);
    float *tile = (float *)call->ws + part_index * plan->n * j->width;
    for (size_t item = dns_part(j->items, j->parts, part_index); item < stop; item++) {
        const size_t stack = item % plan->nstack;
        const size_t column = item / plan->nstack * j->width;
        const size_t n = call->n - column < j->width ? call->n - column : j->width;
        const size_t row = stack * plan->n;
        const size_t rows = plan->base.rows - row < plan->n ? plan->base.rows - row : plan->n;
        plan->ops->load(call->x + column, call->ldx, plan->base.cols, n, tile, j->width);
        memset(tile + plan->base.cols * j->width, 0,
               (plan->n - plan->base.cols) * j->width * sizeof *tile);
        run_stack(plan, stack, tile, j->width);
        plan->ops->store(tile, j->width, plan->base.bias + row, plan->base.act, rows, n,
                         call->y + (ptrdiff_t)row * call->ldy + (ptrdiff_t)column, call->ldy);
    }
}

static bool
butterfly_workspace(const dns_plan *base, size_t n, size_t threads, size_t *bytes)
{
    const butterfly_plan *plan = (const butterfly_plan *)base;
    size_t floats = 0;
    return dns_mul_size(plan->n * tile_width(plan, n), threads, &floats) &&
           dns_mul_size(floats, sizeof(float), bytes);
}

static void
butterfly_execute(const dns_plan *base, const dns_call *call)
{
    const butterfly_plan *plan = (const butterfly_plan *)base;
    job j = {plan, call, tile_width(plan, call->n), 0,
             dns_plan_threads(base, call->n, call->threads)};
    j.items = (call->n + j.width - 1) / j.width * plan->nstack;
    dns_threads_run(call->threads, j.parts, execute_part, &j);
}

static void
butterfly_work(const dns_plan *base, size_t n, const dns_machine *machine, dns_work *work)
{
    const butterfly_plan *plan = (const butterfly_plan *)base;
    const size_t width = tile_width(plan, n);
    const size_t n_tiles = (n + width - 1) / width;
    const double tiles = (double)n_tiles;
    const double columns = (double)n;
    const double stacks = (double)plan->nstack;
    const double x = 4.0 * (double)base->cols * columns;
    const double y = 4.0 * (double)base->rows * columns;
    const double tile = 4.0 * (double)(plan->n * width);
    part parts[MAX_PARTS];
    const double passes = (double)(parts_of(plan->log2n, parts) * plan->nblock);
    work->flops = 1.5 * (double)base->nnz * columns; /* 4 products and 2 sums per 4 twiddles */
    dns_work_add(work, machine, 4.0 * (double)base->nnz, 4.0 * (double)base->nnz * tiles);
    dns_work_add(work, machine, tile, 2.0 * tile * passes * tiles * stacks);
    dns_work_add(work, machine, x + y, x * stacks + y);
}

static void
butterfly_to_dense(const dns_plan *base, float *w)
{
    const butterfly_plan *plan = (const butterfly_plan *)base;
    const size_t width = plan->ops->lanes;
    float *tile = plan->dense->tile;
    while (atomic_flag_test_and_set_explicit(&plan->dense->busy, memory_order_acquire)) {
    }
    for (size_t k = 0; k < base->cols; k += width) {
        for (size_t stack = 0; stack < plan->nstack; stack++) {
            memset(tile, 0, plan->n * width * sizeof *tile);
            for (size_t c = 0; c < width && k + c < base->cols; c++) {
                tile[(k + c) * width + c] = 1.0F;
            }
            run_stack(plan, stack, tile, width);
            for (size_t i = stack * plan->n; i < base->rows && i < (stack + 1) * plan->n; i++) {
                for (size_t c = 0; c < width && k + c < base->cols; c++) {
                    w[i * base->cols + k + c] = tile[(i - stack * plan->n) * width + c];
                }
            }
        }
    }
    atomic_flag_clear_explicit(&plan->dense->busy, memory_order_release);
}

static void
butterfly_destroy(dns_plan *base)
{
    butterfly_plan *plan = (butterfly_plan *)base;
    if (plan->dense != NULL) {
        dns_mem_free(&base->alloc, plan->dense->tile, plan->n * plan->ops->lanes, sizeof(float));
    }
    dns_mem_free(&base->alloc, plan->dense, 1, sizeof *plan->dense);
    dns_mem_free(&base->alloc, plan->twiddle, base->nnz, sizeof *plan->twiddle);
}

static const dns_plan_ops butterfly_plan_ops = {
    .format = "butterfly",
    .workspace = butterfly_workspace,
    .execute = butterfly_execute,
    .work = butterfly_work,
    .to_dense = butterfly_to_dense,
    .destroy = butterfly_destroy,
};

static dns_status
check(const dns_butterfly *w, dns_error *err)
{
    DNS_REQUIRE(w->log2n >= 1 && w->log2n <= DNS_BUTTERFLY_MAX_LOG2, err, DNS_ERR_SHAPE, -1,
                "twiddle: expected 1 to %d levels, got %u", DNS_BUTTERFLY_MAX_LOG2, w->log2n);
    const size_t n = (size_t)1 << w->log2n;
    DNS_REQUIRE(w->cols <= n && (w->cols > n / 2 || w->log2n == 1) && w->cols >= 1, err,
                DNS_ERR_SHAPE, -1, "in_features: expected %zu to %zu with %u levels, got %zu",
                w->log2n == 1 ? 1 : n / 2 + 1, n, w->log2n, w->cols);
    const size_t stacks = w->rows == 0 ? 1 : w->rows / n + (w->rows % n != 0);
    DNS_REQUIRE(w->nstack == stacks, err, DNS_ERR_SHAPE, -1,
                "twiddle: expected %zu stacks of %zu outputs for %zu, got %zu", stacks, n, w->rows,
                w->nstack);
    DNS_REQUIRE(w->nblock >= 1 && w->nblock <= INT32_MAX, err, DNS_ERR_SHAPE, -1,
                "twiddle: expected at least one block, got %zu", w->nblock);
    return DNS_OK;
}

/* Fills a plan whose extents are set; what was allocated stays in the plan. */
static dns_status
fill(butterfly_plan *plan, float *twiddle)
{
    const dns_alloc *alloc = &plan->base.alloc;
    plan->dense = dns_mem_zero(alloc, 1, sizeof *plan->dense);
    plan->twiddle = dns_mem_new(alloc, plan->base.nnz, sizeof *plan->twiddle);
    if (plan->dense == NULL || plan->twiddle == NULL) {
        return DNS_ERR_MEMORY;
    }
    atomic_flag_clear(&plan->dense->busy);
    plan->dense->tile = dns_mem_new(alloc, plan->n * plan->ops->lanes, sizeof(float));
    if (plan->dense->tile == NULL) {
        return DNS_ERR_MEMORY;
    }
    move_all(plan, twiddle, false);
    plan->base.bytes += sizeof *plan->dense + plan->base.nnz * sizeof *plan->twiddle +
                        plan->n * plan->ops->lanes * sizeof(float);
    return DNS_OK;
}

dns_status
dns_butterfly_plan_create(const dns_butterfly *w, const float *bias, dns_act act, dns_isa isa,
                          const dns_alloc *alloc, dns_plan **out, dns_error *err)
{
    dns_plan *base = NULL;
    size_t nnz = 0;
    DNS_TRY(check(w, err));
    const size_t n = (size_t)1 << w->log2n;
    DNS_REQUIRE(dns_mul_size(w->nblock * w->log2n, 2 * n, &nnz) &&
                    dns_mul_size(nnz, w->nstack, &nnz) && nnz <= SIZE_MAX / sizeof(float),
                err, DNS_ERR_OVERFLOW, -1, "twiddle: expected a size that fits memory");
    DNS_TRY(dns_plan_new(&butterfly_plan_ops, sizeof(butterfly_plan), w->rows, w->cols, bias, act,
                         alloc, &base, err));
    butterfly_plan *plan = (butterfly_plan *)base;
    plan->ops = dns_butterfly_ops_select(isa);
    plan->nstack = w->nstack;
    plan->nblock = w->nblock;
    plan->n = n;
    plan->log2n = w->log2n;
    plan->increasing = w->increasing;
    plan->per_stack = nnz / w->nstack;
    base->nnz = nnz;
    base->isa = plan->ops->isa;
    const dns_status status = fill(plan, (float *)w->twiddle); /* read only */
    if (status != DNS_OK) {
        dns_plan_destroy(base);
        return dns_fail(err, status, -1, "plan: out of memory for %zu twiddles", nnz);
    }
    *out = base;
    return DNS_OK;
}

dns_status
dns_butterfly_plan_unpack(const dns_plan *base, float *twiddle, dns_error *err)
{
    DNS_REQUIRE(base->ops == &butterfly_plan_ops, err, DNS_ERR_VALUE, -1,
                "plan: expected format butterfly, got %s", base->ops->format);
    move_all((const butterfly_plan *)base, twiddle, true);
    return DNS_OK;
}
