"""Quantisers: integers of 2 to 8 bits and the scales that turn them back."""

import math
import operator
from dataclasses import dataclass

import numpy as np

from dnnsched._native import _kernels
from dnnsched.kernels import _common


@dataclass(frozen=True, eq=False)
class Quantized:
    """Integers with their scale and zero: ``x ~ scale (q - zero)``.

    Attributes
    ----------
    q : ndarray of int8 (symmetric) or uint8 (affine)
        Of x's shape.
    scale : ndarray of float32
        Shape () for the whole array, (n,) for one per index of `axis`, or ``(*x.shape[:-1], groups)``.
    zero : ndarray of int32
        Of scale's shape.
    axis, group : int or None
        What :func:`quantize` was given.
    """

    q: np.ndarray
    scale: np.ndarray
    zero: np.ndarray
    axis: int | None = None
    group: int | None = None

    def dequantize(self):
        """Values that the integers stand for.

        Returns
        -------
        ndarray of float32, of q's shape
        """
        scale, zero = self.scale, self.zero
        if self.axis is not None:
            shape = [1] * self.q.ndim
            shape[self.axis] = -1
            scale, zero = scale.reshape(shape), zero.reshape(shape)
        elif self.group is not None:
            scale, zero = (np.repeat(a, self.group, axis=-1)[..., : self.q.shape[-1]] for a in (scale, zero))
        return scale * (self.q.astype(np.int32) - zero).astype(np.float32)


def quantize(x, bits=8, symmetric=True, axis=None, group=None, *, isa=None):
    """Quantise to small integers, ``q = clamp(rint(x / scale) + zero)``.

    Parameters
    ----------
    x : array_like of float
        Finite.
    bits : int
        2 to 8.
    symmetric : bool
        True: ``zero = 0``, ``scale = max |x| / L``, ``L = 2^(bits-1) - 1``, q in [-L, L]. False (affine): the range
        from min(x, 0) to max(x, 0) in ``2^bits - 1`` steps, q in [0, 2^bits - 1], so that 0 is a code.
    axis : int, optional
        One scale per index of this axis (per channel); default one for the whole array.
    group : int, optional
        One scale per `group` consecutive elements of the last axis, the last group may be shorter; not with `axis`.
    isa : str, optional
        Instruction-set level; the result is the same at each.

    Returns
    -------
    Quantized

    Raises
    ------
    TypeError
        `x` is not floating point.
    ValueError
        `x` holds NaN or infinity, or a parameter is out of range.

    Notes
    -----
    Rounding is to nearest, ties to even. Where all of a range is 0 the scale is 1; no scale is below 2^-126. Errors are
    at most ``scale (1/2 + 2^-14)``, and one step at the ends of an affine range, whose zero is rounded.

    Examples
    --------
    >>> import numpy as np
    >>> quantize(np.array([-1.0, 0.5, 0.25]), bits=4).q
    array([-7,  4,  2], dtype=int8)
    """
    x = _common.floats(x, "x")
    bits = operator.index(bits)
    if not 2 <= bits <= 8:
        raise ValueError(f"bits: expected 2 to 8, got {bits}")
    if axis is not None and group is not None:
        raise ValueError("axis, group: expected at most one of the two, got both")
    if group is not None and (operator.index(group) < 1 or x.ndim == 0):
        raise ValueError(f"group: expected an integer >= 1 and an array of 1 dimension or more, got {group}")
    if axis is not None:
        axis = operator.index(axis)
        if not -x.ndim <= axis < x.ndim:
            raise ValueError(f"axis: expected an axis of {x.ndim} dimensions, got {axis}")
        axis %= x.ndim
    moved = x if axis is None else np.moveaxis(x, axis, 0)
    if group is not None:
        columns, shape = moved.shape[-1], (*moved.shape[:-1], -(-moved.shape[-1] // group))
        rows = moved.reshape(math.prod(moved.shape[:-1]), columns)
    elif axis is not None:
        rows, shape = moved.reshape(moved.shape[0], math.prod(moved.shape[1:])), moved.shape[:1]
    else:
        rows, shape = moved.reshape(1, moved.size), ()
    rows = np.ascontiguousarray(rows)
    span = group or max(rows.shape[1], 1)
    n = -(-rows.shape[1] // span)
    q = np.empty(rows.shape, np.int8 if symmetric else np.uint8)
    scale, zero = np.ones((len(rows), n), np.float32), np.zeros((len(rows), n), np.int32)
    _kernels.quantize(rows, span, bits, symmetric, q, scale, zero, _common.level(isa))
    if n == 0 and group is None:
        scale, zero = np.ones(shape, np.float32), np.zeros(shape, np.int32)
    q = q.reshape(moved.shape)
    q = q if axis is None else np.ascontiguousarray(np.moveaxis(q, 0, axis))
    return Quantized(q, scale.reshape(shape), zero.reshape(shape), axis, group)
