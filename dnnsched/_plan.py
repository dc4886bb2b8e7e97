"""What the builders and readers of workloads share: the plan of a workload, and arrivals that are given."""

import warnings
from collections.abc import Mapping

import numpy as np

from dnnsched._arrays import as_float64, check_choice, check_elements, check_int, check_number, seed_sequence
from dnnsched._native import _base
from dnnsched._workload import SLO_BASES, Workload, deadlines, multipliers, plain
from dnnsched.traces import TraceSet

SEMANTICS = ("paper", "artifact")
ARTIFACT_SAMPLES = 7
ARTIFACT_PRIORITIES = (1.0, 3.0, 9.0)
CHUNK = 1 << 18
_SPAWN_TAG = 0x646E73


def stream_bits(seed, stream):
    """A new PCG64 for one of the streams of a workload: 0 arrivals, 1 models, 2 samples, 3 priorities, 4 tokens."""
    return np.random.PCG64(np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, _SPAWN_TAG, stream)))


class Plan:
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
        """A new PCG64 for one of the streams 0 arrivals, 1 models, 2 samples, 3 priorities, 4 think times."""
        if self.seed is None:
            raise ValueError(f"rng: {self.rng_meta['stream']!r} is a stream of workloads.poisson only")
        return stream_bits(self.seed, stream)

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

    def drawer(self):
        """Function (arrival, given) -> (arrival, model, sample, priority, deadline or None) of the next rows.

        `given` maps some of model, sample, priority and deadline to arrays that replace what is drawn. One word
        of each stream is used per row in any case, so pieces of any size give the same rows.
        """
        bits, own = [self.bits(stream) for stream in (1, 2, 3)], self.bits(2)

        def draw(arrival, given):
            model, sample, priority = _base.draw_requests(bits[0], self.weight, bits[1], self.samples, bits[2],
                                                          self.priority_weight, self.priority, len(arrival))
            if "model" in given:
                model = np.array(given["model"], dtype=np.int32)
                sample = _base.draw_samples(own, self.samples, model)
            return (arrival, model, np.array(given.get("sample", sample), dtype=np.int32),
                    np.array(given.get("priority", priority), dtype=np.float64), given.get("deadline"))
        return draw

    def rows(self, times, n, chunk, given=None):
        """Yield the columns of at most `chunk` rows; times(m) gives the next m arrivals."""
        draw = self.drawer()
        for start in range(0, n, chunk):
            m = min(chunk, n - start)
            yield draw(times(m), {name: column[start:start + m] for name, column in (given or {}).items()})

    def build(self, columns, meta):
        """Workload of drawn columns."""
        arrival, model, sample, priority, *deadline = columns
        if not deadline or deadline[0] is None:
            deadline = [deadlines(self.traces, arrival, model, sample, self.slo_base, self.factors)]
        return Workload._trusted(self.traces, arrival, model, sample, np.array(deadline[0]), priority, meta)

    def collect(self, times, n, meta, given=None):
        """Workload of n rows."""
        n = check_int(n, "n", 1)
        parts = [*zip(*self.rows(times, n, CHUNK, given), strict=True)]
        return self.build([None if column[0] is None else np.concatenate(column) for column in parts], meta)


def renewal_times(bits, rate, cv=None):
    """times(m) of a process with independent gaps: exponential, or gamma with a coefficient of variation."""
    clock = 0.0

    def times(m):
        nonlocal clock
        out, clock = _base.draw_arrivals(bits, rate, cv, clock, m)
        return out
    return times


def given_times(arrival):
    """times(m) that hands out an array in order."""
    at = 0

    def times(m):
        nonlocal at
        at += m
        return arrival[at - m:at].copy()
    return times


def replay(plan, arrival, rate, rho, time_scale, record, given=None, **more):
    """Workload at given arrivals, stretched to a rate or load or by a factor; `given` as in :meth:`Plan.drawer`."""
    times = arrival_times(arrival, "arrival")
    span = times[-1] - times[0] if len(times) else 0.0
    recorded = (len(times) - 1) / span if span > 0 else None
    if rate is None and rho is None and time_scale is None:
        time_scale = 1.0
    if given and "model" in given:
        plan.weight = np.bincount(given["model"], minlength=len(plan.traces)).astype(np.float64)
    rate, scaled = rescale(plan, times, rate, rho, time_scale, recorded)
    merged = int(np.count_nonzero((np.diff(scaled) == 0) & (np.diff(times) > 0)))
    if merged:
        warnings.warn(f"arrival: {merged} pairs of distinct times became equal by rescaling", stacklevel=3)
    return plan.collect(given_times(scaled), len(scaled), {**plan.meta(record, rate), **more}, given)


def arrival_times(arrival, name):
    """Own float64 copy of times that are finite, >= 0 and non-decreasing."""
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


def rescale(plan, times, rate, rho, time_scale, recorded):
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
