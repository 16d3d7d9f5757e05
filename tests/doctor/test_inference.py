"""Checks of the token at the Hub, and of inference servers."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import pytest

from hfclient import Client
from hfclient.doctor import Check
from hfclient.doctor.inference_server import InferenceChecks
from hfclient.doctor.results import run
from tests.chat.gateway import page
from tests.chat.replay import ChatUI
from tests.doctor.conftest import SECRET
from tests.local.upstream import ScriptedUpstream
from tests.server import Server, json_answer, plain

NOW = datetime.datetime.now(datetime.timezone.utc)
ORGS = [{"type": "org", "name": "acme", "canPay": True}, {"type": "org", "name": "poor", "canPay": False}]


def _account(**token: Any) -> dict[str, Any]:
    """An answer of whoami-v2, as the Hub sends it."""
    return {"type": "user", "id": "1", "name": "ann", "fullname": "Ann", "email": "ann@example.com", "canPay": False, "isPro": False,
            "orgs": ORGS, "auth": {"type": "access_token", "accessToken": {"displayName": "laptop", "role": "read", **token}}}  # fmt: skip


def _fine(*rights: str, scoped: tuple[str, ...] = ()) -> dict[str, Any]:
    scopes = [{"entity": {"type": "user", "name": "ann"}, "permissions": list(scoped)}]
    return _account(role="fineGrained", fineGrained={"canReadGatedRepos": True, "global": list(rights), "scoped": scopes})


def _token(server: Server, answer: bytes) -> Check:
    """Check a token for the router."""
    server.on("/api/whoami-v2", answer)
    with Client(token=SECRET, cookies="", hub_url=server.url) as client:
        return run("hub", "token", InferenceChecks(client).token, 10)[0]


def test_tokens(server: Server) -> None:
    """A token shows its account, its kind and who can pay, and nothing of itself."""
    found = _token(server, json_answer(_account()))
    assert (found.status, found.detail) == ("ok", "ann, read; can pay: acme")
    assert server.last.headers["authorization"] == f"Bearer {SECRET}"
    for answer in (_fine("inference.serverless.write"), _fine(scoped=("inference.serverless.write",))):
        found = _token(server, json_answer(answer))
        assert (found.status, found.detail) == ("ok", "ann, fine-grained; rights: inference.serverless.write; can pay: acme")
    assert "ann@example.com" not in f"{found}"


def test_a_token_without_the_right(server: Server) -> None:
    """A token that may not call inference providers is the usual cause of a 403, and gets its remedy."""
    found = _token(server, json_answer(_fine("discussion.write")))
    assert found.status == "warning"
    assert "inference.serverless.write is missing" in found.detail
    assert "Make calls to Inference Providers" in (found.remedy or "")


@pytest.mark.parametrize("where", ["expiration", "expiresAt", "oauth"])
def test_a_token_that_ends(server: Server, where: str) -> None:
    """The end of a token is shown, and is a warning in the last week."""
    for days, status in ((30, "ok"), (2, "warning")):
        end = NOW + datetime.timedelta(days=days)
        answer = _account(**({} if where == "oauth" else {where: end.isoformat()}))
        if where == "oauth":
            answer["auth"] = {"type": "oauth", "expiresAt": end.isoformat()}
        found = _token(server, json_answer(answer))
        assert (found.status, f"ends {end:%Y-%m-%d}" in found.detail) == (status, True), found


def test_tokens_that_are_not_accepted(server: Server) -> None:
    """A token that the Hub refuses fails with where to take a new one; it is not repeated if the Hub does."""
    found = _token(server, json_answer({"error": f"Invalid username or password {SECRET}"}, 401))
    assert (found.status, "the Hub does not accept the token" in found.detail) == ("failed", True)
    assert "https://huggingface.co/settings/tokens" in (found.remedy or "")
    assert SECRET not in f"{found}"


def test_an_account_in_another_form(server: Server) -> None:
    """An answer of the Hub that has changed is a warning or a failure, not an exception."""
    assert _token(server, json_answer({"name": "ann", "type": "user"})).status == "warning"
    assert _token(server, json_answer([])).status == "failed"
    assert _token(server, plain("nonsense")).status == "failed"


def test_a_token_for_another_server() -> None:
    """A key of one's own inference server is never sent to the Hub."""
    with Client("http://127.0.0.1:1", token=SECRET, cookies="", inference_url="http://127.0.0.1:1/v1") as client:
        assert InferenceChecks(client).token().status == "skipped"
    with Client(token="", cookies="") as client:
        assert InferenceChecks(client).token().status == "warning"
        assert InferenceChecks(client).inference().status == "skipped"


