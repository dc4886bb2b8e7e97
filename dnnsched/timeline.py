"""Timelines: what ran when, as Chrome trace-event JSON that opens in Perfetto."""

import gzip
import json
import math
from pathlib import Path

import numpy as np

from . import schema
from ._arrays import check_choice, check_int, replace_file
from ._native import _sim
from .config import info
from .frames import Frame


class Timeline:
    """Stage slices of a run, with the requests they belong to.

    Made by :func:`dnnsched.simulate` with ``timeline=True`` (``result.timeline``) and by
    :meth:`dnnsched.sim.Simulation.timeline`.

    Attributes
    ----------
    slices : ndarray
        Structured, by end time: t0_s, t1_s (seconds), id (row of the request), resource, stage (layer), program (trace
        key), n (requests in the run), pool, n_preempt (times the request had been preempted by then).
    lost : int
        Slices beyond the bound that the run did not keep.
    rows : dict of str to ndarray
        Per request: request_id (int64; differs from the row in closed loops only), arrival_s, first_start_s, finish_s
        (NaN: never), deadline_s (float64, seconds), status (uint8), key (int32, position in `names`) and n_preempt
        (int32).
    names : list of str
        What requests are grouped by: trace keys or programs.
    models : list of str
        Architecture of each name; figures colour by it.
    resources : list of str
        Names of the accelerators.
    about : dict
        JSON types; the run's configuration and notes.
    """

    def __init__(self, slices, lost, rows, names, resources, about, models=None):
        self.slices, self.lost, self.rows = slices, int(lost), rows
        self.names, self.resources, self.about = list(names), list(resources), about
        self.models = self.names if models is None else list(models)

    def to_chrome_trace(self, path, *, window=None, max_events=300_000, other=None):
        """Write the timeline as Chrome trace-event JSON; open it at ui.perfetto.dev or chrome://tracing.

        Accelerators are threads with one slice per layer (or batch); requests are async spans from arrival to their
        end, grouped by trace key, with flows to their first slice, markers for preemptions, missed deadlines and
        dropped requests, and counters of accelerators at work and of running and waiting requests. Requests are
        numbered by their row. Where the artifact's clock moves back, slices of one accelerator overlap; the file's
        ``otherData`` says so in its notes.

        Parameters
        ----------
        path : path-like
            Written whole or not at all; gzip-compressed (with a fixed time stamp) if it ends in ``.gz``.
        window : (float, float), optional
            Seconds; events outside are left out, slices and spans are clipped.
        max_events : int
            With more events the file ends earlier: it is complete up to a mark "cut here". How many are left out is
            returned and noted in the file.
        other : dict, optional
            Merged into the file's ``otherData``, beside the run's configuration and provenance.

        Returns
        -------
        (int, int)
            Events written and left out.
        """
        path = Path(path)
        check_int(max_events, "max_events", 100)
        t0, t1 = check_window(window)
        r = self.rows
        by_finish = np.argsort(r["finish_s"], kind="stable")
        rows = tuple(np.ascontiguousarray(a) for a in (r["arrival_s"], r["finish_s"], r["deadline_s"], r["status"],
                                                       r["key"], self._first(), by_finish))
        package = {k: v for k, v in info().items() if k not in ("data", "optional")}
        text = json.dumps({**self.about, "package": package, **(other or {})}, sort_keys=True, default=str)
        with replace_file(path) as raw:
            out = gzip.GzipFile("", "wb", 6, raw, mtime=0) if path.suffix == ".gz" else raw
            done = _sim.timeline(out.write, self.slices, self.lost, self._orders(), rows, _escaped(self.names),
                                 _escaped(self.resources), t0, t1, max_events, text)
            if out is not raw:
                out.close()
        return done

    def frame(self):
        """The layers as a table: the columns of :data:`dnnsched.schema.LAYERS`.

        Returns
        -------
        dnnsched.frames.Frame
        """
        s = self.slices
        return Frame(schema.LAYERS, {
            "accelerator": (s["resource"], self.resources), "request_id": self.rows["request_id"][s["id"]],
            "key": (self.rows["key"][s["id"]], self.names), "layer": s["stage"], "batch": s["n"],
            "start_s": s["t0_s"], "end_s": s["t1_s"], "n_preempt": s["n_preempt"]})

    def __arrow_c_stream__(self, requested_schema=None):
        """Arrow PyCapsule interface of :meth:`frame`."""
        return self.frame().__arrow_c_stream__(requested_schema)

    def plot(self, *, window=None, n=200, ax=None, by="request", title=None):
        """Draw the timeline (extra ``viz``).

        Parameters
        ----------
        window : (float, float), optional
            Seconds; default: from the first arrival to the last end of the requests drawn.
        n : int
            Requests drawn at most: the first that are there in the window. The figure says if there are more.
        ax : matplotlib Axes, optional
            Draw the rows only, into these axes. Default: a figure for a paper's page, with a panel of requests in the
            system (line) and waiting (area) below.
        by : {"request", "accelerator"}
            A row per request - waiting thin, running thick in the model's colour, a bar where it resumes after a
            preemption, a tick at the deadline, a cross where it ends late or without an answer - or a row per
            accelerator.
        title : str, optional

        Returns
        -------
        matplotlib.figure.Figure
            Save it with ``figure.savefig(path)``.

        Raises
        ------
        ImportError
            Without matplotlib; the message names the extra.
        """
        check_int(n, "n", 1)
        check_choice(by, "by", ("request", "accelerator"))
        if window is not None:
            window = check_window(window)
            if not all(map(math.isfinite, window)):
                raise ValueError(f"window: expected finite times, got {window!r}")
        from .viz import timeline

        return timeline.draw(self, window=window, n=n, ax=ax, by=by, title=title)

    def _first(self):
        """Position of each request's first slice, -1 = it never ran."""
        first = np.full(len(self.rows["arrival_s"]), -1, np.int64)
        order = np.argsort(self.slices["t0_s"], kind="stable")[::-1]
        first[self.slices["id"][order]] = order
        return first

    def _orders(self):
        """Positions by start and by end; of the request's slice before; of the next run on the resource."""
        s = self.slices
        by_start = np.argsort(s["t0_s"], kind="stable")
        by_end = np.argsort(s["t1_s"], kind="stable")
        previous, following = np.full(len(s), -1, np.int64), np.full(len(s), -1, np.int64)
        order = by_start[np.argsort(s["id"][by_start], kind="stable")]
        same = s["id"][order[1:]] == s["id"][order[:-1]]
        previous[order[1:][same]] = order[:-1][same]
        order = np.argsort(s["resource"], kind="stable")  # as recorded: runs of one resource one after the other
        run = np.cumsum(_heads(s[order])) - 1
        start = np.append(order[_heads(s[order])], -1)
        after = start[run + 1]
        after[s["resource"][after] != s["resource"][order]] = -1
        following[order] = after
        return by_start, by_end, previous, following


def _heads(slices):
    """True for the first member of every run of neighbours."""
    s = slices
    new = np.ones(len(s), bool)
    new[1:] = np.logical_or.reduce([s[c][1:] != s[c][:-1] for c in ("resource", "t0_s", "t1_s", "n")])
    start = np.flatnonzero(new)  # blocks of equal records hold whole runs
    place = np.arange(len(s)) - start[np.cumsum(new) - 1]
    return place % s["n"] == 0


def _escaped(names):
    return [json.dumps(name)[1:-1] for name in names]


def check_window(window):
    """(start, end) in seconds of a window; None = everything."""
    if window is None:
        return -math.inf, math.inf
    t0, t1 = map(float, window)
    if not t0 < t1:
        raise ValueError(f"window: expected (start, end) with start < end, got {window!r}")
    return t0, t1
