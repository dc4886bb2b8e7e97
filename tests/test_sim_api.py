"""The general engine from Python: arguments of System and Simulation, order of calls, sums beside rows."""

import numpy as np
import pytest

import dnnsched as ds
from dnnsched.sim import DELAY, FEATURES, Simulation, System, home


def one(scheduler="fcfs", n_stage=2, **pool):
    """One pool, programs of n_stage stages of 1 s."""
    system = System()
    hold = system.table(np.ones(n_stage), ())
    system.pool(scheduler, **pool)
    system.program([{"pool": 0, "hold": hold, "hold_column": k} for k in range(n_stage)])
    return system


def run(system, arrival, **columns):
    sim = Simulation(system, len(arrival))
    sim.feed(np.asarray(arrival, dtype=np.float64), **columns)
    assert sim.run() == "done"
    return sim


# --- System ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kwargs", "error", "word"), [
    ({"owners": 0}, ValueError, "owners"), ({"owners": 1.5}, TypeError, "owners"),
    ({"clock": "wall"}, ValueError, "clock")])
def test_system_arguments(kwargs, error, word):
    with pytest.raises(error, match=word):
        System(**kwargs)


@pytest.mark.parametrize(("values", "axes", "kwargs", "word"), [
    ([1.0], ("sample",), {}, "expected 2 dimensions"), ([[1.0]], (), {}, "expected 1 dimensions"),
    ([[1.0]], ("time",), {}, "axes: expected one of 'sample'"), ([1.0], (), {"pos_shift": 32}, "pos_shift"),
    ([1.0], (), {"pos_shift": -1}, "pos_shift"), ([[1.0]], ("sample",), {"column_axis": False}, "dimensions")])
def test_table_arguments(values, axes, kwargs, word):
    with pytest.raises(ValueError, match=word):
        System().table(values, axes, **kwargs)


@pytest.mark.parametrize(("kwargs", "word"), [
    ({"n": 0}, "n: expected"), ({"speed": 0.0}, "speed"), ({"speed": float("inf")}, "speed"),
    ({"scheduler": "fifo"}, "unknown name 'fifo'"), ({"max_batch": 0}, "max_batch"), ({"timer_s": -1.0}, "timer_s"),
    ({"timer_s": float("nan")}, "timer_s"), ({"switch_const_s": -1.0}, "switch cost"), ({"state": -2}, "start state"),
    ({"scheduler": ("nobody", ())}, "no built-in scheduler 'nobody'"),
    ({"scheduler": ("dysta_signed", ())}, "expected 1 parameters, got 0"),
    ({"switch_s": [[0.0, 1.0]]}, "switch costs"), ({"switch_s": [[-1.0]]}, "switch cost")])
def test_pool_arguments(kwargs, word):
    with pytest.raises(ValueError, match=word):
        Simulation(one(**kwargs))


@pytest.mark.parametrize(("stage", "word"), [
    ({"hold": 0}, r"stages\[0\]: expected 'pool'"), ({"pool": 0, "hold_s": 1.0}, r"stages\[0\]"),
    ({"pool": 1, "hold": 0}, "no pool 1"), ({"pool": 0, "hold": 1}, "no table 1"),
    ({"pool": 0, "hold": 0, "hold_column": 1}, "needs 1 cells from column 1 on of table 0"),
    ({"pool": 0, "hold": 0, "hold_column": -1}, "table 0"), ({"pool": 0, "hold": 0, "load": -1}, "load"),
    ({"pool": 0, "hold": 0, "conf": 0}, "confidence column"), ({"pool": 0, "hold": 0, "state": -3}, "state"),
    ({"pool": DELAY, "hold": 0}, "holds no resource"), ({"pool": home(0), "hold": 0}, "no pool -16")])
def test_stage_arguments(stage, word):
    system = System()
    system.table([1.0], ())
    system.pool()

    def build():
        system.program([stage])
        return Simulation(system)

    with pytest.raises(ValueError, match=word):
        build()


