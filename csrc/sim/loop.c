/* The event loop.
 *
 *   loop: e = first event by (t, kind, id)
 *         e later than now: pools with news decide, by index; then now = e.t
 *         apply e: run end, delay over, scenario row, arrival, wake, timer
 *
 * After a run end `go_on` keeps the resource busy in place: while no other event is due and the
 * pool would choose the same job (or, in a scanned pool, whichever job it chooses), the next stage
 * is added to the clock without an event. It may go on only when no pool has news and the end of
 * the stage is observed by nobody, so the results are the same bytes with and without it; H, the
 * time of the next event, is read after every start of the instant has been queued.
 *
 * Cost: a stage inside go_on is one dependent addition (4 cycles) in FIFO and keyed pools, one scan
 * of the queue in scanned ones; a request costs an arrival, a decision and a run end.
 */
#include <string.h>

#include "sim_internal.h"

static inline dns_status
no_memory(dns_sim *s)
{
    s->failed = true;
    return dns_fail(s->err, DNS_ERR_MEMORY, -1, "no memory for another event");
}

static inline int32_t
more_arrivals(const dns_sim *s)
{
    return s->cursor < s->work.n || !s->final;
}

/* Time of the next event of any kind. Under the artifact clock a request is seen by the first
 * decision strictly after its arrival. */
static inline double
horizon(const dns_sim *s)
{
    double h = s->n_ev > 0 ? s->ev[0].t : (double)INFINITY;
    if (s->cursor < s->work.n) {
        double t = s->work.arrival_s[s->cursor];
        t = s->sys.clock == DNS_CLOCK_ARTIFACT ? nextafter(t, INFINITY) : t;
        h = t < h ? t : h;
    }
    if (s->scn < s->sys.n_scenario && s->scenario[s->scn].t_s < h) {
        h = s->scenario[s->scn].t_s;
    }
    return h;
}

/* A cell by the address rule; DNS_ERR_POLICY when a run's variant, load or the resource's state
 * lies outside of the table (the other axes were checked before). */
static dns_status
cell(dns_sim *s, int32_t table, int64_t off, const sim_job *j, const sim_res *r, double *out)
{
    const dns_table *t = &s->tables[table];
    const int64_t pos = j->pos0 >> t->pos_shift;
    const int64_t x[DNS_N_AXIS] = {
        j->sample,
        j->id,
        r == NULL ? 0 : r->variant,
        r == NULL ? 0 : r->load - 1,
        r == NULL ? 0 : r->state,
        t->by[DNS_AX_POS] != 0 && pos >= t->ext[DNS_AX_POS] ? t->ext[DNS_AX_POS] - 1 : pos};
    int64_t at = off;
    for (int a = 0; a < DNS_N_AXIS; a++) {
        if (t->by[a] != 0) {
            if (x[a] < 0 || x[a] >= t->ext[a]) {
                s->failed = true;
                return dns_fail(
                    s->err, DNS_ERR_POLICY, j->id,
                    "table %d: index %lld of axis %d (sample, row, variant, load, state, position) "
                    "is outside 0..%lld for request %lld",
                    (int)table, (long long)x[a], a, (long long)t->ext[a] - 1, (long long)j->id);
            }
            at += t->by[a] * x[a];
        }
    }
    *out = t->v[at];
    return DNS_OK;
}

/* Seconds at unit speed that job j holds resource r in its current stage. */
static inline dns_status
hold(dns_sim *s, const sim_job *j, const sim_res *r, double *out)
{
    if (j->row != NULL) {
        *out = j->row[j->k];
        return DNS_OK;
    }
    const dns_stage *st = &s->stages[s->programs[j->program].p.stage0 + j->k];
    if (st->hold < 0) {
        *out = 0.0;
        return DNS_OK;
    }
    return cell(s, st->hold, st->hold_off, j, r, out);
}

static inline const dns_stage *
stage_of(const dns_sim *s, const sim_job *j)
{
    return &s->stages[s->programs[j->program].p.stage0 + j->k];
}

/* Seconds to bring the resource into the state that the job's stage needs; changes the state. */
static inline double
switch_state(sim_res *r, const dns_stage *st, const sim_job *j)
{
    if (st->state == DNS_STATE_NONE) {
        return 0.0;
    }
    if (st->state == DNS_STATE_JOB) {
        const bool change = r->job_state != j->id;
        const bool first = r->job_state < 0;
        r->job_state = j->id;
        return change && !first ? r->switch_const_s : 0.0;
    }
    const int32_t from = r->state;
    r->state = st->state;
    if (from < 0 || from == st->state) {
        return 0.0;
    }
    return r->switch_s != NULL ? r->switch_s[(int64_t)from * r->n_state + st->state]
                               : r->switch_const_s;
}

