/* Rank-one terms with pruned right factors, one after another.
 *
 * The leading triplet of the residual E comes from G = E E^T (or E^T E if that is smaller): a term
 * changes G by two rank-one updates, so it is never formed again, and an iteration costs one
 * product with G instead of two with E. The iteration is the locally optimal conjugate gradient
 * method for eigenvalues (Knyazev, SIAM J. Sci. Comput. 23(2), 2001) with one vector: the best
 * combination of x, its residual, and the last step. It begins at the last term's u, near which a
 * pruned remainder lies, plus a fixed random vector, and ends when the residual is TOLERANCE of the
 * eigenvalue or after STEPS steps. s and v follow from u and E itself: whatever u is, the residual
 * then shrinks by the stated amount.
 */
#include "dns/lowrank.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "kernels/lowrank_internal.h"

DNS_OPS_SELECT(dns_lowrank_ops)

enum { STEPS = 2000, REFRESH = 32, BASIS = 3 };

#define TOLERANCE 1e-9
#define NOTHING 0x1p-26 /* of the first s */

/* The residual and all vectors. The basis is x, residual, last step. */
typedef struct residual {
    const dns_lowrank_ops *ops;
    const dns_alloc *alloc;
    size_t m, n, k; /* k = the lesser */
    double *e;      /* [m][n] */
    double *turned; /* [n][m], at the beginning */
    double *gram;   /* [k][k] */
    double *basis;  /* [BASIS][k] */
    double *images; /* [BASIS][k]: G times basis */
    double *u;      /* [m] */
    double *v;      /* [n] */
    double *y;      /* [m + n], for any use */
    uint64_t random;
} residual;

static void
scale(double *a, size_t n, double by)
{
    for (size_t i = 0; i < n; i++) {
        a[i] *= by;
    }
}

/* a += by * b */
static void
add(double *a, const double *b, size_t n, double by)
{
    for (size_t i = 0; i < n; i++) {
        a[i] += by * b[i];
    }
}

/* Divides by the norm, which is returned; a zero vector stays. */
static double
normalise(const residual *r, double *a, size_t n)
{
    const double norm = sqrt(r->ops->dot(a, a, n));
    if (norm > 0.0) {
        scale(a, n, 1.0 / norm);
    }
    return norm;
}

/* Unit eigenvector of the largest eigenvalue of a symmetric matrix of `size` rows, by Jacobi's
 * rotations. */
static void
small_eigenvector(double a[BASIS][BASIS], size_t size, double best[BASIS])
{
    double q[BASIS][BASIS] = {{1.0, 0.0, 0.0}, {0.0, 1.0, 0.0}, {0.0, 0.0, 1.0}};
    for (int sweep = 0; sweep < 12; sweep++) {
        for (size_t i = 0; i < size; i++) {
            for (size_t j = i + 1; j < size; j++) {
                if (a[i][j] == 0.0) {
                    continue;
                }
                const double half = (a[j][j] - a[i][i]) / (2.0 * a[i][j]);
                const double t = copysign(1.0 / (fabs(half) + sqrt(half * half + 1.0)), half);
                const double c = 1.0 / sqrt(t * t + 1.0);
                const double s = t * c;
                for (size_t k = 0; k < size; k++) {
                    const double left = a[k][i];
                    a[k][i] = c * left - s * a[k][j];
                    a[k][j] = s * left + c * a[k][j];
                }
                for (size_t k = 0; k < size; k++) {
                    const double left = a[i][k];
                    a[i][k] = c * left - s * a[j][k];
                    a[j][k] = s * left + c * a[j][k];
                    const double turned = q[k][i];
                    q[k][i] = c * turned - s * q[k][j];
                    q[k][j] = s * turned + c * q[k][j];
                }
            }
        }
    }
    size_t top = 0;
    for (size_t i = 1; i < size; i++) {
        top = a[i][i] > a[top][top] ? i : top;
    }
    for (size_t i = 0; i < BASIS; i++) {
        best[i] = i < size ? q[i][top] : 0.0;
    }
}

/* Removes from basis vector b its parts along those before it and normalises it, its image with it;
 * false when nothing is left. */
