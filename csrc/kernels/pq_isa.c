/* Nearest centroids, compiled per instruction-set level.
 *
 * With the centroids' mean a, u = x - a and v = c - a, the order of distances is that of the scores
 *
 *     s_j = |v_j|^2 / 2 - u . v_j = (D_j - |u|^2) / 2:
 *
 * one multiply-add per element and centroid. A lane is a row: rows are transposed, TILE at a time,
 * less the mean, and every element of a centroid is broadcast to two vectors of rows, so nothing is
 * added or compared across lanes. Beside the multiply-adds a centroid takes five instructions per
 * vector: lowest score, its index, and the second lowest score.
 *
 * The second is there to know when float32 has decided: each score is off by at most
 * (dsub + 3) u (R^2 + |u|^2 / 2), u = 2^-24, R = max |v| (rounding of u and v, of the products and
 * of the sums, and 2 |u| |v| <= |u|^2 + |v|^2). If the two lowest scores are farther apart than
 * twice that, no other centroid can be nearer; else (one piece in thousands) all distances are
 * computed in double. So codes do not depend on the level. What is not finite fails the comparison
 * and is found there. Centroids that repeat an earlier one have an infinite score: they can never
 * win, and would make every row near them a close race.
 */
#include "kernels/pq_internal.h"
#include "kernels/vec_exp.h"

enum { VECTORS = 2, TILE = VECTORS * VS_LANES };
#if VS_LANES == 16
enum { ACROSS = 8 }; /* centroids at a time, so that sums fit the registers */
#else
enum { ACROSS = 4 };
#endif

/* panel[d][TILE] = x less the mean, n <= TILE rows; lanes from n on hold 0. */
static void
pack(const float *x, ptrdiff_t ldx, size_t n, const float *mean, size_t dim, float *panel)
{
    for (size_t i = 0; i < TILE; i += VS_LANES) {
        for (size_t d = 0; d < dim; d += VS_LANES) {
            const size_t width = dim - d < VS_LANES ? dim - d : VS_LANES;
            const vs less = vs_load_part(mean + d, width);
            vs r[VS_LANES];
            for (size_t l = 0; l < VS_LANES; l++) {
                const float *row = x + (ptrdiff_t)(i + l) * ldx + d;
                r[l] = i + l < n ? vs_sub(vs_load_part(row, width), less) : vs_set(0.0F);
            }
            vs_transpose(r);
            for (size_t l = 0; l < width; l++) {
                vs_store(panel + (d + l) * TILE + i, r[l]);
            }
        }
    }
}

/* Lowest two scores of a vector of rows, and the index of the lowest. */
typedef struct race {
    vs best, second, index;
} race;

/* Scores of ACROSS centroids, which then join the race under their numbers. */
static inline __attribute__((always_inline)) void
scores(const float *minus, const float *half, const float *number, const float *panel, size_t dsub,
       race *r)
{
    vs acc[ACROSS][VECTORS];
#pragma GCC unroll 8
    for (size_t j = 0; j < ACROSS; j++) {
#pragma GCC unroll 2
        for (size_t v = 0; v < VECTORS; v++) {
            acc[j][v] = vs_set(half[j]);
        }
    }
    for (size_t k = 0; k < dsub; k++, minus += PQ_GROUP, panel += TILE) {
        vs x[VECTORS];
#pragma GCC unroll 2
        for (size_t v = 0; v < VECTORS; v++) {
            x[v] = vs_load(panel + v * VS_LANES);
        }
#pragma GCC unroll 8
        for (size_t j = 0; j < ACROSS; j++) {
            const vs c = vs_set(minus[j]);
#pragma GCC unroll 2
            for (size_t v = 0; v < VECTORS; v++) {
                acc[j][v] = vs_fma(c, x[v], acc[j][v]);
            }
        }
    }
#pragma GCC unroll 8
    for (size_t j = 0; j < ACROSS; j++) {
        const vs at = vs_set(number[j]);
#pragma GCC unroll 2
        for (size_t v = 0; v < VECTORS; v++) {
            const vs s = acc[j][v];
            r[v].index = vs_if_gt(r[v].best, s, at, r[v].index);
            r[v].second = vs_min(r[v].second, vs_max(r[v].best, s));
            r[v].best = vs_min(r[v].best, s);
        }
    }
}

/* PQ_GROUP numbers, in the compilers' own vectors. */
typedef float group_f32 __attribute__((vector_size(PQ_GROUP * sizeof(float))));
typedef double group_f64 __attribute__((vector_size(PQ_GROUP * sizeof(double))));

/* The definition: lowest distance in double; ksub if x is not finite, for then no distance is. */
static size_t
nearest(const pq_piece *piece, size_t ksub, size_t dsub, const float *x)
{
    size_t at = ksub;
    double best = INFINITY;
    for (size_t g = 0; g < ksub; g += PQ_GROUP) {
        const float *p = piece->exact + g * dsub;
        group_f64 sum = {0.0};
        for (size_t k = 0; k < dsub; k++, p += PQ_GROUP) {
            group_f32 c;
            memcpy(&c, p, sizeof c);
            const group_f64 d = (double)x[k] - __builtin_convertvector(c, group_f64);
            sum += d * d;
        }
        for (size_t j = 0; j < PQ_GROUP; j++) {
            if (sum[j] < best) {
                best = sum[j];
                at = g + j;
            }
        }
    }
    return at;
}

