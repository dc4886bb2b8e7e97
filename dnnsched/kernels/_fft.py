"""Fourier transforms."""

import numpy as np

from dnnsched._native import _kernels
from dnnsched.kernels import _common

SHORTEST, LONGEST = 8, 8192


def _length_of(shape, axis):
    """Check the length along an axis."""
    n = shape[axis]
    if not SHORTEST <= n <= LONGEST or n & (n - 1):
        raise ValueError(f"x: expected a power of two from {SHORTEST} to {LONGEST} along axis {axis}, "
                         f"got shape {shape}")


def fft(x, axis=-1, out=None, *, threads=1, isa=None):
    """Fourier transform along one axis.

    ``y[k] = sum_j x[j] exp(-2 pi i j k / n)``, not normalised, as ``numpy.fft.fft``.

    Parameters
    ----------
    x : array_like of complex or float, shape (..., n, ...)
        n = 8, 16, ..., 8192 along `axis`. What is not complex64, or strided, is copied once.
    axis : int
    out : ndarray of complex64, shape of x, optional
        Written and returned; may be `x` itself, else apart from it. A contiguous last axis if `axis` is the last one
        of two, C-contiguous otherwise.
    threads : int
        1 to 256; splits vectors, so the result does not depend on it.
    isa : str, optional
        Instruction-set level; results differ in the last bits between levels, and between the last axis and others.

    Returns
    -------
    ndarray of complex64, shape of x

    Raises
    ------
    TypeError
        `x` is neither complex nor floating point, or `out` not complex64.
    ValueError
        The length is another, `axis` is out of range, or `out` is read-only, of another shape or layout, or overlaps
        `x` in part.

    Notes
    -----
    Relative error in the 2-norm of each vector at most ``3e-7 log2 n``. Cooley and Tukey, Mathematics of Computation
    19, 1965, with radices up to 16. The inverse is ``conj(fft(conj(y))) / n``.

    Examples
    --------
    >>> fft([1.0, 0, 0, 0, 0, 0, 0, 0])[:3]
    array([1.+0.j, 1.+0.j, 1.+0.j], dtype=complex64)
    """
    x = _common.complexes(x, "x")
    axis = _common.axis_of(axis, x.ndim)
    _length_of(x.shape, axis)
    out = _common.output(out, x.shape, np.complex64)
    by_rows, from_, to = _common.in_layout(x, out, axis)
    (_kernels.fft_rows if by_rows else _kernels.fft_columns)(from_, to, threads, _common.level(isa))
    return out
