/* Convolutions: checks, and the im2col format.
 *
 * That is a copy and a matrix product: a tile of output pixels becomes a matrix with one column
 * per pixel and one row per (c, i, j), which the weights multiply (Chellapilla, Puri and Simard,
 * IWFHR 2006). Channels last the same is transposed: a row per pixel, (i, j, c) along it. A kernel
 * of one pixel at stride 1 needs no such copy. Tiles are TILE pixels so that the copy stays near
 * the core; they depend on the shape alone, so every thread count makes the same calls.
 */
#include "kernels/conv_internal.h"

#include <string.h>

#include "dns/gemm.h"

enum { TILE = 448, TILE_STEP = 16 };

/* Output extent of one axis, 0 if the kernel does not fit. */
static int64_t
out_extent(int64_t in, int64_t pad, int64_t kernel, int64_t dilation, int64_t stride)
{
    const int64_t room = in + 2 * pad - dilation * (kernel - 1) - 1;
    return room < 0 ? 0 : room / stride + 1;
}

static bool
product_fits(size_t a, size_t b, size_t c)
{
    size_t ab = 0;
    size_t abc = 0;
    return dns_mul_size(a, b, &ab) && dns_mul_size(ab, c, &abc) && abc <= INT32_MAX;
}

dns_status
dns_conv_check(dns_conv *conv, dns_error *err)
{
    dns_window *g = &conv->window;
    DNS_REQUIRE(conv->channels >= 1 && conv->outputs >= 1 && conv->channels <= INT32_MAX &&
                    conv->outputs <= INT32_MAX && g->in_h >= 1 && g->in_w >= 1 &&
                    g->kernel_h >= 1 && g->kernel_w >= 1,
                err, DNS_ERR_VALUE, -1,
                "conv: expected extents >= 1 and < 2^31, got an image of %zu x %d x %d, %zu output "
                "channels, a kernel of %d x %d",
                conv->channels, g->in_h, g->in_w, conv->outputs, g->kernel_h, g->kernel_w);
    DNS_REQUIRE(g->stride_h >= 1 && g->stride_w >= 1 && g->dilation_h >= 1 && g->dilation_w >= 1 &&
                    g->pad_h >= 0 && g->pad_w >= 0,
                err, DNS_ERR_VALUE, -1,
                "conv: expected stride >= 1, dilation >= 1 and padding >= 0, got stride %d, %d, "
                "dilation %d, %d, padding %d, %d",
                g->stride_h, g->stride_w, g->dilation_h, g->dilation_w, g->pad_h, g->pad_w);
    DNS_REQUIRE(conv->groups >= 1 && conv->channels % conv->groups == 0 &&
                    conv->outputs % conv->groups == 0,
                err, DNS_ERR_VALUE, -1,
                "groups: expected a divisor of %zu input and %zu output channels, got %zu",
                conv->channels, conv->outputs, conv->groups);
    const int64_t h = out_extent(g->in_h, g->pad_h, g->kernel_h, g->dilation_h, g->stride_h);
    const int64_t w = out_extent(g->in_w, g->pad_w, g->kernel_w, g->dilation_w, g->stride_w);
    DNS_REQUIRE(h >= 1 && w >= 1, err, DNS_ERR_VALUE, -1,
                "conv: expected a kernel within the padded image, got %d x %d, dilation %d, %d, on "
                "%d x %d, padding %d, %d",
                g->kernel_h, g->kernel_w, g->dilation_h, g->dilation_w, g->in_h, g->in_w, g->pad_h,
                g->pad_w);
    const size_t taps = (size_t)g->kernel_h * (size_t)g->kernel_w;
    DNS_REQUIRE(h <= INT32_MAX && w <= INT32_MAX &&
                    product_fits(conv->channels, (size_t)g->in_h, (size_t)g->in_w) &&
                    product_fits(conv->outputs, (size_t)h, (size_t)w) &&
                    product_fits(conv->outputs, conv->channels / conv->groups, taps),
                err, DNS_ERR_OVERFLOW, -1,
                "conv: expected an image, a result and weights of less than 2^31 elements, got "
                "%zu x %d x %d to %zu x %lld x %lld by %d x %d",
                conv->channels, g->in_h, g->in_w, conv->outputs, (long long)h, (long long)w,
                g->kernel_h, g->kernel_w);
    g->out_h = (int32_t)h;
    g->out_w = (int32_t)w;
    return DNS_OK;
}

