/* Events of the engine: timers, wakes, scenario rows, decisions from outside, chunks, ends,
 * failures of policies, sums and histograms. */
#include "simkit.h"

/* A policy that records its hooks and does what the test sets. */
typedef struct watcher {
    double time[64];
    int32_t hook[64];
    int64_t id[64], n;
    int64_t answer;       /* of pick() */
    double pick_after_s;  /* idle before */
    double wake_s;        /* asked for in an IDLE hook */
    double add_threshold; /* at every tick */
    double value;         /* of the last USER hook */
    double state;         /* param at the last pick */
    int64_t queue_seen;
    int32_t fail_hook, wake_result;
} watcher;

static int32_t
watch(void *user, dns_ctl *ctl, int32_t hook, int64_t id)
{
    watcher *w = user;
    if (w->n < 64) {
        w->time[w->n] = dns_ctl_now(ctl);
        w->hook[w->n] = hook;
        w->id[w->n++] = id;
    }
    if (hook == DNS_HOOK_IDLE && w->wake_s > dns_ctl_now(ctl)) {
        w->wake_result = dns_ctl_wake(ctl, 0, w->wake_s);
    }
    if (hook == DNS_HOOK_TIMER) {
        double thr = 0.0;
        w->queue_seen = dns_ctl_queue_length(ctl, 0);
        if (dns_ctl_get_threshold(ctl, 0, 0, &thr) == 0) {
            (void)dns_ctl_set_threshold(ctl, 0, 0, thr + w->add_threshold);
        }
    }
    if (hook == DNS_HOOK_USER) {
        w->value = dns_ctl_scenario_value(ctl);
    }
    return hook == w->fail_hook ? -1 : 0;
}

static int64_t
patient(double now, int64_t n, const double *feat, int64_t ld, const double *param, void *user)
{
    (void)n;
    (void)feat;
    (void)ld;
    watcher *w = user;
    w->state = param[DNS_P_STATE];
    return now < w->pick_after_s ? DNS_PICK_IDLE : w->answer;
}

static dns_policy
watching(watcher *w, uint32_t hooks)
{
    w->fail_hook = -1;
    return (dns_policy){.abi = DNS_POLICY_ABI,
                        .klass = DNS_CLASS_PICK,
                        .need = DNS_NEED(DNS_F_JOB),
                        .hooks = hooks,
                        .key_column = -1,
                        .pick = patient,
                        .on = watch,
                        .user = w};
}

static int64_t
times_of(const watcher *w, int32_t hook, double *out)
{
    int64_t n = 0;
    for (int64_t i = 0; i < w->n; i++) {
        if (w->hook[i] == hook) {
            out[n++] = w->time[i];
        }
    }
    return n;
}

/* -- timers and wakes ---------------------------------------------------------------------------
 */

static void
test_timers_tick_until_the_work_is_done(void)
{
    watcher w = {.add_threshold = 0.25};
    double at[64];
    kit *k = kit_new();
    const int hold = kit_table(k, 2, (double[]){1.0, 1.0});
    const int conf = kit_cell(k, 0.5);
    kit_pool_of(k, watching(&w, DNS_HOOK_BIT(DNS_HOOK_TIMER)), 1);
    k->pools[0].timer_s = 0.75;
    dns_stage stages[2] = {kit_stage(0, hold, 0), kit_stage(0, hold, 1)};
    stages[0].conf = 0;
    kit_program(k, 2, stages)->conf = conf;
    k->sys.n_column = 1;
    k->thresholds[0] = 0.25;
    kit_row(k, 0.0); /* threshold .5 since the tick at .75: 0.5 >= 0.5 exits at 1 */
    kit_row(k, 0.0); /* at 2 it is .75: goes on to 3 */
    CHECK_I64(kit_run(k), DNS_SIM_DONE);
    CHECK_F64(k->finish[0], 1.0);
    CHECK_F64(k->finish[1], 3.0);
    CHECK_I64(times_of(&w, DNS_HOOK_TIMER, at),
              4); /* the last in the instant of the last run end */
    for (int i = 0; i < 4; i++) {
        CHECK_F64(at[i], 0.75 * (i + 1));
    }
    CHECK_F64(dns_sim_threshold(k->sim, 0, 0), 1.25);
    kit_free(k);
}

