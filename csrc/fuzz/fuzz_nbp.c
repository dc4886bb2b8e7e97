/* Nested bit planes of any weights, bits and groups: refused with a message, else every precision
 * multiplies within its bound at every level, uniform ones with the same bytes, and codes come
 * back; codes, scales and tables may also be any bytes. */
#include "dns/nbp.h"
#include "dns/quant.h"
#include "fuzzkit.h"

enum { MAX_ROWS = 5, MAX_COLS = 300, N = 2, TABLE = 510 };

typedef struct problem {
    dns_nbp_codes c;
    bool own, codebook; /* own: codes that the library made of w */
    float w[MAX_ROWS * MAX_COLS], x[MAX_COLS * N];
    uint8_t codes[MAX_ROWS * MAX_COLS];
    float scale[MAX_ROWS * MAX_COLS], zero[MAX_ROWS * MAX_COLS], lut[MAX_ROWS * TABLE];
    float first[8][MAX_ROWS * N];
} problem;

static void
read_problem(fuzz_in *in, problem *p)
{
    const size_t rows = (size_t)fuzz_int(in, 0, MAX_ROWS);
    const size_t cols = (size_t)fuzz_int(in, 0, MAX_COLS);
    const int64_t wild = fuzz_int(in, 0, 255);
    int bits = (int)fuzz_int(in, 2, 8);
    size_t group = (size_t)fuzz_int(in, 0, 6) * DNS_NBP_GROUP;
    p->codebook = fuzz_int(in, 0, 1) != 0;
    p->own = fuzz_int(in, 0, 3) != 0;
    if (wild > 200) {
        bits = (int)fuzz_int(in, -1, 10);
        group = fuzz_int(in, 0, 1) != 0 ? (size_t)fuzz_bytes(in, 8) : (size_t)fuzz_int(in, 0, 200);
    }
    if (p->codebook && wild < 190) {
        group = 0;
    }
    for (size_t i = 0; i < rows * cols; i++) {
        p->w[i] = (float)fuzz_real(in, -1.0, 1.0);
        p->codes[i] = p->own ? 0 : fuzz_u8(in);
    }
    if (wild % 16 == 15 && rows * cols > 0) {
        p->w[fuzz_int(in, 0, (int64_t)(rows * cols) - 1)] = fuzz_any_float(in);
    }
    fuzz_ramp(p->x, (size_t)MAX_COLS * N);
    for (size_t i = 0; i < MAX_ROWS * MAX_COLS; i++) {
        p->scale[i] = (float)(i % 5) / 16.0F;
        p->zero[i] = (float)(i % 7) - 3.0F;
    }
    for (size_t i = 0; i < (size_t)MAX_ROWS * TABLE; i++) {
        p->lut[i] = (float)(i * 37 % 61) / 30.0F - 1.0F;
    }
    if (!p->own && wild % 16 == 14) {
        float *const places[3] = {p->scale, p->zero, p->lut};
        const float any = fuzz_any_float(in);
        places[p->codebook ? 2 : fuzz_int(in, 0, 1)][0] = isfinite(any) ? 0.25F : any;
    }
    p->c = (dns_nbp_codes){rows,     cols,     bits,    group,
                           p->codes, p->scale, p->zero, p->codebook ? p->lut : NULL};
}

/* Output at p bits: within the header's bound of the weights that to_dense gives. */
static void
check_product(const problem *p, const float *w, const float *y)
{
    for (size_t i = 0; i < p->c.rows * N; i++) {
        double sum = 0.0;
        double size = 0.0;
        double weights = 0.0;
        double top = 0.0;
        for (size_t k = 0; k < p->c.cols; k++) {
            const double v = (double)w[i / N * p->c.cols + k];
            const double x = (double)p->x[k * N + i % N];
            top = fmax(top, fabs(x) / 127.0);
            sum += v * x;
            size += fabs(v * x);
            weights += fabs(v);
        }
        const double bound =
            p->codebook ? 2.0 * ((double)p->c.cols / 16.0 + 18.0) * 0x1p-24 * size
                        : weights * (top * (0.5 + 0x1p-14) + 8.0 * 0x1p-24 * (1.0 + 127.0 * top)) +
                              8.0 * 0x1p-24 * size;
        require(fabs((double)y[i] - sum) <= bound + 1e-36);
    }
}

static void
solve(problem *p, dns_isa isa)
{
    dns_plan *plan = NULL;
    dns_error err;
    if (!fuzz_taken(dns_nbp_plan_create(&p->c, isa, NULL, &plan, &err), &err)) {
        require(err.code == DNS_ERR_VALUE);
        return;
    }
    float w[MAX_ROWS * MAX_COLS];
    float y[MAX_ROWS * N];
    uint8_t back[MAX_ROWS * MAX_COLS];
    const size_t outputs = p->c.rows * N;
    size_t bytes = 0;
    require(dns_plan_workspace(plan, DNS_COLUMNS, N, 1, &bytes, NULL) == DNS_OK);
    void *ws = dns_mem_new(NULL, bytes, 1);
    require(ws != NULL);
    const dns_call call = {N, p->x, N, y, N, ws, NULL};
    for (int b = 1; b <= p->c.bits; b++) {
        dns_nbp_execute(plan, b, DNS_COLUMNS, &call);
        dns_nbp_to_dense(plan, b, w);
        check_product(p, w, y);
        if (isa == DNS_ISA_GENERIC) {
            memcpy(p->first[b - 1], y, outputs * sizeof *y);
        }
        require(p->codebook || memcmp(p->first[b - 1], y, outputs * sizeof *y) == 0);
    }
    dns_nbp_codes out = p->c;
    out.codes = back;
    require(dns_nbp_unpack(plan, &out, NULL) == DNS_OK);
    for (size_t i = 0; i < p->c.rows * p->c.cols; i++) {
        require(back[i] == (p->codes[i] & ((1U << p->c.bits) - 1U)));
    }
    dns_mem_free(NULL, ws, bytes, 1);
    dns_plan_destroy(plan);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_in in = {data, size};
    problem *p = fuzz_new(1, sizeof *p);
    read_problem(&in, p);
    dns_error err;
    const dns_nbp_codes *c = &p->c;
    if (p->own) {
        int fits = c->bits >= 2 && c->bits <= 8 && c->group % DNS_NBP_GROUP == 0 &&
                   (c->lut == NULL || c->group == 0);
        for (size_t i = 0; fits && i < c->rows * c->cols; i++) {
            fits = isfinite(p->w[i]);
        }
        const dns_status status = dns_nbp_quantize(p->w, (ptrdiff_t)c->cols, c, NULL, &err);
        require(status == DNS_OK || status == DNS_ERR_VALUE);
        require(!fuzz_taken(status, &err) || fits);
        require(!fits || status == DNS_OK || err.index >= 0); /* a range too wide for float32 */
        if (status != DNS_OK) {
            free(p);
            return 0;
        }
    }
    if (c->lut == NULL || c->group == 0) {
        FUZZ_FOR_EACH_LEVEL(isa, DNS_ISA_AMX)
        {
            solve(p, isa);
        }
    }
    free(p);
    return 0;
}
