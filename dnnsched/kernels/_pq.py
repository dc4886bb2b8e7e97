"""Product quantisation: vectors as a few bytes."""

import numpy as np

from dnnsched._arrays import check_int
from dnnsched._native import _kernels
from dnnsched.kernels import _common


class PQ:
    """A product quantiser: each of m pieces of a vector becomes the number of its nearest centroid.

    Immutable; may be used by any number of Python threads at once; can be pickled (the codebooks travel).

    Parameters
    ----------
    codebooks : array_like of float, shape (m, 16 or 256, dsub)
        Centroids of each piece, finite; for vectors of ``D = m * dsub`` elements. Copied.
        :meth:`train` makes them from data.
    isa : str, optional
        Instruction-set level; default the one in use. Codes are the same at every level.

    Attributes
    ----------
    codebooks : ndarray of float32, shape (m, 2 ** nbits, dsub)
        Read-only.
    m, nbits, dim : int
        Pieces, bits of a code (4 or 8), elements D of a vector.
    nbytes : int
        Memory that the packed quantiser holds.
    isa : str
        Instruction-set level of the code that runs.

    Raises
    ------
    TypeError
        `codebooks` are not floating point.
    ValueError
        Another shape, a centroid that is not finite, or a level that does not run here.

    Notes
    -----
    The code of piece s of x is ``argmin_j sum_k (x_k - c_jk)^2`` in double, k ascending, ties to the lowest j. Codes
    are exactly that at every level and for any number of threads: distances are compared in float32 by
    ``|c|^2 / 2 - x . c`` about the centroids' mean, and where the two lowest are closer than float32 can tell, in
    double. (Jegou, Douze and Schmid, *Product quantization for nearest neighbor search*, IEEE TPAMI 33, 2011.)

    Codes of 4 bits take a byte each as well.

    Examples
    --------
    >>> import numpy as np
    >>> grid = np.linspace(0, 1.5, 16, dtype=np.float32).reshape(1, 16, 1)
    >>> pq = PQ(np.concatenate([grid, 10 * grid]))
    >>> pq.encode(np.array([[0.33, 4.9]], np.float32))
    array([[3, 5]], dtype=uint8)
    >>> pq.decode(np.array([[3, 5]], np.uint8))
    array([[0.3, 5. ]], dtype=float32)
    """

    __slots__ = ("_isa", "_plan", "codebooks", "dim", "isa", "m", "nbits", "nbytes")

    def __init__(self, codebooks, *, isa=None):
        codebooks = np.array(_common.floats(codebooks, "codebooks"), order="C")
        if codebooks.ndim != 3 or codebooks.shape[1] not in (16, 256):
            raise ValueError(f"codebooks: expected shape (m, 16 or 256, dsub), got {codebooks.shape}")
        plan = _kernels.pq_new(codebooks, _common.level(isa))
        codebooks.flags.writeable = False
        nbytes, level = _kernels.pq_info(plan)
        m, ksub, dsub = codebooks.shape
        for name, value in {"_isa": isa, "_plan": plan, "codebooks": codebooks, "dim": m * dsub, "isa": level, "m": m,
                            "nbits": ksub.bit_length() - 1, "nbytes": nbytes}.items():
            object.__setattr__(self, name, value)

    @classmethod
    def train(cls, X, m, nbits=8, rng=0, *, batch=16384, steps=25, threads=1, isa=None):
        """Train codebooks on rows by mini-batch k-means.

        Parameters
        ----------
        X : array_like of float, shape (N, D)
            Finite; at least ``2 ** nbits`` rows. float64, float16 or strided input is copied once.
        m : int
            Pieces; a divisor of D.
        nbits : {8, 4}
            Bits of a code: 256 or 16 centroids per piece.
        rng : int, Generator or BitGenerator
            Puts the rows in an order.
        batch : int
            Rows of a step, at least ``2 ** nbits``; N or more takes all, and steps are then Lloyd's iterations.
        steps : int
        threads : int
            1 to 256; the result does not depend on it, nor on `isa`.
        isa : str, optional
            As for the constructor.

        Returns
        -------
        PQ

        Raises
        ------
        TypeError
            `X` is not floating point, or a parameter not an integer.
        ValueError
            `X` is not finite or has too few rows, or a parameter is out of range.

        Notes
        -----
        Centroids begin as rows in a random order, of which every step takes the next `batch`. A step encodes its rows
        and moves each centroid to the mean of itself, weighted, and its new rows: mini-batch k-means (Sculley,
        *Web-scale k-means clustering*, WWW 2010), with weights that forget over one pass of the data. A centroid
        that holds less than one row is re-seeded from the largest cluster: it becomes that cluster's farthest row and
        takes the rows nearer to it. Data with fewer distinct pieces than centroids leave some unused.

        Examples
        --------
        >>> import numpy as np
        >>> X = np.random.default_rng(0).standard_normal((1000, 8)).astype(np.float32)
        >>> pq = PQ.train(X, 4, nbits=4)
        >>> pq.encode(X).shape, bool(((pq.decode(pq.encode(X)) - X) ** 2).mean() < 0.15)
        ((1000, 4), True)
        """
        X = _rows(X)
        m = check_int(m, "m", 1)
        if X.shape[1] == 0 or X.shape[1] % m:
            raise ValueError(f"m: expected a divisor of the {X.shape[1]} columns of X, got {m}")
        if check_int(nbits, "nbits", 4, 8) not in (4, 8):
            raise ValueError(f"nbits: expected 4 or 8, got {nbits}")
        batch, steps = check_int(batch, "batch", 1), check_int(steps, "steps", 1)
        words = np.random.default_rng(rng).bit_generator.random_raw(len(X))
        codebooks = np.empty((m, 2**nbits, X.shape[1] // m), np.float32)
        _kernels.pq_train(X, np.argsort(words, kind="stable"), codebooks, batch, steps, threads, _common.level(isa))
        return cls(codebooks, isa=isa)

    def __setattr__(self, name, value):
        """Refuse: quantisers are immutable."""
        raise AttributeError(f"{name}: a quantiser is immutable")

    def __reduce__(self):
        """Pickle by codebooks."""
        return _remake, (self.codebooks, self._isa)

    def __repr__(self):
        """Shape and size."""
        return f"<PQ {self.dim} elements as {self.m} codes of {self.nbits} bits, {self.nbytes} bytes, {self.isa}>"

    def encode(self, X, *, out=None, threads=1):
        """Numbers of the nearest centroids.

        Parameters
        ----------
        X : array_like of float, shape (N, D)
            float64, float16 or strided input is copied once.
        out : ndarray of uint8, shape (N, m), optional
            Written and returned; a contiguous last axis, apart from `X`. Of no use after an error.
        threads : int
            1 to 256. Small arrays are encoded on one thread all the same.

        Returns
        -------
        ndarray of uint8, shape (N, m)

        Raises
        ------
        TypeError
            `X` is not floating point, or `out` of another dtype.
        ValueError
            A shape does not fit, a row is not finite, or `out` overlaps `X`.
        """
        X = _rows(X)
        if X.shape[1] != self.dim:
            raise ValueError(f"X: expected shape (N, {self.dim}), got {X.shape}")
        out = _common.output(out, (len(X), self.m), np.uint8)
        _kernels.pq_encode(self._plan, X, out, threads)
        return out

    def decode(self, codes, *, out=None, threads=1):
        """Centroids of codes.

        Parameters
        ----------
        codes : array_like of int, shape (N, m)
            Below ``2 ** nbits``; other dtypes than uint8 are copied once.
        out : ndarray of float32, shape (N, D), optional
            Written and returned; a contiguous last axis, apart from `codes`.
        threads : int

        Returns
        -------
        ndarray of float32, shape (N, D)

        Raises
        ------
        TypeError
            `codes` are not integers, or `out` is of another dtype.
        ValueError
            A shape does not fit, a code is out of range, or `out` overlaps `codes`.
        """
        codes = np.asarray(codes)
        if codes.dtype.kind not in "iu":
            raise TypeError(f"codes: expected integers, got dtype {codes.dtype}")
        if codes.ndim != 2 or codes.shape[1] != self.m:
            raise ValueError(f"codes: expected shape (N, {self.m}), got {codes.shape}")
        if codes.dtype != np.uint8:
            top = 2**self.nbits
            bad = np.argwhere((codes < 0) | (codes >= top))
            if len(bad):
                row, column = bad[0]
                raise ValueError(f"codes: expected values from 0 to {top - 1}, got {codes[row, column]} in row {row}, "
                                 f"column {column}")
        codes = np.ascontiguousarray(codes, np.uint8)
        out = _common.output(out, (len(codes), self.dim))
        _kernels.pq_decode(self._plan, codes, out, threads)
        return out


def _rows(X):
    X = _common.floats(X, "X")
    if X.ndim != 2:
        raise ValueError(f"X: expected 2 dimensions (N, D), got shape {X.shape}")
    return X


def _remake(codebooks, isa):
    return PQ(codebooks, isa=isa)
