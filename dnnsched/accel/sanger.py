"""Sanger: latency of sparse attention, statistics of attention masks, and the quantised mask prediction."""

from __future__ import annotations

import math
import warnings

import numpy as np

from dnnsched import kernels
from dnnsched._native import _accel
from dnnsched.accel._cost import check_batch, check_compat, empty_costs, fractions, layers_of

#: What :func:`sanger_mask_stats` returns per sequence: density; lb (of the chosen packing), lb_skip and lb_no_skip;
#: and the counts they come from: attended positions of one head, non-zeros, vectors, non-empty vectors, segments and
#: (``pack="rtl"``) groups.
STATS = np.dtype([
    ("density", np.float64), ("lb", np.float64), ("lb_skip", np.float64), ("lb_no_skip", np.float64),
    ("area", np.int64), ("nonzeros", np.int64), ("vectors", np.int64), ("nonempty", np.int64),
    ("segments", np.int64), ("groups", np.int64),
])

#: Keep-thresholds on the predicted probability: the public configurations, and the paper's for BART.
THRESHOLDS = {"bert": 2e-3, "gpt2": 2e-3, "bart": 1e-2, "bart_paper": 0.2}

_VECTOR = 64


class Sanger:
    """Latency model of the Sanger accelerator (64 x 16 processing elements, 1 GHz).

    Parameters
    ----------
    compat : {"corrected", "artifact"}
        ``"artifact"`` reproduces the public code. ``"corrected"`` counts sub-rows for the `pes` that the
        load balance was measured with, rounds tile counts up, and leaves the output projection dense.
    version : {2, 1}
        2: tiles and pipeline depths (bench_sanger_v2); 1: operations only (bench_sanger).
    width : int
        Model width; the public code has 768. :meth:`cost` takes the layer's own.
    pes : int
        Elements per mask row that load balances were measured for: 32 ("50%") or 16 ("25%"). The
        artifact's formula ignores it.

    Notes
    -----
    With r = density / lb, s tokens and width D, version 2 of the public code is
    ``6 s D^2 / 2048 + 2 s D^2 r / 2048 + (n / 64) (D + 128 + n) (s / 64)`` ns, n = 4 r s
    (Lu et al., MICRO 2021). Masks of Dysta's traces use the "50%-skip" column, so the artifact's n is
    twice what the mask needs.
    """

    name = "sanger"
    clock_hz = 1e9
    pes_total = 1024

    def __init__(self, compat="corrected", *, version=2, width=768, pes=32):
        self._compat = check_compat(compat)
        if version not in (1, 2):
            raise ValueError(f"version: expected 1 or 2, got {version!r}")
        if width < 1:
            raise ValueError(f"width: expected an integer >= 1, got {width}")
        if not 1 <= pes <= _VECTOR:
            raise ValueError(f"pes: expected an integer in [1, 64], got {pes}")
        self.compat, self.version, self.width, self.pes = compat, version, int(width), int(pes)

    def __repr__(self):
        return f"Sanger(compat={self.compat!r}, version={self.version}, width={self.width}, pes={self.pes})"

    def latency(self, density, lb, seq_len):
        """Latency of attention layers.

        Parameters
        ----------
        density : array_like
            Fraction of mask positions kept, in [0, 1].
        lb : array_like
            Load balance of the mask, in (0, 1]; 0 is legal where `density` is 0 (an empty mask).
        seq_len : array_like of int
            Tokens, >= 1.

        Returns
        -------
        float or ndarray of float64
            Seconds, of the broadcast shape.

        Raises
        ------
        ValueError
            A value is out of range or NaN.

        Warns
        -----
        RuntimeWarning
            ``density / lb`` exceeds 1.02: the two do not come from one mask.
        """
        return self._latency(density, lb, seq_len, self.width)

    def _latency(self, density, lb, seq_len, width):
        arrays = np.broadcast_arrays(np.asarray(density, np.float64), np.asarray(lb, np.float64), _tokens(seq_len))
        flat = [np.ascontiguousarray(a).reshape(-1) for a in arrays]
        out = np.empty(flat[0].size)
        ratio = _accel.sanger_latency(self._compat, self.version, width, self.pes, *flat, out)
        if ratio > 1.02:
            warnings.warn(f"density / lb: expected at most 1.02, got {ratio:.4g}: density and load balance do not "
                          "belong to one mask", RuntimeWarning, stacklevel=3)
        return float(out[0]) if arrays[0].ndim == 0 else out.reshape(arrays[0].shape)

    def layer(self, shape, mask, key_mask=None, pack="split", pad=False):
        """Statistics and latency of one attention layer for exact masks.

        Parameters
        ----------
        shape : Layer
            Attention layer; its width and number of tokens count.
        mask, key_mask, pack, pad
            As for :func:`sanger_mask_stats`, with this model's `pes` and `compat`.

        Returns
        -------
        stats : ndarray of STATS
        seconds : ndarray of float64, or float
            Of the same shape.
        """
        _attention(shape)
        stats = sanger_mask_stats(mask, key_mask, pes=self.pes, pack=pack, compat=self.compat, pad=pad)
        return stats, self._latency(stats["density"], stats["lb"], shape.seq_len, shape.hidden)

    def cost(self, layer_or_network, density=1.0, batch=1, *, lb=1.0):
        """Cost of attention layers from densities and load balances.

        Parameters
        ----------
        layer_or_network : Layer or Network
            Attention layers only.
        density, lb : array_like
            As for :meth:`latency`; for a network broadcast against a last axis of layers.
        batch : int
            Sequences, one after the other; 1 with ``compat="artifact"``.

        Returns
        -------
        Costs of COST
            Of the broadcast shape. `utilization` counts the projections and the kept scores.
        """
        layers, many = layers_of(layer_or_network)
        batch = check_batch(batch, self.compat)
        rho, balance = np.broadcast_arrays(fractions(density, "density", len(layers), many),
                                           fractions(lb, "lb", len(layers), many))
        out = empty_costs(rho.shape)
        for i, layer in enumerate(layers):
            _attention(layer)
            s, width = layer.seq_len, layer.hidden
            seconds = self._latency(rho[..., i], balance[..., i], s, width) * batch
            macs = batch * (4 * s * width**2 + 2 * s**2 * width * rho[..., i])
            out["seconds"][..., i] = seconds
            out["cycles"][..., i] = np.asarray(seconds) * self.clock_hz
            out["utilization"][..., i] = macs / (out["cycles"][..., i] * self.pes_total)
            out["bound"][..., i] = "compute"
        return out if many else out[..., 0]


