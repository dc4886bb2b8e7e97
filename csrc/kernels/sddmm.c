/* Patterns, and the split of their entries over threads.
 *
 * Segments are stored in the order in which they are computed, so that their columns are read as
 * one stream: taken from rows, they would be short pieces far apart, which no processor prefetches.
 * A tile's values are computed block by block into a buffer of the thread and then copied, unless
 * there is one block only: they lie behind each other in the result, while the rows of a block are
 * far apart in it, and a line that is written at four times would be fetched four times.
 */
#include "kernels/sddmm_internal.h"

#include <string.h>

#include "dns/csr.h"

enum {
    BLOCK = 128, /* columns, at least: 32 KiB of K at depth 64, which the first cache holds */
    BLOCK_MIN_ENTRIES = 16, /* of a row, in the mean: below it blocks grow */
    BLOCK_MAX = 1 << 16
};

#define SERIAL_FLOPS 2e6 /* below this a wake-up costs more than a second thread gives */

DNS_OPS_SELECT(dns_sddmm_ops)

static size_t
block_columns(size_t rows, size_t cols, size_t nnz)
{
    const double density = (double)nnz / ((double)rows * (double)cols + 1.0);
    size_t block = BLOCK;
    while (block < cols && block < BLOCK_MAX && (double)block * density < BLOCK_MIN_ENTRIES) {
        block *= 2;
    }
    return block;
}

/* Rows of tile t. */
static size_t
tile_rows(const dns_pattern *p, size_t t)
{
    const size_t left = p->rows - t * DNS_PATTERN_ROWS;
    return left < DNS_PATTERN_ROWS ? left : DNS_PATTERN_ROWS;
}

/* A pass over the structure that writes segments, or only counts runs when p->runs is NULL. */
typedef struct packer {
    dns_pattern *p;
    const int64_t *indices;
    size_t segment, run, entry;
} packer;

/* The runs of a block of the tile whose first row is row `first` of the structure; cursor [row] is
 * its first entry not yet taken. */
static void
pack_segment(packer *k, size_t first, size_t rows, size_t b, int64_t *cursor)
{
    dns_pattern *p = k->p;
    const int64_t limit = (int64_t)((b + 1) * p->block);
    dns_pattern_run runs[DNS_PATTERN_ROWS];
    size_t n = 0;
    for (size_t i = 0; i < rows; i++) {
        int64_t e = cursor[i];
        while (e < p->indptr[first + i + 1] && k->indices[e] < limit) {
            e++;
        }
        const dns_pattern_run run = {(uint32_t)(cursor[i] - p->indptr[first]),
                                     (uint32_t)(e - cursor[i]), (uint32_t)i};
        cursor[i] = e;
        size_t at = run.n > 0 ? n++ : 0;
        for (; run.n > 0 && at > 0 && runs[at - 1].n < run.n; at--) {
            runs[at] = runs[at - 1];
        }
        if (run.n > 0) {
            runs[at] = run;
        }
    }
    if (p->runs != NULL) {
        p->segments[k->segment] = (uint32_t)k->run;
        for (size_t r = 0; r < n; r++) {
            const int64_t from = p->indptr[first] + (int64_t)runs[r].at;
            p->runs[k->run + r] = runs[r];
            for (uint32_t e = 0; e < runs[r].n; e++) {
                p->columns[k->entry++] = (uint16_t)(k->indices[from + e] - (int64_t)(b * p->block));
            }
        }
    }
    k->segment++;
    k->run += n;
}

/* All segments; returns the number of runs. */
static size_t
pack_all(dns_pattern *p, const int64_t *indices)
{
    packer k = {p, indices, 0, 0, 0};
    for (size_t h = 0; h < p->heads; h++) {
        for (size_t t = 0; t < p->n_tiles; t++) {
            const size_t first = h * p->rows + t * DNS_PATTERN_ROWS;
            const size_t rows = tile_rows(p, t);
            const size_t n = (size_t)(p->indptr[first + rows] - p->indptr[first]);
            int64_t cursor[DNS_PATTERN_ROWS];
            for (size_t i = 0; i < rows; i++) {
                cursor[i] = p->indptr[first + i];
            }
            p->tile_nnz = n > p->tile_nnz ? n : p->tile_nnz;
            for (size_t b = 0; b < p->n_blocks; b++) {
                pack_segment(&k, first, rows, b, cursor);
            }
        }
    }
    if (p->runs != NULL) {
        p->segments[k.segment] = (uint32_t)k.run;
    }
    return k.run;
}

