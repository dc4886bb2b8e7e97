/* Butterfly plans: creation and the way back. */
#include "kernels_parts.h"

#include "dns/butterfly.h"

PyDoc_STRVAR(butterfly_plan_doc,
             "butterfly_plan(twiddle, rows, cols, increasing, bias, lo, hi, isa, /)\n--\n\n"
             "A plan of float32 (nstack, nblock, m, n / 2, 2, 2); bias float32 (M,) or None.");

static PyObject *
butterfly_plan(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (dnspy_nargs("butterfly_plan", nargs, 8, 8) < 0) {
        return NULL;
    }
    const npy_intp dims[6] = {-1, -1, -1, -1, 2, 2};
    PyArrayObject *t = dnspy_want_shape(args[0], "twiddle", NPY_FLOAT32, 6, dims, DNSPY_IN);
    const npy_intp rows = t == NULL ? -1 : PyLong_AsSsize_t(args[1]);
    const int increasing = t == NULL ? -1 : PyObject_IsTrue(args[3]);
    const float *bias = NULL;
    dns_act act;
    dns_isa isa;
    if (t == NULL || increasing < 0 || PyErr_Occurred() || kernels_bias(args[4], rows, &bias) < 0 ||
        kernels_act(args[5], args[6], &act) < 0 || kernels_level(module, args[7], &isa) < 0) {
        return NULL;
    }
    const npy_intp levels = PyArray_DIM(t, 2);
    if (levels < 1 || levels > DNS_BUTTERFLY_MAX_LOG2 ||
        PyArray_DIM(t, 3) != (npy_intp)1 << (levels - 1)) {
        PyErr_Format(PyExc_ValueError,
                     "twiddle: expected 1 to %d levels and 2^(levels - 1) pairs, got %zd and %zd",
                     DNS_BUTTERFLY_MAX_LOG2, (Py_ssize_t)levels, (Py_ssize_t)PyArray_DIM(t, 3));
        return NULL;
    }
    const dns_butterfly w = {.twiddle = PyArray_DATA(t),
                             .nstack = (size_t)PyArray_DIM(t, 0),
                             .nblock = (size_t)PyArray_DIM(t, 1),
                             .log2n = (unsigned)levels,
                             .increasing = increasing != 0,
                             .rows = (size_t)rows,
                             .cols = PyLong_AsSize_t(args[2])};
    if (PyErr_Occurred()) {
        return NULL;
    }
    dns_plan *plan = NULL;
    dns_error err;
    dns_status status;
    KERNELS_BEGIN_LONG(PyArray_NBYTES(t));
    status = dns_butterfly_plan_create(&w, bias, act, isa, NULL, &plan, &err);
    KERNELS_END_LONG
    return kernels_check(module, status, &err) < 0 ? NULL : kernels_plan_capsule(module, plan);
}

PyDoc_STRVAR(butterfly_unpack_doc,
             "butterfly_unpack(plan, twiddle, /)\n--\n\n"
             "Write the twiddles of a butterfly plan, float32, as they came.");

static PyObject *
butterfly_unpack(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    const dns_plan *plan =
        dnspy_nargs("butterfly_unpack", nargs, 2, 2) < 0 ? NULL : kernels_plan(args[0]);
    PyArrayObject *out =
        plan == NULL ? NULL : dnspy_want(args[1], "twiddle", NPY_FLOAT32, 6, DNSPY_OUT);
    if (out == NULL) {
        return NULL;
    }
    if ((size_t)PyArray_SIZE(out) != plan->nnz) {
        PyErr_Format(PyExc_ValueError, "twiddle: expected %zu elements, got %zd", plan->nnz,
                     (Py_ssize_t)PyArray_SIZE(out));
        return NULL;
    }
    dns_error err;
    if (kernels_check(module, dns_butterfly_plan_unpack(plan, PyArray_DATA(out), &err), &err) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyMethodDef kernels_butterfly_methods[] = {
    DNSPY_FAST(butterfly_plan),
    DNSPY_FAST(butterfly_unpack),
    {NULL, NULL, 0, NULL},
};
