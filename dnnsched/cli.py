"""Command line: ``dnnsched VERB ...``; every verb is one call of a public function.

Exit codes: 0 ok, 1 a claim's verdict or a golden number differs from the one on record, 2 usage or configuration,
3 bad input data, 130 interrupted.
"""

import argparse
import difflib
import sys
from pathlib import Path

OK, DIFFERS, USAGE, DATA, INTERRUPTED = 0, 1, 2, 3, 130
_EXECUTORS = ("serial", "threads", "processes", "joblib", "dask", "ray", "mpi")
_GOLDEN = Path("tests") / "golden"
_LISTS = ("papers", "schedulers", "traces", "networks", "accelerators", "arrivals", "formats")


_EXAMPLES = """\
examples:
  dnnsched list schedulers                     what there is to choose from
  dnnsched reproduce dysta                     a published evaluation, about a minute
  dnnsched run study.toml -o runs/a            an own configuration (format: docs/cli.md)
  dnnsched sweep sweep.toml -j 2 -o runs/s     over a grid of its keys; --resume goes on
  dnnsched compare runs/a runs/b               differences of two runs, with intervals
  dnnsched trace stats requests.csv            what a request file holds
  dnnsched export-timeline study.toml --window 0:5 -o t.json.gz
every run directory holds report.html; exit codes: 0 ok, 1 a verdict or golden number differs,
2 usage or configuration, 3 bad input data, 130 interrupted; more: dnnsched VERB --help
"""


