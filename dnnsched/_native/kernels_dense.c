/* Dense plans. */
#include "kernels_parts.h"

#include "dns/gemm.h"

PyDoc_STRVAR(
    dense_plan_doc,
    "dense_plan(w, bias, lo, hi, isa, /)\n--\n\n"
    "A plan of float32 (M, K) with a contiguous last axis, on the open BLAS or, while none is, "
    "on the project's own product; bias float32 (M,) or None.");

static PyObject *
dense_plan(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (dnspy_nargs("dense_plan", nargs, 5, 5) < 0) {
        return NULL;
    }
    const kernels_state *st = PyModule_GetState(module);
    PyArrayObject *w = dnspy_want(args[0], "w", NPY_FLOAT32, 2, DNSPY_ROWS);
    const ptrdiff_t ld = w == NULL ? -1 : kernels_ld(w, "w");
    const float *bias = NULL;
    dns_act act;
    dns_isa isa;
    if (ld < 0 || kernels_bias(args[1], PyArray_DIM(w, 0), &bias) < 0 ||
        kernels_act(args[2], args[3], &act) < 0 || kernels_level(module, args[4], &isa) < 0) {
        return NULL;
    }
    dns_plan *plan = NULL;
    dns_error err;
    const dns_blas *blas = st->blas_handle != NULL ? &st->blas : NULL;
    const dns_status status =
        dns_dense_plan_create(PyArray_DATA(w), ld, (size_t)PyArray_DIM(w, 0),
                              (size_t)PyArray_DIM(w, 1), bias, act, blas, isa, NULL, &plan, &err);
    return kernels_check(module, status, &err) < 0 ? NULL : kernels_plan_capsule(module, plan);
}

PyMethodDef kernels_dense_methods[] = {
    DNSPY_FAST(dense_plan),
    {NULL, NULL, 0, NULL},
};
