/* LSTM cells at every level: gates as a plan, states against float64, tails, guard pages, threads,
 * stopping and going on, sums that agree between forms, and the accuracy of sigmoid and tanh. */
#define KIT_ONE_ROUND /* plans go through the places with their pools */
#include "kernelkit.h"

#include "dns/csr.h"
#include "dns/lstm.h"

static const size_t thread_counts[] = {1, 2, 3, 7};

/* Terms owned by the test, and the caller's view of them. */
typedef struct owned {
    float *s, *u, *v;
    int32_t *columns;
    dns_lstm_terms view;
} owned;

static owned
terms_new(const dns_lstm *shape, size_t n, size_t nz, bool sparse, uint64_t *state)
{
    const size_t cols = shape->inputs + shape->hidden;
    owned o;
    o.s = malloc((DNS_GATES * n + 1) * sizeof *o.s);
    o.u = malloc((DNS_GATES * n * shape->hidden + 1) * sizeof *o.u);
    o.v = malloc((DNS_GATES * n * nz + 1) * sizeof *o.v);
    o.columns = malloc((DNS_GATES * n * nz + 1) * sizeof *o.columns);
    if (o.s == NULL || o.u == NULL || o.v == NULL || o.columns == NULL) {
        abort();
    }
    for (size_t i = 0; i < DNS_GATES * n; i++) {
        o.s[i] = kit_float(state) + 1.5F;
        size_t taken = 0;
        for (size_t k = 0; k < cols; k++) { /* nz of the columns, drawn one by one */
            if (kit_random(state) % (cols - k) < nz - taken) {
                o.v[i * nz + taken] = kit_float(state);
                o.columns[i * nz + taken++] = (int32_t)k;
            }
        }
    }
    for (size_t i = 0; i < DNS_GATES * n * shape->hidden; i++) {
        o.u[i] = kit_float(state);
    }
    o.view = (dns_lstm_terms){n, nz, o.s, o.u, o.v, sparse ? o.columns : NULL};
    return o;
}

static void
terms_free(owned *o)
{
    free(o->s);
    free(o->u);
    free(o->v);
    free(o->columns);
}

static dns_status
create_dense(const kit_weights *k, dns_isa isa, const dns_alloc *alloc, dns_plan **out,
             dns_error *err)
{
    const size_t hidden = k->rows / DNS_GATES;
    const dns_lstm shape = {k->cols - hidden, hidden, true};
    return dns_lstm_dense_create(&shape, k->w, (ptrdiff_t)k->cols, k->bias, isa, alloc, out, err);
}

/* A CSR plan of the matrix. */
static dns_status
create_gates(const kit_weights *k, dns_isa isa, const dns_alloc *alloc, dns_plan **out,
             dns_error *err)
{
    int64_t *indptr = malloc((k->rows + 1) * sizeof *indptr);
    int64_t *indices = malloc(k->rows * k->cols * sizeof *indices);
    float *values = malloc(k->rows * k->cols * sizeof *values);
    if (indptr == NULL || indices == NULL || values == NULL) {
        abort();
    }
    int64_t n = 0;
    for (size_t i = 0; i < k->rows; i++) {
        indptr[i] = n;
        for (size_t j = 0; j < k->cols; j++) {
            if (k->w[i * k->cols + j] != 0.0F) {
                indices[n] = (int64_t)j;
                values[n++] = k->w[i * k->cols + j];
            }
        }
    }
    indptr[k->rows] = n;
    const dns_csr w = {k->rows, k->cols, (size_t)n, indptr, indices, values};
    const dns_status status = dns_csr_plan_create(&w, k->bias, k->act, isa, alloc, out, err);
    free(indptr);
    free(indices);
    free(values);
    return status;
}

/* A cell around the plan that ctx points to, which create_gates made at the same level. */
static dns_status
create_csr(const kit_weights *k, dns_isa isa, const dns_alloc *alloc, dns_plan **out,
           dns_error *err)
{
    dns_plan *const *gates = k->ctx;
    const size_t hidden = k->rows / DNS_GATES;
    const dns_lstm shape = {k->cols - hidden, hidden, true};
    return dns_lstm_wrap_create(&shape, gates[isa], alloc, out, err);
}

