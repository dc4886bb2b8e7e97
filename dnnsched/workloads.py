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

import random
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dnnsched._arrays import as_float64, check_choice, check_elements, check_int, check_number, seed_sequence
from dnnsched._csvio import column, read_columns
from dnnsched._native import _base
from dnnsched._workload import SLO_BASES, Workload, deadlines, multipliers, plain
from dnnsched.errors import FormatError
from dnnsched.traces import TraceSet

SEMANTICS = ("paper", "artifact")
ARTIFACT_SAMPLES = 7
ARTIFACT_PRIORITIES = (1.0, 3.0, 9.0)
AZURE_CITATION = ("Azure LLM inference trace (Microsoft, CC-BY 4.0): P. Patel et al., Splitwise: Efficient Generative "
                  "LLM Inference Using Phase Splitting, ISCA 2024")
_CHUNK = 1 << 18
_SPAWN_TAG = 0x646E73
_PYTHON_RANDOM = "python-random:"


class _Plan:
    """Everything about a workload but its arrival times."""

    def __init__(self, traces, *, mix, slo_multiplier, slo_base, rng, priorities, n_samples, semantics):
        if not isinstance(traces, TraceSet):
            raise TypeError(f"ts: expected a TraceSet, got {type(traces).__name__}")
        self.traces = traces
        self.semantics = check_choice(semantics, "semantics", SEMANTICS)
        artifact = semantics == "artifact"
        self.slo_base = check_choice(slo_base or ("model" if artifact else "request"), "slo_base", SLO_BASES)
        self.factors = multipliers(traces, slo_multiplier)
        self.uniform_mix = mix is None
        self.weight = self._mix(mix)
        self.limit = n_samples if n_samples is not None else (ARTIFACT_SAMPLES if artifact else None)
        self.samples = self._samples()
        if priorities is None:
            priorities = ARTIFACT_PRIORITIES if artifact else (1.0,)
        self.priority, self.priority_weight = self._priorities(priorities)
        self.seed = None
        if isinstance(rng, str):
            self.rng_meta = {"stream": rng}
        else:
            self.seed, self.rng_meta = seed_sequence(rng)

    def _mix(self, mix):
        if mix is None:
            return np.ones(len(self.traces))
        if not isinstance(mix, Mapping):
            raise TypeError(f"mix: expected a mapping from key to weight, got {type(mix).__name__}")
        weight = np.zeros(len(self.traces))
        for key, value in mix.items():
            if key not in self.traces:
                raise ValueError(f"mix: expected keys of the trace set ({', '.join(self.traces)}), got {key!r}")
            weight[self.traces.index(key)] = check_number(value, f"mix[{key!r}]", 0)
        if weight.sum() <= 0:
            raise ValueError("mix: expected at least one weight > 0")
        return weight

    def _samples(self):
        available = self.traces.n_samples
        if self.limit is None:
            return available.astype(np.int32)
        limit = check_int(self.limit, "n_samples", 1)
        for key, n, weight in zip(self.traces, available, self.weight, strict=True):
            if n < limit and weight > 0:
                raise ValueError(f"n_samples: expected at most the {n} samples of trace {key!r}, got {limit}")
        return np.minimum(available, limit).astype(np.int32)

    @staticmethod
    def _priorities(priorities):
        if isinstance(priorities, Mapping):
            value = as_float64([*priorities], "priorities", 1)
            weight = as_float64([*priorities.values()], "priorities", 1)
        else:
            value = as_float64(priorities, "priorities", np.ndim(priorities)).reshape(-1)
            weight = np.ones(len(value))
        if len(value) == 0:
            raise ValueError("priorities: expected at least one value, got none")
        check_elements(value, "priorities", ~(np.isfinite(value) & (value > 0)), "a finite value > 0", ("position",))
        check_elements(weight, "priorities", ~(np.isfinite(weight) & (weight >= 0)), "a weight >= 0", ("position",))
        if weight.sum() <= 0:
            raise ValueError("priorities: expected at least one weight > 0")
        return value, weight

    @property
    def mean_isolated_s(self):
        """Mean isolated time of a request: over the mix, and the samples in use of each trace."""
        means = [np.mean(trace.isolated_s[:n]) for trace, n in zip(self.traces.values(), self.samples, strict=True)]
        return float(np.dot(self.weight, means) / self.weight.sum())

    def rate(self, rate, rho):
        """Requests per second from exactly one of `rate` and `rho`."""
        if (rate is None) == (rho is None):
            raise ValueError("rate, rho: expected exactly one of them (requests per second, or offered load)")
        if rate is not None:
            return check_number(rate, "rate", 0, open_low=True)
        return check_number(rho, "rho", 0, open_low=True) / self.mean_isolated_s

    def bits(self, stream):
        """A new PCG64 for one of the streams 0 arrivals, 1 models, 2 samples, 3 priorities."""
        if self.seed is None:
            raise ValueError(f"rng: {self.rng_meta['stream']!r} is a stream of workloads.poisson only")
        key = (*self.seed.spawn_key, _SPAWN_TAG, stream)
        return np.random.PCG64(np.random.SeedSequence(self.seed.entropy, spawn_key=key))

    def meta(self, arrivals, rate):
        """The record of how a workload was built."""
        total = self.weight.sum()
        return {
            "semantics": self.semantics,
            "slo_base": self.slo_base,
            "slo_multiplier": plain(self.factors),
            "sample_rule": "all" if self.limit is None else f"first {int(self.limit)}",
            "arrivals": arrivals,
            "rate": rate,
            "offered_load": None if rate is None else rate * self.mean_isolated_s,
            "mix": {key: float(w / total) for key, w in zip(self.traces, self.weight, strict=True)},
            "priorities": {repr(float(v)): float(w / self.priority_weight.sum())
                           for v, w in zip(self.priority, self.priority_weight, strict=True)},
            "rng": self.rng_meta,
        }

    def rows(self, times, n, chunk):
        """Yield (arrival, model, sample, priority) of at most `chunk` rows; times(m) gives the next m arrivals."""
        bits = [self.bits(stream) for stream in (1, 2, 3)]
        for start in range(0, n, chunk):
            m = min(chunk, n - start)
            model, sample, priority = _base.draw_requests(bits[0], self.weight, bits[1], self.samples, bits[2],
                                                          self.priority_weight, self.priority, m)
            yield times(m), model, sample, priority

    def build(self, columns, meta):
        """Workload of drawn columns."""
        arrival, model, sample, priority = columns
        deadline = deadlines(self.traces, arrival, model, sample, self.slo_base, self.factors)
        return Workload._trusted(self.traces, arrival, model, sample, deadline, priority, meta)

    def collect(self, times, n, meta):
        """Workload of n rows."""
        n = check_int(n, "n", 1)
        parts = [*self.rows(times, n, _CHUNK)]
        return self.build([np.concatenate(column) for column in zip(*parts, strict=True)], meta)


