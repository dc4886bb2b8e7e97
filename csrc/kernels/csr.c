/* CSR plans: checks, packing into the streams of csr_isa.c, and the split over threads.
 *
 * The stream for many vectors is ordered by block of columns, within it by group of GROUP rows (a
 * group is what threads are given), within it by pair of rows. A *segment* is the pairs of one
 * block and group. Pairs are formed per segment from the group's rows sorted by their number of
 * entries there. The stream for one vector is ordered likewise, by strip of CSR_STRIP columns,
 * group, and slice.
 */
#include "kernels/csr_internal.h"

#include <math.h>
#include <string.h>

enum {
    GROUP = 128,
    BLOCK_MIN_NNZ = 6,   /* entries per row and block below which blocks grow */
    BLOCK_BYTES = 45056, /* of a packed block: fits the first cache beside a few rows of Y */
    BLOCK_MAX = 1 << 20, /* columns; keeps offsets below 2^32 */
    STREAM_NEAR_BYTES = 512 << 10, /* weights that stay in the second cache */
    BATCH_MAX = 8,
    BATCH_X_BYTES = 512 << 10,
    BATCH_Y_BYTES = 1536 << 10
};

typedef struct segment {
    size_t pair,
        entry; /* where it begins (in slices, for one vector); the next begins where it ends */
} segment;

typedef struct csr_plan {
    dns_plan base;
    const dns_csr_ops *ops;
    size_t block; /* columns */
    size_t n_blocks, n_groups;
    segment *segments; /* [n_blocks * n_groups + 1] */
    csr_pair *pairs;
    size_t n_pairs;
    csr_entry *entries;
    size_t n_strips;
    segment *strips; /* [n_strips * n_groups + 1]; .pair counts slices */
    csr_slice *slices;
    size_t n_slices;
    uint16_t *columns;
    float *values;
    uint64_t *group_nnz; /* [n_groups + 1] sums of the groups before */
} csr_plan;

DNS_OPS_SELECT(dns_csr_ops)

dns_status
dns_csr_check(const dns_csr *w, dns_error *err)
{
    DNS_REQUIRE(w->rows <= INT32_MAX && w->cols <= INT32_MAX && w->nnz <= INT32_MAX, err,
                DNS_ERR_VALUE, -1,
                "W: expected extents and stored weights below 2^31, got %zu x %zu with %zu",
                w->rows, w->cols, w->nnz);
    DNS_REQUIRE(w->indptr[0] == 0, err, DNS_ERR_FORMAT, 0,
                "indptr: row 0: expected a first pointer of 0, got %lld", (long long)w->indptr[0]);
    for (size_t i = 0; i < w->rows; i++) {
        const int64_t begin = w->indptr[i];
        const int64_t end = w->indptr[i + 1];
        DNS_REQUIRE(end >= begin && end <= (int64_t)w->nnz, err, DNS_ERR_FORMAT, i,
                    "indptr: row %zu: expected an end in [%lld, %zu], got %lld", i,
                    (long long)begin, w->nnz, (long long)end);
        for (int64_t k = begin; k < end; k++) {
            const int64_t low = k == begin ? 0 : w->indices[k - 1] + 1;
            DNS_REQUIRE(w->indices[k] >= low && w->indices[k] < (int64_t)w->cols, err,
                        DNS_ERR_FORMAT, i,
                        "indices: row %zu: expected ascending columns below %zu without repeats, "
                        "got %lld%s",
                        i, w->cols, (long long)w->indices[k],
                        low > 0 && w->indices[k] < low ? " after a column not below it" : "");
        }
    }
    DNS_REQUIRE(w->indptr[w->rows] == (int64_t)w->nnz, err, DNS_ERR_FORMAT,
                w->rows == 0 ? 0 : w->rows - 1,
                "indptr: row %zu: expected the last pointer to be the number of weights %zu, got "
                "%lld",
                w->rows == 0 ? 0 : w->rows - 1, w->nnz, (long long)w->indptr[w->rows]);
    return DNS_OK;
}

