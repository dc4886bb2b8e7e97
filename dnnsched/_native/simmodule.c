/* dnnsched._native._sim: the discrete-event engine. Structures travel as NumPy structured arrays
 * whose dtypes mirror the C structs (dnnsched/sim.py defines them, `sizes` proves that they agree).
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sim_native.h"
#include "sim_policy.h"
#include "sim_timeline.h"

typedef struct module_state {
    dnspy_state base;
    PyTypeObject *sim_type, *view_type, *control_type;
} module_state;

typedef struct sim_object {
    PyObject_HEAD dns_sim *sim;
    PyObject *owner; /* arena capsule, NULL when every policy is native */
    PyObject *keep;  /* list: arrays that the engine borrows */
    PyObject *chunk; /* tuple: columns of the rows fed last */
    PyObject *lost;  /* exception that a native callback could not hand on */
    sim_own *own;
    dns_policy *specs;
    int32_t n_pool, n_resource, n_program, n_owner, n_column;
    int native, busy, swallowed;
    module_state *state;
} sim_object;

static struct PyModuleDef module_def;

/* Records of a structured array; *n its length. NULL with an exception. */
static void *
records(PyObject *obj, const char *name, size_t size, int32_t *n)
{
    if (!PyArray_Check(obj) || PyArray_TYPE((PyArrayObject *)obj) != NPY_VOID ||
        (size_t)PyArray_ITEMSIZE((PyArrayObject *)obj) != size ||
        PyArray_NDIM((PyArrayObject *)obj) != 1 || !PyArray_ISCARRAY_RO((PyArrayObject *)obj) ||
        PyArray_SIZE((PyArrayObject *)obj) > INT32_MAX) {
        PyErr_Format(PyExc_TypeError,
                     "%s: expected a contiguous 1-d structured array of %zu-byte records", name,
                     size);
        return NULL;
    }
    *n = (int32_t)PyArray_SIZE((PyArrayObject *)obj);
    return PyArray_DATA((PyArrayObject *)obj);
}

static int
keep(sim_object *self, PyObject *obj)
{
    return PyList_Append(self->keep, obj);
}

/* tables: list of (values f8[n], by i8[6], ext i8[6], pos_shift). */
static dns_table *
read_tables(sim_object *self, PyObject *list, int32_t *n)
{
    const Py_ssize_t count = PyList_Size(list);
    dns_table *tables = count < 0 ? NULL : PyMem_Calloc((size_t)count + 1, sizeof *tables);
    if (tables == NULL) {
        return PyErr_Occurred() ? NULL : (dns_table *)PyErr_NoMemory();
    }
    const npy_intp six = DNS_N_AXIS;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *v = NULL, *by = NULL, *ext = NULL;
        PyObject *item = PyList_GetItem(list, i);
        PyArrayObject *va = NULL, *ba = NULL, *ea = NULL;
        if (!PyTuple_Check(item)) {
            PyErr_Format(
                PyExc_TypeError,
                "tables: entry %zd: expected (values, strides, extents, pos_shift), got %.100s", i,
                Py_TYPE(item)->tp_name);
            PyMem_Free(tables);
            return NULL;
        }
        if (!PyArg_ParseTuple(item, "OOOi", &v, &by, &ext, &tables[i].pos_shift) ||
            (va = dnspy_want(v, "table", NPY_DOUBLE, 1, DNSPY_IN)) == NULL ||
            (ba = dnspy_want_shape(by, "table strides", NPY_INT64, 1, &six, DNSPY_IN)) == NULL ||
            (ea = dnspy_want_shape(ext, "table extents", NPY_INT64, 1, &six, DNSPY_IN)) == NULL ||
            keep(self, v) < 0) {
            PyMem_Free(tables);
            return NULL;
        }
        tables[i].v = PyArray_DATA(va);
        tables[i].n = PyArray_SIZE(va);
        memcpy(tables[i].by, PyArray_DATA(ba), sizeof tables[i].by);
        memcpy(tables[i].ext, PyArray_DATA(ea), sizeof tables[i].ext);
    }
    *n = (int32_t)count;
    return tables;
}

