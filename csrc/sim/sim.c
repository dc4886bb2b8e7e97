/* Birth, food and death of a simulation, and the small accessors. The loop is in loop.c. */
#include <string.h>

#include "sim_step.h"

/* A copy of n records; NULL on failure. */
static void *
copy_of(const dns_alloc *a, const void *from, int64_t n, size_t size)
{
    void *p = dns_mem_new(a, (size_t)n, size);
    if (p != NULL && n > 0) {
        memcpy(p, from, (size_t)n * size);
    }
    return p;
}

/* Who decides outside or hears of stage ends; a pool of several resources decides at every one of
 * them, and its IDLE hook hears of each decision that leaves one free. */
static bool
watches(const dns_pool_spec *p)
{
    uint32_t seen = DNS_HOOK_BIT(DNS_HOOK_START) | DNS_HOOK_BIT(DNS_HOOK_STAGE_END);
    seen |= p->res1 - p->res0 > 1 ? DNS_HOOK_BIT(DNS_HOOK_IDLE) : 0;
    return p->external != 0 || p->policy->outcome != NULL || (p->policy->hooks & seen) != 0;
}

/* Does somebody see the end of stage `st` when stage `next` follows? */
static bool
observed(const dns_sim *s, const dns_stage *st, const dns_stage *next)
{
    if (st->delay >= 0 || st->conf >= 0 || st->flags != 0 || st->pool != next->pool ||
        st->state != next->state || st->pool == DNS_POOL_DELAY) {
        return true;
    }
    if (st->pool >= 0) {
        return watches(&s->sys.pools[st->pool]);
    }
    for (int32_t i = 0; i < s->sys.n_pool; i++) {
        if (watches(&s->sys.pools[i])) {
            return true;
        }
    }
    return false;
}

/* Fills stop[] and finds programs whose holds lie side by side in one table row. */
static void
compile_program(dns_sim *s, sim_program *g)
{
    const dns_program *p = &g->p;
    const dns_stage *st = &s->stages[p->stage0];
    int32_t *stop = g->stop;
    bool unit = st[0].hold >= 0;
    stop[p->n_stage - 1] = p->n_stage;
    for (int32_t k = p->n_stage - 2; k >= 0; k--) {
        stop[k] = observed(s, &st[k], &st[k + 1]) ? k + 1 : stop[k + 1];
        unit = unit && st[k].hold == st[k + 1].hold && st[k + 1].hold_off == st[k].hold_off + 1;
    }
    if (unit) {
        const dns_table *t = &s->tables[st[0].hold];
        if (t->by[DNS_AX_VAR] == 0 && t->by[DNS_AX_LOAD] == 0 && t->by[DNS_AX_STATE] == 0 &&
            t->by[DNS_AX_POS] == 0) {
            g->row = t->v + st[0].hold_off;
            g->row_by_sample = t->by[DNS_AX_SAMPLE];
            g->row_by_row = t->by[DNS_AX_ROW];
        }
    }
}

static dns_status
copy_system(dns_sim *s, const dns_system *sys, dns_error *err)
{
    const dns_alloc *a = &s->alloc;
    DNS_REQUIRE(sys->n_stage > 0 && sys->n_program > 0 && sys->n_pool > 0 && sys->n_resource > 0 &&
                    sys->n_owner > 0,
                err, DNS_ERR_SHAPE, -1,
                "system: expected at least one stage, program, pool, resource and owner");
    DNS_REQUIRE(sys->n_table >= 0 && sys->n_scenario >= 0 && sys->n_column >= 0 &&
                    sys->n_home >= 0 && sys->n_source >= 0,
                err, DNS_ERR_SHAPE, -1, "system: a count is negative");
    s->sys = *sys;
    s->tables = copy_of(a, sys->tables, sys->n_table, sizeof *s->tables);
    s->stages = copy_of(a, sys->stages, sys->n_stage, sizeof *s->stages);
    s->scenario = copy_of(a, sys->scenario, sys->n_scenario, sizeof *s->scenario);
    s->thresholds =
        copy_of(a, sys->thresholds, (int64_t)sys->n_owner * sys->n_column, sizeof *s->thresholds);
    s->home = copy_of(a, sys->home, (int64_t)sys->n_owner * sys->n_home, sizeof *s->home);
    s->programs = dns_mem_zero(a, (size_t)sys->n_program, sizeof *s->programs);
    s->pools = dns_mem_zero(a, (size_t)sys->n_pool, sizeof *s->pools);
    s->res = dns_mem_zero(a, (size_t)sys->n_resource, sizeof *s->res);
    s->sources = dns_mem_zero(a, (size_t)sys->n_source, sizeof *s->sources);
    s->ev_room = 64;
    s->ev = dns_mem_new(a, (size_t)s->ev_room, sizeof *s->ev);
    s->job_room = 64;
    s->jobs = dns_mem_new(a, (size_t)s->job_room, sizeof *s->jobs);
    s->free_jobs = dns_mem_new(a, (size_t)s->job_room, sizeof *s->free_jobs);
    DNS_REQUIRE(s->tables && s->stages && s->scenario && s->thresholds && s->home && s->programs &&
                    s->pools && s->res && s->sources && s->ev && s->jobs && s->free_jobs,
                err, DNS_ERR_MEMORY, -1, "no memory for the system");
    for (int32_t i = 0; i < sys->n_program; i++) {
        s->programs[i].p = sys->programs[i];
    }
    for (int32_t i = 0; i < sys->n_source; i++) {
        s->sources[i].s = sys->sources[i];
    }
    for (int64_t i = s->job_room - 1; i >= 0; i--) {
        s->free_jobs[s->n_free_jobs++] = (int32_t)i;
    }
    return DNS_OK;
}