/* Bookkeeping of a job that starts a stage at `now`. */
static inline void
job_starts(sim_job *j, double now, int32_t ri)
{
    if (isnan(j->first_s)) {
        j->first_s = now;
    }
    else if (!j->fresh && now != j->last_s) {
        j->n_preempt++;
    }
    j->fresh = false;
    j->last_res = ri;
}

static inline void
set_params(dns_sim *s, sim_pool *p, int32_t ri)
{
    p->param[DNS_P_RESOURCE] = ri;
    p->param[DNS_P_STATE] = s->res[ri].state;
    p->param[DNS_P_N_RUNNING] = p->res1 - p->res0 - p->n_free;
    p->param[DNS_P_MORE_ARRIVALS] = more_arrivals(s);
}

static dns_status
hook(dns_sim *s, sim_pool *p, dns_hook h, int64_t id)
{
    if ((p->pol.hooks & DNS_HOOK_BIT(h)) == 0) {
        return DNS_OK;
    }
    if (p->pol.on(p->pol.user, &s->ctl, (int32_t)h, id) != 0) {
        return dns_sim_policy_error(s, p, s->now, DNS_PICK_ERROR, "a hook failed");
    }
    return DNS_OK;
}

/* Starts the run r->jobs[0..n) now. */
static dns_status
start(dns_sim *s, sim_pool *p, int32_t ri)
{
    sim_res *r = &s->res[ri];
    const sim_job *lead = &s->jobs[r->jobs[0]];
    const double sw = switch_state(r, stage_of(s, lead), lead);
    double longest = 0.0;
    for (int32_t i = 0; i < r->n; i++) {
        double h = 0.0;
        DNS_TRY(hold(s, &s->jobs[r->jobs[i]], r, &h));
        longest = h > longest ? h : longest;
    }
    const double d = longest * r->inv_speed;
    r->t0_s = s->now + sw;
    r->t1_s = r->t0_s + d;
    r->busy_s += d;
    r->switched_s += sw;
    r->busy = true;
    p->n_free--;
    s->stats.stages += r->n;
    for (int32_t i = 0; i < r->n; i++) {
        sim_job *j = &s->jobs[r->jobs[i]];
        job_starts(j, s->now, ri);
        j->service_s += d;
        j->variant = r->variant;
        DNS_TRY(hook(s, p, DNS_HOOK_START, j->id));
    }
    if (isfinite(r->t1_s) && !dns_sim_ev_push(s, r->t1_s, EV_KEY(EV_RUN_END, ri), r->gen, 0)) {
        return no_memory(s);
    }
    return DNS_OK;
}

/* -- in place -------------------------------------------------------------------------------- */

typedef struct run_sums {
    double t, service, busy;
    int64_t stages;
} run_sums;

/* One more stage of the running job: k has been advanced. */
static inline dns_status
add_stage(dns_sim *s, const sim_job *j, sim_res *r, run_sums *a)
{
    double h = 0.0;
    if (j->row == NULL) {
        r->load = stage_of(s, j)->load;
    }
    DNS_TRY(hold(s, j, r, &h));
    const double d = h * r->inv_speed;
    a->service += d;
    a->busy += d;
    a->t += d;
    a->stages++;
    return DNS_OK;
}

/* FIFO and fixed keys: nobody overtakes before the next event. */
static inline dns_status
run_on(dns_sim *s, sim_job *j, sim_res *r, double h, run_sums *a)
{
    if (j->row == NULL) {
        while (a->t < h && j->k + 1 < j->stop) {
            j->k++;
            DNS_TRY(add_stage(s, j, r, a));
        }
        return DNS_OK;
    }
    const double *row = j->row;
    const double inv = r->inv_speed;
    double t = a->t, service = a->service, busy = a->busy;
    int32_t k = j->k;
    const int32_t last = j->stop - 1, k0 = k;
    while (t < h && k < last) {
        const double d = row[++k] * inv;
        service += d;
        busy += d;
        t += d;
    }
    *a = (run_sums){t, service, busy, a->stages + (k - k0)};
    j->k = k;
    return DNS_OK;
}

/* Keys that move with the job's own stages: on while (key, seq) precedes the heap's top. */
static inline dns_status
run_keyed(dns_sim *s, sim_pool *p, sim_job *j, sim_res *r, double h, run_sums *a)
{
    const double top = p->heap[0].key;
    const bool wins_tie = j->seq < p->heap[0].seq;
    const bool by_estimate = p->pol.key_column == DNS_F_REMAINING && j->est != NULL;
    while (a->t < h && j->k + 1 < j->stop) {
        double key = 0.0;
        const double last_s = j->last_s;
        j->k++;
        j->last_s = a->t;
        if (by_estimate) {
            key = p->pol.key_sign * j->est[j->k];
        }
        else {
            key = dns_sim_key(s, p, j);
        }
        if (!(key < top || (key == top && wins_tie))) {
            j->k--;
            j->last_s = last_s;
            break;
        }
        DNS_TRY(add_stage(s, j, r, a));
    }
    return DNS_OK;
}

