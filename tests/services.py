"""Real services for tests: Redis, PostgreSQL, nginx and Chromium, from the packages of the operating system.

Each server runs in a temporary folder on a free port of loopback, as a process of the test's own. A test whose service is
not installed is skipped, and the reason names the package; with ``HFCLIENT_REQUIRE_SERVICES=1`` it fails instead.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NoReturn

import pytest

from tests.server import PATIENCE

__all__ = ["CHROMIUM_OPTIONS", "STARTING", "Nginx", "PostgreSQL", "RedisServer", "browser", "find", "free_port", "missing"]

REQUIRED = os.environ.get("HFCLIENT_REQUIRE_SERVICES") == "1"
"""Whether a missing service fails a test. Read now: tests run without the variables of hfclient."""
STARTING = 90.0
"""Seconds for the start of a server with its imports, and for what a page does: on a busy machine each takes ten times as long."""
CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
]


_locks: list[IO[str]] = []
"""Files of the ports of this process."""


def missing(what: str) -> NoReturn:
    """Skip the test because *what* is not installed, or fail if the services are required."""
    if REQUIRED:
        pytest.fail(f"{what} is not installed, and HFCLIENT_REQUIRE_SERVICES=1", pytrace=False)
    pytest.skip(f"{what} is not installed")


def find(*programs: str, package: str) -> str:
    """Return the path of the first of *programs* that exists; `missing` names the Debian *package* otherwise."""
    folders = [os.environ.get("PATH", ""), "/usr/sbin", *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))]
    for program in programs:
        if found := shutil.which(program, path=os.pathsep.join(folders)):
            return found
    missing(f"{programs[0]} (Debian package {package})")


def free_port() -> int:
    """Return a port of loopback that is free, and stays so for this process.

    The system gives none of these ports to a connection, or to a server that asks for any port. A locked file keeps it from other tests.
    """
    folder = Path(tempfile.gettempdir()) / f"hfclient-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    while True:
        port = random.randrange(15_000, 30_000)
        file = (folder / str(port)).open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        except OSError:
            file.close()
        else:
            _locks.append(file)
            return port


def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class _Service:
    """A server process in a folder of its own; a context manager.

    Attributes:
        port: Its port on 127.0.0.1. It stays the same when the server is started again.
        folder: Its folder, removed at the end.
    """

    name = "service"

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"hfclient-{self.name}-"))
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""
        raise NotImplementedError

    def start(self) -> None:
        """Start the server and wait until it accepts connections."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **self.user()
            )
        end = time.monotonic() + STARTING
        while not _accepts(self.port):
            if self.process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"{self.name} did not start:\n{(self.folder / 'log').read_text('utf-8', 'replace')[-3000:]}")
            time.sleep(0.02)

    def user(self) -> dict[str, Any]:
        """Return the arguments of Popen that select another user."""
        return {}

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Send the server a signal and wait for its end; SIGKILL is a crash."""
        process, self.process = self.process, None
        if process is not None and process.poll() is None:
            process.send_signal(number)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def __enter__(self) -> Any:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class RedisServer(_Service):
    """A redis-server.

    Args:
        persistent: Write every command to a file, so that a restart keeps the data.
        options: Further options, such as ``"--maxmemory", "2mb"``.
    """

    name = "redis"

    def __init__(self, *options: str, persistent: bool = False) -> None:
        self._program = find("redis-server", package="redis-server")
        self._options = [*(["--appendonly", "yes", "--appendfsync", "always"] if persistent else []), *options]
        super().__init__()

    @property
    def url(self) -> str:
        """The URL of its database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        own = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", "", "--daemonize", "no"]
        return [self._program, *own, *self._options]


class PostgreSQL(_Service):
    """A PostgreSQL server with the user and database ``hfclient``, without a password."""

    name = "postgresql"

    def __init__(self) -> None:
        self._program = find("postgres", package="postgresql")
        super().__init__()
        if os.getuid() == 0:  # it refuses to run as root
            entry = pwd.getpwnam("postgres")  # the package makes it
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
            self._user: dict[str, Any] = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        else:
            self._user = {}
        self._data = self.folder / "data"
        initdb = [find("initdb", package="postgresql"), "--pgdata", str(self._data), "--username", "hfclient", "--auth", "trust"]
        subprocess.run([*initdb, "--no-sync", "--encoding", "UTF8", "--locale", "C"], check=True, capture_output=True, cwd=self.folder, **self._user)

    def user(self) -> dict[str, Any]:
        return self._user

    @property
    def url(self) -> str:
        """The URL of its database."""
        return f"postgresql://hfclient@127.0.0.1:{self.port}/hfclient"

    def command(self) -> list[str]:
        return [
            self._program, "-D", str(self._data), "-p", str(self.port), "-c", "listen_addresses=127.0.0.1",
            "-c", f"unix_socket_directories={self.folder}", "-c", "fsync=off",
        ]  # fmt: skip

    def start(self) -> None:
        super().start()
        psql = [find("psql", package="postgresql-client"), "-h", "127.0.0.1", "-p", str(self.port), "-U", "hfclient", "-d", "postgres"]
        create = "SELECT 'CREATE DATABASE hfclient' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'hfclient') \\gexec"
        end = time.monotonic() + STARTING
        while subprocess.run(psql, input=create.encode(), capture_output=True, check=False).returncode:
            if time.monotonic() > end:  # it accepts connections before it is ready
                pytest.fail("postgresql did not become ready")
            time.sleep(0.05)


class Nginx(_Service):
    """nginx in front of an application.

    Args:
        upstream: Port of the application on 127.0.0.1.
        http: Further directives of the ``http`` block, such as ``gzip on; gzip_types *;``.
        location: Further directives of the ``location`` block.
    """

    name = "nginx"

    def __init__(self, upstream: int, *, http: str = "", location: str = "") -> None:
        self._program = find("nginx", package="nginx")
        super().__init__()
        temporary = " ".join(f"{kind}_temp_path {self.folder / kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        user = "user root;" if os.getuid() == 0 else ""
        (self.folder / "nginx.conf").write_text(f"""
            {user} daemon off; worker_processes 1; pid {self.folder / "pid"}; error_log stderr;
            events {{ worker_connections 2048; }}
            http {{
              access_log off; {temporary} {http}
              server {{
                listen 127.0.0.1:{self.port};
                location / {{
                  proxy_pass http://127.0.0.1:{upstream}; proxy_http_version 1.1; proxy_set_header Connection "";
                  proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; {location}
                }}
              }}
            }}
        """)

    @property
    def url(self) -> str:
        """The URL of the site."""
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return [self._program, "-e", "stderr", "-p", str(self.folder), "-c", str(self.folder / "nginx.conf")]


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """Run Chromium; yield Playwright's ``Browser``, whose ``new_context()`` is a user with cookies of its own."""
    program = find("chromium", "chromium-browser", "google-chrome", package="chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright (Python package)")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=CHROMIUM_OPTIONS)
        try:
            yield running
        finally:
            running.close()
