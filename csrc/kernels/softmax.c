/* Masks of softmax rows, and their split over threads. */
#include "kernels/softmax_internal.h"

#include <stdatomic.h>
#include <string.h>

DNS_OPS_SELECT(dns_softmax_ops)

enum { PART = 1 << 16 }; /* scores of a thread's piece */

typedef struct job {
    const dns_softmax_ops *ops;
    const dns_softmax *call;
    const int64_t *offsets; /* NULL: whole rows */
    size_t segments;
    size_t step; /* rows per piece */
    atomic_size_t empty;
} job;

size_t
dns_softmax_limit(const dns_softmax *call, size_t i)
{
    size_t n = call->cols;
    if (call->causal) {
        const ptrdiff_t last =
            (ptrdiff_t)(i % call->queries + call->cols) - (ptrdiff_t)call->queries;
        n = last < 0 ? 0 : (size_t)last + 1;
    }
    if (call->lengths != NULL && (size_t)call->lengths[i / call->length_rows] < n) {
        n = (size_t)call->lengths[i / call->length_rows];
    }
    return n;
}

bool
dns_softmax_row(const dns_softmax_ops *ops, const dns_softmax *call, size_t i, const float *x,
                float *y, size_t cols)
{
    const size_t n = dns_softmax_limit(call, i);
    const float *add =
        call->add == NULL ? NULL : call->add + (ptrdiff_t)(i % call->add_rows) * call->ldadd;
    const uint64_t *bits =
        call->bits == NULL ? NULL : call->bits + i % call->bit_rows * ((call->cols + 63) / 64);
    const bool any = ops->row(x, n, add, bits, y);
    memset(y + n, 0, (cols - n) * sizeof *y);
    return any;
}

static void
piece(void *ctx, size_t part)
{
    job *j = ctx;
    const dns_softmax *c = j->call;
    const size_t first = part * j->step;
    const size_t stop = c->rows - first < j->step ? c->rows : first + j->step;
    size_t empty = 0;
    for (size_t i = first; i < stop; i++) {
        if (j->offsets == NULL) {
            empty += !dns_softmax_row(j->ops, c, i, c->x + (ptrdiff_t)i * c->ldx,
                                      c->y + (ptrdiff_t)i * c->ldy, c->cols);
            continue;
        }
        for (size_t s = 0; s < j->segments; s++) {
            const ptrdiff_t at = (ptrdiff_t)j->offsets[s];
            const size_t n = (size_t)(j->offsets[s + 1] - j->offsets[s]);
            empty += !j->ops->row(c->x + (ptrdiff_t)i * c->ldx + at, n, NULL, NULL,
                                  c->y + (ptrdiff_t)i * c->ldy + at);
        }
    }
    (void)atomic_fetch_add(&j->empty, empty);
}

static size_t
run(const dns_softmax *call, const int64_t *offsets, size_t segments, dns_isa isa,
    dns_threads *threads)
{
    const size_t cols = call->cols > 0 ? call->cols : 1;
    const size_t step = cols < PART ? PART / cols : 1;
    job j = {.ops = dns_softmax_ops_select(isa),
             .call = call,
             .offsets = offsets,
             .segments = segments,
             .step = step};
    atomic_init(&j.empty, 0);
    dns_threads_run(call->rows <= step ? NULL : threads, (call->rows + step - 1) / step, piece, &j);
    return atomic_load(&j.empty);
}

dns_status
dns_softmax_check(const dns_softmax *call, dns_error *err)
{
    const size_t lengths = call->lengths == NULL ? 0 : call->rows / call->length_rows;
    for (size_t b = 0; b < lengths; b++) {
        DNS_REQUIRE(call->lengths[b] >= 0 && (size_t)call->lengths[b] <= call->cols, err,
                    DNS_ERR_VALUE, b, "lengths: expected 0 to %zu, got %d at %zu", call->cols,
                    (int)call->lengths[b], b);
    }
    return DNS_OK;
}

dns_status
dns_softmax_rows(const dns_softmax *call, dns_isa isa, dns_threads *threads, size_t *empty,
                 dns_error *err)
{
    DNS_TRY(dns_softmax_check(call, err));
    *empty = run(call, NULL, 0, isa, threads);
    return DNS_OK;
}

dns_status
dns_softmax_segments(const dns_softmax *call, const int64_t *offsets, size_t segments, dns_isa isa,
                     dns_threads *threads, size_t *empty, dns_error *err)
{
    DNS_REQUIRE(offsets[0] == 0, err, DNS_ERR_FORMAT, 0,
                "offsets: expected 0 at the beginning, got %lld", (long long)offsets[0]);
    for (size_t s = 0; s < segments; s++) {
        DNS_REQUIRE(offsets[s + 1] >= offsets[s], err, DNS_ERR_FORMAT, s + 1,
                    "offsets: expected numbers that never fall, got %lld behind %lld at %zu",
                    (long long)offsets[s + 1], (long long)offsets[s], s + 1);
    }
    DNS_REQUIRE(offsets[segments] == (int64_t)call->cols, err, DNS_ERR_FORMAT, segments,
                "offsets: expected %zu at the end, got %lld", call->cols,
                (long long)offsets[segments]);
    *empty = run(call, offsets, segments, isa, threads);
    return DNS_OK;
}
