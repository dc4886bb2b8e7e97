"""Claims: what must hold of our results and of the printed ones, and the verdict on each.

A claim is a row of ``claims.toml``. ``where`` selects points of :class:`~.results.Results`;
every combination of its lists is one *case*, judged by the claim's kind:

============ =====================================================================================
ratio_range  ours / published within ``range``, or \\|ours - published\\| <= ``points``
ordering     along ``chain`` each scheduler is below the next (by up to ``allowance``), or all of
             ``worst`` are above all of ``others``
bound        mean(``left``) / mean(``right``) ``at_most`` or ``at_least`` a factor; without ``right``
             the mean itself
crossover    ``left`` - ``right`` changes sign, from below to above, between two values of ``along``
monotone     the mean is ``increasing`` or ``decreasing`` (not strictly) along a field
exact        equals the published value at its printed decimals
closed_form  within ``standard_errors`` of the point whose scheduler is ``theory``
============ =====================================================================================

Judgement of a case: with replications the whole interval must satisfy the claim; if only its
centre does, the verdict is *direction only*. ``interval = "point"`` judges the centre alone: for
runs that repeat the paper's own request streams, the spread over seeds is not an error of the
comparison. A claim whose ``check_published`` is true is judged on the printed numbers first:
where those fail it, they are *published numbers inconsistent*. ``direction_against`` turns a
failed ratio into *direction only* when ours and the printed number lie on the same side of the
named scheduler.

Several ``[[claim.reading]]`` tables give alternative readings of one printed number; the first
that is reproduced decides, and the reason names it. A claim that ``needs`` a workload is not
attempted, as expected, when there is none; ``expected_in`` overrides the record for a profile.
"""

import itertools
import math
import tomllib
from dataclasses import dataclass, field

import numpy as np

from dnnsched import statistics
from dnnsched.errors import FormatError
from dnnsched.report.tables import number

REPRODUCED = "reproduced"
DIRECTION = "direction only"
FAILED = "not reproduced"
INCONSISTENT = "published numbers inconsistent"
SKIPPED = "not attempted"
VERDICTS = (REPRODUCED, DIRECTION, FAILED, INCONSISTENT, SKIPPED)
KINDS = ("ratio_range", "ordering", "bound", "crossover", "monotone", "exact", "closed_form")

_COMMON = {"id", "title", "kind", "metric", "where", "expected", "because", "interval", "check_published", "reading",
           "profiles", "attempt", "expected_in", "needs"}
_OWN = {
    "ratio_range": {"range", "points", "direction_against"},
    "ordering": {"chain", "allowance", "worst", "others"},
    "bound": {"left", "right", "at_most", "at_least"},
    "crossover": {"left", "right", "along", "between"},
    "monotone": {"along", "direction", "tolerance"},
    "exact": set(),
    "closed_form": {"standard_errors"},
}
_NEEDED = {
    "ratio_range": (), "ordering": (), "bound": ("left",), "crossover": ("left", "right", "along", "between"),
    "monotone": ("along", "direction"), "exact": (), "closed_form": ("standard_errors",),
}


@dataclass(frozen=True)
class Case:
    """One combination of a claim's points.

    Attributes
    ----------
    verdict : str
    text : str
        What was found, in one line.
    judged : tuple of (Point, str)
        The series that the verdict is about.
    score : float
        How near the limit it is (larger = worse), to name the worst case.
    """

    verdict: str
    text: str
    judged: tuple = ()
    score: float = 0.0


@dataclass(frozen=True)
class Claim:
    """A judged claim.

    Attributes
    ----------
    id, title, kind : str
    verdict : str
        One of `VERDICTS`.
    reason : str
        What was found.
    expected, because : str
        The verdict on record in ``claims.toml`` and why it is expected.
    cases : tuple of Case
    """

    id: str
    title: str
    kind: str
    verdict: str
    reason: str
    expected: str
    because: str
    cases: tuple = field(default=(), repr=False)

    @property
    def as_expected(self):
        """Whether the verdict is the one on record."""
        return self.verdict == self.expected


