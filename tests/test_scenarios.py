"""MLPerf scenarios: closed forms, LoadGen's definitions computed a second time, verdicts, logs."""

import json
import math

import numpy as np
import pytest

import dnnsched as ds
from dnnsched import scenarios, statistics


def traces(seed=1, samples=40, keys=2, layers=3, scale=0.01):
    rng = np.random.default_rng(seed)
    return ds.TraceSet({f"m{k}/p": ds.Trace(scale * rng.uniform(0.2, 1.8, (samples, layers)), model=f"m{k}")
                        for k in range(keys)})


TS = traces()


def latencies(run):
    return run.requests["finish_s"] - run.requests["arrival_s"]


def element(values, p):
    """Percentile of the definition: element floor(n p) of the sorted values, from 0."""
    return sorted(values)[int(len(values) * p)]


# --- SingleStream -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheduler", ["fcfs", "sjf", "prema", "round_robin"])
def test_single_stream_is_the_sum_of_isolated_times(scheduler):
    found = scenarios.single_stream(TS, scheduler, min_duration_s=5.0, rng=3)
    r = found.run.requests
    assert latencies(found.run) == pytest.approx(r["isolated_s"], rel=1e-9)
    assert r["arrival_s"][0] == 0.0
    assert (r["arrival_s"][1:] == r["finish_s"][:-1]).all()
    assert r["finish_s"][-1] == pytest.approx(r["isolated_s"].sum(), rel=1e-12)
    assert found.result == element(found.query_latency_s, 0.9)
    assert found.unit == "s"
    assert found.run.metrics["utilization"] == pytest.approx(1.0)
    assert math.isnan(found.run.metrics["offered_load"])
    assert not found.run.metrics["saturated"]


def test_single_stream_ends_when_both_minima_are_met():
    """The last query is the first that is issued at the minimum time or later, if there are enough by then."""
    for seconds, least in ((5.0, 1), (0.0, 77), (1.0, 500), (2.0, None)):
        found = scenarios.single_stream(TS, min_duration_s=seconds, min_queries=least, rng=4)
        issued = found.run.requests["arrival_s"]
        assert found.n == len(issued) >= (least or 64)
        assert found.duration_s == issued[-1] >= seconds
        assert found.n == (least or 64) or issued[-2] < seconds
        assert found.checks["min_duration"]
        assert found.checks["min_queries"]


def test_early_stopping_estimates():
    """n >= n_min(t), largest t: the estimate is element n - t; LoadGen's published log of 2,048 queries drops 172."""
    found = scenarios.single_stream(TS, min_duration_s=0.0, min_queries=2048, rng=5)
    assert found.n == 2048
    assert found.early_stopping.allowed - 1 == 172
    ordered = sorted(found.query_latency_s)
    assert found.estimate_s[0.9] == ordered[2048 - 173]
    t = max(t for t in range(1, 100) if statistics.early_stopping_min(t, 0.99) <= 2048)
    assert found.estimate_s[0.99] == ordered[2048 - t]
    few = scenarios.single_stream(TS, min_duration_s=0.0, min_queries=63, rng=5)
    assert not few.valid
    assert not few
    assert few.estimate_s == {}
    assert few.reasons == ("63 queries, early stopping needs at least 64",)
    just = scenarios.single_stream(TS, min_duration_s=0.0, min_queries=64, rng=5)
    assert just.valid
    assert just.estimate_s == {0.9: max(just.query_latency_s)}


def test_rates_and_percentiles_by_definition():
    found = scenarios.single_stream(TS, min_duration_s=3.0, rng=6)
    assert dict(found.latency_s) == {p: element(found.query_latency_s, p) for p in (.5, .9, .95, .97, .99, .999)}
    r = found.run.requests
    assert found.completed_rate == (found.n - 1) / r["finish_s"].max()
    assert found.scheduled_rate == (found.n - 1) / r["arrival_s"][-1]


