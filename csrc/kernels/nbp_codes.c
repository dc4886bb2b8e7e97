/* Nested codes: uniform ranges, and clusters of one row by one-dimensional k-means.
 *
 * In one dimension clusters are intervals of the sorted values, so all work is done on the sorted
 * row and its prefix sums. Seed: four clusters by Lloyd's iterations. Then each cluster [a, b) is
 * cut at the c between different values that makes S(a, c)^2 / (c - a) + S(c, b)^2 / (b - c)
 * largest, S being sums: the squared error falls by the most that any cut can give. Children of
 * cluster q are 2 q and 2 q + 1, which nests the codes (incremental upscaling of Any-Precision LLM,
 * Park et al., ICML 2024).
 */
#include "dns/nbp.h"
#include "dns/quant.h"

#include <math.h>
#include <string.h>

enum { SEED_BITS = 2, SEED_ITERATIONS = 50, MAX_CODES = 256 };

size_t
dns_nbp_groups(size_t cols, size_t group)
{
    return group == 0 ? 1 : cols / group + (cols % group != 0);
}

/* One row, sorted. */
typedef struct sorted {
    size_t n;
    uint32_t *key[2];   /* order-preserving bits of the values; the second is a buffer */
    uint32_t *index[2]; /* where they came from */
    float *value;
    double *prefix; /* [n + 1] */
} sorted;

static uint32_t
key_of(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits & 0x80000000U ? ~bits : bits | 0x80000000U;
}

/* Stable radix sort by bytes; four passes end in the first buffers. */
static void
sort_row(sorted *s, const float *w)
{
    for (size_t i = 0; i < s->n; i++) {
        s->key[0][i] = key_of(w[i] + 0.0F); /* -0 is 0 */
        s->index[0][i] = (uint32_t)i;
    }
    for (unsigned pass = 0; pass < 4; pass++) {
        const uint32_t *from = s->key[pass % 2];
        size_t start[257] = {0};
        for (size_t i = 0; i < s->n; i++) {
            start[(from[i] >> 8 * pass & 255U) + 1]++;
        }
        for (size_t b = 0; b < 256; b++) {
            start[b + 1] += start[b];
        }
        for (size_t i = 0; i < s->n; i++) {
            const size_t at = start[from[i] >> 8 * pass & 255U]++;
            s->key[1 - pass % 2][at] = from[i];
            s->index[1 - pass % 2][at] = s->index[pass % 2][i];
        }
    }
    s->prefix[0] = 0.0;
    for (size_t i = 0; i < s->n; i++) {
        s->value[i] = w[s->index[0][i]];
        s->prefix[i + 1] = s->prefix[i] + (double)s->value[i];
    }
}

static double
mean(const sorted *s, size_t a, size_t b)
{
    return (s->prefix[b] - s->prefix[a]) / (double)(b - a);
}

/* First position whose value exceeds v. */
static size_t
above(const sorted *s, double v)
{
    size_t low = 0;
    size_t high = s->n;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if ((double)s->value[middle] <= v) {
            low = middle + 1;
        }
        else {
            high = middle;
        }
    }
    return low;
}

/* Bounds of the four seed clusters, edge[0 .. 4]. */
static void
seed(const sorted *s, size_t *edge)
{
    enum { N = 1 << SEED_BITS };
    for (size_t i = 0; i <= N; i++) {
        edge[i] = i * s->n / N;
    }
    bool moved = s->n > 0;
    for (int step = 0; moved && step < SEED_ITERATIONS; step++) {
        double centre[N];
        for (size_t i = 0; i < N; i++) {
            const size_t a = edge[i] < s->n ? edge[i] : s->n - 1;
            centre[i] = edge[i + 1] > edge[i] ? mean(s, edge[i], edge[i + 1]) : (double)s->value[a];
        }
        moved = false;
        for (size_t i = 1; i < N; i++) {
            size_t at = above(s, (centre[i - 1] + centre[i]) / 2.0);
            at = at < edge[i - 1] ? edge[i - 1] : at;
            moved = moved || at != edge[i];
            edge[i] = at;
        }
    }
}

/* Where [a, b) is best cut; b if all its values are equal. */
static size_t
best_cut(const sorted *s, size_t a, size_t b)
{
    size_t best = b;
    double most = -1.0;
    for (size_t c = a + 1; c < b; c++) {
        if (s->value[c] > s->value[c - 1]) {
            const double left = s->prefix[c] - s->prefix[a];
            const double right = s->prefix[b] - s->prefix[c];
            const double gain = left * left / (double)(c - a) + right * right / (double)(b - c);
            if (gain > most) {
                most = gain;
                best = c;
            }
        }
    }
    return best;
}

/* Means of the 2^p clusters; an empty one takes its parent's. */
static void
fill_table(const sorted *s, int p, const size_t *edge, size_t step, const float *parents,
           float *lut)
{
    for (size_t q = 0; q < (size_t)1 << p; q++) {
        const size_t a = edge[q * step];
        const size_t b = edge[(q + 1) * step];
        const float parent = parents != NULL ? parents[q / 2] : 0.0F;
        lut[q] = b > a ? (float)mean(s, a, b) : parent;
    }
}

