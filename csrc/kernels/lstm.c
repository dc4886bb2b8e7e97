/* LSTM cells: packing into the streams of lstm_isa.c, and the split over threads.
 *
 * Threads are given hidden units: the sums of their four gates and then their states. Cells of
 * rank-one terms take two rounds, the products with every v and those with every u.
 */
#include "kernels/lstm_internal.h"

#include <string.h>

enum { FLOATS_PER_LINE = DNS_ALIGN / sizeof(float), MOST_COLUMNS = 65536 };

typedef struct lstm_plan {
    dns_plan base;
    dns_plan_ops plan_ops; /* with the wrapped plan's format */
    dns_lstm shape;
    const dns_lstm_ops *ops;
    const dns_plan *gates; /* the wrapped plan; NULL: own streams */
    bool terms;            /* the matrix is a sum of terms */
    size_t n_terms, nz;    /* 0, K where it is not */
    size_t depth;          /* of the stream w: K or n_terms */
    float *w;              /* panels of units, [depth][4][width] each: all weights, or every u */
    float *s;              /* [n_terms][4] */
    float *v;              /* panels of terms, [K][4][width] each; with columns [n_terms][4][nz] */
    uint16_t *columns;     /* NULL: every v is whole */
} lstm_plan;

DNS_OPS_SELECT(dns_lstm_ops)

/* Place of an element in panels of `lanes` units, each [depth][4][width] without padding. */
static size_t
place(size_t lanes, size_t units, size_t depth, size_t unit, size_t k, size_t gate)
{
    const size_t first = unit / lanes * lanes;
    const size_t width = units - first < lanes ? units - first : lanes;
    return first * DNS_GATES * depth + (k * DNS_GATES + gate) * width + (unit - first);
}

static const lstm_plan *
own(const dns_plan *base)
{
    return (const lstm_plan *)base;
}

/* ---- workspace ------------------------------------------------------------------------------- */

/* Parts of a workspace: inputs [n][K], z [n][4H], products with v [n][4][n_terms], and that of the
 * wrapped plan. */
typedef struct parts {
    size_t x, z, a, inner, total; /* offsets in bytes */
} parts;

static bool
add_floats(size_t *at, size_t n, size_t each)
{
    size_t floats = 0;
    size_t bytes = 0;
    if (!dns_mul_size(n, each, &floats) || !dns_add_size(floats, FLOATS_PER_LINE - 1, &floats)) {
        return false;
    }
    return dns_mul_size(floats / FLOATS_PER_LINE, DNS_ALIGN, &bytes) &&
           dns_add_size(*at, bytes, at);
}

static bool
lay_out(const lstm_plan *plan, size_t n, size_t threads, parts *p)
{
    size_t inner = 0;
    *p = (parts){0, 0, 0, 0, 0};
    if (plan->gates != NULL &&
        dns_plan_workspace(plan->gates, DNS_ROWS, n, threads, &inner, NULL) != DNS_OK) {
        return false;
    }
    size_t at = 0;
    bool fits = add_floats(&at, n, plan->base.cols);
    p->z = at;
    fits = fits && add_floats(&at, n, plan->base.rows);
    p->a = at;
    fits = fits && add_floats(&at, n, DNS_GATES * plan->n_terms);
    p->inner = at;
    return fits && dns_add_size(at, inner, &p->total);
}

static float *
part_of(void *ws, size_t offset)
{
    return (float *)((char *)ws + offset);
}

/* ---- execution ------------------------------------------------------------------------------- */

typedef struct job {
    const lstm_plan *plan;
    size_t n, n_parts;
    size_t first, stop; /* terms */
    const float *x;
    ptrdiff_t ldx;
    float *a; /* [n][4][n_terms] */
    float *z;
    ptrdiff_t ldz;
    const dns_lstm_call *states; /* NULL: only z */
} job;

static size_t
group(size_t n, size_t j)
{
    return n - j < LSTM_COLUMNS ? n - j : LSTM_COLUMNS;
}

