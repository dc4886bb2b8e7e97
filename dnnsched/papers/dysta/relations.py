"""Relations between the printed numbers of the Sparse-DySta paper."""

from dnnsched.papers._audit import CONSISTENT, CONTRADICTION, NOTE, Audit, span

_PANELS = ("attnn rate=30", "attnn rate=40", "cnn rate=3", "cnn rate=4")
_OTHERS = ("fcfs", "sjf", "sdrm3", "prema", "planaria")
_SLOS = (10, 25, 50, 75, 100, 150)


def audit(published, title):
    """Check every relation.

    Parameters
    ----------
    published : Published
        The cells of ``published.csv``; nothing else is read.
    title : str

    Returns
    -------
    Audit
    """
    found = Audit("dysta", title, cells=len(published))
    for part in (_headlines, _arrows, _breakdown, _table5_against_plot, _figure14_against_15, _lowest_violations,
                 _antt_against_slo, _oracle, _throughput, _resources, _motivation, _configuration):
        part(found, published)
    return found


def _cell(published, item, row, column, metric):
    cell = published.get(item, row, column, metric)
    if cell is None:
        raise KeyError(f"published.csv: no cell {item}, {row}, {column}, {metric}")
    return cell


def _span(published, *key):
    return span(_cell(published, *key))


def _table5(published, row, metric, domain="attnn rate=30"):
    return _span(published, "table5", row, f"{domain} slo=10", metric)


def _headlines(found, published):
    prema, dysta = (_table5(published, s, "violation_rate") for s in ("prema", "dysta"))
    found.check("headline-violation", "headline: violation rate about 10 % lower (Table 5, multi-AttNN; read as points "
                "against PREMA)", _cell(published, "text", "headline", "attnn rate=30 slo=10", "violation_reduction"),
                prema - dysta, [("relative to PREMA, %", (prema - dysta) / prema * 100.0)])
    antt = {s: _table5(published, s, "antt") for s in (*_OTHERS, "dysta")}
    found.check("headline-antt", "headline: ANTT nearly 4x lower (Table 5, multi-AttNN; read as against Planaria, the "
                "best in violations)", _cell(published, "text", "headline", "attnn rate=30 slo=10", "antt_ratio"),
                antt["planaria"] / antt["dysta"],
                [(f"against {s.upper()}", antt[s] / antt["dysta"]) for s in ("fcfs", "sdrm3", "prema", "sjf")],
                open_reading=True)
    cnn = {s: _table5(published, s, "antt", "cnn rate=3") for s in (*_OTHERS, "dysta")}
    found.check("cnn-antt-sjf", "text: nearly 2x lower ANTT than SJF on CNNs (Table 5)",
                _cell(published, "text", "sjf over dysta", "cnn rate=3 slo=10", "antt_ratio"),
                cnn["sjf"] / cnn["dysta"], [("against Planaria", cnn["planaria"] / cnn["dysta"])])


def _arrows(found, published):
    for panel, column in (("b", "attnn rate=40 slo=10"), ("d", "cnn rate=4 slo=10")):
        violation = {s: _span(published, "fig12", s, column, "violation_rate") for s in ("prema", "sjf", "dysta")}
        found.check(f"fig12{panel}-violation", f"Fig. 12({panel}): arrow of the violation rate against the plotted "
                    "points (PREMA - Dysta, points)", _cell(published, "fig12", "arrow", column, "violation_reduction"),
                    violation["prema"] - violation["dysta"], [("SJF - Dysta", violation["sjf"] - violation["dysta"])])
        antt = {s: _span(published, "fig12", s, column, "antt") for s in ("fcfs", "sdrm3", "planaria", "dysta")}
        found.check(f"fig12{panel}-antt", f"Fig. 12({panel}): arrow of ANTT against the plotted points (FCFS / Dysta)",
                    _cell(published, "fig12", "arrow", column, "antt_ratio"), antt["fcfs"] / antt["dysta"],
                    [(f"{s} / dysta", antt[s] / antt["dysta"]) for s in ("sdrm3", "planaria")])


