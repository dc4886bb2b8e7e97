"""Attention: dense under masks, sparse by a pattern."""

import math

import numpy as np

from dnnsched._native import _kernels
from dnnsched.kernels import _blas, _common
from dnnsched.kernels._sddmm import Pattern, factor, lead, pattern, same_problems, stack
from dnnsched.kernels._softmax import masks

_FORMS = ("None, 'causal', ('lengths', n), a Pattern, a sparse matrix, (indptr, indices, shape), or an array of bool, "
          "uint64 or floats")


def _is_pattern(mask):
    """Whether a mask is a pattern or a sparse matrix, and not an array of bool, bits or floats."""
    return isinstance(mask, Pattern) or hasattr(mask, "crow_indices") or hasattr(mask, "tocsr") or (
        isinstance(mask, tuple) and len(mask) == 3)


def attention(q, k, v, mask=None, *, scale=None, out=None, threads=1, isa=None):
    """Attention: ``softmax(scale * q @ k^T) @ v``, of what a mask or a pattern lets each query see.

    Parameters
    ----------
    q : array_like of float, shape (..., Lq, d)
        float64, float16 and strided input is copied once.
    k : array_like of float, shape (..., Lk, d)
        With the leading axes of `q`.
    v : array_like of float, shape (..., Lk, w)
        With the leading axes of `q`.
    mask : optional
        What a query sees.

        - None, ``"causal"``, ``("lengths", n)``, an array of bool, of packed bits or of floats that are added: as
          :func:`softmax` takes it for scores (..., Lq, Lk). All scores within reach of a causal mask or a length are
          computed, by OpenBLAS.
        - a :class:`Pattern` or a sparse matrix, as :func:`pattern` takes it, or ``(indptr, indices, shape)``: only its
          entries are computed (:func:`sddmm`, softmax of each row, CSR product). Worth it below a third of all
          entries. ``pattern(array)`` makes one of a bool array.
    scale : float, optional
        Default ``1 / sqrt(d)``.
    out : ndarray of float32, shape (..., Lq, w), C-contiguous, optional
        Written and returned; apart from the inputs.
    threads : int
        1 to 256; results do not depend on it.
    isa : str, optional
        Instruction-set level; default the one in use.

    Returns
    -------
    ndarray of float32, shape (..., Lq, w)

    Raises
    ------
    TypeError, FormatError, ValueError
        As :func:`softmax` and :func:`pattern` do; or shapes do not agree, or `out` is not as said.

    Notes
    -----
    A query that sees nothing gives zeros. Scores are never held whole: tiles of at most 256 queries are. With e the
    largest error of a query's scores (``2 (d + 2) u |scale| sum |q k|``, and ``u |s + add|`` under an additive mask), n
    what it sees, V the largest magnitude of a column of `v` and ``u = 2^-24``, ``|y - exact| <= V (exp(2 e) - 1 + 4e-6
    + 4e-7 n + 2 (n + 2) u)``. NaN or infinity in a key or value that a *mask* hides may reach queries that do not see
    it (0 times infinity); with a pattern it is not touched.

    Examples
    --------
    >>> import numpy as np
    >>> q, v = np.zeros((2, 4), np.float32), np.array([[2.0], [4.0]], np.float32)
    >>> attention(q, q, v, "causal")
    array([[2.],
           [3.]], dtype=float32)
    """
    level = _common.level(isa)
    q3, k3, v3 = stack(q, "q"), stack(k, "k"), stack(v, "v")
    same_problems(q, k, "k")
    same_problems(q, v, "v")
    axes = np.shape(q)[:-2]
    names, plain = None, (0, None, None, None)
    if _is_pattern(mask):
        names = pattern(mask)
        lead(q, names.shape[0] if len(names.shape) == 3 else None)
    else:
        plain = masks(mask, (*axes, q3.shape[1], k3.shape[1]), _FORMS)
        _blas.load()
    scale = factor(1 / math.sqrt(max(q3.shape[2], 1)) if scale is None else scale)
    out = _common.output(out, (*axes, q3.shape[1], v3.shape[2]))
    if not out.flags.c_contiguous:
        raise ValueError("out: expected a C-contiguous array, got a strided one")
    _kernels.attention(q3, k3, v3, out.reshape(q3.shape[0], q3.shape[1], v3.shape[2]), scale, *plain,
                       None if names is None else names._pattern, threads, level)
    return out
