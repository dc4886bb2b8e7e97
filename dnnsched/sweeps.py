"""Sweeps: a function over a grid of points, replicated, on any executor, resumable.

::

    def study(seed, rate, scheduler):
        wl = ds.workloads.poisson(ds.traces.load("multi-attnn-calibrated"), rate=rate, n=1000, rng=seed)
        return ds.simulate(wl, scheduler=scheduler)

    found = ds.sweep({"rate": [20, 25, 30], "scheduler": ["sjf", "dysta"]}, study, replications=10, store="runs/study")
    found.pivot("antt", "rate", "scheduler").text()

What comes out depends on the points alone: not on the executor, the number of workers, the size of the chunks, the
order of the grid, or how often the sweep was killed and resumed.

- The **seed** of a replication derives from the point's key (``SeedSequence`` over `rng`, the key's SHA-256 and the
  replication's number), never from a position.
- **Common random numbers**: axes that choose schedulers are left out of the key that the seed derives from, so every
  scheduler sees the same requests and differences can be taken pair by pair (:meth:`SweepResult.difference`).
- A **store** (``store=DIR``) keeps every finished replication at once; the same call again runs only what is missing.
"""

import functools
import hashlib
import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dnnsched import __version__, _executors, _points, _store, frames, statistics
from dnnsched._arrays import check_choice, check_int
from dnnsched.errors import PointError, StateError
from dnnsched.experiments import outcome
from dnnsched.frames import Frame
from dnnsched.report import progress as progress_bars

__all__ = ["Pivot", "SweepResult", "rebuild_index", "sweep"]


def sweep(grid, fn, *, replications=1, rng=0, executor=None, jobs=None, store=None, keep=None,
          keep_requests=None, common=True, common_over=None, chunk=None, quiet=True):
    """Run a function on every point of a grid.

    Parameters
    ----------
    grid : dict of str to iterable, or list of dict
        Axes, whose product is swept, or the points themselves. Values: numbers, texts, lists, schedulers, policies;
        anything with a key (an own object needs plain attributes, a ``repr`` that says everything, or a method
        ``sweep_key()``).
    fn : callable
        ``fn(seed=int, **point)``; returns a Result, a dict of numbers, or one number (metric ``"value"``).
    replications : int
        Calls per point, each with its own seed.
    rng : int or SeedSequence
        Entropy of all seeds.
    executor : None, str or object
        None = threads, or processes when a value of the grid is a policy written in Python; ``"serial"``,
        ``"threads"``, ``"processes"``, ``"joblib"``, ``"dask"``, ``"ray"``, ``"mpi"``; or an object with ``submit``.
    jobs : int, optional
        Workers; default one per core, or what the executor has.
    store : path-like, optional
        Run directory that keeps every finished replication. If it holds some of this sweep already, they are not run
        again; the grid and `replications` may have grown.
    keep : iterable of str, optional
        Metrics to keep; default all numbers that `fn` returns.
    keep_requests : {None, "csv", "jsonl", "parquet"}
        Also write the requests of every replication into the folder ``requests`` of `store`; `fn` must return a
        Result with a row per request. A replication whose file is missing is run again.
        :meth:`SweepResult.request_files` finds them.
    common : bool
        Share random numbers along the axes of `common_over`.
    common_over : iterable of str, optional
        Axes whose values see the same random numbers; default those named ``scheduler`` or ``policy`` and those whose
        values are all schedulers. Name more (``["rate"]``) to make neighbouring points comparable too.
    chunk : int, optional
        Replications per task of the executor; default what takes about 100 ms.
    quiet : bool
        Show no progress bar.

    Returns
    -------
    SweepResult

    Raises
    ------
    PointError
        `fn` failed; the message names the point, the cause is the original error. What had finished is in the store.
    TypeError, ValueError
        A value without a key (naming the axis), points that occur twice, bad arguments, a function that cannot be
        sent to another process.
    StateError
        The store belongs to another sweep, or another process uses it.
    KeyboardInterrupt
        At once; the store is complete up to there.

    Notes
    -----
    A stored replication is found by the SHA-256 of its key, the function (name, source, bound arguments, captured
    values), the package version, `rng`, `common_over`, `keep` and
    `keep_requests`. Globals and files that `fn` reads are not part of it: after such a change use another folder, or
    pass the data's version as an axis or a bound argument.
    """
    plan = _Plan(grid, fn, replications, rng, keep, keep_requests, common, common_over)
    if store is None:
        if keep_requests is not None:
            raise ValueError("keep_requests: needs a store to write into")
        return plan.run({}, None, executor, jobs, chunk, quiet)
    with _store.Store(store, plan.header) as opened:
        return plan.run(opened.rows, opened.commit, executor, jobs, chunk, quiet, Path(store))


