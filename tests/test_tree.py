"""Trees of guessed tokens from Python: a twin made of lists, rules, errors."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnsched import kernels
from dnnsched.config import runnable_isa_levels
from dnnsched.errors import FormatError

LEVELS = runnable_isa_levels()


@st.composite
def forests(draw):
    """Parents of up to 150 nodes."""
    n = draw(st.integers(0, 150))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return np.array([rng.integers(-1, i) if i else -1 for i in range(n)], np.int64)


def path_to(parent, node):
    """Nodes from the root on."""
    path = [int(node)]
    while parent[path[-1]] >= 0:
        path.append(int(parent[path[-1]]))
    return path[::-1]


@settings(max_examples=40, deadline=None)
@given(parent=forests(), prefix=st.integers(0, 40), seed=st.integers(0, 2**32), isa=st.sampled_from(LEVELS))
def test_twin(parent, prefix, seed, isa):
    n = len(parent)
    tree = kernels.tree(parent)
    paths = [path_to(parent, i) for i in range(n)]
    want = np.zeros((n, prefix + n), bool)
    want[:, :prefix] = True
    for i, path in enumerate(paths):
        want[i, [prefix + j for j in path]] = True
    np.testing.assert_array_equal(tree.mask(prefix, isa=isa), want)
    np.testing.assert_array_equal(tree.mask(prefix, additive=True, isa=isa), np.where(want, np.float32(0), -np.inf))
    np.testing.assert_array_equal(kernels.unpack_mask(tree.bits, n), want[:, prefix:])
    np.testing.assert_array_equal(tree.depth, [len(p) - 1 for p in paths])
    leaves = [p for i, p in enumerate(paths) if i not in set(parent.tolist())]
    longest = max(map(len, paths), default=0)
    assert tree.leaf_paths.tolist() == [p + [-1] * (longest - len(p)) for p in leaves]
    accepted = np.random.default_rng(seed).random(n) < 0.8
    prefixes = [p[: next((k for k, node in enumerate(p) if not accepted[node]), len(p))] for p in leaves]
    assert tree.verify(accepted).tolist() == max(prefixes, key=len, default=[])


def test_tree_is_immutable_and_pickles():
    parent = np.array([-1, 0, 1])
    tree = kernels.tree(parent)
    parent[2] = 0
    assert len(tree) == 3
    assert tree.depth.tolist() == [0, 1, 2]
    with pytest.raises(AttributeError, match="depth: a tree is immutable"):
        tree.depth = None
    with pytest.raises(ValueError, match="read-only"):
        tree.bits[0] = 1
    assert pickle.loads(pickle.dumps(tree)).leaf_paths.tolist() == [[0, 1, 2]]


def test_ties_go_to_the_lowest_leaf():
    tree = kernels.tree([-1, -1, 1, 0])  # the leaves are 2 (below 1) and 3 (below 0)
    assert tree.verify(np.array([True, True, False, False])).tolist() == [1]
    assert tree.verify([True, True, False, True]).tolist() == [0, 3]
    assert tree.verify([False, False, True, True]).tolist() == []


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: kernels.tree([-1, 1]), FormatError, "parent: expected -1 or an earlier node at node 1, got 1"),
    (lambda: kernels.tree([-2]), FormatError, "parent: expected -1 or an earlier node at node 0, got -2"),
    (lambda: kernels.tree([-1, 2**40]), FormatError, "at node 1, got 1099511627776"),
    (lambda: kernels.tree([-1.0]), TypeError, "parent: expected integers, got dtype float64"),
    (lambda: kernels.tree([[-1]]), ValueError, "parent: expected 1 dimension"),
    (lambda: kernels.tree(np.full(2**20 + 1, -1)), ValueError, "parent: expected at most 2.20 nodes"),
    (lambda: kernels.tree([-1]).mask(-1), ValueError, "prefix: expected an integer from 0"),
    (lambda: kernels.tree([-1]).mask(1.0), TypeError, "int"),
    (lambda: kernels.tree([-1]).verify([1]), TypeError, "accepted: expected"),
    (lambda: kernels.tree([-1]).verify([True, True]), ValueError, "accepted: expected"),
])
def test_bad_calls_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
