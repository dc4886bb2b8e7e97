"""CSR times dense beside scipy, torch's CSR, MKL's inspector-executor, and the faster dense product."""

import ctypes
import sys
from pathlib import Path

import numpy as np

from dnnsched import kernels

from . import board
from .data import faster_dense, inputs, sparse_weights

DENSITIES = (0.5, 0.3, 0.2, 0.1, 0.05)
# Crossover: at half the weights CSR is no slower than the dense product wherever K >= 512.
CROSSOVER = ((512, 512, 256), (1024, 1024, 256), (768, 3072, 128), (3072, 768, 128), (512, 4608, 196), (256, 512, 784))


class _Descr(ctypes.Structure):
    """struct matrix_descr of mkl_spblas.h: type, mode, diagonal."""

    _fields_ = (("type", ctypes.c_int), ("mode", ctypes.c_int), ("diag", ctypes.c_int))


def mkl():
    """libmkl_rt of the mkl wheel on one thread with 32-bit integers, or None."""
    for folder in (Path(sys.prefix) / "lib", Path(sys.base_prefix) / "lib"):
        for path in sorted(folder.glob("libmkl_rt.so*")):
            library = ctypes.CDLL(str(path))
            library.MKL_Set_Interface_Layer(0)  # LP64
            library.MKL_Set_Threading_Layer(1)  # sequential
            return library
    return None


def mkl_multiply(library, w, x, out):
    """MKL's sparse product after create, hint and optimize; None when a step fails."""
    rows, columns = np.nonzero(w)
    indptr = np.zeros(len(w) + 1, np.int32)
    indptr[1:] = np.cumsum(np.bincount(rows, minlength=len(w)))
    columns, values = columns.astype(np.int32), w[rows, columns]
    handle, descr = ctypes.c_void_p(), _Descr(20, 0, 0)  # SPARSE_MATRIX_TYPE_GENERAL
    plain, row_major, n = 10, 101, x.shape[1]

    def at(a):
        return ctypes.c_void_p(a.ctypes.data)

    status = library.mkl_sparse_s_create_csr(ctypes.byref(handle), 0, len(w), w.shape[1], at(indptr), at(indptr[1:]),
                                             at(columns), at(values))
    status = status or library.mkl_sparse_set_mm_hint(handle, plain, descr, row_major, n, 1000)
    status = status or library.mkl_sparse_optimize(handle)
    if status != 0:
        return None
    arguments = (plain, ctypes.c_float(1.0), handle, descr, row_major, at(x), n, n, ctypes.c_float(0.0), at(out), n)

    def multiply(keep=(indptr, columns, values, x, out)):
        return library.mkl_sparse_s_mm(*arguments)

    return multiply


def peers(w, x, density):
    """(name, function or None, gate, goal, reason of absence) of each sparse peer."""
    out = np.empty((len(w), x.shape[1]), np.float32)
    sparse, torch, library = board.peer("scipy.sparse"), board.peer("torch"), mkl()
    if sparse is None:
        yield "scipy.sparse", None, None, None, "scipy is not installed"
    else:
        a = sparse.csr_matrix(w)
        yield "scipy.sparse", lambda: a @ x, None, None, None
    if torch is None:
        yield "torch CSR", None, 1.8, 2.3, "torch is not installed"
    else:
        t, b = torch.from_numpy(w).to_sparse_csr(), torch.from_numpy(x)
        yield "torch CSR", lambda: t @ b, 1.8, 2.3, None
    multiply = None if library is None else mkl_multiply(library, w, x, out)
    gate = 1.0 if density < 0.1 else 1.2
    yield "mkl_sparse_s_mm", multiply, gate, None, None if multiply else "the mkl wheel is not installed"


def rows(isa):
    """The scoreboard's rows."""
    m, k, n = 512, 512, 256
    x, out = inputs(k, n), board.aligned((m, n), np.float32)
    for density in DENSITIES:
        w = sparse_weights(m, k, density)
        plan = kernels.csr(w, isa=isa)
        common = {"ours": lambda p=plan: p.matmul(x, out=out), "flops": 2.0 * plan.nnz * n, "plan": plan, "n": n}
        work = f"{m}x{k}x{n} density {density:g}"
        for name, function, gate, goal, reason in peers(w, x, density):
            yield board.Row(work, peer=function, peer_name=name, gate=gate, goal=goal, skipped=reason, **common)
        name, dense = faster_dense(w, x)
        yield board.Row(work, peer=dense, peer_name=name, gate=1.0 if density >= 0.5 else None, **common)
    for m, k, n in CROSSOVER:
        w, x, out = sparse_weights(m, k, 0.5), inputs(k, n), board.aligned((m, n), np.float32)
        plan = kernels.csr(w, isa=isa)
        name, dense = faster_dense(w, x)
        yield board.Row(f"{m}x{k}x{n} density 0.5", lambda p=plan, x=x, o=out: p.matmul(x, out=o), dense, name,
                        gate=1.0, flops=2.0 * plan.nnz * n, plan=plan, n=n)
    w, x, out = sparse_weights(768, 768, 0.2), inputs(256, 768), board.aligned((256, 768), np.float32)
    plan, whole, other = kernels.csr(w, isa=isa), kernels.dense(w), board.aligned((256, 768), np.float32)
    yield board.Row("linear 768x768x256 density 0.2", lambda p=plan, x=x, o=out: p.linear(x, out=o),
                    lambda p=whole, x=x, o=other: p.linear(x, out=o), "dense OpenBLAS", flops=2.0 * plan.nnz * 256,
                    plan=plan, n=256)
    m, k = 2048, 2048
    for density in (0.3, 0.1):
        w, x, out = sparse_weights(m, k, density), inputs(k, 1)[:, 0].copy(), np.empty(m, np.float32)
        plan, whole, other = kernels.csr(w, isa=isa), kernels.dense(w), np.empty(m, np.float32)
        yield board.Row(f"gemv {m}x{k} density {density:g}", lambda p=plan, x=x, o=out: p.matmul(x, out=o),
                        lambda p=whole, x=x, o=other: p.matmul(x, out=o), "dense OpenBLAS",
                        flops=2.0 * plan.nnz, plan=plan, n=1)
