"""Weight masks of the usual pruning patterns."""

import math

import numpy as np

from dnnsched._arrays import check_int

PATTERNS = ("unstructured", "block", "nm", "channel")


def _keep_largest(score, k):
    """Bool array with the k largest scores set; equal scores are taken in index order."""
    flat = score.reshape(-1)
    keep = np.zeros(flat.size, bool)
    if k > 0:
        limit = np.partition(flat, flat.size - k)[flat.size - k]
        keep = flat > limit
        keep[np.flatnonzero(flat == limit)[: k - np.count_nonzero(keep)]] = True
    return keep.reshape(score.shape)


def _portion(fraction, n):
    """``fraction * n`` rounded half up."""
    return math.floor(fraction * n + 0.5)


def _extents(block):
    """(r, c) of a `block` argument."""
    pair = block if isinstance(block, tuple) else (1, block)
    if len(pair) != 2:
        raise ValueError(f"block: expected c or (r, c), got {block!r}")
    return tuple(check_int(v, "block", 1) for v in pair)


def _means(values, size, axis):
    """Means of `size` neighbours along an axis; the last group may be short."""
    starts = np.arange(0, values.shape[axis], size)
    lengths = np.minimum(values.shape[axis] - starts, size)
    shape = [1] * values.ndim
    shape[axis] = starts.size
    return np.add.reduceat(values, starts, axis=axis) / lengths.reshape(shape)


def prune(W, density, pattern="unstructured", *, block=4, m=4, rng=None):
    """Make a weight mask of a given density.

    Parameters
    ----------
    W : array_like, shape (M, C, ...)
        Weights; output channels are axis 0, input channels axis 1. Their magnitudes decide what stays.
    density : float
        Fraction of weights kept, in [0, 1]; the number kept is rounded half up.
    pattern : {"unstructured", "block", "nm", "channel"}
        ``"unstructured"``: single weights. ``"block"``: groups of `block` consecutive input channels at
        one kernel offset of one filter share a decision (the ``block4`` of public pruning recipes); with
        ``block=(r, c)`` groups of r output by c input channels do (the blocks of :func:`bsr`).
        ``"nm"``: of every `m` consecutive input channels exactly ``n = density * m`` stay (2:4 is
        ``density=0.5, m=4``). ``"channel"``: whole output filters.
    block : int or (int, int)
        Channels of a block; c is (1, c). Last blocks that are cut short are legal.
    m : int
        Channels of an N:M group, a divisor of their number.
    rng : int, Generator or BitGenerator, optional
        Draw what stays at random instead (exact counts all the same).

    Returns
    -------
    ndarray of bool
        Of W's shape, True where a weight stays.

    Raises
    ------
    ValueError
        A parameter is out of range, W holds NaN, or ``density * m`` is no integer for ``"nm"``.

    Notes
    -----
    Blocks and filters are ranked by their mean magnitude; ties keep the lower index. Random masks
    rank by words of the bit generator, one per weight, block or filter in index order.
    """
    W = np.asarray(W)
    if W.ndim < 2 or W.dtype.kind not in "fiub":
        raise ValueError(f"W: expected real weights of shape (M, C, ...), got {W.dtype} of shape {W.shape}")
    if pattern not in PATTERNS:
        raise ValueError(f"pattern: expected one of {', '.join(PATTERNS)}, got {pattern!r}")
    if not 0 <= density <= 1:
        raise ValueError(f"density: expected a number in [0, 1], got {density}")
    across, along = _extents(block) if pattern == "block" else (1, 1)
    if pattern == "nm":
        check_int(m, "m", 1)
    magnitude = np.abs(W.astype(np.float64))
    if np.isnan(magnitude).any():
        raise ValueError("W: expected no NaN")

    def score(values):
        if rng is None:
            return values
        words = np.random.default_rng(rng).bit_generator.random_raw(values.size)
        return np.asarray(words, np.uint64).reshape(values.shape)

    if pattern == "unstructured":
        return _keep_largest(score(magnitude), _portion(density, W.size))
    if pattern == "channel":
        filters = score(magnitude.reshape(W.shape[0], -1).mean(axis=1)) if W.size else np.zeros(W.shape[0])
        keep = _keep_largest(filters, _portion(density, W.shape[0]))
        return np.broadcast_to(keep.reshape(-1, *[1] * (W.ndim - 1)), W.shape).copy()
    if pattern == "block":
        if W.size == 0:
            return np.zeros(W.shape, bool)
        means = _means(_means(magnitude, across, 0), along, 1)
        keep = _keep_largest(score(means), _portion(density, means.size))
        return np.repeat(np.repeat(keep, across, axis=0), along, axis=1)[: W.shape[0], : W.shape[1]]
    n = density * m
    if abs(n - round(n)) > 1e-9 or W.shape[1] % m:
        raise ValueError(f"density, m: expected density * m integer and C a multiple of m, got {density} * {m} and "
                         f"C = {W.shape[1]}")
    groups = np.moveaxis(score(magnitude), 1, -1)
    groups = groups.reshape(*groups.shape[:-1], W.shape[1] // m, m)
    order = np.argsort(-groups if rng is None else ~groups, axis=-1, kind="stable")
    keep = np.zeros(groups.shape, bool)
    np.put_along_axis(keep, order[..., : round(n)], True, axis=-1)
    return np.ascontiguousarray(np.moveaxis(keep.reshape(*keep.shape[:-2], W.shape[1]), -1, 1))
