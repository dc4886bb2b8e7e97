/* Nested plans: packing codes into planes, packed vectors, and the split over threads. The product
 * of a row is in nbp_body.h, quantisation in nbp_codes.c.
 */
#include "kernels/nbp_internal.h"
#include "kernels/quant_internal.h"

#include <math.h>
#include <string.h>

static const size_t plane_bits[NBP_PLANES] = {2, 1, 1, 4};
static const int plane_top[NBP_PLANES] = {8, 6, 5, 4}; /* bits of the code above and in the plane */

typedef struct nbp_plan {
    dns_plan base;
    const dns_nbp_ops *ops;
    const dns_quant_ops *quant;
    int bits;
    size_t group, groups, chunks;
    size_t row_bytes[NBP_PLANES];
    uint8_t *plane[NBP_PLANES]; /* [rows][row_bytes]; NULL beyond the plan's bits */
    float *scale, *zero;        /* uniform, [rows][groups] */
    float *lut;                 /* codebook, [rows][table] */
    size_t table;
} nbp_plan;

DNS_OPS_SELECT_VNNI(dns_nbp_ops)

static size_t
padded(const nbp_plan *plan)
{
    return plan->chunks * NBP_CHUNK;
}

/* Where column k's field begins in a row of plane i, in bits; the layout is in nbp_body.h. */
static size_t
bit_at(size_t i, size_t k)
{
    const size_t width = NBP_BLOCK * 8;
    const size_t chunk = k / NBP_CHUNK;
    const size_t block = k % NBP_CHUNK / NBP_BLOCK;
    const size_t byte = k % NBP_BLOCK;
    const size_t pair = 8 * (byte % 4) + 2 * (block % 4); /* of the word's 32 bits */
    switch (i) {
    case 0:
        return (2 * chunk + block / 4) * width + byte / 4 * 32 + pair;
    case 3:
        return (4 * chunk + block / 2) * width + 8 * byte + 4 * (block % 2);
    default:
        return chunk * width + byte / 4 * 32 + (pair + 32 - i - block / 4) % 32;
    }
}

/* Rows of row m's tile. */
static size_t
tile_of(size_t rows, size_t m)
{
    return m < rows / NBP_TILE * NBP_TILE ? NBP_TILE : 1;
}

/* Where row m begins in plane i, in bytes. */
static size_t
row_start(const nbp_plan *plan, size_t i, size_t m)
{
    const size_t tile = tile_of(plan->base.rows, m);
    return m / tile * tile * plan->row_bytes[i] + m % tile * NBP_BLOCK;
}

/* The byte of a row that holds a bit of it. */
static size_t
byte_of(size_t bit, size_t step)
{
    return bit / (8 * NBP_BLOCK) * step + bit / 8 % NBP_BLOCK;
}

/* Planes of row m and the bits of them that precision p takes. */
static nbp_row
row_at(const nbp_plan *plan, int p, size_t m)
{
    nbp_row row = {{NULL}, {0}, tile_of(plan->base.rows, m) * NBP_BLOCK};
    for (size_t i = 0; i < NBP_PLANES; i++) {
        const int width = (int)plane_bits[i];
        const int have = p - (8 - plane_top[i]); /* bits of this plane at precision p */
        const int kept = have > width ? width : have;
        if (kept > 0) {
            row.plane[i] = plan->plane[i] + row_start(plan, i, m);
            row.mask[i] = (uint8_t)(((1U << kept) - 1U) << (width - kept));
        }
    }
    return row;
}

/* w_p = weight code8 + constant of row m, group g: weight = s 2^(bits-8), and constant is z plus
 * the middle of the bits that p leaves out. Factors are powers of two, or products with them:
 * exact. */
typedef struct affine {
    double step, middle;
} affine;

static affine
affine_of(const nbp_plan *plan, int p)
{
    const affine a = {1.0 / (double)(1 << (8 - plan->bits)),
                      (double)((1 << (8 - p)) - (1 << (8 - plan->bits))) / 2.0};
    return a;
}

