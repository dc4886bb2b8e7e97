"""Eyeriss v2: cycles of sparse convolutions and fully connected layers from activation and weight masks."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from dnnsched import kernels
from dnnsched._native import _accel, _kernels
from dnnsched.accel._cost import Costs, check_batch, check_compat, fractions, layers_of, to_costs
from dnnsched.layers import Layer

#: What :meth:`EyerissV2.layer` returns per input: cycles; seconds; sparsity of the input activation; valid
#: multiply-accumulates; non-empty columns (Z); address checks (A).
LAYER = np.dtype([
    ("cycles", np.uint64), ("seconds", np.float64), ("sparsity", np.float64), ("valid_macs", np.uint64),
    ("columns", np.uint64), ("address_checks", np.uint64),
])

_FIELDS = ("R", "E", "C0", "C1", "C2", "F0", "F1", "F2", "M0", "M1", "M2", "S1", "S2", "A", "weight_factor")
_DENSE_BYTES, _SPARSE_BYTES = 1.0, 12 / 8  # 8-bit values; compressed: 4 more bits per non-zero


class _Plan(NamedTuple):
    """A layer as one machine counts it."""

    counted: Layer         # the layer whose geometry is counted
    window: np.ndarray     # of `counted`, int32 (12,)
    map: np.ndarray        # int64 (15,)
    terms: np.ndarray      # int64 (2, T): sizes and numbers of the sets whose emptiness Z counts


@functools.lru_cache(maxsize=4096)
def _plan(compat, glb_bytes, layer):
    """Mapping and counting geometry of a layer; cached, since a layer is a value."""
    if layer.kind == "attention" or layer.seq_len > 1:
        raise ValueError(f"layer {layer.name!r}: Eyeriss v2 models convolutions and fully connected layers of single "
                         f"vectors, got kind {layer.kind!r} with seq_len {layer.seq_len}")
    counted = layer
    if layer.kind == "linear":
        counted = replace(layer, kind="conv", in_h=1, in_w=1, kernel_h=1, kernel_w=1)
    elif compat == 0:  # the public code counts at stride 1 with "same" padding
        counted = replace(layer, stride=1, dilation=1, padding="same")
    extents = np.array([layer.in_channels, layer.out_channels, layer.groups, counted.kernel_h, counted.kernel_w,
                        counted.in_h, counted.in_w, counted.out_h, counted.out_w], np.int64)
    mapping = np.empty(len(_FIELDS), np.int64)
    try:
        _accel.eyeriss2_map(compat, glb_bytes, extents, mapping)
    except ValueError as error:
        raise ValueError(f"layer {layer.name!r}: {error}") from None
    terms = _row_terms(counted, mapping) if compat == 0 else _column_terms(counted, mapping)
    return _Plan(counted, kernels.window(counted), mapping, terms)


def _row_terms(layer, mapping):
    """Artifact Z: (channel, row) windows by their number of values."""
    block, rows = mapping[_FIELDS.index("F0")], np.arange(layer.in_h)
    end = np.minimum((rows // block + 1) * block, layer.in_h)
    reach = np.minimum(layer.kernel_h, end - rows)
    sizes, times = np.unique(reach, return_counts=True)
    return np.stack([sizes * layer.in_w, times * layer.in_channels]).astype(np.int64)


def _column_terms(layer, mapping):
    """Corrected Z: (channel group, output row, output column, kernel column) by their number of values."""
    depth = int(mapping[_FIELDS.index("C0")])
    (sh, _), (dh, _), (ph, _) = layer.stride_hw, layer.dilation_hw, layer.padding_hw
    rows = np.arange(layer.out_h)[:, None] * sh + np.arange(layer.kernel_h) * dh - ph
    reach, times = np.unique(((rows >= 0) & (rows < layer.in_h)).sum(axis=1), return_counts=True)
    one_row = kernels.window(replace(layer, in_h=1, kernel_h=1, stride=(1, layer.stride_hw[1]),
                                     dilation=(1, layer.dilation_hw[1]),
                                     padding=layer.padding if isinstance(layer.padding, str)
                                     else (0, layer.padding_hw[1])))
    across = _kernels.rect(one_row)
    full, rest = divmod(layer.in_channels, depth)
    sizes = np.concatenate([reach * depth, reach * rest])
    return np.stack([sizes, across * np.concatenate([times * full, times * (rest > 0)])]).astype(np.int64)


class EyerissV2:
    """Cycle model of Eyeriss v2 (192 processing elements, 200 MHz, 8 bit).

    Parameters
    ----------
    compat : {"corrected", "artifact"}
        ``"artifact"`` reproduces the simulator published with Sparse-DySta: products are counted at
        stride 1 and "same" padding whatever the layer's, and non-empty columns are counted over rows
        (see Notes). ``"corrected"`` counts real strides, padding and dilation, maps output extents,
        accepts rectangular maps and any channel count.
    iact_glb_bytes : int
        Capacity of each of the three input buffers of a cluster. The public code has 4000, the paper 2500.
    imbalance : bool
        Corrected only: multiply valid work by the load of the fullest (C1, S1, M1) partition over the
        mean. Needs weights, not counts, in :meth:`layer`; :meth:`cost` assumes even load.
    memory : bool
        Corrected only: time is at least DRAM traffic / 25.6 GB/s, with compressed inputs and weights
        (12 bits per non-zero) and a dense 8-bit output.

    Raises
    ------
    ValueError
        A parameter is out of range, or belongs to the other `compat`.

    Notes
    -----
    ``cycles = floor((4 V + A + w Z) / 192)`` with V valid multiply-accumulates, A address checks, Z
    non-empty columns and w cycles per column, from Chen et al. (JETCAS 2019) by way of the code of
    Fan et al. (MICRO 2023). In the public code Z counts (channel, row) pairs whose window of R rows,
    cut at blocks of F0 rows, has a non-zero, and w = 2 M1 S1 M2 S2; corrected, Z counts visits of
    C0-deep, R-high columns by output positions and kernel columns, and w = 2 M1 M2.
    """

    name = "eyeriss_v2"
    pes = 192
    clock_hz = 200e6

    def __init__(self, compat="corrected", *, iact_glb_bytes=4000, imbalance=False, memory=False):
        self._compat = check_compat(compat)
        if not 1 <= iact_glb_bytes < 2**31:
            raise ValueError(f"iact_glb_bytes: expected an integer in [1, 2^31), got {iact_glb_bytes}")
        if compat == "artifact" and (imbalance or memory):
            raise ValueError("imbalance, memory: expected False with compat='artifact', which has neither")
        self.compat, self.iact_glb_bytes = compat, int(iact_glb_bytes)
        self.imbalance, self.memory = bool(imbalance), bool(memory)

    def __repr__(self):
        return (f"EyerissV2(compat={self.compat!r}, iact_glb_bytes={self.iact_glb_bytes}, "
                f"imbalance={self.imbalance}, memory={self.memory})")

    def mapping(self, layer):
        """Loop extents of a layer on the array.

        Parameters
        ----------
        layer : Layer
            Convolution or linear layer.

        Returns
        -------
        dict of str to int
            R, E, C0..C2, F0..F2, M0..M2, S1, S2 (names of the Eyeriss v2 paper), A (address checks) and
            weight_factor (cycles per non-empty column).

        Raises
        ------
        ValueError
            The layer does not fit the machine; the message names it.
        """
        return dict(zip(_FIELDS, self._plan(layer).map.tolist(), strict=True))

    def layer(self, shape, act, weight=None, eps=0.0):
        """Cycles of one layer for exact masks.

        Parameters
        ----------
        shape : Layer
            Convolution or linear layer.
        act : array_like
            Input activations (..., C, H, W), or (..., C) for a linear layer: float, bool, or a packed
            uint64 mask (:func:`dnnsched.kernels.pack_mask`).
        weight : array_like, optional
            Weights (M, C / groups, KH, KW) or (M, C); or their int32
            :func:`~dnnsched.kernels.weight_counts`. Default: dense.
        eps : float
            Largest magnitude that counts as zero.

        Returns
        -------
        ndarray of LAYER
            With the leading axes of `act`: cycles (exact), seconds, sparsity of the input, valid_macs,
            columns (Z), address_checks (A).

        Raises
        ------
        ValueError
            Shapes do not agree, a value is not finite, or the layer does not fit the machine.
        """
        plan = self._plan(shape)
        mask, lead = self._act_mask(shape, act, eps)
        counts = self._counts(shape, weight, eps)
        macs, columns = self._count(plan, mask, counts)
        nonzeros = np.empty(len(mask), np.uint64)
        _kernels.popcounts(mask.reshape(len(mask), mask[0].size if len(mask) else 0), nonzeros, -1)
        values = shape.in_channels * (1 if shape.kind == "linear" else shape.in_h * shape.in_w)
        out = np.empty(len(mask), LAYER)
        busy = self._busy(plan, mask, macs, weight, eps) if self.imbalance else macs
        cycles = np.empty(len(mask), np.uint64)
        _accel.eyeriss2_cycles(plan.map, busy, columns, cycles)
        if self.memory:
            weights = float(counts.sum()) * _SPARSE_BYTES
            native = self._native_cost(plan, busy.astype(float), columns.astype(float),
                                       nonzeros * _SPARSE_BYTES, weights)
            cycles = native[:, 0].astype(np.uint64)
        out["cycles"], out["valid_macs"], out["columns"] = cycles, macs, columns
        out["seconds"] = cycles / self.clock_hz
        out["sparsity"] = 1.0 - nonzeros / values
        out["address_checks"] = plan.map[_FIELDS.index("A")]
        return out.reshape(lead)

    def network(self, net, acts, weights=None, eps=0.0):
        """Cycles of every layer of a network for exact masks.

        Parameters
        ----------
        net : Network
            Its convolutions and linear layers.
        acts : mapping of str to array_like, or sequence
            Input activation of each layer by name, or in layer order; all with the same leading axes.
        weights : mapping or sequence, optional
            Weights or weight counts of each layer, likewise; layers that a mapping lacks are dense.
        eps : float
            Largest magnitude that counts as zero.

        Returns
        -------
        ndarray of LAYER, shape (..., layers)
        """
        def pick(values, i, layer, what):
            if values is None:
                return None
            if hasattr(values, "keys"):
                if what == "acts" and layer.name not in values:
                    raise ValueError(f"acts: expected an activation of layer {layer.name!r}, got none")
                return values.get(layer.name)
            if len(values) != len(net):
                raise ValueError(f"{what}: expected {len(net)} layers, got {len(values)}")
            return values[i]

        parts = [self.layer(layer, pick(acts, i, layer, "acts"), pick(weights, i, layer, "weights"), eps)
                 for i, layer in enumerate(net)]
        leads = {part.shape for part in parts}
        if len(leads) != 1:
            raise ValueError(f"acts: expected the same leading axes in all layers, got {sorted(leads)}")
        out = np.empty((*leads.pop(), len(net)), LAYER)
        for i, part in enumerate(parts):
            out[..., i] = part
        return out

    def cost(self, layer_or_network, density=1.0, batch=1, *, weight_density=1.0):
        """Expected cost when only densities are known.

        Parameters
        ----------
        layer_or_network : Layer or Network
        density : array_like
            Fraction of non-zeros of the input activation, in [0, 1]; for a network broadcast against a
            last axis of layers.
        batch : int
            Inputs; the corrected model repeats the work and loads weights once.
        weight_density : array_like
            Fraction of non-zero weights, likewise; layers with ``sparse_weights=False`` are dense.

        Returns
        -------
        Costs of COST
            Of the broadcast shape. `utilization` is at most 1/4: a valid product takes four cycles.

        Notes
        -----
        For independent zeros E[V] = density * weight_density * (products inside the map) and
        E[Z] = sum over columns of 1 - (1 - density)^(values of the column).
        """
        layers, many = layers_of(layer_or_network)
        batch = check_batch(batch, self.compat)
        act, weight = np.broadcast_arrays(fractions(density, "density", len(layers), many),
                                          fractions(weight_density, "weight_density", len(layers), many))
        parts = []
        for i, layer in enumerate(layers):
            plan = self._plan(layer)
            rho = np.ascontiguousarray(act[..., i]).reshape(-1)
            kept = np.ascontiguousarray(weight[..., i]).reshape(-1) if layer.sparse_weights else np.ones_like(rho)
            pairs = layer.in_channels * layer.out_channels // layer.groups
            macs = float(_kernels.rect(plan.window) * pairs) * rho * kept
            columns = np.empty_like(rho)
            _accel.expected_any(rho, plan.terms[0], plan.terms[1], columns)
            inputs = plan.counted.in_channels * plan.counted.in_h * plan.counted.in_w * rho * _SPARSE_BYTES
            native = self._native_cost(plan, macs, columns, inputs, layer_weights(layer) * kept * _SPARSE_BYTES, batch)
            parts.append(to_costs(native, act.shape[:-1]))
        return np.stack(parts, axis=-1).view(Costs) if many else parts[0]

    def _plan(self, layer):
        return _plan(self._compat, self.iact_glb_bytes, layer)

    def _act_mask(self, layer, act, eps):
        """Packed mask with one leading axis, and the leading shape."""
        act = np.asarray(act)
        if act.dtype.kind == "f":
            single = act.dtype == np.float32  # one pass: with such an eps only NaN and infinities count
            bad = kernels.count_nonzeros(act, 1e300) if single else act.size - np.isfinite(act).sum()
            if bad:
                raise ValueError(f"act: layer {layer.name!r}: expected finite values, got {bad} NaN or infinities")
        shape = (layer.in_channels,) if layer.kind == "linear" else (layer.in_channels, layer.in_h, layer.in_w)
        return kernels.act_mask(act, shape, f"act: layer {layer.name!r}", eps)

    def _counts(self, layer, weight, eps):
        """Weight counts (C, KH, KW) or (C,); None means dense."""
        if weight is not None:
            return kernels.layer_weight_counts(weight, layer, eps)
        kernel = (layer.kernel_h, layer.kernel_w) if layer.kind == "conv" else ()
        return np.full((layer.in_channels, *kernel), layer.out_channels // layer.groups, np.int32)

    def _count(self, plan, mask, counts):
        """Valid products and non-empty columns per sample."""
        macs, columns = np.empty(len(mask), np.uint64), np.empty(len(mask), np.uint64)
        depth = int(plan.map[_FIELDS.index("C0")])
        if mask.ndim == 2:  # one row of channels
            if counts.size and counts.min() < 0:
                raise ValueError(f"weight: expected counts >= 0, got {counts.min()}")
            _kernels.masked_sum(mask, counts, macs, -1)
            width, column = plan.counted.in_channels, 1 if self._compat == 0 else depth
            ones = np.empty((len(mask), 1, -(-width // column)), np.uint64)
            _kernels.tiles(mask[:, None], width, 1, column, ones, -1)
            columns[:] = np.count_nonzero(ones, axis=(1, 2))
            return macs, columns
        _kernels.valid_macs(plan.window, counts, mask, macs, -1)
        if self._compat == 0:
            any_row = kernels.row_any(mask)
            _accel.eyeriss2_row_visits(plan.map, any_row, columns)
        else:
            _kernels.columns(plan.window, depth, mask, columns, -1)
        return macs, columns

    def _busy(self, plan, mask, macs, weight, eps):
        """Valid products if every (C1, S1, M1) partition had the load of the fullest one."""
        layer, fields = plan.counted, dict(zip(_FIELDS, plan.map.tolist(), strict=True))
        full = (layer.out_channels, layer.in_channels // layer.groups, layer.kernel_h, layer.kernel_w)
        weight = np.ones(full, bool) if weight is None else np.asarray(weight)
        if weight.size != np.prod(full):
            raise ValueError(f"weight: layer {layer.name!r}: imbalance needs weights of shape {full}, got counts")
        weight = weight.reshape(full)
        filters = np.arange(layer.out_channels) % (layer.out_channels // layer.groups)
        part_m = filters // fields["M0"] % fields["M1"]
        part_c = np.arange(layer.in_channels) // fields["C0"] % fields["C1"]
        part_s = np.arange(layer.kernel_w) % fields["S1"]
        counts = np.stack([kernels.weight_counts(weight * (part_m == m)[:, None, None, None], layer.groups, eps)
                           for m in range(fields["M1"])]).astype(np.int64)
        busy = np.empty_like(macs)
        maps = mask if mask.ndim == 4 else kernels.unpack_mask(mask, layer.in_channels)[:, :, None, None]
        for s, one in enumerate(maps):
            touched = kernels.window_counts(one, layer)
            load = np.zeros((fields["M1"], fields["C1"], fields["S1"]), np.int64)
            np.add.at(load, (slice(None), part_c[:, None], part_s[None, :]), (counts * touched).sum(axis=2))
            busy[s] = load.max() * load.size
        return busy

    def _native_cost(self, plan, macs, columns, input_bytes, weight_bytes, batch=1):
        """Native cost table (n, 9)."""
        n = len(macs)
        mapping = plan.map
        if batch > 1:
            mapping = mapping.copy()
            mapping[_FIELDS.index("A")] *= batch
        traffic = None
        if self.memory:
            layer = plan.counted
            output = layer.out_channels * layer.out_h * layer.out_w * _DENSE_BYTES
            operands = (input_bytes * batch, weight_bytes, output * batch)
            traffic = np.stack([np.broadcast_to(x, n) for x in operands], axis=1)
        native = np.empty((n, 9))
        _accel.eyeriss2_cost(mapping, macs * batch, columns * batch,
                             None if traffic is None else np.ascontiguousarray(traffic), native)
        return native


def layer_weights(layer):
    """Number of weights of a layer, biases not counted."""
    return layer.kernel_h * layer.kernel_w * layer.in_channels // layer.groups * layer.out_channels
