/* The built-in schedulers by name. Estimates (which column REMAINING, NEXT, ISOLATED and GAMMA
 * hold) are bound by the caller: sjf, sjf_sparse and srpt_oracle are one policy on three estimates.
 */
#include <string.h>

#include "sched_internal.h"

#define N(f) DNS_NEED(DNS_F_##f)
#define DYSTA_NEED (N(REMAINING) | N(DEADLINE) | N(LAST_RUN) | N(ISOLATED) | N(INV_ISOLATED))
#define PREMA_NEED                                                                                 \
    (N(REMAINING) | N(PRIORITY) | N(LAST_RUN) | N(INV_ISOLATED) | N(PRIVATE0) | N(PRIVATE1))
#define PREMA_A_NEED                                                                               \
    (N(REMAINING) | N(PRIORITY) | N(LAST_RUN) | N(ISOLATED) | N(PRIVATE0) | N(PRIVATE1))
#define SDRM3_NEED (N(REMAINING) | N(DEADLINE) | N(LAST_RUN) | N(NEXT))

typedef struct entry {
    const char *name;
    dns_class klass;
    uint64_t need;
    int key_column;
    double key_sign;
    dns_pick_fn pick;
    int n_param;
} entry;

/* Dysta's four picks depend on the instruction-set level and are filled in by dns_sched_get. */
static const entry table[] = {
    {"fcfs", DNS_CLASS_FIFO, 0, -1, 1.0, NULL, 0},
    {"edf", DNS_CLASS_ARRIVAL, N(DEADLINE), DNS_F_DEADLINE, 1.0, NULL, 0},
    {"hpf", DNS_CLASS_ARRIVAL, N(PRIORITY), DNS_F_PRIORITY, -1.0, NULL, 0},
    {"shortest_remaining", DNS_CLASS_OWN, N(REMAINING), DNS_F_REMAINING, 1.0, NULL, 0},
    {"least_laxity", DNS_CLASS_OWN, N(REMAINING) | N(DEADLINE), -1, 1.0, NULL, 0},
    {"round_robin", DNS_CLASS_OWN, N(LAST_RUN), DNS_F_LAST_RUN, 1.0, NULL, 0},
    {"lottery", DNS_CLASS_PICK, N(PRIORITY) | N(JOB), -1, 1.0, dns_lottery_pick, 1},
    {"prema", DNS_CLASS_PICK, PREMA_NEED, -1, 1.0, dns_prema_pick, 0},
    {"prema_sparse", DNS_CLASS_PICK, PREMA_NEED | N(GAMMA), -1, 1.0, dns_prema_sparse_pick, 0},
    {"prema_artifact", DNS_CLASS_PICK, PREMA_A_NEED, -1, 1.0, dns_prema_artifact_pick, 0},
    {"prema_sparse_artifact", DNS_CLASS_PICK, PREMA_A_NEED | N(GAMMA), -1, 1.0,
     dns_prema_sparse_artifact_pick, 0},
    {"planaria", DNS_CLASS_TIME, N(DEADLINE) | N(PRIORITY) | N(REMAINING), -1, 1.0,
     dns_planaria_pick, 0},
    {"planaria_artifact", DNS_CLASS_TIME, N(DEADLINE) | N(PRIORITY) | N(ARRIVAL), -1, 1.0,
     dns_planaria_artifact_pick, 0},
    {"sdrm3", DNS_CLASS_TIME, SDRM3_NEED, -1, 1.0, dns_sdrm3_pick, 1},
    {"sdrm3_artifact", DNS_CLASS_TIME, SDRM3_NEED | N(ARRIVAL), -1, 1.0, dns_sdrm3_artifact_pick,
     1},
    {"batch_fcfs", DNS_CLASS_PICK, N(PROGRAM) | N(STAGE), -1, 1.0, NULL, 1},
    {"dysta_signed", DNS_CLASS_TIME, DYSTA_NEED, -1, 1.0, NULL, 1},
    {"dysta_clamped", DNS_CLASS_TIME, DYSTA_NEED, -1, 1.0, NULL, 1},
    {"dysta_deadline", DNS_CLASS_TIME, DYSTA_NEED, -1, 1.0, NULL, 1},
    {"dysta_artifact", DNS_CLASS_TIME, DYSTA_NEED, -1, 1.0, NULL, 1},
};

/* Laxity without the common -t: deadline - remaining. */
static void
laxity(double now, int64_t n, const double *feat, int64_t ld, const double *param, double *out,
       void *user)
{
    (void)now;
    (void)param;
    (void)user;
    for (int64_t i = 0; i < n; i++) {
        out[i] = feat[DNS_F_DEADLINE * ld + i] - feat[DNS_F_REMAINING * ld + i];
    }
}

static const dns_dysta_ops *
dysta_ops(dns_isa isa)
{
#if defined(__x86_64__) && !defined(DNS_NO_X86)
    if (isa >= DNS_ISA_AVX512) {
        return &dns_dysta_ops_avx512;
    }
    if (isa == DNS_ISA_AVX2) {
        return &dns_dysta_ops_avx2;
    }
#endif
    (void)isa;
    return &dns_dysta_ops_generic;
}

static dns_pick_fn
dysta_pick(const char *name, dns_isa isa)
{
    const dns_dysta_ops *ops = dysta_ops(isa);
    return strcmp(name, "dysta_signed") == 0     ? ops->signed_slack
           : strcmp(name, "dysta_clamped") == 0  ? ops->clamped_slack
           : strcmp(name, "dysta_deadline") == 0 ? ops->deadline_slack
                                                 : ops->artifact;
}

int
dns_sched_get(const char *name, dns_isa isa, dns_policy *out)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const entry *e = &table[i];
        if (strcmp(e->name, name) == 0) {
            *out = (dns_policy){.abi = DNS_POLICY_ABI,
                                .klass = e->klass,
                                .need = e->need,
                                .key_column = e->key_column,
                                .key_sign = e->key_sign,
                                .pick = e->pick};
            if (strncmp(name, "dysta_", 6) == 0) {
                out->pick = dysta_pick(name, isa);
            }
            if (strcmp(name, "least_laxity") == 0) {
                out->score = laxity;
            }
            if (strcmp(name, "batch_fcfs") == 0) {
                out->batch = dns_batch_fcfs;
            }
            return e->n_param;
        }
    }
    return -1;
}

const char *
dns_sched_name(int i)
{
    return i >= 0 && (size_t)i < sizeof table / sizeof *table ? table[i].name : NULL;
}
