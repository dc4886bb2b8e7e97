/* Fourier transforms and Fourier mixing. */
#include "kernels_parts.h"

/* The roots of a length, which stay with the module; NULL with an exception set. */
static const dns_fft *
fft_of(PyObject *module, npy_intp n, dns_isa isa, const char *name)
{
    unsigned log2n = DNS_FFT_MIN_LOG2;
    while (log2n < DNS_FFT_MAX_LOG2 && (npy_intp)1 << log2n < n) {
        log2n++;
    }
    if ((npy_intp)1 << log2n != n) {
        PyErr_Format(PyExc_ValueError, "%s: expected a power of two from %d to %d, got %zd", name,
                     1 << DNS_FFT_MIN_LOG2, 1 << DNS_FFT_MAX_LOG2, (Py_ssize_t)n);
        return NULL;
    }
    kernels_state *st = PyModule_GetState(module);
    dns_fft **fft = &st->ffts[isa][log2n];
    dns_error err;
    if (*fft == NULL && kernels_check(module, dns_fft_create(log2n, isa, NULL, fft, &err), &err)) {
        return NULL;
    }
    return *fft;
}

PyDoc_STRVAR(fft_rows_doc,
             "fft_rows(x, out, threads, isa, /)\n--\n\n"
             "Transform each row of complex64 (B, n), last axis contiguous, into out, which may be "
             "x.");

static PyObject *
fft_rows(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    dns_isa isa;
    dns_threads *threads = NULL;
    if (dnspy_nargs("fft_rows", nargs, 4, 4) < 0 ||
        kernels_threads(module, args[2], &threads) < 0 ||
        kernels_level(module, args[3], &isa) < 0) {
        return NULL;
    }
    PyArrayObject *x = dnspy_want(args[0], "x", NPY_COMPLEX64, 2, DNSPY_ROWS);
    const dns_fft *fft = x == NULL ? NULL : fft_of(module, PyArray_DIM(x, 1), isa, "length");
    PyArrayObject *y = fft == NULL ? NULL
                                   : dnspy_want_shape(args[1], "out", NPY_COMPLEX64, 2,
                                                      PyArray_DIMS(x), DNSPY_ROWS | DNSPY_OUT);
    if (y == NULL || kernels_same_or_apart(x, y) < 0) {
        return NULL;
    }
    const ptrdiff_t ldx = kernels_ld(x, "x");
    const ptrdiff_t ldy = ldx < 0 ? -1 : kernels_ld(y, "out");
    kernels_state *st = PyModule_GetState(module);
    size_t got = 0;
    void *ws = ldy < 0
                   ? NULL
                   : kernels_ws_take(st, dns_fft_workspace(fft, dns_threads_count(threads)), &got);
    if (ws == NULL) {
        return NULL;
    }
    KERNELS_BEGIN_LONG(PyArray_NBYTES(x));
    dns_fft_rows(fft, PyArray_DATA(x), 2 * ldx, PyArray_DATA(y), 2 * ldy, (size_t)PyArray_DIM(x, 0),
                 ws, threads);
    KERNELS_END_LONG
    kernels_ws_give(st, ws, got);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(fft_columns_doc,
             "fft_columns(x, out, threads, isa, /)\n--\n\n"
             "Transform complex64 (A, n, B) along the middle axis into out, which may be x.");

static PyObject *
fft_columns(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    dns_isa isa;
    dns_threads *threads = NULL;
    if (dnspy_nargs("fft_columns", nargs, 4, 4) < 0 ||
        kernels_threads(module, args[2], &threads) < 0 ||
        kernels_level(module, args[3], &isa) < 0) {
        return NULL;
    }
    PyArrayObject *x = dnspy_want(args[0], "x", NPY_COMPLEX64, 3, DNSPY_IN);
    const dns_fft *fft = x == NULL ? NULL : fft_of(module, PyArray_DIM(x, 1), isa, "length");
    PyArrayObject *y = fft == NULL ? NULL
                                   : dnspy_want_shape(args[1], "out", NPY_COMPLEX64, 3,
                                                      PyArray_DIMS(x), DNSPY_OUT);
    if (y == NULL || kernels_same_or_apart(x, y) < 0) {
        return NULL;
    }
    kernels_state *st = PyModule_GetState(module);
    size_t got = 0;
    void *ws = kernels_ws_take(st, dns_fft_workspace(fft, dns_threads_count(threads)), &got);
    if (ws == NULL) {
        return NULL;
    }
    const size_t columns = (size_t)PyArray_DIM(x, 2);
    const size_t matrix = 2 * columns << dns_fft_log2n(fft);
    const float *from = PyArray_DATA(x);
    float *to = PyArray_DATA(y);
    KERNELS_BEGIN_LONG(PyArray_NBYTES(x));
    for (size_t a = 0; a < (size_t)PyArray_DIM(x, 0); a++) {
        dns_fft_columns(fft, from + a * matrix, (ptrdiff_t)(2 * columns), to + a * matrix,
                        (ptrdiff_t)(2 * columns), columns, ws, threads);
    }
    KERNELS_END_LONG
    kernels_ws_give(st, ws, got);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(fourier_mix_doc,
             "fourier_mix(x, out, threads, isa, /)\n--\n\n"
             "Re(FFT_L(FFT_d(x))) of each matrix of float32 (B, L, d) into out, which may be x.");

static PyObject *
fourier_mix(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    dns_isa isa;
    dns_threads *threads = NULL;
    if (dnspy_nargs("fourier_mix", nargs, 4, 4) < 0 ||
        kernels_threads(module, args[2], &threads) < 0 ||
        kernels_level(module, args[3], &isa) < 0) {
        return NULL;
    }
    PyArrayObject *x = dnspy_want(args[0], "x", NPY_FLOAT32, 3, DNSPY_IN);
    const dns_fft *rows = x == NULL ? NULL : fft_of(module, PyArray_DIM(x, 1), isa, "rows");
    const dns_fft *cols = rows == NULL ? NULL : fft_of(module, PyArray_DIM(x, 2), isa, "columns");
    PyArrayObject *y =
        cols == NULL ? NULL
                     : dnspy_want_shape(args[1], "out", NPY_FLOAT32, 3, PyArray_DIMS(x), DNSPY_OUT);
    if (y == NULL || kernels_same_or_apart(x, y) < 0) {
        return NULL;
    }
    kernels_state *st = PyModule_GetState(module);
    size_t got = 0;
    void *ws =
        kernels_ws_take(st, dns_fourier_workspace(rows, cols, dns_threads_count(threads)), &got);
    if (ws == NULL) {
        return NULL;
    }
    const ptrdiff_t d = PyArray_DIM(x, 2);
    const size_t matrix = (size_t)d << dns_fft_log2n(rows);
    const float *from = PyArray_DATA(x);
    float *to = PyArray_DATA(y);
    KERNELS_BEGIN_LONG(PyArray_NBYTES(x));
    for (size_t b = 0; b < (size_t)PyArray_DIM(x, 0); b++) {
        dns_fourier_mix(rows, cols, from + b * matrix, d, to + b * matrix, d, ws, threads);
    }
    KERNELS_END_LONG
    kernels_ws_give(st, ws, got);
    Py_RETURN_NONE;
}

PyMethodDef kernels_fft_methods[] = {
    DNSPY_FAST(fft_rows),
    DNSPY_FAST(fft_columns),
    DNSPY_FAST(fourier_mix),
    {NULL, NULL, 0, NULL},
};
