/* Hand schedules of the engine: clocks, scheduling orders, batches, ways, resources, outcomes. */
#include "simkit.h"

/* A (0 s, 2 s) and B (1 s, 1 s) on one accelerator under fcfs. */
static kit *
two_requests(dns_clock clock)
{
    kit *k = kit_new();
    const int hold = kit_axis(k, DNS_AX_ROW, 2, 1, (double[]){2.0, 1.0});
    kit_pool(k, "fcfs", 1);
    kit_layers(k, hold, 1);
    k->sys.clock = clock;
    kit_row(k, 0.0);
    kit_row(k, 1.0);
    CHECK_I64(kit_run(k), DNS_SIM_DONE);
    return k;
}

static void
test_fcfs_paper_clock(void)
{
    kit *k = two_requests(DNS_CLOCK_MONOTONIC);
    CHECK_F64(k->finish[0], 2.0);
    CHECK_F64(k->finish[1], 3.0);
    CHECK_F64(k->first[1], 2.0);
    CHECK_I64(k->stats.rewinds, 0);
    CHECK_F64(dns_sim_busy_s(k->sim, 0), 3.0);
    CHECK_F64(k->stats.queue_area, 4.0); /* 1 on 0-1 and 2-3, 2 on 1-2 */
    kit_free(k);
}

static void
test_fcfs_artifact_clock_goes_back(void)
{
    kit *k = two_requests(DNS_CLOCK_ARTIFACT);
    CHECK_F64(k->finish[0], 2.0);
    CHECK_F64(k->finish[1], 2.0); /* the empty queue set the clock back to 1 */
    CHECK_F64(k->first[1], 1.0);
    CHECK_I64(k->stats.rewinds, 1);
    kit_free(k);
}

/* An arrival that equals the clock waits for the next decision: sjf would take B at 1, but sees it
 * at 2. */
static void
test_artifact_clock_delays_a_tie(void)
{
    for (int artifact = 0; artifact < 2; artifact++) {
        kit *k = kit_new();
        const double rest[] = {3.0, 2.0, 1.0};
        const int hold = kit_table(k, 3, (double[]){1.0, 1.0, 1.0});
        const int est = kit_table(k, 3, rest);
        const int brief = kit_cell(k, 0.5);
        kit_pool(k, "shortest_remaining", 1);
        kit_layers(k, hold, 3)->est = est;
        kit_program(k, 1, (dns_stage[]){kit_stage(0, hold, 0)})->est = brief;
        k->sys.clock = artifact ? DNS_CLOCK_ARTIFACT : DNS_CLOCK_MONOTONIC;
        kit_row(k, 0.0);
        k->program[kit_row(k, 1.0)] = 1;
        CHECK_I64(kit_run(k), DNS_SIM_DONE);
        CHECK_F64(k->finish[1], artifact ? 3.0 : 2.0);
        CHECK_F64(k->finish[0], 4.0);
        CHECK_I64(k->n_preempt[0], 1);
        kit_free(k);
    }
}

/* Three requests of two 1 s layers at t = 0 and a short one at 0.5, under a scheduler; finish
 * times. */
static void
four(const char *scheduler, const double *priority, const double *deadline, const double *finish)
{
    kit *k = kit_new();
    const int hold = kit_table(k, 2, (double[]){1.0, 1.0});
    const int est = kit_table(k, 2, (double[]){2.0, 1.0});
    kit_pool(k, scheduler, 1);
    kit_layers(k, hold, 2)->est = est;
    kit_program(k, 1, (dns_stage[]){kit_stage(0, hold, 0)})->est = kit_cell(k, 1.0);
    for (int i = 0; i < 4; i++) {
        kit_row(k, i < 3 ? 0.0 : 0.5);
        k->priority[i] = priority[i];
        k->deadline[i] = deadline[i];
        k->program[i] = i == 3;
    }
    CHECK_I64(kit_run(k), DNS_SIM_DONE);
    for (int i = 0; i < 4; i++) {
        CHECK_F64(k->finish[i], finish[i]);
    }
    kit_free(k);
}

