"""Plans of nested bit planes: one set of weights, readable at several precisions."""

import operator

import numpy as np

from dnnsched._native import _kernels
from dnnsched.kernels import _common
from dnnsched.kernels._plan import MatPlan


class NestedPlan(MatPlan):
    """A :class:`MatPlan` whose products choose how many bits of its weights they read.

    Made by :func:`~dnnsched.kernels.nested`.

    Attributes
    ----------
    bits : int
        Of the whole codes.
    group : int or None
        Columns per scale.
    codebook : bool
    """

    def __init__(self, plan, options):
        super().__init__(plan, options)
        self.bits, self.group, self.codebook = options["bits"], options["group"], options["codebook"]

    def __reduce__(self):
        """Pickle by codes and scales (or tables), so that the copy is the same in every bit."""
        arrays = _arrays(*self.shape, self.bits, self.group, self.codebook)
        _kernels.nested_unpack(self._plan, arrays[0], self.bits, self.group or 0, *arrays[1:])
        return _from_codes, (arrays, self._options)

    def _check_bits(self, bits):
        if bits is None:
            return self.bits
        bits = operator.index(bits)
        if not 1 <= bits <= self.bits:
            raise ValueError(f"bits: expected 1 to {self.bits}, got {bits}")
        return bits

    def matmul(self, X, bits=None, *, out=None, threads=1):
        """Multiply columns at a precision.

        Parameters
        ----------
        X : array_like of float, shape (K, N) or (K,)
            float64, float16 or strided input is copied once.
        bits : int, optional
            1 to the plan's bits, which are the default.
        out : ndarray of float32, shape (M, N) or (M,), optional
            Written and returned; a contiguous last axis, apart from `X`.
        threads : int
            1 to 256. Short products run on one thread all the same.

        Returns
        -------
        ndarray of float32, shape (M, N) or (M,)

        Raises
        ------
        TypeError, ValueError
            As :meth:`MatPlan.matmul` does, or `bits` is out of range.
        """
        execute = self._execute_bits(self._check_bits(bits), threads)
        return _common.multiply_columns(execute, self.shape, _common.floats(X, "X"), "X", out)

    def _execute_bits(self, bits, threads):
        return lambda rows, x, y: _kernels.nested_execute(self._plan, bits, rows, x, y, threads)

    def linear(self, x, bits=None, *, out=None, threads=1):
        """Apply a linear layer to rows at a precision: ``x W^T``.

        Parameters
        ----------
        x : array_like of float, shape (..., K)
        bits : int, optional
        out : ndarray of float32, shape (..., M), C-contiguous, optional
            Written and returned.
        threads : int

        Returns
        -------
        ndarray of float32, shape (..., M)

        Raises
        ------
        TypeError, ValueError
            As :meth:`matmul` does.
        """
        execute = self._execute_bits(self._check_bits(bits), threads)
        return _common.multiply_rows(execute, self.shape, _common.floats(x, "x"), "x", out)

    def to_dense(self, bits=None):
        """Weights that a product at a precision multiplies.

        Parameters
        ----------
        bits : int, optional

        Returns
        -------
        ndarray of float32, shape (M, K)
        """
        w = np.empty(self.shape, np.float32)
        _kernels.nested_to_dense(self._plan, self._check_bits(bits), w)
        return w

    def read_bytes(self, bits=None):
        """Bytes of weights (planes, and scales or tables) that a product at a precision reads.

        Parameters
        ----------
        bits : int, optional

        Returns
        -------
        int
        """
        return _kernels.nested_bytes(self._plan, self._check_bits(bits))


