/* Transforms from uniform words to variates.
 *
 *   exponential   -log1p(-u)                                    (inversion)
 *   normal        v sqrt(-2 ln q / q), (v, w) uniform in the unit disc, q = v^2 + w^2
 *                 [Marsaglia's polar method; the second value is dropped so that the
 *                 stream has no hidden state]
 *   gamma         d (1 + c x)^3 accepted when ln u < x^2/2 + d - d v + d ln v,
 *                 d = a - 1/3, c = 1/sqrt(9 d), v = (1 + c x)^3; a < 1 through
 *                 gamma(a + 1) u^(1/a)   [Marsaglia and Tsang, ACM TOMS 26(3), 2000]
 *   categorical   alias tables [Walker 1977, built as in Vose, IEEE TSE 17(9), 1991];
 *                 one uniform gives both the column and the coin
 *
 * Distributions of libraries are not used because their streams change between versions.
 */
#include "dns/draw.h"

#include <math.h>

double
dns_draw_unit(const dns_words *w)
{
    return (double)(w->next(w->ctx) >> 11) * 0x1.0p-53;
}

double
dns_draw_exponential(const dns_words *w)
{
    return -log1p(-dns_draw_unit(w));
}

double
dns_draw_normal(const dns_words *w)
{
    for (;;) {
        const double v = 2.0 * dns_draw_unit(w) - 1.0;
        const double u = 2.0 * dns_draw_unit(w) - 1.0;
        const double q = v * v + u * u;
        if (q < 1.0 && q > 0.0) {
            return v * sqrt(-2.0 * log(q) / q);
        }
    }
}

double
dns_draw_gamma(const dns_words *w, double shape)
{
    if (shape < 1.0) {
        const double boosted = dns_draw_gamma(w, shape + 1.0);
        return boosted * pow(1.0 - dns_draw_unit(w), 1.0 / shape);
    }
    const double d = shape - 1.0 / 3.0;
    const double c = 1.0 / sqrt(9.0 * d);
    for (;;) {
        const double x = dns_draw_normal(w);
        const double root = 1.0 + c * x;
        if (root <= 0.0) {
            continue;
        }
        const double v = root * root * root;
        const double u = 1.0 - dns_draw_unit(w);
        if (log(u) < 0.5 * x * x + d - d * v + d * log(v)) {
            return d * v;
        }
    }
}

int32_t
dns_draw_below(const dns_words *w, int32_t n)
{
    const int32_t i = (int32_t)(dns_draw_unit(w) * n);
    return i < n ? i : n - 1;
}

/* Sum of the weights, or 0 with *err filled. */
static dns_status
sum_weights(const double *weight, int32_t n, double *sum, dns_error *err)
{
    double total = 0.0;
    for (int32_t i = 0; i < n; i++) {
        DNS_REQUIRE(isfinite(weight[i]) && weight[i] >= 0.0, err, DNS_ERR_VALUE, i,
                    "weight: position %d: expected a finite value >= 0, got %g", (int)i, weight[i]);
        total += weight[i];
    }
    DNS_REQUIRE(isfinite(total) && total > 0.0, err, DNS_ERR_VALUE, -1,
                "weight: expected a finite sum > 0, got %g", total);
    *sum = total;
    return DNS_OK;
}

/* Splits columns 0..n-1 into those below and above their fair share and levels them. The stack
 * of the small ones grows from the front of `stack`, of the large ones from its end. */
static void
level_columns(double *keep, int32_t *other, int32_t n, int32_t *stack)
{
    int32_t small = 0;
    int32_t large = n;
    for (int32_t i = n - 1; i >= 0; i--) {
        other[i] = i;
        if (keep[i] < 1.0) {
            stack[small++] = i;
        }
        else {
            stack[--large] = i;
        }
    }
    while (small > 0 && large < n) {
        const int32_t s = stack[--small];
        const int32_t l = stack[large];
        other[s] = l;
        keep[l] = (keep[l] + keep[s]) - 1.0;
        if (keep[l] < 1.0) {
            large++;
            stack[small++] = l;
        }
    }
    while (small > 0) {
        keep[stack[--small]] = 1.0;
    }
    while (large < n) {
        keep[stack[large++]] = 1.0;
    }
}

