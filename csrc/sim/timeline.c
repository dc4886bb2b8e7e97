/* Chrome trace-event JSON, streamed.
 *
 * Process 1 has one thread per resource: an "X" slice per stage of a run (they never overlap), an
 * instant "i" where a request is preempted, and a counter "C" of resources at work. Process 2 has
 * one thread per name: an async span "b" to "e" per request from arrival to end, an instant "n" at
 * its first start, an "i" where it misses its deadline or ends without an answer, and a counter of
 * running and of waiting (or travelling) requests. A flow "s" to "f" leads from a request's arrival
 * to its first slice; viewers tie flows to slices, so the arrival is a slice of one nanosecond.
 *
 * Times are microseconds with three decimals, printed from integer nanoseconds so that no locale
 * can change the decimal point.
 *
 * Nothing is left out silently. The writer first counts (the same code with the output off); if the
 * window holds more events than the cap, bisection finds the latest end at which it does not. So
 * the file is complete up to an instant, marked "cut here", rather than thinned throughout.
 */
#include "dns/timeline.h"

#include <math.h>
#include <string.h>

typedef struct writer {
    const dns_timeline *t;
    dns_sink sink;
    void *ctx;
    char *buf;
    size_t room, n;
    int64_t events, limit;
    double t0_s, t1_s; /* window in force */
    double end_s;      /* last time in the data: where open spans end */
    bool count_only;
    bool open; /* the list has an element */
    bool failed;
} writer;

static void
flush(writer *w)
{
    if (!w->failed && w->n > 0 && w->sink(w->ctx, w->buf, w->n) != 0) {
        w->failed = true;
    }
    w->n = 0;
}

static void
put(writer *w, const char *s)
{
    size_t n = strlen(s);
    while (n > 0) {
        const size_t k = w->room - w->n < n ? w->room - w->n : n;
        memcpy(w->buf + w->n, s, k);
        w->n += k;
        s += k;
        n -= k;
        if (w->n == w->room) {
            flush(w);
        }
    }
}

static void
put_int(writer *w, int64_t x)
{
    char digits[24];
    char *p = digits + sizeof digits - 1;
    uint64_t u = x < 0 ? 0 - (uint64_t)x : (uint64_t)x;
    *p = '\0';
    do {
        *--p = (char)('0' + u % 10);
        u /= 10;
    } while (u > 0);
    if (x < 0) {
        *--p = '-';
    }
    put(w, p);
}

/* Whole nanoseconds; what no clock of ours reaches is held at 290 years. */
static int64_t
ns_of(double t_s)
{
    return (int64_t)llround((t_s < 9.2e9 ? t_s : 9.2e9) * 1e9);
}

/* Nanoseconds as microseconds with three decimals. */
static void
put_us(writer *w, int64_t ns)
{
    char part[5] = {'.', (char)('0' + ns % 1000 / 100), (char)('0' + ns % 100 / 10),
                    (char)('0' + ns % 10), '\0'};
    put_int(w, ns / 1000);
    put(w, part);
}

/* Counts an event; true if its text is to be written, then phase, process, thread and time are. */
static bool
open_event(writer *w, const char *phase, int pid, int64_t tid, double t_s)
{
    if (!(t_s >= w->t0_s && t_s <= w->t1_s) || w->events >= w->limit) {
        return false;
    }
    w->events++;
    if (w->count_only) {
        return false;
    }
    put(w, ",\n{\"ph\":\"");
    put(w, phase);
    put(w, "\",\"pid\":");
    put_int(w, pid);
    put(w, ",\"tid\":");
    put_int(w, tid);
    put(w, ",\"ts\":");
    put_us(w, ns_of(t_s));
    return true;
}

static void
put_field(writer *w, const char *name, int64_t value)
{
    put(w, name);
    put_int(w, value);
}

static void
put_name(writer *w, const char *name)
{
    put(w, ",\"name\":\"");
    put(w, name);
    put(w, "\"");
}

