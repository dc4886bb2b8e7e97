"""Butterfly-factored layers beside the dense product of the same shape, and the gate of 40 GF from 64 columns on.

GF counts 3 n log2 n operations per column (6 per pair and level). The gate's row is written as a ratio to the time of
40 GF.
"""

import numpy as np

from dnnsched import kernels

from . import board
from .data import faster_dense, inputs

GATE_FLOPS_PER_S = 40e9


def twiddles(n, seed=0):
    """Random blocks of one stack."""
    levels = n.bit_length() - 1
    return np.random.default_rng(seed).standard_normal((1, 1, levels, n // 2, 2, 2)).astype(np.float32) * 0.7


def rows(isa):
    """The scoreboard's rows."""
    for n in (64, 256, 1024, 4096):
        plan = kernels.butterfly(twiddles(n), n, n, isa=isa)
        w = plan.to_dense()
        for batch in (1, 16, 64, 256):
            x, out = inputs(n, batch), board.aligned((n, batch), np.float32)
            flops = plan.cost(batch).flops
            name, dense = faster_dense(w, x) if n < 4096 else (None, None)
            gate = None if batch < 64 else 1.0
            limit = flops / GATE_FLOPS_PER_S
            yield board.Row(f"butterfly {n} x {batch}", lambda p=plan, x=x, o=out: p.matmul(x, out=o), dense,
                            name or "", flops=flops, plan=plan, n=batch)
            if gate:
                yield board.Row(f"butterfly {n} x {batch}, 40 GF", lambda p=plan, x=x, o=out: p.matmul(x, out=o),
                                flops=flops, attainable_s=limit)
