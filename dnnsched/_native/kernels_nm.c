/* N:M plans: creation. */
#include "kernels_parts.h"

#include "dns/nm.h"

PyDoc_STRVAR(nm_plan_doc, "nm_plan(w, n, m, bias, lo, hi, isa, /)\n--\n\n"
                          "A plan of float32 (M, K) with at most n non-zeros in every m columns of "
                          "a row; bias float32 (M,) or None.");

static PyObject *
nm_plan(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (dnspy_nargs("nm_plan", nargs, 7, 7) < 0) {
        return NULL;
    }
    PyArrayObject *w = dnspy_want(args[0], "w", NPY_FLOAT32, 2, DNSPY_ROWS);
    if (w == NULL) {
        return NULL;
    }
    const size_t rows = (size_t)PyArray_DIM(w, 0);
    const size_t cols = (size_t)PyArray_DIM(w, 1);
    const size_t n = PyLong_AsSize_t(args[1]);
    const size_t m = PyErr_Occurred() ? 0 : PyLong_AsSize_t(args[2]);
    const ptrdiff_t ldw = PyErr_Occurred() ? -1 : kernels_ld(w, "w");
    const float *bias = NULL;
    dns_act act;
    dns_isa isa;
    if (ldw < 0 || kernels_bias(args[3], (npy_intp)rows, &bias) < 0 ||
        kernels_act(args[4], args[5], &act) < 0 || kernels_level(module, args[6], &isa) < 0) {
        return NULL;
    }
    dns_plan *plan = NULL;
    dns_error err;
    dns_status status;
    KERNELS_BEGIN_LONG(rows * cols);
    status = dns_nm_plan_create(PyArray_DATA(w), ldw, rows, cols, n, m, bias, act, isa, NULL, &plan,
                                &err);
    KERNELS_END_LONG
    return kernels_check(module, status, &err) < 0 ? NULL : kernels_plan_capsule(module, plan);
}

PyMethodDef kernels_nm_methods[] = {
    DNSPY_FAST(nm_plan),
    {NULL, NULL, 0, NULL},
};