def _breakdown(found, published):
    for column in ("attnn rate=30 slo=10", "cnn rate=3 slo=10"):
        domain = column.partition(" ")[0]
        for row in ("dysta_naive", "dysta"):
            base, own = (_span(published, "fig13", s, column, "violation_rate") for s in ("prema", row))
            found.check(f"fig13-{domain}-{row}-violation", f"Fig. 13, {domain}: annotated change of violations, {row} "
                        "against PREMA (points)", _cell(published, "fig13", row, column, "violation_change"),
                        own - base)
            base, own = (_span(published, "fig13", s, column, "antt") for s in ("prema", row))
            found.check(f"fig13-{domain}-{row}-antt", f"Fig. 13, {domain}: annotated change of ANTT, {row} against "
                        "PREMA (% of PREMA)", _cell(published, "fig13", row, column, "antt_change"),
                        (own - base) / base * 100.0, [("% of the lower bar", (own - base) / own * 100.0)],
                        open_reading=True)
        for row in ("prema", "dysta"):
            for metric in ("violation_rate", "antt"):
                found.check(f"fig13-fig14-{domain}-{row}-{metric}", f"Fig. 13 and Fig. 14 at M = 10, {domain}: {row}, "
                            f"{metric}", _cell(published, "fig13", row, column, metric),
                            _span(published, "fig14", row, column, metric))


def _table5_against_plot(found, published):
    cut = rounded = 0
    cells = published.select(item="table5")
    for cell in cells:
        plot = _cell(published, "fig14", cell.row, cell.column, cell.metric)
        found.check(f"table5-fig14-{cell.column.split()[0]}-{cell.row}-{cell.metric}",
                    f"Table 5 against Fig. 14 at M = 10: {cell.row}, {cell.metric}, {cell.column}", cell, span(plot))
        cut += int(plot.value * 10 + 1e-6) / 10 == cell.value
        rounded += round(plot.value + 1e-9, 1) == cell.value
    found.add("table5-digits", "Table 5: printed digits rounded or cut", f"{len(cells)} cells",
              f"{cut} equal the plotted value cut to one decimal, {rounded} equal it rounded", NOTE,
              "cut, not rounded" if cut > rounded else "")


def _figure14_against_15(found, published):
    differ, total, worst = [], 0, None
    for panel in _PANELS:
        column = f"{panel} slo=10"
        for row in (*_OTHERS, "dysta", "dysta_oracle"):
            for metric in ("violation_rate", "antt"):
                a = _cell(published, "fig14", row, column, metric)
                b = _cell(published, "fig15", row, column, metric)
                total += 1
                if not span(a).meets(span(b)):
                    differ.append((row, column, metric))
                    gap = abs(a.value - b.value) / max(abs(a.value), 1.0)
                    if worst is None or gap > worst[0]:
                        worst = (gap, f"{row}, {metric}, {panel}: {a.text} and {b.text}")
    found.add("fig14-fig15", "Fig. 14 at M = 10 and Fig. 15 show the same setting", f"{total} pairs of points",
              f"{len(differ)} pairs differ; most: {worst[1] if worst else 'none'}",
              CONTRADICTION if differ else CONSISTENT,
              "the public simulator draws all listed rates from one random stream, so a rate's requests depend on the "
              "rates listed before it" if differ else "")


def _lowest_violations(found, published):
    for panel in _PANELS:
        losses = []
        for slo in _SLOS:
            column = f"{panel} slo={slo}"
            own = _cell(published, "fig14", "dysta", column, "violation_rate")
            better = [_cell(published, "fig14", s, column, "violation_rate") for s in _OTHERS]
            better = [c for c in better if span(c).high < span(own).low]
            if better:
                losses.append(f"M = {slo}: Dysta {own.text}, "
                              + ", ".join(f"{c.row} {c.text}" for c in sorted(better, key=lambda c: c.value)[:2]))
        found.add(f"lowest-violations-{panel.replace(' rate=', '-')}",
                  f"text 6.4.1: Dysta has the lowest violation rate across SLOs ({panel}/s, Fig. 14)",
                  "lowest at every M", "; ".join(losses) or "lowest at every M",
                  CONTRADICTION if losses else CONSISTENT)


