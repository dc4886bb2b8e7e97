"""Golden tables: the numbers of a reproduction as they were accepted, and what has changed since.

``FOLDER/<paper>/<profile>.csv`` holds one row per number of ``summary.csv`` (the fields of its point, metric, value
and interval), ``<profile>.json`` the platform that made it. On that platform a number must be the same to the bit.
Elsewhere, where another mathematical library may round another way, it must agree to a relative 1e-9 or, if it is a
mean over replications, its interval must overlap. A golden table changes only together with a written reason, which
goes into ``FOLDER/CHANGES.md``.
"""

import csv
import datetime
import io
import json
import math
import platform
from pathlib import Path

from dnnsched import _arrays, schema
from dnnsched.errors import FormatError
from dnnsched.report import tables

RTOL = 1e-9
"""Relative difference allowed on another platform."""

KEY = ("item", "scheduler", "workload", "semantics", "group", "rate_rps", "rho", "slo", "metric")
"""Columns that name a number."""

COLUMNS = (*KEY, "value", "ci_low", "ci_high")
"""Columns of a golden table."""


def this_platform():
    """What decides the last bits of a number: machine, C library, compiler, best instruction set, NumPy.

    Returns
    -------
    dict of str
    """
    from dnnsched import config

    info = config.info()
    return {"machine": platform.machine(), "libc": " ".join(platform.libc_ver()), "compiler": info["compiler"],
            "isa": info["isa_runnable"][-1], "numpy": info["numpy"]}


def check_reason(reason):
    """The reason of an update without surrounding space; ValueError if there is none."""
    text = (reason or "").strip()
    if len(text) < 10:
        raise ValueError(f"reason: expected at least ten characters on why the golden table changes, got {reason!r}")
    return text


def compare(report, folder):
    """What differs between a report's numbers and the golden table.

    Parameters
    ----------
    report : dnnsched.report.Report
    folder : path-like
        Holds ``<paper>/<profile>.csv``.

    Returns
    -------
    list of str
        One line per number that is missing, new or different; empty if all agree.

    Raises
    ------
    FormatError
        No golden table of this paper and profile, or a damaged one; names file, row and column.
    """
    path = _path(report, folder)
    accepted, made_on = _read(path)
    found = _rows(report)
    exact = made_on == this_platform()
    lines = [f"missing: {_name(key)}" for key in accepted if key not in found]
    lines += [f"not in the golden table: {_name(key)}" for key in found if key not in accepted]
    for key, values in found.items():
        if key in accepted and not _agree(values, accepted[key], exact):
            lines.append(f"{_name(key)}: expected {accepted[key][0]!r}, got {values[0]!r}")
    return lines


def update(report, folder, reason):
    """Accept a report's numbers as the golden table, with a reason.

    Parameters
    ----------
    report : dnnsched.report.Report
    folder : path-like
        Existing folder of golden tables.
    reason : str
        Why the numbers change; one entry of ``FOLDER/CHANGES.md``.

    Returns
    -------
    pathlib.Path
        The table.

    Raises
    ------
    ValueError
        No reason.
    FormatError
        `folder` does not exist.
    """
    reason = check_reason(reason)
    path = _path(report, folder)
    found = _rows(report)
    before = _read(path)[0] if path.exists() else {}
    changed = sum(key in before and before[key] != values for key, values in found.items())
    path.parent.mkdir(exist_ok=True)
    text = io.StringIO(newline="")
    tables.write_csv_rows(text, COLUMNS, [(*key, *values) for key, values in found.items()])
    _replace(path, text.getvalue())
    _replace(path.with_suffix(".json"), json.dumps(this_platform(), indent=2) + "\n")
    note(folder, f"{report.paper}/{path.name}", reason,
         f"{changed} numbers changed, {len(found.keys() - before)} new, {len(before.keys() - found)} gone")
    return path


def note(folder, table, reason, what):
    """Add an entry to ``CHANGES.md``: the newest last."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    path = Path(folder) / "CHANGES.md"
    text = path.read_text(encoding="utf-8") if path.exists() else "# Why golden tables changed\n"
    reason = check_reason(reason).rstrip(".")
    _replace(path, f"{text}\n## {table}, {today}\n\n{reason}: {what}.\n")


def _replace(path, text):
    with _arrays.replace_file(path) as stream:
        stream.write(text.encode())


def _path(report, folder):
    if not Path(folder).is_dir():
        raise FormatError(f"{folder}: expected the folder of golden tables (tests/golden in the source tree)")
    return Path(folder) / report.paper / f"{report.profile}.csv"


def _rows(report):
    """Key -> (value, low, high) of every number of the summary."""
    names = schema.SUMMARY.names
    rows = tables.summary_rows(report.results, run_id=report.run_id, paper=report.paper, platforms=report.platform,
                               verdicts=report.verdict_of())
    found = {}
    for row in (dict(zip(names, values, strict=True)) for values in rows):
        found[tuple(_text(row[name]) for name in KEY)] = tuple(_number(row[name]) for name in COLUMNS[-3:])
    return found


def _text(value):
    return "" if value is None else str(value)


def _number(value):
    return math.nan if value in (None, "") else float(value)


def _read(path):
    """(rows, platform) of a golden table."""
    if not path.is_file():
        raise FormatError(f"{path}: no golden table; make it with  dnnsched reproduce ... --update-golden REASON")
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        if tuple(next(reader, ())) != COLUMNS:
            raise FormatError(f"{path}: row 1: expected the columns {', '.join(COLUMNS)}")
        rows = {}
        for number, row in enumerate(reader, start=2):
            try:
                if len(row) != len(COLUMNS):
                    raise ValueError
                rows[tuple(row[: len(KEY)])] = tuple(_number(v) for v in row[len(KEY):])
            except ValueError:
                raise FormatError(f"{path}: row {number}: expected {len(COLUMNS)} fields that end in three numbers, "
                                  f"got {','.join(row)!r}") from None
    made_on = path.with_suffix(".json")
    return rows, json.loads(made_on.read_text(encoding="utf-8")) if made_on.is_file() else {}


def _name(key):
    return " ".join(f"{k}={v}" for k, v in zip(KEY, key, strict=True) if v)


def _agree(found, accepted, exact):
    if all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(found, accepted, strict=True)):
        return True
    if exact:
        return False
    if math.isclose(found[0], accepted[0], rel_tol=RTOL):
        return True
    return found[1] <= accepted[2] and accepted[1] <= found[2]
