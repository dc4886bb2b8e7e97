/* The scans of the schedulers: every instruction-set level picks the same slot, and the right one;
 * the screened artifact pick equals plain divisions on hostile queues. */
#include "dns/cpu.h"
#include "dns/sched.h"
#include "tap.h"

enum { MAX_N = 260 };

typedef struct columns {
    double feat[DNS_N_FEATURE * MAX_N];
    double param[DNS_N_PARAM];
    int64_t n;
    double now;
} columns;

static uint64_t
mix(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static double
uniform(uint64_t *state)
{
    return (double)(mix(state) >> 11) * 0x1p-53;
}

static double *
column(columns *c, int f)
{
    return c->feat + f * MAX_N;
}

/* Random queue of n requests; with `grid` the values are few, so that equal scores are common. */
static void
fill(columns *c, uint64_t *state, int64_t n, bool grid)
{
    c->n = n;
    c->now = 10.0;
    memset(c->param, 0, sizeof c->param);
    const bool starving = !grid && mix(state) % 2 == 0; /* the penalty decides, not the estimate */
    c->param[DNS_PARAM_USER] = grid ? 0.25 : starving ? 1.0 : 0.01;
    for (int64_t i = 0; i < n; i++) {
        double u[6];
        for (int f = 0; f < 6; f++) {
            u[f] = grid ? (double)(mix(state) % 4) / 4.0 : uniform(state);
        }
        column(c, DNS_F_ARRIVAL)[i] = 5.0 * u[0];
        column(c, DNS_F_LAST_RUN)[i] = 10.0 - (starving ? 400.0 : 4.0) * u[1];
        column(c, DNS_F_DEADLINE)[i] = 8.0 + 8.0 * u[2];
        column(c, DNS_F_REMAINING)[i] = 0.125 + u[3];
        column(c, DNS_F_NEXT)[i] = 0.125 + u[3] / 4.0;
        column(c, DNS_F_ISOLATED)[i] = 1.0 + u[4];
        column(c, DNS_F_INV_ISOLATED)[i] = 1.0 / (1.0 + u[4]);
        column(c, DNS_F_PRIORITY)[i] = u[5] < 0.3 ? 1.0 : u[5] < 0.6 ? 3.0 : 9.0;
        column(c, DNS_F_GAMMA)[i] = 0.5 + u[5];
        column(c, DNS_F_JOB)[i] = (double)i;
    }
}

static int64_t
ask(const dns_policy *p, const columns *c)
{
    return p->pick(c->now, c->n, c->feat, MAX_N, c->param, p->user);
}

static dns_policy
get(const char *name, dns_isa isa)
{
    dns_policy p;
    if (dns_sched_get(name, isa, &p) < 0) {
        (void)fprintf(stderr, "no scheduler %s\n", name);
        exit(3);
    }
    return p;
}

/* Algorithm 2 with stored reciprocals, as written. */
static int64_t
plain_dysta(const columns *c, const char *name)
{
    const double eta = c->param[DNS_PARAM_USER], inv_q = 1.0 / (double)c->n;
    const bool deadline = strcmp(name, "dysta_deadline") == 0;
    const bool clamped = strcmp(name, "dysta_clamped") == 0;
    double best = 0.0;
    int64_t at = -1;
    for (int64_t i = 0; i < c->n; i++) {
        const double e = c->feat[DNS_F_REMAINING * MAX_N + i];
        const double wait = c->now - c->feat[DNS_F_LAST_RUN * MAX_N + i];
        const double pen = (wait * c->feat[DNS_F_INV_ISOLATED * MAX_N + i]) * inv_q;
        double slack = c->feat[DNS_F_DEADLINE * MAX_N + i] - c->now;
        slack = deadline ? slack : slack - e;
        slack = clamped && !(slack > 0.0) ? 0.0 : slack;
        const double score = e + eta * (slack + pen);
        if (at < 0 || score < best) {
            best = score;
            at = i;
        }
    }
    return at;
}

/* The public simulator's arithmetic: two true divisions, clamped slack. */
static double
exact_score(const columns *c, int64_t i)
{
    const double e = c->feat[DNS_F_REMAINING * MAX_N + i];
    const double slack = (c->feat[DNS_F_DEADLINE * MAX_N + i] - c->now) - e;
    const double wait = c->now - c->feat[DNS_F_LAST_RUN * MAX_N + i];
    const double pen = (wait / c->feat[DNS_F_ISOLATED * MAX_N + i]) / (double)c->n;
    return e + c->param[DNS_PARAM_USER] * ((slack > 0.0 ? slack : 0.0) + pen);
}

static int64_t
plain_artifact(const columns *c)
{
    int64_t at = 0;
    for (int64_t i = 1; i < c->n; i++) {
        at = exact_score(c, i) < exact_score(c, at) ? i : at;
    }
    return at;
}

static void
test_every_level_picks_as_written(void)
{
    static const char *const names[] = {"dysta_signed", "dysta_clamped", "dysta_deadline"};
    static columns c;
    uint64_t state = 1;
    for (int level = 0; level <= (int)dns_isa_detect(); level++) {
        for (int k = 0; k < 3; k++) {
            const dns_policy p = get(names[k], (dns_isa)level);
            int64_t wrong = 0;
            for (int64_t n = 1; n <= 200; n++) {
                for (int round = 0; round < 6; round++) {
                    fill(&c, &state, n, round % 2 == 1);
                    wrong += ask(&p, &c) != plain_dysta(&c, names[k]);
                }
            }
            CHECK_I64(wrong, 0);
        }
    }
}

/* Equal requests: the first in the queue, wherever it stands in the lanes. */
static void
test_ties_go_to_the_first(void)
{
    static const char *const names[] = {"dysta_signed", "dysta_clamped", "dysta_deadline",
                                        "dysta_artifact"};
    static columns c;
    for (int level = 0; level <= (int)dns_isa_detect(); level++) {
        for (int k = 0; k < 4; k++) {
            const dns_policy p = get(names[k], (dns_isa)level);
            for (int64_t n = 2; n <= 70; n++) {
                for (int64_t first = 0; first < n; first++) {
                    uint64_t state = 7;
                    fill(&c, &state, n, true);
                    for (int64_t i = 0; i < n; i++) {
                        column(&c, DNS_F_REMAINING)[i] = i < first ? 2.0 : 1.0;
                        column(&c, DNS_F_DEADLINE)[i] = 12.0;
                        column(&c, DNS_F_LAST_RUN)[i] = 9.0;
                        column(&c, DNS_F_ISOLATED)[i] = column(&c, DNS_F_INV_ISOLATED)[i] = 1.0;
                    }
                    CHECK_I64(ask(&p, &c), first);
                }
            }
        }
    }
}

/* Moves request i's estimate by bits until its exact score is as near below or above another's as
 * it gets. */
static void
nearly_tie(columns *c, uint64_t *state, int64_t i, double target)
{
    double *e = column(c, DNS_F_REMAINING) + i;
    for (int step = 0; step < 60; step++) {
        const double gap = target - exact_score(c, i);
        *e += gap;
        if (!(*e > 0.0) || fabs(gap) <= 4e-16 * target) {
            break;
        }
    }
    *e = *e > 0.0 ? *e : 0.125;
    for (uint64_t bits = mix(state) % 4; bits > 0; bits--) {
        *e = nextafter(*e, mix(state) % 2 == 0 ? 0.0 : 100.0);
    }
}

static void
test_the_artifact_pick_is_exact(void)
{
    static columns c;
    const int top = (int)dns_isa_detect();
    int64_t wrong = 0, near = 0, queues = 0;
    uint64_t state = 3;
    for (int round = 0; round < 100500; round++) {
        const int64_t n =
            round % 3 == 0 ? 1 + (int64_t)(mix(&state) % 9) : 1 + (int64_t)(mix(&state) % 70);
        fill(&c, &state, n, round % 8 == 0);
        if (round % 8 > 1) { /* several requests within a few bits of the best */
            const double target = exact_score(&c, plain_artifact(&c));
            for (int64_t tie = 0; tie < 1 + n / 8; tie++) {
                nearly_tie(&c, &state, (int64_t)(mix(&state) % (uint64_t)n), target);
            }
        }
        const int64_t want = plain_artifact(&c);
        const double best = exact_score(&c, want);
        for (int64_t i = 0; i < n; i++) {
            near += i != want && exact_score(&c, i) <= best * (1.0 + 1e-15);
        }
        for (int level = 0; level <= top; level++) {
            const dns_policy p = get("dysta_artifact", (dns_isa)level);
            wrong += ask(&p, &c) != want;
        }
        queues++;
    }
    CHECK_I64(wrong, 0);
    CHECK(queues >= 100000);
    CHECK(near > 100000); /* the queues are as hostile as they claim */
    printf("# %lld queues, %lld requests within 1e-15 of the best\n", (long long)queues,
           (long long)near);
}

/* The reciprocal screen alone would be wrong on these queues: the test above can fail. */
static void
test_reciprocals_alone_would_not_do(void)
{
    static columns c;
    int64_t wrong = 0;
    uint64_t state = 3;
    for (int round = 0; round < 5000; round++) {
        fill(&c, &state, 40, false);
        const double target = exact_score(&c, plain_artifact(&c));
        for (int64_t tie = 0; tie < 5; tie++) {
            nearly_tie(&c, &state, (int64_t)(mix(&state) % 40), target);
        }
        wrong += plain_dysta(&c, "dysta_clamped") != plain_artifact(&c);
    }
    printf("# %lld of 5000\n", (long long)wrong);
    CHECK(wrong > 20);
}

/* Long queues go through blocks; late and waiting requests in every mixture. */
static void
test_long_artifact_queues(void)
{
    enum { LONG = 20000 };
    double *feat = calloc((size_t)DNS_N_FEATURE * LONG, sizeof *feat);
    REQUIRE(feat != NULL);
    double param[DNS_N_PARAM] = {0};
    param[DNS_PARAM_USER] = 0.01;
    uint64_t state = 11;
    for (int64_t n = 1000; n <= LONG; n += 4750) {
        for (int64_t i = 0; i < n; i++) {
            feat[DNS_F_REMAINING * LONG + i] = 1.0 + uniform(&state) * 1e-12;
            feat[DNS_F_DEADLINE * LONG + i] = 10.0 + uniform(&state);
            feat[DNS_F_LAST_RUN * LONG + i] = 10.0 - uniform(&state);
            feat[DNS_F_ISOLATED * LONG + i] = 3.0;
            feat[DNS_F_INV_ISOLATED * LONG + i] = 1.0 / 3.0;
        }
        int64_t want = 0;
        double best = 0.0;
        for (int64_t i = 0; i < n; i++) {
            const double e = feat[DNS_F_REMAINING * LONG + i];
            const double slack = (feat[DNS_F_DEADLINE * LONG + i] - 10.0) - e;
            const double pen = ((10.0 - feat[DNS_F_LAST_RUN * LONG + i]) / 3.0) / (double)n;
            const double score = e + 0.01 * ((slack > 0.0 ? slack : 0.0) + pen);
            want = i == 0 || score < best ? i : want;
            best = i == 0 || score < best ? score : best;
        }
        for (int level = 0; level <= (int)dns_isa_detect(); level++) {
            const dns_policy p = get("dysta_artifact", (dns_isa)level);
            CHECK_I64(p.pick(10.0, n, feat, LONG, param, p.user), want);
        }
    }
    free(feat);
}

/* A score that is no number never makes a pick idle, or another level differ. */
static void
test_scores_that_are_no_numbers(void)
{
    static const char *const names[] = {"dysta_signed", "dysta_clamped", "dysta_deadline",
                                        "dysta_artifact"};
    static columns c;
    uint64_t state = 5;
    for (int k = 0; k < 4; k++) {
        for (int64_t n = 1; n <= 40; n++) {
            fill(&c, &state, n, false);
            for (int64_t i = 0; i < n; i++) {
                column(&c, DNS_F_LAST_RUN)[i] = c.now;
                column(&c, DNS_F_ISOLATED)[i] = 0.0;
                column(&c, DNS_F_INV_ISOLATED)[i] = INFINITY;
            }
            for (int level = 0; level <= (int)dns_isa_detect(); level++) {
                const dns_policy p = get(names[k], (dns_isa)level);
                const int64_t slot = ask(&p, &c);
                CHECK(slot >= 0 && slot < n);
            }
        }
    }
}

/* -- the other scans ----------------------------------------------------------------------------
 */

/* Sparse-DySta sheet, Algorithm 2 by hand: two requests, eta 0.1. */
static void
test_dysta_by_hand(void)
{
    static columns c;
    c.n = 2;
    c.now = 0.0;
    c.param[DNS_PARAM_USER] = 0.1;
    const double e[] = {1.0, 2.0}, deadline[] = {3.0, 0.5}, last[] = {0.0, -1.0};
    for (int i = 0; i < 2; i++) {
        column(&c, DNS_F_REMAINING)[i] = e[i];
        column(&c, DNS_F_DEADLINE)[i] = deadline[i];
        column(&c, DNS_F_LAST_RUN)[i] = last[i];
        column(&c, DNS_F_ISOLATED)[i] = 2.0;
    }
    CHECK_NEAR(exact_score(&c, 0), 1.2, 1e-15);   /* clamped */
    CHECK_NEAR(exact_score(&c, 1), 2.025, 1e-15); /* clamped: slack 0 */
}

static void
test_prema_tokens(void)
{
    static columns c;
    const dns_policy p = get("prema", DNS_ISA_GENERIC);
    c.n = 3;
    c.now = 4.0;
    const double prio[] = {1.0, 3.0, 9.0}, rest[] = {1.0, 2.0, 3.0};
    for (int i = 0; i < 3; i++) {
        column(&c, DNS_F_PRIORITY)[i] = prio[i];
        column(&c, DNS_F_REMAINING)[i] = rest[i];
        column(&c, DNS_F_LAST_RUN)[i] = 4.0;
        column(&c, DNS_F_INV_ISOLATED)[i] = 0.5;
        column(&c, DNS_F_PRIVATE0)[i] = column(&c, DNS_F_PRIVATE1)[i] = 0.0;
    }
    CHECK_I64(ask(&p, &c), 2); /* threshold 9 */
    CHECK_F64(column(&c, DNS_F_PRIVATE0)[2], 9.0);
    c.now = 20.0; /* tokens 1 + 8, 3 + 24, 81: all reach 9, the shortest runs */
    CHECK_I64(ask(&p, &c), 0);
    CHECK_F64(column(&c, DNS_F_PRIVATE0)[0], 9.0);
    CHECK_F64(column(&c, DNS_F_PRIVATE0)[1], 27.0);
}

static void
test_planaria_and_sdrm3(void)
{
    static columns c;
    const dns_policy paper = get("planaria", DNS_ISA_GENERIC);
    const dns_policy artifact = get("planaria_artifact", DNS_ISA_GENERIC);
    const dns_policy sdrm3 = get("sdrm3", DNS_ISA_GENERIC);
    c.n = 3;
    c.now = 10.0;
    c.param[DNS_PARAM_USER] = 1.0;
    const double prio[] = {1.0, 9.0, 3.0}, deadline[] = {11.0, 30.0, 9.0}, rest[] = {1.0, 1.0, 2.0};
    for (int i = 0; i < 3; i++) {
        column(&c, DNS_F_PRIORITY)[i] = prio[i];
        column(&c, DNS_F_DEADLINE)[i] = deadline[i];
        column(&c, DNS_F_REMAINING)[i] = rest[i];
        column(&c, DNS_F_ARRIVAL)[i] = i;
        column(&c, DNS_F_LAST_RUN)[i] = 10.0;
        column(&c, DNS_F_NEXT)[i] = 0.5;
    }
    CHECK_I64(ask(&paper, &c), 0); /* 1, 0.45, -1.5: the late one is last */
    CHECK_I64(ask(&artifact, &c), 0);
    CHECK_I64(ask(&sdrm3, &c), 0); /* urgency 1, 0.05, 1: the first */
    column(&c, DNS_F_LAST_RUN)[1] = 9.0;
    CHECK_I64(ask(&sdrm3, &c), 1); /* waited two layers */
    for (int i = 0; i < 3; i++) {
        column(&c, DNS_F_DEADLINE)[i] = 9.0 - i;
    }
    CHECK_I64(ask(&artifact, &c),
              2); /* all late: a negative best is replaced by whatever comes next */
    CHECK_I64(ask(&paper, &c), 0); /* -1, -9, -1.5: the most work per priority */
}

static void
test_lottery_follows_tickets(void)
{
    static columns c;
    const dns_policy p = get("lottery", DNS_ISA_GENERIC);
    int64_t won[3] = {0};
    c.n = 3;
    const double prio[] = {1.0, 2.0, 5.0};
    for (int i = 0; i < 3; i++) {
        column(&c, DNS_F_PRIORITY)[i] = prio[i];
        column(&c, DNS_F_JOB)[i] = i;
    }
    enum { DRAWS = 80000 };
    for (int i = 0; i < DRAWS; i++) {
        c.now = 0.001 * i;
        won[ask(&p, &c)]++;
    }
    for (int i = 0; i < 3; i++) { /* 5 standard deviations */
        const double share = prio[i] / 8.0;
        CHECK_NEAR((double)won[i] / DRAWS, share, 5.0 * sqrt(share * (1.0 - share) / DRAWS));
    }
    c.now = 1.5;
    const int64_t first = ask(&p, &c);
    CHECK_I64(ask(&p, &c), first);
}

static void
test_names(void)
{
    dns_policy p;
    int n = 0;
    for (; dns_sched_name(n) != NULL; n++) {
        CHECK(dns_sched_get(dns_sched_name(n), DNS_ISA_GENERIC, &p) >= 0);
        CHECK_I64(p.abi, DNS_POLICY_ABI);
    }
    CHECK(n > 15);
    CHECK_I64(dns_sched_get("nobody", DNS_ISA_GENERIC, &p), -1);
    CHECK(dns_sched_name(-1) == NULL);
}

TAP_MAIN(TAP(test_every_level_picks_as_written), TAP(test_ties_go_to_the_first),
         TAP(test_the_artifact_pick_is_exact), TAP(test_reciprocals_alone_would_not_do),
         TAP(test_long_artifact_queues), TAP(test_scores_that_are_no_numbers),
         TAP(test_dysta_by_hand), TAP(test_prema_tokens), TAP(test_planaria_and_sdrm3),
         TAP(test_lottery_follows_tickets), TAP(test_names))
