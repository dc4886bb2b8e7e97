"""The engine on random systems (several pools and resources, batches, links, exits, states, speeds, timers) against the
Python twin, event for event.

Policies exist twice: as the twin's classes and as built-in C schedulers or Python objects behind views.
"""

import math
import random

import numpy as np
import oracle_engine as twin
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnsched import schedulers, sim

AXIS = {"sample": "sample", "row": "row", "load": "load", "state": "state", "pos": "position"}
STATUS = {0: "answer", 1: twin.FAIL, 2: twin.DROP, 255: "open"}

# --- policies that exist twice: for the twin and as C callbacks -------------------------------------------------


class Weighted(twin.Scored):
    """Scores that all move with time: a slow line in t per job; smallest first."""

    def score(self, view):
        return [(j.arrival - view.now) * j.priority for j in view.jobs]


class Patient:
    """pick(): waits until two jobs are queued or the oldest has waited 1 s (or nothing else will happen)."""

    def decide(self, view):
        oldest = min(j.last_run for j in view.jobs)
        if len(view.jobs) < 2 and view.now - oldest < 1.0 and not view.flush:
            return twin.Choice([])
        return twin.Choice([len(view.jobs) - 1])


class BatchTimer(twin.Batch):
    """Batches; at every tick all thresholds move by one step of a cycle; a USER row sets them."""

    CYCLE = (0.9, 0.2, 0.6)

    def __init__(self, limit, wait):
        super().__init__(limit, wait)
        self.ticks = 0

    def set_all(self, engine, value):
        for row in engine.thr:
            for column in range(len(row)):
                row[column] = value

    def on_timer(self, engine):
        self.set_all(engine, self.CYCLE[self.ticks % 3])
        self.ticks += 1

    def on_user(self, engine, value):
        self.set_all(engine, value)


BUILT_IN = {"fcfs": twin.Fcfs, "edf": twin.Edf, "shortest_remaining": twin.Sjf, "least_laxity": twin.Llf,
            "hpf": twin.Hpf, "round_robin": twin.RoundRobin, "dysta_signed": lambda: twin.Dysta(0.1),
            "dysta_clamped": lambda: twin.Dysta(0.1, "clamped"),
            "dysta_deadline": lambda: twin.Dysta(0.1, "deadline"), "prema": twin.Prema,
            "prema_sparse": lambda: twin.Prema(sparse=True), "planaria": twin.Planaria,
            "sdrm3": lambda: twin.Sdrm3(0.1)}
PARAMETER = 0.1  # eta of dysta, alpha of sdrm3 above


class WeightedView:
    kind = "time"
    needs = ("arrival", "priority")

    def score(self, v):
        return (v.arrival - v.now) * v.priority


class PatientView:
    needs = ("last_run",)

    def pick(self, v):
        return -1 if v.n < 2 and v.now - v.last_run.min() < 1.0 and not v.flush else v.n - 1


class BatchView:
    needs = ("program", "stage", "job")

    def __init__(self, limit, wait, owners, columns):
        self.limit, self.wait, self.owners, self.columns = limit, wait, owners, columns
        self.entered, self.ticks = {}, 0

    def batch(self, v):
        slots = np.flatnonzero((v.program == v.program[0]) & (v.stage == v.stage[0]))[: self.limit]
        if len(slots) < self.limit and self.wait > 0 and not v.flush:
            ready = self.entered[int(v.job[0])] + self.wait
            if v.now < ready:
                return schedulers.wait_until(ready)
        return slots

    def set_all(self, control, value):
        for owner in range(self.owners):
            for column in range(self.columns):
                control.set_threshold(owner, column, value)

    def on_push(self, control, request):
        self.entered[request] = control.now

    def on_timer(self, control, pool):
        self.set_all(control, BatchTimer.CYCLE[self.ticks % 3])
        self.ticks += 1

    def on_user(self, control, row):
        self.set_all(control, control.scenario_value)


