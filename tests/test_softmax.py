"""Masked softmax from Python: a float64 twin for every mask, layouts, errors."""

import itertools

import numpy as np
import pytest

from dnnsched import kernels
from dnnsched.config import runnable_isa_levels
from dnnsched.errors import FormatError

SHAPE = (3, 2, 5, 71)


def scores(seed=0, shape=SHAPE):
    """Normal scores."""
    return (4 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def check(got, x, seen):
    """Against float64 within the docstring's bounds; rows that see nothing are zeros."""
    z = np.where(seen, x.astype(np.float64), -np.inf)
    top = z.max(-1, keepdims=True)
    e = np.exp(z - np.where(np.isinf(top), 0, top))
    want = e / np.maximum(e.sum(-1, keepdims=True), 1e-300)
    assert got.dtype == np.float32
    assert (np.abs(got - want) <= 4e-7 + 4e-6 * want).all()
    assert (got[np.broadcast_to(~seen, got.shape)] == 0).all()
    some = ~np.isinf(top[..., 0])
    assert (np.abs(got.astype(np.float64).sum(-1)[some] - 1) <= 2e-6 * np.sqrt(x.shape[-1])).all()


@pytest.mark.parametrize("isa", runnable_isa_levels())
def test_every_mask(isa):
    x, rng = scores(), np.random.default_rng(1)
    columns = np.arange(71)
    check(kernels.softmax(x, isa=isa), x, np.bool_(True))
    check(kernels.softmax(x, "causal", isa=isa), x, columns <= np.arange(5)[:, None] + 66)
    lengths = np.array([0, 71, 30])
    check(kernels.softmax(x, ("lengths", lengths), isa=isa), x, columns < lengths[:, None, None, None])
    for shape in (SHAPE, (71,), (5, 71), (2, 5, 71), (3, 1, 1, 71), (1, 2, 1, 71)):
        seen = rng.random(shape) < 0.5
        check(kernels.softmax(x, seen, isa=isa), x, seen)
        check(kernels.softmax(x, kernels.pack_mask(seen), isa=isa), x, seen)
        add = np.where(seen, rng.standard_normal(shape), -np.inf).astype(np.float32)
        check(kernels.softmax(x, add, isa=isa), x + add, seen)
    offsets = [0, 0, 4, 40, 71]
    got = kernels.softmax(x, ("ragged", offsets), isa=isa)
    for a, b in itertools.pairwise(offsets[1:]):
        check(got[..., a:b], x[..., a:b], np.bool_(True))


def test_shift_invariance_and_equal_masks():
    """A constant added to a row changes nothing; forms of one mask give the same bytes."""
    x = np.round(scores(5) * 16) / 16  # shifts of these are exact
    shift = np.arange(30, dtype=np.float32).reshape(3, 2, 5, 1) * 8 - 100
    np.testing.assert_array_equal(kernels.softmax(x + shift), kernels.softmax(x))
    np.testing.assert_array_equal(kernels.softmax(x + shift, "causal"), kernels.softmax(x, "causal"))
    tri = np.arange(71) <= np.arange(5)[:, None] + 66
    hide = np.where(tri, 0, -np.inf).astype(np.float32)
    for mask in (tri, kernels.pack_mask(tri)):
        np.testing.assert_array_equal(kernels.softmax(x, mask), kernels.softmax(x, hide))
    np.testing.assert_allclose(kernels.softmax(x, tri), kernels.softmax(x, "causal"), rtol=1e-6, atol=0)


def test_rows_that_see_nothing_are_zeros():
    x = scores(6)
    assert not kernels.softmax(x, np.zeros(71, bool)).any()
    assert not kernels.softmax(x, np.full(71, -np.inf)).any()
    assert not kernels.softmax(x[..., :3], "causal")[:, :, :2].any()  # five queries, three keys
    for mask in (None, "causal", np.zeros((5, 0), bool), np.zeros((1, 0), np.float32)):
        assert kernels.softmax(x[..., :0], mask).shape == (3, 2, 5, 0)
    assert kernels.softmax(x[:0], np.ones((5, 71), bool)).shape == (0, 2, 5, 71)


def test_torch_agrees():
    torch = pytest.importorskip("torch")
    x = scores(3)
    seen = np.random.default_rng(4).random(SHAPE) < 0.5
    seen[..., 0] = True
    want = torch.softmax(torch.from_numpy(x), -1).numpy()
    np.testing.assert_allclose(kernels.softmax(torch.from_numpy(x)), want, rtol=4e-6, atol=4e-7)
    hidden = torch.from_numpy(x).masked_fill(torch.from_numpy(~seen), -torch.inf)
    np.testing.assert_allclose(kernels.softmax(x, seen), torch.softmax(hidden, -1).numpy(), rtol=4e-6, atol=4e-7)


def test_layouts_and_threads():
    x = scores(2, (700, 300))
    want = kernels.softmax(x, "causal")
    for threads in (2, 3, 7):
        assert kernels.softmax(x, "causal", threads=threads).tobytes() == want.tobytes()
    np.testing.assert_array_equal(kernels.softmax(np.asfortranarray(x), "causal"), want)
    wide = np.zeros((700, 400), np.float32)
    assert kernels.softmax(x, "causal", wide[:, 50:350]) is not None
    np.testing.assert_array_equal(wide[:, 50:350], want)
    copy = x.copy()
    assert kernels.softmax(copy, "causal", copy) is copy
    np.testing.assert_array_equal(copy, want)


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda x: kernels.softmax(x.astype(int)), TypeError, "x: expected floating-point"),
    (lambda x: kernels.softmax(x, "band"), ValueError, "mask: expected None, 'causal'"),
    (lambda x: kernels.softmax(x, ("lengths", [1, 2])), ValueError, "lengths: expected one per element"),
    (lambda x: kernels.softmax(x, ("lengths", [1, 2, 72])), ValueError, "lengths: expected 0 to 71, got 72 at 2"),
    (lambda x: kernels.softmax(x, ("lengths", [1, 2, 2**40])), ValueError, "lengths: expected values from -2147483648"),
    (lambda x: kernels.softmax(x, ("ragged", [0, 5, 4, 71])), FormatError, "offsets: expected numbers that never fall"),
    (lambda x: kernels.softmax(x, ("ragged", [0, 5])), FormatError, "offsets: expected 71 at the end"),
    (lambda x: kernels.softmax(x, np.ones(71, int)), TypeError, "mask: expected .*got dtype int64"),
    (lambda x: kernels.softmax(x, np.ones(70, bool)), ValueError, "mask: expected a last axis of 71"),
    (lambda x: kernels.softmax(x, np.ones((4, 71), bool)), ValueError, "mask: expected a shape that broadcasts"),
    (lambda x: kernels.softmax(x, None, x[:, :, :, ::2]), ValueError, "out: expected shape"),
    (lambda x: kernels.softmax(x[0, 0, 1:], None, x[0, 0, :-1]), ValueError, "overlap"),
])
def test_bad_calls_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call(scores())
