/* Random patterns, and stacks of matrices in guarded memory, for tests of attention's parts; after
 * kernelkit.h. */
#ifndef DNS_TESTS_PATTERNKIT_H
#define DNS_TESTS_PATTERNKIT_H

#include "dns/sddmm.h"
#include "kernelkit.h"

/* What a pattern is made of; one row in seven is empty and one full. */
typedef struct structure {
    size_t heads, rows, cols, nnz;
    int64_t *indptr, *indices;
} structure;

static inline structure
structure_new(size_t heads, size_t rows, size_t cols, double density, uint64_t *state)
{
    structure s = {heads, rows, cols, 0, NULL, NULL};
    s.indptr = malloc((heads * rows + 1) * sizeof *s.indptr);
    s.indices = malloc((heads * rows * cols + 1) * sizeof *s.indices);
    if (s.indptr == NULL || s.indices == NULL) {
        abort();
    }
    for (size_t i = 0; i < heads * rows; i++) {
        s.indptr[i] = (int64_t)s.nnz;
        const double here = i % 7 == 3 ? 0.0 : i % 7 == 5 ? 1.0 : density;
        for (size_t j = 0; j < cols; j++) {
            if ((double)(kit_random(state) >> 11) / 9007199254740992.0 < here) {
                s.indices[s.nnz++] = (int64_t)j;
            }
        }
    }
    s.indptr[heads * rows] = (int64_t)s.nnz;
    return s;
}

static inline void
structure_free(structure *s)
{
    free(s->indptr);
    free(s->indices);
}

static inline dns_status
pattern_of(const structure *s, const dns_alloc *alloc, dns_pattern **out, dns_error *err)
{
    return dns_pattern_create(s->heads, s->rows, s->cols, s->indptr, s->indices, s->nnz, alloc, out,
                              err);
}

/* `batch` matrices of rows x depth with a gap between rows and between matrices. */
typedef struct stack {
    kit_guard memory;
    ptrdiff_t ld, step;
} stack;

static inline stack
stack_new(size_t batch, size_t rows, size_t depth, size_t gap, uint64_t *state)
{
    stack s = {
        {NULL, NULL, 0, 0}, (ptrdiff_t)(depth + gap), (ptrdiff_t)(rows * (depth + gap) + gap)};
    const size_t whole = (batch - 1) * (size_t)s.step;
    const bool any = rows > 0 && depth > 0;
    const size_t floats = any ? whole + (rows - 1) * (depth + gap) + depth : 0;
    s.memory = kit_guard_new(floats, sizeof(float));
    for (size_t i = 0; i < floats; i++) {
        ((float *)s.memory.data)[i] = kit_float(state);
    }
    return s;
}

#endif
