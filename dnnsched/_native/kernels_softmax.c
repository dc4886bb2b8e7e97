/* Softmax under masks, of rows and of segments. */
#include "kernels_parts.h"

/* Scores and results, which may be one array; 0, or -1 with an exception set. */
static int
rows_of(PyObject *x_arg, PyObject *out_arg, dns_softmax *c)
{
    PyArrayObject *x = dnspy_want(x_arg, "x", NPY_FLOAT32, 2, DNSPY_ROWS);
    if (x == NULL) {
        return -1;
    }
    PyArrayObject *y =
        dnspy_want_shape(out_arg, "out", NPY_FLOAT32, 2, PyArray_DIMS(x), DNSPY_ROWS | DNSPY_OUT);
    if (y == NULL) {
        return -1;
    }
    c->rows = (size_t)PyArray_DIM(x, 0);
    c->cols = (size_t)PyArray_DIM(x, 1);
    c->x = PyArray_DATA(x);
    c->y = PyArray_DATA(y);
    c->ldx = kernels_ld(x, "x");
    c->ldy = c->ldx < 0 ? -1 : kernels_ld(y, "out");
    if (c->ldy < 0) {
        return -1;
    }
    return c->x == c->y && c->ldx == c->ldy ? 0 : dnspy_no_overlap(y, "out", x, "x");
}

/* 0 when a mask of n rows repeats over the scores' rows a whole number of times. */
static int
repeats(const dns_softmax *c, npy_intp n, const char *name)
{
    if (c->rows > 0 && (n < 1 || c->rows % (size_t)n != 0)) {
        PyErr_Format(PyExc_ValueError, "%s: expected a divisor of %zu rows, got %zd", name, c->rows,
                     (Py_ssize_t)n);
        return -1;
    }
    return 0;
}

int
kernels_softmax_masks(PyObject *const *args, dns_softmax *c)
{
    c->queries = PyLong_AsSize_t(args[0]);
    if (PyErr_Occurred()) {
        return -1;
    }
    c->causal = c->queries > 0;
    PyArrayObject *lengths = dnspy_want(args[1], "lengths", NPY_INT32, 1, DNSPY_OPTIONAL);
    if (PyErr_Occurred()) {
        return -1;
    }
    if (lengths != NULL && repeats(c, PyArray_SIZE(lengths), "lengths") < 0) {
        return -1;
    }
    if (lengths != NULL && c->rows > 0) {
        c->lengths = PyArray_DATA(lengths);
        c->length_rows = c->rows / (size_t)PyArray_SIZE(lengths);
    }
    const npy_intp words[2] = {-1, (npy_intp)((c->cols + 63) / 64)};
    PyArrayObject *bits = dnspy_want_shape(args[2], "bits", NPY_UINT64, 2, words, DNSPY_OPTIONAL);
    if (PyErr_Occurred() || (bits != NULL && repeats(c, PyArray_DIM(bits, 0), "bits") < 0)) {
        return -1;
    }
    if (bits != NULL) {
        c->bits = PyArray_DATA(bits);
        c->bit_rows = (size_t)PyArray_DIM(bits, 0);
    }
    const npy_intp dims[2] = {-1, (npy_intp)c->cols};
    PyArrayObject *add =
        dnspy_want_shape(args[3], "mask", NPY_FLOAT32, 2, dims, DNSPY_OPTIONAL | DNSPY_ROWS);
    if (PyErr_Occurred() || (add != NULL && repeats(c, PyArray_DIM(add, 0), "mask") < 0)) {
        return -1;
    }
    if (add != NULL) {
        c->add = PyArray_DATA(add);
        c->add_rows = (size_t)PyArray_DIM(add, 0);
        c->ldadd = kernels_ld(add, "mask");
        return c->ldadd < 0 ? -1 : 0;
    }
    return 0;
}

PyDoc_STRVAR(softmax_rows_doc,
             "softmax_rows(x, out, queries, lengths, bits, mask, threads, isa, /)\n--\n\n"
             "Softmax of float32 (R, L) into out, which may be x; returns the rows that saw "
             "nothing.\nqueries > 0: causal; lengths int32, bits uint64 (r, words), mask float32 "
             "(r, L) or None.");

static PyObject *
softmax_rows(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    dns_softmax c = {.length_rows = 1};
    if (dnspy_nargs("softmax_rows", nargs, 8, 8) < 0 || rows_of(args[0], args[1], &c) < 0) {
        return NULL;
    }
    dns_threads *threads;
    dns_isa isa;
    if (kernels_softmax_masks(args + 2, &c) < 0 || kernels_threads(module, args[6], &threads) < 0 ||
        kernels_level(module, args[7], &isa) < 0) {
        return NULL;
    }
    size_t empty = 0;
    dns_error err;
    dns_status status;
    KERNELS_BEGIN_LONG(c.rows * c.cols);
    status = dns_softmax_rows(&c, isa, threads, &empty, &err);
    KERNELS_END_LONG
    return kernels_check(module, status, &err) < 0 ? NULL : PyLong_FromSize_t(empty);
}

PyDoc_STRVAR(softmax_segments_doc,
             "softmax_segments(x, out, offsets, threads, isa, /)\n--\n\n"
             "Softmax of each segment int64 (S + 1,) of every row of float32 (R, L) into out, "
             "which may be x;\nreturns the segments that saw nothing.");

static PyObject *
softmax_segments(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    dns_softmax c = {.length_rows = 1};
    if (dnspy_nargs("softmax_segments", nargs, 5, 5) < 0 || rows_of(args[0], args[1], &c) < 0) {
        return NULL;
    }
    PyArrayObject *offsets = dnspy_want(args[2], "offsets", NPY_INT64, 1, DNSPY_IN);
    dns_threads *threads;
    dns_isa isa;
    if (offsets == NULL || kernels_threads(module, args[3], &threads) < 0 ||
        kernels_level(module, args[4], &isa) < 0) {
        return NULL;
    }
    if (PyArray_SIZE(offsets) < 1) {
        PyErr_SetString(PyExc_ValueError, "offsets: expected at least one, got none");
        return NULL;
    }
    size_t empty = 0;
    dns_error err;
    dns_status status;
    KERNELS_BEGIN_LONG(c.rows * c.cols);
    status = dns_softmax_segments(&c, PyArray_DATA(offsets), (size_t)PyArray_SIZE(offsets) - 1, isa,
                                  threads, &empty, &err);
    KERNELS_END_LONG
    return kernels_check(module, status, &err) < 0 ? NULL : PyLong_FromSize_t(empty);
}

PyMethodDef kernels_softmax_methods[] = {
    DNSPY_FAST(softmax_rows),
    DNSPY_FAST(softmax_segments),
    {NULL, NULL, 0, NULL},
};