/* CSR plans of every level that runs, [DNS_N_ISA]. */
static void
gates_new(kit_weights *k, dns_plan **gates)
{
    KIT_FOR_EACH_LEVEL(isa)
    {
        CHECK(create_gates(k, isa, NULL, &gates[isa], NULL) == DNS_OK);
    }
    k->ctx = gates;
}

static void
gates_free(dns_plan **gates)
{
    KIT_FOR_EACH_LEVEL(isa)
    {
        dns_plan_destroy(gates[isa]);
    }
}

/* The gates are a plan like any other: every number of vectors around the groups of all levels. */
static void
test_gates_as_a_plan(void)
{
    static const struct {
        size_t inputs, hidden, n, step;
    } cases[] = {{16, 37, 18, 1}, {0, 1, 9, 1}, {5, 16, 17, 4}, {600, 33, 9, 8}, {40, 300, 8, 7}};
    uint64_t state = 1;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        const size_t rows = DNS_GATES * cases[c].hidden;
        kit_weights k = kit_weights_new(rows, cases[c].inputs + cases[c].hidden, 1.0, &state);
        float *bias = malloc(rows * sizeof *bias);
        REQUIRE(bias != NULL);
        for (size_t i = 0; i < rows; i++) {
            bias[i] = kit_float(&state);
        }
        k.bias = c % 2 == 0 ? bias : NULL;
        dns_plan *gates[DNS_N_ISA];
        gates_new(&k, gates);
        kit_plan_check(create_dense, &k, cases[c].n, cases[c].step);
        kit_plan_check(create_csr, &k, cases[c].n, cases[c].n);
        gates_free(gates);
        kit_weights_free(&k);
        free(bias);
    }
}

/* Buffers of one step, guarded; gaps of `extra` between rows. */
typedef struct buffers {
    size_t n, inputs, hidden, ldx, ldh;
    kit_guard x, h, c, h_out, c_out, ws;
    dns_lstm_call call;
} buffers;

static buffers
buffers_new(const dns_plan *plan, size_t n, size_t extra, dns_threads *pool, uint64_t *state)
{
    const dns_lstm *shape = dns_lstm_of(plan);
    buffers b = {.n = n, .inputs = shape->inputs, .hidden = shape->hidden};
    b.ldx = b.inputs + extra;
    b.ldh = b.hidden + extra;
    b.x = kit_matrix(n, b.inputs, b.ldx);
    b.h = kit_matrix(n, b.hidden, b.ldh);
    b.c = kit_matrix(n, b.hidden, b.ldh);
    b.h_out = kit_matrix(n, b.hidden, b.ldh);
    b.c_out = kit_matrix(n, b.hidden, b.ldh);
    for (size_t j = 0; j < n; j++) {
        for (size_t i = 0; i < b.inputs; i++) {
            ((float *)b.x.data)[j * b.ldx + i] = kit_float(state);
        }
        for (size_t i = 0; i < b.hidden; i++) {
            ((float *)b.h.data)[j * b.ldh + i] = kit_float(state);
            ((float *)b.c.data)[j * b.ldh + i] = 3.0F * kit_float(state);
        }
    }
    size_t bytes = 0;
    size_t nz = 0;
    CHECK(dns_lstm_workspace(plan, n, dns_threads_count(pool), &bytes, NULL) == DNS_OK);
    b.ws = kit_workspace(bytes);
    b.call = (dns_lstm_call){n,
                             b.x.data,
                             b.h.data,
                             b.c.data,
                             (ptrdiff_t)b.ldx,
                             (ptrdiff_t)b.ldh,
                             (ptrdiff_t)b.ldh,
                             b.h_out.data,
                             b.c_out.data,
                             (ptrdiff_t)b.ldh,
                             (ptrdiff_t)b.ldh,
                             dns_lstm_n_terms(plan, &nz),
                             b.ws.data,
                             pool};
    return b;
}

