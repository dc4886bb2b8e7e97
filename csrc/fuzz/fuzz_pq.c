/* Product quantisers of any floats: refused exactly when a centroid is not finite, else codes of
 * any rows are the definition's at every level, decoding checks codes, and training on the rows
 * gives finite codebooks. */
#include "dns/pq.h"
#include "fuzzkit.h"

enum { MAX_M = 3, KSUB = 16, MAX_DSUB = 5, MAX_ROWS = 40, MAX_DIM = MAX_M * MAX_DSUB };

typedef struct input {
    dns_pq_shape shape;
    size_t n, dim;
    float books[MAX_M * KSUB * MAX_DSUB];
    float x[MAX_ROWS * MAX_DIM], y[MAX_ROWS * MAX_DIM];
    uint8_t codes[MAX_ROWS * MAX_M];
} input;

/* Small integers, numbers close to each other, or any bits. */
static float
read_float(fuzz_in *in, int kind)
{
    if (kind == 2) {
        return fuzz_any_float(in);
    }
    const float value = (float)((int)fuzz_u8(in) - 128);
    return kind == 0 ? value : 1e4F + value * 0x1p-9F;
}

static int
read_input(fuzz_in *in, input *a)
{
    a->shape =
        (dns_pq_shape){(size_t)fuzz_int(in, 1, MAX_M), KSUB, (size_t)fuzz_int(in, 1, MAX_DSUB)};
    a->n = (size_t)fuzz_int(in, 0, MAX_ROWS);
    a->dim = a->shape.m * a->shape.dsub;
    const int kind = (int)fuzz_int(in, 0, 2);
    int finite = 1;
    for (size_t i = 0; i < KSUB * a->dim; i++) {
        a->books[i] = read_float(in, kind);
        finite = finite && isfinite(a->books[i]);
    }
    for (size_t i = 0; i < a->n * a->dim; i++) {
        a->x[i] = read_float(in, kind);
    }
    for (size_t i = 0; i < a->n * a->shape.m; i++) {
        a->codes[i] = fuzz_u8(in) % 24;
    }
    return finite;
}

static size_t
bad_row(const input *a)
{
    for (size_t i = 0; i < a->n * a->dim; i++) {
        if (!isfinite(a->x[i])) {
            return i / a->dim;
        }
    }
    return a->n;
}

static size_t
nearest(const input *a, size_t s, const float *x)
{
    size_t at = 0;
    double best = INFINITY;
    for (size_t j = 0; j < KSUB; j++) {
        const float *c = a->books + (s * KSUB + j) * a->shape.dsub;
        double sum = 0.0;
        for (size_t k = 0; k < a->shape.dsub; k++) {
            const double d = (double)x[s * a->shape.dsub + k] - (double)c[k];
            sum += d * d;
        }
        at = sum < best ? j : at;
        best = sum < best ? sum : best;
    }
    return at;
}

static void
check_decode(input *a, const dns_pq *pq)
{
    dns_error err;
    size_t bad = a->n;
    for (size_t i = a->n * a->shape.m; i-- > 0;) {
        bad = a->codes[i] >= KSUB ? i / a->shape.m : bad;
    }
    const dns_status status = dns_pq_decode(pq, a->n, a->codes, (ptrdiff_t)a->shape.m, a->y,
                                            (ptrdiff_t)a->dim, NULL, &err);
    require(status == (bad < a->n ? DNS_ERR_VALUE : DNS_OK));
    require(status == DNS_OK || err.index == (int64_t)bad);
}

static void
check_encode(input *a, const dns_pq *pq)
{
    dns_error err;
    uint8_t got[MAX_ROWS * MAX_M];
    const size_t bytes = dns_pq_workspace(pq, 1);
    void *ws = dns_mem_new(NULL, bytes, 1);
    require(ws != NULL);
    const size_t bad = bad_row(a);
    const dns_status status = dns_pq_encode(pq, a->n, a->x, (ptrdiff_t)a->dim, got,
                                            (ptrdiff_t)a->shape.m, ws, NULL, &err);
    require(status == (bad < a->n ? DNS_ERR_VALUE : DNS_OK));
    require(status == DNS_OK || err.index == (int64_t)bad);
    for (size_t i = 0; status == DNS_OK && i < a->n; i++) {
        for (size_t s = 0; s < a->shape.m; s++) {
            require(got[i * a->shape.m + s] == nearest(a, s, a->x + i * a->dim));
        }
    }
    dns_mem_free(NULL, ws, bytes, 1);
}

static void
check_training(const input *a, dns_isa isa)
{
    int64_t order[MAX_ROWS];
    float books[MAX_M * KSUB * MAX_DSUB];
    for (size_t i = 0; i < a->n; i++) {
        order[i] = (int64_t)(a->n - 1 - i);
    }
    const dns_pq_training t = {.shape = a->shape,
                               .x = a->x,
                               .ldx = (ptrdiff_t)a->dim,
                               .n = a->n,
                               .order = order,
                               .batch = KSUB + 4,
                               .steps = 3};
    dns_error err;
    const dns_status status = dns_pq_train(&t, isa, NULL, NULL, books, &err);
    require(status == (a->n >= KSUB && bad_row(a) == a->n ? DNS_OK : DNS_ERR_VALUE));
    for (size_t i = 0; status == DNS_OK && i < KSUB * a->dim; i++) {
        require(isfinite(books[i]));
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_in in = {data, size};
    input *a = fuzz_new(1, sizeof *a);
    const int finite = read_input(&in, a);
    FUZZ_FOR_EACH_LEVEL(isa, DNS_ISA_AVX512)
    {
        dns_pq *pq = NULL;
        const dns_status status = dns_pq_create(a->books, a->shape, isa, NULL, &pq, NULL);
        require(status == (finite ? DNS_OK : DNS_ERR_VALUE));
        if (status == DNS_OK) {
            check_decode(a, pq);
            check_encode(a, pq);
        }
        dns_pq_destroy(pq);
        check_training(a, isa);
    }
    free(a);
    return 0;
}
