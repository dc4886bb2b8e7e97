"""What ``dnnsched trace`` does: request files of any known format converted, described and cut."""

from pathlib import Path

import numpy as np

from dnnsched._arrays import check_choice, check_int, check_number
from dnnsched._readers import Requests, find_format
from dnnsched.frames import FORMATS as CONTAINERS
from dnnsched.frames import Frame, check_format
from dnnsched.schema import Column, Schema

_OWN = ("key", "variant", "sample", "deadline_s", "priority")
_DTYPE = {"float": "float64", "int": "int64", "text": "string"}
_QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)


def _target(target, to, force):
    """Checked container of a file to write; nothing has been read yet."""
    target = Path(target)
    if to is None:
        ending = target.suffix.lower().removeprefix(".")
        to = "jsonl" if ending == "ndjson" else ending
        if to not in CONTAINERS:
            raise ValueError(f"{target}: expected a name ending in .csv, .jsonl or .parquet, or --to")
    check_format(check_choice(to, "to", CONTAINERS))
    if target.exists() and not force:
        raise FileExistsError(f"{target}: already exists; choose another file or replace it with --force")
    return to


def _load(source, format, sort, failures):
    requests = Requests(source, find_format(source, format), sort=sort)
    requests.without_failures(failures)
    return requests


def _frame(requests):
    """The columns of our own format that a file has."""
    fmt, columns = requests.format, requests.columns
    found = [(Column("request_id", "int64", "1", "position"), np.arange(len(requests))),
             (Column("arrival_s", "float64", "s", "arrival"), requests.arrival)]
    renamed = [(fmt.model, "model"), *zip(fmt.tokens, ("input_tokens", "output_tokens"), strict=False),
               (fmt.session, "session_id"), *((name, name) for name in _OWN if fmt.name == "dnnsched")]
    for field, name in renamed:
        if field in columns:
            kind = next(c.kind for c in fmt.columns if c.field == field)
            value = columns[field]
            if name == "deadline_s":
                value = np.where(np.isnan(value), np.inf, value)
            found.append((Column(name, _DTYPE[kind], "", "", nullable=name == "deadline_s"), value))
    return Frame(Schema("requests", "Requests in order of arrival.", tuple(c for c, _ in found)),
                 {c.name: value for c, value in found})


def convert_trace(source, target, *, format=None, to=None, sort=False, failures=None, force=False):
    """Write the requests of a file in our own format, which :func:`read_requests` and :func:`stream_csv` take.

    Parameters
    ----------
    source : path-like
    target : path-like
        Columns ``request_id``, ``arrival_s`` and, as far as the source has them, ``model``, ``input_tokens``,
        ``output_tokens``, ``session_id``. It appears when it is complete.
    format : str, optional
        Format of the source; default: told by its header.
    to : {"csv", "jsonl", "parquet"}, optional
        Default: by the ending of `target`. Parquet needs pyarrow (extra ``io``).
    sort : bool
        Sort rows that are out of order.
    failures : {"keep", "drop"}, optional
        Needed by formats that record failed requests.
    force : bool
        Replace an existing file.

    Returns
    -------
    int
        Requests written.

    Raises
    ------
    FormatError
        Naming file, line and column.
    FileExistsError
        `target` exists and `force` is false.
    """
    to = _target(target, to, force)
    requests = _load(source, format, sort, failures)
    _frame(requests).write(target, to)
    return len(requests)


def slice_trace(source, target, *, window=None, n=None, format=None, to=None, sort=False, failures=None, force=False):
    """Write some requests of a file, with their times, in our own format.

    Parameters
    ----------
    window : (float, float), optional
        Requests that arrive in [t0, t1), seconds.
    n : int, optional
        The first n requests.
    source, target, format, to, sort, failures, force
        As for :func:`convert_trace`. Exactly one of `window` and `n`.

    Returns
    -------
    int
        Requests written.

    Raises
    ------
    ValueError
        No request is in the window.
    """
    to = _target(target, to, force)
    if (window is None) == (n is None):
        raise ValueError("window, n: expected exactly one of them")
    if window is not None:
        low, high = check_number(window[0], "window", 0), check_number(window[1], "window", 0, finite=False)
        if low >= high:
            raise ValueError(f"window: expected a start before its end, got {low:g}:{high:g}")
    else:
        n = check_int(n, "n", 1)
    requests = _load(source, format, sort, failures)
    if n is not None:
        chosen = slice(0, check_int(n, "n", 1, len(requests)))
    else:
        chosen = (requests.arrival >= low) & (requests.arrival < high)
        if not chosen.any():
            raise ValueError(f"window: expected a window with requests; they arrive from {requests.arrival[0]:g} to "
                             f"{requests.arrival[-1]:g} s")
    requests.arrival = requests.keep(chosen, requests.arrival)
    _frame(requests).write(target, to)
    return len(requests)


