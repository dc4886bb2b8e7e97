"""A small report with everything a page shows, and an HTML reader that checks nesting."""

from html.parser import HTMLParser

import numpy as np

import dnnsched as ds
from dnnsched.report import claims, document, provenance, tables
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
