/* Dense products and dense plans; BLAS and own kernels behind one interface.
 *
 * A dense plan splits Y into pieces whose borders depend on the shape alone, so that every piece is
 * computed by the same call whatever the number of threads.
 */
#include "kernels/gemm_internal.h"

#include <string.h>

enum { PIECE_COLUMNS = 256, PIECE_ROWS = 512 };

DNS_OPS_SELECT(dns_gemm_ops)

size_t
dns_gemm_workspace(const dns_blas *blas, dns_isa isa)
{
    return blas != NULL ? 0 : GEMM_BLOCK * dns_gemm_ops_select(isa)->panel * sizeof(float);
}

static void
clear(float *c, ptrdiff_t ldc, size_t m, size_t n)
{
    for (size_t i = 0; i < m && n > 0; i++) {
        memset(c + (ptrdiff_t)i * ldc, 0, n * sizeof *c);
    }
}

/* C = A B or, with `transposed`, A B^T. */
static void
multiply(const dns_blas *blas, dns_isa isa, bool transposed, size_t m, size_t n, size_t k,
         const float *a, ptrdiff_t lda, const float *b, ptrdiff_t ldb, float *c, ptrdiff_t ldc,
         void *ws)
{
    if (m == 0 || n == 0 || k == 0) {
        clear(c, ldc, m, n);
        return;
    }
    if (blas != NULL) {
        blas->sgemm(DNS_BLAS_ROW_MAJOR, DNS_BLAS_PLAIN,
                    transposed ? DNS_BLAS_TRANSPOSED : DNS_BLAS_PLAIN, (int)m, (int)n, (int)k, 1.0F,
                    a, (int)lda, b, (int)ldb, 0.0F, c, (int)ldc);
        return;
    }
    const dns_gemm_ops *ops = dns_gemm_ops_select(isa);
    for (size_t j = 0; j < n; j += ops->panel) {
        const size_t nj = n - j < ops->panel ? n - j : ops->panel;
        for (size_t p = 0; p < k; p += GEMM_BLOCK) {
            const size_t kp = k - p < GEMM_BLOCK ? k - p : GEMM_BLOCK;
            if (transposed) {
                ops->pack_rows(b + (ptrdiff_t)j * ldb + (ptrdiff_t)p, ldb, kp, nj, ws);
            }
            else {
                ops->pack(b + (ptrdiff_t)p * ldb + (ptrdiff_t)j, ldb, kp, nj, ws);
            }
            ops->block(a + p, lda, m, kp, ws, c + j, ldc, nj, p == 0);
        }
    }
}

void
dns_gemm(const dns_blas *blas, dns_isa isa, size_t m, size_t n, size_t k, const float *a,
         ptrdiff_t lda, const float *b, ptrdiff_t ldb, float *c, ptrdiff_t ldc, void *ws)
{
    multiply(blas, isa, false, m, n, k, a, lda, b, ldb, c, ldc, ws);
}

void
dns_gemm_t(const dns_blas *blas, dns_isa isa, size_t m, size_t n, size_t k, const float *a,
           ptrdiff_t lda, const float *b, ptrdiff_t ldb, float *c, ptrdiff_t ldc, void *ws)
{
    multiply(blas, isa, true, m, n, k, a, lda, b, ldb, c, ldc, ws);
}

void
dns_gemv(const dns_blas *blas, dns_isa isa, size_t m, size_t k, const float *a, ptrdiff_t lda,
         const float *x, float *y, ptrdiff_t incy)
{
    if (m == 0 || k == 0) {
        clear(y, incy, m, 1);
    }
    else if (blas != NULL) {
        blas->sgemv(DNS_BLAS_ROW_MAJOR, DNS_BLAS_PLAIN, (int)m, (int)k, 1.0F, a, (int)lda, x, 1,
                    0.0F, y, (int)incy);
    }
    else {
        dns_gemm_ops_select(isa)->gemv(a, lda, m, k, x, y, incy);
    }
}

void
dns_bias_act(float *y, ptrdiff_t ldy, size_t rows, size_t n, const float *bias, dns_act act,
             dns_isa isa)
{
    const dns_gemm_ops *ops = dns_gemm_ops_select(isa);
    for (size_t i = 0; i < rows; i++) {
        ops->bias_act(y + (ptrdiff_t)i * ldy, n, bias + i, false, act);
    }
}