/* pools: records without the policy pointer, in the order of dns_pool_spec. */
typedef struct pool_record {
    int32_t res0, res1, max_batch, external;
    int64_t cap;
    double timer_s;
} pool_record;
typedef struct resource_record {
    double speed, switch_const_s;
    int32_t state, n_state;
} resource_record;

static dns_pool_spec *
read_pools(sim_object *self, PyObject *pools, PyObject *policies)
{
    int32_t n = 0;
    const pool_record *rec = records(pools, "pools", sizeof *rec, &n);
    if (rec == NULL) {
        return NULL;
    }
    if (PyList_Size(policies) != n) {
        PyErr_Format(PyExc_ValueError, "policies: expected one for each of the %d pools", (int)n);
        return NULL;
    }
    self->native = 1;
    for (int32_t i = 0; i < n; i++) {
        const int native = sim_own_native(PyList_GetItem(policies, i));
        if (native < 0) {
            return NULL;
        }
        self->native = self->native && native;
    }
    if (!self->native) {
        sim_arena *arena = NULL;
        self->owner = sim_arena_new(&arena);
        if (self->owner == NULL) {
            return NULL;
        }
    }
    dns_pool_spec *out = PyMem_Calloc((size_t)n + 1, sizeof *out);
    self->own = PyMem_Calloc((size_t)n + 1, sizeof *self->own);
    self->specs = PyMem_Calloc((size_t)n + 1, sizeof *self->specs);
    self->n_pool = n;
    if (out == NULL || self->own == NULL || self->specs == NULL) {
        PyMem_Free(out);
        return (dns_pool_spec *)PyErr_NoMemory();
    }
    const sim_own_context context = {self->state->base.isa,         self->owner,
                                     self->state->view_type,        self->state->control_type,
                                     self->state->base.state_error, &self->swallowed};
    for (int32_t i = 0; i < n; i++) {
        PyObject *item = PyList_GetItem(policies, i);
        if (keep(self, item) < 0 ||
            sim_own_read(&self->own[i], item, &context, &self->specs[i]) < 0) {
            PyMem_Free(out);
            return NULL;
        }
        out[i] = (dns_pool_spec){rec[i].res0, rec[i].res1,    rec[i].max_batch, rec[i].external,
                                 rec[i].cap,  rec[i].timer_s, &self->specs[i]};
    }
    return out;
}

/* switches: list of None or a square f8 array, one per resource. */
static dns_res_spec *
read_resources(sim_object *self, PyObject *resources, PyObject *switches)
{
    int32_t n = 0;
    const resource_record *rec = records(resources, "resources", sizeof *rec, &n);
    if (rec == NULL) {
        return NULL;
    }
    if (PyList_Size(switches) != n) {
        PyErr_Format(PyExc_ValueError, "switches: expected one for each of the %d resources",
                     (int)n);
        return NULL;
    }
    dns_res_spec *out = PyMem_Calloc((size_t)n + 1, sizeof *out);
    if (out == NULL) {
        return (dns_res_spec *)PyErr_NoMemory();
    }
    for (int32_t i = 0; i < n; i++) {
        const npy_intp shape[2] = {rec[i].n_state, rec[i].n_state};
        PyObject *sw = PyList_GetItem(switches, i);
        PyArrayObject *a =
            dnspy_want_shape(sw, "switch costs", NPY_DOUBLE, 2, shape, DNSPY_IN | DNSPY_OPTIONAL);
        if ((a == NULL && PyErr_Occurred()) || keep(self, sw) < 0) {
            PyMem_Free(out);
            return NULL;
        }
        out[i] = (dns_res_spec){rec[i].speed, rec[i].state, rec[i].n_state, rec[i].switch_const_s,
                                a == NULL ? NULL : PyArray_DATA(a)};
    }
    self->n_resource = n;
    return out;
}

