/* Mini TAP: checks, a main function, and an allocator that fails on demand.
 *
 *   #include "tap.h"
 *   static void test_sum(void) { CHECK(1 + 1 == 2); }
 *   TAP_MAIN(TAP(test_sum))
 *
 * Every test is a function `test_*`, and its name is the TAP name (pytest lists them by
 * reading the source). A failed CHECK prints file, line and expression and the test goes
 * on; a failed REQUIRE leaves it. `./test_x test_oom` runs the tests that begin so.
 *
 * Allocation failures: write the whole life of an object as one body and sweep it.
 *
 *   static dns_status life(const dns_alloc *a, void *ctx) { create; use; destroy; return status; }
 *   static void test_oom_thing(void) { CHECK(tap_oom_sweep(life, NULL) > 0); }
 */
#ifndef DNS_TESTS_TAP_H
#define DNS_TESTS_TAP_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dns/mem.h"
#include "dns/status.h"

typedef struct tap_case {
    const char *name;
    void (*run)(void);
} tap_case;

/* Failed checks of the running test; a test program has one thread that checks. */
static int tap_failures;

static inline int
tap_check(int ok, const char *file, int line, const char *text)
{
    if (!ok) {
        printf("# %s:%d: failed: %s\n", file, line, text);
        tap_failures++;
    }
    return ok;
}

