/* CSV reader.
 *
 * One cursor walks over the text field by field; nothing is copied except numbers that need
 * the C library. A number with at most 19 digits, a mantissa up to 2^53 and a decimal
 * exponent within +-22 is exact as one multiplication or division of two exact doubles
 * [Clinger, PLDI 1990]; all others go through strtod in the "C" locale, so every value
 * is the nearest double.
 */
#define _POSIX_C_SOURCE 200809L

#include "dns/csv.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_NUMBER 127 /* characters of a number's text */
#define SHOWN 40       /* characters of a bad field that a message quotes */

typedef struct cursor {
    const char *at;
    const char *end;
    int64_t line;
} cursor;

/* A field's text without its outer quotes; `quoted` text holds "" for each quote. */
typedef struct field {
    const char *text;
    size_t size;
    bool quoted;
} field;

static bool
at_line_end(const cursor *c)
{
    return c->at == c->end || *c->at == '\n' ||
           (*c->at == '\r' && c->end - c->at > 1 && c->at[1] == '\n');
}

/* Steps over the line end the cursor stands on. */
static void
next_line(cursor *c)
{
    if (c->at < c->end && *c->at == '\r') {
        c->at++;
    }
    if (c->at < c->end) {
        c->at++;
    }
    c->line++;
}

static dns_status
take_quoted(cursor *c, field *f, dns_error *err)
{
    const char *start = ++c->at;
    for (;;) {
        DNS_REQUIRE(!at_line_end(c), err, DNS_ERR_FORMAT, c->line,
                    "line %lld: expected a closing quote before the end of the line",
                    (long long)c->line);
        if (*c->at != '"') {
            c->at++;
        }
        else if (c->end - c->at > 1 && c->at[1] == '"') {
            c->at += 2;
        }
        else {
            break;
        }
    }
    *f = (field){.text = start, .size = (size_t)(c->at - start), .quoted = true};
    c->at++;
    DNS_REQUIRE(at_line_end(c) || *c->at == ',', err, DNS_ERR_FORMAT, c->line,
                "line %lld: expected a comma after a closing quote", (long long)c->line);
    return DNS_OK;
}

/* The field at the cursor, which then stands on a comma or a line end. */
static dns_status
take_field(cursor *c, field *f, dns_error *err)
{
    if (c->at < c->end && *c->at == '"') {
        return take_quoted(c, f, err);
    }
    const char *start = c->at;
    while (!at_line_end(c) && *c->at != ',') {
        DNS_REQUIRE(*c->at != '\0' && *c->at != '\r', err, DNS_ERR_FORMAT, c->line,
                    "line %lld: expected text, got a %s", (long long)c->line,
                    *c->at == '\r' ? "carriage return without a line feed" : "NUL byte");
        c->at++;
    }
    *f = (field){.text = start, .size = (size_t)(c->at - start), .quoted = false};
    return DNS_OK;
}

/* Steps over a comma; false at the end of the line. */
static bool
more_fields(cursor *c)
{
    if (at_line_end(c)) {
        return false;
    }
    c->at++;
    return true;
}

static void
trim(field *f)
{
    while (f->size > 0 && (f->text[0] == ' ' || f->text[0] == '\t')) {
        f->text++;
        f->size--;
    }
    while (f->size > 0 && (f->text[f->size - 1] == ' ' || f->text[f->size - 1] == '\t')) {
        f->size--;
    }
}

static bool
field_is(const field *f, const char *name)
{
    size_t i = 0;
    for (; i < f->size; i++, name++) {
        if (*name == '\0' || f->text[i] != *name) {
            return false;
        }
        i += f->quoted && f->text[i] == '"';
    }
    return *name == '\0';
}

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool
word_is(const char *text, size_t size, const char *word)
{
    size_t i = 0;
    for (; i < size && word[i] != '\0'; i++) {
        if ((text[i] | 0x20) != word[i]) {
            return false;
        }
    }
    return i == size && word[i] == '\0';
}

/* What a number's digits say: value = mantissa * 10^exponent when exact. */
typedef struct digits {
    uint64_t mantissa;
    int64_t exponent;
    bool exact;
} digits;