static bool
make_orthogonal(residual *r, size_t b)
{
    double *vector = r->basis + b * r->k;
    double *image = r->images + b * r->k;
    for (int twice = 0; twice < 2; twice++) {
        for (size_t i = 0; i < b; i++) {
            const double part = r->ops->dot(vector, r->basis + i * r->k, r->k);
            add(vector, r->basis + i * r->k, r->k, -part);
            add(image, r->images + i * r->k, r->k, -part);
        }
        const double norm = normalise(r, vector, r->k);
        if (!(norm > 1e-7)) {
            return false;
        }
        scale(image, r->k, 1.0 / norm);
    }
    return true;
}

/* x becomes the best combination of the first `size` basis vectors, and the last one the step. */
static void
improve(residual *r, size_t size)
{
    double a[BASIS][BASIS];
    double best[BASIS];
    const size_t k = r->k;
    for (size_t i = 0; i < size; i++) {
        for (size_t j = 0; j <= i; j++) {
            a[i][j] = r->ops->dot(r->basis + i * k, r->images + j * k, k);
            a[j][i] = a[i][j];
        }
    }
    small_eigenvector(a, size, best);
    double *const all[2] = {r->basis, r->images};
    for (size_t which = 0; which < 2; which++) {
        double *x = all[which];
        double *step = x + 2 * k;
        scale(step, k, size == BASIS ? best[2] : 0.0);
        add(step, x + k, k, best[1]);
        scale(x, k, best[0]);
        add(x, step, k, 1.0);
    }
}

/* Turns x, the first basis vector, into the eigenvector of G with the largest eigenvalue. */
static void
lead(residual *r)
{
    const size_t k = r->k;
    double *x = r->basis;
    double *gx = r->images;
    bool stepped = false;
    (void)normalise(r, x, k);
    for (int step = 0; step < STEPS; step++) {
        if (step % REFRESH == 0) {
            r->ops->combine(r->gram, k, k, x, gx);
        }
        const double norm = normalise(r, x, k);
        if (!(norm > 0.0)) {
            return;
        }
        scale(gx, k, 1.0 / norm);
        const double value = r->ops->dot(x, gx, k);
        memcpy(x + k, gx, k * sizeof *x);
        add(x + k, x, k, -value);
        const double off = normalise(r, x + k, k);
        if (!(off > TOLERANCE * value)) {
            return;
        }
        r->ops->combine(r->gram, k, k, x + k, gx + k);
        if (!make_orthogonal(r, 1)) {
            return;
        }
        improve(r, stepped && make_orthogonal(r, 2) ? BASIS : 2);
        const double length = normalise(r, x + 2 * k, k);
        stepped = length > 0.0;
        scale(gx + 2 * k, k, stepped ? 1.0 / length : 1.0);
    }
}

/* Where the iteration for a term begins. */
static void
begin(residual *r)
{
    for (size_t i = 0; i < r->k; i++) {
        uint64_t z = (r->random += 0x9e3779b97f4a7c15U); /* splitmix64 */
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
        z = (z ^ z >> 27) * 0x94d049bb133111ebU;
        r->y[i] = (double)((z ^ z >> 31) >> 11) * 0x1p-52 - 1.0;
    }
    (void)normalise(r, r->y, r->k);
    add(r->basis, r->y, r->k, 1.0);
}

/* The leading triplet of E: u and v, the largest element of u positive; returns s. */
static double
triplet(residual *r)
{
    begin(r);
    lead(r);
    if (r->k == r->m) {
        memcpy(r->u, r->basis, r->m * sizeof *r->u);
    }
    else {
        for (size_t i = 0; i < r->m; i++) {
            r->u[i] = r->ops->dot(r->e + i * r->n, r->basis, r->n);
        }
    }
    (void)normalise(r, r->u, r->m);
    size_t top = 0;
    for (size_t i = 1; i < r->m; i++) {
        top = fabs(r->u[i]) > fabs(r->u[top]) ? i : top;
    }
    if (r->u[top] < 0.0) {
        scale(r->u, r->m, -1.0);
    }
    r->ops->combine(r->e, r->m, r->n, r->u, r->v);
    return normalise(r, r->v, r->n);
}

