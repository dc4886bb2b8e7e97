"""The report as one self-contained HTML page: no network, no build step, the same bytes for the same results.

The page holds its style, its script and all data; a Content-Security-Policy forbids everything else. Without the
script it is a plain document: the script sorts tables, filters claims, folds, and draws the timeline.
"""

import base64
import hashlib
import json
import math
import re
from pathlib import Path
from string import Template

from dnnsched.report import claims as verdicts
from dnnsched.report import page_marks, page_timeline, provenance
from dnnsched.report.page_marks import esc
from dnnsched.report.results import METRICS
from dnnsched.report.tables import number

_ASSETS = Path(__file__).with_name("page")
MAX_ROWS, MAX_GROUP = 1500, 400
"""Rows of intervals that the page shows, in all and of one metric; all are in ``summary.csv``."""
MAX_TABLE = 2000
"""Rows of a table that the page shows; all are in ``report.md``."""
MAX_CONFIG = 20_000
"""Characters of the configuration that the page shows; all of it is in ``run.json``."""

_MARK = {verdicts.REPRODUCED: ("ok", "✓"), verdicts.DIRECTION: ("half", "≈"), verdicts.FAILED: ("no", "✗"),
         verdicts.INCONSISTENT: ("odd", "≠"), verdicts.SKIPPED: ("skip", "–")}
ORIGINS = {
    "published": "printed in the paper", "measured": "real kernel or real data", "modelled": "cost model",
    "synthetic": "generated from cited statistics",
    "calibrated": "parameters fitted on the same paper's numbers: a regression check, not evidence",
    "derived": "arithmetic on published cells"}


def render(report, figures=(), missing_viz="", requests_file="requests.csv"):
    """The page of a report.

    Parameters
    ----------
    report : document.Report
    figures : iterable of (str, str, str)
        Name, caption and SVG text.
    missing_viz : str
        Why there are no figures, if there should be.
    requests_file : str
        Name of the file with the named run's requests.

    Returns
    -------
    str
        HTML.
    """
    brief = [t for t in report.tables.values() if t.brief]
    rest = [t for t in report.tables.values() if not t.brief]
    timeline = getattr(report.run and report.run.result, "timeline", None)
    drawn = page_timeline.data(timeline, report.run.title) if timeline is not None and len(timeline.slices) else None
    styles = {}
    sections = [
        ("claims", "Claims", _claims(report)),
        ("tables", "Main tables", "".join(map(_table, brief))),
        ("intervals", *_intervals(report)),
        ("figures", "Figures", _figures(figures, missing_viz, styles)),
        ("timeline", "Timeline", _timeline(report, drawn, requests_file)),
        ("more", "All other tables", _folded(rest)),
        ("notes", "Notes", _items(report.notes)),
        ("origins", "Origin of numbers", _origins(report)),
        ("data", "Data", _items(report.recorder.citations)),
        ("provenance", "Provenance", _provenance(report)),
    ]
    sections = [s for s in sections if s[2]]
    script = _asset("page.js")
    return Template(_asset("page.html")).substitute(
        title=esc(report.heading), run_id=esc(report.run_id), version=esc(_version()),
        css=_asset("page.css") + page_marks.style_rules(styles), script=script, script_hash=_hash(script),
        timeline=_json(drawn),
        contents="\n".join(f'<li><a href="#{key}">{esc(title)}</a></li>' for key, title, _ in sections),
        body=_head(report) + "\n".join(f'<section id="{key}" aria-labelledby="{key}-h"><h2 id="{key}-h">{esc(title)}'
                                       f'</h2>\n{body}</section>' for key, title, body in sections))


def _asset(name):
    return (_ASSETS / name).read_text(encoding="utf-8")


def _hash(script):
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _version():
    from dnnsched import __version__

    return __version__


