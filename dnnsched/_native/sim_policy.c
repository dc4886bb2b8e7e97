#include "sim_policy.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* -- arena ------------------------------------------------------------------------------------ */

struct sim_arena {
    void **block;
    size_t n, room;
};

static void *
arena_alloc(void *ctx, size_t size, size_t align)
{
    sim_arena *a = ctx;
    void *p = NULL;
    if (a->n == a->room) {
        const size_t room = a->room == 0 ? 32 : a->room * 2;
        void **block = realloc(a->block, room * sizeof *block);
        if (block == NULL) {
            return NULL;
        }
        a->block = block;
        a->room = room;
    }
    if (posix_memalign(&p, align, size) != 0) {
        return NULL;
    }
    a->block[a->n++] = p;
    return p;
}

static void
arena_free(void *ctx, void *ptr, size_t size)
{
    (void)ctx;
    (void)ptr;
    (void)size;
}

static void
arena_destroy(PyObject *capsule)
{
    sim_arena *a = PyCapsule_GetPointer(capsule, "dnnsched.arena");
    for (size_t i = 0; i < a->n; i++) {
        free(a->block[i]);
    }
    free(a->block);
    free(a);
}

PyObject *
sim_arena_new(sim_arena **out)
{
    sim_arena *a = calloc(1, sizeof *a);
    if (a == NULL) {
        return PyErr_NoMemory();
    }
    PyObject *capsule = PyCapsule_New(a, "dnnsched.arena", arena_destroy);
    if (capsule == NULL) {
        free(a);
        return NULL;
    }
    *out = a;
    return capsule;
}

dns_alloc
sim_arena_alloc(sim_arena *a)
{
    return (dns_alloc){arena_alloc, arena_free, a};
}

/* -- the policy -----------------------------------------------------------------------------------
 */

static const char *const hook_names[] = {"on_push", "on_start", "on_stage_end", "on_finish",
                                         "on_idle", "on_timer", "on_user"};
#define N_HOOK 7

struct py_policy {
    PyObject *obj, *score, *pick, *batch, *outcome, *hook[N_HOOK];
    view_object *view;
    control_object *control;
    double *scratch; /* a lone job's columns, copied from the engine's stack */
};

/* Adds where the simulation stood to the exception that is set. */
static void
note(double now, int64_t n, const double *feat, int64_t ld, uint64_t need)
{
    PyObject *type = NULL, *value = NULL, *trace = NULL;
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    char text[160];
    if (n > 0 && (need & DNS_NEED(DNS_F_JOB))) {
        (void)PyOS_snprintf(
            text, sizeof text,
            "in a scheduler at t = %.9g s, %lld requests waiting, first request %lld", now,
            (long long)n, (long long)feat[DNS_F_JOB * ld]);
    }
    else {
        (void)PyOS_snprintf(text, sizeof text,
                            "in a scheduler at t = %.9g s, %lld requests waiting", now,
                            (long long)n);
    }
    if (value != NULL) {
        PyObject *r = PyObject_CallMethod(value, "add_note", "s", text);
        if (r == NULL) {
            PyErr_Clear();
        }
        Py_XDECREF(r);
    }
    PyErr_Restore(type, value, trace);
}

static PyObject *
open_view(py_policy *p, double now, int64_t n, const double *feat, int64_t ld, const double *param)
{
    view_object *v = p->view;
    if (ld == 1) {
        memcpy(p->scratch, feat, DNS_N_FEATURE * sizeof *feat);
        feat = p->scratch;
    }
    v->feat = feat;
    v->n = n;
    v->ld = ld;
    v->now = now;
    v->param = param;
    v->live = 1;
    return (PyObject *)v;
}

static int64_t
call_pick(double now, int64_t n, const double *feat, int64_t ld, const double *param, void *user)
{
    py_policy *p = user;
    PyObject *r = PyObject_CallOneArg(p->pick, open_view(p, now, n, feat, ld, param));
    p->view->live = 0;
    if (r == NULL) {
        note(now, n, feat, ld, p->view->need);
        return DNS_PICK_ERROR;
    }
    PyObject *index = PyNumber_Index(r);
    Py_DECREF(r);
    const long long slot = index == NULL ? -1 : PyLong_AsLongLong(index);
    Py_XDECREF(index);
    if (slot == -1 && PyErr_Occurred()) {
        note(now, n, feat, ld, p->view->need);
        return DNS_PICK_ERROR;
    }
    return slot == DNS_PICK_ERROR ? INT64_MAX : slot;
}

