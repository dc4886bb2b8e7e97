/* Status codes, error records, memory and CPU levels. */
#define _POSIX_C_SOURCE 200112L /* setenv */

#include "dns/cpu.h"
#include "tap.h"

static dns_status
half(int64_t x, int64_t *out, dns_error *err)
{
    DNS_REQUIRE(x % 2 == 0, err, DNS_ERR_VALUE, x, "x: expected an even number, got %lld",
                (long long)x);
    *out = x / 2;
    return DNS_OK;
}

static dns_status
quarter(int64_t x, int64_t *out, dns_error *err)
{
    DNS_TRY(half(x, out, err));
    return half(*out, out, err);
}

static void
test_status_names(void)
{
    static const int codes[] = {0, 10, 11, 20, 21, 30, 40, 41, 42, 43, 50, 90};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        CHECK(strncmp(dns_status_name(codes[i]), "DNS_", 4) == 0);
        for (size_t j = 0; j < i; j++) {
            CHECK(strcmp(dns_status_name(codes[i]), dns_status_name(codes[j])) != 0);
        }
    }
    CHECK_STR(dns_status_name(-1), "unknown");
    CHECK_STR(dns_status_name(12), "unknown");
}

static void
test_fail_records_code_index_and_message(void)
{
    dns_error err = {DNS_OK, 0, ""};
    CHECK_I64(dns_fail(&err, DNS_ERR_SHAPE, 7, "got %d of %s", 3, "rows"), DNS_ERR_SHAPE);
    CHECK_I64(err.code, DNS_ERR_SHAPE);
    CHECK_I64(err.index, 7);
    CHECK_STR(err.message, "got 3 of rows");
    CHECK_I64(dns_fail(NULL, DNS_ERR_MEMORY, -1, "no record wanted"), DNS_ERR_MEMORY);
}

static void
test_fail_cuts_a_long_message(void)
{
    dns_error err;
    char text[600];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    (void)dns_fail(&err, DNS_ERR_FORMAT, 0, "%s", text);
    CHECK_I64(strlen(err.message), sizeof err.message - 1);
}

static void
test_control_flow_macros(void)
{
    dns_error err = {DNS_OK, 0, ""};
    int64_t out = -1;
    CHECK_I64(quarter(12, &out, &err), DNS_OK);
    CHECK_I64(out, 3);
    out = -1;
    CHECK_I64(quarter(3, &out, &err), DNS_ERR_VALUE);
    CHECK_I64(out, -1);
    CHECK_I64(err.index, 3);
    CHECK_STR(err.message, "x: expected an even number, got 3");
    CHECK_I64(quarter(6, &out, NULL), DNS_ERR_VALUE);
}

static void
test_checked_sizes(void)
{
    size_t out = 5;
    CHECK(dns_mul_size(6, 7, &out) && out == 42);
    CHECK(dns_mul_size(SIZE_MAX, 1, &out) && out == SIZE_MAX);
    CHECK(dns_mul_size(SIZE_MAX, 0, &out) && out == 0);
    out = 5;
    CHECK(!dns_mul_size(SIZE_MAX / 2 + 1, 2, &out) && out == 5);
    CHECK(dns_add_size(SIZE_MAX - 1, 1, &out) && out == SIZE_MAX);
    out = 5;
    CHECK(!dns_add_size(SIZE_MAX, 1, &out) && out == 5);
}

static void
test_memory_is_aligned_and_zeroed(void)
{
    unsigned char *p = dns_mem_zero(NULL, 3, 5);
    REQUIRE(p != NULL);
    CHECK((uintptr_t)p % DNS_ALIGN == 0);
    int sum = 0;
    for (int i = 0; i < 15; i++) {
        sum += p[i];
    }
    CHECK_I64(sum, 0);
    dns_mem_free(NULL, p, 3, 5);
    dns_mem_free(NULL, NULL, 3, 5);
}

/* Around the size from which blocks lie in huge pages: every byte is there. */
static void
test_large_blocks_are_whole(void)
{
    static const size_t sizes[] = {((size_t)4 << 20) - 1, (size_t)4 << 20, ((size_t)6 << 20) + 5};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        unsigned char *p = dns_mem_zero(NULL, sizes[i], 1);
        REQUIRE(p != NULL);
        CHECK((uintptr_t)p % DNS_ALIGN == 0);
        p[0] = 1;
        p[sizes[i] - 1] = 2;
        void *grown = p;
        CHECK(dns_mem_grow(NULL, &grown, sizes[i], sizes[i] + 7, 1));
        p = grown;
        CHECK(p[0] == 1 && p[1] == 0 && p[sizes[i] - 2] == 0 && p[sizes[i] - 1] == 2);
        dns_mem_free(NULL, p, sizes[i] + 7, 1);
    }
}

