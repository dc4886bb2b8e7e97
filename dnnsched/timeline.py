"""Timelines: what ran when, as Chrome trace-event JSON that opens in Perfetto."""

import gzip
import json
import math
from pathlib import Path

import numpy as np

from ._arrays import check_int, replace_file
from ._native import _sim


class Timeline:
    """Layer slices of a run.

    Attributes
    ----------
    slices : ndarray
        Structured, by end time: t0_s, t1_s (seconds), id (request), resource, stage (layer), program (trace key),
        n (requests in the run).
    lost : int
        Slices beyond the cap that the run did not keep.
    """

    def __init__(self, result, slices, lost):
        self._result, self.slices, self.lost = result, slices, int(lost)

    def to_chrome_trace(self, path, *, window=None, max_events=300_000, other=None):
        """Write the timeline as Chrome trace-event JSON; open it at ui.perfetto.dev or chrome://tracing.

        Accelerators are threads with one slice per layer; requests are async spans from arrival to completion,
        grouped by trace key, with flows to their first slice, markers for preemptions and missed deadlines, and a
        counter of requests in the system. Where the artifact's clock moves back, slices of one accelerator overlap;
        the file's ``otherData`` says so in its notes.

        Parameters
        ----------
        path : path-like
            Written whole or not at all; gzip-compressed (with a fixed time stamp) if it ends in ``.gz``.
        window : (float, float), optional
            Seconds; events outside are left out.
        max_events : int
            Events beyond are left out; how many is returned and noted in the file.
        other : dict, optional
            Merged into the file's ``otherData``.

        Returns
        -------
        (int, int)
            Events written and left out.
        """
        path = Path(path)
        check_int(max_events, "max_events", 100)
        t0, t1 = (-math.inf, math.inf) if window is None else map(float, window)
        if not t0 < t1:
            raise ValueError(f"window: expected (start, end) with start < end, got {window!r}")
        r = self._result.requests
        fields = ("arrival_s", "first_start_s", "finish_s", "deadline_s", "model")
        columns = [np.ascontiguousarray(r[c]) for c in fields]
        names = [json.dumps(key)[1:-1] for key in self._result.traces]
        config = {k: v for k, v in self._result.config.items() if k != "record"}
        text = json.dumps({**config, "notes": self._result.notes, **(other or {})}, sort_keys=True, default=str)
        with replace_file(path) as raw:
            out = gzip.GzipFile("", "wb", 6, raw, mtime=0) if path.suffix == ".gz" else raw
            done = _sim.timeline(out.write, self.slices, self.lost, *columns, self._result.order, names,
                                 len(self._result.stats["busy_s"]), t0, t1, max_events, text)
            if out is not raw:
                out.close()
        return done