class _Parser(argparse.ArgumentParser):
    def _check_value(self, action, value):
        if action.choices is not None and value not in action.choices:
            close = difflib.get_close_matches(str(value), [str(c) for c in action.choices], 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise argparse.ArgumentError(action, f"expected one of {', '.join(map(str, action.choices))}, "
                                                 f"got {value!r}{hint}")


def _verb(parsers, name, what):
    """A verb whose own --help begins with what the list of verbs says of it."""
    return parsers.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")


def _positive(text):
    value = int(text) if text.isdigit() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number, at least 1, got {text!r}")
    return value


def _reason(text):
    from dnnsched.report import golden

    try:
        return golden.check_reason(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _window(text):
    try:
        start, end = map(float, text.split(":"))
        if start < end:
            return start, end
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"expected START:END in seconds with START < END, got {text!r}")


def _parser():
    from dnnsched import __version__, frames

    parser = _Parser(prog="dnnsched", description="Scheduling of dynamic and sparse DNN inference: reproduce published "
                     "tables, run your own workloads, see why.", epilog=_EXAMPLES,
                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"dnnsched {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=_Parser)

    verb = _verb(verbs, "list", f"what there is: {', '.join(_LISTS)}")
    verb.add_argument("what", nargs="?", choices=_LISTS)
    verb.set_defaults(call=_list)

    verb = _verb(verbs, "info", "versions, CPU, optional packages")
    verb.set_defaults(call=_info)

    verb = _verb(verbs, "run", "simulate a configuration file")
    verb.add_argument("config", metavar="CONFIG.toml")
    verb.add_argument("--set", dest="overrides", action="append", default=[], metavar="key=value",
                      help="replace a key, e.g. workload.rho=0.9")
    _output(verb)
    verb.set_defaults(call=_run)

    verb = _verb(verbs, "reproduce", "run the experiments of a paper and judge its claims")
    verb.add_argument("paper")
    verb.add_argument("--profile", choices=("ci", "paper"), default="ci",
                      help="ci (default): seconds; paper: all points, more replications")
    verb.add_argument("--traces", metavar="DIR", help="folder with the paper's own trace files: adds an exact re-run")
    golden = verb.add_mutually_exclusive_group()
    golden.add_argument("--golden", metavar="DIR", help="compare every number with the golden table in DIR "
                        "(tests/golden of the source tree); a difference is exit code 1")
    golden.add_argument("--update-golden", metavar="REASON", type=_reason,
                        help="accept the numbers as the golden table; REASON goes into tests/golden/CHANGES.md")
    _output(verb)
    verb.set_defaults(call=_reproduce)

    verb = _verb(verbs, "sweep", "run a configuration over a grid of its keys; resumable")
    verb.add_argument("config", metavar="SWEEP.toml")
    verb.add_argument("--set", dest="overrides", action="append", default=[], metavar="key=value",
                      help="replace a key, e.g. sweep.workload.rho=[0.5,0.9]")
    verb.add_argument("-j", "--jobs", type=_positive, metavar="N", help="workers (default: all cores)")
    verb.add_argument("--executor", choices=_EXECUTORS, help="what runs the points (default: threads)")
    verb.add_argument("-o", "--out", metavar="DIR", help="run directory with the store (default: runs/sweep-HASH)")
    verb.add_argument("--save-requests", nargs="?", const="csv", choices=frames.FORMATS, metavar="FORMAT",
                      help="also save the requests of every replication: csv (default), jsonl or parquet")
    verb.add_argument("--resume", action="store_true", help="go on with an existing run directory of this sweep")
    verb.add_argument("--rebuild-index", action="store_true", help="first make the store's index from its files")
    verb.add_argument("--force", action="store_true", help="replace an existing run directory")
    verb.add_argument("--quiet", action="store_true", help="no progress bar and no tables")
    verb.set_defaults(call=_sweep)

    verb = _verb(verbs, "compare", "two run directories: differences with intervals")
    verb.add_argument("a", metavar="RUN_A")
    verb.add_argument("b", metavar="RUN_B")
    verb.add_argument("--by", action="append", metavar="FIELD",
                      help="fields in which two numbers must agree (default: scheduler); may be repeated")
    verb.add_argument("--metric", dest="metrics", action="append", metavar="NAME", help="only these; may be repeated")
    pairing = verb.add_mutually_exclusive_group()
    pairing.add_argument("--paired", dest="paired", action="store_true", default=None,
                         help="replication by replication; an error if the runs did not share seeds and requests "
                              "(default: if they did)")
    pairing.add_argument("--unpaired", dest="paired", action="store_false", help="as independent samples")
    verb.add_argument("-o", "--out", metavar="DIR", help="run directory to write (default: none)")
    verb.add_argument("--force", action="store_true", help="replace an existing run directory")
    verb.set_defaults(call=_compare)

    verb = _verb(verbs, "audit", "where the printed numbers of a paper contradict each other")
    verb.add_argument("paper")
    verb.set_defaults(call=_audit)

    verb = _verb(verbs, "validate-run", "check a run directory against the schema")
    verb.add_argument("run", metavar="RUN_DIR")
    verb.set_defaults(call=_validate)

    verb = _verb(verbs, "export-timeline", "simulate one scheduler of a configuration, write a Perfetto trace")
    verb.add_argument("config", metavar="CONFIG.toml")
    verb.add_argument("--set", dest="overrides", action="append", default=[], metavar="key=value")
    verb.add_argument("--scheduler", help="label of the scheduler (default: the first)")
    verb.add_argument("-o", "--out", default="trace.json.gz", metavar="FILE")
    _add_window(verb)
    verb.add_argument("--force", action="store_true", help="replace an existing file")
    verb.set_defaults(call=_export)
    _trace_verbs(verbs)
    _bench_verbs(verbs)
    return parser


def _add_window(verb):
    verb.add_argument("--window", type=_window, metavar="T0:T1",
                      help="seconds of the timeline to write (default: all, up to 300,000 events)")


def _trace_verbs(verbs):
    trace = _verb(verbs, "trace", "request files of public formats: convert, describe, cut")
    actions = trace.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=_Parser)

    verb = _verb(actions, "convert", "write the requests of a file as our own CSV, JSONL or Parquet")
    _trace_input(verb)
    _trace_output(verb)
    verb.set_defaults(call=_trace_convert)

    verb = _verb(actions, "stats", "number, span, rate, burstiness and token counts of a file")
    _trace_input(verb)
    verb.set_defaults(call=_trace_stats)

    verb = _verb(actions, "slice", "write some requests of a file")
    _trace_input(verb)
    _trace_output(verb)
    which = verb.add_mutually_exclusive_group(required=True)
    which.add_argument("--window", type=_window, metavar="T0:T1", help="requests that arrive in [T0, T1), seconds")
    which.add_argument("--n", type=_positive, metavar="N", help="the first N requests")
    verb.set_defaults(call=_trace_slice)


def _bench_verbs(verbs):
    bench = _verb(verbs, "bench", "measure this machine")
    what = bench.add_subparsers(dest="what", metavar="WHAT", required=True, parser_class=_Parser)

    verb = _verb(what, "kernels", "time over sparsity of the sparse kernels, beside dense; time over bits")
    verb.add_argument("--plot", action="store_true", help="also draw the figures (needs matplotlib)")
    verb.add_argument("--isa", action="append", metavar="LEVEL", help="only this level; may be repeated")
    verb.add_argument("--repeats", type=_positive, default=5, metavar="N", help="measurements a round (default 5)")
    verb.add_argument("-o", "--out", metavar="DIR", help="folder for kernels.json and figures (default: print only; "
                      "with --plot: runs/kernels)")
    verb.add_argument("--force", action="store_true", help="replace an existing folder")
    verb.add_argument("--quiet", action="store_true", help="no progress bar and no table")
    verb.set_defaults(call=_bench_kernels)


def _trace_input(verb):
    verb.add_argument("file", metavar="FILE")
    verb.add_argument("--from", dest="format", metavar="FORMAT",
                      help="format of FILE, see `dnnsched list formats` (default: told by its header)")
    verb.add_argument("--sort", action="store_true", help="sort rows that are out of order")
    verb.add_argument("--failures", choices=("keep", "drop"), help="what to do with failed requests, where recorded")


def _trace_output(verb):
    from dnnsched import frames

    verb.add_argument("out", metavar="OUT")
    verb.add_argument("--to", choices=frames.FORMATS, help="default: by the ending of OUT; parquet needs pyarrow")
    verb.add_argument("--force", action="store_true", help="replace an existing file")


def _output(verb):
    from dnnsched import frames

    verb.add_argument("-o", "--out", metavar="DIR", help="run directory to write (default: runs/RUN_ID)")
    verb.add_argument("--force", action="store_true", help="replace an existing run directory")
    verb.add_argument("--format", choices=frames.FORMATS, default="csv",
                      help="of the saved requests; parquet needs pyarrow (extra io)")
    _add_window(verb)
    verb.add_argument("--save-requests", action="store_true", help="also save the requests of the other schedulers")
    verb.add_argument("-j", "--jobs", type=_positive, metavar="N", help="threads (default: all cores)")
    verb.add_argument("--quiet", action="store_true", help="no progress bar and no tables")


def _list(args):
    for what in (args.what,) if args.what else _LISTS:
        if not args.what:
            print(f"{what}:")
        for line in _listing(what):
            print(line if args.what else f"  {line}")
    return OK


_PLUGINS = {"papers": "papers", "schedulers": "schedulers", "accelerators": "cost_models", "arrivals": "workloads"}


def _listing(what):
    own = _built_in(what)
    if what not in _PLUGINS:
        return own
    from dnnsched import plugins

    taken = {line.split()[0] for line in own}
    return own + [f"{p.name:24s} plug-in of {p.distribution}{' (hidden by the name above)' if p.name in taken else ''}"
                  for p in plugins.find(_PLUGINS[what])]


def _built_in(what):
    if what == "papers":
        from dnnsched import papers

        return [f"{p:12s} {papers.describe(p)}" for p in papers.names()]
    if what == "schedulers":
        from dnnsched import schedulers

        return list(schedulers.names())
    if what == "traces":
        from dnnsched import traces

        return [f"{info.name:24s} {info.origin:12s} {info.description}" for info in traces.list().values()]
    if what == "networks":
        from dnnsched import networks

        return list(networks.names())
    if what == "accelerators":
        from dnnsched import accel

        return list(accel.names())
    if what == "formats":
        from dnnsched import _formats

        return [f"{fmt.name:18s} {fmt.title}" for fmt in _formats.FORMATS.values()]
    from dnnsched import runconfig

    return list(runconfig.ARRIVALS)


def _info(args):
    from dnnsched import config

    config.show_config()
    return OK


def _finish(report, args):
    """Save, print, and turn the verdicts into an exit code."""
    from dnnsched.report import document

    out = args.out or str(Path("runs") / report.run_id)
    report.save(out, force=args.force, format=args.format, window=args.window)
    if not args.quiet:
        print(report.text())
    print(f"written: {out} (open {Path(out) / 'report.html'})")
    if report.draw_figures is not None and not document.has_matplotlib():
        print(f"no figures: {document.NO_VIZ}", file=sys.stderr)
    for claim in report.unexpected:
        print(f"differs from the record: {claim.id}: {claim.verdict}, expected {claim.expected}. {claim.reason}",
              file=sys.stderr)
    return DIFFERS if report.unexpected else OK


def _refuse_early(args):
    """An output directory that exists, or a format that cannot be written, is refused before anything is computed."""
    from dnnsched import frames
    from dnnsched.report import rundir

    frames.check_format(args.format)
    if args.out:
        rundir.refuse_existing(args.out, args.force)


def _reproduce(args):
    from dnnsched import papers

    _refuse_early(args)
    report = papers.reproduce(args.paper, args.profile, traces=args.traces, jobs=args.jobs, quiet=args.quiet,
                              save_requests=args.save_requests)
    return max(_finish(report, args), _golden(report, args))


def _golden(report, args):
    """Compare with the golden table, or replace it."""
    from dnnsched.report import golden

    if args.update_golden is not None:
        print(f"written: {golden.update(report, _GOLDEN, args.update_golden)}")
    if args.golden is None:
        return OK
    found = golden.compare(report, args.golden)
    for line in found[:20]:
        print(f"differs from the golden table: {line}", file=sys.stderr)
    if len(found) > 20:
        print(f"differs from the golden table: {len(found) - 20} more", file=sys.stderr)
    return DIFFERS if found else OK


def _run(args):
    from dnnsched import runconfig, running

    _refuse_early(args)
    config = runconfig.load(args.config, args.overrides)
    return _finish(running.run(config, jobs=args.jobs, quiet=args.quiet, save_requests=args.save_requests), args)


def _sweep(args):
    from dnnsched import sweepconfig

    config = sweepconfig.load(args.config, args.overrides)
    out = args.out or str(Path("runs") / sweepconfig.run_id(config))
    try:
        found = sweepconfig.run(config, store=out, executor=args.executor, jobs=args.jobs, quiet=args.quiet,
                                existing="replace" if args.force else "resume" if args.resume else "refuse",
                                rebuild=args.rebuild_index, keep_requests=args.save_requests)
    except KeyboardInterrupt:
        print(f"interrupted; finished replications are in {out}: go on with --resume", file=sys.stderr)
        return INTERRUPTED
    report = found.report(**sweepconfig.report_options(config))
    found.save(report=report)
    if not args.quiet:
        print(report.text())
    print(f"written: {out} ({found.ran} replications run, {found.seeds.size - found.ran} from the store; open "
          f"{Path(out) / 'report.html'})")
    return OK


def _audit(args):
    from dnnsched import papers

    print(papers.audit(args.paper).text(), end="")
    return OK


def _compare(args):
    from dnnsched.report import compare, rundir

    if args.out:
        rundir.refuse_existing(args.out, args.force)
    report = compare.compare_runs(args.a, args.b, by=args.by or ("scheduler",), metrics=args.metrics,
                                  paired=args.paired)
    print(report.text())
    if args.out:
        report.save(args.out, force=args.force)
        print(f"written: {args.out} (open {Path(args.out) / 'report.html'})")
    return OK


def _validate(args):
    from dnnsched.report import rundir

    found = rundir.validate(args.run)
    print(f"{args.run}: valid; {found['summary_rows']} summary rows, {found['request_rows']} requests, "
          f"{len(found['files'])} files")
    if found["store"]:
        print(f"  store: {found['store']['replications']} replications of {found['store']['points']} points")
    for verdict, count in sorted(found["claims"].items()):
        print(f"  {count} {verdict}")
    for name in found["unexpected"]:
        print(f"  differs from the record: {name}")
    return DIFFERS if found["unexpected"] else OK


def _export(args):
    from dnnsched import runconfig, running

    if Path(args.out).exists() and not args.force:
        raise FileExistsError(f"{args.out}: already exists; choose another file or replace it with --force")
    config = runconfig.load(args.config, args.overrides)
    chosen = config.scheduler[0]
    if args.scheduler is not None:
        labels = {s.label: s for s in config.scheduler}
        if args.scheduler not in labels:
            raise runconfig.ConfigError(f"--scheduler: expected one of {', '.join(labels)}, got {args.scheduler!r}")
        chosen = labels[args.scheduler]
    written, cut = running.timeline(config, chosen).to_chrome_trace(args.out, window=args.window)
    left = f"; {cut} left out by window or cap" if cut else ""
    print(f"written: {args.out}, {written} events{left} (open it in https://ui.perfetto.dev)")
    return OK


def _trace_options(args):
    return {"format": args.format, "sort": args.sort, "failures": args.failures}


def _trace_convert(args):
    from dnnsched import workloads

    n = workloads.convert_trace(args.file, args.out, to=args.to, force=args.force, **_trace_options(args))
    print(f"written: {args.out} ({n} requests)")
    return OK


def _trace_stats(args):
    from dnnsched import _tracefiles, workloads

    print(_tracefiles.stats_text(workloads.trace_stats(args.file, **_trace_options(args))))
    return OK


def _trace_slice(args):
    from dnnsched import workloads

    n = workloads.slice_trace(args.file, args.out, window=args.window, n=args.n, to=args.to, force=args.force,
                              **_trace_options(args))
    print(f"written: {args.out} ({n} requests)")
    return OK


def _bench_kernels(args):
    from dnnsched.kernels import _bench

    out = args.out or (str(Path("runs") / "kernels") if args.plot else None)
    record = _bench.bench(out, plot=args.plot, force=args.force, isa=args.isa, repeats=args.repeats, quiet=args.quiet)
    if not args.quiet:
        print(_bench.text(record))
    if out:
        print(f"written: {out}")
    return OK


def main(argv=None):
    """Run the command line.

    Parameters
    ----------
    argv : list of str, optional
        Arguments; default ``sys.argv[1:]``.

    Returns
    -------
    int
        Exit code.
    """
    try:
        args = _parser().parse_args(argv)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else USAGE
    from dnnsched.errors import FormatError, PointError, StateError
    from dnnsched.runconfig import ConfigError

    try:
        return args.call(args)
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return OK
    except PointError as error:
        print(f"dnnsched: {error}", file=sys.stderr)
        return DATA if isinstance(error.__cause__, (FormatError, FileNotFoundError)) else USAGE
    except (FormatError, FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        text = f"{error.filename}: {error.strerror}" if getattr(error, "strerror", None) else error
        print(f"dnnsched: {text}", file=sys.stderr)
        return DATA
    except (ConfigError, FileExistsError, PermissionError, StateError, ValueError, ImportError) as error:
        print(f"dnnsched: {error}", file=sys.stderr)
        return USAGE


if __name__ == "__main__":
    sys.exit(main())