static void
buffers_free(buffers b)
{
    kit_guard_free(b.x);
    kit_guard_free(b.h);
    kit_guard_free(b.c);
    kit_guard_free(b.h_out);
    kit_guard_free(b.c_out);
    kit_guard_free(b.ws);
}

static double
sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

/* States against float64 computed from the fp32 gate sums z [n][4H]. */
static void
check_states(const buffers *b, const float *z, bool output_tanh)
{
    for (size_t j = 0; j < b->n; j++) {
        for (size_t i = 0; i < b->hidden; i++) {
            const float *row = z + j * DNS_GATES * b->hidden + i;
            const double forgotten =
                sigmoid((double)row[b->hidden]) * (double)((float *)b->c.data)[j * b->ldh + i];
            const double added = sigmoid((double)row[0]) * tanh((double)row[2 * b->hidden]);
            const double c = forgotten + added;
            const double h = sigmoid((double)row[3 * b->hidden]) * (output_tanh ? tanh(c) : c);
            const double bound = 14.0 * KIT_UNIT * (fabs(forgotten) + fabs(added)) + 1e-37;
            const double c_got = (double)((float *)b->c_out.data)[j * b->ldh + i];
            const double h_got = (double)((float *)b->h_out.data)[j * b->ldh + i];
            CHECK(fabs(c_got - c) <= bound);
            CHECK(fabs(h_got - h) <= bound + 12.0 * KIT_UNIT * fabs(h) + 1e-37);
        }
    }
}

/* One step on every number of threads, with buffers at every place: right, the same bytes, and
 * nothing touched in between. */
static void
check_step(const dns_plan *plan, size_t n, size_t extra, uint64_t seed)
{
    float *h = NULL;
    for (size_t t = 0; t < 4; t++) {
        dns_threads *pool = NULL;
        uint64_t state = seed;
        kit_place_now = (kit_place)(t % KIT_PLACES);
        REQUIRE(t == 0 || dns_threads_create(thread_counts[t], NULL, &pool, NULL) == DNS_OK);
        buffers b = buffers_new(plan, n, extra, pool, &state);
        const size_t floats = n == 0 ? 0 : (n - 1) * b.ldh + b.hidden;
        dns_lstm_step(plan, &b.call);
        CHECK(kit_gaps_untouched(b.h_out.data, n, b.hidden, b.ldh));
        CHECK(kit_gaps_untouched(b.c_out.data, n, b.hidden, b.ldh));
        if (t == 0) {
            const kit_guard z = kit_matrix(n, plan->rows, plan->rows);
            dns_lstm_gates(plan, &b.call, 0, z.data, (ptrdiff_t)plan->rows);
            check_states(&b, z.data, dns_lstm_of(plan)->output_tanh);
            h = malloc((floats + 1) * sizeof *h);
            REQUIRE(h != NULL);
            memcpy(h, b.h_out.data, floats * sizeof *h);
            b.call.h_out = b.h.data; /* in place */
            b.call.c_out = b.c.data;
            dns_lstm_step(plan, &b.call);
            CHECK(memcmp(b.c.data, b.c_out.data, floats * sizeof *h) == 0);
            CHECK(memcmp(b.h.data, h, floats * sizeof *h) == 0);
            kit_guard_free(z);
        }
        else {
            CHECK(memcmp(h, b.h_out.data, floats * sizeof *h) == 0);
        }
        buffers_free(b);
        dns_threads_destroy(pool);
    }
    free(h);
}

