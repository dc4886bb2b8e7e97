"""Traces: what one model did on one accelerator, per input sample and layer.

A :class:`Trace` holds layer latencies in seconds and, if recorded, the fraction of zeros
that each layer saw. A :class:`TraceSet` is an ordered mapping from key (a variant of a
model, usually ``"model/pattern"``) to trace; its order is the index that workloads use.
:func:`load` gives the sets that come with the package, :func:`read_dysta_csv` and
:func:`read_dysta_folder` the files of the public Sparse-DySta artifact.
"""

import difflib
import json
import struct
import tokenize
import tomllib
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from dnnsched._arrays import as_float64, check_elements, replace_file
from dnnsched._trace_csv import load_folder, read_dysta_csv, read_dysta_folder, save_folder, write_dysta_csv
from dnnsched.errors import FormatError

__all__ = ["SetInfo", "Trace", "TraceSet", "list", "load", "read_dysta_csv", "read_dysta_folder", "register",
           "write_dysta_csv"]

_FORMAT = "dnnsched-traceset"
_VERSION = 1


class Trace:
    """Latency and sparsity of one model, per sample and layer.

    Parameters
    ----------
    latency : array_like, shape (samples, layers)
        Layer latencies in seconds, finite and > 0.
    sparsity : array_like, shape (samples, layers), optional
        Fraction of zeros in [0, 1] monitored on each layer; None when not recorded.
    model : str
        Architecture. Variants of one architecture share it, and schedulers that do not know
        the sparsity pattern estimate with the mean over them.
    pattern : str
        Sparsity pattern of the weights (or ``"dense"``).
    origin : str
        How the numbers came about: ``"measured"``, ``"modelled"``, ``"synthetic"``,
        ``"calibrated"``, or a phrase made of these.
    meta : dict, optional
        Anything that JSON can hold: seeds, devices, parameters.

    Raises
    ------
    ValueError, TypeError
        Naming the argument and the first offending row and column.
    """

    __slots__ = ("_isolated_s", "latency", "meta", "model", "origin", "pattern", "sparsity")

    def __init__(self, latency, sparsity=None, model="", pattern="dense", origin="synthetic", meta=None):
        latency = as_float64(latency, "latency", 2)
        if latency.size == 0:
            raise ValueError(f"latency: expected at least one sample and one layer, got shape {latency.shape}")
        check_elements(latency, "latency", ~(np.isfinite(latency) & (latency > 0)), "a finite value > 0 (seconds)")
        if sparsity is not None:
            sparsity = as_float64(sparsity, "sparsity", 2)
            if sparsity.shape != latency.shape:
                raise ValueError(f"sparsity: expected the shape of latency {latency.shape}, got {sparsity.shape}")
            check_elements(sparsity, "sparsity", ~((sparsity >= 0) & (sparsity <= 1)),
                           "a fraction of zeros in [0, 1]")
            sparsity += 0.0
            sparsity.flags.writeable = False
        for name, text in (("model", model), ("pattern", pattern), ("origin", origin)):
            if not isinstance(text, str):
                raise TypeError(f"{name}: expected a string, got {type(text).__name__}")
        if meta is not None and not isinstance(meta, Mapping):
            raise TypeError(f"meta: expected a dict, got {type(meta).__name__}")
        latency.flags.writeable = False
        isolated = latency[:, 0].copy()
        for layer in range(1, latency.shape[1]):
            isolated += latency[:, layer]
        isolated.flags.writeable = False
        self.latency = latency
        self.sparsity = sparsity
        self.model = model
        self.pattern = pattern
        self.origin = origin
        self.meta = dict(meta or {})
        self._isolated_s = isolated

    @property
    def n_samples(self):
        """Number of input samples."""
        return self.latency.shape[0]

    @property
    def n_layers(self):
        """Number of layers."""
        return self.latency.shape[1]

    @property
    def isolated_s(self):
        """float64[samples]: seconds alone on the accelerator, each row summed from left to right."""
        return self._isolated_s

    def table(self):
        """The latencies as a cost table [sample][stage].

        Returns
        -------
        dnnsched.CostTable
            With this trace's model, pattern, origin and meta, and the stage names that :meth:`CostTable.to_trace` left
            in it; sparsity is not part of a cost table.
        """
        from dnnsched.costs import CostTable

        stages = self.meta.get("stages")
        named = (isinstance(stages, Sequence) and all(isinstance(name, str) and name for name in stages)
                 and len(stages) == len(set(stages)) == self.n_layers)
        return CostTable(self.latency, stages=tuple(stages) if named else None, model=self.model, pattern=self.pattern,
                         origin=self.origin, meta=self.meta)

    def save(self, path):
        """Write the trace to ``path``: ``.npz``, or a folder of CSV (see :meth:`TraceSet.save`)."""
        TraceSet({self.model or "trace": self}).save(path)

    @classmethod
    def load(cls, path):
        """Read a trace that :meth:`save` wrote; ValueError if the file holds several."""
        ts = TraceSet.load(path)
        if len(ts) != 1:
            raise ValueError(f"{path}: expected one trace, got {len(ts)}: {', '.join(ts)}; use TraceSet.load")
        return next(iter(ts.values()))

    def __eq__(self, other):
        if not isinstance(other, Trace):
            return NotImplemented
        if (self.sparsity is None) != (other.sparsity is None):
            return False
        return (np.array_equal(self.latency, other.latency)
                and (self.sparsity is None or np.array_equal(self.sparsity, other.sparsity))
                and (self.model, self.pattern, self.origin, self.meta)
                == (other.model, other.pattern, other.origin, other.meta))

    __hash__ = None

    def __repr__(self):
        return (f"Trace(model={self.model!r}, pattern={self.pattern!r}, n_samples={self.n_samples}, "
                f"n_layers={self.n_layers}, mean isolated {np.mean(self.isolated_s):.6g} s, origin={self.origin!r})")


