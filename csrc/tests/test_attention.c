/* Attention at every level: float64 oracle under every mask and for patterns, with the library's
 * own product and with a BLAS table; guard pages, threads, queries that see nothing. */
#include "kernelkit.h"
#include "patternkit.h"

#include "dns/attention.h"

enum { CAUSAL = 1, LENGTHS = 2, BITS = 4, ADD = 8, KINDS = 16 };

static void
plain_sgemm(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a,
            int lda, const float *b, int ldb, float beta, float *c, int ldc)
{
    if (order != DNS_BLAS_ROW_MAJOR || trans_a != DNS_BLAS_PLAIN || alpha != 1.0F || beta != 0.0F) {
        abort();
    }
    for (int i = 0; i < m; i++) {
        for (int j = 0; j < n; j++) {
            float sum = 0.0F;
            for (int p = 0; p < k; p++) {
                sum +=
                    a[i * lda + p] * (trans_b == DNS_BLAS_PLAIN ? b[p * ldb + j] : b[j * ldb + p]);
            }
            c[i * ldc + j] = sum;
        }
    }
}

static const dns_blas plain = {plain_sgemm, NULL};

/* A problem, its arrays in guarded memory, and its pattern if it has one. */
typedef struct problem {
    dns_attention call;
    kit_guard q, k, v, y, bits, add;
    int32_t lengths[3];
    structure names;
    dns_pattern *pattern;
} problem;

static problem
problem_new(size_t batch, size_t queries, size_t keys, size_t depth, size_t width, uint64_t *state)
{
    problem p;
    memset(&p, 0, sizeof p);
    const size_t words = (keys + 63) / 64;
    p.q = stack_new(batch, queries, depth, 0, state).memory;
    p.k = stack_new(batch, keys, depth, 0, state).memory;
    p.v = stack_new(batch, keys, width, 0, state).memory;
    p.y = kit_guard_new(batch * queries * width, sizeof(float));
    p.add = stack_new(1, queries, keys, 0, state).memory;
    p.bits = kit_guard_new(queries * words, sizeof(uint64_t));
    for (size_t i = 0; i < queries * words; i++) {
        ((uint64_t *)p.bits.data)[i] = i % 5 == 4 ? 0 : kit_random(state);
    }
    for (size_t i = 0; i < queries * keys; i++) {
        float *a = (float *)p.add.data + i;
        *a = kit_random(state) % 4 == 0 ? -INFINITY : 3.0F * *a;
    }
    for (size_t b = 0; b < 3; b++) {
        p.lengths[b] = (int32_t)(b == 1 ? 0 : kit_random(state) % (keys + 1));
    }
    p.call =
        (dns_attention){.batch = batch,
                        .queries = queries,
                        .keys = keys,
                        .depth = depth,
                        .width = width,
                        .q = p.q.data,
                        .k = p.k.data,
                        .v = p.v.data,
                        .y = p.y.data,
                        .scale = 0.7F,
                        .mask = {.queries = 1, .length_rows = 1, .bit_rows = 1, .add_rows = 1}};
    return p;
}

static void
set_mask(problem *p, int kind)
{
    dns_softmax *m = &p->call.mask;
    m->causal = (kind & CAUSAL) != 0;
    m->queries = p->call.queries;
    m->lengths = kind & LENGTHS ? p->lengths : NULL;
    m->length_rows = p->call.queries;
    m->bits = kind & BITS ? p->bits.data : NULL;
    m->bit_rows = p->call.queries;
    m->add = kind & ADD ? p->add.data : NULL;
    m->ldadd = (ptrdiff_t)p->call.keys;
    m->add_rows = p->call.queries;
}

static void
set_pattern(problem *p, size_t heads, double density, uint64_t *state)
{
    p->names = structure_new(heads, p->call.queries, p->call.keys, density, state);
    dns_error err;
    REQUIRE(pattern_of(&p->names, NULL, &p->pattern, &err) == DNS_OK);
    p->call.pattern = p->pattern;
}