/* Largest |z - z64| / bound of gates made of the first `stop` terms. */
static double
worst_gate(const dns_lstm_terms *t, const float *bias, const buffers *b, size_t stop,
           const float *z)
{
    double worst = 0.0;
    for (size_t j = 0; j < b->n; j++) {
        for (size_t row = 0; row < DNS_GATES * b->hidden; row++) {
            double sum = (double)bias[row];
            double size = fabs(sum);
            for (size_t k = 0; k < stop; k++) {
                const size_t at = row / b->hidden * t->terms + k;
                double a = 0.0;
                double a_size = 0.0;
                for (size_t i = 0; i < t->nz; i++) {
                    const size_t col = t->columns != NULL ? (size_t)t->columns[at * t->nz + i] : i;
                    const float x = col < b->inputs
                                        ? ((float *)b->x.data)[j * b->ldx + col]
                                        : ((float *)b->h.data)[j * b->ldh + col - b->inputs];
                    a += (double)t->v[at * t->nz + i] * (double)x;
                    a_size += fabs((double)t->v[at * t->nz + i] * (double)x);
                }
                const double su = (double)t->s[at] * (double)t->u[at * b->hidden + row % b->hidden];
                sum += su * a;
                size += fabs(su) * a_size;
            }
            const double bound = 2.0 * (double)(t->nz + stop + 4) * KIT_UNIT * size + 1e-38;
            const double got = (double)z[j * DNS_GATES * b->hidden + row];
            worst = fmax(worst, fabs(got - sum) / bound);
        }
    }
    return worst;
}

/* Steps of every form of a cell, with 0 to n_max vectors; the gates of pruned terms. */
static void
check_forms(dns_lstm shape, size_t n_max, uint64_t *state)
{
    const size_t rows = DNS_GATES * shape.hidden;
    const size_t cols = shape.inputs + shape.hidden;
    kit_weights k = kit_weights_new(rows, cols, 0.7, state);
    dns_plan *gates[DNS_N_ISA];
    gates_new(&k, gates);
    owned whole = terms_new(&shape, 21, cols, false, state);
    owned pruned = terms_new(&shape, 37, (cols + 1) / 2, true, state);
    float *bias = calloc(rows, sizeof *bias);
    float *z = malloc(n_max * rows * sizeof *z);
    REQUIRE(bias != NULL && z != NULL);
    KIT_FOR_EACH_LEVEL(isa)
    {
        dns_plan *plans[4] = {NULL, NULL, NULL, NULL};
        REQUIRE(create_dense(&k, isa, NULL, &plans[0], NULL) == DNS_OK);
        REQUIRE(create_csr(&k, isa, NULL, &plans[1], NULL) == DNS_OK);
        REQUIRE(dns_lstm_terms_create(&shape, &whole.view, k.w, isa, NULL, &plans[2], NULL) ==
                DNS_OK);
        REQUIRE(dns_lstm_terms_create(&shape, &pruned.view, NULL, isa, NULL, &plans[3], NULL) ==
                DNS_OK);
        for (size_t p = 0; p < 4; p++) {
            for (size_t n = 0; plans[p]->isa == isa && n <= n_max; n += n < 9 ? 1 : 4) {
                check_step(plans[p], n, n % 3, cols + n);
            }
        }
        buffers b = buffers_new(plans[3], n_max, 1, NULL, state);
        dns_lstm_gates(plans[3], &b.call, 0, z, (ptrdiff_t)rows);
        CHECK(worst_gate(&pruned.view, bias, &b, 37, z) <= 1.0);
        buffers_free(b);
        for (size_t p = 0; p < 4; p++) {
            dns_plan_destroy(plans[p]);
        }
    }
    free(z);
    free(bias);
    gates_free(gates);
    terms_free(&whole);
    terms_free(&pruned);
    kit_weights_free(&k);
}

static void
test_steps_of_every_form(void)
{
    static const dns_lstm cases[] = {
        {3, 1, true}, {0, 7, false}, {20, 16, true}, {31, 37, false}, {300, 130, true}};
    uint64_t state = 2;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        check_forms(cases[c], 17, &state);
    }
    kit_say_skipped();
}

/* Every number of units and of inputs around the vectors. */
static void
test_every_extent(void)
{
    uint64_t state = 11;
    for (size_t hidden = 1; hidden <= 35; hidden++) {
        check_forms((dns_lstm){hidden * 11 % 36, hidden, hidden % 2 == 0}, 2, &state);
    }
}

