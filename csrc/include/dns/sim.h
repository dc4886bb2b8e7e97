/* The discrete-event engine: jobs walk through stages on resources.
 *
 * A job (request) follows a program, an array of stages. A stage holds a resource of a pool for
 * `hold` seconds, alone or in a run of several jobs, then travels `delay` seconds. A pool is a
 * ready queue, its resources and one policy (sched.h). Stage ends are the preemption points.
 * Everything numeric is a cell of a table; the engine draws no random numbers and knows no device.
 * Rows arrive by the clock, or in closed loops by the credits of a source.
 *
 * Events order by (time, kind, id), never by push history: run end, move, scenario, arrival, wake,
 * timer; after all events of an instant the pools with news decide, by index.
 *
 * Life of a simulation: dns_sim_create -> dns_sim_feed (rows, whole or in chunks) -> dns_sim_run
 * until DONE -> read results -> dns_sim_destroy. One thread at a time per object; objects share
 * nothing.
 */
#ifndef DNS_SIM_H
#define DNS_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dns/mem.h"
#include "dns/sched.h"
#include "dns/status.h"

/* v[off + sum by[a]*x[a]]; an absent axis has by 0. x[SAMPLE] = sample, x[ROW] = request id,
 * x[VAR] = variant of the run, x[LOAD] = load - 1, x[STATE] = state of the resource,
 * x[POS] = min((pos0 + step) >> pos_shift, ext - 1). A run takes the maximum over its members. */
enum { DNS_AX_SAMPLE, DNS_AX_ROW, DNS_AX_VAR, DNS_AX_LOAD, DNS_AX_STATE, DNS_AX_POS, DNS_N_AXIS };
typedef struct dns_table {
    const double *v;
    int64_t n; /* cells */
    int64_t by[DNS_N_AXIS], ext[DNS_N_AXIS];
    int32_t pos_shift;
} dns_table;

/* Pool of a stage: an index, or one of these. */
#define DNS_POOL_DELAY (-1)          /* no resource: only the delay */
#define DNS_POOL_HOME(s) (-16 - (s)) /* home[owner][s] */
#define DNS_STATE_NONE (-1)
#define DNS_STATE_JOB (-2) /* the state needed is the job itself: a cost per change of request */

/* Flag of a stage that holds a resource: when it ends and the job goes on, the job's source gets
 * its credit back (dns_source). */
#define DNS_STAGE_CREDIT_END 1u

typedef struct dns_stage {
    int32_t pool;
    int32_t hold, delay; /* tables; -1 = 0 s */
    int32_t state;       /* state the resource must be in; DNS_STATE_* */
    int32_t conf;        /* column of the program's confidence table; -1 none */
    int32_t load;        /* units this job adds to a run's load */
    int64_t hold_off, delay_off;
    uint32_t flags; /* DNS_STAGE_* */
} dns_stage;

typedef struct dns_program {
    int32_t stage0, n_stage;
    int32_t est, next, iso,
        gamma;     /* tables [SAMPLE][stage] that fill REMAINING NEXT ISOLATED GAMMA; -1 none */
    int32_t alone; /* table [SAMPLE]: true isolated seconds, for metrics only; -1 none */
    int32_t conf;  /* table [SAMPLE][column]; -1 none */
} dns_program;

typedef struct dns_pool_spec {
    int32_t res0, res1; /* its resources: res0 <= r < res1 */
    int32_t max_batch;  /* >= 1; runs longer than 1 need policy.batch */
    int32_t external;   /* 1: decisions come from dns_sim_choose */
    int64_t cap;        /* waiting jobs; one more is dropped. <= 0: no bound */
    double timer_s;     /* period of the TIMER hook; 0 none */
    const dns_policy *policy;
} dns_pool_spec;

typedef struct dns_res_spec {
    double speed;           /* > 0: holds last hold/speed */
    int32_t state;          /* at the start; -1 none (the first load is then free) */
    int32_t n_state;        /* extent of switch_s; 0: constant */
    double switch_const_s;  /* every change of state */
    const double *switch_s; /* [from][to], or NULL */
} dns_res_spec;

