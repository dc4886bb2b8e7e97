/* Native policies and the checker; see sim_native.h. */
#include "sim_native.h"

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "sim_view.h"

/* -- foreign functions ------------------------------------------------------------------------ */

static int64_t
native_pick(double now, int64_t n, const double *feat, int64_t ld, const double *param, void *user)
{
    const native_policy *p = user;
    const int64_t slot = p->pick(now, n, feat, ld, param, p->user);
    return *p->swallowed ? DNS_PICK_ERROR : slot;
}

static void
native_score(double now, int64_t n, const double *feat, int64_t ld, const double *param,
             double *out, void *user)
{
    const native_policy *p = user;
    for (int64_t i = 0; i < n; i++) {
        out[i] = NAN; /* what the callback leaves out stops the run */
    }
    p->score(now, n, feat, ld, param, out, p->user);
    if (*p->swallowed) {
        out[0] = NAN;
    }
}

/* Points *spec at the function at `address`. */
static int
native_bind(native_policy *p, const char *form, PyObject *address, PyObject *user,
            const int *swallowed, dns_policy *spec)
{
    void *fn = PyLong_AsVoidPtr(address);
    void *data = PyErr_Occurred() ? NULL : PyLong_AsVoidPtr(user);
    if (PyErr_Occurred()) {
        return -1;
    }
    if (fn == NULL) {
        PyErr_SetString(PyExc_ValueError, "native policy: the function pointer is NULL");
        return -1;
    }
    *p = (native_policy){.user = data, .swallowed = swallowed};
    spec->user = p;
    if (strcmp(form, "pick") == 0) {
        memcpy(&p->pick, &fn, sizeof fn);
        spec->pick = native_pick;
        return 0;
    }
    memcpy(&p->score, &fn, sizeof fn);
    spec->score = native_score;
    return 0;
}

/* -- the checker ------------------------------------------------------------------------------ */

/* Fills out[n] with the keys or scores; -1 when a callback left an exception. */
static int
keys(const dns_policy *p, double now, int64_t n, const double *feat, int64_t ld,
     const double *param, double *out)
{
    if (p->key_column >= 0) {
        for (int64_t i = 0; i < n; i++) {
            out[i] = p->key_sign * feat[p->key_column * ld + i];
        }
        return 0;
    }
    p->score(now, n, feat, ld, param, out, p->user);
    return PyErr_Occurred() ? -1 : 0;
}

static int64_t
least(const double *v, int64_t n)
{
    int64_t at = 0;
    for (int64_t i = 1; i < n; i++) {
        at = v[i] < v[at] ? i : at;
    }
    return at;
}

static int64_t
refuse(const checked_policy *c, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    (void)PyOS_vsnprintf(text, sizeof text, format, args);
    va_end(args);
    PyErr_SetString(c->state_error, text);
    return DNS_PICK_ERROR;
}

/* The native pick against its Python form. */
static int64_t
check_pick(const checked_policy *c, double now, int64_t n, const double *feat, int64_t ld,
           const double *param, int64_t at)
{
    const int64_t other = c->twin.pick(now, n, feat, ld, param, c->twin.user);
    if (PyErr_Occurred()) {
        return DNS_PICK_ERROR;
    }
    if (other == at) {
        return at;
    }
    return refuse(c,
                  "check: at t = %.9g s the native form picks slot %lld, the Python form slot %lld "
                  "(%lld requests waiting, request %lld)",
                  now, (long long)at, (long long)other, (long long)n,
                  (long long)feat[DNS_F_JOB * ld + (at >= 0 && at < n ? at : 0)]);
}

/* out[0..n) and out[n..2n): two calls of the policy; out[2n..3n): the twin's scores. The private
 * columns remember (score, stages done + 1) of the last look. */