static void
cluster_row(sorted *s, const float *w, int bits, uint8_t *codes, float *lut)
{
    size_t edge[MAX_CODES + 1];
    sort_row(s, w);
    seed(s, edge);
    fill_table(s, 1, edge, 2, NULL, lut);
    fill_table(s, SEED_BITS, edge, 1, lut, lut + 2);
    for (int p = SEED_BITS; p < bits; p++) {
        const size_t n = (size_t)1 << p;
        for (size_t q = n; q-- > 0;) {
            const size_t a = edge[q];
            const size_t b = edge[q + 1];
            edge[2 * q + 2] = b;
            edge[2 * q + 1] = best_cut(s, a, b);
            edge[2 * q] = a;
        }
        fill_table(s, p + 1, edge, 1, lut + n - 2, lut + 2 * n - 2);
    }
    for (size_t q = 0; q < (size_t)1 << bits; q++) {
        for (size_t i = edge[q]; i < edge[q + 1]; i++) {
            codes[s->index[0][i]] = (uint8_t)q;
        }
    }
}

static void
sorted_free(const dns_alloc *alloc, sorted *s)
{
    for (size_t i = 0; i < 2; i++) {
        dns_mem_free(alloc, s->key[i], s->n, sizeof *s->key[i]);
        dns_mem_free(alloc, s->index[i], s->n, sizeof *s->index[i]);
    }
    dns_mem_free(alloc, s->value, s->n, sizeof *s->value);
    dns_mem_free(alloc, s->prefix, s->n + 1, sizeof *s->prefix);
}

static dns_status
cluster(const float *w, ptrdiff_t ldw, const dns_nbp_codes *out, const dns_alloc *alloc,
        dns_error *err)
{
    sorted s = {.n = out->cols};
    for (size_t i = 0; i < 2; i++) {
        s.key[i] = dns_mem_new(alloc, s.n, sizeof *s.key[i]);
        s.index[i] = dns_mem_new(alloc, s.n, sizeof *s.index[i]);
    }
    s.value = dns_mem_new(alloc, s.n, sizeof *s.value);
    s.prefix = dns_mem_new(alloc, s.n + 1, sizeof *s.prefix);
    const bool whole = s.key[0] != NULL && s.key[1] != NULL && s.index[0] != NULL &&
                       s.index[1] != NULL && s.value != NULL && s.prefix != NULL;
    const size_t table = ((size_t)2 << out->bits) - 2;
    for (size_t i = 0; whole && i < out->rows; i++) {
        cluster_row(&s, w + (ptrdiff_t)i * ldw, out->bits, out->codes + i * out->cols,
                    out->lut + i * table);
    }
    sorted_free(alloc, &s);
    return whole ? DNS_OK : dns_fail(err, DNS_ERR_MEMORY, -1, "W: out of memory for one row");
}

static void
uniform_group(const float *w, size_t n, int bits, uint8_t *codes, float *scale, float *zero)
{
    const int top = (1 << bits) - 1;
    double lo = (double)w[0];
    double hi = lo;
    for (size_t k = 1; k < n; k++) {
        lo = (double)w[k] < lo ? (double)w[k] : lo;
        hi = (double)w[k] > hi ? (double)w[k] : hi;
    }
    *zero = (float)lo;
    *scale = (float)((hi - lo) / top);
    for (size_t k = 0; k < n; k++) {
        const double q = *scale > 0.0F ? rint(((double)w[k] - lo) / (double)*scale) : 0.0;
        codes[k] = (uint8_t)(q > top ? top : q);
    }
}

dns_status
dns_nbp_quantize(const float *w, ptrdiff_t ldw, const dns_nbp_codes *out, const dns_alloc *alloc,
                 dns_error *err)
{
    DNS_REQUIRE(out->bits >= DNS_QUANT_MIN_BITS && out->bits <= DNS_QUANT_MAX_BITS, err,
                DNS_ERR_VALUE, -1, "bits: expected %d to %d, got %d", DNS_QUANT_MIN_BITS,
                DNS_QUANT_MAX_BITS, out->bits);
    DNS_REQUIRE(out->lut == NULL || out->group == 0, err, DNS_ERR_VALUE, -1,
                "group: expected none with a codebook, got %zu", out->group);
    DNS_REQUIRE(out->group % DNS_NBP_GROUP == 0, err, DNS_ERR_VALUE, -1,
                "group: expected a multiple of %d, got %zu", DNS_NBP_GROUP, out->group);
    for (size_t i = 0; i < out->rows; i++) {
        for (size_t k = 0; k < out->cols; k++) {
            const float v = w[(ptrdiff_t)i * ldw + (ptrdiff_t)k];
            DNS_REQUIRE(isfinite(v), err, DNS_ERR_VALUE, i,
                        "W: row %zu, column %zu: expected a finite number, got %g", i, k,
                        (double)v);
        }
    }
    if (out->lut != NULL) {
        return cluster(w, ldw, out, alloc, err);
    }
    const size_t groups = dns_nbp_groups(out->cols, out->group);
    const size_t span = out->group == 0 ? out->cols : out->group;
    for (size_t i = 0; i < out->rows; i++) {
        for (size_t g = 0; g < groups && out->cols > 0; g++) {
            const size_t k = g * span;
            const size_t n = out->cols - k < span ? out->cols - k : span;
            uniform_group(w + (ptrdiff_t)i * ldw + (ptrdiff_t)k, n, out->bits,
                          out->codes + i * out->cols + k, out->scale + i * groups + g,
                          out->zero + i * groups + g);
        }
    }
    return DNS_OK;
}