def load(path):
    """Read and check a ``claims.toml``.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    list of dict
        One per claim, in file order.

    Raises
    ------
    FormatError
        Naming file, claim and key.
    """
    try:
        with open(path, "rb") as file:
            data = tomllib.load(file)
    except tomllib.TOMLDecodeError as error:
        raise FormatError(f"{path}: {error}") from None
    seen = set()
    for at, spec in enumerate(data.get("claim", []), start=1):
        name = f"{path}: claim {at} ({spec.get('id', 'no id')})"
        for key in ("id", "title", "kind", "expected", "because"):
            if not isinstance(spec.get(key), str) or not spec[key]:
                raise FormatError(f"{name}: expected a text for {key}, got {spec.get(key)!r}")
        if spec["id"] in seen:
            raise FormatError(f"{name}: this id occurs twice")
        seen.add(spec["id"])
        if spec["kind"] not in KINDS:
            raise FormatError(f"{name}: kind: expected one of {', '.join(KINDS)}, got {spec['kind']!r}")
        for verdict in (spec["expected"], *spec.get("expected_in", {}).values()):
            if verdict not in VERDICTS:
                raise FormatError(f"{name}: expected: expected one of {', '.join(VERDICTS)}, got {verdict!r}")
        if "attempt" in spec:
            continue
        for variant in [spec, *({**spec, **r} for r in spec.get("reading", []))]:
            _check_keys(variant, name)
    return data.get("claim", [])


def _check_keys(spec, name):
    kind = spec["kind"]
    unknown = set(spec) - _COMMON - _OWN[kind] - {"name"}
    if unknown:
        raise FormatError(f"{name}: unknown key {sorted(unknown)[0]!r} for kind {kind}")
    missing = [k for k in (*_NEEDED[kind], "metric", "where") if k not in spec]
    if missing and not spec.get("reading"):
        raise FormatError(f"{name}: kind {kind} needs {missing[0]!r}")


def evaluate(spec, results, profile="ci"):
    """Judge one claim.

    Parameters
    ----------
    spec : dict
        A claim as returned by :func:`load`.
    results : Results
    profile : str
        A claim limited to other profiles is not attempted, as expected.

    Returns
    -------
    Claim
    """
    expected = spec.get("expected_in", {}).get(profile, spec["expected"])
    common = {"id": spec["id"], "title": spec["title"], "kind": spec["kind"], "because": spec["because"]}
    if "attempt" in spec:
        return Claim(**common, verdict=SKIPPED, reason=spec["attempt"], expected=expected)
    if profile not in spec.get("profiles", [profile]):
        return Claim(**common, verdict=SKIPPED, reason=f"needs profile {' or '.join(spec['profiles'])}",
                     expected=SKIPPED)
    if "needs" in spec and not results.find(workload=spec["needs"]):
        return Claim(**common, verdict=SKIPPED, reason=f"needs the set {spec['needs']}, which was not given",
                     expected=SKIPPED)
    best = None
    for reading in spec.get("reading") or [{}]:
        verdict, reason, cases = _judge({**spec, **reading}, results)
        if "name" in reading:
            reason = f"read as {reading['name']}: {reason}"
        if best is None or verdict == REPRODUCED:
            best = (verdict, reason, cases)
        if verdict == REPRODUCED:
            break
    return Claim(**common, verdict=best[0], reason=best[1], cases=tuple(best[2]), expected=expected)


def evaluate_all(specs, results, profile="ci"):
    """Judge every claim, in order.

    Returns
    -------
    list of Claim
    """
    return [evaluate(spec, results, profile) for spec in specs]


