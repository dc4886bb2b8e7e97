"""Figures of a sweep: a metric over a numeric axis, a line per scheduler, intervals over replications."""

import numpy as np

from dnnsched.report.results import reported
from dnnsched.statistics import mean_interval
from dnnsched.viz import style

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
_SHORT = {"antt": "ANTT", "violation_rate": "SLO violations", "throughput_rps": "throughput",
          "latency_p99_s": "99th percentile of latency", "latency_mean_s": "mean latency",
          "offered_load": "offered load", "rho": "offered load", "rate": "arrival rate",
          "slo_multiplier": "SLO multiplier"}
_AXIS_UNITS = {"rate": " (1/s)"}


def _numeric(found, axis):
    return all(isinstance(p.get(axis), (int, float, np.integer, np.floating)) and not isinstance(p[axis], bool)
               for p in found.points)


def _varied(found):
    return [a for a in found.axes if len({found.label(i, a) for i in range(len(found))}) > 1]


def figures(found, metrics):
    """A figure per metric.

    Parameters
    ----------
    found : dnnsched.sweeps.SweepResult
    metrics : list of str

    Returns
    -------
    dict of str to matplotlib.figure.Figure
        Empty when no axis with more than one value is numeric.
    """
    x = next((a for a in _varied(found) if _numeric(found, a)), None)
    return {} if x is None else {metric: lines(found, metric, x) for metric in metrics}


def lines(found, metric, x, by=None, level=0.95, width=3.4, height=2.4):
    """A metric over one numeric axis.

    Parameters
    ----------
    found : dnnsched.sweeps.SweepResult
    metric : str
    x : str
        Numeric axis.
    by : str, optional
        Axis of the lines; default the first other one with several values. All further axes become panels.
    level : float
        Of the interval bars.
    width, height : float
        Inches of one panel.

    Returns
    -------
    matplotlib.figure.Figure
    """
    others = [a for a in _varied(found) if a != x]
    if by is None:
        by = next((a for a in found.common_over if a in others), others[0] if others else None)
    rest = [a for a in others if a != by]
    panels = {}
    for i in range(len(found)):
        panels.setdefault(tuple(found.label(i, a) for a in rest), []).append(i)
    with style.context():
        columns = min(len(panels), 3)
        rows = -(-len(panels) // columns)
        made = style.figure(width * columns, height * rows)
        axes = made.subplots(rows, columns, squeeze=False, sharey=True)
        names = [""] if by is None else list(dict.fromkeys(found.label(i, by) for i in range(len(found))))
        for ax, (setting, members) in zip(axes.flat, panels.items(), strict=False):
            for number, name in enumerate(names):
                chosen = [i for i in members if by is None or found.label(i, by) == name]
                _line(ax, found, metric, x, sorted(chosen, key=lambda i: found.points[i][x]), name, number, level)
            short = x.rpartition(".")[2]
            ax.set_xlabel(_SHORT.get(short, short) + _AXIS_UNITS.get(short, ""))
            if setting:
                names_of = (_SHORT.get(a.rpartition(".")[2], a.rpartition(".")[2]) for a in rest)
                ax.set_title(", ".join(f"{a} = {v}" for a, v in zip(names_of, setting, strict=True)))
        for ax in list(axes.flat)[len(panels):]:
            ax.set_visible(False)
        for row in axes:
            unit = reported(metric, 0.0)[1]
            unit = {"1": "", "percent": " (%)"}.get(unit, f" ({unit})")
            row[0].set_ylabel(_SHORT.get(metric, metric) + unit)
        if len(names) > 1:
            axes.flat[0].legend()
    return made


def _line(ax, found, metric, x, chosen, name, number, level):
    good = [i for i in chosen if np.isfinite(found.metrics[metric][i]).all()]
    intervals = [mean_interval(reported(metric, found.metrics[metric][i])[0], level) for i in good]
    middle = np.array([v.value for v in intervals])
    low, high = (np.array([getattr(v, end) for v in intervals]) for end in ("low", "high"))
    bars = np.nan_to_num(np.vstack([middle - low, high - middle])) if len(good) else np.zeros((2, 0))
    plain = name.split(" ")[0] if name in style.NAMES else name
    ax.errorbar([found.points[i][x] for i in good], middle, yerr=bars, capsize=2.0, elinewidth=0.8,
                markeredgecolor="white", markeredgewidth=0.4,
                color=style.COLORS.get(plain, _COLORS[number % len(_COLORS)]),
                marker=style.MARKERS.get(plain, _MARKERS[number % len(_MARKERS)]),
                label=style.NAMES.get(name, name) or None)
