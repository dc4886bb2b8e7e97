/* Trees of guessed tokens: who may attend to whom, and which path was right.
 *
 * A tree of n nodes is parent[i] in {-1} or [0, i): a root, or a child of an earlier node. Several
 * roots are legal. Node i sees itself and its ancestors,
 *
 *     sees(i) = sees(parent[i]) | {i},
 *
 * kept as rows of dns_tree_words(n) 64-bit words, node j being bit j % 64 of word j / 64. A root
 * has depth 0; depths are position numbers behind the prefix. Everything is exact and the same on
 * every level.
 */
#ifndef DNS_TREEMASK_H
#define DNS_TREEMASK_H

#include <stddef.h>
#include <stdint.h>

#include "dns/cpu.h"
#include "dns/status.h"

#define DNS_TREE_MAX ((size_t)1 << 20)

static inline size_t
dns_tree_words(size_t n)
{
    return (n + 63) / 64;
}

/* Fails with DNS_ERR_VALUE when there are more than DNS_TREE_MAX nodes, and with DNS_ERR_FORMAT,
 * naming the first bad node (index), when a parent is not what the head of this file says. */
DNS_NODISCARD dns_status dns_tree_check(const int64_t *parent, size_t n, dns_error *err);

/* Rows of sight bits [n][words] and depths [n] of a checked tree. */
void dns_tree_build(const int64_t *parent, size_t n, uint64_t *bits, int32_t *depth);

/* Number of leaves of a checked tree and nodes of its longest path; has_child [n] is scratch and
 * tells the leaves afterwards. */
void dns_tree_extent(const int64_t *parent, const int32_t *depth, size_t n, uint8_t *has_child,
                     size_t *leaves, size_t *longest);

/* Root-to-leaf paths [leaves][longest], leaves in ascending order, -1 behind the end; arguments as
 * dns_tree_extent left them. */
void dns_tree_paths(const int64_t *parent, const int32_t *depth, const uint8_t *has_child, size_t n,
                    size_t longest, int32_t *paths);

/* What the nodes see of [prefix | nodes], all of the prefix: [n][prefix + n] of 1 and 0, or of the
 * additive 0 and -inf. */
void dns_tree_mask_bool(const uint64_t *bits, size_t n, size_t prefix, dns_isa isa, uint8_t *mask);
void dns_tree_mask_add(const uint64_t *bits, size_t n, size_t prefix, dns_isa isa, float *mask);

/* The longest path from a root on whose nodes are all accepted (accepted[i] != 0): writes its nodes
 * to path [longest] and returns their number. Of several the one whose leaf is lowest: the first
 * row of dns_tree_paths. first_leaf [n] is scratch. */
size_t dns_tree_verify(const int64_t *parent, const int32_t *depth, size_t n,
                       const uint8_t *accepted, int32_t *first_leaf, int32_t *path);

#endif
