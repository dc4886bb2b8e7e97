"""Integer products beside torch._int_mm, dynamically quantised linear layers and the faster sgemm.

The integer rows are 256 x 1024 x 1024 (vectors x inputs x outputs), the weights packed before, or (as `_int_mm` does)
in the call. The attainable time is the peak of the level's byte products (16, 4 or 4/3 times fp32) or the operands'
bytes.
"""

import numpy as np

from dnnsched import kernels

from . import board
from .data import faster_dense, onnx_call

GATES = {"amx": {"_int_mm": (1.3, 1.7)}, "avx512vnni": {"sgemm": (3.5, 4.0)}}


def operands(n, k, m):
    """int8 weights (m, k) and vectors (n, k)."""
    rng = np.random.default_rng(0)
    return rng.integers(-128, 128, (m, k)).astype(np.int8), rng.integers(-128, 128, (n, k)).astype(np.int8)


def rows(isa):
    """The scoreboard's rows."""
    torch = board.peer("torch")
    n, k, m = 256, 1024, 1024
    w, x = operands(n, k, m)
    plan, out = kernels.int8(w, 1.0, isa=isa), board.aligned((n, m), np.int32)
    columns, wide = np.ascontiguousarray(x.T), board.aligned((m, n), np.int32)
    common = {"flops": 2.0 * n * k * m, "plan": plan, "n": n}
    name, dense = faster_dense(w.astype(np.float32), columns.astype(np.float32))
    gate, goal = GATES.get(plan.isa, {}).get("sgemm", (None, None))
    shape = f"{n}x{k}x{m}"
    yield board.Row(f"{shape} packed, exact", lambda: plan.linear_i32(x, out=out), dense, name, gate, goal, **common)
    yield board.Row(f"{shape} columns, exact", lambda: plan.matmul_i32(columns, out=wide), dense, name, **common)
    narrow = np.abs(x // 2)
    yield board.Row(f"{shape} packed, x in [0, 64]", lambda: plan.linear_i32(narrow, out=out), dense, name, **common)
    ort = onnx_call("MatMulInteger", {"a": x.view(np.uint8) ^ 0x80},
                    {"b": np.ascontiguousarray(w.T), "zero": np.array(128, np.uint8)})
    yield board.Row(f"{shape} packed, exact", lambda: plan.linear_i32(x, out=out), ort, "onnxruntime u8 x s8",
                    skipped=None if ort else "onnxruntime or onnx is not installed", **common)
    gate, goal = GATES.get(plan.isa, {}).get("_int_mm", (None, None))
    if torch is None:
        yield board.Row(f"{shape} packed, exact", lambda: plan.linear_i32(x, out=out), peer_name="torch._int_mm",
                        skipped="torch is not installed", **common)
        return
    a, b = torch.from_numpy(x), torch.from_numpy(np.ascontiguousarray(w.T))
    mm = {"peer": lambda: torch._int_mm(a, b), "peer_name": "torch._int_mm"}
    yield board.Row(f"{shape} packed, exact", lambda: plan.linear_i32(x, out=out), gate=gate, goal=goal, **mm, **common)
    yield board.Row(f"{shape} packing in the call", lambda: kernels.int8(w, 1.0, isa=isa).linear_i32(x, out=out),
                    gate=0.9 if plan.isa == "amx" else None, **mm, **common)
    layer = torch.ao.nn.quantized.dynamic.Linear.from_float(quantizable(torch, w))
    xf, yf = x.astype(np.float32), board.aligned((n, m), np.float32)
    xt = torch.from_numpy(xf)
    yield board.Row(f"{shape} floats in and out", lambda: plan.linear(xf, out=yf), lambda: layer(xt),
                    "dynamic Linear", **common)


def quantizable(torch, w):
    """A torch Linear that its dynamic quantisation accepts."""
    layer = torch.nn.Linear(w.shape[1], w.shape[0], bias=False)
    layer.weight.data = torch.from_numpy(w.astype(np.float32))
    layer.qconfig = torch.ao.quantization.default_dynamic_qconfig
    return layer