void
dns_conv_take(const float *x, int64_t width, ptrdiff_t pixel, int64_t first, int64_t step, size_t n,
              float *to)
{
    const int64_t count = (int64_t)n;
    int64_t low = first >= 0 ? 0 : (-first + step - 1) / step;
    int64_t high = first >= width ? 0 : (width - first + step - 1) / step;
    low = x == NULL || low > count ? count : low;
    high = high < low ? low : high > count ? count : high;
    for (int64_t t = 0; t < low; t++) {
        to[t] = 0.0F;
    }
    const ptrdiff_t stride = (ptrdiff_t)step * pixel;
    if (stride == 1 && high > low) {
        memcpy(to + low, x + first + low, (size_t)(high - low) * sizeof *to);
    }
    else if (high > low) {
        const float *from = x + (ptrdiff_t)(first + low * step) * pixel;
        for (int64_t t = low; t < high; t++, from += stride) {
            to[t] = *from;
        }
    }
    for (int64_t t = high; t < count; t++) {
        to[t] = 0.0F;
    }
}

bool
dns_conv_is_matrix(const dns_conv *conv)
{
    const dns_window *g = &conv->window;
    return g->kernel_h == 1 && g->kernel_w == 1 && g->stride_h == 1 && g->stride_w == 1 &&
           g->pad_h == 0 && g->pad_w == 0;
}

/* ---- dense plans ----------------------------------------------------------------------------- */

typedef struct dense_conv {
    conv_plan head;
    const dns_blas *blas;
    float *w;     /* NCHW: [O][K]; NHWC: [G][K][O/G] with K in the order (i, j, c) */
    size_t tile;  /* pixels */
    size_t tiles; /* of an image */
    bool direct;  /* the image is the matrix */
} dense_conv;

typedef struct job {
    const dense_conv *plan;
    const dns_call *call;
    size_t threads;
} job;

/* to[t] = x[first + t * step] for t < n, zero where the column is outside [0, width) or x is NULL.
 */
static inline void
take_row(const float *x, int64_t width, int64_t first, int64_t step, size_t n, float *restrict to)
{
    if (step != 1) {
        dns_conv_take(x, width, 1, first, step, n, to);
        return;
    }
    const int64_t count = (int64_t)n;
    const int64_t low = x == NULL ? count : first >= 0 ? 0 : -first < count ? -first : count;
    const int64_t high = width - first < low ? low : width - first < count ? width - first : count;
    for (int64_t t = 0; t < low; t++) {
        to[t] = 0.0F;
    }
    if (high > low) {
        const float *restrict from = x + (first + low);
        for (int64_t t = 0; t < high - low; t++) {
            to[low + t] = from[t];
        }
    }
    for (int64_t t = high; t < count; t++) {
        to[t] = 0.0F;
    }
}

/* A stretch of one output row: image row and column that tap (0, 0) of its first pixel reads. */
typedef struct stretch {
    int64_t row, column;
    size_t n;
} stretch;

/* The stretches of the pixels [p, p + n), at most n; returns how many. */
static size_t
stretches_of(const dns_window *g, size_t p, size_t n, stretch *to)
{
    const size_t out_w = (size_t)g->out_w;
    size_t count = 0;
    for (const size_t end = p + n; p < end; count++) {
        const size_t v = p % out_w;
        to[count].row = (int64_t)(p / out_w) * g->stride_h - g->pad_h;
        to[count].column = (int64_t)v * g->stride_w - g->pad_w;
        to[count].n = end - p < out_w - v ? end - p : out_w - v;
        p += to[count].n;
    }
    return count;
}

