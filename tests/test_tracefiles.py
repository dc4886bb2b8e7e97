"""Request files converted, described and cut; stand-ins for the Azure traces; fetching."""

import functools
import hashlib
import http.server
import json
import os
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from request_files import ALL, ARRIVALS, ROWS, csv_text, options, sample_file, traces, write

from dnnsched import FormatError, _fetch, _formats, workloads

# --- convert, stats, slice -------------------------------------------------------------------------

@pytest.mark.parametrize("name", ALL)
def test_every_format_converts_to_our_own(name, tmp_path):
    source, fmt = sample_file(tmp_path, name), _formats.FORMATS[name]
    chosen = {"format": name, **options(name)}
    assert workloads.convert_trace(source, tmp_path / "out.csv", **chosen) == 4
    table = workloads.read_requests_table(tmp_path / "out.csv")
    assert table["arrival_s"].tolist() == pytest.approx(ARRIVALS[name][0], abs=1e-12)
    assert ("input_tokens" in table.dtype.names) == bool(fmt.tokens)
    assert ("model" in table.dtype.names) == bool(fmt.model)
    stats = workloads.trace_stats(source, **chosen)
    assert stats["n"] == 4
    assert workloads.slice_trace(source, tmp_path / "s.csv", n=2, **chosen) == 2


def test_stats_are_those_of_numpy(tmp_path):
    n = 4_000
    table = workloads.azure_like_table("code", n, rng=2)
    path = tmp_path / "t.csv"
    stamps = np.datetime64("2024-01-01", "ns") + (table["time_s"] * 1e9).astype("m8[ns]")
    rows = [[str(t).replace("T", " "), str(c), str(g)] for t, (_, c, g) in zip(stamps, table.tolist(), strict=True)]
    write(path, csv_text("azure_llm", rows))
    stats = workloads.trace_stats(path)
    times = table["time_s"]
    gaps, counts = np.diff(times), np.histogram(times, np.arange(0, times[-1], 60.0))[0]
    assert stats["gap_cv"] == pytest.approx(gaps.std() / gaps.mean(), rel=1e-5)
    assert stats["rate_rps"] == pytest.approx(1 / gaps.mean(), rel=1e-6)
    assert stats["dispersion_60s"] == pytest.approx(counts.var(ddof=1) / counts.mean(), rel=0.02)
    assert stats["tokens"]["context_tokens"]["p90"] == np.quantile(table["context_tokens"], 0.9)
    assert stats["token_correlation"] == pytest.approx(
        np.corrcoef(table["context_tokens"], table["generated_tokens"])[0, 1])
    one = write(tmp_path / "one.csv", csv_text("vidur", ROWS["vidur"][:1]))
    assert [workloads.trace_stats(one)[k] for k in ("rate_rps", "gap_cv", "dispersion_60s", "token_correlation")] == [
        None] * 4


def test_command_line_converts_describes_and_cuts(tmp_path, capsys):
    from dnnsched.cli import main

    source, out = str(sample_file(tmp_path, "burstgpt")), tmp_path / "out.jsonl"
    assert main(["trace", "convert", source, str(out), "--failures", "drop"]) == 0
    assert "3 requests" in capsys.readouterr().out
    assert main(["trace", "convert", source, str(out), "--failures", "drop"]) == 2
    assert "--force" in capsys.readouterr().err
    assert main(["trace", "convert", source, str(out), "--failures", "keep", "--force", "--to", "csv"]) == 0
    assert out.read_text().startswith("request_id,arrival_s,model,input_tokens,output_tokens,session_id\n")
    capsys.readouterr()
    assert main(["trace", "stats", source, "--from", "burstgpt", "--failures", "keep"]) == 0
    text = capsys.readouterr().out
    assert "requests            4" in text
    assert "ChatGPT 50 %, GPT-4 50 %" in text
    assert main(["trace", "slice", source, str(tmp_path / "s.csv"), "--window", "40:113", "--failures", "keep"]) == 0
    assert len((tmp_path / "s.csv").read_text().splitlines()) == 2
    before = sorted(p.name for p in tmp_path.iterdir())
    for argv, code in ((["convert", source, str(tmp_path / "x.csv")], 2), (["stats", str(tmp_path / "none.csv")], 3),
                       (["convert", source, str(tmp_path / "x.txt"), "--failures", "keep"], 2),
                       (["slice", source, str(tmp_path / "x.csv"), "--window", "5", "--failures", "keep"], 2),
                       (["slice", source, str(tmp_path / "x.csv"), "--window", "500:600", "--failures", "keep"], 2),
                       (["slice", source, str(tmp_path / "x.csv"), "--n", "9", "--failures", "keep"], 2),
                       (["convert", source, str(tmp_path / "x.csv"), "--from", "vidur"], 3),
                       (["convert", source, str(tmp_path / "x.csv"), "--from", "nothing"], 2),
                       (["slice", source, "x"], 2)):
        assert main(["trace", *argv]) == code, argv
        assert capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == before
    assert main(["list", "formats"]) == 0
    assert "alibaba_genai" in capsys.readouterr().out


