/* Status codes, error records and the two control-flow macros of the library.
 *
 * Every function that can fail returns a dns_status and takes an optional
 * `dns_error *err` as its last parameter; outputs are untouched on failure.
 * The library never prints, aborts, exits or sets errno.
 */
#ifndef DNS_STATUS_H
#define DNS_STATUS_H

#include <stdint.h>

/* Codes are grouped by tens; the group is the class of the failure. */
typedef enum dns_status {
    DNS_OK = 0,
    DNS_ERR_MEMORY = 10,      /* allocation failed */
    DNS_ERR_OVERFLOW = 11,    /* a size product does not fit */
    DNS_ERR_VALUE = 20,       /* an argument's value is out of range */
    DNS_ERR_SHAPE = 21,       /* extents do not agree */
    DNS_ERR_FORMAT = 30,      /* a data file or structure is malformed */
    DNS_ERR_STATE = 40,       /* call not allowed now */
    DNS_ERR_POLICY = 41,      /* a policy broke its promise or returned nonsense */
    DNS_ERR_CALLBACK = 42,    /* a caller's callback failed; it holds the reason */
    DNS_ERR_LIVELOCK = 43,    /* simulated time does not advance */
    DNS_ERR_UNSUPPORTED = 50, /* not available in this build or on this machine */
    DNS_ERR_INTERNAL = 90     /* a defect of this library */
} dns_status;

#if defined(__GNUC__)
#define DNS_NODISCARD __attribute__((warn_unused_result))
#define DNS_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define DNS_NODISCARD
#define DNS_PRINTF(f, a)
#endif

/* Filled by the failing function. `index` is the first offending row, element
 * or field (-1 when there is none). Caller-owned; may be NULL everywhere. */
typedef struct dns_error {
    dns_status code;
    int64_t index;
    char message[232];
} dns_error;

/* Name of a code ("DNS_ERR_VALUE"); "unknown" for any other number. */
const char *dns_status_name(int code);

/* Records code, index and a formatted message in *err (if not NULL) and returns
 * `code`, so that `return dns_fail(...)` is the one way to report a failure. */
dns_status dns_fail(dns_error *err, dns_status code, int64_t index, const char *format, ...)
    DNS_PRINTF(4, 5);

/* Forward a failure / fail when a condition does not hold; both `return`. */
#define DNS_TRY(expr)                                                                              \
    do {                                                                                           \
        dns_status dns_try_status_ = (expr);                                                       \
        if (dns_try_status_ != DNS_OK) {                                                           \
            return dns_try_status_;                                                                \
        }                                                                                          \
    } while (0)
#define DNS_REQUIRE(cond, err, code, index, ...)                                                   \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            return dns_fail((err), (code), (int64_t)(index), __VA_ARGS__);                         \
        }                                                                                          \
    } while (0)

#endif
