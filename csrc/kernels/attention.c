/* Attention by tiles of queries: no head's scores are ever held whole.
 *
 * With a pattern, threads take ranges of tiles with about equally many entries; each packs the K
 * and V of the head it is in, K in rows that begin at cache lines, V in the panels of the CSR
 * kernel. Without one, tiles go round the threads: causal ones differ in length.
 */
#include "kernels/attention_internal.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "kernels/sddmm_internal.h"
#include "kernels/softmax_internal.h"

enum {
    TILE_ROWS = 256,         /* queries of a dense tile, at most */
    TILE_ROWS_MIN = 16,      /* and at least */
    TILE_BYTES = 1024 << 10, /* of its scores: half of a second cache */
    LINE = DNS_ALIGN / sizeof(float)
};

#define SERIAL_FLOPS 2e6 /* below this a wake-up costs more than a second thread gives */

DNS_OPS_SELECT(dns_attention_ops)

/* Pieces of a thread's workspace, in floats; each begins at a line. */
typedef struct layout {
    size_t packed, values, panels, entries, pairs; /* with a pattern */
    size_t q, scores, gemm;                        /* dense */
    size_t total;
} layout;

typedef struct job {
    const dns_attention *call;
    dns_isa isa;
    const dns_attention_ops *ops;
    const dns_sddmm_ops *sddmm;
    const dns_softmax_ops *softmax;
    const dns_csr_ops *csr;
    dns_softmax mask;        /* with rows and cols */
    size_t tile_rows, tiles; /* dense: of a head */
    size_t threads;
    layout at;
    float *ws;
    atomic_size_t *empty;
} job;

/* Adds a piece of n x m floats; false on overflow. */
static bool
piece(layout *l, size_t *at, size_t n, size_t m)
{
    size_t floats = 0;
    *at = l->total;
    return dns_mul_size(n, m, &floats) && dns_add_size(floats, LINE, &floats) &&
           dns_add_size(l->total, floats / LINE * LINE, &l->total);
}

static size_t
dense_rows(size_t keys)
{
    size_t rows = TILE_ROWS;
    while (rows > TILE_ROWS_MIN && rows * keys * sizeof(float) > TILE_BYTES) {
        rows /= 2;
    }
    return rows;
}

static bool
lay_out(job *j)
{
    const dns_attention *c = j->call;
    layout *l = &j->at;
    if (c->pattern == NULL) {
        return piece(l, &l->q, j->tile_rows, c->depth) &&
               piece(l, &l->scores, j->tile_rows, (c->keys + LINE - 1) / LINE * LINE) &&
               piece(l, &l->gemm, dns_gemm_workspace(c->blas, j->isa), 1);
    }
    const size_t panels = (c->width + j->csr->panel - 1) / j->csr->panel;
    const size_t nnz = c->pattern->tile_nnz;
    size_t packed = 0;
    size_t values = 0;
    size_t panel = 0;
    return dns_sddmm_floats(j->sddmm, c->pattern, c->depth, &packed, &values) &&
           dns_mul_size(c->keys, j->csr->panel, &panel) && piece(l, &l->packed, packed, 1) &&
           piece(l, &l->values, values, 1) && piece(l, &l->panels, panel, panels) &&
           piece(l, &l->entries, nnz, sizeof(csr_entry) / sizeof(float)) &&
           piece(l, &l->pairs, DNS_PATTERN_ROWS, sizeof(csr_pair) / sizeof(float));
}

static void
prepare(job *j, const dns_attention *call, dns_isa isa)
{
    *j = (job){.call = call,
               .isa = isa,
               .ops = dns_attention_ops_select(isa),
               .sddmm = dns_sddmm_ops_select(isa),
               .softmax = dns_softmax_ops_select(isa),
               .csr = dns_csr_ops_select(isa),
               .mask = call->mask,
               .tile_rows = dense_rows(call->keys)};
    j->tiles = (call->queries + j->tile_rows - 1) / j->tile_rows;
    j->mask.rows = call->batch * call->queries;
    j->mask.cols = call->keys;
}

