/* Sparse, direct and depthwise convolutions: packing of weights, padding of images, the split over
 * threads.
 *
 * The padded image of a channel is cut into stride_h x stride_w phases, phase (a, b) holding the
 * positions (a + k*stride_h, b + l*stride_w): a tap reads stretches of one phase at unit stride.
 * Without strides there is one phase. All channels of an image are padded first, then every tile of
 * flat positions is computed for CHUNK output channels at a time, by blocks of input channels that
 * fit the first cache. The stream of weights is ordered by chunk, block, output channel, (c, i, j).
 * Where the image is a matrix as it lies, conv_product.c takes the place of all this.
 *
 * Direct: all weights, in panels of some output channels. A tile of many flat positions takes
 * DIRECT_ROWS output channels at a time, whose sums stay in the second cache over the blocks of
 * input channels.
 *
 * Depthwise: the same as sparse with one channel at a time, padded in the thread's own workspace,
 * and every tap stored. Channels last without a multiplier, and channels first with the common
 * small kernels, have kernels of their own that read the image where it lies (conv_isa.c).
 */
#include <string.h>

#include "kernels/conv_internal.h"

enum {
    CHUNK = 32,            /* output channels that share a block of the padded image */
    BLOCK_NNZ = 16,        /* weights per output channel and block, about */
    BLOCK_MIN = 8,         /* input channels */
    BLOCK_BYTES = 40960,   /* of the image that a tile reads in one block */
    PADDED_MAX = 1 << 30,  /* elements, so that byte offsets fit 32 bits */
    DIRECT_ROWS = 48,      /* output channels of a chunk: a multiple of CONV_PANEL */
    DIRECT_TAPS = 288,     /* weights per output channel and block, about */
    DIRECT_SUMS = 1 << 16, /* floats of the sums of a chunk and tile, about */
    SLACK = 16 * 16        /* floats behind the image that the last tile may read */
};

typedef struct sparse_conv {
    conv_plan head;
    const dns_conv_ops *ops;
    bool depthwise, direct;
    size_t pitch, plane, phases; /* floats of a padded row and phase; phases of a channel */
    size_t phase_rows;
    size_t vectors, tiles;  /* of an image's flat positions */
    size_t block, n_blocks; /* input channels of a group */
    size_t chunks;          /* of a group's output channels */
    size_t chunk_rows;      /* output channels of a chunk */
    uint32_t *offsets;      /* [cols] of taps, direct only */
    float *panels;          /* [O][cols] in panels, direct only */
    uint32_t *counts;       /* [n_blocks][O] */
    size_t *starts;         /* [groups * chunks * n_blocks] first entry */
    conv_entry *entries;    /* [nnz]; none with taps */
    float *taps;            /* of the kernels without padding; [kernel_h * kernel_w][C] if channels
                               are last, [O][kernel_h * kernel_w] if first */
} sparse_conv;

typedef struct job {
    const sparse_conv *plan;
    const dns_call *call;
    size_t image;
    size_t threads;
    size_t parts;
} job;

DNS_OPS_SELECT(dns_conv_ops)

static size_t
depth_of(const dns_conv *conv)
{
    return conv->channels / conv->groups;
}

static size_t
taps_of(const dns_conv *conv)
{
    return (size_t)conv->window.kernel_h * (size_t)conv->window.kernel_w;
}

/* ---- geometry -------------------------------------------------------------------------------- */

