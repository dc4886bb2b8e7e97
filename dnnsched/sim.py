"""The simulator: requests of a workload on a modelled accelerator, under a scheduler.

:func:`simulate` is the front door for one time-shared accelerator (jobs = requests, stages = layers). The
engine below it is general: :class:`System` describes jobs that walk through stages on resources - pools,
links, batches, early exits, timers - as plain tables, and :class:`Simulation` runs it.
"""

import math
from dataclasses import dataclass, field, replace

import numpy as np

from . import _nativepolicy
from . import schedulers as _schedulers
from ._arrays import check_choice, check_int, check_number
from ._native import _sim
from .errors import StateError
from .results import Result, StreamResult
from .timeline import Timeline

__all__ = ["AXES", "DELAY", "FEATURES", "Simulation", "System", "home", "simulate"]

#: Columns of a scheduler's view.
FEATURES = _sim.features

#: Axes of a table, in the engine's order.
AXES = ("sample", "row", "variant", "load", "state", "position")

#: Pool of a stage that holds no resource and only takes its delay.
DELAY = -1


def home(slot):
    """Pool of a stage that is looked up per owner: ``home[owner][slot]``."""
    return -16 - check_int(slot, "slot", 0)


STATE_NONE, STATE_JOB = -1, -2
_STATES = {1: "rows", 2: "decision", 3: "done", 4: "stalled"}


def _record(name, columns):
    dtype = np.dtype(columns, align=True)
    if dtype.itemsize != _sim.sizes[name]:
        raise ImportError(f"dnnsched._native._sim: record {name!r} has {_sim.sizes[name]} bytes, expected "
                          f"{dtype.itemsize}; rebuild the extension modules")
    return dtype


STAGE = _record("stage", [("pool", "i4"), ("hold", "i4"), ("delay", "i4"), ("state", "i4"), ("conf", "i4"),
                          ("load", "i4"), ("hold_off", "i8"), ("delay_off", "i8"), ("flags", "u4")])
PROGRAM = _record("program", [("stage0", "i4"), ("n_stage", "i4"), ("est", "i4"), ("next", "i4"), ("iso", "i4"),
                              ("gamma", "i4"), ("alone", "i4"), ("conf", "i4")])
POOL = _record("pool", [("res0", "i4"), ("res1", "i4"), ("max_batch", "i4"), ("external", "i4"), ("cap", "i8"),
                        ("timer_s", "f8")])
RESOURCE = _record("resource", [("speed", "f8"), ("switch_const_s", "f8"), ("state", "i4"), ("n_state", "i4")])
SCENARIO = _record("scenario", [("t_s", "f8"), ("value", "f8"), ("op", "i4"), ("target", "i4")])
SUMS = _record("sums", [("n", "i8"), ("violations", "i8"), ("dropped", "i8"), ("failed", "i8"), ("preemptions", "i8"),
                        ("latency_s", "f8"), ("latency_max_s", "f8"), ("ntt", "f8"), ("inv_ntt", "f8"),
                        ("service_s", "f8"), ("alone_s", "f8"), ("first_arrival_s", "f8"), ("last_arrival_s", "f8"),
                        ("last_finish_s", "f8")])
SLICE = _record("slice", [("t0_s", "f8"), ("t1_s", "f8"), ("id", "i8"), ("resource", "i4"), ("stage", "i4"),
                          ("program", "i4"), ("n", "i4"), ("pool", "i4"), ("n_preempt", "i4")])
SOURCE = _record("source", [("row0", "i8"), ("n", "i8"), ("window", "i8"), ("burst", "i8"), ("n_min", "i8"),
                            ("think_off", "i8"), ("until_s", "f8"), ("think", "i4")])


