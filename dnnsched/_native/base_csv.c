/* Binding of csrc/base/csv.c: numeric CSV columns in and out of arrays. */
#include <math.h>

#include "base_parts.h"

#include "dns/csv.h"
#include "dns/mem.h"

#define STATE(m) ((dnspy_state *)PyModule_GetState(m))
#define MAX_COLUMNS 32

/* The columns of one call; choices hold borrowed UTF-8 of the argument's strings. */
typedef struct request {
    dns_csv_column column[MAX_COLUMNS];
    const char **choices[MAX_COLUMNS];
    PyObject *out[MAX_COLUMNS];
    size_t n;
} request;

static void
request_clear(request *r)
{
    for (size_t i = 0; i < r->n; i++) {
        Py_CLEAR(r->out[i]);
        PyMem_Free((void *)r->choices[i]);
        r->choices[i] = NULL;
    }
}

static int
take_choices(request *r, size_t i, PyObject *choices)
{
    if (choices == Py_None) {
        return 0;
    }
    if (!PyTuple_Check(choices)) {
        PyErr_SetString(PyExc_TypeError, "choices: expected a tuple of strings or None");
        return -1;
    }
    const Py_ssize_t n = PyTuple_Size(choices);
    r->choices[i] = PyMem_Malloc((size_t)(n > 0 ? n : 1) * sizeof(char *));
    if (r->choices[i] == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t k = 0; k < n; k++) {
        r->choices[i][k] = PyUnicode_AsUTF8AndSize(PyTuple_GetItem(choices, k), NULL);
        if (r->choices[i][k] == NULL) {
            return -1;
        }
    }
    r->column[i].choices = r->choices[i];
    r->column[i].n_choices = (size_t)n;
    return 0;
}

/* columns: tuple of (name, kind, optional, low, high, open_low, infinity, choices or None). */
static int
take_columns(request *r, PyObject *columns)
{
    if (!PyTuple_Check(columns) || PyTuple_Size(columns) > MAX_COLUMNS) {
        PyErr_Format(PyExc_TypeError, "columns: expected a tuple of at most %d columns",
                     MAX_COLUMNS);
        return -1;
    }
    const size_t n = (size_t)PyTuple_Size(columns);
    for (r->n = 0; r->n < n; r->n++) {
        int kind = 0;
        int optional = 0;
        int open_low = 0;
        int infinity = 0;
        PyObject *choices = NULL;
        dns_csv_column *c = &r->column[r->n];
        if (!PyArg_ParseTuple(PyTuple_GetItem(columns, (Py_ssize_t)r->n), "sipddppO", &c->name,
                              &kind, &optional, &c->low, &c->high, &open_low, &infinity,
                              &choices)) {
            return -1;
        }
        if (kind < 0 || kind >= DNS_CSV_N_KINDS) {
            PyErr_Format(PyExc_ValueError, "kind: expected 0 to %d, got %d", DNS_CSV_N_KINDS - 1,
                         kind);
            return -1;
        }
        c->kind = (dns_csv_kind)kind;
        c->optional = optional != 0;
        c->open_low = open_low != 0;
        c->infinity = infinity != 0;
        if (take_choices(r, r->n, choices) < 0) {
            r->n++;
            return -1;
        }
    }
    return 0;
}

/* Arrays for the columns that are there, and the array of line numbers. */
static PyObject *
make_outputs(request *r, npy_intp rows)
{
    const int typenum[DNS_CSV_N_KINDS] = {NPY_DOUBLE, NPY_INT64, NPY_INT64, NPY_INT32};
    for (size_t i = 0; i < r->n; i++) {
        if (r->column[i].field >= 0) {
            r->out[i] = PyArray_SimpleNew(1, &rows, typenum[r->column[i].kind]);
            if (r->out[i] == NULL) {
                return NULL;
            }
            r->column[i].out = PyArray_DATA((PyArrayObject *)r->out[i]);
        }
    }
    return PyArray_SimpleNew(1, &rows, NPY_INT64);
}

static PyObject *
read_into(PyObject *module, request *r, const Py_buffer *text)
{
    dns_error err = {0};
    dns_csv_shape shape;
    dns_status status = dns_csv_scan(text->buf, (size_t)text->len, r->column, r->n, &shape, &err);
    if (status != DNS_OK) {
        return dnspy_raise(STATE(module), status, &err);
    }
    PyObject *lines = make_outputs(r, (npy_intp)shape.n_rows);
    if (lines == NULL) {
        return NULL;
    }
    int64_t *line = PyArray_DATA((PyArrayObject *)lines);
    Py_BEGIN_ALLOW_THREADS;
    status = dns_csv_read(text->buf, (size_t)text->len, r->column, r->n, &shape, line, &err);
    Py_END_ALLOW_THREADS;
    PyObject *arrays =
        status == DNS_OK ? PyTuple_New((Py_ssize_t)r->n) : dnspy_raise(STATE(module), status, &err);
    for (size_t i = 0; arrays != NULL && i < r->n; i++) {
        PyObject *array = r->out[i] == NULL ? Py_None : r->out[i];
        Py_INCREF(array);
        (void)PyTuple_SetItem(arrays, (Py_ssize_t)i, array);
    }
    PyObject *result = arrays == NULL ? NULL : PyTuple_Pack(2, arrays, lines);
    Py_XDECREF(arrays);
    Py_DECREF(lines);
    return result;
}

