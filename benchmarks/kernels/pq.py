"""Product quantisation beside faiss: the same codebooks, and codes that are compared before they are timed.

The attainable time of encoding counts the instructions of csrc/kernels/pq_isa.c: per vector of rows and centroid one
multiply-add per element, and five instructions for the two lowest scores, two a cycle at the clock measured in the run.
Decoding is bound by writing. Training is compared as a whole: both peers take 25 steps over all rows.
"""

import numpy as np

from dnnsched import kernels

from . import board
from .count import clock_hz

N = 20000
LANES = {"generic": 4, "avx2": 8}
# (elements, pieces, bits, gate, goal)
SHAPES = ((128, 16, 8, 2.5, 3.5), (128, 16, 4, None, None), (256, 8, 8, None, None))


def attainable(dim, m, bits, isa):
    """Seconds of encoding by counted instructions."""
    vectors = N / LANES.get(isa, 16) * 2**bits
    return vectors * (dim + 5 * m) / 2 / clock_hz()


def differences(ours, theirs, pq, x):
    """Codes that differ although the two best distances are more than 1e-5 apart."""
    wrong = 0
    for row, s in np.argwhere(ours != theirs):
        dsub = pq.dim // pq.m
        d = np.sort(((pq.codebooks[s] - x[row, s * dsub:(s + 1) * dsub]).astype(np.float64) ** 2).sum(1))
        wrong += d[1] - d[0] >= 1e-5 * d[0]
    return wrong


def rows(isa):
    """The scoreboard's rows."""
    faiss = board.peer("faiss")
    level = None if isa == kernels.machine().isa else isa
    skipped = None if faiss else "faiss is not installed"
    rng = np.random.default_rng(0)
    for dim, m, bits, gate, goal in SHAPES:
        x = rng.standard_normal((N, dim)).astype(np.float32)
        pq = kernels.PQ.train(x, m, bits, steps=5, isa=level)
        codes = pq.encode(x)
        encode = decode = None
        if faiss:
            faiss.omp_set_num_threads(1)
            peer = faiss.ProductQuantizer(dim, m, bits)
            faiss.copy_array_to_vector(pq.codebooks.ravel(), peer.centroids)
            packed = peer.compute_codes(x)
            theirs = packed if bits == 8 else np.stack([packed & 15, packed >> 4], 2).reshape(N, m)
            if differences(codes, theirs, pq, x):
                raise AssertionError(f"PQ {dim} x {m} x {bits} bits: codes differ from the peer's")
            encode, decode = (lambda p=peer, x=x: p.compute_codes(x)), (lambda p=peer, c=packed: p.decode(c))
        name = f"PQ encode {N}x{dim}, {m}x{2**bits}"
        out = np.empty_like(codes)
        yield board.Row(name, lambda pq=pq, x=x, out=out: pq.encode(x, out=out), encode, "faiss", gate, goal,
                        flops=2.0 * N * dim * 2**bits, attainable_s=attainable(dim, m, bits, isa), skipped=skipped)
        y = np.empty_like(x)
        yield board.Row(name.replace("encode", "decode"), lambda pq=pq, c=codes, y=y: pq.decode(c, out=y), decode,
                        "faiss", skipped=skipped)
    x = rng.standard_normal((N, 128)).astype(np.float32)
    train = None
    if faiss:
        def train():
            peer = faiss.ProductQuantizer(128, 16, 8)
            peer.cp.niter = 25
            peer.train(x)
    yield board.Row(f"PQ train {N}x128, 16x256, 25 steps", lambda: kernels.PQ.train(x, 16, batch=N, isa=level), train,
                    "faiss", skipped=skipped)
