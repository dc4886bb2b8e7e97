/* Dense products and dense plans, with the own kernels and with a BLAS table (a plain one of ours).
 */
#define KIT_ONE_ROUND /* plans go through the places with their pools */
#include "kernelkit.h"

#include "dns/gemm.h"

static void
plain_sgemm(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a,
            int lda, const float *b, int ldb, float beta, float *c, int ldc)
{
    if (order != DNS_BLAS_ROW_MAJOR || trans_a != DNS_BLAS_PLAIN || alpha != 1.0F || beta != 0.0F) {
        abort();
    }
    for (int i = 0; i < m; i++) {
        for (int j = 0; j < n; j++) {
            float sum = 0.0F;
            for (int p = 0; p < k; p++) {
                sum +=
                    a[i * lda + p] * (trans_b == DNS_BLAS_PLAIN ? b[p * ldb + j] : b[j * ldb + p]);
            }
            c[i * ldc + j] = sum;
        }
    }
}

static void
plain_sgemv(int order, int trans, int m, int n, float alpha, const float *a, int lda,
            const float *x, int incx, float beta, float *y, int incy)
{
    if (order != DNS_BLAS_ROW_MAJOR || trans != DNS_BLAS_PLAIN || alpha != 1.0F || beta != 0.0F) {
        abort();
    }
    for (int i = 0; i < m; i++) {
        float sum = 0.0F;
        for (int p = 0; p < n; p++) {
            sum += a[i * lda + p] * x[p * incx];
        }
        y[i * incy] = sum;
    }
}

static const dns_blas plain = {plain_sgemm, plain_sgemv};

static dns_status
create(const kit_weights *k, dns_isa isa, const dns_alloc *alloc, dns_plan **out, dns_error *err)
{
    return dns_dense_plan_create(k->w, (ptrdiff_t)k->cols, k->rows, k->cols, k->bias, k->act,
                                 k->ctx, isa, alloc, out, err);
}

static void
check_dense(const dns_blas *blas)
{
    static const struct {
        size_t rows, cols, n, step;
    } cases[] = {{37, 53, 161, 1}, {1, 1, 3, 1}, {7, 300, 65, 65},
                 {0, 5, 3, 3},     {5, 0, 3, 3}, {530, 60, 300, 300}};
    uint64_t state = 1;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        kit_weights k = kit_weights_new(cases[c].rows, cases[c].cols, 1.0, &state);
        float *bias = malloc((k.rows + 1) * sizeof *bias);
        REQUIRE(bias != NULL);
        for (size_t i = 0; i < k.rows; i++) {
            bias[i] = kit_float(&state);
        }
        dns_blas table;
        memset(&table, 0, sizeof table);
        if (blas != NULL) {
            table = *blas;
        }
        k.ctx = blas != NULL ? &table : NULL;
        k.bias = bias;
        k.act = (dns_act){-1.0F, 2.0F};
        kit_plan_check(create, &k, cases[c].n, cases[c].step);
        free(bias);
        kit_weights_free(&k);
    }
}

static void
test_own_product(void)
{
    check_dense(NULL);
}

/* Every number of rows and of columns around the vectors, for one vector and two. */
static void
test_every_extent(void)
{
    kit_every_extent(create, 1.0, NULL);
}

static void
test_product_of_a_blas(void)
{
    check_dense(&plain);
}

/* A B^T is A B of the transposed B, to the bit, and reads nothing beyond it. */
static void
test_transposed(void)
{
    enum { M = 7, LD = 71 };
    uint64_t state = 3;
    KIT_FOR_EACH_LEVEL(isa)
    {
        for (size_t n = 1; n <= 70; n++) {
            kit_place_now = (kit_place)(n % KIT_PLACES);
            const size_t k = n % 2 ? n * 5 : 71 - n;
            const kit_guard a = kit_matrix(M, k, k);
            const kit_guard b = kit_matrix(n, k, k);
            const kit_guard t = kit_matrix(k, n, n);
            const kit_guard ws = kit_workspace(dns_gemm_workspace(NULL, isa));
            float plain_c[M * LD] = {0.0F};
            float c[M * LD] = {0.0F};
            for (size_t i = 0; i < M * k; i++) {
                ((float *)a.data)[i] = kit_float(&state);
            }
            for (size_t i = 0; i < n * k; i++) {
                ((float *)b.data)[i] = kit_float(&state);
                ((float *)t.data)[i % k * n + i / k] = ((float *)b.data)[i];
            }
            const ptrdiff_t lda = (ptrdiff_t)k;
            dns_gemm(NULL, isa, M, n, k, a.data, lda, t.data, (ptrdiff_t)n, plain_c, LD, ws.data);
            dns_gemm_t(NULL, isa, M, n, k, a.data, lda, b.data, lda, c, LD, ws.data);
            CHECK(memcmp(c, plain_c, sizeof c) == 0);
            dns_gemm_t(&plain, isa, M, n, k, a.data, lda, b.data, lda, c, LD, NULL);
            for (size_t i = 0; i < M * LD; i++) {
                CHECK(fabs((double)c[i] - (double)plain_c[i]) < 1e-4);
            }
            kit_guard_free(a);
            kit_guard_free(b);
            kit_guard_free(t);
            kit_guard_free(ws);
        }
    }
}

static void
test_products_without_terms_are_zero(void)
{
    float c[6] = {1.0F, 1.0F, 1.0F, 1.0F, 1.0F, 1.0F};
    dns_gemm(NULL, DNS_ISA_GENERIC, 2, 2, 0, NULL, 1, NULL, 1, c, 3, NULL);
    CHECK(c[0] == 0.0F && c[1] == 0.0F && c[2] == 1.0F && c[3] == 0.0F && c[4] == 0.0F &&
          c[5] == 1.0F);
    dns_gemv(NULL, DNS_ISA_GENERIC, 2, 0, NULL, 1, NULL, c + 2, 3);
    CHECK(c[2] == 0.0F && c[5] == 0.0F);
}

static void
test_dense_size_overflow(void)
{
    dns_plan *plan = NULL;
    const float w = 0.0F;
    CHECK_I64(dns_dense_plan_create(&w, 1, SIZE_MAX / 2, 8, NULL, (dns_act){0.0F, 1.0F}, NULL,
                                    DNS_ISA_GENERIC, NULL, &plan, NULL),
              DNS_ERR_OVERFLOW);
    CHECK(plan == NULL);
}

static void
test_oom_dense(void)
{
    uint64_t state = 2;
    kit_weights k = kit_weights_new(20, 30, 1.0, &state);
    kit_life life = {create, &k};
    CHECK_I64(tap_oom_sweep(kit_plan_life, &life), 3);
    kit_weights_free(&k);
}

TAP_MAIN(TAP(test_own_product), TAP(test_every_extent), TAP(test_product_of_a_blas),
         TAP(test_transposed), TAP(test_products_without_terms_are_zero),
         TAP(test_dense_size_overflow), TAP(test_oom_dense))
