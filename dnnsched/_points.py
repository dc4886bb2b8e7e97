"""Points of a sweep: their canonical keys, labels and seeds, and the identity of the function that is swept.

A key is a text: JSON with sorted names in which equal values have equal texts (1, 1.0 and NumPy's 1 are one value;
true is another). It is what a point *is*: seeds, hashes and the store go by the key, never by a position, so that a
larger grid, another order or another executor changes nothing of a point.
"""

import enum
import functools
import hashlib
import inspect
import itertools
import json
import math
import pathlib
import textwrap
import types
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass

import numpy as np

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode
_SCHEDULER_NAMES = ("scheduler", "policy")


def expand(grid):
    """Points of a grid, in order: the last axis moves fastest.

    Parameters
    ----------
    grid : dict of str to iterable, or iterable of dict
        Axis -> values (their product), or the points themselves.

    Returns
    -------
    list of dict
    list of str
        Axes in the order of their first appearance.

    Raises
    ------
    TypeError, ValueError
        Naming the axis or the point.
    """
    if isinstance(grid, Mapping):
        axes = {_axis_name(name): _axis_values(name, values) for name, values in grid.items()}
        points = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    else:
        if isinstance(grid, str) or not isinstance(grid, Iterable):
            raise TypeError(f"grid: expected a dict of axes or a list of points, got {type(grid).__name__}")
        points = list(grid)
        for number, point in enumerate(points):
            if not isinstance(point, Mapping):
                raise TypeError(f"grid: point {number}: expected a dict, got {type(point).__name__}")
        points = [{_axis_name(name): value for name, value in point.items()} for point in points]
        if not points:
            raise ValueError("grid: expected at least one point")
    names = list(dict.fromkeys(name for point in points for name in point))
    seen = {}
    for number, point in enumerate(points):
        text = key(point)
        if text in seen:
            raise ValueError(f"grid: points {seen[text]} and {number} are the same: {text}")
        seen[text] = number
    return points, names


def _axis_name(name):
    if not isinstance(name, str) or not name:
        raise TypeError(f"grid: expected names of axes, got {name!r}")
    if name == "seed":
        raise ValueError("grid: axis 'seed': seeds are derived from the points; use replications= and rng=")
    return name


def _axis_values(name, values):
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise TypeError(f"grid: axis {name!r}: expected a list of values, got {values!r}")
    values = list(values)
    if not values:
        raise ValueError(f"grid: axis {name!r}: expected at least one value")
    return values


def key(point):
    """Canonical key of a point.

    Parameters
    ----------
    point : dict of str to value

    Returns
    -------
    str
        ASCII JSON, names sorted.

    Raises
    ------
    TypeError, ValueError
        A value has no key; the message names the axis.
    """
    return text_of({name: canonical(value, f"axis {name!r}") for name, value in point.items()})


def text_of(value):
    """JSON text of a canonical value: sorted names, no spaces, ASCII."""
    return _encode(value)


def canonical(value, where, depth=0):
    """JSON types that stand for a value; see :func:`key`."""
    if depth > 20:
        raise ValueError(f"{where}: nested too deeply for a key")
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, enum.Enum):
        return {"$type": _type_name(type(value)), "name": value.name}
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _number(value, where)
    if isinstance(value, bytes):
        return {"$bytes": value.hex()}
    if isinstance(value, pathlib.PurePath):
        return {"$path": value.as_posix()}
    if isinstance(value, np.ndarray):
        return {"$array": canonical(value.tolist(), where, depth + 1)}
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return [canonical(item, where, depth + 1) for item in value]
    if isinstance(value, (set, frozenset)):
        return {"$set": sorted((canonical(item, where, depth + 1) for item in value), key=text_of)}
    if isinstance(value, Mapping):
        return _mapping(value, where, depth)
    if isinstance(value, (types.FunctionType, types.MethodType, types.BuiltinFunctionType, functools.partial, type)):
        return {"$function": identity(value, where, depth + 1)}
    return _object(value, where, depth)


def _number(value, where):
    if math.isnan(value):
        raise ValueError(f"{where}: expected a value that equals itself, got nan")
    if math.isinf(value):
        return {"$float": "inf" if value > 0 else "-inf"}
    return int(value) if value.is_integer() else value


