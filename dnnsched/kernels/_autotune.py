"""Which format multiplies a matrix fastest: by a cost model, or by trying."""

from collections.abc import Mapping, MutableMapping

import numpy as np

from dnnsched import config
from dnnsched._arrays import check_choice, check_int
from dnnsched.kernels import _clock, _common, _machine
from dnnsched.kernels._bsr import bsr
from dnnsched.kernels._csr import csr
from dnnsched.kernels._dense import dense

#: Formats that hold any matrix, by name.
FORMATS = {"dense": dense, "csr": csr, "bsr": bsr}

# Fraction of the roofline that a format's kernel attains, with at least _WIDE vectors and with fewer: medians that
# benchmarks/fit_attained.py found on a quiet machine (AVX-512 of Sapphire Rapids, one thread), to 0.05. Only their
# ratios decide.
_ATTAINED = {"dense": (0.60, 0.50), "csr": (0.45, 0.15), "bsr": (0.55, 0.10)}
_WIDE = 8
# The same of convolutions, from image to result.
_CONV_ATTAINED = {"im2col": 0.45, "direct": 0.60, "csr": 0.35, "depthwise": 0.25}
_REPEATS = 7


def formats_of(formats, name="formats"):
    """Tuple of format names, at least one, without repetition."""
    if isinstance(formats, str):
        raise TypeError(f"{name}: expected a sequence of names, got a string")
    formats = tuple(dict.fromkeys(check_choice(f, name, tuple(FORMATS)) for f in formats))
    if not formats:
        raise ValueError(f"{name}: expected at least one of {', '.join(FORMATS)}, got none")
    return formats


def estimate(plan, n, machine):
    """Seconds that the cost model expects of an execution: the roofline over the fraction that the format attains.

    Parameters
    ----------
    plan : MatPlan
    n : int
        Vectors.
    machine : Machine

    Returns
    -------
    float
    """
    return _machine.roofline(plan, n, machine) / _ATTAINED[plan.format][n < _WIDE]


def estimate_conv(plan, n, machine):
    """Seconds that the cost model expects of a convolution of n images."""
    return _machine.roofline(plan, n, machine) / _CONV_ATTAINED[plan.format]


def fastest(formats, call, key, record):
    """Name of the format whose function runs fastest, from `record` where it holds the key, else by timing.

    Parameters
    ----------
    formats : sequence of str
        Of equal ones the first wins.
    call : callable
        ``call(name)`` gives a function of no arguments that executes the format once.
    key : str
        What is executed.
    record : dict or None
        As for :func:`autotune`.

    Returns
    -------
    str
    """
    if record is not None and key in record:
        held = record[key]
        if not isinstance(held, Mapping) or held.get("format") not in formats:
            raise ValueError(f"record: {key!r}: expected a 'format' of {', '.join(formats)}, got {held!r}")
        return held["format"]
    seconds = {name: float(np.median(_clock.times(call(name), _REPEATS))) for name in formats}
    best = min(seconds, key=seconds.get)
    if record is not None:
        record[key] = {"format": best, "seconds": seconds}
    return best


class Candidates:
    """Plans of one matrix in several formats, each packed when it is first wanted."""

    def __init__(self, W, *, bias=None, act=None, isa=None):
        self.W = _common.weights(W)
        self.nnz = int(np.count_nonzero(self.W))
        self.isa = config.isa() if isa is None else isa
        self._options = {"bias": bias, "act": act, "isa": isa}
        self._plans = {}

    def plan(self, name):
        """The plan of a format."""
        if name not in self._plans:
            self._plans[name] = FORMATS[name](self.W, **self._options)
        return self._plans[name]

    def choose(self, n, formats, *, measure, rows, threads, machine, record):
        """Name of the fastest format; see :func:`autotune`."""
        if not measure:
            return min(formats, key=lambda name: estimate(self.plan(name), n, machine))
        m, k = self.W.shape
        key = (f"{m}x{k} nnz {self.nnz}, {n} {'rows' if rows else 'columns'}, {self.isa}, threads {threads}, "
               f"{' '.join(formats)}")
        x = np.random.default_rng(0).random((n, k) if rows else (k, n), np.float32)
        out = np.empty((n, m) if rows else (m, n), np.float32)

        def call(name):
            product = getattr(self.plan(name), "linear" if rows else "matmul")
            return lambda: product(x, out=out, threads=threads)

        return fastest(formats, call, key, record)


def autotune(W, n, formats=("dense", "csr", "bsr"), measure=False, *, bias=None, act=None, rows=False, threads=1,
             machine=None, record=None, isa=None):
    """Pack a matrix in the format that multiplies fastest.

    Parameters
    ----------
    W : array_like of float, shape (M, K)
    n : int
        Vectors of an execution, >= 1.
    formats : sequence of str
        Candidates; of equal ones the first wins. ``"bsr"`` has blocks of 4 x 1.
    measure : bool
        False: by a cost model, the same choice at every call. True: by timing each candidate on this CPU.
    bias, act, isa
        As for :func:`~dnnsched.kernels.csr`.
    rows : bool
        Time :meth:`MatPlan.linear` instead of :meth:`MatPlan.matmul`.
    threads : int
        Of a measured execution.
    machine : Machine, optional
        Whose rates the cost model takes; default :func:`~dnnsched.kernels.machine`.
    record : dict, optional
        Replays and keeps measured choices, as JSON types: a choice that is in it is taken without measuring, a new one
        is added. Keys tell shape, non-zeros, vectors, level, threads and candidates.

    Returns
    -------
    MatPlan

    Raises
    ------
    TypeError, ValueError
        An argument is wrong, or `record` holds something else under the key.

    Notes
    -----
    The cost model is the :func:`~dnnsched.kernels.roofline` of ``plan.cost(n)`` over the fraction of it that the
    format's kernel attained in the median on one machine (``benchmarks/fit_attained.py``), for at least eight vectors
    and for fewer. Single layers lie up to a third off, those of few vectors further.
    """
    check_int(n, "n", 1)
    check_int(threads, "threads", 1, 256)
    formats = formats_of(formats)
    if record is not None and not isinstance(record, MutableMapping):
        raise TypeError(f"record: expected a dict, got {type(record).__name__}")
    machine = _machine.machine(isa=isa) if machine is None else machine
    plans = Candidates(W, bias=bias, act=act, isa=isa)
    return plans.plan(plans.choose(n, formats, measure=measure, rows=rows, threads=threads, machine=machine,
                                   record=record))