static void
metadata(writer *w, const char *what, int pid, int64_t tid, const char *name, int64_t number)
{
    put(w, w->open ? ",\n{\"ph\":\"M\",\"pid\":" : "\n{\"ph\":\"M\",\"pid\":");
    w->open = true;
    put_int(w, pid);
    put_field(w, ",\"tid\":", tid);
    put_name(w, what);
    put(w, ",\"args\":{\"name\":\"");
    put(w, name);
    if (number >= 0) {
        put_int(w, number);
    }
    put(w, "\"}}");
}

/* One request's id in an async event: of its process. */
static void
put_request(writer *w, int64_t id)
{
    put_field(w, ",\"cat\":\"request\",\"id2\":{\"local\":\"", id);
    put(w, "\"}");
}

/* One request's id in a flow, which crosses processes. */
static void
put_flow(writer *w, int64_t id)
{
    put_field(w, ",\"name\":\"queued\",\"cat\":\"queue\",\"id\":", id);
}

static void
put_duration(writer *w, double t0_s, double t1_s)
{
    put(w, ",\"dur\":");
    put_us(w, ns_of(t1_s) - ns_of(t0_s)); /* of the printed times: slices that touch still do */
}

static double
later(double a, double b)
{
    return a > b ? a : b;
}

static double
earlier(double a, double b)
{
    return a < b ? a : b;
}

/* Records of the run whose first one is slice i. */
static int64_t
members(const dns_timeline *t, int64_t i)
{
    const int64_t rest = t->n_slice - i;
    return t->slices[i].n < rest ? t->slices[i].n : rest;
}

static void
write_slice(writer *w, int64_t i, int64_t n)
{
    const dns_timeline *t = w->t;
    const dns_slice *s = &t->slices[i];
    const double from = later(s->t0_s, w->t0_s), to = earlier(s->t1_s, w->t1_s);
    if (from > to || !open_event(w, "X", 1, s->resource, from)) {
        return;
    }
    put(w, ",\"name\":\"");
    put(w, t->names[t->key[s->id]]);
    if (s->n > 1) {
        put_field(w, " x", s->n);
    }
    put(w, "\"");
    put_duration(w, from, to);
    put_field(w, ",\"args\":{\"request\":", s->id);
    put_field(w, ",\"layer\":", s->stage);
    put_field(w, ",\"batch\":", s->n);
    for (int64_t k = 0; s->n > 1 && k < n; k++) {
        put_field(w, k == 0 ? ",\"requests\":[" : ",", s[k].id);
    }
    put(w, s->n > 1 ? "]}}" : "}}");
}

/* The instant before slice i at which its request gave way, if it did. */
static void
write_preemption(writer *w, int64_t i)
{
    const dns_timeline *t = w->t;
    const int64_t before = t->previous[i];
    if (before < 0 || t->slices[i].n_preempt <= t->slices[before].n_preempt) {
        return;
    }
    const dns_slice *s = &t->slices[before];
    if (open_event(w, "i", 1, s->resource, s->t1_s)) {
        put_field(w, ",\"s\":\"t\",\"name\":\"preempted\",\"args\":{\"request\":", s->id);
        if (t->next[before] >= 0) {
            put_field(w, ",\"by\":", t->slices[t->next[before]].id);
        }
        put(w, "}}");
    }
}

static void
write_slices(writer *w)
{
    for (int64_t i = 0, n = 0; i < w->t->n_slice; i += n) {
        n = members(w->t, i);
        write_slice(w, i, n);
        for (int64_t k = i; k < i + n; k++) {
            write_preemption(w, k);
        }
    }
}

static bool
inside(const writer *w, double t_s)
{
    return t_s >= w->t0_s && t_s <= w->t1_s;
}

/* The arrival and, if it ran, the flow from there to its first slice: both ends or none. */
static void
write_arrival(writer *w, int64_t id)
{
    const dns_timeline *t = w->t;
    const double at = t->arrival_s[id];
    if (!inside(w, at)) {
        return;
    }
    if (open_event(w, "X", 2, t->key[id], at)) {
        put(w, ",\"name\":\"arrival\",\"dur\":0.001}");
    }
    const dns_slice *first = t->first[id] >= 0 ? &t->slices[t->first[id]] : NULL;
    if (first == NULL || !inside(w, first->t0_s)) {
        return;
    }
    if (open_event(w, "s", 2, t->key[id], at)) {
        put_flow(w, id);
        put(w, "}");
    }
    if (open_event(w, "f", 1, first->resource, first->t0_s)) {
        put_flow(w, id);
        put(w, ",\"bp\":\"e\"}");
    }
}

