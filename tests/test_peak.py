"""Peak-rate search: closed forms of M/M/1 and M/D/1, known step functions, limits, saturation, monotonicity."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dnnsched as ds
from dnnsched import peak, statistics
from dnnsched.report import rundir


def queue(rate, seed, *, n=20_000, service=None):
    """One-layer requests with exponential (or given) service times of mean 1 s; gaps scale with 1 / rate."""
    gaps = -np.log1p(-np.random.default_rng([seed, 1]).random(n))
    if service is None:
        service = -np.log1p(-np.random.default_rng([seed, 2]).random(n))
    traces = ds.TraceSet({"m": ds.Trace(service.reshape(-1, 1), model="m")})
    index = np.arange(n, dtype=np.int32) % len(service)
    return ds.Workload(traces, np.cumsum(gaps) / rate, np.zeros(n, np.int32), index, np.full(n, np.inf))


def deterministic(rate, seed):
    return queue(rate, seed, service=np.ones(1))


def test_p99_of_m_m_1():
    """Sojourn time of M/M/1 is exponential with rate mu - lambda: P99 = -ln(0.01) / (1 - lambda) <= 15 s."""
    found = ds.find_peak_rate(queue, {"latency_p99_s": 15.0}, precision=0.002, scheduler="fcfs", replications=12,
                              start=0.1)
    truth = 1 + math.log(0.01) / 15.0
    assert found.interval.n == 12
    assert abs(found.rate - truth) < 3 * (found.interval.high - found.interval.value) / statistics.t_quantile(0.975, 11)
    assert found.interval.high - found.interval.low < 0.06
    assert not found.violations  # FCFS with common random numbers: more load never shortens a wait


def test_mean_latency_of_m_d_1():
    """Pollaczek-Khinchine: mean sojourn 1 + rho / (2 (1 - rho)) <= 2 s at rho <= 2/3."""
    found = ds.find_peak_rate(deterministic, {"latency_mean_s": 2.0}, precision=0.001, scheduler="fcfs",
                              replications=12, start=0.1)
    assert abs(found.rate - 2 / 3) < 3 * (found.interval.high - found.interval.value) / statistics.t_quantile(0.975, 11)
    assert found.interval.high - found.interval.low < 0.03


def step(edge):
    return lambda rate, seed: {"late": float(rate > edge)}


@pytest.mark.parametrize("edge", [0.37, 1.0, 6.25, 777.7])
@pytest.mark.parametrize("precision", [0.1, 0.013])
def test_bracket_and_precision(edge, precision):
    found = ds.find_peak_rate(step(edge), {"late": 0.5}, precision=precision, replications=2)
    assert edge - precision <= found.rate <= edge
    assert found.interval.low == found.interval.high == found.rate
    rates = [p.rate_rps for p in found.probes if p.replication == 0]
    assert rates == sorted(set(rates))  # cached: no rate twice
    assert len(rates) <= 2 + abs(math.log2(edge)) + math.log2(max(edge, 1) / precision) + 2


@settings(max_examples=50, deadline=None)
@given(st.floats(0.05, 5000), st.floats(0.01, 3), st.floats(0.02, 300), st.integers(0, 3))
def test_any_bracket(edge, precision, start, scan):
    found = ds.find_peak_rate(step(edge), {"late": 0.5}, precision=precision, start=start, scan=scan, replications=1,
                              executor="serial")
    assert found.rate <= edge
    assert edge - found.rate <= precision
    assert not found.violations
    assert all(p.met == (p.rate_rps <= edge) for p in found.probes)


def test_probes_of_a_replication_share_their_seed():
    seen = []

    def record(rate, seed):
        seen.append((rate, seed))
        return {"late": float(rate > 3)}

    found = ds.find_peak_rate(record, {"late": 0.5}, replications=3, rng=11, executor="serial")
    assert len(seen) == len(set(seen)) == len(found.probes)
    assert {seed for _, seed in seen} == set(statistics.seeds(11, 3))
    assert [p.seed for p in found.probes if p.replication == 2] == [statistics.seeds(11, 3)[2]] * (len(seen) // 3)


def test_limits_of_the_search():
    nothing = ds.find_peak_rate(step(-1), {"late": 0.5}, replications=2)
    assert nothing.rate == 0.0
    assert "2 of 2 replications miss the objective at every rate tried, down to 0.0625" in nothing.notes[0]
    everything = ds.find_peak_rate(step(math.inf), {"late": 0.5}, replications=2, max_rate=50.0)
    assert everything.rate == 50.0
    assert everything.notes[0].endswith("at the highest rate allowed (50 per second): the result is a lower bound")
    one = ds.find_peak_rate(step(5), {"late": 0.5}, replications=1)
    assert math.isnan(one.interval.low)
    assert "one replication: no interval" in one.notes


def test_saturated_probes_fail():
    """With this limit only saturation can end the search: capacity is 1 request per second."""
    found = ds.find_peak_rate(deterministic, {"latency_mean_s": 1e9}, precision=0.01, scheduler="fcfs", replications=3)
    assert found.rate == pytest.approx(1.0, abs=0.05)
    failed = [p for p in found.probes if not p.met]
    assert failed
    assert all(p.saturated and p.reason.startswith("saturated (offered load 1") for p in failed)
    assert any("probes were saturated and count as missed" in note for note in found.notes)


def test_monotonicity_violations_are_reported():
    def window(rate, seed):
        return {"late": 0.0 if rate < 3 or 4.5 < rate < 5.5 else 1.0}

    found = ds.find_peak_rate(window, {"late": 0.5}, replications=1, scan=4)
    assert found.rate == pytest.approx(3, abs=0.1)
    kinds = {v.metric for v in found.violations}
    assert kinds == {"met", "late"}
    assert any(note.startswith("not monotone: the objective is missed at ") for note in found.notes)

    def wavy(rate, seed):
        return {"p": rate if rate < 1.5 or rate > 2.2 else 0.9}

    found = ds.find_peak_rate(wavy, {"p": 2.15}, replications=1, start=0.5, precision=0.01)
    assert {v.metric for v in found.violations} == {"p"}
    assert found.violations[0].at_high < found.violations[0].at_low
    assert any("values are lower than at the next lower rate" in note for note in found.notes)


def test_latency_target_is_early_stopping():
    """Unit services at P99 <= 3 s: valid exactly when loadgen's count allows the misses."""
    target = peak.LatencyTarget(3.0)
    found = ds.find_peak_rate(deterministic, target, precision=0.02, scheduler="fcfs", replications=2, start=0.1)
    for probe in found.probes:
        verdict = statistics.early_stopping(18_000, int(probe.values["overlatency"]))
        assert probe.met == (verdict.valid and not probe.saturated)
    assert 0.2 < found.rate < 0.4
    assert "P99 <= 3 s by early stopping, confidence 0.99" in repr(found)
    with pytest.raises(ValueError, match="slo: insufficient samples: 90 queries, at least 459 needed"):
        ds.find_peak_rate(lambda rate, seed: queue(rate, seed, n=100), target, scheduler="fcfs")
    with pytest.raises(ValueError, match="slo: a LatencyTarget needs a result with one row per request, got dict"):
        ds.find_peak_rate(step(1), target)


