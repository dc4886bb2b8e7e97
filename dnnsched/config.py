"""What this installation is made of, and the instruction-set level in use."""

import functools
import importlib
import importlib.util
import os
import platform
import sys

ISA_LEVELS = ("generic", "avx2", "avx512", "avx512vnni", "amx")
"""Instruction-set levels, lowest first. Counts, integer kernels and the simulator give the same bytes at every level;
floating-point kernels differ in the last bits, within the bound that each states."""

OPTIONAL = {"pandas": "viz", "matplotlib": "viz", "numba": "numba", "pyarrow": "io", "pooch": "data",
            "joblib": "sweep", "threadpoolctl": "sweep", "distributed": "dask", "ray": "ray", "mpi4py": "mpi",
            "gymnasium": "rl", "scipy": "", "sklearn": "train", "torch": "torch", "tqdm": ""}
"""Packages that a feature can use, with the extra that installs each (empty: none; used if it is there)."""


@functools.cache
def _allowed():
    """Index of the highest level allowed when first asked, before `isa` changed the environment."""
    base = importlib.import_module("dnnsched._native._base")
    return ISA_LEVELS.index(base.isa_allowed())


def isa(level=None):
    """Instruction-set level of the native code, optionally lowered first.

    Parameters
    ----------
    level : {"generic", "avx2", "avx512", "avx512vnni", "amx"}, optional
        Use at most this level from now on, in modules loaded already and in those loaded
        later. It cannot raise the level above what the CPU and the environment variable
        ``DNNSCHED_ISA`` allowed at start.

    Returns
    -------
    str
        The level in use.

    Raises
    ------
    ValueError
        If `level` is not a level's name.
    """
    base = importlib.import_module("dnnsched._native._base")
    if level is not None:
        if level not in ISA_LEVELS:
            raise ValueError(f"level: expected one of {', '.join(ISA_LEVELS)}, got {level!r}")
        lowered = min(ISA_LEVELS.index(level), _allowed())
        os.environ["DNNSCHED_ISA"] = ISA_LEVELS[lowered]
        for name, module in list(sys.modules.items()):
            if name.startswith("dnnsched._native._") and hasattr(module, "_set_isa"):
                module._set_isa(lowered)
    return ISA_LEVELS[base._isa()]


@functools.cache
def runnable_isa_levels():
    """Levels that this machine and this build can run, lowest first, whatever is in use now.

    Returns
    -------
    tuple of str
    """
    base = importlib.import_module("dnnsched._native._base")
    return ISA_LEVELS[: ISA_LEVELS.index(base.isa_detected()) + 1]


def _cpu_model():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def info():
    """Versions, compiler, CPU and optional packages of this installation.

    Returns
    -------
    dict
        Keys ``dnnsched``, ``python``, ``numpy``, ``platform``, ``cpu``, ``cores``,
        ``isa`` (in use), ``isa_runnable``, ``compiler``, ``cflags``, ``build`` (profile),
        ``blas`` (kind, version, core and threads of the one that dense kernels call),
        ``data`` (folder) and ``optional`` (package -> version, or None if it is not installed).
    """
    from importlib import metadata

    import numpy

    from dnnsched import __version__, paths
    from dnnsched.kernels import _blas

    base = importlib.import_module("dnnsched._native._base")
    try:
        data = str(paths.data_dir())
    except FileNotFoundError:
        data = "missing"
    optional = {}
    for name in OPTIONAL:
        found = importlib.util.find_spec(name) is not None
        try:
            optional[name] = metadata.version({"sklearn": "scikit-learn"}.get(name, name)) if found else None
        except metadata.PackageNotFoundError:
            optional[name] = "unknown"
    return {
        "dnnsched": __version__,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "platform": platform.platform(),
        "cpu": _cpu_model(),
        "cores": os.cpu_count() or 1,
        "isa": isa(),
        "isa_runnable": list(runnable_isa_levels()),
        "compiler": base.build_info()["compiler"],
        "cflags": base.build_info()["cflags"],
        "build": base.build_info()["profile"],
        "blas": _blas.info(),
        "data": data,
        "optional": optional,
    }


def show_config(mode="stdout"):
    """Print what this installation is made of, for bug reports.

    Parameters
    ----------
    mode : {"stdout", "dicts"}
        Print :func:`info`, or return it.

    Returns
    -------
    dict or None
        The record when `mode` is ``"dicts"``.
    """
    if mode not in ("stdout", "dicts"):
        raise ValueError(f"mode: expected 'stdout' or 'dicts', got {mode!r}")
    record = info()
    if mode == "dicts":
        return record
    optional = record.pop("optional")
    for key, value in record.items():
        print(f"{key:13s} {', '.join(value) if isinstance(value, list) else value}")
    present = [f"{name} {version}" for name, version in optional.items() if version]
    absent = [f"{name} ({OPTIONAL[name]})" if OPTIONAL[name] else name
              for name, version in optional.items() if not version]
    print(f"{'optional':13s} {', '.join(present) or 'none'}")
    if absent:
        print(f"{'absent':13s} {', '.join(absent)}; in brackets the extra: pip install 'dnnsched[EXTRA]'")
    return None
