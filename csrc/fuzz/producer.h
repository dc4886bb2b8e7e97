/* Turns fuzz bytes into values: the fuzzer sees which byte decides what.
 *
 * Every function takes bytes from the front; when they run out it returns the lowest value
 * of its range, so an input of any length describes one complete case.
 */
#ifndef DNS_FUZZ_PRODUCER_H
#define DNS_FUZZ_PRODUCER_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct fuzz_in {
    const uint8_t *at;
    size_t left;
} fuzz_in;

static inline uint64_t
fuzz_bytes(fuzz_in *in, size_t n)
{
    uint64_t value = 0;
    for (; n > 0 && in->left > 0; n--, in->left--) {
        value = value << 8 | *in->at++;
    }
    return value;
}

static inline uint8_t
fuzz_u8(fuzz_in *in)
{
    return (uint8_t)fuzz_bytes(in, 1);
}

/* An integer of [lo, hi]; takes no more bytes than the range needs. */
static inline int64_t
fuzz_int(fuzz_in *in, int64_t lo, int64_t hi)
{
    const uint64_t span = (uint64_t)hi - (uint64_t)lo;
    size_t n = 0;
    while (n < 8 && span >> (8 * n) != 0) {
        n++;
    }
    const uint64_t raw = fuzz_bytes(in, n);
    return (int64_t)((uint64_t)lo + (span == UINT64_MAX ? raw : raw % (span + 1)));
}

/* A double of [lo, hi] in steps of 1/65535 of the range. */
static inline double
fuzz_real(fuzz_in *in, double lo, double hi)
{
    return lo + (hi - lo) * ((double)fuzz_bytes(in, 2) / 65535.0);
}

/* Any double at all: NaN, infinities and subnormals included. */
static inline double
fuzz_any_double(fuzz_in *in)
{
    const uint64_t raw = fuzz_bytes(in, 8);
    double value = 0.0;
    memcpy(&value, &raw, sizeof value);
    return value;
}

/* Everything that is left. */
static inline const uint8_t *
fuzz_rest(fuzz_in *in, size_t *n)
{
    const uint8_t *at = in->at;
    *n = in->left;
    in->at += in->left;
    in->left = 0;
    return at;
}

#endif
