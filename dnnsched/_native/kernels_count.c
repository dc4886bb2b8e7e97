/* Masks and counts. Arrays come checked and shaped from dnnsched.kernels; every function takes the
 * instruction-set level last (-1 = the module's). */
#include "kernels_parts.h"

#include "dns/count.h"

#include <string.h>

#define SIZE(array) ((size_t)PyArray_SIZE(array))
#define DIM(array, axis) ((size_t)PyArray_DIM(array, axis))

#define check kernels_check

/* Kernel table of a level argument; NULL with an exception set. */
static const dns_count_ops *
ops_of(PyObject *module, PyObject *level)
{
    dns_isa isa;
    return kernels_level(module, level, &isa) < 0 ? NULL : dns_count_ops_select(isa);
}

/* A call (..., out, isa) that writes an array apart from its input. */
typedef struct call {
    PyObject *module;
    PyObject *const *args;
    Py_ssize_t nargs;
    const char *in_name;
    PyArrayObject *in;
    const dns_count_ops *ops;
    void *out; /* data of the array to write */
} call;

/* Takes the input array, argument k; 0 or -1 with an exception set. */
static int
input(call *c, Py_ssize_t k, const char *name, int typenum, int ndim, int flags)
{
    c->in_name = name;
    c->in = dnspy_want(c->args[k], name, typenum, ndim, flags);
    return c->in == NULL ? -1 : 0;
}

/* Takes the input masks, argument k, of this shape (-1 = any extent); 0 or -1 as above. */
static int
masks(call *c, Py_ssize_t k, int ndim, const npy_intp *dims)
{
    c->in_name = "bits";
    c->in = dnspy_want_shape(c->args[k], "bits", NPY_UINT64, ndim, dims, DNSPY_IN);
    return c->in == NULL ? -1 : 0;
}

/* Takes the array to write, of this dtype and shape (NULL = that of the input's first axes), and
 * the kernel table of the level; 0 or -1 as above. Last step: the input is known. */
static int
output(call *c, int typenum, int ndim, const npy_intp *dims)
{
    PyArrayObject *out = dnspy_want_shape(c->args[c->nargs - 2], "out", typenum, ndim,
                                          dims == NULL ? PyArray_DIMS(c->in) : dims, DNSPY_OUT);
    c->ops = out == NULL ? NULL : ops_of(c->module, c->args[c->nargs - 1]);
    if (c->ops == NULL || dnspy_no_overlap(out, "out", c->in, c->in_name) < 0) {
        return -1;
    }
    c->out = PyArray_DATA(out);
    return 0;
}

