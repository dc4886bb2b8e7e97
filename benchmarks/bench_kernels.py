"""Scoreboard of the count kernels and the Eyeriss-V2 model: `python benchmarks/bench_kernels.py [--json FILE]`.

Packing and zero counting are bandwidth-bound away from the first caches, so their yardstick is the
read bandwidth measured by a probe of the same shape (a loop that ORs everything it reads) in the same
run and at the same size; the peer is NumPy's count_nonzero. In L1 and L2 the instructions bound them:
the table prints what the counted bound allows at the clock measured in this run.

Every figure is the minimum over repeats; probe, kernel and peer are timed in turn, so that a change of
clock or a noisy neighbour meets all of them. The probe runs once more at the end, and rows whose
bandwidth drifted by more than 10 % are marked noisy.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from dnnsched import accel, config, kernels, networks
from dnnsched._native import _kernels

LINE = 64
# Cycles per 64 bytes of input that the listed instructions need on their ports (two 512-bit ports, three 256-bit,
# mask compares on one): see csrc/kernels/count_isa.c.
BOUND_CYCLES = {"avx512": {"pack": 1.0, "count": 1.5}, "avx2": {"pack": 2.25, "count": 2.0}}


def cache_sizes():
    """Bytes of L1d, L2 and L3 of cpu 0; typical values where the system does not say."""
    sizes = {1: 32 << 10, 2: 1 << 20, 3: 32 << 20}
    for folder in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            if (folder / "type").read_text().strip() != "Instruction":
                text = (folder / "size").read_text().strip()
                sizes[int((folder / "level").read_text())] = int(text[:-1]) << {"K": 10, "M": 20}[text[-1]]
        except (OSError, ValueError, KeyError):
            pass
    return sizes


def in_turn(functions, seconds=0.3):
    """Minimum time of each function, called in turn."""
    for f in functions:
        f()
    best = [float("inf")] * len(functions)
    stop = time.perf_counter() + seconds * len(functions)
    rounds = 0
    while rounds < 5 or time.perf_counter() < stop:
        for i, f in enumerate(functions):
            start = time.perf_counter()
            f()
            best[i] = min(best[i], time.perf_counter() - start)
        rounds += 1
    return best


def repeated(block, target):
    """Rows that all are the same block: small caches are measured without the cost of a call per pass."""
    rows = max(1, target // block.nbytes)
    return np.lib.stride_tricks.as_strided(block, (rows, block.size), (0, block.itemsize), writeable=False)


def clock_hz():
    """Clock of this core now, from dependent multiplications of three cycles each."""
    n = 2_000_000
    return 3 * n / in_turn([lambda: _kernels.multiply_chain(n)], 0.05)[0]


def bandwidth_rows(isa):
    """One row per memory level: read, pack and count in GB/s, and NumPy."""
    level = config.ISA_LEVELS.index(isa)
    sizes = cache_sizes()
    places = [("L1", sizes[1] // 2), ("L2", sizes[2] // 2), ("L3", min(8 * sizes[2], sizes[3] // 2)),
              ("DRAM", 1 << 30)]
    rng = np.random.default_rng(0)
    rows = []
    for place, size in places:
        block = np.maximum(rng.standard_normal(size // 4, np.float32), 0)
        x = repeated(block, 4 << 20)
        few = x[: max(1, x.shape[0] // 4)]
        bits = np.empty((x.shape[0], -(-block.size // 64)), np.uint64)
        counts = np.empty(x.shape[0], np.uint64)

        def read(x=x):
            _kernels.read_all(x, level)

        times = in_turn([read, lambda x=x, b=bits: _kernels.pack_f32(x, 0.0, b, level),
                         lambda x=x, c=counts: _kernels.nonzeros_f32(x, 0.0, c, level),
                         lambda few=few: np.count_nonzero(few)])
        again = in_turn([read], 0.2)[0]
        total = x.shape[0] * block.nbytes / 1e9
        row = {"level": place, "isa": isa, "bytes": size, "read": total / times[0], "pack": total / times[1],
               "count": total / times[2], "numpy": few.shape[0] * block.nbytes / 1e9 / times[3],
               "noisy": abs(again / times[0] - 1) > 0.1}
        bound = BOUND_CYCLES.get(isa) if place in ("L1", "L2") else None
        clock = clock_hz() if bound else None
        for what in ("pack", "count"):
            row[what + "_of_read"] = row[what] / row["read"]
            row[what + "_bound"] = clock * LINE / bound[what] / 1e9 if bound else None
        rows.append(row)
    return rows


def conv_masks(layer, rng, density=0.5):
    """Packed activation mask and weight counts of one layer."""
    shape = (layer.in_channels,) if layer.kind == "linear" else (layer.in_channels, layer.in_h, layer.in_w)
    act = kernels.pack_mask(rng.random(shape, np.float32) < density)
    full = (layer.out_channels, layer.in_channels // layer.groups)
    full += () if layer.kind == "linear" else (layer.kernel_h, layer.kernel_w)
    return act, kernels.weight_counts(rng.random(full, np.float32) < 0.8, layer.groups)


def model_rows():
    """Valid-MAC counting per layer and the cost of whole samples, masks ready."""
    rng = np.random.default_rng(1)
    rows = []
    for name in ("resnet50", "vgg16", "mobilenet_v1"):
        net = networks.get(name)
        masks = [conv_masks(layer, rng) for layer in net]
        acts, counts = [m[0] for m in masks], [m[1] for m in masks]
        per_layer = [in_turn([lambda a=a, w=w, x=layer: kernels.valid_macs(a, w, x)], 0.02)[0]
                     for layer, a, w in zip(net, acts, counts, strict=True)]
        dense = rng.random((net[1].in_channels, net[1].in_h, net[1].in_w), np.float32)
        device = accel.EyerissV2("artifact")
        sample, pack = in_turn([lambda n=net, a=acts, w=counts, d=device: d.network(n, a, w),
                                lambda d=dense: kernels.pack_mask(d)])
        ns = np.array(per_layer) * 1e9
        rows.append({"network": name, "layers": len(net), "valid_macs_ns_min": ns.min(),
                     "valid_macs_ns_median": float(np.median(ns)), "valid_macs_ns_max": ns.max(),
                     "sample_ms": sample * 1e3, "pack_layer_GBps": dense.nbytes / 1e9 / pack})
    return rows


def report(bandwidth, models):
    """Print the scoreboard."""
    def percent(x):
        return f"{100 * x:4.0f} %"

    print(f"\n{'':5s} {'isa':8s} {'KiB':>8s} {'read':>7s} {'pack':>7s} {'of read':>7s} {'count':>7s} {'of read':>7s} "
          f"{'numpy':>7s}  counted bound (GB/s)")
    for r in bandwidth:
        bound = "pack {pack_bound:.0f}, count {count_bound:.0f}".format(**r) if r["pack_bound"] else ""
        print(f"{r['level']:5s} {r['isa']:8s} {r['bytes'] >> 10:8d} {r['read']:7.1f} {r['pack']:7.1f} "
              f"{percent(r['pack_of_read']):>7s} {r['count']:7.1f} {percent(r['count_of_read']):>7s} {r['numpy']:7.1f}"
              f"  {bound}{' NOISY' if r['noisy'] else ''}")
    print("\nvalid products per layer, masks and weight counts ready (ns, Python call included); Eyeriss-V2 per sample")
    for m in models:
        print(f"{m['network']:13s} {m['layers']:3d} layers  min {m['valid_macs_ns_min']:7.0f}  median "
              f"{m['valid_macs_ns_median']:7.0f}  max {m['valid_macs_ns_max']:8.0f}   sample {m['sample_ms']:.3f} ms   "
              f"pack second layer {m['pack_layer_GBps']:.1f} GB/s")


def main():
    """Run everything and print or save it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--json", metavar="FILE", help="also write the figures and the machine to FILE")
    parser.add_argument("--isa", choices=config.runnable_isa_levels(), action="append", help="levels (default: all)")
    args = parser.parse_args()
    info = config.info()
    print(f"{info['cpu']}, {os.cpu_count()} cores, caches "
          + ", ".join(f"L{k} {v >> 10} KiB" for k, v in cache_sizes().items()) + f", NumPy {info['numpy']}")
    bandwidth = [row for isa in args.isa or reversed(config.runnable_isa_levels()) for row in bandwidth_rows(isa)]
    models = model_rows()
    report(bandwidth, models)
    if args.json:
        record = {"machine": info, "bandwidth": bandwidth, "models": models}
        Path(args.json).write_text(json.dumps(record, indent=1, default=float) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
