"""Tree masks beside a builder of Python lists, the way public speculative decoding code does it.

The peer makes the same buffers from paths of ranks: it looks each node's ancestors up with ``list.index``, fills a
mask, positions and padded retrieval rows.
"""

import numpy as np

from dnnsched import kernels

from . import board


def nodes(n, seed=0):
    """A random tree as (parents, path of ranks of each node), children in order of rank."""
    rng = np.random.default_rng(seed)
    parent, paths, children = [-1], [(0,)], [0]
    while len(parent) < n:
        p = int(rng.integers(max(0, len(parent) - 20), len(parent)))
        parent.append(p)
        paths.append((*paths[p], children[p]))
        children[p] += 1
        children.append(0)
    return np.array(parent, np.int64), paths


def of_lists(paths):
    """(mask, positions, retrieval rows) by scanning lists."""
    n = len(paths)
    mask = np.zeros((n, n), bool)
    for i, path in enumerate(paths):
        for k in range(1, len(path) + 1):
            mask[i, paths.index(path[:k])] = True
    positions = [len(path) - 1 for path in paths]
    retrieve, covered = [], []
    for path in sorted(paths, key=len, reverse=True):
        if path in covered:
            continue
        row = [paths.index(path[:k]) for k in range(1, len(path) + 1)]
        covered.extend(path[:k] for k in range(1, len(path) + 1))
        retrieve.append(row)
    longest = max(map(len, retrieve))
    return mask, np.array(positions), np.array([row + [-1] * (longest - len(row)) for row in retrieve])


def rows(isa):
    """The scoreboard's rows."""
    level = None if isa == kernels.machine().isa else isa
    for n in (64, 512):
        parent, paths = nodes(n)
        mask = of_lists(paths)[0]
        if not np.array_equal(kernels.tree(parent).mask(), mask):
            raise AssertionError("the peer's mask differs")
        yield board.Row(f"tree and mask, {n} nodes", lambda p=parent: kernels.tree(p).mask(isa=level),
                        lambda p=paths: of_lists(p), "Python lists", gate=50.0 if n == 64 else None)
    parent, _ = nodes(64)
    tree, accepted = kernels.tree(parent), np.random.default_rng(1).random(64) < 0.7
    yield board.Row("verify, 64 nodes", lambda: tree.verify(accepted))
