"""Speed of the engine beside its peers: `python benchmarks/bench_engine.py [--json FILE] [--quick]`.

Rows of the scoreboard:

* layer steps per second per scheduler at a constant backlog of 2, 6, 16, 200 and 6,000 requests of 50 layers
  (one clock addition a layer, no prefix sums), under paper and artifact semantics;
* requests per second when a request is one layer;
* seconds per decision of a scheduler written in Python;
* a peer in plain Python (the test oracle of the public simulator's loop) and SimPy, in the same run;
* all of the paper's Figs. 12-15 (the paper reports 3 hours).

How the backlog is held: every layer takes 2**-10 s, so a request takes T = 50 * 2**-10 s exactly. Q requests arrive
at t = 0 and then one every T: the work in the system stays what it was. A scheduler that shares the accelerator keeps
more, half-done requests in the system; the number at t = 0 is scaled until the mean backlog is right, and the achieved
mean is printed. The first chunk of arrivals warms everything up, the next ones are timed. The artifact's clock wants
all rows at once: there a whole run is timed, which a last request that every policy but fcfs prefers ends by holding
the accelerator for ever, before the backlog drains.

Times are this thread's CPU seconds, the best of several; the machine may be shared, and wall seconds stand beside.
"""

import argparse
import json
import os
import platform
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import dnnsched as ds
from dnnsched.sim import Simulation, System

LAYERS, LAYER_S = 50, 2.0**-10
BACKLOGS = (2, 6, 16, 200, 6000)
PAPER = ("fcfs", "sjf", "edf", "llf", "round_robin", "dysta", "dysta_oracle", "prema", "planaria", "sdrm3")
ARTIFACT = ("fcfs", "sjf", "dysta", "dysta_oracle", "prema", "planaria", "sdrm3")
TARGETS = {  # million steps per second on one Sapphire Rapids class core
    **{("paper", name): dict.fromkeys(BACKLOGS, 200.0) for name in ("fcfs", "sjf", "edf")},
    ("paper", "dysta"): dict(zip(BACKLOGS, (100, 60, 25, 6, 0.25), strict=True)),
    ("artifact", "dysta"): dict(zip(BACKLOGS, (80, 50, 20, 3, 0.12), strict=True)),
}
ONE_STAGE_TARGET, FIGURES_TARGET_S = 10.0, 3.0
BOUNDS = {
    "fcfs": "one dependent addition a layer (4 cycles), plus arrival, decision and run end per request",
    "edf": "as fcfs, plus O(log Q) a request in the heap",
    "sjf": "one addition and one key comparison a layer, O(log Q) a request in the heap",
    "llf": "a key through score() at every layer end, O(log Q) when the request gives way",
    "round_robin": "every layer changes the request: one event, one heap push and pop a layer",
    "dysta": "Q <= 8: the chain of ~10 dependent operations of a decision; above: a scan of 4 columns x 8 bytes a "
             "request, from L1 (Q <= 1,000) or L2; artifact: 5 columns, two divisions for candidates the screen leaves",
    "dysta_oracle": "as dysta",
    "prema": "a scan that rewrites two columns (tokens, update times), then a second scan for the shortest candidate",
    "planaria": "a scalar scan with one division a request (4-5 cycles each, not pipelined with the comparison)",
    "sdrm3": "a scalar scan with two divisions a request",
}


def trace_set(layers=LAYERS):
    """One model, one sample, equal layers."""
    return ds.TraceSet({"model/dense": ds.Trace(np.full((1, layers), LAYER_S), model="model")})


def build(scheduler, semantics, layers=LAYERS, clock=None):
    """One accelerator for requests of one model under a scheduler (name, instance or object)."""
    ts = trace_set(layers)
    if isinstance(scheduler, str):
        scheduler = ds.schedulers.get(scheduler)
    own = not isinstance(scheduler, ds.schedulers.Scheduler)
    known = (ds.schedulers.get("dysta") if own else scheduler).tables(ts, semantics)
    system = System(clock=clock or ("artifact" if semantics == "artifact" else "monotonic"))
    system.pool(scheduler, semantics=semantics)
    hold = system.table(ts["model/dense"].latency, ("sample",))
    estimates = {column: system.table(rows[0][0], ()) for column, rows in known.items()}
    system.program([{"pool": 0, "hold": hold, "hold_column": k} for k in range(layers)], **estimates)
    return system


def arrivals(first, start, n, service_s):
    """`start` rows at t = 0 that are left (row numbers from `first` on), then one every service time."""
    rows = np.arange(first, first + n, dtype=np.float64)
    return np.maximum(rows - (start - 1), 0.0) * service_s


