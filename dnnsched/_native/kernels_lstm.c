/* LSTM cells: creation, steps, gates, states, work; and rank-one terms of a matrix. */
#include "kernels_parts.h"

#include <string.h>

#include "dns/lowrank.h"
#include "dns/lstm.h"

/* The plan of a capsule that holds a cell; NULL with TypeError. */
static const dns_plan *
cell_of(PyObject *capsule)
{
    const dns_plan *plan = kernels_plan(capsule);
    if (plan != NULL && dns_lstm_of(plan) == NULL) {
        PyErr_Format(PyExc_TypeError, "plan: expected an LSTM cell, got a plan of format %s",
                     plan->ops->format);
        return NULL;
    }
    return plan;
}

/* A cell's shape of the arguments inputs, hidden (extent of an array) and output_tanh. */
static int
shape_of(PyObject *inputs, npy_intp hidden, PyObject *output_tanh, dns_lstm *shape)
{
    const int with_tanh = PyObject_IsTrue(output_tanh);
    *shape = (dns_lstm){PyLong_AsSize_t(inputs), (size_t)hidden, with_tanh > 0};
    return with_tanh < 0 || PyErr_Occurred() ? -1 : 0;
}

PyDoc_STRVAR(lstm_dense_doc,
             "lstm_dense(w, output_tanh, bias, isa, /)\n--\n\n"
             "A cell of float32 (4H, D + H), inputs before states; bias float32 (4H,) or None.");

static PyObject *
lstm_dense(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (dnspy_nargs("lstm_dense", nargs, 4, 4) < 0) {
        return NULL;
    }
    PyArrayObject *w = dnspy_want(args[0], "w", NPY_FLOAT32, 2, DNSPY_ROWS);
    const float *bias = NULL;
    dns_isa isa;
    if (w == NULL || kernels_bias(args[2], PyArray_DIM(w, 0), &bias) < 0 ||
        kernels_level(module, args[3], &isa) < 0) {
        return NULL;
    }
    const npy_intp hidden = PyArray_DIM(w, 0) / DNS_GATES;
    if (PyArray_DIM(w, 0) % DNS_GATES != 0 || PyArray_DIM(w, 1) < hidden) {
        return PyErr_Format(PyExc_ValueError, "w: expected shape (4H, D + H), got (%zd, %zd)",
                            (Py_ssize_t)PyArray_DIM(w, 0), (Py_ssize_t)PyArray_DIM(w, 1));
    }
    const int with_tanh = PyObject_IsTrue(args[1]);
    const ptrdiff_t ld = kernels_ld(w, "w");
    if (with_tanh < 0 || ld < 0) {
        return NULL;
    }
    const dns_lstm shape = {(size_t)(PyArray_DIM(w, 1) - hidden), (size_t)hidden, with_tanh > 0};
    dns_plan *plan = NULL;
    dns_error err;
    dns_status status;
    KERNELS_BEGIN_LONG(PyArray_NBYTES(w));
    status = dns_lstm_dense_create(&shape, PyArray_DATA(w), ld, bias, isa, NULL, &plan, &err);
    KERNELS_END_LONG
    return kernels_check(module, status, &err) < 0 ? NULL : kernels_plan_capsule(module, plan);
}

