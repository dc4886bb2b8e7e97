"""Run directories: written whole or not at all, and checked by their schema."""

import contextlib
import csv
import gzip
import html
import json
import os
import shutil
import tempfile
from pathlib import Path

from dnnsched import _store, schema
from dnnsched.errors import FormatError


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
    known = (target / "run.json", target / "store" / "sweep.json", target / "kernels.json")
    if not target.is_dir() or (any(target.iterdir()) and not any(path.is_file() for path in known)):
        raise FileExistsError(f"{target}: exists and is not a run directory (no run.json); --force does not replace it")


def remove(path):
    """Remove a run directory, if it exists and looks like one (see :func:`refuse_existing`)."""
    refuse_existing(path, force=True)
    if Path(path).exists():
        shutil.rmtree(path)


def add_report(report, folder):
    """Put a report's files into a folder that holds a sweep's store.

    Parameters
    ----------
    report : document.Report
    folder : path-like

    Returns
    -------
    pathlib.Path
        `folder`.

    Notes
    -----
    ``run.json`` is taken away first and put back last: while it is missing the directory is not complete.
    """
    folder = Path(folder)
    with tempfile.TemporaryDirectory(prefix=".report-", dir=folder) as temporary:
        made = Path(report.save(Path(temporary) / "run"))
        (folder / "run.json").unlink(missing_ok=True)
        for path in sorted(made.iterdir(), key=lambda p: (p.name == "run.json", p.name)):
            target = folder / path.name
            if target.is_dir():
                shutil.rmtree(target)
            os.replace(path, target)
    return folder


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_json(path, record):
    """JSON for people and programs: sorted keys, indented, LF, UTF-8."""
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        json.dump(record, file, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        file.write("\n")


def validate(path):
    """Check a run directory against the schema.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    dict
        ``files``, ``summary_rows``, ``request_rows``, ``claims`` (verdict -> count), ``unexpected`` (ids of
        claims whose verdict differs from the recorded one) and ``store`` (of a sweep: numbers of committed
        ``replications`` and ``points``; else None).

    Raises
    ------
    FormatError
        Naming file, row and column of the first defect.
    """
    folder = Path(path)
    held = None
    if (folder / "store").is_dir():
        held = _store.summary(folder)
        if not (folder / "run.json").exists():
            raise FormatError(f"{folder}: an unfinished sweep: {held['replications']} replications of {held['points']} "
                              "points are in its store; go on with  dnnsched sweep --resume")
    record = read_record(folder)
    summary = _check_rows(folder / "summary.csv", schema.SUMMARY)
    if (folder / "replications.csv").exists():
        _check_rows(folder / "replications.csv", schema.SUMMARY)
    requests = sum(_check_rows(path, schema.REQUESTS, _check_request)
                   for path in sorted([*folder.glob("requests*"), *folder.glob("requests/*")])
                   if path.suffix in _ROWS)
    if (folder / "trace.json.gz").exists():
        _check_timeline(folder / "trace.json.gz")
    if (folder / "report.html").exists():
        _check_page(folder / "report.html", record["run_id"])
    verdicts = {}
    for claim in record["claims"]:
        verdicts[claim["verdict"]] = verdicts.get(claim["verdict"], 0) + 1
    unexpected = [c["id"] for c in record["claims"] if c["verdict"] != c["expected"]]
    return {"files": sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()),
            "summary_rows": summary, "request_rows": requests, "claims": verdicts, "unexpected": unexpected,
            "store": held}