/* Any number of terms is right, and stopping anywhere and going on gives the same bytes. */
static void
test_terms_stop_and_go_on(void)
{
    enum { TERMS = 37 };
    static const size_t vectors[] = {1, 2, 5, 9};
    const dns_lstm shape = {29, 21, true};
    const size_t rows = DNS_GATES * shape.hidden;
    uint64_t state = 3;
    float *bias = malloc(rows * sizeof *bias);
    REQUIRE(bias != NULL);
    for (size_t i = 0; i < rows; i++) {
        bias[i] = kit_float(&state);
    }
    for (int sparse = 0; sparse < 2; sparse++) {
        owned o = terms_new(&shape, TERMS, sparse ? 19 : 50, sparse != 0, &state);
        KIT_FOR_EACH_LEVEL(isa)
        {
            dns_plan *plan = NULL;
            REQUIRE(dns_lstm_terms_create(&shape, &o.view, bias, isa, NULL, &plan, NULL) == DNS_OK);
            for (size_t v = 0; plan->isa == isa && v < 4; v++) {
                buffers b = buffers_new(plan, vectors[v], v % 2, NULL, &state);
                float *once = malloc(b.n * rows * sizeof *once);
                float *twice = malloc(b.n * rows * sizeof *twice);
                REQUIRE(once != NULL && twice != NULL);
                for (size_t stop = 0; stop <= TERMS; stop++) {
                    const size_t middle = stop * (v + 1) / 6;
                    b.call.stop = stop;
                    dns_lstm_gates(plan, &b.call, 0, once, (ptrdiff_t)rows);
                    CHECK(worst_gate(&o.view, bias, &b, stop, once) <= 1.0);
                    b.call.stop = middle;
                    dns_lstm_gates(plan, &b.call, 0, twice, (ptrdiff_t)rows);
                    if (middle > 0) { /* first = 0 would begin anew */
                        b.call.stop = stop;
                        dns_lstm_gates(plan, &b.call, middle, twice, (ptrdiff_t)rows);
                        CHECK(memcmp(once, twice, b.n * rows * sizeof *once) == 0);
                    }
                }
                free(once);
                free(twice);
                buffers_free(b);
            }
            dns_plan_destroy(plan);
        }
        terms_free(&o);
    }
    free(bias);
}

/* A vector's result depends neither on its company nor on the form: without zeros csr and dense add
 * the same products in the same order. */
static void
test_forms_and_batches_agree(void)
{
    enum { N = 11, HIDDEN = 45, INPUTS = 70 };
    uint64_t state = 4;
    kit_weights k = kit_weights_new((size_t)DNS_GATES * HIDDEN, INPUTS + HIDDEN, 1.0, &state);
    dns_plan *gates[DNS_N_ISA];
    gates_new(&k, gates);
    KIT_FOR_EACH_LEVEL(isa)
    {
        dns_plan *plans[2] = {NULL, NULL};
        REQUIRE(create_dense(&k, isa, NULL, &plans[0], NULL) == DNS_OK);
        REQUIRE(create_csr(&k, isa, NULL, &plans[1], NULL) == DNS_OK);
        uint64_t same = 5;
        buffers all = buffers_new(plans[0], N, 0, NULL, &same);
        same = 5;
        buffers other = buffers_new(plans[1], N, 0, NULL, &same);
        dns_lstm_step(plans[0], &all.call);
        dns_lstm_step(plans[1], &other.call);
        CHECK(memcmp(all.h_out.data, other.h_out.data, sizeof(float) * N * HIDDEN) == 0);
        CHECK(memcmp(all.c_out.data, other.c_out.data, sizeof(float) * N * HIDDEN) == 0);
        for (size_t j = 0; j < N; j++) {
            float h[HIDDEN];
            float c[HIDDEN];
            dns_lstm_call one = all.call;
            one.n = 1;
            one.x += j * all.ldx;
            one.h += j * all.ldh;
            one.c += j * all.ldh;
            one.h_out = h;
            one.c_out = c;
            dns_lstm_step(plans[0], &one);
            CHECK(memcmp(h, (float *)all.h_out.data + j * HIDDEN, sizeof h) == 0);
        }
        buffers_free(all);
        buffers_free(other);
        dns_plan_destroy(plans[0]);
        dns_plan_destroy(plans[1]);
    }
    gates_free(gates);
    kit_weights_free(&k);
}

