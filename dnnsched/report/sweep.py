"""The report of a sweep: tables over its axes, summary rows, a figure per main metric."""

import functools

import numpy as np

from dnnsched.report import document, provenance
from dnnsched.report.results import Point, Results, reported
from dnnsched.report.tables import Table, with_interval
from dnnsched.statistics import mean_interval, paired_difference

_SHOWN = ("antt", "violation_rate", "throughput_rps", "latency_p99_s", "utilization", "offered_load")
_FIELDS = {"rate": "rate", "rate_rps": "rate", "rho": "rho", "slo_multiplier": "slo", "slo": "slo"}
_TEXTS = {"scheduler": "scheduler", "policy": "scheduler", "traces": "workload", "workload": "workload",
          "semantics": "semantics"}
_METHOD = "Student-t over replications, seeds derived from the point"


def report(found, *, title, header, metrics=None, config=None, origin=None, inputs=(), citations=(), base=None):
    """The report of a :class:`dnnsched.sweeps.SweepResult`.

    Parameters
    ----------
    found : SweepResult
    title : str
    header : dict
        What the sweep is known by.
    metrics : list of str, optional
        Those that the tables show; default the main ones that exist, else the first six.
    config : dict, optional
        Recorded beside the header (JSON types).
    origin : str, optional
        Label of the numbers; default that of the traces each point ran on (``"modelled"`` for plain numbers).
    inputs, citations
        See :class:`dnnsched.report.provenance.Recorder`.
    base : dict, optional
        Fields of :class:`Point` that hold for every point (``workload``, ``rate``, ...).

    Returns
    -------
    document.Report
    """
    shown = _shown(found, metrics)
    seeds = sorted({int(s) for s in found.seeds.ravel()})
    recorded = {"sweep": header, "points": found.keys, "replications": found.replications, "config": config}
    results, notes = _results(found, origin, base or {})
    return document.Report(
        paper="sweep", title=title, citation="", profile=f"n{found.replications}", config=recorded,
        tables=_tables(found, shown), claims=[], results=results, notes=notes,
        recorder=provenance.Recorder(recorded, seeds=seeds, inputs=inputs, citations=citations),
        draw_figures=functools.partial(_figures, found, shown[:4]))


def _figures(found, shown, _):
    from dnnsched.viz import sweep

    return sweep.figures(found, shown)


def _shown(found, metrics):
    if metrics is None:
        return [m for m in _SHOWN if m in found.metrics] or list(found.metrics)[:6]
    for name in metrics:
        if name not in found.metrics:
            raise ValueError(f"metrics: expected names among {', '.join(found.metrics)}, got {name!r}")
    return list(metrics)


def _point(found, i, base):
    fields, group = dict(base), []
    for axis in found.axes:
        if axis not in found.points[i]:
            continue
        value, short = found.points[i][axis], axis.rpartition(".")[2]
        number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
        if _FIELDS.get(short) and number:
            fields[_FIELDS[short]] = float(value)
        elif short in _TEXTS and _TEXTS[short] not in fields:
            fields[_TEXTS[short]] = found.label(i, axis)
        else:
            group.append(f"{axis}={found.label(i, axis)}")
    return Point("sweep", group=", ".join(group) or "all", **fields)


def _results(found, origin, base):
    results, left_out = Results(), {}
    for i in range(len(found)):
        point = _point(found, i, base)
        for metric, values in found.metrics.items():
            if np.isfinite(values[i]).all():
                shown, unit = reported(metric, values[i])
                results.add(point, metric, shown, origin=origin or found.origins[i], method=_METHOD, unit=unit)
            else:
                left_out[metric] = left_out.get(metric, 0) + 1
    notes = [f"{metric}: not finite in some replication of {count} points; they are left out of summary.csv"
             for metric, count in left_out.items()]
    for i in range(len(found)):
        loads = found.metrics.get("offered_load")
        if loads is not None and np.nanmax(loads[i], initial=0.0) >= 1.0:
            notes.append("offered load of 1 or more at some points: transients, whose means depend on the number of "
                         "requests")
            break
    if found.common_over:
        notes.append(f"common random numbers along {', '.join(found.common_over)}: their values saw the same seeds")
    return results, notes


def _head(metric):
    unit = reported(metric, 0.0)[1]
    return metric if unit == "1" else f"{metric} ({unit})"


def _cell(found, metric, i):
    values = found.metrics[metric][i]
    return with_interval(mean_interval(reported(metric, values)[0])) if np.isfinite(values).all() else "-"


def _tables(found, shown):
    across = next((a for a in found.common_over if len({found.label(i, a) for i in range(len(found))}) > 1), None)
    made = {}
    if across is not None:
        for metric in shown:
            table = _across(found, metric, across)
            table.brief = metric in shown[:2]
            made[table.name] = table
        for metric in shown[:2]:
            table = _differences(found, metric, across)
            made[table.name] = table
    rows = [[*(found.label(i, a) for a in found.axes), *(_cell(found, m, i) for m in shown)] for i in range(len(found))]
    made["points"] = Table("points", "All points, 95 % intervals over replications",
                           [*found.axes, *(_head(m) for m in shown)], rows, brief=across is None)
    return made


def _groups(found, across):
    """Other axes, labels of the axis, and {labels of the other axes: {label of the axis: position}}."""
    others = [a for a in found.axes if a != across]
    groups = {}
    for i in range(len(found)):
        groups.setdefault(tuple(found.label(i, a) for a in others), {})[found.label(i, across)] = i
    heads = list(dict.fromkeys(label for members in groups.values() for label in members))
    return others, heads, groups


def _across(found, metric, across):
    others, heads, groups = _groups(found, across)
    rows = [[*setting, *(_cell(found, metric, members[h]) if h in members else "-" for h in heads)]
            for setting, members in groups.items()]
    return Table(f"sweep_{metric}", f"{_head(metric)} by {across}, 95 % intervals over replications", [*others, *heads],
                 rows)


def _differences(found, metric, across):
    others, heads, groups = _groups(found, across)
    rows = []
    for setting, members in groups.items():
        first = members.get(heads[0])
        cells = []
        for head in heads[1:]:
            pair = [None if i is None else found.metrics[metric][i] for i in (members.get(head), first)]
            good = all(v is not None and np.isfinite(v).all() for v in pair)
            cells.append(with_interval(paired_difference(*(reported(metric, v)[0] for v in pair))) if good else "-")
        rows.append([*setting, *cells])
    return Table(f"differences_{metric}", f"{_head(metric)}: difference to {heads[0]} on the same requests, 95 % "
                 "intervals of the paired difference", [*others, *heads[1:]], rows)