def _antt_against_slo(found, published):
    for panel in _PANELS:
        cells = [_cell(published, "fig14", "dysta", f"{panel} slo={m}", "antt") for m in _SLOS]
        rises = [f"M = {a} to {b}: {x.text} to {y.text}" for (a, x), (b, y) in
                 zip(zip(_SLOS, cells, strict=True), zip(_SLOS[1:], cells[1:], strict=False), strict=False)
                 if span(y).low > span(x).high]
        found.add(f"antt-declines-{panel.replace(' rate=', '-')}",
                  f"text: ANTT declines with M (Dysta, {panel}/s, Fig. 14)", "declines",
                  "; ".join(rises) or f"{cells[0].text} to {cells[-1].text}, within the reading error or declining",
                  CONTRADICTION if rises else CONSISTENT)
        above = []
        for slo in _SLOS:
            own, sjf = (_cell(published, "fig14", s, f"{panel} slo={slo}", "antt") for s in ("dysta", "sjf"))
            if span(own).low > span(sjf).high:
                above.append(f"M = {slo}: Dysta {own.text}, SJF {sjf.text}")
        found.add(f"antt-sjf-{panel.replace(' rate=', '-')}",
                  f"text 6.4.1: Dysta is best across SLOs; its ANTT against SJF's ({panel}/s, Fig. 14)",
                  "not above SJF's", "; ".join(above) or "not above SJF's", CONTRADICTION if above else CONSISTENT)


def _oracle(found, published):
    better = []
    for item in ("fig14", "fig15"):
        for cell in published.select(item=item, row="dysta"):
            if cell.metric == "throughput_rps":
                continue
            oracle = _cell(published, item, "dysta_oracle", cell.column, cell.metric)
            if span(cell).high < span(oracle).low:
                better.append(f"{item} {cell.column} {cell.metric}: {cell.text} against {oracle.text}")
    found.add("oracle", "Oracle (true latencies) bounds Dysta from below", "Oracle is best",
              f"Dysta is better at {len(better)} points: {'; '.join(better)}" if better else "Oracle is best",
              NOTE if better else CONSISTENT, "the score is a heuristic, so true latencies need not give the least "
              "violations" if better else "")


def _throughput(found, published):
    columns = sorted({c.column for c in published.select(metric="throughput_rps")})
    spread = {col: {c.value for c in published.select(metric="throughput_rps", column=col)} for col in columns}
    bad = [col for col, values in spread.items() if len(values) > 1]
    found.add("throughput", "Fig. 15: throughput is the same for every scheduler", f"{len(columns)} rates",
              "one value per rate" if not bad else f"differs at {', '.join(bad)}", CONTRADICTION if bad else CONSISTENT)


def _resources(found, published):
    for column in ("lut", "dsp", "memory"):
        scheduler, base = (_span(published, "table6", r, column, "resources") for r in ("scheduler", "eyeriss_v2"))
        found.check(f"table6-{column}", f"Table 6: overhead of the scheduler, {column} (%)",
                    _cell(published, "table6", "scheduler", column, "overhead"), scheduler / base * 100.0)
    parts = [_cell(published, "table6", r, "dsp", "resources") for r in ("eyeriss_v2", "scheduler")]
    total = _cell(published, "table6", "total", "dsp", "resources")
    own = sum(c.value for c in parts)
    found.add("table6-dsp-total", f"Table 6: total DSP = {' + '.join(c.text for c in parts)}", total.text, f"{own:g}",
              CONSISTENT if own == total.value else CONTRADICTION)


def _motivation(found, published):
    table, text = (_cell(published, item, "relative_range", "googlenet", "network_sparsity_range")
                   for item in ("table2", "text"))
    found.add("table2-text", "relative range of GoogLeNet's sparsity: text against Table 2 (%)", text.text, table.text,
              CONSISTENT if text.value == table.value else CONTRADICTION)
    for metric, pick in (("latency_min", min), ("latency_max", max)):
        said = _cell(published, "text", "bert", "both layers", metric)
        shown = pick(published.select(item="fig2", metric=metric), key=lambda c: c.value)
        found.check(f"fig2-{metric}", f"Fig. 2: {metric.replace('_', ' ')} of BERT's layers, text against the plotted "
                    "range", said, span(shown))


def _configuration(found, published):
    for row, paper, code, metric in (("bart", "sanger", "public configuration", "threshold"),
                                     ("glb input buffer", "eyeriss_v2", "public configuration", "capacity")):
        said, used = (_cell(published, "text", row, c, metric) for c in (paper, code))
        found.check(f"code-{row.split()[0]}", f"{row}, {metric}: paper against the public code", said, span(used))
