/* Row statistics. The batch of one is the exit decision itself, so this function makes its results
 * and takes any axis: a call costs one trip from Python. */
#include "kernels_parts.h"

#include "dns/rowstats.h"

/* What the arguments name. */
typedef struct request {
    dns_logits logits;
    dns_isa isa;
    dns_threads *threads;
    double temperature;
    int nd; /* of the results */
    npy_intp dims[NPY_MAXDIMS];
} request;

/* Logits of a C-contiguous array with classes along `axis`, or of rows apart; 0, or -1 with an
 * exception set. */
static int
logits_of(PyArrayObject *a, PyObject *axis_arg, request *r)
{
    const int nd = PyArray_NDIM(a);
    const long given = PyLong_AsLong(axis_arg);
    if (given == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (given < -nd || given >= nd) {
        PyErr_Format(PyExc_ValueError, "axis: expected an integer from %d to %d, got %ld", -nd,
                     nd - 1, given);
        return -1;
    }
    const int axis = (int)(given < 0 ? given + nd : given);
    dns_logits *v = &r->logits;
    v->n = 1;
    v->inner = 1;
    v->classes = (size_t)PyArray_DIM(a, axis);
    v->x = PyArray_DATA(a);
    r->nd = 0;
    for (int i = 0; i < nd; i++) {
        if (i != axis) {
            *(i < axis ? &v->n : &v->inner) *= (size_t)PyArray_DIM(a, i);
            r->dims[r->nd++] = PyArray_DIM(a, i);
        }
    }
    v->ld = (ptrdiff_t)(v->classes * v->inner);
    if (nd == 2 && axis == 1) {
        v->ld = kernels_ld(a, "logits");
    }
    return v->ld < 0 ? -1 : 0;
}

/* True when the kernel can read the array as it is. */
static bool
readable(PyObject *obj, PyObject *axis)
{
    if (!PyArray_Check(obj)) {
        return false;
    }
    PyArrayObject *a = (PyArrayObject *)obj;
    if (PyArray_TYPE(a) != NPY_FLOAT32 || !PyArray_ISBEHAVED_RO(a) || PyArray_NDIM(a) == 0) {
        return false;
    }
    if (PyArray_IS_C_CONTIGUOUS(a)) {
        return true;
    }
    const long k = PyArray_NDIM(a) == 2 && PyLong_Check(axis) ? PyLong_AsLong(axis) : 0;
    return (k == 1 || k == -1) && PyArray_STRIDE(a, 1) == (npy_intp)sizeof(float) &&
           PyArray_STRIDE(a, 0) >= PyArray_DIM(a, 1) * (npy_intp)sizeof(float) &&
           PyArray_STRIDE(a, 0) % (npy_intp)sizeof(float) == 0;
}

/* Four results as a tuple; NumPy scalars where nothing but the classes' axis was given. */
static PyObject *
compute(PyObject *module, const request *r)
{
    PyObject *arrays[4] = {NULL, NULL, NULL, NULL};
    dns_status status = DNS_OK;
    dns_error err;
    PyObject *result = NULL;
    for (int i = 0; i < 4; i++) {
        arrays[i] = PyArray_SimpleNew(r->nd, r->dims, i == 3 ? NPY_INT64 : NPY_FLOAT32);
        if (arrays[i] == NULL) {
            goto done;
        }
    }
    const dns_rowstats out = {
        PyArray_DATA((PyArrayObject *)arrays[0]), PyArray_DATA((PyArrayObject *)arrays[1]),
        PyArray_DATA((PyArrayObject *)arrays[2]), PyArray_DATA((PyArrayObject *)arrays[3])};
    KERNELS_BEGIN_LONG(r->logits.n * r->logits.classes * r->logits.inner);
    status = dns_rowstats_compute(&r->logits, r->temperature, r->isa, r->threads, &out, &err);
    KERNELS_END_LONG
    if (kernels_check(module, status, &err) < 0) {
        goto done;
    }
    result = PyTuple_New(4);
    for (int i = 0; result != NULL && i < 4; i++) {
        PyObject *item = PyArray_Return((PyArrayObject *)arrays[i]);
        arrays[i] = NULL;
        if (item == NULL) {
            Py_CLEAR(result);
            break;
        }
        PyTuple_SET_ITEM(result, i, item);
    }
done:
    for (int i = 0; i < 4; i++) {
        Py_XDECREF(arrays[i]);
    }
    return result;
}

PyDoc_STRVAR(rowstats_doc,
             "rowstats(logits, axis, temperature, threads, isa, /)\n--\n\n"
             "(max_prob, margin, entropy, argmax) of float32 logits along an axis; None when the "
             "array cannot be read as it is.");

static PyObject *
rowstats(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (dnspy_nargs("rowstats", nargs, 5, 5) < 0) {
        return NULL;
    }
    if (!readable(args[0], args[1])) {
        Py_RETURN_NONE;
    }
    request r;
    if (logits_of((PyArrayObject *)args[0], args[1], &r) < 0) {
        return NULL;
    }
    r.temperature = PyFloat_AsDouble(args[2]);
    if (PyErr_Occurred() || kernels_threads(module, args[3], &r.threads) < 0 ||
        kernels_level(module, args[4], &r.isa) < 0) {
        return NULL;
    }
    return compute(module, &r);
}

PyMethodDef kernels_rowstats_methods[] = {
    DNSPY_FAST(rowstats),
    {NULL, NULL, 0, NULL},
};