/* Copies score(view) into out; -1 with an exception. */
static int
scores(py_policy *p, double now, int64_t n, const double *feat, int64_t ld, const double *param,
       double *out)
{
    PyObject *r = PyObject_CallOneArg(p->score, open_view(p, now, n, feat, ld, param));
    p->view->live = 0;
    PyArrayObject *a = NULL;
    if (r != NULL) {
        a = (PyArrayObject *)PyArray_FROM_OTF(r, NPY_DOUBLE, NPY_ARRAY_IN_ARRAY);
        Py_DECREF(r);
    }
    if (a != NULL && (PyArray_NDIM(a) > 1 || PyArray_SIZE(a) != n)) {
        PyErr_Format(PyExc_ValueError, "score: expected %lld scores, got %zd", (long long)n,
                     (Py_ssize_t)PyArray_SIZE(a));
        Py_CLEAR(a);
    }
    if (a == NULL) {
        note(now, n, feat, ld, p->view->need);
        return -1;
    }
    memcpy(out, PyArray_DATA(a), (size_t)n * sizeof *out);
    Py_DECREF(a);
    return 0;
}

static void
call_score(double now, int64_t n, const double *feat, int64_t ld, const double *param, double *out,
           void *user)
{
    if (scores(user, now, n, feat, ld, param, out) < 0) {
        out[0] = NAN; /* stops the run; the exception says why */
    }
}

static int
read_choice(PyObject *slots, PyObject *options, int64_t n, dns_choice *out)
{
    PyArrayObject *a = (PyArrayObject *)PyArray_FROM_OTF(slots, NPY_INT64, NPY_ARRAY_IN_ARRAY);
    if (a == NULL) {
        return -1;
    }
    if (PyArray_NDIM(a) > 1 || PyArray_SIZE(a) > n) {
        PyErr_Format(PyExc_ValueError, "batch: expected at most %lld slots, got %zd", (long long)n,
                     (Py_ssize_t)PyArray_SIZE(a));
        Py_DECREF(a);
        return -1;
    }
    out->n = (int64_t)PyArray_SIZE(a);
    const int64_t *v = PyArray_DATA(a);
    for (int64_t i = 0; i < out->n; i++) {
        out->slots[i] = v[i];
    }
    Py_DECREF(a);
    const char *const keys[] = {"variant", "load", "resource"};
    int32_t *const values[] = {&out->variant, &out->load, &out->resource};
    for (int i = 0; options != NULL && i < 3; i++) {
        PyObject *item = PyMapping_HasKeyString(options, keys[i])
                             ? PyMapping_GetItemString(options, keys[i])
                             : NULL;
        if (item != NULL) {
            const long x = PyLong_AsLong(item);
            Py_DECREF(item);
            if (PyErr_Occurred()) {
                return -1;
            }
            if (x < -1 || x > INT32_MAX) {
                PyErr_Format(PyExc_ValueError, "batch: %s: expected -1..%d, got %ld", keys[i],
                             INT32_MAX, x);
                return -1;
            }
            *values[i] = (int32_t)x;
        }
    }
    return 0;
}

static int32_t
call_batch(void *user, dns_ctl *ctl, int64_t n, const double *feat, int64_t ld, const double *param,
           dns_choice *out)
{
    py_policy *p = user;
    const double now = dns_ctl_now(ctl);
    PyObject *r = PyObject_CallOneArg(p->batch, open_view(p, now, n, feat, ld, param));
    p->view->live = 0;
    int bad = r == NULL;
    if (!bad && r == Py_None) {
        out->n = 0;
    }
    else if (!bad && PyFloat_Check(r)) {
        out->n = 0;
        out->wake_s = PyFloat_AsDouble(r);
    }
    else if (!bad && PyTuple_Check(r) && PyTuple_Size(r) == 2 &&
             PyDict_Check(PyTuple_GetItem(r, 1))) {
        bad = read_choice(PyTuple_GetItem(r, 0), PyTuple_GetItem(r, 1),
                          n < out->room ? n : out->room, out) < 0;
    }
    else if (!bad) {
        bad = read_choice(r, NULL, n < out->room ? n : out->room, out) < 0;
    }
    Py_XDECREF(r);
    if (bad) {
        note(now, n, feat, ld, p->view->need);
        return -1;
    }
    return 0;
}

