/* Count kernels at every level this machine runs: naive oracles, tails, misalignment, guard pages,
 * and the valid-MAC identity against a direct convolution. */
#include "kernelkit.h"

#include "dns/count.h"

#include <float.h>

static int32_t
pick(uint64_t *state, int32_t low, int32_t high)
{
    return low + (int32_t)(kit_random(state) % (uint64_t)(high - low + 1));
}

/* Values around every edge of the definition of zero. */
static float
edge_value(uint64_t *state)
{
    static const float values[] = {0.0F,    -0.0F,        1.0F, -2.0F,    0.25F,     -0.25F,
                                   FLT_MIN, -FLT_MIN / 2, NAN,  INFINITY, -INFINITY, 0.0F};
    return values[kit_random(state) % (sizeof values / sizeof values[0])];
}

static int
is_nonzero(float x, float eps)
{
    return !(fabsf(x) <= eps);
}

#define FOR_EACH_LEVEL(ops)                                                                        \
    for (const dns_count_ops *ops = NULL, *stop = NULL; stop == NULL; stop = ops)                  \
        for (int level_ = 0; level_ <= (int)dns_isa_detect() &&                                    \
                             (ops = dns_count_ops_select((dns_isa)level_)) != NULL;                \
             level_++)

static void
test_select_gives_the_level_asked_for(void)
{
    FOR_EACH_LEVEL(ops)
    {
        CHECK_I64(ops->isa, level_ < (int)DNS_ISA_AVX512 ? level_ : (int)DNS_ISA_AVX512);
    }
}

static void
test_pack_every_tail_and_alignment(void)
{
    uint64_t seed = 1;
    FOR_EACH_LEVEL(ops)
    {
        for (size_t width = 0; width <= 2 * 64 + 33; width++) {
            const size_t rows = 3;
            const size_t ld = width + width % 3;
            const size_t words = dns_mask_words(width);
            const size_t n = (rows - 1) * ld + width;
            const kit_guard in = kit_guard_new(n, sizeof(float));
            const kit_guard out = kit_guard_new(rows * words, sizeof(uint64_t));
            const kit_guard bytes = kit_guard_new(n, 1);
            float *x = (float *)in.data; /* ends at the guard: any alignment of 4 */
            uint64_t *bits = (uint64_t *)out.data;
            const float eps = width % 2 == 0 ? 0.0F : 0.25F;
            for (size_t i = 0; i < n; i++) {
                x[i] = edge_value(&seed);
                ((uint8_t *)bytes.data)[i] = (uint8_t)(is_nonzero(x[i], eps) ? 1 + i % 255 : 0);
            }
            memset(bits, 0xff, rows * words * sizeof *bits);
            ops->pack_f32(x, rows, width, (ptrdiff_t)ld, dns_count_limit((double)eps), bits);
            for (size_t r = 0; r < rows; r++) {
                for (size_t j = 0; j < words * 64; j++) {
                    const int got = (int)(bits[r * words + j / 64] >> j % 64 & 1);
                    CHECK_I64(got, j < width && is_nonzero(x[r * ld + j], eps));
                }
            }
            uint64_t again[3 * 3];
            ops->pack_u8((uint8_t *)bytes.data, rows, width, (ptrdiff_t)ld, again);
            CHECK(memcmp(again, bits, rows * words * sizeof *bits) == 0);
            kit_guard_free(in);
            kit_guard_free(out);
            kit_guard_free(bytes);
        }
    }
}