static void
test_scheduling_orders(void)
{
    const double equal[] = {1.0, 1.0, 1.0, 1.0}, late[] = {50.0, 50.0, 50.0, 50.0};
    const double mixed[] = {9.0, 4.0, 6.0, 2.0}, urgent[] = {1.0, 3.0, 2.0, 9.0};
    four("fcfs", equal, mixed, (double[]){2.0, 4.0, 6.0, 7.0});
    /* edf: row 1 runs 0-1, row 3 (due 2) 1-2, then 1, 2, 0 */
    four("edf", equal, mixed, (double[]){7.0, 3.0, 5.0, 2.0});
    four("hpf", urgent, late, (double[]){7.0, 3.0, 5.0, 2.0});
    /* sjf: row 0 has 1 s left at t = 1, as row 3, and came first */
    four("shortest_remaining", equal, late, (double[]){2.0, 5.0, 7.0, 3.0});
    /* laxities at 0: 7, 2, 4; row 3 has 1 at t = 1 and row 1 has 3: 3 runs, then 1 (3), 2 (4), 0
     * (7) */
    four("least_laxity", equal, mixed, (double[]){7.0, 3.0, 5.0, 2.0});
    /* round robin: 0, 1, 2, then row 3 (idle since .5), 0, 1, 2 */
    four("round_robin", equal, late, (double[]){5.0, 6.0, 7.0, 4.0});
}

static void
test_round_robin_counts_preemptions(void)
{
    kit *k = kit_new();
    kit_pool(k, "round_robin", 1);
    kit_layers(k, kit_table(k, 2, (double[]){1.0, 1.0}), 2);
    kit_row(k, 0.0);
    kit_row(k, 0.0);
    CHECK_I64(kit_run(k), DNS_SIM_DONE);
    CHECK_F64(k->finish[0], 3.0);
    CHECK_F64(k->finish[1], 4.0);
    CHECK_I64(k->n_preempt[0], 1);
    CHECK_I64(k->n_preempt[1], 1);
    CHECK_F64(k->service[0], 2.0);
    kit_free(k);
}

/* -- batches ------------------------------------------------------------------------------------
 */

/* Waits for two requests, at most until 2 s after the first arrived. */
typedef struct pair_policy {
    int64_t asked, flushed;
    double patience_s;
} pair_policy;

static int32_t
pairs(void *user, dns_ctl *ctl, int64_t n, const double *feat, int64_t ld, const double *param,
      dns_choice *out)
{
    pair_policy *p = user;
    p->asked++;
    p->flushed += param[DNS_P_FLUSH] != 0.0;
    const double until = feat[DNS_F_ARRIVAL * ld] + p->patience_s;
    if (n < 2 && dns_ctl_now(ctl) < until && param[DNS_P_FLUSH] == 0.0) {
        out->wake_s = isfinite(until) ? until : (double)NAN;
        return 0;
    }
    out->n = n < 2 ? n : 2;
    for (int64_t i = 0; i < out->n; i++) {
        out->slots[i] = i;
    }
    out->variant = 3;
    return 0;
}

static kit *
pair_system(pair_policy *p)
{
    kit *k = kit_new();
    const int hold = kit_axis(k, DNS_AX_LOAD, 4, 1, (double[]){1.0, 1.5, 1.75, 2.0});
    kit_pool_of(k,
                (dns_policy){.abi = DNS_POLICY_ABI,
                             .klass = DNS_CLASS_PICK,
                             .need = DNS_NEED(DNS_F_ARRIVAL),
                             .batch = pairs,
                             .user = p},
                1);
    k->pools[0].max_batch = 4;
    kit_layers(k, hold, 1);
    return k;
}

static void
test_batches_wait_and_share_a_run(void)
{
    pair_policy p = {0, 0, 2.0};
    kit *k = pair_system(&p);
    kit_row(k, 0.0);  /* waits for the next */
    kit_row(k, 0.5);  /* both run 0.5-2 */
    kit_row(k, 3.0);  /* waits until 5, runs 5-6 alone */
    kit_row(k, 20.0); /* the last: waits until 22, although no row is left (a wake is an event) */
    CHECK_I64(kit_run(k), DNS_SIM_DONE);
    CHECK_F64(k->finish[0], 2.0);
    CHECK_F64(k->finish[1], 2.0);
    CHECK_F64(k->first[0], 0.5);
    CHECK_F64(k->service[1], 1.5);
    CHECK_F64(k->finish[2], 6.0);
    CHECK_F64(k->finish[3], 23.0);
    CHECK_I64(k->variant[3], 3);
    CHECK_F64(dns_sim_busy_s(k->sim, 0), 3.5);
    CHECK_I64(p.flushed, 0);
    kit_free(k);
}

