"""What fraction of the roofline each format's kernel attains: `python benchmarks/fit_attained.py [--isa LEVEL]`.

The constants of `kernels.autotune`'s cost model. For layers of published networks, densities and numbers of vectors
each format multiplies a matrix of its own pattern (dense: any; CSR: single weights; BSR: blocks 4 x 1), one thread,
CPU time, the least of several series. Printed: the median of roofline / time with at least eight vectors and with
fewer, and how far single cases lie from it. Run it on a quiet machine.
"""

import argparse
import statistics
import sys

import numpy as np
from kernels import board

from dnnsched import config, kernels

SHAPES = {"ResNet-50 3x3": (256, 2304), "MobileNet 1x1": (512, 512), "BERT FFN": (3072, 768),
          "BERT FFN back": (768, 3072)}
DENSITIES = (0.5, 0.3, 0.2, 0.1, 0.05)
WIDE, NARROW = (49, 128, 256), (1, 2, 4)
PRUNED = {"csr": {"pattern": "unstructured"}, "bsr": {"pattern": "block", "block": (4, 1)}}


def matrix(name, m, k, density, rng):
    """Random weights in the pattern of a format."""
    w = rng.standard_normal((m, k)).astype(np.float32)
    return w if name == "dense" else w * kernels.prune(w, density, **PRUNED[name])


def fractions(name, isa, machine):
    """Roofline / time of every case, wide and narrow."""
    rng, found = np.random.default_rng(0), ([], [])
    for m, k in SHAPES.values():
        for density in (1.0,) if name == "dense" else DENSITIES:
            plan = getattr(kernels, name)(matrix(name, m, k, density, rng), isa=isa)
            for narrow, ns in enumerate((WIDE, NARROW)):
                for n in ns:
                    x, out = rng.random((k, n), np.float32), np.empty((m, n), np.float32)

                    def call(plan=plan, x=x, out=out):
                        plan.matmul(x, out=out)

                    count = board.repeats_for(call, 0.01)
                    seconds = min(board.timed(call, count) for _ in range(7))
                    found[narrow].append(kernels.roofline(plan, n, machine) / seconds)
    return found


def main(argv=None):
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--isa", choices=config.runnable_isa_levels())
    options = parser.parse_args(argv)
    machine = kernels.machine(measure=True, isa=options.isa)
    print(f"{config.info()['cpu']}, {options.isa or config.isa()}")
    for name in ("dense", *PRUNED):
        parts = []
        for values in fractions(name, options.isa, machine):
            low, middle, high = statistics.quantiles(values, n=4)
            parts.append(f"{middle:.2f} (quartiles {low:.2f} to {high:.2f}, {len(values)} cases)")
        print(f"{name:6s} n >= 8: {parts[0]};  n < 8: {parts[1]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
