/* Closed loops: rows released by credits.
 *
 * A source owns a range of rows and `window` credits. A row holds a credit from the moment it is
 * chosen until it ends, or ends a stage that gives it back. Whenever `burst` credits are back, the
 * next `burst` rows are chosen at once and one MOVE event (id = the first of them) releases them
 *
 *   at max(now + think of the first, arrival of the last),
 *
 * so that rows out <= window at any time, and the horizon of inplace.c, which is the next event of
 * any kind, knows of every release that is certain. A release that some run end will bring needs no
 * such knowledge: run ends that end a row are events themselves.
 *
 * window = burst = 1 and no think time is a single stream; window = burst = k a stream of queries
 * of k samples; window = N with drawn think times N users (the machine-repair model M/M/c//N).
 */
#include "sim_step.h"

#define BAD(cond, code, index, ...) DNS_REQUIRE(!(cond), err, (code), (index), __VA_ARGS__)

dns_status
dns_sim_check_sources(const dns_sim *s, uint8_t *timed, dns_error *err)
{
    int64_t end = 0;
    for (int32_t i = 0; i < s->sys.n_source; i++) {
        const dns_source *c = &s->sources[i].s;
        BAD(c->row0 < end || c->n < 1 || c->row0 > INT64_MAX - c->n, DNS_ERR_SHAPE, i,
            "source %d: expected at least one row, after those of the source before", (int)i);
        end = c->row0 + c->n;
        BAD(c->burst < 1 || c->window < c->burst, DNS_ERR_VALUE, i,
            "source %d: expected 1 <= burst <= window, got burst %lld, window %lld", (int)i,
            (long long)c->burst, (long long)c->window);
        BAD(c->n_min < 0, DNS_ERR_VALUE, i, "source %d: n_min must be >= 0", (int)i);
        BAD(!(c->until_s >= 0.0), DNS_ERR_VALUE, i, "source %d: until_s must be >= 0", (int)i);
        DNS_TRY(dns_sim_check_reach(s, c->think, c->think_off, 1, "source", i, err));
        if (c->think >= 0) {
            timed[c->think] = 1;
        }
    }
    BAD(s->sys.n_source > 0 && s->sys.clock == DNS_CLOCK_ARTIFACT, DNS_ERR_VALUE, -1,
        "clock: the artifact clock knows no sources");
    return DNS_OK;
}

/* The rows that the sources name are there, and their think times. */
dns_status
dns_sim_check_loops(const dns_sim *s, const dns_work *w, dns_error *err)
{
    for (int32_t i = 0; i < s->sys.n_source; i++) {
        const dns_source *c = &s->sources[i].s;
        BAD(c->row0 + c->n > w->n, DNS_ERR_SHAPE, i,
            "source %d: rows %lld to %lld, but only %lld are given", (int)i, (long long)c->row0,
            (long long)(c->row0 + c->n - 1), (long long)w->n);
        if (c->think < 0) {
            continue;
        }
        const dns_table *t = &s->tables[c->think];
        BAD(t->by[DNS_AX_ROW] > 0 && c->row0 + c->n > t->ext[DNS_AX_ROW], DNS_ERR_VALUE, i,
            "source %d: its think times end at row %lld", (int)i,
            (long long)t->ext[DNS_AX_ROW] - 1);
        for (int64_t row = c->row0; t->by[DNS_AX_SAMPLE] > 0 && row < c->row0 + c->n; row++) {
            const int32_t b = w->sample != NULL ? w->sample[row] : 0;
            BAD(b >= t->ext[DNS_AX_SAMPLE], DNS_ERR_VALUE, row,
                "sample: row %lld is %d; the think times of source %d end at sample %lld",
                (long long)row, (int)b, (int)i, (long long)t->ext[DNS_AX_SAMPLE] - 1);
        }
    }
    return DNS_OK;
}

/* Moves the cursor of the open rows past the rows of sources. */
void
dns_sim_pass_sources(dns_sim *s)
{
    while (s->next_source < s->sys.n_source && s->cursor == s->sources[s->next_source].s.row0) {
        s->cursor += s->sources[s->next_source++].s.n;
    }
}

/* Seconds between the credit of row `row` and its release. */
static dns_status
think_of(dns_sim *s, const dns_source *c, int64_t row, double *out)
{
    *out = 0.0;
    if (c->think < 0) {
        return DNS_OK;
    }
    const dns_work *w = &s->work;
    const sim_job j = {.id = row,
                       .sample = w->sample != NULL ? w->sample[row] : 0,
                       .pos0 = w->pos0 != NULL ? w->pos0[row] : 0};
    return dns_sim_cell(s, c->think, c->think_off, &j, NULL, out);
}

static inline int64_t
burst_at(const dns_source *c, int64_t row)
{
    const int64_t left = c->row0 + c->n - row;
    return left < c->burst ? left : c->burst;
}

/* Chooses bursts while there are credits and rows for them. */
static dns_status
choose(dns_sim *s, int32_t i, bool think)
{
    sim_source *g = &s->sources[i];
    const dns_source *c = &g->s;
    while (g->credits >= c->burst && g->next < c->row0 + c->n &&
           !(g->due_s >= c->until_s && g->next - c->row0 >= c->n_min)) {
        const int64_t row = g->next, m = burst_at(c, row);
        double d = 0.0;
        if (think) {
            DNS_TRY(think_of(s, c, row, &d));
        }
        const double ready = s->now + d, from = s->work.arrival_s[row + m - 1];
        const double t = ready > from ? ready : from;
        g->next += m;
        g->credits -= m;
        if (!isfinite(t)) {
            continue;
        }
        g->due_s = t > g->due_s ? t : g->due_s;
        s->n_due++;
        if (!dns_sim_ev_push(s, t, EV_KEY(EV_MOVE, row), 0, SIM_OF_SOURCE(i))) {
            return dns_sim_no_memory(s);
        }
    }
    return DNS_OK;
}

/* Before the first event: every credit is there. */
dns_status
dns_sim_begin_sources(dns_sim *s)
{
    s->begun = true;
    for (int32_t i = 0; i < s->sys.n_source; i++) {
        sim_source *g = &s->sources[i];
        g->next = g->s.row0;
        g->credits = g->s.window;
        g->due_s = -1.0;
        DNS_TRY(choose(s, i, false));
    }
    return DNS_OK;
}

/* A row gives its credit back now; nothing happens if it is an open one. O(log sources). */
dns_status
dns_sim_credit(dns_sim *s, int64_t id)
{
    int32_t low = 0, high = s->sys.n_source; /* sources[low - 1].row0 <= id < sources[high].row0 */
    while (low < high) {
        const int32_t mid = low + (high - low) / 2;
        if (s->sources[mid].s.row0 <= id) {
            low = mid + 1;
        }
        else {
            high = mid;
        }
    }
    if (low == 0 || id >= s->sources[low - 1].s.row0 + s->sources[low - 1].s.n) {
        return DNS_OK;
    }
    s->sources[low - 1].credits++;
    return choose(s, low - 1, true);
}

/* The burst that begins at `row` is due now. */
dns_status
dns_sim_release_burst(dns_sim *s, int32_t source, int64_t row)
{
    const int64_t m = burst_at(&s->sources[source].s, row);
    s->n_due--;
    for (int64_t i = row; i < row + m; i++) {
        DNS_TRY(dns_sim_release_at(s, i, s->now));
    }
    return DNS_OK;
}
