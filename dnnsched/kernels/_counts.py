"""Masks and counts: packed non-zero masks, zeros per channel or tile, valid multiply-accumulates."""

from __future__ import annotations

import math

import numpy as np

from dnnsched._native import _kernels
from dnnsched.kernels._common import level as _level


def _values(x, name, eps):
    """`x` as a float32 or bool array (bool: already compared with eps) with a contiguous last axis."""
    if not eps >= 0:
        raise ValueError(f"eps: expected a number >= 0, got {eps}")
    x = np.asarray(x)
    if x.ndim == 0:
        raise ValueError(f"{name}: expected at least one dimension, got a scalar")
    if x.dtype.kind not in "fiub":
        raise TypeError(f"{name}: expected real numbers or bool, got dtype {x.dtype}")
    if x.dtype not in (np.dtype(np.float32), np.dtype(bool)):
        x = ~((x <= eps) & (x >= -eps))  # in its own type: a small float64 is no float32 zero
    return x


def _rows(x, axes=1):
    """2-d view (or copy) whose rows are the last `axes` axes of `x`, with a contiguous last axis."""
    shape = (math.prod(x.shape[:-axes]), math.prod(x.shape[-axes:]))
    rows = x.reshape(shape)
    if (rows.strides[1] != rows.itemsize and shape[1] > 1) or not rows.flags.aligned:
        rows = np.require(rows, requirements=["C", "A"])
    return rows


