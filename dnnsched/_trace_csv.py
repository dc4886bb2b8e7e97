"""Trace sets as CSV: the public Sparse-DySta schemas, and the package's own folders.

Public files have one row per (input, layer): ``batch-indx``, ``layer-indx`` and
``overall-sparsity``. Eyeriss-V2 files add ``sim_lat`` in seconds and hold the fraction
of zeros; Sanger files add ``50%-skip``, the load balance, and their ``overall-sparsity``
is the *density*, from which the latency follows.
"""

import json
import os
import re
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np

from dnnsched._arrays import as_float64, check_choice, check_elements, check_int
from dnnsched._csvio import column, header_names, read_bytes, read_columns, write_columns
from dnnsched._native import _accel
from dnnsched.errors import FormatError

ACCELERATORS = ("sanger", "eyeriss_v2")
_INDEX = "index.json"
_MARK = {"sanger": "50%-skip", "eyeriss_v2": "sim_lat"}


def _sanger_seconds(density, load_balance, seq_len):
    """Seconds of attention layers by Sanger's public cost model, in the order of its operations."""
    from dnnsched.accel import Sanger  # accelerators stand on traces

    flat = [np.ascontiguousarray(a).reshape(-1) for a in (density, load_balance)]
    tokens, seconds = np.full(density.size, seq_len, np.int64), np.empty(density.size)
    device = Sanger(compat="artifact")
    _accel.sanger_latency(device._compat, device.version, device.width, device.pes, *flat, tokens, seconds)
    return seconds.reshape(density.shape)


def _schema(path, accelerator):
    names = header_names(path)
    found = [name for name in ACCELERATORS if _MARK[name] in names]
    if accelerator is not None:
        return check_choice(accelerator, "accelerator", ACCELERATORS)
    if len(found) != 1:
        got = "both" if found else "neither"
        raise FormatError(f"{path}: line 1: expected a column '50%-skip' (Sanger) or 'sim_lat' (Eyeriss-V2), "
                          f"got {got}" + ("; say accelerator=" if found else ""))
    return found[0]


def _grid(path, lines, outer, inner, outer_name, inner_name):
    """(rows, columns, flat position of each line) of a complete (outer, inner) table, else FormatError."""
    ids, row = np.unique(outer, return_inverse=True)
    width = int(inner.max()) + 1
    code = row.astype(np.int64) * width + inner if width < 2**31 else inner
    order = np.argsort(code, kind="stable")
    again = np.flatnonzero(np.diff(code[order]) == 0)
    if len(again) and width < 2**31:
        at = again[np.argmin(order[again + 1])]
        first, second = order[at], order[at + 1]
        raise FormatError(f"{path}: line {lines[second]}: duplicate row for {outer_name} {outer[second]}, {inner_name} "
                          f"{inner[second]} (first on line {lines[first]})")
    if len(code) != len(ids) * width:
        counts = np.bincount(row, minlength=len(ids))
        short = int(np.argmax(counts < width))
        missing = np.setdiff1d(np.arange(min(width, counts[short] + 1)), inner[row == short])[0]
        raise FormatError(f"{path}: {outer_name} {ids[short]} has no row for {inner_name} {missing}: expected "
                          f"{width} layers for every {outer_name}, got {counts[short]}")
    return ids, width, code


