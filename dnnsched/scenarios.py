"""MLPerf load generation: single stream, multi stream, server and offline, judged as LoadGen judges them.

==============  ==========================================  =====================================================
scenario        load                                        result
==============  ==========================================  =====================================================
SingleStream    one sample; the next when it is answered    90th percentile of latency
MultiStream     queries of 8 samples; the next when all     99th percentile of query latency (its slowest sample)
                of them are answered
Server          Poisson arrivals, any number outstanding    completed queries per second; VALID only if the 99th
                                                            percentile of latency is within the target
Offline         all samples at time 0                       samples per second
==============  ==========================================  =====================================================

Definitions (MLPerf Inference LoadGen, github.com/mlcommons/inference, ``loadgen/results.cc`` and ``mlperf.conf``):

* latency counts from the *scheduled* time of a query: its arrival in Server and Offline, its release in the streams;
* percentile p of n values is element floor(n p) of the sorted values, counted from 0;
* a query is over the latency target if it is strictly above it;
* completed rate = (n - 1) / time of the last completion, scheduled rate = (n - 1) / time of the last arrival (the first
  query is scheduled at time 0);
* a run goes on until both a minimum time (600 s: of the last issue in the streams, of the last arrival in Server, of
  the whole in Offline) and a minimum number of queries are reached;
* early stopping (confidence 0.99, tolerance 0): with t queries over the target, Server needs
  n >= :func:`dnnsched.statistics.early_stopping_min` ``(t)``; the streams need n >= n_min(1), 64 at the 90th and 662 at
  the 99th percentile, and a conservative percentile estimate discards the t - 1 highest latencies for the largest t
  with n_min(t) <= n.

Four independent streams of random numbers (children 0 to 3 of the SeedSequence): which samples are in the set, their
order, the schedule, and which queries a log shows. So two schedulers, or two rates, see the same samples.

These are simulations of modelled accelerators. Nothing here is an official MLPerf result.
"""

import math
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from dnnsched import _mlperf, sim, statistics
from dnnsched._arrays import check_choice, check_int, check_number, seed_sequence
from dnnsched._plan import Plan, renewal_times
from dnnsched._workload import Source, Workload, isolated_s
from dnnsched.results import Result

__all__ = ["CONFIDENCE", "MIN_DURATION_S", "NAMES", "PERCENTILES", "SERVER_TARGETS", "Outcome", "ScenarioResult",
           "ServerTarget", "evaluate", "multi_stream", "offline", "server", "single_stream", "workload"]

#: Scenarios by the name that :func:`workload` takes.
NAMES = MappingProxyType({"single_stream": "SingleStream", "multi_stream": "MultiStream", "server": "Server",
                          "offline": "Offline"})

#: Percentiles that LoadGen reports.
PERCENTILES = (0.5, 0.9, 0.95, 0.97, 0.99, 0.999)

#: Confidence of early stopping.
CONFIDENCE = 0.99

#: Minimum time of a run, seconds.
MIN_DURATION_S = 600.0

_OFFLINE_SAMPLES = 24576
_MOST_ROWS = 20_000_000
_PIECE = 1 << 14  # rows drawn at a time; at least the samples of a query


@dataclass(frozen=True)
class ServerTarget:
    """Latency bound of a benchmark in the Server scenario, seconds at the 99th percentile.

    Attributes
    ----------
    latency_s : float or None
        Bound of the whole query.
    first_token_s, per_token_s : float or None
        Bounds of the time to the first and per output token, for language models.
    source : str
    """

    latency_s: float | None = None
    first_token_s: float | None = None
    per_token_s: float | None = None
    source: str = "MLPerf Inference, loadgen/mlperf.conf"


#: Server targets by benchmark.
SERVER_TARGETS = MappingProxyType({
    "resnet50": ServerTarget(0.015), "retinanet": ServerTarget(0.1), "bert": ServerTarget(0.13),
    "dlrm": ServerTarget(0.06), "rnnt": ServerTarget(1.0),
    "llama2-70b": ServerTarget(None, 2.0, 0.2), "llama2-70b-interactive": ServerTarget(None, 0.45, 0.04),
    "llama3.1-8b": ServerTarget(None, 2.0, 0.1), "llama3.1-405b": ServerTarget(None, 6.0, 0.175),
})


@dataclass(frozen=True)
class Outcome:
    """The short form of a verdict.

    Attributes
    ----------
    valid : bool
    failed : tuple of str
        Checks that do not hold.
    result : float
    label : str
        What `result` is, with its unit.
    """

    valid: bool
    failed: tuple
    result: float
    label: str


