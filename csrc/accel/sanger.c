/* Sanger: latency model, mask statistics and mask prediction.
 *
 * Latency. The array has 64 rows of 16 elements at 1 GHz: 2048 operations per ns. With s tokens,
 * width D, mask density rho and load balance lb, the share of the array's slots that a mask takes
 * is r = rho / lb. Version 1 counts operations:
 *
 *     t = [6 s D^2 + r (4 s^2 D + 2 s D^2)] / 2048 ns                 (Q, K, V; then scores,
 * output)
 *
 * Version 2 walks tiles: packing and splitting turns the s x s mask into n sub-rows of at most
 * 16 of 64 columns, n = 64/16 r s; a 64 x 64 tile costs (D + 64) + (n + 64) cycles, there are n/64
 * tile rows and s/64 tile columns, and
 *
 *     t = 6 s D^2 / 2048 + 2 s D^2 r / 2048 + (n/64) ((D + 64) + (n + 64)) (s/64) ns.
 *
 * DNS_COMPAT_ARTIFACT is exactly that, whatever number of elements the load balance was measured
 * for. DNS_COMPAT_CORRECTED takes n = 64/P r s for a load balance of P elements per row, rounds
 * tile counts up, and does not shrink the dense output projection with the sparsity of attention.
 *
 * Statistics. Each row is cut into vectors of 64; a vector with n_v ones needs ceil(n_v / P)
 * passes. The skip load balance is sum n_v / (P sum ceil(n_v / P)): the mean occupancy of the
 * passes.
 *
 * Prediction. Scores of 4-bit symmetrically quantised Q and K are cheap; the mask keeps the
 * positions whose softmax exceeds a threshold. Products of codes are exact integers, the rest is
 * float64 in a fixed order.
 *
 * Source: Lu et al.: Sanger, MICRO 2021, with its public code (bench_sanger.py, bench_sanger_v2.py,
 * modeling_sanger_spattn.py, quant_utils.py, hardware/.../pack.scala).
 */
#include "dns/accel_sanger.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#define VECTOR 64
static const double OPS_PER_S = 2048e9;
static const double CLOCK_HZ = 1e9;
static const double ARTIFACT_SHARE = 0.25; /* 16 elements of 64 columns */

dns_status
dns_sanger_check(const dns_sanger *m, dns_error *err)
{
    DNS_REQUIRE(m->compat == DNS_COMPAT_ARTIFACT || m->compat == DNS_COMPAT_CORRECTED, err,
                DNS_ERR_VALUE, -1, "compat: expected 0 or 1, got %d", (int)m->compat);
    DNS_REQUIRE(m->version == 1 || m->version == 2, err, DNS_ERR_VALUE, -1,
                "version: expected 1 or 2, got %d", (int)m->version);
    DNS_REQUIRE(m->width >= 1, err, DNS_ERR_VALUE, -1, "width: expected an integer >= 1, got %d",
                (int)m->width);
    DNS_REQUIRE(m->pes >= 1 && m->pes <= VECTOR, err, DNS_ERR_VALUE, -1,
                "pes: expected an integer in [1, 64], got %d", (int)m->pes);
    return DNS_OK;
}

/* The public model, version 2, with its operations in their order: traces read from its files give
 * the latencies that its authors scheduled, to the last bit. */
static double
artifact_seconds(const dns_sanger *m, double density, double lb, double s)
{
    const double width = (double)m->width;
    const double ops = s * width * width * 2.0;
    const double linear = ops * 3.0 / 1e9 / 2048.0;
    if (density == 0.0) {
        return linear;
    }
    const double sub_rows = density / lb / ARTIFACT_SHARE * s;
    const double tile_row = ((width + VECTOR) + (sub_rows + VECTOR)) * (s / VECTOR);
    return linear + sub_rows / VECTOR * tile_row / CLOCK_HZ + ops / 1e9 / (2048.0 / density * lb);
}