def _mapping(value, where, depth):
    found = {}
    for name, item in value.items():
        if not isinstance(name, str):
            raise TypeError(f"{where}: expected texts as names of a dict, got {name!r}")
        found["$" + name if name.startswith("$") else name] = canonical(item, where, depth + 1)
    return found


def _type_name(cls):
    return f"{cls.__module__}:{cls.__qualname__}"


def _object(value, where, depth):
    """Key of an object: its class and its parameters; the class by its source when it is not ours."""
    cls = type(value)
    own = cls.__module__.partition(".")[0] == "dnnsched"
    made = {"$type": _type_name(cls)} | ({} if own else {"source": _source_digest(cls)})
    if callable(getattr(value, "sweep_key", None)):
        try:
            parameters = value.sweep_key()
        except TypeError as error:
            raise TypeError(f"{where}: {error}") from None
        return made | {"key": canonical(parameters, where, depth + 1)}
    if is_dataclass(value):
        return made | {"state": {f.name: canonical(getattr(value, f.name), where, depth + 1) for f in fields(value)}}
    if getattr(value, "is_native", False) and callable(getattr(value, "__wrapped__", None)):  # compiled from Python
        state = {name: getattr(value, name, None) for name in ("form", "kind", "needs", "params", "oracle")}
        source = identity(value.__wrapped__, where, depth + 1)
        return made | {"function": source, "state": _mapping(state, where, depth)}
    if cls.__reduce__ is not object.__reduce__:
        try:
            parts = value.__reduce__()
        except TypeError as error:
            raise TypeError(f"{where}: {error}") from None
        return made | {"made": canonical([*parts[:2]], where, depth + 1)} if isinstance(parts, tuple) else made | {
            "name": parts}
    slots = [name for base in cls.__mro__ for name in getattr(base, "__slots__", ()) if name != "__dict__"]
    if hasattr(value, "__dict__") or slots:
        state = {name: getattr(value, name) for name in slots if hasattr(value, name)} | getattr(value, "__dict__", {})
        try:
            return made | {"state": _mapping(state, where, depth)}
        except (TypeError, ValueError):
            pass
    text = repr(value)
    if type(value).__repr__ is object.__repr__ or " at 0x" in text:
        raise TypeError(f"{where}: a {cls.__qualname__} has no key: give its class a method sweep_key() that returns "
                        "its parameters, or use a text as the value and make the object inside the function")
    return made | {"repr": text}


def _source_digest(thing):
    """SHA-256 of a function's or class's source text; of its code if it is a lambda or has no source."""
    thing = inspect.unwrap(thing)
    code = getattr(thing, "__code__", None)
    try:
        text = textwrap.dedent(inspect.getsource(thing))
    except (OSError, TypeError):
        text = repr(thing) if code is None and not isinstance(thing, type) else ""
    if code is not None and (not text or code.co_name == "<lambda>"):  # several lambdas can share a line
        text = repr(_code_parts(code))
    return hashlib.sha256(text.encode()).hexdigest()


def _code_parts(code):
    def constant(value):
        if isinstance(value, types.CodeType):
            return _code_parts(value)
        return sorted(map(repr, value)) if isinstance(value, frozenset) else value

    return code.co_name, code.co_code, code.co_names, code.co_varnames, [constant(c) for c in code.co_consts]


def identity(function, where="fn", depth=0):
    """What a function is: name, source, bound arguments, defaults and captured values.

    Parameters
    ----------
    function : callable

    Returns
    -------
    dict
        JSON types. Captured values without a key count by their type only; globals that the function reads do not
        count.
    """
    if isinstance(function, functools.partial):
        return {"function": identity(function.func, where, depth + 1),
                "arguments": canonical([list(function.args), dict(function.keywords)], where, depth + 1)}
    if isinstance(function, types.MethodType):
        return {"function": identity(function.__func__, where, depth + 1),
                "object": canonical(function.__self__, where, depth + 1)}
    if not isinstance(function, (types.FunctionType, types.BuiltinFunctionType, type)):
        return {"object": canonical(function, where, depth + 1)}
    found = {"name": _type_name(function), "source": _source_digest(function)}
    captured = {}
    if isinstance(function, types.FunctionType):
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        captured = {name: cell.cell_contents for name, cell in cells if _filled(cell)}
        parameters = [p for p in inspect.signature(function, follow_wrapped=False).parameters.values()
                      if p.default is not p.empty]
        captured |= {f"{p.name}=": p.default for p in parameters}
    if captured:
        found["captured"] = {name: _or_type(value, depth) for name, value in captured.items()}
    return found


