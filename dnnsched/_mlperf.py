"""MLPerf LoadGen's log files, written from a simulated scenario and marked as not official.

``mlperf_log_detail.txt`` has one ``:::MLLOG {...}`` line per key; ``mlperf_log_summary.txt`` is the page that has
``Result is : VALID``; ``mlperf_log_trace.json`` holds async ``Sample`` events. Times are nanoseconds in the first
two, microseconds in the third. Formats: github.com/mlcommons/inference, ``loadgen/results.cc`` and ``logging.cc``.
"""

import json
import math
from pathlib import Path

import numpy as np

from dnnsched._arrays import replace_file

NOTICE = "simulated by dnnsched; not an official MLPerf result"


def _ns(seconds):
    return round(seconds * 1e9)


def _name(p):
    return f"{100 * p:.2f}"


def _yes(flag):
    return "Yes" if flag else "NO"


def _early_text(result):
    """One line on early stopping."""
    e = result.early_stopping
    if result.scenario == "Server":
        return (f"{e.overlatency} of {e.n} queries over the target, {max(e.allowed, 0)} allowed; "
                f"{max(e.n_min - e.n, 0)} more needed")
    if not e.valid:
        return f"{e.n} queries, at least {e.n_min} needed"
    return f"{e.n} queries, at least {e.n_min} needed; {e.allowed - 1} highest latencies discarded"


def details(result):
    """Keys and values of the detail log, in order."""
    latency = result.run.requests["finish_s"] - result.run.requests["arrival_s"]
    samples, checks = np.sort(latency), result.checks
    yield "dnnsched_notice", NOTICE
    yield "test_scenario", result.scenario
    for key, value in result.settings.items():
        yield f"dnnsched_setting_{key}", value
    yield "result_validity", "VALID" if result.valid else "INVALID"
    if "performance" in checks:
        yield "result_perf_constraints_met", checks["performance"]
    yield "result_min_duration_met", checks["min_duration"]
    yield "result_min_queries_met", checks["min_queries"]
    yield "early_stopping_met", checks.get("early_stopping", True)
    if not result.valid:
        yield "result_invalid_reason", "; ".join(result.reasons)
    if result.early_stopping is not None:
        yield "early_stopping_result", _early_text(result)
    yield "result_query_count", 1 if result.scenario == "Offline" else result.n
    if result.overlatency is not None:
        yield "result_overlatency_query_count", result.overlatency
    if result.scenario == "MultiStream":
        yield from _spread(result.query_latency_s, "query_latency", "per_query_latency")
    if result.scenario == "SingleStream":
        issued = float(result.run.requests["arrival_s"][-1])
        yield "result_qps_with_loadgen_overhead", (result.n - 1) / issued if issued > 0 else 0.0
        yield "result_qps_without_loadgen_overhead", 1.0 / float(np.mean(latency))
        yield "early_stopping_latency_ss", _ns(result.estimate_s.get(result.percentile, 0.0))
    if result.scenario in ("SingleStream", "MultiStream"):
        p = 0.99 if result.scenario == "SingleStream" else result.percentile
        yield "early_stopping_latency_ms", _ns(result.estimate_s.get(p, 0.0))
    if result.scenario == "Server":
        yield "result_scheduled_samples_per_sec", result.scheduled_rate
        yield "result_completed_samples_per_sec", result.completed_rate
    if result.scenario == "Offline":
        yield "result_samples_per_second", result.result
    yield from _spread(samples, "latency", "latency")


def _spread(values, name, tail):
    """Minimum, maximum, mean and LoadGen's percentiles, nanoseconds."""
    from dnnsched.scenarios import PERCENTILES

    ordered = np.sort(values)
    yield f"result_min_{name}_ns", _ns(ordered[0])
    yield f"result_max_{name}_ns", _ns(ordered[-1])
    yield f"result_mean_{name}_ns", _ns(np.mean(ordered))
    for p in PERCENTILES:
        yield f"result_{_name(p)}_percentile_{tail}_ns", _ns(ordered[math.floor(len(ordered) * p)])


