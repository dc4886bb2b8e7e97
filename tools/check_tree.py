"""Rules about the source tree that no compiler checks: `python tools/check_tree.py [ROOT]`.

Prints one line per breach and exits with 1 if there is any. The rules are those of CONTRIBUTING.md:
what csrc may include and call, which part may know which, how long files and functions may be.
"""

import re
import sys
from pathlib import Path

# A folder of csrc may use itself and what is listed for it.
MAY_USE = {
    "base": {"base"},
    "kernels": {"base", "kernels"},
    "accel": {"base", "accel"},
    "policy": {"base", "policy"},
    "sim": {"base", "kernels", "accel", "policy", "sim"},
    "search": {"base", "kernels", "accel", "policy", "sim", "search"},
}
MAX_C_LINES, MAX_HEADER_LINES, MAX_FUNCTION_LINES, MAX_PYTHON_LINES = 800, 300, 66, 700
# Only base may talk to the process; printing to a caller's buffer is allowed everywhere.
FORBIDDEN = re.compile(
    r"(?<![\w>.])(malloc|calloc|realloc|free|posix_memalign|aligned_alloc|printf|fprintf|puts|fputs|perror|exit|abort|"
    r"getenv|setenv|fopen|time|clock|rand|srand)\s*\(")
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.MULTILINE)
DEFINITION = re.compile(r"^(dns_\w+)\(", re.MULTILINE)
DECLARATION = re.compile(r"\b(dns_\w+)\(")
MUTABLE_STATIC = re.compile(r"^\s*static\s+(?!inline\b|_Thread_local\b)(?!.*\bconst\b)[^()=;]*(=|;|\[)", re.MULTILINE)
MARKERS = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3, "HA" + "CK"]) + r")\b")
MACHINE_PATHS = re.compile(r"(?<![\w.}])/(?:" + "work|tmp|root|home" + r")/\w")


def without_comments(text):
    """C source with comments and string literals blanked, line numbers kept."""
    pattern = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.DOTALL)
    return pattern.sub(lambda m: '""' if m[0].startswith('"') else "\n" * m[0].count("\n"), text)


def line_of(text, at):
    """1-based line of character `at`."""
    return text.count("\n", 0, at) + 1


def header_folders(csrc):
    """Folder of each public header: the one that defines a function it declares (types only: base)."""
    defined = {}
    for folder in MAY_USE:
        for path in sorted((csrc / folder).glob("*.c")):
            for name in DEFINITION.findall(without_comments(path.read_text(encoding="utf-8"))):
                defined.setdefault(name, folder)
    folders = {}
    for path in sorted((csrc / "include" / "dns").glob("*.h")):
        names = DECLARATION.findall(without_comments(path.read_text(encoding="utf-8")))
        owners = [defined[name] for name in names if name in defined]
        folders["dns/" + path.name] = owners[0] if owners else "base"
    return folders


def check_includes(csrc):
    """Python.h anywhere in csrc, and includes against the direction base <- ... <- search."""
    owners = header_folders(csrc)
    for path in sorted(csrc.rglob("*.[ch]")):
        text = path.read_text(encoding="utf-8")
        folder = path.relative_to(csrc).parts[0]
        if folder == "include":
            folder = owners["dns/" + path.name]
        for match in INCLUDE.finditer(text):
            name = match[1]
            if name in ("Python.h", "numpy/arrayobject.h"):
                yield path, line_of(text, match.start()), f"includes {name}: the C library stands alone"
            used = owners.get(name) or (name.split("/")[0] if name.split("/")[0] in MAY_USE else None)
            if used and folder in MAY_USE and used not in MAY_USE[folder]:
                allowed = sorted(MAY_USE[folder])
                yield path, line_of(text, match.start()), f"includes {name} of {used}: {folder} may use {allowed}"


def check_calls(csrc):
    """Process-wide functions outside base, and static data that can change."""
    for folder in MAY_USE:
        for path in sorted((csrc / folder).glob("*.[ch]")):
            text = without_comments(path.read_text(encoding="utf-8"))
            if folder != "base":
                for match in FORBIDDEN.finditer(text):
                    yield path, line_of(text, match.start()), f"calls {match[1]}: only csrc/base may"
            for match in MUTABLE_STATIC.finditer(text):
                yield path, line_of(text, match.start()), "static data that can change: pass it in"