def _attention(layer):
    if layer.kind != "attention":
        raise ValueError(f"layer {layer.name!r}: Sanger models attention layers, got kind {layer.kind!r}")


def _tokens(seq_len):
    """Integer token counts."""
    seq_len = np.asarray(seq_len)
    if seq_len.dtype.kind not in "iu":
        raise ValueError(f"seq_len: expected integers, got dtype {seq_len.dtype}")
    return seq_len.astype(np.int64)


def _masks(mask, key_mask, pad):
    """Packed (B, heads, s, words), key mask (B, s) or None, and the leading shape."""
    mask = np.asarray(mask)
    if mask.ndim < 2:
        raise ValueError(f"mask: expected shape (..., heads, s, s), got {mask.shape}")
    seq = mask.shape[-2]
    if mask.dtype != np.uint64:
        if mask.shape[-1] != seq:
            raise ValueError(f"mask: expected square masks (..., s, s), got shape {mask.shape}")
        mask = kernels.pack_mask(mask)
    elif mask.shape[-1] != -(-seq // 64):
        raise ValueError(f"mask: expected {-(-seq // 64)} words per row of {seq} tokens, got shape {mask.shape}")
    elif seq % _VECTOR:
        mask = np.ascontiguousarray(mask)
        kernels.check_tails(mask, seq, "mask")
    lead = mask.shape[:-3]
    heads = mask.shape[-3] if mask.ndim > 2 else 1
    mask = mask.reshape(math.prod(lead), heads, seq, mask.shape[-1])
    if key_mask is not None:
        key_mask = np.asarray(key_mask)
        if key_mask.dtype.kind not in "biuf" or not np.isin(key_mask, (0, 1)).all():
            raise ValueError("key_mask: expected bool or zeros and ones")
        if key_mask.shape not in ((seq,), (*lead, seq)):
            raise ValueError(f"key_mask: expected shape {(*lead, seq)} or {(seq,)}, got {key_mask.shape}")
        key_mask = np.ascontiguousarray(np.broadcast_to(key_mask.astype(bool), (*lead, seq))).reshape(-1, seq)
    if seq % _VECTOR or seq == 0:
        if not pad or seq == 0:
            raise ValueError(f"mask: expected a sequence length that is a positive multiple of 64, got {seq}; "
                             "pad=True adds tokens outside the key mask")
        more = -seq % _VECTOR
        mask = np.pad(mask, ((0, 0), (0, 0), (0, more), (0, 0)))
        key_mask = np.ones((len(mask), seq), bool) if key_mask is None else key_mask
        key_mask = np.pad(key_mask, ((0, 0), (0, more)))
    return np.ascontiguousarray(mask), key_mask, lead


def sanger_mask_stats(mask, key_mask=None, *, pes=32, pack="split", compat="corrected", pooled=False, pad=False):
    """Density and load balance of attention masks on Sanger.

    Parameters
    ----------
    mask : array_like, shape (..., heads, s, s) or (s, s)
        True where a score is kept; or packed uint64 rows (..., heads, s, s / 64).
    key_mask : array_like, shape (..., s) or (s,), optional
        True for real tokens. A position is attended if its query and its key are real.
    pes : int
        Elements per row, 32 ("50%") or 16 ("25%"); at most 64.
    pack : {"split", "rtl"}
        Which load balance is returned as `lb`: of vectors of 64 split into passes, or of the hardware's
        greedy packing of columns over blocks of 64 rows.
    compat : {"corrected", "artifact"}
        The artifact counts ones outside the attended positions, and adds the non-empty instead of the
        empty vectors to the no-skip denominator.
    pooled : bool
        One record for all sequences, as one line of the public logger: density is the mean over
        sequences, load balances pool their vectors.
    pad : bool
        Fill up sequences whose length is no multiple of 64 with tokens outside the key mask.

    Returns
    -------
    ndarray of STATS
        With the leading axes of `mask` (none if `pooled`). A mask without ones has load balance 0; one
        without attended positions has density NaN.

    Raises
    ------
    ValueError
        A shape or parameter is wrong; or the length is no multiple of 64 and `pad` is False.

    Notes
    -----
    With n_v ones in vector v: ``lb_skip = sum n_v / (pes * sum ceil(n_v / pes))`` and ``lb_no_skip`` adds
    one pass per empty vector. For the greedy packing, ``lb = ones / (64 * pes * groups)``.
    """
    if pack not in ("split", "rtl"):
        raise ValueError(f"pack: expected 'split' or 'rtl', got {pack!r}")
    attended_only = check_compat(compat)
    masks, keys, lead = _masks(mask, key_mask, pad)
    table = np.empty((len(masks), 7), np.int64)
    _accel.sanger_counts(masks, keys, int(pes), attended_only, int(pack == "rtl"), table)
    with np.errstate(invalid="ignore", divide="ignore"):
        density = table[:, 1] / (masks.shape[1] * table[:, 0].astype(np.float64))
    if pooled:
        density, table, lead = np.array([density.mean()]), table.sum(axis=0, keepdims=True), ()
    area, nonzeros, ones, vectors, nonempty, segments, groups = table.T
    idle = vectors - nonempty if attended_only else nonempty
    out = np.empty(len(table), STATS)
    out["density"] = density
    out["lb_skip"] = _ratio(ones, pes * segments)
    out["lb_no_skip"] = _ratio(ones, pes * (segments + idle))
    out["lb"] = out["lb_skip"] if pack == "split" else _ratio(nonzeros, pes * _VECTOR * groups)
    out["area"], out["nonzeros"], out["vectors"] = area, nonzeros, vectors
    out["nonempty"], out["segments"], out["groups"] = nonempty, segments, groups
    return out.reshape(lead)


def _ratio(a, b):
    """a / b, 0 where b is 0."""
    return np.divide(a, b, out=np.zeros(len(a)), where=b > 0)


def sanger_mask(q, k, key_mask=None, *, threshold=2e-3, bits=4, normalize=True, causal=False, q_max=None,
                k_max=None):
    """Predict attention masks from quantised queries and keys.

    Parameters
    ----------
    q, k : array_like, shape (..., heads, s, d) or (s, d)
        Queries and keys, finite; converted to float32.
    key_mask : array_like, shape (..., s) or (s,), optional
        True for real tokens; the others are never kept.
    threshold : float
        Keep where the predicted probability exceeds it, in [0, 1); :data:`THRESHOLDS` has the published ones.
    bits : int
        Of the symmetric quantiser, 2 to 8: codes are in [-(2^(bits-1) - 1), 2^(bits-1) - 1].
    normalize : bool
        Quantise rows of unit length and scale the scores back, as the public configurations do.
    causal : bool
        A query attends to itself and earlier keys only (GPT-2).
    q_max, k_max : float, optional
        Quantiser ranges; default the largest magnitude of the sequence, over all heads. The public code
        takes moving averages learned in training.

    Returns
    -------
    ndarray of uint64, shape (..., heads, s, ceil(s / 64))
        Packed masks, as :func:`sanger_mask_stats` takes them.

    Raises
    ------
    ValueError
        Shapes differ, a value is not finite or a parameter is out of range.

    Notes
    -----
    ``softmax(Q4(q) Q4(k)^T |q| |k| / sqrt(d)) > threshold`` (Lu et al., MICRO 2021). Code products are
    exact integers and the rest float64 in a fixed order, so the result does not depend on the
    instruction set.
    """
    q, k = np.asarray(q, np.float32), np.asarray(k, np.float32)
    if q.ndim < 2 or q.shape != k.shape:
        raise ValueError(f"q, k: expected equal shapes (..., heads, s, d), got {q.shape} and {k.shape}")
    lead, (seq, dim) = q.shape[:-3], q.shape[-2:]
    heads = q.shape[-3] if q.ndim > 2 else 1
    shape = (math.prod(lead), heads, seq, dim)
    if key_mask is not None:
        key_mask = np.asarray(key_mask).astype(bool)
        if key_mask.shape not in ((seq,), (*lead, seq)):
            raise ValueError(f"key_mask: expected shape {(*lead, seq)} or {(seq,)}, got {key_mask.shape}")
        key_mask = np.ascontiguousarray(np.broadcast_to(key_mask, (*lead, seq))).reshape(-1, seq)
    out = np.empty((*shape[:3], -(-seq // 64)), np.uint64)
    _accel.sanger_predict(np.ascontiguousarray(q).reshape(shape), np.ascontiguousarray(k).reshape(shape), key_mask,
                          bits, int(normalize), int(causal), threshold, q_max or 0.0, k_max or 0.0, out)
    return out.reshape(*q.shape[:-1], out.shape[-1])
