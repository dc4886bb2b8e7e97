/* Convolutions at every level: float64 oracle, tails, guard pages, threads, checks, the way back.
 */
#define KIT_ONE_ROUND /* plans go through the places with their pools */
#include "kernelkit.h"

#include "dns/conv.h"

enum { IMAGES = 2 };

typedef struct shape {
    size_t channels, outputs, groups;
    int32_t h, w, kernel_h, kernel_w, stride, pad, dilation;
    double density;
} shape;

static dns_conv
conv_new(shape s, dns_conv_layout layout)
{
    dns_conv conv = {.channels = s.channels,
                     .outputs = s.outputs,
                     .groups = s.groups,
                     .window = {.in_h = s.h,
                                .in_w = s.w,
                                .kernel_h = s.kernel_h,
                                .kernel_w = s.kernel_w,
                                .stride_h = s.stride,
                                .stride_w = s.stride > 1 ? s.stride - 1 : 1,
                                .dilation_h = s.dilation,
                                .dilation_w = 1,
                                .pad_h = s.pad,
                                .pad_w = s.pad},
                     .layout = layout};
    if (dns_conv_check(&conv, NULL) != DNS_OK) {
        abort();
    }
    return conv;
}

/* Index of a channel's pixel in an image of `channels` channels. */
static size_t
at(dns_conv_layout layout, size_t channels, size_t pixels, size_t channel, size_t pixel)
{
    return layout == DNS_NCHW ? channel * pixels + pixel : pixel * channels + channel;
}

/* |y - y64| / bound of one output. */
static double
error_of(const dns_conv *conv, const kit_weights *k, const float *x, size_t o, size_t pixel,
         double got)
{
    const dns_window *g = &conv->window;
    const size_t depth = conv->channels / conv->groups;
    const size_t first = o / (conv->outputs / conv->groups) * depth;
    const int64_t top = (int64_t)(pixel / (size_t)g->out_w) * g->stride_h - g->pad_h;
    const int64_t left = (int64_t)(pixel % (size_t)g->out_w) * g->stride_w - g->pad_w;
    double sum = (double)k->bias[o];
    double size = fabs(sum);
    size_t n = 0;
    const float *w = k->w + o * k->cols;
    for (size_t c = 0; c < depth; c++) {
        for (int64_t i = 0; i < g->kernel_h; i++) {
            for (int64_t j = 0; j < g->kernel_w; j++, w++) {
                const int64_t u = top + i * g->dilation_h;
                const int64_t v = left + j * g->dilation_w;
                n += *w != 0.0F;
                if (u >= 0 && u < g->in_h && v >= 0 && v < g->in_w) {
                    const double t =
                        (double)*w *
                        (double)
                            x[at(conv->layout, conv->channels, (size_t)g->in_h * (size_t)g->in_w,
                                 first + c, (size_t)(u * g->in_w + v))];
                    sum += t;
                    size += fabs(t);
                }
            }
        }
    }
    sum = sum < (double)k->act.lo ? (double)k->act.lo : sum;
    sum = sum > (double)k->act.hi ? (double)k->act.hi : sum;
    return fabs(got - sum) / (2.0 * (double)(n + 2) * KIT_UNIT * size + 1e-38);
}

static double
worst_of(const dns_conv *conv, const kit_weights *k, const float *x, size_t ldx, const float *y,
         size_t ldy)
{
    const size_t pixels = (size_t)conv->window.out_h * (size_t)conv->window.out_w;
    double worst = 0.0;
    for (size_t image = 0; image < IMAGES; image++) {
        for (size_t o = 0; o < conv->outputs; o++) {
            for (size_t p = 0; p < pixels; p++) {
                const double got =
                    (double)y[image * ldy + at(conv->layout, conv->outputs, pixels, o, p)];
                const double e = error_of(conv, k, x + image * ldx, o, p, got);
                worst = e > worst || e != e ? e : worst;
            }
        }
    }
    return worst;
}

/* One plan on 1, 2, 3 and 7 threads: guarded operands at every place, with a gap between images,
 * same bytes. */
