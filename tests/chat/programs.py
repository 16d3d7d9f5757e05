"""Programs that do the same at the same moment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.server import PATIENCE

ROOT = Path(__file__).parents[2]


def run_at_once(code: str, *args: str, count: int) -> None:
    """Run *count* programs, which must succeed; each prints a line when it is ready, and goes on when it can read one."""
    command = [sys.executable, "-c", code, *args]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=env) for _ in range(count)
    ]
    try:
        for program in running:
            assert program.stdout is not None
            assert program.stdout.readline()
        for program in running:
            assert program.stdin is not None
            program.stdin.write(b"\n")
            program.stdin.flush()
        assert [program.wait(2 * PATIENCE) for program in running] == [0] * count
    finally:
        for program in running:
            program.kill()
            program.communicate()