def detail_text(result):
    """The detail log."""
    lines = []
    for number, (key, value) in enumerate(details(result), start=1):
        if isinstance(value, float) and not math.isfinite(value):
            value = str(value)
        record = {"key": key, "value": value, "time_ms": 0.0, "namespace": "mlperf::logging",
                  "event_type": "POINT_IN_TIME",
                  "metadata": {"is_error": False, "is_warning": key == "dnnsched_notice", "file": "dnnsched",
                               "line_no": number, "pid": 0, "tid": 0}}
        lines.append(f":::MLLOG {json.dumps(record)}\n")
    return "".join(lines)


def summary_text(result):
    """The summary page."""
    rule, checks = "=" * 48, result.checks
    head = {"SingleStream": f"{100 * (result.percentile or 0):g}th percentile latency (ns) : {_ns(result.result)}",
            "MultiStream": f"{100 * (result.percentile or 0):g}th percentile latency (ns) : {_ns(result.result)}",
            "Server": f"Completed samples per second : {result.result:.2f}",
            "Offline": f"Samples per second: {result.result:.6g}"}[result.scenario]
    lines = [f"# {NOTICE}", rule, "MLPerf Results Summary", rule, "SUT name : dnnsched simulation",
             f"Scenario : {result.scenario}", "Mode     : PerformanceOnly", head,
             f"Result is : {'VALID' if result.valid else 'INVALID'}"]
    if "performance" in checks:
        lines.append(f"  Performance constraints satisfied : {_yes(checks['performance'])}")
    lines += [f"  Min duration satisfied : {_yes(checks['min_duration'])}",
              f"  Min queries satisfied : {_yes(checks['min_queries'])}",
              f"  Early stopping satisfied: {_yes(checks.get('early_stopping', True))}"]
    lines += [f"   * {reason}" for reason in result.reasons]
    if result.early_stopping is not None:
        lines += ["Early Stopping Result:", f" * {_early_text(result)}"]
        lines += [f" * Early stopping {100 * p:g}th percentile estimate: {_ns(value)}"
                  for p, value in result.estimate_s.items()]
    lines += ["", rule, "Additional Stats", rule]
    if result.scenario == "Server":
        lines.append(f"Scheduled samples per second : {result.scheduled_rate:.2f}")
    lines += [f"{_name(p)} percentile latency (ns)   : {_ns(value)}" for p, value in result.latency_s.items()]
    lines += ["", rule, "Test Parameters Used", rule, *(f"{k} : {v}" for k, v in result.settings.items())]
    return "\n".join(lines) + "\n"


def trace_text(result, queries):
    """Sample events of `queries` queries, in order of arrival."""
    r = result.run.requests
    per_query = len(r) if result.scenario == "Offline" else len(r) // result.n
    total = len(r) // per_query
    root = result.settings["seed"]
    seed = np.random.SeedSequence(root["entropy"], spawn_key=(*root["spawn_key"], 3))
    order = np.argsort(np.random.PCG64(seed).random_raw(total), kind="stable")
    lines = []
    for query in np.sort(order[:queries]).tolist():
        for i in range(query * per_query, (query + 1) * per_query):
            row, name = r[i], {"name": "Sample", "cat": "Sample", "pid": 0, "id": i}
            ts = row["arrival_s"] * 1e6
            arguments = {"sample_seq": i, "query_seq": query, "sample_idx": int(row["sample"]), "issue_start_ns": 0,
                         "complete_ns": _ns(row["finish_s"] - row["arrival_s"])}
            lines.append(json.dumps({**name, "ph": "b", "ts": float(ts), "args": arguments}))
            lines.append(json.dumps({**name, "ph": "e", "ts": float(row["finish_s"] * 1e6)}))
    return ('{"traceEvents": [\n' + ",\n".join(lines) + f'\n], "otherData": {{"notice": "{NOTICE}"}}}}\n')


def write(result, directory, queries):
    """Write the logs; the paths."""
    directory = Path(directory)
    texts = {"mlperf_log_summary.txt": summary_text(result), "mlperf_log_detail.txt": detail_text(result)}
    if queries:
        texts["mlperf_log_trace.json"] = trace_text(result, queries)
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        with replace_file(directory / name) as stream:
            stream.write(text.encode())
    return [directory / name for name in texts]
