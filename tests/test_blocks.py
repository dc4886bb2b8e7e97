"""Plans of blocks and of N:M groups: sources, structure, relations to other formats, bad input."""

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
profile = settings(max_examples=40, deadline=None)
ONE = np.ones((1, 2, 1))


def matrix(seed, m, k, density):
    """Random weights, zeros elsewhere."""
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((m, k)).astype(np.float32)
    w[rng.random((m, k)) >= density] = 0
    return w


def blocks_oracle(w, r, c):
    """Bool array: the weights whose block holds a non-zero."""
    keep = np.zeros(w.shape, bool)
    for i in range(0, w.shape[0], r):
        for j in range(0, w.shape[1], c):
            keep[i:i + r, j:j + c] = (w[i:i + r, j:j + c] != 0).any()
    return keep


def stored(w, keep):
    """CSR source of the kept weights, zeros among them."""
    rows, columns = np.nonzero(keep)
    indptr = np.concatenate(([0], np.cumsum(keep.sum(axis=1))))
    return indptr, columns, w[rows, columns], w.shape


class TestBsr:
    """Blocks of any extents."""

    @profile
    @given(seed=st.integers(0, 2**32), m=st.integers(0, 40), k=st.integers(0, 300), r=st.integers(1, 18),
           c=st.integers(1, 9), n=st.sampled_from([1, 2, 47, 65]), isa=st.sampled_from(LEVELS))
    def test_whole_blocks_with_the_bytes_of_csr(self, seed, m, k, r, c, n, isa):
        w, x = matrix(seed, m, k, 0.05), matrix(seed + 1, k, n, 1.0)
        keep = blocks_oracle(w, r, c)
        plan = kernels.bsr(w, (r, c), isa=isa)
        assert plan.nnz == keep.sum()
        np.testing.assert_array_equal(plan.to_dense(), w)
        np.testing.assert_array_equal(plan @ x, kernels.csr(stored(w, keep), isa=isa) @ x)

    @pytest.mark.parametrize("isa", LEVELS)
    def test_csr_is_blocks_of_one(self, isa):
        w, x = matrix(3, 90, 500, 0.1), matrix(4, 500, 77, 1.0)
        a, b = kernels.bsr(w, (1, 1), isa=isa), kernels.csr(w, isa=isa)
        assert a.nnz == b.nnz
        np.testing.assert_array_equal(a @ x, b @ x)

    @pytest.mark.parametrize("block", [(4, 1), (8, 1), (16, 1), (2, 3), (4, 4)])
    def test_permuted_block_rows_permute_the_result(self, block):
        r = block[0]
        w, x = matrix(5, 12 * r, 200, 0.05), matrix(6, 200, 40, 1.0)
        order = np.random.default_rng(0).permutation(12)
        places = (order[:, None] * r + np.arange(r)).ravel()
        np.testing.assert_array_equal(kernels.bsr(w[places], block) @ x, (kernels.bsr(w, block) @ x)[places])

    def test_linear_in_the_input_where_sums_are_exact(self):
        rng = np.random.default_rng(1)
        w = np.where(matrix(7, 40, 60, 0.2) != 0, rng.integers(-8, 9, (40, 60)), 0).astype(np.float32)
        x, y = (rng.integers(-8, 9, (60, 30)).astype(np.float32) for _ in range(2))
        plan = kernels.bsr(w)
        np.testing.assert_array_equal(plan @ (2 * x + y), 2 * (plan @ x) + plan @ y)
        np.testing.assert_array_equal(plan @ x, w @ x)

    def test_scipy_sources_agree(self):
        sparse = pytest.importorskip("scipy.sparse")
        w, x = matrix(3, 48, 70, 0.1), matrix(4, 70, 33, 1.0)
        want = kernels.bsr(w, (4, 2)) @ x
        for source in (sparse.bsr_matrix(w, blocksize=(4, 2)), sparse.csr_matrix(w), sparse.coo_array(w),
                       sparse.bsr_matrix(w, blocksize=(3, 7)), sparse.csc_matrix(w.astype(np.float64))):
            plan = kernels.bsr(source, (4, 2))
            assert plan.nnz == kernels.bsr(w, (4, 2)).nnz
            np.testing.assert_array_equal(plan @ x, want)
        np.testing.assert_allclose(want, sparse.bsr_matrix(w, blocksize=(4, 2)) @ x, rtol=1e-4, atol=1e-4)
        twice = sparse.coo_matrix((np.ones(3, np.float32), ([0, 0, 5], [1, 1, 2])), shape=(6, 3))
        np.testing.assert_array_equal(kernels.bsr(twice).to_dense(), twice.toarray())
        with pytest.raises(TypeError, match="data: expected floating-point numbers, got dtype int64"):
            kernels.bsr(sparse.csr_matrix(np.ones((3, 2), np.int64)))

    def test_torch(self):
        torch = pytest.importorskip("torch")
        w, x = matrix(3, 48, 70, 0.1), matrix(4, 70, 33, 1.0)
        plan = kernels.bsr(torch.from_numpy(w).to_sparse_bsr((4, 1)))
        np.testing.assert_array_equal(plan @ x, kernels.bsr(w) @ x)

    def test_stored_blocks_survive_a_pickle(self):
        source = (np.array([0, 2, 3]), np.array([0, 2, 1]), np.zeros((3, 2, 2)), (3, 5))
        plan = pickle.loads(pickle.dumps(kernels.bsr(source, (2, 2))))
        assert plan.nnz == 4 + 2 + 2
        assert _kernels.bsr_blocks(plan._plan) == (2, 2, 3)
        x = np.array([np.inf, 1, 1, 1, 1], np.float32)
        np.testing.assert_array_equal(np.isnan(plan @ x), [True, True, False])
        assert not np.isnan(kernels.bsr(plan.to_dense(), (2, 2)) @ x).any()

    @pytest.mark.parametrize(("source", "block", "error", "message"), [
        (([0, 1, 0], [0], ONE, (4, 3)), (2, 1), FormatError, r"indptr: row 1: expected an end in \[1, 1\], got 0"),
        (([0, 1, 1], [3], ONE, (4, 3)), (2, 1), FormatError, "indices: row 0: expected ascending columns below 3"),
        (([0, 2, 2], [1, 1], np.ones((2, 2, 1)), (4, 3)), (2, 1), FormatError, "without repeats"),
        (([0, 0, 0], [0], ONE, (4, 3)), (2, 1), FormatError, "expected the last pointer to be the number of"),
        (([0, 1], [0], ONE, (4, 3)), (2, 1), ValueError, "indptr: expected 3 row pointers, got 2"),
        (([0, 1, 1], [0], ONE, (4, 3)), (4, 1), ValueError, r"data: expected shape \(1, 4, 1\) as indices and block"),
        (([0, 1, 1], [0, 1], ONE, (4, 3)), (2, 1), ValueError, r"data: expected shape \(2, 2, 1\)"),
        (([0, 1, 1], [0], ONE.astype(int), (4, 3)), (2, 1), TypeError, "data: expected floating-point numbers"),
        (([0, 1, 1], [0.0], ONE, (4, 3)), (2, 1), TypeError, "indices: expected integers"),
        (([0, 1, 1], [0], ONE, (4, -3)), (2, 1), ValueError, "shape: expected extents >= 0"),
        (([0, 1, 1], [0], ONE, (4, 2**31)), (2, 1), ValueError, r"expected extents and stored weights below 2\^31"),
        (([0, 1], [0], ONE), (2, 1), ValueError, r"W: expected \(indptr, indices, data, shape\), got 3 items"),
        (np.ones((4, 4), "f4"), 4, ValueError, r"block: expected \(r, c\), got 4"),
        (np.ones((4, 4), "f4"), (0, 1), ValueError, "block: expected an integer >= 1 and <= 4096, got 0"),
        (np.ones((4, 4), "f4"), (4, 1.0), TypeError, "block: expected an integer, got float"),
        (np.ones((4, 4), "f4"), (4, 4097), ValueError, "block: expected an integer >= 1 and <= 4096, got 4097"),
    ])
    def test_bad_matrices_are_named(self, source, block, error, message):
        with pytest.raises(error, match=message):
            kernels.bsr(source, block)

    @pytest.mark.parametrize(("call", "error", "message"), [
        (lambda p: _kernels.bsr_blocks(kernels.csr(np.ones((2, 2)))._plan), ValueError, "expected format bsr, got csr"),
        (lambda p: _kernels.bsr_blocks(3), TypeError, "plan: expected a plan, got int"),
        (lambda p: _kernels.bsr_unpack(p, np.zeros(2, int), np.zeros(1, int), np.zeros((1, 4, 1), "f4")), ValueError,
         "indices: expected extent 2"),
        (lambda p: _kernels.bsr_plan(np.zeros(1, int), np.zeros(0, int), np.zeros((0, 0, 1), "f4"), 0, 1, None, 0.0,
                                     1.0, -1), ValueError, "block: expected extents in"),
        (lambda p: _kernels.bsr_plan(np.zeros(1, int), np.zeros(1, int), np.zeros((0, 1, 1), "f4"), 0, 1, None, 0.0,
                                     1.0, -1), ValueError, "values: expected extent 1 along axis 0, got 0"),
        (lambda p: _kernels.bsr_plan(np.zeros(1, int), np.zeros(0, int), np.zeros((0, 1, 1), "f4"), -1, 1, None, 0.0,
                                     1.0, -1), OverflowError, "negative"),
    ])
    def test_native_functions_are_strict(self, call, error, message):
        with pytest.raises(error, match=message):
            call(kernels.bsr(np.ones((3, 2), np.float32))._plan)


