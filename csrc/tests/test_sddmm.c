/* Sampled products at every level: float64 oracle for every depth, gaps, guard pages, heads,
 * threads; patterns that are refused. */
#include "kernelkit.h"
#include "patternkit.h"

/* All values of a call against float64. */
static void
check_values(const structure *s, const dns_sddmm *c)
{
    size_t wrong = 0;
    for (size_t b = 0; b < c->batch; b++) {
        const size_t h = b % s->heads;
        for (size_t i = 0; i < s->rows; i++) {
            const size_t row = h * s->rows + i;
            for (int64_t e = s->indptr[row]; e < s->indptr[row + 1]; e++) {
                double sum = 0.0;
                double size = 0.0;
                for (size_t t = 0; t < c->depth; t++) {
                    const double q =
                        (double)
                            c->q[(ptrdiff_t)b * c->q_step + (ptrdiff_t)i * c->ldq + (ptrdiff_t)t];
                    const double k = (double)c->k[(ptrdiff_t)b * c->k_step +
                                                  (ptrdiff_t)s->indices[e] * c->ldk + (ptrdiff_t)t];
                    sum += q * k;
                    size += fabs(q * k);
                }
                const double scale = (double)c->scale;
                const double got = (double)c->values[b / s->heads * s->nnz + (size_t)e];
                const double bound =
                    2.0 * (double)(c->depth + 2) * KIT_UNIT * fabs(scale) * size + 1e-38;
                wrong += !(fabs(got - scale * sum) <= bound);
            }
        }
    }
    CHECK_I64(wrong, 0);
}

static void
run(const dns_pattern *p, const dns_sddmm *c, dns_isa isa, dns_threads *pool)
{
    size_t bytes = 0;
    dns_error err;
    REQUIRE(dns_sddmm_workspace(p, c, isa, dns_threads_count(pool), &bytes, &err) == DNS_OK);
    const kit_guard ws = kit_workspace(bytes);
    dns_sddmm_execute(p, c, isa, pool, ws.data);
    kit_guard_free(ws);
}

static void
solve(const structure *s, size_t batch, size_t depth, size_t gap, uint64_t *state)
{
    dns_pattern *p = NULL;
    dns_error err;
    REQUIRE(pattern_of(s, NULL, &p, &err) == DNS_OK);
    const stack q = stack_new(batch, s->rows, depth, gap, state);
    const stack k = stack_new(batch, s->cols, depth, gap, state);
    KIT_FOR_EACH_LEVEL(isa)
    {
        const kit_guard values = kit_guard_new(batch / s->heads * s->nnz, sizeof(float));
        const dns_sddmm c = {batch,         depth, q.memory.data, q.ld,  q.step,
                             k.memory.data, k.ld,  k.step,        0.25F, values.data};
        if (isa <= DNS_ISA_AVX512) {
            run(p, &c, isa, NULL);
            check_values(s, &c);
        }
        kit_guard_free(values);
    }
    kit_guard_free(q.memory);
    kit_guard_free(k.memory);
    dns_pattern_destroy(p);
}

static void
test_every_depth(void)
{
    uint64_t state = 1;
    structure s = structure_new(1, 9, 37, 0.4, &state);
    for (size_t depth = 0; depth <= 35; depth++) {
        solve(&s, 1, depth, depth % 3, &state);
    }
    static const size_t depths[] = {48, 63, 64, 65, 96, 128, 150};
    for (size_t i = 0; i < sizeof depths / sizeof *depths; i++) {
        solve(&s, 2, depths[i], i % 2, &state);
    }
    structure_free(&s);
    kit_say_skipped();
}

/* Rows beyond a tile, columns beyond a block, every length of a row's tail, heads. */
static void
test_shapes(void)
{
    static const struct {
        size_t heads, rows, cols;
        double density;
    } shapes[] = {{1, 300, 520, 0.3}, {3, 40, 70, 0.5}, {2, 130, 129, 0.15}, {1, 1, 1, 1.0},
                  {1, 5, 0, 0.0},     {1, 0, 5, 0.0},   {1, 20, 3000, 0.002}};
    uint64_t state = 2;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        structure s = structure_new(shapes[i].heads, shapes[i].rows, shapes[i].cols,
                                    shapes[i].density, &state);
        solve(&s, 2 * s.heads, 20, i % 2, &state);
        structure_free(&s);
    }
}

