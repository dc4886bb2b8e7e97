"""The window of a run that the report page draws: slices and requests as compact arrays, and what was left out."""

import math

import numpy as np

REQUESTS = 60
"""Requests of the window."""

SLICES = 8000
"""Slices at most; the window ends where they are used up."""


def window(requests, slices, *, count=REQUESTS, cap=SLICES):
    """Choose consecutive requests and the slices around them.

    Parameters
    ----------
    requests : ndarray of results.REQUEST
        In arrival order.
    slices : ndarray
        ``Timeline.slices``.
    count, cap : int
        Requests and slices at most.

    Returns
    -------
    first, last : int
        The block of `count` consecutive arrivals with the most preemptions, the earliest of several; `last` excluded.
    start_s, end_s : float
        From the block's first arrival to the time when four of five have finished, or to where `cap` is reached.
    chosen : ndarray of int
        Rows of `slices` in that time, by start.
    """
    n = len(requests)
    count = min(count, n)
    sums = np.concatenate([[0], np.cumsum(requests["n_preempt"], dtype=np.int64)])
    first = int(np.argmax(sums[count:] - sums[:n - count + 1]))
    last = first + count
    start = float(requests["arrival_s"][first])
    finish = np.sort(requests["finish_s"][first:last])  # NaN last
    end = float(finish[math.ceil(0.8 * count) - 1])
    end = max(end, float(requests["arrival_s"][last - 1])) if math.isfinite(end) else float(slices["t1_s"].max())
    chosen = np.flatnonzero((slices["t1_s"] > start) & (slices["t0_s"] < end))
    chosen = chosen[np.argsort(slices["t0_s"][chosen], kind="stable")]
    if len(chosen) > cap:
        end = float(slices["t0_s"][chosen[cap]])
        chosen = chosen[:cap]
    return first, last, start, end, chosen


def data(run):
    """What the page's script draws.

    Parameters
    ----------
    run : document.NamedRun
        With a timeline that has slices.

    Returns
    -------
    dict
        JSON types. Times are whole nanoseconds since ``start_s``; slice starts are differences to the one before;
        ``null`` where a request has no such time.
    """
    result, slices = run.result, run.result.timeline.slices
    r = result.requests
    first, last, start, end, chosen = window(r, slices)
    s, block = slices[chosen], r[first:last]
    models = list(result.traces)
    groups = [trace.model or key for key, trace in result.traces.items()]
    names = list(dict.fromkeys(groups))
    begin = _nanoseconds(s["t0_s"], start)
    made = {
        "title": run.title, "start_s": start, "span": round((end - start) * 1e9), "keys": models,
        "models": names, "group": [names.index(g) for g in groups], "resources": len(result.stats["busy_s"]),
        "requests": {"id": block["request_id"].tolist(), "key": block["model"].tolist(),
                     "preempt": block["n_preempt"].tolist(), "layers": block["n_layers"].tolist(),
                     **{name: _finite(block[name + "_s"], start)
                        for name in ("arrival", "deadline", "first_start", "finish")}},
        "slices": {"start": np.diff(begin, prepend=0).tolist(),
                   "length": (_nanoseconds(s["t1_s"], start) - begin).tolist(), "id": s["id"].tolist(),
                   "stage": s["stage"].tolist(), "key": s["program"].tolist()},
        "note": note(run, first, last, start, end, len(chosen)),
    }
    if len(result.stats["busy_s"]) > 1:
        made["slices"]["resource"] = s["resource"].tolist()
    if (s["n"] != 1).any():
        made["slices"]["n"] = s["n"].tolist()
    return made


def _nanoseconds(times, start):
    return np.rint((times - start) * 1e9).astype(np.int64)


def _finite(times, start):
    return [round((t - start) * 1e9) if np.isfinite(t) else None for t in times.tolist()]


def note(run, first, last, start, end, shown):
    """What the window holds and what it leaves out, in words."""
    n, total, lost = len(run.result.requests), len(run.result.timeline.slices), run.result.timeline.lost
    if last - first == n:
        what = f"All {n:,} requests"
    else:
        busiest = "the consecutive arrivals with the most preemptions" if run.result.requests["n_preempt"].any() \
            else "the first arrivals"
        what = f"Requests {first:,} to {last - 1:,} of {n:,} ({busiest})"
    text = (f"{what}, and everything that ran between {start:.6g} s and {end:.6g} s: {shown:,} of {total:,} layer "
            "slices.")
    if shown < total or last - first < n:
        text += f" Left out here: {n - last + first:,} requests and {total - shown:,} slices."
    if lost:
        text += f" The run itself recorded {lost:,} slices fewer than it executed (its cap)."
    return text
