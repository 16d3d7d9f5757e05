"""A worker of uvicorn that ends hands its runs over, as the page on deploying says."""

from __future__ import annotations

import contextlib
import urllib.request
from http.client import HTTPConnection

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("redis")

from hfclient import Client
from hfclient.events import Token
from hfclient.web import RedisStore, Relay
from tests.chat.replay import FINISHED, STARTED, final, log_of, token, wait_until
from tests.deploy.web_servers import uvicorn
from tests.processes.helpers import PromptedChatUI, text_for
from tests.services import RedisServer

WORKERS = ("--workers", "2")


def connect(url: str, worker: str, *, here: bool) -> HTTPConnection:
    """Connect to the process *worker*, or to another one."""
    while True:
        connection = HTTPConnection(url.removeprefix("http://"), timeout=30)
        connection.request("GET", "/worker")
        response = connection.getresponse()
        response.read()
        if (response.headers["worker"] == worker) is here:
            return connection
        connection.close()


@pytest.mark.parametrize(
    ("options", "follower"),
    [((), "here"), ((), "none"), (WORKERS, "here"), (WORKERS, "elsewhere"), (WORKERS, "none")],
    ids=["one process", "one process without a browser", "the same worker", "another worker", "workers without a browser"],
)
def test_uvicorn_hands_over(options: tuple[str, ...], follower: str, redis_server: RedisServer) -> None:
    """After SIGTERM another process continues the run at once, long before its lease expires; wherever the browser is that follows."""
    with PromptedChatUI() as ui, contextlib.ExitStack() as stack:
        client = stack.enter_context(Client(ui.url, token="", session="private"))
        relay = Relay(RedisStore(redis_server.url), lease=100, recover=client)
        stack.callback(relay.close)
        variables = {"UPSTREAM": ui.url, "STORE": redis_server.url}
        with uvicorn("tests.deploy.handover_app:app", *options, "--timeout-graceful-shutdown", "2", **variables) as url:
            started = urllib.request.urlopen(f"{url}/start", timeout=30)
            run = started.read().decode()
            wait_until(lambda: relay.get(run).chat is not None)
            if follower != "none":
                browser = stack.enter_context(contextlib.closing(connect(url, started.headers["worker"], here=follower == "here")))
                browser.request("GET", f"/{run}")
                events = browser.getresponse()
                while text_for("hold on", 1)[:6].encode() not in events.readline():
                    pass
            words = [word + " " for word in text_for("hold on").split(" ")[:-1]]
            for answer in ui.chat.answers.values():
                answer.log = log_of(STARTED, *map(token, words), final(text_for("hold on")), FINISHED)
        record = relay.store.get(run)
        assert record is not None
        assert record.ended or record.lease_left <= 0  # the second worker may have continued it before it ended, too
        relay.recover_lost()
        wait_until(lambda: relay.get(run).ended)
        text = "".join(entry.event.text for entry in relay.follow(run) if isinstance(entry.event, Token))
        assert text == text_for("hold on")
        assert (ui.count("send"), ui.stops) == (1, [])
