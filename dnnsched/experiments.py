"""Experiments that state their uncertainty: replications, comparisons on the same requests, peak rates.

:func:`replicate` calls a function once per seed and gives Student-t intervals of every metric. Two of them that used
the same seeds, and therefore the same requests, are compared pair by pair by :func:`compare` (common random numbers):
what a lucky stream of requests gives to one scheduler it gives to the other too, and the difference keeps only what
the schedulers do. :func:`find_peak_rate` searches the highest arrival rate that meets a service-level objective.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from dnnsched import _executors, frames, statistics
from dnnsched._arrays import check_int
from dnnsched.frames import Frame
from dnnsched.report import document, progress, provenance
from dnnsched.report.results import Point, Results, origin_of, reported
from dnnsched.report.tables import Table, number, with_interval

_SHOWN = ("antt", "violation_rate", "throughput_rps", "latency_mean_s", "latency_p99_s", "utilization", "offered_load")
"""Metrics of the short tables, where there are any of them; the other tables and ``summary.csv`` hold all."""

__all__ = ["Comparison", "MetricComparison", "Replications", "compare", "replicate"]

_SATURATED = "saturated"
_ROW = ("model", "sample", "priority", "arrival_s", "deadline_s", "isolated_s")


@dataclass(frozen=True)
class _Outcome:
    """What one call of a caller's function leaves: small enough to send between processes."""

    metrics: dict
    notes: tuple = ()
    digest: str = ""
    config: dict = field(default_factory=dict)
    origin: str = "modelled"


def _digest(result):
    """SHA-256 of the requests that were run; of how they were built where there are no rows, or a closed loop, whose
    arrivals follow from the scheduler."""
    rows = getattr(result, "requests", None)
    sha = hashlib.sha256()
    if rows is None or result.closed:
        sha.update(provenance.canonical_json(result.workload_meta).encode())
    else:
        for name in _ROW:
            sha.update(np.ascontiguousarray(rows[name]).tobytes())
    return sha.hexdigest()


def outcome(value, name="fn"):
    """Metrics (and what a report needs beside them) of a Result, a ScenarioResult, a mapping or a number.

    A scenario adds its result (``result_s`` or ``result_rps``) and ``invalid`` (0 or 1) to the metrics of its run.

    Raises
    ------
    TypeError
        If the value, or one of its metrics, is something else.
    """
    if hasattr(value, "scenario") and hasattr(value, "run"):
        found = outcome(value.run, name)
        result = "result_s" if value.unit == "s" else "result_rps"
        return replace(found, metrics={result: float(value.result), "invalid": float(not value.valid), **found.metrics})
    if hasattr(value, "metrics") and hasattr(value, "workload_meta"):
        metrics = {k: float(v) for k, v in value.metrics.items()}
        return _Outcome(metrics, tuple(value.notes), _digest(value), dict(value.config), origin_of(value.traces))
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(item, (int, float, np.integer, np.floating, np.bool_)):
                raise TypeError(f"{name}: metric {key!r}: expected a number, got {type(item).__name__}")
        return _Outcome({str(k): float(v) for k, v in value.items()})
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        return _Outcome({"value": float(value)})
    raise TypeError(f"{name}: expected it to return a Result, a dict of metrics or a number, got "
                    f"{type(value).__name__}")


class _Call:
    """Calls the caller's function in a worker and keeps what is needed of its value."""

    def __init__(self, fn):
        self.fn = fn

    def __call__(self, seed):
        return outcome(self.fn(seed))


