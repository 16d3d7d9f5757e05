"""A whole deployment: nginx in front of gunicorn with two workers, Redis, and a chat server; deploys, crashes and many browsers."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.chat.replay import FINISHED, STARTED, final, log_of, token, wait_until
from tests.deploy.gunicorn import Browser, Gunicorn
from tests.deploy.redis_servers import expire_lease
from tests.processes.helpers import PromptedChatUI, text_for
from tests.services import Nginx, RedisServer

pytest.importorskip("gunicorn", reason="gunicorn does not run on this system")
pytest.importorskip("flask")
redis = pytest.importorskip("redis")

APP = """
import os

from flask import Flask, request
from hfclient.web.flask import HFClient

app = Flask(__name__)
app.config.from_prefixed_env()
app.config["HFCLIENT_RELAY"] = {"store": os.environ["STORE"], "lease": 100}
hf = HFClient(app)

@app.post("/ask")
def ask():
    prompt = hf.prompt()
    return hf.stream_response(lambda: hf.client.chat(prompt))

@app.post("/start")
def start():
    prompt = hf.prompt()
    return {"run": hf.start(prompt, lambda: hf.client.chat(prompt), wait=None).id}

@app.get("/runs/<run_id>")
def follow(run_id):
    return hf.follow(run_id)
"""
# A worker that ends hands its runs over instead of waiting for them.
CONFIG = """
def post_worker_init(worker):
    from site_app import hf
    hf.relay.close_on_sigterm(0.2)
