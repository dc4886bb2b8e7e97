"""Workloads: which request arrives when, for which model and input, and when it is due.

A :class:`Workload` is a struct of arrays, one row per request in arrival order. The
builders draw arrivals, models, inputs and priorities from separate streams of raw words
of NumPy's PCG64 through the package's own transforms, so a seed gives the same bytes on
every NumPy version and for every chunk size. :func:`dysta_tables` and the rng
``"python-random:SEED"`` replay the exact streams of the public Sparse-DySta artifact.

Builders take ``semantics="paper"`` (default) or ``"artifact"``, which only sets the
defaults of the service-level objective, the inputs and the priorities:

============  ====================================  ==========================================
argument      paper                                 artifact
============  ====================================  ==========================================
slo_base      ``"request"``: the request's own      ``"model"``: mean over the model's
              isolated time                         patterns and samples
n_samples     all samples of a trace                the first 7 (a slip of the public code)
priorities    1 for every request                   1, 3, 9 with equal probability
============  ====================================  ==========================================
"""

import math
import random

import numpy as np

from dnnsched._arrays import as_float64, check_choice, check_elements, check_int, check_number
from dnnsched._azure import azure_like, azure_like_table
from dnnsched._fetch import fetch
from dnnsched._native import _base
from dnnsched._plan import (
    ARTIFACT_PRIORITIES,
    ARTIFACT_SAMPLES,
    SEMANTICS,
    Plan,
    arrival_times,
    given_times,
    renewal_times,
    replay,
    rescale,
)
from dnnsched._readers import (
    read_alibaba_genai,
    read_alibaba_genai_table,
    read_alibaba_gpu_2020,
    read_alibaba_gpu_2020_table,
    read_azure_functions,
    read_azure_functions_table,
    read_azure_llm,
    read_azure_llm_table,
    read_azure_lmm,
    read_azure_lmm_table,
    read_bailian,
    read_bailian_table,
    read_burstgpt,
    read_burstgpt_table,
    read_mlperf,
    read_mlperf_table,
    read_mooncake,
    read_mooncake_table,
    read_requests,
    read_requests_table,
    read_trace,
    read_vidur,
    read_vidur_table,
    stream_csv,
)
from dnnsched._tracefiles import convert_trace, slice_trace, trace_stats
from dnnsched._workload import Source, Workload

__all__ = [
    "SEMANTICS", "Source", "Workload", "WorkloadStream", "azure_like", "azure_like_table", "bursty", "closed_loop",
    "convert_trace", "dysta_tables", "fetch", "from_arrivals", "gamma", "mmpp", "periodic", "poisson",
    "read_alibaba_genai", "read_alibaba_genai_table", "read_alibaba_gpu_2020", "read_alibaba_gpu_2020_table",
    "read_azure_functions", "read_azure_functions_table", "read_azure_llm", "read_azure_llm_table", "read_azure_lmm",
    "read_azure_lmm_table", "read_bailian", "read_bailian_table", "read_burstgpt", "read_burstgpt_table",
    "read_mlperf", "read_mlperf_table", "read_mooncake", "read_mooncake_table", "read_requests",
    "read_requests_table", "read_trace", "read_vidur", "read_vidur_table", "slice_trace", "stream_csv",
    "stream_poisson", "trace_stats",
]

_PYTHON_RANDOM = "python-random:"


