"""Nested bit planes, one vector, beside torch's dynamically quantised layer, the own int8 product and fp32.

The gate is a share of what bits promise: at b bits (8 / b) times the peer's rate, at .85 (torch) or .85 and .7 (own
int8 at 2 and 3, and at 4 bits). onnxruntime's 4-bit product (blocks of 32 weights with a scale each, activations
rounded to int8 inside) is information. Attainable: the bytes of the planes at the level that holds them.
"""

import numpy as np

from dnnsched import kernels

from . import board
from .data import onnx_call
from .int8 import quantizable

OWN = {2: 0.85, 3: 0.85, 4: 0.7}


def four_bits(x, m, k, block=32):
    """onnxruntime's MatMulNBits with random codes."""
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 256, (m, k // block, block // 2)).astype(np.uint8)
    scales = rng.random(m * k // block, np.float32)
    return onnx_call("MatMulNBits", {"a": x[None]}, {"b": codes, "scales": scales},
                     {"K": k, "N": m, "bits": 4, "block_size": block, "accuracy_level": 4}, "com.microsoft")


def rows(isa):
    """The scoreboard's rows."""
    torch = board.peer("torch")
    m = k = 4096
    rng = np.random.default_rng(0)
    w = rng.standard_normal((m, k), np.float32)
    x, out, other = rng.standard_normal(k, np.float32), np.empty(m, np.float32), np.empty(m, np.float32)
    plan, dense = kernels.nested(w, isa=isa), kernels.dense(w)
    q = kernels.quantize(w, axis=0)
    own = kernels.int8(q.q, q.scale, isa=isa)
    fast = plan.isa == "avx512vnni"
    layer = None if torch is None else torch.ao.nn.quantized.dynamic.Linear.from_float(quantizable(torch, w))
    xt = None if torch is None else torch.from_numpy(x[None])

    def attainable(machine, p):
        size = plan.read_bytes(p)
        return size / machine.bytes_per_s[next((i for i, c in enumerate(machine.cache_bytes) if size <= c), 3)]

    for p in (2, 3, 4, 8):
        common = {"ours": lambda p=p: plan.matmul(x, bits=p, out=out), "flops": 2.0 * m * k,
                  "attainable_s": lambda machine, p=p: attainable(machine, p)}
        work = f"{m}x{k} {p} bits"
        gate = 0.85 * 8 / p if fast else None
        if layer is None:
            yield board.Row(work, peer_name="dynamic Linear", gate=gate, skipped="torch is not installed", **common)
        else:
            yield board.Row(work, peer=lambda: layer(xt), peer_name="dynamic Linear", gate=gate, **common)
        yield board.Row(work, peer=lambda: own.matmul(x, out=other), peer_name="own int8",
                        gate=OWN[p] * 8 / p if fast and p in OWN else None, **common)
        if p == 4:
            ort = four_bits(x, m, k)
            yield board.Row(work, peer=ort, peer_name="onnxruntime 4 bits",
                            skipped=None if ort else "onnxruntime or onnx is not installed", **common)
        yield board.Row(work, peer=lambda: dense.matmul(x, out=other), peer_name="dense OpenBLAS", **common)
    book = kernels.nested(w[:512], 4, codebook=True, isa=isa)
    for p in (2, 3, 4):
        yield board.Row(f"512x{k} {p} bits, codebook", lambda p=p: book.matmul(x, bits=p, out=out[:512]))