@dataclass
class System:
    """Tables, programs, pools and resources of one engine run.

    Build it with the methods, in the order tables, pools, programs; then :class:`Simulation`. Every time is in
    seconds. Nothing here draws random numbers: delays, confidences and losses are table cells.
    """

    owners: int = 1
    clock: str = "monotonic"
    step_each_stage: bool = False
    tables: list = field(default_factory=list)
    stages: list = field(default_factory=list)
    programs: list = field(default_factory=list)
    pools: list = field(default_factory=list)
    policies: list = field(default_factory=list)
    resources: list = field(default_factory=list)
    switches: list = field(default_factory=list)
    scenario: list = field(default_factory=list)
    sources: list = field(default_factory=list)
    thresholds: np.ndarray | None = None
    home: np.ndarray | None = None

    def __post_init__(self):
        check_int(self.owners, "owners", 1)
        check_choice(self.clock, "clock", ("monotonic", "artifact"))

    def table(self, values, axes, *, pos_shift=0, column_axis=True):
        """Add a table and return its index.

        Parameters
        ----------
        values : array_like
            Seconds (or confidences, estimates) with one dimension per axis, then, with `column_axis`, one for the
            columns that stages select.
        axes : sequence of str
            Names from :data:`AXES` of the leading dimensions.
        pos_shift : int
            Positions are shifted right by this before the look-up.
        column_axis : bool
            Whether the last dimension is the column.
        """
        values = np.asarray(values, dtype=np.float64, order="C")
        if values.ndim != len(axes) + bool(column_axis):
            raise ValueError(f"values: expected {len(axes) + bool(column_axis)} dimensions for axes {tuple(axes)}, got "
                             f"{values.ndim}")
        by, ext = np.zeros(len(AXES), np.int64), np.ones(len(AXES), np.int64)
        for dim, axis in enumerate(axes):
            at = AXES.index(check_choice(axis, "axes", AXES))
            by[at], ext[at] = values.strides[dim] // 8, values.shape[dim]
        self.tables.append((values.reshape(-1), by, ext, check_int(pos_shift, "pos_shift", 0, 31)))
        return len(self.tables) - 1

    def pool(self, scheduler="fcfs", *, n=1, speed=1.0, max_batch=1, cap=0, timer_s=0.0, switch_s=None,
             switch_const_s=0.0, state=-1, external=False, semantics="paper", check=False):
        """Add a pool of `n` equal resources with one ready queue and return its index.

        Parameters
        ----------
        scheduler : str, Scheduler, native callable or object
            Built-in name or instance, a policy of the engine as ``(name, parameters)``, or your own (see
            :mod:`dnnsched.schedulers`).
        n : int
            Resources.
        speed : float
            Holds last hold/speed seconds.
        max_batch : int
            Largest run that ``batch`` may choose.
        cap : int
            Bound on waiting jobs, 0 = none; a job that finds the queue full is dropped.
        timer_s : float
            Period of ``on_timer``, 0 = none.
        switch_s : array_like, optional
            Seconds [from][to] between states; else every change costs `switch_const_s`.
        state : int
            State at the start, -1 = none (the first load is free).
        external : bool
            Decisions come from :meth:`Simulation.choose`.
        check : bool or int
            As in :func:`simulate`.
        """
        check_int(n, "n", 1)
        matrix = None if switch_s is None else np.ascontiguousarray(switch_s, dtype=np.float64)
        n_state = 0 if matrix is None else len(matrix)
        res0 = len(self.resources)
        for _ in range(n):
            self.resources.append((check_number(speed, "speed", 0, open_low=True), switch_const_s, state, n_state))
            self.switches.append(matrix)
        self.pools.append((res0, res0 + n, max_batch, int(external), cap, timer_s))
        self.policies.append(_policy(scheduler, semantics, check))
        return len(self.pools) - 1

    def program(self, stages, *, remaining=-1, next=-1, isolated=-1, gamma=-1, alone=-1, confidence=-1):
        """Add a program and return its index.

        Parameters
        ----------
        stages : sequence of dict
            Each with ``pool`` and optionally ``hold``, ``delay`` (tables, with ``hold_column``, ``delay_column``),
            ``state``, ``conf`` (column of the confidence table), ``load``, ``credit_end`` (true: a closed loop gets
            its credit back when the stage ends and the job goes on).
        remaining, next, isolated, gamma : int
            Estimate tables [sample][stage] for the scheduler's view.
        alone : int
            Table [sample] of true isolated seconds, for metrics.
        confidence : int
            Table [sample][column].
        """
        stage0 = len(self.stages)
        known = {"pool", "hold", "delay", "hold_column", "delay_column", "state", "conf", "load", "credit_end"}
        for i, st in enumerate(stages):
            if set(st) - known or "pool" not in st:
                raise ValueError(f"stages[{i}]: expected 'pool' and any of {sorted(known)}, got {sorted(st)}")
            self.stages.append((st["pool"], st.get("hold", -1), st.get("delay", -1), st.get("state", STATE_NONE),
                                st.get("conf", -1), st.get("load", 1), st.get("hold_column", 0),
                                st.get("delay_column", 0), int(bool(st.get("credit_end", False)))))
        self.programs.append((stage0, len(self.stages) - stage0, remaining, next, isolated, gamma, alone, confidence))
        return len(self.programs) - 1

    def at(self, t_s, op, target, value):
        """Add a scenario row: at `t_s`, ``"speed"`` of a resource or ``"user"`` for a pool's policy becomes `value`."""
        check_choice(op, "op", ("speed", "user"))
        self.scenario.append((t_s, value, ("speed", "user").index(op), target))

    def source(self, row0, n, *, window=1, burst=1, think=-1, think_column=0, until_s=math.inf, n_min=0):
        """Add a closed loop: rows `row0` to ``row0 + n - 1`` are released by credits.

        Every row out holds one of `window` credits from the moment it is chosen until it ends, or ends a stage with
        ``credit_end``. At first all credits
        are there and rows are released at their arrivals. Whenever `burst` credits have come back, the next `burst`
        rows are chosen and released together, `think` seconds later (read for the first of them), but not before the
        arrival of the last. Their deadlines count from the release. Sources are added in the order of their rows;
        rows outside of sources arrive by the clock. All rows are fed at once.

        Parameters
        ----------
        row0, n : int
            First row and number of rows, >= 1.
        window, burst : int
            1 <= burst <= window.
        think : int
            Table over ``sample``, ``row`` or ``position`` of seconds; -1: none. An infinite one loses the credits.
        think_column : int
            Column of the table.
        until_s, n_min : float, int
            The source ends with its rows, or once `n_min` rows are chosen and one of them is due at `until_s` or
            later.
        """
        self.sources.append((check_int(row0, "row0", 0), check_int(n, "n", 1), check_int(window, "window", 1),
                             check_int(burst, "burst", 1), check_int(n_min, "n_min", 0), think_column,
                             check_number(until_s, "until_s", 0, finite=False), think))