@dataclass(frozen=True)
class ScenarioResult:
    """What a scenario found.

    Attributes
    ----------
    scenario : str
        ``"SingleStream"``, ``"MultiStream"``, ``"Server"`` or ``"Offline"``.
    valid : bool
        Whether every entry of `checks` holds.
    reasons : tuple of str
        Why not.
    result : float
        See the module's table; `unit` is ``"s"`` or ``"1/s"``.
    unit : str
    percentile : float or None
        That of the result or of the target.
    latency_s : mapping of float to float
        Percentile -> seconds; of queries in MultiStream, else of samples.
    n, n_samples : int
        Queries (Offline: samples of its one query), and samples.
    duration_s : float
        What was compared with the minimum time.
    checks : mapping of str to bool
        ``"min_duration"``, ``"min_queries"``, and where they apply ``"performance"`` and ``"early_stopping"``.
    early_stopping : statistics.EarlyStopping or None
        Of Server with the queries over the target; of the streams with one.
    estimate_s : mapping of float to float
        Early-stopping estimates of percentiles, seconds; percentiles that need more queries are left out.
    overlatency : int or None
        Queries strictly above the target (Server).
    completed_rate, scheduled_rate : float
        Queries per second, see the module; NaN for one query.
    settings : mapping
        Parameters in force, as in the workload's ``meta["scenario"]``.
    query_latency_s : ndarray of float64, shape (n,), read-only
        In order of issue.
    run : dnnsched.results.Result
    """

    scenario: str
    valid: bool
    reasons: tuple
    result: float
    unit: str
    percentile: float | None
    latency_s: dict
    n: int
    n_samples: int
    duration_s: float
    checks: dict
    early_stopping: statistics.EarlyStopping | None
    estimate_s: dict
    overlatency: int | None
    completed_rate: float
    scheduled_rate: float
    settings: dict
    query_latency_s: np.ndarray = field(repr=False)
    run: Result = field(repr=False)

    def __bool__(self):
        return self.valid

    def outcome(self):
        """The verdict without the run: an :class:`Outcome`."""
        what = {"SingleStream": "latency", "MultiStream": "query latency", "Server": "completed queries",
                "Offline": "samples"}[self.scenario]
        label = f"{what} (1/s)" if self.unit == "1/s" else f"{100 * self.percentile:g}th percentile of {what} (s)"
        return Outcome(self.valid, tuple(name for name, good in self.checks.items() if not good), self.result, label)

    def text(self):
        """The verdict in a few lines."""
        lines = [f"{self.scenario}: {'VALID' if self.valid else 'INVALID'}; {self.outcome().label} {self.result:.6g}; "
                 f"{self.n} {'samples' if self.scenario == 'Offline' else 'queries'}, {self.duration_s:.6g} s"]
        lines += [f"  {reason}" for reason in self.reasons]
        if self.scenario == "Server":
            p = self.percentile
            lines.append(f"  {100 * p:g}th percentile {_percentile(np.sort(self.query_latency_s), p):.6g} s, target "
                         f"{self.settings['latency_s']:g} s, {self.overlatency} over it")
        lines += [f"  early stopping: {100 * p:g}th percentile at most {value:.6g} s"
                  for p, value in self.estimate_s.items()]
        return "\n".join(lines)

    def write_mlperf_log(self, directory, *, queries=0):
        """Write ``mlperf_log_summary.txt`` and ``mlperf_log_detail.txt`` in LoadGen's formats, marked as not official.

        Parameters
        ----------
        directory : path-like
            Made if it is not there; files of these names are replaced, each whole or not at all.
        queries : int
            Also write ``mlperf_log_trace.json`` with this many queries (at most all), chosen by the log's stream of
            random numbers; :func:`dnnsched.workloads.read_mlperf` reads it.

        Returns
        -------
        list of pathlib.Path
            The files written.
        """
        return _mlperf.write(self, directory, check_int(queries, "queries", 0))