static void
test_the_last_odd_one_is_flushed(void)
{
    pair_policy p = {0, 0, INFINITY};
    kit *k = pair_system(&p);
    for (int i = 0; i < 3; i++) {
        kit_row(k, i);
    }
    CHECK_I64(kit_run(k), DNS_SIM_DONE);
    CHECK_F64(k->finish[1], 2.5);
    CHECK_F64(k->finish[2], 3.5);
    CHECK_I64(p.flushed, 1);
    kit_free(k);
}

static void
test_batch_fcfs_takes_equal_stages(void)
{
    kit *k = kit_new();
    const int hold = kit_axis(k, DNS_AX_LOAD, 3, 2, (double[]){1.0, 1.0, 1.25, 1.25, 1.5, 1.5});
    k->param[0] = 3.0;
    kit_pool(k, "batch_fcfs", 1);
    k->pools[0].max_batch = 3;
    kit_layers(k, hold, 2);
    kit_program(k, 1, (dns_stage[]){kit_stage(0, hold, 0)});
    kit_row(k, 0.0);                 /* stage 0 alone 0-1 */
    kit_row(k, 0.25);                /* waits */
    k->program[kit_row(k, 0.5)] = 1; /* another program: not in a batch with row 1 */
    kit_row(k, 0.75);
    CHECK_I64(kit_run(k), DNS_SIM_DONE);
    /* at 1 row 0 keeps its place: stage 1 alone 1-2; then rows 1, 3 (2-3.25), again (3.25-4.5), row
     * 2 */
    CHECK_F64(k->finish[0], 2.0);
    CHECK_F64(k->finish[1], 4.5);
    CHECK_F64(k->finish[3], 4.5);
    CHECK_F64(k->finish[2], 5.5);
    kit_free(k);
}

/* Loads add up without leaving their type. */
static void
test_enormous_loads(void)
{
    kit *k = kit_new();
    k->param[0] = 3.0;
    kit_pool(k, "batch_fcfs", 1);
    k->pools[0].max_batch = 3;
    kit_layers(k, kit_cell(k, 1.0), 1);
    k->stages[0].load = INT32_MAX;
    for (int i = 0; i < 3; i++) {
        kit_row(k, 0.0);
    }
    CHECK_I64(kit_run(k), DNS_SIM_DONE);
    CHECK_F64(k->finish[2], 1.0);
    kit_free(k);
}

/* -- ways ---------------------------------------------------------------------------------------
 */

/* Records the order of pushes. */
typedef struct push_log {
    int64_t id[16], n, started;
} push_log;

static int32_t
log_push(void *user, dns_ctl *ctl, int32_t hook, int64_t id)
{
    (void)ctl;
    push_log *log = user;
    if (hook == DNS_HOOK_PUSH && log->n < 16) {
        log->id[log->n++] = id;
    }
    log->started += hook == DNS_HOOK_START;
    return 0;
}

/* At t = 2 a run end, a travel's end and an arrival all lead to pool 1: in this order whatever the
 * ids. */
static void
test_order_of_events_at_one_instant(void)
{
    push_log log = {{0}, 0, 0};
    kit *k = kit_new();
    const int two = kit_cell(k, 2.0), one = kit_cell(k, 1.0);
    kit_pool(k, "fcfs", 1);
    const int end = kit_pool(k, "fcfs", 1);
    k->policies[end].hooks = DNS_HOOK_BIT(DNS_HOOK_PUSH);
    k->policies[end].on = log_push;
    k->policies[end].user = &log;
    dns_stage travel = kit_stage(DNS_POOL_DELAY, -1, 0);
    travel.delay = one;
    dns_stage then = kit_stage(end, one, 0);
    kit_program(k, 2, (dns_stage[]){kit_stage(0, two, 0), then}); /* run end at 2 */
    kit_program(k, 2, (dns_stage[]){travel, then});               /* travels 1 s */
    kit_program(k, 1, (dns_stage[]){then});
    k->program[kit_row(k, 0.0)] = 0;
    k->program[kit_row(k, 1.0)] = 1;
    k->program[kit_row(k, 1.0)] = 1;
    k->program[kit_row(k, 2.0)] = 2;
    CHECK_I64(kit_run(k), DNS_SIM_DONE);
    CHECK_I64(log.n, 4);
    for (int64_t i = 0; i < 4; i++) {
        CHECK_I64(log.id[i], i);
        CHECK_F64(k->finish[i], 3.0 + (double)i);
    }
    kit_free(k);
}