/* Columns of a block: equal parts of K that fit the first cache, or more columns when rows are so
 * sparse that loading and storing Y would cost more than X. */
static size_t
block_columns(const dns_csr *w, size_t panel)
{
    const double density = (double)w->nnz / ((double)w->rows * (double)w->cols);
    const size_t pitch = panel * sizeof(float);
    size_t most = BLOCK_BYTES / pitch;
    while (most < BLOCK_MAX && (double)most * density < BLOCK_MIN_NNZ) {
        most *= 2;
    }
    const size_t n = (w->cols + most - 1) / most;
    return n == 0 ? most : (w->cols + n - 1) / n;
}

/* A pass over the matrix that writes the stream, or only measures it when pairs is NULL. */
typedef struct packer {
    const dns_csr *w;
    size_t block, pitch;
    int64_t *cursor; /* [rows] first entry not yet taken */
    csr_pair *pairs;
    csr_entry *entries;
    csr_slice *slices;
    uint16_t *columns;
    float *values;
    size_t n_pairs, n_entries; /* of slices too */
} packer;

typedef struct row_count {
    int32_t row;
    uint32_t n;
} row_count;

/* The rows of a group that a segment holds, those with most entries first. */
static size_t
rows_of_segment(const packer *p, size_t b, size_t first, size_t stop, row_count *rows)
{
    const int64_t limit = (int64_t)((b + 1) * p->block);
    size_t n = 0;
    for (size_t i = first; i < stop; i++) {
        int64_t k = p->cursor[i];
        while (k < p->w->indptr[i + 1] && p->w->indices[k] < limit) {
            k++;
        }
        const row_count here = {(int32_t)i, (uint32_t)(k - p->cursor[i])};
        if (here.n == 0 && b > 0) {
            continue;
        }
        size_t at = n++;
        for (; at > 0 && rows[at - 1].n < here.n; at--) {
            rows[at] = rows[at - 1];
        }
        rows[at] = here;
    }
    return n;
}

static void
take(packer *p, int32_t row, size_t first_column)
{
    const int64_t k = p->cursor[row]++;
    if (p->pairs != NULL) {
        const size_t column = (size_t)p->w->indices[k] - first_column;
        p->entries[p->n_entries] = (csr_entry){(uint32_t)(column * p->pitch), p->w->values[k]};
    }
    p->n_entries++;
}

static void
pack_segment(packer *p, size_t b, size_t first, size_t stop)
{
    row_count rows[GROUP];
    const size_t n = rows_of_segment(p, b, first, stop, rows);
    for (size_t i = 0; i < n; i += 2) {
        const bool two = i + 1 < n;
        csr_pair pair = {{rows[i].row, two ? rows[i + 1].row : -1}, 0, rows[i].n, 0};
        pair.both = two ? rows[i + 1].n : 0;
        pair.rest -= pair.both;
        for (uint32_t k = 0; k < pair.both; k++) {
            take(p, pair.row[0], b * p->block);
            take(p, pair.row[1], b * p->block);
        }
        for (uint32_t k = 0; k < pair.rest; k++) {
            take(p, pair.row[0], b * p->block);
        }
        for (int r = 0; r < (two ? 2 : 1); r++) {
            const bool over = p->cursor[pair.row[r]] == p->w->indptr[pair.row[r] + 1];
            pair.last |= (over ? 1U : 0U) << r;
        }
        if (p->pairs != NULL) {
            p->pairs[p->n_pairs] = pair;
        }
        p->n_pairs++;
    }
}