PyDoc_STRVAR(csv_read_doc,
             "csv_read(text, columns, /)\n--\n\n"
             "((array or None, ...), int64[rows] line numbers) from CSV bytes. A column "
             "is (name, kind, optional, low,\n"
             "high, open_low, infinity, choices): kind 0 float64, 1 int64, 2 time as "
             "int64 ns since 1970, 3 int32\n"
             "position in the tuple choices. FormatError names line and column.");

static PyObject *
csv_read(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (dnspy_nargs("csv_read", nargs, 2, 2) < 0) {
        return NULL;
    }
    Py_buffer text;
    if (PyObject_GetBuffer(args[0], &text, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    request r = {.n = 0};
    PyObject *result = take_columns(&r, args[1]) < 0 ? NULL : read_into(module, &r, &text);
    request_clear(&r);
    PyBuffer_Release(&text);
    return result;
}

/* Text that grows. `json`: one object per row, texts are JSON already. */
typedef struct writer {
    char *text;
    size_t size;
    size_t room;
    bool json;
} writer;

static int
put(writer *w, const char *text, size_t size)
{
    if (size == 0) {
        return 0;
    }
    if (w->room - w->size < size) {
        const size_t room = 2 * w->room + size + 4096;
        if (!dns_mem_grow(NULL, (void **)&w->text, w->room, room, 1)) {
            PyErr_NoMemory();
            return -1;
        }
        w->room = room;
    }
    memcpy(w->text + w->size, text, size);
    w->size += size;
    return 0;
}

static int
put_missing(writer *w)
{
    return w->json ? put(w, "null", 4) : 0;
}

/* A string as a field: quoted if it has to be. */
static int
put_string(writer *w, PyObject *string)
{
    Py_ssize_t size = 0;
    const char *text = PyUnicode_AsUTF8AndSize(string, &size);
    if (text == NULL) {
        return -1;
    }
    if (w->json) {
        return put(w, text, (size_t)size);
    }
    if (strpbrk(text, ",\"\r\n ") == NULL && (size_t)size == strlen(text)) {
        return put(w, text, (size_t)size);
    }
    if (strpbrk(text, "\r\n") != NULL || (size_t)size != strlen(text)) {
        PyErr_Format(PyExc_ValueError, "text: expected no line ends and no NUL in a field, got %R",
                     string);
        return -1;
    }
    int failed = put(w, "\"", 1);
    for (const char *c = text; *c != '\0' && !failed; c++) {
        failed = put(w, *c == '"' ? "\"\"" : c, *c == '"' ? 2 : 1);
    }
    return failed ? -1 : put(w, "\"", 1);
}

/* NaN is a missing value; JSON has no infinity either. */
static int
put_double(writer *w, double value)
{
    if (isnan(value) || (w->json && isinf(value))) {
        return put_missing(w);
    }
    char *text = PyOS_double_to_string(value, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    if (text == NULL) {
        return -1;
    }
    const int failed = put(w, text, strlen(text));
    PyMem_Free(text);
    return failed;
}

static int
put_integer(writer *w, long long value)
{
    char text[24];
    const int n = PyOS_snprintf(text, sizeof text, "%lld", value);
    return put(w, text, (size_t)n);
}

/* Row `row` of a column: an array, (int32 array, tuple of strings), or (integer array, None). */
static int
put_cell(writer *w, PyArrayObject *array, PyObject *names, npy_intp row)
{
    const void *data = PyArray_DATA(array);
    if (PyArray_TYPE(array) == NPY_DOUBLE) {
        return put_double(w, ((const double *)data)[row]);
    }
    const long long value = PyArray_ITEMSIZE(array) == 4 ? (long long)((const int32_t *)data)[row]
                                                         : (long long)((const int64_t *)data)[row];
    if (names != NULL && value == -1) {
        return put_missing(w);
    }
    if (names == NULL || names == Py_None) {
        return put_integer(w, value);
    }
    PyObject *name = PyTuple_GetItem(names, (Py_ssize_t)value);
    return name == NULL ? -1 : put_string(w, name);
}

static int
take_written(PyObject *columns, Py_ssize_t i, npy_intp *rows, PyArrayObject **array,
             PyObject **names)
{
    PyObject *item = PyTuple_GetItem(columns, i);
    *names = NULL;
    if (PyTuple_Check(item)) {
        *names = PyTuple_Size(item) == 2 ? PyTuple_GetItem(item, 1) : NULL;
        if (*names == NULL || (!PyTuple_Check(*names) && *names != Py_None)) {
            PyErr_SetString(PyExc_TypeError, "columns: expected arrays, (int32 array, tuple of "
                                             "strings) or (integer array, None)");
            return -1;
        }
        item = PyTuple_GetItem(item, 0);
    }
    const bool coded = *names != NULL && *names != Py_None;
    const int typenum = coded || !PyArray_Check(item)                       ? NPY_INT32
                        : PyArray_TYPE((PyArrayObject *)item) == NPY_DOUBLE ? NPY_DOUBLE
                        : PyArray_ITEMSIZE((PyArrayObject *)item) == 8      ? NPY_INT64
                                                                            : NPY_INT32;
    *array = dnspy_want_shape(item, "columns", typenum, 1, rows, DNSPY_IN);
    if (*array == NULL) {
        return -1;
    }
    *rows = PyArray_DIM(*array, 0);
    return 0;
}

PyDoc_STRVAR(
    csv_write_doc,
    "csv_write(header, columns, /)\n--\n\n"
    "bytes of a CSV file: header is a tuple of names, columns a tuple of arrays (float64 written "
    "so\n"
    "that they read back exactly, NaN as nothing; int32, int64), (int32 array, tuple of strings) "
    "pairs,\nor (integer array, None) pairs; in a pair -1 is written as nothing.");

PyDoc_STRVAR(jsonl_write_doc,
             "jsonl_write(before, columns, /)\n--\n\n"
             "bytes of a JSON Lines file: columns as csv_write takes them, their strings as JSON; "
             "before is the\n"
             "text before each of a row's values. NaN, infinity and, in a pair, -1 are null.");

static int
write_rows(writer *w, PyObject *header, size_t n, npy_intp rows, PyArrayObject **array,
           PyObject **names)
{
    const char *last = w->json ? "}\n" : "\n";
    for (npy_intp row = 0; row < rows; row++) {
        for (size_t i = 0; i < n; i++) {
            const char *after = i + 1 < n ? "," : last;
            if ((w->json && put_string(w, PyTuple_GetItem(header, (Py_ssize_t)i)) < 0) ||
                put_cell(w, array[i], names[i], row) < 0 || put(w, after, strlen(after)) < 0) {
                return -1;
            }
        }
        if ((row & 0xFFFF) == 0xFFFF && PyErr_CheckSignals() < 0) {
            return -1;
        }
    }
    return 0;
}

static PyObject *
write_text(const char *function, bool json, PyObject *const *args, Py_ssize_t nargs)
{
    PyArrayObject *array[MAX_COLUMNS];
    PyObject *names[MAX_COLUMNS];
    npy_intp rows = -1;
    if (dnspy_nargs(function, nargs, 2, 2) < 0) {
        return NULL;
    }
    const Py_ssize_t n = PyTuple_Check(args[0]) ? PyTuple_Size(args[0]) : 0;
    if (n < 1 || n > MAX_COLUMNS || !PyTuple_Check(args[1]) || PyTuple_Size(args[1]) != n) {
        return PyErr_Format(PyExc_ValueError,
                            "columns: expected as many as names in header, 1 to %d", MAX_COLUMNS);
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        if (take_written(args[1], i, &rows, &array[i], &names[i]) < 0) {
            return NULL;
        }
    }
    writer w = {.json = json};
    int failed = 0;
    for (Py_ssize_t i = 0; i < n && !json && !failed; i++) {
        failed = put_string(&w, PyTuple_GetItem(args[0], i)) < 0 ||
                 put(&w, i + 1 < n ? "," : "\n", 1) < 0;
    }
    failed = failed || write_rows(&w, args[0], (size_t)n, rows, array, names) < 0;
    PyObject *out = failed ? NULL : PyBytes_FromStringAndSize(w.text, (Py_ssize_t)w.size);
    dns_mem_free(NULL, w.text, w.room, 1);
    return out;
}

static PyObject *
csv_write(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    return write_text("csv_write", false, args, nargs);
}

static PyObject *
jsonl_write(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    return write_text("jsonl_write", true, args, nargs);
}

PyMethodDef base_csv_methods[] = {
    DNSPY_FAST(csv_read),
    DNSPY_FAST(csv_write),
    DNSPY_FAST(jsonl_write),
    {NULL, NULL, 0, NULL},
};