def read_dysta_csv(path, accelerator=None, seq_len=512, *, model=None, pattern=None):
    """Read one file of the public Sparse-DySta artifact.

    Columns may come in any order among others that are ignored. Sanger files hold densities; the trace holds the
    fraction of zeros, 1 - density.

    Parameters
    ----------
    path : str or path
    accelerator : {"sanger", "eyeriss_v2"}, optional
        Default: by the columns, ``50%-skip`` or ``sim_lat``.
    seq_len : int
        Sequence length of Sanger's latency formula; the artifact uses 512 for all files.
    model, pattern : str, optional
        Default for Eyeriss-V2: the file's name before and after its first ``"_"``; for Sanger the whole name and
        ``"attention"``, so that every file is a model of its own as in the artifact.

    Returns
    -------
    Trace
        Samples in ascending ``batch-indx``.

    Warns
    -----
    UserWarning
        A Sanger row whose density exceeds its load balance by more than 2 %.

    Raises
    ------
    FormatError
        Naming file, line and column: missing columns, bad numbers, sparsity outside [0, 1], latency <= 0, a
        duplicate or missing (batch, layer).
    """
    from dnnsched.traces import Trace
    path = Path(path)
    accelerator = _schema(path, accelerator)
    seq_len = check_int(seq_len, "seq_len", 1)
    sanger = accelerator == "sanger"
    value = column("50%-skip", low=0, high=1) if sanger else column("sim_lat", low=0, open_low=True)
    arrays, lines = read_columns(path, (column("batch-indx", "int", 0), column("layer-indx", "int", 0),
                                        column("overall-sparsity", low=0, high=1), value))
    batch, layer, sparsity, value = arrays
    if sanger:
        bad = (value == 0) & (sparsity > 0)
        if bad.any():
            row = int(np.argmax(bad))
            raise FormatError(f"{path}: line {lines[row]}, column '50%-skip': expected a load balance > 0 where "
                              f"'overall-sparsity' is {float(sparsity[row])!r}, got 0")
        wide = sparsity > 1.02 * value
        if wide.any():
            row = int(np.argmax(wide))
            warnings.warn(f"{path}: line {lines[row]}: density {sparsity[row]:g} exceeds load balance {value[row]:g}: "
                          "the two do not belong to one mask", stacklevel=2)
    ids, width, code = _grid(path, lines, batch, layer, "batch", "layer")
    latency, zeros = np.empty(len(code)), np.empty(len(code))
    latency[code] = _sanger_seconds(sparsity, value, seq_len) if sanger else value
    zeros[code] = 1 - sparsity if sanger else sparsity
    meta = {"file": path.name, "accelerator": accelerator}
    if sanger:
        meta["seq_len"] = seq_len
    if not np.array_equal(ids, np.arange(len(ids))):
        meta["batches"] = ids.tolist()
    name, _, rest = path.stem.partition("_")
    return Trace(latency.reshape(-1, width), zeros.reshape(-1, width),
                 model if model is not None else (path.stem if sanger else name),
                 pattern if pattern is not None else ("attention" if sanger else rest or "dense"), "modelled", meta)


def write_dysta_csv(path, trace, accelerator="eyeriss_v2", *, load_balance=None, seq_len=512):
    """Write a trace in the public artifact's schema; :func:`read_dysta_csv` gives its latencies back.

    Parameters
    ----------
    path : str or path
    trace : Trace
        With sparsity.
    accelerator : {"eyeriss_v2", "sanger"}
        Eyeriss-V2 files hold the latency itself and come back exactly. Sanger files hold the load balance.
    load_balance : array_like, shape (samples, layers), optional
        For Sanger, in (0, 1]; default: solved from the latency (which comes back to rounding), possible only if the
        latency is one that the formula can give.
    seq_len : int
        For Sanger.

    Raises
    ------
    ValueError
        No sparsity, or a latency that Sanger's formula does not give, with sample and layer.
    """
    from dnnsched.traces import Trace
    check_choice(accelerator, "accelerator", ACCELERATORS)
    if not isinstance(trace, Trace):
        raise TypeError(f"trace: expected a Trace, got {type(trace).__name__}")
    if trace.sparsity is None:
        raise ValueError("trace: expected one with sparsity, which the schema needs")
    samples, layers = trace.latency.shape
    batch, layer = np.divmod(np.arange(samples * layers), layers)
    if accelerator == "eyeriss_v2":
        if load_balance is not None:
            raise ValueError("load_balance: expected None for eyeriss_v2")
        first, mark = trace.sparsity, trace.latency
    else:
        first = 1 - trace.sparsity
        mark = _load_balance(trace.latency, first, load_balance, check_int(seq_len, "seq_len", 1))
    write_columns(path, ("overall-sparsity", _MARK[accelerator], "batch-indx", "layer-indx"),
                  (first.ravel(), np.ascontiguousarray(mark).ravel(), batch, layer))