@pytest.mark.parametrize("values", [[-1.0], [float("nan")]])
def test_times_are_not_negative(values):
    system = System()
    hold = system.table(values, ())
    system.pool()
    system.program([{"pool": 0, "hold": hold}])
    with pytest.raises(ValueError, match=r"table 0: cell 0 is .*; expected seconds >= 0"):
        Simulation(system)


def test_an_empty_system():
    with pytest.raises(ValueError, match="at least one stage, program"):
        Simulation(System())


def test_scenario_rows():
    system = one()
    with pytest.raises(ValueError, match="op"):
        system.at(1.0, "stop", 0, 1.0)
    system.at(1.0, "speed", 0, 2.0)
    sim = run(system, [0.0])
    assert sim.columns["finish_s"].tolist() == [1.5]
    system.at(0.5, "speed", 0, 2.0)
    with pytest.raises(ValueError, match="scenario row 1: times"):
        Simulation(system)


def test_thresholds_and_homes_have_a_row_per_owner():
    system = one()
    system.thresholds, system.home = np.zeros((2, 1)), np.zeros((1, 1), np.int32)
    with pytest.raises(ValueError, match="home: expected one row per owner"):
        Simulation(system)
    system.home = np.full((2, 1), 7, np.int32)
    with pytest.raises(ValueError, match="home 0: no pool 7"):
        Simulation(system)
    system.thresholds = np.zeros(2)
    with pytest.raises(ValueError, match="thresholds"):
        Simulation(system)


@pytest.mark.parametrize("bad", ["x", 3, ((1.0,), 2), (np.ones(1), np.zeros(6), np.ones(6), 0)])
def test_a_hand_made_table_is_checked(bad):
    system = one()
    system.tables.append(bad)
    with pytest.raises(TypeError):
        Simulation(system)


def test_homes_are_not_negative():
    with pytest.raises(ValueError, match="slot"):
        home(-1)


def test_the_artifact_clock_needs_one_accelerator():
    system = one(n=2)
    system.clock = "artifact"
    with pytest.raises(ValueError, match="artifact clock needs one pool"):
        Simulation(system)


# --- Simulation --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kwargs", "error"), [({"n": -1}, ValueError), ({"n": 1.0}, TypeError),
                                               ({"sums": True, "warmup": -1}, ValueError),
                                               ({"slices": -1}, ValueError)])
def test_simulation_arguments(kwargs, error):
    with pytest.raises(error):
        Simulation(one(), **kwargs)


@pytest.mark.parametrize(("columns", "error", "word"), [
    ({"arrival": [0.0]}, TypeError, "arrival"), ({"arrival": np.zeros(2, np.float32)}, TypeError, "arrival"),
    ({"arrival": np.zeros((2, 1))}, ValueError, "arrival"), ({"arrival": np.zeros(4)[::2]}, ValueError, "arrival"),
    ({"deadline": np.zeros(3)}, ValueError, "deadline"), ({"priority": np.zeros(2)}, ValueError, "priority: row 0"),
    ({"program": np.zeros(2)}, TypeError, "program"), ({"program": np.array([0, 1], np.int32)}, ValueError, "row 1"),
    ({"sample": np.array([0, -1], np.int32)}, ValueError, "sample: row 1"),
    ({"owner": np.array([1, 0], np.int32)}, ValueError, "owner: row 0"),
    ({"pos0": np.array([0, -1], np.int32)}, ValueError, "pos0: row 1"),
    ({"user": np.zeros((2, 7))}, ValueError, "user"), ({"user": np.full((2, 8), np.nan)}, ValueError, "user: row 0"),
    ({"arrival": np.array([1.0, 0.5])}, ValueError, "arrival: row 1 .* earlier"),
    ({"arrival": np.array([0.0, np.inf])}, ValueError, "arrival: row 1"),
    ({"arrival": np.zeros(3)}, ValueError, "more rows than the 2 recorded")])
def test_feed_arguments(columns, error, word):
    sim = Simulation(one(), 2)
    with pytest.raises(error, match=word):
        sim.feed(**{"arrival": np.zeros(2), **columns})
    sim.feed(np.zeros(2))  # a refusal changes nothing
    assert sim.run() == "done"


