"""The columns of saved tables: one definition for writers, the validator, Arrow and the documentation.

Every table that a run directory holds, and every table that an object gives through Arrow, is described here once:
:data:`REQUESTS`, :data:`LAYERS`, :data:`SUMMARY` and
:data:`CLAIMS`. ``Result.requests`` takes its dtype from :data:`REQUESTS` too.
"""

from dataclasses import dataclass

import numpy as np

VERSION = 2
"""Version of the run directory's layout, stored in ``run.json`` and in the metadata of Parquet files."""

STATUS = ("answered", "failed", "dropped")
"""Texts of the column ``status``; ``Result.requests["status"]`` is the position."""

DTYPES = {"int64": np.dtype("i8"), "int32": np.dtype("i4"), "float64": np.dtype("f8"), "bool": np.dtype("?"),
          "string": np.dtype("i4")}


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes
    ----------
    name : str
        The unit is its suffix where it has one (``_s`` = seconds).
    dtype : str
        ``"float64"``, ``"int64"``, ``"int32"``, ``"bool"`` or ``"string"``.
    unit : str
        ``"s"``, ``"1"`` (counts, ratios) or empty.
    doc : str
    nullable : bool
        A value may be missing: empty in CSV, null in JSONL and Arrow, NaN or -1 in memory.
    record : str
        NumPy type of the field of the same name in the in-memory record array; empty = saved tables only.
    """

    name: str
    dtype: str
    unit: str
    doc: str
    nullable: bool = False
    record: str = ""


@dataclass(frozen=True)
class Schema:
    """A table's columns, in order.

    Attributes
    ----------
    name, doc : str
    columns : tuple of Column
    """

    name: str
    doc: str
    columns: tuple

    @property
    def names(self):
        """Column names."""
        return tuple(c.name for c in self.columns)

    @property
    def record(self):
        """NumPy dtype of the in-memory record array."""
        return np.dtype([(c.name, c.record) for c in self.columns if c.record])

    def without(self, *names):
        """The same schema with some columns left out."""
        return Schema(self.name, self.doc, tuple(c for c in self.columns if c.name not in names))

    def check_row(self, row):
        """Typed values of one row.

        Parameters
        ----------
        row : dict
            Column name -> value: text (CSV; empty = missing) or a typed value (None = missing).

        Returns
        -------
        dict
            Missing values are None.

        Raises
        ------
        ValueError
            Starting with ``column NAME:``.
        """
        return {c.name: _value(c, row[c.name]) for c in self.columns}

    def markdown(self):
        """The columns as a Markdown table."""
        lines = ["| column | type | unit | may be missing | meaning |", "|---|---|---|---|---|"]
        lines += [f"| `{c.name}` | {c.dtype} | {c.unit or '-'} | {'yes' if c.nullable else 'no'} | {c.doc} |"
                  for c in self.columns]
        return "\n".join(lines) + "\n"


def _value(column, value):
    if value is None or value == "":
        if not column.nullable:
            raise ValueError(f"column {column.name}: expected a value, got nothing")
        return None
    kind, given = column.dtype, value
    if kind == "bool":
        value = {"true": True, "false": False}.get(value, value)
        if not isinstance(value, (bool, np.bool_)):
            raise ValueError(f"column {column.name}: expected true or false, got {given!r}")
        return bool(value)
    if kind == "string":
        if not isinstance(value, str):
            raise ValueError(f"column {column.name}: expected a text, got {given!r}")
        return value
    try:
        if isinstance(value, (bool, np.bool_)):
            raise ValueError
        return float(value) if kind == "float64" else int(value)
    except (TypeError, ValueError):
        what = "a number" if kind == "float64" else "a whole number"
        raise ValueError(f"column {column.name}: expected {what}, got {given!r}") from None


_S = "s"
REQUESTS = Schema("requests", "One row per request of one simulated run, in arrival order.", (
    Column("run_id", "string", "", "name of the run"),
    Column("replication", "int64", "1", "number of the replication, from 1"),
    Column("request_id", "int64", "1", "position in arrival order, from 0", record="i8"),
    Column("model", "string", "", "architecture of the request's network (in memory: index of its trace)", record="i4"),
    Column("variant", "string", "", "sparsity pattern or precision of the network"),
    Column("sample", "int32", "1", "row of the trace that the request replays", record="i4"),
    Column("priority", "float64", "1", "larger is more urgent", record="f8"),
    Column("arrival_s", "float64", _S, "arrival", record="f8"),
    Column("first_start_s", "float64", _S, "when it was first chosen to run; missing if it never ran", True, "f8"),
    Column("finish_s", "float64", _S, "end: answer, failure, or when it was dropped", record="f8"),
    Column("deadline_s", "float64", _S, "absolute deadline; infinite = none (null in JSONL)", True, "f8"),
    Column("isolated_s", "float64", _S, "duration of the same request run alone", record="f8"),
    Column("service_s", "float64", _S, "time its layers held the accelerator", record="f8"),
    Column("wait_s", "float64", _S, "finish - arrival - service (time to switch requests included)"),
    Column("preempted_s", "float64", _S, "part of the wait after the first start; missing if it never ran", True),
    Column("n_preempt", "int32", "1", "times another request ran between two of its layers", record="i4"),
    Column("last_stage", "int32", "1", "last layer that ran, from 0 (the exit taken); missing if it never ran", True,
           "i4"),
    Column("n_layers", "int32", "1", "layers of the network", record="i4"),
    Column("status", "string", "", "answered, failed (ended without an answer) or dropped", record="u1"),
    Column("slo_met", "bool", "", "answered, and not after the deadline", record="?"),
))

SUMMARY = Schema("summary", "One row per metric and point (in replications.csv: and replication).", (
    Column("run_id", "string", "", "name of the run"),
    Column("paper", "string", "", "reproduced paper, or `run`", True),
    Column("item", "string", "", "figure, table or study", True),
    Column("scheduler", "string", "", "scheduler with parameters that differ from its defaults, or another row key",
           True),
    Column("workload", "string", "", "trace set and variant", True),
    Column("platform", "string", "", "accelerator", True),
    Column("rate_rps", "float64", "1/s", "arrival rate", True),
    Column("slo", "float64", "1", "SLO multiplier", True),
    Column("replication", "string", "", "number from 1, or `all`"),
    Column("metric", "string", "", "name, see the metrics"),
    Column("unit", "string", "", "unit of value and interval", True),
    Column("value", "float64", "", "mean over replications, or the replication's value"),
    Column("ci_low", "float64", "", "lower end of the confidence interval", True),
    Column("ci_high", "float64", "", "upper end", True),
    Column("ci_level", "float64", "1", "its level", True),
    Column("n", "int64", "1", "replications behind the value"),
    Column("method", "string", "", "how the interval was made", True),
    Column("published", "float64", "", "the printed number", True),
    Column("published_source", "string", "", "where it is printed", True),
    Column("verdict", "string", "", "verdict of the claim that judged the row", True),
    Column("rho", "float64", "1", "offered load", True),
    Column("group", "string", "", "`all`, or the class of requests", True),
    Column("semantics", "string", "", "`paper` or `artifact`", True),
    Column("origin", "string", "", "measured, modelled, synthetic, calibrated, derived or published", True),
))

LAYERS = Schema("layers", "One row per request and layer that ran (`res.timeline.frame()`), by end time.", (
    Column("accelerator", "string", "", "the one it ran on"),
    Column("request_id", "int64", "1", "position in arrival order, from 0"),
    Column("key", "string", "", "trace key or program"),
    Column("layer", "int32", "1", "layer or stage, from 0"),
    Column("batch", "int32", "1", "requests in the run"),
    Column("start_s", "float64", _S, "start"),
    Column("end_s", "float64", _S, "end"),
    Column("n_preempt", "int32", "1", "times the request had been preempted by then"),
))

CLAIMS = Schema("claims", "One row per claim of a reproduction.", (
    Column("id", "string", "", "key in claims.toml"),
    Column("kind", "string", "", "ordering, ratio_range, crossover, monotone, closed_form, exact or bound"),
    Column("verdict", "string", "", "what was found"),
    Column("expected", "string", "", "the verdict on record"),
    Column("title", "string", "", "statement"),
    Column("reason", "string", "", "the numbers behind the verdict", True),
    Column("because", "string", "", "why that verdict is on record", True),
))

TABLES = {s.name: s for s in (REQUESTS, LAYERS, SUMMARY, CLAIMS)}
"""Every schema by name."""


def markdown():
    """All schemas as Markdown, for the documentation."""
    return "\n".join(f"## {s.name}\n\n{s.doc}\n\n{s.markdown()}" for s in TABLES.values())
