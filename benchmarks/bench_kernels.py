"""Scoreboard of the kernels beside their peers: `python benchmarks/bench_kernels.py [FAMILY ...] [--json FILE]`.

Each family is a module of benchmarks/kernels; benchmarks/kernels/board.py tells how figures are taken and what the
columns mean. One thread, pinned. The machine model is measured before and after; a run in which it drifted by more
than 10 % proves nothing and says so. Peers that are not installed are skipped by name:
`pip install torch scipy faiss-cpu onnxruntime onnx mkl`.
"""

import argparse
import importlib
import json
import os
import sys
from pathlib import Path

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):  # of NumPy's and the peers' own libraries
    os.environ[name] = "1"

sys.path.insert(0, str(Path(__file__).resolve().parent))  # also where the interpreter leaves it out

from kernels import board  # noqa: E402

from dnnsched import config  # noqa: E402
from dnnsched import kernels as ds_kernels  # noqa: E402


def describe(machine):
    """One line of rates."""
    bandwidth = ", ".join(f"{name} {rate / 1e9:.0f}" for name, rate in zip(("L1", "L2", "L3", "DRAM"),
                                                                           machine.bytes_per_s, strict=True))
    return f"{machine.isa}: {machine.flops_per_s / 1e9:.0f} GF fp32; read GB/s {bandwidth}"


def main(argv=None):
    """Run the chosen families; exit code 1 when a gate is missed by a row that is not noisy."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("families", nargs="*", metavar="FAMILY", help=f"of {', '.join(board.families())} (default all)")
    parser.add_argument("--isa", choices=config.runnable_isa_levels(), help="instruction-set level (default: in use)")
    parser.add_argument("--only", metavar="TEXT", help="rows whose work or peer contains TEXT")
    parser.add_argument("--seconds", type=float, default=0.6, help="per series of pairs (default 0.6)")
    parser.add_argument("--cpu", type=int, default=(os.cpu_count() or 1) - 1, help="CPU to stay on, -1: any")
    parser.add_argument("--json", metavar="FILE", help="also write figures, machine model and versions to FILE")
    args = parser.parse_args(argv)
    unknown = set(args.families) - set(board.families())
    if unknown:
        parser.error(f"unknown family {', '.join(sorted(unknown))}; there are {', '.join(board.families())}")
    board.pin(None if args.cpu < 0 else args.cpu)
    isa = args.isa or config.isa()
    info = config.info()
    machine = ds_kernels.machine(measure=True, isa=isa)
    print(f"{info['cpu']}, {info['cores']} cores; BLAS {info['blas']}\nbefore: {describe(machine)}")
    judged = isa not in ("generic", "avx2") or isa == config.runnable_isa_levels()[-1]
    if not judged:
        print(f"gates are not judged: the peers use wider vectors than {isa}")
    results = []
    for family in args.families or board.families():
        print(f"\n{family}\n{board.HEAD}")
        for row in importlib.import_module(f"kernels.{family}").rows(isa):
            if not judged:
                row.gate = row.goal = None
            if args.only is None or args.only in row.work or args.only in row.peer_name:
                results.append(board.run(family, row, machine, args.seconds))
                print(board.line(results[-1]), flush=True)
    after = ds_kernels.machine(measure=True, isa=isa)
    moved = board.drift(machine, after)
    print(f"\nafter:  {describe(after)}")
    if moved > board.DRIFT:
        print(f"DRIFT of {100 * moved:.0f} %: the machine changed during the run, its figures prove nothing")
    if args.json:
        record = board.as_record(machine, after, results, info)
        Path(args.json).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 1 if any(r.verdict == "MISSED" for r in results) else 0


if __name__ == "__main__":
    sys.exit(main())
