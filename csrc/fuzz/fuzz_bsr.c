/* BSR plans from any arrays: refused with a message, or executed at every level with results that
 * agree with a plain loop, and unpacked into what came in. */
#include "dns/bsr.h"
#include "producer.h"

#include <math.h>
#include <stdlib.h>

enum { MAX_BLOCK_ROWS = 40, MAX_BLOCK_COLS = 200, MAX_BLOCKS = 512, MAX_EXTENT = 9, N = 3 };

typedef struct matrix {
    dns_bsr view;
    int64_t indptr[MAX_BLOCK_ROWS + 1];
    int64_t indices[MAX_BLOCKS];
    float values[MAX_BLOCKS * MAX_EXTENT * MAX_EXTENT];
} matrix;

static void
require(int ok)
{
    if (!ok) {
        abort();
    }
}

/* Mostly well-formed block rows, so that plans get made; `wild` numbers break some. */
static void
read_matrix(fuzz_in *in, matrix *m)
{
    dns_bsr w = {0};
    w.r = (size_t)fuzz_int(in, 1, MAX_EXTENT);
    w.c = (size_t)fuzz_int(in, 1, MAX_EXTENT);
    const size_t rows = (size_t)fuzz_int(in, 0, MAX_BLOCK_ROWS);
    const size_t cols = (size_t)fuzz_int(in, 0, MAX_BLOCK_COLS);
    w.rows = rows == 0 ? 0 : rows * w.r - (size_t)fuzz_int(in, 0, (int64_t)w.r - 1);
    w.cols = cols == 0 ? 0 : cols * w.c - (size_t)fuzz_int(in, 0, (int64_t)w.c - 1);
    const int64_t wild = fuzz_int(in, 0, 255);
    int64_t n = 0;
    for (size_t i = 0; i < rows; i++) {
        m->indptr[i] = n;
        int64_t column = fuzz_int(in, 0, 20);
        for (int64_t k = fuzz_int(in, 0, 31); k > 0 && n < MAX_BLOCKS && column < (int64_t)cols;
             k--) {
            m->indices[n++] = column;
            column += 1 + fuzz_int(in, 0, 15);
        }
    }
    m->indptr[rows] = n;
    for (size_t i = 0; i < (size_t)n * w.r * w.c; i++) {
        m->values[i] = (float)((i * 37 + (size_t)wild) % 61) / 30.0F - 1.0F;
    }
    if (wild > 250) {
        m->indptr[fuzz_int(in, 0, (int64_t)rows)] = (int64_t)fuzz_bytes(in, 8);
    }
    if (wild > 240 && n > 0) {
        m->indices[fuzz_int(in, 0, n - 1)] = (int64_t)fuzz_bytes(in, 8);
    }
    if (wild == 240) {
        w.c = (size_t)fuzz_bytes(in, 8);
    }
    w.n_blocks = (size_t)n;
    w.indptr = m->indptr;
    w.indices = m->indices;
    w.values = m->values;
    m->view = w;
}

static void
check_product(const dns_bsr *w, const float *x, const float *y)
{
    for (size_t i = 0; i < w->rows * N; i++) {
        const size_t row = i / N;
        double sum = 0.0;
        double size = 1e-30;
        double terms = 2.0;
        for (int64_t k = w->indptr[row / w->r]; k < w->indptr[row / w->r + 1]; k++) {
            for (size_t j = 0; j < w->c && (size_t)w->indices[k] * w->c + j < w->cols; j++) {
                const double v = (double)w->values[((size_t)k * w->r + row % w->r) * w->c + j];
                const double t = v * (double)x[((size_t)w->indices[k] * w->c + j) * N + i % N];
                sum += t;
                size += fabs(t);
                terms += 1.0;
            }
        }
        require(fabs((double)y[i] - sum) <= 2.0 * terms * 0x1p-24 * size);
    }
}

/* The structure is what came in, and the values inside the matrix. */
static void
check_back(const dns_plan *plan, const dns_bsr *w)
{
    matrix *back = malloc(sizeof *back);
    require(back != NULL);
    require(dns_bsr_plan_unpack(plan, back->indptr, back->indices, back->values, NULL) == DNS_OK);
    const size_t n = (w->rows + w->r - 1) / w->r;
    require(memcmp(back->indptr, w->indptr, (n + 1) * sizeof *back->indptr) == 0);
    require(memcmp(back->indices, w->indices, w->n_blocks * sizeof *back->indices) == 0);
    for (size_t i = 0; i < n; i++) {
        for (int64_t k = w->indptr[i]; k < w->indptr[i + 1]; k++) {
            for (size_t p = 0; p < w->r * w->c; p++) {
                const size_t at = (size_t)k * w->r * w->c + p;
                const int inside = i * w->r + p / w->c < w->rows &&
                                   (size_t)w->indices[k] * w->c + p % w->c < w->cols;
                const float want = inside ? w->values[at] : 0.0F;
                require(memcmp(&back->values[at], &want, sizeof want) == 0);
            }
        }
    }
    free(back);
}

static void
solve(const dns_bsr *w, dns_isa isa)
{
    dns_plan *plan = NULL;
    dns_error err;
    const dns_act all = {-INFINITY, INFINITY};
    const dns_status status = dns_bsr_plan_create(w, NULL, all, isa, NULL, &plan, &err);
    if (status != DNS_OK) {
        require(status == DNS_ERR_VALUE || (status == DNS_ERR_FORMAT && err.index >= 0));
        require(err.message[0] != '\0');
        return;
    }
    size_t bytes = 0;
    require(dns_plan_workspace(plan, DNS_COLUMNS, N, 1, &bytes, NULL) == DNS_OK);
    float *x = malloc((w->cols * N + 1) * sizeof *x);
    float *y = malloc((w->rows * N + 1) * sizeof *y);
    void *ws = dns_mem_new(NULL, bytes, 1);
    require(x != NULL && y != NULL && ws != NULL);
    for (size_t i = 0; i < w->cols * N; i++) {
        x[i] = (float)(i % 17) / 8.0F - 1.0F;
    }
    const dns_call call = {N, x, N, y, N, ws, NULL};
    dns_plan_execute(plan, DNS_COLUMNS, &call);
    check_product(w, x, y);
    check_back(plan, w);
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
        solve(&m->view, (dns_isa)isa);
    }
    free(m);
    return 0;
}
