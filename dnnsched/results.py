"""What a run leaves: one row per request, metrics, groups, timeline, provenance.

Metrics (all over every request after `warmup`, late ones included). A request that was dropped or failed counts in
``n``, ``violation_rate``, ``offered_load`` and ``preemptions``; the others are over the answered ones, NaN if there is
none:

==================  ========================================================================================
``antt``            mean of turnaround / own isolated time
``violation_rate``  fraction not answered, or answered strictly after the deadline
``throughput_rps``  answers / (last finish - first arrival)
``stp_norm``        sum of isolated time / turnaround (Eyerman and Eeckhout's STP)
``fairness``        min / max of proportional progress (Tisol/Tmulti) / (priority share) (PREMA)
``latency_*_s``     turnaround; quantiles interpolate linearly between order statistics
``offered_load``    isolated seconds per second of the arrival span; >= 1 sets ``saturated``: a transient, whose
                    means depend on the number of requests. NaN in closed loops, where completions set the pace
==================  ========================================================================================
"""

import math

import numpy as np

from . import schema
from ._native import _sim
from .frames import Frame
from .timeline import Timeline

REQUEST = schema.REQUESTS.record
METRICS = ("antt", "violation_rate", "throughput_rps", "stp_norm", "latency_mean_s", "latency_p50_s", "latency_p90_s",
            "latency_p99_s", "latency_max_s", "fairness")


def request_metrics(requests, order=None):
    """Metrics of requests that ended.

    Parameters
    ----------
    requests : ndarray of REQUEST
        Rows; need not be all of a run.
    order : ndarray of int, optional
        Positions in completion order; means are summed in this order (default: row order).

    Returns
    -------
    dict
        See the module's docstring; NaN where there is no request.
    """
    r = requests if order is None else requests[order]
    answered = r[r["status"] == 0]
    makespan = r["finish_s"].max() - r["arrival_s"].min() if len(r) else math.nan
    out = {"n": len(r), **dict.fromkeys(METRICS, math.nan)}
    if len(answered):
        latency = answered["finish_s"] - answered["arrival_s"]
        ntt = latency / answered["isolated_s"]
        p50, p90, p99 = np.quantile(latency, (0.5, 0.9, 0.99))
        progress = 1.0 / ntt / (answered["priority"] / answered["priority"].sum())
        out |= {"antt": float(np.mean(ntt)), "stp_norm": float(np.sum(1.0 / ntt)),
                "latency_mean_s": float(np.mean(latency)), "latency_p50_s": float(p50), "latency_p90_s": float(p90),
                "latency_p99_s": float(p99), "latency_max_s": float(latency.max()),
                "fairness": float(progress.min() / progress.max())}
    if len(r):
        out |= {"violation_rate": int(np.count_nonzero(~r["slo_met"])) / len(r),
                "throughput_rps": float(len(answered) / makespan) if makespan > 0 else math.nan,
                "preemptions": int(r["n_preempt"].sum())}
    return out


def _load(isolated_s, first_s, last_s, n):
    """Offered load of n arrivals between two times; NaN if it has no rate."""
    span = last_s - first_s
    return float(isolated_s * (n - 1) / n / span) if n > 1 and span > 0 else math.nan


def _released(rows, order, slices):
    """Rows that a closed loop released, by release; completion order and slices in their numbering."""
    at = np.argsort(rows["arrival_s"], kind="stable")[: len(order)]  # NaN, never released, sorts last
    place = np.empty(len(rows), np.int64)
    place[at] = np.arange(len(at))
    if slices is not None:
        slices = slices.copy()
        slices["id"] = place[slices["id"]]
    return rows[at], place[order], slices


def _rounded(seconds, scale):
    """Differences of times, with what is below their rounding set to 0."""
    seconds[np.abs(seconds) <= 1e-12 * scale] = 0.0
    return seconds


class _Run:
    """Shared by results with and without request rows."""

    def __init__(self, traces, sim, config, meta):
        self.traces, self.config, self.stats = traces, config, sim.stats
        self.workload_meta = meta
        self.notes = []
        built = meta.get("semantics")
        if built and built != config["semantics"]:
            self.notes.append(f"workload built with {built} semantics, run with {config['semantics']} semantics")
        if config["clock"] == "artifact" and self.stats["rewinds"]:
            self.notes.append(f"artifact clock: time moved back {self.stats['rewinds']} times")

    def _system_metrics(self, metrics, first_s, last_s):
        span = last_s - first_s
        metrics["utilization"] = float(self.stats["busy_s"].sum() / span) if span > 0 else math.nan
        metrics["queue_mean"] = float(self.stats["queue_area"] / span) if span > 0 else math.nan
        for name in ("queue_max", "rewinds", "decisions", "stages", "dropped"):
            metrics[name] = int(self.stats[name])
        if metrics.get("saturated"):
            self.notes.append(f"offered load {metrics['offered_load']:.3f} >= 1: a transient")
        return metrics

    @property
    def provenance(self):
        """Configuration in force, workload, package and machine, as a dict."""
        from .config import info

        return {"config": self.config, "workload": self.workload_meta, "notes": list(self.notes),
                "package": info()}


