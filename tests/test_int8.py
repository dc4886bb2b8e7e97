"""Quantisers and plans of 8-bit integers against NumPy twins."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnsched import kernels
from dnnsched.config import runnable_isa_levels
from dnnsched.kernels import int8, quantize

LEVELS = runnable_isa_levels()
U = 2.0 ** -24
profile = settings(max_examples=40, deadline=None)


def integers(seed, *shape, low=-128, high=127):
    """Random int8."""
    return np.random.default_rng(seed).integers(low, high + 1, shape).astype(np.int8)


def quantize_twin(x, bits, symmetric):
    """Codes, scale and zero of one range, straight from the equations."""
    lo, hi = min(x.min(initial=0), 0), max(x.max(initial=0), 0)
    steps = 2 ** (bits - 1) - 1 if symmetric else 2**bits - 1
    extent = float(max(-lo, hi)) if symmetric else float(hi) - float(lo)
    scale = np.float32(1) if extent == 0 else max(np.float32(extent / steps), np.finfo(np.float32).tiny)
    zero = 0 if symmetric else int(min(np.rint(-float(lo) / float(scale)), steps))
    q = np.clip(np.rint(x / scale) + zero, -steps if symmetric else 0, steps)
    return q, scale, zero


class TestQuantize:
    """Equations, shapes, errors."""

    @profile
    @given(seed=st.integers(0, 2**32), n=st.integers(0, 90), bits=st.integers(2, 8), symmetric=st.booleans(),
           isa=st.sampled_from(LEVELS), spread=st.sampled_from([1e-44, 1e-3, 1.0, 1e38]))
    def test_twin(self, seed, n, bits, symmetric, isa, spread):
        rng = np.random.default_rng(seed)
        x = (rng.uniform(-1, 1, n) * spread + spread * rng.integers(-1, 2)).astype(np.float32)
        got = quantize(x, bits, symmetric, isa=isa)
        q, scale, zero = quantize_twin(x, bits, symmetric)
        np.testing.assert_array_equal(got.q, q)
        assert (got.scale, got.zero) == (scale, zero)
        assert got.q.dtype == (np.int8 if symmetric else np.uint8)
        slack = 0.5 + 2**-14 if symmetric else 1
        with np.errstate(over="ignore"):
            assert (np.abs(got.dequantize().astype(float) - x) <= slack * float(scale)).all()

    @pytest.mark.parametrize("symmetric", [True, False])
    @pytest.mark.parametrize("axis", [0, 1, 2, -1])
    def test_per_channel(self, symmetric, axis):
        x = np.random.default_rng(0).standard_normal((4, 5, 6)).astype(np.float32)
        got = quantize(x, 5, symmetric, axis=axis)
        assert got.scale.shape == (x.shape[axis],)
        for i in range(x.shape[axis]):
            q, scale, zero = quantize_twin(np.take(x, i, axis), 5, symmetric)
            np.testing.assert_array_equal(np.take(got.q, i, axis), q)
            assert (got.scale[i], got.zero[i]) == (scale, zero)
        assert np.abs(got.dequantize() - x).max() <= got.scale.max()

    @pytest.mark.parametrize("group", [1, 7, 16, 50])
    def test_per_group(self, group):
        x = np.random.default_rng(0).standard_normal((2, 3, 37)).astype(np.float32)
        got = quantize(x, 4, False, group=group)
        assert got.scale.shape == (2, 3, -(-37 // group))
        for i in np.ndindex(2, 3):
            for g in range(got.scale.shape[-1]):
                part = slice(g * group, (g + 1) * group)
                q, scale, zero = quantize_twin(x[i][part], 4, False)
                np.testing.assert_array_equal(got.q[i][part], q)
                assert (got.scale[(*i, g)], got.zero[(*i, g)]) == (scale, zero)
        assert np.abs(got.dequantize() - x).max() <= got.scale.max()

    def test_shapes_without_elements(self):
        assert quantize(np.zeros((0, 3))).scale == 1
        assert quantize(np.zeros((3, 0)), axis=0).scale.tolist() == [1, 1, 1]
        assert quantize(np.zeros((3, 0)), group=4).scale.shape == (3, 0)
        assert quantize(np.float32(3.0)).q == 127
        assert quantize(np.zeros(5)).dequantize().tolist() == [0] * 5

    @pytest.mark.parametrize(("arguments", "error", "message"), [
        ({"bits": 1}, ValueError, "bits: expected 2 to 8, got 1"),
        ({"bits": 9}, ValueError, "bits: expected 2 to 8, got 9"),
        ({"bits": 2.0}, TypeError, "integer"),
        ({"axis": 2}, ValueError, "axis: expected an axis of 2 dimensions, got 2"),
        ({"axis": 0, "group": 2}, ValueError, "at most one of the two"),
        ({"group": 0}, ValueError, "group: expected an integer >= 1"),
        ({"isa": "mmx"}, ValueError, "isa: expected one of"),
    ])
    def test_bad_parameters_are_named(self, arguments, error, message):
        with pytest.raises(error, match=message):
            quantize(np.ones((2, 3)), **arguments)

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_not_finite(self, bad):
        x = np.ones((3, 40), np.float32)
        x[2, 33] = bad
        with pytest.raises(ValueError, match=r"x: row 2: expected finite numbers in elements 0 to 39"):
            quantize(x, axis=0)
        with pytest.raises(TypeError, match="x: expected floating-point"):
            quantize(np.ones(3, int))


class TestIntegers:
    """Exact at every level, in both layouts, signed and unsigned weights."""

    @profile
    @given(seed=st.integers(0, 2**32), m=st.integers(0, 70), k=st.integers(0, 140), n=st.integers(0, 40),
           unsigned=st.booleans(), narrow=st.booleans(), isa=st.sampled_from(LEVELS))
    def test_exact(self, seed, m, k, n, unsigned, narrow, isa):
        w, x = integers(seed, m, k), integers(seed + 1, k, n, **({"low": -20, "high": 100} if narrow else {}))
        zero = integers(seed + 2, m).astype(np.int32)
        if unsigned:
            w, zero = (w.astype(int) + 128).astype(np.uint8), zero + 128
        plan = int8(w, 0.5, zero, isa=isa)
        want = (w.astype(np.int64) - zero[:, None]) @ x.astype(np.int64)
        assert plan.isa == isa
        assert plan.matmul_i32(x).dtype == np.int32
        np.testing.assert_array_equal(plan.matmul_i32(x), want)
        np.testing.assert_array_equal(plan.linear_i32(x.T), want.T)
        np.testing.assert_array_equal(plan.to_dense(), np.float32(0.5) * (w.astype(int) - zero[:, None]))
        if n:
            np.testing.assert_array_equal(plan.matmul_i32(x[:, 0]), want[:, 0])

    def test_threads_layouts_out(self):
        w, x = integers(1, 500, 300), integers(2, 300, 210)
        plan = int8(w, 1.0)
        want = w.astype(np.int64) @ x.astype(np.int64)
        for threads in (1, 2, 3, 7):
            np.testing.assert_array_equal(plan.matmul_i32(x, threads=threads), want)
            np.testing.assert_array_equal(plan.linear_i32(x.T.reshape(7, 30, 300), threads=threads).reshape(210, 500),
                                          want.T)
        out = np.full((500, 300), 7, np.int32)
        assert plan.matmul_i32(x, out=out[:, 40:250]) is not None
        np.testing.assert_array_equal(out[:, 40:250], want)
        assert (out[:, :40] == 7).all()
        assert (out[:, 250:] == 7).all()
        np.testing.assert_array_equal(plan.matmul_i32(x[:, ::3]), want[:, ::3])

    def test_permuted_rows_and_linearity(self):
        w, x = integers(3, 90, 70), integers(4, 70, 20, low=-60, high=60)
        order = np.random.default_rng(0).permutation(90)
        np.testing.assert_array_equal(int8(w[order], 1.0).matmul_i32(x), int8(w, 1.0).matmul_i32(x)[order])
        np.testing.assert_array_equal(int8(w, 1.0).matmul_i32(2 * x), 2 * int8(w, 1.0).matmul_i32(x))

    def test_torch_int_mm(self):
        torch = pytest.importorskip("torch")
        a, b = integers(5, 64, 96), integers(6, 96, 48)
        want = torch._int_mm(torch.from_numpy(a), torch.from_numpy(b)).numpy()
        np.testing.assert_array_equal(int8(b.T, 1.0).linear_i32(a), want)
        np.testing.assert_array_equal(int8(a, 1.0).matmul_i32(torch.from_numpy(b)), want)

    @pytest.mark.parametrize(("call", "error", "message"), [
        (lambda p, x: p.matmul_i32(x.astype(np.int16)), TypeError, "Xq: expected int8, got dtype int16"),
        (lambda p, x: p.matmul_i32(x.astype(float)), TypeError, "Xq: expected int8, got dtype float64"),
        (lambda p, x: p.matmul_i32(x[:3]), ValueError, r"Xq: expected shape \(40, N\) or \(40,\), got \(3, 24\)"),
        (lambda p, x: p.linear_i32(x), ValueError, r"xq: expected shape \(\.\.\., 40\), got \(40, 24\)"),
        (lambda p, x: p.matmul_i32(x, out=np.empty((30, 24), "f4")), TypeError, "out: expected an array of int32"),
        (lambda p, x: p.matmul_i32(x, out=np.empty((30, 23), "i4")), ValueError, r"out: expected shape \(30, 24\)"),
        (lambda p, x: p.matmul_i32(x, out=np.empty((30, 24), "i4")[::-1]), ValueError, "out: expected rows at least"),
        (lambda p, x: p.matmul_i32(x, threads=0), ValueError, "threads: expected"),
        (lambda p, x: p.linear_i32(x.T, out=np.empty((24, 60), "i4")[:, :30]), ValueError, "out: expected a C-contig"),
    ])
    def test_bad_calls_are_named(self, call, error, message):
        with pytest.raises(error, match=message):
            call(int8(integers(1, 30, 40), 1.0), integers(2, 40, 24))

    def test_overlap_and_read_only(self):
        plan, memory = int8(integers(1, 4, 4), 1.0), np.zeros(64, np.int8)
        with pytest.raises(ValueError, match="out: expected memory that does not overlap x"):
            plan.matmul_i32(memory[:16].reshape(4, 4), out=memory.view(np.int32).reshape(4, 4))
        out = np.zeros((4, 4), np.int32)
        out.flags.writeable = False
        with pytest.raises(ValueError, match="out: expected a writ"):
            plan.matmul_i32(memory[:16].reshape(4, 4), out=out)

    @pytest.mark.parametrize(("arguments", "error", "message"), [
        ((np.ones((3, 2)), 1.0), TypeError, "Wq: expected int8 or uint8, got dtype float64"),
        ((np.ones(3, np.int8), 1.0), ValueError, r"Wq: expected 2 dimensions \(M, K\), got shape \(3,\)"),
        ((integers(1, 3, 2), np.nan), ValueError, "scale: row 0: expected a finite number > 0, got nan"),
        ((integers(1, 3, 2), [1.0, 2.0, 0.0]), ValueError, "scale: row 2: expected a finite number > 0, got 0"),
        ((integers(1, 3, 2), [1.0, 2.0]), ValueError, r"scale: expected one number or shape \(3,\), got \(2,\)"),
        ((integers(1, 3, 2), "a"), TypeError, "scale: expected numbers"),
        ((integers(1, 3, 2), 1.0, 0.5), TypeError, "zero: expected integers"),
        ((integers(1, 3, 2), 1.0, 128), ValueError, r"zero: expected integers in \[-128, 127\]"),
        ((integers(1, 3, 2).view(np.uint8), 1.0, -1), ValueError, r"zero: expected integers in \[0, 255\]"),
        ((np.zeros((1, 65537), np.int8), 1.0), ValueError, "Wq: expected at most 65536 columns"),
    ])
    def test_bad_weights_are_named(self, arguments, error, message):
        with pytest.raises(error, match=message):
            int8(*arguments)


class TestFloats:
    """The layer that quantises its input."""

    @profile
    @given(seed=st.integers(0, 2**32), m=st.integers(0, 40), k=st.integers(0, 140), n=st.integers(0, 40),
           isa=st.sampled_from(LEVELS))
    def test_twin_and_bound(self, seed, m, k, n, isa):
        rng = np.random.default_rng(seed)
        scale, bias = rng.uniform(0.001, 0.1, m).astype(np.float32), rng.standard_normal(m).astype(np.float32)
        zero = integers(seed, m).astype(np.int32)
        plan = int8(integers(seed, m, k), scale, zero, bias=bias, act=(-9, 11), isa=isa)
        x = rng.standard_normal((k, n)).astype(np.float32)
        q = quantize(x, axis=1)
        f = np.float32
        sums = plan.matmul_i32(q.q).astype(f)
        twin = np.clip(sums * (scale[:, None] * q.scale) + bias[:, None], f(-9), f(11))
        if k == 0:
            twin = np.broadcast_to(np.clip(bias, f(-9), f(11))[:, None], (m, n))
        y = plan @ x
        np.testing.assert_array_equal(y, twin)
        np.testing.assert_array_equal(plan.linear(x.T), twin.T)
        w = plan.to_dense().astype(float)
        t = np.abs(x).max(axis=0, initial=0) / 127
        size, weight = np.abs(w) @ np.abs(x) + np.abs(bias)[:, None], np.abs(w).sum(axis=1)[:, None]
        bound = weight * t * (0.5 + 2**-14) + 4 * U * (size + weight * t)
        assert (np.abs(y - np.clip(w @ x.astype(float) + bias[:, None], -9, 11)) <= bound).all()

    def test_not_finite_vectors_are_nan(self):
        plan = int8(integers(1, 5, 40), 1.0)
        x = np.ones((40, 6), np.float32)
        x[3, 1], x[4, 2] = np.nan, np.inf
        for y in (plan @ x, plan.linear(x.T).T):
            np.testing.assert_array_equal(np.isnan(y).all(axis=0), [False, True, True, False, False, False])
            np.testing.assert_array_equal(np.isnan(y).any(axis=0), [False, True, True, False, False, False])

    def test_pickle_and_cost(self):
        w = (integers(1, 30, 40).astype(int) + 128).astype(np.uint8)
        plan = int8(w, 0.25, 7, bias=np.ones(30), act="relu", isa="generic")
        copy = pickle.loads(pickle.dumps(plan))
        x = integers(2, 40, 9)
        np.testing.assert_array_equal(copy.matmul_i32(x), plan.matmul_i32(x))
        np.testing.assert_array_equal(copy @ x.astype(np.float32), plan @ x.astype(np.float32))
        assert repr(copy) == repr(plan)
        assert (plan.format, plan.nnz) == ("int8", 1200)
        assert plan.cost(10).flops == 2 * 1200 * 10
        assert kernels.roofline(plan, 10) > 0