/* An instant where the request did not end as it should. */
static void
write_failure(writer *w, int64_t id)
{
    const dns_timeline *t = w->t;
    const int status = t->status[id];
    const bool late = t->finish_s[id] > t->deadline_s[id];
    if ((late || status == DNS_ST_FAILED || status == DNS_ST_DROPPED) &&
        open_event(w, "i", 2, t->key[id], t->finish_s[id])) {
        put(w, ",\"s\":\"p\"");
        put_name(w, status == DNS_ST_DROPPED  ? "dropped"
                    : status == DNS_ST_FAILED ? "failed"
                                              : "deadline missed");
        put_field(w, ",\"args\":{\"request\":", id);
        put(w, "}}");
    }
}

enum { REQUEST_EVENTS = 7 };

static void
write_request(writer *w, int64_t id)
{
    const dns_timeline *t = w->t;
    const char *name = t->names[t->key[id]];
    const double finish = isnan(t->finish_s[id]) ? w->end_s : t->finish_s[id];
    const double from = later(t->arrival_s[id], w->t0_s);
    const double to = later(from, earlier(finish, w->t1_s));
    if (finish < w->t0_s || t->arrival_s[id] > w->t1_s || w->limit - w->events < REQUEST_EVENTS) {
        return;
    }
    if (open_event(w, "b", 2, t->key[id], from)) {
        put_name(w, name);
        put_request(w, id);
        put_field(w, ",\"args\":{\"request\":", id);
        put(w, "}}");
    }
    write_arrival(w, id);
    if (t->first[id] >= 0 && open_event(w, "n", 2, t->key[id], t->slices[t->first[id]].t0_s)) {
        put_name(w, "first start");
        put_request(w, id);
        put(w, "}");
    }
    if (open_event(w, "e", 2, t->key[id], to)) {
        put_name(w, name);
        put_request(w, id);
        put(w, "}");
    }
    write_failure(w, id);
}

/* What the counters show, and how far they have read the four sorted lists of changes. */
typedef struct levels {
    int64_t arrived, finished, started, ended; /* cursors */
    int64_t live, running, busy;
} levels;

/* Time of the next change; infinite at the end. */
static double
next_change(const dns_timeline *t, const levels *v)
{
    double at = INFINITY;
    if (v->arrived < t->n_row) {
        at = earlier(at, t->arrival_s[v->arrived]);
    }
    if (v->finished < t->n_row && !isnan(t->finish_s[t->by_finish[v->finished]])) {
        at = earlier(at, t->finish_s[t->by_finish[v->finished]]);
    }
    if (v->started < t->n_slice) {
        at = earlier(at, t->slices[t->by_start[v->started]].t0_s);
    }
    if (v->ended < t->n_slice) {
        at = earlier(at, t->slices[t->by_end[v->ended]].t1_s);
    }
    return at;
}

/* Takes every change up to the nanosecond of `at`, so that the order of events of one instant does
 * not show. */
static void
take_changes(const dns_timeline *t, levels *v, double at)
{
    const int64_t now = ns_of(at);
    while (v->arrived < t->n_row && ns_of(t->arrival_s[v->arrived]) <= now) {
        v->arrived++;
        v->live++;
    }
    while (v->finished < t->n_row && !isnan(t->finish_s[t->by_finish[v->finished]]) &&
           ns_of(t->finish_s[t->by_finish[v->finished]]) <= now) {
        v->finished++;
        v->live--;
    }
    while (v->started < t->n_slice && ns_of(t->slices[t->by_start[v->started]].t0_s) <= now) {
        const int64_t n = members(t, t->by_start[v->started]);
        v->started += n;
        v->running += n;
        v->busy++;
    }
    while (v->ended < t->n_slice && ns_of(t->slices[t->by_end[v->ended]].t1_s) <= now) {
        const int64_t n = members(t, t->by_end[v->ended]);
        v->ended += n;
        v->running -= n;
        v->busy--;
    }
}

