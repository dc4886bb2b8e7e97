"""Timelines: well-formed Chrome traces that say what ran when, within their bounds."""

import collections
import gzip
import json
from types import SimpleNamespace

import numpy as np
import pytest
import sim_cases

import dnnsched as ds
from dnnsched import cli
from dnnsched.sim import DELAY, Simulation, System


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


def values_at(events, name, field, times):
    """A counter's value just after each time (ns), 0 before its first event."""
    mine = [(nanoseconds(e, "ts"), e["args"][field]) for e in events if e["name"] == name]
    assert [t for t, _ in mine] == sorted({t for t, _ in mine}), "one value per instant"
    at = np.searchsorted([t for t, _ in mine], times, side="right")
    return np.array([0, *(v for _, v in mine)])[at]


def check_counters(result, phases, rows):
    """Counters against interval counts from the recorded columns and slices."""
    s = result.timeline.slices if hasattr(result, "timeline") and not callable(result.timeline) else result.slices
    start, end = (np.round(s[c] * 1e9) for c in ("t0_s", "t1_s"))
    arrival, finish = (np.round(rows[c] * 1e9) for c in ("arrival_s", "finish_s"))
    times = np.unique(np.concatenate([start, end, arrival, finish, (start + end) // 2]))
    running = (start <= times[:, None]).sum(1) - (end <= times[:, None]).sum(1)
    live = (arrival <= times[:, None]).sum(1) - (finish <= times[:, None]).sum(1)
    busy = ((start <= times[:, None]) / s["n"]).sum(1) - ((end <= times[:, None]) / s["n"]).sum(1)
    np.testing.assert_array_equal(values_at(phases["C"], "requests", "running", times), running)
    np.testing.assert_array_equal(values_at(phases["C"], "requests", "waiting", times), live - running)
    np.testing.assert_allclose(values_at(phases["C"], "utilization", "accelerators", times), busy, atol=1e-9)


def test_counters(run, tmp_path):
    phases, _, _ = write(run, tmp_path / "t.json")
    check_counters(run, phases, run.requests)


# --- the acceptance test: random workloads, and systems with several resources --------------------------

def random_system(seed):
    """Pools of one to three resources, batches, a bounded queue, travel, early exits; (simulation, finished)."""
    bits = np.random.default_rng(seed)
    s = System(owners=1)
    samples = 5
    hold = s.table(bits.uniform(0.2, 1.0, (samples, 4)), ("sample",))
    link = s.table([0.125], ())
    batch = s.table(0.25 + 0.25 * np.arange(1, 4)[:, None], ("load",))
    front = s.pool("fcfs", n=int(bits.integers(1, 4)), cap=int(bits.choice([0, 3])))
    back = s.pool(("batch_fcfs", [3]), n=int(bits.integers(1, 3)), max_batch=3)
    s.program([{"pool": front, "hold": hold, "hold_column": 0, "delay": link},
               {"pool": back, "hold": batch}])
    s.program([{"pool": DELAY, "delay": link}, {"pool": front, "hold": hold, "hold_column": 1},
               {"pool": front, "hold": hold, "hold_column": 2}])
    n = int(bits.choice([0, 1, 40]))
    sim = Simulation(s, n, slices=1000)
    arrival = np.sort(np.round(bits.uniform(0, 12, n), bits.choice([1, 9])))
    sim.feed(arrival, program=bits.integers(0, 2, n).astype(np.int32),
             sample=bits.integers(0, samples, n).astype(np.int32), deadline=arrival + bits.uniform(0.1, 4, n))
    assert sim.run() == "done"
    return sim


def check_item_08(timeline, path, busy_s, rows, cap):
    """The acceptance list for one run; `rows`: its columns by name."""
    timeline.to_chrome_trace(path)
    phases, _ = load(path)
    tracks = collections.defaultdict(list)
    for e in phases["X"]:
        tracks[e["pid"], e["tid"]].append((nanoseconds(e, "ts"), nanoseconds(e, "ts") + nanoseconds(e, "dur")))
    for slices in tracks.values():
        open_ends = []
        for start, end in sorted(slices, key=lambda x: (x[0], -x[1])):
            while open_ends and open_ends[-1] <= start:
                open_ends.pop()
            assert not open_ends or end <= open_ends[-1], "slices of a track nest"
            open_ends.append(end)
    for resource, busy in enumerate(busy_s):
        mine = [e["dur"] for e in layers(phases) if e["tid"] == resource]
        assert sum(mine) * 1e-6 == pytest.approx(busy, abs=1e-9 * (1 + len(mine)))
        ends = 0
        for start, end in sorted(tracks[1, resource]):
            assert start >= ends, "an accelerator runs one thing at a time"
            ends = end
    begun, ended = (collections.Counter((e["id2"]["local"], e["name"], e["cat"]) for e in phases[ph]) for ph in "be")
    assert begun == ended
    assert sorted(int(i) for i, _, _ in begun) == list(range(len(rows["finish_s"])))
    started = set(np.flatnonzero(~np.isnan(rows["first_start_s"])).tolist())
    assert {int(e["id2"]["local"]) for e in phases["n"]} == started
    assert {e["id"] for e in phases["s"]} == {e["id"] for e in phases["f"]} == started
    marks = collections.Counter(e["args"]["request"] for e in phases["i"] if e["name"] == "preempted")
    assert [marks[i] for i in range(len(rows["finish_s"]))] == rows["n_preempt"].tolist()
    assert {e["args"]["request"] for e in phases["i"] if e["name"] == "dropped"} == set(
        np.flatnonzero(rows["status"] == 2).tolist())
    total, worked = sum(len(v) for ph, v in phases.items() if ph != "M"), sum(e["dur"] for e in layers(phases)) * 1e-6
    if total > cap:
        written, cut = timeline.to_chrome_trace(path, max_events=cap)
        phases, _ = load(path)
        events = [e for ph, v in phases.items() if ph != "M" for e in v]
        assert cap >= written == len(events)
        note, = (e["args"]["name"] for e in phases["M"] if e["name"] == "dnnsched_cut")
        assert note.endswith(f": {cut}")
        assert cut == total - (written - 1)
        mark, = (e for e in phases["i"] if e["name"] == "cut here")
        assert mark["args"]["left_out"] == cut
        assert max(e["ts"] for e in events) <= mark["ts"]
        assert collections.Counter(e["id2"]["local"] for e in phases["b"]) == collections.Counter(
            e["id2"]["local"] for e in phases["e"])
        assert len(phases["s"]) == len(phases["f"])
    return total, worked


@pytest.mark.parametrize("scheduler", ["fcfs", "sjf", "dysta", "planaria"])
def test_item_08_timeline(tmp_path, scheduler):
    cut = 0
    for seed in range(25):
        wl = sim_cases.workload(*sim_cases.random_case(seed))
        result = ds.simulate(wl, scheduler, timeline=True)
        r = result.requests
        total, worked = check_item_08(result.timeline, tmp_path / "t.json", result.stats["busy_s"], r, 100)
        makespan = r["finish_s"].max() - r["arrival_s"].min()
        assert worked == pytest.approx(result.metrics["utilization"] * makespan, rel=1e-6)
        cut += total > 100
    assert cut > 10, "the cap must have been met"


@pytest.mark.parametrize("seed", range(12))
def test_item_08_timeline_of_a_system(tmp_path, seed):
    sim = random_system(seed)
    timeline = sim.timeline(["split", "local"])
    check_item_08(timeline, tmp_path / "t.json", sim.stats["busy_s"], sim.columns, 100)
    timeline.to_chrome_trace(tmp_path / "t.json")
    phases, _ = load(tmp_path / "t.json")
    check_counters(sim, phases, timeline.rows)
    batches = [e for e in layers(phases) if e["args"]["batch"] > 1]
    s = sim.slices
    assert sum(e["args"]["batch"] for e in batches) == np.count_nonzero(s["n"] > 1)
    for e in batches:
        members = s["id"][(np.round(s["t0_s"] * 1e9) == nanoseconds(e, "ts")) & (s["resource"] == e["tid"])]
        assert e["args"]["requests"] == members.tolist()
        assert e["name"].endswith(f" x{e['args']['batch']}")


def test_a_timeline_of_a_run_that_has_not_ended(tmp_path):
    s = System()
    s.pool(external=True)
    hold = s.table([1.0], ())
    s.program([{"pool": 0, "hold": hold}])
    sim = Simulation(s, 3, slices=9)
    sim.feed(np.array([0.0, 0.25, 0.5]))
    for _ in range(2):
        assert sim.run() == "decision"
        sim.choose(0)
    assert sim.run() == "decision"  # two have run, the third is asked about
    timeline = sim.timeline()
    phases, _, cut = write(SimpleNamespace(timeline=timeline), tmp_path / "t.json")
    assert cut == 0
    assert sorted((e["id2"]["local"], e["ts"]) for e in phases["e"]) == [("0", 1e6), ("1", 2e6), ("2", 2e6)]
    assert len(phases["s"]) == len(phases["f"]) == 2


def test_a_simulation_without_slices_has_no_timeline():
    s = System()
    s.pool("fcfs")
    s.program([{"pool": 0}])
    for kwargs in ({"n": 1}, {"slices": 4}):
        with pytest.raises(ds.StateError, match="timeline"):
            Simulation(s, **kwargs).timeline()
    s.source(0, 1, window=1)
    with pytest.raises(ds.StateError, match="sources"):
        Simulation(s, 1, slices=4).timeline()


def test_item_08_timeline_of_a_closed_loop(traces, tmp_path):
    wl = ds.workloads.closed_loop(traces, users=3, n=40, rng=1)
    result = ds.simulate(wl, "fcfs", timeline=True)
    assert len(result.requests) == 40
    check_item_08(result.timeline, tmp_path / "t.json", result.stats["busy_s"], result.requests, 100)


def test_names_and_configuration(run, tmp_path):
    phases, document, _ = write(run, tmp_path / "t.json", other={"note": "x"})
    names = {e["args"]["name"] for e in phases["M"]}
    assert {"accelerators", "requests", "accelerator 0", *run.traces} <= names
    assert document["displayTimeUnit"] == "ns"
    other = document["otherData"]
    assert other["scheduler"] == "dysta"
    assert other["note"] == "x"
    assert other["package"]["dnnsched"] == ds.__version__
    assert other["workload"]["arrivals"]["process"] == "poisson"


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
    assert cut > result.timeline.lost
    assert any(e["name"] == "dnnsched_cut" for e in phases["M"])
    last = result.timeline.slices["t1_s"][-1]
    shown = [e for ph, events in phases.items() if ph != "M" for e in events]
    assert max(e["ts"] for e in shown) == pytest.approx(last * 1e6, abs=1e-3)
    assert len(layers(phases)) == 50


def test_a_window_leaves_out_the_rest(run, tmp_path):
    r = run.requests
    s = run.timeline.slices
    t0, t1 = ((s["t0_s"] + s["t1_s"]) / 2)[[len(s) // 3, len(s) // 2]]
    phases, _, cut = write(run, tmp_path / "t.json", window=(t0, t1))
    assert cut > 0
    low, high = t0 * 1e6 - 1e-3, t1 * 1e6 + 1e-3
    assert all(low <= e["ts"] <= high for ph, events in phases.items() if ph != "M" for e in events)
    there = (r["finish_s"] >= t0) & (r["arrival_s"] <= t1)
    assert {e["id2"]["local"] for e in phases["b"]} == {str(i) for i in np.flatnonzero(there)}
    assert len(phases["e"]) == len(phases["b"])
    inside = np.clip(s["t1_s"], t0, t1) - np.clip(s["t0_s"], t0, t1)
    assert sum(e["dur"] for e in layers(phases)) * 1e-6 == pytest.approx(inside.sum(), abs=1e-9 * len(s))
    first = min(nanoseconds(e, "ts") for e in phases["C"])
    assert first == round(t0 * 1e9)  # what was there before the window


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


CONFIG = """
replications = 1
[workload]
traces = "multi-attnn-calibrated"
rho = 0.9
n = 20
[[scheduler]]
name = "dysta"
"""


def test_windows_on_the_command_line(tmp_path, capsys):
    (tmp_path / "c.toml").write_text(CONFIG)
    config, out = str(tmp_path / "c.toml"), tmp_path / "t.json.gz"
    assert cli.main(["export-timeline", config, "-o", str(out), "--window", "0.1:0.3"]) == cli.OK
    assert "left out by window or cap" in capsys.readouterr().out
    assert cli.main(["run", config, "--quiet", "-o", str(tmp_path / "run"), "--window", "0.1:0.3"]) == cli.OK
    for path in (out, tmp_path / "run" / "trace.json.gz"):
        events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
        times = [e["ts"] for e in events if e["ph"] != "M"]
        assert min(times) >= 0.1e6
        assert max(times) <= 0.3e6
        assert len(times) > 20
    for bad in ("1", "2:1", "a:b", "1:1", "0:1:2", "nan:1"):
        assert cli.main(["export-timeline", config, "-o", str(tmp_path / "x"), "--window", bad]) == cli.USAGE
    assert not (tmp_path / "x").exists()


def test_layers_as_a_table(run, tmp_path):
    pa = pytest.importorskip("pyarrow")
    rows = pa.table(run.timeline).to_pylist()
    keys = list(run.traces)
    assert [(r["accelerator"], r["request_id"], r["key"], r["layer"], r["batch"], r["start_s"], r["end_s"])
            for r in rows] == [("accelerator 0", int(s["id"]), keys[run.requests["model"][s["id"]]], int(s["stage"]), 1,
                                float(s["t0_s"]), float(s["t1_s"])) for s in run.timeline.slices]
    random_system(0).timeline().frame().write(tmp_path / "layers.csv")


# --- figures --------------------------------------------------------------------------------------------

def drawn(axis):
    """(row, start, end) of the thick segments of a figure by request, in seconds."""
    from matplotlib.collections import LineCollection

    thin, thick = [c for c in axis.collections if isinstance(c, LineCollection)]
    return [[(int(p[0][1]), p[0][0], p[1][0]) for p in c.get_segments()] for c in (thin, thick)]


def test_a_figure_shows_who_waited_and_who_ran(run):
    pytest.importorskip("matplotlib")
    figure = run.timeline.plot(n=50, title="T")
    main, queue = figure.axes
    r, s = run.requests[:50], run.timeline.slices
    assert main.get_title("left") == "T; first 50 of 80 requests"
    scale = {"time (ms)": 1e-3, "time (s)": 1.0}[queue.get_xlabel()]
    thin, thick = drawn(main)
    np.testing.assert_allclose([(a * scale, b * scale) for _, a, b in thin],
                               np.column_stack([r["arrival_s"], r["finish_s"]]))
    for row in range(50):
        mine = s[s["id"] == row]
        assert sum(b - a for y, a, b in thick if y == row) * scale == pytest.approx(
            (mine["t1_s"] - mine["t0_s"]).sum())
        assert sum(y == row for y, _, _ in thick) == 1 + r["n_preempt"][row]
    crosses = {round(y) for line in main.lines if line.get_marker() == "x" for y in line.get_ydata()}
    assert crosses == set(np.flatnonzero(~r["slo_met"]).tolist())
    bars = [line for line in main.lines if line.get_color() == "black"]
    assert sum(len(line.get_xdata()) for line in bars) == r["n_preempt"].sum() > 0
    inside = queue.lines[0]
    for x, y in zip(inside.get_xdata()[:-1], inside.get_ydata()[:-1], strict=True):
        t = x * scale + 1e-12
        assert y == np.count_nonzero((run.requests["arrival_s"] <= t) & (run.requests["finish_s"] > t))


def test_figures_of_windows_accelerators_and_empty_runs(run, tmp_path):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    r = run.requests
    t0, t1 = np.quantile(r["arrival_s"], (0.3, 0.6))
    main, _ = run.timeline.plot(window=(t0, t1)).axes
    assert len(drawn(main)[0]) == np.count_nonzero((r["finish_s"] >= t0) & (r["arrival_s"] <= t1))
    axes = Figure().subplots()
    assert run.timeline.plot(ax=axes, n=5) is axes.figure
    assert len(drawn(axes)[0]) == 5
    sizes = {len(random_system(seed).columns["status"]): seed for seed in range(12)}
    assert sorted(sizes) == [0, 1, 40]
    for seed in sizes.values():
        timeline = random_system(seed).timeline()
        for by in ("request", "accelerator"):
            timeline.plot(by=by).draw_without_rendering()
    timeline.plot().savefig(tmp_path / "t.svg")
    figure = timeline.plot(by="accelerator")
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == timeline.resources
    for kwargs, error in (({"by": "model"}, ValueError), ({"n": 0}, ValueError), ({"window": (2, 1)}, ValueError),
                          ({"window": (0, np.inf)}, ValueError), ({"n": 1.5}, TypeError)):
        with pytest.raises(error):
            run.timeline.plot(**kwargs)
