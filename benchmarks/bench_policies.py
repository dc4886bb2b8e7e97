"""Cost of a scheduler's decision, by how it is written: `python benchmarks/bench_policies.py [--json FILE] [--quick]`.

Two policies, each built in where it is, as a numba function, as C through ctypes and through cffi, and in Python:

* ``shortest``: the position of the least remaining time (one column);
* ``dysta``: the score of Sparse-DySta (four columns, a division), the smallest runs.

Every figure is CPU seconds of the engine's loop over the decisions it took, everything included: the layer that ran,
the columns written, the call, the choice. How the queue is held at 8, 64 and 512 is told in bench_engine.py; there is
one decision a layer. The forms of a row are measured in turn, round by round, and the best round counts, so that a busy
machine disturbs all alike. The built-in ``shortest`` (sjf) is a heap, which asks nobody at a layer's end: its figure is
the cost of a layer without a decision.

Then a sweep of 200 native runs on one and on two threads, by wall time.

Ends with what was promised beside what was measured; exit code 1 if a promise is missed.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import dnnsched as ds
from dnnsched.sim import Simulation

sys.path.insert(0, str(Path(__file__).resolve().parent))
import bench_engine

QUEUES = (8, 64, 512)
FORMS = ("built-in", "numba", "ctypes", "cffi", "python")
NATIVE_NS, PYTHON_US, PYTHON_RATE, SPEED_UP = 60.0, 3.0, 2e5, 1.7
ETA = 0.01


class PythonDysta:
    """Dysta's score on the view's arrays."""

    kind = "time"
    needs = ("remaining", "deadline", "last_run", "isolated")

    def score(self, view):
        e = view.remaining
        waiting = (view.now - view.last_run) * (1.0 / view.isolated) * (1.0 / view.n)
        return e + ETA * (((view.deadline - view.now) - e) + waiting)


def numba_forms():
    """Both policies compiled by numba; empty without numba."""
    @ds.schedulers.native(needs=("remaining",))
    def shortest(view):
        at = 0
        for i in range(1, view.n):
            if view.remaining[i] < view.remaining[at]:
                at = i
        return at

    @ds.schedulers.native(form="score", kind="time", needs=PythonDysta.needs, params=(ETA,))
    def dysta(view, out):
        eta, now, n = view.param[0], view.now, view.n
        for i in range(n):
            e = view.remaining[i]
            waiting = (now - view.last_run[i]) * (1.0 / view.isolated[i]) * (1.0 / n)
            out[i] = e + eta * (((view.deadline[i] - now) - e) + waiting)

    try:
        for policy in (shortest, dysta):
            policy.compile()
    except ImportError as error:
        print(error)
        return {}
    return {"shortest": shortest, "dysta": dysta}


def c_forms():
    """Form -> both policies in C (those of the tests); a form that cannot be had is left out."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    try:
        import native_policies
    except ImportError:
        print("no tests/native_policies.py beside this script: no policies in C")
        return {}
    wrap = {"shortest": {"needs": ("remaining",)},
            "dysta": {"kind": "time", "needs": PythonDysta.needs, "params": (ETA,)}}
    with tempfile.TemporaryDirectory() as folder:
        library = native_policies.compile_library(Path(folder), optimise="-O3")
        found = {"ctypes": native_policies.by_ctypes(library)}
        try:
            found["cffi"] = native_policies.by_cffi(library)
        except ImportError as error:
            print(f"no cffi: {error}")
    return {form: {name: ds.schedulers.Native(functions[name], **options) for name, options in wrap.items()}
            for form, functions in found.items()}


def contestants():
    """policy -> form -> scheduler."""
    native = {"numba": numba_forms(), **c_forms()}
    python = {"shortest": bench_engine.PickShortest(), "dysta": PythonDysta()}
    built_in = {"shortest": "sjf", "dysta": ds.schedulers.Dysta(beta=ETA)}
    return {name: {"built-in": built_in[name], **{f: native[f][name] for f in FORMS if native.get(f)},
                   "python": python[name]} for name in ("shortest", "dysta")}


