/* What the engine refuses before it starts: every check of check.c, by status, index and message.
 */
#include "simkit.h"

/* A valid system with one of everything, to be spoiled. */
static kit *
sound(void)
{
    kit *k = kit_new();
    static const double cost[4] = {0.0, 1.0, 1.0, 0.0};
    const int hold = kit_axis(k, DNS_AX_SAMPLE, 2, 3, (double[]){1.0, 1.0, 1.0, 2.0, 2.0, 2.0});
    const int delay = kit_axis(k, DNS_AX_ROW, 4, 1, (double[]){0.5, 0.5, 0.5, 0.5});
    const int est = kit_axis(k, DNS_AX_SAMPLE, 2, 3, (double[]){3.0, 2.0, 1.0, 6.0, 4.0, 2.0});
    const int conf = kit_axis(k, DNS_AX_SAMPLE, 2, 2, (double[]){0.1, 0.2, 0.3, 0.4});
    kit_pool(k, "fcfs", 1);
    kit_pool(k, "shortest_remaining", 2);
    k->res[0].n_state = 2;
    k->res[0].switch_s = cost;
    dns_stage stages[3];
    for (int i = 0; i < 3; i++) {
        stages[i] = kit_stage(0, hold, i);
    }
    stages[0].state = 1;
    stages[1].pool = DNS_POOL_HOME(0);
    stages[1].delay = delay;
    stages[1].conf = 1;
    dns_program *p = kit_program(k, 3, stages);
    p->est = p->next = p->iso = p->gamma = est;
    p->alone = est;
    p->conf = conf;
    k->sys.n_owner = 2;
    k->sys.n_column = 2;
    k->sys.n_home = 1;
    k->home[1] = 1;
    kit_at(k, 1.0, DNS_SCN_SPEED, 0, 2.0);
    kit_at(k, 2.0, DNS_SCN_USER, 1, 2.0);
    for (int i = 0; i < 3; i++) {
        kit_row(k, i);
        k->sample[i] = i % 2;
        k->owner[i] = i % 2;
    }
    return k;
}

/* One failed creation or feeding: status, index and message are as said. */
static void
refused(kit *k, dns_status st, dns_status status, int64_t index, const char *says, int line)
{
    const bool good = st == status && k->err.code == status && k->err.index == index &&
                      strstr(k->err.message, says) != NULL;
    if (!tap_check(good, __FILE__, line, says)) {
        printf("#   %s, index %lld: %s\n", dns_status_name((int)st), (long long)k->err.index,
               k->err.message);
    }
}

/* The sound system, spoiled by a statement on `k`, cannot be created / its rows cannot be fed. */
#define REFUSED(statement, status, index, says)                                                    \
    do {                                                                                           \
        kit *k = sound();                                                                          \
        statement;                                                                                 \
        kit_wire(k);                                                                               \
        refused(k, dns_sim_create(NULL, &k->sys, &k->sim, &k->err), status, index, says,           \
                __LINE__);                                                                         \
        CHECK(k->sim == NULL);                                                                     \
        kit_free(k);                                                                               \
    } while (0)
#define REFUSED_ROWS(statement, status, index, says)                                               \
    do {                                                                                           \
        kit *k = sound();                                                                          \
        CHECK_I64(kit_create(k, NULL), DNS_OK);                                                    \
        statement;                                                                                 \
        refused(k, dns_sim_feed(k->sim, &k->work, true, &k->err), status, index, says, __LINE__);  \
        kit_free(k);                                                                               \
    } while (0)

static void
test_the_sound_system_runs(void)
{
    kit *k = sound();
    CHECK_I64(kit_run(k), DNS_SIM_DONE);
    CHECK_I64(k->stats.finished, 3);
    kit_free(k);
}

static void
test_refused_counts(void)
{
    REFUSED(k->sys.n_stage = 0, DNS_ERR_SHAPE, -1, "at least one stage");
    REFUSED(k->sys.n_program = 0, DNS_ERR_SHAPE, -1, "at least one stage");
    REFUSED(k->sys.n_pool = 0, DNS_ERR_SHAPE, -1, "at least one stage");
    REFUSED(k->sys.n_owner = 0, DNS_ERR_SHAPE, -1, "owner");
    REFUSED(k->sys.n_table = -1, DNS_ERR_SHAPE, -1, "negative");
}

