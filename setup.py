"""Native parts of dnnsched; everything else is in pyproject.toml.

Every C file under csrc/<folder>/ is picked up by name:
  x.c          compiled once, portable baseline
  x_isa.c      compiled for the levels generic, avx2 and avx512, each with -DDNS_ISA=<level>
  x_avx2.c     compiled with the AVX2 flags only; x_avx512.c, x_vnni.c and x_amx.c likewise with theirs
Each dnnsched/_native/<name>module.c, with the <name>_*.c beside it, becomes the extension dnnsched._native._<name>.

Environment: DNNSCHED_BUILD = release (default) | debug | asan | cov;  DNNSCHED_WERROR = 1;
DNNSCHED_BLAS = auto (default) | scipy-openblas | system | none: the OpenBLAS of dense kernels (see `blas_arguments`).
"""

import contextlib
import ctypes
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from importlib import metadata

import numpy
from setuptools import Extension, setup
from setuptools.command.build_clib import build_clib
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

FOLDERS = ["base", "kernels", "accel", "policy", "sim", "search"]
X86 = platform.machine().lower() in ("x86_64", "amd64")
ISA_FLAGS = {
    "generic": [],
    "avx2": ["-mavx2", "-mfma", "-mf16c", "-mbmi", "-mbmi2", "-mpopcnt", "-mlzcnt"],
    "avx512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx2", "-mfma", "-mf16c", "-mbmi", "-mbmi2",
               "-mpopcnt", "-mlzcnt", "-mprefer-vector-width=512"],
    "vnni": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx2", "-mfma", "-mf16c", "-mbmi", "-mbmi2",
             "-mpopcnt", "-mlzcnt", "-mprefer-vector-width=512", "-mavx512vnni"],
    "amx": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx2", "-mfma", "-mf16c", "-mbmi", "-mbmi2",
            "-mpopcnt", "-mlzcnt", "-mprefer-vector-width=512", "-mavx512vnni", "-mamx-tile", "-mamx-int8"],
}
LEVELS = list(ISA_FLAGS) if X86 else ["generic"]
PER_LEVEL = ("generic", "avx2", "avx512")  # levels that x_isa.c is compiled for

PROFILE = os.environ.get("DNNSCHED_BUILD", "release")
PROFILE_FLAGS = {
    "release": (["-O3"], []),
    "debug": (["-O1", "-g", "-UNDEBUG"], []),
    "asan": (["-O1", "-g", "-UNDEBUG", "-fno-wrapv", "-fno-omit-frame-pointer", "-fsanitize=address,undefined",
              "-fno-sanitize-recover=undefined"], ["-fsanitize=address,undefined"]),
    "cov": (["-O0", "-g", "-UNDEBUG", "--coverage"], ["--coverage"]),
}
if PROFILE not in PROFILE_FLAGS:
    raise SystemExit(f"DNNSCHED_BUILD: expected one of {sorted(PROFILE_FLAGS)}, got {PROFILE!r}")

WARNINGS = ["-Wall", "-Wextra", "-Wshadow", "-Wundef", "-Wdouble-promotion", "-Wstrict-prototypes", "-Wwrite-strings"]
if os.environ.get("DNNSCHED_WERROR") == "1":
    WARNINGS.append("-Werror")
CFLAGS = ["-std=c11", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden", *WARNINGS,
          *PROFILE_FLAGS[PROFILE][0]]
CFLAGS_TEXT = '"' + " ".join([*CFLAGS, os.environ.get("CFLAGS", "")]).strip().translate({34: 39, 92: 47}) + '"'
CORE_CFLAGS = [*CFLAGS, "-Wconversion", "-Wno-sign-conversion"]
LDFLAGS = [*PROFILE_FLAGS[PROFILE][1]]
HEADERS = sorted(glob("csrc/include/dns/*.h") + glob("csrc/*/*.h") + glob("dnnsched/_native/*.h"))


BLAS = os.environ.get("DNNSCHED_BLAS", "auto")
BLAS_FOLDER = os.path.join("dnnsched", "_native", "_blas")
BLAS_REMEDY = "pip install scipy-openblas32, or set DNNSCHED_BLAS to system or none (the project's own matrix product)"