# --- MultiStream --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheduler", ["fcfs", "sjf", "round_robin"])
def test_multi_stream_queries(scheduler):
    """A query's latency is that of its slowest sample: the work of its samples, whatever their order."""
    found = scenarios.multi_stream(TS, scheduler, min_duration_s=20.0, min_queries=50, rng=7)
    r = found.run.requests
    assert len(r) == 8 * found.n == found.n_samples
    release, finish = r["arrival_s"].reshape(-1, 8), r["finish_s"].reshape(-1, 8)
    assert (release == release[:, :1]).all()
    assert (release[1:, 0] == finish[:-1].max(axis=1)).all()
    assert found.query_latency_s == pytest.approx(r["isolated_s"].reshape(-1, 8).sum(axis=1), rel=1e-9)
    assert (found.query_latency_s == (finish - release).max(axis=1)).all()
    assert found.result == element(found.query_latency_s, 0.99)
    assert found.duration_s == release[-1, 0] >= 20.0 > release[-2, 0]


def test_multi_stream_early_stopping_needs_662_queries():
    assert scenarios.multi_stream(TS, min_duration_s=1.0, rng=8).n == 662
    few = scenarios.multi_stream(TS, min_duration_s=1.0, min_queries=661, rng=8)
    assert not few.valid
    assert "at least 662" in few.reasons[0]
    one = scenarios.multi_stream(TS, samples_per_query=1, min_duration_s=1.0, min_queries=64, percentile=0.9, rng=8)
    single = scenarios.single_stream(TS, min_duration_s=1.0, rng=8)
    assert (one.query_latency_s == single.query_latency_s).all()


# --- Server -------------------------------------------------------------------------------------------------------


def test_server_schedule():
    found = scenarios.server(TS, "fcfs", 20.0, 0.5, min_duration_s=40.0, rng=9)
    at = found.run.requests["arrival_s"]
    assert at[0] == 0.0
    assert at[-2] < 40.0 <= at[-1]
    assert found.scheduled_rate == (found.n - 1) / at[-1]
    assert found.result == found.completed_rate == (found.n - 1) / found.run.requests["finish_s"].max()
    gaps = np.diff(at)
    assert np.mean(gaps) == pytest.approx(1 / 20.0, abs=4 / 20.0 / math.sqrt(len(gaps)))
    assert np.std(gaps) / np.mean(gaps) == pytest.approx(1.0, abs=0.15)
    assert found.run.requests["deadline_s"] == pytest.approx(at + 0.5)