/* Moves of one instant go by request id, not by when they set out. */
static void
test_moves_of_one_instant_go_by_id(void)
{
    push_log log = {{0}, 0, 0};
    kit *k = kit_new();
    const int one = kit_cell(k, 1.0);
    const int way = kit_axis(k, DNS_AX_ROW, 2, 1, (double[]){2.0, 1.0});
    kit_pool_of(k,
                (dns_policy){.abi = DNS_POLICY_ABI,
                             .key_column = -1,
                             .hooks = DNS_HOOK_BIT(DNS_HOOK_PUSH) | DNS_HOOK_BIT(DNS_HOOK_START),
                             .on = log_push,
                             .user = &log},
                1);
    dns_stage travel = kit_stage(DNS_POOL_DELAY, -1, 0);
    travel.delay = way;
    kit_program(k, 2, (dns_stage[]){travel, kit_stage(0, one, 0)});
    kit_row(k, 1.0); /* back at 3 */
    kit_row(k, 2.0); /* back at 3 */
    CHECK_I64(kit_run(k), DNS_SIM_DONE);
    CHECK_I64(log.id[0], 0);
    CHECK_I64(log.id[1], 1);
    CHECK_I64(log.started, 2);
    kit_free(k);
}

/* A delay between two stages of one pool gives up the place; one of 0 s does not. */
static void
test_delays_and_places(void)
{
    for (int zero = 0; zero < 2; zero++) {
        kit *k = kit_new();
        const int one = kit_cell(k, 1.0), way = kit_cell(k, zero ? 0.0 : 0.5);
        kit_pool(k, "fcfs", 1);
        dns_stage first = kit_stage(0, one, 0);
        first.delay = way;
        kit_program(k, 2, (dns_stage[]){first, kit_stage(0, one, 0)});
        kit_row(k, 0.0);
        kit_row(k, 0.5);
        CHECK_I64(kit_run(k), DNS_SIM_DONE);
        CHECK_F64(k->finish[0], zero ? 2.0 : 3.0);
        CHECK_F64(k->finish[1], 4.0); /* 1-2, back at 2.5, 3-4; or 2-3-4 */
        kit_free(k);
    }
}

/* Programs may share stages: the second is the end of the first. */
static void
test_programs_share_stages(void)
{
    kit *k = kit_new();
    kit_pool(k, "shortest_remaining", 1);
    kit_layers(k, kit_table(k, 4, (double[]){1.0, 1.0, 1.0, 1.0}), 4)->est =
        kit_table(k, 4, (double[]){4.0, 3.0, 2.0, 1.0});
    k->programs[1] = k->programs[0];
    k->programs[1].stage0 = 2;
    k->programs[1].n_stage = 2;
    k->programs[1].est = kit_table(k, 2, (double[]){2.0, 1.0});
    k->sys.n_program = 2;
    kit_row(k, 0.0);
    k->program[kit_row(k, 0.5)] = 1; /* at t = 1 two layers against three */
    CHECK_I64(kit_run(k), DNS_SIM_DONE);
    CHECK_F64(k->finish[1], 3.0);
    CHECK_F64(k->finish[0], 6.0);
    CHECK_I64(k->last_stage[1], 1);
    kit_free(k);
}

static void
test_infinite_times_lose_a_request(void)
{
    kit *k = kit_new();
    const int one = kit_cell(k, 1.0), never = kit_cell(k, INFINITY);
    kit_pool(k, "fcfs", 2);
    dns_stage travel = kit_stage(DNS_POOL_DELAY, -1, 0);
    travel.delay = never;
    kit_program(k, 1, (dns_stage[]){kit_stage(0, never, 0)});
    kit_program(k, 2, (dns_stage[]){travel, kit_stage(0, one, 0)});
    kit_program(k, 1, (dns_stage[]){kit_stage(0, one, 0)});
    for (int i = 0; i < 3; i++) {
        k->program[kit_row(k, 0.0)] = i;
    }
    CHECK_I64(kit_run(k), DNS_SIM_STALLED);
    CHECK_I64(k->stats.live, 2);
    CHECK_I64(k->status[0], DNS_ST_OPEN);
    CHECK_F64(k->finish[2], 1.0);
    kit_free(k);
}

