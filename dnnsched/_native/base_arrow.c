/* Tables through the Arrow C data interface, without Arrow.
 *
 * The interface is three structures of plain C (Apache Arrow, "The Arrow C data interface" and "The
 * Arrow C stream interface"): a schema says names and types, an array holds the buffers, a stream
 * gives a schema and then arrays. Python passes them in capsules ("The Arrow PyCapsule interface").
 * Whoever receives a structure calls its `release` once, from any thread, at any time.
 *
 * Therefore nothing here refers to Python objects once it is made: columns are copied into one
 * block per array (64-byte aligned, with its size in front), and releasing frees that block. A
 * stream gives one record batch. Types: float64 "g", int64 "l", int32 "i", bool "b" (bits), text
 * "u" or dictionary-encoded (int32 "i" with a "u" dictionary). Missing values: NaN, or an integer
 * below 0, where the column is nullable; they become zeros of the validity bitmap.
 */
#include <errno.h>
#include <math.h>

#include "base_parts.h"

#include "dns/mem.h"

struct ArrowSchema {
    const char *format, *name, *metadata;
    int64_t flags, n_children;
    struct ArrowSchema **children, *dictionary;
    void (*release)(struct ArrowSchema *);
    void *private_data;
};

struct ArrowArray {
    int64_t length, null_count, offset, n_buffers, n_children;
    const void **buffers;
    struct ArrowArray **children, *dictionary;
    void (*release)(struct ArrowArray *);
    void *private_data;
};

struct ArrowArrayStream {
    int (*get_schema)(struct ArrowArrayStream *, struct ArrowSchema *);
    int (*get_next)(struct ArrowArrayStream *, struct ArrowArray *);
    const char *(*get_last_error)(struct ArrowArrayStream *);
    void (*release)(struct ArrowArrayStream *);
    void *private_data;
};

enum { FLAG_NULLABLE = 2, ALIGN = 64, N_BUFFERS = 3 };

typedef struct column {
    PyObject *name;       /* borrowed, while the table is made */
    PyArrayObject *array; /* borrowed, likewise */
    PyObject *texts;      /* tuple of str or NULL, likewise */
    size_t name_at;       /* of the kept copy in table.text */
    const char *format;   /* a literal; of the indices, if coded */
    bool nullable, coded; /* coded: dictionary-encoded text */
} column;

/* What a stream gives. */
typedef struct table {
    struct ArrowArray batch;
    char *text; /* metadata, then the names */
    size_t n_text, n_metadata;
    Py_ssize_t n;
    column columns[];
} table;

/* ---------------------------------------------------------------- blocks */

/* A zeroed block that knows its size; the header keeps what follows aligned. */
static void *
block_new(size_t bytes)
{
    size_t whole = 0;
    char *p = dns_add_size(bytes, ALIGN, &whole) ? dns_mem_zero(NULL, whole, 1) : NULL;
    if (p != NULL) {
        memcpy(p, &whole, sizeof whole);
    }
    return p == NULL ? NULL : p + ALIGN;
}

static void
block_free(void *block)
{
    if (block != NULL) {
        char *p = (char *)block - ALIGN;
        size_t whole = 0;
        memcpy(&whole, p, sizeof whole);
        dns_mem_free(NULL, p, whole, 1);
    }
}