/* Sets pitch, planes and tiles; false when the padded image is too large. */
static bool
lay_out(sparse_conv *plan)
{
    const dns_window *g = &plan->head.conv.window;
    const int64_t wide = (int64_t)g->in_w + 2 * (int64_t)g->pad_w;
    const int64_t high = (int64_t)g->in_h + 2 * (int64_t)g->pad_h;
    const int64_t shared = (int64_t)g->in_w + g->pad_w;
    int64_t pitch = g->stride_w == 1 ? shared : (wide + g->stride_w - 1) / g->stride_w;
    pitch = pitch < g->out_w ? g->out_w : pitch;
    /* Taps of different rows have different offsets, by which weights are found again. */
    const int64_t reach = (int64_t)g->dilation_w * (g->kernel_w - 1) / g->stride_w;
    pitch = pitch <= reach ? reach + 1 : pitch;
    plan->pitch = (size_t)pitch;
    plan->phases = (size_t)g->stride_h * (size_t)g->stride_w;
    plan->phase_rows = (size_t)((high + g->stride_h - 1) / g->stride_h);
    /* An odd number of cache lines: channels do not share cache sets. */
    size_t lines = 0;
    if (!dns_mul_size(plan->phase_rows, plan->pitch, &lines) || lines > PADDED_MAX) {
        return false;
    }
    lines = (lines + (size_t)g->pad_w + 15) / 16 | 1;
    plan->plane = lines * 16;
    const size_t flat = (size_t)(g->out_h - 1) * plan->pitch + (size_t)g->out_w;
    const size_t lanes = plan->ops->lanes;
    plan->vectors = (flat + lanes - 1) / lanes;
    plan->tiles = (plan->vectors + plan->ops->tile_vectors - 1) / plan->ops->tile_vectors;
    size_t all = 0;
    return plan->phases <= PADDED_MAX && dns_mul_size(plan->plane, plan->phases, &all) &&
           dns_mul_size(all, plan->head.conv.channels, &all) && all <= PADDED_MAX;
}

/* Floats of the padding of `channels` channels, and what may be read behind them. */
static size_t
padded_floats(const sparse_conv *plan, size_t channels)
{
    return plan->plane * plan->phases * channels + SLACK;
}

/* Byte offset of tap k of a channel relative to the group's (depthwise: the channel's) first. */
static uint32_t
offset_of(const sparse_conv *plan, size_t channel, size_t k)
{
    const dns_window *g = &plan->head.conv.window;
    const size_t i = k / (size_t)g->kernel_w * (size_t)g->dilation_h;
    const size_t j = k % (size_t)g->kernel_w * (size_t)g->dilation_w;
    const size_t sh = (size_t)g->stride_h;
    const size_t sw = (size_t)g->stride_w;
    const size_t phase = channel * plan->phases + i % sh * sw + j % sw;
    return (uint32_t)((phase * plan->plane + i / sh * plan->pitch + j / sw) * sizeof(float));
}

/* Whether some tap reads phase a of an axis. */
static bool
is_used(int32_t a, int32_t kernel, int32_t dilation, int32_t stride)
{
    for (int32_t i = 0; i < kernel && i < stride; i++) {
        if ((int64_t)i * dilation % stride == a) {
            return true;
        }
    }
    return false;
}

/* Phase (a, b) of a channel's padding; element (u, v) of the channel is x[(u*W + v) * pixel]. */
static void
pad_phase(const sparse_conv *plan, const float *x, ptrdiff_t pixel, int32_t a, int32_t b, float *to)
{
    const dns_window *g = &plan->head.conv.window;
    if (pixel == 1 && g->stride_w == 1) {
        const conv_pad rows = {.x = x,
                               .height = g->in_h,
                               .first = (int64_t)a - g->pad_h,
                               .step = g->stride_h,
                               .width = (size_t)g->in_w,
                               .left = (size_t)g->pad_w,
                               .rows = plan->phase_rows,
                               .pitch = plan->pitch,
                               .to = to};
        plan->ops->pad(&rows);
        return;
    }
    for (size_t r = 0; r < plan->phase_rows; r++, to += plan->pitch) {
        const int64_t row = (int64_t)r * g->stride_h + a - g->pad_h;
        const bool inside = row >= 0 && row < g->in_h;
        dns_conv_take(inside ? x + row * g->in_w * pixel : NULL, g->in_w, pixel,
                      (int64_t)b - g->pad_w, g->stride_w, plan->pitch, to);
    }
}

/* Pads one channel of an image into its phases. */
static void
pad_channel(const sparse_conv *plan, const float *image, size_t channel, float *to)
{
    const dns_conv *conv = &plan->head.conv;
    const dns_window *g = &conv->window;
    const bool last = conv->layout == DNS_NHWC;
    const ptrdiff_t pixel = last ? (ptrdiff_t)conv->channels : 1;
    const float *x = image + (last ? channel : channel * (size_t)g->in_h * (size_t)g->in_w);
    for (int32_t a = 0; a < g->stride_h; a++) {
        for (int32_t b = 0; b < g->stride_w; b++, to += plan->plane) {
            if (is_used(a, g->kernel_h, g->dilation_h, g->stride_h) &&
                is_used(b, g->kernel_w, g->dilation_w, g->stride_w)) {
                const size_t end = plan->phase_rows * plan->pitch;
                pad_phase(plan, x, pixel, a, b, to);
                memset(to + end, 0, (plan->plane - end) * sizeof *to);
            }
        }
    }
}

