/* Attention, dense under masks and sparse by a pattern. */
#include "kernels_parts.h"

#include "dns/attention.h"

/* q, k, v and out into the call; 0, or -1 with an exception set. */
static int
arrays_of(PyObject *const *args, dns_attention *c)
{
    PyArrayObject *q = dnspy_want(args[0], "q", NPY_FLOAT32, 3, DNSPY_IN);
    if (q == NULL) {
        return -1;
    }
    const npy_intp *dims = PyArray_DIMS(q);
    const npy_intp k_dims[3] = {dims[0], -1, dims[2]};
    PyArrayObject *k = dnspy_want_shape(args[1], "k", NPY_FLOAT32, 3, k_dims, DNSPY_IN);
    if (k == NULL) {
        return -1;
    }
    const npy_intp v_dims[3] = {dims[0], PyArray_DIM(k, 1), -1};
    PyArrayObject *v = dnspy_want_shape(args[2], "v", NPY_FLOAT32, 3, v_dims, DNSPY_IN);
    if (v == NULL) {
        return -1;
    }
    const npy_intp y_dims[3] = {dims[0], dims[1], PyArray_DIM(v, 2)};
    PyArrayObject *y = dnspy_want_shape(args[3], "out", NPY_FLOAT32, 3, y_dims, DNSPY_OUT);
    if (y == NULL || dnspy_no_overlap(y, "out", q, "q") < 0 ||
        dnspy_no_overlap(y, "out", k, "k") < 0 || dnspy_no_overlap(y, "out", v, "v") < 0) {
        return -1;
    }
    *c = (dns_attention){.batch = (size_t)dims[0],
                         .queries = (size_t)dims[1],
                         .keys = (size_t)PyArray_DIM(k, 1),
                         .depth = (size_t)dims[2],
                         .width = (size_t)PyArray_DIM(v, 2),
                         .q = PyArray_DATA(q),
                         .k = PyArray_DATA(k),
                         .v = PyArray_DATA(v),
                         .y = PyArray_DATA(y)};
    return 0;
}

/* The mask's four arguments, or the pattern; 0, or -1 with an exception set. */
static int
masks_of(PyObject *const *args, PyObject *pattern, dns_attention *c)
{
    c->mask = (dns_softmax){.rows = c->batch * c->queries, .cols = c->keys, .length_rows = 1};
    if (pattern != Py_None) {
        c->pattern = kernels_pattern(pattern);
        return c->pattern == NULL ? -1 : 0;
    }
    return kernels_softmax_masks(args, &c->mask);
}

PyDoc_STRVAR(
    attention_doc,
    "attention(q, k, v, out, scale, queries, lengths, bits, mask, pattern, threads, isa, "
    "/)\n--\n\n"
    "softmax(scale q k^T) v of float32 (B, Lq, d), (B, Lk, d), (B, Lk, w) into out (B, Lq, "
    "w), on the open BLAS\nif there is one; masks as softmax_rows takes them, or a "
    "pattern. Returns the queries that saw nothing.");

static PyObject *
attention(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    dns_attention c;
    if (dnspy_nargs("attention", nargs, 12, 12) < 0 || arrays_of(args, &c) < 0 ||
        masks_of(args + 5, args[9], &c) < 0) {
        return NULL;
    }
    kernels_state *st = PyModule_GetState(module);
    dns_threads *threads;
    dns_isa isa;
    c.scale = (float)PyFloat_AsDouble(args[4]);
    c.blas = st->blas_handle != NULL ? &st->blas : NULL;
    if (PyErr_Occurred() || kernels_threads(module, args[10], &threads) < 0 ||
        kernels_level(module, args[11], &isa) < 0) {
        return NULL;
    }
    size_t bytes = 0;
    size_t got = 0;
    dns_error err;
    if (kernels_check(module,
                      dns_attention_workspace(&c, isa, dns_threads_count(threads), &bytes, &err),
                      &err) < 0) {
        return NULL;
    }
    void *ws = kernels_ws_take(st, bytes, &got);
    if (ws == NULL) {
        return NULL;
    }
    size_t empty = 0;
    KERNELS_BEGIN_LONG(c.batch * c.queries * (c.keys + c.depth));
    empty = dns_attention_execute(&c, isa, threads, ws);
    KERNELS_END_LONG
    kernels_ws_give(st, ws, got);
    return PyLong_FromSize_t(empty);
}

PyMethodDef kernels_attention_methods[] = {
    DNSPY_FAST(attention),
    {NULL, NULL, 0, NULL},
};