def _judge(spec, results):
    judge = _JUDGES[spec["kind"]]
    if spec.get("check_published"):
        cases = list(judge(spec, _View(results, published=True)))
        bad = [c for c in cases if c.verdict in (FAILED, DIRECTION)]
        if bad:
            ours = list(judge(spec, _View(results)))
            reason = f"printed: {'; '.join(c.text for c in bad[:4])}{' ...' if len(bad) > 4 else ''}"
            return INCONSISTENT, f"{reason}. Ours: {_summary(ours)[1]}", ours
    cases = list(judge(spec, _View(results)))
    verdict, reason = _summary(cases)
    return verdict, reason, cases


def _summary(cases):
    """Verdict of all cases together: as good as the worst one."""
    tried = [c for c in cases if c.verdict != SKIPPED]
    if not tried:
        return SKIPPED, cases[0].text if cases else "no results for the selected points"
    verdict = next(v for v in (FAILED, DIRECTION, REPRODUCED) if any(c.verdict == v for c in tried))
    count = sum(c.verdict == verdict for c in tried)
    worst = max((c for c in tried if c.verdict == verdict), key=lambda c: c.score)
    note = "" if len(tried) == len(cases) else f"; {len(cases) - len(tried)} without results"
    if len(tried) == 1:
        return verdict, worst.text + note
    name = "closest to the limit" if verdict == REPRODUCED else "worst"
    return verdict, f"{count} of {len(tried)} {verdict}; {name}: {worst.text}{note}"


class _View:
    """Access to our replications or, for a check of the print, to the published values beside them."""

    def __init__(self, results, published=False):
        self._results = results
        self.published = published

    def series(self, metric, where):
        """The series at a point, or None; on the published view only those with a printed number."""
        found = self._results.one(metric, **{"group": "all", **where})
        return None if found is None or (self.published and found.published is None) else found

    def values(self, series):
        """Replications of a series, or its printed number as the only one."""
        return np.array([series.published.value]) if self.published else series.values


def _combinations(where, taken=()):
    """Every combination of the lists in `where`; fields in `taken` are left out."""
    names = [k for k in where if k not in taken]
    lists = [where[k] if isinstance(where[k], list) else [where[k]] for k in names]
    for values in itertools.product(*lists):
        yield dict(zip(names, values, strict=True))


def _label(where, point=None):
    parts = [str(where[k]) for k in ("workload", "scheduler") if where.get(k)]
    for key, prefix in (("rate", "rate "), ("rho", "rho "), ("slo", "M ")):
        if where.get(key) is not None:
            parts.append(f"{prefix}{where[key]:g}")
    if where.get("group", "all") != "all":
        parts.append(where["group"])
    return ", ".join(parts)


def _missing(where):
    return Case(SKIPPED, f"no results for {_label(where)}")


def _decide(interval, low, high, point_only, strict=False):
    """Verdict of an interval against [low, high]."""
    inside = (lambda v: low < v < high) if strict else (lambda v: low <= v <= high)
    if not inside(interval.value):
        return FAILED
    if point_only or math.isnan(interval.low):
        return REPRODUCED
    return REPRODUCED if inside(interval.low) and inside(interval.high) else DIRECTION


def _show(interval):
    text = number(interval.value)
    return text if math.isnan(interval.low) else f"{text} [{number(interval.low)}, {number(interval.high)}]"


def _ratio_range(spec, view):
    if ("range" in spec) == ("points" in spec):
        raise FormatError(f"claim {spec['id']}: expected exactly one of range, points")
    point_only = spec.get("interval") == "point"
    for where in _combinations(spec["where"]):
        series = view.series(spec["metric"], where)
        if series is None or series.published is None:
            yield _missing(where)
            continue
        printed = series.published.value
        own = statistics.mean_interval(view.values(series))
        if "points" in spec:
            low, high = -spec["points"], spec["points"]
            judged, word = own.shifted(-printed), "difference"
        else:
            low, high = spec["range"]
            judged, word = own.scaled(1.0 / printed) if printed else own.shifted(math.inf), "ratio"
        verdict = _decide(judged, low, high, point_only)
        if verdict == FAILED and _same_side(spec, view, where, own.value, printed):
            verdict = DIRECTION
        yield Case(verdict, f"{_label(where)}: ours {_show(own)}, published {number(printed)}, "
                   f"{word} {number(judged.value)} (limits {low:g} to {high:g})",
                   ((series.point, series.metric),), abs(judged.value - (low + high) / 2))


