/* LSTM cells, compiled per instruction-set level.
 *
 * A step reads every weight once for 2 n flop, n the vectors of the batch: up to eight vectors the
 * time is that of reading the weights from the level that holds them, so they are stored in the
 * order of use, one stream without padding. A panel holds as many hidden units as a vector has
 * lanes: for each input the weights of gate i of all its units, then f, g and o. Per input of one
 * vector that is one broadcast for four multiply-adds into four accumulators, which hide the
 * latency; every sum is one lane of one accumulator, in ascending order of inputs, whatever the
 * number of vectors. More than NJ vectors do not fit the registers; they take blocks of inputs in
 * turns, whose weights stay in the first cache. One vector meets two panels side by side: two
 * streams are read from main memory up to a fifth faster than one. Streams are prefetched: the
 * processor's own prefetcher stops at every page.
 *
 * Low-rank cells are two such products. First the terms stand in for the units and every v for the
 * weights of one; then, per gate, the u weigh the results. Both streams are in order of terms, so
 * that a call which stops after t terms reads the first t only (v: rounded up to a panel).
 *
 * Pruned v are dot products of gathered inputs, 6 bytes per element: values, and 16-bit columns.
 */
#include "kernels/lstm_internal.h"
#include "kernels/vec_exp.h"
#include "kernels/vec_gather.h"

enum {
    NJ = VS_LANES == 16 ? 4 : 2, /* vectors side by side: 16 or 8 accumulators */
    BLOCK = 64,                  /* inputs whose weights stay near while other vectors use them */
    PAIR = 2,                    /* panels that one vector meets at once */
    AHEAD = 8192,                /* bytes of a stream: two small pages */
    AHEAD_PAIR = 1024            /* of each of two */
};

static inline void
prefetch(const void *p, size_t bytes)
{
    __builtin_prefetch((const void *)((uintptr_t)p + bytes));
}

/* Inputs [k0, k1) of the vectors [j0, j0 + nj), for one panel or two (`panels`); nj, panels,
 * `shared` and `whole` are constants where it is inlined. */
static inline __attribute__((always_inline)) void
add_inputs(const lstm_panel *p, size_t k0, size_t k1, size_t j0, size_t nj, size_t panels,
           bool shared, bool whole)
{
    const size_t width = whole ? VS_LANES : p->width;
    const size_t row = DNS_GATES * width;
    const vs_mask mask = vs_first(width);
    const bool start = p->bias != NULL && k0 == 0;
    vs acc[PAIR][DNS_GATES][NJ];
    for (size_t i = 0; i < panels * DNS_GATES * nj; i++) {
        const size_t s = i / (DNS_GATES * nj);
        const size_t g = i / nj % DNS_GATES;
        const size_t j = i % nj;
        const float *from = start ? p->bias : p->z + (ptrdiff_t)(j0 + j) * p->ldz;
        acc[s][g][j] = vs_load_mask(from + g * p->gate_out + s * VS_LANES, mask);
    }
    const float *in = p->in + (ptrdiff_t)j0 * p->ldin;
    const float *w[PAIR] = {p->w, p->next};
    for (size_t k = k0; k < k1; k++) {
        vs x[NJ];
        for (size_t j = 0; j < nj; j++) {
            x[j] = vs_set(in[(ptrdiff_t)j * p->ldin + (ptrdiff_t)k]);
        }
        for (size_t i = 0; i < panels * DNS_GATES; i++) {
            const size_t g = i % DNS_GATES;
            const float *at = w[i / DNS_GATES] + k * row + g * width;
            prefetch(at, panels == 1 ? AHEAD : AHEAD_PAIR);
            const vs weight = whole ? vs_load(at) : vs_load_mask(at, mask);
            for (size_t j = 0; j < nj; j++) {
                const float *each = in + (ptrdiff_t)j * p->ldin + g * p->gate_in + k;
                acc[i / DNS_GATES][g][j] =
                    vs_fma(weight, shared ? x[j] : vs_set(*each), acc[i / DNS_GATES][g][j]);
            }
        }
    }
    for (size_t i = 0; i < panels * DNS_GATES * nj; i++) {
        const size_t s = i / (DNS_GATES * nj);
        const size_t g = i / nj % DNS_GATES;
        const size_t j = i % nj;
        float *to = p->z + (ptrdiff_t)(j0 + j) * p->ldz + g * p->gate_out + s * VS_LANES;
        vs_store_mask(to, acc[s][g][j], mask);
    }
}

static inline __attribute__((always_inline)) void
add_vectors(const lstm_panel *p, size_t k0, size_t k1, size_t j0, size_t nj, bool shared)
{
    if (p->width == VS_LANES) {
        add_inputs(p, k0, k1, j0, nj, 1, shared, true);
    }
    else {
        add_inputs(p, k0, k1, j0, nj, 1, shared, false);
    }
}

