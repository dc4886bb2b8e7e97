/* Execution over panels; see panels.h. */
#include "kernels/panels.h"

#include <math.h>

typedef struct job {
    const panels_form *form;
    const dns_call *call;
    size_t row_parts; /* how many parts share a panel; the others split the panels */
    size_t panel_parts;
} job;

/* First unit of part p of n, so that parts hold about equally many weights. */
static size_t
cut(const panels_form *form, size_t p, size_t n)
{
    if (form->before == NULL || p == n) {
        return dns_part(form->n_units, n, p);
    }
    const double want = (double)form->before[form->n_units] * (double)p / (double)n;
    size_t low = 0;
    size_t high = form->n_units;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if ((double)form->before[middle] < want) {
            low = middle + 1;
        }
        else {
            high = middle;
        }
    }
    return low;
}

static size_t
block_rows(const panels_form *form)
{
    return form->block < form->plan->cols ? form->block : form->plan->cols;
}

static void
multiply_part(void *ctx, size_t part)
{
    const job *j = ctx;
    const panels_form *form = j->form;
    const dns_call *call = j->call;
    const size_t cols = form->plan->cols;
    const size_t panels = (call->n + form->width - 1) / form->width;
    const size_t end = dns_part(panels, j->panel_parts, part / j->row_parts + 1);
    float *packed = (float *)call->ws + part * block_rows(form) * form->width;
    panels_step step = {.first = cut(form, part % j->row_parts, j->row_parts),
                        .stop = cut(form, part % j->row_parts + 1, j->row_parts),
                        .x = packed,
                        .ldy = call->ldy};
    for (size_t p = dns_part(panels, j->panel_parts, part / j->row_parts);
         p < end && step.first < step.stop; p++) {
        const size_t column = p * form->width;
        step.n = call->n - column < form->width ? call->n - column : form->width;
        step.y = call->y + column;
        for (size_t b = 0; b < form->n_blocks; b++) {
            const size_t row = b * form->block;
            const size_t k = cols - row < form->block ? cols - row : form->block;
            form->pack(call->x + (ptrdiff_t)row * call->ldx + (ptrdiff_t)column, call->ldx, k,
                       step.n, packed);
            step.block = b;
            step.column = row;
            step.k = k;
            form->multiply(form->plan, &step);
        }
    }
}

static void
vector_part(void *ctx, size_t part)
{
    const job *j = ctx;
    const size_t first = cut(j->form, part, j->row_parts);
    const size_t stop = cut(j->form, part + 1, j->row_parts);
    if (first < stop) {
        j->form->vector(j->form->plan, first, stop, j->call->x, j->call->y, j->call->ldy);
    }
}

bool
dns_panels_workspace(const panels_form *form, size_t n, size_t threads, size_t *bytes)
{
    size_t floats = form->plan->cols;
    return (n == 1 || (dns_mul_size(block_rows(form), form->width, &floats) &&
                       dns_mul_size(floats, threads, &floats))) &&
           dns_mul_size(floats, sizeof(float), bytes);
}

void
dns_panels_execute(const panels_form *form, const dns_call *call)
{
    const size_t threads = dns_plan_threads(form->plan, call->n, call->threads);
    job j = {form, call, threads, 1};
    if (call->n == 1) {
        dns_call one = *call;
        if (call->ldx != 1) {
            float *x = call->ws;
            for (size_t k = 0; k < form->plan->cols; k++) {
                x[k] = call->x[(ptrdiff_t)k * call->ldx];
            }
            one.x = x;
        }
        j.call = &one;
        dns_threads_run(call->threads, threads, vector_part, &j);
        return;
    }
    const size_t panels = (call->n + form->width - 1) / form->width;
    if (panels % threads == 0 || panels >= 4 * threads) {
        j.row_parts = 1;
        j.panel_parts = threads;
    }
    dns_threads_run(call->threads, threads, multiply_part, &j);
}

void
dns_panels_work(const panels_form *form, size_t n, double taken, double stream,
                const dns_machine *machine, dns_work *work)
{
    const double columns = (double)n;
    const double x = 4.0 * (double)form->plan->cols * columns;
    const double y = 4.0 * (double)form->plan->rows * columns;
    const double panels = n == 1 ? 1.0 : ceil(columns / (double)form->width);
    const double width = n == 1 ? 1.0 : (double)form->width;
    const double block = 4.0 * width * (double)(n == 1 ? form->plan->cols : block_rows(form));
    dns_work_add(work, machine, block, 4.0 * taken * columns);
    dns_work_add(work, machine, stream, stream * panels);
    dns_work_add(work, machine, x + y, x);
    dns_work_add(work, machine, x + y, y * (n == 1 ? 1.0 : (double)(2 * form->n_blocks - 1)));
}
