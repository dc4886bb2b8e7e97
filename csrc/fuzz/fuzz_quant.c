/* Quantisers of any floats, groups, gaps and bits: refused with the first bad row, else codes
 * within their range that are near what they stand for, the same bytes at every level. */
#include "dns/quant.h"
#include "fuzzkit.h"

enum { MAX_ROWS = 4, MAX_COLS = 90, MAX_GAP = 3, MAX_X = MAX_ROWS * (MAX_COLS + MAX_GAP) };

typedef struct problem {
    dns_quant_in in;
    float x[MAX_X];
} problem;

typedef struct codes {
    uint8_t q[MAX_ROWS * MAX_COLS];
    float scale[MAX_ROWS * MAX_COLS];
    int32_t zero[MAX_ROWS * MAX_COLS];
} codes;

static void
read_problem(fuzz_in *in, problem *p)
{
    dns_quant_in *c = &p->in;
    c->rows = (size_t)fuzz_int(in, 0, MAX_ROWS);
    c->cols = (size_t)fuzz_int(in, 0, MAX_COLS);
    c->ldx = (ptrdiff_t)c->cols + (ptrdiff_t)fuzz_int(in, 0, MAX_GAP);
    c->bits = (int)fuzz_int(in, 0, 10);
    c->group =
        fuzz_int(in, 0, 7) == 0 ? (size_t)fuzz_bytes(in, 8) : (size_t)fuzz_int(in, 0, MAX_COLS + 1);
    c->symmetric = fuzz_int(in, 0, 1) == 0;
    const int any = fuzz_int(in, 0, 3) == 0;
    const int exponent = (int)fuzz_int(in, -130, 100);
    for (size_t i = 0; i < MAX_X; i++) {
        p->x[i] = any ? fuzz_any_float(in) : (float)ldexp(fuzz_real(in, -1.0, 1.0), exponent);
    }
    c->x = p->x;
}

/* The first row with a number that is not finite, or rows. */
static size_t
bad_row(const problem *p)
{
    for (size_t i = 0; i < p->in.rows * p->in.cols; i++) {
        if (!isfinite(
                p->x[(ptrdiff_t)(i / p->in.cols) * p->in.ldx + (ptrdiff_t)(i % p->in.cols)])) {
            return i / p->in.cols;
        }
    }
    return p->in.rows;
}

static void
check_codes(const problem *p, const codes *c)
{
    const dns_quant_in *in = &p->in;
    const size_t groups = in->cols == 0 ? 0 : (in->cols - 1) / in->group + 1;
    const int top = in->symmetric ? (1 << (in->bits - 1)) - 1 : (1 << in->bits) - 1;
    for (size_t i = 0; i < in->rows * in->cols; i++) {
        const size_t at = i / in->cols * groups + i % in->cols / in->group;
        const double x =
            (double)p->x[(ptrdiff_t)(i / in->cols) * in->ldx + (ptrdiff_t)(i % in->cols)];
        const int q = in->symmetric ? (int8_t)c->q[i] : c->q[i];
        const double scale = (double)c->scale[at];
        require(q >= (in->symmetric ? -top : 0) && q <= top);
        require(scale >= 0x1p-126 && (!in->symmetric || c->zero[at] == 0));
        require(fabs(x - scale * (q - c->zero[at])) <=
                scale * (in->symmetric ? 0.5 + 0x1p-14 : 1.0));
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_in in = {data, size};
    problem *p = fuzz_new(1, sizeof *p);
    codes *first = fuzz_new(1, sizeof *first);
    read_problem(&in, p);
    const int fits =
        p->in.bits >= DNS_QUANT_MIN_BITS && p->in.bits <= DNS_QUANT_MAX_BITS && p->in.group >= 1;
    FUZZ_FOR_EACH_LEVEL(isa, DNS_ISA_AMX)
    {
        codes *c = fuzz_new(1, sizeof *c);
        dns_error err;
        const dns_status status = dns_quantize(&p->in, isa, c->q, c->scale, c->zero, &err);
        require(fuzz_taken(status, &err) == (fits && bad_row(p) == p->in.rows));
        if (status == DNS_OK) {
            check_codes(p, c);
            if (isa == DNS_ISA_GENERIC) {
                memcpy(first, c, sizeof *c);
            }
            require(memcmp(first, c, sizeof *c) == 0);
        }
        else {
            require(status == DNS_ERR_VALUE && err.index == (fits ? (int64_t)bad_row(p) : -1));
        }
        free(c);
    }
    free(first);
    free(p);
    return 0;
}