void
dns_bias_act_rows(float *y, ptrdiff_t ldy, size_t rows, size_t n, const float *bias, dns_act act,
                  dns_isa isa)
{
    const dns_gemm_ops *ops = dns_gemm_ops_select(isa);
    for (size_t i = 0; i < rows; i++) {
        ops->bias_act(y + (ptrdiff_t)i * ldy, n, bias, true, act);
    }
}

/* ---- dense plans ----------------------------------------------------------------------------- */

typedef struct dense_plan {
    dns_plan base;
    const dns_blas *blas;
    float *w; /* [rows][cols] */
} dense_plan;

typedef struct job {
    const dense_plan *plan;
    const dns_call *call;
    const float *x;
    size_t wide; /* pieces side by side */
    size_t threads;
} job;

/* Pieces of Y: `wide` across its N columns times `high` down its M rows. */
static void
pieces(const dns_plan *base, size_t n, size_t *wide, size_t *high)
{
    *wide = n == 1 ? 1 : (n + PIECE_COLUMNS - 1) / PIECE_COLUMNS;
    *high = (base->rows + PIECE_ROWS - 1) / PIECE_ROWS;
}

/* One piece; the thread that runs part p has the workspace of p % threads. */
static void
columns_part(void *ctx, size_t part)
{
    const job *j = ctx;
    const dns_plan *base = &j->plan->base;
    const dns_call *call = j->call;
    const size_t column = part % j->wide * PIECE_COLUMNS;
    const size_t row = part / j->wide * PIECE_ROWS;
    const size_t n = call->n - column < PIECE_COLUMNS ? call->n - column : PIECE_COLUMNS;
    const size_t m = base->rows - row < PIECE_ROWS ? base->rows - row : PIECE_ROWS;
    const float *w = j->plan->w + row * base->cols;
    float *y = call->y + (ptrdiff_t)row * call->ldy + (ptrdiff_t)column;
    char *ws = (char *)call->ws + part % j->threads * dns_gemm_workspace(j->plan->blas, base->isa);
    dns_gemm(j->plan->blas, base->isa, m, n, base->cols, w, (ptrdiff_t)base->cols, j->x + column,
             call->ldx, y, call->ldy, ws);
    dns_bias_act(y, call->ldy, m, n, base->bias + row, base->act, base->isa);
}

static void
vector_part(void *ctx, size_t part)
{
    const job *j = ctx;
    const dns_plan *base = &j->plan->base;
    const size_t row = part * PIECE_ROWS;
    const size_t m = base->rows - row < PIECE_ROWS ? base->rows - row : PIECE_ROWS;
    float *y = j->call->y + (ptrdiff_t)row * j->call->ldy;
    dns_gemv(j->plan->blas, base->isa, m, base->cols, j->plan->w + row * base->cols,
             (ptrdiff_t)base->cols, j->x, y, j->call->ldy);
    if (j->call->ldy == 1) {
        dns_bias_act_rows(y, 1, 1, m, base->bias + row, base->act, base->isa);
    }
    else {
        dns_bias_act(y, j->call->ldy, m, 1, base->bias + row, base->act, base->isa);
    }
}

static bool
dense_workspace(const dns_plan *base, size_t n, size_t threads, size_t *bytes)
{
    const dense_plan *plan = (const dense_plan *)base;
    return n == 1 ? dns_mul_size(base->cols, sizeof(float), bytes)
                  : dns_mul_size(threads, dns_gemm_workspace(plan->blas, base->isa), bytes);
}

static void
dense_execute(const dns_plan *base, const dns_call *call)
{
    size_t wide = 0;
    size_t high = 0;
    pieces(base, call->n, &wide, &high);
    dns_threads *threads =
        dns_plan_threads(base, call->n, call->threads) > 1 ? call->threads : NULL;
    job j = {(const dense_plan *)base, call, call->x, wide, dns_threads_count(threads)};
    if (call->n == 1) {
        if (call->ldx != 1) {
            float *x = call->ws;
            for (size_t k = 0; k < base->cols; k++) {
                x[k] = call->x[(ptrdiff_t)k * call->ldx];
            }
            j.x = x;
        }
        dns_threads_run(threads, high, vector_part, &j);
        return;
    }
    dns_threads_run(threads, wide * high, columns_part, &j);
}

