"""Audit of printed numbers: recompute what follows from other printed numbers.

A printed number stands for an interval: its digits may have been rounded or cut, a point read
from a figure carries the reading error. A relation is *consistent* when the interval of the
printed number meets the interval computed from the others.
"""

import math
from dataclasses import dataclass, field

from dnnsched.report.tables import Table, number

CONSISTENT = "consistent"
CONTRADICTION = "contradiction"
NOTE = "note"

READING_RELATIVE = 0.005
READING_ABSOLUTE = 0.02


@dataclass(frozen=True)
class Span:
    """A closed interval of real numbers, with interval arithmetic for what audits need."""

    low: float
    high: float

    def __add__(self, other):
        return Span(self.low + other.low, self.high + other.high)

    def __sub__(self, other):
        return Span(self.low - other.high, self.high - other.low)

    def __truediv__(self, other):
        if other.low <= 0.0 <= other.high:
            return Span(-math.inf, math.inf)
        ends = [a / b for a in (self.low, self.high) for b in (other.low, other.high)]
        return Span(min(ends), max(ends))

    def __mul__(self, factor):
        ends = (self.low * factor, self.high * factor)
        return Span(min(ends), max(ends))

    def meets(self, other):
        """Whether the two share a point."""
        return self.low <= other.high and other.low <= self.high

    def __str__(self):
        if self.low == self.high:
            return number(self.low)
        return f"{number(self.low)} to {number(self.high)}"


def span(cell):
    """What a published cell may stand for.

    Printed digits: from half a unit of the last place below to one unit above in magnitude (rounded
    or cut). Points of a figure: the reading error, 0.5 % of the value and 0.02. Exact zeros read
    from a figure keep the absolute error.
    """
    if cell.origin == "plot":
        error = READING_RELATIVE * abs(cell.value) + READING_ABSOLUTE * (cell.unit in ("percent", "1", "1/s"))
        return Span(cell.value - error, cell.value + error)
    unit = 10.0 ** -cell.decimals
    near, far = abs(cell.value) - unit / 2, abs(cell.value) + unit
    return Span(near, far) if cell.value >= 0 else Span(-far, -near)


@dataclass(frozen=True)
class Finding:
    """One relation between printed numbers.

    Attributes
    ----------
    id, statement : str
    printed, recomputed : str
        For people.
    verdict : str
        ``"consistent"``, ``"contradiction"`` or ``"note"``.
    explanation : str
        Which reading holds, where one does.
    """

    id: str
    statement: str
    printed: str
    recomputed: str
    verdict: str
    explanation: str = ""


@dataclass
class Audit:
    """All findings of one paper.

    Attributes
    ----------
    paper, title : str
    findings : list of Finding
    cells : int
        Published cells that were available.
    """

    paper: str
    title: str
    findings: list = field(default_factory=list)
    cells: int = 0

    @property
    def contradictions(self):
        """The findings that do not hold."""
        return [f for f in self.findings if f.verdict == CONTRADICTION]

    def table(self):
        """The findings as a table, contradictions first."""
        order = {CONTRADICTION: 0, NOTE: 1, CONSISTENT: 2}
        rows = [[f.verdict, f.id, f.statement, f.printed, f.recomputed, f.explanation]
                for f in sorted(self.findings, key=lambda f: order[f.verdict])]
        return Table("audit", f"Audit of the printed numbers: {self.title}",
                     ["verdict", "id", "statement", "printed", "recomputed", "explanation"], rows)

    def text(self):
        """Plain text, one finding per paragraph, contradictions first."""
        count = {v: sum(f.verdict == v for f in self.findings) for v in (CONTRADICTION, NOTE, CONSISTENT)}
        lines = [f"Audit of {self.title}: {self.cells} printed numbers, {len(self.findings)} relations checked: "
                 f"{count[CONTRADICTION]} contradictions, {count[NOTE]} notes, {count[CONSISTENT]} consistent.", ""]
        for verdict in (CONTRADICTION, NOTE, CONSISTENT):
            for f in self.findings:
                if f.verdict != verdict:
                    continue
                lines.append(f"[{f.verdict}] {f.statement}")
                lines.append(f"    printed {f.printed}; recomputed {f.recomputed}")
                if f.explanation:
                    lines.append(f"    {f.explanation}")
        return "\n".join(lines) + "\n"

    def check(self, id, statement, cell, recomputed, readings=(), open_reading=False):
        """Add the finding that `cell` equals `recomputed`.

        Parameters
        ----------
        id, statement : str
        cell : published.Cell
            The printed number.
        recomputed : Span
        readings : iterable of (str, Span)
            Other meanings that the sentence could have; those that hold are named.
        open_reading : bool
            The paper does not say which reading it means: one that holds makes a note of it.
        """
        printed = span(cell)
        holds = printed.meets(recomputed)
        fitting = [name for name, other in readings if printed.meets(other)]
        others = "; ".join(f"{name}: {other}" for name, other in readings)
        explanation = others and f"other readings - {others}" + (f" (holds: {', '.join(fitting)})" if fitting else "")
        verdict = CONSISTENT if holds else NOTE if open_reading and fitting else CONTRADICTION
        self.findings.append(Finding(id, statement, f"{cell.text} {_unit(cell.unit)}".strip(), str(recomputed), verdict,
                                     explanation))

    def add(self, id, statement, printed, recomputed, verdict, explanation=""):
        """Add a finding that was judged elsewhere."""
        self.findings.append(Finding(id, statement, printed, recomputed, verdict, explanation))


def _unit(unit):
    return {"1": "", "pp": "points", "relative_percent": "%", "percent": "%"}.get(unit, unit)
