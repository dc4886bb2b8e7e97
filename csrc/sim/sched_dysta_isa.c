/* Sparse-DySta's dynamic score as an argmin scan (Fan, Venieris, Kouris, Lane: "Sparse-DySta",
 * MICRO 2023, Algorithm 2). For every queued request i, at time t with Q requests queued:
 *
 *   That_i  = column REMAINING: alpha * gamma_i * (average latency still to run)
 *   pen_i   = ((t - last_run_i) * (1/Tisol_i)) * (1/Q)
 *   score_i = That_i + eta * (slack_i + pen_i),  the smallest runs, first in queue order on ties
 *
 *   signed    slack_i = (D_i - t) - That_i            Algorithm 2 as printed
 *   clamped   slack_i = max((D_i - t) - That_i, 0)    the public simulator's
 *   deadline  slack_i = D_i - t                       Fig. 11b and the hardware design
 *
 * Reciprocals are stored, as in the paper's hardware. The `artifact` form is the public simulator's
 * arithmetic to the bit: clamped slack and pen_i = ((t - last_run_i)/Tisol_i)/Q with two true
 * divisions. It is screened first with reciprocals. All terms are >= 0 (t >= last_run, eta >= 0,
 * That >= 0), so an approximate and an exact score differ by at most 13 rounding errors, relative:
 * 6 in pen and 3 on each side of the sum. Whatever is exactly least is therefore approximately
 * within 27 u < 2^-47 of the least approximate score; only those candidates, nearly always one, are
 * divided.
 *
 * Cost per decision: about 9 operations an element; scalar to 8 requests (wide loads would wait for
 * the slot just written), vectors above; four columns are read, so from L2 on the bound is 32 bytes
 * an element. The argmin keeps the first index per lane and merges lanes by (score, index): any
 * lane count picks the same slot.
 */
#include "base/vec_f64.h"
#include "sched_internal.h"

enum { SIGNED, CLAMPED, DEADLINE };
#define SCALAR_MAX 8
#define N_BLOCK 128
#define SCREEN (1.0 + 0x1p-47)
#define TINY 1e-300

typedef struct view {
    const double *e, *d, *last, *inv_iso, *iso;
} view;

static inline view
columns(const double *feat, int64_t ld)
{
    return (view){feat + DNS_F_REMAINING * ld, feat + DNS_F_DEADLINE * ld,
                  feat + DNS_F_LAST_RUN * ld, feat + DNS_F_INV_ISOLATED * ld,
                  feat + DNS_F_ISOLATED * ld};
}

static inline double
score1(const view *v, int64_t i, double now, double inv_q, double eta, int slack_kind)
{
    const double e = v->e[i];
    const double pen = ((now - v->last[i]) * v->inv_iso[i]) * inv_q;
    double slack = v->d[i] - now;
    if (slack_kind != DEADLINE) {
        slack = slack - e;
    }
    if (slack_kind == CLAMPED) {
        slack = slack > 0.0 ? slack : 0.0;
    }
    return e + eta * (slack + pen);
}

static inline vf
score_vec(const view *v, int64_t i, vf now, vf inv_q, vf eta, int slack_kind)
{
    const vf e = vf_load(v->e + i);
    const vf pen =
        vf_mul(vf_mul(vf_sub(now, vf_load(v->last + i)), vf_load(v->inv_iso + i)), inv_q);
    vf slack = vf_sub(vf_load(v->d + i), now);
    if (slack_kind != DEADLINE) {
        slack = vf_sub(slack, e);
    }
    if (slack_kind == CLAMPED) {
        slack = vf_plus(slack);
    }
    return vf_add(e, vf_mul(eta, vf_add(slack, pen)));
}

/* Least (score, index) of elements i0..i1-1, merged into *best, *at; indices come in increasing
 * order. */
static inline void
least(const view *v, int64_t i0, int64_t i1, double now, double inv_q, double eta, int slack_kind,
      double *best, int64_t *at)
{
    int64_t i = i0;
    if (i1 - i0 >= VF_N && VF_N > 1) {
        const vf vnow = vf_set(now), vq = vf_set(inv_q), veta = vf_set(eta);
        vf b0 = vf_set(INFINITY), b1 = b0;
        vi a0 = vi_set(-1), a1 = a0;
        for (; i + 2 * VF_N <= i1; i += 2 * VF_N) {
            vf_least(score_vec(v, i, vnow, vq, veta, slack_kind), vi_set(i), &b0, &a0);
            vf_least(score_vec(v, i + VF_N, vnow, vq, veta, slack_kind), vi_set(i + VF_N), &b1,
                     &a1);
        }
        if (i + VF_N <= i1) {
            vf_least(score_vec(v, i, vnow, vq, veta, slack_kind), vi_set(i), &b0, &a0);
            i += VF_N;
        }
        double b[2 * VF_N];
        int64_t a[2 * VF_N];
        vf_store(b, b0);
        vf_store(b + VF_N, b1);
        vi_store(a, a0);
        vi_store(a + VF_N, a1);
        for (int l = 0; l < 2 * VF_N; l++) {
            const int64_t index = a[l] + l % VF_N;
            if (a[l] >= 0 && (b[l] < *best || (b[l] == *best && index < *at))) {
                *best = b[l];
                *at = index;
            }
        }
    }
    for (; i < i1; i++) {
        const double sc = score1(v, i, now, inv_q, eta, slack_kind);
        *at = sc < *best ? i : *at;
        *best = sc < *best ? sc : *best;
    }
}

