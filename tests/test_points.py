"""Keys of points: equal values and nothing else have equal keys; seeds go by the key, never by the position."""

import enum
import functools
import json
import math
import pathlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnnsched import _points, schedulers

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=6)


def same(a, b):
    """Equality of values as a user means it: 1 == 1.0, but true is not 1."""
    if isinstance(a, bool) or isinstance(b, bool):
        return isinstance(a, bool) and isinstance(b, bool) and a == b
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return a == b


@given(plain, plain)
def test_keys_are_equal_exactly_for_equal_values(a, b):
    assert (_points.key({"x": a}) == _points.key({"x": b})) == same(a, b)


@given(st.dictionaries(st.text(min_size=1, max_size=5), plain, max_size=4), st.randoms())
def test_a_key_is_ascii_json_that_does_not_know_the_order_of_names(point, random):
    text = _points.key(point)
    names = list(point)
    random.shuffle(names)
    assert _points.key({name: point[name] for name in names}) == text
    assert text.isascii()
    assert json.loads(text).keys() == point.keys()


@given(st.floats(allow_nan=False) | st.integers(-2**63, 2**63 - 1))
def test_numpy_scalars_are_the_numbers_they_hold(value):
    assert _points.key({"x": np.array(value)[()]}) == _points.key({"x": value})


class Colour(enum.Enum):
    RED = 1


class Weighted:
    def __init__(self, weight):
        self.weight = weight

    def score(self, view):
        return self.weight * view.deadline


class Slotted:
    __slots__ = ("a",)

    def __init__(self, a):
        self.a = a


class Opaque:
    __slots__ = ()


class Spoken(Opaque):
    __slots__ = ()

    def __repr__(self):
        return "Spoken()"


class Named:
    def __init__(self, n):
        self.n, self.lock = n, object()

    def sweep_key(self):
        return {"n": self.n}


def add(x, y=1):
    return x + y


@pytest.mark.parametrize(("a", "b"), [
    (schedulers.Dysta(), schedulers.Dysta(beta=0.02)), (schedulers.Fcfs(), schedulers.Sjf()),
    (Weighted(1), Weighted(2)),
    (Slotted(1), Slotted(2)), (Named(1), Named(2)), (add, functools.partial(add, y=1)), (add, len),
    (functools.partial(add, y=1), functools.partial(add, y=2)), (b"a", "a"), (pathlib.Path("a"), "a"),
    (Colour.RED, 1), (math.inf, -math.inf), (np.arange(2), [0, 1]), ({"$bytes": "61"}, b"a"), (Weighted, Slotted),
    (lambda x: x + 1, lambda x: x + 2), (Weighted(1).score, Weighted(2).score), (Spoken(), "Spoken()"),
    ({1, 2}, [1, 2]), ({"a"}, {"b"}),
])
def test_different_things_have_different_keys(a, b):
    assert _points.key({"x": a}) != _points.key({"x": b})
    assert _points.key({"x": a}) == _points.key({"x": a})


def test_equal_objects_have_equal_keys():
    for make in (lambda: schedulers.Dysta(slack="clamped"), lambda: Weighted(3), lambda: Named(4), lambda: Slotted(5),
                 Spoken, lambda: functools.partial(add, 2)):
        assert _points.key({"x": make()}) == _points.key({"x": make()})


def loop():
    made = []
    made.append(made)
    return made


@pytest.mark.parametrize(("value", "error", "message"), [
    (math.nan, ValueError, "axis 'x': expected a value that equals itself"),
    (Opaque(), TypeError, "axis 'x': a Opaque has no key: give its class a method sweep_key"),
    ({1: 2}, TypeError, "axis 'x': expected texts as names"), (object(), TypeError, "axis 'x': a object has no key"),
    (loop(), ValueError, "axis 'x': nested too deeply"),
])
def test_values_without_a_key_name_the_axis(value, error, message):
    with pytest.raises(error, match=message):
        _points.key({"x": value})


def test_expansion_keeps_the_order_and_finds_repetitions():
    points, axes = _points.expand({"a": [1, 2], "b": np.array([0.5, 1.0]), "c": ("x",)})
    assert axes == ["a", "b", "c"]
    assert [(p["a"], p["b"]) for p in points] == [(1, 0.5), (1, 1.0), (2, 0.5), (2, 1.0)]
    assert _points.expand([{"a": 1}, {"b": 2}])[1] == ["a", "b"]
    assert _points.expand({}) == ([{}], [])
    with pytest.raises(ValueError, match="points 0 and 1 are the same"):
        _points.expand({"a": [1, 1.0]})


@pytest.mark.parametrize(("grid", "error", "message"), [
    ({"a": "dysta"}, TypeError, "axis 'a': expected a list of values, got 'dysta'"),
    ({"a": []}, ValueError, "axis 'a': expected at least one value"), ({"a": 3}, TypeError, "axis 'a'"),
    ({"seed": [1]}, ValueError, "axis 'seed': seeds are derived"), ({3: [1]}, TypeError, "expected names of axes"),
    ([], ValueError, "at least one point"), ([3], TypeError, "point 0: expected a dict"), ("ab", TypeError, "grid: "),
    (3, TypeError, "grid: expected a dict of axes"),
])
def test_bad_grids(grid, error, message):
    with pytest.raises(error, match=message):
        _points.expand(grid)


def test_seeds_are_pinned():
    """A change of these numbers would make every stored sweep another one."""
    assert _points.key({"rate": 20.0, "b": [True, None]}) == '{"b":[true,null],"rate":20}'
    assert _points.seed([0], '{"rate":20}', 0) == 1413720415066745
    assert len({_points.seed([e], w, r) for e in (0, 1) for w in ("{}", '{"a":1}') for r in range(50)}) == 200
    assert all(0 <= _points.seed([0], "{}", r) < 2**53 for r in range(50))


def test_entropy():
    sequence = np.random.SeedSequence(7).spawn(3)[2]
    assert _points.entropy(sequence) == [7, 2]
    assert _points.entropy(np.int64(5)) == [5]
    with pytest.raises(TypeError, match="entropy, not a generator"):
        _points.entropy(np.random.default_rng(1))
    with pytest.raises(ValueError, match="rng: expected an integer >= 0"):
        _points.entropy(-1)


def test_identity_follows_source_arguments_and_captured_values():
    def make(k, source):
        names = {}
        text = f"def outer(k):\n    def f(seed):\n        return {source}\n    return f\n"
        exec(compile(text, "<text>", "exec"), names)
        return names["outer"](k)

    assert _points.identity(make(1, "k + seed")) == _points.identity(make(1, "k + seed"))
    assert _points.identity(make(1, "k + seed")) != _points.identity(make(2, "k + seed"))
    assert _points.identity(make(1, "k + seed")) != _points.identity(make(1, "k - seed"))
    assert _points.identity(make(object(), "k"))["captured"]["k"] == {"$type": "builtins:object"}
    assert _points.identity(add)["captured"] == {"y=": 1}


def test_labels():
    assert _points.label(schedulers.Dysta(slack="clamped")) == "dysta slack=clamped"
    assert _points.label({"name": "dysta", "slack": "clamped"}) == "dysta slack=clamped"
    assert _points.labels([1, "1", True, 0.5, None]) == ["1", '"1"', "True", "0.5", "None"]
    assert _points.label(Weighted(1)) == "Weighted"
    first, second = _points.labels([Weighted(1), Weighted(2)])
    assert first != second
    assert _points.label(add) == "add"
