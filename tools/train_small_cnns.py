"""Train, prune and fine-tune the small CNNs of dnnsched/_small_cnn.py. Needs PyTorch and scikit-learn.

One dense network per architecture, then half of the prunable weights removed at once in each of three patterns and
fine-tuned; batch normalisation is folded and the result rounded to float16. One thread and fixed seeds: the same
machine and PyTorch version give the same files (another instruction set may round differently).
"""

import numpy as np
import small_images
import torch
from torch import nn
from torch.nn import functional as F

from dnnsched import _small_cnn, kernels

SPARSITY = 0.5
#: What dnnsched.kernels.prune calls the patterns; N:M is 2:4.
KIND = {"random": "unstructured", "nm": "nm", "channel": "channel"}
BATCH = 64
DENSE_EPOCHS, TUNE_EPOCHS = 10, 4


class Net(nn.Module):
    """The graph with batch normalisation; `masks` multiplies weights, `alive` output channels."""

    def __init__(self, nodes, shapes):
        super().__init__()
        self.nodes = nodes
        self.core, self.norm = nn.ModuleDict(), nn.ModuleDict()
        self.masks, self.alive = {}, {}
        for node in nodes:
            layer = shapes.get(node["name"])
            if layer is None:
                continue
            key = node["name"].replace(".", "_")
            if layer.kind == "conv":
                self.core[key] = nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel_h, layer.stride,
                                           layer.padding, groups=layer.groups, bias=False)
                self.norm[key] = nn.BatchNorm2d(layer.out_channels)
            else:
                self.core[key] = nn.Linear(layer.in_channels, layer.out_channels)

    def forward(self, x):
        values = {"input": (x - _small_cnn.PIXEL_MEAN) / _small_cnn.PIXEL_STD}
        for node in self.nodes:
            key, x = node["name"].replace(".", "_"), values[node["src"]]
            if node["op"] == "maxpool":
                x = F.max_pool2d(x, 2)
            elif node["op"] == "avgpool":
                x = x.mean(dim=(2, 3))
            elif node["op"] == "add":
                x = F.relu(x + values[node["with"]])
            else:
                x = self.core[key](x.flatten(1) if node["op"] == "linear" else x)
                x = self.norm[key](x) if key in self.norm else x
                if key in self.alive:
                    x = x * self.alive[key].view(1, -1, *[1] * (x.ndim - 2))
                x = F.relu(x) if node["relu"] else x
            values[node["name"]] = x
        return x

    @torch.no_grad()
    def apply_masks(self):
        """Set pruned weights back to zero after an optimiser step."""
        for key, mask in self.masks.items():
            self.core[key].weight.mul_(mask)

    @torch.no_grad()
    def prune(self, pattern):
        """Choose the masks of one pattern from the magnitudes of the weights."""
        for node in self.nodes:
            key = node["name"].replace(".", "_")
            if node["op"] not in ("conv", "linear") or not node["sparse"]:
                if node.get("depthwise") and (src := node["src"].replace(".", "_")) in self.alive:
                    self.alive[key] = self.alive[src]
                continue
            weight = self.core[key].weight.numpy()
            keep = kernels.prune(weight, 1 - SPARSITY, KIND[pattern], m=4)
            if pattern == "channel":
                self.alive[key] = torch.from_numpy(keep.reshape(len(keep), -1).any(axis=1)).float()
            self.masks[key] = torch.from_numpy(keep).float()
        self.apply_masks()


def fit(net, images, labels, epochs, rate, seed):
    """Adam with a cosine learning rate and cross entropy."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(net.parameters(), rate, weight_decay=1e-4)
    steps = epochs * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    net.train()
    for _ in range(epochs):
        order = torch.randperm(len(images), generator=generator)
        for start in range(0, len(images) - BATCH + 1, BATCH):
            batch = order[start:start + BATCH]
            optimiser.zero_grad()
            F.cross_entropy(net(images[batch]), labels[batch]).backward()
            optimiser.step()
            schedule.step()
            net.apply_masks()
    net.eval()
    return net


@torch.no_grad()
def fold(net, name):
    """Fold batch normalisation and round to float16."""
    weights, biases = {}, {}
    for node in net.nodes:
        key = node["name"].replace(".", "_")
        if key not in net.core:
            continue
        weight = net.core[key].weight.double()
        if key in net.norm:
            norm = net.norm[key]
            scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
            bias = norm.bias.double() - norm.running_mean.double() * scale
            weight = weight * scale.view(-1, 1, 1, 1)
        else:
            bias = net.core[key].bias.double()
        if key in net.alive:
            weight = weight * net.alive[key].view(-1, *[1] * (weight.ndim - 1))
            bias = bias * net.alive[key]
        weights[node["name"]] = weight.numpy().astype(np.float16).astype(np.float32)
        biases[node["name"]] = bias.numpy().astype(np.float16).astype(np.float32)
    return _small_cnn.SmallCnn(name, net.nodes, weights, biases)


def train_all(seed=0, report=print):
    """Yield the nine trained networks, architecture by architecture."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    images, labels, _, _ = small_images.load("train")
    images, labels = torch.from_numpy(images), torch.from_numpy(labels)
    for architecture in _small_cnn.ARCHITECTURES:
        nodes = _small_cnn.graph(architecture)
        shapes = {layer.name: layer for layer in _small_cnn.SmallCnn(architecture, nodes, {}, {}).network()}
        torch.manual_seed(seed)
        dense = fit(Net(nodes, shapes), images, labels, DENSE_EPOCHS, 3e-3, seed)
        report(f"{architecture}: dense network trained")
        for pattern in _small_cnn.PATTERNS:
            net = Net(nodes, shapes)
            net.load_state_dict(dense.state_dict())
            net.prune(pattern)
            fit(net, images, labels, TUNE_EPOCHS, 1e-3, seed + 1)
            yield fold(net, f"{architecture}/{pattern}")