/* The stream for one vector: up to CSR_SLICE rows of a segment. */
static void
pack_slice(packer *p, size_t b, const row_count *rows, size_t n)
{
    csr_slice slice = {.last = 0};
    for (size_t i = 0; i < CSR_SLICE; i++) {
        slice.row[i] = i < n ? rows[i].row : -1;
        slice.n[i] = i < n ? rows[i].n : 0;
        if (i < n) {
            const int64_t end = p->cursor[rows[i].row] + rows[i].n;
            slice.last |= (end == p->w->indptr[rows[i].row + 1] ? 1U : 0U) << i;
        }
    }
    for (size_t k = 0; k < slice.n[0]; k++) {
        for (size_t i = 0; i < n && slice.n[i] > k; i++, p->n_entries++) {
            const int64_t from = p->cursor[rows[i].row]++;
            if (p->slices != NULL) {
                p->columns[p->n_entries] = (uint16_t)((size_t)p->w->indices[from] - b * p->block);
                p->values[p->n_entries] = p->w->values[from];
            }
        }
    }
    if (p->slices != NULL) {
        p->slices[p->n_pairs] = slice;
    }
    p->n_pairs++;
}

static void
pack_slices(packer *p, size_t b, size_t first, size_t stop)
{
    row_count rows[GROUP];
    const size_t n = rows_of_segment(p, b, first, stop, rows);
    for (size_t i = 0; i < n; i += CSR_SLICE) {
        pack_slice(p, b, rows + i, n - i < CSR_SLICE ? n - i : CSR_SLICE);
    }
}

/* What pack_all does with a segment: pack_segment or pack_slices. */
typedef void (*pack_fn)(packer *p, size_t b, size_t first, size_t stop);

static void
pack_all(packer *p, pack_fn pack, size_t n_blocks, size_t n_groups, segment *segments)
{
    memcpy(p->cursor, p->w->indptr, p->w->rows * sizeof *p->cursor);
    p->n_pairs = 0;
    p->n_entries = 0;
    for (size_t b = 0; b < n_blocks; b++) {
        for (size_t g = 0; g < n_groups; g++) {
            const size_t stop = (g + 1) * GROUP;
            segments[b * n_groups + g] = (segment){p->n_pairs, p->n_entries};
            pack(p, b, g * GROUP, stop < p->w->rows ? stop : p->w->rows);
        }
    }
    segments[n_blocks * n_groups] = (segment){p->n_pairs, p->n_entries};
}

static void
csr_destroy(dns_plan *base)
{
    csr_plan *plan = (csr_plan *)base;
    const dns_alloc *alloc = &base->alloc;
    dns_mem_free(alloc, plan->segments, plan->n_blocks * plan->n_groups + 1,
                 sizeof *plan->segments);
    dns_mem_free(alloc, plan->pairs, plan->n_pairs, sizeof *plan->pairs);
    dns_mem_free(alloc, plan->entries, base->nnz, sizeof *plan->entries);
    dns_mem_free(alloc, plan->strips, plan->n_strips * plan->n_groups + 1, sizeof *plan->strips);
    dns_mem_free(alloc, plan->slices, plan->n_slices, sizeof *plan->slices);
    dns_mem_free(alloc, plan->columns, base->nnz, sizeof *plan->columns);
    dns_mem_free(alloc, plan->values, base->nnz, sizeof *plan->values);
    dns_mem_free(alloc, plan->group_nnz, plan->n_groups + 1, sizeof *plan->group_nnz);
}

/* The streams of a plan whose extents are set; DNS_ERR_MEMORY leaves what was allocated in the
 * plan. */
