"""Timelines: well-formed Chrome traces that say what ran when, within their bounds."""

import collections
import gzip
import json

import numpy as np
import pytest

import dnnsched as ds


@pytest.fixture(scope="module")
def traces():
    bits = np.random.default_rng(5)
    return ds.TraceSet({
        "net/dense": ds.Trace(bits.uniform(0.5, 1.5, (7, 5)) * 1e-3, model="net"),
        'odd "name"\n/é': ds.Trace(bits.uniform(0.5, 1.5, (7, 3)) * 3e-3, model="odd", pattern="block"),
    })


@pytest.fixture(scope="module")
def workload(traces):
    return ds.workloads.poisson(traces, rho=0.9, n=80, slo_multiplier=4.0, rng=3)


@pytest.fixture(scope="module")
def run(workload):
    return ds.simulate(workload, "dysta", timeline=True)


def load(path):
    """Events by phase, the whole document, and the metadata events."""
    document = json.loads(path.read_text(encoding="utf-8"))
    phases = collections.defaultdict(list)
    for event in document["traceEvents"]:
        phases[event["ph"]].append(event)
    return phases, document


def write(result, path, **kwargs):
    written, cut = result.timeline.to_chrome_trace(path, **kwargs)
    phases, document = load(path)
    assert written == sum(len(v) for ph, v in phases.items() if ph != "M")
    return phases, document, cut


def nanoseconds(event, field):
    """Microseconds with three decimals are whole nanoseconds."""
    value = round(event[field] * 1000)
    assert abs(value - event[field] * 1000) < 1e-3
    return value


def layers(phases):
    """The X slices of the accelerators."""
    return [e for e in phases["X"] if e["pid"] == 1]


@pytest.mark.parametrize("scheduler", ["fcfs", "dysta", "round_robin", "prema"])
@pytest.mark.parametrize("switch_cost_s", [0.0, 1e-4])
def test_slices_never_overlap_and_sum_to_the_busy_time(workload, tmp_path, scheduler, switch_cost_s):
    result = ds.simulate(workload, scheduler, timeline=True, switch_cost_s=switch_cost_s)
    phases, _, cut = write(result, tmp_path / "t.json")
    assert cut == 0
    tracks = collections.defaultdict(list)
    for e in phases["X"]:
        tracks[e["pid"], e["tid"]].append((nanoseconds(e, "ts"), nanoseconds(e, "dur")))
    for slices in tracks.values():
        ends = 0
        for start, duration in sorted(slices):
            assert duration >= 0
            assert start >= ends
            ends = start + duration
    r = result.requests
    makespan = r["finish_s"].max() - r["arrival_s"].min()
    busy = sum(e["dur"] for e in layers(phases)) * 1e-6
    assert busy == pytest.approx(result.metrics["utilization"] * makespan, abs=1e-9 * len(layers(phases)))
    assert len(layers(phases)) == result.metrics["stages"]


def test_slices_are_the_layers_in_order(run, tmp_path):
    phases, _, _ = write(run, tmp_path / "t.json")
    mine = collections.defaultdict(list)
    for e in layers(phases):
        mine[e["args"]["request"]].append((e["ts"], e["args"]["layer"], e["name"]))
    keys = list(run.traces)
    for row in run.requests:
        done = sorted(mine[row["request_id"]])
        assert [layer for _, layer, _ in done] == list(range(row["n_layers"]))
        assert {name for _, _, name in done} == {keys[row["model"]]}
        assert done[0][0] == pytest.approx(row["first_start_s"] * 1e6, abs=1e-3)


def test_every_request_is_one_span_with_its_flow(run, tmp_path):
    phases, _, _ = write(run, tmp_path / "t.json")
    begin, end = ({e["id2"]["local"]: e for e in phases[ph]} for ph in "be")
    assert len(begin) == len(phases["b"]) == len(phases["e"]) == len(run.requests)
    assert begin.keys() == end.keys()
    for row in run.requests:
        b, e = begin[str(row["request_id"])], end[str(row["request_id"])]
        assert b["ts"] == pytest.approx(row["arrival_s"] * 1e6, abs=1e-3)
        assert e["ts"] == pytest.approx(row["finish_s"] * 1e6, abs=1e-3)
        assert {k: b[k] for k in ("cat", "name", "pid", "tid")} == {k: e[k] for k in ("cat", "name", "pid", "tid")}
    start, finish = ({e["id"]: e for e in phases[ph]} for ph in "sf")
    assert start.keys() == finish.keys() == set(run.requests["request_id"].tolist())
    places = {(e["pid"], e["tid"], e["ts"]) for e in phases["X"]}  # viewers bind flows to slices
    for e in [*start.values(), *finish.values()]:
        assert (e["name"], e["cat"]) == ("queued", "queue")
        assert (e["pid"], e["tid"], e["ts"]) in places


