"""Dense plans: the yardstick of the sparse formats."""

from dnnsched._native import _kernels
from dnnsched.kernels import _blas, _common
from dnnsched.kernels._plan import MatPlan


class _DensePlan(MatPlan):
    pass


def dense(W, *, bias=None, act=None, isa=None):
    """Pack a dense matrix.

    Parameters
    ----------
    W : array_like of float, shape (M, K)
    bias : array_like of float, shape (M,), optional
    act : None, "relu" or (lo, hi)
        Clamp applied to the result; NaN stays NaN.
    isa : str, optional
        Instruction-set level of bias and activation, and of the product in builds without BLAS.

    Returns
    -------
    MatPlan
        Of format ``"dense"``.

    Raises
    ------
    TypeError
        Not floating point.
    ValueError
        Shapes do not agree.
    ImportError
        The BLAS of this build cannot be opened.

    Notes
    -----
    OpenBLAS on one thread per piece of the result; pieces depend on the shape alone, so results do not depend on
    `threads`. ``|y - exact| <= 2 (K + 2) u (|b| + sum |w x|)``, ``u = 2^-24``.
    """
    W = _common.weights(W)
    bias = _common.bias_of(bias, W.shape[0])
    lo, hi = _common.act_range(act)
    _blas.load()
    return _DensePlan(_kernels.dense_plan(W, bias, lo, hi, _common.level(isa)),
                      {"bias": bias, "act": act, "isa": isa})


_DensePlan._factory = staticmethod(dense)
