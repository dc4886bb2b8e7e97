/* Nested bit planes: one set of weights, readable at 1 to `bits` bits.
 *
 * Codes are unsigned; the p-bit code is the top p bits of the whole one. A product at p bits reads
 * the planes that hold them and nothing else: bits 1 and 2 share a plane, bits 3 and 4 have one
 * each and the low four share the last, so p = 2, 3, 4 and 8 move p / 8 bytes per weight, 1 moves
 * what 2 does and 5, 6, 7 what 8 does.
 *
 * Uniform: w_p = s q_p 2^(bits-p) + z + s (2^(bits-p) - 1) / 2 with q_p the p-bit code, s and z per
 * row, or per row and group of columns: the middle of what the code stands for. Inputs are
 * quantised to 8 bits per vector (symmetric, t = max |x| / 127, dns/quant.h), sums are integers,
 * exact, the same bytes at every level and number of threads, and the rest is done in double,
 * groups in ascending order:
 *
 *     |y - sum w_p x| <= sum |w_p| (t (1/2 + 2^-14) + 4 u (|x| + t)),   u = 2^-24.
 *
 * Codebook: w_p = lut_p[row][q_p], centroids of nested one-dimensional clusters; x is not
 * quantised. Each row is summed in lanes l = k mod 16, ascending k, then lanes in ascending order:
 * |y - y64| <= 2 (K / 16 + 18) u sum |w x|.
 *
 * The format of planes and tables is that of Any-Precision LLM (Park et al., ICML 2024) but for the
 * planes' grouping.
 */
#ifndef DNS_NBP_H
#define DNS_NBP_H

#include "dns/plan.h"

#define DNS_NBP_MAX_COLS 65536
#define DNS_NBP_GROUP 64 /* columns; groups are multiples */

/* Quantised weights: codes [rows][cols], below 2^bits. */
typedef struct dns_nbp_codes {
    size_t rows, cols;
    int bits;     /* 2 to 8 */
    size_t group; /* columns per scale, a multiple of DNS_NBP_GROUP; 0 = the whole row */
    uint8_t *codes;
    float *scale, *zero; /* uniform: s and z, [rows][dns_nbp_groups], and lut NULL */
    float *lut;          /* codebook: [rows][2^(bits + 1) - 2], the tables of 1, 2, .. bits */
} dns_nbp_codes;

/* Number of scales of a row. */
size_t dns_nbp_groups(size_t cols, size_t group);

/* Fills codes, and scale and zero or lut, from w [rows][ldw >= cols]. Uniform: the range of the row
 * or group in 2^bits - 1 steps. Codebook: 4 clusters by Lloyd's iterations from quantiles (50 at
 * most), then every cluster is cut in two where the squared error falls most, bit by bit. Fails
 * with DNS_ERR_VALUE, naming the row, when a weight is not finite, or a parameter out of range, or
 * a group is asked for with a codebook; DNS_ERR_MEMORY. */
DNS_NODISCARD dns_status dns_nbp_quantize(const float *w, ptrdiff_t ldw, const dns_nbp_codes *out,
                                          const dns_alloc *alloc, dns_error *err);

/* Packs codes; bits beyond `bits` are ignored. Fails with DNS_ERR_VALUE when a parameter is out of
 * range, there are more than DNS_NBP_MAX_COLS columns or, naming the row, a scale, zero or centroid
 * is not finite, and as dns_plan_new does. */
DNS_NODISCARD dns_status dns_nbp_plan_create(const dns_nbp_codes *w, dns_isa isa,
                                             const dns_alloc *alloc, dns_plan **out,
                                             dns_error *err);

/* The codes of a plan, all arrays of out given by the caller. Fails with DNS_ERR_VALUE when the
 * plan is of another format. */
DNS_NODISCARD dns_status dns_nbp_unpack(const dns_plan *plan, const dns_nbp_codes *out,
                                        dns_error *err);

/* Whether a plan was made by dns_nbp_plan_create. */
bool dns_nbp_is(const dns_plan *plan);

/* Bits, group and kind of such a plan. */
void dns_nbp_describe(const dns_plan *plan, int *bits, size_t *group, bool *codebook);

/* The product at p bits, 1 <= p <= bits; workspace as for dns_plan_workspace, whose
 * dns_plan_execute is p = bits. */
void dns_nbp_execute(const dns_plan *plan, int p, dns_layout layout, const dns_call *call);

/* Weights at p bits, [rows][cols]. */
void dns_nbp_to_dense(const dns_plan *plan, int p, float *w);

/* Bytes of planes and tables that a product at p bits reads. */
size_t dns_nbp_read_bytes(const dns_plan *plan, int p);

#endif
