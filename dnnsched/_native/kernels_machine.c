/* What the machine could do: roofline and probes. */
#include "kernels_parts.h"

#include "dns/probe.h"
#include "dns/roofline.h"

PyDoc_STRVAR(roofline_doc,
             "roofline(work, machine, /)\n--\n\n"
             "Seconds that one core needs at least: work is float64 (5,) as written by "
             "plan_work; machine is float64 (8,): flop/s, bytes/s of L1, L2, L3 and "
             "memory, bytes of L1, L2 and L3.");

static PyObject *
roofline(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    const npy_intp n_work = sizeof(dns_work) / sizeof(double);
    const npy_intp n_machine = sizeof(dns_machine) / sizeof(double);
    if (dnspy_nargs("roofline", nargs, 2, 2) < 0) {
        return NULL;
    }
    PyArrayObject *work = dnspy_want_shape(args[0], "work", NPY_FLOAT64, 1, &n_work, DNSPY_IN);
    PyArrayObject *machine =
        work == NULL ? NULL
                     : dnspy_want_shape(args[1], "machine", NPY_FLOAT64, 1, &n_machine, DNSPY_IN);
    if (machine == NULL) {
        return NULL;
    }
    return PyFloat_FromDouble(dns_roofline(PyArray_DATA(work), PyArray_DATA(machine)));
}

PyDoc_STRVAR(probe_fma_doc, "probe_fma(n, isa, /)\n--\n\n"
                            "Run n steps of the arithmetic probe; returns the flop done (int).");

static PyObject *
probe_fma(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    dns_isa isa;
    if (dnspy_nargs("probe_fma", nargs, 2, 2) < 0 || kernels_level(module, args[1], &isa) < 0) {
        return NULL;
    }
    const size_t n = PyLong_AsSize_t(args[0]);
    if (n == (size_t)-1 && PyErr_Occurred()) {
        return NULL;
    }
    const dns_probe_ops *ops = dns_probe_ops_select(isa);
    volatile float sink = ops->fma(n, 0.5F);
    (void)sink;
    return PyLong_FromSize_t(n * ops->flops);
}

PyDoc_STRVAR(
    probe_read_doc,
    "probe_read(x, times, isa, /)\n--\n\n"
    "Read the float32 (n,) array `times` times; returns its sum (float), 0 if times is 0.");

static PyObject *
probe_read(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    dns_isa isa;
    if (dnspy_nargs("probe_read", nargs, 3, 3) < 0 || kernels_level(module, args[2], &isa) < 0) {
        return NULL;
    }
    PyArrayObject *x = dnspy_want(args[0], "x", NPY_FLOAT32, 1, DNSPY_IN);
    const size_t times = PyLong_AsSize_t(args[1]);
    if (x == NULL || (times == (size_t)-1 && PyErr_Occurred())) {
        return NULL;
    }
    const dns_probe_ops *ops = dns_probe_ops_select(isa);
    return PyFloat_FromDouble((double)ops->read(PyArray_DATA(x), (size_t)PyArray_SIZE(x), times));
}

PyMethodDef kernels_machine_methods[] = {
    DNSPY_FAST(roofline),
    DNSPY_FAST(probe_fma),
    DNSPY_FAST(probe_read),
    {NULL, NULL, 0, NULL},
};
