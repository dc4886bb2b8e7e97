"""Butterfly plans against the explicit product of their factors in float64."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnsched import kernels
from dnnsched.config import runnable_isa_levels

LEVELS = runnable_isa_levels()
U = 2.0 ** -24


def twiddles(seed, k, m, nblock=1):
    """Random twiddles for m outputs of k inputs."""
    levels = max(1, (k - 1).bit_length())
    n = 1 << levels
    return np.random.default_rng(seed).standard_normal((max(1, -(-m // n)), nblock, levels, n // 2, 2, 2)) / 2 ** 0.5


def factors(block, increasing):
    """Dense factors (float64) of one block in the order of application."""
    levels, n = block.shape[0], 2 * block.shape[1]
    out = []
    for j in range(levels):
        f, s = np.zeros((n, n)), 1 << j
        for q, t in enumerate(block[j].astype(np.float32).astype(np.float64)):
            i = q // s * 2 * s + q % s
            f[i, [i, i + s]], f[i + s, [i, i + s]] = t
        out.append(f)
    return out if increasing else out[::-1]


def dense(twiddle, k, m, increasing=True, size=False):
    """The matrix (m, k), or the product of absolute values."""
    n, stacks = 2 * twiddle.shape[3], []
    for stack in twiddle:
        w = np.eye(n)
        for b, block in enumerate(stack):
            for f in factors(block, increasing == (b % 2 == 0)):
                w = (np.abs(f) if size else f) @ w
        stacks.append(w)
    return np.concatenate(stacks)[:m, :k]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), k=st.integers(1, 130), m=st.integers(0, 200), nblock=st.integers(1, 3),
       n=st.integers(0, 70), increasing=st.booleans(), isa=st.sampled_from(LEVELS))
def test_equals_the_product_of_factors(seed, k, m, nblock, n, increasing, isa):
    t = twiddles(seed, k, m, nblock)
    rng = np.random.default_rng(seed + 1)
    x, bias = rng.standard_normal((k, n)).astype(np.float32), rng.standard_normal(m).astype(np.float32)
    plan = kernels.butterfly(t, k, m, increasing, bias=bias, act=(-2, 3), isa=isa)
    want = np.clip(dense(t, k, m, increasing) @ x + bias[:, None], -2, 3)
    size = dense(t, k, m, increasing, size=True) @ np.abs(x) + np.abs(bias)[:, None]
    bound = 1.01 * (2 * t.shape[2] * nblock + 1) * U * size + 1e-38
    y = plan @ x
    assert (np.abs(y - want) <= bound).all()
    np.testing.assert_array_equal(plan.linear(np.ascontiguousarray(x.T)).T, y)
    if n:
        np.testing.assert_array_equal(plan @ x[:, 0].copy(), y[:, 0])
    assert (plan.shape, plan.format, plan.nnz) == ((m, k), "butterfly", t.size)
    np.testing.assert_array_equal(plan.to_dense(), kernels.butterfly(t, k, m, increasing, isa=isa) @ np.eye(k))


def test_hadamard_twiddles_are_the_walsh_transform():
    h = np.broadcast_to(np.array([[1, 1], [1, -1]], np.float32), (1, 1, 8, 128, 2, 2))
    x = np.random.default_rng(0).standard_normal((256, 33)).astype(np.float32)
    np.testing.assert_array_equal(kernels.butterfly(h, 256, 256) @ x, kernels.fwht(x, 0))


@pytest.mark.parametrize("levels", [1, 4, 7])
def test_fourier_twiddles_and_bit_reversal_are_the_fft(levels):
    """Complex arithmetic from four real products: W = (A + iB) level by level is kept as 2n real rows."""
    n = 1 << levels
    x = np.random.default_rng(levels).standard_normal((n, 5))
    order = [int(format(i, "b").zfill(levels)[::-1], 2) for i in range(n)]
    y = x[order].astype(np.complex128)
    for j in range(levels):  # one level at a time, real and imaginary twiddles as two plans each
        s = 1 << j
        roots = np.exp(-2j * np.pi * np.arange(s) / (2 * s))
        level = np.empty((n // 2, 2, 2), np.complex128)
        for q in range(n // 2):
            w = roots[q % s]
            level[q] = [[1, w], [1, -w]]
        t = np.broadcast_to(np.eye(2), (1, 1, levels, n // 2, 2, 2)).astype(np.complex128)
        t[0, 0, j] = level
        real = kernels.butterfly(t.real, n, n)
        t.imag[0, 0, [i for i in range(levels) if i != j]] = 0
        only = np.broadcast_to(np.eye(2), t.shape).copy()
        only[0, 0, j] = t.imag[0, 0, j]
        imag = kernels.butterfly(only, n, n)
        y = (real @ y.real - imag @ y.imag) + 1j * (real @ y.imag + imag @ y.real)
    np.testing.assert_allclose(y, np.fft.fft(x, axis=0), atol=1e-4)
    if n >= 8:
        np.testing.assert_allclose(y, kernels.fft(x, 0), atol=1e-4)


def test_rotations_keep_the_norm_and_invert_by_the_transpose():
    """Orthogonal blocks; the transpose is the reverse product of transposed blocks."""
    rng = np.random.default_rng(4)
    angle = rng.random((1, 2, 6, 32)) * 2 * np.pi
    t = np.stack([np.stack([np.cos(angle), -np.sin(angle)], -1), np.stack([np.sin(angle), np.cos(angle)], -1)], -2)
    plan = kernels.butterfly(t, 64, 64)
    x, y = rng.standard_normal((2, 64, 9)).astype(np.float32)
    np.testing.assert_allclose(np.linalg.norm(plan @ x, axis=0), np.linalg.norm(x, axis=0), rtol=1e-5)
    back = kernels.butterfly(t[:, ::-1].swapaxes(-1, -2), 64, 64, True)  # two blocks: up, down; reversed the same
    np.testing.assert_allclose(back @ (plan @ x), x, atol=1e-5)
    np.testing.assert_allclose(((plan @ x) * y).sum(0), (x * (back @ y)).sum(0), atol=1e-4)


def test_threads_pickle_and_cost():
    t = twiddles(1, 300, 1200, 2)
    plan = kernels.butterfly(t, 300, 1200, False, bias=np.ones(1200), act="relu")
    x = np.random.default_rng(2).standard_normal((300, 500)).astype(np.float32)
    want = plan @ x
    for threads in (2, 3, 7):
        assert plan.matmul(x, threads=threads).tobytes() == want.tobytes()
    copy = pickle.loads(pickle.dumps(plan))
    assert (copy @ x).tobytes() == want.tobytes()
    assert repr(copy) == repr(plan)
    assert plan.cost(10).flops == 3 * 3 * 512 * 9 * 2 * 10  # stacks, 3 n per level, levels, blocks, columns


def test_not_finite():
    t = twiddles(1, 8, 8)
    x = np.zeros((8, 3), np.float32)
    x[2, 1] = np.nan
    y = kernels.butterfly(t, 8, 8) @ x
    assert np.isnan(y[:, 1]).all()
    assert (y[:, [0, 2]] == 0).all()


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ((twiddles(0, 8, 8), 9, 8), ValueError, r"twiddle: expected shape \(1, nblock, 4, 8, 2, 2\) for 9 inputs and 8"),
    ((twiddles(0, 8, 8), 8, 9), ValueError, r"twiddle: expected shape \(2, nblock"),
    ((twiddles(0, 8, 8), 4, 8), ValueError, "twiddle: expected shape"),
    ((twiddles(0, 8, 8)[:, :0], 8, 8), ValueError, "twiddle: expected shape"),
    ((twiddles(0, 8, 8)[0], 8, 8), ValueError, "twiddle: expected shape"),
    ((twiddles(0, 8, 8), 0, 8), ValueError, "in_features: expected an integer >= 1, got 0"),
    ((twiddles(0, 8, 8), 8, -1), ValueError, "out_features: expected an integer >= 0, got -1"),
    ((twiddles(0, 8, 8), 8.0, 8), TypeError, "in_features: expected an integer"),
    ((twiddles(0, 8, 8), 1 << 30, 8), ValueError, r"in_features: expected at most 2\^24"),
    ((twiddles(0, 8, 8).astype(int), 8, 8), TypeError, "twiddle: expected floating-point"),
])
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        kernels.butterfly(*arguments)
    with pytest.raises(ValueError, match=r"bias: expected shape \(8,\)"):
        kernels.butterfly(twiddles(0, 8, 8), 8, 8, bias=np.ones(7))
