"""Plans of compressed sparse rows."""

import numpy as np

from dnnsched._native import _kernels
from dnnsched.kernels import _common
from dnnsched.kernels._plan import MatPlan


class _CsrPlan(MatPlan):
    def _source(self):
        """(indptr, indices, data, shape): stored zeros stay stored."""
        indptr = np.empty(self.shape[0] + 1, np.int64)
        indices, data = np.empty(self.nnz, np.int64), np.empty(self.nnz, np.float32)
        _kernels.csr_unpack(self._plan, indptr, indices, data)
        return indptr, indices, data, self.shape


def _parts(W):
    """(indptr, indices, data, shape) of anything that :func:`csr` takes."""
    if isinstance(W, tuple):
        if len(W) != 4:
            raise ValueError(f"W: expected (indptr, indices, data, shape), got {len(W)} items")
        return W
    if hasattr(W, "crow_indices"):  # torch.sparse_csr
        return W.crow_indices().numpy(), W.col_indices().numpy(), W.values().detach().numpy(), tuple(W.shape)
    if hasattr(W, "tocsr"):  # scipy.sparse
        W = W.tocsr()
        if not W.has_canonical_format:
            W = W.copy()
            W.sum_duplicates()
        return W.indptr, W.indices, W.data, W.shape
    W = _common.weights(W)
    rows, columns = np.nonzero(W)  # NaN is not zero
    indptr = np.zeros(W.shape[0] + 1, np.int64)
    np.cumsum(np.bincount(rows, minlength=W.shape[0]), out=indptr[1:])
    return indptr, columns, W[rows, columns], W.shape


def csr(W, *, bias=None, act=None, isa=None):
    """Pack a sparse matrix in compressed rows.

    Parameters
    ----------
    W : array_like, scipy.sparse matrix, torch CSR tensor or tuple
        (M, K) weights. Of an array the non-zeros are stored (NaN included). A tuple is
        ``(indptr, indices, data, shape)`` with strictly ascending columns in every row; stored zeros stay stored.
    bias : array_like of float, shape (M,), optional
    act : None, "relu" or (lo, hi)
        Clamp applied to the result; NaN stays NaN.
    isa : str, optional
        Instruction-set level; default the one in use.

    Returns
    -------
    MatPlan
        Of format ``"csr"``.

    Raises
    ------
    TypeError
        Weights are not floating point, or indices not integers.
    FormatError
        Row pointers or columns are out of order or range; the message names the first bad row.
    ValueError
        Shapes do not agree, or an extent is 2^31 or more.

    Notes
    -----
    Each output is summed from the bias on in ascending column order with one fp32 accumulator, so it depends neither on
    `threads` nor on the number of columns; with k stored weights in its row and ``u = 2^-24``,
    ``|y - exact| <= 2 (k + 2) u (|b| + sum |w x|)``. Absent weights are not multiplied: unlike a dense product, a zero
    times infinity or NaN in ``X`` gives nothing.

    Examples
    --------
    >>> import numpy as np
    >>> plan = csr(np.array([[0, 2], [0, 0]], np.float32), bias=np.array([1, -1], np.float32), act="relu")
    >>> plan @ np.array([10, 3], np.float32)
    array([7., 0.], dtype=float32)
    """
    indptr, indices, data, shape = _parts(W)
    rows, columns = (int(v) for v in shape)
    indptr, indices = _common.integers(indptr, "indptr"), _common.integers(indices, "indices")
    data = np.ascontiguousarray(_common.floats(data, "data"))
    if indptr.size != rows + 1:
        raise ValueError(f"indptr: expected {rows + 1} row pointers, got {indptr.size}")
    if columns < 0:
        raise ValueError(f"shape: expected extents >= 0, got {shape}")
    if data.shape != indices.shape:
        raise ValueError(f"data: expected shape {indices.shape} as indices, got {data.shape}")
    bias = _common.bias_of(bias, rows)
    lo, hi = _common.act_range(act)
    plan = _kernels.csr_plan(indptr, indices, data, columns, bias, lo, hi, _common.level(isa))
    return _CsrPlan(plan, {"bias": bias, "act": act, "isa": isa})


_CsrPlan._factory = staticmethod(csr)
