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
from dnnsched._arrays import check_int, check_number, seed_sequence
from dnnsched._plan import Plan, renewal_times
from dnnsched._workload import Source, Workload, isolated_s
from dnnsched.results import Result

__all__ = ["CONFIDENCE", "MIN_DURATION_S", "PERCENTILES", "SERVER_TARGETS", "ScenarioResult", "ServerTarget",
           "multi_stream", "offline", "server", "single_stream"]

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
        Parameters in force.
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

    def text(self):
        """The verdict in a few lines."""
        head = {"s": f"{self.result:.6g} s", "1/s": f"{self.result:.6g} per second"}[self.unit]
        what = {"SingleStream": "latency", "MultiStream": "query latency", "Server": "completed queries",
                "Offline": "samples"}[self.scenario]
        if self.unit == "s":
            what = f"{100 * self.percentile:g}th percentile of {what}"
        lines = [f"{self.scenario}: {'VALID' if self.valid else 'INVALID'}; {what} {head}; {self.n} queries, "
                 f"{self.duration_s:.6g} s"]
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

    def workload(self, model, sample, arrival, process, sources=()):
        """Workload of rows that are due `deadline_s` after their arrival or release."""
        rate = process.get("rate")
        load = None if rate is None else rate * self.mean_s()
        meta = {**self.plan.meta(process, rate), "rng": self.record, "slo_base": None, "slo_multiplier": None,
                "offered_load": load,
                "sample_rule": "all" if self.set_size is None else f"{self.set_size} drawn per trace"}
        return Workload(self.traces, arrival, model, sample, arrival + self.deadline_s, meta=meta, sources=sources)


def _percentile(ordered, p):
    """LoadGen's percentile of sorted values."""
    return float(ordered[math.floor(len(ordered) * p)])


def _estimate(ordered, p):
    """Early-stopping estimate of a percentile of sorted values; None if there are too few."""
    t = statistics.early_stopping(len(ordered), 0, p, CONFIDENCE).allowed
    return float(ordered[len(ordered) - t]) if t >= 1 else None


def _settings(**given):
    return MappingProxyType({**given, "confidence": CONFIDENCE})


def _common(percentile, min_duration_s, min_queries):
    """Checked percentile, minimum time and minimum count (default: what early stopping needs at least)."""
    if percentile is not None:
        percentile = check_number(percentile, "percentile", 0.0, 1.0, open_low=True)
        if percentile == 1.0:
            raise ValueError("percentile: expected a value in (0, 1), got 1.0")
    if min_queries is None:
        min_queries = statistics.early_stopping_min(1, percentile, CONFIDENCE)
    return (percentile, check_number(min_duration_s, "min_duration_s", 0.0),
            check_int(min_queries, "min_queries", 1))


def _judge(name, run, settings, *, query, at_s, duration_s, result, unit, percentile, min_duration_s, min_queries,
           target_s=None, early=None):
    """ScenarioResult of query latencies [n] that were scheduled at `at_s` [n]."""
    ordered, n = np.sort(query), len(query)
    last = float(run.requests["finish_s"].max())
    checks = {"min_duration": duration_s >= min_duration_s, "min_queries": n >= min_queries}
    reasons = []
    if not checks["min_duration"]:
        reasons.append(f"lasted {duration_s:.9g} s, at least {min_duration_s:g} s are needed")
    if not checks["min_queries"]:
        reasons.append(f"{n} queries, at least {min_queries} are needed")
    if target_s is not None:
        found = _percentile(ordered, percentile)
        checks["performance"] = found <= target_s
        if not checks["performance"]:
            reasons.append(f"{100 * percentile:g}th percentile {found:.9g} s is over the target {target_s:g} s")
    if early is not None:
        checks["early_stopping"] = early.valid
        if not early.valid:
            reasons.append(f"early stopping: {early}" if target_s is not None else
                           f"{n} queries, early stopping needs at least {early.n_min}")
    wanted = {"SingleStream": (percentile, 0.99), "MultiStream": (percentile,)}.get(name, ())
    estimates = {p: value for p in dict.fromkeys(wanted) if (value := _estimate(ordered, p)) is not None}
    query.flags.writeable = False
    return ScenarioResult(
        name, all(checks.values()), tuple(reasons), result(ordered, last), unit, percentile,
        MappingProxyType({p: _percentile(ordered, p) for p in PERCENTILES}), n, len(run.requests), duration_s,
        MappingProxyType(checks), early, MappingProxyType(estimates),
        None if target_s is None else int(np.count_nonzero(query > target_s)),
        (n - 1) / last if n > 1 else math.nan,
        (n - 1) / float(at_s[-1]) if n > 1 and at_s[-1] > 0 else math.nan, settings, query, run)


def _run(wl, scheduler, options):
    if "record" in options:
        raise TypeError("record: scenarios need the requests; expected no such argument")
    return sim.simulate(wl, scheduler, **options)


