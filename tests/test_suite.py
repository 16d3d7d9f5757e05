"""The suite itself: a test that hangs is named, and processes that tests start receive signals."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes.helpers import needs_signals

ROOT = Path(__file__).parents[1]

HANGS = """
import itertools, threading, time

import pytest

def test_sleeps():
    while True:
        time.sleep(1)

def test_waits_for_a_thread():
    thread = threading.Thread(target=threading.Event().wait, daemon=True)
    thread.start()
    thread.join()

def test_waits_in_c():
    any(itertools.repeat(False))  # with the lock of the interpreter held, and deaf to signals

@pytest.mark.timeout(60)
def test_after_them():
    pass
"""

SIGNALS = """
import signal, subprocess, sys

def test_children_hear_signals():
    code = "import signal; print(*(int(one) for one in signal.valid_signals() if signal.getsignal(one) == signal.SIG_IGN))"
    ignored = {int(number) for number in subprocess.check_output([sys.executable, "-c", code]).split()}
    assert ignored <= {signal.SIGPIPE, signal.SIGXFSZ}  # Python itself ignores these two
    code = "import signal; print(len(signal.pthread_sigmask(signal.SIG_BLOCK, [])))"
    assert subprocess.check_output([sys.executable, "-c", code]).split() == [b"0"]
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        return
    raise AssertionError("SIGINT is ignored")
"""


def start(folder: Path, code: str, *options: str, ignored: tuple[int, ...] = ()) -> subprocess.Popen[str]:
    """Run pytest on *code*, with the project's settings and conftest."""
    (folder / "test_it.py").write_text(code)
    begin = "import os, signal, sys\n"
    begin += "".join(f"signal.signal({int(number)}, signal.SIG_IGN)\n" for number in ignored)
    begin += f"signal.pthread_sigmask(signal.SIG_BLOCK, {[int(number) for number in ignored]})\n" if ignored else ""
    begin += "os.execv(sys.executable, [sys.executable, '-m', 'pytest', *sys.argv[1:]])"
    settings = ["-c", str(ROOT / "setup.cfg"), "--rootdir", str(folder), "-p", "tests.conftest", "-p", "no:cacheprovider"]
    return subprocess.Popen(
        [sys.executable, "-c", begin, *settings, *options, str(folder)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""},
    )  # fmt: skip


@needs_signals
@pytest.mark.timeout(240)  # on a busy machine two runs of pytest take long
def test_a_test_that_hangs_is_named(tmp_path: Path) -> None:
    """A test that waits in Python, for a thread or in C fails with its name and its stack.

    In workers the tests after it run, too.
    """
    limits = ["-o", "timeout=1", "-o", "timeout_func_only=true", "-o", "faulthandler_timeout=4"]
    (tmp_path / "alone").mkdir()
    (tmp_path / "workers").mkdir()
    with (
        start(tmp_path / "alone", HANGS, *limits) as alone,
        start(tmp_path / "workers", HANGS, *limits, "-n", "1") as workers,
    ):
        said, said_by_workers = alone.communicate()[0], workers.communicate()[0]
    assert "Timeout (0:00:04)!" in said
    assert "in test_waits_in_c" in said
    assert re.search("crashed while running '.*test_it.py::test_waits_in_c'", said_by_workers)
    assert "3 failed, 1 passed" in said_by_workers
    for name in ("test_sleeps", "test_waits_for_a_thread"):
        assert re.search(rf"FAILED .*test_it.py::{name}\b", said_by_workers)
    assert said_by_workers.count("Failed: Timeout (>1.0s) from pytest-timeout.") == 2


@needs_signals
@pytest.mark.parametrize("options", [(), ("-n", "1")], ids=["alone", "workers"])
def test_ignored_signals_are_not_inherited(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Under nohup, or in a script's background, processes that tests start can be interrupted and terminated."""
    ignored = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM, signal.SIGPIPE, signal.SIGUSR1)
    with start(tmp_path, SIGNALS, *options, ignored=ignored) as run:
        said = run.communicate()[0]
    assert run.returncode == 0, said