def poisson(ts, rate=None, n=1000, *, rho=None, mix=None, slo_multiplier=10.0, slo_base=None, rng=None, priorities=None,
            n_samples=None, semantics="paper"):
    """Requests with independent exponential gaps.

    Parameters
    ----------
    ts : TraceSet
    rate, rho : float
        Exactly one: requests per second, or offered load (rate times the mean isolated time of the mix). > 0.
    n : int
        Number of requests, >= 1.
    mix : mapping from key to weight, optional
        Keys left out get no request; default: all keys equally often.
    slo_multiplier : float, mapping or array
        Deadline = arrival + (base * multiplier); > 0; one value or one per key.
    slo_base : {"request", "model"}, optional
        Base of the deadline, see the module's table.
    rng : int, SeedSequence, Generator, str or None
        Seed of the draws. ``"python-random:SEED"`` replays ``random.Random(SEED)`` in the draw order of the
        public artifact (per request: gap, model, priority, sample), with equal weights only. None: fresh
        entropy, recorded in ``meta["rng"]``.
    priorities : float, sequence or mapping value -> weight, optional
        Drawn independently for each request.
    n_samples : int, optional
        Draw inputs from the first `n_samples` of each trace.
    semantics : {"paper", "artifact"}
        Defaults of `slo_base`, `n_samples` and `priorities`.

    Returns
    -------
    Workload
    """
    plan = Plan(ts, mix=mix, slo_multiplier=slo_multiplier, slo_base=slo_base, rng=rng, priorities=priorities,
                 n_samples=n_samples, semantics=semantics)
    rate = plan.rate(rate, rho)
    meta = plan.meta({"process": "poisson"}, rate)
    if isinstance(rng, str):
        return _poisson_python(plan, rng, rate, n, meta)
    return plan.collect(renewal_times(plan.bits(0), rate), n, meta)


def stream_poisson(ts, rate=None, n=1000, *, rho=None, chunk=65536, mix=None, slo_multiplier=10.0, slo_base=None,
                   rng=None, priorities=None, n_samples=None, semantics="paper"):
    """The rows of :func:`poisson` in pieces, for runs longer than memory.

    Parameters
    ----------
    chunk : int
        Most rows per piece, >= 1; does not change the rows.
    ts, rate, n, rho, mix, slo_multiplier, slo_base, rng, priorities, n_samples, semantics
        As for :func:`poisson`.

    Returns
    -------
    WorkloadStream
    """
    plan = Plan(ts, mix=mix, slo_multiplier=slo_multiplier, slo_base=slo_base, rng=rng, priorities=priorities,
                 n_samples=n_samples, semantics=semantics)
    rate = plan.rate(rate, rho)
    plan.bits(0)
    return WorkloadStream(plan, lambda: renewal_times(plan.bits(0), rate), check_int(n, "n", 1),
                          check_int(chunk, "chunk", 1), plan.meta({"process": "poisson"}, rate))