def test_inputs_are_not_touched_and_may_be_read_only():
    arrival, sample = np.array([0.0, 1.0]), np.zeros(2, np.int32)
    arrival.flags.writeable = sample.flags.writeable = False
    assert run(one(), arrival, sample=sample).columns["finish_s"].tolist() == [2.0, 4.0]


def test_the_order_of_calls():
    sim = Simulation(one(), 3)
    with pytest.raises(ds.StateError, match="no pool waits"):
        sim.choose(0)
    sim.feed(np.array([0.0]), final=False)
    with pytest.raises(ds.StateError, match="not used up"):
        sim.feed(np.array([0.0]))
    assert sim.run() == "rows"
    assert sim.run() == "rows"
    sim.feed(np.array([0.0, 0.5]))
    assert sim.run() == "done"
    assert sim.run() == "done"
    with pytest.raises(ds.StateError, match="were the last"):
        sim.feed(np.array([9.0]))
    assert sim.stats["finished"] == 3


def test_a_failed_run_stays_failed():
    class Wrong:
        def pick(self, view):
            return 99

    sim = Simulation(one(Wrong()), 1)
    sim.feed(np.zeros(1))
    with pytest.raises(ds.StateError, match="picked slot 99"):
        sim.run()
    with pytest.raises(ds.StateError, match="earlier error"):
        sim.run()


def test_an_empty_run():
    assert run(one(), []).stats["finished"] == 0


def test_decisions_from_outside():
    sim = Simulation(one("fcfs", external=True), 2)
    sim.feed(np.array([0.0, 0.0]))
    asked = []
    while sim.run() == "decision":
        queue = dict(zip(FEATURES, sim.queue(), strict=True))
        asked.append((sim.stats["asking"], queue["job"].tolist(), queue["stage"].tolist()))
        with pytest.raises(ValueError, match=r"expected a slot in -1\.\."):
            sim.choose(len(queue["job"]))
        with pytest.raises(ds.StateError, match="waits for a choice"):
            sim.run()
        sim.choose(len(queue["job"]) - 1)  # last in, first out
    assert asked == [(0, [0, 1], [0, 0]), (0, [0, 1], [0, 1]), (0, [0], [0]), (0, [0], [1])]
    assert sim.columns["finish_s"].tolist() == [4.0, 2.0]
    with pytest.raises(ValueError, match="pool: expected 0"):
        sim.queue(1)


def test_the_queue_of_a_pool_without_columns():
    sim = Simulation(one("edf"), 1)
    with pytest.raises(ValueError, match="keeps no columns"):
        sim.queue()


def test_an_outsider_who_stays_idle():
    sim = Simulation(one("fcfs", external=True), 1)
    sim.feed(np.array([0.0]))
    states = []
    for _ in range(10):
        states.append(sim.run())
        if states[-1] != "decision":
            break
        sim.choose(-1)
    assert states[-1] == "stalled"


def test_callbacks_may_not_use_their_own_simulation():
    class Nosy:
        def pick(self, view):
            sim.stats  # noqa: B018 - reading it is the call

    sim = Simulation(one(Nosy()), 1)
    sim.feed(np.zeros(1))
    with pytest.raises(ds.StateError, match="in use by another call"):
        sim.run()


def test_batches_from_python():
    class Pairs:
        needs = ("job",)

        def batch(self, view):
            if view.n < 2 and not view.flush:
                return None
            return np.arange(min(view.n, 2)), {"variant": 0, "load": 2}

    system = System()
    hold = system.table([[1.0], [1.5]], ("load",))
    system.pool(Pairs(), max_batch=2)
    system.program([{"pool": 0, "hold": hold}])
    assert run(system, [0.0, 0.25, 3.0]).columns["finish_s"].tolist() == [1.75, 1.75, 4.5]


@pytest.mark.parametrize(("answer", "error", "word"), [
    ([1, 0], ds.StateError, "increasing slots"), ([0, 0], ds.StateError, "increasing slots"),
    ([5], ds.StateError, "increasing slots"), ([0, 1, 2], ValueError, "at most 2 slots"),
    ("ab", (TypeError, ValueError), None), ((np.array([0]), {"resource": 9}), ds.StateError, "not free here"),
    ((np.array([0]), {"load": "x"}), TypeError, None), (([0], {"variant": 2**40}), ValueError, "variant"),
    (0.0, ds.StateError, "wake in the past"),
    (([0], {"load": 9}), ds.StateError, "axis 3")])
