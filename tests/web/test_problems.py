"""Errors as responses: the table is complete, shows nothing internal, and its statuses fit the application's browser."""

from __future__ import annotations

import http
import json
import re
from pathlib import Path

import pytest

import hfclient.web
from hfclient import Client, HFClientError, errors
from hfclient.web import Kind, problem
from hfclient.web import errors as web
from hfclient.web.problems import KINDS

CLASSES = sorted(
    {cls for module in (errors, web) for cls in vars(module).values() if isinstance(cls, type) and issubclass(cls, HFClientError)},
    key=lambda cls: cls.__name__,
)
SECRET = "upstream said: POST http://10.1.2.3:9000/v1?token=hf_abcdef123456"


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_error_has_a_kind(cls: type[HFClientError]) -> None:
    """Each class of error is in the table itself, with a status for errors, a code, a sentence and a reason."""
    kind = KINDS[cls]
    assert 400 <= kind.status <= 599
    assert http.HTTPStatus(kind.status)
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", kind.code)
    assert kind.title.endswith(".")
    assert kind.why


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_nothing_internal_is_shown(cls: type[HFClientError]) -> None:
    """The message of an error, which names hosts and quotes servers, is in no part of the response."""
    answer = problem(cls(SECRET))
    assert "10.1.2.3" not in answer.json() + str(answer.headers)
    assert "upstream said" not in answer.json()
    body = json.loads(answer.json())
    assert body == answer.body
    assert {"type", "title", "status", "code"} <= set(body)
    assert body["status"] == answer.status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"


def test_one_code_has_one_title() -> None:
    """A code always has the same title, so that translations can be looked up by it."""
    titles: dict[str, set[str]] = {}
    for kind in KINDS.values():
        titles.setdefault(kind.code, set()).add(kind.title)
    assert {code: found for code, found in titles.items() if len(found) > 1} == {}


def test_details_on_request() -> None:
    """``details=True`` adds the text of the error, with known secrets masked, also for an exception of another library."""
    Client(token="hf_abcdef123456")  # makes it known
    error = errors.ServerError(SECRET, status_code=500)
    assert "10.1.2.3" in problem(error, details=True).body["detail"]
    assert "hf_abc" not in problem(error, details=True).body["detail"]
    other = problem(RuntimeError(f"one\r\ntwo {SECRET}"), details=True)
    assert other.status == 500
    assert other.body["detail"].startswith("RuntimeError: one")
    assert "hf_abc" not in other.json()
    assert "\n" not in other.body["detail"]


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("cls", [errors.AuthenticationError, errors.PermissionDeniedError, errors.GenerationError])
def test_the_login_of_the_service_is_not_that_of_the_browser(cls: type[HFClientError], status: int) -> None:
    """A 401 or 403 of the service never becomes one of the application: browsers ask for a password, or log out."""
    error = cls("no", status_code=status)  # type: ignore[call-arg]
    assert problem(error).status == 502


@pytest.mark.parametrize(
    ("status", "shown", "code"),
    [
        (402, 402, "credits-exhausted"),
        (429, 429, "rate-limited"),
        (404, 404, "model-not-found"),
        (413, 413, "too-large"),
        (503, 503, "service-busy"),
        (504, 504, "timeout"),
        (500, 502, "generation-failed"),
        (None, 502, "generation-failed"),
    ],
)
def test_a_failure_inside_an_answer(status: int | None, shown: int, code: str) -> None:
    """The status that a service reports inside an answer has the meaning that it has as an answer."""
    answer = problem(errors.GenerationError("no", status_code=status))
    assert (answer.status, answer.body["code"]) == (shown, code)


def test_server_errors() -> None:
    """503 and 504 of the service are kept; other failures of it are 502: the application itself has not failed."""
    assert [problem(errors.ServerError("no", status_code=code)).status for code in (500, 501, 502, 503, 504, 520)] == [
        502, 502, 502, 503, 504, 502,
    ]  # fmt: skip
    overloaded = problem(errors.ServerError("no", status_code=503, retry_after=7.2))
    assert overloaded.headers["Retry-After"] == "8"


