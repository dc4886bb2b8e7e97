"""The CSV, draw and policy bindings: inputs untouched, references balanced, nothing left behind on any path."""

import sys

import numpy as np
import pytest

from dnnsched._csvio import column
from dnnsched._native import _base, _policy

ONE, INDEX, BITS = np.ones(3), np.zeros(3, np.int32), np.random.PCG64(1)
TABLE = np.full((4, 3), 0.5)
STATE = np.zeros(625, np.uint32)
COLUMNS = (column("a"), column("k", "choice", choices=("x", "y")), column("z", "int", optional=True))

CALLS = {
    "csv read": lambda: _base.csv_read(b"a,k\n1,x\n2,y\n", COLUMNS),
    "csv read, bad number": lambda: _base.csv_read(b"a,k\n1,x\n?,y\n", COLUMNS),
    "csv read, no column": lambda: _base.csv_read(b"b\n1\n", COLUMNS),
    "csv read, bad columns": lambda: _base.csv_read(
        b"a\n1\n", (column("a"), ("k", 3, False, 0.0, 1.0, False, False, (1,)))),
    "csv read, bad kind": lambda: _base.csv_read(b"a\n1\n", (("a", 9, False, 0.0, 1.0, False, False, None),)),
    "csv read, bad text": lambda: _base.csv_read(3, COLUMNS),
    "csv write": lambda: _base.csv_write(("a", "k"), (ONE, (INDEX, ("x",)))),
    "csv write, bad name": lambda: _base.csv_write(("a", "k"), (ONE, (INDEX + 5, ("x",)))),
    "csv write, bad array": lambda: _base.csv_write(("a",), (ONE.astype("f4"),)),
    "jsonl write": lambda: _base.jsonl_write(('{"a":', '"k":'), (ONE, (INDEX, ('"x"',)))),
    "jsonl write, bad name": lambda: _base.jsonl_write(('{"a":', '"k":'), (ONE, (INDEX + 5, ('"x"',)))),
    "arrow stream": lambda: _base.arrow_stream(("a", "k"), (ONE, (INDEX, ("x",))), (True, True), b"", None),
    "arrow stream, bad code": lambda: _base.arrow_stream(("k",), ((INDEX + 5, ("x",)),), (True,), b"", None),
    "arrow stream, bad text": lambda: _base.arrow_stream(("k",), ((INDEX, (3,)),), (True,), b"", None),
    "arrow stream, bad request": lambda: _base.arrow_stream(("a",), (ONE,), (True,), b"", 3),
    "arrow schema": lambda: _base.arrow_schema(("a", "k"), (ONE, (INDEX, ("x",))), (True, True), b""),
    "variates": lambda: _base.draw_variates(BITS, 3, 2.0, 5),
    "variates, bad bits": lambda: _base.draw_variates(object(), 3, 2.0, 5),
    "below": lambda: _base.draw_below(BITS, 7, 5),
    "arrivals": lambda: _base.draw_arrivals(BITS, 2.0, None, 0.0, 5),
    "mmpp": lambda: _base.draw_mmpp(BITS, ONE, ONE, -1, 0.0, 0.0, 5),
    "mmpp, bad state": lambda: _base.draw_mmpp(BITS, ONE, ONE, 9, 0.0, 0.0, 5),
    "requests": lambda: _base.draw_requests(BITS, ONE, BITS, INDEX + 1, BITS, ONE, ONE, 5),
    "requests, bad weight": lambda: _base.draw_requests(BITS, ONE, BITS, INDEX + 1, BITS, -ONE, ONE, 5),
    "requests, bad bits": lambda: _base.draw_requests(BITS, ONE, BITS, INDEX + 1, 3, ONE, ONE, 5),
    "python requests": lambda: _base.draw_python_requests(STATE, 2.0, INDEX + 1, ONE, 5),
    "python requests, bad rate": lambda: _base.draw_python_requests(STATE, -2.0, INDEX + 1, ONE, 5),
    "means": lambda: _policy.column_means(TABLE),
    "means, no rows": lambda: _policy.column_means(TABLE[:0]),
    "suffixes": lambda: _policy.suffix_sums(TABLE),
    "gamma": lambda: _policy.predict_gamma(TABLE, ONE * 0.5, 2, 3, False, True, 0.1, 10.0),
    "gamma, bad value": lambda: _policy.predict_gamma(TABLE, ONE * 2, 2, 3, False, True, 0.1, 10.0),
    "errors": lambda: _policy.prediction_errors(TABLE, ONE, TABLE, 1.0),
}


def outcome(call):
    """Result or exception of a call; the exception without its traceback."""
    try:
        return call()
    except (ValueError, TypeError, IndexError) as exc:
        return exc.with_traceback(None)


@pytest.mark.parametrize("name", CALLS)
def test_references_and_memory_stay_level(name):
    call = CALLS[name]
    shared = (ONE, INDEX, BITS, TABLE, STATE, COLUMNS, *COLUMNS)
    assert isinstance(outcome(call), Exception) == ("," in name)
    for _ in range(100):
        outcome(call)
    references, blocks = [sys.getrefcount(x) for x in shared], sys.getallocatedblocks()
    for _ in range(1000):
        outcome(call)
    assert [sys.getrefcount(x) for x in shared] == references
    assert sys.getallocatedblocks() - blocks < 500  # a leak of one block a call would be 1000


def test_inputs_are_not_changed():
    assert (ONE == 1).all()
    assert (INDEX == 0).all()
    assert (TABLE == 0.5).all()
    assert not STATE.any()
