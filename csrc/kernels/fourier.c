/* Fourier mixing: workspace, the two steps and their split over threads. */
#include "kernels/fourier_internal.h"

#define SERIAL_ELEMENTS 32768 /* of a matrix; below this a wake-up costs more than it gives */
#define PAD 32 /* floats between rows of w, whose lines would else share cache sets */

DNS_OPS_SELECT(dns_fourier_ops)

/* Rows of w, and floats from one to the next. */
static size_t
pairs_of(const dns_fft *rows)
{
    return ((size_t)1 << rows->log2n) / 4 + 1;
}
static size_t
pitch_of(const dns_fft *cols)
{
    return ((size_t)2 << cols->log2n) + PAD;
}

/* Rows of w that are transformed together: short ones share vectors. */
static size_t
group_of(const dns_fft *cols)
{
    return cols->log2n >= 2 * cols->ops->lanes_log2 ? 1 : (size_t)1 << cols->ops->lanes_log2;
}

/* Floats of one thread: two tiles of columns, or one column beside its transform's own, or rows'
 * results beside theirs. */
static size_t
piece(const dns_fft *rows, const dns_fft *cols)
{
    const unsigned lanes_log2 = rows->ops->lanes_log2;
    const size_t tiles = ((size_t)4 << (rows->log2n + lanes_log2)) + ((size_t)4 << rows->log2n);
    const size_t results = (size_t)6 << (cols->log2n + lanes_log2);
    return tiles > results ? tiles : results;
}

size_t
dns_fourier_workspace(const dns_fft *rows, const dns_fft *cols, size_t threads)
{
    return (pairs_of(rows) * pitch_of(cols) + threads * piece(rows, cols)) * sizeof(float);
}

typedef struct split {
    const dns_fourier_ops *ops;
    fourier_job job;
    float *ws;
    size_t parts, piece;
} split;

/* Columns 0 to d / 2. Where those before the last fill whole tiles, it is transformed alone, by the
 * last part. */
static void
columns_part(void *ctx, size_t part)
{
    const split *s = ctx;
    const fourier_job *job = &s->job;
    const size_t wide = (size_t)2 << job->rows->ops->lanes_log2;
    const size_t half = ((size_t)1 << job->cols->log2n) / 2;
    const size_t tiles = (half + wide - 1) / wide;
    const size_t stop = dns_part(tiles, s->parts, part + 1);
    float *ws = s->ws + part * s->piece;
    for (size_t t = dns_part(tiles, s->parts, part); t < stop; t++) {
        s->ops->columns(job, t * wide, ws);
    }
    if (part == s->parts - 1 && half % wide == 0) {
        s->ops->middle(job, ws, ws + ((size_t)4 << job->rows->log2n));
    }
}

static void
rows_part(void *ctx, size_t part)
{
    const split *s = ctx;
    const fourier_job *job = &s->job;
    const dns_fft *fft = job->cols;
    const ptrdiff_t d2 = (ptrdiff_t)2 << fft->log2n;
    const size_t pairs = pairs_of(job->rows);
    const size_t group = group_of(fft);
    const size_t groups = (pairs + group - 1) / group;
    float *z = s->ws + part * s->piece;
    float *own = z + ((size_t)2 << (fft->log2n + fft->ops->lanes_log2));
    for (size_t g = dns_part(groups, s->parts, part); g < dns_part(groups, s->parts, part + 1);
         g++) {
        const size_t j = g * group;
        const size_t count = pairs - j < group ? pairs - j : group;
        fft->ops->rows(fft, job->w + j * job->pitch, (ptrdiff_t)job->pitch, z, d2, count, own);
        for (size_t i = 0; i < count; i++) {
            s->ops->unpack(job, j + i, z + (ptrdiff_t)i * d2);
        }
    }
}

void
dns_fourier_mix(const dns_fft *rows, const dns_fft *cols, const float *x, ptrdiff_t ldx, float *y,
                ptrdiff_t ldy, void *ws, dns_threads *threads)
{
    const size_t pitch = pitch_of(cols);
    float *w = ws;
    split s = {dns_fourier_ops_select(rows->ops->isa),
               {rows, cols, x, y, ldx, ldy, w, pitch},
               w + pairs_of(rows) * pitch,
               1,
               piece(rows, cols)};
    if ((size_t)1 << (rows->log2n + cols->log2n) >= SERIAL_ELEMENTS) {
        s.parts = dns_threads_count(threads);
    }
    dns_threads_run(threads, s.parts, columns_part, &s);
    dns_threads_run(threads, s.parts, rows_part, &s);
}
