/* Count kernels: every level gives the same masks and counts, and they agree with each other. */
#include "dns/count.h"
#include "fuzzkit.h"

enum { MAX_CHANNELS = 4, MAX_SIDE = 80, MAX_KERNEL = 6, MAX_OUT = 90 };

typedef struct case_data {
    dns_window g;
    size_t channels;
    uint32_t limit;
    float x[MAX_CHANNELS * MAX_SIDE * MAX_SIDE];
    int32_t weights[MAX_CHANNELS * MAX_KERNEL * MAX_KERNEL];
} case_data;

/* Everything one level computes for a case. */
typedef struct answers {
    uint64_t bits[MAX_CHANNELS * MAX_SIDE * 2];
    uint64_t nonzeros[MAX_CHANNELS];
    uint64_t tiles[MAX_CHANNELS * MAX_SIDE * MAX_SIDE];
    uint8_t any[MAX_CHANNELS * MAX_SIDE];
    uint32_t windows[MAX_CHANNELS * MAX_KERNEL * MAX_KERNEL];
    uint64_t ones, macs, columns;
} answers;

static void
read_case(fuzz_in *in, case_data *c)
{
    dns_window *g = &c->g;
    g->in_h = (int32_t)fuzz_int(in, 1, MAX_SIDE);
    g->in_w = (int32_t)fuzz_int(in, 1, MAX_SIDE);
    g->kernel_h = (int32_t)fuzz_int(in, 1, MAX_KERNEL);
    g->kernel_w = (int32_t)fuzz_int(in, 1, MAX_KERNEL);
    g->out_h = (int32_t)fuzz_int(in, 1, MAX_OUT);
    g->out_w = (int32_t)fuzz_int(in, 1, MAX_OUT);
    g->stride_h = (int32_t)fuzz_int(in, 1, 5);
    g->stride_w = (int32_t)fuzz_int(in, 1, 5);
    g->dilation_h = (int32_t)fuzz_int(in, 1, INT32_MAX);
    g->dilation_w = (int32_t)fuzz_int(in, 1, 5);
    g->pad_h = (int32_t)fuzz_int(in, 0, INT32_MAX);
    g->pad_w = (int32_t)fuzz_int(in, 0, 12);
    c->channels = (size_t)fuzz_int(in, 0, MAX_CHANNELS);
    const double eps = (double)fuzz_int(in, 0, 2) / 4.0;
    c->limit = dns_count_limit(eps);
    for (size_t k = 0; k < sizeof c->weights / sizeof c->weights[0]; k++) {
        c->weights[k] = (int32_t)fuzz_u8(in);
    }
    size_t n = 0;
    const uint8_t *rest = fuzz_rest(in, &n);
    for (size_t k = 0; k < sizeof c->x / sizeof c->x[0]; k++) {
        const uint32_t word =
            n == 0 ? 0 : (uint32_t)rest[k % n] * 0x01010101U * (uint32_t)(k / n + 1);
        memcpy(&c->x[k], &word, sizeof word);
    }
}

static void
solve(const case_data *c, dns_isa isa, answers *a)
{
    const dns_count_ops *ops = dns_count_ops_select(isa);
    const dns_window *g = &c->g;
    const size_t h = (size_t)g->in_h;
    const size_t w = (size_t)g->in_w;
    const size_t words = dns_mask_words(w);
    uint64_t *work = fuzz_new(dns_window_work(g) + dns_columns_work(g), sizeof *work);
    memset(a, 0, sizeof *a);
    ops->pack_f32(c->x, c->channels * h, w, g->in_w, c->limit, a->bits);
    ops->nonzeros_f32(c->x, c->channels, h * w, (ptrdiff_t)(h * w), c->limit, a->nonzeros);
    ops->tiles(a->bits, c->channels, h, w, (size_t)g->stride_h, (size_t)g->stride_w, a->tiles);
    ops->row_any(a->bits, c->channels * h, words, a->any);
    ops->windows(g, a->bits, c->channels, a->windows, work);
    a->columns = ops->columns(g, a->bits, c->channels, (size_t)g->kernel_h, work);
    a->ones = ops->popcount(a->bits, NULL, c->channels * h * words);
    require(dns_valid_macs(ops, g, c->channels, c->weights, 1, a->bits, &a->macs, work, NULL) ==
            DNS_OK);
    free(work);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_in in = {data, size};
    case_data *c = fuzz_new(1, sizeof *c);
    answers *first = fuzz_new(1, sizeof *first);
    answers *other = fuzz_new(1, sizeof *other);
    read_case(&in, c);
    solve(c, DNS_ISA_GENERIC, first);
    uint64_t ones = 0;
    uint64_t macs = 0;
    for (size_t k = 0; k < MAX_CHANNELS; k++) {
        ones += first->nonzeros[k];
    }
    for (size_t k = 0; k < sizeof first->windows / sizeof first->windows[0]; k++) {
        macs += (uint64_t)first->windows[k] * (uint64_t)c->weights[k];
    }
    require(first->ones == ones && first->macs == macs);
    for (int level = 1; level <= (int)dns_isa_detect(); level++) {
        solve(c, (dns_isa)level, other);
        require(memcmp(first, other, sizeof *first) == 0);
    }
    free(c);
    free(first);
    free(other);
    return 0;
}
