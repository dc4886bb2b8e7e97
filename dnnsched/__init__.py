"""Scheduling and cost models for dynamic and sparse DNN inference.

The data flow is one line: traces and cost models become tables, tables become a
workload, :func:`simulate` runs it, and a report compares the result with published
numbers::

    import dnnsched as ds

    ts = ds.traces.load("multi-attnn")
    wl = ds.workloads.poisson(ts, rate=30.0, n=1000, slo_multiplier=10.0, rng=1)
    res = ds.simulate(wl, scheduler="dysta")
    res.metrics["antt"], res.metrics["violation_rate"]

Every public name is loaded on first use, so ``import dnnsched`` is cheap and needs
NumPy only.
"""

import importlib

__version__ = "0.1.0"

# Public modules, and public objects with the module that defines each.
_MODULES = frozenset({
    "accel", "cli", "config", "costs", "errors", "experiments", "features", "frames", "kernels", "networks", "papers",
    "paths", "peak", "plugins", "policies", "report", "results", "rl", "scenarios", "schedulers", "schema", "sim",
    "statistics", "sweeps", "timeline", "traces", "viz", "workloads",
})
_OBJECTS = {
    "CostTable": "costs",
    "FormatError": "errors",
    "PointError": "errors",
    "StateError": "errors",
    "Trace": "traces",
    "TraceSet": "traces",
    "Workload": "workloads",
    "audit": "papers",
    "compare": "experiments",
    "find_peak_rate": "peak",
    "replicate": "experiments",
    "reproduce": "papers",
    "show_config": "config",
    "simulate": "sim",
    "sweep": "sweeps",
}

__all__ = sorted([*_MODULES, *_OBJECTS, "__version__"])


def __getattr__(name):
    """Import the public module or object `name`; an import failure inside it is raised as it is."""
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _OBJECTS:
        value = getattr(importlib.import_module(f"{__name__}.{_OBJECTS[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    """Public names, loaded or not."""
    return sorted({*globals(), *__all__})
