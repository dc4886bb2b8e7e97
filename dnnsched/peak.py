"""The highest arrival rate that a system sustains under a service-level objective.

Each replication searches on its own: the rate doubles until the objective is missed, then the bracket is bisected to
the precision asked for (as MLPerf's peak-rate runs are found by hand). All probes of a replication use one seed, so
that they see the same requests, only closer together (common random numbers); the replications' rates then give a
Student-t interval. A probe whose offered load reaches the capacity fails whatever its latencies, since those only tell
how long the run was.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dnnsched import _executors, frames, sim, statistics
from dnnsched._arrays import check_int, check_number
from dnnsched.experiments import Replications, outcome
from dnnsched.report import document, progress, provenance
from dnnsched.report.results import Point, Results, reported
from dnnsched.report.tables import Table, number, with_interval

METRIC = "peak_rate_rps"
_FRACTIONS = {"latency_p50_s": 0.5, "latency_p90_s": 0.9, "latency_p99_s": 0.99}


@dataclass(frozen=True)
class LatencyTarget:
    """Objective of MLPerf's server scenario: a percentile of latency, accepted by early stopping.

    Attributes
    ----------
    latency_s : float
        Target in seconds, from the scheduled arrival; a request strictly above it is over, as is one without an
        answer.
    percentile, confidence : float
        In (0, 1).
    """

    latency_s: float
    percentile: float = 0.99
    confidence: float = 0.99


@dataclass(frozen=True)
class Probe:
    """One rate tried in one replication.

    Attributes
    ----------
    replication : int
    seed : int
    rate_rps : float
    met : bool
    values : dict of str to float
        What the objective is about.
    saturated : bool
        Offered load at or above the capacity: counts as missed.
    reason : str
        Why it was missed; empty if met.
    """

    replication: int
    seed: int
    rate_rps: float
    met: bool
    values: dict
    saturated: bool
    reason: str


@dataclass(frozen=True)
class Violation:
    """A value that falls, or an objective that is met again, although the rate rises.

    Attributes
    ----------
    replication : int
    metric : str
        ``"met"`` for the objective as a whole.
    low_rps, high_rps : float
        Neighbouring rates.
    at_low, at_high : float
    """

    replication: int
    metric: str
    low_rps: float
    high_rps: float
    at_low: float
    at_high: float


class _Judge:
    """Runs a rate and judges it."""

    def __init__(self, make_workload, slo, scheduler, warmup, options):
        self.make_workload, self.slo, self.scheduler = make_workload, slo, scheduler
        self.warmup, self.options = warmup, options

    def __call__(self, task):
        """(judgement, outcome) of one (rate, seed); the judgement is (met, values, saturated, reason)."""
        rate, seed = task
        made = self.make_workload(rate, seed)
        if hasattr(made, "traces") and not hasattr(made, "metrics"):
            stream = not hasattr(made, "arrival")
            made = sim.simulate(made, self.scheduler, warmup=int(self.warmup * made.n),
                                **({"record": "none"} if stream else {}), **self.options)
        found = outcome(made, "make_workload")
        saturated = bool(found.metrics.get("saturated", 0.0))
        values, reason = self._target(made) if isinstance(self.slo, LatencyTarget) else self._limits(found, rate)
        if saturated:
            load = found.metrics.get("offered_load", math.nan)
            reason = f"saturated (offered load {load:.3g})"
        return (not reason, values, saturated, reason), found

    def _limits(self, found, rate):
        values, reasons = {}, []
        for metric, limit in self.slo.items():
            if metric not in found.metrics:
                raise ValueError(f"slo: expected metrics among {', '.join(found.metrics)}, got {metric!r}")
            values[metric] = found.metrics[metric]
            if math.isnan(values[metric]):
                raise ValueError(f"slo: {metric} is not a number at {rate:g} requests per second")
            if values[metric] > limit:
                reasons.append(f"{metric} {number(values[metric])} > {limit:g}")
        return values, ", ".join(reasons)

    def _target(self, result):
        rows = getattr(result, "requests", None)
        if rows is None:
            raise ValueError("slo: a LatencyTarget needs a result with one row per request, got "
                             f"{type(result).__name__}")
        rows = rows[result.config["warmup"]:]
        over = rows["finish_s"] - rows["arrival_s"] > self.slo.latency_s
        over |= rows["status"] != 0
        verdict = statistics.early_stopping(len(rows), int(np.count_nonzero(over)), self.slo.percentile,
                                            self.slo.confidence)
        if verdict.allowed < 0:
            raise ValueError(f"slo: {verdict}")
        return {"overlatency": float(verdict.overlatency)}, "" if verdict else str(verdict)


def _search(precision, start, max_rate, scan):
    """One replication's search: yields a rate, is sent whether it met the objective; returns (peak, open-ended)."""
    low, high = (start, math.inf) if (yield start) else (0.0, start)
    while high == math.inf and low < max_rate:
        rate = min(2.0 * low, max_rate)
        if (yield rate):
            low = rate
        else:
            high = rate
    while high < math.inf and high - low > precision:
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        if (yield middle):
            low = middle
        else:
            high = middle
    if low > 0.0:
        for k in range(1, scan + 1):
            yield low * (1.0 + k / scan)
    return low, high == math.inf


