"""Two run directories side by side: differences with intervals, and both against the published numbers.

What a run directory says is enough for an honest comparison: ``replications.csv`` holds every replication, ``run.json``
the seeds and what was run. Replications are paired when both runs had the same seeds and the same requests; where they
had not, the difference is that of two independent samples (Welch), and the report says so.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dnnsched import schema, statistics
from dnnsched.errors import FormatError
from dnnsched.experiments import compare_values, comparison_note, shown_metrics
from dnnsched.report import document, provenance, rundir
from dnnsched.report.results import Point, Results
from dnnsched.report.tables import Table, number, with_interval

FIELDS = ("item", "workload", "scheduler", "semantics", "rate", "rho", "slo", "group")
"""Fields of a point by which series can be matched."""

MAX_SHOWN = 60
"""Rows of the short table; a comparison of more shows its clearest differences there."""

_POLICY = frozenset({"scheduler", "semantics", "clock", "switch_cost_s", "timeline", "label", "run", "level"})


class _Printed(NamedTuple):
    """A published number as ``summary.csv`` keeps it."""

    value: float
    source: str

    @property
    def text(self):
        """The number in its shortest form; how many decimals were printed is not kept."""
        return f"{self.value:.12g}"


@dataclass(frozen=True)
class _Saved:
    point: Point
    metric: str
    unit: str
    values: np.ndarray
    origin: str
    published: _Printed | None


class SavedRun:
    """What a run directory says about its replications.

    Parameters
    ----------
    path : path-like

    Attributes
    ----------
    path : pathlib.Path
    record : dict
        ``run.json``.
    series : list of objects
        With ``point``, ``metric``, ``unit``, ``values`` (float64, in the order of the replications), ``origin``,
        ``published``.

    Raises
    ------
    FormatError
        Naming file, row and column.
    """

    def __init__(self, path):
        self.path = Path(path)
        self.record = rundir.read_record(self.path)
        printed = {}
        for row in rundir.read_rows(self.path / "summary.csv", schema.SUMMARY):
            if row["published"] is not None:
                printed[_point(row), row["metric"]] = _Printed(row["published"], row["published_source"] or "")
        grouped, file = {}, self.path / "replications.csv"
        for line, row in enumerate(rundir.read_rows(file, schema.SUMMARY), start=2):
            values = grouped.setdefault((_point(row), row["metric"]), (row, []))[1]
            if row["replication"] != str(len(values) + 1):
                raise FormatError(f"{file}: row {line}, column replication: expected {len(values) + 1} (rows of a "
                                  f"series in order, none twice), got {row['replication']!r}")
            values.append(row["value"])
        self.series = [_Saved(point, metric, row["unit"] or "1", np.array(values), row["origin"] or "modelled",
                              printed.get((point, metric)))
                       for (point, metric), (row, values) in grouped.items()]
        if not self.series:
            raise FormatError(f"{file}: expected at least one row")

    @property
    def name(self):
        """Its run id."""
        return self.record["run_id"]

    @property
    def is_sweep(self):
        """Whether it is a sweep, where the seeds of a replication derive from its point."""
        return isinstance(self.record["config"].get("sweep"), dict)

    def requests(self):
        """What decides the requests of the run: digests, or everything asked for that is not about the policy."""
        config = self.record["config"]
        if any(config.get("requests_sha256", ())):
            return config["requests_sha256"]
        if self.is_sweep:
            return {k: v for k, v in config["sweep"].items() if k not in ("keep", "dnnsched")}
        return {k: v for k, v in config.items() if k not in _POLICY}


def _point(row):
    texts = (row[name] or "" for name in ("item", "workload", "scheduler", "semantics"))
    return Point(*texts, row["rate_rps"], row["rho"], row["slo"], row["group"] or "all")


def _why_not_paired(a, b, pairs, wanted):
    """Reason why the replications of two runs are no pairs, "" if they are; ValueError if `wanted` and they are not."""
    left, right = a.requests(), b.requests()
    same = {s.point: s for s in b.series if s.metric == "offered_load"}
    if wanted is False:
        return "as asked"
    if a.is_sweep and b.is_sweep:
        same_seeds = all(s.point.with_(scheduler="") == t.point.with_(scheduler="") for s, t in pairs)
    else:
        same_seeds = a.record["provenance"].get("seeds") == b.record["provenance"].get("seeds")
    if not same_seeds:
        reason = "the runs used other seeds"
    elif left != right and isinstance(left, dict) and isinstance(right, dict):
        reason = f"the runs differ in {', '.join(k for k in sorted({*left, *right}) if left.get(k) != right.get(k))}"
    elif left != right:
        reason = "the runs had other requests"
    elif any(len(s.values) != len(t.values) for s, t in pairs):
        reason = "the runs have other numbers of replications"
    elif any(s.values.tolist() != same[s.point].values.tolist() for s in a.series
             if s.metric == "offered_load" and s.point in same):
        reason = "the offered load of the same replication differs"
    else:
        return ""
    if wanted:
        raise ValueError(f"paired: expected runs on the same seeds and requests, but {reason}")
    return reason


def _match(a, b, by):
    """Pairs of series that agree in metric and in the fields `by`; where several do, in every field."""
    def grouped(run):
        found = {}
        for series in run.series:
            found.setdefault((series.metric, *(getattr(series.point, f) for f in by)), []).append(series)
        return found

    left, right, pairs = grouped(a), grouped(b), []
    for key, mine in left.items():
        theirs = right.get(key, [])
        if len(mine) == len(theirs) == 1:
            pairs.append((mine[0], theirs[0]))
        else:
            by_point = {s.point: s for s in theirs}
            pairs += [(s, by_point[s.point]) for s in mine if s.point in by_point]
    if not pairs:
        def known(run):
            return "; ".join(sorted({", ".join(str(getattr(s.point, f)) for f in by) for s in run.series}))

        many = max(map(len, left.values())) > 1 or max(map(len, right.values())) > 1
        raise ValueError(f"by: expected series with the same {', '.join(by)} in both runs; {a.path} has {known(a)}, "
                         f"{b.path} has {known(b)}"
                         f"{'; several series of one run agree in it, add a field' if many else ''}")
    return pairs


def _check_by(by):
    names = [by] if isinstance(by, str) else list(by)
    names = ["rate" if name == "rate_rps" else name for name in names]
    for name in names:
        if name not in FIELDS:
            raise ValueError(f"by: expected fields among {', '.join(FIELDS)}, got {name!r}")
    if not names:
        raise ValueError(f"by: expected at least one of {', '.join(FIELDS)}, got none")
    return names


def _describer(pairs, by):
    """Function: point -> short text of the fields that tell the matched points apart."""
    fields = [f for f in FIELDS if f in by or len({getattr(s.point, f) for pair in pairs for s in pair}) > 1]

    def describe(point):
        parts = [f"{f}={v:g}" if isinstance(v, float) else str(v) for f in fields
                 if (v := getattr(point, f)) not in ("", None)]
        return " ".join(parts) or "all"
    return describe


def compare_runs(a, b, *, by=("scheduler",), metrics=None, paired=None, level=statistics.LEVEL):
    """Compare two run directories.

    Parameters
    ----------
    a, b : path-like
        Run directories of the same layout version.
    by : str or sequence of str
        Fields of `FIELDS` in which two series must agree to be compared. Where several of a run agree in them, those
        of the other run that agree in every field are their counterparts.
    metrics : str or sequence of str, optional
        Default: all.
    paired : bool, optional
        True: pair by pair, an error if the runs did not share seeds and requests. False: independent samples.
        None: paired if they did share them.
    level : float
        Confidence level.

    Returns
    -------
    dnnsched.report.Report
        Tables ``comparison`` (and ``published`` where a run stands beside printed numbers); ``notes`` say how it was
        paired and what has no counterpart.

    Raises
    ------
    FormatError
        A file of a run directory is malformed.
    ValueError
        Nothing to compare, an unknown field or metric, or pairs asked for where there are none.
    """
    by = _check_by(by)
    first, second = SavedRun(a), SavedRun(b)
    pairs = _match(first, second, by)
    notes = [f"a = {first.name} ({first.path.name}), b = {second.name} ({second.path.name})"]
    unmatched = len(first.series) + len(second.series) - 2 * len(pairs)
    if unmatched:
        notes.append(f"{unmatched} of {len(first.series) + len(second.series)} series have no counterpart")
    if metrics is not None:
        metrics = [metrics] if isinstance(metrics, str) else list(metrics)
        known = list(dict.fromkeys(s.metric for s, _ in pairs))
        for metric in metrics:
            if metric not in known:
                raise ValueError(f"metric: expected one of {', '.join(known)}, got {metric!r}")
        pairs = [p for p in pairs if p[0].metric in metrics]
    reason = _why_not_paired(first, second, pairs, paired)
    if reason:
        notes.append(f"not paired: {reason}")
    left, right = (run.record.get("notes", []) for run in (first, second))
    notes += [f"{'both' if note in right else 'a'}: {note}" for note in left]
    notes += [f"b: {note}" for note in right if note not in left]
    return _report(first, second, pairs, by=by, metrics=metrics, paired=not reason, level=level, notes=notes)


def _report(a, b, pairs, *, by, metrics, paired, level, notes):
    describe = _describer(pairs, by)
    rows = [(s, t, compare_values(s.metric, s.values, t.values, paired=paired, level=level, unit=s.unit))
            for s, t in pairs]
    named = set(metrics or shown_metrics([s.metric for s, _ in pairs]))
    short = [row for row in rows if row[2].metric in named]
    notes = [notes[0], f"{len(rows)} numbers compared: {_tally(rows)}", *notes[1:]]
    title = f"a = {a.name}, b = {b.name}"
    if len(short) > MAX_SHOWN:
        notes.append(f"the short table holds at most the {MAX_SHOWN} clearest differences; report.md holds all")
        short = sorted((row for row in short if not row[2].covers_zero), key=_clearness)[:MAX_SHOWN]
    made = {"comparison": _table("comparison", title, short, describe, comparison_note(paired, level, len(rows)))}
    if len(short) < len(rows):
        made["all"] = _table("all", f"{title}, all numbers", rows, describe, "See the note of the first table.")
        made["all"].brief = False
    printed = [(s, t, s.published or t.published) for s, t in pairs if s.published or t.published]
    if printed:
        made["published"] = _published(printed, describe, level)
        made["published"].brief = len(printed) <= MAX_SHOWN
    config = {"a": _source(a), "b": _source(b), "by": by, "metrics": metrics, "paired": paired, "level": level}
    return document.Report(
        paper="compare", title=f"{a.name} against {b.name}", citation="", profile="paired" if paired else "unpaired",
        config=config, tables=made, claims=[], results=_results(rows, paired), notes=notes,
        recorder=provenance.Recorder(config, seeds=a.record["provenance"].get("seeds", ())))


def _source(run):
    return {"run_id": run.name, "config_sha256": run.record["provenance"]["config_sha256"],
            "replications_sha256": provenance.sha256_of(run.path / "replications.csv")}


def _results(rows, paired):
    results = Results()
    for s, t, _ in rows:
        for side, series in (("a: ", s), ("b: ", t)):
            results.add(series.point.with_(scheduler=side + series.point.scheduler), s.metric, series.values,
                        origin=series.origin, unit=series.unit, published=series.published,
                        method="Student-t over replications")
        if paired:
            results.add(s.point.with_(scheduler=f"a - b: {s.point.scheduler}"), s.metric, s.values - t.values,
                        origin=s.origin, unit=s.unit, method="Student-t over paired replications")
    return results


def _tally(rows):
    """How many comparisons ended how."""
    counts = {}
    for *_, c in rows:
        counts[c.finding] = counts.get(c.finding, 0) + 1
    return ", ".join(f"{n} {finding}" for finding, n in sorted(counts.items()))


def _clearness(row):
    """Half-width of a difference's interval relative to the difference: the clearest first."""
    d = row[2].difference
    return (d.high - d.low) / abs(d.value)


def _table(name, title, rows, describe, note):
    lines = [[" / ".join(dict.fromkeys([describe(s.point), describe(t.point)])), s.metric, s.unit, with_interval(c.a),
              with_interval(c.b), with_interval(c.difference), c.finding, with_interval(c.ratio)]
             for s, t, c in rows]
    return Table(name, title, ["point", "metric", "unit", "a", "b", "a - b", "finding", "a / b"], lines, note)


def _published(printed, describe, level):
    lines = []
    for s, t, cell in printed:
        found = [with_interval(statistics.mean_interval(run.values, level).shifted(-cell.value)) for run in (s, t)]
        lines.append([describe(s.point), s.metric, s.unit, number(cell.value), *found, cell.source])
    return Table("published", "Against the published numbers", ["point", "metric", "unit", "published", "a - published",
                                                                "b - published", "source"], lines,
                 f"{100 * level:g} % Student-t intervals over replications.")