def _json(value):
    """JSON that cannot end its script element."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _items(lines):
    return "<ul>" + "".join(f"<li>{esc(line)}</li>" for line in lines) + "</ul>" if lines else ""


def _facts(pairs):
    return '<dl class="facts">' + "".join(f"<div><dt>{esc(k)}</dt><dd>{v}</dd></div>" for k, v in pairs) + "</dl>"


def _head(report):
    sets = list(dict.fromkeys(s.point.workload for s in report.results if s.point.workload))
    schedulers = list(dict.fromkeys(s.point.scheduler for s in report.results if s.point.scheduler))
    seeds = ", ".join(map(str, report.recorder.seeds))
    if len(seeds) > 40:
        seeds = f"{len(report.recorder.seeds)}, from {report.recorder.seeds[0]}; all in run.json"
    pairs = [("Profile", esc(report.profile)), ("Run", f"<code>{esc(report.run_id)}</code>"),
             ("Seeds", esc(seeds)),
             ("Workloads", _short(sets)), ("Schedulers and cases", _short(schedulers)),
             ("Numbers", f"{len(report.results):,} with 95 % Student-t intervals, "
                         f"{sum(len(s.values) for s in report.results):,} replications")]
    cite = f'<p class="cite">{esc(report.citation)}</p>' if report.citation else ""
    return f"<div class=\"title\"><h1>{esc(report.title)}</h1>{cite}{_facts([p for p in pairs if p[1]])}</div>\n"


def _short(names, limit=12):
    text = ", ".join(esc(n) for n in names[:limit])
    return text if len(names) <= limit else f"{text} and {len(names) - limit} more"


# claims

def _claims(report):
    if not report.claims:
        return ""
    counts = {v: sum(c.verdict == v for c in report.claims) for v in verdicts.VERDICTS}
    total, differ = len(report.claims), len(report.unexpected)
    bar = "".join(f'<span class="v-{_MARK[v][0]}" style="flex:{n}"></span>' for v, n in counts.items() if n)
    chips = "".join(
        f'<button type="button" class="chip v-{_MARK[v][0]}" data-filter="{_MARK[v][0]}" aria-pressed="false">'
        f'<span class="badge" aria-hidden="true">{_MARK[v][1]}</span> {esc(v)} <b>{n}</b></button>'
        for v, n in counts.items() if n)
    record = "every verdict is the one on record" if not differ else \
        f'<strong class="differs">{differ} differ{"s" * (differ == 1)} from the record</strong>'
    lines = "".join(f'<tr><th scope="row" class="v-{_MARK[v][0]}"><span class="badge" aria-hidden="true">{_MARK[v][1]}'
                    f'</span> {esc(v)}</th><td>{n}</td><td>{100 * n / total:.0f} %</td></tr>'
                    for v, n in counts.items() if n)
    return (f'<p class="lead">{total} claims; {record}.</p><div class="stack" aria-hidden="true">{bar}</div>'
            f'<div class="control filters" role="group" aria-label="Show claims">{chips}'
            f'<button type="button" class="chip" data-filter="differs" aria-pressed="false">differs from the record <b>'
            f'{differ}</b></button><label class="find">Find <input type="search" id="find"></label>'
            f'<output id="shown" aria-live="polite">{total} of {total} shown</output></div>'
            f'<div class="scroll no-control"><table class="narrow"><thead><tr><th scope="col">verdict</th>'
            f'<th scope="col">claims</th><th scope="col">share</th></tr></thead><tbody>{lines}</tbody></table></div>'
            f"{_LEGEND}"
            + "\n".join(_claim(report, c) for c in report.claims))


_KEY = ('<p class="legend"><svg class="bar key" viewBox="0 0 60 14" aria-hidden="true"><path class="i" d="M4 7H52"/>'
        '<path class="o" d="M28 7h0"/></svg> ')
_LEGEND_OURS = _KEY + "mean and 95 % interval. Bars of one table share an axis.</p>"
_LEGEND = (_KEY + 'ours, mean and 95 % interval '
           '<svg class="bar key small" viewBox="0 0 16 14" aria-hidden="true"><path class="p" d="M8 2l5 5-5 5-5-5z"/>'
           '</svg> published. Bars that stand together share an axis.</p>')


def _claim(report, claim):
    css, sign = _MARK[claim.verdict]
    found = _deciding(claim)
    entries = _judged(report, found) if found is not None else []
    axis = page_marks.Axis(v for case in claim.cases for e in _judged(report, case) for v in _extent(e))
    strip = ""
    if entries:
        printed = any(p is not None for _, _, p in entries)
        point, metric = found.judged[0]
        unit = report.results.at(point, metric).unit
        heads = (f"<span>{esc(metric if unit == '1' else f'{metric}, {unit}')}</span><span>ours</span>"
                 f"<span>{'published' * printed}</span>{axis.svg()}")
        strip = '<div class="deciding">' + heads + "".join(
            f"<span>{esc(name)}</span><span>{_ours(i)}</span><span>{number(p) if p is not None else ''}</span>"
            f"{page_marks.bars(axis, [(i, p)])}" for name, i, p in entries) + "</div>"
    record = (f'<p class="record">On record, as found: {esc(claim.because)}</p>' if claim.as_expected else
              f'<p class="record differs"><strong>On record: {esc(claim.expected)}.</strong> {esc(claim.because)}</p>')
    return (f'<article class="claim v-{css}" id="claim-{esc(claim.id)}" data-verdict="{css}" '
            f'data-differs="{"no" if claim.as_expected else "yes"}"><h3><span class="badge">'
            f'<span aria-hidden="true">{sign}</span> {esc(claim.verdict)}</span> {esc(claim.title)} '
            f'<code>{esc(claim.id)}</code></h3><div class="found"><p class="reason">{esc(claim.reason)}</p>{strip}'
            f"</div>{record}{_cases(report, claim, axis)}</article>")


def _deciding(claim):
    """The case that the claim's reason names."""
    tried = [c for c in claim.cases if c.verdict != verdicts.SKIPPED and c.judged]
    for verdict in (claim.verdict, verdicts.FAILED, verdicts.DIRECTION, verdicts.REPRODUCED):
        same = [c for c in tried if c.verdict == verdict]
        if same:
            return max(same, key=lambda c: c.score)
    return None


