"""Generated trace sets: exact means, reproducible bytes, statistics against the published targets."""

import hashlib
import math
import tomllib

import numpy as np
import pytest

from dnnsched import _sets, networks, paths, traces
from dnnsched._latent import exp, int_power, latent_field, log, normal_quantile, normals, tukey_gh, uniforms

CALIBRATED = ("multi-attnn-calibrated", "multi-cnn-calibrated")


def same_bytes(a, b):
    return all(a[key].latency.tobytes() == b[key].latency.tobytes()
               and a[key].sparsity.tobytes() == b[key].sparsity.tobytes() for key in a)


# ---- random fields ------------------------------------------------------------------------------

def test_normal_quantile_matches_published_and_inverts_erfc():
    from math import erfc, sqrt
    # Wichura 1988, section 4: argument -> value of PPND16.
    for p, x in ((0.25, -0.6744897501960817), (0.001, -3.090232306167814), (1e-20, -9.262340089798408)):
        assert normal_quantile(np.array([p]))[0] == pytest.approx(x, rel=1e-14)
    p = np.concatenate([np.logspace(-300, -1, 400), np.linspace(0.01, 0.5, 200)])
    back = np.array([0.5 * erfc(-x / sqrt(2.0)) for x in normal_quantile(p)])
    np.testing.assert_allclose(back, p, rtol=1e-11)
    eighth = np.array([0.125, 0.25])
    np.testing.assert_array_equal(normal_quantile(1.0 - eighth), -normal_quantile(eighth))


def test_uniforms_are_open_and_streams_differ():
    u = uniforms("x", 0, ("a",), 200_000)
    assert u.min() > 0.0
    assert u.max() < 1.0
    assert abs(u.mean() - 0.5) < 4 * np.sqrt(1 / 12 / u.size)
    assert not np.array_equal(u[:8], uniforms("x", 1, ("a",), 8))
    assert not np.array_equal(u[:8], uniforms("x", 0, ("b",), 8))
    assert not np.array_equal(u[:8], uniforms("y", 0, ("a",), 8))
    np.testing.assert_array_equal(u[:8], uniforms("x", 0, ("a",), (2, 4)).ravel())


def test_uniforms_golden_words():
    # Fixed by NumPy's stream promise for SeedSequence and PCG64; a change would silently change every set.
    words = uniforms("multi-attnn", 0, ("bert", 3), 2).view(np.int64)
    np.testing.assert_array_equal(words, [4602680883791434601, 4606873738467341113])


def test_latent_field_covariance():
    n, shared, phi = 200_000, np.array([0.9, 0.9, 0.5, 0.9]), 0.5
    z = normals("cov", 0, ("z",), (n, 5))
    field = latent_field(z[:, 0], z[:, 1:], shared, phi)
    lag = np.abs(np.subtract.outer(np.arange(4), np.arange(4)))
    expected = np.sqrt(np.outer(shared, shared)) + np.sqrt(np.outer(1 - shared, 1 - shared)) * phi**lag
    np.testing.assert_allclose(np.cov(field.T), expected, atol=5 / np.sqrt(n) * 1.5)


def test_tukey_median_and_monotone():
    z = np.linspace(-4, 4, 801)
    y = tukey_gh(z, 0.4, 0.1)
    assert y[400] == 0.0
    assert (np.diff(y) > 0).all()


# ---- set A --------------------------------------------------------------------------------------

def test_calibrated_attention_constants():
    ts = traces.load("multi-attnn-calibrated")
    assert [t.n_layers for t in ts.values()] == [12, 36, 12]
    assert ts.meta["model_mean"] == "own"
    for trace, mean in zip(ts.values(), (0.0167, 0.0600, 0.0193), strict=True):
        assert trace.n_samples == 7
        assert (trace.latency == mean / trace.n_layers).all()
        assert (trace.sparsity == 0.75).all()


def test_calibrated_cnn_constants_and_order():
    ts = traces.load("multi-cnn-calibrated")
    means = [.024, .463, .035, .224, .408, .301, .237, .212, .604, .042, .492, .296]
    np.testing.assert_allclose(ts.mean_isolated_s, means, rtol=1e-14)
    assert [t.model for t in ts.values()] == ["mobilenet", "vgg16", "mobilenet", "resnet50", "vgg16", "resnet50",
                                              "ssd300", "resnet50", "vgg16", "mobilenet", "ssd300", "ssd300"]
    layers = {"mobilenet": 28, "resnet50": 54, "vgg16": 16, "ssd300": len(networks.get("ssd300"))}
    assert all(t.n_layers == layers[t.model] for t in ts.values())
    for model in layers:
        assert sorted(t.pattern for t in ts.values() if t.model == model) == ["pattern_a", "pattern_b", "pattern_c"]
    assert ts.meta.get("model_mean", "weighted") == "weighted"