static inline __attribute__((always_inline)) void
add_block(const lstm_panel *p, size_t k0, size_t k1, bool shared)
{
    for (size_t j = 0; j < p->n; j += NJ) {
        switch (p->n - j) {
        case 1:
            add_vectors(p, k0, k1, j, 1, shared);
            break;
#if VS_LANES == 16
        case 2:
            add_vectors(p, k0, k1, j, 2, shared);
            break;
        case 3:
            add_vectors(p, k0, k1, j, 3, shared);
            break;
#endif
        default:
            add_vectors(p, k0, k1, j, NJ, shared);
            break;
        }
    }
}

static void
panel(const lstm_panel *p)
{
    const size_t block = p->n <= NJ ? p->k : BLOCK;
    size_t k = 0;
    if (p->next != NULL && p->gate_in == 0) {
        add_inputs(p, 0, p->k, 0, 1, PAIR, true, true);
        return;
    }
    if (p->next != NULL) {
        add_inputs(p, 0, p->k, 0, 1, PAIR, false, true);
        return;
    }
    do { /* once without inputs: the bias */
        const size_t end = p->k - k < block ? p->k : k + block;
        if (p->gate_in == 0) {
            add_block(p, k, end, true);
        }
        else {
            add_block(p, k, end, false);
        }
        k = end;
    } while (k < p->k);
}

/* Row `row` of the terms times the vectors [j0, j0 + nj). */
static inline __attribute__((always_inline)) void
dot(const lstm_dots *d, size_t row, size_t j0, size_t nj)
{
    const float *v = d->v + row * d->nz;
    const uint16_t *columns = d->columns + row * d->nz;
    const float *x = d->x + (ptrdiff_t)j0 * d->ldx;
    vs acc[NJ];
    for (size_t j = 0; j < nj; j++) {
        acc[j] = vs_set(0.0F);
    }
    size_t i = 0;
    for (; i + VS_LANES <= d->nz; i += VS_LANES) {
        prefetch(v + i, AHEAD);
        prefetch(columns + i, AHEAD / 2);
        const vs weight = vs_load(v + i);
        for (size_t j = 0; j < nj; j++) {
            acc[j] = vs_fma(weight, vs_gather(x + (ptrdiff_t)j * d->ldx, columns + i), acc[j]);
        }
    }
    for (size_t j = 0; j < nj; j++) {
        if (i < d->nz) {
            const size_t rest = d->nz - i;
            const vs some = vs_gather_part(x + (ptrdiff_t)j * d->ldx, columns + i, rest);
            acc[j] = vs_fma(vs_load_mask(v + i, vs_first(rest)), some, acc[j]);
        }
        d->a[(ptrdiff_t)(j0 + j) * d->lda + (ptrdiff_t)(row % DNS_GATES * d->gate_out) +
             (ptrdiff_t)(row / DNS_GATES)] = d->s[row] * vs_sum(acc[j]);
    }
}

static void
dots(const lstm_dots *d)
{
    for (size_t row = 0; row < DNS_GATES * d->terms; row++) {
        size_t j = 0;
        for (; j + NJ <= d->n; j += NJ) {
            dot(d, row, j, NJ);
        }
        for (; j < d->n; j++) {
            dot(d, row, j, 1);
        }
    }
}

static void
states(const lstm_states *s)
{
    for (size_t j = 0; j < s->n; j++) {
        const float *z = s->z + (ptrdiff_t)j * s->ldz;
        const float *c = s->c + (ptrdiff_t)j * s->ldc;
        float *h_out = s->h_out + (ptrdiff_t)j * s->ldh_out;
        float *c_out = s->c_out + (ptrdiff_t)j * s->ldc_out;
        for (size_t i = 0; i < s->units; i += VS_LANES) {
            const size_t n = s->units - i;
            const vs in = vs_sigmoid(vs_load_part(z + i, n));
            const vs forget = vs_sigmoid(vs_load_part(z + s->gate_in + i, n));
            const vs g = vs_tanh(vs_load_part(z + 2 * s->gate_in + i, n));
            const vs out = vs_sigmoid(vs_load_part(z + 3 * s->gate_in + i, n));
            const vs cell = vs_fma(forget, vs_load_part(c + i, n), vs_mul(in, g));
            vs_store_part(c_out + i, cell, n);
            vs_store_part(h_out + i, vs_mul(out, s->output_tanh ? vs_tanh(cell) : cell), n);
        }
    }
}

extern const dns_lstm_ops DNS_ISA_FN(dns_lstm_ops);
const dns_lstm_ops DNS_ISA_FN(dns_lstm_ops) = {
    .isa = DNS_ISA_VALUE,
    .lanes = VS_LANES,
    .panel = panel,
    .dots = dots,
    .states = states,
};
