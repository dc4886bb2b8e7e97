/* Small systems for the engine's tests: arrays of fixed size, one call per part.
 *
 *   kit *k = kit_new();
 *   const int hold = kit_cell(k, 2.0);
 *   kit_pool(k, "fcfs", 1);
 *   kit_program(k, 1, (dns_stage){.hold = hold, .delay = -1, ...});
 *   kit_row(k, 0.0);
 *   CHECK(kit_run(k) == DNS_SIM_DONE);
 *   CHECK_F64(k->finish[0], 2.0);
 *   kit_free(k);
 */
#ifndef DNS_TESTS_SIMKIT_H
#define DNS_TESTS_SIMKIT_H

#include "dns/sim.h"
#include "tap.h"

enum { KIT_ROWS = 2048, KIT_TABLES = 16, KIT_STAGES = 64, KIT_POOLS = 6, KIT_CELLS = 2048 };

typedef struct kit {
    dns_table tables[KIT_TABLES];
    dns_stage stages[KIT_STAGES];
    dns_program programs[8];
    dns_pool_spec pools[KIT_POOLS];
    dns_policy policies[KIT_POOLS];
    dns_res_spec res[16];
    dns_scenario scenario[32];
    dns_source sources[8];
    double thresholds[64], param[4];
    int32_t home[64];
    double cells[KIT_CELLS];
    int n_cells;
    dns_system sys;

    double arrival[KIT_ROWS], deadline[KIT_ROWS], priority[KIT_ROWS];
    int32_t program[KIT_ROWS], sample[KIT_ROWS], owner[KIT_ROWS], pos0[KIT_ROWS], exit_at[KIT_ROWS];
    double user[KIT_ROWS * DNS_N_USER];
    dns_work work;

    double first[KIT_ROWS], finish[KIT_ROWS], service[KIT_ROWS], release[KIT_ROWS];
    int32_t n_preempt[KIT_ROWS], last_stage[KIT_ROWS], variant[KIT_ROWS];
    uint8_t status[KIT_ROWS];
    int64_t order[KIT_ROWS];
    dns_sim *sim;
    dns_sim_state state;
    dns_error err;
    dns_sim_stats stats;
} kit;

static inline kit *
kit_new(void)
{
    kit *k = calloc(1, sizeof *k);
    if (k == NULL) {
        exit(3);
    }
    k->sys.n_owner = 1;
    return k;
}

static inline void
kit_free(kit *k)
{
    dns_sim_destroy(k->sim);
    free(k);
}

/* A table of n cells with columns only: cell `off` of a stage. */
static inline int
kit_table(kit *k, int n, const double *values)
{
    double *v = k->cells + k->n_cells;
    memcpy(v, values, (size_t)n * sizeof *v);
    k->n_cells += n;
    dns_table *t = &k->tables[k->sys.n_table];
    *t = (dns_table){.v = v, .n = n};
    for (int a = 0; a < DNS_N_AXIS; a++) {
        t->ext[a] = 1;
    }
    return k->sys.n_table++;
}

static inline int
kit_cell(kit *k, double value)
{
    return kit_table(k, 1, &value);
}

/* The table's leading dimension runs over an axis, its rows have `width` columns. */
static inline int
kit_axis(kit *k, int axis, int extent, int width, const double *values)
{
    const int t = kit_table(k, extent * width, values);
    k->tables[t].by[axis] = width;
    k->tables[t].ext[axis] = extent;
    return t;
}

static inline int
kit_pool_of(kit *k, dns_policy policy, int n_res)
{
    const int p = k->sys.n_pool++;
    k->policies[p] = policy;
    k->pools[p] = (dns_pool_spec){.res0 = k->sys.n_resource,
                                  .res1 = k->sys.n_resource + n_res,
                                  .max_batch = 1,
                                  .policy = &k->policies[p]};
    for (int i = 0; i < n_res; i++) {
        k->res[k->sys.n_resource++] = (dns_res_spec){.speed = 1.0, .state = -1};
    }
    return p;
}

/* A pool under a built-in scheduler; parameters, if any, are k->param. */
static inline int
kit_pool(kit *k, const char *name, int n_res)
{
    dns_policy policy;
    const int n = dns_sched_get(name, DNS_ISA_GENERIC, &policy);
    if (n < 0) {
        (void)fprintf(stderr, "no scheduler %s\n", name);
        exit(3);
    }
    policy.param = k->param;
    policy.n_param = n;
    return kit_pool_of(k, policy, n_res);
}

