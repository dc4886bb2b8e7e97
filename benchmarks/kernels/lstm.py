"""LSTM cells at small batches beside torch's cell, OpenBLAS, the read bandwidth, and our own dense form.

A step reads every weight once. The dense gate is therefore the time of reading as many bytes from where they lie; the
gate of a compressed form is 0.8 of the ratio of its bytes to the dense ones.
"""

import numpy as np

from dnnsched import kernels
from dnnsched._native import _kernels

from . import board

SHARE = 0.8


def weights(hidden, inputs):
    """(w_ih, w_hh, b_ih, b_hh)."""
    rng = np.random.default_rng(hidden)
    bound = 1 / np.sqrt(hidden)
    return tuple(rng.uniform(-bound, bound, shape).astype(np.float32)
                 for shape in ((4 * hidden, inputs), (4 * hidden, hidden), 4 * hidden, 4 * hidden))


def step_of(plan, n, terms=None):
    """A step of a batch, ready to be timed."""
    rng = np.random.default_rng(1)
    x, h, c = (rng.standard_normal((n, e)).astype(np.float32) for e in (plan.inputs, plan.hidden, plan.hidden))
    out = np.empty_like(h), np.empty_like(c)
    return lambda: plan.step(x, h, c, out=out, terms=terms)


def blas_step(w, n):
    """The cell as one product by OpenBLAS on one thread, the rest in NumPy."""
    product = kernels.dense(np.concatenate(w[:2], axis=1), bias=w[2] + w[3])
    hidden, inputs = w[1].shape[1], w[0].shape[1]
    xh, c = np.ones((n, inputs + hidden), np.float32), np.ones((n, hidden), np.float32)

    def step():
        i, f, g, o = np.split(product.linear(xh), 4, axis=1)
        new = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        return np.tanh(new) / (1 + np.exp(-o)), new

    return step


def torch_step(torch, w, n):
    """torch.nn.LSTMCell with these weights."""
    hidden, inputs = w[1].shape[1], w[0].shape[1]
    cell = torch.nn.LSTMCell(inputs, hidden)
    for name, value in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), w, strict=True):
        getattr(cell, name).data = torch.from_numpy(value)
    x, h, c = torch.ones(n, inputs), torch.ones(n, hidden), torch.ones(n, hidden)

    def step():
        with torch.inference_mode():
            return cell(x, (h, c))

    return step


def dense_rows(w, hidden, plan, torch):
    """Dense beside torch, OpenBLAS and the probe of read bandwidth."""
    for n in (1, 4, 8):
        common = {"ours": step_of(plan, n), "flops": 2.0 * plan.nnz * n, "plan": plan, "n": n}
        work = f"dense {hidden}, batch {n}"
        if torch is None:
            yield board.Row(work, peer_name="torch LSTMCell", gate=1.0, skipped="torch is not installed", **common)
        else:
            yield board.Row(work, peer=torch_step(torch, w, n), peer_name="torch LSTMCell", gate=1.0, **common)
        yield board.Row(work, peer=blas_step(w, n), peer_name="OpenBLAS, numpy", **common)
        if n == 1:
            block = np.ones((1, plan.nnz), np.float32)
            yield board.Row(work, peer=lambda b=block: _kernels.read_all(b, -1), peer_name="reading the bytes",
                            gate=0.9, **common)


def rows(isa):
    """The scoreboard's rows."""
    torch = board.peer("torch")
    for hidden in (512, 1024):
        w = weights(hidden, hidden)
        plan = kernels.lstm(*w, isa=isa)
        yield from dense_rows(w, hidden, plan, torch)
        whole = 4 * plan.nnz
        for density in (0.3, 0.1):
            pruned = kernels.lstm(*w, "csr", density=density, isa=isa)
            yield board.Row(f"csr {hidden}, density {density:g}", step_of(pruned, 1), step_of(plan, 1), "dense form",
                            gate=SHARE * whole / (6 * pruned.nnz), plan=pruned, n=1)
        small = kernels.lstm(*w, "int8", isa=isa)
        yield board.Row(f"int8 {hidden}", step_of(small, 1), step_of(plan, 1), "dense form",
                        gate=SHARE * whole / small.nnz, plan=small, n=1)
        for rank in (hidden // 4, hidden // 8):
            low = kernels.lstm(*w, "lowrank", rank=rank, isa=isa)
            yield board.Row(f"lowrank {hidden}, rank {rank}", step_of(low, 1), step_of(plan, 1), "dense form",
                            gate=SHARE * whole / (4 * low.nnz), plan=low, n=1)
    w, terms, nz = weights(512, 512), 64, 256
    plan, anytime = kernels.lstm(*w, isa=isa), kernels.lstm(*w, "progressive", terms=terms, nz=nz, isa=isa)
    for stop in (terms, terms // 4):
        gate = SHARE * 4 * plan.nnz / (stop * 4 * (6 * nz + 4 * 512 + 4)) if stop == terms else None
        yield board.Row(f"progressive 512, {stop} x {nz}", step_of(anytime, 1, stop), step_of(plan, 1), "dense form",
                        gate=gate)
