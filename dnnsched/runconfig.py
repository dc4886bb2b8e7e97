"""Configuration of ``dnnsched run``: TOML -> frozen dataclasses, with messages that name the key."""

import dataclasses
import difflib
import math
import tomllib
from dataclasses import dataclass, field

from dnnsched import plugins
from dnnsched.errors import FormatError

RECORDED = ("azure_conv", "azure_code", "file")
ARRIVALS = ("poisson", "gamma", "mmpp", "periodic", *RECORDED)
SEMANTICS = ("paper", "artifact")


class ConfigError(ValueError):
    """A configuration cannot be used; the message names file, key, what was got and what is accepted."""


@dataclass(frozen=True)
class WorkloadConfig:
    """``[workload]``: what arrives.

    Attributes
    ----------
    traces : str
        Name of an embedded trace set or path of a saved one.
    arrivals : str
        ``"poisson"``, ``"gamma"`` (needs `cv`), ``"mmpp"``, ``"periodic"``, ``"azure_conv"`` and ``"azure_code"``
        (synthetic stand-ins), ``"file"`` (needs `file`), or the name of a plug-in.
    rate, rho : float or None
        Exactly one: requests per second, or offered load. A file and the stand-ins need none: they have a rate.
    n : int or None
        Requests, default 1000; of a file the first n, default all.
    slo_multiplier : float
    slo_base : str or None
        ``"request"`` or ``"model"``; default by `semantics`.
    semantics : str
        Defaults of the builder: ``"paper"`` or ``"artifact"``.
    cv : float or None
        Coefficient of variation of the gaps (gamma only).
    scenario : str or None
        One of ``dnnsched.scenarios.NAMES`` instead of `arrivals`, `n` and deadlines: the load of an MLPerf scenario,
        with a verdict. ``"server"`` takes `rate` and `latency_s`.
    latency_s : float or None
        Target of the server scenario, seconds.
    min_duration_s : float or None
        Minimum time of a scenario, seconds; default 600.
    file : str or None
        Request file of a known format.
    format : str or None
        Its format; default: told by its header.
    failures : str or None
        ``"keep"`` or ``"drop"``, for formats that record failed requests.
    """

    traces: str
    arrivals: str = "poisson"
    rate: float | None = None
    rho: float | None = None
    n: int | None = None
    slo_multiplier: float = 10.0
    slo_base: str | None = None
    semantics: str = "paper"
    cv: float | None = None
    scenario: str | None = None
    latency_s: float | None = None
    min_duration_s: float | None = None
    file: str | None = None
    format: str | None = None
    failures: str | None = None


@dataclass(frozen=True)
class SchedulerConfig:
    """``[[scheduler]]``: a name and the scheduler's own parameters."""

    name: str
    parameters: dict = field(default_factory=dict)

    @property
    def label(self):
        """Name with the parameters that were given."""
        return " ".join([self.name, *(f"{k}={v}" for k, v in sorted(self.parameters.items()))])


@dataclass(frozen=True)
class RunConfig:
    """A whole ``run`` configuration.

    Attributes
    ----------
    workload : WorkloadConfig
    scheduler : tuple of SchedulerConfig
        All run on the same requests.
    seed : int
        Replication r (from 0) uses seed + r.
    replications : int
    semantics : str
    clock : str or None
    switch_cost_s : float
    warmup : int
    timeline : bool
        Write the timeline of the first scheduler's first replication.
    """

    workload: WorkloadConfig
    scheduler: tuple
    seed: int = 1
    replications: int = 5
    semantics: str = "paper"
    clock: str | None = None
    switch_cost_s: float = 0.0
    warmup: int = 0
    timeline: bool = True

    def record(self):
        """The configuration as JSON types."""
        return dataclasses.asdict(self) | {"scheduler": [dataclasses.asdict(s) for s in self.scheduler]}