static void
test_threads(void)
{
    uint64_t state = 3;
    dns_threads *pools[KIT_POOLS];
    kit_pools_new(pools);
    structure s = structure_new(2, 260, 300, 0.3, &state);
    dns_pattern *p = NULL;
    REQUIRE(pattern_of(&s, NULL, &p, NULL) == DNS_OK);
    const stack q = stack_new(4, s.rows, 64, 0, &state);
    const stack k = stack_new(4, s.cols, 64, 0, &state);
    const size_t floats = 2 * s.nnz;
    float *first = malloc(floats * sizeof *first);
    float *other = malloc(floats * sizeof *other);
    REQUIRE(first != NULL && other != NULL);
    dns_sddmm c = {4, 64, q.memory.data, q.ld, q.step, k.memory.data, k.ld, k.step, 1.0F, first};
    KIT_FOR_EACH_LEVEL(isa)
    {
        c.values = first;
        run(p, &c, isa, NULL);
        c.values = other;
        for (size_t t = 1; t < KIT_POOLS; t++) {
            memset(other, 0, floats * sizeof *other);
            run(p, &c, isa, pools[t]);
            CHECK(memcmp(first, other, floats * sizeof *other) == 0);
        }
    }
    kit_pools_free(pools);
    free(first);
    free(other);
    kit_guard_free(q.memory);
    kit_guard_free(k.memory);
    dns_pattern_destroy(p);
    structure_free(&s);
}

static void
test_unpack_gives_back(void)
{
    uint64_t state = 4;
    structure s = structure_new(2, 150, 333, 0.1, &state);
    dns_pattern *p = NULL;
    REQUIRE(pattern_of(&s, NULL, &p, NULL) == DNS_OK);
    int64_t *indptr = malloc((s.heads * s.rows + 1) * sizeof *indptr);
    int64_t *indices = malloc((s.nnz + 1) * sizeof *indices);
    REQUIRE(indptr != NULL && indices != NULL);
    dns_pattern_unpack(p, indptr, indices);
    CHECK(memcmp(indptr, s.indptr, (s.heads * s.rows + 1) * sizeof *indptr) == 0);
    CHECK(memcmp(indices, s.indices, s.nnz * sizeof *indices) == 0);
    free(indptr);
    free(indices);
    dns_pattern_destroy(p);
    structure_free(&s);
}

static void
test_refused(void)
{
    const int64_t indptr[3] = {0, 2, 3};
    const int64_t falls[3] = {0, 2, 1};
    const int64_t indices[3] = {0, 4, 2};
    const int64_t twice[3] = {4, 4, 2};
    dns_pattern *p = NULL;
    dns_error err;
    CHECK(dns_pattern_create(1, 2, 4, indptr, indices, 3, NULL, &p, &err) == DNS_ERR_FORMAT);
    CHECK_I64(err.index, 0);
    CHECK(dns_pattern_create(1, 2, 5, indptr, twice, 3, NULL, &p, &err) == DNS_ERR_FORMAT);
    CHECK(dns_pattern_create(1, 2, 5, falls, indices, 3, NULL, &p, &err) == DNS_ERR_FORMAT);
    CHECK_I64(err.index, 1);
    CHECK(dns_pattern_create(1, 2, 5, indptr, indices, 4, NULL, &p, &err) == DNS_ERR_FORMAT);
    CHECK(dns_pattern_create((size_t)1 << 40, (size_t)1 << 40, 5, indptr, indices, 3, NULL, &p,
                             &err) == DNS_ERR_VALUE);
    CHECK(dns_pattern_create(2, 1, 5, indptr, indices, 3, NULL, &p, &err) == DNS_OK);
    size_t bytes = 0;
    dns_sddmm c = {.batch = 3, .depth = 8};
    CHECK(dns_sddmm_workspace(p, &c, DNS_ISA_GENERIC, 1, &bytes, &err) == DNS_ERR_SHAPE);
    c.batch = 2;
    CHECK(dns_sddmm_workspace(p, &c, DNS_ISA_GENERIC, SIZE_MAX / 2, &bytes, &err) ==
          DNS_ERR_OVERFLOW);
    dns_pattern_destroy(p);
    dns_pattern_destroy(NULL);
}

static dns_status
life(const dns_alloc *alloc, void *ctx)
{
    dns_pattern *p = NULL;
    DNS_TRY(pattern_of(ctx, alloc, &p, NULL));
    dns_pattern_destroy(p);
    return DNS_OK;
}

static void
test_oom(void)
{
    uint64_t state = 5;
    structure s = structure_new(2, 20, 30, 0.3, &state);
    CHECK_I64(tap_oom_sweep(life, &s), 5);
    structure_free(&s);
}

TAP_MAIN(TAP(test_every_depth), TAP(test_shapes), TAP(test_threads), TAP(test_unpack_gives_back),
         TAP(test_refused), TAP(test_oom))
