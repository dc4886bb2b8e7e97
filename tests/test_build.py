"""How the project is built: exported symbols, rules of the tree, source distribution, wheel, missing compiler."""

import ast
import importlib.util
import itertools
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy
import pytest

from dnnsched import config
from dnnsched._native import _base

ROOT = Path(__file__).resolve().parent.parent
CSRC = ROOT / "csrc"
NATIVE = Path(_base.__file__).parent
EXTENSIONS = sorted(NATIVE.glob("_*.so"))

sys.path.insert(0, str(ROOT / "tools"))
import check_tree  # noqa: E402


def run(command, cwd, fails=False, **env):
    """Output of a command that must succeed (or fail)."""
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False, timeout=900,
                          stdin=subprocess.DEVNULL, env={**os.environ, **env})
    assert (done.returncode != 0) == fails, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def archive(csrc_build):
    """libdns.a, compiled as C11 with -pedantic and warnings as errors."""
    run(["make", "-C", CSRC, "lib", f"BUILD={csrc_build}", "WERROR=1", "-j2"], ROOT)
    return csrc_build / "release" / "libdns.a"


# ---- rules of the tree -------------------------------------------------------------------------------------------

def test_source_tree_keeps_its_rules():
    found = [f"{path.relative_to(ROOT)}:{line}: {message}" for path, line, message in check_tree.breaches(ROOT)]
    assert not found, "\n".join(found)


BAD_TREE = {
    "csrc/include/dns/engine.h": "int dns_engine_run(void);\n",
    "csrc/include/dns/cost.h": "int dns_cost(void);\n",
    "csrc/sim/engine.c": '#include "dns/cost.h"\nint\ndns_engine_run(void)\n{\n    return 0;\n}\n',
    "csrc/accel/cost.c": '#include "dns/engine.h"\n#include <Python.h>\nstatic int calls;\nint\ndns_cost(void)\n{\n'
                         '    static double last = 0.0;\n    printf("malloc(3) in a string");\n' + "    calls++;\n" * 80
                         + "    return 0;\n}\n",
    "csrc/base/mem.c": "static const int table[] = {1};\nint\ndns_mem(void)\n{\n    return printf;\n}\n",
    "csrc/tests/test_x.c": "static void\ntest_never(void)\n{\n}\nTAP_MAIN(TAP(test_once))\n",
    "csrc/fuzz/fuzz_x.c": "\n",
    "setup.py": "# TO" "DO later, see /wo" "rk/notes\n",
}


