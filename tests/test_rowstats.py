"""Row statistics from Python: NumPy twin, axes and layouts, rules, relations, errors, torch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnsched import kernels
from dnnsched.config import runnable_isa_levels

LEVELS = runnable_isa_levels()
profile = settings(max_examples=60, deadline=None)


def twin(x, temperature=1.0):
    """The four statistics along the last axis in float64."""
    x = x.astype(np.float64) / temperature
    p = np.exp(x - x.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    ordered = np.sort(p, -1)
    entropy = -(p * np.log(np.where(p > 0, p, 1))).sum(-1)
    second = ordered[..., -2] if x.shape[-1] > 1 else 0.0
    return ordered[..., -1], ordered[..., -1] - second, entropy, x.argmax(-1)


def check(got, want):
    """Within the docstring's bounds."""
    for g, w, bound in zip(got[:3], want[:3], (1e-6, 1e-6, 5e-6), strict=True):
        assert g.dtype == np.float32
        assert np.shape(g) == np.shape(w)
        assert (np.abs(g - w) <= bound).all()
    assert got.argmax.dtype == np.int64
    np.testing.assert_array_equal(got.argmax, want[3])


def logits(seed, *shape, size=5.0):
    """Normal logits."""
    return (np.random.default_rng(seed).standard_normal(shape) * size).astype(np.float32)


@profile
@given(seed=st.integers(0, 2**32), n=st.integers(0, 40), c=st.integers(1, 300), isa=st.sampled_from(LEVELS),
       temperature=st.sampled_from([1.0, 0.3, 4.0]))
def test_rows(seed, n, c, isa, temperature):
    x = logits(seed, n, c)
    check(kernels.rowstats(x, isa=isa, temperature=temperature), twin(x, temperature))


@profile
@given(seed=st.integers(0, 2**32), shape=st.lists(st.integers(1, 9), min_size=1, max_size=4), data=st.data(),
       isa=st.sampled_from(LEVELS))
def test_any_axis(seed, shape, data, isa):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = logits(seed, *shape)
    check(kernels.rowstats(x, axis=axis, isa=isa), twin(np.moveaxis(x, axis, -1)))


@pytest.mark.parametrize("isa", LEVELS)
def test_maps_of_many_places(isa):
    x = logits(1, 2, 21, 64, 65)
    check(kernels.rowstats(x, axis=1, isa=isa), twin(np.moveaxis(x, 1, -1)))


