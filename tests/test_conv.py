"""Convolutions from Python: every format against float64 NumPy, other kernels, torch; arguments, errors, pickles."""

import pickle
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnsched import kernels
from dnnsched._native import _kernels
from dnnsched.config import runnable_isa_levels

LEVELS = runnable_isa_levels()
U = 2.0 ** -24


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def masked(seed, share, *shape):
    """Normal weights of which a share is not zero."""
    w = normal(seed, *shape)
    return np.where(np.random.default_rng(seed + 1).random(shape) < share, w, np.float32(0))


def columns(x, kernel, stride, padding, dilation):
    """im2col: (C, KH, KW, OH * OW) of one image (C, H, W)."""
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = kernel, stride, padding, dilation
    x = np.pad(x, ((0, 0), (ph, ph), (pw, pw)))
    reach = (dh * (kh - 1) + 1, dw * (kw - 1) + 1)
    windows = np.lib.stride_tricks.sliding_window_view(x, reach, axis=(1, 2))[:, ::sh, ::sw, ::dh, ::dw]
    c, oh, ow = windows.shape[:3]
    return windows.transpose(0, 3, 4, 1, 2).reshape(c, kh, kw, oh * ow), (oh, ow)


def oracle(w, x, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):
    """(result, sum of |w x|) in float64 for images (N, C, H, W)."""
    w, x = w.astype(np.float64), x.astype(np.float64)
    o, depth = w.shape[:2]
    results = []
    for image in x:
        cols, size = columns(image, w.shape[2:], stride, padding, dilation)
        cols = cols.reshape(groups, depth * w.shape[2] * w.shape[3], -1)
        rows = w.reshape(groups, o // groups, -1)
        results.append([(a @ b).reshape(o, *size) for a, b in ((rows, cols), (abs(rows), abs(cols)))])
    return np.array([r[0] for r in results]), np.array([r[1] for r in results])


def apply(plan, x):
    """The plan on images (N, C, H, W), whatever its layout."""
    if plan.layout == "nchw":
        return plan(x)
    return plan(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def shape_for(layout, x):
    return x.shape if layout == "nchw" else (x.shape[0], *x.shape[2:], x.shape[1])


@settings(max_examples=120, deadline=None)
@given(seed=st.integers(0, 2**31), data=st.data())
def test_every_format_against_float64(seed, data):
    def draw(low, high, n=2):
        return tuple(data.draw(st.integers(low, high)) for _ in range(n))

    groups = data.draw(st.sampled_from([1, 1, 2, 3]))
    depth, per_group = draw(1, 6)
    kernel, stride, padding, dilation = draw(1, 4), draw(1, 3), draw(0, 3), draw(1, 2)
    size = tuple(max(1, d * (k - 1) + 1 - 2 * p) + extra
                 for d, k, p, extra in zip(dilation, kernel, padding, draw(0, 24), strict=True))
    layout, isa = data.draw(st.sampled_from(["nchw", "nhwc"])), data.draw(st.sampled_from(LEVELS))
    w = masked(seed, data.draw(st.sampled_from([0.0, 0.1, 0.5, 1.0])), per_group * groups, depth, *kernel)
    x, bias = normal(seed + 2, 2, depth * groups, *size), normal(seed + 3, per_group * groups)
    want, weight = oracle(w, x, stride, padding, dilation, groups)
    want = np.clip(want + bias[:, None, None], -1, 2.5)
    for fmt in ("auto", "im2col", "direct", "csr") + (("depthwise",) if depth == 1 else ()):
        plan = kernels.conv2d(w, shape_for(layout, x), stride=stride, padding=padding, dilation=dilation, groups=groups,
                              format=fmt, layout=layout, bias=bias, act=(-1, 2.5), isa=isa)
        got = apply(plan, x)
        assert got.dtype == np.float32
        assert got.shape == want.shape
        stored = (w != 0).sum(axis=(1, 2, 3)) if plan.format == "csr" else np.full(len(w), w[0].size)
        bound = 2 * (stored + 2)[:, None, None] * U * (weight + abs(bias)[:, None, None]) + 1e-38
        assert (abs(got - want) <= bound).all(), fmt
        np.testing.assert_array_equal(plan.to_dense(), w.reshape(len(w), -1))


def test_conv_is_im2col_and_gemm_is_spmm():
    """The three ways meet: within the bound for the BLAS, to the last bit where sums have the same order."""
    w, x = masked(1, 0.3, 40, 24, 3, 3), normal(3, 24, 15, 17)
    cols, size = columns(x, (3, 3), (1, 1), (1, 1), (1, 1))
    cols, flat = np.ascontiguousarray(cols.reshape(216, -1)), w.reshape(40, 216)
    sparse = kernels.conv2d(w, x.shape, padding=1, format="csr")(x)
    np.testing.assert_array_equal(sparse, (kernels.csr(flat) @ cols).reshape(40, *size))
    dense = kernels.conv2d(w, x.shape, padding=1, format="im2col")(x)
    bound = 4 * 218 * U * (abs(flat).astype(float) @ abs(cols)).reshape(40, *size)
    assert (abs(dense - (kernels.dense(flat) @ cols).reshape(40, *size)) <= bound).all()
    assert (abs(dense - sparse) <= bound).all()


@pytest.mark.parametrize("isa", runnable_isa_levels())
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_direct_is_csr_with_all_weights(layout, isa):
    """To the last bit, around the panels of output channels, the blocks of input channels and the tiles."""
    for c, o, size, kernel, stride, groups in ((70, 53, (9, 11), 3, 1, 1), (6, 98, (60, 61), 3, 1, 2),
                                               (34, 4, (13, 8), 5, 2, 2), (300, 7, (5, 40), 1, 2, 1)):
        w, x = normal(1, o, c // groups, kernel, kernel), normal(2, 2, c, *size)
        plans = [kernels.conv2d(w, shape_for(layout, x), padding=kernel // 2, stride=stride, groups=groups,
                                bias=w[:, 0, 0, 0], layout=layout, format=f, isa=isa) for f in ("direct", "csr")]
        direct, csr = (apply(plan, x) for plan in plans)
        np.testing.assert_array_equal(direct, csr)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_one_pixel_kernels_are_matrix_products(layout):
    w, x = normal(1, 12, 7, 1, 1), normal(2, 3, 7, 9, 10)
    plan = kernels.conv2d(w, shape_for(layout, x), layout=layout, format="im2col")
    want = np.einsum("oc,nchw->nohw", w[:, :, 0, 0].astype(float), x)
    np.testing.assert_allclose(apply(plan, x), want, rtol=1e-5, atol=1e-5)
    w[np.abs(w) < 0.5] = 0
    bias, act = normal(3, 12), (-1, 1)
    sparse = kernels.conv2d(w, shape_for(layout, x), layout=layout, format="csr", bias=bias, act=act)
    product = kernels.csr(w[:, :, 0, 0], bias=bias, act=act)
    assert sparse.nnz == product.nnz < w.size
    np.testing.assert_array_equal(sparse.to_dense().reshape(w.shape), w)
    want = [(product @ image.reshape(7, 90)).reshape(12, 9, 10) for image in x]
    np.testing.assert_array_equal(apply(sparse, x), want)


def test_depthwise_is_csr_with_one_channel_per_group():
    w, x = normal(1, 20, 1, 5, 5), normal(2, 2, 20, 13, 31)
    common = {"stride": (2, 1), "padding": 2, "groups": 20}
    want = kernels.conv2d(w, x.shape, format="csr", **common)(x)
    np.testing.assert_array_equal(kernels.conv2d(w, x.shape, format="depthwise", **common)(x), want)
    last = kernels.conv2d(w, shape_for("nhwc", x), format="depthwise", layout="nhwc", **common)
    np.testing.assert_array_equal(apply(last, x), want)


def test_torch_agrees():
    torch = pytest.importorskip("torch")
    for groups, stride, padding, dilation in ((1, 1, 1, 1), (4, 2, (2, 0), 1), (1, (1, 3), 2, (2, 1)), (12, 1, 1, 1)):
        w, x, bias = normal(1, 24, 12 // groups, 3, 3), normal(2, 2, 12, 14, 19), normal(3, 24)
        want = torch.nn.functional.conv2d(*map(torch.from_numpy, (x, w, bias)), stride, padding, dilation, groups)
        for fmt in ("im2col", "direct", "csr", *(["depthwise"] if groups == 12 else [])):
            plan = kernels.conv2d(w, x.shape, stride=stride, padding=padding, dilation=dilation, groups=groups,
                                  format=fmt, bias=bias)
            np.testing.assert_allclose(plan(torch.from_numpy(x)), want, rtol=1e-4, atol=1e-4)


def test_scipy_agrees():
    signal = pytest.importorskip("scipy.signal")
    w, x = normal(1, 2, 3, 3, 3), normal(2, 3, 12, 13)
    want = [sum(signal.correlate2d(x[c].astype(float), w[o, c].astype(float), "valid") for c in range(3))
            for o in range(2)]
    for fmt in ("im2col", "direct", "csr"):
        np.testing.assert_allclose(kernels.conv2d(w, x.shape, format=fmt)(x), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("fmt", ["dense", "csr", "depthwise"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_linear_and_permuted_where_sums_are_exact(fmt, layout):
    """Small integers: superposition of images, and permuted output channels permute the result."""
    rng, groups = np.random.default_rng(5), 12 if fmt == "depthwise" else 1
    w = rng.integers(-4, 5, (12, 12 // groups, 3, 3)).astype(np.float32)
    x, y = (rng.integers(-8, 9, (2, 12, 11, 17)).astype(np.float32) for _ in range(2))
    options = {"stride": (1, 2), "padding": 1, "groups": groups, "format": fmt, "layout": layout}
    plan = kernels.conv2d(w, shape_for(layout, x), **options)
    want = apply(plan, x)
    np.testing.assert_array_equal(want, oracle(w, x, (1, 2), (1, 1), groups=groups)[0])
    np.testing.assert_array_equal(apply(plan, 2 * x + y), 2 * want + apply(plan, y))
    order = rng.permutation(12)
    moved = x[:, order] if groups > 1 else x
    permuted = kernels.conv2d(w[order], shape_for(layout, x), **options)
    np.testing.assert_array_equal(apply(permuted, moved), want[:, order])


def test_sparse_with_a_full_mask_is_dense():
    """No weight absent: the sparse format is the dense convolution, for every geometry."""
    for groups, stride, padding, dilation in ((1, 1, 1, 1), (3, 2, (2, 0), 1), (1, (1, 3), 2, (2, 1))):
        w, x = normal(1, 9, 6 // groups, 3, 3), normal(2, 2, 6, 14, 19)
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        sparse, dense = (kernels.conv2d(w, x.shape, format=fmt, **options) for fmt in ("csr", "dense"))
        assert sparse.nnz == w.size
        pairs = [(v, v) if isinstance(v, int) else v for v in (stride, padding, dilation)]
        want, size = oracle(w, x, *pairs, groups)
        for plan in (sparse, dense):
            assert (abs(plan(x) - want) <= 2 * (w[0].size + 2) * U * size + 1e-38).all()


def test_auto_is_decided_by_weights_and_shape():
    def chosen(w, channels, groups=1):
        return kernels.conv2d(w, (channels, 8, 8), groups=groups).format

    assert chosen(normal(1, 8, 8, 3, 3), 8) == "direct"
    assert chosen(normal(1, 8, 8, 1, 1), 8) == "im2col"
    assert chosen(normal(1, 8, 8, 4, 4), 8) == "direct"
    assert chosen(normal(1, 8, 8, 5, 5), 8) == "im2col"  # 4 x 4 results
    assert chosen(masked(1, 0.2, 8, 8, 3, 3), 8) == "csr"
    assert chosen(np.zeros((8, 8, 3, 3), np.float32), 8) == "csr"
    assert chosen(normal(1, 8, 1, 3, 3), 8, 8) == "depthwise"
    assert chosen(normal(1, 8, 1, 3, 3), 1) == "direct"
    assert chosen(normal(1, 8, 4, 3, 3), 8, 2) == "direct"


def test_absent_weights_are_not_multiplied():
    w = np.array([[[[0]], [[1]]]], np.float32)
    x = np.array([[[np.inf]], [[2]]], np.float32)
    assert kernels.conv2d(w, x.shape, format="csr")(x) == 2
    assert np.isnan(kernels.conv2d(w, x.shape, format="dense")(x))
    assert np.isnan(kernels.conv2d(w[:, 1:], (1, 1, 1), act="relu", format="csr")(np.full((1, 1, 1), np.nan)))


@pytest.mark.parametrize(("fmt", "layout", "groups"), [
    (fmt, layout, groups) for fmt, groups in (("im2col", 1), ("direct", 1), ("csr", 1), ("depthwise", 64)) for layout in
    ("nchw", "nhwc")])
class TestEveryFormat:
    """What holds for any plan."""

    def make(self, fmt, layout, groups, **options):
        w = masked(1, 0.5, 64, 64 // groups, 3, 3)
        shape = (64, 40, 41) if layout == "nchw" else (40, 41, 64)
        return kernels.conv2d(w, shape, padding=1, groups=groups, format=fmt, layout=layout, **options)

    def test_threads_images_and_copies_give_the_same_bytes(self, fmt, layout, groups):
        plan = self.make(fmt, layout, groups, bias=np.ones(64), act="relu")
        x = normal(2, 3, *plan.in_shape)
        want = plan(x)
        copy = pickle.loads(pickle.dumps(plan))
        assert repr(copy) == repr(plan)
        assert (copy.format, copy.in_shape, copy.out_shape, copy.nnz) == (fmt, plan.in_shape, plan.out_shape, plan.nnz)
        for threads in (2, 3, 7):
            assert plan(x, threads=threads).tobytes() == want.tobytes()
        assert plan(x[1]).tobytes() == want[1].tobytes()
        assert copy(x).tobytes() == want.tobytes()
        assert plan(x[:0]).shape == (0, *plan.out_shape)
        for same in (x.astype(np.float64), np.asfortranarray(x), np.repeat(x, 2, axis=0)[::2]):
            assert plan(same).tobytes() == want.tobytes()

    def test_out_is_written_and_returned(self, fmt, layout, groups):
        plan = self.make(fmt, layout, groups)
        x = normal(2, *plan.in_shape)
        out = np.empty(plan.out_shape, np.float32)
        assert plan(x, out=out) is out
        np.testing.assert_array_equal(out, plan(x))

    def test_shared_by_python_threads(self, fmt, layout, groups):
        plan = self.make(fmt, layout, groups)
        x = normal(2, *plan.in_shape)
        want, wrong = plan(x), []

        def work():
            for threads in (1, 2, 1):
                if not np.array_equal(plan(x, threads=threads), want):
                    wrong.append(threads)

        workers = [threading.Thread(target=work) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert not wrong

    def test_cost(self, fmt, layout, groups):
        plan = self.make(fmt, layout, groups)
        cost = plan.cost(2)
        assert cost.flops == 2 * plan.nnz * 40 * 41 * 2
        assert sum(cost.bytes) >= 4 * 2 * (64 + 64) * 40 * 41
        fast = kernels.Machine("generic", 1e9, (1e18, 1e18, 1e18, 1e18), (1 << 15, 1 << 20, 1 << 25))
        assert kernels.roofline(plan, 2, fast) == pytest.approx(cost.flops / 1e9)
        assert plan.nnz == np.count_nonzero(plan.to_dense()) or fmt != "csr"


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda p, x: p(x[:3]), ValueError, r"x: expected shape \(N, 4, 6, 7\) or \(4, 6, 7\), got \(3, 6, 7\)"),
    (lambda p, x: p(x[None, None]), ValueError, "x: expected shape"),
    (lambda p, x: p(x.astype(int)), TypeError, "x: expected floating-point numbers, got dtype int64"),
    (lambda p, x: p(x, out=np.empty((5, 6, 7))), TypeError, "out: expected an array of float32, got float64"),
    (lambda p, x: p(x, out=np.empty((5, 6, 8), "f4")), ValueError, r"out: expected shape \(5, 6, 7\), got"),
    (lambda p, x: p(x, out=np.empty((5, 6, 14), "f4")[:, :, ::2]), ValueError, "out: expected a C-contiguous array"),
    (lambda p, x: p(x, out=np.broadcast_to(np.float32(0), (5, 6, 7))), ValueError, "out: expected a"),
    (lambda p, x: p(x, threads=0), ValueError, "threads: expected an integer >= 1 and <= 256, got 0"),
    (lambda p, x: p.cost(-1), ValueError, "n: expected an integer >= 0, got -1"),
    (lambda p, x: setattr(p, "shape", (1, 1)), AttributeError, "shape: a plan is immutable"),
    (lambda p, x: _kernels.plan_execute(p._plan, True, x[0], x[0], 1), TypeError, "expected a matrix, got a convolut"),
    (lambda p, x: _kernels.conv_execute(kernels.csr(x[0])._plan, x, x, 1), TypeError, "expected a convolution, got a "),
    (lambda p, x: _kernels.conv_execute(3, x, x, 1), TypeError, "plan: expected a plan, got int"),
    (lambda p, x: _kernels.conv_execute(p._plan, x[None, :2], x, 1), ValueError, "x: expected extent 4 along axis 1"),
])
def test_bad_calls_are_named(call, error, message):
    plan = kernels.conv2d(normal(1, 5, 4, 3, 3), (4, 6, 7), padding=1)
    with pytest.raises(error, match=message):
        call(plan, normal(2, 4, 6, 7))


def test_out_must_not_overlap():
    plan = kernels.conv2d(normal(1, 4, 4, 1, 1), (4, 6, 7))
    x = normal(2, 4, 6, 7)
    with pytest.raises(ValueError, match="out: expected memory that does not overlap x"):
        plan(x, out=x)


@pytest.mark.parametrize(("changes", "error", "message"), [
    ({"w": np.ones((5, 4, 3), "f4")}, ValueError, r"w: expected 4 dimensions \(O, C / groups, KH, KW\), got shape"),
    ({"w": np.ones((5, 4, 3, 3), int)}, TypeError, "w: expected floating-point numbers"),
    ({"w": np.ones((5, 3, 3, 3), "f4")}, ValueError, "w: expected 4 channels per group, got 3"),
    ({"w": np.ones((0, 4, 3, 3), "f4")}, ValueError, "conv: expected extents >= 1"),
    ({"w": np.ones((5, 4, 0, 3), "f4")}, ValueError, "conv: expected extents >= 1"),
    ({"x_shape": (6, 7)}, ValueError, "x_shape: expected 3 or 4 extents in the order of 'nchw'"),
    ({"x_shape": (4, 0, 7)}, ValueError, "x_shape: expected an integer >= 1"),
    ({"x_shape": (4, 6.0, 7)}, TypeError, "x_shape"),
    ({"x_shape": (4, 6, 2**31)}, ValueError, "x_shape"),
    ({"x_shape": (4, 2**20, 2**20)}, ValueError, "less than 2.31 elements"),
    ({"x_shape": (4, 2, 7)}, ValueError, "conv: expected a kernel within the padded image, got 3 x 3"),
    ({"stride": 0}, ValueError, "stride: expected an integer >= 1"),
    ({"stride": (1, 2, 3)}, ValueError, r"stride: expected an integer or \(height, width\), got \(1, 2, 3\)"),
    ({"padding": -1}, ValueError, "padding: expected an integer >= 0"),
    ({"padding": "same"}, TypeError, "padding"),
    ({"dilation": 4}, ValueError, "conv: expected a kernel within the padded image"),
    ({"groups": 3}, ValueError, "groups: expected a divisor of 4 input and 5 output channels, got 3"),
    ({"format": "depthwise"}, ValueError, "groups: expected one channel per group for format depthwise, got 4 ch"),
    ({"format": "coo"}, ValueError, "format: expected one of"),
    ({"layout": "hwc"}, ValueError, "layout: expected one of"),
    ({"bias": np.ones(4)}, ValueError, r"bias: expected shape \(5,\), got \(4,\)"),
    ({"act": (1, 0)}, ValueError, "act: expected lo <= hi"),
    ({"isa": "sse2"}, ValueError, "isa: expected one of generic"),
])
def test_bad_arguments_are_named(changes, error, message):
    arguments = {"w": np.ones((5, 4, 3, 3), np.float32), "x_shape": (4, 6, 7)} | changes
    with pytest.raises(error, match=message):
        kernels.conv2d(arguments.pop("w"), arguments.pop("x_shape"), **arguments)