class Result(_Run):
    """Result of :func:`dnnsched.simulate` with one row per request.

    Attributes
    ----------
    requests : ndarray of REQUEST
        In arrival order; times in seconds, `isolated_s` the request's own isolated time. In closed loops `arrival_s`
        is the release, requests that were never released are missing, and `request_id` is the workload's row.
    order : ndarray of int64
        Request ids in completion order.
    metrics : dict
        See :mod:`dnnsched.results`.
    closed : bool
        Requests were released by sources (a closed loop), so that their arrivals depend on the scheduler.
    timeline : Timeline or None
        With ``timeline=True``.
    config, stats, notes : dict, dict, list of str
        Parameters in force, the engine's counters, remarks that belong in a report.
    """

    def __init__(self, wl, sim, config):
        super().__init__(wl.traces, sim, config, dict(wl.meta or {}))
        closed = bool(getattr(wl, "sources", ()))
        c, order, slices = sim.columns, sim.columns["order"], sim.slices
        r = np.zeros(wl.n, REQUEST)
        r["request_id"] = np.arange(wl.n)
        r["model"], r["sample"], r["priority"] = wl.model, wl.sample, wl.priority
        r["arrival_s"], r["deadline_s"] = wl.arrival, wl.deadline
        if closed:  # deadlines count from the release
            r["arrival_s"], r["deadline_s"] = c["release_s"], c["release_s"] + (wl.deadline - wl.arrival)
        for name in ("first_start_s", "finish_s", "service_s", "n_preempt", "last_stage", "status"):
            r[name] = c[name]
        for key, tr in enumerate(wl.traces.values()):
            mine = wl.model == key
            r["isolated_s"][mine] = tr.isolated_s[wl.sample[mine]]
            r["n_layers"][mine] = tr.n_layers
        if closed:
            r, order, slices = _released(r, order[: self.stats["finished"]], slices)
        r["slo_met"] = (r["status"] == 0) & (r["finish_s"] <= r["deadline_s"])
        r.flags.writeable = False
        self.requests, self.order, self.closed = r, order, closed
        first = config["warmup"]
        kept = self.order[self.order >= first] if first else self.order
        self.metrics = request_metrics(r, kept)
        if len(r):
            load = math.nan if closed else _load(r["isolated_s"].sum(), r["arrival_s"][0], r["arrival_s"][-1], len(r))
            self.metrics["offered_load"], self.metrics["saturated"] = load, bool(load >= 1.0)
            self._system_metrics(self.metrics, r["arrival_s"].min(), r["finish_s"].max())
        self.timeline = None if slices is None else self._timeline(slices)

    def _timeline(self, slices):
        names = ("request_id", "arrival_s", "first_start_s", "finish_s", "deadline_s", "status", "n_preempt")
        rows = {name: self.requests[name] for name in names} | {"key": self.requests["model"]}
        about = {**{k: v for k, v in self.config.items() if k != "record"}, "workload": self.workload_meta,
                 "notes": self.notes}
        return Timeline(slices, self.stats["lost_slices"], rows, self.traces, ["accelerator 0"], about,
                        [t.model for t in self.traces.values()])

    def metrics_by(self, group):
        """Metrics per ``"model"``, ``"pattern"``, ``"key"`` or ``"priority"``: dict label -> dict."""
        traces = list(self.traces.values())
        if group == "priority":
            labels = self.requests["priority"]
        elif group == "key":
            labels = np.array(list(self.traces), dtype=object)[self.requests["model"]]
        elif group in ("model", "pattern"):
            labels = np.array([getattr(t, group) for t in traces], dtype=object)[self.requests["model"]]
        else:
            raise ValueError(f"group: expected 'model', 'pattern', 'key' or 'priority', got {group!r}")
        kept = self.order[self.order >= self.config["warmup"]]
        out = {}
        for label in sorted(set(labels.tolist())):
            out[label] = request_metrics(self.requests, kept[labels[kept] == label])
        return out

    def frame(self, **context):
        """The requests as a table: the columns of :data:`dnnsched.schema.REQUESTS`.

        Parameters
        ----------
        **context
            ``run_id`` (str) and ``replication`` (int); columns that are not given are left out.

        Returns
        -------
        dnnsched.frames.Frame
            Has ``write``, ``to_pandas`` and ``to_arrow``.

        Notes
        -----
        ``wait_s`` is turnaround minus service, ``preempted_s`` its part after the first start; differences below
        rounding are 0.
        """
        chosen = schema.REQUESTS.without(*({"run_id", "replication"} - set(context)))
        r, traces = self.requests, list(self.traces.values())
        special = {
            "model": (r["model"], [t.model for t in traces]), "variant": (r["model"], [t.pattern for t in traces]),
            "status": (r["status"], schema.STATUS),
            "wait_s": _rounded(r["finish_s"] - r["arrival_s"] - r["service_s"], r["finish_s"]),
            "preempted_s": _rounded(r["finish_s"] - r["first_start_s"] - r["service_s"], r["finish_s"])}
        if "run_id" in context:
            special["run_id"] = str(context.pop("run_id"))
        if "replication" in context:
            special["replication"] = np.full(len(r), context.pop("replication"), np.int64)
        if context:
            raise TypeError(f"frame: expected run_id and replication, got {', '.join(sorted(context))}")
        return Frame(chosen, {name: special[name] if name in special else r[name] for name in chosen.names})

    def to_pandas(self):
        """The columns of :meth:`frame` as a pandas DataFrame (``viz`` extra), with a `key` column."""
        data = self.frame().to_pandas()
        data.insert(1, "key", np.array(list(self.traces), dtype=object)[self.requests["model"]])
        return data

    def to_arrow(self):
        """The columns of :meth:`frame` as a pyarrow Table (``io`` extra)."""
        return self.frame().to_arrow()

    def __arrow_c_schema__(self):
        """Arrow PyCapsule interface of :meth:`frame`."""
        return self.frame().__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema=None):
        """Arrow PyCapsule interface of :meth:`frame`: polars, DuckDB and pyarrow take a result as it is."""
        return self.frame().__arrow_c_stream__(requested_schema)

    def __repr__(self):
        m = self.metrics
        return (f"<Result {self.config['scheduler']} ({self.config['semantics']}): {m['n']} requests, antt "
                f"{m['antt']:.4g}, violation_rate {m['violation_rate']:.4g}>")