class _Load:
    """The samples of a scenario: four streams, a sample set, rows in any number."""

    def __init__(self, ts, rng, mix, performance_samples, deadline_s):
        self.root, self.record = seed_sequence(rng)
        self.plan = Plan(ts, mix=mix, slo_multiplier=math.inf, slo_base="request", rng=self.seed(1), priorities=None,
                         n_samples=None, semantics="paper")
        self.traces, self.deadline_s, self.set_size, self.kept = ts, deadline_s, performance_samples, None
        if performance_samples is not None:
            self._choose_set(check_int(performance_samples, "performance_samples", 1))

    def _choose_set(self, size):
        """`size` samples of each trace, without replacement."""
        for key, n, weight in zip(self.traces, self.traces.n_samples, self.plan.weight, strict=True):
            if n < size and weight > 0:
                raise ValueError(f"performance_samples: expected at most the {n} samples of trace {key!r}, got {size}")
        bits = np.random.PCG64(self.seed(0))
        orders = [np.argsort(bits.random_raw(t.n_samples), kind="stable") for t in self.traces.values()]
        self.kept = np.array([np.resize(order, size) for order in orders], dtype=np.int32)
        self.plan.samples = np.full(len(orders), size, dtype=np.int32)

    def seed(self, child):
        """Seed of the streams 0 sample set, 1 order, 2 schedule, 3 log."""
        return np.random.SeedSequence(self.root.entropy, spawn_key=(*self.root.spawn_key, child))

    def mean_s(self):
        """Mean isolated seconds of a sample."""
        kept = [slice(None)] * len(self.traces) if self.kept is None else self.kept
        means = [np.mean(t.isolated_s[k]) for t, k in zip(self.traces.values(), kept, strict=True)]
        return float(np.dot(self.plan.weight, means) / self.plan.weight.sum())

    def rows(self, least_s, least_n):
        """(model, sample, isolated_s): at least that many seconds of work and rows, and a good many more."""
        most_s = _MOST_ROWS * self.mean_s()
        if least_s > most_s:
            raise ValueError(f"min_duration_s: expected at most {most_s:.4g} s, the time of {_MOST_ROWS:,} samples, "
                             f"got {least_s:g}")
        if least_n > _MOST_ROWS:
            raise ValueError(f"min_queries: expected at most {_MOST_ROWS:,} samples in all, got {least_n:,}")
        draw, parts, total, n, more = self.plan.drawer(), [], 0.0, 0, True
        while more:
            more = total < least_s or n < least_n
            _, model, sample, *_ = draw(np.zeros(_PIECE), {})
            if self.kept is not None:
                sample = self.kept[model, sample]
            isolated = isolated_s(self.traces, model, sample)
            parts.append((model, sample, isolated))
            total, n = total + float(isolated.sum()), n + _PIECE
        return [np.concatenate(column) for column in zip(*parts, strict=True)]

    def workload(self, model, sample, arrival, settings, sources=()):
        """Workload of rows that are due `deadline_s` after their arrival or release; it carries the settings."""
        rate = settings.get("target_qps")
        settings = {**settings, "performance_samples": self.set_size, "confidence": CONFIDENCE, "seed": self.record}
        load = None if rate is None else rate * self.mean_s()
        meta = {**self.plan.meta({"process": settings["scenario"]}, rate), "scenario": settings,
                "rng": self.record, "slo_base": None, "slo_multiplier": None,
                "offered_load": load,
                "sample_rule": "all" if self.set_size is None else f"{self.set_size} drawn per trace"}
        return Workload(self.traces, arrival, model, sample, arrival + self.deadline_s, meta=meta, sources=sources)


def _percentile(ordered, p):
    """LoadGen's percentile of sorted values."""
    return statistics.quantile(ordered, p, "loadgen")


def _estimate(ordered, p):
    """Early-stopping estimate of a percentile of sorted values; None if there are too few."""
    t = statistics.early_stopping(len(ordered), 0, p, CONFIDENCE).allowed
    return float(ordered[len(ordered) - t]) if t >= 1 else None


def _common(percentile, min_duration_s, min_queries):
    """Checked percentile, minimum time and minimum count (default: what early stopping needs at least)."""
    if percentile is not None:
        percentile = check_number(percentile, "percentile", 0.0, 1.0, open_low=True)
        if percentile == 1.0:
            raise ValueError("percentile: expected a value in (0, 1), got 1.0")
    if min_queries is None:
        min_queries = statistics.early_stopping_min(1, percentile, CONFIDENCE)
    return {"percentile": percentile, "min_duration_s": check_number(min_duration_s, "min_duration_s", 0.0),
            "min_queries": check_int(min_queries, "min_queries", 1)}


def _deadline(deadline_s):
    return check_number(deadline_s, "deadline_s", 0.0, open_low=True, finite=False)


