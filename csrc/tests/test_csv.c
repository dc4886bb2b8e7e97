/* CSV reader: values, layout, every refusal with its line. */
#include "dns/csv.h"

#include "tap.h"

typedef struct outputs {
    double x[8];
    int64_t n[8];
    int64_t line[8];
    int64_t rows;
} outputs;

/* Reads columns x (float in [low, high]) and n (optional integer >= 0). */
static dns_status
read_text(const char *text, double low, double high, outputs *out, dns_error *err)
{
    dns_csv_column columns[2] = {
        {.name = "x", .kind = DNS_CSV_F64, .low = low, .high = high, .out = out->x},
        {.name = "n",
         .kind = DNS_CSV_I64,
         .optional = true,
         .low = 0,
         .high = (double)INFINITY,
         .out = out->n},
    };
    dns_csv_shape shape;
    DNS_TRY(dns_csv_scan(text, strlen(text), columns, 2, &shape, err));
    out->rows = shape.n_rows;
    if (shape.n_rows > 8) {
        return DNS_ERR_SHAPE;
    }
    return dns_csv_read(text, strlen(text), columns, 2, &shape, out->line, err);
}

static void
test_csv_values_and_lines(void)
{
    outputs o;
    REQUIRE(read_text("\xEF\xBB\xBFn, x ,\"other\"\r\n3,0.1,\"a,\"\"b\"\r\n\r\n 4.0 ,\"1e-3\",\r\n",
                      0, 1, &o, NULL) == DNS_OK);
    CHECK_I64(o.rows, 2);
    CHECK_F64(o.x[0], 0.1);
    CHECK_F64(o.x[1], 1e-3);
    CHECK_I64(o.n[0], 3);
    CHECK_I64(o.n[1], 4);
    CHECK_I64(o.line[0], 2);
    CHECK_I64(o.line[1], 4);
}

static void
test_csv_numbers_are_nearest(void)
{
    static const char *const texts[] = {"0.1",
                                        "1e22",
                                        "1e23",
                                        "9007199254740993",
                                        "123456789012345678901234567890",
                                        "5e-324",
                                        "2.2250738585072011e-308",
                                        "1.7976931348623157e308",
                                        "0.3e-30",
                                        "1e-22",
                                        ".5",
                                        "7."};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char text[80];
        outputs o;
        (void)snprintf(text, sizeof text, "x\n%s\n-%s\n", texts[i], texts[i]);
        REQUIRE(read_text(text, -(double)INFINITY, (double)INFINITY, &o, NULL) == DNS_OK);
        CHECK_F64(o.x[0], strtod(texts[i], NULL));
        CHECK_F64(o.x[1], -strtod(texts[i], NULL));
    }
}

static void
test_csv_refusals_name_the_line(void)
{
    static const struct {
        const char *text;
        int64_t line;
        const char *message;
    } cases[] = {
        {"", 1, "line 1: expected a header line, got an empty file"},
        {"y\n1\n", 1, "line 1: column 'x' is missing"},
        {"x,x\n1,1\n", 1, "line 1: column 'x' appears twice"},
        {"x\n1\n\n2\nnan\n", 5,
         "line 5, column 'x': expected a finite number in [0, 10], got 'nan'"},
        {"x\n11\n", 2, "line 2, column 'x': expected a finite number in [0, 10], got '11'"},
        {"x\n1e999\n", 2, "line 2, column 'x': expected a finite number in [0, 10], got '1e999'"},
        {"x,n\n1,-2\n", 2, "line 2, column 'n': expected an integer >= 0, got '-2'"},
        {"x,n\n1,2.5\n", 2, "line 2, column 'n': expected an integer >= 0, got '2.5'"},
        {"x,n\n1,2\n3\n", 3, "line 3: expected 2 fields as in the header, got 1"},
        {"x\n\"1\n", 2, "line 2: expected a closing quote before the end of the line"},
        {"x\n\"1\"2\n", 2, "line 2: expected a comma after a closing quote"},
        {"x\n1\r", 2, "line 2: expected text, got a carriage return without a line feed"},
        {"x\n\x80\n", 2, "line 2, column 'x': expected a finite number in [0, 10], got '?'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        outputs o;
        dns_error err = {0};
        CHECK(read_text(cases[i].text, 0, 10, &o, &err) == DNS_ERR_FORMAT);
        CHECK_STR(err.message, cases[i].message);
        CHECK_I64(err.index, cases[i].line);
    }
}

static void
test_csv_times_and_choices(void)
{
    static const char *const names[2] = {"a", "b \"c\""};
    static const char text[] =
        "t,k\n1970-01-02 00:00:01.5,a\n2000-02-29T12:00:00Z,\"b \"\"c\"\"\"\n";
    int64_t t[2];
    int32_t k[2];
    dns_csv_column columns[2] = {
        {.name = "t", .kind = DNS_CSV_TIME, .out = t},
        {.name = "k", .kind = DNS_CSV_CHOICE, .choices = names, .n_choices = 2, .out = k},
    };
    dns_csv_shape shape;
    REQUIRE(dns_csv_scan(text, sizeof text - 1, columns, 2, &shape, NULL) == DNS_OK);
    REQUIRE(dns_csv_read(text, sizeof text - 1, columns, 2, &shape, NULL, NULL) == DNS_OK);
    CHECK_I64(t[0], INT64_C(86401500000000));
    CHECK_I64(t[1], INT64_C(951825600000000000));
    CHECK_I64(k[0], 0);
    CHECK_I64(k[1], 1);
    columns[1].n_choices = 1;
    dns_error err = {0};
    CHECK(dns_csv_read(text, sizeof text - 1, columns, 2, &shape, NULL, &err) == DNS_ERR_FORMAT);
    CHECK_STR(err.message, "line 3, column 'k': expected a known name, got 'b \"\"c\"\"'");
}

TAP_MAIN(TAP(test_csv_values_and_lines), TAP(test_csv_numbers_are_nearest),
         TAP(test_csv_refusals_name_the_line), TAP(test_csv_times_and_choices))
