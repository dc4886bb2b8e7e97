/* Small steps shared by the files of the loop: loop.c (events, decisions), walk.c (the way of a
 * job) and inplace.c (stages without events). */
#ifndef DNS_SIM_STEP_H
#define DNS_SIM_STEP_H

#include "sim_internal.h"

/* walk.c */
dns_status dns_sim_no_memory(dns_sim *s);
dns_status dns_sim_cell(dns_sim *s, int32_t table, int64_t off, const sim_job *j, const sim_res *r,
                        double *out);
dns_status dns_sim_hook(dns_sim *s, sim_pool *p, dns_hook h, int64_t id);
dns_status dns_sim_release(dns_sim *s);
dns_status dns_sim_release_at(dns_sim *s, int64_t row, double t);
dns_status dns_sim_leave(dns_sim *s, int32_t ji);
dns_status dns_sim_end_run(dns_sim *s, int32_t ri);

/* inplace.c */
dns_status dns_sim_go_on(dns_sim *s, int32_t ri, double t, bool *went);

/* source.c */
dns_status dns_sim_begin_sources(dns_sim *s);
dns_status dns_sim_credit(dns_sim *s, int64_t id);
dns_status dns_sim_release_burst(dns_sim *s, int32_t source, int64_t row);
void dns_sim_pass_sources(dns_sim *s);

static inline int32_t
sim_more_arrivals(const dns_sim *s)
{
    return s->cursor < s->work.n || !s->final || s->n_due > 0;
}

/* Time of the next event of any kind. Under the artifact clock a request is seen by the first
 * decision strictly after its arrival. */
static inline double
sim_horizon(const dns_sim *s)
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

/* Seconds at unit speed that job j holds resource r in its current stage. */
static inline dns_status
sim_hold(dns_sim *s, const sim_job *j, const sim_res *r, double *out)
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
    return dns_sim_cell(s, st->hold, st->hold_off, j, r, out);
}

static inline const dns_stage *
sim_stage_of(const dns_sim *s, const sim_job *j)
{
    return &s->stages[s->programs[j->program].p.stage0 + j->k];
}

/* Seconds to bring the resource into the state that the job's stage needs; changes the state. */
static inline double
sim_switch_state(sim_res *r, const dns_stage *st, const sim_job *j)
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
sim_job_starts(sim_job *j, double now, int32_t ri)
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
sim_set_params(dns_sim *s, sim_pool *p, int32_t ri)
{
    p->param[DNS_P_RESOURCE] = ri;
    p->param[DNS_P_STATE] = s->res[ri].state;
    p->param[DNS_P_N_RUNNING] = p->res1 - p->res0 - p->n_free;
    p->param[DNS_P_MORE_ARRIVALS] = sim_more_arrivals(s);
}

#endif
