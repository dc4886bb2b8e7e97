"""Reproduced systems: one folder each, with published numbers, claims and the experiment."""

import importlib

from dnnsched import plugins

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
    if paper not in _PAPERS:
        return ((_module(paper).__doc__ or "").strip().splitlines() or [""])[0]
    return _PAPERS[paper]


def _module(paper):
    """Module of a system, our own or a plug-in's; ValueError if there is none."""
    if paper in _PAPERS:
        return importlib.import_module(f"dnnsched.papers.{paper}")
    module = plugins.load("papers", paper)
    if module is None:
        import difflib

        known = [*_PAPERS, *(p.name for p in plugins.find("papers"))]
        close = difflib.get_close_matches(str(paper), known, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"paper: expected one of {', '.join(known)}, got {paper!r}{hint}")
    return module


def reproduce(paper, profile="ci", **options):
    """Run the experiments of a paper and judge its claims.

    Parameters
    ----------
    paper : str
        One of :func:`names`, or of a plug-in (:mod:`dnnsched.plugins`).
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
    return _module(paper).reproduce(profile=profile, **options)


def audit(paper):
    """Recompute every printed number of a paper that follows from other printed numbers.

    Parameters
    ----------
    paper : str
        One of :func:`names`, or of a plug-in (:mod:`dnnsched.plugins`).

    Returns
    -------
    dnnsched.papers._audit.Audit
        ``findings``, ``contradictions``, ``table()`` and ``text()``.
    """
    module = _module(paper)
    if not hasattr(module, "audit"):
        raise ValueError(f"paper: the plug-in {paper!r} has no audit")
    return module.audit()
