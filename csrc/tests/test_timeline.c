/* The timeline's JSON: balanced, bounded, the same text whatever the buffer. */
#include "dns/timeline.h"
#include "tap.h"

enum { ROWS = 3, SLICES = 6 };

typedef struct text {
    char *at;
    size_t n, room, pieces, longest, fail_at;
} text;

static int
collect(void *ctx, const char *piece, size_t n)
{
    text *t = ctx;
    t->pieces++;
    t->longest = n > t->longest ? n : t->longest;
    if (t->pieces == t->fail_at) {
        return 1;
    }
    if (t->n + n + 1 > t->room) {
        t->room = (t->n + n + 1) * 2;
        t->at = realloc(t->at, t->room);
        if (t->at == NULL) {
            exit(3);
        }
    }
    memcpy(t->at + t->n, piece, n);
    t->n += n;
    t->at[t->n] = '\0';
    return 0;
}

static int64_t
count(const char *in, const char *what)
{
    int64_t n = 0;
    for (const char *p = strstr(in, what); p != NULL; p = strstr(p + 1, what)) {
        n++;
    }
    return n;
}

/* Request 0 runs 0-1, 2-3; 1 preempts it 1-2 and misses its deadline; 2 was dropped without a
 * start. */
typedef struct scene {
    dns_slice slices[SLICES];
    int64_t by_start[SLICES], by_end[SLICES], previous[SLICES], next[SLICES];
    double arrival[ROWS], finish[ROWS], deadline[ROWS];
    uint8_t status[ROWS];
    int32_t key[ROWS];
    int64_t first[ROWS], by_finish[ROWS];
    const char *names[2], *resources[1];
    dns_timeline t;
} scene;

static scene *
stage_scene(void)
{
    scene *s = calloc(1, sizeof *s);
    if (s == NULL) {
        exit(3);
    }
    const dns_slice slices[3] = {{0.0, 1.0, 0, 0, 0, 0, 1, 0, 0},
                                 {1.0, 2.0, 1, 0, 0, 1, 1, 0, 0},
                                 {2.0, 3.0, 0, 0, 1, 0, 1, 0, 1}};
    memcpy(s->slices, slices, sizeof slices);
    const double arrival[] = {0.0, 0.5, 0.75}, finish[] = {3.0, 2.0, 0.75};
    const double deadline[] = {9.0, 1.5, 9.0};
    const int64_t by_finish[] = {2, 1, 0}, first[] = {0, 1, -1};
    const int64_t previous[] = {-1, -1, 0}, next[] = {1, 2, -1};
    for (int i = 0; i < SLICES; i++) {
        s->by_start[i] = s->by_end[i] = i;
        s->previous[i] = i < 3 ? previous[i] : -1;
        s->next[i] = i < 3 ? next[i] : -1;
    }
    memcpy(s->arrival, arrival, sizeof arrival);
    memcpy(s->first, first, sizeof first);
    memcpy(s->finish, finish, sizeof finish);
    memcpy(s->deadline, deadline, sizeof deadline);
    memcpy(s->by_finish, by_finish, sizeof by_finish);
    s->status[2] = DNS_ST_DROPPED;
    s->key[1] = 1;
    s->resources[0] = "accelerator 0";
    s->names[0] = "bert/dense";
    s->names[1] = "a \\\"quoted\\\" name";
    s->t = (dns_timeline){.slices = s->slices,
                          .n_slice = 3,
                          .by_start = s->by_start,
                          .by_end = s->by_end,
                          .previous = s->previous,
                          .next = s->next,
                          .n_row = ROWS,
                          .arrival_s = s->arrival,
                          .finish_s = s->finish,
                          .deadline_s = s->deadline,
                          .status = s->status,
                          .key = s->key,
                          .first = s->first,
                          .by_finish = s->by_finish,
                          .names = s->names,
                          .resources = s->resources,
                          .n_name = 2,
                          .n_resource = 1,
                          .t0_s = -INFINITY,
                          .t1_s = INFINITY,
                          .cap = 1000};
    return s;
}

static text
write_all(const dns_timeline *t, size_t room, int64_t *events, int64_t *cut)
{
    text out = {0};
    dns_error err;
    char *buf = malloc(room);
    const dns_status st = buf == NULL
                              ? DNS_ERR_MEMORY
                              : dns_timeline_write(t, collect, &out, buf, room, events, cut, &err);
    CHECK_I64(st, DNS_OK);
    free(buf);
    return out;
}