/* |got - want| in units of the last place of want, those of the subnormal range below 2^-126. */
static double
ulps(float got, double want)
{
    int e = 0;
    (void)frexp(want, &e);
    return fabs((double)got - want) / ldexp(1.0, (e < -125 ? -125 : e) - 24);
}

/* Sigmoid and tanh alone: f = 1, c = 1, g = 0 make h' = sigmoid(z_o) without the output's tanh;
 * i = 1 and c = 0 make c' = tanh(z_g). Every 1009th float of either sign. */
static void
test_sigmoid_and_tanh(void)
{
    enum { H = 2048, STRIDE = 1009 };
    const dns_lstm shape = {0, H, false};
    static float z[2][DNS_GATES * H], c[2][H], h_out[2][H], c_out[2][H];
    const dns_lstm_terms none = {0, H, z[0], z[0], z[0], NULL};
    KIT_FOR_EACH_LEVEL(isa)
    {
        dns_plan *plan = NULL;
        REQUIRE(dns_lstm_terms_create(&shape, &none, NULL, isa, NULL, &plan, NULL) == DNS_OK);
        double worst[3] = {0.0, 0.0, 0.0};
        for (uint64_t bits = 0; plan->isa == isa && bits < 0x7f800000U;) {
            for (size_t i = 0; i < H; i++) {
                const uint32_t b = (uint32_t)(bits < 0x7f800000U ? bits : 0x7f800000U);
                float x;
                memcpy(&x, &b, sizeof x);
                x = i % 2 == 0 ? x : -x;
                bits += i % 2 == 0 ? 0 : STRIDE;
                z[0][i] = z[0][2 * H + i] = 0.0F;
                z[0][H + i] = z[1][i] = INFINITY;
                z[1][H + i] = z[1][3 * H + i] = 0.0F;
                z[0][3 * H + i] = z[1][2 * H + i] = x;
                c[0][i] = 1.0F;
                c[1][i] = 0.0F;
            }
            const dns_lstm_call call = {.n = 2,
                                        .c = c[0],
                                        .ldc = H,
                                        .h_out = h_out[0],
                                        .c_out = c_out[0],
                                        .ldh_out = H,
                                        .ldc_out = H};
            dns_lstm_cell(plan, &call, z[0], DNS_GATES * H);
            for (size_t i = 0; i < H; i++) {
                const double x = (double)z[1][2 * H + i];
                const double want = sigmoid(x);
                const bool normal = want >= 0x1p-126;
                const double off =
                    normal ? ulps(h_out[0][i], want) : fabs((double)h_out[0][i] - want) * 0x1p126;
                worst[normal ? 0 : 1] = fmax(worst[normal ? 0 : 1], off);
                worst[2] = fmax(worst[2], ulps(c_out[1][i], tanh(x)));
            }
        }
        CHECK(worst[0] <= 2.0);
        CHECK(worst[1] <= 1.0);
        CHECK(worst[2] <= 3.0);
        dns_plan_destroy(plan);
    }
}

static void
test_not_finite(void)
{
    const float w[4] = {1.0F, 1.0F, 1.0F, 1.0F};
    const float specials[3] = {NAN, INFINITY, -INFINITY};
    const dns_lstm shape = {0, 1, true};
    KIT_FOR_EACH_LEVEL(isa)
    {
        dns_plan *plan = NULL;
        REQUIRE(dns_lstm_dense_create(&shape, w, 1, NULL, isa, NULL, &plan, NULL) == DNS_OK);
        uint64_t state = 6;
        buffers b = buffers_new(plan, 3, 0, NULL, &state);
        memcpy(b.h.data, specials, sizeof specials);
        for (size_t j = 0; j < 3; j++) {
            ((float *)b.c.data)[j] = 0.5F;
        }
        dns_lstm_step(plan, &b.call);
        const float *c = b.c_out.data;
        const float *h = b.h_out.data;
        CHECK(isnan(c[0]) && isnan(h[0]));
        CHECK_F64((double)c[1], 1.5);
        CHECK(fabs((double)h[1] - tanh(1.5)) < 1e-6);
        CHECK_F64((double)c[2], 0.0);
        CHECK_F64((double)h[2], 0.0);
        buffers_free(b);
        dns_plan_destroy(plan);
    }
}

