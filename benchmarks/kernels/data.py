"""Weights, inputs and dense peers that several families share."""

import numpy as np

from dnnsched import kernels

from . import board


def sparse_weights(m, k, density, seed=0):
    """Normal weights at uniformly random places, exact count."""
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((m, k), np.float32)
    return np.where(kernels.prune(w, density, rng=seed), w, np.float32(0))


def inputs(k, n, seed=1):
    """Normal inputs, one vector per column."""
    return board.aligned(np.random.default_rng(seed).standard_normal((k, n), np.float32))


def dense_peers(w, x):
    """(name, function) of each dense product that is installed, same shape."""
    plan, out = kernels.dense(w), np.empty((len(w), x.shape[1]), np.float32)
    yield "dense OpenBLAS", lambda: plan.matmul(x, out=out)
    torch = board.peer("torch")
    if torch is not None:
        a, b, c = torch.from_numpy(w), torch.from_numpy(x), torch.from_numpy(board.aligned(out.shape))
        yield "dense torch.mm", lambda: torch.mm(a, b, out=c)


def faster_dense(w, x, seconds=0.1):
    """The faster of the dense products: the yardstick of a sparse one."""
    best = {}
    for name, f in dense_peers(w, x):
        count = board.repeats_for(f, seconds / 5)
        best[min(board.timed(f, count) for _ in range(5)), name] = f
    (_, name), function = min(best.items(), key=lambda item: item[0][0])
    return name, function
