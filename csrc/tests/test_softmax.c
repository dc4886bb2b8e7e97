/* Softmax at every level: float64 oracle for every mask, every tail, guard pages, in place,
 * threads, and rows that see nothing. */
#include "kernelkit.h"

#include "dns/softmax.h"

/* One problem and its oracle's view of a row. */
typedef struct problem {
    dns_softmax call;
    kit_guard x, y, bits, add;
    int32_t lengths[2];
} problem;

enum { CAUSAL = 1, LENGTHS = 2, BITS = 4, ADD = 8, IN_PLACE = 16, KINDS = 32 };

static problem
problem_new(size_t rows, size_t cols, int kind, uint64_t *state)
{
    const size_t ld = cols + rows % 3;
    const size_t words = (cols + 63) / 64;
    problem p;
    memset(&p, 0, sizeof p);
    p.x = kit_matrix(rows, cols, ld);
    p.y = kit_matrix(rows, cols, ld);
    p.bits = kit_guard_new(rows * words, sizeof(uint64_t));
    p.add = kit_matrix(rows, cols, ld);
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < cols; j++) {
            const uint64_t r = kit_random(state);
            ((float *)p.x.data)[i * ld + j] = r % 29 == 0 ? -INFINITY : 8.0F * kit_float(state);
            ((float *)p.add.data)[i * ld + j] = r % 5 == 0 ? -INFINITY : 4.0F * kit_float(state);
        }
        for (size_t w = 0; w < words; w++) {
            ((uint64_t *)p.bits.data)[i * words + w] = i % 5 == 4 ? 0 : kit_random(state);
        }
    }
    p.lengths[0] = (int32_t)(kit_random(state) % (cols + 1));
    p.lengths[1] = (int32_t)cols;
    float *y = kind & IN_PLACE ? p.x.data : p.y.data;
    p.call = (dns_softmax){.rows = rows,
                           .cols = cols,
                           .x = p.x.data,
                           .ldx = (ptrdiff_t)ld,
                           .y = y,
                           .ldy = (ptrdiff_t)ld,
                           .causal = (kind & CAUSAL) != 0,
                           .queries = rows > 3 ? rows / 2 : rows,
                           .length_rows = (rows + 1) / 2,
                           .bits = kind & BITS ? p.bits.data : NULL,
                           .bit_rows = rows,
                           .add = kind & ADD ? p.add.data : NULL,
                           .ldadd = (ptrdiff_t)ld,
                           .add_rows = rows > 1 ? rows - 1 : 1};
    return p;
}

static void
problem_free(problem *p)
{
    kit_guard_free(p->x);
    kit_guard_free(p->y);
    kit_guard_free(p->bits);
    kit_guard_free(p->add);
}

/* What row i sees of column j: z, or -inf. */
static double
score(const dns_softmax *c, const float *x, size_t i, size_t j)
{
    const size_t words = (c->cols + 63) / 64;
    const bool hidden =
        (c->causal && j + c->queries > i % c->queries + c->cols) ||
        (c->lengths != NULL && (int64_t)j >= c->lengths[i / c->length_rows]) ||
        (c->bits != NULL && (c->bits[i % c->bit_rows * words + j / 64] >> j % 64 & 1) == 0);
    const double add =
        c->add != NULL ? (double)c->add[i % c->add_rows * (size_t)c->ldadd + j] : 0.0;
    return hidden ? -(double)INFINITY : (double)x[i * (size_t)c->ldx + j] + add;
}

/* Checks all rows against float64; x holds the scores as they were. Returns the empty rows. */
static size_t
check_rows(const dns_softmax *c, const float *x)
{
    size_t empty = 0;
    size_t wrong = 0;
    for (size_t i = 0; i < c->rows; i++) {
        double top = -(double)INFINITY;
        double sum = 0.0;
        double got = 0.0;
        for (size_t j = 0; j < c->cols; j++) {
            top = fmax(top, score(c, x, i, j));
        }
        for (size_t j = 0; j < c->cols; j++) {
            sum += isinf(top) ? 0.0 : exp(score(c, x, i, j) - top);
        }
        for (size_t j = 0; j < c->cols; j++) {
            const double want = isinf(top) ? 0.0 : exp(score(c, x, i, j) - top) / sum;
            const double y = (double)c->y[i * (size_t)c->ldy + j];
            wrong += !(fabs(y - want) <= 4e-7 + 4e-6 * want);
            wrong += want == 0.0 && y != 0.0;
            got += y;
        }
        empty += isinf(top) != 0;
        wrong += !isinf(top) && !(fabs(got - 1.0) <= 2e-6 * sqrt((double)c->cols));
    }
    CHECK_I64(wrong, 0);
    return empty;
}

