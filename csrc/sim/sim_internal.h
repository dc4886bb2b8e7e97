/* Inside of the engine: structures shared by loop.c, queue.c, sim.c, check.c and record.c. */
#ifndef DNS_SIM_INTERNAL_H
#define DNS_SIM_INTERNAL_H

#include <math.h>

#include "dns/sim.h"

/* Event kinds; the order is the tie rule at one instant. */
enum {
    EV_RUN_END = 0,
    EV_MOVE = 1,
    EV_SCENARIO = 2,
    EV_ARRIVAL = 3,
    EV_WAKE = 5,
    EV_TIMER = 6,
    EV_NONE = 7
};
#define EV_KEY(kind, id) (((uint64_t)(kind) << 56) | (uint64_t)(id))
#define EV_KIND(key) ((int)((key) >> 56))
#define EV_ID(key) ((int64_t)((key) & ((UINT64_C(1) << 56) - 1)))

typedef struct sim_event {
    double t;
    uint64_t key;
    uint32_t gen;  /* RUN_END: stale when it differs from the resource's */
    int32_t index; /* MOVE: job slot; SIM_OF_SOURCE(source): release of a burst */
} sim_event;

#define SIM_OF_SOURCE(i) (-1 - (i)) /* its own inverse */

enum { Q_RING, Q_HEAP, Q_SCAN };

typedef struct sim_job {
    const double *row; /* holds of a unit-stride program from its stage 0, else NULL */
    const double *est; /* REMAINING by stage, else NULL */
    double arrival_s, deadline_s, priority, last_s, first_s, service_s, key;
    double priv[2]; /* the policy's columns while the job is out of the queue */
    int64_t id, seq;
    int32_t program, sample, owner, pos0, exit_at;
    int32_t k, stop; /* current stage; first later stage whose beginning the loop must see */
    int32_t n_preempt, last_res, variant, pool;
    bool credited;    /* its source has the credit back */
    bool live, fresh; /* fresh: not yet started since it entered its pool */
} sim_job;

typedef struct sim_program {
    dns_program p;
    int32_t *stop;     /* [n_stage] first later stage whose beginning the loop must see */
    const double *row; /* base of unit-stride holds, else NULL */
    int64_t row_by_sample, row_by_row;
    int64_t n_sample; /* samples that every table of the program has */
    int64_t n_row;    /* ids that every table of the program has */
} sim_program;

typedef struct sim_heap_item {
    double key;
    int64_t seq;
    int32_t job;
} sim_heap_item;

typedef struct sim_pool {
    dns_policy pol;
    int kind;
    bool in_place; /* SCAN with one resource and no batches: the running job keeps its slot */
    bool dirty, external;
    int32_t res0, res1, n_free, max_batch;
    int64_t n, room, limit;
    int64_t head;         /* RING */
    sim_heap_item *heap;  /* HEAP */
    int32_t *job;         /* RING, SCAN */
    int64_t *seq;         /* SCAN */
    double *feat, *score; /* SCAN: columns, room for scores */
    int64_t ld;
    int32_t n_col;
    uint8_t col[DNS_N_FEATURE]; /* the columns kept */
    int64_t *slots;             /* room for a chosen run */
    double timer_s;
    int64_t tick;
    double param[DNS_N_PARAM];
} sim_pool;

typedef struct sim_res {
    int32_t pool, n, variant, load, state, n_state;
    int64_t job_state; /* id of the job held under DNS_STATE_JOB, -1 none */
    int32_t *jobs;
    int64_t slot; /* of the running job in an in-place pool */
    uint32_t gen;
    bool busy;
    double inv_speed, t0_s, t1_s, busy_s, switched_s, switch_const_s;
    const double *switch_s;
} sim_res;

typedef struct sim_source {
    dns_source s;
    int64_t next;    /* first row not chosen */
    int64_t credits; /* back and not used */
    double due_s;    /* latest release of the rows chosen */
} sim_source;

struct dns_ctl {
    struct dns_sim *sim;
    double scenario_value;
};

struct dns_sim {
    dns_alloc alloc;
    dns_system sys;
    dns_table *tables;
    dns_stage *stages;
    sim_program *programs;
    sim_pool *pools;
    sim_res *res;
    dns_scenario *scenario;
    double *thresholds;
    int32_t *home;
    bool go_on, failed, started, want_user;

    dns_work work;
    bool final;
    int64_t cursor, row0; /* next row of the chunk; id of the chunk's first row */
    double last_arrival_s;

    sim_source *sources;
    int64_t n_due;       /* bursts chosen and not released */
    int32_t next_source; /* first one whose rows the cursor has not passed */
    bool begun;          /* the sources have chosen their first rows */

    sim_job *jobs;
    double *user; /* [job room][DNS_N_USER] if any policy reads them */
    int32_t *free_jobs;
    int64_t job_room, n_free_jobs;

    sim_event *ev;
    int64_t n_ev, ev_room, n_timer;
    int32_t scn;