def rebuild_index(path):
    """Make the index of a sweep's store from its files again.

    Parameters
    ----------
    path : path-like
        Run directory given as `store`.

    Returns
    -------
    int
        Replications in the index.

    Raises
    ------
    FormatError, StateError
    """
    return _store.rebuild(path)


class _Plan:
    """A checked sweep: points, keys, seeds, and what its store is known by."""

    def __init__(self, grid, fn, replications, rng, keep, keep_requests, common, common_over):
        if not callable(fn):
            raise TypeError(f"fn: expected a callable, got {type(fn).__name__}")
        self.fn, self.replications = fn, check_int(replications, "replications", 1)
        self.points, self.axes = _points.expand(grid)
        self.keep = None if keep is None else self._names(keep, "keep")
        self.rows_as = keep_requests
        if keep_requests is not None:
            frames.check_format(keep_requests)
        self.common = self._common(common, common_over)
        self.keys = [_points.key(p) for p in self.points]
        self.entropy = _points.entropy(rng)
        self.header = {"dnnsched": __version__, "function": _points.identity(fn), "rng": self.entropy,
                       "common_over": self.common, "keep": self.keep}
        if self.rows_as is not None:
            self.header["keep_requests"] = self.rows_as
        base = _points.text_of(self.header)
        self.hashes = [hashlib.sha256(f"{base}\n{key}".encode()).hexdigest() for key in self.keys]
        worlds = [_points.key({k: v for k, v in p.items() if k not in self.common}) for p in self.points]
        drawn = functools.cache(lambda world, r: _points.seed(self.entropy, world, r))
        self.seeds = np.array([[drawn(world, r) for r in range(self.replications)] for world in worlds], np.int64)

    @staticmethod
    def _names(value, what):
        if isinstance(value, str):
            raise TypeError(f"{what}: expected a list of names, got the text {value!r}")
        return sorted(set(value))

    def _common(self, common, over):
        if over is None:
            values = {a: [p[a] for p in self.points if a in p] for a in self.axes}
            return sorted(a for a in self.axes if common and _points.is_scheduler_axis(a, values[a]))
        if not common:
            raise ValueError("common_over: needs common=True")
        names = self._names(over, "common_over")
        for name in names:
            check_choice(name, "common_over", self.axes)
        return names

    def run(self, stored, commit, executor, jobs, chunk, quiet, store=None):
        """Run what is not stored and gather everything in the order of the grid."""
        folder = None
        if self.rows_as is not None:
            folder = str((store / "requests").resolve())
            os.makedirs(folder, exist_ok=True)

        def is_done(h, r):
            return (h, r) in stored and (folder is None or os.path.exists(
                os.path.join(folder, f"{_run_name(h, r)}.{self.rows_as}")))

        todo = [(i, r) for i, h in enumerate(self.hashes) for r in range(self.replications) if not is_done(h, r)]
        found = {}
        values = [v for p in self.points for v in p.values()]
        bar = progress_bars.bar(len(todo), "sweep", quiet)

        def done(indices, metrics):
            rows = []
            for index, made in zip(indices, metrics, strict=True):
                i, r = todo[index]
                found[i, r] = made
                rows.append({"hash": self.hashes[i], "replication": r, "seed": int(self.seeds[i, r]),
                             "key": self.keys[i], "origin": made[0],
                             "metrics": {k: _to_json(v) for k, v in made[1].items()}})
            if commit is not None:
                commit(rows)
            bar.update(len(rows))

        def failed(index, error):
            i, r = todo[index]
            return PointError(f"point {self.keys[i]}, replication {r}: {type(error).__name__}: {error}",
                              self.points[i], r)

        try:
            _executors.execute(functools.partial(_call, self.fn, self.keep, folder, self.rows_as),
                               _Tasks(todo, self), executor=executor, jobs=jobs, values=values,
                               chunk=chunk, done=done, failed=failed)
        finally:
            bar.close()
        for i, h in enumerate(self.hashes):
            for r in range(self.replications):
                if (i, r) not in found:
                    row = stored[h, r]
                    found[i, r] = row["origin"], {k: float(v) for k, v in row["metrics"].items()}
        return SweepResult(self, found, ran=len(todo), store=store)


