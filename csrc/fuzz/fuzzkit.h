/* What the fuzz targets of kernels share: assertions, levels, sparse rows that are mostly well
 * formed, products in a plan's workspace, and a heap that refuses large requests.
 *
 * A target reads a case by producer.h, and for each level either sees it refused with a message, or
 * compares results with a plain loop.
 */
#ifndef DNS_FUZZ_FUZZKIT_H
#define DNS_FUZZ_FUZZKIT_H

#include <math.h>
#include <stdlib.h>

#include "dns/plan.h"
#include "producer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void
require(int ok)
{
    if (!ok) {
        abort();
    }
}

static const dns_act fuzz_no_act = {-INFINITY, INFINITY};

/* Runs the body once per level up to `top` that this machine can run, as `dns_isa isa`. */
#define FUZZ_FOR_EACH_LEVEL(isa, top)                                                              \
    for (dns_isa isa = DNS_ISA_GENERIC; isa <= (top) && isa <= dns_isa_detect();                   \
         isa = (dns_isa)((int)isa + 1))

/* n zeroed elements of `size` bytes, or the end. */
static inline void *
fuzz_new(size_t n, size_t size)
{
    void *p = calloc(n + (n == 0), size);
    require(p != NULL);
    return p;
}

/* Any float at all. */
static inline float
fuzz_any_float(fuzz_in *in)
{
    const uint32_t bits = (uint32_t)fuzz_bytes(in, 4);
    float value = 0.0F;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* -1 to 1 in eighths. */
static inline void
fuzz_ramp(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)(i % 17) / 8.0F - 1.0F;
    }
}

/* What sparse rows are made of. */
typedef struct fuzz_sparse {
    size_t rows, cols, most; /* entries */
    int64_t first, length;   /* largest first column and number of entries of a row */
    int64_t *indptr, *indices;
    float *values; /* NULL = not read */
} fuzz_sparse;

/* Well-formed rows; returns the number of entries. */
static inline size_t
fuzz_rows(fuzz_in *in, const fuzz_sparse *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->rows; i++) {
        s->indptr[i] = (int64_t)n;
        int64_t column = fuzz_int(in, 0, s->first);
        for (int64_t k = fuzz_int(in, 0, s->length);
             k > 0 && n < s->most && column < (int64_t)s->cols; k--) {
            if (s->values != NULL) {
                s->values[n] = (float)fuzz_real(in, -1.0, 1.0);
            }
            s->indices[n++] = column;
            column += 1 + fuzz_int(in, 0, 15);
        }
    }
    s->indptr[s->rows] = (int64_t)n;
    return n;
}

/* Breaks a pointer or an index where `wild`, of [0, 255], is high. */
static inline void
fuzz_break(fuzz_in *in, int64_t wild, const fuzz_sparse *s, size_t n)
{
    if (wild > 250 && s->rows > 0) {
        s->indptr[fuzz_int(in, 0, (int64_t)s->rows)] = (int64_t)fuzz_bytes(in, 8);
    }
    if (wild > 240 && n > 0) {
        s->indices[fuzz_int(in, 0, (int64_t)n - 1)] = (int64_t)fuzz_bytes(in, 8);
    }
}

/* Whether a structure was taken; else the message must say where it is malformed. */
static inline int
fuzz_taken(dns_status status, const dns_error *err)
{
    require(status == DNS_OK || (err->message[0] != '\0' && err->code == status));
    require(status != DNS_ERR_FORMAT || err->index >= 0);
    return status == DNS_OK;
}

/* y [rows][n] of a plan for x [cols][n]. */
static inline void
fuzz_product(const dns_plan *plan, size_t n, const float *x, float *y)
{
    size_t bytes = 0;
    require(dns_plan_workspace(plan, DNS_COLUMNS, n, 1, &bytes, NULL) == DNS_OK);
    void *ws = dns_mem_new(NULL, bytes, 1);
    require(ws != NULL);
    const dns_call call = {n, x, (ptrdiff_t)n, y, (ptrdiff_t)n, ws, NULL};
    dns_plan_execute(plan, DNS_COLUMNS, &call);
    dns_mem_free(NULL, ws, bytes, 1);
}

/* |got - sum| <= 2 (terms + 2) u size. */
static inline void
fuzz_near(float got, double sum, double size, double terms)
{
    require(fabs((double)got - sum) <= 2.0 * (terms + 2.0) * 0x1p-24 * size + 1e-36);
}

/* The process allocator, which refuses a request of more than *(size_t *)ctx bytes. */
static inline void *
fuzz_alloc(void *ctx, size_t size, size_t align)
{
    const dns_alloc *under = dns_alloc_default();
    return size > *(const size_t *)ctx ? NULL : under->alloc(under->ctx, size, align);
}

static inline void
fuzz_free(void *ctx, void *ptr, size_t size)
{
    (void)ctx;
    const dns_alloc *under = dns_alloc_default();
    under->free(under->ctx, ptr, size);
}

#endif
