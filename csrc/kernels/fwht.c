/* Walsh-Hadamard transform: the split over threads; filters from OVSF codes. */
#include "kernels/fwht_internal.h"

#include <string.h>

#include "dns/mem.h"

enum { OVSF_FLOATS = 2048 }; /* filters generated together: what stays in the first cache */

#define SERIAL_ELEMENTS 131072.0 /* times log2 n: below this a wake-up costs more than it gives */

DNS_OPS_SELECT(dns_fwht_ops)

typedef struct job {
    const dns_fwht_ops *ops;
    const float *x;
    float *y;
    ptrdiff_t ldx, ldy;
    size_t n; /* rows or columns */
    unsigned log2n;
    size_t parts;
} job;

static size_t
parts_of(const job *j, dns_threads *threads)
{
    const double work = (double)j->n * (double)((size_t)1 << j->log2n) * (double)j->log2n;
    return work < SERIAL_ELEMENTS * 8.0 ? 1 : dns_threads_count(threads);
}

static void
rows_part(void *ctx, size_t part)
{
    const job *j = ctx;
    const size_t first = dns_part(j->n, j->parts, part);
    const size_t stop = dns_part(j->n, j->parts, part + 1);
    j->ops->rows(j->x + (ptrdiff_t)first * j->ldx, j->ldx, j->y + (ptrdiff_t)first * j->ldy, j->ldy,
                 stop - first, j->log2n);
}

static void
columns_part(void *ctx, size_t part)
{
    enum { LINE = 16 };
    const job *j = ctx;
    const size_t lines = (j->n + LINE - 1) / LINE;
    const size_t first = dns_part(lines, j->parts, part) * LINE;
    const size_t end = dns_part(lines, j->parts, part + 1) * LINE;
    const size_t stop = end < j->n ? end : j->n;
    if (first < stop) {
        j->ops->columns(j->x + first, j->ldx, j->y + first, j->ldy, stop - first, j->log2n);
    }
}

void
dns_fwht_rows(dns_isa isa, const float *x, ptrdiff_t ldx, float *y, ptrdiff_t ldy, size_t batch,
              unsigned log2n, dns_threads *threads)
{
    job j = {dns_fwht_ops_select(isa), x, y, ldx, ldy, batch, log2n, 1};
    j.parts = parts_of(&j, threads);
    dns_threads_run(threads, j.parts, rows_part, &j);
}

void
dns_fwht_columns(dns_isa isa, const float *x, ptrdiff_t ldx, float *y, ptrdiff_t ldy,
                 size_t columns, unsigned log2n, dns_threads *threads)
{
    job j = {dns_fwht_ops_select(isa), x, y, ldx, ldy, columns, log2n, 1};
    j.parts = parts_of(&j, threads);
    dns_threads_run(threads, j.parts, columns_part, &j);
}

static size_t
bitrev(size_t i, unsigned bits)
{
    size_t r = 0;
    for (unsigned b = 0; b < bits; b++) {
        r |= (i >> b & 1) << (bits - 1 - b);
    }
    return r;
}

/* Filters that one transform generates. */
static size_t
group_of(unsigned log2n)
{
    const size_t n = (size_t)1 << log2n;
    return n < OVSF_FLOATS ? OVSF_FLOATS / n : 1;
}

size_t
dns_ovsf_workspace(unsigned log2n)
{
    return (group_of(log2n) << log2n) * sizeof(float);
}

/* Indices in range and distinct; flags is zeroed and left as it is. */
static dns_status
check_codes(const int64_t *index, size_t n_codes, size_t n, char *seen, dns_error *err)
{
    memset(seen, 0, n);
    for (size_t j = 0; j < n_codes; j++) {
        DNS_REQUIRE(index[j] >= 0 && index[j] < (int64_t)n, err, DNS_ERR_VALUE, j,
                    "index: element %zu: expected a code in [0, %zu), got %lld", j, n,
                    (long long)index[j]);
        DNS_REQUIRE(!seen[index[j]], err, DNS_ERR_VALUE, j,
                    "index: element %zu: expected distinct codes, got %lld twice", j,
                    (long long)index[j]);
        seen[index[j]] = 1;
    }
    return DNS_OK;
}

static void
crop_filter(const float *filter, dns_ovsf_crop crop, float *w)
{
    for (size_t r = 0; r < crop.rows; r++) {
        memcpy(w + r * crop.cols, filter + r * crop.pitch, crop.cols * sizeof *w);
    }
}

dns_status
dns_ovsf(dns_isa isa, const float *alpha, size_t filters, const int64_t *index, size_t n_codes,
         unsigned log2n, dns_ovsf_crop crop, float *w, void *ws, dns_error *err)
{
    DNS_REQUIRE(log2n <= DNS_FWHT_MAX_LOG2, err, DNS_ERR_VALUE, -1,
                "length: expected at most 2^%d, got 2^%u", DNS_FWHT_MAX_LOG2, log2n);
    const size_t n = (size_t)1 << log2n;
    DNS_REQUIRE(crop.pitch >= 1 && crop.cols <= crop.pitch && crop.rows <= n / crop.pitch, err,
                DNS_ERR_VALUE, -1,
                "crop: expected at most %zu x %zu of a filter of %zu elements, got %zu x %zu",
                crop.pitch >= 1 ? n / crop.pitch : 0, crop.pitch, n, crop.rows, crop.cols);
    DNS_TRY(check_codes(index, n_codes, n, ws, err));
    const dns_fwht_ops *ops = dns_fwht_ops_select(isa);
    const size_t group = group_of(log2n);
    const size_t kept = crop.rows * crop.cols;
    float *buffer = ws;
    for (size_t f = 0; f < filters && kept > 0; f += group) {
        const size_t here = filters - f < group ? filters - f : group;
        memset(buffer, 0, here * n * sizeof *buffer);
        for (size_t j = 0; j < n_codes; j++) {
            const size_t row = bitrev((size_t)index[j], log2n);
            for (size_t g = 0; g < here; g++) {
                buffer[g * n + row] = alpha[(f + g) * n_codes + j];
            }
        }
        ops->rows(buffer, (ptrdiff_t)n, buffer, (ptrdiff_t)n, here, log2n);
        for (size_t g = 0; g < here; g++) {
            crop_filter(buffer + g * n, crop, w + (f + g) * kept);
        }
    }
    return DNS_OK;
}
