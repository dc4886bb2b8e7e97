/* Closed loops: schedules by hand, ends by time and count, what is refused, failing allocations. */
#include "simkit.h"

/* One pool of `n_res` resources, one stage of table `hold` (a cell per row), one source over rows.
 */
static kit *
loop_of(int n_res, int n, const double *hold, int64_t window)
{
    kit *k = kit_new();
    const int t = kit_axis(k, DNS_AX_ROW, n, 1, hold);
    kit_pool(k, "fcfs", n_res);
    const dns_stage stage = kit_stage(0, t, 0);
    kit_program(k, 1, &stage);
    for (int i = 0; i < n; i++) {
        kit_row(k, 0.0);
    }
    k->sources[k->sys.n_source++] = (dns_source){
        .n = n, .window = window, .burst = 1, .think = -1, .until_s = (double)INFINITY};
    return k;
}

static void
check_column(const double *got, const double *want, int n)
{
    for (int i = 0; i < n; i++) {
        CHECK_F64(got[i], want[i]);
    }
}

static void
test_one_credit_is_a_single_stream(void)
{
    kit *k = loop_of(1, 4, (double[]){1.0, 0.25, 2.0, 0.5}, 1);
    k->deadline[2] = 1.75;
    CHECK(kit_run(k) == DNS_SIM_DONE);
    check_column(k->release, (double[]){0.0, 1.0, 1.25, 3.25}, 4);
    check_column(k->first, (double[]){0.0, 1.0, 1.25, 3.25}, 4);
    check_column(k->finish, (double[]){1.0, 1.25, 3.25, 3.75}, 4);
    CHECK_F64(k->stats.queue_area, 3.75); /* one in the system all the time */
    CHECK_I64(k->stats.queue_max, 1);
    kit_free(k);
}

/* Two credits, two resources: r0 0-1, r1 0-3, r2 1-2, r3 2-3, r4 3-4 (r1 and r3 end together). */
static void
test_a_window_of_two(void)
{
    kit *k = loop_of(2, 5, (double[]){1.0, 3.0, 1.0, 1.0, 1.0}, 2);
    CHECK(kit_run(k) == DNS_SIM_DONE);
    check_column(k->release, (double[]){0.0, 0.0, 1.0, 2.0, 3.0}, 5);
    check_column(k->finish, (double[]){1.0, 3.0, 2.0, 3.0, 4.0}, 5);
    kit_free(k);
}

/* Think times by row: the row to come thinks. A later row may come out earlier. */
static void
test_think_times(void)
{
    kit *k = loop_of(2, 4, (double[]){1.0, 2.0, 1.0, 1.0}, 2);
    k->sources[0].think = kit_axis(k, DNS_AX_ROW, 4, 1, (double[]){9.0, 9.0, 5.0, 0.5});
    k->arrival[1] = 0.25; /* the first rows need no credit: at their arrivals */
    k->arrival[2] = k->arrival[3] = 0.25;
    CHECK(kit_run(k) == DNS_SIM_DONE);
    check_column(k->release, (double[]){0.0, 0.25, 6.0, 2.75}, 4);
    check_column(k->finish, (double[]){1.0, 2.25, 7.0, 3.75}, 4);
    CHECK_I64(k->order[2], 3);
    kit_free(k);
    /* the arrival bounds the release from below */
    k = loop_of(1, 2, (double[]){1.0, 1.0}, 1);
    k->arrival[1] = 8.0;
    CHECK(kit_run(k) == DNS_SIM_DONE);
    check_column(k->finish, (double[]){1.0, 9.0}, 2);
    kit_free(k);
}