/* 20,000 idle ticks between two arrivals are no reason to give up, nor to flush. */
static void
test_timers_wait_for_arrivals(void)
{
    watcher w = {0};
    kit *k = kit_new();
    kit_pool_of(k, watching(&w, 0), 1);
    k->pools[0].timer_s = 0.001953125;
    kit_layers(k, kit_cell(k, 1.0), 1);
    kit_row(k, 0.0);
    kit_row(k, 40.0);
    CHECK_I64(kit_run(k), DNS_SIM_DONE);
    CHECK_F64(k->finish[1], 41.0);
    kit_free(k);
}

static void
test_idle_picks_wait_for_events_and_wakes(void)
{
    for (int each = 0; each < 2; each++) {
        watcher w = {.pick_after_s = 5.0, .wake_s = 6.5};
        double at[64];
        kit *k = kit_new();
        kit_pool_of(k, watching(&w, DNS_HOOK_BIT(DNS_HOOK_IDLE)), 1);
        kit_layers(k, kit_table(k, 2, (double[]){1.0, 1.0}), 2);
        k->sys.step_each_stage = each != 0;
        kit_row(k, 0.0); /* idle at 0 and 2; the wake at 6.5 starts it */
        kit_row(k, 2.0);
        CHECK_I64(kit_run(k), DNS_SIM_DONE);
        CHECK_F64(k->first[0], 6.5);
        CHECK_F64(k->finish[0], 8.5);
        CHECK_F64(k->finish[1], 10.5);
        CHECK_I64(w.wake_result, 0);
        CHECK_I64(times_of(&w, DNS_HOOK_IDLE, at), 3); /* at 0, 2 and at the end */
        CHECK_F64(at[1], 2.0);
        CHECK_F64(at[2], 10.5);
        kit_free(k);
    }
}

/* Runs request 0's first stage, then idles until 3: the IDLE hook hears of it in place, too. */
static int64_t
pause_after_one(double now, int64_t n, const double *feat, int64_t ld, const double *param,
                void *user)
{
    (void)n;
    (void)param;
    (void)user;
    return feat[DNS_F_STAGE * ld] == 1.0 && now < 3.0 ? DNS_PICK_IDLE : 0;
}

static void
test_idling_between_stages(void)
{
    for (int each = 0; each < 2; each++) {
        watcher w = {0};
        double at[64];
        kit *k = kit_new();
        const int p = kit_pool_of(k, watching(&w, DNS_HOOK_BIT(DNS_HOOK_IDLE)), 1);
        k->policies[p].pick = pause_after_one;
        k->policies[p].need |= DNS_NEED(DNS_F_STAGE);
        kit_layers(k, kit_table(k, 3, (double[]){1.0, 1.0, 1.0}), 3);
        k->sys.step_each_stage = each != 0;
        kit_row(k, 0.0);
        kit_row(k, 3.5);
        CHECK_I64(kit_run(k), DNS_SIM_DONE);
        CHECK_F64(k->finish[0], 5.5);
        CHECK_I64(k->n_preempt[0], 1);
        CHECK_I64(times_of(&w, DNS_HOOK_IDLE, at), 2);
        CHECK_F64(at[0], 1.0);
        CHECK_F64(at[1], 8.5);
        kit_free(k);
    }
}

static void
test_control_refuses_what_does_not_exist(void)
{
    watcher w = {0};
    kit *k = kit_new();
    kit_pool_of(k, watching(&w, 0), 1);
    kit_layers(k, kit_cell(k, 1.0), 1);
    CHECK_I64(kit_create(k, NULL), DNS_OK);
    CHECK_F64(dns_sim_busy_s(k->sim, 0), 0.0);
    kit_free(k);

    w = (watcher){.wake_s = INFINITY, .wake_result = 7};
    k = kit_new();
    kit_pool_of(k, watching(&w, DNS_HOOK_BIT(DNS_HOOK_IDLE)), 1);
    kit_layers(k, kit_cell(k, 1.0), 1);
    kit_row(k, 0.0);
    CHECK_I64(kit_run(k), DNS_SIM_DONE);
    CHECK_I64(w.wake_result, -1); /* never is no later time */
    kit_free(k);
}

