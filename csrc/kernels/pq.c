/* Product quantisers: packing, checks, and the split of rows over threads. */
#include "kernels/pq_internal.h"

#include <math.h>
#include <string.h>

DNS_OPS_SELECT(dns_pq_ops)

enum { PART = 1 << 12 }; /* rows of a thread's piece of decoding */

#define UNIT 5.9604644775390625e-8 /* 2^-24 */
/* Beyond this radius sums of float32 might overflow: distances are computed in double. */
#define MAX_RADIUS_SQUARED 1e36

static size_t
elements(dns_pq_shape shape)
{
    return shape.m * shape.ksub * shape.dsub;
}

size_t
dns_pq_not_finite(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) {
            return i;
        }
    }
    return n;
}

dns_status
dns_pq_check(dns_pq_shape shape, dns_error *err)
{
    DNS_REQUIRE(shape.ksub == 16 || shape.ksub == 256, err, DNS_ERR_VALUE, -1,
                "codebooks: expected 16 or 256 centroids, got %zu", shape.ksub);
    DNS_REQUIRE(shape.dsub >= 1 && shape.dsub <= DNS_PQ_MAX_DSUB, err, DNS_ERR_VALUE, -1,
                "codebooks: expected centroids of 1 to %d elements, got %zu", DNS_PQ_MAX_DSUB,
                shape.dsub);
    DNS_REQUIRE(shape.m >= 1 && shape.m <= DNS_PQ_MAX_DIM / shape.dsub, err, DNS_ERR_VALUE, -1,
                "codebooks: expected 1 to %zu codebooks of %zu elements, got %zu",
                DNS_PQ_MAX_DIM / shape.dsub, shape.dsub, shape.m);
    return DNS_OK;
}

dns_pq *
dns_pq_blank(dns_pq_shape shape, dns_isa isa, const dns_alloc *alloc)
{
    const dns_alloc *a = alloc != NULL ? alloc : dns_alloc_default();
    dns_pq *pq = dns_mem_zero(a, 1, sizeof *pq);
    if (pq == NULL) {
        return NULL;
    }
    pq->alloc = *a;
    pq->ops = dns_pq_ops_select(isa);
    pq->shape = shape;
    const size_t n = elements(shape);
    pq->codebooks = dns_mem_new(a, n, sizeof(float));
    pq->minus = dns_mem_new(a, n, sizeof(float));
    pq->exact = dns_mem_new(a, n, sizeof(float));
    pq->half = dns_mem_new(a, shape.m * shape.ksub, sizeof(float));
    pq->mean = dns_mem_new(a, shape.m * shape.dsub, sizeof(float));
    pq->number = dns_mem_new(a, shape.ksub, sizeof(float));
    pq->piece = dns_mem_zero(a, shape.m, sizeof *pq->piece);
    if (pq->codebooks == NULL || pq->minus == NULL || pq->exact == NULL || pq->half == NULL ||
        pq->mean == NULL || pq->number == NULL || pq->piece == NULL) {
        dns_pq_destroy(pq);
        return NULL;
    }
    for (size_t j = 0; j < shape.ksub; j++) {
        pq->number[j] = (float)j;
    }
    pq->bytes = sizeof *pq + shape.m * sizeof *pq->piece +
                (3 * n + shape.m * shape.ksub + shape.m * shape.dsub + shape.ksub) * sizeof(float);
    return pq;
}

void
dns_pq_destroy(dns_pq *pq)
{
    if (pq == NULL) {
        return;
    }
    const dns_alloc a = pq->alloc;
    const dns_pq_shape shape = pq->shape;
    const size_t n = elements(shape);
    dns_mem_free(&a, pq->codebooks, n, sizeof(float));
    dns_mem_free(&a, pq->minus, n, sizeof(float));
    dns_mem_free(&a, pq->exact, n, sizeof(float));
    dns_mem_free(&a, pq->half, shape.m * shape.ksub, sizeof(float));
    dns_mem_free(&a, pq->mean, shape.m * shape.dsub, sizeof(float));
    dns_mem_free(&a, pq->number, shape.ksub, sizeof(float));
    dns_mem_free(&a, pq->piece, shape.m, sizeof *pq->piece);
    dns_mem_free(&a, pq, 1, sizeof *pq);
}

