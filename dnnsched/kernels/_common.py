"""Argument checks that the kernel families share."""

import math
import operator

import numpy as np

from dnnsched.config import ISA_LEVELS, runnable_isa_levels


def level(isa):
    """Index of an instruction-set level for the native functions, -1 for the one in use."""
    if isa is None:
        return -1
    runnable = runnable_isa_levels()
    if isa not in runnable:
        raise ValueError(f"isa: expected one of {', '.join(runnable)} on this machine, got {isa!r}")
    return ISA_LEVELS.index(isa)


def _as_array(x):
    """An ndarray of anything array-like; CPU tensors that speak DLPack are not copied."""
    if isinstance(x, np.ndarray):
        return x
    if hasattr(x, "detach"):  # a tensor that records gradients exports no memory
        x = x.detach()
    return np.from_dlpack(x) if hasattr(x, "__dlpack__") else np.asarray(x)


def _in_rows(x, dtype):
    """`x` itself if it has this dtype, a contiguous last axis, and rows that do not overlap; else a copy that has."""
    if x.dtype != dtype or not x.dtype.isnative or not x.flags.aligned:
        return np.array(x, dtype, order="C")
    if x.flags.c_contiguous:
        return x
    item, strides, shape = x.itemsize, x.strides, x.shape
    rows_apart = x.ndim == 2 and strides[1] == item and strides[0] >= shape[1] * item and strides[0] % item == 0
    return x if rows_apart else np.ascontiguousarray(x)


def floats(x, name):
    """`x` as a float32 array with a contiguous last axis and rows that do not overlap: itself or a copy.

    NumPy arrays and CPU tensors that speak DLPack are not copied when they fit; float64, float16, strided and
    misaligned input is. Anything but floating-point numbers is a TypeError.
    """
    x = _as_array(x)
    if x.dtype.kind != "f":
        raise TypeError(f"{name}: expected floating-point numbers, got dtype {x.dtype}")
    return _in_rows(x, np.float32)


def complexes(x, name):
    """`x` as a complex64 array with a contiguous last axis and rows that do not overlap: itself or a copy.

    As :func:`floats`; complex128 and real floating-point numbers are copied, integers are a TypeError.
    """
    x = _as_array(x)
    if x.dtype.kind not in "cf":
        raise TypeError(f"{name}: expected complex or floating-point numbers, got dtype {x.dtype}")
    return _in_rows(x, np.complex64)


def integers(a, name, dtype=np.int64):
    """One-dimensional contiguous array of an integer array, refused where `dtype` would wrap its values."""
    a = np.asarray(a)
    if a.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected integers, got dtype {a.dtype}")
    if a.ndim != 1:
        raise ValueError(f"{name}: expected 1 dimension, got shape {a.shape}")
    limits = np.iinfo(dtype)
    if a.size and not np.can_cast(a.dtype, dtype) and (a.max() > limits.max or a.min() < limits.min):
        raise ValueError(f"{name}: expected values from {limits.min} to {limits.max}, got {a.min()} to {a.max()}")
    return np.ascontiguousarray(a, dtype)


def output(out, shape, dtype=np.float32):
    """A new array, or `out` if it has exactly this shape and dtype, is writeable and has a contiguous last axis."""
    if out is None:
        return np.empty(shape, dtype)
    if not isinstance(out, np.ndarray) or out.dtype != dtype:
        got = out.dtype if isinstance(out, np.ndarray) else type(out).__name__
        raise TypeError(f"out: expected an array of {np.dtype(dtype)}, got {got}")
    if out.shape != tuple(shape):
        raise ValueError(f"out: expected shape {tuple(shape)}, got {out.shape}")
    return out


def multiply_columns(execute, shape, X, name, out, dtype=np.float32):
    """A plan's product with columns, X (K, N) or (K,): ``execute(rows, x, y)`` with both two-dimensional."""
    m, k = shape
    if X.ndim not in (1, 2) or X.shape[0] != k:
        raise ValueError(f"{name}: expected shape ({k}, N) or ({k},), got {X.shape}")
    out = output(out, (m, *X.shape[1:]), dtype)
    if X.ndim == 1:
        execute(True, X[None], out[None])
    else:
        execute(False, X, out)
    return out


def multiply_rows(execute, shape, x, name, out, dtype=np.float32):
    """A plan's product with rows, x (..., K): ``execute(rows, x, y)`` with both two-dimensional."""
    m, k = shape
    if x.ndim == 0 or x.shape[-1] != k:
        raise ValueError(f"{name}: expected shape (..., {k}), got {x.shape}")
    out = output(out, (*x.shape[:-1], m), dtype)
    if not out.flags.c_contiguous:
        raise ValueError("out: expected a C-contiguous array, got a strided one")
    n = math.prod(x.shape[:-1])
    execute(True, x.reshape(n, k), out.reshape(n, m))
    return out


def in_layout(x, out, axis):
    """(rows, x, out) for a transform along `axis`: True and views (B, n), or False and views (A, n, B).

    `x` is from :func:`floats` or :func:`complexes`; `out` has its shape.
    """
    n, after = x.shape[axis], math.prod(x.shape[axis + 1:])
    if axis == x.ndim - 1 == 1:
        return True, x, out
    if not out.flags.c_contiguous:
        raise ValueError("out: expected a C-contiguous array, got a strided one")
    before = math.prod(x.shape[:axis])
    shape = (before, n) if after == 1 else (before, n, after)
    return after == 1, np.ascontiguousarray(x).reshape(shape), out.reshape(shape)


def axis_of(axis, ndim):
    """`axis` as an index from 0."""
    axis = operator.index(axis)
    if not -ndim <= axis < ndim:
        raise ValueError(f"axis: expected an axis of an array of {ndim} dimensions, got {axis}")
    return axis % ndim


def weights(w, name="W"):
    """A two-dimensional float32 weight matrix."""
    w = floats(w, name)
    if w.ndim != 2:
        raise ValueError(f"{name}: expected 2 dimensions (M, K), got shape {w.shape}")
    return w


def bias_of(bias, rows):
    """Own float32 copy of a bias vector of `rows` elements, or None."""
    if bias is None:
        return None
    bias = np.array(floats(bias, "bias"))
    if bias.shape != (rows,):
        raise ValueError(f"bias: expected shape ({rows},), got {bias.shape}")
    return bias


def act_range(act):
    """(lo, hi) of an activation: None, "relu" or a pair."""
    if act is None:
        return -math.inf, math.inf
    if isinstance(act, str):
        if act != "relu":
            raise ValueError(f"act: expected None, 'relu' or (lo, hi), got {act!r}")
        return 0.0, math.inf
    try:
        lo, hi = (float(v) for v in act)
    except (TypeError, ValueError):
        raise ValueError(f"act: expected None, 'relu' or (lo, hi), got {act!r}") from None
    if not lo <= hi:
        raise ValueError(f"act: expected lo <= hi, got {act!r}")
    return lo, hi