/* Seconds at slot share r = density/lb. */
static double
layer_seconds(const dns_sanger *m, double density, double lb, double s)
{
    const bool artifact = m->compat == DNS_COMPAT_ARTIFACT;
    if (artifact && m->version == 2) {
        return artifact_seconds(m, density, lb, s);
    }
    const double r = lb > 0.0 ? density / lb : 0.0;
    const double width = (double)m->width;
    const double projection = 2.0 * s * width * width / OPS_PER_S;
    const double dense = 3.0 * projection + projection * (artifact ? r : 1.0);
    if (m->version == 1) {
        return dense + 4.0 * s * s * width * r / OPS_PER_S;
    }
    const double n = r / ((double)m->pes / VECTOR) * s;
    return dense +
           ceil(n / VECTOR) * ((width + VECTOR) + (n + VECTOR)) * ceil(s / VECTOR) / CLOCK_HZ;
}

dns_status
dns_sanger_latency(const dns_sanger *m, size_t n, const double *density, const double *lb,
                   const int64_t *seq, double *seconds, double *ratio_max, dns_error *err)
{
    DNS_TRY(dns_sanger_check(m, err));
    double largest = 0.0;
    for (size_t i = 0; i < n; i++) {
        DNS_REQUIRE(density[i] >= 0.0 && density[i] <= 1.0, err, DNS_ERR_VALUE, i,
                    "density: expected numbers in [0, 1], got %g at index %zu", density[i], i);
        DNS_REQUIRE((lb[i] > 0.0 && lb[i] <= 1.0) || (lb[i] == 0.0 && density[i] == 0.0), err,
                    DNS_ERR_VALUE, i,
                    "lb: expected numbers in (0, 1], or 0 with density 0, got %g at index %zu",
                    lb[i], i);
        DNS_REQUIRE(seq[i] >= 1 && seq[i] <= INT32_MAX, err, DNS_ERR_VALUE, i,
                    "seq_len: expected integers in [1, 2^31), got %lld at index %zu",
                    (long long)seq[i], i);
    }
    for (size_t i = 0; i < n; i++) {
        const double r = lb[i] > 0.0 ? density[i] / lb[i] : 0.0;
        largest = r > largest ? r : largest;
        seconds[i] = layer_seconds(m, density[i], lb[i], (double)seq[i]);
    }
    if (ratio_max != NULL) {
        *ratio_max = largest;
    }
    return DNS_OK;
}

static int64_t
ones64(uint64_t x)
{
    x -= x >> 1 & 0x5555555555555555U;
    x = (x & 0x3333333333333333U) + (x >> 2 & 0x3333333333333333U);
    x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fU;
    return (int64_t)(x * 0x0101010101010101U >> 56);
}

static dns_status
check_mask(size_t seq, int32_t pes, dns_error *err)
{
    DNS_REQUIRE(seq >= VECTOR && seq % VECTOR == 0, err, DNS_ERR_VALUE, -1,
                "mask: expected a sequence length that is a positive multiple of 64, got %zu", seq);
    DNS_REQUIRE(pes >= 1 && pes <= VECTOR, err, DNS_ERR_VALUE, -1,
                "pes: expected an integer in [1, 64], got %d", (int)pes);
    return DNS_OK;
}

/* Real keys among 64 consecutive tokens. */
static uint64_t
key_word(const uint8_t *key, size_t first)
{
    if (key == NULL) {
        return ~(uint64_t)0;
    }
    uint64_t word = 0;
    for (size_t i = 0; i < VECTOR; i++) {
        word |= (uint64_t)(key[first + i] != 0) << i;
    }
    return word;
}

dns_status
dns_sanger_mask_counts(const uint64_t *bits, size_t heads, size_t seq, const uint8_t *key,
                       int32_t pes, int32_t attended_only, dns_sanger_counts *out, dns_error *err)
{
    DNS_TRY(check_mask(seq, pes, err));
    const size_t words = seq / VECTOR;
    dns_sanger_counts c;
    memset(&c, 0, sizeof c);
    int64_t keys = 0;
    for (size_t w = 0; w < words; w++) {
        const uint64_t attended = key_word(key, w * VECTOR);
        keys += ones64(attended);
        if (attended == 0) {
            continue;
        }
        for (size_t row = 0; row < heads * seq; row++) {
            if (key != NULL && key[row % seq] == 0) {
                continue;
            }
            const uint64_t x = bits[row * words + w];
            const int64_t inside = ones64(x & attended);
            const int64_t n = attended_only ? inside : ones64(x);
            c.nonzeros += inside;
            c.ones += n;
            c.vectors++;
            c.nonempty += n > 0;
            c.segments += (n + pes - 1) / pes;
        }
    }
    c.area = keys * keys;
    *out = c;
    return DNS_OK;
}