def _judged(report, case):
    """(label, interval, published or None) of the series that a case is about."""
    made = []
    for point, metric in case.judged:
        series = report.results.at(point, metric)
        if series is not None:
            made.append((point.scheduler or point.workload, series.interval(), _printed(series)))
    return made


def _printed(series):
    return None if series.published is None else series.published.value


def _extent(entry):
    _, interval, printed = entry
    return [v for v in (interval.value, interval.low, interval.high, printed) if v is not None]


def _ours(interval):
    text = number(interval.value)
    if math.isnan(interval.low) or interval.low == interval.high:
        return text
    return f'{text} <span class="ci">[{number(interval.low)}, {number(interval.high)}]</span>'


def _cases(report, claim, axis):
    if len(claim.cases) < 2:
        return ""
    rows = []
    for case in claim.cases:
        css, sign = _MARK[case.verdict]
        entries = _judged(report, case)
        bar = page_marks.bars(axis, [(i, p) for _, i, p in entries]) if entries else ""
        rows.append(f'<tr><td class="badge v-{css}">{sign} {esc(case.verdict)}</td><td>{esc(case.text)}</td>'
                    f"<td>{bar}</td></tr>")
    return (f'<details><summary>{len(claim.cases)} cases</summary><div class="scroll"><table class="cases"><thead><tr>'
            f'<th scope="col">verdict</th><th scope="col">found</th>{_axis_head(axis)}</tr>'
            f"</thead><tbody>{''.join(rows)}</tbody></table></div></details>")


# tables

_EXTRA = re.compile(r"^(.*\S) ([\[(].*[\])])$", re.DOTALL)


def _cell(text):
    """A cell's text, its interval or published value set apart."""
    found = _EXTRA.match(text)
    return f'{esc(found[1])} <span class="ci">{esc(found[2])}</span>' if found and found[1].strip() else esc(text)


def _numeric(rows, column):
    texts = [str(r[column]).strip() for r in rows]
    texts = [t for t in texts if t not in ("", "-")]
    return bool(texts) and all(re.match(r"[+-]?(\d|inf|nan)", t) for t in texts)


