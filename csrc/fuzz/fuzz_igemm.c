/* Integer products from any extents, gaps, scales and zeros: refused with the first bad row, else
 * exact at every level in both layouts, with floats on top that are the same bytes everywhere, and
 * unpacked into what came in. */
#include "dns/igemm.h"
#include "fuzzkit.h"

enum { MAX_ROWS = 80, MAX_COLS = 150, MAX_N = 12, MAX_GAP = 5 };

typedef struct problem {
    dns_igemm_weights view;
    size_t n, gap_x, gap_y;
    int8_t w[MAX_ROWS * (MAX_COLS + MAX_GAP)];
    int8_t x[(MAX_COLS + MAX_GAP) * (MAX_COLS + MAX_GAP)];
    int32_t y[(MAX_ROWS + MAX_GAP) * (MAX_ROWS + MAX_GAP)];
    float floats[MAX_COLS * MAX_N], first[MAX_ROWS * MAX_N];
    float scale[MAX_ROWS];
    int32_t zero[MAX_ROWS];
} problem;

static void
read_problem(fuzz_in *in, problem *p)
{
    const size_t rows = (size_t)fuzz_int(in, 0, MAX_ROWS);
    const size_t cols = (size_t)fuzz_int(in, 0, MAX_COLS);
    const size_t gap = (size_t)fuzz_int(in, 0, MAX_GAP);
    const int64_t wild = fuzz_int(in, 0, 255);
    const size_t any_cols = wild == 214 ? (size_t)fuzz_bytes(in, 8) : cols;
    p->n = (size_t)fuzz_int(in, 0, MAX_N);
    p->gap_x = (size_t)fuzz_int(in, 0, MAX_GAP);
    p->gap_y = (size_t)fuzz_int(in, 0, MAX_GAP);
    for (size_t i = 0; i < rows; i++) {
        p->scale[i] = (float)fuzz_real(in, 0.001, 2.0);
        p->zero[i] = (int32_t)fuzz_int(in, -128, 127);
    }
    if (wild > 230 && rows > 0) {
        p->scale[fuzz_int(in, 0, (int64_t)rows - 1)] = fuzz_any_float(in);
    }
    if (wild > 215 && wild <= 230 && rows > 0) {
        p->zero[fuzz_int(in, 0, (int64_t)rows - 1)] = (int32_t)fuzz_int(in, INT32_MIN, INT32_MAX);
    }
    const int8_t base = (int8_t)fuzz_int(in, -128, 127);
    for (size_t i = 0; i < sizeof p->w; i++) {
        p->w[i] = (int8_t)(fuzz_u8(in) ^ (uint8_t)(i * 37));
    }
    for (size_t i = 0; i < sizeof p->x; i++) {
        p->x[i] = wild % 2 == 0 ? base : (int8_t)(i * 101 % 256 - 128);
    }
    fuzz_ramp(p->floats, sizeof p->floats / sizeof p->floats[0]);
    if (wild == 215) {
        p->floats[cols / 2] = fuzz_any_float(in);
    }
    p->view = (dns_igemm_weights){rows, any_cols, p->w, (ptrdiff_t)(cols + gap), p->scale, p->zero};
}

/* The first bad row, or rows. */
static size_t
bad_row(const problem *p)
{
    for (size_t i = 0; i < p->view.rows; i++) {
        if (!(p->scale[i] > 0.0F && p->scale[i] < INFINITY) || p->zero[i] < -128 ||
            p->zero[i] > 127) {
            return i;
        }
    }
    return p->view.rows;
}

static void
check_integers(problem *p, const dns_plan *plan, dns_layout layout)
{
    const dns_igemm_weights *w = &p->view;
    const bool by_rows = layout == DNS_ROWS;
    const size_t ldx = (by_rows ? w->cols : p->n) + p->gap_x;
    const size_t ldy = (by_rows ? w->rows : p->n) + p->gap_y;
    size_t bytes = 0;
    require(dns_igemm_workspace(plan, p->n, &bytes, NULL) == DNS_OK);
    void *ws = dns_mem_new(NULL, bytes, 1);
    require(ws != NULL);
    memset(p->y, 0x7f, sizeof p->y);
    const dns_igemm_call call = {p->n, p->x, (ptrdiff_t)ldx, p->y, (ptrdiff_t)ldy, ws, NULL};
    dns_igemm_execute(plan, layout, &call);
    for (size_t at = 0; at < w->rows * p->n; at++) {
        const size_t m = at / p->n;
        const size_t j = at % p->n;
        int64_t sum = 0;
        for (size_t k = 0; k < w->cols; k++) {
            sum += (int64_t)(p->w[(ptrdiff_t)m * w->ldw + (ptrdiff_t)k] - p->zero[m]) *
                   p->x[by_rows ? j * ldx + k : k * ldx + j];
        }
        require(p->y[by_rows ? j * ldy + m : m * ldy + j] == sum);
    }
    const size_t last = by_rows ? p->n * ldy : w->rows * ldy;
    require(last >= sizeof p->y / sizeof p->y[0] || p->y[last] == 0x7f7f7f7f);
    dns_mem_free(NULL, ws, bytes, 1);
}

static void
solve(problem *p, dns_isa isa)
{
    dns_plan *plan = NULL;
    dns_error err;
    const dns_status status =
        dns_igemm_plan_create(&p->view, NULL, fuzz_no_act, isa, NULL, &plan, &err);
    const size_t bad = bad_row(p);
    const int fits = p->view.cols <= DNS_IGEMM_MAX_COLS;
    require(fuzz_taken(status, &err) == (fits && bad == p->view.rows));
    if (status != DNS_OK) {
        require(status == DNS_ERR_VALUE && err.index == (fits ? (int64_t)bad : -1));
        return;
    }
    check_integers(p, plan, DNS_ROWS);
    check_integers(p, plan, DNS_COLUMNS);
    const size_t floats = p->view.rows * p->n;
    float *y = fuzz_new(floats, sizeof *y);
    int8_t *back = fuzz_new(p->view.rows * p->view.cols, 1);
    fuzz_product(plan, p->n, p->floats, y);
    if (isa == DNS_ISA_GENERIC) {
        memcpy(p->first, y, floats * sizeof *y);
    }
    for (size_t i = 0; i < floats; i++) {
        require(y[i] == p->first[i] || (isnan(y[i]) && isnan(p->first[i])));
    }
    require(dns_igemm_unpack(plan, back, NULL) == DNS_OK);
    for (size_t m = 0; m < p->view.rows; m++) {
        require(memcmp(back + m * p->view.cols, p->w + (ptrdiff_t)m * p->view.ldw, p->view.cols) ==
                0);
    }
    free(back);
    free(y);
    dns_plan_destroy(plan);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_in in = {data, size};
    problem *p = fuzz_new(1, sizeof *p);
    read_problem(&in, p);
    if (p->view.cols > MAX_COLS && p->view.cols <= DNS_IGEMM_MAX_COLS) {
        p->view.cols += DNS_IGEMM_MAX_COLS; /* beyond the array, so it must be beyond the limit */
    }
    FUZZ_FOR_EACH_LEVEL(isa, DNS_ISA_AMX)
    {
        solve(p, isa);
    }
    free(p);
    return 0;
}
