"""Walsh-Hadamard transforms beside FFHT and a product with scipy's matrix; filters from OVSF codes beside that product.

FFHT's C source is compiled here when the environment variable DNNSCHED_FFHT names its folder (with fht.c and fht.h),
with -O3 -march=native; both sides transform the same rows out of place in one call of C.
"""

import atexit
import ctypes
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from dnnsched import kernels

from . import board
from .data import inputs

SHIM = """
#include "fht.h"
int rows(float *x, float *y, long n, int log2n, long batch) {
    int bad = 0;
    for (long b = 0; b < batch; b++) bad |= fht_float_oop(x + b * n, y + b * n, log2n);
    return bad;
}
"""


def ffht():
    """(library, None) or (None, why not)."""
    folder = os.environ.get("DNNSCHED_FFHT")
    if not folder or not (Path(folder) / "fht.c").is_file():
        return None, "FFHT's source is not there (DNNSCHED_FFHT)"
    work = Path(tempfile.mkdtemp(prefix="ffht"))
    atexit.register(shutil.rmtree, work, ignore_errors=True)
    sources = [path for name in ("fht.c", "fast_copy.c") if (path := Path(folder) / name).is_file()]
    (work / "shim.c").write_text(SHIM, encoding="utf-8")
    done = subprocess.run([os.environ.get("CC", "cc"), "-O3", "-march=native", "-shared", "-fPIC", "-w", "-I", folder,
                           "-o", work / "ffht.so", work / "shim.c", *sources],
                          capture_output=True, text=True, check=False)
    if done.returncode:
        return None, "FFHT does not compile"
    return ctypes.CDLL(str(work / "ffht.so")), None


def transform_rows(isa):
    """Rows of every length: as many as stay in the second cache, or one."""
    library, reason = ffht()
    for log2n in (*range(8, 19, 2), 20):
        n, batch = 1 << log2n, max(1, (1 << 15) >> log2n)
        x = inputs(batch, n)
        out, other = np.empty_like(x), np.empty_like(x)

        def peer(x=x, other=other, n=n, log2n=log2n, batch=batch):
            return library.rows(ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(other.ctypes.data), ctypes.c_long(n),
                                log2n, ctypes.c_long(batch))

        yield board.Row(f"fwht {batch} x 2^{log2n}", lambda x=x, o=out: kernels.fwht(x, out=o, isa=isa),
                        peer if library else None, "FFHT", gate=1.0 if log2n <= 18 else 0.9,
                        flops=float(batch * n * log2n), skipped=reason)


def rows(isa):
    """The scoreboard's rows."""
    yield from transform_rows(isa)
    linalg = board.peer("scipy.linalg")
    for n in (16, 64, 256):
        x = inputs(1 << 15 >> (n.bit_length() - 1), n)
        out, columns = np.empty_like(x), np.ascontiguousarray(x.T)
        out_columns, product_columns = np.empty_like(columns), np.empty_like(columns)
        h = linalg.hadamard(n).astype(np.float32) if linalg else None
        product, work = np.empty_like(x), float(x.size * (n.bit_length() - 1))
        reason = None if linalg else "scipy is not installed"
        yield board.Row(f"fwht {len(x)} x {n}", lambda x=x, o=out: kernels.fwht(x, out=o, isa=isa),
                        (lambda x=x, h=h, p=product: np.matmul(x, h, out=p)) if linalg else None,
                        "scipy hadamard matmul", flops=work, skipped=reason)
        yield board.Row(f"fwht columns {n} x {len(x)}",
                        lambda x=columns, o=out_columns: kernels.fwht(x, 0, o, isa=isa),
                        (lambda x=columns, h=h, p=product_columns: np.matmul(h, x, out=p)) if linalg else None,
                        "scipy hadamard matmul", flops=work, skipped=reason)
    for length, crop in ((16, (3, 3)), (1024, None)):
        alpha = inputs(1 << 17 >> (length.bit_length() - 1), length // 2)
        code = kernels.ovsf(np.eye(length, dtype=np.float32)[: length // 2], None, length, crop)
        code = code.reshape(length // 2, -1)
        yield board.Row(f"ovsf {len(alpha)} x {length}, half", lambda a=alpha, n=length, c=crop:
                        kernels.ovsf(a, None, n, c, isa=isa), lambda a=alpha, c=code: a @ c, "codes by matmul")