class StreamResult(_Run):
    """Result of a run with ``record="none"``: sums per key and latency histograms.

    Attributes
    ----------
    metrics : dict
        As :class:`Result`; quantiles are read from a histogram with 128 bins per octave and are off by at most
        1/256 of their value (``latency_quantile_error``).
    sums : ndarray
        One record per trace key.
    """

    def __init__(self, traces, sim, config, meta, closed=False):
        super().__init__(traces, sim, config, meta)
        self.sums, self.hist = sim.sums, sim.hist
        self.metrics = self._metrics(np.arange(len(self.sums)))
        s = self.sums[self.sums["n"] > 0]
        if len(s):
            load = math.nan if closed else _load(s["alone_s"].sum(), s["first_arrival_s"].min(),
                                                 s["last_arrival_s"].max(), int(s["n"].sum()))
            self.metrics["offered_load"], self.metrics["saturated"] = load, bool(load >= 1.0)
            self._system_metrics(self.metrics, s["first_arrival_s"].min(), s["last_finish_s"].max())

    def _metrics(self, rows):
        s, hist = self.sums[rows], self.hist[rows].sum(axis=0)
        n = int(s["n"].sum())
        answered = n - int(s["dropped"].sum()) - int(s["failed"].sum())
        out = request_metrics(np.zeros(0, REQUEST)) | {"n": n}
        del out["fairness"]
        if n:
            used = s[s["n"] > 0]
            span = used["last_finish_s"].max() - used["first_arrival_s"].min()
            out |= {"violation_rate": int(s["violations"].sum()) / n,
                    "throughput_rps": float(answered / span) if span > 0 else math.nan,
                    "preemptions": int(s["preemptions"].sum()), "latency_quantile_error": 1.0 / 256.0}
        if answered:
            counts, middles = np.cumsum(hist), _sim.hist_middles()
            out |= {"antt": float(s["ntt"].sum() / answered), "stp_norm": float(s["inv_ntt"].sum()),
                    "latency_mean_s": float(s["latency_s"].sum() / answered),
                    "latency_max_s": float(s["latency_max_s"].max())}
            for q in (50, 90, 99):
                out[f"latency_p{q}_s"] = float(middles[np.searchsorted(counts, q / 100 * answered)])
        return out

    def metrics_by(self, group):
        """Metrics per ``"model"``, ``"pattern"`` or ``"key"``: dict label -> dict."""
        if group not in ("model", "pattern", "key"):
            raise ValueError(f"group: expected 'model', 'pattern' or 'key' without request rows, got {group!r}")
        labels = [k if group == "key" else getattr(t, group) for k, t in self.traces.items()]
        return {label: self._metrics(np.flatnonzero([x == label for x in labels])) for label in sorted(set(labels))}
