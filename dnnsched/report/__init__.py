"""Reports: published numbers, claims and verdicts, tidy tables and run directories."""

from dnnsched.report.claims import Claim, evaluate, evaluate_all
from dnnsched.report.document import NamedRun, Report
from dnnsched.report.published import Published
from dnnsched.report.results import Point, Results, Series
from dnnsched.report.rundir import validate
from dnnsched.report.tables import Table

__all__ = ["Claim", "NamedRun", "Point", "Published", "Report", "Results", "Series", "Table", "evaluate",
           "evaluate_all", "validate"]