static dns_status
fill_pairs(csr_plan *plan, const dns_csr *w, int64_t *cursor)
{
    const dns_alloc *alloc = &plan->base.alloc;
    packer p = {
        .w = w, .block = plan->block, .pitch = plan->ops->panel * sizeof(float), .cursor = cursor};
    const size_t n_segments = plan->n_blocks * plan->n_groups + 1;
    plan->segments = dns_mem_new(alloc, n_segments, sizeof *plan->segments);
    plan->entries = dns_mem_new(alloc, w->nnz, sizeof *plan->entries);
    if (plan->segments == NULL || plan->entries == NULL) {
        return DNS_ERR_MEMORY;
    }
    pack_all(&p, pack_segment, plan->n_blocks, plan->n_groups, plan->segments);
    plan->pairs = dns_mem_new(alloc, p.n_pairs, sizeof *plan->pairs);
    if (plan->pairs == NULL) {
        return DNS_ERR_MEMORY;
    }
    plan->n_pairs = p.n_pairs;
    p.pairs = plan->pairs;
    p.entries = plan->entries;
    pack_all(&p, pack_segment, plan->n_blocks, plan->n_groups, plan->segments);
    plan->base.bytes += n_segments * sizeof *plan->segments + p.n_pairs * sizeof *plan->pairs +
                        w->nnz * sizeof *plan->entries;
    return DNS_OK;
}

static dns_status
fill_slices(csr_plan *plan, const dns_csr *w, int64_t *cursor)
{
    const dns_alloc *alloc = &plan->base.alloc;
    packer p = {.w = w, .block = CSR_STRIP, .cursor = cursor};
    const size_t n_segments = plan->n_strips * plan->n_groups + 1;
    plan->strips = dns_mem_new(alloc, n_segments, sizeof *plan->strips);
    plan->columns = dns_mem_new(alloc, w->nnz, sizeof *plan->columns);
    plan->values = dns_mem_new(alloc, w->nnz, sizeof *plan->values);
    if (plan->strips == NULL || plan->columns == NULL || plan->values == NULL) {
        return DNS_ERR_MEMORY;
    }
    pack_all(&p, pack_slices, plan->n_strips, plan->n_groups, plan->strips);
    plan->slices = dns_mem_new(alloc, p.n_pairs, sizeof *plan->slices);
    if (plan->slices == NULL) {
        return DNS_ERR_MEMORY;
    }
    plan->n_slices = p.n_pairs;
    p.slices = plan->slices;
    p.columns = plan->columns;
    p.values = plan->values;
    pack_all(&p, pack_slices, plan->n_strips, plan->n_groups, plan->strips);
    plan->base.bytes += n_segments * sizeof *plan->strips + p.n_pairs * sizeof *plan->slices +
                        w->nnz * (sizeof *plan->columns + sizeof *plan->values);
    return DNS_OK;
}

static dns_status
fill(csr_plan *plan, const dns_csr *w, int64_t *cursor)
{
    const size_t n = plan->n_groups + 1;
    plan->group_nnz = dns_mem_new(&plan->base.alloc, n, sizeof *plan->group_nnz);
    if (plan->group_nnz == NULL) {
        return DNS_ERR_MEMORY;
    }
    for (size_t g = 0; g < n; g++) {
        const size_t row = g * GROUP;
        plan->group_nnz[g] = (uint64_t)w->indptr[row < w->rows ? row : w->rows];
    }
    plan->base.bytes += n * sizeof *plan->group_nnz;
    const dns_status status = fill_pairs(plan, w, cursor);
    return status == DNS_OK ? fill_slices(plan, w, cursor) : status;
}

/* ---- execution ------------------------------------------------------------------------------- */

typedef struct job {
    const csr_plan *plan;
    const dns_call *call;
    size_t row_parts; /* how many parts share a panel; the others split the panels */
    size_t panel_parts;
    dns_layout layout;
} job;

/* First group of part p of n, so that parts hold about equally many weights. */
static size_t
group_of_part(const csr_plan *plan, size_t p, size_t n)
{
    const double want = (double)plan->base.nnz * (double)p / (double)n;
    size_t low = 0;
    size_t high = plan->n_groups;
    if (p == n) {
        return plan->n_groups;
    }
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if ((double)plan->group_nnz[middle] < want) {
            low = middle + 1;
        }
        else {
            high = middle;
        }
    }
    return low;
}

/* Rows of X in a packed block. */
static size_t
block_rows(const csr_plan *plan)
{
    return plan->block < plan->base.cols ? plan->block : plan->base.cols;
}

