"""Patterns of entries, and the products of rows that they name."""

import math

import numpy as np

from dnnsched._native import _kernels
from dnnsched.kernels import _common
from dnnsched.kernels._csr import _parts


class Pattern:
    """Which entries of attention's scores exist: one CSR structure, or one per head.

    Made by :func:`pattern`; checked once; immutable; may be used by any number of Python threads at once; can be
    pickled.

    Attributes
    ----------
    shape : tuple of int
        (Lq, Lk), or (H, Lq, Lk) for one structure per head.
    nnz : int
        Entries of all heads.
    nbytes : int
        Memory held.
    """

    def __init__(self, capsule, by_head):
        self._pattern = capsule
        heads, rows, columns, self.nnz, self.nbytes = _kernels.pattern_info(capsule)
        self.shape = (heads, rows, columns) if by_head else (rows, columns)

    def __setattr__(self, name, value):
        """Set an attribute once: patterns are immutable."""
        if name in self.__dict__:
            raise AttributeError(f"{name}: a pattern is immutable")
        object.__setattr__(self, name, value)

    def csr(self):
        """The structure.

        Returns
        -------
        indptr : ndarray of int64, shape (H * Lq + 1,)
        indices : ndarray of int64, shape (nnz,)
        """
        indptr = np.empty(math.prod(self.shape[:-1]) + 1, np.int64)
        indices = np.empty(self.nnz, np.int64)
        _kernels.pattern_unpack(self._pattern, indptr, indices)
        return indptr, indices

    def to_dense(self):
        """The pattern as a mask.

        Returns
        -------
        ndarray of bool, of the pattern's shape
        """
        indptr, indices = self.csr()
        seen = np.zeros((indptr.size - 1, self.shape[-1]), bool)
        seen[np.repeat(np.arange(indptr.size - 1), np.diff(indptr)), indices] = True
        return seen.reshape(self.shape)

    def __reduce__(self):
        """Pickle by structure."""
        return pattern, ((*self.csr(), self.shape),)

    def __repr__(self):
        """Shape and size."""
        return f"<Pattern {'x'.join(map(str, self.shape))}, {self.nnz} entries, {self.nbytes} bytes>"


def pattern(source):
    """Check and keep the structure of sparse attention.

    Parameters
    ----------
    source : ndarray of bool, scipy.sparse matrix, torch CSR tensor, tuple or Pattern
        True is an entry of an array (Lq, Lk) or (H, Lq, Lk). Of matrices what is stored counts, whatever its value. A
        tuple is ``(indptr, indices, shape)`` with strictly ascending columns in every row; for shape (H, Lq, Lk) the
        rows of the heads lie behind each other.

    Returns
    -------
    Pattern

    Raises
    ------
    TypeError
        An array is not bool, or indices are not integers.
    FormatError
        Row pointers or columns are out of order or range; the message names the first bad row.
    ValueError
        Shapes do not agree, or an extent is 2^31 or more.

    Examples
    --------
    >>> import numpy as np
    >>> names = pattern(np.tri(3, dtype=bool))
    >>> names.shape, names.nnz
    ((3, 3), 6)
    """
    if isinstance(source, Pattern):
        return source
    if isinstance(source, tuple):
        if len(source) != 3:
            raise ValueError(f"pattern: expected (indptr, indices, shape), got {len(source)} items")
        indptr, indices, shape = source
    elif hasattr(source, "crow_indices") or hasattr(source, "tocsr"):
        indptr, indices, _, shape = _parts(source)
    else:
        seen = np.asarray(source)
        if seen.dtype != bool:
            raise TypeError(f"pattern: expected bool, a sparse matrix or (indptr, indices, shape), got {seen.dtype}")
        shape = seen.shape
        rows, indices = np.nonzero(seen.reshape(math.prod(shape[:-1]), -1) if seen.size else np.empty((0, 0)))
        indptr = np.zeros(math.prod(shape[:-1]) + 1, np.int64)
        np.cumsum(np.bincount(rows, minlength=indptr.size - 1), out=indptr[1:])
    shape = tuple(int(n) for n in shape)
    if len(shape) not in (2, 3) or min(shape) < 0:
        raise ValueError(f"pattern: expected shape (Lq, Lk) or (H, Lq, Lk), got {shape}")
    if shape[:-2] == (0,):
        raise ValueError("pattern: expected at least one head, got none")
    indptr, indices = _common.integers(indptr, "indptr"), _common.integers(indices, "indices")
    if indptr.size != math.prod(shape[:-1]) + 1:
        raise ValueError(f"indptr: expected {math.prod(shape[:-1]) + 1} row pointers, got {indptr.size}")
    return Pattern(_kernels.pattern_new(indptr, indices, shape[0] if len(shape) == 3 else 1, shape[-1]),
                   len(shape) == 3)