def _same_side(spec, view, where, own, printed):
    if "direction_against" not in spec:
        return False
    other = view.series(spec["metric"], {**where, "scheduler": spec["direction_against"]})
    if other is None or other.published is None:
        return False
    return (own - float(view.values(other).mean())) * (printed - other.published.value) > 0


def _compare(spec, view, where, below, above, allowance):
    """Case: `below` <= `above` + allowance, replication by replication."""
    first = view.series(spec["metric"], {**where, "scheduler": below})
    second = view.series(spec["metric"], {**where, "scheduler": above})
    if first is None or second is None:
        return _missing({**where, "scheduler": below if first is None else above})
    a, b = view.values(first), view.values(second)
    difference = statistics.paired_difference(a, b).shifted(-allowance)
    verdict = _decide(difference, -math.inf, 0.0, spec.get("interval") == "point")
    text = (f"{_label(where)}: {below} {number(float(a.mean()))}, {above} {number(float(b.mean()))}, "
            f"difference {_show(difference.shifted(allowance))}")
    if allowance:
        text += f" (allowed {allowance:g})"
    return Case(verdict, text, ((first.point, first.metric), (second.point, second.metric)), difference.value)


def _ordering(spec, view):
    if ("chain" in spec) == ("worst" in spec):
        raise FormatError(f"claim {spec['id']}: expected exactly one of chain, worst")
    if "chain" in spec:
        pairs = list(itertools.pairwise(spec["chain"]))
    else:
        pairs = [(o, w) for w in spec["worst"] for o in spec["others"]]
    for where in _combinations(spec["where"], ("scheduler",)):
        for below, above in pairs:
            yield _compare(spec, view, where, below, above, spec.get("allowance", 0.0))


def _bound(spec, view):
    if ("at_most" in spec) == ("at_least" in spec):
        raise FormatError(f"claim {spec['id']}: expected exactly one of at_most, at_least")
    low, high = spec.get("at_least", -math.inf), spec.get("at_most", math.inf)
    point_only = spec.get("interval") == "point"
    for where in _combinations(spec["where"], ("scheduler",)):
        first = view.series(spec["metric"], {**where, "scheduler": spec["left"]})
        if first is None:
            yield _missing({**where, "scheduler": spec["left"]})
            continue
        if "right" not in spec:
            judged, text, points = statistics.mean_interval(view.values(first)), spec["left"], [first]
        else:
            second = view.series(spec["metric"], {**where, "scheduler": spec["right"]})
            if second is None:
                yield _missing({**where, "scheduler": spec["right"]})
                continue
            judged = statistics.ratio_of_means(view.values(first), view.values(second))
            text, points = f"{spec['left']} / {spec['right']}", [first, second]
        limit = f"at most {high:g}" if "at_most" in spec else f"at least {low:g}"
        score = judged.value - high if "at_most" in spec else low - judged.value
        yield Case(_decide(judged, low, high, point_only), f"{_label(where)}: {text} = {_show(judged)} ({limit})",
                   tuple((s.point, s.metric) for s in points), score)


def _along(spec, view, where, scheduler=None):
    """Values of `along` with our means there, in increasing order; None where a point is missing."""
    pairs = []
    for x in sorted(spec["where"][spec["along"]]):
        at = {**where, spec["along"]: x}
        if scheduler is not None:
            at["scheduler"] = scheduler
        series = view.series(spec["metric"], at)
        if series is None:
            return None, at
        pairs.append((x, view.values(series), series))
    return pairs, None


