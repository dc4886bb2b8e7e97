"""Choice of formats and measured tables. Times are never judged: only what is executed, chosen and recorded."""

import json

import numpy as np
import pytest

import dnnsched as ds
from dnnsched import kernels
from dnnsched.kernels import _autotune, _clock, _conv, _profile
from dnnsched.layers import Layer, Network

CONV = Layer("conv", in_channels=8, out_channels=12, in_h=6, in_w=5, kernel_h=3, kernel_w=3, padding=1, stride=2)
NET = Network("small", (
    Layer("stem", in_channels=3, out_channels=8, in_h=6, in_w=5, kernel_h=3, kernel_w=3, padding=1,
          sparse_weights=False),
    CONV,
    Layer("depthwise", in_channels=12, out_channels=12, in_h=3, in_w=3, kernel_h=3, kernel_w=3, padding=1, groups=12,
          sparse_weights=False),
    Layer("fc", "linear", 108, 16, bias=True),
    Layer("tokens", "linear", 16, 20, seq_len=7),
))
MACHINE = kernels.Machine("avx2", 80e9, (200e9, 80e9, 20e9, 12e9), (32 << 10, 1 << 20, 32 << 20))


@pytest.fixture
def clock(monkeypatch):
    """A clock by which every call takes a microsecond; the list of what it timed."""
    calls = []

    def times(function, repeats):
        function()
        calls.append(function)
        return np.full(repeats, 1e-6)

    monkeypatch.setattr(_clock, "times", times)
    return calls


def execution(layer, density=0.25, pattern="unstructured"):
    kind = _profile._Product if _profile._is_matrix(layer) else _profile._Convolution
    return kind(layer, density, pattern, {"block": 4, "m": 4}, np.random.SeedSequence(3), 1, None)