static PyObject *
sim_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static const char *const names[] = {
        "tables",   "stages",     "programs", "pools",   "policies", "resources",       "switches",
        "scenario", "thresholds", "home",     "sources", "clock",    "step_each_stage", NULL};
    PyObject *tables = NULL, *stages = NULL, *programs = NULL, *pools = NULL, *policies = NULL,
             *resources = NULL;
    PyObject *switches = NULL, *scenario = NULL, *thresholds = NULL, *home = NULL, *sources = NULL;
    int clock = 0, step = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!OOOO!OO!OOOOip", (char **)names, &PyList_Type,
                                     &tables, &stages, &programs, &pools, &PyList_Type, &policies,
                                     &resources, &PyList_Type, &switches, &scenario, &thresholds,
                                     &home, &sources, &clock, &step)) {
        return NULL;
    }
    module_state *state = PyType_GetModuleState(type);
    sim_object *self = (sim_object *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->state = state;
    self->keep = PyList_New(0);
    dns_system sys = {.clock = clock ? DNS_CLOCK_ARTIFACT : DNS_CLOCK_MONOTONIC,
                      .step_each_stage = step != 0};
    dns_table *tabs = NULL;
    dns_pool_spec *pool_specs = NULL;
    dns_res_spec *res_specs = NULL;
    int ok =
        self->keep != NULL && (tabs = read_tables(self, tables, &sys.n_table)) != NULL &&
        (sys.stages = records(stages, "stages", sizeof(dns_stage), &sys.n_stage)) != NULL &&
        (sys.programs = records(programs, "programs", sizeof(dns_program), &sys.n_program)) !=
            NULL &&
        (sys.scenario = records(scenario, "scenario", sizeof(dns_scenario), &sys.n_scenario)) !=
            NULL &&
        (sys.sources = records(sources, "sources", sizeof(dns_source), &sys.n_source)) != NULL &&
        (pool_specs = read_pools(self, pools, policies)) != NULL &&
        (res_specs = read_resources(self, resources, switches)) != NULL;
    PyArrayObject *thr = ok ? dnspy_want(thresholds, "thresholds", NPY_DOUBLE, 2, DNSPY_IN) : NULL;
    PyArrayObject *ho = thr != NULL ? dnspy_want(home, "home", NPY_INT32, 2, DNSPY_IN) : NULL;
    ok = ok && ho != NULL;
    if (ok && PyArray_DIM(thr, 0) != PyArray_DIM(ho, 0)) {
        PyErr_SetString(PyExc_ValueError, "home: expected one row per owner, as thresholds has");
        ok = 0;
    }
    if (ok) {
        dns_error err = {0};
        sys.tables = tabs;
        sys.pools = pool_specs;
        sys.resources = res_specs;
        sys.thresholds = PyArray_DATA(thr);
        sys.home = PyArray_DATA(ho);
        sys.n_pool = self->n_pool;
        sys.n_resource = self->n_resource;
        sys.n_owner = self->n_owner = (int32_t)PyArray_DIM(thr, 0);
        sys.n_column = self->n_column = (int32_t)PyArray_DIM(thr, 1);
        sys.n_home = (int32_t)PyArray_DIM(ho, 1);
        self->n_program = sys.n_program;
        dns_alloc arena = {0};
        if (self->owner != NULL) {
            arena = sim_arena_alloc(PyCapsule_GetPointer(self->owner, "dnnsched.arena"));
        }
        const dns_status st =
            dns_sim_create(self->owner != NULL ? &arena : NULL, &sys, &self->sim, &err);
        if (st != DNS_OK) {
            (void)dnspy_raise(&state->base, st, &err);
            ok = 0;
        }
    }
    PyMem_Free(tabs);
    PyMem_Free(pool_specs);
    PyMem_Free(res_specs);
    if (!ok) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static int
sim_traverse(PyObject *op, visitproc visit, void *arg)
{
    sim_object *self = (sim_object *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->keep);
    Py_VISIT(self->chunk);
    Py_VISIT(self->lost);
    for (int32_t i = 0; self->own != NULL && i < self->n_pool; i++) {
        if (self->own[i].python != NULL) {
            const int r = sim_policy_traverse(self->own[i].python, visit, arg);
            if (r != 0) {
                return r;
            }
        }
    }
    return 0;
}

static int
sim_clear(PyObject *op)
{
    sim_object *self = (sim_object *)op;
    dns_sim_destroy(self->sim);
    self->sim = NULL;
    for (int32_t i = 0; self->own != NULL && i < self->n_pool; i++) {
        sim_policy_free(self->own[i].python);
        self->own[i].python = NULL;
    }
    Py_CLEAR(self->lost);
    Py_CLEAR(self->keep);
    Py_CLEAR(self->chunk);
    Py_CLEAR(self->owner);
    return 0;
}

static void
sim_dealloc(PyObject *op)
{
    sim_object *self = (sim_object *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)sim_clear(op);
    PyMem_Free(self->own);
    PyMem_Free(self->specs);
    type->tp_free(op);
    Py_DECREF(type);
}

/* 0 if the object may be used now. */
static int
ready(sim_object *self)
{
    if (self->sim == NULL || self->busy) {
        PyErr_SetString(self->state->base.state_error,
                        self->busy ? "simulation: in use by another call" : "simulation: closed");
        return -1;
    }
    return 0;
}

static PyObject *
done(sim_object *self, dns_status st, const dns_error *err)
{
    if (st != DNS_OK) {
        return dnspy_raise(&self->state->base, st, err);
    }
    Py_RETURN_NONE;
}

/* A column of n entries or None; 0 and *data, or -1. */
static int
column(PyObject *obj, const char *name, int type, npy_intp n, int flags, void **data)
{
    PyArrayObject *a = dnspy_want_shape(obj, name, type, 1, &n, flags | DNSPY_OPTIONAL);
    if (a == NULL && PyErr_Occurred()) {
        return -1;
    }
    *data = a == NULL ? NULL : PyArray_DATA(a);
    return 0;
}

PyDoc_STRVAR(feed_doc,
             "feed($self, arrival, deadline, priority, program, sample, owner, pos0, exit_at, "
             "user, final, /)\n--\n\n"
             "Next rows in arrival order; None takes a column's default.");

static PyObject *
sim_feed(sim_object *self, PyObject *const *a, Py_ssize_t nargs)
{
    if (dnspy_nargs("feed", nargs, 10, 10) < 0 || ready(self) < 0) {
        return NULL;
    }
    PyArrayObject *arrival = dnspy_want(a[0], "arrival", NPY_DOUBLE, 1, DNSPY_IN);
    if (arrival == NULL) {
        return NULL;
    }
    const npy_intp n = PyArray_SIZE(arrival);
    const npy_intp user_shape[2] = {n, DNS_N_USER};
    static const char *const names[7] = {"deadline", "priority", "program", "sample",
                                         "owner",    "pos0",     "exit_at"};
    void *col[7];
    for (int i = 0; i < 7; i++) {
        if (column(a[i + 1], names[i], i < 2 ? NPY_DOUBLE : NPY_INT32, n, DNSPY_IN, &col[i]) < 0) {
            return NULL;
        }
    }
    PyArrayObject *user =
        dnspy_want_shape(a[8], "user", NPY_DOUBLE, 2, user_shape, DNSPY_IN | DNSPY_OPTIONAL);
    const int final = PyObject_IsTrue(a[9]);
    if ((user == NULL && PyErr_Occurred()) || final < 0) {
        return NULL;
    }
    PyObject *chunk = PyTuple_New(9);
    if (chunk == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < 9; i++) {
        PyTuple_SetItem(chunk, i, Py_NewRef(a[i]));
    }
    const dns_work w = {n,      PyArray_DATA(arrival),
                        col[0], col[1],
                        col[2], col[3],
                        col[4], col[5],
                        col[6], user == NULL ? NULL : PyArray_DATA(user)};
    dns_error err = {0};
    const dns_status st = dns_sim_feed(self->sim, &w, final != 0, &err);
    if (st == DNS_OK) {
        Py_XSETREF(self->chunk, chunk);
    }
    else {
        Py_DECREF(chunk);
    }
    return done(self, st, &err);
}

PyDoc_STRVAR(record_doc,
             "record($self, n, first_start, finish, service, n_preempt, last_stage, variant, "
             "status, order, release, /)\n--\n\n"
             "Columns of n entries to fill per request id; None is not recorded.");

static PyObject *
sim_record(sim_object *self, PyObject *const *a, Py_ssize_t nargs)
{
    if (dnspy_nargs("record", nargs, 10, 10) < 0 || ready(self) < 0) {
        return NULL;
    }
    const npy_intp n = PyLong_AsSsize_t(a[0]);
    if (n < 0) {
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_ValueError, "n: expected >= 0");
    }
    static const char *const names[9] = {"first_start", "finish",     "service",
                                         "n_preempt",   "last_stage", "variant",
                                         "status",      "order",      "release"};
    static const int types[9] = {NPY_DOUBLE, NPY_DOUBLE, NPY_DOUBLE, NPY_INT32, NPY_INT32,
                                 NPY_INT32,  NPY_UINT8,  NPY_INT64,  NPY_DOUBLE};
    void *col[9];
    for (int i = 0; i < 9; i++) {
        if (column(a[i + 1], names[i], types[i], n, DNSPY_OUT, &col[i]) < 0 ||
            keep(self, a[i + 1]) < 0) {
            return NULL;
        }
    }
    const dns_results r = {n,      col[0], col[1], col[2], col[3],
                           col[4], col[5], col[6], col[7], col[8]};
    dns_error err = {0};
    return done(self, dns_sim_record(self->sim, &r, &err), &err);
}

