/* Chrome trace-event JSON, streamed.
 *
 * Process 1 has one thread per resource: an "X" slice per stage of a run (they never overlap) and
 * an instant "i" where a request is preempted. Process 2 has one thread per name: an async span "b"
 * to "e" per request from arrival to completion, an instant "n" at its first start, an "i" where it
 * misses its deadline, and a counter "C" of requests in the system. A flow "s" to "f" leads from a
 * request's arrival to its first slice; viewers tie flows to slices, so the arrival is a slice of
 * one nanosecond.
 *
 * Times are microseconds with three decimals, printed from integer nanoseconds so that no locale
 * can change the decimal point. Events beyond the cap are counted, never dropped silently.
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
    int64_t events, cut;
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

/* true if one more event may be written; opens it with its phase, process, thread and time. */
static bool
open_event(writer *w, const char *phase, int pid, int64_t tid, double t_s)
{
    if (t_s < w->t->t0_s || t_s > w->t->t1_s || w->events >= w->t->cap) {
        w->cut++;
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
    w->events++;
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

static void
write_slice(writer *w, const dns_slice *s)
{
    const dns_timeline *t = w->t;
    if (!open_event(w, "X", 1, s->resource, s->t0_s)) {
        return;
    }
    put_name(w, t->names[t->key[s->id]]);
    put_duration(w, s->t0_s, s->t1_s);
    put_field(w, ",\"args\":{\"request\":", s->id);
    put_field(w, ",\"layer\":", s->stage);
    put_field(w, ",\"batch\":", s->n);
    put(w, "}}");
}

/* Does slice i belong to the same run as the one before? */
static bool
same_run(const dns_slice *s, int64_t i)
{
    return i > 0 && s[i].n > 1 && s[i].resource == s[i - 1].resource &&
           s[i].t0_s == s[i - 1].t0_s && s[i].t1_s == s[i - 1].t1_s && s[i].n == s[i - 1].n;
}

/* Slices, the end of each request's flow, and the places where a request gave way to another. */
static void
write_slices(writer *w)
{
    const dns_timeline *t = w->t;
    for (int64_t i = 0; i < t->n_slice; i++) {
        const dns_slice *s = &t->slices[i];
        if (!same_run(t->slices, i)) {
            write_slice(w, s);
        }
        if (s->stage == 0 && open_event(w, "f", 1, s->resource, s->t0_s)) {
            put_flow(w, s->id);
            put(w, ",\"bp\":\"e\"}");
        }
        const dns_slice *next = t->n_resource == 1 && i + 1 < t->n_slice ? s + 1 : s;
        const bool gave_way = next->id != s->id && t->finish_s[s->id] > s->t1_s;
        if (gave_way && open_event(w, "i", 1, s->resource, s->t1_s)) {
            put_field(w, ",\"s\":\"t\",\"name\":\"preempted\",\"args\":{\"request\":", s->id);
            put_field(w, ",\"by\":", next->id);
            put(w, "}}");
        }
    }
}

static void
write_request(writer *w, int64_t id)
{
    const dns_timeline *t = w->t;
    const char *name = t->names[t->key[id]];
    if (!(t->finish_s[id] >= t->t0_s) || !(t->arrival_s[id] <= t->t1_s) || w->events + 6 > t->cap) {
        w->cut += 4;
        return;
    }
    const double from = t->arrival_s[id] > t->t0_s ? t->arrival_s[id] : t->t0_s;
    const double to = t->finish_s[id] < t->t1_s ? t->finish_s[id] : t->t1_s;
    if (open_event(w, "b", 2, t->key[id], from)) {
        put_name(w, name);
        put_request(w, id);
        put_field(w, ",\"args\":{\"request\":", id);
        put(w, "}}");
    }
    if (t->arrival_s[id] >= t->t0_s && open_event(w, "X", 2, t->key[id], t->arrival_s[id])) {
        put(w, ",\"name\":\"arrival\",\"dur\":0.001}");
        (void)open_event(w, "s", 2, t->key[id], t->arrival_s[id]);
        put_flow(w, id);
        put(w, "}");
    }
    if (t->first_start_s[id] >= from && t->first_start_s[id] <= to &&
        open_event(w, "n", 2, t->key[id], t->first_start_s[id])) {
        put_name(w, "first start");
        put_request(w, id);
        put(w, "}");
    }
    if (open_event(w, "e", 2, t->key[id], to)) {
        put_name(w, name);
        put_request(w, id);
        put(w, "}");
    }
    if (t->finish_s[id] > t->deadline_s[id] && t->finish_s[id] <= t->t1_s &&
        open_event(w, "i", 2, t->key[id], to)) {
        put_field(w, ",\"s\":\"p\",\"name\":\"deadline missed\",\"args\":{\"request\":", id);
        put(w, "}}");
    }
}

/* Requests in the system, at every change: arrivals (by id) merged with completions (by order). */
static void
write_counter(writer *w)
{
    const dns_timeline *t = w->t;
    int64_t a = 0, f = 0, live = 0;
    while (f < t->n_row && t->order[f] >= 0) {
        const double end = t->finish_s[t->order[f]];
        double now = end;
        if (a < t->n_row && t->arrival_s[a] <= end) {
            now = t->arrival_s[a++];
            live++;
        }
        else {
            f++;
            live--;
        }
        if (open_event(w, "C", 2, 0, now)) {
            put_field(w, ",\"name\":\"requests in system\",\"args\":{\"requests\":", live);
            put(w, "}}");
        }
    }
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
        metadata(w, "thread_name", 1, r, "accelerator ", r);
    }
    for (int32_t k = 0; k < t->n_name; k++) {
        metadata(w, "thread_name", 2, k, t->names[k], -1);
    }
}

dns_status
dns_timeline_write(const dns_timeline *t, dns_sink sink, void *ctx, char *buf, size_t room,
                   int64_t *n_event, int64_t *n_cut, dns_error *err)
{
    DNS_REQUIRE(room >= 1024, err, DNS_ERR_VALUE, -1, "buffer: expected at least 1024 bytes");
    DNS_REQUIRE(t->cap >= 100, err, DNS_ERR_VALUE, -1, "cap: expected >= 100 events, got %lld",
                (long long)t->cap);
    DNS_REQUIRE(t->t0_s < t->t1_s, err, DNS_ERR_VALUE, -1, "window: expected start < end");
    for (int64_t i = 0; i < t->n_slice; i++) {
        const int64_t id = t->slices[i].id;
        DNS_REQUIRE(id >= 0 && id < t->n_row, err, DNS_ERR_VALUE, i,
                    "slices: row %lld is of request %lld of %lld", (long long)i, (long long)id,
                    (long long)t->n_row);
    }
    for (int64_t i = 0; i < t->n_row; i++) {
        DNS_REQUIRE(t->key[i] >= 0 && t->key[i] < t->n_name && t->order[i] < t->n_row, err,
                    DNS_ERR_VALUE, i, "requests: row %lld has no name or a bad order",
                    (long long)i);
    }
    writer w = {.t = t, .sink = sink, .ctx = ctx, .buf = buf, .room = room, .cut = t->lost};
    write_head(&w);
    write_slices(&w);
    for (int64_t i = 0; i < t->n_row; i++) {
        write_request(&w, i);
    }
    write_counter(&w);
    if (w.cut > 0) {
        metadata(&w, "dnnsched_cut", 1, 0, "events left out by window or cap: ", w.cut);
    }
    put(&w, "\n]}\n");
    flush(&w);
    DNS_REQUIRE(!w.failed, err, DNS_ERR_CALLBACK, -1, "timeline: the sink failed");
    *n_event = w.events;
    *n_cut = w.cut;
    return DNS_OK;
}
