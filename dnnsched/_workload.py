"""The workload class and its deadlines; :mod:`dnnsched.workloads` is the public place."""

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np

from dnnsched._arrays import as_float64, as_int32, check_choice, check_elements, check_int, check_number, replace_file
from dnnsched._csvio import write_columns
from dnnsched.errors import FormatError
from dnnsched.traces import TraceSet, header_text, read_header, read_npz, set_from_arrays, set_to_arrays

SLO_BASES = ("request", "model")
_FORMAT = "dnnsched-workload"
_VERSION = 1
_CSV_COLUMNS = ("request_id", "key", "sample", "arrival_s", "deadline_s", "priority")
_SOURCE = np.dtype([("row0", "i8"), ("n", "i8"), ("window", "i8"), ("burst", "i8"), ("until_s", "f8"), ("n_min", "i8")])


@dataclass(frozen=True)
class Source:
    """A closed loop: requests `row0` to ``row0 + n - 1`` are released by completions instead of by the clock.

    Every request out holds one of `window` credits from the moment it is chosen until it ends. At first all credits
    are there and requests are released at their arrivals. Whenever `burst` credits have come back, the next `burst`
    requests are chosen and released together, after the think time of the first of them and not before the arrival
    of the last.

    Attributes
    ----------
    row0, n : int
        First request and number of requests.
    window, burst : int
        1 <= burst <= window.
    until_s, n_min : float, int
        The loop ends with its requests, or once `n_min` of them are chosen and one is due at `until_s` seconds or
        later.
    """

    row0: int
    n: int
    window: int = 1
    burst: int = 1
    until_s: float = math.inf
    n_min: int = 0

    def __post_init__(self):
        for name, low in (("row0", 0), ("n", 1), ("window", 1), ("burst", 1), ("n_min", 0)):
            check_int(getattr(self, name), name, low)
        check_number(self.until_s, "until_s", 0, finite=False)
        if self.burst > self.window:
            raise ValueError(f"burst: expected at most the window ({self.window}), got {self.burst}")


