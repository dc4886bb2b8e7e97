"""Shapes of network layers: what a cost model needs to know, and nothing it computes.

A :class:`Layer` is one weighted operation of a network (a convolution, a fully connected layer, a
self-attention block) with the extents of its input; a :class:`Network` is an ordered tuple of
layers in execution order. Both are immutable and hashable by value, so they can be keys of caches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["KINDS", "Layer", "Network"]

#: Kinds of layers that the built-in cost models understand.
KINDS = ("conv", "linear", "attention")


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    """``(value, value)`` for an integer, else the pair itself."""
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


@dataclass(frozen=True, slots=True)
class Layer:
    """One weighted layer of a network.

    Parameters
    ----------
    name : str
        Name within its network, unique there.
    kind : {"conv", "linear", "attention"}
        ``"conv"``: 2-d convolution, depthwise when ``groups == in_channels``. ``"linear"``: fully
        connected. ``"attention"``: self-attention with its Q, K, V and output projections.
    in_channels, out_channels : int
        Channels (conv) or features (linear); an attention layer leaves them 0 and sets `hidden`.
    in_h, in_w : int
        Height and width of the input map in pixels; 1 for linear layers.
    kernel_h, kernel_w : int
        Kernel height and width; 1 for linear layers.
    stride, dilation : int or (int, int)
        Along height and width.
    padding : "same", int or (int, int)
        Zeros added on both sides along height and width. ``"same"`` keeps ``ceil(in / stride)``
        output positions; an odd total puts the extra zero at the high end.
    groups : int
        Channel groups; divides both channel counts.
    bias : bool
        Whether the layer has a bias vector (counted in `params`, never in `macs`).
    sparse_weights : bool
        Whether pruning recipes touch this layer's weights (a first convolution usually stays dense).
    heads, seq_len, hidden : int
        Attention: number of heads, tokens, model width. A linear layer that is applied to every
        token of a sequence sets `seq_len`; 0 means one vector.

    Raises
    ------
    ValueError
        A field is out of range; the message names layer and field.
    """

    name: str
    kind: str = "conv"
    in_channels: int = 0
    out_channels: int = 0
    in_h: int = 1
    in_w: int = 1
    kernel_h: int = 1
    kernel_w: int = 1
    stride: int | tuple[int, int] = 1
    padding: str | int | tuple[int, int] = 0
    dilation: int | tuple[int, int] = 1
    groups: int = 1
    bias: bool = False
    sparse_weights: bool = True
    heads: int = 0
    seq_len: int = 0
    hidden: int = 0

    def __post_init__(self) -> None:
        def need(ok: bool, what: str, expected: str, got: object) -> None:
            if not ok:
                raise ValueError(f"layer {self.name!r}: {what}: expected {expected}, got {got!r}")

        need(self.kind in KINDS, "kind", f"one of {KINDS}", self.kind)
        if self.kind == "attention":
            for what in ("heads", "seq_len", "hidden"):
                need(getattr(self, what) >= 1, what, "an integer >= 1", getattr(self, what))
            need(self.hidden % self.heads == 0, "hidden", f"a multiple of heads={self.heads}", self.hidden)
            return
        for what in ("in_channels", "out_channels", "in_h", "in_w", "kernel_h", "kernel_w", "groups"):
            need(getattr(self, what) >= 1, what, "an integer >= 1", getattr(self, what))
        need(min(self.stride_hw) >= 1, "stride", "integers >= 1", self.stride)
        need(min(self.dilation_hw) >= 1, "dilation", "integers >= 1", self.dilation)
        need(self.padding == "same" or not isinstance(self.padding, str), "padding",
             "'same', an integer or a pair", self.padding)
        need(min(self.padding_hw) >= 0, "padding", "integers >= 0", self.padding)
        for what in ("in_channels", "out_channels"):
            need(getattr(self, what) % self.groups == 0, what, f"a multiple of groups={self.groups}",
                 getattr(self, what))
        need(min(self.out_h, self.out_w) >= 1, "kernel", "an output of at least 1 x 1",
             (self.out_h, self.out_w))

    @property
    def stride_hw(self) -> tuple[int, int]:
        """Stride along (height, width)."""
        return _pair(self.stride)

    @property
    def dilation_hw(self) -> tuple[int, int]:
        """Dilation along (height, width)."""
        return _pair(self.dilation)

    @property
    def out_h(self) -> int:
        """Output height in pixels."""
        return self._out(0)

    @property
    def out_w(self) -> int:
        """Output width in pixels."""
        return self._out(1)

    @property
    def padding_hw(self) -> tuple[int, int]:
        """Zeros at the low end along (height, width); ``"same"`` is resolved."""
        if not isinstance(self.padding, str):
            return _pair(self.padding)
        low = []
        for axis in (0, 1):
            size, kernel, stride, dilation = self._axis(axis)
            total = max((self._out(axis) - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
            low.append(total // 2)
        return low[0], low[1]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one input, zeros of the padding included.

        Attention counts the four projections and both score products,
        ``4 s h^2 + 2 s^2 h`` with sequence length s and width h.
        """
        if self.kind == "attention":
            return 4 * self.seq_len * self.hidden**2 + 2 * self.seq_len**2 * self.hidden
        per_position = self.kernel_h * self.kernel_w * self.in_channels // self.groups * self.out_channels
        if self.kind == "linear":
            return per_position * max(self.seq_len, 1)
        return per_position * self.out_h * self.out_w

    @property
    def params(self) -> int:
        """Weights, and biases if the layer has them."""
        if self.kind == "attention":
            return 4 * self.hidden**2 + (4 * self.hidden if self.bias else 0)
        weights = self.kernel_h * self.kernel_w * self.in_channels // self.groups * self.out_channels
        return weights + (self.out_channels if self.bias else 0)

    def _axis(self, axis: int) -> tuple[int, int, int, int]:
        size, kernel = ((self.in_h, self.kernel_h), (self.in_w, self.kernel_w))[axis]
        return size, kernel, self.stride_hw[axis], self.dilation_hw[axis]

    def _out(self, axis: int) -> int:
        size, kernel, stride, dilation = self._axis(axis)
        if isinstance(self.padding, str):
            return -(-size // stride)
        return (size + 2 * _pair(self.padding)[axis] - dilation * (kernel - 1) - 1) // stride + 1


@dataclass(frozen=True)
class Network:
    """Layers of one network in execution order.

    Parameters
    ----------
    name : str
        Such as ``"resnet50"``.
    layers : sequence of Layer
        At least one; names are unique.
    meta : dict
        Free facts beside the shapes: source, input size, published counts.
    """

    name: str
    layers: tuple[Layer, ...]
    meta: dict = field(default_factory=dict, compare=False, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.layers:
            raise ValueError(f"network {self.name!r}: expected at least one layer, got none")
        seen: set[str] = set()
        for layer in self.layers:
            if layer.name in seen:
                raise ValueError(f"network {self.name!r}: expected unique layer names, got {layer.name!r} twice")
            seen.add(layer.name)

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __getitem__(self, index: int) -> Layer:
        return self.layers[index]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one input over all layers."""
        return sum(layer.macs for layer in self.layers)

    @property
    def params(self) -> int:
        """Weights and biases over all layers (normalisation parameters are not layers here)."""
        return sum(layer.params for layer in self.layers)