/* A scanned pool with one resource: decisions between the stages, as long as nothing else happens.
 * *idle: the policy chose to wait; the resource is then free at a->t. */
static dns_status
run_scan(dns_sim *s, sim_pool *p, sim_res *r, int32_t ri, double h, run_sums *a, bool *idle)
{
    int32_t ji = r->jobs[0];
    sim_job *j = &s->jobs[ji];
    int64_t slot = r->slot;
    const bool ask_alone = p->pol.klass == DNS_CLASS_PICK;
    p->n_free++;
    set_params(s, p, ri);
    p->n_free--;
    while (a->t < h && j->k + 1 < j->stop && s->fuel > 0) {
        j->k++;
        j->last_s = a->t;
        sim_write_stage(s, p->pol.need, p->feat + slot, p->ld, j);
        int64_t next = slot;
        if (p->n > 1 || ask_alone) {
            DNS_TRY(dns_sim_scan_choose(s, p, a->t, &next));
        }
        if (next == slot) {
            DNS_TRY(add_stage(s, j, r, a));
            continue;
        }
        j->service_s = a->service;
        if (next < 0) {
            *idle = true;
            return DNS_OK;
        }
        slot = next;
        ji = p->job[slot];
        j = &s->jobs[ji];
        r->jobs[0] = ji;
        r->slot = slot;
        const double sw = switch_state(r, stage_of(s, j), j);
        job_starts(j, a->t, ri);
        j->variant = 0;
        r->switched_s += sw;
        a->t += sw;
        a->service = j->service_s;
        DNS_TRY(add_stage(s, j, r, a));
    }
    return DNS_OK;
}

/* Called at a run end, its event already taken. *went: the resource went on (or was freed by an
 * idle decision) and the run end needs no further handling. */
static dns_status
go_on(dns_sim *s, int32_t ri, double t, bool *went)
{
    sim_res *r = &s->res[ri];
    sim_pool *p = &s->pools[r->pool];
    sim_job *j = &s->jobs[r->jobs[0]];
    if (s->n_dirty > 0 || r->n != 1 || j->k + 1 >= j->stop || p->external) {
        return DNS_OK;
    }
    const double h = horizon(s);
    if (!(t < h)) {
        return DNS_OK;
    }
    const int32_t k0 = j->k;
    run_sums a = {t, j->service_s, r->busy_s, 0};
    bool idle = false;
    if (p->kind == Q_SCAN) {
        if (!p->in_place) {
            return DNS_OK;
        }
        DNS_TRY(run_scan(s, p, r, ri, h, &a, &idle));
        j = &s->jobs[r->jobs[0]];
    }
    else if (p->n > 0 &&
             (p->kind == Q_RING ? s->jobs[p->job[p->head]].seq < j->seq
                                : p->pol.klass == DNS_CLASS_ARRIVAL &&
                                      !(j->key < p->heap[0].key ||
                                        (j->key == p->heap[0].key && j->seq < p->heap[0].seq)))) {
        return DNS_OK;
    }
    else if (p->n > 0 && p->kind == Q_HEAP && p->pol.klass == DNS_CLASS_OWN) {
        DNS_TRY(run_keyed(s, p, j, r, h, &a));
        if (j->k == k0) {
            return DNS_OK;
        }
    }
    else {
        DNS_TRY(run_on(s, j, r, h, &a));
    }
    r->busy_s = a.busy;
    s->stats.stages += a.stages;
    *went = true;
    if (idle) {
        s->now = a.t;
        r->busy = false;
        r->n = 0;
        p->n_free++;
        return DNS_OK;
    }
    j->service_s = a.service;
    r->t1_s = a.t;
    if (isfinite(a.t) && !dns_sim_ev_push(s, a.t, EV_KEY(EV_RUN_END, ri), r->gen, 0)) {
        return no_memory(s);
    }
    return DNS_OK;
}

/* -- the way of a job ------------------------------------------------------------------------- */

static dns_status enter(dns_sim *s, int32_t ji);

static inline void
area(dns_sim *s)
{
    s->stats.queue_area += (double)s->stats.live * (s->now - s->area_t);
    s->area_t = s->now;
}

static dns_status
finish(dns_sim *s, int32_t ji, int status, int32_t last_stage)
{
    sim_job *j = &s->jobs[ji];
    area(s);
    dns_sim_record_finish(s, j, status, last_stage);
    s->stats.live--;
    if (status == DNS_ST_DROPPED) {
        s->stats.dropped++;
    }
    s->stats.finished++;
    j->live = false;
    s->free_jobs[s->n_free_jobs++] = ji;
    return j->pool >= 0 ? hook(s, &s->pools[j->pool], DNS_HOOK_FINISH, j->id) : DNS_OK;
}

