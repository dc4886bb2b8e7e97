/* Chrome trace-event JSON of a run, for Perfetto and chrome://tracing. */
#ifndef DNS_TIMELINE_H
#define DNS_TIMELINE_H

#include "dns/sim.h"

typedef struct dns_timeline {
    const dns_slice *slices; /* [n_slice], by end time */
    int64_t n_slice, lost;   /* slices that the run did not keep */
    int64_t n_row;
    const double *arrival_s, *first_start_s, *finish_s, *deadline_s; /* [n_row] by request id */
    const int32_t *key;                                              /* [n_row], index into names */
    const int64_t *order;     /* [n_row], ids by completion */
    const char *const *names; /* [n_name], already escaped for JSON strings */
    int32_t n_name, n_resource;
    double t0_s, t1_s;      /* window; events outside are left out */
    int64_t cap;            /* events at most, metadata not counted */
    const char *other_json; /* a JSON object for otherData, or NULL */
} dns_timeline;

/* Receives the text piece by piece; non-zero stops the writer with DNS_ERR_CALLBACK. */
typedef int (*dns_sink)(void *ctx, const char *text, size_t n);

/* Writes the whole document. buf: room for `room` >= 1024 bytes, caller-owned. On success *n_event
 * events were written and *n_cut left out by window, cap or `lost`; what was cut is also said in
 * the document. */
DNS_NODISCARD dns_status dns_timeline_write(const dns_timeline *t, dns_sink sink, void *ctx,
                                            char *buf, size_t room, int64_t *n_event,
                                            int64_t *n_cut, dns_error *err);

#endif