/* Whether the stream of weights stays in the second cache from one panel to the next. */
static bool
stays(const csr_plan *plan)
{
    return plan->base.nnz <= STREAM_NEAR_BYTES / sizeof(csr_entry);
}

/* Panels that are computed side by side, so that a segment's weights are read from far away once
 * for all of them: as many as keep their sums and their packed blocks in the second cache. */
static size_t
batch_panels(const csr_plan *plan)
{
    const size_t pitch = plan->ops->panel * sizeof(float);
    const size_t by_y = BATCH_Y_BYTES / (pitch * plan->base.rows);
    const size_t by_x = BATCH_X_BYTES / (pitch * block_rows(plan));
    const size_t batch = stays(plan) ? 1 : by_y < by_x ? by_y : by_x;
    return batch < 1 ? 1 : batch > BATCH_MAX ? BATCH_MAX : batch;
}

/* The pairs of block b and the groups [first, stop). */
static csr_run
groups_run(const csr_plan *plan, csr_run run, size_t b, size_t first, size_t stop)
{
    const segment *s = plan->segments + b * plan->n_groups;
    run.pairs = plan->pairs + s[first].pair;
    run.n_pairs = s[stop].pair - s[first].pair;
    run.entries = plan->entries + s[first].entry;
    run.bias = b == 0 ? plan->base.bias : NULL;
    return run;
}

/* Some panels, at most a batch, times the groups [first, stop). */
typedef struct batch {
    const csr_plan *plan;
    const dns_call *call;
    dns_layout layout;
    size_t panel, n_panels;
    size_t first, stop;
    float *packed; /* [n_panels][block_rows][NT] */
    float *sums;   /* DNS_ROWS: [n_panels][M][NT] */
} batch;

/* Columns of the batch's q-th panel; *at is the first one. */
static size_t
panel_columns(const batch *a, size_t q, size_t *at)
{
    const size_t nt = a->plan->ops->panel;
    *at = (a->panel + q) * nt;
    return a->call->n - *at < nt ? a->call->n - *at : nt;
}

static void
pack_block(const batch *a, size_t b)
{
    const csr_plan *plan = a->plan;
    const dns_call *call = a->call;
    const size_t row = b * plan->block;
    const size_t k = plan->base.cols - row < plan->block ? plan->base.cols - row : plan->block;
    for (size_t q = 0; q < a->n_panels; q++) {
        size_t at = 0;
        const size_t n = panel_columns(a, q, &at);
        float *panel = a->packed + q * block_rows(plan) * plan->ops->panel;
        if (a->layout == DNS_ROWS) {
            plan->ops->pack_rows(call->x + (ptrdiff_t)at * call->ldx + (ptrdiff_t)row, call->ldx, k,
                                 n, panel);
        }
        else {
            plan->ops->pack(call->x + (ptrdiff_t)row * call->ldx + (ptrdiff_t)at, call->ldx, k, n,
                            panel);
        }
    }
}

/* Block b, which is packed, of the groups [g, stop) and the batch's q-th panel. */
static void
multiply_panel(const batch *a, size_t b, size_t g, size_t stop, size_t q)
{
    const csr_plan *plan = a->plan;
    const size_t nt = plan->ops->panel;
    const bool rows = a->layout == DNS_ROWS;
    size_t at = 0;
    csr_run run = {.n = panel_columns(a, q, &at), .act = plan->base.act, .far = !stays(plan)};
    run.x = a->packed + q * block_rows(plan) * nt;
    run.y = rows ? a->sums + q * plan->base.rows * nt : a->call->y + at;
    run.ldy = rows ? (ptrdiff_t)nt : a->call->ldy;
    run = groups_run(plan, run, b, g, stop);
    plan->ops->spmm(&run);
}

