/* Checks of row statistics and the split of rows and places over threads. */
#include "kernels/rowstats_internal.h"

#include <math.h>

DNS_OPS_SELECT(dns_rowstats_ops)

enum {
    PART = 1 << 16,   /* logits of a thread's piece */
    GROUP = 16,       /* rows of the widest vector: pieces end between groups */
    CLASSES = 1 << 24 /* float32 counts them exactly below */
};

typedef struct job {
    const dns_rowstats_ops *ops;
    const dns_logits *logits;
    const dns_rowstats *out;
    float scale;
    size_t step;   /* rows, or places of one sample, per piece */
    size_t pieces; /* per sample of a map */
} job;

static dns_rowstats
results(const job *j, size_t i)
{
    return (dns_rowstats){j->out->max_prob + i, j->out->margin + i, j->out->entropy + i,
                          j->out->argmax + i};
}

static void
piece(void *ctx, size_t part)
{
    const job *j = ctx;
    const dns_logits *v = j->logits;
    const size_t sample = v->inner == 1 ? 0 : part / j->pieces;
    const size_t extent = v->inner == 1 ? v->n : v->inner;
    const size_t first = (part - sample * j->pieces) * j->step;
    const size_t count = extent - first < j->step ? extent - first : j->step;
    if (v->inner == 1) {
        j->ops->rows(v->x + (ptrdiff_t)first * v->ld, v->ld, count, v->classes, j->scale,
                     results(j, first));
    }
    else {
        j->ops->places(v->x + (ptrdiff_t)sample * v->ld + first, (ptrdiff_t)v->inner, count,
                       v->classes, j->scale, results(j, sample * v->inner + first));
    }
}

dns_status
dns_rowstats_compute(const dns_logits *logits, double temperature, dns_isa isa,
                     dns_threads *threads, const dns_rowstats *out, dns_error *err)
{
    const float scale = (float)(1.0 / temperature);
    DNS_REQUIRE(temperature > 0.0 && isfinite(scale) && scale > 0.0F, err, DNS_ERR_VALUE, -1,
                "temperature: expected a number > 0 with a float32 reciprocal, got %g",
                temperature);
    if (logits->n == 0 || logits->inner == 0) {
        return DNS_OK;
    }
    DNS_REQUIRE(logits->classes >= 1 && logits->classes < CLASSES, err, DNS_ERR_VALUE, -1,
                "logits: expected 1 to 2^24 - 1 classes, got %zu", logits->classes);
    const size_t extent = logits->inner == 1 ? logits->n : logits->inner;
    size_t step = PART / logits->classes;
    step = step >= GROUP ? step / GROUP * GROUP : step + (step == 0);
    job j = {dns_rowstats_ops_select(isa), logits, out, scale, step, (extent + step - 1) / step};
    const size_t samples = logits->inner == 1 ? 1 : logits->n;
    const bool small = logits->n * logits->inner < PART / logits->classes;
    dns_threads_run(small ? NULL : threads, samples * j.pieces, piece, &j);
    return DNS_OK;
}
