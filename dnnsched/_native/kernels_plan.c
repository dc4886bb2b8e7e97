/* Matrix plans of every format: capsule, execution, work, dense form. */
#include "kernels_parts.h"

#include <string.h>

#include "dns/conv.h"

#define CAPSULE "dnnsched.plan"

static void
capsule_free(PyObject *capsule)
{
    dns_plan_destroy(PyCapsule_GetPointer(capsule, CAPSULE));
    PyObject *module = PyCapsule_GetContext(capsule);
    Py_XDECREF(module);
}

PyObject *
kernels_plan_capsule(PyObject *module, dns_plan *plan)
{
    PyObject *capsule = PyCapsule_New(plan, CAPSULE, capsule_free);
    if (capsule == NULL) {
        dns_plan_destroy(plan);
        return NULL;
    }
    if (PyCapsule_SetContext(capsule, module) == 0) {
        Py_INCREF(module);
    }
    return capsule;
}

dns_plan *
kernels_plan(PyObject *capsule)
{
    if (!PyCapsule_IsValid(capsule, CAPSULE)) {
        PyErr_Format(PyExc_TypeError, "plan: expected a plan, got %.100s",
                     Py_TYPE(capsule)->tp_name);
        return NULL;
    }
    return PyCapsule_GetPointer(capsule, CAPSULE);
}

dns_plan *
kernels_conv(PyObject *capsule)
{
    dns_plan *plan = kernels_plan(capsule);
    if (plan != NULL && dns_conv_of(plan) == NULL) {
        PyErr_Format(PyExc_TypeError, "plan: expected a convolution, got a matrix of format %s",
                     plan->ops->format);
        return NULL;
    }
    return plan;
}

PyDoc_STRVAR(plan_info_doc, "plan_info(plan, /)\n--\n\n"
                            "(format, M, K, stored weights, bytes held, level's name).");

static PyObject *
plan_info(PyObject *Py_UNUSED(module), PyObject *arg)
{
    const dns_plan *plan = kernels_plan(arg);
    return plan == NULL ? NULL
                        : Py_BuildValue("snnnns", plan->ops->format, (Py_ssize_t)plan->rows,
                                        (Py_ssize_t)plan->cols, (Py_ssize_t)plan->nnz,
                                        (Py_ssize_t)plan->bytes, dns_isa_name((int)plan->isa));
}

/* Runs a checked call; 0, or -1 with an exception set. */
static int
run(PyObject *module, const dns_plan *plan, dns_layout layout, dns_call *call)
{
    kernels_state *st = PyModule_GetState(module);
    dns_error err;
    size_t bytes = 0;
    size_t got = 0;
    if (kernels_check(module,
                      dns_plan_workspace(plan, layout, call->n, dns_threads_count(call->threads),
                                         &bytes, &err),
                      &err) < 0) {
        return -1;
    }
    call->ws = kernels_ws_take(st, bytes, &got);
    if (call->ws == NULL) {
        return -1;
    }
    KERNELS_BEGIN_LONG(plan->nnz * call->n + plan->rows * call->n);
    dns_plan_execute(plan, layout, call);
    KERNELS_END_LONG
    kernels_ws_give(st, call->ws, got);
    return 0;
}

PyDoc_STRVAR(plan_execute_doc,
             "plan_execute(plan, rows, x, out, threads, /)\n--\n\n"
             "out = act(W x + b). rows false: x is float32 (K, N), out (M, N); true: x is (N, K), "
             "out (N, M). The last axis is contiguous.");

