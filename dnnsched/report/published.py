"""Numbers printed in a paper, one row per cell, each with its source."""

import csv
import math
from dataclasses import dataclass

from dnnsched.errors import FormatError

COLUMNS = ("paper", "item", "row", "column", "metric", "unit", "value", "origin", "scope", "aggregation", "erratum",
           "source")
ORIGINS = ("table", "plot", "label", "text", "code", "derived")


@dataclass(frozen=True)
class Cell:
    """One published number; the fields are the columns of ``published.csv``."""

    paper: str
    item: str
    row: str
    column: str
    metric: str
    unit: str
    value: float
    origin: str
    scope: str
    aggregation: str
    erratum: str
    source: str
    text: str
    """The value as written in the file, so that printed decimals are known."""

    @property
    def decimals(self):
        """Number of digits printed after the decimal point."""
        return len(self.text.partition(".")[2])

    @property
    def key(self):
        """(item, row, column, metric): unique within a paper."""
        return (self.item, self.row, self.column, self.metric)


class Published:
    """All published cells of one paper, addressed by (item, row, column, metric).

    Parameters
    ----------
    cells : iterable of Cell
        Keys must be unique.
    """

    def __init__(self, cells):
        self.cells = tuple(cells)
        self._by_key = {}
        for cell in self.cells:
            if cell.key in self._by_key:
                raise ValueError(f"cells: {cell.key} occurs twice")
            self._by_key[cell.key] = cell

    def __len__(self):
        return len(self.cells)

    def get(self, item, row, column, metric):
        """The cell, or None when the paper does not print it."""
        return self._by_key.get((item, row, column, metric))

    def value(self, item, row, column, metric):
        """The number itself.

        Raises
        ------
        KeyError
            If the paper does not print it.
        """
        return self._by_key[item, row, column, metric].value

    def select(self, **fields):
        """Cells whose fields equal the given ones, in file order."""
        return [c for c in self.cells if all(getattr(c, k) == v for k, v in fields.items())]


def load(path):
    """Read a ``published.csv``.

    Parameters
    ----------
    path : path-like
        UTF-8 CSV with exactly the columns of `COLUMNS`.

    Returns
    -------
    Published

    Raises
    ------
    FormatError
        Naming file, row and column.
    """
    cells, keys = [], {}
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        header = tuple(next(reader, ()))
        if header != COLUMNS:
            raise FormatError(f"{path}: row 1: expected the columns {', '.join(COLUMNS)}, got {', '.join(header)}")
        for number, row in enumerate(reader, start=2):
            if len(row) != len(COLUMNS):
                raise FormatError(f"{path}: row {number}: expected {len(COLUMNS)} fields, got {len(row)}")
            record = dict(zip(COLUMNS, row, strict=True))
            text = record["value"]
            try:
                value = float(text)
            except ValueError:
                value = math.nan
            if not math.isfinite(value):
                raise FormatError(f"{path}: row {number}, column value: expected a finite number, got {text!r}")
            if record["origin"] not in ORIGINS:
                raise FormatError(f"{path}: row {number}, column origin: expected one of {', '.join(ORIGINS)}, "
                                  f"got {record['origin']!r}")
            if not record["source"]:
                raise FormatError(f"{path}: row {number}, column source: expected a source, got nothing")
            cell = Cell(**{**record, "value": value}, text=text)
            if cell.key in keys:
                raise FormatError(f"{path}: row {number}: {cell.key} already in row {keys[cell.key]}")
            keys[cell.key] = number
            cells.append(cell)
    return Published(cells)