/* The next stage, or the answer. */
static dns_status
leave(dns_sim *s, int32_t ji)
{
    sim_job *j = &s->jobs[ji];
    if (j->k + 1 >= s->programs[j->program].p.n_stage) {
        return finish(s, ji, DNS_ST_ANSWERED, j->k);
    }
    j->k++;
    return enter(s, ji);
}

/* Travel time after the current stage. */
static inline dns_status
delay_of(dns_sim *s, const sim_job *j, const dns_stage *st, const sim_res *r, double *d)
{
    *d = 0.0;
    return st->delay < 0 ? DNS_OK : cell(s, st->delay, st->delay_off, j, r, d);
}

/* Leaves after `d` seconds, by a MOVE event (none if that is never). */
static dns_status
travel(dns_sim *s, int32_t ji, double d)
{
    if (isfinite(d) &&
        !dns_sim_ev_push(s, s->now + d, EV_KEY(EV_MOVE, s->jobs[ji].id), 0, ji)) {
        return no_memory(s);
    }
    return DNS_OK;
}

static inline int32_t
pool_of(const dns_sim *s, const dns_stage *st, const sim_job *j)
{
    return st->pool >= DNS_POOL_DELAY
               ? st->pool
               : s->home[(int64_t)j->owner * s->sys.n_home + (-16 - st->pool)];
}

static inline void
set_stop(const dns_sim *s, sim_job *j)
{
    j->stop = s->stop[s->programs[j->program].p.stage0 + j->k];
    if (j->exit_at >= j->k && j->exit_at + 1 < j->stop) {
        j->stop = j->exit_at + 1;
    }
}

static dns_status
enter(dns_sim *s, int32_t ji)
{
    sim_job *j = &s->jobs[ji];
    const dns_stage *st = stage_of(s, j);
    const int32_t pi = pool_of(s, st, j);
    if (pi == DNS_POOL_DELAY) {
        double d = 0.0;
        DNS_TRY(delay_of(s, j, st, NULL, &d));
        return travel(s, ji, d);
    }
    sim_pool *p = &s->pools[pi];
    j->pool = pi;
    j->fresh = true;
    set_stop(s, j);
    if (sim_waiting(s, p) >= p->limit) {
        return finish(s, ji, DNS_ST_DROPPED, j->k - 1);
    }
    DNS_TRY(dns_sim_push(s, p, ji));
    if (p->n > s->stats.queue_max) {
        s->stats.queue_max = p->n;
    }
    sim_dirty(s, p);
    return hook(s, p, DNS_HOOK_PUSH, j->id);
}

/* What the end of the current stage means for the job. */
static dns_status
outcome(dns_sim *s, sim_pool *p, sim_job *j, const dns_stage *st, int32_t *out)
{
    *out = DNS_OUT_NEXT;
    if (j->exit_at == j->k) {
        *out = DNS_OUT_EXIT;
    }
    else if (p->pol.outcome != NULL) {
        *out = p->pol.outcome(p->pol.user, &s->ctl, j->id, j->k);
        const int32_t n = s->programs[j->program].p.n_stage;
        if (*out < 0 || (*out > DNS_OUT_DROP && *out < DNS_OUT_GOTO) || *out >= DNS_OUT_GOTO + n) {
            return dns_sim_policy_error(s, p, s->now, *out == DNS_OUT_ERROR ? DNS_PICK_ERROR : 0,
                                        "outcome() failed or is out of range");
        }
    }
    else if (st->conf >= 0) {
        const dns_table *t = &s->tables[s->programs[j->program].p.conf];
        const double c = t->v[t->by[DNS_AX_SAMPLE] * j->sample + st->conf];
        if (c >= s->thresholds[(int64_t)j->owner * s->sys.n_column + st->conf]) {
            *out = DNS_OUT_EXIT;
        }
    }
    return DNS_OK;
}

/* The job's stage ended now on resource r. `slot` >= 0: it still stands there in its pool's queue.
 */
static dns_status
stage_end(dns_sim *s, sim_pool *p, int32_t ji, int64_t slot, const sim_res *r)
{
    sim_job *j = &s->jobs[ji];
    const dns_stage *st = stage_of(s, j);
    int32_t o = DNS_OUT_NEXT;
    j->last_s = s->now;
    DNS_TRY(hook(s, p, DNS_HOOK_STAGE_END, j->id));
    DNS_TRY(outcome(s, p, j, st, &o));
    const int32_t n = s->programs[j->program].p.n_stage;
    double d = 0.0;
    if (o == DNS_OUT_NEXT) {
        DNS_TRY(delay_of(s, j, st, r, &d));
    }
    const bool stays =
        o == DNS_OUT_NEXT && !(d > 0.0) && j->k + 1 < n && (st + 1)->pool == st->pool;
    sim_dirty(s, p);
    if (stays) {
        j->k++;
        set_stop(s, j);
        if (slot >= 0) {
            sim_write_stage(s, p->pol.need, p->feat + slot, p->ld, j);
            return DNS_OK;
        }
        return dns_sim_reinsert(s, p, ji);
    }
    if (slot >= 0) {
        dns_sim_scan_remove(s, p, slot);
    }
    switch (o) {
    case DNS_OUT_NEXT:
        return d > 0.0 ? travel(s, ji, d) : leave(s, ji);
    case DNS_OUT_EXIT:
        return finish(s, ji, DNS_ST_ANSWERED, j->k);
    case DNS_OUT_FAIL:
        return finish(s, ji, DNS_ST_FAILED, j->k);
    case DNS_OUT_DROP:
        return finish(s, ji, DNS_ST_DROPPED, j->k);
    default:
        j->k = o - DNS_OUT_GOTO;
        return enter(s, ji);
    }
}

