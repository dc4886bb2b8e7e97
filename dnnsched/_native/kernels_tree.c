/* Trees of guessed tokens. Building and verifying belong to a decoding step of microseconds, so
 * these functions make their results. */
#include "kernels_parts.h"

#include "dns/treemask.h"

static PyObject *
new_array(npy_intp rows, npy_intp columns, int type)
{
    const npy_intp dims[2] = {rows, columns};
    return PyArray_SimpleNew(columns < 0 ? 1 : 2, dims, type);
}

#define DATA(object) PyArray_DATA((PyArrayObject *)(object))

PyDoc_STRVAR(tree_build_doc, "tree_build(parent, /)\n--\n\n"
                             "(bits, depth, leaf_paths) of int64 parents: uint64 (T, words), int32 "
                             "(T,), int32 (leaves, longest).");

static PyObject *
tree_build(PyObject *module, PyObject *arg)
{
    PyArrayObject *a = dnspy_want(arg, "parent", NPY_INT64, 1, DNSPY_IN);
    if (a == NULL) {
        return NULL;
    }
    const int64_t *parent = PyArray_DATA(a);
    const npy_intp n = PyArray_SIZE(a);
    dns_error err;
    if (kernels_check(module, dns_tree_check(parent, (size_t)n, &err), &err) < 0) {
        return NULL;
    }
    PyObject *bits = new_array(n, (npy_intp)dns_tree_words((size_t)n), NPY_UINT64);
    PyObject *depth = new_array(n, -1, NPY_INT32);
    PyObject *has_child = new_array(n, -1, NPY_UINT8);
    PyObject *paths = NULL;
    if (bits != NULL && depth != NULL && has_child != NULL) {
        size_t leaves;
        size_t longest;
        KERNELS_BEGIN_LONG((size_t)n * dns_tree_words((size_t)n));
        dns_tree_build(parent, (size_t)n, DATA(bits), DATA(depth));
        dns_tree_extent(parent, DATA(depth), (size_t)n, DATA(has_child), &leaves, &longest);
        KERNELS_END_LONG
        paths = new_array((npy_intp)leaves, (npy_intp)longest, NPY_INT32);
        if (paths != NULL) {
            dns_tree_paths(parent, DATA(depth), DATA(has_child), (size_t)n, longest, DATA(paths));
        }
    }
    PyObject *result = paths == NULL ? NULL : PyTuple_Pack(3, bits, depth, paths);
    Py_XDECREF(bits);
    Py_XDECREF(depth);
    Py_XDECREF(has_child);
    Py_XDECREF(paths);
    return result;
}

PyDoc_STRVAR(tree_mask_doc, "tree_mask(bits, prefix, additive, isa, /)\n--\n\n"
                            "bool (T, prefix + T), or float32 of 0 and -inf, of uint64 bits.");

static PyObject *
tree_mask(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    PyArrayObject *a = dnspy_nargs("tree_mask", nargs, 4, 4) < 0
                           ? NULL
                           : dnspy_want(args[0], "bits", NPY_UINT64, 2, DNSPY_IN);
    if (a == NULL) {
        return NULL;
    }
    const npy_intp n = PyArray_DIM(a, 0);
    const Py_ssize_t prefix = PyLong_AsSsize_t(args[1]);
    const int additive = PyObject_IsTrue(args[2]);
    dns_isa isa;
    if ((prefix == -1 && PyErr_Occurred()) || additive < 0 ||
        kernels_level(module, args[3], &isa) < 0) {
        return NULL;
    }
    if (prefix < 0 || prefix > INT32_MAX || PyArray_DIM(a, 1) != (n + 63) / 64) {
        PyErr_Format(PyExc_ValueError, "prefix: expected an integer from 0 to 2^31 - 1, got %zd",
                     prefix);
        return NULL;
    }
    PyObject *mask = new_array(n, prefix + n, additive ? NPY_FLOAT32 : NPY_BOOL);
    if (mask == NULL) {
        return NULL;
    }
    KERNELS_BEGIN_LONG((size_t)n * (size_t)(prefix + n));
    if (additive) {
        dns_tree_mask_add(PyArray_DATA(a), (size_t)n, (size_t)prefix, isa, DATA(mask));
    }
    else {
        dns_tree_mask_bool(PyArray_DATA(a), (size_t)n, (size_t)prefix, isa, DATA(mask));
    }
    KERNELS_END_LONG
    return mask;
}

PyDoc_STRVAR(tree_verify_doc, "tree_verify(parent, depth, accepted, longest, /)\n--\n\n"
                              "Nodes of the longest accepted path, int32; parent and depth as "
                              "tree_build took and gave them.");

static PyObject *
tree_verify(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    PyArrayObject *a = dnspy_nargs("tree_verify", nargs, 4, 4) < 0
                           ? NULL
                           : dnspy_want(args[0], "parent", NPY_INT64, 1, DNSPY_IN);
    if (a == NULL) {
        return NULL;
    }
    const npy_intp n = PyArray_SIZE(a);
    PyArrayObject *depth = dnspy_want_shape(args[1], "depth", NPY_INT32, 1, &n, DNSPY_IN);
    PyArrayObject *accepted =
        depth == NULL ? NULL : dnspy_want_shape(args[2], "accepted", NPY_BOOL, 1, &n, DNSPY_IN);
    const Py_ssize_t longest = accepted == NULL ? -1 : PyLong_AsSsize_t(args[3]);
    if (longest < 0) {
        return NULL;
    }
    PyObject *scratch = new_array(n, -1, NPY_INT32);
    PyObject *path = new_array(longest, -1, NPY_INT32);
    PyObject *result = NULL;
    if (scratch != NULL && path != NULL) {
        const size_t count = dns_tree_verify(PyArray_DATA(a), PyArray_DATA(depth), (size_t)n,
                                             PyArray_DATA(accepted), DATA(scratch), DATA(path));
        result = PySequence_GetSlice(path, 0, (Py_ssize_t)count);
    }
    Py_XDECREF(scratch);
    Py_XDECREF(path);
    return result;
}

PyMethodDef kernels_tree_methods[] = {
    {"tree_build", tree_build, METH_O, tree_build_doc},
    DNSPY_FAST(tree_mask),
    DNSPY_FAST(tree_verify),
    {NULL, NULL, 0, NULL},
};