/* -- scenario rows ------------------------------------------------------------------------------
 */

static void
test_speed_changes_retime_runs(void)
{
    for (int each = 0; each < 2; each++) {
        kit *k = kit_new();
        kit_pool(k, "fcfs", 1);
        kit_layers(k, kit_table(k, 2, (double[]){3.0, 1.0}), 2);
        k->sys.step_each_stage = each != 0;
        kit_at(k, 1.0, DNS_SCN_SPEED, 0, 2.0);
        kit_at(k, 1.5, DNS_SCN_SPEED, 0, 0.5);
        kit_row(k, 0.0); /* 1 s done, 1 s in 0.5 s, the last 1 s in 2 s, then 1 s in 2 s */
        CHECK_I64(kit_run(k), DNS_SIM_DONE);
        CHECK_F64(k->finish[0], 5.5);
        CHECK_F64(k->service[0], 5.5);
        CHECK_F64(dns_sim_busy_s(k->sim, 0), 5.5);
        kit_free(k);
    }
}

/* A change of speed during a switch stretches the stage, not the switch; also after a switch made
 * in place. */
static void
test_speed_changes_during_a_switch(void)
{
    for (int each = 0; each < 2; each++) {
        kit *k = kit_new();
        const int hold = kit_table(k, 2, (double[]){1.0, 1.0});
        const double est[] = {4.0, 4.0, 3.0, 3.0};
        const int e = kit_axis(k, DNS_AX_SAMPLE, 2, 2, est);
        kit_pool(k, "sdrm3", 1); /* a scan that changes the request after every stage */
        k->param[0] = 1.0;
        k->res[0].switch_const_s = 0.5;
        dns_stage stages[2] = {kit_stage(0, hold, 0), kit_stage(0, hold, 1)};
        stages[0].state = stages[1].state = DNS_STATE_JOB;
        dns_program *p = kit_program(k, 2, stages);
        p->est = p->next = e;
        k->sys.step_each_stage = each != 0;
        kit_at(k, 1.25, DNS_SCN_SPEED, 0, 0.5);
        for (int i = 0; i < 2; i++) {
            kit_row(k, 0.0);
            k->sample[i] = i;
            k->deadline[i] = 100.0;
        }
        CHECK_I64(kit_run(k), DNS_SIM_DONE);
        CHECK_F64(dns_sim_switch_s(k->sim, 0), 1.5);
        CHECK_F64(dns_sim_busy_s(k->sim, 0), 7.0); /* one stage at speed 1, three at 1/2 */
        CHECK_F64(k->stats.now_s, 8.5);
        kit_free(k);
    }
}

static void
test_user_rows_reach_the_policy(void)
{
    watcher w = {.pick_after_s = 2.0};
    kit *k = kit_new();
    kit_pool_of(k, watching(&w, DNS_HOOK_BIT(DNS_HOOK_USER)), 1);
    kit_layers(k, kit_cell(k, 1.0), 1);
    kit_at(k, 2.0, DNS_SCN_USER, 0, 42.0);
    kit_at(k, 2.5, DNS_SCN_USER, 0, 43.0);
    kit_row(k, 0.0); /* idle until the row at 2, which makes the pool decide again */
    CHECK_I64(kit_run(k), DNS_SIM_DONE);
    CHECK_F64(k->finish[0], 3.0);
    CHECK_I64(w.n, 2);
    CHECK_I64(w.id[1], 1);
    CHECK_F64(w.value, 43.0);
    kit_free(k);
}

/* The policy sees the state that the switch in place left. */
static int64_t
alternate(double now, int64_t n, const double *feat, int64_t ld, const double *param, void *user)
{
    (void)now;
    watcher *w = user;
    if (w->n < 64) {
        w->time[w->n++] = param[DNS_P_STATE];
    }
    const double *stage = feat + DNS_F_STAGE * ld;
    return n > 1 && stage[1] < stage[0] ? 1 : 0;
}