static void
check_plan(const dns_plan *plan, const kit_weights *k, dns_threads *const *pools)
{
    const dns_conv *conv = dns_conv_of(plan);
    const dns_window *g = &conv->window;
    const size_t in = conv->channels * (size_t)g->in_h * (size_t)g->in_w;
    const size_t out = conv->outputs * (size_t)g->out_h * (size_t)g->out_w;
    const size_t ldx = in + 3;
    const size_t ldy = out + 5;
    kit_guard first = kit_matrix(0, 0, 0);
    for (size_t t = 0; t < KIT_POOLS; t++) {
        uint64_t state = 5;
        kit_place_now = (kit_place)(t % KIT_PLACES);
        const kit_guard x = kit_matrix(IMAGES, in, ldx);
        for (size_t i = 0; i < (IMAGES - 1) * ldx + in; i++) {
            ((float *)x.data)[i] = kit_float(&state);
        }
        const kit_guard y = kit_matrix(IMAGES, out, ldy);
        size_t bytes = 0;
        REQUIRE(dns_conv_workspace(plan, IMAGES, dns_threads_count(pools[t]), &bytes, NULL) ==
                DNS_OK);
        const kit_guard ws = kit_workspace(bytes);
        const dns_call call = {IMAGES,         x.data,  (ptrdiff_t)ldx, y.data,
                               (ptrdiff_t)ldy, ws.data, pools[t]};
        dns_conv_execute(plan, &call);
        CHECK(kit_gaps_untouched(y.data, IMAGES, out, ldy));
        kit_guard_free(ws);
        if (t == 0) {
            const double worst = worst_of(conv, k, x.data, ldx, y.data, ldy);
            if (!(worst <= 1.0)) {
                printf("# level %s, format %s, layout %d, %zu x %d x %d: %g of the bound\n",
                       dns_isa_name((int)plan->isa), plan->ops->format, (int)conv->layout,
                       conv->channels, g->in_h, g->in_w, worst);
            }
            CHECK(worst <= 1.0);
            kit_guard_free(first);
            first = y;
        }
        else {
            CHECK(memcmp(first.data, y.data, y.bytes) == 0);
            kit_guard_free(y);
        }
        kit_guard_free(x);
    }
    kit_place_now = KIT_AT_END;
    kit_guard_free(first);
}

/* Weights come back as they went in. */
static void
check_weights(const dns_plan *plan, const kit_weights *k)
{
    float *w = malloc((k->rows * k->cols + 1) * sizeof *w);
    REQUIRE(w != NULL);
    dns_plan_to_dense(plan, w);
    CHECK(memcmp(w, k->w, k->rows * k->cols * sizeof *w) == 0);
    free(w);
}

/* A shape in both layouts, at every level, in every format that takes it. */
static void
check_shape(shape s, dns_threads *const *pools)
{
    uint64_t state = 3;
    const size_t cols = s.channels / s.groups * (size_t)s.kernel_h * (size_t)s.kernel_w;
    kit_weights k = kit_weights_new(s.outputs, cols, s.density, &state);
    float *bias = malloc(s.outputs * sizeof *bias);
    REQUIRE(bias != NULL);
    for (size_t i = 0; i < s.outputs; i++) {
        bias[i] = kit_float(&state);
    }
    k.bias = bias;
    k.act = (dns_act){-1.5F, 2.0F};
    for (int layout = DNS_NCHW; layout <= DNS_NHWC; layout++) {
        const dns_conv conv = conv_new(s, (dns_conv_layout)layout);
        KIT_FOR_EACH_LEVEL(isa)
        {
            for (int f = DNS_CONV_IM2COL; f <= DNS_CONV_DIRECT; f++) {
                dns_plan *plan = NULL;
                dns_error err;
                if (f == DNS_CONV_DEPTHWISE && s.groups != s.channels) {
                    continue;
                }
                REQUIRE(dns_conv_plan_create(&conv, (dns_conv_format)f, k.w, bias, k.act, NULL, isa,
                                             NULL, &plan, &err) == DNS_OK);
                if (plan->isa == isa) {
                    check_plan(plan, &k, pools);
                    check_weights(plan, &k);
                }
                dns_plan_destroy(plan);
            }
        }
    }
    free(bias);
    kit_weights_free(&k);
}

static void
check_shapes(const shape *shapes, size_t n)
{
    dns_threads *pools[KIT_POOLS];
    kit_pools_new(pools);
    for (size_t i = 0; i < n; i++) {
        check_shape(shapes[i], pools);
    }
    kit_pools_free(pools);
    kit_say_skipped();
}

/* Every width around the vectors of all levels. */
static void
test_every_tail(void)
{
    shape shapes[2 * 35];
    for (int32_t w = 1; w <= 35; w++) {
        shapes[2 * w - 2] = (shape){3, 4, 1, 3, w, 3, 3, 1, 1, 1, 0.5};
        shapes[2 * w - 1] = (shape){(size_t)w, (size_t)w, (size_t)w, 4, 9, 3, 3, 1, 1, 1, 0.9};
    }
    check_shapes(shapes, 2 * 35);
}

