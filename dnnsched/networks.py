"""Layer tables of published networks, built from their architectures.

Every network is constructed in code the way its paper or reference implementation describes it, so
the shapes follow from a few numbers and any input size, sequence length or class count works. The
tests compare the resulting multiply-accumulates and parameters with published counts.

Conventions
-----------
Multiply-accumulates count convolutions, linear layers and attention products only (no pooling,
normalisation or activation), zeros of the padding included. ``Network.params`` counts weights and
biases of these layers; ``Network.meta["params_total"]`` adds normalisation and embedding parameters
and is the number that papers and model zoos print.

Layers stand in execution order; the shortcut convolution of a residual block comes after its main
path, as in the reference code. ``Layer.sparse_weights`` is False where the pruning recipes of the
Dysta benchmark leave a layer dense: the first convolution, and everything but the pointwise
convolutions of a MobileNet.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

from dnnsched.layers import Layer, Network

__all__ = ["ATTENTION_CALLS", "get", "names"]

#: Attention calls per inference of each Transformer here: the stages that Sanger executes.
ATTENTION_CALLS = {"bert_base": 12, "gpt2": 12, "bart_base": 18, "bart_large": 36}


class _Builder:
    """Collects layers while it tracks channels and extent of the current map."""

    def __init__(self, channels: int = 0, size: int = 0) -> None:
        self.layers: list[Layer] = []
        self.channels, self.h, self.w = channels, size, size
        self.norm_params = 0
        self.embedding_params = 0

    def conv(self, name: str, out: int, kernel: int, stride: int = 1, padding: int | None = None, groups: int = 1,
             norm: bool = True, sparse: bool = True) -> Layer:
        """Convolution with square kernel; `norm` means batch normalisation instead of a bias."""
        layer = Layer(name, "conv", self.channels, out, self.h, self.w, kernel, kernel, stride,
                      kernel // 2 if padding is None else padding, groups=groups, bias=not norm,
                      sparse_weights=sparse)
        self.layers.append(layer)
        self.norm_params += 2 * out if norm else 0
        self.channels, self.h, self.w = out, layer.out_h, layer.out_w
        return layer

    def pool(self, kernel: int, stride: int, padding: int = 0) -> None:
        """Pooling: changes the extent, holds no weights."""
        self.h = (self.h + 2 * padding - kernel) // stride + 1
        self.w = (self.w + 2 * padding - kernel) // stride + 1

    def linear(self, name: str, out: int, features: int | None = None, seq_len: int = 0, sparse: bool = True) -> None:
        """Fully connected layer with bias on `features` (default: the channels)."""
        self.layers.append(Layer(name, "linear", features or self.channels, out, bias=True, sparse_weights=sparse,
                                 seq_len=seq_len))
        self.channels, self.h, self.w = out, 1, 1

    def branch(self) -> tuple[int, int, int]:
        """Current (channels, height, width), for :meth:`back_to`."""
        return self.channels, self.h, self.w

    def back_to(self, state: tuple[int, int, int]) -> None:
        """Continue from the map that :meth:`branch` returned."""
        self.channels, self.h, self.w = state

    def network(self, name: str, **meta: object) -> Network:
        """The finished network with its parameter totals."""
        params = sum(layer.params for layer in self.layers) + self.norm_params + self.embedding_params
        return Network(name, tuple(self.layers), {**meta, "norm_params": self.norm_params,
                                                  "embedding_params": self.embedding_params, "params_total": params})


# ---- convolutional networks ---------------------------------------------------------------------

_RESNET_BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}


def _resnet_stem_and_stages(b: _Builder, depth: int, stages: int, last_stride: int = 2) -> None:
    """Stem and the first `stages` stages of a ResNet (He et al., CVPR 2016, table 1; stride on the 3x3)."""
    b.conv("conv1", 64, 7, 2, 3, sparse=False)
    b.pool(3, 2, 1)
    for stage, blocks in enumerate(_RESNET_BLOCKS[depth][:stages]):
        width = 64 << stage
        out = width * 4 if depth >= 50 else width
        for block in range(blocks):
            stride = 1 if stage == 0 or block else (last_stride if stage == stages - 1 else 2)
            prefix, entry = f"layer{stage + 1}.{block}", b.branch()
            if depth >= 50:
                b.conv(f"{prefix}.conv1", width, 1)
                b.conv(f"{prefix}.conv2", width, 3, stride)
                b.conv(f"{prefix}.conv3", out, 1)
            else:
                b.conv(f"{prefix}.conv1", width, 3, stride)
                b.conv(f"{prefix}.conv2", out, 3)
            if block == 0 and (stride != 1 or entry[0] != out):
                b.back_to(entry)
                b.conv(f"{prefix}.downsample", out, 1, stride)


def _resnet(name: str, depth: int, input_size: int, num_classes: int) -> Network:
    b = _Builder(3, input_size)
    _resnet_stem_and_stages(b, depth, 4)
    b.linear("fc", num_classes)
    return b.network(name, input_size=input_size, source="He et al., CVPR 2016, arXiv 1512.03385")


def _resnet18(input_size: int = 224, num_classes: int = 1000) -> Network:
    return _resnet("resnet18", 18, input_size, num_classes)


def _resnet50(input_size: int = 224, num_classes: int = 1000) -> Network:
    return _resnet("resnet50", 50, input_size, num_classes)


def _vgg16(input_size: int = 224, num_classes: int = 1000) -> Network:
    b = _Builder(3, input_size)
    for stage, (convs, width) in enumerate(((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)), 1):
        for i in range(1, convs + 1):
            b.conv(f"conv{stage}_{i}", width, 3, norm=False, sparse=(stage, i) != (1, 1))
        b.pool(2, 2)
    b.linear("fc6", 4096, features=b.channels * b.h * b.w)
    b.linear("fc7", 4096)
    b.linear("fc8", num_classes)
    return b.network("vgg16", input_size=input_size, source="Simonyan, Zisserman, ICLR 2015, arXiv 1409.1556, model D")


def _mobilenet_v1(input_size: int = 224, num_classes: int = 1000) -> Network:
    b = _Builder(3, input_size)
    b.conv("conv1", 32, 3, 2, sparse=False)
    blocks = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
    for i, (out, stride) in enumerate(blocks, 1):
        b.conv(f"block{i}.depthwise", b.channels, 3, stride, groups=b.channels, sparse=False)
        b.conv(f"block{i}.pointwise", out, 1)
    b.linear("fc", num_classes, sparse=False)
    return b.network("mobilenet_v1", input_size=input_size, source="Howard et al., 2017, arXiv 1704.04861, width 1.0")


def _mobilenet_v2(input_size: int = 224, num_classes: int = 1000) -> Network:
    b = _Builder(3, input_size)
    b.conv("conv1", 32, 3, 2, sparse=False)
    settings = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
                (6, 320, 1, 1))
    index = 0
    for expand, out, repeats, first_stride in settings:
        for repeat in range(repeats):
            index += 1
            hidden = b.channels * expand
            if expand != 1:
                b.conv(f"block{index}.expand", hidden, 1)
            b.conv(f"block{index}.depthwise", hidden, 3, 1 if repeat else first_stride, groups=hidden, sparse=False)
            b.conv(f"block{index}.project", out, 1)
    b.conv("conv_last", 1280, 1)
    b.linear("fc", num_classes, sparse=False)
    return b.network("mobilenet_v2", input_size=input_size, source="Sandler et al., CVPR 2018, arXiv 1801.04381")


def _ssd300(name: str, depth: int, num_classes: int) -> Network:
    """SSD with a ResNet up to its third stage (stride 1 there), five extra blocks and six predictors.

    Follows the detectors of the SparseML model zoo that the Dysta recipes prune (the same design as NVIDIA's SSD300).
    """
    b = _Builder(3, 300)
    _resnet_stem_and_stages(b, depth, 3, last_stride=1)
    outs = (512, 512, 256, 256, 128) if depth == 18 else (512, 512, 256, 256, 256)
    maps = [b.branch()]
    for i, (hidden, out) in enumerate(zip((256, 256, 128, 128, 128), outs, strict=True)):
        b.conv(f"head{i}.conv1", hidden, 1)
        b.conv(f"head{i}.conv2", out, 3, *((2, 1) if i < 3 else (1, 0)))
        maps.append(b.branch())
    boxes = 0
    for i, (state, anchors) in enumerate(zip(maps, (4, 6, 6, 6, 4, 4), strict=True)):
        boxes += anchors * state[1] * state[2]
        for kind, per_anchor in (("loc", 4), ("conf", num_classes)):
            b.back_to(state)
            b.conv(f"predict{i}.{kind}", anchors * per_anchor, 3, norm=False)
    return b.network(name, input_size=300, default_boxes=boxes,
                     source="Liu et al., ECCV 2016, arXiv 1512.02325; SparseML ssd300_resnet detectors (VOC)")


def _ssd300_resnet18(num_classes: int = 21) -> Network:
    return _ssd300("ssd300_resnet18", 18, num_classes)


def _ssd300_resnet50(num_classes: int = 21) -> Network:
    return _ssd300("ssd300_resnet50", 50, num_classes)


# ---- Transformers -------------------------------------------------------------------------------

def _block(b: _Builder, prefix: str, attentions: tuple[str, ...], heads: int, seq_len: int, hidden: int) -> None:
    """Attention calls, then a feed-forward pair of four times the width; one layer norm for each."""
    for call in attentions:
        b.layers.append(Layer(f"{prefix}.{call}", "attention", bias=True, heads=heads, seq_len=seq_len, hidden=hidden))
    b.linear(f"{prefix}.ffn1", 4 * hidden, features=hidden, seq_len=seq_len)
    b.linear(f"{prefix}.ffn2", hidden, seq_len=seq_len)
    b.norm_params += 2 * hidden * (len(attentions) + 1)


def _bert_base(seq_len: int = 384, pooler: bool = True) -> Network:
    b = _Builder()
    b.embedding_params = (30522 + 512 + 2) * 768
    b.norm_params = 2 * 768
    for i in range(12):
        _block(b, f"layer{i}", ("attention",), 12, seq_len, 768)
    if pooler:
        b.linear("pooler", 768)
    return b.network("bert_base", seq_len=seq_len, source="Devlin et al., NAACL 2019, arXiv 1810.04805, uncased")


def _gpt2(seq_len: int = 512) -> Network:
    b = _Builder()
    b.embedding_params = (50257 + 1024) * 768
    b.norm_params = 2 * 768
    for i in range(12):
        _block(b, f"h{i}", ("attention",), 12, seq_len, 768)
    return b.network("gpt2", seq_len=seq_len, source="Radford et al., 2019, GPT-2 small; output projection tied to the "
                     "token embedding and not counted; attention counted without the causal half")


def _bart(name: str, depth: int, heads: int, hidden: int, seq_len: int) -> Network:
    b = _Builder()
    b.embedding_params = (50265 + 2 * 1026) * hidden
    b.norm_params = 2 * 2 * hidden
    for i in range(depth):
        _block(b, f"encoder{i}", ("self",), heads, seq_len, hidden)
    for i in range(depth):
        _block(b, f"decoder{i}", ("self", "cross"), heads, seq_len, hidden)
    return b.network(name, seq_len=seq_len, source="Lewis et al., ACL 2020, arXiv 1910.13461; source and target of "
                     "seq_len tokens each; output projection tied and not counted")


def _bart_base(seq_len: int = 512) -> Network:
    return _bart("bart_base", 6, 12, 768, seq_len)


def _bart_large(seq_len: int = 512) -> Network:
    return _bart("bart_large", 12, 16, 1024, seq_len)


_NETWORKS: dict[str, Callable[..., Network]] = {
    "resnet18": _resnet18, "resnet50": _resnet50, "vgg16": _vgg16, "mobilenet_v1": _mobilenet_v1,
    "mobilenet_v2": _mobilenet_v2, "ssd300_resnet18": _ssd300_resnet18, "ssd300_resnet50": _ssd300_resnet50,
    "bert_base": _bert_base, "gpt2": _gpt2, "bart_base": _bart_base, "bart_large": _bart_large,
}
_ALIASES = {"mobilenet": "mobilenet_v1", "ssd300": "ssd300_resnet18", "ssd": "ssd300_resnet18", "bert": "bert_base",
            "bart": "bart_large"}


def names() -> tuple[str, ...]:
    """Names that :func:`get` accepts, without aliases."""
    return tuple(_NETWORKS)


def get(name: str, **options: int | bool) -> Network:
    """Layer table of a published network.

    Parameters
    ----------
    name : str
        One of :func:`names`; ``-`` and upper case are accepted. Aliases: ``mobilenet`` (V1), ``ssd300``
        and ``ssd`` (ResNet-18 backbone, as in the Dysta benchmark), ``bert`` (base), ``bart`` (large:
        12 encoder, 12 decoder and 12 cross attention calls, 36 in all).
    **options
        Classifiers: ``input_size`` in pixels (224), ``num_classes`` (1000). SSD300: ``num_classes``
        with background (21). Transformers: ``seq_len`` in tokens (BERT 384, others 512); BERT:
        ``pooler`` (True).

    Returns
    -------
    Network
        Layers in execution order; ``meta`` holds ``source``, ``norm_params``, ``embedding_params``
        and ``params_total``.

    Raises
    ------
    ValueError
        The name or an option is unknown, or an option is out of range.

    Examples
    --------
    >>> get("resnet50").meta["params_total"]
    25557032
    """
    key = str(name).lower().replace("-", "_")
    key = _ALIASES.get(key, key)
    if key not in _NETWORKS:
        raise ValueError(f"network: expected one of {', '.join(_NETWORKS)}, got {name!r}")
    build = _NETWORKS[key]
    known = inspect.signature(build).parameters
    for option, value in options.items():
        if option not in known:
            raise ValueError(f"network {key!r}: expected options {', '.join(known)}, got {option!r}")
        if isinstance(known[option].default, bool):
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"network {key!r}: {option}: expected an integer >= 1, got {value!r}")
    return build(**options)