static size_t
padded(size_t bytes)
{
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

/* ---------------------------------------------------------------- schemas */

static void
schema_release(struct ArrowSchema *s)
{
    for (int64_t i = 0; i < s->n_children; i++) {
        if (s->children[i]->release != NULL) {
            s->children[i]->release(s->children[i]);
        }
    }
    if (s->dictionary != NULL && s->dictionary->release != NULL) {
        s->dictionary->release(s->dictionary);
    }
    block_free(s->private_data);
    s->release = NULL;
}

/* One schema with its name, metadata and room for its children; false: no memory. */
static bool
schema_new(struct ArrowSchema *out, const char *format, const char *name, const char *metadata,
           size_t n_metadata, int64_t n_children, bool dictionary)
{
    const size_t kids = (size_t)n_children + dictionary, n_name = strlen(name) + 1;
    const size_t pointers = (size_t)n_children * sizeof(struct ArrowSchema *);
    const size_t structs = kids * sizeof(struct ArrowSchema);
    char *p = block_new(pointers + structs + n_metadata + n_name);
    if (p == NULL) {
        return false;
    }
    struct ArrowSchema **children = (void *)p;
    struct ArrowSchema *kid = (void *)(p + pointers);
    char *text = p + pointers + structs;
    if (n_metadata > 0) {
        memcpy(text, metadata, n_metadata);
    }
    memcpy(text + n_metadata, name, n_name);
    *out = (struct ArrowSchema){
        .format = format,
        .name = text + n_metadata,
        .metadata = n_metadata > 0 ? text : NULL,
        .n_children = n_children,
        .children = children,
        .dictionary = dictionary ? kid + n_children : NULL,
        .release = schema_release,
        .private_data = p,
    };
    for (int64_t i = 0; i < n_children; i++) {
        children[i] = kid + i;
    }
    return true;
}

/* The schema of the whole table. A failure releases what there was. */
static bool
schema_of(const table *t, struct ArrowSchema *out)
{
    if (!schema_new(out, "+s", "", t->text, t->n_metadata, t->n, false)) {
        return false;
    }
    for (Py_ssize_t i = 0; i < t->n; i++) {
        const column *c = &t->columns[i];
        struct ArrowSchema *kid = out->children[i];
        bool ok = schema_new(kid, c->format, t->text + c->name_at, NULL, 0, 0, c->coded);
        if (ok) {
            kid->flags = c->nullable ? FLAG_NULLABLE : 0;
            ok = !c->coded || schema_new(kid->dictionary, "u", "", NULL, 0, 0, false);
        }
        if (!ok) {
            out->release(out);
            return false;
        }
    }
    return true;
}

/* ---------------------------------------------------------------- arrays */

static void
array_release(struct ArrowArray *a)
{
    for (int64_t i = 0; i < a->n_children; i++) {
        if (a->children[i]->release != NULL) {
            a->children[i]->release(a->children[i]);
        }
    }
    if (a->dictionary != NULL && a->dictionary->release != NULL) {
        a->dictionary->release(a->dictionary);
    }
    block_free(a->private_data);
    a->release = NULL;
}

/* An array with buffers of the given sizes (0: none) and room for its children; false: no memory.
 */
static bool
array_new(struct ArrowArray *out, int64_t length, int64_t n_buffers, const size_t *bytes,
          int64_t n_children, bool dictionary)
{
    const size_t kids = (size_t)n_children + dictionary;
    size_t at = padded(N_BUFFERS * sizeof(void *) + (size_t)n_children * sizeof(void *) +
                       kids * sizeof(struct ArrowArray));
    size_t place[N_BUFFERS] = {0}, whole = at;
    for (int64_t i = 0; i < n_buffers; i++) {
        place[i] = whole;
        if (!dns_add_size(whole, padded(bytes[i]), &whole)) {
            return false;
        }
    }
    char *p = block_new(whole);
    if (p == NULL) {
        return false;
    }
    const void **buffers = (void *)p;
    struct ArrowArray **children = (void *)(p + N_BUFFERS * sizeof(void *));
    struct ArrowArray *kid = (void *)(children + n_children);
    for (int64_t i = 0; i < n_buffers; i++) {
        buffers[i] = bytes[i] > 0 ? p + place[i] : NULL;
    }
    for (int64_t i = 0; i < n_children; i++) {
        children[i] = kid + i;
    }
    *out = (struct ArrowArray){
        .length = length,
        .n_buffers = n_buffers,
        .n_children = n_children,
        .buffers = buffers,
        .children = children,
        .dictionary = dictionary ? kid + n_children : NULL,
        .release = array_release,
        .private_data = p,
    };
    return true;
}

/* Buffers are this file's own until the array is handed out. */
static void *
writable(const struct ArrowArray *a, int i)
{
    return (void *)(uintptr_t)a->buffers[i];
}

static size_t
item_size(const char *format)
{
    return *format == 'g' || *format == 'l' ? 8 : 4;
}

/* Is row i missing? */
static bool
missing(const column *c, const void *data, int64_t i)
{
    switch (*c->format) {
    case 'g':
        return isnan(((const double *)data)[i]);
    case 'l':
        return ((const int64_t *)data)[i] < 0;
    case 'b':
        return false;
    default: /* int32 values or codes */
        return ((const int32_t *)data)[i] < 0;
    }
}

/* Validity bits of n rows; returns how many are missing. */
static int64_t
fill_validity(const column *c, const void *data, int64_t n, uint8_t *bits)
{
    int64_t gone = 0;
    for (int64_t i = 0; i < n; i++) {
        const bool none = missing(c, data, i);
        gone += none;
        bits[i / 8] = (uint8_t)(bits[i / 8] | (unsigned)!none << (i % 8));
    }
    return gone;
}

/* UTF-8 of texts[codes[i]] (codes NULL: texts[i]) with its offsets: sizes first, then, with `text`,
 * the bytes. Returns the number of bytes, -1 with an exception. */
static Py_ssize_t
join_texts(PyObject *texts, const int32_t *codes, int64_t n, int32_t *offsets, char *text)
{
    Py_ssize_t total = 0;
    for (int64_t i = 0; i < n; i++) {
        const int64_t code = codes == NULL ? i : codes[i];
        Py_ssize_t size = 0;
        const char *s = NULL;
        if (code >= 0) {
            PyObject *string = PyTuple_GetItem(texts, (Py_ssize_t)code);
            s = string == NULL ? NULL : PyUnicode_AsUTF8AndSize(string, &size);
            if (s == NULL) {
                return -1;
            }
        }
        if (text != NULL && size > 0) {
            memcpy(text + total, s, (size_t)size);
        }
        total += size;
        if (total > INT32_MAX) {
            PyErr_SetString(PyExc_OverflowError, "columns: texts of more than 2 GiB");
            return -1;
        }
        if (offsets != NULL) {
            offsets[i + 1] = (int32_t)total;
        }
    }
    return total;
}

/* Text array of n rows; validity if the column may miss values. 0, or -1 with an exception. */
static int
make_texts(struct ArrowArray *out, const column *c, const int32_t *codes, int64_t n)
{
    const Py_ssize_t total = join_texts(c->texts, codes, n, NULL, NULL);
    if (total < 0) {
        return -1;
    }
    const bool gaps = codes != NULL && c->nullable;
    const size_t bytes[] = {gaps ? (size_t)(n + 7) / 8 : 0, (size_t)(n + 1) * 4, (size_t)total + 1};
    if (!array_new(out, n, 3, bytes, 0, false)) {
        (void)PyErr_NoMemory();
        return -1;
    }
    if (gaps && n > 0) {
        out->null_count = fill_validity(c, codes, n, writable(out, 0));
    }
    (void)join_texts(c->texts, codes, n, writable(out, 1), writable(out, 2));
    return 0;
}

/* Numbers, codes or bits of a column. 0, or -1 with an exception. */
static int
make_values(struct ArrowArray *out, const column *c, int64_t n)
{
    const void *data = PyArray_DATA(c->array);
    const bool bits = *c->format == 'b';
    const size_t packed = (size_t)(n + 7) / 8;
    const size_t bytes[] = {c->nullable && !bits ? packed : 0,
                            bits ? packed + 1 : (size_t)n * item_size(c->format) + 1};
    if (!array_new(out, n, 2, bytes, 0, c->coded)) {
        (void)PyErr_NoMemory();
        return -1;
    }
    uint8_t *values = writable(out, 1);
    Py_BEGIN_ALLOW_THREADS;
    if (out->buffers[0] != NULL) {
        out->null_count = fill_validity(c, data, n, writable(out, 0));
    }
    if (bits) {
        for (int64_t i = 0; i < n; i++) {
            const unsigned bit = ((const uint8_t *)data)[i] != 0;
            values[i / 8] = (uint8_t)(values[i / 8] | bit << (i % 8));
        }
    }
    else if (n > 0) {
        memcpy(values, data, (size_t)n * item_size(c->format));
    }
    Py_END_ALLOW_THREADS;
    if (!c->coded) {
        return 0;
    }
    return make_texts(out->dictionary, c, NULL, PyTuple_Size(c->texts));
}

/* The one batch of the table. 0, or -1 with an exception. */
static int
make_batch(table *t, int64_t rows)
{
    const size_t none[] = {0};
    if (!array_new(&t->batch, rows, 1, none, t->n, false)) {
        (void)PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < t->n; i++) {
        const column *c = &t->columns[i];
        const int failed = *c->format == 'u'
                               ? make_texts(t->batch.children[i], c, PyArray_DATA(c->array), rows)
                               : make_values(t->batch.children[i], c, rows);
        if (failed) {
            return -1;
        }
    }
    return 0;
}

/* ---------------------------------------------------------------- tables from Python */

static void
table_free(table *t)
{
    if (t != NULL) {
        if (t->batch.release != NULL) {
            t->batch.release(&t->batch);
        }
        block_free(t->text);
        block_free(t);
    }
}

/* Column i: an array, or (int32 codes, tuple of str). 0, or -1 with an exception. */
static int
take_column(column *c, PyObject *name, PyObject *item, PyObject *nullable, npy_intp *rows)
{
    const int may = PyObject_IsTrue(nullable);
    if (PyTuple_Check(item) && PyTuple_Size(item) == 2) {
        c->texts = PyTuple_GetItem(item, 1);
        item = PyTuple_GetItem(item, 0);
    }
    if (may < 0 || !PyUnicode_Check(name) || !PyArray_Check(item) ||
        (c->texts != NULL && !PyTuple_Check(c->texts))) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(
                PyExc_TypeError,
                "columns: expected names and arrays or (int32 array, tuple of strings)");
        }
        return -1;
    }
    const int given = PyArray_TYPE((PyArrayObject *)item);
    const int type = c->texts != NULL                               ? NPY_INT32
                     : given == NPY_DOUBLE || given == NPY_BOOL     ? given
                     : PyArray_ITEMSIZE((PyArrayObject *)item) == 8 ? NPY_INT64
                                                                    : NPY_INT32;
    c->array = dnspy_want_shape(item, "columns", type, 1, rows, DNSPY_IN);
    if (c->array == NULL) {
        return -1;
    }
    *rows = PyArray_DIM(c->array, 0);
    c->name = name;
    c->nullable = may;
    c->coded = c->texts != NULL;
    c->format = type == NPY_DOUBLE ? "g" : type == NPY_INT64 ? "l" : type == NPY_BOOL ? "b" : "i";
    for (npy_intp i = 0; c->coded && i < *rows; i++) {
        const int32_t code = ((const int32_t *)PyArray_DATA(c->array))[i];
        if (code >= PyTuple_Size(c->texts) || (code < 0 && !c->nullable)) {
            PyErr_Format(PyExc_ValueError, "columns: %U: row %zd: no text %d", name, (Py_ssize_t)i,
                         (int)code);
            return -1;
        }
    }
    return 0;
}