/* Whole v: panel q of the terms. */
static void
multiply_v(const job *j, size_t q)
{
    const lstm_plan *plan = j->plan;
    const size_t lanes = plan->ops->lanes;
    const size_t terms = plan->n_terms;
    const size_t t = q * lanes;
    const size_t width = terms - t < lanes ? terms - t : lanes;
    const ptrdiff_t lda = (ptrdiff_t)(DNS_GATES * terms);
    lstm_panel p = {.w = plan->v + t * DNS_GATES * plan->base.cols,
                    .k = plan->base.cols,
                    .width = width,
                    .ldin = j->ldx,
                    .ldz = lda,
                    .gate_out = terms};
    for (size_t i = 0; i < j->n * DNS_GATES; i++) {
        memset(j->a + i * terms + t, 0, width * sizeof *j->a);
    }
    for (size_t i = 0; i < j->n; i += LSTM_COLUMNS) {
        p.n = group(j->n, i);
        p.in = j->x + (ptrdiff_t)i * j->ldx;
        p.z = j->a + (ptrdiff_t)i * lda + t;
        plan->ops->panel(&p);
    }
    for (size_t i = 0; i < j->n * DNS_GATES; i++) {
        for (size_t k = t; k < t + width; k++) {
            j->a[i * terms + k] *= plan->s[k * DNS_GATES + i % DNS_GATES];
        }
    }
}

/* Part of the terms' products with the inputs. */
static void
terms_part(void *ctx, size_t part)
{
    const job *j = ctx;
    const lstm_plan *plan = j->plan;
    if (plan->columns == NULL) {
        const size_t lanes = plan->ops->lanes;
        const size_t low = j->first / lanes;
        const size_t panels = (j->stop + lanes - 1) / lanes - low;
        for (size_t q = dns_part(panels, j->n_parts, part);
             q < dns_part(panels, j->n_parts, part + 1); q++) {
            multiply_v(j, low + q);
        }
        return;
    }
    const size_t t = j->first + dns_part(j->stop - j->first, j->n_parts, part);
    const size_t stop = j->first + dns_part(j->stop - j->first, j->n_parts, part + 1);
    lstm_dots d = {.s = plan->s + t * DNS_GATES,
                   .v = plan->v + t * DNS_GATES * plan->nz,
                   .columns = plan->columns + t * DNS_GATES * plan->nz,
                   .terms = stop - t,
                   .nz = plan->nz,
                   .ldx = j->ldx,
                   .lda = (ptrdiff_t)(DNS_GATES * plan->n_terms),
                   .gate_out = plan->n_terms};
    for (size_t i = 0; i < j->n; i += LSTM_COLUMNS) {
        d.n = group(j->n, i);
        d.x = j->x + (ptrdiff_t)i * j->ldx;
        d.a = j->a + (ptrdiff_t)i * d.lda + t;
        plan->ops->dots(&d);
    }
}

/* States of the units [u, stop). */
static void
make_states(const job *j, size_t u, size_t stop)
{
    const dns_lstm_call *call = j->states;
    const lstm_states s = {.n = j->n,
                           .units = stop - u,
                           .z = j->z + u,
                           .c = call->c + u,
                           .ldz = j->ldz,
                           .ldc = call->ldc,
                           .gate_in = j->plan->shape.hidden,
                           .h_out = call->h_out + u,
                           .c_out = call->c_out + u,
                           .ldh_out = call->ldh_out,
                           .ldc_out = call->ldc_out,
                           .output_tanh = j->plan->shape.output_tanh};
    j->plan->ops->states(&s);
}

