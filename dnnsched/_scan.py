"""Rows of request files as columns, in batches of bounded size.

Two routes give the same values to the bit: the standard library's ``csv`` and ``json``, and, for CSV when pyarrow is
installed (extra ``io``), its streaming reader. Both hand texts to the same checks below, and both round numbers
correctly. Whenever pyarrow or a check refuses a file, the standard library reads it again and decides: it words the
message, with line and column, or accepts what pyarrow does not know.

A batch is a dict field -> array; a text column is a pair (int32 codes, names), where `names` is one list that grows
while the file is read. Times are int64 nanoseconds since 1970; other values stay in the file's unit.
"""

import csv
import gzip
import itertools
import json
import math
import re

import numpy as np

from dnnsched.errors import FormatError

BATCH = 1 << 16
_SHOWN = 40
_NUMBER = re.compile(r"[ \t]*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[ \t]*", re.ASCII)
_DIGITS = re.compile(r"[0-9+\-.eE \t,]*")  # float() accepts no text of these that _NUMBER does not
_INFINITY = re.compile(r"[ \t]*\+?inf(?:inity)?[ \t]*", re.ASCII | re.IGNORECASE)
_MONTH_DAYS = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
_EXACT = 2.0**53


class _Refused(Exception):
    """The fast route met something that the standard library has to judge."""


def pyarrow_csv():
    """The module ``pyarrow.csv``, or None when the extra ``io`` is not installed."""
    try:
        from pyarrow import csv as module
    except ImportError:
        return None
    return module


def scan(path, fmt, *, ordered=True, batch=BATCH):
    """Yield the rows of a file.

    Parameters
    ----------
    path : str or path
        Ending in ``.gz``: decompressed while reading.
    fmt : Format
    ordered : bool
        Refuse times that decrease, unless the format's rows need no order.
    batch : int
        Rows per batch of the standard library's route; pyarrow chooses its own.

    Yields
    ------
    dict
        Non-empty batches in the order of the file.

    Raises
    ------
    FormatError
        Naming file, line and column; also when there is no row.
    FileNotFoundError
    """
    ordered = ordered and not fmt.sorts
    container = container_of(path, fmt)
    done = 0
    if container == "csv" and pyarrow_csv() is not None:
        try:
            for columns in _in_order(_arrow_batches(path, fmt), fmt, ordered):
                done += len(next(iter_arrays(columns)))
                yield columns
            if done:
                return
        except _Refused:
            pass
    again = _in_order(_slow(container)(path, fmt, batch), fmt, ordered, path)
    total = 0
    for columns in again:
        n = len(next(iter_arrays(columns)))
        skip = min(max(done - total, 0), n)
        total += n
        if skip < n:
            yield columns if skip == 0 else {f: _cut(c, skip, n) for f, c in columns.items()}
    if total == 0:
        what = {"csv": "row after the header", "mlperf": "event 'Sample'"}.get(container, "row")
        raise FormatError(f"{path}: expected at least one {what}")


def _slow(container):
    return {"csv": _csv_batches, "jsonl": _json_batches, "mlperf": _mlperf_batches,
            "parquet": _parquet_batches}[container]


def locate(path, fmt, row, column):
    """Place of row number `row` (from 0) for a message."""
    for columns in _slow(container_of(path, fmt))(path, fmt, BATCH):
        if row < len(columns["line"]):
            return _where(columns["line"][row], column)
        row -= len(columns["line"])
    raise AssertionError("the file became shorter while it was read")


def container_of(path, fmt):
    """How a file of this format is packed: our own has three ways, told by the name."""
    name = str(path).lower().removesuffix(".gz")
    if fmt.name == "dnnsched" and name.endswith((".jsonl", ".ndjson", ".parquet")):
        return "parquet" if name.endswith(".parquet") else "jsonl"
    return fmt.container


def iter_arrays(columns):
    """The arrays of a batch, codes of texts included."""
    return (c[0] if isinstance(c, tuple) else c for f, c in columns.items() if f != "line")


def _cut(column, low, high):
    return (column[0][low:high], column[1]) if isinstance(column, tuple) else column[low:high]


def _in_order(batches, fmt, ordered, path=None):
    """The batches, as long as their times do not decrease."""
    last = None
    for columns in batches:
        times = columns[fmt.time]
        if ordered:
            late = np.diff(times, prepend=times[:1] if last is None else last) < 0
            if late.any():
                if path is None:
                    raise _Refused
                row = int(np.argmax(late))
                name = next(c.name for c in fmt.columns if c.field == fmt.time)
                raise FormatError(f"{path}: {_where(columns['line'][row], name)}: expected a time not before that of "
                                  "the row above (readers take sort=True)")
            last = times[-1:]
        yield columns


