/* Binding of csrc/kernels: module state and what all families need of it. The families are the
 * kernels_*.c beside it. */
#include "kernels_parts.h"

#include <string.h>
#include <unistd.h>

static PyMethodDef *const parts[] = {
    kernels_attention_methods, kernels_blas_methods,    kernels_bsr_methods,
    kernels_butterfly_methods, kernels_conv_methods,    kernels_count_methods,
    kernels_csr_methods,       kernels_dense_methods,   kernels_fft_methods,
    kernels_fwht_methods,      kernels_int8_methods,    kernels_lstm_methods,
    kernels_machine_methods,   kernels_nbp_methods,     kernels_nm_methods,
    kernels_plan_methods,      kernels_pq_methods,      kernels_rowstats_methods,
    kernels_sddmm_methods,     kernels_softmax_methods, kernels_tree_methods,
};

#define WS_KEEP ((size_t)64 << 20) /* a larger workspace is freed after the call */

int
kernels_level(PyObject *module, PyObject *arg, dns_isa *isa)
{
    const dnspy_state *st = PyModule_GetState(module);
    const long level = PyLong_AsLong(arg);
    if (level == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (level > (long)st->top) {
        PyErr_Format(PyExc_ValueError, "isa: expected at most %s on this machine, got %s",
                     dns_isa_name((int)st->top), dns_isa_name((int)level));
        return -1;
    }
    *isa = level < 0 ? st->isa : (dns_isa)level;
    return 0;
}

int
kernels_check(PyObject *module, dns_status status, const dns_error *err)
{
    if (status != DNS_OK) {
        (void)dnspy_raise(PyModule_GetState(module), status, err);
        return -1;
    }
    return 0;
}

ptrdiff_t
kernels_ld(PyArrayObject *a, const char *name)
{
    const npy_intp columns = PyArray_DIM(a, 1);
    if (PyArray_DIM(a, 0) < 2) {
        return columns;
    }
    const npy_intp ld = PyArray_STRIDE(a, 0) / PyArray_ITEMSIZE(a);
    if (ld < columns || ld > INT32_MAX || PyArray_STRIDE(a, 0) % PyArray_ITEMSIZE(a) != 0) {
        PyErr_Format(PyExc_ValueError,
                     "%s: expected rows at least %zd elements apart and below 2^31, got %zd", name,
                     (Py_ssize_t)columns, (Py_ssize_t)ld);
        return -1;
    }
    return ld;
}

int
kernels_same_or_apart(PyArrayObject *x, PyArrayObject *y)
{
    const int nd = PyArray_NDIM(x);
    if (PyArray_DATA(x) == PyArray_DATA(y) &&
        PyArray_STRIDE(x, nd - 2) == PyArray_STRIDE(y, nd - 2)) {
        return 0;
    }
    return dnspy_no_overlap(y, "out", x, "x");
}

int
kernels_threads(PyObject *module, PyObject *arg, dns_threads **pool)
{
    kernels_state *st = PyModule_GetState(module);
    const long n = PyLong_AsLong(arg);
    if (n == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (n < 1 || n > DNS_THREADS_MAX) {
        PyErr_Format(PyExc_ValueError, "threads: expected an integer >= 1 and <= %d, got %ld",
                     DNS_THREADS_MAX, n);
        return -1;
    }
    *pool = NULL;
    if (n == 1) {
        return 0;
    }
    if (st->pools_pid !=
        (long)getpid()) { /* a fork has no workers: leave the parent's pools alone */
        memset(st->pools, 0, sizeof st->pools);
        st->pools_pid = (long)getpid();
    }
    if (st->pools[n] == NULL) {
        dns_error err;
        if (kernels_check(module, dns_threads_create((size_t)n, NULL, &st->pools[n], &err), &err) <
            0) {
            return -1;
        }
    }
    *pool = st->pools[n];
    return 0;
}

void *
kernels_ws_take(kernels_state *st, size_t bytes, size_t *got)
{
    if (st->ws != NULL && st->ws_bytes >= bytes) {
        void *ws = st->ws;
        *got = st->ws_bytes;
        st->ws = NULL;
        return ws;
    }
    void *ws = dns_mem_new(NULL, bytes, 1);
    *got = bytes;
    return ws != NULL ? ws : PyErr_NoMemory();
}

void
kernels_ws_give(kernels_state *st, void *ws, size_t got)
{
    if (got > WS_KEEP || (st->ws != NULL && st->ws_bytes >= got)) {
        dns_mem_free(NULL, ws, got, 1);
        return;
    }
    dns_mem_free(NULL, st->ws, st->ws_bytes, 1);
    st->ws = ws;
    st->ws_bytes = got;
}

int
kernels_bias(PyObject *arg, npy_intp rows, const float **bias)
{
    *bias = NULL;
    if (arg == Py_None) {
        return 0;
    }
    PyArrayObject *a = dnspy_want_shape(arg, "bias", NPY_FLOAT32, 1, &rows, DNSPY_IN);
    if (a == NULL) {
        return -1;
    }
    *bias = PyArray_DATA(a);
    return 0;
}

int
kernels_act(PyObject *lo, PyObject *hi, dns_act *act)
{
    act->lo = (float)PyFloat_AsDouble(lo);
    act->hi = (float)PyFloat_AsDouble(hi);
    return PyErr_Occurred() ? -1 : 0;
}

static int
kernels_exec(PyObject *module)
{
    if (dnspy_exec(module) < 0) {
        return -1;
    }
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (PyModule_AddFunctions(module, parts[i]) < 0) {
            return -1;
        }
    }
    return 0;
}

static void
kernels_free(void *module)
{
    kernels_state *st = PyModule_GetState(module);
    if (st != NULL) {
        for (size_t n = 0; n <= DNS_THREADS_MAX && st->pools_pid == (long)getpid(); n++) {
            dns_threads_destroy(st->pools[n]);
        }
        for (size_t i = 0; i < DNS_N_ISA * (DNS_FFT_MAX_LOG2 + 1); i++) {
            dns_fft_destroy(st->ffts[i / (DNS_FFT_MAX_LOG2 + 1)][i % (DNS_FFT_MAX_LOG2 + 1)]);
        }
        dns_mem_free(NULL, st->ws, st->ws_bytes, 1);
    }
    dnspy_module_free(module);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)kernels_exec}, DNSPY_SLOT_INTERPRETERS, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "dnnsched._native._kernels",
    .m_doc = "Kernels: counts, matrix plans, and what the machine could do.",
    .m_size = sizeof(kernels_state),
    .m_slots = slots,
    .m_traverse = dnspy_module_traverse,
    .m_clear = dnspy_module_clear,
    .m_free = kernels_free,
};

PyMODINIT_FUNC
PyInit__kernels(void)
{
    return PyModuleDef_Init(&definition);
}