static PyObject *
plan_execute(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (dnspy_nargs("plan_execute", nargs, 5, 5) < 0) {
        return NULL;
    }
    const dns_plan *plan = kernels_plan(args[0]);
    const int rows = PyObject_IsTrue(args[1]);
    if (plan == NULL || rows < 0) {
        return NULL;
    }
    if (dns_conv_of(plan) != NULL) {
        PyErr_SetString(PyExc_TypeError, "plan: expected a matrix, got a convolution");
        return NULL;
    }
    const npy_intp m = (npy_intp)plan->rows;
    const npy_intp k = (npy_intp)plan->cols;
    const npy_intp x_dims[2] = {rows ? -1 : k, rows ? k : -1};
    PyArrayObject *x = dnspy_want_shape(args[2], "x", NPY_FLOAT32, 2, x_dims, DNSPY_ROWS);
    if (x == NULL) {
        return NULL;
    }
    const npy_intp n = PyArray_DIM(x, rows ? 0 : 1);
    const npy_intp y_dims[2] = {rows ? n : m, rows ? m : n};
    PyArrayObject *y =
        dnspy_want_shape(args[3], "out", NPY_FLOAT32, 2, y_dims, DNSPY_ROWS | DNSPY_OUT);
    if (y == NULL || dnspy_no_overlap(y, "out", x, "x") < 0) {
        return NULL;
    }
    dns_call call = {.n = (size_t)n, .x = PyArray_DATA(x), .y = PyArray_DATA(y)};
    call.ldx = kernels_ld(x, "x");
    call.ldy = call.ldx < 0 ? -1 : kernels_ld(y, "out");
    if (call.ldy < 0 || kernels_threads(module, args[4], &call.threads) < 0 ||
        run(module, plan, rows ? DNS_ROWS : DNS_COLUMNS, &call) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(plan_to_dense_doc, "plan_to_dense(plan, out, /)\n--\n\n"
                                "Write the weights, float32 (M, K).");

static PyObject *
plan_to_dense(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    const dns_plan *plan =
        dnspy_nargs("plan_to_dense", nargs, 2, 2) < 0 ? NULL : kernels_plan(args[0]);
    if (plan == NULL) {
        return NULL;
    }
    const npy_intp dims[2] = {(npy_intp)plan->rows, (npy_intp)plan->cols};
    PyArrayObject *out = dnspy_want_shape(args[1], "out", NPY_FLOAT32, 2, dims, DNSPY_OUT);
    if (out == NULL) {
        return NULL;
    }
    dns_plan_to_dense(plan, PyArray_DATA(out));
    Py_RETURN_NONE;
}

PyDoc_STRVAR(plan_work_doc,
             "plan_work(plan, n, machine, out, /)\n--\n\n"
             "Write (flops, bytes of L1, L2, L3, memory) of an execution with n vectors, float64 "
             "(5,); machine as for roofline().");

static PyObject *
plan_work(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    const npy_intp n_machine = sizeof(dns_machine) / sizeof(double);
    const npy_intp n_work = sizeof(dns_work) / sizeof(double);
    const dns_plan *plan = dnspy_nargs("plan_work", nargs, 4, 4) < 0 ? NULL : kernels_plan(args[0]);
    if (plan == NULL) {
        return NULL;
    }
    const size_t n = PyLong_AsSize_t(args[1]);
    PyArrayObject *machine =
        dnspy_want_shape(args[2], "machine", NPY_FLOAT64, 1, &n_machine, DNSPY_IN);
    PyArrayObject *out = dnspy_want_shape(args[3], "out", NPY_FLOAT64, 1, &n_work, DNSPY_OUT);
    if (PyErr_Occurred() || machine == NULL || out == NULL) {
        return NULL;
    }
    const dns_work work = dns_plan_work(plan, n, PyArray_DATA(machine));
    memcpy(PyArray_DATA(out), &work, sizeof work);
    Py_RETURN_NONE;
}

PyMethodDef kernels_plan_methods[] = {
    {"plan_info", plan_info, METH_O, plan_info_doc},
    DNSPY_FAST(plan_execute),
    DNSPY_FAST(plan_to_dense),
    DNSPY_FAST(plan_work),
    {NULL, NULL, 0, NULL},
};
