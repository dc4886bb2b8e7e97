"""Attention from Python: a float64 twin under every mask and pattern, relations between the forms, errors."""

import numpy as np
import pytest

from dnnsched import kernels
from dnnsched.config import runnable_isa_levels
from dnnsched.errors import FormatError

U = 2.0**-24


def stacks(lead, queries, keys, depth, width, seed=0):
    """q, k, v of normal numbers."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((*lead, *shape)).astype(np.float32)
            for shape in ((queries, depth), (keys, depth), (keys, width))]


def check(got, arrays, seen, add=0.0, scale=None):
    """Against float64 within the docstring's bound; queries that see nothing give zeros."""
    q, k, v = (a.astype(np.float64) for a in arrays)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    add = np.broadcast_to(np.where(seen, add, 0.0), (*q.shape[:-1], k.shape[-2]))
    s = scale * (q @ np.swapaxes(k, -1, -2)) + add
    size = abs(scale) * (np.abs(q) @ np.swapaxes(np.abs(k), -1, -2))
    error = (2 * (q.shape[-1] + 2) * U * size + U * np.abs(s)).max(-1, initial=0, keepdims=True)
    seen = np.broadcast_to(seen, s.shape)
    s = np.where(seen, s, -np.inf)
    e = np.exp(s - np.max(s, -1, initial=-1e30, keepdims=True))
    p = e / np.maximum(e.sum(-1, keepdims=True), 1e-300)
    n = seen.sum(-1, keepdims=True)
    bound = np.abs(v).max(-2, initial=0, keepdims=True) * (np.expm1(2 * error) + 4e-6 + 4e-7 * n + 2 * (n + 2) * U)
    assert got.dtype == np.float32
    assert (np.abs(got - p @ v) <= bound).all()
    assert not got[~seen.any(-1)].any()


@pytest.mark.parametrize("isa", runnable_isa_levels())
def test_every_mask(isa):
    arrays = stacks((3, 2), 21, 71, 24, 10)
    rng, columns = np.random.default_rng(1), np.arange(71)
    check(kernels.attention(*arrays, isa=isa), arrays, np.bool_(True))
    check(kernels.attention(*arrays, "causal", isa=isa), arrays, columns <= np.arange(21)[:, None] + 50)
    lengths = np.array([0, 71, 30])
    check(kernels.attention(*arrays, ("lengths", lengths), scale=0.3, isa=isa), arrays,
          columns < lengths[:, None, None, None], scale=0.3)
    for shape in ((71,), (21, 71), (2, 21, 71), (3, 1, 1, 71), (3, 2, 21, 71)):
        seen = rng.random(shape) < 0.5
        check(kernels.attention(*arrays, seen, isa=isa), arrays, seen)
        check(kernels.attention(*arrays, kernels.pack_mask(seen), isa=isa), arrays, seen)
        add = rng.standard_normal(shape)
        check(kernels.attention(*arrays, np.where(seen, add, -np.inf), isa=isa), arrays, seen, add)
    for shape in ((21, 71), (2, 21, 71)):
        seen = rng.random(shape) < 0.2
        seen[..., 5, :] = False
        check(kernels.attention(*arrays, kernels.pattern(seen), isa=isa), arrays, seen)


@pytest.mark.parametrize(("lead", "queries", "keys", "depth", "width"), [
    ((), 1, 300, 64, 64), ((2,), 140, 530, 70, 130), ((1, 4), 260, 9, 3, 1), ((2,), 5, 7, 0, 3), ((2,), 5, 0, 4, 3),
    ((0, 3), 5, 7, 4, 3),
])
def test_shapes(lead, queries, keys, depth, width):
    arrays = stacks(lead, queries, keys, depth, width, 2)
    seen = np.random.default_rng(3).random((queries, keys)) < 0.4
    scale = 0.5
    for mask in (seen, kernels.pattern(seen)):
        got = kernels.attention(*arrays, mask, scale=scale)
        assert got.shape == (*lead, queries, width)
        check(got, arrays, seen, scale=scale)


def test_forms_agree():
    """A full pattern is dense attention, a causal mask its bool array; equal values pass through; heads are apart."""
    arrays = stacks((2, 3), 150, 170, 64, 32, 4)
    q, k, v = arrays
    dense = kernels.attention(*arrays)
    full = kernels.attention(*arrays, kernels.pattern(np.ones((150, 170), bool)))
    np.testing.assert_allclose(full, dense, rtol=0, atol=2e-6)
    causal = np.tri(150, 170, 20, dtype=bool)
    np.testing.assert_allclose(kernels.attention(*arrays, "causal"), kernels.attention(*arrays, causal), atol=2e-6)
    np.testing.assert_allclose(kernels.attention(*arrays, kernels.pattern(causal)),
                               kernels.attention(*arrays, "causal"), rtol=0, atol=2e-6)
    np.testing.assert_allclose(kernels.attention(q, k, np.ones_like(v), "causal"), 1, rtol=2e-6)
    shifted = kernels.attention(*arrays, np.full((150, 1), 0.5) + np.zeros((150, 170)))
    np.testing.assert_allclose(shifted, dense, rtol=0, atol=2e-6)
    one = kernels.attention(q[1, 2], k[1, 2], v[1, 2], "causal")
    np.testing.assert_array_equal(one, kernels.attention(*arrays, "causal")[1, 2])
    each = np.random.default_rng(5).random((3, 150, 170)) < 0.1
    got = kernels.attention(*arrays, kernels.pattern(each))
    for h in range(3):
        np.testing.assert_array_equal(kernels.attention(q[:, h], k[:, h], v[:, h], kernels.pattern(each[h])), got[:, h])


