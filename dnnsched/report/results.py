"""The results of an experiment: one series of replications per point and metric.

A :class:`Point` says what was run, a :class:`Series` holds one number per replication. Tables,
claims, figures and ``summary.csv`` are all views of one :class:`Results`.
"""

from dataclasses import dataclass, fields, replace

import numpy as np

from dnnsched import statistics

METRICS = {
    "antt": ("1", "mean over requests of turnaround / isolated latency"),
    "violation_rate": ("percent", "requests that finish after their deadline"),
    "throughput_rps": ("1/s", "requests / (last finish - first arrival)"),
    "stp_norm": ("1", "sum over requests of isolated / turnaround latency"),
    "latency_mean_s": ("s", "mean turnaround"),
    "latency_p50_s": ("s", "median turnaround"),
    "latency_p90_s": ("s", "90th percentile of turnaround"),
    "latency_p99_s": ("s", "99th percentile of turnaround"),
    "utilization": ("1", "busy time / (last finish - first arrival)"),
    "offered_load": ("1", "arriving work / time; above 1 the run is a transient"),
    "fairness": ("1", "smallest / largest progress of a request class"),
    "rewinds": ("1", "times the artifact's clock moved back, per run"),
    "rmse_s": ("s", "root mean square error of the predicted remaining latency"),
    "rmse_relative": ("1", "the same divided by the remaining latency"),
    "elasticity": ("1", "slope of a layer's relative latency over its relative density"),
    "correlation": ("1", "Pearson correlation of gamma and true / average remaining latency"),
    "peak_rate_rps": ("1/s", "highest arrival rate that meets a service-level objective"),
}
"""Metric name -> (unit, definition). Everything a table of ours prints is defined here."""

_SUFFIXES = {"_s": "s", "_rps": "1/s", "_bytes": "bytes", "_j": "J"}


def reported(metric, values):
    """A metric as tables print it.

    Parameters
    ----------
    metric : str
        A key of `METRICS`, or a caller's own name, whose suffix gives the unit (``_s``, ``_rps``, ``_bytes``, ``_j``).
    values : array_like of float
        As in ``Result.metrics``: fractions, seconds.

    Returns
    -------
    values : ndarray of float64
        Fractions that tables print in percent are multiplied by 100.
    unit : str
    """
    unit = METRICS[metric][0] if metric in METRICS else next(
        (u for suffix, u in _SUFFIXES.items() if metric.endswith(suffix)), "1")
    return np.asarray(values, dtype=np.float64) * (100.0 if unit == "percent" else 1.0), unit

ORIGINS = ("measured", "modelled", "synthetic", "calibrated", "derived", "published")


def origin_of(traces):
    """Origin of numbers simulated on a trace set: its own if it is one of the first four `ORIGINS`, else modelled."""
    origin = getattr(traces, "origin", None)
    return origin if origin in ORIGINS[:4] else "modelled"


@dataclass(frozen=True)
class Point:
    """What was run. Empty fields do not apply.

    Attributes
    ----------
    item : str
        Figure, table or study that the point belongs to (``"fig14"``, ``"eta"``).
    workload : str
        Trace set and variant (``"multi-attnn-calibrated/cv10"``).
    scheduler : str
        Scheduler with the parameters that differ from its defaults, or another row key.
    semantics : str
        ``"paper"``, ``"artifact"`` or empty.
    rate, rho, slo : float or None
        Requests per second, offered load, SLO multiplier.
    group : str
        ``"all"``, or the class of requests (``"model=bert"``).
    """

    item: str
    workload: str = ""
    scheduler: str = ""
    semantics: str = ""
    rate: float | None = None
    rho: float | None = None
    slo: float | None = None
    group: str = "all"

    def with_(self, **changes):
        """A copy with some fields changed."""
        return replace(self, **changes)


_FIELDS = tuple(f.name for f in fields(Point))


@dataclass(frozen=True, eq=False)
class Series:
    """One metric at one point.

    Attributes
    ----------
    point : Point
    metric : str
        A key of `METRICS`, or a caller's own name.
    unit : str
    values : ndarray of float64, shape (n,)
        One value per replication, read-only.
    origin : str
        One of `ORIGINS`: where the number comes from.
    method : str
        What a replication is and how the interval is formed.
    published : published.Cell or None
        The printed number that this one stands beside.
    """

    point: Point
    metric: str
    values: np.ndarray
    origin: str
    method: str
    published: object = None
    unit: str = "1"

    def interval(self, level=statistics.LEVEL):
        """Student-t interval over the replications."""
        return statistics.mean_interval(self.values, level)


class Results:
    """Series in the order in which they were added, found by exact field values."""

    def __init__(self):
        self._series = {}
        self._holding = {}  # (field, value) -> series that have it, in order; "metric" is a field here

    def __len__(self):
        return len(self._series)

    def __iter__(self):
        return iter(self._series.values())

    def add(self, point, metric, values, *, origin, method, published=None, unit=None):
        """Store one series.

        A metric that `METRICS` does not define needs a `unit`.

        Raises
        ------
        ValueError
            If the metric or origin is unknown, a value is not finite, or the series exists already.
        """
        if metric not in METRICS and unit is None:
            raise ValueError(f"metric: expected one of {', '.join(METRICS)}, got {metric!r}")
        if origin not in ORIGINS:
            raise ValueError(f"origin: expected one of {', '.join(ORIGINS)}, got {origin!r}")
        array = np.array(values, dtype=np.float64, ndmin=1)
        if array.ndim != 1 or array.size == 0 or not np.isfinite(array).all():
            raise ValueError(f"values of {metric} at {point}: expected a vector of finite numbers, got {values!r}")
        if (point, metric) in self._series:
            raise ValueError(f"{metric} at {point}: already stored")
        array.flags.writeable = False
        series = Series(point, metric, array, origin, method, published,
                        METRICS[metric][0] if metric in METRICS else unit)
        self._series[point, metric] = series
        for holding in (("metric", metric), *((name, getattr(point, name)) for name in _FIELDS)):
            self._holding.setdefault(holding, []).append(series)

    def at(self, point, metric):
        """The series of exactly this point, or None."""
        return self._series.get((point, metric))

    def find(self, metric=None, **where):
        """Series whose point has exactly these field values.

        Parameters
        ----------
        metric : str, optional
            Only this metric.
        **where
            Fields of :class:`Point`; a list, tuple or set of values matches any of them.

        Returns
        -------
        list of Series
        """
        unknown = set(where) - set(_FIELDS)
        if unknown:
            raise ValueError(f"where: expected fields among {', '.join(_FIELDS)}, got {', '.join(sorted(unknown))}")
        if metric is not None:
            where["metric"] = metric
        many = {k: v for k, v in where.items() if isinstance(v, (list, tuple, set))}
        single = [(k, v) for k, v in where.items() if k not in many]
        candidates = min((self._holding.get(item, []) for item in single), key=len, default=self._series.values())

        def has(series, name):
            return series.metric if name == "metric" else getattr(series.point, name)

        return [s for s in candidates if all(has(s, k) == v for k, v in single)
                and all(has(s, k) in v for k, v in many.items())]

    def one(self, metric, **where):
        """The single series that matches, or None when there is none.

        Raises
        ------
        ValueError
            If several match.
        """
        found = self.find(metric, **where)
        if len(found) > 1:
            raise ValueError(f"{metric} at {where}: {len(found)} series match, expected one")
        return found[0] if found else None