/* Queries of two: the next two when both are done; five rows leave a query of one. */
static void
test_bursts(void)
{
    kit *k = loop_of(2, 5, (double[]){1.0, 2.0, 0.5, 0.5, 1.0}, 2);
    k->sources[0].burst = 2;
    CHECK(kit_run(k) == DNS_SIM_DONE);
    check_column(k->release, (double[]){0.0, 0.0, 2.0, 2.0, 2.5}, 5);
    check_column(k->finish, (double[]){1.0, 2.0, 2.5, 2.5, 3.5}, 5);
    kit_free(k);
    /* window 3, burst 2: one credit is over at the start, so the first end brings the next two */
    k = loop_of(2, 4, (double[]){1.0, 2.0, 0.5, 0.5}, 3);
    k->sources[0].burst = 2;
    CHECK(kit_run(k) == DNS_SIM_DONE);
    check_column(k->release, (double[]){0.0, 0.0, 1.0, 1.0}, 4);
    kit_free(k);
    /* a burst waits for the arrival of its last row and thinks once */
    k = loop_of(1, 4, (double[]){1.0, 1.0, 1.0, 1.0}, 2);
    k->sources[0].burst = 2;
    k->sources[0].think = kit_axis(k, DNS_AX_ROW, 4, 1, (double[]){0.0, 0.0, 1.0, 100.0});
    k->arrival[1] = k->arrival[2] = 0.5;
    k->arrival[3] = 4.0;
    CHECK(kit_run(k) == DNS_SIM_DONE);
    check_column(k->release, (double[]){0.5, 0.5, 4.0, 4.0}, 4);
    kit_free(k);
}

/* Deadlines count from the release. */
static void
test_deadlines_are_relative(void)
{
    kit *k = loop_of(1, 4, (double[]){1.0, 1.0, 1.0, 1.0}, 1);
    dns_sums sums[1];
    int64_t *hist = calloc(DNS_HIST_N, sizeof *hist);
    for (int i = 0; i < 4; i++) {
        k->deadline[i] = i < 3 ? 1.0 : 0.5; /* met exactly three times */
    }
    CHECK(kit_create(k, NULL) == DNS_OK);
    CHECK(dns_sim_sums(k->sim, sums, hist, 0, &k->err) == DNS_OK);
    CHECK(dns_sim_feed(k->sim, &k->work, true, &k->err) == DNS_OK);
    CHECK(kit_go(k, 100) == DNS_OK);
    CHECK_I64(sums[0].violations, 1);
    CHECK_F64(sums[0].latency_s, 4.0);
    CHECK_F64(sums[0].last_arrival_s, 3.0);
    free(hist);
    kit_free(k);
}

/* Rows of 1 s one by one; both the time and the count must be reached. */
static void
test_ends_by_time_and_count(void)
{
    static const struct {
        double until_s;
        int64_t n_min, released;
    } ends[] = {{0.0, 0, 1}, {0.0, 4, 4},  {2.0, 0, 3},  {2.0, 3, 3},  {2.0, 5, 5},
                {2.5, 0, 4}, {90.0, 0, 8}, {0.0, 90, 8}, {9.0, 90, 8}, {7.0, 1, 8}};
    double hold[8] = {1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0};
    for (size_t e = 0; e < sizeof ends / sizeof *ends; e++) {
        kit *k = loop_of(1, 8, hold, 1);
        k->sources[0].until_s = ends[e].until_s;
        k->sources[0].n_min = ends[e].n_min;
        CHECK(kit_run(k) == DNS_SIM_DONE);
        CHECK_I64(k->stats.released, ends[e].released);
        CHECK_I64(k->stats.finished, ends[e].released);
        for (int64_t i = ends[e].released; i < 8; i++) {
            CHECK(k->status[i] == DNS_ST_OPEN && isnan(k->release[i]) && isnan(k->finish[i]));
        }
        kit_free(k);
    }
}

