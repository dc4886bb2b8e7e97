/* Binding of csrc/base/draw.c and mt19937.c: random variates from NumPy bit generators, and
 * Python's own stream. */
#include "base_parts.h"

#include <math.h>
#include <numpy/random/bitgen.h>

#include "dns/draw.h"
#include "dns/mt19937.h"

#define STATE(m) ((dnspy_state *)PyModule_GetState(m))

int
base_want_words(PyObject *obj, const char *name, PyObject **capsule, dns_words *w)
{
    *capsule = PyObject_GetAttrString(obj, "capsule");
    if (*capsule == NULL || !PyCapsule_IsValid(*capsule, "BitGenerator")) {
        Py_CLEAR(*capsule);
        PyErr_Format(PyExc_TypeError, "%s: expected a numpy.random BitGenerator, got %.100s", name,
                     Py_TYPE(obj)->tp_name);
        return -1;
    }
    bitgen_t *bits = PyCapsule_GetPointer(*capsule, "BitGenerator");
    w->next = bits->next_uint64;
    w->ctx = bits->state;
    return 0;
}

int
base_want_count(PyObject *obj, npy_intp *n)
{
    *n = PyLong_AsSsize_t(obj);
    if (*n == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (*n < 0) {
        PyErr_Format(PyExc_ValueError, "n: expected an integer >= 0, got %zd", (Py_ssize_t)*n);
        return -1;
    }
    return 0;
}

static int
want_positive(PyObject *obj, const char *name, double *out)
{
    *out = PyFloat_AsDouble(obj);
    if (*out == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (!(isfinite(*out) && *out > 0.0)) {
        PyErr_Format(PyExc_ValueError, "%s: expected a finite value > 0, got %S", name, obj);
        return -1;
    }
    return 0;
}

PyDoc_STRVAR(
    draw_variates_doc,
    "draw_variates(bits, kind, parameter, n, /)\n--\n\n"
    "float64[n]; kind 0 uniform in [0, 1), 1 exponential (mean = parameter), 2 normal (sd =\n"
    "parameter), 3 gamma (shape = parameter, scale 1).");

static PyObject *
draw_variates(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    npy_intp n = 0;
    double parameter = 0.0;
    dns_words w;
    PyObject *capsule = NULL;
    if (dnspy_nargs("draw_variates", nargs, 4, 4) < 0 ||
        want_positive(args[2], "parameter", &parameter) < 0 || base_want_count(args[3], &n) < 0) {
        return NULL;
    }
    const long kind = PyLong_AsLong(args[1]);
    if (kind < 0 || kind > 3) {
        return PyErr_Occurred()
                   ? NULL
                   : PyErr_Format(PyExc_ValueError, "kind: expected 0 to 3, got %ld", kind);
    }
    if (base_want_words(args[0], "bits", &capsule, &w) < 0) {
        return NULL;
    }
    PyObject *out = PyArray_SimpleNew(1, &n, NPY_DOUBLE);
    if (out != NULL) {
        double *value = PyArray_DATA((PyArrayObject *)out);
        Py_BEGIN_ALLOW_THREADS;
        for (npy_intp i = 0; i < n; i++) {
            value[i] = kind == 0   ? dns_draw_unit(&w)
                       : kind == 1 ? dns_draw_exponential(&w) * parameter
                       : kind == 2 ? dns_draw_normal(&w) * parameter
                                   : dns_draw_gamma(&w, parameter);
        }
        Py_END_ALLOW_THREADS;
    }
    Py_DECREF(capsule);
    return out;
}

PyDoc_STRVAR(
    draw_below_doc,
    "draw_below(bits, high, n, /)\n--\n\nint32[n]: uniform integers of 0 .. high-1, high >= 1.");

static PyObject *
draw_below(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    npy_intp n = 0;
    dns_words w;
    PyObject *capsule = NULL;
    if (dnspy_nargs("draw_below", nargs, 3, 3) < 0 || base_want_count(args[2], &n) < 0) {
        return NULL;
    }
    const long high = PyLong_AsLong(args[1]);
    if (high < 1 || high > INT32_MAX) {
        return PyErr_Occurred() ? NULL
                                : PyErr_Format(PyExc_ValueError,
                                               "high: expected 1 to 2147483647, got %ld", high);
    }
    if (base_want_words(args[0], "bits", &capsule, &w) < 0) {
        return NULL;
    }
    PyObject *out = PyArray_SimpleNew(1, &n, NPY_INT32);
    if (out != NULL) {
        int32_t *value = PyArray_DATA((PyArrayObject *)out);
        for (npy_intp i = 0; i < n; i++) {
            value[i] = dns_draw_below(&w, (int32_t)high);
        }
    }
    Py_DECREF(capsule);
    return out;
}

PyDoc_STRVAR(
    draw_arrivals_doc,
    "draw_arrivals(bits, rate, cv, clock, n, /)\n--\n\n"
    "(float64[n] arrival times after clock, last one): exponential gaps when cv is None, else\n"
    "gamma gaps with that coefficient of variation; rate in requests per second.");

static PyObject *
draw_arrivals(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    npy_intp n = 0;
    double rate = 0.0;
    double cv = 0.0;
    dns_words w;
    PyObject *capsule = NULL;
    if (dnspy_nargs("draw_arrivals", nargs, 5, 5) < 0 ||
        want_positive(args[1], "rate", &rate) < 0 ||
        (args[2] != Py_None && want_positive(args[2], "cv", &cv) < 0) ||
        base_want_count(args[4], &n) < 0) {
        return NULL;
    }
    double clock = PyFloat_AsDouble(args[3]);
    if (PyErr_Occurred() || base_want_words(args[0], "bits", &capsule, &w) < 0) {
        return NULL;
    }
    PyObject *out = PyArray_SimpleNew(1, &n, NPY_DOUBLE);
    if (out != NULL) {
        double *time = PyArray_DATA((PyArrayObject *)out);
        Py_BEGIN_ALLOW_THREADS;
        if (cv > 0.0) {
            dns_arrivals_gamma(&w, rate, cv, (size_t)n, &clock, time);
        }
        else {
            dns_arrivals_poisson(&w, rate, (size_t)n, &clock, time);
        }
        Py_END_ALLOW_THREADS;
    }
    Py_DECREF(capsule);
    return out == NULL ? NULL : Py_BuildValue("Nd", out, clock);
}

PyDoc_STRVAR(
    draw_mmpp_doc,
    "draw_mmpp(bits, rate, sojourn_s, state, left_s, clock, n, /)\n--\n\n"
    "(float64[n] arrival times, state, left_s, clock) of a Markov-modulated Poisson process with\n"
    "float64[states] rate and mean sojourn_s; state -1 starts it in its stationary regime.");

static int
check_mmpp(const dns_mmpp *m, long state, double left_s)
{
    int alive = 0;
    for (int32_t i = 0; i < m->n_states; i++) {
        if (!(isfinite(m->rate[i]) && m->rate[i] >= 0.0 && isfinite(m->sojourn_s[i]) &&
              m->sojourn_s[i] > 0.0)) {
            PyErr_Format(PyExc_ValueError,
                         "state %d: expected a finite rate >= 0 and a finite sojourn_s > 0",
                         (int)i);
            return -1;
        }
        alive |= m->rate[i] > 0.0;
    }
    if (!alive) {
        PyErr_SetString(PyExc_ValueError, "rate: expected at least one value > 0");
        return -1;
    }
    if (state < -1 || state >= m->n_states || !(left_s >= 0.0)) {
        PyErr_Format(PyExc_ValueError, "state: expected -1 to %d and left_s >= 0, got %ld",
                     (int)m->n_states - 1, state);
        return -1;
    }
    return 0;
}

static PyObject *
draw_mmpp(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    npy_intp n = 0;
    if (dnspy_nargs("draw_mmpp", nargs, 7, 7) < 0 || base_want_count(args[6], &n) < 0) {
        return NULL;
    }
    PyArrayObject *rate = dnspy_want(args[1], "rate", NPY_DOUBLE, 1, DNSPY_IN);
    PyArrayObject *sojourn = rate == NULL ? NULL
                                          : dnspy_want_shape(args[2], "sojourn_s", NPY_DOUBLE, 1,
                                                             PyArray_DIMS(rate), DNSPY_IN);
    if (sojourn == NULL) {
        return NULL;
    }
    const long state = PyLong_AsLong(args[3]);
    const double left_s = PyFloat_AsDouble(args[4]);
    double clock = PyFloat_AsDouble(args[5]);
    dns_mmpp m = {.n_states = (int32_t)PyArray_DIM(rate, 0),
                  .rate = PyArray_DATA(rate),
                  .sojourn_s = PyArray_DATA(sojourn),
                  .state = (int32_t)state,
                  .left_s = left_s};
    dns_words w;
    PyObject *capsule = NULL;
    if (PyErr_Occurred() || check_mmpp(&m, state, left_s) < 0 ||
        base_want_words(args[0], "bits", &capsule, &w) < 0) {
        return NULL;
    }
    PyObject *out = PyArray_SimpleNew(1, &n, NPY_DOUBLE);
    if (out != NULL) {
        double *time = PyArray_DATA((PyArrayObject *)out);
        Py_BEGIN_ALLOW_THREADS;
        if (m.state < 0) {
            dns_mmpp_start(&w, &m);
        }
        dns_arrivals_mmpp(&w, &m, (size_t)n, &clock, time);
        Py_END_ALLOW_THREADS;
    }
    Py_DECREF(capsule);
    return out == NULL ? NULL : Py_BuildValue("Nidd", out, (int)m.state, m.left_s, clock);
}

PyDoc_STRVAR(draw_requests_doc,
             "draw_requests(model_bits, weight, sample_bits, n_samples, priority_bits, "
             "priority_weight, priority, n, /)\n"
             "--\n\n"
             "(model int32[n], sample int32[n], priority float64[n]): model by "
             "weight float64[models], sample uniform\n"
             "below n_samples int32[models], priority by priority_weight; one word "
             "of each stream per request.");

/* The drawing part of requests(): three new arrays in out[], or -1 with an exception. */
static int
fill_requests(PyObject *module, const dns_words *w, PyArrayObject *const *in, npy_intp n,
              PyObject **out)
{
    dns_error err = {0};
    dns_alias model = {0};
    dns_alias priority = {0};
    const int typenum[3] = {NPY_INT32, NPY_INT32, NPY_DOUBLE};
    dns_status status =
        dns_alias_init(&model, PyArray_DATA(in[0]), (int32_t)PyArray_DIM(in[0], 0), NULL, &err);
    if (status == DNS_OK) {
        status = dns_alias_init(&priority, PyArray_DATA(in[2]), (int32_t)PyArray_DIM(in[2], 0),
                                NULL, &err);
    }
    int failed = status != DNS_OK;
    if (failed) {
        (void)dnspy_raise(STATE(module), status, &err);
    }
    for (int i = 0; i < 3 && !failed; i++) {
        out[i] = PyArray_SimpleNew(1, &n, typenum[i]);
        failed = out[i] == NULL;
    }
    if (!failed) {
        Py_BEGIN_ALLOW_THREADS;
        dns_draw_requests(&w[0], &model, &w[1], PyArray_DATA(in[1]), &w[2], &priority,
                          PyArray_DATA(in[3]), (size_t)n, PyArray_DATA((PyArrayObject *)out[0]),
                          PyArray_DATA((PyArrayObject *)out[1]),
                          PyArray_DATA((PyArrayObject *)out[2]));
        Py_END_ALLOW_THREADS;
    }
    dns_alias_fini(&model);
    dns_alias_fini(&priority);
    return failed ? -1 : 0;
}

static PyObject *
draw_requests(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    npy_intp n = 0;
    if (dnspy_nargs("draw_requests", nargs, 8, 8) < 0 || base_want_count(args[7], &n) < 0) {
        return NULL;
    }
    PyArrayObject *in[4] = {NULL};
    if ((in[0] = dnspy_want(args[1], "weight", NPY_DOUBLE, 1, DNSPY_IN)) == NULL ||
        (in[1] = dnspy_want_shape(args[3], "n_samples", NPY_INT32, 1, PyArray_DIMS(in[0]),
                                  DNSPY_IN)) == NULL ||
        (in[2] = dnspy_want(args[5], "priority_weight", NPY_DOUBLE, 1, DNSPY_IN)) == NULL ||
        (in[3] = dnspy_want_shape(args[6], "priority", NPY_DOUBLE, 1, PyArray_DIMS(in[2]),
                                  DNSPY_IN)) == NULL) {
        return NULL;
    }
    for (npy_intp i = 0; i < PyArray_DIM(in[1], 0); i++) {
        if (((const int32_t *)PyArray_DATA(in[1]))[i] < 1) {
            return PyErr_Format(PyExc_ValueError, "n_samples: position %zd: expected >= 1",
                                (Py_ssize_t)i);
        }
    }
    static const char *const names[3] = {"model_bits", "sample_bits", "priority_bits"};
    PyObject *capsule[3] = {NULL};
    PyObject *out[3] = {NULL};
    PyObject *result = NULL;
    dns_words w[3];
    size_t ready = 0;
    while (ready < 3 &&
           base_want_words(args[2 * ready], names[ready], &capsule[ready], &w[ready]) == 0) {
        ready++;
    }
    if (ready == 3 && fill_requests(module, w, in, n, out) == 0) {
        result = PyTuple_Pack(3, out[0], out[1], out[2]);
    }
    for (int i = 0; i < 3; i++) {
        Py_XDECREF(capsule[i]);
        Py_XDECREF(out[i]);
    }
    return result;
}

PyDoc_STRVAR(draw_samples_doc,
             "draw_samples(sample_bits, n_samples, model, /)\n--\n\n"
             "int32[n]: sample of each request, uniform below n_samples[model]; one word per "
             "request, as draw_requests takes.");

static PyObject *
draw_samples(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    if (dnspy_nargs("draw_samples", nargs, 3, 3) < 0) {
        return NULL;
    }
    PyArrayObject *limit = dnspy_want(args[1], "n_samples", NPY_INT32, 1, DNSPY_IN);
    PyArrayObject *model =
        limit == NULL ? NULL : dnspy_want(args[2], "model", NPY_INT32, 1, DNSPY_IN);
    if (model == NULL) {
        return NULL;
    }
    const int32_t *at = PyArray_DATA(model);
    const int32_t *high = PyArray_DATA(limit);
    npy_intp n = PyArray_DIM(model, 0);
    for (npy_intp i = 0; i < n; i++) {
        if (at[i] < 0 || at[i] >= PyArray_DIM(limit, 0) || high[at[i]] < 1) {
            return PyErr_Format(PyExc_ValueError,
                                "model: row %zd: expected a model with samples, got %d",
                                (Py_ssize_t)i, (int)at[i]);
        }
    }
    dns_words w;
    PyObject *capsule = NULL;
    if (base_want_words(args[0], "sample_bits", &capsule, &w) < 0) {
        return NULL;
    }
    PyObject *out = PyArray_SimpleNew(1, &n, NPY_INT32);
    if (out != NULL) {
        int32_t *sample = PyArray_DATA((PyArrayObject *)out);
        Py_BEGIN_ALLOW_THREADS;
        dns_draw_samples(&w, high, at, (size_t)n, sample);
        Py_END_ALLOW_THREADS;
    }
    Py_DECREF(capsule);
    return out;
}

PyDoc_STRVAR(draw_python_requests_doc,
             "draw_python_requests(state, rate, n_samples, priorities, n, /)\n--\n\n"
             "(arrival float64[n], model int32[n], sample int32[n], priority float64[n], state): "
             "rows drawn as\n"
             "random.Random would, from state = uint32[625] of its getstate(); per row "
             "expovariate(rate), model,\n"
             "priority, sample. The new state is returned.");

static PyObject *
draw_python_requests(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    npy_intp n = 0;
    const npy_intp words = DNS_MT_WORDS + 1;
    if (dnspy_nargs("draw_python_requests", nargs, 5, 5) < 0 || base_want_count(args[4], &n) < 0) {
        return NULL;
    }
    PyArrayObject *state = dnspy_want_shape(args[0], "state", NPY_UINT32, 1, &words, DNSPY_IN);
    PyArrayObject *samples =
        state == NULL ? NULL : dnspy_want(args[2], "n_samples", NPY_INT32, 1, DNSPY_IN);
    PyArrayObject *priorities =
        samples == NULL ? NULL : dnspy_want(args[3], "priorities", NPY_DOUBLE, 1, DNSPY_IN);
    if (priorities == NULL) {
        return NULL;
    }
    const double rate = PyFloat_AsDouble(args[1]);
    if (PyErr_Occurred()) {
        return NULL;
    }
    dns_mt19937 mt;
    memcpy(mt.key, PyArray_DATA(state), sizeof mt.key);
    mt.index = ((const uint32_t *)PyArray_DATA(state))[DNS_MT_WORDS];
    const dns_mt_table table = {.rate = rate,
                                .n_models = (uint32_t)PyArray_DIM(samples, 0),
                                .n_samples = PyArray_DATA(samples),
                                .n_priorities = (uint32_t)PyArray_DIM(priorities, 0),
                                .priorities = PyArray_DATA(priorities)};
    PyObject *out[5] = {NULL};
    PyObject *result = NULL;
    const int typenum[4] = {NPY_DOUBLE, NPY_INT32, NPY_INT32, NPY_DOUBLE};
    dns_error err = {0};
    dns_status status = DNS_OK;
    int made = 0;
    while (made < 4 && (out[made] = PyArray_SimpleNew(1, &n, typenum[made])) != NULL) {
        made++;
    }
    out[4] = made < 4 ? NULL : PyArray_SimpleNew(1, (npy_intp[]){words}, NPY_UINT32);
    if (out[4] != NULL) {
        status = dns_mt_requests(&mt, &table, (size_t)n, PyArray_DATA((PyArrayObject *)out[0]),
                                 PyArray_DATA((PyArrayObject *)out[1]),
                                 PyArray_DATA((PyArrayObject *)out[2]),
                                 PyArray_DATA((PyArrayObject *)out[3]), &err);
        memcpy(PyArray_DATA((PyArrayObject *)out[4]), mt.key, sizeof mt.key);
        ((uint32_t *)PyArray_DATA((PyArrayObject *)out[4]))[DNS_MT_WORDS] = mt.index;
        result = status == DNS_OK ? PyTuple_Pack(5, out[0], out[1], out[2], out[3], out[4])
                                  : dnspy_raise(STATE(module), status, &err);
    }
    for (int i = 0; i < 5; i++) {
        Py_XDECREF(out[i]);
    }
    return result;
}

PyMethodDef base_draw_methods[] = {
    DNSPY_FAST(draw_variates),        DNSPY_FAST(draw_below),
    DNSPY_FAST(draw_arrivals),        DNSPY_FAST(draw_mmpp),
    DNSPY_FAST(draw_requests),        DNSPY_FAST(draw_samples),
    DNSPY_FAST(draw_python_requests), {NULL, NULL, 0, NULL},
};