static void
test_the_state_a_policy_sees(void)
{
    for (int each = 0; each < 2; each++) {
        watcher w = {0};
        kit *k = kit_new();
        const int hold = kit_table(k, 2, (double[]){1.0, 1.0});
        const int p = kit_pool_of(k, watching(&w, 0), 1);
        k->policies[p].pick = alternate;
        k->policies[p].need |= DNS_NEED(DNS_F_STAGE);
        dns_stage a[2] = {kit_stage(0, hold, 0), kit_stage(0, hold, 1)};
        a[0].state = a[1].state = 4;
        kit_program(k, 2, a);
        a[0].state = a[1].state = 7;
        kit_program(k, 2, a);
        k->sys.step_each_stage = each != 0;
        kit_row(k, 0.0);
        k->program[kit_row(k, 0.0)] = 1;
        CHECK_I64(kit_run(k), DNS_SIM_DONE);
        const double seen[] = {-1.0, 4.0, 7.0, 4.0}; /* requests 0, 1, 0, 1 */
        CHECK_I64(w.n, 4);
        for (int i = 0; i < 4; i++) {
            CHECK_F64(w.time[i], seen[i]);
        }
        kit_free(k);
    }
}

/* -- decisions from outside ---------------------------------------------------------------------
 */

static void
test_choosing_from_outside(void)
{
    kit *k = kit_new();
    int64_t n = 0, ld = 0;
    kit_pool(k, "fcfs", 1);
    k->pools[0].external = 1;
    kit_layers(k, kit_table(k, 2, (double[]){1.0, 1.0}), 2);
    for (int i = 0; i < 3; i++) {
        kit_row(k, 0.0);
    }
    CHECK_I64(kit_create(k, NULL), DNS_OK);
    CHECK_I64(dns_sim_feed(k->sim, &k->work, true, &k->err), DNS_OK);
    CHECK_I64(dns_sim_choose(k->sim, 0, &k->err), DNS_ERR_STATE);
    const int64_t answers[] = {2, 2, 1, 1, 0, 0}; /* the last in the queue first */
    for (int i = 0; i < 6; i++) {
        CHECK_I64(kit_go(k, 1), DNS_OK);
        CHECK_I64(k->state, DNS_SIM_DECISION);
        CHECK_I64(dns_sim_asking(k->sim), 0);
        const double *feat = dns_sim_queue(k->sim, 0, &n, &ld);
        CHECK_I64(n, 3 - i / 2);
        CHECK_F64(feat[DNS_F_JOB * ld + answers[i]], (double)answers[i]);
        CHECK_F64(feat[DNS_F_STAGE * ld + answers[i]], i % 2);
        CHECK_I64(dns_sim_run(k->sim, 1, &k->state, &k->err), DNS_ERR_STATE);
        CHECK_I64(dns_sim_choose(k->sim, 3, &k->err), DNS_ERR_VALUE);
        CHECK_I64(dns_sim_choose(k->sim, -2, &k->err), DNS_ERR_VALUE);
        CHECK_I64(dns_sim_choose(k->sim, answers[i], &k->err), DNS_OK);
    }
    CHECK_I64(kit_go(k, 1), DNS_OK);
    CHECK_I64(k->state, DNS_SIM_DONE);
    CHECK_F64(k->finish[2], 2.0);
    CHECK_F64(k->finish[0], 6.0);
    kit_free(k);
}

static void
test_an_outsider_who_stays_idle_stalls(void)
{
    for (int timer = 0; timer < 2; timer++) {
        kit *k = kit_new();
        int asked = 0;
        kit_pool(k, "fcfs", 1);
        k->pools[0].external = 1;
        k->pools[0].timer_s = timer ? 0.5 : 0.0;
        kit_layers(k, kit_cell(k, 1.0), 1);
        kit_row(k, 0.0);
        kit_row(k, 1.0);
        CHECK_I64(kit_create(k, NULL), DNS_OK);
        CHECK_I64(dns_sim_feed(k->sim, &k->work, true, &k->err), DNS_OK);
        while (kit_go(k, 1000) == DNS_OK && k->state == DNS_SIM_DECISION && asked < 100000) {
            asked++;
            CHECK_I64(dns_sim_choose(k->sim, DNS_PICK_IDLE, &k->err), DNS_OK);
        }
        CHECK_I64(k->state, DNS_SIM_STALLED);
        CHECK_I64(k->stats.live, 2);
        CHECK(timer ? asked > 10000
                    : asked == 3); /* at both arrivals, and once when nothing else is left */
        kit_free(k);
    }
}