static void
test_weights_come_back(void)
{
    const dns_lstm shape = {13, 10, true};
    const size_t rows = 40;
    const size_t cols = 23;
    uint64_t state = 7;
    float dense[40 * 23];
    kit_weights k = kit_weights_new(rows, cols, 1.0, &state);
    dns_plan *plan = NULL;
    size_t nz = 1;
    REQUIRE(create_dense(&k, dns_isa_detect(), NULL, &plan, NULL) == DNS_OK);
    dns_plan_to_dense(plan, dense);
    CHECK(memcmp(dense, k.w, sizeof dense) == 0);
    CHECK(dns_lstm_n_terms(plan, &nz) == 0 && nz == 0);
    dns_plan_destroy(plan);
    for (int sparse = 0; sparse < 2; sparse++) {
        const size_t n = 35;
        owned o = terms_new(&shape, n, sparse ? 6 : cols, sparse != 0, &state);
        owned back = terms_new(&shape, n, o.view.nz, true, &state);
        REQUIRE(dns_lstm_terms_create(&shape, &o.view, NULL, dns_isa_detect(), NULL, &plan, NULL) ==
                DNS_OK);
        CHECK(dns_lstm_n_terms(plan, &nz) == n && nz == o.view.nz);
        dns_lstm_unpack(plan, back.s, back.u, back.v, sparse ? back.columns : NULL);
        CHECK(memcmp(o.s, back.s, DNS_GATES * n * sizeof *o.s) == 0);
        CHECK(memcmp(o.u, back.u, DNS_GATES * n * 10 * sizeof *o.u) == 0);
        CHECK(memcmp(o.v, back.v, DNS_GATES * n * nz * sizeof *o.v) == 0);
        CHECK(!sparse ||
              memcmp(o.columns, back.columns, DNS_GATES * n * nz * sizeof *o.columns) == 0);
        dns_plan_to_dense(plan, dense);
        for (size_t i = 0; i < rows * cols; i++) {
            double want = 0.0;
            for (size_t t = 0; t < n; t++) {
                const size_t at = i / cols / 10 * n + t;
                for (size_t e = 0; e < nz; e++) {
                    if ((size_t)o.columns[at * nz + e] == i % cols) {
                        want += (double)o.s[at] * (double)o.u[at * 10 + i / cols % 10] *
                                (double)o.v[at * nz + e];
                    }
                }
            }
            CHECK(fabs((double)dense[i] - want) < 1e-4);
        }
        dns_plan_destroy(plan);
        terms_free(&o);
        terms_free(&back);
    }
    kit_weights_free(&k);
}

static void
test_bad_arguments_are_named(void)
{
    uint64_t state = 8;
    const dns_lstm shape = {5, 3, true};
    const dns_lstm empty = {5, 0, true};
    owned o = terms_new(&shape, 2, 4, true, &state);
    dns_plan *plan = NULL;
    dns_error err;
    CHECK_I64(dns_lstm_dense_create(&empty, o.u, 5, NULL, DNS_ISA_GENERIC, NULL, &plan, &err),
              DNS_ERR_VALUE);
    const int32_t kept = o.columns[13];
    o.columns[13] = o.columns[12]; /* gate 1, term 1 */
    CHECK_I64(dns_lstm_terms_create(&shape, &o.view, NULL, DNS_ISA_GENERIC, NULL, &plan, &err),
              DNS_ERR_FORMAT);
    CHECK_I64(err.index, 1);
    o.columns[13] = 8;
    CHECK_I64(dns_lstm_terms_create(&shape, &o.view, NULL, DNS_ISA_GENERIC, NULL, &plan, &err),
              DNS_ERR_FORMAT);
    o.columns[13] = kept;
    dns_lstm_terms wide = o.view;
    wide.nz = 9;
    CHECK_I64(dns_lstm_terms_create(&shape, &wide, NULL, DNS_ISA_GENERIC, NULL, &plan, &err),
              DNS_ERR_SHAPE);
    wide.nz = 7;
    wide.columns = NULL;
    CHECK_I64(dns_lstm_terms_create(&shape, &wide, NULL, DNS_ISA_GENERIC, NULL, &plan, &err),
              DNS_ERR_SHAPE);
    const dns_lstm far = {70000, 3, true};
    CHECK_I64(dns_lstm_terms_create(&far, &o.view, NULL, DNS_ISA_GENERIC, NULL, &plan, &err),
              DNS_ERR_VALUE);
    kit_weights k = kit_weights_new(12, 8, 1.0, &state);
    dns_plan *gates = NULL;
    REQUIRE(create_dense(&k, DNS_ISA_GENERIC, NULL, &gates, NULL) == DNS_OK);
    CHECK(dns_lstm_of(gates) != NULL);
    const dns_lstm other = {6, 3, true};
    CHECK_I64(dns_lstm_wrap_create(&other, gates, NULL, &plan, &err), DNS_ERR_SHAPE);
    CHECK(plan == NULL);
    size_t bytes = 5;
    CHECK_I64(dns_lstm_workspace(gates, SIZE_MAX / 8, 1, &bytes, &err), DNS_ERR_OVERFLOW);
    CHECK_I64(bytes, 5);
    dns_plan_destroy(gates);
    kit_weights_free(&k);
    terms_free(&o);
}

