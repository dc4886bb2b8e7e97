"""Verdicts of the claims engine, kind by kind, on results made by hand."""

import math

import numpy as np
import pytest
from scipy import stats as reference

from dnnsched import statistics
from dnnsched.errors import FormatError
from dnnsched.papers import dysta
from dnnsched.report import claims, published
from dnnsched.report.results import Point, Results


def cell(value, text=None):
    return published.Cell("p", "fig", "r", "c", "antt", "1", float(value), "table", "", "", "", "Fig. 1",
                          text or str(value))


def results(**schedulers):
    """scheduler -> replications, or -> (replications, published value)."""
    made = Results()
    for name, given in schedulers.items():
        values, printed = given if isinstance(given, tuple) else (given, None)
        made.add(Point("fig", "w", name, "paper"), "antt", values, origin="synthetic", method="seeds",
                 published=None if printed is None else cell(printed))
    return made


def sweep(**schedulers):
    made = Results()
    for name, curve in schedulers.items():
        for slo, values in curve.items():
            given, printed = values if isinstance(values, tuple) else (values, None)
            made.add(Point("fig", "w", name, "paper", slo=slo), "antt", given, origin="synthetic", method="seeds",
                     published=None if printed is None else cell(printed))
    return made


def judge(made, kind, **spec):
    spec = {"id": "c", "title": "t", "kind": kind, "metric": "antt", "where": {"item": "fig", "workload": "w"},
            "expected": claims.REPRODUCED, "because": "b", **spec}
    return claims.evaluate(spec, made)


ONE = {"item": "fig", "workload": "w", "scheduler": "a"}


@pytest.mark.parametrize(("values", "verdict"), [
    ([1.0, 1.01, 0.99], claims.REPRODUCED),
    ([1.0, 1.5, 0.5], claims.DIRECTION),  # centre inside, interval outside
    ([2.0, 2.01, 1.99], claims.FAILED),
    ([1.0], claims.REPRODUCED),
])
def test_ratio_range(values, verdict):
    assert judge(results(a=(values, 1.0)), "ratio_range", where=ONE, range=[0.85, 1.2]).verdict == verdict


def test_ratio_range_by_point_ignores_the_spread():
    made = results(a=([1.0, 1.5, 0.5], 1.0))
    assert judge(made, "ratio_range", where=ONE, range=[0.85, 1.2], interval="point").verdict == claims.REPRODUCED


def test_ratio_range_in_points_and_zero_published():
    assert judge(results(a=([3.0, 3.01], 0.5)), "ratio_range", where=ONE, points=3.0).verdict == claims.REPRODUCED
    assert judge(results(a=([3.6, 3.61], 0.5)), "ratio_range", where=ONE, points=3.0).verdict == claims.FAILED
    assert judge(results(a=([3.6, 3.61], 0.0)), "ratio_range", where=ONE, range=[0.5, 2]).verdict == claims.FAILED


def test_failed_ratio_keeps_its_direction():
    made = results(a=([1.0, 1.1], 3.0), b=([5.0, 5.0], 4.0))
    assert judge(made, "ratio_range", where=ONE, range=[0.9, 1.1], direction_against="b").verdict == claims.DIRECTION
    made = results(a=([6.0, 6.1], 3.0), b=([5.0, 5.0], 4.0))
    assert judge(made, "ratio_range", where=ONE, range=[0.9, 1.1], direction_against="b").verdict == claims.FAILED


def test_ordering_uses_pairs():
    common = np.array([1.0, 50.0, 200.0, 7.0])
    made = results(a=common, b=common + np.array([0.1, 0.11, 0.1, 0.09]))
    assert judge(made, "ordering", chain=["a", "b"]).verdict == claims.REPRODUCED
    assert judge(made, "ordering", chain=["b", "a"]).verdict == claims.FAILED
    made = results(a=[1.0, 2.0, 3.0], b=[2.0, 1.9, 3.5])
    assert judge(made, "ordering", chain=["a", "b"]).verdict == claims.DIRECTION
    assert judge(made, "ordering", chain=["b", "a"], allowance=3.0).verdict == claims.REPRODUCED