/* ---- execution ------------------------------------------------------------------------------- */

/* Tile t of the output channels of one chunk, from row on: place and ends of the sums. */
static conv_run
run_of(const sparse_conv *plan, const float *padded, float *y, size_t t, size_t row, float *sums)
{
    const dns_plan *base = &plan->head.base;
    const dns_conv *conv = &plan->head.conv;
    const size_t m = base->rows / conv->groups;
    const size_t left = m - row % m;
    const size_t first = dns_part(plan->vectors, plan->tiles, t);
    const bool last = conv->layout == DNS_NHWC;
    const size_t pixels = (size_t)conv->window.out_h * (size_t)conv->window.out_w;
    return (conv_run){.n_rows = left < plan->chunk_rows ? left : plan->chunk_rows,
                      .x = padded + first * plan->ops->lanes,
                      .sums = sums,
                      .bias = base->bias + row,
                      .act = base->act,
                      .vectors = dns_part(plan->vectors, plan->tiles, t + 1) - first,
                      .first = first * plan->ops->lanes,
                      .width_flat = plan->pitch,
                      .out_h = (size_t)conv->window.out_h,
                      .out_w = (size_t)conv->window.out_w,
                      .y = y + row * (last ? 1 : pixels),
                      .y_row = last ? 1 : (ptrdiff_t)pixels,
                      .y_pixel = last ? (ptrdiff_t)conv->outputs : 1};
}

/* Output channel at which a chunk begins. */
static size_t
row_of(const sparse_conv *plan, size_t chunk)
{
    const size_t m = plan->head.base.rows / plan->head.conv.groups;
    return chunk / plan->chunks * m + chunk % plan->chunks * plan->chunk_rows;
}

/* Tile t of the output channels of one chunk; `padded` is the padding of the group's channels. */
static void
compute(const sparse_conv *plan, const float *padded, float *y, size_t t, size_t chunk, float *sums)
{
    const size_t row = row_of(plan, chunk);
    conv_run run = run_of(plan, padded, y, t, row, sums);
    for (size_t b = 0; b < plan->n_blocks; b++) {
        run.counts = plan->counts + b * plan->head.base.rows + row;
        run.entries = plan->entries + plan->starts[chunk * plan->n_blocks + b];
        run.last = b + 1 == plan->n_blocks;
        plan->ops->run(&run);
        run.bias = NULL;
    }
}

/* The same with all weights. */
static void
compute_direct(const sparse_conv *plan, const float *padded, float *y, size_t t, size_t chunk,
               float *sums)
{
    const size_t cols = plan->head.base.cols;
    const size_t row = row_of(plan, chunk);
    const size_t step = plan->block * taps_of(&plan->head.conv);
    conv_direct_run run = {.at = run_of(plan, padded, y, t, row, sums),
                           .w = plan->panels + row * cols};
    for (size_t k = 0; k < cols; k += step) {
        run.offsets = plan->offsets + k;
        run.n_taps = cols - k < step ? cols - k : step;
        run.at.last = k + step >= cols;
        plan->ops->direct(&run);
        run.w += run.at.n_rows * run.n_taps;
        run.at.bias = NULL;
    }
}

static size_t
sums_floats(const sparse_conv *plan)
{
    if (plan->direct) {
        return plan->chunk_rows * ((plan->vectors + plan->tiles - 1) / plan->tiles) *
               plan->ops->lanes;
    }
    return CHUNK * plan->ops->tile_vectors * plan->ops->lanes;
}

static void
pad_part(void *ctx, size_t part)
{
    const job *j = ctx;
    const sparse_conv *plan = j->plan;
    const size_t channels = plan->head.conv.channels;
    const float *image = j->call->x + (ptrdiff_t)j->image * j->call->ldx;
    const size_t stop = dns_part(channels, j->parts, part + 1);
    for (size_t c = dns_part(channels, j->parts, part); c < stop; c++) {
        pad_channel(plan, image, c, (float *)j->call->ws + c * plan->phases * plan->plane);
    }
}

