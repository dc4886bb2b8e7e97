/* Chrome trace-event JSON of a run, for Perfetto and chrome://tracing. */
#ifndef DNS_TIMELINE_H
#define DNS_TIMELINE_H

#include "dns/sim.h"

typedef struct dns_timeline {
    const dns_slice *slices; /* [n_slice], as recorded: the members of a run are neighbours */
    int64_t n_slice, lost;   /* lost: slices that the run did not keep */
    const int64_t *by_start,
        *by_end;             /* [n_slice], positions by t0_s and by t1_s, ties as recorded */
    const int64_t *previous; /* [n_slice], the request's slice before, or -1 */
    const int64_t *next;     /* [n_slice], the next run's first slice on the resource, or -1 */
    int64_t n_row;
    const double *arrival_s, *finish_s, *deadline_s; /* [n_row] by request id; finish NaN: never */
    const uint8_t *status;                           /* [n_row], DNS_ST_* */
    const int32_t *key;                              /* [n_row], index into names */
    const int64_t *first;                            /* [n_row], the request's first slice, or -1 */
    const int64_t *by_finish; /* [n_row], ids by finish_s, never finished ones last */
    const char *const *names, *const *resources; /* escaped for JSON strings */
    int32_t n_name, n_resource;
    double t0_s, t1_s;      /* window; events outside are left out, slices and spans clipped */
    int64_t cap;            /* events at most, metadata not counted */
    const char *other_json; /* a JSON object for otherData, or NULL */
} dns_timeline;

/* Receives the text piece by piece; non-zero stops the writer with DNS_ERR_CALLBACK. */
typedef int (*dns_sink)(void *ctx, const char *text, size_t n);

/* Writes the whole document. buf: room for `room` >= 1024 bytes, caller-owned. If the window holds
 * more than `cap` events, or the run lost slices, the window ends earlier, so that what is there is
 * complete. On success *n_event events were written and *n_cut left out by window, cap or `lost`;
 * the document says so too. */
DNS_NODISCARD dns_status dns_timeline_write(const dns_timeline *t, dns_sink sink, void *ctx,
                                            char *buf, size_t room, int64_t *n_event,
                                            int64_t *n_cut, dns_error *err);

#endif