def _filled(cell):
    try:
        cell.cell_contents  # noqa: B018 - raises when empty
    except ValueError:
        return False
    return True


def _or_type(value, depth):
    try:
        return canonical(value, "captured", depth + 1)
    except (TypeError, ValueError):
        return {"$type": _type_name(type(value))}


def label(value):
    """Short text of a value for tables: schedulers by name and changed parameters, others as they print."""
    from dnnsched.schedulers import Scheduler

    if isinstance(value, str):
        return value
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Scheduler):
        changed = [f"{f.name}={getattr(value, f.name)}" for f in (fields(value) if is_dataclass(value) else ())
                   if getattr(value, f.name) != f.default]
        return " ".join([value.name, *changed])
    if isinstance(value, Mapping) and isinstance(value.get("name"), str):
        return " ".join([value["name"], *(f"{k}={label(v)}" for k, v in sorted(value.items()) if k != "name")])
    if isinstance(value, (bool, int, float, list, tuple)) or value is None:
        return str(value)
    if isinstance(value, (types.FunctionType, type)):
        return value.__name__
    name = getattr(value, "name", None)
    if isinstance(name, str) and name:
        params = list(getattr(value, "params", ())) if getattr(value, "is_native", False) else []
        return f"{name} {', '.join(f'{p:g}' for p in params)}".rstrip()
    return type(value).__name__ if " at 0x" in repr(value) else repr(value)


def labels(values):
    """Labels of an axis' values, told apart: where two would read the same, their keys."""
    values = list(values)
    made = [label(v) for v in values]
    count = Counter(made)
    return [text if count[text] == 1 else text_of(canonical(v, "axis"))
            for text, v in zip(made, values, strict=True)]


def is_scheduler_axis(name, values):
    """Whether an axis chooses schedulers: by its name, or because every value is one."""
    from dnnsched import schedulers

    def decides(value):
        if isinstance(value, str):
            return value in schedulers.names()
        return isinstance(value, schedulers.Scheduler) or callable(getattr(value, "score", None)) or callable(
            getattr(value, "pick", None)) or bool(getattr(value, "is_native", False))

    return name.rpartition(".")[2] in _SCHEDULER_NAMES or all(decides(v) for v in values)


def entropy(rng):
    """Non-negative integers that stand for `rng`.

    Raises
    ------
    TypeError
        For a Generator: its state would depend on who used it before.
    """
    if isinstance(rng, np.random.SeedSequence):
        given = [rng.entropy] if isinstance(rng.entropy, int) else list(rng.entropy)
        return [*(int(v) for v in given), *(int(v) for v in rng.spawn_key)]
    if isinstance(rng, (bool, np.bool_)) or not isinstance(rng, (int, np.integer)):
        raise TypeError(f"rng: expected an integer or a SeedSequence (entropy, not a generator), got "
                        f"{type(rng).__name__}")
    if rng < 0:
        raise ValueError(f"rng: expected an integer >= 0, got {rng}")
    return [int(rng)]


def seed(numbers, world, replication):
    """Seed of a replication of a point.

    Parameters
    ----------
    numbers : list of int
        From :func:`entropy`.
    world : str
        Key of the point without the axes that share random numbers.
    replication : int

    Returns
    -------
    int
        53 bits, so that it survives a float64, from NumPy's ``SeedSequence`` over (numbers, SHA-256 of `world`,
        replication).
    """
    words = np.frombuffer(hashlib.sha256(world.encode()).digest(), "<u4").tolist()
    sequence = np.random.SeedSequence([*numbers, *words, replication])
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(11))
