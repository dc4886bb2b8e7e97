/* Patterns of entries, and sampled products. */
#include "kernels_parts.h"

#define CAPSULE "dnnsched.pattern"

static void
capsule_free(PyObject *capsule)
{
    dns_pattern_destroy(PyCapsule_GetPointer(capsule, CAPSULE));
}

const dns_pattern *
kernels_pattern(PyObject *capsule)
{
    if (!PyCapsule_IsValid(capsule, CAPSULE)) {
        PyErr_Format(PyExc_TypeError, "pattern: expected a pattern, got %.100s",
                     Py_TYPE(capsule)->tp_name);
        return NULL;
    }
    return PyCapsule_GetPointer(capsule, CAPSULE);
}

PyDoc_STRVAR(pattern_new_doc,
             "pattern_new(indptr, indices, heads, cols, /)\n--\n\n"
             "A pattern of int64 (heads * rows + 1,) and int64 (nnz,), checked and copied.");

static PyObject *
pattern_new(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (dnspy_nargs("pattern_new", nargs, 4, 4) < 0) {
        return NULL;
    }
    PyArrayObject *indptr = dnspy_want(args[0], "indptr", NPY_INT64, 1, DNSPY_IN);
    PyArrayObject *indices =
        indptr == NULL ? NULL : dnspy_want(args[1], "indices", NPY_INT64, 1, DNSPY_IN);
    if (indices == NULL) {
        return NULL;
    }
    const size_t heads = PyLong_AsSize_t(args[2]);
    const size_t cols = PyErr_Occurred() ? 0 : PyLong_AsSize_t(args[3]);
    if (PyErr_Occurred()) {
        return NULL;
    }
    const size_t all = (size_t)PyArray_SIZE(indptr);
    if (all == 0 || heads == 0 || (all - 1) % heads != 0) {
        PyErr_Format(PyExc_ValueError,
                     "indptr: expected heads * rows + 1 row pointers, got %zu for %zu heads", all,
                     heads);
        return NULL;
    }
    dns_pattern *pattern = NULL;
    dns_error err;
    dns_status status;
    KERNELS_BEGIN_LONG(PyArray_NBYTES(indices));
    status = dns_pattern_create(heads, (all - 1) / heads, cols, PyArray_DATA(indptr),
                                PyArray_DATA(indices), (size_t)PyArray_SIZE(indices), NULL,
                                &pattern, &err);
    KERNELS_END_LONG
    if (kernels_check(module, status, &err) < 0) {
        return NULL;
    }
    PyObject *capsule = PyCapsule_New(pattern, CAPSULE, capsule_free);
    if (capsule == NULL) {
        dns_pattern_destroy(pattern);
    }
    return capsule;
}

PyDoc_STRVAR(pattern_info_doc, "pattern_info(pattern, /)\n--\n\n"
                               "(heads, rows, columns, entries, bytes held).");

static PyObject *
pattern_info(PyObject *Py_UNUSED(module), PyObject *arg)
{
    const dns_pattern *p = kernels_pattern(arg);
    return p == NULL ? NULL
                     : Py_BuildValue("nnnnn", (Py_ssize_t)p->heads, (Py_ssize_t)p->rows,
                                     (Py_ssize_t)p->cols, (Py_ssize_t)p->nnz, (Py_ssize_t)p->bytes);
}

PyDoc_STRVAR(pattern_unpack_doc, "pattern_unpack(pattern, indptr, indices, /)\n--\n\n"
                                 "Write the structure: int64 (heads * rows + 1,), int64 (nnz,).");