static void
tile_part(void *ctx, size_t part)
{
    const job *j = ctx;
    const sparse_conv *plan = j->plan;
    const dns_conv *conv = &plan->head.conv;
    const size_t chunks = plan->chunks * conv->groups;
    const size_t stop = dns_part(plan->tiles * chunks, j->parts, part + 1);
    const float *padded = j->call->ws;
    float *y = j->call->y + (ptrdiff_t)j->image * j->call->ldy;
    float *sums = (float *)j->call->ws + padded_floats(plan, conv->channels) +
                  part % j->threads * sums_floats(plan);
    for (size_t p = dns_part(plan->tiles * chunks, j->parts, part); p < stop; p++) {
        /* All weights are more than an image: then a chunk passes all tiles before the next. */
        const size_t chunk = plan->direct ? p / plan->tiles : p % chunks;
        const size_t t = plan->direct ? p % plan->tiles : p / chunks;
        const size_t group = chunk / plan->chunks;
        const float *x = padded + group * depth_of(conv) * plan->phases * plan->plane;
        (plan->direct ? compute_direct : compute)(plan, x, y, t, chunk, sums);
    }
}

static size_t
flops_threads(const sparse_conv *plan, const dns_call *call)
{
    const dns_window *g = &plan->head.conv.window;
    return dns_plan_threads(&plan->head.base, (size_t)g->out_h * (size_t)g->out_w * call->n,
                            call->threads);
}

static void
sparse_run(const dns_plan *base, const dns_call *call)
{
    const sparse_conv *plan = (const sparse_conv *)base;
    const size_t threads = flops_threads(plan, call);
    const size_t floats = padded_floats(plan, plan->head.conv.channels);
    memset((float *)call->ws + floats - SLACK, 0, SLACK * sizeof(float));
    for (size_t image = 0; image < call->n; image++) {
        job j = {plan, call, image, threads, threads};
        dns_threads_run(threads > 1 ? call->threads : NULL, threads, pad_part, &j);
        dns_threads_run(threads > 1 ? call->threads : NULL, threads, tile_part, &j);
    }
}

static void
depthwise_part(void *ctx, size_t part)
{
    const job *j = ctx;
    const sparse_conv *plan = j->plan;
    const size_t channels = plan->head.conv.channels;
    const size_t floats = padded_floats(plan, 1);
    float *padded = (float *)j->call->ws + part % j->threads * (floats + sums_floats(plan));
    const size_t stop = dns_part(channels * j->call->n, j->parts, part + 1);
    memset(padded + floats - SLACK, 0, SLACK * sizeof *padded);
    for (size_t p = dns_part(channels * j->call->n, j->parts, part); p < stop; p++) {
        const ptrdiff_t image = (ptrdiff_t)(p / channels);
        pad_channel(plan, j->call->x + image * j->call->ldx, p % channels, padded);
        for (size_t chunk = 0; chunk < plan->chunks; chunk++) {
            for (size_t t = 0; t < plan->tiles; t++) {
                compute(plan, padded, j->call->y + image * j->call->ldy, t,
                        p % channels * plan->chunks + chunk, padded + floats);
            }
        }
    }
}

static void
depthwise_last_part(void *ctx, size_t part)
{
    const job *j = ctx;
    const sparse_conv *plan = j->plan;
    const dns_plan *base = &plan->head.base;
    const dns_conv *conv = &plan->head.conv;
    const size_t high = (size_t)conv->window.out_h;
    const size_t width = (size_t)conv->window.out_w * conv->channels;
    const size_t stop = dns_part(high * j->call->n, j->parts, part + 1);
    for (size_t p = dns_part(high * j->call->n, j->parts, part); p < stop; p++) {
        const ptrdiff_t image = (ptrdiff_t)(p / high);
        const conv_dw_run run = {conv,
                                 j->call->x + image * j->call->ldx,
                                 plan->taps,
                                 base->bias,
                                 base->act,
                                 p % high,
                                 j->call->y + image * j->call->ldy + (ptrdiff_t)(p % high * width)};
        plan->ops->depthwise(&run);
    }
}

