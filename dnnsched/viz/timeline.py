"""A timeline as a figure: who waited, who ran, who was preempted, who was late, and how long the queue was."""

import numpy as np

from dnnsched.viz import style

# Okabe and Ito's colours without black and vermilion, which mark preemptions and missed deadlines; grey: all others.
_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#B8860B", "#7A5195")
_OTHER, _WAIT, _LATE = "#8C8C8C", "#BDBDBD", "#D55E00"


def figures(run):
    """``{"timeline": figure}`` of a report's named run, empty if it has no timeline with requests."""
    if run is None or getattr(run.result, "timeline", None) is None or not len(run.result.requests):
        return {}
    figure = run.result.timeline.plot(n=100)
    figure.set_label(f"Timeline of {run.title}: the first requests in order of arrival, thin while they wait, thick "
                     "while they run; below, all requests in the system.")
    return {"timeline": figure}


def chosen_rows(rows, window, n):
    """(ids drawn, how many there are, start, end): the first `n` requests that are there in the window.

    Without a window: the first `n` requests, from the first arrival to the last end among them.
    """
    arrival, finish = rows["arrival_s"], rows["finish_s"]
    there = np.ones(len(arrival), bool)
    if window is not None:
        there = (arrival <= window[1]) & ~(finish < window[0])
    ids = np.flatnonzero(there)
    count = len(ids)
    ids = ids[:n]
    if window is not None:
        return ids, count, *window
    ends = finish[ids][np.isfinite(finish[ids])]
    start = float(arrival[ids].min()) if len(ids) else 0.0
    return ids, count, start, float(max(ends.max() if len(ends) else start, arrival[ids].max() if len(ids) else start))


def running_spans(slices):
    """Layers of one request that follow each other without a pause on one accelerator, joined.

    Returns
    -------
    dict of ndarray
        ``id``, ``resource``, ``n`` (run), ``t0_s``, ``t1_s`` and ``resumed`` (the request had been preempted before).
    """
    s = slices[np.lexsort((slices["t0_s"], slices["id"]))]
    if not len(s):
        return {k: s[k] for k in ("id", "resource", "n", "t0_s", "t1_s")} | {"resumed": np.zeros(0, bool)}
    same = (s["id"][1:] == s["id"][:-1])
    joined = same & (s["resource"][1:] == s["resource"][:-1]) & (s["t0_s"][1:] == s["t1_s"][:-1]) & (
        s["n"][1:] == s["n"][:-1])
    first = np.flatnonzero(np.concatenate(([True], ~joined)))
    last = np.append(first[1:], len(s)) - 1
    before = np.concatenate(([0], np.where(same, s["n_preempt"][:-1], s["n_preempt"][1:])))
    resumed = s["n_preempt"] > before
    return {k: s[k][first] for k in ("id", "resource", "n", "t0_s")} | {"t1_s": s["t1_s"][last],
                                                                        "resumed": resumed[first]}


def levels(timeline, t0, t1):
    """Step function over [t0, t1]: times, requests in the system, requests that wait (or travel)."""
    rows, s = timeline.rows, timeline.slices
    lists = [np.sort(x[np.isfinite(x)]) for x in (rows["arrival_s"], rows["finish_s"], s["t0_s"], s["t1_s"])]
    times = np.unique(np.concatenate([[t0, t1], *lists]))
    times = times[(times >= t0) & (times <= t1)]
    arrived, finished, started, ended = (np.searchsorted(x, times, side="right") for x in lists)
    return times, arrived - finished, arrived - finished - (started - ended)


class _Look:
    """Colours of models, unit of time, and sizes that follow the number of rows."""

    def __init__(self, timeline, ids, span_s, height_in):
        key = timeline.rows["key"][ids]
        names = list(dict.fromkeys(timeline.models[k] for k in sorted(set(key.tolist()))))
        self.color = {name: _COLORS[i] if i < len(_COLORS) else _OTHER for i, name in enumerate(names)}
        self.of = [self.color.get(name, _OTHER) for name in timeline.models]
        self.scale, self.unit = (1e6, "us") if span_s < 1e-3 else (1e3, "ms") if span_s < 1.0 else (1.0, "s")
        row = 72.0 * height_in / max(len(ids), 1)
        self.thick = float(np.clip(0.85 * row, 1.1, 6.0))
        self.thin = float(np.clip(0.22 * row, 0.35, 1.0))
        self.marks = {}
        self.mark = float(np.clip(1.3 * row, 2.2, 5.0))