def _load_balance(latency, density, given, seq_len):
    if given is None:
        fixed, slope = 6 * seq_len * 768**2 / 2048e9, 2 * seq_len * 768**2 / 2048e9
        linear, square = slope + seq_len**2 / 1024e9 * 896, seq_len**3 / 256e9
        rest = np.maximum(latency - fixed, 0.0)
        share = 2 * rest / (linear + np.sqrt(linear**2 + 4 * square * rest))
        with np.errstate(divide="ignore", invalid="ignore"):
            given = np.where(density == 0, 0.0, np.minimum(density / share, 1.0))
    else:
        given = as_float64(given, "load_balance", 2)
        if given.shape != latency.shape:
            raise ValueError(f"load_balance: expected the shape of latency {latency.shape}, got {given.shape}")
        check_elements(given, "load_balance", ~((given > 0) & (given <= 1)) & (density > 0), "a value in (0, 1]",
                       ("sample", "layer"))
    again = _sanger_seconds(density, given, seq_len)
    check_elements(latency, "latency", ~(np.abs(again - latency) <= 1e-9 * latency),
                   f"what Sanger's formula gives for some load balance in (0, 1] at seq_len {seq_len}",
                   ("sample", "layer"))
    return given


def read_dysta_folder(folder, order=None, accelerator=None, seq_len=512):
    """Read a folder of public CSV files as a trace set.

    Parameters
    ----------
    folder : str or path
        Every ``*.csv`` in it is one trace; its key is the file's name without the suffix.
    order : sequence of str, optional
        Keys in the order wanted (the artifact's index follows the order of its file list); names left out are not
        read. Default: all, sorted by name.
    accelerator, seq_len
        As for :func:`read_dysta_csv`.

    Returns
    -------
    TraceSet

    Raises
    ------
    FormatError, ValueError
        Naming the file; also when patterns of one architecture have different numbers of layers.
    """
    from dnnsched.traces import TraceSet
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    files = {path.stem: path for path in sorted(folder.glob("*.csv"))}
    if not files:
        raise FormatError(f"{folder}: expected files NAME.csv, got none")
    keys = [*files] if order is None else [str(name).removesuffix(".csv") for name in order]
    unknown = [key for key in keys if key not in files]
    if unknown:
        raise ValueError(f"order: expected names among {', '.join(files)}, got {unknown[0]!r}")
    pairs = [(key, read_dysta_csv(files[key], accelerator, seq_len)) for key in keys]
    try:
        return TraceSet(pairs, meta={"order": keys})
    except ValueError as exc:
        raise FormatError(f"{folder}: {exc}") from None


def save_folder(ts, folder, header):
    """Write `ts` as a new folder: index.json and one CSV per trace; nothing is left behind on failure."""
    folder = Path(folder)
    if folder.exists():
        raise FileExistsError(f"{folder}: already exists")
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for i, (entry, trace) in enumerate(zip(header["traces"], ts.values(), strict=True)):
            entry["file"] = f"{i:03d}-{re.sub(r'[^A-Za-z0-9.]+', '-', entry['key'])}.csv"
            sample, layer = np.divmod(np.arange(trace.latency.size), trace.n_layers)
            names, columns = ["sample", "layer", "latency_s"], [sample, layer, trace.latency.ravel()]
            if trace.sparsity is not None:
                names.append("sparsity")
                columns.append(trace.sparsity.ravel())
            write_columns(temporary / entry["file"], names, columns)
        (temporary / _INDEX).write_text(json.dumps(header, ensure_ascii=False, indent=1) + "\n", "utf-8")
        temporary.chmod(0o755)
        os.rename(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def load_folder(folder):
    """(index.json text, entry -> (latency, sparsity)) of a folder that :func:`save_folder` wrote, or None."""
    folder = Path(folder)
    if not (folder / _INDEX).exists():
        return None

    def arrays_of(entry):
        name = entry["file"]
        if not isinstance(name, str) or Path(name).name != name:
            raise FormatError(f"{folder / _INDEX}: file: expected a plain file name, got {name!r}")
        path = folder / name
        columns = [column("sample", "int", 0), column("layer", "int", 0), column("latency_s", low=0, open_low=True)]
        if entry["sparsity"]:
            columns.append(column("sparsity", low=0, high=1))
        (sample, layer, *values), lines = read_columns(path, columns)
        ids, width, code = _grid(path, lines, sample, layer, "sample", "layer")
        if ids[-1] != len(ids) - 1:
            raise FormatError(f"{path}: column 'sample': expected 0 to {len(ids) - 1}, got {ids[-1]}")
        tables = []
        for value in values:
            table = np.empty(len(code))
            table[code] = value
            tables.append(table.reshape(-1, width))
        return tables[0], tables[1] if len(tables) > 1 else None
    return read_bytes(folder / _INDEX), arrays_of
