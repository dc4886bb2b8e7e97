"""Latency table per network, pattern and sparsity; ordering of the architectures; effect of low light."""

import numpy as np
import pytest

from dnnsched import _characterize, traces


@pytest.fixture(scope="module")
def table():
    return _characterize.latency_table(n_samples=20)


def test_table_has_every_network_pattern_and_level(table):
    generated = table[table["set"] == "multi-cnn"]
    assert len(generated) == 2 * 4 * 3
    assert set(generated["origin"]) == {"synthetic"}
    recorded = table[table["set"] == "recorded-cnn"]
    assert len(recorded) == 9
    assert set(recorded["origin"]) == {"measured masks, modelled latency"}
    assert np.isnan(recorded["ratio"]).all()
    row = table[(table["model"] == "resnet50") & (table["pattern"] == "filter") & (table["weight_sparsity"] == 0.6)][0]
    trace = traces.load("multi-cnn", weight_sparsity=0.6, n_samples=20)["resnet50/filter"]
    assert row["mean_s"] == pytest.approx(np.mean(trace.latency.sum(axis=1)))
    assert row["cv"] == pytest.approx(np.std(trace.latency.sum(axis=1)) / row["mean_s"])
    assert row["ratio"] == pytest.approx(row["mean_s"] / 0.25)


def test_more_sparsity_costs_less(table):
    generated = table[table["set"] == "multi-cnn"]
    low, high = (generated[generated["weight_sparsity"] == level] for level in (0.2, 0.6))
    assert np.all(high["mean_s"] < low["mean_s"])
    for model in set(generated["model"].tolist()):
        for level in (low, high):
            mean = {row["pattern"]: row["mean_s"] for row in level[level["model"] == model]}
            assert mean["filter"] < mean["random"]


def test_architectures_keep_the_published_order(table):
    order = _characterize.architecture_order(table)
    print(order)
    assert order["model"].tolist() == ["mobilenet", "resnet50", "ssd300", "vgg16"]
    assert np.all(np.diff(order["mean_s"]) > 0)
    assert np.all((order["ratio"] > 0.6) & (order["ratio"] < 1.6))


def test_unknown_level_is_named(table):
    with pytest.raises(ValueError, match=r"weight_sparsity: expected one of \[0.2, 0.5, 0.6\], got 0.3"):
        _characterize.architecture_order(table, 0.3)


def test_relative_range():
    assert _characterize.relative_range([0.2, 0.5, 0.5]) == pytest.approx(0.75)


def test_shift_is_paired(monkeypatch):
    day = np.array([[0.9, 0.2, 0.4], [0.9, 0.4, 0.6], [0.9, 0.3, 0.5]])
    low = day + np.array([[0, 0.1, 0.1], [0, -0.2, -0.2], [0, 0.1, 0.1]])
    made = {light: traces.TraceSet({"a/nm": traces.Trace(np.ones_like(s), s, "a", "nm")})
            for light, s in (("day", day), ("low", low))}
    monkeypatch.setattr(_characterize.traces, "load", lambda name, light: made[light])
    (row,) = _characterize.sparsity_shift()
    assert row["median_day"] == pytest.approx(0.4)
    assert row["median_low"] == pytest.approx(0.4)
    assert row["median_change"] == pytest.approx(0.1)
    assert row["fraction_up"] == pytest.approx(2 / 3)
    assert row["range_day"] == pytest.approx(0.2 / 0.4)
