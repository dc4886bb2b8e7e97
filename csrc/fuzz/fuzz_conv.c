/* Convolutions of any geometry: refused with a message, or planned in every format at every level,
 * with a workspace that fits or is refused; small ones agree with a direct loop. */
#include "dns/conv.h"
#include "fuzzkit.h"

enum { MAX_WEIGHTS = 2048, MAX_IMAGE = 4096, MAX_WORK = 1 << 18, IMAGES = 2 };

typedef struct problem {
    dns_conv conv;
    float w[MAX_WEIGHTS];
} problem;

/* An extent of [lo, hi], or any number. */
static int32_t
extent(fuzz_in *in, int wild, int64_t lo, int64_t hi)
{
    const int64_t value = fuzz_int(in, lo, hi);
    if (!wild || fuzz_int(in, 0, 5) != 0) {
        return (int32_t)value;
    }
    const uint32_t bits = (uint32_t)fuzz_bytes(in, 4);
    int32_t any = 0;
    memcpy(&any, &bits, sizeof any);
    return any;
}

static void
read_problem(fuzz_in *in, problem *p)
{
    const int wild = fuzz_int(in, 0, 3) == 0;
    const int zeros = (int)fuzz_int(in, 0, 4);
    dns_conv *c = &p->conv;
    dns_window *g = &c->window;
    c->groups = (size_t)extent(in, wild, 1, 4);
    c->channels = wild ? (size_t)extent(in, 1, 1, 12) : c->groups * (size_t)fuzz_int(in, 1, 4);
    c->outputs = wild ? (size_t)extent(in, 1, 1, 12) : c->groups * (size_t)fuzz_int(in, 1, 4);
    c->layout = fuzz_int(in, 0, 1) == 0 ? DNS_NCHW : DNS_NHWC;
    g->in_h = extent(in, wild, 1, 12);
    g->in_w = extent(in, wild, 1, 40);
    g->kernel_h = extent(in, wild, 1, 5);
    g->kernel_w = extent(in, wild, 1, 5);
    g->stride_h = extent(in, wild, 1, 3);
    g->stride_w = extent(in, wild, 1, 3);
    g->dilation_h = extent(in, wild, 1, 3);
    g->dilation_w = extent(in, wild, 1, 3);
    g->pad_h = extent(in, wild, 0, 4);
    g->pad_w = extent(in, wild, 0, 4);
    for (size_t i = 0; i < MAX_WEIGHTS; i++) {
        p->w[i] = fuzz_u8(in) % 5 < zeros ? 0.0F : (float)(i * 37 % 61) / 30.0F - 0.99F;
    }
}

static size_t
weights_of(const dns_conv *c)
{
    return c->channels / c->groups * (size_t)c->window.kernel_h * (size_t)c->window.kernel_w;
}

/* One output against the definition. */
static void
check_output(const dns_conv *c, const float *w, const float *x, size_t o, size_t pixel, float got)
{
    const dns_window *g = &c->window;
    const size_t depth = c->channels / c->groups;
    const size_t plane = (size_t)g->in_h * (size_t)g->in_w;
    double sum = 0.0;
    double size = 0.0;
    w += o * weights_of(c);
    for (size_t k = 0; k < weights_of(c); k++) {
        const int64_t tap = (int64_t)(k % ((size_t)g->kernel_h * (size_t)g->kernel_w));
        const int64_t u = (int64_t)(pixel / (size_t)g->out_w) * g->stride_h - g->pad_h +
                          tap / g->kernel_w * g->dilation_h;
        const int64_t v = (int64_t)(pixel % (size_t)g->out_w) * g->stride_w - g->pad_w +
                          tap % g->kernel_w * g->dilation_w;
        const size_t channel =
            o / (c->outputs / c->groups) * depth + k / ((size_t)g->kernel_h * (size_t)g->kernel_w);
        if (u >= 0 && u < g->in_h && v >= 0 && v < g->in_w) {
            const size_t at = (size_t)(u * g->in_w + v);
            const float value =
                x[c->layout == DNS_NCHW ? channel * plane + at : at * c->channels + channel];
            sum += (double)w[k] * (double)value;
            size += fabs((double)w[k] * (double)value);
        }
    }
    fuzz_near(got, sum, size, (double)weights_of(c));
}