static void
test_every_event_is_there(void)
{
    scene *s = stage_scene();
    int64_t events = 0, cut = 0;
    const text out = write_all(&s->t, 4096, &events, &cut);
    CHECK_I64(cut, 0);
    CHECK_I64(count(out.at, "\"ph\":\"M\""), 2 + 1 + 2);
    CHECK_I64(count(out.at, "\"ph\":\"X\""), 3 + 3); /* slices, arrivals */
    CHECK_I64(count(out.at, "\"ph\":\"b\""), 3);
    CHECK_I64(count(out.at, "\"ph\":\"e\""), 3);
    CHECK_I64(count(out.at, "\"ph\":\"n\""), 2); /* the dropped one never started */
    CHECK_I64(count(out.at, "\"ph\":\"s\""), 2);
    CHECK_I64(count(out.at, "\"ph\":\"f\""), 2);
    /* levels (running, waiting): 0 s (1, 0), 0.5 s (1, 1), the dropped one is not seen, 2 s (1, 0),
     * 3 s (0, 0) */
    CHECK_I64(count(out.at, "\"name\":\"requests\",\"args\""), 4);
    CHECK_I64(count(out.at, "\"name\":\"utilization\""), 2);
    CHECK_I64(count(out.at, "deadline missed"), 1);
    CHECK_I64(count(out.at, "\"dropped\",\"args\":{\"request\":2}"), 1);
    CHECK_I64(count(out.at, "\"preempted\",\"args\":{\"request\":0,\"by\":1}"), 1);
    CHECK_I64(events, count(out.at, "\"ph\":") - 5);
    CHECK_I64(count(out.at, "{"), count(out.at, "}"));
    CHECK(strstr(out.at,
                 "\"ts\":1000000.000,\"name\":\"a \\\"quoted\\\" name\",\"dur\":1000000.000") !=
          NULL);
    CHECK(strstr(out.at, "{\"displayTimeUnit\":\"ns\",\"otherData\":{},\"traceEvents\":[\n{") ==
          out.at);
    CHECK_STR(out.at + out.n - 5, "}\n]}\n");
    free(out.at);
    free(s);
}

static void
test_any_buffer_gives_the_same_text(void)
{
    scene *s = stage_scene();
    int64_t events = 0, cut = 0;
    const text whole = write_all(&s->t, 1 << 16, &events, &cut);
    CHECK_I64(whole.pieces, 1);
    for (size_t room = 1024; room < 1100; room++) {
        const text parts = write_all(&s->t, room, &events, &cut);
        CHECK_I64(parts.n, whole.n);
        CHECK(memcmp(parts.at, whole.at, whole.n) == 0);
        CHECK(parts.longest <= room);
        CHECK_I64(parts.pieces, (whole.n + room - 1) / room);
        free(parts.at);
    }
    free(whole.at);
    free(s);
}

static void
test_the_cap_is_kept_and_said(void)
{
    enum { MANY = 400 };
    scene *s = stage_scene();
    dns_slice *slices = calloc(MANY, sizeof *slices);
    int64_t *at = calloc((size_t)MANY * 2, sizeof *at), *none = at + MANY;
    REQUIRE(slices != NULL && at != NULL);
    for (int i = 0; i < MANY; i++) {
        slices[i] = (dns_slice){i, i + 1.0, 0, 0, 1, 0, 1, 0, 0};
        at[i] = i;
        none[i] = -1;
    }
    s->t.by_start = s->t.by_end = at;
    s->t.previous = s->t.next = none;
    s->finish[0] = MANY;
    s->t.slices = slices;
    s->t.n_slice = MANY;
    s->t.lost = 7;
    int64_t events = 0, cut = 0;
    s->t.cap = 1000000;
    const text all = write_all(&s->t, 4096, &events, &cut);
    const int64_t total = events;
    CHECK_I64(cut, 7); /* what the run itself did not keep */
    CHECK(strstr(all.at, "events left out by window or cap: 7\"") != NULL);
    for (int64_t cap = 100; cap < total; cap += 37) {
        s->t.cap = cap;
        const text out = write_all(&s->t, 4096, &events, &cut);
        CHECK(events <= cap);
        CHECK(cut > 7);
        CHECK_I64(count(out.at, "\"ph\":\"b\""), count(out.at, "\"ph\":\"e\""));
        CHECK_I64(count(out.at, "\"ph\":\"s\""), count(out.at, "\"ph\":\"f\""));
        CHECK_I64(count(out.at, "cut here"), 1);
        CHECK_I64(count(out.at, "dnnsched_cut"), 1);
        CHECK_I64(count(out.at, "{"), count(out.at, "}"));
        free(out.at);
    }
    free(all.at);
    free(at);
    free(slices);
    free(s);
}

static void
test_windows_cut_spans_at_their_edges(void)
{
    scene *s = stage_scene();
    int64_t events = 0, cut = 0;
    s->t.t0_s = 0.6;
    s->t.t1_s = 1.5;
    const text out = write_all(&s->t, 4096, &events, &cut);
    CHECK(cut > 0);
    CHECK_I64(count(out.at, "\"ph\":\"b\""), 3);
    CHECK_I64(count(out.at, "\"ph\":\"e\""), 3);
    /* two spans, the layer that runs, two counters; then two spans end and the cut is marked */
    CHECK_I64(count(out.at, "\"ts\":600000.000"), 2 + 1 + 2);
    CHECK_I64(count(out.at, "\"ts\":1500000.000"), 2 + 1);
    CHECK_I64(count(out.at, "\"dur\":400000.000"), 1);
    CHECK_I64(count(out.at, "\"dur\":500000.000"), 1);
    CHECK_I64(count(out.at, "\"cat\":\"queue\""), 0); /* no flow has both ends in it */
    CHECK_I64(count(out.at, "deadline missed"), 0);   /* at 2 */
    free(out.at);
    free(s);
}

