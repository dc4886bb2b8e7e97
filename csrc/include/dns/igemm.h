/* Exact 8-bit integer products, and the float layer that stands on them.
 *
 *     Y[m, n] = sum over k of (W[m, k] - zero[m]) X[k, n]             (int32, exact)
 *
 * with W, X and zero in [-128, 127] and K <= 2^16, so that every result fits: 255 * 128 * 2^16 <
 * 2^31. Never saturated, the same bytes at every level and number of threads.
 *
 * dns_plan_execute on such a plan takes floats: each vector x is quantised to 8 bits (symmetric,
 * see dns/quant.h: q = rint(x / t), t = max |x| / 127) and
 *
 *     y = act(scale[m] t (sum (W - zero) q) + bias).
 *
 * With w = scale (W - zero), |y - y64| <= sum |w| t (1/2 + 2^-14) + 4 u (|b| + sum |w| (|x| + t)),
 * u = 2^-24, and these results, too, are the same bytes everywhere. A vector that holds NaN or
 * infinity gives NaN in all its outputs.
 */
#ifndef DNS_IGEMM_H
#define DNS_IGEMM_H

#include "dns/plan.h"

#define DNS_IGEMM_MAX_COLS 65536

/* Weights as the caller holds them. */
typedef struct dns_igemm_weights {
    size_t rows, cols;
    const int8_t *w; /* [rows][ldw >= cols] */
    ptrdiff_t ldw;
    const float *scale;  /* [rows], finite and > 0 */
    const int32_t *zero; /* [rows] in [-128, 127] */
} dns_igemm_weights;

/* One integer execution; layouts as in dns/plan.h. */
typedef struct dns_igemm_call {
    size_t n;
    const int8_t *x;
    ptrdiff_t ldx;
    int32_t *y;
    ptrdiff_t ldy;
    void *ws;
    dns_threads *threads;
} dns_igemm_call;

/* Packs a copy. Fails with DNS_ERR_VALUE, naming the row, when a scale or zero is out of range or
 * there are more than DNS_IGEMM_MAX_COLS columns, and as dns_plan_new does. */
DNS_NODISCARD dns_status dns_igemm_plan_create(const dns_igemm_weights *w, const float *bias,
                                               dns_act act, dns_isa isa, const dns_alloc *alloc,
                                               dns_plan **out, dns_error *err);

/* Whether a plan was made by dns_igemm_plan_create. */
bool dns_igemm_is(const dns_plan *plan);

/* Bytes of workspace, to be aligned to DNS_ALIGN, of dns_igemm_execute. Fails with DNS_ERR_VALUE
 * for a plan of another format, or DNS_ERR_OVERFLOW. */
DNS_NODISCARD dns_status dns_igemm_workspace(const dns_plan *plan, size_t n, size_t *bytes,
                                             dns_error *err);

/* The integer product by a plan made by dns_igemm_plan_create; scale, bias and act play no part. */
void dns_igemm_execute(const dns_plan *plan, dns_layout layout, const dns_igemm_call *call);

/* The integers of a plan made by dns_igemm_plan_create, [rows][cols]. Fails with DNS_ERR_VALUE when
 * the plan is of another format. */
DNS_NODISCARD dns_status dns_igemm_unpack(const dns_plan *plan, int8_t *w, dns_error *err);

#endif
