"""Replications and comparisons: pairing, refusals, intervals against SciPy, reports that can be saved."""

import csv
import math

import numpy as np
import pytest
from scipy import stats

import dnnsched as ds
from dnnsched import experiments, statistics
from dnnsched.report import rundir


@pytest.fixture(scope="module")
def ts():
    return ds.traces.load("multi-attnn-calibrated")


def runner(ts, scheduler, **options):
    def run(seed):
        wl = ds.workloads.poisson(ts, **{"rho": 0.9, "n": 80, "slo_multiplier": 5.0, "rng": seed, **options})
        return ds.simulate(wl, scheduler, warmup=8)
    return run


@pytest.fixture(scope="module")
def pair(ts):
    return tuple(ds.replicate(runner(ts, name), n=6) for name in ("dysta", "fcfs"))


def noise(seed):
    """A function of a module, for processes."""
    return {"x": float(np.random.default_rng(seed).normal(10.0)), "y_s": 1.0}


def test_replications_do_not_depend_on_the_executor():
    made = {name: ds.replicate(noise, n=7, executor=name, jobs=2) for name in ("serial", "threads")}
    for one in made.values():
        assert one.metrics["x"].tolist() == [noise(seed)["x"] for seed in statistics.seeds(7, 7)]
    assert made["serial"].seeds == tuple(statistics.seeds(7, 7))
    assert made["serial"].label == "noise"


@pytest.mark.toolchain
def test_replications_in_processes():
    made = ds.replicate(noise, n=3, executor="processes", jobs=2)
    assert made.metrics["x"].tolist() == ds.replicate(noise, n=3, executor="serial").metrics["x"].tolist()


def test_interval_is_students_over_replications(pair):
    values = pair[0].metrics["antt"]
    low, high = stats.t.interval(0.95, 5, values.mean(), stats.sem(values))
    own = pair[0].interval("antt")
    assert (own.low, own.high, own.n) == (pytest.approx(low), pytest.approx(high), 6)
    assert pair[0].interval("antt", 0.5).low > own.low
    with pytest.raises(ValueError, match=r"metric: expected one of n, antt, .*got 'p99'"):
        pair[0].interval("p99")


def test_numbers_dicts_and_what_is_refused():
    assert ds.replicate(lambda seed: seed % 5, n=3).metrics.keys() == {"value"}
    assert ds.replicate(lambda seed: {"a": np.float32(1)}, n=1).interval("a").value == 1.0
    assert math.isnan(ds.replicate(lambda seed: 1, n=1).interval("value").low)
    with pytest.raises(TypeError, match="fn: expected it to return a Result, a dict of metrics or a number, got str"):
        ds.replicate(lambda seed: "fast", n=2)
    with pytest.raises(TypeError, match="fn: metric 'a': expected a number, got list"):
        ds.replicate(lambda seed: {"a": [1]}, n=2)
    with pytest.raises(TypeError, match="fn: expected a callable"):
        ds.replicate(3)
    first = statistics.seeds(7, 1)[0]
    with pytest.raises(ValueError, match="metrics of replication 0 in replication 1 too; only one of them has b"):
        ds.replicate(lambda seed: {"a": 1} if seed == first else {"a": 1, "b": 2}, n=2)
    with pytest.raises(ValueError, match="n: expected an integer >= 1, got 0"):
        ds.replicate(noise, n=0)
    with pytest.raises(ValueError, match="level: expected"):
        ds.replicate(noise, n=2, level=95)
    made = ds.replicate(lambda seed: {"a": 1.0, "b": math.inf if seed == first else 1.0}, n=2)
    with pytest.raises(ValueError, match="metric 'b': expected finite values, got inf in replication 0"):
        made.interval("b")
    assert made.report().notes == ["no finite value in some replication: b"]


def test_errors_and_interrupts_of_the_function_come_through():
    def broken(seed):
        raise ZeroDivisionError("in the model")

    def interrupted(seed):
        raise KeyboardInterrupt

    with pytest.raises(ZeroDivisionError, match="in the model"):
        ds.replicate(broken, n=4)
    with pytest.raises(KeyboardInterrupt):
        ds.replicate(interrupted, n=4, executor="serial")


def test_compare_takes_pairs(pair):
    dysta, fcfs = pair
    found = ds.compare(dysta, fcfs)
    delta = dysta.metrics["antt"] - fcfs.metrics["antt"]
    low, high = stats.t.interval(0.95, 5, delta.mean(), stats.sem(delta))
    assert (found.difference.low, found.difference.high) == (pytest.approx(low), pytest.approx(high))
    assert found.ratio == statistics.ratio_of_means(dysta.metrics["antt"], fcfs.metrics["antt"])
    assert found.rows["antt"].speedup.value == pytest.approx(
        stats.gmean(fcfs.metrics["antt"] / dysta.metrics["antt"]))
    assert not found.covers_zero
    assert found.rows["antt"].finding == "a lower"
    assert found.rows["violation_rate"].a.value == pytest.approx(100 * dysta.metrics["violation_rate"].mean())
    assert found.rows["offered_load"].finding == "equal in every replication"
    assert found.rows["offered_load"].ratio.low == found.rows["offered_load"].ratio.high == 1.0
    assert found.text().startswith("antt: dysta - fcfs = -")
    unpaired = ds.compare(dysta, fcfs, paired=False)
    assert unpaired.difference.high - unpaired.difference.low > found.difference.high - found.difference.low
    assert unpaired.rows["antt"].speedup is None
    with pytest.raises(ValueError, match="metric: expected one that is finite in every replication of both"):
        ds.compare(dysta, fcfs, metric="p99")


