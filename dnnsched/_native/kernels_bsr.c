/* BSR plans: creation and the way back. */
#include "kernels_parts.h"

#include "dns/bsr.h"

/* Fills *w from (indptr, indices, values [n_blocks][r][c], rows, cols); 0, or -1 with an exception
 * set. */
static int
matrix_of(PyObject *const *args, dns_bsr *w)
{
    PyArrayObject *indptr = dnspy_want(args[0], "indptr", NPY_INT64, 1, DNSPY_IN);
    PyArrayObject *indices =
        indptr == NULL ? NULL : dnspy_want(args[1], "indices", NPY_INT64, 1, DNSPY_IN);
    PyArrayObject *values =
        indices == NULL ? NULL : dnspy_want(args[2], "values", NPY_FLOAT32, 3, DNSPY_IN);
    if (values == NULL) {
        return -1;
    }
    w->rows = PyLong_AsSize_t(args[3]);
    w->cols = PyLong_AsSize_t(args[4]);
    if (PyErr_Occurred()) {
        return -1;
    }
    if (PyArray_DIM(values, 0) != PyArray_SIZE(indices)) {
        PyErr_Format(PyExc_ValueError, "values: expected extent %zd along axis 0, got %zd",
                     (Py_ssize_t)PyArray_SIZE(indices), (Py_ssize_t)PyArray_DIM(values, 0));
        return -1;
    }
    w->r = (size_t)PyArray_DIM(values, 1);
    w->c = (size_t)PyArray_DIM(values, 2);
    const size_t block_rows = w->r == 0 ? 0 : w->rows / w->r + (w->rows % w->r != 0);
    if (w->r != 0 && (size_t)PyArray_SIZE(indptr) != block_rows + 1) {
        PyErr_Format(PyExc_ValueError, "indptr: expected %zu row pointers, got %zd", block_rows + 1,
                     (Py_ssize_t)PyArray_SIZE(indptr));
        return -1;
    }
    w->n_blocks = (size_t)PyArray_SIZE(indices);
    w->indptr = PyArray_DATA(indptr);
    w->indices = PyArray_DATA(indices);
    w->values = PyArray_DATA(values);
    return 0;
}

PyDoc_STRVAR(bsr_plan_doc,
             "bsr_plan(indptr, indices, values, rows, cols, bias, lo, hi, isa, /)\n--\n\n"
             "A plan of int64 (ceil(M / r) + 1,), int64 (n,), float32 (n, r, c); bias float32 (M,) "
             "or None.");

static PyObject *
bsr_plan(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    dns_bsr w;
    const float *bias = NULL;
    dns_act act;
    dns_isa isa;
    if (dnspy_nargs("bsr_plan", nargs, 9, 9) < 0 || matrix_of(args, &w) < 0 ||
        kernels_bias(args[5], (npy_intp)w.rows, &bias) < 0 ||
        kernels_act(args[6], args[7], &act) < 0 || kernels_level(module, args[8], &isa) < 0) {
        return NULL;
    }
    dns_plan *plan = NULL;
    dns_error err;
    dns_status status;
    KERNELS_BEGIN_LONG(w.n_blocks * w.r * w.c);
    status = dns_bsr_plan_create(&w, bias, act, isa, NULL, &plan, &err);
    KERNELS_END_LONG
    return kernels_check(module, status, &err) < 0 ? NULL : kernels_plan_capsule(module, plan);
}

PyDoc_STRVAR(bsr_blocks_doc, "bsr_blocks(plan, /)\n--\n\n"
                             "(r, c, stored blocks) of a BSR plan.");

static PyObject *
bsr_blocks(PyObject *module, PyObject *arg)
{
    const dns_plan *plan = kernels_plan(arg);
    size_t r = 0;
    size_t c = 0;
    size_t n = 0;
    dns_error err;
    if (plan == NULL ||
        kernels_check(module, dns_bsr_plan_blocks(plan, &r, &c, &n, &err), &err) < 0) {
        return NULL;
    }
    return Py_BuildValue("nnn", (Py_ssize_t)r, (Py_ssize_t)c, (Py_ssize_t)n);
}

PyDoc_STRVAR(bsr_unpack_doc,
             "bsr_unpack(plan, indptr, indices, values, /)\n--\n\n"
             "Write the weights of a BSR plan: int64 (ceil(M / r) + 1,), int64 (n,), float32 (n, "
             "r, c).");

static PyObject *
bsr_unpack(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    const dns_plan *plan =
        dnspy_nargs("bsr_unpack", nargs, 4, 4) < 0 ? NULL : kernels_plan(args[0]);
    size_t r = 0;
    size_t c = 0;
    size_t n = 0;
    dns_error err;
    if (plan == NULL ||
        kernels_check(module, dns_bsr_plan_blocks(plan, &r, &c, &n, &err), &err) < 0) {
        return NULL;
    }
    const npy_intp pointers = (npy_intp)(plan->rows / r + (plan->rows % r != 0) + 1);
    const npy_intp dims[3] = {(npy_intp)n, (npy_intp)r, (npy_intp)c};
    PyArrayObject *indptr = dnspy_want_shape(args[1], "indptr", NPY_INT64, 1, &pointers, DNSPY_OUT);
    PyArrayObject *indices =
        indptr == NULL ? NULL : dnspy_want_shape(args[2], "indices", NPY_INT64, 1, dims, DNSPY_OUT);
    PyArrayObject *values =
        indices == NULL ? NULL
                        : dnspy_want_shape(args[3], "values", NPY_FLOAT32, 3, dims, DNSPY_OUT);
    if (values == NULL ||
        kernels_check(module,
                      dns_bsr_plan_unpack(plan, PyArray_DATA(indptr), PyArray_DATA(indices),
                                          PyArray_DATA(values), &err),
                      &err) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyMethodDef kernels_bsr_methods[] = {
    DNSPY_FAST(bsr_plan),
    {"bsr_blocks", bsr_blocks, METH_O, bsr_blocks_doc},
    DNSPY_FAST(bsr_unpack),
    {NULL, NULL, 0, NULL},
};
