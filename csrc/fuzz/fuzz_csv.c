/* CSV reader: the first byte chooses the columns, the rest is the text.
 *
 * Checked: outputs are written exactly where promised, accepted values lie in their ranges,
 * lines increase, and a refusal names a line of the text.
 */
#include <math.h>
#include <stdlib.h>

#include "dns/csv.h"
#include "dns/mem.h"
#include "producer.h"

#define N_COLUMNS 5

static void
require(int ok)
{
    if (!ok) {
        abort();
    }
}

static size_t
size_of(dns_csv_kind kind)
{
    return kind == DNS_CSV_CHOICE ? sizeof(int32_t) : 8;
}

static void
check_rows(const dns_csv_column *columns, size_t n, const int64_t *line, int64_t rows)
{
    for (int64_t row = 0; row < rows; row++) {
        require(line[row] > (row > 0 ? line[row - 1] : 1));
        for (size_t i = 0; i < n; i++) {
            if (columns[i].field < 0) {
                continue;
            }
            if (columns[i].kind == DNS_CSV_F64) {
                const double x = ((const double *)columns[i].out)[row];
                require(x >= columns[i].low && x <= columns[i].high &&
                        (columns[i].infinity || isfinite(x)));
            }
            else if (columns[i].kind == DNS_CSV_CHOICE) {
                const int32_t k = ((const int32_t *)columns[i].out)[row];
                require(k >= 0 && (size_t)k < columns[i].n_choices);
            }
        }
    }
}

static void
read_all(const char *text, size_t size, dns_csv_column *columns, size_t n)
{
    dns_error err = {0};
    dns_csv_shape shape;
    if (dns_csv_scan(text, size, columns, n, &shape, &err) != DNS_OK) {
        require(err.index == 1 && err.code == DNS_ERR_FORMAT);
        return;
    }
    require(shape.n_rows >= 0 && shape.body <= size && shape.n_fields >= 1);
    const size_t rows = (size_t)shape.n_rows;
    int64_t *line = dns_mem_new(NULL, rows, sizeof *line);
    for (size_t i = 0; i < n; i++) {
        columns[i].out =
            columns[i].field < 0 ? NULL : dns_mem_new(NULL, rows, size_of(columns[i].kind));
    }
    const dns_status status = dns_csv_read(text, size, columns, n, &shape, line, &err);
    if (status == DNS_OK) {
        check_rows(columns, n, line, shape.n_rows);
    }
    else {
        require(status == DNS_ERR_FORMAT && err.index >= 2);
    }
    for (size_t i = 0; i < n; i++) {
        dns_mem_free(NULL, columns[i].out, rows, size_of(columns[i].kind));
    }
    dns_mem_free(NULL, line, rows, sizeof *line);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[2] = {"bert", "gpt \"2\""};
    const double inf = (double)INFINITY;
    fuzz_in in = {data, size};
    const uint8_t choice = fuzz_u8(&in);
    dns_csv_column columns[N_COLUMNS] = {
        {.name = "sim_lat", .kind = DNS_CSV_F64, .low = 0, .high = inf, .open_low = true},
        {.name = "overall-sparsity", .kind = DNS_CSV_F64, .low = 0, .high = 1, .infinity = true},
        {.name = "batch-indx", .kind = DNS_CSV_I64, .low = 0, .high = inf},
        {.name = "TIMESTAMP", .kind = DNS_CSV_TIME},
        {.name = "key", .kind = DNS_CSV_CHOICE, .choices = names, .n_choices = 2},
    };
    dns_csv_column chosen[N_COLUMNS];
    size_t n = 0;
    for (size_t i = 0; i < N_COLUMNS; i++) {
        if (choice & (1u << i)) {
            columns[i].optional = (choice & 0x80u) != 0;
            chosen[n++] = columns[i];
        }
    }
    size_t length = 0;
    const uint8_t *text = fuzz_rest(&in, &length);
    read_all((const char *)text, length, chosen, n);
    return 0;
}