class Workload:
    """Requests in arrival order.

    Parameters
    ----------
    traces : TraceSet
        What the requests run.
    arrival : array_like, shape (n,)
        Seconds, finite, >= 0, non-decreasing.
    model : array_like of int or str, shape (n,)
        Trace of each request: index or key of `traces`.
    sample : array_like of int, shape (n,)
        Row of that trace.
    deadline : array_like, shape (n,)
        Absolute seconds; inf for none.
    priority : array_like, shape (n,), optional
        Finite, >= 0; larger is more urgent. Default 1.
    sources : sequence of Source, optional
        Closed loops, by rows, without common rows. Their requests are released by completions: `arrival` is then the
        earliest release, and ``deadline - arrival`` counts from the release.
    think_s : array_like, shape (n,), optional
        Seconds between a credit and the release of each request of a closed loop, finite, >= 0. Default 0.
    meta : dict, optional
        How the rows came about; the keys ``semantics``, ``slo_base``, ``sample_rule``, ``arrivals`` and
        ``rate`` are always there (None when unknown).

    Attributes
    ----------
    arrival, deadline, priority : float64[n], read-only
    sources : tuple of Source
    think_s : float64[n], read-only, or None
    model, sample : int32[n], read-only
        `model` is the index of the key in `traces`.

    Raises
    ------
    ValueError, TypeError
        Naming the argument and the first offending row.
    """

    __slots__ = ("arrival", "deadline", "meta", "model", "priority", "sample", "sources", "think_s", "traces")

    def __init__(self, traces, arrival, model, sample, deadline, priority=None, meta=None, *, sources=(), think_s=None):
        if not isinstance(traces, TraceSet):
            raise TypeError(f"traces: expected a TraceSet, got {type(traces).__name__}")
        arrival = as_float64(arrival, "arrival", 1)
        n = len(arrival)
        if n == 0:
            raise ValueError("arrival: expected at least one request, got none")
        check_elements(arrival, "arrival", ~(np.isfinite(arrival) & (arrival >= 0)), "a finite time >= 0 (seconds)")
        late = np.diff(arrival) < 0
        if late.any():
            row = int(np.argmax(late)) + 1
            raise ValueError(f"arrival: row {row}: expected a time >= {float(arrival[row - 1])!r}, that of the row "
                             f"before, got {float(arrival[row])!r}; sort the requests by arrival")
        model = _key_index(traces, model)
        deadline = as_float64(deadline, "deadline", 1)
        check_elements(deadline, "deadline", np.isnan(deadline) | (deadline == -np.inf), "a time in seconds, or inf")
        priority = np.ones(n) if priority is None else as_float64(priority, "priority", 1)
        check_elements(priority, "priority", ~(np.isfinite(priority) & (priority > 0)), "a finite value > 0")
        sample = as_int32(sample, "sample", 0, 2**31 - 1)
        for name, array in (("model", model), ("sample", sample), ("deadline", deadline), ("priority", priority)):
            if len(array) != n:
                raise ValueError(f"{name}: expected {n} rows as in arrival, got {len(array)}")
        beyond = sample >= traces.n_samples[model]
        if beyond.any():
            row = int(np.argmax(beyond))
            key = traces.keys_list[model[row]]
            raise ValueError(f"sample: row {row}: expected an index in [0, {traces[key].n_samples - 1}] "
                             f"(trace {key!r}), got {sample[row]}")
        if meta is not None and not isinstance(meta, Mapping):
            raise TypeError(f"meta: expected a dict, got {type(meta).__name__}")
        sources = _checked_sources(sources, n)
        if think_s is not None:
            think_s = as_float64(think_s, "think_s", 1)
            check_elements(think_s, "think_s", ~(np.isfinite(think_s) & (think_s >= 0)), "finite seconds >= 0")
            if len(think_s) != n or not sources:
                raise ValueError(f"think_s: expected {n} rows as in arrival, and sources; got {len(think_s)} rows and "
                                 f"{len(sources)} sources")
        self._fill(traces, arrival, model, sample, deadline, priority, meta, sources, think_s)

    def _fill(self, traces, arrival, model, sample, deadline, priority, meta, sources=(), think_s=None):
        self.traces = traces
        self.sources, self.think_s = sources, think_s
        if think_s is not None:
            think_s.flags.writeable = False
        self.arrival, self.deadline, self.priority = arrival, deadline, priority
        self.model, self.sample = model, sample
        for array in (arrival, deadline, priority, model, sample):
            array.flags.writeable = False
        self.meta = {"semantics": None, "slo_base": None, "sample_rule": None, "arrivals": {"process": "given"},
                     "rate": None, **(meta or {})}

    @classmethod
    def _trusted(cls, *columns):
        """A workload from arrays that need no checks and that nobody else holds."""
        self = cls.__new__(cls)
        self._fill(*columns)
        return self

    def looped(self, sources, think_s=None):
        """The same requests in closed loops.

        Parameters
        ----------
        sources, think_s
            As for the class.

        Returns
        -------
        Workload
        """
        return Workload(self.traces, self.arrival, self.model, self.sample, self.deadline, self.priority, self.meta,
                        sources=sources, think_s=think_s)

    @property
    def n(self):
        """Number of requests."""
        return len(self.arrival)

    def __len__(self):
        return len(self.arrival)

    @property
    def isolated_s(self):
        """float64[n]: each request's own isolated time in seconds."""
        return isolated_s(self.traces, self.model, self.sample)

    def with_slo(self, multiplier, slo_base=None):
        """The same requests with other deadlines: arrival + (base * multiplier).

        Parameters
        ----------
        multiplier : float, mapping or array
            One factor > 0, or one per key (mapping from key, or array in key order).
        slo_base : {"request", "model"}, optional
            Isolated time of the request, or mean over its model; default: as this workload was built.

        Returns
        -------
        Workload
        """
        base = self.meta["slo_base"] if slo_base is None else slo_base
        if base is None:
            raise ValueError("slo_base: expected 'request' or 'model', because this workload does not record one")
        check_choice(base, "slo_base", SLO_BASES)
        factors = multipliers(self.traces, multiplier)
        deadline = deadlines(self.traces, self.arrival, self.model, self.sample, base, factors)
        meta = {**self.meta, "slo_base": base, "slo_multiplier": plain(factors)}
        return Workload._trusted(self.traces, self.arrival, self.model, self.sample, deadline, self.priority, meta,
                                 self.sources, self.think_s)

    def save(self, path):
        """Write the workload to one file, which is replaced atomically.

        ``.npz`` holds everything, the trace set included. ``.csv`` holds the rows only, with the columns
        ``request_id,key,sample,arrival_s,deadline_s,priority``; :meth:`load` then needs the traces, and closed loops
        cannot be saved.
        """
        path = Path(path)
        if path.suffix.lower() == ".csv":
            if self.sources:
                raise ValueError(f"path: expected a name ending in .npz for a workload with sources, got {str(path)!r}")
            write_columns(path, _CSV_COLUMNS, (np.arange(self.n), (self.model, self.traces.keys_list), self.sample,
                                               self.arrival, self.deadline, self.priority))
            return
        if path.suffix.lower() != ".npz":
            raise ValueError(f"path: expected a name ending in .npz or .csv, got {str(path)!r}")
        header, arrays = set_to_arrays(self.traces, "traces.")
        text = header_text({"format": _FORMAT, "version": _VERSION, "meta": self.meta, "traces": header})
        arrays["header"] = np.frombuffer(text.encode(), dtype=np.uint8)
        for name in ("arrival", "model", "sample", "deadline", "priority"):
            arrays[name] = getattr(self, name)
        if self.sources:
            arrays["sources"] = np.array([astuple(s) for s in self.sources], _SOURCE)
        if self.think_s is not None:
            arrays["think_s"] = self.think_s
        with replace_file(path) as stream:
            np.savez_compressed(stream, **arrays)

    @classmethod
    def load(cls, path, traces=None):
        """Read a workload that :meth:`save` wrote, or any CSV file with its columns.

        Parameters
        ----------
        path : str or path
        traces : TraceSet, optional
            For ``.csv`` files, whose ``request_id`` and ``priority`` are optional.

        Raises
        ------
        FormatError
            Naming file, and line and column of a CSV file.
        """
        path = Path(path)
        if path.suffix.lower() == ".csv":
            return cls._load_csv(path, traces)
        if traces is not None:
            raise ValueError(f"traces: expected None, because {path} holds its own")
        arrays = read_npz(path)
        header = read_header(arrays, path, _FORMAT, _VERSION)
        try:
            traces = set_from_arrays(path, header["traces"], arrays, "traces.")
            return cls(traces, *(arrays[name] for name in ("arrival", "model", "sample", "deadline", "priority")),
                       meta=header["meta"], think_s=arrays.get("think_s"),
                       sources=[Source(*row) for row in np.asarray(arrays.get("sources", []), _SOURCE).tolist()])
        except FormatError:
            raise
        except KeyError as exc:
            raise FormatError(f"{path}: {exc} is missing") from None
        except (TypeError, ValueError) as exc:
            raise FormatError(f"{path}: {exc}") from None

    @classmethod
    def _load_csv(cls, path, traces):
        if not isinstance(traces, TraceSet):
            raise TypeError(f"traces: expected a TraceSet for the keys of {path}, got {type(traces).__name__}")
        from dnnsched import _readers

        return _readers.load_csv(path, traces)

    def __eq__(self, other):
        if not isinstance(other, Workload):
            return NotImplemented
        return (all(np.array_equal(getattr(self, name), getattr(other, name))
                    for name in ("arrival", "model", "sample", "deadline", "priority", "think_s"))
                and self.sources == other.sources
                and self.traces == other.traces and self.meta == other.meta)

    __hash__ = None

    def __repr__(self):
        return (f"Workload(n={self.n}, {len(self.traces)} traces, {self.arrival[0]:.6g} to {self.arrival[-1]:.6g} s, "
                f"arrivals={self.meta['arrivals'].get('process')!r}, semantics={self.meta['semantics']!r})")


