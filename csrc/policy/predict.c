/* Remaining-time estimates of sparse networks.
 *
 * A scheduler knows, per model and sparsity pattern, the average latency a_l and the
 * average sparsity v_l (fraction of zeros) of every layer. While a request runs, the
 * hardware counts the zeros s_l of each layer it finishes. If latency follows density,
 * the time left after k layers is about gamma_k * (a_k + ... + a_{L-1}) with
 *
 *     gamma_k = mean of (1 - s_l) / mean of (1 - v_l)      over a window of 0 .. k-1,
 *
 * the window being the last layer, the last n, or all [Fan et al., "Sparse-DySta",
 * MICRO 2023, section 5.1: "last-one", "last-N", "average-all"]. The text of that paper
 * speaks of sparsity; taken literally gamma would grow with zeros while latency falls,
 * and its code and RTL use density, so density is the rule and `literal` the variant.
 *
 * The public simulator averages per-layer ratios (1 - s_l) / (1 - v_l) instead of
 * dividing averages, and its last-N divides by N even when fewer layers have run;
 * `artifact` does the same operations in the same order.
 *
 * Where an average density is 0 the ratio is taken as 1: nothing was expected, nothing
 * can be compared. Cost: O(rows * columns), last-N times n; suffix sums O(columns^2)
 * per row because each suffix is rounded on its own, the inner loop being a vector one.
 */
#include "dns/predict.h"

#include <math.h>

dns_status
dns_column_means(const double *x, size_t rows, size_t columns, double *mean, dns_error *err)
{
    DNS_REQUIRE(rows > 0, err, DNS_ERR_SHAPE, -1, "rows: expected at least 1, got 0");
    for (size_t l = 0; l < columns; l++) {
        mean[l] = 0.0;
    }
    for (size_t s = 0; s < rows; s++) {
        for (size_t l = 0; l < columns; l++) {
            mean[l] += x[s * columns + l];
        }
    }
    for (size_t l = 0; l < columns; l++) {
        mean[l] /= (double)rows;
    }
    return DNS_OK;
}

void
dns_suffix_sums(const double *x, size_t rows, size_t columns, double *out)
{
    for (size_t s = 0; s < rows; s++) {
        const double *row = x + s * columns;
        double *sum = out + s * columns;
        for (size_t k = 0; k < columns; k++) {
            const double add = row[k];
            sum[k] = 0.0;
            for (size_t j = 0; j <= k; j++) {
                sum[j] += add;
            }
        }
    }
}

/* The quantity whose ratio is taken: density, or sparsity in the literal reading. */
static inline double
monitored(double sparsity, bool literal)
{
    return literal ? sparsity : 1.0 - sparsity;
}

static inline double
ratio(double top, double bottom)
{
    return bottom == 0.0 ? 1.0 : top / bottom;
}

/* First layer of the window that ends before layer k. */
static inline size_t
window_start(const dns_predictor *p, size_t k)
{
    if (p->kind == DNS_PREDICT_AVERAGE_ALL) {
        return 0;
    }
    const size_t n = p->kind == DNS_PREDICT_LAST_ONE ? 1 : (size_t)p->n_last;
    return k > n ? k - n : 0;
}

/* gamma after k >= 1 layers of one sample as the public simulator computes it. */
static double
gamma_artifact(const double *s, const double *v, size_t k, const dns_predictor *p, double *running)
{
    if (p->kind == DNS_PREDICT_AVERAGE_ALL) {
        *running += ratio(monitored(s[k - 1], p->literal), monitored(v[k - 1], p->literal));
        return *running / (double)k;
    }
    double sum = 0.0;
    for (size_t l = window_start(p, k); l < k; l++) {
        sum += ratio(monitored(s[l], p->literal), monitored(v[l], p->literal));
    }
    return p->kind == DNS_PREDICT_LAST_ONE ? sum : sum / (double)p->n_last;
}

/* gamma after k >= 1 layers as the paper defines it, before the clamp: a ratio of sums,
 * which is the ratio of the means over the same layers. */
static double
gamma_paper(const double *s, const double *v, size_t k, const dns_predictor *p)
{
    double top = 0.0;
    double bottom = 0.0;
    for (size_t l = window_start(p, k); l < k; l++) {
        top += monitored(s[l], p->literal);
        bottom += monitored(v[l], p->literal);
    }
    return ratio(top, bottom);
}