def blas_arguments():
    """(macros, files to ship) of the OpenBLAS that dense kernels call.

    The library is opened at run time, when a kernel first needs it (dnnsched/_native/blas.c), so nothing is linked:
    macro DNNSCHED_BLAS is its name, DNNSCHED_BLAS_FILE the file to open: one name per candidate for `system`, or the
    file in BLAS_FOLDER that is shipped with its licence.
    """
    if BLAS not in ("auto", "scipy-openblas", "system", "none"):
        raise SystemExit(f"DNNSCHED_BLAS: expected auto, scipy-openblas, system or none, got {BLAS!r}")
    if BLAS == "system":
        for name in ("libopenblas.so.0", "libopenblas.so"):
            with contextlib.suppress(OSError):
                ctypes.CDLL(name)
                return [("DNNSCHED_BLAS", "system"), ("DNNSCHED_BLAS_FILE", name)], []
        raise SystemExit("DNNSCHED_BLAS=system: no libopenblas.so.0 found.\n  Debian, Ubuntu: sudo apt-get install "
                         "libopenblas0-pthread")
    if BLAS != "none":
        try:
            import scipy_openblas32
        except ImportError:
            if BLAS == "scipy-openblas":
                raise SystemExit(f"DNNSCHED_BLAS=scipy-openblas needs a package: {BLAS_REMEDY}") from None
            print(f"dnnsched: no OpenBLAS found; the project's own matrix product is used. To change: {BLAS_REMEDY}",
                  file=sys.stderr)
        else:
            (library,) = glob(os.path.join(scipy_openblas32.get_lib_dir(), "libscipy_openblas.so"))
            licence = next(str(file.locate()) for file in metadata.files("scipy-openblas32")
                           if file.name.upper().startswith("LICEN"))
            return [("DNNSCHED_BLAS", "scipy-openblas"), ("DNNSCHED_BLAS_FILE", os.path.basename(library))], \
                [library, licence]
    return [("DNNSCHED_BLAS", "none"), ("DNNSCHED_BLAS_FILE", "none")], []


LEVELS_OWN = [level for level in ISA_FLAGS if level != "generic"]


def core_libraries():
    """One static archive per instruction-set level; ISA files are compiled with nothing but their own flags."""
    libraries = []
    for level in LEVELS:
        sources = []
        for folder in FOLDERS:
            for path in sorted(glob(f"csrc/{folder}/*.c")):
                stem = os.path.splitext(os.path.basename(path))[0]
                per_level = stem.endswith("_isa")
                own = next((s for s in LEVELS_OWN if stem.endswith("_" + s)), "generic")
                if (level in PER_LEVEL) if per_level else own == level:
                    sources.append(path)
        if sources:
            libraries.append((f"dns_{level}", {
                "sources": sources,
                "include_dirs": ["csrc/include", "csrc"],
                "cflags": [*CORE_CFLAGS, *ISA_FLAGS[level], f"-DDNS_ISA={level}",
                           *([] if X86 else ["-DDNS_NO_X86"])],
            }))
    return libraries


class BuildClib(build_clib):
    """Compiles each archive into its own folder (one source serves several levels) and on all cores."""

    def build_libraries(self, libraries):
        """Compile and archive every (name, build_info) pair."""
        check_compiler(self.compiler)
        for name, info in libraries:
            output = os.path.join(self.build_temp, name)

            def compile_one(source, info=info, output=output):
                return self.compiler.compile([source], output_dir=output, include_dirs=info["include_dirs"],
                                             extra_postargs=info["cflags"], depends=[source, *HEADERS])

            with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
                objects = [o for group in pool.map(compile_one, info["sources"]) for o in group]
            archive = os.path.join(self.build_clib, self.compiler.library_filename(name))
            if os.path.exists(archive):
                os.remove(archive)
            self.compiler.create_static_lib(objects, name, output_dir=self.build_clib)

    def get_source_files(self):
        """All C sources and headers (for the source distribution)."""
        return sorted({s for _, info in self.libraries for s in info["sources"]} | set(HEADERS))


