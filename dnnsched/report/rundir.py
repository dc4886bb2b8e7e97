"""Run directories: written whole or not at all, and checked by their schema."""

import contextlib
import csv
import gzip
import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from dnnsched._csvio import write_columns
from dnnsched.errors import FormatError
from dnnsched.report import tables

SCHEMA = 1
"""Version of the run directory's layout, stored in ``run.json``."""

REQUEST_COLUMNS = ("run_id", "replication", "request_id", "model", "variant", "priority", "arrival_s", "first_start_s",
                   "finish_s", "deadline_s", "isolated_s", "service_s", "wait_s", "n_preempt", "n_layers", "sample",
                   "slo_met")
"""Columns of ``requests.csv``: one row per request of one named run."""


@contextlib.contextmanager
def writing(path, *, force=False):
    """A temporary sibling folder that becomes `path` when the block ends without an error.

    Parameters
    ----------
    path : path-like
        The run directory to create.
    force : bool
        Replace an existing one (only after the new one is complete).

    Yields
    ------
    pathlib.Path
        Folder to write into.

    Raises
    ------
    FileExistsError
        If `path` exists and `force` is false; the message names ``--force``.
    """
    target = Path(path)
    refuse_existing(target, force)
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        folder.chmod(0o777 & ~_umask())
        yield folder
        if target.exists() or target.is_symlink():
            if target.is_symlink() or not target.is_dir():
                target.unlink()
            else:
                old = Path(tempfile.mkdtemp(prefix=f".{target.name}-old-", dir=target.parent))
                os.replace(target, old / "run")
                shutil.rmtree(old)
        os.replace(folder, target)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def refuse_existing(path, force):
    """Raise FileExistsError, naming ``--force``, if `path` exists and `force` is false.

    Even with `force` only a folder that looks like a run directory, or an empty one, is replaced.
    """
    target = Path(path)
    if not (target.exists() or target.is_symlink()):
        return
    if not force:
        raise FileExistsError(f"{target}: already exists; choose another output directory or replace it with --force")
    if not target.is_dir() or (any(target.iterdir()) and not (target / "run.json").is_file()):
        raise FileExistsError(f"{target}: exists and is not a run directory (no run.json); --force does not replace it")


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_json(path, record):
    """JSON for people and programs: sorted keys, indented, LF, UTF-8."""
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        json.dump(record, file, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        file.write("\n")


def write_requests(path, result, workload, *, run_id, replication):
    """Write ``requests.csv`` of one simulated run, columns `REQUEST_COLUMNS`.

    Parameters
    ----------
    path : path-like
    result : Result
        With per-request records.
    workload : Workload
        The one that was run (names of models and variants).
    run_id : str
    replication : int

    Notes
    -----
    ``wait_s`` is turnaround minus service; differences below rounding are 0.
    """
    r = result.requests
    traces = list(workload.traces.values())
    same = np.zeros(len(r), np.int32)
    wait = r["finish_s"] - r["arrival_s"] - r["service_s"]
    wait[np.abs(wait) <= 1e-12 * r["finish_s"]] = 0.0
    special = {
        "run_id": (same, (run_id,)), "replication": np.full(len(r), replication, np.int64),
        "model": (r["model"], tuple(t.model for t in traces)),
        "variant": (r["model"], tuple(t.pattern for t in traces)),
        "wait_s": wait, "slo_met": (r["slo_met"].astype(np.int32), ("false", "true"))}
    columns = [special[name] if name in special else r[name] for name in REQUEST_COLUMNS]
    write_columns(path, REQUEST_COLUMNS,
                  [(np.ascontiguousarray(c[0]), c[1]) if isinstance(c, tuple) else np.ascontiguousarray(c)
                   for c in columns])


def validate(path):
    """Check a run directory against the schema.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    dict
        ``files``, ``summary_rows``, ``request_rows``, ``claims`` (verdict -> count) and
        ``unexpected`` (ids of claims whose verdict differs from the recorded one).

    Raises
    ------
    FormatError
        Naming file, row and column of the first defect.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise FormatError(f"{folder}: expected a run directory")
    record = _read_json(folder / "run.json")
    if record.get("schema") != SCHEMA:
        raise FormatError(f"{folder / 'run.json'}: schema: expected {SCHEMA}, got {record.get('schema')!r}")
    for key in ("run_id", "paper", "profile", "config", "provenance", "claims"):
        if key not in record:
            raise FormatError(f"{folder / 'run.json'}: expected the key {key!r}")
    for key in ("dnnsched", "python", "numpy", "cpu", "config_sha256", "started_utc"):
        if key not in record["provenance"]:
            raise FormatError(f"{folder / 'run.json'}: provenance: expected the key {key!r}")
    summary = _check_csv(folder / "summary.csv", tables.SUMMARY_COLUMNS, required=("run_id", "metric", "value"))
    requests = 0
    if (folder / "requests.csv").exists():
        requests = _check_csv(folder / "requests.csv", REQUEST_COLUMNS, required=("request_id", "finish_s"),
                              check=_check_request)
    if (folder / "trace.json.gz").exists():
        _check_timeline(folder / "trace.json.gz")
    verdicts = {}
    for claim in record["claims"]:
        verdicts[claim["verdict"]] = verdicts.get(claim["verdict"], 0) + 1
    unexpected = [c["id"] for c in record["claims"] if c["verdict"] != c["expected"]]
    return {"files": sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()),
            "summary_rows": summary, "request_rows": requests, "claims": verdicts, "unexpected": unexpected}


def _read_json(path):
    try:
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
    except FileNotFoundError:
        raise FormatError(f"{path}: expected this file in a run directory") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise FormatError(f"{path}: not JSON: {error}") from None
    if not isinstance(record, dict):
        raise FormatError(f"{path}: expected a JSON object, got {type(record).__name__}")
    return record


_TEXT = frozenset({"run_id", "paper", "item", "scheduler", "workload", "platform", "replication", "metric", "unit",
                   "method", "published_source", "verdict", "group", "semantics", "origin", "model", "variant",
                   "slo_met"})


def _check_csv(path, columns, required, check=None):
    if not path.is_file():
        raise FormatError(f"{path}: expected this file in a run directory")
    count = 0
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        if tuple(next(reader, ())) != tuple(columns):
            raise FormatError(f"{path}: row 1: expected the columns {', '.join(columns)}")
        for number, row in enumerate(reader, start=2):
            if len(row) != len(columns):
                raise FormatError(f"{path}: row {number}: expected {len(columns)} fields, got {len(row)}")
            record = dict(zip(columns, row, strict=True))
            for name, text in record.items():
                if not text and name in required:
                    raise FormatError(f"{path}: row {number}, column {name}: expected a value, got nothing")
                if text and name not in _TEXT:
                    try:
                        record[name] = float(text)
                    except ValueError:
                        raise FormatError(f"{path}: row {number}, column {name}: expected a number, "
                                          f"got {text!r}") from None
            if check is not None:
                check(path, number, record)
            count += 1
    if not count:
        raise FormatError(f"{path}: expected at least one row")
    return count


def _check_request(path, number, record):
    if record["finish_s"] < record["first_start_s"]:
        raise FormatError(f"{path}: row {number}, column finish_s: expected at least first_start_s = "
                          f"{record['first_start_s']!r}, got {record['finish_s']!r}")
    met = record["finish_s"] <= record["deadline_s"]
    if record["slo_met"] != ("true" if met else "false"):
        raise FormatError(f"{path}: row {number}, column slo_met: expected {'true' if met else 'false'}, "
                          f"got {record['slo_met']!r}")


def _check_timeline(path):
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            data = json.load(file)
    except (OSError, EOFError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise FormatError(f"{path}: not a gzipped JSON timeline: {error}") from None
    if not isinstance(data, dict) or not isinstance(data.get("traceEvents"), list):
        raise FormatError(f"{path}: expected an object with a list traceEvents")
