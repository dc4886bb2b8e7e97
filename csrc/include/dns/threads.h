/* A small pool of threads that the caller owns.
 *
 * Kernels take `dns_threads *` and split their *outputs* over it, never a sum, so a result is the
 * same bytes for every number of threads; NULL means the calling thread alone. One call uses a pool
 * at a time: if another call is using it, the work runs on the calling thread instead of waiting,
 * with the same result. A pool does not survive fork: a child makes its own.
 */
#ifndef DNS_THREADS_H
#define DNS_THREADS_H

#include <stddef.h>

#include "dns/mem.h"
#include "dns/status.h"

#define DNS_THREADS_MAX 256

typedef struct dns_threads dns_threads;

/* A pool of n threads, 1 <= n <= DNS_THREADS_MAX: the caller of dns_threads_run and n - 1 workers,
 * which sleep while there is nothing to do. Fails with DNS_ERR_VALUE, DNS_ERR_MEMORY, or
 * DNS_ERR_UNSUPPORTED when the system gives no more threads. */
DNS_NODISCARD dns_status dns_threads_create(size_t n, const dns_alloc *alloc, dns_threads **out,
                                            dns_error *err);

/* Ends the workers; no call may be using the pool. NULL is ignored. */
void dns_threads_destroy(dns_threads *threads);

/* Number of threads of a pool; 1 for NULL. */
size_t dns_threads_count(const dns_threads *threads);

/* What one thread has to do: its parts are `part` of [0, n_parts). */
typedef void (*dns_threads_body)(void *ctx, size_t part);

/* Calls body(ctx, p) for every p of [0, n_parts) and returns when all are done. Part p runs on
 * thread p % count; parts of one thread run in ascending order. The body must not use the pool
 * itself. */
void dns_threads_run(dns_threads *threads, size_t n_parts, dns_threads_body body, void *ctx);

/* First element of part p when n elements are cut into n_parts pieces whose sizes differ by at most
 * one; part p is [dns_part(n, n_parts, p), dns_part(n, n_parts, p + 1)). */
static inline size_t
dns_part(size_t n, size_t n_parts, size_t p)
{
    return n / n_parts * p + (p < n % n_parts ? p : n % n_parts);
}

#endif