@dataclass
class _Found:
    """A replication's search under way, and what it found."""

    steps: object
    rate: float | None
    probes: dict
    peak: float = math.nan
    open_ended: bool = False
    outcome: object = None

    def take(self, probe, last):
        """Note a probe and move on to the next rate that has not been tried; `rate` is None at the end."""
        self.probes[probe.rate_rps], self.outcome = probe, last
        try:
            while self.rate in self.probes:
                self.rate = self.steps.send(self.probes[self.rate].met)
        except StopIteration as end:
            self.rate, (self.peak, self.open_ended) = None, end.value


def _search_all(engine, judge, seeds, begin, done):
    """All replications in step: each round gives one probe of every unfinished search to the executor."""
    found = []
    for _ in seeds:
        steps = begin()
        found.append(_Found(steps, next(steps), {}))
    while waiting := [r for r, one in enumerate(found) if one.rate is not None]:
        tasks = [(found[r].rate, seeds[r]) for r in waiting]
        for r, (rate, seed), (judgement, last) in zip(waiting, tasks, engine.run(judge, tasks, chunk=1), strict=True):
            found[r].take(Probe(r, seed, rate, *judgement), last)
            if found[r].rate is None:
                done()
    return found


def _violations(probes):
    """Falling values and objectives met again, between neighbouring rates of one replication."""
    found = []
    for low, high in itertools.pairwise(probes):
        if high.met and not low.met:
            found.append(Violation(low.replication, "met", low.rate_rps, high.rate_rps, 0.0, 1.0))
        found += [Violation(low.replication, m, low.rate_rps, high.rate_rps, low.values[m], high.values[m])
                  for m in low.values if high.values[m] < low.values[m]]
    return found