PyDoc_STRVAR(
    sums_doc,
    "sums($self, sums, hist, warmup, /)\n--\n\nRunning sums and latency histogram per program.");

static PyObject *
sim_sums(sim_object *self, PyObject *const *a, Py_ssize_t nargs)
{
    if (dnspy_nargs("sums", nargs, 3, 3) < 0 || ready(self) < 0) {
        return NULL;
    }
    int32_t n = 0;
    dns_sums *sums = records(a[0], "sums", sizeof *sums, &n);
    const npy_intp shape[2] = {self->n_program, DNS_HIST_N};
    PyArrayObject *hist = dnspy_want_shape(a[1], "hist", NPY_INT64, 2, shape, DNSPY_OUT);
    const long long warmup = PyLong_AsLongLong(a[2]);
    if (sums == NULL || hist == NULL || (warmup == -1 && PyErr_Occurred())) {
        return NULL;
    }
    if (n != self->n_program || !PyArray_ISWRITEABLE((PyArrayObject *)a[0])) {
        return PyErr_Format(PyExc_ValueError, "sums: expected %d writeable records",
                            (int)self->n_program);
    }
    if (keep(self, a[0]) < 0 || keep(self, a[1]) < 0) {
        return NULL;
    }
    dns_error err = {0};
    return done(self, dns_sim_sums(self->sim, sums, PyArray_DATA(hist), warmup, &err), &err);
}

