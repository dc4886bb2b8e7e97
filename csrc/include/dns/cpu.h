/* Instruction-set levels and their run-time choice.
 *
 * A level is a value that the caller keeps and passes on; the library stores none.
 * The environment variable DNNSCHED_ISA (a level's name) can only lower it.
 *
 * Levels are ordered: a CPU that runs one runs all below. Code of a level is one constant table of
 * functions per source file, found by the file's name: x_isa.c makes dns_x_ops_generic, _avx2 and
 * _avx512; x_vnni.c makes dns_x_ops_vnni and x_amx.c dns_x_ops_amx, whole tables of the same type,
 * and only where they are faster. DNS_OPS_SELECT takes the highest table that a level can run, so
 * at avx512vnni and amx a file without such variants runs its avx512 table.
 */
#ifndef DNS_CPU_H
#define DNS_CPU_H

typedef enum dns_isa {
    DNS_ISA_GENERIC = 0,
    DNS_ISA_AVX2 = 1,   /* AVX2 FMA F16C BMI1 BMI2 POPCNT LZCNT */
    DNS_ISA_AVX512 = 2, /* + AVX-512 F BW DQ VL */
    DNS_ISA_VNNI = 3,   /* + AVX-512 VNNI */
    DNS_ISA_AMX = 4     /* + AMX-TILE AMX-INT8, and leave to use tile data */
} dns_isa;
#define DNS_N_ISA 5

/* Highest level that this CPU, its operating system and this build can run. Where the CPU has AMX
 * it asks Linux for leave to use tile data, which holds for the whole process from then on (asking
 * again changes nothing); if it is refused, the level below is the answer. Costs microseconds: ask
 * once and keep the value. */
dns_isa dns_isa_detect(void);

/* dns_isa_detect() lowered by DNNSCHED_ISA. An unknown word in the variable is
 * reported through *bad (may be NULL) and otherwise ignored. */
dns_isa dns_isa_default(const char **bad);

/* "generic", "avx2", "avx512", "avx512vnni", "amx"; "unknown" for other values. */
const char *dns_isa_name(int isa);

/* Level of a name; -1 if it is none. */
int dns_isa_parse(const char *name);

/* Token pasting for files that are compiled for one level: DNS_ISA_FN(dns_f) is dns_f_generic,
 * dns_f_avx2, dns_f_avx512, dns_f_vnni or dns_f_amx. Such files share no non-static inline function
 * with others. DNS_ISA_VALUE is the level that the file is compiled for. */
#define DNS_PASTE2_(a, b) a##_##b
#define DNS_PASTE_(a, b) DNS_PASTE2_(a, b)
#define DNS_ISA_FN(name) DNS_PASTE_(name, DNS_ISA)
#define DNS_ISA_VALUE_generic DNS_ISA_GENERIC
#define DNS_ISA_VALUE_avx2 DNS_ISA_AVX2
#define DNS_ISA_VALUE_avx512 DNS_ISA_AVX512
#define DNS_ISA_VALUE_vnni DNS_ISA_VNNI
#define DNS_ISA_VALUE_amx DNS_ISA_AMX
#define DNS_ISA_VALUE DNS_PASTE_(DNS_ISA_VALUE, DNS_ISA)

/* Defines `const type *type_select(dns_isa isa)`: the table of the highest level <= isa that this
 * build holds. DNS_OPS_SELECT for families with x_isa.c only; _VNNI and _AMX for those that have
 * x_vnni.c, and x_vnni.c and x_amx.c, besides. Once per family, in the portable x.c. */
#if defined(__x86_64__) && !defined(DNS_NO_X86)
#define DNS_OPS_TABLES_(type) extern const type type##_generic, type##_avx2, type##_avx512;
#define DNS_OPS_BASE_(type, isa)                                                                   \
    ((isa) >= DNS_ISA_AVX512 ? &type##_avx512                                                      \
                             : ((isa) == DNS_ISA_AVX2 ? &type##_avx2 : &type##_generic))
#define DNS_OPS_SELECT_VNNI(type)                                                                  \
    DNS_OPS_TABLES_(type)                                                                          \
    extern const type type##_vnni;                                                                 \
    const type *type##_select(dns_isa isa)                                                         \
    {                                                                                              \
        return isa >= DNS_ISA_VNNI ? &type##_vnni : DNS_OPS_BASE_(type, isa);                      \
    }
#define DNS_OPS_SELECT_AMX(type)                                                                   \
    DNS_OPS_TABLES_(type)                                                                          \
    extern const type type##_vnni, type##_amx;                                                     \
    const type *type##_select(dns_isa isa)                                                         \
    {                                                                                              \
        return isa >= DNS_ISA_AMX    ? &type##_amx                                                 \
               : isa == DNS_ISA_VNNI ? &type##_vnni                                                \
                                     : DNS_OPS_BASE_(type, isa);                                   \
    }
#else
#define DNS_OPS_TABLES_(type) extern const type type##_generic;
#define DNS_OPS_BASE_(type, isa) ((void)(isa), &type##_generic)
#define DNS_OPS_SELECT_VNNI(type) DNS_OPS_SELECT(type)
#define DNS_OPS_SELECT_AMX(type) DNS_OPS_SELECT(type)
#endif
#define DNS_OPS_SELECT(type)                                                                       \
    DNS_OPS_TABLES_(type)                                                                          \
    const type *type##_select(dns_isa isa)                                                         \
    {                                                                                              \
        return DNS_OPS_BASE_(type, isa);                                                           \
    }

#endif
