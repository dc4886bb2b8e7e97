/* Bytes -> a random small system with its work: shared by the fuzz target and the random tests.
 *
 * Every byte string describes a valid case. Times are mostly multiples of 1/4 s, so that many
 * events share an instant. Policies are the built-in ones and some whose answers are a hash of what
 * they see: the same view gives the same answer, whatever happened before.
 */
#ifndef DNS_TESTS_SIMGEN_H
#define DNS_TESTS_SIMGEN_H

#include "fuzz/producer.h"
#include "simkit.h"

enum {
    GEN_SAMPLES = 3,
    GEN_OWNERS = 3,
    GEN_COLUMNS = 2,
    GEN_HOMES = 2,
    GEN_LOADS = 4,
    GEN_STATES = 3
};

static inline uint64_t
gen_mix(uint64_t z)
{
    z += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static inline uint64_t
gen_bits(double x)
{
    uint64_t bits = 0;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* A hash of the time and of the queue's requests and their stages. */
static inline uint64_t
gen_view(double now, int64_t n, const double *feat, int64_t ld)
{
    uint64_t h = gen_bits(now);
    for (int64_t i = 0; i < n; i++) {
        h = gen_mix(h ^ gen_bits(feat[DNS_F_JOB * ld + i]));
        h = gen_mix(h ^ gen_bits(feat[DNS_F_STAGE * ld + i]));
        h = gen_mix(h ^ gen_bits(feat[DNS_F_LAST_RUN * ld + i]));
    }
    return h;
}

#define GEN_NEED (DNS_NEED(DNS_F_JOB) | DNS_NEED(DNS_F_STAGE) | DNS_NEED(DNS_F_LAST_RUN))

/* Any slot; one time in eight idle, unless nothing else is left. */
static inline int64_t
gen_pick(double now, int64_t n, const double *feat, int64_t ld, const double *param, void *user)
{
    (void)user;
    uint64_t h = gen_view(now, n, feat, ld);
    h = gen_mix(h ^ gen_bits(param[DNS_P_STATE]) ^ gen_bits(param[DNS_P_RESOURCE]));
    if (h % 8 == 0 && param[DNS_P_FLUSH] == 0.0) {
        return DNS_PICK_IDLE;
    }
    return (int64_t)((h >> 8) % (uint64_t)n);
}

/* Scores by time, request and stage; few distinct values, so that ties are common. */
static inline void
gen_score(double now, int64_t n, const double *feat, int64_t ld, const double *param, double *out,
          void *user)
{
    (void)param;
    (void)user;
    for (int64_t i = 0; i < n; i++) {
        out[i] = (double)(gen_view(now, 1, feat + i, ld) % 4);
    }
}

/* Scores that a request keeps from its push on. */
static inline void
gen_fixed(double now, int64_t n, const double *feat, int64_t ld, const double *param, double *out,
          void *user)
{
    (void)now;
    (void)param;
    (void)user;
    for (int64_t i = 0; i < n; i++) {
        out[i] = (double)(gen_mix(gen_bits(feat[DNS_F_JOB * ld + i])) % 4);
    }
}

/* The oldest and those at its program and stage, up to a hashed number; sometimes waits a little.
 */
static inline int32_t
gen_batch(void *user, dns_ctl *ctl, int64_t n, const double *feat, int64_t ld, const double *param,
          dns_choice *out)
{
    (void)user;
    const double now = dns_ctl_now(ctl);
    const uint64_t h = gen_view(now, n, feat, ld);
    if (h % 4 == 0 && param[DNS_P_FLUSH] == 0.0) {
        out->wake_s = (h & 64) != 0 ? now + 0.25 * (double)(1 + h / 128 % 4) : (double)NAN;
        return 0;
    }
    const int64_t most = 1 + (int64_t)(h / 8 % (uint64_t)out->room);
    for (int64_t i = 0; i < n && out->n < most; i++) {
        if (feat[DNS_F_PROGRAM * ld + i] == feat[DNS_F_PROGRAM * ld] &&
            feat[DNS_F_STAGE * ld + i] == feat[DNS_F_STAGE * ld]) {
            out->slots[out->n++] = i;
        }
    }
    out->variant = (int32_t)(h >> 20 & 1);
    return 0;
}

/* Mostly on; sometimes answers, fails, drops or goes to another stage (never to the program's end).
 */
static inline int32_t
gen_outcome(void *user, dns_ctl *ctl, int64_t id, int32_t stage)
{
    (void)user;
    const uint64_t h =
        gen_mix(gen_bits(dns_ctl_now(ctl)) ^ gen_mix((uint64_t)id * 64 + (uint64_t)stage));
    switch (h % 16) {
    case 0:
        return DNS_OUT_EXIT;
    case 1:
        return DNS_OUT_FAIL;
    case 2:
        return DNS_OUT_DROP;
    case 3:
        return DNS_OUT_GOTO;
    default:
        return DNS_OUT_NEXT;
    }
}

/* Hooks move thresholds and ask for wakes. */
static inline int32_t
gen_hook(void *user, dns_ctl *ctl, int32_t hook, int64_t id)
{
    (void)user;
    const double now = dns_ctl_now(ctl);
    const uint64_t h = gen_mix(gen_bits(now) ^ gen_mix((uint64_t)id * 8 + (uint64_t)hook));
    if (h % 4 == 0) {
        (void)dns_ctl_set_threshold(ctl, (int32_t)(h >> 8 & 1), (int32_t)(h >> 9 & 1),
                                    (double)(h >> 10 & 7) / 8.0);
    }
    if (h % 8 == 1 && hook != DNS_HOOK_IDLE) {
        (void)dns_ctl_wake(ctl, 0, now + 0.5);
    }
    return 0;
}

static inline double
gen_time(fuzz_in *in)
{
    const int64_t kind = fuzz_int(in, 0, 15);
    return kind == 0   ? 0.0
           : kind == 1 ? fuzz_real(in, 0.0, 3.0)
                       : 0.25 * (double)fuzz_int(in, 1, 8);
}

static inline int
gen_table(fuzz_in *in, kit *k, int width, int axes)
{
    double values[256];
    static const int extent[DNS_N_AXIS] = {GEN_SAMPLES, 0, 2, GEN_LOADS, GEN_STATES, 4};
    int rows = 1, by[DNS_N_AXIS] = {0};
    for (int a = 0; a < DNS_N_AXIS; a++) {
        if ((axes >> a & 1) != 0 && extent[a] > 0 && rows * extent[a] * width <= 256) {
            by[a] = rows * width;
            rows *= extent[a];
        }
    }
    for (int i = 0; i < rows * width; i++) {
        values[i] = gen_time(in);
    }
    const int t = kit_table(k, rows * width, values);
    for (int a = 0; a < DNS_N_AXIS; a++) {
        k->tables[t].by[a] = by[a];
        k->tables[t].ext[a] = by[a] > 0 ? extent[a] : 1;
    }
    k->tables[t].pos_shift = (int32_t)fuzz_int(in, 0, 3);
    return t;
}

static inline void
gen_policy(fuzz_in *in, kit *k, int p, dns_isa isa)
{
    dns_policy *policy = &k->policies[p];
    const int64_t kind = fuzz_int(in, 0, 31);
    int n_built_in = 0;
    while (dns_sched_name(n_built_in) != NULL) {
        n_built_in++;
    }
    if (kind < n_built_in) {
        policy->n_param = dns_sched_get(dns_sched_name((int)kind), isa, policy);
        policy->param = k->param;
    }
    else {
        *policy = (dns_policy){
            .abi = DNS_POLICY_ABI, .need = GEN_NEED, .key_column = -1, .key_sign = 1.0};
        static const dns_class classes[] = {DNS_CLASS_PICK, DNS_CLASS_TIME, DNS_CLASS_PICK,
                                            DNS_CLASS_TIME, DNS_CLASS_OWN,  DNS_CLASS_ARRIVAL};
        const int64_t form = (kind - n_built_in) % 7;
        policy->klass = form < 6 ? classes[form] : DNS_CLASS_PICK;
        policy->pick = form < 2 ? gen_pick : NULL;
        policy->score = form < 2 || form == 6 ? NULL : form == 5 ? gen_fixed : gen_score;
        policy->batch = form == 6 ? gen_batch : NULL;
        policy->need |= form == 6 ? DNS_NEED(DNS_F_PROGRAM) : 0;
    }
    k->pools[p].max_batch = policy->batch != NULL ? (int32_t)fuzz_int(in, 1, GEN_LOADS) : 1;
    if (fuzz_int(in, 0, 7) == 0) {
        policy->outcome = gen_outcome;
    }
    if (fuzz_int(in, 0, 3) == 0) {
        policy->hooks = (uint32_t)fuzz_int(in, 0, 127);
        policy->on = gen_hook;
    }
}

static inline void
gen_pools(fuzz_in *in, kit *k, bool artifact, dns_isa isa)
{
    static const double cost[GEN_STATES * GEN_STATES] = {0.0,  0.25, 0.5, 0.75, 0.0,
                                                         0.25, 1.0,  0.5, 0.0};
    const int n = artifact ? 1 : (int)fuzz_int(in, 1, 4);
    for (int p = 0; p < n; p++) {
        kit_pool(k, "fcfs", artifact ? 1 : (int)fuzz_int(in, 1, 3));
        gen_policy(in, k, p, isa);
        k->pools[p].cap = fuzz_int(in, 0, 5) == 0 ? fuzz_int(in, 1, 4) : 0;
        k->pools[p].timer_s =
            artifact || fuzz_int(in, 0, 3) != 0 ? 0.0 : 0.25 * (double)fuzz_int(in, 1, 9);
        for (int r = k->pools[p].res0; r < k->pools[p].res1; r++) {
            const int64_t speed = fuzz_int(in, 0, 7);
            k->res[r].speed = speed < 5 ? 1.0 : speed == 5 ? 2.0 : speed == 6 ? 0.5 : 0.75;
            k->res[r].state = (int32_t)fuzz_int(in, -1, GEN_STATES - 1);
            k->res[r].switch_const_s = 0.25 * (double)fuzz_int(in, 0, 2);
            if (fuzz_int(in, 0, 1) == 0) {
                k->res[r].n_state = GEN_STATES;
                k->res[r].switch_s = cost;
            }
        }
    }
    for (int o = 0; o < GEN_OWNERS * GEN_HOMES; o++) {
        k->home[o] = (int32_t)fuzz_int(in, 0, n - 1);
    }
}

static inline void
gen_program(fuzz_in *in, kit *k, const int *hold, const int *delay, int conf, const int *est)
{
    dns_stage stages[8];
    const int n = (int)fuzz_int(in, 1, 8);
    const int h = hold[fuzz_int(in, 0, 1)];
    const bool plain = fuzz_int(in, 0, 1) == 0; /* all on one pool, unobserved */
    const int pool = (int)fuzz_int(in, 0, k->sys.n_pool - 1);
    int32_t state = fuzz_int(in, 0, 2) == 0 ? (int32_t)fuzz_int(in, DNS_STATE_JOB, GEN_STATES - 1)
                                            : DNS_STATE_NONE;
    if (k->tables[h].by[DNS_AX_STATE] > 0 && state < 0) {
        state = 0; /* the table asks for a state */
    }
    for (int i = 0; i < n; i++) {
        stages[i] = kit_stage(pool, fuzz_int(in, 0, 15) == 0 ? -1 : h, i);
        stages[i].state = state;
        stages[i].load = fuzz_int(in, 0, 7) == 0 ? 0 : 1;
        if (k->tables[h].by[DNS_AX_LOAD] > 0 && stages[i].load == 0) {
            stages[i].load = 1;
        }
        if (plain) {
            continue;
        }
        const int64_t where = fuzz_int(in, 0, 7);
        if (where == 0) {
            stages[i] = kit_stage(DNS_POOL_DELAY, -1, 0);
        }
        else if (where < 4) {
            stages[i].pool = where == 1 ? (int)fuzz_int(in, 0, k->sys.n_pool - 1)
                                        : DNS_POOL_HOME((int)fuzz_int(in, 0, GEN_HOMES - 1));
        }
        stages[i].delay = fuzz_int(in, 0, 3) == 0 ? delay[fuzz_int(in, 0, 1)] : -1;
        stages[i].delay_off = i;
        stages[i].flags =
            stages[i].pool != DNS_POOL_DELAY && fuzz_int(in, 0, 7) == 7 ? DNS_STAGE_CREDIT_END : 0;
        stages[i].conf = fuzz_int(in, 0, 3) == 0 ? (int32_t)fuzz_int(in, 0, GEN_COLUMNS - 1) : -1;
    }
    dns_program *p = kit_program(k, n, stages);
    p->conf = conf;
    p->alone = est[0];
    p->est = est[0];
    p->next = est[1];
    p->iso = est[2];
    p->gamma = est[1];
}

static inline void
gen_rows(fuzz_in *in, kit *k, int most)
{
    const int n = (int)fuzz_int(in, 0, most);
    double t = 0.0;
    for (int i = 0; i < n; i++) {
        t += fuzz_int(in, 0, 2) == 0 ? 0.0 : gen_time(in);
        const int64_t row = kit_row(k, t);
        k->program[row] = (int32_t)fuzz_int(in, 0, k->sys.n_program - 1);
        k->sample[row] = (int32_t)fuzz_int(in, 0, GEN_SAMPLES - 1);
        k->owner[row] = (int32_t)fuzz_int(in, 0, GEN_OWNERS - 1);
        k->pos0[row] = (int32_t)fuzz_int(in, 0, 40);
        k->exit_at[row] = fuzz_int(in, 0, 7) == 0 ? (int32_t)fuzz_int(in, 0, 8) : -1;
        k->deadline[row] = t + gen_time(in) * 4.0;
        k->priority[row] = (double)(1 + fuzz_int(in, 0, 3));
        for (int u = 0; u < 2; u++) {
            k->user[row * DNS_N_USER + u] = (double)fuzz_u8(in);
        }
    }
}

/* Closed loops over some of the rows; thinks at times of `think`. */
static inline void
gen_sources(fuzz_in *in, kit *k, const int *think)
{
    int64_t at = fuzz_int(in, 0, 3);
    while (at < k->work.n && k->sys.n_source < 3) {
        dns_source *c = &k->sources[k->sys.n_source++];
        const bool timed = fuzz_int(in, 0, 1) == 0;
        c->row0 = at;
        c->n = fuzz_int(in, 1, k->work.n - at);
        c->burst = fuzz_int(in, 1, 3);
        c->window = c->burst + fuzz_int(in, 0, 4);
        c->think = fuzz_int(in, 0, 2) == 0 ? -1 : think[fuzz_int(in, 0, 1)];
        c->think_off = fuzz_int(in, 0, 7);
        c->until_s = timed ? gen_time(in) * 4.0 : (double)INFINITY;
        c->n_min = fuzz_int(in, 0, 8);
        at += c->n + fuzz_int(in, 0, 2);
    }
}

/* The whole case. Policies with a C level take that of `isa`. */
static inline void
gen_case(fuzz_in *in, kit *k, dns_isa isa, int most_rows)
{
    const bool artifact = fuzz_int(in, 0, 7) == 0;
    k->sys.clock = artifact ? DNS_CLOCK_ARTIFACT : DNS_CLOCK_MONOTONIC;
    k->sys.n_owner = GEN_OWNERS;
    k->sys.n_column = GEN_COLUMNS;
    k->sys.n_home = GEN_HOMES;
    k->param[0] = 0.25 * (double)fuzz_int(in, 0, 8);
    gen_pools(in, k, artifact, isa);
    const int axes = (int)fuzz_int(in, 0, 63);
    const int hold[2] = {gen_table(in, k, 8, 1), gen_table(in, k, 8, axes)};
    const int delay[2] = {gen_table(in, k, 8, 0), gen_table(in, k, 8, axes & 1)};
    const int conf = gen_table(in, k, GEN_COLUMNS, 1);
    const int est[3] = {gen_table(in, k, 8, 1), gen_table(in, k, 8, 1), gen_table(in, k, 8, 0)};
    const int n = (int)fuzz_int(in, 1, 3);
    for (int p = 0; p < n; p++) {
        gen_program(in, k, hold, delay, conf, est);
    }
    for (int i = 0; i < GEN_OWNERS * GEN_COLUMNS; i++) {
        k->thresholds[i] = 0.25 * (double)fuzz_int(in, 0, 12);
    }
    const int rows = artifact || fuzz_int(in, 0, 2) != 0 ? 0 : (int)fuzz_int(in, 1, 4);
    double t = 0.0;
    for (int i = 0; i < rows; i++) {
        t += gen_time(in);
        if (fuzz_int(in, 0, 2) == 0) {
            kit_at(k, t, DNS_SCN_USER, (int)fuzz_int(in, 0, k->sys.n_pool - 1), 1.0);
        }
        else {
            kit_at(k, t, DNS_SCN_SPEED, (int)fuzz_int(in, 0, k->sys.n_resource - 1),
                   0.5 * (double)fuzz_int(in, 1, 4));
        }
    }
    gen_rows(in, k, most_rows);
    if (!artifact && fuzz_int(in, 0, 2) == 1) {
        gen_sources(in, k, delay);
    }
}

#endif
