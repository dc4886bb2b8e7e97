"""Estimates and predictors against a scalar twin that adds in the stated order, bit for bit."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnsched import policies
from dnnsched._native import _policy
from dnnsched.traces import Trace, TraceSet

KINDS = ("last_one", "average_all", "last_n")


def left_sum(values):
    total = 0.0
    for value in values:
        total = total + float(value)
    return total


def twin_mean(rows):
    return [left_sum(row[layer] for row in rows) / len(rows) for layer in range(len(rows[0]))]


def twin_gamma(s, v, k, kind, n_last, literal, artifact, clamp):
    """gamma of one sample after k layers; s and v are lists of fractions of zeros."""
    if k == 0:
        return 1.0
    window = {"last_one": [k - 1], "average_all": range(k), "last_n": range(max(0, k - n_last), k)}[kind]
    seen = [x if literal else 1.0 - x for x in s]
    known = [x if literal else 1.0 - x for x in v]
    if artifact:
        total = left_sum(1.0 if known[i] == 0 else seen[i] / known[i] for i in window)
        return total / {"last_one": 1, "average_all": k, "last_n": n_last}[kind]
    top, bottom = left_sum(seen[i] for i in window), left_sum(known[i] for i in window)
    return min(max(1.0 if bottom == 0 else top / bottom, clamp[0]), clamp[1])


@st.composite
def trace_sets(draw):
    """One to four keys over one or two models, sparsities including 0 and 1."""
    layers = draw(st.lists(st.integers(1, 6), min_size=2, max_size=2))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    traces = {}
    for i in range(draw(st.integers(1, 4))):
        model = draw(st.integers(0, 1))
        shape = (draw(st.integers(1, 8)), layers[model])
        sparsity = rng.choice([0.0, 1.0, *rng.random(6)], shape) if draw(st.booleans()) else rng.random(shape)
        traces[f"m{model}/{i}"] = Trace(rng.exponential(1e-3, shape) + 1e-6,
                                        sparsity if draw(st.integers(0, 4)) else None, f"m{model}", str(i))
    return TraceSet(traces)


@settings(max_examples=150, deadline=None)
@given(trace_sets(), st.sampled_from([None, *KINDS]), st.booleans(), st.booleans(), st.booleans(),
       st.integers(1, 5), st.floats(0.1, 3.0))
def test_estimate_is_the_twin_bit_for_bit(ts, kind, aware, artifact, literal, n_last, alpha):
    clamp = (0.5, 2.0)
    got = policies.estimate(ts, aware=aware, predictor=kind, n_last=n_last, ratio="literal" if literal else "density",
                            artifact=artifact, alpha=alpha, clamp=clamp)
    own = [twin_mean(t.latency.tolist()) for t in ts.values()]
    for i, trace in enumerate(ts.values()):
        average = own[i]
        if not aware:
            mates = [j for j in range(len(ts)) if ts.model_index[j] == ts.model_index[i]]
            count = sum(ts.n_samples[j] for j in mates)
            average = [left_sum(int(ts.n_samples[j]) * own[j][k] for j in mates) / int(count)
                       for k in range(trace.n_layers)]
        sampled = kind is not None and trace.sparsity is not None
        rows = trace.n_samples if sampled else 1
        assert got[i].remaining.shape == (rows, trace.n_layers)
        v = twin_mean(trace.sparsity.tolist()) if sampled else None
        for r in range(rows):
            for k in range(trace.n_layers):
                g = twin_gamma(trace.sparsity[r].tolist(), v, k, kind, n_last, literal, artifact, clamp) \
                    if sampled else 1.0
                rest = left_sum(average[k:])
                want = rest if kind is None else g * rest if artifact else alpha * g * rest
                assert got[i].gamma[r, k] == g
                assert got[i].remaining[r, k] == want
                assert got[i].next[r, k] == g * average[k]
                assert got[i].isolated[r, k] == left_sum(average)


@settings(max_examples=30, deadline=None)
@given(trace_sets())
def test_true_source_is_each_samples_own_latency(ts):
    for e, trace in zip(policies.estimate(ts, source="true"), ts.values(), strict=True):
        for r in range(trace.n_samples):
            row = trace.latency[r].tolist()
            assert e.remaining[r].tolist() == [left_sum(row[k:]) for k in range(len(row))]
            assert e.isolated[r].tolist() == [left_sum(row)] * len(row)
        assert np.array_equal(e.next, trace.latency)
        assert (e.gamma == 1).all()
        assert all(a.flags.c_contiguous and a.dtype == np.float64 for a in e[:4])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("artifact", [False, True])
def test_equal_sparsity_gives_gamma_one_exactly(kind, artifact):
    v = np.array([0.1, 0.7, 1.0, 0.0, 0.3, 1 / 3])
    gamma = policies.predict_gamma(np.tile(v, (4, 1)), v, kind, artifact=artifact)
    if artifact and kind == "last_n":
        assert (gamma[:, 3:] == 1).all()
        assert (gamma[:, 0] == 1).all()
    else:
        assert (gamma == 1).all()


def test_predictors_coincide_after_one_layer():
    rng = np.random.default_rng(3)
    s, v = rng.random((20, 5)), rng.random(5)
    for artifact in (False, True):
        last, every = (policies.predict_gamma(s, v, kind, artifact=artifact) for kind in ("last_one", "average_all"))
        window = policies.predict_gamma(s, v, "last_n", artifact=artifact)
        assert np.array_equal(last[:, 1], every[:, 1])
        assert np.array_equal(window[:, 1], last[:, 1] / 3 if artifact else last[:, 1])


def test_artifact_last_n_is_average_times_k_over_n_at_first():
    rng = np.random.default_rng(4)
    s, v = rng.random((50, 6)), rng.random(6) * 0.9
    every = policies.predict_gamma(s, v, "average_all", artifact=True)
    window = policies.predict_gamma(s, v, "last_n", artifact=True)
    for k in (1, 2, 3):
        np.testing.assert_allclose(window[:, k], every[:, k] * k / 3, rtol=4e-16)


def test_window_of_all_layers_is_average_all():
    rng = np.random.default_rng(5)
    s, v = rng.random((9, 6)), rng.random(6)
    assert np.array_equal(policies.predict_gamma(s, v, "last_n", n_last=6), policies.predict_gamma(s, v, "average_all"))
    assert np.array_equal(policies.predict_gamma(s, v, "last_n", n_last=1), policies.predict_gamma(s, v, "last_one"))


def test_prediction_uses_executed_layers_only():
    rng = np.random.default_rng(6)
    s, v = rng.random((3, 6)), rng.random(6)
    for kind in KINDS:
        full = policies.predict_gamma(s, v, kind)
        for k in range(6):
            other = s.copy()
            other[:, k:] = rng.random((3, 6 - k))
            assert np.array_equal(policies.predict_gamma(other, v, kind)[:, :k + 1], full[:, :k + 1])


def test_clamps_are_counted():
    ts = TraceSet({"m": Trace(np.ones((2, 3)), [[0.0, 0.5, 0.5], [0.98, 0.5, 0.5]])})
    tight = policies.estimate(ts, predictor="last_one", clamp=(0.5, 1.5))[0]
    assert tight.n_clamped == 2
    assert tight.gamma[:, 1].tolist() == [1.5, 0.5]
    assert policies.estimate(ts, predictor="last_one", artifact=True, clamp=(0.5, 1.5))[0].n_clamped == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.integers(0, 2**32 - 1))
def test_one_variant_per_model_keeps_its_own_average(samples, seed):
    """The public artifact does not weight attention files; n * (sum / n) / n is sum / n, so neither need we."""
    rng = np.random.default_rng(seed)
    ts = TraceSet({"a": Trace(rng.lognormal(-5, 2, (samples, 30)))})
    assert np.array_equal(policies.average_latency(ts, aware=False)[0], policies.average_latency(ts)[0])
    assert ts.model_mean_isolated_s[0] == ts.mean_isolated_s[0]


def test_evaluate_predictors_follows_the_protocol():
    rng = np.random.default_rng(9)
    ts = TraceSet({"a/x": Trace(rng.random((6, 5)) + 0.1, rng.random((6, 5))), "b": Trace(rng.random((3, 1)) + 1),
                   "a/y": Trace(rng.random((4, 5)) + 0.1)})
    table = policies.evaluate_predictors(ts, alpha=1.25)
    assert table.dtype.names == ("key", "predictor", "rmse_s", "rmse_rel", "correlation", "n")
    assert len(table) == 12
    for row in table:
        trace = ts[row["key"]]
        if trace.n_layers == 1 or (row["predictor"] != "none" and trace.sparsity is None):
            assert row["n"] == 0
            assert math.isnan(row["rmse_s"])
            continue
        truth = np.array([[left_sum(r[k:]) for k in range(5)] for r in trace.latency.tolist()])[:, 1:]
        average = twin_mean(trace.latency.tolist())
        rest = np.array([left_sum(average[k:]) for k in range(5)])[1:]
        gamma, alpha = np.ones_like(truth), 1.0
        if row["predictor"] != "none":
            alpha = 1.25
            gamma = policies.predict_gamma(trace.sparsity, trace.sparsity.mean(0), row["predictor"])[:, 1:]
        error = alpha * gamma * rest - truth
        assert row["n"] == truth.size
        np.testing.assert_allclose(row["rmse_s"], np.sqrt(np.mean(error**2)), rtol=1e-12)
        np.testing.assert_allclose(row["rmse_rel"], np.sqrt(np.mean((error / truth)**2)), rtol=1e-12)
        if row["predictor"] != "none":
            want = np.corrcoef(gamma.ravel(), (truth / rest).ravel())[0, 1]
            np.testing.assert_allclose(row["correlation"], want, rtol=1e-9)


def test_gamma_helps_when_latency_follows_density():
    rng = np.random.default_rng(10)
    density = np.clip(0.5 + 0.1 * rng.standard_normal((300, 1)) + 0.01 * rng.standard_normal((300, 12)), 0.05, 0.95)
    ts = TraceSet({"m": Trace(1e-3 * density, 1 - density)})
    rmse = {r["predictor"]: r["rmse_s"] for r in policies.evaluate_predictors(ts)}
    assert max(rmse[k] for k in KINDS) < 0.3 * rmse["none"]
    table = policies.evaluate_predictors(ts)
    assert table["correlation"][table["predictor"] == "last_one"][0] > 0.95


@pytest.mark.parametrize(("kwargs", "message"), [
    ({"predictor": "lasso"}, "predictor: expected one of 'last_one'"),
    ({"source": "guess"}, "source: expected one of 'average', 'true', got 'guess'"),
    ({"source": "true", "predictor": "last_one"}, "predictor: expected None with source='true'"),
    ({"predictor": "last_n", "n_last": 0}, "n_last: expected an integer >= 1, got 0"),
    ({"predictor": "last_one", "ratio": "x"}, "ratio: expected one of"),
    ({"predictor": "last_one", "clamp": (2, 3)}, r"clamp\[0\]: expected a finite value >= 0 and <= 1, got 2"),
    ({"predictor": "last_one", "clamp": 3}, r"clamp: expected \(low, high\)"),
    ({"alpha": 0}, "alpha: expected a finite value > 0, got 0"),
    ({"alpha": math.nan}, "alpha: expected a finite value > 0, got nan"),
])
def test_bad_arguments_are_named(kwargs, message):
    ts = TraceSet({"m": Trace(np.ones((2, 3)), np.full((2, 3), 0.5))})
    with pytest.raises(ValueError, match=message):
        policies.estimate(ts, **kwargs)


def test_bad_sparsity_is_named():
    with pytest.raises(ValueError, match="sparsity: row 1, column 0: expected a value in"):
        policies.predict_gamma([[0.5, 0.5], [1.5, 0]], [0.5, 0.5])
    with pytest.raises(ValueError, match="avg_sparsity: layer 1: expected a value in"):
        policies.predict_gamma([[0.5, 0.5]], [0.5, math.nan])
    with pytest.raises(ValueError, match="avg_sparsity: expected extent 2"):
        policies.predict_gamma([[0.5, 0.5]], [0.5])
    with pytest.raises(TypeError, match="ts: expected a TraceSet"):
        policies.estimate({})


def test_native_functions_are_strict():
    x = np.ones((3, 4))
    with pytest.raises(TypeError, match="x: expected dtype"):
        _policy.suffix_sums(x.astype(np.float32))
    with pytest.raises(ValueError, match="x: expected a C-contiguous"):
        _policy.suffix_sums(x.T)
    with pytest.raises(ValueError, match="x: expected 2 dimension"):
        _policy.column_means(x[0])
    with pytest.raises(ValueError, match="rows: expected at least 1"):
        _policy.column_means(x[:0])
    with pytest.raises(ValueError, match="kind: expected 0, 1 or 2"):
        _policy.predict_gamma(x, np.ones(4), 3, 1, False, False, 0.1, 10.0)
    with pytest.raises(TypeError, match="predict_gamma: expected 8"):
        _policy.predict_gamma(x)
    with pytest.raises(ValueError, match="truth: expected extent"):
        _policy.prediction_errors(x, np.ones(4), np.ones((2, 4)), 1.0)