class TraceSet(Mapping):
    """Ordered mapping from key to :class:`Trace`; the insertion order is the index.

    Parameters
    ----------
    traces : mapping or iterable of (key, Trace)
        At least one. A trace without a model name belongs to the model named by its key up to
        the first ``"/"``. All variants of one model must have the same number of layers.
    origin : str, optional
        Label of the whole set; default: the traces' own, joined when they differ.
    meta : dict, optional
        Anything that JSON can hold.

    Raises
    ------
    ValueError
        No trace, a duplicate or empty key, or variants of one model with different numbers of
        layers.
    """

    def __init__(self, traces, origin=None, meta=None):
        pairs = traces.items() if isinstance(traces, Mapping) else traces
        self._traces = {}
        for key, trace in pairs:
            if not isinstance(key, str) or not key:
                raise ValueError(f"traces: expected keys that are non-empty strings, got {key!r}")
            if not isinstance(trace, Trace):
                raise TypeError(f"traces[{key!r}]: expected a Trace, got {type(trace).__name__}")
            if key in self._traces:
                raise ValueError(f"traces: duplicate key {key!r}")
            self._traces[key] = trace
        if not self._traces:
            raise ValueError("traces: expected at least one trace, got none")
        self.keys_list = tuple(self._traces)
        self._position = {key: i for i, key in enumerate(self.keys_list)}
        names = [trace.model or key.split("/", 1)[0] for key, trace in self._traces.items()]
        self.models = tuple(dict.fromkeys(names))
        self.model_index = np.array([self.models.index(name) for name in names], dtype=np.int32)
        self.model_index.flags.writeable = False
        self._check_layers(names)
        if origin is None:
            origin = " + ".join(dict.fromkeys(trace.origin for trace in self._traces.values()))
        if not isinstance(origin, str):
            raise TypeError(f"origin: expected a string, got {type(origin).__name__}")
        self.origin = origin
        self.meta = dict(meta or {})

    def _check_layers(self, names):
        first = {}
        for name, (key, trace) in zip(names, self._traces.items(), strict=True):
            other = first.setdefault(name, key)
            expected = self._traces[other].n_layers
            if trace.n_layers != expected:
                raise ValueError(f"traces[{key!r}]: expected {expected} layers as {other!r} has (same model {name!r}), "
                                 f"got {trace.n_layers}")

    def __getitem__(self, key):
        try:
            return self._traces[key]
        except (KeyError, TypeError):
            raise KeyError(f"unknown trace {key!r}; this set has {', '.join(self.keys_list)}") from None

    def __iter__(self):
        return iter(self._traces)

    def __len__(self):
        return len(self._traces)

    def index(self, key):
        """Index of a key (int); ValueError listing the keys if there is none."""
        try:
            return self._position[key]
        except (KeyError, TypeError):
            raise ValueError(f"key: expected one of {', '.join(self.keys_list)}, got {key!r}") from None

    @property
    def n_samples(self):
        """int64[keys]: samples of each trace."""
        return np.array([trace.n_samples for trace in self.values()], dtype=np.int64)

    @property
    def n_layers(self):
        """int64[keys]: layers of each trace."""
        return np.array([trace.n_layers for trace in self.values()], dtype=np.int64)

    @property
    def mean_isolated_s(self):
        """float64[keys]: mean over samples of the isolated time (NumPy's pairwise mean), in seconds."""
        return np.array([np.mean(trace.isolated_s) for trace in self.values()])

    @property
    def model_mean_isolated_s(self):
        """float64[models]: sum(n_i m_i) / sum(n_i) of `mean_isolated_s` over each model's keys in key order.

        For a model with one key this is that key's mean, to the bit: a quotient by n survives times n, over n.
        """
        per_key = self.mean_isolated_s
        total, count = np.zeros(len(self.models)), np.zeros(len(self.models))
        for model, n, mean in zip(self.model_index, self.n_samples, per_key, strict=True):
            total[model] += n * mean
            count[model] += n
        return total / count

    def subset(self, keys):
        """TraceSet of these keys, in this order."""
        return TraceSet({key: self[key] for key in keys}, self.origin, self.meta)

    def save(self, path):
        """Write the set to ``path``: one ``.npz`` file, or a folder of CSV for any other name.

        The data appear under the final name only when complete. An existing file is replaced;
        an existing folder is an error. Both forms keep every bit and are the same on every run.
        The folder holds ``index.json`` and one CSV per trace with the columns
        ``sample,layer,latency_s[,sparsity]``.

        Raises
        ------
        FileExistsError
            The folder exists.
        ValueError
            Some ``meta`` is not JSON.
        """
        path = Path(path)
        if path.suffix.lower() == ".npz":
            self._save_npz(path)
        else:
            header, _ = set_to_arrays(self)
            header_text(header)
            save_folder(self, path, {"format": _FORMAT, "version": _VERSION, **header})

    def _save_npz(self, path):
        header, arrays = set_to_arrays(self)
        text = header_text({"format": _FORMAT, "version": _VERSION, **header})
        arrays["header"] = np.frombuffer(text.encode(), np.uint8)
        with replace_file(path) as stream:
            np.savez_compressed(stream, **arrays)

    @classmethod
    def load(cls, path):
        """Read a set that :meth:`save` wrote, or a folder of public CSV files (see :func:`read_dysta_folder`).

        Raises
        ------
        FileNotFoundError
            Nothing there.
        FormatError
            The file is not such a set, or its values are out of range; the message names the file.
        """
        path = Path(path)
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder")
        if path.is_dir():
            found = load_folder(path)
            if found is None:
                return read_dysta_folder(path)
            text, arrays_of = found
            return _set_from(path, parse_header(text, path / "index.json", _FORMAT, _VERSION),
                             lambda i, entry: arrays_of(entry))
        arrays = read_npz(path)
        return set_from_arrays(path, read_header(arrays, path, _FORMAT, _VERSION), arrays)

    def __eq__(self, other):
        if not isinstance(other, TraceSet):
            return NotImplemented
        return (self.keys_list == other.keys_list and self.origin == other.origin and self.meta == other.meta
                and all(self[key] == other[key] for key in self))

    __hash__ = None

    def __repr__(self):
        keys = ", ".join(self.keys_list[:4]) + (", ..." if len(self) > 4 else "")
        return f"TraceSet({len(self)} traces of {len(self.models)} models: {keys}; origin={self.origin!r})"


