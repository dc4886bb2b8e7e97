/* Product quantisers: capsule, encoding, decoding, training. */
#include "kernels_parts.h"

#include "dns/pq.h"

#define CAPSULE "dnnsched.pq"

static void
capsule_free(PyObject *capsule)
{
    dns_pq_destroy(PyCapsule_GetPointer(capsule, CAPSULE));
}

static dns_pq *
want_pq(PyObject *capsule)
{
    if (!PyCapsule_IsValid(capsule, CAPSULE)) {
        PyErr_Format(PyExc_TypeError, "pq: expected a quantiser, got %.100s",
                     Py_TYPE(capsule)->tp_name);
        return NULL;
    }
    return PyCapsule_GetPointer(capsule, CAPSULE);
}

static dns_pq_shape
shape_of(PyArrayObject *codebooks)
{
    return (dns_pq_shape){(size_t)PyArray_DIM(codebooks, 0), (size_t)PyArray_DIM(codebooks, 1),
                          (size_t)PyArray_DIM(codebooks, 2)};
}

PyDoc_STRVAR(pq_new_doc, "pq_new(codebooks, isa, /)\n--\n\n"
                         "Quantiser of float32 codebooks (m, centroids, elements).");

static PyObject *
pq_new(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    PyArrayObject *books = dnspy_nargs("pq_new", nargs, 2, 2) < 0
                               ? NULL
                               : dnspy_want(args[0], "codebooks", NPY_FLOAT32, 3, DNSPY_IN);
    dns_isa isa;
    if (books == NULL || kernels_level(module, args[1], &isa) < 0) {
        return NULL;
    }
    dns_pq *pq = NULL;
    dns_error err;
    if (kernels_check(module,
                      dns_pq_create(PyArray_DATA(books), shape_of(books), isa, NULL, &pq, &err),
                      &err) < 0) {
        return NULL;
    }
    PyObject *capsule = PyCapsule_New(pq, CAPSULE, capsule_free);
    if (capsule == NULL) {
        dns_pq_destroy(pq);
    }
    return capsule;
}

PyDoc_STRVAR(pq_info_doc, "pq_info(pq, /)\n--\n\n"
                          "(bytes held, level's name).");

static PyObject *
pq_info(PyObject *Py_UNUSED(module), PyObject *arg)
{
    const dns_pq *pq = want_pq(arg);
    return pq == NULL ? NULL
                      : Py_BuildValue("ns", (Py_ssize_t)dns_pq_bytes(pq),
                                      dns_isa_name((int)dns_pq_isa(pq)));
}

/* Rows of vectors and of their codes, both checked. */
typedef struct pair {
    const dns_pq *pq;
    PyArrayObject *vectors, *codes;
    size_t n;
    ptrdiff_t ld_vectors, ld_codes;
    dns_threads *threads;
} pair;

/* args: quantiser, from, to, threads; 0, or -1 with an exception set. */
static int
want_pair(PyObject *module, PyObject *const *args, bool decoding, pair *p)
{
    p->pq = want_pq(args[0]);
    if (p->pq == NULL) {
        return -1;
    }
    const dns_pq_shape shape = dns_pq_shape_of(p->pq);
    const npy_intp wide = (npy_intp)(shape.m * shape.dsub);
    const npy_intp in_dims[2] = {-1, decoding ? (npy_intp)shape.m : wide};
    const char *in_name = decoding ? "codes" : "X";
    PyArrayObject *in = dnspy_want_shape(args[1], in_name, decoding ? NPY_UINT8 : NPY_FLOAT32, 2,
                                         in_dims, DNSPY_ROWS);
    if (in == NULL) {
        return -1;
    }
    const npy_intp out_dims[2] = {PyArray_DIM(in, 0), decoding ? wide : (npy_intp)shape.m};
    PyArrayObject *out = dnspy_want_shape(args[2], "out", decoding ? NPY_FLOAT32 : NPY_UINT8, 2,
                                          out_dims, DNSPY_ROWS | DNSPY_OUT);
    if (out == NULL || dnspy_no_overlap(out, "out", in, in_name) < 0) {
        return -1;
    }
    p->n = (size_t)PyArray_DIM(in, 0);
    p->vectors = decoding ? out : in;
    p->codes = decoding ? in : out;
    p->ld_vectors = kernels_ld(p->vectors, decoding ? "out" : "X");
    p->ld_codes = p->ld_vectors < 0 ? -1 : kernels_ld(p->codes, decoding ? "codes" : "out");
    return p->ld_codes < 0 ? -1 : kernels_threads(module, args[3], &p->threads);
}

PyDoc_STRVAR(pq_encode_doc, "pq_encode(pq, x, out, threads, /)\n--\n\n"
                            "uint8 codes (N, m) of float32 x (N, D).");

