"""Masks, counts and pruning masks against their NumPy twins, at every instruction-set level."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnsched import kernels
from dnnsched._native import _kernels
from dnnsched._reference import counts as twin
from dnnsched.accel import sanger_mask_stats
from dnnsched.config import ISA_LEVELS, runnable_isa_levels
from dnnsched.layers import Layer

LEVELS = runnable_isa_levels()
EDGES = np.array([0.0, -0.0, 1.0, -1.0, 0.25, -0.25, 1e-45, -1e-45, np.nan, np.inf, -np.inf, 3e38], np.float32)
profile = settings(max_examples=60, deadline=None)


def edge_array(seed, shape):
    """Values around every edge of the definition of zero."""
    return EDGES[np.random.default_rng(seed).integers(0, EDGES.size, shape)]


shapes = st.tuples(st.integers(0, 4), st.integers(0, 7), st.integers(0, 150))


@pytest.mark.parametrize("isa", LEVELS)
class TestEveryLevel:
    """Each function against its twin."""

    @profile
    @given(seed=st.integers(0, 2**32), shape=shapes, eps=st.sampled_from([0.0, 0.25, 1e-45, 1.0, 4e38, np.inf]))
    def test_mask_and_counts(self, isa, seed, shape, eps):
        x = edge_array(seed, shape)
        mask = kernels.pack_mask(x, eps, isa=isa)
        np.testing.assert_array_equal(mask, twin.pack_mask(x.astype(np.float64), eps))
        np.testing.assert_array_equal(kernels.pack_mask(twin.nonzero(x.astype(np.float64), eps), isa=isa), mask)
        flags = kernels.unpack_mask(mask, shape[2])
        np.testing.assert_array_equal(flags, twin.nonzero(x.astype(np.float64), eps))
        assert kernels.count_zeros(x, eps, isa=isa) == (~flags).sum()
        np.testing.assert_array_equal(kernels.zeros_per_channel(x, eps, isa=isa), (~flags).sum(axis=(1, 2)))
        assert kernels.popcount(mask, isa=isa) == flags.sum()
        np.testing.assert_array_equal(kernels.row_any(mask, isa=isa), flags.any(axis=2))

    @profile
    @given(seed=st.integers(0, 2**32), shape=shapes, tile=st.tuples(st.integers(1, 9), st.integers(1, 160)))
    def test_tiles(self, isa, seed, shape, tile):
        x = edge_array(seed, shape)
        np.testing.assert_array_equal(kernels.zeros_per_tile(x, tile, isa=isa), twin.zeros_per_tile(x, tile))

    @profile
    @given(seed=st.integers(0, 2**32), groups=st.integers(1, 3), m=st.integers(1, 5), c=st.integers(1, 5),
           k=st.tuples(st.integers(1, 3), st.integers(1, 3)))
    def test_weight_counts(self, isa, seed, groups, m, c, k):
        w = edge_array(seed, (groups * m, c, *k))
        got = kernels.weight_counts(w, groups, 0.25, isa=isa)
        np.testing.assert_array_equal(got, twin.weight_counts(w, groups, 0.25))
        assert got.dtype == np.int32

    @profile
    @given(seed=st.integers(0, 2**32), data=st.data())
    def test_window_counts_and_valid_macs(self, isa, seed, data):
        layer = data.draw(layers())
        rng = np.random.default_rng(seed)
        act = rng.random((layer.in_channels, layer.in_h, layer.in_w)) < rng.random()
        w = rng.random((layer.out_channels, layer.in_channels // layer.groups, layer.kernel_h,
                        layer.kernel_w)) < rng.random()
        np.testing.assert_array_equal(kernels.window_counts(act, layer, isa=isa), twin.window_counts(act, layer))
        want = twin.valid_macs(act, w, layer)
        assert kernels.valid_macs(act, w, layer, isa=isa) == want
        mask, counts = kernels.pack_mask(act), kernels.weight_counts(w, layer.groups)
        np.testing.assert_array_equal(kernels.valid_macs(np.stack([mask, mask]), counts, layer, isa=isa), [want] * 2)
        assert kernels.valid_macs(np.ones_like(act), np.ones_like(w), layer, isa=isa) <= layer.macs

    @profile
    @given(groups=st.integers(1, 3), depth=st.integers(1, 3), outs=st.integers(1, 3), size=st.integers(5, 70),
           kernel=st.integers(1, 3), stride=st.integers(1, 3), dilation=st.integers(1, 2))
    def test_full_masks_give_the_dense_macs(self, isa, groups, depth, outs, size, kernel, stride, dilation):
        layer = Layer("conv", in_channels=groups * depth, out_channels=groups * outs, groups=groups, in_h=size, in_w=7,
                      kernel_h=kernel, kernel_w=kernel, stride=stride, dilation=dilation, padding=0)
        act = np.ones((groups * depth, size, 7), np.float32)
        w = np.ones((groups * outs, depth, kernel, kernel), np.float32)
        assert kernels.valid_macs(act, w, layer, isa=isa) == layer.macs
        fc = Layer("fc", "linear", in_channels=size, out_channels=outs)
        assert kernels.valid_macs(np.ones((1, size)), np.ones((outs, size)), fc, isa=isa) == fc.macs

    def test_strided_rows_and_any_alignment(self, isa):
        base = edge_array(1, (6, 300))
        for offset in range(5):
            x = base[::-2, offset:offset + 131]
            np.testing.assert_array_equal(kernels.pack_mask(x, isa=isa), twin.pack_mask(x))
        raw = np.zeros(4 * 300 + 1, np.uint8)
        odd = raw[1:].view(np.float32)
        odd[:] = base.reshape(-1)[:300]
        np.testing.assert_array_equal(kernels.pack_mask(odd, isa=isa), twin.pack_mask(base.reshape(-1)[:300]))

    def test_linear_layer(self, isa):
        rng = np.random.default_rng(3)
        layer = Layer("fc", "linear", in_channels=133, out_channels=7)
        act, w = rng.random((5, 133)) < 0.5, rng.random((7, 133)) < 0.3
        want = (act.astype(int) @ w.T.astype(int)).sum(axis=1)
        np.testing.assert_array_equal(kernels.valid_macs(act, w, layer, isa=isa), want)
        tokens = Layer("fc", "linear", in_channels=133, out_channels=7, seq_len=5)
        assert kernels.valid_macs(act, w, tokens, isa=isa) == want.sum()


@st.composite
def layers(draw):
    """Convolutions of every stride, padding, dilation and grouping."""
    groups = draw(st.integers(1, 3))
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    dims = {"in_h": draw(st.integers(1, 12)), "in_w": draw(st.one_of(st.integers(1, 12), st.integers(60, 70))),
            "kernel_h": draw(st.integers(1, 4)), "kernel_w": draw(st.integers(1, 4)), "stride": draw(pair),
            "dilation": draw(pair)}
    padding = draw(st.one_of(st.just("same"), st.tuples(st.integers(0, 4), st.integers(0, 4))))
    if padding != "same":  # enough for one output
        padding = tuple(max(p, d * (k - 1)) for p, d, k in
                        zip(padding, dims["dilation"], (dims["kernel_h"], dims["kernel_w"]), strict=True))
    return Layer("conv", in_channels=groups * draw(st.integers(1, 3)), out_channels=groups * draw(st.integers(1, 3)),
                 groups=groups, padding=padding, **dims)


def test_other_dtypes_compare_in_their_own_type():
    assert kernels.count_zeros(np.array([1e-300, 0.0, -1e-300])) == 1  # float32 zeros all
    assert kernels.count_zeros(np.array([-128, 127, 0], np.int8), 127.5) == 2
    assert kernels.count_zeros(np.array([1, 0], ">f4")) == 1
    assert kernels.count_zeros(np.array([True, False])) == 1
    assert kernels.count_zeros([[0, 1], [2, 0]]) == 2
    assert kernels.count_nonzeros(np.array([np.nan, np.inf, 1], np.float32), np.inf) == 1


def test_eps_between_two_floats_is_exact():
    one = np.float32(1)
    below = np.nextafter(one, np.float32(0), dtype=np.float32)
    x = np.array([below, one])
    assert kernels.count_zeros(x, 1 - 1e-12) == 1
    assert kernels.count_zeros(x, 1.0) == 2


def test_input_is_not_modified_and_can_be_read_only():
    x = edge_array(5, (3, 70))
    x.flags.writeable = False
    before = x.tobytes()
    kernels.pack_mask(x)
    kernels.zeros_per_tile(x, (2, 3))
    assert x.tobytes() == before


def test_density():
    assert kernels.density(np.array([0, 1, 2, 0, 5])) == pytest.approx(0.6)
    assert np.isnan(kernels.density(np.zeros((0, 3))))


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: kernels.pack_mask(np.ones(3), -1), ValueError, "eps: expected a number >= 0, got -1"),
    (lambda: kernels.pack_mask(np.ones(3), np.nan), ValueError, "eps: expected a number >= 0, got nan"),
    (lambda: kernels.pack_mask(1.0), ValueError, "x: expected at least one dimension"),
    (lambda: kernels.pack_mask(np.ones(3, complex)), TypeError, "x: expected real numbers or bool, got dtype complex"),
    (lambda: kernels.pack_mask(np.ones(3), isa="sse2"), ValueError, "isa: expected one of generic.*got 'sse2'"),
    (lambda: kernels.zeros_per_channel(np.ones((2, 2))), ValueError, "x: expected at least three dimensions"),
    (lambda: kernels.zeros_per_tile(np.ones(2), (1, 1)), ValueError, "x: expected at least two dimensions"),
    (lambda: kernels.zeros_per_tile(np.ones((2, 2)), (0, 1)), ValueError, "tile: expected two integers >= 1"),
    (lambda: kernels.count_nonzeros(np.ones(2), axes=2), ValueError, "axes: expected 1 to 1, got 2"),
    (lambda: kernels.unpack_mask(np.ones(2), 3), TypeError, "mask: expected a packed mask of uint64, got float64"),
    (lambda: kernels.unpack_mask(np.ones(2, np.uint64), 64), ValueError, "mask: expected 1 words per row of width"),
    (lambda: kernels.popcount(np.ones(2, np.uint64), np.ones(3, np.uint64)), ValueError, "other: expected shape"),
    (lambda: kernels.weight_counts(np.ones((4, 2)), 3), ValueError, "groups: expected a divisor of 4"),
    (lambda: kernels.weight_counts(np.ones(4)), ValueError, "w: expected at least two dimensions"),
    (lambda: kernels.valid_macs(np.ones((2, 5, 5)), np.ones((3, 2, 3, 3)), CONV), ValueError,
     r"act: expected trailing axes \(2, 4, 4\), got shape \(2, 5, 5\)"),
    (lambda: kernels.valid_macs(np.ones((2, 4, 1), np.uint64), np.ones((3, 2, 2, 2)), CONV), ValueError,
     r"weight: layer 'c': expected weights of shape \(3, 2, 3, 3\)"),
    (lambda: kernels.valid_macs(np.ones((2, 4, 4)), np.full((2, 3, 3), -1, np.int32), CONV), ValueError,
     "weights: expected counts >= 0, got -1 at channel 0"),
    (lambda: kernels.window_counts(np.ones((2, 2, 4, 4)), CONV), ValueError, r"act: expected one input"),
    (lambda: kernels.valid_macs(0, 0, Layer("a", "attention", heads=1, seq_len=1, hidden=1)), ValueError,
     "layer 'a': expected kind 'conv' or 'linear', got 'attention'"),
])
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_set_tail_bits_are_refused():
    mask = kernels.pack_mask(np.ones((2, 4, 4)))
    mask[1, 3] |= np.uint64(1 << 63)
    with pytest.raises(ValueError, match="act: mask: expected zeros beyond column 4, got a one in row 7"):
        kernels.window_counts(mask, CONV)
    with pytest.raises(ValueError, match="act: mask: expected zeros beyond column 4, got a one in row 7"):
        kernels.valid_macs(mask, np.ones((3, 2, 3, 3)), CONV)
    with pytest.raises(ValueError, match="mask: expected zeros beyond column 4"):
        sanger_mask_stats(mask, pad=True)


CONV = Layer("c", in_channels=2, out_channels=3, in_h=4, in_w=4, kernel_h=3, kernel_w=3, padding="same")


@pytest.mark.parametrize(("args", "error", "message"), [
    ((np.ones((2, 3)), 0.0, np.zeros((2, 1), np.uint64), -1), TypeError, "x: expected dtype dtype..float32"),
    ((np.ones((2, 3), ">f4"), 0.0, np.zeros((2, 1), np.uint64), -1), ValueError, "x: expected an aligned array in nat"),
    ((np.ones((2, 6), "f4")[:, ::2], 0.0, np.zeros((2, 1), np.uint64), -1), ValueError, "x: expected a contiguous"),
    ((np.ones((2, 3), "f4"), 0.0, np.zeros((2, 2), np.uint64), -1), ValueError, "out: expected extent 1 along axis 1"),
    ((np.ones((2, 3), "f4"), "x", np.zeros((2, 1), np.uint64), -1), TypeError, "real number"),
    ((np.ones((2, 3), "f4"), -1.0, np.zeros((2, 1), np.uint64), -1), ValueError, "eps: expected a number >= 0"),
    ((np.ones((2, 3), "f4"), 0.0, np.zeros((2, 1), np.uint64), 9), ValueError, "isa: expected at most"),
    ((np.ones((2, 3), "f4"), 0.0, np.zeros((2, 1), np.uint64)), TypeError, "pack_f32: expected 4 to 4 arguments"),
])
def test_native_functions_are_strict(args, error, message):
    with pytest.raises(error, match=message):
        _kernels.pack_f32(*args)


def test_native_outputs_must_be_writeable_and_apart():
    out = np.zeros((2, 1), np.uint64)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out: expected a writeable array"):
        _kernels.pack_f32(np.ones((2, 3), np.float32), 0.0, out, -1)
    both = np.zeros(8, np.float32)
    with pytest.raises(ValueError, match="out: expected memory that does not overlap x"):
        _kernels.pack_f32(both.reshape(2, 4), 0.0, both.view(np.uint64)[:2].reshape(2, 1), -1)


@pytest.mark.parametrize("index", range(12))
def test_native_window_fields_are_checked(index):
    geometry = kernels.window(CONV)
    geometry[index] = -1
    with pytest.raises(ValueError, match=r"(in|out|kernel|stride|dilation|pad)_[hw]: expected .* >= [01], got -1"):
        _kernels.windows(geometry, np.zeros((2, 4, 1), np.uint64), np.zeros((2, 3, 3), np.uint32), -1)


def test_reference_counts_unchanged():
    x, out = np.ones((4, 70), np.float32), np.zeros((4, 2), np.uint64)
    before = sys.getrefcount(x), sys.getrefcount(out)
    for _ in range(50):
        _kernels.pack_f32(x, 0.0, out, -1)
        with pytest.raises(ValueError, match="isa"):
            _kernels.pack_f32(x, 0.0, out, 7)
    assert (sys.getrefcount(x), sys.getrefcount(out)) == before


def test_threads_share_the_kernels():
    x = edge_array(9, (64, 4096))
    want = twin.pack_mask(x)
    results = [None] * 4

    def work(i):
        results[i] = kernels.pack_mask(x)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for got in results:
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("level", LEVELS)
def test_environment_chooses_the_level(level):
    code = ("import numpy as np; from dnnsched._native import _kernels\n"
            "o = np.zeros((1, 1), np.uint64); _kernels.pack_f32(np.ones((1, 5), np.float32), 0., o, -1)\n"
            "print(_kernels._isa(), int(o[0, 0]))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60,
                          env={**os.environ, "DNNSCHED_ISA": level})
    assert done.stdout.split() == [str(ISA_LEVELS.index(level)), "31"]


class TestPrune:
    """Weight masks: exact counts, structure, determinism."""

    W = np.random.default_rng(7).normal(size=(16, 12, 3, 3))

    @pytest.mark.parametrize("rng", [None, 5])
    @pytest.mark.parametrize("density", [0.0, 0.2, 0.575, 0.8, 1.0])
    def test_unstructured_count_is_exact(self, density, rng):
        keep = kernels.prune(self.W, density, rng=rng)
        assert keep.sum() == int(density * self.W.size + 0.5)
        if rng is None and 0 < density < 1:
            assert np.abs(self.W)[keep].min() >= np.abs(self.W)[~keep].max()

    @pytest.mark.parametrize("channels", [12, 10])
    @pytest.mark.parametrize("rng", [None, 5])
    def test_block_shares_the_decision(self, rng, channels):
        w = self.W[:, :channels]
        keep = kernels.prune(w, 0.5, "block", rng=rng)
        for start in range(0, channels, 4):
            block = keep[:, start:start + 4]
            assert (block == block[:, :1]).all()
        assert keep[:, ::4].sum() == keep[:, ::4].size // 2

    @pytest.mark.parametrize("rng", [None, 5])
    @pytest.mark.parametrize("block", [(4, 1), (3, 5), (16, 12), (20, 4)])
    def test_blocks_of_output_and_input_channels(self, rng, block):
        r, c = block
        keep = kernels.prune(self.W, 0.5, "block", block=block, rng=rng)
        means, kept = [], []
        for i in range(0, 16, r):
            for j in range(0, 12, c):
                here = keep[i:i + r, j:j + c]
                assert (here == here[:1, :1]).all()
                means.append(np.abs(self.W[i:i + r, j:j + c]).mean(axis=(0, 1)).ravel())
                kept.append(here[0, 0].ravel())
        means, kept = np.concatenate(means), np.concatenate(kept)
        assert kept.sum() == int(kept.size / 2 + 0.5)
        if rng is None:
            assert means[kept].min() >= means[~kept].max()
        np.testing.assert_array_equal(kernels.prune(self.W, 0.5, "block", block=(1, 4)),
                                      kernels.prune(self.W, 0.5, "block", block=4))

    @pytest.mark.parametrize("rng", [None, 5])
    def test_two_of_four(self, rng):
        keep = kernels.prune(self.W, 0.5, "nm", m=4, rng=rng)
        np.testing.assert_array_equal(keep.reshape(16, 3, 4, 9).sum(axis=2), np.full((16, 3, 9), 2))
        if rng is None:
            groups, kept = np.abs(self.W).reshape(16, 3, 4, 9), keep.reshape(16, 3, 4, 9)
            assert (np.where(kept, groups, np.inf).min(axis=2) >= np.where(kept, 0, groups).max(axis=2)).all()

    @pytest.mark.parametrize("rng", [None, 5])
    def test_channel_drops_whole_filters(self, rng):
        keep = kernels.prune(self.W, 0.25, "channel", rng=rng)
        alive = keep.reshape(16, -1)
        assert (alive.all(axis=1) | ~alive.any(axis=1)).all()
        assert alive.all(axis=1).sum() == 4

    @pytest.mark.parametrize("pattern", kernels.PATTERNS)
    def test_seed_decides(self, pattern):
        a, b = (kernels.prune(self.W, 0.5, pattern, rng=3) for _ in range(2))
        np.testing.assert_array_equal(a, b)
        assert (a != kernels.prune(self.W, 0.5, pattern, rng=4)).any()

    def test_ties_keep_the_lower_index(self):
        keep = kernels.prune(np.ones((2, 4)), 0.5)
        np.testing.assert_array_equal(keep, [[True] * 4, [False] * 4])
        np.testing.assert_array_equal(kernels.prune(np.ones((2, 8)), 0.5, "nm"), [[True, True, False, False] * 2] * 2)
        np.testing.assert_array_equal(kernels.prune(np.ones((4, 2)), 0.5, "block", block=(2, 1)),
                                      [[True] * 2] * 2 + [[False] * 2] * 2)
        np.testing.assert_array_equal(kernels.prune(np.ones((4, 2)), 0.5, "channel"),
                                      [[True] * 2] * 2 + [[False] * 2] * 2)

    @pytest.mark.parametrize(("kw", "message"), [
        ({"density": 1.2}, "density: expected a number in"), ({"density": np.nan}, "density: expected a number in"),
        ({"density": 0.5, "pattern": "stripes"}, "pattern: expected one of unstructured, block, nm, channel"),
        ({"density": 0.3, "pattern": "nm"}, "density, m: expected density \\* m integer"),
        ({"density": 0.5, "pattern": "nm", "m": 8}, "C a multiple of m"),
        ({"density": 0.5, "pattern": "block", "block": 0}, "block: expected an integer >= 1"),
        ({"density": 0.5, "pattern": "block", "block": (4, 0)}, "block: expected an integer >= 1"),
        ({"density": 0.5, "pattern": "block", "block": (4, 1, 1)}, "block: expected c or"),
        ({"density": 0.5, "pattern": "nm", "m": 0}, "m: expected an integer >= 1"),
    ])
    def test_bad_arguments_are_named(self, kw, message):
        with pytest.raises(ValueError, match=message):
            kernels.prune(self.W, **kw)
        with pytest.raises(ValueError, match="W: expected real weights"):
            kernels.prune(np.ones(3), 0.5)
        with pytest.raises(ValueError, match="W: expected no NaN"):
            kernels.prune(np.full((2, 2), np.nan), 0.5)
