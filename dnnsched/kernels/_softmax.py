"""Softmax of scores under the masks of attention."""

import math

import numpy as np

from dnnsched._native import _kernels
from dnnsched.kernels import _common
from dnnsched.kernels._counts import check_tails, pack_mask

_FORMS = "None, 'causal', ('lengths', n), ('ragged', offsets), or an array of bool, uint64 or floats"


def _rows_of(mask, shape, columns):
    """`mask` as (r, columns) rows that repeat over those of `shape`: copied only where it must be broadcast inside."""
    lead = shape[:-1]
    try:
        fits = np.broadcast_shapes(mask.shape[:-1], lead) == lead
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"mask: expected a shape that broadcasts to {shape}, got {mask.shape}")
    kept = mask.shape[:-1]
    while kept and kept[0] == 1:
        kept = kept[1:]
    full = lead[len(lead) - len(kept):]
    rows = np.broadcast_to(mask.reshape(*kept, columns), (*full, columns))
    return np.ascontiguousarray(rows).reshape(math.prod(full), columns)


def _array_mask(mask, shape, forms):
    """(bits, additive) of a mask array, one of them None."""
    columns = shape[-1]
    mask = mask if isinstance(mask, np.ndarray) else np.asarray(mask)
    packed = mask.dtype == np.uint64
    want = -(-columns // 64) if packed else columns
    if mask.dtype.kind not in "bf" and not packed:
        raise TypeError(f"mask: expected {forms}, got dtype {mask.dtype}")
    if mask.ndim == 0 or mask.shape[-1] != want:
        raise ValueError(f"mask: expected a last axis of {want}, got shape {mask.shape}")
    if mask.dtype.kind == "f":
        return None, _rows_of(np.asarray(mask, np.float32), shape, columns)
    if packed:
        mask = np.ascontiguousarray(mask)
        check_tails(mask, columns, "mask")
    return _rows_of(mask if packed else pack_mask(mask), shape, -(-columns // 64)), None


def masks(mask, shape, forms=_FORMS):
    """(queries, lengths, bits, additive) of a mask that the native functions take, for scores of `shape`."""
    if mask is None:
        return 0, None, None, None
    if isinstance(mask, tuple):
        if len(mask) != 2 or mask[0] != "lengths":
            raise ValueError(f"mask: expected {forms}, got {mask!r}")
        lengths = _common.integers(mask[1], "lengths", np.int32)
        if len(shape) < 2 or lengths.size != shape[0]:
            raise ValueError(f"lengths: expected one per element of the first axis of {shape}, got {lengths.size}")
        return 0, lengths, None, None
    if isinstance(mask, str):
        if mask != "causal":
            raise ValueError(f"mask: expected {forms}, got {mask!r}")
        if len(shape) < 2:
            raise ValueError(f"x: expected shape (..., Q, L) for a causal mask, got {shape}")
        return shape[-2], None, None, None
    return 0, None, *_array_mask(mask, shape, forms)


def softmax(x, mask=None, out=None, *, threads=1, isa=None):
    """Softmax along the last axis, of what a mask lets each row see.

    Parameters
    ----------
    x : array_like of float, shape (..., L)
        Scores; for causal masks (..., Q, L). float64, float16 and strided input is copied once.
    mask : optional
        What a row sees; the rest becomes 0.

        - None: everything.
        - ``"causal"``: query q of Q sees columns up to ``q + L - Q``.
        - ``("lengths", n)``: n integers (B,), B the first axis of `x`: sample b sees columns below ``n[b]``.
        - ``("ragged", offsets)``: integers (S + 1,) from 0 to L: each segment of a row is a softmax of its own. These
          may be sequences behind each other (``cu_seqlens``) or the row pointers of CSR values.
        - array of bool (..., L), True = seen; or of uint64 (..., ceil(L / 64)), packed as :func:`pack_mask` does.
        - array of floats (..., L): added to the scores; -inf hides.

        Arrays broadcast over the leading axes.
    out : ndarray of float32, shape of `x`, optional
        Written and returned; may be `x` itself. C-contiguous, or two-dimensional with a contiguous last axis.
    threads : int
        1 to 256; results do not depend on it.
    isa : str, optional
        Instruction-set level; default the one in use.

    Returns
    -------
    ndarray of float32, shape of `x`

    Raises
    ------
    TypeError
        `x` or the mask is of a wrong type.
    FormatError
        Offsets do not begin with 0, fall, or do not end with L.
    ValueError
        A shape is wrong, a length is outside [0, L], or `out` overlaps `x` without being it.

    Notes
    -----
    A row that sees nothing, or only -inf, becomes zeros. NaN or +inf among what a row sees makes NaN of all of it.
    Against float64 ``|p - exact| <= 4e-7 + 4e-6 p`` and ``|sum p - 1| <= 2e-6 sqrt(L)``.

    Examples
    --------
    >>> import numpy as np
    >>> softmax(np.zeros((3, 3), np.float32), "causal").round(2)
    array([[1.  , 0.  , 0.  ],
           [0.5 , 0.5 , 0.  ],
           [0.33, 0.33, 0.33]], dtype=float32)
    """
    x = _common.floats(x, "x")
    if x.ndim == 0:
        raise ValueError("x: expected at least one dimension, got a scalar")
    level = -1 if isa is None else _common.level(isa)
    out = _common.output(out, x.shape)
    if out.ndim != 2 and not out.flags.c_contiguous:
        raise ValueError("out: expected a C-contiguous array, got a strided one")
    shape, rows = x.shape, (math.prod(x.shape[:-1]), x.shape[-1])
    x2, out2 = x.reshape(rows), out.reshape(rows)
    if isinstance(mask, tuple) and len(mask) == 2 and mask[0] == "ragged":
        _kernels.softmax_segments(x2, out2, _common.integers(mask[1], "offsets", np.int64), threads, level)
    else:
        _kernels.softmax_rows(x2, out2, *masks(mask, shape), threads, level)
    return out
