/* Sparse convolutions that are matrix products: one pixel per kernel, unit strides, no padding, one
 * group. The image is the matrix of X as it lies, channels first by columns, channels last by rows;
 * csr.c does the rest, and takes the weights in the same order as sconv.c.
 */
#include "dns/csr.h"
#include "kernels/conv_internal.h"

typedef struct product_conv {
    conv_plan head;
    dns_plan *product; /* [O][C] */
} product_conv;

static size_t
pixels_of(const product_conv *plan)
{
    const dns_window *g = &plan->head.conv.window;
    return (size_t)g->out_h * (size_t)g->out_w;
}

static dns_layout
layout_of(const product_conv *plan)
{
    return plan->head.conv.layout == DNS_NCHW ? DNS_COLUMNS : DNS_ROWS;
}

static bool
product_workspace(const dns_plan *base, size_t n, size_t threads, size_t *bytes)
{
    const product_conv *plan = (const product_conv *)base;
    (void)n;
    return dns_plan_workspace(plan->product, layout_of(plan), pixels_of(plan), threads, bytes,
                              NULL) == DNS_OK;
}

static void
product_run(const dns_plan *base, const dns_call *call)
{
    const product_conv *plan = (const product_conv *)base;
    const bool first = plan->head.conv.layout == DNS_NCHW;
    dns_call one = *call;
    one.n = pixels_of(plan);
    one.ldx = (ptrdiff_t)(first ? one.n : plan->head.conv.channels);
    one.ldy = (ptrdiff_t)(first ? one.n : plan->head.conv.outputs);
    for (size_t image = 0; image < call->n; image++) {
        dns_plan_execute(plan->product, layout_of(plan), &one);
        one.x += call->ldx;
        one.y += call->ldy;
    }
}

static void
product_work(const dns_plan *base, size_t n, const dns_machine *machine, dns_work *work)
{
    const product_conv *plan = (const product_conv *)base;
    const dns_work one = dns_plan_work(plan->product, pixels_of(plan), machine);
    work->flops = one.flops * (double)n;
    for (size_t level = 0; level < DNS_N_MEMORY; level++) {
        work->bytes[level] = one.bytes[level] * (double)n;
    }
}

static void
product_to_dense(const dns_plan *base, float *w)
{
    dns_plan_to_dense(((const product_conv *)base)->product, w);
}

static void
product_destroy(dns_plan *base)
{
    dns_plan_destroy(((product_conv *)base)->product);
}

static const dns_plan_ops product_ops = {
    .format = "csr",
    .workspace = product_workspace,
    .work = product_work,
    .to_dense = product_to_dense,
    .destroy = product_destroy,
};

/* Makes the product's plan from the non-zero elements of w, nnz of them. */
static dns_status
fill(product_conv *plan, const float *w, dns_isa isa, dns_error *err)
{
    dns_plan *base = &plan->head.base;
    const dns_alloc *alloc = &base->alloc;
    int64_t *indptr = dns_mem_new(alloc, base->rows + 1, sizeof *indptr);
    int64_t *indices = dns_mem_new(alloc, base->nnz, sizeof *indices);
    float *values = dns_mem_new(alloc, base->nnz, sizeof *values);
    dns_status status = DNS_ERR_MEMORY;
    if (indptr != NULL && indices != NULL && values != NULL) {
        size_t n = 0;
        for (size_t row = 0; row < base->rows; row++) {
            indptr[row] = (int64_t)n;
            for (size_t c = 0; c < base->cols; c++) {
                if (w[row * base->cols + c] != 0.0F) {
                    indices[n] = (int64_t)c;
                    values[n++] = w[row * base->cols + c];
                }
            }
        }
        indptr[base->rows] = (int64_t)n;
        const dns_csr csr = {base->rows, base->cols, n, indptr, indices, values};
        status = dns_csr_plan_create(&csr, base->bias, base->act, isa, alloc, &plan->product, err);
    }
    dns_mem_free(alloc, indptr, base->rows + 1, sizeof *indptr);
    dns_mem_free(alloc, indices, base->nnz, sizeof *indices);
    dns_mem_free(alloc, values, base->nnz, sizeof *values);
    return status;
}

dns_status
dns_conv_product_create(const dns_conv *conv, const float *w, const float *bias, dns_act act,
                        dns_isa isa, const dns_alloc *alloc, dns_plan **out, dns_error *err)
{
    dns_plan *base = NULL;
    DNS_TRY(dns_plan_new(&product_ops, sizeof(product_conv), conv->outputs, conv->channels, bias,
                         act, alloc, &base, err));
    product_conv *plan = (product_conv *)base;
    plan->head.conv = *conv;
    plan->head.run = product_run;
    for (size_t at = 0; at < base->rows * base->cols; at++) {
        base->nnz += w[at] != 0.0F;
    }
    const dns_status status = fill(plan, w, isa, err);
    if (status == DNS_OK) {
        base->isa = plan->product->isa;
        base->bytes += plan->product->bytes;
    }
    return dns_plan_finish(base, status, out, err);
}
