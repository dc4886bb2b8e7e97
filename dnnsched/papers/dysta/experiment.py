"""The experiment: profile -> results, tables, verdicts (Table 4, Table 5, Figs. 12-15 and our own studies)."""

import tomllib

import numpy as np

from dnnsched import _executors, policies, traces, workloads
from dnnsched.papers import dysta as paper
from dnnsched.papers.dysta import plan as plans
from dnnsched.papers.dysta import runs, views
from dnnsched.report import claims, document, progress, provenance
from dnnsched.report.results import Point, Results

DOMAINS = ("attnn", "cnn")
METHODS = {
    "seeds": "mean of the published request tables, seeds 1-5; Student-t over seeds",
    "draws": "Student-t over trace draws, each the mean of seeds 1-5",
    "replications": "Student-t over replications: seed r and trace draw r",
}


def reproduce(profile="ci", *, traces=None, jobs=None, quiet=True, save_requests=False):
    """Run the experiments of one profile and judge the claims.

    Parameters
    ----------
    profile : {"ci", "paper"}
    traces : path-like, optional
        Folder with the public artifact's own trace files: adds their exact re-run.
    jobs : int, optional
        Threads; results do not depend on it.
    quiet : bool
        Show no progress bar.
    save_requests : bool
        Keep the requests of every scheduler in the named run's setting, not only Dysta's.

    Returns
    -------
    dnnsched.report.Report
    """
    plan = plans.get(profile)
    if jobs is not None and (not isinstance(jobs, int) or jobs < 1):
        raise ValueError(f"jobs: expected a whole number of threads, at least 1, got {jobs!r}")
    study = _Study(plan, traces)
    recorder = provenance.Recorder(study.config, seeds=range(1, plan.draws + 1), inputs=study.inputs,
                                   citations=study.citations())
    planned = study.jobs()
    bar = progress.bar(len(planned), f"dysta ({profile})", quiet)
    try:
        parts = _executors.execute(lambda job: job(), planned, executor="threads", jobs=jobs,
                                   done=lambda indices, _: bar.update(len(indices)))
    finally:
        bar.close()
    rows = [row for part in parts for row in part]
    recorder.count(sum(metrics.pop("events", 0) for *_, metrics in rows))
    results = study.results(rows)
    judged = claims.evaluate_all(paper.claim_specs(), results, profile)
    named = study.named_runs(("dysta",) if not save_requests else ("dysta", *[s for s in plans.SCHEDULERS
                                                                            if s != "dysta"]))
    return document.Report(
        paper="dysta", title=f"Reproduction of {paper.TITLE}", citation=paper.CITATION, profile=profile,
        config=study.config, tables=views.tables(results, study), claims=judged, results=results, notes=study.notes,
        recorder=recorder, platforms=plans.PLATFORMS, run=named[0], more_runs=named[1:], draw_figures=_figures)


def _figures(report):
    from dnnsched.viz import dysta

    return dysta.figures(report)