@pytest.mark.parametrize("name", CALIBRATED)
@pytest.mark.parametrize("variant", ["cv10", "cv18"])
def test_calibrated_means_exact_in_every_draw(name, variant):
    expected = traces.load(name).mean_isolated_s
    for draw in range(12):
        ts = traces.load(name, variant=variant, draw=draw)
        np.testing.assert_allclose(ts.mean_isolated_s, expected, rtol=1e-14)
        for trace in ts.values():
            gamma = (1 - trace.sparsity) / (1 - trace.sparsity).mean(axis=0)
            np.testing.assert_allclose(gamma, trace.latency / trace.latency.mean(axis=0), rtol=1e-12)


@pytest.mark.parametrize(("variant", "cv"), [("cv10", 0.10), ("cv18", 0.18)])
def test_calibrated_variability(variant, cv):
    ts = traces.load("multi-attnn-calibrated", variant=variant, n_samples=20_000)
    for trace in ts.values():
        x = np.log(trace.latency)
        assert np.allclose(trace.latency.std(axis=0) / trace.latency.mean(axis=0), cv, rtol=0.03)
        corr = np.corrcoef(x.T)
        assert np.allclose(corr[~np.eye(len(corr), dtype=bool)], 0.93, atol=0.01)
        assert np.allclose(x.std(axis=0), np.sqrt(np.log1p(cv * cv)), rtol=0.03)


@pytest.mark.parametrize("name", CALIBRATED)
def test_calibrated_says_what_was_fitted(name):
    ts = traces.load(name, variant="cv10", draw=3)
    assert ts.origin == "calibrated"
    assert all(t.origin == "calibrated" for t in ts.values())
    assert (ts.meta["variant"], ts.meta["draw"], ts.meta["cv"]) == ("cv10", 3, 0.10)
    assert ts.meta["fitted"]
    assert ts.meta["predicted"]
    assert "not known" in ts.meta["names"]


@pytest.mark.parametrize("name", CALIBRATED)
def test_sidecar_agrees_with_the_set(name):
    sidecar = tomllib.loads((paths.data_dir() / "calibration" / f"{name}.toml").read_text("utf-8"))
    ts = traces.load(name)
    for field in ("fitted", "predicted", "names", "source"):
        assert sidecar[field] == ts.meta[field]
    files = [(f["key"], f["layers"], f["mean_isolated_s"]) for f in sidecar["file"]]
    assert files == [(key, t.n_layers, t.meta["mean_isolated_s"]) for key, t in ts.items()]


@pytest.mark.parametrize("name", CALIBRATED)
def test_calibrated_bytes(name):
    a, b = (traces.load(name, variant="cv18", draw=2) for _ in range(2))
    assert same_bytes(a, b)
    assert not same_bytes(a, traces.load(name, variant="cv18", draw=3))
    assert same_bytes(traces.load(name, draw=0), traces.load(name, draw=1))


@pytest.mark.parametrize(("options", "what"), [
    ({"variant": "cv11"}, "variant"), ({"draw": -1}, "draw"), ({"n_samples": 0}, "n_samples"), ({"draw": 1.5}, "draw")])
def test_calibrated_bad_options(options, what):
    with pytest.raises((ValueError, TypeError), match=what):
        traces.load("multi-attnn-calibrated", **options)


def test_calibrated_unknown_name():
    with pytest.raises(ValueError, match="name"):
        _sets.calibrated("multi-attn")


# ---- the same bits on every machine -------------------------------------------------------------

def test_exp_and_log_are_within_an_ulp():
    x = np.concatenate([np.linspace(-40, 40, 40_001), np.linspace(-1e-3, 1e-3, 2_001), [0.0, -700.0, 700.0, 1e4]])
    reference = np.array([math.exp(v) if v <= 700 else math.exp(700) for v in x])
    assert (np.abs(exp(x) - reference) <= np.spacing(reference)).all()
    y = np.concatenate([np.logspace(-300, 300, 40_001), np.linspace(0.5, 2.0, 40_001)])
    reference = np.array([math.log(v) for v in y])
    assert (np.abs(log(y) - reference) <= np.spacing(np.abs(reference) + 1e-300)).all()
    assert exp(np.array([0.0]))[0] == 1.0
    assert log(np.array([1.0]))[0] == 0.0


def test_int_power():
    base = np.array([0.0, 0.3, 1.0, 1.7])
    for n in (0, 1, 2, 7, 64, 333):
        np.testing.assert_allclose(int_power(base, n), base**n, rtol=1e-13)


def digest(ts):
    out = hashlib.sha256()
    for key, trace in ts.items():
        out.update(key.encode() + trace.latency.tobytes() + trace.sparsity.tobytes())
    return out.hexdigest()[:32]


@pytest.mark.parametrize(("name", "options", "expected"), [
    ("multi-attnn-calibrated", {"variant": "cv10"}, "6ff8b245951c6cbd0cd9dcdf7244f7a8"),
    ("multi-cnn-calibrated", {"variant": "cv18", "draw": 4}, "649237857718941846669395a142cc0f"),
    ("multi-attnn", {"draw": 1}, "aa4a12c2c6c4aa403cb73a943df2e3c1"),
    ("multi-cnn", {"draw": 2, "n_samples": 40}, "71bdcfcacbdb680cc583545ec8242f76")])
def test_golden_bytes(name, options, expected):
    # Platform independent; a deliberate change of a generator changes them, and every published number with it.
    assert digest(traces.load(name, **options)) == expected