class Replications:
    """Values of every metric, one per replication.

    Attributes
    ----------
    metrics : dict of str to ndarray of float64, shape (n,)
        Read-only, in the order of `seeds`; units as in ``Result.metrics``.
    seeds : tuple of int
    level : float
        Confidence level of :meth:`interval`.
    label : str
        What was run: the scheduler's name, or the function's.
    digests : tuple of str
        SHA-256 of each replication's requests; empty texts if the function returned plain numbers.
    notes : list of str
        Remarks of the runs, saturated replications among them.
    config : dict
        Parameters in force (of the first replication), its warm-up cut among them.
    """

    def __init__(self, outcomes, seeds, *, level=statistics.LEVEL, label="", recorder=None):
        first = outcomes[0]
        for r, one in enumerate(outcomes):
            if one.metrics.keys() != first.metrics.keys():
                differing = ", ".join(sorted(one.metrics.keys() ^ first.metrics.keys()))
                raise ValueError(f"fn: expected the metrics of replication 0 in replication {r} too; only one of them "
                                 f"has {differing}")
        self.metrics = {name: np.array([one.metrics[name] for one in outcomes]) for name in first.metrics}
        for values in self.metrics.values():
            values.flags.writeable = False
        self.seeds, self.level, self.label = tuple(seeds), level, label
        self.digests = tuple(one.digest for one in outcomes)
        self.config, self.origin = first.config, first.origin
        self.notes = list(dict.fromkeys(note for one in outcomes for note in one.notes))
        if self.saturated:
            self.notes.append(f"{self.saturated} of {self.n} replications are saturated (offered load >= 1): their "
                              "means depend on the number of requests")
        self._recorder = recorder

    @property
    def n(self):
        """Number of replications."""
        return len(self.seeds)

    @property
    def saturated(self):
        """Number of replications whose offered load reached the capacity."""
        return int(np.count_nonzero(self.metrics.get(_SATURATED, np.zeros(0))))

    def values(self, metric):
        """One metric, float64[n]; ValueError naming the metrics there are."""
        if metric not in self.metrics:
            raise ValueError(f"metric: expected one of {', '.join(self.metrics)}, got {metric!r}")
        return self.metrics[metric]

    def interval(self, metric, level=None):
        """Student-t interval of a metric's mean.

        Parameters
        ----------
        metric : str
        level : float, optional
            Default `self.level`.

        Returns
        -------
        dnnsched.statistics.Interval
        """
        values = self.values(metric)
        if not np.isfinite(values).all():
            at = int(np.argmin(np.isfinite(values)))
            raise ValueError(f"metric {metric!r}: expected finite values, got {values[at]} in replication {at}")
        return statistics.mean_interval(values, self.level if level is None else level)

    def to_pandas(self):
        """One row per replication: its seed and every metric (``viz`` extra)."""
        pd = frames.pandas()
        return pd.DataFrame({"seed": np.array(self.seeds, dtype=np.int64), **self.metrics})

    def __arrow_c_stream__(self, requested_schema=None):
        """Arrow PyCapsule interface of the rows of :meth:`to_pandas`."""
        columns = {"seed": np.array(self.seeds, dtype=np.int64), **self.metrics}
        return Frame.of("replications", columns).__arrow_c_stream__(requested_schema)

    def finite(self):
        """Names of the metrics that have a finite value in every replication, the known ones first."""
        names = [m for m, v in self.metrics.items() if np.isfinite(v).all() and m != _SATURATED]
        return [m for m in _SHOWN if m in names] + [m for m in names if m not in _SHOWN]

    def shown(self):
        """Those that short tables show: the well-known ones, or all if there is none of them."""
        return shown_metrics(self.finite())

    def report(self):
        """The replications as a report that can be printed, saved as a run directory, and compared later.

        Returns
        -------
        dnnsched.report.Report
        """
        results = Results()
        add_series(results, self, self.point("replicate"))
        return document.Report(
            paper="replicate", title=f"Replications of {self.label}", citation="", profile=f"n{self.n}",
            config=self.record(), claims=[], results=results, notes=self.remarks(),
            tables={"metrics": self._table(self.shown()), "all": self._table(self.finite(), brief=False)},
            recorder=self._recorder or provenance.Recorder(self.record(), seeds=self.seeds))

    def record(self):
        """What was run, as JSON types: seeds, digests of the requests, parameters, warm-up."""
        return {"label": self.label, "seeds": list(self.seeds), "requests_sha256": list(self.digests),
                "level": self.level, "run": self.config}

    def point(self, item):
        """Where the series of these replications stand in a report."""
        return Point(item, scheduler=self.label, semantics=self.config.get("semantics", ""))

    def remarks(self):
        """What belongs beside the numbers in a report: size, warm-up cut, saturation, metrics left out, `notes`."""
        missing = [m for m in self.metrics if m not in self.finite() and m != _SATURATED]
        made = []
        if self.config and "n" in self.metrics:
            counted = sorted({int(n) for n in (self.metrics["n"].min(), self.metrics["n"].max())})
            made.append(f"{self.n} replications of {' to '.join(map(str, counted))} counted requests; the first "
                        f"{self.config.get('warmup', 0)} of each are left out (warm-up)")
        return [*made, *self.notes,
                *([f"no finite value in some replication: {', '.join(missing)}"] if missing else [])]

    def _table(self, names, brief=True):
        rows = []
        for metric in names:
            values, unit = reported(metric, self.metrics[metric])
            interval = statistics.mean_interval(values, self.level)
            rows.append([metric, unit, with_interval(interval), number(float(values.min())),
                         number(float(values.max()))])
        heads = ["metric", "unit", "mean", "smallest", "largest"]
        return Table("metrics" if brief else "all", f"{self.label}: {self.n} replications"
                     f"{'' if brief else ', all metrics'}", heads, rows,
                     f"Mean with its {100 * self.level:g} % Student-t interval over replications.", brief)

    def __repr__(self):
        shown = [f"{m} {with_interval(statistics.mean_interval(self.metrics[m], self.level))}"
                 for m in self.finite()[:3]]
        return f"<Replications {self.label}: n = {self.n}; {'; '.join(shown)}>"


