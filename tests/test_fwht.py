"""Walsh-Hadamard transforms and OVSF filters against their definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnsched import kernels
from dnnsched.config import runnable_isa_levels

LEVELS = runnable_isa_levels()
U = 2.0 ** -24
profile = settings(max_examples=60, deadline=None)


def sylvester(n):
    """Hadamard matrix by its recursion, int64."""
    h = np.ones((1, 1), np.int64)
    while len(h) < n:
        h = np.block([[h, h], [h, -h]])
    return h


def codes(n):
    """OVSF codes by their tree: row k is C(n, k)."""
    if n == 1:
        return np.ones((1, 1), np.int64)
    half = codes(n // 2)
    return np.stack([np.concatenate([half, half], 1), np.concatenate([half, -half], 1)], 1).reshape(n, n)


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


class TestFwht:
    @profile
    @given(seed=st.integers(0, 2**32), log2n=st.integers(0, 9), before=st.integers(0, 5), after=st.integers(0, 40),
           isa=st.sampled_from(LEVELS))
    def test_any_axis(self, seed, log2n, before, after, isa):
        n = 1 << log2n
        x = normal(seed, before, n, after)
        h = sylvester(n).astype(np.float64)
        want, size = np.einsum("ij,ajb->aib", h, x), np.abs(x).astype(np.float64).sum(axis=1, keepdims=True)
        got = kernels.fwht(x, 1, isa=isa)
        assert got.dtype == np.float32
        assert (np.abs(got - want) <= 1.001 * log2n * U * size).all()
        rows = kernels.fwht(np.moveaxis(x, 1, -1), isa=isa)
        assert np.moveaxis(rows, -1, 1).tobytes() == got.tobytes()  # both layouts, all levels: one order of addition
        assert kernels.fwht(x, -2, isa="generic").tobytes() == got.tobytes()

    @pytest.mark.parametrize("isa", LEVELS)
    def test_twice_is_n_times_exactly(self, isa):
        for log2n in (1, 5, 10, 15, 18):
            x = np.random.default_rng(log2n).integers(-3, 4, (2, 1 << log2n)).astype(np.float32)
            np.testing.assert_array_equal(kernels.fwht(kernels.fwht(x, isa=isa), isa=isa), x * (1 << log2n))

    def test_scipy_hadamard(self):
        hadamard = pytest.importorskip("scipy.linalg").hadamard
        x = np.random.default_rng(0).integers(-50, 50, (7, 64)).astype(np.float32)
        np.testing.assert_array_equal(kernels.fwht(x), x @ hadamard(64))

    def test_ffht(self):
        ffht = pytest.importorskip("ffht")
        for log2n in (3, 8, 12):
            x = np.random.default_rng(log2n).integers(-50, 50, 1 << log2n).astype(np.float32)
            want = x.copy()
            ffht.fht(want)
            np.testing.assert_array_equal(kernels.fwht(x), want)

    def test_linear_and_parseval(self):
        x, y = normal(1, 5, 1024), normal(2, 5, 1024)
        np.testing.assert_allclose(kernels.fwht(x + y), kernels.fwht(x) + kernels.fwht(y), atol=1e-4)
        np.testing.assert_allclose((kernels.fwht(x).astype(float) ** 2).sum(), 1024 * (x.astype(float) ** 2).sum(),
                                   rtol=1e-5)

    def test_in_place_out_and_layouts(self):
        x = normal(3, 6, 32)
        want = kernels.fwht(x)
        wide = np.zeros((6, 50), np.float32)
        wide[:, 7:39] = x
        view = wide[:, 7:39]
        np.testing.assert_array_equal(kernels.fwht(view), want)
        assert kernels.fwht(view, out=view) is view
        np.testing.assert_array_equal(view, want)
        assert (wide[:, :7] == 0).all()
        assert (wide[:, 39:] == 0).all()
        cube = np.ascontiguousarray(np.moveaxis(x.reshape(2, 3, 32), 2, 1))
        assert kernels.fwht(cube, axis=1, out=cube) is cube
        np.testing.assert_array_equal(np.moveaxis(cube, 1, 2).reshape(6, 32), want)
        for same in (x.astype(np.float64), np.asfortranarray(x), x[::-1][::-1], x.tolist()):
            np.testing.assert_array_equal(kernels.fwht(same), want)
        x.flags.writeable = False
        np.testing.assert_array_equal(kernels.fwht(x), want)

    def test_threads_give_the_same_bytes(self):
        x = normal(4, 300, 1024)
        for axis, a in ((1, x), (0, np.ascontiguousarray(x.T))):
            want = kernels.fwht(a, axis).tobytes()
            for threads in (2, 3, 7):
                assert kernels.fwht(a, axis, threads=threads).tobytes() == want

    @pytest.mark.parametrize(("call", "error", "message"), [
        (lambda x: kernels.fwht(x[:, :3]), ValueError, r"x: expected a power of two along axis 1, got shape \(4, 3\)"),
        (lambda x: kernels.fwht(x[:, :0]), ValueError, "x: expected a power of two"),
        (lambda x: kernels.fwht(x, 2), ValueError, "axis: expected an axis of an array of 2 dimensions, got 2"),
        (lambda x: kernels.fwht(x, 0.5), TypeError, "integer"),
        (lambda x: kernels.fwht(np.float32(1)), ValueError, "axis: expected an axis of an array of 0 dimensions"),
        (lambda x: kernels.fwht(x.astype(int)), TypeError, "x: expected floating-point numbers, got dtype int64"),
        (lambda x: kernels.fwht(x + 0j), TypeError, "x: expected floating-point numbers, got dtype complex64"),
        (lambda x: kernels.fwht(x, out=np.empty((4, 8))), TypeError, "out: expected an array of float32"),
        (lambda x: kernels.fwht(x, out=np.empty((4, 4), "f4")), ValueError, r"out: expected shape \(4, 8\)"),
        (lambda x: kernels.fwht(x, out=np.empty((4, 16), "f4")[:, ::2]), ValueError, "out: expected a contiguous"),
        (lambda x: kernels.fwht(x, 0, out=np.empty((4, 16), "f4")[:, :8]), ValueError, "out: expected a C-contig"),
        (lambda x: kernels.fwht(x, out=np.broadcast_to(np.float32(0), (4, 8))), ValueError, "out: expected a"),
        (lambda x: kernels.fwht(x[:2], out=x[1:3]), ValueError, "out: expected memory that does not overlap x"),
        (lambda x: kernels.fwht(x, threads=0), ValueError, "threads: expected an integer >= 1"),
        (lambda x: kernels.fwht(x, isa="sse2"), ValueError, "isa: expected one of generic"),
    ])
    def test_bad_calls_are_named(self, call, error, message):
        with pytest.raises(error, match=message):
            call(normal(5, 4, 8))


class TestOvsf:
    @profile
    @given(seed=st.integers(0, 2**32), log2n=st.integers(0, 8), filters=st.integers(0, 200),
           isa=st.sampled_from(LEVELS), data=st.data())
    def test_sum_of_codes(self, seed, log2n, filters, isa, data):
        n = 1 << log2n
        j, kept = data.draw(st.integers(0, n)), data.draw(st.integers(0, n))
        index = np.random.default_rng(seed).permutation(n)[:j]
        alpha = normal(seed, filters, j)
        c = codes(n)[index].astype(np.float64)
        got = kernels.ovsf(alpha, index, n, kept, isa=isa)
        assert got.shape == (filters, kept)
        bound = 1.001 * log2n * U * np.abs(alpha).astype(np.float64).sum(axis=1, keepdims=True)
        assert (np.abs(got - (alpha.astype(np.float64) @ c)[:, :kept]) <= bound).all()
        assert kernels.ovsf(alpha, index, n, kept, isa="generic").tobytes() == got.tobytes()

    @pytest.mark.parametrize("n", [1, 2, 16, 256])
    def test_codes_are_orthogonal_and_bit_reversed_rows(self, n):
        c = kernels.ovsf(np.eye(n, dtype=np.float32), None, n)
        np.testing.assert_array_equal(c, codes(n))
        np.testing.assert_array_equal(c @ c.T, n * np.eye(n))
        reverse = [int(format(k, "b").zfill(n.bit_length() - 1)[::-1], 2) for k in range(n)] if n > 1 else [0]
        np.testing.assert_array_equal(c, sylvester(n)[reverse])

    def test_square_crop_and_projection(self):
        w = normal(6, 5, 7, 16)
        alpha = np.einsum("abi,ki->abk", w, codes(16)) / 16
        full = kernels.ovsf(alpha, None, 16)
        np.testing.assert_allclose(full, w, atol=1e-6)  # all codes: the filter comes back
        np.testing.assert_array_equal(kernels.ovsf(alpha, None, 16, (3, 2)), full.reshape(5, 7, 4, 4)[..., :3, :2])
        np.testing.assert_array_equal(kernels.ovsf(alpha, None, 16, 9), full[..., :9])
        few = [3, 9, 12, 0]
        part = kernels.ovsf(alpha[..., few], few, 16).astype(np.float64)
        residual = ((part - w) ** 2).sum(axis=-1)  # orthogonality: |w|^2 - 16 sum alpha^2
        np.testing.assert_allclose(residual, (w.astype(float) ** 2).sum(-1) - 16 * (alpha[..., few] ** 2).sum(-1),
                                   atol=1e-5)

    @pytest.mark.parametrize(("arguments", "error", "message"), [
        ((np.ones((2, 3)), [0, 1, 1], 4), ValueError, "index: element 2: expected distinct codes, got 1 twice"),
        ((np.ones((2, 3)), [0, 4, 1], 4), ValueError, r"index: element 1: expected a code in \[0, 4\), got 4"),
        ((np.ones((2, 3)), [0, -1, 1], 4), ValueError, "index: element 1"),
        ((np.ones((2, 3)), [0, 1], 4), ValueError, r"index: expected shape \(3,\)"),
        ((np.ones((2, 3)), [0.0, 1, 2], 4), TypeError, "index: expected integers"),
        ((np.ones((2, 5)), None, 4), ValueError, "alpha: expected at most 4 coefficients per filter, got 5"),
        ((np.ones((2, 3)), None, 6), ValueError, "length: expected a power of two"),
        ((np.ones((2, 3)), None, 1 << 31), ValueError, "length: expected a power of two"),
        ((np.ones((2, 3)), None, 0), ValueError, "length: expected an integer >= 1"),
        ((np.ones((2, 3)), None, 4.0), TypeError, "length: expected an integer"),
        ((np.ones((2, 3)), None, 4, 5), ValueError, "crop: expected at most the length 4, got 5"),
        ((np.ones((2, 3)), None, 4, (3, 1)), ValueError, r"crop: expected at most \(2, 2\) of 4 elements"),
        ((np.ones((2, 3)), None, 8, (1, 1)), ValueError, "crop: expected a length that is the square"),
        ((np.ones((2, 3)), None, 16, (1, 1, 1)), ValueError, "crop: expected None, an int or"),
        ((np.ones((2, 3), int), None, 4), TypeError, "alpha: expected floating-point"),
        ((1.0, None, 4), ValueError, "alpha: expected shape"),
    ])
    def test_bad_arguments_are_named(self, arguments, error, message):
        with pytest.raises(error, match=message):
            kernels.ovsf(*arguments)
