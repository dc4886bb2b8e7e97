"""Zero masks and counts: bandwidth-bound away from the first caches, so the yardstick is a probe that only reads.

The probe ORs everything it reads; in L1 and L2 the instructions bound packing and counting, and the attainable time is
what the counted instructions allow at the clock measured in the run: per 64 bytes of input, on two 512-bit or three
256-bit ports (csrc/kernels/count_isa.c). The Eyeriss-V2 rows time whole samples, masks ready.
"""

import numpy as np

from dnnsched import accel, config, kernels, networks
from dnnsched._native import _kernels

from . import board

LINE = 64
BOUND_CYCLES = {"avx512": {"pack": 1.0, "count": 1.5}, "avx2": {"pack": 2.25, "count": 2.0}}


def clock_hz():
    """Clock of this core now, from dependent multiplications of three cycles each."""
    n = 2_000_000
    return 3 * n / min(board.timed(lambda: _kernels.multiply_chain(n), 1) for _ in range(5))


def repeated(block, target):
    """Rows that all are the same block: small caches are measured without the cost of a call per pass."""
    n = max(1, target // block.nbytes)
    return np.lib.stride_tricks.as_strided(block, (n, block.size), (0, block.itemsize), writeable=False)


def conv_masks(layer, rng, density=0.5):
    """Packed activation mask and weight counts of one layer."""
    shape = (layer.in_channels,) if layer.kind == "linear" else (layer.in_channels, layer.in_h, layer.in_w)
    act = kernels.pack_mask(rng.random(shape, np.float32) < density)
    full = (layer.out_channels, layer.in_channels // layer.groups)
    full += () if layer.kind == "linear" else (layer.kernel_h, layer.kernel_w)
    return act, kernels.weight_counts(rng.random(full, np.float32) < 0.8, layer.groups)


def bandwidth_rows(isa):
    """Packing and counting at each memory level."""
    level = config.ISA_LEVELS.index(isa)
    table = BOUND_CYCLES.get("avx512" if isa.startswith("a") and isa != "avx2" else isa, {})
    caches = kernels.machine().cache_bytes
    places = (("L1", caches[0] // 2), ("L2", caches[1] // 2), ("L3", min(8 * caches[1], caches[2] // 2)),
              ("DRAM", 1 << 29))
    for place, size in places:
        block = np.maximum(np.random.default_rng(0).standard_normal(size // 4, np.float32), 0)
        x = repeated(block, 4 << 20)
        bits, counts = np.empty((len(x), -(-block.size // 64)), np.uint64), np.empty(len(x), np.uint64)
        total = len(x) * block.nbytes
        clock = clock_hz()
        far = place in ("L3", "DRAM")
        ours = {"pack": lambda x=x, b=bits: _kernels.pack_f32(x, 0.0, b, level),
                "count": lambda x=x, c=counts: _kernels.nonzeros_f32(x, 0.0, c, level)}
        for what, function in ours.items():
            bound = total / LINE * table[what] / clock if what in table and not far else None
            yield board.Row(f"{what} {place}", function, lambda x=x: _kernels.read_all(x, level), "read probe",
                            gate=0.8 if far else None, attainable_s=bound)
        yield board.Row(f"count {place}", ours["count"], lambda x=x: np.count_nonzero(x), "numpy.count_nonzero")


def rows(isa):
    """The scoreboard's rows."""
    yield from bandwidth_rows(isa)
    rng = np.random.default_rng(1)
    device = accel.EyerissV2("artifact")
    for name in ("resnet50", "vgg16", "mobilenet_v1"):
        net = networks.get(name)
        acts, counts = zip(*(conv_masks(layer, rng) for layer in net), strict=True)
        yield board.Row(f"valid MACs {name}, {len(net)} layers",
                        lambda net=net, a=acts, w=counts: [kernels.valid_macs(a[i], w[i], net[i]) for i in
                                                           range(len(net))])
        yield board.Row(f"Eyeriss-V2 sample {name}",
                        lambda net=net, a=acts, w=counts: device.network(net, list(a), list(w)))