@pytest.mark.parametrize("message", [
    "csrc/accel/cost.c:1: includes dns/engine.h of sim: accel may use ['accel', 'base']",
    "csrc/accel/cost.c:2: includes Python.h: the C library stands alone",
    "csrc/accel/cost.c:3: static data that can change: pass it in",
    "csrc/accel/cost.c:7: static data that can change: pass it in",
    "csrc/accel/cost.c:8: calls printf: only csrc/base may",
    "csrc/accel/cost.c:6: dns_cost has 85 lines, at most 66",
    "csrc/tests/test_x.c:1: test_never is never run: add TAP(test_never) to TAP_MAIN",
    "csrc/fuzz/fuzz_x.c:1: has no corpus in csrc/fuzz/corpus/x",
    "setup.py:1: marker 'TO" "DO'",
    "setup.py:1: machine path '/wo" "rk/n'",
])
def test_the_check_finds_each_breach(tmp_path, message, capsys):
    for name, text in BAD_TREE.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert check_tree.main(["check_tree", str(tmp_path)]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert message in printed
    assert len(printed) == 10


# ---- symbols -----------------------------------------------------------------------------------------------------

@pytest.mark.toolchain
@pytest.mark.parametrize("path", EXTENSIONS, ids=lambda p: p.name.split(".")[0])
def test_extension_exports_its_init_function_only(path):
    lines = run(["nm", "-D", "--defined-only", path], ROOT).splitlines()
    assert [line.split()[-1] for line in lines] == ["PyInit_" + path.name.split(".")[0]]


def test_there_is_an_extension_per_binding_source():
    built = {path.name.split(".")[0] for path in EXTENSIONS}
    assert {"_" + p.name.removesuffix("module.c") for p in (ROOT / "dnnsched/_native").glob("*module.c")} <= built
    for name in built:
        assert (ROOT / "dnnsched" / "_native" / f"{name}.pyi").exists(), f"{name} has no stub"


@pytest.mark.toolchain
def test_library_has_dns_externals_only(archive):
    lines = run(["nm", "-g", "--defined-only", archive], ROOT).splitlines()
    names = {line.split()[-1] for line in lines if len(line.split()) == 3}
    assert "dns_status_name" in names
    assert not [name for name in names if not name.startswith("dns_")]


@pytest.mark.toolchain
def test_library_has_no_data_that_can_change(archive):
    table = run(["nm", "-f", "sysv", archive], ROOT).splitlines()
    sections = {(row[0].strip(), row[6].strip()) for row in (line.split("|") for line in table) if len(row) == 7}
    assert any(section.startswith(".text") for _, section in sections)
    assert not [(name, s) for name, s in sections if s.startswith((".data", ".bss", "*COM*", ".tbss", ".tdata"))
                and not s.startswith(".data.rel.ro")]


@pytest.mark.toolchain
def test_per_level_objects_share_no_symbol(archive):
    """A function of an AVX-512 object under a portable name could be linked into the portable path."""
    build = archive.parent
    levels = {}
    for level in ("generic", "avx2", "avx512", "vnni", "amx"):
        names = set()
        for path in sorted((build / level).rglob("*.o")):
            for line in run(["nm", "-g", "--defined-only", path], ROOT).splitlines():
                names.add(line.split()[-1])
        levels[level] = names
    for one, other in itertools.combinations(levels, 2):
        assert not levels[one] & levels[other], (one, other)


@pytest.mark.toolchain
def test_make_and_setup_compile_alike():
    """The Makefile's per-level flags are those of setup.py."""
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    flags = next(ast.literal_eval(node.value) for node in tree.body
                 if isinstance(node, ast.Assign) and node.targets[0].id == "ISA_FLAGS")
    printed = run(["make", "-s", "--no-print-directory", "-C", CSRC, "print-isa"], ROOT)
    for line in printed.splitlines():
        level, _, words = line.partition(":")
        assert sorted(words.split()) == sorted(flags[level])
    assert "generic:" in printed


# ---- distributions -----------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """The source distribution of this checkout, and the wheel built from it."""
    out = tmp_path_factory.mktemp("dist")
    source = tmp_path_factory.mktemp("checkout") / "dnnsched"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(
        ".git", ".venv*", "build", "dist", "*.egg-info", "*.so", "__pycache__", ".pytest_cache", ".hypothesis", "runs",
        "_build", "_blas"))
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source], source, DNNSCHED_BUILD="release")
    return next(out.glob("*.tar.gz")), next(out.glob("*.whl"))


@pytest.mark.slow
@pytest.mark.toolchain
def test_source_distribution_is_complete(distributions):
    with tarfile.open(distributions[0]) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    folders = ("csrc", "dnnsched", "tests", "tools", "data", "docs", "notebooks", "benchmarks")
    tracked = [str(p.relative_to(ROOT)) for folder in folders for p in (ROOT / folder).rglob("*") if p.is_file()
               and not {"build", "__pycache__", "_build", "_blas", "generated", ".ipynb_checkpoints"} & set(p.parts)
               and p.suffix not in (".so", ".o", ".a", ".pyc", ".ipynb")]
    assert len(tracked) > 20
    assert not [name for name in [*tracked, "setup.py", "pyproject.toml", "LICENSE", "README.md", ".ci/run"]
                if name not in names]
    assert not [name for name in names if name.endswith((".so", ".o", ".a", ".pyc"))]