static int32_t
call_outcome(void *user, dns_ctl *ctl, int64_t id, int32_t stage)
{
    py_policy *p = user;
    p->control->ctl = ctl;
    PyObject *r = PyObject_CallFunction(p->outcome, "OLi", p->control, (long long)id, (int)stage);
    p->control->ctl = NULL;
    int32_t code = DNS_OUT_ERROR;
    if (r == Py_None) {
        code = DNS_OUT_NEXT;
    }
    else if (r != NULL && PyUnicode_Check(r)) {
        static const char *const words[] = {"next", "exit", "fail", "drop"};
        for (int32_t i = 0; i < 4; i++) {
            code = PyUnicode_CompareWithASCIIString(r, words[i]) == 0 ? i : code;
        }
        if (code == DNS_OUT_ERROR) {
            PyErr_Format(
                PyExc_ValueError,
                "outcome: expected None, 'next', 'exit', 'fail', 'drop' or a stage, got %R", r);
        }
    }
    else if (r != NULL) {
        const long k = PyLong_AsLong(r);
        if (!PyErr_Occurred()) { /* the engine refuses what is no stage of the program */
            code = k < 0 || k >= INT32_MAX - DNS_OUT_GOTO ? INT32_MAX : (int32_t)(DNS_OUT_GOTO + k);
        }
    }
    Py_XDECREF(r);
    if (code == DNS_OUT_ERROR) {
        const double request = (double)id;
        double one[DNS_N_FEATURE] = {0};
        one[DNS_F_JOB] = request;
        note(dns_ctl_now(ctl), 1, one, 1, DNS_NEED(DNS_F_JOB));
    }
    return code;
}

static int32_t
call_hook(void *user, dns_ctl *ctl, int32_t hook, int64_t id)
{
    py_policy *p = user;
    p->control->ctl = ctl;
    PyObject *r = PyObject_CallFunction(p->hook[hook], "OL", p->control, (long long)id);
    p->control->ctl = NULL;
    if (r == NULL) {
        note(dns_ctl_now(ctl), 0, NULL, 0, 0);
        return -1;
    }
    Py_DECREF(r);
    return 0;
}

/* A callable attribute, NULL without exception when absent. */
static PyObject *
method(PyObject *obj, const char *name, int *bad)
{
    PyObject *m = PyObject_GetAttrString(obj, name);
    if (m == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
            *bad = 1;
            return NULL;
        }
        PyErr_Clear();
        return NULL;
    }
    if (m == Py_None) {
        Py_CLEAR(m);
    }
    return m;
}

static int
read_kind(PyObject *obj, dns_class *out)
{
    int bad = 0;
    PyObject *kind = method(obj, "kind", &bad);
    static const struct {
        const char *name;
        dns_class klass;
    } kinds[] = {{"arrival", DNS_CLASS_ARRIVAL},
                 {"own", DNS_CLASS_OWN},
                 {"time", DNS_CLASS_TIME},
                 {"pick", DNS_CLASS_PICK}};
    *out = DNS_CLASS_PICK;
    if (kind == NULL) {
        return bad ? -1 : 0;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (PyUnicode_Check(kind) && PyUnicode_CompareWithASCIIString(kind, kinds[i].name) == 0) {
            *out = kinds[i].klass;
            Py_DECREF(kind);
            return 0;
        }
    }
    PyErr_Format(PyExc_ValueError,
                 "scheduler.kind: expected 'arrival', 'own', 'time' or 'pick', got %R", kind);
    Py_DECREF(kind);
    return -1;
}

static int
read_needs(PyObject *obj, uint64_t *out)
{
    int bad = 0;
    PyObject *needs = method(obj, "needs", &bad);
    const uint64_t own = ((UINT64_C(1) << DNS_N_USER) - 1) << DNS_F_USER0 |
                         DNS_NEED(DNS_F_PRIVATE0) | DNS_NEED(DNS_F_PRIVATE1);
    if (needs == NULL) {
        *out = ((UINT64_C(1) << DNS_N_FEATURE) - 1) & ~own;
        return bad ? -1 : 0;
    }
    PyObject *list = PySequence_Fast(needs, "scheduler.needs: expected a sequence of column names");
    Py_DECREF(needs);
    if (list == NULL) {
        return -1;
    }
    *out = DNS_NEED(DNS_F_JOB);
    for (Py_ssize_t i = 0; i < PySequence_Size(list); i++) {
        PyObject *name = PySequence_GetItem(list, i);
        int f = 0;
        while (f < DNS_N_FEATURE && name != NULL &&
               !(PyUnicode_Check(name) &&
                 PyUnicode_CompareWithASCIIString(name, sim_feature_names[f]) == 0)) {
            f++;
        }
        if (name == NULL || f == DNS_N_FEATURE) {
            if (name != NULL) {
                PyErr_Format(PyExc_ValueError, "scheduler.needs: no column %R", name);
                Py_DECREF(name);
            }
            Py_DECREF(list);
            return -1;
        }
        Py_DECREF(name);
        *out |= DNS_NEED(f);
    }
    Py_DECREF(list);
    return 0;
}