def _arrays(m, k, bits, group, codebook):
    """(codes, scale, zero, lut) to be filled; what the kind does not use is None."""
    codes = np.zeros((m, k), np.uint8)
    if codebook:
        return codes, None, None, np.zeros((m, 2 ** (bits + 1) - 2), np.float32)
    shape = (m, 1 if group is None else -(-k // group))
    return codes, np.zeros(shape, np.float32), np.zeros(shape, np.float32), None


def _from_codes(arrays, options):
    plan = _kernels.nested_plan(arrays[0], options["bits"], options["group"] or 0, *arrays[1:],
                                _common.level(options["isa"]))
    return NestedPlan(plan, options)


def nested(W, bits=8, group=None, codebook=False, *, isa=None):
    """Quantise and pack a matrix whose low-precision versions are the top bits of its codes.

    Parameters
    ----------
    W : array_like of float, shape (M, K)
        Finite; at most 65536 columns.
    bits : int
        2 to 8.
    group : int, optional
        Columns per scale, a multiple of 64; default one scale per row. Not with a codebook.
    codebook : bool
        False: uniform steps, inputs are quantised to 8 bits, sums are exact: the fast form. True: per row a table of
        centroids for each precision, inputs stay floats: the form of Any-Precision LLM, for fidelity.
    isa : str, optional
        Instruction-set level; default the one in use.

    Returns
    -------
    NestedPlan
        Of format ``"nested"``: ``plan.matmul(x, bits=3)``.

    Raises
    ------
    TypeError
        `W` is not floating point, or a parameter not an integer.
    ValueError
        A weight is not finite, or a parameter out of range.

    Notes
    -----
    With q the codes of B bits and ``q_p = q >> (B - p)``, uniform weights at p bits are
    ``w_p = s q_p 2^(B-p) + z + s (2^(B-p) - 1) / 2``,
    ``s = (max - min) / (2^B - 1)`` and ``z = min`` of the row or group.
    A vector x is quantised as :func:`int8` does, ``t = max |x| / 127``, and
    ``|y - w_p x| <= sum |w_p| (t (1/2 + 2^-14) + 4 u (|x| + t))``, ``u = 2^-24``; results are the same at every level
    and number of threads. A vector with NaN or infinity gives NaN.

    Codebook: four clusters per row by Lloyd's iterations, then every cluster is cut in two, bit by bit;
    ``|y - w_p x| <= 2 (K / 16 + 18) u sum |w_p x|``.

    Products read p / 8 byte per weight at p = 2, 3, 4 and 8 (1 reads what 2 does; 5, 6 and 7 what 8 does), rows padded
    to 512 columns. Planes and tables follow Park et al., *Any-Precision LLM* (ICML 2024). At 1 and 2 bits fields of the
    first plane are multiplied where they lie, with an accumulator per position; from 3 bits on planes are merged into
    nibbles before the product, which a layout that differs from plane to plane makes cheap. Operations in
    :meth:`MatPlan.cost` are those of fp32 that as many instructions would do (uniform weights with ``vpdpbusd``: 16,
    23, 25 and 41 per 512 weights at 2, 3, 4 and more bits, where fp32 takes 32).

    Examples
    --------
    >>> import numpy as np
    >>> plan = nested(np.array([[0.0, 1.0, 2.0, 3.0]], np.float32), bits=2)
    >>> plan.to_dense(1)
    array([[0.5, 0.5, 2.5, 2.5]], dtype=float32)
    """
    W = _common.weights(W)
    bits = operator.index(bits)
    if not 2 <= bits <= 8:
        raise ValueError(f"bits: expected 2 to 8, got {bits}")
    if group is not None:
        group = operator.index(group)
        if codebook or group < 64 or group % 64:
            raise ValueError(f"group: expected a multiple of 64, and no codebook, got {group}")
    if W.shape[1] > 65536:
        raise ValueError(f"W: expected at most 65536 columns, so that sums fit 32 bits, got {W.shape[1]}")
    arrays = _arrays(*W.shape, bits, group, bool(codebook))
    _kernels.nested_quantize(W, arrays[0], bits, group or 0, *arrays[1:])
    return _from_codes(arrays, {"bits": bits, "group": group, "codebook": bool(codebook), "isa": isa})
