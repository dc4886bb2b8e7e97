"""Sanger: latency against its closed form, mask statistics against NumPy, prediction against its definition."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnsched import accel, kernels, networks, traces
from dnnsched.accel import sanger_mask, sanger_mask_stats
from dnnsched.config import runnable_isa_levels
from dnnsched.layers import Layer

profile = settings(max_examples=60, deadline=None)
ARTIFACT, CORRECTED = accel.Sanger("artifact"), accel.Sanger("corrected")


# ---- oracles --------------------------------------------------------------------------------------------------------

def step_formula(density, lb, s, version=2, width=768):
    """Latency of the public code, in its own steps; seconds."""
    linear = 3 * 2 * s * width**2 / 2048e9
    project = 2 * s * width**2 * (density / lb) / 2048e9
    if version == 1:
        return linear + (2 * 2 * s**2 * width + 2 * s * width**2) * (density / lb) / 2048e9
    n = density / lb / 0.25 * s
    tile = (width + 64) + (n + 64)
    return linear + (n / 64) * tile * (s / 64) / 1e9 + project


def stats_oracle(mask, key, pes, artifact):
    """(density, lb_skip, lb_no_skip) of one sequence's masks (heads, s, s), by loops over vectors."""
    heads, s, _ = mask.shape
    attended = np.outer(key, key)
    inside = mask & attended
    counted = mask if artifact else inside
    ones = passes = empty = filled = 0
    for h, q, v in np.ndindex(heads, s, s // 64):
        cut = slice(64 * v, 64 * v + 64)
        if not attended[q, cut].any():
            continue
        n = int(counted[h, q, cut].sum())
        ones, passes = ones + n, passes + -(-n // pes)
        filled, empty = filled + (n > 0), empty + (n == 0)
    skip = ones / (pes * passes) if passes else 0.0
    extra = passes + (filled if artifact else empty)
    return inside.sum() / (heads * attended.sum()), skip, ones / (pes * extra) if extra else 0.0


def groups_oracle(mask, pes):
    """Greedy packing of one mask (s, s), column by column."""
    groups = 0
    for block in mask.reshape(-1, 64, mask.shape[1]):
        held, open_group = np.zeros(64, int), False
        for column in block.T:
            if (held[column] == pes).any():
                groups, held, open_group = groups + 1, np.zeros(64, int), False
            held += column
            open_group = open_group or bool(column.any())
        groups += open_group
    return groups


def predict_oracle(q, k, key, threshold, bits=4, normalize=True, causal=False):
    """softmax(Q4(q) Q4(k)^T) > threshold in float64; returns the mask and the distance to the threshold."""
    top = 2 ** (bits - 1) - 1
    q, k = q.astype(np.float64), k.astype(np.float64)
    norms = [np.linalg.norm(x, axis=-1, keepdims=True) if normalize else np.ones((*x.shape[:-1], 1)) for x in (q, k)]
    units = [np.divide(x, n, out=np.zeros_like(x), where=n > 0) for x, n in zip((q, k), norms, strict=True)]
    codes = [np.clip(np.round(u * (top / np.abs(u).max())), -top, top) * (np.abs(u).max() / top) for u in units]
    scores = codes[0] @ codes[1].swapaxes(-1, -2) * norms[0] * norms[1].swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    hidden = ~key[None, None, :] | (causal & ~np.tri(q.shape[-2], dtype=bool))
    scores = np.where(hidden, -np.inf, scores)
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)
    return p > threshold, np.abs(p - threshold)


def random_mask(rng, heads, s):
    """Clustered masks: vectors of very different fill."""
    fill = rng.choice([0.0, 0.02, 0.3, 1.0], (heads, s, s // 64, 1)) * rng.random((heads, s, s // 64, 1))
    return (rng.random((heads, s, s // 64, 64)) < fill).reshape(heads, s, s)


# ---- acceptance 5: latency ------------------------------------------------------------------------------------------

def test_closed_form_equals_the_step_formula_on_a_grid():
    density, lb = np.meshgrid(np.linspace(0.01, 1, 100), np.linspace(0.01, 1, 100))
    keep = density <= lb
    density, lb = density[keep], lb[keep]
    for s in (64, 128, 384, 512, 1000):
        for version in (1, 2):
            got = accel.Sanger("artifact", version=version).latency(density, lb, s)
            np.testing.assert_allclose(got, step_formula(density, lb, s, version), rtol=1e-12)
    r = np.linspace(1e-4, 1, 10_000)
    for s in (64, 512, 777):
        a, b = 6 * s * 768**2 / 2048, 2 * s * 768**2 / 2048
        closed = (a + b * r + s**2 / 1024 * r * (896 + 4 * s * r)) * 1e-9
        np.testing.assert_allclose(ARTIFACT.latency(r, 1.0, s), closed, rtol=1e-12)
    np.testing.assert_allclose(ARTIFACT.latency(r, 1.0, 512) * 1e3, 0.884736 + 0.524288 * (r + r**2), rtol=1e-12)


def test_published_table():
    got = ARTIFACT.latency([.1, .25, .5, .75, 1.0], 1.0, [[128], [384], [512]]) * 1e3
    want = [[.2301, .2437, .2673, .2918, .3174], [.7008, .7649, .8940, 1.0506, 1.2349],
            [.9424, 1.0486, 1.2780, 1.5729, 1.9333]]
    np.testing.assert_allclose(got, want, atol=5e-5)


def test_latency_depends_on_the_ratio_only_and_broadcasts():
    assert ARTIFACT.latency(0.25, 0.5, 512) == ARTIFACT.latency(0.5, 1.0, 512)
    assert isinstance(ARTIFACT.latency(0.25, 0.5, 512), float)
    assert ARTIFACT.latency(np.full((3, 1), 0.25), np.full(4, 0.5), 512).shape == (3, 4)
    assert ARTIFACT.latency(np.zeros((0, 2)), 1.0, 64).shape == (0, 2)


def test_an_empty_mask_costs_the_projections():
    for machine in (ARTIFACT, accel.Sanger("artifact", version=1)):
        assert machine.latency(0.0, 0.0, 512) == pytest.approx(6 * 512 * 768**2 / 2048e9, rel=1e-14)
    assert CORRECTED.latency(0.0, 0.0, 512) == pytest.approx(8 * 512 * 768**2 / 2048e9, rel=1e-14)


def test_corrected_counts_whole_tiles_and_the_measured_elements():
    dense = 8 * 500 * 768**2 / 2048e9
    for pes in (16, 32):
        n = 0.3 * 500 * 64 / pes
        want = dense + np.ceil(n / 64) * (832 + n + 64) * np.ceil(500 / 64) / 1e9
        assert accel.Sanger(pes=pes).latency(0.3, 1.0, 500) == pytest.approx(want, rel=1e-12)
    want = dense + 4 * 500**2 * 768 * 0.3 / 2048e9
    assert accel.Sanger(version=1).latency(0.3, 1.0, 500) == pytest.approx(want, rel=1e-12)


def test_impossible_ratio_warns():
    with pytest.warns(RuntimeWarning, match="density / lb: expected at most 1.02, got 2"):
        ARTIFACT.latency(1.0, 0.5, 512)


# ---- acceptance 5: statistics ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("block", range(10))
def test_stats_equal_numpy_on_500_random_masks(block):
    rng = np.random.default_rng(block)
    for _ in range(50):
        heads, s, pes = int(rng.integers(1, 3)), 64 * int(rng.integers(1, 3)), int(rng.choice([16, 32, 5, 64]))
        mask, key = random_mask(rng, heads, s), np.arange(s) < rng.integers(1, s + 1)
        for compat in ("artifact", "corrected"):
            got = sanger_mask_stats(mask, key, pes=pes, compat=compat)
            want = stats_oracle(mask, key, pes, compat == "artifact")
            np.testing.assert_allclose([got["density"], got["lb_skip"], got["lb_no_skip"]], want, rtol=1e-14)
            assert got["lb"] == got["lb_skip"]
        if got["nonzeros"]:
            assert 0 < got["lb"] <= 1
            r = got["density"] / got["lb"]
            assert r >= got["density"] * (1 - 1e-12)
            full = sanger_mask_stats(mask, pes=pes)  # without padding r is at most 1 for elements that divide 64
            if 64 % pes == 0 and full["nonzeros"]:
                assert full["density"] / full["lb"] <= 1 + 1e-12


def test_stats_of_hardware_packing():
    rng = np.random.default_rng(1)
    for _ in range(20):
        mask = random_mask(rng, 2, 128)
        got = sanger_mask_stats(mask, pes=16, pack="rtl")
        assert got["groups"] == sum(groups_oracle(m, 16) for m in mask)
        if got["groups"]:
            assert got["lb"] == mask.sum() / (16 * 64 * got["groups"])
    assert sanger_mask_stats(np.ones((1, 64, 64)), pes=16, pack="rtl")["lb"] == 1.0


@profile
@given(seed=st.integers(0, 2**32), pack=st.sampled_from(["split", "rtl"]))
def test_permuting_heads_and_sequences(seed, pack):
    rng = np.random.default_rng(seed)
    masks = np.stack([random_mask(rng, 3, 64) for _ in range(4)])
    keys = np.arange(64) < rng.integers(1, 65, (4, 1))
    base = sanger_mask_stats(masks, keys, pack=pack)
    assert base.shape == (4,)
    order = rng.permutation(4)
    assert sanger_mask_stats(masks[order], keys[order], pack=pack).tobytes() == base[order].tobytes()
    assert sanger_mask_stats(masks[:, ::-1], keys, pack=pack).tobytes() == base.tobytes()
    pooled = sanger_mask_stats(masks, keys, pooled=True, pack=pack)
    assert pooled.tobytes() == sanger_mask_stats(masks[order], keys[order], pooled=True, pack=pack).tobytes() or \
        pooled["density"] == pytest.approx(base["density"].mean())
    assert pooled["segments"] == base["segments"].sum()


def test_doubling_every_column_block_keeps_the_load_balance():
    rng = np.random.default_rng(2)
    mask = random_mask(rng, 2, 128)
    double = np.concatenate([np.repeat(mask.reshape(2, 128, 2, 64), 2, axis=2).reshape(2, 128, 256)] * 2, axis=1)
    a, b = sanger_mask_stats(mask), sanger_mask_stats(double)
    for name in ("lb_skip", "lb_no_skip", "density"):
        assert a[name] == pytest.approx(b[name], rel=1e-14)


def test_ratio_is_half_the_segments_per_vector():
    rng = np.random.default_rng(3)
    mask = random_mask(rng, 1, 256)
    got = sanger_mask_stats(mask, pes=32)
    assert got["density"] / got["lb"] == pytest.approx(0.5 * got["segments"] / got["vectors"], rel=1e-14)
    assert 0.5 * got["nonempty"] / got["vectors"] <= got["density"] / got["lb"] <= 1
    quarter = sanger_mask_stats(mask, pes=16)
    assert quarter["density"] / quarter["lb"] == pytest.approx(0.25 * quarter["segments"] / quarter["vectors"])


def test_packed_padded_and_pooled_masks():
    rng = np.random.default_rng(4)
    mask = rng.random((2, 3, 100, 100)) < 0.2
    with pytest.raises(ValueError, match="mask: expected a sequence length that is a positive multiple of 64, got 100"):
        sanger_mask_stats(mask)
    got = sanger_mask_stats(mask, pad=True)
    np.testing.assert_allclose(got["density"], mask.mean(axis=(1, 2, 3)), rtol=1e-14)
    assert got.tobytes() == sanger_mask_stats(kernels.pack_mask(mask), pad=True).tobytes()
    single = sanger_mask_stats(mask[0, 0], pad=True)
    assert single.shape == ()
    empty = sanger_mask_stats(np.zeros((64, 64)))
    assert (empty["density"], empty["lb"], empty["lb_no_skip"]) == (0, 0, 0)
    assert ARTIFACT.latency(empty["density"], empty["lb"], 64) > 0
    assert np.isnan(sanger_mask_stats(np.ones((64, 64)), np.zeros(64))["density"])


# ---- prediction -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_prediction_equals_its_definition(bits, normalize, causal):
    rng = np.random.default_rng(bits)
    q, k = rng.normal(size=(2, 3, 4, 70, 16)).astype(np.float32) * 2
    keys = np.arange(70) < np.array([[70], [40], [1]])
    got = sanger_mask(q, k, keys, threshold=0.02, bits=bits, normalize=normalize, causal=causal)
    assert got.shape == (3, 4, 70, 2)
    flags = kernels.unpack_mask(got, 70)
    assert 0 < flags.mean() < 1
    for b in range(3):
        want, distance = predict_oracle(q[b], k[b], keys[b], 0.02, bits, normalize, causal)
        differ = flags[b] != want
        assert (distance[differ] < 1e-12).all()


def test_prediction_feeds_the_statistics():
    rng = np.random.default_rng(5)
    q, k = rng.normal(size=(2, 2, 4, 128, 32))
    mask = sanger_mask(q, k, threshold=0.01)
    layer = Layer("attention", "attention", heads=4, seq_len=128, hidden=128)
    stats, seconds = CORRECTED.layer(layer, mask)
    np.testing.assert_allclose(stats["density"], kernels.unpack_mask(mask, 128).mean(axis=(1, 2, 3)), rtol=1e-14)
    np.testing.assert_array_equal(seconds, accel.Sanger(width=128).latency(stats["density"], stats["lb"], 128))


def test_prediction_ranges_and_zero_rows():
    q = np.zeros((64, 8), np.float32)
    assert kernels.unpack_mask(sanger_mask(q, q, threshold=0.01), 64).all()  # equal scores: 1/64 each
    assert not kernels.unpack_mask(sanger_mask(q, q, threshold=0.02), 64).any()
    rng = np.random.default_rng(6)
    q, k = rng.normal(size=(2, 64, 8))
    unit = max(np.abs(x / np.linalg.norm(x, axis=1, keepdims=True)).max() for x in (q, k))
    default = sanger_mask(q, k)
    wide = sanger_mask(q, k, q_max=100 * unit, k_max=100 * unit)  # every code is zero
    assert kernels.popcount(wide) == 64 * 64
    assert default.tobytes() != wide.tobytes()


@pytest.mark.parametrize("level", runnable_isa_levels())
def test_results_do_not_depend_on_the_level(level):
    code = ("import hashlib, numpy as np; from dnnsched import accel; from dnnsched.layers import Layer\n"
            "r = np.random.default_rng(1); q, k = r.normal(size=(2, 4, 64, 16))\n"
            "m = accel.sanger_mask(q, k, threshold=.01)\n"
            "t = accel.Sanger().latency(r.random(50), 1.0, 512)\n"
            "x = Layer('x', in_channels=9, out_channels=5, in_h=9, in_w=9, kernel_h=3, kernel_w=3)\n"
            "c = accel.EyerissV2().cost(x, r.random(50))\n"
            "print(hashlib.sha256(m.tobytes() + t.tobytes() + c.tobytes()).hexdigest())")
    digests = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60,
                              env={**os.environ, "DNNSCHED_ISA": isa}).stdout for isa in {level, "generic"}}
    assert len(digests) == 1


# ---- cost records ---------------------------------------------------------------------------------------------------

def test_cost_of_layers_and_networks():
    layer = Layer("a", "attention", heads=12, seq_len=512, hidden=768)
    one = ARTIFACT.cost(layer, 0.25, lb=0.5)
    assert one["seconds"] == ARTIFACT.latency(0.25, 0.5, 512)
    assert one["cycles"] == pytest.approx(one["seconds"] * 1e9)
    assert 0 < one["utilization"] <= 1
    assert np.isnan(one["energy_j"])
    assert one["bound"] == "compute"
    attention = [x for x in networks.get("bert_base") if x.kind == "attention"]
    if attention:
        net = type(networks.get("bert_base"))("attention", attention)
        density = np.random.default_rng(0).random((5, len(net)))
        got = CORRECTED.cost(net, density)
        assert got.shape == (5, len(net))
        np.testing.assert_array_equal(got["seconds"][:, 0], CORRECTED.cost(net[0], density[:, 0])["seconds"])
    assert CORRECTED.cost(layer, 0.3, batch=3)["seconds"] == pytest.approx(3 * CORRECTED.cost(layer, 0.3)["seconds"])


def test_names_and_get():
    assert accel.names() == ["eyeriss_v2", "sanger"]
    assert repr(accel.get("sanger", compat="artifact", version=1)) == \
        "Sanger(compat='artifact', version=1, width=768, pes=32)"


# ---- rejected input -------------------------------------------------------------------------------------------------

MASK = np.ones((2, 64, 64), bool)
Q = np.ones((2, 64, 8))


@pytest.mark.parametrize(("call", "message"), [
    (lambda: accel.Sanger("paper"), "compat: expected 'artifact' or 'corrected', got 'paper'"),
    (lambda: accel.Sanger(version=3), "version: expected 1 or 2, got 3"),
    (lambda: accel.Sanger(width=0), "width: expected an integer >= 1, got 0"),
    (lambda: accel.Sanger(pes=65), r"pes: expected an integer in \[1, 64\], got 65"),
    (lambda: ARTIFACT.latency(1.1, 1.0, 512), r"density: expected numbers in \[0, 1\], got 1.1 at index 0"),
    (lambda: ARTIFACT.latency([0.1, np.nan], 1.0, 512), r"density: expected numbers in \[0, 1\], got -?nan at index 1"),
    (lambda: ARTIFACT.latency(0.1, 0.0, 512), r"lb: expected numbers in \(0, 1\], or 0 with density 0, got 0"),
    (lambda: ARTIFACT.latency(0.1, 1.5, 512), r"lb: expected numbers in \(0, 1\]"),
    (lambda: ARTIFACT.latency(0.1, 1.0, 0), "seq_len: expected integers in"),
    (lambda: ARTIFACT.latency(0.1, 1.0, 512.0), "seq_len: expected integers, got dtype float64"),
    (lambda: ARTIFACT.cost(Layer("c", in_channels=1, out_channels=1)), "layer 'c': Sanger models attention layers"),
    (lambda: ARTIFACT.cost(Layer("a", "attention", heads=1, seq_len=64, hidden=64), batch=2), "batch: compat='art"),
    (lambda: sanger_mask_stats(MASK, pack="lru"), "pack: expected 'split' or 'rtl', got 'lru'"),
    (lambda: sanger_mask_stats(MASK, pes=0), r"pes: expected an integer in \[1, 64\], got 0"),
    (lambda: sanger_mask_stats(MASK[0, 0]), "mask: expected shape"),
    (lambda: sanger_mask_stats(MASK[:, :63]), "mask: expected square masks"),
    (lambda: sanger_mask_stats(kernels.pack_mask(np.ones((64, 128)))), "mask: expected 1 words per row of 64 tokens"),
    (lambda: sanger_mask_stats(MASK, np.ones(63)), "key_mask: expected shape"),
    (lambda: sanger_mask_stats(MASK, np.full(64, 2)), "key_mask: expected bool or zeros and ones"),
    (lambda: sanger_mask(Q, Q[:1]), "q, k: expected equal shapes"),
    (lambda: sanger_mask(Q, Q * np.inf), "k: expected finite values, got -?inf at flat index 0"),
    (lambda: sanger_mask(Q, Q, bits=9), r"bits: expected an integer in \[2, 8\], got 9"),
    (lambda: sanger_mask(Q, Q, threshold=1.0), r"threshold: expected a number in \[0, 1\), got 1"),
    (lambda: sanger_mask(Q, Q, np.ones(3)), "key_mask: expected shape"),
])
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ---- acceptance 6: CSV ----------------------------------------------------------------------------------------------

def test_results_survive_the_csv_schema(tmp_path):
    rng = np.random.default_rng(11)
    stats = sanger_mask_stats(np.stack([[random_mask(rng, 2, 128) for _ in range(3)] for _ in range(5)]))
    latency = ARTIFACT.latency(stats["density"], stats["lb"], 512)
    trace = traces.Trace(latency, 1 - stats["density"], model="bert")
    path = tmp_path / "bert.csv"
    traces.write_dysta_csv(path, trace, "sanger", load_balance=stats["lb"], seq_len=512)
    again = traces.read_dysta_csv(path, accelerator="sanger", seq_len=512)
    np.testing.assert_allclose(again.latency, latency, rtol=1e-12)
    np.testing.assert_allclose(again.sparsity, 1 - stats["density"], atol=1e-12)
