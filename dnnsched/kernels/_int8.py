"""Plans of 8-bit integers: exact products, and a float layer on top of them."""

import numpy as np

from dnnsched._native import _kernels
from dnnsched.kernels import _common
from dnnsched.kernels._plan import MatPlan


class Int8Plan(MatPlan):
    """A :class:`MatPlan` of 8-bit integers, made by :func:`~dnnsched.kernels.int8`.

    Beside the float products it has :meth:`matmul_i32` and :meth:`linear_i32`, which are exact.
    """

    def _source(self):
        w = np.empty(self.shape, np.int8)
        _kernels.int8_unpack(self._plan, w)
        return w

    def matmul_i32(self, Xq, *, out=None, threads=1):
        """Multiply columns of integers exactly: ``(Wq - zero) Xq``.

        Parameters
        ----------
        Xq : array_like of int8, shape (K, N) or (K,)
        out : ndarray of int32, shape (M, N) or (M,), optional
            Written and returned; a contiguous last axis, apart from `Xq`.
        threads : int
            1 to 256. Short products run on one thread all the same.

        Returns
        -------
        ndarray of int32, shape (M, N) or (M,)
            The same at every instruction-set level.

        Raises
        ------
        TypeError
            `Xq` is not int8, or `out` not int32.
        ValueError
            A shape is wrong, or `out` is read-only, strided, or overlaps `Xq`.
        """
        return _common.multiply_columns(self._execute_i32(threads), self.shape, _bytes(Xq, "Xq"), "Xq", out, np.int32)

    def _execute_i32(self, threads):
        return lambda rows, x, y: _kernels.int8_execute(self._plan, rows, x, y, threads)

    def linear_i32(self, xq, *, out=None, threads=1):
        """Multiply rows of integers exactly: ``xq (Wq - zero)^T``, the fastest layout.

        Parameters
        ----------
        xq : array_like of int8, shape (..., K)
        out : ndarray of int32, shape (..., M), C-contiguous, optional
            Written and returned.
        threads : int

        Returns
        -------
        ndarray of int32, shape (..., M)

        Raises
        ------
        TypeError, ValueError
            As :meth:`matmul_i32` does.
        """
        return _common.multiply_rows(self._execute_i32(threads), self.shape, _bytes(xq, "xq"), "xq", out, np.int32)


def _bytes(x, name):
    """`x` as an int8 array with a contiguous last axis and rows that do not overlap: itself or a copy."""
    if not isinstance(x, np.ndarray):
        x = np.from_dlpack(x) if hasattr(x, "__dlpack__") else np.asarray(x)
    if x.dtype != np.int8:
        raise TypeError(f"{name}: expected int8, got dtype {x.dtype}")
    rows_apart = x.ndim == 2 and x.strides[1] == 1 and x.strides[0] >= x.shape[1]
    return x if rows_apart or x.flags.c_contiguous else np.ascontiguousarray(x)


def _per_row(value, rows, name, *, integers=False):
    """A number, or one per row, as an array (rows,)."""
    a = np.asarray(value)
    if a.dtype.kind not in ("iu" if integers else "iuf"):
        raise TypeError(f"{name}: expected {'integers' if integers else 'numbers'}, got dtype {a.dtype}")
    if a.shape not in ((), (1,), (rows,), (rows, 1)):
        raise ValueError(f"{name}: expected one number or shape ({rows},), got {a.shape}")
    return np.broadcast_to(a.reshape(-1), (rows,))


def int8(Wq, scale, zero=0, *, bias=None, act=None, isa=None):
    """Pack a matrix of 8-bit integers, ``W = scale (Wq - zero)``.

    Parameters
    ----------
    Wq : array_like of int8 or uint8, shape (M, K)
        At most 65536 columns, so that every exact sum fits int32.
    scale : float or array_like of float, shape (M,)
        Finite and > 0; of the whole matrix or of each row (as float32).
    zero : int or array_like of int, shape (M,)
        In the range of `Wq`'s dtype.
    bias : array_like of float, shape (M,), optional
        Of the float products.
    act : None, "relu" or (lo, hi)
        Clamp applied to the float products; NaN stays NaN.
    isa : str, optional
        Instruction-set level; default the one in use.

    Returns
    -------
    Int8Plan
        Of format ``"int8"``. ``plan.matmul_i32(Xq)`` and ``plan.linear_i32(xq)`` are the exact integer products.

    Raises
    ------
    TypeError
        `Wq` is neither int8 nor uint8, or `zero` is not integer.
    ValueError
        A shape is wrong, a scale not finite or not positive, a zero out of range, or K above 65536.

    Notes
    -----
    Integer products never saturate and are the same at every level and number of threads: AMX tiles, ``vpdpbusd`` on
    ``x + 128`` with the rows' sums taken off, or 16-bit products of values that are cut in two where they need to be.

    ``matmul`` and ``linear`` take floats and quantise each vector x to 8 bits (symmetric, ``t = max |x| / 127``, see
    :func:`quantize`), as dynamically quantised layers do: ``|y - W x| <= sum |w| t (1/2 + 2^-14)`` plus the rounding of
    float32, ``4 u (|b| + sum |w| (|x| + t))`` with ``u = 2^-24``. Their results, too, are the same at every level. A
    vector with NaN or infinity gives NaN. Operations in :meth:`MatPlan.cost` are counted in units of the level's fp32
    rate (a 16th for AMX, a quarter for VNNI).

    Examples
    --------
    >>> import numpy as np
    >>> plan = int8(np.array([[100, -100]], np.int8), 0.5)
    >>> plan.matmul_i32(np.array([127, -128], np.int8))
    array([25500], dtype=int32)
    """
    Wq = Wq if isinstance(Wq, np.ndarray) else np.asarray(Wq)
    if Wq.dtype not in (np.int8, np.uint8):
        raise TypeError(f"Wq: expected int8 or uint8, got dtype {Wq.dtype}")
    if Wq.ndim != 2:
        raise ValueError(f"Wq: expected 2 dimensions (M, K), got shape {Wq.shape}")
    rows = Wq.shape[0]
    with np.errstate(over="ignore"):  # what is no float32 becomes infinite, which is refused by row
        scale = _per_row(scale, rows, "scale").astype(np.float32)
    zero = _per_row(zero, rows, "zero", integers=True)
    if Wq.dtype == np.uint8:
        low, Wq = 0, (Wq ^ np.uint8(128)).view(np.int8)
    else:
        low = -128
    if rows and not low <= zero.min() <= zero.max() <= low + 255:
        bad = zero[(zero < low) | (zero > low + 255)][0]
        raise ValueError(f"zero: expected integers in [{low}, {low + 255}], the range of Wq, got {bad}")
    zero = zero.astype(np.int32) - np.int32(low + 128)
    bias = _common.bias_of(bias, rows)
    lo, hi = _common.act_range(act)
    plan = _kernels.int8_plan(_bytes(Wq, "Wq"), scale, zero, bias, lo, hi, _common.level(isa))
    return Int8Plan(plan, {"scale": scale, "zero": zero, "bias": bias, "act": act, "isa": isa})


Int8Plan._factory = staticmethod(int8)
