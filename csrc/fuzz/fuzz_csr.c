/* CSR plans from any arrays: refused with a message, or executed at every level with results that
 * agree with a plain loop, and unpacked into what came in. */
#include "dns/csr.h"
#include "fuzzkit.h"

enum { MAX_ROWS = 200, MAX_COLS = 700, MAX_NNZ = 4096, N = 3 };

typedef struct matrix {
    dns_csr view;
    int64_t indptr[MAX_ROWS + 1];
    int64_t indices[MAX_NNZ];
    float values[MAX_NNZ];
} matrix;

/* Mostly well-formed rows, so that plans get made; `wild` numbers break some. */
static void
read_matrix(fuzz_in *in, matrix *m)
{
    const size_t rows = (size_t)fuzz_int(in, 0, MAX_ROWS);
    const size_t cols = (size_t)fuzz_int(in, 0, MAX_COLS);
    const int64_t wild = fuzz_int(in, 0, 255);
    const fuzz_sparse s = {rows, cols, MAX_NNZ, 40, 63, m->indptr, m->indices, m->values};
    const size_t n = fuzz_rows(in, &s);
    fuzz_break(in, wild, &s, n);
    m->view = (dns_csr){rows, cols, n, m->indptr, m->indices, m->values};
}

static void
check_product(const matrix *m, const float *x, const float *y)
{
    for (size_t i = 0; i < m->view.rows; i++) {
        for (size_t j = 0; j < N; j++) {
            double sum = 0.0;
            double size = 0.0;
            for (int64_t k = m->indptr[i]; k < m->indptr[i + 1]; k++) {
                const double t = (double)m->values[k] * (double)x[(size_t)m->indices[k] * N + j];
                sum += t;
                size += fabs(t);
            }
            fuzz_near(y[i * N + j], sum, size, (double)(m->indptr[i + 1] - m->indptr[i]));
        }
    }
}

static void
solve(const matrix *m, dns_isa isa)
{
    dns_plan *plan = NULL;
    dns_error err;
    if (!fuzz_taken(dns_csr_plan_create(&m->view, NULL, fuzz_no_act, isa, NULL, &plan, &err),
                    &err)) {
        require(err.code == DNS_ERR_FORMAT);
        return;
    }
    float *x = fuzz_new(m->view.cols * N, sizeof *x);
    float *y = fuzz_new(m->view.rows * N, sizeof *y);
    matrix *back = fuzz_new(1, sizeof *back);
    fuzz_ramp(x, m->view.cols * N);
    fuzz_product(plan, N, x, y);
    check_product(m, x, y);
    require(dns_csr_plan_unpack(plan, back->indptr, back->indices, back->values, NULL) == DNS_OK);
    require(memcmp(back->indptr, m->indptr, (m->view.rows + 1) * sizeof *back->indptr) == 0);
    require(memcmp(back->indices, m->indices, m->view.nnz * sizeof *back->indices) == 0);
    require(memcmp(back->values, m->values, m->view.nnz * sizeof *back->values) == 0);
    free(back);
    free(y);
    free(x);
    dns_plan_destroy(plan);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_in in = {data, size};
    matrix *m = fuzz_new(1, sizeof *m);
    read_matrix(&in, m);
    FUZZ_FOR_EACH_LEVEL(isa, DNS_ISA_AVX512)
    {
        solve(m, isa);
    }
    free(m);
    return 0;
}
