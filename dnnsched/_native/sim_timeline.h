/* Binding of the timeline writer. The module's state begins with a dnspy_state. */
#ifndef DNNSCHED_SIM_TIMELINE_H
#define DNNSCHED_SIM_TIMELINE_H

#include "dnspy.h"

extern const char sim_timeline_doc[];
PyObject *sim_timeline(PyObject *module, PyObject *args);

#endif
