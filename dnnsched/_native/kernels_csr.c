/* CSR plans: creation and the way back. */
#include "kernels_parts.h"

#include "dns/csr.h"

PyDoc_STRVAR(csr_plan_doc,
             "csr_plan(indptr, indices, values, cols, bias, lo, hi, isa, /)\n--\n\n"
             "A plan of int64 (M + 1,), int64 (nnz,), float32 (nnz,); bias float32 (M,) or None.");

static PyObject *
csr_plan(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (dnspy_nargs("csr_plan", nargs, 8, 8) < 0) {
        return NULL;
    }
    PyArrayObject *indptr = dnspy_want(args[0], "indptr", NPY_INT64, 1, DNSPY_IN);
    PyArrayObject *indices =
        indptr == NULL ? NULL : dnspy_want(args[1], "indices", NPY_INT64, 1, DNSPY_IN);
    if (indices == NULL) {
        return NULL;
    }
    PyArrayObject *values =
        dnspy_want_shape(args[2], "values", NPY_FLOAT32, 1, PyArray_DIMS(indices), DNSPY_IN);
    if (values == NULL) {
        return NULL;
    }
    if (PyArray_SIZE(indptr) == 0) {
        PyErr_SetString(PyExc_ValueError, "indptr: expected M + 1 row pointers, got none");
        return NULL;
    }
    dns_csr w = {.rows = (size_t)PyArray_SIZE(indptr) - 1,
                 .cols = PyLong_AsSize_t(args[3]),
                 .nnz = (size_t)PyArray_SIZE(indices),
                 .indptr = PyArray_DATA(indptr),
                 .indices = PyArray_DATA(indices),
                 .values = PyArray_DATA(values)};
    const float *bias = NULL;
    dns_act act;
    dns_isa isa;
    if (PyErr_Occurred() || kernels_bias(args[4], PyArray_SIZE(indptr) - 1, &bias) < 0 ||
        kernels_act(args[5], args[6], &act) < 0 || kernels_level(module, args[7], &isa) < 0) {
        return NULL;
    }
    dns_plan *plan = NULL;
    dns_error err;
    dns_status status;
    KERNELS_BEGIN_LONG(w.nnz);
    status = dns_csr_plan_create(&w, bias, act, isa, NULL, &plan, &err);
    KERNELS_END_LONG
    return kernels_check(module, status, &err) < 0 ? NULL : kernels_plan_capsule(module, plan);
}

PyDoc_STRVAR(csr_unpack_doc, "csr_unpack(plan, indptr, indices, values, /)\n--\n\n"
                             "Write the weights of a CSR plan: int64 (M + 1,), int64 (nnz,), "
                             "float32 (nnz,).");

static PyObject *
csr_unpack(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    const dns_plan *plan =
        dnspy_nargs("csr_unpack", nargs, 4, 4) < 0 ? NULL : kernels_plan(args[0]);
    if (plan == NULL) {
        return NULL;
    }
    const npy_intp rows = (npy_intp)plan->rows + 1;
    const npy_intp nnz = (npy_intp)plan->nnz;
    PyArrayObject *indptr = dnspy_want_shape(args[1], "indptr", NPY_INT64, 1, &rows, DNSPY_OUT);
    PyArrayObject *indices = dnspy_want_shape(args[2], "indices", NPY_INT64, 1, &nnz, DNSPY_OUT);
    PyArrayObject *values = dnspy_want_shape(args[3], "values", NPY_FLOAT32, 1, &nnz, DNSPY_OUT);
    if (indptr == NULL || indices == NULL || values == NULL) {
        return NULL;
    }
    dns_error err;
    if (kernels_check(module,
                      dns_csr_plan_unpack(plan, PyArray_DATA(indptr), PyArray_DATA(indices),
                                          PyArray_DATA(values), &err),
                      &err) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyMethodDef kernels_csr_methods[] = {
    DNSPY_FAST(csr_plan),
    DNSPY_FAST(csr_unpack),
    {NULL, NULL, 0, NULL},
};