static bool
same(const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (a[i] != b[i]) {
            return false;
        }
    }
    return true;
}

/* True when centroid j of a codebook equals an earlier one. */
static bool
repeats(const float *book, size_t j, size_t dsub)
{
    for (size_t i = 0; i < j; i++) {
        if (same(book + i * dsub, book + j * dsub, dsub)) {
            return true;
        }
    }
    return false;
}

void
dns_pq_pack(dns_pq *pq, const float *codebooks, size_t s)
{
    const size_t ksub = pq->shape.ksub;
    const size_t dsub = pq->shape.dsub;
    const float *book = codebooks + s * ksub * dsub;
    float *mean = pq->mean + s * dsub;
    float *minus = pq->minus + s * ksub * dsub;
    float *exact = pq->exact + s * ksub * dsub;
    float *half = pq->half + s * ksub;
    memmove(pq->codebooks + s * ksub * dsub, book, ksub * dsub * sizeof *book);
    for (size_t k = 0; k < dsub; k++) {
        double sum = 0.0;
        for (size_t j = 0; j < ksub; j++) {
            sum += (double)book[j * dsub + k];
        }
        mean[k] = (float)(sum / (double)ksub);
    }
    double radius = 0.0; /* squared */
    for (size_t j = 0; j < ksub; j++) {
        double square = 0.0;
        for (size_t k = 0; k < dsub; k++) {
            const float c = book[j * dsub + k];
            const double v = (double)c - (double)mean[k];
            const size_t at = (j / PQ_GROUP * dsub + k) * PQ_GROUP + j % PQ_GROUP;
            square += v * v;
            exact[at] = c;
            minus[at] = (float)-v;
        }
        half[j] = repeats(book, j, dsub) ? INFINITY : (float)(square / 2.0);
        radius = square > radius ? square : radius;
    }
    const double unit = 1.1 * UNIT * (double)(dsub + 3);
    const double floor = unit * 2.0 * radius + 1e-36;
    pq->piece[s] = (pq_piece){.minus = minus,
                              .half = half,
                              .exact = exact,
                              .slope = (float)unit,
                              .floor = radius > MAX_RADIUS_SQUARED ? INFINITY : (float)floor};
}

dns_status
dns_pq_create(const float *codebooks, dns_pq_shape shape, dns_isa isa, const dns_alloc *alloc,
              dns_pq **out, dns_error *err)
{
    DNS_TRY(dns_pq_check(shape, err));
    const size_t n = elements(shape);
    const size_t bad = dns_pq_not_finite(codebooks, n);
    DNS_REQUIRE(bad == n, err, DNS_ERR_VALUE, bad,
                "codebooks: expected finite numbers, got %g in centroid %zu of codebook %zu",
                (double)codebooks[bad], bad / shape.dsub % shape.ksub,
                bad / shape.dsub / shape.ksub);
    dns_pq *pq = dns_pq_blank(shape, isa, alloc);
    DNS_REQUIRE(pq != NULL, err, DNS_ERR_MEMORY, -1, "codebooks: out of memory for %zu elements",
                n);
    for (size_t s = 0; s < shape.m; s++) {
        dns_pq_pack(pq, codebooks, s);
    }
    *out = pq;
    return DNS_OK;
}

dns_pq_shape
dns_pq_shape_of(const dns_pq *pq)
{
    return pq->shape;
}

dns_isa
dns_pq_isa(const dns_pq *pq)
{
    return pq->ops->isa;
}

size_t
dns_pq_bytes(const dns_pq *pq)
{
    return pq->bytes;
}

