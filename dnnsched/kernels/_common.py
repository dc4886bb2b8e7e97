"""Argument checks that the kernel families share."""

import math

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


def floats(x, name):
    """`x` as a float32 array with a contiguous last axis and rows that do not overlap: itself or a copy.

    NumPy arrays and CPU tensors that speak DLPack are not copied when they fit; float64, float16, strided and
    misaligned input is. Anything but floating-point numbers is a TypeError.
    """
    if not isinstance(x, np.ndarray):
        if hasattr(x, "detach"):  # a tensor that records gradients exports no memory
            x = x.detach()
        x = np.from_dlpack(x) if hasattr(x, "__dlpack__") else np.asarray(x)
    if x.dtype.kind != "f":
        raise TypeError(f"{name}: expected floating-point numbers, got dtype {x.dtype}")
    if x.dtype != np.float32 or not x.dtype.isnative or not x.flags.aligned:
        return np.array(x, np.float32, order="C")
    if x.flags.c_contiguous:
        return x
    item, strides, shape = x.itemsize, x.strides, x.shape
    rows_apart = x.ndim == 2 and strides[1] == item and strides[0] >= shape[1] * item and strides[0] % item == 0
    return x if rows_apart else np.ascontiguousarray(x)


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