static void
test_shapes(void)
{
    static const shape shapes[] = {
        {1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1.0},      /* one multiplication */
        {5, 7, 1, 6, 9, 1, 1, 1, 0, 1, 0.5},      /* 1x1 */
        {5, 7, 1, 6, 9, 1, 1, 2, 0, 1, 0.5},      /* 1x1 with strides */
        {5, 7, 1, 1, 1, 1, 1, 1, 0, 1, 0.5},      /* 1x1 of one pixel */
        {130, 70, 1, 9, 15, 1, 1, 1, 0, 1, 0.3},  /* 1x1, several panels, threads */
        {6, 4, 2, 6, 9, 1, 1, 1, 0, 1, 0.5},      /* 1x1 in groups */
        {6, 4, 1, 5, 5, 1, 1, 1, 0, 1, 0.0},      /* 1x1, all weights absent */
        {8, 6, 2, 11, 13, 3, 3, 2, 1, 1, 0.5},    /* groups and strides */
        {4, 6, 1, 12, 17, 5, 3, 3, 2, 2, 0.5},    /* dilation */
        {3, 2, 1, 4, 4, 2, 2, 1, 3, 1, 1.0},      /* more padding than kernel */
        {3, 2, 1, 5, 5, 1, 1, 2, 4, 1, 1.0},      /* strides land in the padding */
        {40, 70, 1, 7, 7, 3, 3, 1, 1, 1, 0.0},    /* all weights absent */
        {150, 70, 1, 8, 14, 3, 3, 1, 1, 1, 0.1},  /* several blocks and chunks, threads */
        {6, 80, 1, 57, 57, 3, 3, 1, 1, 1, 0.3},   /* several tiles, threads */
        {6, 18, 6, 9, 20, 5, 5, 2, 2, 1, 1.0},    /* depthwise with a multiplier */
        {33, 33, 33, 40, 41, 5, 5, 1, 2, 1, 1.0}, /* depthwise, threads */
        {17, 17, 17, 3, 3, 3, 3, 1, 4, 3, 1.0},   /* depthwise, windows wholly outside */
    };
    check_shapes(shapes, sizeof shapes / sizeof shapes[0]);
}

/* Every number of output channels and of input channels around the vectors, with strides. */
static void
test_every_channel(void)
{
    shape shapes[35];
    for (int32_t c = 1; c <= 35; c++) {
        const size_t channels = (size_t)(c * 11 % 36);
        shapes[c - 1] = (shape){channels, (size_t)c, 1, 3, 7, 2, 3, 1 + c % 2, 1, 1, 0.5};
    }
    check_shapes(shapes, 35);
}

/* Depthwise kernels that read the image where it lies: all tails of columns and of rows. */
static void
test_planes(void)
{
    shape shapes[3 * 37];
    for (int32_t w = 1; w <= 37; w++) {
        const int32_t h = 1 + w % 19;
        shapes[3 * w - 3] = (shape){2, 2, 2, h, w, 3, 3, 1, 1, 1, 1.0};
        shapes[3 * w - 2] = (shape){2, 4, 2, 20 - h, w, 5, 5, 1, 2, 1, 1.0};
        shapes[3 * w - 1] = (shape){1, 1, 1, h + 4, w + 4, 5, 5, 1, w % 2 * 7, 1, 1.0};
    }
    check_shapes(shapes, 3 * 37);
}

static void
convolve(const dns_conv *conv, dns_conv_format format, const float *w, const float *bias,
         dns_isa isa, const float *x, float *y)
{
    const dns_act act = {-INFINITY, INFINITY};
    dns_plan *plan = NULL;
    size_t bytes = 0;
    REQUIRE(dns_conv_plan_create(conv, format, w, bias, act, NULL, isa, NULL, &plan, NULL) ==
            DNS_OK);
    REQUIRE(dns_conv_workspace(plan, 1, 1, &bytes, NULL) == DNS_OK);
    void *ws = dns_mem_new(NULL, bytes, 1);
    REQUIRE(bytes == 0 || ws != NULL);
    const dns_call call = {1, x, 0, y, 0, ws, NULL};
    dns_conv_execute(plan, &call);
    dns_mem_free(NULL, ws, bytes, 1);
    dns_plan_destroy(plan);
}