static int64_t
check_scores(const checked_policy *c, double now, int64_t n, const double *feat, int64_t ld,
             const double *out)
{
    double *was = (double *)(uintptr_t)(feat + DNS_F_PRIVATE0 * ld), *seen = was + ld;
    for (int64_t i = 0; i < n; i++) {
        const long long job = (long long)feat[DNS_F_JOB * ld + i];
        const double stage = feat[DNS_F_STAGE * ld + i] + 1.0, v = out[i];
        const bool fixed =
            seen[i] != 0.0 && (c->inner.klass == DNS_CLASS_ARRIVAL ||
                               (c->inner.klass == DNS_CLASS_OWN && seen[i] == stage));
        if (isnan(v) || v != out[n + i] || (fixed && v != was[i])) {
            return refuse(c, "check: the score of request %lld %s at t = %.9g s", job,
                          isnan(v)          ? "is NaN"
                          : v != out[n + i] ? "differs between two calls with the same view"
                                            : "moved although the scheduler's kind promises it "
                                              "does not",
                          now);
        }
        if (c->twin.abi != 0) {
            const double w = out[2 * n + i];
            if (v != w && !(fabs(v - w) <= 1e-9 * fmax(fabs(v), fabs(w)))) {
                return refuse(c,
                              "check: the score of request %lld at t = %.9g s is %.17g in the "
                              "native form, %.17g in the Python form",
                              job, now, v, w);
            }
        }
        was[i] = v;
        seen[i] = stage;
    }
    const int64_t at = least(out, n), other = c->twin.abi != 0 ? least(out + 2 * n, n) : at;
    if (other != at) {
        return refuse(c,
                      "check: at t = %.9g s the native form runs request %lld, the Python form "
                      "request %lld (scores equal to 1e-9)",
                      now, (long long)feat[DNS_F_JOB * ld + at],
                      (long long)feat[DNS_F_JOB * ld + other]);
    }
    return at;
}

static int64_t
checked_pick(double now, int64_t n, const double *feat, int64_t ld, const double *param, void *user)
{
    checked_policy *c = user;
    const bool check = c->left > 0;
    c->left -= check;
    if (c->inner.pick != NULL) {
        const int64_t at = c->inner.pick(now, n, feat, ld, param, c->inner.user);
        return check && !PyErr_Occurred() ? check_pick(c, now, n, feat, ld, param, at) : at;
    }
    double *out = malloc((size_t)n * 3 * sizeof *out);
    if (out == NULL) {
        (void)PyErr_NoMemory();
        return DNS_PICK_ERROR;
    }
    int64_t at = DNS_PICK_ERROR;
    if (keys(&c->inner, now, n, feat, ld, param, out) == 0) {
        if (!check) {
            bool nan = false;
            for (int64_t i = 0; i < n; i++) {
                nan = nan || isnan(out[i]);
            }
            at = nan ? refuse(c, "policy: a score is NaN at t = %.9g s (%lld requests waiting)",
                              now, (long long)n)
                     : least(out, n);
        }
        else if (keys(&c->inner, now, n, feat, ld, param, out + n) == 0 &&
                 (c->twin.abi == 0 || keys(&c->twin, now, n, feat, ld, param, out + 2 * n) == 0)) {
            at = check_scores(c, now, n, feat, ld, out);
        }
    }
    free(out);
    return at;
}

static int32_t
checked_outcome(void *user, dns_ctl *ctl, int64_t id, int32_t stage)
{
    const dns_policy *p = &((const checked_policy *)user)->inner;
    return p->outcome(p->user, ctl, id, stage);
}

static int32_t
checked_on(void *user, dns_ctl *ctl, int32_t hook, int64_t id)
{
    const dns_policy *p = &((const checked_policy *)user)->inner;
    return p->on(p->user, ctl, hook, id);
}

