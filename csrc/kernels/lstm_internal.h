/* Packed weights of LSTM cells; the method is in lstm_isa.c. */
#ifndef DNS_LSTM_INTERNAL_H
#define DNS_LSTM_INTERNAL_H

#include "dns/lstm.h"

enum { LSTM_COLUMNS = 8 }; /* most vectors of one call of a table's function */

/* Sums of the four gates of some units, at most a vector of them:
 *
 *     z[j*ldz + g*gate_out + i] = start + sum over k of w[k][g][i] * in[j*ldin + g*gate_in + k]
 *
 * for i < width, g < 4, j < n; and, unless next is NULL, for as many units behind them. */
typedef struct lstm_panel {
    const float *w;    /* [k][4][width] */
    const float *next; /* those of a second panel: n is 1 and width that of a vector */
    size_t k, width;
    const float *in;
    ptrdiff_t ldin;
    size_t gate_in; /* 0: the gates share their inputs */
    size_t n;
    const float *bias; /* start is bias[g*gate_out + i]; NULL: what z holds */
    float *z;
    ptrdiff_t ldz;
    size_t gate_out;
} lstm_panel;

/* Products of sparse v with n vectors, n at most LSTM_COLUMNS, for some terms of all gates:
 *
 *     a[j*lda + g*gate_out + t] = s[4t + g] * sum over i of v[4t + g][i] * x[j*ldx + columns[..]]
 */
typedef struct lstm_dots {
    const float *s, *v;      /* [terms][4], [terms][4][nz] */
    const uint16_t *columns; /* [terms][4][nz] */
    size_t terms, nz, n;
    const float *x;
    ptrdiff_t ldx;
    float *a;
    ptrdiff_t lda;
    size_t gate_out;
} lstm_dots;

/* The states of some units of n vectors; z has its gates gate_in apart. */
typedef struct lstm_states {
    size_t n, units;
    const float *z, *c;
    ptrdiff_t ldz, ldc;
    size_t gate_in;
    float *h_out, *c_out;
    ptrdiff_t ldh_out, ldc_out;
    bool output_tanh;
} lstm_states;

typedef struct dns_lstm_ops {
    dns_isa isa;
    size_t lanes;
    void (*panel)(const lstm_panel *p);
    void (*dots)(const lstm_dots *d);
    void (*states)(const lstm_states *s);
} dns_lstm_ops;

const dns_lstm_ops *dns_lstm_ops_select(dns_isa isa);

#endif
