"""Matrix plans from Python: every format against NumPy, arguments, errors, pickles, threads, the machine."""

import os
import pickle
import subprocess
import sys
import threading
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnsched import kernels
from dnnsched._native import _kernels
from dnnsched.config import runnable_isa_levels
from dnnsched.errors import FormatError
from dnnsched.kernels import _blas

LEVELS = runnable_isa_levels()
# A new format joins here.
FORMATS = {"bsr": kernels.bsr, "csr": kernels.csr, "dense": kernels.dense, "nm": partial(kernels.nm, n=4)}
U = 2.0 ** -24
TWO = [1.0, 2.0]
profile = settings(max_examples=40, deadline=None)


def matrix(seed, m, k, density):
    """Random weights, zeros elsewhere."""
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((m, k)).astype(np.float32)
    w[rng.random((m, k)) >= density] = 0
    return w


def check(plan, w, x, y, bias=None, act=(-np.inf, np.inf)):
    """|y - y64| within the bound that the docstrings state; x and y hold columns."""
    w, x = w.astype(np.float64), x.astype(np.float64)
    b = np.zeros(len(w)) if bias is None else bias.astype(np.float64)
    want = np.clip(w @ x + b[:, None], *act)
    terms = (w != 0).sum(axis=1)[:, None] if plan.format != "dense" else w.shape[1]
    bound = 2 * (terms + 2) * U * (np.abs(w) @ np.abs(x) + np.abs(b)[:, None])
    assert y.dtype == np.float32
    assert (np.abs(y - want) <= bound + 1e-38).all()