static void
test_refused_tables(void)
{
    REFUSED(k->tables[1].v = NULL, DNS_ERR_SHAPE, 1, "table 1: expected at least one cell");
    REFUSED(k->tables[1].n = 0, DNS_ERR_SHAPE, 1, "table 1: expected at least one cell");
    REFUSED(k->tables[2].pos_shift = 32, DNS_ERR_VALUE, 2, "pos_shift");
    REFUSED(k->tables[2].by[2] = -1, DNS_ERR_SHAPE, 2, "axis 2");
    REFUSED(k->tables[2].by[2] = 1; k->tables[2].ext[2] = 0, DNS_ERR_SHAPE, 2, "axis 2");
}

static void
test_refused_stages(void)
{
    REFUSED(k->stages[2].pool = 2, DNS_ERR_VALUE, 2, "stage 2: no pool 2");
    REFUSED(k->stages[2].pool = -2, DNS_ERR_VALUE, 2, "stage 2: no pool -2");
    REFUSED(k->stages[2].pool = DNS_POOL_HOME(1), DNS_ERR_VALUE, 2, "stage 2: no pool -17");
    REFUSED(k->stages[2].pool = DNS_POOL_DELAY, DNS_ERR_VALUE, 2, "holds no resource");
    REFUSED(k->stages[2].state = -3, DNS_ERR_VALUE, 2, "bad state -3");
    REFUSED(k->stages[2].conf = 2, DNS_ERR_VALUE, 2, "no confidence column 2");
    REFUSED(k->stages[2].load = -1, DNS_ERR_VALUE, 2, "negative load");
}

static void
test_refused_table_columns(void)
{
    REFUSED(k->stages[2].hold = 4, DNS_ERR_VALUE, 2, "stage 2: no table 4");
    REFUSED(k->stages[2].hold_off = 3, DNS_ERR_SHAPE, 2, "reaches cell 6 of table 0, which has 6");
    REFUSED(k->stages[2].hold_off = -1, DNS_ERR_SHAPE, 2, "table 0");
    REFUSED(k->stages[2].hold_off = INT64_MAX, DNS_ERR_SHAPE, 2, "table 0");
    REFUSED(k->tables[0].ext[DNS_AX_SAMPLE] = 3, DNS_ERR_SHAPE, 0, "smaller than its extents");
}

static void
test_refused_cells(void)
{
    REFUSED(k->cells[4] = -1.0, DNS_ERR_VALUE, 4, "table 0: cell 4 is -1; expected seconds >= 0");
    REFUSED(k->cells[7] = NAN, DNS_ERR_VALUE, 1, "table 1: cell 1");
    REFUSED(k->cells[12] = NAN, DNS_ERR_VALUE, 2, "table 2: cell 2 is NaN");
}

static void
test_refused_programs(void)
{
    REFUSED(k->programs[0].n_stage = 4, DNS_ERR_SHAPE, 0, "program 0: 4 stages from 0 on");
    REFUSED(k->programs[0].stage0 = -1, DNS_ERR_SHAPE, 0, "program 0");
    REFUSED(k->programs[0].n_stage = 0, DNS_ERR_SHAPE, 0, "program 0");
    /* two columns for three stages: the last row ends early */
    REFUSED(k->programs[0].est = 3, DNS_ERR_SHAPE, 0, "reaches cell 4 of table 3");
    REFUSED(k->programs[0].alone = 9, DNS_ERR_VALUE, 0, "program 0: no table 9");
    REFUSED(k->programs[0].conf = -1, DNS_ERR_VALUE, 0, "no confidence table");
    REFUSED(k->programs[0].conf = 1; k->sys.n_column = 5, DNS_ERR_SHAPE, 0, "table 1");
}

