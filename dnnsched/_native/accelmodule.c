/* Binding of csrc/accel: cost models. Arrays come checked and shaped from dnnsched.accel. */
#include "dnspy.h"

#include "dns/accel_eyeriss2.h"
#include "dns/accel_sanger.h"
#include "dns/mem.h"

#include <string.h>

#define SIZE(array) ((size_t)PyArray_SIZE(array))
#define DIM(array, axis) ((size_t)PyArray_DIM(array, axis))
#define MAP_FIELDS ((npy_intp)(sizeof(dns_eyeriss2_map) / sizeof(int64_t)))
#define COST_FIELDS ((npy_intp)(sizeof(dns_cost) / sizeof(double)))

static PyObject *
raise_status(PyObject *module, dns_status status, const dns_error *err)
{
    return dnspy_raise(PyModule_GetState(module), status, err);
}

/* Integer argument in [low, high]; 0 or -1 with an exception naming it. */
static int
int_arg(PyObject *arg, const char *name, int64_t low, int64_t high, int64_t *out)
{
    const long long value = PyLong_AsLongLong(arg);
    if (value == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (value < low || value > high) {
        PyErr_Format(PyExc_ValueError, "%s: expected an integer in [%lld, %lld], got %lld", name,
                     (long long)low, (long long)high, value);
        return -1;
    }
    *out = value;
    return 0;
}

/* Map from an int64 array in the order of dns_eyeriss2_map's fields, extents >= 1. */
static int
map_arg(PyObject *arg, dns_eyeriss2_map *map)
{
    const npy_intp n = MAP_FIELDS;
    PyArrayObject *a = dnspy_want_shape(arg, "map", NPY_INT64, 1, &n, DNSPY_IN);
    if (a == NULL) {
        return -1;
    }
    const int64_t *fields = PyArray_DATA(a);
    for (npy_intp i = 0; i < n; i++) {
        if (fields[i] < 1) {
            PyErr_Format(PyExc_ValueError, "map: expected integers >= 1, got %lld at index %zd",
                         (long long)fields[i], (Py_ssize_t)i);
            return -1;
        }
    }
    memcpy(map, fields, sizeof *map);
    return 0;
}

PyDoc_STRVAR(eyeriss2_map_doc,
             "eyeriss2_map(compat, glb_bytes, layer, out, /)\n--\n\n"
             "Maps a layer, int64 (9,), into the fields of dns_eyeriss2_map, int64 (15,).");

static PyObject *
eyeriss2_map(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    int64_t compat = 0;
    int64_t glb_bytes = 0;
    if (dnspy_nargs("eyeriss2_map", nargs, 4, 4) < 0 ||
        int_arg(args[0], "compat", 0, 1, &compat) < 0 ||
        int_arg(args[1], "iact_glb_bytes", 1, INT32_MAX, &glb_bytes) < 0) {
        return NULL;
    }
    const npy_intp in = sizeof(dns_eyeriss2_layer) / sizeof(int64_t);
    const npy_intp to = MAP_FIELDS;
    PyArrayObject *layer = dnspy_want_shape(args[2], "layer", NPY_INT64, 1, &in, DNSPY_IN);
    PyArrayObject *out =
        layer == NULL ? NULL : dnspy_want_shape(args[3], "out", NPY_INT64, 1, &to, DNSPY_OUT);
    if (out == NULL) {
        return NULL;
    }
    dns_eyeriss2_layer l;
    dns_eyeriss2_map map;
    dns_error err;
    memcpy(&l, PyArray_DATA(layer), sizeof l);
    const dns_status status = dns_eyeriss2_make_map((dns_compat)compat, glb_bytes, &l, &map, &err);
    if (status != DNS_OK) {
        return raise_status(module, status, &err);
    }
    memcpy(PyArray_DATA(out), &map, sizeof map);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(eyeriss2_row_visits_doc,
             "eyeriss2_row_visits(map, any, out, /)\n--\n\n"
             "Z of the public code from row flags bool (S, C, H) into uint64 (S,).");

static PyObject *
eyeriss2_row_visits(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    dns_eyeriss2_map map;
    if (dnspy_nargs("eyeriss2_row_visits", nargs, 3, 3) < 0 || map_arg(args[0], &map) < 0) {
        return NULL;
    }
    PyArrayObject *any = dnspy_want(args[1], "any", NPY_BOOL, 3, DNSPY_IN);
    PyArrayObject *out =
        any == NULL ? NULL
                    : dnspy_want_shape(args[2], "out", NPY_UINT64, 1, PyArray_DIMS(any), DNSPY_OUT);
    if (out == NULL || dnspy_no_overlap(out, "out", any, "any") < 0) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS;
    dns_eyeriss2_row_visits(&map, DIM(any, 0), DIM(any, 1), DIM(any, 2), PyArray_DATA(any),
                            PyArray_DATA(out));
    Py_END_ALLOW_THREADS;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(eyeriss2_cycles_doc, "eyeriss2_cycles(map, macs, z, out, /)\n--\n\n"
                                  "Cycles of uint64 counts (S,) into uint64 (S,).");

static PyObject *
eyeriss2_cycles(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    dns_eyeriss2_map map;
    if (dnspy_nargs("eyeriss2_cycles", nargs, 4, 4) < 0 || map_arg(args[0], &map) < 0) {
        return NULL;
    }
    PyArrayObject *macs = dnspy_want(args[1], "macs", NPY_UINT64, 1, DNSPY_IN);
    if (macs == NULL) {
        return NULL;
    }
    PyArrayObject *z = dnspy_want_shape(args[2], "z", NPY_UINT64, 1, PyArray_DIMS(macs), DNSPY_IN);
    PyArrayObject *out =
        z == NULL ? NULL
                  : dnspy_want_shape(args[3], "out", NPY_UINT64, 1, PyArray_DIMS(macs), DNSPY_OUT);
    if (out == NULL) {
        return NULL;
    }
    dns_error err;
    const dns_status status = dns_eyeriss2_cycles(&map, SIZE(macs), PyArray_DATA(macs),
                                                  PyArray_DATA(z), PyArray_DATA(out), &err);
    if (status != DNS_OK) {
        return raise_status(module, status, &err);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(expected_any_doc,
             "expected_any(density, n, times, out, /)\n--\n\n"
             "sum_t times[t] (1 - (1 - density)^n[t]) for float64 (S,), int64 (T,), int64 (T,).");

static PyObject *
expected_any(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    if (dnspy_nargs("expected_any", nargs, 4, 4) < 0) {
        return NULL;
    }
    PyArrayObject *density = dnspy_want(args[0], "density", NPY_FLOAT64, 1, DNSPY_IN);
    PyArrayObject *n = density == NULL ? NULL : dnspy_want(args[1], "n", NPY_INT64, 1, DNSPY_IN);
    PyArrayObject *times =
        n == NULL ? NULL
                  : dnspy_want_shape(args[2], "times", NPY_INT64, 1, PyArray_DIMS(n), DNSPY_IN);
    PyArrayObject *out = times == NULL ? NULL
                                       : dnspy_want_shape(args[3], "out", NPY_FLOAT64, 1,
                                                          PyArray_DIMS(density), DNSPY_OUT);
    if (out == NULL || dnspy_no_overlap(out, "out", density, "density") < 0) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS;
    dns_eyeriss2_expected_any(SIZE(density), PyArray_DATA(density), SIZE(n), PyArray_DATA(n),
                              PyArray_DATA(times), PyArray_DATA(out));
    Py_END_ALLOW_THREADS;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(eyeriss2_cost_doc,
             "eyeriss2_cost(map, macs, z, bytes, out, /)\n--\n\n"
             "Cost records float64 (S, 9) of float64 counts (S,); bytes (S, 3) or None.");

static PyObject *
eyeriss2_cost(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    dns_eyeriss2_map map;
    if (dnspy_nargs("eyeriss2_cost", nargs, 5, 5) < 0 || map_arg(args[0], &map) < 0) {
        return NULL;
    }
    PyArrayObject *macs = dnspy_want(args[1], "macs", NPY_FLOAT64, 1, DNSPY_IN);
    if (macs == NULL) {
        return NULL;
    }
    const npy_intp traffic[2] = {PyArray_DIM(macs, 0), 3};
    const npy_intp records[2] = {PyArray_DIM(macs, 0), COST_FIELDS};
    PyArrayObject *z = dnspy_want_shape(args[2], "z", NPY_FLOAT64, 1, PyArray_DIMS(macs), DNSPY_IN);
    if (z == NULL) {
        return NULL;
    }
    PyArrayObject *bytes =
        dnspy_want_shape(args[3], "bytes", NPY_FLOAT64, 2, traffic, DNSPY_OPTIONAL);
    PyArrayObject *out = PyErr_Occurred()
                             ? NULL
                             : dnspy_want_shape(args[4], "out", NPY_FLOAT64, 2, records, DNSPY_OUT);
    if (out == NULL) {
        return NULL;
    }
    double *to = PyArray_DATA(out);
    const double *from = bytes == NULL ? NULL : PyArray_DATA(bytes);
    const double *m = PyArray_DATA(macs);
    const double *c = PyArray_DATA(z);
    Py_BEGIN_ALLOW_THREADS;
    for (size_t s = 0; s < SIZE(macs); s++, to += COST_FIELDS) {
        dns_cost cost;
        dns_eyeriss2_cost(&map, 1, m + s, c + s, from == NULL ? NULL : from + 3 * s, &cost);
        memcpy(to, &cost, sizeof cost);
        to[COST_FIELDS - 1] = (double)cost.bound;
    }
    Py_END_ALLOW_THREADS;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(
    sanger_latency_doc,
    "sanger_latency(compat, version, width, pes, density, lb, seq, out, /)\n--\n\n"
    "Seconds per attention layer from float64 (N,), float64 (N,), int64 (N,) into float64\n"
    "(N,); returns the largest density / lb.");

static PyObject *
sanger_latency(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    int64_t p[4];
    static const char *const names[4] = {"compat", "version", "width", "pes"};
    if (dnspy_nargs("sanger_latency", nargs, 8, 8) < 0) {
        return NULL;
    }
    for (int i = 0; i < 4; i++) {
        if (int_arg(args[i], names[i], INT32_MIN, INT32_MAX, &p[i]) < 0) {
            return NULL;
        }
    }
    const dns_sanger machine = {(int32_t)p[0], (int32_t)p[1], (int32_t)p[2], (int32_t)p[3]};
    PyArrayObject *density = dnspy_want(args[4], "density", NPY_FLOAT64, 1, DNSPY_IN);
    if (density == NULL) {
        return NULL;
    }
    npy_intp *const n = PyArray_DIMS(density);
    PyArrayObject *lb = dnspy_want_shape(args[5], "lb", NPY_FLOAT64, 1, n, DNSPY_IN);
    PyArrayObject *seq =
        lb == NULL ? NULL : dnspy_want_shape(args[6], "seq_len", NPY_INT64, 1, n, DNSPY_IN);
    PyArrayObject *out =
        seq == NULL ? NULL : dnspy_want_shape(args[7], "out", NPY_FLOAT64, 1, n, DNSPY_OUT);
    if (out == NULL || dnspy_no_overlap(out, "out", density, "density") < 0 ||
        dnspy_no_overlap(out, "out", lb, "lb") < 0) {
        return NULL;
    }
    dns_error err;
    double ratio = 0.0;
    dns_status status;
    Py_BEGIN_ALLOW_THREADS;
    status = dns_sanger_latency(&machine, SIZE(density), PyArray_DATA(density), PyArray_DATA(lb),
                                PyArray_DATA(seq), PyArray_DATA(out), &ratio, &err);
    Py_END_ALLOW_THREADS;
    return status != DNS_OK ? raise_status(module, status, &err) : PyFloat_FromDouble(ratio);
}

/* Masks (B, heads, seq, words) and their key mask bool (B, seq) or None; NULL with an exception. */
static PyArrayObject *
masks_arg(PyObject *bits_arg, PyObject *key_arg, PyArrayObject **key)
{
    PyArrayObject *bits = dnspy_want(bits_arg, "mask", NPY_UINT64, 4, DNSPY_IN);
    if (bits == NULL) {
        return NULL;
    }
    if (DIM(bits, 3) != DIM(bits, 2) / 64 + (DIM(bits, 2) % 64 != 0)) {
        PyErr_Format(PyExc_ValueError, "mask: expected square masks, got %zu rows of %zu words",
                     DIM(bits, 2), DIM(bits, 3));
        return NULL;
    }
    const npy_intp dims[2] = {PyArray_DIM(bits, 0), PyArray_DIM(bits, 2)};
    *key = dnspy_want_shape(key_arg, "key_mask", NPY_BOOL, 2, dims, DNSPY_OPTIONAL);
    return PyErr_Occurred() ? NULL : bits;
}

static const uint8_t *
key_of(PyArrayObject *key, size_t b)
{
    return key == NULL ? NULL : (const uint8_t *)PyArray_DATA(key) + b * DIM(key, 1);
}

PyDoc_STRVAR(
    sanger_counts_doc,
    "sanger_counts(mask, key_mask, pes, attended_only, groups, out, /)\n--\n\n"
    "Counts of each sequence's masks uint64 (B, heads, seq, words) into int64 (B, 7): area,\n"
    "non-zeros, ones, vectors, non-empty, segments, groups of the greedy packing (0 unless\n"
    "groups is 1).");

static PyObject *
sanger_counts(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    int64_t pes = 0;
    int64_t attended_only = 0;
    int64_t groups = 0;
    PyArrayObject *key = NULL;
    if (dnspy_nargs("sanger_counts", nargs, 6, 6) < 0) {
        return NULL;
    }
    PyArrayObject *bits = masks_arg(args[0], args[1], &key);
    if (bits == NULL || int_arg(args[2], "pes", 1, 64, &pes) < 0 ||
        int_arg(args[3], "attended_only", 0, 1, &attended_only) < 0 ||
        int_arg(args[4], "groups", 0, 1, &groups) < 0) {
        return NULL;
    }
    const npy_intp dims[2] = {PyArray_DIM(bits, 0), 7};
    PyArrayObject *out = dnspy_want_shape(args[5], "out", NPY_INT64, 2, dims, DNSPY_OUT);
    if (out == NULL) {
        return NULL;
    }
    const size_t sequence = DIM(bits, 1) * DIM(bits, 2) * DIM(bits, 3);
    dns_error err;
    dns_status status = DNS_OK;
    Py_BEGIN_ALLOW_THREADS;
    for (size_t b = 0; b < DIM(bits, 0) && status == DNS_OK; b++) {
        const uint64_t *mask = (const uint64_t *)PyArray_DATA(bits) + b * sequence;
        int64_t *row = (int64_t *)PyArray_DATA(out) + 7 * b;
        dns_sanger_counts counts;
        status = dns_sanger_mask_counts(mask, DIM(bits, 1), DIM(bits, 2), key_of(key, b),
                                        (int32_t)pes, (int32_t)attended_only, &counts, &err);
        if (status == DNS_OK) {
            memcpy(row, &counts, sizeof counts);
            row[6] = 0;
        }
        if (status == DNS_OK && groups) {
            status = dns_sanger_mask_groups(mask, DIM(bits, 1), DIM(bits, 2), key_of(key, b),
                                            (int32_t)pes, row + 6, &err);
        }
    }
    Py_END_ALLOW_THREADS;
    if (status != DNS_OK) {
        return raise_status(module, status, &err);
    }
    Py_RETURN_NONE;
}

static int
predict_arg(PyObject *const *args, dns_sanger_predict *p)
{
    int64_t bits = 0;
    int64_t normalize = 0;
    int64_t causal = 0;
    if (int_arg(args[0], "bits", INT32_MIN, INT32_MAX, &bits) < 0 ||
        int_arg(args[1], "normalize", 0, 1, &normalize) < 0 ||
        int_arg(args[2], "causal", 0, 1, &causal) < 0) {
        return -1;
    }
    p->bits = (int32_t)bits;
    p->normalize = (int32_t)normalize;
    p->causal = (int32_t)causal;
    p->threshold = PyFloat_AsDouble(args[3]);
    p->q_max = PyErr_Occurred() ? 0.0 : PyFloat_AsDouble(args[4]);
    p->k_max = PyErr_Occurred() ? 0.0 : PyFloat_AsDouble(args[5]);
    return PyErr_Occurred() ? -1 : 0;
}

PyDoc_STRVAR(
    sanger_predict_doc,
    "sanger_predict(q, k, key_mask, bits, normalize, causal, threshold, q_max, k_max, out, "
    "/)\n--\n\n"
    "Predicted masks of float32 q and k (B, heads, seq, dim) into uint64 (B, heads, seq, words).");

static PyObject *
sanger_predict(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    dns_sanger_predict p;
    PyArrayObject *key = NULL;
    if (dnspy_nargs("sanger_predict", nargs, 10, 10) < 0) {
        return NULL;
    }
    PyArrayObject *q = dnspy_want(args[0], "q", NPY_FLOAT32, 4, DNSPY_IN);
    PyArrayObject *k =
        q == NULL ? NULL
                  : dnspy_want_shape(args[1], "k", NPY_FLOAT32, 4, PyArray_DIMS(q), DNSPY_IN);
    if (k == NULL || predict_arg(args + 3, &p) < 0) {
        return NULL;
    }
    const npy_intp dims[4] = {PyArray_DIM(q, 0), PyArray_DIM(q, 1), PyArray_DIM(q, 2),
                              (PyArray_DIM(q, 2) + 63) / 64};
    PyArrayObject *out = dnspy_want_shape(args[9], "out", NPY_UINT64, 4, dims, DNSPY_OUT);
    if (out == NULL || masks_arg(args[9], args[2], &key) == NULL) {
        return NULL;
    }
    const size_t heads = DIM(q, 1);
    const size_t seq = DIM(q, 2);
    const size_t dim = DIM(q, 3);
    const size_t words = (size_t)dims[3];
    const size_t work_bytes = dns_sanger_predict_work(heads, seq, dim);
    void *work = dns_mem_new(NULL, work_bytes, 1);
    if (work == NULL) {
        return PyErr_NoMemory();
    }
    dns_error err;
    dns_status status = DNS_OK;
    Py_BEGIN_ALLOW_THREADS;
    for (size_t b = 0; b < DIM(q, 0) && status == DNS_OK; b++) {
        const size_t at = b * heads * seq;
        status =
            dns_sanger_predict_mask(&p, heads, seq, dim, (const float *)PyArray_DATA(q) + at * dim,
                                    (const float *)PyArray_DATA(k) + at * dim, key_of(key, b),
                                    (uint64_t *)PyArray_DATA(out) + at * words, work, &err);
    }
    Py_END_ALLOW_THREADS;
    dns_mem_free(NULL, work, work_bytes, 1);
    if (status != DNS_OK) {
        return raise_status(module, status, &err);
    }
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    DNSPY_FAST(eyeriss2_map),  DNSPY_FAST(eyeriss2_row_visits), DNSPY_FAST(eyeriss2_cycles),
    DNSPY_FAST(expected_any),  DNSPY_FAST(eyeriss2_cost),       DNSPY_FAST(sanger_latency),
    DNSPY_FAST(sanger_counts), DNSPY_FAST(sanger_predict),      {NULL, NULL, 0, NULL},
};

DNSPY_MODULE(accel, "Accelerator cost models.", methods, dnspy_exec)