def _stream_workload(ts, *, samples_per_query, percentile, min_duration_s=MIN_DURATION_S, min_queries=None, mix=None,
                     rng=None, performance_samples=None, deadline_s=math.inf, scenario="MultiStream"):
    """Both closed loops: queries of some samples, the next when all are answered."""
    common = _common(percentile, min_duration_s, min_queries)
    per_query = check_int(samples_per_query, "samples_per_query", 1, 1024)
    load = _Load(ts, rng, mix, performance_samples, _deadline(deadline_s))
    seconds, least = common["min_duration_s"], common["min_queries"]
    # one accelerator: the last query is issued once the others have run, whatever the scheduler
    model, sample, isolated = load.rows(seconds, least * per_query)
    work = np.cumsum(isolated)[per_query - 1::per_query]  # of the first 1, 2, ... queries
    rows = (max(int(np.searchsorted(work, seconds)) + 2, least) + 1) * per_query  # one query more against rounding
    source = Source(0, rows, window=per_query, burst=per_query, until_s=seconds, n_min=least * per_query)
    settings = {"scenario": scenario, **common, "samples_per_query": per_query}
    return load.workload(model[:rows], sample[:rows], np.zeros(rows), settings, (source,))


def _single_workload(ts, *, percentile=0.9, **parameters):
    return _stream_workload(ts, samples_per_query=1, percentile=percentile, scenario="SingleStream", **parameters)


def _multi_workload(ts, *, samples_per_query=8, percentile=0.99, **parameters):
    return _stream_workload(ts, samples_per_query=samples_per_query, percentile=percentile, **parameters)


def _server_workload(ts, *, target_qps=None, latency_s=None, percentile=0.99, min_duration_s=MIN_DURATION_S,
                     min_queries=None, mix=None, rng=None, performance_samples=None):
    """Poisson arrivals from time 0 until both minima are reached."""
    common = _common(percentile, min_duration_s, min_queries)
    if target_qps is None or latency_s is None:
        raise TypeError("server: expected target_qps and latency_s")
    qps = check_number(target_qps, "target_qps", 0.0, open_low=True)
    bound = _latency_target(latency_s)
    load = _Load(ts, rng, mix, performance_samples, bound)
    seconds, least = common["min_duration_s"], common["min_queries"]
    if seconds * qps > _MOST_ROWS:
        raise ValueError(f"min_duration_s: {seconds:g} s at {qps:g} per second are more than {_MOST_ROWS:,} queries")
    times, pieces, last = renewal_times(np.random.PCG64(load.seed(2)), qps), [np.zeros(1)], np.zeros(1)
    while last[-1] < seconds or sum(map(len, pieces)) < least:
        last = times(_PIECE)
        pieces.append(last)
    arrival = np.concatenate(pieces)
    arrival = arrival[:max(int(np.searchsorted(arrival, seconds)) + 1, least)]
    model, sample, _ = load.rows(0.0, len(arrival))
    return load.workload(model[:len(arrival)], sample[:len(arrival)], arrival,
                         {"scenario": "Server", "target_qps": qps, "latency_s": bound, **common})


def _offline_workload(ts, *, min_duration_s=MIN_DURATION_S, min_samples=_OFFLINE_SAMPLES, mix=None, rng=None,
                      performance_samples=None, deadline_s=math.inf):
    """All samples at time 0."""
    common = _common(None, min_duration_s, check_int(min_samples, "min_samples", 1))
    load = _Load(ts, rng, mix, performance_samples, _deadline(deadline_s))
    model, sample, isolated = load.rows(common["min_duration_s"], min_samples)
    n = max(int(np.searchsorted(np.cumsum(isolated), common["min_duration_s"])) + 2, min_samples)  # one for rounding
    return load.workload(model[:n], sample[:n], np.zeros(n), {"scenario": "Offline", **common})


_BUILDERS = {"single_stream": _single_workload, "multi_stream": _multi_workload, "server": _server_workload,
             "offline": _offline_workload}


def _latency_target(latency_s):
    """Seconds of a number or of a benchmark's name."""
    if not isinstance(latency_s, str):
        return check_number(latency_s, "latency_s", 0.0, open_low=True)
    whole = [name for name, target in SERVER_TARGETS.items() if target.latency_s is not None]
    if latency_s not in whole:
        raise ValueError(f"latency_s: expected seconds or one of {', '.join(whole)} (benchmarks with token latencies "
                         f"have no bound on the whole query), got {latency_s!r}")
    return SERVER_TARGETS[latency_s].latency_s