static void
test_refused_policies(void)
{
    REFUSED(k->policies[1].abi = 2, DNS_ERR_VALUE, 1, "ABI 2");
    REFUSED(k->pools[1].policy = NULL, DNS_ERR_VALUE, 1, "ABI 0");
    REFUSED(k->policies[1].klass = (dns_class)9, DNS_ERR_VALUE, 1, "bad policy class");
    REFUSED(k->policies[1].n_param = DNS_N_PARAM, DNS_ERR_VALUE, 1, "at most 32 parameters");
    REFUSED(k->policies[1].key_column = -1, DNS_ERR_VALUE, 1, "key column or score()");
    REFUSED(k->policies[1].key_column = DNS_N_FEATURE, DNS_ERR_VALUE, 1, "key column or score()");
    REFUSED(k->policies[1].klass = DNS_CLASS_TIME, DNS_ERR_VALUE, 1,
            "needs pick(), score() or batch()");
    REFUSED(k->policies[1].hooks = 1, DNS_ERR_VALUE, 1, "hooks");
}

static void
test_refused_pools(void)
{
    REFUSED(k->pools[1].res0 = 2, DNS_ERR_SHAPE, 1, "pool 1: resources");
    REFUSED(k->pools[1].res1 = 1, DNS_ERR_SHAPE, 1, "pool 1: resources");
    REFUSED(k->pools[1].res1 = 4, DNS_ERR_SHAPE, 1, "pool 1: resources");
    REFUSED(k->pools[1].res1 = 2, DNS_ERR_SHAPE, 2, "resource 2 belongs to no pool");
    REFUSED(k->pools[1].max_batch = 0, DNS_ERR_VALUE, 1, "max_batch");
    REFUSED(k->pools[1].timer_s = -1.0, DNS_ERR_VALUE, 1, "timer_s");
    REFUSED(k->pools[1].timer_s = INFINITY, DNS_ERR_VALUE, 1, "timer_s");
}

static void
test_refused_resources(void)
{
    static const double negative[4] = {0.0, -1.0, 1.0, 0.0};
    REFUSED(k->res[1].speed = 0.0, DNS_ERR_VALUE, 1, "resource 1: speed");
    REFUSED(k->res[1].speed = INFINITY, DNS_ERR_VALUE, 1, "resource 1: speed");
    REFUSED(k->res[1].switch_const_s = -1.0, DNS_ERR_VALUE, 1, "switch cost");
    REFUSED(k->res[1].state = -2, DNS_ERR_VALUE, 1, "start state -2");
    REFUSED(k->res[0].state = 2, DNS_ERR_VALUE, 0, "start state 2");
    REFUSED(k->res[0].switch_s = negative, DNS_ERR_VALUE, 0, "switch cost 1");
}

static void
test_refused_states(void)
{
    REFUSED(k->stages[0].state = 2, DNS_ERR_VALUE, 0,
            "stage 0: state 2 is not in the switch table of resource 0");
    /* its pool is looked up: it may be pool 0 */
    REFUSED(k->stages[1].state = 2, DNS_ERR_VALUE, 1, "stage 1: state 2");
}

static void
test_refused_scenario_rows(void)
{
    REFUSED(k->scenario[1].t_s = 0.5, DNS_ERR_VALUE, 1, "scenario row 1: times");
    REFUSED(k->scenario[0].t_s = NAN, DNS_ERR_VALUE, 0, "scenario row 0: times");
    REFUSED(k->scenario[0].op = 2, DNS_ERR_VALUE, 0, "unknown operation 2");
    REFUSED(k->scenario[0].target = 3, DNS_ERR_VALUE, 0, "no target 3");
    REFUSED(k->scenario[1].target = 2, DNS_ERR_VALUE, 1, "no target 2");
    REFUSED(k->scenario[0].value = 0.0, DNS_ERR_VALUE, 0, "speed must be > 0");
}

static void
test_refused_the_rest(void)
{
    REFUSED(k->home[1] = 2, DNS_ERR_VALUE, 1, "home 1: no pool 2");
    REFUSED(k->thresholds[3] = NAN, DNS_ERR_VALUE, 3, "threshold 3 is NaN");
    REFUSED(k->sys.clock = DNS_CLOCK_ARTIFACT, DNS_ERR_VALUE, -1, "artifact clock");
}

