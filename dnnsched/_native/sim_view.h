/* What a scheduler written in Python is called with: View and Control. */
#ifndef DNNSCHED_SIM_VIEW_H
#define DNNSCHED_SIM_VIEW_H

#include "dnspy.h"

#include "dns/sim.h"

/* Columns of a ready queue; readable while live. */
typedef struct view_object {
    PyObject_HEAD PyObject *owner;  /* capsule: base of every array */
    PyObject *array[DNS_N_FEATURE]; /* cached, re-pointed when nobody else holds them */
    PyObject *state_error;
    const double *feat, *param;
    int64_t n, ld;
    double now;
    uint64_t need;
    int live;
} view_object;

/* What a hook may read and change. */
typedef struct control_object {
    PyObject_HEAD dns_ctl *ctl; /* NULL outside of a callback */
    PyObject *state_error;
} control_object;

/* Heap types View and Control, kept in the module's state. */
int sim_view_types(PyObject *module, PyTypeObject **view, PyTypeObject **control);

/* Lower-case column names, DNS_N_FEATURE of them. */
extern const char *const sim_feature_names[DNS_N_FEATURE];

/* The engine's parameters by name (the policy's own follow from DNS_PARAM_USER on). */
typedef struct sim_param_name {
    const char *name;
    int index;
} sim_param_name;
#define SIM_N_PARAM_NAME 7
extern const sim_param_name sim_param_names[SIM_N_PARAM_NAME];

#endif
