"""Reproduced systems: one folder each, with published numbers, claims and the experiment."""

import importlib

_PAPERS = {
    "dysta": "Sparse-DySta: sparsity-aware scheduling of several sparse DNNs (MICRO 2023)",
}


def names():
    """Ids of the systems that can be reproduced.

    Returns
    -------
    tuple of str
    """
    return tuple(_PAPERS)


def describe(paper):
    """One line about a system."""
    _known(paper)
    return _PAPERS[paper]


def _known(paper):
    if paper not in _PAPERS:
        import difflib

        close = difflib.get_close_matches(str(paper), _PAPERS, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"paper: expected one of {', '.join(_PAPERS)}, got {paper!r}{hint}")


def reproduce(paper, profile="ci", **options):
    """Run the experiments of a paper and judge its claims.

    Parameters
    ----------
    paper : str
        One of :func:`names`.
    profile : {"ci", "paper"}
        ``"ci"`` is quick; ``"paper"`` runs all points with more replications.
    **options
        ``traces`` (folder of the original trace files), ``jobs`` (threads, default all cores),
        ``quiet`` (no progress bar), ``save_requests`` (keep the requests of more runs).

    Returns
    -------
    dnnsched.report.Report
        With ``tables``, ``claims``, ``figures`` and ``save(dir)``.
    """
    _known(paper)
    module = importlib.import_module(f"dnnsched.papers.{paper}")
    return module.reproduce(profile=profile, **options)


def audit(paper):
    """Recompute every printed number of a paper that follows from other printed numbers.

    Parameters
    ----------
    paper : str
        One of :func:`names`.

    Returns
    -------
    dnnsched.papers._audit.Audit
        ``findings``, ``contradictions``, ``table()`` and ``text()``.
    """
    _known(paper)
    return importlib.import_module(f"dnnsched.papers.{paper}").audit()