static PyObject *
pq_encode(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    kernels_state *st = PyModule_GetState(module);
    pair p;
    if (dnspy_nargs("pq_encode", nargs, 4, 4) < 0 || want_pair(module, args, false, &p) < 0) {
        return NULL;
    }
    size_t got = 0;
    void *ws = kernels_ws_take(st, dns_pq_workspace(p.pq, dns_threads_count(p.threads)), &got);
    if (ws == NULL) {
        return NULL;
    }
    dns_error err;
    const dns_pq_shape shape = dns_pq_shape_of(p.pq);
    KERNELS_BEGIN_LONG(p.n * shape.m * shape.dsub * shape.ksub);
    const dns_status status = dns_pq_encode(p.pq, p.n, PyArray_DATA(p.vectors), p.ld_vectors,
                                            PyArray_DATA(p.codes), p.ld_codes, ws, p.threads, &err);
    KERNELS_END_LONG
    kernels_ws_give(st, ws, got);
    if (kernels_check(module, status, &err) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(pq_decode_doc, "pq_decode(pq, codes, out, threads, /)\n--\n\n"
                            "float32 centroids (N, D) of uint8 codes (N, m).");

static PyObject *
pq_decode(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    pair p;
    if (dnspy_nargs("pq_decode", nargs, 4, 4) < 0 || want_pair(module, args, true, &p) < 0) {
        return NULL;
    }
    dns_error err;
    const dns_pq_shape shape = dns_pq_shape_of(p.pq);
    KERNELS_BEGIN_LONG(p.n * shape.m * shape.dsub);
    const dns_status status = dns_pq_decode(p.pq, p.n, PyArray_DATA(p.codes), p.ld_codes,
                                            PyArray_DATA(p.vectors), p.ld_vectors, p.threads, &err);
    KERNELS_END_LONG
    if (kernels_check(module, status, &err) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Between steps, so that Ctrl-C ends a training. */
static bool
no_signal(void *Py_UNUSED(ctx))
{
    const PyGILState_STATE state = PyGILState_Ensure();
    const bool go_on = PyErr_CheckSignals() == 0;
    PyGILState_Release(state);
    return go_on;
}

PyDoc_STRVAR(pq_train_doc, "pq_train(x, order, out, batch, steps, threads, isa, /)\n--\n\n"
                           "Train float32 codebooks (m, centroids, elements) on float32 x (N, D); "
                           "order is int64 (N,), the rows as they are taken.");

static PyObject *
pq_train(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    PyArrayObject *books = dnspy_nargs("pq_train", nargs, 7, 7) < 0
                               ? NULL
                               : dnspy_want(args[2], "out", NPY_FLOAT32, 3, DNSPY_OUT);
    if (books == NULL) {
        return NULL;
    }
    dns_pq_training t = {.shape = shape_of(books), .go_on = no_signal};
    const npy_intp dims[2] = {-1, PyArray_DIM(books, 0) * PyArray_DIM(books, 2)};
    PyArrayObject *x = dnspy_want_shape(args[0], "X", NPY_FLOAT32, 2, dims, DNSPY_ROWS);
    if (x == NULL) {
        return NULL;
    }
    PyArrayObject *order =
        dnspy_want_shape(args[1], "order", NPY_INT64, 1, PyArray_DIMS(x), DNSPY_IN);
    t.ldx = order == NULL ? -1 : kernels_ld(x, "X");
    if (t.ldx < 0) {
        return NULL;
    }
    dns_isa isa;
    dns_threads *threads;
    t.batch = PyLong_AsSize_t(args[3]);
    t.steps = PyErr_Occurred() ? 0 : PyLong_AsSize_t(args[4]);
    if (PyErr_Occurred() || kernels_threads(module, args[5], &threads) < 0 ||
        kernels_level(module, args[6], &isa) < 0) {
        return NULL;
    }
    t.x = PyArray_DATA(x);
    t.n = (size_t)PyArray_DIM(x, 0);
    t.order = PyArray_DATA(order);
    dns_error err;
    PyThreadState *thread = PyEval_SaveThread();
    const dns_status status = dns_pq_train(&t, isa, threads, NULL, PyArray_DATA(books), &err);
    PyEval_RestoreThread(thread);
    if (kernels_check(module, status, &err) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyMethodDef kernels_pq_methods[] = {
    DNSPY_FAST(pq_new),    {"pq_info", pq_info, METH_O, pq_info_doc},
    DNSPY_FAST(pq_encode), DNSPY_FAST(pq_decode),
    DNSPY_FAST(pq_train),  {NULL, NULL, 0, NULL},
};
