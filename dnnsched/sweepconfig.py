"""Configuration of ``dnnsched sweep``: a ``run`` configuration with a table ``[sweep]`` of axes.

::

    replications = 10
    [workload]
    traces = "multi-attnn"
    n = 1000
    [sweep]
    workload.rho = [0.5, 0.7, 0.9]
    workload.slo_multiplier = [5, 10]
    scheduler = ["sjf", { name = "dysta", slack = "clamped" }]

Any key of the run configuration can be an axis, except ``seed``, ``replications`` and ``timeline``. Without an axis
``scheduler`` the tables ``[[scheduler]]`` are its values. ``seed`` is the entropy that all seeds derive from;
schedulers see the same requests.
"""

import copy
import functools
import hashlib
import json
import os
from dataclasses import dataclass, fields
from pathlib import Path

from dnnsched import runconfig, running, sweeps
from dnnsched.report import provenance, rundir
from dnnsched.runconfig import ConfigError

_FIXED = ("seed", "replications", "timeline")


@dataclass(frozen=True)
class SweepConfig:
    """A checked sweep.

    Attributes
    ----------
    base : dict
        The run configuration without the axes (parsed TOML).
    points : list of dict
        Axis (dotted key) -> value.
    seed, replications : int
    """

    base: dict
    points: list
    seed: int
    replications: int

    @property
    def inputs(self):
        """Trace files that the points read."""
        names = {p.get("workload.traces", self.base.get("workload", {}).get("traces")) for p in self.points}
        return sorted(n for n in names if isinstance(n, str) and os.path.isfile(n))


def parse(data, source="config"):
    """Check a parsed TOML document, every point of it.

    Parameters
    ----------
    data : dict
    source : str
        Name for messages.

    Returns
    -------
    SweepConfig

    Raises
    ------
    ConfigError
    """
    base = copy.deepcopy(data)
    table = base.pop("sweep", None)
    if not isinstance(table, dict) or not table:
        raise ConfigError(f"{source}: expected a table [sweep] of axes, such as  workload.rho = [0.5, 0.9]")
    axes = dict(_leaves(table, source))
    if "scheduler" not in axes:
        given = base.get("scheduler", [])
        axes["scheduler"] = given if isinstance(given, list) else [given]
    base.pop("scheduler", None)
    for name, values in axes.items():
        _check_axis(source, name, values)
    points = [{}]
    for name, values in axes.items():
        points = [{**p, name: v} for p in points for v in values]
    first = None
    for point in points:
        place = ", ".join(f"{k} = {v!r}" for k, v in point.items())
        first = first or runconfig.parse(_with(base, point), f"{source} at {place}")
        runconfig.parse(_with(base, point), f"{source} at {place}")
    return SweepConfig(base, points, first.seed, first.replications)


def load(path, overrides=()):
    """Read a configuration file.

    Parameters
    ----------
    path : path-like
    overrides : iterable of str
        ``key=value`` with dotted keys (``sweep.workload.rho=[0.8,0.9]``).

    Returns
    -------
    SweepConfig

    Raises
    ------
    ConfigError, FormatError, FileNotFoundError
    """
    return parse(runconfig.read(path, overrides), str(path))


def _leaves(table, source, prefix=""):
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, source, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _check_axis(source, name, values):
    where = f"{source}: sweep"
    known = [f"workload.{f.name}" for f in fields(runconfig.WorkloadConfig)]
    known += [f.name for f in fields(runconfig.RunConfig) if f.name not in (*_FIXED, "workload")]
    if name in _FIXED:
        raise ConfigError(f"{where}.{name}: cannot be an axis")
    if name not in known:
        raise runconfig.unknown_key(where, name, known)
    if not isinstance(values, list) or not values:
        raise ConfigError(f"{where}.{name}: expected a list of values, got {values!r}")


def _with(base, point):
    """The run configuration of one point."""
    data = copy.deepcopy(base)
    for name, value in point.items():
        if name == "scheduler":
            data[name] = [{"name": value} if isinstance(value, str) else value]
        else:
            table, _, key = name.rpartition(".")
            (data.setdefault(table, {}) if table else data)[key] = value
    return data


def simulate_point(seed, *, base, files=(), **point):
    """One replication of one point; what the workers run.

    Parameters
    ----------
    seed : int
    base : str
        The run configuration without the axes, as JSON.
    files : tuple of (str, str)
        Trace files and their SHA-256: part of what the sweep is known by.
    **point
        Axis (dotted key) -> value.

    Returns
    -------
    Result
    """
    return running.simulate(_parsed(base, json.dumps(point)), seed)


@functools.lru_cache(maxsize=256)
def _parsed(base, point):
    return runconfig.parse(_with(json.loads(base), json.loads(point)))


def run_id(config):
    """Name of the sweep's run directory: the first digits of its configuration's SHA-256."""
    text = provenance.canonical_json([config.base, config.points])
    return f"sweep-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def run(config, *, store=None, existing="resume", rebuild=False, executor=None, jobs=None,
        keep_requests=None, quiet=True):
    """Run a sweep.

    Parameters
    ----------
    config : SweepConfig
    store : path-like, optional
        Run directory that keeps every finished replication.
    existing : {"resume", "refuse", "replace"}
        What to do if `store` exists.
    rebuild : bool
        First make the index of an existing store from its files.
    executor, jobs, keep_requests
        See :func:`dnnsched.sweeps.sweep`.
    quiet : bool

    Returns
    -------
    dnnsched.sweeps.SweepResult

    Raises
    ------
    FileExistsError
        `store` exists and is to be refused, or is no run directory; the message names the options.
    """
    if store is not None and Path(store).exists():
        if existing == "refuse" and not rebuild:
            raise FileExistsError(f"{store}: already exists; go on with --resume, replace it with --force, or choose "
                                  "another output directory")
        if existing == "replace":
            rundir.remove(store)
        elif rebuild:
            sweeps.rebuild_index(store)
    base = {k: v for k, v in config.base.items() if k not in _FIXED}
    files = tuple((path, provenance.sha256_of(path)) for path in config.inputs)
    study = functools.partial(simulate_point, base=json.dumps(base, sort_keys=True), files=files)
    return sweeps.sweep(config.points, study, replications=config.replications, rng=config.seed, executor=executor,
                        jobs=jobs, store=store, keep_requests=keep_requests, quiet=quiet)


def report_options(config):
    """What the report of a sweep says beside its numbers: options of ``SweepResult.report``."""
    workload = config.base.get("workload", {})
    fixed = {"workload": workload.get("traces", ""), "rate": workload.get("rate"), "rho": workload.get("rho"),
             "slo": workload.get("slo_multiplier"), "semantics": config.base.get("semantics", "paper")}
    swept = {name.rpartition(".")[2] for point in config.points for name in point}
    names = {"workload": "traces", "slo": "slo_multiplier"}
    return {"title": f"Sweep of {workload.get('traces') or 'several trace sets'}", "config": config.base,
            "inputs": config.inputs, "base": {k: v for k, v in fixed.items()
                                              if v is not None and names.get(k, k) not in swept}}
