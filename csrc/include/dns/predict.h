/* What a scheduler may know about the time a request still needs.
 *
 * Column k of every result is the value once k layers are done, k = 0 .. n_layers-1.
 * All sums run from left to right in the order stated, one rounding per addition, so
 * that results equal those of a scalar program written in that order, bit for bit.
 * Functions are pure and thread-safe; pointers of one call must not overlap unless said.
 */
#ifndef DNS_PREDICT_H
#define DNS_PREDICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dns/status.h"

typedef enum dns_predictor_kind {
    DNS_PREDICT_LAST_ONE = 0,    /* the layer that ran last */
    DNS_PREDICT_AVERAGE_ALL = 1, /* every layer that has run */
    DNS_PREDICT_LAST_N = 2       /* the last min(n_last, k) layers */
} dns_predictor_kind;

typedef struct dns_predictor {
    dns_predictor_kind kind;
    int64_t n_last; /* >= 1, used by DNS_PREDICT_LAST_N */
    bool literal;   /* ratio of zeros to average zeros instead of the densities' */
    bool artifact;  /* means of per-layer ratios as the public simulator takes them; no clamp */
    double low;     /* clamp, 0 <= low <= 1 <= high; not used with artifact */
    double high;
} dns_predictor;

/* mean[l] = (0 + x[0][l] + x[1][l] + ...) / rows. x is rows*columns, rows >= 1. */
DNS_NODISCARD dns_status dns_column_means(const double *x, size_t rows, size_t columns,
                                          double *mean, dns_error *err);

/* out[s][k] = x[s][k] + x[s][k+1] + ... + x[s][columns-1], every suffix summed on its own. */
void dns_suffix_sums(const double *x, size_t rows, size_t columns, double *out);

/* gamma[s][k] from the sparsity monitored on layers 0 .. k-1 of sample s and the averages
 * (fractions of zeros in [0, 1]); gamma[s][0] = 1. *n_clamped counts the values that the
 * clamp changed. DNS_ERR_VALUE for a bad configuration or a sparsity outside [0, 1]
 * (err->index = element, or -1 - layer for an average). */
DNS_NODISCARD dns_status dns_predict_gamma(const double *sparsity, const double *average,
                                           size_t rows, size_t columns, const dns_predictor *p,
                                           double *gamma, int64_t *n_clamped, dns_error *err);

/* Error of predicted against true remaining seconds over all samples and k = 1 .. columns-1. */
typedef struct dns_prediction_error {
    int64_t n;          /* pairs compared */
    double rmse_s;      /* root mean square of predicted - true; NaN when n = 0 */
    double rmse_rel;    /* the same of (predicted - true) / true */
    double correlation; /* Pearson, of gamma and true / (remaining average); NaN if either is
                           constant */
} dns_prediction_error;

/* predicted[s][k] = alpha * gamma[s][k] * remaining[k]; truth is rows*columns, remaining is
 * columns long, both > 0. */
void dns_prediction_errors(const double *gamma, const double *remaining, const double *truth,
                           size_t rows, size_t columns, double alpha, dns_prediction_error *out);

#endif