def shown_metrics(names):
    """The well-known ones among some metrics, or all if there is none of them."""
    return [m for m in names if m in _SHOWN] or names


def add_series(results, replications, point):
    """Add every finite metric of some replications to the results of a report."""
    for metric in replications.finite():
        values, unit = reported(metric, replications.metrics[metric])
        results.add(point, metric, values, origin=replications.origin, unit=unit,
                    method="Student-t over replications, one seed each")


def _label(fn, outcomes):
    config = outcomes[0].config
    if "scheduler" in config:
        own = "".join(f" {k}={v}" for k, v in sorted(config.get("parameters", {}).items()) if _plain(v))
        return f"{config['scheduler']}{own}" if own and len(own) <= 40 else config["scheduler"]
    return getattr(fn, "__name__", type(fn).__name__)


def _plain(value):
    return isinstance(value, (int, float, str))


def replicate(fn, n=30, rng=7, executor=None, level=statistics.LEVEL, *, jobs=None, label=None, quiet=True):
    """Run an experiment n times, each with its own seed.

    Parameters
    ----------
    fn : callable
        ``fn(seed)`` with an int seed; returns a Result, a ScenarioResult, a dict of metrics or a number. The seed
        must decide all randomness. With processes it must be importable (a function of a module).
    n : int
        Replications, at least 1; an interval needs 2.
    rng : int, SeedSequence, Generator or None
        Where the seeds come from (:func:`dnnsched.statistics.seeds`). The same `rng` gives the same seeds, so two
        calls can be compared pair by pair.
    executor : None, str or object
        ``"threads"`` (None; simulations release the interpreter lock), ``"serial"``, ``"processes"``, ``"joblib"``,
        ``"dask"``, ``"ray"``, ``"mpi"`` or an object with ``submit``. Results do not depend on it.
    level : float
        Confidence level.
    jobs : int, optional
        Workers.
    label : str, optional
        Name in tables; default: the scheduler's.
    quiet : bool
        Show no progress bar.

    Returns
    -------
    Replications

    Examples
    --------
    >>> import dnnsched as ds
    >>> ts = ds.traces.load("multi-attnn")
    >>> def run(seed, scheduler="dysta"):
    ...     wl = ds.workloads.poisson(ts, rho=0.9, n=300, rng=seed)
    ...     return ds.simulate(wl, scheduler)
    >>> ds.replicate(run, n=5).n
    5
    """
    if not callable(fn):
        raise TypeError(f"fn: expected a callable that takes a seed, got {type(fn).__name__}")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level: expected a value in (0, 1), got {level!r}")
    seeds = statistics.seeds(rng, check_int(n, "n", 1))
    recorder = provenance.Recorder({}, seeds=seeds)
    bar = progress.bar(n, "replicate", quiet)
    try:
        outcomes = _executors.execute(_Call(fn), seeds, executor=executor, jobs=jobs,
                                      done=lambda indices, _: bar.update(len(indices)))
    finally:
        bar.close()
    made = Replications(outcomes, seeds, level=level, label=label or _label(fn, outcomes), recorder=recorder)
    recorder.config = made.record()
    return made


