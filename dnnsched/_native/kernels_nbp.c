/* Nested bit planes: quantisation, plans, products at a chosen precision. */
#include "kernels_parts.h"

#include "dns/nbp.h"

/* The arrays of a call that follow (codes, bits, group) in args: scale and zero, or lut; 0, or -1
 * with an exception set. Codes uint8 (M, K); scale, zero float32 (M, groups) and lut None, or those
 * None and lut float32 (M, 2^(bits + 1) - 2). */
static int
codes_of(PyObject *const *args, int flags, dns_nbp_codes *c)
{
    PyArrayObject *codes = dnspy_want(args[0], "codes", NPY_UINT8, 2, flags);
    if (codes == NULL) {
        return -1;
    }
    const long bits = PyLong_AsLong(args[1]);
    c->group = PyLong_AsSize_t(args[2]);
    if (PyErr_Occurred()) {
        return -1;
    }
    if (bits < 2 || bits > 8) {
        PyErr_Format(PyExc_ValueError, "bits: expected 2 to 8, got %ld", bits);
        return -1;
    }
    c->rows = (size_t)PyArray_DIM(codes, 0);
    c->cols = (size_t)PyArray_DIM(codes, 1);
    c->bits = (int)bits;
    c->codes = PyArray_DATA(codes);
    const npy_intp groups[2] = {PyArray_DIM(codes, 0), (npy_intp)dns_nbp_groups(c->cols, c->group)};
    const npy_intp table[2] = {PyArray_DIM(codes, 0), ((npy_intp)2 << bits) - 2};
    if (args[5] != Py_None) {
        PyArrayObject *lut = dnspy_want_shape(args[5], "lut", NPY_FLOAT32, 2, table, flags);
        c->lut = lut == NULL ? NULL : PyArray_DATA(lut);
        return lut == NULL ? -1 : 0;
    }
    PyArrayObject *scale = dnspy_want_shape(args[3], "scale", NPY_FLOAT32, 2, groups, flags);
    PyArrayObject *zero = dnspy_want_shape(args[4], "zero", NPY_FLOAT32, 2, groups, flags);
    if (scale == NULL || zero == NULL) {
        return -1;
    }
    c->scale = PyArray_DATA(scale);
    c->zero = PyArray_DATA(zero);
    return 0;
}

/* The nested plan of a capsule argument, or NULL with an exception set. */
static const dns_plan *
nested_of(PyObject *arg)
{
    const dns_plan *plan = kernels_plan(arg);
    if (plan != NULL && !dns_nbp_is(plan)) {
        PyErr_Format(PyExc_ValueError, "plan: expected format nested, got %s", plan->ops->format);
        return NULL;
    }
    return plan;
}

/* A precision of the plan; 0 with an exception set. */
static int
precision(const dns_plan *plan, PyObject *arg)
{
    int bits = 0;
    size_t group = 0;
    bool codebook = false;
    dns_nbp_describe(plan, &bits, &group, &codebook);
    const long p = PyLong_AsLong(arg);
    if (p == -1 && PyErr_Occurred()) {
        return 0;
    }
    if (p < 1 || p > bits) {
        PyErr_Format(PyExc_ValueError, "bits: expected 1 to %d, got %ld", bits, p);
        return 0;
    }
    return (int)p;
}

PyDoc_STRVAR(nested_quantize_doc,
             "nested_quantize(w, codes, bits, group, scale, zero, lut, /)\n--\n\n"
             "Codes of float32 (M, K): uint8 (M, K), and scale and zero float32 (M, groups) or lut "
             "float32 (M, 2^(bits + 1) - 2), the others None; group 0 = the row.");

