/* The event loop.
 *
 *   loop: e = first event by (t, kind, id)
 *         e later than now: pools with news decide, by index; then now = e.t
 *         apply e: run end, delay over or credit due, scenario row, arrival, wake, timer
 *
 * What happens between two events of a busy resource is in inplace.c, the way of a job in walk.c.
 */
#include "sim_step.h"

/* Starts the run r->jobs[0..n) now. */
static dns_status
start(dns_sim *s, sim_pool *p, int32_t ri)
{
    sim_res *r = &s->res[ri];
    const sim_job *lead = &s->jobs[r->jobs[0]];
    const double sw = sim_switch_state(r, sim_stage_of(s, lead), lead);
    double longest = 0.0;
    for (int32_t i = 0; i < r->n; i++) {
        double h = 0.0;
        DNS_TRY(sim_hold(s, &s->jobs[r->jobs[i]], r, &h));
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
        sim_job_starts(j, s->now, ri);
        j->service_s += d;
        j->variant = r->variant;
        DNS_TRY(dns_sim_hook(s, p, DNS_HOOK_START, j->id));
    }
    if (isfinite(r->t1_s) && !dns_sim_ev_push(s, r->t1_s, EV_KEY(EV_RUN_END, ri), r->gen, 0)) {
        return dns_sim_no_memory(s);
    }
    return DNS_OK;
}

/* Artifact clock: what a decision at `now` sees. */
static dns_status
read_arrivals(dns_sim *s, const sim_pool *p)
{
    if (p->n == 0 && s->cursor < s->work.n) {
        const double t = s->work.arrival_s[s->cursor];
        s->stats.rewinds += t < s->now;
        s->now = t;
        return dns_sim_release(s);
    }
    while (s->cursor < s->work.n && s->work.arrival_s[s->cursor] < s->now) {
        DNS_TRY(dns_sim_release(s));
    }
    return DNS_OK;
}

/* The resource for a run: the job's last if it is free and of this pool, else the lowest free
 * one.
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
    r->load = sim_stage_of(s, &s->jobs[ji])->load;
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
        if (isnan(c.wake_s)) {
            return DNS_OK;
        }
        if (!(c.wake_s > s->now) || isinf(c.wake_s)) {
            return dns_sim_policy_error(s, p, s->now, 0, "batch() asked to wake in the past");
        }
        return dns_sim_ev_push(s, c.wake_s, EV_KEY(EV_WAKE, pi), 0, 0) ? DNS_OK
                                                                       : dns_sim_no_memory(s);
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
    int64_t load = 0;
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
        load += sim_stage_of(s, j)->load;
    }
    for (int64_t i = c.n - 1; i >= 0; i--) {
        dns_sim_scan_remove(s, p, c.slots[i]);
    }
    r->n = (int32_t)c.n;
    r->variant = c.variant;
    r->load = c.load >= 0 ? c.load : load < INT32_MAX ? (int32_t)load : INT32_MAX;
    return start(s, p, ri);
}

/* One decision of a scanned pool. */
static dns_status
decide_scan(dns_sim *s, sim_pool *p, int32_t pi, bool *idle)
{
    sim_set_params(s, p, free_resource(s, p, -1));
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
        return dns_sim_hook(s, p, DNS_HOOK_IDLE, free_resource(s, p, -1));
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
    s->flushed = true;
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
    if (row->op == DNS_SCN_USER) {
        sim_pool *p = &s->pools[row->target];
        s->ctl.scenario_value = row->value;
        sim_dirty(s, p);
        return dns_sim_hook(s, p, DNS_HOOK_USER, i);
    }
    const uint32_t gen = s->res[row->target].gen;
    set_speed(s, row);
    const sim_res *r = &s->res[row->target];
    if (r->gen != gen && !dns_sim_ev_push(s, r->t1_s, EV_KEY(EV_RUN_END, row->target), r->gen, 0)) {
        return dns_sim_no_memory(s);
    }
    return DNS_OK;
}

static dns_status
apply_timer(dns_sim *s, int32_t pi)
{
    sim_pool *p = &s->pools[pi];
    p->tick++;
    sim_dirty(s, p);
    DNS_TRY(dns_sim_hook(s, p, DNS_HOOK_TIMER, pi));
    if (!dns_sim_ev_push(s, (double)(p->tick + 1) * p->timer_s, EV_KEY(EV_TIMER, pi), 0, 0)) {
        return dns_sim_no_memory(s);
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
            DNS_TRY(dns_sim_go_on(s, id, e.t, &went));
        }
        return went ? DNS_OK : dns_sim_end_run(s, id);
    case EV_MOVE:
        return e.index >= 0 ? dns_sim_leave(s, e.index)
                            : dns_sim_release_burst(s, SIM_OF_SOURCE(e.index), EV_ID(e.key));
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
    if (s->stats.live == 0 && !sim_more_arrivals(s)) {
        *state = DNS_SIM_DONE;
        return DNS_OK;
    }
    const bool only_timers =
        s->n_ev == s->n_timer && !sim_more_arrivals(s) && s->scn >= s->sys.n_scenario;
    if (kind == EV_NONE || only_timers) {
        bool progress = false;
        if (!s->flushed) {
            DNS_TRY(flush(s, &progress));
        }
        if (progress) {
            s->idle_ticks = s->asking >= 0 ? s->idle_ticks : 0;
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
            if (kind >= EV_WAKE || (s->stats.live == 0 && !sim_more_arrivals(s))) {
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
        s->flushed = false;
        if (kind == EV_ARRIVAL) {
            DNS_TRY(dns_sim_release(s));
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
    dns_status st = s->begun || !s->final ? DNS_OK : dns_sim_begin_sources(s);
    if (st == DNS_OK) {
        st = run_loop(s, state);
    }
    s->err = NULL;
    if (st != DNS_OK) {
        s->failed = true;
    }
    return st;
}