/* cols[(c, i, j)][t] for the pixels [p, p + n) of one group's planes, n <= TILE + TILE_STEP. */
static void
columns_nchw(const dns_conv *conv, const float *x, size_t p, size_t n, float *cols)
{
    const dns_window *g = &conv->window;
    const size_t plane = (size_t)g->in_h * (size_t)g->in_w;
    stretch s[TILE + TILE_STEP];
    const size_t count = stretches_of(g, p, n, s);
    for (size_t c = 0; c < conv->channels / conv->groups; c++, x += plane) {
        for (int64_t k = 0; k < (int64_t)g->kernel_h * g->kernel_w; k++) {
            const int64_t i = k / g->kernel_w * g->dilation_h;
            const int64_t j = k % g->kernel_w * g->dilation_w;
            for (size_t q = 0; q < count; cols += s[q].n, q++) {
                const int64_t row = s[q].row + i;
                take_row(row >= 0 && row < g->in_h ? x + row * g->in_w : NULL, g->in_w,
                         s[q].column + j, g->stride_w, s[q].n, cols);
            }
        }
    }
}

/* rows[t][(i, j, c)] for the pixels [p, p + n) of one group's channels. */
static void
rows_nhwc(const dns_conv *conv, const float *x, size_t p, size_t n, float *rows)
{
    const dns_window *g = &conv->window;
    const size_t depth = conv->channels / conv->groups;
    for (size_t t = p; t < p + n; t++) {
        const int64_t u = (int64_t)(t / (size_t)g->out_w) * g->stride_h - g->pad_h;
        const int64_t v = (int64_t)(t % (size_t)g->out_w) * g->stride_w - g->pad_w;
        for (int64_t i = 0; i < g->kernel_h; i++) {
            for (int64_t j = 0; j < g->kernel_w; j++, rows += depth) {
                const int64_t row = u + i * g->dilation_h;
                const int64_t col = v + j * g->dilation_w;
                if (row < 0 || row >= g->in_h || col < 0 || col >= g->in_w) {
                    memset(rows, 0, depth * sizeof *rows);
                    continue;
                }
                memcpy(rows, x + (row * g->in_w + col) * (int64_t)conv->channels,
                       depth * sizeof *rows);
            }
        }
    }
}

/* Floats of a thread's columns, and bytes of its workspace. */
static bool
thread_workspace(const dense_conv *plan, size_t *floats, size_t *bytes)
{
    const dns_plan *base = &plan->head.base;
    size_t cols = 0;
    *floats = 0;
    if (!plan->direct && (!dns_mul_size(base->cols, plan->tile, &cols) ||
                          !dns_add_size(cols, TILE_STEP - 1, &cols))) {
        return false;
    }
    *floats = cols / TILE_STEP * TILE_STEP;
    return dns_mul_size(*floats, sizeof(float), bytes) &&
           dns_add_size(*bytes, dns_gemm_workspace(plan->blas, base->isa), bytes);
}

/* One tile of one group of one image. */
static void
dense_part(void *ctx, size_t part)
{
    const job *j = ctx;
    const dense_conv *plan = j->plan;
    const dns_plan *base = &plan->head.base;
    const dns_conv *conv = &plan->head.conv;
    const size_t group = part / plan->tiles % conv->groups;
    const size_t image = part / plan->tiles / conv->groups;
    const size_t pixels = (size_t)conv->window.out_h * (size_t)conv->window.out_w;
    const size_t p = part % plan->tiles * plan->tile;
    const size_t n = pixels - p < plan->tile ? pixels - p : plan->tile;
    const size_t depth = conv->channels / conv->groups;
    const size_t m = base->rows / conv->groups;
    const float *w = plan->w + group * m * base->cols;
    const float *x = j->call->x + (ptrdiff_t)image * j->call->ldx;
    float *y = j->call->y + (ptrdiff_t)image * j->call->ldy;
    size_t floats = 0;
    size_t bytes = 0;
    (void)thread_workspace(plan, &floats, &bytes);
    float *cols = (float *)((char *)j->call->ws + part % j->threads * bytes);
    void *ws = cols + floats;
    if (conv->layout == DNS_NCHW) {
        const size_t in = (size_t)conv->window.in_h * (size_t)conv->window.in_w;
        const float *b = plan->direct ? x + group * depth * in + p : cols;
        y += group * m * pixels + p;
        if (!plan->direct) {
            columns_nchw(conv, x + group * depth * in, p, n, cols);
        }
        dns_gemm(plan->blas, base->isa, m, n, base->cols, w, (ptrdiff_t)base->cols, b,
                 (ptrdiff_t)(plan->direct ? in : n), y, (ptrdiff_t)pixels, ws);
        dns_bias_act(y, (ptrdiff_t)pixels, m, n, base->bias + group * m, base->act, base->isa);
        return;
    }
    const float *a = plan->direct ? x + p * conv->channels + group * depth : cols;
    y += p * base->rows + group * m;
    if (!plan->direct) {
        rows_nhwc(conv, x + group * depth, p, n, cols);
    }
    dns_gemm(plan->blas, base->isa, n, m, base->cols, a,
             (ptrdiff_t)(plan->direct ? conv->channels : base->cols), w, (ptrdiff_t)m, y,
             (ptrdiff_t)base->rows, ws);
    dns_bias_act_rows(y, (ptrdiff_t)base->rows, n, m, base->bias + group * m, base->act, base->isa);
}