/* Durations come from the printed times: slices that touch do so after rounding, too. */
static void
test_rounded_slices_touch(void)
{
    scene *s = stage_scene();
    const double at[] = {0.6e-9, 2.2e-9, 3.4e-9, 9.5e-9};
    for (int i = 0; i < 3; i++) {
        s->slices[i].t0_s = at[i];
        s->slices[i].t1_s = at[i + 1];
    }
    int64_t events = 0, cut = 0;
    const text out = write_all(&s->t, 4096, &events, &cut);
    CHECK(strstr(out.at, "\"ts\":0.001,\"name\":\"bert/dense\",\"dur\":0.001,") != NULL);
    CHECK(strstr(out.at, "\"ts\":0.002,\"name\":\"a \\\"quoted\\\" name\",\"dur\":0.001,") != NULL);
    CHECK(strstr(out.at, "\"ts\":0.003,\"name\":\"bert/dense\",\"dur\":0.007,") != NULL);
    free(out.at);
    free(s);
}

static void
test_a_batch_is_one_slice(void)
{
    scene *s = stage_scene();
    for (int i = 0; i < 3; i++) {
        s->slices[i] = (dns_slice){1.0, 2.0, i, 0, 0, 0, 3, 0, 0};
        s->first[i] = i;
        s->previous[i] = s->next[i] = -1;
    }
    int64_t events = 0, cut = 0;
    const text out = write_all(&s->t, 4096, &events, &cut);
    CHECK_I64(count(out.at, "\"batch\":3,\"requests\":[0,1,2]}"), 1);
    CHECK_I64(count(out.at, "\"name\":\"bert/dense x3\""), 1);
    CHECK_I64(count(out.at, "\"ph\":\"f\""), 3);
    free(out.at);
    free(s);
}

static void
test_bad_arguments_and_a_sink_that_fails(void)
{
    char buf[1024];
    int64_t events = 0, cut = 0;
    dns_error err;
    text out = {0};
    scene *s = stage_scene();
    CHECK_I64(dns_timeline_write(&s->t, collect, &out, buf, 1023, &events, &cut, &err),
              DNS_ERR_VALUE);
    s->t.cap = 99;
    CHECK_I64(dns_timeline_write(&s->t, collect, &out, buf, 1024, &events, &cut, &err),
              DNS_ERR_VALUE);
    s->t.cap = 100;
    s->t.t1_s = s->t.t0_s = 1.0;
    CHECK_I64(dns_timeline_write(&s->t, collect, &out, buf, 1024, &events, &cut, &err),
              DNS_ERR_VALUE);
    s->t.t1_s = 2.0;
    s->slices[1].id = 3;
    CHECK_I64(dns_timeline_write(&s->t, collect, &out, buf, 1024, &events, &cut, &err),
              DNS_ERR_VALUE);
    CHECK_I64(err.index, 1);
    s->slices[1].id = 1;
    s->key[2] = 2;
    CHECK_I64(dns_timeline_write(&s->t, collect, &out, buf, 1024, &events, &cut, &err),
              DNS_ERR_VALUE);
    s->key[2] = 0;
    int64_t *const orders[] = {s->by_start, s->by_end, s->previous,
                               s->next,     s->first,  s->by_finish};
    for (int i = 0; i < 6; i++) {
        const int64_t kept = orders[i][0];
        orders[i][0] = 3;
        CHECK_I64(dns_timeline_write(&s->t, collect, &out, buf, 1024, &events, &cut, &err),
                  DNS_ERR_VALUE);
        orders[i][0] = kept;
    }
    s->slices[2].resource = 1;
    CHECK_I64(dns_timeline_write(&s->t, collect, &out, buf, 1024, &events, &cut, &err),
              DNS_ERR_VALUE);
    s->slices[2].resource = 0;
    CHECK_I64(out.pieces, 0);
    out.fail_at = 2;
    CHECK_I64(dns_timeline_write(&s->t, collect, &out, buf, 1024, &events, &cut, &err),
              DNS_ERR_CALLBACK);
    CHECK_I64(out.pieces, 2); /* it is not called again */
    free(out.at);
    free(s);
}

static void
test_nothing_ran(void)
{
    scene *s = stage_scene();
    s->t.n_row = s->t.n_slice = 0;
    int64_t events = 0, cut = 0;
    const text out = write_all(&s->t, 2048, &events, &cut);
    CHECK_I64(events, 0);
    CHECK_I64(count(out.at, "\"ph\":\"M\""), 5);
    free(out.at);
    free(s);
}

TAP_MAIN(TAP(test_every_event_is_there), TAP(test_any_buffer_gives_the_same_text),
         TAP(test_the_cap_is_kept_and_said), TAP(test_windows_cut_spans_at_their_edges),
         TAP(test_rounded_slices_touch), TAP(test_a_batch_is_one_slice),
         TAP(test_bad_arguments_and_a_sink_that_fails), TAP(test_nothing_ran))