/* Part of the units: their sums, and their states if those are wanted. */
static void
units_part(void *ctx, size_t part)
{
    const job *j = ctx;
    const lstm_plan *plan = j->plan;
    const size_t hidden = plan->shape.hidden;
    const size_t lanes = plan->ops->lanes;
    const size_t panels = (hidden + lanes - 1) / lanes;
    const size_t begin = dns_part(panels, j->n_parts, part) * lanes;
    const size_t end = dns_part(panels, j->n_parts, part + 1) * lanes;
    const size_t stop = end < hidden ? end : hidden;
    const float *in = plan->terms ? j->a + j->first : j->x;
    lstm_panel p = {.k = plan->terms ? j->stop - j->first : plan->base.cols,
                    .ldin = plan->terms ? (ptrdiff_t)(DNS_GATES * plan->n_terms) : j->ldx,
                    .gate_in = plan->terms ? plan->n_terms : 0,
                    .ldz = j->ldz,
                    .gate_out = hidden};
    size_t step = 0;
    for (size_t u = begin; u < stop; u += step) {
        const bool two = j->n == 1 && stop - u >= 2 * lanes;
        step = two ? 2 * lanes : lanes;
        p.width = hidden - u < lanes ? hidden - u : lanes;
        p.w = plan->w + place(lanes, hidden, plan->depth, u, j->first, 0);
        p.next = two ? plan->w + place(lanes, hidden, plan->depth, u + lanes, j->first, 0) : NULL;
        p.bias = j->first == 0 ? plan->base.bias + u : NULL;
        for (size_t i = 0; i < j->n; i += LSTM_COLUMNS) {
            p.n = group(j->n, i);
            p.in = in + (ptrdiff_t)i * p.ldin;
            p.z = j->z + (ptrdiff_t)i * p.ldz + u;
            plan->ops->panel(&p);
        }
    }
    if (j->states != NULL && begin < stop) {
        make_states(j, begin, stop);
    }
}

/* Runs a job whose x and z are set. */
static void
run(job *j, const parts *p, void *ws, dns_threads *threads)
{
    const lstm_plan *plan = j->plan;
    if (plan->gates != NULL) {
        const dns_call call = {j->n, j->x, j->ldx, j->z, j->ldz, (char *)ws + p->inner, threads};
        dns_plan_execute(plan->gates, DNS_ROWS, &call);
        if (j->states != NULL) {
            make_states(j, 0, plan->shape.hidden);
        }
        return;
    }
    j->n_parts = dns_plan_threads(&plan->base, j->n, threads);
    threads = j->n_parts > 1 ? threads : NULL;
    if (plan->terms && j->stop > j->first) {
        j->a = part_of(ws, p->a);
        dns_threads_run(threads, j->n_parts, terms_part, j);
    }
    dns_threads_run(threads, j->n_parts, units_part, j);
}

/* Inputs of a call side by side in the workspace. */
static const float *
join(const lstm_plan *plan, const dns_lstm_call *call, const parts *p)
{
    const size_t inputs = plan->shape.inputs;
    const size_t hidden = plan->shape.hidden;
    float *x = part_of(call->ws, p->x);
    for (size_t j = 0; j < call->n; j++) {
        float *row = x + j * plan->base.cols;
        if (inputs > 0) {
            memcpy(row, call->x + (ptrdiff_t)j * call->ldx, inputs * sizeof *row);
        }
        memcpy(row + inputs, call->h + (ptrdiff_t)j * call->ldh, hidden * sizeof *row);
    }
    return x;
}

static void
step(const dns_plan *base, const dns_lstm_call *call, size_t first, float *z, ptrdiff_t ldz)
{
    const lstm_plan *plan = own(base);
    parts p;
    (void)lay_out(plan, call->n, dns_threads_count(call->threads), &p);
    job j = {.plan = plan,
             .n = call->n,
             .first = plan->terms ? first : 0,
             .stop = plan->terms ? call->stop : 0,
             .x = join(plan, call, &p),
             .ldx = (ptrdiff_t)base->cols,
             .z = z != NULL ? z : part_of(call->ws, p.z),
             .ldz = z != NULL ? ldz : (ptrdiff_t)base->rows,
             .states = z != NULL ? NULL : call};
    run(&j, &p, call->ws, call->threads);
}

void
dns_lstm_step(const dns_plan *base, const dns_lstm_call *call)
{
    if (call->n > 0) {
        step(base, call, 0, NULL, 0);
    }
}

