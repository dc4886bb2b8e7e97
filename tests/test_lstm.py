"""LSTM cells: every form against float64, stopping and going on, the decomposition's laws, arguments, pickles."""

import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnsched import kernels
from dnnsched._native import _kernels
from dnnsched.config import runnable_isa_levels
from dnnsched.errors import FormatError

LEVELS = runnable_isa_levels()
U = 2.0 ** -24
FORMS = {"dense": {}, "csr": {"density": 0.4}, "int8": {}, "lowrank": {"rank": 1}, "progressive": {"terms": 3, "nz": 2}}
profile = settings(max_examples=30, deadline=None)


def weights(seed, inputs, hidden):
    """(w_ih, w_hh, b_ih, b_hh) of a random cell."""
    rng = np.random.default_rng(seed)
    rows = 4 * hidden
    return tuple(rng.standard_normal(shape).astype(np.float32) / 2
                 for shape in ((rows, inputs), (rows, hidden), rows, rows))


def batch(seed, n, inputs, hidden):
    """(x, h, c)."""
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal((n, e)).astype(np.float32) for e in (inputs, hidden, hidden))


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def states(z, c, output_tanh=True):
    """(h, c, size of c's terms) in float64."""
    i, f, g, o = np.split(z.astype(np.float64), 4, axis=-1)
    forgotten, added = sigmoid(f) * c, sigmoid(i) * np.tanh(g)
    new = forgotten + added
    return sigmoid(o) * (np.tanh(new) if output_tanh else new), new, np.abs(forgotten) + np.abs(added)


def check_states(z, c, got, output_tanh=True):
    h, new, size = states(z, c, output_tanh)
    bound = 14 * U * size + 1e-37
    assert (np.abs(got[1] - new) <= bound).all()
    assert (np.abs(got[0] - h) <= bound + 12 * U * np.abs(h)).all()


def check_gates(plan, bias, x, h, z):
    """The gates' sums within the stated bound of float64, by the plan's own weights."""
    xh = np.concatenate([x, h], axis=1).astype(np.float64)
    if plan.nz:
        s, u, v = (a.astype(np.float64) for a in plan.factors())
        su = s[..., None] * u
        want = np.einsum("gth,gtk,nk->ngh", su, v, xh).reshape(z.shape)
        size = np.einsum("gth,gtk,nk->ngh", np.abs(su), np.abs(v), np.abs(xh)).reshape(z.shape)
        extra = 2 * (plan.nz + plan.terms + 4) * U
    else:
        w = plan.to_dense().astype(np.float64)
        want, size, extra = xh @ w.T, np.abs(xh) @ np.abs(w).T, 2 * (w.shape[1] + 4) * U
    bound = extra * (size + np.abs(bias)) + 1e-38
    if plan.format == "int8":
        t = np.abs(xh).max(axis=1, initial=0, keepdims=True) / 127
        bound = bound + t * (0.5 + 2.0 ** -14 + 4 * U) * np.abs(plan.to_dense()).sum(axis=1)
    assert (np.abs(z - want - bias) <= bound).all()


