/* Integer products: checks, packed weights, packed vectors, and the split over threads.
 *
 * An execution has two steps, each split over the threads: vectors are packed (and quantised where
 * they are floats) in blocks of BLOCK, then every panel of weights meets all of them. Neither step
 * adds across threads.
 */
#include "kernels/igemm_internal.h"
#include "kernels/quant_internal.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 16, LINE = 64, GROUP_BYTES = 1 << 20 /* weights kept in the second cache */ };

typedef struct igemm_plan {
    dns_plan base;
    const dns_igemm_ops *ops;
    const dns_quant_ops *quant;
    size_t k_pad, n_panels;
    int8_t *w; /* [n_panels][k_pad / 4][panel][4] */
    /* [n_panels * panel], zeros behind the last row */
    int32_t *colsum, *zero;
    float *scale, *bias;
    bool has_zero, has_off;
} igemm_plan;

DNS_OPS_SELECT_AMX(dns_igemm_ops)

static size_t
round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* ---- packed vectors -------------------------------------------------------------------------- */

static size_t
pitch_of(const igemm_plan *plan)
{
    return round_up(plan->k_pad, LINE) * plan->ops->parts + LINE; /* no power of two */
}

/* Cuts the workspace; its size in *bytes, false when that does not fit. Base may be NULL. */
static bool
carve(const igemm_plan *plan, size_t n, char *base, igemm_x *x, size_t *bytes)
{
    const size_t rows = round_up(n, IGEMM_MAX_ROWS);
    size_t total = 0;
    if (!dns_mul_size(rows, pitch_of(plan), &total) ||
        !dns_add_size(total, rows * (3 * sizeof(int32_t) + 1), bytes)) {
        return false;
    }
    if (base != NULL) {
        x->rows = (uint8_t *)base;
        x->pitch = pitch_of(plan);
        x->k_pad = plan->k_pad;
        void *const off = base + total;
        x->off = off;
        x->sum = x->off + rows;
        x->scale = (float *)(x->sum + rows);
        x->wide = (uint8_t *)(x->scale + rows);
    }
    return true;
}

/* What is multiplied, and how: bytes (xi, y) or floats (xf, yf). */
typedef struct job {
    const igemm_plan *plan;
    dns_layout layout;
    size_t n;
    const int8_t *xi;
    const float *xf;
    ptrdiff_t ldx;
    int32_t *y;
    float *yf;
    ptrdiff_t ldy;
    igemm_x x;
    float *staging; /* [parts][BLOCK][K], for columns of floats */
    size_t parts;
    size_t panel_parts;
} job;

/* 8 x 8 bytes: byte i of a[j] becomes byte j of a[i], bytes counted from the low end. */
static void
transpose_8x8(uint64_t a[8])
{
    static const uint64_t masks[3] = {0x00000000ffffffffU, 0x0000ffff0000ffffU,
                                      0x00ff00ff00ff00ffU};
    for (size_t step = 4, round = 0; step > 0; step /= 2, round++) {
        for (size_t i = 0; i < 8; i++) {
            if ((i & step) == 0) {
                const uint64_t t = (a[i] >> 8 * step ^ a[i + step]) & masks[round];
                a[i + step] ^= t;
                a[i] ^= t << 8 * step;
            }
        }
    }
}

/* to[j * pitch + k] = x[k * ldx + j] for j < n. */
static void
transpose_bytes(const int8_t *x, ptrdiff_t ldx, size_t k, size_t n, uint8_t *to, size_t pitch)
{
    size_t done = 0;
#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    const size_t whole = n / 8 * 8;
    for (; done + 8 <= k; done += 8) {
        for (size_t j = 0; j < whole; j += 8) {
            uint64_t a[8];
            for (size_t i = 0; i < 8; i++) {
                memcpy(a + i, x + (ptrdiff_t)(done + i) * ldx + (ptrdiff_t)j, 8);
            }
            transpose_8x8(a);
            for (size_t i = 0; i < 8; i++) {
                memcpy(to + (j + i) * pitch + done, a + i, 8);
            }
        }
        for (size_t j = whole; j < n; j++) {
            for (size_t i = done; i < done + 8; i++) {
                to[j * pitch + i] = (uint8_t)x[(ptrdiff_t)i * ldx + (ptrdiff_t)j];
            }
        }
    }
#endif
    for (; done < k; done++) {
        for (size_t j = 0; j < n; j++) {
            to[j * pitch + done] = (uint8_t)x[(ptrdiff_t)done * ldx + (ptrdiff_t)j];
        }
    }
}