def _where(line, name):
    """Place of a value: a line of a text file, or a row of a Parquet file (negative lines)."""
    return f"line {line}, column {name!r}" if line >= 0 else f"row {-line}, column {name!r}"


def _bad_field(path, line, column, got):
    text = str(got)
    shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
    shown = shown.encode("utf-8", "surrogateescape").decode("ascii", "backslashreplace")
    return FormatError(f"{path}: {_where(line, column.name)}: expected {column.expected}, got '{shown}'")


# --- values ----------------------------------------------------------------------------------------

def _outside(column, values):
    """Mask of the numbers that a column does not accept."""
    bad = ~np.isfinite(values)
    if column.infinity:
        bad &= values != np.inf
    if column.nullable:
        bad &= ~np.isnan(values)
    bad |= (values <= column.low) if column.open_low else (values < column.low)
    bad |= values > column.high
    if column.kind == "int":
        bad |= ~(np.abs(values) <= _EXACT) | (values != np.floor(values))
    return bad


def _numbers(column, values):
    """float64 or int64 array of accepted numbers, or None and the first bad row."""
    bad = _outside(column, values)
    if bad.any():
        return None, int(np.argmax(bad))
    return (values.astype(np.int64) if column.kind == "int" else values), -1


def parse_times(data, offsets):
    """Nanoseconds since 1970 of UTC stamps ``YYYY-MM-DD hh:mm:ss[.fraction][Z|+00:00]``, exact to 9 digits.

    Parameters
    ----------
    data : uint8 array
        The stamps behind each other.
    offsets : int array, shape (n + 1,)
        Where each begins and ends.

    Returns
    -------
    times : int64[n]
    bad : bool[n]
        Not such a stamp, or outside the years 1970 to 2261.
    """
    lengths = np.diff(offsets)
    times, bad = np.zeros(len(lengths), np.int64), np.ones(len(lengths), bool)
    for length in np.unique(lengths):
        if not 19 <= length <= 35:
            continue
        rows = np.flatnonzero(lengths == length)
        if len(rows) == len(lengths):
            text = data[offsets[0]:offsets[-1]].reshape(len(rows), length)
        else:
            text = data[offsets[rows][:, None] + np.arange(length)]
        times[rows], bad[rows] = _stamps(text)
    return times, bad


def _stamps(text):
    """parse_times of equally long stamps, uint8 [n, length]."""
    utc = text[:, -1] == ord("Z")
    zero = np.zeros(len(text), bool)
    if text.shape[1] >= 25:
        zero = (text[:, -6:] == np.frombuffer(b"+00:00", np.uint8)).all(axis=1)
    times, bad = np.zeros(len(text), np.int64), np.ones(len(text), bool)
    for chosen, tail in ((utc, 1), (zero, 6), (~utc & ~zero, 0)):
        if chosen.all():
            return _plain_stamps(text[:, :text.shape[1] - tail])
        if chosen.any():
            times[chosen], bad[chosen] = _plain_stamps(text[chosen][:, :text.shape[1] - tail])
    return times, bad