def engine_policy(spec, case):
    """What System.pool takes."""
    if spec[0] in BUILT_IN:
        takes = spec[0].startswith("dysta") or spec[0] == "sdrm3"
        return spec[0], [PARAMETER] if takes else []
    if spec[0] == "batch":
        return BatchView(spec[1], spec[2], case.owners, case.columns)
    return {"weighted": WeightedView, "patient": PatientView}[spec[0]]()


def twin_policy(spec):
    if spec[0] in BUILT_IN:
        return BUILT_IN[spec[0]]()
    return {"weighted": Weighted, "patient": Patient, "batch": BatchTimer}[spec[0]](*spec[1:])


# --- random systems -------------------------------------------------------------------------------------------


class Case:
    """A system in neutral form, made from a seed.

    `corners` adds delays of 0 s inside a pool, policies that idle beside timers, batches on several resources, and
    loads that change from stage to stage.
    """

    sources = ()
    engine = twin.Engine

    def __init__(self, seed, corners=False):
        self.corners = corners
        rnd = self.rnd = random.Random(f"system-{seed}")
        self.grid = rnd.random() < 0.6
        self.owners, self.columns, self.slots = rnd.randint(1, 3), 2, 2
        n_pool = rnd.randint(1, 4)
        self.pools = []
        for _ in range(n_pool):
            kind = rnd.choice([*BUILT_IN, "weighted", "patient", "batch", "batch", "fcfs"])
            spec = ("batch", rnd.randint(1, 4), rnd.choice([0.0, 0.0, 0.5, 1.25])) if kind == "batch" else (kind,)
            resources = rnd.choice([1, 1, 1, 2, 3]) if kind != "batch" or corners else 1
            self.pools.append({
                "policy": spec, "resources": resources, "cap": rnd.choice([None, None, None, 1, 3]),
                "timer": rnd.choice([0.0, 1.5, 2.0]) if kind == "batch" else 0.0,
                "speeds": [rnd.choice([1.0, 1.0, 2.0, 0.5]) for _ in range(resources)],
                "states": [rnd.choice([-1, 0, 1]) for _ in range(resources)]})
        if not corners and any(p["policy"][0] == "patient" for p in self.pools):
            for p in self.pools:
                p["timer"] = 0.0
        self.samples = rnd.randint(1, 4)
        self.n = rnd.randint(1, 30)
        self.switch = [[0.0 if i == j else self.seconds(0.25) for j in range(2)] for i in range(2)]
        self.per_job = self.seconds(0.25)
        self.conf = [[rnd.choice([0.1, 0.2, 0.5, 0.6, 0.9]) for _ in range(self.columns)]
                     for _ in range(self.samples)]
        self.thr = [[rnd.choice([0.3, 0.6, 1.0]) for _ in range(self.columns)] for _ in range(self.owners)]
        self.bind = [[rnd.randrange(n_pool) for _ in range(self.slots)] for _ in range(self.owners)]
        self.tables, self.programs = [], []
        for _ in range(rnd.randint(1, 3)):
            self.programs.append(self.program(n_pool))
        self.rows = self.requests()
        self.scenario = self.events(n_pool)
        self.clock = "monotonic"

    def seconds(self, scale=1.0):
        if self.grid:
            return scale * self.rnd.choice([0.25, 0.5, 0.5, 1.0, 2.0])
        return scale * self.rnd.uniform(0.1, 2.0)

    def table(self, *, delay=False, zero=0.0, state=False):
        """A random table over some of the axes; returns (index, off)."""
        rnd = self.rnd
        extent = {"sample": self.samples, "row": self.n, "load": 9, "state": 2, "pos": 3}
        axes = [a for a in extent if rnd.random() < (0.6 if a == "sample" else 0.2)]
        if delay:
            axes = [a for a in axes if a in ("sample", "row", "pos")]
        if not state:  # a resource that nobody has brought into a state has none to look up
            axes = [a for a in axes if a != "state"]
        by, size = {}, 1
        for a in axes:
            by[a] = size
            size *= extent[a]
        off = rnd.choice([0, 0, 3])
        cells = [0.0 if rnd.random() < zero else self.seconds(0.5 if delay else 1.0) for _ in range(size + off)]
        self.tables.append(twin.Table(cells, by, {a: extent[a] for a in axes}, rnd.choice([0, 1])))
        return len(self.tables) - 1, off

    def program(self, n_pool):
        rnd = self.rnd
        stages, previous, load = [], None, rnd.choice([1, 1, 2])
        for _ in range(rnd.randint(1, 5)):
            where = rnd.random()
            if previous is not None and where < 0.35:
                pool = previous
            elif where < 0.5:
                pool = twin.DELAY
            elif where < 0.65:
                pool = twin.home(rnd.randrange(self.slots))
            else:
                pool = rnd.randrange(n_pool)
            previous = pool
            state = rnd.choice([-1, -1, 0, 1, twin.PER_JOB]) if pool != twin.DELAY else -1
            hold = self.table(state=state >= 0) if pool != twin.DELAY else (-1, 0)
            travels = pool == twin.DELAY or rnd.random() < 0.25
            delay = self.table(delay=True, zero=0.3 if self.corners else 0.0) if travels else (-1, 0)
            stages.append({"pool": pool, "hold": hold, "delay": delay, "state": state,
                           "conf": rnd.choice([-1, -1, 0, 1]) if pool != twin.DELAY else -1,
                           "load": rnd.choice([1, 1, 1, 2]) if self.corners else load})
        rows = rnd.choice([1, self.samples])
        width = range(len(stages))
        return {"stages": stages, "remaining": [[self.seconds() * (len(stages) - k) for k in width]
                                                for _ in range(rows)],
                "next": [[self.seconds() for _ in width] for _ in range(rows)],
                "isolated": [self.seconds(4.0) for _ in range(rows)],
                "gamma": [[self.seconds() for _ in width] for _ in range(rows)]}

    def requests(self):
        rnd, t, out = self.rnd, self.rnd.choice([0.0, 0.0, 1.0]), []
        for _ in range(self.n):
            if rnd.random() < 0.7:
                t += self.seconds(rnd.choice([0.5, 1.0, 2.0]))
            program = rnd.randrange(len(self.programs))
            out.append(twin.Row(t, program, rnd.randrange(self.samples), rnd.randrange(self.owners),
                                t + self.seconds(8.0), rnd.choice([1.0, 3.0, 9.0]),
                                rnd.choice([None, None, 0, 1]), rnd.choice([0, 0, 1, 5])))
        return out

    def events(self, n_pool):
        rnd, out = self.rnd, []
        total = sum(p["resources"] for p in self.pools)
        for _ in range(rnd.choice([0, 0, 2, 5])):
            t = self.seconds(8.0)
            batchers = [i for i, p in enumerate(self.pools) if p["policy"][0] == "batch"]
            if batchers and rnd.random() < 0.5:
                out.append((t, "user", rnd.choice(batchers), rnd.choice([0.2, 0.6, 1.0])))
            else:
                out.append((t, "speed", rnd.randrange(total), rnd.choice([0.5, 1.0, 2.0, 3.0])))
        return sorted(out, key=lambda row: row[0])

    # -- the twin's side --

    def run_twin(self):
        programs = []
        for program in self.programs:
            stages = [twin.Stage(s["pool"], self.tables[s["hold"][0]] if s["hold"][0] >= 0 else None,
                                 self.tables[s["delay"][0]] if s["delay"][0] >= 0 else None, s["load"], s["hold"][1],
                                 s["delay"][1], s["state"], s["conf"], s.get("credit_end", False))
                      for s in program["stages"]]
            programs.append(twin.Program(stages, program["remaining"], program["next"], program["isolated"],
                                         program["gamma"]))
        pools = [twin.Pool(twin_policy(p["policy"]), p["resources"], p["cap"], p["timer"], p["speeds"], p["states"])
                 for p in self.pools]
        return self.engine(self.rows, programs, pools, bind=self.bind, conf=self.conf,
                           thr=[list(row) for row in self.thr], scenario=self.scenario,
                           switch=lambda r, a, b: self.switch[a][b],
                           switch_job=lambda r, a, b: 0.0 if a in (-1, b) else self.per_job, clock=self.clock)