@pytest.mark.parametrize("make", FORMATS.values(), ids=FORMATS)
class TestEveryFormat:
    """What holds for any plan."""

    @profile
    @given(seed=st.integers(0, 2**32), m=st.integers(0, 40), k=st.integers(0, 90), n=st.integers(0, 70),
           density=st.sampled_from([0.0, 0.05, 0.5, 1.0]), isa=st.sampled_from(LEVELS))
    def test_columns_and_rows(self, make, seed, m, k, n, density, isa):
        w = matrix(seed, m, k, density)
        x = matrix(seed + 1, k, n, 1.0)
        bias = matrix(seed + 2, 1, m, 1.0)[0]
        plan = make(w, bias=bias, act=(-1, 2.5), isa=isa)
        y = plan @ x
        check(plan, w, x, y, bias, (-1, 2.5))
        check(plan, w, x, plan.linear(np.ascontiguousarray(x.T)).T, bias, (-1, 2.5))
        np.testing.assert_array_equal(plan.to_dense(), w)
        assert plan.shape == (m, k)
        assert plan.nbytes > 0
        if n:
            check(plan, w, x[:, :1], plan.matmul(x[:, 0].copy())[:, None], bias, (-1, 2.5))

    def test_any_layout_of_input(self, make):
        w = matrix(1, 30, 40, 0.4)
        plan = make(w)
        x = matrix(2, 40, 24, 1.0)
        want = plan @ x
        wide = np.zeros((40, 50), np.float32)
        wide[:, 7:31] = x
        raw = np.zeros(x.nbytes + 1, np.uint8)
        odd = raw[1:].view(np.float32).reshape(x.shape)
        odd[:] = x
        for same in (wide[:, 7:31], np.asfortranarray(x), x.astype(np.float64), x.astype(">f4"), odd, x[::-1][::-1],
                     x.tolist()):
            np.testing.assert_array_equal(plan @ np.asarray(same), want)
        back = np.zeros((40, 24), np.float32)
        back[::-1] = x
        np.testing.assert_array_equal(plan @ back[::-1], want)
        np.testing.assert_array_equal(plan.linear(x.T.reshape(2, 3, 4, 40)).reshape(24, 30), plan.linear(x.T))

    def test_out_is_written_and_returned(self, make):
        plan = make(matrix(1, 30, 40, 0.4))
        x = matrix(2, 40, 24, 1.0)
        out = np.full((30, 60), 5, np.float32)
        view = out[:, 10:34]
        assert plan.matmul(x, out=view) is view
        np.testing.assert_array_equal(view, plan @ x)
        assert (out[:, :10] == 5).all()
        assert (out[:, 34:] == 5).all()
        rows = np.empty((2, 12, 30), np.float32)
        assert plan.linear(x.T.reshape(2, 12, 40), out=rows) is rows
        vector = np.empty(30, np.float32)
        assert plan.matmul(x[:, 0], out=vector) is vector

    def test_threads_give_the_same_bytes(self, make):
        plan = make(matrix(1, 700, 600, 0.3))
        for n in (1, 5, 64, 300, 700):
            x = matrix(2, 600, n, 1.0)
            want = plan @ x
            rows = plan.linear(np.ascontiguousarray(x.T))
            for threads in (2, 3, 7):
                assert plan.matmul(x, threads=threads).tobytes() == want.tobytes()
                assert plan.linear(np.ascontiguousarray(x.T), threads=threads).tobytes() == rows.tobytes()

    def test_pickle(self, make):
        plan = make(matrix(1, 30, 40, 0.4), bias=np.ones(30), act="relu", isa="generic")
        copy = pickle.loads(pickle.dumps(plan))
        x = matrix(2, 40, 9, 1.0)
        np.testing.assert_array_equal(copy @ x, plan @ x)
        assert (copy.format, copy.isa, copy.nnz) == (plan.format, plan.isa, plan.nnz)
        assert repr(copy) == repr(plan)

    def test_shared_by_python_threads(self, make):
        plan = make(matrix(1, 300, 400, 0.4))
        x = matrix(2, 400, 128, 1.0)
        want = plan @ x
        wrong = []

        def work():
            for threads in (1, 2, 2, 1):
                if not np.array_equal(plan.matmul(x, threads=threads), want):
                    wrong.append(threads)

        workers = [threading.Thread(target=work) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert not wrong

    def test_input_is_not_modified_and_can_be_read_only(self, make):
        w, x = matrix(1, 20, 30, 0.5), matrix(2, 30, 9, 1.0)
        plan = make(w)
        for a in (w, x):
            a.flags.writeable = False
        before = x.tobytes(), w.tobytes()
        _ = plan @ x
        _ = make(w)
        assert (x.tobytes(), w.tobytes()) == before

    def test_linear_and_permuted_where_sums_are_exact(self, make):
        """Products of small integers: superposition, and permuted rows of weights permute the result."""
        rng = np.random.default_rng(3)
        w = np.where(matrix(5, 70, 90, 0.3) != 0, rng.integers(-8, 9, (70, 90)), 0).astype(np.float32)
        order, plan = rng.permutation(70), make(w)
        for shape in ((90,), (90, 1), (90, 40)):
            x, y = (rng.integers(-8, 9, shape).astype(np.float32) for _ in range(2))
            np.testing.assert_array_equal(plan @ (2 * x + y), 2 * (plan @ x) + plan @ y)
            np.testing.assert_array_equal(plan @ x, w @ x)
            np.testing.assert_array_equal(make(w[order]) @ x, (plan @ x)[order])
            np.testing.assert_array_equal(make(w[:, ::-1]) @ x[::-1], plan @ x)

    def test_activation(self, make):
        w = np.array([[1], [-1], [0]], np.float32)
        x = np.array([3], np.float32)
        np.testing.assert_array_equal(make(w, act="relu") @ x, [3, 0, 0])
        np.testing.assert_array_equal(make(w, act=(-2, 2)) @ x, [2, -2, 0])
        np.testing.assert_array_equal(make(w, bias=[1, 1, 1.0]) @ x, [4, -2, 1])
        assert np.isnan((make(w, act="relu") @ np.array([np.nan], np.float32))[:2]).all()

    def test_cost(self, make):
        plan = make(matrix(1, 64, 64, 0.5))
        cost = plan.cost(10)
        assert cost.flops == 2 * plan.nnz * 10
        assert len(cost.bytes) == 4
        fast = kernels.Machine("generic", 1e9, (1e18, 1e18, 1e18, 1e18), (1 << 15, 1 << 20, 1 << 25))
        assert kernels.roofline(plan, 10, fast) == pytest.approx(cost.flops / 1e9)
        far = kernels.Machine("generic", 1e18, (1e9, 1e9, 1e9, 1e6), (1, 1, 1))
        assert kernels.roofline(plan, 10, far) == pytest.approx(plan.cost(10, far).bytes[3] / 1e6)
        assert plan.cost(0).flops == 0

    @pytest.mark.parametrize(("call", "error", "message"), [
        (lambda p, x: p.matmul(x[:3]), ValueError, r"X: expected shape \(40, N\) or \(40,\), got \(3, 24\)"),
        (lambda p, x: p.matmul(x[None]), ValueError, "X: expected shape"),
        (lambda p, x: p.linear(x), ValueError, r"x: expected shape \(\.\.\., 40\), got \(40, 24\)"),
        (lambda p, x: p.matmul(x.astype(int)), TypeError, "X: expected floating-point numbers, got dtype int64"),
        (lambda p, x: p.matmul(x + 1j), TypeError, "X: expected floating-point numbers, got dtype complex64"),
        (lambda p, x: p.matmul(x > 0), TypeError, "X: expected floating-point numbers, got dtype bool"),
        (lambda p, x: p.matmul(x, out=np.empty((30, 24))), TypeError, "out: expected an array of float32, got float64"),
        (lambda p, x: p.matmul(x, out=[1.0]), TypeError, "out: expected an array of float32, got list"),
        (lambda p, x: p.matmul(x, out=np.empty((30, 25), "f4")), ValueError, r"out: expected shape \(30, 24\), got"),
        (lambda p, x: p.matmul(x, out=np.empty((30, 48), "f4")[:, ::2]), ValueError, "out: expected a contiguous last"),
        (lambda p, x: p.matmul(x, out=np.empty((30, 24), "f4")[::-1]), ValueError, "out: expected rows at least 24 el"),
        (lambda p, x: p.linear(x.T, out=np.empty((24, 60), "f4")[:, :30]), ValueError, "out: expected a C-contiguous"),
        (lambda p, x: p.matmul(x, out=np.broadcast_to(np.float32(0), (30, 24))), ValueError, "out: expected a"),
        (lambda p, x: p.matmul(x, out=x[:30]), ValueError, "out: expected memory that does not overlap x"),
        (lambda p, x: p.matmul(x, threads=0), ValueError, "threads: expected an integer >= 1 and <= 256, got 0"),
        (lambda p, x: p.matmul(x, threads=257), ValueError, "threads: expected an integer >= 1 and <= 256, got 257"),
        (lambda p, x: p.matmul(x, threads="2"), TypeError, "integer"),
        (lambda p, x: p.cost(-1), ValueError, "n: expected an integer >= 0, got -1"),
        (lambda p, x: setattr(p, "shape", (1, 1)), AttributeError, "shape: a plan is immutable"),
    ])
    def test_bad_calls_are_named(self, make, call, error, message):
        plan = make(matrix(1, 30, 40, 0.4))
        with pytest.raises(error, match=message):
            call(plan, matrix(2, 40, 24, 1.0))

    @pytest.mark.parametrize(("arguments", "error", "message"), [
        ({"bias": np.ones(4)}, ValueError, r"bias: expected shape \(3,\), got \(4,\)"),
        ({"bias": [1, 2, 3]}, TypeError, "bias: expected floating-point numbers"),
        ({"act": "gelu"}, ValueError, "act: expected None, 'relu' or .*got 'gelu'"),
        ({"act": (1, 0)}, ValueError, "act: expected lo <= hi"),
        ({"act": (np.nan, 0)}, ValueError, "act: expected lo <= hi"),
        ({"act": 3}, ValueError, "act: expected None, 'relu' or"),
        ({"isa": "sse2"}, ValueError, "isa: expected one of generic"),
    ])
    def test_bad_options_are_named(self, make, arguments, error, message):
        with pytest.raises(error, match=message):
            make(np.ones((3, 2), np.float32), **arguments)
        with pytest.raises(TypeError, match="W: expected floating-point numbers, got dtype int64"):
            make(np.ones((3, 2), np.int64))
        with pytest.raises(ValueError, match=r"W: expected 2 dimensions \(M, K\), got shape \(3,\)"):
            make(np.ones(3, np.float32))


def test_torch_linear_agrees():
    torch = pytest.importorskip("torch")
    w, x, bias = matrix(1, 60, 80, 1.0), matrix(2, 30, 80, 1.0), matrix(3, 1, 60, 1.0)[0]
    want = torch.nn.functional.linear(*map(torch.from_numpy, (x, w, bias))).numpy()
    for make in FORMATS.values():
        np.testing.assert_allclose(make(w, bias=bias).linear(torch.from_numpy(x)), want, rtol=1e-4, atol=1e-4)


class TestCsr:
    """What sparse rows take and refuse."""

    def test_sources_agree(self):
        sparse = pytest.importorskip("scipy.sparse")
        w = matrix(3, 50, 70, 0.2)
        x = matrix(4, 70, 33, 1.0)
        want = kernels.csr(w) @ x
        a = sparse.csr_matrix(w)
        for source in (a, a.tocoo(), a.tocsc(), sparse.csr_array(w), (a.indptr, a.indices, a.data, a.shape),
                       (a.indptr.astype(np.int64), a.indices.astype(np.uint64), a.data.astype(np.float64), a.shape)):
            np.testing.assert_array_equal(kernels.csr(source) @ x, want)
        np.testing.assert_allclose(want, a @ x, rtol=1e-4, atol=1e-4)

    def test_unsorted_and_duplicate_scipy_rows_are_summed(self):
        sparse = pytest.importorskip("scipy.sparse")
        a = sparse.csr_matrix((np.ones(4, np.float32), np.array([2, 0, 2, 1]), np.array([0, 3, 4])), shape=(2, 3))
        before = a.indices.copy()
        np.testing.assert_array_equal(kernels.csr(a).to_dense(), [[1, 0, 2], [0, 1, 0]])
        np.testing.assert_array_equal(a.indices, before)

    def test_torch(self):
        torch = pytest.importorskip("torch")
        w, x = matrix(3, 50, 70, 0.2), matrix(4, 70, 33, 1.0)
        plan = kernels.csr(torch.from_numpy(w).to_sparse_csr())
        np.testing.assert_array_equal(plan @ torch.from_numpy(x), kernels.csr(w) @ x)
        np.testing.assert_allclose(plan @ x, torch.from_numpy(w) @ x, rtol=1e-4, atol=1e-4)

    def test_stored_zeros_survive_a_pickle(self):
        plan = kernels.csr((np.array([0, 2]), np.array([0, 1]), np.array([0.0, 1.0]), (1, 3)))
        assert plan.nnz == 2
        x = np.array([np.inf, 1, np.inf], np.float32)
        assert np.isnan(plan @ x).all()
        assert np.isnan(pickle.loads(pickle.dumps(plan)) @ x).all()
        assert (kernels.csr(plan.to_dense()) @ x == 1).all()

    def test_permuted_rows_permute_the_result(self):
        w, x = matrix(5, 300, 200, 0.1), matrix(6, 200, 40, 1.0)
        order = np.random.default_rng(0).permutation(300)
        np.testing.assert_array_equal(kernels.csr(w[order]) @ x, (kernels.csr(w) @ x)[order])

    @pytest.mark.parametrize(("source", "error", "message"), [
        (([0, 2, 1], [0, 1], TWO, (2, 3)), FormatError, r"indptr: row 1: expected an end in \[2, 2\], got 1"),
        (([1, 2], [0, 1], TWO, (1, 3)), FormatError, "indptr: row 0: expected a first pointer of 0, got 1"),
        (([0, 1], [0, 1], TWO, (1, 3)), FormatError, "expected the last pointer to be the number of weights"),
        (([0, 2], [1, 0], TWO, (1, 3)), FormatError, "indices: row 0: expected ascending columns below 3"),
        (([0, 2], [1, 1], TWO, (1, 3)), FormatError, "without repeats, got 1 after a column not below it"),
        (([0, 2], [1, 3], TWO, (1, 3)), FormatError, "indices: row 0: .*got 3"),
        (([0, 2], [-1, 3], TWO, (1, 3)), FormatError, "indices: row 0: .*got -1"),
        (([0, 2], [2**40, 3], TWO, (1, 3)), FormatError, f"got {2**40}"),
        (([0, 2], np.array([2**63, 3], np.uint64), TWO, (1, 3)), ValueError,
         "indices: expected values from .* got 3 to 9223372036854775808"),
        (([0, 2], [0.0, 1.0], TWO, (1, 3)), TypeError, "indices: expected integers, got dtype float64"),
        (([0, 2], [0, 1], [1, 2], (1, 3)), TypeError, "data: expected floating-point numbers"),
        (([0, 2], [0, 1], [1.0], (1, 3)), ValueError, "data: expected shape"),
        (([0, 2], [[0, 1]], TWO, (1, 3)), ValueError, "indices: expected 1 dimension"),
        (([0, 2], [0, 1], TWO, (4, 3)), ValueError, "indptr: expected 5 row pointers, got 2"),
        (([0, 2], [0, 1], TWO, (1, -3)), ValueError, "shape: expected extents >= 0"),
        (([0, 2], [0, 1], TWO, (1, 2**31)), ValueError, r"W: expected extents and stored weights below 2\^31"),
        (([0, 2], [0, 1], (1, 3)), ValueError, r"W: expected \(indptr, indices, data, shape\), got 3 items"),
    ])
    def test_bad_matrices_are_named(self, source, error, message):
        with pytest.raises(error, match=message):
            kernels.csr(source)


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda p, x, y: _kernels.plan_execute(p, False, x.astype("f8"), y, 1), TypeError, "x: expected dtype"),
    (lambda p, x, y: _kernels.plan_execute(p, False, x[:2], y, 1), ValueError, "x: expected extent 4 along axis 0"),
    (lambda p, x, y: _kernels.plan_execute(p, False, x, y[:2], 1), ValueError, "out: expected extent 3 along axis 0"),
    (lambda p, x, y: _kernels.plan_execute(p, True, x, y, 1), ValueError, "x: expected extent 4 along axis 1"),
    (lambda p, x, y: _kernels.plan_execute(p, False, x, y), TypeError, "plan_execute: expected 5 to 5 arg"),
    (lambda p, x, y: _kernels.plan_execute(object(), False, x, y, 1), TypeError, "plan: expected a plan, got object"),
    (lambda p, x, y: _kernels.plan_info(3), TypeError, "plan: expected a plan, got int"),
    (lambda p, x, y: _kernels.plan_to_dense(p, y), ValueError, "out: expected extent 4 along axis 1, got 5"),
    (lambda p, x, y: _kernels.plan_work(p, 1, np.ones(3), np.ones(5)), ValueError, "machine: expected extent 8"),
    (lambda p, x, y: _kernels.plan_work(p, -1, np.ones(8), np.ones(5)), OverflowError, "negative"),
    (lambda p, x, y: _kernels.csr_unpack(p, np.zeros(1, int), np.zeros(0, int), np.zeros(0, 'f4')), ValueError,
     "indptr: expected extent 4"),
    (lambda p, x, y: _kernels.csr_plan(np.zeros(0, int), np.zeros(0, int), np.zeros(0, "f4"), 1, None, 0., 1., -1),
     ValueError, "indptr: expected M . 1 row pointers, got none"),
])
def test_native_functions_are_strict(call, error, message):
    plan = _kernels.csr_plan(np.zeros(4, int), np.zeros(0, int), np.zeros(0, "f4"), 4, None, 0.0, 1.0, -1)
    with pytest.raises(error, match=message):
        call(plan, np.ones((4, 5), np.float32), np.zeros((3, 5), np.float32))


