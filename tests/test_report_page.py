"""The report page without a browser: structure, escaping, contents, the same bytes."""

import base64
import hashlib
import json
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from page_cases import HOSTILE, Document, judged_report

import dnnsched as ds
from dnnsched import runconfig, running
from dnnsched.errors import FormatError
from dnnsched.report import document, page, page_marks, page_timeline, rundir, tables
from dnnsched.report.results import Point, Results


def policy_of(text):
    return next(a["content"] for t, a in Document(text).elements if a.get("http-equiv") == "Content-Security-Policy")


def test_page_is_well_formed_and_stands_alone():
    text = page.render(judged_report())
    found = Document(text)
    for tag, attributes in found.elements:
        assert "src" not in attributes, tag
        assert "srcset" not in attributes
        assert not any(k.startswith("on") for k in attributes), (tag, attributes)
        for name in ("href", "xlink:href", "action", "data"):
            link = attributes.get(name, "#main")
            assert tag == "a" or link.startswith("#"), (tag, link)
            assert re.fullmatch(r"#[\w-]+|[\w./-]+\.(csv|json|json\.gz|svg|png)|https://ui\.perfetto\.dev", link), link
    assert not {"link", "iframe", "object", "embed", "base", "form"} & {t for t, _ in found.elements}
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
    assert "@import" not in style
    assert "url(" not in style
    ids = [a["id"] for _, a in found.elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for a in found.of("a") if a["href"].startswith("#")} <= set(ids)


def test_security_policy_allows_this_script_only():
    text = page.render(judged_report())
    script = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(script) == 1
    digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    policy = policy_of(text)
    assert f"script-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe-inline" not in policy.replace("style-src 'unsafe-inline'", "")


def test_hostile_names_are_inert():
    plain = Document(page.render(judged_report()))
    report = judged_report(name=HOSTILE, note=HOSTILE, model=HOSTILE + "/\x00\u2028")
    text = page.render(report)
    found = Document(text)
    assert [t for t, _ in found.elements] == [t for t, _ in plain.elements]
    assert HOSTILE in found.text
    assert "\x00" not in text
    data = re.search(r'id="timeline-data">(.*?)</script>', text, re.DOTALL)[1]
    assert json.loads(data)["keys"][0].startswith(HOSTILE)
    assert "<" not in data


def test_every_claim_table_note_and_citation_is_there():
    report = judged_report()
    found = Document(page.render(report))
    for claim in report.claims:
        for part in (claim.title, claim.reason, claim.because, claim.verdict, *(c.text for c in claim.cases)):
            assert part in found.text
    assert "On record: not reproduced." in found.text
    assert "5 claims; 1 differs from the record" in found.text
    for table in report.tables.values():
        assert table.title in found.text
        assert table.note in found.text
        for row in table.rows:
            for text in row:
                assert " ".join(text.split()) in found.text
    for text in (*report.notes, *report.recorder.citations, report.citation, report.run_id, report.run.title):
        assert text in found.text
    for series in report.results:
        if series.published is None:
            continue
        low, high = (tables.number(v) for v in (series.interval().low, series.interval().high))
        assert f"[{low}, {high}]" in found.text
    assert "3.0" in found.text


def test_headers_have_scopes_and_tables_captions():
    text = page.render(judged_report())
    for table in re.findall(r"<table data-sort>.*?</table>", text, re.DOTALL):
        found = Document(table)
        assert table.startswith("<table data-sort><caption>")
        for attributes in found.of("th"):
            assert attributes["scope"] in ("col", "row", "rowgroup")
    assert '<tr class="group"><th scope="rowgroup" colspan="3">set one</th></tr>' in text
    assert '<th scope="row" class=same>d</th>' in text


def test_the_same_report_gives_the_same_bytes(tmp_path):
    assert page.render(judged_report()) == page.render(judged_report())
    for name in ("a", "b"):
        judged_report().save(tmp_path / name)
    assert (tmp_path / "a" / "report.html").read_bytes() == (tmp_path / "b" / "report.html").read_bytes()
    assert "report.html" in rundir.validate(tmp_path / "a")["files"]