class _Study:
    """Sets, jobs and results of one profile."""

    def __init__(self, plan, folder=None):
        self.plan, self.store, self.notes, self.inputs = plan, runs.TraceStore(), [], []
        self.config = {**plan.config(), "paper": "dysta", "traces": None}
        self.calibrated = [s for d in DOMAINS for s in runs.calibrated_sets(d, plan.draws)]
        self.generated = [runs.generated_set(d, plan.draws) for d in DOMAINS]
        self.recorded = [s for s in (runs.recorded_set(d, plan.draws) for d in DOMAINS) if s is not None]
        self.natural = [runs.recorded_set(s.domain, plan.draws, rescale=False) for s in self.recorded]
        self.original = []
        if len(self.recorded) < len(DOMAINS):
            self.notes.append("recorded trace sets missing from this installation: "
                              f"{len(DOMAINS) - len(self.recorded)} of {len(DOMAINS)}")
        if folder is not None:
            self.original, self.inputs = runs.original_sets(folder)
            self.config["traces"] = {p.name: provenance.sha256_of(p) for p in self.inputs}
            self.notes.append("rows 'original-*' were run on the trace files given by the user")

    def citations(self):
        """Licences and attributions of the recorded data, from the data manifest."""
        from dnnsched import paths

        try:
            with open(paths.data_dir() / "MANIFEST.toml", "rb") as file:
                files = tomllib.load(file).get("file", [])
        except FileNotFoundError:
            return []
        return [f"{s.workload}: {line}" for s in self.recorded
                for line in dict.fromkeys(f["licence"] for f in files if s.workload in f.get("path", ""))]

    def jobs(self):
        """Every job of the profile, long ones first."""
        made = []
        for part in (self._published_jobs, self._load_jobs, self._slack_jobs, self._semantics_jobs, self._eta_jobs,
                     self._builder_jobs, self._unit_jobs, self._group_jobs, self._predictor_jobs,
                     self._closed_form_jobs):
            made += part()
        return made

    def _published_jobs(self):
        made = []
        for chosen in (*self.calibrated, *self.original):
            whole = chosen.draws == 0 or self.plan.all_slos_for_draws
            for item, slos in (("fig14", plans.SLOS if whole else plans.SLOS[:1]), ("fig15", plans.SLOS[:1])):
                for draw in range(max(chosen.draws, 1)):
                    for seed in self.plan.seeds:
                        replication = draw + 1 if chosen.draws else seed
                        made.append(runs.published_job(self.store, chosen, self.plan, seed, draw, replication, item,
                                                       slos))
        return made

    def _load_jobs(self):
        made = []
        for chosen in (*self.generated, *self.recorded):
            for r in range(1, self.plan.draws + 1):
                made += [runs.load_job(self.store, chosen, self.plan, rho, r, "load", plans.SLOS[:1])
                         for rho in plans.LOADS[chosen.domain]]
                made += [runs.load_job(self.store, chosen, self.plan, rho, r, "slo", plans.SLOS)
                         for rho in self.plan.slo_loads[chosen.domain]]
        return made

    def _table(self, chosen, seed, rate):
        rates = plans.RATES_15[chosen.domain]
        return lambda: workloads.dysta_tables(self.store.get(chosen, 0), rates, seeds=[seed], n=self.plan.requests,
                                              semantics="artifact")[rate, seed]

    def _deterministic(self):
        return [s for s in self.calibrated if s.workload.endswith("/deterministic")]

    def _slack_jobs(self):
        cases = [(f"dysta slack={s}", "dysta", {"slack": s}) for s in plans.SLACKS]
        made = []
        for chosen in self._deterministic():
            for rate in plans.RATES_14[chosen.domain]:
                point = Point("slack", chosen.workload, rate=rate, slo=10.0)
                made += [runs.variants_job(self._table(chosen, seed, rate), point, cases, seed, "artifact")
                         for seed in self.plan.seeds]
        for chosen in (*self.generated, *self.recorded):
            for rho in plans.LOADS_12[chosen.domain]:
                made += [runs.variants_job(self._poisson(chosen, rho, r), Point("slack", chosen.workload, rho=rho,
                                                                              slo=10.0), cases, r, "paper")
                         for r in range(1, self.plan.draws + 1)]
        return made

    def _poisson(self, chosen, rho, r, **options):
        return lambda: runs.poisson(self.store.get(chosen, r), self.plan, rho, r, **options)

    def _semantics_jobs(self):
        cases = [(s, s, {}) for s in plans.SCHEDULERS]
        return [runs.variants_job(self._table(chosen, seed, rate),
                                  Point("semantics", chosen.workload, rate=rate, slo=10.0), cases, seed, semantics)
                for chosen in self._deterministic() for rate in plans.RATES_14[chosen.domain]
                for semantics in ("artifact", "paper") for seed in self.plan.seeds]

    def _eta_jobs(self):
        cases = [(f"dysta eta={e:g}", "dysta", {"eta": e, "beta": e}) for e in self.plan.etas]
        return [runs.variants_job(self._poisson(chosen, rho, r), Point("eta", chosen.workload, rho=rho, slo=10.0),
                                  cases, r, "paper")
                for chosen in self.generated for rho in plans.LOADS_12[chosen.domain]
                for r in range(1, self.plan.draws + 1)]

    def _builder_jobs(self):
        """Predictors in the loop, 7 against all samples, and the SLO base, on set B."""
        made = []
        for chosen in self.generated:
            rho = plans.LOADS_12[chosen.domain][0]
            for r in range(1, self.plan.draws + 1):
                point = Point("predictor", chosen.workload, rho=rho, slo=10.0)
                cases = [(f"dysta predictor={p}", "dysta", {"predictor": p}) for p in plans.PREDICTORS]
                made.append(runs.variants_job(self._poisson(chosen, rho, r), point, cases, r, "paper"))
                for label, options in (("all samples", {}), ("7 samples", {"n_samples": workloads.ARTIFACT_SAMPLES})):
                    cases = [(f"{s}, {label}", s, {}) for s in ("fcfs", "sjf", "dysta")]
                    made.append(runs.variants_job(self._poisson(chosen, rho, r, **options),
                                                  point.with_(item="samples"), cases, r, "paper"))
                for base in ("request", "model"):
                    cases = [(f"{s}, slo_base={base}", s, {}) for s in ("fcfs", "sjf", "dysta")]
                    made.append(runs.variants_job(self._poisson(chosen, rho, r, slo_base=base),
                                                  point.with_(item="slo_base"), cases, r, "paper"))
        return made

    def _unit_jobs(self):
        """The recorded sets at their own time scale and at the paper's."""
        made = []
        for chosen in (*self.recorded, *self.natural):
            rho = plans.LOADS_12[chosen.domain][0]
            scale = "as recorded" if chosen in self.natural else "rescaled"
            cases = [(f"{s}, {scale}", s, {}) for s in ("sjf", "planaria", "dysta")]
            point = Point("unit", chosen.workload.partition("/")[0], rho=rho, slo=10.0)
            made += [runs.variants_job(self._poisson(chosen, rho, r), point, cases, r, "paper")
                     for r in range(1, self.plan.draws + 1)]
        return made

    def _group_jobs(self):
        return [runs.groups_job(self.store, chosen, self.plan, plans.LOADS_12[chosen.domain][0], r,
                                ("sjf", "prema", "dysta"))
                for chosen in (*self.generated, *self.recorded) for r in range(1, self.plan.draws + 1)]

    def _predictor_jobs(self):
        return [_predictor_job(self.store, chosen, r)
                for chosen in (*self.generated, *self.recorded) for r in range(1, self.plan.draws + 1)]

    def _closed_form_jobs(self):
        return [_closed_form_job(rho, r) for rho in (0.5, 0.8) for r in range(1, 2 * self.plan.draws + 1)]

    def results(self, rows):
        """All rows as :class:`Results`, with the published cells attached."""
        printed = paper.published()
        origins = {s.workload: s for s in (*self.calibrated, *self.generated, *self.recorded, *self.original)}
        made = Results()
        for point, metrics in runs.collect(rows).items():
            chosen = origins.get(point.workload)
            if chosen is None:
                method, origin = "Student-t over replications", "modelled"
            else:
                published = point.rate is not None
                method = METHODS["replications" if not published else "draws" if chosen.draws else "seeds"]
                origin = chosen.origin
            for metric, values in metrics.items():
                finite = np.asarray(values)
                if np.isfinite(finite).all():
                    made.add(point, metric, finite, origin=origin, method=method,
                             published=_printed(printed, chosen, point, metric))
        _add_views(made, printed, origins)
        for rho in (0.5, 0.8):
            made.add(Point("closed_form", "M/D/1", "theory", "paper", rho=rho), "latency_mean_s",
                     [1.0 + rho / (2.0 * (1.0 - rho))], origin="derived", method="Pollaczek-Khinchine, service 1 s")
        self._feedback_notes(made)
        return made

    def _feedback_notes(self, made):
        """Warn where the monitored sparsity says little about the remaining latency, or overshoots."""
        for chosen in (*self.generated, *self.recorded):
            for metric, limit, text in (
                    ("correlation", 0.7, "monitored sparsity predicts little; correlation of last-one's gamma with "
                                         "true / average remaining latency below 0.7"),
                    ("elasticity", 0.5, "gamma overshoots (no monitoring predicts better); elasticity of latency to "
                                        "density below 0.5")):
                found = made.find(metric, item="table4", workload=chosen.workload, scheduler="last_one",
                                  semantics="paper")
                weak = [f"{s.point.group.partition('=')[2]} {s.values.mean():.2f}" for s in found
                        if s.values.mean() < limit]
                if weak:
                    self.notes.append(f"{chosen.workload}: {text}: {', '.join(weak)}")
        rewinds = made.find("rewinds", item="fig15", slo=10.0)
        if rewinds:
            most = max(rewinds, key=lambda s: s.values.mean())
            self.notes.append(f"artifact clock: time moved back at most {most.values.mean():.1f} times per run of "
                              f"{self.plan.requests} requests ({most.point.workload}, {most.point.rate:g}/s)")
        self.notes.append("table 'semantics': request tables built with artifact semantics (7 inputs, SLO from the "
                          "model's mean) and run with paper semantics, on purpose")
        self.notes.append("runs above offered load 1 are transients of 1000 requests: their means grow with the length")

    def named_runs(self, names):
        """Dysta (and others) on set B of the attention models at the load of Table 5, with records and timeline."""
        chosen, rho = self.generated[0], plans.LOADS_12["attnn"][0]
        table = runs.poisson(self.store.get(chosen, 1), self.plan, rho, 1)
        made = []
        for name in names:
            result = runs.simulate_timeline(table, name) if name == "dysta" else runs.simulate(table, name, "paper")
            title = f"{name}, {chosen.workload}, offered load {rho:g}, M = 10, seed 1, paper semantics"
            made.append(document.NamedRun(name, title, result, table))
        return made


