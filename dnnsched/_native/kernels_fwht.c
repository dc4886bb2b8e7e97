/* Walsh-Hadamard transforms and OVSF filters. */
#include "kernels_parts.h"

#include "dns/fwht.h"

/* log2 of a power of two; -1 with ValueError. */
static int
log2_of(npy_intp n, const char *name)
{
    int log2n = 0;
    while (log2n <= DNS_FWHT_MAX_LOG2 && (npy_intp)1 << log2n < n) {
        log2n++;
    }
    if (log2n > DNS_FWHT_MAX_LOG2 || (npy_intp)1 << log2n != n) {
        PyErr_Format(PyExc_ValueError, "%s: expected a power of two up to 2^%d, got %zd", name,
                     DNS_FWHT_MAX_LOG2, (Py_ssize_t)n);
        return -1;
    }
    return log2n;
}

PyDoc_STRVAR(
    fwht_rows_doc,
    "fwht_rows(x, out, threads, isa, /)\n--\n\n"
    "Transform each row of float32 (B, n), last axis contiguous, into out, which may be x.");

static PyObject *
fwht_rows(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (dnspy_nargs("fwht_rows", nargs, 4, 4) < 0) {
        return NULL;
    }
    PyArrayObject *x = dnspy_want(args[0], "x", NPY_FLOAT32, 2, DNSPY_ROWS);
    const int log2n = x == NULL ? -1 : log2_of(PyArray_DIM(x, 1), "length");
    PyArrayObject *y = log2n < 0 ? NULL
                                 : dnspy_want_shape(args[1], "out", NPY_FLOAT32, 2, PyArray_DIMS(x),
                                                    DNSPY_ROWS | DNSPY_OUT);
    if (y == NULL || kernels_same_or_apart(x, y) < 0) {
        return NULL;
    }
    const ptrdiff_t ldx = kernels_ld(x, "x");
    const ptrdiff_t ldy = ldx < 0 ? -1 : kernels_ld(y, "out");
    dns_threads *threads = NULL;
    dns_isa isa;
    if (ldy < 0 || kernels_threads(module, args[2], &threads) < 0 ||
        kernels_level(module, args[3], &isa) < 0) {
        return NULL;
    }
    KERNELS_BEGIN_LONG(PyArray_NBYTES(x));
    dns_fwht_rows(isa, PyArray_DATA(x), ldx, PyArray_DATA(y), ldy, (size_t)PyArray_DIM(x, 0),
                  (unsigned)log2n, threads);
    KERNELS_END_LONG
    Py_RETURN_NONE;
}

PyDoc_STRVAR(fwht_columns_doc,
             "fwht_columns(x, out, threads, isa, /)\n--\n\n"
             "Transform float32 (A, n, B) along the middle axis into out, which may be x.");

static PyObject *
fwht_columns(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (dnspy_nargs("fwht_columns", nargs, 4, 4) < 0) {
        return NULL;
    }
    PyArrayObject *x = dnspy_want(args[0], "x", NPY_FLOAT32, 3, DNSPY_IN);
    const int log2n = x == NULL ? -1 : log2_of(PyArray_DIM(x, 1), "length");
    PyArrayObject *y =
        log2n < 0 ? NULL
                  : dnspy_want_shape(args[1], "out", NPY_FLOAT32, 3, PyArray_DIMS(x), DNSPY_OUT);
    dns_threads *threads = NULL;
    dns_isa isa;
    if (y == NULL || kernels_same_or_apart(x, y) < 0 ||
        kernels_threads(module, args[2], &threads) < 0 ||
        kernels_level(module, args[3], &isa) < 0) {
        return NULL;
    }
    const size_t columns = (size_t)PyArray_DIM(x, 2);
    const size_t matrix = columns << log2n;
    const float *from = PyArray_DATA(x);
    float *to = PyArray_DATA(y);
    KERNELS_BEGIN_LONG(PyArray_NBYTES(x));
    for (size_t a = 0; a < (size_t)PyArray_DIM(x, 0); a++) {
        dns_fwht_columns(isa, from + a * matrix, (ptrdiff_t)columns, to + a * matrix,
                         (ptrdiff_t)columns, columns, (unsigned)log2n, threads);
    }
    KERNELS_END_LONG
    Py_RETURN_NONE;
}

PyDoc_STRVAR(ovsf_doc,
             "ovsf(alpha, index, length, pitch, out, isa, /)\n--\n\n"
             "Filters of float32 (F, J) coefficients of the codes int64 (J,) into float32 "
             "(F, rows, cols): of `length` elements read as rows of `pitch`, the first.");

static PyObject *
ovsf(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (dnspy_nargs("ovsf", nargs, 6, 6) < 0) {
        return NULL;
    }
    const npy_intp length = PyLong_AsSsize_t(args[2]);
    const npy_intp pitch = PyLong_AsSsize_t(args[3]);
    const int log2n = PyErr_Occurred() ? -1 : log2_of(length, "length");
    PyArrayObject *alpha =
        log2n < 0 ? NULL : dnspy_want(args[0], "alpha", NPY_FLOAT32, 2, DNSPY_IN);
    if (alpha == NULL) {
        return NULL;
    }
    const npy_intp codes = PyArray_DIM(alpha, 1);
    const npy_intp dims[3] = {PyArray_DIM(alpha, 0), -1, -1};
    PyArrayObject *index = dnspy_want_shape(args[1], "index", NPY_INT64, 1, &codes, DNSPY_IN);
    PyArrayObject *out =
        index == NULL ? NULL : dnspy_want_shape(args[4], "out", NPY_FLOAT32, 3, dims, DNSPY_OUT);
    dns_isa isa;
    if (out == NULL || dnspy_no_overlap(out, "out", alpha, "alpha") < 0 ||
        kernels_level(module, args[5], &isa) < 0) {
        return NULL;
    }
    const dns_ovsf_crop crop = {pitch > 0 ? (size_t)pitch : 0, (size_t)PyArray_DIM(out, 1),
                                (size_t)PyArray_DIM(out, 2)};
    kernels_state *st = PyModule_GetState(module);
    size_t got = 0;
    void *ws = kernels_ws_take(st, dns_ovsf_workspace((unsigned)log2n), &got);
    if (ws == NULL) {
        return NULL;
    }
    dns_error err;
    dns_status status;
    KERNELS_BEGIN_LONG((size_t)PyArray_DIM(out, 0) << log2n);
    status = dns_ovsf(isa, PyArray_DATA(alpha), (size_t)PyArray_DIM(alpha, 0), PyArray_DATA(index),
                      (size_t)codes, (unsigned)log2n, crop, PyArray_DATA(out), ws, &err);
    KERNELS_END_LONG
    kernels_ws_give(st, ws, got);
    if (kernels_check(module, status, &err) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyMethodDef kernels_fwht_methods[] = {
    DNSPY_FAST(fwht_rows),
    DNSPY_FAST(fwht_columns),
    DNSPY_FAST(ovsf),
    {NULL, NULL, 0, NULL},
};