static void
test_refused_rows(void)
{
    REFUSED_ROWS(k->work.n = -1, DNS_ERR_SHAPE, -1, "arrival times");
    REFUSED_ROWS(k->work.arrival_s = NULL, DNS_ERR_SHAPE, -1, "arrival times");
    REFUSED_ROWS(k->arrival[1] = -1.0, DNS_ERR_VALUE, 1, "arrival: row 1 is -1");
    REFUSED_ROWS(k->arrival[1] = NAN, DNS_ERR_VALUE, 1, "arrival: row 1");
    REFUSED_ROWS(k->arrival[2] = INFINITY, DNS_ERR_VALUE, 2, "arrival: row 2 is inf");
    REFUSED_ROWS(k->arrival[2] = 0.5, DNS_ERR_VALUE, 2,
                 "row 2 (0.5 s) is earlier than the row before (1 s)");
    REFUSED_ROWS(k->deadline[2] = NAN, DNS_ERR_VALUE, 2, "deadline: row 2 is NaN");
    REFUSED_ROWS(k->priority[2] = 0.0, DNS_ERR_VALUE, 2, "priority: row 2 is 0");
    REFUSED_ROWS(k->priority[2] = INFINITY, DNS_ERR_VALUE, 2, "priority: row 2");
    REFUSED_ROWS(k->program[2] = 1, DNS_ERR_VALUE, 2, "program: row 2 is 1; expected 0..0");
    REFUSED_ROWS(k->sample[2] = 2, DNS_ERR_VALUE, 2, "sample: row 2 is 2; expected 0..1");
    REFUSED_ROWS(k->sample[2] = -1, DNS_ERR_VALUE, 2, "sample: row 2 is -1");
    REFUSED_ROWS(k->owner[2] = 2, DNS_ERR_VALUE, 2, "owner: row 2 is 2; expected 0..1");
    REFUSED_ROWS(k->pos0[2] = -1, DNS_ERR_VALUE, 2, "pos0: row 2 is negative");
    REFUSED_ROWS(k->user[2 * DNS_N_USER + 7] = NAN, DNS_ERR_VALUE, 2, "user: row 2 is NaN");
    REFUSED_ROWS(kit_row(k, 3.0); kit_row(k, 4.0), DNS_ERR_VALUE, 4, "tables end at row 3");
}

/* A refused chunk changes nothing: the right one may follow. */
static void
test_a_refusal_leaves_the_simulation_alone(void)
{
    kit *k = sound();
    REQUIRE(kit_create(k, NULL) == DNS_OK);
    k->priority[1] = -1.0;
    CHECK_I64(dns_sim_feed(k->sim, &k->work, true, &k->err), DNS_ERR_VALUE);
    k->priority[1] = 1.0;
    CHECK_I64(dns_sim_feed(k->sim, &k->work, true, &k->err), DNS_OK);
    CHECK_I64(kit_go(k, 10), DNS_OK);
    CHECK_I64(k->state, DNS_SIM_DONE);
    kit_free(k);
}

static void
test_records_are_checked(void)
{
    kit *k = sound();
    REQUIRE(kit_create(k, NULL) == DNS_OK);
    const dns_results bad = {.n = -1};
    dns_slice slices[1];
    CHECK_I64(dns_sim_record(k->sim, &bad, &k->err), DNS_ERR_SHAPE);
    CHECK_I64(dns_sim_slices(k->sim, slices, -1, &k->err), DNS_ERR_VALUE);
    kit_free(k);
}

TAP_MAIN(TAP(test_the_sound_system_runs), TAP(test_refused_counts), TAP(test_refused_tables),
         TAP(test_refused_stages), TAP(test_refused_table_columns), TAP(test_refused_cells),
         TAP(test_refused_programs), TAP(test_refused_policies), TAP(test_refused_pools),
         TAP(test_refused_resources), TAP(test_refused_states), TAP(test_refused_scenario_rows),
         TAP(test_refused_the_rest), TAP(test_refused_rows),
         TAP(test_a_refusal_leaves_the_simulation_alone), TAP(test_records_are_checked))