def function_lengths(text):
    """(first line, name, number of lines) of every function body that starts in column 0."""
    lines = text.split("\n")
    start = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line == "}" and start is not None:
            head = " ".join(lines[max(0, start - 8): start - 1])
            names = re.findall(r"(\w+)\(", head)
            yield start, names[-1] if names else "?", number - start + 1
            start = None


def check_sizes(root):
    """Files and functions that grew too long."""
    for path in sorted((root / "csrc").rglob("*.[ch]")):
        if "build" in path.relative_to(root).parts:
            continue
        text = path.read_text(encoding="utf-8")
        limit = MAX_HEADER_LINES if path.parent.name == "dns" else MAX_C_LINES
        if text.count("\n") > limit:
            yield path, 1, f"{text.count(chr(10))} lines, at most {limit}: split by algorithm"
        if path.stem.endswith(("_avx2", "_avx512", "_vnni", "_amx")):
            continue
        for line, name, length in function_lengths(without_comments(text)):
            if length > MAX_FUNCTION_LINES:
                yield path, line, f"{name} has {length} lines, at most {MAX_FUNCTION_LINES}"
    for path in python_files(root):
        count = path.read_text(encoding="utf-8").count("\n")
        if count > MAX_PYTHON_LINES:
            yield path, 1, f"{count} lines, at most {MAX_PYTHON_LINES}"


def python_files(root):
    """Python files of the project, build products left out."""
    for folder in ("dnnsched", "tests", "tools", "benchmarks", "notebooks", "docs", "data"):
        yield from sorted(p for p in (root / folder).rglob("*.py") if not {"_build", "generated"} & set(p.parts))
    yield root / "setup.py"


def text_files(root):
    """Every file that people wrote."""
    yield from python_files(root)
    for pattern in ("csrc/**/*.[ch]", "dnnsched/**/*.[ch]", "dnnsched/**/*.toml", "docs/*.*", "*.md", "*.toml", ".ci/*",
                    "csrc/Makefile", "tools/*"):
        for path in sorted(root.glob(pattern)):
            if path.is_file() and not {"build", "__pycache__"} & set(path.relative_to(root).parts):
                yield path


def check_left_overs(root):
    """Markers of unfinished work and paths of one machine."""
    for path in sorted(set(text_files(root))):
        text = path.read_text(encoding="utf-8")
        for pattern, what in ((MARKERS, "marker"), (MACHINE_PATHS, "machine path")):
            for match in pattern.finditer(text):
                yield path, line_of(text, match.start()), f"{what} {match[0]!r}"


def check_tests(csrc):
    """Every C test function is run by its program; every fuzz target has a corpus."""
    for path in sorted((csrc / "tests").glob("test_*.c")):
        text = path.read_text(encoding="utf-8")
        for name in re.findall(r"^(test_\w+)\(void\)", text, re.MULTILINE):
            if f"TAP({name})" not in text:
                yield path, 1, f"{name} is never run: add TAP({name}) to TAP_MAIN"
        if "TAP_MAIN(" not in text:
            yield path, 1, "has no TAP_MAIN (tests/tap.h)"
    for path in sorted((csrc / "fuzz").glob("fuzz_*.c")):
        if not any((csrc / "fuzz" / "corpus" / path.stem.removeprefix("fuzz_")).glob("*")):
            yield path, 1, f"has no corpus in csrc/fuzz/corpus/{path.stem.removeprefix('fuzz_')}"


def breaches(root):
    """All breaches of a source tree as (path, line, message)."""
    csrc = root / "csrc"
    for check, where in ((check_includes, csrc), (check_calls, csrc), (check_sizes, root), (check_left_overs, root),
                         (check_tests, csrc)):
        yield from check(where)


def main(argv):
    """Command line: the tree's root, the current one by default."""
    root = Path(argv[1] if len(argv) > 1 else Path(__file__).resolve().parent.parent)
    found = 0
    for path, line, message in breaches(root):
        print(f"{path.relative_to(root)}:{line}: {message}")
        found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
