"""What `import dnnsched` costs over NumPy: `python benchmarks/bench_import.py [--json FILE] [--repeats N]`.

Fresh interpreters in turn, one importing NumPy alone, one NumPy and then dnnsched with all its public objects touched,
one that runs a small simulation. A row is the median time inside the interpreter after NumPy is there; the promise is
50 ms for the import. The packages that came along are listed: besides NumPy there should be none.

Exit code 1 if the promise is missed.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

LIMIT_MS = 50.0
STEPS = {
    "import dnnsched": "import dnnsched",
    "every public name": "import dnnsched\nfor name in dnnsched.__all__: getattr(dnnsched, name)",
    "a first simulation": "import dnnsched as ds\n"
                          "ts = ds.traces.load('multi-attnn-calibrated')\n"
                          "wl = ds.workloads.poisson(ts, rho=0.9, n=1000, rng=1)\n"
                          "ds.simulate(wl, 'dysta')"}
SCRIPT = """
import json, sys, time, numpy
before = set(sys.modules)
start = time.perf_counter()
exec({step!r})
seconds = time.perf_counter() - start
tops = {{m.partition(".")[0] for m in set(sys.modules) - before}} - set(sys.stdlib_module_names)
tops -= {{"numpy", "cython_runtime"}}  # numpy.random and what it is made with
print(json.dumps([seconds, sorted(t for t in tops if not t.startswith("_"))]))
"""


def fresh(step):
    """(seconds, packages loaded besides NumPy) of a step in a new interpreter."""
    done = subprocess.run([sys.executable, "-P", "-c", SCRIPT.format(step=step)], capture_output=True, text=True,
                          check=True)
    return json.loads(done.stdout)


def main(argv=None):
    """Print the rows; 1 if the promise is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args(argv)
    found = {name: [] for name in STEPS}
    for turn in range(options.repeats + 1):
        for name, step in STEPS.items():
            one = fresh(step)
            if turn:  # the first turn writes the byte code
                found[name].append(one)
    print(f"Python {platform.python_version()}, load {os.getloadavg()[0]:.2f}; {options.repeats} fresh interpreters "
          "each")
    rows = []
    for name, ones in found.items():
        ms = [1e3 * seconds for seconds, _ in ones]
        rows.append({"step": name, "median_ms": statistics.median(ms), "best_ms": min(ms), "packages": ones[0][1]})
        print(f"{name:22s} median {rows[-1]['median_ms']:7.1f} ms, best {rows[-1]['best_ms']:7.1f} ms over NumPy; "
              f"packages: {', '.join(rows[-1]['packages']) or 'none'}")
    met = rows[0]["median_ms"] < LIMIT_MS
    print(f"promised: < {LIMIT_MS:g} ms for the import: {'met' if met else 'MISSED'}")
    if options.json:
        options.json.write_text(json.dumps({"rows": rows, "limit_ms": LIMIT_MS}, indent=1) + "\n", encoding="utf-8")
    return not met


if __name__ == "__main__":
    sys.exit(main())