def feed(sim, first, start, n, service_s, final):
    """The next n rows; deadlines ten service times after the arrival."""
    arrival = arrivals(first, start, n, service_s)
    sim.feed(arrival, deadline=arrival + 10.0 * service_s, final=final)
    return sim


def timed(run):
    """CPU and wall seconds of run()."""
    wall, cpu = time.perf_counter(), time.thread_time()
    run()
    return time.thread_time() - cpu, time.perf_counter() - wall


class Chunks:
    """A run in steady state: each call feeds n rows more and times them."""

    def __init__(self, scheduler, semantics, start, layers=LAYERS):
        self.sim = Simulation(build(scheduler, semantics, layers, "monotonic"))
        self.start, self.rows, self.service_s = start, 0, layers * LAYER_S

    def __call__(self, n):
        feed(self.sim, self.rows, self.start, n, self.service_s, False)
        self.rows += n
        before = self.sim.stats
        cpu, wall = timed(self.sim.run)
        after = self.sim.stats
        delta = {k: after[k] - before[k] for k in ("stages", "queue_area", "now_s", "decisions", "finished")}
        return {"cpu_s": cpu, "wall_s": wall, "steps": int(delta["stages"]), "decisions": int(delta["decisions"]),
                "requests": int(delta["finished"]), "backlog": float(delta["queue_area"] / max(delta["now_s"], 1e-300))}


def best(samples):
    """The sample with the most steps per CPU second."""
    return max(samples, key=lambda s: s["steps"] / max(s["cpu_s"], 1e-9))


def steady(scheduler, semantics, backlog, seconds, repeats):
    """Best of several timed chunks of about `seconds` each, at a mean backlog near `backlog`."""
    start = backlog
    for _ in range(4):
        run = Chunks(scheduler, semantics, start)
        run(start + 2 * backlog)
        n, probe = max(2 * backlog, 64), None
        while probe is None or probe["cpu_s"] < seconds / 16:
            probe, n = run(n), n * 4
        if abs(probe["backlog"] / backlog - 1.0) < 0.15 or start == 2:
            break
        start = max(2, round(start * backlog / probe["backlog"]))
    n = max(1, int(probe["requests"] * seconds / max(probe["cpu_s"], 1e-9)))
    return best([run(n) for _ in range(repeats)])


def artifact_run(scheduler, start, n):
    """One whole run of n rows under the artifact's clock, ended by the stopper."""
    service_s = LAYERS * LAYER_S
    system = build(scheduler, "artifact")
    stopper = {"remaining": 0.0, "next": 1e-300, "isolated": 1e300}
    known = {c: system.table([v], ()) for c, v in stopper.items()}
    system.program([{"pool": 0, "hold": system.table([np.inf], ())}], **known)
    arrival = arrivals(0, start, n + 1, service_s)
    last = np.arange(n + 1) == n
    sim = Simulation(system)
    sim.feed(arrival, deadline=arrival + np.where(last, 1e-9, 10.0 * service_s), priority=np.where(last, 1e9, 1.0),
             program=last.astype(np.int32))
    cpu, wall = timed(sim.run)
    s = sim.stats
    return {"cpu_s": cpu, "wall_s": wall, "steps": int(s["stages"]), "decisions": int(s["decisions"]),
            "requests": int(s["finished"]), "backlog": float(s["queue_area"] / s["now_s"])}


def artifact(scheduler, backlog, seconds, repeats):
    """Best of several whole runs of about `seconds` each, at a mean backlog near `backlog`."""
    start = backlog
    for _ in range(4):
        n = start + 64
        while (probe := artifact_run(scheduler, start, n))["cpu_s"] < seconds / 8:
            n *= 2
        if abs(probe["backlog"] / backlog - 1.0) < 0.15 or start == 2 or scheduler == "fcfs":
            break
        start = max(2, round(start * backlog / probe["backlog"]))
    n = start + max(64, int((n - start) * seconds / probe["cpu_s"]))
    return best([artifact_run(scheduler, start, n) for _ in range(repeats)])