static void
test_home_pools_by_owner(void)
{
    kit *k = kit_new();
    const int one = kit_cell(k, 1.0);
    for (int p = 0; p < 3; p++) {
        kit_pool(k, "fcfs", 1);
    }
    k->sys.n_owner = 3;
    k->sys.n_home = 2;
    const int32_t home[] = {0, 2, 1, 2, 1, 2};
    memcpy(k->home, home, sizeof home);
    kit_program(
        k, 2,
        (dns_stage[]){kit_stage(DNS_POOL_HOME(0), one, 0), kit_stage(DNS_POOL_HOME(1), one, 0)});
    for (int i = 0; i < 3; i++) {
        k->owner[kit_row(k, 0.0)] = i;
    }
    CHECK_I64(kit_run(k), DNS_SIM_DONE);
    CHECK_F64(k->finish[0], 2.0); /* alone on pool 0, then first of pool 2 */
    CHECK_F64(k->finish[1], 3.0);
    CHECK_F64(k->finish[2], 4.0); /* behind owner 1 on pool 1, then last of pool 2 */
    CHECK_F64(dns_sim_busy_s(k->sim, 1), 2.0);
    kit_free(k);
}

/* -- resources ----------------------------------------------------------------------------------
 */

/* Two servers, three requests of two stages: who waits keeps the place by the time of the push. */
static void
test_two_resources_keep_places(void)
{
    kit *k = kit_new();
    const int hold = kit_axis(k, DNS_AX_ROW, 3, 2, (double[]){2.0, 1.0, 1.0, 1.0, 1.0, 1.0});
    kit_pool(k, "fcfs", 2);
    kit_layers(k, hold, 2);
    dns_slice slices[6];
    for (int i = 0; i < 3; i++) {
        kit_row(k, 0.0);
    }
    CHECK_I64(kit_create(k, NULL), DNS_OK);
    CHECK_I64(dns_sim_slices(k->sim, slices, 6, &k->err), DNS_OK);
    CHECK_I64(dns_sim_feed(k->sim, &k->work, true, &k->err), DNS_OK);
    CHECK_I64(kit_go(k, 3), DNS_OK);
    CHECK_I64(k->state, DNS_SIM_DONE);
    CHECK_F64(k->finish[1], 2.0); /* row 1 comes back at 1 before row 2, which waits */
    CHECK_F64(k->finish[0], 3.0);
    CHECK_F64(k->finish[2], 4.0);
    CHECK_I64(k->stats.n_slice, 6);
    for (int i = 0; i < 6; i++) {
        const int32_t server = slices[i].id == 0 ? 0 : 1;
        CHECK_I64(slices[i].resource, server);
        CHECK_F64(slices[i].t1_s - slices[i].t0_s,
                  slices[i].id == 0 && slices[i].stage == 0 ? 2.0 : 1.0);
    }
    kit_free(k);
}

static void
test_speeds_divide_holds(void)
{
    kit *k = kit_new();
    kit_pool(k, "fcfs", 2);
    k->res[1].speed = 4.0;
    kit_layers(k, kit_cell(k, 2.0), 1);
    kit_row(k, 0.0);
    kit_row(k, 0.0);
    kit_row(k, 0.25);
    CHECK_I64(kit_run(k), DNS_SIM_DONE);
    CHECK_F64(k->finish[0], 2.0);
    CHECK_F64(k->finish[1], 0.5);
    CHECK_F64(k->finish[2], 1.0);
    kit_free(k);
}

static void
test_switch_costs_by_matrix(void)
{
    static const double cost[] = {0.0, 0.5, 0.25, 0.0};
    kit *k = kit_new();
    const int one = kit_cell(k, 1.0);
    kit_pool(k, "fcfs", 1);
    k->res[0].n_state = 2;
    k->res[0].switch_s = cost;
    dns_stage a = kit_stage(0, one, 0), b = a;
    a.state = 0;
    b.state = 1;
    kit_program(k, 1, &a);
    kit_program(k, 1, &b);
    const int32_t states[] = {0, 0, 1, 0};
    for (int i = 0; i < 4; i++) {
        k->program[kit_row(k, 0.0)] = states[i];
    }
    CHECK_I64(kit_run(k), DNS_SIM_DONE);
    CHECK_F64(k->finish[1], 2.0); /* the first load is free */
    CHECK_F64(k->finish[2], 3.5);
    CHECK_F64(k->finish[3], 4.75);
    CHECK_F64(dns_sim_switch_s(k->sim, 0), 0.75);
    CHECK_F64(dns_sim_busy_s(k->sim, 0), 4.0);
    CHECK_F64(k->first[2], 2.0); /* it starts with the switch */
    kit_free(k);
}

