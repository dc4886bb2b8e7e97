/* Rank-one terms: shrinking residuals, the same bytes at every level, guard pages, ties, refusals.
 */
#include "kernelkit.h"

#include "dns/lowrank.h"

/* Guarded results. */
typedef struct terms {
    kit_guard s, u, v, columns;
} terms;

static terms
terms_new(size_t n_terms, size_t m, size_t nz)
{
    terms t;
    t.s = kit_guard_new(n_terms, sizeof(float));
    t.u = kit_guard_new(n_terms * m, sizeof(float));
    t.v = kit_guard_new(n_terms * nz, sizeof(float));
    t.columns = kit_guard_new(n_terms * nz, sizeof(int32_t));
    return t;
}

static void
terms_free(terms t)
{
    kit_guard_free(t.s);
    kit_guard_free(t.u);
    kit_guard_free(t.v);
    kit_guard_free(t.columns);
}

static dns_status
make(const kit_guard *w, size_t ld, size_t m, size_t n, size_t n_terms, size_t nz, dns_isa isa,
     terms t, dns_error *err)
{
    return dns_lowrank_terms(w->data, (ptrdiff_t)ld, m, n, n_terms, nz, isa, NULL, t.s.data,
                             t.u.data, t.v.data, t.columns.data, err);
}

/* |E|^2 falls by s^2 |v|^2 at every term; columns ascend. */
static void
check_terms(const float *w, size_t ld, size_t m, size_t n, size_t n_terms, size_t nz, terms t)
{
    double *e = malloc(m * n * sizeof *e);
    REQUIRE(e != NULL);
    double energy = 0.0;
    for (size_t i = 0; i < m * n; i++) {
        e[i] = (double)w[i / n * ld + i % n];
        energy += e[i] * e[i];
    }
    const double whole = energy;
    for (size_t k = 0; k < n_terms; k++) {
        const float s = ((float *)t.s.data)[k];
        const float *u = (float *)t.u.data + k * m;
        const float *v = (float *)t.v.data + k * nz;
        const int32_t *columns = (int32_t *)t.columns.data + k * nz;
        double kept = 0.0;
        for (size_t j = 0; j < nz; j++) {
            CHECK(columns[j] >= 0 && columns[j] < (int32_t)n);
            CHECK(j == 0 || columns[j] > columns[j - 1]);
            kept += (double)v[j] * (double)v[j];
            for (size_t i = 0; i < m; i++) {
                e[i * n + (size_t)columns[j]] -= (double)s * (double)u[i] * (double)v[j];
            }
        }
        double after = 0.0;
        for (size_t i = 0; i < m * n; i++) {
            after += e[i] * e[i];
        }
        CHECK_NEAR(after, energy - (double)s * (double)s * kept, 1e-6 * whole);
        CHECK(s == 0.0F || after < energy || energy < 1e-9 * whole);
        energy = after;
    }
    free(e);
}

typedef struct extents {
    size_t m, n, nz, terms, extra;
} extents;

static void
check_shape(extents e, uint64_t *state)
{
    const size_t ld = e.n + e.extra;
    const kit_guard w = kit_matrix(e.m, e.n, ld);
    for (size_t i = 0; i < e.m * e.n; i++) {
        ((float *)w.data)[i / e.n * ld + i % e.n] = kit_float(state);
    }
    const terms first = terms_new(e.terms, e.m, e.nz);
    REQUIRE(make(&w, ld, e.m, e.n, e.terms, e.nz, DNS_ISA_GENERIC, first, NULL) == DNS_OK);
    check_terms(w.data, ld, e.m, e.n, e.terms, e.nz, first);
    KIT_FOR_EACH_LEVEL(isa)
    {
        const terms t = terms_new(e.terms, e.m, e.nz);
        REQUIRE(make(&w, ld, e.m, e.n, e.terms, e.nz, isa, t, NULL) == DNS_OK);
        CHECK(memcmp(t.s.data, first.s.data, t.s.bytes) == 0);
        CHECK(memcmp(t.u.data, first.u.data, t.u.bytes) == 0);
        CHECK(memcmp(t.v.data, first.v.data, t.v.bytes) == 0);
        CHECK(memcmp(t.columns.data, first.columns.data, t.columns.bytes) == 0);
        terms_free(t);
    }
    terms_free(first);
    kit_guard_free(w);
}