/* The nz-th largest of n values, 1 <= nz <= n, by Hoare's FIND; the values are reordered. */
static double
nth_largest(double *a, size_t n, size_t nz)
{
    size_t low = 0;
    size_t high = n - 1;
    const size_t want = nz - 1;
    while (low < high) {
        const double pivot = a[low + (high - low) / 2];
        ptrdiff_t i = (ptrdiff_t)low;
        ptrdiff_t j = (ptrdiff_t)high;
        while (i <= j) {
            while (a[i] > pivot) {
                i++;
            }
            while (a[j] < pivot) {
                j--;
            }
            if (i <= j) {
                const double kept = a[i];
                a[i++] = a[j];
                a[j--] = kept;
            }
        }
        if ((ptrdiff_t)want <= j) {
            high = (size_t)j;
        }
        else if ((ptrdiff_t)want >= i) {
            low = (size_t)i;
        }
        else {
            break;
        }
    }
    return a[want];
}

/* Columns of the nz elements of v with the largest magnitude, ascending. */
static void
choose(const residual *r, size_t nz, int32_t *columns)
{
    for (size_t j = 0; j < r->n; j++) {
        r->y[j] = fabs(r->v[j]);
    }
    const double limit = nth_largest(r->y, r->n, nz);
    size_t equal = nz;
    for (size_t j = 0; j < r->n; j++) {
        equal -= fabs(r->v[j]) > limit;
    }
    size_t at = 0;
    for (size_t j = 0; j < r->n && at < nz; j++) {
        const double size = fabs(r->v[j]);
        if (size > limit || (size == limit && equal > 0)) {
            equal -= size == limit;
            columns[at++] = (int32_t)j;
        }
    }
}

/* E -= d a^T with d = s u and a the pruned v, as stored; and G with it. */
static void
deflate(residual *r, double s, const float *u, const float *v, const int32_t *columns, size_t nz)
{
    const size_t m = r->m;
    const size_t n = r->n;
    const bool wide = r->k == m;
    double *d = r->u;
    double *a = r->v;
    double *q = r->y;
    memset(a, 0, n * sizeof *a);
    for (size_t i = 0; i < nz; i++) {
        a[columns[i]] = (double)v[i];
    }
    for (size_t i = 0; i < m; i++) {
        d[i] = s * (double)u[i];
        if (wide) {
            q[i] = r->ops->dot(r->e + i * n, a, n);
        }
    }
    if (!wide) {
        r->ops->combine(r->e, m, n, d, q);
    }
    /* G - q y^T - y q^T + c y y^T, with half of c in q */
    const double c = wide ? r->ops->dot(a, a, n) : r->ops->dot(d, d, m);
    const double *y = wide ? d : a;
    add(q, y, r->k, -0.5 * c);
    r->ops->rank2(r->gram, r->k, q, y);
    for (size_t i = 0; i < m; i++) {
        double *row = r->e + i * n;
        for (size_t j = 0; j < nz; j++) {
            row[columns[j]] -= d[i] * (double)v[j];
        }
    }
}

static void
residual_free(residual *r)
{
    dns_mem_free(r->alloc, r->e, r->m * r->n, sizeof *r->e);
    dns_mem_free(r->alloc, r->turned, r->m * r->n, sizeof *r->turned);
    dns_mem_free(r->alloc, r->gram, r->k * r->k, sizeof *r->gram);
    dns_mem_free(r->alloc, r->basis, BASIS * r->k, sizeof *r->basis);
    dns_mem_free(r->alloc, r->images, BASIS * r->k, sizeof *r->images);
    dns_mem_free(r->alloc, r->u, r->m, sizeof *r->u);
    dns_mem_free(r->alloc, r->v, r->n, sizeof *r->v);
    dns_mem_free(r->alloc, r->y, r->m + r->n, sizeof *r->y);
}

