/* Quantisers and plans of 8-bit integers. */
#include "kernels_parts.h"

#include "dns/igemm.h"
#include "dns/quant.h"

PyDoc_STRVAR(
    quantize_doc,
    "quantize(x, group, bits, symmetric, q, scale, zero, isa, /)\n--\n\n"
    "Codes of float32 rows (R, C) into int8 or uint8 (R, C); scale float32 and zero int32, "
    "both (R, ceil(C / group)).");

static PyObject *
quantize(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (dnspy_nargs("quantize", nargs, 8, 8) < 0) {
        return NULL;
    }
    PyArrayObject *x = dnspy_want(args[0], "x", NPY_FLOAT32, 2, DNSPY_ROWS);
    const ptrdiff_t ld = x == NULL ? -1 : kernels_ld(x, "x");
    const Py_ssize_t group = ld < 0 ? -1 : PyLong_AsSsize_t(args[1]);
    const long bits = ld < 0 ? -1 : PyLong_AsLong(args[2]);
    const int symmetric = PyObject_IsTrue(args[3]);
    if (PyErr_Occurred() || symmetric < 0) {
        return NULL;
    }
    if (group < 1 || bits < DNS_QUANT_MIN_BITS || bits > DNS_QUANT_MAX_BITS) {
        PyErr_Format(PyExc_ValueError,
                     "group, bits: expected group >= 1 and %d to %d bits, got %zd and %ld",
                     DNS_QUANT_MIN_BITS, DNS_QUANT_MAX_BITS, group, bits);
        return NULL;
    }
    const npy_intp columns = PyArray_DIM(x, 1);
    const npy_intp groups[2] = {PyArray_DIM(x, 0), columns / group + (columns % group != 0)};
    PyArrayObject *q = dnspy_want_shape(args[4], "q", symmetric ? NPY_INT8 : NPY_UINT8, 2,
                                        PyArray_DIMS(x), DNSPY_OUT);
    PyArrayObject *scale = dnspy_want_shape(args[5], "scale", NPY_FLOAT32, 2, groups, DNSPY_OUT);
    PyArrayObject *zero = dnspy_want_shape(args[6], "zero", NPY_INT32, 2, groups, DNSPY_OUT);
    dns_isa isa;
    if (q == NULL || scale == NULL || zero == NULL || kernels_level(module, args[7], &isa) < 0 ||
        dnspy_no_overlap(q, "q", x, "x") < 0) {
        return NULL;
    }
    const dns_quant_in in = {.x = PyArray_DATA(x),
                             .ldx = ld,
                             .rows = (size_t)PyArray_DIM(x, 0),
                             .cols = (size_t)columns,
                             .group = (size_t)group,
                             .bits = (int)bits,
                             .symmetric = symmetric != 0};
    dns_error err;
    dns_status status;
    KERNELS_BEGIN_LONG(4 * PyArray_SIZE(x));
    status = dns_quantize(&in, isa, PyArray_DATA(q), PyArray_DATA(scale), PyArray_DATA(zero), &err);
    KERNELS_END_LONG
    if (kernels_check(module, status, &err) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(int8_plan_doc,
             "int8_plan(w, scale, zero, bias, lo, hi, isa, /)\n--\n\n"
             "A plan of int8 (M, K) with a contiguous last axis, float32 (M,), int32 (M,); bias "
             "float32 (M,) or None.");

static PyObject *
int8_plan(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (dnspy_nargs("int8_plan", nargs, 7, 7) < 0) {
        return NULL;
    }
    PyArrayObject *w = dnspy_want(args[0], "w", NPY_INT8, 2, DNSPY_ROWS);
    const ptrdiff_t ld = w == NULL ? -1 : kernels_ld(w, "w");
    if (ld < 0) {
        return NULL;
    }
    PyArrayObject *scale =
        dnspy_want_shape(args[1], "scale", NPY_FLOAT32, 1, PyArray_DIMS(w), DNSPY_IN);
    PyArrayObject *zero =
        dnspy_want_shape(args[2], "zero", NPY_INT32, 1, PyArray_DIMS(w), DNSPY_IN);
    const float *bias = NULL;
    dns_act act;
    dns_isa isa;
    if (scale == NULL || zero == NULL || kernels_bias(args[3], PyArray_DIM(w, 0), &bias) < 0 ||
        kernels_act(args[4], args[5], &act) < 0 || kernels_level(module, args[6], &isa) < 0) {
        return NULL;
    }
    const dns_igemm_weights weights = {.rows = (size_t)PyArray_DIM(w, 0),
                                       .cols = (size_t)PyArray_DIM(w, 1),
                                       .w = PyArray_DATA(w),
                                       .ldw = ld,
                                       .scale = PyArray_DATA(scale),
                                       .zero = PyArray_DATA(zero)};
    dns_plan *plan = NULL;
    dns_error err;
    dns_status status;
    KERNELS_BEGIN_LONG(PyArray_SIZE(w));
    status = dns_igemm_plan_create(&weights, bias, act, isa, NULL, &plan, &err);
    KERNELS_END_LONG
    return kernels_check(module, status, &err) < 0 ? NULL : kernels_plan_capsule(module, plan);
}

PyDoc_STRVAR(int8_unpack_doc, "int8_unpack(plan, w, /)\n--\n\n"
                              "Write the integers of an int8 plan, int8 (M, K).");

static PyObject *
int8_unpack(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    const dns_plan *plan =
        dnspy_nargs("int8_unpack", nargs, 2, 2) < 0 ? NULL : kernels_plan(args[0]);
    if (plan == NULL) {
        return NULL;
    }
    const npy_intp dims[2] = {(npy_intp)plan->rows, (npy_intp)plan->cols};
    PyArrayObject *w = dnspy_want_shape(args[1], "w", NPY_INT8, 2, dims, DNSPY_OUT);
    dns_error err;
    if (w == NULL ||
        kernels_check(module, dns_igemm_unpack(plan, PyArray_DATA(w), &err), &err) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(int8_execute_doc,
             "int8_execute(plan, rows, x, out, threads, /)\n--\n\n"
             "out = (W - zero) x, int32. rows false: x is int8 (K, N), out (M, N); true: x is (N, "
             "K), out (N, M). The last axis is contiguous.");

static PyObject *
int8_execute(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (dnspy_nargs("int8_execute", nargs, 5, 5) < 0) {
        return NULL;
    }
    const dns_plan *plan = kernels_plan(args[0]);
    const int rows = PyObject_IsTrue(args[1]);
    if (plan == NULL || rows < 0) {
        return NULL;
    }
    const npy_intp m = (npy_intp)plan->rows;
    const npy_intp k = (npy_intp)plan->cols;
    const npy_intp x_dims[2] = {rows ? -1 : k, rows ? k : -1};
    PyArrayObject *x = dnspy_want_shape(args[2], "x", NPY_INT8, 2, x_dims, DNSPY_ROWS);
    if (x == NULL) {
        return NULL;
    }
    const npy_intp n = PyArray_DIM(x, rows ? 0 : 1);
    const npy_intp y_dims[2] = {rows ? n : m, rows ? m : n};
    PyArrayObject *y =
        dnspy_want_shape(args[3], "out", NPY_INT32, 2, y_dims, DNSPY_ROWS | DNSPY_OUT);
    if (y == NULL || dnspy_no_overlap(y, "out", x, "x") < 0) {
        return NULL;
    }
    dns_igemm_call call = {.n = (size_t)n, .x = PyArray_DATA(x), .y = PyArray_DATA(y)};
    call.ldx = kernels_ld(x, "x");
    call.ldy = call.ldx < 0 ? -1 : kernels_ld(y, "out");
    kernels_state *st = PyModule_GetState(module);
    dns_error err;
    size_t bytes = 0;
    size_t got = 0;
    if (call.ldy < 0 || kernels_threads(module, args[4], &call.threads) < 0 ||
        kernels_check(module, dns_igemm_workspace(plan, call.n, &bytes, &err), &err) < 0) {
        return NULL;
    }
    call.ws = kernels_ws_take(st, bytes, &got);
    if (call.ws == NULL) {
        return NULL;
    }
    KERNELS_BEGIN_LONG(plan->nnz * call.n + plan->rows * call.n);
    dns_igemm_execute(plan, rows ? DNS_ROWS : DNS_COLUMNS, &call);
    KERNELS_END_LONG
    kernels_ws_give(st, call.ws, got);
    Py_RETURN_NONE;
}

PyMethodDef kernels_int8_methods[] = {
    DNSPY_FAST(quantize),     DNSPY_FAST(int8_plan), DNSPY_FAST(int8_unpack),
    DNSPY_FAST(int8_execute), {NULL, NULL, 0, NULL},
};