def _decisions(check):
    """How many decisions `check` asks for: True is all of them, never one."""
    if check is None or check is False or check is True or isinstance(check, np.bool_):
        return 2**63 - 1 if check else 0
    return check_int(check, "check", 0)


def _policy(scheduler, semantics, check=False):
    """What the binding takes: (entry, what, decisions to check, ...)."""
    if isinstance(scheduler, str):
        scheduler = _schedulers.get(scheduler)
    if isinstance(scheduler, tuple) and len(scheduler) == 2 and isinstance(scheduler[0], str):
        return "builtin", scheduler[0], _decisions(check), np.array(scheduler[1], dtype=np.float64)
    if isinstance(scheduler, _schedulers.Scheduler):
        name, params = scheduler.native(semantics)
        return "builtin", name, _decisions(check), np.array(params, dtype=np.float64)
    count = max(_decisions(check), _decisions(getattr(scheduler, "check", False)))
    own = _nativepolicy.own(scheduler)
    return own.entry(count) if isinstance(own, _nativepolicy.Native) else ("python", own, count)


class Simulation:
    """One run of a :class:`System`.

    Parameters
    ----------
    system : System
    n : int, optional
        Requests to record; None records none.
    slices : int
        Stage slices to keep for a timeline.
    sums : bool
        Keep running sums and latency histograms per program.
    warmup : int
        Requests left out of the sums.
    """

    def __init__(self, system, n=None, *, slices=0, sums=False, warmup=0):
        s = system
        thresholds = np.zeros((s.owners, 0)) if s.thresholds is None else s.thresholds
        homes = np.zeros((s.owners, 0), np.int32) if s.home is None else s.home
        self._sim = _sim.Sim(list(s.tables), np.array(s.stages, STAGE), np.array(s.programs, PROGRAM),
                             np.array(s.pools, POOL), list(s.policies), np.array(s.resources, RESOURCE),
                             list(s.switches), np.array(s.scenario, SCENARIO),
                             np.ascontiguousarray(thresholds, dtype=np.float64),
                             np.ascontiguousarray(homes, dtype=np.int32), np.array(s.sources, SOURCE),
                             s.clock == "artifact", s.step_each_stage)
        self._watch = any(entry[0] == "native" for entry in s.policies)
        self.columns = None
        if n is not None:
            n = check_int(n, "n", 0)
            self.columns = {
                "first_start_s": np.full(n, math.nan), "finish_s": np.full(n, math.nan),
                "service_s": np.zeros(n), "n_preempt": np.zeros(n, np.int32), "last_stage": np.full(n, -1, np.int32),
                "variant": np.zeros(n, np.int32), "status": np.full(n, 255, np.uint8),
                "order": np.full(n, -1, np.int64), "release_s": np.full(n, math.nan)}
            self._sim.record(n, *self.columns.values())
        self.sums = self.hist = None
        if sums:
            self.sums = np.zeros(len(s.programs), SUMS)
            self.hist = np.zeros((len(s.programs), _sim.N_HIST), np.int64)
            self._sim.sums(self.sums, self.hist, warmup)
        self._slices, self._fed = None, []
        self._pools, self._programs, self._closed = list(s.pools), len(s.programs), bool(s.sources)
        if slices:
            self._slices = np.zeros(slices, SLICE)
            self._sim.slices(self._slices)

    def feed(self, arrival, *, deadline=None, priority=None, program=None, sample=None, owner=None, pos0=None,
             exit_at=None, user=None, final=True):
        """Give the next rows, in arrival order; None takes a column's default."""
        self._sim.feed(arrival, deadline, priority, program, sample, owner, pos0, exit_at, user, final)
        if self._slices is not None:
            n = len(arrival)
            self._fed.append((np.array(arrival, np.float64),
                              np.full(n, math.inf) if deadline is None else np.array(deadline, np.float64),
                              np.zeros(n, np.int32) if program is None else np.array(program, np.int32)))

    def run(self):
        """Simulate until ``"done"``, ``"rows"`` (feed more), ``"decision"`` (see :meth:`choose`) or ``"stalled"``."""
        if not self._watch:
            return _STATES[self._sim.run()]
        with _nativepolicy.watching(self._sim):
            return _STATES[self._sim.run()]

    def queue(self, pool=0):
        """Copy of a pool's ready queue, float64 [len(FEATURES), waiting]."""
        return self._sim.queue(pool)

    def choose(self, slot):
        """Answer a decision: a queue position, -1 = stay idle until the next event."""
        self._sim.choose(slot)

    @property
    def stats(self):
        """Counters of the run so far, as a dict."""
        return self._sim.stats()

    @property
    def slices(self):
        """Recorded stage slices, structured array in the order of their ends."""
        return None if self._slices is None else self._slices[: self.stats["n_slice"]]

    def timeline(self, names=None):
        """What ran when, so far.

        Parameters
        ----------
        names : sequence of str, optional
            A name per program; requests are grouped by it.

        Returns
        -------
        dnnsched.timeline.Timeline

        Raises
        ------
        StateError
            If the simulation keeps no slices or no request columns, or has closed loops (``simulate`` draws those).
        """
        if self._slices is None or self.columns is None:
            raise StateError("timeline: expected a Simulation(system, n, slices=...) that keeps both")
        if self._closed:
            raise StateError("timeline: a system with sources; run the workload through dnnsched.simulate")
        arrival, deadline, program = (np.concatenate(c) for c in zip(*self._fed, strict=True)) if self._fed else (
            np.zeros(0), np.zeros(0), np.zeros(0, np.int32))
        rows = {"request_id": np.arange(len(arrival)), "arrival_s": arrival, "deadline_s": deadline, "key": program}
        rows |= {c: self.columns[c][:len(arrival)] for c in ("first_start_s", "finish_s", "status", "n_preempt")}
        if names is None:
            names = [f"program {i}" for i in range(self._programs)]
        resources = [f"pool {at} accelerator {i}" if len(self._pools) > 1 else f"accelerator {i}"
                     for at, pool in enumerate(self._pools) for i in range(pool[1] - pool[0])]
        return Timeline(self.slices, self.stats["lost_slices"], rows, names, resources, {})


