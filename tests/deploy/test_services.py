"""The services of tests/services.py start, answer and stop."""

from __future__ import annotations

import http.server
import signal
import subprocess
import threading
import urllib.request
from typing import Any

import redis

from tests import services


def test_redis_keeps_its_port(redis_server: services.RedisServer) -> None:
    """A Redis that was killed starts again on the same port, without its data."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.set("key", "value")
        assert client.get("key") == b"value"
        redis_server.stop(signal.SIGKILL)
        redis_server.start()
        client.connection_pool.disconnect()
        assert client.get("key") is None


def test_postgresql_answers(postgres: services.PostgreSQL) -> None:
    """PostgreSQL has the database of its URL."""
    done = subprocess.run(
        [services.find("psql", package="postgresql-client"), postgres.url, "-Atc", "select current_database()"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "hfclient"


class _Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<title>Hello</title>")

    def log_message(self, *_: Any) -> None:
        pass


def test_a_browser_reads_through_nginx(page: Any) -> None:
    """Chromium shows a page of an application behind nginx."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hello) as application:
        threading.Thread(target=application.serve_forever).start()
        with services.Nginx(application.server_port) as nginx:
            with urllib.request.urlopen(nginx.url) as answer:
                assert answer.read() == b"<title>Hello</title>"
            page.goto(nginx.url)
            assert page.title() == "Hello"
        application.shutdown()