static void
test_nonzeros_every_tail(void)
{
    uint64_t seed = 2;
    FOR_EACH_LEVEL(ops)
    {
        for (size_t width = 0; width <= 150; width++) {
            const kit_guard in = kit_guard_new((2 * width + 1), sizeof(float));
            float *x = (float *)in.data;
            uint64_t want[2] = {0, 0};
            uint64_t got[2] = {9, 9};
            uint32_t all = 0;
            for (size_t i = 0; i < 2 * width + 1; i++) {
                x[i] = edge_value(&seed);
            }
            for (size_t i = 0; i < width; i++) {
                want[0] += (uint64_t)is_nonzero(x[i], 0.5F);
                want[1] += (uint64_t)is_nonzero(x[width + 1 + i], 0.5F);
            }
            for (size_t i = 0; i < 2 * width + 1; i++) {
                uint32_t u;
                memcpy(&u, x + i, sizeof u);
                all |= u;
            }
            ops->nonzeros_f32(x, 2, width, (ptrdiff_t)width + 1, dns_count_limit(0.5), got);
            CHECK_I64(got[0], want[0]);
            CHECK_I64(got[1], want[1]);
            CHECK_I64(ops->read_all(x, 2 * width + 1), all);
            kit_guard_free(in);
        }
    }
}

static void
test_limits_count_nan_and_infinity(void)
{
    static const float x[5] = {1.0F, NAN, INFINITY, -INFINITY, FLT_MAX};
    FOR_EACH_LEVEL(ops)
    {
        uint64_t n = 0;
        ops->nonzeros_f32(x, 1, 5, 5, dns_count_limit((double)INFINITY), &n);
        CHECK_I64(n, 1);
        ops->nonzeros_f32(x, 1, 5, 5, dns_count_limit((double)FLT_MAX), &n);
        CHECK_I64(n, 3);
        ops->nonzeros_f32(x, 1, 5, 5, dns_count_limit(1e300), &n);
        CHECK_I64(n, 3);
        ops->nonzeros_f32(x, 1, 5, 5, dns_count_limit(1.0 - 1e-12), &n);
        CHECK_I64(n, 5); /* rounded down: 1.0F stays above */
    }
}

static void
test_bit_counts_rows_tiles_and_masked_sums(void)
{
    uint64_t seed = 3;
    FOR_EACH_LEVEL(ops)
    {
        for (int trial = 0; trial < 200; trial++) {
            const size_t h = (size_t)pick(&seed, 0, 9);
            const size_t w = (size_t)pick(&seed, 1, 200);
            const size_t th = (size_t)pick(&seed, 1, 4);
            const size_t tw = (size_t)pick(&seed, 1, 130);
            const size_t words = dns_mask_words(w);
            const kit_guard a = kit_guard_new(h * words, sizeof(uint64_t));
            const kit_guard b = kit_guard_new(h * words, sizeof(uint64_t));
            uint64_t *bits = (uint64_t *)a.data;
            uint64_t *other = (uint64_t *)b.data;
            uint64_t ones = 0;
            uint64_t both = 0;
            uint64_t want[9 * 200] = {0};
            uint64_t got[9 * 200];
            uint8_t any[9];
            int32_t v[200];
            uint64_t sum = 0;
            const size_t across = (w + tw - 1) / tw;
            memset(bits, 0, h * words * 8);
            for (size_t y = 0; y < h; y++) {
                for (size_t k = 0; k < words; k++) {
                    other[y * words + k] = kit_random(&seed);
                }
                const int empty = pick(&seed, 0, 2) == 0;
                for (size_t j = 0; j < w; j++) {
                    const uint64_t bit = !empty && pick(&seed, 0, 3) == 0;
                    bits[y * words + j / 64] |= bit << j % 64;
                    ones += bit;
                    both += bit & other[y * words + j / 64] >> j % 64;
                    want[y / th * across + j / tw] += bit;
                }
            }
            CHECK_I64(ops->popcount(bits, NULL, h * words), ones);
            CHECK_I64(ops->popcount(bits, other, h * words), both);
            ops->tiles(bits, 1, h, w, th, tw, got);
            CHECK(memcmp(got, want, (h + th - 1) / th * across * sizeof *got) == 0);
            ops->row_any(bits, h, words, any);
            for (size_t y = 0; y < h; y++) {
                CHECK_I64(any[y], ops->popcount(bits + y * words, NULL, words) != 0);
            }
            for (size_t j = 0; h > 0 && j < w; j++) {
                v[j] = pick(&seed, 0, INT32_MAX - 1);
                sum += (bits[j / 64] >> j % 64 & 1) * (uint64_t)v[j];
            }
            CHECK_I64(h == 0 ? 0 : ops->masked_sum(bits, v, w), sum);
            kit_guard_free(a);
            kit_guard_free(b);
        }
    }
}