def grouped(seed, rows, k, n, m):
    """Random weights, exactly n of every m columns (fewer where the last group is short)."""
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((rows, k)).astype(np.float32)
    for j in range(0, k, m):
        group = w[:, j:j + m]
        drop = np.argsort(rng.random(group.shape), axis=1)[:, n:]
        np.put_along_axis(group, drop, 0, axis=1)
    return w


class TestNm:
    """N of every M consecutive weights."""

    @profile
    @given(seed=st.integers(0, 2**32), rows=st.integers(0, 21), k=st.integers(0, 400), m=st.integers(1, 64),
           n=st.integers(1, 64), columns=st.sampled_from([1, 2, 65]), isa=st.sampled_from(LEVELS))
    def test_against_csr_and_float64(self, seed, rows, k, m, n, columns, isa):
        n = min(n, m)
        w, x = grouped(seed, rows, k, n, m), matrix(seed + 1, k, columns, 1.0)
        plan = kernels.nm(w, n, m, isa=isa)
        assert plan.nnz == rows * (k // m * n + min(n, k % m)) == np.count_nonzero(w)
        np.testing.assert_array_equal(plan.to_dense(), w)
        y = plan @ x
        bound = 2.0 ** -23 * (plan.nnz // max(rows, 1) + 2) * (np.abs(w).astype(float) @ np.abs(x).astype(float))
        assert (np.abs(y - w.astype(float) @ x) <= bound + 1e-38).all()
        if columns > 1:
            np.testing.assert_array_equal(y, kernels.csr(w, isa=isa) @ x)

    @pytest.mark.parametrize("isa", LEVELS)
    def test_csr_is_blocks_of_one_is_two_of_four(self, isa):
        w = np.random.default_rng(0).standard_normal((90, 512)).astype(np.float32)
        w[~kernels.prune(w, 0.5, "nm", m=4)] = 0
        x = matrix(4, 512, 77, 1.0)
        plans = [kernels.csr(w, isa=isa), kernels.bsr(w, (1, 1), isa=isa), kernels.nm(w, isa=isa)]
        assert len({plan.nnz for plan in plans}) == 1
        assert len({(plan @ x).tobytes() for plan in plans}) == 1
        assert plans[2].nbytes < plans[0].nbytes
        streams = 9.25 * plans[2].nnz  # two packings
        assert streams < plans[2].nbytes < 1.1 * streams

    @pytest.mark.parametrize("columns", [1, 40])
    def test_permuted_rows_permute_the_result(self, columns):
        w, x = grouped(5, 101, 200, 2, 4), matrix(6, 200, columns, 1.0)
        order = np.random.default_rng(0).permutation(101)
        np.testing.assert_array_equal(kernels.nm(w[order]) @ x, (kernels.nm(w) @ x)[order])

    def test_linear_in_the_input_where_sums_are_exact(self):
        rng = np.random.default_rng(1)
        w = np.where(grouped(7, 40, 62, 1, 4) != 0, rng.integers(-8, 9, (40, 62)), 0).astype(np.float32)
        plan = kernels.nm(w, 1, 4)
        for shape in ((62,), (62, 30)):
            x, y = (rng.integers(-8, 9, shape).astype(np.float32) for _ in range(2))
            np.testing.assert_array_equal(plan @ (2 * x + y), 2 * (plan @ x) + plan @ y)
            np.testing.assert_array_equal(plan @ x, w @ x)

    def test_groups_with_few_non_zeros_store_zeros_at_the_lowest_columns(self):
        w = np.zeros((1, 8), np.float32)
        w[0, 1] = 1
        plan = kernels.nm(w)
        assert plan.nnz == 4
        for x in np.where(np.eye(8), np.inf, 1).astype(np.float32):
            for got in (plan @ x, (plan @ np.stack([x, x], 1))[:, 0]):
                assert np.isnan(got[0]) == (np.isinf(x[0]) or np.isinf(x[4]) or np.isinf(x[5]))
                assert np.isinf(got[0]) == np.isinf(x[1])
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(plan)).to_dense(), w)

    def test_scipy_sources(self):
        sparse = pytest.importorskip("scipy.sparse")
        w = grouped(3, 20, 64, 2, 4)
        np.testing.assert_array_equal(kernels.nm(sparse.csr_matrix(w)).to_dense(), w)

    @pytest.mark.parametrize(("arguments", "error", "message"), [
        ((2, 4), FormatError, "W: row 1: expected at most 2 non-zeros in the 4 columns from 4 on, got 3"),
        ((1, 8), FormatError, "W: row 1: expected at most 1 non-zeros in the 8 columns from 0 on, got 3"),
        ((3, 2), ValueError, "n: expected an integer >= 1 and <= m = 2, got 3"),
        ((0, 4), ValueError, "n: expected an integer >= 1, got 0"),
        ((1, 65), ValueError, "m: expected an integer >= 1 and <= 64, got 65"),
        ((2.0, 4), TypeError, "n: expected an integer, got float"),
    ])
    def test_violations_and_bad_patterns_are_named(self, arguments, error, message):
        w = np.zeros((2, 8), np.float32)
        w[1, [4, 6, 7]] = 1, np.nan, 2
        with pytest.raises(error, match=message):
            kernels.nm(w, *arguments)

    @pytest.mark.parametrize(("arguments", "error", "message"), [
        ((np.ones((2, 4), "f4"), 0, 4), ValueError, "n, m: expected 1 <= n <= m <= 64, got 0:4"),
        ((np.ones((2, 4), "f4"), 1, 65), ValueError, "n, m: expected 1 <= n <= m <= 64, got 1:65"),
        ((np.ones((2, 4), "f4"), -1, 4), OverflowError, "negative"),
        ((np.ones((2, 4)), 2, 4), TypeError, "w: expected dtype"),
    ])
    def test_the_native_function_is_strict(self, arguments, error, message):
        with pytest.raises(error, match=message):
            _kernels.nm_plan(*arguments, None, 0.0, 1.0, -1)
