"""The audit finds the paper's contradictions from the printed cells alone, and loses them when the cells are mended."""

import dataclasses

import pytest

import dnnsched as ds
from dnnsched.errors import FormatError
from dnnsched.papers import _audit, dysta
from dnnsched.papers.dysta import relations
from dnnsched.report import published


@pytest.fixture(scope="module")
def cells():
    return dysta.published()


def contradictions(cells):
    return {f.id for f in relations.audit(cells, "x").contradictions}


def mended(cells, item, row, column, metric, text):
    return published.Published(
        dataclasses.replace(c, value=float(text), text=text) if c.key == (item, row, column, metric) else c
        for c in cells.cells)


KNOWN = {
    "lowest-violations-attnn-30", "lowest-violations-attnn-40", "lowest-violations-cnn-3", "lowest-violations-cnn-4",
    "antt-declines-cnn-4", "antt-sjf-cnn-4", "cnn-antt-sjf", "fig12b-violation", "fig12b-antt", "fig12d-violation",
    "fig12d-antt", "table5-fig14-attnn-sjf-violation_rate", "table6-dsp-total", "table2-text", "fig2-latency_min",
    "fig2-latency_max", "code-bart", "code-glb", "fig14-fig15",
}


def test_known_contradictions_are_found(cells):
    assert contradictions(cells) >= KNOWN


def test_agreeing_numbers_are_not_accused(cells):
    found = contradictions(cells)
    assert not {i for i in found if i.startswith("table5-fig14")} - {"table5-fig14-attnn-sjf-violation_rate"}
    assert not {"throughput", "headline-violation", "table6-lut", "table6-dsp", "table6-memory"} & found


@pytest.mark.parametrize(("key", "text", "finding"), [
    (("table6", "total", "dsp", "resources"), "197", "table6-dsp-total"),
    (("table5", "sjf", "attnn rate=30 slo=10", "violation_rate"), "15.5", "table5-fig14-attnn-sjf-violation_rate"),
    (("fig12", "arrow", "cnn rate=4 slo=10", "antt_ratio"), "9.4", "fig12d-antt"),
    (("fig14", "dysta", "attnn rate=40 slo=150", "violation_rate"), "1.40", "lowest-violations-attnn-40"),
])
def test_a_mended_cell_removes_its_contradiction(cells, key, text, finding):
    assert finding in contradictions(cells)
    assert finding not in contradictions(mended(cells, *key, text))


def test_a_spoilt_cell_adds_a_contradiction(cells):
    spoilt = mended(cells, "table5", "dysta", "attnn rate=30 slo=10", "antt", "4.1")
    assert "table5-fig14-attnn-dysta-antt" in contradictions(spoilt)


def test_open_readings_are_notes(cells):
    verdicts = {f.id: f.verdict for f in relations.audit(cells, "x").findings}
    assert verdicts["headline-antt"] == _audit.NOTE
    assert verdicts["fig13-cnn-dysta-antt"] == _audit.NOTE


def test_public_entry_point_and_text():
    text = ds.audit("dysta").text()
    assert "21 contradictions" in text.splitlines()[0]
    assert "194 + 3" in text
    with pytest.raises(ValueError, match=r"paper: expected one of dysta, got 'dista'; did you mean 'dysta'"):
        ds.audit("dista")


def test_span_of_printed_digits():
    def cell(text, origin="table", unit="1"):
        return published.Cell("p", "i", "r", "c", "m", unit, float(text), origin, "", "", "", "s", text)
    assert (_audit.span(cell("4.7")).low, _audit.span(cell("4.7")).high) == pytest.approx((4.65, 4.8))
    assert (_audit.span(cell("-10")).low, _audit.span(cell("-10")).high) == pytest.approx((-11, -9.5))
    assert _audit.span(cell("200", "plot")).high == pytest.approx(201.02)


@pytest.mark.parametrize(("edit", "message"), [
    (lambda rows: [rows[0], rows[1].replace("18.9", "x")], r"row 2, column value: expected a finite number, got 'x'"),
    (lambda rows: [rows[0], rows[1].replace(",table,", ",guess,")], r"row 2, column origin: expected one of table"),
    (lambda rows: [rows[0].replace("metric", "metrik")], r"row 1: expected the columns paper"),
    (lambda rows: [rows[0], rows[1], rows[1]], r"row 3: .* already in row 2"),
    (lambda rows: [rows[0], "dysta,table5"], r"row 2: expected 12 fields, got 2"),
])
def test_bad_published_file_names_row_and_column(tmp_path, edit, message):
    source = dysta._file("published.csv").read_text(encoding="utf-8").splitlines()
    path = tmp_path / "published.csv"
    path.write_text("\n".join(edit(source)) + "\n", encoding="utf-8")
    with pytest.raises(FormatError, match=message):
        published.load(path)


def test_every_plotted_point_of_the_sweeps_is_there(cells):
    assert len(cells.select(item="fig14")) == 4 * 2 * 7 * 6
    assert len(cells.select(item="fig15")) == 7 * 3 * (4 + 5)
    assert len(cells.select(item="fig12", origin="plot")) == 4 * 2 * 7
    assert all(c.value >= 0 for c in cells.select(item="fig14"))
