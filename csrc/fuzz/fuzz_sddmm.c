/* Patterns from any arrays: refused with a message, or sampled at every level with values that
 * agree with a plain loop, attended with probabilities that add up to 1, and unpacked into what
 * came in. */
#include "dns/attention.h"
#include "fuzzkit.h"

enum { MAX_ROWS = 300, MAX_COLS = 700, MAX_NNZ = 4096, MAX_DEPTH = 40 };

typedef struct structure {
    size_t heads, rows, cols, nnz, depth;
    int64_t indptr[MAX_ROWS + 1];
    int64_t indices[MAX_NNZ];
} structure;

/* Mostly well-formed rows, so that patterns get made; `wild` numbers break some. */
static void
read_structure(fuzz_in *in, structure *s)
{
    s->heads = (size_t)fuzz_int(in, 1, 3);
    s->rows = (size_t)fuzz_int(in, 0, MAX_ROWS / 3);
    s->cols = (size_t)fuzz_int(in, 0, MAX_COLS);
    s->depth = (size_t)fuzz_int(in, 0, MAX_DEPTH);
    const int64_t wild = fuzz_int(in, 0, 255);
    const size_t all = s->heads * s->rows;
    const fuzz_sparse rows = {all, s->cols, MAX_NNZ, 40, 63, s->indptr, s->indices, NULL};
    s->nnz = fuzz_rows(in, &rows);
    fuzz_break(in, wild, &rows, s->nnz);
}

static void
check_values(const structure *s, const dns_sddmm *c)
{
    for (size_t i = 0; i < s->heads * s->rows; i++) {
        for (int64_t e = s->indptr[i]; e < s->indptr[i + 1]; e++) {
            const size_t j = i / s->rows * s->cols + (size_t)s->indices[e];
            double sum = 0.0;
            double size = 0.0;
            for (size_t t = 0; t < s->depth; t++) {
                const double p = (double)c->q[i * s->depth + t] * (double)c->k[j * s->depth + t];
                sum += p;
                size += fabs(p);
            }
            fuzz_near(c->values[e], sum, size, (double)s->depth);
        }
    }
}

/* Attention to values of 1 gives 1, or 0 to a query that sees nothing. */
static void
attend(const structure *s, const dns_pattern *pattern, const dns_sddmm *c, dns_isa isa)
{
    enum { WIDTH = 3 };
    const size_t n = s->heads * s->rows * WIDTH;
    float *v = fuzz_new(s->heads * s->cols * WIDTH, sizeof *v);
    float *y = fuzz_new(n, sizeof *y);
    for (size_t i = 0; i < s->heads * s->cols * WIDTH; i++) {
        v[i] = 1.0F;
    }
    const dns_attention a = {.batch = s->heads,
                             .queries = s->rows,
                             .keys = s->cols,
                             .depth = s->depth,
                             .width = WIDTH,
                             .q = c->q,
                             .k = c->k,
                             .v = v,
                             .y = y,
                             .scale = 1.0F,
                             .pattern = pattern};
    size_t bytes = 0;
    require(dns_attention_workspace(&a, isa, 1, &bytes, NULL) == DNS_OK);
    void *ws = dns_mem_new(NULL, bytes, 1);
    require(ws != NULL);
    size_t empty = dns_attention_execute(&a, isa, NULL, ws);
    for (size_t i = 0; i < n; i++) {
        const bool any = s->indptr[i / WIDTH] < s->indptr[i / WIDTH + 1];
        require(fabs((double)y[i] - (any ? 1.0 : 0.0)) <= 1e-4);
        empty -= !any && i % WIDTH == 0;
    }
    require(empty == 0);
    dns_mem_free(NULL, ws, bytes, 1);
    free(y);
    free(v);
}

static void
sample(const structure *s, const dns_pattern *pattern)
{
    const size_t n_q = s->heads * s->rows * s->depth;
    const size_t n_k = s->heads * s->cols * s->depth;
    float *q = fuzz_new(n_q, sizeof *q);
    float *k = fuzz_new(n_k, sizeof *k);
    float *values = fuzz_new(s->nnz, sizeof *values);
    fuzz_ramp(q, n_q);
    for (size_t i = 0; i < n_k; i++) {
        k[i] = (float)(i % 23) / 8.0F - 1.5F;
    }
    const ptrdiff_t depth = (ptrdiff_t)s->depth;
    const dns_sddmm c = {.batch = s->heads,
                         .depth = s->depth,
                         .q = q,
                         .ldq = depth,
                         .q_step = (ptrdiff_t)s->rows * depth,
                         .k = k,
                         .ldk = depth,
                         .k_step = (ptrdiff_t)s->cols * depth,
                         .scale = 1.0F,
                         .values = values};
    FUZZ_FOR_EACH_LEVEL(isa, DNS_ISA_AVX512)
    {
        size_t bytes = 0;
        require(dns_sddmm_workspace(pattern, &c, isa, 1, &bytes, NULL) == DNS_OK);
        void *ws = dns_mem_new(NULL, bytes, 1);
        require(ws != NULL);
        dns_sddmm_execute(pattern, &c, isa, NULL, ws);
        check_values(s, &c);
        attend(s, pattern, &c, isa);
        dns_mem_free(NULL, ws, bytes, 1);
    }
    free(values);
    free(k);
    free(q);
}

static void
give_back(const structure *s, const dns_pattern *pattern)
{
    structure *back = fuzz_new(1, sizeof *back);
    dns_pattern_unpack(pattern, back->indptr, back->indices);
    require(memcmp(back->indptr, s->indptr, sizeof s->indptr) == 0);
    require(memcmp(back->indices, s->indices, sizeof s->indices) == 0);
    free(back);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_in in = {data, size};
    structure *s = fuzz_new(1, sizeof *s);
    read_structure(&in, s);
    dns_pattern *pattern = NULL;
    dns_error err;
    const dns_status status = dns_pattern_create(s->heads, s->rows, s->cols, s->indptr, s->indices,
                                                 s->nnz, NULL, &pattern, &err);
    require(status == DNS_OK || status == DNS_ERR_FORMAT);
    if (fuzz_taken(status, &err)) {
        sample(s, pattern);
        give_back(s, pattern);
        dns_pattern_destroy(pattern);
    }
    free(s);
    return 0;
}
