"""Nested bit planes against NumPy twins, at every precision and level."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnsched import kernels
from dnnsched.config import runnable_isa_levels
from dnnsched.kernels import nested, quantize

LEVELS = runnable_isa_levels()
U = 2.0 ** -24
profile = settings(max_examples=30, deadline=None)


def weights(seed, m, k):
    """Random float32."""
    return np.random.default_rng(seed).standard_normal((m, k)).astype(np.float32)


def uniform_twin(w, bits, group):
    """(codes, s, z) straight from the equations."""
    codes, s, z = np.zeros(w.shape, int), [], []
    for k in range(0, w.shape[1], group):
        part = w[:, k:k + group].astype(float)
        low = part.min(axis=1)
        step = ((part.max(axis=1) - low) / (2**bits - 1)).astype(np.float32)
        safe = np.where(step > 0, step, 1).astype(float)
        codes[:, k:k + group] = np.minimum(np.rint((part - low[:, None]) / safe[:, None]), 2**bits - 1)
        s.append(step.astype(float))
        z.append(low)
    return codes, np.array(s).T, np.array(z).T


def product_twin(w, x, bits, p, group):
    """The uniform product: exact integer sums, the rest in float64, groups in ascending order."""
    codes, s, z = uniform_twin(w, bits, group)
    top = codes >> (bits - p) << (8 - p)
    q = quantize(x, axis=1)
    weight = s / 2 ** (8 - bits)
    constant = z + weight * ((1 << (8 - p)) - (1 << (8 - bits))) / 2
    total = np.zeros((len(w), x.shape[1]))
    for g, k in enumerate(range(0, w.shape[1], group)):
        part = q.q[k:k + group].astype(int)
        sums = top[:, k:k + group] @ part
        total += weight[:, g:g + 1] * sums + constant[:, g:g + 1] * part.sum(axis=0)
    return (total * q.scale.astype(float)).astype(np.float32)


class TestUniform:
    """Integers are exact, so results are too."""

    @profile
    @given(seed=st.integers(0, 2**32), m=st.integers(1, 20), k=st.integers(1, 600), n=st.integers(1, 4),
           bits=st.integers(2, 8), group=st.sampled_from([None, None, 64, 128]), isa=st.sampled_from(LEVELS))
    def test_twin_and_bound(self, seed, m, k, n, bits, group, isa):
        w, x = weights(seed, m, k), weights(seed + 1, k, n)
        plan = nested(w, bits, group, isa=isa)
        for p in range(1, bits + 1):
            y = plan.matmul(x, bits=p)
            np.testing.assert_array_equal(y, product_twin(w, x, bits, p, group or k))
            np.testing.assert_array_equal(plan.linear(x.T, bits=p), y.T)
            codes, s, z = (np.asarray(a, float) for a in uniform_twin(w, bits, group or k))
            s, z = (np.repeat(a, group or k, axis=1)[:, :k] for a in (s, z))
            step = 2 ** (bits - p)
            wp = s * (codes // step * step) + z + s * (step - 1) / 2
            np.testing.assert_allclose(plan.to_dense(p), wp, rtol=0, atol=1e-5)
            t = np.abs(x).max(axis=0) / 127
            size = np.abs(wp).sum(axis=1)[:, None]
            bound = size * t * (0.5 + 2**-14 + 4 * U) + 4 * U * (np.abs(wp) @ np.abs(x))
            assert (np.abs(y - wp @ x.astype(float)) <= bound).all()
        np.testing.assert_array_equal(plan.matmul(x[:, 0]), plan.matmul(x)[:, 0])

    def test_planes_add_up(self):
        """y_b = 2 y_(b-1) + plane_b x, with codes for weights (s = 1, z = 0)."""
        w = np.random.default_rng(0).integers(0, 256, (30, 500)).astype(np.float32)
        w[:, 0], w[:, 1] = 0, 255
        x = np.random.default_rng(1).integers(-127, 128, 500).astype(np.float32)
        x[0] = 127
        plan = nested(w)
        codes = w.astype(int)
        for p in range(2, 9):
            middle = {b: (2 ** (8 - b) - 1) / 2 * x.astype(int).sum() for b in (p - 1, p)}
            y = {b: (plan.matmul(x, bits=b).astype(float) - middle[b]) / 2 ** (8 - b) for b in (p - 1, p)}
            plane = codes >> (8 - p) & 1
            np.testing.assert_allclose(y[p], 2 * y[p - 1] + plane @ x.astype(int), atol=1 + np.abs(y[p]).max() * 1e-5)

    def test_codes_nest(self):
        w = weights(3, 10, 300)
        fine, coarse = nested(w).to_dense(8), nested(w).to_dense(3)
        assert len(np.unique(coarse[0])) <= 8
        for value in np.unique(coarse[0]):
            inside = fine[0][coarse[0] == value]
            assert inside.max() - inside.min() <= (w[0].max() - w[0].min()) / 8 + 1e-6

    @pytest.mark.parametrize("codebook", [False, True])
    def test_threads_give_the_same_bytes(self, codebook):
        plan, x = nested(weights(1, 400, 600), 4, codebook=codebook), weights(2, 600, 9)
        for p in (2, 3, 4):
            want = plan.matmul(x, bits=p)
            for threads in (2, 3, 7):
                assert plan.matmul(x, bits=p, threads=threads).tobytes() == want.tobytes()
                assert plan.linear(x.T, bits=p, threads=threads).tobytes() == np.ascontiguousarray(want.T).tobytes()

    def test_not_finite_vectors_are_nan(self):
        x = np.ones((40, 3), np.float32)
        x[3, 1], x[4, 2] = np.nan, -np.inf
        np.testing.assert_array_equal(np.isnan(nested(weights(1, 5, 40)) @ x), [[False, True, True]] * 5)


class TestCodebook:
    """Centroids per precision, floats throughout."""

    @profile
    @given(seed=st.integers(0, 2**32), m=st.integers(1, 8), k=st.integers(1, 600), n=st.integers(1, 3),
           bits=st.integers(2, 8), isa=st.sampled_from(LEVELS))
    def test_bound_and_nesting(self, seed, m, k, n, bits, isa):
        w, x = weights(seed, m, k), weights(seed + 1, k, n)
        plan = nested(w, bits, codebook=True, isa=isa)
        before = None
        for p in range(bits, 0, -1):
            wp = plan.to_dense(p)
            for row, source in zip(wp, w, strict=True):
                values, first = np.unique(row, return_inverse=True)
                assert len(values) <= 2**p
                for i, value in enumerate(values):
                    assert value == pytest.approx(source[first == i].astype(float).mean(), rel=1e-5, abs=1e-6)
            error = ((wp - w) ** 2).sum()
            assert before is None or error >= before - 1e-6
            before = error
            y = plan.matmul(x, bits=p)
            bound = 2 * (k / 16 + 18) * U * (np.abs(wp.astype(float)) @ np.abs(x))
            assert (np.abs(y - wp.astype(float) @ x) <= bound).all()
            np.testing.assert_array_equal(plan.linear(x.T, bits=p), y.T)

    def test_better_than_uniform(self):
        w = weights(5, 20, 2000) ** 3
        for p in (2, 3, 4):
            errors = [((nested(w, 4, codebook=c).to_dense(p) - w) ** 2).sum() for c in (False, True)]
            assert errors[1] < errors[0]


class TestPlans:
    """What holds for both kinds."""

    @pytest.mark.parametrize("options", [{}, {"bits": 3, "group": 64}, {"bits": 5, "codebook": True}])
    def test_pickle_and_description(self, options):
        plan = nested(weights(1, 30, 200), isa="generic", **options)
        copy = pickle.loads(pickle.dumps(plan))
        x = weights(2, 200, 3)
        for p in range(1, plan.bits + 1):
            assert copy.matmul(x, bits=p).tobytes() == plan.matmul(x, bits=p).tobytes()
            np.testing.assert_array_equal(copy.to_dense(p), plan.to_dense(p))
        assert (copy.bits, copy.group, copy.codebook) == (plan.bits, plan.group, plan.codebook)
        assert repr(copy) == repr(plan)
        assert (plan.format, plan.shape, plan.nnz) == ("nested", (30, 200), 6000)
        assert plan.cost(2).flops > 0
        assert kernels.roofline(plan, 2) > 0
        np.testing.assert_array_equal(plan @ x, plan.matmul(x, bits=plan.bits))

    def test_cost_counts_instructions(self):
        """Per 512 weights: an AND and a product for each of 8 blocks, 7 or 9 to merge planes, the low plane its own."""
        for isa in LEVELS:
            product = {"generic": 4, "avx2": 3, "avx512": 3}.get(isa, 1)
            for bits, count in [(2, 8 + 8 * product), (3, 15 + 8 * product), (4, 17 + 8 * product),
                                (8, 25 + 16 * product)]:
                plan = nested(weights(1, 8, 512), bits, isa=isa)
                assert plan.cost(3).flops == 2 * 8 * 512 * 3 * count / 32
                assert sum(plan.cost(3).bytes) > plan.read_bytes(bits)
            assert nested(weights(1, 8, 512), 4, codebook=True, isa=isa).cost(3).flops == 2 * 8 * 512 * 3

    def test_bytes_follow_bits(self):
        plan = nested(weights(1, 8, 4096))
        scales = 8 * 2 * 4
        assert [plan.read_bytes(p) - scales for p in range(1, 9)] == [8 * 512 * b for b in (2, 2, 3, 4, 8, 8, 8, 8)]

    @pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
    @pytest.mark.parametrize("codebook", [False, True])
    def test_empty(self, shape, codebook):
        plan = nested(np.zeros(shape, np.float32), codebook=codebook)
        y = plan.matmul(np.ones((shape[1], 3), np.float32), bits=2)
        np.testing.assert_array_equal(y, np.zeros((shape[0], 3)))
        assert plan.matmul(np.ones((shape[1], 0), np.float32)).shape == (shape[0], 0)

    @pytest.mark.parametrize(("arguments", "error", "message"), [
        ({"bits": 1}, ValueError, "bits: expected 2 to 8, got 1"),
        ({"bits": 9}, ValueError, "bits: expected 2 to 8, got 9"),
        ({"bits": 4.0}, TypeError, "integer"),
        ({"group": 65}, ValueError, "group: expected a multiple of 64"),
        ({"group": 0}, ValueError, "group: expected a multiple of 64"),
        ({"group": 64, "codebook": True}, ValueError, "no codebook"),
        ({"isa": "mmx"}, ValueError, "isa: expected one of"),
    ])
    def test_bad_parameters_are_named(self, arguments, error, message):
        with pytest.raises(error, match=message):
            nested(np.ones((3, 70), np.float32), **arguments)

    @pytest.mark.parametrize("codebook", [False, True])
    def test_bad_weights_are_named(self, codebook):
        w = np.ones((3, 70), np.float32)
        w[2, 69] = np.nan
        with pytest.raises(ValueError, match="W: row 2, column 69: expected a finite number, got nan"):
            nested(w, codebook=codebook)
        with pytest.raises(TypeError, match="W: expected floating-point"):
            nested(np.ones((3, 7), int), codebook=codebook)
        with pytest.raises(ValueError, match="W: expected at most 65536 columns"):
            nested(np.ones((1, 65537), np.float32), codebook=codebook)

    @pytest.mark.parametrize(("call", "error", "message"), [
        (lambda p, x: p.matmul(x, bits=5), ValueError, "bits: expected 1 to 4, got 5"),
        (lambda p, x: p.matmul(x, bits=0), ValueError, "bits: expected 1 to 4, got 0"),
        (lambda p, x: p.matmul(x, bits=2.5), TypeError, "integer"),
        (lambda p, x: p.to_dense(9), ValueError, "bits: expected 1 to 4, got 9"),
        (lambda p, x: p.matmul(x[:3]), ValueError, r"X: expected shape \(40, N\) or \(40,\), got \(3, 24\)"),
        (lambda p, x: p.linear(x), ValueError, r"x: expected shape \(\.\.\., 40\), got \(40, 24\)"),
        (lambda p, x: p.matmul(x.astype(int)), TypeError, "X: expected floating-point numbers"),
        (lambda p, x: p.matmul(x, out=np.empty((30, 23), "f4")), ValueError, r"out: expected shape \(30, 24\)"),
        (lambda p, x: p.matmul(x, out=x[:30]), ValueError, "out: expected memory that does not overlap x"),
        (lambda p, x: p.matmul(x, threads=0), ValueError, "threads: expected"),
    ])
    def test_bad_calls_are_named(self, call, error, message):
        with pytest.raises(error, match=message):
            call(nested(weights(1, 30, 40), 4), weights(2, 40, 24))
