/* Random systems: the same bytes whatever the way of computing them; failing allocations at every
 * step. */
#include "simgen.h"

enum { N_CASE = 4000, N_BYTE = 4096, MOST_ROWS = 24 };

/* Everything that a run leaves. */
typedef struct outcome {
    dns_status status;
    dns_sim_state state;
    double first[MOST_ROWS], finish[MOST_ROWS], service[MOST_ROWS], release[MOST_ROWS];
    int32_t n_preempt[MOST_ROWS], last_stage[MOST_ROWS], variant[MOST_ROWS];
    uint8_t how[MOST_ROWS];
    int64_t order[MOST_ROWS];
    double busy[16], switched[16], thresholds[GEN_OWNERS * GEN_COLUMNS], now, area;
    int64_t counts[8], n_source;
} outcome;

typedef struct way {
    bool each_stage, slices;
    int64_t chunk, fuel; /* chunk 0: whole */
    dns_isa isa;
} way;

static void
random_bytes(uint64_t seed, uint8_t *out)
{
    for (size_t i = 0; i < N_BYTE; i += 8) {
        const uint64_t word = gen_mix(seed * N_BYTE + i);
        memcpy(out + i, &word, 8);
    }
}

/* Slices of one resource follow each other, and sum to its busy time. */
static void
check_slices(const kit *k, const dns_slice *slices)
{
    for (int32_t r = 0; r < k->sys.n_resource; r++) {
        double end = 0.0, sum = 0.0;
        const dns_slice *last = NULL;
        for (int64_t i = 0; i < k->stats.n_slice; i++) {
            const dns_slice *s = &slices[i];
            if (s->resource != r || (last != NULL && s->n > 1 && s->t0_s == last->t0_s &&
                                     s->t1_s == last->t1_s && s->n == last->n)) {
                continue;
            }
            CHECK(s->t0_s >= end && s->t1_s >= s->t0_s);
            end = s->t1_s;
            sum += s->t1_s - s->t0_s;
            last = s;
        }
        if (k->state == DNS_SIM_DONE) {
            CHECK_NEAR(sum, dns_sim_busy_s(k->sim, r), 1e-9 * (1.0 + sum));
        }
    }
}

/* At no time more rows of a source are out than its window; rows are released in order of bursts,
 * and all of them are unless the source ends by time. */
static void
check_sources(const kit *k)
{
    for (int32_t c = 0; c < k->sys.n_source; c++) {
        const dns_source *src = &k->sources[c];
        bool early = false; /* some stage gives credits back: more rows may be out */
        for (int32_t i = 0; i < k->sys.n_stage; i++) {
            early = early || k->stages[i].flags != 0;
        }
        int64_t done = 0;
        for (int64_t i = src->row0; i < src->row0 + src->n; i++) {
            int64_t out = 0;
            done += k->status[i] != DNS_ST_OPEN;
            for (int64_t j = src->row0; k->status[i] != DNS_ST_OPEN && j < src->row0 + src->n;
                 j++) {
                out += k->release[j] < k->release[i] && k->finish[j] > k->release[i] && !early;
            }
            CHECK(out < src->window);
            CHECK(!(k->release[i] < k->arrival[i]));
        }
        CHECK(k->state != DNS_SIM_DONE || done >= src->n || done >= src->n_min);
        CHECK(k->state != DNS_SIM_DONE || isfinite(src->until_s) || done == src->n);
    }
}

static dns_status
play(kit *k, const way *w, dns_slice *slices)
{
    const int64_t n = k->work.n;
    DNS_TRY(kit_create(k, NULL));
    if (w->slices) {
        DNS_TRY(dns_sim_slices(k->sim, slices, 4096, &k->err));
    }
    dns_work part = k->work;
    const bool parts = k->sys.clock == DNS_CLOCK_MONOTONIC && k->sys.n_source == 0;
    const int64_t chunk = w->chunk > 0 && parts ? w->chunk : n + 1;
    for (int64_t at = 0;; at += chunk) {
        const bool last = at + chunk > n;
        part.n = last ? n - at : chunk;
        DNS_TRY(dns_sim_feed(k->sim, &part, last, &k->err));
        DNS_TRY(kit_go(k, w->fuel));
        if (last) {
            return DNS_OK;
        }
        CHECK_I64(k->state, DNS_SIM_NEED_ROWS);
        part.arrival_s += chunk;
        part.deadline_s += chunk;
        part.priority += chunk;
        part.program += chunk;
        part.sample += chunk;
        part.owner += chunk;
        part.pos0 += chunk;
        part.exit_at += chunk;
        part.user += chunk * DNS_N_USER;
    }
}

