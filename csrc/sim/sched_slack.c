/* Planaria and SDRM3 on one time-shared accelerator, as Sparse-DySta evaluates them (section 6.1).
 *
 * Planaria (Ghodrati et al., MICRO 2020), resource estimate fixed to 1: the largest score runs,
 *   paper      prio/slack if slack = D - t > 0; a late request scores -prio/remaining, so that late
 *              requests run last, the one with most work per priority first among them
 *   artifact   prio/(D - t) for all
 * SDRM3 (Kim et al., arXiv 2212.03414), preference 1 on a single accelerator: the largest MapScore
 * runs, score = urgency + alpha * (t - last_run)/next_layer paper      urgency = clip(torun/slack,
 * 0, 1), 1 when late artifact   urgency = min(1, torun/(D - t)), negative when late The artifact
 * takes maxima with a sentinel of -1 for "none yet": a negative best is replaced by whatever comes
 * next, and of equal scores the earlier arrival stays. That rule depends on queue order, so its
 * scan is scalar: O(n) with one (Planaria) or two (SDRM3) divisions a request.
 */
#include "sched_internal.h"

typedef struct running_max {
    double best;
    int64_t at;
} running_max;

/* The artifact's maximum, one step. */
static inline void
take(running_max *m, double score, int64_t i, const double *arrival)
{
    if (m->best < 0.0 || m->best <= score) {
        if (m->at >= 0 && m->best == score && arrival[m->at] < arrival[i]) {
            return;
        }
        m->best = score;
        m->at = i;
    }
}

static inline void
take_first(running_max *m, double score, int64_t i)
{
    if (m->at < 0 || score > m->best) {
        m->best = score;
        m->at = i;
    }
}

int64_t
dns_planaria_pick(double now, int64_t n, const double *feat, int64_t ld, const double *param,
                  void *user)
{
    (void)param;
    (void)user;
    const double *d = feat + DNS_F_DEADLINE * ld, *prio = feat + DNS_F_PRIORITY * ld;
    const double *rest = feat + DNS_F_REMAINING * ld;
    running_max m = {0.0, -1};
    for (int64_t i = 0; i < n; i++) {
        const double slack = d[i] - now;
        take_first(&m, slack > 0.0 ? prio[i] / slack : -prio[i] / rest[i], i);
    }
    return m.at;
}

int64_t
dns_planaria_artifact_pick(double now, int64_t n, const double *feat, int64_t ld,
                           const double *param, void *user)
{
    (void)param;
    (void)user;
    const double *d = feat + DNS_F_DEADLINE * ld, *prio = feat + DNS_F_PRIORITY * ld;
    running_max m = {-1.0, -1};
    for (int64_t i = 0; i < n; i++) {
        take(&m, prio[i] / (d[i] - now), i, feat + DNS_F_ARRIVAL * ld);
    }
    return m.at;
}

int64_t
dns_sdrm3_pick(double now, int64_t n, const double *feat, int64_t ld, const double *param,
               void *user)
{
    (void)user;
    const double *d = feat + DNS_F_DEADLINE * ld, *rest = feat + DNS_F_REMAINING * ld;
    const double *last = feat + DNS_F_LAST_RUN * ld, *next = feat + DNS_F_NEXT * ld;
    const double alpha = param[DNS_PARAM_USER];
    running_max m = {0.0, -1};
    for (int64_t i = 0; i < n; i++) {
        const double slack = d[i] - now;
        const double urgency = slack > rest[i] ? rest[i] / slack : 1.0;
        take_first(&m, urgency + alpha * ((now - last[i]) / next[i]), i);
    }
    return m.at;
}

int64_t
dns_sdrm3_artifact_pick(double now, int64_t n, const double *feat, int64_t ld, const double *param,
                        void *user)
{
    (void)user;
    const double *d = feat + DNS_F_DEADLINE * ld, *rest = feat + DNS_F_REMAINING * ld;
    const double *last = feat + DNS_F_LAST_RUN * ld, *next = feat + DNS_F_NEXT * ld;
    const double alpha = param[DNS_PARAM_USER];
    running_max m = {-1.0, -1};
    for (int64_t i = 0; i < n; i++) {
        const double ratio = rest[i] / (d[i] - now);
        const double urgency = ratio > 1.0 ? 1.0 : ratio;
        take(&m, urgency + alpha * ((now - last[i]) / next[i]), i, feat + DNS_F_ARRIVAL * ld);
    }
    return m.at;
}
