/* Lottery scheduling (Waldspurger, Weihl: OSDI 1994) with tickets = priority: at every decision
 * request i wins with probability priority_i / sum of priorities.
 *
 * The draw needs no generator state: request i's key is -log(u_i)/priority_i with u_i a hash of
 * (seed, request id, decision time), and the least of independent exponentials with rates
 * priority_i is i with exactly that probability. So a draw depends on who waits and when, not on
 * the order of decisions before it: the engine's shortcuts, relabelled slots or a replay change
 * nothing. O(n) a decision.
 */
#include <string.h>

#include "sched_internal.h"

/* The finalizer of splitmix64 (Steele, Lea, Flood: OOPSLA 2014). */
static inline uint64_t
mix(uint64_t x)
{
    x += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

int64_t
dns_lottery_pick(double now, int64_t n, const double *feat, int64_t ld, const double *param,
                 void *user)
{
    (void)user;
    const double *prio = feat + DNS_F_PRIORITY * ld, *id = feat + DNS_F_JOB * ld;
    uint64_t time_bits = 0;
    memcpy(&time_bits, &now, sizeof time_bits);
    const uint64_t decision = mix(mix((uint64_t)param[DNS_PARAM_USER]) ^ time_bits);
    double best = INFINITY;
    int64_t at = 0;
    for (int64_t i = 0; i < n; i++) {
        const uint64_t word = mix(decision ^ mix((uint64_t)id[i]));
        const double u = ((double)(word >> 11) + 0.5) * 0x1p-53;
        const double key = -log(u) / prio[i];
        if (key < best) {
            best = key;
            at = i;
        }
    }
    return at;
}
