/* Fourier mixing: workspace, the two steps and their split over threads. */
#include "kernels/fourier_internal.h"

#include <stdbool.h>

#define SERIAL_ELEMENTS 32768 /* of a matrix; below this a wake-up costs more than it gives */
#define PAD 32 /* floats between tiles and between rows of w, whose lines would else share sets */

DNS_OPS_SELECT(dns_fourier_ops)

static size_t
tile_floats(const dns_fft *rows)
{
    return ((size_t)2 << (rows->log2n + rows->ops->lanes_log2)) + PAD;
}

/* Tiles; where they hold whole vectors the column in the middle is transformed alone. */
static size_t
tiles_of(const dns_fft *cols)
{
    const size_t wide = (size_t)2 << cols->ops->lanes_log2;
    return (((size_t)1 << cols->log2n) / 2 + wide - 1) / wide;
}
static bool
alone(const dns_fft *cols)
{
    return cols->log2n >= cols->ops->lanes_log2 + 2;
}

/* Floats of one row of w. */
static size_t
pitch_of(const dns_fft *cols)
{
    return ((size_t)2 << cols->log2n) + PAD;
}

/* Rows of w that are made and transformed together: short ones share vectors. */
static size_t
group_of(const dns_fft *cols)
{
    return cols->log2n >= 2 * cols->ops->lanes_log2 ? 1 : (size_t)1 << cols->ops->lanes_log2;
}

/* Floats of a transform's own workspace. */
static size_t
own_floats(const dns_fft *fft)
{
    return (size_t)4 << (fft->log2n + fft->ops->lanes_log2);
}

/* Floats of one thread: a column, or rows and their results, beside what their transforms need. The
 * former holds a tile. */
static size_t
piece(const dns_fft *rows, const dns_fft *cols)
{
    const size_t column = ((size_t)2 << rows->log2n) + own_floats(rows);
    const size_t group =
        group_of(cols) * (pitch_of(cols) + ((size_t)2 << cols->log2n)) + own_floats(cols);
    return column > group ? column : group;
}

size_t
dns_fourier_workspace(const dns_fft *rows, const dns_fft *cols, size_t threads)
{
    return (tiles_of(cols) * tile_floats(rows) + ((size_t)2 << rows->log2n) +
            threads * piece(rows, cols)) *
           sizeof(float);
}

typedef struct split {
    const dns_fourier_ops *ops;
    fourier_job job;
    float *ws;
    size_t parts, piece;
} split;

/* Spectra of columns 0 to d / 2. */
static void
columns_part(void *ctx, size_t part)
{
    const split *s = ctx;
    const fourier_job *job = &s->job;
    const dns_fft *fft = job->rows;
    const size_t tiles = tiles_of(job->cols);
    const size_t first = dns_part(tiles, s->parts, part);
    const size_t stop = dns_part(tiles, s->parts, part + 1);
    float *ws = s->ws + part * s->piece;
    s->ops->gather(job, first, stop, ws);
    for (size_t k = first; k < stop; k++) {
        float *u = job->u + k * job->slot;
        fft->ops->tile(fft, k + 1 < stop ? u + job->slot : ws, u);
    }
    if (part == s->parts - 1 && alone(job->cols)) {
        const ptrdiff_t ld = (ptrdiff_t)2 << fft->log2n;
        s->ops->middle(job, ws);
        fft->ops->rows(fft, ws, ld, job->middle, ld, 1, ws + ld);
    }
}

static void
rows_part(void *ctx, size_t part)
{
    const split *s = ctx;
    const fourier_job *job = &s->job;
    const dns_fft *fft = job->cols;
    const ptrdiff_t d2 = (ptrdiff_t)2 << fft->log2n;
    const ptrdiff_t pitch = (ptrdiff_t)pitch_of(fft);
    const size_t pairs = ((size_t)1 << job->rows->log2n) / 4 + 1;
    const size_t group = group_of(fft);
    const size_t groups = (pairs + group - 1) / group;
    float *w = s->ws + part * s->piece;
    float *z = w + (ptrdiff_t)group * pitch;
    float *own = z + (ptrdiff_t)group * d2;
    for (size_t g = dns_part(groups, s->parts, part); g < dns_part(groups, s->parts, part + 1);
         g++) {
        const size_t j = g * group;
        const size_t count = pairs - j < group ? pairs - j : group;
        s->ops->pack(job, j, count, w, (size_t)pitch);
        fft->ops->rows(fft, w, pitch, z, d2, count, own);
        for (size_t i = 0; i < count; i++) {
            s->ops->unpack(job, j + i, z + (ptrdiff_t)i * d2);
        }
    }
}

void
dns_fourier_mix(const dns_fft *rows, const dns_fft *cols, const float *x, ptrdiff_t ldx, float *y,
                ptrdiff_t ldy, void *ws, dns_threads *threads)
{
    const size_t slot = tile_floats(rows);
    float *u = ws;
    float *middle = u + tiles_of(cols) * slot;
    split s = {dns_fourier_ops_select(rows->ops->isa),
               {rows, cols, x, y, ldx, ldy, u, slot, middle},
               middle + ((size_t)2 << rows->log2n),
               1,
               piece(rows, cols)};
    if ((size_t)1 << (rows->log2n + cols->log2n) >= SERIAL_ELEMENTS) {
        s.parts = dns_threads_count(threads);
    }
    dns_threads_run(threads, s.parts, columns_part, &s);
    dns_threads_run(threads, s.parts, rows_part, &s);
}
