"""CSV files through the native reader and writer."""

import math
from pathlib import Path

from dnnsched._arrays import replace_file
from dnnsched._native import _base
from dnnsched.errors import FormatError

_KIND = {"float": 0, "int": 1, "time": 2, "choice": 3}


def column(name, kind="float", low=-math.inf, high=math.inf, *, optional=False, open_low=False, infinity=False,
           choices=None):
    """What :func:`read_columns` shall read: a name, a kind (float, int, time, choice) and the accepted range."""
    return (name, _KIND[kind], optional, float(low), float(high), open_low, infinity,
            None if choices is None else tuple(choices))


def read_bytes(path):
    """Content of a file; FileNotFoundError or FormatError naming it."""
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise FormatError(f"{path}: expected a file, got a folder") from None


def read_columns(path, columns, text=None):
    """([array or None per column], line of each row) of a CSV file.

    Raises
    ------
    FormatError
        Naming file, line and column; also when there is no row.
    """
    text = read_bytes(path) if text is None else text
    try:
        arrays, lines = _base.csv_read(text, tuple(columns))
    except FormatError as exc:
        raise FormatError(f"{path}: {exc}") from None
    if len(lines) == 0:
        raise FormatError(f"{path}: expected at least one row after the header")
    return arrays, lines


def header_names(path):
    """Names in the header line of a CSV file (unquoted, trimmed)."""
    first = read_bytes(path).removeprefix(b"\xef\xbb\xbf").split(b"\n", 1)[0]
    return [name.strip().strip('"') for name in first.decode("utf-8", "replace").rstrip("\r").split(",")]


def write_columns(path, header, columns):
    """Write a CSV file (LF, floats that read back exactly); it appears under its name only when complete."""
    text = _base.csv_write(tuple(header), tuple(columns))
    with replace_file(path) as stream:
        stream.write(text)
