/* Butterfly plans: the order of levels, packing of the twiddles in that order, tiles and threads.
 *
 * A block's levels are cut evenly into as few parts as the level's code can fuse. The parts with
 * strides below a leaf's length are done leaf by leaf (LEAF rows of the tile stay in the first
 * cache), the longer ones over the whole tile, in chunks of rows. Rows come in from x right before
 * the first step that touches them and go out to y right after the last one.
 */
#include "kernels/butterfly_internal.h"

#include <stdatomic.h>
#include <string.h>

enum { LEAF_LOG2 = 8, CHUNK = 16, TILE_MAX = 64, TILE_FLOATS = 1 << 13, MAX_PARTS = 32 };

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

/* The block's levels cut into parts, ascending; returns their number, and that of the parts within
 * a leaf. */
static size_t
parts_of(unsigned log2n, unsigned fused, part *parts, size_t *near)
{
    const unsigned count = (log2n + fused - 1) / fused;
    unsigned at = 0;
    *near = 0;
    for (unsigned k = 0; k < count; k++) {
        parts[k] = (part){at, at + (log2n - at + count - k - 1) / (count - k)};
        at = parts[k].to;
        *near += at <= LEAF_LOG2;
    }
    return count;
}

/* Calls visit for every step of a block, in order. */
typedef void (*visitor)(void *ctx, const butterfly_step *step);

/* A part over all n rows, in chunks of rows. */
static void
visit_far(part p, bool ascending, size_t n, visitor visit, void *ctx)
{
    const size_t s = (size_t)1 << p.from;
    const size_t span = (size_t)1 << p.to;
    const bool top = span == n;
    for (size_t first = 0; first < n; first += span) {
        for (size_t from = 0; from < s; from += CHUNK) {
            const butterfly_step step = {
                first,           span,          s,         from,
                from + CHUNK,    p.to - p.from, ascending, top && !ascending,
                top && ascending};
            visit(ctx, &step);
        }
    }
}

static void
visit_block(unsigned log2n, unsigned fused, bool ascending, visitor visit, void *ctx)
{
    part parts[MAX_PARTS];
    size_t near;
    const size_t n = (size_t)1 << log2n;
    const size_t n_parts = parts_of(log2n, fused, parts, &near);
    const size_t leaf = (size_t)1 << (near > 0 ? parts[near - 1].to : 0);
    for (size_t k = n_parts; !ascending && k > near; k--) {
        visit_far(parts[k - 1], ascending, n, visit, ctx);
    }
    for (size_t first = 0; first < n; first += leaf) {
        for (size_t k = 0; k < near; k++) {
            const part p = parts[ascending ? k : near - 1 - k];
            const size_t s = (size_t)1 << p.from;
            const bool whole = leaf == n;
            const butterfly_step step = {first,
                                         leaf,
                                         s,
                                         0,
                                         s,
                                         p.to - p.from,
                                         ascending,
                                         k == 0 && (ascending || whole),
                                         k == near - 1 && (!ascending || whole)};
            visit(ctx, &step);
        }
    }
    for (size_t k = near; ascending && k < n_parts; k++) {
        visit_far(parts[k], ascending, n, visit, ctx);
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
    const size_t half = (size_t)1 << (step->levels - 1);
    for (size_t i = step->first; i < step->first + step->count; i += 2 * half * s) {
        for (size_t j = i + step->from; j < i + step->to; j++) {
            for (unsigned l = 0; l < step->levels; l++) {
                const size_t near = (size_t)1 << (step->ascending ? l : step->levels - 1 - l);
                for (size_t k = 0; k < half; k++) {
                    move_pair(p, near * s, j + (k / near * 2 * near + k % near) * s);
                }
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
        visit_block(plan->log2n, plan->ops->levels, ascending, move_step, &p);
        p.user += (size_t)plan->log2n * plan->n * 2;
    }
}

/* ---- execution ------------------------------------------------------------------------------- */

typedef struct runner {
    const butterfly_plan *plan;
    const float *twiddle;
    float *tile;
    size_t width;
    const dns_call *call;    /* NULL: what is in the tile stays there */
    size_t stack, column, n; /* columns [column, column + n) */
    bool first, last;        /* block */
} runner;

/* Rows [row, row + count) of x; those behind its last one are zeros. */
static void
take_rows(const runner *r, size_t row, size_t count)
{
    const size_t rows = r->plan->base.cols;
    const size_t there = row >= rows ? 0 : rows - row < count ? rows - row : count;
    float *tile = r->tile + row * r->width;
    const dns_call *call = r->call;
    if (there > 0) {
        r->plan->ops->load(call->x + (ptrdiff_t)row * call->ldx + (ptrdiff_t)r->column, call->ldx,
                           there, r->n, tile, r->width);
    }
    memset(tile + there * r->width, 0, (count - there) * r->width * sizeof *tile);
}

/* Rows [row, row + count) to the stack's part of y, as far as it has them. */
static void
give_rows(const runner *r, size_t row, size_t count)
{
    const butterfly_plan *plan = r->plan;
    const dns_call *call = r->call;
    const size_t to = r->stack * plan->n + row;
    if (to >= plan->base.rows) {
        return;
    }
    const size_t left = plan->base.rows - to;
    plan->ops->store(r->tile + row * r->width, r->width, plan->base.bias + to, plan->base.act,
                     left < count ? left : count, r->n,
                     call->y + (ptrdiff_t)to * call->ldy + (ptrdiff_t)r->column, call->ldy);
}

/* Calls what for the rows that a step touches. */
static void
touch(const runner *r, const butterfly_step *p, void (*what)(const runner *, size_t, size_t))
{
    if (p->to - p->from == p->stride) {
        what(r, p->first, p->count);
        return;
    }
    for (size_t k = 0; k < p->count; k += p->stride) {
        what(r, p->first + k + p->from, p->to - p->from);
    }
}

static void
run_step(void *ctx, const butterfly_step *step)
{
    runner *r = ctx;
    if (r->call != NULL && r->first && step->opens) {
        touch(r, step, take_rows);
    }
    r->twiddle = r->plan->ops->step(step, r->twiddle, r->tile, r->width);
    if (r->call != NULL && r->last && step->closes) {
        touch(r, step, give_rows);
    }
}

/* All levels of a stack, in place. */
static void
run_stack(runner *r)
{
    const butterfly_plan *plan = r->plan;
    r->twiddle = plan->twiddle + r->stack * plan->per_stack;
    for (size_t b = 0; b < plan->nblock; b++) {
        r->first = b == 0;
        r->last = b == plan->nblock - 1;
        visit_block(plan->log2n, plan->ops->levels, plan->increasing == (b % 2 == 0), run_step, r);
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
        runner r = {.plan = plan,
                    .tile = tile,
                    .width = j->width,
                    .call = call,
                    .stack = stack,
                    .column = column,
                    .n = n};
        run_stack(&r);
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
    size_t near;
    const double passes =
        (double)(parts_of(plan->log2n, plan->ops->levels, parts, &near) * plan->nblock);
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
            runner r = {.plan = plan, .tile = tile, .width = width, .stack = stack};
            run_stack(&r);
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
    return dns_plan_finish(base, fill(plan, (float *)w->twiddle), out, err); /* read only */
}

dns_status
dns_butterfly_plan_unpack(const dns_plan *base, float *twiddle, dns_error *err)
{
    DNS_REQUIRE(base->ops == &butterfly_plan_ops, err, DNS_ERR_VALUE, -1,
                "plan: expected format butterfly, got %s", base->ops->format);
    move_all((const butterfly_plan *)base, twiddle, true);
    return DNS_OK;
}
