"""``dnnsched run``: one configuration, several schedulers on the same requests, a run directory."""

import functools
import math
import os

from dnnsched import _executors, plugins, scenarios, schedulers, sim, traces, workloads
from dnnsched.report import document, progress, provenance
from dnnsched.report.results import METRICS, Point, Results, origin_of, reported
from dnnsched.report.tables import Table, with_interval
from dnnsched.runconfig import ARRIVALS, RECORDED
from dnnsched.statistics import mean_interval, paired_difference

_SHOWN = ("antt", "violation_rate", "throughput_rps", "latency_p99_s", "utilization", "offered_load")


def _build(config, ts, seed):
    return _build_workload(config.workload, ts, seed)


def _build_workload(w, ts, seed):
    if w.scenario is not None:
        options = {"min_duration_s": w.min_duration_s, "target_qps": w.rate, "latency_s": w.latency_s}
        return scenarios.workload(w.scenario, ts, rng=seed, **{k: v for k, v in options.items() if v is not None})
    options = {"rate": w.rate, "rho": w.rho, "n": w.n, "slo_multiplier": w.slo_multiplier, "slo_base": w.slo_base,
               "semantics": w.semantics, "rng": seed}
    if w.cv is not None:
        options["cv"] = w.cv
    if w.arrivals == "file":
        return workloads.read_trace(w.file, ts, format=w.format, failures=w.failures, **options)
    if w.arrivals in RECORDED:
        return workloads.azure_like(w.arrivals.removeprefix("azure_"), ts, **options)
    builder = getattr(workloads, w.arrivals) if w.arrivals in ARRIVALS else plugins.load("workloads", w.arrivals)
    return builder(ts, **options)


def _simulate(config, table, scheduler, timeline=False):
    return sim.simulate(table, schedulers.get(scheduler.name, **scheduler.parameters), semantics=config.semantics,
                        clock=config.clock, switch_cost_s=config.switch_cost_s, warmup=config.warmup,
                        timeline=timeline)


_load = functools.lru_cache(maxsize=8)(traces.load)


@functools.lru_cache(maxsize=16)
def _workload(config, seed):
    """The requests of a workload configuration; schedulers that follow each other share them."""
    return _build_workload(config, _load(config.traces), seed)


def simulate(config, seed):
    """The first scheduler of a configuration on requests drawn from `seed`.

    Parameters
    ----------
    config : runconfig.RunConfig
    seed : int

    Returns
    -------
    Result
    """
    return _simulate(config, _workload(config.workload, seed), config.scheduler[0])


def timeline(config, scheduler):
    """The timeline of one scheduler on the configuration's first replication.

    Parameters
    ----------
    config : runconfig.RunConfig
    scheduler : runconfig.SchedulerConfig

    Returns
    -------
    dnnsched.timeline.Timeline
    """
    table = _build(config, traces.load(config.workload.traces), config.seed)
    return _simulate(config, table, scheduler, timeline=True).timeline


