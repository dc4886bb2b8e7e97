"""The report page: structure and escaping without a browser; sorting, filters, theme and timeline in Chromium."""

import base64
import hashlib
import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest

import dnnsched as ds
from dnnsched import runconfig, running
from dnnsched.report import claims, document, page, page_marks, page_timeline, provenance, rundir, tables
from dnnsched.report.published import Cell
from dnnsched.report.results import Point, Results

HOSTILE = "</script><b>x</b><img src=x onerror=alert(1)>\"'&"
VOID = {"meta", "br", "img", "input", "link", "hr", "col"}


class Document(HTMLParser):
    """Elements, text and attributes; fails on a tag that is closed out of order."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.stack, self.elements, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag, attrs):
        names = [k for k, _ in attrs]
        assert len(names) == len(set(names)), (tag, names)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.stack, tag
        assert self.stack.pop() == tag

    def handle_data(self, data):
        if not {"script", "style"} & set(self.stack):
            self.texts.append(data)

    @property
    def text(self):
        return " ".join("".join(self.texts).split())

    def of(self, tag):
        return [a for t, a in self.elements if t == tag]


def cell(value, text):
    return Cell("p", "fig", "r", "c", "antt", "1", value, "table", "", "mean", "", "Fig. 1", text)


def judged_report(name="T", note="n", model="m"):
    """A small report with a claim of every verdict, a grouped table and a run with a timeline."""
    made = Results()
    for k, scheduler in enumerate(("fcfs", "sjf", "dysta")):
        for rate in (1.0, 2.0):
            made.add(Point("fig", f"{model}/x", scheduler, "paper", rate=rate), "antt",
                     [2.0 + k + rate, 3.0 + k, 4.0 + k], origin="synthetic", method="m",
                     published=cell(3.0 + k, f"{3.0 + k:.1f}") if k < 2 else None)
    verdicts = [claims.Claim(f"c{at}", f"{name} {verdict}", "bound", verdict, f"because of {note} {at}",
                             verdict if at else "not reproduced", f"expected {at}",
                             (claims.Case(verdict, f"case {at} a", ((s.point, "antt"),), 1.0),
                              claims.Case(verdict, f"case {at} b", (), 0.0)))
                for at, (verdict, s) in enumerate(zip(claims.VERDICTS, made, strict=False))]
    shown = {"t": tables.Table("t", f"Table {name}", ["", "x", "y"], [
        ["set one", "", ""], ["  a", "10.5 [9, 12]", "-"], ["  b", "9.5", "text"], ["  c", "100", "b"],
        ["set two", "", ""], ["  d", "2 (3)", "z"], ["", "1", "a"]], f"Note {note}"),
        "u": tables.Table("u", "Second", ["k", "v"], [[model, "1e-3"], ["b", "-"], ["c", "-2"]], brief=False)}
    ts = ds.TraceSet({model: ds.Trace(np.full((2, 5), 0.01), model=model),
                      "other/v": ds.Trace(np.full((3, 3), 0.02), model="other")})
    wl = ds.workloads.poisson(ts, rate=22.0, n=90, slo_multiplier=4.0, rng=3)
    run = document.NamedRun("r", f"run of {name}", ds.simulate(wl, scheduler="dysta", timeline=True), wl)
    return document.Report(
        paper="p", title=name, citation="Cited, doi:10", profile="ci", config={"a": [1, name]}, tables=shown,
        claims=verdicts, results=made, notes=[note], recorder=provenance.Recorder({"a": 1}, seeds=[1, 2],
                                                                                  citations=["Data of " + note]),
        platforms={model: "Chip"}, run=run)


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
            assert attributes.get("scope") in ("col", "row", "rowgroup") or attributes["class"] == "axis"
    assert '<tr class="group"><th scope="rowgroup" colspan="3">set one</th></tr>' in text
    assert '<th scope="row" class=same>d</th>' in text


def test_the_same_report_gives_the_same_bytes(tmp_path):
    assert page.render(judged_report()) == page.render(judged_report())
    for name in ("a", "b"):
        judged_report().save(tmp_path / name)
    assert (tmp_path / "a" / "report.html").read_bytes() == (tmp_path / "b" / "report.html").read_bytes()
    assert "report.html" in rundir.validate(tmp_path / "a")["files"]


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
    made = page_marks.figure_svg(drawn, "f1-")
    assert made == ('<svg viewBox="0 0 9 9"><defs><path id="f1-0" d="M 0.12 1"/></defs><use href="#f1-0" x="1.23" '
                    'transform="translate(1.23 2) scale(0.015625)" style="fill: var(--f-ink); stroke: var(--f-paper)"/>'
                    '<image/><path clip-path="url(#f1-0)" style="fill:#0000001"/></svg>')


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
    report = judged_report()
    result = report.run.result
    r, s = result.requests, result.timeline.slices
    first, last, start, end, chosen = page_timeline.window(r, s, count=20, cap=10_000)
    sums = [int(r["n_preempt"][k:k + 20].sum()) for k in range(len(r) - 19)]
    assert (first, last) == (sums.index(max(sums)), sums.index(max(sums)) + 20)
    assert start == r["arrival_s"][first]
    assert (r["finish_s"][first:last] <= end).sum() >= 16
    want = [k for k in range(len(s)) if s["t1_s"][k] > start and s["t0_s"][k] < end]
    assert sorted(chosen.tolist()) == want
    assert (np.diff(s["t0_s"][chosen]) >= 0).all()
    *_, cut_end, few = page_timeline.window(r, s, count=20, cap=7)
    assert few.tolist() == chosen[:7].tolist()
    assert cut_end == s["t0_s"][chosen[7]]
    text = page_timeline.note(report.run, first, last, start, end, len(chosen))
    assert f"Requests {first} to {last - 1} of 90" in text
    assert f"{len(chosen)} of {len(s)} layer slices" in text
    assert f"Left out here: 70 requests and {len(s) - len(chosen)} slices" in text


def test_timeline_data_reads_back_to_the_slices():
    run = judged_report().run
    drawn = json.loads(json.dumps(page_timeline.data(run)))
    s = run.result.timeline.slices
    first, _, start, _, chosen = page_timeline.window(run.result.requests, s)
    begin = np.cumsum(drawn["slices"]["start"])
    np.testing.assert_allclose(start + begin * 1e-9, s["t0_s"][chosen], rtol=0, atol=2e-9)
    np.testing.assert_allclose(start + (begin + drawn["slices"]["length"]) * 1e-9, s["t1_s"][chosen], rtol=0, atol=2e-9)
    assert drawn["slices"]["id"] == s["id"][chosen].tolist()
    assert drawn["slices"]["stage"] == s["stage"][chosen].tolist()
    assert drawn["keys"][drawn["slices"]["key"][0]] in run.result.traces
    assert drawn["requests"]["id"][0] == first
    assert drawn["requests"]["arrival"][0] == 0


def test_run_without_timeline_says_so(tmp_path):
    report = judged_report()
    report.run.result.timeline = None
    assert "Its timeline was not recorded." in Document(page.render(report)).text


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


def test_run_writes_the_page_with_estimates(tmp_path):
    (tmp_path / "config.toml").write_text(CONFIG, encoding="utf-8")
    report = running.run(runconfig.load(tmp_path / "config.toml", []), jobs=1)
    report.save(tmp_path / "run")
    text = Document((tmp_path / "run" / "report.html").read_text(encoding="utf-8")).text
    assert "Estimates with intervals" in text
    assert "run: antt" in text
    assert "Claims" not in text
    assert "All 60 requests" in text
