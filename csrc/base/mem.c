/* Default allocator and checked sizes. */
#define _POSIX_C_SOURCE 200112L /* posix_memalign: unlike aligned_alloc it takes any size */

#include "dns/mem.h"

#include <stdlib.h>
#include <string.h>

static void *
default_alloc(void *ctx, size_t size, size_t align)
{
    (void)ctx;
    void *p = NULL;
    if (posix_memalign(&p, align, size) != 0) {
        return NULL;
    }
    return p;
}

static void
default_free(void *ctx, void *ptr, size_t size)
{
    (void)ctx;
    (void)size;
    free(ptr);
}

static const dns_alloc default_allocator = {default_alloc, default_free, NULL};

const dns_alloc *
dns_alloc_default(void)
{
    return &default_allocator;
}

bool
dns_mul_size(size_t a, size_t b, size_t *out)
{
    if (b != 0 && a > SIZE_MAX / b) {
        return false;
    }
    *out = a * b;
    return true;
}

bool
dns_add_size(size_t a, size_t b, size_t *out)
{
    if (a > SIZE_MAX - b) {
        return false;
    }
    *out = a + b;
    return true;
}

void *
dns_mem_new(const dns_alloc *a, size_t n, size_t size)
{
    size_t bytes = 0;
    if (!dns_mul_size(n, size, &bytes) || bytes > PTRDIFF_MAX) {
        return NULL;
    }
    if (a == NULL) {
        a = &default_allocator;
    }
    return a->alloc(a->ctx, bytes == 0 ? 1 : bytes, DNS_ALIGN);
}

void *
dns_mem_zero(const dns_alloc *a, size_t n, size_t size)
{
    void *p = dns_mem_new(a, n, size);
    if (p != NULL) {
        memset(p, 0, n * size);
    }
    return p;
}

bool
dns_mem_grow(const dns_alloc *a, void **ptr, size_t old_n, size_t new_n, size_t size)
{
    void *p = dns_mem_new(a, new_n, size);
    if (p == NULL) {
        return false;
    }
    if (*ptr != NULL) {
        memcpy(p, *ptr, (old_n < new_n ? old_n : new_n) * size);
    }
    dns_mem_free(a, *ptr, old_n, size);
    *ptr = p;
    return true;
}

void
dns_mem_free(const dns_alloc *a, void *ptr, size_t n, size_t size)
{
    if (ptr == NULL) {
        return;
    }
    if (a == NULL) {
        a = &default_allocator;
    }
    a->free(a->ctx, ptr, n * size == 0 ? 1 : n * size);
}