def unknown_key(where, key, known):
    """ConfigError for a key that does not exist, with the nearest that does."""
    close = difflib.get_close_matches(key, known, 1)
    hint = f"; did you mean {close[0]!r}?" if close else f"; expected one of {', '.join(sorted(known))}"
    return ConfigError(f"{where}: unknown key {key!r}{hint}")


def _typed(where, key, value, kind):
    ok = {"float": isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value),
          "int": isinstance(value, int) and not isinstance(value, bool), "str": isinstance(value, str),
          "bool": isinstance(value, bool)}[kind]
    if not ok:
        name = {"float": "a finite number", "int": "a whole number", "str": "a text", "bool": "true or false"}[kind]
        raise ConfigError(f"{where}.{key}: expected {name}, got {value!r}")
    return float(value) if kind == "float" else value


def _fields(cls, where, table, skip=()):
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: expected a table, got {table!r}")
    known = {f.name: f for f in dataclasses.fields(cls) if f.name not in skip}
    values = {}
    for key, value in table.items():
        if key in skip:
            continue
        if key not in known:
            raise unknown_key(where, key, [*known, *skip])
        kind = str(known[key].type).replace("<class '", "").replace("'>", "").split(" |")[0]
        values[key] = _typed(where, key, value, kind)
    return values