enum { DNS_SCN_SPEED = 0, DNS_SCN_USER = 1 };
typedef struct dns_scenario {
    double t_s, value;
    int32_t op, target; /* SPEED: resource; USER: pool whose policy hears of it */
} dns_scenario;

/* A closed loop: rows row0 .. row0+n-1 are released by credits instead of by the clock. There are
 * `window` credits and every row out holds one, from the moment it is chosen until it ends (in an
 * answer or not) or a stage with DNS_STAGE_CREDIT_END ends. At time 0 all credits are there: the
 * first rows are released at their arrivals. Whenever `burst` credits have come back, the next
 * `burst` rows (at the end of the source those left) are chosen and released together, `think`
 * seconds later but not before the arrival of the last of them; `think` is read for the first row
 * of the burst. The source ends with its rows, or once n_min rows are chosen and one of them is due
 * at until_s or later (load generators run for a minimum time and a minimum count).
 *
 * For such rows `arrival_s` is the earliest release and `deadline_s` counts from the release; the
 * release is what results call arrival. */
typedef struct dns_source {
    int64_t row0, n;       /* sources by row0; they share no row */
    int64_t window, burst; /* 1 <= burst <= window */
    int64_t n_min;         /* rows; no effect while until_s is inf */
    int64_t think_off;     /* column of the table */
    double until_s;        /* inf: runs through all rows */
    int32_t think;         /* table over SAMPLE, ROW, POS; -1 = 0 s; inf loses the credits */
} dns_source;

typedef enum dns_clock {
    DNS_CLOCK_MONOTONIC = 0,
    /* One pool, one resource: arrivals are read at decisions only, a request that arrives exactly
     * at a decision waits for the next one, and an empty queue takes the next request and sets the
     * clock to its arrival, also backwards (counted as rewinds): the rule of the public
     * Sparse-DySta simulator. */
    DNS_CLOCK_ARTIFACT = 1
} dns_clock;

typedef struct dns_system {
    const dns_table *tables;
    const dns_stage *stages;
    const dns_program *programs;
    const dns_pool_spec *pools;
    const dns_res_spec *resources;
    const dns_scenario *scenario; /* by time */
    const double *thresholds;     /* [n_owner][n_column], start values */
    const int32_t *home;          /* [n_owner][n_home] pools */
    int32_t n_table, n_stage, n_program, n_pool, n_resource, n_scenario;
    int32_t n_owner, n_column, n_home;
    int32_t n_source;
    const dns_source *sources;
    dns_clock clock;
    bool step_each_stage; /* every stage through the event loop (same results, slower) */
} dns_system;

/* Rows in arrival order (each source for itself); NULL columns take the default. Borrowed until the
 * chunk is used up, with sources until the end. */
typedef struct dns_work {
    int64_t n;
    const double *arrival_s;
    const double *deadline_s; /* +inf */
    const double *priority;   /* 1 */
    const int32_t *program;   /* 0 */
    const int32_t *sample;    /* 0 */
    const int32_t *owner;     /* 0 */
    const int32_t *pos0;      /* 0 */
    const int32_t *exit_at;   /* answers after this stage (one with a pool); -1 never early */
    const double *user;       /* [n][DNS_N_USER], 0 */
} dns_work;

enum { DNS_ST_ANSWERED = 0, DNS_ST_FAILED = 1, DNS_ST_DROPPED = 2, DNS_ST_OPEN = 255 };

/* Caller-owned result columns indexed by request id, n entries each; NULL = not recorded. */
typedef struct dns_results {
    int64_t n;
    double *first_start_s, *finish_s, *service_s;
    int32_t *n_preempt, *last_stage, *variant;
    uint8_t *status;
    int64_t *order;    /* ids in completion order */
    double *release_s; /* of an open row its arrival */
} dns_results;

/* Running sums per program, filled at every end of a request. n counts all of them; a dropped or a
 * failed one is a violation too, and has no part in latency_s, latency_max_s, ntt, inv_ntt and the
 * histogram. Latency quantiles come from that histogram, whose bins split each octave in
 * DNS_HIST_SUB equal parts: a quantile read at a bin's middle is off by at most 1/(2*DNS_HIST_SUB)
 * of its value (0.4 %). */