def _segments(axis, x0, x1, y, color, width, **kwargs):
    from matplotlib.collections import LineCollection

    lines = np.stack([np.column_stack([x0, y]), np.column_stack([x1, y])], axis=1)
    axis.add_collection(LineCollection(lines, colors=color, linewidths=width, capstyle="butt", **kwargs))


def _requests(axis, timeline, ids, t0, t1, look):
    """One row per request: waiting thin, running thick, marks for preemption, deadline and failure."""
    rows, k = timeline.rows, look.scale
    place = np.full(len(rows["arrival_s"]), -1)
    place[ids] = np.arange(len(ids))
    end = np.where(np.isfinite(rows["finish_s"][ids]), rows["finish_s"][ids], t1)
    y = np.arange(len(ids))
    _segments(axis, k * np.maximum(rows["arrival_s"][ids], t0), k * np.minimum(end, t1), y, _WAIT, look.thin, zorder=2)
    spans = running_spans(timeline.slices[place[timeline.slices["id"]] >= 0])
    shown = (spans["t1_s"] >= t0) & (spans["t0_s"] <= t1)
    spans = {name: value[shown] for name, value in spans.items()}
    at = place[spans["id"]]
    _segments(axis, k * np.maximum(spans["t0_s"], t0), k * np.minimum(spans["t1_s"], t1), at,
              [look.of[i] for i in rows["key"][spans["id"]]], look.thick, zorder=3)
    resumed = spans["resumed"] & (spans["t0_s"] >= t0)
    axis.plot(k * spans["t0_s"][resumed], at[resumed], linestyle="", marker="|", markersize=1.1 * look.mark,
              markeredgewidth=0.7, color="black", zorder=4)
    deadline = rows["deadline_s"][ids]
    late = (rows["finish_s"][ids] > deadline) | np.isin(rows["status"][ids], (1, 2))
    seen = (deadline >= t0) & (deadline <= t1)
    axis.plot(k * deadline[seen], y[seen], linestyle="", marker="|", markersize=look.mark, markeredgewidth=0.6,
              color="#5A5A5A", zorder=2)
    gone = late & (end <= t1)
    axis.plot(k * end[gone], y[gone], linestyle="", marker="x", markersize=1.2 * look.mark, markeredgewidth=1.0,
              color=_LATE, zorder=5)
    look.marks = {"resumed": resumed.any(), "deadline": seen.any(), "late": gone.any()}
    axis.set_ylim(len(ids) - 0.3, -0.7)
    axis.set_ylabel("request, by arrival")
    axis.grid(axis="y", visible=False)
    step = max(1, 10 ** max(len(str(len(ids))) - 2, 0))
    while len(ids) > 12 * step:
        step *= 2 if str(step)[0] in "15" else 5 / 2
    ticks = np.arange(0, len(ids), int(step))
    axis.set_yticks(ticks, [str(ids[i]) for i in ticks])


def _accelerators(axis, timeline, ids, t0, t1, look):
    """One row per accelerator: what it ran."""
    from matplotlib.collections import PolyCollection

    k, spans = look.scale, running_spans(timeline.slices)
    shown = (spans["t1_s"] > t0) & (spans["t0_s"] < t1)
    spans = {name: value[shown] for name, value in spans.items()}
    x0, x1 = k * np.maximum(spans["t0_s"], t0), k * np.minimum(spans["t1_s"], t1)
    low, high = spans["resource"] - 0.38, spans["resource"] + 0.38
    boxes = np.stack([np.column_stack(c) for c in ((x0, low), (x1, low), (x1, high), (x0, high))], axis=1)
    axis.add_collection(PolyCollection(boxes, facecolors=[look.of[i] for i in timeline.rows["key"][spans["id"]]],
                                       edgecolors="white", linewidths=0.25, zorder=3))
    axis.set_ylim(len(timeline.resources) - 0.4, -0.6)
    axis.set_yticks(range(len(timeline.resources)), timeline.resources)
    axis.grid(axis="y", visible=False)