static void
planes_part(void *ctx, size_t part)
{
    const job *j = ctx;
    const sparse_conv *plan = j->plan;
    const dns_plan *base = &plan->head.base;
    const size_t planes = base->rows;
    const size_t stop = dns_part(planes * j->call->n, j->parts, part + 1);
    for (size_t p = dns_part(planes * j->call->n, j->parts, part); p < stop;) {
        const size_t image = p / planes;
        const size_t end = stop < (image + 1) * planes ? stop : (image + 1) * planes;
        const conv_planes_run run = {&plan->head.conv,
                                     j->call->x + (ptrdiff_t)image * j->call->ldx,
                                     plan->taps,
                                     base->bias,
                                     base->act,
                                     p - image * planes,
                                     end - image * planes,
                                     j->call->y + (ptrdiff_t)image * j->call->ldy};
        plan->ops->planes(&run);
        p = end;
    }
}

static void
depthwise_run(const dns_plan *base, const dns_call *call)
{
    const sparse_conv *plan = (const sparse_conv *)base;
    const size_t threads = flops_threads(plan, call);
    job j = {plan, call, 0, threads, threads};
    void (*const last)(void *, size_t) =
        plan->head.conv.layout == DNS_NCHW ? planes_part : depthwise_last_part;
    dns_threads_run(threads > 1 ? call->threads : NULL, threads,
                    plan->taps != NULL ? last : depthwise_part, &j);
}

static bool
sparse_workspace(const dns_plan *base, size_t n, size_t threads, size_t *bytes)
{
    const sparse_conv *plan = (const sparse_conv *)base;
    (void)n;
    size_t floats = 0;
    if (plan->taps != NULL) {
        *bytes = 0;
        return true;
    }
    const size_t whole = plan->depthwise ? 0 : padded_floats(plan, plan->head.conv.channels);
    const size_t each = sums_floats(plan) + (plan->depthwise ? padded_floats(plan, 1) : 0);
    return dns_mul_size(each, threads, &floats) && dns_add_size(floats, whole, &floats) &&
           dns_mul_size(floats, sizeof(float), bytes);
}

static void
sparse_work(const dns_plan *base, size_t n, const dns_machine *machine, dns_work *work)
{
    const sparse_conv *plan = (const sparse_conv *)base;
    const dns_conv *conv = &plan->head.conv;
    const dns_window *g = &conv->window;
    const double images = (double)n;
    const double out = (double)g->out_h * g->out_w;
    const double x = 4.0 * (double)conv->channels * g->in_h * g->in_w;
    const double y = 4.0 * (double)conv->outputs * out;
    const double flat = (double)(plan->vectors * plan->ops->lanes);
    work->flops = 2.0 * (double)base->nnz * out * images;
    dns_work_add(work, machine, images * (x + y), images * (x + y));
    if (plan->taps != NULL &&
        conv->layout == DNS_NCHW) { /* a row is read once per column of taps */
        dns_work_add(work, machine, x / (double)conv->channels, y * g->kernel_w * images);
        return;
    }
    if (plan->taps != NULL) {
        dns_work_add(work, machine, 4.0 * (double)base->nnz,
                     4.0 * (double)base->nnz * out * images);
        return;
    }
    if (plan->direct) {
        const double image = 4.0 * (double)padded_floats(plan, conv->channels);
        const double block = 4.0 * (double)(plan->block * plan->phases * plan->plane);
        const double weights = 4.0 * (double)base->nnz;
        dns_work_add(work, machine, block, weights * flat / CONV_PANEL * images);
        dns_work_add(work, machine, weights, weights * (double)plan->tiles * images);
        dns_work_add(work, machine, image, image * (double)plan->chunks * images);
        return;
    }
    const double stream = (double)(base->nnz * sizeof(conv_entry));
    const double padded = 4.0 * (double)padded_floats(plan, plan->depthwise ? 1 : conv->channels);
    const double tile = 4.0 * (double)(plan->block * plan->plane) / (double)plan->tiles;
    const double passes = (double)(plan->chunks * (plan->depthwise ? 1 : conv->groups));
    dns_work_add(work, machine, tile, 4.0 * (double)base->nnz * flat * images);
    dns_work_add(work, machine, stream, stream * (double)plan->tiles * images);
    dns_work_add(work, machine, padded, padded * passes * images);
}