PyDoc_STRVAR(slices_doc, "slices($self, out, /)\n--\n\nRecord up to len(out) stage slices; stages "
                         "then run one event each.");

static PyObject *
sim_slices(sim_object *self, PyObject *out)
{
    int32_t n = 0;
    if (ready(self) < 0) {
        return NULL;
    }
    dns_slice *slices = records(out, "slices", sizeof *slices, &n);
    if (slices == NULL || keep(self, out) < 0) {
        return NULL;
    }
    dns_error err = {0};
    return done(self, dns_sim_slices(self->sim, slices, n, &err), &err);
}

PyDoc_STRVAR(swallowed_doc,
             "swallowed($self, exception, /)\n--\n\n"
             "Tell the run that is under way in this thread that a native callback lost an "
             "exception.");

static PyObject *
sim_swallowed(sim_object *self, PyObject *exception)
{
    if (!PyExceptionInstance_Check(exception)) {
        return PyErr_Format(PyExc_TypeError, "exception: expected an exception, got %.100s",
                            Py_TYPE(exception)->tp_name);
    }
    if (self->lost == NULL) {
        self->lost = Py_NewRef(exception);
        self->swallowed = 1;
    }
    Py_RETURN_NONE;
}

/* Sets the exception that a callback lost, with a note on where the simulation stood. */
static void
raise_lost(sim_object *self, const char *message)
{
    PyObject *lost = self->lost;
    self->lost = NULL;
    PyErr_Clear();
    if (message[0] != '\0') {
        PyObject *r = PyObject_CallMethod(lost, "add_note", "s", message);
        if (r == NULL) {
            PyErr_Clear();
        }
        Py_XDECREF(r);
    }
    PyErr_SetObject((PyObject *)Py_TYPE(lost), lost);
    Py_DECREF(lost);
}