/* Groups of one block of 64 rows; held[] counts the ones of each row in the open group. */
static int64_t
block_groups(const uint64_t *rows, size_t words, uint64_t live, const uint8_t *key, int32_t pes)
{
    int32_t held[VECTOR] = {0};
    int64_t groups = 0;
    int open = 0;
    for (size_t w = 0; w < words; w++) {
        const uint64_t attended = key_word(key, w * VECTOR);
        for (size_t bit = 0; bit < VECTOR; bit++) {
            uint64_t column = 0;
            int full = 0;
            if ((attended >> bit & 1) == 0) {
                continue;
            }
            for (size_t r = 0; r < VECTOR; r++) {
                const uint64_t one = rows[r * words + w] >> bit & live >> r & 1;
                column |= one << r;
                full |= one != 0 && held[r] == pes;
            }
            if (full) {
                groups++;
                memset(held, 0, sizeof held);
            }
            for (size_t r = 0; r < VECTOR; r++) {
                held[r] += (int32_t)(column >> r & 1);
            }
            open = column != 0 || (open && !full);
        }
    }
    return groups + open;
}

dns_status
dns_sanger_mask_groups(const uint64_t *bits, size_t heads, size_t seq, const uint8_t *key,
                       int32_t pes, int64_t *groups, dns_error *err)
{
    DNS_TRY(check_mask(seq, pes, err));
    const size_t words = seq / VECTOR;
    int64_t total = 0;
    for (size_t row = 0; row < heads * seq; row += VECTOR) {
        total += block_groups(bits + row * words, words, key_word(key, row % seq), key, pes);
    }
    *groups = total;
    return DNS_OK;
}

/* ---- prediction -------------------------------------------------------------------------------*/

/* Workspace of one sequence: row lengths and scores in double, then codes in int16. */
typedef struct predict_work {
    double *q_norm, *k_norm, *score;
    int16_t *q_code, *k_code;
} predict_work;

static predict_work
split_work(void *work, size_t heads, size_t seq, size_t dim)
{
    predict_work w;
    w.q_norm = work;
    w.k_norm = w.q_norm + heads * seq;
    w.score = w.k_norm + heads * seq;
    w.q_code = (int16_t *)(w.score + seq);
    w.k_code = w.q_code + heads * seq * dim;
    return w;
}

size_t
dns_sanger_predict_work(size_t heads, size_t seq, size_t dim)
{
    return (2 * heads * seq + seq) * sizeof(double) + 2 * heads * seq * dim * sizeof(int16_t);
}

/* Quantises rows to codes in [-top, top] and returns the step (value = code * step). Rows are
 * scaled to unit length first if `normalize`; norm receives the lengths (1 otherwise). */
static double
quantise(const float *x, size_t rows, size_t dim, int normalize, int32_t top, double range,
         double *norm, int16_t *code)
{
    double largest = 0.0;
    for (size_t r = 0; r < rows; r++) {
        double square = 0.0;
        double peak = 0.0;
        for (size_t i = 0; i < dim; i++) {
            const double v = fabs((double)x[r * dim + i]);
            square += v * v;
            peak = v > peak ? v : peak;
        }
        norm[r] = normalize ? sqrt(square) : 1.0;
        if (norm[r] > 0.0 && peak / norm[r] > largest) {
            largest = peak / norm[r];
        }
    }
    const double limit = range > 0.0 ? range : largest;
    const double scale = limit > 0.0 ? (double)top / limit : 0.0;
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < dim; i++) {
            const double unit = norm[r] > 0.0 ? (double)x[r * dim + i] / norm[r] : 0.0;
            const double level = rint(unit * scale);
            code[r * dim + i] = (int16_t)fmin(fmax(level, -(double)top), (double)top);
        }
    }
    return limit / (double)top;
}