/* -- ends ---------------------------------------------------------------------------------------
 */

static void
test_a_policy_that_never_runs_stalls(void)
{
    watcher w = {.answer = DNS_PICK_IDLE};
    kit *k = kit_new();
    kit_pool_of(k, watching(&w, 0), 1);
    k->pools[0].timer_s = 1.0;
    kit_layers(k, kit_cell(k, 1.0), 1);
    kit_row(k, 3.0);
    CHECK_I64(kit_run(k), DNS_SIM_STALLED);
    CHECK_I64(k->stats.live, 1);
    CHECK(k->stats.now_s > 9000.0); /* ten thousand ticks were given to it */
    kit_free(k);
}

static int32_t
back_to_0(void *user, dns_ctl *ctl, int64_t id, int32_t stage)
{
    (void)user;
    (void)ctl;
    (void)id;
    return DNS_OUT_GOTO + (stage == 1 ? 0 : 1);
}

static void
test_zero_length_loops_are_detected(void)
{
    kit *k = kit_new();
    kit_pool(k, "fcfs", 1);
    k->policies[0].outcome = back_to_0;
    kit_layers(k, kit_table(k, 2, (double[]){0.0, 0.0}), 2);
    kit_row(k, 1.0);
    CHECK_I64(kit_try(k), DNS_ERR_LIVELOCK);
    CHECK_I64(k->err.index, 0);
    CHECK(strstr(k->err.message, "t = 1 s") != NULL);
    CHECK_I64(dns_sim_run(k->sim, 1, &k->state, &k->err), DNS_ERR_STATE);
    kit_free(k);
}

static void
test_many_zero_length_requests_are_no_loop(void)
{
    kit *k = kit_new();
    kit_pool(k, "fcfs", 1);
    kit_layers(k, kit_cell(k, 0.0), 1);
    for (int i = 0; i < KIT_ROWS; i++) {
        kit_row(k, 1.0);
    }
    CHECK_I64(kit_run(k), DNS_SIM_DONE);
    CHECK_I64(k->stats.finished, KIT_ROWS);
    kit_free(k);
}

static void
test_no_rows_at_all(void)
{
    kit *k = kit_new();
    kit_pool(k, "fcfs", 1);
    kit_layers(k, kit_cell(k, 1.0), 1);
    CHECK_I64(kit_run(k), DNS_SIM_DONE);
    CHECK_I64(k->stats.released, 0);
    CHECK_I64(dns_sim_feed(k->sim, &k->work, true, &k->err), DNS_ERR_STATE);
    kit_free(k);
}

/* -- chunks -------------------------------------------------------------------------------------
 */

static void
test_feeding_rules(void)
{
    kit *k = kit_new();
    kit_pool(k, "fcfs", 1);
    kit_layers(k, kit_cell(k, 1.0), 1);
    for (int i = 0; i < 5; i++) {
        kit_row(k, i);
    }
    k->work.n = 4;
    CHECK_I64(kit_create(k, NULL), DNS_OK);
    CHECK_I64(kit_go(k, 10), DNS_OK);
    CHECK_I64(k->state, DNS_SIM_NEED_ROWS);
    const dns_results none = {0};
    CHECK_I64(dns_sim_record(k->sim, &none, &k->err), DNS_ERR_STATE);
    CHECK_I64(dns_sim_sums(k->sim, NULL, NULL, 0, &k->err), DNS_ERR_STATE);
    CHECK_I64(dns_sim_slices(k->sim, NULL, 0, &k->err), DNS_ERR_STATE);
    k->work.n = 2;
    CHECK_I64(dns_sim_feed(k->sim, &k->work, false, &k->err), DNS_OK);
    CHECK_I64(dns_sim_feed(k->sim, &k->work, false, &k->err), DNS_ERR_STATE); /* not used up */
    CHECK_I64(kit_go(k, 10), DNS_OK);
    CHECK_I64(k->state, DNS_SIM_NEED_ROWS);
    CHECK_I64(dns_sim_feed(k->sim, &k->work, true, &k->err), DNS_ERR_VALUE); /* 0 s after 1 s */
    CHECK_I64(k->err.index, 0);
    k->work.arrival_s += 2;
    k->work.n = 3;
    CHECK_I64(dns_sim_feed(k->sim, &k->work, true, &k->err), DNS_ERR_SHAPE); /* four are recorded */
    k->work.n = 2;
    CHECK_I64(dns_sim_feed(k->sim, &k->work, true, &k->err), DNS_OK);
    CHECK_I64(kit_go(k, 10), DNS_OK);
    CHECK_I64(k->state, DNS_SIM_DONE);
    CHECK_F64(k->finish[3], 4.0);
    kit_free(k);
}