def trace_stats(source, *, format=None, sort=False, failures=None):
    """Statistics of a request file.

    Parameters
    ----------
    source, format, sort, failures
        As for :func:`convert_trace`.

    Returns
    -------
    dict
        ``format``, ``n``, ``span_s``, ``rate_rps`` ((n - 1) / span), ``gap_cv`` (coefficient of variation of the
        inter-arrival times), ``dispersion_60s`` (variance over mean of the counts of full minutes), ``models``
        (name -> requests, most frequent first), ``tokens`` (field -> mean and quantiles p0 ... p100, linear
        interpolation) and ``token_correlation`` (Pearson). None where a number does not exist.
    """
    requests = _load(source, format, sort, failures)
    fmt, times = requests.format, requests.arrival
    gaps, span = np.diff(times), float(times[-1] - times[0])
    counts = np.bincount(((times - times[0]) // 60.0).astype(np.int64))[:-1] if span < 6e8 else np.zeros(0)
    tokens = {field: requests.columns[field] for field in fmt.tokens if field in requests.columns}
    pair = [*tokens.values()]
    linked = len(pair) == 2 and len(times) > 1 and all(np.ptp(column) > 0 for column in pair)
    models = {}
    if fmt.model in requests.columns:
        codes, names = requests.columns[fmt.model]
        number = np.bincount(codes, minlength=len(names))
        models = {names[i]: int(number[i]) for i in np.argsort(-number, kind="stable") if number[i]}
    return {
        "format": fmt.name, "n": len(times), "span_s": span,
        "rate_rps": len(gaps) / span if span > 0 else None,
        "gap_cv": float(gaps.std() / gaps.mean()) if span > 0 else None,
        "dispersion_60s": float(counts.var(ddof=1) / counts.mean()) if len(counts) > 1 else None,
        "models": models,
        "tokens": {field: {"mean": float(column.mean()),
                           **{f"p{100 * q:g}": float(v) for q, v in zip(_QUANTILES, np.quantile(column, _QUANTILES),
                                                                         strict=True)}}
                   for field, column in tokens.items()},
        "token_correlation": float(np.corrcoef(*pair)[0, 1]) if linked else None,
    }


def stats_text(stats):
    """:func:`trace_stats` for people."""
    def shown(value, unit=""):
        return "-" if value is None else f"{value:.6g}{unit}"

    lines = [f"format              {stats['format']}", f"requests            {stats['n']}",
             f"span                {shown(stats['span_s'], ' s')}",
             f"rate                {shown(stats['rate_rps'], ' /s')}",
             f"CV of gaps          {shown(stats['gap_cv'])}   (Poisson: 1)",
             f"dispersion, 60 s    {shown(stats['dispersion_60s'])}   (Poisson: 1)"]
    if stats["tokens"]:
        heads = [*next(iter(stats["tokens"].values()))]
        lines.append(f"{'':20}" + "".join(f"{h:>10}" for h in heads))
        for field, row in stats["tokens"].items():
            lines.append(f"{field:20}" + "".join(f"{value:>10.6g}" for value in row.values()))
        lines.append(f"token correlation   {shown(stats['token_correlation'])}")
    shares = [f"{name} {100 * count / stats['n']:.3g} %" for name, count in stats["models"].items()]
    if shares:
        more = f" and {len(shares) - 8} more" if len(shares) > 8 else ""
        lines.append("models              " + ", ".join(shares[:8]) + more)
    return "\n".join(lines)
