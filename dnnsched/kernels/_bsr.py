"""Plans of block sparse rows."""

import numpy as np

from dnnsched._arrays import check_int
from dnnsched._native import _kernels
from dnnsched.kernels import _common
from dnnsched.kernels._plan import MatPlan


class _BsrPlan(MatPlan):
    def _source(self):
        """(indptr, indices, data, shape): stored zeros stay stored."""
        r, c, n = _kernels.bsr_blocks(self._plan)
        indptr = np.empty(-(-self.shape[0] // r) + 1, np.int64)
        indices, data = np.empty(n, np.int64), np.empty((n, r, c), np.float32)
        _kernels.bsr_unpack(self._plan, indptr, indices, data)
        return indptr, indices, data, self.shape


def _extents(block):
    """(r, c) of a `block` argument."""
    try:
        r, c = block
    except (TypeError, ValueError):
        raise ValueError(f"block: expected (r, c), got {block!r}") from None
    return check_int(r, "block", 1, 4096), check_int(c, "block", 1, 4096)


def _from_places(rows, columns, values, shape, r, c):
    """Blocks around single weights at distinct places."""
    across = max(-(-shape[1] // c), 1)
    numbers, inverse = np.unique(rows // r * across + columns // c, return_inverse=True)
    data = np.zeros((numbers.size, r, c), np.float32)
    data[inverse, rows % r, columns % c] = values
    indptr = np.searchsorted(numbers, np.arange(-(-shape[0] // r) + 1, dtype=np.int64) * across)
    return indptr, numbers % across, data, shape


def _parts(W, r, c):
    """(indptr, indices, data, shape) of anything that :func:`bsr` takes."""
    if isinstance(W, tuple):
        if len(W) != 4:
            raise ValueError(f"W: expected (indptr, indices, data, shape), got {len(W)} items")
        return W
    if hasattr(W, "crow_indices") and W.values().ndim == 3:  # torch.sparse_bsr
        return W.crow_indices().numpy(), W.col_indices().numpy(), W.values().detach().numpy(), tuple(W.shape)
    if hasattr(W, "tocoo"):  # scipy.sparse
        if getattr(W, "format", None) == "bsr" and W.blocksize == (r, c) and W.has_canonical_format:
            return W.indptr, W.indices, W.data, W.shape
        W = W.tocoo()
        if not W.has_canonical_format:
            W = W.copy()
            W.sum_duplicates()
        values = _common.floats(W.data, "data")
        keep = values != 0
        return _from_places(W.row[keep].astype(np.int64), W.col[keep].astype(np.int64), values[keep], W.shape, r, c)
    W = _common.weights(W)
    rows, columns = np.nonzero(W)  # NaN is not zero
    return _from_places(rows, columns, W[rows, columns], W.shape, r, c)


def bsr(W, block=(4, 1), *, bias=None, act=None, isa=None):
    """Pack a sparse matrix in compressed rows of blocks.

    Parameters
    ----------
    W : array_like, scipy.sparse matrix, torch BSR tensor or tuple
        (M, K) weights. Of an array, and of a scipy matrix with other blocks, every block that holds a non-zero (or NaN)
        is stored whole. A tuple is ``(indptr, indices, data, shape)`` with `data` of shape (n, r, c) and strictly
        ascending block columns in every block row; it, a torch tensor and a scipy matrix with these blocks keep the
        blocks they store. M and K need not be multiples of the block: the last blocks may reach beyond the matrix,
        and what lies there is ignored.
    block : (int, int)
        r output by c input channels, 1 to 4096 each. ``(4, 1)``, ``(8, 1)`` and ``(16, 1)`` are the usual ones; with
        fewer than 4 rows a block gains little over :func:`csr`.
    bias : array_like of float, shape (M,), optional
    act : None, "relu" or (lo, hi)
        Clamp applied to the result; NaN stays NaN.
    isa : str, optional
        Instruction-set level; default the one in use.

    Returns
    -------
    MatPlan
        Of format ``"bsr"``; ``nnz`` counts all weights of stored blocks.

    Raises
    ------
    TypeError
        Weights are not floating point, or indices not integers.
    FormatError
        Row pointers or block columns are out of order or range; the message names the first bad block row.
    ValueError
        Shapes do not agree, the blocks of a tuple or tensor are not `block`, or an extent is 2^31 or more.

    Notes
    -----
    A row of ``X`` is loaded once for four outputs, so that arithmetic bounds the product and not loads. Each output is
    summed from the bias on in ascending column order with one fp32 accumulator: the bytes of :func:`csr` with the same
    stored weights, for any `threads` and number of columns. With k stored weights in its row and ``u = 2^-24``,
    ``|y - exact| <= 2 (k + 2) u (|b| + sum |w x|)``. Zeros inside stored blocks are multiplied: there infinity or NaN
    in ``X`` gives NaN.

    Examples
    --------
    >>> import numpy as np
    >>> plan = bsr(np.array([[0, 2], [0, 1], [0, 0], [0, 0]], np.float32), block=(2, 1))
    >>> plan.nnz, plan @ np.array([10, 3], np.float32)
    (2, array([6., 3., 0., 0.], dtype=float32))
    """
    r, c = _extents(block)
    indptr, indices, data, shape = _parts(W, r, c)
    rows, columns = (int(v) for v in shape)
    indptr, indices = _common.integers(indptr, "indptr"), _common.integers(indices, "indices")
    data = np.ascontiguousarray(_common.floats(data, "data"))
    if rows < 0 or columns < 0:
        raise ValueError(f"shape: expected extents >= 0, got {shape}")
    if data.shape != (indices.size, r, c):
        raise ValueError(f"data: expected shape {(indices.size, r, c)} as indices and block, got {data.shape}")
    bias = _common.bias_of(bias, rows)
    lo, hi = _common.act_range(act)
    plan = _kernels.bsr_plan(indptr, indices, data, rows, columns, bias, lo, hi, _common.level(isa))
    return _BsrPlan(plan, {"block": (r, c), "bias": bias, "act": act, "isa": isa})


_BsrPlan._factory = staticmethod(bsr)
