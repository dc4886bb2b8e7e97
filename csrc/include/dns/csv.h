/* Strict reading of numeric columns from CSV text in memory.
 *
 * Two calls: dns_csv_scan finds the columns and counts the rows, the caller allocates,
 * dns_csv_read fills. Tolerated: a UTF-8 byte order mark, CRLF, columns in any order, columns
 * nobody asked for, blank lines, fields in double quotes (within one line), spaces around
 * numbers. Refused, with line and column: missing or repeated columns, rows with another
 * number of fields than the header, anything that is not a number where one is wanted, NaN,
 * infinities unless allowed, numbers out of range. Decimal points do not depend on the locale.
 * Nothing is allocated; text need not end in NUL.
 */
#ifndef DNS_CSV_H
#define DNS_CSV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dns/status.h"

typedef enum dns_csv_kind {
    DNS_CSV_F64 = 0, /* out: double */
    DNS_CSV_I64 = 1, /* out: int64_t; "3.0" passes, "3.5" does not */
    DNS_CSV_TIME =
        2, /* out: int64_t nanoseconds since 1970, from YYYY-MM-DD hh:mm:ss[.fraction][Z|+00:00] */
    DNS_CSV_CHOICE = 3, /* out: int32_t position in choices */
    DNS_CSV_N_KINDS = 4
} dns_csv_kind;

typedef struct dns_csv_column {
    const char *name;
    dns_csv_kind kind;
    bool optional;
    bool open_low; /* low itself is refused */
    bool infinity; /* infinities pass (F64) */
    double low;    /* accepted range of F64 and I64; -INFINITY, INFINITY for none */
    double high;
    const char *const *choices;
    size_t n_choices;
    int64_t field; /* set by dns_csv_scan: position in the header, -1 = optional and absent */
    void *out;     /* [n_rows], set by the caller between the calls; ignored when absent */
} dns_csv_column;

typedef struct dns_csv_shape {
    size_t body;      /* offset of the first line after the header */
    int64_t n_fields; /* in the header */
    int64_t n_rows;   /* not counting blank lines */
} dns_csv_shape;

/* Resolves the columns against the header line and counts rows. DNS_ERR_FORMAT with
 * err->index = line (1 = header). */
DNS_NODISCARD dns_status dns_csv_scan(const char *text, size_t size, dns_csv_column *columns,
                                      size_t n_columns, dns_csv_shape *shape, dns_error *err);

/* Fills every column's out, and line[n_rows] (1-based line of each row) unless NULL. `columns`
 * and `shape` are those of dns_csv_scan on the same text. On failure the outputs are
 * partly written. DNS_ERR_FORMAT with err->index = line; DNS_ERR_MEMORY. */
DNS_NODISCARD dns_status dns_csv_read(const char *text, size_t size, const dns_csv_column *columns,
                                      size_t n_columns, const dns_csv_shape *shape, int64_t *line,
                                      dns_error *err);

#endif