static void
multiply_batch(const batch *a)
{
    const csr_plan *plan = a->plan;
    const size_t nt = plan->ops->panel;
    const size_t step = a->n_panels == 1 ? a->stop - a->first : 1;
    for (size_t b = 0; b < plan->n_blocks; b++) {
        pack_block(a, b);
        for (size_t g = a->first; g < a->stop; g += step) {
            for (size_t q = 0; q < a->n_panels; q++) {
                multiply_panel(a, b, g, g + step, q);
            }
        }
    }
    const size_t row = a->first * GROUP;
    const size_t end = a->stop * GROUP < plan->base.rows ? a->stop * GROUP : plan->base.rows;
    for (size_t q = 0; a->layout == DNS_ROWS && q < a->n_panels; q++) {
        size_t at = 0;
        const size_t n = panel_columns(a, q, &at);
        plan->ops->unpack_rows(a->sums + (q * plan->base.rows + row) * nt, end - row, n,
                               a->call->y + (ptrdiff_t)at * a->call->ldy + (ptrdiff_t)row,
                               a->call->ldy);
    }
}

static void
multiply_part(void *ctx, size_t part)
{
    const job *j = ctx;
    const csr_plan *plan = j->plan;
    const size_t nt = plan->ops->panel;
    const size_t panels = (j->call->n + nt - 1) / nt;
    const size_t most = batch_panels(plan);
    const size_t across = part / j->row_parts;
    const size_t end = dns_part(panels, j->panel_parts, across + 1);
    const size_t packed = most * block_rows(plan) * nt;
    const size_t sums = j->layout == DNS_ROWS ? most * plan->base.rows * nt : 0;
    batch a = {.plan = plan, .call = j->call, .layout = j->layout};
    a.first = group_of_part(plan, part % j->row_parts, j->row_parts);
    a.stop = group_of_part(plan, part % j->row_parts + 1, j->row_parts);
    a.packed = (float *)j->call->ws + part * (packed + sums);
    a.sums = a.packed + packed;
    a.panel = dns_part(panels, j->panel_parts, across);
    for (; a.panel < end && a.first < a.stop; a.panel += most) {
        a.n_panels = end - a.panel < most ? end - a.panel : most;
        multiply_batch(&a);
    }
}

static void
vector_part(void *ctx, size_t part)
{
    const job *j = ctx;
    const csr_plan *plan = j->plan;
    const size_t first = group_of_part(plan, part, j->row_parts);
    const size_t stop = group_of_part(plan, part + 1, j->row_parts);
    for (size_t b = 0; b < plan->n_strips && first < stop; b++) {
        const segment *s = plan->strips + b * plan->n_groups;
        const csr_vector_run run = {.slices = plan->slices + s[first].pair,
                                    .n_slices = s[stop].pair - s[first].pair,
                                    .columns = plan->columns + s[first].entry,
                                    .values = plan->values + s[first].entry,
                                    .x = j->call->x + b * CSR_STRIP,
                                    .y = j->call->y,
                                    .ldy = j->call->ldy,
                                    .bias = b == 0 ? plan->base.bias : NULL,
                                    .act = plan->base.act};
        plan->ops->gemv(&run);
    }
}

/* Bytes for `rows` rows of NT floats per panel of a batch and thread. */
static bool
panels_bytes(const csr_plan *plan, size_t rows, size_t threads, size_t *bytes)
{
    size_t floats = 0;
    return dns_mul_size(rows, plan->ops->panel * batch_panels(plan), &floats) &&
           dns_mul_size(floats, threads, &floats) && dns_mul_size(floats, sizeof(float), bytes);
}

static bool
csr_workspace(const dns_plan *base, size_t n, size_t threads, size_t *bytes)
{
    const csr_plan *plan = (const csr_plan *)base;
    return n == 1 ? dns_mul_size(base->cols, sizeof(float), bytes)
                  : panels_bytes(plan, block_rows(plan), threads, bytes);
}

static bool
csr_rows_workspace(const dns_plan *base, size_t n, size_t threads, size_t *bytes)
{
    const csr_plan *plan = (const csr_plan *)base;
    (void)n;
    return panels_bytes(plan, block_rows(plan) + base->rows, threads, bytes);
}

