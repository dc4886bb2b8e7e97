/* Binding of csrc/base/arta.c: streams with tabulated marginals. */
#include "base_parts.h"

#include "dns/arta.h"

#define STATE(m) ((dnspy_state *)PyModule_GetState(m))

/* Two equally long float64 arrays as a checked table; 0, or -1 with an exception. */
static int
want_quantiles(PyObject *module, PyObject *p, PyObject *x, dns_quantiles *q)
{
    PyArrayObject *probability = dnspy_want(p, "probability", NPY_DOUBLE, 1, DNSPY_IN);
    PyArrayObject *value =
        probability == NULL
            ? NULL
            : dnspy_want_shape(x, "quantile", NPY_DOUBLE, 1, PyArray_DIMS(probability), DNSPY_IN);
    if (value == NULL) {
        return -1;
    }
    *q = (dns_quantiles){.n = (size_t)PyArray_DIM(value, 0),
                         .p = PyArray_DATA(probability),
                         .x = PyArray_DATA(value)};
    dns_error err = {0};
    const dns_status status = dns_quantiles_check(q, &err);
    return status == DNS_OK ? 0 : (dnspy_raise(STATE(module), status, &err), -1);
}

/* A number in [low, high]; 0, or -1 with an exception. */
static int
want_between(PyObject *obj, const char *name, double low, double high, double *out)
{
    *out = PyFloat_AsDouble(obj);
    if (*out == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (!(*out >= low && *out <= high)) {
        PyErr_Format(PyExc_ValueError, "%s: expected a value in [%d, %d], got %S", name, (int)low,
                     (int)high, obj);
        return -1;
    }
    return 0;
}

PyDoc_STRVAR(
    draw_arta_doc,
    "draw_arta(bits, probability, quantile, share, keep, level, clock, n, /)\n--\n\n"
    "(float64[n] arrival times, level, clock): gaps with a tabulated quantile function and a\n"
    "slow common swing, which has `share` of the latent variance and lag-1 correlation `keep`;\n"
    "level None starts it in its stationary regime.");

static PyObject *
draw_arta(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    npy_intp n = 0;
    dns_arta a = {.level = 0.0};
    dns_words w;
    PyObject *capsule = NULL;
    if (dnspy_nargs("draw_arta", nargs, 8, 8) < 0 || base_want_count(args[7], &n) < 0 ||
        want_quantiles(module, args[1], args[2], &a.gap) < 0 ||
        want_between(args[3], "share", 0.0, 1.0, &a.share) < 0 ||
        want_between(args[4], "keep", 0.0, 1.0, &a.keep) < 0) {
        return NULL;
    }
    if (a.gap.x[0] < 0.0) {
        return PyErr_Format(PyExc_ValueError, "quantile: expected gaps >= 0, got %R", args[2]);
    }
    double clock = PyFloat_AsDouble(args[6]);
    a.level = args[5] == Py_None ? 0.0 : PyFloat_AsDouble(args[5]);
    if (PyErr_Occurred() || base_want_words(args[0], "bits", &capsule, &w) < 0) {
        return NULL;
    }
    PyObject *out = PyArray_SimpleNew(1, &n, NPY_DOUBLE);
    if (out != NULL) {
        double *time = PyArray_DATA((PyArrayObject *)out);
        Py_BEGIN_ALLOW_THREADS;
        if (args[5] == Py_None) {
            a.level = dns_draw_normal(&w);
        }
        dns_arrivals_arta(&w, &a, (size_t)n, &clock, time);
        Py_END_ALLOW_THREADS;
    }
    Py_DECREF(capsule);
    return out == NULL ? NULL : Py_BuildValue("Ndd", out, a.level, clock);
}

PyDoc_STRVAR(
    draw_pairs_doc,
    "draw_pairs(bits, probability, quantile_a, quantile_b, rho, n, /)\n--\n\n"
    "(float64[n], float64[n]): pairs with tabulated quantile functions whose latent normals\n"
    "have correlation rho.");

static PyObject *
draw_pairs(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    npy_intp n = 0;
    double rho = 0.0;
    dns_quantiles a;
    dns_quantiles b;
    dns_words w;
    PyObject *capsule = NULL;
    if (dnspy_nargs("draw_pairs", nargs, 6, 6) < 0 || base_want_count(args[5], &n) < 0 ||
        want_quantiles(module, args[1], args[2], &a) < 0 ||
        want_quantiles(module, args[1], args[3], &b) < 0 ||
        want_between(args[4], "rho", -1.0, 1.0, &rho) < 0 ||
        base_want_words(args[0], "bits", &capsule, &w) < 0) {
        return NULL;
    }
    PyObject *first = PyArray_SimpleNew(1, &n, NPY_DOUBLE);
    PyObject *second = first == NULL ? NULL : PyArray_SimpleNew(1, &n, NPY_DOUBLE);
    if (second != NULL) {
        double *x = PyArray_DATA((PyArrayObject *)first);
        double *y = PyArray_DATA((PyArrayObject *)second);
        Py_BEGIN_ALLOW_THREADS;
        dns_draw_pairs(&w, &a, &b, rho, (size_t)n, x, y);
        Py_END_ALLOW_THREADS;
    }
    Py_DECREF(capsule);
    if (second == NULL) {
        Py_XDECREF(first);
        return NULL;
    }
    return Py_BuildValue("NN", first, second);
}

PyMethodDef base_arta_methods[] = {
    DNSPY_FAST(draw_arta),
    DNSPY_FAST(draw_pairs),
    {NULL, NULL, 0, NULL},
};