RUN = """replications = 2
[workload]
traces = "multi-attnn"
n = 3
[[scheduler]]
name = "fcfs"
"""


def test_runs_on_a_file_carry_its_citation(tmp_path, capsys, monkeypatch):
    from dnnsched.cli import main

    monkeypatch.chdir(tmp_path)
    source = sample_file(tmp_path, "burstgpt")
    write(tmp_path / "run.toml", RUN)
    file = ["--set", "workload.arrivals=file", "--set", f"workload.file={source.name}"]
    assert main(["run", "run.toml", *file, "--set", "workload.failures=drop", "--out", "a", "--quiet"]) == 0
    record = json.loads((tmp_path / "a" / "run.json").read_text())
    wanted = _formats.FORMATS["burstgpt"].citations
    assert record["provenance"]["data_citations"] == wanted
    assert source.name in record["provenance"]["inputs"]
    assert f"## Data\n\n- {wanted[0]}" in (tmp_path / "a" / "report.md").read_text()
    assert main(["run", "run.toml", "--set", "workload.arrivals=azure_code", "--out", "b", "--quiet"]) == 0
    assert "synthetic, calibrated to" in (tmp_path / "b" / "report.md").read_text()
    capsys.readouterr()
    load = ["--set", "workload.rho=1", "--set"]
    for more, code, message in ((file, 2, "failures: expected 'keep' or 'drop'"),
                                (["--set", "workload.file=x.csv"], 2, "exactly one of rate, rho"),
                                ([*load, "workload.file=x.csv"], 2, "workload.file: needed"),
                                ([*load, "workload.format=vidur"], 2, "workload.format: for"),
                                ([*file[:3], "workload.file=none.csv"], 3, "no such file")):
        assert main(["run", "run.toml", *more, "--out", "c", "--quiet"]) == code, more
        assert message in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


# --- stand-ins for the Azure traces ----------------------------------------------------------------

