/* Binding of csrc/base: instruction-set levels, status names and how this build was made; the
 * base_*.c beside it add Arrow streams, CSV files, random draws and statistics. */
#include "base_parts.h"

#define DNSPY_STRING2_(x) #x
#define DNSPY_STRING_(x) DNSPY_STRING2_(x)

PyDoc_STRVAR(isa_detected_doc,
             "isa_detected()\n--\n\n"
             "Highest level that the CPU, its operating system and this build can run (str).");

static PyObject *
isa_detected(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return PyUnicode_FromString(dns_isa_name((int)dns_isa_detect()));
}

PyDoc_STRVAR(isa_allowed_doc,
             "isa_allowed()\n--\n\n"
             "isa_detected() lowered by the environment variable DNNSCHED_ISA (str).");

static PyObject *
isa_allowed(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return PyUnicode_FromString(dns_isa_name((int)dns_isa_default(NULL)));
}

PyDoc_STRVAR(status_name_doc,
             "status_name(code, /)\n--\n\nName of a status code of the C library (str).");

static PyObject *
status_name(PyObject *Py_UNUSED(module), PyObject *arg)
{
    const long code = PyLong_AsLong(arg);
    if (code == -1 && PyErr_Occurred()) {
        return NULL;
    }
    return PyUnicode_FromString(dns_status_name(code < 0 || code > 255 ? -1 : (int)code));
}

PyDoc_STRVAR(build_info_doc,
             "build_info()\n--\n\n"
             "Compiler, its flags, profile and sanitizer of this build (dict of str).");

#if !defined(DNNSCHED_CFLAGS)
#define DNNSCHED_CFLAGS "unknown"
#endif

static PyObject *
build_info(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
#if defined(__clang__)
    const char *compiler = __VERSION__;
#elif defined(__GNUC__)
    const char *compiler = "gcc " __VERSION__;
#else
    const char *compiler = "unknown";
#endif
#if defined(__SANITIZE_ADDRESS__)
    const char *sanitizer = "address";
#else
    const char *sanitizer = "none";
#endif
    return Py_BuildValue("{s:s,s:s,s:s,s:s}", "compiler", compiler, "cflags", DNNSCHED_CFLAGS,
                         "profile", DNSPY_STRING_(DNNSCHED_PROFILE), "sanitizer", sanitizer);
}

static PyMethodDef methods[] = {
    {"isa_detected", isa_detected, METH_NOARGS, isa_detected_doc},
    {"isa_allowed", isa_allowed, METH_NOARGS, isa_allowed_doc},
    {"status_name", status_name, METH_O, status_name_doc},
    {"build_info", build_info, METH_NOARGS, build_info_doc},
    {NULL, NULL, 0, NULL},
};

static int
base_exec(PyObject *module)
{
    return dnspy_exec(module) < 0 || PyModule_AddFunctions(module, base_arrow_methods) < 0 ||
                   PyModule_AddFunctions(module, base_csv_methods) < 0 ||
                   PyModule_AddFunctions(module, base_draw_methods) < 0 ||
                   PyModule_AddFunctions(module, base_arta_methods) < 0 ||
                   PyModule_AddFunctions(module, base_stats_methods) < 0
               ? -1
               : 0;
}

DNSPY_MODULE(base,
             "Instruction-set levels, status names, build record, Arrow streams, CSV files, random "
             "draws and "
             "statistics.",
             methods, base_exec)