/* ---- creation -------------------------------------------------------------------------------- */

/* Whether a kernel takes this depthwise convolution without a padded copy. */
static bool
reads_image(const dns_conv *conv)
{
    const dns_window *g = &conv->window;
    const bool unit =
        g->stride_h == 1 && g->stride_w == 1 && g->dilation_h == 1 && g->dilation_w == 1;
    const bool small = g->kernel_h == g->kernel_w && (g->kernel_h == 3 || g->kernel_h == 5);
    return conv->layout == DNS_NCHW ? unit && small : conv->outputs == conv->channels;
}

/* Place in taps of the at-th weight. */
static size_t
tap_place(const sparse_conv *plan, size_t at)
{
    const dns_plan *base = &plan->head.base;
    return plan->head.conv.layout == DNS_NCHW ? at : at % base->cols * base->rows + at / base->cols;
}

/* Weights [O][cols] into the panels, or out of them. The panels lie in the order of their use. */
static void
move_panels(const sparse_conv *plan, float *w, bool into)
{
    const dns_plan *base = &plan->head.base;
    const size_t m = base->rows / plan->head.conv.groups;
    const size_t step = plan->block * taps_of(&plan->head.conv);
    float *packed = plan->panels;
    for (size_t row = 0, n = 0; row < base->rows; row += n) {
        const size_t left = m - row % m;
        n = left < DIRECT_ROWS ? left : DIRECT_ROWS;
        for (size_t k = 0; k < base->cols; k += step) {
            const size_t taps = base->cols - k < step ? base->cols - k : step;
            for (size_t i = 0, rows = 0; i < n; i += rows, packed += rows * taps) {
                rows = conv_panel_rows(n - i);
                for (size_t at = 0; at < rows * taps; at++) {
                    float *plain = w + (row + i + at % rows) * base->cols + k + at / rows;
                    *(into ? packed + at : plain) = into ? *plain : packed[at];
                }
            }
        }
    }
}

static void
sparse_to_dense(const dns_plan *base, float *w)
{
    const sparse_conv *plan = (const sparse_conv *)base;
    const dns_conv *conv = &plan->head.conv;
    const size_t taps = taps_of(conv);
    if (plan->taps != NULL) {
        for (size_t at = 0; at < base->nnz; at++) {
            w[at] = plan->taps[tap_place(plan, at)];
        }
        return;
    }
    if (plan->direct) {
        move_panels(plan, w, false);
        return;
    }
    const size_t m = base->rows / conv->groups;
    for (size_t chunk = 0; chunk < plan->chunks * conv->groups; chunk++) {
        const size_t row = chunk / plan->chunks * m + chunk % plan->chunks * CHUNK;
        const size_t left = m - chunk % plan->chunks * CHUNK;
        for (size_t b = 0; b < plan->n_blocks; b++) {
            const conv_entry *e = plan->entries + plan->starts[chunk * plan->n_blocks + b];
            for (size_t r = row; r < row + (left < CHUNK ? left : CHUNK); r++) {
                size_t at = b * plan->block * taps;
                for (uint32_t n = 0; n < plan->counts[b * base->rows + r]; n++, e++) {
                    while (offset_of(plan, at / taps, at % taps) != e->offset) {
                        at++;
                    }
                    w[r * base->cols + at++] = e->value;
                }
            }
        }
    }
}

static void
sparse_destroy(dns_plan *base)
{
    sparse_conv *plan = (sparse_conv *)base;
    const dns_alloc *alloc = &base->alloc;
    const size_t n_starts = plan->head.conv.groups * plan->chunks * plan->n_blocks;
    dns_mem_free(alloc, plan->counts, plan->n_blocks * base->rows, sizeof *plan->counts);
    dns_mem_free(alloc, plan->starts, n_starts, sizeof *plan->starts);
    dns_mem_free(alloc, plan->entries, base->nnz, sizeof *plan->entries);
    dns_mem_free(alloc, plan->taps, base->nnz, sizeof *plan->taps);
    dns_mem_free(alloc, plan->panels, base->nnz, sizeof *plan->panels);
    dns_mem_free(alloc, plan->offsets, base->cols, sizeof *plan->offsets);
}

