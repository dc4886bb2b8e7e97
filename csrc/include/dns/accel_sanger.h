/* Sanger: latency of sparse attention, statistics of its masks, and the mask prediction.
 *
 * All functions are pure and safe from any thread. Masks are packed rows as in dns/count.h: row q
 * of `seq` bits takes ceil(seq / 64) words with a zero tail.
 */
#ifndef DNS_ACCEL_SANGER_H
#define DNS_ACCEL_SANGER_H

#include <stddef.h>
#include <stdint.h>

#include "dns/cost.h"
#include "dns/status.h"

/* Parameters of the latency model. */
typedef struct dns_sanger {
    int32_t compat;  /* dns_compat */
    int32_t version; /* 1: operations only, 2: tiles */
    int32_t width;   /* model width; the public code has 768 */
    int32_t pes;     /* processing elements per row that the load balance was measured for */
} dns_sanger;

/* Fails with DNS_ERR_VALUE unless compat and version are known, width >= 1, pes in [1, 64]. */
DNS_NODISCARD dns_status dns_sanger_check(const dns_sanger *m, dns_error *err);

/* seconds[i] of one attention layer for density[i] in [0, 1], load balance lb[i] in (0, 1] and
 * seq[i] >= 1 tokens; lb may be 0 where density is (an empty mask). Writes nothing and fails with
 * DNS_ERR_VALUE at the first bad element. ratio_max, if not NULL, receives the largest
 * density / lb. */
DNS_NODISCARD dns_status dns_sanger_latency(const dns_sanger *m, size_t n, const double *density,
                                            const double *lb, const int64_t *seq, double *seconds,
                                            double *ratio_max, dns_error *err);

/* Counts of one sequence's masks over all its heads. A vector is 64 consecutive bits of a mask row;
 * it is left out if no position in it is attended, that is key and query both are in the key mask.
 */
typedef struct dns_sanger_counts {
    int64_t area;     /* attended positions of one head */
    int64_t nonzeros; /* ones at attended positions */
    int64_t ones;     /* ones in vectors that are not left out */
    int64_t vectors;  /* vectors that are not left out */
    int64_t nonempty; /* of these, vectors with a one */
    int64_t segments; /* sum of ceil(ones of a vector / pes) */
} dns_sanger_counts;

/* bits: [heads][seq][seq / 64 words]; key: [seq], non-zero where a token is real, or NULL for all.
 * With attended_only, ones outside the attended positions are ignored throughout (the public code
 * counts them in `ones` and `segments`). Fails with DNS_ERR_VALUE unless seq is a positive multiple
 * of 64 and pes is in [1, 64]. */
DNS_NODISCARD dns_status dns_sanger_mask_counts(const uint64_t *bits, size_t heads, size_t seq,
                                                const uint8_t *key, int32_t pes,
                                                int32_t attended_only, dns_sanger_counts *out,
                                                dns_error *err);

/* Passes of the hardware's greedy packing: 64 rows at a time, columns stream in; a group ends
 * before the first column in which some row with a one already holds `pes` of them. Same arguments
 * and failures; ones outside the attended positions are ignored. */
DNS_NODISCARD dns_status dns_sanger_mask_groups(const uint64_t *bits, size_t heads, size_t seq,
                                                const uint8_t *key, int32_t pes, int64_t *groups,
                                                dns_error *err);

/* Mask prediction of one sequence. */
typedef struct dns_sanger_predict {
    int32_t bits;        /* of the symmetric quantiser, 2 to 8 */
    int32_t normalize;   /* scale q and k to unit length before, and the scores back after */
    int32_t causal;      /* a query attends to itself and earlier keys only */
    double threshold;    /* keep where the predicted probability exceeds it */
    double q_max, k_max; /* quantiser ranges; <= 0: the largest magnitude of this input */
} dns_sanger_predict;

/* Bytes of workspace for one sequence. */
size_t dns_sanger_predict_work(size_t heads, size_t seq, size_t dim);

/* q, k: [heads][seq][dim]; key as above (a query attends to real keys only; a query without keys
 * keeps none); out: [heads][seq][words]. work: dns_sanger_predict_work() bytes, 8-byte aligned.
 * Fails with DNS_ERR_VALUE on a bad parameter, dim > 65536 or a value that is not finite (index:
 * its position). */
DNS_NODISCARD dns_status dns_sanger_predict_mask(const dns_sanger_predict *p, size_t heads,
                                                 size_t seq, size_t dim, const float *q,
                                                 const float *k, const uint8_t *key, uint64_t *out,
                                                 void *work, dns_error *err);

#endif