dns_status
dns_alias_init(dns_alias *a, const double *weight, int32_t n, const dns_alloc *alloc,
               dns_error *err)
{
    DNS_REQUIRE(n >= 1, err, DNS_ERR_VALUE, -1, "weight: expected at least one value, got %d",
                (int)n);
    double sum = 0.0;
    DNS_TRY(sum_weights(weight, n, &sum, err));
    const size_t count = (size_t)n;
    double *keep = dns_mem_new(alloc, count, sizeof *keep);
    int32_t *other = dns_mem_new(alloc, count, sizeof *other);
    int32_t *stack = dns_mem_new(alloc, count, sizeof *stack);
    dns_status status = DNS_ERR_MEMORY;
    if (keep != NULL && other != NULL && stack != NULL) {
        for (int32_t i = 0; i < n; i++) {
            keep[i] = weight[i] / sum * n;
        }
        level_columns(keep, other, n, stack);
        *a = (dns_alias){.n = n, .keep = keep, .other = other, .alloc = alloc};
        status = DNS_OK;
    }
    else {
        dns_mem_free(alloc, keep, count, sizeof *keep);
        dns_mem_free(alloc, other, count, sizeof *other);
        status =
            dns_fail(err, DNS_ERR_MEMORY, -1, "alias table of %d entries: out of memory", (int)n);
    }
    dns_mem_free(alloc, stack, count, sizeof *stack);
    return status;
}

void
dns_alias_fini(dns_alias *a)
{
    dns_mem_free(a->alloc, a->keep, (size_t)a->n, sizeof *a->keep);
    dns_mem_free(a->alloc, a->other, (size_t)a->n, sizeof *a->other);
    *a = (dns_alias){0};
}

int32_t
dns_draw_alias(const dns_words *w, const dns_alias *a)
{
    const double x = dns_draw_unit(w) * a->n;
    int32_t i = (int32_t)x;
    i = i < a->n ? i : a->n - 1;
    return x - i < a->keep[i] ? i : a->other[i];
}

void
dns_arrivals_poisson(const dns_words *w, double rate, size_t n, double *clock, double *out)
{
    double t = *clock;
    for (size_t i = 0; i < n; i++) {
        t += dns_draw_exponential(w) / rate;
        out[i] = t;
    }
    *clock = t;
}

void
dns_arrivals_gamma(const dns_words *w, double rate, double cv, size_t n, double *clock, double *out)
{
    const double shape = 1.0 / (cv * cv);
    double t = *clock;
    for (size_t i = 0; i < n; i++) {
        t += dns_draw_gamma(w, shape) / (shape * rate);
        out[i] = t;
    }
    *clock = t;
}

void
dns_mmpp_start(const dns_words *w, dns_mmpp *m)
{
    double total = 0.0;
    for (int32_t i = 0; i < m->n_states; i++) {
        total += m->sojourn_s[i];
    }
    double left = dns_draw_unit(w) * total;
    m->state = 0;
    while (m->state < m->n_states - 1 && left >= m->sojourn_s[m->state]) {
        left -= m->sojourn_s[m->state++];
    }
    m->left_s = dns_draw_exponential(w) * m->sojourn_s[m->state];
}

void
dns_arrivals_mmpp(const dns_words *w, dns_mmpp *m, size_t n, double *clock, double *out)
{
    double t = *clock;
    for (size_t i = 0; i < n; i++) {
        double need = dns_draw_exponential(w);
        while (need > m->left_s * m->rate[m->state]) {
            need -= m->left_s * m->rate[m->state];
            t += m->left_s;
            m->state = (m->state + 1) % m->n_states;
            m->left_s = dns_draw_exponential(w) * m->sojourn_s[m->state];
        }
        const double step = need > 0.0 ? need / m->rate[m->state] : 0.0;
        t += step;
        m->left_s = m->left_s > step ? m->left_s - step : 0.0;
        out[i] = t;
    }
    *clock = t;
}

void
dns_draw_requests(const dns_words *model_words, const dns_alias *model_alias,
                  const dns_words *sample_words, const int32_t *n_samples,
                  const dns_words *priority_words, const dns_alias *priority_alias,
                  const double *value, size_t n, int32_t *model, int32_t *sample, double *priority)
{
    for (size_t i = 0; i < n; i++) {
        const int32_t m = dns_draw_alias(model_words, model_alias);
        model[i] = m;
        sample[i] = dns_draw_below(sample_words, n_samples[m]);
        priority[i] = value[dns_draw_alias(priority_words, priority_alias)];
    }
}

void
dns_draw_samples(const dns_words *sample_words, const int32_t *n_samples, const int32_t *model,
                 size_t n, int32_t *sample)
{
    for (size_t i = 0; i < n; i++) {
        sample[i] = dns_draw_below(sample_words, n_samples[model[i]]);
    }
}
