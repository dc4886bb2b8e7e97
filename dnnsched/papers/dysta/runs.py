"""Runs of the Dysta reproduction: trace sets, request tables, simulations, all as independent jobs.

A job is a function without arguments that returns rows ``(point, replication, metrics)``. Jobs share
nothing but the loaded traces, so threads run them in any order and the collected results are the same.
"""

import threading
from dataclasses import dataclass

import numpy as np

from dnnsched import schedulers, sim, traces, workloads
from dnnsched.papers.dysta import plan as plans
from dnnsched.report.results import Point

KEPT = ("antt", "violation_rate", "throughput_rps")
GROUP_METRICS = ("antt", "violation_rate")


@dataclass(frozen=True)
class Set:
    """A trace set of the study.

    Attributes
    ----------
    workload : str
        Label in results (``"multi-attnn-calibrated/cv10"``).
    domain : str
        ``"attnn"`` or ``"cnn"``.
    origin : str
        Origin of its numbers.
    load : callable
        ``load(draw) -> TraceSet``; draw 0 for a set without randomness.
    draws : int
        Number of trace draws; 0 = the set is fixed and seeds are the replications.
    """

    workload: str
    domain: str
    origin: str
    load: object
    draws: int = 0


class TraceStore:
    """Loads each (set, draw) once, whichever thread asks first."""

    def __init__(self):
        self._guard = threading.Lock()
        self._locks, self._loaded = {}, {}

    def get(self, chosen, draw):
        """The trace set of one draw."""
        key = (chosen.workload, draw)
        with self._guard:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._loaded:
                self._loaded[key] = chosen.load(draw)
            return self._loaded[key]


def calibrated_sets(domain, draws):
    """Set A: the three variability variants, in fixed order."""
    name = f"multi-{domain}-calibrated"
    made = [Set(f"{name}/deterministic", domain, "calibrated", lambda draw: traces.load(name, variant="deterministic"))]
    for variant in ("cv10", "cv18"):
        made.append(Set(f"{name}/{variant}", domain, "calibrated",
                        lambda draw, v=variant: traces.load(name, variant=v, draw=draw), draws))
    return made


def generated_set(domain, draws):
    """Set B: generated sparsity through the cost models."""
    name = f"multi-{domain}"
    return Set(name, domain, "synthetic", lambda draw: traces.load(name, draw=draw), draws)


def recorded_set(domain, draws, rescale=True):
    """The recorded set of a domain, or None if the installation carries none.

    Its draws are bootstrap samples (with replacement) of each trace's recorded inputs.

    Parameters
    ----------
    domain : str
    draws : int
    rescale : bool
        Multiply all latencies by one factor, so that the mean isolated time is the paper's. Dysta adds
        a penalty without unit to times in seconds, so its decisions depend on the scale; every other
        scheduler is unaffected. False: the times as recorded (label ``.../as recorded``).
    """
    name = plans.RECORDED[domain]
    if name not in traces.list():
        return None
    recorded = traces.load(name)
    factor = plans.MEAN_ISOLATED_S[domain] / float(np.mean(recorded.mean_isolated_s)) if rescale else 1.0
    label = name if rescale else f"{name}/as recorded"
    return Set(label, domain, "modelled", lambda draw: resample(recorded, draw, factor), draws)


def resample(recorded, draw, factor=1.0):
    """A bootstrap sample of a trace set's inputs, with all latencies multiplied by `factor`."""
    picked = {}
    for index, (key, trace) in enumerate(recorded.items()):
        words = np.random.PCG64(np.random.SeedSequence([draw, trace.n_samples, index])).random_raw(trace.n_samples)
        rows = (words % np.uint64(trace.n_samples)).astype(np.intp)
        sparsity = None if trace.sparsity is None else trace.sparsity[rows]
        picked[key] = traces.Trace(trace.latency[rows] * factor, sparsity, trace.model, trace.pattern, trace.origin,
                                   dict(trace.meta))
    return traces.TraceSet(picked, recorded.origin, dict(recorded.meta))


def original_sets(folder):
    """Plan E: the public artifact's own trace files, if the user has them.

    Parameters
    ----------
    folder : path-like
        Holds the ``*.csv`` files of one or both scenarios; the columns say which accelerator.

    Returns
    -------
    tuple
        (one :class:`Set` per scenario found, paths of the files read).

    Raises
    ------
    FormatError
        Naming the file, and in it row and column.

    Notes
    -----
    The artifact numbers its files in directory order, which its archive does not fix; here they are
    sorted by name.
    """
    from pathlib import Path

    from dnnsched.errors import FormatError

    root = Path(folder)
    if not root.is_dir():
        raise FormatError(f"{root}: expected a folder with the artifact's trace files (*.csv)")
    paths = sorted(root.rglob("*.csv"))
    if not paths:
        raise FormatError(f"{root}: expected the artifact's trace files (*.csv), found none")
    found = {"attnn": {}, "cnn": {}}
    for path in paths:
        trace = traces.read_dysta_csv(path)
        found["attnn" if trace.meta["accelerator"] == "sanger" else "cnn"][path.stem] = trace
    made = []
    for domain, files in found.items():
        if files:
            try:
                loaded = traces.TraceSet(files)
            except ValueError as error:
                raise FormatError(f"{root}: {error}") from None
            made.append(Set(f"original-{domain}", domain, "modelled", lambda draw, ts=loaded: ts))
    return made, paths