static double
weight_of(const nbp_plan *plan, affine a, size_t at, double *constant)
{
    const double weight = (double)plan->scale[at] * a.step;
    *constant = (double)plan->zero[at] + weight * a.middle;
    return weight;
}

/* ---- execution ------------------------------------------------------------------------------- */

typedef struct job {
    const nbp_plan *plan;
    const dns_call *call;
    dns_layout layout;
    int p;
    affine affine;
    size_t parts;
    int8_t *q;    /* uniform: [n][padded] */
    int32_t *sum; /* [n][groups] */
    float *t;     /* [n] scales */
    float *x;     /* codebook: [n][padded]; uniform: one vector per part */
} job;

static bool
carve(const nbp_plan *plan, size_t n, size_t threads, char *base, job *j, size_t *bytes)
{
    const size_t wide = padded(plan);
    const size_t vectors = plan->lut != NULL ? n : threads;
    const size_t each = (plan->lut != NULL ? 0 : wide + 64 * ((plan->groups * 4 + 67) / 64));
    size_t floats = 0;
    size_t rest = 0;
    if (!dns_mul_size(vectors, wide * sizeof(float), &floats) || !dns_mul_size(n, each, &rest) ||
        !dns_add_size(floats, rest, bytes)) {
        return false;
    }
    if (base != NULL) {
        void *const x = base, *const sum = base + floats;
        j->x = x;
        j->sum = sum;
        j->t = (float *)(j->sum + n * plan->groups);
        j->q = (int8_t *)(base + floats + n * (each - wide));
    }
    return true;
}

/* Vector n as contiguous floats, zeros up to a whole chunk. */
static void
gather(const job *j, size_t n, float *to)
{
    const size_t k = j->plan->base.cols;
    if (j->layout == DNS_ROWS) {
        memcpy(to, j->call->x + (ptrdiff_t)n * j->call->ldx, k * sizeof *to);
    }
    else {
        for (size_t i = 0; i < k; i++) {
            to[i] = j->call->x[(ptrdiff_t)i * j->call->ldx + (ptrdiff_t)n];
        }
    }
    memset(to + k, 0, (padded(j->plan) - k) * sizeof *to);
}

static void
quantize_vector(const job *j, size_t n, const float *x)
{
    static const float limits[3] = {0.0F, -127.0F, 127.0F};
    const nbp_plan *plan = j->plan;
    const size_t span = plan->group == 0 ? plan->base.cols : plan->group;
    int8_t *q = j->q + n * padded(plan);
    float lo = 0.0F;
    float hi = 0.0F;
    int32_t none = 0;
    if (!plan->quant->range(x, plan->base.cols, &lo, &hi)) {
        j->t[n] = NAN;
        memset(q, 0, padded(plan));
        memset(j->sum + n * plan->groups, 0, plan->groups * sizeof *j->sum);
        return;
    }
    dns_quant_scale(lo, hi, 8, true, &j->t[n], &none);
    plan->quant->encode(x, padded(plan), j->t[n], limits, (uint8_t *)q);
    for (size_t g = 0; g < plan->groups; g++) {
        const size_t end = (g + 1) * span < plan->base.cols ? (g + 1) * span : plan->base.cols;
        int32_t sum = 0;
        for (size_t k = g * span; k < end; k++) {
            sum += q[k];
        }
        j->sum[n * plan->groups + g] = sum;
    }
}

static void
pack_part(void *ctx, size_t part)
{
    const job *j = ctx;
    const size_t end = dns_part(j->call->n, j->parts, part + 1);
    for (size_t n = dns_part(j->call->n, j->parts, part); n < end; n++) {
        float *x = j->x + (j->plan->lut != NULL ? n : part) * padded(j->plan);
        gather(j, n, x);
        if (j->plan->lut == NULL) {
            quantize_vector(j, n, x);
        }
    }
}

