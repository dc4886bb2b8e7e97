"""Mean isolated times behind the published Dysta curves: fit them, and list what is left over.

The paper does not print its latency files. Its curves pin their means down: artifact semantics fix the request
streams (seeds 1-5), so every point of Figs. 14 and 15 is a function of the mean time per file, layers taken as equal.

    python benchmarks/fit_isolated_times.py                        residuals of the committed constants, both sets
    python benchmarks/fit_isolated_times.py attnn --starts 8       fit again from random starts (a minute)
    python benchmarks/fit_isolated_times.py cnn --starts 6 --refine  and from the committed constants (minutes)

Writes data/calibration/<set>.csv (residuals; also of the variants cv10 and cv18, mean over draws), <set>.toml (what was
fitted) and, with a fit, <set>-fits.csv (all solutions, best first). The committed constants are rounded and older than
these fits: they stay as they are, since nothing is chosen after looking at the comparison.

What is fitted: attention, the FCFS points of Fig. 15 (ANTT, violations) and Fig. 14 (violations), 20 numbers for 3
constants; CNN, ANTT and violations of FCFS, SJF, PREMA, Planaria, SDRM3 and Dysta at 2 and 3 requests/s and a
multiplier of 10, for 12 constants. Loss: mean over the cells of ((ours - published) / max(published, floor))^2, floor
1 for ANTT and 3 points for violations. All other cells are predictions; the table marks which is which.
Refresh the manifest afterwards (python tools/manifest.py). Needs SciPy for a fit.
The constants themselves stand in dnnsched/_sets.py.
"""

import argparse
import csv
import sys
import time
from pathlib import Path

import numpy as np

import dnnsched as ds
from dnnsched import paths
from dnnsched._sets import ATTNN_FILES, CNN_FILES, CNN_NETWORKS

RATES = {("attnn", "fig15"): (10, 20, 30, 40), ("attnn", "fig14"): (30, 40), ("attnn", "fig13"): (30,),
         ("cnn", "fig15"): (2, 3, 4, 5, 6), ("cnn", "fig14"): (3, 4), ("cnn", "fig13"): (3,)}
SEEDS = (1, 2, 3, 4, 5)
FLOOR = {"antt": 1.0, "violation_rate": 3.0, "throughput_rps": 1.0}
CNN_FITTED = ("fcfs", "sjf", "prema", "planaria", "sdrm3", "dysta")


