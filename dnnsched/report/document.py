"""The report of a reproduction: tables, verdicts, figures, and the run directory they are saved in."""

import hashlib
from dataclasses import dataclass, field

from dnnsched import frames, schema
from dnnsched.report import page, provenance, rundir, tables

NO_VIZ = "figures need matplotlib: install the extra with  pip install 'dnnsched[viz]'"


def has_matplotlib():
    """Whether figures can be drawn."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


@dataclass
class NamedRun:
    """The one simulated run whose requests and timeline are saved.

    Attributes
    ----------
    name : str
        Short key, used in file names (``"dysta-attnn-30"``).
    title : str
    result : Result
        Simulated with per-request records.
    workload : Workload
    replication : int
    """

    name: str
    title: str
    result: object
    workload: object
    replication: int = 1


@dataclass
class Report:
    """Everything that one reproduction found.

    Attributes
    ----------
    paper, title, citation, profile : str
    config : dict
        What was asked for (JSON types); its hash names the run.
    tables : dict of str to tables.Table
    claims : list of claims.Claim
    results : results.Results
    notes : list of str
        Warnings and conventions that a reader must know.
    run : NamedRun or None
        The named run.
    more_runs : list of NamedRun
        Further runs to save (``--save-requests``).
    recorder : provenance.Recorder
    platforms : dict
        Workload name -> platform label.
    draw_figures : callable or None
        ``draw_figures(report) -> dict`` of name to matplotlib Figure.
    """

    paper: str
    title: str
    citation: str
    profile: str
    config: dict
    tables: dict
    claims: list
    results: object
    notes: list
    recorder: object
    platforms: dict = field(default_factory=dict)
    run: object = None
    more_runs: list = field(default_factory=list)
    draw_figures: object = None

    @property
    def run_id(self):
        """Name of the run: paper, profile and the first digits of the configuration's hash."""
        digest = hashlib.sha256(provenance.canonical_json(self.config).encode()).hexdigest()
        return f"{self.paper}-{self.profile}-{digest[:8]}"

    @property
    def heading(self):
        """Title, with the profile if a paper is reproduced: other reports have none to choose."""
        return f"{self.title} (profile {self.profile})" if self.citation else self.title

    @property
    def unexpected(self):
        """Claims whose verdict differs from the one on record."""
        return [c for c in self.claims if not c.as_expected]

    @property
    def figures(self):
        """Name -> matplotlib Figure; drawn on every access.

        Raises
        ------
        ImportError
            If matplotlib is missing; the message names the extra.
        """
        if self.draw_figures is None:
            return {}
        return self.draw_figures(self)

    def platform(self, workload):
        """Platform label of a workload name (``"multi-cnn/..."`` -> its label)."""
        return self.platforms.get(workload, self.platforms.get(workload.partition("/")[0], ""))

    def verdict_of(self):
        """(point, metric) -> verdict of the claim that judged it (the last one, if several)."""
        return {key: case.verdict for claim in self.claims for case in claim.cases for key in case.judged}

    def frame(self):
        """The rows of ``summary.csv`` as a :class:`dnnsched.frames.Frame`; so has a report an Arrow stream."""
        rows = tables.summary_rows(self.results, run_id=self.run_id, paper=self.paper, platforms=self.platform,
                                   verdicts=self.verdict_of())
        return frames.Frame.from_rows(schema.SUMMARY, rows)

    def __arrow_c_stream__(self, requested_schema=None):
        """Arrow PyCapsule interface of :meth:`frame`."""
        return self.frame().__arrow_c_stream__(requested_schema)

    def claims_table(self):
        """The claims as a table: verdict, what was found, and whether that was expected."""
        rows = [[c.id, c.title, c.verdict, "as expected" if c.as_expected else f"EXPECTED: {c.expected}", c.reason]
                for c in self.claims]
        return tables.Table("claims", "Claims", ["claim", "statement", "verdict", "on record", "found"], rows)

    def text(self, full=False):
        """Tables and verdicts as plain text.

        Parameters
        ----------
        full : bool
            Every table and claim, as in ``report.md``; else the main tables, and the claims that do not hold.
        """
        chosen = [t for t in self.tables.values() if full or t.brief]
        parts = [self.heading, *(t.text() for t in chosen)]
        if self.claims:
            parts.append(self._claims_text(full))
        if self.notes:
            parts.append("Notes\n" + "\n".join(f"  - {n}" for n in self.notes))
        if not full and len(chosen) < len(self.tables):
            parts.append(f"{len(self.tables) - len(chosen)} more tables in report.md")
        return "\n\n".join(parts) + "\n"

    def _claims_text(self, full):
        counts = {}
        for claim in self.claims:
            counts[claim.verdict] = counts.get(claim.verdict, 0) + 1
        lines = [f"Claims: {len(self.claims)}; " + ", ".join(f"{n} {v}" for v, n in sorted(counts.items()))
                 + f"; {len(self.unexpected)} differ from the record"]
        for claim in self.claims:
            if full or claim.verdict not in ("reproduced", "not attempted") or not claim.as_expected:
                mark = "" if claim.as_expected else f"   <-- on record: {claim.expected}"
                lines.append(f"  {claim.verdict:31s} {claim.title}{mark}")
                if full or not claim.as_expected:
                    lines.append(f"  {'':31s} {claim.reason}")
        if not full:
            lines.append("  (claims that hold, with what was found for each: report.md)")
        return "\n".join(lines)

    def markdown(self, figures=(), missing_viz=False):
        """The report as Markdown; without times, so that it is the same for the same results.

        Parameters
        ----------
        figures : iterable of (str, str, str)
            Name, caption and SVG of the figures that were saved.
        missing_viz : bool
            There should be figures, but matplotlib is missing.
        """
        lines = [f"# {self.title}", "", self.citation, "",
                 f"Profile `{self.profile}`, run `{self.run_id}`. Machine, versions, seeds and times: `run.json`; "
                 "every number of the tables is in `summary.csv`, each replication in `replications.csv`.", "",
                 "Origin of numbers: *published* (printed in the paper), *calibrated* (parameters fitted on the same "
                 "paper's numbers: a regression check, not evidence), *synthetic* (generated from cited statistics), "
                 "*modelled* (cost model), *measured* (real kernel or real data), *derived* (arithmetic on published "
                 "cells). Brackets hold 95 % Student-t intervals over replications.", ""]
        if self.claims:
            counts = {}
            for claim in self.claims:
                counts[claim.verdict] = counts.get(claim.verdict, 0) + 1
            lines += ["| verdict | claims |", "|---|---:|", *(f"| {v} | {n} |" for v, n in sorted(counts.items())), "",
                      f"{len(self.unexpected)} differ from the record.", ""]
        lines += ["## Main tables", ""]
        lines += [table.markdown() for table in self.tables.values() if table.brief]
        lines += self._figure_lines(figures, missing_viz)
        if self.claims:
            lines += ["## Claims", ""]
        for claim in self.claims:
            lines.append(f"- **{claim.verdict}**: {claim.title} (`{claim.id}`). {claim.reason}")
            state = "As on record" if claim.as_expected else f"**On record: {claim.expected}**"
            lines.append(f"  {state}: {claim.because}")
        rest = [table.markdown() for table in self.tables.values() if not table.brief]
        if rest:
            lines += ["", "## All other tables", "", *rest]
        lines.append("")
        if self.run is not None:
            lines += ["## Timeline", "",
                      f"`requests.*` and `trace.json.gz` hold one run: {self.run.title}. Open the trace in "
                      "https://ui.perfetto.dev.", ""]
        if self.notes:
            lines += ["## Notes", "", *(f"- {n}" for n in self.notes), ""]
        if self.recorder.citations:
            lines += ["## Data", "", *(f"- {c}" for c in self.recorder.citations), ""]
        return "\n".join(lines).rstrip() + "\n"

    @staticmethod
    def _figure_lines(figures, missing_viz):
        if figures:
            return ["## Figures", "", *(f"![{caption}](figures/{name}.png)\n" for name, caption, _ in figures)]
        return ["## Figures", "", NO_VIZ, ""] if missing_viz else []

    def save(self, path, *, force=False, format="csv", window=None):
        """Write the run directory, whole or not at all.

        Parameters
        ----------
        path : path-like
        force : bool
            Replace an existing run directory.
        format : {"csv", "jsonl", "parquet"}
            Of the saved requests (:meth:`dnnsched.frames.Frame.write`).
        window : (float, float), optional
            Seconds of the timeline to write; default all, up to its cap.

        Returns
        -------
        pathlib.Path
            `path`.

        Raises
        ------
        FileExistsError
            If it exists and `force` is false.
        ImportError
            Parquet without pyarrow.
        """
        with rundir.writing(path, force=force) as folder:
            figures, missing = self._save_figures(folder)
            self._save_tables(folder)
            if self.run is not None:
                self._save_run(folder, self.run, f"requests.{format}", format)
                if self.run.result.timeline is not None:
                    self.run.result.timeline.to_chrome_trace(folder / "trace.json.gz", window=window)
            for run in self.more_runs:
                self._save_run(folder, run, f"requests-{run.name}.{format}", format)
            (folder / "report.md").write_text(self.markdown(figures, missing), encoding="utf-8", newline="\n")
            text = page.render(self, figures, NO_VIZ if missing else "", f"requests.{format}")
            (folder / "report.html").write_text(text, encoding="utf-8", newline="\n")
            rundir.write_json(folder / "run.json", self._record())
        return path

    def _record(self):
        return {"schema": schema.VERSION, "run_id": self.run_id, "paper": self.paper, "profile": self.profile,
                "config": self.config, "provenance": self.recorder.record(), "notes": self.notes,
                "claims": [{"id": c.id, "verdict": c.verdict, "expected": c.expected, "reason": c.reason}
                           for c in self.claims]}

    def _save_tables(self, folder):
        context = {"run_id": self.run_id, "paper": self.paper, "platforms": self.platform}
        tables.write_csv(folder / "summary.csv", tables.SUMMARY_COLUMNS,
                         tables.summary_rows(self.results, verdicts=self.verdict_of(), **context))
        tables.write_csv(folder / "replications.csv", tables.SUMMARY_COLUMNS,
                         tables.replication_rows(self.results, **context))
        tables.write_csv(folder / "claims.csv", schema.CLAIMS.names,
                         [(c.id, c.kind, c.verdict, c.expected, c.title, c.reason, c.because) for c in self.claims])

    @staticmethod
    def _save_run(folder, run, requests, format):
        run.result.frame(run_id=run.name, replication=run.replication).write(folder / requests, format)

    def _save_figures(self, folder):
        """Save the figures; (name, caption, SVG) of each, and whether matplotlib is missing."""
        if self.draw_figures is None:
            return [], False
        if not has_matplotlib():
            return [], True
        from dnnsched.viz import style

        figures = self.figures

        target = folder / "figures"
        target.mkdir()
        saved = []
        for name, figure in figures.items():
            svg = style.save(figure, target / name)
            saved.append((name, figure.get_label() or name, svg))
        return saved, False
