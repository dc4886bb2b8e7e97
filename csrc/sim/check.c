/* One look at everything before a simulation starts, so that the loop need not check again:
 * indices, table extents, signs and NaN. Messages name the structure and its index. */
#include "sim_internal.h"

#define BAD(cond, code, index, ...) DNS_REQUIRE(!(cond), err, (code), (index), __VA_ARGS__)

static dns_status
check_table(const dns_table *t, int32_t i, dns_error *err)
{
    BAD(t->v == NULL || t->n < 1, DNS_ERR_SHAPE, i, "table %d: expected at least one cell", (int)i);
    BAD(t->pos_shift < 0 || t->pos_shift > 31, DNS_ERR_VALUE, i,
        "table %d: pos_shift must be 0..31", (int)i);
    for (int a = 0; a < DNS_N_AXIS; a++) {
        BAD(t->by[a] < 0 || (t->by[a] > 0 && t->ext[a] < 1), DNS_ERR_SHAPE, i,
            "table %d: axis %d: stride must be >= 0 and its extent >= 1", (int)i, a);
    }
    return DNS_OK;
}

/* Offsets 0..span-1 from `off`, at every position of the table's axes, must be cells. */
dns_status
dns_sim_check_reach(const dns_sim *s, int32_t table, int64_t off, int64_t span, const char *what,
                    int64_t index, dns_error *err)
{
    BAD(table < -1 || table >= s->sys.n_table, DNS_ERR_VALUE, index, "%s %lld: no table %d", what,
        (long long)index, (int)table);
    if (table < 0) {
        return DNS_OK;
    }
    const dns_table *t = &s->tables[table];
    BAD(off < 0 || span > t->n || off > t->n - span, DNS_ERR_SHAPE, index,
        "%s %lld: needs %lld cells from column %lld on of table %d, which has %lld", what,
        (long long)index, (long long)span, (long long)off, (int)table, (long long)t->n);
    int64_t top = off + span - 1;
    for (int a = 0; a < DNS_N_AXIS; a++) {
        if (t->by[a] > 0) {
            BAD(t->ext[a] - 1 > (t->n - 1) / t->by[a], DNS_ERR_SHAPE, index,
                "%s %lld: table %d is smaller than its extents", what, (long long)index,
                (int)table);
            top += t->by[a] * (t->ext[a] - 1);
        }
        BAD(top >= t->n, DNS_ERR_SHAPE, index,
            "%s %lld: reaches cell %lld of table %d, which has %lld", what, (long long)index,
            (long long)top, (int)table, (long long)t->n);
    }
    return DNS_OK;
}

/* Seconds: not negative, not NaN (inf = never). */
static dns_status
check_times(const dns_table *t, int32_t table, dns_error *err)
{
    for (int64_t i = 0; i < t->n; i++) {
        BAD(!(t->v[i] >= 0.0), DNS_ERR_VALUE, i, "table %d: cell %lld is %g; expected seconds >= 0",
            (int)table, (long long)i, t->v[i]);
    }
    return DNS_OK;
}

static dns_status
check_no_nan(const dns_table *t, int32_t table, dns_error *err)
{
    for (int64_t i = 0; i < t->n; i++) {
        BAD(isnan(t->v[i]), DNS_ERR_VALUE, i, "table %d: cell %lld is NaN", (int)table,
            (long long)i);
    }
    return DNS_OK;
}

static dns_status
check_stage(const dns_sim *s, int32_t i, uint8_t *timed, dns_error *err)
{
    const dns_stage *st = &s->stages[i];
    const int home = DNS_POOL_HOME(0) - st->pool;
    BAD(st->pool >= s->sys.n_pool ||
            (st->pool < DNS_POOL_DELAY && (home < 0 || home >= s->sys.n_home)),
        DNS_ERR_VALUE, i, "stage %d: no pool %d", (int)i, (int)st->pool);
    BAD(st->pool == DNS_POOL_DELAY && st->hold >= 0, DNS_ERR_VALUE, i,
        "stage %d: a delay stage holds no resource: its hold must be -1", (int)i);
    BAD(st->state < DNS_STATE_JOB, DNS_ERR_VALUE, i, "stage %d: bad state %d", (int)i,
        (int)st->state);
    BAD(st->conf < -1 || st->conf >= s->sys.n_column, DNS_ERR_VALUE, i,
        "stage %d: no confidence column %d", (int)i, (int)st->conf);
    BAD((st->flags & ~DNS_STAGE_CREDIT_END) != 0 || (st->flags != 0 && st->pool == DNS_POOL_DELAY),
        DNS_ERR_VALUE, i, "stage %d: bad flags %u", (int)i, (unsigned)st->flags);
    BAD(st->load < 0, DNS_ERR_VALUE, i, "stage %d: negative load", (int)i);
    DNS_TRY(dns_sim_check_reach(s, st->hold, st->hold_off, 1, "stage", i, err));
    DNS_TRY(dns_sim_check_reach(s, st->delay, st->delay_off, 1, "stage", i, err));
    if (st->hold >= 0) {
        timed[st->hold] = 1;
    }
    if (st->delay >= 0) {
        timed[st->delay] = 1;
    }
    return DNS_OK;
}

