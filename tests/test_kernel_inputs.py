"""What callers of kernels get wrong: structures, sizes and result arrays. Each is refused by name and place, or right.

Hypothesis draws the structures; plain Python decides whether they are good, and where they are not.
"""

import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnsched import kernels
from dnnsched.errors import FormatError

profile = settings(max_examples=150, deadline=None)
WILD = st.one_of(st.integers(-3, 40), st.sampled_from([2**31 - 1, 2**31, -2**31, 2**62, -2**63]))
EXTENT = st.one_of(st.integers(-1, 6), st.sampled_from([2**15, 2**16 + 1, 2**28, 2**30, 2**31 - 1, 2**31, 2**40]))


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@st.composite
def sparse(draw, unit=1):
    """(indptr, indices, (rows, columns)) that are well formed but for up to two numbers; extents count units."""
    rows, columns = draw(st.integers(0, 6)), draw(st.integers(0, 9))
    lines = [sorted(draw(st.sets(st.integers(0, columns - 1)))) if columns else [] for _ in range(rows)]
    indptr = np.cumsum([0, *map(len, lines)])
    indices = np.array([c for line in lines for c in line], np.int64)
    for _ in range(draw(st.integers(0, 2))):
        a = draw(st.sampled_from([indptr, indices]))
        if a.size:
            a[draw(st.integers(0, a.size - 1))] = draw(WILD)
    return indptr, indices, (rows * unit, columns)


def bad_row(indptr, indices, columns):
    """The first row with a fault, None without."""
    if indptr[0] != 0:
        return 0
    for i, (begin, end) in enumerate(itertools.pairwise(indptr)):
        if not begin <= end <= indices.size:
            return i
        line = indices[begin:end].tolist()
        if line != sorted(set(line)) or not all(0 <= c < columns for c in line):
            return i
    return None if indptr[-1] == indices.size else max(indptr.size - 2, 0)


def refused(make, row, names, unit="row"):
    """Whether `make` raised FormatError, which it must exactly when there is a bad row, and name it."""
    if row is None:
        make()
        return False
    with pytest.raises(FormatError, match=rf"^({names}): {unit} {row}: expected .*got -?\d+"):
        make()
    return True


