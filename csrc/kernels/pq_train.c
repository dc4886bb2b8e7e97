/* Training of product quantisers by mini-batch k-means; the method is told in dns/pq.h.
 *
 * A step gathers its rows, encodes them, and then every piece is updated by one thread on its own.
 * Centroids are kept in double and rounded to float32 for encoding.
 */
#include "kernels/pq_internal.h"

#include <math.h>
#include <string.h>

typedef struct trainer {
    const dns_pq_training *in;
    dns_alloc alloc;
    dns_threads *threads;
    dns_pq *pq;
    size_t dim, elements, cells; /* m dsub, m ksub dsub, m ksub */
    size_t batch;
    size_t step;
    float *rows;    /* [batch][dim] */
    uint8_t *codes; /* [batch][m] */
    double *centre; /* [m][ksub][dsub] */
    double *sum;    /* [m][ksub][dsub] */
    double *weight; /* [m][ksub] */
    double *count;  /* [m][ksub] */
    uint8_t *solid; /* [m][ksub]: all rows of the batch lie on the centroid */
    float *book;    /* [m][ksub][dsub] */
    size_t ws_bytes;
    void *ws;
} trainer;

static void
trainer_free(trainer *t)
{
    const dns_alloc *a = &t->alloc;
    dns_mem_free(a, t->rows, t->batch * t->dim, sizeof *t->rows);
    dns_mem_free(a, t->codes, t->batch * t->in->shape.m, 1);
    dns_mem_free(a, t->centre, t->elements, sizeof *t->centre);
    dns_mem_free(a, t->sum, t->elements, sizeof *t->sum);
    dns_mem_free(a, t->weight, t->cells, sizeof *t->weight);
    dns_mem_free(a, t->count, t->cells, sizeof *t->count);
    dns_mem_free(a, t->solid, t->cells, 1);
    dns_mem_free(a, t->book, t->elements, sizeof *t->book);
    dns_mem_free(a, t->ws, t->ws_bytes, 1);
    dns_pq_destroy(t->pq);
}

/* False when memory is short; trainer_free has to follow all the same. */
static bool
trainer_fill(trainer *t, dns_isa isa)
{
    const dns_alloc *a = &t->alloc;
    const dns_pq_shape shape = t->in->shape;
    t->pq = dns_pq_blank(shape, isa, a);
    if (t->pq == NULL) {
        return false;
    }
    t->ws_bytes = dns_pq_workspace(t->pq, dns_threads_count(t->threads));
    t->rows = dns_mem_new(a, t->batch * t->dim, sizeof *t->rows);
    t->codes = dns_mem_new(a, t->batch * shape.m, 1);
    t->centre = dns_mem_new(a, t->elements, sizeof *t->centre);
    t->sum = dns_mem_new(a, t->elements, sizeof *t->sum);
    t->weight = dns_mem_zero(a, t->cells, sizeof *t->weight);
    t->count = dns_mem_new(a, t->cells, sizeof *t->count);
    t->solid = dns_mem_new(a, t->cells, 1);
    t->book = dns_mem_new(a, t->elements, sizeof *t->book);
    t->ws = dns_mem_new(a, t->ws_bytes, 1);
    return t->rows != NULL && t->codes != NULL && t->centre != NULL && t->sum != NULL &&
           t->weight != NULL && t->count != NULL && t->solid != NULL && t->book != NULL &&
           t->ws != NULL;
}

/* Copies a sixteenth of the step's rows; the order goes round. */
enum { GATHER_PARTS = 16 };

static void
gather(void *ctx, size_t part)
{
    const trainer *t = ctx;
    const size_t stop = dns_part(t->batch, GATHER_PARTS, part + 1);
    const size_t begin = t->step % t->in->n * (t->batch % t->in->n);
    for (size_t i = dns_part(t->batch, GATHER_PARTS, part); i < stop; i++) {
        const int64_t row = t->in->order[(begin + i) % t->in->n];
        memcpy(t->rows + i * t->dim, t->in->x + row * t->in->ldx, t->dim * sizeof *t->rows);
    }
}

static double
distance(const float *x, const double *c, size_t dsub)
{
    double sum = 0.0;
    for (size_t k = 0; k < dsub; k++) {
        const double d = (double)x[k] - c[k];
        sum += d * d;
    }
    return sum;
}

