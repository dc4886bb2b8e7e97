"""The report page: structure and escaping without a browser; sorting, filters, theme and timeline in Chromium."""

import base64
import hashlib
import json
import re
import shutil
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest

import dnnsched as ds
from dnnsched import runconfig, running
from dnnsched.errors import FormatError
from dnnsched.papers.dysta import plan
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
                      "other/v": ds.Trace(np.full((3, 3), 0.1), model="other")})
    wl = ds.workloads.poisson(ts, rate=5.0, n=90, slo_multiplier=4.0, rng=3)
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
    found = Document(page.render(report))
    assert "i: antt (w, modelled), 4 of 5 rows" in found.text
    assert "i: stp_norm (w, modelled), 3 of 5 rows" in found.text
    assert "fairness" not in found.text
    assert "8 more rows are in summary.csv" in found.text
    assert "4 more rows are in report.md" in found.text


def test_run_writes_the_page_with_estimates(tmp_path):
    (tmp_path / "config.toml").write_text(CONFIG, encoding="utf-8")
    report = running.run(runconfig.load(tmp_path / "config.toml", []), jobs=1)
    report.save(tmp_path / "run")
    text = Document((tmp_path / "run" / "report.html").read_text(encoding="utf-8")).text
    assert "Estimates with intervals" in text
    assert "run: antt" in text
    assert "Claims" not in text
    assert "All 60 requests" in text


# In a browser

@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    """A headless Chromium that keeps its console."""
    webdriver = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.chrome.service import Service

    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip(f"needs chromium and chromedriver, found {browser} and {driver}")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
                     "--window-size=1200,900", f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    made = webdriver.Chrome(options=options, service=Service(driver))
    yield made
    made.quit()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Run directory of the small report."""
    return judged_report().save(tmp_path_factory.mktemp("page") / "run")


@pytest.fixture
def browser(chromium, saved):
    """The small report's page, freshly loaded; nothing in the console before and after."""
    chromium.get((saved / "report.html").as_uri())
    yield chromium
    assert chromium.get_log("browser") == []


def find(browser, selector):
    return browser.find_element("css selector", selector)


def column(browser, table, number):
    return browser.execute_script("return [...document.querySelectorAll(arguments[0] + ' tbody tr:not(.group)')]"
                                  ".map(r => r.cells[arguments[1]].textContent)", table, number)


def state(browser):
    """(start, end, slices drawn) of the timeline, after pending frames."""
    return browser.execute_async_script(
        "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => {"
        "const d = document.getElementById('timeline-view').dataset; done([+d.from, +d.to, +d.drawn]); }))")


@pytest.mark.toolchain
def test_item_report_page_loads_without_errors_and_without_requests(browser):
    assert browser.title == "T (ci)"
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    assert "js" in find(browser, "html").get_attribute("class")


@pytest.mark.toolchain
def test_security_policy_stops_everything_foreign(chromium, saved):
    chromium.get((saved / "report.html").as_uri())
    chromium.execute_script(
        "const s = document.createElement('img'); s.src = 'http://127.0.0.1:9/x.png'; document.body.append(s);")
    found = chromium.execute_async_script(
        "const done = arguments[0]; fetch('http://127.0.0.1:9/').then(() => done('sent'), () => done('refused'))")
    assert found == "refused"
    refused = [entry["message"] for entry in chromium.get_log("browser")]
    assert refused
    assert all("Content Security Policy" in m or "violates" in m for m in refused)


@pytest.mark.toolchain
def test_item_report_page_tables_sort(browser):
    head = find(browser, "#table-t thead th:nth-child(2)")
    assert column(browser, "#table-t", 1) == ["10.5 [9, 12]", "9.5", "100", "2 (3)", "1"]
    button = find(browser, "#table-t thead th:nth-child(2) button")
    button.click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert column(browser, "#table-t", 1) == ["9.5", "10.5 [9, 12]", "100", "1", "2 (3)"]
    button.click()
    assert head.get_attribute("aria-sort") == "descending"
    assert column(browser, "#table-t", 1) == ["100", "10.5 [9, 12]", "9.5", "2 (3)", "1"]
    button.send_keys("\n")
    assert head.get_attribute("aria-sort") is None
    assert column(browser, "#table-t", 1) == ["10.5 [9, 12]", "9.5", "100", "2 (3)", "1"]
    text = find(browser, "#table-t thead th:nth-child(3) button")
    text.click()
    assert column(browser, "#table-t", 2) == ["b", "text", "-", "a", "z"]
    text.click()
    assert column(browser, "#table-t", 2) == ["text", "b", "-", "z", "a"]
    assert browser.execute_script("return document.querySelectorAll('#table-t .group').length") == 2
    find(browser, "#more summary").click()
    find(browser, "#table-u thead th:nth-child(2) button").click()
    assert column(browser, "#table-u", 1) == ["-2", "1e-3", "-"]