def _table(table):
    """One table: heading rows become row groups, a blank first cell repeats the one above."""
    rows = [[str(c) for c in row] for row in table.rows[:MAX_TABLE]]
    width = len(table.columns)
    heading = [bool(r[0].strip()) and not any(c.strip() for c in r[1:]) and width > 1 for r in rows]
    plain = [r for r, is_heading in zip(rows, heading, strict=True) if not is_heading]
    right = [i > 0 and _numeric(plain, i) for i in range(width)]
    head = "".join(f'<th scope="col"{_num(right[i])}>{esc(c) if str(c).strip() else _UNNAMED}</th>'
                   for i, c in enumerate(table.columns))
    parts, above = ["<tbody>"], ""
    for row, is_heading in zip(rows, heading, strict=True):
        if is_heading:
            parts.append(f'</tbody><tbody><tr class="group"><th scope="rowgroup" colspan="{width}">{esc(row[0])}'
                         "</th></tr>")
            continue
        same = not row[0].strip() and above
        above = above if same else row[0]
        first = f'<th scope="row"{" class=same" if same else ""}>{esc(above.strip())}</th>'
        parts.append(f"<tr>{first}" + "".join(f"<td{_num(right[i])}>{_cell(c)}</td>"
                                              for i, c in enumerate(row) if i) + "</tr>")
    body = "".join(parts).replace("<tbody></tbody>", "", 1) + "</tbody>"
    note = f'<p class="note">{esc(table.note)}</p>' if table.note else ""
    if len(table.rows) > MAX_TABLE:
        note += (f'<p class="cut">{len(table.rows) - MAX_TABLE:,} more rows are in <a href="report.md">report.md</a>.'
                 "</p>")
    key = re.sub(r"[^\w-]+", "-", table.name)
    return (f'<div class="table" id="table-{key}"><div class="scroll" tabindex="0" role="region" '
            f'aria-label="{esc(table.title)}"><table data-sort><caption>{esc(table.title)}</caption><thead><tr>{head}'
            f"</tr></thead>{body}</table></div>{note}</div>\n")


def _axis_head(axis):
    return f'<th scope="col" class="axis" data-fixed><span class="vh">drawn</span>{axis.svg()}</th>'


_UNNAMED = '<span class="vh">row</span>'


def _num(right):
    return ' class="n"' if right else ""


def _folded(tables):
    return "".join(f"<details><summary>{esc(t.title)}</summary>{_table(t)}</details>\n" for t in tables)


# every number with its interval

_FIELDS = {"scheduler": "scheduler", "semantics": "semantics", "rate": "rate, 1/s", "rho": "load", "slo": "SLO M",
           "group": "requests of"}


def _intervals(report):
    """Title and tables: published beside ours, or ours alone when nothing is published."""
    chosen = [s for s in report.results if s.published is not None]
    title = "Published beside ours" if chosen else "Estimates with intervals"
    groups = {}
    for series in chosen or report.results:
        groups.setdefault((series.point.item, series.metric), []).append(series)
    if not chosen:  # the well-known metrics first
        known = {metric: at for at, metric in enumerate(METRICS)}
        groups = dict(sorted(groups.items(), key=lambda g: known.get(g[0][1], len(known))))
    judged, parts, left = report.verdict_of(), [], MAX_ROWS
    for found in groups.values():
        shown = found[:min(left, MAX_GROUP)]
        left -= len(shown)
        if shown:
            parts.append(_group(shown, judged, " open" * (not chosen and len(parts) < 4), len(found)))
    hidden = sum(map(len, groups.values())) - (MAX_ROWS - left)
    if hidden:
        parts.append(f'<p class="cut">{hidden:,} more rows are in <a href="summary.csv">summary.csv</a>.</p>')
    return title, (_LEGEND if chosen else _LEGEND_OURS) * bool(parts) + "".join(parts)