/* Every number of rows and columns around the vectors. */
static void
test_every_extent(void)
{
    uint64_t state = 2;
    for (size_t m = 1; m <= 35; m++) {
        const size_t n = m * 11 % 36;
        check_shape((extents){m, n, 1 + n / 2, 3, m % 3}, &state);
    }
}

static void
test_terms_of_many_shapes(void)
{
    static const extents cases[] = {{1, 1, 1, 3, 0},    {1, 40, 7, 5, 1},   {40, 1, 1, 3, 2},
                                    {7, 33, 33, 9, 0},  {33, 7, 3, 20, 1},  {16, 16, 1, 30, 0},
                                    {20, 70, 20, 0, 0}, {70, 65, 30, 12, 3}};
    uint64_t state = 1;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        check_shape(cases[c], &state);
    }
    kit_say_skipped();
}

/* Equal magnitudes keep the lower columns; after the last term come zeros. */
static void
test_ties_and_the_end(void)
{
    const kit_guard w = kit_matrix(2, 5, 5);
    for (size_t i = 0; i < 10; i++) {
        ((float *)w.data)[i] = i % 2 == 0 ? 1.0F : -1.0F;
    }
    const terms t = terms_new(2, 2, 3);
    REQUIRE(make(&w, 5, 2, 5, 2, 3, DNS_ISA_GENERIC, t, NULL) == DNS_OK);
    const int32_t *columns = t.columns.data;
    CHECK(columns[0] == 0 && columns[1] == 1 && columns[2] == 2);
    CHECK(columns[3] == 0 || columns[3] == 3);
    terms_free(t);
    memset(w.data, 0, 10 * sizeof(float));
    const terms none = terms_new(2, 2, 3);
    REQUIRE(make(&w, 5, 2, 5, 2, 3, DNS_ISA_GENERIC, none, NULL) == DNS_OK);
    for (size_t i = 0; i < 6; i++) {
        CHECK(((float *)none.v.data)[i] == 0.0F);
        CHECK_I64(((int32_t *)none.columns.data)[i], i % 3);
    }
    CHECK(((float *)none.s.data)[0] == 0.0F && ((float *)none.s.data)[1] == 0.0F);
    terms_free(none);
    kit_guard_free(w);
}

static void
test_bad_arguments_are_named(void)
{
    const kit_guard w = kit_matrix(2, 2, 2);
    float *data = w.data;
    const terms t = terms_new(1, 2, 2);
    dns_error err;
    for (size_t i = 0; i < 4; i++) {
        data[i] = 1.0F;
    }
    CHECK_I64(make(&w, 2, 0, 2, 1, 1, DNS_ISA_GENERIC, t, &err), DNS_ERR_VALUE);
    CHECK_I64(make(&w, 2, 2, 2, 1, 3, DNS_ISA_GENERIC, t, &err), DNS_ERR_VALUE);
    CHECK_I64(make(&w, 2, 2, 2, 1, 0, DNS_ISA_GENERIC, t, &err), DNS_ERR_VALUE);
    data[3] = NAN;
    CHECK_I64(make(&w, 2, 2, 2, 1, 1, DNS_ISA_GENERIC, t, &err), DNS_ERR_VALUE);
    CHECK_I64(err.index, 1);
    CHECK_STR(err.message, "W: row 1: expected finite weights, got nan in column 1");
    data[3] = data[2] = 3e38F;
    CHECK_I64(make(&w, 2, 2, 2, 1, 1, DNS_ISA_GENERIC, t, &err), DNS_ERR_VALUE);
    terms_free(t);
    kit_guard_free(w);
}

static dns_status
life(const dns_alloc *alloc, void *ctx)
{
    float s[2];
    float u[4];
    float v[4];
    int32_t columns[4];
    return dns_lowrank_terms(ctx, 3, 2, 3, 2, 2, DNS_ISA_GENERIC, alloc, s, u, v, columns, NULL);
}

static void
test_oom_lowrank(void)
{
    float w[6] = {1.0F, 2.0F, 3.0F, -1.0F, 0.5F, 0.0F};
    CHECK(tap_oom_sweep(life, w) >= 8);
}

TAP_MAIN(TAP(test_terms_of_many_shapes), TAP(test_every_extent), TAP(test_ties_and_the_end),
         TAP(test_bad_arguments_are_named), TAP(test_oom_lowrank))