def engine_rows(options):
    """Layer steps per second of every scheduler, semantics and backlog."""
    rows = []
    for semantics, names in (("paper", PAPER), ("artifact", ARTIFACT)):
        for name in names:
            if options.only and name not in options.only:
                continue
            for backlog in options.backlogs:
                measure = steady if semantics == "paper" else artifact
                args = (name, semantics, backlog) if semantics == "paper" else (name, backlog)
                m = measure(*args, options.seconds, options.repeats)
                rate = m["steps"] / m["cpu_s"] / 1e6
                target = TARGETS.get((semantics, name), {}).get(backlog)
                rows.append({"scheduler": name, "semantics": semantics, "backlog": backlog, "achieved": m["backlog"],
                             "msteps_per_s": rate, "wall_msteps_per_s": m["steps"] / m["wall_s"] / 1e6,
                             "target": target, "ratio": rate / target if target else None,
                             "decisions_per_step": m["decisions"] / m["steps"], "steps": m["steps"]})
                report_row(rows[-1])
    return rows


def report_row(r):
    """One line of the engine's table, as soon as it is known."""
    target = f"{r['target']:8g} {r['ratio']:7.2f}" if r["target"] else f"{'':8s} {'':7s}"
    print(f"{r['semantics']:9s}{r['scheduler']:14s}{r['backlog']:6d} {r['achieved']:9.1f} {r['msteps_per_s']:10.3f} "
          f"{r['wall_msteps_per_s']:10.3f} {target} {1e3 / r['msteps_per_s']:12.2f}", flush=True)


def one_stage(options):
    """Requests per second when every request is one layer: fcfs, two in the system."""
    out = {}
    for backlog in (2, 200):
        run = Chunks("fcfs", "paper", backlog, layers=1)
        run(4096)
        n = int(1e6 * max(options.seconds, 0.05) * 4)
        m = best([run(n) for _ in range(options.repeats)])
        out[backlog] = {"mrequests_per_s": m["requests"] / m["cpu_s"] / 1e6, "wall": m["requests"] / m["wall_s"] / 1e6,
                        "achieved": m["backlog"]}
    return out


class PickFirst:
    """The least a pick policy can do."""

    needs = ("remaining",)

    def pick(self, view):
        return 0


class PickShortest:
    """Shortest remaining time by pick()."""

    needs = ("remaining",)

    def pick(self, view):
        return view.remaining.argmin()


class ScoreShortest:
    """Shortest remaining time by score()."""

    kind = "time"
    needs = ("remaining",)

    def score(self, view):
        return view.remaining


def python_policies(options):
    """Microseconds per decision of schedulers written in Python."""
    rows = []
    for cls in (PickFirst, PickShortest, ScoreShortest):
        for backlog in (8, 64, 512):
            run = Chunks(cls(), "paper", backlog)
            run(3 * backlog)
            n = max(8, int(options.seconds * 4e5 / LAYERS))
            m = best([run(n) for _ in range(options.repeats)])
            rows.append({"policy": cls.__name__, "backlog": backlog, "achieved": m["backlog"],
                         "us_per_decision": m["cpu_s"] / max(m["decisions"], 1) * 1e6,
                         "decisions_per_s": m["decisions"] / m["cpu_s"]})
    return rows


def oracle_peer(options):
    """Steps per second of the test oracle (plain Python, the public simulator's loop); None if it is not there."""
    folder = Path(__file__).resolve().parent.parent / "tests"
    if not (folder / "oracle_artifact.py").exists():
        return None
    sys.path.insert(0, str(folder))
    import oracle_artifact

    tables = oracle_artifact.Tables([[[LAYER_S] * LAYERS]], [None], ["model"])
    rows = []
    for name in ("fcfs", "sjf", "dysta"):
        for backlog in (2, 6, 16, 200):
            n = backlog + max(4, int(options.seconds * 1e4 / backlog / LAYERS))
            arrival = arrivals(0, backlog, n, LAYERS * LAYER_S).tolist()
            requests = [(a, 0, 0, 1.0, a + 10 * LAYERS * LAYER_S) for a in arrival]
            cpu, _ = timed(lambda requests=requests, name=name: oracle_artifact.simulate(requests, tables, name))
            rows.append({"scheduler": name, "backlog": backlog, "msteps_per_s": n * LAYERS / cpu / 1e6})
    return rows


def simpy_peer(options):
    """First come, first served in SimPy: layer steps per second, and one-layer requests per second."""
    try:
        import simpy
    except ImportError:
        return None

    def request(env, accelerator, layers):
        with accelerator.request() as turn:
            yield turn
            for _ in range(layers):
                yield env.timeout(LAYER_S)

    def source(env, accelerator, arrival, layers):
        for t in arrival:
            if t > env.now:
                yield env.timeout(t - env.now)
            env.process(request(env, accelerator, layers))

    def run(n, layers):
        env = simpy.Environment()
        accelerator = simpy.Resource(env)
        env.process(source(env, accelerator, arrivals(0, 2, n, layers * LAYER_S).tolist(), layers))
        return timed(env.run)[0]

    n, one = max(50, int(options.seconds * 4e3)), max(1000, int(options.seconds * 4e4))
    return {"msteps_per_s": n * LAYERS / run(n, LAYERS) / 1e6, "mrequests_per_s": one / run(one, 1) / 1e6,
            "version": simpy.__version__}


