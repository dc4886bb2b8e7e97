/* Scheduling policies: the flat decision ABI, the feature columns and the built-in schedulers.
 *
 * A policy belongs to one pool (sim.h) and answers "who runs next". It sees the ready queue as
 * feature-major columns: column f of slot i is feat[f*ld + i], slots in queue (push) order. The
 * built-in schedulers use exactly this ABI, so a user's policy can do whatever they can.
 *
 * Every column holds what a scheduler may know. True latencies are visible only if the caller
 * binds them as estimates (an oracle).
 */
#ifndef DNS_SCHED_H
#define DNS_SCHED_H

#include <stdint.h>

#include "dns/cpu.h"

#define DNS_POLICY_ABI 1

/* Columns, append-only. Times in seconds, absolute unless stated. */
enum dns_feature {
    DNS_F_ARRIVAL = 0,
    DNS_F_DEADLINE = 1,
    DNS_F_PRIORITY = 2,
    DNS_F_REMAINING = 3, /* estimate of the work still to run */
    DNS_F_NEXT = 4,      /* estimate of the next stage */
    DNS_F_ISOLATED = 5,  /* estimate of the whole request run alone */
    DNS_F_LAST_RUN = 6,  /* end of the request's last executed stage; arrival before */
    DNS_F_STAGE = 7,     /* stages done */
    DNS_F_PROGRAM = 8,
    DNS_F_OWNER = 9,
    DNS_F_JOB = 10, /* request id */
    DNS_F_STEP = 11,
    DNS_F_VARIANT = 12,
    DNS_F_USER0 = 13, /* ... DNS_F_USER0 + 7 */
    DNS_F_GAMMA = 21, /* monitored density over expected density of the stages done; 1 before */
    DNS_F_INV_ISOLATED = 22,
    DNS_F_PRIVATE0 = 23, /* the policy's own state of a slot, 0 when pushed */
    DNS_F_PRIVATE1 = 24,
    DNS_N_FEATURE = 25
};
#define DNS_N_USER 8
#define DNS_NEED(f) (UINT64_C(1) << (f))

/* param[0 .. DNS_PARAM_USER-1] are the engine's, the policy's own follow. */
enum dns_param {
    DNS_P_ABI = 0,
    DNS_P_POOL = 1,
    DNS_P_RESOURCE = 2,
    DNS_P_STATE = 3,
    DNS_P_N_RUNNING = 4,
    DNS_P_MORE_ARRIVALS = 5, /* 1 while rows are still to come, whatever is done */
    DNS_P_FLUSH = 6,         /* 1 when nothing but timers is left */
    DNS_PARAM_USER = 16,
    DNS_N_PARAM = 48
};

#define DNS_PICK_IDLE INT64_C(-1) /* stay idle until the next event */
#define DNS_PICK_ERROR INT64_MIN  /* the callback failed and holds the reason */

/* Slot to run, DNS_PICK_IDLE or DNS_PICK_ERROR. n >= 1. */
typedef int64_t (*dns_pick_fn)(double now, int64_t n, const double *feat, int64_t ld,
                               const double *param, void *user);
/* Fills out[0..n); the smallest runs, ties by queue order. NaN aborts the run. */
typedef void (*dns_score_fn)(double now, int64_t n, const double *feat, int64_t ld,
                             const double *param, double *out, void *user);

/* When a policy's scores change; decides ring, heap or scan. */
typedef enum dns_class {
    DNS_CLASS_FIFO = 0,    /* queue order */
    DNS_CLASS_ARRIVAL = 1, /* fixed from the push on */
    DNS_CLASS_OWN = 2,     /* changes only at the job's own stage ends */
    DNS_CLASS_TIME = 3,    /* all move with time; a lone job needs no decision */
    DNS_CLASS_PICK = 4     /* anything; asked at every decision */
} dns_class;

typedef struct dns_ctl dns_ctl;
typedef struct dns_choice dns_choice;

/* Hooks of dns_policy.on; `id` is a request id, a resource (IDLE), a pool (TIMER) or a scenario row
 * (USER). */
typedef enum dns_hook {
    DNS_HOOK_PUSH = 0,
    DNS_HOOK_START = 1,
    DNS_HOOK_STAGE_END = 2,
    DNS_HOOK_FINISH = 3,
    DNS_HOOK_IDLE = 4,
    DNS_HOOK_TIMER = 5,
    DNS_HOOK_USER = 6
} dns_hook;
#define DNS_HOOK_BIT(h) (1u << (h))

/* What follows a stage (default: EXIT if the recorded confidence reaches the threshold, else NEXT).
 */
typedef enum dns_outcome {
    DNS_OUT_NEXT = 0,
    DNS_OUT_EXIT = 1, /* answers here */
    DNS_OUT_FAIL = 2, /* ends without an answer */
    DNS_OUT_DROP = 3,
    DNS_OUT_ERROR = -1,
    DNS_OUT_GOTO = 16 /* DNS_OUT_GOTO + stage: continue there */
} dns_outcome;

/* A run chosen by batch(): slots[0..n) of the queue, increasing. The engine presets variant 0 and
 * load -1 (the number of members). n = 0 idles; then wake_s, if finite, asks for a decision at that
 * time. */
struct dns_choice {
    int64_t *slots; /* room for the pool's max_batch */
    int64_t n, room;
    int32_t variant;
    int32_t load;
    int32_t resource; /* -1: the engine's choice */
    double wake_s;
};

typedef struct dns_policy {
    uint32_t abi;
    dns_class klass;
    uint64_t need;      /* columns read (DNS_NEED); only these are kept */
    uint32_t hooks;     /* DNS_HOOK_BIT of the hooks wanted */
    int32_t key_column; /* ARRIVAL, OWN: the key is this column; -1: ask score() */
    double key_sign;    /* +1 smallest runs, -1 largest */
    dns_score_fn score; /* ARRIVAL, OWN without key_column; TIME, PICK without pick */
    dns_pick_fn pick;
    /* 0, or -1 = failed (callback holds the reason) */
    int32_t (*batch)(void *user, dns_ctl *ctl, int64_t n, const double *feat, int64_t ld,
                     const double *param, dns_choice *out);
    int32_t (*outcome)(void *user, dns_ctl *ctl, int64_t id, int32_t stage);
    int32_t (*on)(void *user, dns_ctl *ctl, int32_t hook, int64_t id);
    void *user;
    const double *param; /* copied at bind */
    int32_t n_param;     /* <= DNS_N_PARAM - DNS_PARAM_USER */
} dns_policy;

/* What a hook may do. Times are absolute and not in the past. */
double dns_ctl_now(const dns_ctl *ctl);
int32_t dns_ctl_get_threshold(const dns_ctl *ctl, int32_t owner, int32_t column,
                              double *value); /* 0, -1: no such cell */
int32_t dns_ctl_set_threshold(dns_ctl *ctl, int32_t owner, int32_t column, double value);
double dns_ctl_scenario_value(const dns_ctl *ctl);              /* in a USER hook */
int64_t dns_ctl_queue_length(const dns_ctl *ctl, int32_t pool); /* -1: no such pool */
int32_t dns_ctl_wake(dns_ctl *ctl, int32_t pool,
                     double t_s); /* 0, -1: no such pool, t not later, or no memory */

/* Fills *out with the built-in scheduler of this name (the functions of level `isa`); returns its
 * number of parameters, or -1 if there is none. `param` is left to the caller. */
int dns_sched_get(const char *name, dns_isa isa, dns_policy *out);
/* Name of the i-th built-in scheduler, NULL past the last. */
const char *dns_sched_name(int i);

#endif
