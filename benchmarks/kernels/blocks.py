"""Block sparse rows and N:M beside torch's and scipy's BSR and the faster dense product."""

import numpy as np

from dnnsched import kernels

from . import board
from .data import faster_dense, inputs

# Density -> share of the dense product's GF that a block product must reach.
SHARE = {0.5: 0.85, 0.3: 0.85, 0.2: 0.75, 0.1: 0.6}

# (n, m) -> gates of a matrix product and of a vector's against the dense one.
GATES = {(2, 4): (1.2, 1.6), (1, 4): (2.0, None)}


def block_weights(m, k, density, r, seed=0):
    """Normal weights in r x 1 blocks at uniformly random places, exact count."""
    w = np.random.default_rng(seed).standard_normal((m, k), np.float32)
    keep = kernels.prune(np.ones((m // r, k)), density, rng=seed)
    return np.where(np.repeat(keep, r, axis=0), w, np.float32(0))


def peers(w, x, r):
    """(name, function or None, reason of absence) of each peer with blocks."""
    sparse, torch = board.peer("scipy.sparse"), board.peer("torch")
    if sparse is None:
        yield "scipy BSR", None, "scipy is not installed"
    else:
        a = sparse.bsr_matrix(w, blocksize=(r, 1))
        yield "scipy BSR", lambda: a @ x, None
    if torch is None:
        yield "torch BSR", None, "torch is not installed"
    else:
        t, b = torch.from_numpy(w).to_sparse_bsr((r, r)), torch.from_numpy(x)
        yield f"torch BSR {r}x{r}", lambda: t @ b, None


def rows(isa):
    """The scoreboard's rows."""
    m, k, n = 512, 512, 256
    x, out = inputs(k, n), board.aligned((m, n), np.float32)
    for r in (4, 8, 16):
        for density, share in SHARE.items():
            w = block_weights(m, k, density, r)
            plan = kernels.bsr(w, (r, 1), isa=isa)
            common = {"ours": lambda p=plan: p.matmul(x, out=out), "flops": 2.0 * plan.nnz * n, "plan": plan, "n": n}
            work = f"{m}x{k}x{n} blocks {r}x1 density {density:g}"
            name, dense = faster_dense(w, x)
            yield board.Row(work, peer=dense, peer_name=name, gate=share / density, **common)
            for other, function, reason in peers(w, x, r):
                yield board.Row(work, peer=function, peer_name=other, skipped=reason, **common)
    yield from nm_rows(isa)


def nm_rows(isa):
    """N:M products of matrices and vectors; a vector's weights fit the second cache, the third, or neither."""
    for (n, m), (gate, gemv_gate) in GATES.items():
        for rows, k, columns in ((512, 512, 256), (1024, 1024, 256), (512, 512, 1), (2048, 2048, 1), (4096, 4096, 1)):
            w = np.random.default_rng(0).standard_normal((rows, k), np.float32)
            w[~kernels.prune(w, n / m, "nm", m=m)] = 0
            x, out = inputs(k, columns), board.aligned((rows, columns), np.float32)
            plan = kernels.nm(w, n, m, isa=isa)
            name, dense = faster_dense(w, x)
            yield board.Row(f"{rows}x{k}x{columns} {n}:{m}", lambda p=plan, x=x, o=out: p.matmul(x, out=o), dense, name,
                            gate=gate if columns > 1 else gemv_gate, flops=2.0 * plan.nnz * columns, plan=plan,
                            n=columns)
