/* Packed operands of the integer product; the method is in igemm_body.h. */
#ifndef DNS_IGEMM_INTERNAL_H
#define DNS_IGEMM_INTERNAL_H

#include "dns/igemm.h"

enum {
    IGEMM_MAX_PANEL = 64, /* columns of the widest panel */
    IGEMM_MAX_ROWS = 32   /* vectors of the tallest tile */
};

/* Packed vectors: n rows of bytes, `pitch` apart. x[k] = u[k] + v[k] + off, with u the row's first
 * k_pad bytes and, where `wide` is set, v the k_pad bytes behind them. */
typedef struct igemm_x {
    uint8_t *rows;
    size_t pitch, k_pad;
    int32_t *off;  /* [n] */
    int32_t *sum;  /* [n] sums of x */
    uint8_t *wide; /* [n] */
    float *scale;  /* [n], of quantised vectors */
} igemm_x;

/* One panel of weights times some vectors. */
typedef struct igemm_run {
    const int8_t *w; /* [k_pad / 4][panel][4] */
    igemm_x x;
    size_t first, n;       /* vectors [first, n) */
    size_t m;              /* rows of W in the panel, <= panel */
    const int32_t *colsum; /* of the panel's rows, sums of W */
    const int32_t *zero;
    bool plain;        /* no off, no zero: sums are results */
    dns_layout layout; /* of y */
    int32_t *y;        /* first row of the panel, or NULL for */
    float *yf;         /* floats */
    ptrdiff_t ldy;
    const float *scale, *bias; /* of the panel's rows */
    dns_act act;
} igemm_run;

typedef struct dns_igemm_ops {
    dns_isa isa;
    size_t panel;   /* rows of W */
    size_t k_align; /* k_pad is a multiple */
    size_t parts;   /* byte vectors per row of X: u, or u and v */
    double speed;   /* peak of byte operations over that of fp32 */
    /* One panel from m <= panel rows of W; the rest is zero. */
    void (*pack_w)(const int8_t *w, ptrdiff_t ldw, size_t m, size_t k, size_t k_pad, int8_t *to);
    /* Turns the k signed bytes of row n into u, v, off, sum and wide, in place. */
    void (*convert)(const igemm_x *x, size_t n, size_t k);
    void (*run)(const igemm_run *r);
    size_t vectors;      /* that meet all panels before the next ones do */
    void (*begin)(void); /* around a thread's calls of run, or NULL */
    void (*end)(void);
} dns_igemm_ops;

const dns_igemm_ops *dns_igemm_ops_select(dns_isa isa);

#endif