static void
test_window_span_matches_enumeration(void)
{
    uint64_t seed = 4;
    for (int trial = 0; trial < 5000; trial++) {
        const int64_t in = pick(&seed, 1, 12);
        const int64_t out = pick(&seed, 1, 14);
        const int64_t stride = pick(&seed, 1, 4);
        const int64_t dilation = pick(&seed, 1, 4);
        const int64_t pad = pick(&seed, 0, 9);
        const int64_t k = pick(&seed, 0, 6);
        int64_t first = -1;
        int64_t last = -1;
        int64_t n = 0;
        for (int64_t o = 0; o < out; o++) {
            const int64_t y = o * stride + k * dilation - pad;
            if (y >= 0 && y < in) {
                first = n++ == 0 ? y : first;
                last = y;
            }
        }
        const dns_span s = dns_window_span(k, in, out, stride, dilation, pad);
        CHECK_I64(s.n, n);
        CHECK(n == 0 || (s.first == first && s.last == last));
    }
}

/* Valid products by definition: every output, every offset, both factors non-zero. */
static uint64_t
direct_macs(const dns_window *g, int channels, int outs, int groups, const float *w, const float *x)
{
    const int per_in = channels / groups;
    const int per_out = outs / groups;
    uint64_t total = 0;
    for (int m = 0; m < outs; m++) {
        for (int c = 0; c < per_in; c++) {
            const float *map = x + (ptrdiff_t)(m / per_out * per_in + c) * g->in_h * g->in_w;
            for (int i = 0; i < g->kernel_h; i++) {
                for (int j = 0; j < g->kernel_w; j++, w++) {
                    for (int oy = 0; *w != 0 && oy < g->out_h; oy++) {
                        for (int ox = 0; ox < g->out_w; ox++) {
                            const int y = oy * g->stride_h + i * g->dilation_h - g->pad_h;
                            const int z = ox * g->stride_w + j * g->dilation_w - g->pad_w;
                            total += y >= 0 && y < g->in_h && z >= 0 && z < g->in_w &&
                                     map[y * g->in_w + z] != 0;
                        }
                    }
                }
            }
        }
    }
    return total;
}

static void
random_window(uint64_t *seed, dns_window *g)
{
    *g = (dns_window){.in_h = pick(seed, 1, 9),
                      .in_w = pick(seed, 0, 9) == 0 ? pick(seed, 60, 70) : pick(seed, 1, 9),
                      .out_h = pick(seed, 1, 9),
                      .out_w = pick(seed, 1, 9),
                      .kernel_h = pick(seed, 1, 5),
                      .kernel_w = pick(seed, 1, 5),
                      .stride_h = pick(seed, 1, 3),
                      .stride_w = pick(seed, 1, 3),
                      .dilation_h = pick(seed, 1, 3),
                      .dilation_w = pick(seed, 1, 3),
                      .pad_h = pick(seed, 0, 4),
                      .pad_w = pick(seed, 0, 4)};
}

enum { MAX_W = 4 * 4 * 25, MAX_X = 8 * 9 * 70 };

