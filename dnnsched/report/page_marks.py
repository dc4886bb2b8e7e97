"""Marks of the report page: escaped text, interval bars on one axis, figures as inline SVG."""

import html
import math
import re
import xml.etree.ElementTree as ET

WIDTH = 200
"""Width of an interval bar in SVG units; the axis leaves `_PAD` at both ends."""

_PAD = 8
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def esc(text):
    """Text for HTML content and quoted attributes; control characters become U+FFFD."""
    return html.escape(_CONTROL.sub("\ufffd", str(text)), quote=True)


class Axis:
    """One axis for many bars: linear, logarithmic, or logarithmic with a linear part at 0.

    Parameters
    ----------
    values : iterable of float
        Everything that must fit; values that are not finite are ignored.

    Notes
    -----
    Logarithmic where all values are positive and span a factor of 12 or more; with zeros and a span of 30,
    log(1 + x / c) with c = a hundredth of the largest value. Interval ends below the axis are cut at its left edge.
    """

    def __init__(self, values):
        found = [v for v in values if v is not None and math.isfinite(v)] or [0.0, 1.0]
        low, high = min(found), max(found)
        positive = [v for v in found if v > 0]
        self.kind = "linear"
        if low > 0 and high / low >= 12:
            self.kind = "log"
        elif low >= 0 and positive and high / min(positive) >= 30:
            self.kind = "symlog"
        self._c = high / 100 if self.kind == "symlog" else 1.0
        if self.kind == "linear" and 0 <= low < 0.5 * high:
            low = 0.0
        self.low, self.high = low, high
        a, b = self._map(low), self._map(high)
        if not b > a:
            half = abs(low) * 0.1 or 0.5
            self.kind, self.low, self.high = "linear", low - half, high + half
            a, b = self.low, self.high
        self._a, self._b = a, b

    def _map(self, value):
        if self.kind == "log":
            return math.log(value) if value > 0 else -math.inf
        if self.kind == "symlog":
            return math.copysign(math.log1p(abs(value) / self._c), value)
        return value

    def at(self, value):
        """Position of a value in SVG units, cut to the axis."""
        part = (self._map(value) - self._a) / (self._b - self._a)
        return round(_PAD + min(max(part, 0.0), 1.0) * (WIDTH - 2 * _PAD), 1)

    def ticks(self):
        """Values to label: the ends of decades first, then what fits between."""
        if self.kind == "linear":
            step = 10.0 ** math.floor(math.log10((self.high - self.low) / 2.0))
            step *= next(m for m in (1, 2, 5, 10) if (self.high - self.low) / (step * m) <= 4)
            first = math.ceil(self.low / step - 1e-9)
            wanted = [k * step for k in range(first, math.floor(self.high / step + 1e-9) + 1)]
        else:
            smallest = self.low if self.kind == "log" else self._c
            decades = range(math.floor(math.log10(smallest)), math.ceil(math.log10(self.high)) + 1)
            wanted = [0.0] * (self.kind == "symlog") + [m * 10.0 ** d for m in (1, 2, 5) for d in decades]
        kept = []
        for value in wanted:
            inside = self.low <= value <= self.high * (1 + 1e-9)
            if inside and all(abs(self.at(value) - self.at(k)) >= 30 for k in kept):
                kept.append(value)
        return sorted(kept)

    def svg(self):
        """The axis itself, for a column's head."""
        marks = "".join(f'<path class="k" d="M{self.at(v)} 12v4"/><text x="{self.at(v)}" y="10">{v:g}</text>'
                        for v in self.ticks())
        return (f'<svg class="bar" viewBox="0 0 {WIDTH} 16" aria-hidden="true"><path class="k" d="M{_PAD} 15.5H'
                f'{WIDTH - _PAD}"/>{marks}</svg>')


def bars(axis, entries):
    """Our means with their intervals, and the published values, one line per entry.

    Parameters
    ----------
    axis : Axis
    entries : sequence of (Interval, float or None)
        Ours and the published value.

    Returns
    -------
    str
        SVG without text: the numbers stand beside it.
    """
    parts = []
    for line, (ours, printed) in enumerate(entries):
        y = 7 + 12 * line
        if math.isfinite(ours.low) and ours.high > ours.low:
            parts.append(f'<path class="i" d="M{axis.at(ours.low):g} {y}H{axis.at(ours.high):g}"/>')
        parts.append(f'<path class="o" d="M{axis.at(ours.value):g} {y}h0"/>')
        if printed is not None:
            parts.append(f'<path class="p" d="M{axis.at(printed):g} {y - 5}l5 5-5 5-5-5z"/>')
    height = 2 + 12 * len(entries)
    return f'<svg class="bar" viewBox="0 0 {WIDTH} {height}" aria-hidden="true">{"".join(parts)}</svg>'