def test_a_dense_plan_has_no_csr_form():
    plan = kernels.dense(np.ones((3, 4), np.float32))
    with pytest.raises(ValueError, match="plan: expected format csr, got dense"):
        _kernels.csr_unpack(plan._plan, np.zeros(4, int), np.zeros(12, int), np.zeros(12, np.float32))


def test_reference_counts_unchanged():
    plan = kernels.csr(matrix(1, 30, 40, 0.4))._plan
    x, y = np.ones((40, 5), np.float32), np.ones((30, 5), np.float32)
    before = [sys.getrefcount(o) for o in (plan, x, y, _kernels)]
    for _ in range(50):
        _kernels.plan_execute(plan, False, x, y, 2)
        with pytest.raises(ValueError, match="threads"):
            _kernels.plan_execute(plan, False, x, y, 0)
    assert [sys.getrefcount(o) for o in (plan, x, y, _kernels)] == before


def test_plans_work_after_a_fork():
    code = ("import os, numpy as np\nfrom dnnsched import kernels\n"
            "w = np.ones((300, 400), np.float32); x = np.ones((400, 100), np.float32)\n"
            "plans = [kernels.csr(w), kernels.bsr(w), kernels.dense(w)]\n"
            "assert all((p.matmul(x, threads=3) == 400).all() for p in plans)\n"
            "pid = os.fork()\n"
            "ok = all((p.matmul(x, threads=3) == 400).all() for p in plans)\n"
            "if pid == 0: os._exit(0 if ok else 1)\n"
            "print(ok, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60,
                          env={**os.environ, "PYTHONWARNINGS": "ignore"})
    assert done.stdout.split() == ["True", "0"]