class WorkloadStream:
    """A workload in pieces: iterating gives :class:`Workload` objects of at most `chunk` rows, in arrival order.

    Every iteration starts again at the first row.

    Attributes
    ----------
    traces : TraceSet
    n, chunk : int
        Rows in all, and per piece (the last may be shorter).
    meta : dict
        As in :class:`Workload`.
    """

    def __init__(self, plan, start, n, chunk, meta):
        self._plan, self._start = plan, start
        self.traces, self.n, self.chunk, self.meta = plan.traces, n, chunk, meta

    def __iter__(self):
        for columns in self._plan.rows(self._start(), self.n, self.chunk):
            yield self._plan.build(columns, self.meta)

    def __len__(self):
        return -(-self.n // self.chunk)

    def __repr__(self):
        return f"WorkloadStream(n={self.n}, chunk={self.chunk}, rate={self.meta['rate']:.6g}/s)"


def gamma(ts, rate=None, n=1000, *, cv, rho=None, mix=None, slo_multiplier=10.0, slo_base=None, rng=None,
          priorities=None, n_samples=None, semantics="paper"):
    """Requests with independent gamma-distributed gaps.

    Parameters
    ----------
    cv : float
        Coefficient of variation of the gaps, > 0: 1 is Poisson, above it bursty, below it regular.
    ts, rate, n, rho, mix, slo_multiplier, slo_base, rng, priorities, n_samples, semantics
        As for :func:`poisson`.

    Returns
    -------
    Workload
    """
    plan = Plan(ts, mix=mix, slo_multiplier=slo_multiplier, slo_base=slo_base, rng=rng, priorities=priorities,
                 n_samples=n_samples, semantics=semantics)
    cv = check_number(cv, "cv", 1e-6, 1e6)
    rate = plan.rate(rate, rho)
    return plan.collect(renewal_times(plan.bits(0), rate, cv), n, plan.meta({"process": "gamma", "cv": cv}, rate))


def mmpp(ts, rate=None, n=1000, *, intensity=(1.0, 10.0), sojourn_s=(10.0, 1.0), rho=None, mix=None,
         slo_multiplier=10.0, slo_base=None, rng=None, priorities=None, n_samples=None, semantics="paper"):
    """Markov-modulated Poisson process: the arrival rate jumps between states.

    A state lasts an exponential time and the next one in cyclic order follows; the process starts in its
    stationary regime.

    Parameters
    ----------
    intensity : sequence of float
        Arrival rates of the states relative to each other, >= 0, scaled so that the long-run rate is `rate`.
    sojourn_s : sequence of float
        Mean stay in each state, seconds, > 0.
    ts, rate, n, rho, mix, slo_multiplier, slo_base, rng, priorities, n_samples, semantics
        As for :func:`poisson`.

    Returns
    -------
    Workload
    """
    plan = Plan(ts, mix=mix, slo_multiplier=slo_multiplier, slo_base=slo_base, rng=rng, priorities=priorities,
                 n_samples=n_samples, semantics=semantics)
    intensity, sojourn = as_float64(intensity, "intensity", 1), as_float64(sojourn_s, "sojourn_s", 1)
    if len(intensity) == 0 or len(intensity) != len(sojourn):
        raise ValueError(f"sojourn_s: expected as many values as intensity, at least one, got {len(sojourn)} and "
                         f"{len(intensity)}")
    check_elements(intensity, "intensity", ~(np.isfinite(intensity) & (intensity >= 0)), "a finite value >= 0",
                   ("state",))
    check_elements(sojourn, "sojourn_s", ~(np.isfinite(sojourn) & (sojourn > 0)), "a finite value > 0", ("state",))
    if not intensity.any():
        raise ValueError("intensity: expected at least one value > 0")
    rate = plan.rate(rate, rho)
    rates = intensity * (rate * sojourn.sum() / np.dot(intensity, sojourn))
    bits = plan.bits(0)
    where = [-1, 0.0, 0.0]

    def times(m):
        out, *where[:] = _base.draw_mmpp(bits, rates, sojourn, *where, m)
        return out
    return plan.collect(times, n, plan.meta({"process": "mmpp", "rates": rates.tolist(),
                                             "sojourn_s": sojourn.tolist()}, rate))


def periodic(ts, rate=None, n=1000, *, jitter=0.0, rho=None, mix=None, slo_multiplier=10.0, slo_base=None, rng=None,
             priorities=None, n_samples=None, semantics="paper"):
    """Requests at equal distances from time 0: arrival i at (i + jitter * u) / rate, u uniform in [0, 1).

    Parameters
    ----------
    jitter : float
        Fraction of the period, in [0, 1].
    ts, rate, n, rho, mix, slo_multiplier, slo_base, rng, priorities, n_samples, semantics
        As for :func:`poisson`.

    Returns
    -------
    Workload
    """
    plan = Plan(ts, mix=mix, slo_multiplier=slo_multiplier, slo_base=slo_base, rng=rng, priorities=priorities,
                 n_samples=n_samples, semantics=semantics)
    jitter = check_number(jitter, "jitter", 0, 1)
    rate = plan.rate(rate, rho)
    bits = plan.bits(0)
    at = 0

    def times(m):
        nonlocal at
        index = np.arange(at, at + m, dtype=np.float64)
        at += m
        if jitter > 0:
            index += jitter * _base.draw_variates(bits, 0, 1.0, m)
        return index / rate
    return plan.collect(times, n, plan.meta({"process": "periodic", "jitter": jitter}, rate))


def bursty(ts, arrivals, rate=None, n=1000, *, rho=None, time_scale=None, block=64, mix=None, slo_multiplier=10.0,
           slo_base=None, rng=None, priorities=None, n_samples=None, semantics="paper"):
    """Requests whose gaps are blocks of a recorded stream: circular block bootstrap.

    Blocks of consecutive gaps start at uniformly drawn places (wrapping around), so bursts as long as a block
    survive. Gaps are scaled to the wanted rate.

    Parameters
    ----------
    arrivals : array_like
        Recorded arrival times in seconds, at least three, non-decreasing, not all equal.
    rate, rho, time_scale : float
        Exactly one: mean rate, offered load, or the factor on the recorded gaps.
    block : int
        Gaps per block, >= 1.
    ts, n, mix, slo_multiplier, slo_base, rng, priorities, n_samples, semantics
        As for :func:`poisson`.

    Returns
    -------
    Workload
    """
    plan = Plan(ts, mix=mix, slo_multiplier=slo_multiplier, slo_base=slo_base, rng=rng, priorities=priorities,
                 n_samples=n_samples, semantics=semantics)
    source = arrival_times(arrivals, "arrivals")
    gaps = np.diff(source)
    if len(gaps) < 2 or not gaps.sum() > 0:
        raise ValueError("arrivals: expected at least three times that are not all equal")
    block = check_int(block, "block", 1, 2**31 - 1)
    n = check_int(n, "n", 1)
    rate, gaps = rescale(plan, gaps, rate, rho, time_scale, len(gaps) / (source[-1] - source[0]))
    start = _base.draw_below(plan.bits(0), len(gaps), -(-n // block))
    index = (start[:, None].astype(np.int64) + np.arange(min(block, n))[None, :]) % len(gaps)
    arrival = np.cumsum(gaps[index.reshape(-1)[:n]])
    return plan.collect(given_times(arrival), n, plan.meta({"process": "bursty", "block": block,
                                                       "recorded": len(source)}, rate))


def closed_loop(ts, users=1, n=1000, *, think_s=0.0, think="exponential", duration_s=math.inf, n_min=0, mix=None,
                slo_multiplier=10.0, slo_base=None, rng=None, priorities=None, n_samples=None, semantics="paper"):
    """Users that send the next request when the last one is answered and they have thought about it.

    Every user has one request out at a time (N users and one accelerator: the machine-repair model M/M/1//N when all
    times are exponential). All of them start at time 0; deadlines count from the release of each request.

    Parameters
    ----------
    users : int
        Requests out or being thought about at any time, >= 1.
    n : int
        Requests in all, >= 1.
    think_s : float
        Mean think time, seconds, >= 0.
    think : {"exponential", "constant"}
        How think times vary; they are drawn beforehand, one per request.
    duration_s, n_min : float, int
        Stop early, once `n_min` requests are chosen and one is due at `duration_s` or later.
    ts, mix, slo_multiplier, slo_base, rng, priorities, n_samples, semantics
        As for :func:`poisson`.

    Returns
    -------
    Workload
        With one :class:`Source`; :func:`dnnsched.simulate` gives rows only for requests that were released.
    """
    plan = Plan(ts, mix=mix, slo_multiplier=slo_multiplier, slo_base=slo_base, rng=rng, priorities=priorities,
                n_samples=n_samples, semantics=semantics)
    users, n = check_int(users, "users", 1), check_int(n, "n", 1)
    think_s = check_number(think_s, "think_s", 0)
    check_choice(think, "think", ("exponential", "constant"))
    source = Source(0, n, window=users, until_s=check_number(duration_s, "duration_s", 0, finite=False), n_min=n_min)
    seconds = None
    if think_s > 0:
        seconds = np.full(n, think_s) if think == "constant" else np.diff(
            renewal_times(plan.bits(4), 1.0 / think_s)(n), prepend=0.0)
    record = {"process": "closed loop", "users": users, "think_s": think_s, "think": think}
    if source.until_s < math.inf:
        record.update(duration_s=source.until_s, n_min=source.n_min)
    wl = plan.collect(given_times(np.zeros(n)), n, plan.meta(record, None))
    return wl.looped((source,), seconds)


def from_arrivals(ts, arrival, *, rate=None, rho=None, time_scale=None, mix=None, slo_multiplier=10.0, slo_base=None,
                  rng=None, priorities=None, n_samples=None, semantics="paper"):
    """Requests at given times; models, inputs and priorities are drawn.

    Parameters
    ----------
    arrival : array_like, shape (n,)
        Seconds, finite, >= 0, non-decreasing.
    rate, rho, time_scale : float, optional
        At most one. `rate` and `rho` stretch the times so that (n - 1) / (last - first) is the rate wanted,
        `time_scale` multiplies them; default: as they are.
    ts, mix, slo_multiplier, slo_base, rng, priorities, n_samples, semantics
        As for :func:`poisson`.

    Returns
    -------
    Workload
    """
    plan = Plan(ts, mix=mix, slo_multiplier=slo_multiplier, slo_base=slo_base, rng=rng, priorities=priorities,
                 n_samples=n_samples, semantics=semantics)
    return replay(plan, arrival, rate, rho, time_scale, {"process": "given"})


def _python_state(seed):
    """(state uint32[625]) of random.Random(seed)."""
    return np.array(random.Random(seed).getstate()[1], dtype=np.uint32)


def _poisson_python(plan, rng, rate, n, meta):
    if not rng.startswith(_PYTHON_RANDOM) or not rng[len(_PYTHON_RANDOM):].isdecimal():
        raise ValueError(f"rng: expected 'python-random:SEED' with an integer SEED >= 0, got {rng!r}")
    if not plan.uniform_mix:
        raise ValueError(f"mix: expected None with rng={rng!r}, whose models are equally likely")
    if (plan.priority_weight != plan.priority_weight[0]).any():
        raise ValueError(f"priorities: expected equal weights with rng={rng!r}")
    arrival, model, sample, priority, _ = _base.draw_python_requests(
        _python_state(int(rng[len(_PYTHON_RANDOM):])), rate, plan.samples, plan.priority, check_int(n, "n", 1))
    return plan.build((arrival, model, sample, priority), meta)


def dysta_tables(ts, rates, seeds=(1, 2, 3, 4, 5), n=1000, slo_multiplier=10.0, n_samples=ARTIFACT_SAMPLES,
                 slo_base="model", semantics="artifact"):
    """The request tables of the public Sparse-DySta artifact.

    One ``random.Random(seed)`` per seed draws the tables of all `rates` one after the other: per request
    ``expovariate(rate)``, the model uniformly over the keys, the priority uniformly over 1, 3, 9, the sample
    uniformly over 0 .. n_samples-1. So the same rate has other requests in another list of rates. SLO
    multipliers reuse one table: see :meth:`Workload.with_slo`.

    Parameters
    ----------
    ts : TraceSet
        Its key order is the artifact's file order.
    rates : sequence of float
        Requests per second, > 0, distinct, in stream order.
    seeds : sequence of int
        >= 0, distinct.
    n : int
        Requests per table.
    slo_multiplier, slo_base, semantics
        As for :func:`poisson`.
    n_samples : int
        7 in the published runs.

    Returns
    -------
    dict
        {(rate, seed): Workload}
    """
    rates, seeds = [*rates], [*seeds]
    for name, values in (("rates", rates), ("seeds", seeds)):
        if not values or len(set(values)) != len(values):
            raise ValueError(f"{name}: expected at least one value and no value twice, got {values}")
    plan = Plan(ts, mix=None, slo_multiplier=slo_multiplier, slo_base=slo_base, rng="", priorities=ARTIFACT_PRIORITIES,
                 n_samples=n_samples, semantics=semantics)
    n = check_int(n, "n", 1)
    numbers = [check_number(rate, f"rates[{i}]", 0, open_low=True) for i, rate in enumerate(rates)]
    tables = {}
    for seed in seeds:
        state = _python_state(check_int(seed, "seeds", 0))
        for position, (rate, number) in enumerate(zip(rates, numbers, strict=True)):
            *columns, state = _base.draw_python_requests(state, number, plan.samples, plan.priority, n)
            plan.rng_meta = {"stream": f"{_PYTHON_RANDOM}{seed}", "position": position, "rates": numbers}
            tables[rate, seed] = plan.build(columns, plan.meta({"process": "poisson"}, number))
    return tables
