/* CPU level detection. __builtin_cpu_supports reads CPUID and XGETBV, so a level is
 * reported only if the operating system saves its registers. AMX is read from CPUID leaf 7 (EDX
 * bits 24 and 25, Intel SDM volume 2A) and XCR0 (bits 17 and 18); since Linux 5.16 a process must
 * also be given leave to use tile data (Documentation/arch/x86/xstate.rst). */
#define _DEFAULT_SOURCE /* syscall */

#include "dns/cpu.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && !defined(DNS_NO_X86)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

static const char *const names[DNS_N_ISA] = {"generic", "avx2", "avx512", "avx512vnni", "amx"};

#if defined(__x86_64__) && !defined(DNS_NO_X86)
enum {
    CPUID_AMX = 3 << 24,  /* AMX-TILE, AMX-INT8 */
    XCR0_TILES = 3 << 17, /* tile configuration and data */
    ARCH_REQ_XCOMP_PERM = 0x1023,
    XFEATURE_XTILEDATA = 18
};

/* Tile registers: there, saved by the system, and allowed to this process. */
static bool
has_amx(void)
{
    unsigned a = 0;
    unsigned b = 0;
    unsigned c = 0;
    unsigned d = 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & CPUID_AMX) != CPUID_AMX) {
        return false;
    }
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    if ((a & XCR0_TILES) != XCR0_TILES) {
        return false;
    }
#if defined(__linux__)
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
    return false;
#endif
}
#endif

dns_isa
dns_isa_detect(void)
{
#if defined(__x86_64__) && !defined(DNS_NO_X86)
    __builtin_cpu_init();
    if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
          __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
          __builtin_cpu_supports("popcnt"))) {
        return DNS_ISA_GENERIC;
    }
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
        if (!__builtin_cpu_supports("avx512vnni")) {
            return DNS_ISA_AVX512;
        }
        return has_amx() ? DNS_ISA_AMX : DNS_ISA_VNNI;
    }
    return DNS_ISA_AVX2;
#else
    return DNS_ISA_GENERIC;
#endif
}

const char *
dns_isa_name(int isa)
{
    return isa >= 0 && isa < DNS_N_ISA ? names[isa] : "unknown";
}

int
dns_isa_parse(const char *name)
{
    for (int i = 0; i < DNS_N_ISA; i++) {
        if (strcmp(name, names[i]) == 0) {
            return i;
        }
    }
    return -1;
}

dns_isa
dns_isa_default(const char **bad)
{
    const dns_isa top = dns_isa_detect();
    const char *word = getenv("DNNSCHED_ISA");
    if (bad != NULL) {
        *bad = NULL;
    }
    if (word == NULL || word[0] == '\0') {
        return top;
    }
    const int want = dns_isa_parse(word);
    if (want < 0) {
        if (bad != NULL) {
            *bad = word;
        }
        return top;
    }
    return want < (int)top ? (dns_isa)want : top;
}