static void
quantize_row(const job *j, size_t n, const float *x)
{
    static const float limits[3] = {0.0F, -127.0F, 127.0F};
    const size_t k = j->plan->base.cols;
    uint8_t *row = j->x.rows + n * j->x.pitch;
    float lo = 0.0F;
    float hi = 0.0F;
    if (!j->plan->quant->range(x, k, &lo, &hi)) {
        j->x.scale[n] = NAN;
        memset(row, 0, k);
        return;
    }
    int32_t zero = 0;
    dns_quant_scale(lo, hi, 8, true, &j->x.scale[n], &zero);
    j->plan->quant->encode(x, k, j->x.scale[n], limits, row);
}

static void
pack_block(const job *j, size_t part, size_t n0, size_t n)
{
    const size_t k = j->plan->base.cols;
    uint8_t *rows = j->x.rows + n0 * j->x.pitch;
    const ptrdiff_t at = j->layout == DNS_ROWS ? (ptrdiff_t)n0 * j->ldx : (ptrdiff_t)n0;
    if (j->xi != NULL && j->layout == DNS_COLUMNS) {
        transpose_bytes(j->xi + at, j->ldx, k, n, rows, j->x.pitch);
    }
    else if (j->xi != NULL) {
        for (size_t i = 0; i < n; i++) {
            memcpy(rows + i * j->x.pitch, j->xi + at + (ptrdiff_t)i * j->ldx, k);
        }
    }
    else if (j->layout == DNS_ROWS) {
        for (size_t i = 0; i < n; i++) {
            quantize_row(j, n0 + i, j->xf + at + (ptrdiff_t)i * j->ldx);
        }
    }
    else {
        float *block = j->staging + part * BLOCK * k;
        for (size_t r = 0; r < k; r++) {
            for (size_t i = 0; i < n; i++) {
                block[i * k + r] = j->xf[at + (ptrdiff_t)r * j->ldx + (ptrdiff_t)i];
            }
        }
        for (size_t i = 0; i < n; i++) {
            quantize_row(j, n0 + i, block + i * k);
        }
    }
    for (size_t i = 0; i < n; i++) {
        j->plan->ops->convert(&j->x, n0 + i, k);
    }
}

static void
pack_part(void *ctx, size_t part)
{
    const job *j = ctx;
    const size_t blocks = (j->n + BLOCK - 1) / BLOCK;
    const size_t end = dns_part(blocks, j->parts, part + 1);
    for (size_t b = dns_part(blocks, j->parts, part); b < end; b++) {
        const size_t n = j->n - b * BLOCK < BLOCK ? j->n - b * BLOCK : BLOCK;
        pack_block(j, part, b * BLOCK, n);
    }
}

/* Vectors [first, stop) times panel p. */
static void
multiply_panel(const job *j, size_t p, size_t first, size_t stop)
{
    const igemm_plan *plan = j->plan;
    const size_t panel = plan->ops->panel;
    const size_t m0 = p * panel;
    const ptrdiff_t at = j->layout == DNS_ROWS ? (ptrdiff_t)m0 : (ptrdiff_t)m0 * j->ldy;
    const igemm_run run = {
        .w = plan->w + p * plan->k_pad * panel,
        .x = j->x,
        .first = first,
        .n = stop,
        .m = plan->base.rows - m0 < panel ? plan->base.rows - m0 : panel,
        .colsum = plan->colsum + m0,
        .zero = plan->zero + m0,
        .plain = !plan->has_zero && !plan->has_off,
        .layout = j->layout,
        .y = j->y == NULL ? NULL : j->y + at,
        .yf = j->yf == NULL ? NULL : j->yf + at,
        .ldy = j->ldy,
        .scale = plan->scale + m0,
        .bias = plan->bias + m0,
        .act = plan->base.act,
    };
    plan->ops->run(&run);
}

