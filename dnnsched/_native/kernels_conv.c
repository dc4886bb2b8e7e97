/* Convolution plans: creation and execution. */
#include "kernels_parts.h"

#include "dns/conv.h"

PyDoc_STRVAR(conv_plan_doc,
             "conv_plan(w, shape, window, groups, layout, format, bias, lo, hi, isa, /)\n--\n\n"
             "A plan of float32 (O, C/groups, KH, KW) for images of int32 (C, H, W); window is "
             "int32 (stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w); layout 0 NCHW, 1 "
             "NHWC; format 0 dense, 1 csr, 2 depthwise; bias float32 (O,) or None.");

/* The convolution of the arguments w, shape, window, groups, layout; 0, or -1 with an exception. */
static int
conv_of(PyObject *module, PyObject *const *args, PyArrayObject *w, dns_conv *conv)
{
    static const npy_intp three = 3;
    static const npy_intp six = 6;
    PyArrayObject *shape = dnspy_want_shape(args[1], "shape", NPY_INT32, 1, &three, DNSPY_IN);
    PyArrayObject *window =
        shape == NULL ? NULL : dnspy_want_shape(args[2], "window", NPY_INT32, 1, &six, DNSPY_IN);
    if (window == NULL) {
        return -1;
    }
    const int32_t *s = PyArray_DATA(shape);
    const int32_t *v = PyArray_DATA(window);
    const size_t groups = PyLong_AsSize_t(args[3]);
    const long layout = PyLong_AsLong(args[4]);
    if (PyErr_Occurred()) {
        return -1;
    }
    if (layout < DNS_NCHW || layout > DNS_NHWC || PyArray_DIM(w, 2) > INT32_MAX ||
        PyArray_DIM(w, 3) > INT32_MAX || s[0] < 0) {
        PyErr_SetString(PyExc_ValueError, "conv: expected layout 0 or 1 and extents below 2^31");
        return -1;
    }
    *conv = (dns_conv){.channels = (size_t)s[0],
                       .outputs = (size_t)PyArray_DIM(w, 0),
                       .groups = groups,
                       .window = {.in_h = s[1],
                                  .in_w = s[2],
                                  .kernel_h = (int32_t)PyArray_DIM(w, 2),
                                  .kernel_w = (int32_t)PyArray_DIM(w, 3),
                                  .stride_h = v[0],
                                  .stride_w = v[1],
                                  .pad_h = v[2],
                                  .pad_w = v[3],
                                  .dilation_h = v[4],
                                  .dilation_w = v[5]},
                       .layout = (dns_conv_layout)layout};
    dns_error err;
    if (kernels_check(module, dns_conv_check(conv, &err), &err) < 0) {
        return -1;
    }
    if ((size_t)PyArray_DIM(w, 1) != conv->channels / groups) {
        PyErr_Format(PyExc_ValueError, "w: expected %zu channels per group, got %zd",
                     conv->channels / groups, (Py_ssize_t)PyArray_DIM(w, 1));
        return -1;
    }
    return 0;
}

static PyObject *
conv_plan(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (dnspy_nargs("conv_plan", nargs, 10, 10) < 0) {
        return NULL;
    }
    const kernels_state *st = PyModule_GetState(module);
    PyArrayObject *w = dnspy_want(args[0], "w", NPY_FLOAT32, 4, DNSPY_IN);
    dns_conv conv;
    const float *bias = NULL;
    dns_act act;
    dns_isa isa;
    if (w == NULL || conv_of(module, args, w, &conv) < 0 ||
        kernels_bias(args[6], PyArray_DIM(w, 0), &bias) < 0 ||
        kernels_act(args[7], args[8], &act) < 0 || kernels_level(module, args[9], &isa) < 0) {
        return NULL;
    }
    const long format = PyLong_AsLong(args[5]);
    if (format < DNS_CONV_IM2COL || format > DNS_CONV_DIRECT) {
        return PyErr_Occurred()
                   ? NULL
                   : PyErr_Format(PyExc_ValueError, "format: expected 0, 1 or 2, got %ld", format);
    }
    dns_plan *plan = NULL;
    dns_error err;
    dns_status status;
    const dns_blas *blas = st->blas_handle != NULL ? &st->blas : NULL;
    KERNELS_BEGIN_LONG(PyArray_NBYTES(w));
    status = dns_conv_plan_create(&conv, (dns_conv_format)format, PyArray_DATA(w), bias, act, blas,
                                  isa, NULL, &plan, &err);
    KERNELS_END_LONG
    return kernels_check(module, status, &err) < 0 ? NULL : kernels_plan_capsule(module, plan);
}