static dns_status
create_terms(const kit_weights *k, dns_isa isa, const dns_alloc *alloc, dns_plan **out,
             dns_error *err)
{
    const dns_lstm shape = {k->cols - k->rows / DNS_GATES, k->rows / DNS_GATES, true};
    return dns_lstm_terms_create(&shape, k->ctx, NULL, isa, alloc, out, err);
}

static void
test_oom_lstm(void)
{
    uint64_t state = 9;
    const dns_lstm shape = {8, 6, true};
    kit_weights k = kit_weights_new(24, 14, 0.5, &state);
    owned o = terms_new(&shape, 3, 4, true, &state);
    dns_plan *gates[DNS_N_ISA];
    gates_new(&k, gates);
    kit_life life = {create_csr, &k};
    CHECK(tap_oom_sweep(kit_plan_life, &life) >= 2);
    life.create = create_dense;
    CHECK(tap_oom_sweep(kit_plan_life, &life) >= 3);
    k.ctx = &o.view;
    life.create = create_terms;
    CHECK(tap_oom_sweep(kit_plan_life, &life) >= 5);
    gates_free(gates);
    terms_free(&o);
    kit_weights_free(&k);
}

static void
test_work_is_counted(void)
{
    uint64_t state = 10;
    const dns_lstm shape = {64, 64, true};
    const dns_machine tiny = {1e15, {4e9, 3e9, 2e9, 1e9}, {1.0, 2.0, 3.0}};
    owned o = terms_new(&shape, 8, 20, true, &state);
    dns_plan *plan = NULL;
    REQUIRE(dns_lstm_terms_create(&shape, &o.view, NULL, DNS_ISA_GENERIC, NULL, &plan, NULL) ==
            DNS_OK);
    const double vectors = 4.0 * (128 + 256);
    CHECK_F64(dns_lstm_work(plan, 1, 0, &tiny).bytes[3], vectors);
    const double one = 4.0 * (64 * 4 + 20 * 6 + 4);
    CHECK_F64(dns_lstm_work(plan, 1, 1, &tiny).bytes[3], vectors + one);
    CHECK_F64(dns_plan_work(plan, 3, &tiny).bytes[3], 3.0 * vectors + 8.0 * one);
    CHECK_F64(dns_plan_work(plan, 3, &tiny).flops, 3.0 * 8.0 * 8.0 * (64 + 21));
    dns_plan_destroy(plan);
    terms_free(&o);
}

TAP_MAIN(TAP(test_gates_as_a_plan), TAP(test_steps_of_every_form), TAP(test_every_extent),
         TAP(test_terms_stop_and_go_on), TAP(test_forms_and_batches_agree),
         TAP(test_sigmoid_and_tanh), TAP(test_not_finite), TAP(test_weights_come_back),
         TAP(test_bad_arguments_are_named), TAP(test_oom_lstm), TAP(test_work_is_counted))
