/* CPU level detection. __builtin_cpu_supports reads CPUID and XGETBV, so a level is
 * reported only if the operating system saves its registers. */
#include "dns/cpu.h"

#include <stdlib.h>
#include <string.h>

static const char *const names[DNS_N_ISA] = {"generic", "avx2", "avx512"};

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
        return DNS_ISA_AVX512;
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