/* A stage of `pool` that takes column `off` of table `hold` (-1: 0 s). */
static inline dns_stage
kit_stage(int pool, int hold, int off)
{
    return (dns_stage){.pool = pool,
                       .hold = hold,
                       .delay = -1,
                       .state = DNS_STATE_NONE,
                       .conf = -1,
                       .load = 1,
                       .hold_off = off};
}

/* Adds a program of the n stages; no estimates, no confidence. */
static inline dns_program *
kit_program(kit *k, int n, const dns_stage *stages)
{
    dns_program *p = &k->programs[k->sys.n_program++];
    *p = (dns_program){k->sys.n_stage, n, -1, -1, -1, -1, -1, -1};
    memcpy(k->stages + k->sys.n_stage, stages, (size_t)n * sizeof *stages);
    k->sys.n_stage += n;
    return p;
}

/* n equal stages on pool 0, columns 0.. of table `hold`. */
static inline dns_program *
kit_layers(kit *k, int hold, int n)
{
    dns_stage stages[KIT_STAGES];
    for (int i = 0; i < n; i++) {
        stages[i] = kit_stage(0, hold, i);
    }
    return kit_program(k, n, stages);
}

/* A row with defaults; the caller may change its columns. */
static inline int64_t
kit_row(kit *k, double arrival_s)
{
    const int64_t i = k->work.n++;
    k->arrival[i] = arrival_s;
    k->deadline[i] = (double)INFINITY;
    k->priority[i] = 1.0;
    k->exit_at[i] = -1;
    return i;
}

static inline void
kit_at(kit *k, double t_s, int op, int target, double value)
{
    k->scenario[k->sys.n_scenario++] = (dns_scenario){t_s, value, op, target};
}

/* Points the system's and the work's arrays at the kit's. */
static inline void
kit_wire(kit *k)
{
    dns_system *y = &k->sys;
    y->tables = k->tables;
    y->stages = k->stages;
    y->programs = k->programs;
    y->pools = k->pools;
    y->resources = k->res;
    y->scenario = k->scenario;
    y->sources = k->sources;
    y->thresholds = k->thresholds;
    y->home = k->home;
    dns_work *w = &k->work;
    w->arrival_s = k->arrival;
    w->deadline_s = k->deadline;
    w->priority = k->priority;
    w->program = k->program;
    w->sample = k->sample;
    w->owner = k->owner;
    w->pos0 = k->pos0;
    w->exit_at = k->exit_at;
    w->user = k->user;
}

static inline dns_results
kit_results(kit *k, int64_t n)
{
    return (dns_results){n,          k->first,  k->finish, k->service, k->n_preempt, k->last_stage,
                         k->variant, k->status, k->order,  k->release};
}

static inline void
kit_clear(kit *k, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        k->first[i] = k->finish[i] = k->release[i] = NAN;
        k->service[i] = 0.0;
        k->n_preempt[i] = k->variant[i] = 0;
        k->last_stage[i] = -1;
        k->status[i] = DNS_ST_OPEN;
        k->order[i] = -1;
    }
}

/* Creates the simulation and records every row; DNS_OK or the failure in k->err. */
static inline dns_status
kit_create(kit *k, const dns_alloc *a)
{
    kit_wire(k);
    dns_sim_destroy(k->sim);
    k->sim = NULL;
    kit_clear(k, k->work.n);
    const dns_results r = kit_results(k, k->work.n);
    DNS_TRY(dns_sim_create(a, &k->sys, &k->sim, &k->err));
    return dns_sim_record(k->sim, &r, &k->err);
}

/* Runs until something other than fuel stops the simulation. */
static inline dns_status
kit_go(kit *k, int64_t fuel)
{
    dns_status st = DNS_OK;
    do {
        st = dns_sim_run(k->sim, fuel, &k->state, &k->err);
    } while (st == DNS_OK && k->state == DNS_SIM_RUNNING);
    dns_sim_stats_get(k->sim, &k->stats);
    return st;
}

/* The whole life: create, record, feed, run. */
static inline dns_status
kit_try(kit *k)
{
    DNS_TRY(kit_create(k, NULL));
    DNS_TRY(dns_sim_feed(k->sim, &k->work, true, &k->err));
    return kit_go(k, 1000000);
}

/* As kit_try; a failure is a failed check. Returns the state. */
static inline dns_sim_state
kit_run(kit *k)
{
    const dns_status st = kit_try(k);
    if (!tap_check(st == DNS_OK, __FILE__, __LINE__, "the run succeeds")) {
        printf("#   %s: %s\n", dns_status_name((int)st), k->err.message);
        return DNS_SIM_RUNNING;
    }
    return k->state;
}

#endif