@pytest.mark.toolchain
def test_item_report_page_claims_filter(browser):
    def shown():
        return browser.execute_script("return [...document.querySelectorAll('.claim:not([hidden])')].map(c => c.id)")

    assert shown() == [f"claim-c{k}" for k in range(5)]
    find(browser, "[data-filter=no]").click()
    assert shown() == ["claim-c2"]
    assert find(browser, "[data-filter=no]").get_attribute("aria-pressed") == "true"
    find(browser, "[data-filter=odd]").click()
    assert shown() == ["claim-c2", "claim-c3"]
    assert find(browser, "#shown").text == "2 of 5 shown"
    find(browser, "[data-filter=no]").click()
    find(browser, "[data-filter=odd]").click()
    find(browser, "[data-filter=differs]").click()
    assert shown() == ["claim-c0"]
    find(browser, "[data-filter=differs]").click()
    find(browser, "#find").send_keys("DIRECTION because")
    assert shown() == ["claim-c1"]


@pytest.mark.toolchain
def test_item_report_page_timeline_zooms(browser):
    from selenium.webdriver.common.keys import Keys

    canvas = find(browser, "#canvas")
    browser.execute_script("arguments[0].scrollIntoView()", find(browser, "#timeline-view"))
    start, end, drawn = state(browser)
    assert (start, drawn) == (0, len(json.loads(find(browser, "#timeline-data").get_attribute("textContent"))
                                     ["slices"]["start"]))
    find(browser, "[data-do=in]").click()
    a, b, fewer = state(browser)
    assert b - a == pytest.approx((end - start) / 2)
    assert 0 < fewer < drawn
    find(browser, "[data-do=left]").click()
    moved = state(browser)
    assert moved[0] < a
    assert moved[1] - moved[0] == pytest.approx(b - a)
    canvas.send_keys("+")
    assert state(browser)[1] - state(browser)[0] == pytest.approx((end - start) / 4)
    canvas.send_keys(Keys.ARROW_RIGHT)
    assert state(browser)[0] > moved[0]
    canvas.send_keys("0")
    assert state(browser) == [start, end, drawn]
    canvas.send_keys(Keys.ARROW_DOWN)
    assert re.match(r"request \d+, .*deadline after .*(met|missed)",
                    find(browser, "#chosen").get_attribute("textContent"))
    canvas.send_keys(Keys.SHIFT + Keys.ARROW_RIGHT)
    assert "layer 0" in find(browser, "#tip").text


@pytest.mark.toolchain
def test_timeline_wheel_drag_and_tooltip(browser):
    from selenium.webdriver.common.action_chains import ActionChains, ScrollOrigin
    from selenium.webdriver.common.actions.action_builder import ActionBuilder

    canvas = find(browser, "#canvas")
    browser.execute_script("arguments[0].scrollIntoView()", canvas)
    start, end, _ = state(browser)
    ActionChains(browser).scroll_from_origin(ScrollOrigin.from_element(canvas), 0, -60).perform()
    assert state(browser)[:2] == [start, end]  # the page scrolls until the timeline has the focus
    browser.execute_script("arguments[0].scrollIntoView()", canvas)
    ActionChains(browser).move_to_element(canvas).click().perform()
    ActionChains(browser).scroll_from_origin(ScrollOrigin.from_element(canvas), 0, -200).perform()
    a, b, _ = state(browser)
    assert b - a < end - start
    ActionChains(browser).drag_and_drop_by_offset(canvas, 150, 0).perform()
    dragged = state(browser)
    assert dragged[0] < a
    assert dragged[1] - dragged[0] == pytest.approx(b - a)
    canvas.send_keys("0")
    x, y = browser.execute_script(
        "const d = JSON.parse(document.getElementById('timeline-data').textContent);"
        "const c = document.getElementById('canvas');"
        "const b = c.getBoundingClientRect(), at = d.slices.start[0] + d.slices.length[0] / 2;"
        "return [b.left + 124 + at / d.span * (b.width - 124), b.top + 38]")
    state(browser)
    pointer = ActionBuilder(browser)
    pointer.pointer_action.move_to_location(int(x), int(y))
    pointer.perform()
    tip = find(browser, "#tip")
    assert re.match(r"request \d+, ", tip.text)
    assert "layer" in tip.text


@pytest.mark.toolchain
def test_dark_theme_toggles(browser):
    def colors():
        return browser.execute_script("const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]")

    before = colors()
    find(browser, "#theme").click()
    after = colors()
    assert before != after
    assert after == before[::-1] or sum(map(int, re.findall(r"\d+", after[1])[:3])) < 120
    assert find(browser, "#theme").get_attribute("aria-pressed") == "true"
    find(browser, "#theme").click()
    assert colors() == before