@dataclass(frozen=True)
class MetricComparison:
    """One metric of two experiments.

    Attributes
    ----------
    metric, unit : str
        The unit of all values as tables print them (``violation_rate`` in percent).
    a, b : Interval
        The two means.
    difference : Interval
        Of mean(a) - mean(b).
    ratio : Interval
        Of mean(a) / mean(b), by Fieller's theorem.
    speedup : Interval or None
        Geometric mean of b / a over paired replications; None if unpaired, or if a value is not positive.
    """

    metric: str
    unit: str
    a: statistics.Interval
    b: statistics.Interval
    difference: statistics.Interval
    ratio: statistics.Interval
    speedup: statistics.Interval | None

    @property
    def covers_zero(self):
        """Whether the interval of the difference covers 0, or there is none: no difference is shown then."""
        return math.isnan(self.difference.low) or self.difference.covers(0.0)

    @property
    def finding(self):
        """The comparison in words."""
        d = self.difference
        if math.isnan(d.low):
            return "one replication: no interval"
        if d.low == d.high == 0.0:
            return "equal in every replication"
        if self.covers_zero:
            return "interval covers 0"
        return "a lower" if d.high < 0 else "a higher"


def compare_values(metric, a, b, *, paired, level, unit=None):
    """:class:`MetricComparison` of two vectors of replications, as tables print them."""
    if unit is None:
        (a, unit), (b, _) = reported(metric, a), reported(metric, b)
    difference = statistics.paired_difference if paired else statistics.difference_of_means
    speedup = None
    if paired and (np.asarray(a) > 0).all() and (np.asarray(b) > 0).all():
        speedup = statistics.geometric_mean(np.asarray(b) / np.asarray(a), level)
    ratio = statistics.ratio_of_means(a, b, level, paired=paired)
    if paired and np.array_equal(a, b) and ratio.value == 1.0:
        ratio = statistics.Interval(1.0, 1.0, 1.0, level, ratio.n)
    return MetricComparison(metric, unit, statistics.mean_interval(a, level), statistics.mean_interval(b, level),
                            difference(a, b, level), ratio, speedup)


def comparison_table(rows, name, title, note, brief=True):
    """Table of several :class:`MetricComparison`."""
    return Table(name, title, ["metric", "unit", "a", "b", "a - b", "finding", "a / b"],
                 [[r.metric, r.unit, with_interval(r.a), with_interval(r.b), with_interval(r.difference), r.finding,
                   with_interval(r.ratio)] for r in rows], note, brief)


def comparison_note(paired, level, n_numbers):
    """What a reader of a comparison must know."""
    how = ("Differences pair by pair on the same requests (common random numbers), Student-t; ratio of means by "
           "Fieller's theorem." if paired else
           "Independent replications: difference by Welch's method; ratio of means by Fieller's theorem.")
    many = (f" Each interval holds by itself: of {n_numbers} numbers without any difference, "
            f"{n_numbers * (1 - level):.1f} would be expected to show one." if n_numbers > 1 else "")
    return (f"{100 * level:g} % intervals; one that covers 0 shows no difference, which does not prove equality. "
            f"{how}{many}")


