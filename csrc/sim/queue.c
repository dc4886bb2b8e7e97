/* Event heap and the three ready queues.
 *
 * Events: 4-ary heap on (t, key), key = kind << 56 | id, so ties are settled by kind and id and
 * never by push history.
 *
 * Ready queues, chosen by the policy's class:
 *   RING  circular buffer in order of `seq` (FIFO);
 *   HEAP  binary heap on (key, seq): keys that move only at the job's own stage ends;
 *   SCAN  feature columns in order of `seq`, searched at every decision.
 * `seq` numbers the pushes; a job that comes back from a run in its pool keeps its number and so
 * its place. With one resource and no batches the running job never leaves its slot.
 */
#include <string.h>

#include "sim_internal.h"

static inline bool
before(const sim_event *a, const sim_event *b)
{
    return a->t < b->t || (a->t == b->t && a->key < b->key);
}

bool
dns_sim_ev_push(dns_sim *s, double t, uint64_t key, uint32_t gen, int32_t index)
{
    if (s->n_ev == s->ev_room) {
        const int64_t room = s->ev_room * 2;
        if (!dns_mem_grow(&s->alloc, (void **)&s->ev, (size_t)s->ev_room, (size_t)room,
                          sizeof *s->ev)) {
            return false;
        }
        s->ev_room = room;
    }
    const sim_event e = {t, key, gen, index};
    int64_t i = s->n_ev++;
    while (i > 0) {
        const int64_t up = (i - 1) / 4;
        if (!before(&e, &s->ev[up])) {
            break;
        }
        s->ev[i] = s->ev[up];
        i = up;
    }
    s->ev[i] = e;
    if (EV_KIND(key) == EV_TIMER) {
        s->n_timer++;
    }
    return true;
}

sim_event
dns_sim_ev_pop(dns_sim *s)
{
    const sim_event top = s->ev[0];
    const sim_event e = s->ev[--s->n_ev];
    const int64_t n = s->n_ev;
    int64_t i = 0;
    for (;;) {
        const int64_t c0 = 4 * i + 1;
        if (c0 >= n) {
            break;
        }
        const int64_t c1 = c0 + 4 < n ? c0 + 4 : n;
        int64_t best = c0;
        for (int64_t c = c0 + 1; c < c1; c++) {
            if (before(&s->ev[c], &s->ev[best])) {
                best = c;
            }
        }
        if (!before(&s->ev[best], &e)) {
            break;
        }
        s->ev[i] = s->ev[best];
        i = best;
    }
    if (n > 0) {
        s->ev[i] = e;
    }
    if (EV_KIND(top.key) == EV_TIMER) {
        s->n_timer--;
    }
    return top;
}

/* The ring, unrolled into a buffer of `room` (a power of two). */
static bool
ring_grow(dns_sim *s, sim_pool *p, int64_t room)
{
    int32_t *job = dns_mem_new(&s->alloc, (size_t)room, sizeof *job);
    if (job == NULL) {
        return false;
    }
    for (int64_t i = 0; i < p->n; i++) {
        job[i] = p->job[(p->head + i) & (p->room - 1)];
    }
    dns_mem_free(&s->alloc, p->job, (size_t)p->room, sizeof *job);
    p->job = job;
    p->head = 0;
    return true;
}

/* Columns are `ld` apart, no multiple of 512, so that they do not share cache sets. */
static bool
scan_grow(dns_sim *s, sim_pool *p, int64_t room)
{
    const dns_alloc *a = &s->alloc;
    const size_t now = (size_t)room, old = (size_t)p->room;
    const int64_t ld = room + (room % 512 == 0 ? 8 : 0);
    double *feat = dns_mem_zero(a, (size_t)ld * DNS_N_FEATURE, sizeof *feat);
    double *score = dns_mem_new(a, (size_t)ld, sizeof *score);
    int32_t *job = dns_mem_new(a, now, sizeof *job);
    int64_t *seq = dns_mem_new(a, now, sizeof *seq);
    if (feat == NULL || score == NULL || job == NULL || seq == NULL) {
        dns_mem_free(a, feat, (size_t)ld * DNS_N_FEATURE, sizeof *feat);
        dns_mem_free(a, score, (size_t)ld, sizeof *score);
        dns_mem_free(a, job, now, sizeof *job);
        dns_mem_free(a, seq, now, sizeof *seq);
        return false;
    }
    if (p->n > 0) {
        for (int32_t c = 0; c < p->n_col; c++) {
            memcpy(feat + p->col[c] * ld, p->feat + p->col[c] * p->ld, (size_t)p->n * sizeof *feat);
        }
        memcpy(job, p->job, (size_t)p->n * sizeof *job);
        memcpy(seq, p->seq, (size_t)p->n * sizeof *seq);
    }
    dns_mem_free(a, p->feat, (size_t)p->ld * DNS_N_FEATURE, sizeof *feat);
    dns_mem_free(a, p->score, (size_t)p->ld, sizeof *score);
    dns_mem_free(a, p->job, old, sizeof *job);
    dns_mem_free(a, p->seq, old, sizeof *seq);
    p->feat = feat;
    p->score = score;
    p->job = job;
    p->seq = seq;
    p->ld = ld;
    return true;
}

