"""Sampled products beside the whole product: torch's (MKL) and OpenBLAS's Q K^T of the same Q and K.

Gates, d = 64: no slower than the whole product from density .25 on, and 48 GF, a row whose attainable time is that of
48 GF. Attainable otherwise, at sixteen lanes: 109 vector instructions on two ports per group of sixteen entries and 64
values of depth (csrc/kernels/sddmm_isa.c); at eight lanes the same per eight.
"""

import numpy as np

from dnnsched import kernels

from . import board
from .count import clock_hz

LANES = {"generic": 4, "avx2": 8}


def attainable(nnz, depth, isa):
    """Seconds by counted instructions: the products and the tree, two a cycle."""
    lanes = LANES.get(isa, 16)
    return nnz * (-(-depth // lanes) + 45 / 16) / 2 / clock_hz()


def rows(isa):
    """The scoreboard's rows."""
    torch = board.peer("torch")
    level = None if isa == kernels.machine().isa else isa
    rng = np.random.default_rng(0)
    for heads, length, depth in ((8, 512, 64), (1, 2048, 64), (8, 512, 128)):
        q, k = (board.aligned(rng.standard_normal((heads, length, depth), np.float32)) for _ in range(2))
        for density in (0.5, 0.25, 0.1, 0.05):
            names = kernels.pattern(rng.random((length, length)) < density)
            out = board.aligned((heads, names.nnz), np.float32)
            common = {"work": f"sddmm {heads}x{length} d={depth} density {density}",
                      "ours": lambda q=q, k=k, p=names, out=out: kernels.sddmm(q, k, p, out=out, isa=level),
                      "flops": 2.0 * out.size * depth, "attainable_s": attainable(out.size, depth, isa)}
            gate = 1.0 if density <= 0.25 and depth == 64 else None
            if torch is not None:
                tq, tk = torch.from_numpy(q), torch.from_numpy(k).transpose(1, 2)
                yield board.Row(peer=lambda a=tq, b=tk: torch.matmul(a, b), peer_name="torch q @ k.T", gate=gate,
                                **common)
            else:
                yield board.Row(skipped="torch is not installed", **common)
            if gate:
                limit = {"work": f"{common['work']}, 48 GF", "attainable_s": common["flops"] / 48e9}
                yield board.Row(**{**common, **limit})