def _choice(where, key, value, choices):
    if value not in choices:
        close = difflib.get_close_matches(str(value), choices, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ConfigError(f"{where}.{key}: expected one of {', '.join(choices)}, got {value!r}{hint}")


def _at_least(where, key, value, low, strict=False):
    if value < low or (strict and value == low):
        raise ConfigError(f"{where}.{key}: expected {'more than' if strict else 'at least'} {low}, got {value!r}")


def parse(data, source="config"):
    """Check a parsed TOML document.

    Parameters
    ----------
    data : dict
    source : str
        Name for messages.

    Returns
    -------
    RunConfig

    Raises
    ------
    ConfigError
    """
    values = _fields(RunConfig, source, data, skip=("workload", "scheduler"))
    for key in ("workload", "scheduler"):
        if key not in data:
            raise ConfigError(f"{source}: expected a table [{key}]")
    where = f"{source}: workload"
    table = _fields(WorkloadConfig, where, data["workload"])
    if "traces" not in table:
        raise ConfigError(f"{where}.traces: expected the name of a trace set")
    workload = WorkloadConfig(**table)
    if workload.arrivals not in ARRIVALS:
        known = tuple(p.name for p in plugins.find("workloads"))
        _choice(where, "arrivals", workload.arrivals, (*ARRIVALS, *known))
    _choice(where, "semantics", workload.semantics, SEMANTICS)
    given = (workload.rate is not None) + (workload.rho is not None)
    if workload.scenario is not None:
        _scenario(where, table)
    elif given > 1 or (given == 0 and workload.arrivals not in RECORDED):
        raise ConfigError(f"{where}: expected exactly one of rate, rho")
    elif workload.latency_s is not None or workload.min_duration_s is not None:
        raise ConfigError(f"{where}: latency_s and min_duration_s need a scenario")
    if (workload.file is not None) != (workload.arrivals == "file"):
        raise ConfigError(f"{where}.file: needed by arrivals = \"file\" and by nothing else")
    for key in ("format", "failures"):
        if getattr(workload, key) is not None and workload.file is None:
            raise ConfigError(f"{where}.{key}: for arrivals = \"file\" only")
    for key in ("rate", "rho", "slo_multiplier", "cv", "latency_s", "min_duration_s"):
        if getattr(workload, key) is not None:
            _at_least(where, key, getattr(workload, key), 0, strict=True)
    if workload.n is None and workload.file is None:
        workload = dataclasses.replace(workload, n=1000)
    if workload.n is not None:
        _at_least(where, "n", workload.n, 1)
    if (workload.cv is not None) != (workload.arrivals == "gamma"):
        raise ConfigError(f"{where}.cv: needed by arrivals = \"gamma\" and by nothing else")
    if workload.slo_base is not None:
        _choice(where, "slo_base", workload.slo_base, ("request", "model"))
    config = RunConfig(workload=workload, scheduler=_schedulers(source, data["scheduler"]), **values)
    _choice(source, "semantics", config.semantics, SEMANTICS)
    if config.clock is not None:
        _choice(source, "clock", config.clock, ("monotonic", "artifact"))
    _at_least(source, "replications", config.replications, 1)
    _at_least(source, "seed", config.seed, 0)
    _at_least(source, "switch_cost_s", config.switch_cost_s, 0)
    _at_least(source, "warmup", config.warmup, 0)
    if workload.scenario is not None and config.warmup > 0:
        raise ConfigError(f"{source}.warmup: expected 0 with a scenario, got {config.warmup}")
    if workload.n is not None and config.warmup >= workload.n:
        raise ConfigError(f"{source}.warmup: expected less than workload.n = {workload.n}, got {config.warmup}")
    return config


def _scenario(where, table):
    """The keys that a scenario takes, no more and no less."""
    from dnnsched import scenarios

    name = table["scenario"]
    _choice(where, "scenario", name, tuple(scenarios.NAMES))
    needed = {"rate", "latency_s"} if name == "server" else set()
    for key in table:
        if key not in {"traces", "scenario", "min_duration_s"} | needed:
            raise ConfigError(f"{where}.{key}: not used by scenario = {name!r}")
    for key in sorted(needed):
        if key not in table:
            raise ConfigError(f"{where}.{key}: needed by scenario = {name!r}")


def _schedulers(source, tables):
    from dnnsched import schedulers

    if isinstance(tables, dict):
        tables = [tables]
    if not isinstance(tables, list) or not tables:
        raise ConfigError(f"{source}: scheduler: expected one or more tables [[scheduler]], got {tables!r}")
    made = []
    for at, table in enumerate(tables, start=1):
        where = f"{source}: scheduler {at}"
        if not isinstance(table, dict) or not isinstance(table.get("name"), str):
            raise ConfigError(f"{where}.name: expected the name of a scheduler")
        parameters = {k: v for k, v in table.items() if k != "name"}
        try:
            schedulers.get(table["name"], **parameters)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{where}: {error}") from None
        made.append(SchedulerConfig(table["name"], parameters))
    if len({s.label for s in made}) < len(made):
        raise ConfigError(f"{source}: scheduler: the same scheduler with the same parameters occurs twice")
    return tuple(made)


def load(path, overrides=()):
    """Read a configuration file.

    Parameters
    ----------
    path : path-like
    overrides : iterable of str
        ``key=value`` with dotted keys (``workload.rho=0.9``); the value is read as TOML, or as text if
        it is not TOML.

    Returns
    -------
    RunConfig

    Raises
    ------
    ConfigError, FormatError, FileNotFoundError
    """
    return parse(read(path, overrides), str(path))


def read(path, overrides=()):
    """The TOML document of a configuration file with the overrides applied, unchecked; see :func:`load`."""
    try:
        with open(path, "rb") as file:
            data = tomllib.load(file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: not TOML: {error}") from None
    for text in overrides:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise ConfigError(f"--set: expected key=value, got {text!r}")
        _override(data, key.split("."), _value(value), text)
    return data


def _value(text):
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text


def _override(data, keys, value, text):
    at = data
    for key in keys[:-1]:
        at = at[int(key) - 1] if isinstance(at, list) and key.isdigit() and 0 < int(key) <= len(at) else (
            at.setdefault(key, {}) if isinstance(at, dict) else None)
        if not isinstance(at, (dict, list)):
            raise ConfigError(f"--set: {text!r}: {key!r} is not a table")
    if not isinstance(at, dict):
        raise ConfigError(f"--set: {text!r}: {keys[-2]!r} is a list; name its element by number, from 1")
    at[keys[-1]] = value
