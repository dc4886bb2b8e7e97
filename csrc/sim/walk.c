/* The way of a job: release, enter a pool, end a stage, travel, leave, finish.
 *
 *   release  a row of the chunk becomes a job (slots of finished jobs are reused; ids stay global),
 *            at its arrival or when a source's credit is due
 *   enter    the stage's pool, by index or by the owner's home; a full queue drops the job
 *   end      outcome of the stage: stay in the pool with the old place, travel, exit, fail, go to
 *   leave    the next stage, or the answer
 */
#include <string.h>

#include "sim_step.h"

dns_status
dns_sim_no_memory(dns_sim *s)
{
    s->failed = true;
    return dns_fail(s->err, DNS_ERR_MEMORY, -1, "no memory for another event");
}

/* A cell by the address rule; DNS_ERR_POLICY when a run's variant, load or the resource's state
 * lies outside of the table (the other axes were checked before). */
dns_status
dns_sim_cell(dns_sim *s, int32_t table, int64_t off, const sim_job *j, const sim_res *r,
             double *out)
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

dns_status
dns_sim_hook(dns_sim *s, sim_pool *p, dns_hook h, int64_t id)
{
    if ((p->pol.hooks & DNS_HOOK_BIT(h)) == 0) {
        return DNS_OK;
    }
    if (p->pol.on(p->pol.user, &s->ctl, (int32_t)h, id) != 0) {
        return dns_sim_policy_error(s, p, s->now, DNS_PICK_ERROR, "a hook failed");
    }
    return DNS_OK;
}

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
    s->stuck = 0;
    j->live = false;
    s->free_jobs[s->n_free_jobs++] = ji;
    if (s->sys.n_source > 0 && !j->credited) {
        DNS_TRY(dns_sim_credit(s, j->id));
    }
    return j->pool >= 0 ? dns_sim_hook(s, &s->pools[j->pool], DNS_HOOK_FINISH, j->id) : DNS_OK;
}

/* The next stage, or the answer. */
dns_status
dns_sim_leave(dns_sim *s, int32_t ji)
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
    return st->delay < 0 ? DNS_OK : dns_sim_cell(s, st->delay, st->delay_off, j, r, d);
}

/* Leaves after `d` seconds, by a MOVE event (none if that is never). */
static dns_status
travel(dns_sim *s, int32_t ji, double d)
{
    if (isfinite(d) && !dns_sim_ev_push(s, s->now + d, EV_KEY(EV_MOVE, s->jobs[ji].id), 0, ji)) {
        return dns_sim_no_memory(s);
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
    j->stop = s->programs[j->program].stop[j->k];
    if (j->exit_at >= j->k && j->exit_at + 1 < j->stop) {
        j->stop = j->exit_at + 1;
    }
}

static dns_status
enter(dns_sim *s, int32_t ji)
{
    sim_job *j = &s->jobs[ji];
    const dns_stage *st = sim_stage_of(s, j);
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
    return dns_sim_hook(s, p, DNS_HOOK_PUSH, j->id);
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
    const dns_stage *st = sim_stage_of(s, j);
    int32_t o = DNS_OUT_NEXT;
    j->last_s = s->now;
    DNS_TRY(dns_sim_hook(s, p, DNS_HOOK_STAGE_END, j->id));
    DNS_TRY(outcome(s, p, j, st, &o));
    const int32_t n = s->programs[j->program].p.n_stage;
    double d = 0.0;
    if (o == DNS_OUT_NEXT) {
        DNS_TRY(delay_of(s, j, st, r, &d));
    }
    if ((st->flags & DNS_STAGE_CREDIT_END) != 0 && s->sys.n_source > 0 && !j->credited &&
        (o == DNS_OUT_NEXT || o >= DNS_OUT_GOTO)) {
        j->credited = true;
        DNS_TRY(dns_sim_credit(s, j->id));
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
        return d > 0.0 ? travel(s, ji, d) : dns_sim_leave(s, ji);
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

dns_status
dns_sim_end_run(dns_sim *s, int32_t ri)
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
        return dns_sim_no_memory(s);
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

/* Row i of the chunk becomes a job that arrived at `arrival` and is due at `deadline`. */
static inline dns_status
release(dns_sim *s, int64_t i, double arrival, double deadline)
{
    const dns_work *w = &s->work;
    if (s->n_free_jobs == 0) {
        DNS_TRY(grow_jobs(s));
    }
    const int32_t ji = s->free_jobs[--s->n_free_jobs];
    sim_job *j = &s->jobs[ji];
    area(s);
    s->stats.live++;
    s->stats.released++;
    *j = (sim_job){
        .arrival_s = arrival,
        .deadline_s = deadline,
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

static inline double
deadline_of(const dns_work *w, int64_t row)
{
    return w->deadline_s != NULL ? w->deadline_s[row] : (double)INFINITY;
}

/* The row at the cursor arrives. */
dns_status
dns_sim_release(dns_sim *s)
{
    const int64_t i = s->cursor++;
    if (s->sys.n_source > 0) {
        dns_sim_pass_sources(s);
    }
    return release(s, i, s->work.arrival_s[i], deadline_of(&s->work, i));
}

/* A row of a source is released at t; its deadline counts from there. */
dns_status
dns_sim_release_at(dns_sim *s, int64_t row, double t)
{
    return release(s, row, t, t + deadline_of(&s->work, row));
}