static void
problem_free(problem *p)
{
    kit_guard_free(p->q);
    kit_guard_free(p->k);
    kit_guard_free(p->v);
    kit_guard_free(p->y);
    kit_guard_free(p->bits);
    kit_guard_free(p->add);
    structure_free(&p->names);
    dns_pattern_destroy(p->pattern);
}

static bool
in_pattern(const structure *s, size_t row, size_t j)
{
    for (int64_t e = s->indptr[row]; e < s->indptr[row + 1]; e++) {
        if (s->indices[e] == (int64_t)j) {
            return true;
        }
    }
    return false;
}

/* Whether query i of problem b sees key j. */
static bool
sees(const problem *p, size_t b, size_t i, size_t j)
{
    const dns_attention *c = &p->call;
    const dns_softmax *m = &c->mask;
    if (p->pattern != NULL) {
        return in_pattern(&p->names, b % p->names.heads * c->queries + i, j);
    }
    return !(m->causal && j + c->queries > i + c->keys) &&
           !(m->lengths != NULL && (int64_t)j >= m->lengths[b]) &&
           !(m->bits != NULL && (m->bits[i * ((c->keys + 63) / 64) + j / 64] >> j % 64 & 1) == 0);
}

/* Scores of query i of problem b in float64, -inf where hidden; the largest error allowed. */
static double
scores_of(const problem *p, size_t b, size_t i, double *s)
{
    const dns_attention *c = &p->call;
    const float *q = c->q + (b * c->queries + i) * c->depth;
    double most = 0.0;
    for (size_t j = 0; j < c->keys; j++) {
        const float *k = c->k + (b * c->keys + j) * c->depth;
        const double add = c->mask.add != NULL ? (double)c->mask.add[i * c->keys + j] : 0.0;
        double sum = 0.0;
        double size = 0.0;
        for (size_t t = 0; t < c->depth; t++) {
            sum += (double)q[t] * (double)k[t];
            size += fabs((double)q[t] * (double)k[t]);
        }
        s[j] = sees(p, b, i, j) ? (double)c->scale * sum + add : -(double)INFINITY;
        const double e = 2.0 * (double)(c->depth + 2) * KIT_UNIT * fabs((double)c->scale) * size +
                         (isinf(s[j]) ? 0.0 : KIT_UNIT * fabs(s[j]));
        most = e > most ? e : most;
    }
    return most;
}

/* Column `at` of query i's result is within the bound. */
static bool
within(const problem *p, size_t b, size_t i, size_t at, const double *s, double e)
{
    const dns_attention *c = &p->call;
    double top = -(double)INFINITY;
    double sum = 0.0;
    double want = 0.0;
    double size = 0.0;
    double n = 0.0;
    for (size_t j = 0; j < c->keys; j++) {
        top = fmax(top, s[j]);
    }
    for (size_t j = 0; j < c->keys && !isinf(top); j++) {
        sum += exp(s[j] - top);
    }
    for (size_t j = 0; j < c->keys && !isinf(top); j++) {
        const double v = (double)c->v[(b * c->keys + j) * c->width + at];
        want += exp(s[j] - top) / sum * v;
        size = fmax(size, fabs(v));
        n += !isinf(s[j]);
    }
    const double bound = expm1(2.0 * e) + 4e-6 + 4e-7 * n + 2.0 * (n + 2.0) * KIT_UNIT;
    const double got = (double)c->y[(b * c->queries + i) * c->width + at];
    return fabs(got - want) <= size * bound;
}