def test_server_verdict_is_percentile_and_early_stopping():
    """Targets set at order statistics of the run: both conditions, each alone, and none."""
    base = scenarios.server(TS, "fcfs", 25.0, 1.0, min_duration_s=60.0, rng=10)
    ordered, n = np.sort(base.query_latency_s), base.n
    allowed = statistics.early_stopping(n, 0, 0.99).allowed
    seen = set()
    for over in (0, 1, allowed, allowed + 1, n // 100 - 1, n // 100, n // 100 + 1, n // 20):
        target = float(ordered[n - 1 - over])  # exactly `over` are strictly above it
        found = scenarios.server(TS, "fcfs", 25.0, target, min_duration_s=60.0, rng=10)
        assert (found.query_latency_s == base.query_latency_s).all()
        assert found.overlatency == over
        assert found.checks["performance"] == (element(ordered, 0.99) <= target)
        assert found.checks["early_stopping"] == (n >= statistics.early_stopping_min(over, 0.99)) == (over <= allowed)
        assert found.valid == (found.checks["performance"] and found.checks["early_stopping"])
        assert len(found.reasons) == 2 - found.checks["performance"] - found.checks["early_stopping"]
        seen.add((found.checks["performance"], found.checks["early_stopping"]))
    assert seen == {(True, True), (True, False), (False, False)}


def test_server_follows_mm1():
    """One layer of exponential length at load 0.7: mean latency 1 / (mu - lambda), 20 replications."""
    service = np.random.default_rng(11).exponential(0.01, (20_000, 1))
    ts = ds.TraceSet({"m/p": ds.Trace(service, model="m")})
    mean = service.mean()
    found = [np.mean(scenarios.server(ts, "fcfs", 0.7 / mean, 1.0, min_duration_s=100.0, rng=[12, seed])
                     .query_latency_s) for seed in range(20)]
    error = np.std(found, ddof=1) / math.sqrt(20)
    assert np.mean(found) == pytest.approx(mean / 0.3, abs=4 * error + 0.02 * mean / 0.3)


def test_server_targets():
    assert scenarios.SERVER_TARGETS["resnet50"].latency_s == 0.015
    assert scenarios.SERVER_TARGETS["llama2-70b-interactive"].per_token_s == 0.04
    named = scenarios.server(TS, "edf", 5.0, "bert", min_duration_s=20.0, rng=1)
    assert named.settings["latency_s"] == 0.13
    with pytest.raises(ValueError, match="no bound on the whole query"):
        scenarios.server(TS, "edf", 5.0, "llama2-70b")
    with pytest.raises(TypeError, match="target_qps and latency_s"):
        scenarios.server(TS, "edf")
    with pytest.raises(TypeError):
        scenarios.SERVER_TARGETS["resnet50"] = None


def test_peak_rate_with_early_stopping():
    """The searched rate is valid and 20 % more is not."""
    from dnnsched.peak import LatencyTarget

    def run(qps, seed):
        return scenarios.server(TS, "fcfs", qps, 0.2, min_duration_s=30.0, rng=seed).run

    peak = ds.find_peak_rate(run, LatencyTarget(0.2), precision=0.5, replications=2, start=8.0)
    seeds = statistics.seeds(7, 2)
    rates = [max(p.rate_rps for p in peak.probes if p.met and p.replication == r) for r in range(2)]
    assert peak.rate == pytest.approx(np.mean(rates))
    for seed, rate in zip(seeds, rates, strict=True):
        assert scenarios.server(TS, "fcfs", rate, 0.2, min_duration_s=30.0, rng=seed).valid
        assert not scenarios.server(TS, "fcfs", 1.2 * rate, 0.2, min_duration_s=30.0, rng=seed).valid


# --- Offline ------------------------------------------------------------------------------------------------------


def test_offline_throughput():
    found = scenarios.offline(TS, min_duration_s=2.0, min_samples=10, rng=13)
    work = found.run.requests["isolated_s"].sum()
    assert found.result == pytest.approx(found.n_samples / work)
    assert found.duration_s == pytest.approx(work)
    assert 2.0 <= found.duration_s < 2.2
    assert (found.run.requests["arrival_s"] == 0).all()
    assert found.early_stopping is None
    more = scenarios.offline(TS, min_duration_s=0.0, min_samples=333, rng=13)
    assert more.n_samples == 333
    assert (more.run.requests["sample"][:found.n_samples] == found.run.requests["sample"][:333]).all()


# --- seeds --------------------------------------------------------------------------------------------------------


def test_four_independent_seeds():
    a = scenarios.server(TS, "fcfs", 10.0, 1.0, min_duration_s=20.0, rng=14)
    b = scenarios.server(TS, "sjf", 20.0, 1.0, min_duration_s=20.0, rng=14)
    n = min(a.n, b.n)
    ra, rb = a.run.requests[:n], b.run.requests[:n]
    assert (ra["sample"] == rb["sample"]).all()
    assert (ra["model"] == rb["model"]).all()
    assert ra["arrival_s"] == pytest.approx(2 * rb["arrival_s"])
    single = scenarios.single_stream(TS, min_duration_s=5.0, rng=14).run.requests
    assert (single["sample"][:n] == ra["sample"][: len(single)]).all()
    other = scenarios.server(TS, "fcfs", 10.0, 1.0, min_duration_s=20.0, rng=15).run.requests
    assert (other["sample"][:50] != ra["sample"][:50]).any()
    same = scenarios.server(TS, "fcfs", 10.0, 1.0, min_duration_s=20.0, rng=np.random.SeedSequence(14))
    assert (same.query_latency_s == a.query_latency_s).all()


def test_the_sample_set():
    seen = {}
    for size in (1, 5, 40):
        r = scenarios.single_stream(TS, min_duration_s=0.0, min_queries=2000, performance_samples=size,
                                    rng=16).run.requests
        for key in range(2):
            seen[size, key] = set(r["sample"][r["model"] == key].tolist())
            assert len(seen[size, key]) == size
    assert seen[1, 0] <= seen[5, 0]
    assert seen[5, 0] != seen[5, 1]
    with pytest.raises(ValueError, match=r"performance_samples: .* 40 samples of trace 'm0/p', got 41"):
        scenarios.single_stream(TS, performance_samples=41)
    mixed = scenarios.single_stream(TS, min_duration_s=0.1, mix={"m1/p": 1.0}, rng=16).run.requests
    assert set(mixed["model"].tolist()) == {1}


# --- arguments ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("call", "error", "match"), [
    (lambda: scenarios.single_stream(1), TypeError, "ts"),
    (lambda: scenarios.single_stream(TS, percentile=1.0), ValueError, "percentile"),
    (lambda: scenarios.single_stream(TS, percentile=0), ValueError, "percentile"),
    (lambda: scenarios.single_stream(TS, min_duration_s=-1), ValueError, "min_duration_s"),
    (lambda: scenarios.single_stream(TS, min_duration_s=math.inf), ValueError, "min_duration_s"),
    (lambda: scenarios.single_stream(TS, min_duration_s=1e9), ValueError, "min_duration_s: expected at most"),
    (lambda: scenarios.single_stream(TS, min_queries=10**9), ValueError, "min_queries: expected at most"),
    (lambda: scenarios.single_stream(TS, min_queries=0), ValueError, "min_queries"),
    (lambda: scenarios.single_stream(TS, deadline_s=0), ValueError, "deadline_s"),
    (lambda: scenarios.single_stream(TS, record="none"), TypeError, "record"),
    (lambda: scenarios.single_stream(TS, "dysta", min_duration_s=0), ValueError, "finite deadlines"),
    (lambda: scenarios.single_stream(TS, clock="artifact", min_duration_s=0), ValueError, "closed loops"),
    (lambda: scenarios.multi_stream(TS, samples_per_query=0), ValueError, "samples_per_query"),
    (lambda: scenarios.multi_stream(TS, samples_per_query=1.5), TypeError, "samples_per_query"),
    (lambda: scenarios.server(TS, "fcfs", 0, 1.0), ValueError, "target_qps"),
    (lambda: scenarios.server(TS, "fcfs", 1e9, 1.0), ValueError, "queries"),
    (lambda: scenarios.server(TS, "fcfs", 1.0, -1), ValueError, "latency_s"),
    (lambda: scenarios.offline(TS, min_samples=0), ValueError, "min_samples"),
], ids=range(18))
def test_invalid_arguments(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_own_schedulers_and_deadlines():
    class Longest:
        needs = ("remaining",)

        def pick(self, view):
            return view.remaining.argmax()

    own = scenarios.multi_stream(TS, Longest(), min_duration_s=0.0, min_queries=20, rng=17)
    plain = scenarios.multi_stream(TS, "fcfs", min_duration_s=0.0, min_queries=20, rng=17)
    assert own.query_latency_s == pytest.approx(plain.query_latency_s, rel=1e-9)
    assert (own.run.order != plain.run.order).any()
    dysta = scenarios.multi_stream(TS, "dysta", min_duration_s=0.0, min_queries=20, rng=17, deadline_s=0.25)
    r = dysta.run.requests
    assert (r["deadline_s"] == r["arrival_s"] + 0.25).all()
    assert dysta.run.metrics["violation_rate"] == np.mean(r["finish_s"] > r["arrival_s"] + 0.25)


def test_a_result_is_frozen():
    found = scenarios.single_stream(TS, min_duration_s=0.0, rng=1)
    with pytest.raises(AttributeError):
        found.valid = False
    with pytest.raises(TypeError):
        found.latency_s[0.5] = 0.0
    with pytest.raises(ValueError, match="read-only"):
        found.query_latency_s[0] = 0.0
    assert "SingleStream: VALID; 90th percentile of latency" in found.text()


# --- logs ---------------------------------------------------------------------------------------------------------


def read_detail(path):
    out = {}
    for line in path.read_text().splitlines():
        assert line.startswith(":::MLLOG ")
        record = json.loads(line[len(":::MLLOG "):])
        assert record["namespace"] == "mlperf::logging"
        assert set(record["metadata"]) == {"is_error", "is_warning", "file", "line_no", "pid", "tid"}
        out[record["key"]] = record["value"]
    return out


RUNS = {
    "SingleStream": lambda **o: scenarios.single_stream(TS, min_duration_s=1.0, rng=18, **o),
    "MultiStream": lambda **o: scenarios.multi_stream(TS, min_duration_s=1.0, rng=18, **o),
    "Server": lambda **o: scenarios.server(TS, "fcfs", 28.0, 0.15, min_duration_s=10.0, rng=18, **o),
    "Offline": lambda **o: scenarios.offline(TS, min_duration_s=1.0, min_samples=70, rng=18, **o),
}


@pytest.mark.parametrize("name", RUNS)
def test_mlperf_logs(name, tmp_path):
    found = RUNS[name]()
    paths = found.write_mlperf_log(tmp_path / "logs")
    assert [p.name for p in paths] == ["mlperf_log_summary.txt", "mlperf_log_detail.txt"]
    assert sorted(p.name for p in (tmp_path / "logs").iterdir()) == sorted(p.name for p in paths)
    summary, detail = paths[0].read_text(), read_detail(paths[1])
    assert "not an official MLPerf result" in summary
    assert "not an official MLPerf result" in detail["dnnsched_notice"]
    assert f"Scenario : {name}" in summary
    assert f"Result is : {detail['result_validity']}" in summary
    assert detail["result_validity"] == ("VALID" if found.valid else "INVALID")
    assert detail["result_min_duration_met"] is detail["result_min_queries_met"] is True
    assert ("result_invalid_reason" in detail) == (not found.valid)
    assert detail["result_query_count"] == (1 if name == "Offline" else found.n)
    values = latencies(found.run)
    assert detail["result_99.90_percentile_latency_ns"] == round(element(values, 0.999) * 1e9)
    assert detail["result_mean_latency_ns"] == pytest.approx(values.mean() * 1e9, abs=1)
    if name == "Server":
        assert not found.valid
        assert detail["result_overlatency_query_count"] == (values > 0.15).sum()
        assert detail["result_completed_samples_per_sec"] == found.result
        assert detail["result_perf_constraints_met"] == found.checks["performance"]
    elif name == "Offline":
        assert detail["result_samples_per_second"] == found.result
    else:
        key = "early_stopping_latency_ss" if name == "SingleStream" else "early_stopping_latency_ms"
        assert detail[key] == round(found.estimate_s[found.percentile] * 1e9)
    if name == "MultiStream":
        assert detail["result_99.00_percentile_per_query_latency_ns"] == round(found.result * 1e9)


@pytest.mark.parametrize("name", RUNS)
def test_the_trace_log_is_read_back(name, tmp_path):
    found = RUNS[name]()
    path = found.write_mlperf_log(tmp_path, queries=5)[2]
    json.loads(path.read_text())
    table = ds.workloads.read_mlperf_table(path)
    r = found.run.requests[table["sample_seq"].astype(int)]
    per_query = {"MultiStream": 8, "Offline": len(found.run.requests)}.get(name, 1)
    assert len(table) == (len(r) if name == "Offline" else 5 * per_query)
    assert table["latency_s"] == pytest.approx(r["finish_s"] - r["arrival_s"], abs=1e-9)
    assert (table["sample_idx"] == r["sample"]).all()
    assert (table["query_seq"] == table["sample_seq"] // per_query).all()
    again = found.write_mlperf_log(tmp_path / "again", queries=5)[2]
    assert again.read_bytes() == path.read_bytes()


def test_logs_are_written_whole_or_not_at_all(tmp_path):
    found = RUNS["SingleStream"]()
    blocked = tmp_path / "file"
    blocked.write_text("x")
    with pytest.raises((FileExistsError, NotADirectoryError)):
        found.write_mlperf_log(blocked)
    with pytest.raises(ValueError, match="queries"):
        found.write_mlperf_log(tmp_path, queries=-1)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


# --- requests and verdict apart, configuration files --------------------------------------------------------------


def test_requests_and_verdict_are_two_halves(tmp_path):
    wl = scenarios.workload("server", TS, target_qps=20.0, latency_s=0.3, min_duration_s=20.0, rng=19)
    whole = scenarios.server(TS, "sjf", 20.0, 0.3, min_duration_s=20.0, rng=19)
    wl.save(tmp_path / "w.npz")
    for again in (wl, ds.Workload.load(tmp_path / "w.npz")):
        found = scenarios.evaluate(ds.simulate(again, "sjf"))
        assert (found.query_latency_s == whole.query_latency_s).all()
        assert (found.valid, found.result, found.settings) == (whole.valid, whole.result, whole.settings)
    for name in ("single_stream", "multi_stream", "offline"):
        load = scenarios.workload(name, TS, min_duration_s=0.5, rng=19)
        assert scenarios.evaluate(ds.simulate(load, "fcfs")).scenario == scenarios.NAMES[name]
    with pytest.raises(ValueError, match="name"):
        scenarios.workload("burst", TS)
    with pytest.raises(ValueError, match="scenario's workload"):
        scenarios.evaluate(ds.simulate(ds.workloads.poisson(TS, 10.0, 20, rng=1), "fcfs"))
    with pytest.raises(TypeError, match="run"):
        scenarios.evaluate(ds.simulate(wl, "fcfs", record="none"))


def configured(**workload):
    from dnnsched import runconfig

    return runconfig.parse({"replications": 2, "timeline": False, "workload": {"traces": "multi-attnn", **workload},
                            "scheduler": [{"name": "fcfs"}, {"name": "sjf"}]})


def test_a_scenario_in_a_configuration():
    from dnnsched import running

    report = running.run(configured(scenario="server", rate=20.0, latency_s=0.25, min_duration_s=40.0))
    table = report.tables["scenario"]
    ts = ds.traces.load("multi-attnn")
    for row, name in zip(table.rows, ("fcfs", "sjf"), strict=True):
        found = [scenarios.server(ts, name, 20.0, 0.25, min_duration_s=40.0, rng=seed) for seed in (1, 2)]
        assert row[0] == name
        assert row[1] == f"{sum(f.valid for f in found)} of 2"
        assert row[2].startswith(f"{np.mean([f.result for f in found]):.3g}"[:3])
        assert (row[3] == "-") == all(f.valid for f in found)
    single = running.run(configured(scenario="single_stream", min_duration_s=5.0))
    assert [row[1] for row in single.tables["scenario"].rows] == ["2 of 2", "2 of 2"]


@pytest.mark.parametrize(("workload", "match"), [
    ({"scenario": "servers", "rate": 1.0, "latency_s": 1.0}, "did you mean 'server'"),
    ({"scenario": "server", "rate": 1.0}, "latency_s: needed"),
    ({"scenario": "server", "latency_s": 1.0}, "rate: needed"),
    ({"scenario": "server", "rate": 1.0, "latency_s": 1.0, "n": 7}, "n: not used"),
    ({"scenario": "offline", "rate": 1.0}, "rate: not used"),
    ({"scenario": "offline", "min_duration_s": 0}, "min_duration_s: expected more than 0"),
    ({"rate": 1.0, "latency_s": 1.0}, "need a scenario"),
])
def test_bad_scenarios_in_a_configuration(workload, match):
    with pytest.raises(ValueError, match=match):
        configured(**workload)
