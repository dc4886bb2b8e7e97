/* Thread pools: every part runs once, in its thread's order; a busy pool does not block. */
#include "dns/threads.h"
#include "tap.h"

#include <pthread.h>
#include <stdatomic.h>

enum { PARTS = 100 };

typedef struct counts {
    atomic_int runs[PARTS];
    atomic_size_t last[8]; /* highest part that thread p % n ran, plus one */
    size_t n;
    atomic_int order_broken;
} counts;

static void
count(void *ctx, size_t part)
{
    counts *c = ctx;
    atomic_fetch_add(&c->runs[part], 1);
    if (atomic_exchange(&c->last[part % c->n], part + 1) > part) {
        atomic_store(&c->order_broken, 1);
    }
}

static void
test_every_part_runs_once(void)
{
    static const size_t sizes[] = {1, 2, 3, 7};
    for (size_t s = 0; s < 4; s++) {
        dns_threads *pool = NULL;
        REQUIRE(dns_threads_create(sizes[s], NULL, &pool, NULL) == DNS_OK);
        CHECK_I64(dns_threads_count(pool), sizes[s]);
        for (size_t parts = 0; parts <= PARTS; parts += 5) {
            counts c = {.n = sizes[s]};
            dns_threads_run(pool, parts, count, &c);
            for (size_t p = 0; p < PARTS; p++) {
                CHECK_I64(atomic_load(&c.runs[p]), p < parts);
            }
            CHECK(!atomic_load(&c.order_broken));
        }
        dns_threads_destroy(pool);
    }
}

static void
test_no_pool_is_the_calling_thread(void)
{
    counts c = {.n = 1};
    dns_threads_run(NULL, PARTS, count, &c);
    CHECK_I64(atomic_load(&c.last[0]), PARTS);
    CHECK_I64(dns_threads_count(NULL), 1);
    dns_threads_destroy(NULL);
}

typedef struct nested {
    dns_threads *pool;
    counts inner;
} nested;

static void *
use_pool(void *arg)
{
    nested *n = arg;
    dns_threads_run(n->pool, PARTS, count, &n->inner);
    return NULL;
}

/* Part 0 keeps the pool busy while another thread uses it too. */
static void
hold(void *ctx, size_t part)
{
    pthread_t other;
    if (part == 0 && pthread_create(&other, NULL, use_pool, ctx) == 0) {
        (void)pthread_join(other, NULL);
    }
}

static void
test_a_busy_pool_does_not_block(void)
{
    nested n = {.inner = {.n = 1}};
    REQUIRE(dns_threads_create(2, NULL, &n.pool, NULL) == DNS_OK);
    dns_threads_run(n.pool, 2, hold, &n);
    CHECK_I64(atomic_load(&n.inner.last[0]), PARTS);
    dns_threads_destroy(n.pool);
}

static void
test_sizes_are_checked(void)
{
    dns_threads *pool = NULL;
    dns_error err;
    CHECK_I64(dns_threads_create(0, NULL, &pool, &err), DNS_ERR_VALUE);
    CHECK_STR(err.message, "threads: expected an integer >= 1 and <= 256, got 0");
    CHECK_I64(dns_threads_create(DNS_THREADS_MAX + 1, NULL, &pool, &err), DNS_ERR_VALUE);
    CHECK(pool == NULL);
}

static void
test_parts_cover_everything_evenly(void)
{
    for (size_t n = 0; n < 40; n++) {
        for (size_t parts = 1; parts < 9; parts++) {
            CHECK_I64(dns_part(n, parts, 0), 0);
            CHECK_I64(dns_part(n, parts, parts), n);
            for (size_t p = 0; p < parts; p++) {
                const size_t size = dns_part(n, parts, p + 1) - dns_part(n, parts, p);
                CHECK(size == n / parts || size == n / parts + 1);
            }
        }
    }
}

static dns_status
life(const dns_alloc *a, void *ctx)
{
    dns_threads *pool = NULL;
    (void)ctx;
    DNS_TRY(dns_threads_create(3, a, &pool, NULL));
    dns_threads_destroy(pool);
    return DNS_OK;
}

static void
test_oom_threads(void)
{
    CHECK_I64(tap_oom_sweep(life, NULL), 1);
}

TAP_MAIN(TAP(test_every_part_runs_once), TAP(test_no_pool_is_the_calling_thread),
         TAP(test_a_busy_pool_does_not_block), TAP(test_sizes_are_checked),
         TAP(test_parts_cover_everything_evenly), TAP(test_oom_threads))