/* Compares all results; returns the queries that see nothing. */
static size_t
check_results(const problem *p)
{
    const dns_attention *c = &p->call;
    double *s = malloc((c->keys + 1) * sizeof *s);
    size_t wrong = 0;
    size_t empty = 0;
    if (s == NULL) {
        abort();
    }
    for (size_t b = 0; b < c->batch; b++) {
        for (size_t i = 0; i < c->queries; i++) {
            const double e = scores_of(p, b, i, s);
            bool any = false;
            for (size_t j = 0; j < c->keys; j++) {
                any = any || !isinf(s[j]);
            }
            empty += !any;
            for (size_t at = 0; at < c->width; at++) {
                wrong += !within(p, b, i, at, s, e);
            }
        }
    }
    free(s);
    CHECK_I64(wrong, 0);
    return empty;
}

static size_t
run(const dns_attention *c, dns_isa isa, dns_threads *pool)
{
    size_t bytes = 0;
    if (dns_attention_workspace(c, isa, dns_threads_count(pool), &bytes, NULL) != DNS_OK) {
        abort();
    }
    const kit_guard ws = kit_workspace(bytes);
    const size_t empty = dns_attention_execute(c, isa, pool, ws.data);
    kit_guard_free(ws);
    return empty;
}

static void
solve(problem *p)
{
    KIT_FOR_EACH_LEVEL(isa)
    {
        if (isa <= DNS_ISA_AVX512) {
            memset(p->call.y, 0x7f, p->call.batch * p->call.queries * p->call.width * 4);
            const size_t empty = run(&p->call, isa, NULL);
            CHECK_I64(empty, check_results(p));
        }
    }
}

static void
test_every_mask(void)
{
    uint64_t state = 1;
    for (int kind = 0; kind < KINDS; kind++) {
        problem p =
            problem_new(3, 21, 40 + (size_t)kind, 9 + (size_t)kind, 5 + (size_t)kind, &state);
        p.call.blas = kind % 3 == 1 ? &plain : NULL;
        set_mask(&p, kind);
        solve(&p);
        problem_free(&p);
    }
    kit_say_skipped();
}

/* Every number of keys, of elements of a key and of a value around the vectors, masked and sparse.
 */
static void
test_every_tail(void)
{
    uint64_t state = 7;
    for (size_t n = 0; n <= 35; n++) {
        problem p = problem_new(2, 1 + n % 5, n, n * 7 % 36, n * 11 % 36, &state);
        set_mask(&p, n % 2 == 0 ? ADD : 0);
        solve(&p);
        set_mask(&p, 0);
        set_pattern(&p, 1, 0.6, &state);
        solve(&p);
        problem_free(&p);
    }
}

static const size_t shapes[][5] = {{1, 1, 1, 1, 1},     {2, 150, 140, 16, 33}, {2, 5, 9, 0, 3},
                                   {1, 7, 0, 4, 3},     {1, 0, 7, 4, 3},       {1, 7, 3, 4, 0},
                                   {4, 9, 300, 64, 64}, {2, 9, 17, 70, 130}};

static void
test_shapes(void)
{
    uint64_t state = 2;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        problem p = problem_new(shapes[i][0], shapes[i][1], shapes[i][2], shapes[i][3],
                                shapes[i][4], &state);
        set_mask(&p, i % 2 ? CAUSAL : BITS);
        solve(&p);
        problem_free(&p);
    }
}

static void
test_patterns(void)
{
    uint64_t state = 3;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        problem p = problem_new(shapes[i][0], shapes[i][1], shapes[i][2], shapes[i][3],
                                shapes[i][4], &state);
        set_pattern(&p, i % 2 ? 1 : shapes[i][0], i == 6 ? 0.1 : 0.5, &state);
        solve(&p);
        problem_free(&p);
    }
}

/* The same bytes at a level for every number of threads. */
static void
check_threads(problem *p, dns_isa isa)
{
    dns_threads *pools[KIT_POOLS];
    const size_t bytes = p->call.batch * p->call.queries * p->call.width * sizeof(float);
    void *first = malloc(bytes);
    REQUIRE(first != NULL);
    const size_t empty = run(&p->call, isa, NULL);
    memcpy(first, p->call.y, bytes);
    kit_pools_new(pools);
    for (size_t t = 1; t < KIT_POOLS; t++) {
        memset(p->call.y, 0, bytes);
        CHECK_I64(run(&p->call, isa, pools[t]), empty);
        CHECK(memcmp(first, p->call.y, bytes) == 0);
    }
    kit_pools_free(pools);
    free(first);
}

