/* The integer product by tile registers: C[16 x 16 words] += A[16 x 64 bytes] B[64 x 16 bytes],
 * signed bytes both, 16 cycles for 32768 operations.
 *
 * A tile of X is 16 packed rows, 64 bytes of each; a tile of W is 16 lines of a panel [K /
 * 4][32][4]. Two of each make four sums of 16 x 16, so that four tile loads (eight cycles each)
 * hide behind four products. The panel, 32 K bytes, stays in the first cache or near it while X
 * passes by.
 *
 * The configuration is loaded by inline assembly: gcc 12 may drop the stores that fill it before
 * _tile_loadconfig.
 */
#include "kernels/igemm_body.h"

enum { TILE = 16, P = 2 * TILE, STEP = 64 /* k of a tile */ };

typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

static void
configure(void)
{
    tile_config c = {.palette = 1};
    for (size_t t = 0; t < 8; t++) {
        c.row_bytes[t] = STEP;
        c.rows[t] = TILE;
    }
    __asm__ volatile("ldtilecfg %0" ::"m"(c));
}

static void
pack_w_amx(const int8_t *w, ptrdiff_t ldw, size_t m, size_t k, size_t k_pad, int8_t *to)
{
    pack_panel(w, ldw, m, k, k_pad, P, to);
}

/* Bytes stay signed. */
static void
convert_amx(const igemm_x *x, size_t n, size_t k)
{
    uint8_t *u = x->rows + n * x->pitch;
    x->sum[n] = sum_bytes((const int8_t *)u, k);
    x->off[n] = 0;
    x->wide[n] = 0;
    memset(u + k, 0, x->k_pad - k);
}

/* Sums of 32 vectors from n0 on, to[i * ld + m]. */
static void
tiles(const igemm_run *r, size_t n0, int32_t *to, ptrdiff_t ld)
{
    const uint8_t *x = r->x.rows + n0 * r->x.pitch;
    const uint8_t *x2 = x + TILE * r->x.pitch;
    const int8_t *w = r->w;
    const size_t pitch = r->x.pitch;
    const size_t bytes = (size_t)ld * sizeof *to;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (size_t k = 0; k < r->x.k_pad; k += STEP, w += (ptrdiff_t)STEP * P) {
        _tile_loadd(4, x + k, pitch);
        _tile_loadd(6, w, (size_t)4 * P);
        _tile_loadd(7, w + (size_t)4 * TILE, (size_t)4 * P);
        _tile_dpbssd(0, 4, 6);
        _tile_loadd(5, x2 + k, pitch);
        _tile_dpbssd(1, 4, 7);
        _tile_dpbssd(2, 5, 6);
        _tile_dpbssd(3, 5, 7);
    }
    _tile_stored(0, to, bytes);
    _tile_stored(1, to + TILE, bytes);
    _tile_stored(2, to + TILE * ld, bytes);
    _tile_stored(3, to + TILE * ld + TILE, bytes);
}

/* The same for at most 16 vectors. */
static void
tiles_half(const igemm_run *r, size_t n0, int32_t *to)
{
    const uint8_t *x = r->x.rows + n0 * r->x.pitch;
    const int8_t *w = r->w;
    _tile_zero(0);
    _tile_zero(1);
    for (size_t k = 0; k < r->x.k_pad; k += STEP, w += (ptrdiff_t)STEP * P) {
        _tile_loadd(4, x + k, r->x.pitch);
        _tile_loadd(6, w, (size_t)4 * P);
        _tile_loadd(7, w + (size_t)4 * TILE, (size_t)4 * P);
        _tile_dpbssd(0, 4, 6);
        _tile_dpbssd(1, 4, 7);
    }
    _tile_stored(0, to, P * sizeof *to);
    _tile_stored(1, to + TILE, P * sizeof *to);
}

static void
run_amx(const igemm_run *r)
{
    int32_t sums[P * P];
    const bool direct = r->plain && r->y != NULL && r->layout == DNS_ROWS && r->m == P;
    for (size_t n0 = r->first; n0 < r->n; n0 += P) {
        const size_t n = r->n - n0 < P ? r->n - n0 : P;
        if (direct && n == P) {
            tiles(r, n0, r->y + (ptrdiff_t)n0 * r->ldy, r->ldy);
            continue;
        }
        if (n > TILE) {
            tiles(r, n0, sums, P);
        }
        else {
            tiles_half(r, n0, sums);
        }
        store_rows(r, n0, n, P, sums);
    }
}

static void
release(void)
{
    _tile_release();
}

extern const dns_igemm_ops DNS_ISA_FN(dns_igemm_ops);
const dns_igemm_ops DNS_ISA_FN(dns_igemm_ops) = {
    .isa = DNS_ISA_VALUE,
    .panel = P,
    .k_align = STEP,
    .parts = 1,
    .speed = 16.0,
    .pack_w = pack_w_amx,
    .convert = convert_amx,
    .run = run_amx,
    .vectors = P,
    .begin = configure,
    .end = release,
};