static void
collect(const kit *k, outcome *o)
{
    const size_t n = (size_t)k->work.n;
    const dns_sim_stats *s = &k->stats;
    memcpy(o->first, k->first, n * sizeof *o->first);
    memcpy(o->finish, k->finish, n * sizeof *o->finish);
    memcpy(o->service, k->service, n * sizeof *o->service);
    memcpy(o->release, k->release, n * sizeof *o->release);
    memcpy(o->n_preempt, k->n_preempt, n * sizeof *o->n_preempt);
    memcpy(o->last_stage, k->last_stage, n * sizeof *o->last_stage);
    memcpy(o->variant, k->variant, n * sizeof *o->variant);
    memcpy(o->how, k->status, n * sizeof *o->how);
    memcpy(o->order, k->order, n * sizeof *o->order);
    for (int32_t r = 0; r < k->sys.n_resource; r++) {
        o->busy[r] = dns_sim_busy_s(k->sim, r);
        o->switched[r] = dns_sim_switch_s(k->sim, r);
    }
    for (int i = 0; i < GEN_OWNERS * GEN_COLUMNS; i++) {
        o->thresholds[i] = dns_sim_threshold(k->sim, i / GEN_COLUMNS, i % GEN_COLUMNS);
    }
    o->now = s->now_s;
    o->n_source = k->sys.n_source;
    o->area = s->queue_area;
    const int64_t counts[8] = {s->released, s->finished, s->dropped,   s->live,
                               s->stages,   s->rewinds,  s->queue_max, s->decisions};
    memcpy(o->counts, counts, sizeof counts);
}

/* Runs case `seed` in a way. A run that does not end is cut by its fuel in every way at another
 * place, so such cases must not be generated: the random policies end every request with
 * probability 1. */
static void
run_case(uint64_t seed, const way *w, outcome *o)
{
    uint8_t bytes[N_BYTE];
    dns_slice *slices = w->slices ? calloc(4096, sizeof *slices) : NULL;
    kit *k = kit_new();
    random_bytes(seed, bytes);
    fuzz_in in = {bytes, sizeof bytes};
    gen_case(&in, k, w->isa, MOST_ROWS);
    k->sys.step_each_stage = w->each_stage;
    memset(o, 0, sizeof *o);
    o->status = play(k, w, slices);
    o->state = k->state;
    if (o->status == DNS_OK) {
        collect(k, o);
        CHECK_I64(k->stats.released, k->stats.finished + k->stats.live);
        if (k->sys.n_source > 0) {
            check_sources(k);
        }
        else if (k->state == DNS_SIM_DONE || k->sys.clock == DNS_CLOCK_MONOTONIC) {
            CHECK_I64(k->stats.released, k->work.n);
        }
        if (slices != NULL &&
            k->sys.clock == DNS_CLOCK_MONOTONIC) { /* the other goes back in time */
            check_slices(k, slices);
        }
    }
    else {
        CHECK(o->status == DNS_ERR_LIVELOCK || o->status == DNS_ERR_POLICY);
    }
    free(slices);
    kit_free(k);
}

