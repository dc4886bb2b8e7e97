"""Masked softmax beside torch, which fills with -inf and takes its softmax.

The attainable time is the larger of two: 17 arithmetic instructions per vector (csrc/kernels/softmax_isa.c: one for the
maximum, one for the scaling, the rest for the exponential), two a cycle; and the traffic of scores and results with the
read that precedes a write, 12 bytes a score, out of the level that holds both arrays.
"""

import numpy as np

from dnnsched import kernels

from . import board
from .count import clock_hz

LANES = {"generic": 4, "avx2": 8}


def attainable(machine, scores, lanes):
    """Seconds by counted instructions and bytes."""
    level = sum(8 * scores > size for size in machine.cache_bytes)
    return max(scores / lanes * 17 / 2 / clock_hz(), 12 * scores / machine.bytes_per_s[level])


def rows(isa):
    """The scoreboard's rows."""
    torch = board.peer("torch")
    level = None if isa == kernels.machine().isa else isa
    rng = np.random.default_rng(0)
    for heads, length in ((1, 256), (8, 256), (1, 2048)):
        x = rng.standard_normal((heads, length, length)).astype(np.float32)
        out, seen = np.empty_like(x), rng.random((length, length)) < 0.5
        masks = ((None, None, "none"), ("causal", np.tri(length, dtype=bool), "causal"),
                 (kernels.pack_mask(seen), seen, "bits"))
        for mask, dense, name in masks:
            peer = None
            if torch is not None:
                t, hide = torch.from_numpy(x), None if dense is None else torch.from_numpy(~dense)

                def peer(t=t, hide=hide):
                    return torch.softmax(t if hide is None else t.masked_fill(hide, -torch.inf), -1)

            yield board.Row(
                f"softmax {heads}x{length}x{length} {name}",
                lambda x=x, m=mask, out=out: kernels.softmax(x, m, out, isa=level), peer, "torch masked softmax",
                gate=1.0 if mask is None else 2.0, goal=1.5 if mask is None else 4.0,
                attainable_s=lambda m, n=x.size: attainable(m, n, LANES.get(isa, 16)),
                skipped=None if torch else "torch is not installed")
