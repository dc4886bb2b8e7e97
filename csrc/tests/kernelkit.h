/* What every kernel's test needs: guarded buffers, levels, random values, and a whole check of a
 * plan.
 *
 * A buffer of kit_guard lies between two inaccessible pages, so that reading one element too far
 * stops the test, and freeing it checks that nothing was written beside it. Every test of a program
 * that includes this header runs once for each place of its buffers: at the end of their pages, at
 * the beginning (aligned to a page), and one element further (aligned to an element only).
 * kit_plan_check runs a plan of any format against a float64 oracle, in both layouts, with leading
 * dimensions beyond the extents and untouched bytes in between, and for several numbers of threads,
 * whose results must be the same bytes. Include it first: it needs mmap.
 */
#ifndef DNS_TESTS_KERNELKIT_H
#define DNS_TESTS_KERNELKIT_H

#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE /* mmap flags */
#endif

#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

/* Where guarded buffers lie: the rounds of the main function, but for a program that defines
 * KIT_ONE_ROUND because its tests go through the places themselves, as kit_plan_check does. */
typedef enum kit_place { KIT_AT_END, KIT_AT_BEGIN, KIT_ODD, KIT_PLACES } kit_place;

static kit_place kit_place_now;

#ifndef KIT_ONE_ROUND
#define TAP_ROUNDS KIT_PLACES
#define TAP_BEGIN_ROUND(round) (kit_place_now = (kit_place)(round))
#endif

#include "dns/plan.h"
#include "tap.h"

#define KIT_UNIT 5.9604644775390625e-8 /* u = 2^-24 */

/* splitmix64 */
static inline uint64_t
kit_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15U);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    return z ^ z >> 31;
}

/* Uniform in [-1, 1). */
static inline float
kit_float(uint64_t *state)
{
    return (float)((double)(kit_random(state) >> 40) / 8388608.0 - 1.0);
}

/* `bytes` bytes between inaccessible pages; all bytes are 0x7f. */
typedef struct kit_guard {
    char *base; /* of the mapping, of `size` bytes */
    void *data;
    size_t size, bytes;
} kit_guard;

/* n elements of `element` bytes, at a place. */
static inline kit_guard
kit_guard_at(kit_place place, size_t n, size_t element)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t bytes = n * element;
    const size_t inside = (bytes + element + page - 1) / page * page;
    kit_guard g = {NULL, NULL, inside + 2 * page, bytes};
    g.base = mmap(NULL, g.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (g.base == MAP_FAILED || mprotect(g.base, page, PROT_NONE) != 0 ||
        mprotect(g.base + page + inside, page, PROT_NONE) != 0) {
        abort();
    }
    char *first = g.base + page;
    memset(first, 0x7f, inside);
    g.data =
        place == KIT_AT_END ? first + inside - bytes : first + (place == KIT_ODD ? element : 0);
    return g;
}

/* n elements of `element` bytes, at the round's place. */
static inline kit_guard
kit_guard_new(size_t n, size_t element)
{
    return kit_guard_at(kit_place_now, n, element);
}

/* A workspace of `bytes` bytes, aligned to DNS_ALIGN. */
static inline kit_guard
kit_workspace(size_t bytes)
{
    const size_t lines = (bytes + DNS_ALIGN - 1) / DNS_ALIGN;
    return kit_guard_at(kit_place_now == KIT_ODD ? KIT_AT_BEGIN : kit_place_now, lines, DNS_ALIGN);
}

/* Frees the buffer; a byte beside it that was written is a failed check. */
static inline void
kit_guard_free(kit_guard g)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    bool untouched = true;
    for (const char *at = g.base + page; at < g.base + g.size - page; at++) {
        const bool beside = at < (char *)g.data || at >= (char *)g.data + g.bytes;
        untouched = untouched && (!beside || *at == 0x7f);
    }
    CHECK(untouched);
    (void)munmap(g.base, g.size);
}

/* A guarded rows x cols float matrix of leading dimension ld: it ends with the last row's last
 * element. */
static inline kit_guard
kit_matrix(size_t rows, size_t cols, size_t ld)
{
    return kit_guard_new(rows == 0 || cols == 0 ? 0 : (rows - 1) * ld + cols, sizeof(float));
}

/* Runs the body once per level this machine can run, as `dns_isa isa`. A body whose object says
 * that it runs a lower level's code (object->isa != isa) may return early: that code has been
 * tested. */
#define KIT_FOR_EACH_LEVEL(isa)                                                                    \
    for (dns_isa isa = DNS_ISA_GENERIC, kit_top_ = dns_isa_detect(); isa <= kit_top_;              \
         isa = (dns_isa)((int)isa + 1))

