"""Real web servers around an application of the tests: gunicorn and uvicorn in processes of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server import PATIENCE
from tests.services import STARTING, free_port

ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def serving(module: str, *command: str, **environment: str) -> Iterator[str]:
    """Run a server and yield its URL; *command* gets ``{port}`` replaced, *environment* is added to that of the process."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", *(part.format(port=port) for part in command), module],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        _wait_for(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def gunicorn(module: str, *options: str, **environment: str) -> contextlib.AbstractContextManager[str]:
    """Run an application in gunicorn with threads."""
    own = ["--worker-class", "gthread", "--threads", "16", "--graceful-timeout", "5", "--log-level", "warning"]
    return serving(module, "gunicorn", "--bind", "127.0.0.1:{port}", *own, *options, **environment)


def uvicorn(module: str, *options: str, **environment: str) -> contextlib.AbstractContextManager[str]:
    """Run an application in uvicorn."""
    own = ["--host", "127.0.0.1", "--port", "{port}", "--log-level", "warning", "--timeout-graceful-shutdown", "5"]
    return serving(module, "uvicorn", *own, *options, **environment)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    import socket

    end = time.monotonic() + STARTING
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            pytest.fail(f"the server did not start:\n{process.communicate()[0].decode('utf-8', 'replace')[-3000:]}")
        time.sleep(0.05)
