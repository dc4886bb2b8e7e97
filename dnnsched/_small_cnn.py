"""Small sparse CNNs that come with the package, and their forward pass in NumPy.

Three ReLU networks (VGG-, ResNet- and MobileNet-like, 32 x 32 colour input, 12 classes: ten digits and two
photographs) in three pruning patterns each. They exist to record activation masks from a real execution: a graph is
a list of nodes, each naming what it reads; batch normalisation is folded into weights and biases, which are stored
as float16 and computed in float32.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from dnnsched.errors import FormatError
from dnnsched.layers import Layer, Network
from dnnsched.paths import data_dir

ARCHITECTURES = ("vggdigits", "resnetdigits", "mobiledigits")
PATTERNS = ("random", "nm", "channel")
CLASSES = 12
SIZE = 32
#: Subtracted from and divided into every pixel in [0, 1]: the first layer sees a dense input, as on ImageNet.
PIXEL_MEAN, PIXEL_STD = 0.4, 0.35


def _conv(name: str, src: str, out: int, kernel: int = 3, stride: int = 1, depthwise: bool = False, relu: bool = True,
          sparse: bool = True) -> dict:
    return {"op": "conv", "name": name, "src": src, "out": out, "kernel": kernel, "stride": stride,
            "depthwise": depthwise, "relu": relu, "sparse": sparse}


def _linear(name: str, src: str, out: int, relu: bool, sparse: bool) -> dict:
    return {"op": "linear", "name": name, "src": src, "out": out, "relu": relu, "sparse": sparse}


def _vgg() -> list[dict]:
    nodes, last = [], "input"
    for stage, width in enumerate((16, 32, 64), 1):
        for i in (1, 2):
            name = f"conv{stage}_{i}"
            nodes.append(_conv(name, last, width, sparse=name != "conv1_1"))
            last = name
        nodes.append({"op": "maxpool", "name": f"pool{stage}", "src": last})
        last = f"pool{stage}"
    return [*nodes, _linear("fc1", last, 128, True, True), _linear("fc2", "fc1", CLASSES, False, False)]


def _resnet() -> list[dict]:
    nodes, last = [_conv("conv1", "input", 16, sparse=False)], "conv1"
    for stage, width in enumerate((16, 32, 64), 1):
        for block in (0, 1):
            prefix, entry = f"layer{stage}.{block}", last
            stride = 2 if stage > 1 and block == 0 else 1
            nodes.append(_conv(f"{prefix}.conv1", entry, width, stride=stride))
            nodes.append(_conv(f"{prefix}.conv2", f"{prefix}.conv1", width, relu=False))
            if stride == 2:
                nodes.append(_conv(f"{prefix}.downsample", entry, width, kernel=1, stride=2, relu=False))
                entry = f"{prefix}.downsample"
            nodes.append({"op": "add", "name": f"{prefix}.add", "src": f"{prefix}.conv2", "with": entry})
            last = f"{prefix}.add"
    return [*nodes, {"op": "avgpool", "name": "pool", "src": last}, _linear("fc", "pool", CLASSES, False, False)]


def _mobile() -> list[dict]:
    nodes, last, width = [_conv("conv1", "input", 16, sparse=False)], "conv1", 16
    for i, (out, stride) in enumerate(((32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (128, 1)), 1):
        nodes.append(_conv(f"block{i}.depthwise", last, width, stride=stride, depthwise=True, sparse=False))
        nodes.append(_conv(f"block{i}.pointwise", f"block{i}.depthwise", out, kernel=1))
        last, width = f"block{i}.pointwise", out
    return [*nodes, {"op": "avgpool", "name": "pool", "src": last}, _linear("fc", "pool", CLASSES, False, False)]


def graph(architecture: str) -> list[dict]:
    """Nodes of one of :data:`ARCHITECTURES`, in execution order."""
    return {"vggdigits": _vgg, "resnetdigits": _resnet, "mobiledigits": _mobile}[architecture]()


@dataclass(frozen=True)
class SmallCnn:
    """A trained network: nodes, float32 weights ``(M, C/g, K, K)`` or ``(M, C)`` and biases by node name."""

    name: str
    nodes: list[dict]
    weights: dict[str, np.ndarray]
    biases: dict[str, np.ndarray]

    def network(self) -> Network:
        """Shapes of the weighted layers, in execution order."""
        layers, size, channels = [], {"input": SIZE}, {"input": 3}
        for node in self.nodes:
            name, src = node["name"], node["src"]
            side, width = size[src], channels[src]
            if node["op"] == "conv":
                layer = Layer(name, "conv", width, node["out"], side, side, node["kernel"], node["kernel"],
                              node["stride"], node["kernel"] // 2, groups=width if node["depthwise"] else 1, bias=True,
                              sparse_weights=node["sparse"])
                layers.append(layer)
                side, width = layer.out_h, node["out"]
            elif node["op"] == "linear":
                layers.append(Layer(name, "linear", width * side * side, node["out"], bias=True,
                                    sparse_weights=node["sparse"]))
                side, width = 1, node["out"]
            else:
                side = {"maxpool": side // 2, "avgpool": 1, "add": side}[node["op"]]
            size[name], channels[name] = side, width
        return Network(self.name, tuple(layers), {"source": "trained here; see the sidecar"})

    def forward(self, images: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Logits and the input activations of every weighted layer.

        Parameters
        ----------
        images : ndarray, float32, shape (n, 3, 32, 32)
            Pixels in [0, 1].

        Returns
        -------
        logits : ndarray, float32, shape (n, 12)
        inputs : dict of ndarray, float32, shape (n, C, H, W) or (n, C)
            What each convolution and linear layer reads, by layer name.
        """
        values = {"input": (images.astype(np.float32) - np.float32(PIXEL_MEAN)) / np.float32(PIXEL_STD)}
        inputs, value = {}, None
        for node in self.nodes:
            name, value = node["name"], values[node["src"]]
            if node["op"] in ("conv", "linear"):
                if node["op"] == "linear":
                    value = np.ascontiguousarray(value.reshape(len(value), -1))
                inputs[name] = value
                value = self._weighted(node, value)
            elif node["op"] == "maxpool":
                n, c, h, w = value.shape
                value = value.reshape(n, c, h // 2, 2, w // 2, 2).max(axis=(3, 5))
            elif node["op"] == "avgpool":
                value = value.mean(axis=(2, 3))
            else:
                value = np.maximum(value + values[node["with"]], 0)
            values[name] = value
        return value, inputs

    def _weighted(self, node: dict, x: np.ndarray) -> np.ndarray:
        weight, bias = self.weights[node["name"]], self.biases[node["name"]]
        if node["op"] == "linear":
            out = x @ weight.T + bias
        else:
            kernel, stride = node["kernel"], node["stride"]
            pad = kernel // 2
            x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
            windows = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), axis=(2, 3))
            windows = windows[:, :, ::stride, ::stride]
            if node["depthwise"]:
                out = np.einsum("nchwij,cij->nchw", windows, weight[:, 0], optimize=True)
            else:
                out = np.ascontiguousarray(np.tensordot(windows, weight, ([1, 4, 5], [1, 2, 3])).transpose(0, 3, 1, 2))
            out = out + bias[:, None, None]
        return np.maximum(out, 0) if node["relu"] else out