static void
limit_rows(const dns_sim *s, sim_program *g, int32_t table)
{
    if (table < 0) {
        return;
    }
    const dns_table *t = &s->tables[table];
    if (t->by[DNS_AX_SAMPLE] > 0 && t->ext[DNS_AX_SAMPLE] < g->n_sample) {
        g->n_sample = t->ext[DNS_AX_SAMPLE];
    }
    if (t->by[DNS_AX_ROW] > 0 && t->ext[DNS_AX_ROW] < g->n_row) {
        g->n_row = t->ext[DNS_AX_ROW];
    }
}

static dns_status
check_program(const dns_sim *s, int32_t i, dns_error *err)
{
    sim_program *g = &s->programs[i];
    const dns_program *p = &g->p;
    BAD(p->n_stage < 1 || p->stage0 < 0 || p->stage0 > s->sys.n_stage - p->n_stage, DNS_ERR_SHAPE,
        i, "program %d: %d stages from %d on are not within the %d stages", (int)i, (int)p->n_stage,
        (int)p->stage0, (int)s->sys.n_stage);
    const int32_t est[4] = {p->est, p->next, p->iso, p->gamma};
    g->n_sample = INT64_MAX;
    g->n_row = INT64_MAX;
    for (int e = 0; e < 4; e++) {
        DNS_TRY(dns_sim_check_reach(s, est[e], 0, p->n_stage, "program", i, err));
        if (est[e] >= 0) {
            DNS_TRY(check_no_nan(&s->tables[est[e]], est[e], err));
        }
        limit_rows(s, g, est[e]);
    }
    DNS_TRY(dns_sim_check_reach(s, p->alone, 0, 1, "program", i, err));
    limit_rows(s, g, p->alone);
    DNS_TRY(dns_sim_check_reach(s, p->conf, 0, s->sys.n_column, "program", i, err));
    limit_rows(s, g, p->conf);
    for (int32_t k = 0; k < p->n_stage; k++) {
        const dns_stage *st = &s->stages[p->stage0 + k];
        limit_rows(s, g, st->hold);
        limit_rows(s, g, st->delay);
        BAD(st->conf >= 0 && p->conf < 0, DNS_ERR_VALUE, i,
            "program %d: stage %d reads a confidence, but the program has no confidence table",
            (int)i, (int)k);
    }
    return DNS_OK;
}

static dns_status
check_policy(const dns_policy *p, int32_t i, bool external, dns_error *err)
{
    BAD(p == NULL || p->abi != DNS_POLICY_ABI, DNS_ERR_VALUE, i,
        "pool %d: policy has ABI %u, expected %d", (int)i, p == NULL ? 0U : (unsigned)p->abi,
        DNS_POLICY_ABI);
    BAD(p->klass < DNS_CLASS_FIFO || p->klass > DNS_CLASS_PICK, DNS_ERR_VALUE, i,
        "pool %d: bad policy class", (int)i);
    BAD(p->n_param < 0 || p->n_param > DNS_N_PARAM - DNS_PARAM_USER, DNS_ERR_VALUE, i,
        "pool %d: a policy takes at most %d parameters", (int)i, DNS_N_PARAM - DNS_PARAM_USER);
    const bool keyed = p->klass == DNS_CLASS_ARRIVAL || p->klass == DNS_CLASS_OWN;
    const bool scan = p->klass >= DNS_CLASS_TIME;
    BAD(keyed && (p->key_column >= DNS_N_FEATURE || (p->key_column < 0 && p->score == NULL)),
        DNS_ERR_VALUE, i, "pool %d: policy needs a key column or score()", (int)i);
    BAD(scan && !external && p->batch == NULL && p->pick == NULL && p->score == NULL, DNS_ERR_VALUE,
        i, "pool %d: policy needs pick(), score() or batch()", (int)i);
    BAD(p->hooks != 0 && p->on == NULL, DNS_ERR_VALUE, i,
        "pool %d: policy asks for hooks but has none", (int)i);
    return DNS_OK;
}