/* Open rows before, between and after the rows of two sources; each part is in order for itself. */
static void
test_open_rows_around_sources(void)
{
    kit *k = loop_of(1, 8, (double[]){1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0}, 1);
    k->sources[0].row0 = 1;
    k->sources[0].n = 2;
    k->sources[1] = (dns_source){
        .row0 = 3, .n = 2, .window = 2, .burst = 1, .think = -1, .until_s = (double)INFINITY};
    k->sys.n_source = 2;
    static const double arrival[8] = {0.5, 0.0, 0.0, 0.0, 0.0, 0.5, 20.0, 30.0};
    memcpy(k->arrival, arrival, sizeof arrival);
    CHECK(kit_run(k) == DNS_SIM_DONE);
    /* at 0: 1, 3, 4; at .5: 0, 5; at 1 (1 ends): 2 */
    check_column(k->release, (double[]){0.5, 0.0, 1.0, 0.0, 0.0, 0.5, 20.0, 30.0}, 8);
    check_column(k->finish, (double[]){4.0, 1.0, 6.0, 2.0, 3.0, 5.0, 21.0, 31.0}, 8);
    CHECK_I64(k->stats.released, 8);
    k->arrival[5] = 0.25; /* before the open row 0 */
    CHECK(kit_try(k) == DNS_ERR_VALUE);
    CHECK_I64(k->err.index, 5);
    k->arrival[5] = 0.5;
    k->arrival[2] = 0.25;
    k->arrival[1] = 0.5; /* within the source */
    CHECK(kit_try(k) == DNS_ERR_VALUE);
    CHECK_I64(k->err.index, 2);
    kit_free(k);
}

/* A full queue drops a row: its credit comes back at once, and the next row meets the same queue.
 */
static void
test_a_dropped_row_gives_its_credit_back(void)
{
    kit *k = loop_of(1, 6, (double[]){1.0, 1.0, 1.0, 1.0, 1.0, 1.0}, 3);
    k->pools[0].cap = 2;
    CHECK(kit_run(k) == DNS_SIM_DONE);
    /* at 0 nothing has started: 0 and 1 wait, 2 to 5 are dropped one after the other */
    CHECK_I64(k->stats.dropped, 4);
    check_column(k->release, (double[6]){0.0}, 6);
    check_column(k->finish, (double[]){1.0, 2.0, 0.0, 0.0, 0.0, 0.0}, 6);
    kit_free(k);
}

/* Device (stage 0, credit back at its end), 1 s of travel, server: the next row needs the device
 * only. An exit on the device gives the credit back once. */
static void
test_a_stage_that_gives_the_credit_back(void)
{
    kit *k = kit_new();
    const int hold = kit_table(k, 2, (double[]){1.0, 3.0}), travel = kit_cell(k, 1.0);
    kit_pool(k, "fcfs", 1);
    kit_pool(k, "fcfs", 1);
    dns_stage stages[2] = {kit_stage(0, hold, 0), kit_stage(1, hold, 1)};
    stages[0].delay = travel;
    stages[0].flags = DNS_STAGE_CREDIT_END;
    kit_program(k, 2, stages);
    for (int i = 0; i < 4; i++) {
        kit_row(k, 0.0);
    }
    k->exit_at[1] = 0;
    k->sources[k->sys.n_source++] =
        (dns_source){.n = 4, .window = 1, .burst = 1, .think = -1, .until_s = (double)INFINITY};
    CHECK(kit_run(k) == DNS_SIM_DONE);
    check_column(k->release, (double[]){0.0, 1.0, 2.0, 3.0}, 4);
    check_column(k->finish, (double[]){5.0, 2.0, 8.0, 11.0}, 4);
    kit_free(k);
    /* both stages in one pool: the flag is seen where the job would run on in place */
    for (int each = 0; each < 2; each++) {
        k = kit_new();
        const int two = kit_table(k, 2, (double[]){1.0, 3.0});
        kit_pool(k, "fcfs", 2);
        dns_stage on[2] = {kit_stage(0, two, 0), kit_stage(0, two, 1)};
        on[0].flags = DNS_STAGE_CREDIT_END;
        kit_program(k, 2, on);
        kit_row(k, 0.0);
        kit_row(k, 0.0);
        k->sys.step_each_stage = each != 0;
        k->sources[k->sys.n_source++] =
            (dns_source){.n = 2, .window = 1, .burst = 1, .think = -1, .until_s = (double)INFINITY};
        CHECK(kit_run(k) == DNS_SIM_DONE);
        check_column(k->release, (double[]){0.0, 1.0}, 2);
        check_column(k->finish, (double[]){4.0, 5.0}, 2);
        kit_free(k);
    }
}