/* Row of the batch farthest from a centroid among those of its code; batch if all lie on it. */
static size_t
farthest(const trainer *t, size_t s, size_t code)
{
    const dns_pq_shape shape = t->in->shape;
    const double *c = t->centre + (s * shape.ksub + code) * shape.dsub;
    size_t at = t->batch;
    double most = 0.0;
    for (size_t i = 0; i < t->batch; i++) {
        if (t->codes[i * shape.m + s] == code) {
            const double d = distance(t->rows + i * t->dim + s * shape.dsub, c, shape.dsub);
            at = d > most ? i : at;
            most = d > most ? d : most;
        }
    }
    return at;
}

/* Moves to code j the rows of code `from` that are nearer to its centroid; their share of all. */
static double
divide(const trainer *t, size_t s, size_t from, size_t j)
{
    const dns_pq_shape shape = t->in->shape;
    const double *centre = t->centre + s * shape.ksub * shape.dsub;
    size_t all = 0;
    size_t moved = 0;
    for (size_t i = 0; i < t->batch; i++) {
        uint8_t *code = t->codes + i * shape.m + s;
        if (*code == from) {
            const float *x = t->rows + i * t->dim + s * shape.dsub;
            const bool nearer = distance(x, centre + j * shape.dsub, shape.dsub) <
                                distance(x, centre + from * shape.dsub, shape.dsub);
            *code = (uint8_t)(nearer ? j : from);
            moved += nearer;
            all++;
        }
    }
    return (double)moved / (double)all;
}

/* Gives centroid j the farthest row of the largest cluster that has rows off its centroid, and the
 * rows nearer to that; false if there is no such cluster. */
static bool
reseed(const trainer *t, size_t s, size_t j)
{
    const dns_pq_shape shape = t->in->shape;
    double *weight = t->weight + s * shape.ksub;
    uint8_t *solid = t->solid + s * shape.ksub;
    for (;;) {
        size_t from = shape.ksub;
        for (size_t i = 0; i < shape.ksub; i++) {
            if (i != j && !solid[i] && (from == shape.ksub || weight[i] > weight[from])) {
                from = i;
            }
        }
        if (from == shape.ksub) {
            return false;
        }
        const size_t row = farthest(t, s, from);
        if (row == t->batch) {
            solid[from] = 1;
            continue;
        }
        const float *x = t->rows + row * t->dim + s * shape.dsub;
        for (size_t k = 0; k < shape.dsub; k++) {
            t->centre[(s * shape.ksub + j) * shape.dsub + k] = (double)x[k];
        }
        const double share = divide(t, s, from, j) * weight[from];
        weight[from] -= share;
        weight[j] = share;
        return true;
    }
}

/* Sums and numbers of the rows of each code of a piece. */
static void
add_rows(trainer *t, size_t s)
{
    const dns_pq_shape shape = t->in->shape;
    double *count = t->count + s * shape.ksub;
    double *sums = t->sum + s * shape.ksub * shape.dsub;
    memset(count, 0, shape.ksub * sizeof *count);
    memset(sums, 0, shape.ksub * shape.dsub * sizeof *sums);
    for (size_t i = 0; i < t->batch; i++) {
        const size_t code = t->codes[i * shape.m + s];
        const float *x = t->rows + i * t->dim + s * shape.dsub;
        double *sum = sums + code * shape.dsub;
        for (size_t k = 0; k < shape.dsub; k++) {
            sum[k] += (double)x[k];
        }
        count[code] += 1.0;
    }
}

static void
update(void *ctx, size_t s)
{
    trainer *t = ctx;
    const dns_pq_shape shape = t->in->shape;
    const double keep = 1.0 - (double)t->batch / (double)t->in->n;
    double *weight = t->weight + s * shape.ksub;
    double *centre = t->centre + s * shape.ksub * shape.dsub;
    add_rows(t, s);
    for (size_t j = 0; j < shape.ksub; j++) {
        const double rows = t->count[s * shape.ksub + j];
        const double *sum = t->sum + (s * shape.ksub + j) * shape.dsub;
        const double old = keep * weight[j];
        weight[j] = old + rows;
        for (size_t k = 0; rows > 0.0 && k < shape.dsub; k++) {
            double *c = centre + j * shape.dsub + k;
            *c = (old * *c + sum[k]) / weight[j];
        }
    }
    memset(t->solid + s * shape.ksub, 0, shape.ksub);
    for (size_t j = 0; j < shape.ksub; j++) {
        if (weight[j] < 1.0 && !reseed(t, s, j)) {
            break;
        }
    }
    float *book = t->book + s * shape.ksub * shape.dsub;
    for (size_t i = 0; i < shape.ksub * shape.dsub; i++) {
        book[i] = (float)centre[i];
    }
    dns_pq_pack(t->pq, t->book, s);
}

