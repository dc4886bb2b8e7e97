"""The window of a run that the report page draws: slices and requests as compact arrays, and what was left out."""

import math

import numpy as np

REQUESTS = 60
"""Requests of the window."""

SLICES = 8000
"""Slices at most; the window ends where they are used up."""


def window(timeline, *, count=REQUESTS, cap=SLICES):
    """Choose consecutive requests and the slices around them.

    Parameters
    ----------
    timeline : timeline.Timeline
        With slices.
    count, cap : int
        Requests and slices at most.

    Returns
    -------
    block : ndarray of int
        Rows of the `count` consecutive arrivals with the most preemptions, the earliest of several such blocks.
    start_s, end_s : float
        From the block's first arrival to the time when four of five have finished, or to where `cap` is reached.
    chosen : ndarray of int
        Rows of ``timeline.slices`` in that time, by start.
    """
    rows, slices = timeline.rows, timeline.slices
    order = np.argsort(rows["arrival_s"], kind="stable")  # NaN, a request that never came, is last
    n = len(order)
    count = min(count, n)
    sums = np.concatenate([[0], np.cumsum(rows["n_preempt"][order], dtype=np.int64)])
    first = int(np.argmax(sums[count:] - sums[:n - count + 1]))
    block = order[first:first + count]
    arrival, finish = rows["arrival_s"][block], np.sort(rows["finish_s"][block])
    start, end = float(arrival[0]), float(finish[math.ceil(0.8 * count) - 1])
    end = max(end, float(np.nanmax(arrival))) if math.isfinite(end) else float(slices["t1_s"].max())
    chosen = np.flatnonzero((slices["t1_s"] > start) & (slices["t0_s"] < end))
    chosen = chosen[np.argsort(slices["t0_s"][chosen], kind="stable")]
    if len(chosen) > cap:
        end = float(slices["t0_s"][chosen[cap]])
        chosen = chosen[:cap]
    return block, start, end, chosen


def data(timeline, title):
    """What the page's script draws.

    Parameters
    ----------
    timeline : timeline.Timeline
        With slices.
    title : str

    Returns
    -------
    dict
        JSON types. Times are whole nanoseconds since ``start_s``; slice starts are differences to the one before;
        ``null`` where a request has no such time.
    """
    block, start, end, chosen = window(timeline)
    s, rows = timeline.slices[chosen], timeline.rows
    models = list(dict.fromkeys(timeline.models))
    begin = _nanoseconds(s["t0_s"], start)
    made = {
        "title": title, "start_s": start, "span": round((end - start) * 1e9), "keys": timeline.names, "models": models,
        "group": [models.index(m) for m in timeline.models], "resources": timeline.resources,
        "requests": {"id": block.tolist(), "key": rows["key"][block].tolist(),
                     "preempt": rows["n_preempt"][block].tolist(),
                     "unanswered": np.isin(rows["status"][block], (1, 2)).astype(int).tolist(),
                     **{name: _finite(rows[name + "_s"][block], start)
                        for name in ("arrival", "deadline", "first_start", "finish")}},
        "slices": {"start": np.diff(begin, prepend=0).tolist(),
                   "length": (_nanoseconds(s["t1_s"], start) - begin).tolist(), "id": s["id"].tolist(),
                   "stage": s["stage"].tolist(), "key": rows["key"][s["id"]].tolist()},
        "note": _note(timeline, block, start, end, len(chosen)),
    }
    if len(timeline.resources) > 1:
        made["slices"]["resource"] = s["resource"].tolist()
    if (s["n"] != 1).any():
        made["slices"]["n"] = s["n"].tolist()
    return made


def _nanoseconds(times, start):
    return np.rint((times - start) * 1e9).astype(np.int64)


def _finite(times, start):
    return [round((t - start) * 1e9) if np.isfinite(t) else None for t in times.tolist()]


def _note(timeline, block, start, end, shown):
    """What the window holds and what it leaves out, in words."""
    n, total, lost = len(timeline.rows["arrival_s"]), len(timeline.slices), timeline.lost
    if len(block) == n:
        what = f"All {n:,} requests"
    else:
        which = "the consecutive arrivals with the most preemptions" if timeline.rows["n_preempt"].any() \
            else "the first arrivals"
        what = f"{len(block):,} of {n:,} requests, {block[0]:,} to {block[-1]:,}: {which}"
    text = f"{what}; and everything that ran from {start:.6g} s to {end:.6g} s, {shown:,} of {total:,} layer slices."
    if shown < total or len(block) < n:
        text += f" Left out here: {n - len(block):,} requests and {total - shown:,} slices."
    if lost:
        text += f" The run itself did not keep {lost:,} slices beyond its own bound."
    return text
