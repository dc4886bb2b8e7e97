/* Trees: masks against walking up, paths, verification against every path, refusals. */
#include "kernelkit.h"

#include "dns/treemask.h"

typedef struct built {
    size_t n, words, leaves, longest;
    int64_t *parent;
    uint64_t *bits;
    int32_t *depth, *paths, *scratch;
    uint8_t *has_child, *accepted;
} built;

static void *
some(size_t n, size_t size)
{
    void *p = calloc(n + 1, size);
    if (p == NULL) {
        abort();
    }
    return p;
}

/* A random tree; `roots` of 100 nodes are roots, parents at most `reach` nodes back. */
static built
build(size_t n, uint64_t roots, uint64_t reach, uint64_t *state)
{
    built b = {.n = n, .words = dns_tree_words(n)};
    b.parent = some(n, sizeof *b.parent);
    b.bits = some(n * b.words, sizeof *b.bits);
    b.depth = some(n, sizeof *b.depth);
    b.has_child = some(n, 1);
    b.accepted = some(n, 1);
    b.scratch = some(n, sizeof *b.scratch);
    for (size_t i = 0; i < n; i++) {
        const uint64_t back = 1 + kit_random(state) % (reach < i ? reach : i + (i == 0));
        b.parent[i] = i == 0 || kit_random(state) % 100 < roots ? -1 : (int64_t)(i - back);
    }
    dns_error err;
    CHECK(dns_tree_check(b.parent, n, &err) == DNS_OK);
    dns_tree_build(b.parent, n, b.bits, b.depth);
    dns_tree_extent(b.parent, b.depth, n, b.has_child, &b.leaves, &b.longest);
    b.paths = some(b.leaves * b.longest, sizeof *b.paths);
    dns_tree_paths(b.parent, b.depth, b.has_child, n, b.longest, b.paths);
    return b;
}

static void
built_free(built *b)
{
    free(b->parent);
    free(b->bits);
    free(b->depth);
    free(b->paths);
    free(b->scratch);
    free(b->has_child);
    free(b->accepted);
}

static bool
sees(const built *b, size_t i, size_t j)
{
    int64_t k = (int64_t)i;
    while (k > (int64_t)j) {
        k = b->parent[k];
    }
    return k == (int64_t)j;
}

static void
check_masks(const built *b, size_t prefix, dns_isa isa)
{
    const size_t width = prefix + b->n;
    const kit_guard bools = kit_guard_new(b->n * width, 1);
    const kit_guard adds = kit_guard_new(b->n * width, sizeof(float));
    dns_tree_mask_bool(b->bits, b->n, prefix, isa, bools.data);
    dns_tree_mask_add(b->bits, b->n, prefix, isa, adds.data);
    size_t wrong = 0;
    for (size_t i = 0; i < b->n; i++) {
        for (size_t j = 0; j < width; j++) {
            const bool on = j < prefix || sees(b, i, j - prefix);
            const float add = ((float *)adds.data)[i * width + j];
            wrong += ((uint8_t *)bools.data)[i * width + j] != on;
            wrong += on ? add != 0.0F : !(add < -1e38F);
        }
    }
    CHECK_I64(wrong, 0);
    kit_guard_free(adds);
    kit_guard_free(bools);
}

static void
test_masks(void)
{
    uint64_t state = 1;
    KIT_FOR_EACH_LEVEL(isa)
    {
        for (size_t n = 0; n <= 70; n++) {
            built b = build(n, 10, 5, &state);
            check_masks(&b, n % 5, isa);
            built_free(&b);
        }
        built b = build(201, 0, 200, &state);
        check_masks(&b, 33, isa);
        built_free(&b);
    }
    kit_say_skipped();
}

static void
test_paths_and_depths(void)
{
    uint64_t state = 2;
    for (size_t n = 1; n <= 130; n += 3) {
        built b = build(n, 8, 9, &state);
        size_t row = 0;
        for (size_t i = 0; i < n; i++) {
            bool leaf = true;
            for (size_t k = i + 1; k < n; k++) {
                leaf = leaf && b.parent[k] != (int64_t)i;
            }
            CHECK_I64(b.depth[i], b.parent[i] < 0 ? 0 : b.depth[b.parent[i]] + 1);
            if (!leaf) {
                continue;
            }
            const int32_t *path = b.paths + row++ * b.longest;
            int64_t before = -1;
            for (size_t k = 0; k < b.longest; k++) {
                CHECK(k <= (size_t)b.depth[i] ? path[k] >= 0 && b.parent[path[k]] == before
                                              : path[k] == -1);
                before = path[k];
            }
            CHECK_I64(path[b.depth[i]], i);
        }
        CHECK_I64(row, b.leaves);
        built_free(&b);
    }
}

/* The first of the rows of paths with the longest accepted beginning. */
static void
test_verify(void)
{
    uint64_t state = 3;
    for (size_t n = 1; n <= 90; n++) {
        built b = build(n, 12, 6, &state);
        int32_t *path = some(b.longest, sizeof *path);
        for (int round = 0; round < 6; round++) {
            for (size_t i = 0; i < n; i++) {
                b.accepted[i] = kit_random(&state) % 6 >= (uint64_t)round;
            }
            size_t best = 0;
            size_t row = 0;
            for (size_t r = 0; r < b.leaves; r++) {
                size_t k = 0;
                while (k < b.longest && b.paths[r * b.longest + k] >= 0 &&
                       b.accepted[b.paths[r * b.longest + k]]) {
                    k++;
                }
                if (k > best) {
                    best = k;
                    row = r;
                }
            }
            CHECK_I64(dns_tree_verify(b.parent, b.depth, n, b.accepted, b.scratch, path), best);
            CHECK(memcmp(path, b.paths + row * b.longest, best * sizeof *path) == 0);
        }
        free(path);
        built_free(&b);
    }
}

static void
test_refusals(void)
{
    const int64_t own[3] = {-1, 1, 0};
    const int64_t later[3] = {-1, 0, 7};
    const int64_t low[3] = {-2, 0, 0};
    dns_error err;
    CHECK(dns_tree_check(own, 3, &err) == DNS_ERR_FORMAT);
    CHECK_I64(err.index, 1);
    CHECK(dns_tree_check(later, 3, &err) == DNS_ERR_FORMAT);
    CHECK_I64(err.index, 2);
    CHECK(dns_tree_check(low, 3, &err) == DNS_ERR_FORMAT);
    CHECK_I64(err.index, 0);
    CHECK(dns_tree_check(own, DNS_TREE_MAX + 1, &err) == DNS_ERR_VALUE);
}

TAP_MAIN(TAP(test_masks), TAP(test_paths_and_depths), TAP(test_verify), TAP(test_refusals))