def _crossover(spec, view):
    low, high = spec["between"]
    for where in _combinations(spec["where"], ("scheduler", spec["along"])):
        left, missing = _along(spec, view, where, spec["left"])
        right, missing = (None, missing) if left is None else _along(spec, view, where, spec["right"])
        if right is None:
            yield _missing(missing)
            continue
        xs = [x for x, _, _ in left]
        gap = [float(a.mean() - b.mean()) for (_, a, _), (_, b, _) in zip(left, right, strict=True)]
        found = [i for i in range(1, len(xs)) if gap[i - 1] <= 0.0 < gap[i]]
        judged = tuple((s.point, s.metric) for _, _, s in left)
        name = f"{_label(where)}: {spec['left']} - {spec['right']} along {spec['along']}"
        if not found:
            yield Case(FAILED, f"{name} does not change sign ({', '.join(number(g) for g in gap)})", judged, math.inf)
            continue
        i = found[0]
        at = xs[i - 1] + (xs[i] - xs[i - 1]) * gap[i - 1] / (gap[i - 1] - gap[i])
        verdict = REPRODUCED if low <= at <= high else DIRECTION
        yield Case(verdict, f"{name} changes sign at {number(at)} (expected {low:g} to {high:g})", judged,
                   abs(at - (low + high) / 2))


def _monotone(spec, view):
    sign = {"increasing": 1.0, "decreasing": -1.0}.get(spec["direction"])
    if sign is None:
        raise FormatError(f"claim {spec['id']}: direction: expected increasing or decreasing, "
                          f"got {spec['direction']!r}")
    tolerance = spec.get("tolerance", 0.0)
    for where in _combinations(spec["where"], (spec["along"],)):
        pairs, missing = _along(spec, view, where)
        if pairs is None:
            yield _missing(missing)
            continue
        steps = [sign * float((b - a).mean()) for (_, a, _), (_, b, _) in itertools.pairwise(pairs)]
        wrong = -min(steps)
        shown = ", ".join(f"{number(float(v.mean()))} at {x:g}" for x, v, _ in pairs)
        yield Case(REPRODUCED if wrong <= tolerance else FAILED, f"{_label(where)}: {shown}",
                   tuple((s.point, s.metric) for _, _, s in pairs), wrong)


def _exact(spec, view):
    for where in _combinations(spec["where"]):
        series = view.series(spec["metric"], where)
        if series is None or series.published is None:
            yield _missing(where)
            continue
        cell = series.published
        own = float(view.values(series).mean())
        rounded = f"{own:.{cell.decimals}f}"
        verdict = REPRODUCED if float(rounded) == cell.value else FAILED
        yield Case(verdict, f"{_label(where)}: ours {rounded}, published {cell.text}",
                   ((series.point, series.metric),), abs(own - cell.value))


def _closed_form(spec, view):
    for where in _combinations(spec["where"]):
        series = view.series(spec["metric"], where)
        theory = view.series(spec["metric"], {**where, "scheduler": "theory"})
        if series is None or theory is None:
            yield _missing(where)
            continue
        values = view.values(series)
        truth = float(view.values(theory)[0])
        error = float(values.std(ddof=1)) / math.sqrt(values.size) if values.size > 1 else math.nan
        distance = abs(float(values.mean()) - truth) / error if error else math.inf
        verdict = REPRODUCED if distance <= spec["standard_errors"] else FAILED
        yield Case(verdict, f"{_label(where)}: {number(float(values.mean()), 4)}, theory {number(truth, 4)}, "
                   f"{number(distance, 2)} standard errors", ((series.point, series.metric),), distance)


_JUDGES = {"ratio_range": _ratio_range, "ordering": _ordering, "bound": _bound, "crossover": _crossover,
           "monotone": _monotone, "exact": _exact, "closed_form": _closed_form}