def figure_sets():
    """Equal-layer stand-ins of the published trace files (isolated means by file, as the calibrated set lists them)."""
    attention = zip((12, 36, 12), (0.0167, 0.0600, 0.0193), strict=True)
    nets = ((28, (.024, .035, .042)), (54, (.224, .301, .212)), (16, (.463, .408, .604)), (30, (.237, .492, .296)))
    attn = {f"attention{i}/dense": ds.Trace(np.full((7, n), s / n), np.full((7, n), 0.5), f"attention{i}")
            for i, (n, s) in enumerate(attention)}
    cnn = {f"cnn{i}/pattern{j}": ds.Trace(np.full((7, n), s / n), np.full((7, n), 0.5), f"cnn{i}")
           for i, (n, means) in enumerate(nets) for j, s in enumerate(means)}
    return ds.TraceSet(attn), ds.TraceSet(cnn)


FIGURE_SCHEDULERS = ("fcfs", "sjf", "sdrm3", "prema", "planaria", "dysta", "dysta_oracle")


def figure_tables():
    """(request table, SLO multipliers, schedulers) of every simulation behind Figs. 12-15."""
    attn, cnn = figure_sets()
    # Fig. 15; Figs. 12 and 14 (12 shows the points of 14 at M = 10); Fig. 13
    for ts, sweep, pair, single in ((attn, (10, 20, 30, 40), (30, 40), (30,)), (cnn, (2, 3, 4, 5, 6), (3, 4), (3,))):
        plan = ((sweep, (10,), FIGURE_SCHEDULERS), (pair, (10, 25, 50, 75, 100, 150), FIGURE_SCHEDULERS),
                (single, (10,), ("prema", "dysta_naive", "dysta")))
        for rates, slos, names in plan:
            for table in ds.workloads.dysta_tables(ts, rates).values():
                yield table, slos, names


def figure_part(part):
    """Runs one table; returns (runs, layer steps)."""
    table, slos, names = part
    workloads = [table if slo == 10 else table.with_slo(slo) for slo in slos]
    stages = [ds.simulate(wl, name, semantics="artifact").metrics["stages"] for wl in workloads for name in names]
    return len(stages), sum(stages)


def figures(threads=2):
    """All of Figs. 12-15, artifact semantics, 5 seeds x 1000 requests, on two threads."""
    wall, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(threads) as pool:
        done = list(pool.map(figure_part, figure_tables()))
    return {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu, "threads": threads,
            "runs": sum(runs for runs, _ in done), "steps": sum(steps for _, steps in done)}


def machine():
    """What the figures were measured on."""
    record = {"cpu": "", "mhz": None, "cores": os.cpu_count(), "load": os.getloadavg(),
              "system": platform.platform(), "python": platform.python_version(), "numpy": np.__version__}
    record["isa"] = ds.config.isa()
    record["compiler"] = ds.config.info()["compiler"]
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return record
    found = dict(line.split(":", 1) for line in text.split("\n\n")[0].splitlines() if ":" in line)
    found = {k.strip(): v.strip() for k, v in found.items()}
    record["cpu"] = found.get("model name", platform.processor())
    record["mhz"] = float(found["cpu MHz"]) if "cpu MHz" in found else None
    record["caches"] = found.get("cache size")
    return record