def test_blas_is_named_and_holds_one_thread():
    text = _blas.info()
    kind, file = _kernels.blas_build()
    assert text.startswith(kind)
    if kind == "none":
        assert file == "none"
        assert text == "none (own matrix product)"
    else:
        assert "OpenBLAS" in text
        assert text.endswith("1 thread")


def test_blas_that_is_none_is_an_import_error():
    code = ("from dnnsched._native import _kernels\n"
            "for path in ('/nowhere/libblas.so', 'libm.so.6'):\n"
            "    try: _kernels.blas_load(path)\n"
            "    except ImportError as e: print(e)\n"
            "print(_kernels.blas_info())")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    lines = done.stdout.splitlines()
    assert "/nowhere/libblas.so" in lines[0]
    assert "libm.so.6: expected a BLAS with cblas_sgemm" in lines[1]
    assert lines[2] == "None"


class TestMachine:
    """The machine model."""

    def test_model_is_the_same_at_every_call(self):
        assert kernels.machine() == kernels.machine()
        model = kernels.machine(isa="generic")
        assert (model.isa, model.origin) == ("generic", "modelled")
        assert len(model.bytes_per_s) == 4
        assert list(model.cache_bytes) == sorted(model.cache_bytes)
        with pytest.raises(ValueError, match="isa: expected one of generic"):
            kernels.machine(isa="sse2")

    @pytest.mark.heavy
    def test_measured(self):
        measured = kernels.machine(measure=True, isa="generic", seconds=0.05)
        assert measured.origin == "measured"
        assert measured.flops_per_s > 1e8
        assert min(measured.bytes_per_s) > 1e7

    @pytest.mark.parametrize("isa", LEVELS)
    def test_probe_counts_its_work(self, isa):
        level = LEVELS.index(isa)
        assert _kernels.probe_fma(1000, level) == 1000 * _kernels.probe_fma(1, level)
        assert _kernels.probe_fma(1, level) % 24 == 0
        for n in (0, 1, 15, 300):
            for times in (0, 1, 3):
                assert _kernels.probe_read(np.ones(n, np.float32), times, level) == n * (times > 0)