@pytest.mark.parametrize("form", FORMS)
class TestEveryForm:
    """What holds for any form."""

    @profile
    @given(seed=st.integers(0, 2**32), inputs=st.integers(0, 40), hidden=st.integers(1, 40), n=st.integers(0, 10),
           tanh=st.booleans(), isa=st.sampled_from(LEVELS))
    def test_steps(self, form, seed, inputs, hidden, n, tanh, isa):
        w = weights(seed, inputs, hidden)
        options = FORMS[form] if form != "progressive" else {"terms": 3, "nz": 1 + (inputs + hidden) // 2}
        plan = kernels.lstm(*w, form, output_tanh=tanh, isa=isa, **options)
        x, h, c = batch(seed + 1, n, inputs, hidden)
        z = plan.gates(x, h)
        check_gates(plan, (w[2] + w[3]).astype(np.float64), x, h, z)
        got = plan.step(x, h, c)
        check_states(z, c, got, tanh)
        for one, other in zip(plan.cell(z, c), got, strict=True):
            np.testing.assert_array_equal(one, other)
        if n:
            for one, many in zip(plan.step(x[-1], h[-1], c[-1]), got, strict=True):
                np.testing.assert_array_equal(one, many[-1])
        assert (plan.inputs, plan.hidden, plan.format) == (inputs, hidden, form)
        assert plan.shape == (4 * hidden, inputs + hidden)
        assert plan.nbytes > 0

    def test_threads_give_the_same_bytes(self, form):
        options = {"rank": 40} if form == "lowrank" else {"terms": 12, "nz": 300} if form == "progressive" else {}
        plan = kernels.lstm(*weights(1, 300, 200), form, **options)
        for n in (1, 5, 9, 20):
            x, h, c = batch(2, n, 300, 200)
            want = plan.step(x, h, c)
            for threads in (2, 3, 7):
                for got, one in zip(plan.step(x, h, c, threads=threads), want, strict=True):
                    assert got.tobytes() == one.tobytes()

    def test_pickle(self, form):
        plan = kernels.lstm(*weights(1, 13, 10), form, output_tanh=False, isa="generic", **FORMS[form])
        copy = pickle.loads(pickle.dumps(plan))
        x, h, c = batch(2, 3, 13, 10)
        for got, want in zip(copy.step(x, h, c), plan.step(x, h, c), strict=True):
            assert got.tobytes() == want.tobytes()
        assert repr(copy) == repr(plan)
        assert copy.output_tanh is False

    def test_out_layouts_and_states_in_place(self, form):
        plan = kernels.lstm(*weights(1, 13, 10), form, **FORMS[form])
        x, h, c = batch(2, 6, 13, 10)
        want = plan.step(x, h, c)
        room = np.full((2, 6, 17), 7, np.float32)
        out = (room[0, :, 3:13], room[1, :, 3:13])
        got = plan.step(x, h, c, out=out)
        assert got[0] is out[0]
        assert got[1] is out[1]
        assert (room[:, :, :3] == 7).all()
        assert (room[:, :, 13:] == 7).all()
        for same in (got, plan.step(np.asfortranarray(x), h.astype(np.float64), c[::-1][::-1]),
                     plan.step(x, h, c, out=(h, c))):
            for a, b in zip(same, want, strict=True):
                np.testing.assert_array_equal(a, b)

    def test_cost(self, form):
        plan = kernels.lstm(*weights(1, 64, 64), form, **FORMS[form])
        assert plan.cost(0).flops == 0
        assert plan.cost(4).flops == 4 * plan.cost(1).flops
        if form != "int8":
            assert plan.cost(4).flops == 2 * plan.nnz * 4
        assert kernels.roofline(plan, 1) > 0


def test_torch_agrees():
    torch = pytest.importorskip("torch")
    cell = torch.nn.LSTMCell(31, 45)
    plan = kernels.lstm(*(getattr(cell, name).detach() for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")))
    x, h, c = batch(3, 7, 31, 45)
    with torch.no_grad():
        wanted = cell(torch.from_numpy(x), (torch.from_numpy(h), torch.from_numpy(c)))
        for got, want in zip(plan.step(x, h, c), wanted, strict=True):
            np.testing.assert_allclose(got, want.numpy(), rtol=2e-6, atol=2e-6)


def test_forms_agree_on_the_same_weights():
    """Without zeros csr adds what dense adds, in the same order; full sums of terms are the matrix."""
    w = weights(4, 37, 22)
    x, h, c = batch(5, 5, 37, 22)
    dense = kernels.lstm(*w).step(x, h, c)
    for got, want in zip(kernels.lstm(*w, "csr").step(x, h, c), dense, strict=True):
        np.testing.assert_array_equal(got, want)
    for options in ({"form": "lowrank", "rank": 22}, {"form": "progressive", "terms": 22}):
        for got, want in zip(kernels.lstm(*w, **options).step(x, h, c), dense, strict=True):
            np.testing.assert_allclose(got, want, atol=2e-6)


def test_all_terms_follow_the_dense_cell_for_fifty_steps():
    w = tuple(a / 4 for a in weights(6, 40, 24))
    plans = kernels.lstm(*w), kernels.lstm(*w, "progressive", terms=250, nz=48)
    x = np.random.default_rng(7).standard_normal((50, 40)).astype(np.float32)
    runs = [(np.zeros(24, np.float32), np.zeros(24, np.float32)) for _ in plans]
    for row in x:
        runs = [plan.step(row, *state) for plan, state in zip(plans, runs, strict=True)]
        np.testing.assert_allclose(runs[0][0], runs[1][0], atol=1e-5)


def test_given_factors_are_multiplied():
    rng = np.random.default_rng(8)
    u, v = rng.standard_normal((4, 9, 3)).astype(np.float32), rng.standard_normal((4, 3, 20)).astype(np.float32)
    b = rng.standard_normal(36)
    plan = kernels.lstm(None, None, None, b, "lowrank", factors=(u, v))
    assert (plan.inputs, plan.hidden, plan.terms) == (11, 9, 3)
    np.testing.assert_allclose(plan.to_dense(), (u.astype(np.float64) @ v).reshape(36, 20), rtol=1e-5, atol=1e-6)
    x, h, _ = batch(9, 4, 11, 9)
    check_gates(plan, b.astype(np.float32).astype(np.float64), x, h, plan.gates(x, h))


@pytest.mark.parametrize("options", [{"form": "lowrank", "rank": 40}, {"form": "progressive", "terms": 40, "nz": 23}])
@pytest.mark.parametrize("isa", LEVELS)
def test_stopping_anywhere_and_going_on_gives_the_same_bytes(options, isa):
    w = weights(10, 33, 41)
    plan = kernels.lstm(*w, isa=isa, **options)
    x, h, c = batch(11, 3, 33, 41)
    s, u, v = (a.astype(np.float64) for a in plan.factors())
    xh = np.concatenate([x, h], axis=1).astype(np.float64)
    for stop in (0, 1, 15, 16, 17, 39, 40):
        want = plan.gates(x, h, terms=stop)
        exact = np.einsum("gt,gth,gtk,nk->ngh", s[:, :stop], u[:, :stop], v[:, :stop], xh).reshape(3, -1) + w[2] + w[3]
        np.testing.assert_allclose(want, exact, atol=1e-4)
        for middle in range(1, stop + 1, 7):
            z = plan.gates(x, h, terms=middle)
            assert plan.gates(x, h, first=middle, terms=stop, out=z) is z
            assert z.tobytes() == want.tobytes()
        for got, one in zip(plan.step(x, h, c, terms=stop), plan.cell(want, c), strict=True):
            assert got.tobytes() == one.tobytes()
    costs = [plan.cost(1, terms=t) for t in range(41)]
    assert all(a.flops < b.flops and sum(a.bytes) < sum(b.bytes) for a, b in itertools.pairwise(costs))


def terms_of(w, terms, nz, isa="generic"):
    """(s, u, v whole, columns) of one matrix, float64 where they are numbers."""
    m, n = w.shape
    s, u = np.empty(terms, np.float32), np.empty((terms, m), np.float32)
    v, columns = np.empty((terms, nz), np.float32), np.empty((terms, nz), np.int32)
    _kernels.lowrank_terms(np.ascontiguousarray(w), s, u, v, columns, LEVELS.index(isa))
    whole = np.zeros((terms, n))
    np.put_along_axis(whole, columns.astype(np.int64), v.astype(np.float64), axis=1)
    return s.astype(np.float64), u.astype(np.float64), whole, columns


class TestTerms:
    """Laws of the pruned rank-one decomposition."""

    @profile
    @given(seed=st.integers(0, 2**32), m=st.integers(1, 24), n=st.integers(1, 40), data=st.data())
    def test_residual_shrinks_by_the_energy_of_each_term(self, seed, m, n, data):
        nz = data.draw(st.integers(1, n))
        w = np.random.default_rng(seed).standard_normal((m, n)).astype(np.float32)
        s, u, v, columns = terms_of(w, 12, nz)
        left = w.astype(np.float64)
        for t in range(12):
            before = (left ** 2).sum()
            if s[t] == 0:
                break
            left = left - s[t] * np.outer(u[t], v[t])
            after = (left ** 2).sum()
            assert after == pytest.approx(before - s[t] ** 2 * (v[t] ** 2).sum(), rel=1e-5,
                                          abs=1e-6 * (w.astype(np.float64) ** 2).sum())
            assert after < before or before < 1e-9 * (w ** 2).sum()
            assert (np.diff(columns[t]) > 0).all()
            assert np.count_nonzero(v[t]) <= nz
            assert u[t][np.argmax(np.abs(u[t]))] > 0
        assert (s[t + 1:] == 0).all() if s[t] == 0 else True

    @pytest.mark.parametrize("shape", [(12, 50), (50, 12), (20, 20)])
    def test_without_pruning_it_is_the_singular_value_decomposition(self, shape):
        w = np.random.default_rng(12).standard_normal(shape).astype(np.float32)
        u, sigma, v = np.linalg.svd(w.astype(np.float64), full_matrices=False)
        s, left, right, _ = terms_of(w, min(shape), shape[1])
        np.testing.assert_allclose(s, sigma, rtol=1e-5)
        for t in (1, 5, min(shape)):
            want = (u[:, :t] * sigma[:t]) @ v[:t]
            np.testing.assert_allclose((left[:t].T * s[:t]) @ right[:t], want, atol=1e-4 * sigma[0])

    def test_leading_triplets_of_two_hundred_matrices(self):
        rng = np.random.default_rng(13)
        for i in range(200):
            m, n = (1, 30) if i % 20 == 0 else (30, 1) if i % 20 == 1 else rng.integers(1, 40, 2)
            u, sigma, v = np.linalg.svd(rng.standard_normal((m, n)), full_matrices=False)
            if i % 2 and len(sigma) > 1:
                sigma[1] = sigma[0] * (1 - 1e-3)
            w = ((u * sigma) @ v).astype(np.float32)
            u, _, v = np.linalg.svd(w.astype(np.float64), full_matrices=False)
            _, left, right, _ = terms_of(w, 1, n)
            assert min(abs(left[0] @ u[:, 0]), abs(right[0] @ v[0])) > 1 - 1e-6

    def test_scaling_scales_and_permuting_permutes(self):
        rng = np.random.default_rng(14)
        w = rng.standard_normal((16, 30)).astype(np.float32)
        s, u, _, columns = terms_of(w, 6, 9)
        scaled = terms_of(w * 8, 6, 9)
        np.testing.assert_array_equal(scaled[0], 8 * s)
        np.testing.assert_array_equal(scaled[1], u)
        np.testing.assert_array_equal(scaled[3], columns)
        order = rng.permutation(30)
        np.testing.assert_array_equal(np.sort(order[terms_of(w[:, order], 6, 9)[3]]), columns)
        rows = rng.permutation(16)
        np.testing.assert_allclose(terms_of(w[rows], 6, 9)[1], u[:, rows], atol=1e-5)

    def test_every_level_gives_the_same_bytes(self):
        w = np.random.default_rng(15).standard_normal((37, 61)).astype(np.float32)
        want = terms_of(w, 9, 20)
        for isa in LEVELS:
            for a, b in zip(terms_of(w, 9, 20, isa), want, strict=True):
                np.testing.assert_array_equal(a, b)

    def test_degenerate_matrices(self):
        s, u, v, columns = terms_of(np.zeros((3, 5), np.float32), 2, 2)
        assert not s.any()
        assert not u.any()
        assert not v.any()
        assert columns.tolist() == [[0, 1], [0, 1]]
        one = np.outer([1, 2, 3], [1, 1, 0, 2]).astype(np.float32)
        s, u, v, _ = terms_of(one, 3, 4)
        np.testing.assert_allclose(s[0] * np.outer(u[0], v[0]), one, rtol=1e-6)
        assert (s[1:] <= 1e-6 * s[0]).all()
        s, u, v, _ = terms_of(np.eye(6, dtype=np.float32), 6, 6)  # equal singular values: compare the sum
        np.testing.assert_allclose((u.T * s) @ v, np.eye(6), atol=1e-6)
        ties = terms_of(np.ones((1, 7), np.float32), 1, 3)[3]
        assert ties.tolist() == [[0, 1, 2]]

    @pytest.mark.parametrize(("bad", "message"), [
        (np.nan, r"W: row 1: expected finite weights, got nan in column 2"),
        (np.inf, "W: row 1: expected finite weights, got inf"),
        (3e38, "W: expected a norm below 3.4"),
    ])
    def test_bad_weights_are_named(self, bad, message):
        w = np.full((4, 5), 2e38 if bad == 3e38 else 1, np.float32)
        w[1, 2] = bad
        with pytest.raises(ValueError, match=message):
            terms_of(w, 1, 1)


W = weights(0, 3, 2)
PLAN = kernels.lstm(*W)
TERMS = kernels.lstm(*W, "progressive", terms=4, nz=3)
X, H, C = batch(0, 6, 3, 2)


@pytest.mark.parametrize(("arguments", "options", "error", "message"), [
    ((W[0][:7], *W[1:]), {}, ValueError, r"w_ih: expected shape \(8, D\), got \(7, 3\)"),
    ((W[0], W[1][:7], *W[2:]), {}, ValueError, r"w_hh: expected shape \(4H, H\) with H >= 1, got \(7, 2\)"),
    ((W[0], np.zeros((0, 0), "f4")), {}, ValueError, "w_hh: expected shape"),
    ((W[0][0], *W[1:]), {}, ValueError, "w_ih: expected 2 dimensions"),
    ((W[0].astype(int), *W[1:]), {}, TypeError, "w_ih: expected floating-point numbers"),
    ((*W[:2], W[2][:7]), {}, ValueError, r"b_ih: expected shape \(8,\), got \(7,\)"),
    ((*W[:2], None, [1, 2]), {}, TypeError, "b_hh: expected floating-point"),
    (W, {"form": "sparse"}, ValueError, "form: expected one of 'dense', 'csr'"),
    (W, {"density": 0.5}, ValueError, "density: expected form 'csr', got 'dense'"),
    (W, {"form": "csr", "density": 1.5}, ValueError, r"density: expected a number in \[0, 1\]"),
    (W, {"form": "csr", "rank": 2}, ValueError, "rank: expected form 'lowrank', got 'csr'"),
    (W, {"form": "lowrank"}, ValueError, "rank, factors: form 'lowrank' expects one of them"),
    (W, {"form": "lowrank", "rank": 3}, ValueError, "rank: expected an integer >= 1 and <= 2, got 3"),
    (W, {"form": "lowrank", "factors": W[:2]}, ValueError, "factors: expected w_ih and w_hh to be None"),
    ((None, None), {"form": "lowrank", "factors": W[0]}, TypeError, "factors: expected a pair"),
    ((None, None), {"form": "lowrank", "factors": W[:2]}, ValueError, r"factors: expected shapes \(4, H, r\)"),
    ((None, None), {"form": "lowrank", "factors": (np.zeros((4, 5, 2)), np.zeros((4, 2, 4)))}, ValueError,
     r"factors: expected 1 <= H <= D \+ H, got H = 5"),
    (W, {"form": "progressive"}, ValueError, "terms: form 'progressive' expects a number of terms"),
    (W, {"form": "progressive", "terms": 0}, ValueError, "terms: expected an integer >= 1 and <= 65535, got 0"),
    (W, {"form": "progressive", "terms": 65536}, ValueError, "terms: expected an integer >= 1 and <= 65535"),
    (W, {"form": "progressive", "terms": 2, "nz": 6}, ValueError, "nz: expected an integer >= 1 and <= 5, got 6"),
    (W, {"isa": "sse2"}, ValueError, "isa: expected one of generic"),
])
def test_bad_weights_and_options_are_named(arguments, options, error, message):
    with pytest.raises(error, match=message):
        kernels.lstm(*arguments, **options)


@pytest.mark.parametrize("form", ["csr", "int8", "lowrank", "progressive"])
def test_weights_that_are_not_finite_are_named(form):
    w = W[0].copy()
    w[5, 1] = np.nan
    options = {"density": 0.5} if form == "csr" else FORMS[form]
    with pytest.raises(ValueError, match=r"W: row .*expected finite weights, got nan"):
        kernels.lstm(w, *W[1:], form, **options)


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: PLAN.step(X[:, :2], H, C), ValueError, r"x: expected shape \(N, 3\) or \(3,\), got \(6, 2\)"),
    (lambda: PLAN.step(X[None], H, C), ValueError, "x: expected shape"),
    (lambda: PLAN.step(X, H[:5], C), ValueError, r"h: expected shape \(6, 2\), got \(5, 2\)"),
    (lambda: PLAN.step(X[0], H, C), ValueError, r"h: expected shape \(2,\), got \(6, 2\)"),
    (lambda: PLAN.step(X, H, C[0]), ValueError, r"c: expected shape \(6, 2\), got \(2,\)"),
    (lambda: PLAN.step(X > 0, H, C), TypeError, "x: expected floating-point numbers"),
    (lambda: PLAN.step(X, H, C, out=H), TypeError, r"out: expected a pair of arrays \(h, c\)"),
    (lambda: PLAN.step(X, H, C, out=(H, None, C)), TypeError, "out: expected a pair"),
    (lambda: PLAN.step(X, H, C, out=(H.astype("f8"), C)), TypeError, "out: expected an array of float32"),
    (lambda: PLAN.step(X, H, C, out=(H[:5], C)), ValueError, r"out: expected shape \(6, 2\)"),
    (lambda: PLAN.step(X, H, C, out=(C, C.copy())), ValueError, "h_out: expected memory that does not overlap c"),
    (lambda: PLAN.step(X, H, C, out=(H.copy(), H)), ValueError, "c_out: expected memory that does not overlap h"),
    (lambda: PLAN.step(X, H, C, out=(X[:, :2], C)), ValueError, "h_out: expected memory that does not overlap x"),
    (lambda: PLAN.step(X, H, C, out=[np.empty((6, 2), "f4")] * 2), ValueError, "does not overlap c_out"),
    (lambda: PLAN.step(X, H, C, out=(np.broadcast_to(H[0], (6, 2)), C)), ValueError, "h_out: expected"),
    (lambda: PLAN.step(X, H, C, threads=0), ValueError, "threads: expected an integer >= 1"),
    (lambda: PLAN.step(X, H, C, terms=1), ValueError, "terms: a plan of form 'dense' has no terms"),
    (lambda: TERMS.step(X, H, C, terms=5), ValueError, "terms: expected an integer >= 0 and <= 4, got 5"),
    (lambda: TERMS.gates(X, H, first=3, terms=2), ValueError, "first: expected an integer >= 0 and <= 2, got 3"),
    (lambda: TERMS.gates(X, H, first=1), ValueError, "out: expected the sums of the first terms, got None"),
    (lambda: PLAN.gates(X, H, out=np.empty((6, 9), "f4")), ValueError, r"out: expected shape \(6, 8\)"),
    (lambda: PLAN.cell(X, C), ValueError, r"z: expected shape \(N, 8\) or \(8,\), got \(6, 3\)"),
    (lambda: PLAN.factors(), ValueError, "factors: a plan of form 'dense' has none"),
    (lambda: PLAN.cost(-1), ValueError, "n: expected an integer >= 0, got -1"),
    (lambda: setattr(PLAN, "hidden", 3), AttributeError, "hidden: a plan is immutable"),
])
def test_bad_calls_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda p: _kernels.lstm_dense(np.zeros((8, 1), "f4"), True, None, -1), ValueError, r"w: expected shape \(4H, D"),
    (lambda p: _kernels.lstm_wrap(object(), True), TypeError, "plan: expected a plan, got object"),
    (lambda p: _kernels.lstm_wrap(kernels.csr(X)._plan, True), ValueError, "gates: expected a plan of shape"),
    (lambda p: _kernels.lstm_info(kernels.csr(X)._plan), TypeError, "plan: expected an LSTM cell, got a plan of form"),
    (lambda p: _kernels.lstm_terms(*(a[:3] for a in p), 3, True, None, -1), ValueError, "expected"),
    (lambda p: _kernels.lstm_terms(*p[:3], p[3] * 0, 3, True, None, -1), FormatError, "columns: gate 0, term 0: expec"),
    (lambda p: _kernels.lstm_terms(*p, 0, True, None, -1), ValueError, "v: expected at most 2 elements of each term"),
    (lambda p: _kernels.lstm_terms(*p, -1, True, None, -1), OverflowError, "negative"),
    (lambda p: _kernels.lstm_unpack(PLAN._plan, *p), ValueError, "u, v: expected the plan's terms and extents"),
    (lambda p: _kernels.lstm_step(PLAN._plan, X), TypeError, "lstm_step: expected 8 to 8 arguments"),
    (lambda p: _kernels.lowrank_terms(X, p[0][0], p[1][0], p[2][0], p[3][0], -1), ValueError, "u: expected"),
])
def test_native_functions_are_strict(call, error, message):
    with pytest.raises(error, match=message):
        call(TERMS._unpack())


def test_a_wrapped_plan_outlives_its_owner():
    plan = kernels.lstm(*weights(1, 30, 20), "csr")
    object.__getattribute__(plan, "__dict__").pop("_source")
    x, h, c = batch(2, 2, 30, 20)
    for got, want in zip(plan.step(x, h, c), kernels.lstm(*weights(1, 30, 20)).step(x, h, c), strict=True):
        np.testing.assert_array_equal(got, want)
