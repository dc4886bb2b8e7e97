"""Fourier transforms and Fourier mixing against float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnsched import kernels
from dnnsched.config import runnable_isa_levels

LEVELS = runnable_isa_levels()
profile = settings(max_examples=60, deadline=None)


def normal(seed, *shape):
    """Complex64 numbers."""
    pairs = np.random.default_rng(seed).standard_normal((*shape, 2)).astype(np.float32)
    return pairs.view(np.complex64)[..., 0]


def relative(got, want, axis=None):
    """Error in the 2-norm."""
    return np.linalg.norm(got - want, axis=axis) / np.linalg.norm(want, axis=axis)


class TestFft:
    @profile
    @given(seed=st.integers(0, 2**32), log2n=st.integers(3, 9), before=st.integers(0, 5), after=st.integers(0, 40),
           isa=st.sampled_from(LEVELS))
    def test_any_axis(self, seed, log2n, before, after, isa):
        x = normal(seed, before, 1 << log2n, after)
        want = np.fft.fft(x.astype(np.complex128), axis=1)
        got = kernels.fft(x, 1, isa=isa)
        assert got.dtype == np.complex64
        rows = kernels.fft(np.moveaxis(x, 1, -1), isa=isa)
        for y in (got, np.moveaxis(rows, -1, 1)):
            assert (relative(y, want, axis=1) <= 3e-7 * log2n).all()

    @pytest.mark.parametrize("isa", LEVELS)
    @pytest.mark.parametrize("log2n", range(3, 14))
    def test_every_length(self, log2n, isa):
        x = normal(log2n, 3, 1 << log2n)
        want = np.fft.fft(x.astype(np.complex128))
        assert (relative(kernels.fft(x, isa=isa), want, axis=1) <= 3e-7 * log2n).all()
        assert (relative(kernels.fft(np.ascontiguousarray(x.T), 0, isa=isa), want.T, axis=0) <= 3e-7 * log2n).all()

    def test_scipy(self):
        fft = pytest.importorskip("scipy.fft").fft
        x = normal(1, 20, 2048)
        assert relative(kernels.fft(x), fft(x)) <= 6e-6

    def test_torch(self):
        torch = pytest.importorskip("torch")
        x = normal(2, 20, 1024)
        assert relative(kernels.fft(x), torch.fft.fft(torch.from_numpy(x)).numpy()) <= 6e-6

    def test_impulses_shifts_linearity_parseval(self):
        n = 512
        unit = np.eye(n, dtype=np.complex64)
        roots = np.exp(-2j * np.pi * np.outer(np.arange(n), np.arange(n)) / n)
        np.testing.assert_allclose(kernels.fft(unit), roots, atol=1e-6)
        x, z = normal(2, 9, n), normal(3, 9, n)
        y = kernels.fft(x)
        np.testing.assert_allclose(kernels.fft(x + 2j * z), y + 2j * kernels.fft(z), atol=2e-4)
        np.testing.assert_allclose(kernels.fft(np.roll(x, 5, axis=1)), y * roots[5], atol=2e-4)
        np.testing.assert_allclose((np.abs(y) ** 2).sum(axis=1), n * (np.abs(x) ** 2).sum(axis=1), rtol=1e-5)
        np.testing.assert_allclose(kernels.fft(y.conj()).conj() / n, x, atol=1e-5)  # the inverse

    def test_in_place_out_and_layouts(self):
        for n in (32, 256):
            x = normal(n, 6, n)
            want = kernels.fft(x)
            wide = np.zeros((6, n + 18), np.complex64)
            view = wide[:, 7:7 + n]
            view[:] = x
            np.testing.assert_array_equal(kernels.fft(view), want)
            assert kernels.fft(view, out=view) is view
            np.testing.assert_array_equal(view, want)
            assert (wide[:, :7] == 0).all()
            assert (wide[:, 7 + n:] == 0).all()
            cube = np.ascontiguousarray(np.moveaxis(x.reshape(2, 3, n), 2, 1))
            apart = kernels.fft(cube, 1)
            assert kernels.fft(cube, axis=1, out=cube) is cube
            np.testing.assert_array_equal(cube, apart)
            for same in (x.astype(np.complex128), np.asfortranarray(x), x[::-1][::-1], x.tolist()):
                np.testing.assert_array_equal(kernels.fft(same), want)
            real = x.real.copy()
            for same in (real, real.astype(np.float64), real + 0j):
                np.testing.assert_array_equal(kernels.fft(same), kernels.fft(real.astype(np.complex64)))
        empty = np.empty((0, 16), np.complex64)
        assert kernels.fft(empty).shape == (0, 16)
        assert kernels.fft(empty.reshape(16, 0), 0).shape == (16, 0)

    def test_threads_give_the_same_bytes(self):
        for n in (64, 1024):
            x = normal(4, 301, n)
            for axis, a in ((1, x), (0, np.ascontiguousarray(x.T))):
                want = kernels.fft(a, axis).tobytes()
                for threads in (2, 3, 7):
                    assert kernels.fft(a, axis, threads=threads).tobytes() == want

    @pytest.mark.parametrize(("call", "error", "message"), [
        (lambda x: kernels.fft(x[:, :7]), ValueError, r"x: expected a power of two from 8 to 8192 along axis 1, got "
                                                      r"shape \(4, 7\)"),
        (lambda x: kernels.fft(x, 0), ValueError, "from 8 to 8192 along axis 0"),
        (lambda x: kernels.fft(np.zeros((1, 1 << 14), "c8")), ValueError, "from 8 to 8192"),
        (lambda x: kernels.fft(x[:, :0]), ValueError, "x: expected a power of two"),
        (lambda x: kernels.fft(x, 2), ValueError, "axis: expected an axis of an array of 2 dimensions, got 2"),
        (lambda x: kernels.fft(x, 0.5), TypeError, "integer"),
        (lambda x: kernels.fft(np.complex64(1)), ValueError, "axis: expected an axis of an array of 0 dimensions"),
        (lambda x: kernels.fft(x.real.astype(int)), TypeError, "x: expected complex or floating-point numbers, got "
                                                               "dtype int64"),
        (lambda x: kernels.fft(x, out=np.empty((4, 8), "f4")), TypeError, "out: expected an array of complex64"),
        (lambda x: kernels.fft(x, out=np.empty((4, 4), "c8")), ValueError, r"out: expected shape \(4, 8\)"),
        (lambda x: kernels.fft(x, out=np.empty((4, 16), "c8")[:, ::2]), ValueError, "out: expected a contiguous"),
        (lambda x: kernels.fft(x[None], out=np.empty((1, 4, 16), "c8")[..., :8]), ValueError, "out: expected a C-con"),
        (lambda x: kernels.fft(x, out=np.broadcast_to(np.complex64(0), (4, 8))), ValueError, "out: expected a"),
        (lambda x: kernels.fft(x[:2], out=x[1:3]), ValueError, "out: expected memory that does not overlap x"),
        (lambda x: kernels.fft(x, threads=0), ValueError, "threads: expected an integer >= 1"),
        (lambda x: kernels.fft(x, isa="sse2"), ValueError, "isa: expected one of generic"),
    ])
    def test_bad_calls_are_named(self, call, error, message):
        with pytest.raises(error, match=message):
            call(normal(5, 4, 8))


def tokens(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


class TestFourierMix:
    @profile
    @given(seed=st.integers(0, 2**32), log2_l=st.integers(3, 8), log2_d=st.integers(3, 9), batch=st.integers(1, 3),
           isa=st.sampled_from(LEVELS))
    def test_is_the_real_part_of_fft2(self, seed, log2_l, log2_d, batch, isa):
        x = tokens(seed, batch, 1 << log2_l, 1 << log2_d)
        y = kernels.fourier_mix(x, isa=isa)
        assert y.dtype == np.float32
        want = np.fft.fft2(x.astype(np.float64)).real
        assert (relative(y, want, axis=(1, 2)) <= 3e-7 * (log2_l + log2_d)).all()

    @pytest.mark.parametrize("shape", [(8, 8192), (8192, 8), (2048, 256), (512, 1024)])
    def test_long_ones(self, shape):
        x = tokens(1, *shape)
        want = np.fft.fft2(x.astype(np.float64)).real
        assert relative(kernels.fourier_mix(x), want) <= 3e-7 * np.log2(x.size)

    def test_scipy(self):
        fft2 = pytest.importorskip("scipy.fft").fft2
        x = tokens(3, 3, 64, 128)
        assert relative(kernels.fourier_mix(x), fft2(x).real) <= 3e-7 * 26

    def test_two_transforms(self):
        x = tokens(2, 64, 256)
        np.testing.assert_allclose(kernels.fourier_mix(x), kernels.fft(kernels.fft(x), 0).real, atol=5e-4)
        odd = x - np.roll(x[::-1, ::-1], (1, 1), (0, 1))  # x[r, c] - x[-r, -c]
        assert np.abs(kernels.fourier_mix(odd)).max() < 1e-4 * np.abs(odd).sum()
        even = (x + np.roll(x[::-1, ::-1], (1, 1), (0, 1))) / 2
        np.testing.assert_allclose(kernels.fourier_mix(even), kernels.fourier_mix(x), atol=5e-4)
        twice = kernels.fourier_mix(kernels.fourier_mix(x))
        np.testing.assert_allclose(twice / x.size, even, atol=1e-5)  # the transform of a real and even one is again

    def test_in_place_out_and_layouts(self):
        x = tokens(3, 2, 3, 16, 64)
        want = kernels.fourier_mix(x)
        for same in (x.astype(np.float64), np.asfortranarray(x), x.tolist()):
            np.testing.assert_array_equal(kernels.fourier_mix(same), want)
        wide = np.zeros((16, 100), np.float32)
        wide[:, 7:71] = x[0, 0]
        np.testing.assert_array_equal(kernels.fourier_mix(wide[:, 7:71]), want[0, 0])
        out = np.empty_like(x)
        assert kernels.fourier_mix(x, out) is out
        assert kernels.fourier_mix(x, out=x) is x
        np.testing.assert_array_equal(x, want)
        np.testing.assert_array_equal(out, want)
        assert kernels.fourier_mix(np.empty((0, 8, 8), np.float32)).shape == (0, 8, 8)

    @pytest.mark.parametrize("shape", [(512, 64), (128, 512)])
    def test_threads_give_the_same_bytes(self, shape):
        x = tokens(4, *shape)
        want = kernels.fourier_mix(x).tobytes()
        for threads in (2, 3, 7):
            assert kernels.fourier_mix(x, threads=threads).tobytes() == want

    def test_nan_reaches_the_sum(self):
        x = tokens(5, 16, 16)
        x[3, 2] = np.nan
        assert np.isnan(kernels.fourier_mix(x)[0, 0])

    @pytest.mark.parametrize(("call", "error", "message"), [
        (lambda x: kernels.fourier_mix(x[:7]), ValueError, r"from 8 to 8192 along axis 0, got shape \(7, 16\)"),
        (lambda x: kernels.fourier_mix(x[:, :12]), ValueError, "from 8 to 8192 along axis 1"),
        (lambda x: kernels.fourier_mix(x[0]), ValueError, r"x: expected shape \(..., L, d\), got \(16,\)"),
        (lambda x: kernels.fourier_mix(x + 0j), TypeError, "x: expected floating-point numbers, got dtype complex64"),
        (lambda x: kernels.fourier_mix(x.astype(int)), TypeError, "x: expected floating-point numbers"),
        (lambda x: kernels.fourier_mix(x, np.empty((8, 16))), TypeError, "out: expected an array of float32"),
        (lambda x: kernels.fourier_mix(x, np.empty((8, 32), "f4")[:, ::2]), ValueError, "out: expected a C-contiguous"),
        (lambda x: kernels.fourier_mix(x, np.empty((16, 8), "f4")), ValueError, r"out: expected shape \(8, 16\)"),
        (lambda x: kernels.fourier_mix(x, np.broadcast_to(np.float32(0), (8, 16))), ValueError, "out: expected a"),
        (lambda x: kernels.fourier_mix(x, threads=300), ValueError, "threads: expected"),
    ])
    def test_bad_calls_are_named(self, call, error, message):
        with pytest.raises(error, match=message):
            call(tokens(6, 8, 16))

    def test_overlap_in_part_is_refused(self):
        x = tokens(7, 12, 16)
        with pytest.raises(ValueError, match="out: expected memory that does not overlap x"):
            kernels.fourier_mix(x[:8], x[4:])

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    @pytest.mark.parametrize("shape", [(8, 8), (8, 16), (64, 128), (1024, 8)])
    def test_what_is_not_finite_reaches_its_whole_matrix(self, shape, bad):
        x = tokens(9, 2, *shape)
        row, col = shape[0] // 2 + 1, shape[1] // 4
        x[0, row, col] = bad
        i, k = np.indices(shape)
        turns = i * row % shape[0] / shape[0] + k * col % shape[1] / shape[1]
        weighted = np.abs(np.cos(2 * np.pi * turns)) > 1e-9
        for isa in LEVELS:
            y = kernels.fourier_mix(x, isa=isa)
            assert not np.isfinite(y[0][weighted]).any()
            assert np.isfinite(y[1]).all()
