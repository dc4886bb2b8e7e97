"""Weights, inputs and dense peers that several families share."""

import numpy as np

from dnnsched import kernels

from . import board


def sparse_weights(m, k, density, seed=0):
    """Normal weights at uniformly random places, exact count."""
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((m, k), np.float32)
    return np.where(kernels.prune(w, density, rng=seed), w, np.float32(0))


def inputs(k, n, seed=1):
    """Normal inputs, one vector per column."""
    return board.aligned(np.random.default_rng(seed).standard_normal((k, n), np.float32))


def dense_peers(w, x):
    """(name, function) of each dense product that is installed, same shape."""
    plan, out = kernels.dense(w), np.empty((len(w), x.shape[1]), np.float32)
    yield "dense OpenBLAS", lambda: plan.matmul(x, out=out)
    torch = board.peer("torch")
    if torch is not None:
        a, b, c = torch.from_numpy(w), torch.from_numpy(x), torch.from_numpy(board.aligned(out.shape))
        yield "dense torch.mm", lambda: torch.mm(a, b, out=c)


def faster_dense(w, x, seconds=0.1):
    """The faster of the dense products: the yardstick of a sparse one."""
    best = {}
    for name, f in dense_peers(w, x):
        count = board.repeats_for(f, seconds / 5)
        best[min(board.timed(f, count) for _ in range(5)), name] = f
    (_, name), function = min(best.items(), key=lambda item: item[0][0])
    return name, function


def onnx_call(op, feeds, weights, attributes=None, domain=""):
    """onnxruntime's execution of one operator on one thread; None where it or `onnx` is not installed.

    `feeds` (the first inputs) and `weights` (the rest, constants that it may pack once) map names to arrays.
    """
    ort, onnx = board.peer("onnxruntime"), board.peer("onnx")
    if ort is None or onnx is None:
        return None
    helper = onnx.helper
    node = helper.make_node(op, [*feeds, *weights], ["y"], domain=domain, **(attributes or {}))
    inputs = [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
              for name, a in feeds.items()]
    result = helper.make_value_info("y", onnx.TypeProto())
    graph = helper.make_graph([node], "peer", inputs, [result],
                              [onnx.numpy_helper.from_array(a, name) for name, a in weights.items()])
    versions = [helper.make_opsetid("", 21)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = helper.make_model(graph, opset_imports=versions, ir_version=10)
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, feeds)