static PyObject *
pattern_unpack(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    const dns_pattern *p =
        dnspy_nargs("pattern_unpack", nargs, 3, 3) < 0 ? NULL : kernels_pattern(args[0]);
    if (p == NULL) {
        return NULL;
    }
    const npy_intp rows = (npy_intp)(p->heads * p->rows) + 1;
    const npy_intp nnz = (npy_intp)p->nnz;
    PyArrayObject *indptr = dnspy_want_shape(args[1], "indptr", NPY_INT64, 1, &rows, DNSPY_OUT);
    PyArrayObject *indices =
        indptr == NULL ? NULL : dnspy_want_shape(args[2], "indices", NPY_INT64, 1, &nnz, DNSPY_OUT);
    if (indices == NULL) {
        return NULL;
    }
    dns_pattern_unpack(p, PyArray_DATA(indptr), PyArray_DATA(indices));
    Py_RETURN_NONE;
}

PyDoc_STRVAR(
    sddmm_doc,
    "sddmm(q, k, pattern, scale, out, threads, isa, /)\n--\n\n"
    "Products of rows of float32 q (B, Lq, d) and k (B, Lk, d) into out (B / heads, nnz).");

static PyObject *
sddmm(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (dnspy_nargs("sddmm", nargs, 7, 7) < 0) {
        return NULL;
    }
    PyArrayObject *q = dnspy_want(args[0], "q", NPY_FLOAT32, 3, DNSPY_IN);
    const dns_pattern *p = q == NULL ? NULL : kernels_pattern(args[2]);
    if (p == NULL) {
        return NULL;
    }
    const npy_intp *dims = PyArray_DIMS(q);
    const npy_intp k_dims[3] = {dims[0], (npy_intp)p->cols, dims[2]};
    PyArrayObject *k = dnspy_want_shape(args[1], "k", NPY_FLOAT32, 3, k_dims, DNSPY_IN);
    if (k == NULL) {
        return NULL;
    }
    if (dims[1] != (npy_intp)p->rows) {
        PyErr_Format(PyExc_ValueError, "q: expected %zu rows as the pattern has, got %zd", p->rows,
                     (Py_ssize_t)dims[1]);
        return NULL;
    }
    dns_sddmm c = {.batch = (size_t)dims[0],
                   .depth = (size_t)dims[2],
                   .q = PyArray_DATA(q),
                   .ldq = dims[2],
                   .q_step = dims[1] * dims[2],
                   .k = PyArray_DATA(k),
                   .ldk = dims[2],
                   .k_step = k_dims[1] * dims[2],
                   .scale = (float)PyFloat_AsDouble(args[3])};
    dns_threads *threads;
    dns_isa isa;
    if (PyErr_Occurred() || kernels_threads(module, args[5], &threads) < 0 ||
        kernels_level(module, args[6], &isa) < 0) {
        return NULL;
    }
    size_t bytes = 0;
    size_t got = 0;
    dns_error err;
    if (kernels_check(module,
                      dns_sddmm_workspace(p, &c, isa, dns_threads_count(threads), &bytes, &err),
                      &err) < 0) {
        return NULL;
    }
    const npy_intp out_dims[2] = {dims[0] / (npy_intp)p->heads, (npy_intp)p->nnz};
    PyArrayObject *out = dnspy_want_shape(args[4], "out", NPY_FLOAT32, 2, out_dims, DNSPY_OUT);
    if (out == NULL || dnspy_no_overlap(out, "out", q, "q") < 0 ||
        dnspy_no_overlap(out, "out", k, "k") < 0) {
        return NULL;
    }
    c.values = PyArray_DATA(out);
    kernels_state *st = PyModule_GetState(module);
    void *ws = kernels_ws_take(st, bytes, &got);
    if (ws == NULL) {
        return NULL;
    }
    KERNELS_BEGIN_LONG(c.batch / p->heads * p->nnz * c.depth);
    dns_sddmm_execute(p, &c, isa, threads, ws);
    KERNELS_END_LONG
    kernels_ws_give(st, ws, got);
    Py_RETURN_NONE;
}

PyMethodDef kernels_sddmm_methods[] = {
    DNSPY_FAST(pattern_new),    {"pattern_info", pattern_info, METH_O, pattern_info_doc},
    DNSPY_FAST(pattern_unpack), DNSPY_FAST(sddmm),
    {NULL, NULL, 0, NULL},
};
