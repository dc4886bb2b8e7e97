/* dnnsched._native._policy: remaining-time estimates and sparsity predictors. */
#include "dnspy.h"

#include "dns/predict.h"

#define STATE(m) ((dnspy_state *)PyModule_GetState(m))

static PyArrayObject *
new_like(PyArrayObject *a)
{
    return (PyArrayObject *)PyArray_SimpleNew(PyArray_NDIM(a), PyArray_DIMS(a), NPY_DOUBLE);
}

PyDoc_STRVAR(column_means_doc,
             "column_means(x, /)\n--\n\n"
             "float64[columns]: mean of every column of x (float64[rows, columns], rows >= 1),\n"
             "rows added in order, then one division.");

static PyObject *
column_means(PyObject *module, PyObject *obj)
{
    PyArrayObject *x = dnspy_want(obj, "x", NPY_DOUBLE, 2, DNSPY_IN);
    if (x == NULL) {
        return NULL;
    }
    PyArrayObject *out = (PyArrayObject *)PyArray_SimpleNew(1, PyArray_DIMS(x) + 1, NPY_DOUBLE);
    if (out == NULL) {
        return NULL;
    }
    dns_error err = {0};
    dns_status status = dns_column_means(PyArray_DATA(x), (size_t)PyArray_DIM(x, 0),
                                         (size_t)PyArray_DIM(x, 1), PyArray_DATA(out), &err);
    if (status != DNS_OK) {
        Py_DECREF(out);
        return dnspy_raise(STATE(module), status, &err);
    }
    return (PyObject *)out;
}

PyDoc_STRVAR(suffix_sums_doc,
             "suffix_sums(x, /)\n--\n\n"
             "float64[rows, columns]: out[s, k] = x[s, k] + x[s, k+1] + ..., each suffix summed\n"
             "from left to right on its own.");

static PyObject *
suffix_sums(PyObject *module, PyObject *obj)
{
    (void)module;
    PyArrayObject *x = dnspy_want(obj, "x", NPY_DOUBLE, 2, DNSPY_IN);
    PyArrayObject *out = x == NULL ? NULL : new_like(x);
    if (out == NULL) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS;
    dns_suffix_sums(PyArray_DATA(x), (size_t)PyArray_DIM(x, 0), (size_t)PyArray_DIM(x, 1),
                    PyArray_DATA(out));
    Py_END_ALLOW_THREADS;
    return (PyObject *)out;
}

PyDoc_STRVAR(
    predict_gamma_doc,
    "predict_gamma(sparsity, avg_sparsity, kind, n_last, literal, artifact, low, high, /)\n--\n\n"
    "(gamma float64[rows, columns], number of clamped values) from sparsity float64[rows, columns] "
    "and\n"
    "avg_sparsity float64[columns]; kind 0 last_one, 1 average_all, 2 last_n.");

static int
read_predictor(PyObject *const *args, dns_predictor *p)
{
    const long kind = PyLong_AsLong(args[0]);
    const long long n_last = PyLong_AsLongLong(args[1]);
    const int literal = PyObject_IsTrue(args[2]);
    const int artifact = PyObject_IsTrue(args[3]);
    p->low = PyFloat_AsDouble(args[4]);
    p->high = PyFloat_AsDouble(args[5]);
    if (PyErr_Occurred()) {
        return -1;
    }
    if (kind < 0 || kind > 2) {
        PyErr_Format(PyExc_ValueError, "kind: expected 0, 1 or 2, got %ld", kind);
        return -1;
    }
    p->kind = (dns_predictor_kind)kind;
    p->n_last = n_last;
    p->literal = literal != 0;
    p->artifact = artifact != 0;
    return 0;
}

static PyObject *
predict_gamma(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (dnspy_nargs("predict_gamma", nargs, 8, 8) < 0) {
        return NULL;
    }
    dns_predictor p = {0};
    PyArrayObject *sparsity = dnspy_want(args[0], "sparsity", NPY_DOUBLE, 2, DNSPY_IN);
    if (sparsity == NULL || read_predictor(args + 2, &p) < 0) {
        return NULL;
    }
    PyArrayObject *average = dnspy_want_shape(args[1], "avg_sparsity", NPY_DOUBLE, 1,
                                              PyArray_DIMS(sparsity) + 1, DNSPY_IN);
    PyArrayObject *gamma = average == NULL ? NULL : new_like(sparsity);
    if (gamma == NULL) {
        return NULL;
    }
    dns_error err = {0};
    dns_status status = DNS_OK;
    int64_t n_clamped = 0;
    Py_BEGIN_ALLOW_THREADS;
    status = dns_predict_gamma(PyArray_DATA(sparsity), PyArray_DATA(average),
                               (size_t)PyArray_DIM(sparsity, 0), (size_t)PyArray_DIM(sparsity, 1),
                               &p, PyArray_DATA(gamma), &n_clamped, &err);
    Py_END_ALLOW_THREADS;
    if (status != DNS_OK) {
        Py_DECREF(gamma);
        return dnspy_raise(STATE(module), status, &err);
    }
    return Py_BuildValue("NL", gamma, (long long)n_clamped);
}

PyDoc_STRVAR(
    prediction_errors_doc,
    "prediction_errors(gamma, remaining, truth, alpha, /)\n--\n\n"
    "(n, rmse_s, rmse_rel, correlation) of alpha*gamma*remaining against truth over all rows and "
    "columns\n"
    "k >= 1; gamma and truth float64[rows, columns], remaining float64[columns] (seconds).");

static PyObject *
prediction_errors(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    if (dnspy_nargs("prediction_errors", nargs, 4, 4) < 0) {
        return NULL;
    }
    PyArrayObject *gamma = dnspy_want(args[0], "gamma", NPY_DOUBLE, 2, DNSPY_IN);
    if (gamma == NULL) {
        return NULL;
    }
    PyArrayObject *remaining =
        dnspy_want_shape(args[1], "remaining", NPY_DOUBLE, 1, PyArray_DIMS(gamma) + 1, DNSPY_IN);
    PyArrayObject *truth = remaining == NULL ? NULL
                                             : dnspy_want_shape(args[2], "truth", NPY_DOUBLE, 2,
                                                                PyArray_DIMS(gamma), DNSPY_IN);
    if (truth == NULL) {
        return NULL;
    }
    const double alpha = PyFloat_AsDouble(args[3]);
    if (PyErr_Occurred()) {
        return NULL;
    }
    dns_prediction_error out;
    Py_BEGIN_ALLOW_THREADS;
    dns_prediction_errors(PyArray_DATA(gamma), PyArray_DATA(remaining), PyArray_DATA(truth),
                          (size_t)PyArray_DIM(gamma, 0), (size_t)PyArray_DIM(gamma, 1), alpha,
                          &out);
    Py_END_ALLOW_THREADS;
    return Py_BuildValue("Lddd", (long long)out.n, out.rmse_s, out.rmse_rel, out.correlation);
}

static PyMethodDef methods[] = {
    {"column_means", column_means, METH_O, column_means_doc},
    {"suffix_sums", suffix_sums, METH_O, suffix_sums_doc},
    DNSPY_FAST(predict_gamma),
    DNSPY_FAST(prediction_errors),
    {NULL, NULL, 0, NULL},
};

DNSPY_MODULE(policy, "Remaining-time estimates and sparsity predictors (csrc/policy).", methods,
             dnspy_exec)