void
dns_lstm_gates(const dns_plan *base, const dns_lstm_call *call, size_t first, float *z,
               ptrdiff_t ldz)
{
    if (call->n > 0) {
        step(base, call, first, z, ldz);
    }
}

void
dns_lstm_cell(const dns_plan *base, const dns_lstm_call *call, const float *z, ptrdiff_t ldz)
{
    const lstm_plan *plan = own(base);
    const job j = {.plan = plan, .n = call->n, .z = (float *)z, .ldz = ldz, .states = call};
    make_states(&j, 0, plan->shape.hidden);
}

dns_status
dns_lstm_workspace(const dns_plan *base, size_t n, size_t threads, size_t *bytes, dns_error *err)
{
    parts p;
    DNS_REQUIRE(n <= INT32_MAX && lay_out(own(base), n, threads, &p), err, DNS_ERR_OVERFLOW, -1,
                "n: expected a number of vectors whose workspace fits, got %zu", n);
    *bytes = p.total;
    return DNS_OK;
}

/* ---- as a plan of the matrix ----------------------------------------------------------------- */

static bool
lstm_plan_workspace(const dns_plan *base, size_t n, size_t threads, size_t *bytes)
{
    parts p;
    const bool fits = lay_out(own(base), n, threads, &p);
    *bytes = p.total;
    return fits;
}

static void
lstm_execute_rows(const dns_plan *base, const dns_call *call)
{
    const lstm_plan *plan = own(base);
    parts p;
    (void)lay_out(plan, call->n, dns_threads_count(call->threads), &p);
    job j = {.plan = plan,
             .n = call->n,
             .stop = plan->n_terms,
             .x = call->x,
             .ldx = call->ldx,
             .z = call->y,
             .ldz = call->ldy};
    run(&j, &p, call->ws, call->threads);
}

static void
lstm_execute(const dns_plan *base, const dns_call *call)
{
    parts p;
    (void)lay_out(own(base), call->n, dns_threads_count(call->threads), &p);
    float *x = part_of(call->ws, p.x);
    float *z = part_of(call->ws, p.z);
    for (size_t j = 0; j < call->n; j++) {
        for (size_t k = 0; k < base->cols; k++) {
            x[j * base->cols + k] = call->x[(ptrdiff_t)k * call->ldx + (ptrdiff_t)j];
        }
    }
    dns_call rows = *call;
    rows.x = x;
    rows.ldx = (ptrdiff_t)base->cols;
    rows.y = z;
    rows.ldy = (ptrdiff_t)base->rows;
    lstm_execute_rows(base, &rows);
    for (size_t i = 0; i < base->rows; i++) {
        for (size_t j = 0; j < call->n; j++) {
            call->y[(ptrdiff_t)i * call->ldy + (ptrdiff_t)j] = z[j * base->rows + i];
        }
    }
}

dns_work
dns_lstm_work(const dns_plan *base, size_t n, size_t stop, const dns_machine *machine)
{
    const lstm_plan *plan = own(base);
    dns_work work = {0.0, {0.0}};
    if (plan->gates != NULL) {
        return dns_plan_work(plan->gates, n, machine);
    }
    if (n == 0) {
        return work;
    }
    const double hidden = (double)plan->shape.hidden;
    const double columns = (double)n;
    const double used = plan->terms ? (double)stop : (double)base->cols;
    double weights = DNS_GATES * used * hidden;
    double bytes = weights * sizeof(float);
    if (plan->terms) {
        const double entry = sizeof(float) + (plan->columns != NULL ? sizeof *plan->columns : 0);
        weights += DNS_GATES * used * (double)(plan->nz + 1);
        bytes += DNS_GATES * used * ((double)plan->nz * entry + sizeof(float));
    }
    const double vectors = sizeof(float) * columns * (double)(base->cols + base->rows);
    work.flops = 2.0 * weights * columns;
    dns_work_add(&work, machine, bytes + vectors, bytes + vectors);
    return work;
}