@pytest.mark.slow
@pytest.mark.toolchain
def test_wheel_runs_in_a_clean_environment(distributions, tmp_path):
    wheel = distributions[1]
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "dnnsched/py.typed" in names
    assert "dnnsched/_native/_base.pyi" in names
    if importlib.util.find_spec("scipy_openblas32"):
        shipped = {name.rpartition("/")[2] for name in names if "/_native/_blas/" in name}
        assert shipped == {"libscipy_openblas.so", "LICENSE.txt"}
    data = [p.relative_to(ROOT) for p in (ROOT / "data").rglob("*")
            if p.is_file() and p.suffix not in (".py", ".pyc")]
    assert not [p for p in data if f"dnnsched/{p.as_posix()}" not in names]
    assert not [name for name in names if re.match(r"(tests|csrc|docs)/", name)]

    run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], tmp_path)
    python = tmp_path / "env" / "bin" / "python"
    site = Path(run([python, "-c", "import site; print(site.getsitepackages()[0])"], tmp_path).strip())
    (site / "numpy_of_this_environment.pth").write_text(str(Path(numpy.__file__).parent.parent), encoding="utf-8")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    code = ("import dnnsched as ds, dnnsched._native._base as b; print(b.__file__); ds.show_config();"
            "print([getattr(ds, n) is not None for n in ds.__all__]); print(ds.paths.data_dir())")
    printed = run([python, "-c", code], tmp_path, PYTHONPATH="").splitlines()
    assert printed[0].startswith(str(site))
    assert printed[-1] == str(site / "dnnsched" / "data")


def numpy_only(folder):
    """A virtual environment with pip in which NumPy, the running interpreter's copy, is the only other distribution."""
    run([sys.executable, "-m", "venv", folder], folder.parent)
    python = folder / "bin" / "python"
    site = Path(run([python, "-c", "import site; print(site.getsitepackages()[0])"], folder).strip())
    source = Path(numpy.__file__).parent.parent
    for path in [source / "numpy", source / "numpy.libs", source / f"numpy-{numpy.__version__}.dist-info"]:
        if path.exists():
            (site / path.name).symlink_to(path)
    return python


RUN = """
replications = 2
[workload]
traces = "multi-attnn"
rho = 0.8
n = 50
[[scheduler]]
name = "fcfs"
[[scheduler]]
name = "dysta"
"""


@pytest.mark.slow
@pytest.mark.toolchain
def test_item_01_with_numpy_only(distributions, tmp_path):
    """Install, import, list, run, reproduce in the ci profile: tables, report and page, and no figures."""
    python = numpy_only(tmp_path / "env")
    command = python.parent / "dnnsched"
    run([python, "-m", "pip", "install", "-q", "--no-index", distributions[1]], tmp_path, PYTHONPATH="")
    (tmp_path / "run.toml").write_text(RUN, encoding="utf-8")
    loaded = run([python, "-c", "import sys, dnnsched; print(*sys.modules)"], tmp_path).split()
    assert not {name.partition(".")[0] for name in loaded} & {"numpy", *config.OPTIONAL}
    others = run([python, "-c", "import dnnsched, importlib.util as u; print(*[n for n in dnnsched.config.OPTIONAL "
                  "if u.find_spec(n)])"], tmp_path)
    assert others.split() == []
    assert "dysta" in run([command, "list"], tmp_path)
    assert "absent" in run([command, "info"], tmp_path)
    printed = run([command, "run", "run.toml", "-o", "run"], tmp_path)
    assert "pip install 'dnnsched[viz]'" in printed
    printed = run([command, "reproduce", "dysta", "--profile", "ci", "-o", "paper"], tmp_path)
    assert "0 differ from the record" in printed
    for name in ("run", "paper"):
        found = {p.name for p in (tmp_path / name).iterdir()}
        assert {"summary.csv", "replications.csv", "requests.csv", "report.md", "report.html", "run.json"} <= found
        assert "figures" not in found
        assert "pip install 'dnnsched[viz]'" in (tmp_path / name / "report.md").read_text(encoding="utf-8")
        assert "valid;" in run([command, "validate-run", name], tmp_path)