static PyObject *
nested_quantize(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (dnspy_nargs("nested_quantize", nargs, 7, 7) < 0) {
        return NULL;
    }
    PyArrayObject *w = dnspy_want(args[0], "w", NPY_FLOAT32, 2, DNSPY_ROWS);
    const ptrdiff_t ld = w == NULL ? -1 : kernels_ld(w, "w");
    dns_nbp_codes c = {0};
    if (ld < 0 || codes_of(args + 1, DNSPY_OUT, &c) < 0 ||
        dnspy_want_shape(args[1], "codes", NPY_UINT8, 2, PyArray_DIMS(w), DNSPY_OUT) == NULL) {
        return NULL;
    }
    dns_error err;
    dns_status status;
    KERNELS_BEGIN_LONG(c.rows * c.cols * sizeof(float));
    status = dns_nbp_quantize(PyArray_DATA(w), ld, &c, NULL, &err);
    KERNELS_END_LONG
    if (kernels_check(module, status, &err) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(nested_plan_doc, "nested_plan(codes, bits, group, scale, zero, lut, isa, /)\n--\n\n"
                              "A plan of what nested_quantize wrote.");

static PyObject *
nested_plan(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    dns_nbp_codes c = {0};
    dns_isa isa;
    if (dnspy_nargs("nested_plan", nargs, 7, 7) < 0 || codes_of(args, DNSPY_IN, &c) < 0 ||
        kernels_level(module, args[6], &isa) < 0) {
        return NULL;
    }
    dns_plan *plan = NULL;
    dns_error err;
    dns_status status;
    KERNELS_BEGIN_LONG(c.rows * c.cols);
    status = dns_nbp_plan_create(&c, isa, NULL, &plan, &err);
    KERNELS_END_LONG
    return kernels_check(module, status, &err) < 0 ? NULL : kernels_plan_capsule(module, plan);
}

PyDoc_STRVAR(nested_unpack_doc,
             "nested_unpack(plan, codes, bits, group, scale, zero, lut, /)\n--\n\n"
             "Write the codes of a plan of these bits, group and kind.");

static PyObject *
nested_unpack(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    const dns_plan *plan =
        dnspy_nargs("nested_unpack", nargs, 7, 7) < 0 ? NULL : nested_of(args[0]);
    dns_nbp_codes c = {0};
    int bits = 0;
    size_t group = 0;
    bool codebook = false;
    if (plan == NULL || codes_of(args + 1, DNSPY_OUT, &c) < 0) {
        return NULL;
    }
    dns_nbp_describe(plan, &bits, &group, &codebook);
    if (bits != c.bits || group != c.group || codebook != (c.lut != NULL) || plan->rows != c.rows ||
        plan->cols != c.cols) {
        PyErr_SetString(PyExc_ValueError, "codes, bits, group, lut: expected the plan's own");
        return NULL;
    }
    dns_error err;
    if (kernels_check(module, dns_nbp_unpack(plan, &c, &err), &err) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(nested_execute_doc, "nested_execute(plan, bits, rows, x, out, threads, /)\n--\n\n"
                                 "As plan_execute, at a precision of 1 to the plan's bits.");

static PyObject *
nested_execute(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    const dns_plan *plan =
        dnspy_nargs("nested_execute", nargs, 6, 6) < 0 ? NULL : nested_of(args[0]);
    const int p = plan == NULL ? 0 : precision(plan, args[1]);
    const int rows = PyObject_IsTrue(args[2]);
    if (p == 0 || rows < 0) {
        return NULL;
    }
    const npy_intp m = (npy_intp)plan->rows;
    const npy_intp k = (npy_intp)plan->cols;
    const npy_intp x_dims[2] = {rows ? -1 : k, rows ? k : -1};
    PyArrayObject *x = dnspy_want_shape(args[3], "x", NPY_FLOAT32, 2, x_dims, DNSPY_ROWS);
    if (x == NULL) {
        return NULL;
    }
    const npy_intp n = PyArray_DIM(x, rows ? 0 : 1);
    const npy_intp y_dims[2] = {rows ? n : m, rows ? m : n};
    PyArrayObject *y =
        dnspy_want_shape(args[4], "out", NPY_FLOAT32, 2, y_dims, DNSPY_ROWS | DNSPY_OUT);
    if (y == NULL || dnspy_no_overlap(y, "out", x, "x") < 0) {
        return NULL;
    }
    dns_call call = {.n = (size_t)n, .x = PyArray_DATA(x), .y = PyArray_DATA(y)};
    call.ldx = kernels_ld(x, "x");
    call.ldy = call.ldx < 0 ? -1 : kernels_ld(y, "out");
    if (call.ldy < 0 || kernels_threads(module, args[5], &call.threads) < 0) {
        return NULL;
    }
    const dns_layout layout = rows ? DNS_ROWS : DNS_COLUMNS;
    dns_error err;
    size_t bytes = 0;
    size_t got = 0;
    if (kernels_check(
            module,
            dns_plan_workspace(plan, layout, call.n, dns_threads_count(call.threads), &bytes, &err),
            &err) < 0) {
        return NULL;
    }
    kernels_state *st = PyModule_GetState(module);
    call.ws = kernels_ws_take(st, bytes, &got);
    if (call.ws == NULL) {
        return NULL;
    }
    KERNELS_BEGIN_LONG(plan->nnz * call.n + plan->rows * call.n);
    dns_nbp_execute(plan, p, layout, &call);
    KERNELS_END_LONG
    kernels_ws_give(st, call.ws, got);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(nested_to_dense_doc, "nested_to_dense(plan, bits, out, /)\n--\n\n"
                                  "Write the weights at a precision, float32 (M, K).");

static PyObject *
nested_to_dense(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    const dns_plan *plan =
        dnspy_nargs("nested_to_dense", nargs, 3, 3) < 0 ? NULL : nested_of(args[0]);
    const int p = plan == NULL ? 0 : precision(plan, args[1]);
    if (p == 0) {
        return NULL;
    }
    const npy_intp dims[2] = {(npy_intp)plan->rows, (npy_intp)plan->cols};
    PyArrayObject *out = dnspy_want_shape(args[2], "out", NPY_FLOAT32, 2, dims, DNSPY_OUT);
    if (out == NULL) {
        return NULL;
    }
    dns_nbp_to_dense(plan, p, PyArray_DATA(out));
    Py_RETURN_NONE;
}

PyDoc_STRVAR(nested_bytes_doc, "nested_bytes(plan, bits, /)\n--\n\n"
                               "Bytes of weights that a product at a precision reads.");

static PyObject *
nested_bytes(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    const dns_plan *plan = dnspy_nargs("nested_bytes", nargs, 2, 2) < 0 ? NULL : nested_of(args[0]);
    const int p = plan == NULL ? 0 : precision(plan, args[1]);
    return p == 0 ? NULL : PyLong_FromSize_t(dns_nbp_read_bytes(plan, p));
}

PyMethodDef kernels_nbp_methods[] = {
    DNSPY_FAST(nested_quantize), DNSPY_FAST(nested_plan),     DNSPY_FAST(nested_unpack),
    DNSPY_FAST(nested_execute),  DNSPY_FAST(nested_to_dense), DNSPY_FAST(nested_bytes),
    {NULL, NULL, 0, NULL},
};
