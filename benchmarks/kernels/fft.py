"""Fourier transforms and mixing beside scipy.fft (pocketfft) and torch.fft (MKL), one thread each.

GF counts 5 n log2 n operations per vector, whatever an algorithm does. torch makes its result itself, which is the
faster of its two ways. The gates are on rows of complex64, and on mixing
beside rfft along features, fft along tokens, and the real part.
"""

import numpy as np

from dnnsched import kernels

from . import board

GATE = 0.9


def numbers(*shape):
    """Complex64 normal numbers."""
    rng = np.random.default_rng(0)
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def transforms(isa, torch, scipy_fft):
    """Rows and columns of complex64."""
    for batch, n in [(256, 1 << m) for m in range(3, 14)] + [(1, 256), (1, 1024), (1, 4096), (16, 1024)]:
        x = numbers(batch, n)
        out, flops = np.empty_like(x), 5.0 * x.size * (n.bit_length() - 1)
        gated = batch == 256 and n in (256, 1024, 4096)

        def ours(x=x, out=out):
            return kernels.fft(x, out=out, isa=isa)

        if torch:
            t = torch.from_numpy(x)
            yield board.Row(f"fft {batch} x {n}", ours, lambda t=t: torch.fft.fft(t), "torch.fft",
                            gate=GATE if gated else None, flops=flops)
        else:
            yield board.Row(f"fft {batch} x {n}", ours, skipped="torch is not installed")
        if scipy_fft and n in (256, 1024, 4096):
            yield board.Row(f"fft {batch} x {n}", ours, lambda x=x: scipy_fft.fft(x), "scipy.fft", flops=flops)
    for n in (256, 1024):
        x = numbers(n, 256)
        out, flops = np.empty_like(x), 5.0 * x.size * (n.bit_length() - 1)
        t = torch.from_numpy(x) if torch else None
        yield board.Row(f"fft columns {n} x 256", lambda x=x, o=out: kernels.fft(x, 0, o, isa=isa),
                        (lambda t=t: torch.fft.fft(t, dim=0)) if torch else None, "torch.fft", flops=flops,
                        skipped=None if torch else "torch is not installed")


def mixing(isa, torch):
    """FNet's and FABNet's mixing: tokens x features."""
    reason = None if torch else "torch is not installed"
    for tokens, features in ((128, 256), (128, 1024), (512, 256), (512, 512), (512, 1024), (1024, 1024), (4096, 256)):
        x = np.random.default_rng(1).standard_normal((tokens, features)).astype(np.float32)
        out, flops = np.empty_like(x), 1.25 * x.size * np.log2(x.size)
        t = torch.from_numpy(x) if torch else None
        yield board.Row(f"fourier_mix {tokens} x {features}",
                        lambda x=x, out=out: kernels.fourier_mix(x, out, isa=isa),
                        (lambda t=t: torch.fft.fft(torch.fft.rfft(t), dim=0).real) if torch else None,
                        "torch rfft + fft", gate=1.0, flops=flops, skipped=reason)


def rows(isa):
    """The scoreboard's rows."""
    torch, scipy_fft = board.peer("torch"), board.peer("scipy.fft")
    yield from transforms(isa, torch, scipy_fft)
    yield from mixing(isa, torch)
