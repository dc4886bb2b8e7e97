"""Sampled products from Python: a float64 twin, heads, relations to dense products, patterns, errors."""

import pickle

import numpy as np
import pytest

from dnnsched import kernels
from dnnsched.config import runnable_isa_levels
from dnnsched.errors import FormatError

U = 2.0**-24


def stacks(*shapes, seed=0):
    """Normal float32 arrays."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def check(got, q, k, seen, scale=1.0):
    """Entries of `seen`, row by row, against float64 within the docstring's bound."""
    q, k = q.astype(np.float64), k.astype(np.float64)
    exact = scale * (q @ np.swapaxes(k, -1, -2))
    size = abs(scale) * (np.abs(q) @ np.swapaxes(np.abs(k), -1, -2))
    seen = np.broadcast_to(seen, exact.shape)
    error = np.abs(got.reshape(-1) - exact[seen])
    assert got.dtype == np.float32
    assert (error <= 2 * (q.shape[-1] + 2) * U * size[seen] + 1e-38).all()


@pytest.mark.parametrize("isa", runnable_isa_levels())
def test_against_float64(isa):
    rng = np.random.default_rng(1)
    for lead, rows, columns, depth in (((), 5, 9, 3), ((2, 3), 40, 33, 64), ((2,), 150, 300, 40), ((1, 1), 7, 11, 130)):
        q, k = stacks((*lead, rows, depth), (*lead, columns, depth))
        seen = rng.random((rows, columns)) < 0.3
        check(kernels.sddmm(q, k, seen, scale=-0.5, isa=isa), q, k, seen, -0.5)
        assert kernels.sddmm(q, k, seen).shape == (*lead, seen.sum())
        if lead:
            each = rng.random((lead[-1], rows, columns)) < 0.3
            got = kernels.sddmm(q, k, each, isa=isa)
            assert got.shape == (*lead[:-1], each.sum())
            check(got, q, k, each)


def test_relations():
    """A full pattern is the dense product; permuted rows permute entries; threads and layouts change nothing."""
    q, k = stacks((2, 130, 64), (2, 200, 64))
    full = kernels.sddmm(q, k, np.ones((130, 200), bool)).reshape(2, 130, 200)
    np.testing.assert_allclose(full, q @ np.swapaxes(k, 1, 2), rtol=0, atol=1e-4)
    seen = np.random.default_rng(2).random((130, 200)) < 0.2
    some = kernels.sddmm(q, k, seen)
    np.testing.assert_array_equal(some, full[:, seen])  # an entry depends on its two rows alone
    order = np.random.default_rng(3).permutation(130)
    np.testing.assert_array_equal(kernels.sddmm(q[:, order], k, seen[order]), full[:, order][:, seen[order]])
    for threads in (2, 3, 7):
        assert kernels.sddmm(q, k, seen, threads=threads).tobytes() == some.tobytes()
    np.testing.assert_array_equal(kernels.sddmm(q.astype(np.float64), np.asfortranarray(k), seen), some)
    np.testing.assert_array_equal(kernels.sddmm(2 * q, k, seen), kernels.sddmm(q, k, seen, scale=2))
    out = np.empty_like(some)
    assert kernels.sddmm(q, k, seen, out=out) is out
    np.testing.assert_array_equal(out, some)


def test_values_go_on_to_softmax_and_csr():
    """The parts make sparse attention."""
    q, k, v = stacks((60, 32), (80, 32), (80, 20))
    seen = np.random.default_rng(4).random((60, 80)) < 0.3
    seen[7] = False
    names = kernels.pattern(seen)
    indptr, indices = names.csr()
    p = kernels.softmax(kernels.sddmm(q, k, names, scale=32**-0.5), ("ragged", indptr))
    got = kernels.csr((indptr, indices, p, names.shape)) @ v
    scores = np.where(seen, q.astype(np.float64) @ k.T.astype(np.float64) / 32**0.5, -np.inf)
    e = np.where(seen, np.exp(scores - np.max(scores, -1, initial=-1e9, keepdims=True)), 0)
    np.testing.assert_allclose(got, e / np.maximum(e.sum(-1, keepdims=True), 1e-300) @ v, rtol=0, atol=1e-5)
    assert not got[7].any()


