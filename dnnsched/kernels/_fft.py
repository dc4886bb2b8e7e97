"""Fourier transforms and Fourier mixing."""

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


def fourier_mix(x, out=None, *, threads=1, isa=None):
    """Fourier mixing of tokens: the real part of a two-dimensional transform.

    ``y = Re(FFT_L(FFT_d(x)))``, i.e. ``y[i, k] = sum_rc x[r, c] cos(2 pi (i r / L + k c / d))``: what FNet and FABNet
    put in the place of attention.

    Parameters
    ----------
    x : array_like of float, shape (..., L, d)
        Token r of L, feature c of d; each a power of two from 8 to 8192. float64, float16 or strided input is copied
        once.
    out : ndarray of float32, shape of x, optional
        C-contiguous; written and returned; may be `x` itself, else apart from it.
    threads : int
        1 to 256; splits columns, then rows, so the result does not depend on it.
    isa : str, optional
        Instruction-set level; results differ in the last bits between levels.

    Returns
    -------
    ndarray of float32, shape of x

    Raises
    ------
    TypeError
        `x` is not floating point, or `out` not float32.
    ValueError
        L or d is another, or `out` is read-only, of another shape, strided, or overlaps `x` in part.

    Notes
    -----
    Relative error in the 2-norm at most ``3e-7 (log2 L + log2 d)``. Only the even part of `x` contributes, and its
    transform is real and even: ``1.25 L d (log2 L + log2 d)`` operations, a quarter of a complex transform's.
    One NaN or infinity reaches all results of its matrix, and none of another matrix of the stack: each is NaN or
    infinite, which of them is not specified. Only results in whose sum its cosine is zero may stay finite.

    Lee-Thorp, Ainslie, Eckstein and Ontanon, FNet, NAACL 2022, arXiv 2105.03824.

    Examples
    --------
    >>> fourier_mix(np.ones((8, 8)))[0, :3]
    array([64.,  0.,  0.], dtype=float32)
    """
    x = np.ascontiguousarray(_common.floats(x, "x"))
    if x.ndim < 2:
        raise ValueError(f"x: expected shape (..., L, d), got {x.shape}")
    for axis in (x.ndim - 2, x.ndim - 1):
        _length_of(x.shape, axis)
    out = _common.output(out, x.shape)
    if not out.flags.c_contiguous:
        raise ValueError("out: expected a C-contiguous array, got a strided one")
    shape = (-1 if x.size else 0, *x.shape[-2:])
    _kernels.fourier_mix(x.reshape(shape), out.reshape(shape), threads, _common.level(isa))
    return out