def _resolve(scheduler, semantics):
    """Scheduler object of a name, an instance or a native callable; errors for what the semantics excludes."""
    check_choice(semantics, "semantics", _schedulers.SEMANTICS)
    if isinstance(scheduler, str):
        scheduler = _schedulers.get(scheduler)
    if isinstance(scheduler, type) and issubclass(scheduler, _schedulers.Scheduler):
        scheduler = scheduler()
    built_in = isinstance(scheduler, _schedulers.Scheduler)
    if semantics == "artifact" and not (built_in and scheduler.in_artifact):
        what = scheduler.name if built_in else type(scheduler).__name__
        raise ValueError(f"semantics: 'artifact' exists for the public simulator's 11 policies only "
                         f"({', '.join(_schedulers.ARTIFACT_POLICIES)}), got {what!r}")
    return scheduler if built_in else _nativepolicy.own(scheduler)


def _parameters(scheduler, semantics):
    """Parameters in force, for the record."""
    if isinstance(scheduler, _schedulers.Scheduler):
        return scheduler.parameters(semantics)
    return {"params": scheduler.params.tolist()} if isinstance(scheduler, _nativepolicy.Native) else {}


def _cached(ts, key, make):
    """Value kept with the trace set: tables do not change between runs on the same traces."""
    cache = ts.__dict__.setdefault("_sim_cache", {})
    if key not in cache:
        cache[key] = make()
    return cache[key]