static void
uniform_rows(const job *j, const nbp_row *row, size_t m, size_t rows, size_t n, float *y)
{
    const nbp_plan *plan = j->plan;
    const double sum_x = (double)j->sum[n];
    int32_t sum[NBP_ROWS];
    plan->ops->sums(row, rows, j->q + n * padded(plan), plan->chunks, sum);
    for (size_t i = 0; i < rows; i++) {
        double constant = 0.0;
        const double weight = weight_of(plan, j->affine, m + i, &constant);
        y[i] = (float)((weight * sum[i] + constant * sum_x) * (double)j->t[n]);
    }
}

static float
grouped_row(const job *j, const nbp_row *row, size_t m, size_t n)
{
    const nbp_plan *plan = j->plan;
    const int8_t *q = j->q + n * padded(plan);
    const size_t span = plan->group / NBP_BLOCK;
    const size_t blocks = (plan->base.cols + NBP_BLOCK - 1) / NBP_BLOCK;
    int32_t part[NBP_CHUNK / NBP_BLOCK];
    int32_t sum = 0;
    double total = 0.0;
    size_t g = 0;
    for (size_t b = 0; b < blocks; b++) {
        const size_t at = b % (NBP_CHUNK / NBP_BLOCK);
        if (at == 0) {
            plan->ops->block_sums(row, b * NBP_BLOCK / NBP_CHUNK, q + b * NBP_BLOCK, part);
        }
        sum += part[at];
        if ((b + 1) % span == 0 || b + 1 == blocks) {
            double constant = 0.0;
            const double weight = weight_of(plan, j->affine, m * plan->groups + g, &constant);
            total += weight * sum + constant * j->sum[n * plan->groups + g];
            sum = 0;
            g++;
        }
    }
    return (float)(total * (double)j->t[n]);
}

/* Outputs of `rows` <= NBP_ROWS rows from m on for vector n. */
static void
multiply_rows(const job *j, size_t m, size_t rows, size_t n, float *y)
{
    const nbp_plan *plan = j->plan;
    if (plan->lut == NULL && plan->group == 0) {
        const nbp_row row = row_at(plan, j->p, m);
        uniform_rows(j, &row, m, rows, n, y);
        return;
    }
    for (size_t i = 0; i < rows; i++) {
        const nbp_row row = row_at(plan, j->p, m + i);
        if (plan->lut == NULL) {
            y[i] = grouped_row(j, &row, m + i, n);
        }
        else {
            const float *lut = plan->lut + (m + i) * plan->table + ((size_t)1 << j->p) - 2;
            y[i] = plan->ops->lookup(&row, j->p, lut, j->x + n * padded(plan), plan->chunks);
        }
    }
}

static void
multiply_part(void *ctx, size_t part)
{
    const job *j = ctx;
    const nbp_plan *plan = j->plan;
    const dns_call *call = j->call;
    const size_t tiles = (plan->base.rows + NBP_TILE - 1) / NBP_TILE;
    const size_t whole = dns_part(tiles, j->parts, part + 1) * NBP_TILE;
    const size_t end = whole < plan->base.rows ? whole : plan->base.rows;
    float y[NBP_ROWS];
    for (size_t m = dns_part(tiles, j->parts, part) * NBP_TILE; m < end; m += NBP_ROWS) {
        const size_t rows = end - m < NBP_ROWS ? end - m : NBP_ROWS;
        for (size_t n = 0; n < call->n; n++) {
            multiply_rows(j, m, rows, n, y);
            for (size_t i = 0; i < rows; i++) {
                const ptrdiff_t at = j->layout == DNS_ROWS
                                         ? (ptrdiff_t)n * call->ldy + (ptrdiff_t)(m + i)
                                         : (ptrdiff_t)(m + i) * call->ldy + (ptrdiff_t)n;
                call->y[at] = y[i];
            }
        }
    }
}

void
dns_nbp_execute(const dns_plan *base, int p, dns_layout layout, const dns_call *call)
{
    const nbp_plan *plan = (const nbp_plan *)base;
    job j = {.plan = plan, .call = call, .layout = layout, .p = p, .affine = affine_of(plan, p)};
    size_t bytes = 0;
    if (base->rows == 0 || base->cols == 0 || call->n == 0) {
        dns_plan_execute(base, layout, call);
        return;
    }
    j.parts = dns_plan_threads(base, call->n, call->threads);
    (void)carve(plan, call->n, dns_threads_count(call->threads), call->ws, &j, &bytes);
    dns_threads_run(call->threads, j.parts, pack_part, &j);
    dns_threads_run(call->threads, j.parts, multiply_part, &j);
}