class TestSparseRows:
    """Pointers and columns: out of order, repeated, out of range, with a wrong end."""

    @profile
    @given(source=sparse())
    def test_csr(self, source):
        indptr, indices, (rows, columns) = source
        data = np.arange(1, indices.size + 1, dtype=np.float32)
        if refused(lambda: kernels.csr((indptr, indices, data, (rows, columns))), bad_row(indptr, indices, columns),
                   "indptr|indices"):
            return
        w = np.zeros((rows, columns), np.float32)
        w[np.repeat(np.arange(rows), np.diff(indptr)), indices] = data
        np.testing.assert_array_equal(kernels.csr((indptr, indices, data, w.shape)).to_dense(), w)

    @profile
    @given(source=sparse(unit=2))
    def test_bsr(self, source):
        indptr, indices, (rows, columns) = source
        data = np.arange(2, 2 * indices.size + 2, dtype=np.float32).reshape(-1, 2, 1)
        if refused(lambda: kernels.bsr((indptr, indices, data, (rows, columns)), (2, 1)),
                   bad_row(indptr, indices, columns), "indptr|indices"):
            return
        w = np.zeros((rows // 2, 2, columns), np.float32)
        w[np.repeat(np.arange(rows // 2), np.diff(indptr)), :, indices] = data[..., 0]
        plan = kernels.bsr((indptr, indices, data, (rows, columns)), (2, 1))
        np.testing.assert_array_equal(plan.to_dense(), w.reshape(rows, columns))

    @profile
    @given(source=sparse(), heads=st.booleans())
    def test_pattern_and_attention(self, source, heads):
        indptr, indices, (rows, columns) = source
        shape = (2, rows // 2, columns) if heads and rows % 2 == 0 else (rows, columns)
        given_ = indptr, indices, shape
        if refused(lambda: kernels.pattern(given_), bad_row(indptr, indices, columns), "indptr|indices"):
            q = np.zeros((*shape[:-1], 3), np.float32)
            k = np.zeros((*shape[:-2], columns, 3), np.float32)
            for call in (lambda: kernels.sddmm(q, k, given_), lambda: kernels.attention(q, k, k, given_)):
                with pytest.raises(FormatError, match=r"^(indptr|indices): row"):
                    call()
            return
        got = kernels.pattern(given_)
        for a, b in zip(got.csr(), (indptr, indices), strict=True):
            np.testing.assert_array_equal(a, b)

    @pytest.mark.parametrize("make", [
        lambda shape: kernels.csr(([0, 0], np.zeros(0, int), np.zeros(0), shape)),
        lambda shape: kernels.bsr(([0, 0], np.zeros(0, int), np.zeros((0, 1, 1)), shape), (1, 1)),
        lambda shape: kernels.pattern(([0, 0], np.zeros(0, int), shape)),
    ], ids=["csr", "bsr", "pattern"])
    @pytest.mark.parametrize("columns", [2**31, 2**40, 2**62])
    def test_extents_that_overflow(self, make, columns):
        with pytest.raises(ValueError, match=r"expected extents.*below 2\^31|2\^31"):
            make((1, columns))
        make((1, 2**31 - 1))


@profile
@given(seed=st.integers(0, 2**32), rows=st.integers(0, 5), columns=st.integers(0, 20), n=st.integers(1, 4),
       m=st.integers(1, 7))
def test_nm_groups(seed, rows, columns, n, m):
    rng = np.random.default_rng(seed)
    w = np.where(rng.random((rows, columns)) < 0.3, rng.standard_normal((rows, columns)), 0).astype(np.float32)
    n = min(n, m)
    groups = itertools.product(range(rows), range(0, columns, m))
    fault = next(((i, j) for i, j in groups if np.count_nonzero(w[i, j:j + m]) > n), None)
    if fault is None:
        np.testing.assert_array_equal(kernels.nm(w, n, m).to_dense(), w)
    else:
        message = rf"W: row {fault[0]}: expected at most {n} non-zeros in the {m} columns from {fault[1]} on, got \d+"
        with pytest.raises(FormatError, match=message):
            kernels.nm(w, n, m)


@profile
@given(parent=st.lists(WILD, max_size=12))
def test_tree_parents(parent):
    fault = next((i for i, p in enumerate(parent) if not -1 <= p < i), None)
    if fault is None:
        assert len(kernels.tree(np.array(parent, np.int64))) == len(parent)
    else:
        with pytest.raises(FormatError, match=rf"parent: expected -1 or an earlier node at node {fault}, got"):
            kernels.tree(np.array(parent, np.int64))


@profile
@given(log2=st.integers(0, 5), index=st.lists(WILD, max_size=8))
def test_ovsf_codes(log2, index):
    n = 1 << log2
    alpha = np.ones((2, len(index)), np.float32)
    fault = next((i for i, c in enumerate(index) if not 0 <= c < n or c in index[:i]), None)
    if len(index) > n:
        with pytest.raises(ValueError, match=f"alpha: expected at most {n} coefficients"):
            kernels.ovsf(alpha, index, n)
    elif fault is None:
        assert kernels.ovsf(alpha, np.array(index, np.int64), n).shape == (2, n)
    else:
        with pytest.raises(ValueError, match=r"index: element \d+: expected .*, got -?\d+") as caught:
            kernels.ovsf(alpha, index, n)
        place = int(re.search(r"element (\d+)", str(caught.value))[1])
        assert not 0 <= index[place] < n or index.count(index[place]) > 1


@profile
@given(lengths=st.lists(st.integers(-2, 9), min_size=1, max_size=5))
def test_softmax_lengths(lengths):
    x = normal(1, len(lengths), 2, 7)
    fault = next((i for i, n in enumerate(lengths) if not 0 <= n <= 7), None)
    for call in (lambda: kernels.softmax(x, ("lengths", lengths)),
                 lambda: kernels.attention(x, normal(2, len(lengths), 7, 7), normal(3, len(lengths), 7, 2),
                                           ("lengths", lengths))):
        if fault is None:
            call()
        else:
            with pytest.raises(ValueError, match=f"lengths: expected 0 to 7, got {lengths[fault]} at {fault}"):
                call()


@profile
@given(inside=st.lists(st.integers(0, 9), max_size=5), ends=st.tuples(st.integers(-1, 1), st.integers(8, 10)))
def test_softmax_offsets(inside, ends):
    offsets = [ends[0], *inside, ends[1]]
    if offsets[0] == 0 and offsets[-1] == 9 and offsets == sorted(offsets):
        got = kernels.softmax(np.zeros((1, 9), np.float32), ("ragged", offsets))
        assert got.sum() == pytest.approx(len(set(offsets)) - 1, abs=1e-5)
    else:
        with pytest.raises(FormatError, match=r"offsets: expected .*got -?\d+"):
            kernels.softmax(np.zeros((1, 9), np.float32), ("ragged", offsets))


@profile
@given(channels=st.integers(1, 4), groups=st.integers(1, 3), outputs=st.integers(1, 4), kernel=st.tuples(
    st.integers(1, 4), st.integers(1, 4)), size=st.tuples(EXTENT, EXTENT), stride=EXTENT, padding=EXTENT,
       dilation=EXTENT, layout=st.sampled_from(["nchw", "nhwc"]), fmt=st.sampled_from(["dense", "csr", "depthwise"]))
def test_conv_geometry(channels, groups, outputs, kernel, size, stride, padding, dilation, layout, fmt):
    """Any extents: a plan whose result has PyTorch's extents, or an error that names what does not fit."""
    w = np.ones((outputs * groups, channels, *kernel), np.float32)
    image = (channels * groups, *size) if layout == "nchw" else (*size, channels * groups)

    out = [(s + 2 * padding - dilation * (k - 1) - 1) // stride + 1 if stride > 0 else 0
           for s, k in zip(size, kernel, strict=True)]
    try:
        plan = kernels.conv2d(w, image, stride=stride, padding=padding, dilation=dilation, groups=groups, format=fmt,
                              layout=layout)
    except ValueError as error:
        message, plan = str(error), None
    if plan is None:
        assert re.match("(x_shape|stride|padding|dilation|groups|conv): expected", message)
        small = max(*size, stride, padding, dilation) < 100
        fits = min(size) >= 1 and stride >= 1 and dilation >= 1 and padding >= 0 and min(out) >= 1
        assert not small or not fits or (fmt == "depthwise" and channels > 1)
        return
    assert min(out) >= 1
    want = (outputs * groups, *out)
    assert plan.out_shape == (want if layout == "nchw" else (*want[1:], want[0]))


@profile
@given(shape=st.tuples(*[st.integers(0, 3)] * 2, st.integers(0, 4), st.integers(0, 9), *[st.integers(1, 2)] * 2),
       k=st.integers(-1, 17), m=st.integers(-1, 20))
def test_butterfly_twiddles(shape, k, m):
    levels = max(1, (k - 1).bit_length()) if k > 0 else 0
    n = 1 << levels
    good = k > 0 and m >= 0 and shape[1] > 0 and shape == (max(1, -(-m // n)), shape[1], levels, n // 2, 2, 2)
    twiddle = np.ones(shape, np.float32)
    if good:
        assert kernels.butterfly(twiddle, k, m).shape == (m, k)
    else:
        with pytest.raises(ValueError, match=r"(twiddle|in_features|out_features): expected .*got"):
            kernels.butterfly(twiddle, k, m)


@pytest.mark.parametrize("shape", [((4, 4), 4, 4), ((1, 1, 2, 2, 2, 2), 4, 2**31), ((1, 1, 2, 2, 2, 2), 2**40, 4)])
def test_butterfly_sizes_that_overflow(shape):
    with pytest.raises(ValueError, match=r"(twiddle|in_features): expected .*got"):
        kernels.butterfly(np.ones(shape[0], np.float32), *shape[1:])


@profile
@given(bits=WILD, group=st.one_of(st.none(), WILD, st.sampled_from([64, 128, 2**63 - 64])), codebook=st.booleans())
def test_nested_bits_and_groups(bits, group, codebook):
    w = normal(1, 3, 100)
    group_fits = group is None or (group >= 64 and group % 64 == 0 and not codebook)
    if 2 <= bits <= 8 and group_fits:
        assert kernels.nested(w, bits, group, codebook).shape == (3, 100)
    else:
        with pytest.raises(ValueError, match=r"bits: expected 2 to 8|group: expected a multiple of 64"):
            kernels.nested(w, bits, group, codebook)


@profile
@given(data=st.data(), m=st.integers(1, 6))
def test_int8_scales_and_zeros(data, m):
    number = st.one_of(st.floats(0.0078125, 10, width=32), st.sampled_from([0.0, -1.0, np.nan, np.inf, 1e300, 1e-60]))
    scale = np.array([data.draw(number) for _ in range(m)])
    zero = np.array([data.draw(st.one_of(st.integers(-128, 127), st.sampled_from([-129, 128, 2**31 - 1, 2**32])))
                     for _ in range(m)])
    with np.errstate(over="ignore"):
        single = scale.astype(np.float32)
    good = (single > 0) & np.isfinite(single)
    wq = np.ones((m, 5), np.int8)
    if (np.abs(zero + 0.5) > 128).any():
        with pytest.raises(ValueError, match=r"zero: expected integers in \[-128, 127\], the range of Wq, got"):
            kernels.int8(wq, scale, zero)
    elif good.all():
        assert kernels.int8(wq, scale, zero).nnz == 5 * m
    else:
        with pytest.raises(ValueError, match=f"scale: row {good.argmin()}: expected a finite number > 0, got"):
            kernels.int8(wq, scale, zero)


@profile
@given(seed=st.integers(0, 2**32), shape=st.tuples(st.integers(1, 4), st.integers(1, 50)), data=st.data())
def test_not_finite_numbers_are_found(seed, shape, data):
    """Quantisers and product quantisers name the place."""
    x = normal(seed, *shape)
    row, column = (data.draw(st.integers(0, n - 1)) for n in shape)
    x[row, column] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    with pytest.raises(ValueError, match=f"x: row {row}: expected finite numbers"):
        kernels.quantize(x, axis=0)
    with pytest.raises(ValueError, match=rf"W: row {row}, column {column}: expected a finite number, got"):
        kernels.nested(x)
    pq = kernels.PQ(normal(1, 1, 16, shape[1]))
    with pytest.raises(ValueError, match=f"X: expected finite numbers, got .* in row {row}, column {column}"):
        pq.encode(x)
    books = normal(2, 3, 16, 2)
    books[1, column % 16, 0] = x[row, column]
    with pytest.raises(ValueError, match=f"codebooks: expected finite numbers, got .* in centroid {column % 16} of"):
        kernels.PQ(books)


@profile
@given(codes=st.lists(st.tuples(WILD, WILD), min_size=1, max_size=5))
def test_pq_codes(codes):
    pq = kernels.PQ(normal(3, 2, 16, 3))
    codes = np.array(codes, np.int64)
    wrong = np.argwhere((codes < 0) | (codes > 15))
    if len(wrong) == 0:
        assert pq.decode(codes).shape == (len(codes), 6)
    else:
        message = "codes: expected values from 0 to 15, got {} in row {}, column {}"
        with pytest.raises(ValueError, match=message.format(codes[tuple(wrong[0])], *wrong[0])):
            pq.decode(codes)


Q, K, V = normal(1, 2, 4, 8), normal(2, 2, 6, 8), normal(3, 2, 6, 5)
SEEN = kernels.pattern(np.ones((4, 6), bool))
INT8, PQ4 = kernels.int8(np.ones((4, 8), np.int8), 1.0), kernels.PQ(normal(4, 2, 16, 3))
LSTM = kernels.lstm(normal(5, 16, 3), normal(6, 16, 4))
CALLS = {  # name: (call(x, out), x, shape and dtype of out)
    **{name: (lambda x, out, p=plan: p.matmul(x, out=out), normal(7, 8, 16), (8, 16), np.float32) for name, plan in {
        "csr": kernels.csr(normal(8, 8, 8)), "bsr": kernels.bsr(normal(8, 8, 8)),
        "dense": kernels.dense(normal(8, 8, 8)),
        "nm": kernels.nm(normal(8, 8, 8), 4, 4), "butterfly": kernels.butterfly(normal(8, 1, 1, 3, 4, 2, 2), 8, 8),
        "nested": kernels.nested(normal(8, 8, 8)), "int8": kernels.int8(np.ones((8, 8), np.int8), 1.0)}.items()},
    "int8 integers": (lambda x, out: INT8.matmul_i32(x, out=out), np.ones((8, 64), np.int8), (4, 64), np.int32),
    "conv dense": (lambda x, out: kernels.conv2d(normal(9, 2, 2, 1, 1), x.shape, format="dense")(x, out=out),
                   normal(7, 2, 4, 4), (2, 4, 4), np.float32),
    "conv csr": (lambda x, out: kernels.conv2d(normal(9, 2, 2, 1, 1), x.shape, format="csr")(x, out=out),
                 normal(7, 2, 4, 4), (2, 4, 4), np.float32),
    "conv depthwise": (lambda x, out: kernels.conv2d(normal(9, 2, 1, 3, 3), x.shape, padding=1, groups=2)(x, out=out),
                       normal(7, 2, 4, 4), (2, 4, 4), np.float32),
    "sddmm": (lambda x, out: kernels.sddmm(x, K, SEEN, out=out), normal(1, 2, 4, 8), (2, 24), np.float32),
    "attention": (lambda x, out: kernels.attention(x, K, V, out=out), Q, (2, 4, 5), np.float32),
    "sparse attention": (lambda x, out: kernels.attention(x, K, V, SEEN, out=out), Q, (2, 4, 5), np.float32),
    "softmax": (lambda x, out: kernels.softmax(x, None, out), normal(7, 8, 16), (8, 16), np.float32),
    "fwht": (lambda x, out: kernels.fwht(x, out=out), normal(7, 8, 16), (8, 16), np.float32),
    "fft": (lambda x, out: kernels.fft(x, out=out), normal(7, 8, 16).astype(np.complex64), (8, 16), np.complex64),
    "fourier_mix": (lambda x, out: kernels.fourier_mix(x, out), normal(7, 8, 16), (8, 16), np.float32),
    "lstm gates": (lambda x, out: LSTM.gates(x, normal(8, 5, 4), out=out), normal(7, 5, 3), (5, 16), np.float32),
    "lstm step": (lambda x, out: LSTM.step(x, normal(8, 5, 4), normal(9, 5, 4), out=(out, np.empty((5, 4), "f4"))),
                  normal(7, 5, 3), (5, 4), np.float32),
    "pq encode": (lambda x, out: PQ4.encode(x, out=out), normal(7, 9, 6), (9, 2), np.uint8),
    "pq decode": (lambda x, out: PQ4.decode(x, out=out), np.ones((9, 2), np.uint8), (9, 6), np.float32),
}
IN_PLACE = ("softmax", "fwht", "fft", "fourier_mix")


@pytest.mark.parametrize("name", CALLS)
class TestOut:
    """Result arrays that no kernel may write to."""

    def test_good(self, name):
        call, x, shape, dtype = CALLS[name]
        out = np.empty(shape, dtype)
        call(x, out)

    def test_read_only(self, name):
        call, x, shape, dtype = CALLS[name]
        out = np.zeros(shape, dtype)
        out.flags.writeable = False
        with pytest.raises(ValueError, match=r"(out|h_out): expected a writ"):
            call(x, out)
        assert not out.any()

    def test_negative_strides(self, name):
        call, x, shape, dtype = CALLS[name]
        out = np.zeros(shape, dtype)
        for view in (out[::-1], out[..., ::-1]):
            with pytest.raises(ValueError, match=r"(out|h_out): expected"):
                call(x, view)
        assert not out.any()

    def test_another_dtype_or_shape(self, name):
        call, x, shape, dtype = CALLS[name]
        with pytest.raises(TypeError, match="out: expected an array of"):
            call(x, np.empty(shape, np.float16))
        with pytest.raises(ValueError, match="out: expected shape"):
            call(x, np.empty((shape[0] + 1, *shape[1:]), dtype))

    def test_overlap(self, name):
        call, x, shape, dtype = CALLS[name]
        n = int(np.prod(shape)) * np.dtype(dtype).itemsize
        memory = np.zeros(n + x.nbytes + 64, np.uint8)
        step = max(x.itemsize, np.dtype(dtype).itemsize)  # in part, so that what may work in place may not do this
        own = memory[step:step + x.nbytes].view(x.dtype).reshape(x.shape)
        own[:] = x
        out = memory[:n].view(dtype).reshape(shape)
        before = memory.copy()
        with pytest.raises(ValueError, match=r"(out|h_out): expected memory that does not overlap"):
            call(own, out)
        np.testing.assert_array_equal(memory, before)

    def test_input_backwards_is_copied(self, name):
        call, x, shape, dtype = CALLS[name]
        one, other = np.empty(shape, dtype), np.empty(shape, dtype)
        call(x, one)
        back = np.ascontiguousarray(x[::-1])[::-1]
        call(back, other)
        np.testing.assert_array_equal(one, other)
        if name in IN_PLACE:
            same = x.copy()
            call(same, same)
            np.testing.assert_array_equal(same, one)


BOUNDS = {  # what a docstring promises against float64; the tests of each family hold it to these very words
    "csr": "<= 2 (k + 2) u (|b| + sum |w x|)", "bsr": "<= 2 (k + 2) u (|b| + sum |w x|)",
    "nm": "<= 2 (k + 2) u (|b| + sum |w x|)", "dense": "<= 2 (K + 2) u (|b| + sum |w x|)",
    "conv2d": "<= 2 (k + 2) u (|b| + sum |w x|)", "butterfly": "<= 1.01 (2 P + 1) u (|W| |x| + |b|)",
    "ovsf": "<= 1.001 log2(length) u sum |alpha|", "fwht": "<= 1.001 m u sum |x|",
    "nested": "<= sum |w_p| (t (1/2 + 2^-14) + 4 u (|x| + t))", "int8": "<= sum |w| t (1/2 + 2^-14)",
    "lstm": "<= 2 (k + N + 4) u (|b| + sum |terms|)", "sddmm": "<= 2 (d + 2) u |scale| sum |q k|",
    "softmax": "<= 4e-7 + 4e-6 p", "attention": "<= V (exp(2 e) - 1 + 4e-6 + 4e-7 n + 2 (n + 2) u)",
    "rowstats": "within 1e-6 and the entropy within 5e-6", "fft": "at most ``3e-7 log2 n``",
    "fourier_mix": "at most ``3e-7 (log2 L + log2 d)``", "PQ": "are exactly that at every level",
    "quantize": "at most ``scale (1/2 + 2^-14)``",
}


@pytest.mark.parametrize("name", BOUNDS)
def test_docstrings_state_the_bound(name):
    assert BOUNDS[name] in " ".join(getattr(kernels, name).__doc__.split())
