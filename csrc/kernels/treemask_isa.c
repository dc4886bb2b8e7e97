/* Rows of bits to rows of bytes or floats, compiled per instruction-set level: bound by the writes.
 *
 * Eight bits become eight bytes in one register: copies of the byte, one bit of each kept, and
 * every byte that is not 0 carried into its top bit by adding 0x7f.
 */
#include "kernels/treemask_internal.h"
#include "kernels/vec_exp.h"

#define EACH 0x0101010101010101U

static inline uint64_t
eight(uint64_t byte)
{
    const uint64_t x = (((byte * EACH) & 0x8040201008040201U) + 0x7f * EACH) >> 7 & EACH;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return __builtin_bswap64(x);
#else
    return x;
#endif
}

static void
bytes(const uint64_t *bits, size_t n, uint8_t *out)
{
    size_t j = 0;
    for (; j + 8 <= n; j += 8) {
        const uint64_t x = eight(bits[j / 64] >> j % 64 & 0xff);
        memcpy(out + j, &x, sizeof x);
    }
    for (; j < n; j++) {
        out[j] = bits[j / 64] >> j % 64 & 1;
    }
}

static void
floats(const uint64_t *bits, size_t n, float *out)
{
    const vs on = vs_set(0.0F);
    const vs off = vs_set(-INFINITY);
    for (size_t j = 0; j < n; j += VS_LANES) {
        const unsigned some = (unsigned)(bits[j / 64] >> j % 64) & ((1U << VS_LANES) - 1U);
        vs_store_part(out + j, vs_keep(on, some, off), n - j);
    }
}

extern const dns_treemask_ops DNS_ISA_FN(dns_treemask_ops);
const dns_treemask_ops DNS_ISA_FN(dns_treemask_ops) = {
    .isa = DNS_ISA_VALUE,
    .bytes = bytes,
    .floats = floats,
};