/* Copies metadata and names into t->text. */
static int
keep_text(table *t, PyObject *metadata)
{
    char *bytes = NULL;
    Py_ssize_t size = 0;
    if (PyBytes_AsStringAndSize(metadata, &bytes, &size) < 0) {
        return -1;
    }
    size_t whole = (size_t)size;
    for (Py_ssize_t i = 0; i < t->n; i++) {
        Py_ssize_t n = 0;
        if (PyUnicode_AsUTF8AndSize(t->columns[i].name, &n) == NULL) {
            return -1;
        }
        t->columns[i].name_at = whole;
        whole += (size_t)n + 1;
    }
    t->text = block_new(whole);
    if (t->text == NULL) {
        (void)PyErr_NoMemory();
        return -1;
    }
    t->n_metadata = (size_t)size;
    memcpy(t->text, bytes, (size_t)size);
    for (Py_ssize_t i = 0; i < t->n; i++) {
        const char *name = PyUnicode_AsUTF8AndSize(t->columns[i].name, NULL);
        memcpy(t->text + t->columns[i].name_at, name, strlen(name) + 1);
    }
    return 0;
}

/* args: names, columns, nullable (tuples of one length), metadata (bytes). NULL with an exception.
 */
static table *
take_table(PyObject *const *args, npy_intp *rows)
{
    const bool tuples = PyTuple_Check(args[0]) && PyTuple_Check(args[1]) && PyTuple_Check(args[2]);
    const Py_ssize_t n = tuples ? PyTuple_Size(args[0]) : 0;
    if (!tuples || PyTuple_Size(args[1]) != n || PyTuple_Size(args[2]) != n) {
        PyErr_SetString(PyExc_TypeError, "names, columns, nullable: expected tuples of one length");
        return NULL;
    }
    table *t = block_new(sizeof *t + (size_t)n * sizeof(column));
    if (t == NULL) {
        (void)PyErr_NoMemory();
        return NULL;
    }
    t->n = n;
    *rows = -1;
    int failed = 0;
    for (Py_ssize_t i = 0; i < n && !failed; i++) {
        failed = take_column(&t->columns[i], PyTuple_GetItem(args[0], i),
                             PyTuple_GetItem(args[1], i), PyTuple_GetItem(args[2], i), rows);
    }
    *rows = *rows < 0 ? 0 : *rows;
    if (failed || keep_text(t, args[3]) < 0) {
        table_free(t);
        return NULL;
    }
    return t;
}

