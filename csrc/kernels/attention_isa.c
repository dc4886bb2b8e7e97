/* What attention needs between its kernels, compiled per instruction-set level.
 *
 * The CSR kernel takes the weights of two rows in turn, each with the byte offset of its row of the
 * panel. The runs of a segment already come in the order of their lengths, so neighbours are
 * paired; probabilities and columns are interleaved into the stream by the compiler's shuffles.
 */
#include "kernels/attention_internal.h"

#include <stdbool.h>

#include "kernels/vec_f32.h"

static inline void
both(const uint16_t *restrict a, const float *restrict pa, const uint16_t *restrict b,
     const float *restrict pb, size_t n, uint32_t pitch, csr_entry *restrict e)
{
    for (size_t k = 0; k < n; k++) {
        e[2 * k].offset = a[k] * pitch;
        e[2 * k].value = pa[k];
        e[2 * k + 1].offset = b[k] * pitch;
        e[2 * k + 1].value = pb[k];
    }
}

static inline void
rest(const uint16_t *restrict a, const float *restrict pa, size_t n, uint32_t pitch,
     csr_entry *restrict e)
{
    for (size_t k = 0; k < n; k++) {
        e[k].offset = a[k] * pitch;
        e[k].value = pa[k];
    }
}

static const uint16_t *
stream(const dns_pattern_run *runs, size_t n, const uint16_t *columns, const float *values,
       uint32_t pitch, csr_pair *pairs, csr_entry *entries)
{
    for (size_t i = 0; i < n; i += 2, pairs++) {
        const bool paired = i + 1 < n;
        const dns_pattern_run a = runs[i];
        const dns_pattern_run b = paired ? runs[i + 1] : (dns_pattern_run){0, 0, 0};
        *pairs = (csr_pair){{(int32_t)a.row, paired ? (int32_t)b.row : -1}, b.n, a.n - b.n, 0};
        both(columns, values + a.at, columns + a.n, values + b.at, b.n, pitch, entries);
        entries += (size_t)2 * b.n;
        rest(columns + b.n, values + a.at + b.n, a.n - b.n, pitch, entries);
        entries += a.n - b.n;
        columns += a.n + b.n;
    }
    return columns;
}

static void
scale(const float *from, float factor, float *to, size_t n)
{
    const vs f = vs_set(factor);
    for (size_t i = 0; i < n; i += VS_LANES) {
        vs_store_part(to + i, vs_mul(vs_load_part(from + i, n - i), f), n - i);
    }
}

extern const dns_attention_ops DNS_ISA_FN(dns_attention_ops);
const dns_attention_ops DNS_ISA_FN(dns_attention_ops) = {
    .isa = DNS_ISA_VALUE,
    .stream = stream,
    .scale = scale,
};