# Inference servers


@pytest.fixture
def chat_ui() -> Iterator[ChatUI]:
    """A chat-ui."""
    with ChatUI() as running:
        yield running


def _inference(url: str, **options: Any) -> Check:
    given = {"token": "", "cookies": "", "session": "private", **options}
    with Client("http://127.0.0.1:1", inference_url=url, **given) as client:
        return run("inference", "inference", InferenceChecks(client).inference, 10)[0]


def test_an_inference_server() -> None:
    """A server in the known form is described by its models."""
    with ScriptedUpstream() as upstream:
        found = _inference(upstream.url)
    assert (found.status, found.detail) == ("ok", f"{upstream.url} serves 2 models, the first is test/model")


def test_a_chat_server_as_inference(chat_ui: ChatUI) -> None:
    """A chat-ui as the inference server is recognized, also with /v1."""
    for url in (chat_ui.url, f"{chat_ui.url}/v1"):
        found = _inference(url)
        assert (found.status, found.detail) == ("failed", f"{chat_ui.url} is a chat-ui, not an inference server")
        assert f"--url {chat_ui.url}" in (found.remedy or "")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (json_answer({"error": {"message": "bad key"}}, 401), "wants a token: bad key"),
        (json_answer({"data": []}), "serves no models"),
        (json_answer({"data": {"a": 1}}), "gives no list of models"),
        (json_answer({"data": [{"name": 5}]}), "model.id is"),
        (page("Welcome to nginx"), "Welcome to nginx"),
        (page("Not found", 404), "does not exist"),
        (json_answer({"error": "down"}, 500), "down"),
    ],
)
def test_inference_servers_that_do_not_work(server: Server, answer: bytes, text: str) -> None:
    """Each failure of the list of models has its text and a remedy."""
    server.on("*", answer)
    found = _inference(f"{server.url}/v1")
    assert (found.status, text in found.detail) == ("failed", True), found
    assert found.remedy


def test_other_forms_of_the_list(server: Server) -> None:
    """Lists of names, or under another key, are known."""
    for data in ([{"id": "a"}], ["a", "b"], {"models": [{"name": "a"}]}, {"data": [{"id": "a", "new": 1}]}):
        server.on("*", json_answer(data))
        found = _inference(server.url)
        assert (found.status, "the first is a" in found.detail) == ("ok", True), found


def test_provider_keys() -> None:
    """Providers with keys are named, the keys are not."""
    with Client(token="", cookies="", provider_keys={"together": SECRET.removeprefix("hf_")}) as client:
        found = InferenceChecks(client).providers()
    assert (found.status, found.detail) == ("ok", "keys for together")
    assert SECRET.removeprefix("hf_") not in f"{found}"


def test_an_inference_server_that_is_down() -> None:
    """A closed port is named by its address."""
    from hfclient.doctor import check

    options: Any = {"token": "", "cookies": "", "inference_url": "http://127.0.0.1:2/v1"}
    (*_, last, _) = check(url="http://127.0.0.1:1", skip=["installation", "environment", "chat"], **options)
    assert (last.name, last.detail) == ("inference", "127.0.0.1, port 2 refuses connections: nothing listens there")