static void
test_the_artifact_clock_takes_all_rows_at_once(void)
{
    kit *k = kit_new();
    kit_pool(k, "fcfs", 1);
    kit_layers(k, kit_cell(k, 1.0), 1);
    k->sys.clock = DNS_CLOCK_ARTIFACT;
    kit_row(k, 0.0);
    CHECK_I64(kit_create(k, NULL), DNS_OK);
    CHECK_I64(dns_sim_feed(k->sim, &k->work, false, &k->err), DNS_ERR_VALUE);
    CHECK_I64(dns_sim_feed(k->sim, &k->work, true, &k->err), DNS_OK);
    CHECK_I64(kit_go(k, 10), DNS_OK);
    CHECK_I64(k->state, DNS_SIM_DONE);
    kit_free(k);
}

/* -- failures of policies -----------------------------------------------------------------------
 */

static dns_status
one_pick(int64_t answer, uint32_t hooks, int32_t fail_hook, dns_error *err)
{
    watcher w = {.answer = answer};
    kit *k = kit_new();
    kit_pool_of(k, watching(&w, hooks), 1);
    w.fail_hook = fail_hook;
    kit_layers(k, kit_cell(k, 1.0), 1);
    kit_row(k, 0.5);
    const dns_status st = kit_try(k);
    *err = k->err;
    if (st != DNS_OK) {
        CHECK_I64(dns_sim_run(k->sim, 1, &k->state, &k->err), DNS_ERR_STATE);
    }
    kit_free(k);
    return st;
}

static void
test_policies_that_fail(void)
{
    dns_error err;
    CHECK_I64(one_pick(0, 0, -1, &err), DNS_OK);
    CHECK_I64(one_pick(1, 0, -1, &err), DNS_ERR_POLICY);
    CHECK(strstr(err.message, "picked slot 1 at t = 0.5 s; expected -1..0") != NULL);
    CHECK_I64(err.index, 0);
    CHECK_I64(one_pick(-2, 0, -1, &err), DNS_ERR_POLICY);
    CHECK_I64(one_pick(DNS_PICK_ERROR, 0, -1, &err), DNS_ERR_CALLBACK);
    for (int32_t hook = DNS_HOOK_PUSH; hook <= DNS_HOOK_IDLE; hook++) {
        CHECK_I64(one_pick(0, DNS_HOOK_BIT(hook), hook, &err), DNS_ERR_CALLBACK);
        CHECK(strstr(err.message, "a hook failed") != NULL);
    }
}

static void
nan_score(double now, int64_t n, const double *feat, int64_t ld, const double *param, double *out,
          void *user)
{
    (void)now;
    (void)feat;
    (void)ld;
    (void)param;
    (void)user;
    for (int64_t i = 0; i < n; i++) {
        out[i] = i == n - 1 ? (double)NAN : 0.0;
    }
}