def _run_name(point_hash, replication):
    """Name of a replication: its requests' file, and their `run_id`."""
    return f"{point_hash[:16]}-{replication + 1}"


class _Tasks:
    """(point, seed, name) of every open replication; made when a chunk is cut."""

    def __init__(self, todo, plan):
        self._todo, self._plan = todo, plan

    def __len__(self):
        return len(self._todo)

    def __getitem__(self, part):
        p = self._plan
        return [(p.points[i], int(p.seeds[i, r]), _run_name(p.hashes[i], r)) for i, r in self._todo[part]]


def _call(fn, keep, folder, format, task):
    """In the worker: one replication, reduced to (origin of its numbers, metrics); its requests go into `folder`."""
    point, seed, name = task
    value = fn(seed=seed, **point)
    made = outcome(value)
    if folder is not None:
        result = getattr(value, "run", value)  # of a scenario
        if not hasattr(result, "frame"):
            raise TypeError("keep_requests: expected fn to return a Result with a row per request, got "
                            f"{type(value).__name__}")
        rows = result.frame(run_id=name, replication=int(name.rpartition("-")[2]))
        rows.write(os.path.join(folder, f"{name}.{format}"), format)
    if keep is None:
        return made.origin, made.metrics
    missing = [name for name in keep if name not in made.metrics]
    if missing:
        raise ValueError(f"keep: {missing[0]!r} is not among the metrics {', '.join(made.metrics)}")
    return made.origin, {name: made.metrics[name] for name in keep}


def _to_json(value):
    return value if math.isfinite(value) else str(value)


@dataclass(frozen=True)
class Pivot:
    """One metric over two axes.

    Attributes
    ----------
    metric, index, columns : str
    rows, heads : list of str
        Labels of the values of `index` and of `columns`.
    values, low, high : ndarray of float64, shape (rows, heads)
        Means over replications and their confidence limits; NaN where there is no point.
    level : float
    """

    metric: str
    index: str
    columns: str
    rows: list
    heads: list
    values: np.ndarray
    low: np.ndarray
    high: np.ndarray
    level: float

    def table(self, digits=3):
        """As a :class:`dnnsched.report.tables.Table` with intervals."""
        from dnnsched.report.tables import Table, with_interval

        def cell(i, j):
            made = statistics.Interval(*(float(a[i, j]) for a in (self.values, self.low, self.high)), self.level, 0)
            return with_interval(made, digits)

        return Table(f"pivot-{self.metric}", f"{self.metric}, {100 * self.level:g} % intervals over replications",
                     [self.index, *self.heads],
                     [[row, *(cell(i, j) for j in range(len(self.heads)))] for i, row in enumerate(self.rows)])

    def text(self):
        """As aligned plain text."""
        return self.table().text()