/* The arrays of terms; sizes of u and v from themselves. 0, or -1 with an exception set. */
static int
terms_of(PyObject *const *args, int flags, dns_lstm_terms *t, npy_intp *hidden)
{
    PyArrayObject *u = dnspy_want(args[1], "u", NPY_FLOAT32, 3, flags);
    PyArrayObject *v = u == NULL ? NULL : dnspy_want(args[2], "v", NPY_FLOAT32, 3, flags);
    if (v == NULL) {
        return -1;
    }
    const npy_intp dims[3] = {DNS_GATES, PyArray_DIM(u, 1), PyArray_DIM(v, 2)};
    PyArrayObject *s = dnspy_want_shape(args[0], "s", NPY_FLOAT32, 2, dims, flags);
    PyArrayObject *columns = NULL;
    if (s == NULL || PyArray_DIM(u, 0) != DNS_GATES || PyArray_DIM(v, 0) != DNS_GATES ||
        PyArray_DIM(v, 1) != dims[1]) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_ValueError, "u, v: expected shapes (4, N, H) and (4, N, nz)");
        }
        return -1;
    }
    if (args[3] != Py_None) {
        columns = dnspy_want_shape(args[3], "columns", NPY_INT32, 3, dims, flags);
        if (columns == NULL) {
            return -1;
        }
    }
    *t = (dns_lstm_terms){.terms = (size_t)dims[1],
                          .nz = (size_t)dims[2],
                          .s = PyArray_DATA(s),
                          .u = PyArray_DATA(u),
                          .v = PyArray_DATA(v),
                          .columns = columns == NULL ? NULL : PyArray_DATA(columns)};
    *hidden = PyArray_DIM(u, 2);
    return 0;
}

PyDoc_STRVAR(lstm_terms_doc,
             "lstm_terms(s, u, v, columns, inputs, output_tanh, bias, isa, /)\n--\n\n"
             "A cell of rank-one terms: float32 (4, N), (4, N, H), (4, N, nz), int32 (4, N, nz) or "
             "None for whole v.");

static PyObject *
lstm_terms(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (dnspy_nargs("lstm_terms", nargs, 8, 8) < 0) {
        return NULL;
    }
    dns_lstm_terms t;
    dns_lstm shape;
    npy_intp hidden = 0;
    const float *bias = NULL;
    dns_isa isa;
    if (terms_of(args, DNSPY_IN, &t, &hidden) < 0 ||
        shape_of(args[4], hidden, args[5], &shape) < 0 ||
        kernels_bias(args[6], DNS_GATES * hidden, &bias) < 0 ||
        kernels_level(module, args[7], &isa) < 0) {
        return NULL;
    }
    dns_plan *plan = NULL;
    dns_error err;
    dns_status status;
    KERNELS_BEGIN_LONG(t.terms * (t.nz + shape.hidden));
    status = dns_lstm_terms_create(&shape, &t, bias, isa, NULL, &plan, &err);
    KERNELS_END_LONG
    return kernels_check(module, status, &err) < 0 ? NULL : kernels_plan_capsule(module, plan);
}

PyDoc_STRVAR(lstm_wrap_doc,
             "lstm_wrap(gates, output_tanh, /)\n--\n\n"
             "A cell whose matrix is another plan of 4H rows, which it keeps alive.");

static PyObject *
lstm_wrap(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    const dns_plan *gates =
        dnspy_nargs("lstm_wrap", nargs, 2, 2) < 0 ? NULL : kernels_plan(args[0]);
    const int with_tanh = gates == NULL ? -1 : PyObject_IsTrue(args[1]);
    if (with_tanh < 0) {
        return NULL;
    }
    const size_t hidden = gates->rows / DNS_GATES;
    if (gates->rows % DNS_GATES != 0 || gates->cols < hidden) {
        return PyErr_Format(PyExc_ValueError,
                            "gates: expected a plan of shape (4H, D + H), got (%zu, %zu)",
                            gates->rows, gates->cols);
    }
    const dns_lstm shape = {gates->cols - hidden, hidden, with_tanh > 0};
    dns_plan *plan = NULL;
    dns_error err;
    if (kernels_check(module, dns_lstm_wrap_create(&shape, gates, NULL, &plan, &err), &err) < 0) {
        return NULL;
    }
    PyObject *capsule = kernels_plan_capsule(module, plan);
    PyObject *both = capsule == NULL ? NULL : PyTuple_Pack(2, module, args[0]);
    if (both == NULL) {
        Py_XDECREF(capsule);
        return NULL;
    }
    PyObject *before = PyCapsule_GetContext(capsule);
    if (PyCapsule_SetContext(capsule, both) == 0) {
        Py_XDECREF(before);
    }
    return capsule;
}

