/* N:M plans from any weights: refused exactly when a group holds too many non-zeros, else executed
 * at every level, as a matrix and as a vector, with results that agree with a plain loop. */
#include "dns/nm.h"
#include "fuzzkit.h"

enum { MAX_ROWS = 12, MAX_COLS = 400, N = 3 };

typedef struct matrix {
    size_t rows, cols, n, m;
    float w[MAX_ROWS * MAX_COLS];
    float x[MAX_COLS * N], y[MAX_ROWS * N];
} matrix;

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
    fuzz_ramp(a->x, a->cols * N);
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
        double size = 0.0;
        for (size_t k = 0; k < a->cols; k++) {
            const double t = (double)a->w[i / n * a->cols + k] * (double)a->x[k * n + i % n];
            sum += t;
            size += fabs(t);
        }
        fuzz_near(a->y[i], sum, size, (double)a->cols);
    }
}

static void
solve(matrix *a, dns_isa isa)
{
    dns_plan *plan = NULL;
    dns_error err;
    const dns_status status = dns_nm_plan_create(a->w, (ptrdiff_t)a->cols, a->rows, a->cols, a->n,
                                                 a->m, NULL, fuzz_no_act, isa, NULL, &plan, &err);
    if (a->n < 1 || a->n > a->m || a->m > DNS_NM_MAX) {
        require(status == DNS_ERR_VALUE && err.message[0] != '\0');
        return;
    }
    require(fuzz_taken(status, &err) == fits(a));
    if (status != DNS_OK) {
        require(status == DNS_ERR_FORMAT && err.index < (int64_t)a->rows);
        return;
    }
    for (size_t n = 1; n <= N; n += N - 1) {
        fuzz_product(plan, n, a->x, a->y);
        check_product(a, n);
    }
    dns_plan_destroy(plan);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_in in = {data, size};
    matrix *a = fuzz_new(1, sizeof *a);
    read_matrix(&in, a);
    FUZZ_FOR_EACH_LEVEL(isa, DNS_ISA_AVX512)
    {
        solve(a, isa);
    }
    free(a);
    return 0;
}