class EngineRun:
    """A case inside the engine."""

    def __init__(self, case, *, each_stage=False, chunk=None, slices=True, external=False):
        self.case, self.n = case, case.n
        system = self.system(each_stage, external)
        run = sim.Simulation(system, self.n, slices=4096 if slices else 0)
        chunk = chunk or max(self.n, 1)
        fed = self.feed(run, 0, chunk)
        state = run.run()
        while state in ("rows", "decision"):
            if state == "rows":
                fed = self.feed(run, fed, chunk)
            else:
                assert run.queue(0).shape[0] == len(sim.FEATURES)
                run.choose(0)
            state = run.run()
        self.state, self.stats, self.thresholds = state, run.stats, run.stats["thresholds"].tolist()
        self.columns = {name: column.tolist() for name, column in run.columns.items()}
        self.runs = [] if not slices else sorted(
            run.slices[["t0_s", "t1_s", "resource", "id", "stage", "n"]].tolist())

    def feed(self, run, at, chunk):
        rows = self.case.rows[at:at + chunk]
        run.feed(np.array([r.arrival for r in rows]), deadline=np.array([r.deadline for r in rows]),
                 priority=np.array([r.priority for r in rows]),
                 program=np.array([r.program for r in rows], np.int32),
                 sample=np.array([r.sample for r in rows], np.int32),
                 owner=np.array([r.owner for r in rows], np.int32),
                 pos0=np.array([r.pos0 for r in rows], np.int32),
                 exit_at=np.array([-1 if r.exit_at is None else r.exit_at for r in rows], np.int32),
                 final=at + chunk >= self.n)
        return at + chunk

    def system(self, each_stage, external):
        case = self.case
        system = sim.System(owners=case.owners, clock=case.clock, step_each_stage=each_stage)
        system.thresholds, system.home = np.array(case.thr), np.array(case.bind, dtype=np.int32)
        for p in case.pools:
            limit = p["policy"][1] if p["policy"][0] == "batch" else 1
            system.pool(engine_policy(p["policy"], case), n=p["resources"], max_batch=limit, cap=p["cap"] or 0,
                        timer_s=p["timer"], switch_s=case.switch, switch_const_s=case.per_job, external=external)
        each = [(speed, state) for p in case.pools for speed, state in zip(p["speeds"], p["states"], strict=True)]
        for r, (speed, state) in enumerate(each):
            system.resources[r] = (speed, *system.resources[r][1:2], state, *system.resources[r][3:])
        columns = {}

        def table(index, off):
            """The twin's flat table, one engine column per offset it is read at."""
            if index < 0:
                return -1
            if (index, off) not in columns:
                t = case.tables[index]
                axes = sorted(t.by, key=lambda a: -t.by[a])
                cells = np.array(t.v[off:off + math.prod(t.ext[a] for a in axes)])
                columns[index, off] = system.table(cells.reshape([*(t.ext[a] for a in axes), 1]),
                                                   [AXIS[a] for a in axes], pos_shift=t.pos_shift)
            return columns[index, off]

        confidence = system.table(np.array(case.conf), ("sample",))
        for program in case.programs:
            stages = [{"pool": s["pool"] if not isinstance(s["pool"], tuple) else sim.home(s["pool"][1]),
                       "hold": table(*s["hold"]), "delay": table(*s["delay"]), "state": s["state"], "conf": s["conf"],
                       "load": s["load"], "credit_end": s.get("credit_end", False)} for s in program["stages"]]
            known = {}
            for name in ("remaining", "next", "isolated", "gamma"):
                rows = program[name] if name != "isolated" else [[x] * len(stages) for x in program[name]]
                known[name] = system.table(rows[0], ()) if len(rows) == 1 else system.table(rows, ("sample",))
            system.program(stages, confidence=confidence, **known)
        for t, op, target, value in case.scenario:
            system.at(t, op, target, value)
        for s in case.sources:
            system.source(s["row0"], s["n"], window=s["window"], burst=s["burst"], think=table(*s["think"]),
                          until_s=s["until"], n_min=s["n_min"])
        return system