def _group(found, judged, unfolded, total):
    """One metric of one item on one axis; a row group per set."""
    values = {name: list(dict.fromkeys(getattr(s.point, name) for s in found)) for name in _FIELDS}
    varied = [n for n in _FIELDS if len(values[n]) > 1] or ["scheduler"]
    fixed = [f"{_FIELDS[n]} {_value(v[0])}" for n, v in values.items()
             if n not in varied and v[0] not in ("", None, "all")]
    sets = list(dict.fromkeys(s.point.workload for s in found))
    origins = list(dict.fromkeys(s.origin for s in found))
    fixed += [sets[0]] * (len(sets) == 1 and sets[0] != "") + origins * (len(origins) == 1)
    shown = {"printed": any(s.published is not None for s in found), "origin": len(origins) > 1,
             "judged": judged if any((s.point, s.metric) in judged for s in found) else None}
    axis = page_marks.Axis(v for s in found for v in _extent((None, s.interval(), _printed(s))))
    heads = [(_FIELDS[n], n in ("rate", "rho", "slo")) for n in varied]
    heads += [("published", True), ("ours", True), ("ratio", True)] if shown["printed"] else [("mean", True)]
    row = "".join(f'<th scope="col"{_num(right)}>{esc(head)}</th>' for head, right in heads)
    row += _axis_head(axis) + '<th scope="col">verdict</th>' * (shown["judged"] is not None)
    row += '<th scope="col">origin</th>' * shown["origin"]
    width = len(heads) + 1 + (shown["judged"] is not None) + shown["origin"]
    bodies = []
    for name in sets:
        head = f'<tr class="group"><th scope="rowgroup" colspan="{width}">{esc(name)}</th></tr>' * (len(sets) > 1)
        bodies.append(f"<tbody>{head}" + "".join(_interval_row(s, varied, axis, **shown) for s in found
                                                 if s.point.workload == name) + "</tbody>")
    point, unit = found[0].point, "" if found[0].unit == "1" else f", {found[0].unit}"
    title = f"{point.item}: {found[0].metric}{unit}" + (f" ({', '.join(fixed)})" if fixed else "")
    table = (f'<div class="scroll" tabindex="0" role="region" aria-label="{esc(title)}"><table data-sort><caption>'
             f"{esc(title)}</caption><thead><tr>{row}</tr></thead>{''.join(bodies)}</table></div>")
    count = f"{len(found):,} of {total:,}" if len(found) < total else f"{total:,}"
    return f"<details{unfolded}><summary>{esc(title)}, {count} rows</summary>{table}</details>\n"


