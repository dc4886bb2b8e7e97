/* Trees of any parents: refused with the first bad node, or built with paths that lead up by
 * parents and a verification that is one of them. */
#include "dns/treemask.h"
#include "fuzzkit.h"

enum { MAX_NODES = 300 };

static void
solve(const int64_t *parent, size_t n, const uint8_t *accepted)
{
    uint64_t *bits = fuzz_new(n * dns_tree_words(n), sizeof *bits);
    int32_t *depth = fuzz_new(n, sizeof *depth);
    int32_t *scratch = fuzz_new(n, sizeof *scratch);
    uint8_t *has_child = fuzz_new(n, 1);
    size_t leaves = 0;
    size_t longest = 0;
    dns_tree_build(parent, n, bits, depth);
    dns_tree_extent(parent, depth, n, has_child, &leaves, &longest);
    int32_t *paths = fuzz_new(leaves * longest, sizeof *paths);
    int32_t *path = fuzz_new(longest, sizeof *path);
    uint8_t *mask = fuzz_new(n * n, 1);
    dns_tree_paths(parent, depth, has_child, n, longest, paths);
    for (size_t r = 0; r < leaves; r++) {
        require(parent[paths[r * longest]] == -1);
    }
    dns_tree_mask_bool(bits, n, 0, dns_isa_detect(), mask);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            const int above = parent[i] >= 0 && mask[(size_t)parent[i] * n + j];
            require(mask[i * n + j] == (i == j || above));
        }
    }
    const size_t length = dns_tree_verify(parent, depth, n, accepted, scratch, path);
    require(length <= longest);
    for (size_t k = 0; k < length; k++) {
        require(accepted[path[k]] && parent[path[k]] == (k == 0 ? -1 : (int64_t)path[k - 1]));
    }
    free(mask);
    free(path);
    free(paths);
    free(has_child);
    free(scratch);
    free(depth);
    free(bits);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_in in = {data, size};
    int64_t parent[MAX_NODES];
    uint8_t accepted[MAX_NODES];
    const size_t n = (size_t)fuzz_int(&in, 0, MAX_NODES);
    const int64_t wild = fuzz_int(&in, 0, 255);
    for (size_t i = 0; i < n; i++) {
        parent[i] = fuzz_int(&in, -1, (int64_t)i - 1);
        accepted[i] = fuzz_int(&in, 0, 7) != 0;
    }
    if (wild > 240 && n > 0) {
        parent[fuzz_int(&in, 0, (int64_t)n - 1)] = (int64_t)fuzz_bytes(&in, 8);
    }
    dns_error err;
    const dns_status status = dns_tree_check(parent, n, &err);
    if (fuzz_taken(status, &err)) {
        solve(parent, n, accepted);
    }
    else {
        require(status == DNS_ERR_FORMAT && (size_t)err.index < n);
    }
    return 0;
}