static dns_status
build(dns_sim *s, const dns_system *sys, dns_error *err)
{
    DNS_TRY(copy_system(s, sys, err));
    for (int32_t i = 0; i < sys->n_pool; i++) {
        for (int32_t r = sys->pools[i].res0;
             r >= 0 && r < sys->pools[i].res1 && r < sys->n_resource; r++) {
            s->res[r].pool = i;
        }
    }
    DNS_TRY(dns_sim_check(s, err));
    const uint64_t user = ((UINT64_C(1) << DNS_N_USER) - 1) << DNS_F_USER0;
    s->err = err;
    for (int32_t i = 0; i < sys->n_pool; i++) {
        DNS_TRY(dns_sim_pool_init(s, &s->pools[i], &sys->pools[i], i));
        s->want_user = s->want_user || (s->pools[i].pol.need & user) != 0;
        if (sys->pools[i].timer_s > 0.0) {
            (void)dns_sim_ev_push(s, sys->pools[i].timer_s, EV_KEY(EV_TIMER, i), 0, 0);
        }
    }
    s->user = dns_mem_zero(&s->alloc, s->want_user ? (size_t)(s->job_room * DNS_N_USER) : 0,
                           sizeof *s->user);
    DNS_REQUIRE(s->user != NULL, err, DNS_ERR_MEMORY, -1, "no memory for the system");
    for (int32_t i = 0; i < sys->n_resource; i++) {
        const dns_res_spec *spec = &sys->resources[i];
        sim_res *r = &s->res[i];
        const size_t room = (size_t)sys->pools[r->pool].max_batch;
        r->jobs = dns_mem_new(&s->alloc, room, sizeof *r->jobs);
        DNS_REQUIRE(r->jobs != NULL, err, DNS_ERR_MEMORY, i, "no memory for resource %d", (int)i);
        r->state = spec->state;
        r->n_state = spec->n_state;
        r->switch_const_s = spec->switch_const_s;
        r->switch_s = spec->switch_s;
        r->inv_speed = 1.0 / spec->speed;
        r->job_state = -1;
    }
    for (int32_t i = 0; i < sys->n_program; i++) {
        sim_program *g = &s->programs[i];
        g->stop = dns_mem_new(&s->alloc, (size_t)g->p.n_stage, sizeof *g->stop);
        DNS_REQUIRE(g->stop != NULL, err, DNS_ERR_MEMORY, i, "no memory for program %d", (int)i);
        compile_program(s, g);
    }
    return DNS_OK;
}

dns_status
dns_sim_create(const dns_alloc *a, const dns_system *sys, dns_sim **out, dns_error *err)
{
    const dns_alloc *al = a != NULL ? a : dns_alloc_default();
    dns_sim *s = dns_mem_zero(al, 1, sizeof *s);
    DNS_REQUIRE(s != NULL, err, DNS_ERR_MEMORY, -1, "no memory for a simulation");
    s->alloc = *al;
    s->asking = -1;
    s->chosen = CHOSEN_NONE;
    s->ctl.sim = s;
    s->go_on = !sys->step_each_stage;
    const dns_status st = build(s, sys, err);
    s->err = NULL;
    if (st != DNS_OK) {
        dns_sim_destroy(s);
        return st;
    }
    if (sys->clock == DNS_CLOCK_ARTIFACT) {
        sim_dirty(s, &s->pools[0]);
    }
    *out = s;
    return DNS_OK;
}