def decision_rows(options):
    """Cost of a decision of every policy, queue and form."""
    rows = []
    for policy, forms in contestants().items():
        for queue in options.queues:
            runs, samples, size = {}, {form: [] for form in forms}, {}
            for form, scheduler in forms.items():
                run = runs[form] = bench_engine.Chunks(scheduler, "paper", queue)
                run(3 * queue)
                n, probe = max(queue, 8), None
                while probe is None or probe["cpu_s"] < options.seconds / 8:
                    probe, n = run(n), n * 3
                size[form] = max(8, int(probe["requests"] * options.seconds / probe["cpu_s"]))
            for _ in range(options.repeats):
                for form, run in runs.items():
                    samples[form].append(run(size[form]))
            row = {"policy": policy, "queue": queue, "forms": {}}
            for form, found in samples.items():
                m = bench_engine.best(found)
                row["forms"][form] = {
                    "ns": m["cpu_s"] / m["steps"] * 1e9, "achieved": m["backlog"], "steps": m["steps"],
                    "decisions_per_step": m["decisions"] / m["steps"], "rate": m["steps"] / m["cpu_s"]}
            rows.append(row)
            print_row(row)
    return rows


def print_head():
    """Titles of the table of decisions."""
    print(f"\n{'ns a decision':22s}" + "".join(f"{form:>12s}" for form in FORMS)
          + "   over built-in: " + " ".join(f"{form:>7s}" for form in FORMS[1:]))


def print_row(row):
    """One line of the table of decisions, with ratios to the built-in form."""
    ns = {form: m["ns"] for form, m in row["forms"].items()}
    cells = "".join(f"{ns[form]:12.1f}" if form in ns else f"{'-':>12s}" for form in FORMS)
    ratios = " ".join(f"{ns[f] / ns['built-in']:7.2f}" if f in ns else f"{'-':>7s}" for f in FORMS[1:])
    print(f"{row['policy']:10s} queue {row['queue']:4d}  {cells}   {'':15s}{ratios}", flush=True)


def engine_share(run):
    """Share of run()'s CPU time that is inside the engine, where no other thread has to wait."""
    inside, original = [0.0], Simulation.run

    def timed(self):
        start = time.thread_time()
        try:
            return original(self)
        finally:
            inside[0] += time.thread_time() - start

    Simulation.run = timed
    try:
        start = time.thread_time()
        run()
        return inside[0] / (time.thread_time() - start)
    finally:
        Simulation.run = original


def sweep_speed_up(options):
    """Wall seconds of a sweep of native runs on one thread and on two; None if there is no native form."""
    forms = contestants()["dysta"]
    native = next((forms[f] for f in ("numba", "ctypes", "cffi") if f in forms), None)
    if native is None:
        return None
    ts = bench_engine.trace_set()
    load = 0.95 / (bench_engine.LAYERS * bench_engine.LAYER_S)
    tables = [ds.workloads.poisson(ts, rate=load, n=options.requests, rng=r) for r in range(4)]
    grid = {"rate": [ETA * (1 + i) for i in range(options.points)]}

    def point(seed, rate):
        res = ds.simulate(tables[seed % len(tables)], native.with_params(rate), record="none")
        return {"antt": res.metrics["antt"], "stages": res.metrics["stages"]}

    walls, stages, values = {1: [], 2: []}, 0, {}
    for _ in range(min(options.repeats, 3)):
        for threads in walls:
            start = time.perf_counter()
            found = ds.sweep(grid, point, executor="threads", jobs=threads)
            walls[threads].append(time.perf_counter() - start)
            values[threads] = [found.values("antt", rate=r).tolist() for r in grid["rate"]]
            stages = sum(int(found.values("stages", rate=r)[0]) for r in grid["rate"])
    ratios = [one / two for one, two in zip(walls[1], walls[2], strict=True)]
    share = engine_share(lambda: [point(r, ETA) for r in range(20)])
    return {"points": options.points, "stages": stages, "engine_share": share, "one_s": min(walls[1]),
            "two_s": min(walls[2]), "ratios": ratios, "speed_up": max(*ratios, min(walls[1]) / min(walls[2])),
            "same": values[1] == values[2]}