static dns_status
end_run(dns_sim *s, int32_t ri)
{
    sim_res *r = &s->res[ri];
    sim_pool *p = &s->pools[r->pool];
    const int32_t n = r->n;
    const int64_t bound = 1000 + 8 * (s->stats.live + 1) * (int64_t)s->sys.n_stage;
    if (++s->stuck > bound) {
        s->failed = true;
        return dns_fail(s->err, DNS_ERR_LIVELOCK, s->jobs[r->jobs[0]].id,
                        "stages of zero length repeat without end at t = %.9g s", s->now);
    }
    dns_sim_record_slice(s, r, ri);
    r->busy = false;
    p->n_free++;
    for (int32_t i = 0; i < n; i++) {
        DNS_TRY(stage_end(s, p, r->jobs[i], p->in_place ? r->slot : -1, r));
    }
    r->n = 0;
    return DNS_OK;
}

/* -- arrivals ---------------------------------------------------------------------------------- */

static dns_status
grow_jobs(dns_sim *s)
{
    const size_t old = (size_t)s->job_room, room = old * 2, n_user = s->want_user ? DNS_N_USER : 0;
    const dns_alloc *a = &s->alloc;
    sim_job *jobs = dns_mem_new(a, room, sizeof *jobs);
    int32_t *list = dns_mem_new(a, room, sizeof *list);
    double *user = dns_mem_new(a, room * n_user, sizeof *user);
    if (jobs == NULL || list == NULL || user == NULL || room > INT32_MAX) {
        dns_mem_free(a, jobs, room, sizeof *jobs);
        dns_mem_free(a, list, room, sizeof *list);
        dns_mem_free(a, user, room * n_user, sizeof *user);
        return no_memory(s);
    }
    memcpy(jobs, s->jobs, old * sizeof *jobs);
    memcpy(user, s->user, old * n_user * sizeof *user);
    dns_mem_free(a, s->jobs, old, sizeof *jobs);
    dns_mem_free(a, s->free_jobs, old, sizeof *list);
    dns_mem_free(a, s->user, old * n_user, sizeof *user);
    s->jobs = jobs;
    s->free_jobs = list;
    s->user = user;
    s->job_room = (int64_t)room;
    for (size_t i = room; i-- > old;) {
        s->free_jobs[s->n_free_jobs++] = (int32_t)i;
    }
    return DNS_OK;
}

/* Row `cursor` of the chunk becomes a job now. */
static dns_status
release(dns_sim *s)
{
    const int64_t i = s->cursor;
    const dns_work *w = &s->work;
    if (s->n_free_jobs == 0) {
        DNS_TRY(grow_jobs(s));
    }
    const int32_t ji = s->free_jobs[--s->n_free_jobs];
    sim_job *j = &s->jobs[ji];
    s->cursor++;
    area(s);
    s->stats.live++;
    s->stats.released++;
    s->flushed = false;
    const double arrival = w->arrival_s[i];
    *j = (sim_job){
        .arrival_s = arrival,
        .deadline_s = w->deadline_s != NULL ? w->deadline_s[i] : (double)INFINITY,
        .priority = w->priority != NULL ? w->priority[i] : 1.0,
        .last_s = arrival,
        .first_s = NAN,
        .id = s->row0 + i,
        .program = w->program != NULL ? w->program[i] : 0,
        .sample = w->sample != NULL ? w->sample[i] : 0,
        .owner = w->owner != NULL ? w->owner[i] : 0,
        .pos0 = w->pos0 != NULL ? w->pos0[i] : 0,
        .exit_at = w->exit_at != NULL ? w->exit_at[i] : -1,
        .last_res = -1,
        .pool = -1,
        .live = true,
    };
    const sim_program *g = &s->programs[j->program];
    if (g->row != NULL) {
        j->row = g->row + g->row_by_sample * j->sample + g->row_by_row * j->id;
    }
    j->est = sim_est_row(s, g->p.est, j->sample);
    if (s->want_user) {
        double *user = s->user + (int64_t)ji * DNS_N_USER;
        if (w->user != NULL) {
            memcpy(user, w->user + i * DNS_N_USER, DNS_N_USER * sizeof *user);
        }
        else {
            memset(user, 0, DNS_N_USER * sizeof *user);
        }
    }
    return enter(s, ji);
}

