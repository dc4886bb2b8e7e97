/* Stages without events.
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
#include "sim_step.h"

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
        r->load = sim_stage_of(s, j)->load;
    }
    DNS_TRY(sim_hold(s, j, r, &h));
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
            key = dns_sim_key(s, p, j, a->t);
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
    sim_set_params(s, p, ri);
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
        const double sw = sim_switch_state(r, sim_stage_of(s, j), j);
        sim_job_starts(j, a->t, ri);
        j->variant = 0;
        p->param[DNS_P_STATE] = r->state;
        r->switched_s += sw;
        a->t += sw;
        r->t0_s = a->t;
        a->service = j->service_s;
        DNS_TRY(add_stage(s, j, r, a));
    }
    return DNS_OK;
}

/* Called at a run end, its event already taken. *went: the resource went on (or was freed by an
 * idle decision) and the run end needs no further handling. */
dns_status
dns_sim_go_on(dns_sim *s, int32_t ri, double t, bool *went)
{
    sim_res *r = &s->res[ri];
    sim_pool *p = &s->pools[r->pool];
    sim_job *j = &s->jobs[r->jobs[0]];
    if (s->n_dirty > 0 || r->n != 1 || j->k + 1 >= j->stop || p->external) {
        return DNS_OK;
    }
    const double h = sim_horizon(s);
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
        if (a.stages == 0 && !idle) { /* no fuel left: this stage end is an event */
            return DNS_OK;
        }
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
        return dns_sim_hook(s, p, DNS_HOOK_IDLE, ri);
    }
    j->service_s = a.service;
    r->t1_s = a.t;
    if (isfinite(a.t) && !dns_sim_ev_push(s, a.t, EV_KEY(EV_RUN_END, ri), r->gen, 0)) {
        return dns_sim_no_memory(s);
    }
    return DNS_OK;
}