static void
test_valid_macs_equal_direct_convolution(void)
{
    static float w[4 * MAX_W];
    static float x[MAX_X];
    static uint64_t bits[8 * 9 * 2];
    static uint64_t work[256];
    static int32_t counts[8 * 25];
    uint64_t seed = 5;
    for (int trial = 0; trial < 1000; trial++) {
        dns_window g;
        random_window(&seed, &g);
        const int groups = pick(&seed, 1, 2);
        const int channels = groups * pick(&seed, 1, 4);
        const int outs = groups * pick(&seed, 1, 4);
        const int kernel = g.kernel_h * g.kernel_w;
        const int keep = pick(&seed, 0, 4);
        for (int i = 0; i < outs * channels / groups * kernel; i++) {
            w[i] = pick(&seed, 1, 4) <= keep ? 1.0F : 0.0F;
        }
        for (int i = 0; i < channels * g.in_h * g.in_w; i++) {
            x[i] = pick(&seed, 1, 4) <= keep ? -1.0F : 0.0F;
        }
        const uint64_t want = direct_macs(&g, channels, outs, groups, w, x);
        REQUIRE(dns_window_work(&g) <= sizeof work / sizeof work[0]);
        FOR_EACH_LEVEL(ops)
        {
            uint64_t got = 0;
            ops->weights(w, (size_t)groups, (size_t)(outs / groups),
                         (size_t)(channels / groups * kernel), 0, counts);
            ops->pack_f32(x, (size_t)(channels * g.in_h), (size_t)g.in_w, g.in_w, 0, bits);
            CHECK_I64(dns_valid_macs(ops, &g, (size_t)channels, counts, 1, bits, &got, work, NULL),
                      DNS_OK);
            CHECK_I64(got, want);
            if (keep == 4) {
                CHECK_I64(got, (uint64_t)(channels / groups * outs) * dns_window_rect(&g));
            }
        }
    }
}

static void
test_workspace_is_all_that_windows_touch(void)
{
    uint64_t seed = 6;
    FOR_EACH_LEVEL(ops)
    {
        for (int trial = 0; trial < 300; trial++) {
            dns_window g;
            random_window(&seed, &g);
            const size_t words = (size_t)g.in_h * dns_mask_words((size_t)g.in_w);
            const kit_guard work = kit_guard_new(dns_window_work(&g), sizeof(uint64_t));
            const kit_guard in = kit_guard_new(words, sizeof(uint64_t));
            uint32_t count[25];
            uint64_t total = 0;
            for (size_t k = 0; k < words; k++) {
                ((uint64_t *)in.data)[k] = ~(uint64_t)0; /* a set tail must not be counted */
            }
            ops->windows(&g, (uint64_t *)in.data, 1, count, (uint64_t *)work.data);
            for (int k = 0; k < g.kernel_h * g.kernel_w; k++) {
                total += count[k];
            }
            CHECK_I64(total, dns_window_rect(&g));
            kit_guard_free(work);
            kit_guard_free(in);
        }
    }
}

/* Column visits by definition, position by position. */
static uint64_t
direct_columns(const dns_window *g, int channels, int depth, const float *x)
{
    uint64_t total = 0;
    for (int c = 0; c < channels; c += depth) {
        for (int visit = 0; visit < g->out_h * g->out_w * g->kernel_w; visit++) {
            const int j = visit % g->kernel_w;
            const int ox = visit / g->kernel_w % g->out_w;
            const int oy = visit / g->kernel_w / g->out_w;
            const int z = ox * g->stride_w + j * g->dilation_w - g->pad_w;
            int any = 0;
            for (int k = c; k < channels && k < c + depth; k++) {
                for (int i = 0; i < g->kernel_h && z >= 0 && z < g->in_w; i++) {
                    const int y = oy * g->stride_h + i * g->dilation_h - g->pad_h;
                    any |= y >= 0 && y < g->in_h && x[(k * g->in_h + y) * g->in_w + z] != 0;
                }
            }
            total += (uint64_t)any;
        }
    }
    return total;
}

static void
test_columns_equal_direct_visits(void)
{
    static float x[MAX_X];
    uint64_t seed = 7;
    for (int trial = 0; trial < 500; trial++) {
        dns_window g;
        random_window(&seed, &g);
        const int channels = pick(&seed, 1, 8);
        const int depth = pick(&seed, 1, 5);
        const int keep = pick(&seed, 0, 4);
        const size_t words = (size_t)(channels * g.in_h) * dns_mask_words((size_t)g.in_w);
        const kit_guard bits = kit_guard_new(words, sizeof(uint64_t));
        const kit_guard work = kit_guard_new(dns_columns_work(&g), sizeof(uint64_t));
        for (int i = 0; i < channels * g.in_h * g.in_w; i++) {
            x[i] = pick(&seed, 1, 8) <= keep ? 1.0F : 0.0F;
        }
        const uint64_t want = direct_columns(&g, channels, depth, x);
        FOR_EACH_LEVEL(ops)
        {
            ops->pack_f32(x, (size_t)(channels * g.in_h), (size_t)g.in_w, g.in_w, 0,
                          (uint64_t *)bits.data);
            CHECK_I64(ops->columns(&g, (uint64_t *)bits.data, (size_t)channels, (size_t)depth,
                                   (uint64_t *)work.data),
                      want);
        }
        kit_guard_free(bits);
        kit_guard_free(work);
    }
}

