/* The engine: any small system and work runs without a crash or a hang, and adds up; a damaged one
 * is refused or runs like any other. */
#include "tests/simgen.h"

enum { MAX_ROWS = 40, MAX_FUEL = 60000 };

static void
require(int ok)
{
    if (!ok) {
        abort();
    }
}

/* An index below n; 0 where a count has been damaged. */
static int64_t
any_of(fuzz_in *in, int32_t n)
{
    return fuzz_int(in, 0, n > 1 ? n - 1 : 0);
}

/* One field of the system or of the work takes any value that its type has. Sizes of arrays stay
 * true: no check can know them. */
static void
damage(fuzz_in *in, kit *k)
{
    dns_stage *st = &k->stages[any_of(in, k->sys.n_stage)];
    dns_program *g = &k->programs[any_of(in, k->sys.n_program)];
    dns_pool_spec *p = &k->pools[any_of(in, k->sys.n_pool)];
    dns_res_spec *r = &k->res[any_of(in, k->sys.n_resource)];
    dns_table *t = &k->tables[any_of(in, k->sys.n_table)];
    dns_scenario *c = &k->scenario[fuzz_int(in, 0, 3)];
    const int64_t row = fuzz_int(in, 0, MAX_ROWS - 1), axis = fuzz_int(in, 0, DNS_N_AXIS - 1);
    int32_t *const i32[] = {&st->pool,       &st->hold,      &st->delay,      &st->state,
                            &st->conf,       &st->load,      &g->stage0,      &g->n_stage,
                            &g->est,         &g->next,       &g->iso,         &g->gamma,
                            &g->alone,       &g->conf,       &p->res0,        &p->res1,
                            &p->external,    &r->state,      &c->op,          &c->target,
                            &t->pos_shift,   &k->home[0],    &k->pos0[row],   &k->program[row],
                            &k->sample[row], &k->owner[row], &k->exit_at[row]};
    int64_t *const i64[] = {&st->hold_off, &st->delay_off, &p->cap, &t->by[axis], &t->ext[axis]};
    double *const f64[] = {&p->timer_s,        &r->speed,
                           &r->switch_const_s, &c->t_s,
                           &c->value,          &k->thresholds[0],
                           &k->arrival[row],   &k->deadline[row],
                           &k->priority[row],  &k->user[row * DNS_N_USER]};
    int32_t *const counts[] = {&k->sys.n_pool,    &k->sys.n_resource, &k->sys.n_stage,
                               &k->sys.n_program, &k->sys.n_scenario, &k->sys.n_table,
                               &k->sys.n_owner,   &k->sys.n_column,   &k->sys.n_home};
    enum {
        N32 = sizeof i32 / sizeof *i32,
        N64 = sizeof i64 / sizeof *i64,
        NF = sizeof f64 / sizeof *f64
    };
    enum { NC = sizeof counts / sizeof *counts };
    const int64_t what = fuzz_int(in, 0, N32 + N64 + NF + NC - 1);
    const bool near = fuzz_int(in, 0, 1) == 0; /* just outside, or anything */
    if (what < N32) {
        *i32[what] =
            near ? (int32_t)fuzz_int(in, -3, 12) : (int32_t)fuzz_int(in, INT32_MIN, INT32_MAX);
    }
    else if (what < N32 + N64) {
        *i64[what - N32] = near ? fuzz_int(in, -1, 300) : fuzz_int(in, INT64_MIN, INT64_MAX);
    }
    else if (what < N32 + N64 + NF) {
        *f64[what - N32 - N64] = near ? -0.25 : fuzz_any_double(in);
    }
    else { /* a count may only shrink */
        int32_t *n = counts[what - N32 - N64 - NF];
        *n = (int32_t)fuzz_int(in, -1, *n < 0 ? 0 : *n);
    }
}

/* The same for the first source, a stage's flags and the number of sources. */
static void
damage_source(fuzz_in *in, kit *k)
{
    dns_source *o = &k->sources[0];
    int64_t *const i64[] = {&o->row0, &o->n, &o->window, &o->burst, &o->n_min, &o->think_off};
    enum { N64 = sizeof i64 / sizeof *i64 };
    const int64_t what = fuzz_int(in, 0, N64 + 3);
    const bool near = fuzz_int(in, 0, 1) == 0;
    const int64_t value = near ? fuzz_int(in, -2, 30) : fuzz_int(in, INT64_MIN, INT64_MAX);
    if (what < N64) {
        *i64[what] = value;
    }
    else if (what == N64) {
        o->think = (int32_t)value;
    }
    else if (what == N64 + 1) {
        o->until_s = near ? -0.25 : fuzz_any_double(in);
    }
    else if (what == N64 + 2) {
        k->stages[any_of(in, k->sys.n_stage)].flags = (uint32_t)value;
    }
    else {
        k->sys.n_source = (int32_t)fuzz_int(in, -1, k->sys.n_source);
    }
}