static void
test_memory_of_no_bytes_is_a_block(void)
{
    unsigned char *p = dns_mem_new(NULL, 0, 8);
    REQUIRE(p != NULL);
    p[0] = 1;
    dns_mem_free(NULL, p, 0, 8);
}

static void
test_memory_rejects_overflow(void)
{
    CHECK(dns_mem_new(NULL, SIZE_MAX, 2) == NULL);
    CHECK(dns_mem_zero(NULL, SIZE_MAX / 8, 16) == NULL);
    CHECK(dns_mem_new(NULL, (size_t)PTRDIFF_MAX + 1, 1) == NULL);
}

static void
test_grow_keeps_the_common_part(void)
{
    int32_t *p = dns_mem_new(NULL, 4, sizeof *p);
    REQUIRE(p != NULL);
    for (int32_t i = 0; i < 4; i++) {
        p[i] = i + 1;
    }
    void *block = p;
    CHECK(dns_mem_grow(NULL, &block, 4, 9, sizeof *p));
    p = block;
    CHECK(p[0] == 1 && p[3] == 4);
    CHECK(dns_mem_grow(NULL, &block, 9, 2, sizeof *p));
    p = block;
    CHECK(p[0] == 1 && p[1] == 2);
    dns_mem_free(NULL, block, 2, sizeof *p);
    block = NULL;
    CHECK(dns_mem_grow(NULL, &block, 0, 1, 8));
    dns_mem_free(NULL, block, 1, 8);
}

static dns_status
grow_twice(const dns_alloc *a, void *ctx)
{
    (void)ctx;
    void *p = dns_mem_zero(a, 2, 8);
    size_t n = 2;
    dns_status status = p == NULL ? DNS_ERR_MEMORY : DNS_OK;
    for (; status == DNS_OK && n < 8; n *= 2) {
        if (!dns_mem_grow(a, &p, n, 2 * n, 8)) {
            status = DNS_ERR_MEMORY;
            break;
        }
    }
    dns_mem_free(a, p, n, 8);
    return status;
}

static void
test_oom_grow(void)
{
    CHECK_I64(tap_oom_sweep(grow_twice, NULL), 3);
}

static void
test_isa_names_round_trip(void)
{
    for (int i = 0; i < DNS_N_ISA; i++) {
        CHECK_I64(dns_isa_parse(dns_isa_name(i)), i);
    }
    CHECK_I64(dns_isa_parse("sse2"), -1);
    CHECK_I64(dns_isa_parse(""), -1);
    CHECK_STR(dns_isa_name(-1), "unknown");
    CHECK_STR(dns_isa_name(DNS_N_ISA), "unknown");
}

static void
test_environment_only_lowers_the_level(void)
{
    const dns_isa top = dns_isa_detect();
    const char *bad = "unset";
    CHECK(unsetenv("DNNSCHED_ISA") == 0);
    CHECK_I64(dns_isa_default(&bad), top);
    CHECK(bad == NULL);
    for (int i = 0; i < DNS_N_ISA; i++) {
        CHECK(setenv("DNNSCHED_ISA", dns_isa_name(i), 1) == 0);
        CHECK_I64(dns_isa_default(&bad), i < (int)top ? i : (int)top);
        CHECK(bad == NULL);
    }
    CHECK(setenv("DNNSCHED_ISA", "fastest", 1) == 0);
    CHECK_I64(dns_isa_default(&bad), top);
    REQUIRE(bad != NULL);
    CHECK_STR(bad, "fastest");
    CHECK_I64(dns_isa_default(NULL), top);
    CHECK(setenv("DNNSCHED_ISA", "", 1) == 0);
    CHECK_I64(dns_isa_default(&bad), top);
    CHECK(bad == NULL);
}

TAP_MAIN(TAP(test_status_names), TAP(test_fail_records_code_index_and_message),
         TAP(test_fail_cuts_a_long_message), TAP(test_control_flow_macros), TAP(test_checked_sizes),
         TAP(test_memory_is_aligned_and_zeroed), TAP(test_large_blocks_are_whole),
         TAP(test_memory_of_no_bytes_is_a_block), TAP(test_memory_rejects_overflow),
         TAP(test_grow_keeps_the_common_part), TAP(test_oom_grow), TAP(test_isa_names_round_trip),
         TAP(test_environment_only_lowers_the_level))
