"""Tidy summary rows, CSV with floats that read back exactly, and plain-text tables."""

import csv
import math
from dataclasses import dataclass, field

from dnnsched import schema

SUMMARY_COLUMNS = schema.SUMMARY.names
"""Columns of ``summary.csv`` and ``replications.csv``."""


def format_value(value):
    """Text of one CSV field: floats by ``repr``, missing values empty, booleans as true / false."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(float(value))
    return str(value)


def write_csv(path, columns, rows):
    """Write rows as CSV: UTF-8, LF, header, ``repr`` floats.

    Parameters
    ----------
    path : path-like
    columns : sequence of str
    rows : iterable of sequences
        Each as long as `columns`.
    """
    with open(path, "w", newline="", encoding="utf-8") as file:
        write_csv_rows(file, columns, rows)


def write_csv_rows(file, columns, rows):
    """As :func:`write_csv`, into an open text file."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"rows: expected {len(columns)} fields, got {len(row)}: {row!r}")
        writer.writerow([format_value(v) for v in row])


def summary_rows(results, *, run_id, paper, platforms, verdicts):
    """One row per series: mean, interval, the published number beside it and the verdict on it.

    Parameters
    ----------
    results : Results
    run_id, paper : str
    platforms : callable
        Workload name -> platform label.
    verdicts : mapping
        (point, metric) -> verdict, for series that a claim judged.

    Yields
    ------
    tuple
        In the order of `SUMMARY_COLUMNS`.
    """
    for series in results:
        interval = series.interval()
        point, cell = series.point, series.published
        yield (run_id, paper, point.item, point.scheduler, point.workload, platforms(point.workload), point.rate,
               point.slo, "all", series.metric, series.unit, interval.value, interval.low, interval.high,
               interval.level if interval.n > 1 else None, interval.n, series.method,
               None if cell is None else cell.value, None if cell is None else cell.source,
               verdicts.get((point, series.metric)), point.rho, point.group, point.semantics, series.origin)


def replication_rows(results, *, run_id, paper, platforms):
    """One row per series and replication, in the same columns as the summary."""
    for series in results:
        point = series.point
        for r, value in enumerate(series.values, start=1):
            yield (run_id, paper, point.item, point.scheduler, point.workload, platforms(point.workload), point.rate,
                   point.slo, r, series.metric, series.unit, float(value), None, None, None, 1, series.method, None,
                   None, None, point.rho, point.group, point.semantics, series.origin)


@dataclass
class Table:
    """A table for people: strings in cells, printed as aligned text or Markdown.

    Attributes
    ----------
    name : str
        Short key (``"table5"``).
    title : str
    columns : list of str
    rows : list of list of str
    note : str
        Printed below the table.
    brief : bool
        Belongs to the short form that the command line prints.
    """

    name: str
    title: str
    columns: list
    rows: list = field(default_factory=list)
    note: str = ""
    brief: bool = True

    def text(self):
        """Aligned plain text; numbers to the right."""
        grid = [[str(c) for c in self.columns], *[[str(c) for c in row] for row in self.rows]]
        widths = [max(len(row[i]) for row in grid) for i in range(len(self.columns))]
        right = [all(_is_number(row[i]) for row in grid[1:]) and i > 0 for i in range(len(self.columns))]
        lines = [self.title]
        for number, row in enumerate(grid):
            cells = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)]
            lines.append("  ".join(cells).rstrip())
            if number == 0:
                lines.append("  ".join("-" * w for w in widths))
        if self.note:
            lines.append(self.note)
        return "\n".join(lines)

    def markdown(self, level=3):
        """GitHub-flavoured Markdown with a heading of the given level."""
        lines = ["#" * level + " " + self.title, ""]
        lines.append("| " + " | ".join(_escape(c) for c in self.columns) + " |")
        lines.append("|" + "|".join("---" if i == 0 else "---:" for i in range(len(self.columns))) + "|")
        lines.extend("| " + " | ".join(_escape(c) for c in row) + " |" for row in self.rows)
        if self.note:
            lines += ["", self.note]
        return "\n".join(lines) + "\n"


def _escape(cell):
    return str(cell).replace("|", "\\|").replace("\n", " ")


def _is_number(text):
    return not text or text.lstrip("+-<>= ")[:1].isdigit() or text in ("-", "inf", "nan")


def number(value, digits=3):
    """A float for people: `digits` significant digits, no exponent in the usual range."""
    if value is None or math.isnan(value):
        return "-"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e5 or size < 1e-4:
        return f"{value:.{digits - 1}e}"
    decimals = max(digits - 1 - math.floor(math.log10(size) + 1e-12), 0)
    return f"{value:.{decimals}f}"


def with_interval(interval, digits=3):
    """``4.37 [4.10, 4.64]``; the estimate alone when there is no interval."""
    if math.isnan(interval.low):
        return number(interval.value, digits)
    if interval.low == interval.high:
        return number(interval.value, digits)
    return f"{number(interval.value, digits)} [{number(interval.low, digits)}, {number(interval.high, digits)}]"
