"""Convolutions beside torch's, in both of its layouts, and beside NumPy's im2col.

The gates of the sparse rows are against the faster of torch's two layouts, same image, dense weights. Attainable is the
roofline of the work that the plan counts.
"""

import numpy as np

from dnnsched import kernels

from . import board
from .data import onnx_call

# channels and outputs, height and width, {sparsity: gate}
SPARSE = ((128, 28, {0.7: 1.3, 0.8: 1.8, 0.9: 3.0, 0.95: 5.0}),
          (256, 14, {0.7: 1.3, 0.8: 1.8, 0.9: 3.0, 0.95: 5.0}),
          (512, 14, {0.7: 1.3, 0.8: 1.8, 0.9: 3.0, 0.95: 5.0}),
          (64, 56, {0.7: 1.2, 0.8: 1.5, 0.9: 2.5, 0.95: 3.8}))
DEPTHWISE = ((128, 56, 3), (512, 14, 3), (128, 56, 5))
DENSE = ((64, 56, 3), (128, 28, 3), (256, 14, 3), (512, 7, 3), (256, 28, 1))


def layer(c, size, kernel, groups=1):
    """(weights, one image, result) of a layer that keeps the image's size."""
    rng = np.random.default_rng(0)
    w = rng.standard_normal((c, c // groups, kernel, kernel), np.float32)
    shape = 1, c, size, size
    return board.aligned(w), board.aligned(rng.standard_normal(shape, np.float32)), board.aligned(shape)


def torch_conv(w, x, groups, last):
    """The torch call, None where torch is not installed."""
    torch = board.peer("torch")
    if torch is None:
        return None
    form = torch.channels_last if last else torch.contiguous_format
    weight, image = (torch.from_numpy(a).contiguous(memory_format=form) for a in (w, x))
    padding = w.shape[2] // 2

    def call():
        with torch.inference_mode():
            return torch.nn.functional.conv2d(image, weight, padding=padding, groups=groups)

    return call


def faster_torch(w, x, groups=1, seconds=0.05):
    """(name, function or None) of torch's faster layout."""
    best = []
    for name, last in (("torch NCHW", False), ("torch channels_last", True)):
        f = torch_conv(w, x, groups, last)
        if f is None:
            return "torch", None
        count = board.repeats_for(f, seconds)
        best.append((min(board.timed(f, count) for _ in range(5)), name, f))
    _, name, function = min(best, key=lambda item: item[0])
    return name, function


def numpy_conv(w, x):
    """im2col and matmul in NumPy."""
    o, _, kernel, _ = w.shape
    flat, pad = w.reshape(o, -1), kernel // 2

    def call():
        padded = np.pad(x[0], ((0, 0), (pad, pad), (pad, pad)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(1, 2))
        return flat @ np.ascontiguousarray(windows.transpose(0, 3, 4, 1, 2)).reshape(flat.shape[1], -1)

    return call


def sparse_rows(isa):
    """Direct sparse convolution."""
    for c, size, gates in SPARSE:
        w, x, out = layer(c, size, 3)
        name, peer = faster_torch(w, x)
        for sparsity, gate in gates.items():
            pruned = np.where(kernels.prune(w, 1 - sparsity), w, np.float32(0))
            plan = kernels.conv2d(pruned, x.shape, padding=1, format="csr", isa=isa)
            yield board.Row(f"sparse 3x3 {c}x{size}^2 sparsity {sparsity:g}", lambda p=plan, x=x, o=out: p(x, out=o),
                            peer, name, gate=gate, flops=2.0 * plan.nnz * size * size, plan=plan, n=1,
                            skipped=None if peer else "torch is not installed")


def depthwise_rows(isa):
    """Depthwise convolution in both layouts, each beside torch channels_last; the first beside torch's NCHW too."""
    for c, size, kernel in DEPTHWISE:
        w, x, out = layer(c, size, kernel, groups=c)
        for layout, last in (("nchw", False), ("nhwc", True)):
            image = np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if last else x
            result = board.aligned(image.shape, np.float32)
            plan = kernels.conv2d(w, image.shape, padding=kernel // 2, groups=c, layout=layout, isa=isa)
            for peer_last in (True, False):
                peer = torch_conv(w, x, c, peer_last)
                yield board.Row(f"depthwise {kernel}x{kernel} {c}x{size}^2 {layout}",
                                lambda p=plan, x=image, o=result: p(x, out=o), peer,
                                "torch channels_last" if peer_last else "torch NCHW",
                                gate=1.0 if peer_last and kernel == 3 else None,
                                goal=2.0 if peer_last and kernel == 3 else None,
                                flops=2.0 * out.size * kernel * kernel, plan=plan, n=1,
                                skipped=None if peer else "torch is not installed")


def dense_rows(isa):
    """All weights, by im2col (whose product belongs to OpenBLAS) and in the format that is taken: goals, no gates."""
    for c, size, kernel in DENSE:
        w, x, out = layer(c, size, kernel)
        plans = {f: kernels.conv2d(w, x.shape, padding=kernel // 2, format=f, isa=isa) for f in ("im2col", "dense")}
        name, peer = faster_torch(w, x)
        for form, plan in plans.items():
            common = {"ours": lambda p=plan, x=x, o=out: p(x, out=o), "flops": 2.0 * plan.nnz * size * size,
                      "plan": plan, "n": 1}
            work = f"{form} {kernel}x{kernel} {c}x{size}^2"
            yield board.Row(work, peer=peer, peer_name=name, goal=1 / 1.3,
                            skipped=None if peer else "torch is not installed", **common)
        ort = onnx_call("Conv", {"x": x}, {"w": w}, {"pads": [kernel // 2] * 4})
        yield board.Row(work, peer=ort, peer_name="onnxruntime",
                        skipped=None if ort else "onnxruntime or onnx is not installed", **common)
        yield board.Row(work, peer=numpy_conv(w, x), peer_name="numpy im2col", goal=2.0, **common)


def rows(isa):
    """The scoreboard's rows."""
    yield from sparse_rows(isa)
    yield from depthwise_rows(isa)
    yield from dense_rows(isa)
