/* The cell of a long short-term memory, its weights packed once.
 *
 *     z = W [x; h] + b                 4 H values, gates in PyTorch's order i, f, g, o
 *     c' = sigmoid(z_f) c + sigmoid(z_i) tanh(z_g),   h' = sigmoid(z_o) tanh(c')
 *
 * with W [4H][D + H], the weights of the D inputs before those of the H states (Hochreiter and
 * Schmidhuber, Neural Computation 9(8), 1997, with forget gates). A cell is a dns_plan of that
 * matrix: dns_plan_execute gives z, dns_lstm_step the new states.
 *
 * The matrix is dense, a sum of rank-one terms (per gate W = sum of s_t u_t v_t^T, with v_t whole,
 * "lowrank", or a few of its elements, "progressive"), or any other plan (csr, int8). Terms are in
 * order of use, and a call may stop after any of them: an anytime network (Rizakis et al., ARC
 * 2018, arXiv 1801.02190).
 *
 * Sums: dense and v_t whole take ascending columns, one fp32 accumulator, one fused multiply-add
 * each (two roundings in the portable path); dense begins with the bias. A v_t with few elements is
 * summed in one accumulator per vector lane. Terms are then added to the bias in ascending order,
 * each rounded to fp32, so going on from where a call stopped gives the same bytes as not stopping.
 * With k elements of a v_t (or stored weights of a dense row) and N terms (0)
 *
 *     |z - z64| <= 2 (k + N + 4) u (|b| + sum of |terms|),   u = 2^-24.
 *
 * Sigmoid is within 2 units in the last place and tanh within 3; so with c64 and h64 computed
 * without rounding from the fp32 z
 *
 *     |c' - c64| <= 14 u (|f c| + |i g|),   |h' - h64| <= |c' - c64| + 12 u |h64|.
 *
 * Results depend neither on the number of threads, nor, but for other plans, on how many vectors
 * are computed together.
 */
#ifndef DNS_LSTM_H
#define DNS_LSTM_H

#include <stdint.h>

#include "dns/plan.h"

enum { DNS_GATES = 4 };

/* output_tanh false: h' = sigmoid(z_o) c', the cell of the ARC 2018 paper. */
typedef struct dns_lstm {
    size_t inputs, hidden; /* D >= 0, H >= 1 */
    bool output_tanh;
} dns_lstm;

/* Rank-one terms of the four gates. columns NULL: nz = D + H, every v is whole. */
typedef struct dns_lstm_terms {
    size_t terms, nz;       /* N, elements kept of each v */
    const float *s;         /* [4][N] */
    const float *u;         /* [4][N][H] */
    const float *v;         /* [4][N][nz] */
    const int32_t *columns; /* [4][N][nz], ascending within a term */
} dns_lstm_terms;

/* A cell with all weights: w [4H][ldw >= D + H], bias [4H] or NULL. Fails as dns_plan_new does. */
DNS_NODISCARD dns_status dns_lstm_dense_create(const dns_lstm *shape, const float *w, ptrdiff_t ldw,
                                               const float *bias, dns_isa isa,
                                               const dns_alloc *alloc, dns_plan **out,
                                               dns_error *err);

/* A cell of rank-one terms. Fails as dns_plan_new does; with DNS_ERR_FORMAT naming the term when
 * its columns do not ascend strictly within [0, D + H); with DNS_ERR_VALUE when there are columns
 * and D + H exceeds 65536. */
DNS_NODISCARD dns_status dns_lstm_terms_create(const dns_lstm *shape, const dns_lstm_terms *terms,
                                               const float *bias, dns_isa isa,
                                               const dns_alloc *alloc, dns_plan **out,
                                               dns_error *err);

/* A cell whose matrix is another plan of 4H rows and D + H columns, bias included, which must
 * outlive it. Fails with DNS_ERR_SHAPE or as dns_plan_new. */
DNS_NODISCARD dns_status dns_lstm_wrap_create(const dns_lstm *shape, const dns_plan *gates,
                                              const dns_alloc *alloc, dns_plan **out,
                                              dns_error *err);

/* The cell of a plan; NULL when none of the functions above made it. */
const dns_lstm *dns_lstm_of(const dns_plan *plan);

/* Terms of a cell's plan and elements of each v; 0 where it has none. */
size_t dns_lstm_n_terms(const dns_plan *plan, size_t *nz);

/* The terms that a plan was made from: arrays as in dns_lstm_terms, columns may be NULL. */
void dns_lstm_unpack(const dns_plan *plan, float *s, float *u, float *v, int32_t *columns);

/* n vectors in rows; leading dimensions in elements. h_out and c_out may be h and c. */
typedef struct dns_lstm_call {
    size_t n;
    const float *x, *h, *c; /* [n][D], [n][H], [n][H] */
    ptrdiff_t ldx, ldh, ldc;
    float *h_out, *c_out; /* [n][H] */
    ptrdiff_t ldh_out, ldc_out;
    size_t stop; /* terms to add; ignored where there are none */
    void *ws;
    dns_threads *threads;
} dns_lstm_call;

/* Bytes of workspace, to be aligned to DNS_ALIGN, of a step or of gates. Fails with
 * DNS_ERR_OVERFLOW. */
DNS_NODISCARD dns_status dns_lstm_workspace(const dns_plan *plan, size_t n, size_t threads,
                                            size_t *bytes, dns_error *err);

/* One step; call->stop <= number of terms. */
void dns_lstm_step(const dns_plan *plan, const dns_lstm_call *call);

/* z [n][ldz >= 4H] of call's x and h: with first = 0 the bias and the terms [0, stop), otherwise
 * the terms [first, stop) added to what z holds; first <= stop <= number of terms. */
void dns_lstm_gates(const dns_plan *plan, const dns_lstm_call *call, size_t first, float *z,
                    ptrdiff_t ldz);

/* The states of call from z [n][ldz]; x, h, stop and ws are not read. */
void dns_lstm_cell(const dns_plan *plan, const dns_lstm_call *call, const float *z, ptrdiff_t ldz);

/* Work of a step with n vectors and the first `stop` terms; the products alone. */
dns_work dns_lstm_work(const dns_plan *plan, size_t n, size_t stop, const dns_machine *machine);

#endif