#define DNS_HIST_SUB 128
#define DNS_HIST_EXP0 (-40)
#define DNS_HIST_N (64 * DNS_HIST_SUB + 2) /* [0] below 2^-40 s, [last] from 2^24 s on */
typedef struct dns_sums {
    int64_t n, violations, dropped, failed, preemptions;
    double latency_s, latency_max_s, ntt, inv_ntt, service_s;
    double alone_s; /* isolated times of programs that have them */
    double first_arrival_s, last_arrival_s, last_finish_s;
} dns_sums;
int dns_hist_bin(double latency_s);
double dns_hist_middle(int bin);

typedef struct dns_slice { /* one stage of one run on a resource */
    double t0_s, t1_s;
    int64_t id;
    int32_t resource, stage, program, n;
    int32_t pool, n_preempt; /* times the request had been preempted by then */
} dns_slice;

typedef enum dns_sim_state {
    DNS_SIM_RUNNING = 0,   /* out of fuel: call again */
    DNS_SIM_NEED_ROWS = 1, /* feed the next chunk */
    DNS_SIM_DECISION = 2,  /* an external pool must choose */
    DNS_SIM_DONE = 3,
    DNS_SIM_STALLED = 4 /* jobs wait, nothing will happen */
} dns_sim_state;

typedef struct dns_sim dns_sim;

/* Checks the system once (structs are copied, tables borrowed) and creates an idle simulation. */
DNS_NODISCARD dns_status dns_sim_create(const dns_alloc *a, const dns_system *sys, dns_sim **out,
                                        dns_error *err);
void dns_sim_destroy(dns_sim *sim);

/* Columns to fill; before the first run. */
DNS_NODISCARD dns_status dns_sim_record(dns_sim *sim, const dns_results *results, dns_error *err);
/* Running sums: sums[n_program] and hist[n_program][DNS_HIST_N], caller-owned; skip the first
 * `warmup` completions by request id < warmup. */
DNS_NODISCARD dns_status dns_sim_sums(dns_sim *sim, dns_sums *sums, int64_t *hist, int64_t warmup,
                                      dns_error *err);
/* Keep up to `cap` slices; implies step_each_stage. */
DNS_NODISCARD dns_status dns_sim_slices(dns_sim *sim, dns_slice *slices, int64_t cap,
                                        dns_error *err);

/* Next rows; arrivals must not decrease, across chunks too. `final`: no more will come; a system
 * with sources takes all rows at once. DNS_ERR_VALUE names the first bad row (index = position in
 * the chunk). */
DNS_NODISCARD dns_status dns_sim_feed(dns_sim *sim, const dns_work *work, bool final,
                                      dns_error *err);

/* Simulates until a state other than RUNNING or until about `fuel` units of work (an event, a
 * decision, sixteen scanned slots) are spent. Results do not depend on fuel. */
DNS_NODISCARD dns_status dns_sim_run(dns_sim *sim, int64_t fuel, dns_sim_state *state,
                                     dns_error *err);

/* In DECISION: the pool that asks, its queue (as pick sees it), and the answer. */
int32_t dns_sim_asking(const dns_sim *sim);
const double *dns_sim_queue(const dns_sim *sim, int32_t pool, int64_t *n, int64_t *ld);
DNS_NODISCARD dns_status dns_sim_choose(dns_sim *sim, int64_t slot, dns_error *err);

typedef struct dns_sim_stats {
    double now_s;
    int64_t released, finished, dropped, live, queue_max, stages, decisions, events, rewinds,
        n_slice, lost_slices;
    double queue_area; /* integral of waiting + running jobs over time, job-seconds */
} dns_sim_stats;
void dns_sim_stats_get(const dns_sim *sim, dns_sim_stats *out);
/* Seconds a resource worked / switched state. */
double dns_sim_busy_s(const dns_sim *sim, int32_t resource);
double dns_sim_switch_s(const dns_sim *sim, int32_t resource);
double dns_sim_threshold(const dns_sim *sim, int32_t owner, int32_t column);

#endif
