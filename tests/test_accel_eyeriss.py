"""Eyeriss-V2 against oracles written from its description: convolution by hand, mapping, columns, cycles."""

import itertools
import math
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnsched import accel, kernels, networks, traces
from dnnsched.accel.eyeriss2 import LAYER
from dnnsched.config import runnable_isa_levels
from dnnsched.layers import Layer, Network

profile = settings(max_examples=80, deadline=None)
GOLDEN = Layer("golden", in_channels=64, out_channels=64, in_h=56, in_w=56, kernel_h=3, kernel_w=3, padding="same")
ARTIFACT = accel.EyerissV2("artifact")
CORRECTED = accel.EyerissV2("corrected")


# ---- oracles --------------------------------------------------------------------------------------------------------

def convolve(act, weight, layer):
    """Integer convolution of two bool arrays, summed over all outputs: valid products by definition."""
    (sh, sw), (dh, dw), (ph, pw) = layer.stride_hw, layer.dilation_hw, layer.padding_hw
    per_in, per_out = layer.in_channels // layer.groups, layer.out_channels // layer.groups
    high_h = max((layer.out_h - 1) * sh + (layer.kernel_h - 1) * dh + 1 - ph - layer.in_h, 0)
    high_w = max((layer.out_w - 1) * sw + (layer.kernel_w - 1) * dw + 1 - pw - layer.in_w, 0)
    padded = np.pad(act.astype(np.int64), ((0, 0), (ph, high_h), (pw, high_w)))
    out = np.zeros((layer.out_channels, layer.out_h, layer.out_w), np.int64)
    for m, (y, x) in itertools.product(range(layer.out_channels), np.ndindex(layer.out_h, layer.out_w)):
        first = m // per_out * per_in
        patch = padded[first:first + per_in, y * sh:y * sh + (layer.kernel_h - 1) * dh + 1:dh,
                       x * sw:x * sw + (layer.kernel_w - 1) * dw + 1:dw]
        out[m, y, x] = (patch * weight[m]).sum()
    return int(out.sum())


