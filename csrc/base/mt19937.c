/* MT19937 as CPython seeds and reads it.
 *
 * Matsumoto and Nishimura, ACM TOMACS 8(1), 1998: x_{k+624} = x_{k+397} xor
 * (upper bit of x_k, lower 31 bits of x_{k+1}) A, then four tempering shifts. Seeding stays
 * in Python (`random.Random(seed).getstate()`); from there CPython's derived draws are
 *
 *     random()         (a >> 5, b >> 6) -> (a 2^26 + b) / 2^53
 *     randrange(n)     k = bit length of n; take the top k bits of a word until they are < n
 *     expovariate(l)   -log(1 - random()) / l
 *
 * and these are stable over the Python versions that the project supports, which tests
 * check against the running interpreter.
 */
#include "dns/mt19937.h"

#include <math.h>

#define MT_SHIFT 397

static uint32_t
mix(uint32_t high, uint32_t low)
{
    const uint32_t y = (high & 0x80000000u) | (low & 0x7FFFFFFFu);
    return (y >> 1) ^ ((y & 1u) != 0 ? 0x9908B0DFu : 0u);
}

static void
refill(dns_mt19937 *mt)
{
    uint32_t *x = mt->key;
    size_t k = 0;
    for (; k < DNS_MT_WORDS - MT_SHIFT; k++) {
        x[k] = x[k + MT_SHIFT] ^ mix(x[k], x[k + 1]);
    }
    for (; k < DNS_MT_WORDS - 1; k++) {
        x[k] = x[k + MT_SHIFT - DNS_MT_WORDS] ^ mix(x[k], x[k + 1]);
    }
    x[k] = x[MT_SHIFT - 1] ^ mix(x[k], x[0]);
    mt->index = 0;
}

uint32_t
dns_mt19937_next(dns_mt19937 *mt)
{
    if (mt->index >= DNS_MT_WORDS) {
        refill(mt);
    }
    uint32_t y = mt->key[mt->index++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9D2C5680u;
    y ^= (y << 15) & 0xEFC60000u;
    return y ^ (y >> 18);
}

double
dns_mt19937_random(dns_mt19937 *mt)
{
    const uint32_t a = dns_mt19937_next(mt) >> 5;
    const uint32_t b = dns_mt19937_next(mt) >> 6;
    return (a * 67108864.0 + b) * (1.0 / 9007199254740992.0);
}

uint32_t
dns_mt19937_below(dns_mt19937 *mt, uint32_t n)
{
    unsigned drop = 31;
    for (uint32_t rest = n >> 1; rest != 0; rest >>= 1) {
        drop--;
    }
    uint32_t r = 0;
    do {
        r = dns_mt19937_next(mt) >> drop;
    } while (r >= n);
    return r;
}

double
dns_mt19937_expovariate(dns_mt19937 *mt, double rate)
{
    return -log(1.0 - dns_mt19937_random(mt)) / rate;
}

static dns_status
check_table(const dns_mt19937 *mt, const dns_mt_table *table, dns_error *err)
{
    DNS_REQUIRE(mt->index <= DNS_MT_WORDS, err, DNS_ERR_VALUE, -1,
                "state: expected an index in 0..624, got %u", (unsigned)mt->index);
    DNS_REQUIRE(isfinite(table->rate) && table->rate > 0.0, err, DNS_ERR_VALUE, -1,
                "rate: expected a finite value > 0 (requests per second), got %g", table->rate);
    DNS_REQUIRE(table->n_models >= 1 && table->n_models <= INT32_MAX, err, DNS_ERR_VALUE, -1,
                "n_samples: expected at least one model, got %u", (unsigned)table->n_models);
    DNS_REQUIRE(table->n_priorities >= 1 && table->n_priorities <= INT32_MAX, err, DNS_ERR_VALUE,
                -1, "priorities: expected at least one value, got %u",
                (unsigned)table->n_priorities);
    for (uint32_t i = 0; i < table->n_models; i++) {
        DNS_REQUIRE(table->n_samples[i] >= 1, err, DNS_ERR_VALUE, i,
                    "n_samples: model %u: expected >= 1, got %d", (unsigned)i,
                    (int)table->n_samples[i]);
    }
    return DNS_OK;
}

dns_status
dns_mt_requests(dns_mt19937 *mt, const dns_mt_table *table, size_t n, double *arrival,
                int32_t *model, int32_t *sample, double *priority, dns_error *err)
{
    DNS_TRY(check_table(mt, table, err));
    double t = 0.0;
    for (size_t i = 0; i < n; i++) {
        t += dns_mt19937_expovariate(mt, table->rate);
        arrival[i] = t;
        model[i] = (int32_t)dns_mt19937_below(mt, table->n_models);
        priority[i] = table->priorities[dns_mt19937_below(mt, table->n_priorities)];
        sample[i] = (int32_t)dns_mt19937_below(mt, (uint32_t)table->n_samples[model[i]]);
    }
    return DNS_OK;
}