class Comparison:
    """Two experiments side by side; :func:`compare` makes it.

    Attributes
    ----------
    metric : str
        The metric that `difference` and `ratio` are about.
    rows : dict of str to MetricComparison
        Every metric that both have.
    labels : tuple of str
        Names of a and b.
    paired : bool
    level : float
    n : tuple of int
        Replications of a and of b.
    notes : list of str
    """

    def __init__(self, a, b, metric, paired, level):
        names = [m for m in a.finite() if m in b.finite()]
        if metric not in names:
            both = ", ".join(names)
            raise ValueError(f"metric: expected one that is finite in every replication of both ({both}), got "
                             f"{metric!r}")
        self.metric, self.paired, self.level, self.n = metric, paired, level, (a.n, b.n)
        self.labels = (a.label, b.label)
        self.rows = {m: compare_values(m, a.metrics[m], b.metrics[m], paired=paired, level=level) for m in names}
        self.notes = [f"a = {a.label}, b = {b.label}",
                      *dict.fromkeys([*(f"a: {note}" for note in a.remarks()),
                                      *(f"b: {note}" for note in b.remarks())])]
        self._sources = a, b

    @property
    def difference(self):
        """Interval of mean(a) - mean(b) of `metric`."""
        return self.rows[self.metric].difference

    @property
    def ratio(self):
        """Interval of mean(a) / mean(b) of `metric`."""
        return self.rows[self.metric].ratio

    @property
    def covers_zero(self):
        """Whether no difference of `metric` is shown."""
        return self.rows[self.metric].covers_zero

    def table(self, full=False):
        """The well-known metrics, or all, `metric` first."""
        shown = [m for m in self.rows if m != self.metric and (full or m in self._sources[0].shown())]
        rows = [self.rows[m] for m in (self.metric, *shown)]
        a, b = self.labels
        return comparison_table(rows, "all" if full else "comparison",
                                f"a = {a} ({self.n[0]} replications), b = {b} ({self.n[1]})"
                                f"{', all metrics' if full else ''}",
                                comparison_note(self.paired, self.level, len(rows)), brief=not full)

    def text(self):
        """The main metric in a sentence, then the table."""
        row = self.rows[self.metric]
        return (f"{self.metric}: {self.labels[0]} - {self.labels[1]} = {with_interval(row.difference)}, ratio "
                f"{with_interval(row.ratio)}: {row.finding}\n\n{self.table().text()}\n")

    def report(self):
        """The comparison as a report that can be printed and saved as a run directory.

        Returns
        -------
        dnnsched.report.Report
        """
        a, b = self._sources
        results = Results()
        for side, source in (("a: ", a), ("b: ", b)):
            add_series(results, source, source.point("compare").with_(scheduler=side + source.label))
        if self.paired:
            point = Point("compare", scheduler="a - b")
            for metric, row in self.rows.items():
                values, _ = reported(metric, a.metrics[metric] - b.metrics[metric])
                results.add(point, metric, values, origin=a.origin, unit=row.unit,
                            method="Student-t over paired replications")
        config = {"metric": self.metric, "paired": self.paired, "level": self.level, "a": a.record(), "b": b.record()}
        return document.Report(
            paper="compare", title=f"{a.label} against {b.label}", citation="", profile="paired" if self.paired else
            "unpaired", config=config, tables={"comparison": self.table(), "all": self.table(full=True)}, claims=[],
            results=results, notes=self.notes, recorder=provenance.Recorder(config, seeds=a.seeds))

    def __repr__(self):
        row = self.rows[self.metric]
        return (f"<Comparison of {self.metric}: {self.labels[0]} - {self.labels[1]} = {with_interval(row.difference)}, "
                f"{row.finding}>")


def compare(a, b, metric="antt", paired=True, *, level=None):
    """Compare two experiments.

    Parameters
    ----------
    a, b : Replications
        From :func:`replicate`, with the same `rng` and `n` if they are to be paired.
    metric : str
        The metric in question; the comparison holds a table of all others too.
    paired : bool
        Differences pair by pair, on the same requests. False: two unrelated samples (Welch).
    level : float, optional
        Confidence level; default that of `a`.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        If the pairs did not share seeds and requests: their differences would mix the schedulers' difference with
        that of the requests.
    """
    for name, value in (("a", a), ("b", b)):
        if not isinstance(value, Replications):
            raise TypeError(f"{name}: expected Replications (from replicate), got {type(value).__name__}")
    if paired:
        if a.n != b.n:
            raise ValueError(f"b: expected {a.n} replications as in a, got {b.n}; use paired=False for unrelated "
                             "samples")
        for what, left, right in (("seed", a.seeds, b.seeds), ("requests", a.digests, b.digests)):
            differing = [r for r in range(a.n) if left[r] != right[r]]
            if differing:
                raise ValueError(f"b: expected the same {what} as a in every replication, {len(differing)} of {a.n} "
                                 f"differ (first: replication {differing[0]}); use the same rng and workload, or "
                                 "paired=False for unrelated samples")
    return Comparison(a, b, metric, paired, a.level if level is None else level)
