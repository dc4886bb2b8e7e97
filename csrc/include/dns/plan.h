/* Plans: weights packed once, executed many times.
 *
 *     Y = act(W X + b)
 *
 * with W an M x K matrix of some format, X K x N, Y M x N. A plan is made by its format's create
 * function (dns_csr_plan_create, dns_dense_plan_create, ...), is immutable from then on, may be
 * used by any number of threads at once, and is freed by dns_plan_destroy. Executing never
 * allocates: the caller brings dns_plan_workspace bytes.
 *
 * Arrays: float32, innermost dimension contiguous, leading dimensions in elements (>= extent), no
 * alignment beyond the element's, X and Y apart. Nothing outside the named elements is read or
 * written. Extents are below 2^31; zero extents are legal, and with K = 0 the result is act(b).
 *
 * A format is a dns_plan_ops table and a struct that begins with a dns_plan; see csr.c.
 */
#ifndef DNS_PLAN_H
#define DNS_PLAN_H

#include <stdbool.h>
#include <stddef.h>

#include "dns/cpu.h"
#include "dns/mem.h"
#include "dns/roofline.h"
#include "dns/status.h"
#include "dns/threads.h"

/* Where the N vectors of a product lie. */
typedef enum dns_layout {
    DNS_COLUMNS = 0, /* X is [K][ldx >= N], Y is [M][ldy >= N] */
    DNS_ROWS = 1     /* X is [N][ldx >= K], Y is [N][ldy >= M]: PyTorch's linear layer */
} dns_layout;

/* act(v) = min(hi, max(lo, v)); NaN stays NaN. */
typedef struct dns_act {
    float lo, hi;
} dns_act;

typedef struct dns_plan dns_plan;

/* One execution; see dns_plan_execute. */
typedef struct dns_call {
    size_t n;
    const float *x;
    ptrdiff_t ldx;
    float *y;
    ptrdiff_t ldy;
    void *ws;
    dns_threads *threads;
} dns_call;

/* A format's functions. They are given checked arguments: M, K, N >= 1. */
typedef struct dns_plan_ops {
    const char *format;
    /* Bytes of workspace for n columns on `threads` threads; false when they do not fit a size_t.
     */
    bool (*workspace)(const dns_plan *plan, size_t n, size_t threads, size_t *bytes);
    /* Layout DNS_COLUMNS. NULL: a convolution, executed by dns_conv_execute alone. */
    void (*execute)(const dns_plan *plan, const dns_call *call);
    /* Layout DNS_ROWS; both NULL: the library transposes X and Y in the workspace. */
    bool (*rows_workspace)(const dns_plan *plan, size_t n, size_t threads, size_t *bytes);
    void (*execute_rows)(const dns_plan *plan, const dns_call *call);
    /* Work of an execution with n columns; *work is zeroed. */
    void (*work)(const dns_plan *plan, size_t n, const dns_machine *machine, dns_work *work);
    /* Writes the stored weights into the M x K array w, whose elements are zero. */
    void (*to_dense)(const dns_plan *plan, float *w);
    /* Frees all but the dns_plan part's own arrays. */
    void (*destroy)(dns_plan *plan);
} dns_plan_ops;

/* The part common to all formats; read-only for users. */
struct dns_plan {
    const dns_plan_ops *ops;
    dns_alloc alloc;
    size_t struct_bytes; /* of the format's struct */
    dns_isa isa;         /* level of the code that runs */
    size_t rows, cols;   /* M, K */
    size_t nnz;          /* stored weights, zeros among them included */
    size_t bytes;        /* memory that the plan holds */
    dns_act act;
    float *bias; /* [M]; zeros where the caller gave none */
};

/* Bytes of workspace, to be aligned to DNS_ALIGN, for an execution with n vectors on a pool of
 * `threads` threads. Fails with DNS_ERR_OVERFLOW. */
DNS_NODISCARD dns_status dns_plan_workspace(const dns_plan *plan, dns_layout layout, size_t n,
                                            size_t threads, size_t *bytes, dns_error *err);

/* Executes the plan; threads in `call` may be NULL. Results do not depend on the number of threads.
 * Products of less than 2 Mflop run on the calling thread. */
void dns_plan_execute(const dns_plan *plan, dns_layout layout, const dns_call *call);

/* Work of an execution with n vectors in layout DNS_COLUMNS on one core of the machine. */
dns_work dns_plan_work(const dns_plan *plan, size_t n, const dns_machine *machine);

/* The weights as a dense M x K array; what is not stored is 0. */
void dns_plan_to_dense(const dns_plan *plan, float *w);

/* Frees the plan; NULL is ignored. */
void dns_plan_destroy(dns_plan *plan);

/* For formats: allocates a plan whose struct has struct_bytes bytes, zeroed but for the common
 * part, with a copy of bias (NULL = zeros). Fails with DNS_ERR_VALUE when an extent is 2^31 or more
 * or the activation's range is empty or NaN, or DNS_ERR_MEMORY. */
DNS_NODISCARD dns_status dns_plan_new(const dns_plan_ops *ops, size_t struct_bytes, size_t rows,
                                      size_t cols, const float *bias, dns_act act,
                                      const dns_alloc *alloc, dns_plan **out, dns_error *err);

/* For formats: the end of a creation. DNS_OK hands the plan over in *out; any other status destroys
 * it and is returned, *out untouched. The text of DNS_ERR_MEMORY is written here, with plan->nnz;
 * for other failures the format has written it. */
DNS_NODISCARD dns_status dns_plan_finish(dns_plan *plan, dns_status status, dns_plan **out,
                                         dns_error *err);

/* For formats: number of threads that a product of `flops` is worth; 1 below 2 Mflop. */
size_t dns_plan_threads(const dns_plan *plan, size_t n, const dns_threads *threads);

#endif
