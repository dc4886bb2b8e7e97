"""The report page in headless Chromium: no error, no request, sorting, filters, themes, print, timeline."""

import base64
import json
import re
import shutil

import pytest
from page_cases import HOSTILE, Document, judged_report

import dnnsched as ds
from dnnsched.papers.dysta import plan
from dnnsched.report import document, page

pytestmark = pytest.mark.toolchain


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


def test_item_report_page_loads_without_errors_and_without_requests(browser):
    assert browser.title == "T (profile ci)"
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    assert "js" in find(browser, "html").get_attribute("class")


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


def test_dark_theme_follows_the_system(chromium, saved):
    for scheme in ("dark", "light"):
        chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme",
                                                                              "value": scheme}]})
        chromium.get((saved / "report.html").as_uri())
        assert find(chromium, "html").get_attribute("data-theme") == scheme


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


def test_hostile_page_runs_nothing(chromium, tmp_path):
    report = judged_report(name=HOSTILE, note=HOSTILE, model=HOSTILE)
    (tmp_path / "report.html").write_text(page.render(report), encoding="utf-8")
    chromium.get((tmp_path / "report.html").as_uri())
    assert chromium.get_log("browser") == []
    assert HOSTILE in find(chromium, "h1").text
    assert HOSTILE in find(chromium, "#models").text


def test_page_without_claims_and_timeline_loads(chromium, tmp_path):
    report = judged_report()
    report.claims, report.run = [], None
    (tmp_path / "report.html").write_text(page.render(report), encoding="utf-8")
    chromium.get((tmp_path / "report.html").as_uri())
    assert chromium.get_log("browser") == []
    assert not chromium.find_elements("css selector", "#claims, #timeline")
    find(chromium, "#table-t thead th:nth-child(2) button").click()
    assert column(chromium, "#table-t", 1)[0] == "9.5"


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