PyDoc_STRVAR(conv_out_doc, "conv_out(plan, /)\n--\n\n"
                           "(O, OH, OW) of a convolution plan.");

static PyObject *
conv_out(PyObject *Py_UNUSED(module), PyObject *arg)
{
    const dns_plan *plan = kernels_conv(arg);
    if (plan == NULL) {
        return NULL;
    }
    const dns_conv *conv = dns_conv_of(plan);
    return Py_BuildValue("nii", (Py_ssize_t)conv->outputs, (int)conv->window.out_h,
                         (int)conv->window.out_w);
}

PyDoc_STRVAR(conv_execute_doc,
             "conv_execute(plan, x, out, threads, /)\n--\n\n"
             "Convolve float32 (N, C, H, W) into (N, O, OH, OW), channels last where the plan is; "
             "both C-contiguous.");

static PyObject *
conv_execute(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    kernels_state *st = PyModule_GetState(module);
    const dns_plan *plan =
        dnspy_nargs("conv_execute", nargs, 4, 4) < 0 ? NULL : kernels_conv(args[0]);
    if (plan == NULL) {
        return NULL;
    }
    const dns_conv *conv = dns_conv_of(plan);
    const dns_window *g = &conv->window;
    const bool last = conv->layout == DNS_NHWC;
    const npy_intp c = (npy_intp)conv->channels;
    const npy_intp o = (npy_intp)conv->outputs;
    const npy_intp x_dims[4] = {-1, last ? g->in_h : c, last ? g->in_w : g->in_h,
                                last ? c : g->in_w};
    PyArrayObject *x = dnspy_want_shape(args[1], "x", NPY_FLOAT32, 4, x_dims, DNSPY_IN);
    if (x == NULL) {
        return NULL;
    }
    const npy_intp y_dims[4] = {PyArray_DIM(x, 0), last ? g->out_h : o, last ? g->out_w : g->out_h,
                                last ? o : g->out_w};
    PyArrayObject *y = dnspy_want_shape(args[2], "out", NPY_FLOAT32, 4, y_dims, DNSPY_OUT);
    dns_call call = {.n = (size_t)PyArray_DIM(x, 0)};
    if (y == NULL || dnspy_no_overlap(y, "out", x, "x") < 0 ||
        kernels_threads(module, args[3], &call.threads) < 0) {
        return NULL;
    }
    dns_error err;
    size_t bytes = 0;
    size_t got = 0;
    if (kernels_check(
            module, dns_conv_workspace(plan, call.n, dns_threads_count(call.threads), &bytes, &err),
            &err) < 0) {
        return NULL;
    }
    call.x = PyArray_DATA(x);
    call.y = PyArray_DATA(y);
    call.ldx = (ptrdiff_t)c * g->in_h * g->in_w;
    call.ldy = (ptrdiff_t)o * g->out_h * g->out_w;
    call.ws = kernels_ws_take(st, bytes, &got);
    if (call.ws == NULL) {
        return NULL;
    }
    KERNELS_BEGIN_LONG(PyArray_NBYTES(x));
    dns_conv_execute(plan, &call);
    KERNELS_END_LONG
    kernels_ws_give(st, call.ws, got);
    Py_RETURN_NONE;
}

PyMethodDef kernels_conv_methods[] = {
    DNSPY_FAST(conv_plan),
    {"conv_out", conv_out, METH_O, conv_out_doc},
    DNSPY_FAST(conv_execute),
    {NULL, NULL, 0, NULL},
};