PyDoc_STRVAR(
    run_doc,
    "run($self, fuel=100000, /)\n--\n\n"
    "Simulate until something outside is needed; 1 rows, 2 a decision, 3 done, 4 stalled.\n"
    "Signals are looked at every `fuel` units of work; the lock is released if every policy is "
    "native.");

static PyObject *
sim_run(sim_object *self, PyObject *const *a, Py_ssize_t nargs)
{
    if (dnspy_nargs("run", nargs, 0, 1) < 0 || ready(self) < 0) {
        return NULL;
    }
    const long long fuel = nargs == 1 ? PyLong_AsLongLong(a[0]) : 100000;
    if (fuel < 1) {
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_ValueError, "fuel: expected >= 1");
    }
    dns_sim_state state = DNS_SIM_RUNNING;
    dns_status st = DNS_OK;
    dns_error err = {0};
    self->busy = 1;
    do {
        if (self->native) {
            Py_BEGIN_ALLOW_THREADS;
            st = dns_sim_run(self->sim, fuel, &state, &err);
            Py_END_ALLOW_THREADS;
        }
        else {
            st = dns_sim_run(self->sim, fuel < 4096 ? fuel : 4096, &state, &err);
        }
        if (self->lost != NULL) {
            raise_lost(self, err.message);
        }
        if (PyErr_Occurred() || PyErr_CheckSignals() < 0) {
            self->busy = 0;
            return NULL;
        }
    } while (st == DNS_OK && state == DNS_SIM_RUNNING);
    self->busy = 0;
    if (st != DNS_OK) {
        return dnspy_raise(&self->state->base, st, &err);
    }
    return PyLong_FromLong((long)state);
}

PyDoc_STRVAR(
    queue_doc,
    "queue($self, pool, /)\n--\n\nCopy of a scanned pool's columns, float64 [feature, waiting].");

static PyObject *
sim_queue(sim_object *self, PyObject *arg)
{
    const long pool = PyLong_AsLong(arg);
    if ((pool == -1 && PyErr_Occurred()) || ready(self) < 0) {
        return NULL;
    }
    if (pool < 0 || pool >= self->n_pool) {
        return PyErr_Format(PyExc_ValueError, "pool: expected 0..%d, got %ld",
                            (int)self->n_pool - 1, pool);
    }
    int64_t n = 0, ld = 0;
    const double *feat = dns_sim_queue(self->sim, (int32_t)pool, &n, &ld);
    if (feat == NULL) {
        return PyErr_Format(PyExc_ValueError,
                            "pool: %ld keeps no columns (its policy has fixed keys)", pool);
    }
    npy_intp dims[2] = {DNS_N_FEATURE, n};
    PyObject *out = PyArray_SimpleNew(2, dims, NPY_DOUBLE);
    if (out != NULL) {
        double *v = PyArray_DATA((PyArrayObject *)out);
        for (int f = 0; f < DNS_N_FEATURE; f++) {
            memcpy(v + (int64_t)f * n, feat + f * ld, (size_t)n * sizeof *v);
        }
    }
    return out;
}

PyDoc_STRVAR(choose_doc, "choose($self, slot, /)\n--\n\nAnswer of the pool that asks: a queue "
                         "position, -1 = stay idle.");

static PyObject *
sim_choose(sim_object *self, PyObject *arg)
{
    const long long slot = PyLong_AsLongLong(arg);
    if ((slot == -1 && PyErr_Occurred()) || ready(self) < 0) {
        return NULL;
    }
    dns_error err = {0};
    return done(self, dns_sim_choose(self->sim, slot, &err), &err);
}

PyDoc_STRVAR(stats_doc,
             "stats($self)\n--\n\nCounters as a dict; busy_s and switch_s are float64 [resource], "
             "thresholds\n"
             "float64 [owner, column], asking the pool that waits for a choice (-1 none).");