def number(x):
    """NaN as None, so that lists compare."""
    return None if math.isnan(x) else x


def compare(engine, run):
    """Twin against engine, field by field; times exactly, sums of times to rounding."""
    n, c = run.n, run.columns
    jobs = [engine.jobs[i] for i in range(n)]
    status = {"answer": "answer", twin.EXIT: "answer", twin.FAIL: twin.FAIL, twin.DROP: twin.DROP}
    assert run.state == "done"
    assert [number(x) for x in c["first_start_s"]] == [number(j.first_start) for j in jobs]
    assert c["finish_s"] == [j.finish for j in jobs]
    assert [STATUS[x] for x in c["status"]] == [status[j.status] for j in jobs]
    assert c["order"] == engine.completion
    assert c["last_stage"] == [j.last_stage for j in jobs]
    assert c["n_preempt"] == [j.n_preempt for j in jobs]
    assert c["service_s"] == pytest.approx([j.service for j in jobs], rel=1e-12)
    assert list(run.stats["busy_s"]) == pytest.approx([r.busy_s for r in engine.resources], rel=1e-12)
    assert list(run.stats["switch_s"]) == pytest.approx([r.switch_s for r in engine.resources], rel=1e-12)
    assert run.thresholds == engine.thr
    assert run.stats["released"] == run.stats["finished"] == n
    assert run.stats["dropped"] == sum(j.status == twin.DROP for j in jobs)
    assert run.stats["live"] == 0
    if run.runs:
        assert run.runs == sorted((t0, r.t1, res, i, stage, len(ids)) for t0, r, res, ids, stage in engine.runs
                                  for i in ids)


