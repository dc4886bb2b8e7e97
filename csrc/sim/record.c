/* What a finished job leaves behind: result columns, running sums, histogram, slices.
 *
 * Histogram: the latency's binary exponent and the top 7 bits of its mantissa index the bin, so
 * each octave has 128 bins of equal width and the middle of a bin is off by at most 1/256 of the
 * value.
 */
#include <string.h>

#include "sim_internal.h"

int
dns_hist_bin(double latency_s)
{
    uint64_t bits = 0;
    memcpy(&bits, &latency_s, sizeof bits);
    if (!(latency_s > 0.0)) {
        return 0;
    }
    const int64_t at = (int64_t)(bits >> 45) - (int64_t)(1023 + DNS_HIST_EXP0) * DNS_HIST_SUB;
    if (at < 0) {
        return 0;
    }
    return at >= DNS_HIST_N - 2 ? DNS_HIST_N - 1 : (int)at + 1;
}

double
dns_hist_middle(int bin)
{
    if (bin <= 0) {
        return 0.0;
    }
    const int octave = (bin - 1) / DNS_HIST_SUB, part = (bin - 1) % DNS_HIST_SUB;
    return ldexp(1.0 + (part + 0.5) / DNS_HIST_SUB, DNS_HIST_EXP0 + octave);
}

static void
add_sums(dns_sim *s, const sim_job *j, int status)
{
    dns_sums *a = &s->sums[j->program];
    const int answered = status != DNS_ST_DROPPED && status != DNS_ST_FAILED;
    const double *alone = sim_est_row(s, s->programs[j->program].p.alone, j->sample);
    if (a->n == 0 || j->arrival_s < a->first_arrival_s) {
        a->first_arrival_s = j->arrival_s;
    }
    if (a->n == 0 || j->arrival_s > a->last_arrival_s) {
        a->last_arrival_s = j->arrival_s;
    }
    if (a->n == 0 || s->now > a->last_finish_s) {
        a->last_finish_s = s->now;
    }
    a->n++;
    a->dropped += status == DNS_ST_DROPPED;
    a->failed += status == DNS_ST_FAILED;
    a->violations += !answered || s->now > j->deadline_s;
    a->alone_s += alone != NULL ? *alone : 0.0;
    a->service_s += j->service_s;
    a->preemptions += j->n_preempt;
    if (!answered) {
        return;
    }
    const double latency = s->now - j->arrival_s;
    a->latency_s += latency;
    a->latency_max_s = latency > a->latency_max_s ? latency : a->latency_max_s;
    if (alone != NULL) {
        a->ntt += latency / *alone;
        a->inv_ntt += *alone / latency;
    }
    s->hist[(int64_t)j->program * DNS_HIST_N + dns_hist_bin(latency)]++;
}

void
dns_sim_record_finish(dns_sim *s, const sim_job *j, int status, int32_t last_stage)
{
    const dns_results *r = &s->results;
    const int64_t i = j->id;
    if (s->sums != NULL && i >= s->warmup) {
        add_sums(s, j, status);
    }
    if (r->n == 0) {
        return;
    }
    if (r->first_start_s != NULL) {
        r->first_start_s[i] = j->first_s;
    }
    if (r->finish_s != NULL) {
        r->finish_s[i] = s->now;
    }
    if (r->service_s != NULL) {
        r->service_s[i] = j->service_s;
    }
    if (r->n_preempt != NULL) {
        r->n_preempt[i] = j->n_preempt;
    }
    if (r->last_stage != NULL) {
        r->last_stage[i] = last_stage;
    }
    if (r->variant != NULL) {
        r->variant[i] = j->variant;
    }
    if (r->status != NULL) {
        r->status[i] = (uint8_t)status;
    }
    if (r->release_s != NULL) {
        r->release_s[i] = j->arrival_s;
    }
    if (r->order != NULL) {
        r->order[s->stats.finished] = i;
    }
}

void
dns_sim_record_slice(dns_sim *s, const sim_res *r, int32_t ri)
{
    if (s->slices == NULL) {
        return;
    }
    for (int32_t i = 0; i < r->n; i++) {
        if (s->stats.n_slice == s->slice_room) {
            s->stats.lost_slices++;
            continue;
        }
        const sim_job *j = &s->jobs[r->jobs[i]];
        s->slices[s->stats.n_slice++] =
            (dns_slice){r->t0_s, r->t1_s, j->id, ri, j->k, j->program, r->n, r->pool, j->n_preempt};
    }
}
