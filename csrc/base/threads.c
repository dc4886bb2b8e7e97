/* Thread pool: the workers wait on a condition for the next round of parts.
 *
 * A round is a number that only grows; a worker that sees a new one runs its parts and counts
 * itself off. The caller is thread 0. A wake-up costs 5 to 20 us, so kernels run short work
 * serially.
 */
#include "dns/threads.h"

#include <pthread.h>

typedef struct worker {
    dns_threads *pool;
    size_t index;
    pthread_t thread;
} worker;

struct dns_threads {
    dns_alloc alloc;
    size_t n;             /* threads, the caller included */
    size_t started;       /* workers that run */
    pthread_mutex_t busy; /* held by the call that uses the pool */
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t wake;
    pthread_cond_t done;
    size_t round;
    size_t left; /* workers still busy with this round */
    int quit;
    dns_threads_body body;
    void *ctx;
    size_t n_parts;
    worker workers[];
};

static void
run_parts(dns_threads_body body, void *ctx, size_t first, size_t step, size_t n_parts)
{
    for (size_t p = first; p < n_parts; p += step) {
        body(ctx, p);
    }
}

static void *
work(void *arg)
{
    const worker *w = arg;
    dns_threads *pool = w->pool;
    size_t seen = 0;
    (void)pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (pool->round == seen && !pool->quit) {
            (void)pthread_cond_wait(&pool->wake, &pool->lock);
        }
        if (pool->quit) {
            break;
        }
        seen = pool->round;
        const dns_threads_body body = pool->body;
        void *ctx = pool->ctx;
        const size_t n_parts = pool->n_parts;
        (void)pthread_mutex_unlock(&pool->lock);
        run_parts(body, ctx, w->index, pool->n, n_parts);
        (void)pthread_mutex_lock(&pool->lock);
        if (--pool->left == 0) {
            (void)pthread_cond_signal(&pool->done);
        }
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* Bytes of a pool of n threads. */
static size_t
pool_bytes(size_t n)
{
    return sizeof(dns_threads) + (n - 1) * sizeof(worker);
}

dns_status
dns_threads_create(size_t n, const dns_alloc *alloc, dns_threads **out, dns_error *err)
{
    DNS_REQUIRE(n >= 1 && n <= DNS_THREADS_MAX, err, DNS_ERR_VALUE, -1,
                "threads: expected an integer >= 1 and <= %d, got %zu", DNS_THREADS_MAX, n);
    dns_threads *pool = dns_mem_zero(alloc, 1, pool_bytes(n));
    DNS_REQUIRE(pool != NULL, err, DNS_ERR_MEMORY, -1, "threads: out of memory");
    pool->alloc = alloc != NULL ? *alloc : *dns_alloc_default();
    pool->n = n;
    (void)pthread_mutex_init(&pool->busy, NULL);
    (void)pthread_mutex_init(&pool->lock, NULL);
    (void)pthread_cond_init(&pool->wake, NULL);
    (void)pthread_cond_init(&pool->done, NULL);
    for (size_t i = 0; i + 1 < n; i++) {
        worker *w = &pool->workers[i];
        *w = (worker){.pool = pool, .index = i + 1};
        if (pthread_create(&w->thread, NULL, work, w) != 0) {
            dns_threads_destroy(pool);
            return dns_fail(err, DNS_ERR_UNSUPPORTED, (int64_t)i,
                            "threads: the system gave %zu of %zu threads", i + 1, n);
        }
        pool->started++;
    }
    *out = pool;
    return DNS_OK;
}

void
dns_threads_destroy(dns_threads *threads)
{
    if (threads == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&threads->lock);
    threads->quit = 1;
    (void)pthread_cond_broadcast(&threads->wake);
    (void)pthread_mutex_unlock(&threads->lock);
    for (size_t i = 0; i < threads->started; i++) {
        (void)pthread_join(threads->workers[i].thread, NULL);
    }
    (void)pthread_cond_destroy(&threads->done);
    (void)pthread_cond_destroy(&threads->wake);
    (void)pthread_mutex_destroy(&threads->lock);
    (void)pthread_mutex_destroy(&threads->busy);
    const dns_alloc alloc = threads->alloc;
    dns_mem_free(&alloc, threads, 1, pool_bytes(threads->n));
}

size_t
dns_threads_count(const dns_threads *threads)
{
    return threads == NULL ? 1 : threads->n;
}

void
dns_threads_run(dns_threads *threads, size_t n_parts, dns_threads_body body, void *ctx)
{
    if (threads == NULL || threads->n == 1 || n_parts < 2 ||
        pthread_mutex_trylock(&threads->busy) != 0) {
        run_parts(body, ctx, 0, 1, n_parts);
        return;
    }
    (void)pthread_mutex_lock(&threads->lock);
    threads->body = body;
    threads->ctx = ctx;
    threads->n_parts = n_parts;
    threads->left = threads->n - 1;
    threads->round++;
    (void)pthread_cond_broadcast(&threads->wake);
    (void)pthread_mutex_unlock(&threads->lock);
    run_parts(body, ctx, 0, threads->n, n_parts);
    (void)pthread_mutex_lock(&threads->lock);
    while (threads->left != 0) {
        (void)pthread_cond_wait(&threads->done, &threads->lock);
    }
    (void)pthread_mutex_unlock(&threads->lock);
    (void)pthread_mutex_unlock(&threads->busy);
}