/* Writes the stream of one block of one output channel; returns the entry behind it. */
static conv_entry *
pack_row(const sparse_conv *plan, const float *w, size_t row, size_t b, conv_entry *e)
{
    const size_t taps = taps_of(&plan->head.conv);
    const size_t cols = plan->head.base.cols;
    const size_t stop = (b + 1) * plan->block * taps;
    conv_entry *const begin = e;
    for (size_t at = b * plan->block * taps; at < cols && at < stop; at++) {
        const float v = w[row * cols + at];
        if (v != 0.0F || plan->depthwise) {
            *e++ = (conv_entry){offset_of(plan, at / taps, at % taps), v};
        }
    }
    plan->counts[b * plan->head.base.rows + row] = (uint32_t)(e - begin);
    return e;
}

static void
pack_all(sparse_conv *plan, const float *w)
{
    const dns_conv *conv = &plan->head.conv;
    const size_t m = plan->head.base.rows / conv->groups;
    conv_entry *e = plan->entries;
    for (size_t chunk = 0; chunk < plan->chunks * conv->groups; chunk++) {
        const size_t row = chunk / plan->chunks * m + chunk % plan->chunks * CHUNK;
        const size_t left = m - chunk % plan->chunks * CHUNK;
        for (size_t b = 0; b < plan->n_blocks; b++) {
            plan->starts[chunk * plan->n_blocks + b] = (size_t)(e - plan->entries);
            for (size_t r = row; r < row + (left < CHUNK ? left : CHUNK); r++) {
                e = pack_row(plan, w, r, b, e);
            }
        }
    }
}

/* Input channels of a block: about BLOCK_NNZ weights per output channel, within the first cache. */
static size_t
block_channels(const sparse_conv *plan)
{
    const dns_conv *conv = &plan->head.conv;
    const dns_window *g = &conv->window;
    const double each =
        (double)plan->head.base.nnz / (double)conv->outputs / (double)depth_of(conv);
    const size_t tile = plan->ops->tile_vectors * plan->ops->lanes;
    const size_t reach = (size_t)(g->dilation_h * (g->kernel_h - 1) / g->stride_h) * plan->pitch;
    const size_t fit = BLOCK_BYTES / ((tile + reach) * sizeof(float));
    const double want = each > 0.0 ? BLOCK_NNZ / each : (double)fit;
    size_t block = want < (double)fit ? fit : (size_t)(want < 1e6 ? want : 1e6);
    block = block < BLOCK_MIN ? BLOCK_MIN : block;
    return block < depth_of(conv) ? block : depth_of(conv);
}

static dns_status
fill_direct(sparse_conv *plan, const float *w)
{
    dns_plan *base = &plan->head.base;
    const size_t taps = taps_of(&plan->head.conv);
    const size_t depth = depth_of(&plan->head.conv);
    const size_t sums = DIRECT_SUMS / DIRECT_ROWS / plan->ops->lanes;
    plan->block = taps < DIRECT_TAPS ? DIRECT_TAPS / taps : 1;
    plan->block = plan->block < depth ? plan->block : depth;
    plan->chunks = (base->rows / plan->head.conv.groups + DIRECT_ROWS - 1) / DIRECT_ROWS;
    plan->chunk_rows = DIRECT_ROWS;
    plan->tiles = (plan->vectors + sums - 1) / sums;
    plan->panels = dns_mem_new(&base->alloc, base->nnz, sizeof *plan->panels);
    plan->offsets = dns_mem_new(&base->alloc, base->cols, sizeof *plan->offsets);
    if (plan->panels == NULL || plan->offsets == NULL) {
        return DNS_ERR_MEMORY;
    }
    for (size_t at = 0; at < base->cols; at++) {
        plan->offsets[at] = offset_of(plan, at / taps, at % taps);
    }
    move_panels(plan, (float *)w, true); /* read only */
    base->bytes += base->nnz * sizeof *plan->panels + base->cols * sizeof *plan->offsets;
    return DNS_OK;
}