/* ---- plan ------------------------------------------------------------------------------------ */

static bool
workspace(const dns_plan *base, size_t n, size_t threads, size_t *bytes)
{
    return carve((const nbp_plan *)base, n, threads, NULL, NULL, bytes);
}

static void
execute(const dns_plan *base, const dns_call *call)
{
    dns_nbp_execute(base, ((const nbp_plan *)base)->bits, DNS_COLUMNS, call);
}

static void
execute_rows(const dns_plan *base, const dns_call *call)
{
    dns_nbp_execute(base, ((const nbp_plan *)base)->bits, DNS_ROWS, call);
}

size_t
dns_nbp_read_bytes(const dns_plan *base, int p)
{
    const nbp_plan *plan = (const nbp_plan *)base;
    const nbp_row row = row_at(plan, p, 0);
    size_t bytes = plan->lut != NULL ? sizeof(float) << p : 2 * sizeof(float) * plan->groups;
    for (size_t i = 0; i < NBP_PLANES; i++) {
        bytes += row.mask[i] != 0 ? plan->row_bytes[i] : 0;
    }
    return bytes * base->rows;
}

/* Operations count as those of fp32 that as many instructions would do: 32 take a chunk there. */
static void
work(const dns_plan *base, size_t n, const dns_machine *machine, dns_work *out)
{
    const nbp_plan *plan = (const nbp_plan *)base;
    const double weights = (double)dns_nbp_read_bytes(base, plan->bits);
    const double x = (double)padded(plan) * (double)n * (plan->lut != NULL ? 4.0 : 1.0);
    const double fields = 8.0 * (1.0 + plan->ops->product);
    const double passes = plan->bits > 4 ? 2.0 : 1.0;
    const double merge = plan->bits == 3 ? 7.0 : 9.0;
    const double chunk = passes * fields + (plan->bits > 2 ? merge : 0.0);
    const bool tiled = plan->lut == NULL && plan->group == 0;
    out->flops = 2.0 * (double)base->nnz * (double)n * (plan->lut != NULL ? 1.0 : chunk / 32.0);
    dns_work_add(out, machine, weights, weights);
    dns_work_add(out, machine, x,
                 x * (double)base->rows * (tiled ? passes / (double)plan->ops->rows : 1.0));
}

/* Code of 8 bits of column k. */
static unsigned
code_at(const nbp_row *row, size_t k)
{
    unsigned code = 0;
    for (size_t i = 0; i < NBP_PLANES; i++) {
        if (row->mask[i] != 0) {
            const size_t bit = bit_at(i, k);
            code |= (unsigned)(row->plane[i][byte_of(bit, row->step)] >> bit % 8 & row->mask[i])
                    << (plane_top[i] - (int)plane_bits[i]);
        }
    }
    return code;
}

void
dns_nbp_to_dense(const dns_plan *base, int p, float *w)
{
    const nbp_plan *plan = (const nbp_plan *)base;
    const size_t span = plan->group == 0 ? base->cols : plan->group;
    const affine a = affine_of(plan, p);
    for (size_t m = 0; m < base->rows; m++) {
        const nbp_row row = row_at(plan, p, m);
        for (size_t k = 0; k < base->cols; k++) {
            const unsigned code = code_at(&row, k);
            if (plan->lut != NULL) {
                w[m * base->cols + k] =
                    plan->lut[m * plan->table + ((size_t)1 << p) - 2 + (code >> (8 - p))];
            }
            else {
                double constant = 0.0;
                const double weight = weight_of(plan, a, m * plan->groups + k / span, &constant);
                w[m * base->cols + k] = (float)(weight * code + constant);
            }
        }
    }
}

static void
to_dense(const dns_plan *base, float *w)
{
    dns_nbp_to_dense(base, ((const nbp_plan *)base)->bits, w);
}

