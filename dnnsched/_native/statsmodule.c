/* Binding of csrc/base/stats.c: distribution functions for intervals. */
#include "dnspy.h"

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
py_betainc(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
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
    quantile_doc,
    "student_t_quantile(p, df, /)\n--\n\nThe t with P(T <= t) = p, df degrees of freedom.");

static PyObject *
py_quantile(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
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

static PyMethodDef methods[] = {
    {"betainc", (PyCFunction)(void (*)(void))py_betainc, METH_FASTCALL, betainc_doc},
    {"student_t_quantile", (PyCFunction)(void (*)(void))py_quantile, METH_FASTCALL, quantile_doc},
    {NULL, NULL, 0, NULL},
};

static int
stats_traverse(PyObject *module, visitproc visit, void *arg)
{
    return dnspy_traverse(PyModule_GetState(module), visit, arg);
}

static int
stats_clear(PyObject *module)
{
    dnspy_clear(PyModule_GetState(module));
    return 0;
}

static void
stats_free(void *module)
{
    (void)stats_clear(module);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, dnspy_exec},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "dnnsched._native._stats",
    .m_doc = "Distribution functions for confidence intervals.",
    .m_size = sizeof(dnspy_state),
    .m_methods = methods,
    .m_slots = slots,
    .m_traverse = stats_traverse,
    .m_clear = stats_clear,
    .m_free = stats_free,
};

PyMODINIT_FUNC
PyInit__stats(void)
{
    return PyModuleDef_Init(&module_def);
}