/* Packs the weights of a plan whose geometry is set; what was allocated stays in the plan. */
static dns_status
fill(sparse_conv *plan, const float *w)
{
    dns_plan *base = &plan->head.base;
    const dns_conv *conv = &plan->head.conv;
    if (plan->depthwise && reads_image(conv)) {
        plan->taps = dns_mem_new(&base->alloc, base->nnz, sizeof *plan->taps);
        for (size_t at = 0; plan->taps != NULL && at < base->nnz; at++) {
            plan->taps[tap_place(plan, at)] = w[at];
        }
        base->bytes += base->nnz * sizeof *plan->taps;
        return plan->taps == NULL ? DNS_ERR_MEMORY : DNS_OK;
    }
    if (plan->direct) {
        return fill_direct(plan, w);
    }
    plan->block = block_channels(plan);
    plan->n_blocks = (depth_of(conv) + plan->block - 1) / plan->block;
    plan->chunks = (base->rows / conv->groups + CHUNK - 1) / CHUNK;
    plan->chunk_rows = CHUNK;
    const size_t n_starts = conv->groups * plan->chunks * plan->n_blocks;
    plan->counts = dns_mem_new(&base->alloc, plan->n_blocks * base->rows, sizeof *plan->counts);
    plan->starts = dns_mem_new(&base->alloc, n_starts, sizeof *plan->starts);
    plan->entries = dns_mem_new(&base->alloc, base->nnz, sizeof *plan->entries);
    if (plan->counts == NULL || plan->starts == NULL || plan->entries == NULL) {
        return DNS_ERR_MEMORY;
    }
    pack_all(plan, w);
    base->bytes += plan->n_blocks * base->rows * sizeof *plan->counts +
                   n_starts * sizeof *plan->starts + base->nnz * sizeof *plan->entries;
    return DNS_OK;
}

static const dns_plan_ops csr_ops = {
    .format = "csr",
    .workspace = sparse_workspace,
    .work = sparse_work,
    .to_dense = sparse_to_dense,
    .destroy = sparse_destroy,
};

static const dns_plan_ops direct_ops = {
    .format = "direct",
    .workspace = sparse_workspace,
    .work = sparse_work,
    .to_dense = sparse_to_dense,
    .destroy = sparse_destroy,
};

static const dns_plan_ops depthwise_ops = {
    .format = "depthwise",
    .workspace = sparse_workspace,
    .work = sparse_work,
    .to_dense = sparse_to_dense,
    .destroy = sparse_destroy,
};

dns_status
dns_conv_sparse_create(const dns_conv *conv, dns_conv_format format, const float *w,
                       const float *bias, dns_act act, dns_isa isa, const dns_alloc *alloc,
                       dns_plan **out, dns_error *err)
{
    const bool depthwise = format == DNS_CONV_DEPTHWISE;
    const bool direct = format == DNS_CONV_DIRECT;
    const dns_plan_ops *ops = depthwise ? &depthwise_ops : direct ? &direct_ops : &csr_ops;
    dns_plan *base = NULL;
    DNS_REQUIRE(!depthwise || conv->groups == conv->channels, err, DNS_ERR_VALUE, -1,
                "groups: expected one channel per group for format depthwise, got %zu channels in "
                "%zu groups",
                conv->channels, conv->groups);
    DNS_TRY(dns_plan_new(ops, sizeof(sparse_conv), conv->outputs, depth_of(conv) * taps_of(conv),
                         bias, act, alloc, &base, err));
    sparse_conv *plan = (sparse_conv *)base;
    plan->head.conv = *conv;
    plan->head.run = depthwise ? depthwise_run : sparse_run;
    plan->ops = dns_conv_ops_select(isa);
    plan->depthwise = depthwise;
    plan->direct = direct;
    base->isa = plan->ops->isa;
    for (size_t at = 0; at < base->rows * base->cols; at++) {
        base->nnz += depthwise || direct || w[at] != 0.0F;
    }
    if (!lay_out(plan)) {
        const dns_status large =
            dns_fail(err, DNS_ERR_OVERFLOW, -1,
                     "padding: expected a padded image of less than 2^30 elements");
        return dns_plan_finish(base, large, out, err);
    }
    return dns_plan_finish(base, fill(plan, w), out, err);
}