static void
destroy(dns_plan *base)
{
    nbp_plan *plan = (nbp_plan *)base;
    const dns_alloc *alloc = &base->alloc;
    for (size_t i = 0; i < NBP_PLANES; i++) {
        dns_mem_free(alloc, plan->plane[i], base->rows, plan->row_bytes[i]);
    }
    dns_mem_free(alloc, plan->scale, base->rows * plan->groups, sizeof *plan->scale);
    dns_mem_free(alloc, plan->zero, base->rows * plan->groups, sizeof *plan->zero);
    dns_mem_free(alloc, plan->lut, base->rows * plan->table, sizeof *plan->lut);
}

static const dns_plan_ops nbp_plan_ops = {
    .format = "nested",
    .workspace = workspace,
    .execute = execute,
    .rows_workspace = workspace,
    .execute_rows = execute_rows,
    .work = work,
    .to_dense = to_dense,
    .destroy = destroy,
};

/* Fails unless all of a [rows][each] array is finite. */
static dns_status
check_finite(const float *a, const char *name, size_t rows, size_t each, dns_error *err)
{
    for (size_t i = 0; i < rows * each; i++) {
        DNS_REQUIRE(isfinite(a[i]), err, DNS_ERR_VALUE, i / each,
                    "%s: row %zu: expected finite numbers, got %g", name, i / each, (double)a[i]);
    }
    return DNS_OK;
}

static dns_status
check(const dns_nbp_codes *w, dns_error *err)
{
    DNS_REQUIRE(w->bits >= DNS_QUANT_MIN_BITS && w->bits <= DNS_QUANT_MAX_BITS, err, DNS_ERR_VALUE,
                -1, "bits: expected %d to %d, got %d", DNS_QUANT_MIN_BITS, DNS_QUANT_MAX_BITS,
                w->bits);
    DNS_REQUIRE(w->cols <= DNS_NBP_MAX_COLS, err, DNS_ERR_VALUE, -1,
                "W: expected at most %d columns, so that sums fit 32 bits, got %zu",
                DNS_NBP_MAX_COLS, w->cols);
    DNS_REQUIRE(w->group % DNS_NBP_GROUP == 0, err, DNS_ERR_VALUE, -1,
                "group: expected a multiple of %d, got %zu", DNS_NBP_GROUP, w->group);
    DNS_REQUIRE(w->rows <= INT32_MAX, err, DNS_ERR_VALUE, -1,
                "W: expected extents below 2^31, got %zu rows", w->rows);
    if (w->lut != NULL) {
        return check_finite(w->lut, "lut", w->rows, ((size_t)2 << w->bits) - 2, err);
    }
    const size_t groups = dns_nbp_groups(w->cols, w->group);
    DNS_TRY(check_finite(w->scale, "scale", w->rows, groups, err));
    return check_finite(w->zero, "zero", w->rows, groups, err);
}

static void
pack_row(nbp_plan *plan, size_t m, const uint8_t *codes)
{
    const size_t step = tile_of(plan->base.rows, m) * NBP_BLOCK;
    for (size_t i = 0; i < NBP_PLANES; i++) {
        const size_t f = plane_bits[i];
        if (plan->plane[i] == NULL) {
            continue;
        }
        uint8_t *plane = plan->plane[i] + row_start(plan, i, m);
        for (size_t k = 0; k < plan->base.cols; k++) {
            const unsigned code = (unsigned)codes[k] << (8 - plan->bits) & 255U;
            const unsigned field = code >> (plane_top[i] - (int)f) & ((1U << f) - 1U);
            const size_t bit = bit_at(i, k);
            plane[byte_of(bit, step)] |= (uint8_t)(field << bit % 8);
        }
    }
}