static bool
dense_workspace(const dns_plan *base, size_t n, size_t threads, size_t *bytes)
{
    size_t floats = 0;
    size_t parts = 0;
    const dense_conv *plan = (const dense_conv *)base;
    return dns_mul_size(n, plan->head.conv.groups * plan->tiles, &parts) &&
           thread_workspace(plan, &floats, bytes) &&
           dns_mul_size(*bytes, threads < parts ? threads : parts, bytes);
}

static void
dense_run(const dns_plan *base, const dns_call *call)
{
    const dense_conv *plan = (const dense_conv *)base;
    const dns_window *g = &plan->head.conv.window;
    const size_t pixels = (size_t)g->out_h * (size_t)g->out_w;
    dns_threads *threads =
        dns_plan_threads(base, call->n * pixels, call->threads) > 1 ? call->threads : NULL;
    job j = {plan, call, dns_threads_count(threads)};
    dns_threads_run(threads, call->n * plan->head.conv.groups * plan->tiles, dense_part, &j);
}

static void
dense_work(const dns_plan *base, size_t n, const dns_machine *machine, dns_work *work)
{
    const dense_conv *plan = (const dense_conv *)base;
    const dns_conv *conv = &plan->head.conv;
    const double images = (double)n;
    const double out = (double)conv->window.out_h * conv->window.out_w;
    const double xy = 4.0 * images *
                      ((double)conv->channels * conv->window.in_h * conv->window.in_w +
                       (double)conv->outputs * out);
    const double w = 4.0 * (double)base->nnz;
    work->flops = 2.0 * (double)base->nnz * out * images;
    dns_work_add(work, machine, w + xy, w + xy);
    if (!plan->direct) {
        const double tile = 4.0 * (double)base->cols * (double)plan->tile;
        const double all =
            4.0 * (double)base->cols * (double)conv->groups * out * images; /* written, then read */
        dns_work_add(work, machine, tile, 2.0 * all);
    }
}

/* Place in the packed weights of row r, column (c, k). */
static size_t
dense_place(const dense_conv *plan, size_t r, size_t c, size_t k)
{
    const dns_conv *conv = &plan->head.conv;
    const size_t cols = plan->head.base.cols;
    const size_t taps = (size_t)conv->window.kernel_h * (size_t)conv->window.kernel_w;
    if (conv->layout == DNS_NCHW) {
        return r * cols + c * taps + k;
    }
    const size_t m = conv->outputs / conv->groups;
    const size_t depth = conv->channels / conv->groups;
    return r / m * m * cols + (k * depth + c) * m + r % m;
}