int
sim_policy_declared(PyObject *obj, dns_policy *out)
{
    return read_kind(obj, &out->klass) < 0 || read_needs(obj, &out->need) < 0 ? -1 : 0;
}

static int
bind_methods(py_policy *p, dns_policy *out)
{
    int bad = 0;
    p->score = method(p->obj, "score", &bad);
    p->pick = method(p->obj, "pick", &bad);
    p->batch = method(p->obj, "batch", &bad);
    p->outcome = method(p->obj, "outcome", &bad);
    for (int h = 0; h < N_HOOK; h++) {
        p->hook[h] = method(p->obj, hook_names[h], &bad);
        out->hooks |= p->hook[h] != NULL ? DNS_HOOK_BIT(h) : 0;
    }
    if (bad || sim_policy_declared(p->obj, out) < 0) {
        return -1;
    }
    if (p->score == NULL && p->pick == NULL && p->batch == NULL) {
        PyErr_Format(PyExc_TypeError,
                     "scheduler: expected an object with score(view) or pick(view), got %.100s",
                     Py_TYPE(p->obj)->tp_name);
        return -1;
    }
    if (out->klass != DNS_CLASS_PICK && p->score == NULL) {
        PyErr_SetString(PyExc_TypeError,
                        "scheduler: kind 'arrival', 'own' and 'time' need score(view)");
        return -1;
    }
    return 0;
}

py_policy *
sim_policy_new(PyObject *obj, PyObject *owner, sim_arena *arena, PyTypeObject *view_type,
               PyTypeObject *control_type, PyObject *state_error, dns_policy *out)
{
    py_policy *p = PyMem_Calloc(1, sizeof *p);
    if (p == NULL) {
        return (py_policy *)PyErr_NoMemory();
    }
    *out = (dns_policy){.abi = DNS_POLICY_ABI, .key_column = -1, .key_sign = 1.0, .user = p};
    p->obj = Py_NewRef(obj);
    p->view = (view_object *)view_type->tp_alloc(view_type, 0);
    p->control = (control_object *)control_type->tp_alloc(control_type, 0);
    p->scratch = arena_alloc(arena, DNS_N_FEATURE * sizeof(double), DNS_ALIGN);
    if (p->view == NULL || p->control == NULL || p->scratch == NULL || bind_methods(p, out) < 0) {
        if (!PyErr_Occurred()) {
            (void)PyErr_NoMemory();
        }
        sim_policy_free(p);
        return NULL;
    }
    p->view->owner = Py_NewRef(owner);
    p->view->state_error = Py_NewRef(state_error);
    p->control->state_error = Py_NewRef(state_error);
    out->score = p->pick == NULL && p->score != NULL ? call_score : NULL;
    out->pick = p->pick != NULL ? call_pick : NULL;
    out->batch = p->batch != NULL ? call_batch : NULL;
    out->outcome = p->outcome != NULL ? call_outcome : NULL;
    out->on = out->hooks != 0 ? call_hook : NULL;
    p->view->need = out->need;
    return p;
}

int
sim_policy_traverse(py_policy *p, visitproc visit, void *arg)
{
    Py_VISIT(p->obj);
    Py_VISIT(p->score);
    Py_VISIT(p->pick);
    Py_VISIT(p->batch);
    Py_VISIT(p->outcome);
    for (int h = 0; h < N_HOOK; h++) {
        Py_VISIT(p->hook[h]);
    }
    return 0;
}

void
sim_policy_free(py_policy *p)
{
    if (p == NULL) {
        return;
    }
    Py_XDECREF(p->obj);
    Py_XDECREF(p->score);
    Py_XDECREF(p->pick);
    Py_XDECREF(p->batch);
    Py_XDECREF(p->outcome);
    for (int h = 0; h < N_HOOK; h++) {
        Py_XDECREF(p->hook[h]);
    }
    Py_XDECREF((PyObject *)p->view);
    Py_XDECREF((PyObject *)p->control);
    PyMem_Free(p);
}
