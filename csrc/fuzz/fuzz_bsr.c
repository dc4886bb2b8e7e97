/* BSR plans from any arrays: refused with a message, or executed at every level with results that
 * agree with a plain loop, and unpacked into what came in. */
#include "dns/bsr.h"
#include "fuzzkit.h"

enum { MAX_BLOCK_ROWS = 40, MAX_BLOCK_COLS = 200, MAX_BLOCKS = 512, MAX_EXTENT = 9, N = 3 };

typedef struct matrix {
    dns_bsr view;
    int64_t indptr[MAX_BLOCK_ROWS + 1];
    int64_t indices[MAX_BLOCKS];
    float values[MAX_BLOCKS * MAX_EXTENT * MAX_EXTENT];
} matrix;

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
    const fuzz_sparse s = {rows, cols, MAX_BLOCKS, 20, 31, m->indptr, m->indices, NULL};
    const size_t n = fuzz_rows(in, &s);
    for (size_t i = 0; i < n * w.r * w.c; i++) {
        m->values[i] = (float)((i * 37 + (size_t)wild) % 61) / 30.0F - 1.0F;
    }
    fuzz_break(in, wild, &s, n);
    if (wild == 240) {
        w.c = (size_t)fuzz_bytes(in, 8);
    }
    w.n_blocks = n;
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
        double size = 0.0;
        double terms = 0.0;
        for (int64_t k = w->indptr[row / w->r]; k < w->indptr[row / w->r + 1]; k++) {
            for (size_t j = 0; j < w->c && (size_t)w->indices[k] * w->c + j < w->cols; j++) {
                const double v = (double)w->values[((size_t)k * w->r + row % w->r) * w->c + j];
                const double t = v * (double)x[((size_t)w->indices[k] * w->c + j) * N + i % N];
                sum += t;
                size += fabs(t);
                terms += 1.0;
            }
        }
        fuzz_near(y[i], sum, size, terms);
    }
}

/* The structure is what came in, and the values inside the matrix. */
static void
check_back(const dns_plan *plan, const dns_bsr *w)
{
    matrix *back = fuzz_new(1, sizeof *back);
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
    if (!fuzz_taken(dns_bsr_plan_create(w, NULL, fuzz_no_act, isa, NULL, &plan, &err), &err)) {
        require(err.code == DNS_ERR_VALUE || err.code == DNS_ERR_FORMAT);
        return;
    }
    float *x = fuzz_new(w->cols * N, sizeof *x);
    float *y = fuzz_new(w->rows * N, sizeof *y);
    fuzz_ramp(x, w->cols * N);
    fuzz_product(plan, N, x, y);
    check_product(w, x, y);
    check_back(plan, w);
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
        solve(&m->view, isa);
    }
    free(m);
    return 0;
}