/* Padding is multiplied: depthwise has the bytes of csr, infinite weights and -0 included. */
static void
test_padding_is_multiplied(void)
{
    enum { PIXELS = 2 * 17 * 23 };
    uint64_t state = 6;
    float x[PIXELS];
    float w[2 * 25];
    for (size_t i = 0; i < PIXELS; i++) {
        x[i] = i % 5 == 0 ? -0.0F : kit_float(&state);
    }
    for (int32_t k = 3; k <= 5; k += 2) {
        for (int special = 0; special < 3; special++) {
            const shape s = {2, 2, 2, 17, 23, k, k, 1, k / 2, 1, 1.0};
            const float bias[2] = {-0.0F, special == 2 ? INFINITY : 1.0F};
            const dns_conv conv = conv_new(s, DNS_NCHW);
            for (int32_t i = 0; i < 2 * k * k; i++) {
                w[i] = special == 0 ? -1e-45F : kit_float(&state) + 2.0F;
            }
            w[special == 1 ? 0 : 1] = special == 0 ? w[1] : INFINITY;
            KIT_FOR_EACH_LEVEL(isa)
            {
                float want[PIXELS];
                float got[PIXELS];
                convolve(&conv, DNS_CONV_CSR, w, bias, isa, x, want);
                convolve(&conv, DNS_CONV_DEPTHWISE, w, bias, isa, x, got);
                for (size_t i = 0; i < PIXELS; i++) {
                    CHECK(isnan(want[i]) ? isnan(got[i])
                                         : memcmp(want + i, got + i, sizeof *got) == 0);
                }
            }
        }
    }
}

/* Results do not depend on how many images are convolved together. */
static void
test_images_do_not_meet(void)
{
    static const shape s = {4, 5, 1, 6, 7, 3, 3, 1, 1, 1, 0.5};
    enum { IN = 4 * 6 * 7, OUT = 5 * 6 * 7 };
    uint64_t state = 4;
    kit_weights k = kit_weights_new(5, 36, 0.5, &state);
    float x[2 * IN];
    float both[2 * OUT];
    float one[OUT];
    for (size_t i = 0; i < 2 * IN; i++) {
        x[i] = kit_float(&state);
    }
    const dns_conv conv = conv_new(s, DNS_NCHW);
    static const dns_conv_format formats[] = {DNS_CONV_IM2COL, DNS_CONV_CSR, DNS_CONV_DIRECT};
    for (size_t f = 0; f < 3; f++) {
        dns_plan *plan = NULL;
        size_t bytes = 0;
        REQUIRE(dns_conv_plan_create(&conv, formats[f], k.w, NULL, k.act, NULL, dns_isa_detect(),
                                     NULL, &plan, NULL) == DNS_OK);
        REQUIRE(dns_conv_workspace(plan, 2, 1, &bytes, NULL) == DNS_OK);
        void *ws = dns_mem_new(NULL, bytes, 1);
        REQUIRE(ws != NULL);
        const dns_call all = {2, x, IN, both, OUT, ws, NULL};
        const dns_call second = {1, x + IN, IN, one, OUT, ws, NULL};
        const dns_call none = {0, x, IN, one, OUT, ws, NULL};
        dns_conv_execute(plan, &all);
        dns_conv_execute(plan, &second);
        dns_conv_execute(plan, &none);
        CHECK(memcmp(both + OUT, one, sizeof one) == 0);
        dns_mem_free(NULL, ws, bytes, 1);
        dns_plan_destroy(plan);
    }
    kit_weights_free(&k);
}

static dns_status
status_of(dns_conv conv)
{
    dns_error err;
    return dns_conv_check(&conv, &err);
}

