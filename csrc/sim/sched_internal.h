/* Entry points of the scheduler files, gathered by sched.c. */
#ifndef DNS_SCHED_INTERNAL_H
#define DNS_SCHED_INTERNAL_H

#include <math.h>

#include "dns/sched.h"

typedef struct dns_dysta_ops {
    dns_pick_fn signed_slack, clamped_slack, deadline_slack, artifact;
} dns_dysta_ops;
extern const dns_dysta_ops dns_dysta_ops_generic, dns_dysta_ops_avx2, dns_dysta_ops_avx512;

int64_t dns_prema_pick(double now, int64_t n, const double *feat, int64_t ld, const double *param,
                       void *user);
int64_t dns_prema_sparse_pick(double now, int64_t n, const double *feat, int64_t ld,
                              const double *param, void *user);
int64_t dns_prema_artifact_pick(double now, int64_t n, const double *feat, int64_t ld,
                                const double *param, void *user);
int64_t dns_prema_sparse_artifact_pick(double now, int64_t n, const double *feat, int64_t ld,
                                       const double *param, void *user);
int64_t dns_planaria_pick(double now, int64_t n, const double *feat, int64_t ld,
                          const double *param, void *user);
int64_t dns_planaria_artifact_pick(double now, int64_t n, const double *feat, int64_t ld,
                                   const double *param, void *user);
int64_t dns_sdrm3_pick(double now, int64_t n, const double *feat, int64_t ld, const double *param,
                       void *user);
int64_t dns_sdrm3_artifact_pick(double now, int64_t n, const double *feat, int64_t ld,
                                const double *param, void *user);
int64_t dns_lottery_pick(double now, int64_t n, const double *feat, int64_t ld, const double *param,
                         void *user);
int32_t dns_batch_fcfs(void *user, dns_ctl *ctl, int64_t n, const double *feat, int64_t ld,
                       const double *param, dns_choice *out);

#endif