"""
# What breaks streams in front of many applications: buffering and compression, both on.
BUFFERING = "proxy_buffering on; proxy_buffers 8 32k; proxy_read_timeout 20s;"
COMPRESSING = "gzip on; gzip_types *; gzip_min_length 0; gzip_proxied any; gzip_http_version 1.0;"


class GzipBrowser(Browser):
    """A browser that accepts gzip, as all do. nginx compresses a stream in spite of ``no-transform``; each piece comes complete."""

    def __init__(self, port: int, method: str, path: str, body: Any = None, **headers: str) -> None:
        super().__init__(port, method, path, body, Accept_Encoding="gzip", **headers)
        self._raw: Any = self._answer
        if self.headers["Content-Encoding"] == "gzip":
            self._lines = self._decompressed()
            self._answer = self  # type: ignore[assignment]

    def __iter__(self) -> Iterator[bytes]:
        return self._lines

    def _decompressed(self) -> Iterator[bytes]:
        decompressor, rest = zlib.decompressobj(wbits=31), b""
        while data := self._raw.read1(65_536):
            *whole, rest = (rest + decompressor.decompress(data)).split(b"\n")
            yield from (line + b"\n" for line in whole)

    def close(self) -> None:
        self._raw.close()


class Site(Gunicorn):
    """The application behind nginx."""

    def __init__(self, kind: str, ui: PromptedChatUI, store: RedisServer, folder: Path, *options: str) -> None:
        (folder / "site_app.py").write_text(APP)
        client = {"FLASK_HFCLIENT_BASE_URL": ui.url, "FLASK_HFCLIENT_TOKEN": '""', "FLASK_HFCLIENT_SESSION": '"private"'}
        super().__init__("site_app:app", kind, folder, *options, config=CONFIG, STORE=store.url, **client)
        self._store = store.url

    def __enter__(self) -> Site:
        super().__enter__()
        self.nginx = Nginx(self.port, http=COMPRESSING, location=BUFFERING)
        self.nginx.start()
        self.front = self.nginx.port
        return self

    def __exit__(self, *exc_info: object) -> None:
        if hasattr(self, "nginx"):
            self.nginx.__exit__()
        super().__exit__()

    def start(self, prompt: str) -> str:
        """Start a run; return its id."""
        with Browser(self.front, "POST", f"/start?{quote(prompt)}", {"prompt": prompt}) as browser:
            return str(browser.body()["run"])

    def kept(self, run: str) -> None:
        """Wait until the store has the first event and the state of a run; a browser of the same worker gets the event before."""
        with redis.Redis.from_url(self._store) as store:
            wait_until(lambda: all(list(store.scan_iter(f"*:{part}:{run}")) for part in ("log", "data")))

    def follow(self, run: str, after: str | None = None) -> Browser:
        headers = {} if after is None else {"Last_Event_ID": after}
        return GzipBrowser(self.front, "GET", f"/runs/{run}", None, **headers)

    def read(self, run: str) -> str:
        """Return the text of a run as a browser gets it: it follows again from the last event when its connection ends early."""
        text, after, ended = "", None, False
        for _ in range(300):
            try:
                with self.follow(run, after) as browser:
                    for event_id, name, data in events(browser):
                        after = event_id or after
                        text += data["text"] if data.get("event") == "Token" else ""
                        ended = ended or name == "end"
            except (OSError, http.client.HTTPException):
                pass
            if ended:
                return text
            threading.Event().wait(0.1)
        pytest.fail(f"the run did not end: {text!r}")


def events(browser: Browser) -> Iterator[tuple[str | None, str, dict[str, Any]]]:
    """Yield id, name and data of each event."""
    event_id, name = None, "message"
    for line in browser._answer:
        field, _, value = line.decode().strip().partition(": ")
        if field == "id":
            event_id = value
        elif field == "event":
            name = value
        elif field == "data":
            yield event_id, name, json.loads(value)
            event_id, name = None, "message"


@pytest.fixture
def ui() -> Iterator[PromptedChatUI]:
    """The chat server."""
    with PromptedChatUI() as running:
        yield running


@pytest.fixture(params=["gthread", "gevent"])
def site(request: pytest.FixtureRequest, ui: PromptedChatUI, redis_server: RedisServer, tmp_path: Path) -> Iterator[Site]:
    """The deployment, with each kind of worker for streams."""
    if request.param == "gevent":
        pytest.importorskip("gevent", reason="gevent has no wheel for this Python")
    threads = ("--threads", "250") if request.param == "gthread" else ()
    with Site(request.param, ui, redis_server, tmp_path, "--graceful-timeout", "60", *threads) as running:
        yield running


def keep_logs(ui: PromptedChatUI, prompt: str) -> None:
    """Let the chat server have the complete answer in its log from now on."""
    words = [word + " " for word in text_for(prompt).split(" ")[:-1]]
    for answer in ui.chat.answers.values():
        answer.log = log_of(STARTED, *map(token, words), final(text_for(prompt)), FINISHED)


def test_pieces_pass_a_buffering_and_compressing_proxy(site: Site, ui: PromptedChatUI) -> None:
    """A proxy with buffering and gzip passes each piece on at once; leaving stops the silent generation."""
    with GzipBrowser(site.front, "POST", "/ask", {"prompt": "hold a"}) as asked:
        assert asked.headers["Content-Encoding"] == "gzip"
        assert next(asked.tokens()) == text_for("hold a", 1)
        asked.heartbeat()
        asked.heartbeat()
        ui.go.set()
        assert asked.text().endswith(text_for("hold a")[-20:])
    ui.go.clear()
    with GzipBrowser(site.front, "POST", "/ask", {"prompt": "hold b"}) as left:
        assert next(left.tokens()) == text_for("hold b", 1)
    wait_until(lambda: len(ui.stops_for("hold b")) == 1)
    assert ui.stops_for("hold a") == []


def test_a_deploy_in_mid_answer(site: Site, ui: PromptedChatUI) -> None:
    """SIGHUP in mid-answer: new workers continue the run from the chat server's log; browsers that follow again have the whole text."""
    run = site.start("hold c")
    with site.follow(run) as first:
        assert next(first.tokens()) == text_for("hold c", 1)
    keep_logs(ui, "hold c")
    with ThreadPoolExecutor(4) as pool:
        texts = [pool.submit(site.read, run) for _ in range(4)]
        site.signal(signal.SIGHUP)
        wait_until(lambda: len(site.workers) == 4)
        assert [text.result() for text in texts] == [text_for("hold c")] * 4
    assert ui.count("send") == 1
    assert ui.stops == []
    assert "Traceback" not in site.said


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "terminated"])
def test_a_worker_dies_in_mid_answer(site: Site, ui: PromptedChatUI, redis_server: RedisServer, number: int) -> None:
    """The worker that generates is killed: another one continues the run, and each browser gets the whole text of one prompt."""
    run = site.start("hold d")
    with site.follow(run) as first:
        assert next(first.tokens()) == text_for("hold d", 1)
    site.kept(run)
    keep_logs(ui, "hold d")
    with ThreadPoolExecutor(4) as pool:
        texts = [pool.submit(site.read, run) for _ in range(4)]
        os.kill(int(site.answered_by(quote("hold d"))), number)
        if number == signal.SIGKILL:
            expire_lease(redis_server.url)
        assert [text.result() for text in texts] == [text_for("hold d")] * 4
    assert ui.count("send") == 1
    assert ui.stops == []


def memory(site: Site) -> int:
    """Return the resident memory of the running workers, in bytes."""
    total = 0
    for pid in site.workers:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        total += pages * os.sysconf("SC_PAGE_SIZE")
    return total


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the memory of a process is read from /proc")
def test_many_browsers_at_once(site: Site, ui: PromptedChatUI) -> None:
    """200 browsers read ten answers at once on two workers, in three waves; the memory of the workers does not grow."""
    sizes = []
    with ThreadPoolExecutor(200) as pool:
        for wave in range(3):
            ui.go.clear()
            prompts = [f"hold {wave}-{number}" for number in range(10)]
            runs = {prompt: site.start(prompt) for prompt in prompts}
            open_now = threading.Semaphore(0)

            def read(prompt: str, runs: dict[str, str] = runs, open_now: threading.Semaphore = open_now) -> bool:
                with site.follow(runs[prompt]) as browser:
                    tokens = browser.tokens()
                    text = next(tokens)
                    open_now.release()
                    return text + "".join(tokens) == text_for(prompt)

            reading = [pool.submit(read, prompt) for prompt in prompts * 20]
            for _ in range(200):
                assert open_now.acquire(timeout=60)
            sizes.append(memory(site))
            ui.go.set()
            assert all(done.result() for done in reading)
    assert ui.count("send") == 30
    assert sizes[2] - sizes[1] < 8 * 1024 * 1024, sizes