/* Centroids are the first rows of the order. */
static void
begin(trainer *t)
{
    const dns_pq_shape shape = t->in->shape;
    for (size_t s = 0; s < shape.m; s++) {
        for (size_t j = 0; j < shape.ksub; j++) {
            const float *x = t->in->x + t->in->order[j] * t->in->ldx + s * shape.dsub;
            const size_t at = (s * shape.ksub + j) * shape.dsub;
            for (size_t k = 0; k < shape.dsub; k++) {
                t->centre[at + k] = (double)x[k];
                t->book[at + k] = x[k];
            }
        }
        dns_pq_pack(t->pq, t->book, s);
    }
}

static dns_status
run(trainer *t, dns_error *err)
{
    begin(t);
    for (t->step = 0; t->step < t->in->steps; t->step++) {
        DNS_REQUIRE(t->step == 0 || t->in->go_on == NULL || t->in->go_on(t->in->ctx), err,
                    DNS_ERR_CALLBACK, -1, "training: stopped after %zu steps", t->step);
        if (t->step == 0 || t->batch < t->in->n) {
            dns_threads_run(t->threads, GATHER_PARTS, gather, t);
        }
        DNS_TRY(dns_pq_encode(t->pq, t->batch, t->rows, (ptrdiff_t)t->dim, t->codes,
                              (ptrdiff_t)t->in->shape.m, t->ws, t->threads, err));
        dns_threads_run(t->threads, t->in->shape.m, update, t);
    }
    return DNS_OK;
}

static dns_status
check(const dns_pq_training *in, size_t dim, dns_error *err)
{
    DNS_REQUIRE(in->n >= in->shape.ksub && in->n <= INT32_MAX, err, DNS_ERR_VALUE, -1,
                "X: expected at least %zu rows, one per centroid, and below 2^31, got %zu",
                in->shape.ksub, in->n);
    DNS_REQUIRE(in->batch >= in->shape.ksub, err, DNS_ERR_VALUE, -1,
                "batch: expected at least %zu rows, one per centroid, got %zu", in->shape.ksub,
                in->batch);
    DNS_REQUIRE(in->steps >= 1, err, DNS_ERR_VALUE, -1, "steps: expected an integer >= 1, got 0");
    for (size_t i = 0; i < in->n; i++) {
        const float *row = in->x + (ptrdiff_t)i * in->ldx;
        const size_t at = dns_pq_not_finite(row, dim);
        DNS_REQUIRE(at == dim, err, DNS_ERR_VALUE, i,
                    "X: expected finite numbers, got %g in row %zu, column %zu", (double)row[at], i,
                    at);
        DNS_REQUIRE(in->order[i] >= 0 && in->order[i] < (int64_t)in->n, err, DNS_ERR_VALUE, i,
                    "order: expected rows from 0 to %zu, got %lld", in->n - 1,
                    (long long)in->order[i]);
    }
    return DNS_OK;
}

dns_status
dns_pq_train(const dns_pq_training *training, dns_isa isa, dns_threads *threads,
             const dns_alloc *alloc, float *codebooks, dns_error *err)
{
    DNS_TRY(dns_pq_check(training->shape, err));
    trainer t = {.in = training,
                 .alloc = alloc != NULL ? *alloc : *dns_alloc_default(),
                 .threads = threads,
                 .dim = training->shape.m * training->shape.dsub,
                 .cells = training->shape.m * training->shape.ksub,
                 .batch = training->batch < training->n ? training->batch : training->n};
    t.elements = t.cells * training->shape.dsub;
    DNS_TRY(check(training, t.dim, err));
    dns_status status = DNS_OK;
    if (trainer_fill(&t, isa)) {
        status = run(&t, err);
    }
    else {
        status = dns_fail(err, DNS_ERR_MEMORY, -1, "batch: out of memory for %zu rows of %zu",
                          t.batch, t.dim);
    }
    if (status == DNS_OK) {
        memcpy(codebooks, t.book, t.elements * sizeof *codebooks);
    }
    trainer_free(&t);
    return status;
}