/* Puts the checker in front of *spec; twin may be NULL. It needs the interpreter lock. */
static int
check_bind(checked_policy *c, dns_policy *spec, const dns_policy *twin, int64_t left,
           PyObject *state_error)
{
    const bool scored = spec->pick == NULL && (spec->score != NULL || spec->key_column >= 0);
    if (spec->batch != NULL || (!scored && twin == NULL)) {
        return 0; /* a batch, or a pick that nothing can be compared with */
    }
    if (twin != NULL && (scored ? twin->score == NULL : twin->pick == NULL)) {
        PyErr_Format(PyExc_TypeError, "check: the Python form of the scheduler has no %s(view)",
                     scored ? "score" : "pick");
        return -1;
    }
    const uint64_t private = DNS_NEED(DNS_F_PRIVATE0) | DNS_NEED(DNS_F_PRIVATE1);
    if (scored && (spec->need & private) != 0) {
        PyErr_SetString(PyExc_ValueError, "check: the scheduler's scores use the private columns, "
                                          "which the check needs for itself");
        return -1;
    }
    *c = (checked_policy){.inner = *spec, .left = left, .state_error = state_error};
    spec->need |= DNS_NEED(DNS_F_JOB) | (scored ? DNS_NEED(DNS_F_STAGE) | private : 0);
    if (twin != NULL) {
        c->twin = *twin;
        spec->need |= twin->need;
    }
    spec->klass = scored ? DNS_CLASS_PICK : spec->klass;
    spec->key_column = -1;
    spec->score = NULL;
    spec->pick = checked_pick;
    spec->outcome = spec->outcome != NULL ? checked_outcome : NULL;
    spec->on = spec->on != NULL ? checked_on : NULL;
    spec->user = c;
    return 0;
}

/* -- entries of the policy list ---------------------------------------------------------------- */

static int
read_python(sim_own *own, PyObject *obj, const sim_own_context *context, dns_policy *spec)
{
    sim_arena *arena = PyCapsule_GetPointer(context->owner, "dnnsched.arena");
    if (arena == NULL) {
        return -1;
    }
    own->python = sim_policy_new(obj, context->owner, arena, context->view_type,
                                 context->control_type, context->state_error, spec);
    return own->python == NULL ? -1 : 0;
}

/* Parameters of a policy (the engine copies them). */
static int
read_params(PyObject *params, dns_policy *spec)
{
    PyArrayObject *a = dnspy_want(params, "policy parameters", NPY_DOUBLE, 1, DNSPY_IN);
    if (a == NULL) {
        return -1;
    }
    spec->param = PyArray_DATA(a);
    spec->n_param = (int32_t)PyArray_SIZE(a);
    return 0;
}

static int
read_builtin(PyObject *item, dns_isa isa, dns_policy *spec)
{
    const char *entry = NULL, *name = NULL;
    long long check = 0;
    PyObject *params = NULL;
    if (!PyArg_ParseTuple(item, "ssLO", &entry, &name, &check, &params)) {
        return -1;
    }
    const int n_param = dns_sched_get(name, isa, spec);
    if (n_param < 0) {
        PyErr_Format(PyExc_ValueError, "policy: no built-in scheduler '%s'", name);
        return -1;
    }
    if (read_params(params, spec) < 0) {
        return -1;
    }
    if (spec->n_param != n_param) {
        PyErr_Format(PyExc_ValueError, "policy '%s': expected %d parameters, got %d", name, n_param,
                     (int)spec->n_param);
        return -1;
    }
    return 0;
}

/* *twin: what the first decisions are compared with; untouched if there is none. */
static int
read_native(sim_own *own, PyObject *item, const sim_own_context *context, dns_policy *spec,
            dns_policy *twin)
{
    const char *entry = NULL, *form = NULL;
    long long check = 0;
    PyObject *declared = NULL, *params = NULL, *address = NULL, *user = NULL, *python = NULL,
             *alive = NULL;
    if (!PyArg_ParseTuple(item, "sOLOsOOOO", &entry, &declared, &check, &params, &form, &address,
                          &user, &python, &alive)) {
        return -1;
    }
    *spec = (dns_policy){.abi = DNS_POLICY_ABI, .key_column = -1, .key_sign = 1.0};
    if (sim_policy_declared(declared, spec) < 0 || read_params(params, spec) < 0 ||
        native_bind(&own->native, form, address, user, context->swallowed, spec) < 0) {
        return -1;
    }
    return check > 0 && python != Py_None ? read_python(own, python, context, twin) : 0;
}