CALIBRATION = {  # the sheet's table of the public files: rate, CV of gaps, dispersion per minute, then per token count
    # mean, p25, p50, p75, p90, p99, and the correlation
    "conv": (5.53, 1.09, 16, (1155, 396, 1020, 1189, 2734, 4142), (211, 85, 129, 395, 424, 601), -0.11),
    "code": (2.57, 13.2, 164, (2048, 578, 1469, 2744, 5187, 7436), (28, 9, 13, 24, 55, 251), 0.0),
}


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("kind", CALIBRATION)
def test_item_07_stand_ins_match_the_calibration_table(kind, seed):
    rate, cv, dispersion, context, generated, correlation = CALIBRATION[kind]
    table = workloads.azure_like_table(kind, 100_000, rng=seed)
    gaps = np.diff(table["time_s"])
    assert 1 / gaps.mean() == pytest.approx(rate, rel=0.02)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.10)
    counts = np.bincount((table["time_s"] // 60).astype(int))[:-1]
    assert counts.var(ddof=1) / counts.mean() == pytest.approx(dispersion, rel=0.25)
    for field, (mean, *quantiles) in (("context_tokens", context), ("generated_tokens", generated)):
        assert table[field].mean() == pytest.approx(mean, rel=0.02)
        np.testing.assert_allclose(np.quantile(table[field], [0.25, 0.5, 0.75, 0.9, 0.99]), quantiles, rtol=0.05)
    assert np.corrcoef(table["context_tokens"], table["generated_tokens"])[0, 1] == pytest.approx(correlation, abs=0.02)


def test_stand_ins_are_workloads_that_say_what_they_are():
    ts = traces()
    wl = workloads.azure_like("code", ts, 500, rng=3)
    assert wl.arrival.tolist() == workloads.azure_like_table("code", 500, rng=3)["time_s"].tolist()
    assert wl.meta["arrivals"]["origin"] == "synthetic"
    assert "synthetic" in wl.meta["data_citations"][0]
    assert "CC-BY" in wl.meta["data_citations"][0]
    assert wl.meta["rate"] == pytest.approx(2.5664)
    assert workloads.azure_like("conv", ts, 500, rho=0.5, rng=3).meta["offered_load"] == pytest.approx(0.5)
    assert workloads.azure_like("code", ts, 500, rng=3) == wl
    assert not np.array_equal(workloads.azure_like("code", ts, 500, rng=4).arrival, wl.arrival)
    for bad, message in (({"kind": "chat"}, "kind: expected one of 'conv', 'code'"), ({"n": 1}, "n: expected")):
        with pytest.raises(ValueError, match=message):
            workloads.azure_like_table(**{"kind": "conv", "n": 10, **bad})


def azure_file(name):
    root = Path(__file__).resolve().parents[1]
    for folder in (os.environ.get("DNNSCHED_DATA"), root.parent / "shared" / "data"):
        path = Path(folder or ".") / "azure_llm_2023" / f"AzureLLMInferenceTrace_{name}.csv"
        if folder and path.exists():
            return path
    return pytest.skip(f"AzureLLMInferenceTrace_{name}.csv not found: put it below $DNNSCHED_DATA/azure_llm_2023")


@pytest.mark.parametrize("kind", ["conv", "code"])
def test_tables_of_the_stand_ins_are_quantiles_of_the_public_files(kind):
    from dnnsched import _azure

    table, stored = workloads.read_azure_llm_table(azure_file(kind)), _azure._KINDS[kind]
    for values, known in ((np.diff(table["time_s"]), stored.gap_s), (table["context_tokens"], stored.context_tokens),
                          (table["generated_tokens"], stored.generated_tokens)):
        np.testing.assert_allclose(known, np.quantile(values, _azure._PROBABILITY), rtol=2e-4, atol=1e-8)
    assert (len(table) - 1) / table["time_s"][-1] == pytest.approx(stored.rate, rel=1e-5)


def test_quantile_tables_are_checked_before_drawing():
    from dnnsched._native import _base

    bits = np.random.PCG64(1)
    p, x = np.array([0.0, 0.5, 1.0]), np.array([0.0, 1.0, 4.0])
    times, _, clock = _base.draw_arta(bits, p, x, 0.2, 0.9, None, 0.0, 50_000)
    assert clock == times[-1]
    assert np.diff(times).mean() == pytest.approx(1.5, rel=0.03)
    for change, message in (((p, x[::-1].copy(), 0.2, 0.9), "quantile 1: expected"), ((p[:2], x, 0.2, 0.9), "quantile"),
                            ((p, x, 1.5, 0.9), r"share: expected a value in \[0, 1\]"), ((p, x, 0.5, -0.1), "keep"),
                            ((np.array([0.1, 0.5, 1.0]), x, 0.5, 0.1), "probability"), ((p, x - 1, 0.5, 0.1), "gaps")):
        with pytest.raises(ValueError, match=message):
            _base.draw_arta(bits, *change, None, 0.0, 5)
    with pytest.raises(ValueError, match="rho"):
        _base.draw_pairs(bits, p, x, x, 2.0, 5)
    with pytest.raises(ValueError, match="model: row 1: expected a model with samples, got 3"):
        _base.draw_samples(bits, np.array([1, 2], np.int32), np.array([0, 3], np.int32))
    with pytest.raises(TypeError, match="BitGenerator"):
        _base.draw_pairs(3, p, x, x, 0.0, 5)


# --- fetch -----------------------------------------------------------------------------------------

@pytest.fixture
def served(tmp_path, monkeypatch):
    """A server on this machine that hands out a file under two names of the registry; and the cache folder."""
    folder = tmp_path / "served"
    folder.mkdir()
    data = csv_text("vidur", ROWS["vidur"]).encode()
    write(folder / "known.csv", data)
    write(folder / "unknown.csv", data)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    handler.log_message = lambda *a: None
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    root = f"http://127.0.0.1:{server.server_port}/"
    digest = hashlib.sha256(data).hexdigest()
    monkeypatch.setattr(_fetch, "SOURCES", {"known": _fetch.Source(root + "known.csv", "vidur", digest),
                                            "unknown": _fetch.Source(root + "unknown.csv", "vidur"),
                                            "gone": _fetch.Source(root + "gone.csv", "vidur", digest),
                                            "wrong": _fetch.Source(root + "known.csv", "vidur", "0" * 64)})
    monkeypatch.setenv("DNNSCHED_DATA_DIR", str(tmp_path / "cache"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield server, tmp_path / "cache", digest
    server.shutdown()
    server.server_close()


def test_a_file_is_fetched_once_and_checked(served):
    pytest.importorskip("pooch")
    server, cache, digest = served
    path = workloads.fetch("known")
    assert path == cache / "known.csv"
    assert len(workloads.read_vidur_table(path)) == 4
    with pytest.warns(UserWarning, match=f"no published checksum is known; .* has SHA-256 {digest}: pass sha256="):
        workloads.fetch("unknown")
    server.shutdown()
    assert workloads.fetch("known") == path
    with pytest.warns(UserWarning, match="no published checksum"):
        workloads.fetch("unknown")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert workloads.fetch("unknown", sha256=digest.upper()) == cache / "unknown.csv"
    path.write_bytes(b"changed")
    with pytest.raises(FormatError, match=f"known.csv: expected SHA-256 {digest}, got .*; delete the file"):
        workloads.fetch("known")


def test_what_cannot_be_fetched_says_where_to_put_it(served, monkeypatch):
    pytest.importorskip("pooch")
    server, cache, _ = served
    with pytest.raises(FormatError, match="wrong: http"):
        workloads.fetch("wrong")
    with pytest.raises(ConnectionError, match=r"cannot fetch http.*gone\.csv .*put it at .*gone\.csv"):
        workloads.fetch("gone")
    assert [p.name for p in cache.iterdir()] == []
    server.shutdown()
    server.server_close()
    with pytest.raises(ConnectionError, match=r"download it where there is a network and put it at .*known\.csv"):
        workloads.fetch("known")
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r"dnnsched\[data\].*put it at .*known\.csv"):
        workloads.fetch("known")
    write(cache / "known.csv", csv_text("vidur", ROWS["vidur"]))
    assert workloads.fetch("known") == cache / "known.csv"
    for bad, message in ((("nothing",), "name: expected one of 'known'"), (("known", "12"), "sha256: expected 64")):
        with pytest.raises(ValueError, match=message):
            workloads.fetch(bad[0], **({"sha256": bad[1]} if bad[1:] else {}))


def test_the_registry_is_sound(monkeypatch, tmp_path):
    for name, source in _fetch.SOURCES.items():
        assert source.format in _formats.FORMATS
        assert source.url.startswith("https://")
        assert name in workloads.fetch.__doc__
    monkeypatch.delenv("DNNSCHED_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert _fetch.data_folder() == tmp_path / "dnnsched"
    for kind in ("code", "conv"):
        monkeypatch.setenv("DNNSCHED_DATA_DIR", str(azure_file(kind).parent))
        assert workloads.fetch(f"azure_llm_2023_{kind}") == azure_file(kind)
