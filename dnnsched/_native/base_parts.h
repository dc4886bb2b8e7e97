/* Method tables of the parts of dnnsched._native._base, one per source of csrc/base. */
#ifndef DNNSCHED_BASE_PARTS_H
#define DNNSCHED_BASE_PARTS_H

#include "dnspy.h"

#include "dns/draw.h"

extern PyMethodDef base_arta_methods[];
extern PyMethodDef base_arrow_methods[];
extern PyMethodDef base_csv_methods[];
extern PyMethodDef base_draw_methods[];
extern PyMethodDef base_stats_methods[];

/* Words of a numpy.random BitGenerator; *capsule is a new reference that must outlive *w. 0, or -1
 * with TypeError. */
int base_want_words(PyObject *obj, const char *name, PyObject **capsule, dns_words *w);

/* A number of variates, >= 0. 0, or -1 with an exception. */
int base_want_count(PyObject *obj, npy_intp *n);

#endif