static void
solve(size_t rows, size_t cols, int kind, dns_isa isa, uint64_t *state)
{
    problem p = problem_new(rows, cols, kind, state);
    p.call.lengths = kind & LENGTHS ? p.lengths : NULL;
    const size_t floats = rows == 0 || cols == 0 ? 0 : (rows - 1) * (size_t)p.call.ldx + cols;
    float *before = malloc((floats + 1) * sizeof *before);
    REQUIRE(before != NULL);
    memcpy(before, p.x.data, floats * sizeof *before);
    size_t empty = 0;
    dns_error err;
    CHECK(dns_softmax_rows(&p.call, isa, NULL, &empty, &err) == DNS_OK);
    CHECK_I64(empty, check_rows(&p.call, before));
    CHECK(kit_gaps_untouched(p.call.y, rows, cols, (size_t)p.call.ldy));
    free(before);
    problem_free(&p);
}

static void
test_every_mask_and_tail(void)
{
    uint64_t state = 1;
    KIT_FOR_EACH_LEVEL(isa)
    {
        for (size_t cols = 0; isa <= DNS_ISA_AVX512 && cols <= 70; cols++) {
            solve(1 + cols % 9, cols, (int)(cols % KINDS), isa, &state);
            solve(4, cols, (int)(cols * 7 % KINDS), isa, &state);
        }
        for (int kind = 0; isa <= DNS_ISA_AVX512 && kind < KINDS; kind++) {
            solve(12, 133, kind, isa, &state);
            solve(6, 3, kind, isa, &state);
            solve(5, 1100, kind, isa, &state);
        }
    }
    kit_say_skipped();
}

static void
test_segments(void)
{
    enum { ROWS = 3, COLS = 200, SEGMENTS = 9 };
    const int64_t offsets[SEGMENTS + 1] = {0, 0, 1, 18, 18, 50, 67, 132, 199, 200};
    uint64_t state = 2;
    KIT_FOR_EACH_LEVEL(isa)
    {
        problem p = problem_new(ROWS, COLS, 0, &state);
        size_t empty = 0;
        dns_error err;
        CHECK(dns_softmax_segments(&p.call, offsets, SEGMENTS, isa, NULL, &empty, &err) == DNS_OK);
        size_t want = 0;
        for (size_t s = 0; s < SEGMENTS; s++) {
            dns_softmax part = p.call;
            part.cols = (size_t)(offsets[s + 1] - offsets[s]);
            part.x += offsets[s];
            part.y += offsets[s];
            want += check_rows(&part, part.x);
        }
        CHECK_I64(empty, want);
        const int64_t falls[3] = {0, 201, 200};
        const int64_t late[3] = {1, 2, 200};
        const int64_t early[3] = {0, 2, 199};
        CHECK(dns_softmax_segments(&p.call, falls, 2, isa, NULL, &empty, &err) == DNS_ERR_FORMAT);
        CHECK_I64(err.index, 2);
        CHECK(dns_softmax_segments(&p.call, late, 2, isa, NULL, &empty, &err) == DNS_ERR_FORMAT);
        CHECK(dns_softmax_segments(&p.call, early, 2, isa, NULL, &empty, &err) == DNS_ERR_FORMAT);
        problem_free(&p);
    }
}

static void
test_threads(void)
{
    enum { ROWS = 900, COLS = 300 };
    uint64_t state = 3;
    dns_threads *pools[KIT_POOLS];
    kit_pools_new(pools);
    problem p = problem_new(ROWS, COLS, BITS | ADD, &state);
    const size_t bytes = ((ROWS - 1) * (size_t)p.call.ldy + COLS) * sizeof(float);
    float *first = malloc(bytes);
    REQUIRE(first != NULL);
    KIT_FOR_EACH_LEVEL(isa)
    {
        size_t empty = 0;
        size_t other = 0;
        CHECK(dns_softmax_rows(&p.call, isa, NULL, &empty, NULL) == DNS_OK);
        memcpy(first, p.call.y, bytes);
        for (size_t t = 1; t < KIT_POOLS; t++) {
            memset(p.call.y, 0, bytes);
            CHECK(dns_softmax_rows(&p.call, isa, pools[t], &other, NULL) == DNS_OK);
            for (size_t i = 0; i < ROWS; i++) {
                const size_t at = i * (size_t)p.call.ldy;
                CHECK(memcmp(first + at, p.call.y + at, COLS * sizeof(float)) == 0);
            }
            CHECK_I64(other, empty);
        }
    }
    kit_pools_free(pools);
    free(first);
    problem_free(&p);
}