def _printed(printed, chosen, point, metric):
    """The published cell for a point of set A or of the original traces."""
    if chosen is None or point.rate is None or point.slo is None or point.item not in ("fig14", "fig15"):
        if point.item == "table4" and metric == "rmse_s" and point.workload == "multi-attnn":
            return printed.get("table4", point.scheduler, point.group.partition("=")[2], "rmse")
        return None
    column = f"{chosen.domain} rate={point.rate:g} slo={point.slo:g}"
    return printed.get(point.item, point.scheduler, column, metric)


def _add_views(made, printed, origins):
    """Table 5, Fig. 12 and Fig. 13 are the M = 10 points of Fig. 14 under their own published numbers."""
    for series in list(made.find(item="fig14", slo=10.0)):
        chosen = origins[series.point.workload]
        column = f"{chosen.domain} rate={series.point.rate:g} slo=10"
        for item in ("table5", "fig12", "fig13"):
            cell = printed.get(item, series.point.scheduler, column, series.metric)
            if cell is not None:
                made.add(series.point.with_(item=item), series.metric, series.values, origin=series.origin,
                         method=series.method, published=cell)


def _elasticity(trace):
    """Slope through the origin of relative layer latency over relative layer density, all samples and layers."""
    density = 1.0 - trace.sparsity
    mean = density.mean(axis=0)
    x = density[:, mean > 0] / mean[mean > 0] - 1.0
    y = (trace.latency / trace.latency.mean(axis=0))[:, mean > 0] - 1.0
    spread = float((x * x).sum())
    return float((x * y).sum()) / spread if spread else 0.0


