/* N:M plans from any weights: refused exactly when a group holds too many non-zeros, else executed
 * at every level, as a matrix and as a vector, with results that agree with a plain loop. */
#include "dns/nm.h"
#include "producer.h"

#include <math.h>
#include <stdlib.h>

enum { MAX_ROWS = 12, MAX_COLS = 400, N = 3 };

typedef struct matrix {
    size_t rows, cols, n, m;
    float w[MAX_ROWS * MAX_COLS];
    float x[MAX_COLS * N], y[MAX_ROWS * N];
} matrix;

static void
require(int ok)
{
    if (!ok) {
        abort();
    }
}

/* A byte decides for a group of columns how many non-zeros it has, rarely too many. */
static void
read_matrix(fuzz_in *in, matrix *a)
{
    a->m = (size_t)fuzz_int(in, 0, DNS_NM_MAX + 1);
    a->n = (size_t)fuzz_int(in, 0, (int64_t)a->m + (a->m < 3));
    a->rows = (size_t)fuzz_int(in, 0, MAX_ROWS);
    a->cols = (size_t)fuzz_int(in, 0, MAX_COLS);
    const int64_t wild = fuzz_int(in, 0, 255);
    const size_t m = a->m == 0 ? 1 : a->m;
    for (size_t i = 0; i < a->rows; i++) {
        for (size_t j = 0; j < a->cols; j += m) {
            const size_t top = a->n + (wild > 200 && a->n < m);
            size_t some = (size_t)fuzz_int(in, 0, (int64_t)top);
            for (size_t k = j; k < j + m && k < a->cols && some > 0; k++) {
                if (fuzz_u8(in) % 3 != 0) {
                    a->w[i * a->cols + k] = (float)((i * 31 + k * 17) % 61) / 30.0F - 0.99F;
                    some--;
                }
            }
        }
    }
    for (size_t i = 0; i < a->cols * N; i++) {
        a->x[i] = (float)(i % 17) / 8.0F - 1.0F;
    }
}

static int
fits(const matrix *a)
{
    for (size_t i = 0; i < a->rows; i++) {
        for (size_t j = 0; j < a->cols; j += a->m) {
            size_t some = 0;
            for (size_t k = j; k < j + a->m && k < a->cols; k++) {
                some += a->w[i * a->cols + k] != 0.0F;
            }
            if (some > a->n) {
                return 0;
            }
        }
    }
    return 1;
}

static void
check_product(const matrix *a, size_t n)
{
    for (size_t i = 0; i < a->rows * n; i++) {
        double sum = 0.0;
        double size = 1e-30;
        for (size_t k = 0; k < a->cols; k++) {
            const double t = (double)a->w[i / n * a->cols + k] * (double)a->x[k * n + i % n];
            sum += t;
            size += fabs(t);
        }
        require(fabs((double)a->y[i] - sum) <= 2.0 * (double)(a->cols + 2) * 0x1p-24 * size);
    }
}

static void
solve(matrix *a, dns_isa isa)
{
    dns_plan *plan = NULL;
    dns_error err;
    const dns_act all = {-INFINITY, INFINITY};
    const dns_status status = dns_nm_plan_create(a->w, (ptrdiff_t)a->cols, a->rows, a->cols, a->n,
                                                 a->m, NULL, all, isa, NULL, &plan, &err);
    if (a->n < 1 || a->n > a->m || a->m > DNS_NM_MAX) {
        require(status == DNS_ERR_VALUE && err.message[0] != '\0');
        return;
    }
    require(status == (fits(a) ? DNS_OK : DNS_ERR_FORMAT));
    if (status != DNS_OK) {
        require(err.index >= 0 && err.index < (int64_t)a->rows);
        return;
    }
    for (size_t n = 1; n <= N; n += N - 1) {
        size_t bytes = 0;
        require(dns_plan_workspace(plan, DNS_COLUMNS, n, 1, &bytes, NULL) == DNS_OK);
        void *ws = dns_mem_new(NULL, bytes, 1);
        require(ws != NULL);
        const dns_call call = {n, a->x, (ptrdiff_t)n, a->y, (ptrdiff_t)n, ws, NULL};
        dns_plan_execute(plan, DNS_COLUMNS, &call);
        check_product(a, n);
        dns_mem_free(NULL, ws, bytes, 1);
    }
    dns_plan_destroy(plan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_in in = {data, size};
    matrix *a = calloc(1, sizeof *a);
    require(a != NULL);
    read_matrix(&in, a);
    for (int isa = DNS_ISA_GENERIC; isa <= (int)DNS_ISA_AVX512 && isa <= (int)dns_isa_detect();
         isa++) {
        solve(a, (dns_isa)isa);
    }
    free(a);
    return 0;
}