/* round robin pays at every change of request, fcfs only between requests; the same bytes in place
 * or not. */
static void
test_switch_costs_by_request(void)
{
    for (int each = 0; each < 2; each++) {
        kit *k = kit_new();
        const int hold = kit_table(k, 2, (double[]){1.0, 1.0});
        kit_pool(k, "round_robin", 1);
        k->res[0].switch_const_s = 0.125;
        dns_stage stages[2] = {kit_stage(0, hold, 0), kit_stage(0, hold, 1)};
        stages[0].state = stages[1].state = DNS_STATE_JOB;
        kit_program(k, 2, stages);
        k->sys.step_each_stage = each != 0;
        kit_row(k, 0.0);
        kit_row(k, 0.0);
        CHECK_I64(kit_run(k), DNS_SIM_DONE);
        CHECK_F64(k->finish[0], 3.25);
        CHECK_F64(k->finish[1], 4.375);
        CHECK_F64(dns_sim_switch_s(k->sim, 0), 0.375);
        kit_free(k);
    }
}

/* -- outcomes -----------------------------------------------------------------------------------
 */

static void
test_confidence_and_exit_at(void)
{
    kit *k = kit_new();
    const int hold = kit_table(k, 3, (double[]){1.0, 1.0, 1.0});
    const int conf = kit_axis(k, DNS_AX_SAMPLE, 3, 2, (double[]){0.9, 0.0, 0.2, 0.8, 0.2, 0.3});
    kit_pool(k, "fcfs", 1);
    dns_stage stages[3];
    for (int i = 0; i < 3; i++) {
        stages[i] = kit_stage(0, hold, i);
        stages[i].conf = i < 2 ? i : -1;
    }
    kit_program(k, 3, stages)->conf = conf;
    k->sys.n_column = 2;
    k->sys.n_owner = 2;
    const double thresholds[] = {0.5, 0.8, 0.95, 0.95};
    memcpy(k->thresholds, thresholds, sizeof thresholds);
    const int32_t sample[] = {0, 1, 2, 0, 2}, owner[] = {0, 0, 0, 1, 1},
                  exit_at[] = {-1, -1, -1, -1, 1};
    const int32_t last[] = {0, 1, 2, 2, 1};
    for (int i = 0; i < 5; i++) {
        kit_row(k, 0.0);
        k->sample[i] = sample[i];
        k->owner[i] = owner[i];
        k->exit_at[i] = exit_at[i];
    }
    CHECK_I64(kit_run(k), DNS_SIM_DONE);
    double t = 0.0;
    for (int i = 0; i < 5; i++) {
        t += 1.0 + last[i];
        CHECK_F64(k->finish[i], t);
        CHECK_I64(k->last_stage[i], last[i]);
        CHECK_I64(k->status[i], DNS_ST_ANSWERED);
    }
    kit_free(k);
}

/* Request 0 goes back to stage 0 once, 1 fails after its first stage, 2 is dropped there. */
static int32_t
wayward(void *user, dns_ctl *ctl, int64_t id, int32_t stage)
{
    (void)ctl;
    int *went_back = user;
    if (id == 0 && stage == 1 && !*went_back) {
        *went_back = 1;
        return DNS_OUT_GOTO + 0;
    }
    return id == 1 ? DNS_OUT_FAIL : id == 2 ? DNS_OUT_DROP : DNS_OUT_NEXT;
}

