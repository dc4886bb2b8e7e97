#include "sim_timeline.h"

#include "dns/timeline.h"

static int
write_piece(void *ctx, const char *text, size_t n)
{
    PyObject *r = PyObject_CallFunction(ctx, "y#", text, (Py_ssize_t)n);
    Py_XDECREF(r);
    return r == NULL;
}

/* UTF-8 of a list of str, borrowed; PyMem_Free the array. */
static const char **
read_names(PyObject *list)
{
    const Py_ssize_t n = PyList_Size(list);
    const char **out = PyMem_Calloc((size_t)n + 1, sizeof *out);
    if (out == NULL) {
        (void)PyErr_NoMemory();
    }
    for (Py_ssize_t i = 0; i < n && out != NULL; i++) {
        out[i] = PyUnicode_AsUTF8(PyList_GetItem(list, i));
        if (out[i] == NULL) {
            PyMem_Free(out);
            out = NULL;
        }
    }
    return out;
}

/* Data of `count` one-dimensional columns of one length, which goes to *n (0 if there are none). */
static int
read_columns(PyObject *tuple, const char *what, const int *types, int count, const void **out,
             int64_t *n)
{
    npy_intp rows = -1;
    if (!PyTuple_Check(tuple) || PyTuple_Size(tuple) != count) {
        PyErr_Format(PyExc_TypeError, "%s: expected a tuple of %d arrays", what, count);
        return -1;
    }
    for (int i = 0; i < count; i++) {
        PyArrayObject *a =
            dnspy_want_shape(PyTuple_GetItem(tuple, i), what, types[i], 1, &rows, DNSPY_IN);
        if (a == NULL) {
            return -1;
        }
        rows = PyArray_DIM(a, 0);
        out[i] = PyArray_DATA(a);
    }
    *n = rows;
    return 0;
}

static PyObject *
write_document(dnspy_state *state, const dns_timeline *t, PyObject *write)
{
    int64_t events = 0, cut = 0;
    dns_error err = {0};
    char *buf = PyMem_Malloc(1 << 16);
    if (buf == NULL) {
        return PyErr_NoMemory();
    }
    const dns_status st =
        dns_timeline_write(t, write_piece, write, buf, 1 << 16, &events, &cut, &err);
    PyMem_Free(buf);
    return st == DNS_OK ? Py_BuildValue("LL", (long long)events, (long long)cut)
                        : dnspy_raise(state, st, &err);
}

const char sim_timeline_doc[] =
    "timeline(write, slices, lost, orders, rows, names, resources, t0, t1, cap, other, /)\n--\n\n"
    "Chrome trace-event JSON through write(bytes); returns (events written, events left out).\n"
    "orders: int64 by_start, by_end, previous, next of the slices. rows: arrival, finish, deadline "
    "(float64),\nstatus (uint8), key (int32), first, by_finish (int64). names, resources: lists of "
    "JSON string contents.";

PyObject *
sim_timeline(PyObject *module, PyObject *args)
{
    PyObject *write = NULL, *slices = NULL, *orders = NULL, *rows = NULL, *names = NULL,
             *resources = NULL;
    long long lost = 0, cap = 0;
    dns_timeline t = {0};
    if (!PyArg_ParseTuple(args, "OOLOOO!O!ddLz:timeline", &write, &slices, &lost, &orders, &rows,
                          &PyList_Type, &names, &PyList_Type, &resources, &t.t0_s, &t.t1_s, &cap,
                          &t.other_json)) {
        return NULL;
    }
    PyArrayObject *sl = (PyArrayObject *)slices;
    if (!PyArray_Check(slices) || PyArray_ITEMSIZE(sl) != (npy_intp)sizeof(dns_slice) ||
        !PyArray_ISCARRAY_RO(sl)) {
        PyErr_SetString(PyExc_TypeError, "slices: expected the engine's slice records");
        return NULL;
    }
    static const int order_types[4] = {NPY_INT64, NPY_INT64, NPY_INT64, NPY_INT64};
    static const int row_types[7] = {NPY_DOUBLE, NPY_DOUBLE, NPY_DOUBLE, NPY_UINT8,
                                     NPY_INT32,  NPY_INT64,  NPY_INT64};
    const void *order[4], *row[7];
    if (read_columns(orders, "orders", order_types, 4, order, &t.n_slice) < 0 ||
        read_columns(rows, "rows", row_types, 7, row, &t.n_row) < 0) {
        return NULL;
    }
    if (t.n_slice != PyArray_SIZE(sl)) {
        PyErr_SetString(PyExc_ValueError, "orders: expected as many rows as slices");
        return NULL;
    }
    t.slices = PyArray_DATA(sl);
    t.lost = lost;
    t.cap = cap;
    t.by_start = order[0];
    t.by_end = order[1];
    t.previous = order[2];
    t.next = order[3];
    t.arrival_s = row[0];
    t.finish_s = row[1];
    t.deadline_s = row[2];
    t.status = row[3];
    t.key = row[4];
    t.first = row[5];
    t.by_finish = row[6];
    t.n_name = (int32_t)PyList_Size(names);
    t.n_resource = (int32_t)PyList_Size(resources);
    const char **name = read_names(names);
    const char **resource = name == NULL ? NULL : read_names(resources);
    t.names = name;
    t.resources = resource;
    PyObject *result =
        resource == NULL ? NULL : write_document(PyModule_GetState(module), &t, write);
    PyMem_Free(name);
    PyMem_Free(resource);
    return result;
}
