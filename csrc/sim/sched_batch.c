/* First-come first-served batches: the oldest request and, behind it, the oldest others at the same
 * program and stage, up to the bound given as parameter (and the pool's max_batch). Starts at once
 * with whatever waits; it never delays a request to fill a batch. O(n) a decision. */
#include "sched_internal.h"

int32_t
dns_batch_fcfs(void *user, dns_ctl *ctl, int64_t n, const double *feat, int64_t ld,
               const double *param, dns_choice *out)
{
    (void)user;
    (void)ctl;
    const double *program = feat + DNS_F_PROGRAM * ld, *stage = feat + DNS_F_STAGE * ld;
    const double bound = param[DNS_PARAM_USER];
    for (int64_t i = 0; i < n && out->n < out->room && (double)out->n < bound; i++) {
        if (program[i] == program[0] && stage[i] == stage[0]) {
            out->slots[out->n++] = i;
        }
    }
    return 0;
}