def _renewal(bits, rate, cv):
    clock = 0.0

    def times(m):
        nonlocal clock
        out, clock = _base.draw_arrivals(bits, rate, cv, clock, m)
        return out
    return times


def _given(arrival):
    at = 0

    def times(m):
        nonlocal at
        at += m
        return arrival[at - m:at].copy()
    return times


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
    plan = _Plan(ts, mix=mix, slo_multiplier=slo_multiplier, slo_base=slo_base, rng=rng, priorities=priorities,
                 n_samples=n_samples, semantics=semantics)
    rate = plan.rate(rate, rho)
    meta = plan.meta({"process": "poisson"}, rate)
    if isinstance(rng, str):
        return _poisson_python(plan, rng, rate, n, meta)
    return plan.collect(_renewal(plan.bits(0), rate, None), n, meta)


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
    plan = _Plan(ts, mix=mix, slo_multiplier=slo_multiplier, slo_base=slo_base, rng=rng, priorities=priorities,
                 n_samples=n_samples, semantics=semantics)
    rate = plan.rate(rate, rho)
    plan.bits(0)
    return WorkloadStream(plan, lambda: _renewal(plan.bits(0), rate, None), check_int(n, "n", 1),
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
    plan = _Plan(ts, mix=mix, slo_multiplier=slo_multiplier, slo_base=slo_base, rng=rng, priorities=priorities,
                 n_samples=n_samples, semantics=semantics)
    cv = check_number(cv, "cv", 1e-6, 1e6)
    rate = plan.rate(rate, rho)
    return plan.collect(_renewal(plan.bits(0), rate, cv), n, plan.meta({"process": "gamma", "cv": cv}, rate))


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
    plan = _Plan(ts, mix=mix, slo_multiplier=slo_multiplier, slo_base=slo_base, rng=rng, priorities=priorities,
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
    plan = _Plan(ts, mix=mix, slo_multiplier=slo_multiplier, slo_base=slo_base, rng=rng, priorities=priorities,
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
    plan = _Plan(ts, mix=mix, slo_multiplier=slo_multiplier, slo_base=slo_base, rng=rng, priorities=priorities,
                 n_samples=n_samples, semantics=semantics)
    source = _arrival_times(arrivals, "arrivals")
    gaps = np.diff(source)
    if len(gaps) < 2 or not gaps.sum() > 0:
        raise ValueError("arrivals: expected at least three times that are not all equal")
    block = check_int(block, "block", 1, 2**31 - 1)
    n = check_int(n, "n", 1)
    rate, gaps = _rescale(plan, gaps, rate, rho, time_scale, len(gaps) / (source[-1] - source[0]))
    start = _base.draw_below(plan.bits(0), len(gaps), -(-n // block))
    index = (start[:, None].astype(np.int64) + np.arange(min(block, n))[None, :]) % len(gaps)
    arrival = np.cumsum(gaps[index.reshape(-1)[:n]])
    return plan.collect(_given(arrival), n, plan.meta({"process": "bursty", "block": block,
                                                       "recorded": len(source)}, rate))


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
    plan = _Plan(ts, mix=mix, slo_multiplier=slo_multiplier, slo_base=slo_base, rng=rng, priorities=priorities,
                 n_samples=n_samples, semantics=semantics)
    return _replay(plan, arrival, rate, rho, time_scale, {"process": "given"})


def read_azure_llm_table(path):
    """Read a file of the Azure LLM inference traces (2023, and the weeks of 2024).

    Columns ``TIMESTAMP`` (UTC, up to 9 fractional digits), ``ContextTokens``, ``GeneratedTokens`` in any order among
    others. The data set is CC-BY 4.0: cite Patel et al., "Splitwise", ISCA 2024.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    structured array
        ``time_s`` float64 (seconds after the first row), ``context_tokens`` and ``generated_tokens`` int64.

    Raises
    ------
    FormatError
        Naming file, line and column; also when times decrease.
    """
    (time, context, generated), lines = read_columns(path, (
        column("TIMESTAMP", "time"), column("ContextTokens", "int", 0), column("GeneratedTokens", "int", 0)))
    late = np.diff(time) < 0
    if late.any():
        row = int(np.argmax(late)) + 1
        raise FormatError(f"{path}: line {lines[row]}, column 'TIMESTAMP': expected a time not before that of the row "
                          "above")
    out = np.empty(len(time), dtype=[("time_s", "f8"), ("context_tokens", "i8"), ("generated_tokens", "i8")])
    out["time_s"], out["context_tokens"], out["generated_tokens"] = (time - time[0]) / 1e9, context, generated
    return out


def read_azure_llm(path, traces, *, rate=None, rho=None, time_scale=None, n=None, model=None, mix=None,
                   slo_multiplier=10.0, slo_base=None, rng=None, priorities=None, n_samples=None, semantics="paper"):
    """Requests at the arrival times of an Azure LLM inference trace; models, inputs and priorities are drawn.

    Parameters
    ----------
    path : str or path
        As for :func:`read_azure_llm_table`.
    traces : TraceSet
    rate, rho, time_scale : float, optional
        At most one: stretch the times to this mean rate or offered load, or multiply them; default 1.
    n : int, optional
        First n rows only.
    model : str, optional
        Key of all requests, instead of `mix`.
    mix, slo_multiplier, slo_base, rng, priorities, n_samples, semantics
        As for :func:`poisson`.

    Returns
    -------
    Workload
        ``meta["data_citations"]`` holds the attribution that the licence asks for.
    """
    if model is not None:
        if mix is not None:
            raise ValueError("model, mix: expected at most one of them")
        mix = {model: 1.0}
    plan = _Plan(traces, mix=mix, slo_multiplier=slo_multiplier, slo_base=slo_base, rng=rng, priorities=priorities,
                 n_samples=n_samples, semantics=semantics)
    times = read_azure_llm_table(path)["time_s"]
    if n is not None:
        times = times[:check_int(n, "n", 1, len(times))]
    record = {"process": "azure_llm", "file": Path(path).name}
    return _replay(plan, times, rate, rho, time_scale, record, data_citations=[AZURE_CITATION])


def _replay(plan, arrival, rate, rho, time_scale, record, **more):
    times = _arrival_times(arrival, "arrival")
    span = times[-1] - times[0] if len(times) else 0.0
    recorded = (len(times) - 1) / span if span > 0 else None
    if rate is None and rho is None and time_scale is None:
        time_scale = 1.0
    rate, scaled = _rescale(plan, times, rate, rho, time_scale, recorded)
    merged = int(np.count_nonzero((np.diff(scaled) == 0) & (np.diff(times) > 0)))
    if merged:
        warnings.warn(f"arrival: {merged} pairs of distinct times became equal by rescaling", stacklevel=3)
    return plan.collect(_given(scaled), len(scaled), {**plan.meta(record, rate), **more})


def _arrival_times(arrival, name):
    times = as_float64(arrival, name, 1)
    if len(times) == 0:
        raise ValueError(f"{name}: expected at least one time, got none")
    check_elements(times, name, ~(np.isfinite(times) & (times >= 0)), "a finite time >= 0 (seconds)")
    late = np.diff(times) < 0
    if late.any():
        row = int(np.argmax(late)) + 1
        raise ValueError(f"{name}: row {row}: expected a time >= that of the row before ({float(times[row - 1])!r}), "
                         f"got {float(times[row])!r}")
    return times


def _rescale(plan, times, rate, rho, time_scale, recorded):
    """(rate, times * factor) for exactly one of rate, rho and time_scale."""
    if sum(x is not None for x in (rate, rho, time_scale)) != 1:
        raise ValueError("rate, rho, time_scale: expected exactly one of them")
    if time_scale is not None:
        factor = check_number(time_scale, "time_scale", 0, open_low=True)
        return (None if recorded is None else recorded / factor), times * factor
    rate = plan.rate(rate, rho)
    if recorded is None:
        raise ValueError("rate: expected arrivals that span some time, got one request or equal times")
    return rate, times * (recorded / rate)


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
    plan = _Plan(ts, mix=None, slo_multiplier=slo_multiplier, slo_base=slo_base, rng="", priorities=ARTIFACT_PRIORITIES,
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
