/* PREMA's token scheduler (Choi, Rhu: "PREMA", HPCA 2020, Algorithm 2), as Sparse-DySta evaluates
 * it.
 *
 * Every request earns tokens while it waits: token += priority * (waited / Tisol), starting from
 * its priority. The threshold is the greatest of 9, 3, 1 (and 0) that the largest token reaches;
 * among the requests with token >= threshold (the >= is Sparse-DySta's change, its section 6.1) the
 * one with the least remaining estimate runs.
 *
 *   paper      waited = time since the last update that was not spent running
 *   artifact   the whole wait since the last execution, added again at every decision; a new
 * request's first token (its priority) does not count for the threshold sparse     Tisol scaled by
 * the request's gamma. The artifact multiplies every candidate's estimate by the gamma of the last
 * request in the queue (a stale loop variable)
 *
 * Private columns: [0] token, [1] paper: time of the last update; artifact: 1 once seen. O(n) a
 * decision.
 */
#include "sched_internal.h"

static inline double
threshold(double top)
{
    return top >= 9.0 ? 9.0 : top >= 3.0 ? 3.0 : top >= 1.0 ? 1.0 : 0.0;
}

/* First least `work` among the slots whose token reaches the threshold. */
static inline int64_t
shortest(int64_t n, const double *token, double least_token, const double *work, double factor)
{
    int64_t at = -1;
    double best = 0.0;
    for (int64_t i = 0; i < n; i++) {
        const double w = factor * work[i];
        if (token[i] >= least_token && (at < 0 || w < best)) {
            best = w;
            at = i;
        }
    }
    return at;
}

static inline int64_t
pick_paper(double now, int64_t n, double *feat, int64_t ld, int sparse)
{
    const double *prio = feat + DNS_F_PRIORITY * ld, *last = feat + DNS_F_LAST_RUN * ld;
    const double *inv_iso = feat + DNS_F_INV_ISOLATED * ld, *gamma = feat + DNS_F_GAMMA * ld;
    double *token = feat + DNS_F_PRIVATE0 * ld, *update = feat + DNS_F_PRIVATE1 * ld;
    double top = 0.0;
    for (int64_t i = 0; i < n; i++) {
        const double from = update[i] > last[i] ? update[i] : last[i];
        const double start = token[i] > 0.0 ? token[i] : prio[i];
        double slowdown = (now - from) * inv_iso[i];
        if (sparse) {
            slowdown = slowdown / gamma[i];
        }
        token[i] = start + prio[i] * slowdown;
        update[i] = now;
        top = token[i] > top ? token[i] : top;
    }
    return shortest(n, token, threshold(top), feat + DNS_F_REMAINING * ld, 1.0);
}

static inline int64_t
pick_artifact(double now, int64_t n, double *feat, int64_t ld, int sparse)
{
    const double *prio = feat + DNS_F_PRIORITY * ld, *last = feat + DNS_F_LAST_RUN * ld;
    const double *iso = feat + DNS_F_ISOLATED * ld, *gamma = feat + DNS_F_GAMMA * ld;
    double *token = feat + DNS_F_PRIVATE0 * ld, *seen = feat + DNS_F_PRIVATE1 * ld;
    double top = 0.0;
    for (int64_t i = 0; i < n; i++) {
        if (seen[i] == 0.0) {
            seen[i] = 1.0;
            token[i] = prio[i];
            continue;
        }
        token[i] += prio[i] * ((now - last[i]) / (sparse ? gamma[i] * iso[i] : iso[i]));
        top = top < token[i] ? token[i] : top;
    }
    const double limit = top >= 9.0 ? 9.0 : top >= 3.0 ? 3.0 : 1.0;
    const int64_t at =
        shortest(n, token, limit, feat + DNS_F_REMAINING * ld, sparse ? gamma[n - 1] : 1.0);
    return at < 0 ? 0 : at;
}

/* The private columns are the policy's to write; the view is const for everything else. */
#define OWN(feat) ((double *)(uintptr_t)(feat))

int64_t
dns_prema_pick(double now, int64_t n, const double *feat, int64_t ld, const double *param,
               void *user)
{
    (void)param;
    (void)user;
    return pick_paper(now, n, OWN(feat), ld, 0);
}

int64_t
dns_prema_sparse_pick(double now, int64_t n, const double *feat, int64_t ld, const double *param,
                      void *user)
{
    (void)param;
    (void)user;
    return pick_paper(now, n, OWN(feat), ld, 1);
}

int64_t
dns_prema_artifact_pick(double now, int64_t n, const double *feat, int64_t ld, const double *param,
                        void *user)
{
    (void)param;
    (void)user;
    return pick_artifact(now, n, OWN(feat), ld, 0);
}

int64_t
dns_prema_sparse_artifact_pick(double now, int64_t n, const double *feat, int64_t ld,
                               const double *param, void *user)
{
    (void)param;
    (void)user;
    return pick_artifact(now, n, OWN(feat), ld, 1);
}