static void
test_mask_check_finds_a_set_tail_bit(void)
{
    uint64_t bits[6] = {0, 1, 0, 1, 0, 1};
    dns_error err = {DNS_OK, 0, ""};
    CHECK_I64(dns_mask_check(bits, 3, 65, &err), DNS_OK);
    CHECK_I64(dns_mask_check(bits, 3, 128, &err), DNS_OK);
    CHECK_I64(dns_mask_check(bits, 0, 65, &err), DNS_OK);
    bits[3] = 3;
    CHECK_I64(dns_mask_check(bits, 3, 66, &err), DNS_OK);
    CHECK_I64(dns_mask_check(bits, 3, 65, &err), DNS_ERR_VALUE);
    CHECK_I64(err.index, 1);
}

static void
test_multiply_chain(void)
{
    CHECK_I64(dns_probe_multiply_chain(3, 0), 3);
    CHECK_I64(dns_probe_multiply_chain(3, 3), 6561);
}

static void
test_rejected_arguments(void)
{
    dns_error err = {DNS_OK, 0, ""};
    dns_window g = {4, 4, 4, 4, 3, 3, 1, 1, 1, 1, 1, 1};
    int32_t w[9] = {0};
    uint64_t out = 7;
    uint64_t work[64];
    uint64_t bits[4] = {0};
    const dns_count_ops *ops = dns_count_ops_select(DNS_ISA_GENERIC);

    CHECK_I64(dns_count_check_eps(-1.0, &err), DNS_ERR_VALUE);
    CHECK_STR(err.message, "eps: expected a number >= 0, got -1");
    CHECK_I64(dns_count_check_eps(NAN, NULL), DNS_ERR_VALUE);
    CHECK_I64(dns_count_check_eps(INFINITY, NULL), DNS_OK);

    g.stride_w = 0;
    CHECK_I64(dns_window_check(&g, &err), DNS_ERR_VALUE);
    CHECK_STR(err.message, "stride_w: expected an integer >= 1, got 0");
    g.stride_w = 1;
    g.in_h = g.in_w = 65536;
    CHECK_I64(dns_window_check(&g, &err), DNS_ERR_VALUE);
    g.in_h = g.in_w = 4;
    g.kernel_h = g.kernel_w = 65536;
    CHECK_I64(dns_window_check(&g, &err), DNS_ERR_VALUE);
    g.kernel_h = g.kernel_w = 3;

    w[4] = -1;
    CHECK_I64(dns_valid_macs(ops, &g, 1, w, 1, bits, &out, work, &err), DNS_ERR_VALUE);
    CHECK_STR(err.message, "weights: expected counts >= 0, got -1 at channel 0");
    CHECK_I64(out, 7);
    for (int i = 0; i < 9; i++) {
        w[i] = INT32_MAX;
    }
    g.in_h = g.in_w = 46340;
    CHECK_I64(dns_valid_macs(ops, &g, 1, w, 0, NULL, NULL, work, &err), DNS_ERR_OVERFLOW);
}

TAP_MAIN(TAP(test_select_gives_the_level_asked_for), TAP(test_pack_every_tail_and_alignment),
         TAP(test_nonzeros_every_tail), TAP(test_limits_count_nan_and_infinity),
         TAP(test_bit_counts_rows_tiles_and_masked_sums), TAP(test_window_span_matches_enumeration),
         TAP(test_valid_macs_equal_direct_convolution),
         TAP(test_workspace_is_all_that_windows_touch), TAP(test_columns_equal_direct_visits),
         TAP(test_mask_check_finds_a_set_tail_bit), TAP(test_multiply_chain),
         TAP(test_rejected_arguments))
