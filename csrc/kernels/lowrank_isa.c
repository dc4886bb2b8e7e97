/* Loops over doubles, compiled per instruction-set level.
 *
 * The order of every addition is written out and nothing is contracted, so compilers may use
 * vectors of any length and the results are the same bytes at every level.
 */
#include "kernels/lowrank_internal.h"

#include <string.h>

enum { ROWS = 4, LANES = 16 };

static void
combine(const double *rows, size_t m, size_t n, const double *x, double *restrict y)
{
    memset(y, 0, n * sizeof *y);
    size_t i = 0;
    for (; i + ROWS <= m; i += ROWS) {
        const double *r = rows + i * n;
        for (size_t j = 0; j < n; j++) {
            y[j] += (x[i] * r[j] + x[i + 1] * r[n + j]) +
                    (x[i + 2] * r[2 * n + j] + x[i + 3] * r[3 * n + j]);
        }
    }
    for (; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            y[j] += x[i] * rows[i * n + j];
        }
    }
}

static double
dot(const double *a, const double *b, size_t n)
{
    double sums[LANES] = {0.0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (size_t k = 0; k < LANES; k++) {
            sums[k] += a[i + k] * b[i + k];
        }
    }
    for (; i < n; i++) {
        sums[i % LANES] += a[i] * b[i];
    }
    for (size_t half = LANES / 2; half > 0; half /= 2) {
        for (size_t k = 0; k < half; k++) {
            sums[k] += sums[k + half];
        }
    }
    return sums[0];
}

static void
rank2(double *a, size_t n, const double *x, const double *y)
{
    for (size_t i = 0; i < n; i++) {
        double *restrict row = a + i * n;
        for (size_t j = 0; j < n; j++) {
            row[j] -= x[i] * y[j] + y[i] * x[j];
        }
    }
}

extern const dns_lowrank_ops DNS_ISA_FN(dns_lowrank_ops);
const dns_lowrank_ops DNS_ISA_FN(dns_lowrank_ops) = {
    .isa = DNS_ISA_VALUE,
    .combine = combine,
    .dot = dot,
    .rank2 = rank2,
};