void
dns_sim_destroy(dns_sim *s)
{
    if (s == NULL) {
        return;
    }
    const dns_alloc al = s->alloc;
    const dns_alloc *a = &al;
    const dns_system *y = &s->sys;
    for (int32_t i = 0; s->pools != NULL && i < y->n_pool; i++) {
        dns_sim_pool_fini(s, &s->pools[i]);
    }
    for (int32_t i = 0; s->res != NULL && s->pools != NULL && i < y->n_resource; i++) {
        dns_mem_free(a, s->res[i].jobs, (size_t)s->pools[s->res[i].pool].max_batch,
                     sizeof *s->res[i].jobs);
    }
    dns_mem_free(a, s->user, s->want_user ? (size_t)(s->job_room * DNS_N_USER) : 0,
                 sizeof *s->user);
    dns_mem_free(a, s->free_jobs, (size_t)s->job_room, sizeof *s->free_jobs);
    dns_mem_free(a, s->jobs, (size_t)s->job_room, sizeof *s->jobs);
    dns_mem_free(a, s->ev, (size_t)s->ev_room, sizeof *s->ev);
    dns_mem_free(a, s->sources, (size_t)y->n_source, sizeof *s->sources);
    dns_mem_free(a, s->res, (size_t)y->n_resource, sizeof *s->res);
    dns_mem_free(a, s->pools, (size_t)y->n_pool, sizeof *s->pools);
    for (int32_t i = 0; s->programs != NULL && i < y->n_program; i++) {
        dns_mem_free(a, s->programs[i].stop, (size_t)s->programs[i].p.n_stage, sizeof(int32_t));
    }
    dns_mem_free(a, s->programs, (size_t)y->n_program, sizeof *s->programs);
    dns_mem_free(a, s->home, (size_t)((int64_t)y->n_owner * y->n_home), sizeof *s->home);
    dns_mem_free(a, s->thresholds, (size_t)((int64_t)y->n_owner * y->n_column),
                 sizeof *s->thresholds);
    dns_mem_free(a, s->scenario, (size_t)y->n_scenario, sizeof *s->scenario);
    dns_mem_free(a, s->stages, (size_t)y->n_stage, sizeof *s->stages);
    dns_mem_free(a, s->tables, (size_t)y->n_table, sizeof *s->tables);
    dns_mem_free(a, s, 1, sizeof *s);
}

dns_status
dns_sim_record(dns_sim *s, const dns_results *results, dns_error *err)
{
    DNS_REQUIRE(!s->started, err, DNS_ERR_STATE, -1, "record: the simulation has started");
    DNS_REQUIRE(results->n >= 0, err, DNS_ERR_SHAPE, -1, "record: negative length");
    s->results = *results;
    return DNS_OK;
}

dns_status
dns_sim_sums(dns_sim *s, dns_sums *sums, int64_t *hist, int64_t warmup, dns_error *err)
{
    DNS_REQUIRE(!s->started, err, DNS_ERR_STATE, -1, "sums: the simulation has started");
    DNS_REQUIRE(warmup >= 0, err, DNS_ERR_VALUE, -1, "warmup: expected >= 0, got %lld",
                (long long)warmup);
    memset(sums, 0, (size_t)s->sys.n_program * sizeof *sums);
    memset(hist, 0, (size_t)s->sys.n_program * DNS_HIST_N * sizeof *hist);
    s->sums = sums;
    s->hist = hist;
    s->warmup = warmup;
    return DNS_OK;
}

dns_status
dns_sim_slices(dns_sim *s, dns_slice *slices, int64_t cap, dns_error *err)
{
    DNS_REQUIRE(!s->started, err, DNS_ERR_STATE, -1, "slices: the simulation has started");
    DNS_REQUIRE(cap >= 0, err, DNS_ERR_VALUE, -1, "slices: expected room for >= 0, got %lld",
                (long long)cap);
    s->slices = slices;
    s->slice_room = cap;
    s->go_on = false;
    return DNS_OK;
}