static dns_status
pool_grow(dns_sim *s, sim_pool *p, int64_t room)
{
    const bool ok = p->kind == Q_RING ? ring_grow(s, p, room)
                    : p->kind == Q_SCAN
                        ? scan_grow(s, p, room)
                        : dns_mem_grow(&s->alloc, (void **)&p->heap, (size_t)p->room, (size_t)room,
                                       sizeof *p->heap);
    DNS_REQUIRE(ok, s->err, DNS_ERR_MEMORY, -1, "no memory for %lld waiting requests",
                (long long)room);
    p->room = room;
    return DNS_OK;
}

dns_status
dns_sim_pool_init(dns_sim *s, sim_pool *p, const dns_pool_spec *spec, int32_t index)
{
    p->pol = *spec->policy;
    p->res0 = spec->res0;
    p->res1 = spec->res1;
    p->n_free = spec->res1 - spec->res0;
    p->max_batch = spec->max_batch;
    p->external = spec->external != 0;
    p->limit = spec->cap > 0 ? spec->cap : INT64_MAX;
    p->timer_s = spec->timer_s;
    const bool scan = p->external || p->pol.batch != NULL || p->pol.klass >= DNS_CLASS_TIME;
    p->kind = scan ? Q_SCAN : p->pol.klass == DNS_CLASS_FIFO ? Q_RING : Q_HEAP;
    p->in_place = scan && p->n_free == 1 && p->pol.batch == NULL;
    if (p->external) {
        p->pol.need = ~UINT64_C(0);
    }
    for (int f = 0; f < DNS_N_FEATURE; f++) {
        if (p->pol.need & DNS_NEED(f)) {
            p->col[p->n_col++] = (uint8_t)f;
        }
    }
    p->param[DNS_P_ABI] = DNS_POLICY_ABI;
    p->param[DNS_P_POOL] = index;
    for (int32_t i = 0; i < p->pol.n_param; i++) {
        p->param[DNS_PARAM_USER + i] = p->pol.param[i];
    }
    p->slots = dns_mem_new(&s->alloc, (size_t)p->max_batch, sizeof *p->slots);
    DNS_REQUIRE(p->slots != NULL, s->err, DNS_ERR_MEMORY, index, "no memory for pool %d",
                (int)index);
    return pool_grow(s, p, 16);
}

void
dns_sim_pool_fini(dns_sim *s, sim_pool *p)
{
    const dns_alloc *a = &s->alloc;
    dns_mem_free(a, p->heap, (size_t)p->room, sizeof *p->heap);
    dns_mem_free(a, p->job, (size_t)p->room, sizeof *p->job);
    dns_mem_free(a, p->seq, (size_t)p->room, sizeof *p->seq);
    dns_mem_free(a, p->feat, (size_t)p->ld * DNS_N_FEATURE, sizeof *p->feat);
    dns_mem_free(a, p->score, (size_t)p->ld, sizeof *p->score);
    dns_mem_free(a, p->slots, (size_t)p->max_batch, sizeof *p->slots);
}

static void
write_all(const dns_sim *s, uint64_t need, double *at, int64_t ld, const sim_job *j)
{
    sim_write_stage(s, need, at, ld, j);
    at[DNS_F_ARRIVAL * ld] = j->arrival_s;
    at[DNS_F_DEADLINE * ld] = j->deadline_s;
    at[DNS_F_PRIORITY * ld] = j->priority;
    const double iso = sim_est_at(s, s->programs[j->program].p.iso, j, 0.0);
    at[DNS_F_ISOLATED * ld] = iso;
    at[DNS_F_INV_ISOLATED * ld] = 1.0 / iso;
    at[DNS_F_PROGRAM * ld] = j->program;
    at[DNS_F_OWNER * ld] = j->owner;
    at[DNS_F_JOB * ld] = (double)j->id;
    at[DNS_F_STEP * ld] = 0.0;
    at[DNS_F_PRIVATE0 * ld] = j->priv[0];
    at[DNS_F_PRIVATE1 * ld] = j->priv[1];
    if (s->want_user) {
        const double *user = s->user + (j - s->jobs) * DNS_N_USER;
        for (int u = 0; u < DNS_N_USER; u++) {
            at[(DNS_F_USER0 + u) * ld] = user[u];
        }
    }
}