def test_compare_says_when_nothing_is_shown():
    a = ds.replicate(noise, n=8)
    b = ds.replicate(lambda seed: {"x": noise(seed)["x"] + (1 if seed % 2 else -1) * 0.5, "y_s": 1.0}, n=8)
    found = ds.compare(a, b, metric="x")
    assert found.covers_zero
    assert ": interval covers 0\n" in found.text()
    assert "one that covers 0 shows no difference" in found.table().note
    assert ds.compare(ds.replicate(noise, n=1), ds.replicate(noise, n=1), "x").rows["x"].finding == (
        "one replication: no interval")


def test_pairs_that_are_none_are_refused(ts, pair):
    dysta = pair[0]
    with pytest.raises(ValueError, match="b: expected 6 replications as in a, got 2"):
        ds.compare(dysta, ds.replicate(runner(ts, "fcfs"), n=2))
    other = ds.replicate(runner(ts, "fcfs"), n=6, rng=8)
    with pytest.raises(ValueError, match=r"same seed as a in every replication, 6 of 6 differ \(first: .* 0\)"):
        ds.compare(dysta, other)
    faster = ds.replicate(runner(ts, "fcfs", rho=0.8), n=6)
    with pytest.raises(ValueError, match="same requests as a in every replication, 6 of 6 differ"):
        ds.compare(dysta, faster)
    assert ds.compare(dysta, faster, paired=False).rows["offered_load"].finding == "a higher"
    with pytest.raises(TypeError, match="b: expected Replications"):
        ds.compare(dysta, {"antt": 1})


def test_saturation_is_said(ts):
    over = ds.replicate(runner(ts, "fcfs", rho=1.5), n=3)
    assert over.saturated == 3
    assert any("3 of 3 replications are saturated" in note for note in over.notes)
    assert any(note.startswith("b: 3 of 3") for note in ds.compare(over, over).notes)


def test_reports_can_be_saved(pair, tmp_path):
    dysta, fcfs = pair
    report = dysta.report()
    assert report.notes[0] == "6 replications of 72 counted requests; the first 8 of each are left out (warm-up)"
    assert f"a: {report.notes[0]}" in ds.compare(dysta, fcfs).notes
    assert report.run_id == dysta.report().run_id != fcfs.report().run_id
    assert "queue_max" not in report.text()
    assert "queue_max" in report.markdown()
    for name, made in (("replicate", report), ("compare", ds.compare(dysta, fcfs).report())):
        made.save(tmp_path / name)
        assert rundir.validate(tmp_path / name)["summary_rows"] == len(made.results)
    with open(tmp_path / "replicate" / "replications.csv", newline="", encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["metric"] == "violation_rate"]
    assert [float(r["value"]) for r in rows] == (100 * dysta.metrics["violation_rate"]).tolist()
    with open(tmp_path / "compare" / "summary.csv", newline="", encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["scheduler"] == "a - b" and r["metric"] == "antt"]
    interval = ds.compare(dysta, fcfs).difference
    assert (float(rows[0]["value"]), float(rows[0]["ci_low"])) == (interval.value, interval.low)


def test_to_pandas(pair):
    pytest.importorskip("pandas")
    frame = pair[0].to_pandas()
    assert frame["seed"].tolist() == list(pair[0].seeds)
    assert frame["antt"].tolist() == pair[0].metrics["antt"].tolist()


def test_stream_results_are_compared_by_how_they_were_built(ts):
    def stream(rate):
        def run(seed):
            return ds.simulate(ds.workloads.stream_poisson(ts, rate=rate, n=200, rng=seed), "fcfs", record="none")
        return run

    a, b, c = (ds.replicate(stream(rate), n=2) for rate in (20.0, 20.0, 21.0))
    assert ds.compare(a, b).rows["antt"].finding == "equal in every replication"
    with pytest.raises(ValueError, match="same requests"):
        ds.compare(a, c)


def test_scenarios_and_closed_loops(ts):
    """Arrivals of a closed loop follow from the scheduler; its pairs are known by how the requests were built."""
    def stream(scheduler, samples=None):
        def run(seed):
            return ds.scenarios.single_stream(ts, scheduler, min_duration_s=1.0, min_queries=64, rng=seed,
                                              performance_samples=samples)
        return run

    def server(seed):
        return ds.scenarios.server(ts, "dysta", 20.0, 1.0, min_duration_s=1.0, min_queries=100, rng=seed)

    a = ds.replicate(stream("fcfs"), n=3)
    assert a.metrics["invalid"].tolist() == [0.0] * 3
    assert ds.compare(a, ds.replicate(stream("sjf"), n=3), "result_s").paired
    with pytest.raises(ValueError, match="same requests"):
        ds.compare(a, ds.replicate(stream("fcfs", 5), n=3), "result_s")
    assert "result_rps" in ds.replicate(server, n=2).metrics


def test_pairing_pays(ts):
    """The variance of a difference on the same requests is a fraction of that on others."""
    a = ds.replicate(runner(ts, "sjf"), n=20)
    b = ds.replicate(runner(ts, "dysta"), n=20)
    paired = ds.compare(a, b, "latency_mean_s").difference
    apart = ds.compare(a, b, "latency_mean_s", paired=False).difference
    assert paired.high - paired.low < 0.5 * (apart.high - apart.low)
    assert isinstance(ds.compare(a, b), experiments.Comparison)