/* An infinite think time: the credit is lost, and the simulation ends without the rest. */
static void
test_lost_credits(void)
{
    kit *k = loop_of(1, 4, (double[]){1.0, 1.0, 1.0, 1.0}, 1);
    k->sources[0].think =
        kit_axis(k, DNS_AX_ROW, 4, 1, (double[]){0.0, 0.0, (double)INFINITY, 0.0});
    CHECK(kit_run(k) == DNS_SIM_DONE);
    CHECK_I64(k->stats.released, 2);
    kit_free(k);
}

/* The system is empty while all users think: not the end. Timers and waiting batches see rows to
 * come. */
static void
test_an_empty_system_waits_for_thinkers(void)
{
    kit *k = loop_of(1, 3, (double[]){1.0, 1.0, 1.0}, 1);
    k->sources[0].think = kit_cell(k, 10.0);
    k->pools[0].timer_s = 2.0;
    CHECK(kit_run(k) == DNS_SIM_DONE);
    check_column(k->release, (double[]){0.0, 11.0, 22.0}, 3);
    CHECK_F64(k->stats.now_s, 23.0);
    kit_free(k);
}

/* In batch(): waits for two, or for the flush. */
static int32_t
pairs(void *user, dns_ctl *ctl, int64_t n, const double *feat, int64_t ld, const double *param,
      dns_choice *out)
{
    int64_t *seen = user;
    (void)ctl;
    (void)feat;
    (void)ld;
    seen[param[DNS_P_MORE_ARRIVALS] != 0.0]++;
    if (n < 2 && param[DNS_P_FLUSH] == 0.0) {
        return 0;
    }
    out->n = n < 2 ? n : 2;
    out->slots[0] = 0;
    out->slots[1] = 1;
    return 0;
}

/* With one credit a pair never comes: the flush starts single ones. With two the pair does. A row
 * that only this pool's own work can release is not "to come". */
static void
test_batches_that_wait_for_their_own_output(void)
{
    int64_t seen[2] = {0, 0};
    for (int64_t window = 1; window <= 2; window++) {
        kit *k = loop_of(1, 4, (double[]){1.0, 1.0, 1.0, 1.0}, window);
        k->policies[0].klass = DNS_CLASS_PICK;
        k->policies[0].batch = pairs;
        k->policies[0].user = seen;
        k->pools[0].max_batch = 2;
        CHECK(kit_run(k) == DNS_SIM_DONE);
        CHECK_F64(k->stats.now_s, window == 1 ? 4.0 : 2.0);
        kit_free(k);
    }
    CHECK(seen[0] > 0);
    CHECK_I64(seen[1], 0);
}

/* -- refused ------------------------------------------------------------------------------------
 */

static void
refused(kit *k, dns_status want, const char *says, int line)
{
    const dns_status st = kit_try(k);
    if (!tap_check(st == want && strstr(k->err.message, says) != NULL, __FILE__, line, says)) {
        printf("#   %s: %s\n", dns_status_name((int)st), k->err.message);
    }
}

#define REFUSED(statement, status, says)                                                           \
    do {                                                                                           \
        kit *k = loop_of(1, 4, (double[]){1.0, 1.0, 1.0, 1.0}, 2);                                 \
        dns_source *c = k->sources;                                                                \
        statement;                                                                                 \
        (void)c;                                                                                   \
        refused(k, status, says, __LINE__);                                                        \
        kit_free(k);                                                                               \
    } while (0)

