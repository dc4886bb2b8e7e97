"""Identification regression: set A under artifact semantics, request streams and decisions of the published runs.

The golden values are ours, exact to the bit. The predicted rows are the analysis that found the constants, printed with
one or two decimals from unrounded constants; agreement within 2 % (ANTT) and 0.5 points (violations) shows that the
engine, the request streams and the set together are what that analysis used.

`python tests/test_sets_identification.py REASON` writes the golden file anew.
"""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

from dnnsched import paths, sim, traces, workloads
from dnnsched.report import golden

GOLDEN = Path(__file__).parent / "golden" / "dysta" / "identification.csv"
SEEDS = (1, 2, 3, 4, 5)

# (rates of the stream, scheduler) -> predicted ANTT and violations in percent at 30 requests/s.
PREDICTED = {
    ((10, 20, 30, 40), "fcfs"): (15.9, 47.9), ((10, 20, 30, 40), "sjf"): (4.38, 12.2),
    ((10, 20, 30, 40), "sdrm3"): (16.3, 56.4), ((10, 20, 30, 40), "prema"): (4.71, 12.0),
    ((10, 20, 30, 40), "planaria"): (11.6, 5.6), ((10, 20, 30, 40), "dysta"): (4.37, 4.7),
    ((30, 40), "fcfs"): (19.1, 55.6), ((30, 40), "sjf"): (5.09, 15.8), ((30, 40), "sdrm3"): (19.5, 62.7),
    ((30, 40), "prema"): (5.41, 15.5), ((30, 40), "planaria"): (14.4, 6.1), ((30, 40), "dysta_naive"): (5.08, 4.86),
}


def identification_rows():
    """One row per stream, scheduler and seed: ANTT (hex float) and number of violations at 30 requests/s."""
    ts = traces.load("multi-attnn-calibrated", variant="deterministic")
    rows = []
    for rates in dict.fromkeys(stream for stream, _ in PREDICTED):
        tables = workloads.dysta_tables(ts, rates, SEEDS)
        for scheduler in (name for stream, name in PREDICTED if stream == rates):
            for seed in SEEDS:
                result = sim.simulate(tables[30, seed], scheduler, semantics="artifact")
                rows.append({"rates": " ".join(map(str, rates)), "scheduler": scheduler, "seed": str(seed),
                             "antt": float(result.metrics["antt"]).hex(),
                             "violations": str(int((~result.requests["slo_met"]).sum())),
                             "last_finish_s": float(result.requests["finish_s"].max()).hex()})
    return rows


@pytest.fixture(scope="module")
def rows():
    return identification_rows()


def test_golden_bits(rows):
    with open(GOLDEN, newline="", encoding="utf-8") as stream:
        assert rows == list(csv.DictReader(stream))


@pytest.mark.parametrize(("rates", "scheduler"), PREDICTED)
def test_predicted_rows(rows, rates, scheduler):
    mine = [row for row in rows if (row["rates"], row["scheduler"]) == (" ".join(map(str, rates)), scheduler)]
    assert len(mine) == len(SEEDS)
    antt, violations = PREDICTED[rates, scheduler]
    assert np.mean([float.fromhex(row["antt"]) for row in mine]) == pytest.approx(antt, rel=0.02)
    assert np.mean([int(row["violations"]) / 10.0 for row in mine]) == pytest.approx(violations, abs=0.5)


def test_equal_layers_make_monitoring_useless(rows):
    del rows
    ts = traces.load("multi-attnn-calibrated")
    wl = workloads.dysta_tables(ts, [30], [1])[30, 1]
    finish = [sim.simulate(wl, name, semantics="artifact").requests["finish_s"] for name in ("dysta", "dysta_naive",
                                                                                             "dysta_oracle")]
    np.testing.assert_array_equal(finish[0], finish[1])
    np.testing.assert_allclose(finish[0], finish[2], rtol=1e-12)


def test_committed_means_are_close_to_the_fit():
    # The residual tables of the fit script say so in full; here the throughput that the means imply.
    for name, rates, published in (("multi-attnn-calibrated", (10, 20, 30, 40), (10.11, 20.16, 29.72, 31.42)),
                                   ("multi-cnn-calibrated", (2, 3, 4, 5, 6), (2.02, 3.02, 3.61, 3.61, 3.65))):
        tables = workloads.dysta_tables(traces.load(name), rates, SEEDS)
        for rate, throughput in zip(rates, published, strict=True):
            got = [sim.simulate(tables[rate, seed], "fcfs", semantics="artifact").metrics["throughput_rps"]
                   for seed in SEEDS]
            assert np.mean(got) == pytest.approx(throughput, rel=0.01)


@pytest.mark.parametrize(("name", "rates"), [("multi-attnn-calibrated", (10, 20, 30, 40)),
                                             ("multi-cnn-calibrated", (2, 3, 4, 5, 6))])
def test_residual_tables_are_current(name, rates):
    tables = workloads.dysta_tables(traces.load(name), rates, SEEDS)
    with open(paths.data_dir() / "calibration" / f"{name}.csv", newline="", encoding="utf-8") as stream:
        cells = [row for row in csv.DictReader(stream)
                 if row["item"] == "fig15" and row["scheduler"] in ("sjf", "planaria") and row["metric"] == "antt"]
    assert len(cells) == 2 * len(rates)
    for row in cells:
        antt = np.mean([sim.simulate(tables[int(row["rate_rps"]), seed], row["scheduler"],
                                     semantics="artifact").metrics["antt"] for seed in SEEDS])
        assert antt == pytest.approx(float(row["deterministic"]), abs=6e-5)
        assert float(row["residual"]) == pytest.approx((antt - float(row["published"])) / float(row["published"]),
                                                       abs=1e-3)


if __name__ == "__main__":
    REASON = golden.check_reason(" ".join(sys.argv[1:]))
    GOLDEN.parent.mkdir(parents=True, exist_ok=True)
    found = identification_rows()
    with open(GOLDEN, "w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, list(found[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)
    golden.note(GOLDEN.parent.parent, "dysta/identification.csv", REASON, f"{len(found)} rows")
