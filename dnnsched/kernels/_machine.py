"""What one core of this machine can do: arithmetic rate, bandwidth and size of each memory level; the roofline."""

import functools
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dnnsched import config
from dnnsched._arrays import check_int
from dnnsched._native import _kernels
from dnnsched.kernels import _common

MEMORY_LEVELS = ("L1", "L2", "L3", "DRAM")
"""Order of the bytes in :class:`Cost` and of the bandwidths in :class:`Machine`."""

_TYPICAL_CACHES = (32 << 10, 1 << 20, 32 << 20)
# Server cores of 2017 to 2023 at 2.5 GHz: fp32 flop per cycle, and GB/s of one core from each level.
_TYPICAL_FLOPS = {"generic": 8, "avx2": 32, "avx512": 64, "avx512vnni": 64, "amx": 64}
_TYPICAL_HZ = 2.5e9
_TYPICAL_BANDWIDTH = (280e9, 120e9, 20e9, 12e9)


@dataclass(frozen=True)
class Machine:
    """Rates of one core.

    Attributes
    ----------
    isa : str
        Instruction-set level that the arithmetic rate is for.
    flops_per_s : float
        fp32 multiply-add rate, two operations each.
    bytes_per_s : tuple of float
        Read bandwidth from L1, L2, L3 and DRAM.
    cache_bytes : tuple of int
        Size of L1d, L2 and L3.
    origin : {"measured", "modelled"}
        Measured in this process, or typical figures with this CPU's cache sizes.
    """

    isa: str
    flops_per_s: float
    bytes_per_s: tuple
    cache_bytes: tuple
    origin: str = "modelled"

    def array(self):
        """The rates as the native functions take them, float64 (8,)."""
        return np.array([self.flops_per_s, *self.bytes_per_s, *self.cache_bytes], np.float64)


@dataclass(frozen=True)
class Cost:
    """Work of one execution.

    Attributes
    ----------
    flops : float
        Operations, a multiply-add counted as two.
    bytes : tuple of float
        Bytes that must be moved out of L1, L2, L3 and DRAM, each operand lying in the smallest that holds it.
    """

    flops: float
    bytes: tuple


_HUGE = 8 << 20  # bytes of an array that NumPy puts into huge pages


def cache_sizes():
    """Bytes of L1d, L2 and L3 of the first CPU; typical values where the system does not say."""
    sizes = list(_TYPICAL_CACHES)
    for folder in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            if (folder / "type").read_text().strip() != "Instruction":
                text = (folder / "size").read_text().strip()
                sizes[int((folder / "level").read_text()) - 1] = int(text[:-1]) << {"K": 10, "M": 20}[text[-1]]
        except (OSError, ValueError, KeyError, IndexError):
            continue
    return tuple(sizes)


def _best(function, seconds):
    """Least time of a call within about `seconds`."""
    function()
    best, stop = np.inf, time.perf_counter() + seconds
    while time.perf_counter() < stop:
        start = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - start)
    return best


def _measure(isa, caches, seconds):
    """(flop/s, bandwidths) of this core now, by probes in C."""
    level = config.ISA_LEVELS.index(isa)
    steps = 200_000
    rate = _kernels.probe_fma(steps, level) / _best(lambda: _kernels.probe_fma(steps, level), seconds / 5)
    sizes = (caches[0] // 2, caches[1] // 2, min(8 * caches[1], caches[2] // 2), min(2 * caches[2], 256 << 20))
    bandwidth = []
    # One for all: small ones would lie in scattered small pages. It begins on a cache line: NumPy's own begins 16 bytes
    # behind one, so that every load of 64 bytes would take two.
    block = np.ones(max(*sizes, _HUGE) // 4 + 16, np.float32)
    block = block[-block.ctypes.data % 64 // 4:]
    for size in sizes:
        x = block[:size // 4]
        times = max(1, (4 << 20) // size)
        plain = _best(lambda x=x, n=times: _kernels.probe_read(x, n, level), seconds / 10)
        ahead = _best(lambda x=x: _kernels.read_all(x[None], level), seconds / 10)  # with prefetches: better from afar
        bandwidth.append(max(times * x.nbytes / plain, x.nbytes / ahead))
    return rate, tuple(bandwidth)


@functools.lru_cache(maxsize=16)
def _modelled(isa):
    return Machine(isa, _TYPICAL_FLOPS[isa] * _TYPICAL_HZ, _TYPICAL_BANDWIDTH, cache_sizes())


def machine(measure=False, *, isa=None, seconds=0.5):
    """What one core of this machine can do.

    Parameters
    ----------
    measure : bool
        False: typical rates of server cores with this CPU's cache sizes, the same at every call. True: probes of the
        arithmetic rate and of the read bandwidth from each level, about `seconds` in all; other load on the machine
        lowers them.
    isa : str, optional
        Instruction-set level; default the one in use.
    seconds : float
        Length of the measurement.

    Returns
    -------
    Machine

    Notes
    -----
    Where L3 is so large that twice its size is not allocated (256 MiB), the DRAM figure is that of the largest block.
    """
    _common.level(isa)
    isa = config.isa() if isa is None else isa
    model = _modelled(isa)
    if not measure:
        return model
    rate, bandwidth = _measure(isa, model.cache_bytes, seconds)
    return Machine(isa, rate, bandwidth, model.cache_bytes, "measured")


def roofline(plan, n, machine=None):
    """Least seconds that one core needs for an execution of a plan.

    Parameters
    ----------
    plan : MatPlan
        Any object with ``cost(n, machine)``.
    n : int
        Vectors.
    machine : Machine, optional
        Default: :func:`machine`.

    Returns
    -------
    float
        ``max(flops / rate, bytes / bandwidth of each memory level)``.

    References
    ----------
    Williams, Waterman, Patterson: Roofline, CACM 52(4), 2009; one roof per memory level.
    """
    check_int(n, "n", 0)
    machine = _modelled(config.isa()) if machine is None else machine
    cost = plan.cost(n, machine)
    return _kernels.roofline(np.array([cost.flops, *cost.bytes], np.float64), machine.array())