static PyObject *
sim_stats(sim_object *self, PyObject *unused)
{
    (void)unused;
    if (ready(self) < 0) {
        return NULL;
    }
    dns_sim_stats s;
    dns_sim_stats_get(self->sim, &s);
    npy_intp n = self->n_resource;
    npy_intp shape[2] = {self->n_owner, self->n_column};
    PyObject *busy = PyArray_SimpleNew(1, &n, NPY_DOUBLE),
             *sw = PyArray_SimpleNew(1, &n, NPY_DOUBLE);
    PyObject *thr = PyArray_SimpleNew(2, shape, NPY_DOUBLE);
    if (busy == NULL || sw == NULL || thr == NULL) {
        Py_XDECREF(busy);
        Py_XDECREF(sw);
        Py_XDECREF(thr);
        return NULL;
    }
    for (int32_t r = 0; r < self->n_resource; r++) {
        ((double *)PyArray_DATA((PyArrayObject *)busy))[r] = dns_sim_busy_s(self->sim, r);
        ((double *)PyArray_DATA((PyArrayObject *)sw))[r] = dns_sim_switch_s(self->sim, r);
    }
    for (int32_t o = 0; o < self->n_owner; o++) {
        for (int32_t c = 0; c < self->n_column; c++) {
            ((double *)PyArray_DATA((PyArrayObject *)thr))[o * self->n_column + c] =
                dns_sim_threshold(self->sim, o, c);
        }
    }
    return Py_BuildValue(
        "{s:d,s:L,s:L,s:L,s:L,s:L,s:L,s:L,s:L,s:L,s:L,s:L,s:d,s:i,s:N,s:N,s:N}", "now_s", s.now_s,
        "released", (long long)s.released, "finished", (long long)s.finished, "dropped",
        (long long)s.dropped, "live", (long long)s.live, "queue_max", (long long)s.queue_max,
        "stages", (long long)s.stages, "decisions", (long long)s.decisions, "events",
        (long long)s.events, "rewinds", (long long)s.rewinds, "n_slice", (long long)s.n_slice,
        "lost_slices", (long long)s.lost_slices, "queue_area", s.queue_area, "asking",
        (int)dns_sim_asking(self->sim), "busy_s", busy, "switch_s", sw, "thresholds", thr);
}

static PyMethodDef sim_methods[] = {
    {"feed", (PyCFunction)(void (*)(void))sim_feed, METH_FASTCALL, feed_doc},
    {"record", (PyCFunction)(void (*)(void))sim_record, METH_FASTCALL, record_doc},
    {"sums", (PyCFunction)(void (*)(void))sim_sums, METH_FASTCALL, sums_doc},
    {"slices", (PyCFunction)(void (*)(void))sim_slices, METH_O, slices_doc},
    {"run", (PyCFunction)(void (*)(void))sim_run, METH_FASTCALL, run_doc},
    {"swallowed", (PyCFunction)(void (*)(void))sim_swallowed, METH_O, swallowed_doc},
    {"queue", (PyCFunction)(void (*)(void))sim_queue, METH_O, queue_doc},
    {"choose", (PyCFunction)(void (*)(void))sim_choose, METH_O, choose_doc},
    {"stats", (PyCFunction)(void (*)(void))sim_stats, METH_NOARGS, stats_doc},
    {NULL, NULL, 0, NULL}};
static PyType_Slot sim_slots[] = {
    {Py_tp_doc, (void *)"One simulation: feed rows, run, read the recorded columns."},
    {Py_tp_new, (void *)sim_new},
    {Py_tp_dealloc, (void *)sim_dealloc},
    {Py_tp_traverse, (void *)sim_traverse},
    {Py_tp_clear, (void *)sim_clear},
    {Py_tp_methods, sim_methods},
    {0, NULL}};
static PyType_Spec sim_spec = {"dnnsched._native._sim.Sim", sizeof(sim_object), 0,
                               Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
                               sim_slots};

PyDoc_STRVAR(
    middles_doc,
    "hist_middles()\n--\n\nLatency in the middle of every histogram bin, seconds, float64 [bins].");