int
sim_own_native(PyObject *item)
{
    if (!PyTuple_Check(item) || PyTuple_Size(item) < 3 ||
        !PyUnicode_Check(PyTuple_GetItem(item, 0)) || !PyLong_Check(PyTuple_GetItem(item, 2))) {
        PyErr_SetString(PyExc_TypeError, "policies: expected tuples (entry, what, check, ...)");
        return -1;
    }
    const long long check = PyLong_AsLongLong(PyTuple_GetItem(item, 2));
    if (check < 0) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_ValueError, "check: expected >= 0");
        }
        return -1;
    }
    return check == 0 && PyUnicode_CompareWithASCIIString(PyTuple_GetItem(item, 0), "python") != 0;
}

int
sim_own_read(sim_own *own, PyObject *item, const sim_own_context *context, dns_policy *spec)
{
    dns_policy twin = {0};
    PyObject *entry = PyTuple_GetItem(item, 0);
    const long long check = PyLong_AsLongLong(PyTuple_GetItem(item, 2));
    int bad = 0;
    if (PyUnicode_CompareWithASCIIString(entry, "builtin") == 0) {
        bad = read_builtin(item, context->isa, spec);
    }
    else if (PyUnicode_CompareWithASCIIString(entry, "native") == 0) {
        bad = read_native(own, item, context, spec, &twin);
    }
    else {
        bad = read_python(own, PyTuple_GetItem(item, 1), context, spec);
    }
    if (bad < 0 || check == 0) {
        return bad;
    }
    return check_bind(&own->checked, spec, twin.abi != 0 ? &twin : NULL, check,
                      context->state_error);
}

/* -- capsules and constants -------------------------------------------------------------------- */

const char sim_capsule_doc[] =
    "capsule($module, obj, /)\n--\n\n"
    "(name or None, address, address of the context) of a PyCapsule; TypeError for anything else.";

PyObject *
sim_capsule(PyObject *module, PyObject *obj)
{
    (void)module;
    if (!PyCapsule_CheckExact(obj)) {
        return PyErr_Format(PyExc_TypeError, "capsule: expected a PyCapsule, got %.100s",
                            Py_TYPE(obj)->tp_name);
    }
    const char *name = PyCapsule_GetName(obj);
    void *fn = PyCapsule_GetPointer(obj, name);
    void *context = fn == NULL ? NULL : PyCapsule_GetContext(obj);
    return PyErr_Occurred()
               ? NULL
               : Py_BuildValue("zNN", name, PyLong_FromVoidPtr(fn), PyLong_FromVoidPtr(context));
}

int
sim_native_constants(PyObject *module)
{
    PyObject *params = PyDict_New();
    int bad = params == NULL;
    for (size_t i = 0; !bad && i < SIM_N_PARAM_NAME; i++) {
        PyObject *index = PyLong_FromLong(sim_param_names[i].index);
        bad = index == NULL || PyDict_SetItemString(params, sim_param_names[i].name, index) < 0;
        Py_XDECREF(index);
    }
    PyObject *error = PyLong_FromLongLong(DNS_PICK_ERROR);
    bad = bad || error == NULL || PyModule_AddObjectRef(module, "params", params) < 0 ||
          PyModule_AddObjectRef(module, "PICK_ERROR", error) < 0 ||
          PyModule_AddIntConstant(module, "PICK_IDLE", DNS_PICK_IDLE) < 0 ||
          PyModule_AddIntConstant(module, "PARAM_USER", DNS_PARAM_USER) < 0 ||
          PyModule_AddIntConstant(module, "N_PARAM", DNS_N_PARAM) < 0 ||
          PyModule_AddIntConstant(module, "POLICY_ABI", DNS_POLICY_ABI) < 0;
    Py_XDECREF(params);
    Py_XDECREF(error);
    return bad ? -1 : 0;
}