def read_record(path):
    """The checked content of a run directory's ``run.json``.

    Parameters
    ----------
    path : path-like
        The run directory.

    Returns
    -------
    dict

    Raises
    ------
    FormatError
        If it is no run directory, or of another layout version, or a key is missing.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise FormatError(f"{folder}: expected a run directory")
    record = _read_json(folder / "run.json")
    if record.get("schema") != schema.VERSION:
        raise FormatError(f"{folder / 'run.json'}: schema: expected {schema.VERSION}, got {record.get('schema')!r}")
    for key in ("run_id", "paper", "profile", "config", "provenance", "claims"):
        if key not in record:
            raise FormatError(f"{folder / 'run.json'}: expected the key {key!r}")
    for key in ("dnnsched", "python", "numpy", "cpu", "config_sha256", "started_utc"):
        if key not in record["provenance"]:
            raise FormatError(f"{folder / 'run.json'}: provenance: expected the key {key!r}")
    return record


def read_rows(path, table, check=None):
    """Typed rows of a table file, checked against its schema.

    Parameters
    ----------
    path : path-like
    table : schema.Schema
    check : callable, optional
        ``check(row)`` raises ValueError, beginning with ``column NAME:``, if the row contradicts itself.

    Yields
    ------
    dict
        Missing values are None.

    Raises
    ------
    FormatError
        Naming file, row and column.
    """
    path = Path(path)
    if not path.is_file():
        raise FormatError(f"{path}: expected this file in a run directory")
    for number, row in _ROWS[path.suffix](path, table):
        try:
            row = table.check_row(row)
            if check is not None:
                check(row)
        except ValueError as error:
            raise FormatError(f"{path}: row {number}, {error}") from None
        yield row


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


def _check_rows(path, table, check=None):
    """Number of rows of a table file that follows a schema."""
    count = sum(1 for _ in read_rows(path, table, check))
    if not count:
        raise FormatError(f"{path}: expected at least one row")
    return count


def _check_names(path, row, names, table):
    if tuple(names) != table.names:
        raise FormatError(f"{path}: row {row}: expected the columns {', '.join(table.names)}")


def _csv_rows(path, table):
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        _check_names(path, 1, next(reader, ()), table)
        for number, row in enumerate(reader, start=2):
            if len(row) != len(table.names):
                raise FormatError(f"{path}: row {number}: expected {len(table.names)} fields, got {len(row)}")
            yield number, dict(zip(table.names, row, strict=True))


def _jsonl_rows(path, table):
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise FormatError(f"{path}: row {number}: not JSON: {error}") from None
            _check_names(path, number, row if isinstance(row, dict) else (), table)
            yield number, row


def _parquet_rows(path, table):
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise ImportError(f"{path}: checking Parquet needs pyarrow: pip install 'dnnsched[io]'") from None
    try:
        with parquet.ParquetFile(path) as file:
            _check_names(path, 0, file.schema_arrow.names, table)
            start = 0
            for batch in file.iter_batches():
                yield from enumerate(batch.to_pylist(), start=start)
                start += batch.num_rows
    except pa.ArrowException as error:
        raise FormatError(f"{path}: not Parquet: {error}") from None


_ROWS = {".csv": _csv_rows, ".jsonl": _jsonl_rows, ".parquet": _parquet_rows}


def _check_request(row):
    start, finish, deadline = row["first_start_s"], row["finish_s"], row["deadline_s"]
    if start is not None and finish < start:
        raise ValueError(f"column finish_s: expected at least first_start_s = {start!r}, got {finish!r}")
    if row["status"] not in schema.STATUS:
        raise ValueError(f"column status: expected one of {', '.join(schema.STATUS)}, got {row['status']!r}")
    met = row["status"] == "answered" and (deadline is None or finish <= deadline)
    if row["slo_met"] != met:
        raise ValueError(f"column slo_met: expected {str(met).lower()}, got {str(row['slo_met']).lower()}")


def _check_timeline(path):
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            data = json.load(file)
    except (OSError, EOFError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise FormatError(f"{path}: not a gzipped JSON timeline: {error}") from None
    if not isinstance(data, dict) or not isinstance(data.get("traceEvents"), list):
        raise FormatError(f"{path}: expected an object with a list traceEvents")


def _check_page(path, run_id):
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: not an HTML page in UTF-8: {error}") from None
    for part, what in (("<!DOCTYPE html>", "an HTML page"), ("Content-Security-Policy", "a security policy"),
                       (html.escape(run_id), f"the page of run {run_id}"), ("</html>", "a whole page")):
        if part not in text:
            raise FormatError(f"{path}: expected {what}, found no {part!r}")