/* Artifact clock: what a decision at `now` sees. */
static dns_status
read_arrivals(dns_sim *s, const sim_pool *p)
{
    if (p->n == 0 && s->cursor < s->work.n) {
        const double t = s->work.arrival_s[s->cursor];
        s->stats.rewinds += t < s->now;
        s->now = t;
        return release(s);
    }
    while (s->cursor < s->work.n && s->work.arrival_s[s->cursor] < s->now) {
        DNS_TRY(release(s));
    }
    return DNS_OK;
}

/* -- decisions ----------------------------------------------------------------------------------
 */

/* The resource for a run: the job's last if it is free and of this pool, else the lowest free one.
 */
static int32_t
free_resource(const dns_sim *s, const sim_pool *p, int32_t last)
{
    if (last >= p->res0 && last < p->res1 && !s->res[last].busy) {
        return last;
    }
    int32_t r = p->res0;
    while (s->res[r].busy) {
        r++;
    }
    return r;
}

/* Takes one job out of the queue (in-place pools keep it in its slot) and starts it alone. */
static dns_status
start_one(dns_sim *s, sim_pool *p, int32_t ji, int64_t slot)
{
    const int32_t ri = free_resource(s, p, s->jobs[ji].last_res);
    sim_res *r = &s->res[ri];
    if (slot >= 0) {
        if (p->in_place) {
            r->slot = slot;
        }
        else {
            dns_sim_scan_remove(s, p, slot);
        }
    }
    r->jobs[0] = ji;
    r->n = 1;
    r->variant = 0;
    r->load = stage_of(s, &s->jobs[ji])->load;
    return start(s, p, ri);
}

/* Asks batch() and starts the run that it chose. *idle when it chose none. */
static dns_status
start_batch(dns_sim *s, sim_pool *p, int32_t pi, bool *idle)
{
    dns_choice c = {
        .slots = p->slots, .room = p->max_batch, .load = -1, .resource = -1, .wake_s = NAN};
    s->stats.decisions++;
    s->fuel -= 1 + (p->n >> 4);
    if (p->pol.batch(p->pol.user, &s->ctl, p->n, p->feat, p->ld, p->param, &c) != 0) {
        return dns_sim_policy_error(s, p, s->now, DNS_PICK_ERROR, "batch() failed");
    }
    if (c.n == 0) {
        *idle = true;
        if (!isnan(c.wake_s) && dns_ctl_wake(&s->ctl, pi, c.wake_s) != 0) {
            return dns_sim_policy_error(s, p, s->now, 0, "batch() asked to wake in the past");
        }
        return DNS_OK;
    }
    if (c.n < 0 || c.n > p->max_batch) {
        return dns_sim_policy_error(s, p, s->now, 0, "batch() chose more requests than max_batch");
    }
    const int64_t only = c.n == 1 ? c.slots[0] : -1;
    const int32_t last = only >= 0 && only < p->n ? s->jobs[p->job[only]].last_res : -1;
    const int32_t ri = c.resource >= 0 ? c.resource : free_resource(s, p, last);
    if (ri < p->res0 || ri >= p->res1 || s->res[ri].busy) {
        return dns_sim_policy_error(s, p, s->now, 0,
                                    "batch() chose a resource that is not free here");
    }
    sim_res *r = &s->res[ri];
    int32_t load = 0;
    for (int64_t i = 0; i < c.n; i++) {
        const int64_t slot = c.slots[i];
        if (slot < 0 || slot >= p->n || (i > 0 && slot <= c.slots[i - 1])) {
            return dns_sim_policy_error(s, p, s->now, 0,
                                        "batch() must give increasing slots of the queue");
        }
        r->jobs[i] = p->job[slot];
        const sim_job *j = &s->jobs[r->jobs[i]];
        const sim_job *lead = &s->jobs[r->jobs[0]];
        if (j->program != lead->program || j->k != lead->k) {
            return dns_sim_policy_error(s, p, s->now, slot,
                                        "batch() mixed programs or stages in one run");
        }
        load += stage_of(s, j)->load;
    }
    for (int64_t i = c.n - 1; i >= 0; i--) {
        dns_sim_scan_remove(s, p, c.slots[i]);
    }
    r->n = (int32_t)c.n;
    r->variant = c.variant;
    r->load = c.load >= 0 ? c.load : load;
    return start(s, p, ri);
}

