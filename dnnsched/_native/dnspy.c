#define DNSPY_IMPLEMENTATION
#include "dnspy.h"

int
dnspy_init(dnspy_state *st)
{
    if (PyArray_ImportNumPyAPI() < 0) {
        return -1;
    }
    PyObject *errors = PyImport_ImportModule("dnnsched.errors");
    if (errors == NULL) {
        return -1;
    }
    st->format_error = PyObject_GetAttrString(errors, "FormatError");
    st->state_error = PyObject_GetAttrString(errors, "StateError");
    Py_DECREF(errors);
    if (st->format_error == NULL || st->state_error == NULL) {
        return -1;
    }
    const char *bad = NULL;
    st->top = dns_isa_detect();
    st->isa = dns_isa_default(&bad);
    if (bad != NULL &&
        PyErr_WarnFormat(
            PyExc_RuntimeWarning, 1,
            "DNNSCHED_ISA: expected generic, avx2, avx512, avx512vnni or amx, got '%s'; ignored",
            bad) < 0) {
        return -1;
    }
    return 0;
}

int
dnspy_traverse(dnspy_state *st, visitproc visit, void *arg)
{
    Py_VISIT(st->format_error);
    Py_VISIT(st->state_error);
    return 0;
}

void
dnspy_clear(dnspy_state *st)
{
    Py_CLEAR(st->format_error);
    Py_CLEAR(st->state_error);
}

PyDoc_STRVAR(get_isa_doc, "_isa()\n--\n\nInstruction-set level in use (int, 0 = generic).");

static PyObject *
get_isa(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    const dnspy_state *st = PyModule_GetState(module);
    return PyLong_FromLong((long)st->isa);
}

PyDoc_STRVAR(
    set_isa_doc,
    "_set_isa(level, /)\n--\n\nUse at most this level and at most what the CPU runs; returns "
    "the level in use.");