_pattern = pattern  # where an argument has its name


def stack(x, name):
    """`x` of shape (..., L, d) as contiguous float32 (B, L, d)."""
    x = np.ascontiguousarray(_common.floats(x, name))
    if x.ndim < 2:
        raise ValueError(f"{name}: expected shape (..., L, d), got {x.shape}")
    return x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:])


def lead(q, by_head):
    """Leading axes of values of a pattern for queries `q`: without the heads' when each has its own structure."""
    axes = np.shape(q)[:-2]
    if by_head is not None and axes[-1:] != (by_head,):
        raise ValueError(f"q: expected shape (..., {by_head}, Lq, d) for a pattern of {by_head} heads, "
                         f"got {np.shape(q)}")
    return axes if by_head is None else axes[:-1]


def same_problems(q, k, name):
    """ValueError unless two stacks have the same leading axes."""
    if np.shape(q)[:-2] != np.shape(k)[:-2]:
        raise ValueError(f"{name}: expected leading axes {np.shape(q)[:-2]} as q has, got {np.shape(k)[:-2]}")


def factor(scale):
    """A finite scale."""
    scale = float(scale)
    if not abs(scale) <= np.finfo(np.float32).max:
        raise ValueError(f"scale: expected a finite float32, got {scale}")
    return scale


def sddmm(q, k, pattern, *, scale=1.0, out=None, threads=1, isa=None):
    """Compute the entries of ``scale * q @ k^T`` that a pattern names (sampled dense-dense product).

    Parameters
    ----------
    q : array_like of float, shape (..., Lq, d)
        float64, float16 and strided input is copied once.
    k : array_like of float, shape (..., Lk, d)
        With the leading axes of `q`.
    pattern : Pattern, or what :func:`pattern` takes
        Of shape (Lq, Lk) for all problems, or (H, Lq, Lk) where H is the last leading axis of `q`. Make a
        :class:`Pattern` once where it is used often.
    scale : float
        Finite.
    out : ndarray of float32, of the result's shape, C-contiguous, optional
        Written and returned; apart from `q` and `k`.
    threads : int
        1 to 256; results do not depend on it.
    isa : str, optional
        Instruction-set level; default the one in use.

    Returns
    -------
    ndarray of float32, shape (..., nnz)
        In the pattern's order, row by row; per-head patterns take the place of the heads' axis: (..., nnz of all
        heads). With ``("ragged", indptr)`` :func:`softmax` normalises the rows.

    Raises
    ------
    TypeError, FormatError, ValueError
        As :func:`pattern` does; or shapes do not agree, or `out` is not as said.

    Notes
    -----
    An entry is summed in vectors of ascending index, then across lanes, and depends on its two rows alone:
    ``|s - exact| <= 2 (d + 2) u |scale| sum |q k|`` with ``u = 2^-24``.

    Examples
    --------
    >>> import numpy as np
    >>> sddmm(np.eye(2, dtype=np.float32), np.array([[1, 2], [3, 4]], np.float32), np.array([[0, 1], [1, 0]], bool))
    array([3., 2.], dtype=float32)
    """
    names = _pattern(pattern)
    level = _common.level(isa)
    q3, k3 = stack(q, "q"), stack(k, "k")
    same_problems(q, k, "k")
    shape = (*lead(q, names.shape[0] if len(names.shape) == 3 else None), names.nnz)
    out = _common.output(out, shape)
    if not out.flags.c_contiguous:
        raise ValueError("out: expected a C-contiguous array, got a strided one")
    _kernels.sddmm(q3, k3, names._pattern, factor(scale), out.reshape(math.prod(shape[:-1]), names.nnz), threads, level)
    return out