@pytest.mark.slow
@pytest.mark.toolchain
def test_item_01_with_viz(distributions, tmp_path):
    """The same wheel where matplotlib and pandas are: the figures appear."""
    pytest.importorskip("matplotlib")
    run([sys.executable, "-m", "venv", "--without-pip", "--system-site-packages", tmp_path / "env"], tmp_path)
    python = tmp_path / "env" / "bin" / "python"
    site = Path(run([python, "-c", "import site; print(site.getsitepackages()[0])"], tmp_path).strip())
    (site / "packages_of_the_tests.pth").write_text("\n".join(p for p in sys.path if p.endswith("site-packages")),
                                                    encoding="utf-8")
    with zipfile.ZipFile(distributions[1]) as archive:
        archive.extractall(site)
    (tmp_path / "run.toml").write_text(RUN, encoding="utf-8")
    printed = run([python, "-m", "dnnsched", "run", "run.toml", "-o", "run"], tmp_path, PYTHONPATH="", MPLBACKEND="Agg")
    assert "no figures" not in printed
    figures = [p.name for p in (tmp_path / "run" / "figures").iterdir()]
    assert any(name.endswith(".svg") for name in figures)
    assert any(name.endswith(".png") for name in figures)
    assert "figures/" in (tmp_path / "run" / "report.md").read_text(encoding="utf-8")


# ---- a machine without a compiler --------------------------------------------------------------------------------

@pytest.fixture
def checkout(tmp_path):
    """Enough of the project to build, in a folder of its own."""
    for name in ("csrc", "dnnsched"):
        shutil.copytree(ROOT / name, tmp_path / name,
                        ignore=shutil.ignore_patterns("*.so", "build", "data", "__pycache__", "_blas"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def build_fails(checkout, **env):
    """What a failing build prints."""
    return run([sys.executable, "setup.py", "-q", "build_ext"], checkout, fails=True, **env)


@pytest.mark.toolchain
@pytest.mark.parametrize("cc", [None, "no-such-compiler", "no-such-compiler -m64"])
def test_missing_compiler_is_named_with_the_remedy(checkout, cc):
    env = {"PATH": str(checkout / "empty")} if cc is None else {"CC": cc}
    printed = build_fails(checkout, **env)
    assert "dnnsched needs a C11 compiler and found none" in printed
    assert "sudo apt-get install gcc" in printed
    assert "Traceback" not in printed
    if cc:
        assert "'no-such-compiler' is not on PATH" in printed


@pytest.mark.toolchain
@pytest.mark.parametrize(("complaint", "what"), [
    ("probe.c:1:10: fatal error: Python.h: No such file or directory", "the Python headers (Python.h)"),
    ("error: unrecognized command-line option '-std=c11'", "a working C11 compiler"),
])
def test_compiler_that_cannot_is_named_with_its_words(checkout, complaint, what):
    fake = checkout / "bin" / "fakecc"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\necho "{complaint}" >&2\nexit 1\n', encoding="utf-8")
    fake.chmod(0o755)
    printed = build_fails(checkout, CC=str(fake))
    assert f"dnnsched needs {what}; " in printed
    assert complaint in printed
    assert "sudo apt-get install gcc" in printed
    assert "Traceback" not in printed


# ---- which BLAS --------------------------------------------------------------------------------------------------

@pytest.mark.slow
@pytest.mark.toolchain
def test_build_without_blas_multiplies_by_itself(checkout):
    run([sys.executable, "setup.py", "-q", "build_ext", "--inplace"], checkout, DNNSCHED_BLAS="none",
        DNNSCHED_BUILD="debug")
    assert not list((checkout / "dnnsched" / "_native").glob("_blas*"))
    code = ("import numpy as np; from dnnsched import kernels; from dnnsched.kernels import _blas\n"
            "w = np.arange(12.0).reshape(3, 4); print(_blas.info()); print((kernels.dense(w) @ w.T == w @ w.T).all())")
    printed = run([sys.executable, "-c", code], checkout, PYTHONPATH=str(checkout)).splitlines()
    assert printed == ["none (own matrix product)", "True"]


@pytest.mark.toolchain
def test_other_words_for_the_blas_are_refused(checkout):
    printed = build_fails(checkout, DNNSCHED_BLAS="mkl")
    assert "DNNSCHED_BLAS: expected auto, scipy-openblas, system or none, got 'mkl'" in printed
    assert "Traceback" not in printed
