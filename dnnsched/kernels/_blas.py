"""The OpenBLAS that dense kernels call: which one this build opens, and opening it."""

from pathlib import Path

from dnnsched._native import _kernels


def load():
    """Open the BLAS of this build if it has one; ImportError if it cannot be opened."""
    kind, file = _kernels.blas_build()
    if kind == "scipy-openblas":
        file = str(Path(_kernels.__file__).parent / "_blas" / file)
    if kind != "none":
        _kernels.blas_load(file)


def info():
    """Kind, version and number of threads of the BLAS that dense kernels call.

    Returns
    -------
    str
        ``"none (own matrix product)"`` for builds without one.
    """
    kind, _ = _kernels.blas_build()
    if kind == "none":
        return "none (own matrix product)"
    load()
    configuration, core, threads = _kernels.blas_info()
    return f"{kind}: {' '.join(configuration.split()[:2])}, {core}, {threads} thread"