/* Feeds the rows in chunks and runs, with an answer from outside when a pool asks. */
static dns_status
play(fuzz_in *in, kit *k)
{
    const dns_results results = kit_results(k, k->work.n);
    int64_t left = MAX_FUEL;
    dns_work part = k->work;
    part.n = fuzz_int(in, 0, k->work.n);
    DNS_TRY(dns_sim_record(k->sim, &results, &k->err));
    const bool whole =
        k->sys.clock == DNS_CLOCK_ARTIFACT || part.n == k->work.n || k->sys.n_source > 0;
    part.n = whole ? k->work.n : part.n;
    DNS_TRY(dns_sim_feed(k->sim, &part, whole, &k->err));
    while (left > 0) {
        const int64_t fuel = 1 + fuzz_int(in, 0, 4000);
        left -= fuel;
        DNS_TRY(dns_sim_run(k->sim, fuel, &k->state, &k->err));
        if (k->state == DNS_SIM_DECISION) {
            int64_t n = 0, ld = 0;
            const double *feat = dns_sim_queue(k->sim, dns_sim_asking(k->sim), &n, &ld);
            require(n > 0 && ld >= n && feat != NULL);
            DNS_TRY(dns_sim_choose(k->sim, fuzz_int(in, -1, n - 1), &k->err));
        }
        else if (k->state == DNS_SIM_NEED_ROWS) {
            const int64_t used = part.n;
            part = k->work;
            part.arrival_s += used;
            part.deadline_s += used;
            part.priority += used;
            part.program += used;
            part.sample += used;
            part.owner += used;
            part.pos0 += used;
            part.exit_at += used;
            part.user += used * DNS_N_USER;
            part.n = k->work.n - used;
            DNS_TRY(dns_sim_feed(k->sim, &part, true, &k->err));
        }
        else if (k->state != DNS_SIM_RUNNING) {
            break;
        }
    }
    return DNS_OK;
}

/* Every row is somewhere; a resource works one run at a time. */
static void
add_up(kit *k)
{
    dns_sim_stats_get(k->sim, &k->stats);
    const dns_sim_stats *s = &k->stats;
    int64_t answered = 0, failed = 0, dropped = 0, open = 0;
    for (int64_t i = 0; i < k->work.n; i++) {
        answered += k->status[i] == DNS_ST_ANSWERED;
        failed += k->status[i] == DNS_ST_FAILED;
        dropped += k->status[i] == DNS_ST_DROPPED;
        open += k->status[i] == DNS_ST_OPEN;
    }
    require(answered + failed + dropped == s->finished && dropped == s->dropped);
    require(s->released == s->finished + s->live && open == k->work.n - s->finished);
    for (int64_t i = 0; i < s->finished; i++) {
        require(k->order[i] >= 0 && k->order[i] < k->work.n &&
                k->status[k->order[i]] != DNS_ST_OPEN);
    }
    if (k->state == DNS_SIM_DONE && k->sys.clock == DNS_CLOCK_MONOTONIC) {
        for (int32_t r = 0; r < k->sys.n_resource; r++) {
            const double used = dns_sim_busy_s(k->sim, r) + dns_sim_switch_s(k->sim, r);
            require(used <= s->now_s * (1.0 + 1e-9) + 1e-9);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_in in = {data, size};
    kit *k = kit_new();
    const int64_t damages = fuzz_int(&in, 0, 7) - 4; /* half of the inputs are whole */
    const bool outside = fuzz_int(&in, 0, 7) == 0;
    const dns_isa isa = fuzz_int(&in, 0, 1) == 0 ? DNS_ISA_GENERIC : dns_isa_detect();
    k->sys.step_each_stage = fuzz_int(&in, 0, 3) == 0;
    gen_case(&in, k, isa, MAX_ROWS);
    k->pools[0].external = outside;
    for (int64_t i = 0; i < damages; i++) {
        if (k->sys.n_source > 0 && fuzz_int(&in, 0, 3) == 0) {
            damage_source(&in, k);
        }
        else {
            damage(&in, k);
        }
    }
    const int64_t n = k->work.n;
    kit_wire(k);
    kit_clear(k, n);
    if (dns_sim_create(NULL, &k->sys, &k->sim, &k->err) == DNS_OK) {
        if (play(&in, k) == DNS_OK) {
            add_up(k);
        }
        else {
            require(k->err.code != DNS_OK && k->err.code != DNS_ERR_INTERNAL &&
                    k->err.message[0] != '\0');
        }
    }
    else {
        require(k->sim == NULL && k->err.message[0] != '\0');
    }
    kit_free(k);
    return 0;
}