def test_marks_and_counter(run, tmp_path):
    phases, _, _ = write(run, tmp_path / "t.json")
    missed = {e["args"]["request"] for e in phases["i"] if e["name"] == "deadline missed"}
    assert missed == set(np.flatnonzero(~run.requests["slo_met"]).tolist())
    assert missed
    gave_way = collections.Counter(e["args"]["request"] for e in phases["i"] if e["name"] == "preempted")
    assert [gave_way[i] for i in range(len(run.requests))] == run.requests["n_preempt"].tolist()
    assert sum(gave_way.values()) > 0
    levels = [e["args"]["requests"] for e in phases["C"]]
    assert len(levels) == 2 * len(run.requests)
    assert levels[-1] == 0
    assert min(levels) == 0
    times = [e["ts"] for e in phases["C"]]
    assert times == sorted(times)
    assert set(np.abs(np.diff([0, *levels])).tolist()) == {1}


def test_names_and_configuration(run, tmp_path):
    phases, document, _ = write(run, tmp_path / "t.json", other={"note": "x"})
    names = {e["args"]["name"] for e in phases["M"]}
    assert {"accelerators", "requests", "accelerator 0", *run.traces} <= names
    assert document["displayTimeUnit"] == "ns"
    other = document["otherData"]
    assert other["scheduler"] == "dysta"
    assert other["note"] == "x"


@pytest.mark.parametrize("cap", [100, 101, 150, 333])
def test_the_cap_is_kept_and_noted(run, tmp_path, cap):
    phases, document, cut = write(run, tmp_path / "t.json", max_events=cap)
    events = [e for e in document["traceEvents"] if e["ph"] != "M"]
    assert len(events) <= cap
    notes = [e for e in phases["M"] if e["name"] == "dnnsched_cut"]
    assert len(notes) == 1
    assert str(cut) in notes[0]["args"]["name"]
    assert cut > 0
    assert len(phases["b"]) == len(phases["e"])


def test_slices_that_the_run_did_not_keep_are_noted(workload, tmp_path):
    result = ds.simulate(workload, "dysta", timeline=50)
    assert len(result.timeline.slices) == 50
    assert result.timeline.lost == result.metrics["stages"] - 50
    phases, _, cut = write(result, tmp_path / "t.json")
    assert cut == result.timeline.lost
    assert any(e["name"] == "dnnsched_cut" for e in phases["M"])


def test_a_window_leaves_out_the_rest(run, tmp_path):
    r = run.requests
    t0, t1 = np.quantile(r["arrival_s"], (0.3, 0.6))
    phases, _, cut = write(run, tmp_path / "t.json", window=(t0, t1))
    assert cut > 0
    low, high = t0 * 1e6 - 1e-3, t1 * 1e6 + 1e-3
    assert all(low <= e["ts"] <= high for ph, events in phases.items() if ph != "M" for e in events)
    there = (r["finish_s"] >= t0) & (r["arrival_s"] <= t1)
    assert {e["id2"]["local"] for e in phases["b"]} == {str(i) for i in np.flatnonzero(there)}
    assert len(phases["e"]) == len(phases["b"])


def test_the_same_bytes_every_time(workload, tmp_path):
    files = []
    for name in ("a.json.gz", "b.json.gz", "plain.json"):
        result = ds.simulate(workload, "prema", timeline=True)
        result.timeline.to_chrome_trace(tmp_path / name)
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1]
    assert gzip.decompress(files[0]) == files[2]
    assert len(files[0]) < len(files[2]) / 4


def test_a_timeline_changes_no_result(workload, run):
    plain = ds.simulate(workload, "dysta")
    assert plain.requests.tobytes() == run.requests.tobytes()


def test_artifact_semantics_says_when_time_moved_back(traces, tmp_path):
    wl = ds.workloads.poisson(traces, rho=0.6, n=300, rng=1, semantics="artifact")
    result = ds.simulate(wl, "fcfs", semantics="artifact", timeline=True)
    assert result.metrics["rewinds"] > 0
    _, document, _ = write(result, tmp_path / "t.json")
    assert any("moved back" in note for note in document["otherData"]["notes"])


@pytest.mark.parametrize(("kwargs", "error", "word"), [
    ({"max_events": 99}, ValueError, "max_events"), ({"max_events": 1e3}, TypeError, "max_events"),
    ({"window": (1.0, 1.0)}, ValueError, "window"), ({"window": (2.0, 1.0)}, ValueError, "window"),
    ({"window": (float("nan"), 1.0)}, ValueError, "window")])
def test_bad_arguments_leave_no_file(run, tmp_path, kwargs, error, word):
    with pytest.raises(error, match=word):
        run.timeline.to_chrome_trace(tmp_path / "t.json", **kwargs)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written(run, tmp_path):
    with pytest.raises(OSError, match="missing"):
        run.timeline.to_chrome_trace(tmp_path / "missing" / "t.json")


def test_keys_in_any_language(run, tmp_path):
    run.timeline.to_chrome_trace(tmp_path / "t.json")
    raw = (tmp_path / "t.json").read_bytes()
    raw.decode("ascii")
    assert b"\\u00e9" in raw