static dns_status
check_pools(const dns_sim *s, dns_error *err)
{
    int32_t next = 0;
    for (int32_t i = 0; i < s->sys.n_pool; i++) {
        const dns_pool_spec *p = &s->sys.pools[i];
        BAD(p->res0 != next || p->res1 <= p->res0 || p->res1 > s->sys.n_resource, DNS_ERR_SHAPE, i,
            "pool %d: resources must follow those of the pool before, at least one each", (int)i);
        next = p->res1;
        BAD(p->max_batch < 1, DNS_ERR_VALUE, i, "pool %d: max_batch must be >= 1", (int)i);
        BAD(!(p->timer_s >= 0.0) || isinf(p->timer_s), DNS_ERR_VALUE, i,
            "pool %d: timer_s must be >= 0", (int)i);
        DNS_TRY(check_policy(p->policy, i, p->external != 0, err));
    }
    BAD(next != s->sys.n_resource, DNS_ERR_SHAPE, next, "resource %d belongs to no pool",
        (int)next);
    for (int32_t i = 0; i < s->sys.n_resource; i++) {
        const dns_res_spec *r = &s->sys.resources[i];
        BAD(!(r->speed > 0.0) || isinf(r->speed), DNS_ERR_VALUE, i,
            "resource %d: speed must be > 0", (int)i);
        BAD(!(r->switch_const_s >= 0.0) || isinf(r->switch_const_s), DNS_ERR_VALUE, i,
            "resource %d: switch cost must be >= 0 s", (int)i);
        BAD(r->state < -1 || (r->switch_s != NULL && (r->n_state < 1 || r->state >= r->n_state)),
            DNS_ERR_VALUE, i, "resource %d: start state %d is not in its switch table", (int)i,
            (int)r->state);
        for (int64_t c = 0; r->switch_s != NULL && c < (int64_t)r->n_state * r->n_state; c++) {
            BAD(!(r->switch_s[c] >= 0.0), DNS_ERR_VALUE, i,
                "resource %d: switch cost %lld is not >= 0 s", (int)i, (long long)c);
        }
    }
    return DNS_OK;
}

/* Every stage state must be in the switch tables of the resources it may run on. */
static dns_status
check_states(const dns_sim *s, dns_error *err)
{
    for (int32_t i = 0; i < s->sys.n_stage; i++) {
        const dns_stage *st = &s->stages[i];
        for (int32_t r = 0; st->state >= 0 && r < s->sys.n_resource; r++) {
            const dns_res_spec *spec = &s->sys.resources[r];
            BAD(spec->switch_s != NULL && st->state >= spec->n_state &&
                    (st->pool < 0 || s->res[r].pool == st->pool),
                DNS_ERR_VALUE, i, "stage %d: state %d is not in the switch table of resource %d",
                (int)i, (int)st->state, (int)r);
        }
    }
    return DNS_OK;
}

static dns_status
check_rest(const dns_sim *s, dns_error *err)
{
    for (int32_t i = 0; i < s->sys.n_scenario; i++) {
        const dns_scenario *c = &s->scenario[i];
        const bool speed = c->op == DNS_SCN_SPEED;
        BAD(!(c->t_s >= 0.0) || (i > 0 && c->t_s < c[-1].t_s), DNS_ERR_VALUE, i,
            "scenario row %d: times must be >= 0 and not decrease", (int)i);
        BAD(!speed && c->op != DNS_SCN_USER, DNS_ERR_VALUE, i,
            "scenario row %d: unknown operation %d", (int)i, (int)c->op);
        BAD(c->target < 0 || c->target >= (speed ? s->sys.n_resource : s->sys.n_pool),
            DNS_ERR_VALUE, i, "scenario row %d: no target %d", (int)i, (int)c->target);
        BAD(speed && (!(c->value > 0.0) || isinf(c->value)), DNS_ERR_VALUE, i,
            "scenario row %d: speed must be > 0", (int)i);
    }
    for (int64_t i = 0; i < (int64_t)s->sys.n_owner * s->sys.n_home; i++) {
        BAD(s->home[i] < 0 || s->home[i] >= s->sys.n_pool, DNS_ERR_VALUE, i,
            "home %lld: no pool %d", (long long)i, (int)s->home[i]);
    }
    for (int64_t i = 0; i < (int64_t)s->sys.n_owner * s->sys.n_column; i++) {
        BAD(isnan(s->thresholds[i]), DNS_ERR_VALUE, i, "threshold %lld is NaN", (long long)i);
    }
    BAD(s->sys.clock == DNS_CLOCK_ARTIFACT &&
            (s->sys.n_pool != 1 || s->sys.n_resource != 1 || s->sys.n_scenario != 0 ||
             s->sys.pools[0].timer_s > 0.0),
        DNS_ERR_VALUE, -1,
        "clock: the artifact clock needs one pool with one resource, no scenario and no timer");
    return DNS_OK;
}