double
dns_sim_key(dns_sim *s, sim_pool *p, const sim_job *j, double now)
{
    double one[DNS_N_FEATURE] = {0};
    double key = NAN;
    write_all(s, p->pol.need, one, 1, j);
    if (p->pol.key_column >= 0) {
        return p->pol.key_sign * one[p->pol.key_column];
    }
    p->pol.score(now, 1, one, 1, p->param, &key, p->pol.user);
    return key;
}

static inline bool
heap_before(const sim_heap_item *a, const sim_heap_item *b)
{
    return a->key < b->key || (a->key == b->key && a->seq < b->seq);
}

static void
heap_push(sim_pool *p, sim_heap_item item)
{
    int64_t i = p->n++;
    while (i > 0) {
        const int64_t up = (i - 1) / 2;
        if (!heap_before(&item, &p->heap[up])) {
            break;
        }
        p->heap[i] = p->heap[up];
        i = up;
    }
    p->heap[i] = item;
}

sim_heap_item
dns_sim_heap_pop(sim_pool *p)
{
    const sim_heap_item top = p->heap[0];
    const sim_heap_item item = p->heap[--p->n];
    int64_t i = 0;
    for (;;) {
        int64_t c = 2 * i + 1;
        if (c >= p->n) {
            break;
        }
        if (c + 1 < p->n && heap_before(&p->heap[c + 1], &p->heap[c])) {
            c++;
        }
        if (!heap_before(&p->heap[c], &item)) {
            break;
        }
        p->heap[i] = p->heap[c];
        i = c;
    }
    if (p->n > 0) {
        p->heap[i] = item;
    }
    return top;
}

/* Closes the gap of a slot; the job keeps the policy's columns for its return. */
void
dns_sim_scan_remove(dns_sim *s, sim_pool *p, int64_t slot)
{
    sim_job *j = &s->jobs[p->job[slot]];
    const size_t tail = (size_t)(p->n - slot - 1);
    j->priv[0] = p->feat[DNS_F_PRIVATE0 * p->ld + slot];
    j->priv[1] = p->feat[DNS_F_PRIVATE1 * p->ld + slot];
    if (tail > 0) {
        for (int32_t c = 0; c < p->n_col; c++) {
            double *at = p->feat + p->col[c] * p->ld + slot;
            memmove(at, at + 1, tail * sizeof *at);
        }
        memmove(p->job + slot, p->job + slot + 1, tail * sizeof *p->job);
        memmove(p->seq + slot, p->seq + slot + 1, tail * sizeof *p->seq);
    }
    p->n--;
}

static dns_status
heap_insert(dns_sim *s, sim_pool *p, sim_job *j, int32_t ji)
{
    j->key = dns_sim_key(s, p, j, s->now);
    if (isnan(j->key)) {
        s->failed = true;
        return dns_fail(s->err, DNS_ERR_POLICY, j->id,
                        "policy: the score of request %lld is NaN at t = %.9g s", (long long)j->id,
                        s->now);
    }
    heap_push(p, (sim_heap_item){j->key, j->seq, ji});
    return DNS_OK;
}

/* A new job goes to the end. One that comes back from a run started before nearly all that wait, so
 * its place is searched from the head: O(resources). */
static void
ring_insert(dns_sim *s, sim_pool *p, const sim_job *j, int32_t ji)
{
    const int64_t mask = p->room - 1, n = p->n++;
    if (n == 0 || s->jobs[p->job[(p->head + n - 1) & mask]].seq < j->seq) {
        p->job[(p->head + n) & mask] = ji;
        return;
    }
    p->head = (p->head - 1) & mask;
    int64_t i = 0;
    while (s->jobs[p->job[(p->head + i + 1) & mask]].seq < j->seq) {
        p->job[(p->head + i) & mask] = p->job[(p->head + i + 1) & mask];
        i++;
    }
    p->job[(p->head + i) & mask] = ji;
}