_INK = {"#000000": "ink", "black": "ink", "#ffffff": "paper", "white": "paper", "#4d4d4d": "axis", "#333333": "axis",
        "#e3e3e3": "grid", "#b0b0b0": "rule"}
_COLOR = re.compile(r"(fill|stroke)(\s*:\s*)(" + "|".join(_INK) + r")(?![\w-])", re.IGNORECASE)
_NUMBER = re.compile(r"-?\d+\.\d{2,}")
_TRANSLATE = re.compile(r"translate\([^)]*\)")
_REFERENCE = re.compile(r"#([\w.-]+)")
_URL = re.compile(r"url\(#([\w.-]+)\)")
_DROPPED = ("metadata", "script", "style", "foreignObject", "title", "desc")


def figure_svg(text, prefix, styles):
    """A figure's SVG for use inside a page.

    Parameters
    ----------
    text : str
        An SVG document.
    prefix : str
        Begins every id, so that several figures share a page.
    styles : dict
        Style -> class, shared by the page's figures; new styles are added. :func:`style_rules` writes them out.

    Returns
    -------
    str
        One ``svg`` element without comments, style sheets, scripts and references to anything outside; coordinates
        with one decimal; black, white and greys as custom properties, so that figures follow the page's theme.
    """
    out = []
    used = {name: f"{prefix}{at:x}" for at, name in enumerate(dict.fromkeys(_REFERENCE.findall(text)))}
    _write(ET.fromstring(text), used, styles, out)
    return "".join(out)


def style_rules(styles):
    """The style sheet of the classes that figures use."""
    return "".join(f".{name}{{{style}}}\n" for style, name in styles.items())


def _short(text, decimals=1):
    """Numbers with few decimals, no space that is not needed."""
    text = _NUMBER.sub(lambda m: f"{float(m[0]):.{decimals}f}".removesuffix(".0"), text)
    return re.sub(r"\s*([A-Za-z,()])\s*", r"\1", " ".join(text.split()))


def _size(node):
    """The natural width in points as a custom property, for the page's style sheet."""
    box = node.get("viewBox", "").split()
    return f' style="--w:{float(box[2]):.0f}"' if len(box) == 4 else ""


def _attributes(name, node, used, styles):
    for key, value in node.attrib.items():
        short = key.rpartition("}")[2]
        dropped = (short.lower().startswith("on") or (short == "href" and value[1:] not in used)
                   or (short == "id" and value not in used)
                   or (name == "svg" and short in ("width", "height", "version")))
        if dropped:
            continue
        if short == "id":
            value = used[value]
        elif short == "href":
            value = "#" + used[value[1:]]
        value = _URL.sub(lambda m: f"url(#{used[m[1]]})", value)
        if short == "style":
            value = _COLOR.sub(lambda m: f"{m[1]}{m[2]}var(--f-{_INK[m[3].lower()]})", value)
            value = "; ".join(p.strip() for p in value.split(";") if p.strip() and not re.search(r"[<>{}@\\]", p))
            short, value = "class", styles.setdefault(value, f"s{len(styles):x}")
        elif short in ("d", "points", "x", "y", "width", "height", "x1", "x2", "y1", "y2"):
            value = _short(value)
        elif short == "transform":
            value = _TRANSLATE.sub(lambda m: _short(m[0], 2), value)
        yield f' {short}="{esc(value)}"'


def _write(node, used, styles, out):
    name = node.tag.rpartition("}")[2] if isinstance(node.tag, str) else None
    if name is None or name in _DROPPED:
        return
    attributes = "".join(_attributes(name, node, used, styles))
    if name == "svg":
        attributes += _size(node)
    inner = []
    if node.text and node.text.strip():
        inner.append(esc(node.text))
    for child in node:
        _write(child, used, styles, inner)
        if child.tail and child.tail.strip():
            inner.append(esc(child.tail))
    if name == "g" and not attributes:
        out += inner
    elif inner:
        out.append(f"<{name}{attributes}>{''.join(inner)}</{name}>")
    else:
        out.append(f"<{name}{attributes}/>")
