/* Utilities shared by the binding modules: strict array checks and status -> exception.
 *
 * Native entry points are strict: exact dtype, native byte order, aligned, C-contiguous
 * unless a flag says otherwise, writeable outputs. The Python layer converts.
 */
#ifndef DNSPY_H
#define DNSPY_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#ifndef DNSPY_IMPLEMENTATION
#define NO_IMPORT_ARRAY
#endif
#include <numpy/arrayobject.h>

#include "dns/cpu.h"
#include "dns/status.h"

/* Per-module state that every binding module begins with. */
typedef struct dnspy_state {
    PyObject *format_error; /* dnnsched.errors.FormatError (a ValueError) */
    PyObject *state_error;  /* dnnsched.errors.StateError (a RuntimeError) */
    dns_isa top;            /* highest level that runs here */
    dns_isa isa;            /* level in use, chosen at import */
} dnspy_state;

/* Imports NumPy's C API and fills *st; 0 on success, -1 with an exception set. Call from
 * Py_mod_exec. */
int dnspy_init(dnspy_state *st);
int dnspy_traverse(dnspy_state *st, visitproc visit, void *arg);
void dnspy_clear(dnspy_state *st);

/* Whole Py_mod_exec of a module whose state begins with dnspy_state and needs nothing else:
 * dnspy_init() on its state, then dnspy_add_isa(). 0 on success, -1 with an exception set. */
int dnspy_exec(PyObject *module);

/* Adds _isa() and _set_isa(level) to the module, by which dnnsched.config.isa() reads and lowers
 * st->isa. Call after dnspy_init. */
int dnspy_add_isa(PyObject *module);

/* Entry of a method table: the METH_FASTCALL function `name` with its docstring name_doc. */
#define DNSPY_FAST(name) {#name, (PyCFunction)(void (*)(void))name, METH_FASTCALL, name##_doc}

/* The m_traverse, m_clear and m_free of a module whose state is a dnspy_state. */
int dnspy_module_traverse(PyObject *module, visitproc visit, void *arg);
int dnspy_module_clear(PyObject *module);
void dnspy_module_free(void *module);

/* Last slot before the terminator: NumPy's C API serves the main interpreter only. */
#if PY_VERSION_HEX >= 0x030C0000
#define DNSPY_SLOT_INTERPRETERS                                                                    \
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED}
#else
#define DNSPY_SLOT_INTERPRETERS {0, NULL}
#endif

/* Defines the extension module dnnsched._native._<name> (its only external symbol: PyInit__<name>),
 * whose state is exactly a dnspy_state: docstring, method table and Py_mod_exec function, which is
 * dnspy_exec or calls it. Once per extension, without a semicolon behind it. */
#define DNSPY_MODULE(name, doc, methods, exec)                                                     \
    static PyModuleDef_Slot name##_slots[] = {                                                     \
        {Py_mod_exec, (void *)(exec)}, DNSPY_SLOT_INTERPRETERS, {0, NULL}};                        \
    static struct PyModuleDef name##_definition = {                                                \
        PyModuleDef_HEAD_INIT,                                                                     \
        .m_name = "dnnsched._native._" #name,                                                      \
        .m_doc = (doc),                                                                            \
        .m_size = sizeof(dnspy_state),                                                             \
        .m_methods = (methods),                                                                    \
        .m_slots = name##_slots,                                                                   \
        .m_traverse = dnspy_module_traverse,                                                       \
        .m_clear = dnspy_module_clear,                                                             \
        .m_free = dnspy_module_free,                                                               \
    };                                                                                             \
    PyMODINIT_FUNC PyInit__##name(void)                                                            \
    {                                                                                              \
        return PyModuleDef_Init(&name##_definition);                                               \
    }

#define DNSPY_IN 0
#define DNSPY_OUT 1      /* must be writeable */
#define DNSPY_OPTIONAL 2 /* None gives NULL without an exception */
#define DNSPY_ROWS 4     /* last axis contiguous is enough (row stride is the caller's to read) */

/* A borrowed array of exactly this dtype and ndim (-1 = any), or NULL with TypeError / ValueError
 * that names the argument. Zero-size arrays pass. */
PyArrayObject *dnspy_want(PyObject *obj, const char *name, int typenum, int ndim, int flags);

/* As dnspy_want, and axis extents must equal dims[i] wherever dims[i] >= 0. */
PyArrayObject *dnspy_want_shape(PyObject *obj, const char *name, int typenum, int ndim,
                                const npy_intp *dims, int flags);

/* 0 if the two arrays share no memory, else -1 with ValueError naming both. */
int dnspy_no_overlap(PyArrayObject *a, const char *an, PyArrayObject *b, const char *bn);

/* Sets the exception of a failed status (ValueError, FormatError, MemoryError, StateError,
 * NotImplementedError, SystemError) with err's message and returns NULL. A DNS_ERR_CALLBACK
 * whose exception is already set keeps it. */
PyObject *dnspy_raise(dnspy_state *st, dns_status code, const dns_error *err);

/* 0 if nargs is what the function takes, else -1 with TypeError. */
int dnspy_nargs(const char *fn, Py_ssize_t got, Py_ssize_t min, Py_ssize_t max);

#endif