_COLUMNS = ("remaining", "next", "isolated", "gamma")


def _known_tables(ts, scheduler, semantics):
    """Estimate tables by column for a built-in scheduler, or all four for an own one."""
    if isinstance(scheduler, _schedulers.Scheduler):
        return _cached(ts, (scheduler, semantics), lambda: scheduler.tables(ts, semantics))
    oracle = bool(getattr(scheduler, "oracle", False))
    known = _schedulers.DystaOracle() if oracle else _schedulers.Dysta()

    def make():
        estimates = _schedulers.estimate(ts, **known.knows(semantics))
        return {c: [getattr(e, c) for e in estimates] for c in _COLUMNS}

    return _cached(ts, ("own", oracle, semantics), make)


def _system(ts, scheduler, semantics, clock, switch_cost_s, check=False, step_each_stage=False, external=False):
    """One accelerator: a pool with one resource; one program per trace, one stage per layer.

    With `external`, decisions come from outside and `scheduler` only says, by its `oracle`, what estimates are shown.
    """
    system = System(clock=clock, step_each_stage=step_each_stage)
    system.pool("fcfs" if external else scheduler, switch_const_s=switch_cost_s, semantics=semantics, check=check,
                external=external)
    known = _known_tables(ts, scheduler, semantics)
    state = STATE_JOB if switch_cost_s > 0 else STATE_NONE
    for i, tr in enumerate(ts.values()):
        hold = system.table(tr.latency, ("sample",))
        alone = system.table(tr.isolated_s, ("sample",), column_axis=False)
        ids = {c: system.table(known[c][i], ("sample",)) if len(known[c][i]) > 1 else
               system.table(known[c][i][0], ()) for c in known}
        system.program([{"pool": 0, "hold": hold, "hold_column": k, "state": state} for k in range(tr.n_layers)],
                       alone=alone, **ids)
    return system


