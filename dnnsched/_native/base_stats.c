/* Binding of csrc/base/stats*.c: distribution functions, ranks and counts behind intervals, series.
 */
#include "base_parts.h"

#include "dns/stats.h"

#define STATE(m) ((dnspy_state *)PyModule_GetState(m))

static int
to_doubles(PyObject *const *args, int n, double *out)
{
    for (int i = 0; i < n; i++) {
        out[i] = PyFloat_AsDouble(args[i]);
        if (out[i] == -1.0 && PyErr_Occurred()) {
            return -1;
        }
    }
    return 0;
}

PyDoc_STRVAR(betainc_doc, "betainc(a, b, x, /)\n--\n\nRegularised incomplete beta I_x(a, b).");

static PyObject *
betainc(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    double v[3], out = 0.0;
    dns_error err = {0};
    if (dnspy_nargs("betainc", nargs, 3, 3) < 0 || to_doubles(args, 3, v) < 0) {
        return NULL;
    }
    const dns_status code = dns_betainc(v[0], v[1], v[2], &out, &err);
    return code == DNS_OK ? PyFloat_FromDouble(out) : dnspy_raise(STATE(self), code, &err);
}

PyDoc_STRVAR(
    student_t_quantile_doc,
    "student_t_quantile(p, df, /)\n--\n\nThe t with P(T <= t) = p, df degrees of freedom.");

static PyObject *
student_t_quantile(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    double v[2], out = 0.0;
    dns_error err = {0};
    if (dnspy_nargs("student_t_quantile", nargs, 2, 2) < 0 || to_doubles(args, 2, v) < 0) {
        return NULL;
    }
    const dns_status code = dns_student_t_quantile(v[0], v[1], &out, &err);
    return code == DNS_OK ? PyFloat_FromDouble(out) : dnspy_raise(STATE(self), code, &err);
}

static int
to_count(PyObject *arg, int64_t *out)
{
    const long long value = PyLong_AsLongLong(arg);
    if (value == -1 && PyErr_Occurred()) {
        return -1;
    }
    *out = value;
    return 0;
}

PyDoc_STRVAR(binomial_cdf_doc, "binomial_cdf(k, n, p, /)\n--\n\nP[X <= k] of X ~ Bin(n, p).");

static PyObject *
binomial_cdf(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    int64_t k = 0, n = 0;
    double p = 0.0, out = 0.0;
    dns_error err = {0};
    if (dnspy_nargs("binomial_cdf", nargs, 3, 3) < 0 || to_count(args[0], &k) < 0 ||
        to_count(args[1], &n) < 0 || to_doubles(args + 2, 1, &p) < 0) {
        return NULL;
    }
    const dns_status code = dns_binomial_cdf(k, n, p, &out, &err);
    return code == DNS_OK ? PyFloat_FromDouble(out) : dnspy_raise(STATE(self), code, &err);
}

PyDoc_STRVAR(quantile_ranks_doc,
             "quantile_ranks(n, p, level, /)\n--\n\n"
             "Positions (low, high) in n sorted independent values that enclose the p-quantile.");

static PyObject *
quantile_ranks(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    int64_t n = 0, low = 0, high = 0;
    double v[2];
    dns_error err = {0};
    if (dnspy_nargs("quantile_ranks", nargs, 3, 3) < 0 || to_count(args[0], &n) < 0 ||
        to_doubles(args + 1, 2, v) < 0) {
        return NULL;
    }
    const dns_status code = dns_quantile_ranks(n, v[0], v[1], &low, &high, &err);
    return code == DNS_OK ? Py_BuildValue("(LL)", (long long)low, (long long)high)
                          : dnspy_raise(STATE(self), code, &err);
}

/* Both directions of early stopping: a count, a percentile and a confidence give a count. */
static PyObject *
early_stop(PyObject *self, PyObject *const *args, Py_ssize_t nargs, const char *name,
           dns_status (*call)(int64_t, double, double, int64_t *, dns_error *))
{
    int64_t given = 0, out = 0;
    double v[2];
    dns_error err = {0};
    if (dnspy_nargs(name, nargs, 3, 3) < 0 || to_count(args[0], &given) < 0 ||
        to_doubles(args + 1, 2, v) < 0) {
        return NULL;
    }
    const dns_status code = call(given, v[0], v[1], &out, &err);
    return code == DNS_OK ? PyLong_FromLongLong(out) : dnspy_raise(STATE(self), code, &err);
}

PyDoc_STRVAR(early_stop_min_doc, "early_stop_min(t, p, c, /)\n--\n\n"
                                 "Smallest n with P[Bin(n, 1-p) <= t] <= 1 - c.");

static PyObject *
early_stop_min(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    return early_stop(self, args, nargs, "early_stop_min", dns_early_stop_min);
}

PyDoc_STRVAR(early_stop_allowed_doc,
             "early_stop_allowed(n, p, c, /)\n--\n\n"
             "Largest t with P[Bin(n, 1-p) <= t] <= 1 - c; -1 if there is none.");

static PyObject *
early_stop_allowed(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    return early_stop(self, args, nargs, "early_stop_allowed", dns_early_stop_allowed);
}

/* float64[extra + count] filled by `call` from the series x and the count. */
static PyObject *
from_series(PyObject *self, PyObject *const *args, Py_ssize_t nargs, const char *name, int extra,
            dns_status (*call)(const double *, int64_t, int64_t, double *, dns_error *))
{
    int64_t count = 0;
    if (dnspy_nargs(name, nargs, 2, 2) < 0) {
        return NULL;
    }
    PyArrayObject *x = dnspy_want(args[0], "x", NPY_DOUBLE, 1, DNSPY_IN);
    if (x == NULL || to_count(args[1], &count) < 0) {
        return NULL;
    }
    const npy_intp n = PyArray_SIZE(x);
    /* A count out of range is refused by the call; no memory is asked for it. */
    npy_intp size = (count < 0 || count > n ? 0 : (npy_intp)count) + extra;
    PyObject *out = PyArray_SimpleNew(1, &size, NPY_DOUBLE);
    if (out == NULL) {
        return NULL;
    }
    dns_error err = {0};
    dns_status code = DNS_OK;
    double *values = PyArray_DATA((PyArrayObject *)out);
    Py_BEGIN_ALLOW_THREADS;
    code = call(PyArray_DATA(x), n, count, values, &err);
    Py_END_ALLOW_THREADS;
    if (code != DNS_OK) {
        Py_DECREF(out);
        return dnspy_raise(STATE(self), code, &err);
    }
    return out;
}

PyDoc_STRVAR(
    autocorrelation_doc,
    "autocorrelation(x, lags, /)\n--\n\nfloat64[lags + 1]: r_0 = 1 .. r_lags of a series.");

static PyObject *
autocorrelation(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    return from_series(self, args, nargs, "autocorrelation", 1, dns_autocorrelation);
}

PyDoc_STRVAR(batch_means_doc,
             "batch_means(x, batches, /)\n--\n\n"
             "float64[batches]: means of consecutive batches of len(x) // batches values, the last "
             "ones.");

static PyObject *
batch_means(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    return from_series(self, args, nargs, "batch_means", 0, dns_batch_means);
}

PyMethodDef base_stats_methods[] = {
    DNSPY_FAST(betainc),         DNSPY_FAST(student_t_quantile), DNSPY_FAST(binomial_cdf),
    DNSPY_FAST(quantile_ranks),  DNSPY_FAST(early_stop_min),     DNSPY_FAST(early_stop_allowed),
    DNSPY_FAST(autocorrelation), DNSPY_FAST(batch_means),        {NULL, NULL, 0, NULL},
};
