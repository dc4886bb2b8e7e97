/* Loops over doubles that lowrank.c needs at every level. */
#ifndef DNS_LOWRANK_INTERNAL_H
#define DNS_LOWRANK_INTERNAL_H

#include <stddef.h>

#include "dns/cpu.h"

typedef struct dns_lowrank_ops {
    dns_isa isa;
    /* y[j] = sum of x[i] * rows[i*n + j] over i < m, for j < n. */
    void (*combine)(const double *rows, size_t m, size_t n, const double *x, double *y);
    double (*dot)(const double *a, const double *b, size_t n);
    /* a[i*n + j] -= x[i]*y[j] + y[i]*x[j] for i, j < n. */
    void (*rank2)(double *a, size_t n, const double *x, const double *y);
} dns_lowrank_ops;

const dns_lowrank_ops *dns_lowrank_ops_select(dns_isa isa);

#endif
