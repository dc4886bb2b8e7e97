/* What all plans share: extents, bias, activation, and the transposition of a linear layer's rows.
 */
#include "dns/plan.h"

#include <string.h>

enum { TILE = 16 };

#define SERIAL_FLOPS 2e6 /* below this a wake-up costs more than a second thread gives */

dns_status
dns_plan_new(const dns_plan_ops *ops, size_t struct_bytes, size_t rows, size_t cols,
             const float *bias, dns_act act, const dns_alloc *alloc, dns_plan **out, dns_error *err)
{
    DNS_REQUIRE(rows <= INT32_MAX && cols <= INT32_MAX, err, DNS_ERR_VALUE, -1,
                "W: expected extents below 2^31, got %zu x %zu", rows, cols);
    DNS_REQUIRE(act.lo <= act.hi, err, DNS_ERR_VALUE, -1,
                "act: expected lo <= hi, got lo = %g, hi = %g", (double)act.lo, (double)act.hi);
    dns_plan *plan = dns_mem_zero(alloc, 1, struct_bytes);
    float *copy = dns_mem_zero(alloc, rows, sizeof *copy);
    if (plan == NULL || copy == NULL) {
        dns_mem_free(alloc, plan, 1, struct_bytes);
        dns_mem_free(alloc, copy, rows, sizeof *copy);
        return dns_fail(err, DNS_ERR_MEMORY, -1, "plan: out of memory");
    }
    if (bias != NULL && rows > 0) {
        memcpy(copy, bias, rows * sizeof *copy);
    }
    plan->ops = ops;
    plan->alloc = alloc != NULL ? *alloc : *dns_alloc_default();
    plan->struct_bytes = struct_bytes;
    plan->rows = rows;
    plan->cols = cols;
    plan->bytes = struct_bytes + rows * sizeof *copy;
    plan->act = act;
    plan->bias = copy;
    *out = plan;
    return DNS_OK;
}

dns_status
dns_plan_finish(dns_plan *plan, dns_status status, dns_plan **out, dns_error *err)
{
    const size_t nnz = plan->nnz;
    if (status == DNS_OK) {
        *out = plan;
        return DNS_OK;
    }
    dns_plan_destroy(plan);
    return status != DNS_ERR_MEMORY
               ? status
               : dns_fail(err, status, -1, "plan: out of memory for %zu weights", nnz);
}

void
dns_plan_destroy(dns_plan *plan)
{
    if (plan == NULL) {
        return;
    }
    const dns_alloc alloc = plan->alloc;
    plan->ops->destroy(plan);
    dns_mem_free(&alloc, plan->bias, plan->rows, sizeof *plan->bias);
    dns_mem_free(&alloc, plan, 1, plan->struct_bytes);
}

size_t
dns_plan_threads(const dns_plan *plan, size_t n, const dns_threads *threads)
{
    return 2.0 * (double)plan->nnz * (double)n < SERIAL_FLOPS ? 1 : dns_threads_count(threads);
}

static bool
is_empty(const dns_plan *plan, size_t n)
{
    return plan->rows == 0 || plan->cols == 0 || n == 0;
}

/* Floats of n vectors of the given extent, rounded up to a whole number of lines. */
static bool
vectors_bytes(size_t extent, size_t n, size_t *bytes)
{
    size_t floats = 0;
    if (!dns_mul_size(extent, n, &floats) || !dns_add_size(floats, DNS_ALIGN, &floats)) {
        return false;
    }
    return dns_mul_size(floats / 16 * 16, sizeof(float), bytes);
}

dns_status
dns_plan_workspace(const dns_plan *plan, dns_layout layout, size_t n, size_t threads, size_t *bytes,
                   dns_error *err)
{
    const dns_plan_ops *ops = plan->ops;
    size_t total = 0;
    bool fits = true;
    if (n > INT32_MAX) {
        fits = false;
    }
    else if (is_empty(plan, n)) {
        total = 0;
    }
    else if (layout == DNS_COLUMNS || n == 1) {
        fits = ops->workspace(plan, n, threads, &total);
    }
    else if (ops->rows_workspace != NULL) {
        fits = ops->rows_workspace(plan, n, threads, &total);
    }
    else {
        size_t x = 0;
        size_t y = 0;
        fits = ops->workspace(plan, n, threads, &total) && vectors_bytes(plan->cols, n, &x) &&
               vectors_bytes(plan->rows, n, &y) && dns_add_size(total, x, &total) &&
               dns_add_size(total, y, &total);
    }
    DNS_REQUIRE(fits, err, DNS_ERR_OVERFLOW, -1,
                "n: expected a number of vectors whose workspace fits, got %zu", n);
    *bytes = total;
    return DNS_OK;
}