PyDoc_STRVAR(lstm_info_doc, "lstm_info(plan, /)\n--\n\n"
                            "(D, H, terms, elements of each v, output_tanh) of a cell.");

static PyObject *
lstm_info(PyObject *Py_UNUSED(module), PyObject *arg)
{
    const dns_plan *plan = cell_of(arg);
    if (plan == NULL) {
        return NULL;
    }
    const dns_lstm *shape = dns_lstm_of(plan);
    size_t nz = 0;
    const size_t terms = dns_lstm_n_terms(plan, &nz);
    return Py_BuildValue("nnnnO", (Py_ssize_t)shape->inputs, (Py_ssize_t)shape->hidden,
                         (Py_ssize_t)terms, (Py_ssize_t)nz,
                         shape->output_tanh ? Py_True : Py_False);
}

PyDoc_STRVAR(lstm_unpack_doc, "lstm_unpack(plan, s, u, v, columns, /)\n--\n\n"
                              "Write the terms of a cell, arrays as in lstm_terms.");

static PyObject *
lstm_unpack(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    const dns_plan *plan = dnspy_nargs("lstm_unpack", nargs, 5, 5) < 0 ? NULL : cell_of(args[0]);
    dns_lstm_terms t;
    npy_intp hidden = 0;
    if (plan == NULL || terms_of(args + 1, DNSPY_OUT, &t, &hidden) < 0) {
        return NULL;
    }
    size_t nz = 0;
    if (dns_lstm_n_terms(plan, &nz) != t.terms || nz != t.nz ||
        (size_t)hidden != dns_lstm_of(plan)->hidden) {
        return PyErr_Format(PyExc_ValueError, "u, v: expected the plan's terms and extents");
    }
    dns_lstm_unpack(plan, (float *)t.s, (float *)t.u, (float *)t.v, (int32_t *)t.columns);
    Py_RETURN_NONE;
}

/* A row-major float32 matrix (n, extent); n = -1 takes any. NULL with an exception set. */
static PyArrayObject *
rows_of(PyObject *arg, const char *name, npy_intp n, npy_intp extent, int flags, ptrdiff_t *ld)
{
    const npy_intp dims[2] = {n, extent};
    PyArrayObject *a = dnspy_want_shape(arg, name, NPY_FLOAT32, 2, dims, DNSPY_ROWS | flags);
    if (a == NULL) {
        return NULL;
    }
    *ld = kernels_ld(a, name);
    return *ld < 0 ? NULL : a;
}

/* Workspace of a call; 0, or -1 with an exception set. */
static int
take_workspace(PyObject *module, const dns_plan *plan, dns_lstm_call *call, size_t *got)
{
    dns_error err;
    size_t bytes = 0;
    if (kernels_check(
            module,
            dns_lstm_workspace(plan, call->n, dns_threads_count(call->threads), &bytes, &err),
            &err) < 0) {
        return -1;
    }
    call->ws = kernels_ws_take(PyModule_GetState(module), bytes, got);
    return call->ws == NULL ? -1 : 0;
}

/* The number of a term; 0, or -1 with an exception set. */
static int
term_of(const dns_plan *plan, PyObject *arg, size_t low, size_t *term)
{
    size_t nz = 0;
    const size_t most = dns_lstm_n_terms(plan, &nz);
    *term = PyLong_AsSize_t(arg);
    if (PyErr_Occurred()) {
        return -1;
    }
    if (*term < low || *term > most) {
        PyErr_Format(PyExc_ValueError, "terms: expected an integer in [%zu, %zu], got %zu", low,
                     most, *term);
        return -1;
    }
    return 0;
}