def test_percentile_of_too_few_requests_is_noted():
    found = ds.find_peak_rate(lambda rate, seed: queue(rate, seed, n=200), {"latency_p99_s": 20.0}, scheduler="fcfs",
                              replications=2)
    assert any(note.startswith("latency_p99_s from 180 requests per probe: insufficient samples for a claim with 99 % "
                               "confidence (459 with none over the limit, 662 with one)") for note in found.notes)


def test_streams_and_results_are_taken():
    ts = ds.traces.load("multi-attnn-calibrated")

    def stream(rate, seed):
        return ds.workloads.stream_poisson(ts, rate=rate, n=1000, rng=seed)

    def run(rate, seed):
        return ds.simulate(ds.workloads.poisson(ts, rate=rate, n=1000, rng=seed), "fcfs", warmup=100)

    a, b = (ds.find_peak_rate(f, {"violation_rate": 0.1}, precision=0.5, scheduler="fcfs", replications=2)
            for f in (stream, run))
    assert a.replications.metrics["peak_rate_rps"].tolist() == b.replications.metrics["peak_rate_rps"].tolist()
    assert a.rate > 1


@pytest.mark.parametrize(("change", "error", "message"), [
    ({"slo": {}}, ValueError, "slo: expected at least one metric"),
    ({"slo": 3}, TypeError, "slo: expected a dict of metric and upper limit, or a LatencyTarget, got int"),
    ({"slo": {"p": "fast"}}, TypeError, r"slo\['p'\]: expected a number"),
    ({"slo": {"p99": 1.0}}, ValueError, "slo: expected metrics among late, got 'p99'"),
    ({"slo": peak.LatencyTarget(0.0)}, ValueError, "slo.latency_s: expected a finite value > 0"),
    ({"slo": peak.LatencyTarget(1.0, 2.0)}, ValueError, r"p: expected a value in \(0, 1\), got 2"),
    ({"precision": 0}, ValueError, "precision: expected a finite value > 0"),
    ({"start": 0}, ValueError, "start: expected"),
    ({"start": 2e6}, ValueError, "start: expected"),
    ({"warmup": 1.0}, ValueError, "warmup: expected"),
    ({"scan": -1}, ValueError, "scan: expected"),
    ({"make_workload": 3}, TypeError, "make_workload: expected a callable"),
])
def test_bad_arguments(change, error, message):
    given = {"make_workload": step(1), "slo": {"late": 0.5}, **change}
    with pytest.raises(error, match=message):
        ds.find_peak_rate(**given)


def test_interrupt_and_nan():
    def interrupted(rate, seed):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ds.find_peak_rate(interrupted, {"late": 1.0}, executor="serial")
    with pytest.raises(ValueError, match="slo: late is not a number at 1 requests per second"):
        ds.find_peak_rate(lambda rate, seed: {"late": math.nan}, {"late": 1.0})


def test_report_can_be_saved(tmp_path):
    found = ds.find_peak_rate(deterministic, {"latency_mean_s": 2.0}, precision=0.05, scheduler="fcfs", replications=3)
    found.report().save(tmp_path / "run")
    assert rundir.validate(tmp_path / "run")["summary_rows"] == 1
    text = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert "latency_mean_s <= 2" in text
    assert "| 0 | 1 | no |" in text
    pytest.importorskip("pandas")
    assert found.to_pandas()["rate_rps"].tolist() == [p.rate_rps for p in found.probes]
