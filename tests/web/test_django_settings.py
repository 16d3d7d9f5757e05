"""`hfclient.web.django`: the setting ``HFCLIENT``, the client that it makes, and system checks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hfclient import Client, Timeouts
from tests.web.django_site import set_up

set_up()

from django.core.checks import run_checks  # noqa: E402
from django.core.exceptions import ImproperlyConfigured  # noqa: E402
from django.test import RequestFactory, override_settings  # noqa: E402
from django.views.debug import SafeExceptionReporterFilter, technical_500_response  # noqa: E402

from hfclient.web.django import get_client  # noqa: E402
from hfclient.web.django.conf import HiddenText, hidden, read_options, revealed  # noqa: E402

ROOT = Path(__file__).parents[2]
SECRET = "hf_abcdefghijklmnopqrstuvwxyz"
LOCAL = {"base_url": "http://127.0.0.1:9", "token": "", "cookies": ""}


def _ids(**hfclient: Any) -> list[str]:
    with override_settings(HFCLIENT=hfclient):
        return [message.id for message in run_checks(tags=["hfclient"])]


def test_one_client_for_each_process() -> None:
    """The client is made once, from the options, and again when a test changes the setting."""
    with override_settings(HFCLIENT={**LOCAL, "timeouts": {"total": 90}}):
        client = get_client()
        assert client is get_client()
        assert client.base_url == "http://127.0.0.1:9"
        assert client._session.timeouts == Timeouts(total=90)
    with override_settings(HFCLIENT={**LOCAL, "base_url": "http://127.0.0.1:8"}):
        assert get_client().base_url == "http://127.0.0.1:8"


def _make() -> Client:
    return Client("http://127.0.0.1:7", token="", cookies="")


def test_a_client_from_a_function() -> None:
    """An option names the function that makes the client; other options beside it, or another result, are errors."""
    for function in (_make, f"{__name__}._make"):
        with override_settings(HFCLIENT={"client": function}):
            assert get_client().base_url == "http://127.0.0.1:7"
    for options, error in (
        ({"client": _make, "token": ""}, "token would have no effect"),
        ({"client": "no.such"}, r'HFCLIENT\["client"\]'),
        ({"client": dict}, "returns a Client, not a dict"),
        ({"client": 3}, "is a function"),
    ):
        with override_settings(HFCLIENT=options), pytest.raises(ImproperlyConfigured, match=error):
            get_client()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"base_ulr": "http://x"}, 'HFCLIENT has no option \'base_ulr\'; did you mean "base_url"?'),
        ({"TOKEN": "x"}, 'did you mean "token"?'),
        ({"zzz": 1}, "it has base_url, "),
        ({1: 2}, "no option 1"),
        ({"timeouts": {"totl": 3}}, 'HFCLIENT["timeouts"] has no option \'totl\'; did you mean "total"?'),
        ({"timeouts": {"total": -1}}, 'HFCLIENT["timeouts"]: '),
        ({"relay": "redis://x"}, 'HFCLIENT["relay"] is a dict of options, not a str'),
        ({"on_event": "no.such.function"}, 'HFCLIENT["on_event"]: '),
        ([], "HFCLIENT is a dict of options, not a list"),
    ],
)
def test_options_that_cannot_work(options: Any, error: str) -> None:
    """Each mistake is named, with what may have been meant, by the client and by the check."""
    with override_settings(HFCLIENT=options):
        with pytest.raises(ImproperlyConfigured) as caught:
            get_client()
        assert error in str(caught.value)
        (message,) = run_checks(tags=["hfclient"])
        assert (message.id, error in message.msg) == ("hfclient.E001", True)


def test_values_that_the_client_refuses() -> None:
    """A URL or a token that cannot work is reported by the check; the message does not have the secret."""
    for options in ({"base_url": "ftp://x"}, {"token": f"{SECRET}\x00ü"}, {"base_url": 7}, {"headers": {"Authorization": SECRET}}):
        with override_settings(HFCLIENT={**LOCAL, **options}):
            (message,) = run_checks(tags=["hfclient"])
            assert message.id == "hfclient.E002"
            assert SECRET not in str(message)
            with pytest.raises(ImproperlyConfigured) as caught:
                get_client()
            assert SECRET not in repr(caught.value)


def test_a_missing_login() -> None:
    """HuggingChat requires a login: a check reports that there is no cookie. Other servers may not require one."""
    assert _ids(token="", cookies="") == ["hfclient.W001"]
    assert _ids(token=SECRET) == ["hfclient.W001"]
    assert _ids(cookies="token=abc; hf-chat=def") == []
    assert _ids(**LOCAL) == []
    assert _ids(client=_make) == []
    with override_settings(HFCLIENT={"token": ""}, SILENCED_SYSTEM_CHECKS=["hfclient.W001"]):
        assert [message.id for message in run_checks(tags=["hfclient"]) if not message.is_silenced()] == []


def test_transactions_around_views(monkeypatch: pytest.MonkeyPatch) -> None:
    """ATOMIC_REQUESTS is reported: answers run outside of the transaction of the view."""
    from django.conf import settings

    monkeypatch.setitem(settings.DATABASES["default"], "ATOMIC_REQUESTS", True)
    assert _ids(**LOCAL) == ["hfclient.W002"]


@pytest.mark.parametrize(
    ("variables", "ids"),
    [
        ({}, []),
        ({"WEB_CONCURRENCY": "4"}, ["hfclient.W003"]),
        ({"GUNICORN_CMD_ARGS": "-w3 --worker-class=gthread"}, ["hfclient.W003"]),
        ({"GUNICORN_CMD_ARGS": "--workers 1 -k sync", "WEB_CONCURRENCY": "4"}, ["hfclient.W004"]),
        ({"GUNICORN_CMD_ARGS": "-k sync --threads 8"}, []),
        ({"GUNICORN_CMD_ARGS": "-k 'uvicorn", "WEB_CONCURRENCY": "x"}, []),
    ],
)
def test_workers(variables: dict[str, str], ids: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment says about workers is reported: several with runs in memory, or sync ones."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert _ids(**LOCAL, relay={"ttl": 60}) == ids


def test_secrets_are_hidden() -> None:
    """Texts under the names of secrets, and URLs with a password, are shown as stars and used as they are."""
    given = {
        "token": SECRET,
        "cookies": {"hf-chat": SECRET},
        "provider_keys": {"together": SECRET},
        "proxy": f"http://user:{SECRET}@proxy:3128",
        "relay": {"store": f"redis://:{SECRET}@redis:6379/0", "ttl": 60},
        "base_url": "http://localhost:3000",
        "timeouts": Timeouts(),
    }
    options = hidden(given)
    assert SECRET not in repr(options)
    assert "http://localhost:3000" in repr(options)
    assert options == given
    plain = revealed(options)
    assert plain == given
    assert not any(type(value) is HiddenText for value in (plain["token"], plain["cookies"]["hf-chat"], plain["relay"]["store"]))


def test_the_debug_page() -> None:
    """Django's debug page has no secret: neither in the settings nor in the local values of hfclient's functions."""
    from hfclient.web.django.apps import HFClientConfig

    with override_settings(HFCLIENT={"base_url": f"ftp://user:{SECRET}@x", "cookies": {"hf-chat": SECRET}, "token": SECRET}, DEBUG=True):
        HFClientConfig("hfclient.web.django", __import__("hfclient.web.django")).ready()
        assert SECRET not in repr(SafeExceptionReporterFilter().get_safe_settings())
        try:
            get_client()
        except ImproperlyConfigured:
            page = technical_500_response(RequestFactory().get("/"), *sys.exc_info()).content.decode()
        assert "HFCLIENT" in page
        assert SECRET not in page
        options = read_options()
        assert (options["token"], SECRET in repr(options)) == (SECRET, False)


@pytest.mark.parametrize(
    ("name", "url", "more"),
    [
        ("relay", "redis://:{}@localhost:6379/0", {"ttl": -1}),
        ("relay", "mysql://:{}@localhost", {}),
        ("guard", "nonsense://:{}@localhost", {"requests": "2/hour"}),
        ("guard", "redis://:{}@localhost", {"requests": "many"}),
    ],
)
def test_passwords_of_stores(name: str, url: str, more: dict[str, Any]) -> None:
    """An error about a store has no password, nor has its page, nor the check."""
    from hfclient.web.django import get_guard, get_relay

    with override_settings(HFCLIENT=hidden({**LOCAL, name: {"store": url.format(SECRET), **more}}), DEBUG=True):
        with pytest.raises(ImproperlyConfigured) as caught:
            (get_relay if name == "relay" else get_guard)()
        assert SECRET not in str(caught.value)
        page = technical_500_response(RequestFactory().get("/"), caught.type, caught.value, caught.tb).content.decode()
        assert "HFCLIENT" in page
        assert SECRET not in page
        (message,) = run_checks(tags=["hfclient"])
        assert message.id == ("hfclient.E004" if name == "relay" else "hfclient.E003")
        assert SECRET not in str(message)


def test_chats_are_recovered_by_default() -> None:
    """The relay recovers chats with the client of the process; None in the options leaves that out."""
    from hfclient.web.django import get_relay

    for options, expected in (({}, True), ({"recover": None}, False)):
        with override_settings(HFCLIENT={**LOCAL, "relay": options}):
            recovery = get_relay().recovery
            assert recovery.can_continue(None, {"conversation": {}, "generation_id": "g"}) is expected
            assert not recovery.can_continue({"own": 1}, None)


def test_relay_and_guard() -> None:
    """They are made from their options, which may name functions by dotted paths; a misspelt option is named."""
    from hfclient.web.django import get_guard, get_relay

    relay = {"ttl": 60, "store": "memory", "on_end": f"{__name__}._ended"}
    with override_settings(HFCLIENT={**LOCAL, "relay": relay, "guard": {"requests": "2/hour", "price": "router"}}):
        assert get_relay() is get_relay()
        assert get_relay().bounds.ttl == 60
        assert get_guard().usage("ann")[0].amount == 2
    for options, error in (({"relay": {"tll": 3}}, '"ttl"'), ({"guard": {"request": "2/hour"}}, '"requests"'), ({}, "no limits")):
        with override_settings(HFCLIENT={**LOCAL, **options}), pytest.raises(ImproperlyConfigured, match=error):
            get_relay() if "relay" in options else get_guard()


def _ended(run: object, reply: object, error: object) -> None:
    pass


def test_nothing_is_imported_unless_asked_for() -> None:
    """The package needs neither settings nor the registry of apps to be imported, and hfclient.web does not import it."""
    code = (
        "import sys, hfclient.web, hfclient.web.errors\n"
        "assert 'django' not in sys.modules\n"
        "import hfclient.web.django\n"
        "from hfclient.web.django import ConversationField, conversation_lock, get_client\n"
        "assert 'hfclient.web.relay' not in sys.modules and 'redis' not in sys.modules and 'limits' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
