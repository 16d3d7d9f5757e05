"""A worker of uvicorn that ends hands its runs over, as the page on deploying says."""

from __future__ import annotations

import urllib.request

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


@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["one process", "workers"])
def test_uvicorn_hands_over(options: tuple[str, ...], redis_server: RedisServer) -> None:
    """After SIGTERM, with a browser that follows, another process continues the run at once: long before its lease expires."""
    with PromptedChatUI() as ui:
        variables = {"UPSTREAM": ui.url, "STORE": redis_server.url}
        with uvicorn("tests.deploy.handover_app:app", *options, "--timeout-graceful-shutdown", "2", **variables) as url:
            run = urllib.request.urlopen(f"{url}/start", timeout=30).read().decode()
            browser = urllib.request.urlopen(f"{url}/{run}", timeout=30)
            while text_for("hold on", 1)[:6].encode() not in browser.readline():
                pass
            words = [word + " " for word in text_for("hold on").split(" ")[:-1]]
            for answer in ui.chat.answers.values():
                answer.log = log_of(STARTED, *map(token, words), final(text_for("hold on")), FINISHED)
        browser.close()
        client = Client(ui.url, token="", session="private")
        relay = Relay(RedisStore(redis_server.url), lease=100, recover=client)
        wait_until(lambda: relay.recover_lost() >= 0 and relay.get(run).ended)  # the second worker may have taken it before it ended
        text = "".join(entry.event.text for entry in relay.follow(run) if isinstance(entry.event, Token))
        assert text == text_for("hold on")
        assert (ui.count("send"), ui.stops) == (1, [])
        relay.close()
        client.close()
