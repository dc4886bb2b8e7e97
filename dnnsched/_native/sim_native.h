/* Policies compiled outside of the package (flat ABI of dns/sched.h), and the checker that holds
 * any policy to its promises. */
#ifndef DNNSCHED_SIM_NATIVE_H
#define DNNSCHED_SIM_NATIVE_H

#include "sim_policy.h"

/* A foreign function and what it is called with. `swallowed` turns 1 when an exception was lost in
 * the callback (numba, ctypes and cffi print it and return 0): its answer then counts as failed. */
typedef struct native_policy {
    dns_pick_fn pick;
    dns_score_fn score;
    void *user;
    const int *swallowed;
} native_policy;

/* Checks of the first `left` decisions of `inner`: a score policy is scored twice and held to its
 * class's promise; with a twin (abi != 0), its answers are compared with the twin's. */
typedef struct checked_policy {
    dns_policy inner, twin;
    int64_t left;
    PyObject *state_error; /* borrowed */
} checked_policy;

/* What stands behind one pool's policy. */
typedef struct sim_own {
    py_policy *python; /* the scheduler, or the Python form that a native one is compared with */
    native_policy native;
    checked_policy checked;
} sim_own;

/* What the policies of one simulation share; all borrowed. */
typedef struct sim_own_context {
    dns_isa isa;
    PyObject *owner; /* the arena's capsule; NULL when every policy runs without the interpreter */
    PyTypeObject *view_type, *control_type;
    PyObject *state_error;
    const int *swallowed;
} sim_own_context;

/* Whether a policy runs without the interpreter; -1 with an exception if `item` is no policy. */
int sim_own_native(PyObject *item);

/* Reads one policy into *spec; *own and item must outlive the simulation. `item` is a tuple, first
 * what it is, third how many decisions are checked:
 *   ("builtin", name, check, params f8[n])
 *   ("native", object with kind and needs, check, params, form, address, address of the user data,
 *    Python form or None, what must stay alive)
 *   ("python", scheduler, check)
 * -1 with an exception. */
int sim_own_read(sim_own *own, PyObject *item, const sim_own_context *context, dns_policy *spec);

/* capsule(obj) -> (name or None, address, context address) */
PyObject *sim_capsule(PyObject *module, PyObject *obj);
extern const char sim_capsule_doc[];

/* Adds the constants of the ABI to the module. */
int sim_native_constants(PyObject *module);

#endif
