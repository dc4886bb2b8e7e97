/* Allocation through a caller-supplied allocator, and checked size arithmetic.
 *
 * Nothing in the library calls malloc except the default allocator. Kernels
 * never allocate. Passing NULL for `const dns_alloc *` selects the default.
 */
#ifndef DNS_MEM_H
#define DNS_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DNS_ALIGN 64

/* alloc returns NULL on failure; free accepts NULL and receives the size asked for.
 * Both may be called from any thread that uses the object owning the memory. */
typedef struct dns_alloc {
    void *(*alloc)(void *ctx, size_t size, size_t align);
    void (*free)(void *ctx, void *ptr, size_t size);
    void *ctx;
} dns_alloc;

/* The process allocator, 64-byte aligned. */
const dns_alloc *dns_alloc_default(void);

/* Uninitialised / zeroed memory of n*size bytes, DNS_ALIGN-aligned; NULL on failure or
 * overflow. A zero product gives a valid one-byte block. */
void *dns_mem_new(const dns_alloc *a, size_t n, size_t size);
void *dns_mem_zero(const dns_alloc *a, size_t n, size_t size);

/* A block of new_n*size bytes whose first min(old_n, new_n)*size bytes are *ptr's;
 * frees *ptr and replaces it on success, leaves it alone on failure (returns false). */
bool dns_mem_grow(const dns_alloc *a, void **ptr, size_t old_n, size_t new_n, size_t size);

/* Frees a block of n*size bytes; NULL is ignored. */
void dns_mem_free(const dns_alloc *a, void *ptr, size_t n, size_t size);

/* false when the result does not fit; *out is then untouched. */
bool dns_mul_size(size_t a, size_t b, size_t *out);
bool dns_add_size(size_t a, size_t b, size_t *out);

#endif
