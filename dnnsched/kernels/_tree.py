"""Trees of guessed tokens: attention masks, positions, paths, verification."""

import numpy as np

from dnnsched._native import _kernels
from dnnsched.kernels import _common


class Tree:
    """A tree of guessed tokens, made by :func:`tree`; immutable.

    Attributes
    ----------
    parent : ndarray of int64, shape (T,)
    bits : ndarray of uint64, shape (T, ceil(T / 64))
        Bit ``j % 64`` of word ``j // 64`` of row i is set where node i sees node j: itself or an ancestor.
    depth : ndarray of int32, shape (T,)
        0 for roots: a node's position behind the prefix.
    leaf_paths : ndarray of int32, shape (leaves, longest)
        Nodes from the root to each leaf, leaves in ascending order, -1 behind the end.
    """

    __slots__ = ("bits", "depth", "leaf_paths", "parent")

    def __init__(self, parent, bits, depth, leaf_paths):
        for name, value in (("parent", parent), ("bits", bits), ("depth", depth), ("leaf_paths", leaf_paths)):
            value.flags.writeable = False
            object.__setattr__(self, name, value)

    def __setattr__(self, name, value):
        """Refuse: trees are immutable."""
        raise AttributeError(f"{name}: a tree is immutable")

    def __reduce__(self):
        """Pickle by parents."""
        return tree, (self.parent,)

    def __len__(self):
        """Return the number of nodes."""
        return len(self.parent)

    def mask(self, prefix=0, *, additive=False, isa=None):
        """What the nodes see of the prefix and of each other.

        Parameters
        ----------
        prefix : int
            P >= 0 earlier tokens, which every node sees.
        additive : bool
            float32 with 0 where a node sees and -inf elsewhere, to be added to scores; else bool.
        isa : str, optional
            Instruction-set level; all give the same.

        Returns
        -------
        ndarray of bool or float32, shape (T, P + T)
        """
        return _kernels.tree_mask(self.bits, prefix, additive, -1 if isa is None else _common.level(isa))

    def verify(self, accepted):
        """Longest path from a root on whose nodes are all accepted.

        Parameters
        ----------
        accepted : array_like of bool, shape (T,)
            Whether the model agrees with each node's token given its ancestors.

        Returns
        -------
        ndarray of int32
            The path's nodes from the root on; empty if no root is accepted. Of several longest ones that of the lowest
            leaf, the first row of `leaf_paths`.

        Raises
        ------
        TypeError
            `accepted` is not bool.
        ValueError
            Its shape is wrong.
        """
        accepted = np.ascontiguousarray(accepted)
        return _kernels.tree_verify(self.parent, self.depth, accepted, self.leaf_paths.shape[1])


def tree(parent):
    """Attention pattern of a tree of guessed tokens, as tree-shaped speculative decoding needs it.

    Parameters
    ----------
    parent : array_like of int, shape (T,)
        Parent of each node: -1 for a root, else an earlier node. At most 2^20 nodes.

    Returns
    -------
    Tree

    Raises
    ------
    TypeError
        `parent` holds no integers.
    FormatError
        A parent is not -1 or an earlier node (so there can be no cycle); the message names the first bad node.
    ValueError
        There are too many nodes, or dimensions.

    Notes
    -----
    A node sees itself and what its parent sees, so building costs T^2 / 64 words. The same buffers as those of Medusa
    (Cai et al., 2024), whose builder makes them of Python lists.

    Examples
    --------
    >>> t = tree([-1, 0, 0, 1])
    >>> t.depth, t.leaf_paths.tolist()
    (array([0, 1, 1, 2], dtype=int32), [[0, 2, -1], [0, 1, 3]])
    >>> t.mask(1).astype(int)
    array([[1, 1, 0, 0, 0],
           [1, 1, 1, 0, 0],
           [1, 1, 0, 1, 0],
           [1, 1, 1, 0, 1]])
    >>> t.verify([True, True, True, False])
    array([0, 2], dtype=int32)
    """
    given = np.asarray(parent)
    if given.dtype.kind not in "iu" and given.size:
        raise TypeError(f"parent: expected integers, got dtype {given.dtype}")
    parent = np.array(given, np.int64)
    return Tree(parent, *_kernels.tree_build(parent))