/* Panels [p0, p1) stay in the second cache while the vectors pass by. */
static void
multiply_group(const job *j, size_t p0, size_t p1, size_t first, size_t stop)
{
    const size_t vectors = j->plan->ops->vectors;
    for (size_t n0 = first; n0 < stop;) {
        const size_t n1 = stop - n0 < vectors ? stop : n0 + vectors;
        for (size_t p = p0; p < p1; p++) {
            multiply_panel(j, p, n0, n1);
        }
        n0 = n1;
    }
}

static void
multiply_part(void *ctx, size_t part)
{
    const job *j = ctx;
    const igemm_plan *plan = j->plan;
    const size_t down = part % j->panel_parts;
    const size_t across = part / j->panel_parts;
    const size_t n_across = j->parts / j->panel_parts;
    const size_t blocks = (j->n + IGEMM_MAX_ROWS - 1) / IGEMM_MAX_ROWS;
    const size_t first = dns_part(blocks, n_across, across) * IGEMM_MAX_ROWS;
    size_t stop = dns_part(blocks, n_across, across + 1) * IGEMM_MAX_ROWS;
    const size_t last_panel = dns_part(plan->n_panels, j->panel_parts, down + 1);
    stop = stop < j->n ? stop : j->n;
    if (plan->ops->begin != NULL) {
        plan->ops->begin();
    }
    const size_t most = GROUP_BYTES / (plan->ops->panel * plan->k_pad + 1) + 1;
    for (size_t p = dns_part(plan->n_panels, j->panel_parts, down); p < last_panel; p += most) {
        const size_t end = last_panel - p < most ? last_panel : p + most;
        multiply_group(j, p, end, first, stop);
    }
    if (plan->ops->end != NULL) {
        plan->ops->end();
    }
}

static void
multiply(job *j, dns_threads *threads, char *ws)
{
    size_t bytes = 0;
    (void)carve(j->plan, j->n, ws, &j->x, &bytes);
    void *const staging = ws + round_up(bytes, LINE);
    j->staging = staging;
    j->parts = dns_plan_threads(&j->plan->base, j->n, threads);
    dns_threads_run(threads, j->parts, pack_part, j);
    j->panel_parts = j->plan->n_panels >= j->parts ? j->parts : 1;
    dns_threads_run(threads, j->parts, multiply_part, j);
}

/* ---- plan ------------------------------------------------------------------------------------ */

static bool
rows_workspace(const dns_plan *base, size_t n, size_t threads, size_t *bytes)
{
    (void)threads;
    return carve((const igemm_plan *)base, n, NULL, NULL, bytes);
}

static bool
workspace(const dns_plan *base, size_t n, size_t threads, size_t *bytes)
{
    size_t staging = 0;
    return carve((const igemm_plan *)base, n, NULL, NULL, bytes) &&
           dns_mul_size(base->cols, BLOCK * sizeof(float) * threads, &staging) &&
           dns_add_size(*bytes, LINE, bytes) && dns_add_size(*bytes, staging, bytes);
}

static void
execute_floats(const dns_plan *base, dns_layout layout, const dns_call *call)
{
    job j = {.plan = (const igemm_plan *)base,
             .layout = layout,
             .n = call->n,
             .xf = call->x,
             .ldx = call->ldx,
             .yf = call->y,
             .ldy = call->ldy};
    multiply(&j, call->threads, call->ws);
}

static void
execute(const dns_plan *base, const dns_call *call)
{
    execute_floats(base, DNS_COLUMNS, call);
}

static void
execute_rows(const dns_plan *base, const dns_call *call)
{
    execute_floats(base, DNS_ROWS, call);
}