static void
test_nan_scores(void)
{
    static const dns_class classes[] = {DNS_CLASS_ARRIVAL, DNS_CLASS_OWN, DNS_CLASS_TIME,
                                        DNS_CLASS_PICK};
    for (int c = 0; c < 4; c++) {
        kit *k = kit_new();
        kit_pool_of(
            k,
            (dns_policy){
                .abi = DNS_POLICY_ABI, .klass = classes[c], .key_column = -1, .score = nan_score},
            1);
        kit_layers(k, kit_cell(k, 1.0), 1);
        kit_row(k, 0.0);
        kit_row(k, 0.0);
        CHECK_I64(kit_try(k), DNS_ERR_POLICY);
        CHECK(strstr(k->err.message, "NaN") != NULL);
        CHECK_I64(k->err.index, c == 0 || c == 1 ? 0 : 1);
        kit_free(k);
    }
}

/* What batch() answers in test_batches_that_fail. */
static int32_t
bad_batch(void *user, dns_ctl *ctl, int64_t n, const double *feat, int64_t ld, const double *param,
          dns_choice *out)
{
    (void)ctl;
    (void)n;
    (void)feat;
    (void)ld;
    (void)param;
    const int kind = *(const int *)user;
    out->slots[0] = kind == 0 ? 9 : kind == 1 ? 1 : 0;
    out->slots[1] = kind == 1 ? 0 : 1;
    out->n = kind == 2 ? 3 : kind == 8 ? 0 : 2;
    out->resource = kind == 3 ? 5 : kind == 4 ? -3 : -1;
    out->load = kind == 5 ? 9 : 1;
    out->variant = kind == 6 ? 1 : 0;
    out->wake_s = 0.0;
    return kind == 7 ? -1 : 0;
}

static void
test_batches_that_fail(void)
{
    static const char *const says[] = {"increasing slots",
                                       "increasing slots",
                                       "more requests than max_batch",
                                       "not free here",
                                       NULL,
                                       "axis 3",
                                       "axis 2",
                                       "batch() failed",
                                       "wake in the past",
                                       "programs or stages"};
    for (int kind = 0; kind < 10; kind++) {
        kit *k = kit_new();
        const int hold = kit_axis(k, DNS_AX_LOAD, 2, 1, (double[]){1.0, 2.0});
        k->tables[hold].by[DNS_AX_VAR] = 1;
        kit_pool_of(
            k,
            (dns_policy){
                .abi = DNS_POLICY_ABI, .klass = DNS_CLASS_PICK, .batch = bad_batch, .user = &kind},
            1);
        k->pools[0].max_batch = 2;
        kit_layers(k, hold, 1);
        kit_layers(k, hold, 1);
        kit_row(k, 0.0);
        k->program[kit_row(k, 0.0)] = kind == 9;
        const dns_status st = kit_try(k);
        CHECK_I64(st, says[kind] == NULL ? DNS_OK : kind == 7 ? DNS_ERR_CALLBACK : DNS_ERR_POLICY);
        CHECK(says[kind] == NULL || strstr(k->err.message, says[kind]) != NULL);
        kit_free(k);
    }
}

static int32_t
bad_outcome(void *user, dns_ctl *ctl, int64_t id, int32_t stage)
{
    (void)ctl;
    (void)id;
    (void)stage;
    return *(const int32_t *)user;
}

static void
test_outcomes_out_of_range(void)
{
    static const int32_t answers[] = {DNS_OUT_ERROR, 4, 15, DNS_OUT_GOTO + 1, INT32_MIN, INT32_MAX};
    for (int i = 0; i < 6; i++) {
        int32_t answer = answers[i];
        kit *k = kit_new();
        kit_pool(k, "fcfs", 1);
        k->policies[0].outcome = bad_outcome;
        k->policies[0].user = &answer;
        kit_layers(k, kit_cell(k, 1.0), 1);
        kit_row(k, 0.0);
        CHECK_I64(kit_try(k), i == 0 ? DNS_ERR_CALLBACK : DNS_ERR_POLICY);
        kit_free(k);
    }
}

/* -- sums ---------------------------------------------------------------------------------------
 */

