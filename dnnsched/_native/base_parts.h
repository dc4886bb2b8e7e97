/* Method tables of the parts of dnnsched._native._base, one per source of csrc/base. */
#ifndef DNNSCHED_BASE_PARTS_H
#define DNNSCHED_BASE_PARTS_H

#include "dnspy.h"

extern PyMethodDef base_csv_methods[];
extern PyMethodDef base_draw_methods[];
extern PyMethodDef base_stats_methods[];

#endif