class BuildExt(build_ext):
    """Builds the archives first: `build_ext` alone (editable installs) does not."""

    def run(self):
        """Build the static archives, then the extension modules."""
        self.run_command("build_clib")
        clib = self.get_finalized_command("build_clib")
        for extension in self.extensions:
            extension.library_dirs = [clib.build_clib]
            extension.extra_link_args = [*LDFLAGS]
        super().run()
        for root in [self.build_lib, *(["."] if self.inplace else [])]:
            folder = os.path.join(root, BLAS_FOLDER)
            shutil.rmtree(folder, ignore_errors=True)
            if BLAS_FILES:
                os.makedirs(folder)
            for path in BLAS_FILES:
                shutil.copy(path, folder)


class BuildPy(build_py):
    """Installs the top-level data/ folder as dnnsched/data (package data)."""

    def run(self):
        """Copy the package, then the data files."""
        super().run()
        if self.editable_mode:
            return
        target = os.path.join(self.build_lib, "dnnsched", "data")
        if os.path.isdir("data"):
            shutil.copytree("data", target, dirs_exist_ok=True,
                            ignore=shutil.ignore_patterns("__pycache__", "*.py", "*.pyc"))


PROBE = "#include <Python.h>\n#include <math.h>\n_Static_assert(sizeof(void *) >= 4, \"C11\");\n"
REMEDY = """  Debian, Ubuntu: sudo apt-get install gcc libc6-dev python3-dev
  Fedora:         sudo dnf install gcc glibc-devel python3-devel
  conda:          conda install -c conda-forge c-compiler
  or set the environment variable CC to a C compiler that you have."""


def check_compiler(compiler):
    """Fail early, with the remedy, when no C11 compiler with the Python headers is there."""
    command = list(getattr(compiler, "compiler_so", None) or ["cc"])
    include = [f"-I{sysconfig.get_path(kind)}" for kind in ("include", "platinclude")]
    if shutil.which(command[0]) is None:
        raise SystemExit(f"\ndnnsched needs a C11 compiler and found none: {command[0]!r} is not on PATH. "
                         f"Install one and try again:\n{REMEDY}\n")
    with tempfile.TemporaryDirectory() as folder:
        probe = os.path.join(folder, "probe.c")
        with open(probe, "w", encoding="utf-8") as file:
            file.write(PROBE)
        done = subprocess.run([*command, "-std=c11", *include, "-c", probe, "-o", os.path.join(folder, "probe.o")],
                              capture_output=True, text=True, check=False)
    if done.returncode != 0:
        what = "the Python headers (Python.h)" if "Python.h" in done.stderr else "a working C11 compiler"
        raise SystemExit(f"\ndnnsched needs {what}; {' '.join(command[:1])!r} says:\n{done.stderr.strip()[:600]}\n"
                         f"Install what is missing and try again:\n{REMEDY}\n")


LIBRARIES = core_libraries()
BLAS_MACROS, BLAS_FILES = blas_arguments()
# Archives refer to each other in one direction only (portable code -> ISA tables), so one pass links them.
EXTENSIONS = [
    Extension(
        "dnnsched._native._" + os.path.basename(path)[: -len("module.c")],
        sources=[path, *sorted(glob(path[: -len("module.c")] + "_*.c")), "dnnsched/_native/dnspy.c"],
        include_dirs=["csrc/include", "csrc", "dnnsched/_native"],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"), ("NPY_TARGET_VERSION", "NPY_2_0_API_VERSION"),
                       ("PY_ARRAY_UNIQUE_SYMBOL", "dnspy_ARRAY_API"), ("DNNSCHED_PROFILE", PROFILE),
                       ("DNNSCHED_CFLAGS", CFLAGS_TEXT),
                       *BLAS_MACROS],
        libraries=[name for name, _ in LIBRARIES] + ["m", "dl", "pthread"],
        extra_compile_args=[*CFLAGS, "-isystem", numpy.get_include()],  # not held to our warnings
        depends=[*HEADERS, *(s for _, info in LIBRARIES for s in info["sources"])],
    )
    for path in sorted(glob("dnnsched/_native/*module.c"))
]

setup(
    libraries=LIBRARIES,
    ext_modules=EXTENSIONS,
    options={"build": {"build_base": os.path.join("build", f"{PROFILE}-{BLAS_MACROS[0][1]}")}},  # none share objects
    cmdclass={"build_clib": BuildClib, "build_ext": BuildExt, "build_py": BuildPy},
)
