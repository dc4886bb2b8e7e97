"""What fraction of the roofline each format's kernel attains: `python benchmarks/fit_attained.py [--isa LEVEL]`.

The constants of `kernels.autotune`'s cost model. For layers of published networks, densities and numbers of vectors
each format multiplies a matrix of its own pattern (dense: any; CSR: single weights; BSR: blocks 4 x 1), one thread,
CPU time, the least of several series. Printed: the median of roofline / time with at least eight vectors and with
fewer, and how far single cases lie from it. Then the same of convolutions of single images, from image to result. Run
it on a quiet machine.
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
WIDE, NARROW = (128, 256), (1, 2, 4)
# Input and output channels, size, kernel, stride
CONVS = ((3, 64, 224, 7, 2), (64, 64, 56, 3, 1), (128, 128, 28, 3, 1), (256, 256, 14, 3, 1), (512, 512, 7, 3, 1),
         (128, 128, 56, 3, 2), (256, 512, 28, 1, 2))
DEPTHWISE = ((32, 112, 1), (128, 56, 1), (256, 28, 2), (512, 14, 1), (1024, 7, 1))
PRUNED = {"csr": {"pattern": "unstructured"}, "bsr": {"pattern": "block", "block": (4, 1)}}


def matrix(name, m, k, density, rng):
    """Random weights in the pattern of a format."""
    w = rng.standard_normal((m, k)).astype(np.float32)
    return w if name == "dense" else w * kernels.prune(w, density, **PRUNED[name])


def attained(plan, n, call, machine):
    """Roofline / least time of several series."""
    count = board.repeats_for(call, 0.01)
    return kernels.roofline(plan, n, machine) / min(board.timed(call, count) for _ in range(7))


def convolutions(name, isa, machine):
    """Roofline / time of convolutions in a format."""
    rng, found = np.random.default_rng(0), []
    cases = CONVS if name != "depthwise" else [(c, c, size, 3, stride) for c, size, stride in DEPTHWISE]
    for c, o, size, kernel, stride in cases:
        groups = c if name == "depthwise" else 1
        for density in DENSITIES if name == "csr" else (1.0,):
            w = rng.standard_normal((o, c // groups, kernel, kernel)).astype(np.float32)
            w *= kernels.prune(w, density)
            plan = kernels.conv2d(w, (c, size, size), stride=stride, padding=kernel // 2, groups=groups, format=name,
                                  isa=isa)
            x, out = rng.random((1, c, size, size), np.float32), np.empty((1, *plan.out_shape), np.float32)
            found.append(attained(plan, 1, lambda plan=plan, x=x, out=out: plan(x, out=out), machine))
    return found


def summary(values):
    """Median, quartiles and number."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.2f} (quartiles {low:.2f} to {high:.2f}, {len(values)} cases)"


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

                    found[narrow].append(attained(plan, n, call, machine))
    return found


def main(argv=None):
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--isa", choices=config.runnable_isa_levels())
    options = parser.parse_args(argv)
    machine = kernels.machine(measure=True, isa=options.isa)
    print(f"{config.info()['cpu']}, {options.isa or config.isa()}")
    for name in ("dense", *PRUNED):
        wide, narrow = fractions(name, options.isa, machine)
        print(f"{name:6s} n >= 8: {summary(wide)};  n < 8: {summary(narrow)}")
    for name in ("im2col", "direct", "csr", "depthwise"):
        print(f"convolution {name:9s} {summary(convolutions(name, options.isa, machine))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
