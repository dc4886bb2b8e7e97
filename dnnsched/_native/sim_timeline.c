#include "sim_timeline.h"

#include "dns/timeline.h"

static int
write_piece(void *ctx, const char *text, size_t n)
{
    PyObject *r = PyObject_CallFunction(ctx, "y#", text, (Py_ssize_t)n);
    Py_XDECREF(r);
    return r == NULL;
}

/* names: list of str already escaped; fills out[]. */
static int
read_names(PyObject *list, const char **out, Py_ssize_t n)
{
    for (Py_ssize_t i = 0; i < n; i++) {
        out[i] = PyUnicode_AsUTF8(PyList_GetItem(list, i));
        if (out[i] == NULL) {
            return -1;
        }
    }
    return 0;
}

const char sim_timeline_doc[] = "timeline(write, slices, lost, arrival, first_start, finish, "
                                "deadline, key, order, names, n_resource, t0, t1, cap, "
                                "other, /)\n--\n\nChrome trace-event JSON through write(bytes); "
                                "returns (events written, events left out).";

PyObject *
sim_timeline(PyObject *module, PyObject *args)
{
    dnspy_state *state = PyModule_GetState(module);
    PyObject *write = NULL, *slices = NULL, *col[6], *names = NULL;
    long long lost = 0, cap = 0;
    int n_resource = 0;
    double t0 = 0.0, t1 = 0.0;
    const char *other = NULL;
    if (!PyArg_ParseTuple(args, "OOLOOOOOOO!iddLz:timeline", &write, &slices, &lost, &col[0],
                          &col[1], &col[2], &col[3], &col[4], &col[5], &PyList_Type, &names,
                          &n_resource, &t0, &t1, &cap, &other)) {
        return NULL;
    }
    static const char *const labels[6] = {"arrival",  "first_start", "finish",
                                          "deadline", "key",         "order"};
    static const int types[6] = {NPY_DOUBLE, NPY_DOUBLE, NPY_DOUBLE,
                                 NPY_DOUBLE, NPY_INT32,  NPY_INT64};
    npy_intp n = -1;
    void *data[6];
    for (int i = 0; i < 6; i++) {
        PyArrayObject *a = dnspy_want_shape(col[i], labels[i], types[i], 1, &n, DNSPY_IN);
        if (a == NULL) {
            return NULL;
        }
        n = PyArray_SIZE(a);
        data[i] = PyArray_DATA(a);
    }
    PyArrayObject *sl = (PyArrayObject *)slices;
    if (!PyArray_Check(slices) || PyArray_ITEMSIZE(sl) != (npy_intp)sizeof(dns_slice) ||
        !PyArray_ISCARRAY_RO(sl)) {
        PyErr_SetString(PyExc_TypeError, "slices: expected the engine's slice records");
        return NULL;
    }
    const Py_ssize_t n_name = PyList_Size(names);
    const char **text = PyMem_Calloc((size_t)n_name + 1, sizeof *text);
    char *buf = PyMem_Malloc(1 << 16);
    PyObject *result = NULL;
    if (text == NULL || buf == NULL) {
        (void)PyErr_NoMemory();
    }
    else if (read_names(names, text, n_name) == 0) {
        const dns_timeline t = {PyArray_DATA(sl),
                                PyArray_SIZE(sl),
                                lost,
                                n,
                                data[0],
                                data[1],
                                data[2],
                                data[3],
                                data[4],
                                data[5],
                                text,
                                (int32_t)n_name,
                                n_resource,
                                t0,
                                t1,
                                cap,
                                other};
        int64_t events = 0, cut = 0;
        dns_error err = {0};
        const dns_status st =
            dns_timeline_write(&t, write_piece, write, buf, 1 << 16, &events, &cut, &err);
        result = st == DNS_OK ? Py_BuildValue("LL", (long long)events, (long long)cut)
                              : dnspy_raise(state, st, &err);
    }
    PyMem_Free(text);
    PyMem_Free(buf);
    return result;
}