@pytest.mark.toolchain
def test_dark_theme_follows_the_system(chromium, saved):
    for scheme in ("dark", "light"):
        chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme",
                                                                              "value": scheme}]})
        chromium.get((saved / "report.html").as_uri())
        assert find(chromium, "html").get_attribute("data-theme") == scheme


@pytest.mark.toolchain
def test_print_layout_is_light_unfolded_and_has_no_controls(browser):
    find(browser, "#theme").click()
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert all(d.get_attribute("open") for d in browser.find_elements("css selector", "details"))
        assert not any(c.is_displayed() for c in browser.find_elements("css selector", "button:not(th button), nav"))
        assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert find(browser, "#table-u").is_displayed()
        pdf = base64.b64decode(browser.print_page())
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
        browser.execute_script("dispatchEvent(new Event('afterprint'))")
    assert pdf.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 2
    assert not all(d.get_attribute("open") for d in browser.find_elements("css selector", "details"))


@pytest.mark.toolchain
def test_narrow_window_scrolls_tables_not_the_page(browser):
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 380, "height": 800, "deviceScaleFactor": 1,
                                                                   "mobile": False})
    try:
        width, screen, canvas = browser.execute_script(
            "return [document.documentElement.scrollWidth, innerWidth, document.getElementById('canvas').clientWidth]")
        assert width <= screen
        assert canvas < 380
        assert state(browser)[2] > 0
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.toolchain
def test_text_has_enough_contrast_in_both_themes(browser):
    def luminance(color):
        parts = [int(color[k:k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for _ in range(2):
        names = ("ink", "soft", "link", "ok", "half", "no", "odd", "skip", "bg", "panel")
        found = dict(zip(names, browser.execute_script(
            "const s = getComputedStyle(document.documentElement);"
            "return arguments[0].map(n => s.getPropertyValue('--' + n).trim())", names), strict=True))
        for name in names[:-2]:
            for ground in names[-2:]:
                pair = sorted((luminance(found[name]), luminance(found[ground])))
                assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, (name, ground)
        find(browser, "#theme").click()


@pytest.mark.toolchain
def test_hostile_page_runs_nothing(chromium, tmp_path):
    report = judged_report(name=HOSTILE, note=HOSTILE, model=HOSTILE)
    (tmp_path / "report.html").write_text(page.render(report), encoding="utf-8")
    chromium.get((tmp_path / "report.html").as_uri())
    assert chromium.get_log("browser") == []
    assert HOSTILE in find(chromium, "h1").text
    assert HOSTILE in find(chromium, "#models").text


@pytest.mark.toolchain
def test_page_without_claims_and_timeline_loads(chromium, tmp_path):
    report = judged_report()
    report.claims, report.run = [], None
    (tmp_path / "report.html").write_text(page.render(report), encoding="utf-8")
    chromium.get((tmp_path / "report.html").as_uri())
    assert chromium.get_log("browser") == []
    assert not chromium.find_elements("css selector", "#claims, #timeline")
    find(chromium, "#table-t thead th:nth-child(2) button").click()
    assert column(chromium, "#table-t", 1)[0] == "9.5"


@pytest.mark.toolchain
def test_page_of_a_reproduction(chromium, tmp_path, monkeypatch):
    small = plan.Plan("ci", seeds=(1, 2), draws=2, requests=40, etas=(0.01,),
                      slo_loads={"attnn": (0.95,), "cnn": (0.83,)})
    monkeypatch.setitem(plan.PLANS, "ci", small)
    monkeypatch.setattr(plan, "LOADS", plan.LOADS_12)
    monkeypatch.setattr(document, "has_matplotlib", lambda: False)
    report = ds.reproduce("dysta", profile="ci")
    path = report.save(tmp_path / "run") / "report.html"
    found = Document(path.read_text(encoding="utf-8"))
    for claim in report.claims:
        assert " ".join(claim.title.split()) in found.text
        assert " ".join(claim.reason.split()) in found.text
    for table in report.tables.values():
        assert " ".join(table.title.split()) in found.text
    chromium.get(path.as_uri())
    assert len(chromium.find_elements("css selector", ".claim")) == len(report.claims)
    tables_shown = chromium.find_elements("css selector", ".table")
    assert [t.get_attribute("id") for t in tables_shown] == \
        [f"table-{t.name}" for t in sorted(report.tables.values(), key=lambda t: not t.brief)]
    assert "40 requests" in find(chromium, "#timeline figcaption").text
    assert state(chromium)[2] > 100
    assert chromium.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert chromium.get_log("browser") == []