/* Says that a level is not tested here; call it for each level above what the machine runs. */
static inline void
kit_say_skipped(void)
{
    for (int i = (int)dns_isa_detect() + 1; i < DNS_N_ISA; i++) {
        printf("# skipped: level %s does not run on this machine\n", dns_isa_name(i));
    }
}

/* One weight matrix to make a plan of, dense [rows][cols]; zeros are absent from sparse formats. */
typedef struct kit_weights {
    size_t rows, cols;
    float *w;
    const float *bias; /* [rows] or NULL */
    dns_act act;
    void *ctx;        /* the test's own */
    kit_guard memory; /* of w */
} kit_weights;

/* Random weights of the given density; free them by kit_weights_free. */
static inline kit_weights
kit_weights_new(size_t rows, size_t cols, double density, uint64_t *state)
{
    kit_weights k = {rows, cols, NULL, NULL, {-INFINITY, INFINITY}, NULL, {NULL, NULL, 0, 0}};
    k.memory = kit_matrix(rows, cols, cols);
    k.w = k.memory.data;
    for (size_t i = 0; i < rows * cols; i++) {
        const double p = (double)(kit_random(state) >> 11) / 9007199254740992.0;
        k.w[i] = p < density ? kit_float(state) : 0.0F;
    }
    return k;
}

static inline void
kit_weights_free(kit_weights *k)
{
    kit_guard_free(k->memory);
}

/* Makes a plan of the format under test. */
typedef dns_status (*kit_create)(const kit_weights *k, dns_isa isa, const dns_alloc *alloc,
                                 dns_plan **out, dns_error *err);

/* Largest |y - y64| / bound over all outputs; the bound is 2 (k + 2) u (|b| + sum |w x|). */
static inline double
kit_worst(const kit_weights *k, dns_layout layout, size_t n, const float *x, size_t ldx,
          const float *y, size_t ldy)
{
    double worst = 0.0;
    for (size_t i = 0; i < k->rows; i++) {
        for (size_t j = 0; j < n; j++) {
            double sum = k->bias != NULL ? (double)k->bias[i] : 0.0;
            double size = fabs(sum);
            size_t terms = 0;
            for (size_t p = 0; p < k->cols; p++) {
                const double w = (double)k->w[i * k->cols + p];
                const double v = (double)x[layout == DNS_ROWS ? j * ldx + p : p * ldx + j];
                sum += w * v;
                size += fabs(w * v);
                terms += w != 0.0;
            }
            sum = sum < (double)k->act.lo ? (double)k->act.lo : sum;
            sum = sum > (double)k->act.hi ? (double)k->act.hi : sum;
            const double got = (double)y[layout == DNS_ROWS ? j * ldy + i : i * ldy + j];
            const double bound = 2.0 * (double)(terms + 2) * KIT_UNIT * size + 1e-38;
            const double ratio = fabs(got - sum) / bound;
            worst = ratio > worst || ratio != ratio ? ratio : worst;
        }
    }
    return worst;
}

/* Every byte between the rows of a matrix filled by kit_guard_new is still 0x7f. */
static inline bool
kit_gaps_untouched(const float *y, size_t rows, size_t cols, size_t ld)
{
    for (size_t i = 0; cols > 0 && i + 1 < rows; i++) {
        for (size_t j = cols; j < ld; j++) {
            const unsigned char *byte = (const unsigned char *)(y + i * ld + j);
            for (size_t b = 0; b < sizeof(float); b++) {
                if (byte[b] != 0x7f) {
                    return false;
                }
            }
        }
    }
    return true;
}

/* n vectors on every pool, each time with buffers at the next place, with the same bytes; x and y
 * have `extra` unused elements between rows. */