static size_t
n_segments(const dns_pattern *p)
{
    return p->heads * p->n_tiles * p->n_blocks;
}

/* Arrays of a pattern whose extents are set; what was allocated stays in it on failure. */
static bool
fill(dns_pattern *p, const int64_t *indptr, const int64_t *indices)
{
    const dns_alloc *alloc = &p->alloc;
    const size_t all = p->heads * p->rows + 1;
    const size_t segments = n_segments(p) + 1;
    p->indptr = dns_mem_new(alloc, all, sizeof *p->indptr);
    p->segments = dns_mem_new(alloc, segments, sizeof *p->segments);
    p->columns = dns_mem_new(alloc, p->nnz, sizeof *p->columns);
    if (p->indptr == NULL || p->segments == NULL || p->columns == NULL) {
        return false;
    }
    for (size_t i = 0; i < all; i++) {
        p->indptr[i] = (int32_t)indptr[i];
    }
    p->n_runs = pack_all(p, indices);
    p->runs = dns_mem_new(alloc, p->n_runs, sizeof *p->runs);
    if (p->runs == NULL) {
        return false;
    }
    (void)pack_all(p, indices);
    p->bytes = sizeof *p + all * sizeof *p->indptr + segments * sizeof *p->segments +
               p->n_runs * sizeof *p->runs + p->nnz * sizeof *p->columns;
    return true;
}

dns_status
dns_pattern_create(size_t heads, size_t rows, size_t cols, const int64_t *indptr,
                   const int64_t *indices, size_t nnz, const dns_alloc *alloc, dns_pattern **out,
                   dns_error *err)
{
    size_t all = 0;
    DNS_REQUIRE(heads >= 1, err, DNS_ERR_VALUE, -1,
                "pattern: expected at least one head, got none");
    DNS_REQUIRE(dns_mul_size(heads, rows, &all) && all <= INT32_MAX && heads <= INT32_MAX, err,
                DNS_ERR_VALUE, -1, "pattern: expected heads x rows below 2^31, got %zu x %zu",
                heads, rows);
    const dns_csr w = {all, cols, nnz, indptr, indices, NULL};
    DNS_TRY(dns_csr_check(&w, err));
    dns_pattern *p = dns_mem_zero(alloc, 1, sizeof *p);
    if (p == NULL) {
        return dns_fail(err, DNS_ERR_MEMORY, -1, "pattern: out of memory");
    }
    *p = (dns_pattern){.alloc = alloc != NULL ? *alloc : *dns_alloc_default(),
                       .heads = heads,
                       .rows = rows,
                       .cols = cols,
                       .nnz = nnz,
                       .block = block_columns(all, cols, nnz),
                       .n_tiles = (rows + DNS_PATTERN_ROWS - 1) / DNS_PATTERN_ROWS};
    p->n_blocks = cols <= p->block ? 1 : (cols + p->block - 1) / p->block;
    if (!fill(p, indptr, indices)) {
        dns_pattern_destroy(p);
        return dns_fail(err, DNS_ERR_MEMORY, -1, "pattern: out of memory");
    }
    *out = p;
    return DNS_OK;
}

void
dns_pattern_destroy(dns_pattern *pattern)
{
    if (pattern == NULL) {
        return;
    }
    const dns_alloc alloc = pattern->alloc;
    dns_mem_free(&alloc, pattern->indptr, pattern->heads * pattern->rows + 1,
                 sizeof *pattern->indptr);
    dns_mem_free(&alloc, pattern->segments, n_segments(pattern) + 1, sizeof *pattern->segments);
    dns_mem_free(&alloc, pattern->runs, pattern->n_runs, sizeof *pattern->runs);
    dns_mem_free(&alloc, pattern->columns, pattern->nnz, sizeof *pattern->columns);
    dns_mem_free(&alloc, pattern, 1, sizeof *pattern);
}

