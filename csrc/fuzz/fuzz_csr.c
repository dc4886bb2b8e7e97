/* CSR plans from any arrays: refused with a message, or executed at every level with results that
 * agree with a plain loop, and unpacked into what came in. */
#include "dns/csr.h"
#include "producer.h"

#include <math.h>
#include <stdlib.h>

enum { MAX_ROWS = 200, MAX_COLS = 700, MAX_NNZ = 4096, N = 3 };

typedef struct matrix {
    dns_csr view;
    int64_t indptr[MAX_ROWS + 1];
    int64_t indices[MAX_NNZ];
    float values[MAX_NNZ];
} matrix;

static void
require(int ok)
{
    if (!ok) {
        abort();
    }
}

/* Mostly well-formed rows, so that plans get made; `wild` numbers break some. */
static void
read_matrix(fuzz_in *in, matrix *m)
{
    const size_t rows = (size_t)fuzz_int(in, 0, MAX_ROWS);
    const size_t cols = (size_t)fuzz_int(in, 0, MAX_COLS);
    const int64_t wild = fuzz_int(in, 0, 255);
    int64_t n = 0;
    for (size_t i = 0; i < rows; i++) {
        m->indptr[i] = n;
        int64_t column = fuzz_int(in, 0, 40);
        for (int64_t k = fuzz_int(in, 0, 63); k > 0 && n < MAX_NNZ && column < (int64_t)cols; k--) {
            m->values[n] = (float)fuzz_real(in, -1.0, 1.0);
            m->indices[n++] = column;
            column += 1 + fuzz_int(in, 0, 15);
        }
    }
    m->indptr[rows] = n;
    if (wild > 250 && rows > 0) {
        m->indptr[(size_t)fuzz_int(in, 0, (int64_t)rows)] = (int64_t)fuzz_bytes(in, 8);
    }
    if (wild > 240 && n > 0) {
        m->indices[fuzz_int(in, 0, n - 1)] = (int64_t)fuzz_bytes(in, 8);
    }
    m->view = (dns_csr){rows, cols, (size_t)n, m->indptr, m->indices, m->values};
}

static void
check_product(const matrix *m, const float *x, const float *y)
{
    for (size_t i = 0; i < m->view.rows; i++) {
        for (size_t j = 0; j < N; j++) {
            double sum = 0.0;
            double size = 1e-30;
            for (int64_t k = m->indptr[i]; k < m->indptr[i + 1]; k++) {
                const double t = (double)m->values[k] * (double)x[(size_t)m->indices[k] * N + j];
                sum += t;
                size += fabs(t);
            }
            const double terms = (double)(m->indptr[i + 1] - m->indptr[i]) + 2.0;
            require(fabs((double)y[i * N + j] - sum) <= 2.0 * terms * 0x1p-24 * size);
        }
    }
}

static void
solve(const matrix *m, dns_isa isa)
{
    dns_plan *plan = NULL;
    dns_error err;
    const dns_act all = {-INFINITY, INFINITY};
    const dns_status status = dns_csr_plan_create(&m->view, NULL, all, isa, NULL, &plan, &err);
    if (status != DNS_OK) {
        require(status == DNS_ERR_FORMAT && err.index >= 0 && err.message[0] != '\0');
        return;
    }
    size_t bytes = 0;
    require(dns_plan_workspace(plan, DNS_COLUMNS, N, 1, &bytes, NULL) == DNS_OK);
    float *x = malloc((m->view.cols * N + 1) * sizeof *x);
    float *y = malloc((m->view.rows * N + 1) * sizeof *y);
    void *ws = dns_mem_new(NULL, bytes, 1);
    matrix *back = malloc(sizeof *back);
    require(x != NULL && y != NULL && ws != NULL && back != NULL);
    for (size_t i = 0; i < m->view.cols * N; i++) {
        x[i] = (float)(i % 17) / 8.0F - 1.0F;
    }
    const dns_call call = {N, x, N, y, N, ws, NULL};
    dns_plan_execute(plan, DNS_COLUMNS, &call);
    check_product(m, x, y);
    require(dns_csr_plan_unpack(plan, back->indptr, back->indices, back->values, NULL) == DNS_OK);
    require(memcmp(back->indptr, m->indptr, (m->view.rows + 1) * sizeof *back->indptr) == 0);
    require(memcmp(back->indices, m->indices, m->view.nnz * sizeof *back->indices) == 0);
    require(memcmp(back->values, m->values, m->view.nnz * sizeof *back->values) == 0);
    free(back);
    dns_mem_free(NULL, ws, bytes, 1);
    free(y);
    free(x);
    dns_plan_destroy(plan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_in in = {data, size};
    matrix *m = calloc(1, sizeof *m);
    require(m != NULL);
    read_matrix(&in, m);
    for (int isa = DNS_ISA_GENERIC; isa <= (int)DNS_ISA_AVX512 && isa <= (int)dns_isa_detect();
         isa++) {
        solve(m, (dns_isa)isa);
    }
    free(m);
    return 0;
}
