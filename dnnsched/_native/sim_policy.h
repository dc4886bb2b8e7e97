/* Schedulers written in Python, seen by the engine as ordinary policies. */
#ifndef DNNSCHED_SIM_POLICY_H
#define DNNSCHED_SIM_POLICY_H

#include "sim_view.h"

/* Memory that NumPy views may outlive: blocks are freed together, when the last owner goes. */
typedef struct sim_arena sim_arena;
PyObject *sim_arena_new(sim_arena **out); /* capsule that owns it */
dns_alloc sim_arena_alloc(sim_arena *a);

typedef struct py_policy py_policy;

/* Wraps obj (score(view) or pick(view), optional batch, outcome, on_* hooks, kind, needs)
 * and fills *out; NULL with an exception when it is no scheduler. `owner` is the arena's capsule.
 */
py_policy *sim_policy_new(PyObject *obj, PyObject *owner, sim_arena *arena, PyTypeObject *view_type,
                          PyTypeObject *control_type, PyObject *state_error, dns_policy *out);
void sim_policy_free(py_policy *p);
/* Reads obj.kind and obj.needs (absent: "pick", all but user and private columns) into out->klass
 * and out->need; -1 with an exception. */
int sim_policy_declared(PyObject *obj, dns_policy *out);
int sim_policy_traverse(py_policy *p, visitproc visit, void *arg);

#endif