dns_status
dns_attention_workspace(const dns_attention *call, dns_isa isa, size_t threads, size_t *bytes,
                        dns_error *err)
{
    const dns_pattern *p = call->pattern;
    job j;
    prepare(&j, call, isa);
    if (p != NULL) {
        DNS_REQUIRE(call->batch % p->heads == 0 && call->queries == p->rows &&
                        call->keys == p->cols,
                    err, DNS_ERR_SHAPE, -1,
                    "pattern: expected a multiple of %zu heads of %zu x %zu, got %zu of %zu x %zu",
                    p->heads, p->rows, p->cols, call->batch, call->queries, call->keys);
    }
    else {
        DNS_TRY(dns_softmax_check(&j.mask, err));
    }
    size_t n = 0;
    DNS_REQUIRE(call->keys <= INT32_MAX && call->depth <= INT32_MAX && call->width <= INT32_MAX &&
                    lay_out(&j) && dns_mul_size(j.at.total, threads, &n) &&
                    dns_mul_size(n, sizeof(float), bytes),
                err, DNS_ERR_OVERFLOW, -1, "k: expected a workspace that fits, got %zu x %zu keys",
                call->keys, call->depth);
    return DNS_OK;
}

/* ---- with a pattern -------------------------------------------------------------------------- */

static void
pack_head(const job *j, size_t b, float *ws)
{
    const dns_attention *c = j->call;
    const size_t nt = j->csr->panel;
    const float *v = c->v + b * c->keys * c->width;
    j->sddmm->pack(c->k + b * c->keys * c->depth, (ptrdiff_t)c->depth, c->keys, c->depth,
                   ws + j->at.packed);
    for (size_t at = 0; at < c->width; at += nt) {
        j->csr->pack(v + at, (ptrdiff_t)c->width, c->keys, c->width - at < nt ? c->width - at : nt,
                     ws + j->at.panels + at * c->keys);
    }
}

/* Probabilities of a tile's rows in place of their scores; returns the rows that see nothing. */
static size_t
normalise(const job *j, size_t h, size_t first, size_t rows, float *values)
{
    const dns_pattern *p = j->call->pattern;
    const size_t base = dns_pattern_entry(p, h, first);
    size_t empty = 0;
    for (size_t i = first; i < first + rows; i++) {
        const size_t at = dns_pattern_entry(p, h, i);
        float *row = values + (at - base);
        empty += !j->softmax->row(row, dns_pattern_entry(p, h, i + 1) - at, NULL, NULL, row);
    }
    return empty;
}

/* y [rows][width] = the tile's probabilities times V, block after block of keys. */
static void
times_v(const job *j, size_t h, size_t t, size_t rows, float *ws, float *y)
{
    const dns_attention *c = j->call;
    const dns_pattern *p = c->pattern;
    const size_t nt = j->csr->panel;
    const uint32_t *segment = p->segments + (h * p->n_tiles + t) * p->n_blocks;
    const uint16_t *columns = p->columns + dns_pattern_entry(p, h, t * DNS_PATTERN_ROWS);
    csr_entry *entries = (csr_entry *)(ws + j->at.entries);
    csr_pair *pairs = (csr_pair *)(ws + j->at.pairs);
    memset(y, 0, rows * c->width * sizeof *y);
    for (size_t b = 0; b < p->n_blocks; b++) {
        const size_t n = segment[b + 1] - segment[b];
        columns = j->ops->stream(p->runs + segment[b], n, columns, ws + j->at.values,
                                 (uint32_t)(nt * sizeof *y), pairs, entries);
        for (size_t at = 0; at < c->width && n > 0; at += nt) {
            const csr_run run = {.pairs = pairs,
                                 .n_pairs = (n + 1) / 2,
                                 .entries = entries,
                                 .x = ws + j->at.panels + at * c->keys + b * p->block * nt,
                                 .y = y + at,
                                 .ldy = (ptrdiff_t)c->width,
                                 .n = c->width - at < nt ? c->width - at : nt,
                                 .act = {-INFINITY, INFINITY}};
            j->csr->spmm(&run);
        }
    }
}