static void
lstm_work(const dns_plan *base, size_t n, const dns_machine *machine, dns_work *work)
{
    *work = dns_lstm_work(base, n, own(base)->n_terms, machine);
}

/* Element i of term t's v, and its column. */
static float
v_at(const lstm_plan *plan, size_t t, size_t g, size_t i, size_t *column)
{
    if (plan->columns != NULL) {
        const size_t at = (t * DNS_GATES + g) * plan->nz + i;
        *column = plan->columns[at];
        return plan->v[at];
    }
    *column = i;
    return plan->v[place(plan->ops->lanes, plan->n_terms, plan->base.cols, t, i, g)];
}

static void
lstm_to_dense(const dns_plan *base, float *w)
{
    const lstm_plan *plan = own(base);
    const size_t hidden = plan->shape.hidden;
    const size_t lanes = plan->ops->lanes;
    if (plan->gates != NULL) {
        dns_plan_to_dense(plan->gates, w);
        return;
    }
    for (size_t row = 0; row < base->rows; row++) {
        const size_t g = row / hidden;
        const size_t unit = row % hidden;
        float *to = w + row * base->cols;
        for (size_t k = 0; k < plan->depth; k++) {
            const float weight = plan->w[place(lanes, hidden, plan->depth, unit, k, g)];
            if (!plan->terms) {
                to[k] = weight;
                continue;
            }
            const float scaled = plan->s[k * DNS_GATES + g] * weight;
            for (size_t i = 0; i < plan->nz; i++) {
                size_t column = 0;
                const float v = v_at(plan, k, g, i, &column);
                to[column] += scaled * v;
            }
        }
    }
}

static size_t
v_count(const lstm_plan *plan)
{
    return plan->n_terms * DNS_GATES * plan->nz;
}

static void
lstm_destroy(dns_plan *base)
{
    const lstm_plan *plan = (lstm_plan *)base;
    const dns_alloc *alloc = &base->alloc;
    dns_mem_free(alloc, plan->w, plan->depth * base->rows, sizeof *plan->w);
    dns_mem_free(alloc, plan->s, plan->n_terms * DNS_GATES, sizeof *plan->s);
    dns_mem_free(alloc, plan->v, v_count(plan), sizeof *plan->v);
    dns_mem_free(alloc, plan->columns, v_count(plan), sizeof *plan->columns);
}

static const dns_plan_ops lstm_plan_ops = {
    .workspace = lstm_plan_workspace,
    .execute = lstm_execute,
    .rows_workspace = lstm_plan_workspace,
    .execute_rows = lstm_execute_rows,
    .work = lstm_work,
    .to_dense = lstm_to_dense,
    .destroy = lstm_destroy,
};

/* ---- creation -------------------------------------------------------------------------------- */

/* A plan without weights; *out stays NULL on failure. */
static dns_status
lstm_new(const dns_lstm *shape, const char *format, const float *bias, dns_isa isa,
         const dns_alloc *alloc, lstm_plan **out, dns_error *err)
{
    dns_plan *base = NULL;
    static const dns_act all = {-__builtin_inff(), __builtin_inff()};
    DNS_REQUIRE(shape->hidden >= 1 && shape->hidden <= INT32_MAX / DNS_GATES &&
                    shape->inputs <= INT32_MAX - shape->hidden,
                err, DNS_ERR_VALUE, -1,
                "lstm: expected at least one unit and 4 H and D + H below 2^31, got D = %zu, "
                "H = %zu",
                shape->inputs, shape->hidden);
    DNS_TRY(dns_plan_new(&lstm_plan_ops, sizeof(lstm_plan), DNS_GATES * shape->hidden,
                         shape->inputs + shape->hidden, bias, all, alloc, &base, err));
    lstm_plan *plan = (lstm_plan *)base;
    plan->plan_ops = lstm_plan_ops;
    plan->plan_ops.format = format;
    base->ops = &plan->plan_ops;
    plan->shape = *shape;
    plan->ops = dns_lstm_ops_select(isa);
    base->isa = plan->ops->isa;
    *out = plan;
    return DNS_OK;
}