def _checked_sources(sources, n):
    """Tuple of sources whose rows are there and not shared."""
    sources, end = tuple(sources), 0
    for i, s in enumerate(sources):
        if not isinstance(s, Source):
            raise TypeError(f"sources: entry {i}: expected a Source, got {type(s).__name__}")
        if s.row0 < end or s.row0 + s.n > n:
            raise ValueError(f"sources: entry {i}: expected rows in [{end}, {n - 1}], after those of the entry before, "
                             f"got {s.row0} to {s.row0 + s.n - 1}")
        end = s.row0 + s.n
    return sources


def _key_index(traces, model):
    array = np.asarray(model)
    if array.dtype.kind == "U":
        if array.ndim != 1:
            raise ValueError(f"model: expected 1 dimension, got {array.ndim}")
        names, inverse = np.unique(array, return_inverse=True)
        known = {key: i for i, key in enumerate(traces.keys_list)}
        index = np.array([known.get(name, -1) for name in names.tolist()], dtype=np.int32)[inverse]
        if (index < 0).any():
            row = int(np.argmax(index < 0))
            raise ValueError(f"model: row {row}: expected one of {', '.join(traces)}, got {str(array[row])!r}")
        return index
    return as_int32(array, "model", 0, len(traces) - 1)


def isolated_s(traces, model, sample):
    """float64[n]: isolated seconds of rows."""
    flat = np.concatenate([trace.isolated_s for trace in traces.values()])
    start = np.concatenate([[0], np.cumsum(traces.n_samples)[:-1]])
    return flat[start[model] + sample]


def multipliers(traces, multiplier):
    """float64[keys] from a scalar, a mapping by key or an array in key order."""
    if isinstance(multiplier, Mapping):
        for key in multiplier:
            traces.index(key)
        missing = [key for key in traces if key not in multiplier]
        if missing:
            raise ValueError(f"slo_multiplier: expected a value for every key, missing {', '.join(missing)}")
        return np.array([check_number(multiplier[key], f"slo_multiplier[{key!r}]", 0, open_low=True, finite=False)
                         for key in traces])
    if np.ndim(multiplier) == 0:
        return np.full(len(traces), check_number(multiplier, "slo_multiplier", 0, open_low=True, finite=False))
    factors = as_float64(multiplier, "slo_multiplier", 1)
    if len(factors) != len(traces):
        raise ValueError(f"slo_multiplier: expected one value or {len(traces)} (one per key), got {len(factors)}")
    check_elements(factors, "slo_multiplier", ~(factors > 0), "a value > 0", ("key",))
    return factors


def deadlines(traces, arrival, model, sample, base, factors):
    """arrival + (base * multiplier), in this order of operations."""
    if base == "model":
        return arrival + (traces.model_mean_isolated_s[traces.model_index] * factors)[model]
    return arrival + isolated_s(traces, model, sample) * factors[model]


def plain(factors):
    """The one value of a constant array, else the list."""
    return float(factors[0]) if (factors == factors[0]).all() else factors.tolist()