static void
work(const dns_plan *base, size_t n, const dns_machine *machine, dns_work *out)
{
    const igemm_plan *plan = (const igemm_plan *)base;
    const double columns = (double)n;
    const double x = columns * (double)pitch_of(plan);
    const double panel = (double)(plan->k_pad * plan->ops->panel);
    const double y = 4.0 * (double)base->rows * columns;
    out->flops = 2.0 * (double)base->nnz * columns / plan->ops->speed;
    dns_work_add(out, machine, panel * (double)plan->n_panels, panel * (double)plan->n_panels);
    dns_work_add(out, machine, x, x * (double)plan->n_panels);
    dns_work_add(out, machine, x + y, 4.0 * columns * (double)base->cols + y);
}

/* Where row m, column k lies in the panels. */
static size_t
place(const igemm_plan *plan, size_t m, size_t k)
{
    const size_t panel = plan->ops->panel;
    return m / panel * panel * plan->k_pad + (k / 4 * panel + m % panel) * 4 + k % 4;
}

static void
to_dense(const dns_plan *base, float *w)
{
    const igemm_plan *plan = (const igemm_plan *)base;
    for (size_t m = 0; m < base->rows; m++) {
        for (size_t k = 0; k < base->cols; k++) {
            const int32_t q = plan->w[place(plan, m, k)] - plan->zero[m];
            w[m * base->cols + k] = plan->scale[m] * (float)q;
        }
    }
}

static void
destroy(dns_plan *base)
{
    igemm_plan *plan = (igemm_plan *)base;
    const dns_alloc *alloc = &base->alloc;
    const size_t rows = plan->n_panels * plan->ops->panel;
    dns_mem_free(alloc, plan->w, rows, plan->k_pad);
    dns_mem_free(alloc, plan->colsum, rows, sizeof *plan->colsum);
    dns_mem_free(alloc, plan->zero, rows, sizeof *plan->zero);
    dns_mem_free(alloc, plan->scale, rows, sizeof *plan->scale);
    dns_mem_free(alloc, plan->bias, rows, sizeof *plan->bias);
}

static const dns_plan_ops igemm_plan_ops = {
    .format = "int8",
    .workspace = workspace,
    .execute = execute,
    .rows_workspace = rows_workspace,
    .execute_rows = execute_rows,
    .work = work,
    .to_dense = to_dense,
    .destroy = destroy,
};

static dns_status
check(const dns_igemm_weights *w, dns_error *err)
{
    DNS_REQUIRE(w->cols <= DNS_IGEMM_MAX_COLS, err, DNS_ERR_VALUE, -1,
                "Wq: expected at most %d columns, so that sums fit 32 bits, got %zu",
                DNS_IGEMM_MAX_COLS, w->cols);
    for (size_t m = 0; m < w->rows && w->rows <= INT32_MAX; m++) {
        DNS_REQUIRE(w->scale[m] > 0.0F && w->scale[m] < INFINITY, err, DNS_ERR_VALUE, m,
                    "scale: row %zu: expected a finite number > 0, got %g", m, (double)w->scale[m]);
        DNS_REQUIRE(w->zero[m] >= -128 && w->zero[m] <= 127, err, DNS_ERR_VALUE, m,
                    "zero: row %zu: expected an integer in [-128, 127], got %d", m,
                    (int)w->zero[m]);
    }
    return DNS_OK;
}

/* Sums of the rows of W from its panels, where a level's products need them. */
static void
sum_rows(igemm_plan *plan, const dns_igemm_weights *w)
{
    for (size_t m = 0; m < w->rows; m++) {
        const int8_t *row = w->w + (ptrdiff_t)m * w->ldw;
        int32_t sum = 0;
        for (size_t k = 0; k < w->cols; k++) {
            sum += row[k];
        }
        plan->colsum[m] = sum;
    }
}

