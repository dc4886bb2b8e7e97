"""Sparse-DySta (MICRO 2023): published numbers, claims, experiment and audit."""

from importlib import resources

TITLE = "Sparse-DySta: Sparsity-Aware Dynamic and Static Scheduling for Sparse Multi-DNN Workloads"
CITATION = ("H. Fan, S. I. Venieris, A. Kouris, N. D. Lane, \"Sparse-DySta: Sparsity-Aware Dynamic and Static "
            "Scheduling for Sparse Multi-DNN Workloads\", MICRO 2023, doi:10.1145/3613424.3614263.")


def _file(name):
    return resources.files(__name__).joinpath(name)


def published():
    """The paper's printed numbers.

    Returns
    -------
    dnnsched.report.Published
    """
    from dnnsched.report import published as reader

    return reader.load(_file("published.csv"))


def claim_specs():
    """The claims on record (``claims.toml``), checked.

    Returns
    -------
    list of dict
    """
    from dnnsched.report import claims

    return claims.load(_file("claims.toml"))


def audit():
    """Relations between the printed numbers; see :func:`dnnsched.audit`."""
    from dnnsched.papers.dysta.relations import audit as run

    return run(published(), TITLE)


def reproduce(profile="ci", **options):
    """Run the experiments and judge the claims; see :func:`dnnsched.reproduce`."""
    from dnnsched.papers.dysta.experiment import reproduce as run

    return run(profile=profile, **options)