def _plain_stamps(text):
    n, length = text.shape
    if length != 19 and not 21 <= length <= 29:
        return np.zeros(n, np.int64), np.ones(n, bool)
    digit = text.astype(np.int64) - ord("0")
    places = [0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18, *range(20, length)]
    bad = ((digit[:, places] < 0) | (digit[:, places] > 9)).any(axis=1)
    for place, char in ((4, "-"), (7, "-"), (13, ":"), (16, ":"), (19, ".")):
        if place < length:
            bad |= text[:, place] != ord(char)
    bad |= (text[:, 10] != ord(" ")) & (text[:, 10] != ord("T"))
    year = digit[:, :4] @ np.array([1000, 100, 10, 1])
    month, day, hour, minute, second = (10 * digit[:, p] + digit[:, p + 1] for p in (5, 8, 11, 14, 17))
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    bad |= (year < 1970) | (year > 2261) | (month < 1) | (month > 12) | (hour > 23) | (minute > 59) | (second > 59)
    month = np.where(bad, 1, month)
    bad |= (day < 1) | (day > _MONTH_DAYS[month] + (leap & (month == 2)))
    shifted = year - (month <= 2)  # days of the Gregorian calendar, counting years from March
    of_year = (153 * (month + np.where(month > 2, -3, 9)) + 2) // 5 + day - 1
    days = 365 * shifted + shifted // 4 - shifted // 100 + shifted // 400 + of_year - 719468
    fraction = np.zeros(n, np.int64)
    for place in range(20, length):
        fraction += digit[:, place] * 10 ** (28 - place)
    times = (((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000_000 + fraction
    return np.where(bad, 0, times), bad


class _Names:
    """Texts of a column as codes into one growing list."""

    def __init__(self):
        self.names, self._known = [], {}

    def codes(self, texts):
        known = self._known
        for text in dict.fromkeys(texts):
            if text not in known:
                known[text] = len(self.names)
                self.names.append(text)
        return np.fromiter(map(known.__getitem__, texts), np.int32, len(texts))


# --- CSV, standard library -------------------------------------------------------------------------

def open_text(path, newline=""):
    """A text file without its byte order mark; bytes that are not UTF-8 stay recognisable (surrogates)."""
    options = {"encoding": "utf-8-sig", "errors": "surrogateescape", "newline": newline}
    try:
        if str(path).lower().endswith(".gz"):
            return gzip.open(path, "rt", **options)
        return open(path, **options)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise FormatError(f"{path}: expected a file, got a folder") from None


def _records(path, stream):
    """Yield (last line, fields) of every non-blank record."""
    reader = csv.reader(stream)
    try:
        yield from ((reader.line_num, fields) for fields in reader if fields)
    except csv.Error as exc:
        raise FormatError(f"{path}: line {reader.line_num + 1}: expected comma-separated fields: {exc}") from None
    except (EOFError, OSError, gzip.zlib.error) as exc:
        raise FormatError(f"{path}: line {reader.line_num + 1}: cannot read on: {exc}") from None


def _layout(path, fmt, first):
    """(lines before the first row, fields per row, [(column, position)]) from the first record or None."""
    line, names = first if first is not None else (1, [])
    plain = [name.strip() for name in names]
    if not fmt.header and plain != [c.name for c in fmt.columns]:
        return 0, len(fmt.columns), [(c, i) for i, c in enumerate(fmt.columns)]
    found = []
    for column in fmt.columns:
        if plain.count(column.name) > 1:
            raise FormatError(f"{path}: line {line}: column {column.name!r} occurs {plain.count(column.name)} times")
        if column.name in plain:
            found.append((column, plain.index(column.name)))
        elif not column.optional:
            raise FormatError(f"{path}: line {line}: column {column.name!r} is missing")
    return line, len(names), found


def _csv_batches(path, fmt, batch):
    with open_text(path) as stream:
        records = _records(path, stream)
        first = next(records, None)
        skip, width, found = _layout(path, fmt, first)
        if skip == 0 and first is not None:
            records = itertools.chain([first], records)
        names = {column.field: _Names() for column, _ in found if column.kind == "text"}
        while rows := [*itertools.islice(records, batch)]:
            for line, fields in rows if {len(fields) for _, fields in rows} != {width} else ():
                if len(fields) != width:
                    where = "as in the header" if skip else "(the format has no header)"
                    raise FormatError(f"{path}: line {line}: expected {width} fields {where}, got {len(fields)}")
            yield _csv_columns(path, rows, found, names)


def _csv_columns(path, rows, found, names):
    """Columns of a batch; of several bad fields the one in the first row is reported."""
    lines, records = zip(*rows, strict=True)
    fields = [*zip(*records, strict=True)]
    columns, worst = {"line": [*lines]}, None
    for column, position in found:
        texts = fields[position]
        values, bad = _csv_values(column, texts, names.get(column.field))
        if bad >= 0 and (worst is None or bad < worst[0]):
            worst = (bad, column, texts[bad])
        columns[column.field] = values
    if worst is not None:
        raise _bad_field(path, lines[worst[0]], worst[1], worst[2])
    return columns


def _csv_values(column, texts, names):
    """(array, -1), or (None, first bad row)."""
    if column.kind == "text":
        for row, text in enumerate(texts):
            if not text.isascii() and any("\udc80" <= c <= "\udcff" for c in text):
                return None, row
        return (names.codes(texts), names.names), -1
    if column.kind == "time":
        raw = [text.encode("utf-8", "surrogateescape") for text in texts]
        times, bad = parse_times(np.frombuffer(b"".join(raw), np.uint8),
                                 np.cumsum([0, *map(len, raw)]))
        return (None, int(np.argmax(bad))) if bad.any() else (times, -1)
    if _DIGITS.fullmatch(",".join(texts)):
        try:
            return _numbers(column, np.array([*map(float, texts)]))
        except ValueError:
            pass  # the loop below finds the row
    values = np.empty(len(texts))
    match = _NUMBER.fullmatch
    for row, text in enumerate(texts):
        if match(text):
            values[row] = float(text)
        elif column.nullable and text == "":
            values[row] = math.nan
        elif column.infinity and _INFINITY.fullmatch(text):
            values[row] = math.inf
        else:
            checked, bad = _numbers(column, values[:row])
            return None, row if checked is not None else bad
    return _numbers(column, values)


# --- CSV, pyarrow ----------------------------------------------------------------------------------

def _arrow_batches(path, fmt):
    """The batches of a CSV file through pyarrow's streaming reader; _Refused for anything unusual."""
    import pyarrow as pa

    arrow_csv = pyarrow_csv()
    with open_text(path) as stream:
        skip, width, found = _layout(path, fmt, next(_records(path, stream), None))
    kinds = {"float": pa.float64(), "int": pa.float64(), "time": pa.string(),
             "text": pa.dictionary(pa.int32(), pa.string())}
    labels = [str(i) for i in range(width)]
    read = arrow_csv.ReadOptions(column_names=labels, skip_rows=skip, block_size=1 << 20)
    parse = arrow_csv.ParseOptions(newlines_in_values=True)
    convert = arrow_csv.ConvertOptions(
        include_columns=[labels[i] for _, i in found], column_types={labels[i]: kinds[c.kind] for c, i in found},
        null_values=[""], strings_can_be_null=False)
    names = {column.field: _Names() for column, _ in found if column.kind == "text"}
    try:
        with arrow_csv.open_csv(str(path), read, parse, convert) as reader:
            for part in reader:
                if part.num_rows:
                    yield {column.field: _arrow_values(column, part.column(at), names.get(column.field))
                           for at, (column, _) in enumerate(found)}
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        raise _Refused from None


def _arrow_values(column, array, names):
    if array.null_count and not column.nullable:
        raise _Refused
    if column.kind == "text":
        codes = names.codes(array.dictionary.to_pylist())
        return codes[array.indices.to_numpy()], names.names
    if column.kind == "time":
        offsets = np.frombuffer(array.buffers()[1], np.int32)[array.offset:array.offset + len(array) + 1]
        data = np.frombuffer(array.buffers()[2] or b"", np.uint8)
        values, bad = parse_times(data, offsets.astype(np.int64))
        if bad.any():
            raise _Refused
        return values
    missing = array.null_count
    array = (array.fill_null(math.nan) if missing else array).to_numpy()
    values, bad = _numbers(column, array)
    if bad >= 0 or (column.nullable and np.count_nonzero(np.isnan(array)) != missing):
        raise _Refused
    return values


# --- JSON and Parquet ------------------------------------------------------------------------------

def _no_constant(text):
    raise ValueError(f"{text} is no number of JSON")


def _json_object(path, line, text):
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as exc:
        raise FormatError(f"{path}: line {line}: expected one JSON object: {exc}") from None
    if not isinstance(value, dict):
        raise FormatError(f"{path}: line {line}: expected one JSON object, got {type(value).__name__}")
    return value


def _json_columns(path, fmt, rows, names):
    """Columns of (line, object) pairs."""
    columns = {"line": [line for line, _ in rows]}
    for column in fmt.columns:
        present = [column.name in record for _, record in rows]
        if column.optional and not any(present):
            continue
        values = []
        for (line, record), there in zip(rows, present, strict=True):
            if not there:
                raise FormatError(f"{path}: {_where(line, column.name)}: the field is missing")
            values.append(_json_value(path, line, column, record[column.name]))
        if column.kind == "text":
            columns[column.field] = (names.setdefault(column.field, _Names()).codes(values), names[column.field].names)
        else:
            checked, bad = _numbers(column, np.array(values, dtype=np.float64))
            if bad >= 0:
                raise _bad_field(path, rows[bad][0], column, rows[bad][1][column.name])
            columns[column.field] = checked
    return columns


def _json_value(path, line, column, value):
    if column.kind == "text" and isinstance(value, str):
        return value
    if column.kind != "text" and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) if abs(value) < 1e300 or value in (math.inf,) else math.nan
    if column.nullable and value is None:
        return math.nan
    if column.infinity and value == "inf":
        return math.inf
    raise _bad_field(path, line, column, json.dumps(value))


def _grouped(path, fmt, records, batch):
    names, seen = {}, None
    while rows := [*itertools.islice(records, batch)]:
        columns = _json_columns(path, fmt, rows, names)
        if seen is not None and set(columns) != seen:
            raise FormatError(f"{path}: line {rows[0][0]}: expected the same optional fields in every object")
        seen = set(columns)
        yield columns


def _json_batches(path, fmt, batch):
    def records(stream):
        try:
            for line, text in enumerate(stream, start=1):
                if text.strip():
                    yield line, _json_object(path, line, text)
        except (EOFError, OSError, gzip.zlib.error) as exc:
            raise FormatError(f"{path}: cannot read on: {exc}") from None

    with open_text(path, newline="\n") as stream:
        yield from _grouped(path, fmt, records(stream), batch)


_TRACE_HEAD = re.compile(r'\s*\{\s*"traceEvents"\s*:\s*\[')
_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def _events(path, stream):
    """(line, event) of the lines that mention a Sample: LoadGen's other lines are not all JSON."""
    for line, text in enumerate(stream, start=1):
        if '"Sample"' not in text:
            continue
        head = _TRACE_HEAD.match(text)
        text = (text[head.end():] if head else text).strip()
        while text:
            try:
                event, end = _DECODER.raw_decode(text)
            except (ValueError, RecursionError) as exc:
                raise FormatError(f"{path}: line {line}: expected one trace event, as LoadGen writes them: "
                                  f"{exc}") from None
            if not isinstance(event, dict):
                raise FormatError(f"{path}: line {line}: expected a trace event, got {type(event).__name__}")
            yield line, event
            text = text[end:].lstrip()
            if text and text[0] not in ",]":
                raise FormatError(f"{path}: line {line}: expected a comma behind an event")
            text = "" if text.startswith("]") else text[1:].lstrip()


def _mlperf_batches(path, fmt, batch):
    def records(stream):
        for line, event in _events(path, stream):
            if event.get("name") == "Sample" and event.get("ph") == "b":
                arguments = event.get("args")
                if not isinstance(arguments, dict) or "ts" not in event:
                    raise FormatError(f"{path}: line {line}: expected a Sample event with 'ts' and 'args'")
                yield line, {**arguments, "ts": event["ts"]}

    with open_text(path, newline="\n") as stream:
        yield from _grouped(path, fmt, records(stream), batch)


def _parquet_batches(path, fmt, batch):
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise ImportError("reading Parquet files needs pyarrow; pip install 'dnnsched[io]'") from None
    try:
        with parquet.ParquetFile(path) as file:
            there = file.schema_arrow.names
            for column in fmt.columns:
                if column.name not in there and not column.optional:
                    raise FormatError(f"{path}: column {column.name!r} is missing")
            found = [c for c in fmt.columns if c.name in there]
            names, row = {}, 1
            for part in file.iter_batches(batch, columns=[c.name for c in found]):
                if part.num_rows:
                    yield _parquet_columns(path, found, part, names, row)
                row += part.num_rows
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except (pa.ArrowException, OSError) as exc:
        raise FormatError(f"{path}: expected a Parquet file: {exc}") from None


def _parquet_columns(path, found, part, names, row):
    import pyarrow as pa

    columns = {"line": [-(row + i) for i in range(part.num_rows)]}
    for column in found:
        array = part.column(part.schema.get_field_index(column.name))
        if array.null_count and not column.nullable:
            raise _bad_field(path, -(row + array.is_null().to_pylist().index(True)), column, "nothing")
        try:
            array = array.cast(pa.string() if column.kind == "text" else pa.float64())
        except pa.ArrowInvalid as exc:
            raise FormatError(f"{path}: column {column.name!r}: expected {column.expected}: {exc}") from None
        if column.kind == "text":
            table = names.setdefault(column.field, _Names())
            columns[column.field] = (table.codes(array.to_pylist()), table.names)
            continue
        values = array.fill_null(math.nan).to_numpy()
        checked, bad = _numbers(column, values)
        if bad >= 0:
            raise _bad_field(path, -(row + bad), column, values[bad])
        columns[column.field] = checked
    return columns
