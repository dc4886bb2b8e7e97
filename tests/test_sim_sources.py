"""Closed loops in the engine: random systems with sources against the Python twin, queueing theory, invariants."""

import math

import numpy as np
import oracle_engine as twin
import oracle_sources
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_sim_twin import STATUS, Case, EngineRun, number

import dnnsched as ds
from dnnsched import sim


class LoopCase(Case):
    """A random system some of whose rows belong to one to three sources."""

    def __init__(self, seed, corners=False):
        super().__init__(seed, corners)
        for program in self.programs:
            for stage in program["stages"]:
                stage["credit_end"] = stage["pool"] != twin.DELAY and self.rnd.random() < 0.15
        rnd, at, self.sources = self.rnd, self.rnd.choice([0, 0, 0, 2]), []
        while at < self.n and len(self.sources) < 3:
            n = rnd.randint(1, self.n - at) if rnd.random() < 0.6 else self.n - at
            burst = rnd.choice([1, 1, 1, 2, 3])
            think = self.table(delay=True, zero=0.3) if rnd.random() < 0.6 else (-1, 0)
            self.sources.append({"row0": at, "n": n, "burst": burst, "window": burst + rnd.choice([0, 0, 1, 3]),
                                 "think": think, "until": rnd.choice([math.inf, math.inf, 0.0, self.seconds(8.0)]),
                                 "n_min": rnd.choice([0, 0, 3, 9])})
            for i in range(at, at + n):
                row = self.rows[i]
                row.deadline = row.deadline - row.arrival
                row.arrival = row.arrival if rnd.random() < 0.2 else 0.0
            first = sorted(r.arrival for r in self.rows[at:at + n])
            for row, arrival in zip(self.rows[at:at + n], first, strict=True):
                row.arrival = arrival
            at += n + rnd.choice([0, 0, 1, 4])

    def engine(self, *args, **options):
        sources = [oracle_sources.Source(s["row0"], s["n"], s["window"], s["burst"],
                                         self.tables[s["think"][0]] if s["think"][0] >= 0 else None, s["think"][1],
                                         s["until"], s["n_min"]) for s in self.sources]
        return oracle_sources.ClosedEngine(*args, sources=sources, **options)


def compare(engine, run):
    """Twin against engine over the rows that were released; the others left no trace."""
    c, ids = run.columns, sorted(engine.jobs)
    jobs = [engine.jobs[i] for i in ids]
    status = {"answer": "answer", twin.EXIT: "answer", twin.FAIL: twin.FAIL, twin.DROP: twin.DROP}
    assert run.state == "done"

    def got(name):
        return [c[name][i] for i in ids]

    assert got("release_s") == [engine.released[i] for i in ids]
    assert [number(x) for x in got("first_start_s")] == [number(j.first_start) for j in jobs]
    assert got("finish_s") == [j.finish for j in jobs]
    assert [STATUS[x] for x in got("status")] == [status[j.status] for j in jobs]
    assert c["order"][: len(ids)] == engine.completion
    assert got("last_stage") == [j.last_stage for j in jobs]
    assert got("n_preempt") == [j.n_preempt for j in jobs]
    assert got("service_s") == pytest.approx([j.service for j in jobs], rel=1e-12)
    assert list(run.stats["busy_s"]) == pytest.approx([r.busy_s for r in engine.resources], rel=1e-12)
    assert run.thresholds == engine.thr
    assert run.stats["released"] == run.stats["finished"] == len(ids)
    assert [i for i in range(run.n) if c["status"][i] == 255] == [i for i in range(run.n) if i not in engine.jobs]
    assert sum(math.isnan(x) for x in c["release_s"]) == run.n - len(ids)


def one(seed, corners=False):
    """1 if twin and engine agree, 0 if both stall (idle policies beside timers)."""
    case = LoopCase(seed, corners)
    engine = case.run_twin()
    try:
        engine.run()
    except twin.Stalled:
        assert EngineRun(case, chunk=case.n).state == "stalled"
        return 0
    try:
        compare(engine, EngineRun(case, slices=False))
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}") from error
    return 1


@pytest.mark.parametrize("block", range(4))
def test_random_closed_loops_equal_the_twin(block):
    assert sum(one(seed) for seed in range(block * 150, block * 150 + 150)) > 130


def test_random_closed_loops_with_corners_equal_the_twin():
    assert sum(one(seed, corners=True) for seed in range(200)) > 180


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**63))
def test_any_closed_loop_equals_the_twin(seed):
    one(seed)


