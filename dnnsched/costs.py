"""Cost tables: seconds (and, if known, joules and quality) of every stage of one program.

A :class:`CostTable` is what a measurement or a cost model boils down to before the simulation: numbers over samples and
stages, or over stages and batch sizes. :meth:`dnnsched.Trace.table`, ``table()`` of an accelerator's cost records and
:func:`dnnsched.kernels.profile` make one; :meth:`CostTable.to_trace` gives the trace that requests run on.
"""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np

from dnnsched._arrays import as_float64, check_choice, check_elements, check_int, replace_file, seed_sequence
from dnnsched.errors import FormatError
from dnnsched.traces import Trace, header_text, read_header, read_npz

__all__ = ["LAYOUTS", "CostTable"]

#: What rows and columns of a table are.
LAYOUTS = ("sample_stage", "stage_batch")

_AXES = {"sample_stage": ("sample", "stage"), "stage_batch": ("stage", "column")}
_FORMAT, _VERSION = "dnnsched-costtable", 1


class CostTable:
    """Seconds of every stage, per sample or per batch size.

    Parameters
    ----------
    seconds : array_like, shape (samples, stages) or (stages, batches)
        Durations, finite and > 0. In the second layout a cell is the time of the whole batch.
    layout : {"sample_stage", "stage_batch"}
        Which of the two.
    energy_j : array_like, optional
        Joules, of the shape of `seconds`, finite and >= 0.
    quality : array_like, optional
        Quality of an answer given after each stage (accuracy, confidence, ...), finite: shape (samples, stages), or
        (stages,) in the layout ``"stage_batch"``.
    draws_s : array_like, shape (stages, batches, draws), optional
        Single measurements that `seconds` sums up, finite and > 0; layout ``"stage_batch"`` only.
    stages : sequence of str, or Network, optional
        Unique names of the stages; default ``"0"``, ``"1"``, ...
    batches : sequence of int, optional
        Batch size of each column, ascending, >= 1; default 1, 2, ... Layout ``"stage_batch"`` only.
    model, pattern : str
        As for :class:`~dnnsched.Trace`.
    origin : str
        ``"measured"``, ``"modelled"``, ``"synthetic"``, ``"calibrated"``, or a phrase made of these.
    meta : dict, optional
        Anything that JSON can hold: machine, settings.

    Attributes
    ----------
    seconds, energy_j, quality, draws_s : float64, read-only, or None
    stages : tuple of str
    batches : tuple of int
        Empty in the layout ``"sample_stage"``.

    Raises
    ------
    ValueError, TypeError
        Naming the argument and the first offending element.

    Notes
    -----
    In an engine table (:meth:`dnnsched.sim.System.table`) ``seconds`` of the first layout has the axes ``("sample",)``;
    of the second, ``seconds.T`` has the axes ``("load",)`` if `batches` is 1, 2, ..., B. Stages are its columns.

    Examples
    --------
    >>> table = CostTable([[1e-3, 1.6e-3], [2e-3, 3e-3]], "stage_batch", batches=(1, 2), stages=("conv", "fc"))
    >>> table.column(2)
    array([0.0016, 0.003 ])
    >>> table.to_trace(5).isolated_s
    array([0.003, 0.003, 0.003, 0.003, 0.003])
    """

    __slots__ = ("batches", "draws_s", "energy_j", "layout", "meta", "model", "origin", "pattern", "quality", "seconds",
                 "stages")

    def __init__(self, seconds, layout="sample_stage", *, energy_j=None, quality=None, draws_s=None, stages=None,
                 batches=None, model="", pattern="dense", origin="modelled", meta=None):
        self.layout = check_choice(layout, "layout", LAYOUTS)
        by_batch = layout == "stage_batch"
        self.seconds = _positive(seconds, "seconds", 2, _AXES[layout])
        self.energy_j = None if energy_j is None else _same(energy_j, "energy_j", self.seconds.shape, low=0.0)
        n_stages = self.seconds.shape[0 if by_batch else 1]
        shape = (n_stages,) if by_batch else self.seconds.shape
        self.quality = None if quality is None else _same(quality, "quality", shape)
        self.draws_s = self._draws(draws_s, by_batch)
        self.stages = _names(stages, n_stages)
        self.batches = self._batches(batches, by_batch)
        for name, text in (("model", model), ("pattern", pattern), ("origin", origin)):
            if not isinstance(text, str):
                raise TypeError(f"{name}: expected a string, got {type(text).__name__}")
        if meta is not None and not isinstance(meta, Mapping):
            raise TypeError(f"meta: expected a dict, got {type(meta).__name__}")
        self.model, self.pattern, self.origin, self.meta = model, pattern, origin, dict(meta or {})
        for array in (self.seconds, self.energy_j, self.quality, self.draws_s):
            if array is not None:
                array.flags.writeable = False

    def _draws(self, draws_s, by_batch):
        if draws_s is None:
            return None
        if not by_batch:
            raise ValueError("draws_s: expected None in the layout 'sample_stage', whose rows are single draws")
        draws = _positive(draws_s, "draws_s", 3, ("stage", "column", "draw"))
        if draws.shape[:2] != self.seconds.shape:
            raise ValueError(f"draws_s: expected shape {(*self.seconds.shape, 'draws')}, got {draws.shape}")
        return draws

    def _batches(self, batches, by_batch):
        if not by_batch:
            if batches is not None:
                raise ValueError("batches: expected None in the layout 'sample_stage'")
            return ()
        width = self.seconds.shape[1]
        sizes = tuple(check_int(b, "batches", 1) for b in (range(1, width + 1) if batches is None else batches))
        if len(sizes) != width or any(a >= b for a, b in pairwise(sizes)):
            raise ValueError(f"batches: expected {width} ascending sizes, one per column of seconds, got {sizes}")
        return sizes

    @property
    def n_stages(self):
        """Number of stages."""
        return len(self.stages)

    def column(self, batch=1):
        """Seconds of each stage for a batch size of the table.

        Parameters
        ----------
        batch : int

        Returns
        -------
        ndarray of float64, shape (stages,)

        Raises
        ------
        ValueError
            The table has no such batch size, or the layout ``"sample_stage"``.
        """
        return self.seconds[:, self._at(batch)].copy()

    def _at(self, batch):
        if self.layout != "stage_batch":
            raise ValueError("batch: expected a table of layout 'stage_batch', got 'sample_stage'")
        if batch not in self.batches:
            raise ValueError(f"batch: expected one of {', '.join(map(str, self.batches))}, got {batch!r}")
        return self.batches.index(batch)

    def to_trace(self, n_samples=None, rng=None, *, batch=1):
        """Trace that requests run on.

        Parameters
        ----------
        n_samples : int, optional
            Samples of the trace. Layout ``"sample_stage"``: default the table's rows in order, else rows drawn with
            replacement. Layout ``"stage_batch"``: default one.
        rng : int, SeedSequence, Generator or BitGenerator, optional
            Needed where rows or measurements are drawn.
        batch : int
            Which column, in the layout ``"stage_batch"``: a sample is then one batch.

        Returns
        -------
        Trace
            With the table's model, pattern and origin; stage names and the source of the samples are in its `meta`.

        Raises
        ------
        ValueError
            The batch size is absent, or draws are needed and `rng` is None.

        Notes
        -----
        With `draws_s` and `rng`, every cell of a sample is one of that stage's measurements, independently of the
        other stages; without, all samples are equal.
        """
        if n_samples is not None:
            n_samples = check_int(n_samples, "n_samples", 1)
        by_batch = self.layout == "stage_batch"
        at = self._at(batch) if by_batch else 0
        drawn = (self.draws_s is not None and rng is not None) if by_batch else n_samples is not None
        bits, record = None, None
        if drawn:
            if rng is None:
                raise ValueError("rng: expected a seed, because samples are drawn")
            seed, record = seed_sequence(rng)
            bits = np.random.Generator(np.random.PCG64(seed))
        count = n_samples or 1
        if not by_batch:
            latency = self.seconds if bits is None else self.seconds[bits.integers(0, len(self.seconds), count)]
        elif bits is None:
            latency = np.tile(self.seconds[:, at], (count, 1))
        else:
            which = bits.integers(0, self.draws_s.shape[2], (count, self.n_stages))
            latency = self.draws_s[np.arange(self.n_stages), at, which]
        meta = {**self.meta, "stages": list(self.stages), "samples": "drawn" if drawn else "as in the table"}
        meta |= {"batch": int(batch)} if by_batch else {}
        meta |= {"rng": record} if drawn else {}
        return Trace(latency, None, self.model, self.pattern, self.origin, meta)

    def save(self, path):
        """Write the table to one ``.npz`` file, which is replaced atomically.

        Raises
        ------
        ValueError
            Another ending, or some `meta` is not JSON.
        """
        path = Path(path)
        if path.suffix.lower() != ".npz":
            raise ValueError(f"path: expected a name ending in .npz, got {str(path)!r}")
        arrays = {name: getattr(self, name) for name in ("seconds", "energy_j", "quality", "draws_s")
                  if getattr(self, name) is not None}
        header = header_text({"format": _FORMAT, "version": _VERSION, "layout": self.layout, "stages": self.stages,
                              "batches": self.batches, "model": self.model, "pattern": self.pattern,
                              "origin": self.origin, "meta": self.meta})
        arrays["header"] = np.frombuffer(header.encode(), np.uint8)
        with replace_file(path) as stream:
            np.savez_compressed(stream, **arrays)

    @classmethod
    def load(cls, path):
        """Read a table that :meth:`save` wrote.

        Raises
        ------
        FileNotFoundError
            Nothing there.
        FormatError
            Not such a file, or its values are out of range; the message names the file.
        """
        arrays = read_npz(path)
        header = read_header(arrays, path, _FORMAT, _VERSION)
        try:
            return cls(arrays["seconds"], header["layout"], batches=header["batches"] or None,
                       **{name: header[name] for name in ("stages", "model", "pattern", "origin", "meta")},
                       **{name: arrays[name] for name in ("energy_j", "quality", "draws_s") if name in arrays})
        except KeyError as exc:
            raise FormatError(f"{path}: {exc} is missing") from None
        except (TypeError, ValueError) as exc:
            raise FormatError(f"{path}: {exc}") from None

    def __eq__(self, other):
        if not isinstance(other, CostTable):
            return NotImplemented
        arrays = [(getattr(self, name), getattr(other, name)) for name in ("seconds", "energy_j", "quality", "draws_s")]
        return (all((a is None) == (b is None) and (a is None or np.array_equal(a, b)) for a, b in arrays)
                and all(getattr(self, name) == getattr(other, name) for name in
                        ("layout", "stages", "batches", "model", "pattern", "origin", "meta")))

    __hash__ = None

    def __repr__(self):
        shape = f"{self.seconds.shape[0]} samples x {self.n_stages} stages"
        if self.layout == "stage_batch":
            shape = f"{self.n_stages} stages x batches {', '.join(map(str, self.batches))}"
        return f"CostTable({self.model!r}, {shape}, pattern={self.pattern!r}, origin={self.origin!r})"


def _positive(value, name, ndim, axes):
    array = as_float64(value, name, ndim)
    if array.size == 0:
        raise ValueError(f"{name}: expected at least one element along every axis, got shape {array.shape}")
    check_elements(array, name, ~(np.isfinite(array) & (array > 0)), "a finite value > 0 (seconds)", axes)
    return array


def _same(value, name, shape, low=None):
    array = as_float64(value, name, len(shape))
    if array.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {array.shape}")
    bad = ~np.isfinite(array)
    check_elements(array, name, bad if low is None else bad | (array < low),
                   "a finite number" if low is None else "a finite value >= 0 (joules)")
    return array


def _names(stages, n):
    if stages is None:
        return tuple(map(str, range(n)))
    if isinstance(stages, str):
        raise TypeError("stages: expected a sequence of names, got a string")
    names = tuple(getattr(stage, "name", stage) for stage in stages)
    for i, name in enumerate(names):
        if not isinstance(name, str) or not name or name in names[:i]:
            raise ValueError(f"stages: entry {i}: expected a name that is a non-empty string and unique, got {name!r}")
    if len(names) != n:
        raise ValueError(f"stages: expected {n} names, got {len(names)}")
    return names
