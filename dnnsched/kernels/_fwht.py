"""Walsh-Hadamard transforms, and filters generated from orthogonal binary codes."""

import numpy as np

from dnnsched._arrays import check_int
from dnnsched._native import _kernels
from dnnsched.kernels import _common


def fwht(x, axis=-1, out=None, *, threads=1, isa=None):
    """Fast Walsh-Hadamard transform.

    ``y[i] = sum_j (-1)^popcount(i & j) x[j]``: Sylvester's matrix in natural order, not normalised, so that twice is
    ``n x``.

    Parameters
    ----------
    x : array_like of float, shape (..., n, ...)
        n = 1, 2, 4, ..., 2^30 along `axis`. float64, float16 or strided input is copied once.
    axis : int
    out : ndarray of float32, shape of x, optional
        Written and returned; may be `x` itself, else apart from it. A contiguous last axis if `axis` is the last one
        of two, C-contiguous otherwise.
    threads : int
        1 to 256; splits rows or columns, so the result does not depend on it.
    isa : str, optional
        Instruction-set level; the result is the same bytes at each.

    Returns
    -------
    ndarray of float32, shape of x

    Raises
    ------
    TypeError
        `x` is not floating point, or `out` not float32.
    ValueError
        The length is no power of two, `axis` is out of range, or `out` is read-only, of another shape or layout, or
        overlaps `x` in part.

    Notes
    -----
    ``|y - exact| <= 1.001 m u sum |x|``, ``m = log2 n``, ``u = 2^-24``; exact for integers whose sums stay below 2^24.
    n log2 n additions.

    Examples
    --------
    >>> fwht([1.0, 2.0, 3.0, 4.0])
    array([10., -2., -4.,  0.], dtype=float32)
    """
    x = _common.floats(x, "x")
    axis = _common.axis_of(axis, x.ndim)
    n = x.shape[axis]
    if n < 1 or n & (n - 1):
        raise ValueError(f"x: expected a power of two along axis {axis}, got shape {x.shape}")
    out = _common.output(out, x.shape)
    by_rows, from_, to = _common.in_layout(x, out, axis)
    (_kernels.fwht_rows if by_rows else _kernels.fwht_columns)(from_, to, threads, _common.level(isa))
    return out


def _cropped(crop, length):
    """(pitch, rows, cols, shape of what is kept) of a crop."""
    if crop is None:
        return length, 1, length, (length,)
    if not isinstance(crop, tuple):
        kept = check_int(crop, "crop", 0)
        if kept > length:
            raise ValueError(f"crop: expected at most the length {length}, got {kept}")
        return length, 1, kept, (kept,)
    if len(crop) != 2:
        raise ValueError(f"crop: expected None, an int or (rows, cols), got {crop!r}")
    rows, cols = (check_int(v, "crop", 0) for v in crop)
    side = 1 << (length.bit_length() - 1) // 2
    if side * side != length:
        raise ValueError(f"crop: expected a length that is the square of a power of two for {crop}, got {length}")
    if max(rows, cols) > side:
        raise ValueError(f"crop: expected at most ({side}, {side}) of {length} elements, got {crop}")
    return side, rows, cols, crop


def ovsf(alpha, index, length, crop=None, *, isa=None):
    """Filters generated from OVSF codes.

    ``w = sum_j alpha_j C(length, index_j)``, with ``C(1, 0) = [1]``, ``C(2n, 2k) = [C(n, k), C(n, k)]`` and
    ``C(2n, 2k + 1) = [C(n, k), -C(n, k)]``: mutually orthogonal codes of +1 and -1. Only the coefficients are stored.

    Parameters
    ----------
    alpha : array_like of float, shape (..., J)
        Coefficients, one set per filter.
    index : array_like of int, shape (J,), or None
        Distinct codes in [0, length); None: the first J.
    length : int
        Elements of a filter before cropping, a power of two up to 2^30.
    crop : int or (int, int), optional
        What is kept: the first `crop` elements; or, of the filter as a square slice, the upper left (rows, cols): 3x3
        filters come from a 4x4 slice by ``length=16, crop=(3, 3)``. Default all.
    isa : str, optional
        Instruction-set level; the result is the same bytes at each.

    Returns
    -------
    ndarray of float32, shape (..., crop) or (..., rows, cols)
        Not normalised (codes have norm sqrt(length)).

    Raises
    ------
    TypeError
        `alpha` is not floating point, or `index` not integers.
    ValueError
        The length is no power of two, there are more coefficients than codes, an index is out of range or occurs
        twice, or the crop exceeds the filter.

    Notes
    -----
    Code k is Sylvester-Hadamard row bitrev(k), so a filter is one :func:`fwht` of its coefficients at those places:
    length log2(length) additions instead of J length. ``|w - exact| <= 1.001 log2(length) u sum |alpha|``,
    ``u = 2^-24``. Method of unzipFPGA: Venieris, Fernandez-Marques and Lane, FCCM 2021, arXiv 2103.05600.

    Examples
    --------
    >>> ovsf([[1.0, 0.5]], [0, 1], 4)
    array([[1.5, 1.5, 0.5, 0.5]], dtype=float32)
    """
    alpha = _common.floats(alpha, "alpha")
    if alpha.ndim == 0:
        raise ValueError("alpha: expected shape (..., J), got a scalar")
    alpha = np.ascontiguousarray(alpha)
    length = check_int(length, "length", 1)
    if length & (length - 1) or length > 1 << 30:
        raise ValueError(f"length: expected a power of two up to 2^30, got {length}")
    codes = alpha.shape[-1]
    if codes > length:
        raise ValueError(f"alpha: expected at most {length} coefficients per filter, got {codes}")
    if index is None:
        index = np.arange(codes, dtype=np.int64)
    else:
        index = _common.integers(index, "index")
        if index.shape != (codes,):
            raise ValueError(f"index: expected shape ({codes},), one code per coefficient, got {index.shape}")
    pitch, rows, cols, kept = _cropped(crop, length)
    filters = int(np.prod(alpha.shape[:-1], dtype=np.int64))
    out = np.empty((filters, rows, cols), np.float32)
    _kernels.ovsf(alpha.reshape(filters, codes), index, length, pitch, out, _common.level(isa))
    return out.reshape(*alpha.shape[:-1], *kept)