static void
sparse_part(void *ctx, size_t part)
{
    job *j = ctx;
    const dns_attention *c = j->call;
    const dns_pattern *p = c->pattern;
    const size_t stop = dns_pattern_unit(p, c->batch, j->threads, part + 1);
    float *ws = j->ws + part * j->at.total;
    const dns_sddmm scores = {.batch = c->batch,
                              .depth = c->depth,
                              .q = c->q,
                              .ldq = (ptrdiff_t)c->depth,
                              .q_step = (ptrdiff_t)(c->queries * c->depth),
                              .k = c->k,
                              .ldk = (ptrdiff_t)c->depth,
                              .k_step = (ptrdiff_t)(c->keys * c->depth),
                              .scale = c->scale};
    size_t last = SIZE_MAX;
    size_t empty = 0;
    for (size_t u = dns_pattern_unit(p, c->batch, j->threads, part); u < stop; u++) {
        const size_t b = u / p->n_tiles;
        const size_t t = u % p->n_tiles;
        const size_t first = t * DNS_PATTERN_ROWS;
        const size_t rows = p->rows - first < DNS_PATTERN_ROWS ? p->rows - first : DNS_PATTERN_ROWS;
        if (b != last) {
            pack_head(j, b, ws);
            last = b;
        }
        const sddmm_run run = dns_sddmm_unit(p, &scores, u, stop);
        dns_sddmm_tile(j->sddmm, p, b % p->heads, t, run, ws + j->at.packed, ws + j->at.values);
        empty += normalise(j, b % p->heads, first, rows, ws + j->at.values);
        times_v(j, b % p->heads, t, rows, ws, c->y + (b * c->queries + first) * c->width);
    }
    (void)atomic_fetch_add(j->empty, empty);
}

/* ---- dense ----------------------------------------------------------------------------------- */

/* Columns that at least one of a tile's rows may see, by what causal and lengths say. */
static size_t
tile_limit(const job *j, size_t row, size_t rows)
{
    size_t most = 0;
    for (size_t i = 0; i < rows; i++) {
        const size_t n = dns_softmax_limit(&j->mask, row + i);
        most = n > most ? n : most;
    }
    return most;
}

static void
dense_tile(void *ctx, size_t part)
{
    job *j = ctx;
    const dns_attention *c = j->call;
    const size_t b = part / j->tiles;
    const size_t first = part % j->tiles * j->tile_rows;
    const size_t rows = c->queries - first < j->tile_rows ? c->queries - first : j->tile_rows;
    const size_t row = b * c->queries + first;
    const size_t n = tile_limit(j, row, rows);
    float *ws = j->ws + part % j->threads * j->at.total;
    const size_t ld = (n + LINE - 1) / LINE * LINE;
    float *scores = ws + j->at.scores;
    float *y = c->y + row * c->width;
    bool seen[TILE_ROWS];
    size_t empty = 0;
    j->ops->scale(c->q + row * c->depth, c->scale, ws + j->at.q, rows * c->depth);
    dns_gemm_t(c->blas, j->isa, rows, n, c->depth, ws + j->at.q, (ptrdiff_t)c->depth,
               c->k + b * c->keys * c->depth, (ptrdiff_t)c->depth, scores, (ptrdiff_t)ld,
               ws + j->at.gemm);
    for (size_t i = 0; i < rows; i++) {
        float *s = scores + i * ld;
        seen[i] = dns_softmax_row(j->softmax, &j->mask, row + i, s, s, n);
        empty += !seen[i];
    }
    dns_gemm(c->blas, j->isa, rows, c->width, n, scores, (ptrdiff_t)ld,
             c->v + b * c->keys * c->width, (ptrdiff_t)c->width, y, (ptrdiff_t)c->width,
             ws + j->at.gemm);
    for (size_t i = 0; i < rows && empty > 0; i++) {
        if (!seen[i]) { /* 0 times what is not finite */
            memset(y + i * c->width, 0, c->width * sizeof *y);
        }
    }
    (void)atomic_fetch_add(j->empty, empty);
}

size_t
dns_attention_execute(const dns_attention *call, dns_isa isa, dns_threads *threads, void *ws)
{
    const dns_pattern *p = call->pattern;
    job j;
    prepare(&j, call, isa);
    double entries = (double)call->batch * (double)call->queries * (double)call->keys;
    if (p != NULL) {
        const size_t groups = call->batch / p->heads;
        entries = (double)groups * (double)p->nnz;
    }
    const double flops = 2.0 * entries * (double)(call->depth + call->width);
    dns_threads *pool = flops < SERIAL_FLOPS ? NULL : threads;
    (void)lay_out(&j);
    j.threads = dns_threads_count(pool);
    j.ws = ws;
    atomic_size_t empty;
    atomic_init(&empty, 0);
    j.empty = &empty;
    if (p != NULL) {
        dns_threads_run(pool, j.threads, sparse_part, &j);
    }
    else {
        dns_threads_run(pool, call->batch * j.tiles, dense_tile, &j);
    }
    return atomic_load(&empty);
}