def test_bad_batches(answer, error, word):
    class Fixed:
        def batch(self, view):
            return answer

    system = System()
    hold = system.table([[1.0], [1.5]], ("load",))
    system.pool(Fixed(), max_batch=2)
    system.program([{"pool": 0, "hold": hold}])
    sim = Simulation(system, 3)
    sim.feed(np.zeros(3))
    with pytest.raises(error, match=word):
        sim.run()


@pytest.mark.parametrize(("answer", "finish", "last"), [
    (None, 2.0, 1), ("next", 2.0, 1), ("exit", 1.0, 0), ("fail", 1.0, 0), ("drop", 1.0, 0), (1, 2.0, 1)])
def test_outcomes(answer, finish, last):
    class Ends:
        def pick(self, view):
            return 0

        def outcome(self, control, request, stage):
            return answer if stage == 0 else None

    columns = run(one(Ends()), [0.0]).columns
    assert columns["finish_s"].tolist() == [finish]
    assert columns["last_stage"].tolist() == [last]
    assert columns["status"].tolist() == [{"fail": 1, "drop": 2}.get(answer, 0)]


@pytest.mark.parametrize(("answer", "error"), [
    ("no", ValueError), (2, ds.StateError), (-1, ds.StateError), (-13, ds.StateError), (1.5, TypeError),
    (2**40, (OverflowError, ds.StateError)), (2**80, OverflowError)])
def test_bad_outcomes(answer, error):
    class Ends:
        def pick(self, view):
            return 0

        def outcome(self, control, request, stage):
            return answer

    sim = Simulation(one(Ends()), 1)
    sim.feed(np.zeros(1))
    with pytest.raises(error):
        sim.run()


# --- sums beside rows --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def traces():
    bits = np.random.default_rng(11)
    return ds.TraceSet({f"net{i}/{p}": ds.Trace(bits.uniform(0.5, 1.5, (5, 3 + i)) * 1e-3, model=f"net{i}", pattern=p)
                        for i in range(2) for p in ("random", "block")})


@pytest.mark.parametrize("scheduler", ["fcfs", "dysta", "sjf"])
@pytest.mark.parametrize("warmup", [0, 50])
def test_rows_and_sums_agree(traces, scheduler, warmup):
    wl = ds.workloads.poisson(traces, rho=0.9, n=600, rng=2)
    full = ds.simulate(wl, scheduler, warmup=warmup)
    sums = ds.simulate(wl, scheduler, warmup=warmup, record="none")
    common = set(full.metrics) & set(sums.metrics)
    assert {"n", "antt", "violation_rate", "throughput_rps", "stp_norm", "latency_mean_s", "latency_max_s",
            "preemptions", "queue_max", "stages", "decisions"} <= common
    assert sums.metrics["latency_quantile_error"] == 1 / 256
    kept = full.requests[warmup:]
    latency = np.sort(kept["finish_s"] - kept["arrival_s"])
    for q in (50, 90, 99):
        exact = latency[-(-q * len(latency) // 100) - 1]  # the order statistic that q percent do not exceed
        assert sums.metrics[f"latency_p{q}_s"] == pytest.approx(exact, rel=1 / 256)
    other = {"latency_p50_s", "latency_p90_s", "latency_p99_s"}  # rows interpolate
    other |= {"utilization", "queue_mean", "offered_load"} if warmup else set()  # over other spans of time
    for name in sorted(common - other):
        assert sums.metrics[name] == pytest.approx(full.metrics[name], rel=1e-11), name
    for group in ("model", "pattern", "key"):
        mine, theirs = full.metrics_by(group), sums.metrics_by(group)
        assert list(mine) == list(theirs)
        for label, metrics in mine.items():
            for name in ("n", "antt", "violation_rate", "latency_mean_s", "latency_max_s"):
                assert theirs[label][name] == pytest.approx(metrics[name], rel=1e-11), (group, label, name)