static void
scan_insert(dns_sim *s, sim_pool *p, const sim_job *j, int32_t ji)
{
    int64_t slot = p->n;
    while (slot > 0 && p->seq[slot - 1] > j->seq) {
        slot--;
    }
    const size_t tail = (size_t)(p->n - slot);
    if (tail > 0) {
        for (int32_t c = 0; c < p->n_col; c++) {
            double *at = p->feat + p->col[c] * p->ld + slot;
            memmove(at + 1, at, tail * sizeof *at);
        }
        memmove(p->job + slot + 1, p->job + slot, tail * sizeof *p->job);
        memmove(p->seq + slot + 1, p->seq + slot, tail * sizeof *p->seq);
    }
    p->n++;
    p->job[slot] = ji;
    p->seq[slot] = j->seq;
    write_all(s, p->pol.need, p->feat + slot, p->ld, j);
}

/* A job comes back from a run in this pool: its old place, found by seq. */
dns_status
dns_sim_reinsert(dns_sim *s, sim_pool *p, int32_t ji)
{
    sim_job *j = &s->jobs[ji];
    if (p->n == p->room) {
        DNS_TRY(pool_grow(s, p, p->room * 2));
    }
    if (p->kind == Q_HEAP) {
        return heap_insert(s, p, j, ji);
    }
    if (p->kind == Q_RING) {
        ring_insert(s, p, j, ji);
    }
    else {
        scan_insert(s, p, j, ji);
    }
    return DNS_OK;
}

/* A job enters the pool: a new place at the end of the queue. */
dns_status
dns_sim_push(dns_sim *s, sim_pool *p, int32_t ji)
{
    sim_job *j = &s->jobs[ji];
    j->seq = s->seq++;
    j->priv[0] = j->priv[1] = 0.0;
    return dns_sim_reinsert(s, p, ji);
}

dns_status
dns_sim_policy_error(dns_sim *s, const sim_pool *p, double now, int64_t slot, const char *what)
{
    s->failed = true;
    const int64_t at = slot >= 0 && slot < p->n ? slot : 0;
    const int64_t id = p->n > 0 ? s->jobs[p->job[at]].id : -1;
    return dns_fail(s->err, slot == DNS_PICK_ERROR ? DNS_ERR_CALLBACK : DNS_ERR_POLICY, id,
                    "policy: %s at t = %.9g s (pool %d, %lld requests waiting, request %lld)", what,
                    now, (int)p->param[DNS_P_POOL], (long long)p->n, (long long)id);
}

/* A pick outside of the queue: idle is an answer, anything else an error. */
dns_status
dns_sim_scan_odd(dns_sim *s, const sim_pool *p, double now, int64_t picked, int64_t *slot)
{
    if (picked == DNS_PICK_ERROR) {
        return dns_sim_policy_error(s, p, now, picked, "the callback failed");
    }
    if (picked != DNS_PICK_IDLE) {
        s->failed = true;
        const int64_t id = s->jobs[p->job[0]].id;
        return dns_fail(s->err, DNS_ERR_POLICY, id,
                        "policy: picked slot %lld at t = %.9g s; expected -1..%lld (pool %d, first "
                        "request %lld)",
                        (long long)picked, now, (long long)p->n - 1, (int)p->param[DNS_P_POOL],
                        (long long)id);
    }
    *slot = picked;
    return DNS_OK;
}

/* Least of v[0..n) in four independent chains (the comparisons of one would wait for each other);
 * NaN if any is NaN. */
static double
least(const double *v, int64_t n)
{
    double m[4] = {v[0], v[0], v[0], v[0]};
    bool nan = false;
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        for (int k = 0; k < 4; k++) {
            m[k] = v[i + k] < m[k] ? v[i + k] : m[k];
            nan |= v[i + k] != v[i + k];
        }
    }
    for (; i < n; i++) {
        m[0] = v[i] < m[0] ? v[i] : m[0];
        nan |= v[i] != v[i];
    }
    const double a = m[0] < m[1] ? m[0] : m[1], b = m[2] < m[3] ? m[2] : m[3];
    return nan ? (double)NAN : a < b ? a : b;
}

/* The slot of least score(), first in queue order on ties. */
dns_status
dns_sim_scan_scores(dns_sim *s, sim_pool *p, double now, int64_t *slot)
{
    p->score[0] = NAN;
    p->pol.score(now, p->n, p->feat, p->ld, p->param, p->score, p->pol.user);
    const double best = least(p->score, p->n);
    int64_t i = 0;
    if (isnan(best)) {
        while (!isnan(p->score[i])) {
            i++;
        }
        return dns_sim_policy_error(s, p, now, i, "a score is NaN");
    }
    while (p->score[i] != best) {
        i++;
    }
    *slot = i;
    return DNS_OK;
}
