"""Plans of N:M sparsity."""


from dnnsched._arrays import check_int
from dnnsched._native import _kernels
from dnnsched.kernels import _common
from dnnsched.kernels._plan import MatPlan


class _NmPlan(MatPlan):
    pass


def nm(W, n=2, m=4, *, bias=None, act=None, isa=None):
    """Pack a matrix of which every `m` consecutive weights of a row hold at most `n` non-zeros.

    Parameters
    ----------
    W : array_like of float or scipy.sparse matrix, shape (M, K)
        Groups begin at multiples of `m`; the last one may be short. NaN is a non-zero, -0.0 is none.
        :func:`prune` makes such masks: ``prune(W, n / m, "nm", m=m)``.
    n, m : int
        ``1 <= n <= m <= 64``.
    bias : array_like of float, shape (M,), optional
    act : None, "relu" or (lo, hi)
        Clamp applied to the result; NaN stays NaN.
    isa : str, optional
        Instruction-set level; default the one in use.

    Returns
    -------
    MatPlan
        Of format ``"nm"``; ``nnz`` counts `n` weights of every group (all of a last group with fewer columns).

    Raises
    ------
    TypeError
        Weights are not floating point.
    FormatError
        A group holds more than `n` non-zeros; the message names the row and the group's first column.
    ValueError
        `n`, `m` or a shape is out of range.

    Notes
    -----
    A group with fewer non-zeros stores zeros at its lowest free columns; stored zeros are multiplied (with infinity or
    NaN in ``X`` they give NaN), absent weights are not. For N > 1 columns an output is summed from the bias on in
    ascending column order with one fp32 accumulator: the bytes of :func:`csr` with the same stored weights. For one
    column there are as many partial sums as vector lanes (16 for AVX-512, 8 for AVX2, else 4), which are added by
    halves, and the bias last; where `m` divides 4 the plan holds a second packing of its weights for this. With k
    stored weights in the row and ``u = 2^-24`` both keep ``|y - exact| <= 2 (k + 2) u (|b| + sum |w x|)``, and neither
    depends on `threads`.

    Examples
    --------
    >>> import numpy as np
    >>> plan = nm(np.array([[0, 2, 0, 1]], np.float32))
    >>> plan.nnz, plan @ np.array([1, 10, 100, 1000], np.float32)
    (2, array([1020.], dtype=float32))
    """
    n, m = check_int(n, "n", 1), check_int(m, "m", 1, 64)
    if n > m:
        raise ValueError(f"n: expected an integer >= 1 and <= m = {m}, got {n}")
    W = _common.weights(W.toarray() if hasattr(W, "tocoo") else W)
    bias = _common.bias_of(bias, W.shape[0])
    lo, hi = _common.act_range(act)
    plan = _kernels.nm_plan(W, n, m, bias, lo, hi, _common.level(isa))
    return _NmPlan(plan, {"n": n, "m": m, "bias": bias, "act": act, "isa": isa})


_NmPlan._factory = staticmethod(nm)