def workload(name, ts, **parameters):
    """The requests of a scenario, to be simulated by any means and judged by :func:`evaluate`.

    Parameters
    ----------
    name : str
        One of :data:`NAMES`.
    ts : TraceSet
    **parameters
        Those of the function of that name, but for `scheduler` and the arguments of :func:`dnnsched.simulate`.

    Returns
    -------
    Workload
        ``meta["scenario"]`` holds the parameters.
    """
    check_choice(name, "name", tuple(NAMES))
    return _BUILDERS[name](ts, **parameters)


def evaluate(run):
    """Judge a run of a scenario's requests.

    Parameters
    ----------
    run : dnnsched.results.Result
        Of a workload that :func:`workload` made.

    Returns
    -------
    ScenarioResult
    """
    if not isinstance(run, Result):
        raise TypeError(f"run: expected a Result with request rows, got {type(run).__name__}")
    settings = run.workload_meta.get("scenario")
    if settings is None:
        raise ValueError("run: expected the result of a scenario's workload, got one of "
                         f"{run.workload_meta['arrivals']}")
    r, per_query = run.requests, settings.get("samples_per_query", 1)
    at_s = r["arrival_s"][::per_query]
    query = (r["finish_s"] - r["arrival_s"]).reshape(-1, per_query).max(axis=1)
    query.flags.writeable = False
    name, n, last = settings["scenario"], len(query), float(r["finish_s"].max())
    ordered, p, target = np.sort(query), settings["percentile"], settings.get("latency_s")
    over = None if target is None else int(np.count_nonzero(query > target))
    early = None if name == "Offline" else statistics.early_stopping(n, 1 if over is None else over, p, CONFIDENCE)
    duration = last if name == "Offline" else float(at_s[-1])
    checks, reasons = _judge(settings, ordered, duration, early)
    wanted = {"SingleStream": (p, 0.99), "MultiStream": (p,)}.get(name, ())
    estimates = {q: value for q in dict.fromkeys(wanted) if (value := _estimate(ordered, q)) is not None}
    completed = (n - 1) / last if n > 1 else math.nan
    result = completed if name == "Server" else n / last if name == "Offline" else _percentile(ordered, p)
    return ScenarioResult(
        name, all(checks.values()), reasons, result, "1/s" if name in ("Server", "Offline") else "s", p,
        MappingProxyType({q: _percentile(ordered, q) for q in PERCENTILES}), n, len(r), duration,
        MappingProxyType(checks), early, MappingProxyType(estimates), over, completed,
        (n - 1) / float(at_s[-1]) if n > 1 and at_s[-1] > 0 else math.nan,
        MappingProxyType({k: v for k, v in settings.items() if k != "scenario"}), query, run)


def _judge(settings, ordered, duration, early):
    """(checks, reasons) of sorted query latencies."""
    n, seconds, least = len(ordered), settings["min_duration_s"], settings["min_queries"]
    p, target = settings["percentile"], settings.get("latency_s")
    found = {"min_duration": (duration >= seconds, f"lasted {duration:.9g} s, at least {seconds:g} s are needed"),
             "min_queries": (n >= least, f"{n} queries, at least {least} are needed")}
    if target is not None:
        value = _percentile(ordered, p)
        found["performance"] = (value <= target,
                                f"{100 * p:g}th percentile {value:.9g} s is over the target {target:g} s")
    if early is not None:
        found["early_stopping"] = (
            early.valid, f"{n} queries, early stopping needs at least {early.n_min}"
            + ("" if target is None else f" with {early.overlatency} over the target"))
    return ({name: good for name, (good, _) in found.items()},
            tuple(reason for good, reason in found.values() if not good))


def _run(name, ts, scheduler, options, **parameters):
    if "record" in options:
        raise TypeError("record: scenarios need the requests; expected no such argument")
    return evaluate(sim.simulate(workload(name, ts, **parameters), scheduler, **options))