def map_artifact(c, m, k, h, g, glb_bits=96000):
    """Mapping as the sheet states it, for compat="artifact"."""
    per_group = m // g
    c0 = c if c <= 3 else min(2 ** int(math.log2(16 // k)), c)
    f0 = min(2 ** int(math.log2(glb_bits // (h * k * c0 * 8))), h)
    m0 = min(32, per_group)
    c1 = 8 if 8 * c0 <= c else c // c0
    f1 = 4 if 4 * f0 <= h else h // f0
    s1 = min(3, k)
    m1 = 2 if 2 * m0 <= per_group else per_group // m0
    m2, f2 = math.ceil(per_group / (m0 * m1)), math.ceil(h / (f0 * f1))
    c2, s2 = math.ceil(c / (c0 * c1)), math.ceil(k / s1)
    if c0 * c1 * c2 != c:
        return None
    return {"F0": f0, "F1": f1, "F2": f2, "A": m1 * f1 * c1 * s1 * m2 * f2 * c2 * s2 * h * f0,
            "w": 2 * m1 * s1 * m2 * s2}


def columns_artifact(act, k, mapping):
    """Z of the public code, step by step: pad, reshape, shift inside blocks, count."""
    channels, h, w = act.shape
    side = mapping["F0"] * mapping["F1"] * mapping["F2"]
    padded = np.pad(act.astype(np.int64), ((0, 0), (0, side - h), (0, side - w)))
    blocks = padded.sum(axis=2).reshape(channels, side // mapping["F0"], mapping["F0"])
    total, shifted = blocks.copy(), blocks.copy()
    for _ in range(k - 1):
        shifted = np.roll(shifted, -1, axis=-1)
        shifted[..., -1] = 0
        total += shifted
    return int(np.count_nonzero(total))


def columns_corrected(act, layer, depth):
    """Visits of non-empty columns, one by one."""
    (sh, sw), (dh, dw), (ph, pw) = layer.stride_hw, layer.dilation_hw, layer.padding_hw
    total = 0
    for c in range(0, layer.in_channels, depth):
        merged = act[c:c + depth].any(axis=0)
        for y, x, j in np.ndindex(layer.out_h, layer.out_w, layer.kernel_w):
            column = x * sw + j * dw - pw
            rows = [r for r in (y * sh + i * dh - ph for i in range(layer.kernel_h)) if 0 <= r < layer.in_h]
            total += 0 <= column < layer.in_w and bool(merged[rows, column].any())
    return total


def random_layer(rng, square=False):
    """A small convolution with every feature."""
    g = int(rng.integers(1, 4))
    kh, kw = (int(x) for x in rng.integers(1, 6, 2))
    h, w = (int(x) for x in rng.integers(1, 10, 2))
    if square:
        kw, w = kh, h
    stride, dilation = (tuple(int(x) for x in rng.integers(1, 4, 2)) for _ in range(2))
    padding = "same"
    if rng.random() < 0.6:
        spans = [d * (k - 1) + 1 for d, k in zip(dilation, (kh, kw), strict=True)]
        least = [max(0, math.ceil((span - n) / 2)) for span, n in zip(spans, (h, w), strict=True)]
        padding = tuple(int(p + rng.integers(0, 3)) for p in least)
    return Layer("random", in_channels=g * int(rng.integers(1, 4)), out_channels=g * int(rng.integers(1, 4)), groups=g,
                 in_h=h, in_w=w, kernel_h=kh, kernel_w=kw, stride=stride, dilation=dilation, padding=padding)


def random_masks(rng, layer):
    """Activation and weight masks; sometimes empty, sometimes full."""
    p = rng.choice([0.0, 0.2, 0.5, 0.9, 1.0], 2)
    act = rng.random((layer.in_channels, layer.in_h, layer.in_w)) < p[0]
    weight = rng.random((layer.out_channels, layer.in_channels // layer.groups, layer.kernel_h, layer.kernel_w)) < p[1]
    return act, weight


def fits_artifact(layer):
    """The layer as the public code takes it (square, channels that factor), or None."""
    mapping = map_artifact(layer.in_channels, layer.out_channels, layer.kernel_h, layer.in_h, layer.groups)
    return None if mapping is None else (replace(layer, stride=1, dilation=1, padding="same"), mapping)


# ---- acceptance 1: valid products -----------------------------------------------------------------------------------

@pytest.mark.parametrize("block", range(10))
def test_valid_macs_equal_brute_force_convolution(block):
    rng = np.random.default_rng(block)
    for _ in range(100):
        layer = random_layer(rng)
        act, weight = random_masks(rng, layer)
        want = convolve(act, weight, layer)
        for isa in runnable_isa_levels():
            assert kernels.valid_macs(act, weight, layer, isa=isa) == want, layer
        got = CORRECTED.layer(layer, act, weight)
        assert got["valid_macs"] == want
        assert got["columns"] == columns_corrected(act, layer, CORRECTED.mapping(layer)["C0"])
        assert got["sparsity"] == pytest.approx(1 - act.mean(), abs=1e-15)


def test_one_pixel_even_kernel_and_wide_rows():
    rng = np.random.default_rng(1)
    for h, w, k in [(1, 1, 5), (1, 1, 1), (6, 6, 2), (5, 5, 4), (2, 130, 3), (64, 64, 2), (65, 65, 3)]:
        layer = Layer("x", in_channels=2, out_channels=3, in_h=h, in_w=w, kernel_h=k, kernel_w=k, padding="same")
        act, weight = random_masks(rng, layer)
        act[:, 0] = weight[:, :, 0] = True
        assert CORRECTED.layer(layer, act, weight)["valid_macs"] == convolve(act, weight, layer)


# ---- acceptance 2: cycles of the public code ------------------------------------------------------------------------

def test_golden_all_ones():
    got = ARTIFACT.layer(GOLDEN, np.ones((64, 56, 56), bool))
    assert got["valid_macs"] == 64 * 64 * (3 * 56 - 2) ** 2 == 112_869_376
    assert got["address_checks"] == 516_096
    assert ARTIFACT.mapping(GOLDEN)["A"] == 516_096
    assert got["cycles"] == int((4 * 112_869_376 + 516_096 + 12 * 64 * 56) / 192)
    assert got["seconds"] == got["cycles"] / 200e6


def test_artifact_cycles_equal_the_closed_form():
    rng, done = np.random.default_rng(2), 0
    while done < 300:
        layer = random_layer(rng, square=True)
        layer = replace(layer, in_h=(h := int(rng.integers(layer.in_h, 40))), in_w=h)
        fitted = fits_artifact(layer)
        if fitted is None:
            with pytest.raises(ValueError, match=r"layer 'random': in_channels: .* C0\*C1\*C2"):
                ARTIFACT.mapping(layer)
            continue
        counted, mapping = fitted
        act, weight = random_masks(rng, layer)
        got = ARTIFACT.layer(layer, act, weight)
        macs = int((kernels.window_counts(act, counted) * kernels.weight_counts(weight, layer.groups)).sum())
        z = columns_artifact(act, layer.kernel_h, mapping)
        assert (got["valid_macs"], got["columns"]) == (macs, z)
        assert got["cycles"] == int((4 * macs + mapping["A"] + mapping["w"] * z) / 192)
        if macs < 3000:
            assert macs == convolve(act, weight, counted)
        done += 1


@pytest.mark.parametrize("glb", [4000, 2500])
def test_artifact_mapping_of_whole_networks(glb):
    machine = accel.EyerissV2("artifact", iact_glb_bytes=glb)
    for name in ("resnet50", "vgg16", "mobilenet_v1", "ssd300_resnet18"):
        for layer in networks.get(name):
            want = map_artifact(layer.in_channels, layer.out_channels, layer.kernel_h, layer.in_h, layer.groups,
                                3 * 8 * glb)
            got = machine.mapping(layer)
            assert (got["F0"], got["F1"], got["F2"], got["A"], got["weight_factor"]) == tuple(want.values())


def test_linear_layer_is_a_convolution_of_one_pixel():
    rng = np.random.default_rng(3)
    act, weight = rng.random((4, 96)) < 0.5, rng.random((40, 96)) < 0.3
    fc = Layer("fc", "linear", in_channels=96, out_channels=40)
    conv = Layer("fc", in_channels=96, out_channels=40)
    for machine in (ARTIFACT, CORRECTED):
        got = machine.layer(fc, act, weight)
        np.testing.assert_array_equal(got, machine.layer(conv, act[..., None, None], weight[..., None, None]))
        np.testing.assert_array_equal(got["valid_macs"], (act.astype(int) @ weight.T.astype(int)).sum(axis=1))
    odd = Layer("fc", "linear", in_channels=40, out_channels=7)  # 40 is no multiple of the column depth 16
    act = rng.random((3, 40)) < 0.1
    np.testing.assert_array_equal(CORRECTED.layer(odd, act)["columns"],
                                  [sum(a[i:i + 16].any() for i in (0, 16, 32)) for a in act])


def test_against_the_public_file():
    folder = os.environ.get("SPARSE_DYSTA_DIR", "")
    torch = pytest.importorskip("torch")
    path = Path(folder) / "hw_simulator" / "cnn_eyerissv2"
    if not folder or not path.is_dir():
        pytest.skip("SPARSE_DYSTA_DIR names no checkout of the public simulator")
    sys.path.insert(0, str(path))
    public = pytest.importorskip("hw_eyerissv2")
    glb_bytes = int(public.EyerissV2_Configs["IACT_GLB"]["Size"]) // 8
    machine = accel.EyerissV2("artifact", iact_glb_bytes=glb_bytes)
    rng = np.random.default_rng(4)
    cases = [(3, 8, 7, 30, 1), (16, 16, 3, 28, 1), (16, 16, 3, 28, 16), (64, 32, 1, 14, 1), (8, 8, 5, 9, 2)]
    for c, m, k, h, g in cases:
        layer = Layer("x", in_channels=c, out_channels=m, kernel_h=k, kernel_w=k, in_h=h, in_w=h, groups=g,
                      padding="same")
        act, weight = rng.random((c, h, h)) < 0.4, rng.random((m, c // g, k, k)) < 0.6
        want = public.EyerissV2().simulate(torch.tensor(act[None]).float(), torch.tensor(weight).float(), group=g)
        assert int(machine.layer(layer, act, weight)["cycles"]) == pytest.approx(want, rel=1e-6, abs=1)


# ---- acceptance 3: all ones, all zeros ------------------------------------------------------------------------------

@profile
@given(seed=st.integers(0, 2**32))
def test_all_ones_and_all_zeros(seed):
    layer = random_layer(np.random.default_rng(seed))
    (sh, sw), (dh, dw), (ph, pw) = layer.stride_hw, layer.dilation_hw, layer.padding_hw
    rows = sum(0 <= o * sh + i * dh - ph < layer.in_h for o in range(layer.out_h) for i in range(layer.kernel_h))
    cols = sum(0 <= o * sw + j * dw - pw < layer.in_w for o in range(layer.out_w) for j in range(layer.kernel_w))
    ones = CORRECTED.layer(layer, np.ones((layer.in_channels, layer.in_h, layer.in_w), bool))
    pairs = layer.in_channels * layer.out_channels // layer.groups
    assert ones["valid_macs"] == pairs * rows * cols
    assert ones["sparsity"] == 0
    assert CORRECTED.cost(layer)["cycles"] == ones["cycles"]
    zeros = CORRECTED.layer(layer, np.zeros((layer.in_channels, layer.in_h, layer.in_w), bool))
    assert (zeros["valid_macs"], zeros["columns"], zeros["sparsity"]) == (0, 0, 1)
    assert zeros["cycles"] == CORRECTED.mapping(layer)["A"] // 192 == CORRECTED.cost(layer, 0.0)["cycles"]


def test_all_ones_same_padding_boundary_terms():
    for c, m, k, h, g in [(64, 64, 3, 56, 1), (32, 32, 3, 112, 32), (16, 8, 5, 14, 2), (4, 4, 2, 9, 1)]:
        layer = Layer("x", in_channels=c, out_channels=m, in_h=h, in_w=h, kernel_h=k, kernel_w=k, groups=g)
        per_axis = k * h - sum(abs(i - (k - 1) // 2) for i in range(k))
        got = ARTIFACT.layer(layer, np.ones((c, h, h), np.float32))
        assert got["valid_macs"] == c * m // g * per_axis**2
        assert ARTIFACT.layer(layer, np.zeros((c, h, h)))["cycles"] == int(ARTIFACT.mapping(layer)["A"] / 192)
        assert ARTIFACT.cost(layer)["cycles"] == got["cycles"]


# ---- acceptance 4: metamorphic relations ----------------------------------------------------------------------------

@pytest.mark.parametrize("machine", [ARTIFACT, CORRECTED], ids=repr)
@profile
@given(seed=st.integers(0, 2**32))
def test_adding_a_nonzero_never_lowers_anything(machine, seed):
    rng = np.random.default_rng(seed)
    layer = Layer("x", in_channels=8, out_channels=6, in_h=12, in_w=12, kernel_h=3, kernel_w=3, padding="same",
                  stride=2, groups=2)
    act, weight = random_masks(rng, layer)
    before = machine.layer(layer, act, weight)
    act.flat[rng.integers(act.size)] = True
    weight.flat[rng.integers(weight.size)] = True
    after = machine.layer(layer, act, weight)
    for name in ("valid_macs", "columns", "cycles"):
        assert after[name] >= before[name]


@profile
@given(seed=st.integers(0, 2**32))
def test_permuting_channels_and_transposing(seed):
    rng = np.random.default_rng(seed)
    layer = Layer("x", in_channels=16, out_channels=6, in_h=11, in_w=11, kernel_h=3, kernel_w=3, padding="same")
    act, weight = random_masks(rng, layer)
    order = rng.permutation(16)
    base, shuffled = ARTIFACT.layer(layer, act, weight), ARTIFACT.layer(layer, act[order], weight[:, order])
    assert base == shuffled
    turned = ARTIFACT.layer(layer, act.transpose(0, 2, 1), weight.transpose(0, 1, 3, 2))
    assert turned["valid_macs"] == base["valid_macs"]
    permuted = CORRECTED.layer(layer, act[order], weight[:, order])
    assert permuted["valid_macs"] == CORRECTED.layer(layer, act, weight)["valid_macs"]


# ---- inputs of every kind -------------------------------------------------------------------------------------------

def test_masks_counts_and_batches_agree():
    rng = np.random.default_rng(6)
    act = rng.normal(size=(2, 3, 64, 56, 56)).astype(np.float32)
    act[act < 0.5] = 0
    weight = rng.normal(size=(64, 64, 3, 3)) * kernels.prune(np.ones((64, 64, 3, 3)), 0.8, rng=1)
    got = ARTIFACT.layer(GOLDEN, act, weight)
    assert got.shape == (2, 3)
    assert got.dtype == LAYER
    packed = ARTIFACT.layer(GOLDEN, kernels.pack_mask(act), kernels.weight_counts(weight))
    np.testing.assert_array_equal(got, packed)
    np.testing.assert_array_equal(got[1, 2], ARTIFACT.layer(GOLDEN, act[1, 2].astype(np.float64), weight))
    np.testing.assert_allclose(got["sparsity"], (act == 0).mean(axis=(2, 3, 4)), rtol=1e-14)
    assert ARTIFACT.layer(GOLDEN, act[:0]).shape == (0, 3)
    assert ARTIFACT.cost(GOLDEN, np.zeros((2, 0))).shape == (2, 0)


def test_network_by_name_and_by_order():
    net = Network("n", (replace(GOLDEN, name="a", in_h=14, in_w=14),
                        Layer("b", "linear", in_channels=64, out_channels=10)))
    rng = np.random.default_rng(7)
    acts = {"a": rng.random((5, 64, 14, 14)) < 0.5, "b": rng.random((5, 64)) < 0.5}
    weights = {"b": rng.random((10, 64)) < 0.5}
    got = ARTIFACT.network(net, acts, weights)
    assert got.shape == (5, 2)
    np.testing.assert_array_equal(got[:, 0], ARTIFACT.layer(net[0], acts["a"]))
    np.testing.assert_array_equal(got, ARTIFACT.network(net, [acts["a"], acts["b"]], [None, weights["b"]]))
    with pytest.raises(ValueError, match="acts: expected an activation of layer 'b'"):
        ARTIFACT.network(net, {"a": acts["a"]})
    with pytest.raises(ValueError, match="acts: expected 2 layers, got 1"):
        ARTIFACT.network(net, [acts["a"]])
    with pytest.raises(ValueError, match="acts: expected the same leading axes"):
        ARTIFACT.network(net, {"a": acts["a"], "b": acts["b"][:2]})


# ---- densities ------------------------------------------------------------------------------------------------------

def test_expected_cost_is_the_mean_over_random_masks():
    rng = np.random.default_rng(8)
    layer = Layer("x", in_channels=24, out_channels=16, in_h=16, in_w=13, kernel_h=3, kernel_w=3, stride=2, padding=1)
    weight = kernels.prune(np.ones((16, 24, 3, 3)), 0.75, rng=2)
    act = rng.random((800, 24, 16, 13)) < 0.08
    exact = CORRECTED.layer(layer, act, weight)
    expected = CORRECTED.cost(layer, 0.08, weight_density=0.75)
    for mean, sd, want in [(exact["cycles"].mean(), exact["cycles"].std(), expected["cycles"])]:
        assert abs(mean - want) < 4 * sd / math.sqrt(800) + 1
    square = replace(layer, in_w=16, in_channels=32)
    act = rng.random((800, 32, 16, 16)) < 0.01
    exact = ARTIFACT.layer(square, act)
    assert abs(exact["cycles"].mean() - ARTIFACT.cost(square, 0.01)["cycles"]) < 4 * exact["cycles"].std() / 28 + 1


def test_cost_broadcasts_over_samples_and_layers():
    net = networks.get("resnet50")
    rng = np.random.default_rng(9)
    density = rng.random((7, len(net)))
    got = CORRECTED.cost(net, density, weight_density=0.8)
    assert got.shape == (7, len(net))
    i = len(net) // 2
    alone = CORRECTED.cost(net[i], density[:, i], weight_density=0.8)
    assert got[:, i].tobytes() == alone.tobytes()
    np.testing.assert_array_equal(got[:, 0]["seconds"], CORRECTED.cost(net[0], density[:, 0])["seconds"])  # stays dense
    assert np.isnan(got["energy_j"]).all()
    assert np.isnan(got["dram_bytes"]["ifm"]).all()
    assert (got["bound"] == "compute").all()
    assert (got["utilization"] <= 0.25).all()
    assert CORRECTED.cost(net).shape == (len(net),)


def test_batch_repeats_the_work_and_loads_weights_once():
    layer = Layer("fc", "linear", in_channels=4096, out_channels=4096)
    machine = accel.EyerissV2(memory=True)
    one, many = machine.cost(layer, 0.5), machine.cost(layer, 0.5, batch=16)
    assert one["bound"] == "weights"
    assert many["dram_bytes"]["weights"] == one["dram_bytes"]["weights"] == 4096 * 4096 * 1.5
    assert many["dram_bytes"]["ifm"] == 16 * one["dram_bytes"]["ifm"]
    plain = CORRECTED.cost(layer, 0.5, batch=16)
    assert plain["cycles"] == pytest.approx(16 * CORRECTED.cost(layer, 0.5)["cycles"], rel=1e-4)
    assert many["cycles"] >= plain["cycles"]


def test_memory_time_of_exact_masks():
    layer = Layer("fc", "linear", in_channels=512, out_channels=1000)
    act = np.arange(512) < 64
    got = accel.EyerissV2(memory=True).layer(layer, act)
    traffic = 64 * 1.5 + 512000 * 1.5 + 1000
    assert got["cycles"] == math.ceil(traffic / 25.6e9 * 200e6)
    assert CORRECTED.layer(layer, act)["cycles"] < got["cycles"]


def test_imbalance_takes_the_fullest_partition():
    layer = Layer("x", in_channels=64, out_channels=64, in_h=6, in_w=6, kernel_h=1, kernel_w=1)
    machine = accel.EyerissV2(imbalance=True)
    act, weight = np.ones((64, 6, 6), bool), np.ones((64, 64, 1, 1), bool)
    assert machine.layer(layer, act, weight) == CORRECTED.layer(layer, act, weight)
    fields = machine.mapping(layer)
    assert (fields["C0"], fields["C1"], fields["M1"], fields["S1"]) == (16, 4, 2, 1)
    act[16:] = False  # one of four channel partitions works
    weight[32:] = False  # and one of two filter partitions
    lone, even = machine.layer(layer, act, weight), CORRECTED.layer(layer, act, weight)
    assert lone["valid_macs"] == even["valid_macs"] == 16 * 32 * 36
    checks = fields["A"] + fields["weight_factor"] * int(even["columns"])
    assert lone["cycles"] == (4 * 8 * 16 * 32 * 36 + checks) // 192
    with pytest.raises(ValueError, match="imbalance needs weights"):
        machine.layer(layer, act, kernels.weight_counts(weight))


# ---- rejected input -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("call", "message"), [
    (lambda: accel.get("tpu"), "name: expected one of eyeriss_v2, sanger, got 'tpu'"),
    (lambda: accel.EyerissV2("public"), "compat: expected 'artifact' or 'corrected', got 'public'"),
    (lambda: accel.EyerissV2(iact_glb_bytes=0), "iact_glb_bytes: expected an integer in"),
    (lambda: accel.EyerissV2("artifact", memory=True), "imbalance, memory: expected False"),
    (lambda: ARTIFACT.layer(GOLDEN, np.ones((2, 64, 56, 55))), "act: layer 'golden': expected trailing axes"),
    (lambda: ARTIFACT.layer(GOLDEN, np.full((64, 56, 56), np.nan)), "act: layer 'golden': expected finite values, got"),
    (lambda: ARTIFACT.layer(GOLDEN, np.full((64, 56, 56), np.inf, np.float32)), "expected finite values, got 200704"),
    (lambda: ARTIFACT.layer(GOLDEN, np.ones((64, 56, 56)), np.ones((64, 64, 3, 2))), "weight: layer 'golden'"),
    (lambda: ARTIFACT.layer(replace(GOLDEN, in_w=57), np.ones((64, 56, 57))), "layer 'golden': in_h, in_w: .* square"),
    (lambda: ARTIFACT.mapping(Layer("x", in_channels=24, out_channels=8, in_h=8, in_w=8)), r"layer 'x': in_channels: "),
    (lambda: ARTIFACT.mapping(Layer("x", in_channels=4, out_channels=8, in_h=20, in_w=20, kernel_h=17, kernel_w=17)),
     "layer 'x': kernel_h: expected at most 16"),
    (lambda: ARTIFACT.mapping(replace(GOLDEN, in_h=4000, in_w=4000)), "layer 'golden': iact_glb_bytes: one output col"),
    (lambda: ARTIFACT.mapping(Layer("a", "attention", heads=1, seq_len=64, hidden=64)), "layer 'a': Eyeriss v2 models"),
    (lambda: ARTIFACT.cost(GOLDEN, 1.5), r"density: expected numbers in \[0, 1\], got 1.5"),
    (lambda: ARTIFACT.cost(GOLDEN, weight_density=np.nan), r"weight_density: expected numbers in \[0, 1\], got nan"),
    (lambda: ARTIFACT.cost(GOLDEN, batch=2), "batch: compat='artifact' runs one input at a time, got 2"),
    (lambda: CORRECTED.cost(GOLDEN, batch=0), "batch: expected an integer >= 1, got 0"),
    (lambda: CORRECTED.cost(networks.get("vgg16"), np.ones(5)), "density: expected a last axis of 16 layers"),
    (lambda: CORRECTED.layer(Layer("f", "linear", in_channels=2, out_channels=2), np.ones(2),
                             np.array([-1, 1], np.int32)), "weight: expected counts >= 0, got -1"),
])
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_cost_of_something_else_is_a_type_error():
    with pytest.raises(TypeError, match="expected a Layer or a Network, got str"):
        ARTIFACT.cost("resnet50")


# ---- acceptance 6: CSV ----------------------------------------------------------------------------------------------

def test_results_survive_the_csv_schema(tmp_path):
    rng = np.random.default_rng(10)
    acts = [rng.random((4, 64, 56, 56)) < p for p in (0.2, 0.6)]
    net = Network("n", (GOLDEN, replace(GOLDEN, name="second", stride=2)))
    cost = ARTIFACT.network(net, acts)
    trace = traces.Trace(cost["seconds"], cost["sparsity"], model="n")
    path = tmp_path / "n.csv"
    traces.write_dysta_csv(path, trace, "eyeriss_v2")
    again = traces.read_dysta_csv(path, accelerator="eyeriss_v2")
    np.testing.assert_array_equal(again.latency, cost["seconds"])
    np.testing.assert_allclose(again.sparsity, cost["sparsity"], atol=1e-15)
    header, *rows = path.read_text().splitlines()
    order = rng.permutation(len(header.split(",")))
    path.write_text("\n".join(",".join(np.array(line.split(","))[order]) for line in (header, *rows)) + "\n")
    np.testing.assert_array_equal(traces.read_dysta_csv(path, accelerator="eyeriss_v2").latency, cost["seconds"])