/* One decision of a scanned pool. */
static dns_status
decide_scan(dns_sim *s, sim_pool *p, int32_t pi, bool *idle)
{
    set_params(s, p, free_resource(s, p, -1));
    if (p->pol.batch != NULL && !p->external) {
        return start_batch(s, p, pi, idle);
    }
    int64_t slot = 0;
    if (p->external) {
        if (s->chosen == CHOSEN_NONE) {
            s->asking = pi;
            return DNS_OK;
        }
        slot = s->chosen;
        s->chosen = CHOSEN_NONE;
    }
    else if (p->n > 1 || p->pol.klass == DNS_CLASS_PICK) {
        DNS_TRY(dns_sim_scan_choose(s, p, s->now, &slot));
    }
    if (slot < 0) {
        *idle = true;
        return DNS_OK;
    }
    return start_one(s, p, p->job[slot], slot);
}

/* Fills the free resources of pool pi. Leaves it dirty when it waits for an outside answer. */
static dns_status
decide(dns_sim *s, int32_t pi)
{
    sim_pool *p = &s->pools[pi];
    bool idle = false;
    p->dirty = false;
    s->n_dirty--;
    if (s->sys.clock == DNS_CLOCK_ARTIFACT && p->n_free > 0) {
        DNS_TRY(read_arrivals(s, p));
        if (p->dirty) { /* the arrivals just read */
            p->dirty = false;
            s->n_dirty--;
        }
    }
    while (p->n_free > 0 && p->n > 0 && !idle) {
        if (p->kind == Q_RING) {
            const int32_t ji = p->job[p->head];
            p->head = (p->head + 1) & (p->room - 1);
            p->n--;
            DNS_TRY(start_one(s, p, ji, -1));
        }
        else if (p->kind == Q_HEAP) {
            DNS_TRY(start_one(s, p, dns_sim_heap_pop(p).job, -1));
        }
        else {
            DNS_TRY(decide_scan(s, p, pi, &idle));
            if (s->asking >= 0) {
                sim_dirty(s, p);
                return DNS_OK;
            }
        }
    }
    if (p->n_free > 0 && (p->pol.hooks & DNS_HOOK_BIT(DNS_HOOK_IDLE))) {
        return hook(s, p, DNS_HOOK_IDLE, free_resource(s, p, -1));
    }
    return DNS_OK;
}

static dns_status
decide_all(dns_sim *s)
{
    for (int32_t pi = 0; pi < s->sys.n_pool; pi++) {
        if (s->pools[pi].dirty) {
            DNS_TRY(decide(s, pi));
            if (s->asking >= 0) {
                return DNS_OK;
            }
        }
    }
    return DNS_OK;
}

/* Nothing but timers is left: every pool with waiting jobs decides once with the flush flag.
 * *progress if that started a run or made an event. */
static dns_status
flush(dns_sim *s, bool *progress)
{
    const int64_t stages = s->stats.stages, events = s->n_ev - s->n_timer;
    for (int32_t pi = 0; pi < s->sys.n_pool; pi++) {
        sim_pool *p = &s->pools[pi];
        p->param[DNS_P_FLUSH] = 1.0;
        if (sim_waiting(s, p) > 0) {
            sim_dirty(s, p);
        }
    }
    const dns_status st = decide_all(s);
    for (int32_t pi = 0; pi < s->sys.n_pool; pi++) {
        s->pools[pi].param[DNS_P_FLUSH] = 0.0;
    }
    *progress = s->stats.stages != stages || s->n_ev - s->n_timer != events || s->asking >= 0;
    return st;
}

/* -- the loop ------------------------------------------------------------------------------------
 */

static void
set_speed(dns_sim *s, const dns_scenario *row)
{
    sim_res *r = &s->res[row->target];
    const double old = r->inv_speed;
    r->inv_speed = 1.0 / row->value;
    if (r->busy && isfinite(r->t1_s)) {
        const double from = s->now > r->t0_s ? s->now : r->t0_s;
        const double t1 = from + (r->t1_s - from) * (r->inv_speed / old);
        r->busy_s += t1 - r->t1_s;
        for (int32_t i = 0; i < r->n; i++) {
            s->jobs[r->jobs[i]].service_s += t1 - r->t1_s;
        }
        r->t1_s = t1;
        r->gen++;
    }
}

static dns_status
apply_scenario(dns_sim *s)
{
    const int32_t i = s->scn++;
    const dns_scenario *row = &s->scenario[i];
    s->flushed = false;
    if (row->op == DNS_SCN_USER) {
        sim_pool *p = &s->pools[row->target];
        s->ctl.scenario_value = row->value;
        sim_dirty(s, p);
        return hook(s, p, DNS_HOOK_USER, i);
    }
    const uint32_t gen = s->res[row->target].gen;
    set_speed(s, row);
    const sim_res *r = &s->res[row->target];
    if (r->gen != gen && !dns_sim_ev_push(s, r->t1_s, EV_KEY(EV_RUN_END, row->target), r->gen, 0)) {
        return no_memory(s);
    }
    return DNS_OK;
}