/* ---------------------------------------------------------------- streams and capsules */

static int
stream_schema(struct ArrowArrayStream *s, struct ArrowSchema *out)
{
    return schema_of(s->private_data, out) ? 0 : ENOMEM;
}

static int
stream_next(struct ArrowArrayStream *s, struct ArrowArray *out)
{
    table *t = s->private_data;
    *out = t->batch; /* empty the second time: the end */
    memset(&t->batch, 0, sizeof t->batch);
    return 0;
}

static const char *
stream_error(struct ArrowArrayStream *Py_UNUSED(s))
{
    return "out of memory";
}

static void
stream_release(struct ArrowArrayStream *s)
{
    table_free(s->private_data);
    s->release = NULL;
}

static void
free_schema_capsule(PyObject *capsule)
{
    struct ArrowSchema *s = PyCapsule_GetPointer(capsule, "arrow_schema");
    if (s->release != NULL) {
        s->release(s);
    }
    PyMem_Free(s);
}

static void
free_stream_capsule(PyObject *capsule)
{
    struct ArrowArrayStream *s = PyCapsule_GetPointer(capsule, "arrow_array_stream");
    if (s->release != NULL) {
        s->release(s);
    }
    PyMem_Free(s);
}

/* Text columns that the consumer asks for as plain text are given so; other wishes are its to cast.
 */