def single_stream(ts, scheduler="fcfs", *, percentile=0.9, min_duration_s=MIN_DURATION_S, min_queries=None, mix=None,
                  rng=None, performance_samples=None, deadline_s=math.inf, **options):
    """MLPerf SingleStream: one sample at a time, the next when it is answered.

    Parameters
    ----------
    ts : TraceSet
    scheduler : str, Scheduler or object
        As for :func:`dnnsched.simulate`; with one request in the system it decides nothing.
    percentile : float
        Of the result, in (0, 1).
    min_duration_s, min_queries : float, int
        Both must be reached; `min_queries` defaults to what early stopping needs with one query discarded (64 at the
        90th percentile).
    mix : mapping from key to weight, optional
        Keys of `ts` that samples are drawn from; default: all equally often.
    rng : int, SeedSequence, Generator or None
        Source of the four seeds.
    performance_samples : int, optional
        Size of the sample set per trace, drawn without replacement; default: all samples. Samples are then drawn
        from the set independently.
    deadline_s : float
        Deadline of a request after its release, for schedulers that look at it; no part of the verdict.
    **options
        Further arguments of :func:`dnnsched.simulate` (semantics, switch_cost_s, timeline).

    Returns
    -------
    ScenarioResult
        `result` is the percentile of latency in seconds.

    Examples
    --------
    >>> import dnnsched as ds
    >>> ts = ds.traces.load("multi-attnn")
    >>> found = ds.scenarios.single_stream(ts, min_duration_s=10, rng=1)
    >>> found.valid, found.result == found.latency_s[0.9]
    (True, True)
    """
    return _run("single_stream", ts, scheduler, options, percentile=percentile, min_duration_s=min_duration_s,
                min_queries=min_queries, mix=mix, rng=rng, performance_samples=performance_samples,
                deadline_s=deadline_s)


def multi_stream(ts, scheduler="fcfs", *, samples_per_query=8, percentile=0.99, min_duration_s=MIN_DURATION_S,
                 min_queries=None, mix=None, rng=None, performance_samples=None, deadline_s=math.inf, **options):
    """MLPerf MultiStream: queries of several samples, the next when all samples are answered.

    Parameters
    ----------
    samples_per_query : int
        1 to 1024.
    ts, scheduler, percentile, min_duration_s, min_queries, mix, rng, performance_samples, deadline_s, **options
        As for :func:`single_stream`; `min_queries` defaults to 662 at the 99th percentile.

    Returns
    -------
    ScenarioResult
        `result` is the percentile of query latency, the largest of its samples, in seconds.
    """
    return _run("multi_stream", ts, scheduler, options, samples_per_query=samples_per_query, percentile=percentile,
                min_duration_s=min_duration_s, min_queries=min_queries, mix=mix, rng=rng,
                performance_samples=performance_samples, deadline_s=deadline_s)


def server(ts, scheduler="dysta", target_qps=None, latency_s=None, *, percentile=0.99, min_duration_s=MIN_DURATION_S,
           min_queries=None, mix=None, rng=None, performance_samples=None, **options):
    """MLPerf Server: Poisson arrivals at a target rate, a bound on a percentile of latency.

    Parameters
    ----------
    target_qps : float
        Mean arrivals per second, > 0. The first query is scheduled at time 0.
    latency_s : float or str
        Target in seconds, > 0, or the name of a benchmark in :data:`SERVER_TARGETS`. Also every request's deadline.
    ts, scheduler, percentile, min_duration_s, min_queries, mix, rng, performance_samples, **options
        As for :func:`single_stream`; queries are scheduled until both minima are reached.

    Returns
    -------
    ScenarioResult
        `result` is the completed rate, queries per second. The highest `target_qps` that is still valid:
        :func:`dnnsched.find_peak_rate` with a :class:`dnnsched.peak.LatencyTarget`.

    Examples
    --------
    >>> import dnnsched as ds
    >>> ts = ds.traces.load("multi-attnn")
    >>> found = ds.scenarios.server(ts, "dysta", target_qps=10, latency_s=1.0, min_duration_s=60, rng=1)
    >>> found.valid
    True
    """
    return _run("server", ts, scheduler, options, target_qps=target_qps, latency_s=latency_s, percentile=percentile,
                min_duration_s=min_duration_s, min_queries=min_queries, mix=mix, rng=rng,
                performance_samples=performance_samples)


def offline(ts, scheduler="fcfs", *, min_duration_s=MIN_DURATION_S, min_samples=_OFFLINE_SAMPLES, mix=None, rng=None,
            performance_samples=None, deadline_s=math.inf, **options):
    """MLPerf Offline: one query with all samples at time 0.

    Parameters
    ----------
    min_samples : int
        The query holds as many samples, or more if `min_duration_s` seconds of work need them.
    ts, scheduler, min_duration_s, mix, rng, performance_samples, deadline_s, **options
        As for :func:`single_stream`. Schedulers that scan their queue take time proportional to the square of the
        number of samples here.

    Returns
    -------
    ScenarioResult
        `result` is samples per second.
    """
    return _run("offline", ts, scheduler, options, min_duration_s=min_duration_s, min_samples=min_samples, mix=mix,
                rng=rng, performance_samples=performance_samples, deadline_s=deadline_s)