static void
test_goto_fail_and_drop(void)
{
    int went_back = 0;
    kit *k = kit_new();
    const int p = kit_pool(k, "fcfs", 1);
    k->policies[p].outcome = wayward;
    k->policies[p].user = &went_back;
    kit_layers(k, kit_table(k, 2, (double[]){1.0, 1.0}), 2);
    for (int i = 0; i < 3; i++) {
        kit_row(k, 0.0);
    }
    CHECK_I64(kit_run(k), DNS_SIM_DONE);
    CHECK_F64(k->finish[1], 3.0); /* row 0 stood behind the others after going back */
    CHECK_F64(k->finish[2], 4.0);
    CHECK_F64(k->finish[0], 6.0);
    CHECK_I64(k->status[0], DNS_ST_ANSWERED);
    CHECK_I64(k->status[1], DNS_ST_FAILED);
    CHECK_I64(k->status[2], DNS_ST_DROPPED);
    CHECK_I64(k->last_stage[1], 0);
    CHECK_I64(k->stats.dropped, 1);
    CHECK_F64(k->service[0], 4.0);
    kit_free(k);
}

static void
test_a_full_queue_drops(void)
{
    for (int scan = 0; scan < 2;
         scan++) { /* a scanned pool keeps the running request in its queue */
        kit *k = kit_new();
        kit_pool(k, scan ? "planaria" : "fcfs", 1);
        k->pools[0].cap = 2;
        const int hold = kit_cell(k, 10.0);
        dns_program *p = kit_layers(k, hold, 1);
        p->est = hold;
        for (int i = 0; i < 5; i++) {
            kit_row(k, i);
            k->deadline[i] = 100.0;
        }
        CHECK_I64(kit_run(k), DNS_SIM_DONE);
        CHECK_I64(k->stats.dropped, 2);
        CHECK_F64(k->finish[2], 30.0);
        CHECK_I64(k->status[3], DNS_ST_DROPPED);
        CHECK_F64(k->finish[3], 3.0);
        CHECK_I64(k->last_stage[4], -1);
        CHECK(isnan(k->first[4]));
        kit_free(k);
    }
}

/* -- tables -------------------------------------------------------------------------------------
 */

static void
test_table_positions_and_loads(void)
{
    kit *k = kit_new();
    const int t = kit_axis(k, DNS_AX_POS, 3, 1, (double[]){1.0, 2.0, 4.0});
    k->tables[t].pos_shift = 4;
    kit_pool(k, "fcfs", 1);
    kit_layers(k, t, 1);
    const int32_t pos0[] = {0, 15, 16, 47, 1000};
    const double takes[] = {1.0, 1.0, 2.0, 4.0, 4.0};
    for (int i = 0; i < 5; i++) {
        k->pos0[kit_row(k, 0.0)] = pos0[i];
    }
    CHECK_I64(kit_run(k), DNS_SIM_DONE);
    for (int i = 0; i < 5; i++) {
        CHECK_F64(k->service[i], takes[i]);
    }
    kit_free(k);
}

static void
test_the_resource_state_is_an_axis(void)
{
    kit *k = kit_new();
    const int t = kit_axis(k, DNS_AX_STATE, 2, 1, (double[]){1.0, 3.0});
    kit_pool(k, "fcfs", 1);
    dns_stage a = kit_stage(0, t, 0), b = a;
    a.state = 0;
    b.state = 1;
    kit_program(k, 2, (dns_stage[]){a, b});
    kit_row(k, 0.0);
    CHECK_I64(kit_run(k), DNS_SIM_DONE);
    CHECK_F64(k->finish[0], 4.0);
    kit_free(k);
}

TAP_MAIN(TAP(test_fcfs_paper_clock), TAP(test_fcfs_artifact_clock_goes_back),
         TAP(test_artifact_clock_delays_a_tie), TAP(test_scheduling_orders),
         TAP(test_round_robin_counts_preemptions), TAP(test_batches_wait_and_share_a_run),
         TAP(test_the_last_odd_one_is_flushed), TAP(test_batch_fcfs_takes_equal_stages),
         TAP(test_enormous_loads), TAP(test_programs_share_stages),
         TAP(test_order_of_events_at_one_instant), TAP(test_moves_of_one_instant_go_by_id),
         TAP(test_delays_and_places), TAP(test_infinite_times_lose_a_request),
         TAP(test_home_pools_by_owner), TAP(test_two_resources_keep_places),
         TAP(test_speeds_divide_holds), TAP(test_switch_costs_by_matrix),
         TAP(test_switch_costs_by_request), TAP(test_confidence_and_exit_at),
         TAP(test_goto_fail_and_drop), TAP(test_a_full_queue_drops),
         TAP(test_table_positions_and_loads), TAP(test_the_resource_state_is_an_axis))