static void
test_threads(void)
{
    uint64_t state = 4;
    problem p = problem_new(4, 260, 270, 32, 24, &state);
    set_mask(&p, CAUSAL | BITS);
    KIT_FOR_EACH_LEVEL(isa)
    {
        check_threads(&p, isa);
    }
    set_pattern(&p, 2, 0.3, &state);
    KIT_FOR_EACH_LEVEL(isa)
    {
        check_threads(&p, isa);
    }
    problem_free(&p);
}

/* What is hidden does no harm where it is not touched; a query that sees nothing is zero. */
static void
test_not_finite(void)
{
    uint64_t state = 5;
    KIT_FOR_EACH_LEVEL(isa)
    {
        problem p = problem_new(1, 8, 40, 8, 5, &state);
        ((float *)p.v.data)[0] = NAN; /* key 0 */
        p.names = structure_new(1, 8, 40, 0.5, &state);
        const uint64_t bits[8] = {0, 2, 0, 3, 6, 0, 1, 4};
        p.call.mask = (dns_softmax){
            .queries = 1, .length_rows = 1, .bits = bits, .bit_rows = 8, .add_rows = 1};
        CHECK_I64(run(&p.call, isa, NULL), 3);
        for (size_t i = 0; i < 8; i++) {
            CHECK(bits[i] != 0 ? isnan(p.call.y[i * 5]) != 0 : p.call.y[i * 5] == 0.0F);
            CHECK(isnan(p.call.y[i * 5 + 1]) == 0);
        }
        const int64_t indptr[9] = {0, 1, 1, 3, 4, 4, 4, 4, 5};
        const int64_t indices[5] = {3, 5, 6, 0, 1};
        REQUIRE(dns_pattern_create(1, 8, 40, indptr, indices, 5, NULL, &p.pattern, NULL) == DNS_OK);
        p.call.pattern = p.pattern;
        CHECK_I64(run(&p.call, isa, NULL), 4);
        for (size_t i = 0; i < 8; i++) {
            CHECK((isnan(p.call.y[i * 5]) != 0) == (i == 3));
            CHECK(indptr[i] < indptr[i + 1] || p.call.y[i * 5] == 0.0F);
        }
        problem_free(&p);
    }
}

static void
test_refused(void)
{
    uint64_t state = 6;
    problem p = problem_new(3, 4, 9, 8, 5, &state);
    size_t bytes = 0;
    dns_error err;
    set_mask(&p, LENGTHS);
    p.lengths[2] = 10;
    CHECK(dns_attention_workspace(&p.call, DNS_ISA_GENERIC, 1, &bytes, &err) == DNS_ERR_VALUE);
    CHECK_I64(err.index, 2);
    set_mask(&p, 0);
    CHECK(dns_attention_workspace(&p.call, DNS_ISA_GENERIC, SIZE_MAX / 2, &bytes, &err) ==
          DNS_ERR_OVERFLOW);
    set_pattern(&p, 2, 0.5, &state);
    CHECK(dns_attention_workspace(&p.call, DNS_ISA_GENERIC, 1, &bytes, &err) == DNS_ERR_SHAPE);
    p.call.batch = 2;
    CHECK(dns_attention_workspace(&p.call, DNS_ISA_GENERIC, 1, &bytes, &err) == DNS_OK);
    p.call.keys = 8;
    CHECK(dns_attention_workspace(&p.call, DNS_ISA_GENERIC, 1, &bytes, &err) == DNS_ERR_SHAPE);
    problem_free(&p);
}

TAP_MAIN(TAP(test_every_mask), TAP(test_every_tail), TAP(test_shapes), TAP(test_patterns),
         TAP(test_threads), TAP(test_not_finite), TAP(test_refused))
