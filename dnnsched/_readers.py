"""Readers of request streams: ``read_X_table`` and ``read_X`` of every format, and streaming."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dnnsched._arrays import check_choice, check_int, check_number
from dnnsched._formats import FORMATS
from dnnsched._plan import Plan, replay
from dnnsched._scan import container_of, iter_arrays, locate, open_text, scan
from dnnsched.errors import FormatError

FAILURES = ("keep", "drop")
_FUNCTION = {"dnnsched": "requests"}


def find_format(path, name=None):
    """The format of a file, by name, or by its header (CSV), its first object (JSONL) or its ending.

    Raises
    ------
    ValueError
        Unknown name.
    FormatError
        The file fits no format, or one without a header.
    """
    if name is not None:
        return FORMATS[check_choice(name, "format", tuple(FORMATS))]
    plain = str(path).lower().removesuffix(".gz")
    if plain.endswith(".parquet"):
        return FORMATS["dnnsched"]
    if plain.endswith(".json"):
        return FORMATS["mlperf"]
    from dnnsched import _scan

    packed = "jsonl" if plain.endswith((".jsonl", ".ndjson")) else "csv"
    with open_text(path) as stream:
        if packed == "jsonl":
            line, text = next(((i, t) for i, t in enumerate(stream, 1) if t.strip()), (1, "{}"))
            there = set(_scan._json_object(path, line, text))
        else:
            there = {field.strip() for field in next(_scan._records(path, stream), (1, []))[1]}
    fits = [fmt for fmt in FORMATS.values() if fmt.header and container_of(path, fmt) == packed
            and all(c.name in there for c in fmt.columns if not c.optional)]
    if not fits:
        raise FormatError(f"{path}: expected the columns of a known format, got {', '.join(sorted(there)) or 'none'}; "
                          f"name the format: {', '.join(FORMATS)}")
    return max(fits, key=lambda fmt: sum(c.name in there for c in fmt.columns))


class Requests:
    """All rows of a file in order of arrival.

    Attributes
    ----------
    path, format
    columns : dict
        Field -> array in the units of the field; a text column is (codes, names).
    arrival : float64[n]
        Seconds; from the first request where the format's clock has no meaning.
    row : int array
        Position of each request in the file.
    """

    def __init__(self, path, fmt, *, sort=False):
        self.path, self.format = path, fmt
        parts = [*scan(path, fmt, ordered=not sort)]
        columns = {}
        for field in (f for f in parts[0] if f != "line"):
            pieces = [part[field] for part in parts]
            columns[field] = ((np.concatenate([codes for codes, _ in pieces]), pieces[0][1])
                              if isinstance(pieces[0], tuple) else np.concatenate(pieces))
        raw = fmt.start(columns) if fmt.start else columns[fmt.time]
        self.columns, self.row = columns, np.arange(len(raw))
        if (sort or fmt.sorts) and (np.diff(raw) < 0).any():
            raw = self.keep(np.argsort(raw, kind="stable"), raw)
        self.arrival = _seconds(fmt, raw, raw[0])
        for column in fmt.columns:
            if column.kind == "time":
                columns[column.field] = _seconds(fmt, columns[column.field], columns[column.field].min())
            elif column.field in columns and column.per_unit != 1.0:
                columns[column.field] = columns[column.field] / column.per_unit

    def __len__(self):
        return len(self.row)

    def keep(self, chosen, times):
        """Leave only the rows `chosen` (a mask or an order), also of `times`, which is returned."""
        for field, column in self.columns.items():
            self.columns[field] = (column[0][chosen], column[1]) if isinstance(column, tuple) else column[chosen]
        self.row = self.row[chosen]
        return times[chosen]

    def without_failures(self, failures):
        """Leave out failed requests if `failures` is "drop"."""
        fmt = self.format
        if fmt.failed is None:
            if failures is not None:
                raise ValueError(f"failures: expected None, because {fmt.title} records none, got {failures!r}")
            return
        if failures not in FAILURES:
            raise ValueError(f"failures: expected 'keep' or 'drop' for requests with {fmt.failed_doc}, got "
                             f"{failures!r}")
        bad = fmt.failed(self.columns)
        if failures == "drop" and bad.any():
            if bad.all():
                raise ValueError(f"failures: every request of {self.path} failed ({fmt.failed_doc}); nothing is left")
            self.arrival = self.keep(~bad, self.arrival)

    def table(self):
        """Structured array; texts are Python strings."""
        dtype = [(f, "O" if isinstance(c, tuple) else c.dtype) for f, c in self.columns.items()]
        out = np.empty(len(self), dtype=dtype)
        for field, column in self.columns.items():
            out[field] = texts(column) if isinstance(column, tuple) else column
        return out


def texts(column):
    """Object array of a (codes, names) pair."""
    return np.array(column[1], dtype=object)[column[0]]


def _seconds(fmt, raw, first):
    """Arrival times in seconds; stamps and formats with an arbitrary clock count from `first`."""
    column = next(c for c in fmt.columns if c.field == fmt.time)
    if column.kind == "time":
        return (raw - first) / 1e9
    return ((raw - first) if fmt.origin else raw) / column.per_unit


class _Assignment:
    """What a file says about its requests beside their times, as `given` of a plan."""

    def __init__(self, fmt, traces, model, mix, mapping, own_deadlines, own_priorities):
        if sum(x is not None for x in (model, mix, mapping)) > 1:
            raise ValueError("model, mix: expected at most one of them and mapping")
        self.mix = {model: 1.0} if model is not None else mix
        self.format, self.traces, self.mapping = fmt, traces, mapping
        self.by_key = fmt.name == "dnnsched" and self.mix is None and mapping is None
        self.use = [field for field, wanted in (("sample", self.by_key), ("deadline_s", own_deadlines),
                                                ("priority", own_priorities)) if wanted and fmt.name == "dnnsched"]
        self._index = {}
        if mapping is not None:
            if not fmt.model:
                raise ValueError(f"mapping: expected None, because {fmt.title} names no models")
            if mapping != "round-robin" and not isinstance(mapping, Mapping):
                raise TypeError(f"mapping: expected a mapping from name to key or 'round-robin', got "
                                f"{type(mapping).__name__}")

    def given(self, columns, path, row):
        """Arrays by name; `row` are positions in the file, for messages."""
        out = {}
        if self.mapping is not None:
            if self.format.model not in columns:
                raise ValueError(f"mapping: {path} has no column {self.format.model!r}")
            out["model"] = self._codes(columns[self.format.model], self._mapped)
        elif self.by_key and "key" in columns:
            index = self._codes(columns["key"], lambda name, _: self.traces.index(name) if name in self.traces else -1)
            if (index < 0).any():
                at = int(np.argmax(index < 0))
                raise FormatError(f"{path}: {locate(path, self.format, int(row[at]), 'key')}: expected a known name, "
                                  f"got {columns['key'][1][columns['key'][0][at]]!r}")
            out["model"] = index
        if "sample" in self.use and "sample" in columns and "model" in out:
            limit = self.traces.n_samples[out["model"]]
            beyond = columns["sample"] >= limit
            if beyond.any():
                at = int(np.argmax(beyond))
                key = self.traces.keys_list[out["model"][at]]
                raise FormatError(f"{path}: {locate(path, self.format, int(row[at]), 'sample')}: expected an index "
                                  f"below {limit[at]} (trace {key!r}), got {columns['sample'][at]}")
            out["sample"] = columns["sample"]
        for field, name in (("deadline_s", "deadline"), ("priority", "priority")):
            if field in self.use and field in columns:
                out[name] = columns[field]
        if "deadline" in out:
            out["deadline"] = np.where(np.isnan(out["deadline"]), np.inf, out["deadline"])
        return out

    def _codes(self, column, of):
        codes, names = column
        for at in range(len(self._index), len(names)):
            self._index[at] = of(names[at], at)
        return np.array([self._index[at] for at in range(len(names))], dtype=np.int32)[codes]

    def _mapped(self, name, at):
        if self.mapping == "round-robin":
            return at % len(self.traces)
        if name not in self.mapping:
            raise ValueError(f"mapping: expected a key for every name in the file, missing {name!r}")
        return self.traces.index(self.mapping[name])


def read(fmt, path, traces, *, rate=None, rho=None, time_scale=None, n=None, sort=False, failures=None, model=None,
         mix=None, mapping=None, slo_multiplier=None, slo_base=None, rng=None, priorities=None, n_samples=None,
         semantics="paper"):
    """Workload of a file; see the functions made by :func:`functions`."""
    assignment = _Assignment(fmt, traces, model, mix, mapping, slo_multiplier is None, priorities is None)
    plan = Plan(traces, mix=assignment.mix, slo_multiplier=10.0 if slo_multiplier is None else slo_multiplier,
                slo_base=slo_base, rng=rng, priorities=priorities, n_samples=n_samples, semantics=semantics)
    requests = Requests(path, fmt, sort=sort)
    requests.without_failures(failures)
    if n is not None:
        rows = slice(0, check_int(n, "n", 1, len(requests)))
        requests.arrival = requests.keep(rows, requests.arrival)
    given = assignment.given(requests.columns, path, requests.row)
    if "deadline" in given and any(x is not None for x in (rate, rho, time_scale)):
        raise ValueError(f"slo_multiplier: expected a value with rate, rho or time_scale, because the deadlines of "
                         f"{path} are absolute")
    return replay(plan, requests.arrival, rate, rho, time_scale, _record(fmt, path, failures), given,
                  data_citations=fmt.citations)


def _record(fmt, path, failures):
    record = {"process": _FUNCTION.get(fmt.name, fmt.name), "file": Path(path).name}
    return record if fmt.failed is None else {**record, "failures": failures}


class FileStream:
    """A workload that is read piece by piece; see :func:`stream_csv`.

    Attributes
    ----------
    traces : TraceSet
    chunk : int
        Most rows per piece.
    n : None
        Not known before the file has been read.
    meta : dict
    """

    n = None

    def __init__(self, plan, assignment, path, *, chunk, limit, time_scale, failures):
        self._plan, self._assignment, self._path = plan, assignment, path
        self._limit, self._scale, self._failures = limit, time_scale, failures
        self.traces, self.chunk = plan.traces, chunk
        fmt = assignment.format
        self.meta = {**plan.meta({**_record(fmt, path, failures), "time_scale": time_scale}, None),
                     "data_citations": fmt.citations}

    def __iter__(self):
        draw, fmt, at, left = self._plan.drawer(), self._assignment.format, 0, self._limit
        for arrival, columns in _pieces(self._path, fmt, self.chunk, self._failures == "drop"):
            if left is not None:
                arrival = arrival[:left]
                left -= len(arrival)
            columns = {f: (c[0][:len(arrival)], c[1]) if isinstance(c, tuple) else c[:len(arrival)]
                       for f, c in columns.items()}
            rows = columns.pop("row")
            given = self._assignment.given(columns, self._path, rows)
            yield self._plan.build(draw(arrival * self._scale, given), self.meta)
            at += len(arrival)
            if left == 0:
                return
        if left:
            raise ValueError(f"n: expected at most the {at} requests of {self._path}, got {self._limit}")

    def __repr__(self):
        return f"FileStream({str(self._path)!r}, format={self._assignment.format.name!r}, chunk={self.chunk})"


def _pieces(path, fmt, chunk, drop):
    """(arrival, columns) of exactly `chunk` rows, but for the last; columns hold their position as ``row``."""
    kept, first, done = [], None, 0
    for columns in scan(path, fmt, batch=chunk):
        columns.pop("line", None)
        m = len(next(iter_arrays(columns)))
        first = columns[fmt.time][0] if first is None else first
        columns["arrival"] = _seconds(fmt, columns[fmt.time], first)
        columns["row"] = np.arange(done, done + m)
        done += m
        if drop:
            good = ~fmt.failed(columns)
            columns = {f: (c[0][good], c[1]) if isinstance(c, tuple) else c[good] for f, c in columns.items()}
        kept.append(columns)
        while sum(len(c["row"]) for c in kept) >= chunk:
            piece, kept = _split(kept, chunk)
            yield piece.pop("arrival"), piece
    if sum(len(c["row"]) for c in kept):
        piece, _ = _split(kept, chunk)
        yield piece.pop("arrival"), piece


def _split(parts, chunk):
    """(the first `chunk` rows of the parts as one, [what is left])."""
    if len(parts) == 1:
        whole = parts[0]
    else:
        whole = {f: (np.concatenate([p[f][0] for p in parts]), c[1]) if isinstance(c, tuple)
                 else np.concatenate([p[f] for p in parts]) for f, c in parts[0].items()}
    head, rest = ({f: (c[0][at], c[1]) if isinstance(c, tuple) else c[at] for f, c in whole.items()}
                  for at in (slice(0, chunk), slice(chunk, None)))
    return head, [rest]


def stream_csv(path, ts, *, format=None, chunk=65536, n=None, time_scale=1.0, failures=None, model=None, mix=None,
               mapping=None, slo_multiplier=None, slo_base=None, rng=None, priorities=None, n_samples=None,
               semantics="paper"):
    """A file of requests in pieces, for runs longer than memory: ``simulate(stream, ..., record="none")``.

    Rows must be in order of arrival. With the extra ``io`` (pyarrow) CSV files are read several times faster; the
    pieces are the same.

    Parameters
    ----------
    path : str or path
        CSV (also ``.csv.gz``), JSONL or Parquet.
    ts : TraceSet
    format : str, optional
        Name of the format, see ``dnnsched list formats``; default: told by the header.
    chunk : int
        Most rows per piece, >= 1; does not change the rows.
    n : int, optional
        First n requests only.
    time_scale : float
        Factor on the times, > 0. (A wanted rate would need the whole file first: ``dnnsched trace stats``.)
    failures : {"keep", "drop"}
        Needed by formats that record failed requests.
    model, mix, mapping, slo_multiplier, slo_base, rng, priorities, n_samples, semantics
        As for :func:`read_requests`.

    Returns
    -------
    FileStream
        Iterating gives :class:`Workload` objects; every iteration starts again at the first row.

    Raises
    ------
    FormatError
        Naming file, line and column, also where times decrease; while iterating.
    ValueError
        The format's rows need sorting: convert the file first.
    """
    fmt = find_format(path, format)
    if fmt.sorts:
        raise ValueError(f"format: the rows of {fmt.title} are not in order of arrival; "
                         "convert the file first (dnnsched trace convert)")
    if (fmt.failed is not None) != (failures is not None):
        expected = f"'keep' or 'drop' for requests with {fmt.failed_doc}" if fmt.failed else "None"
        raise ValueError(f"failures: expected {expected}, got {failures!r}")
    if failures is not None:
        check_choice(failures, "failures", FAILURES)
    assignment = _Assignment(fmt, ts, model, mix, mapping, slo_multiplier is None, priorities is None)
    time_scale = check_number(time_scale, "time_scale", 0, open_low=True)
    if time_scale != 1.0 and slo_multiplier is None and fmt.name == "dnnsched":
        raise ValueError("slo_multiplier: expected a value with time_scale, because deadlines in the file are absolute")
    plan = Plan(ts, mix=assignment.mix, slo_multiplier=10.0 if slo_multiplier is None else slo_multiplier,
                slo_base=slo_base, rng=rng, priorities=priorities, n_samples=n_samples, semantics=semantics)
    return FileStream(plan, assignment, path, chunk=check_int(chunk, "chunk", 1),
                      limit=None if n is None else check_int(n, "n", 1), time_scale=time_scale, failures=failures)


def read_trace(path, traces, *, format=None, **options):
    """Requests of a file of any known format.

    Parameters
    ----------
    path : str or path
    traces : TraceSet
    format : str, optional
        Name of the format, see ``dnnsched list formats``; default: told by the header.
    **options
        As for the format's own reader, such as :func:`read_requests`.

    Returns
    -------
    Workload

    Raises
    ------
    FormatError
        The file fits no known format; else naming file, line and column.
    """
    return read(find_format(path, format), path, traces, **options)


def load_csv(path, traces):
    """Workload of a CSV file that :meth:`Workload.save` wrote: key, sample and deadline are needed."""
    fmt = FORMATS["dnnsched"]
    full = dataclasses.replace(fmt, columns=tuple(
        dataclasses.replace(c, optional=c.optional and c.name not in ("key", "sample", "deadline_s"))
        for c in fmt.columns))
    wl = read(full, path, traces, rng=0)
    return type(wl)(traces, wl.arrival, wl.model, wl.sample, wl.deadline, wl.priority,
                    {"arrivals": {"process": "file", "file": Path(path).name}})


_TABLE_DOC = """Read a request file: {title}.

    {columns}

    Parameters
    ----------
    path : str or path
        Ending in ``.gz``: decompressed while reading.
    sort : bool
        Sort rows that are out of order; otherwise they are an error{sorts}.

    Returns
    -------
    structured array
        {fields}.

    Raises
    ------
    FormatError
        Naming file, line and column.
    """

_READ_DOC = """Requests at the arrival times of a file: {title}.

    {rule}

    Parameters
    ----------
    path : str or path
        As for :func:`read_{name}_table`.
    traces : TraceSet
    rate, rho, time_scale : float, optional
        At most one: stretch the times to this mean rate (requests per second) or offered load, or multiply them;
        default 1.
    n : int, optional
        First n requests only, after sorting and after leaving out failures.
    sort : bool
        Sort rows that are out of order; otherwise they are an error{sorts}.
    failures : {{"keep", "drop"}}
        {failures}
    model : str, optional
        Key of all requests.
    mix : mapping from key to weight, optional
        Models are drawn with these weights; default: all keys equally often.
    mapping : mapping from name to key, or "round-robin", optional
        {mapping}
    slo_multiplier, slo_base, rng, priorities, n_samples, semantics
        As for :func:`poisson`.

    Returns
    -------
    Workload
        ``meta["data_citations"]`` holds the attribution that the licence asks for.

    Raises
    ------
    FormatError
        Naming file, line and column.
    """


def _wrapped(words):
    import textwrap

    return "\n    ".join(textwrap.wrap(words, 112, break_long_words=False, break_on_hyphens=False))


def functions(name):
    """(read_X, read_X_table) of a format, with their documentation from its columns."""
    fmt = FORMATS[name]
    public = _FUNCTION.get(name, name)

    def read_table(path, *, sort=False):
        return Requests(path, fmt, sort=sort).table()

    def read_workload(path, traces, *, rate=None, rho=None, time_scale=None, n=None, sort=False, failures=None,
                      model=None, mix=None, mapping=None, slo_multiplier=None, slo_base=None, rng=None,
                      priorities=None, n_samples=None, semantics="paper"):
        return read(fmt, path, traces, rate=rate, rho=rho, time_scale=time_scale, n=n, sort=sort, failures=failures,
                    model=model, mix=mix, mapping=mapping, slo_multiplier=slo_multiplier, slo_base=slo_base, rng=rng,
                    priorities=priorities, n_samples=n_samples, semantics=semantics)

    listed = ", ".join(f"``{c.name}``" + (f" [{c.unit}]" if c.unit else "") + (" (optional)" if c.optional else "")
                       for c in fmt.columns)
    head = "in any order among others" if fmt.header else "in this order, without a header line"
    cite = f" Licence {fmt.licence}; cite {fmt.citation}." if fmt.citation else ""
    fields = ", ".join(f"``{c.field}`` {'str' if c.kind == 'text' else 'int64' if c.kind == 'int' else 'float64'}"
                       for c in fmt.columns)
    sorts = ". Rows of this format are always sorted" if fmt.sorts else ""
    rules = ["Inputs and priorities are drawn; so are models, unless `model` or `mapping` says which."]
    if fmt.start:
        rules.append("Arrival is the end minus the duration.")
    if name == "dnnsched":
        rules = ["What the file has no column for is drawn: key, sample, priority. Deadlines are the file's unless "
                 "`slo_multiplier` is given. The file ends in ``.csv``, ``.csv.gz``, ``.jsonl`` or ``.parquet``."]
    rules.append("Times count from the first request." if fmt.origin else "Times are those of the file.")
    read_table.__doc__ = _TABLE_DOC.format(title=fmt.title, columns=_wrapped(f"Columns {listed}, {head}.{cite}"),
                                           fields=_wrapped(fields).replace("\n    ", "\n        "), sorts=sorts)
    failures = (f"Needed: what to do with requests that failed ({fmt.failed_doc})." if fmt.failed
                else "None: the format records no failures.")
    mapping = (f"Which key each name in column `{fmt.model}` runs; \"round-robin\": names in order of appearance "
               "take the keys in turn." if fmt.model else "None: the format names no models.")
    read_workload.__doc__ = _READ_DOC.format(
        title=fmt.title, name=public, rule=_wrapped(" ".join(rules)), sorts=sorts, failures=failures,
        mapping=_wrapped(mapping).replace("\n    ", "\n        "))
    for function, suffix in ((read_workload, ""), (read_table, "_table")):
        function.__name__ = function.__qualname__ = f"read_{public}{suffix}"
        function.__module__ = "dnnsched.workloads"
    return read_workload, read_table


read_azure_llm, read_azure_llm_table = functions("azure_llm")
read_azure_lmm, read_azure_lmm_table = functions("azure_lmm")
read_azure_functions, read_azure_functions_table = functions("azure_functions")
read_burstgpt, read_burstgpt_table = functions("burstgpt")
read_mooncake, read_mooncake_table = functions("mooncake")
read_bailian, read_bailian_table = functions("bailian")
read_alibaba_genai, read_alibaba_genai_table = functions("alibaba_genai")
read_alibaba_gpu_2020, read_alibaba_gpu_2020_table = functions("alibaba_gpu_2020")
read_mlperf, read_mlperf_table = functions("mlperf")
read_vidur, read_vidur_table = functions("vidur")
read_requests, read_requests_table = functions("dnnsched")
