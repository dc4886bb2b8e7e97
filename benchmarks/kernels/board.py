"""The kernels' scoreboard: what a row is, how two functions are compared, peers that may be absent.

**Timing is pairwise**: warm ours, time ours, warm peer, time peer, again and again; the figure is the median of the
ratios of neighbours, so that a change of clock or a noisy machine meets both. (Cycling through all functions at
once leaves each with another's data in the caches and inflates times by up to 1.7.) Seconds are CPU time of the
process: all peers run on one thread, and what other processes take of the core is nobody's work. A series whose
quartiles are more than 15 % apart is repeated, three times at most; then the row is marked noisy.

**Attainable** is the roofline of the measured machine model for the work that the plan counts: what one core could
do at best with every operand in the smallest cache that holds it.
"""

import importlib
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

SPREAD, RETRIES, DRIFT = 0.15, 3, 0.10


@dataclass
class Row:
    """One comparison; a family's ``rows(isa)`` yields them, made when their turn comes.

    Attributes
    ----------
    work : str
        What is computed: shape, density, placement.
    ours : callable
        Runs the kernel once.
    peer : callable or None
        Runs the peer once, same inputs, same result.
    peer_name : str
    gate : float, optional
        Smallest ratio (peer's time / ours) with which the kernel is done.
    goal : float, optional
    flops : float, optional
        Operations of one call, for the GF column.
    plan, n : MatPlan and int, optional
        Whose roofline is the attainable time; or `attainable_s` directly: a number, or a callable of the machine.
    skipped : str, optional
        Why there is no peer; the row is printed and not judged.
    """

    work: str
    ours: Callable
    peer: Callable | None = None
    peer_name: str = ""
    gate: float | None = None
    goal: float | None = None
    flops: float | None = None
    plan: object = None
    n: int = 0
    attainable_s: object = None
    skipped: str | None = None


@dataclass
class Result:
    """A row's figures: seconds, peer's time / ours, and the verdict."""

    family: str
    work: str
    peer: str
    ours_s: float
    peer_s: float | None = None
    ratio: float | None = None
    gate: float | None = None
    goal: float | None = None
    gflops: float | None = None
    attainable_s: float | None = None
    achieved: float | None = None
    noisy: bool = False
    skipped: str | None = None
    verdict: str = field(init=False, default="")

    def __post_init__(self):
        """The verdict follows from ratio and gate."""
        if self.skipped:
            self.verdict = "skipped"
        elif self.ratio is None or self.gate is None:
            self.verdict = "info"
        elif self.ratio >= (self.goal or float("inf")):
            self.verdict = "goal"
        elif self.ratio >= self.gate:
            self.verdict = "gate"
        else:
            self.verdict = "MISSED"
        if self.noisy:
            self.verdict += " noisy"


def peer(name):
    """A peer's module on one thread, or None when it is not installed."""
    try:
        module = importlib.import_module(name)
    except ImportError:
        return None
    if name == "torch":
        module.set_num_threads(1)
    return module


def aligned(a, dtype=None):
    """A copy of an array, or for a shape an array to write into, that begins on a cache line.

    NumPy's own large arrays begin 16 bytes behind one, which halves the speed of some peers.
    """
    shape, dtype = (a.shape, a.dtype) if isinstance(a, np.ndarray) else (a, np.dtype(dtype or np.float32))
    size = int(np.prod(shape)) * dtype.itemsize
    block = np.empty(size + 64, np.uint8)
    start = -block.ctypes.data % 64
    out = block[start:start + size].view(dtype).reshape(shape)
    if isinstance(a, np.ndarray):
        out[...] = a
    return out


def repeats_for(function, seconds):
    """How many calls take about `seconds`."""
    function()
    start = time.process_time()
    function()
    return max(1, int(seconds / max(time.process_time() - start, 1e-9)))


def timed(function, repeats):
    """Seconds of one call, after a warming one."""
    function()
    start = time.process_time()
    for _ in range(repeats):
        function()
    return (time.process_time() - start) / repeats


def pairwise(ours, peer, seconds):
    """(least time of ours, least time of peer, median ratio, noisy)."""
    counts = [repeats_for(f, seconds / 30) for f in (ours, peer)]
    for _attempt in range(RETRIES):
        pairs, stop = [], time.perf_counter() + seconds
        while len(pairs) < 5 or (time.perf_counter() < stop and len(pairs) < 101):
            pairs.append((timed(ours, counts[0]), timed(peer, counts[1])))
        ratios = [p / o for o, p in pairs]
        low, middle, high = statistics.quantiles(ratios, n=4)
        noisy = (high - low) / middle > SPREAD
        if not noisy:
            break
    return min(o for o, _ in pairs), min(p for _, p in pairs), middle, noisy


def run(family, row, machine, seconds):
    """Time one row."""
    result = {"family": family, "work": row.work, "peer": row.peer_name, "gate": row.gate, "goal": row.goal,
              "skipped": row.skipped}
    if row.peer is None:
        count = repeats_for(row.ours, seconds / 30)
        result["ours_s"] = min(timed(row.ours, count) for _ in range(5))
    else:
        result["ours_s"], result["peer_s"], result["ratio"], result["noisy"] = pairwise(row.ours, row.peer, seconds)
    if row.flops:
        result["gflops"] = row.flops / result["ours_s"] / 1e9
    attainable = row.attainable_s
    if callable(attainable):
        attainable = attainable(machine)
    elif attainable is None and row.plan is not None:
        from dnnsched import kernels

        attainable = kernels.roofline(row.plan, row.n, machine)
    if attainable:
        result["attainable_s"], result["achieved"] = attainable, attainable / result["ours_s"]
    return Result(**result)


HEAD = (f"{'work':34s} {'peer':22s} {'ours us':>10s} {'peer us':>10s} {'ratio':>6s} {'gate':>5s} {'goal':>5s} "
        f"{'GF':>7s} {'attain us':>10s} {'ach/att':>7s}  verdict")


def line(r):
    """One printed row."""
    def number(x, form):
        return format(x, form) if x is not None else "-".rjust(int(form.split(".")[0]))

    micro = [None if s is None else s * 1e6 for s in (r.ours_s, r.peer_s, r.attainable_s)]
    return (f"{r.work:34s} {r.peer:22s} {number(micro[0], '10.1f')} {number(micro[1], '10.1f')} "
            f"{number(r.ratio, '6.2f')} {number(r.gate, '5.2f')} {number(r.goal, '5.2f')} {number(r.gflops, '7.1f')} "
            f"{number(micro[2], '10.1f')} {number(r.achieved, '7.2f')}  {r.verdict}"
            f"{': ' + r.skipped if r.skipped else ''}")


def families():
    """Names of the families: the modules beside this one that are no part of the framework."""
    return sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem not in ("__init__", "board", "data"))


def drift(before, after):
    """Largest relative change of the machine model's rates; main memory, which neighbours share, is left out."""
    rates = [(before.flops_per_s, after.flops_per_s), *zip(before.bytes_per_s[:3], after.bytes_per_s[:3], strict=True)]
    return max(abs(b / a - 1) for a, b in rates)


def pin(cpu):
    """Keep this process on one CPU where the system allows it."""
    if cpu is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {cpu})


def as_record(machine, after, results, info):
    """Everything a later reader needs, for JSON."""
    return {"installation": info, "machine_before": asdict(machine), "machine_after": asdict(after),
            "drift": drift(machine, after), "rows": [asdict(r) for r in results]}
