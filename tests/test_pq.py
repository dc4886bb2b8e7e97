"""Product quantisation from Python: the definition and the trainer in NumPy, relations, errors, faiss."""

import pickle
import signal
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnsched._native import _kernels
from dnnsched.config import runnable_isa_levels
from dnnsched.kernels import PQ

LEVELS = runnable_isa_levels()


def normal(seed, *shape):
    """Normal float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def distances(codebook, x):
    """Squared distances (N, ksub) in float64, elements added one after another."""
    total = np.zeros((len(x), len(codebook)))
    for k in range(codebook.shape[1]):
        d = x[:, k, None].astype(np.float64) - codebook[:, k].astype(np.float64)
        total += d * d
    return total


def twin_codes(codebooks, X):
    """Codes by definition."""
    pieces = np.split(X, len(codebooks), axis=1)
    codes = [distances(c, x).argmin(1) for c, x in zip(codebooks, pieces, strict=True)]
    return np.stack(codes, 1).astype(np.uint8)


def twin_reseed(centre, weight, code, x):
    """Re-seed what holds less than one row, as dns/pq.h tells it."""
    solid = set()
    for j in range(len(centre)):
        while weight[j] < 1:
            largest = [i for i in range(len(centre)) if i != j and i not in solid]
            if not largest:
                return
            largest = max(largest, key=lambda i: (weight[i], -i))
            mine = np.flatnonzero(code == largest)
            away = distances(centre[[largest]], x[mine])[:, 0]
            if not (away > 0).any():
                solid.add(largest)
                continue
            centre[j] = x[mine[away.argmax()]]
            moved = mine[distances(centre[[j]], x[mine])[:, 0] < away]
            code[moved] = j
            share = len(moved) / len(mine) * weight[largest]
            weight[largest] -= share
            weight[j] = share
            break


def twin_training(X, m, ksub, seed, batch, steps):
    """Mini-batch k-means, piece by piece."""
    n = len(X)
    batch = min(batch, n)
    order = np.argsort(np.random.default_rng(seed).bit_generator.random_raw(n), kind="stable")
    books = []
    for x in np.split(X, m, axis=1):
        centre, weight = x[order[:ksub]].astype(np.float64), np.zeros(ksub)
        for step in range(steps):
            rows = x[np.take(order, np.arange(step * batch, (step + 1) * batch), mode="wrap")].astype(np.float64)
            code = distances(centre.astype(np.float32), rows).argmin(1)
            sums, counts = np.zeros_like(centre), np.bincount(code, minlength=ksub)
            np.add.at(sums, code, rows)
            old = (1 - batch / n) * weight
            weight = old + counts
            hit = counts > 0
            centre[hit] = (old[hit, None] * centre[hit] + sums[hit]) / weight[hit, None]
            twin_reseed(centre, weight, code, rows)
        books.append(centre.astype(np.float32))
    return np.stack(books)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), m=st.integers(1, 4), nbits=st.sampled_from([4, 8]), dsub=st.integers(1, 12),
       n=st.integers(0, 70), threads=st.integers(1, 3), isa=st.sampled_from(LEVELS))
def test_codes_are_the_definition(seed, m, nbits, dsub, n, threads, isa):
    pq = PQ(normal(seed, m, 2**nbits, dsub), isa=isa)
    X = normal(seed + 1, n, m * dsub)
    codes = pq.encode(X, threads=threads)
    assert (codes.dtype, pq.dim, pq.m, pq.nbits) == (np.uint8, m * dsub, m, nbits)
    assert LEVELS.index(pq.isa) <= LEVELS.index(isa)
    np.testing.assert_array_equal(codes, twin_codes(pq.codebooks, X))
    decoded = pq.decode(codes, threads=threads)
    np.testing.assert_array_equal(decoded, np.concatenate([b[c] for b, c in zip(pq.codebooks, codes.T, strict=True)],
                                                          axis=1))
    np.testing.assert_array_equal(pq.encode(decoded), codes)


@pytest.mark.parametrize("isa", LEVELS)
def test_close_races_and_ties(isa):
    rng = np.random.default_rng(0)
    codebooks = rng.integers(0, 3, (4, 256, 3)).astype(np.float32)
    X = (rng.integers(0, 9, (500, 12)) / 4).astype(np.float32)
    np.testing.assert_array_equal(PQ(codebooks, isa=isa).encode(X), twin_codes(codebooks, X))
    far = np.float32(1e6)
    np.testing.assert_array_equal(PQ(codebooks + far, isa=isa).encode(X + far), twin_codes(codebooks + far, X + far))
    repeated = PQ(np.zeros((2, 16, 3)), isa=isa)
    assert not repeated.encode(normal(1, 40, 6)).any()


def test_centroids_are_their_own_codes():
    pq = PQ(normal(0, 8, 256, 4))
    X = np.concatenate(list(pq.codebooks), axis=1)
    codes = pq.encode(X)
    np.testing.assert_array_equal(codes, np.repeat(np.arange(256)[:, None], 8, axis=1))
    assert pq.decode(codes).tobytes() == X.tobytes()


def test_permuted_rows_permute_codes_and_pieces_stand_alone():
    pq, X = PQ(normal(0, 6, 256, 5)), normal(1, 333, 30)
    codes = pq.encode(X)
    order = np.random.default_rng(2).permutation(333)
    np.testing.assert_array_equal(pq.encode(X[order]), codes[order])
    for s in range(6):
        np.testing.assert_array_equal(PQ(pq.codebooks[[s]]).encode(X[:, 5 * s:5 * s + 5])[:, 0], codes[:, s])


@pytest.mark.parametrize(("nbits", "batch"), [(4, 10**9), (4, 100), (8, 300)])
def test_training_twin(nbits, batch):
    X = np.concatenate([normal(0, 500, 12) * 3, np.round(normal(1, 500, 12))])  # some rows repeat
    X[600:, :3] = 0  # fewer distinct pieces than centroids
    pq = PQ.train(X, 4, nbits, rng=5, batch=batch, steps=7)
    np.testing.assert_array_equal(pq.codebooks, twin_training(X, 4, 2**nbits, 5, batch, 7))


def test_training_does_not_depend_on_threads_or_level():
    X = normal(3, 3000, 24)
    want = PQ.train(X, 8, rng=1, batch=1000, steps=5).codebooks.tobytes()
    assert PQ.train(X, 8, rng=np.random.default_rng(1), batch=1000, steps=5, threads=7).codebooks.tobytes() == want
    assert PQ.train(X, 8, rng=2, batch=1000, steps=5).codebooks.tobytes() != want
    for isa in LEVELS:
        assert PQ.train(X, 8, rng=1, batch=1000, steps=5, threads=2, isa=isa).codebooks.tobytes() == want


def test_more_steps_and_codes_fit_better():
    X = normal(4, 2000, 16)

    def error(pq):
        return ((pq.decode(pq.encode(X)) - X) ** 2).mean()

    once, often = (error(PQ.train(X, 4, 8, steps=k)) for k in (1, 20))
    coarse = error(PQ.train(X, 4, 4, steps=20))
    assert often < once < coarse < X.var()
    start = X[:256].reshape(256, 4, 4).transpose(1, 0, 2)  # random rows as centroids
    assert often < 0.8 * error(PQ(start))


def test_ctrl_c_ends_a_training():
    X = normal(5, 2000, 64)
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        PQ.train(X, 8, steps=10**6)
    timer.join()


def test_immutable_picklable_and_own():
    books = normal(6, 2, 16, 3)
    pq = PQ(books, isa="generic")
    X = normal(7, 50, 6)
    codes = pq.encode(X)
    books[:] = 0
    np.testing.assert_array_equal(pq.encode(X), codes)
    with pytest.raises(AttributeError, match="m: a quantiser is immutable"):
        pq.m = 3
    with pytest.raises(ValueError, match="read-only"):
        pq.codebooks[0] = 0
    copy = pickle.loads(pickle.dumps(pq))
    assert (copy.isa, copy.nbytes, repr(copy)) == ("generic", pq.nbytes, repr(pq))
    np.testing.assert_array_equal(copy.encode(X), codes)
    assert repr(pq).startswith("<PQ 6 elements as 2 codes of 4 bits")


def test_layouts_and_out():
    pq, X = PQ(normal(0, 3, 16, 2)), normal(1, 20, 6)
    want = pq.encode(X)
    wide = np.full((20, 9), 7, np.float32)
    wide[:, :6] = X
    for same in (X.astype(np.float64), np.asfortranarray(X), wide[:, :6], np.repeat(X, 2, axis=1)[:, ::2], X.tolist()):
        np.testing.assert_array_equal(pq.encode(same), want)
    out = np.full((20, 5), 77, np.uint8)
    assert pq.encode(X, out=out[:, 1:4]) is not None
    np.testing.assert_array_equal(out[:, 1:4], want)
    assert (out[:, [0, 4]] == 77).all()
    decoded = np.full((20, 8), 7, np.float32)
    pq.decode(want.astype(np.int64), out=decoded[:, :6])
    np.testing.assert_array_equal(decoded[:, :6], pq.decode(want))
    assert (decoded[:, 6:] == 7).all()


FOUR = PQ(normal(0, 2, 16, 3))


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: PQ(np.zeros((2, 16))), ValueError, r"codebooks: expected shape \(m, 16 or 256, dsub\), got \(2, 16\)"),
    (lambda: PQ(np.zeros((2, 15, 3))), ValueError, r"got \(2, 15, 3\)"),
    (lambda: PQ(np.zeros((0, 16, 3))), ValueError, "codebooks: expected 1 to 5592405 codebooks of 3 elements, got 0"),
    (lambda: PQ(np.zeros((2, 16, 0))), ValueError, "codebooks: expected centroids of 1 to 65536 elements, got 0"),
    (lambda: PQ(np.full((2, 16, 3), np.nan)), ValueError, "got nan in centroid 0 of codebook 0"),
    (lambda: PQ(np.zeros((2, 16, 3), int)), TypeError, "codebooks: expected floating-point numbers"),
    (lambda: PQ(np.zeros((2, 16, 3)), isa="sse"), ValueError, "isa: expected one of"),
    (lambda: FOUR.encode(normal(0, 3, 5)), ValueError, r"X: expected shape \(N, 6\), got \(3, 5\)"),
    (lambda: FOUR.encode(normal(0, 6)), ValueError, r"X: expected 2 dimensions \(N, D\), got shape \(6,\)"),
    (lambda: FOUR.encode(np.ones((3, 6), int)), TypeError, "X: expected floating-point"),
    (lambda: FOUR.encode(np.array([[0.0] * 6, [0, 0, 0, 0, np.inf, 0]])), ValueError,
     "X: expected finite numbers, got inf in row 1, column 4"),
    (lambda: FOUR.encode(normal(0, 3, 6), threads=0), ValueError, "threads: expected an integer >= 1"),
    (lambda: FOUR.encode(normal(0, 3, 6), out=np.empty((3, 2), np.int8)), TypeError, "out: expected an array of uint8"),
    (lambda: FOUR.encode(normal(0, 3, 6), out=np.empty((2, 2), np.uint8)), ValueError, "out: expected shape"),
    (lambda: FOUR.decode(np.array([[0, 16]], np.uint8)), ValueError,
     "codes: expected values below 16, got 16 in row 0, column 1"),
    (lambda: FOUR.decode([[0, 3], [-1, 0]]), ValueError,
     "codes: expected values from 0 to 15, got -1 in row 1, column 0"),
    (lambda: FOUR.decode([[0, 1, 2]]), ValueError, r"codes: expected shape \(N, 2\), got \(1, 3\)"),
    (lambda: FOUR.decode([[0.0, 1.0]]), TypeError, "codes: expected integers, got dtype float64"),
    (lambda: PQ.train(normal(0, 20, 6), 4), ValueError, "m: expected a divisor of the 6 columns of X, got 4"),
    (lambda: PQ.train(normal(0, 20, 6), 0), ValueError, "m: expected an integer >= 1, got 0"),
    (lambda: PQ.train(normal(0, 20, 0), 1), ValueError, "m: expected a divisor of the 0 columns"),
    (lambda: PQ.train(normal(0, 20, 6), 2.0), TypeError, "m: expected an integer"),
    (lambda: PQ.train(normal(0, 20, 6), 2, 5), ValueError, "nbits: expected 4 or 8, got 5"),
    (lambda: PQ.train(normal(0, 15, 6), 2, 4), ValueError, "X: expected at least 16 rows, one per centroid"),
    (lambda: PQ.train(normal(0, 20, 6), 2), ValueError, "X: expected at least 256 rows"),
    (lambda: PQ.train(normal(0, 20, 6), 2, 4, batch=15), ValueError, "batch: expected at least 16 rows"),
    (lambda: PQ.train(normal(0, 20, 6), 2, 4, steps=0), ValueError, "steps: expected an integer >= 1, got 0"),
    (lambda: PQ.train(np.full((20, 6), np.nan), 2, 4), ValueError, "X: expected finite numbers, got nan in row 0"),
    (lambda: _kernels.pq_encode(object(), normal(0, 3, 6), np.empty((3, 2), np.uint8), 1), TypeError,
     "pq: expected a quantiser, got object"),
    (lambda: _kernels.pq_train(normal(0, 20, 6), np.arange(19), np.empty((2, 16, 3), np.float32), 20, 1, 1, -1),
     ValueError, "order"),
])
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_out_apart_from_the_input():
    memory = np.zeros(20 * 6 * 4, np.uint8)
    X = memory.view(np.float32).reshape(20, 6)
    with pytest.raises(ValueError, match="out"):
        FOUR.encode(X, out=memory[:40].reshape(20, 2))


@pytest.mark.parametrize("nbits", [4, 8])
def test_faiss_codes(nbits):
    faiss = pytest.importorskip("faiss")
    X = normal(8, 3000, 32)
    peer = faiss.ProductQuantizer(32, 4, nbits)
    peer.train(X)
    pq = PQ(faiss.vector_to_array(peer.centroids).reshape(4, 2**nbits, 8))
    theirs = peer.compute_codes(X)
    if nbits == 4:
        theirs = np.stack([theirs & 15, theirs >> 4], 2).reshape(len(X), 4)
    ours = pq.encode(X)
    for s in range(4):  # the peer's float32 may decide races closer than 1e-5 the other way
        d = np.sort(distances(pq.codebooks[s], X[:, 8 * s:8 * s + 8]), axis=1)
        clear = d[:, 1] - d[:, 0] >= 1e-5 * d[:, 0]
        np.testing.assert_array_equal(ours[clear, s], theirs[clear, s])
