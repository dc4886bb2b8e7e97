/* Eyeriss v2: layer cycles from the numbers of valid products and of non-empty input columns.
 *
 * The counts themselves come from the count kernels (dns/count.h); this model maps a layer onto the
 * array and turns counts into cycles. All functions are pure and safe from any thread.
 */
#ifndef DNS_ACCEL_EYERISS2_H
#define DNS_ACCEL_EYERISS2_H

#include <stddef.h>
#include <stdint.h>

#include "dns/cost.h"
#include "dns/status.h"

#define DNS_EYERISS2_PES 192
#define DNS_EYERISS2_CLOCK_HZ 200e6
#define DNS_EYERISS2_DRAM_BYTES_PER_S 25.6e9

/* Layer extents as the mapping sees them; a fully connected layer is a 1 x 1 convolution of a
 * 1 x 1 map. */
typedef struct dns_eyeriss2_layer {
    int64_t in_channels, out_channels, groups;
    int64_t kernel_h, kernel_w;
    int64_t in_h, in_w, out_h, out_w;
} dns_eyeriss2_layer;

/* Loop extents, named as in the Eyeriss v2 paper: 0 inside a PE, 1 across PEs, 2 in time. */
typedef struct dns_eyeriss2_map {
    int64_t R, E;
    int64_t C0, C1, C2;
    int64_t F0, F1, F2;
    int64_t M0, M1, M2;
    int64_t S1, S2;
    int64_t address_checks; /* A */
    int64_t weight_factor;  /* cycles per non-empty column */
} dns_eyeriss2_map;

/* Maps a layer. glb_bytes is the capacity of each of the three input buffers (public code: 4000).
 * Fails with DNS_ERR_VALUE when the layer does not fit: kernel higher than the 16 words of the
 * input scratch pad, a buffer that does not hold one row, and in DNS_COMPAT_ARTIFACT a map that is
 * not square or channels that C0*C1*C2 does not equal. */
DNS_NODISCARD dns_status dns_eyeriss2_make_map(dns_compat compat, int64_t glb_bytes,
                                               const dns_eyeriss2_layer *layer,
                                               dns_eyeriss2_map *map, dns_error *err);

/* Z of the public code, per sample: any is [samples][channels][h], non-zero where a row of the
 * input has a non-zero; z[s] = number of (channel, row h) such that one of the rows
 * h .. min(h + R - 1, end of h's block of F0 rows) has one. */
void dns_eyeriss2_row_visits(const dns_eyeriss2_map *map, size_t samples, size_t channels, size_t h,
                             const uint8_t *any, uint64_t *z);

/* cycles[s] = floor((4 macs[s] + A + weight_factor z[s]) / 192). Fails with DNS_ERR_OVERFLOW when
 * the sum does not fit in 64 bits. */
DNS_NODISCARD dns_status dns_eyeriss2_cycles(const dns_eyeriss2_map *map, size_t samples,
                                             const uint64_t *macs, const uint64_t *z,
                                             uint64_t *cycles, dns_error *err);

/* out[s] = sum_t times[t] * (1 - (1 - density[s])^n[t]): expected number of sets that have a
 * non-zero, times[t] sets of n[t] independent values each. density in [0, 1]. */
void dns_eyeriss2_expected_any(size_t samples, const double *density, size_t terms,
                               const int64_t *n, const int64_t *times, double *out);

/* One cost record per sample from (expected) counts. `bytes` is NULL without a memory model, else
 * the DRAM bytes [samples][3] of input, weights and output: time is then the longer of computing
 * and moving them at DNS_EYERISS2_DRAM_BYTES_PER_S. Products and columns are exact when integers
 * below 2^53. */
void dns_eyeriss2_cost(const dns_eyeriss2_map *map, size_t samples, const double *macs,
                       const double *z, const double *bytes, dns_cost *cost);

#endif