static inline int64_t
pick(double now, int64_t n, const double *feat, int64_t ld, const double *param, int slack_kind)
{
    const view v = columns(feat, ld);
    const double eta = param[DNS_PARAM_USER], inv_q = 1.0 / (double)n;
    double best = score1(&v, 0, now, inv_q, eta, slack_kind);
    int64_t at = 0;
    if (n <= SCALAR_MAX) {
        for (int64_t i = 1; i < n; i++) {
            const double sc = score1(&v, i, now, inv_q, eta, slack_kind);
            at = sc < best ? i : at;
            best = sc < best ? sc : best;
        }
        return at;
    }
    least(&v, 0, n, now, inv_q, eta, slack_kind, &best, &at);
    return at;
}

static int64_t
pick_signed(double now, int64_t n, const double *feat, int64_t ld, const double *param, void *user)
{
    (void)user;
    return pick(now, n, feat, ld, param, SIGNED);
}

static int64_t
pick_clamped(double now, int64_t n, const double *feat, int64_t ld, const double *param, void *user)
{
    (void)user;
    return pick(now, n, feat, ld, param, CLAMPED);
}

static int64_t
pick_deadline(double now, int64_t n, const double *feat, int64_t ld, const double *param,
              void *user)
{
    (void)user;
    return pick(now, n, feat, ld, param, DEADLINE);
}

static inline double
exact(const view *v, int64_t i, double now, double q, double eta)
{
    const double e = v->e[i];
    const double slack = (v->d[i] - now) - e;
    const double pen = ((now - v->last[i]) / v->iso[i]) / q;
    return e + eta * ((slack < 0.0 ? 0.0 : slack) + pen);
}

/* Exact argmin over the elements of i0..i1-1 whose approximate score is within the bound. */
static inline void
settle(const view *v, int64_t i0, int64_t i1, double now, double q, double eta, double bound,
       double *best, int64_t *at)
{
    const double inv_q = 1.0 / q;
    const vf vnow = vf_set(now), vq = vf_set(inv_q), veta = vf_set(eta), vbound = vf_set(bound);
    for (int64_t i = i0; i < i1; i += VF_N) {
        unsigned close = 0;
        if (i + VF_N <= i1) {
            close = vf_mask_le(score_vec(v, i, vnow, vq, veta, CLAMPED), vbound);
        }
        else {
            for (int64_t l = 0; i + l < i1; l++) {
                close |= (unsigned)(score1(v, i + l, now, inv_q, eta, CLAMPED) <= bound) << l;
            }
        }
        for (int64_t l = 0; close != 0; l++, close >>= 1) {
            const double sc = (close & 1U) != 0 ? exact(v, i + l, now, q, eta) : (double)INFINITY;
            if ((close & 1U) != 0 && (*at < 0 || sc < *best)) {
                *best = sc;
                *at = i + l;
            }
        }
    }
}

static int64_t
pick_artifact_few(const view *v, double now, int64_t n, double eta)
{
    const double q = (double)n, inv_q = 1.0 / q;
    double a[SCALAR_MAX];
    double least_a = a[0] = score1(v, 0, now, inv_q, eta, CLAMPED);
    int64_t at = 0;
    for (int64_t i = 1; i < n; i++) {
        a[i] = score1(v, i, now, inv_q, eta, CLAMPED);
        at = a[i] < least_a ? i : at;
        least_a = a[i] < least_a ? a[i] : least_a;
    }
    const double bound = least_a * SCREEN + TINY;
    int close = 0;
    for (int64_t i = 0; i < n; i++) {
        close += a[i] <= bound;
    }
    if (close == 1) {
        return at;
    }
    double best = 0.0;
    at = -1;
    settle(v, 0, n, now, q, eta, bound, &best, &at);
    return at >= 0 ? at : 0;
}

static int64_t
pick_artifact(double now, int64_t n, const double *feat, int64_t ld, const double *param,
              void *user)
{
    (void)user;
    const view v = columns(feat, ld);
    const double eta = param[DNS_PARAM_USER], q = (double)n, inv_q = 1.0 / q;
    if (n <= SCALAR_MAX) {
        return pick_artifact_few(&v, now, n, eta);
    }
    double block_best[N_BLOCK];
    const int64_t size = n <= 8 * N_BLOCK ? 64 : (n + N_BLOCK - 1) / N_BLOCK;
    const int64_t n_block = (n + size - 1) / size;
    double low = INFINITY;
    for (int64_t b = 0; b < n_block; b++) {
        const int64_t i0 = b * size, i1 = i0 + size < n ? i0 + size : n;
        int64_t at = -1;
        block_best[b] = INFINITY;
        least(&v, i0, i1, now, inv_q, eta, CLAMPED, &block_best[b], &at);
        low = block_best[b] < low ? block_best[b] : low;
    }
    const double bound = low * SCREEN + TINY;
    double best = 0.0;
    int64_t at = -1;
    for (int64_t b = 0; b < n_block; b++) {
        if (block_best[b] <= bound) {
            settle(&v, b * size, (b + 1) * size < n ? (b + 1) * size : n, now, q, eta, bound, &best,
                   &at);
        }
    }
    return at >= 0 ? at : 0;
}

const dns_dysta_ops DNS_ISA_FN(dns_dysta_ops) = {pick_signed, pick_clamped, pick_deadline,
                                                 pick_artifact};