def parse(argv):
    """Options."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--json", type=Path, help="write everything measured to this file")
    p.add_argument("--quick", action="store_true", help="shorter measurements, no backlog of 6,000")
    p.add_argument("--seconds", type=float, default=0.25, help="CPU seconds of one timed chunk")
    p.add_argument("--repeats", type=int, default=3)
    p.add_argument("--only", nargs="+", metavar="SCHEDULER", help="these schedulers, and nothing else")
    p.add_argument("--backlogs", nargs="+", type=int, default=list(BACKLOGS))
    options = p.parse_args(argv)
    if options.quick:
        options.seconds, options.backlogs = min(options.seconds, 0.05), [q for q in options.backlogs if q < 6000]
    return options


def peers(options, out):
    """The rows beside the engine's own, with ratios to it."""
    print("\npeers, in this run")
    fcfs = next((r["msteps_per_s"] for r in out["engine"] if (r["scheduler"], r["semantics"]) == ("fcfs", "paper")),
                None)
    out["simpy"] = simpy_peer(options)
    if out["simpy"] is None:
        print("SimPy is not installed (pip install simpy)")
    else:
        p = out["simpy"]
        print(f"SimPy {p['version']}, fcfs: {p['msteps_per_s']:.3f} M steps/s, {p['mrequests_per_s']:.3f} M one-layer "
              f"requests/s; the engine does {fcfs / p['msteps_per_s']:.0f} and "
              f"{out['one_stage'][2]['mrequests_per_s'] / p['mrequests_per_s']:.0f} times as many")
    out["oracle"] = oracle_peer(options)
    if out["oracle"] is None:
        print("no tests/oracle_artifact.py beside this script: no plain-Python peer")
        return
    for r in out["oracle"]:
        mine = next((e["msteps_per_s"] for e in out["engine"] if e["semantics"] == "artifact"
                     and (e["scheduler"], e["backlog"]) == (r["scheduler"], r["backlog"])), None)
        ratio = f"; the engine (artifact semantics) does {mine / r['msteps_per_s']:.0f} times as many" if mine else ""
        print(f"plain Python, {r['scheduler']}, backlog {r['backlog']}: {r['msteps_per_s'] * 1e3:.2f} k steps/s{ratio}")


def rest(options, out):
    """One-stage requests, Python policies, the paper's figures."""
    out["one_stage"] = one_stage(options)
    for backlog, m in out["one_stage"].items():
        print(f"one-layer requests, fcfs, backlog {backlog}: {m['mrequests_per_s']:.2f} M requests/s "
              f"(wall {m['wall']:.2f}), target {ONE_STAGE_TARGET:g}, "
              f"ratio {m['mrequests_per_s'] / ONE_STAGE_TARGET:.2f}")
    print("  bound: the way of one request - arrival, push, decision, start, event push and pop, finish: ~60 ns")
    out["python"] = python_policies(options)
    for r in out["python"]:
        print(f"Python policy {r['policy']}, backlog {r['backlog']}: {r['us_per_decision']:.2f} us a decision "
              f"({r['decisions_per_s'] / 1e6:.2f} M/s)")
    print("  bound: one call into the interpreter, one NumPy call on the view's columns")
    f = out["figures"] = figures()
    print(f"Figs. 12-15: {f['runs']} runs, {f['steps'] / 1e6:.1f} M steps on {f['threads']} threads in "
          f"{f['wall_s']:.2f} s wall, {f['cpu_s']:.2f} s CPU; target {FIGURES_TARGET_S:g} s, ratio "
          f"{FIGURES_TARGET_S / f['wall_s']:.2f} (by CPU seconds alone, on one core, "
          f"{FIGURES_TARGET_S / f['cpu_s']:.2f}); the paper: 3 hours")
    print("  bound: the scalar scans of sdrm3, prema and planaria in queues of hundreds (offered load above 1), and "
          "0.3 ms of Python a run")


def main(argv=None):
    """Print the scoreboard; returns 0."""
    options = parse(argv)
    out = {"machine": machine()}
    m = out["machine"]
    clock = f"{m['mhz']:.0f} MHz" if m["mhz"] else "clock unknown"
    print(f"{m['cpu']}, {clock}, {m['cores']} cores, cache {m.get('caches')}, load {m['load'][0]:.2f}; {m['isa']}; "
          f"{m['compiler']}; Python {m['python']}, NumPy {m['numpy']}")
    if m["mhz"]:
        print(f"4 cycles a dependent addition: at most {m['mhz'] / 4:.0f} M steps/s at this clock")
    print(f"\n{'':9s}{'scheduler':14s}{'Q':>6s} {'achieved':>9s} {'M steps/s':>10s} {'wall':>10s} {'target':>8s} "
          f"{'ratio':>7s} {'ns a step':>12s}")
    out["engine"] = engine_rows(options)
    print("\nwhat bounds them")
    for name, text in BOUNDS.items():
        if any(r["scheduler"] == name for r in out["engine"]):
            print(f"  {name}: {text}")
    if not options.only:
        print()
        rest(options, out)
        peers(options, out)
    missed = [r for r in out["engine"] if r["ratio"] is not None and r["ratio"] < 1.0]
    print(f"\n{sum(r['ratio'] is not None for r in out['engine']) - len(missed)} of "
          f"{sum(r['ratio'] is not None for r in out['engine'])} targets met; load now {os.getloadavg()[0]:.2f}")
    if options.json:
        options.json.write_text(json.dumps(out, indent=1, default=float) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
