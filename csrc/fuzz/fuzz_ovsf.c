/* Filters from any codes, crops and lengths: refused with the first bad code, else sums of codes at
 * every level, the same bytes. */
#include "dns/fwht.h"
#include "fuzzkit.h"

enum { MAX_LOG2 = 6, MAX_CODES = 40, MAX_FILTERS = 20, MAX_KEPT = 64 };

typedef struct problem {
    unsigned log2n;
    size_t filters, n_codes;
    dns_ovsf_crop crop;
    int64_t index[MAX_CODES];
    float alpha[MAX_FILTERS * MAX_CODES];
} problem;

static void
read_problem(fuzz_in *in, problem *p)
{
    p->log2n = (unsigned)fuzz_int(in, 0, MAX_LOG2);
    const int64_t n = (int64_t)1 << p->log2n;
    p->filters = (size_t)fuzz_int(in, 0, MAX_FILTERS);
    p->n_codes = (size_t)fuzz_int(in, 0, n < MAX_CODES ? n : MAX_CODES);
    const int64_t wild = fuzz_int(in, 0, 255);
    const int64_t first = fuzz_int(in, 0, n - 1);
    const int64_t step = 2 * fuzz_int(in, 0, 15) + 1; /* odd: all codes differ */
    p->crop.pitch = (size_t)fuzz_int(in, 1, n);
    p->crop.rows = (size_t)fuzz_int(in, 0, n / (int64_t)p->crop.pitch);
    p->crop.cols = (size_t)fuzz_int(in, 0, (int64_t)p->crop.pitch);
    for (size_t j = 0; j < p->n_codes; j++) {
        p->index[j] = (first + (int64_t)j * step) % n;
    }
    if (wild > 230 && p->n_codes > 0) {
        p->index[fuzz_int(in, 0, (int64_t)p->n_codes - 1)] =
            wild > 243 ? (int64_t)fuzz_bytes(in, 8) : fuzz_int(in, 0, n - 1);
    }
    if (wild > 210 && wild <= 230) {
        size_t *const places[3] = {&p->crop.pitch, &p->crop.rows, &p->crop.cols};
        *places[wild % 3] = (size_t)fuzz_bytes(in, 8);
    }
    if (wild == 210) {
        p->log2n = (unsigned)fuzz_bytes(in, 4) | 31U;
    }
    for (size_t i = 0; i < p->filters * p->n_codes; i++) {
        p->alpha[i] = (float)fuzz_real(in, -1.0, 1.0);
    }
}

/* Place of the first code that is out of range or occurs twice, or n_codes. */
static size_t
bad_code(const problem *p)
{
    for (size_t j = 0; j < p->n_codes; j++) {
        int again = 0;
        for (size_t i = 0; i < j; i++) {
            again |= p->index[i] == p->index[j];
        }
        if (again || p->index[j] < 0 || p->index[j] >= (int64_t)1 << p->log2n) {
            return j;
        }
    }
    return p->n_codes;
}

/* Element i of code k, by the tree's definition. */
static double
code(int64_t k, unsigned log2n, size_t i)
{
    double sign = 1.0;
    for (; log2n > 0; log2n--, k /= 2) {
        const size_t half = (size_t)1 << (log2n - 1);
        sign = i >= half && k % 2 != 0 ? -sign : sign;
        i %= half;
    }
    return sign;
}

static void
check(const problem *p, const float *w)
{
    const size_t kept = p->crop.rows * p->crop.cols;
    for (size_t i = 0; i < p->filters * kept; i++) {
        const float *a = p->alpha + i / kept * p->n_codes;
        const size_t at = i % kept / p->crop.cols * p->crop.pitch + i % p->crop.cols;
        double sum = 0.0;
        double size = 0.0;
        for (size_t j = 0; j < p->n_codes; j++) {
            sum += (double)a[j] * code(p->index[j], p->log2n, at);
            size += fabs((double)a[j]);
        }
        fuzz_near(w[i], sum, size, (double)p->log2n);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_in in = {data, size};
    problem *p = fuzz_new(1, sizeof *p);
    read_problem(&in, p);
    const int fits = p->log2n <= MAX_LOG2 && p->crop.cols <= p->crop.pitch &&
                     p->crop.rows * p->crop.pitch <= (size_t)1 << p->log2n;
    float *first = fuzz_new((size_t)MAX_FILTERS * MAX_KEPT, sizeof *first);
    float *w = fuzz_new((size_t)MAX_FILTERS * MAX_KEPT, sizeof *w);
    void *ws = dns_mem_new(NULL, dns_ovsf_workspace(MAX_LOG2), 1);
    require(ws != NULL);
    FUZZ_FOR_EACH_LEVEL(isa, DNS_ISA_AVX512)
    {
        dns_error err;
        const dns_status status = dns_ovsf(isa, p->alpha, p->filters, p->index, p->n_codes,
                                           p->log2n, p->crop, w, ws, &err);
        if (fuzz_taken(status, &err)) {
            require(fits && bad_code(p) == p->n_codes);
            check(p, w);
            const size_t bytes = p->filters * p->crop.rows * p->crop.cols * sizeof *w;
            if (isa == DNS_ISA_GENERIC) {
                memcpy(first, w, bytes);
            }
            require(memcmp(first, w, bytes) == 0);
        }
        else {
            require(status == DNS_ERR_VALUE && err.index < (int64_t)p->n_codes);
        }
    }
    dns_mem_free(NULL, ws, dns_ovsf_workspace(MAX_LOG2), 1);
    free(w);
    free(first);
    free(p);
    return 0;
}