class PeakRate:
    """What :func:`find_peak_rate` found.

    Attributes
    ----------
    rate : float
        Mean over the replications of the highest rate that met the objective, requests per second. Each lies at most
        `precision` below the rate where that replication begins to miss it.
    interval : Interval
        Student-t over the replications; no limits for one.
    replications : Replications
        Metric ``"peak_rate_rps"``.
    probes : list of Probe
        Every rate tried, by replication and rate.
    violations : list of Violation
        Where more load gave a better value. The search assumes that it does not: with many of them, or one of the
        objective itself, look at the probes.
    slo : dict or LatencyTarget
    precision : float
    notes : list of str
    """

    def __init__(self, found, seeds, *, slo, precision, level, label, config, recorder):
        self.slo, self.precision, self._config, self._recorder = slo, precision, config, recorder
        outcomes = [outcome({METRIC: one.peak}) for one in found]
        self.replications = Replications(outcomes, seeds, level=level, label=label)
        self.interval = self.replications.interval(METRIC)
        self.rate = self.interval.value
        ordered = [sorted(one.probes.values(), key=lambda p: p.rate_rps) for one in found]
        self.probes = [p for probes in ordered for p in probes]
        self.violations = [v for probes in ordered for v in _violations(probes)]
        self.notes = self._notes(found)

    def _notes(self, found):
        notes = []
        n = len(found)
        open_ended, none = sum(one.open_ended for one in found), sum(one.peak == 0.0 for one in found)
        if open_ended:
            notes.append(f"{open_ended} of {n} replications still meet the objective at the highest rate allowed "
                         f"({self._config['max_rate_rps']:g} per second): the result is a lower bound")
        if none:
            notes.append(f"{none} of {n} replications miss the objective at every rate tried, down to "
                         f"{min(p.rate_rps for p in self.probes):g} per second: their rate is 0")
        saturated = sum(p.saturated for p in self.probes)
        if saturated:
            notes.append(f"{saturated} of {len(self.probes)} probes were saturated and count as missed")
        hard = [v for v in self.violations if v.metric == "met"]
        if hard:
            notes.append(f"not monotone: the objective is missed at {hard[0].low_rps:g} and met again at "
                         f"{hard[0].high_rps:g} per second (replication {hard[0].replication}); {len(hard)} such cases")
        soft = len(self.violations) - len(hard)
        if soft:
            notes.append(f"{soft} of {sum(len(p.values) for p in self.probes)} values are lower than at the next lower "
                         "rate of the same replication")
        counted = min((int(one.outcome.metrics["n"]) for one in found if "n" in one.outcome.metrics), default=0)
        for metric in self.slo if isinstance(self.slo, dict) else ():
            p = _FRACTIONS.get(metric)
            if p and 0 < counted < statistics.early_stopping_min(0, p):
                notes.append(f"{metric} from {counted} requests per probe: insufficient samples for a claim with 99 % "
                             f"confidence ({statistics.early_stopping_min(0, p)} with none over the limit, "
                             f"{statistics.early_stopping_min(1, p)} with one)")
        if n == 1:
            notes.append("one replication: no interval")
        return notes

    def table(self, full=False):
        """The result; in full, every probe."""
        if not full:
            return Table("peak", "Peak sustainable rate", ["objective", "peak rate (1/s)", "precision", "replications",
                                                           "probes"],
                         [[self.objective, with_interval(self.interval, 4), f"{self.precision:g}",
                           str(self.replications.n), str(len(self.probes))]],
                         f"{100 * self.interval.level:g} % Student-t interval over replications; all probes of a "
                         "replication see the same requests.")
        names = list(self.probes[0].values)
        rows = [[str(p.replication), f"{p.rate_rps:g}", "yes" if p.met else "no",
                 *(number(p.values[m], 4) for m in names), p.reason] for p in self.probes]
        return Table("probes", "Probes", ["replication", "rate (1/s)", "met", *names, "why not"], rows, brief=False)

    @property
    def objective(self):
        """The objective in words."""
        if isinstance(self.slo, LatencyTarget):
            t = self.slo
            return f"P{100 * t.percentile:g} <= {t.latency_s:g} s by early stopping, confidence {t.confidence:g}"
        return ", ".join(f"{metric} <= {limit:g}" for metric, limit in self.slo.items())

    def to_pandas(self):
        """The probes as a pandas DataFrame (``viz`` extra)."""
        pd = frames.pandas()
        return pd.DataFrame([{"replication": p.replication, "seed": p.seed, "rate_rps": p.rate_rps, "met": p.met,
                              "saturated": p.saturated, **p.values, "reason": p.reason} for p in self.probes])

    def report(self):
        """The search as a report that can be printed and saved as a run directory.

        Returns
        -------
        dnnsched.report.Report
        """
        results = Results()
        values, unit = reported(METRIC, self.replications.metrics[METRIC])
        results.add(Point("peak", scheduler=self.replications.label), METRIC, values, origin=self._config["origin"],
                    unit=unit, method="Student-t over replications, each a search with its own seed")
        return document.Report(
            paper="peak", title=f"Peak rate of {self.replications.label}: {self.objective}", citation="",
            profile=f"n{self.replications.n}", config=self._config, claims=[], results=results, notes=self.notes,
            tables={"peak": self.table(), "probes": self.table(full=True)}, recorder=self._recorder)

    def __repr__(self):
        return (f"<PeakRate {self.replications.label}: {with_interval(self.interval, 4)} requests/s under "
                f"{self.objective}; {len(self.probes)} probes>")


def _check_slo(slo):
    if isinstance(slo, LatencyTarget):
        check_number(slo.latency_s, "slo.latency_s", 0.0, open_low=True)
        statistics.early_stopping_min(0, slo.percentile, slo.confidence)
        return slo
    if not isinstance(slo, Mapping):
        raise TypeError(f"slo: expected a dict of metric and upper limit, or a LatencyTarget, got {type(slo).__name__}")
    if not slo:
        raise ValueError("slo: expected at least one metric with its upper limit, got none")
    return {metric: check_number(limit, f"slo[{metric!r}]") for metric, limit in slo.items()}