static void
multiply(const csr_plan *plan, const dns_call *call, dns_layout layout)
{
    const size_t threads = dns_plan_threads(&plan->base, call->n, call->threads);
    const size_t panels = (call->n + plan->ops->panel - 1) / plan->ops->panel;
    const bool across = panels % threads == 0 || panels >= 4 * threads;
    job j = {plan, call, across ? 1 : threads, across ? threads : 1, layout};
    dns_threads_run(call->threads, threads, multiply_part, &j);
}

static void
csr_execute(const dns_plan *base, const dns_call *call)
{
    if (call->n > 1) {
        multiply((const csr_plan *)base, call, DNS_COLUMNS);
        return;
    }
    const size_t threads = dns_plan_threads(base, 1, call->threads);
    dns_call one = *call;
    job j = {(const csr_plan *)base, &one, threads, 1, DNS_COLUMNS};
    if (call->ldx != 1) {
        float *x = call->ws;
        for (size_t k = 0; k < base->cols; k++) {
            x[k] = call->x[(ptrdiff_t)k * call->ldx];
        }
        one.x = x;
    }
    dns_threads_run(call->threads, threads, vector_part, &j);
}

static void
csr_execute_rows(const dns_plan *base, const dns_call *call)
{
    multiply((const csr_plan *)base, call, DNS_ROWS);
}

static void
vector_work(const csr_plan *plan, const dns_machine *machine, dns_work *work)
{
    const double nnz = (double)plan->base.nnz;
    const double x = 4.0 * (double)plan->base.cols;
    const double y = 4.0 * (double)plan->base.rows;
    const double stream = 6.0 * nnz + (double)(sizeof(csr_slice) * plan->n_slices);
    dns_work_add(work, machine, x, 4.0 * nnz); /* one element of x per weight */
    dns_work_add(work, machine, stream, stream);
    dns_work_add(work, machine, y, y * (double)(2 * plan->n_strips - 1)); /* sums */
}

static void
csr_work(const dns_plan *base, size_t n, const dns_machine *machine, dns_work *work)
{
    const csr_plan *plan = (const csr_plan *)base;
    const double nnz = (double)base->nnz;
    const double columns = (double)n;
    work->flops = 2.0 * nnz * columns;
    if (n == 1) {
        vector_work(plan, machine, work);
        return;
    }
    const double x = 4.0 * (double)base->cols * columns;
    const double y = 4.0 * (double)base->rows * columns;
    const double nt = (double)plan->ops->panel;
    const double panels = ceil(columns / nt);
    const double batches = ceil(panels / (double)batch_panels(plan));
    const double stream =
        (double)(sizeof(csr_entry) * base->nnz + sizeof(csr_pair) * plan->n_pairs);
    const double one = stream / (double)(plan->n_blocks * plan->n_groups);
    const double block = 4.0 * nt * (double)block_rows(plan);
    dns_work_add(work, machine, block, 4.0 * nnz * columns); /* rows of X, one per weight */
    dns_work_add(work, machine, stream, stream * batches);   /* weights, once per batch of panels */
    dns_work_add(work, machine, one, stream * (panels - batches)); /* and again per segment */
    dns_work_add(work, machine, x + y, x);                         /* X to its panels */
    dns_work_add(work, machine, x + y, y * (double)(2 * plan->n_blocks - 1)); /* sums of Y */
}

static void
csr_to_dense(const dns_plan *base, float *w)
{
    const csr_plan *plan = (const csr_plan *)base;
    const size_t pitch = plan->ops->panel * sizeof(float);
    const csr_entry *e = plan->entries;
    for (size_t b = 0; b < plan->n_blocks; b++) {
        const segment *s = plan->segments + b * plan->n_groups;
        for (size_t p = s[0].pair; p < s[plan->n_groups].pair; p++) {
            const csr_pair *pair = plan->pairs + p;
            const size_t n = (size_t)2 * pair->both + pair->rest;
            for (size_t k = 0; k < n; k++, e++) {
                const size_t row = (size_t)pair->row[k < (size_t)2 * pair->both ? k % 2 : 0];
                w[row * base->cols + b * plan->block + e->offset / pitch] = e->value;
            }
        }
    }
}