@pytest.mark.parametrize(("edit", "message"), [
    (lambda t: t.replace("<!DOCTYPE html>", ""), "report.html: expected an HTML page"),
    (lambda t: t.replace("Content-Security-Policy", "x"), "expected a security policy"),
    (lambda t: t[:-9], "expected a whole page"),
    (lambda t: t.replace("p-ci-", "q-ci-"), "expected the page of run p-ci-"),
])
def test_validation_of_the_page(tmp_path, edit, message):
    target = judged_report().save(tmp_path / "run") / "report.html"
    target.write_text(edit(target.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(FormatError, match=message):
        rundir.validate(tmp_path / "run")
    target.write_bytes(b"\xff\xfe")
    with pytest.raises(FormatError, match="not an HTML page in UTF-8"):
        rundir.validate(tmp_path / "run")


def test_without_figures_the_page_says_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setattr(document, "has_matplotlib", lambda: False)
    report = judged_report()
    report.draw_figures = lambda report: {}
    report.save(tmp_path / "run")
    text = Document((tmp_path / "run" / "report.html").read_text(encoding="utf-8")).text
    assert "pip install 'dnnsched[viz]'" in text


def test_figures_are_inlined_without_what_a_page_must_not_have():
    drawn = ('<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
             'width="9pt" viewBox="0 0 9 9"><metadata>m</metadata><style>*{fill:red}</style><script>bad()</script>'
             '<defs><path id="a" d="M 0.123456 1"/></defs><g id="unused"><use xlink:href="#a" x="1.23456" '
             'onclick="bad()" transform="translate(1.23456 2) scale(0.015625)" style="fill: #000000; stroke: #ffffff"/>'
             '<image xlink:href="http://x/y.png"/><path clip-path="url(#a)" style="fill:#0000001"/></g></svg>')
    styles = {"fill: red": "s0"}
    made = page_marks.figure_svg(drawn, "f1-", styles)
    assert made == ('<svg viewBox="0 0 9 9" style="--w:9"><defs><path id="f1-0" d="M0.1 1"/></defs>'
                    '<use href="#f1-0" x="1.2" transform="translate(1.23 2) scale(0.015625)" class="s1"/><image/>'
                    '<path clip-path="url(#f1-0)" class="s2"/></svg>')
    assert page_marks.style_rules(styles) == (".s0{fill: red}\n.s1{fill: var(--f-ink); stroke: var(--f-paper)}\n"
                                              ".s2{fill:#0000001}\n")


def test_saved_figures_are_in_the_page(tmp_path):
    pytest.importorskip("matplotlib")
    from dnnsched.viz import style

    def draw(report):
        with style.context():
            made = {}
            for name in ("one", "two"):
                made[name] = style.figure(3, 2)
                made[name].subplots().plot([1, 2], [3, 4])
                made[name].set_label(f"Caption {name}")
        return made

    report = judged_report()
    report.draw_figures = draw
    report.save(tmp_path / "run")
    text = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    found = Document(text)
    assert "Caption one" in found.text
    assert "![Caption one](figures/one.png)" in (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    figures = re.findall(r'aria-label="Caption \w+"><svg.*?</svg>', text, re.DOTALL)
    assert len(figures) == 2
    ids = [i for f in figures for i in re.findall(r' id="([^"]+)"', f)]
    assert len(ids) == len(set(ids))
    for svg in figures:
        ET.fromstring(svg.partition(">")[2])
        assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg)) <= set(ids)


@pytest.mark.parametrize(("values", "kind"), [
    ([1.0, 5.0], "linear"), ([-1.0, 500.0], "linear"), ([1.0, 50.0], "log"), ([0.0, 0.5, 50.0], "symlog"),
    ([3.0], "linear"), ([], "linear"), ([0.0, 0.0], "linear"), ([np.nan, np.inf, 2.0], "linear"),
])
def test_axis_orders_values_and_labels(values, kind):
    axis = page_marks.Axis(values)
    assert axis.kind == kind
    finite = sorted(v for v in values if np.isfinite(v))
    places = [axis.at(v) for v in finite]
    assert places == sorted(places)
    assert all(0 <= p <= page_marks.WIDTH for p in places)
    assert len(set(places)) == len(set(finite))
    ticks = axis.ticks()
    assert ticks == sorted(ticks)
    assert all(axis.low <= t <= axis.high * 1.001 for t in ticks)


def test_window_is_the_block_with_most_preemptions_and_says_what_is_cut():
    timeline = judged_report().run.result.timeline
    r, s = timeline.rows, timeline.slices
    block, start, end, chosen = page_timeline.window(timeline, count=20, cap=10_000)
    sums = [int(r["n_preempt"][k:k + 20].sum()) for k in range(90 - 19)]
    assert max(sums) > 0
    assert block.tolist() == list(range(sums.index(max(sums)), sums.index(max(sums)) + 20))
    assert start == r["arrival_s"][block[0]]
    assert (r["finish_s"][block] <= end).sum() >= 16
    want = [k for k in range(len(s)) if s["t1_s"][k] > start and s["t0_s"][k] < end]
    assert sorted(chosen.tolist()) == want
    assert (np.diff(s["t0_s"][chosen]) >= 0).all()
    _, _, cut_end, few = page_timeline.window(timeline, count=20, cap=7)
    assert few.tolist() == chosen[:7].tolist()
    assert cut_end == s["t0_s"][chosen[7]]


def test_timeline_data_reads_back_to_the_slices():
    timeline = judged_report().run.result.timeline
    drawn = json.loads(json.dumps(page_timeline.data(timeline, "t")))
    s = timeline.slices
    block, start, _, chosen = page_timeline.window(timeline)
    begin = np.cumsum(drawn["slices"]["start"])
    np.testing.assert_allclose(start + begin * 1e-9, s["t0_s"][chosen], rtol=0, atol=2e-9)
    np.testing.assert_allclose(start + (begin + drawn["slices"]["length"]) * 1e-9, s["t1_s"][chosen], rtol=0, atol=2e-9)
    assert drawn["slices"]["id"] == s["id"][chosen].tolist()
    assert drawn["slices"]["stage"] == s["stage"][chosen].tolist()
    assert drawn["slices"]["key"] == s["program"][chosen].tolist()
    assert drawn["requests"]["id"] == block.tolist()
    assert drawn["requests"]["arrival"][0] == 0
    assert f"60 of 90 requests, {block[0]} to {block[-1]}" in drawn["note"]
    assert f"{len(chosen)} of {len(s)} layer slices" in drawn["note"]
    assert f"Left out here: 30 requests and {len(s) - len(chosen)} slices" in drawn["note"]


def test_timeline_of_requests_without_an_answer_and_without_deadline():
    slices = np.zeros(2, [("t0_s", "f8"), ("t1_s", "f8"), ("id", "i8"), ("resource", "i4"), ("stage", "i4"),
                          ("n", "i4")])
    slices["t0_s"], slices["t1_s"], slices["id"], slices["resource"], slices["n"] = 1.0, 2.0, [0, 1], [1, 1], 2
    rows = {"arrival_s": np.array([0.5, 0.75, np.nan]), "first_start_s": np.array([1.0, 1.0, np.nan]),
            "finish_s": np.array([2.0, np.nan, np.nan]), "deadline_s": np.array([np.inf, 1.5, np.inf]),
            "status": np.array([0, 2, 255], np.uint8), "key": np.zeros(3, np.int32), "n_preempt": np.zeros(3, np.int32)}
    made = ds.timeline.Timeline(slices, 5, rows, ["p"], ["a", "b"], {})
    drawn = json.loads(json.dumps(page_timeline.data(made, "t"), allow_nan=False))
    assert drawn["requests"]["finish"] == [1_500_000_000, None, None]
    assert drawn["requests"]["deadline"] == [None, 1_000_000_000, None]
    assert drawn["requests"]["arrival"] == [0, 250_000_000, None]
    assert drawn["requests"]["unanswered"] == [0, 1, 0]
    assert drawn["slices"]["n"] == [2, 2]
    assert drawn["slices"]["resource"] == [1, 1]
    assert drawn["resources"] == ["a", "b"]
    assert "did not keep 5 slices" in drawn["note"]


def test_run_without_timeline_says_so(tmp_path):
    report = judged_report()
    report.run.result.timeline = None
    assert "Its timeline was not recorded." in Document(page.render(report)).text


def test_compare_and_sweep_write_the_page(tmp_path):
    ts = ds.TraceSet({"a": ds.Trace(np.full((2, 5), 0.01)), "b/<b>": ds.Trace(np.full((3, 3), 0.03))})

    def study(seed, scheduler="sjf", rate=10.0):
        return ds.simulate(ds.workloads.poisson(ts, rate=rate, n=60, slo_multiplier=5.0, rng=seed), scheduler=scheduler)

    a, b = (ds.replicate(lambda seed, s=s: study(seed, s), n=4, rng=1) for s in ("fcfs", "dysta"))
    swept = ds.sweep({"scheduler": ["fcfs", "sjf"], "rate": [5.0, 15.0]}, study, replications=3)
    for name, report in (("compare", ds.compare(a, b).report()), ("sweep", swept.report())):
        report.save(tmp_path / name)
        found = Document((tmp_path / name / "report.html").read_text(encoding="utf-8"))
        for table in report.tables.values():
            assert " ".join(table.title.split()) in found.text
        assert f"{name}: antt" in found.text
        assert "Estimates with intervals" in found.text
        assert "report.html" in rundir.validate(tmp_path / name)["files"]
    swept = ds.sweep({"scheduler": ["fcfs", "sjf"]}, study, replications=2, store=tmp_path / "store")
    swept.save()
    assert (tmp_path / "store" / "report.html").is_file()


CONFIG = """
seed = 3
replications = 2

[workload]
traces = "multi-attnn-calibrated"
rho = 0.9
n = 60

[[scheduler]]
name = "dysta"

[[scheduler]]
name = "sjf"
"""


def test_long_reports_are_cut_visibly(monkeypatch):
    monkeypatch.setattr(page, "MAX_ROWS", 7)
    monkeypatch.setattr(page, "MAX_GROUP", 4)
    monkeypatch.setattr(page, "MAX_TABLE", 3)
    made = Results()
    for metric in ("antt", "stp_norm", "fairness"):
        for k in range(5):
            made.add(Point("i", "w", f"s{k}"), metric, [1.0 + k, 2.0], origin="modelled", method="m")
    report = judged_report()
    report.results, report.claims, report.run = made, [], None
    report.config = {"points": list(range(9000))}
    found = Document(page.render(report))
    assert "i: antt (w, modelled), 4 of 5 rows" in found.text
    assert "i: stp_norm (w, modelled), 3 of 5 rows" in found.text
    assert "fairness" not in found.text
    assert "8 more rows are in summary.csv" in found.text
    assert "4 more rows are in report.md" in found.text
    assert re.search(r"[\d,]+ more characters are in run.json", found.text)


def test_run_writes_the_page_with_estimates(tmp_path):
    (tmp_path / "config.toml").write_text(CONFIG, encoding="utf-8")
    report = running.run(runconfig.load(tmp_path / "config.toml", []), jobs=1)
    report.save(tmp_path / "run")
    text = Document((tmp_path / "run" / "report.html").read_text(encoding="utf-8")).text
    assert "Estimates with intervals" in text
    assert "run: antt" in text
    assert "Claims" not in text
    assert "All 60 requests" in text