dns_status
dns_lstm_dense_create(const dns_lstm *shape, const float *w, ptrdiff_t ldw, const float *bias,
                      dns_isa isa, const dns_alloc *alloc, dns_plan **out, dns_error *err)
{
    lstm_plan *plan = NULL;
    const dns_status status = lstm_new(shape, "dense", bias, isa, alloc, &plan, err);
    if (plan == NULL) {
        return status;
    }
    const size_t hidden = shape->hidden;
    const size_t cols = plan->base.cols;
    plan->depth = cols;
    plan->base.nnz = plan->base.rows * cols;
    plan->w = dns_mem_new(alloc, plan->base.nnz, sizeof *plan->w);
    for (size_t row = 0; plan->w != NULL && row < plan->base.rows; row++) {
        const float *from = w + (ptrdiff_t)row * ldw;
        for (size_t k = 0; k < cols; k++) {
            plan->w[place(plan->ops->lanes, hidden, cols, row % hidden, k, row / hidden)] = from[k];
        }
    }
    plan->base.bytes += plan->base.nnz * sizeof *plan->w;
    return dns_plan_finish(&plan->base, plan->w != NULL ? DNS_OK : DNS_ERR_MEMORY, out, err);
}

static dns_status
check_columns(const dns_lstm_terms *terms, size_t cols, dns_error *err)
{
    DNS_REQUIRE(terms->columns == NULL ? terms->nz == cols : terms->nz <= cols, err, DNS_ERR_SHAPE,
                -1, "v: expected at most %zu elements of each term, all without columns, got %zu",
                cols, terms->nz);
    DNS_REQUIRE(terms->columns == NULL || cols <= MOST_COLUMNS, err, DNS_ERR_VALUE, -1,
                "progressive: expected at most %d inputs and units together, got %zu", MOST_COLUMNS,
                cols);
    for (size_t i = 0; terms->columns != NULL && i < DNS_GATES * terms->terms; i++) {
        const int32_t *columns = terms->columns + i * terms->nz;
        for (size_t k = 0; k < terms->nz; k++) {
            const int64_t low = k == 0 ? 0 : (int64_t)columns[k - 1] + 1;
            DNS_REQUIRE(columns[k] >= low && columns[k] < (int64_t)cols, err, DNS_ERR_FORMAT,
                        i % terms->terms,
                        "columns: gate %zu, term %zu: expected ascending columns below %zu without "
                        "repeats, got %d",
                        i / terms->terms, i % terms->terms, cols, columns[k]);
        }
    }
    return DNS_OK;
}

static void
pack_terms(lstm_plan *plan, const dns_lstm_terms *terms)
{
    const size_t hidden = plan->shape.hidden;
    const size_t lanes = plan->ops->lanes;
    const size_t n = terms->terms;
    for (size_t i = 0; i < DNS_GATES * n; i++) {
        const size_t g = i / n;
        const size_t t = i % n;
        const float *v = terms->v + i * terms->nz;
        plan->s[t * DNS_GATES + g] = terms->s[i];
        for (size_t k = 0; k < hidden; k++) {
            plan->w[place(lanes, hidden, n, k, t, g)] = terms->u[i * hidden + k];
        }
        for (size_t k = 0; k < terms->nz; k++) {
            if (plan->columns == NULL) {
                plan->v[place(lanes, n, terms->nz, t, k, g)] = v[k];
                continue;
            }
            const size_t at = (t * DNS_GATES + g) * terms->nz + k;
            plan->v[at] = v[k];
            plan->columns[at] = (uint16_t)terms->columns[i * terms->nz + k];
        }
    }
}