def find_peak_rate(make_workload, slo, precision=0.1, *, scheduler="dysta", replications=5, rng=7, start=1.0,
                   max_rate=1e6, warmup=0.1, scan=0, level=statistics.LEVEL, executor=None, jobs=None, label=None,
                   quiet=True, **options):
    """Search the highest arrival rate that meets a service-level objective.

    Parameters
    ----------
    make_workload : callable
        ``make_workload(rate, seed)`` with the rate in requests per second and an int seed; returns a Workload or a
        stream of them, which is then simulated, or what it simulated itself: a Result, a ScenarioResult (whose
        verdict is the metric ``invalid``), or a dict of metrics.
    slo : mapping or LatencyTarget
        Metric -> highest value allowed (``{"latency_p99_s": 0.05}``, ``{"violation_rate": 0.01}``), all of them; or
        MLPerf's verdict on a latency percentile.
    precision : float
        Width of the last bracket, requests per second, > 0.
    scheduler : str, Scheduler or object
        As for :func:`dnnsched.simulate`.
    replications : int
        Searches with independent seeds, >= 1; an interval needs 2.
    rng : int, SeedSequence, Generator or None
        Where the seeds come from.
    start, max_rate : float
        First rate tried and highest rate allowed, 0 < start <= max_rate.
    warmup : float
        Fraction of the requests left out at the beginning, in [0, 1); simulated workloads only.
    scan : int
        Extra probes per replication, evenly spaced up to twice the rate found, to look for violations.
    level : float
        Confidence level.
    executor, jobs, label, quiet
        As for :func:`dnnsched.replicate`; None = processes if `scheduler` decides in Python. The replications advance
        together, one probe each at a time.
    **options
        Further arguments of :func:`dnnsched.simulate` (semantics, clock, switch_cost_s).

    Returns
    -------
    PeakRate
        Rate 0 if the objective is missed at every rate down to `precision`.

    Raises
    ------
    ValueError
        Also if there are too few requests for any verdict of a LatencyTarget.

    Examples
    --------
    >>> import dnnsched as ds
    >>> ts = ds.traces.load("multi-attnn")
    >>> def make(rate, seed):
    ...     return ds.workloads.poisson(ts, rate=rate, n=2000, rng=seed)
    >>> peak = ds.find_peak_rate(make, {"violation_rate": 0.05}, precision=0.5)
    >>> peak.rate > 0
    True
    """
    if not callable(make_workload):
        raise TypeError("make_workload: expected a callable that takes a rate and a seed, got "
                        f"{type(make_workload).__name__}")
    slo = _check_slo(slo)
    precision = check_number(precision, "precision", 0.0, open_low=True)
    max_rate = check_number(max_rate, "max_rate", 0.0, open_low=True)
    start = check_number(start, "start", 0.0, max_rate, open_low=True)
    warmup = check_number(warmup, "warmup", 0.0, 1.0 - 1e-9)
    scan = check_int(scan, "scan", 0)
    seeds = statistics.seeds(rng, check_int(replications, "replications", 1))
    name = scheduler if isinstance(scheduler, str) else getattr(scheduler, "name", type(scheduler).__name__)
    config = {"slo": {"latency_s": slo.latency_s, "percentile": slo.percentile, "confidence": slo.confidence}
              if isinstance(slo, LatencyTarget) else slo, "precision_rps": precision, "start_rps": start,
              "max_rate_rps": max_rate, "warmup_fraction": warmup, "scan": scan, "seeds": seeds, "level": level,
              "label": label or name, "options": {k: v if isinstance(v, (str, int, float)) else repr(v)
                                                  for k, v in options.items()}}
    recorder = provenance.Recorder(config, seeds=seeds)
    judge = _Judge(make_workload, slo, scheduler, warmup, options)
    bar = progress.bar(replications, "peak rate", quiet)
    try:
        with _executors.resolve(executor, jobs, [scheduler]) as engine:
            found = _search_all(engine, judge, seeds, lambda: _search(precision, start, max_rate, scan), bar.update)
    finally:
        bar.close()
    config["origin"], config["run"] = found[0].outcome.origin, found[0].outcome.config
    return PeakRate(found, seeds, slo=slo, precision=precision, level=level, label=label or name, config=config,
                    recorder=recorder)