static void
write_levels(writer *w, const levels *v, const levels *old, double at)
{
    const int64_t waiting = v->live - v->running;
    if ((v->running != old->running || waiting != old->live - old->running) &&
        open_event(w, "C", 2, 0, at)) {
        put_field(w, ",\"name\":\"requests\",\"args\":{\"running\":", v->running);
        put_field(w, ",\"waiting\":", waiting);
        put(w, "}}");
    }
    if (v->busy != old->busy && open_event(w, "C", 1, 0, at)) {
        put_field(w, ",\"name\":\"utilization\",\"args\":{\"accelerators\":", v->busy);
        put(w, "}}");
    }
}

static void
write_counters(writer *w)
{
    levels v = {0}, shown = {0};
    while (true) {
        const double at = next_change(w->t, &v);
        if (!(at <= w->t1_s) || isinf(at)) {
            return;
        }
        if (at >= w->t0_s && shown.arrived == 0 && v.arrived > 0) {
            write_levels(w, &v, &shown, w->t0_s); /* what was there before the window */
            shown = v;
        }
        take_changes(w->t, &v, at);
        if (at >= w->t0_s) {
            write_levels(w, &v, &shown, at);
            shown = v;
        }
    }
}

static void
write_events(writer *w)
{
    write_slices(w);
    for (int64_t i = 0; i < w->t->n_row; i++) {
        write_request(w, i);
    }
    write_counters(w);
}

/* Number of events between two times, without a cap. */
static int64_t
count_events(const writer *w, double t0_s, double t1_s)
{
    writer c = {.t = w->t,
                .limit = INT64_MAX,
                .t0_s = t0_s,
                .t1_s = t1_s,
                .end_s = w->end_s,
                .count_only = true};
    write_events(&c);
    return c.events;
}

static void
write_head(writer *w)
{
    const dns_timeline *t = w->t;
    put(w, "{\"displayTimeUnit\":\"ns\",\"otherData\":");
    put(w, t->other_json != NULL ? t->other_json : "{}");
    put(w, ",\"traceEvents\":[");
    metadata(w, "process_name", 1, 0, "accelerators", -1);
    metadata(w, "process_name", 2, 0, "requests", -1);
    for (int32_t r = 0; r < t->n_resource; r++) {
        metadata(w, "thread_name", 1, r, t->resources[r], -1);
    }
    for (int32_t k = 0; k < t->n_name; k++) {
        metadata(w, "thread_name", 2, k, t->names[k], -1);
    }
}

/* A mark that viewers show at the cut, and a metadata event that says how much is missing. */
static void
write_cut(writer *w, int64_t cut)
{
    if (open_event(w, "i", 1, 0, earlier(w->t1_s, w->end_s))) {
        put(w, ",\"s\":\"g\",\"name\":\"cut here\",\"args\":{\"left_out\":");
        put_int(w, cut);
        put(w, "}}");
    }
    metadata(w, "dnnsched_cut", 1, 0, "events left out by window or cap: ", cut);
}

static dns_status
check_slices(const dns_timeline *t, dns_error *err)
{
    for (int64_t i = 0; i < t->n_slice; i++) {
        const dns_slice *s = &t->slices[i];
        DNS_REQUIRE(s->id >= 0 && s->id < t->n_row && s->n >= 1 && s->resource >= 0 &&
                        s->resource < t->n_resource,
                    err, DNS_ERR_VALUE, i,
                    "slices: row %lld is of request %lld of %lld, resource %d of %d, run of %d",
                    (long long)i, (long long)s->id, (long long)t->n_row, (int)s->resource,
                    (int)t->n_resource, (int)s->n);
        DNS_REQUIRE(t->by_start[i] >= 0 && t->by_start[i] < t->n_slice && t->by_end[i] >= 0 &&
                        t->by_end[i] < t->n_slice && t->previous[i] >= -1 &&
                        t->previous[i] < t->n_slice && t->next[i] >= -1 && t->next[i] < t->n_slice,
                    err, DNS_ERR_VALUE, i, "slices: row %lld has an order out of range",
                    (long long)i);
    }
    return DNS_OK;
}