/* Codes of one piece of a tile of n rows; false where x is not finite, *bad is then the row. */
static bool
encode_piece(const dns_pq *pq, size_t s, const float *x, ptrdiff_t ldx, size_t n,
             const float *panel, uint8_t *codes, ptrdiff_t ldc, size_t *bad)
{
    const pq_piece *piece = pq->piece + s;
    const size_t dsub = pq->shape.dsub;
    race r[VECTORS];
    vs norm[VECTORS];
    for (size_t v = 0; v < VECTORS; v++) {
        r[v] = (race){vs_set(INFINITY), vs_set(INFINITY), vs_set(0.0F)};
        norm[v] = vs_set(0.0F);
        for (size_t k = 0; k < dsub; k++) {
            const vs u = vs_load(panel + k * TILE + v * VS_LANES);
            norm[v] = vs_fma(u, u, norm[v]);
        }
    }
    for (size_t j = 0; j < pq->shape.ksub; j += ACROSS) {
        const float *minus = piece->minus + j / PQ_GROUP * PQ_GROUP * dsub + j % PQ_GROUP;
        scores(minus, piece->half + j, pq->number + j, panel, dsub, r);
    }
    for (size_t v = 0; v * VS_LANES < n; v++) {
        float index[VS_LANES];
        vs_store(index, r[v].index);
        const vs one = vs_set(1.0F);
        const vs apart = vs_fma(vs_set(piece->slope), norm[v], vs_set(piece->floor));
        const vs clear = vs_if_gt(vs_sub(r[v].second, r[v].best), apart, one, vs_set(0.0F));
        const unsigned decided = vs_eq_bits(clear, one);
        const size_t count = n - v * VS_LANES < VS_LANES ? n - v * VS_LANES : VS_LANES;
        for (size_t l = 0; l < count; l++) {
            const size_t i = v * VS_LANES + l;
            size_t at = (size_t)index[l];
            if (!(decided >> l & 1U)) {
                at = nearest(piece, pq->shape.ksub, dsub, x + (ptrdiff_t)i * ldx + s * dsub);
                if (at == pq->shape.ksub) {
                    *bad = i;
                    return false;
                }
            }
            codes[(ptrdiff_t)i * ldc + (ptrdiff_t)s] = (uint8_t)at;
        }
    }
    return true;
}

static size_t
encode(const dns_pq *pq, const float *x, ptrdiff_t ldx, size_t first, size_t stop, uint8_t *codes,
       ptrdiff_t ldc, float *panel)
{
    const dns_pq_shape shape = pq->shape;
    for (size_t i = first; i < stop; i += TILE) {
        const float *rows = x + (ptrdiff_t)i * ldx;
        const size_t n = stop - i < TILE ? stop - i : TILE;
        size_t bad = n;
        pack(rows, ldx, n, pq->mean, shape.m * shape.dsub, panel);
        for (size_t s = 0; s < shape.m; s++) {
            size_t at = n;
            if (!encode_piece(pq, s, rows, ldx, n, panel + s * shape.dsub * TILE,
                              codes + (ptrdiff_t)i * ldc, ldc, &at)) {
                bad = at < bad ? at : bad;
            }
        }
        if (bad < n) {
            return i + bad;
        }
    }
    return stop;
}

/* Rows of centroids; `dsub` is a constant where the compiler is to copy by vectors. */
static inline __attribute__((always_inline)) void
copy(const dns_pq *pq, size_t dsub, size_t n, const uint8_t *codes, ptrdiff_t ldc, float *y,
     ptrdiff_t ldy)
{
    for (size_t i = 0; i < n; i++, codes += ldc, y += ldy) {
        const float *book = pq->codebooks;
        for (size_t s = 0; s < pq->shape.m; s++, book += pq->shape.ksub * dsub) {
            memcpy(y + s * dsub, book + codes[s] * dsub, dsub * sizeof *y);
        }
    }
}

static void
decode(const dns_pq *pq, size_t n, const uint8_t *codes, ptrdiff_t ldc, float *y, ptrdiff_t ldy)
{
    switch (pq->shape.dsub) {
    case 1:
        copy(pq, 1, n, codes, ldc, y, ldy);
        break;
    case 2:
        copy(pq, 2, n, codes, ldc, y, ldy);
        break;
    case 4:
        copy(pq, 4, n, codes, ldc, y, ldy);
        break;
    case 8:
        copy(pq, 8, n, codes, ldc, y, ldy);
        break;
    case 16:
        copy(pq, 16, n, codes, ldc, y, ldy);
        break;
    case 32:
        copy(pq, 32, n, codes, ldc, y, ldy);
        break;
    default:
        copy(pq, pq->shape.dsub, n, codes, ldc, y, ldy);
        break;
    }
}

extern const dns_pq_ops DNS_ISA_FN(dns_pq_ops);
const dns_pq_ops DNS_ISA_FN(dns_pq_ops) = {
    .isa = DNS_ISA_VALUE,
    .encode = encode,
    .decode = decode,
};