/* Between the caller's order and the packed one: to_plan says in which direction. */
static void
dense_copy(const dense_conv *plan, const float *from, float *to, bool to_plan)
{
    const dns_conv *conv = &plan->head.conv;
    const size_t taps = (size_t)conv->window.kernel_h * (size_t)conv->window.kernel_w;
    size_t at = 0;
    for (size_t r = 0; r < conv->outputs; r++) {
        for (size_t c = 0; c < conv->channels / conv->groups; c++) {
            for (size_t k = 0; k < taps; k++, at++) {
                const size_t place = dense_place(plan, r, c, k);
                to[to_plan ? place : at] = from[to_plan ? at : place];
            }
        }
    }
}

static void
dense_to_dense(const dns_plan *base, float *w)
{
    const dense_conv *plan = (const dense_conv *)base;
    dense_copy(plan, plan->w, w, false);
}

static void
dense_destroy(dns_plan *base)
{
    dns_mem_free(&base->alloc, ((dense_conv *)base)->w, base->nnz, sizeof(float));
}

static const dns_plan_ops dense_ops = {
    .format = "im2col",
    .workspace = dense_workspace,
    .work = dense_work,
    .to_dense = dense_to_dense,
    .destroy = dense_destroy,
};

static dns_status
dense_create(const dns_conv *conv, const float *w, const float *bias, dns_act act,
             const dns_blas *blas, dns_isa isa, const dns_alloc *alloc, dns_plan **out,
             dns_error *err)
{
    dns_plan *base = NULL;
    const dns_window *g = &conv->window;
    const size_t taps = (size_t)g->kernel_h * (size_t)g->kernel_w;
    const size_t cols = conv->channels / conv->groups * taps;
    DNS_TRY(dns_plan_new(&dense_ops, sizeof(dense_conv), conv->outputs, cols, bias, act, alloc,
                         &base, err));
    dense_conv *plan = (dense_conv *)base;
    base->nnz = conv->outputs * cols;
    plan->w = dns_mem_new(alloc, base->nnz, sizeof *plan->w);
    if (plan->w == NULL) {
        return dns_plan_finish(base, DNS_ERR_MEMORY, out, err);
    }
    plan->head.conv = *conv;
    plan->head.run = dense_run;
    plan->blas = blas;
    const size_t pixels = (size_t)g->out_h * (size_t)g->out_w;
    plan->tiles = (pixels + TILE - 1) / TILE;
    plan->tile = (pixels + plan->tiles - 1) / plan->tiles;
    plan->tile = (plan->tile + TILE_STEP - 1) / TILE_STEP * TILE_STEP;
    plan->tiles = (pixels + plan->tile - 1) / plan->tile;
    plan->direct = dns_conv_is_matrix(conv);
    base->isa = dns_conv_ops_select(isa)->isa;
    base->bytes += base->nnz * sizeof *plan->w;
    dense_copy(plan, w, plan->w, true);
    *out = base;
    return DNS_OK;
}

/* ---- all formats ----------------------------------------------------------------------------- */

dns_status
dns_conv_plan_create(const dns_conv *conv, dns_conv_format format, const float *w,
                     const float *bias, dns_act act, const dns_blas *blas, dns_isa isa,
                     const dns_alloc *alloc, dns_plan **out, dns_error *err)
{
    dns_conv checked = *conv;
    DNS_TRY(dns_conv_check(&checked, err));
    if (format == DNS_CONV_IM2COL) {
        return dense_create(&checked, w, bias, act, blas, isa, alloc, out, err);
    }
    if (format == DNS_CONV_CSR && checked.groups == 1 && dns_conv_is_matrix(&checked)) {
        return dns_conv_product_create(&checked, w, bias, act, isa, alloc, out, err);
    }
    return dns_conv_sparse_create(&checked, format, w, bias, act, isa, alloc, out, err);
}

const dns_conv *
dns_conv_of(const dns_plan *plan)
{
    return plan->ops->execute == NULL ? &((const conv_plan *)plan)->conv : NULL;
}

dns_status
dns_conv_workspace(const dns_plan *plan, size_t n, size_t threads, size_t *bytes, dns_error *err)
{
    return dns_plan_workspace(plan, DNS_COLUMNS, n, threads, bytes, err);
}

void
dns_conv_execute(const dns_plan *plan, const dns_call *call)
{
    if (call->n > 0) {
        ((const conv_plan *)plan)->run(plan, call);
    }
}
