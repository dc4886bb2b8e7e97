/* Trees of guessed tokens: every node reads its parent's results, which are ready because parents
 * come first. Building takes n^2 / 64 words, the rest is linear. */
#include "kernels/treemask_internal.h"

#include <string.h>

DNS_OPS_SELECT(dns_treemask_ops)

dns_status
dns_tree_check(const int64_t *parent, size_t n, dns_error *err)
{
    DNS_REQUIRE(n <= DNS_TREE_MAX, err, DNS_ERR_VALUE, -1,
                "parent: expected at most 2^20 nodes, got %zu", n);
    for (size_t i = 0; i < n; i++) {
        DNS_REQUIRE(parent[i] >= -1 && parent[i] < (int64_t)i, err, DNS_ERR_FORMAT, i,
                    "parent: expected -1 or an earlier node at node %zu, got %lld", i,
                    (long long)parent[i]);
    }
    return DNS_OK;
}

void
dns_tree_build(const int64_t *parent, size_t n, uint64_t *bits, int32_t *depth)
{
    const size_t words = dns_tree_words(n);
    for (size_t i = 0; i < n; i++) {
        uint64_t *row = bits + i * words;
        if (parent[i] < 0) {
            memset(row, 0, words * sizeof *row);
            depth[i] = 0;
        }
        else {
            memcpy(row, bits + (size_t)parent[i] * words, words * sizeof *row);
            depth[i] = depth[parent[i]] + 1;
        }
        row[i / 64] |= (uint64_t)1 << i % 64;
    }
}

void
dns_tree_extent(const int64_t *parent, const int32_t *depth, size_t n, uint8_t *has_child,
                size_t *leaves, size_t *longest)
{
    size_t inner = 0;
    int32_t deepest = -1;
    memset(has_child, 0, n);
    for (size_t i = 0; i < n; i++) {
        if (parent[i] >= 0) {
            inner += has_child[parent[i]] == 0;
            has_child[parent[i]] = 1;
        }
        deepest = depth[i] > deepest ? depth[i] : deepest;
    }
    *leaves = n - inner;
    *longest = (size_t)deepest + 1;
}

/* Writes the path that ends at `node`, from its root on. */
static void
walk(const int64_t *parent, const int32_t *depth, int64_t node, int32_t *path)
{
    for (; node >= 0; node = parent[node]) {
        path[depth[node]] = (int32_t)node;
    }
}

void
dns_tree_paths(const int64_t *parent, const int32_t *depth, const uint8_t *has_child, size_t n,
               size_t longest, int32_t *paths)
{
    for (size_t i = 0; i < n; i++) {
        if (has_child[i]) {
            continue;
        }
        for (size_t k = (size_t)depth[i] + 1; k < longest; k++) {
            paths[k] = -1;
        }
        walk(parent, depth, (int64_t)i, paths);
        paths += longest;
    }
}

void
dns_tree_mask_bool(const uint64_t *bits, size_t n, size_t prefix, dns_isa isa, uint8_t *mask)
{
    const dns_treemask_ops *ops = dns_treemask_ops_select(isa);
    for (size_t i = 0; i < n; i++, mask += prefix + n) {
        memset(mask, 1, prefix);
        ops->bytes(bits + i * dns_tree_words(n), n, mask + prefix);
    }
}

void
dns_tree_mask_add(const uint64_t *bits, size_t n, size_t prefix, dns_isa isa, float *mask)
{
    const dns_treemask_ops *ops = dns_treemask_ops_select(isa);
    for (size_t i = 0; i < n; i++, mask += prefix + n) {
        memset(mask, 0, prefix * sizeof *mask);
        ops->floats(bits + i * dns_tree_words(n), n, mask + prefix);
    }
}

size_t
dns_tree_verify(const int64_t *parent, const int32_t *depth, size_t n, const uint8_t *accepted,
                int32_t *first_leaf, int32_t *path)
{
    memset(first_leaf, 0x7f, n * sizeof *first_leaf);
    for (size_t i = n; i-- > 0;) {
        if (first_leaf[i] == 0x7f7f7f7f) {
            first_leaf[i] = (int32_t)i;
        }
        if (parent[i] >= 0 && first_leaf[i] < first_leaf[parent[i]]) {
            first_leaf[parent[i]] = first_leaf[i];
        }
    }
    /* From here on -1 - leaf marks a node whose path is not accepted to its end. */
    int64_t best = -1;
    for (size_t i = 0; i < n; i++) {
        if (!accepted[i] || (parent[i] >= 0 && first_leaf[parent[i]] < 0)) {
            first_leaf[i] = -1 - first_leaf[i];
        }
        else if (best < 0 || depth[i] > depth[best] ||
                 (depth[i] == depth[best] && first_leaf[i] < first_leaf[best])) {
            best = (int64_t)i;
        }
    }
    if (best < 0) {
        return 0;
    }
    walk(parent, depth, best, path);
    return (size_t)depth[best] + 1;
}