@pytest.mark.parametrize(
    ("given", "shown"),
    [(2.1, "3"), (0.0, "1"), (-5, "1"), (60, "60"), (float("inf"), "2678400"), (float("nan"), None), (None, None), (1e300, "2678400")],
)
def test_retry_after(given: float | None, shown: str | None) -> None:
    """Retry-After is in whole seconds, at least 1, and the body has the same number."""
    for cls in (errors.RateLimitError, web.LimitExceeded):
        answer = problem(cls("wait", retry_after=given))
        assert answer.headers.get("Retry-After") == shown
        assert answer.body.get("retry_after") == (None if shown is None else int(shown))


def test_waiting_does_not_help() -> None:
    """A limit of conversations has no Retry-After: a client that repeats the request would never succeed."""
    assert "Retry-After" not in problem(errors.ConversationLimit("full", status_code=429, retry_after=10)).headers


def test_own_kinds_and_titles() -> None:
    """An application adds its own exceptions, replaces a kind, and translates titles by code."""

    class Lazy:
        def __str__(self) -> str:
            return "Bitte warten."

    class OutOfStock(Exception):
        pass

    kinds: dict[type[BaseException], Kind] = {OutOfStock: Kind(422, "out-of-stock", "Sold out."), errors.GenerationError: Kind(500, "x", "X.")}
    assert problem(OutOfStock("hidden"), kinds=kinds).body["code"] == "out-of-stock"
    assert problem(errors.GenerationError("", status_code=402), kinds=kinds).status == 500
    assert problem(errors.RateLimitError(""), titles={"rate-limited": Lazy()}).body["title"] == "Bitte warten."
    assert problem(errors.RateLimitError(""), kinds=kinds).status == 429


def test_a_subclass_has_the_kind_of_its_base() -> None:
    """A class of the application's own, below one of hfclient, is shown as the latter."""

    class Mine(errors.RateLimitError):
        pass

    assert problem(Mine("", retry_after=3)).headers["Retry-After"] == "3"


def test_a_run_shows_the_problem_that_it_ended_with() -> None:
    """`RunFailed` is shown as the process described it that generated the answer; nonsense is a 502."""
    stored = problem(errors.RateLimitError("hidden", retry_after=4)).body
    answer = problem(web.RunFailed("hidden", problem=stored), titles={"rate-limited": "Warten."})
    assert (answer.status, answer.headers["Retry-After"], answer.body["title"]) == (429, "4", "Warten.")
    assert "hidden" not in answer.json()
    for bad in ({}, {"status": 200, "code": "a", "title": "b"}, {"status": "500"}, {"status": 500, "code": 1, "title": "x"}):
        assert problem(web.RunFailed("", problem=bad)).body["code"] == "run-failed"
    assert problem(web.RunFailed("", problem={**stored, "detail": "d"}), details=True).body["detail"] == "d"
    assert "detail" not in problem(web.RunFailed("", problem={**stored, "detail": "d"})).body


def test_what_helps_a_front_end() -> None:
    """A busy conversation names its run, which a browser can follow; a limit names what it counts."""
    assert problem(web.RunBusy("", run_id="r1")).body["run"] == "r1"
    assert problem(web.LimitExceeded("", scope="tokens")).body["scope"] == "tokens"


def test_lone_surrogates_are_escaped() -> None:
    """The JSON is ASCII for every text."""
    answer = problem(ValueError("\ud800\u2028"), details=True)
    assert answer.json().isascii()
    answer.json().encode()


def test_names() -> None:
    """The names are at the top of the package, and imported when they are used."""
    assert set(hfclient.web.__all__) <= set(dir(hfclient.web))
    for name in hfclient.web.__all__:
        assert getattr(hfclient.web, name)
    with pytest.raises(AttributeError, match="nothing_like_it"):
        hfclient.web.nothing_like_it  # noqa: B018


def test_the_table_of_the_documentation() -> None:
    """docs/web-streaming.rst shows the table as it is."""
    page = (Path(__file__).parents[2] / "docs" / "web-streaming.rst").read_text("utf-8")
    shown = re.findall(r"^   \* - (.+)\n     - (\d+)\n     - ``(.+)``\n     - (.+)$", page, re.MULTILINE)
    assert shown == [
        ("other exceptions" if cls is BaseException else f"``{cls.__name__}``", str(kind.status), kind.code, kind.why)
        for cls, kind in KINDS.items()
        if cls not in (HFClientError, web.WebError)
    ]