static void
test_bad_sources_are_refused(void)
{
    REFUSED(c->n = 0, DNS_ERR_SHAPE, "at least one row");
    REFUSED(c->row0 = -1, DNS_ERR_SHAPE, "at least one row");
    REFUSED(c->row0 = INT64_MAX, DNS_ERR_SHAPE, "at least one row");
    REFUSED(c->row0 = 1, DNS_ERR_SHAPE, "rows 1 to 4, but only 4");
    REFUSED((k->sources[1] = c[0], k->sys.n_source = 2), DNS_ERR_SHAPE, "source 1");
    REFUSED(c->window = 0, DNS_ERR_VALUE, "window 0");
    REFUSED(c->burst = 0, DNS_ERR_VALUE, "burst 0");
    REFUSED(c->burst = 3, DNS_ERR_VALUE, "burst 3, window 2");
    REFUSED(c->n_min = -1, DNS_ERR_VALUE, "n_min");
    REFUSED(c->until_s = -1.0, DNS_ERR_VALUE, "until_s");
    REFUSED(c->until_s = (double)NAN, DNS_ERR_VALUE, "until_s");
    REFUSED(c->think = 9, DNS_ERR_VALUE, "source 0: no table 9");
    REFUSED(c->think = kit_cell(k, -1.0), DNS_ERR_VALUE, "expected seconds >= 0");
    REFUSED((c->think = kit_cell(k, 1.0), c->think_off = 1), DNS_ERR_SHAPE, "from column 1");
    REFUSED(c->think = kit_axis(k, DNS_AX_ROW, 3, 1, (double[]){1.0, 1.0, 1.0}), DNS_ERR_VALUE,
            "its think times end at row 2");
    REFUSED((c->think = kit_axis(k, DNS_AX_SAMPLE, 2, 1, (double[]){1.0, 1.0}), k->sample[3] = 2),
            DNS_ERR_VALUE, "row 3 is 2; the think times of source 0 end at sample 1");
    REFUSED(k->stages[0].flags = 2, DNS_ERR_VALUE, "bad flags 2");
    REFUSED((k->stages[0] = kit_stage(DNS_POOL_DELAY, -1, 0), k->stages[0].flags = 1),
            DNS_ERR_VALUE, "bad flags 1");
    REFUSED(k->sys.n_source = -1, DNS_ERR_SHAPE, "negative");
    REFUSED(k->sys.clock = DNS_CLOCK_ARTIFACT, DNS_ERR_VALUE, "knows no sources");
    kit *k = loop_of(1, 4, (double[]){1.0, 1.0, 1.0, 1.0}, 2);
    CHECK(kit_create(k, NULL) == DNS_OK);
    CHECK(dns_sim_feed(k->sim, &k->work, false, &k->err) == DNS_ERR_VALUE);
    CHECK(strstr(k->err.message, "all rows at once") != NULL);
    kit_free(k);
}

/* -- failing allocations ------------------------------------------------------------------------
 */

static dns_status
life(const dns_alloc *a, void *ctx)
{
    kit *k = ctx;
    k->sim = NULL;
    kit_wire(k);
    dns_status st = dns_sim_create(a, &k->sys, &k->sim, &k->err);
    if (st == DNS_OK) {
        st = dns_sim_feed(k->sim, &k->work, true, &k->err);
    }
    if (st == DNS_OK) {
        st = kit_go(k, 1000);
    }
    if (st == DNS_OK && (k->state != DNS_SIM_DONE || k->stats.finished != k->work.n)) {
        st = DNS_ERR_INTERNAL;
    }
    dns_sim_destroy(k->sim);
    k->sim = NULL;
    return st;
}

/* 150 users that think at once: the event heap grows before the first event and again by credits,
 * jobs and queue with the bursts of the second source. */
static void
test_oom_sources(void)
{
    double hold[400];
    for (int i = 0; i < 400; i++) {
        hold[i] = 0.5;
    }
    kit *k = loop_of(1, 400, hold, 150);
    k->sources[0].n = 200;
    k->sources[0].think = kit_cell(k, 500.0);
    k->sources[1] = (dns_source){.row0 = 200,
                                 .n = 200,
                                 .window = 100,
                                 .burst = 100,
                                 .think = -1,
                                 .until_s = (double)INFINITY};
    k->sys.n_source = 2;
    CHECK(tap_oom_sweep(life, k) > 15);
    kit_free(k);
}

TAP_MAIN(TAP(test_one_credit_is_a_single_stream), TAP(test_a_window_of_two), TAP(test_think_times),
         TAP(test_bursts), TAP(test_deadlines_are_relative), TAP(test_ends_by_time_and_count),
         TAP(test_open_rows_around_sources), TAP(test_a_dropped_row_gives_its_credit_back),
         TAP(test_a_stage_that_gives_the_credit_back), TAP(test_lost_credits),
         TAP(test_an_empty_system_waits_for_thinkers),
         TAP(test_batches_that_wait_for_their_own_output), TAP(test_bad_sources_are_refused),
         TAP(test_oom_sources))
