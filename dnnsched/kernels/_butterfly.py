"""Plans of butterfly-factored matrices."""

import numpy as np

from dnnsched._arrays import check_int
from dnnsched._native import _kernels
from dnnsched.kernels import _common
from dnnsched.kernels._plan import MatPlan

MAX_LEVELS = 24


class _ButterflyPlan(MatPlan):
    def _source(self):
        """The twiddles: a dense matrix does not tell them."""
        stacks, blocks, levels = self._options["shape"]
        twiddle = np.empty((stacks, blocks, levels, 1 << levels >> 1, 2, 2), np.float32)
        _kernels.butterfly_unpack(self._plan, twiddle)
        return twiddle

    def __reduce__(self):
        """Pickle by twiddles and options."""
        options = {key: value for key, value in self._options.items() if key != "shape"}
        return _remake, (self._source(), options)


def _remake(twiddle, options):
    return butterfly(twiddle, **options)


def _check_shape(shape, in_features, out_features):
    """ValueError unless twiddles of this shape make a matrix (out_features, in_features)."""
    levels = max(1, (in_features - 1).bit_length())
    n = 1 << levels
    stacks = max(1, -(-out_features // n))
    if levels > MAX_LEVELS:
        raise ValueError(f"in_features: expected at most 2^{MAX_LEVELS}, got {in_features}")
    if len(shape) != 6 or shape[1] < 1 or shape != (stacks, shape[1], levels, n // 2, 2, 2):
        raise ValueError(f"twiddle: expected shape ({stacks}, nblock, {levels}, {n // 2}, 2, 2) for {in_features} "
                         f"inputs and {out_features} outputs, got {shape}")


def butterfly(twiddle, in_features, out_features, increasing=True, *, bias=None, act=None, isa=None):
    """Pack a butterfly-factored matrix: a product of log2(n) sparse levels per block, n log n instead of n^2 work.

    The level of stride s combines elements i and i + s of every segment of 2s by its own 2x2 block,
    ``y[i] = a x[i] + b x[i+s]``, ``y[i+s] = c x[i] + d x[i+s]``.

    Parameters
    ----------
    twiddle : array_like of float, shape (nstack, nblock, log2 n, n/2, 2, 2)
        ``[[a, b], [c, d]]``. n is the least power of two >= `in_features` (at least 2),
        nstack = ceil(out_features / n).
        Index 2 is the level of stride ``2^index``, whatever the order of application; pair q of a level belongs to
        segment ``q // s``, offset ``q % s``.
    in_features : int
        K; inputs are padded with zeros to n. 1 to 2^24.
    out_features : int
        M; the first M of the nstack n outputs are kept.
    increasing : bool
        Whether the first block applies strides 1, 2, ..., n/2, or n/2, ..., 1; further blocks alternate.
    bias : array_like of float, shape (M,), optional
    act : None, "relu" or (lo, hi)
        Clamp applied to the result; NaN stays NaN.
    isa : str, optional
        Instruction-set level; default the one in use.

    Returns
    -------
    MatPlan
        Of format ``"butterfly"`` and shape (M, K); `nnz` counts twiddles. :meth:`MatPlan.cost` counts 6 operations per
        pair and level.

    Raises
    ------
    TypeError
        Twiddles are not floating point, or a number of features is no integer.
    ValueError
        Shapes do not agree.

    Notes
    -----
    Levels round one after another in fp32, so results depend neither on `threads` nor on the number of columns; with
    P = nblock log2(n) levels, ``|W|`` the product of the levels' absolute values and ``u = 2^-24``,
    ``|y - exact| <= 1.01 (2 P + 1) u (|W| |x| + |b|)``. Padded columns multiply zeros: an infinite twiddle makes NaN.
    Butterfly factorisation after Dao et al., ICML 2019, arXiv 1903.05895; FABNet (Fan et al., MICRO
    2022) is made of it.

    Examples
    --------
    >>> import numpy as np
    >>> hadamard = np.broadcast_to(np.array([[1, 1], [1, -1]], np.float32), (1, 1, 2, 2, 2, 2))
    >>> butterfly(hadamard, 4, 4) @ np.array([1, 2, 3, 4], np.float32)
    array([10., -2., -4.,  0.], dtype=float32)
    """
    in_features = check_int(in_features, "in_features", 1)
    out_features = check_int(out_features, "out_features", 0)
    twiddle = np.ascontiguousarray(_common.floats(twiddle, "twiddle"))
    _check_shape(twiddle.shape, in_features, out_features)
    bias = _common.bias_of(bias, out_features)
    lo, hi = _common.act_range(act)
    plan = _kernels.butterfly_plan(twiddle, out_features, in_features, bool(increasing), bias, lo, hi,
                                   _common.level(isa))
    return _ButterflyPlan(plan, {"in_features": in_features, "out_features": out_features,
                                 "increasing": bool(increasing), "bias": bias, "act": act, "isa": isa,
                                 "shape": twiddle.shape[:3]})