    double now, area_t;
    int64_t seq, n_dirty, fuel, stuck, idle_ticks;
    bool flushed; /* the pools were asked with the flush flag since the last event */
    int32_t asking;
    int64_t chosen; /* CHOSEN_NONE = no answer yet */
    dns_results results;
    dns_sums *sums;
    int64_t *hist;
    int64_t warmup;
    dns_slice *slices;
    int64_t slice_room;
    dns_sim_stats stats;
    dns_ctl ctl;
    dns_error *err; /* of the current call */
};
#define CHOSEN_NONE INT64_C(-2)

/* queue.c */
bool dns_sim_ev_push(dns_sim *s, double t, uint64_t key, uint32_t gen, int32_t index);
sim_event dns_sim_ev_pop(dns_sim *s);
dns_status dns_sim_pool_init(dns_sim *s, sim_pool *p, const dns_pool_spec *spec, int32_t index);
void dns_sim_pool_fini(dns_sim *s, sim_pool *p);
dns_status dns_sim_push(dns_sim *s, sim_pool *p, int32_t ji);
dns_status dns_sim_reinsert(dns_sim *s, sim_pool *p, int32_t ji);
void dns_sim_scan_remove(dns_sim *s, sim_pool *p, int64_t slot);
sim_heap_item dns_sim_heap_pop(sim_pool *p);
double dns_sim_key(dns_sim *s, sim_pool *p, const sim_job *j, double now);
dns_status dns_sim_scan_odd(dns_sim *s, const sim_pool *p, double now, int64_t picked,
                            int64_t *slot);
dns_status dns_sim_scan_scores(dns_sim *s, sim_pool *p, double now, int64_t *slot);
dns_status dns_sim_policy_error(dns_sim *s, const sim_pool *p, double now, int64_t slot,
                                const char *what);

/* check.c */
dns_status dns_sim_check(dns_sim *s, dns_error *err);
dns_status dns_sim_check_reach(const dns_sim *s, int32_t table, int64_t off, int64_t span,
                               const char *what, int64_t index, dns_error *err);
dns_status dns_sim_check_work(const dns_sim *s, const dns_work *w, dns_error *err);

/* source.c */
dns_status dns_sim_check_sources(const dns_sim *s, uint8_t *timed, dns_error *err);
dns_status dns_sim_check_loops(const dns_sim *s, const dns_work *w, dns_error *err);

/* record.c */
void dns_sim_record_finish(dns_sim *s, const sim_job *j, int status, int32_t last_stage);
void dns_sim_record_slice(dns_sim *s, const sim_res *r, int32_t ri);

/* Row of an estimate table for a sample, NULL if the program has none. */
static inline const double *
sim_est_row(const dns_sim *s, int32_t table, int32_t sample)
{
    if (table < 0) {
        return NULL;
    }
    const dns_table *t = &s->tables[table];
    return t->v + t->by[DNS_AX_SAMPLE] * sample;
}

static inline double
sim_est_at(const dns_sim *s, int32_t table, const sim_job *j, double missing)
{
    const double *row = sim_est_row(s, table, j->sample);
    return row == NULL ? missing : row[j->k];
}

/* The columns that a stage end moves. */
static inline void
sim_write_stage(const dns_sim *s, uint64_t need, double *at, int64_t ld, const sim_job *j)
{
    if (need & DNS_NEED(DNS_F_REMAINING)) {
        at[DNS_F_REMAINING * ld] = j->est == NULL ? 0.0 : j->est[j->k];
    }
    if (need & DNS_NEED(DNS_F_LAST_RUN)) {
        at[DNS_F_LAST_RUN * ld] = j->last_s;
    }
    if (need & (DNS_NEED(DNS_F_NEXT) | DNS_NEED(DNS_F_GAMMA) | DNS_NEED(DNS_F_STAGE) |
                DNS_NEED(DNS_F_VARIANT))) {
        const dns_program *g = &s->programs[j->program].p;
        at[DNS_F_NEXT * ld] = sim_est_at(s, g->next, j, 0.0);
        at[DNS_F_GAMMA * ld] = sim_est_at(s, g->gamma, j, 1.0);
        at[DNS_F_STAGE * ld] = j->k;
        at[DNS_F_VARIANT * ld] = j->variant;
    }
}

static inline void
sim_dirty(dns_sim *s, sim_pool *p)
{
    if (!p->dirty) {
        p->dirty = true;
        s->n_dirty++;
    }
}

/* The policy's choice among the waiting slots; DNS_PICK_IDLE is a valid answer. */
static inline dns_status
dns_sim_scan_choose(dns_sim *s, sim_pool *p, double now, int64_t *slot)
{
    s->stats.decisions++;
    s->fuel -= 1 + (p->n >> 4);
    if (p->pol.pick == NULL) {
        return dns_sim_scan_scores(s, p, now, slot);
    }
    const int64_t at = p->pol.pick(now, p->n, p->feat, p->ld, p->param, p->pol.user);
    if (at < 0 || at >= p->n) {
        return dns_sim_scan_odd(s, p, now, at, slot);
    }
    *slot = at;
    return DNS_OK;
}

/* Jobs of a pool that could start now. */
static inline int64_t
sim_waiting(const dns_sim *s, const sim_pool *p)
{
    return p->in_place && s->res[p->res0].busy ? p->n - 1 : p->n;
}

#endif