static int32_t
dot(const int16_t *a, const int16_t *b, size_t n)
{
    int32_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (int32_t)a[i] * b[i];
    }
    return sum;
}

/* Keeps the keys of one query whose softmax over the attended keys exceeds the threshold. */
static void
keep_row(const double *score, size_t seq, size_t end, const uint8_t *key, double threshold,
         uint64_t *out)
{
    double top = -INFINITY;
    double sum = 0.0;
    for (size_t j = 0; j < end; j++) {
        if ((key == NULL || key[j] != 0) && score[j] > top) {
            top = score[j];
        }
    }
    for (size_t j = 0; j < end; j++) {
        sum += key == NULL || key[j] != 0 ? exp(score[j] - top) : 0.0;
    }
    memset(out, 0, (seq / VECTOR + (seq % VECTOR != 0)) * sizeof *out);
    for (size_t j = 0; j < end; j++) {
        const uint64_t keep = (key == NULL || key[j] != 0) && exp(score[j] - top) / sum > threshold;
        out[j / VECTOR] |= keep << j % VECTOR;
    }
}

static dns_status
check_predict(const dns_sanger_predict *p, size_t dim, dns_error *err)
{
    DNS_REQUIRE(p->bits >= 2 && p->bits <= 8, err, DNS_ERR_VALUE, -1,
                "bits: expected an integer in [2, 8], got %d", (int)p->bits);
    DNS_REQUIRE(p->threshold >= 0.0 && p->threshold < 1.0, err, DNS_ERR_VALUE, -1,
                "threshold: expected a number in [0, 1), got %g", p->threshold);
    DNS_REQUIRE(!isnan(p->q_max) && !isnan(p->k_max), err, DNS_ERR_VALUE, -1,
                "q_max, k_max: expected numbers, got NaN");
    DNS_REQUIRE(dim >= 1 && dim <= 65536, err, DNS_ERR_VALUE, -1,
                "q: expected a head dimension in [1, 65536], got %zu", dim);
    return DNS_OK;
}

static dns_status
check_finite(const float *x, size_t n, const char *name, dns_error *err)
{
    for (size_t i = 0; i < n; i++) {
        DNS_REQUIRE(isfinite(x[i]), err, DNS_ERR_VALUE, i,
                    "%s: expected finite values, got %g at flat index %zu", name, (double)x[i], i);
    }
    return DNS_OK;
}

dns_status
dns_sanger_predict_mask(const dns_sanger_predict *p, size_t heads, size_t seq, size_t dim,
                        const float *q, const float *k, const uint8_t *key, uint64_t *out,
                        void *work, dns_error *err)
{
    DNS_TRY(check_predict(p, dim, err));
    DNS_TRY(check_finite(q, heads * seq * dim, "q", err));
    DNS_TRY(check_finite(k, heads * seq * dim, "k", err));
    const size_t words = seq / VECTOR + (seq % VECTOR != 0);
    const int32_t top = (1 << (p->bits - 1)) - 1;
    const predict_work w = split_work(work, heads, seq, dim);
    const double q_step =
        quantise(q, heads * seq, dim, p->normalize, top, p->q_max, w.q_norm, w.q_code);
    const double k_step =
        quantise(k, heads * seq, dim, p->normalize, top, p->k_max, w.k_norm, w.k_code);
    const double unit = q_step * k_step / sqrt((double)dim);
    for (size_t h = 0; h < heads; h++) {
        for (size_t i = 0; i < seq; i++) {
            const size_t row = h * seq + i;
            const size_t end = p->causal ? i + 1 : seq;
            for (size_t j = 0; j < end; j++) {
                const size_t column = h * seq + j;
                const int32_t d = dot(w.q_code + row * dim, w.k_code + column * dim, dim);
                w.score[j] = (double)d * unit * (w.q_norm[row] * w.k_norm[column]);
            }
            keep_row(w.score, seq, end, key, p->threshold, out + row * words);
        }
    }
    return DNS_OK;
}