/* Same memory, element by element, or none in common; 0, or -1 with an exception set. */
static int
same_or_apart(PyArrayObject *out, const char *out_name, PyArrayObject *in, const char *name)
{
    const bool same = PyArray_DATA(out) == PyArray_DATA(in) &&
                      (PyArray_DIM(in, 0) < 2 || PyArray_STRIDE(out, 0) == PyArray_STRIDE(in, 0));
    return same ? 0 : dnspy_no_overlap(out, out_name, in, name);
}

/* States of a call: c, and the results, (n, H); 0, or -1 with an exception set. */
static int
states_of(PyObject *c_arg, PyObject *h_out_arg, PyObject *c_out_arg, npy_intp hidden,
          dns_lstm_call *call, PyArrayObject *out[2])
{
    const npy_intp n = (npy_intp)call->n;
    PyArrayObject *c = rows_of(c_arg, "c", n, hidden, DNSPY_IN, &call->ldc);
    out[0] = c == NULL ? NULL : rows_of(h_out_arg, "h_out", n, hidden, DNSPY_OUT, &call->ldh_out);
    out[1] =
        out[0] == NULL ? NULL : rows_of(c_out_arg, "c_out", n, hidden, DNSPY_OUT, &call->ldc_out);
    if (out[1] == NULL || dnspy_no_overlap(out[0], "h_out", out[1], "c_out") < 0 ||
        dnspy_no_overlap(out[0], "h_out", c, "c") < 0 ||
        same_or_apart(out[1], "c_out", c, "c") < 0) {
        return -1;
    }
    call->c = PyArray_DATA(c);
    call->h_out = PyArray_DATA(out[0]);
    call->c_out = PyArray_DATA(out[1]);
    return 0;
}

/* Inputs of a call: x (n, D) and h (n, H); 0, or -1 with an exception set. */
static int
inputs_of(const dns_plan *plan, PyObject *x_arg, PyObject *h_arg, dns_lstm_call *call,
          PyArrayObject *in[2])
{
    const dns_lstm *shape = dns_lstm_of(plan);
    in[0] = rows_of(x_arg, "x", -1, (npy_intp)shape->inputs, DNSPY_IN, &call->ldx);
    if (in[0] == NULL) {
        return -1;
    }
    const npy_intp n = PyArray_DIM(in[0], 0);
    in[1] = rows_of(h_arg, "h", n, (npy_intp)shape->hidden, DNSPY_IN, &call->ldh);
    if (in[1] == NULL) {
        return -1;
    }
    call->n = (size_t)n;
    call->x = PyArray_DATA(in[0]);
    call->h = PyArray_DATA(in[1]);
    return 0;
}

PyDoc_STRVAR(lstm_step_doc,
             "lstm_step(plan, x, h, c, h_out, c_out, terms, threads, /)\n--\n\n"
             "Write the new states, float32 (n, H), of x (n, D) and h, c (n, H); h_out may be h, "
             "and c_out c.");