def outcome_of_twin(case):
    engine = case.run_twin()
    try:
        return engine.run(), False
    except twin.Stalled:
        return engine, True


@pytest.mark.parametrize("block", range(8))
def test_random_systems_equal_the_twin(block):
    """Every pool kind, several resources, links, exits, batches that wait, caps, states, speeds, timers."""
    for seed in range(block * 100, block * 100 + 100):
        case = Case(seed)
        engine, stalled = outcome_of_twin(case)
        run = EngineRun(case)
        if stalled:
            assert run.state == "stalled", seed
            continue
        try:
            compare(engine, run)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**63))
def test_any_system_equals_the_twin(seed):
    case = Case(seed)
    engine, stalled = outcome_of_twin(case)
    if stalled:
        assert EngineRun(case).state == "stalled"
    else:
        compare(engine, EngineRun(case))


def test_random_systems_with_corners_equal_the_twin():
    for seed in range(400):
        case = Case(seed, corners=True)
        engine, stalled = outcome_of_twin(case)
        assert not stalled
        compare(engine, EngineRun(case))


def one_pool(scheduler, stages, tables, **pool):
    """A system of one pool; stages are dicts without pool, tables lists of (values, axes)."""
    system = sim.System()
    system.pool(scheduler, **pool)
    index = [system.table(values, axes) for values, axes in tables]
    system.program([{"pool": 0, **{k: index[v] if k in ("hold", "delay") else v for k, v in s.items()}}
                    for s in stages])
    return system


def test_a_delay_of_zero_is_no_delay():
    """fcfs, two stages of 1 s, 0 s between them; b arrives at .5: a 0-2, b 2-4 as without the delay table."""
    without = one_pool("fcfs", [{"hold": 0}, {"hold": 0}], [([1.0], ())])
    with_zero = one_pool("fcfs", [{"hold": 0, "delay": 1}, {"hold": 0}], [([1.0], ()), ([0.0], ())])
    finish = []
    for system in (without, with_zero):
        run = sim.Simulation(system, 2)
        run.feed(np.array([0.0, 0.5]))
        assert run.run() == "done"
        finish.append(run.columns["finish_s"].tolist())
    assert finish == [[2.0, 4.0], [2.0, 4.0]]