static void
test_every_way_of_computing_gives_the_same_bytes(void)
{
    const dns_isa top = dns_isa_detect();
    const way ways[] = {
        {true, false, 0, 1000000, DNS_ISA_GENERIC},
        {false, false, 1, 1000000, DNS_ISA_GENERIC},
        {true, false, 3, 1, DNS_ISA_GENERIC},
        {false, false, 0, 1, top},
        {false, true, 7, 5, top},
    };
    const way plain = {false, false, 0, 1000000, DNS_ISA_GENERIC};
    int64_t done = 0, stalled = 0, failed = 0, multi = 0, loops = 0;
    for (uint64_t seed = 0; seed < N_CASE; seed++) {
        outcome first, other;
        run_case(seed, &plain, &first);
        done += first.status == DNS_OK && first.state == DNS_SIM_DONE;
        stalled += first.status == DNS_OK && first.state == DNS_SIM_STALLED;
        failed += first.status != DNS_OK;
        multi += first.counts[4] > 40;
        loops += first.n_source > 0;
        for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
            run_case(seed, &ways[w], &other);
            if (memcmp(&first, &other, sizeof first) != 0) {
                printf("# case %llu, way %zu: %s %d, %s %d\n", (unsigned long long)seed, w,
                       dns_status_name((int)first.status), (int)first.state,
                       dns_status_name((int)other.status), (int)other.state);
                CHECK(memcmp(&first, &other, sizeof first) == 0);
                return;
            }
        }
    }
    printf(
        "# %lld done, %lld stalled, %lld failed, %lld of more than 40 stages, %lld with sources\n",
        (long long)done, (long long)stalled, (long long)failed, (long long)multi, (long long)loops);
    CHECK(loops > N_CASE / 10);
    CHECK(done > N_CASE * 8 / 10);
    CHECK(multi > N_CASE / 4);
}

/* -- failing allocations ------------------------------------------------------------------------
 */

/* Create, feed in two chunks, run, destroy: with queues, jobs, events and user columns that grow.
 */
static dns_status
life(const dns_alloc *a, void *ctx)
{
    kit *k = ctx;
    k->sim = NULL;
    kit_wire(k);
    dns_status st = dns_sim_create(a, &k->sys, &k->sim, &k->err);
    dns_work part = k->work;
    part.n = 100;
    if (st == DNS_OK) {
        st = dns_sim_feed(k->sim, &part, false, &k->err);
    }
    if (st == DNS_OK) {
        st = kit_go(k, 1000);
    }
    part.arrival_s += 100;
    part.user += 100 * DNS_N_USER;
    part.n = k->work.n - 100;
    if (st == DNS_OK) {
        st = dns_sim_feed(k->sim, &part, true, &k->err);
    }
    if (st == DNS_OK) {
        st = kit_go(k, 1000);
    }
    if (st == DNS_OK && k->state != DNS_SIM_DONE) {
        st = DNS_ERR_INTERNAL;
    }
    dns_sim_destroy(k->sim);
    k->sim = NULL;
    return st;
}

/* Asks to be woken at every decision with fewer than three in the queue. */
static int32_t
threes(void *user, dns_ctl *ctl, int64_t n, const double *feat, int64_t ld, const double *param,
       dns_choice *out)
{
    (void)user;
    (void)feat;
    (void)ld;
    if (n < 3 && param[DNS_P_FLUSH] == 0.0) {
        out->wake_s = param[DNS_P_MORE_ARRIVALS] != 0.0 ? dns_ctl_now(ctl) + 0.5 : (double)NAN;
        return 0;
    }
    out->n = n < 3 ? n : 3;
    for (int64_t i = 0; i < out->n; i++) {
        out->slots[i] = i;
    }
    return 0;
}

static void
test_oom_random_systems(void)
{
    static const char *const names[] = {"fcfs", "edf", "prema", "batch_fcfs"};
    for (int p = 0; p < 4; p++) {
        kit *k = kit_new();
        const int one = kit_cell(k, 1.0), travel = kit_cell(k, 500.0);
        kit_pool(k, names[p], 1);
        k->policies[0].need |= DNS_NEED(DNS_F_USER0);
        k->policies[0].batch = p == 3 ? threes : NULL;
        k->pools[0].max_batch = p == 3 ? 3 : 1;
        k->pools[0].timer_s = 1000.0;
        dns_stage stages[2] = {kit_stage(0, one, 0), kit_stage(0, one, 0)};
        stages[0].delay = travel; /* many moves at once: the event heap grows */
        kit_program(k, 2, stages)->est = kit_table(k, 2, (double[]){2.0, 1.0});
        k->programs[0].iso = k->programs[0].est;
        for (int i = 0; i < 300; i++) {
            kit_row(k, i < 100 ? 0.0 : 1.0);
        }
        const size_t n = tap_oom_sweep(life, k);
        CHECK(n > 20);
        kit_free(k);
    }
}

TAP_MAIN(TAP(test_every_way_of_computing_gives_the_same_bytes), TAP(test_oom_random_systems))