dns_status
dns_sim_feed(dns_sim *s, const dns_work *w, bool final, dns_error *err)
{
    DNS_REQUIRE(!s->final && s->cursor >= s->work.n, err, DNS_ERR_STATE, -1,
                "feed: the rows given before are not used up, or were the last");
    DNS_REQUIRE(s->sys.clock == DNS_CLOCK_MONOTONIC || final, err, DNS_ERR_VALUE, -1,
                "feed: the artifact clock takes all rows at once");
    DNS_REQUIRE(s->sys.n_source == 0 || final, err, DNS_ERR_VALUE, -1,
                "feed: a system with sources takes all rows at once");
    DNS_TRY(dns_sim_check_work(s, w, err));
    const int64_t row0 = s->row0 + s->work.n;
    DNS_REQUIRE(s->results.n == 0 || row0 + w->n <= s->results.n, err, DNS_ERR_SHAPE, -1,
                "feed: more rows than the %lld recorded", (long long)s->results.n);
    s->row0 = row0;
    s->work = *w;
    s->cursor = 0;
    s->final = final;
    dns_sim_pass_sources(s);
    if (w->n > 0) {
        s->last_arrival_s = w->arrival_s[w->n - 1];
    }
    return DNS_OK;
}

int32_t
dns_sim_asking(const dns_sim *s)
{
    return s->asking;
}

const double *
dns_sim_queue(const dns_sim *s, int32_t pool, int64_t *n, int64_t *ld)
{
    const sim_pool *p = &s->pools[pool];
    *n = p->n;
    *ld = p->ld;
    return p->feat;
}

dns_status
dns_sim_choose(dns_sim *s, int64_t slot, dns_error *err)
{
    DNS_REQUIRE(s->asking >= 0, err, DNS_ERR_STATE, -1, "choose: no pool waits for a choice");
    const int64_t n = s->pools[s->asking].n;
    DNS_REQUIRE(slot >= DNS_PICK_IDLE && slot < n, err, DNS_ERR_VALUE, -1,
                "choose: expected a slot in -1..%lld, got %lld", (long long)n - 1, (long long)slot);
    s->chosen = slot;
    s->stats.decisions++;
    s->asking = -1;
    return DNS_OK;
}

void
dns_sim_stats_get(const dns_sim *s, dns_sim_stats *out)
{
    *out = s->stats;
    out->now_s = s->now;
}

double
dns_sim_busy_s(const dns_sim *s, int32_t resource)
{
    return s->res[resource].busy_s;
}

double
dns_sim_switch_s(const dns_sim *s, int32_t resource)
{
    return s->res[resource].switched_s;
}

double
dns_sim_threshold(const dns_sim *s, int32_t owner, int32_t column)
{
    return s->thresholds[(int64_t)owner * s->sys.n_column + column];
}

double
dns_ctl_now(const dns_ctl *ctl)
{
    return ctl->sim->now;
}

static double *
threshold_cell(const dns_ctl *ctl, int32_t owner, int32_t column)
{
    const dns_sim *s = ctl->sim;
    if (owner < 0 || owner >= s->sys.n_owner || column < 0 || column >= s->sys.n_column) {
        return NULL;
    }
    return &s->thresholds[(int64_t)owner * s->sys.n_column + column];
}

int32_t
dns_ctl_get_threshold(const dns_ctl *ctl, int32_t owner, int32_t column, double *value)
{
    const double *at = threshold_cell(ctl, owner, column);
    if (at == NULL) {
        return -1;
    }
    *value = *at;
    return 0;
}

int32_t
dns_ctl_set_threshold(dns_ctl *ctl, int32_t owner, int32_t column, double value)
{
    double *at = threshold_cell(ctl, owner, column);
    if (at == NULL) {
        return -1;
    }
    *at = value;
    return 0;
}

double
dns_ctl_scenario_value(const dns_ctl *ctl)
{
    return ctl->scenario_value;
}

int64_t
dns_ctl_queue_length(const dns_ctl *ctl, int32_t pool)
{
    if (pool < 0 || pool >= ctl->sim->sys.n_pool) {
        return -1;
    }
    return sim_waiting(ctl->sim, &ctl->sim->pools[pool]);
}

int32_t
dns_ctl_wake(dns_ctl *ctl, int32_t pool, double t_s)
{
    dns_sim *s = ctl->sim;
    if (pool < 0 || pool >= s->sys.n_pool || !(t_s > s->now) || isinf(t_s)) {
        return -1;
    }
    return dns_sim_ev_push(s, t_s, EV_KEY(EV_WAKE, pool), 0, 0) ? 0 : -1;
}