class SweepResult:
    """What :func:`sweep` found, in the order of the grid.

    Attributes
    ----------
    points : list of dict
        Axis -> value, as given.
    axes : list of str
    keys : list of str
        Canonical key of each point.
    replications : int
    seeds : ndarray of int64, shape (points, replications)
    metrics : dict of str to ndarray of float64, shape (points, replications)
        NaN where the function gave no such metric.
    origins : list of str
        Where each point's numbers come from: the label of the traces it ran on.
    common_over : list of str
        Axes whose values saw the same random numbers.
    ran : int
        Replications that were run now; the others came from the store.
    """

    def __init__(self, plan, found, ran, store):
        self.points, self.axes, self.keys = plan.points, plan.axes, plan.keys
        self.replications, self.seeds, self.common_over = plan.replications, plan.seeds, plan.common
        self.ran, self.store, self._header = ran, store, plan.header
        self._hashes, self._rows_as = plan.hashes, plan.rows_as
        shape = len(self.points), self.replications
        self.origins = [found[i, 0][0] for i in range(shape[0])]
        self.metrics = {}
        for i in range(shape[0]):
            for r in range(shape[1]):
                for name, value in found[i, r][1].items():
                    if name not in self.metrics:
                        self.metrics[name] = np.full(shape, math.nan)
                    self.metrics[name][i, r] = value
        for values in (self.seeds, *self.metrics.values()):
            values.flags.writeable = False
        self._labels = {a: dict(zip(*self._distinct(a), strict=True)) for a in self.axes}

    def _distinct(self, axis):
        """Keys of the distinct values of an axis in order of appearance, and their labels."""
        distinct = {_points.key({axis: p[axis]}): p[axis] for p in self.points if axis in p}
        return list(distinct), _points.labels(distinct.values())

    def __len__(self):
        return len(self.points)

    def __repr__(self):
        return (f"<SweepResult: {len(self.points)} points over {', '.join(self.axes) or 'nothing'}, "
                f"{self.replications} replications, {len(self.metrics)} metrics>")

    def label(self, i, axis):
        """Short text of a point's value on an axis; empty if the point does not have it."""
        if axis not in self.points[i]:
            return ""
        return self._labels[axis][_points.key({axis: self.points[i][axis]})]

    def _axis(self, name, argument):
        if name not in self.axes:
            raise ValueError(f"{argument}: expected one of {', '.join(map(repr, self.axes))}, got {name!r}")
        return name

    def _metric(self, name):
        if name not in self.metrics:
            raise ValueError(f"metric: expected one of {', '.join(self.metrics)}, got {name!r}")
        return self.metrics[name]

    def find(self, **where):
        """Positions of the points with these values.

        Parameters
        ----------
        **where
            Axis = value, or its label.

        Returns
        -------
        list of int
        """
        wanted = []
        for axis, value in where.items():
            self._axis(axis, "where")
            wanted.append((axis, None if isinstance(value, str) else _points.key({axis: value}), value))
        return [i for i, p in enumerate(self.points) if all(
            a in p and (self.label(i, a) == value if text is None else _points.key({a: p[a]}) == text)
            for a, text, value in wanted)]

    def request_files(self, **where):
        """Files with the requests of one point, by replication.

        Parameters
        ----------
        **where
            Axis = value, or its label.

        Returns
        -------
        list of pathlib.Path

        Raises
        ------
        ValueError
            None or several points match.
        StateError
            The sweep was run without `keep_requests`.
        """
        i = self._one(where)
        if self._rows_as is None:
            raise StateError("request_files: the sweep kept no requests; run it with keep_requests='csv'")
        return [self.store / "requests" / f"{_run_name(self._hashes[i], r)}.{self._rows_as}"
                for r in range(self.replications)]

    def _one(self, where):
        found = self.find(**where)
        if len(found) != 1:
            free = [a for a in self.axes if a not in where]
            hint = f"; name {', '.join(free)} too" if len(found) > 1 and free else ""
            raise ValueError(f"where: expected one point, {len(found)} match {where}{hint}")
        return found[0]

    def values(self, metric, **where):
        """The replications of one metric at one point: float64, shape (replications,)."""
        return self._metric(metric)[self._one(where)]

    def interval(self, metric, level=statistics.LEVEL, **where):
        """Student-t interval of a metric's mean at the one point with these values.

        Parameters
        ----------
        metric : str
        level : float
        **where
            Axis = value or label; together they must name one point.

        Returns
        -------
        dnnsched.statistics.Interval
        """
        return statistics.mean_interval(self.values(metric, **where), level)

    def difference(self, metric, axis, a, b, level=statistics.LEVEL, **where):
        """Interval of the mean of ``metric(axis=a) - metric(axis=b)`` at one setting of the other axes.

        Pair by pair when `axis` shares its random numbers.

        Parameters
        ----------
        metric, axis : str
        a, b
            Two values of the axis, or their labels.
        level : float
        **where
            The other axes.

        Returns
        -------
        dnnsched.statistics.Interval

        Raises
        ------
        ValueError
            `axis` does not share random numbers: the replications are no pairs.
        """
        if self._axis(axis, "axis") not in self.common_over:
            raise ValueError(f"axis: {axis!r} does not share random numbers, so there are no pairs; sweep with "
                             f"common_over=[{axis!r}]")
        return statistics.paired_difference(self.values(metric, **{axis: a}, **where),
                                            self.values(metric, **{axis: b}, **where), level)

    def pivot(self, metric, index, columns, level=statistics.LEVEL, **where):
        """A metric's means over two axes.

        Parameters
        ----------
        metric : str
        index, columns : str
            Axes of the rows and of the columns.
        level : float
        **where
            Values of all other axes that have more than one.

        Returns
        -------
        Pivot
        """
        for axis, name in ((index, "index"), (columns, "columns")):
            self._axis(axis, name)
        values = self._metric(metric)
        chosen = [i for i in self.find(**where) if index in self.points[i] and columns in self.points[i]]
        rows, heads = (list(dict.fromkeys(self.label(i, a) for i in chosen)) for a in (index, columns))
        means, low, high = (np.full((len(rows), len(heads)), math.nan) for _ in range(3))
        taken = set()
        for i in chosen:
            at = rows.index(self.label(i, index)), heads.index(self.label(i, columns))
            if at in taken:
                free = [a for a in self.axes if a not in (index, columns, *where)]
                raise ValueError(f"where: several points fall on one cell; name {', '.join(free)} too")
            taken.add(at)
            if np.isfinite(values[i]).all():
                made = statistics.mean_interval(values[i], level)
                means[at], low[at], high[at] = made.value, made.low, made.high
        return Pivot(metric, index, columns, rows, heads, means, low, high, level)

    def best(self, metric, largest=False, **where):
        """The point with the least (or largest) mean of a metric.

        Returns
        -------
        dict
            The point.
        """
        chosen = [i for i in self.find(**where) if np.isfinite(self._metric(metric)[i]).all()]
        if not chosen:
            raise ValueError(f"where: no point with finite {metric} matches {where}")
        means = [float(self.metrics[metric][i].mean()) for i in chosen]
        return self.points[chosen[means.index(max(means) if largest else min(means))]]

    def table(self):
        """One row per replication: dict of column to array.

        Returns
        -------
        dict of str to ndarray
            Axes (float64 or int64 where all values are numbers, else their labels), ``replication`` (from 0),
            ``seed``, and every metric.
        """
        columns = {}
        for axis in self.axes:
            given = [p.get(axis) for p in self.points]
            plain = all(isinstance(v, (int, float, np.integer, np.floating)) and not isinstance(v, bool) for v in given)
            values = np.array(given if plain else [self.label(i, axis) for i in range(len(given))])
            columns[axis] = np.repeat(values, self.replications)
        columns["replication"] = np.tile(np.arange(self.replications), len(self.points))
        columns["seed"] = self.seeds.ravel()
        return columns | {name: values.ravel() for name, values in self.metrics.items()}

    def long(self):
        """One row per replication and metric: axes, ``replication``, ``seed``, ``metric``, ``value``."""
        wide = self.table()
        names = list(self.metrics)
        columns = {k: np.repeat(v, len(names)) for k, v in wide.items() if k not in self.metrics}
        columns["metric"] = np.tile(np.array(names, dtype=np.str_), len(wide["replication"]))
        stacked = np.column_stack([wide[n] for n in names]) if names else np.zeros((len(wide["replication"]), 0))
        return columns | {"value": stacked.ravel()}

    def to_pandas(self, long=False):
        """:meth:`table` (or :meth:`long`) as a pandas DataFrame (``viz`` extra)."""
        pd = frames.pandas()
        return pd.DataFrame(self.long() if long else self.table())

    def __arrow_c_stream__(self, requested_schema=None):
        """Arrow PyCapsule interface of :meth:`table`: polars, DuckDB and pyarrow take a sweep as it is."""
        return Frame.of("sweep", self.table()).__arrow_c_stream__(requested_schema)

    def report(self, title="Sweep", **options):
        """Tables of the sweep as a :class:`dnnsched.report.Report`; ``report().save(dir)`` makes a run directory.

        Parameters
        ----------
        title : str
        **options
            ``metrics``: those that the tables show; ``config``: recorded in ``run.json``; ``origin`` of the numbers.
        """
        from dnnsched.report import sweep as views

        return views.report(self, title=title, header=self._header, **options)

    def save(self, path=None, *, force=False, report=None, **options):
        """Write the report: to `path`, or beside the store that was given to :func:`sweep`.

        Parameters
        ----------
        path : path-like, optional
        force : bool
            Replace an existing run directory `path`.
        report : dnnsched.report.Report, optional
            The report, if it is made already.
        **options
            Of :meth:`report`.

        Returns
        -------
        pathlib.Path
        """
        report = report or self.report(**options)
        if path is not None and (self.store is None or Path(path).resolve() != self.store.resolve()):
            return report.save(path, force=force)
        if self.store is None:
            raise ValueError("path: expected a folder, because the sweep had no store")
        from dnnsched.report import rundir

        return rundir.add_report(report, self.store)