def set_to_arrays(ts, prefix=""):
    """(JSON-able header, {member name: array}) of a trace set; member names begin with `prefix`."""
    header = {"origin": ts.origin, "meta": ts.meta, "traces": []}
    arrays = {}
    for i, (key, trace) in enumerate(ts.items()):
        header["traces"].append({"key": key, "model": trace.model, "pattern": trace.pattern, "origin": trace.origin,
                                 "meta": trace.meta, "sparsity": trace.sparsity is not None})
        arrays[f"{prefix}latency_{i}"] = trace.latency
        if trace.sparsity is not None:
            arrays[f"{prefix}sparsity_{i}"] = trace.sparsity
    return header, arrays


def set_from_arrays(path, header, arrays, prefix=""):
    """The trace set that `set_to_arrays` took apart; FormatError naming `path` if something is wrong."""
    return _set_from(path, header, lambda i, entry: (
        arrays[f"{prefix}latency_{i}"], arrays[f"{prefix}sparsity_{i}"] if entry["sparsity"] else None))


def _set_from(path, header, arrays_of):
    try:
        pairs = []
        for i, entry in enumerate(header["traces"]):
            latency, sparsity = arrays_of(i, entry)
            trace = Trace(latency, sparsity, entry["model"], entry["pattern"], entry["origin"], entry["meta"])
            pairs.append((entry["key"], trace))
        return TraceSet(pairs, header["origin"], header["meta"])
    except (FormatError, FileNotFoundError):
        raise
    except KeyError as exc:
        raise FormatError(f"{path}: {exc} is missing") from None
    except (TypeError, ValueError, AttributeError) as exc:
        raise FormatError(f"{path}: {exc}") from None