static PyObject *
hist_middles(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    npy_intp n = DNS_HIST_N;
    PyObject *out = PyArray_SimpleNew(1, &n, NPY_DOUBLE);
    for (int i = 0; out != NULL && i < DNS_HIST_N; i++) {
        ((double *)PyArray_DATA((PyArrayObject *)out))[i] = dns_hist_middle(i);
    }
    return out;
}

PyDoc_STRVAR(builtin_doc, "builtin()\n--\n\nNames of the native policies.");

static PyObject *
builtin(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    PyObject *list = PyList_New(0);
    for (int i = 0; list != NULL && dns_sched_name(i) != NULL; i++) {
        PyObject *name = PyUnicode_FromString(dns_sched_name(i));
        if (name == NULL || PyList_Append(list, name) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(name);
    }
    return list;
}

static PyMethodDef module_methods[] = {{"hist_middles", hist_middles, METH_NOARGS, middles_doc},
                                       {"builtin", builtin, METH_NOARGS, builtin_doc},
                                       {"capsule", sim_capsule, METH_O, sim_capsule_doc},
                                       {"timeline", sim_timeline, METH_VARARGS, sim_timeline_doc},
                                       {NULL, NULL, 0, NULL}};

static int
module_exec(PyObject *m)
{
    module_state *st = PyModule_GetState(m);
    if (dnspy_init(&st->base) < 0 || dnspy_add_isa(m) < 0 ||
        sim_view_types(m, &st->view_type, &st->control_type) < 0) {
        return -1;
    }
    st->sim_type = (PyTypeObject *)PyType_FromModuleAndSpec(m, &sim_spec, NULL);
    if (st->sim_type == NULL || PyModule_AddType(m, st->sim_type) < 0) {
        return -1;
    }
    PyObject *sizes =
        Py_BuildValue("{s:n,s:n,s:n,s:n,s:n,s:n,s:n,s:n}", "stage", sizeof(dns_stage), "program",
                      sizeof(dns_program), "pool", sizeof(pool_record), "resource",
                      sizeof(resource_record), "scenario", sizeof(dns_scenario), "sums",
                      sizeof(dns_sums), "slice", sizeof(dns_slice), "source", sizeof(dns_source));
    PyObject *features = PyTuple_New(DNS_N_FEATURE);
    for (Py_ssize_t f = 0; features != NULL && f < DNS_N_FEATURE; f++) {
        PyTuple_SetItem(features, f, PyUnicode_FromString(sim_feature_names[f]));
    }
    const int bad = PyModule_AddObjectRef(m, "sizes", sizes) < 0 ||
                    PyModule_AddObjectRef(m, "features", features) < 0;
    Py_XDECREF(sizes);
    Py_XDECREF(features);
    return bad || sim_native_constants(m) < 0 ||
                   PyModule_AddIntConstant(m, "N_HIST", DNS_HIST_N) < 0
               ? -1
               : 0;
}

static int
module_traverse(PyObject *m, visitproc visit, void *arg)
{
    module_state *st = PyModule_GetState(m);
    Py_VISIT(st->sim_type);
    Py_VISIT(st->view_type);
    Py_VISIT(st->control_type);
    return dnspy_traverse(&st->base, visit, arg);
}

static int
module_clear(PyObject *m)
{
    module_state *st = PyModule_GetState(m);
    Py_CLEAR(st->sim_type);
    Py_CLEAR(st->view_type);
    Py_CLEAR(st->control_type);
    dnspy_clear(&st->base);
    return 0;
}

static void
module_free(void *m)
{
    (void)module_clear((PyObject *)m);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, (void *)module_exec}, DNSPY_SLOT_INTERPRETERS, {0, NULL}};
static struct PyModuleDef module_def = {PyModuleDef_HEAD_INIT,
                                        .m_name = "dnnsched._native._sim",
                                        .m_doc = "Discrete-event engine.",
                                        .m_size = sizeof(module_state),
                                        .m_methods = module_methods,
                                        .m_slots = module_slots,
                                        .m_traverse = module_traverse,
                                        .m_clear = module_clear,
                                        .m_free = module_free};

PyMODINIT_FUNC
PyInit__sim(void)
{
    return PyModuleDef_Init(&module_def);
}