def test_flush_waits_for_arrivals_and_scenario_rows():
    """pick() waits for a second request; a timer ticks meanwhile. The request at .9 comes, so nothing starts at 0."""
    class Pairs:
        def pick(self, v):
            return 0 if v.n == 2 or v.stage.max() > 0 or v.flush else -1

        def on_timer(self, control, pool):
            pass

    run = sim.Simulation(one_pool(Pairs(), [{"hold": 0}], [([1.0], ())], timer_s=0.5), 2)
    run.feed(np.array([0.0, 0.9]))
    assert run.run() == "done"
    assert run.columns["first_start_s"].tolist() == [0.9, 1.9]


def test_a_batch_of_one_goes_back_to_its_resource():
    """Two resources, two stages: a starts on 0, b on 1; a batch of one is a plain run: b, asked first, stays on 1."""
    class Ones:
        def batch(self, v):
            return [0 if v.stage[0] == 0 else v.n - 1]

    run = sim.Simulation(one_pool(Ones(), [{"hold": 0, "hold_column": 0}, {"hold": 0, "hold_column": 1}],
                                  [([1.0, 0.5], ())], n=2), 2, slices=9)
    run.feed(np.array([0.0, 0.0]))
    assert run.run() == "done"
    resources = {(int(s["id"]), int(s["stage"])): int(s["resource"]) for s in run.slices}
    assert resources[0, 0] == resources[0, 1]
    assert resources[1, 0] == resources[1, 1]


def test_the_load_of_a_later_stage_counts_in_place():
    """Stage loads 1 and 2, hold 1 s at load 1 and 4 s at load 2: 5 s, going on in place or not."""
    finish = []
    for slices in (0, 9):
        run = sim.Simulation(one_pool("fcfs", [{"hold": 0, "load": 1}, {"hold": 0, "load": 2}],
                                      [([[1.0], [4.0]], ("load",))]), 1, slices=slices)
        run.feed(np.array([0.0]))
        assert run.run() == "done"
        finish.append(run.columns["finish_s"].tolist())
    assert finish == [[5.0], [5.0]]


def test_a_scalar_table():
    system = sim.System()
    assert system.table(1.0, (), column_axis=False) == 0


@pytest.mark.parametrize("block", range(4))
def test_going_on_in_place_and_chunks_change_nothing(block):
    """The same bytes stage by stage, and with rows in chunks of 1, 3 or 7."""
    for seed in range(5000 + block * 60, 5000 + block * 60 + 60):
        reference = EngineRun(Case(seed), slices=False)
        for options in ({"each_stage": True}, {"chunk": 1}, {"chunk": 3}, {"chunk": 7, "each_stage": True},
                        {"slices": True}):
            other = EngineRun(Case(seed), **{"slices": False, **options})
            assert other.state == reference.state
            assert repr(other.columns) == repr(reference.columns), (seed, options)
            assert other.thresholds == reference.thresholds, (seed, options)
            assert list(other.stats["busy_s"]) == list(reference.stats["busy_s"]), (seed, options)


def by_hand():
    """Two devices, a link of .5 s, a server that batches; a timer on the server moves the threshold."""
    case = Case.__new__(Case)
    one = {"resources": 1, "cap": None, "speeds": [1.0], "states": [-1]}
    case.owners, case.columns, case.slots, case.samples, case.clock = 2, 1, 1, 1, "monotonic"
    case.pools = [{"policy": ("fcfs",), "timer": 0.0, **one}, {"policy": ("fcfs",), "timer": 0.0, **one},
                  {"policy": ("batch", 2, 0.0), "timer": 3.0, **one}]
    case.tables = [twin.Table([1.0]), twin.Table([0.5]), twin.Table([2.0, 3.0], {"load": 1}, {"load": 2})]
    stage = {"delay": (-1, 0), "state": -1, "conf": -1, "load": 1}
    case.programs = [{"remaining": [[1.0, 1.0]], "next": [[1.0, 1.0]], "isolated": [1.0], "gamma": [[1.0, 1.0]],
                      "stages": [{**stage, "pool": twin.home(0), "hold": (0, 0), "delay": (1, 0), "conf": 0},
                                 {**stage, "pool": 2, "hold": (2, 0)}]}]
    case.switch, case.per_job, case.conf, case.thr = [[0.0, 0.0], [0.0, 0.0]], 0.0, [[0.8]], [[0.5], [0.5]]
    case.bind, case.scenario = [[0], [1]], []
    case.rows = [twin.Row(0.0, owner=0), twin.Row(0.0, owner=1), twin.Row(1.5, owner=0), twin.Row(2.0, owner=0),
                 twin.Row(2.5, owner=1), twin.Row(2.75, owner=1)]
    case.n = len(case.rows)
    return case