/* Comparison limit of an eps argument; 0 on success, -1 with an exception set. */
static int
limit_of(PyObject *module, PyObject *arg, uint32_t *limit)
{
    dns_error err;
    const double eps = PyFloat_AsDouble(arg);
    if (eps == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (check(module, dns_count_check_eps(eps, &err), &err) < 0) {
        return -1;
    }
    *limit = dns_count_limit(eps);
    return 0;
}

/* Row stride of a 2-d array in elements. */
static ptrdiff_t
row_stride(PyArrayObject *x)
{
    return DIM(x, 0) < 2 ? (ptrdiff_t)DIM(x, 1) : PyArray_STRIDE(x, 0) / PyArray_ITEMSIZE(x);
}

/* Positive size argument, or 0 with an exception set. */
static size_t
positive(PyObject *arg, const char *name)
{
    const Py_ssize_t n = PyLong_AsSsize_t(arg);
    if (n == -1 && PyErr_Occurred()) {
        return 0;
    }
    if (n < 1) {
        PyErr_Format(PyExc_ValueError, "%s: expected an integer >= 1, got %zd", name, n);
        return 0;
    }
    return (size_t)n;
}

/* Geometry from an int32 array in the order of dns_window's fields; 0 or -1 with an exception. */
static int
window_of(PyObject *module, PyObject *arg, dns_window *g)
{
    const npy_intp twelve = sizeof *g / sizeof(int32_t);
    PyArrayObject *a = dnspy_want_shape(arg, "window", NPY_INT32, 1, &twelve, DNSPY_IN);
    if (a == NULL) {
        return -1;
    }
    memcpy(g, PyArray_DATA(a), sizeof *g);
    dns_error err;
    return check(module, dns_window_check(g, &err), &err);
}

/* Workspace of n words (dns_mem_free), or NULL with MemoryError. */
static uint64_t *
new_work(size_t n)
{
    uint64_t *work = dns_mem_new(NULL, n, sizeof *work);
    if (work == NULL) {
        (void)PyErr_NoMemory();
    }
    return work;
}

/* pack_f32 (packed) and nonzeros_f32: a kernel over the rows of x. */
static PyObject *
float_rows(const char *fn, call c, int packed)
{
    uint32_t limit = 0;
    if (dnspy_nargs(fn, c.nargs, 4, 4) < 0 || input(&c, 0, "x", NPY_FLOAT32, 2, DNSPY_ROWS) < 0 ||
        limit_of(c.module, c.args[1], &limit) < 0) {
        return NULL;
    }
    const npy_intp dims[2] = {PyArray_DIM(c.in, 0), (npy_intp)dns_mask_words(DIM(c.in, 1))};
    if (output(&c, NPY_UINT64, packed ? 2 : 1, dims) < 0) {
        return NULL;
    }
    KERNELS_BEGIN_LONG(SIZE(c.in) * sizeof(float));
    (packed ? c.ops->pack_f32 : c.ops->nonzeros_f32)(PyArray_DATA(c.in), DIM(c.in, 0), DIM(c.in, 1),
                                                     row_stride(c.in), limit, c.out);
    KERNELS_END_LONG
    Py_RETURN_NONE;
}

PyDoc_STRVAR(pack_f32_doc,
             "pack_f32(x, eps, out, isa, /)\n--\n\n"
             "Mask of float32 rows (R, W) into uint64 (R, ceil(W/64)): |x| > eps or NaN.");

static PyObject *
pack_f32(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    return float_rows("pack_f32", (call){.module = module, .args = args, .nargs = nargs}, 1);
}

PyDoc_STRVAR(nonzeros_f32_doc, "nonzeros_f32(x, eps, out, isa, /)\n--\n\n"
                               "Non-zeros of each float32 row (R, W) into uint64 (R,).");

static PyObject *
nonzeros_f32(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    return float_rows("nonzeros_f32", (call){.module = module, .args = args, .nargs = nargs}, 0);
}

PyDoc_STRVAR(pack_bool_doc, "pack_bool(x, out, isa, /)\n--\n\n"
                            "Mask of bool rows (R, W) into uint64 (R, ceil(W/64)).");

static PyObject *
pack_bool(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    call c = {.module = module, .args = args, .nargs = nargs};
    if (dnspy_nargs("pack_bool", nargs, 3, 3) < 0 ||
        input(&c, 0, "x", NPY_BOOL, 2, DNSPY_ROWS) < 0) {
        return NULL;
    }
    const npy_intp dims[2] = {PyArray_DIM(c.in, 0), (npy_intp)dns_mask_words(DIM(c.in, 1))};
    if (output(&c, NPY_UINT64, 2, dims) < 0) {
        return NULL;
    }
    KERNELS_BEGIN_LONG(SIZE(c.in));
    c.ops->pack_u8(PyArray_DATA(c.in), DIM(c.in, 0), DIM(c.in, 1), row_stride(c.in), c.out);
    KERNELS_END_LONG
    Py_RETURN_NONE;
}

PyDoc_STRVAR(popcount_doc, "popcount(a, b, isa, /)\n--\n\n"
                           "Ones of uint64 words a, or of a & b when b is not None (int).");

static PyObject *
popcount(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (dnspy_nargs("popcount", nargs, 3, 3) < 0) {
        return NULL;
    }
    PyArrayObject *a = dnspy_want(args[0], "a", NPY_UINT64, 1, DNSPY_IN);
    if (a == NULL) {
        return NULL;
    }
    PyArrayObject *b =
        dnspy_want_shape(args[1], "b", NPY_UINT64, 1, PyArray_DIMS(a), DNSPY_OPTIONAL);
    const dns_count_ops *ops = PyErr_Occurred() ? NULL : ops_of(module, args[2]);
    if (ops == NULL) {
        return NULL;
    }
    KERNELS_BEGIN_LONG(SIZE(a) * sizeof(uint64_t));
    const uint64_t n = ops->popcount(PyArray_DATA(a), b == NULL ? NULL : PyArray_DATA(b), SIZE(a));
    KERNELS_END_LONG
    return PyLong_FromUnsignedLongLong(n);
}

PyDoc_STRVAR(popcounts_doc, "popcounts(bits, out, isa, /)\n--\n\n"
                            "Ones of each row of uint64 words (R, N) into uint64 (R,).");

static PyObject *
popcounts(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    call c = {.module = module, .args = args, .nargs = nargs};
    if (dnspy_nargs("popcounts", nargs, 3, 3) < 0 ||
        input(&c, 0, "bits", NPY_UINT64, 2, DNSPY_IN) < 0 || output(&c, NPY_UINT64, 1, NULL) < 0) {
        return NULL;
    }
    const uint64_t *rows = PyArray_DATA(c.in);
    uint64_t *ones = c.out;
    KERNELS_BEGIN_LONG(SIZE(c.in) * sizeof(uint64_t));
    for (size_t r = 0; r < DIM(c.in, 0); r++) {
        ones[r] = c.ops->popcount(rows + r * DIM(c.in, 1), NULL, DIM(c.in, 1));
    }
    KERNELS_END_LONG
    Py_RETURN_NONE;
}

PyDoc_STRVAR(row_any_doc, "row_any(bits, out, isa, /)\n--\n\n"
                          "Whether each mask row (R, words) has a one, into bool (R,).");

static PyObject *
row_any(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    call c = {.module = module, .args = args, .nargs = nargs};
    if (dnspy_nargs("row_any", nargs, 3, 3) < 0 ||
        input(&c, 0, "bits", NPY_UINT64, 2, DNSPY_IN) < 0 || output(&c, NPY_BOOL, 1, NULL) < 0) {
        return NULL;
    }
    KERNELS_BEGIN_LONG(SIZE(c.in) * sizeof(uint64_t));
    c.ops->row_any(PyArray_DATA(c.in), DIM(c.in, 0), DIM(c.in, 1), c.out);
    KERNELS_END_LONG
    Py_RETURN_NONE;
}

PyDoc_STRVAR(check_mask_doc, "check_mask(bits, width, /)\n--\n\n"
                             "ValueError unless the tails of mask rows (R, words) are zero.");

static PyObject *
check_mask(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (dnspy_nargs("check_mask", nargs, 2, 2) < 0) {
        return NULL;
    }
    const size_t width = positive(args[1], "width");
    if (width == 0) {
        return NULL;
    }
    const npy_intp dims[2] = {-1, (npy_intp)dns_mask_words(width)};
    PyArrayObject *bits = dnspy_want_shape(args[0], "mask", NPY_UINT64, 2, dims, DNSPY_IN);
    if (bits == NULL) {
        return NULL;
    }
    dns_error err;
    if (check(module, dns_mask_check(PyArray_DATA(bits), DIM(bits, 0), width, &err), &err) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(tiles_doc,
             "tiles(bits, width, th, tw, out, isa, /)\n--\n\n"
             "Ones per th x tw tile of mask planes (P, H, words) into uint64 (P, TY, TX).");

static PyObject *
tiles(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    call c = {.module = module, .args = args, .nargs = nargs};
    if (dnspy_nargs("tiles", nargs, 6, 6) < 0 ||
        input(&c, 0, "bits", NPY_UINT64, 3, DNSPY_IN) < 0) {
        return NULL;
    }
    const size_t w = positive(args[1], "width");
    const size_t th = w == 0 ? 0 : positive(args[2], "tile height");
    const size_t tw = th == 0 ? 0 : positive(args[3], "tile width");
    if (tw == 0) {
        return NULL;
    }
    if (DIM(c.in, 2) != dns_mask_words(w)) {
        PyErr_Format(PyExc_ValueError, "bits: expected %zu words per row of width %zu, got %zu",
                     dns_mask_words(w), w, DIM(c.in, 2));
        return NULL;
    }
    const size_t h = DIM(c.in, 1);
    const npy_intp dims[3] = {PyArray_DIM(c.in, 0), (npy_intp)(h / th + (h % th != 0)),
                              (npy_intp)(w / tw + (w % tw != 0))};
    if (output(&c, NPY_UINT64, 3, dims) < 0) {
        return NULL;
    }
    KERNELS_BEGIN_LONG(SIZE(c.in) * sizeof(uint64_t));
    c.ops->tiles(PyArray_DATA(c.in), DIM(c.in, 0), h, w, th, tw, c.out);
    KERNELS_END_LONG
    Py_RETURN_NONE;
}

PyDoc_STRVAR(weights_doc, "weights(w, eps, out, isa, /)\n--\n\n"
                          "Non-zeros over the middle axis of float32 (G, R, N) into int32 (G, N).");

static PyObject *
weights(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    call c = {.module = module, .args = args, .nargs = nargs};
    uint32_t limit = 0;
    if (dnspy_nargs("weights", nargs, 4, 4) < 0 ||
        input(&c, 0, "w", NPY_FLOAT32, 3, DNSPY_IN) < 0 || limit_of(module, args[1], &limit) < 0) {
        return NULL;
    }
    if (DIM(c.in, 1) > INT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "w: expected less than 2^31 output channels per group");
        return NULL;
    }
    const npy_intp dims[2] = {PyArray_DIM(c.in, 0), PyArray_DIM(c.in, 2)};
    if (output(&c, NPY_INT32, 2, dims) < 0) {
        return NULL;
    }
    KERNELS_BEGIN_LONG(SIZE(c.in) * sizeof(float));
    c.ops->weights(PyArray_DATA(c.in), DIM(c.in, 0), DIM(c.in, 1), DIM(c.in, 2), limit, c.out);
    KERNELS_END_LONG
    Py_RETURN_NONE;
}

PyDoc_STRVAR(windows_doc,
             "windows(window, bits, out, isa, /)\n--\n\n"
             "Ones of each channel (C, H, words) per kernel offset into uint32 (C, KH, KW).");

static PyObject *
windows(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    call c = {.module = module, .args = args, .nargs = nargs};
    dns_window g;
    if (dnspy_nargs("windows", nargs, 4, 4) < 0 || window_of(module, args[0], &g) < 0) {
        return NULL;
    }
    const npy_intp in[3] = {-1, g.in_h, (npy_intp)dns_mask_words((size_t)g.in_w)};
    if (masks(&c, 1, 3, in) < 0) {
        return NULL;
    }
    const npy_intp to[3] = {PyArray_DIM(c.in, 0), g.kernel_h, g.kernel_w};
    uint64_t *work = output(&c, NPY_UINT32, 3, to) < 0 ? NULL : new_work(dns_window_work(&g));
    if (work == NULL) {
        return NULL;
    }
    KERNELS_BEGIN_LONG(SIZE(c.in) * sizeof(uint64_t));
    c.ops->windows(&g, PyArray_DATA(c.in), DIM(c.in, 0), c.out, work);
    KERNELS_END_LONG
    dns_mem_free(NULL, work, dns_window_work(&g), sizeof *work);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(valid_macs_doc,
             "valid_macs(window, weights, bits, out, isa, /)\n--\n\n"
             "Valid multiply-accumulates of masks (S, C, H, words) with weight counts\n"
             "int32 (C, KH, KW) into uint64 (S,).");

static PyObject *
valid_macs(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    call c = {.module = module, .args = args, .nargs = nargs};
    dns_window g;
    if (dnspy_nargs("valid_macs", nargs, 5, 5) < 0 || window_of(module, args[0], &g) < 0) {
        return NULL;
    }
    const npy_intp kernel[3] = {-1, g.kernel_h, g.kernel_w};
    PyArrayObject *w = dnspy_want_shape(args[1], "weights", NPY_INT32, 3, kernel, DNSPY_IN);
    if (w == NULL) {
        return NULL;
    }
    const npy_intp in[4] = {-1, PyArray_DIM(w, 0), g.in_h,
                            (npy_intp)dns_mask_words((size_t)g.in_w)};
    if (masks(&c, 2, 4, in) < 0 || output(&c, NPY_UINT64, 1, NULL) < 0) {
        return NULL;
    }
    uint64_t *work = new_work(dns_window_work(&g));
    if (work == NULL) {
        return NULL;
    }
    dns_error err;
    KERNELS_BEGIN_LONG(SIZE(c.in) * sizeof(uint64_t));
    const dns_status status = dns_valid_macs(c.ops, &g, DIM(w, 0), PyArray_DATA(w), DIM(c.in, 0),
                                             PyArray_DATA(c.in), c.out, work, &err);
    KERNELS_END_LONG
    dns_mem_free(NULL, work, dns_window_work(&g), sizeof *work);
    if (check(module, status, &err) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(rect_doc, "rect(window, /)\n--\n\n"
                       "Products of one channel pair whose input lies inside the map (int).");

static PyObject *
rect(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    dns_window g;
    if (dnspy_nargs("rect", nargs, 1, 1) < 0 || window_of(module, args[0], &g) < 0) {
        return NULL;
    }
    return PyLong_FromUnsignedLongLong(dns_window_rect(&g));
}

PyDoc_STRVAR(columns_doc,
             "columns(window, depth, bits, out, isa, /)\n--\n\n"
             "Visits of non-empty columns, `depth` channels deep, of masks (S, C, H, words)\n"
             "into uint64 (S,).");

static PyObject *
columns(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    call c = {.module = module, .args = args, .nargs = nargs};
    dns_window g;
    if (dnspy_nargs("columns", nargs, 5, 5) < 0 || window_of(module, args[0], &g) < 0) {
        return NULL;
    }
    const size_t depth = positive(args[1], "depth");
    const npy_intp in[4] = {-1, -1, g.in_h, (npy_intp)dns_mask_words((size_t)g.in_w)};
    if (depth == 0 || masks(&c, 2, 4, in) < 0 || output(&c, NPY_UINT64, 1, NULL) < 0) {
        return NULL;
    }
    const size_t sample = DIM(c.in, 1) * DIM(c.in, 2) * DIM(c.in, 3);
    uint64_t *work = new_work(dns_columns_work(&g));
    if (work == NULL) {
        return NULL;
    }
    const uint64_t *bits = PyArray_DATA(c.in);
    uint64_t *visits = c.out;
    KERNELS_BEGIN_LONG(SIZE(c.in) * sizeof(uint64_t));
    for (size_t s = 0; s < DIM(c.in, 0); s++) {
        visits[s] = c.ops->columns(&g, bits + s * sample, DIM(c.in, 1), depth, work);
    }
    KERNELS_END_LONG
    dns_mem_free(NULL, work, dns_columns_work(&g), sizeof *work);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(masked_sum_doc,
             "masked_sum(bits, v, out, isa, /)\n--\n\n"
             "Sum of int32 v (N,) over the ones of each mask row (S, words) into uint64 (S,).");

static PyObject *
masked_sum(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    call c = {.module = module, .args = args, .nargs = nargs};
    if (dnspy_nargs("masked_sum", nargs, 4, 4) < 0) {
        return NULL;
    }
    PyArrayObject *v = dnspy_want(args[1], "v", NPY_INT32, 1, DNSPY_IN);
    if (v == NULL) {
        return NULL;
    }
    const npy_intp in[2] = {-1, (npy_intp)dns_mask_words(SIZE(v))};
    if (masks(&c, 0, 2, in) < 0 || output(&c, NPY_UINT64, 1, NULL) < 0) {
        return NULL;
    }
    const int32_t *values = PyArray_DATA(v);
    const uint64_t *rows = PyArray_DATA(c.in);
    uint64_t *sums = c.out;
    KERNELS_BEGIN_LONG(SIZE(c.in) * 512);
    for (size_t s = 0; s < DIM(c.in, 0); s++) {
        sums[s] = c.ops->masked_sum(rows + s * DIM(c.in, 1), values, DIM(v, 0));
    }
    KERNELS_END_LONG
    Py_RETURN_NONE;
}

PyDoc_STRVAR(read_all_doc,
             "read_all(x, isa, /)\n--\n\n"
             "Reads float32 rows (R, N) once and returns the OR of their words (int): a\n"
             "bandwidth probe.");

static PyObject *
read_all(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (dnspy_nargs("read_all", nargs, 2, 2) < 0) {
        return NULL;
    }
    PyArrayObject *x = dnspy_want(args[0], "x", NPY_FLOAT32, 2, DNSPY_ROWS);
    const dns_count_ops *ops = x == NULL ? NULL : ops_of(module, args[1]);
    if (ops == NULL) {
        return NULL;
    }
    const float *rows = PyArray_DATA(x);
    const ptrdiff_t ld = row_stride(x);
    uint32_t all = 0;
    KERNELS_BEGIN_LONG(SIZE(x) * sizeof(float));
    for (size_t r = 0; r < DIM(x, 0); r++) {
        all |= ops->read_all(rows + (ptrdiff_t)r * ld, DIM(x, 1));
    }
    KERNELS_END_LONG
    return PyLong_FromUnsignedLong(all);
}

PyDoc_STRVAR(multiply_chain_doc,
             "multiply_chain(n, /)\n--\n\n"
             "n dependent 64-bit multiplications, three cycles each on x86-64: a clock probe.");

static PyObject *
multiply_chain(PyObject *Py_UNUSED(module), PyObject *arg)
{
    const size_t n = positive(arg, "n");
    if (n == 0) {
        return NULL;
    }
    uint64_t x;
    Py_BEGIN_ALLOW_THREADS;
    x = dns_probe_multiply_chain(3, n);
    Py_END_ALLOW_THREADS;
    return PyLong_FromUnsignedLongLong(x);
}

PyMethodDef kernels_count_methods[] = {
    DNSPY_FAST(pack_f32),     DNSPY_FAST(pack_bool),
    DNSPY_FAST(nonzeros_f32), DNSPY_FAST(popcount),
    DNSPY_FAST(popcounts),    DNSPY_FAST(row_any),
    DNSPY_FAST(tiles),        DNSPY_FAST(check_mask),
    DNSPY_FAST(weights),      DNSPY_FAST(windows),
    DNSPY_FAST(valid_macs),   DNSPY_FAST(columns),
    DNSPY_FAST(rect),         DNSPY_FAST(masked_sum),
    DNSPY_FAST(read_all),     {"multiply_chain", multiply_chain, METH_O, multiply_chain_doc},
    {NULL, NULL, 0, NULL},
};