def header_text(header):
    """JSON text of a header; ValueError if some meta does not fit."""
    try:
        return json.dumps(header, ensure_ascii=False, indent=1)
    except (TypeError, ValueError) as exc:
        raise ValueError(f"meta: expected values that JSON can hold: {exc}") from None


def read_npz(path):
    """All arrays of an ``.npz`` file as a dict; FormatError naming the file if it is not one."""
    try:
        with np.load(path, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except (ValueError, OSError, EOFError, KeyError, AttributeError, TypeError, SyntaxError, OverflowError, MemoryError,
            RuntimeError, zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError) as exc:
        raise FormatError(f"{path}: not a readable .npz file ({exc})") from None
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise FormatError(f"{path}: member {name!r} is not an array")
    return arrays


def read_header(arrays, path, kind, version):
    """The JSON header of one of our ``.npz`` files, its format name and version checked."""
    if "header" not in arrays or arrays["header"].dtype != np.uint8:
        raise FormatError(f"{path}: expected a {kind} file, got an .npz without its header")
    return parse_header(bytes(arrays["header"]), path, kind, version)


def parse_header(text, path, kind, version):
    """`read_header` for JSON text."""
    try:
        header = json.loads(text)
    except ValueError as exc:
        raise FormatError(f"{path}: header is not JSON ({exc})") from None
    if not isinstance(header, dict) or header.get("format") != kind:
        got = header.get("format") if isinstance(header, dict) else type(header).__name__
        raise FormatError(f"{path}: expected a {kind} file, got {got!r}")
    if header.get("version") != version:
        raise FormatError(f"{path}: expected version {version} of {kind}, got {header.get('version')!r}")
    return header


class SetInfo(NamedTuple):
    """What :func:`list` tells about a set."""

    name: str
    description: str
    origin: str


_REGISTRY = {}


def register(name, loader, description, origin):
    """Make a set available to :func:`load` under a name.

    Parameters
    ----------
    name : str
        Not registered yet.
    loader : callable
        ``loader(**kw) -> TraceSet``.
    description, origin : str
        One line for listings, and the label of the numbers (see :class:`Trace`).
    """
    if name in _REGISTRY:
        raise ValueError(f"name: trace set {name!r} is already registered")
    if not callable(loader):
        raise TypeError(f"loader: expected a callable, got {type(loader).__name__}")
    _REGISTRY[name] = (loader, SetInfo(name, description, origin))


def _builtin_sets():
    import dnnsched._recorded
    try:
        import dnnsched._sets  # noqa: F401  registers sets A and B
    except ModuleNotFoundError as exc:
        if exc.name != "dnnsched._sets":
            raise


def _recorded_sets():
    """{name: (path, SetInfo)} of the recorded files: data/traces/NAME.npz with NAME.toml or NAME.json beside it."""
    from dnnsched.paths import data_dir
    try:
        folder = data_dir() / "traces"
    except FileNotFoundError:
        return {}
    found = {}
    for path in sorted(folder.glob("*.npz")):
        sidecar = {}
        if path.with_suffix(".toml").exists():
            sidecar = tomllib.loads(path.with_suffix(".toml").read_text("utf-8"))
        elif path.with_suffix(".json").exists():
            sidecar = json.loads(path.with_suffix(".json").read_text("utf-8"))
        found[path.stem] = (path, SetInfo(path.stem, str(sidecar.get("description", "")),
                                          str(sidecar.get("origin", ""))))
    return found


def load(name, **kwargs):
    """One of the package's trace sets, or a file.

    Parameters
    ----------
    name : str or path
        A name that :func:`list` gives, or the path of a file that :meth:`TraceSet.save` wrote.
    **kwargs
        Passed to the set's builder (seed, variant, ...); recorded sets take none.

    Returns
    -------
    TraceSet

    Raises
    ------
    ValueError
        Unknown name; the message lists the known ones.
    """
    _builtin_sets()
    if name in _REGISTRY:
        return _REGISTRY[name][0](**kwargs)
    recorded = _recorded_sets()
    path = recorded[name][0] if name in recorded else Path(name)
    if path.exists():
        if kwargs:
            raise TypeError(f"{name}: a file takes no options, got {', '.join(kwargs)}")
        return TraceSet.load(path)
    known = sorted({*_REGISTRY, *recorded})
    close = difflib.get_close_matches(str(name), known, 1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"name: expected one of {', '.join(known) or '(no sets installed)'} or the path of a file, "
                     f"got {str(name)!r}{hint}")


def list():
    """The trace sets that :func:`load` knows.

    Returns
    -------
    mapping
        Read-only, from name to :class:`SetInfo` (name, description, origin), sorted by name.
    """
    _builtin_sets()
    infos = {name: info for name, (_, info) in _REGISTRY.items()}
    infos.update((name, info) for name, (_, info) in _recorded_sets().items())
    return MappingProxyType(dict(sorted(infos.items())))


def calibration_table(name, draw=0, **options):
    """Published statistics that a generated set is made for, and what a draw of it achieves.

    Parameters
    ----------
    name : {"multi-attnn", "multi-cnn"}
    draw : int
        Realisation of the set.
    **options
        As for :func:`load`.

    Returns
    -------
    structured ndarray
        One row per statistic: ``key`` (trace or model), ``source`` (figure or table of the paper), ``statistic``,
        ``layer`` (-1 = whole network), ``target`` (NaN = none printed), ``low`` and ``high`` (what counts as met),
        ``achieved``, ``passed``. The last rows are :func:`feedback`.
    """
    from dnnsched import _sets_calibration
    return _sets_calibration.calibration_table(name, draw, **options)


def feedback(ts, warn=True):
    """Does a layer's sparsity tell its latency? Per trace, over all samples and layers that vary.

    A scheduler that multiplies its estimate by gamma, the density of a layer over its average, gains only if
    latency follows density: with elasticity e the error that is left is about ``|1 - e|`` times gamma - 1, without
    correction ``|e|`` times, so correcting helps from e = .5 on.

    Parameters
    ----------
    ts : TraceSet
    warn : bool
        Warn (UserWarning) for every trace whose correlation is below .7.

    Returns
    -------
    structured ndarray
        ``key``, ``correlation`` of gamma - 1 and latency ratio - 1, ``elasticity`` (slope of the second on the first
        through the origin); NaN where nothing varies or sparsity was not recorded.
    """
    from dnnsched import _sets_calibration
    return _sets_calibration.feedback(ts, warn)
