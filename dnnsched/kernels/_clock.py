"""Times of calls: warm, repeated."""

import time

import numpy as np

_LEAST = 100e-6


def times(function, repeats):
    """Seconds of one call, measured `repeats` times.

    A call shorter than 100 us is repeated until that has passed, and its mean taken. The first call only warms up.

    Parameters
    ----------
    function : callable
    repeats : int

    Returns
    -------
    ndarray of float64, shape (repeats,)
    """
    function()
    start = time.perf_counter()
    function()
    count = max(1, int(_LEAST / max(time.perf_counter() - start, 1e-9)))
    out = np.empty(repeats)
    for i in range(repeats):
        start = time.perf_counter()
        for _ in range(count):
            function()
        out[i] = (time.perf_counter() - start) / count
    return np.maximum(out, 1e-12)  # a clock's step may be longer than an empty call