def published_cells(domain):
    """Published points of Figs. 13-15: list of dicts with item, scheduler, rate, slo, metric, value (percent)."""
    path = Path(ds.__file__).parent / "papers" / "dysta" / "published.csv"
    cells = []
    with open(path, newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            kind, _, rest = row["column"].partition(" ")
            if (domain, row["item"]) not in RATES or kind != domain or row["metric"] not in FLOOR:
                continue
            rate, slo = (int(part.partition("=")[2]) for part in rest.split())
            cells.append({"item": row["item"], "scheduler": row["row"], "rate": rate, "slo": slo,
                          "metric": row["metric"], "published": float(row["value"])})
    return cells


def is_fitted(domain, cell):
    """Whether the committed constants were fitted on this cell."""
    if cell["metric"] == "throughput_rps" or cell["item"] == "fig13":
        return False
    if domain == "cnn":
        return cell["scheduler"] in CNN_FITTED and cell["rate"] <= 3 and cell["slo"] == 10
    return cell["scheduler"] == "fcfs" and (cell["item"] == "fig15" or cell["metric"] == "violation_rate")


def equal_layers(domain, means):
    """Trace set whose files have these mean times (s), every layer and sample the same."""
    traces = {}
    if domain == "attnn":
        for (key, layers, _), mean in zip(ATTNN_FILES, means, strict=True):
            traces[key] = ds.Trace(np.full((7, layers), mean / layers), np.full((7, layers), 0.75), key, "attention")
        return ds.TraceSet(traces, "calibrated", {"model_mean": "own"})
    for index, ((model, _), mean) in enumerate(zip(CNN_FILES, means, strict=True)):
        layers = len(ds.networks.get(CNN_NETWORKS[model]))
        traces[f"{model}/file{index:02d}"] = ds.Trace(np.full((7, layers), mean / layers), np.full((7, layers), 0.5),
                                                      model, f"file{index:02d}")
    return ds.TraceSet(traces, "calibrated")


def simulate_cells(domain, ts, cells):
    """Our value of every cell: mean over the seeds, violations in percent."""
    tables = {item: ds.workloads.dysta_tables(ts, rates, SEEDS)
              for (of, item), rates in RATES.items() if of == domain and any(c["item"] == item for c in cells)}
    runs = {}
    ours = []
    for cell in cells:
        key = (cell["item"], cell["scheduler"], cell["rate"], cell["slo"])
        if key not in runs:
            metrics = []
            for seed in SEEDS:
                wl = tables[cell["item"]][cell["rate"], seed]
                wl = wl if cell["slo"] == 10 else wl.with_slo(float(cell["slo"]))
                metrics.append(ds.simulate(wl, cell["scheduler"], semantics="artifact", record="none").metrics)
            runs[key] = {name: float(np.mean([m[name] for m in metrics])) for name in FLOOR}
        value = runs[key][cell["metric"]]
        ours.append(100.0 * value if cell["metric"] == "violation_rate" else value)
    return np.array(ours)


def residuals(cells, ours):
    """Signed residual of every cell, as in the loss."""
    published = np.array([cell["published"] for cell in cells])
    floor = np.array([FLOOR[cell["metric"]] for cell in cells])
    return (ours - published) / np.maximum(published, floor)


def committed_means(domain):
    """Mean isolated time of each file, in s, as the trace set has it."""
    return np.array([row[-1] for row in (ATTNN_FILES if domain == "attnn" else CNN_FILES)])


def fit(domain, starts, seed, max_evaluations, refine):
    """Least squares from random starts, and from the committed constants; list of (loss, start, means), best first."""
    from scipy.optimize import least_squares
    cells = [cell for cell in published_cells(domain) if is_fitted(domain, cell)]

    def loss(log_means):
        return residuals(cells, simulate_cells(domain, equal_layers(domain, np.exp(log_means)), cells))

    words = np.random.PCG64(seed).random_raw((starts, len(committed_means(domain))))
    uniform = (words >> np.uint64(11)) * 2.0**-53
    low, high = ((0.01, 0.08) if domain == "attnn" else (0.02, 0.7))
    begins = [(f"random {i}", np.log(low) + u * np.log(high / low)) for i, u in enumerate(uniform)]
    if refine:
        begins.insert(0, ("committed", np.log(committed_means(domain))))
    found = []
    for name, begin in begins:
        clock = time.monotonic()
        # Violations jump, so the step of the finite differences is wide.
        result = least_squares(loss, begin, diff_step=5e-3, max_nfev=max_evaluations,
                               bounds=(np.log(low / 4), np.log(high * 4)), x_scale=0.1)
        found.append((float(np.mean(result.fun**2)), name, np.exp(result.x)))
        print(f"{name}: loss {found[-1][0]:.5f} ({result.nfev} evaluations, {time.monotonic() - clock:.0f} s): "
              f"{' '.join(f'{1e3 * m:.2f}' for m in found[-1][2])} ms", file=sys.stderr)
    return sorted(found, key=lambda pair: pair[0])


def write_residuals(domain, folder, draws):
    """Residual table of the committed constants as CSV; its path and the loss over fitted and predicted cells."""
    cells = published_cells(domain)
    name = f"multi-{domain}-calibrated"
    ours = simulate_cells(domain, ds.traces.load(name), cells)
    varied = [np.mean([simulate_cells(domain, ds.traces.load(name, variant=variant, draw=draw), cells)
                       for draw in range(draws)], axis=0) if draws else np.full(len(cells), np.nan)
              for variant in ("cv10", "cv18")]
    left = residuals(cells, ours)
    path = Path(folder) / f"multi-{domain}-calibrated.csv"
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["item", "scheduler", "rate_rps", "slo_multiplier", "metric", "role", "published",
                         "deterministic", "residual", f"cv10_mean_of_{draws}", f"cv18_mean_of_{draws}"])
        for cell, value, residual, cv10, cv18 in zip(cells, ours, left, *varied, strict=True):
            writer.writerow([cell["item"], cell["scheduler"], cell["rate"], cell["slo"], cell["metric"],
                             "fitted" if is_fitted(domain, cell) else "predicted", f"{cell['published']:g}",
                             f"{value:.4f}", f"{residual:.4f}", f"{cv10:.4f}", f"{cv18:.4f}"])
    fitted = np.array([is_fitted(domain, cell) for cell in cells])
    return path, float(np.mean(left[fitted]**2)), float(np.mean(left[~fitted]**2))