/* Segments of every length around the vectors, on every number of threads. */
static void
test_segments_of_every_length(void)
{
    enum { ROWS = 300, SEGMENTS = 36, COLS = 35 * 36 / 2 };
    int64_t offsets[SEGMENTS + 1];
    for (int64_t s = 0; s <= SEGMENTS; s++) {
        offsets[s] = s * (s - 1) / 2;
    }
    uint64_t state = 4;
    dns_threads *pools[KIT_POOLS];
    kit_pools_new(pools);
    problem p = problem_new(ROWS, COLS, 0, &state);
    const size_t bytes = ((ROWS - 1) * (size_t)p.call.ldy + COLS) * sizeof(float);
    float *first = malloc(bytes);
    REQUIRE(first != NULL);
    KIT_FOR_EACH_LEVEL(isa)
    {
        for (size_t t = 0; t < KIT_POOLS; t++) {
            size_t empty = 0;
            size_t want = 0;
            CHECK(dns_softmax_segments(&p.call, offsets, SEGMENTS, isa, pools[t], &empty, NULL) ==
                  DNS_OK);
            for (size_t s = 0; t == 0 && s < SEGMENTS; s++) {
                dns_softmax part = p.call;
                part.cols = s;
                part.x += offsets[s];
                part.y += offsets[s];
                want += check_rows(&part, part.x);
            }
            CHECK(t > 0 || empty == want);
            if (t == 0) {
                memcpy(first, p.call.y, bytes);
            }
            CHECK(memcmp(first, p.call.y, bytes) == 0);
        }
    }
    kit_pools_free(pools);
    free(first);
    problem_free(&p);
}

/* NaN or +inf among what is seen spoils that and nothing else; hidden ones do no harm. */
static void
test_not_finite(void)
{
    const uint64_t bits[1] = {0x3ffffffff7U};
    KIT_FOR_EACH_LEVEL(isa)
    {
        for (int kind = 0; kind < 3; kind++) {
            for (size_t at = 3; at < 40; at += 4) {
                float x[40];
                float y[40];
                for (size_t j = 0; j < 40; j++) {
                    x[j] = kind == 2 ? -INFINITY : 1.0F;
                }
                x[at] = kind == 1 ? INFINITY : NAN;
                const dns_softmax c = {.rows = 1,
                                       .cols = 40,
                                       .x = x,
                                       .ldx = 40,
                                       .y = y,
                                       .ldy = 40,
                                       .queries = 1,
                                       .length_rows = 1,
                                       .bits = bits,
                                       .bit_rows = 1};
                size_t empty = 0;
                CHECK(dns_softmax_rows(&c, isa, NULL, &empty, NULL) == DNS_OK);
                const bool hidden = (bits[0] >> at & 1) == 0;
                CHECK_I64(empty, hidden && kind == 2);
                for (size_t j = 0; j < 40; j++) {
                    const bool seen = (bits[0] >> j & 1) != 0;
                    CHECK(seen && !hidden ? isnan(y[j]) != 0 : isnan(y[j]) == 0);
                    CHECK(seen || y[j] == 0.0F);
                }
            }
        }
    }
}

static void
test_refused_lengths(void)
{
    const float x[2] = {0.0F, 0.0F};
    float y[2] = {5.0F, 5.0F};
    const int32_t bad[2][2] = {{1, 2}, {0, -1}};
    for (size_t k = 0; k < 2; k++) {
        const dns_softmax c = {.rows = 2,
                               .cols = 1,
                               .x = x,
                               .ldx = 1,
                               .y = y,
                               .ldy = 1,
                               .queries = 1,
                               .lengths = bad[k],
                               .length_rows = 1};
        size_t empty = 0;
        dns_error err;
        CHECK(dns_softmax_rows(&c, DNS_ISA_GENERIC, NULL, &empty, &err) == DNS_ERR_VALUE);
        CHECK_I64(err.index, 1);
        CHECK_F64((double)y[0], 5.0);
    }
}

TAP_MAIN(TAP(test_every_mask_and_tail), TAP(test_segments), TAP(test_segments_of_every_length),
         TAP(test_threads), TAP(test_not_finite), TAP(test_refused_lengths))