static const dns_plan_ops csr_plan_ops = {
    .format = "csr",
    .workspace = csr_workspace,
    .execute = csr_execute,
    .rows_workspace = csr_rows_workspace,
    .execute_rows = csr_execute_rows,
    .work = csr_work,
    .to_dense = csr_to_dense,
    .destroy = csr_destroy,
};

dns_status
dns_csr_plan_create(const dns_csr *w, const float *bias, dns_act act, dns_isa isa,
                    const dns_alloc *alloc, dns_plan **out, dns_error *err)
{
    dns_plan *base = NULL;
    DNS_TRY(dns_csr_check(w, err));
    DNS_TRY(dns_plan_new(&csr_plan_ops, sizeof(csr_plan), w->rows, w->cols, bias, act, alloc, &base,
                         err));
    csr_plan *plan = (csr_plan *)base;
    plan->ops = dns_csr_ops_select(isa);
    base->isa = plan->ops->isa;
    base->nnz = w->nnz;
    plan->block = block_columns(w, plan->ops->panel);
    plan->n_blocks = w->cols == 0 ? 1 : (w->cols + plan->block - 1) / plan->block;
    plan->n_strips = w->cols == 0 ? 1 : (w->cols + CSR_STRIP - 1) / CSR_STRIP;
    plan->n_groups = (w->rows + GROUP - 1) / GROUP;
    int64_t *cursor = dns_mem_new(alloc, w->rows, sizeof *cursor);
    const dns_status status = cursor == NULL ? DNS_ERR_MEMORY : fill(plan, w, cursor);
    dns_mem_free(alloc, cursor, w->rows, sizeof *cursor);
    return dns_plan_finish(base, status, out, err);
}

dns_status
dns_csr_plan_unpack(const dns_plan *base, int64_t *indptr, int64_t *indices, float *values,
                    dns_error *err)
{
    DNS_REQUIRE(base->ops == &csr_plan_ops, err, DNS_ERR_VALUE, -1,
                "plan: expected format csr, got %s", base->ops->format);
    const csr_plan *plan = (const csr_plan *)base;
    const size_t pitch = plan->ops->panel * sizeof(float);
    memset(indptr, 0, (base->rows + 1) * sizeof *indptr);
    for (size_t p = 0; p < plan->n_pairs; p++) {
        const csr_pair *pair = plan->pairs + p;
        indptr[pair->row[0] + 1] += pair->both + pair->rest;
        if (pair->row[1] >= 0) {
            indptr[pair->row[1] + 1] += pair->both;
        }
    }
    for (size_t i = 0; i < base->rows; i++) {
        indptr[i + 1] += indptr[i];
    }
    /* Blocks ascend, so a row's entries come in column order; indptr[i] walks and is set back. */
    const csr_entry *e = plan->entries;
    for (size_t b = 0; b < plan->n_blocks; b++) {
        const segment *s = plan->segments + b * plan->n_groups;
        for (size_t p = s[0].pair; p < s[plan->n_groups].pair; p++) {
            const csr_pair *pair = plan->pairs + p;
            const size_t n = (size_t)2 * pair->both + pair->rest;
            for (size_t k = 0; k < n; k++, e++) {
                const int64_t at = indptr[pair->row[k < (size_t)2 * pair->both ? k % 2 : 0]]++;
                indices[at] = (int64_t)(b * plan->block + e->offset / pitch);
                values[at] = e->value;
            }
        }
    }
    for (size_t i = base->rows; i > 0; i--) {
        indptr[i] = indptr[i - 1];
    }
    indptr[0] = 0;
    return DNS_OK;
}
