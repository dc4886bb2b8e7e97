"""Tables of named, typed columns that other libraries can take: CSV, JSONL, Parquet, pandas, Arrow.

A :class:`Frame` holds whole columns and the :class:`dnnsched.schema.Schema` they follow. ``Result.frame()`` makes one
of the requests.
"""

import json
import sys

import numpy as np

from . import schema as _schema
from ._arrays import check_choice, replace_file
from ._csvio import write_columns
from ._native import _base

FORMATS = ("csv", "jsonl", "parquet")
"""File formats of saved requests; ``"parquet"`` needs pyarrow (extra ``io``)."""


def check_format(format):
    """Raise if a table cannot be written in this format: ValueError, or ImportError that names the extra."""
    if check_choice(format, "format", FORMATS) == "parquet":
        _pyarrow()


def _pyarrow():
    try:
        import pyarrow
    except ImportError:
        raise ImportError("Arrow tables and Parquet need pyarrow: pip install 'dnnsched[io]'") from None
    return pyarrow


class Frame:
    """Columns of equal length that follow a schema.

    Parameters
    ----------
    schema : Schema
    columns : dict
        Column name -> array, exactly the schema's names. Strings are pairs (codes, texts): an integer array of
        positions in a tuple of str, -1 = missing; a single str stands for every row. A missing float is NaN, a missing
        integer -1.

    Raises
    ------
    ValueError
        If names or lengths do not agree, or a missing value is where the schema allows none.
    """

    def __init__(self, schema, columns):
        if set(columns) != set(schema.names):
            odd = sorted(set(columns) ^ set(schema.names))
            raise ValueError(f"columns: expected the columns of {schema.name!r}; missing or unknown: {', '.join(odd)}")
        self.schema = schema
        self._columns, self.n = {}, None
        texts = {c.name for c in schema.columns if isinstance(columns[c.name], str)}
        for column in [c for c in schema.columns if c.name not in texts]:
            self._columns[column.name] = self._take(column, columns[column.name])
        self.n = self.n or 0
        for column in [c for c in schema.columns if c.name in texts]:
            self._columns[column.name] = self._take(column, (np.zeros(self.n, np.int32), (columns[column.name],)))
        self._columns = {name: self._columns[name] for name in schema.names}

    def _take(self, column, value):
        """An own, read-only, contiguous array; with its texts for a column of strings."""
        texts = None
        if column.dtype == "string":
            value, texts = _distinct(*value)
        array = np.array(value, dtype=_schema.DTYPES[column.dtype], order="C")
        if array.ndim != 1 or (self.n is not None and len(array) != self.n):
            raise ValueError(f"columns: {column.name}: expected one dimension with {self.n} rows, got {array.shape}")
        self.n = len(array)
        if not column.nullable and column.dtype in ("float64", "string"):
            missing = np.isnan(array) if texts is None else array < 0
            if missing.any():
                raise ValueError(f"columns: {column.name}: row {np.argmax(missing)}: expected a value, got nothing")
        array.flags.writeable = False
        return array if texts is None else (array, texts)

    @classmethod
    def from_rows(cls, schema, rows):
        """A frame of rows of plain values, None = missing."""
        rows = list(rows)
        columns = {}
        for at, column in enumerate(schema.columns):
            values = [row[at] for row in rows]
            if column.dtype == "string":
                texts = sorted({str(v) for v in values if v is not None})
                code = {text: i for i, text in enumerate(texts)}
                columns[column.name] = (np.array([-1 if v is None else code[str(v)] for v in values], np.int32), texts)
            else:
                missing = np.nan if column.dtype == "float64" else -1
                columns[column.name] = np.array([missing if v is None else v for v in values],
                                                _schema.DTYPES[column.dtype])
        return cls(schema, columns)

    @classmethod
    def of(cls, name, columns):
        """A frame of plain columns; their schema follows from their dtypes.

        Parameters
        ----------
        name : str
            Of the table.
        columns : dict
            Column name -> sequence: booleans, integers, floats (NaN = missing), or anything else, taken as text
            (None = missing).
        """
        made, data = [], {}
        for key, value in columns.items():
            array = np.asarray(value)
            kind = {"b": "bool", "i": "int64", "u": "int64", "f": "float64"}.get(array.dtype.kind, "string")
            made.append(_schema.Column(str(key), kind, "", "", kind in ("float64", "string")))
            if array.dtype == np.uint64 and (array > np.iinfo(np.int64).max).any():
                row = int(np.argmax(array > np.iinfo(np.int64).max))
                raise ValueError(f"columns: {key}: row {row}: {array[row]} does not fit int64")
            if kind == "string":
                texts = [None if v is None else str(v) for v in value]
                place = {text: i for i, text in enumerate(dict.fromkeys(t for t in texts if t is not None))}
                array = np.array([-1 if t is None else place[t] for t in texts], np.int32), tuple(place)
            data[str(key)] = array
        return cls(_schema.Schema(name, "", tuple(made)), data)

    def __len__(self):
        return self.n

    def __getitem__(self, name):
        """A column: its array; for strings an array of str objects (None = missing)."""
        value = self._columns[name]
        return np.array([*value[1], None], dtype=object)[value[0]] if isinstance(value, tuple) else value

    def write(self, path, format="csv"):
        """Write the table; the file appears under its name only when it is complete.

        Parameters
        ----------
        path : path-like
        format : {"csv", "jsonl", "parquet"}
            CSV: UTF-8, LF, floats that read back exactly, missing = empty. JSONL: one object per line; missing and
            infinite values are null. Parquet keeps types and carries the schema's version (metadata ``dnnsched``).

        Raises
        ------
        ImportError
            Parquet without pyarrow; the message names the extra.
        """
        check_choice(format, "format", FORMATS)
        if format == "parquet":
            self._write_parquet(path)
            return
        data = [_text_codes(self._columns[c.name], c, format) for c in self.schema.columns]
        if format == "csv":
            write_columns(path, self.schema.names, data)
            return
        before = tuple(("" if i else "{") + json.dumps(name) + ":" for i, name in enumerate(self.schema.names))
        with replace_file(path) as stream:
            stream.write(_base.jsonl_write(before, tuple(data)))

    def _write_parquet(self, path):
        table = self.to_arrow()
        from pyarrow import parquet

        with replace_file(path) as stream:
            parquet.write_table(table, stream)

    def to_arrow(self):
        """The columns as a pyarrow Table (extra ``io``); texts are dictionary-encoded."""
        return _pyarrow().table(self)

    def __arrow_c_schema__(self):
        """Arrow PyCapsule interface: names and types."""
        return _base.arrow_schema(*self._arrow())

    def __arrow_c_stream__(self, requested_schema=None):
        """Arrow PyCapsule interface: the rows as one record batch, a copy.

        polars, DuckDB, pyarrow and pandas call this; none of them is needed here. Text columns are
        dictionary-encoded unless `requested_schema` asks for plain text.
        """
        return _base.arrow_stream(*self._arrow(), requested_schema)

    def _arrow(self):
        mark = json.dumps({"schema": _schema.VERSION, "table": self.schema.name}).encode()
        items = [len(b"dnnsched").to_bytes(4, sys.byteorder), b"dnnsched", len(mark).to_bytes(4, sys.byteorder), mark]
        return (self.schema.names, tuple(self._columns.values()), tuple(c.nullable for c in self.schema.columns),
                (1).to_bytes(4, sys.byteorder) + b"".join(items))

    def to_pandas(self):
        """The columns as a pandas DataFrame (extra ``viz``); texts are categories."""
        pd = pandas()
        return pd.DataFrame({name: pd.Categorical.from_codes(*value) if isinstance(value, tuple)
                             else value for name, value in self._columns.items()}, copy=True)


def pandas():
    """The pandas module; ImportError names the extra that has it."""
    try:
        import pandas as module
    except ImportError:
        raise ImportError("to_pandas needs pandas: pip install 'dnnsched[viz]'") from None
    return module


def _distinct(codes, texts):
    """The same texts without repetitions: (codes, tuple of different texts)."""
    place = {}
    new = np.array([place.setdefault(text, len(place)) for text in texts] + [-1], np.int32)
    codes = np.asarray(codes)
    if codes.dtype.kind not in "iu" or (len(codes) and (codes.min() < -1 or codes.max() >= len(texts))):
        raise ValueError(f"columns: codes of texts: expected integers from -1 to {len(texts) - 1}")
    return new[codes], tuple(place)


def _text_codes(value, column, format):
    """What the native writer takes for a column: an array, or (codes, texts as they shall stand in the file)."""
    if isinstance(value, tuple):
        return value if format == "csv" else (value[0], tuple(json.dumps(t, ensure_ascii=False) for t in value[1]))
    if column.dtype == "bool":
        return value.astype(np.int32), ("false", "true")
    return (value, None) if column.nullable and column.dtype != "float64" else value