static size_t
take_digits(const char *text, size_t size, size_t i, digits *d, bool fraction)
{
    for (; i < size && is_digit(text[i]); i++) {
        if (d->mantissa > (UINT64_MAX - 9) / 10) {
            d->exact = false;
        }
        else {
            d->mantissa = 10 * d->mantissa + (uint64_t)(text[i] - '0');
            d->exponent -= fraction;
        }
    }
    return i;
}

/* Reads the grammar [+-] digits [. digits] [e [+-] digits] with at least one digit before
 * the exponent; false if the text is anything else. */
static bool
scan_number(const char *text, size_t size, digits *d, bool *negative)
{
    size_t i = 0;
    *d = (digits){.exact = true};
    *negative = size > 0 && text[0] == '-';
    i += size > 0 && (text[0] == '-' || text[0] == '+');
    const size_t first = i;
    i = take_digits(text, size, i, d, false);
    size_t n = i - first;
    if (i < size && text[i] == '.') {
        const size_t point = ++i;
        i = take_digits(text, size, i, d, true);
        n += i - point;
    }
    if (n == 0) {
        return false;
    }
    if (i < size && (text[i] == 'e' || text[i] == 'E')) {
        i++;
        const bool down = i < size && text[i] == '-';
        i += i < size && (text[i] == '-' || text[i] == '+');
        int64_t power = 0;
        const size_t start = i;
        for (; i < size && is_digit(text[i]); i++) {
            power = power < 100000 ? 10 * power + (text[i] - '0') : power;
        }
        if (i == start) {
            return false;
        }
        d->exponent += down ? -power : power;
    }
    return i == size;
}

/* The nearest double to a number's text; false if it is not a number. Words for NaN and
 * infinity are numbers here, so that messages can say what was found. */
static bool
parse_f64(const char *text, size_t size, double *out)
{
    static const double power[23] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                     1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                     1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    digits d;
    bool negative = false;
    if (size == 0 || size > MAX_NUMBER) {
        return false;
    }
    if (!scan_number(text, size, &d, &negative)) {
        const size_t sign = text[0] == '-' || text[0] == '+';
        const bool inf = word_is(text + sign, size - sign, "inf") ||
                         word_is(text + sign, size - sign, "infinity");
        *out = inf ? (text[0] == '-' ? -(double)INFINITY : (double)INFINITY) : (double)NAN;
        return inf || word_is(text + sign, size - sign, "nan");
    }
    if (d.exact && d.mantissa <= (UINT64_C(1) << 53) && d.exponent >= -22 && d.exponent <= 22) {
        const double m = (double)d.mantissa;
        const double value = d.exponent < 0 ? m / power[-d.exponent] : m * power[d.exponent];
        *out = negative ? -value : value;
        return true;
    }
    char copy[MAX_NUMBER + 1];
    memcpy(copy, text, size);
    copy[size] = '\0';
    *out = strtod(copy, NULL);
    return true;
}

/* An integer below 2^53 in size, written as an integer or as a number without a fraction. */
static bool
parse_i64(const char *text, size_t size, int64_t *out)
{
    double value = 0.0;
    if (!parse_f64(text, size, &value) || !(fabs(value) <= 9007199254740992.0) ||
        value != floor(value)) {
        return false;
    }
    *out = (int64_t)value;
    return true;
}

/* `n` digits at text as an integer in [low, high]; -1 if they are not. */
static int64_t
fixed(const char *text, int n, int low, int high)
{
    int64_t value = 0;
    for (int i = 0; i < n; i++) {
        if (!is_digit(text[i])) {
            return -1;
        }
        value = 10 * value + (text[i] - '0');
    }
    return value >= low && value <= high ? value : -1;
}