def test_any_layout_of_input():
    x = logits(2, 20, 33)
    want = kernels.rowstats(x)
    wide = np.zeros((20, 50), np.float32)
    wide[:, 7:40] = x
    raw = np.zeros(x.nbytes + 1, np.uint8)
    odd = raw[1:].view(np.float32).reshape(x.shape)
    odd[:] = x
    read_only = x.copy()
    read_only.flags.writeable = False
    for same in (wide[:, 7:40], np.asfortranarray(x), x.astype(np.float64), x.astype(">f4"), odd, read_only,
                 np.repeat(x, 2, axis=0)[::2], x[::-1][::-1]):
        for a, b in zip(kernels.rowstats(same), want, strict=True):
            np.testing.assert_array_equal(a, b)
    for a, b in zip(kernels.rowstats(wide[:, 7:40].T, axis=0), want, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(kernels.rowstats(x[::-1]), want, strict=True):
        np.testing.assert_array_equal(a[::-1], b)
    np.testing.assert_array_equal(kernels.rowstats(np.broadcast_to(x[0], (4, 33))).margin, [want.margin[0]] * 4)
    check(kernels.rowstats(x.tolist()), twin(x))


def test_one_row_gives_scalars():
    got = kernels.rowstats(np.array([0.0, 3.0, 1.0], np.float32))
    assert [type(v) for v in got] == [np.float32, np.float32, np.float32, np.int64]
    assert got._fields == ("max_prob", "margin", "entropy", "argmax")
    one = kernels.rowstats(np.array([[7.0]], np.float32))
    assert [v.tolist() for v in one] == [[1.0], [1.0], [0.0], [0]]


@pytest.mark.parametrize("isa", LEVELS)
@pytest.mark.parametrize("c", [3, 40, 200])
def test_rules_for_special_values(isa, c):
    x = np.ones((6, c), np.float32)
    x[0, 2] = np.nan
    x[1] = -np.inf
    x[2, 1] = np.inf
    x[3, 1:] = -np.inf
    x[4, 1] = x[4, 2] = 8
    got = kernels.rowstats(x, isa=isa)
    for value in got[:3]:
        np.testing.assert_array_equal(np.isnan(value), [True, True, True, False, False, False])
    np.testing.assert_array_equal(got.argmax, x.argmax(-1))
    assert [v[3] for v in got] == [1, 1, 0, 0]
    assert got.margin[4] == got.margin[5] == 0
    assert got.entropy[5] == pytest.approx(np.log(c), abs=5e-6)


def test_a_shift_changes_nothing_and_temperature_divides():
    x = np.round(logits(3, 50, 60) * 16) / 16  # sums with 64 are exact
    for a, b in zip(kernels.rowstats(x), kernels.rowstats(x + np.float32(64)), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(kernels.rowstats(x, temperature=0.5), kernels.rowstats(2 * x), strict=True):
        np.testing.assert_array_equal(a, b)


def test_threads_give_the_same_bytes():
    for x, axis in ((logits(4, 3000, 100), 1), (logits(5, 4, 30, 3000), 1), (logits(6, 4, 70000), 1)):
        want = kernels.rowstats(x, axis=axis)
        for threads in (2, 3, 7):
            for a, b in zip(kernels.rowstats(x, axis=axis, threads=threads), want, strict=True):
                assert a.tobytes() == b.tobytes()


def test_empty_batches():
    got = kernels.rowstats(np.empty((0, 5), np.float32))
    assert [v.shape for v in got] == [(0,)] * 4
    assert kernels.rowstats(np.empty((3, 5, 0), np.float32), axis=1).entropy.shape == (3, 0)


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ({"logits": np.ones((2, 3), int)}, TypeError, "logits: expected floating-point numbers, got dtype int64"),
    ({"logits": np.ones((2, 3), complex)}, TypeError, "logits: expected floating-point numbers, got dtype complex128"),
    ({"logits": np.float32(1)}, ValueError, "logits: expected at least one dimension"),
    ({"logits": np.ones((2, 0), np.float32)}, ValueError, "logits: expected 1 to 2.24 - 1 classes, got 0"),
    ({"axis": 2}, ValueError, "axis: expected an integer from -2 to 1, got 2"),
    ({"axis": -3}, ValueError, "axis: expected an integer from -2 to 1, got -3"),
    ({"axis": 1.0}, TypeError, "int"),
    ({"temperature": 0}, ValueError, "temperature: expected a number > 0"),
    ({"temperature": float("nan")}, ValueError, "temperature: expected a number > 0"),
    ({"temperature": float("inf")}, ValueError, "temperature: expected a number > 0"),
    ({"temperature": "1"}, TypeError, "str"),
    ({"threads": 0}, ValueError, "threads: expected an integer >= 1"),
    ({"isa": "sse2"}, ValueError, "isa: expected one of generic"),
])
def test_bad_calls_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        kernels.rowstats(**{"logits": np.ones((2, 3), np.float32), **arguments})


def test_against_torch():
    torch = pytest.importorskip("torch")
    x = logits(7, 64, 100)
    got = kernels.rowstats(torch.from_numpy(x))
    p = torch.softmax(torch.from_numpy(x).double(), -1)
    best = p.topk(2, -1)
    check(got, (best.values[:, 0].numpy(), (best.values[:, 0] - best.values[:, 1]).numpy(),
                torch.special.entr(p).sum(-1).numpy(), best.indices[:, 0].numpy()))