def _stream(name, ts, scheduler, per_query, percentile, min_duration_s, min_queries, mix, rng, performance_samples,
            deadline_s, options):
    """Both closed loops: queries of `per_query` samples, the next when all are answered."""
    percentile, min_duration_s, min_queries = _common(percentile, min_duration_s, min_queries)
    load = _Load(ts, rng, mix, performance_samples, check_number(deadline_s, "deadline_s", 0.0, open_low=True,
                                                                 finite=False))
    # one accelerator: the last query is issued once the others have run, whatever the scheduler
    model, sample, isolated = load.rows(min_duration_s, min_queries * per_query)
    work = np.cumsum(isolated)[per_query - 1::per_query]  # of the first 1, 2, ... queries
    queries = max(int(np.searchsorted(work, min_duration_s)) + 2, min_queries) + 1  # one more against rounding
    rows = queries * per_query
    source = Source(0, rows, window=per_query, burst=per_query, until_s=min_duration_s, n_min=min_queries * per_query)
    wl = load.workload(model[:rows], sample[:rows], np.zeros(rows), {"process": name, "samples_per_query": per_query},
                       (source,))
    run = _run(wl, scheduler, options)
    r = run.requests
    at_s = r["arrival_s"][::per_query].copy()
    query = (r["finish_s"] - r["arrival_s"]).reshape(-1, per_query).max(axis=1)
    early = statistics.early_stopping(len(query), 1, percentile, CONFIDENCE)
    settings = _settings(percentile=percentile, min_duration_s=min_duration_s, min_queries=min_queries,
                         samples_per_query=per_query, performance_samples=performance_samples, seed=load.record)
    return _judge(name, run, settings, query=query, at_s=at_s, duration_s=float(at_s[-1]), unit="s",
                  result=lambda ordered, last: _percentile(ordered, percentile), percentile=percentile,
                  min_duration_s=min_duration_s, min_queries=min_queries, early=early)


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
    return _stream("SingleStream", ts, scheduler, 1, percentile, min_duration_s, min_queries, mix, rng,
                   performance_samples, deadline_s, options)


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
    return _stream("MultiStream", ts, scheduler, check_int(samples_per_query, "samples_per_query", 1, 1024), percentile,
                   min_duration_s, min_queries, mix, rng, performance_samples, deadline_s, options)


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
    percentile, min_duration_s, min_queries = _common(percentile, min_duration_s, min_queries)
    if target_qps is None or latency_s is None:
        raise TypeError("server: expected target_qps and latency_s")
    qps = check_number(target_qps, "target_qps", 0.0, open_low=True)
    bound = _latency_target(latency_s)
    load = _Load(ts, rng, mix, performance_samples, bound)
    if min_duration_s * qps > _MOST_ROWS:
        raise ValueError(f"min_duration_s: {min_duration_s:g} s at {qps:g} per second are more than {_MOST_ROWS:,} "
                         "queries")
    times, pieces, arrival = renewal_times(np.random.PCG64(load.seed(2)), qps), [np.zeros(1)], np.zeros(1)
    while arrival[-1] < min_duration_s or sum(map(len, pieces)) < min_queries:
        arrival = times(_PIECE)
        pieces.append(arrival)
    arrival = np.concatenate(pieces)
    arrival = arrival[:max(int(np.searchsorted(arrival, min_duration_s)) + 1, min_queries)]
    n = len(arrival)
    model, sample, _ = load.rows(0.0, n)
    wl = load.workload(model[:n], sample[:n], arrival, {"process": "Server", "rate": qps})
    run = _run(wl, scheduler, options)
    r = run.requests
    query = r["finish_s"] - r["arrival_s"]
    early = statistics.early_stopping(n, int(np.count_nonzero(query > bound)), percentile, CONFIDENCE)
    settings = _settings(target_qps=qps, latency_s=bound, percentile=percentile, min_duration_s=min_duration_s,
                         min_queries=min_queries, performance_samples=performance_samples, seed=load.record)
    return _judge("Server", run, settings, query=query, at_s=arrival, duration_s=float(arrival[-1]), unit="1/s",
                  result=lambda ordered, last: (n - 1) / last, percentile=percentile, min_duration_s=min_duration_s,
                  min_queries=min_queries, target_s=bound, early=early)


def _latency_target(latency_s):
    """Seconds of a number or of a benchmark's name."""
    if not isinstance(latency_s, str):
        return check_number(latency_s, "latency_s", 0.0, open_low=True)
    whole = [name for name, target in SERVER_TARGETS.items() if target.latency_s is not None]
    if latency_s not in whole:
        raise ValueError(f"latency_s: expected seconds or one of {', '.join(whole)} (benchmarks with token latencies "
                         f"have no bound on the whole query), got {latency_s!r}")
    return SERVER_TARGETS[latency_s].latency_s


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
    _, min_duration_s, min_samples = _common(None, min_duration_s, min_samples)
    load = _Load(ts, rng, mix, performance_samples, check_number(deadline_s, "deadline_s", 0.0, open_low=True,
                                                                 finite=False))
    model, sample, isolated = load.rows(min_duration_s, min_samples)
    n = max(int(np.searchsorted(np.cumsum(isolated), min_duration_s)) + 2, min_samples)  # one more against rounding
    wl = load.workload(model[:n], sample[:n], np.zeros(n), {"process": "Offline"})
    run = _run(wl, scheduler, options)
    last = float(run.requests["finish_s"].max())
    settings = _settings(min_duration_s=min_duration_s, min_queries=min_samples,
                         performance_samples=performance_samples, seed=load.record)
    return _judge("Offline", run, settings, query=run.requests["finish_s"].copy(), at_s=np.zeros(n), duration_s=last,
                  unit="1/s", result=lambda ordered, end: n / end, percentile=None, min_duration_s=min_duration_s,
                  min_queries=min_samples)