/* Days from 1970-01-01 of a date in the Gregorian calendar, counting years from March. */
static int64_t
days_from_civil(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    const int64_t era = year / 400;
    const int64_t of_era = year - era * 400;
    const int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool
parse_time(const char *text, size_t size, int64_t *out)
{
    static const int month_days[12] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (size < 19 || text[4] != '-' || text[7] != '-' || (text[10] != ' ' && text[10] != 'T') ||
        text[13] != ':' || text[16] != ':') {
        return false;
    }
    const int64_t year = fixed(text, 4, 1970, 2261);
    const int64_t month = fixed(text + 5, 2, 1, 12);
    const int64_t day = fixed(text + 8, 2, 1, month < 1 ? 0 : month_days[month - 1]);
    const int64_t hour = fixed(text + 11, 2, 0, 23);
    const int64_t minute = fixed(text + 14, 2, 0, 59);
    const int64_t second = fixed(text + 17, 2, 0, 59);
    if (year < 0 || month < 0 || day < 0 || hour < 0 || minute < 0 || second < 0) {
        return false;
    }
    int64_t fraction = 0;
    size_t i = 19;
    if (i < size && text[i] == '.') {
        int64_t unit = 100000000;
        const size_t start = ++i;
        for (; i < size && is_digit(text[i]) && unit > 0; i++, unit /= 10) {
            fraction += unit * (text[i] - '0');
        }
        if (i == start) {
            return false;
        }
    }
    const size_t rest = size - i;
    if (rest != 0 && !(rest == 1 && text[i] == 'Z') &&
        !(rest == 6 && memcmp(text + i, "+00:00", 6) == 0)) {
        return false;
    }
    const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (month == 2 && day == 29 && !leap) {
        return false;
    }
    const int64_t days = days_from_civil(year, month, day);
    *out = (((days * 24 + hour) * 60 + minute) * 60 + second) * 1000000000 + fraction;
    return true;
}

/* Reports a field that is not what its column expects. What is quoted of it is ASCII. */
static dns_status
fail_field(const field *f, const dns_csv_column *column, int64_t line, const char *expected,
           dns_error *err)
{
    char shown[SHOWN + 1];
    size_t n = 0;
    for (; n < f->size && n < SHOWN; n++) {
        shown[n] = (char)(f->text[n] >= ' ' && f->text[n] <= '~' ? f->text[n] : '?');
    }
    shown[n] = '\0';
    return dns_fail(err, DNS_ERR_FORMAT, line, "line %lld, column '%.60s': expected %s, got '%s%s'",
                    (long long)line, column->name, expected, shown, f->size > SHOWN ? "..." : "");
}

/* Reports a number that is none or out of the column's range. */
static dns_status
fail_number(const field *f, const dns_csv_column *column, int64_t line, const char *noun,
            dns_error *err)
{
    char expected[80];
    if (isinf(column->low) && isinf(column->high)) {
        return fail_field(f, column, line, noun, err);
    }
    if (isinf(column->high)) {
        (void)snprintf(expected, sizeof expected, "%s %s %g", noun,
                       column->open_low ? ">" : ">=", column->low);
    }
    else {
        (void)snprintf(expected, sizeof expected, "%s in %s%g, %g]", noun,
                       column->open_low ? "(" : "[", column->low, column->high);
    }
    return fail_field(f, column, line, expected, err);
}

static bool
in_range(double value, const dns_csv_column *column)
{
    if (isinf(value) && !column->infinity) {
        return false;
    }
    return value <= column->high && (column->open_low ? value > column->low : value >= column->low);
}

static bool
take_choice(const field *f, const dns_csv_column *column, int32_t *out)
{
    for (size_t i = 0; i < column->n_choices; i++) {
        if (field_is(f, column->choices[i])) {
            *out = (int32_t)i;
            return true;
        }
    }
    return false;
}

/* Converts one field into row `row` of its column. */
static dns_status
store(field f, const dns_csv_column *column, int64_t row, int64_t line, dns_error *err)
{
    int64_t integer = 0;
    double value = 0.0;
    int32_t choice = 0;
    if (column->kind != DNS_CSV_CHOICE) {
        trim(&f);
    }
    switch (column->kind) {
    case DNS_CSV_F64:
        if (!parse_f64(f.text, f.size, &value) || !in_range(value, column)) {
            return fail_number(&f, column, line, column->infinity ? "a number" : "a finite number",
                               err);
        }
        ((double *)column->out)[row] = value;
        break;
    case DNS_CSV_I64:
        if (!parse_i64(f.text, f.size, &integer) || !in_range((double)integer, column)) {
            return fail_number(&f, column, line, "an integer", err);
        }
        ((int64_t *)column->out)[row] = integer;
        break;
    case DNS_CSV_TIME:
        if (!parse_time(f.text, f.size, &integer)) {
            return fail_field(&f, column, line, "a time YYYY-MM-DD hh:mm:ss.fffffff", err);
        }
        ((int64_t *)column->out)[row] = integer;
        break;
    case DNS_CSV_CHOICE:
        if (!take_choice(&f, column, &choice)) {
            return fail_field(&f, column, line, "a known name", err);
        }
        ((int32_t *)column->out)[row] = choice;
        break;
    default:
        return dns_fail(err, DNS_ERR_INTERNAL, -1, "column kind %d", (int)column->kind);
    }
    return DNS_OK;
}

/* Matches one header field against the wanted columns. */
static dns_status
resolve(const field *f, int64_t position, dns_csv_column *columns, size_t n_columns, dns_error *err)
{
    for (size_t i = 0; i < n_columns; i++) {
        if (field_is(f, columns[i].name)) {
            DNS_REQUIRE(columns[i].field < 0, err, DNS_ERR_FORMAT, 1,
                        "line 1: column '%.60s' appears twice", columns[i].name);
            columns[i].field = position;
        }
    }
    return DNS_OK;
}

static dns_status
scan_header(cursor *c, dns_csv_column *columns, size_t n_columns, int64_t *n_fields, dns_error *err)
{
    for (size_t i = 0; i < n_columns; i++) {
        columns[i].field = -1;
    }
    DNS_REQUIRE(!at_line_end(c), err, DNS_ERR_FORMAT, 1, "line 1: expected a header line, got %s",
                c->at == c->end ? "an empty file" : "a blank line");
    int64_t position = 0;
    do {
        field f;
        DNS_TRY(take_field(c, &f, err));
        trim(&f);
        DNS_TRY(resolve(&f, position++, columns, n_columns, err));
    } while (more_fields(c));
    for (size_t i = 0; i < n_columns; i++) {
        DNS_REQUIRE(columns[i].field >= 0 || columns[i].optional, err, DNS_ERR_FORMAT, 1,
                    "line 1: column '%.60s' is missing", columns[i].name);
    }
    *n_fields = position;
    next_line(c);
    return DNS_OK;
}

dns_status
dns_csv_scan(const char *text, size_t size, dns_csv_column *columns, size_t n_columns,
             dns_csv_shape *shape, dns_error *err)
{
    cursor c = {.at = text, .end = text + size, .line = 1};
    if (size >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
        c.at += 3;
    }
    int64_t n_fields = 0;
    int64_t n_rows = 0;
    DNS_TRY(scan_header(&c, columns, n_columns, &n_fields, err));
    const size_t body = (size_t)(c.at - text);
    while (c.at < c.end) {
        n_rows += !at_line_end(&c);
        const char *feed = memchr(c.at, '\n', (size_t)(c.end - c.at));
        c.at = feed == NULL ? c.end : feed + 1;
    }
    *shape = (dns_csv_shape){.body = body, .n_fields = n_fields, .n_rows = n_rows};
    return DNS_OK;
}

/* Reads the row at the cursor, which then stands on its line end. */
static dns_status
read_row(cursor *c, const dns_csv_column *columns, size_t n_columns, int64_t n_fields, int64_t row,
         dns_error *err)
{
    int64_t position = 0;
    do {
        field f;
        DNS_TRY(take_field(c, &f, err));
        for (size_t i = 0; i < n_columns; i++) {
            if (columns[i].field == position) {
                DNS_TRY(store(f, &columns[i], row, c->line, err));
            }
        }
        position++;
    } while (more_fields(c));
    DNS_REQUIRE(position == n_fields, err, DNS_ERR_FORMAT, c->line,
                "line %lld: expected %lld fields as in the header, got %lld", (long long)c->line,
                (long long)n_fields, (long long)position);
    return DNS_OK;
}

dns_status
dns_csv_read(const char *text, size_t size, const dns_csv_column *columns, size_t n_columns,
             const dns_csv_shape *shape, int64_t *line, dns_error *err)
{
    locale_t plain = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
    DNS_REQUIRE(plain != (locale_t)0, err, DNS_ERR_MEMORY, -1, "number format: out of memory");
    locale_t before = uselocale(plain);
    cursor c = {.at = text + shape->body, .end = text + size, .line = 2};
    dns_status status = DNS_OK;
    int64_t row = 0;
    while (status == DNS_OK && c.at < c.end) {
        if (!at_line_end(&c)) {
            if (line != NULL) {
                line[row] = c.line;
            }
            status = read_row(&c, columns, n_columns, shape->n_fields, row++, err);
        }
        if (status == DNS_OK) {
            next_line(&c);
        }
    }
    (void)uselocale(before);
    freelocale(plain);
    return status;
}
