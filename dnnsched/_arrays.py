"""Argument checks shared by the data classes: arrays with the first offending element named, scalars, names."""

import math
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np


def as_float64(value, name, ndim):
    """Own, C-contiguous float64 copy of `value`.

    Integers and smaller floats are converted; anything else is a TypeError, another number
    of dimensions a ValueError, both naming the argument.
    """
    try:
        array = np.asarray(value)
    except ValueError as exc:
        raise ValueError(f"{name}: expected a rectangular array of numbers: {exc}") from None
    if array.dtype.kind == "O":
        raise ValueError(f"{name}: expected a rectangular array of numbers, got an array of Python objects")
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name}: expected numbers convertible to float64, got dtype {array.dtype}")
    if array.ndim != ndim:
        raise ValueError(f"{name}: expected {ndim} dimension(s), got {array.ndim} (shape {array.shape})")
    return np.array(array, dtype=np.float64, order="C")


def as_int32(value, name, low, high):
    """Own int32 copy of a one-dimensional integer array with all values in [low, high]."""
    array = np.asarray(value)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected an array of integers, got dtype {array.dtype}")
    if array.ndim != 1:
        raise ValueError(f"{name}: expected 1 dimension, got {array.ndim} (shape {array.shape})")
    bad = (array < low) | (array > high)
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(f"{name}: row {row}: expected an index in [{low}, {high}], got {array[row]}")
    return np.array(array, dtype=np.int32, order="C")


def check_elements(array, name, bad, expected, axes=("row", "column")):
    """Raise ValueError naming the first element where `bad` is true, with its value and what was expected."""
    if bad.any():
        place = np.unravel_index(int(np.argmax(bad)), array.shape)
        where = ", ".join(f"{axis} {int(i)}" for axis, i in zip(axes, place, strict=False))
        raise ValueError(f"{name}: {where}: expected {expected}, got {array[place]}")


def check_number(value, name, low=-math.inf, high=math.inf, *, open_low=False, finite=True):
    """`value` as a Python float in the range, else an error naming the argument."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}")
    number = float(value)
    text = f"{'>' if open_low else '>='} {low:g}" if low > -math.inf else "a number"
    if high < math.inf:
        text += f" and <= {high:g}"
    if math.isnan(number) or (finite and math.isinf(number)) or number < low or number > high or (
            open_low and number == low):
        raise ValueError(f"{name}: expected {'a finite value ' if finite else 'a value '}{text}, got {value}")
    return number


def check_int(value, name, low, high=None):
    """`value` as a Python int in [low, high], else an error naming the argument."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: expected an integer, got {type(value).__name__}")
    number = int(value)
    if number < low or (high is not None and number > high):
        top = "" if high is None else f" and <= {high}"
        raise ValueError(f"{name}: expected an integer >= {low}{top}, got {number}")
    return number


def check_choice(value, name, choices):
    """`value` if it is one of `choices`, else ValueError listing them."""
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def seed_sequence(rng):
    """(SeedSequence, JSON record) of an rng argument."""
    if isinstance(rng, np.random.Generator):
        rng = rng.bit_generator
    if isinstance(rng, np.random.BitGenerator):
        rng = np.random.SeedSequence([int(word) for word in rng.random_raw(4)])
    if not isinstance(rng, np.random.SeedSequence):
        wanted = "an integer >= 0, a SeedSequence, a Generator, 'python-random:SEED' or None"
        if isinstance(rng, (bool, float, np.floating)):
            raise TypeError(f"rng: expected {wanted}, got {rng!r}")
        try:
            rng = np.random.SeedSequence(rng)
        except (TypeError, ValueError) as exc:
            raise ValueError(f"rng: expected {wanted}, got {rng!r} ({exc})") from None
    entropy = rng.entropy
    entropy = int(entropy) if np.ndim(entropy) == 0 else [int(x) for x in entropy]
    return rng, {"bit_generator": "PCG64", "entropy": entropy, "spawn_key": [int(k) for k in rng.spawn_key]}


@contextmanager
def replace_file(path):
    """Open a temporary binary file beside `path` and rename it there on success; remove it on failure."""
    path = Path(path)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