def test_patterns():
    seen = np.random.default_rng(5).random((2, 30, 40)) < 0.2
    names = kernels.pattern(seen)
    assert names.shape == (2, 30, 40)
    assert names.nnz == seen.sum()
    np.testing.assert_array_equal(names.to_dense(), seen)
    assert kernels.pattern(names) is names
    again = pickle.loads(pickle.dumps(names))
    assert again.shape == names.shape
    for a, b in zip(again.csr(), names.csr(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(AttributeError, match="immutable"):
        names.nnz = 3
    assert repr(names).startswith("<Pattern 2x30x40, ")
    assert kernels.pattern(np.zeros((0, 4), bool)).csr()[0].tolist() == [0]
    assert kernels.pattern(np.zeros((3, 0), bool)).to_dense().shape == (3, 0)


def test_torch_agrees():
    torch = pytest.importorskip("torch")
    q, k = stacks((60, 32), (80, 32))
    seen = np.random.default_rng(8).random((60, 80)) < 0.3
    zeros = torch.from_numpy(seen.astype(np.float32)).to_sparse_csr() * 0
    want = torch.sparse.sampled_addmm(zeros, torch.from_numpy(q), torch.from_numpy(k).T, beta=0.0)
    np.testing.assert_allclose(kernels.sddmm(q, k, seen), want.values().numpy(), rtol=1e-4, atol=1e-4)


def test_patterns_of_scipy():
    sparse = pytest.importorskip("scipy.sparse")
    seen = np.random.default_rng(6).random((30, 40)) < 0.2
    stored = sparse.csr_matrix(np.where(seen, 1.0, 0))
    stored.data[:] = 0  # stored all the same
    np.testing.assert_array_equal(kernels.pattern(stored).to_dense(), seen)


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda q, k, m: kernels.sddmm(q, k, m.astype(int)), TypeError, "pattern: expected bool"),
    (lambda q, k, m: kernels.sddmm(q, k, m[0]), ValueError, r"pattern: expected shape \(Lq, Lk\)"),
    (lambda q, k, m: kernels.sddmm(q, k, m[:3]), ValueError, "q: expected 3 rows as the pattern has, got 4"),
    (lambda q, k, m: kernels.sddmm(q, k, m[:, :5]), ValueError, "k: expected"),
    (lambda q, k, m: kernels.sddmm(q, k[..., :3], m), ValueError, "k: expected"),
    (lambda q, k, m: kernels.sddmm(q[:1], k, m), ValueError, r"k: expected leading axes \(1,\)"),
    (lambda q, k, m: kernels.sddmm(q, k, np.stack([m] * 3)), ValueError, r"q: expected shape \(..., 3, Lq, d\)"),
    (lambda q, k, m: kernels.sddmm(q[0, 0], k, m), ValueError, r"q: expected shape \(..., L, d\)"),
    (lambda q, k, m: kernels.sddmm(q.astype(int), k, m), TypeError, "q: expected floating-point"),
    (lambda q, k, m: kernels.sddmm(q, k, m, scale=np.inf), ValueError, "scale: expected a finite"),
    (lambda q, k, m: kernels.sddmm(q, k, m, out=np.empty((2, 5), np.float32)), ValueError, "out: expected shape"),
    (lambda q, k, m: kernels.sddmm(q, k, m, threads=0), ValueError, "threads: expected"),
    (lambda q, k, m: kernels.pattern(([0, 1, 1], [6], (2, 6))), FormatError, "indices: row 0: .*got 6"),
    (lambda q, k, m: kernels.pattern(([0, 2, 2], [3, 3], (2, 6))), FormatError, "without repeats"),
    (lambda q, k, m: kernels.pattern(([0, 2, 1], [3, 4], (2, 6))), FormatError, "indptr: row 1"),
    (lambda q, k, m: kernels.pattern(([0, 1, 1], [3, 4], (2, 6))), FormatError, "last pointer"),
    (lambda q, k, m: kernels.pattern(([0, 1], [3], (2, 6))), ValueError, "indptr: expected 3 row pointers, got 2"),
    (lambda q, k, m: kernels.pattern(([0, 1], [3])), ValueError, "got 2 items"),
    (lambda q, k, m: kernels.pattern(([0.0, 1.0], [3], (1, 6))), TypeError, "indptr: expected integers"),
    (lambda q, k, m: kernels.pattern(np.ones((0, 2, 3), bool)), ValueError, "at least one head"),
])
def test_bad_calls_are_named(call, error, message):
    q, k = stacks((2, 4, 8), (2, 6, 8))
    with pytest.raises(error, match=message):
        call(q, k, np.ones((4, 6), bool))


def test_overlap_is_refused():
    memory = np.zeros(200, np.float32)
    q, k = memory[:32].reshape(4, 8), memory[100:148].reshape(6, 8)
    with pytest.raises(ValueError, match="overlap"):
        kernels.sddmm(q, k, np.ones((4, 6), bool), out=memory[20:44])