dns_status
dns_sim_check(dns_sim *s, dns_error *err)
{
    DNS_TRY(check_pools(s, err));
    uint8_t *timed = dns_mem_zero(&s->alloc, (size_t)s->sys.n_table, 1);
    BAD(timed == NULL, DNS_ERR_MEMORY, -1, "system: no memory");
    dns_status st = DNS_OK;
    for (int32_t i = 0; st == DNS_OK && i < s->sys.n_table; i++) {
        st = check_table(&s->tables[i], i, err);
    }
    for (int32_t i = 0; st == DNS_OK && i < s->sys.n_stage; i++) {
        st = check_stage(s, i, timed, err);
    }
    if (st == DNS_OK) {
        st = dns_sim_check_sources(s, timed, err);
    }
    for (int32_t i = 0; st == DNS_OK && i < s->sys.n_table; i++) {
        st = timed[i] ? check_times(&s->tables[i], i, err) : DNS_OK;
    }
    dns_mem_free(&s->alloc, timed, (size_t)s->sys.n_table, 1);
    DNS_TRY(st);
    for (int32_t i = 0; i < s->sys.n_program; i++) {
        DNS_TRY(check_program(s, i, err));
    }
    DNS_TRY(check_states(s, err));
    return check_rest(s, err);
}

dns_status
dns_sim_check_work(const dns_sim *s, const dns_work *w, dns_error *err)
{
    double last = s->last_arrival_s, open = last;
    int64_t end = -1; /* of the source that the row is in */
    int32_t next = 0;
    BAD(w->n < 0 || (w->n > 0 && w->arrival_s == NULL), DNS_ERR_SHAPE, -1,
        "work: expected arrival times");
    for (int64_t i = 0; i < w->n; i++) {
        const double t = w->arrival_s[i];
        const int32_t g = w->program != NULL ? w->program[i] : 0;
        const int32_t b = w->sample != NULL ? w->sample[i] : 0;
        const int32_t o = w->owner != NULL ? w->owner[i] : 0;
        const long long id = (long long)s->row0 + (long long)s->work.n + (long long)i;
        BAD(!(t >= 0.0) || isinf(t), DNS_ERR_VALUE, i,
            "arrival: row %lld is %g; expected finite seconds >= 0", id, t);
        if (i == end) { /* open rows go on */
            last = open;
        }
        if (next < s->sys.n_source && s->sources[next].s.row0 == i) {
            open = last;
            last = 0.0;
            end = i + s->sources[next++].s.n;
        }
        BAD(t < last, DNS_ERR_VALUE, i,
            "arrival: row %lld (%.9g s) is earlier than the row before (%.9g s)", id, t, last);
        last = t;
        BAD(w->deadline_s != NULL && isnan(w->deadline_s[i]), DNS_ERR_VALUE, i,
            "deadline: row %lld is NaN", id);
        BAD(w->priority != NULL && (!(w->priority[i] > 0.0) || isinf(w->priority[i])),
            DNS_ERR_VALUE, i, "priority: row %lld is %g; expected a finite number > 0", id,
            w->priority[i]);
        BAD(g < 0 || g >= s->sys.n_program, DNS_ERR_VALUE, i,
            "program: row %lld is %d; expected 0..%d", id, (int)g, (int)s->sys.n_program - 1);
        BAD(b < 0 || b >= s->programs[g].n_sample, DNS_ERR_VALUE, i,
            "sample: row %lld is %d; expected 0..%lld", id, (int)b,
            (long long)s->programs[g].n_sample - 1);
        BAD(id >= s->programs[g].n_row, DNS_ERR_VALUE, i,
            "row %lld: its program's tables end at row %lld", id,
            (long long)s->programs[g].n_row - 1);
        BAD(o < 0 || o >= s->sys.n_owner, DNS_ERR_VALUE, i, "owner: row %lld is %d; expected 0..%d",
            id, (int)o, (int)s->sys.n_owner - 1);
        BAD(w->pos0 != NULL && w->pos0[i] < 0, DNS_ERR_VALUE, i, "pos0: row %lld is negative", id);
        for (int u = 0; w->user != NULL && u < DNS_N_USER; u++) {
            BAD(isnan(w->user[i * DNS_N_USER + u]), DNS_ERR_VALUE, i, "user: row %lld is NaN", id);
        }
    }
    return dns_sim_check_loops(s, w, err);
}