static void
test_sums_and_histogram(void)
{
    kit *k = kit_new();
    dns_sums sums[2];
    int64_t *hist = calloc((size_t)2 * DNS_HIST_N, sizeof *hist);
    REQUIRE(hist != NULL);
    const int hold = kit_cell(k, 1.0), alone = kit_cell(k, 0.5);
    kit_pool(k, "fcfs", 1);
    k->pools[0].cap = 3;
    kit_layers(k, hold, 1)->alone = alone;
    kit_layers(k, hold, 1);
    for (int i = 0; i < 7; i++) {
        kit_row(k, 0.25 * i);
        k->deadline[i] = 3.0;
    }
    k->program[2] = 1;
    CHECK_I64(kit_create(k, NULL), DNS_OK);
    CHECK_I64(dns_sim_sums(k->sim, sums, hist, -1, &k->err), DNS_ERR_VALUE);
    CHECK_I64(dns_sim_sums(k->sim, sums, hist, 1, &k->err), DNS_OK);
    CHECK_I64(dns_sim_feed(k->sim, &k->work, true, &k->err), DNS_OK);
    CHECK_I64(kit_go(k, 7), DNS_OK);
    /* row 0 is warm-up; 1: .25-2; 2 (program 1): .5-3; 3: .75-4, late; 4 arrives when 0 ends,
     * before the pool decides: dropped; 5: 1.25-5, late; 6: dropped */
    CHECK_I64(sums[0].n, 5);
    CHECK_I64(sums[0].dropped, 2);
    CHECK_I64(sums[0].violations, 4); /* late or dropped */
    CHECK_F64(sums[0].alone_s, 5 * 0.5);
    CHECK_F64(sums[0].latency_s, 1.75 + 3.25 + 3.75);
    CHECK_F64(sums[0].latency_max_s, 3.75);
    CHECK_F64(sums[0].ntt, 17.5);
    CHECK_F64(sums[0].first_arrival_s, 0.25);
    CHECK_F64(sums[0].last_arrival_s, 1.5);
    CHECK_F64(sums[0].last_finish_s, 5.0);
    CHECK_I64(sums[1].n, 1);
    CHECK_I64(sums[1].violations, 0); /* at the deadline is in time */
    CHECK_I64(hist[dns_hist_bin(1.75)], 1);
    CHECK_I64(hist[DNS_HIST_N + dns_hist_bin(2.5)], 1);
    free(hist);
    kit_free(k);
}

static void
test_histogram_bins(void)
{
    CHECK_I64(dns_hist_bin(0.0), 0);
    CHECK_I64(dns_hist_bin(-1.0), 0);
    CHECK_I64(dns_hist_bin(NAN), 0);
    CHECK_I64(dns_hist_bin(1e-300), 0);
    CHECK_I64(dns_hist_bin(1e30), DNS_HIST_N - 1);
    CHECK_I64(dns_hist_bin(INFINITY), DNS_HIST_N - 1);
    CHECK_I64(dns_hist_bin(0x1p-40), 1);
    int last = 0;
    for (double x = 1e-11; x < 1e7; x *= 1.0009) {
        const int bin = dns_hist_bin(x);
        CHECK(bin >= last);
        CHECK(fabs(dns_hist_middle(bin) - x) <= x / 256.0);
        last = bin;
    }
    CHECK_F64(dns_hist_middle(0), 0.0);
}

TAP_MAIN(TAP(test_timers_tick_until_the_work_is_done), TAP(test_timers_wait_for_arrivals),
         TAP(test_idle_picks_wait_for_events_and_wakes), TAP(test_idling_between_stages),
         TAP(test_control_refuses_what_does_not_exist), TAP(test_speed_changes_retime_runs),
         TAP(test_speed_changes_during_a_switch), TAP(test_user_rows_reach_the_policy),
         TAP(test_the_state_a_policy_sees), TAP(test_choosing_from_outside),
         TAP(test_an_outsider_who_stays_idle_stalls), TAP(test_a_policy_that_never_runs_stalls),
         TAP(test_zero_length_loops_are_detected), TAP(test_many_zero_length_requests_are_no_loop),
         TAP(test_no_rows_at_all), TAP(test_feeding_rules),
         TAP(test_the_artifact_clock_takes_all_rows_at_once), TAP(test_policies_that_fail),
         TAP(test_nan_scores), TAP(test_batches_that_fail), TAP(test_outcomes_out_of_range),
         TAP(test_sums_and_histogram), TAP(test_histogram_bins))
