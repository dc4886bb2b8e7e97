/* Fourier transforms: roots of unity, workspace, the split over threads. */
#include "kernels/fft_internal.h"

#include <math.h>
#include <stdbool.h>

#define TWO_PI 6.283185307179586476925286766559
#define SERIAL_ELEMENTS 16384 /* complex; below this a wake-up costs more than it gives */

DNS_OPS_SELECT(dns_fft_ops)

/* w[0] + i w[stride] = e^(-2 pi i j / n) */
static void
root(size_t j, size_t n, float *w, size_t stride)
{
    const double angle = TWO_PI * (double)(j % n) / (double)n;
    w[0] = (float)cos(angle);
    w[stride] = (float)-sin(angle);
}

/* Roots of all passes over 2^log2m vectors but the last, [m / r][r - 1][re, im] for each radix r;
 * returns their number of floats, and only counts them when w is NULL. */
static size_t
fill_between(unsigned log2m, unsigned largest, float *w)
{
    size_t floats = 0;
    while (log2m > largest) {
        const unsigned radix_log2 = dns_fft_radix(log2m, largest);
        const size_t r = (size_t)1 << radix_log2;
        const size_t q = (size_t)1 << (log2m - radix_log2);
        for (size_t c = 0; w != NULL && c < q; c++) {
            for (size_t p = 1; p < r; p++) {
                root(p * c, r * q, w + floats + 2 * (c * (r - 1) + p - 1), 1);
            }
        }
        floats += 2 * (r - 1) * q;
        log2m -= radix_log2;
    }
    return floats;
}

/* Roots of a row's first pass; else as fill_between. */
static size_t
fill_first(unsigned log2n, unsigned lanes_log2, float *w)
{
    const size_t lanes = (size_t)1 << lanes_log2;
    const size_t m = (size_t)1 << (log2n - lanes_log2);
    const size_t wide = m < lanes ? lanes : m; /* short rows: two lie beside each other */
    for (size_t c = 0; w != NULL && c < wide; c++) {
        for (size_t p = 1; p < lanes; p++) {
            const size_t at = 2 * lanes * (c / lanes * (lanes - 1) + p - 1) + c % lanes;
            root(p * (c % m), lanes * m, w + at, lanes);
        }
    }
    return 2 * wide * (lanes - 1);
}

dns_status
dns_fft_create(unsigned log2n, dns_isa isa, const dns_alloc *alloc, dns_fft **out, dns_error *err)
{
    DNS_REQUIRE(log2n >= DNS_FFT_MIN_LOG2 && log2n <= DNS_FFT_MAX_LOG2, err, DNS_ERR_VALUE, -1,
                "length: expected 2^%d to 2^%d, got 2^%u", DNS_FFT_MIN_LOG2, DNS_FFT_MAX_LOG2,
                log2n);
    alloc = alloc != NULL ? alloc : dns_alloc_default();
    const dns_fft_ops *ops = dns_fft_ops_select(isa);
    const bool by_rows = log2n >= 2 * ops->lanes_log2 - 1;
    const unsigned left = by_rows ? log2n - ops->lanes_log2 : 0;
    const size_t first = by_rows ? fill_first(log2n, ops->lanes_log2, NULL) : 0;
    const size_t rest = fill_between(left, ops->radix_log2, NULL);
    const size_t floats = first + rest + fill_between(log2n, ops->radix_log2, NULL);
    dns_fft *fft = dns_mem_new(alloc, 1, sizeof *fft);
    float *w = dns_mem_new(alloc, floats, sizeof *w);
    if (fft == NULL || w == NULL) {
        dns_mem_free(alloc, w, floats, sizeof *w);
        dns_mem_free(alloc, fft, 1, sizeof *fft);
        return dns_fail(err, DNS_ERR_MEMORY, -1, "no memory for the roots of length 2^%u", log2n);
    }
    *fft = (dns_fft){*alloc, ops, log2n, floats, w + first + rest, by_rows ? w : NULL, w + first};
    if (by_rows) {
        (void)fill_first(log2n, ops->lanes_log2, fft->first);
        (void)fill_between(left, ops->radix_log2, fft->rest);
    }
    (void)fill_between(log2n, ops->radix_log2, fft->whole);
    *out = fft;
    return DNS_OK;
}

void
dns_fft_destroy(dns_fft *fft)
{
    if (fft != NULL) {
        const dns_alloc alloc = fft->alloc;
        float *w = fft->first != NULL ? fft->first : fft->rest;
        dns_mem_free(&alloc, w, fft->floats, sizeof *w);
        dns_mem_free(&alloc, fft, 1, sizeof *fft);
    }
}

unsigned
dns_fft_log2n(const dns_fft *fft)
{
    return fft->log2n;
}

/* Floats of one thread's workspace: two tiles at most. */
static size_t
piece(const dns_fft *fft)
{
    return (size_t)4 << (fft->log2n + fft->ops->lanes_log2);
}

size_t
dns_fft_workspace(const dns_fft *fft, size_t threads)
{
    return piece(fft) * threads * sizeof(float);
}

typedef struct job {
    const dns_fft *fft;
    const float *x;
    float *y;
    ptrdiff_t ldx, ldy;
    size_t count, parts; /* rows or columns */
    float *ws;
} job;

static void
run(const job *all, dns_threads *threads, dns_threads_body body)
{
    job j = *all;
    j.parts = j.count << j.fft->log2n < SERIAL_ELEMENTS ? 1 : dns_threads_count(threads);
    dns_threads_run(threads, j.parts, body, &j);
}

/* First row or column of a part: whole groups of lanes. */
static size_t
begin_of(const job *j, size_t part)
{
    const size_t lanes = (size_t)1 << j->fft->ops->lanes_log2;
    const size_t begin = dns_part((j->count + lanes - 1) / lanes, j->parts, part) * lanes;
    return begin < j->count ? begin : j->count;
}

static void
rows_part(void *ctx, size_t part)
{
    const job *j = ctx;
    const size_t begin = begin_of(j, part);
    j->fft->ops->rows(j->fft, j->x + (ptrdiff_t)begin * j->ldx, j->ldx,
                      j->y + (ptrdiff_t)begin * j->ldy, j->ldy, begin_of(j, part + 1) - begin,
                      j->ws + part * piece(j->fft));
}

static void
columns_part(void *ctx, size_t part)
{
    const job *j = ctx;
    const size_t begin = begin_of(j, part);
    j->fft->ops->columns(j->fft, j->x + 2 * begin, j->ldx, j->y + 2 * begin, j->ldy,
                         begin_of(j, part + 1) - begin, j->ws + part * piece(j->fft));
}

void
dns_fft_rows(const dns_fft *fft, const float *x, ptrdiff_t ldx, float *y, ptrdiff_t ldy,
             size_t batch, void *ws, dns_threads *threads)
{
    const job j = {fft, x, y, ldx, ldy, batch, 1, ws};
    run(&j, threads, rows_part);
}

void
dns_fft_columns(const dns_fft *fft, const float *x, ptrdiff_t ldx, float *y, ptrdiff_t ldy,
                size_t columns, void *ws, dns_threads *threads)
{
    const job j = {fft, x, y, ldx, ldy, columns, 1, ws};
    run(&j, threads, columns_part);
}