/* Allocates for a checked matrix; false when memory is short. */
static bool
residual_new(residual *r, const float *w, ptrdiff_t ldw)
{
    const size_t m = r->m;
    const size_t n = r->n;
    r->e = dns_mem_new(r->alloc, m * n, sizeof *r->e);
    r->turned = dns_mem_new(r->alloc, m * n, sizeof *r->turned);
    r->gram = dns_mem_new(r->alloc, r->k * r->k, sizeof *r->gram);
    r->basis = dns_mem_zero(r->alloc, BASIS * r->k, sizeof *r->basis);
    r->images = dns_mem_zero(r->alloc, BASIS * r->k, sizeof *r->images);
    r->u = dns_mem_new(r->alloc, m, sizeof *r->u);
    r->v = dns_mem_new(r->alloc, n, sizeof *r->v);
    r->y = dns_mem_new(r->alloc, m + n, sizeof *r->y);
    if (r->e == NULL || r->turned == NULL || r->gram == NULL || r->basis == NULL ||
        r->images == NULL || r->u == NULL || r->v == NULL || r->y == NULL) {
        return false;
    }
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            r->e[i * n + j] = (double)w[(ptrdiff_t)i * ldw + (ptrdiff_t)j];
            r->turned[j * m + i] = r->e[i * n + j];
        }
    }
    const bool wide = r->k == m;
    for (size_t i = 0; i < r->k; i++) {
        const double *row = wide ? r->e + i * n : r->turned + i * m;
        r->ops->combine(wide ? r->turned : r->e, wide ? n : m, r->k, row, r->gram + i * r->k);
    }
    return true;
}

/* The terms of a residual that is set up. */
static void
make_terms(residual *r, size_t terms, size_t nz, float *s, float *u, float *v, int32_t *columns)
{
    const size_t m = r->m;
    double first = 0.0;
    size_t t = 0;
    for (; t < terms; t++) {
        const double value = triplet(r);
        first = t == 0 ? value : first;
        if (!(value > NOTHING * first)) {
            break;
        }
        s[t] = (float)value;
        for (size_t i = 0; i < m; i++) {
            u[t * m + i] = (float)r->u[i];
        }
        choose(r, nz, columns + t * nz);
        for (size_t i = 0; i < nz; i++) {
            v[t * nz + i] = (float)r->v[columns[t * nz + i]];
        }
        deflate(r, (double)s[t], u + t * m, v + t * nz, columns + t * nz, nz);
    }
    for (; t < terms; t++) {
        s[t] = 0.0F;
        memset(u + t * m, 0, m * sizeof *u);
        memset(v + t * nz, 0, nz * sizeof *v);
        for (size_t i = 0; i < nz; i++) {
            columns[t * nz + i] = (int32_t)i;
        }
    }
}

static dns_status
check_weights(const float *w, ptrdiff_t ldw, size_t m, size_t n, dns_error *err)
{
    double sum = 0.0;
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            const double x = (double)w[(ptrdiff_t)i * ldw + (ptrdiff_t)j];
            DNS_REQUIRE(isfinite(x), err, DNS_ERR_VALUE, i,
                        "W: row %zu: expected finite weights, got %g in column %zu", i, x, j);
            sum += x * x;
        }
    }
    DNS_REQUIRE(sqrt(sum) <= (double)FLT_MAX, err, DNS_ERR_VALUE, -1,
                "W: expected a norm below %g, got %g", (double)FLT_MAX, sqrt(sum));
    return DNS_OK;
}

dns_status
dns_lowrank_terms(const float *w, ptrdiff_t ldw, size_t m, size_t n, size_t terms, size_t nz,
                  dns_isa isa, const dns_alloc *alloc, float *s, float *u, float *v,
                  int32_t *columns, dns_error *err)
{
    DNS_REQUIRE(m >= 1 && n >= 1 && m <= INT32_MAX && n <= INT32_MAX, err, DNS_ERR_VALUE, -1,
                "W: expected extents of at least 1 and below 2^31, got %zu x %zu", m, n);
    DNS_REQUIRE(nz >= 1 && nz <= n, err, DNS_ERR_VALUE, -1,
                "nz: expected 1 to %zu elements of each term, got %zu", n, nz);
    DNS_TRY(check_weights(w, ldw, m, n, err));
    residual r = {.ops = dns_lowrank_ops_select(isa),
                  .alloc = alloc,
                  .m = m,
                  .n = n,
                  .k = m <= n ? m : n,
                  .random = 1};
    const bool allocated = residual_new(&r, w, ldw);
    if (allocated) {
        make_terms(&r, terms, nz, s, u, v, columns);
    }
    residual_free(&r);
    if (!allocated) {
        return dns_fail(err, DNS_ERR_MEMORY, -1, "terms: out of memory for %zu x %zu weights", m,
                        n);
    }
    return DNS_OK;
}
