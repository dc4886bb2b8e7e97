"""Crossover figures: what is measured and written. How fast is no test."""

import json

import numpy as np
import pytest

import dnnsched as ds
from dnnsched import cli, kernels
from dnnsched.kernels import _bench, _clock

SMALL = {"shapes": {"a": (8, 16, 4), "b": (4, 2, 6, 5, 3)}, "sparsities": (0.5, 0.9), "repeats": 1, "bits_size": 64}


@pytest.fixture
def clock(monkeypatch):
    """No waiting: every call runs once."""
    def times(function, repeats):
        function()
        return np.full(repeats, 1e-6)

    monkeypatch.setattr(_clock, "times", times)
    monkeypatch.setattr(_bench._machine, "machine",
                        lambda measure, isa: kernels.Machine(isa, 1e9, (1e9,) * 4, (1,) * 3))


@pytest.mark.parametrize(("pattern", "sparsity"), [
    *((p, s) for p in _bench.PATTERNS if p != "n:m" for s in (0.0, 0.5, 0.9, 1.0)), *(("n:m", s) for s in _bench.NM)])
def test_patterns_have_exact_counts(pattern, sparsity):
    w = _bench.pattern_weights(40, 64, sparsity, pattern)
    assert w.dtype == np.float32
    assert np.count_nonzero(w) == round((1 - sparsity) * w.size)


def test_patterns_are_what_they_say():
    uniform, gaussian, skewed, block = (_bench.pattern_weights(200, 300, 0.8, p) for p in tuple(_bench.PATTERNS)[:4])
    assert np.unique((block.reshape(50, 4, 300) != 0).sum(axis=1)).tolist() == [0, 4]
    assert ((_bench.pattern_weights(20, 64, 0.875, "n:m").reshape(20, 8, 8) != 0).sum(axis=2) == 1).all()
    kept = np.abs(gaussian[gaussian != 0])
    assert kept.min() > 1.2  # the largest fifth of normal magnitudes: above 1.28
    assert np.abs(uniform[uniform != 0]).min() < 0.01
    rows = [np.count_nonzero(w, axis=1) for w in (uniform, gaussian, skewed)]
    assert np.std(rows[2]) > 5 * max(np.std(rows[0]), np.std(rows[1]))


def test_every_point_is_there(clock):
    record = kernels.bench(**SMALL)
    levels = [x for x in ds.config.runnable_isa_levels() if x in ("generic", "avx2", "avx512")]
    products, convolutions = ([r for r in record["sparsity"] if r["layer"] == x] for x in ("product", "convolution"))
    assert len(products) == len(levels) * (1 + 4 * 2 + 3)  # n:m has three points between 0.5 and 0.9
    assert len(convolutions) == len(levels) * (1 + 3 * 2)
    assert set(record["machine"]) == set(levels)
    csr = {("dense", "none"), ("csr", "uniform"), ("csr", "gaussian"), ("csr", "channel-skewed")}
    assert {(r["format"], r["pattern"]) for r in convolutions} == csr
    assert {(r["format"], r["pattern"]) for r in products} == {*csr, ("bsr", "block 4x1"), ("nm", "n:m")}
    own = [x for x in ds.config.runnable_isa_levels() if kernels.nested(np.eye(4), isa=x).isa == x]
    assert {r["isa"] for r in record["bits"]} == set(own)
    assert len(record["bits"]) == 4 * len(own)
    assert record["noisy"] == 0
    assert json.loads(json.dumps(record)) == record
    assert "no slower than dense" in _bench.text(record)


def test_crossover_is_the_first_sparsity_of_the_last_winning_run():
    def line(pattern, seconds):
        return [{"shape": "s", "isa": "avx2", "format": "csr", "pattern": pattern, "sparsity": s, "seconds": t}
                for s, t in zip((0.5, 0.7, 0.9), seconds, strict=True)]

    base = {"shape": "s", "isa": "avx2", "format": "dense", "pattern": "none", "sparsity": 0.0, "seconds": 2.0}
    rows = [base, *line("never", (9, 8, 3)), *line("late", (1, 3, 2)), *line("always", (2, 1, 1))]
    found = {c["pattern"]: c["sparsity"] for c in kernels.crossovers(rows)}
    assert found == {"never": None, "late": 0.9, "always": 0.5}


def test_folder_appears_whole(clock, tmp_path):
    pytest.importorskip("matplotlib")
    out = tmp_path / "kernels"
    record = kernels.bench(out, plot=True, isa=["generic"], **SMALL)
    names = {p.name for p in out.iterdir()}
    assert {"kernels.json", "crossover.svg", "crossover.png"} <= names
    assert json.loads((out / "kernels.json").read_text(encoding="utf-8")) == record
    with pytest.raises(FileExistsError, match="--force"):
        kernels.bench(out, **SMALL)
    kernels.bench(out, force=True, isa=["generic"], **SMALL)
    assert [p.name for p in out.iterdir()] == ["kernels.json"]
    assert [p.name for p in tmp_path.iterdir()] == ["kernels"]


def test_interrupt_leaves_nothing(clock, tmp_path, monkeypatch):
    def interrupted(function, repeats):
        raise KeyboardInterrupt

    monkeypatch.setattr(_clock, "times", interrupted)
    with pytest.raises(KeyboardInterrupt):
        kernels.bench(tmp_path / "out", **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_command_line(clock, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(_bench.bench.__kwdefaults__, "shapes", SMALL["shapes"])
    monkeypatch.setitem(_bench.bench.__kwdefaults__, "bits_size", 64)
    out = str(tmp_path / "k")
    assert cli.main(["bench", "kernels", "--isa", "generic", "-o", out]) == cli.OK
    assert "no slower than dense" in capsys.readouterr().out
    assert cli.main(["bench", "kernels", "-o", out]) == cli.USAGE
    assert "--force" in capsys.readouterr().err
    assert cli.main(["bench", "kernels", "--isa", "sse"]) == cli.USAGE
    assert cli.main(["bench"]) == cli.USAGE


def test_figure_of_bits():
    pytest.importorskip("matplotlib")
    from dnnsched.viz import kernels as figures

    made = figures.bits([{"isa": x, "bits": b, "seconds": b * 1e-6} for x in ("generic", "avx2") for b in (2, 4, 8)])
    assert [ax.get_title() for ax in made.axes] == ["generic", "avx2"]
    assert made.axes[1].lines[1].get_ydata().tolist() == [2, 4, 8]


@pytest.mark.parametrize(("options", "message"), [
    ({"plot": True}, "plot: expected an output folder"), ({"isa": ["sse"]}, "isa: expected one of"),
    ({"patterns": ("random",)}, "patterns: expected some of uniform, gaussian, .* n:m, got 'random'"),
    ({"shapes": {"x": (1, 2)}}, "shapes: 'x': expected 3 or 5 extents"),
    ({"sparsities": (1.5,)}, "sparsities: expected"), ({"repeats": 0}, "repeats: expected an integer >= 1"),
])
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        kernels.bench(**{**SMALL, **options})