def promises(out):
    """(what, measured, target, met) of everything that was promised; None measured = could not be had."""
    rows = {(r["policy"], r["queue"]): r["forms"] for r in out["decisions"]}
    found = []
    for form in ("numba", "ctypes", "cffi"):
        for policy in ("shortest", "dysta"):
            m = rows.get((policy, 8), {}).get(form)
            if m is not None:
                found.append((f"{policy}, {form}, queue 8", f"{m['ns']:.1f} ns", f"<= {NATIVE_NS:g} ns",
                              m["ns"] <= NATIVE_NS))
    for queue in sorted({q for _, q in rows}):
        us = rows["shortest", queue]["python"]["ns"] / 1e3
        found.append((f"Python pick on views, queue {queue}", f"{us:.2f} us", f"<= {PYTHON_US:g} us", us <= PYTHON_US))
    for (policy, queue), forms in rows.items():
        rate = forms["python"]["rate"]
        if queue == 8:
            found.append((f"Python policy, {policy}, queue 8", f"{rate:.3g} decisions/s", f">= {PYTHON_RATE:g}",
                          rate >= PYTHON_RATE))
    s = out["sweep"]
    if s is not None:
        found.append((f"sweep of {s['points']} native runs, two threads over one", f"{s['speed_up']:.2f}",
                      f">= {SPEED_UP:g}", s["speed_up"] >= SPEED_UP))
    return found


def parse(argv):
    """Options."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--json", type=Path, help="write everything measured to this file")
    p.add_argument("--quick", action="store_true", help="shorter measurements")
    p.add_argument("--seconds", type=float, default=0.1, help="CPU seconds of one timed chunk")
    p.add_argument("--repeats", type=int, default=5)
    p.add_argument("--queues", nargs="+", type=int, default=list(QUEUES))
    p.add_argument("--points", type=int, default=200, help="points of the sweep")
    p.add_argument("--requests", type=int, default=10000, help="requests of one run of the sweep")
    options = p.parse_args(argv)
    if options.quick:
        options.seconds, options.repeats = min(options.seconds, 0.02), min(options.repeats, 3)
    return options


def main(argv=None):
    """Print the scoreboard; 1 if a promise is missed."""
    options = parse(argv)
    out = {"machine": bench_engine.machine()}
    m = out["machine"]
    print(f"{m['cpu']}, {m['cores']} cores, load {m['load'][0]:.2f}; {m['isa']}; {m['compiler']}; "
          f"Python {m['python']}, NumPy {m['numpy']}")
    print_head()
    out["decisions"] = decision_rows(options)
    s = out["sweep"] = sweep_speed_up(options)
    if s is not None:
        print(f"\nsweep of {s['points']} native runs ({s['stages'] / 1e6:.0f} M layers): {s['one_s']:.2f} s on one "
              f"thread, {s['two_s']:.2f} s on two; by round {', '.join(f'{r:.2f}' for r in s['ratios'])} times; same "
              f"values: {s['same']}; load now {os.getloadavg()[0]:.2f}")
        print(f"  {s['engine_share']:.1%} of the CPU time is inside the engine, without the interpreter's lock: on two "
              f"free cores at most {2 / (2 - s['engine_share']):.2f} times")
    print(f"\n{'promised':56s}{'measured':>20s}{'target':>12s}")
    missed = 0
    for what, got, target, met in promises(out):
        missed += not met
        print(f"{what:56s}{got:>20s}{target:>12s}  {'met' if met else 'MISSED'}")
    if options.json:
        options.json.write_text(json.dumps(out, indent=1, default=float) + "\n", encoding="utf-8")
    return 1 if missed or (s is not None and not s["same"]) else 0


if __name__ == "__main__":
    sys.exit(main())