def _queue(axis, timeline, t0, t1, look):
    times, inside, waiting = levels(timeline, t0, t1)
    x = look.scale * times
    axis.fill_between(x, waiting, step="post", color="#D9D9D9", linewidth=0)
    axis.step(x, inside, where="post", color="black", linewidth=0.9)
    axis.step(x, waiting, where="post", color="#7F7F7F", linewidth=0.7)
    axis.set_ylim(0, max(1.05 * inside.max(), 1))
    axis.set_ylabel("requests")
    axis.yaxis.get_major_locator().set_params(integer=True)


def _legend(figure, look, by):
    from matplotlib.lines import Line2D

    def line(label, **kwargs):
        return Line2D([], [], label=label, **{"linestyle": "", "color": "black", **kwargs})

    named = [(name, color) for name, color in look.color.items() if color != _OTHER]
    handles = [line(name, linestyle="-", linewidth=4, color=color) for name, color in named]
    if len(named) < len(look.color):
        handles.append(line("other", linestyle="-", linewidth=4, color=_OTHER))
    if by == "request":
        handles.append(line("waits", linestyle="-", linewidth=1, color=_WAIT))
    marks = {"resumed": line("resumed after a preemption", marker="|", markersize=7, markeredgewidth=1.2),
             "deadline": line("deadline", marker="|", markersize=5, markeredgewidth=0.7, color="#5A5A5A"),
             "late": line("late or dropped", marker="x", markersize=5, markeredgewidth=1.1, color=_LATE)}
    handles += [handle for name, handle in marks.items() if look.marks.get(name)]
    handles += [line("all in the system", linestyle="-", linewidth=1.0),
                line("all waiting", linestyle="-", linewidth=4, color="#D9D9D9")]
    lines = -(-len(handles) // 6)
    figure.legend(handles=handles, loc="outside lower center", ncol=-(-len(handles) // lines), columnspacing=1.2,
                  handletextpad=0.5, handlelength=1.3)


def draw(timeline, *, window=None, n=200, ax=None, by="request", title=None):
    """Draw a timeline; :meth:`dnnsched.timeline.Timeline.plot` describes the arguments."""
    ids, count, t0, t1 = chosen_rows(timeline.rows, window, n)
    rows_shown = len(ids) if by == "request" else len(timeline.resources)
    height = float(np.clip(0.024 * rows_shown, 2.0, 5.2)) if by == "request" else 0.35 + 0.35 * rows_shown
    look = _Look(timeline, ids, t1 - t0, ax.get_position().height * ax.figure.get_figheight() if ax else height)
    with style.context():
        if ax is None:
            figure = style.figure(7.2, height + 1.75)
            figure.get_layout_engine().set(w_pad=0.1)
            main, queue = figure.subplots(2, 1, sharex=True, height_ratios=(height, 0.8))
        else:
            figure, main, queue = ax.figure, ax, None
        (_requests if by == "request" else _accelerators)(main, timeline, ids, t0, t1, look)
        heading = [title] if title else []
        if by == "request" and len(ids) < count:
            heading.append(f"first {len(ids)} of {count} requests")
        if timeline.lost:
            heading.append(f"{timeline.lost} layers at the end were not kept")
        main.set_title("; ".join(heading), loc="left")
        if queue is not None:
            _queue(queue, timeline, t0, t1, look)
            _legend(figure, look, by)
        pad = 0.005 * (t1 - t0)
        (queue or main).set_xlim(look.scale * (t0 - pad), look.scale * (t1 + pad) or 1.0)
        (queue or main).set_xlabel(f"time ({look.unit})")
    return figure
