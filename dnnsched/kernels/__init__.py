"""Kernels: real sparse, structured and low-bit layers on this CPU, and counts on activations and weights.

**Plans.** :func:`csr`, :func:`dense` and their like pack a weight matrix once into a :class:`MatPlan`, which
multiplies many times: ``plan @ X``, ``plan.matmul(X)``, ``plan.linear(x)``. :func:`machine` and :func:`roofline` tell
what this CPU could do at best.

**Transforms.** :func:`fft` and :func:`fwht` transform along an axis, by Fourier and by Walsh-Hadamard; :func:`ovsf`
generates filters by the latter, and :func:`fourier_mix` mixes tokens by the former.

**Attention.** :func:`softmax`, :func:`sddmm` and :func:`attention` take masks and sparse patterns (:func:`pattern`).

**Counts.** A *mask* holds one bit per value, set where the value counts as non-zero: ``|x| > eps``, or NaN (so ``-0.0``
is zero). Rows of ``W`` values are packed into ``ceil(W / 64)`` words of uint64; column ``j`` is bit ``j % 64`` of word
``j // 64`` and the tail bits are zero. Masks are the input of the accelerator models in :mod:`dnnsched.accel`. All
counts are exact integers and the same at every instruction-set level.

Inputs are float32 (counts: or bool) with a contiguous last axis; float64, float16 and other layouts are converted once
by a copy; complex input raises TypeError, and so do integers where a kernel multiplies. `isa` chooses an
instruction-set level (default: the one in use, see :func:`dnnsched.config.isa`).
"""

from dnnsched.kernels._attention import attention
from dnnsched.kernels._autotune import autotune
from dnnsched.kernels._bench import bench, crossovers
from dnnsched.kernels._bsr import bsr
from dnnsched.kernels._butterfly import butterfly
from dnnsched.kernels._conv import ConvPlan, conv2d
from dnnsched.kernels._counts import (
    act_mask,
    check_tails,
    count_nonzeros,
    count_zeros,
    density,
    layer_weight_counts,
    pack_mask,
    popcount,
    row_any,
    unpack_mask,
    valid_macs,
    weight_counts,
    window,
    window_counts,
    zeros_per_channel,
    zeros_per_tile,
)
from dnnsched.kernels._csr import csr
from dnnsched.kernels._dense import dense
from dnnsched.kernels._fft import fft, fourier_mix
from dnnsched.kernels._fwht import fwht, ovsf
from dnnsched.kernels._int8 import Int8Plan, int8
from dnnsched.kernels._lstm import LSTMPlan, lstm
from dnnsched.kernels._machine import Cost, Machine, machine, roofline
from dnnsched.kernels._nested import NestedPlan, nested
from dnnsched.kernels._nm import nm
from dnnsched.kernels._plan import MatPlan
from dnnsched.kernels._pq import PQ
from dnnsched.kernels._profile import profile
from dnnsched.kernels._prune import PATTERNS, prune
from dnnsched.kernels._quantize import Quantized, quantize
from dnnsched.kernels._rowstats import RowStats, rowstats
from dnnsched.kernels._sddmm import Pattern, pattern, sddmm
from dnnsched.kernels._softmax import softmax
from dnnsched.kernels._tree import Tree, tree

__all__ = [
    "PATTERNS",
    "PQ",
    "ConvPlan",
    "Cost",
    "Int8Plan",
    "LSTMPlan",
    "Machine",
    "MatPlan",
    "NestedPlan",
    "Pattern",
    "Quantized",
    "RowStats",
    "Tree",
    "act_mask",
    "attention",
    "autotune",
    "bench",
    "bsr",
    "butterfly",
    "check_tails",
    "conv2d",
    "count_nonzeros",
    "count_zeros",
    "crossovers",
    "csr",
    "dense",
    "density",
    "fft",
    "fourier_mix",
    "fwht",
    "int8",
    "layer_weight_counts",
    "lstm",
    "machine",
    "nested",
    "nm",
    "ovsf",
    "pack_mask",
    "pattern",
    "popcount",
    "profile",
    "prune",
    "quantize",
    "roofline",
    "row_any",
    "rowstats",
    "sddmm",
    "softmax",
    "tree",
    "unpack_mask",
    "valid_macs",
    "weight_counts",
    "window",
    "window_counts",
    "zeros_per_channel",
    "zeros_per_tile",
]
