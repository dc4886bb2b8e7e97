/* Instruction-set levels and their run-time choice.
 *
 * A level is a value that the caller keeps and passes on; the library stores none.
 * The environment variable DNNSCHED_ISA (generic, avx2, avx512) can only lower it.
 */
#ifndef DNS_CPU_H
#define DNS_CPU_H

typedef enum dns_isa {
    DNS_ISA_GENERIC = 0,
    DNS_ISA_AVX2 = 1,  /* AVX2 FMA F16C BMI1 BMI2 POPCNT LZCNT */
    DNS_ISA_AVX512 = 2 /* + AVX-512 F BW DQ VL */
} dns_isa;
#define DNS_N_ISA 3

/* Highest level that this CPU, its operating system and this build can run. */
dns_isa dns_isa_detect(void);

/* dns_isa_detect() lowered by DNNSCHED_ISA. An unknown word in the variable is
 * reported through *bad (may be NULL) and otherwise ignored. */
dns_isa dns_isa_default(const char **bad);

/* "generic", "avx2", "avx512"; "unknown" for other values. */
const char *dns_isa_name(int isa);

/* Level of a name; -1 if it is none. */
int dns_isa_parse(const char *name);

/* Token pasting for files that are compiled once per level: DNS_ISA_FN(dns_f) is
 * dns_f_generic, dns_f_avx2 or dns_f_avx512. Such files end in _isa.c and share no
 * non-static inline function with others. */
#define DNS_PASTE2_(a, b) a##_##b
#define DNS_PASTE_(a, b) DNS_PASTE2_(a, b)
#define DNS_ISA_FN(name) DNS_PASTE_(name, DNS_ISA)

#endif
