"""Fixtures that several test files share."""

import os
import signal

import pytest

# Interpreters that tests start import the installed package, not the sources in the current folder.
os.environ["PYTHONSAFEPATH"] = "1"

# A shell that starts the suite in the background makes it ignore Ctrl-C, and children would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def csrc_build(tmp_path_factory):
    """Build folder of the C library (`make -C csrc BUILD=...`), so that it is compiled once per run."""
    return tmp_path_factory.mktemp("csrc")