def test_ordering_of_the_worst_names_the_pair():
    made = results(a=[1.0, 1.0], b=[2.0, 2.0], c=[9.0, 9.1], d=[1.5, 1.5])
    assert judge(made, "ordering", worst=["c"], others=["a", "b", "d"]).verdict == claims.REPRODUCED
    claim = judge(made, "ordering", worst=["b", "c"], others=["a", "d"])
    assert claim.verdict == claims.REPRODUCED
    claim = judge(made, "ordering", worst=["d"], others=["a", "b"])
    assert claim.verdict == claims.FAILED
    assert "b 2.00, d 1.50" in claim.reason


@pytest.mark.parametrize(("spec", "verdict"), [
    ({"left": "a", "right": "b", "at_most": 0.6}, claims.REPRODUCED),
    ({"left": "a", "right": "b", "at_most": 0.4}, claims.FAILED),
    ({"left": "b", "right": "a", "at_least": 1.9}, claims.REPRODUCED),
    ({"left": "a", "at_most": 1.2}, claims.REPRODUCED),
    ({"left": "a", "at_least": 1.2}, claims.FAILED),
])
def test_bound(spec, verdict):
    assert judge(results(a=[1.0, 1.01], b=[2.0, 2.02]), "bound", **spec).verdict == verdict


def test_crossover_interpolates():
    made = sweep(a={1: [0.0], 2: [1.0], 4: [3.0]}, b={1: [1.0], 2: [1.5], 4: [1.5]})
    where = {"item": "fig", "workload": "w", "slo": [1, 2, 4]}
    spec = {"left": "a", "right": "b", "along": "slo", "where": where}
    claim = judge(made, "crossover", between=[2, 3], **spec)
    assert claim.verdict == claims.REPRODUCED
    assert "changes sign at 2.50" in claim.reason
    assert judge(made, "crossover", between=[3, 4], **spec).verdict == claims.DIRECTION
    assert judge(made, "crossover", between=[1, 4], **{**spec, "left": "b", "right": "a"}).verdict == claims.FAILED


def test_monotone_and_inconsistent_print():
    where = {"item": "fig", "workload": "w", "scheduler": "a", "slo": [1, 2, 3]}
    made = sweep(a={1: ([5.0], 5.0), 2: ([4.0], 6.0), 3: ([4.0], 3.0)})
    spec = {"along": "slo", "direction": "decreasing", "where": where}
    assert judge(made, "monotone", **spec).verdict == claims.REPRODUCED
    assert judge(made, "monotone", **{**spec, "direction": "increasing"}).verdict == claims.FAILED
    claim = judge(made, "monotone", check_published=True, **spec)
    assert claim.verdict == claims.INCONSISTENT
    assert "Ours: " in claim.reason
    assert judge(made, "monotone", check_published=True, tolerance=1.5, **spec).verdict == claims.REPRODUCED


def test_exact_counts_printed_decimals():
    assert judge(results(a=([1.04], 1.0)), "exact", where=ONE).verdict == claims.REPRODUCED
    assert judge(results(a=([1.06], 1.0)), "exact", where=ONE).verdict == claims.FAILED


def test_closed_form():
    made = results(a=[0.9, 1.1, 1.0, 1.05], theory=[1.0])
    assert judge(made, "closed_form", where=ONE, standard_errors=3).verdict == claims.REPRODUCED
    made = results(a=[1.3, 1.31, 1.32, 1.29], theory=[1.0])
    assert judge(made, "closed_form", where=ONE, standard_errors=3).verdict == claims.FAILED