static PyObject *
lstm_step(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    const dns_plan *plan = dnspy_nargs("lstm_step", nargs, 8, 8) < 0 ? NULL : cell_of(args[0]);
    dns_lstm_call call;
    memset(&call, 0, sizeof call);
    PyArrayObject *in[2];
    PyArrayObject *out[2];
    size_t got = 0;
    if (plan == NULL || inputs_of(plan, args[1], args[2], &call, in) < 0 ||
        states_of(args[3], args[4], args[5], (npy_intp)dns_lstm_of(plan)->hidden, &call, out) < 0 ||
        dnspy_no_overlap(out[0], "h_out", in[0], "x") < 0 ||
        same_or_apart(out[0], "h_out", in[1], "h") < 0 ||
        dnspy_no_overlap(out[1], "c_out", in[0], "x") < 0 ||
        dnspy_no_overlap(out[1], "c_out", in[1], "h") < 0 ||
        term_of(plan, args[6], 0, &call.stop) < 0 ||
        kernels_threads(module, args[7], &call.threads) < 0 ||
        take_workspace(module, plan, &call, &got) < 0) {
        return NULL;
    }
    KERNELS_BEGIN_LONG(plan->nnz * call.n + plan->rows * call.n);
    dns_lstm_step(plan, &call);
    KERNELS_END_LONG
    kernels_ws_give(PyModule_GetState(module), call.ws, got);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(
    lstm_gates_doc,
    "lstm_gates(plan, x, h, out, first, stop, threads, /)\n--\n\n"
    "Write the gates' sums, float32 (n, 4H): first = 0 the bias and the terms before stop; "
    "else add the terms from first on to what out holds.");

static PyObject *
lstm_gates(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    const dns_plan *plan = dnspy_nargs("lstm_gates", nargs, 7, 7) < 0 ? NULL : cell_of(args[0]);
    dns_lstm_call call;
    memset(&call, 0, sizeof call);
    PyArrayObject *in[2];
    size_t first = 0;
    size_t got = 0;
    if (plan == NULL || inputs_of(plan, args[1], args[2], &call, in) < 0 ||
        term_of(plan, args[4], 0, &first) < 0 || term_of(plan, args[5], first, &call.stop) < 0 ||
        kernels_threads(module, args[6], &call.threads) < 0) {
        return NULL;
    }
    ptrdiff_t ldz = 0;
    PyArrayObject *z =
        rows_of(args[3], "out", (npy_intp)call.n, (npy_intp)plan->rows, DNSPY_OUT, &ldz);
    if (z == NULL || dnspy_no_overlap(z, "out", in[0], "x") < 0 ||
        dnspy_no_overlap(z, "out", in[1], "h") < 0 ||
        take_workspace(module, plan, &call, &got) < 0) {
        return NULL;
    }
    KERNELS_BEGIN_LONG(plan->nnz * call.n + plan->rows * call.n);
    dns_lstm_gates(plan, &call, first, PyArray_DATA(z), ldz);
    KERNELS_END_LONG
    kernels_ws_give(PyModule_GetState(module), call.ws, got);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(lstm_cell_doc, "lstm_cell(plan, z, c, h_out, c_out, /)\n--\n\n"
                            "Write the new states, float32 (n, H), of gate sums z (n, 4H) and c; "
                            "c_out may be c.");

static PyObject *
lstm_cell(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    const dns_plan *plan = dnspy_nargs("lstm_cell", nargs, 5, 5) < 0 ? NULL : cell_of(args[0]);
    if (plan == NULL) {
        return NULL;
    }
    ptrdiff_t ldz = 0;
    PyArrayObject *z = rows_of(args[1], "z", -1, (npy_intp)plan->rows, DNSPY_IN, &ldz);
    if (z == NULL) {
        return NULL;
    }
    dns_lstm_call call;
    memset(&call, 0, sizeof call);
    call.n = (size_t)PyArray_DIM(z, 0);
    PyArrayObject *out[2];
    if (states_of(args[2], args[3], args[4], (npy_intp)dns_lstm_of(plan)->hidden, &call, out) < 0 ||
        dnspy_no_overlap(out[0], "h_out", z, "z") < 0 ||
        dnspy_no_overlap(out[1], "c_out", z, "z") < 0) {
        return NULL;
    }
    KERNELS_BEGIN_LONG(PyArray_NBYTES(z));
    dns_lstm_cell(plan, &call, PyArray_DATA(z), ldz);
    KERNELS_END_LONG
    Py_RETURN_NONE;
}

PyDoc_STRVAR(lstm_work_doc,
             "lstm_work(plan, n, terms, machine, out, /)\n--\n\n"
             "Write (flops, bytes of L1, L2, L3, memory) of a step with n vectors, float64 (5,).");

static PyObject *
lstm_work(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    const npy_intp n_machine = sizeof(dns_machine) / sizeof(double);
    const npy_intp n_work = sizeof(dns_work) / sizeof(double);
    const dns_plan *plan = dnspy_nargs("lstm_work", nargs, 5, 5) < 0 ? NULL : cell_of(args[0]);
    size_t stop = 0;
    if (plan == NULL || term_of(plan, args[2], 0, &stop) < 0) {
        return NULL;
    }
    const size_t n = PyLong_AsSize_t(args[1]);
    PyArrayObject *machine =
        dnspy_want_shape(args[3], "machine", NPY_FLOAT64, 1, &n_machine, DNSPY_IN);
    PyArrayObject *out = dnspy_want_shape(args[4], "out", NPY_FLOAT64, 1, &n_work, DNSPY_OUT);
    if (PyErr_Occurred() || machine == NULL || out == NULL) {
        return NULL;
    }
    const dns_work work = dns_lstm_work(plan, n, stop, PyArray_DATA(machine));
    memcpy(PyArray_DATA(out), &work, sizeof work);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(lowrank_terms_doc,
             "lowrank_terms(w, s, u, v, columns, isa, /)\n--\n\n"
             "Write rank-one terms of float32 (M, K): float32 (N,), (N, M), (N, nz), int32 (N, "
             "nz).");

static PyObject *
lowrank_terms(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (dnspy_nargs("lowrank_terms", nargs, 6, 6) < 0) {
        return NULL;
    }
    PyArrayObject *w = dnspy_want(args[0], "w", NPY_FLOAT32, 2, DNSPY_ROWS);
    PyArrayObject *s = w == NULL ? NULL : dnspy_want(args[1], "s", NPY_FLOAT32, 1, DNSPY_OUT);
    if (s == NULL) {
        return NULL;
    }
    const npy_intp u_dims[2] = {PyArray_DIM(s, 0), PyArray_DIM(w, 0)};
    const npy_intp v_dims[2] = {PyArray_DIM(s, 0), -1};
    PyArrayObject *u = dnspy_want_shape(args[2], "u", NPY_FLOAT32, 2, u_dims, DNSPY_OUT);
    PyArrayObject *v =
        u == NULL ? NULL : dnspy_want_shape(args[3], "v", NPY_FLOAT32, 2, v_dims, DNSPY_OUT);
    PyArrayObject *columns =
        v == NULL ? NULL
                  : dnspy_want_shape(args[4], "columns", NPY_INT32, 2, PyArray_DIMS(v), DNSPY_OUT);
    dns_isa isa;
    const ptrdiff_t ld = columns == NULL ? -1 : kernels_ld(w, "w");
    if (ld < 0 || kernels_level(module, args[5], &isa) < 0) {
        return NULL;
    }
    dns_error err;
    dns_status status;
    KERNELS_BEGIN_LONG(KERNELS_RELEASE_BYTES);
    status = dns_lowrank_terms(PyArray_DATA(w), ld, (size_t)PyArray_DIM(w, 0),
                               (size_t)PyArray_DIM(w, 1), (size_t)PyArray_DIM(s, 0),
                               (size_t)PyArray_DIM(v, 1), isa, NULL, PyArray_DATA(s),
                               PyArray_DATA(u), PyArray_DATA(v), PyArray_DATA(columns), &err);
    KERNELS_END_LONG
    if (kernels_check(module, status, &err) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyMethodDef kernels_lstm_methods[] = {
    DNSPY_FAST(lstm_dense),  DNSPY_FAST(lstm_terms),
    DNSPY_FAST(lstm_wrap),   {"lstm_info", lstm_info, METH_O, lstm_info_doc},
    DNSPY_FAST(lstm_unpack), DNSPY_FAST(lstm_step),
    DNSPY_FAST(lstm_gates),  DNSPY_FAST(lstm_cell),
    DNSPY_FAST(lstm_work),   DNSPY_FAST(lowrank_terms),
    {NULL, NULL, 0, NULL},
};