static inline void
kit_execute_check(const dns_plan *plan, const kit_weights *k, dns_layout layout, size_t n,
                  size_t extra, dns_threads *const *pools, size_t n_pools, uint64_t *state)
{
    const bool rows = layout == DNS_ROWS;
    const size_t x_rows = rows ? n : k->cols;
    const size_t x_cols = rows ? k->cols : n;
    const size_t y_rows = rows ? n : k->rows;
    const size_t y_cols = rows ? k->rows : n;
    const size_t ldx = x_cols + extra;
    const size_t ldy = y_cols + extra;
    const kit_place place = kit_place_now;
    const uint64_t seed = *state;
    kit_guard first = kit_matrix(0, 0, 0);
    for (size_t t = 0; t < n_pools; t++) {
        kit_place_now = (kit_place)(t % KIT_PLACES);
        const kit_guard x = kit_matrix(x_rows, x_cols, ldx);
        *state = seed;
        for (size_t i = 0; i < x_rows; i++) {
            for (size_t j = 0; j < x_cols; j++) {
                ((float *)x.data)[i * ldx + j] = kit_float(state);
            }
        }
        const kit_guard y = kit_matrix(y_rows, y_cols, ldy);
        size_t bytes = 0;
        dns_error err;
        const size_t threads = dns_threads_count(pools[t]);
        REQUIRE(dns_plan_workspace(plan, layout, n, threads, &bytes, &err) == DNS_OK);
        const kit_guard ws = kit_workspace(bytes);
        const dns_call call = {n,       x.data,  (ptrdiff_t)ldx, y.data, (ptrdiff_t)ldy,
                               ws.data, pools[t]};
        dns_plan_execute(plan, layout, &call);
        CHECK(kit_gaps_untouched(y.data, y_rows, y_cols, ldy));
        if (t == 0) {
            const double worst = kit_worst(k, layout, n, x.data, ldx, y.data, ldy);
            if (!(worst <= 1.0)) {
                printf("# level %s, layout %d, n %zu, extra %zu: %g of the bound\n",
                       dns_isa_name((int)plan->isa), (int)layout, n, extra, worst);
            }
            CHECK(worst <= 1.0);
            kit_guard_free(first);
            first = y;
        }
        else {
            CHECK(memcmp(first.data, y.data, y.bytes) == 0);
            kit_guard_free(y);
        }
        kit_guard_free(ws);
        kit_guard_free(x);
    }
    kit_place_now = place;
    kit_guard_free(first);
}

/* Pools of 1, 2, 3 and 7 threads; the first is NULL. */
enum { KIT_POOLS = 4 };

static inline void
kit_pools_new(dns_threads **pools)
{
    static const size_t counts[KIT_POOLS] = {1, 2, 3, 7};
    pools[0] = NULL;
    for (size_t t = 1; t < KIT_POOLS; t++) {
        if (dns_threads_create(counts[t], NULL, &pools[t], NULL) != DNS_OK) {
            abort();
        }
    }
}

static inline void
kit_pools_free(dns_threads **pools)
{
    for (size_t t = 1; t < KIT_POOLS; t++) {
        dns_threads_destroy(pools[t]);
    }
}

/* Makes a plan at every level and executes it for each n of [0, n_max] in both layouts, packed and
 * with gaps between rows, on 1, 2, 3 and 7 threads. */
static inline void
kit_plan_check(kit_create create, const kit_weights *k, size_t n_max, size_t n_step)
{
    uint64_t state = 7;
    dns_threads *pools[KIT_POOLS];
    dns_error err;
    kit_pools_new(pools);
    KIT_FOR_EACH_LEVEL(isa)
    {
        dns_plan *plan = NULL;
        REQUIRE(create(k, isa, NULL, &plan, &err) == DNS_OK);
        CHECK(plan->isa <= isa);
        for (size_t n = 0; plan->isa == isa && n <= n_max; n += n_step) {
            kit_execute_check(plan, k, DNS_COLUMNS, n, n % 3, pools, KIT_POOLS, &state);
            kit_execute_check(plan, k, DNS_ROWS, n, n % 2, pools, KIT_POOLS, &state);
        }
        dns_plan_destroy(plan);
    }
    kit_pools_free(pools);
    kit_say_skipped();
}

/* Plans of 0 to 35 rows and as many columns, in all residues of the vectors' lengths, with 0, 1 and
 * 2 vectors. */
static inline void
kit_every_extent(kit_create create, double density, void *ctx)
{
    uint64_t state = 11;
    for (size_t rows = 0; rows <= 35; rows++) {
        kit_weights k = kit_weights_new(rows, rows * 11 % 36, density, &state);
        k.ctx = ctx;
        kit_plan_check(create, &k, 2, 1);
        kit_weights_free(&k);
    }
}

/* The whole life of a plan, for tap_oom_sweep: ctx is a kit_life. */
typedef struct kit_life {
    kit_create create;
    const kit_weights *weights;
} kit_life;

static inline dns_status
kit_plan_life(const dns_alloc *alloc, void *ctx)
{
    const kit_life *life = ctx;
    dns_plan *plan = NULL;
    DNS_TRY(life->create(life->weights, dns_isa_detect(), alloc, &plan, NULL));
    dns_plan_destroy(plan);
    return DNS_OK;
}

#endif
