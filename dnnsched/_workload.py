"""The workload class and its deadlines; :mod:`dnnsched.workloads` is the public place."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dnnsched._arrays import as_float64, as_int32, check_choice, check_elements, check_number, replace_file
from dnnsched._csvio import write_columns
from dnnsched.errors import FormatError
from dnnsched.traces import TraceSet, header_text, read_header, read_npz, set_from_arrays, set_to_arrays

SLO_BASES = ("request", "model")
_FORMAT = "dnnsched-workload"
_VERSION = 1
_CSV_COLUMNS = ("request_id", "key", "sample", "arrival_s", "deadline_s", "priority")


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
    meta : dict, optional
        How the rows came about; the keys ``semantics``, ``slo_base``, ``sample_rule``, ``arrivals`` and
        ``rate`` are always there (None when unknown).

    Attributes
    ----------
    arrival, deadline, priority : float64[n], read-only
    model, sample : int32[n], read-only
        `model` is the index of the key in `traces`.

    Raises
    ------
    ValueError, TypeError
        Naming the argument and the first offending row.
    """

    __slots__ = ("arrival", "deadline", "meta", "model", "priority", "sample", "traces")

    def __init__(self, traces, arrival, model, sample, deadline, priority=None, meta=None):
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
        self._fill(traces, arrival, model, sample, deadline, priority, meta)

    def _fill(self, traces, arrival, model, sample, deadline, priority, meta):
        self.traces = traces
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

    @property
    def n(self):
        """Number of requests."""
        return len(self.arrival)

    def __len__(self):
        return len(self.arrival)

    @property
    def isolated_s(self):
        """float64[n]: each request's own isolated time in seconds."""
        return _isolated(self.traces, self.model, self.sample)

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
        return Workload._trusted(self.traces, self.arrival, self.model, self.sample, deadline, self.priority, meta)

    def save(self, path):
        """Write the workload to one file, which is replaced atomically.

        ``.npz`` holds everything, the trace set included. ``.csv`` holds the rows only, with the columns
        ``request_id,key,sample,arrival_s,deadline_s,priority``; :meth:`load` then needs the traces.
        """
        path = Path(path)
        if path.suffix.lower() == ".csv":
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
                       meta=header["meta"])
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
                    for name in ("arrival", "model", "sample", "deadline", "priority"))
                and self.traces == other.traces and self.meta == other.meta)

    __hash__ = None

    def __repr__(self):
        return (f"Workload(n={self.n}, {len(self.traces)} traces, {self.arrival[0]:.6g} to {self.arrival[-1]:.6g} s, "
                f"arrivals={self.meta['arrivals'].get('process')!r}, semantics={self.meta['semantics']!r})")


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


def _isolated(traces, model, sample):
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
    return arrival + _isolated(traces, model, sample) * factors[model]


def plain(factors):
    """The one value of a constant array, else the list."""
    return float(factors[0]) if (factors == factors[0]).all() else factors.tolist()