static void
convolve(const dns_plan *plan, const dns_conv *c, const float *w)
{
    const dns_window *g = &c->window;
    const size_t in = c->channels * (size_t)g->in_h * (size_t)g->in_w;
    const size_t pixels = (size_t)g->out_h * (size_t)g->out_w;
    const size_t out = c->outputs * pixels;
    float *x = fuzz_new(IMAGES * in, sizeof *x);
    float *y = fuzz_new(IMAGES * out, sizeof *y);
    size_t bytes = 0;
    fuzz_ramp(x, IMAGES * in);
    require(dns_conv_workspace(plan, IMAGES, 1, &bytes, NULL) == DNS_OK);
    void *ws = dns_mem_new(NULL, bytes, 1);
    require(ws != NULL);
    const dns_call call = {IMAGES, x, (ptrdiff_t)in, y, (ptrdiff_t)out, ws, NULL};
    dns_conv_execute(plan, &call);
    for (size_t at = 0; at < IMAGES * out; at++) {
        const size_t i = at % out;
        const size_t o = c->layout == DNS_NCHW ? i / pixels : i % c->outputs;
        const size_t pixel = c->layout == DNS_NCHW ? i % pixels : i / c->outputs;
        check_output(c, w, x + at / out * in, o, pixel, y[at]);
    }
    dns_mem_free(NULL, ws, bytes, 1);
    free(y);
    free(x);
}

static void
solve(const problem *p, const dns_conv *c, dns_conv_format format, dns_isa isa)
{
    size_t most = (size_t)1 << 20;
    const dns_alloc alloc = {fuzz_alloc, fuzz_free, &most};
    const dns_window *g = &c->window;
    dns_plan *plan = NULL;
    dns_error err;
    if (!fuzz_taken(dns_conv_plan_create(c, format, p->w, NULL, fuzz_no_act, NULL, isa, &alloc,
                                         &plan, &err),
                    &err)) {
        require(err.code == DNS_ERR_OVERFLOW || err.code == DNS_ERR_MEMORY ||
                (format == DNS_CONV_DEPTHWISE && c->groups != c->channels));
        return;
    }
    const uint64_t out = (uint64_t)c->outputs * (uint64_t)g->out_h * (uint64_t)g->out_w;
    const uint64_t in = (uint64_t)c->channels * (uint64_t)g->in_h * (uint64_t)g->in_w;
    size_t bytes = 0;
    const dns_status status = dns_conv_workspace(plan, (size_t)1 << 40, 7, &bytes, &err);
    require(status == DNS_OK || status == DNS_ERR_OVERFLOW);
    if (in <= MAX_IMAGE && out * weights_of(c) <= MAX_WORK && g->pad_h <= 64 && g->pad_w <= 64) {
        convolve(plan, c, p->w);
    }
    dns_plan_destroy(plan);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_in in = {data, size};
    problem *p = fuzz_new(1, sizeof *p);
    read_problem(&in, p);
    dns_conv checked = p->conv;
    dns_error err;
    if (fuzz_taken(dns_conv_check(&checked, &err), &err)) {
        require(checked.window.out_h >= 1 && checked.window.out_w >= 1);
        FUZZ_FOR_EACH_LEVEL(isa, DNS_ISA_AVX512)
        {
            for (int f = DNS_CONV_IM2COL; f <= DNS_CONV_DIRECT; f++) {
                if (checked.outputs * weights_of(&checked) <= MAX_WEIGHTS) {
                    solve(p, &checked, (dns_conv_format)f, isa);
                }
            }
        }
    }
    else {
        require(err.code == DNS_ERR_VALUE || err.code == DNS_ERR_OVERFLOW);
    }
    free(p);
    return 0;
}