def _summary(result):
    metrics = {k: float(result.metrics[k]) for k in KEPT}
    metrics["violation_rate"] *= 100.0
    if result.config["clock"] == "artifact":
        metrics["rewinds"] = float(result.metrics["rewinds"])
    metrics["events"] = result.stats["stages"]
    return metrics


def simulate(table, scheduler, semantics, **params):
    """One run, with the metrics that are kept."""
    return sim.simulate(table, scheduler=schedulers.get(scheduler, **params), semantics=semantics, record="requests")


def one_rate(table, point, names, slos, replication, semantics):
    """Rows of all schedulers at one rate and all SLO multipliers.

    Schedulers that ignore the deadline run once; their violations at another multiplier are counted
    on the same finish times.
    """
    rows, tables, counted = [], {m: table.with_slo(m) for m in slos}, set()
    for label in names:
        name, params = plans.CASES.get(label, (label, {}))
        shared = simulate(table, name, semantics, **params) if name in plans.DEADLINE_FREE else None
        for slo, at in tables.items():
            if shared is None:
                metrics = _summary(simulate(at, name, semantics, **params))
            else:
                metrics = _summary(shared)
                late = shared.requests["finish_s"] > at.deadline[shared.requests["request_id"]]
                metrics["violation_rate"] = 100.0 * float(late.mean())
                metrics["events"] *= label not in counted
            counted.add(label)
            rows.append((point.with_(scheduler=label, slo=slo, semantics=semantics), replication, metrics))
    return rows


def published_job(store, chosen, plan, seed, draw, replication, item, slos):
    """Set A: the published request tables of one seed, at the rates of Fig. 14 or Fig. 15."""
    rates = plans.RATES_14[chosen.domain] if item == "fig14" else plans.RATES_15[chosen.domain]
    simulated = [r for r in rates if item == "fig14" or plan.simulates(chosen, r)]

    def run():
        ts = store.get(chosen, draw)
        tables = workloads.dysta_tables(ts, rates, seeds=[seed], n=plan.requests, semantics="artifact")
        rows = []
        for rate in simulated:
            point = Point(item, chosen.workload, rate=rate)
            rows += one_rate(tables[rate, seed], point, plans.SCHEDULERS, slos, replication, "artifact")
        return rows
    return run


def load_job(store, chosen, plan, rho, replication, item, slos, names=(*plans.SCHEDULERS, *plans.CASES)):
    """Sets B and recorded: Poisson arrivals of one offered load, paper semantics."""
    def run():
        table = poisson(store.get(chosen, replication), plan, rho, replication)
        return one_rate(table, Point(item, chosen.workload, rho=rho), names, slos, replication, "paper")
    return run


def poisson(ts, plan, rho, seed, **options):
    """Requests of the generated and recorded sets: uniform mix, priorities 1, 3, 9, M = 10."""
    return workloads.poisson(ts, rho=rho, n=plan.requests, slo_multiplier=10.0, rng=seed,
                             priorities=workloads.ARTIFACT_PRIORITIES, **options)


def variants_job(make_table, point, cases, replication, semantics):
    """Rows of one request table under named scheduler variants.

    Parameters
    ----------
    make_table : callable
        Builds the request table in the worker.
    point : Point
    cases : list of (str, str, dict)
        Row label, scheduler name, parameters.
    replication : int
    semantics : str
    """
    def run():
        table = make_table()
        return [(point.with_(scheduler=label, semantics=semantics), replication,
                 _summary(simulate(table, name, semantics, **params))) for label, name, params in cases]
    return run


def groups_job(store, chosen, plan, rho, replication, names):
    """Metrics per model, pattern and priority of set B at one load."""
    def run():
        table = poisson(store.get(chosen, replication), plan, rho, replication)
        rows = []
        for name in names:
            result = simulate(table, name, "paper")
            for by in ("model", "pattern", "priority"):
                for label, metrics in result.metrics_by(by).items():
                    kept = {k: float(metrics[k]) * (100.0 if k == "violation_rate" else 1.0) for k in GROUP_METRICS}
                    rows.append((Point("groups", chosen.workload, name, "paper", rho=rho, slo=10.0,
                                       group=f"{by}={label}"), replication, kept))
        return rows
    return run


def collect(rows):
    """Rows of all jobs -> {point: {metric: array over replications}}.

    Several rows of one point and replication (set A: the five published seeds of one trace draw) are
    averaged, as the paper does.
    """
    gathered = {}
    for point, replication, metrics in rows:
        for metric, value in metrics.items():
            gathered.setdefault(point, {}).setdefault(metric, {}).setdefault(replication, []).append(value)
    return {point: {metric: np.array([np.mean(values[r]) for r in sorted(values)]) for metric, values in found.items()}
            for point, found in gathered.items()}


def simulate_timeline(table, name):
    """One run in paper semantics with its timeline."""
    return sim.simulate(table, scheduler=name, semantics="paper", record="requests", timeline=True)