/* Floats of a tile of rows. */
static size_t
panel_floats(const dns_pq *pq)
{
    return PQ_TILE * pq->shape.m * pq->shape.dsub;
}

/* First rows that are not finite, one per thread, take the front of the workspace. */
#define FRONT (DNS_THREADS_MAX * sizeof(size_t))

size_t
dns_pq_workspace(const dns_pq *pq, size_t threads)
{
    return FRONT + threads * panel_floats(pq) * sizeof(float);
}

typedef struct encode_job {
    const dns_pq *pq;
    size_t n, parts;
    const float *x;
    ptrdiff_t ldx;
    uint8_t *codes;
    ptrdiff_t ldc;
    size_t *bad; /* [parts] */
    float *panels;
} encode_job;

static void
encode_part(void *ctx, size_t part)
{
    const encode_job *j = ctx;
    const size_t first = dns_part(j->n, j->parts, part);
    const size_t stop = dns_part(j->n, j->parts, part + 1);
    const size_t end = j->pq->ops->encode(j->pq, j->x, j->ldx, first, stop, j->codes, j->ldc,
                                          j->panels + part * panel_floats(j->pq));
    j->bad[part] = end < stop ? end : j->n;
}

dns_status
dns_pq_encode(const dns_pq *pq, size_t n, const float *x, ptrdiff_t ldx, uint8_t *codes,
              ptrdiff_t ldc, void *ws, dns_threads *threads, dns_error *err)
{
    const size_t dim = pq->shape.m * pq->shape.dsub;
    const bool small = n * dim * pq->shape.ksub < 1000000;
    const size_t parts = small ? 1 : dns_threads_count(threads);
    encode_job j = {pq, n, parts, x, ldx, codes, ldc, ws, (float *)((char *)ws + FRONT)};
    dns_threads_run(small ? NULL : threads, parts, encode_part, &j);
    for (size_t p = 0; p < parts; p++) {
        if (j.bad[p] < n) {
            const size_t row = j.bad[p];
            const size_t at = dns_pq_not_finite(x + (ptrdiff_t)row * ldx, dim);
            return dns_fail(err, DNS_ERR_VALUE, (int64_t)row,
                            "X: expected finite numbers, got %g in row %zu, column %zu",
                            (double)x[(ptrdiff_t)row * ldx + (ptrdiff_t)at], row, at);
        }
    }
    return DNS_OK;
}

typedef struct decode_job {
    const dns_pq *pq;
    size_t n;
    const uint8_t *codes;
    ptrdiff_t ldc;
    float *y;
    ptrdiff_t ldy;
} decode_job;

static void
decode_part(void *ctx, size_t part)
{
    const decode_job *j = ctx;
    const size_t first = part * PART;
    const size_t count = j->n - first < PART ? j->n - first : PART;
    j->pq->ops->decode(j->pq, count, j->codes + (ptrdiff_t)first * j->ldc, j->ldc,
                       j->y + (ptrdiff_t)first * j->ldy, j->ldy);
}

dns_status
dns_pq_decode(const dns_pq *pq, size_t n, const uint8_t *codes, ptrdiff_t ldc, float *y,
              ptrdiff_t ldy, dns_threads *threads, dns_error *err)
{
    for (size_t i = 0; pq->shape.ksub < 256 && i < n; i++) {
        for (size_t s = 0; s < pq->shape.m; s++) {
            const unsigned code = codes[(ptrdiff_t)i * ldc + (ptrdiff_t)s];
            DNS_REQUIRE(code < pq->shape.ksub, err, DNS_ERR_VALUE, i,
                        "codes: expected values below %zu, got %u in row %zu, column %zu",
                        pq->shape.ksub, code, i, s);
        }
    }
    decode_job j = {pq, n, codes, ldc, y, ldy};
    dns_threads_run(threads, (n + PART - 1) / PART, decode_part, &j);
    return DNS_OK;
}
