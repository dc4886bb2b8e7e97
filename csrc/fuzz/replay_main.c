/* Runs a fuzz target without a fuzzer: replay [-m N] FILE...
 *
 * Each file is one input. With -m N it is followed by N variants, made in a fixed way from the
 * file's bytes: cut short, bytes changed to boundary values, pieces repeated or removed. Inputs are
 * copied to blocks of their exact size, so a sanitizer sees every read past the end.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* splitmix64: any fixed, well-mixed sequence serves. */
static uint64_t
next_word(uint64_t *state)
{
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static int
run_copy(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size == 0 ? 1 : size);
    if (copy == NULL) {
        return 1;
    }
    if (size > 0) {
        memcpy(copy, data, size);
    }
    (void)LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    return 0;
}

/* Applies one change to data[0..size), which has room for 16 bytes more. Returns the new size. */
static size_t
mutate(uint8_t *data, size_t size, uint64_t *state)
{
    static const uint8_t edge[] = {0,    1,   0x7F, 0x80, 0xFF, ' ', ',',
                                   '\n', '"', '-',  '.',  'e',  '9', 'n'};
    const uint64_t word = next_word(state);
    if (size == 0) {
        data[0] = (uint8_t)word;
        return 1;
    }
    const size_t at = (size_t)(next_word(state) % size);
    const size_t length = 1 + (size_t)(next_word(state) % (size - at < 16 ? size - at : 16));
    switch (word % 5) {
    case 0:
        return at;
    case 1:
        data[at] = edge[(word >> 8) % sizeof edge];
        return size;
    case 2:
        data[at] ^= (uint8_t)(1u << (word >> 8) % 8);
        return size;
    case 3:
        memmove(data + at, data + at + length, size - at - length);
        return size - length;
    default:
        memmove(data + at + length, data + at, size - at);
        return size + length;
    }
}

static int
run_file(const char *path, long mutations)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
        (void)fprintf(stderr, "%s: cannot read\n", path);
        return 1;
    }
    const long end = ftell(file);
    const size_t size = end < 0 ? 0 : (size_t)end;
    rewind(file);
    uint8_t *data = malloc(size + 1);
    uint8_t *work = malloc(size + 128);
    int failed = data == NULL || work == NULL || fread(data, 1, size, file) != size;
    uint64_t state = size;
    if (!failed) {
        failed = run_copy(data, size);
    }
    for (long i = 0; !failed && i < mutations; i++) {
        memcpy(work, data, size);
        size_t n = size;
        for (uint64_t k = 1 + next_word(&state) % 4; k > 0; k--) {
            n = mutate(work, n, &state);
        }
        failed = run_copy(work, n);
    }
    free(work);
    free(data);
    (void)fclose(file);
    return failed;
}

int
main(int argc, char **argv)
{
    long mutations = 0;
    int first = 1;
    if (argc > 2 && strcmp(argv[1], "-m") == 0) {
        mutations = strtol(argv[2], NULL, 10);
        first = 3;
    }
    if (first >= argc) {
        (void)fprintf(stderr, "usage: %s [-m N] FILE...\n", argv[0]);
        return 2;
    }
    int failed = 0;
    for (int i = first; i < argc; i++) {
        failed |= run_file(argv[i], mutations);
    }
    return failed;
}