def write_sidecar(domain, folder, fitted, predicted):
    """What the set is, what was fitted and how well, as TOML beside the residual table."""
    ts = ds.traces.load(f"multi-{domain}-calibrated")
    lines = [f'set = "multi-{domain}-calibrated"', f'origin = "{ts.origin}"', f'source = "{ts.meta["source"]}"',
             f'fitted = "{ts.meta["fitted"]}"', f'predicted = "{ts.meta["predicted"]}"',
             f'names = "{ts.meta["names"]}"', f"seeds = {list(SEEDS)}",
             f"mean_squared_residual_fitted = {fitted:.6f}", f"mean_squared_residual_predicted = {predicted:.6f}"]
    for index, (key, trace) in enumerate(ts.items()):
        lines += ["", "[[file]]", f"index = {index}", f'key = "{key}"', f"layers = {trace.n_layers}",
                  f"mean_isolated_s = {trace.meta['mean_isolated_s']!r}"]
    path = Path(folder) / f"multi-{domain}-calibrated.toml"
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")


def write_fits(domain, folder, found):
    """All solutions of a fit as CSV, best first; its path."""
    path = Path(folder) / f"multi-{domain}-calibrated-fits.csv"
    committed = [cell for cell in published_cells(domain) if is_fitted(domain, cell)]
    ours = simulate_cells(domain, ds.traces.load(f"multi-{domain}-calibrated"), committed)
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["start", "loss", *(f"file{i}_s" for i in range(len(committed_means(domain))))])
        writer.writerow(["(constants in use)", f"{np.mean(residuals(committed, ours)**2):.6f}",
                         *(f"{m:g}" for m in committed_means(domain))])
        writer.writerows([name, f"{loss:.6f}", *(f"{m:.6f}" for m in means)] for loss, name, means in found)
    return path


def main(argv=None):
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", nargs="?", choices=("attnn", "cnn"), help="default: both")
    parser.add_argument("--starts", type=int, default=0, help="random starts of a new fit (default 0: residuals only)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--max-evaluations", type=int, default=40, help="Jacobians per start")
    parser.add_argument("--refine", action="store_true", help="also fit from the committed constants")
    parser.add_argument("--draws", type=int, default=10, help="draws of cv10 and cv18 in the table (default 10)")
    parser.add_argument("--out", type=Path, default=None, help="folder of the tables (default data/calibration)")
    options = parser.parse_args(argv)
    folder = options.out or paths.data_dir() / "calibration"
    folder.mkdir(parents=True, exist_ok=True)
    for domain in (options.set,) if options.set else ("attnn", "cnn"):
        path, fitted, predicted = write_residuals(domain, folder, options.draws)
        write_sidecar(domain, folder, fitted, predicted)
        print(f"{domain}: mean squared residual {fitted:.5f} over fitted cells, {predicted:.5f} over predicted; {path}")
        if options.starts or options.refine:
            found = fit(domain, options.starts, options.seed, options.max_evaluations, options.refine)
            print(f"{domain}: best loss {found[0][0]:.5f} ({found[0][1]}); {write_fits(domain, folder, found)}")


if __name__ == "__main__":
    main()