/* Y^T = X^T W^T: a BLAS reads W transposed, and each piece is some rows of X. */
static void
rows_part(void *ctx, size_t part)
{
    const job *j = ctx;
    const dns_plan *base = &j->plan->base;
    const dns_call *call = j->call;
    const size_t first = part / j->wide * PIECE_COLUMNS;
    const size_t row = part % j->wide * PIECE_ROWS;
    const size_t n = call->n - first < PIECE_COLUMNS ? call->n - first : PIECE_COLUMNS;
    const size_t m = base->rows - row < PIECE_ROWS ? base->rows - row : PIECE_ROWS;
    float *y = call->y + (ptrdiff_t)first * call->ldy + (ptrdiff_t)row;
    j->plan->blas->sgemm(DNS_BLAS_ROW_MAJOR, DNS_BLAS_PLAIN, DNS_BLAS_TRANSPOSED, (int)n, (int)m,
                         (int)base->cols, 1.0F, call->x + (ptrdiff_t)first * call->ldx,
                         (int)call->ldx, j->plan->w + row * base->cols, (int)base->cols, 0.0F, y,
                         (int)call->ldy);
    dns_bias_act_rows(y, call->ldy, n, m, base->bias + row, base->act, base->isa);
}

static bool
no_workspace(const dns_plan *base, size_t n, size_t threads, size_t *bytes)
{
    (void)base;
    (void)n;
    (void)threads;
    *bytes = 0;
    return true;
}

static void
dense_execute_rows(const dns_plan *base, const dns_call *call)
{
    size_t wide = 0;
    size_t high = 0;
    pieces(base, call->n, &wide, &high);
    dns_threads *threads =
        dns_plan_threads(base, call->n, call->threads) > 1 ? call->threads : NULL;
    job j = {(const dense_plan *)base, call, call->x, high, dns_threads_count(threads)};
    dns_threads_run(threads, wide * high, rows_part, &j);
}

static void
dense_work(const dns_plan *base, size_t n, const dns_machine *machine, dns_work *work)
{
    const double m = (double)base->rows;
    const double k = (double)base->cols;
    const double w = 4.0 * m * k;
    const double xy = 4.0 * (m + k) * (double)n;
    work->flops = 2.0 * m * k * (double)n;
    dns_work_add(work, machine, w + xy, w + xy); /* each operand once from where all of them fit */
}

static void
dense_to_dense(const dns_plan *base, float *w)
{
    memcpy(w, ((const dense_plan *)base)->w, base->nnz * sizeof *w);
}

static void
dense_destroy(dns_plan *base)
{
    dns_mem_free(&base->alloc, ((dense_plan *)base)->w, base->nnz, sizeof(float));
}

static const dns_plan_ops own_ops = {
    .format = "dense",
    .workspace = dense_workspace,
    .execute = dense_execute,
    .work = dense_work,
    .to_dense = dense_to_dense,
    .destroy = dense_destroy,
};

static const dns_plan_ops blas_ops = {
    .format = "dense",
    .workspace = dense_workspace,
    .execute = dense_execute,
    .rows_workspace = no_workspace,
    .execute_rows = dense_execute_rows,
    .work = dense_work,
    .to_dense = dense_to_dense,
    .destroy = dense_destroy,
};

dns_status
dns_dense_plan_create(const float *w, ptrdiff_t ldw, size_t rows, size_t cols, const float *bias,
                      dns_act act, const dns_blas *blas, dns_isa isa, const dns_alloc *alloc,
                      dns_plan **out, dns_error *err)
{
    dns_plan *base = NULL;
    const dns_plan_ops *ops = blas == NULL ? &own_ops : &blas_ops;
    DNS_REQUIRE(rows == 0 || cols <= SIZE_MAX / sizeof *w / rows, err, DNS_ERR_OVERFLOW, -1,
                "W: expected a size that fits memory, got %zu x %zu", rows, cols);
    DNS_TRY(dns_plan_new(ops, sizeof(dense_plan), rows, cols, bias, act, alloc, &base, err));
    dense_plan *plan = (dense_plan *)base;
    plan->w = dns_mem_new(alloc, rows * cols, sizeof *plan->w);
    base->nnz = rows * cols;
    if (plan->w == NULL) {
        return dns_plan_finish(base, DNS_ERR_MEMORY, out, err);
    }
    for (size_t i = 0; i < rows && cols > 0; i++) {
        memcpy(plan->w + i * cols, w + (ptrdiff_t)i * ldw, cols * sizeof *plan->w);
    }
    plan->blas = blas;
    base->isa = dns_gemm_ops_select(isa)->isa;
    base->bytes += base->nnz * sizeof *plan->w;
    *out = base;
    return DNS_OK;
}