static dns_status
check_predictor(const dns_predictor *p, dns_error *err)
{
    DNS_REQUIRE((int)p->kind >= DNS_PREDICT_LAST_ONE && (int)p->kind <= DNS_PREDICT_LAST_N, err,
                DNS_ERR_VALUE, -1, "predictor: expected a kind in 0..2, got %d", (int)p->kind);
    DNS_REQUIRE(p->kind != DNS_PREDICT_LAST_N || p->n_last >= 1, err, DNS_ERR_VALUE, -1,
                "n_last: expected an integer >= 1, got %lld", (long long)p->n_last);
    DNS_REQUIRE(p->artifact || (p->low >= 0.0 && p->low <= 1.0 && p->high >= 1.0), err,
                DNS_ERR_VALUE, -1, "clamp: expected 0 <= low <= 1 <= high, got (%g, %g)", p->low,
                p->high);
    return DNS_OK;
}

static dns_status
check_sparsity(const double *sparsity, const double *average, size_t rows, size_t columns,
               dns_error *err)
{
    for (size_t l = 0; l < columns; l++) {
        DNS_REQUIRE(average[l] >= 0.0 && average[l] <= 1.0, err, DNS_ERR_VALUE, -1 - (int64_t)l,
                    "avg_sparsity: layer %zu: expected a value in [0, 1], got %g", l, average[l]);
    }
    for (size_t i = 0; i < rows * columns; i++) {
        DNS_REQUIRE(sparsity[i] >= 0.0 && sparsity[i] <= 1.0, err, DNS_ERR_VALUE, i,
                    "sparsity: row %zu, column %zu: expected a value in [0, 1], got %g",
                    i / columns, i % columns, sparsity[i]);
    }
    return DNS_OK;
}

dns_status
dns_predict_gamma(const double *sparsity, const double *average, size_t rows, size_t columns,
                  const dns_predictor *p, double *gamma, int64_t *n_clamped, dns_error *err)
{
    DNS_TRY(check_predictor(p, err));
    DNS_TRY(check_sparsity(sparsity, average, rows, columns, err));
    int64_t clamped = 0;
    for (size_t s = 0; s < rows; s++) {
        const double *row = sparsity + s * columns;
        double *out = gamma + s * columns;
        double running = 0.0;
        for (size_t k = 0; k < columns; k++) {
            double g = 1.0;
            if (k > 0 && p->artifact) {
                g = gamma_artifact(row, average, k, p, &running);
            }
            else if (k > 0) {
                g = gamma_paper(row, average, k, p);
                const double raw = g;
                g = g < p->low ? p->low : g;
                g = g > p->high ? p->high : g;
                clamped += g != raw;
            }
            out[k] = g;
        }
    }
    *n_clamped = clamped;
    return DNS_OK;
}

/* Pearson correlation of gamma and truth/remaining, two passes around the means. */
static double
correlation(const double *gamma, const double *remaining, const double *truth, size_t rows,
            size_t columns, double mean_gamma, double mean_ratio)
{
    double gg = 0.0;
    double rr = 0.0;
    double gr = 0.0;
    for (size_t s = 0; s < rows; s++) {
        for (size_t k = 1; k < columns; k++) {
            const double g = gamma[s * columns + k] - mean_gamma;
            const double r = truth[s * columns + k] / remaining[k] - mean_ratio;
            gg += g * g;
            rr += r * r;
            gr += g * r;
        }
    }
    return gg > 0.0 && rr > 0.0 ? gr / (sqrt(gg) * sqrt(rr)) : (double)NAN;
}

void
dns_prediction_errors(const double *gamma, const double *remaining, const double *truth,
                      size_t rows, size_t columns, double alpha, dns_prediction_error *out)
{
    double square = 0.0;
    double square_rel = 0.0;
    double sum_gamma = 0.0;
    double sum_ratio = 0.0;
    for (size_t s = 0; s < rows; s++) {
        for (size_t k = 1; k < columns; k++) {
            const double g = gamma[s * columns + k];
            const double t = truth[s * columns + k];
            const double e = alpha * g * remaining[k] - t;
            square += e * e;
            square_rel += (e / t) * (e / t);
            sum_gamma += g;
            sum_ratio += t / remaining[k];
        }
    }
    const int64_t n = columns > 0 ? (int64_t)(rows * (columns - 1)) : 0;
    out->n = n;
    out->rmse_s = sqrt(square / (double)n);
    out->rmse_rel = sqrt(square_rel / (double)n);
    out->correlation = n == 0 ? (double)NAN
                              : correlation(gamma, remaining, truth, rows, columns,
                                            sum_gamma / (double)n, sum_ratio / (double)n);
}
