/* Dense matrix product, compiled per instruction-set level.
 *
 * B is packed in panels of NT columns and blocks of GEMM_BLOCK rows, which stay in the second cache
 * while all rows of A pass. A tile is MR rows times NV vectors of C in registers: per step of k it
 * takes NV loads and MR broadcasts for MR NV multiply-adds (Goto and van de Geijn, ACM TOMS 2008,
 * with A read in place because its rows are contiguous in k).
 */
#include "kernels/gemm_internal.h"
#include "kernels/vec_f32.h"
#include "kernels/vec_transpose.h"

enum { MR = 6, NV = VS_LANES == 16 ? 4 : 2 };
#define NT (NV * VS_LANES)

static void
pack(const float *b, ptrdiff_t ldb, size_t k, size_t n, float *panel)
{
    for (size_t i = 0; i < k; i++, b += ldb, panel += NT) {
        for (size_t v = 0; v < NV; v++) {
            const size_t at = v * VS_LANES;
            vs_store(panel + at, at < n ? vs_load_part(b + at, n - at) : vs_set(0.0F));
        }
    }
}

static void
pack_rows(const float *b, ptrdiff_t ldb, size_t k, size_t n, float *panel)
{
    for (size_t i = 0; i < k * NT && n < NT; i += VS_LANES) {
        vs_store(panel + i, vs_set(0.0F));
    }
    vs_transpose_rows(b, ldb, n, k, panel, NT, true);
}

static inline __attribute__((always_inline)) void
tile(const float *a, ptrdiff_t lda, size_t mr, size_t k, const float *panel, float *c,
     ptrdiff_t ldc, size_t n, bool first)
{
    vs acc[MR][NV];
    for (size_t i = 0; i < mr; i++) {
        for (size_t v = 0; v < NV; v++) {
            const size_t at = v * VS_LANES;
            acc[i][v] =
                first || at >= n ? vs_set(0.0F) : vs_load_part(c + (ptrdiff_t)i * ldc + at, n - at);
        }
    }
    for (size_t p = 0; p < k; p++, panel += NT) {
        vs b[NV];
        for (size_t v = 0; v < NV; v++) {
            b[v] = vs_load(panel + v * VS_LANES);
        }
        for (size_t i = 0; i < mr; i++) {
            const vs w = vs_set(a[(ptrdiff_t)i * lda + (ptrdiff_t)p]);
            for (size_t v = 0; v < NV; v++) {
                acc[i][v] = vs_fma(w, b[v], acc[i][v]);
            }
        }
    }
    for (size_t i = 0; i < mr; i++) {
        for (size_t v = 0; v < NV && v * VS_LANES < n; v++) {
            vs_store_part(c + (ptrdiff_t)i * ldc + v * VS_LANES, acc[i][v], n - v * VS_LANES);
        }
    }
}

static void
block(const float *a, ptrdiff_t lda, size_t m, size_t k, const float *panel, float *c,
      ptrdiff_t ldc, size_t n, bool first)
{
    size_t i = 0;
    for (; i + MR <= m; i += MR) {
        tile(a + (ptrdiff_t)i * lda, lda, MR, k, panel, c + (ptrdiff_t)i * ldc, ldc, n, first);
    }
    for (; i + 2 <= m; i += 2) {
        tile(a + (ptrdiff_t)i * lda, lda, 2, k, panel, c + (ptrdiff_t)i * ldc, ldc, n, first);
    }
    if (i < m) {
        tile(a + (ptrdiff_t)i * lda, lda, 1, k, panel, c + (ptrdiff_t)i * ldc, ldc, n, first);
    }
}

static inline float
dot(const float *a, const float *x, size_t k)
{
    vs acc[4] = {vs_set(0.0F), vs_set(0.0F), vs_set(0.0F), vs_set(0.0F)};
    size_t j = 0;
    for (; j + 4 * VS_LANES <= k; j += 4 * VS_LANES) {
        for (size_t v = 0; v < 4; v++) {
            acc[v] = vs_fma(vs_load(a + j + v * VS_LANES), vs_load(x + j + v * VS_LANES), acc[v]);
        }
    }
    for (; j < k; j += VS_LANES) {
        acc[0] = vs_fma(vs_load_part(a + j, k - j), vs_load_part(x + j, k - j), acc[0]);
    }
    return vs_sum(vs_add(vs_add(acc[0], acc[1]), vs_add(acc[2], acc[3])));
}

static void
gemv(const float *a, ptrdiff_t lda, size_t m, size_t k, const float *x, float *y, ptrdiff_t incy)
{
    for (size_t i = 0; i < m; i++) {
        y[(ptrdiff_t)i * incy] = dot(a + (ptrdiff_t)i * lda, x, k);
    }
}

static void
bias_act(float *y, size_t n, const float *bias, bool each, dns_act act)
{
    const vs lo = vs_set(act.lo);
    const vs hi = vs_set(act.hi);
    for (size_t j = 0; j < n; j += VS_LANES) {
        const vs b = each ? vs_load_part(bias + j, n - j) : vs_set(bias[0]);
        vs_store_part(y + j, vs_clamp(vs_add(vs_load_part(y + j, n - j), b), lo, hi), n - j);
    }
}

extern const dns_gemm_ops DNS_ISA_FN(dns_gemm_ops);
const dns_gemm_ops DNS_ISA_FN(dns_gemm_ops) = {
    .isa = DNS_ISA_VALUE,
    .panel = NT,
    .pack = pack,
    .pack_rows = pack_rows,
    .block = block,
    .gemv = gemv,
    .bias_act = bias_act,
};
