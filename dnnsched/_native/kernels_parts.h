/* What the parts of dnnsched._native._kernels share: module state, levels, plans.
 *
 * A kernel family is one file kernels_<family>.c that ends in a method table; the table is declared
 * here and listed in kernelsmodule.c. Functions are positional (DNSPY_FAST) and strict; the Python
 * layer converts. A family of plans needs its create function only: it wraps the dns_plan in a
 * capsule by kernels_plan_capsule, and kernels_plan.c does the rest.
 */
#ifndef DNNSCHED_KERNELS_PARTS_H
#define DNNSCHED_KERNELS_PARTS_H

#include "dnspy.h"

#include "dns/blas.h"
#include "dns/fft.h"
#include "dns/mem.h"
#include "dns/plan.h"
#include "dns/sddmm.h"
#include "dns/softmax.h"
#include "dns/threads.h"

/* Method tables, one per kernels_<family>.c; kernelsmodule.c adds them all. */
extern PyMethodDef kernels_attention_methods[];
extern PyMethodDef kernels_blas_methods[];
extern PyMethodDef kernels_butterfly_methods[];
extern PyMethodDef kernels_conv_methods[];
extern PyMethodDef kernels_bsr_methods[];
extern PyMethodDef kernels_count_methods[];
extern PyMethodDef kernels_csr_methods[];
extern PyMethodDef kernels_dense_methods[];
extern PyMethodDef kernels_fft_methods[];
extern PyMethodDef kernels_fwht_methods[];
extern PyMethodDef kernels_int8_methods[];
extern PyMethodDef kernels_lstm_methods[];
extern PyMethodDef kernels_machine_methods[];
extern PyMethodDef kernels_nbp_methods[];
extern PyMethodDef kernels_nm_methods[];
extern PyMethodDef kernels_plan_methods[];
extern PyMethodDef kernels_pq_methods[];
extern PyMethodDef kernels_rowstats_methods[];
extern PyMethodDef kernels_sddmm_methods[];
extern PyMethodDef kernels_softmax_methods[];
extern PyMethodDef kernels_tree_methods[];

typedef struct kernels_state {
    dnspy_state base;
    dns_blas blas; /* filled by blas_load */
    void *blas_handle;
    const char *blas_config, *blas_core;
    int (*blas_threads)(void);
    dns_threads *pools[DNS_THREADS_MAX + 1]; /* by number of threads, made when first asked for */
    long pools_pid;                          /* of the process that made them */
    dns_fft *ffts[DNS_N_ISA][DNS_FFT_MAX_LOG2 + 1]; /* by level and length, likewise */
    void *ws; /* kept between calls; NULL while a call uses it */
    size_t ws_bytes;
} kernels_state;

/* Below this many bytes of input, or floating-point operations, a call is shorter than giving up
 * the GIL is worth. */
#define KERNELS_RELEASE_BYTES 65536
#define KERNELS_BEGIN_LONG(bytes)                                                                  \
    PyThreadState *thread_ = (bytes) >= KERNELS_RELEASE_BYTES ? PyEval_SaveThread() : NULL
#define KERNELS_END_LONG                                                                           \
    if (thread_ != NULL) {                                                                         \
        PyEval_RestoreThread(thread_);                                                             \
    }

/* The instruction-set level of an argument, -1 = the module's; 0, or -1 with an exception set. */
int kernels_level(PyObject *module, PyObject *arg, dns_isa *isa);

/* 0 if the status is DNS_OK, else -1 with an exception set. */
int kernels_check(PyObject *module, dns_status status, const dns_error *err);

/* Leading dimension, in elements, of a 2-d array whose rows are contiguous; -1 with a ValueError
 * when rows overlap, run backwards or are 2^31 elements apart. */
ptrdiff_t kernels_ld(PyArrayObject *a, const char *name);

/* 0 if two arrays are one and the same or lie apart, else -1 with ValueError. */
int kernels_same_or_apart(PyArrayObject *x, PyArrayObject *y);

/* The pool for a `threads` argument, NULL for one thread; 0, or -1 with an exception set. */
int kernels_threads(PyObject *module, PyObject *arg, dns_threads **pool);

/* DNS_ALIGN-aligned workspace of at least `bytes` bytes, and its return; NULL with MemoryError.
 * Both with the GIL held. */
void *kernels_ws_take(kernels_state *st, size_t bytes, size_t *got);
void kernels_ws_give(kernels_state *st, void *ws, size_t got);

/* Optional bias argument [rows] and (lo, hi) arguments; 0, or -1 with an exception set. */
int kernels_bias(PyObject *arg, npy_intp rows, const float **bias);
int kernels_act(PyObject *lo, PyObject *hi, dns_act *act);

/* A capsule that owns the plan and keeps the module alive; NULL with an exception set, and the plan
 * is then freed. */
PyObject *kernels_plan_capsule(PyObject *module, dns_plan *plan);

/* The plan of a capsule argument, a matrix's or a convolution's; NULL with TypeError. */
dns_plan *kernels_plan(PyObject *capsule);
dns_plan *kernels_conv(PyObject *capsule);

/* The masks of a softmax whose rows and cols are set: queries (> 0: causal), and lengths, bits and
 * add, each an array or None; 0, or -1 with an exception set. */
int kernels_softmax_masks(PyObject *const *args, dns_softmax *c);

/* The pattern of a capsule argument; NULL with TypeError. */
const dns_pattern *kernels_pattern(PyObject *capsule);

#endif