static dns_status
fill(nbp_plan *plan, const dns_nbp_codes *w)
{
    const dns_alloc *alloc = &plan->base.alloc;
    const size_t rows = w->rows;
    bool whole = true;
    for (size_t i = 0; i < NBP_PLANES; i++) {
        plan->row_bytes[i] = plan->chunks * NBP_CHUNK / 8 * plane_bits[i];
        if (plan->bits > 8 - plane_top[i]) {
            plan->plane[i] = dns_mem_zero(alloc, rows, plan->row_bytes[i]);
            plan->base.bytes += rows * plan->row_bytes[i];
            whole = whole && plan->plane[i] != NULL;
        }
    }
    if (w->lut != NULL) {
        plan->table = ((size_t)2 << plan->bits) - 2;
        plan->lut = dns_mem_new(alloc, rows * plan->table, sizeof *plan->lut);
        plan->base.bytes += rows * plan->table * sizeof *plan->lut;
        whole = whole && plan->lut != NULL;
    }
    else {
        plan->scale = dns_mem_new(alloc, rows * plan->groups, sizeof *plan->scale);
        plan->zero = dns_mem_new(alloc, rows * plan->groups, sizeof *plan->zero);
        plan->base.bytes += 2 * rows * plan->groups * sizeof *plan->scale;
        whole = whole && plan->scale != NULL && plan->zero != NULL;
    }
    if (!whole) {
        return DNS_ERR_MEMORY;
    }
    if (plan->lut != NULL) {
        memcpy(plan->lut, w->lut, rows * plan->table * sizeof *plan->lut);
    }
    else {
        memcpy(plan->scale, w->scale, rows * plan->groups * sizeof *plan->scale);
        memcpy(plan->zero, w->zero, rows * plan->groups * sizeof *plan->zero);
    }
    for (size_t m = 0; m < rows; m++) {
        pack_row(plan, m, w->codes + m * w->cols);
    }
    return DNS_OK;
}

dns_status
dns_nbp_plan_create(const dns_nbp_codes *w, dns_isa isa, const dns_alloc *alloc, dns_plan **out,
                    dns_error *err)
{
    const dns_act none = {-INFINITY, INFINITY};
    dns_plan *base = NULL;
    DNS_TRY(check(w, err));
    DNS_TRY(dns_plan_new(&nbp_plan_ops, sizeof(nbp_plan), w->rows, w->cols, NULL, none, alloc,
                         &base, err));
    nbp_plan *plan = (nbp_plan *)base;
    plan->ops = dns_nbp_ops_select(isa);
    plan->quant = dns_quant_ops_select(isa);
    base->isa = plan->ops->isa;
    base->nnz = w->rows * w->cols;
    plan->bits = w->bits;
    plan->group = w->group;
    plan->groups = dns_nbp_groups(w->cols, w->group);
    plan->chunks = (w->cols + NBP_CHUNK - 1) / NBP_CHUNK;
    return dns_plan_finish(base, fill(plan, w), out, err);
}

bool
dns_nbp_is(const dns_plan *plan)
{
    return plan->ops == &nbp_plan_ops;
}

void
dns_nbp_describe(const dns_plan *base, int *bits, size_t *group, bool *codebook)
{
    const nbp_plan *plan = (const nbp_plan *)base;
    *bits = plan->bits;
    *group = plan->group;
    *codebook = plan->lut != NULL;
}

dns_status
dns_nbp_unpack(const dns_plan *base, const dns_nbp_codes *out, dns_error *err)
{
    DNS_REQUIRE(dns_nbp_is(base), err, DNS_ERR_VALUE, -1, "plan: expected format nested, got %s",
                base->ops->format);
    const nbp_plan *plan = (const nbp_plan *)base;
    for (size_t m = 0; m < base->rows; m++) {
        const nbp_row row = row_at(plan, plan->bits, m);
        for (size_t k = 0; k < base->cols; k++) {
            out->codes[m * base->cols + k] = (uint8_t)(code_at(&row, k) >> (8 - plan->bits));
        }
    }
    if (plan->lut != NULL) {
        memcpy(out->lut, plan->lut, base->rows * plan->table * sizeof *plan->lut);
    }
    else {
        memcpy(out->scale, plan->scale, base->rows * plan->groups * sizeof *plan->scale);
        memcpy(out->zero, plan->zero, base->rows * plan->groups * sizeof *plan->zero);
    }
    return DNS_OK;
}