def test_readings_take_the_first_that_holds():
    made = results(a=([1.0, 1.01], 2.0), b=([1.0, 1.0], 1.0))
    claim = judge(made, "ratio_range", where={}, range=[0.9, 1.1],
                  reading=[{"name": "against a", "where": ONE},
                           {"name": "against b", "where": {**ONE, "scheduler": "b"}}])
    assert claim.verdict == claims.REPRODUCED
    assert claim.reason.startswith("read as against b")


def test_missing_results_and_profiles_are_not_attempted():
    assert judge(results(a=[1.0]), "bound", left="x", at_most=1).verdict == claims.SKIPPED
    claim = judge(results(a=[1.0]), "bound", left="a", at_most=2, profiles=["paper"])
    assert claim.verdict == claims.SKIPPED
    assert claim.as_expected
    claim = judge(results(a=[1.0]), "bound", attempt="needs an FPGA", expected=claims.SKIPPED)
    assert (claim.reason, claim.as_expected) == ("needs an FPGA", True)


def test_every_combination_is_a_case():
    made = results(a=([1.0], 1.0), b=([1.0], 1.0), c=([2.0], 1.0))
    claim = judge(made, "ratio_range", where={**ONE, "scheduler": ["a", "b", "c"]}, range=[0.9, 1.1])
    assert claim.verdict == claims.FAILED
    assert claim.reason.startswith("1 of 3 not reproduced; worst: w, c")
    assert len(claim.cases) == 3


@pytest.mark.parametrize(("text", "message"), [
    ('[[claim]]\nid="a"', "expected a text for title"),
    ('[[claim]]\nid="a"\ntitle="t"\nkind="magic"\nexpected="reproduced"\nbecause="b"', "kind: expected one of"),
    ('[[claim]]\nid="a"\ntitle="t"\nkind="exact"\nexpected="yes"\nbecause="b"', "expected: expected one of"),
    ('[[claim]]\nid="a"\ntitle="t"\nkind="exact"\nexpected="reproduced"\nbecause="b"\nmetric="antt"\nwhere={}\nrnge=1',
     "unknown key 'rnge' for kind exact"),
    ('[[claim]]\nid="a"\ntitle="t"\nkind="bound"\nexpected="reproduced"\nbecause="b"\nmetric="antt"\nwhere={}',
     "kind bound needs 'left'"),
    ("[[claim", "claims.toml"),
])
def test_bad_claims_file(tmp_path, text, message):
    path = tmp_path / "claims.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(FormatError, match=message):
        claims.load(path)


def test_shipped_claims_load_and_have_reasons():
    specs = dysta.claim_specs()
    assert len(specs) >= 20
    assert {s["kind"] for s in specs} >= {"ordering", "ratio_range", "crossover", "monotone", "bound"}
    assert all(len(s["because"]) > 10 for s in specs)


def test_mean_interval_against_scipy():
    values = np.array([1.0, 2.5, 2.0, 4.0, 3.5])
    low, high = reference.t.interval(0.95, 4, values.mean(), reference.sem(values))
    own = statistics.mean_interval(values)
    assert (own.low, own.high) == pytest.approx((low, high), rel=1e-12)
    assert math.isnan(statistics.mean_interval([1.0]).low)
    with pytest.raises(ValueError, match="values: expected finite values, got nan in replication 1"):
        statistics.mean_interval([1.0, float("nan")])


def test_ratio_of_means_covers_the_truth():
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(2000):
        base = rng.normal(10, 1, 8)
        top = 2 * base + rng.normal(0, 1, 8)
        interval = statistics.ratio_of_means(top, base)
        hits += interval.low <= 2.0 <= interval.high
    assert 0.935 <= hits / 2000 <= 0.965
    assert statistics.ratio_of_means([1.0, 2.0], [-1.0, 1.5]).high == math.inf


def test_paired_difference_needs_pairs():
    with pytest.raises(ValueError, match="b: expected 2 replications as in a, got 3"):
        statistics.paired_difference([1, 2], [1, 2, 3])
    assert statistics.paired_difference([3.0, 5.0], [1.0, 3.0]).low == 2.0