dns_status
dns_lstm_terms_create(const dns_lstm *shape, const dns_lstm_terms *terms, const float *bias,
                      dns_isa isa, const dns_alloc *alloc, dns_plan **out, dns_error *err)
{
    lstm_plan *plan = NULL;
    const bool sparse = terms->columns != NULL;
    size_t count = 0;
    DNS_REQUIRE(terms->terms <= INT32_MAX / DNS_GATES, err, DNS_ERR_VALUE, -1,
                "terms: expected less than 2^29 terms, got %zu", terms->terms);
    DNS_TRY(check_columns(terms, shape->inputs + shape->hidden, err));
    const dns_status status =
        lstm_new(shape, sparse ? "progressive" : "lowrank", bias, isa, alloc, &plan, err);
    if (plan == NULL) {
        return status;
    }
    if (!dns_mul_size(DNS_GATES * terms->terms, terms->nz + shape->hidden + 1, &count)) {
        return dns_plan_finish(&plan->base, DNS_ERR_MEMORY, out, err);
    }
    plan->terms = true;
    plan->n_terms = terms->terms;
    plan->nz = terms->nz;
    plan->depth = terms->terms;
    plan->base.nnz = count;
    plan->w = dns_mem_new(alloc, plan->depth * plan->base.rows, sizeof *plan->w);
    plan->s = dns_mem_new(alloc, plan->n_terms * DNS_GATES, sizeof *plan->s);
    plan->v = dns_mem_new(alloc, v_count(plan), sizeof *plan->v);
    plan->columns = sparse ? dns_mem_new(alloc, v_count(plan), sizeof *plan->columns) : NULL;
    const bool allocated =
        plan->w != NULL && plan->s != NULL && plan->v != NULL && (plan->columns != NULL || !sparse);
    plan->base.bytes +=
        count * sizeof(float) + (sparse ? v_count(plan) * sizeof *plan->columns : 0);
    if (allocated) {
        pack_terms(plan, terms);
    }
    return dns_plan_finish(&plan->base, allocated ? DNS_OK : DNS_ERR_MEMORY, out, err);
}

dns_status
dns_lstm_wrap_create(const dns_lstm *shape, const dns_plan *gates, const dns_alloc *alloc,
                     dns_plan **out, dns_error *err)
{
    lstm_plan *plan = NULL;
    const dns_status status =
        lstm_new(shape, gates->ops->format, NULL, gates->isa, alloc, &plan, err);
    if (plan == NULL) {
        return status;
    }
    if (gates->rows != plan->base.rows || gates->cols != plan->base.cols) {
        const dns_status refused = dns_fail(
            err, DNS_ERR_SHAPE, -1, "gates: expected a plan of %zu x %zu weights, got %zu x %zu",
            plan->base.rows, plan->base.cols, gates->rows, gates->cols);
        return dns_plan_finish(&plan->base, refused, out, err);
    }
    plan->gates = gates;
    plan->base.isa = gates->isa;
    plan->base.nnz = gates->nnz;
    plan->base.bytes += gates->bytes;
    *out = &plan->base;
    return DNS_OK;
}

const dns_lstm *
dns_lstm_of(const dns_plan *plan)
{
    return plan->ops->execute == lstm_execute ? &own(plan)->shape : NULL;
}

size_t
dns_lstm_n_terms(const dns_plan *plan, size_t *nz)
{
    *nz = own(plan)->nz;
    return own(plan)->n_terms;
}

void
dns_lstm_unpack(const dns_plan *base, float *s, float *u, float *v, int32_t *columns)
{
    const lstm_plan *plan = own(base);
    const size_t hidden = plan->shape.hidden;
    const size_t n = plan->n_terms;
    for (size_t i = 0; i < DNS_GATES * n; i++) {
        const size_t g = i / n;
        const size_t t = i % n;
        s[i] = plan->s[t * DNS_GATES + g];
        for (size_t k = 0; k < hidden; k++) {
            u[i * hidden + k] = plan->w[place(plan->ops->lanes, hidden, n, k, t, g)];
        }
        for (size_t k = 0; k < plan->nz; k++) {
            size_t column = 0;
            v[i * plan->nz + k] = v_at(plan, t, g, k, &column);
            if (columns != NULL) {
                columns[i * plan->nz + k] = (int32_t)column;
            }
        }
    }
}