static dns_status
check(const dns_timeline *t, dns_error *err)
{
    DNS_REQUIRE(t->cap >= 100, err, DNS_ERR_VALUE, -1, "cap: expected >= 100 events, got %lld",
                (long long)t->cap);
    DNS_REQUIRE(t->t0_s < t->t1_s, err, DNS_ERR_VALUE, -1, "window: expected start < end");
    for (int64_t i = 0; i < t->n_row; i++) {
        DNS_REQUIRE(t->key[i] >= 0 && t->key[i] < t->n_name && t->by_finish[i] >= 0 &&
                        t->by_finish[i] < t->n_row && t->first[i] >= -1 && t->first[i] < t->n_slice,
                    err, DNS_ERR_VALUE, i, "requests: row %lld has no name or a bad order",
                    (long long)i);
    }
    return check_slices(t, err);
}

/* First and last time in the data. */
static void
extent(const dns_timeline *t, double *first, double *last)
{
    *first = INFINITY;
    *last = -(double)INFINITY;
    for (int64_t i = 0; i < t->n_row; i++) {
        *first = earlier(*first, t->arrival_s[i]);
        *last = later(*last, t->arrival_s[i]);
        *last = isnan(t->finish_s[i]) ? *last : later(*last, t->finish_s[i]);
    }
    if (t->n_slice > 0) {
        *first = earlier(*first, t->slices[t->by_start[0]].t0_s);
        *last = later(*last, t->slices[t->by_end[t->n_slice - 1]].t1_s);
    }
}

/* Ends the window earlier where slices are lost or the cap would be passed. */
static void
shorten(writer *w, double first)
{
    const dns_timeline *t = w->t;
    if (t->lost > 0 && t->n_slice > 0) {
        w->t1_s = earlier(w->t1_s, t->slices[t->by_end[t->n_slice - 1]].t1_s);
    }
    if (count_events(w, w->t0_s, w->t1_s) < w->limit) { /* one is kept for the mark */
        return;
    }
    double low = later(first, w->t0_s), high = earlier(w->end_s, w->t1_s);
    for (int i = 0; i < 60 && low < high; i++) {
        const double middle = low + (high - low) / 2;
        const int64_t n = count_events(w, w->t0_s, middle);
        if (n >= w->limit) {
            high = middle;
            continue;
        }
        low = middle;
        if (n >= w->limit - w->limit / 200) { /* a file within half a percent of the cap will do */
            break;
        }
    }
    w->t1_s = low;
}

dns_status
dns_timeline_write(const dns_timeline *t, dns_sink sink, void *ctx, char *buf, size_t room,
                   int64_t *n_event, int64_t *n_cut, dns_error *err)
{
    DNS_REQUIRE(room >= 1024, err, DNS_ERR_VALUE, -1, "buffer: expected at least 1024 bytes");
    DNS_TRY(check(t, err));
    writer w = {.t = t,
                .sink = sink,
                .ctx = ctx,
                .buf = buf,
                .room = room,
                .limit = t->cap,
                .t0_s = t->t0_s,
                .t1_s = t->t1_s};
    double first = 0.0;
    extent(t, &first, &w.end_s);
    const int64_t all = count_events(&w, -(double)INFINITY, INFINITY);
    shorten(&w, first);
    write_head(&w);
    w.limit--; /* for the mark */
    write_events(&w);
    w.limit++;
    const int64_t cut = (all > w.events ? all - w.events : 0) + t->lost;
    if (cut > 0) {
        write_cut(&w, cut);
    }
    put(&w, "\n]}\n");
    flush(&w);
    DNS_REQUIRE(!w.failed, err, DNS_ERR_CALLBACK, -1, "timeline: the sink failed");
    *n_event = w.events;
    *n_cut = cut;
    return DNS_OK;
}