def test_devices_link_server_by_hand():
    """Confidence .8; threshold .5 until 3 s (answers stay on the devices), .9 from then on, .2 from 6 s.

    Device 0: r0 0-1, r2 1.5-2.5 answer there; r3 2.5-3.5 travels, at the server at 4. Device 1: r1 0-1 answers;
    r4 2.5-3.5 travels, at the server at 4 with r3: one batch of two, 4-7; r5 3.5-4.5 travels, 5 at the server, 7-9.
    The tick at 9 still belongs to the last instant, after the run's end: .6.
    """
    case = by_hand()
    run = EngineRun(case)
    assert run.columns["finish_s"] == [1.0, 1.0, 2.5, 7.0, 7.0, 9.0]
    assert run.columns["last_stage"] == [0, 0, 0, 1, 1, 1]
    assert [r for r in run.runs if r[2] == 2] == [(4.0, 7.0, 2, 3, 1, 2), (4.0, 7.0, 2, 4, 1, 2),
                                                  (7.0, 9.0, 2, 5, 1, 1)]
    assert run.thresholds == [[0.6], [0.6]]
    compare(case.run_twin().run(), run)


def test_ticks_are_multiples_of_the_period():
    """Tick n is at n * period, not at a sum of periods, and timers keep nothing alive."""
    for period in (0.1, 0.3, 1.1):
        case = by_hand()
        case.pools[2]["timer"] = period
        compare(case.run_twin().run(), EngineRun(case))


def one_pool_case(seed, policy=None):
    """A random case folded into its first pool: long stretches in place."""
    case = Case(seed)
    case.pools = case.pools[:1]
    if policy:
        case.pools[0].update(policy=policy, timer=0.0)
    case.bind = [[0] * case.slots for _ in case.bind]
    for program in case.programs:
        for s in program["stages"]:
            s["pool"] = 0 if s["pool"] != twin.DELAY else twin.DELAY
    case.scenario = []
    return case


@pytest.mark.parametrize("policy", [*BUILT_IN, "weighted", "patient"])
def test_one_pool_in_place_equals_the_twin(policy):
    """Every scheduler, one to three resources, mostly in place; stage by stage gives the same bytes."""
    for seed in range(60):
        case = one_pool_case(9000 + seed, (policy,))
        in_place, each = EngineRun(case, slices=False), EngineRun(case, each_stage=True)
        assert repr(in_place.columns) == repr(each.columns), seed
        engine, stalled = outcome_of_twin(case)
        assert not stalled
        compare(engine, in_place)


def test_outside_choices_equal_inside_ones():
    """An external pool whose answers are always the queue's head gives the bytes of fcfs."""
    for seed in range(60):
        case = one_pool_case(9100 + seed, ("fcfs",))
        inside, outside = EngineRun(case, slices=False), EngineRun(case, slices=False, external=True)
        assert repr(inside.columns) == repr(outside.columns), seed


def test_later_rows_change_no_earlier_finish():
    """Causality of whole systems: rows after t leave what finished before t alone (waiting batches too)."""
    checked = 0
    for seed in range(200):
        case = Case(12_000 + seed, corners=False)
        if any(p["cap"] for p in case.pools) or case.n < 4:
            continue
        full = EngineRun(case, slices=False)
        cut = case.n // 2
        t = case.rows[cut].arrival
        case.rows, case.n = case.rows[:cut], cut
        part = EngineRun(case, slices=False)
        for a, b in zip(part.columns["finish_s"], full.columns["finish_s"][:cut], strict=True):
            if min(a, b) < t:
                checked += 1
                assert a == b, seed
    assert checked > 150
