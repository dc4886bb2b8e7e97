/* LSTM cells from any rank-one terms: refused with a message that names the term, or executed at
 * every level, stopped at any term and continued, with gates that agree with a plain loop, and
 * unpacked into what came in. */
#include "dns/lstm.h"
#include "fuzzkit.h"

enum {
    MAX_HIDDEN = 40,
    MAX_INPUTS = 60,
    MAX_TERMS = 24,
    MAX_COLS = MAX_HIDDEN + MAX_INPUTS,
    N = 2
};

typedef struct cell {
    dns_lstm shape;
    dns_lstm_terms view;
    float s[DNS_GATES * MAX_TERMS];
    float u[DNS_GATES * MAX_TERMS * MAX_HIDDEN];
    float v[DNS_GATES * MAX_TERMS * MAX_COLS];
    int32_t columns[DNS_GATES * MAX_TERMS * MAX_COLS];
} cell;

/* Mostly ascending columns; `wild` numbers break one, or an extent. */
static void
read_cell(fuzz_in *in, cell *m)
{
    const size_t hidden = (size_t)fuzz_int(in, 0, MAX_HIDDEN);
    const size_t cols = hidden + (size_t)fuzz_int(in, 0, MAX_INPUTS);
    const size_t terms = (size_t)fuzz_int(in, 0, MAX_TERMS);
    const int64_t wild = fuzz_int(in, 0, 255);
    const bool whole = fuzz_int(in, 0, 3) == 0;
    const size_t step = whole ? 1 : (size_t)fuzz_int(in, 1, 5);
    const size_t nz = whole ? cols : (cols + step - 1) / step;
    const size_t n = DNS_GATES * terms;
    for (size_t i = 0; i < n; i++) {
        m->s[i] = (float)fuzz_real(in, -1.0, 1.0);
    }
    for (size_t i = 0; i < n * hidden; i++) {
        m->u[i] = (float)fuzz_real(in, -1.0, 1.0);
    }
    for (size_t i = 0; i < n * nz; i++) {
        m->v[i] = (float)fuzz_real(in, -1.0, 1.0);
        m->columns[i] = (int32_t)(i % nz * step);
    }
    if (wild > 230 && n * nz > 0) {
        m->columns[fuzz_int(in, 0, (int64_t)(n * nz) - 1)] = (int32_t)fuzz_bytes(in, 4);
    }
    m->shape = (dns_lstm){cols - hidden, hidden, wild % 2 == 0};
    m->view = (dns_lstm_terms){terms, nz, m->s, m->u, m->v, whole ? NULL : m->columns};
}

static void
check_gates(const cell *m, const float *x, const float *h, const float *z)
{
    const dns_lstm_terms *t = &m->view;
    const size_t hidden = m->shape.hidden;
    for (size_t i = 0; i < N * DNS_GATES * hidden; i++) {
        const size_t j = i / (DNS_GATES * hidden);
        const size_t row = i % (DNS_GATES * hidden);
        double sum = 0.0;
        double size = 0.0;
        for (size_t k = 0; k < t->terms; k++) {
            const size_t at = row / hidden * t->terms + k;
            const double su = (double)t->s[at] * (double)t->u[at * hidden + row % hidden];
            for (size_t e = 0; e < t->nz; e++) {
                const size_t c = t->columns != NULL ? (size_t)t->columns[at * t->nz + e] : e;
                const double in = c < m->shape.inputs ? (double)x[j * m->shape.inputs + c]
                                                      : (double)h[j * hidden + c - m->shape.inputs];
                const double term = su * (double)t->v[at * t->nz + e] * in;
                sum += term;
                size += fabs(term);
            }
        }
        fuzz_near(z[i], sum, size, (double)(t->nz + t->terms + 2));
    }
}

static void
solve(const cell *m, size_t middle, dns_isa isa)
{
    dns_plan *plan = NULL;
    dns_error err;
    const dns_status status =
        dns_lstm_terms_create(&m->shape, &m->view, NULL, isa, NULL, &plan, &err);
    if (!fuzz_taken(status, &err)) {
        require((status == DNS_ERR_FORMAT && m->view.columns != NULL) ||
                (status == DNS_ERR_VALUE && m->shape.hidden == 0));
        return;
    }
    const size_t hidden = m->shape.hidden;
    float x[N * MAX_INPUTS];
    float h[N * MAX_HIDDEN];
    float c[N * MAX_HIDDEN];
    float z[2][N * DNS_GATES * MAX_HIDDEN];
    fuzz_ramp(x, (size_t)N * MAX_INPUTS);
    for (size_t i = 0; i < N * MAX_HIDDEN; i++) {
        h[i] = (float)(i % 13) / 8.0F - 0.5F;
        c[i] = (float)(i % 7) - 3.0F;
    }
    size_t bytes = 0;
    require(dns_lstm_workspace(plan, N, 1, &bytes, NULL) == DNS_OK);
    dns_lstm_call call = {.n = N, .x = x, .h = h, .c = c, .h_out = h, .c_out = c};
    call.ldx = (ptrdiff_t)m->shape.inputs;
    call.ldh = call.ldc = call.ldh_out = call.ldc_out = (ptrdiff_t)hidden;
    call.ws = dns_mem_new(NULL, bytes, 1);
    require(call.ws != NULL);
    const ptrdiff_t ldz = (ptrdiff_t)(DNS_GATES * hidden);
    call.stop = m->view.terms;
    dns_lstm_gates(plan, &call, 0, z[0], ldz);
    check_gates(m, x, h, z[0]);
    call.stop = middle < m->view.terms ? middle : m->view.terms;
    dns_lstm_gates(plan, &call, 0, z[1], ldz);
    const size_t first = call.stop;
    call.stop = m->view.terms;
    dns_lstm_gates(plan, &call, first, z[1], ldz);
    require(memcmp(z[0], z[1], N * DNS_GATES * hidden * sizeof(float)) == 0);
    dns_lstm_step(plan, &call);
    dns_mem_free(NULL, call.ws, bytes, 1);
    cell *back = fuzz_new(1, sizeof *back);
    dns_lstm_unpack(plan, back->s, back->u, back->v, back->columns);
    const size_t n = DNS_GATES * m->view.terms;
    require(memcmp(back->s, m->s, n * sizeof(float)) == 0);
    require(memcmp(back->u, m->u, n * hidden * sizeof(float)) == 0);
    require(memcmp(back->v, m->v, n * m->view.nz * sizeof(float)) == 0);
    require(memcmp(back->columns, m->columns, n * m->view.nz * sizeof(int32_t)) == 0);
    free(back);
    dns_plan_destroy(plan);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_in in = {data, size};
    cell *m = fuzz_new(1, sizeof *m);
    const size_t middle = (size_t)fuzz_int(&in, 1, MAX_TERMS);
    read_cell(&in, m);
    FUZZ_FOR_EACH_LEVEL(isa, DNS_ISA_AVX512)
    {
        solve(m, middle, isa);
    }
    free(m);
    return 0;
}