def _with_sources(system, wl):
    """The system with the workload's closed loops; `system` itself is shared and stays as it is."""
    looped = replace(system, tables=[*system.tables], sources=[])
    think = -1 if wl.think_s is None else looped.table(wl.think_s, ("row",), column_axis=False)
    for s in wl.sources:
        looped.source(s.row0, s.n, window=s.window, burst=s.burst, think=think, until_s=s.until_s, n_min=s.n_min)
    return looped


def _engine_deadlines(wl):
    """Deadlines as the engine wants them: from the release on in closed loops, else absolute."""
    if not getattr(wl, "sources", ()):
        return wl.deadline
    out = wl.deadline.copy()
    for s in wl.sources:
        out[s.row0:s.row0 + s.n] -= wl.arrival[s.row0:s.row0 + s.n]
    return out


def simulate(wl, scheduler="dysta", *, semantics=None, clock=None, switch_cost_s=0.0, warmup=0, record="requests",
             timeline=False, check=False):
    """Run a workload on one preemptible accelerator.

    The accelerator runs one layer of one request at a time; requests are preempted at layer boundaries only. A
    layer takes its sample's recorded latency.

    Parameters
    ----------
    wl : Workload or stream
        Requests; a stream (``workloads.stream_poisson``) gives them in chunks, for runs that do not fit in memory.
        In closed loops (``workloads.closed_loop``, :class:`dnnsched.workloads.Source`) a request's arrival is its
        release, and requests that were never released leave no row.
    scheduler : str, Scheduler, native callable or object
        Name (:func:`dnnsched.schedulers.names`), instance, or your own (see :mod:`dnnsched.schedulers`). An own
        scheduler's view holds what the default Dysta knows: ``remaining`` and ``next`` are pattern-aware averages
        scaled by the monitored gamma, ``isolated`` is the average; with ``oracle = True`` all three are true times.
    semantics : {"paper", "artifact"}, optional
        Defaults of clock and scheduler parameters: as the paper states, or the decisions of the public
        Sparse-DySta simulator to the bit (its 11 policies). Default ``"paper"``. Explicit parameters win.
    clock : {"monotonic", "artifact"}, optional
        ``"artifact"``: a request that arrives at the very end of a layer is seen one layer late, and an idle
        accelerator jumps to the next arrival even if that lies in the past (counted as ``rewinds``).
    switch_cost_s : float
        Seconds added when the accelerator changes request, >= 0.
    warmup : int
        First requests that metrics leave out.
    record : {"requests", "none"}
        ``"none"`` keeps running sums and a latency histogram only; memory does not grow with the requests.
    timeline : bool or int
        Keep layer slices for ``result.timeline``; an int bounds their number (default 300,000).
    check : bool or int
        Verify the scheduler's promises at the first `check` decisions, True: at all. A scheduler that scores is scored
        twice and held to its `kind`; a native one is compared with its Python form; built-in ones with fixed keys are
        held to them.

    Returns
    -------
    Result

    Raises
    ------
    ValueError
        Unknown scheduler or semantics, negative cost, infinite deadline under a slack-based scheduler.
    StateError
        A scheduler picked a slot out of range, gave a NaN score, broke its promise or, under `check`, its native and
        Python forms differ; the message has time and request. An exception of the scheduler's own comes through with
        a note of both.
    """
    semantics = semantics or "paper"
    scheduler = _resolve(scheduler, semantics)
    check = _decisions(check)
    clock = check_choice(clock or ("artifact" if semantics == "artifact" else "monotonic"), "clock",
                         ("monotonic", "artifact"))
    switch_cost_s = check_number(switch_cost_s, "switch_cost_s", 0)
    warmup = check_int(warmup, "warmup", 0)
    check_choice(record, "record", ("requests", "none"))
    if timeline is not False and timeline is not True:
        check_int(timeline, "timeline", 1)
    stream = not hasattr(wl, "arrival")
    if not hasattr(wl, "traces") or (stream and not hasattr(wl, "__iter__")):
        raise TypeError(f"wl: expected a Workload or a stream of them, got {type(wl).__name__}")
    if stream and (record != "none" or timeline or clock == "artifact"):
        raise ValueError("wl: a stream needs record='none', no timeline and the monotonic clock")
    if not stream and warmup >= wl.n > 0:
        raise ValueError(f"warmup: expected less than the {wl.n} requests, got {warmup}")
    closed = getattr(wl, "sources", ())
    if closed and clock == "artifact":
        raise ValueError("clock: the artifact clock knows no closed loops, got a workload with sources")

    def build():
        return _system(wl.traces, scheduler, semantics, clock, switch_cost_s, check)

    fixed = isinstance(scheduler, _schedulers.Scheduler) and not check  # a built-in one hashes by its parameters
    system = _cached(wl.traces, ("system", scheduler, semantics, clock, switch_cost_s), build) if fixed else build()
    if closed:
        system = _with_sources(system, wl)
    config = {"scheduler": getattr(scheduler, "name", type(scheduler).__name__), "semantics": semantics,
              "clock": clock, "switch_cost_s": switch_cost_s, "warmup": warmup, "record": record,
              "parameters": _parameters(scheduler, semantics)}
    if record == "none":
        sim = Simulation(system, sums=True, warmup=warmup)
        _run(sim, wl if stream else [wl], scheduler)
        return StreamResult(wl.traces, sim, config, _meta(wl), closed=bool(closed))
    slices = 0 if timeline is False else 300_000 if timeline is True else timeline
    sim = Simulation(system, wl.n, slices=slices)
    _run(sim, [wl], scheduler)
    return Result(wl, sim, config)


def _meta(wl):
    return dict(getattr(wl, "meta", None) or {})


def _run(sim, chunks, scheduler):
    """Feed every chunk and run to the end."""
    finite = isinstance(scheduler, _schedulers.Dysta)
    chunks = iter(chunks)
    chunk = next(chunks, None)
    state = "rows"
    while state == "rows":
        following = next(chunks, None)
        empty = np.zeros(0) if chunk is None else chunk.arrival
        if chunk is not None:
            if finite and not np.isfinite(chunk.deadline).all():
                row = int(np.argmin(np.isfinite(chunk.deadline)))
                raise ValueError(f"deadline: row {row}: {scheduler.name} needs finite deadlines, got "
                                 f"{chunk.deadline[row]}")
            sim.feed(chunk.arrival, deadline=_engine_deadlines(chunk), priority=chunk.priority, program=chunk.model,
                     sample=chunk.sample, final=following is None)
        else:
            sim.feed(empty)
        state = sim.run()
        chunk = following
    if state == "stalled":
        raise StateError(f"scheduler {getattr(scheduler, 'name', type(scheduler).__name__)!r}: stays idle for ever at "
                         f"t = {sim.stats['now_s']:.9g} s with {sim.stats['live']} requests waiting")