/* to[j*ldt + i] = from[i*ldf + j] for i < rows, j < cols. */
static void
transpose(const float *from, ptrdiff_t ldf, size_t rows, size_t cols, float *to, ptrdiff_t ldt)
{
    for (size_t i0 = 0; i0 < rows; i0 += TILE) {
        const size_t i1 = rows - i0 < TILE ? rows : i0 + TILE;
        for (size_t j0 = 0; j0 < cols; j0 += TILE) {
            const size_t j1 = cols - j0 < TILE ? cols : j0 + TILE;
            for (size_t i = i0; i < i1; i++) {
                for (size_t j = j0; j < j1; j++) {
                    to[(ptrdiff_t)j * ldt + (ptrdiff_t)i] = from[(ptrdiff_t)i * ldf + (ptrdiff_t)j];
                }
            }
        }
    }
}

/* Layout DNS_ROWS by way of DNS_COLUMNS. */
static void
execute_transposed(const dns_plan *plan, const dns_call *call)
{
    size_t x_bytes = 0;
    size_t y_bytes = 0;
    (void)vectors_bytes(plan->cols, call->n, &x_bytes);
    (void)vectors_bytes(plan->rows, call->n, &y_bytes);
    float *x = call->ws;
    float *y = x + x_bytes / sizeof *x;
    const ptrdiff_t n = (ptrdiff_t)call->n;
    const dns_call columns = {call->n, x, n, y, n, y + y_bytes / sizeof *y, call->threads};
    transpose(call->x, call->ldx, call->n, plan->cols, x, n);
    plan->ops->execute(plan, &columns);
    transpose(y, n, plan->rows, call->n, call->y, call->ldy);
}

/* Without inputs every output is act(bias). */
static void
execute_empty(const dns_plan *plan, dns_layout layout, const dns_call *call)
{
    const bool rows = layout == DNS_ROWS;
    for (size_t i = 0; i < plan->rows; i++) {
        float v = plan->bias[i];
        v = plan->act.lo > v ? plan->act.lo : v;
        v = plan->act.hi < v ? plan->act.hi : v;
        for (size_t j = 0; j < call->n; j++) {
            call->y[rows ? (ptrdiff_t)j * call->ldy + (ptrdiff_t)i
                         : (ptrdiff_t)i * call->ldy + (ptrdiff_t)j] = v;
        }
    }
}

void
dns_plan_execute(const dns_plan *plan, dns_layout layout, const dns_call *call)
{
    if (is_empty(plan, call->n)) {
        execute_empty(plan, layout, call);
    }
    else if (layout == DNS_COLUMNS) {
        plan->ops->execute(plan, call);
    }
    else if (call->n == 1) {
        dns_call one = *call;
        one.ldx = 1; /* a single row is a column of contiguous elements */
        one.ldy = 1;
        plan->ops->execute(plan, &one);
    }
    else if (plan->ops->execute_rows != NULL) {
        plan->ops->execute_rows(plan, call);
    }
    else {
        execute_transposed(plan, call);
    }
}

dns_work
dns_plan_work(const dns_plan *plan, size_t n, const dns_machine *machine)
{
    dns_work work = {0.0, {0.0}};
    if (!is_empty(plan, n)) {
        plan->ops->work(plan, n, machine, &work);
    }
    return work;
}

void
dns_plan_to_dense(const dns_plan *plan, float *w)
{
    const size_t n = plan->rows * plan->cols;
    if (n > 0) {
        memset(w, 0, n * sizeof *w);
        plan->ops->to_dense(plan, w);
    }
}