static void
test_bad_shapes_are_refused(void)
{
    static const shape s = {4, 6, 2, 6, 7, 3, 3, 1, 1, 1, 0.5};
    const dns_conv good = conv_new(s, DNS_NCHW);
    CHECK(good.window.out_h == 6 && good.window.out_w == 7);
    dns_conv bad = good;
    bad.groups = 3;
    CHECK(status_of(bad) == DNS_ERR_VALUE);
    bad.groups = 0;
    CHECK(status_of(bad) == DNS_ERR_VALUE);
    bad = good;
    bad.channels = 0;
    CHECK(status_of(bad) == DNS_ERR_VALUE);
    bad = good;
    bad.window.stride_w = 0;
    CHECK(status_of(bad) == DNS_ERR_VALUE);
    bad = good;
    bad.window.kernel_h = 9;
    CHECK(status_of(bad) == DNS_ERR_VALUE);
    bad = good;
    bad.window.pad_h = INT32_MAX;
    bad.window.pad_w = INT32_MAX;
    CHECK(status_of(bad) == DNS_ERR_OVERFLOW);
    bad = good;
    bad.channels = 1U << 30;
    CHECK(status_of(bad) == DNS_ERR_OVERFLOW);
    /* A result that fits, a padded image that does not. */
    bad = (dns_conv){.channels = 1,
                     .outputs = 1,
                     .groups = 1,
                     .window = {.in_h = 1,
                                .in_w = 1,
                                .kernel_h = 1,
                                .kernel_w = 1,
                                .stride_h = 65536,
                                .stride_w = 1,
                                .dilation_h = 1,
                                .dilation_w = 1,
                                .pad_h = 65536,
                                .pad_w = 65536}};
    const float w = 1.0F;
    const dns_act act = {-INFINITY, INFINITY};
    dns_plan *plan = NULL;
    dns_error err;
    CHECK(dns_conv_plan_create(&bad, DNS_CONV_CSR, &w, NULL, act, NULL, DNS_ISA_GENERIC, NULL,
                               &plan, &err) == DNS_ERR_OVERFLOW);
    float many[6 * 2 * 9] = {0.0F};
    CHECK(dns_conv_plan_create(&good, DNS_CONV_DEPTHWISE, many, NULL, act, NULL, DNS_ISA_GENERIC,
                               NULL, &plan, &err) == DNS_ERR_VALUE);
    CHECK(plan == NULL);
}

typedef struct life {
    dns_conv conv;
    dns_conv_format format;
    const float *w;
} life;

static dns_status
conv_life(const dns_alloc *alloc, void *ctx)
{
    const life *l = ctx;
    const dns_act act = {-INFINITY, INFINITY};
    dns_plan *plan = NULL;
    DNS_TRY(dns_conv_plan_create(&l->conv, l->format, l->w, NULL, act, NULL, dns_isa_detect(),
                                 alloc, &plan, NULL));
    dns_plan_destroy(plan);
    return DNS_OK;
}

static void
test_oom_conv(void)
{
    static const shape shapes[] = {{4, 4, 4, 6, 7, 3, 3, 1, 1, 1, 0.5},
                                   {4, 9, 1, 6, 7, 1, 1, 1, 0, 1, 0.5}};
    float w[4 * 9];
    for (size_t i = 0; i < 36; i++) {
        w[i] = 1.0F;
    }
    for (size_t s = 0; s < 2; s++) {
        for (int f = DNS_CONV_IM2COL; f <= DNS_CONV_DIRECT; f++) {
            for (int layout = DNS_NCHW; layout <= DNS_NHWC; layout++) {
                if (f != DNS_CONV_DEPTHWISE || shapes[s].groups == 4) {
                    life l = {conv_new(shapes[s], (dns_conv_layout)layout), (dns_conv_format)f, w};
                    CHECK(tap_oom_sweep(conv_life, &l) >= 3);
                }
            }
        }
    }
}

static void
test_work_is_counted(void)
{
    static const shape s = {4, 4, 4, 6, 7, 3, 3, 1, 1, 1, 1.0};
    const dns_machine machine = {1e9, {4e9, 3e9, 2e9, 1e9}, {1e9, 2e9, 3e9}};
    const dns_act act = {-INFINITY, INFINITY};
    float w[36];
    for (size_t i = 0; i < 36; i++) {
        w[i] = 1.0F;
    }
    for (int f = DNS_CONV_IM2COL; f <= DNS_CONV_DIRECT; f++) {
        for (int layout = DNS_NCHW; layout <= DNS_NHWC; layout++) {
            const dns_conv conv = conv_new(s, (dns_conv_layout)layout);
            dns_plan *plan = NULL;
            REQUIRE(dns_conv_plan_create(&conv, (dns_conv_format)f, w, NULL, act, NULL,
                                         DNS_ISA_GENERIC, NULL, &plan, NULL) == DNS_OK);
            const dns_work work = dns_plan_work(plan, 3, &machine);
            CHECK_F64(work.flops, 2.0 * 36 * 42 * 3);
            CHECK(work.bytes[0] >= 4.0 * 2 * 4 * 42 * 3);
            CHECK_F64(work.bytes[3], 0.0);
            CHECK_F64(dns_plan_work(plan, 0, &machine).flops, 0.0);
            dns_plan_destroy(plan);
        }
    }
}

TAP_MAIN(TAP(test_every_tail), TAP(test_shapes), TAP(test_every_channel), TAP(test_planes),
         TAP(test_padding_is_multiplied), TAP(test_images_do_not_meet),
         TAP(test_bad_shapes_are_refused), TAP(test_oom_conv), TAP(test_work_is_counted))