def pack_mask(x, eps=0.0, *, isa=None):
    """Pack the non-zero mask of an array into 64-bit words.

    Parameters
    ----------
    x : array_like, shape (..., W)
        Real numbers or bool.
    eps : float
        Largest magnitude that counts as zero, >= 0.
    isa : str, optional
        Instruction-set level.

    Returns
    -------
    ndarray of uint64, shape (..., ceil(W / 64))

    Raises
    ------
    ValueError
        `eps` is negative or NaN, or `isa` cannot run here.
    TypeError
        `x` is complex or not numeric.

    Examples
    --------
    >>> import numpy as np
    >>> pack_mask(np.array([0.0, -1.5, 0.0, np.nan]))
    array([10], dtype=uint64)
    """
    x = _values(x, "x", eps)
    rows = _rows(x)
    out = np.empty((rows.shape[0], -(-rows.shape[1] // 64)), np.uint64)
    if x.dtype == bool:
        _kernels.pack_bool(rows, out, _level(isa))
    else:
        _kernels.pack_f32(rows, eps, out, _level(isa))
    return out.reshape(*x.shape[:-1], out.shape[1])


def unpack_mask(mask, width):
    """Unpack a mask into bool.

    Parameters
    ----------
    mask : ndarray of uint64, shape (..., ceil(width / 64))
    width : int
        Columns of a row.

    Returns
    -------
    ndarray of bool, shape (..., width)
    """
    mask = _mask(mask, "mask", width)
    octets = mask.astype("<u8", copy=False).view(np.uint8)
    return np.unpackbits(octets, axis=-1, bitorder="little", count=width).astype(bool)


def _mask(mask, name, width):
    """Contiguous packed mask whose last axis holds rows of `width` bits."""
    mask = np.asarray(mask)
    if mask.dtype != np.uint64 or mask.ndim == 0:
        raise TypeError(f"{name}: expected a packed mask of uint64, got {mask.dtype} with {mask.ndim} dimensions")
    if mask.shape[-1] != -(-width // 64):
        raise ValueError(f"{name}: expected {-(-width // 64)} words per row of width {width}, got {mask.shape[-1]}")
    return np.ascontiguousarray(mask)


def count_nonzeros(x, eps=0.0, *, axes=None, isa=None):
    """Count non-zeros over the last axes.

    Parameters
    ----------
    x : array_like
        Real numbers or bool.
    eps : float
        Largest magnitude that counts as zero. With ``eps=inf`` only NaN are counted.
    axes : int, optional
        How many of the last axes to count over; default all of them.
    isa : str, optional
        Instruction-set level.

    Returns
    -------
    int, or ndarray of int64 with the remaining axes
    """
    x = _values(x, "x", eps)
    axes = x.ndim if axes is None else axes
    if not 1 <= axes <= x.ndim:
        raise ValueError(f"axes: expected 1 to {x.ndim}, got {axes}")
    rows = _rows(x, axes)
    out = np.empty(rows.shape[0], np.uint64)
    if x.dtype == bool:
        out[:] = np.count_nonzero(rows, axis=1)
    else:
        _kernels.nonzeros_f32(rows, eps, out, _level(isa))
    return int(out[0]) if axes == x.ndim else out.reshape(x.shape[:-axes]).astype(np.int64)


def count_zeros(x, eps=0.0, *, isa=None):
    """Count the zeros of an array: ``|x| <= eps``; NaN is not a zero.

    Parameters
    ----------
    x : array_like
        Real numbers or bool.
    eps : float
        Largest magnitude that counts as zero.
    isa : str, optional
        Instruction-set level.

    Returns
    -------
    int
    """
    x = np.asarray(x)
    return x.size - count_nonzeros(x, eps, isa=isa)


def density(x, eps=0.0, *, isa=None):
    """Fraction of non-zeros of an array, in [0, 1]; NaN for an empty array.

    Parameters
    ----------
    x : array_like
        Real numbers or bool.
    eps : float
        Largest magnitude that counts as zero.
    isa : str, optional
        Instruction-set level.

    Returns
    -------
    float
    """
    x = np.asarray(x)
    return count_nonzeros(x, eps, isa=isa) / x.size if x.size else math.nan


def zeros_per_channel(x, eps=0.0, *, isa=None):
    """Count the zeros of every channel of feature maps.

    Parameters
    ----------
    x : array_like, shape (..., H, W)
        Real numbers or bool, such as (N, C, H, W).
    eps : float
        Largest magnitude that counts as zero.
    isa : str, optional
        Instruction-set level.

    Returns
    -------
    ndarray of int64, shape (...)
    """
    x = np.asarray(x)
    if x.ndim < 3:
        raise ValueError(f"x: expected at least three dimensions (..., H, W), got shape {x.shape}")
    return x.shape[-2] * x.shape[-1] - count_nonzeros(x, eps, axes=2, isa=isa)


def zeros_per_tile(x, tile, eps=0.0, *, isa=None):
    """Count the zeros of every tile of feature maps.

    Parameters
    ----------
    x : array_like, shape (..., H, W)
        Real numbers or bool.
    tile : (int, int)
        Tile height and width; tiles at the high ends may be smaller.
    eps : float
        Largest magnitude that counts as zero.
    isa : str, optional
        Instruction-set level.

    Returns
    -------
    ndarray of int64, shape (..., ceil(H / tile[0]), ceil(W / tile[1]))
    """
    x = np.asarray(x)
    if x.ndim < 2:
        raise ValueError(f"x: expected at least two dimensions (..., H, W), got shape {x.shape}")
    th, tw = (int(t) for t in tile)
    if th < 1 or tw < 1:
        raise ValueError(f"tile: expected two integers >= 1, got {tile!r}")
    h, w = x.shape[-2:]
    across = np.diff(np.minimum(np.arange(-(-w // tw) + 1) * tw, w))
    down = np.diff(np.minimum(np.arange(-(-h // th) + 1) * th, h))
    area = np.multiply.outer(down, across)
    if x.size == 0:
        return np.zeros((*x.shape[:-2], *area.shape), np.int64)
    mask = pack_mask(x, eps, isa=isa).reshape(-1, h, -(-w // 64))
    ones = np.empty((mask.shape[0], *area.shape), np.uint64)
    _kernels.tiles(mask, w, th, tw, ones, _level(isa))
    return (area - ones.astype(np.int64)).reshape(*x.shape[:-2], *area.shape)


def row_any(mask, *, isa=None):
    """Whether each row of a packed mask has a one.

    Parameters
    ----------
    mask : ndarray of uint64, shape (..., words)
    isa : str, optional
        Instruction-set level.

    Returns
    -------
    ndarray of bool, shape (...)
    """
    mask = np.asarray(mask)
    rows = np.ascontiguousarray(mask.reshape(math.prod(mask.shape[:-1]), mask.shape[-1]))
    out = np.empty(rows.shape[0], bool)
    _kernels.row_any(rows, out, _level(isa))
    return out.reshape(mask.shape[:-1])


def popcount(mask, other=None, *, isa=None):
    """Count the ones of a packed mask, or of the intersection of two.

    Parameters
    ----------
    mask, other : ndarray of uint64
        Of one shape.
    isa : str, optional
        Instruction-set level.

    Returns
    -------
    int
    """
    mask = np.ascontiguousarray(mask)
    if other is not None and np.shape(other) != mask.shape:
        raise ValueError(f"other: expected shape {mask.shape}, got {np.shape(other)}")
    return _kernels.popcount(mask.reshape(-1), None if other is None else np.ascontiguousarray(other).reshape(-1),
                             _level(isa))


def weight_counts(w, groups=1, eps=0.0, *, isa=None):
    """Count non-zero weights per input channel and kernel offset.

    Parameters
    ----------
    w : array_like, shape (M, C / groups, ...)
        Weights of a convolution (M, C / groups, KH, KW) or of a linear layer (M, C).
    groups : int
        Channel groups of the convolution.
    eps : float
        Largest magnitude that counts as zero.
    isa : str, optional
        Instruction-set level.

    Returns
    -------
    ndarray of int32, shape (C, ...)
        Non-zeros over the output channels of the input channel's group.
    """
    w = _values(w, "w", eps)
    if w.ndim < 2:
        raise ValueError(f"w: expected at least two dimensions (M, C / groups, ...), got shape {w.shape}")
    if groups < 1 or w.shape[0] % groups:
        raise ValueError(f"groups: expected a divisor of {w.shape[0]} output channels, got {groups}")
    grouped = (groups, w.shape[0] // groups, math.prod(w.shape[1:]))
    shape = (groups * w.shape[1], *w.shape[2:])
    if w.dtype == bool:
        return w.reshape(grouped).sum(axis=1, dtype=np.int32).reshape(shape)
    out = np.empty((grouped[0], grouped[2]), np.int32)
    _kernels.weights(np.ascontiguousarray(w).reshape(grouped), eps, out, _level(isa))
    return out.reshape(shape)


def window(layer):
    """Geometry of a convolution for the native functions: int32 (12,), pairs (height, width) of input,
    output, kernel, stride, dilation and low-end padding."""
    return np.array([layer.in_h, layer.in_w, layer.out_h, layer.out_w, layer.kernel_h, layer.kernel_w,
                     *layer.stride_hw, *layer.dilation_hw, *layer.padding_hw], np.int32)


def act_mask(act, shape, name="act", eps=0.0, *, isa=None):
    """Packed mask of activations whose last axes are `shape`, with one leading axis, and the leading shape.

    Parameters
    ----------
    act : array_like
        Values or bool of shape (..., \\*shape), or a packed mask (..., \\*shape[:-1], words).
    shape : tuple of int
        Expected trailing axes.
    name : str
        Of the argument in messages.
    eps : float
        Largest magnitude that counts as zero.
    isa : str, optional
        Instruction-set level.

    Returns
    -------
    mask : ndarray of uint64, shape (S, \\*shape[:-1], words)
    lead : tuple of int
        The leading axes that S stands for.
    """
    act = np.asarray(act)
    packed = act.dtype == np.uint64
    want = (*shape[:-1], -(-shape[-1] // 64)) if packed else tuple(shape)
    if act.shape[act.ndim - len(want):] != want or act.ndim < len(want):
        raise ValueError(f"{name}: expected trailing axes {want}{' of packed words' if packed else ''}, "
                         f"got shape {act.shape}")
    lead = act.shape[:act.ndim - len(want)]
    if not packed:
        act = pack_mask(act, eps, isa=isa)
    mask = np.ascontiguousarray(act)
    if packed and shape[-1] % 64:
        check_tails(mask, shape[-1], name)
    return mask.reshape(math.prod(lead), *mask.shape[mask.ndim - len(want):]), lead


def check_tails(mask, width, name):
    """ValueError if a bit beyond column `width` of a contiguous packed mask is set."""
    try:
        _kernels.check_mask(mask.reshape(math.prod(mask.shape[:-1]), mask.shape[-1]), width)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def layer_weight_counts(weight, layer, eps=0.0, *, isa=None):
    """Weight counts of a layer from its weights, or from counts that are passed on after a check.

    Parameters
    ----------
    weight : array_like
        Weights (M, C / groups, KH, KW) or (M, C), float or bool; or int32 counts (C, KH, KW) or (C,) made
        by :func:`weight_counts`.
    layer : Layer
        Convolution or linear layer.
    eps : float
        Largest magnitude that counts as zero.
    isa : str, optional
        Instruction-set level.

    Returns
    -------
    ndarray of int32, shape (C, KH, KW) or (C,)
    """
    if layer.kind not in ("conv", "linear"):
        raise ValueError(f"layer {layer.name!r}: expected kind 'conv' or 'linear', got {layer.kind!r}")
    kernel = (layer.kernel_h, layer.kernel_w) if layer.kind == "conv" else ()
    weight = np.asarray(weight)
    counts = (layer.in_channels, *kernel)
    full = (layer.out_channels, layer.in_channels // layer.groups, *kernel)
    if weight.dtype == np.int32 and weight.shape == counts:
        return np.ascontiguousarray(weight)
    if weight.shape != full:
        raise ValueError(f"weight: layer {layer.name!r}: expected weights of shape {full} or int32 counts of shape "
                         f"{counts}, got {weight.dtype} of shape {weight.shape}")
    return weight_counts(weight, layer.groups, eps, isa=isa)


def window_counts(act, layer, eps=0.0, *, isa=None):
    """Count, per channel and kernel offset, the non-zero inputs that the offset touches.

    Parameters
    ----------
    act : array_like, shape (C, H, W), or packed mask (C, H, words)
        Input activation of the layer.
    layer : Layer
        Convolution; its stride, padding and dilation decide which positions an offset touches.
    eps : float
        Largest magnitude that counts as zero.
    isa : str, optional
        Instruction-set level.

    Returns
    -------
    ndarray of int64, shape (C, KH, KW)

    Notes
    -----
    Offset (i, j) touches the rows ``o * stride + i * dilation - padding`` that lie inside the map,
    and likewise columns. The product with :func:`weight_counts` summed over everything is the number
    of valid multiply-accumulates; the product with one output channel's weight mask is that
    channel's share.
    """
    mask, lead = act_mask(act, (layer.in_channels, layer.in_h, layer.in_w), eps=eps, isa=isa)
    if lead not in ((), (1,)):
        raise ValueError(f"act: expected one input of shape (C, H, W), got leading axes {lead}")
    out = np.empty((layer.in_channels, layer.kernel_h, layer.kernel_w), np.uint32)
    _kernels.windows(window(layer), mask[0], out, _level(isa))
    return out.astype(np.int64)


def valid_macs(act, weight, layer, eps=0.0, *, isa=None):
    """Count the multiply-accumulates of a layer whose two factors are non-zero.

    Parameters
    ----------
    act : array_like
        Input activations: (..., C, H, W) for a convolution, (..., C) or (..., T, C) (a sequence of
        ``layer.seq_len`` tokens) for a linear layer; float, bool or a packed mask of uint64.
    weight : array_like
        Weights (M, C / groups, KH, KW) or (M, C); or their :func:`weight_counts`.
    layer : Layer
        Convolution or linear layer.
    eps : float
        Largest magnitude that counts as zero, for both operands.
    isa : str, optional
        Instruction-set level.

    Returns
    -------
    int, or ndarray of uint64 with the leading axes of `act`

    Raises
    ------
    ValueError
        A shape does not fit the layer, or the count could exceed 9e18.

    Notes
    -----
    With w(c,i,j) non-zero weights of input channel c at offset (i,j) over its output channels and
    n(c,i,j) non-zero inputs at the positions that the offset touches, the count is
    ``sum(w * n)``: no convolution is needed.
    """
    counts = layer_weight_counts(weight, layer, eps, isa=isa)
    if layer.kind == "linear":
        shape = (layer.seq_len, layer.in_channels) if layer.seq_len else (layer.in_channels,)
        mask, lead = act_mask(act, shape, eps=eps, isa=isa)
        if counts.size and counts.min() < 0:
            raise ValueError(f"weight: expected counts >= 0, got {counts.min()}")
        rows = mask.reshape(-1, mask.shape[-1])
        out = np.empty(rows.shape[0], np.uint64)
        _kernels.masked_sum(rows, counts, out, _level(isa))
        out = out.reshape(len(mask), -1).sum(axis=1, dtype=np.uint64)
    else:
        mask, lead = act_mask(act, (layer.in_channels, layer.in_h, layer.in_w), eps=eps, isa=isa)
        out = np.empty(len(mask), np.uint64)
        _kernels.valid_macs(window(layer), counts, mask, out, _level(isa))
    return out.reshape(lead) if lead else int(out[0])
