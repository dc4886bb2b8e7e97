/* View and Control: what a scheduler written in Python sees of the engine. Both are valid during
 * one callback only; a View hands out the columns of a ready queue as read-only arrays over the
 * engine's memory and uses an array again when the scheduler has let go of it. */
#include "sim_view.h"

#include <math.h>
#include <string.h>

const char *const sim_feature_names[DNS_N_FEATURE] = {
    "arrival", "deadline",     "priority", "remaining", "next",  "isolated", "last_run",
    "stage",   "program",      "owner",    "job",       "step",  "variant",  "user0",
    "user1",   "user2",        "user3",    "user4",     "user5", "user6",    "user7",
    "gamma",   "inv_isolated", "private0", "private1"};

const sim_param_name sim_param_names[SIM_N_PARAM_NAME] = {
    {"abi", DNS_P_ABI},     {"pool", DNS_P_POOL},           {"resource", DNS_P_RESOURCE},
    {"state", DNS_P_STATE}, {"n_running", DNS_P_N_RUNNING}, {"more_arrivals", DNS_P_MORE_ARRIVALS},
    {"flush", DNS_P_FLUSH}};

/* -- view ------------------------------------------------------------------------------------- */

static int
view_traverse(PyObject *self, visitproc visit, void *arg)
{
    view_object *v = (view_object *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(v->state_error);
    for (int f = 0; f < DNS_N_FEATURE; f++) {
        Py_VISIT(v->array[f]);
    }
    return 0;
}

static int
view_clear(PyObject *self)
{
    view_object *v = (view_object *)self;
    for (int f = 0; f < DNS_N_FEATURE; f++) {
        Py_CLEAR(v->array[f]);
    }
    Py_CLEAR(v->owner);
    Py_CLEAR(v->state_error);
    return 0;
}

static void
view_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    (void)view_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

/* Column f as a read-only array over the engine's memory. */
static PyObject *
view_column(view_object *v, int f)
{
    double *data = (double *)(uintptr_t)(v->feat + (int64_t)f * v->ld);
    if ((v->need & DNS_NEED(f)) == 0) {
        PyErr_Format(PyExc_AttributeError, "view: column '%s' is not in the scheduler's `needs`",
                     sim_feature_names[f]);
        return NULL;
    }
    PyObject *old = v->array[f];
    if (old != NULL && Py_REFCNT(old) == 1) {
        ((PyArrayObject_fields *)old)->data = (char *)data;
        PyArray_DIMS((PyArrayObject *)old)[0] = (npy_intp)v->n;
        return Py_NewRef(old);
    }
    npy_intp dim = (npy_intp)v->n;
    PyObject *a =
        PyArray_New(&PyArray_Type, 1, &dim, NPY_DOUBLE, NULL, data, 0, NPY_ARRAY_CARRAY_RO, NULL);
    if (a == NULL) {
        return NULL;
    }
    if (PyArray_SetBaseObject((PyArrayObject *)a, Py_NewRef(v->owner)) < 0) {
        Py_DECREF(a);
        return NULL;
    }
    Py_XSETREF(v->array[f], Py_NewRef(a));
    return a;
}

static PyObject *
view_getattro(PyObject *self, PyObject *name)
{
    view_object *v = (view_object *)self;
    const char *s = PyUnicode_AsUTF8(name);
    if (s == NULL) {
        return NULL;
    }
    if (s[0] != '_' && !v->live) {
        PyErr_Format(v->state_error,
                     "view: '%s' was read after the callback returned; copy what must outlive it",
                     s);
        return NULL;
    }
    for (int f = 0; f < DNS_N_FEATURE; f++) {
        if (strcmp(s, sim_feature_names[f]) == 0) {
            return view_column(v, f);
        }
    }
    if (strcmp(s, "now") == 0) {
        return PyFloat_FromDouble(v->now);
    }
    if (strcmp(s, "n") == 0) {
        return PyLong_FromLongLong(v->n);
    }
    for (size_t i = 0; i < SIM_N_PARAM_NAME; i++) {
        if (strcmp(s, sim_param_names[i].name) == 0) {
            return PyLong_FromDouble(v->param[sim_param_names[i].index]);
        }
    }
    return PyObject_GenericGetAttr(self, name);
}

static Py_ssize_t
view_len(PyObject *self)
{
    return (Py_ssize_t)((view_object *)self)->n;
}

static PyType_Slot view_slots[] = {
    {Py_tp_doc,
     (void *)"Read-only columns of a ready queue, in queue order; valid during the callback only."},
    {Py_tp_dealloc, (void *)view_dealloc},
    {Py_tp_traverse, (void *)view_traverse},
    {Py_tp_clear, (void *)view_clear},
    {Py_tp_getattro, (void *)view_getattro},
    {Py_sq_length, (void *)view_len},
    {0, NULL}};
static PyType_Spec view_spec = {"dnnsched._native._sim.View", sizeof(view_object), 0,
                                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
                                    Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
                                view_slots};

/* -- control ---------------------------------------------------------------------------------- */

static int
control_ready(control_object *c)
{
    if (c->ctl == NULL) {
        PyErr_SetString(c->state_error, "control: used after the callback returned");
        return -1;
    }
    return 0;
}

static PyObject *
control_threshold(PyObject *self, PyObject *args)
{
    control_object *c = (control_object *)self;
    int owner = 0, column = 0;
    if (control_ready(c) < 0 || !PyArg_ParseTuple(args, "ii:threshold", &owner, &column)) {
        return NULL;
    }
    double value = 0.0;
    if (dns_ctl_get_threshold(c->ctl, owner, column, &value) != 0) {
        return PyErr_Format(PyExc_ValueError, "threshold: no owner %d or column %d", owner, column);
    }
    return PyFloat_FromDouble(value);
}

static PyObject *
control_set_threshold(PyObject *self, PyObject *args)
{
    control_object *c = (control_object *)self;
    int owner = 0, column = 0;
    double value = 0.0;
    if (control_ready(c) < 0 ||
        !PyArg_ParseTuple(args, "iid:set_threshold", &owner, &column, &value)) {
        return NULL;
    }
    if (isnan(value) || dns_ctl_set_threshold(c->ctl, owner, column, value) != 0) {
        return PyErr_Format(PyExc_ValueError,
                            "set_threshold: value is NaN, or no owner %d or column %d", owner,
                            column);
    }
    Py_RETURN_NONE;
}

static PyObject *
control_queue_length(PyObject *self, PyObject *args)
{
    control_object *c = (control_object *)self;
    int pool = 0;
    if (control_ready(c) < 0 || !PyArg_ParseTuple(args, "i:queue_length", &pool)) {
        return NULL;
    }
    const int64_t n = dns_ctl_queue_length(c->ctl, pool);
    if (n < 0) {
        return PyErr_Format(PyExc_ValueError, "queue_length: no pool %d", pool);
    }
    return PyLong_FromLongLong(n);
}

static PyObject *
control_wake(PyObject *self, PyObject *args)
{
    control_object *c = (control_object *)self;
    int pool = 0;
    double t = 0.0;
    if (control_ready(c) < 0 || !PyArg_ParseTuple(args, "id:wake", &pool, &t)) {
        return NULL;
    }
    if (dns_ctl_wake(c->ctl, pool, t) != 0) {
        return PyErr_Format(PyExc_ValueError, "wake: no pool %d, or %R is not a later time", pool,
                            PyTuple_GetItem(args, 1));
    }
    Py_RETURN_NONE;
}

static PyObject *
control_now(PyObject *self, void *unused)
{
    control_object *c = (control_object *)self;
    (void)unused;
    return control_ready(c) < 0 ? NULL : PyFloat_FromDouble(dns_ctl_now(c->ctl));
}

static PyObject *
control_value(PyObject *self, void *unused)
{
    control_object *c = (control_object *)self;
    (void)unused;
    return control_ready(c) < 0 ? NULL : PyFloat_FromDouble(dns_ctl_scenario_value(c->ctl));
}

static void
control_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF(((control_object *)self)->state_error);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef control_methods[] = {
    {"threshold", control_threshold, METH_VARARGS,
     "threshold(owner, column): confidence threshold in force"},
    {"set_threshold", control_set_threshold, METH_VARARGS, "set_threshold(owner, column, value)"},
    {"queue_length", control_queue_length, METH_VARARGS, "queue_length(pool): requests waiting"},
    {"wake", control_wake, METH_VARARGS, "wake(pool, t_s): ask the pool to decide at a later time"},
    {NULL, NULL, 0, NULL}};
static PyGetSetDef control_getset[] = {
    {"now", control_now, NULL, "simulated time, seconds", NULL},
    {"scenario_value", control_value, NULL, "value of the scenario row in an on_user hook", NULL},
    {NULL, NULL, NULL, NULL, NULL}};
static PyType_Slot control_slots[] = {
    {Py_tp_doc, (void *)"What a hook may read and change; valid in the call only."},
    {Py_tp_dealloc, (void *)control_dealloc},
    {Py_tp_methods, control_methods},
    {Py_tp_getset, control_getset},
    {0, NULL}};
static PyType_Spec control_spec = {"dnnsched._native._sim.Control", sizeof(control_object), 0,
                                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION |
                                       Py_TPFLAGS_IMMUTABLETYPE,
                                   control_slots};

int
sim_view_types(PyObject *module, PyTypeObject **view, PyTypeObject **control)
{
    *view = (PyTypeObject *)PyType_FromModuleAndSpec(module, &view_spec, NULL);
    *control = (PyTypeObject *)PyType_FromModuleAndSpec(module, &control_spec, NULL);
    return *view == NULL || *control == NULL ? -1 : 0;
}
