"""The C library's own tests: one item per C test function, and the fuzz corpora under gcc's sanitizers."""

import re
import subprocess
from pathlib import Path

import pytest

CSRC = Path(__file__).resolve().parent.parent / "csrc"
C_TESTS = [(path.stem, name) for path in sorted((CSRC / "tests").glob("test_*.c"))
           for name in re.findall(r"^(test_\w+)\(void\)", path.read_text(encoding="utf-8"), re.MULTILINE)]
FUZZERS = [path.stem for path in sorted((CSRC / "fuzz").glob("fuzz_*.c"))]

pytestmark = pytest.mark.toolchain


def make(target, build):
    """Exit code and output of `make -C csrc target`."""
    done = subprocess.run(["make", "-C", CSRC, target, f"BUILD={build}", "WERROR=1", "-j2"], capture_output=True,
                          text=True, check=False, timeout=900, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def results(csrc_build):
    """Verdict and diagnostics of every C test, and make's own output."""
    code, printed, errors = make("check", csrc_build)
    verdicts, program, notes = {}, None, []
    for line in printed.splitlines():
        if re.fullmatch(r"# test_\w+", line):
            program, notes = line[2:], []
        elif found := re.fullmatch(r"(ok|not ok) \d+ - (test_\w+)", line):
            verdicts[program, found[2]] = found[1] == "ok", "\n".join(notes)
            notes = []
        else:
            notes.append(line)
    return code, verdicts, printed[-3000:] + errors[-3000:]


@pytest.mark.parametrize(("program", "name"), C_TESTS, ids=lambda word: word)
def test_c(results, program, name):
    _, verdicts, output = results
    assert (program, name) in verdicts, f"it did not run:\n{output}"
    passed, notes = verdicts[program, name]
    assert passed, notes


def test_c_tests_all_ran_and_make_agrees(results):
    code, verdicts, output = results
    assert code == 0, output
    assert sorted(verdicts) == sorted(C_TESTS)


@pytest.fixture(scope="module")
def replay(csrc_build):
    """Output of the corpus replay."""
    return make("fuzz-replay", csrc_build)


@pytest.mark.skipif(not FUZZERS, reason="no fuzz target yet")
@pytest.mark.parametrize("name", FUZZERS)
def test_fuzz_corpus(replay, name):
    _, printed, errors = replay
    assert f"\nok - {name}\n" in f"\n{printed}", printed[-2000:] + errors[-4000:]