static dns_status
fill(igemm_plan *plan, const dns_igemm_weights *w)
{
    const dns_alloc *alloc = &plan->base.alloc;
    const size_t panel = plan->ops->panel;
    const size_t rows = plan->n_panels * panel;
    plan->w = dns_mem_new(alloc, rows, plan->k_pad);
    plan->colsum = dns_mem_zero(alloc, rows, sizeof *plan->colsum);
    plan->zero = dns_mem_zero(alloc, rows, sizeof *plan->zero);
    plan->scale = dns_mem_zero(alloc, rows, sizeof *plan->scale);
    plan->bias = dns_mem_zero(alloc, rows, sizeof *plan->bias);
    if (plan->w == NULL || plan->colsum == NULL || plan->zero == NULL || plan->scale == NULL ||
        plan->bias == NULL) {
        return DNS_ERR_MEMORY;
    }
    plan->base.bytes += rows * (plan->k_pad + 4 * sizeof(int32_t));
    for (size_t m = 0; m < w->rows; m++) {
        plan->zero[m] = w->zero[m];
        plan->scale[m] = w->scale[m];
        plan->bias[m] = plan->base.bias[m];
        plan->has_zero |= w->zero[m] != 0;
    }
    for (size_t p = 0; p < plan->n_panels; p++) {
        const size_t m = w->rows - p * panel < panel ? w->rows - p * panel : panel;
        plan->ops->pack_w(w->w + (ptrdiff_t)(p * panel) * w->ldw, w->ldw, m, w->cols, plan->k_pad,
                          plan->w + p * panel * plan->k_pad);
    }
    if (plan->has_off) {
        sum_rows(plan, w);
    }
    return DNS_OK;
}

dns_status
dns_igemm_plan_create(const dns_igemm_weights *w, const float *bias, dns_act act, dns_isa isa,
                      const dns_alloc *alloc, dns_plan **out, dns_error *err)
{
    dns_plan *base = NULL;
    DNS_TRY(check(w, err));
    DNS_TRY(dns_plan_new(&igemm_plan_ops, sizeof(igemm_plan), w->rows, w->cols, bias, act, alloc,
                         &base, err));
    igemm_plan *plan = (igemm_plan *)base;
    plan->ops = dns_igemm_ops_select(isa);
    plan->quant = dns_quant_ops_select(isa);
    base->isa = plan->ops->isa;
    base->nnz = w->rows * w->cols;
    plan->k_pad = round_up(w->cols, plan->ops->k_align);
    plan->n_panels = (w->rows + plan->ops->panel - 1) / plan->ops->panel;
    plan->has_off = plan->ops->isa != DNS_ISA_AMX;
    return dns_plan_finish(base, fill(plan, w), out, err);
}

/* ---- integers -------------------------------------------------------------------------------- */

bool
dns_igemm_is(const dns_plan *plan)
{
    return plan->ops == &igemm_plan_ops;
}

dns_status
dns_igemm_workspace(const dns_plan *plan, size_t n, size_t *bytes, dns_error *err)
{
    DNS_REQUIRE(dns_igemm_is(plan), err, DNS_ERR_VALUE, -1, "plan: expected format int8, got %s",
                plan->ops->format);
    DNS_REQUIRE(n <= INT32_MAX && carve((const igemm_plan *)plan, n, NULL, NULL, bytes), err,
                DNS_ERR_OVERFLOW, -1,
                "n: expected a number of vectors whose workspace fits, got %zu", n);
    return DNS_OK;
}

void
dns_igemm_execute(const dns_plan *base, dns_layout layout, const dns_igemm_call *call)
{
    job j = {.plan = (const igemm_plan *)base,
             .layout = layout,
             .n = call->n,
             .xi = call->x,
             .ldx = call->ldx,
             .y = call->y,
             .ldy = call->ldy};
    if (base->rows > 0 && call->n > 0) {
        multiply(&j, call->threads, call->ws);
    }
}

dns_status
dns_igemm_unpack(const dns_plan *base, int8_t *w, dns_error *err)
{
    DNS_REQUIRE(dns_igemm_is(base), err, DNS_ERR_VALUE, -1, "plan: expected format int8, got %s",
                base->ops->format);
    const igemm_plan *plan = (const igemm_plan *)base;
    for (size_t m = 0; m < base->rows; m++) {
        for (size_t k = 0; k < base->cols; k++) {
            w[m * base->cols + k] = plan->w[place(plan, m, k)];
        }
    }
    return DNS_OK;
}