static PyObject *
set_isa(PyObject *module, PyObject *arg)
{
    const long level = PyLong_AsLong(arg);
    if (level == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (level < 0 || level >= DNS_N_ISA) {
        PyErr_Format(PyExc_ValueError, "level: expected 0 to %d, got %ld", DNS_N_ISA - 1, level);
        return NULL;
    }
    dnspy_state *st = PyModule_GetState(module);
    st->isa = (dns_isa)level < st->top ? (dns_isa)level : st->top;
    return PyLong_FromLong((long)st->isa);
}

static PyMethodDef isa_methods[] = {
    {"_isa", get_isa, METH_NOARGS, get_isa_doc},
    {"_set_isa", set_isa, METH_O, set_isa_doc},
    {NULL, NULL, 0, NULL},
};

int
dnspy_add_isa(PyObject *module)
{
    return PyModule_AddFunctions(module, isa_methods);
}

int
dnspy_exec(PyObject *module)
{
    return dnspy_init(PyModule_GetState(module)) < 0 ? -1 : dnspy_add_isa(module);
}

int
dnspy_module_traverse(PyObject *module, visitproc visit, void *arg)
{
    return dnspy_traverse(PyModule_GetState(module), visit, arg);
}

int
dnspy_module_clear(PyObject *module)
{
    dnspy_clear(PyModule_GetState(module));
    return 0;
}

void
dnspy_module_free(void *module)
{
    (void)dnspy_module_clear(module);
}

static int
check_layout(PyArrayObject *a, const char *name, int flags)
{
    if (!PyArray_ISNOTSWAPPED(a) || !PyArray_ISALIGNED(a)) {
        PyErr_Format(PyExc_ValueError, "%s: expected an aligned array in native byte order", name);
        return -1;
    }
    if (flags & DNSPY_ROWS) {
        const int nd = PyArray_NDIM(a);
        const npy_intp item = PyArray_ITEMSIZE(a);
        if (nd > 0 && PyArray_SIZE(a) > 0 &&
            (PyArray_STRIDE(a, nd - 1) != item && PyArray_DIM(a, nd - 1) > 1)) {
            PyErr_Format(PyExc_ValueError,
                         "%s: expected a contiguous last axis, got stride %zd bytes", name,
                         (Py_ssize_t)PyArray_STRIDE(a, nd - 1));
            return -1;
        }
    }
    else if (!PyArray_IS_C_CONTIGUOUS(a)) {
        PyErr_Format(PyExc_ValueError, "%s: expected a C-contiguous array, got a strided one",
                     name);
        return -1;
    }
    if ((flags & DNSPY_OUT) && !PyArray_ISWRITEABLE(a)) {
        PyErr_Format(PyExc_ValueError, "%s: expected a writeable array, got a read-only one", name);
        return -1;
    }
    return 0;
}

PyArrayObject *
dnspy_want(PyObject *obj, const char *name, int typenum, int ndim, int flags)
{
    if (obj == Py_None && (flags & DNSPY_OPTIONAL)) {
        return NULL;
    }
    PyArray_Descr *want = PyArray_DescrFromType(typenum);
    if (want == NULL) {
        return NULL;
    }
    if (!PyArray_Check(obj)) {
        PyErr_Format(PyExc_TypeError, "%s: expected a NumPy array of %R, got %.100s", name,
                     (PyObject *)want, Py_TYPE(obj)->tp_name);
        Py_DECREF(want);
        return NULL;
    }
    PyArrayObject *a = (PyArrayObject *)obj;
    if (!PyArray_EquivTypenums(PyArray_TYPE(a), typenum)) {
        PyErr_Format(PyExc_TypeError, "%s: expected dtype %R, got %R", name, (PyObject *)want,
                     (PyObject *)PyArray_DESCR(a));
        Py_DECREF(want);
        return NULL;
    }
    Py_DECREF(want);
    if (ndim >= 0 && PyArray_NDIM(a) != ndim) {
        PyErr_Format(PyExc_ValueError, "%s: expected %d dimension(s), got %d", name, ndim,
                     PyArray_NDIM(a));
        return NULL;
    }
    return check_layout(a, name, flags) < 0 ? NULL : a;
}

PyArrayObject *
dnspy_want_shape(PyObject *obj, const char *name, int typenum, int ndim, const npy_intp *dims,
                 int flags)
{
    PyArrayObject *a = dnspy_want(obj, name, typenum, ndim, flags);
    if (a == NULL) {
        return NULL;
    }
    for (int i = 0; i < ndim; i++) {
        if (dims[i] >= 0 && PyArray_DIM(a, i) != dims[i]) {
            PyErr_Format(PyExc_ValueError, "%s: expected extent %zd along axis %d, got %zd", name,
                         (Py_ssize_t)dims[i], i, (Py_ssize_t)PyArray_DIM(a, i));
            return NULL;
        }
    }
    return a;
}

/* First byte and the byte after the last of an array that is not empty, whatever its strides. */
static void
extent(PyArrayObject *a, const char **first, const char **end)
{
    *first = *end = PyArray_BYTES(a);
    for (int i = 0; i < PyArray_NDIM(a); i++) {
        const npy_intp reach = PyArray_STRIDE(a, i) * (PyArray_DIM(a, i) - 1);
        *(reach < 0 ? first : end) += reach;
    }
    *end += PyArray_ITEMSIZE(a);
}

int
dnspy_no_overlap(PyArrayObject *a, const char *an, PyArrayObject *b, const char *bn)
{
    if (a == NULL || b == NULL || PyArray_SIZE(a) == 0 || PyArray_SIZE(b) == 0) {
        return 0;
    }
    const char *a0, *a1, *b0, *b1;
    extent(a, &a0, &a1);
    extent(b, &b0, &b1);
    if (a0 < b1 && b0 < a1) {
        PyErr_Format(PyExc_ValueError, "%s: expected memory that does not overlap %s", an, bn);
        return -1;
    }
    return 0;
}

PyObject *
dnspy_raise(dnspy_state *st, dns_status code, const dns_error *err)
{
    const char *message = err != NULL && err->code == code ? err->message : dns_status_name(code);
    PyObject *type = PyExc_SystemError;
    switch (code) {
    case DNS_ERR_MEMORY:
        return PyErr_NoMemory();
    case DNS_ERR_OVERFLOW:
    case DNS_ERR_VALUE:
    case DNS_ERR_SHAPE:
        type = PyExc_ValueError;
        break;
    case DNS_ERR_FORMAT:
        type = st->format_error;
        break;
    case DNS_ERR_CALLBACK:
        if (PyErr_Occurred()) {
            return NULL;
        }
        type = st->state_error;
        break;
    case DNS_ERR_STATE:
    case DNS_ERR_POLICY:
    case DNS_ERR_LIVELOCK:
        type = st->state_error;
        break;
    case DNS_ERR_UNSUPPORTED:
        type = PyExc_NotImplementedError;
        break;
    default:
        break;
    }
    PyErr_SetString(type, message);
    return NULL;
}

int
dnspy_nargs(const char *fn, Py_ssize_t got, Py_ssize_t min, Py_ssize_t max)
{
    if (got < min || got > max) {
        PyErr_Format(PyExc_TypeError, "%s: expected %zd to %zd arguments, got %zd", fn, min, max,
                     got);
        return -1;
    }
    return 0;
}