def test_parts_make_the_whole():
    """Sampled products, softmax of rows and a CSR product give the same."""
    q, k, v = stacks((), 200, 300, 48, 40, 6)
    names = kernels.pattern(np.random.default_rng(7).random((200, 300)) < 0.15)
    indptr, indices = names.csr()
    p = kernels.softmax(kernels.sddmm(q, k, names, scale=48**-0.5), ("ragged", indptr))
    np.testing.assert_array_equal(kernels.attention(q, k, v, names), kernels.csr((indptr, indices, p, names.shape)) @ v)


def test_layouts_and_threads():
    arrays = stacks((4,), 260, 270, 32, 24, 8)
    seen = np.random.default_rng(9).random((260, 270)) < 0.3
    for mask in (None, "causal", seen, kernels.pattern(seen)):
        want = kernels.attention(*arrays, mask)
        for threads in (2, 3, 7):
            assert kernels.attention(*arrays, mask, threads=threads).tobytes() == want.tobytes()
        out = np.empty_like(want)
        assert kernels.attention(*(np.asfortranarray(a) for a in arrays), mask, out=out) is out
        np.testing.assert_array_equal(out, want)


def test_sparse_matrices_are_patterns():
    sparse = pytest.importorskip("scipy.sparse")
    arrays = stacks((2,), 30, 40, 8, 8, 10)
    seen = np.random.default_rng(11).random((30, 40)) < 0.2
    want = kernels.attention(*arrays, kernels.pattern(seen))
    stored = sparse.csr_matrix(seen.astype(float))
    np.testing.assert_array_equal(kernels.attention(*arrays, stored), want)
    np.testing.assert_array_equal(kernels.attention(*arrays, (stored.indptr, stored.indices, seen.shape)), want)


def test_torch_agrees():
    torch = pytest.importorskip("torch")
    arrays = stacks((2, 4), 60, 60, 32, 32, 12)
    tensors = [torch.from_numpy(a) for a in arrays]
    attend = torch.nn.functional.scaled_dot_product_attention
    np.testing.assert_allclose(kernels.attention(*arrays, "causal"), attend(*tensors, is_causal=True), atol=2e-6)
    seen = np.random.default_rng(13).random((60, 60)) < 0.5
    np.testing.assert_allclose(kernels.attention(*arrays, kernels.pattern(seen)),
                               attend(*tensors, attn_mask=torch.from_numpy(seen)), atol=2e-6)


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda q, k, v: kernels.attention(q.astype(int), k, v), TypeError, "q: expected floating-point"),
    (lambda q, k, v: kernels.attention(q[0, 0], k, v), ValueError, r"q: expected shape \(..., L, d\)"),
    (lambda q, k, v: kernels.attention(q, k[:1], v), ValueError, r"k: expected leading axes \(2,\)"),
    (lambda q, k, v: kernels.attention(q, k, v[:1]), ValueError, r"v: expected leading axes \(2,\)"),
    (lambda q, k, v: kernels.attention(q, k[..., 1:], v), ValueError, "k: expected"),
    (lambda q, k, v: kernels.attention(q, k, v[:, 1:]), ValueError, "v: expected"),
    (lambda q, k, v: kernels.attention(q, k, v, "band"), ValueError, "mask: expected None, 'causal'.*a Pattern"),
    (lambda q, k, v: kernels.attention(q, k, v, ("ragged", [0, 6])), ValueError, "mask: expected None"),
    (lambda q, k, v: kernels.attention(q, k, v, ("lengths", [7, 6])), ValueError, "lengths: expected 0 to 6, got 7"),
    (lambda q, k, v: kernels.attention(q, k, v, np.ones((4, 5), bool)), ValueError, "mask: expected a last axis of 6"),
    (lambda q, k, v: kernels.attention(q, k, v, kernels.pattern(np.ones((4, 5), bool))), ValueError,
     "pattern: expected .* of 4 x 5, got 2 of 4 x 6"),
    (lambda q, k, v: kernels.attention(q, k, v, kernels.pattern(np.ones((3, 4, 6), bool))), ValueError,
     r"q: expected shape \(..., 3, Lq, d\)"),
    (lambda q, k, v: kernels.attention(q, k, v, ([0, 1, 1, 1, 1], [6], (4, 6))), FormatError, "indices: row 0"),
    (lambda q, k, v: kernels.attention(q, k, v, scale=np.nan), ValueError, "scale: expected a finite"),
    (lambda q, k, v: kernels.attention(q, k, v, out=np.empty((2, 4, 8))), TypeError, "out: expected an array"),
    (lambda q, k, v: kernels.attention(q, k, v, out=q), ValueError, "overlap"),
    (lambda q, k, v: kernels.attention(q, k, v, threads=0), ValueError, "threads: expected"),
])
def test_bad_calls_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call(*stacks((2,), 4, 6, 8, 8))