def load(architecture: str, pattern: str) -> SmallCnn:
    """One of the trained networks under ``data/models``.

    Parameters
    ----------
    architecture : {"vggdigits", "resnetdigits", "mobiledigits"}
    pattern : {"random", "nm", "channel"}
        How half of the prunable weights were removed: smallest magnitude anywhere, two of every four
        consecutive input channels, or whole output channels.
    """
    if architecture not in ARCHITECTURES:
        raise ValueError(f"architecture: expected one of {ARCHITECTURES}, got {architecture!r}")
    if pattern not in PATTERNS:
        raise ValueError(f"pattern: expected one of {PATTERNS}, got {pattern!r}")
    path = data_dir() / "models" / f"{architecture}_{pattern}.npz"
    with np.load(path, allow_pickle=False) as file:
        nodes = json.loads(str(file["graph"]))
        names = [node["name"] for node in nodes if node["op"] in ("conv", "linear")]
        missing = [n for n in names if f"weight/{n}" not in file or f"bias/{n}" not in file]
        if missing:
            raise FormatError(f"{path.name}: expected weights and biases of every layer, got none for {missing}")
        weights = {n: file[f"weight/{n}"].astype(np.float32) for n in names}
        biases = {n: file[f"bias/{n}"].astype(np.float32) for n in names}
    return SmallCnn(f"{architecture}/{pattern}", nodes, weights, biases)


def save(model: SmallCnn, path: object) -> None:
    """Write a network as float16 arrays; `load` reads it back."""
    arrays = {"graph": np.array(json.dumps(model.nodes, separators=(",", ":")))}
    for name, weight in model.weights.items():
        arrays[f"weight/{name}"] = weight.astype(np.float16)
        arrays[f"bias/{name}"] = model.biases[name].astype(np.float16)
    np.savez_compressed(path, **arrays)