void
dns_pattern_unpack(const dns_pattern *pattern, int64_t *indptr, int64_t *indices)
{
    const uint16_t *column = pattern->columns;
    const size_t per_head = pattern->n_tiles * pattern->n_blocks;
    for (size_t i = 0; i <= pattern->heads * pattern->rows; i++) {
        indptr[i] = pattern->indptr[i];
    }
    for (size_t s = 0; s < n_segments(pattern); s++) {
        const size_t t = s % per_head / pattern->n_blocks;
        const size_t first = dns_pattern_entry(pattern, s / per_head, t * DNS_PATTERN_ROWS);
        const int64_t left = (int64_t)(s % pattern->n_blocks * pattern->block);
        for (uint32_t r = pattern->segments[s]; r < pattern->segments[s + 1]; r++) {
            for (uint32_t e = 0; e < pattern->runs[r].n; e++) {
                indices[first + pattern->runs[r].at + e] = left + *column++;
            }
        }
    }
}

size_t
dns_pattern_unit(const dns_pattern *pattern, size_t batch, size_t parts, size_t p)
{
    const size_t groups = batch / pattern->heads;
    const double all = (double)groups * (double)pattern->nnz;
    size_t low = 0;
    size_t high = batch * pattern->n_tiles;
    while (low < high && p < parts) {
        const size_t middle = low + (high - low) / 2;
        const size_t b = middle / pattern->n_tiles;
        const size_t row = middle % pattern->n_tiles * DNS_PATTERN_ROWS;
        const size_t group = b / pattern->heads;
        const double before = (double)group * (double)pattern->nnz +
                              (double)dns_pattern_entry(pattern, b % pattern->heads, row);
        if (before * (double)parts < all * (double)p) {
            low = middle + 1;
        }
        else {
            high = middle;
        }
    }
    return high;
}

/* Part p of `parts` of rows. */
static sddmm_ahead
part_of(sddmm_ahead all, size_t parts, size_t p)
{
    const size_t first = dns_part(all.n, parts, p);
    return (sddmm_ahead){all.rows + (ptrdiff_t)first * all.ld, all.ld,
                         dns_part(all.n, parts, p + 1) - first};
}

/* The rows of Q of unit u. */
static sddmm_ahead
unit_rows(const dns_pattern *p, const dns_sddmm *c, size_t u)
{
    const size_t t = u % p->n_tiles;
    const float *q = c->q + (ptrdiff_t)(u / p->n_tiles) * c->q_step;
    return (sddmm_ahead){q + (ptrdiff_t)(t * DNS_PATTERN_ROWS) * c->ldq, c->ldq, tile_rows(p, t)};
}

sddmm_run
dns_sddmm_unit(const dns_pattern *pattern, const dns_sddmm *call, size_t u, size_t stop)
{
    const size_t next = u / pattern->n_tiles + 1;
    sddmm_run run = {.q = unit_rows(pattern, call, u).rows,
                     .ldq = call->ldq,
                     .depth = call->depth,
                     .scale = call->scale};
    if (u + 1 < stop) {
        run.ahead[0] = unit_rows(pattern, call, u + 1);
    }
    if (next * pattern->n_tiles < stop) {
        const sddmm_ahead k = {call->k + (ptrdiff_t)next * call->k_step, call->ldk, pattern->cols};
        run.ahead[1] = part_of(k, pattern->n_tiles, u % pattern->n_tiles);
    }
    return run;
}

void
dns_sddmm_tile(const dns_sddmm_ops *ops, const dns_pattern *pattern, size_t h, size_t t,
               sddmm_run run, const float *packed, float *values)
{
    const uint32_t *segment = pattern->segments + (h * pattern->n_tiles + t) * pattern->n_blocks;
    const sddmm_ahead ahead[2] = {run.ahead[0], run.ahead[1]};
    run.values = values;
    run.columns = pattern->columns + dns_pattern_entry(pattern, h, t * DNS_PATTERN_ROWS);
    for (size_t b = 0; b < pattern->n_blocks; b++) {
        run.k = packed + b * pattern->block * sddmm_pitch(ops, run.depth);
        run.runs = pattern->runs + segment[b];
        run.n_runs = segment[b + 1] - segment[b];
        run.ahead[0] = part_of(ahead[0], pattern->n_blocks, b);
        run.ahead[1] = part_of(ahead[1], pattern->n_blocks, b);
        run.columns = ops->segment(&run);
    }
}

