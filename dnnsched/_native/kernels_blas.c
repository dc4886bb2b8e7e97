/* The OpenBLAS that dense kernels call: opened when first needed, into the module's table.
 *
 * It is opened locally, so it meets no other BLAS of the process, and its symbols carry the prefix
 * `scipy_` where it is the shipped one. It is told to use one thread: this project's threads split
 * the work above it, and NumPy's own copy keeps its settings.
 */
#include "kernels_parts.h"

#include <dlfcn.h>
#include <string.h>

#define STRING2_(x) #x
#define STRING_(x) STRING2_(x)

PyDoc_STRVAR(blas_build_doc, "blas_build()\n--\n\n"
                             "(kind, file) of the BLAS that this build opens: kind is "
                             "\"scipy-openblas\", \"system\" or \"none\".");

static PyObject *
blas_build(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return Py_BuildValue("ss", STRING_(DNNSCHED_BLAS), STRING_(DNNSCHED_BLAS_FILE));
}

/* Address of a function, plain or with the shipped library's prefix; NULL with ImportError. */
static void *
symbol(void *handle, const char *name, const char *path)
{
    char prefixed[64];
    (void)PyOS_snprintf(prefixed, sizeof prefixed, "scipy_%s", name);
    void *found = dlsym(handle, prefixed);
    if (found == NULL) {
        found = dlsym(handle, name);
    }
    if (found == NULL) {
        PyErr_Format(PyExc_ImportError, "%s: expected a BLAS with %s", path, name);
    }
    return found;
}

/* ISO C has no cast from a data to a function pointer; POSIX promises that the bytes are the same.
 */
#define GET(target, name)                                                                          \
    do {                                                                                           \
        void *address_ = symbol(handle, (name), path);                                             \
        if (address_ == NULL) {                                                                    \
            goto failed;                                                                           \
        }                                                                                          \
        memcpy(&(target), &address_, sizeof address_);                                             \
    } while (0)

PyDoc_STRVAR(blas_load_doc,
             "blas_load(path, /)\n--\n\n"
             "Open the BLAS at `path` unless one is open already. Raises ImportError.");

static PyObject *
blas_load(PyObject *module, PyObject *arg)
{
    kernels_state *st = PyModule_GetState(module);
    const char *path = PyUnicode_AsUTF8(arg);
    if (path == NULL) {
        return NULL;
    }
    if (st->blas_handle != NULL) {
        Py_RETURN_NONE;
    }
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        const char *reason = dlerror();
        PyErr_Format(PyExc_ImportError, "%s", reason != NULL ? reason : path);
        return NULL;
    }
    dns_blas blas;
    char *(*config)(void);
    char *(*core)(void);
    void (*set_threads)(int);
    int (*get_threads)(void);
    GET(blas.sgemm, "cblas_sgemm");
    GET(blas.sgemv, "cblas_sgemv");
    GET(config, "openblas_get_config");
    GET(core, "openblas_get_corename");
    GET(set_threads, "openblas_set_num_threads");
    GET(get_threads, "openblas_get_num_threads");
    set_threads(1);
    st->blas = blas;
    st->blas_config = config();
    st->blas_core = core();
    st->blas_threads = get_threads;
    st->blas_handle = handle;
    Py_RETURN_NONE;
failed:
    (void)dlclose(handle);
    return NULL;
}

PyDoc_STRVAR(blas_info_doc, "blas_info()\n--\n\n"
                            "(configuration, core, threads) of the open BLAS, None before it is.");

static PyObject *
blas_info(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    const kernels_state *st = PyModule_GetState(module);
    if (st->blas_handle == NULL) {
        Py_RETURN_NONE;
    }
    return Py_BuildValue("ssi", st->blas_config, st->blas_core, st->blas_threads());
}

PyMethodDef kernels_blas_methods[] = {
    {"blas_build", blas_build, METH_NOARGS, blas_build_doc},
    {"blas_load", blas_load, METH_O, blas_load_doc},
    {"blas_info", blas_info, METH_NOARGS, blas_info_doc},
    {NULL, NULL, 0, NULL},
};
