"""Twins of the count kernels (``csrc/kernels/count_isa.c``), written from their definitions."""

import numpy as np


def nonzero(x, eps=0.0):
    """Whether each value counts as non-zero: ``|x| > eps`` or NaN."""
    return ~(np.abs(x) <= eps)


def pack_mask(x, eps=0.0):
    """Mask words of the last axis, tail bits zero."""
    flags = nonzero(x, eps) if x.dtype != bool else x
    width = x.shape[-1]
    words = -(-width // 64)
    padded = np.zeros((*x.shape[:-1], words * 64), np.uint8)
    padded[..., :width] = flags
    packed = np.packbits(padded.reshape(*x.shape[:-1], words, 8, 8), axis=-1, bitorder="little")
    return (packed[..., 0].astype(np.uint64) << (8 * np.arange(8, dtype=np.uint64))).sum(axis=-1, dtype=np.uint64)


def zeros_per_tile(x, tile, eps=0.0):
    """Zeros of each ``th x tw`` tile of the last two axes."""
    th, tw = tile
    zero = ~nonzero(x, eps)
    h, w = x.shape[-2:]
    out = np.zeros((*x.shape[:-2], -(-h // th), -(-w // tw)), np.int64)
    for i in range(out.shape[-2]):
        for j in range(out.shape[-1]):
            out[..., i, j] = zero[..., i * th:(i + 1) * th, j * tw:(j + 1) * tw].sum(axis=(-2, -1))
    return out


def weight_counts(w, groups=1, eps=0.0):
    """Non-zero weights of each input channel and offset over the output channels of its group."""
    m, per_group = w.shape[:2]
    grouped = nonzero(w, eps).reshape(groups, m // groups, per_group, *w.shape[2:])
    return grouped.sum(axis=1).reshape(groups * per_group, *w.shape[2:])


def window_counts(flags, layer):
    """Non-zeros of each channel of a bool map (C, H, W) at the positions that an offset touches."""
    (sh, sw), (dh, dw), (ph, pw) = layer.stride_hw, layer.dilation_hw, layer.padding_hw
    out = np.zeros((flags.shape[0], layer.kernel_h, layer.kernel_w), np.int64)
    for i in range(layer.kernel_h):
        for j in range(layer.kernel_w):
            rows = [o * sh + i * dh - ph for o in range(layer.out_h)]
            cols = [o * sw + j * dw - pw for o in range(layer.out_w)]
            rows = [y for y in rows if 0 <= y < layer.in_h]
            cols = [x for x in cols if 0 <= x < layer.in_w]
            out[:, i, j] = flags[:, rows][:, :, cols].sum(axis=(1, 2))
    return out


def valid_macs(flags, weight, layer):
    """Products of two non-zero factors in a convolution of bool map (C, H, W) and weights (M, C/g, KH, KW)."""
    counts = weight_counts(weight, layer.groups)
    return int((window_counts(flags, layer) * counts).sum())