#define CHECK(cond) ((void)tap_check(!!(cond), __FILE__, __LINE__, #cond))
#define REQUIRE(cond)                                                                              \
    do {                                                                                           \
        if (!tap_check(!!(cond), __FILE__, __LINE__, #cond)) {                                     \
            return;                                                                                \
        }                                                                                          \
    } while (0)

/* Integers and doubles with both values shown; CHECK_F64 compares bits, so -0.0 and NaN count. */
#define CHECK_I64(got, want)                                                                       \
    do {                                                                                           \
        const int64_t tap_got_ = (int64_t)(got), tap_want_ = (int64_t)(want);                      \
        if (!tap_check(tap_got_ == tap_want_, __FILE__, __LINE__, #got " == " #want)) {            \
            printf("#   got %lld, want %lld\n", (long long)tap_got_, (long long)tap_want_);        \
        }                                                                                          \
    } while (0)
#define CHECK_F64(got, want)                                                                       \
    do {                                                                                           \
        const double tap_got_ = (got), tap_want_ = (want);                                         \
        if (!tap_check(memcmp(&tap_got_, &tap_want_, sizeof tap_got_) == 0, __FILE__, __LINE__,    \
                       #got " is " #want)) {                                                       \
            printf("#   got %.17g, want %.17g\n", tap_got_, tap_want_);                            \
        }                                                                                          \
    } while (0)
#define CHECK_NEAR(got, want, tolerance)                                                           \
    do {                                                                                           \
        const double tap_got_ = (got), tap_want_ = (want);                                         \
        if (!tap_check(fabs(tap_got_ - tap_want_) <= (tolerance), __FILE__, __LINE__,              \
                       #got " near " #want)) {                                                     \
            printf("#   got %.17g, want %.17g\n", tap_got_, tap_want_);                            \
        }                                                                                          \
    } while (0)
#define CHECK_STR(got, want)                                                                       \
    do {                                                                                           \
        const char *tap_got_ = (got), *tap_want_ = (want);                                         \
        if (!tap_check(strcmp(tap_got_, tap_want_) == 0, __FILE__, __LINE__, #got " is " #want)) { \
            printf("#   got \"%s\", want \"%s\"\n", tap_got_, tap_want_);                          \
        }                                                                                          \
    } while (0)

/* A header that tests include before this one may have every test run several times, each time
 * after TAP_BEGIN_ROUND(0), (1), ... */
#ifndef TAP_ROUNDS
#define TAP_ROUNDS 1
#define TAP_BEGIN_ROUND(round) ((void)(round))
#endif

static inline int
tap_main(int argc, char **argv, const tap_case *cases, size_t n)
{
    const char *prefix = argc > 1 ? argv[1] : "";
    size_t planned = 0, done = 0;
    int failed = 0;
    for (size_t i = 0; i < n; i++) {
        planned += strncmp(cases[i].name, prefix, strlen(prefix)) == 0;
    }
    (void)setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    printf("1..%zu\n", planned);
    for (size_t i = 0; i < n; i++) {
        if (strncmp(cases[i].name, prefix, strlen(prefix)) != 0) {
            continue;
        }
        tap_failures = 0;
        for (int round = 0; round < (int)TAP_ROUNDS; round++) {
            TAP_BEGIN_ROUND(round);
            cases[i].run();
        }
        printf("%s %zu - %s\n", tap_failures == 0 ? "ok" : "not ok", ++done, cases[i].name);
        failed += tap_failures != 0;
    }
    return failed != 0;
}

#define TAP(test) {#test, test}
#define TAP_MAIN(...)                                                                              \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        static const tap_case cases[] = {__VA_ARGS__};                                             \
        return tap_main(argc, argv, cases, sizeof cases / sizeof cases[0]);                        \
    }

/* An allocator that counts, checks the sizes given back, and fails its n-th allocation. */
typedef struct tap_oom {
    dns_alloc alloc;
    size_t calls;   /* allocations asked for so far */
    size_t fail_at; /* 1-based number of the allocation to fail; 0 = none */
    size_t live;    /* blocks not yet freed */
    int wrong_size; /* a block came back with another size than it was asked for */
} tap_oom;

static inline void *
tap_oom_alloc(void *ctx, size_t size, size_t align)
{
    tap_oom *oom = ctx;
    if (++oom->calls == oom->fail_at) {
        return NULL;
    }
    const dns_alloc *under = dns_alloc_default();
    const size_t head = align < 64 ? 64 : align;
    unsigned char *block = under->alloc(under->ctx, head + size, head);
    if (block == NULL) {
        return NULL;
    }
    memcpy(block, &size, sizeof size);
    memset(block + head, 0xA5, size); /* nothing may rely on zeroed memory */
    oom->live++;
    return block + head;
}

static inline void
tap_oom_free(void *ctx, void *ptr, size_t size)
{
    tap_oom *oom = ctx;
    if (ptr == NULL) {
        return;
    }
    unsigned char *block = (unsigned char *)ptr - 64;
    size_t asked = 0;
    memcpy(&asked, block, sizeof asked);
    oom->wrong_size |= asked != size;
    oom->live--;
    const dns_alloc *under = dns_alloc_default();
    under->free(under->ctx, block, asked + 64);
}

/* Starts a counting allocator that fails its fail_at-th allocation (0 = never). */
static inline void
tap_oom_init(tap_oom *oom, size_t fail_at)
{
    *oom = (tap_oom){{tap_oom_alloc, tap_oom_free, oom}, 0, fail_at, 0, 0};
}

/* Runs body with the 1st, 2nd, ... allocation failing until it succeeds. Each failing run must
 * return DNS_ERR_MEMORY; every run must free all it took. Returns the number of allocations of
 * the successful run, or 0 (and failed checks) when something was wrong. */
static inline size_t
tap_oom_sweep(dns_status (*body)(const dns_alloc *a, void *ctx), void *ctx)
{
    for (size_t n = 1; n < 100000; n++) {
        tap_oom oom;
        tap_oom_init(&oom, n);
        const dns_status status = body(&oom.alloc, ctx);
        const int failed = oom.calls >= n;
        if (oom.live != 0 || oom.wrong_size || status != (failed ? DNS_ERR_MEMORY : DNS_OK)) {
            printf("# allocation %zu %s: status %s, %zu blocks leaked, sizes %s\n", n,
                   failed ? "failed" : "not reached", dns_status_name((int)status), oom.live,
                   oom.wrong_size ? "wrong" : "right");
            tap_failures++;
            return 0;
        }
        if (!failed) {
            return oom.calls;
        }
    }
    tap_failures++;
    return 0;
}

#endif
