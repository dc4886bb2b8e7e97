/* Binding of csrc/base/stats.c: distribution functions for intervals. */
#include "base_parts.h"

#include "dns/stats.h"

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
    return code == DNS_OK ? PyFloat_FromDouble(out)
                          : dnspy_raise(PyModule_GetState(self), code, &err);
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
    return code == DNS_OK ? PyFloat_FromDouble(out)
                          : dnspy_raise(PyModule_GetState(self), code, &err);
}

PyMethodDef base_stats_methods[] = {
    DNSPY_FAST(betainc),
    DNSPY_FAST(student_t_quantile),
    {NULL, NULL, 0, NULL},
};