def convolved(w, x, layer):
    """A layer's convolution of images (N, C, H, W) with scipy's correlation, channel by channel."""
    signal = pytest.importorskip("scipy.signal")
    (sh, sw), (dh, dw), low = layer.stride_hw, layer.dilation_hw, layer.padding_hw
    out = np.zeros((len(x), layer.out_channels, layer.out_h, layer.out_w))
    taps = np.zeros((*w.shape[:2], dh * (layer.kernel_h - 1) + 1, dw * (layer.kernel_w - 1) + 1))
    taps[:, :, ::dh, ::dw] = w.reshape(*w.shape[:2], layer.kernel_h, layer.kernel_w)
    high = [(n - 1) * s + k - size - p for n, s, k, size, p in zip(
        out.shape[2:], (sh, sw), taps.shape[2:], x.shape[2:], low, strict=True)]
    x = np.pad(x, ((0, 0), (0, 0), *((p, max(h, 0)) for p, h in zip(low, high, strict=True))))
    depth, filters = layer.in_channels // layer.groups, layer.out_channels // layer.groups
    for i, f, c in np.ndindex(len(x), layer.out_channels, depth):
        full = signal.correlate2d(x[i, f // filters * depth + c], taps[f, c], "valid")
        out[i, f] += full[::sh, ::sw][:layer.out_h, :layer.out_w]
    return out


CONVS = (
    NET[0], CONV, NET[2],
    Layer("grouped", in_channels=8, out_channels=6, in_h=4, in_w=4, kernel_h=2, kernel_w=3, groups=2),
    Layer("same", in_channels=3, out_channels=4, in_h=8, in_w=7, kernel_h=3, kernel_w=4, stride=2, padding="same"),
    Layer("wide", in_channels=2, out_channels=3, in_h=9, in_w=9, kernel_h=3, kernel_w=3, dilation=2, padding=(2, 1)),
    Layer("pointwise", in_channels=6, out_channels=9, in_h=5, in_w=4),
    Layer("strided", in_channels=6, out_channels=9, in_h=5, in_w=4, stride=(2, 1)),
)


@pytest.mark.parametrize("layer", CONVS, ids=lambda layer: layer.name)
def test_what_is_timed_is_the_convolution(layer):
    twin = execution(layer)  # draws the inputs that the other one does
    x = twin._rng.random((2, layer.in_channels, layer.in_h, layer.in_w), np.float32)
    expected = convolved(twin.w, x, layer)
    formats = _profile._runnable(layer)
    assert ("depthwise" in formats, "bsr" in formats) == (layer.name == "depthwise", layer.name == "pointwise")
    for name in formats:
        got = execution(layer).call(2, name)()
        np.testing.assert_allclose(got.reshape(expected.shape), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layer", [NET[3], NET[4]], ids=lambda layer: layer.name)
def test_what_is_timed_is_the_linear_layer(layer):
    twin = execution(layer)
    x = twin._rng.random((3 * max(layer.seq_len, 1), layer.in_channels), np.float32)
    for name in _profile._runnable(layer):
        np.testing.assert_allclose(execution(layer).call(3, name)(), x @ twin.w[:, :, 0].T, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("pattern", "density"), [("unstructured", 0.25), ("block", 0.5), ("nm", 0.5),
                                                  ("channel", 0.5)])
def test_weights_have_the_density_and_pattern_asked_for(pattern, density):
    w = execution(CONV, density, pattern).w
    mask = w != 0
    assert mask.sum() == density * mask.size
    if pattern == "block":
        assert (mask.reshape(12, 2, 4, 9).all(axis=2) | ~mask.reshape(12, 2, 4, 9).any(axis=2)).all()
    if pattern == "nm":
        assert (mask.reshape(12, 2, 4, 9).sum(axis=2) == 2).all()
    if pattern == "channel":
        assert set(mask.reshape(12, -1).sum(axis=1)) == {0, 72}
    assert (execution(NET[0], 0.1).w != 0).all()  # stays dense


def test_table_says_what_was_done():
    table = kernels.profile(NET, 0.25, batches=(1, 3), repeats=4, rng=5, quiet=True)
    assert (table.layout, table.origin, table.pattern) == ("stage_batch", "measured", "unstructured")
    assert table.stages == tuple(layer.name for layer in NET)
    assert table.batches == (1, 3)
    assert table.draws_s.shape == (5, 2, 4)
    np.testing.assert_array_equal(table.seconds, np.median(table.draws_s, axis=2))
    meta = json.loads(json.dumps(table.meta))
    assert meta == table.meta
    assert meta["machine"]["origin"] == "measured"
    assert meta["machine"]["isa"] == meta["installation"]["isa"] == ds.config.isa()
    assert meta["formats"]["depthwise"] == ["depthwise", "depthwise"]
    assert (meta["density"], meta["repeats"], meta["rng"]["entropy"]) == (0.25, 4, 5)
    assert table.to_trace(20, 1).n_samples == 20
    again = kernels.profile(NET, 0.25, batches=(1, 3), repeats=1, format=meta["formats"], machine=MACHINE)
    assert again.meta["formats"] == meta["formats"]
    assert again.meta["machine"]["flops_per_s"] == 80e9
    assert kernels.profile(NET, 1.0, repeats=1, machine=MACHINE).pattern == "dense"


def test_modelled_table_is_the_cost_model():
    table = kernels.profile(NET, 0.25, batches=(1, 2), measure=False, machine=MACHINE)
    assert (table.origin, table.draws_s) == ("modelled", None)
    assert table == kernels.profile(NET, 0.25, batches=(1, 2), measure=False, machine=MACHINE)
    dense = kernels.profile(NET, 0.25, measure=False, machine=MACHINE, format="dense")
    plan = kernels.dense(np.ones((16, 108), np.float32))
    assert dense.seconds[3, 0] == pytest.approx(kernels.roofline(plan, 1, MACHINE) / 0.5)
    assert (table.column(1)[[1, 3, 4]] <= dense.column(1)[[1, 3, 4]]).all()  # of two formats the better
    by_name = kernels.profile(NET, {"fc": 0.01}, measure=False, machine=MACHINE, format="csr")
    assert by_name.seconds[3, 0] < kernels.profile(NET, measure=False, machine=MACHINE, format="csr").seconds[3, 0]


def test_cost_model_chooses_by_density():
    w = np.random.default_rng(0).standard_normal((256, 512)).astype(np.float32)
    assert kernels.autotune(w, 256, machine=MACHINE).format == "dense"
    sparse = np.where(kernels.prune(w, 0.05), w, np.float32(0))
    plan = kernels.autotune(sparse, 256, machine=MACHINE, bias=np.ones(256, np.float32), act="relu")
    assert plan.format == "csr"
    x = np.random.default_rng(1).standard_normal((512, 3)).astype(np.float32)
    np.testing.assert_allclose(plan @ x, np.maximum(sparse @ x + 1, 0), rtol=1e-4, atol=1e-4)
    assert kernels.autotune(sparse, 256, ("dense",)).format == "dense"
    chosen, blocks = [], []
    for density in np.linspace(0.02, 1, 25):
        pruned = np.where(kernels.prune(w, density), w, 0)
        chosen.append(kernels.autotune(pruned, 256, ("dense", "csr"), machine=MACHINE).format)
        pruned = np.where(kernels.prune(w, density, "block", block=(4, 1)), w, 0)
        blocks.append(kernels.autotune(pruned, 256, machine=MACHINE).format)
    assert chosen == sorted(chosen)  # csr up to a density, dense from there on
    assert blocks == sorted(blocks)
    assert set(blocks) == {"bsr", "dense"}


def test_measured_choice_is_recorded_and_replayed(monkeypatch):
    order = iter((3e-6, 1e-6, 2e-6))
    monkeypatch.setattr(_clock, "times", lambda function, repeats: np.full(repeats, next(order)))
    w, record = np.eye(8, dtype=np.float32), {}
    assert kernels.autotune(w, 4, measure=True, record=record).format == "csr"
    (key, held), = json.loads(json.dumps(record)).items()
    seconds = {"dense": pytest.approx(3e-6), "csr": pytest.approx(1e-6), "bsr": pytest.approx(2e-6)}
    assert held == {"format": "csr", "seconds": seconds}
    assert key.startswith("8x8 nnz 8, 4 columns")
    record[key]["format"] = "dense"
    assert kernels.autotune(w, 4, measure=True, record=record).format == "dense"  # the clock has run out
    record[key] = "csr"
    with pytest.raises(ValueError, match=r"record: '8x8 nnz 8.*expected a 'format' of dense, csr, bsr"):
        kernels.autotune(w, 4, measure=True, record=record)


def test_tuned_profile_times_every_candidate(clock):
    kernels.profile(NET, 0.25, tune=True, repeats=2, machine=MACHINE)
    assert len(clock) == 4 * 2 + 5  # two candidates of each layer but the grouped one, then the layers


def test_interrupt_goes_through(monkeypatch):
    def interrupted(function, repeats):
        raise KeyboardInterrupt

    monkeypatch.setattr(_clock, "times", interrupted)
    with pytest.raises(KeyboardInterrupt):
        kernels.profile(NET, machine=MACHINE)


def test_times_are_per_call():
    calls = []
    found = _clock.times(lambda: calls.append(1), 5)
    assert found.shape == (5,)
    assert (found > 0).all()
    assert (len(calls) - 2) % 5 == 0


@pytest.mark.parametrize(("make", "message"), [
    (lambda: kernels.profile("resnet5"), "network: expected one of"),
    (lambda: kernels.profile("bert_base", measure=False), "layer 'layer0.attention': expected convolutions and linear"),
    (lambda: kernels.profile(NET, 1.5), "density: expected a finite value >= 0 and <= 1, got 1.5"),
    (lambda: kernels.profile(NET, {"fc2": 0.5}), "density: expected names of layers of 'small', got 'fc2'"),
    (lambda: kernels.profile(NET, {"fc": -1}), r"density\['fc'\]: expected"),
    (lambda: kernels.profile(NET, 0.5, "random"), "pattern: expected one of 'unstructured'"),
    (lambda: kernels.profile(NET, 0.3, "nm"), "network: layer 'conv': density, m: expected density"),
    (lambda: kernels.profile(NET, batches=()), "batches: expected ascending sizes, at least one"),
    (lambda: kernels.profile(NET, batches=(2, 2)), "batches: expected ascending sizes"),
    (lambda: kernels.profile(NET, format="coo"), "format: expected one of 'auto', 'dense', 'csr'"),
    (lambda: kernels.profile(NET, format="bsr"),
     r"format\['stem'\]: expected one of 'dense', 'im2col', 'csr', 'direct', got 'bsr'"),
    (lambda: kernels.profile(NET, format="depthwise"), "format: expected one of 'auto', 'dense', 'csr', 'bsr', got"),
    (lambda: kernels.profile(NET, formats=("bsr",)),
     "formats: layer 'stem': expected one of dense, im2col, csr, direct, got bsr"),
    (lambda: kernels.profile(NET, format={"fc": "csr"}), "format: expected an entry for every layer, 'stem' is"),
    (lambda: kernels.profile(NET, format={"stem": ["csr", "csr"]}), r"format\['stem'\]: expected 1 names"),
    (lambda: kernels.profile(NET, formats=()), "formats: expected at least one of"),
    (lambda: kernels.profile(NET, repeats=0), "repeats: expected an integer >= 1"),
    (lambda: kernels.profile(NET, threads=0), "threads: expected an integer >= 1"),
    (lambda: kernels.profile(NET, threads=2, measure=False), "tune, threads: expected False and 1 with measure=False"),
    (lambda: kernels.profile(NET, isa="sse"), "isa: expected one of"),
    (lambda: kernels.autotune(np.eye(3, dtype=np.float32), 0), "n: expected an integer >= 1"),
    (lambda: kernels.autotune(np.eye(3, dtype=np.float32), 1, ("coo",)), "formats: expected one of 'dense', 'csr'"),
])
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("make", [
    lambda: kernels.profile(NET[0]), lambda: kernels.profile(NET, format=3),
    lambda: kernels.profile(NET, formats="csr"), lambda: kernels.autotune(np.eye(3, dtype=np.int32), 1),
    lambda: kernels.autotune(np.eye(3, dtype=np.float32), 1, record=[]),
])
def test_wrong_types(make):
    with pytest.raises(TypeError, match="expected"):
        make()


def test_every_format_has_its_fraction():
    assert set(_autotune._ATTAINED) == set(_autotune.FORMATS)
    assert set(_autotune._CONV_ATTAINED) == set(_conv.FORMATS)
    assert all(0 < f <= 1 for f in _autotune._CONV_ATTAINED.values())
    assert all(0 < f <= 1 for pair in _autotune._ATTAINED.values() for f in pair)