def _interval_row(series, varied, axis, printed, origin, judged):
    interval, value = series.interval(), _printed(series)
    cells = []
    for at, name in enumerate(varied):
        text = esc(_value(getattr(series.point, name)))
        cells.append(f'<th scope="row"{_num(name in ("rate", "rho", "slo"))}>{text}</th>' if at == 0 else
                     f'<td{_num(name in ("rate", "rho", "slo"))}>{text}</td>')
    if printed:
        cells.append(f'<td class="n">{esc(series.published.text) if value is not None else "-"}</td>')
    cells.append(f'<td class="n">{_ours(interval)}</td>')
    if printed:
        cells.append(f'<td class="n">{number(interval.value / value) if value else "-"}</td>')
    cells.append(f"<td>{page_marks.bars(axis, [(interval, value)])}</td>")
    if judged is not None:
        verdict = judged.get((series.point, series.metric)) or ""
        css, sign = _MARK.get(verdict, ("", ""))
        cells.append(f'<td class="badge v-{css}">{sign} {esc(verdict)}</td>')
    if origin:
        cells.append(f"<td>{esc(series.origin)}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def _value(value):
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


# figures, timeline, provenance

def _figures(figures, missing, styles):
    if missing:
        return f'<p class="note">{esc(missing)}</p>'
    made = []
    for at, (name, caption, svg) in enumerate(figures):
        drawing = page_marks.figure_svg(svg, f"f{at}-", styles)
        made.append(
            f'<figure class="figure"><div class="scroll drawing" tabindex="0" role="img" aria-label="{esc(caption)}">'
            f'{drawing}</div><figcaption>{esc(caption)} <span class="files"><a href="figures/{esc(name)}.svg">SVG</a> '
            f'<a href="figures/{esc(name)}.png">PNG</a></span></figcaption></figure>\n')
    return "".join(made)


def _timeline(report, drawn, requests_file):
    if report.run is None:
        return ""
    files = f'<p class="note">Requests of this run: <a href="{esc(requests_file)}">{esc(requests_file)}</a>.'
    if drawn is None:
        return f"<p>{esc(report.run.title)}.</p>{files} Its timeline was not recorded.</p>"
    keys = ("Wheel (after a click, or with Ctrl) zooms, drag moves. Keys: arrows left and right move, + and - zoom, 0 "
            "shows all, arrows up and down choose a request, Shift with left and right a layer of it.")
    buttons = "".join(f'<button type="button" data-do="{do}" aria-label="{label}" title="{label}">{text}</button>'
                      for do, label, text in (("in", "Zoom in", "+"), ("out", "Zoom out", "−"),
                                              ("left", "Earlier", "←"), ("right", "Later", "→"),
                                              ("reset", "Show the whole window", "All")))
    return (f"<p>{esc(report.run.title)}.</p>"
            f'<figure class="timeline" id="timeline-view"><div class="control tools">{buttons}'
            '<output id="range" aria-live="off"></output></div><div class="models" id="models"></div>'
            '<div class="canvas"><canvas id="canvas" tabindex="0" role="application" aria-roledescription="timeline" '
            f'aria-label="Timeline: {esc(report.run.title)}" aria-describedby="timeline-keys"></canvas>'
            '<div id="tip" class="tip" hidden></div></div>'
            '<output class="vh" id="chosen" aria-live="polite"></output>'
            f'<figcaption><span class="cut">{esc(drawn["note"])}</span> <span id="timeline-keys" class="control">{keys}'
            "</span></figcaption></figure>"
            '<noscript><p class="note">The page\'s script draws the timeline; it is switched off.</p></noscript>'
            f'{files} The whole run: <a href="trace.json.gz">trace.json.gz</a>, opens in '
            '<a href="https://ui.perfetto.dev" rel="noreferrer noopener">ui.perfetto.dev</a>.</p>')


def _origins(report):
    found = {}
    for series in report.results:
        found.setdefault(series.origin, {}).setdefault(series.point.workload, 0)
        found[series.origin][series.point.workload] += 1
    printed = sum(s.published is not None for s in report.results)
    if not found:
        return ""
    rows = []
    for origin, meaning in ORIGINS.items():
        sets = found.get(origin, {})
        count = printed if origin == "published" else sum(sets.values())
        if count:
            names = "beside ours" if origin == "published" else _short([s for s in sets if s], 8)
            rows.append(f'<tr><th scope="row">{origin}</th><td>{meaning}</td><td class="n">{count:,}</td><td>{names}'
                        "</td></tr>")
    platforms = "".join(f"<li>{esc(k)}: {esc(v)}</li>" for k, v in report.platforms.items())
    return ('<div class="scroll"><table data-sort><caption>What each number rests on</caption><thead><tr>'
            '<th scope="col">origin</th><th scope="col">meaning</th><th scope="col" class="n">numbers</th>'
            f'<th scope="col">sets</th></tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
            + (f"<p>Platforms of the sets:</p><ul>{platforms}</ul>" if platforms else ""))


def _provenance(report):
    recorder = report.recorder
    pairs = [("dnnsched", esc(_version())), ("Configuration, SHA-256", f"<code>{_config_hash(recorder.config)}</code>")]
    pairs += [(f"Input {Path(p).name}", f"<code>{provenance.sha256_of(p)}</code>") for p in recorder.inputs]
    pairs.append(("Machine, compiler, versions, times", '<a href="run.json">run.json</a>'))
    pairs.append(("Every number", '<a href="summary.csv">summary.csv</a>, each replication in '
                  '<a href="replications.csv">replications.csv</a>'))
    if report.claims:
        pairs.append(("Verdicts", '<a href="claims.csv">claims.csv</a>'))
    config = json.dumps(report.config, indent=1, sort_keys=True, ensure_ascii=False)
    rest = len(config) - MAX_CONFIG
    cut = f'<p class="cut">{rest:,} more characters are in <a href="run.json">run.json</a>.</p>' if rest > 0 else ""
    return (_facts(pairs) + f"<details><summary>Configuration</summary><pre>{esc(config[:MAX_CONFIG])}</pre>{cut}"
            "</details>")


def _config_hash(config):
    return hashlib.sha256(provenance.canonical_json(config).encode()).hexdigest()