def _predictor_job(store, chosen, replication):
    """Table 4: error of the predicted remaining latency, per model, in both semantics."""
    def run():
        ts = store.get(chosen, replication)
        rows = []
        for semantics in ("paper", "artifact"):
            found = policies.evaluate_predictors(ts, ("none", *plans.PREDICTORS), artifact=semantics == "artifact")
            gathered = {}
            for row in found:
                if np.isfinite(row["rmse_s"]):
                    model = ts[str(row["key"])].model
                    gathered.setdefault((model, str(row["predictor"])), []).append(row)
            for (model, predictor), group in gathered.items():
                point = Point("table4", chosen.workload, predictor, semantics, group=f"model={model}")
                metrics = {"rmse_s": float(np.sqrt(np.mean([g["rmse_s"] ** 2 for g in group]))),
                           "rmse_relative": float(np.sqrt(np.mean([g["rmse_rel"] ** 2 for g in group])))}
                if predictor != "none":
                    metrics["correlation"] = float(np.mean([g["correlation"] for g in group]))
                    metrics["elasticity"] = float(np.mean([_elasticity(ts[str(g["key"])]) for g in group]))
                rows.append((point, replication, metrics))
        return rows
    return run


def _closed_form_job(rho, replication):
    """M/D/1 in paper semantics: one-layer requests of 1 s, first come first served."""
    def run():
        ts = traces.TraceSet({"unit": traces.Trace(np.ones((1, 1)), model="unit")})
        table = workloads.poisson(ts, rate=rho, n=22000, slo_multiplier=10.0, rng=replication)
        result = runs.sim.simulate(table, scheduler="fcfs", warmup=2000)
        return [(Point("closed_form", "M/D/1", "fcfs", "paper", rho=rho), replication,
                 {"latency_mean_s": float(result.metrics["latency_mean_s"])})]
    return run