static dns_status
apply_timer(dns_sim *s, int32_t pi)
{
    sim_pool *p = &s->pools[pi];
    p->tick++;
    sim_dirty(s, p);
    DNS_TRY(hook(s, p, DNS_HOOK_TIMER, pi));
    if (!dns_sim_ev_push(s, (double)(p->tick + 1) * p->timer_s, EV_KEY(EV_TIMER, pi), 0, 0)) {
        return no_memory(s);
    }
    return DNS_OK;
}

static dns_status
apply_event(dns_sim *s)
{
    const sim_event e = dns_sim_ev_pop(s);
    const int32_t id = (int32_t)EV_ID(e.key);
    bool went = false;
    switch (EV_KIND(e.key)) {
    case EV_RUN_END:
        if (e.gen != s->res[id].gen) {
            return DNS_OK;
        }
        if (s->go_on) {
            DNS_TRY(go_on(s, id, e.t, &went));
        }
        return went ? DNS_OK : end_run(s, id);
    case EV_MOVE:
        return leave(s, e.index);
    case EV_WAKE:
        sim_dirty(s, &s->pools[id]);
        return DNS_OK;
    default:
        return apply_timer(s, id);
    }
}

/* Kind and time of the first event that is no longer in the future of everything else. */
static int
first_event(const dns_sim *s, double *t)
{
    int kind = EV_NONE;
    *t = INFINITY;
    if (s->n_ev > 0) {
        *t = s->ev[0].t;
        kind = EV_KIND(s->ev[0].key);
    }
    if (s->scn < s->sys.n_scenario) {
        const double u = s->scenario[s->scn].t_s;
        if (u < *t || (u == *t && kind > EV_SCENARIO)) {
            *t = u;
            kind = EV_SCENARIO;
        }
    }
    if (s->sys.clock == DNS_CLOCK_MONOTONIC && s->cursor < s->work.n) {
        const double u = s->work.arrival_s[s->cursor];
        if (u < *t || (u == *t && kind > EV_ARRIVAL)) {
            *t = u;
            kind = EV_ARRIVAL;
        }
    }
    return kind;
}

/* The end of the events: finished, stalled, or one more tick. */
static dns_status
at_end(dns_sim *s, int kind, dns_sim_state *state, bool *go)
{
    *go = false;
    if (s->stats.live == 0 && !more_arrivals(s)) {
        *state = DNS_SIM_DONE;
        return DNS_OK;
    }
    const bool only_timers =
        s->n_ev == s->n_timer && !more_arrivals(s) && s->scn >= s->sys.n_scenario;
    if (kind == EV_NONE || only_timers) {
        bool progress = false;
        DNS_TRY(flush(s, &progress));
        if (progress) {
            s->idle_ticks = 0;
            *go = true;
            return DNS_OK;
        }
        if (kind == EV_NONE || ++s->idle_ticks > 10000) {
            *state = DNS_SIM_STALLED;
        }
    }
    return DNS_OK;
}

static dns_status
run_loop(dns_sim *s, dns_sim_state *state)
{
    while (s->fuel > 0) {
        double t = 0.0;
        s->fuel--;
        if (s->cursor >= s->work.n && !s->final) {
            *state = DNS_SIM_NEED_ROWS;
            return DNS_OK;
        }
        const int kind = first_event(s, &t);
        if (t > s->now || kind == EV_NONE) {
            if (s->n_dirty > 0) {
                DNS_TRY(decide_all(s));
                if (s->asking >= 0) {
                    *state = DNS_SIM_DECISION;
                    return DNS_OK;
                }
                continue;
            }
            if (kind >= EV_WAKE || (s->stats.live == 0 && !more_arrivals(s))) {
                bool go = false;
                DNS_TRY(at_end(s, kind, state, &go));
                if (s->asking >= 0) {
                    *state = DNS_SIM_DECISION;
                    return DNS_OK;
                }
                if (*state != DNS_SIM_RUNNING) {
                    return DNS_OK;
                }
                if (go) {
                    continue;
                }
            }
            s->now = t;
            s->stuck = 0;
        }
        s->stats.events++;
        if (kind == EV_ARRIVAL) {
            DNS_TRY(release(s));
        }
        else if (kind == EV_SCENARIO) {
            DNS_TRY(apply_scenario(s));
        }
        else {
            DNS_TRY(apply_event(s));
        }
    }
    return DNS_OK;
}

dns_status
dns_sim_run(dns_sim *s, int64_t fuel, dns_sim_state *state, dns_error *err)
{
    DNS_REQUIRE(!s->failed, err, DNS_ERR_STATE, -1, "simulation: stopped by an earlier error");
    DNS_REQUIRE(s->asking < 0, err, DNS_ERR_STATE, -1, "simulation: pool %d waits for a choice",
                s->asking);
    s->err = err;
    s->fuel = fuel;
    s->started = true;
    *state = DNS_SIM_RUNNING;
    const dns_status st = run_loop(s, state);
    s->err = NULL;
    if (st != DNS_OK) {
        s->failed = true;
    }
    return st;
}