def run(config, *, jobs=None, quiet=True, save_requests=False):
    """Simulate a configuration.

    Parameters
    ----------
    config : runconfig.RunConfig
    jobs : int, optional
        Threads; results do not depend on it.
    quiet : bool
    save_requests : bool
        Keep the requests of every scheduler's first replication.

    Returns
    -------
    dnnsched.report.Report
        Without claims.
    """
    recorder = provenance.Recorder(config.record(), seeds=range(config.seed, config.seed + config.replications),
                                   inputs=[path for path in (config.workload.traces, config.workload.file)
                                           if path is not None and os.path.isfile(path)])
    ts = traces.load(config.workload.traces)
    notes, kept = [], {}

    def replication(r):
        table = _build(config, ts, config.seed + r)
        out = []
        for at, scheduler in enumerate(config.scheduler):
            result = _simulate(config, table, scheduler, timeline=config.timeline and r == 0 and at == 0)
            if r == 0:
                kept[at] = (scheduler, result, table)
            verdict = scenarios.evaluate(result).outcome() if config.workload.scenario else None
            out.append((scheduler.label, result.metrics, list(result.notes), verdict, result.stats["stages"]))
        return out

    bar = progress.bar(config.replications, "run", quiet)
    try:
        parts = _executors.execute(replication, range(config.replications), executor="threads", jobs=jobs,
                                   done=lambda indices, _: bar.update(len(indices)))
    finally:
        bar.close()
    rows = [row for part in parts for row in part]
    recorder.citations = list(kept[0][2].meta.get("data_citations", ()))
    values = {}
    recorder.count(sum(row[-1] for row in rows))
    for label, metrics, remarks, *_ in rows:
        notes += [n for n in remarks if n not in notes]
        for name in METRICS:
            if name in metrics:
                values.setdefault(label, {}).setdefault(name, []).append(float(metrics[name]))
    results = Results()
    for label, metrics in values.items():
        point = Point("run", config.workload.traces, label, config.semantics, config.workload.rate, config.workload.rho,
                      None if config.workload.scenario else config.workload.slo_multiplier)
        for name, numbers in metrics.items():
            if all(math.isfinite(v) for v in numbers):
                results.add(point, name, reported(name, numbers)[0], origin=origin_of(ts),
                            method="Student-t over replications, one seed each")
    named = [document.NamedRun(s.label.replace(" ", "-").replace("=", "-"), f"{s.label}, seed {config.seed}", result,
                               table) for _, (s, result, table) in sorted(kept.items())]
    tables = {"run": _table(results)}
    if len(config.scheduler) > 1:
        tables["paired"] = _paired(results)
    if config.workload.scenario:
        tables = {"scenario": _verdicts(config, rows), **tables}
    return document.Report(
        paper="run", title=f"Run of {config.workload.traces}", citation="", profile=f"n{config.replications}",
        config=config.record(), tables=tables, claims=[], results=results, notes=notes, recorder=recorder, run=named[0],
        draw_figures=_figures, more_runs=named[1:] if save_requests else [])


def _verdicts(config, rows):
    """MLPerf's verdict on each scheduler, over the replications."""
    table = []
    for scheduler in config.scheduler:
        found = [verdict for label, _, _, verdict, _ in rows if label == scheduler.label]
        failed = [check for v in found for check in v.failed]
        why = ", ".join(f"{check} ({failed.count(check)})" for check in dict.fromkeys(failed))
        table.append([scheduler.label, f"{sum(v.valid for v in found)} of {len(found)}",
                      with_interval(mean_interval([v.result for v in found])), why or "-"])
    title = (f"MLPerf {scenarios.NAMES[config.workload.scenario]} (simulated, not an official result): VALID "
             "replications, 95 % intervals, and checks that failed how often")
    return Table("scenario", title, ["scheduler", "valid", found[0].label, "failed"], table)


def _figures(report):
    from dnnsched.viz import timeline

    return timeline.figures(report.run)


def _paired(results):
    """Differences to the first scheduler, replication by replication."""
    labels = list(dict.fromkeys(s.point.scheduler for s in results))
    rows = []
    for label in labels[1:]:
        row = [f"{label} - {labels[0]}"]
        for metric in _SHOWN[:4]:
            pair = [results.find(metric, scheduler=name) for name in (label, labels[0])]
            row.append(with_interval(paired_difference(pair[0][0].values, pair[1][0].values)) if all(pair) else "-")
        rows.append(row)
    return Table("paired", "Differences on the same requests, 95 % intervals of the paired difference",
                 ["schedulers", *_SHOWN[:4]], rows)


def _table(results):
    labels = list(dict.fromkeys(s.point.scheduler for s in results))
    rows = []
    for label in labels:
        found = {m: results.find(m, scheduler=label) for m in _SHOWN}
        rows.append([label, *[with_interval(found[m][0].interval()) if found[m] else "-" for m in _SHOWN]])
    heads = [f"{m} ({METRICS[m][0]})" if METRICS[m][0] != "1" else m for m in _SHOWN]
    return Table("run", "Schedulers on the same requests, 95 % intervals over replications", ["scheduler", *heads],
                 rows)