/* To whole lines. */
static bool
round_up(size_t *floats)
{
    const size_t line = DNS_ALIGN / sizeof(float);
    const bool fits = dns_add_size(*floats, line - 1, floats);
    *floats = *floats / line * line;
    return fits;
}

bool
dns_sddmm_floats(const dns_sddmm_ops *ops, const dns_pattern *pattern, size_t depth, size_t *packed,
                 size_t *values)
{
    *values = pattern->tile_nnz;
    return round_up(values) && depth <= INT32_MAX &&
           dns_mul_size(pattern->cols, sddmm_pitch(ops, depth), packed) && round_up(packed);
}

typedef struct job {
    const dns_sddmm_ops *ops;
    const dns_pattern *pattern;
    const dns_sddmm *call;
    size_t parts;
    float *ws;
    size_t packed, values; /* floats of a part */
} job;

static void
some_units(void *ctx, size_t part)
{
    const job *j = ctx;
    const dns_pattern *p = j->pattern;
    const dns_sddmm *c = j->call;
    const size_t stop = dns_pattern_unit(p, c->batch, j->parts, part + 1);
    float *packed = j->ws + part * (j->packed + j->values);
    float *values = packed + j->packed;
    size_t last = SIZE_MAX;
    for (size_t u = dns_pattern_unit(p, c->batch, j->parts, part); u < stop; u++) {
        const size_t b = u / p->n_tiles;
        const size_t t = u % p->n_tiles;
        const size_t h = b % p->heads;
        if (b != last) {
            j->ops->pack(c->k + (ptrdiff_t)b * c->k_step, c->ldk, p->cols, c->depth, packed);
            last = b;
        }
        const sddmm_run run = dns_sddmm_unit(p, c, u, stop);
        const size_t first = dns_pattern_entry(p, h, t * DNS_PATTERN_ROWS);
        const size_t n = dns_pattern_entry(p, h, t * DNS_PATTERN_ROWS + tile_rows(p, t)) - first;
        float *to = c->values + b / p->heads * p->nnz + first;
        dns_sddmm_tile(j->ops, p, h, t, run, packed, p->n_blocks > 1 ? values : to);
        if (p->n_blocks > 1) {
            memcpy(to, values, n * sizeof *values);
        }
    }
}

dns_status
dns_sddmm_workspace(const dns_pattern *pattern, const dns_sddmm *call, dns_isa isa, size_t threads,
                    size_t *bytes, dns_error *err)
{
    DNS_REQUIRE(call->batch % pattern->heads == 0, err, DNS_ERR_SHAPE, -1,
                "pattern: expected a multiple of its %zu heads, got %zu problems", pattern->heads,
                call->batch);
    size_t packed = 0;
    size_t values = 0;
    size_t n = 0;
    DNS_REQUIRE(
        dns_sddmm_floats(dns_sddmm_ops_select(isa), pattern, call->depth, &packed, &values) &&
            dns_add_size(packed, values, &n) && dns_mul_size(n, threads, &n) &&
            dns_mul_size(n, sizeof(float), bytes),
        err, DNS_ERR_OVERFLOW, -1, "k: expected a workspace that fits, got %zu x %zu",
        pattern->cols, call->depth);
    return DNS_OK;
}

void
dns_sddmm_execute(const dns_pattern *pattern, const dns_sddmm *call, dns_isa isa,
                  dns_threads *threads, void *ws)
{
    if (call->batch == 0 || pattern->nnz == 0) {
        return;
    }
    const size_t groups = call->batch / pattern->heads;
    const double flops = 2.0 * (double)groups * (double)pattern->nnz * (double)call->depth;
    dns_threads *pool = flops < SERIAL_FLOPS ? NULL : threads;
    job j = {dns_sddmm_ops_select(isa), pattern, call, dns_threads_count(pool), ws, 0, 0};
    (void)dns_sddmm_floats(j.ops, pattern, call->depth, &j.packed, &j.values);
    dns_threads_run(pool, j.parts, some_units, &j);
}