def test_going_on_in_place_changes_nothing():
    for seed in range(20_000, 20_200):
        reference = EngineRun(LoopCase(seed), slices=False)
        for options in ({"each_stage": True}, {"slices": True}):
            other = EngineRun(LoopCase(seed), **{"slices": False, **options})
            assert (other.state, repr(other.columns)) == (reference.state, repr(reference.columns)), (seed, options)


def test_a_window_that_never_closes_is_an_open_stream():
    """window = n releases every row at its arrival: the bytes of the same rows without a source (no ties in time)."""
    checked = 0
    for seed in range(120):
        case = Case(30_000 + seed)
        if case.grid:
            continue
        for row in case.rows:
            row.deadline = math.inf
        plain = EngineRun(case, slices=False)
        case.sources = [{"row0": 0, "n": case.n, "window": case.n, "burst": 1, "think": (-1, 0), "until": math.inf,
                         "n_min": 0}]
        looped = EngineRun(case, slices=False)
        assert (plain.state, repr(plain.columns)) == (looped.state, repr(looped.columns)), seed
        checked += 1
    assert checked > 30


def closed_network(users, think_s, service_s, n, seed, servers=1):
    """The machine-repair model: users think, then queue for a server (fcfs); all times drawn beforehand."""
    rng = np.random.default_rng(seed)
    system = sim.System()
    think = system.table(rng.exponential(think_s, (n, 1)), ("row",))
    hold = system.table(rng.exponential(service_s, (n, 1)), ("row",))
    system.pool("fcfs", n=servers)
    system.program([{"pool": 0, "hold": hold}])
    system.source(0, n, window=users, think=think)
    run = sim.Simulation(system, n)
    run.feed(np.zeros(n))
    assert run.run() == "done"
    return run


def repair_model(users, think_s, service_s, servers):
    """(throughput, mean number at the servers) of M/M/c//N: p_k+1 = p_k * (N - k) lambda / (min(k + 1, c) mu)."""
    p = [1.0]
    for k in range(users):
        p.append(p[-1] * (users - k) / think_s / (min(k + 1, servers) / service_s))
    total = sum(p)
    p = [x / total for x in p]
    return sum(min(k, servers) * x for k, x in enumerate(p)) / service_s, sum(k * x for k, x in enumerate(p))


@pytest.mark.parametrize(("users", "think_s", "service_s", "servers"),
                         [(1, 2.0, 1.0, 1), (5, 4.0, 1.0, 1), (20, 10.0, 1.0, 1), (8, 1.0, 1.0, 3)])
def test_machine_repair_model(users, think_s, service_s, servers):
    """Throughput and mean response over 8 replications: within 4 standard errors of the exact values."""
    rate, number_in = repair_model(users, think_s, service_s, servers)
    rates, responses = [], []
    for seed in range(8):
        run = closed_network(users, think_s, service_s, 20_000, [77, seed], servers)
        finish, release = run.columns["finish_s"], run.columns["release_s"]
        warm = 1000
        at = np.sort(finish)
        rates.append((len(at) - 1 - warm) / (at[-1] - at[warm]))
        responses.append(np.mean((finish - release)[warm:]))
    for values, truth in ((rates, rate), (responses, number_in / rate)):
        error = np.std(values, ddof=1) / math.sqrt(len(values))
        assert abs(np.mean(values) - truth) < 4 * error
        assert error < 0.02 * truth


def test_an_asymptote_of_the_closed_network():
    """Interactive response time law, exact for any schedule: N users, X(R + Z) = N up to the ends of the run."""
    run = closed_network(6, 3.0, 1.0, 5000, 5)
    release, finish = run.columns["release_s"], run.columns["finish_s"]
    x = 5000 / finish.max()
    z = 3.0 * (5000 - 6) / 5000  # the first six did not think
    assert x * (np.mean(finish - release) + z) == pytest.approx(6, rel=0.02)


def test_a_system_refuses_bad_sources():
    system = sim.System()
    for name, value, error in (("row0", -1, ValueError), ("n", 0, ValueError), ("window", 0, ValueError),
                               ("burst", 1.5, TypeError), ("until_s", -1, ValueError), ("n_min", -1, ValueError)):
        with pytest.raises(error, match=name):
            system.source(**{"row0": 0, "n": 4, name: value})
    hold = system.table([1.0], ())
    system.pool("fcfs")
    system.program([{"pool": 0, "hold": hold}])
    system.source(0, 4, window=1, burst=2)
    with pytest.raises(ValueError, match="burst <= window"):
        sim.Simulation(system, 4)
    system.sources.clear()
    system.source(0, 4)
    with pytest.raises(ValueError, match="all rows at once"):
        sim.Simulation(system, 4).feed(np.zeros(4), final=False)
    assert ds.sim is sim