static int
take_request(table *t, PyObject *capsule)
{
    if (capsule == Py_None) {
        return 0;
    }
    if (!PyCapsule_IsValid(capsule, "arrow_schema")) {
        PyErr_SetString(PyExc_TypeError, "requested_schema: expected an arrow_schema capsule");
        return -1;
    }
    const struct ArrowSchema *asked = PyCapsule_GetPointer(capsule, "arrow_schema");
    for (int64_t k = 0; k < asked->n_children; k++) {
        const struct ArrowSchema *kid = asked->children[k];
        for (Py_ssize_t i = 0; i < t->n && kid->name != NULL; i++) {
            column *c = &t->columns[i];
            if (c->coded && kid->dictionary == NULL && strcmp(kid->format, "u") == 0 &&
                strcmp(kid->name, t->text + c->name_at) == 0) {
                c->coded = false;
                c->format = "u";
            }
        }
    }
    return 0;
}

PyDoc_STRVAR(arrow_schema_doc,
             "arrow_schema(names, columns, nullable, metadata, /)\n--\n\n"
             "Capsule \"arrow_schema\" of a table, as arrow_stream would give it.");

static PyObject *
arrow_schema(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    npy_intp rows = 0;
    table *t = dnspy_nargs("arrow_schema", nargs, 4, 4) < 0 ? NULL : take_table(args, &rows);
    if (t == NULL) {
        return NULL;
    }
    struct ArrowSchema *s = PyMem_Calloc(1, sizeof *s);
    PyObject *capsule = s == NULL || !schema_of(t, s)
                            ? PyErr_NoMemory()
                            : PyCapsule_New(s, "arrow_schema", free_schema_capsule);
    if (capsule == NULL && s != NULL) {
        if (s->release != NULL) {
            s->release(s);
        }
        PyMem_Free(s);
    }
    table_free(t);
    return capsule;
}

PyDoc_STRVAR(
    arrow_stream_doc,
    "arrow_stream(names, columns, nullable, metadata, requested_schema, /)\n--\n\n"
    "Capsule \"arrow_array_stream\" with one record batch: a copy of the columns (float64, int64,\n"
    "int32, bool arrays, or (int32 codes, tuple of str)). Missing where nullable: NaN, below 0.\n"
    "metadata: bytes in the interface's key-value form. requested_schema: a capsule or None.");

static PyObject *
arrow_stream(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    npy_intp rows = 0;
    table *t = dnspy_nargs("arrow_stream", nargs, 5, 5) < 0 ? NULL : take_table(args, &rows);
    if (t == NULL) {
        return NULL;
    }
    if (take_request(t, args[4]) < 0 || make_batch(t, rows) < 0) {
        table_free(t);
        return NULL;
    }
    struct ArrowArrayStream *s = PyMem_Calloc(1, sizeof *s);
    if (s == NULL) {
        table_free(t);
        return PyErr_NoMemory();
    }
    *s = (struct ArrowArrayStream){stream_schema, stream_next, stream_error, stream_release, t};
    PyObject *capsule = PyCapsule_New(s, "arrow_array_stream", free_stream_capsule);
    if (capsule == NULL) {
        stream_release(s);
        PyMem_Free(s);
    }
    return capsule;
}

PyMethodDef base_arrow_methods[] = {
    DNSPY_FAST(arrow_schema),
    DNSPY_FAST(arrow_stream),
    {NULL, NULL, 0, NULL},
};
