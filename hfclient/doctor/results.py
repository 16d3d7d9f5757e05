"""`Check`: the result of one check; the remedies of errors; and running a check within its time."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

from attrs import asdict, field, frozen

from hfclient import errors
from hfclient.redaction.masking import sanitized
from hfclient.transport.scope import deadline

__all__ = ["Check", "Finding", "counted", "failed", "finding_for", "ok", "run", "shown_path", "skipped", "summary", "warning"]

Status = Literal["ok", "warning", "failed", "skipped"]


@frozen
class Check:
    """The result of one check. It has no secret.

    Attributes:
        group: The part that was checked: ``"installation"``, ``"environment"``, ``"network"``, ``"chat"``, ``"hub"``,
            ``"inference"`` or ``"stores"``.
        name: What was checked, such as ``"login"``. Names do not change between releases.
        status: ``"ok"``; ``"warning"`` for something that works and may surprise; ``"failed"``; ``"skipped"`` if it was not
            tried, for instance because a check before it failed.
        detail: What was found, in one line.
        remedy: What to do about it, or None.
        seconds: How long it took.
    """

    group: str
    name: str
    status: Status
    detail: str
    remedy: str | None = None
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON types."""
        return asdict(self)


def summary(results: Iterable[Check]) -> str:
    """Return one or two sentences about *results*: how many problems, which ones, and the first remedy.

    >>> from hfclient.doctor import Check, summary
    >>> summary([Check("chat", "login", "failed", "not logged in", "Run: hfclient login")])
    '1 problem (login). First: Run: hfclient login'
    """
    results = list(results)
    bad = [result for result in results if result.status == "failed"]
    odd = [result for result in results if result.status == "warning"]
    parts = [f"{counted(len(found), kind)} ({', '.join(one.name for one in found)})" for found, kind in ((bad, "problem"), (odd, "warning")) if found]
    remedy = next((result.remedy for result in (*bad, *odd) if result.remedy), None)
    return ", ".join(parts) + ("." if parts else "Everything works.") + (f" First: {remedy}" if remedy else "")


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "model"), counted(2, "model")
    ('1 model', '2 models')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


@frozen
class Finding:
    """What the function of a check returns: a `Check` without its name and time."""

    status: Status
    detail: str
    remedy: str | None = None
    blocks: bool = field(default=False)
    """Later checks that depend on this one cannot succeed."""
    wants_login: bool = field(default=False)
    """It follows from a login that is missing or has expired."""


def ok(detail: str) -> Finding:
    """Return the finding of a check that found nothing wrong."""
    return Finding("ok", detail)


def warning(detail: str, remedy: str | None = None) -> Finding:
    """Return the finding of a check that found something that works and may surprise."""
    return Finding("warning", detail, remedy)


def failed(detail: str, remedy: str | None = None, *, blocks: bool = False) -> Finding:
    """Return the finding of a check that found what cannot work; see `Finding.blocks`."""
    return Finding("failed", detail, remedy, blocks)


def skipped(detail: str, remedy: str | None = None) -> Finding:
    """Return the finding of a check that was not made, with the reason."""
    return Finding("skipped", detail, remedy)


UPDATE = "Update hfclient (pip install --upgrade hfclient); if it is the newest release, report this output as a bug."
NO_ANSWER = "Check the URL, the network, the proxy and the firewall, and that the server runs."
_INSTALL = re.compile(r'pip install (--no-deps )?("[^"]+"|[\w.\[\]-]+)')
_REMEDIES: tuple[tuple[type[BaseException], str], ...] = (
    (errors.MissingDependencyError, "Install the extra that the message names."),
    (errors.InvalidInputError, "Correct the option, or the environment variable that it is taken from."),
    (errors.CredentialsError, "Pass cookies= or set HFCLIENT_COOKIE, or run: hfclient login"),
    (errors.PasswordRequired, "Put the user name and the password into the URL: https://user:password@host"),
    (errors.SessionExpired, "Log in again: run hfclient login, or take new cookies from the browser."),
    (errors.AuthenticationError, "Renew the cookie or the token; hfclient login saves a new cookie."),
    (errors.CreditsExhausted, "Buy credits, wait for the next month, or pass bill_to= with an organisation that pays."),
    (
        errors.CloudflareChallenge,
        'Pass impersonate="chrome" (--impersonate chrome; pip install "hfclient[impersonate]"), or the cookies of a browser on '
        "this machine that has passed the check.",
    ),
    (errors.PermissionDeniedError, "The account has no access to this: check its rights."),
    (errors.RateLimitError, "Wait, then try again."),
    (errors.NotAChatServer, "Check the base URL: the server there is not a chat-ui."),
    (errors.NotFoundError, "Check the base URL: it may lack a path."),
    (errors.ServerError, "The server fails: look into its log."),
    (errors.ProtocolError, UPDATE),
    (errors.TransportError, NO_ANSWER),
    (errors.GenerationError, "The model behind the server fails: try another one, and look into the server's log."),
    (errors.HFClientError, "Report this output as a bug."),
)


def finding_for(error: errors.HFClientError, seconds: float) -> Finding:
    """Return the finding for a failed call: its message, and the remedy of its class."""
    remedy = next((text for cls, text in _REMEDIES if isinstance(error, cls)), None)
    detail = error.message or type(error).__name__
    if isinstance(error, errors.TransportTimeout) and error.deadline == "total":
        detail = f"no result within {seconds:g} s"
    if isinstance(error, errors.APIStatusError) and error.location and (moved := error.message.partition("; use ")[2]):
        remedy = f"Use {moved}"
    if isinstance(error, errors.MissingDependencyError) and (command := _INSTALL.search(error.message)):
        remedy = f"Run: {command[0]}"
    wants_login = isinstance(error, errors.AuthenticationError)
    return Finding("failed", detail, remedy, isinstance(error, errors.TransportError), wants_login)


def run(group: str, name: str, function: Callable[[], Finding], seconds: float) -> tuple[Check, Finding]:
    """Run one check in a thread, and return its result and finding; a check that is late is left behind.

    Args:
        group, name: Of the result.
        function: The check.
        seconds: Its time limit. A request that is late is ended; a look-up of a name cannot be, so its thread ends later.
    """
    findings: list[Finding] = []
    started = time.monotonic()

    def work() -> None:
        try:
            with deadline(seconds):
                finding = function()
        except errors.HFClientError as error:
            finding = finding_for(error, seconds)
        except Exception as error:  # noqa: BLE001 (one check must not end the others)
            what = type(error).__name__
            finding = failed(f"{what}: see the log of the store") if group == "stores" else failed(f"{what} in this check", "Report this output as a bug.")
        findings.append(finding)

    thread = threading.Thread(target=work, name="hfclient-check", daemon=True)
    thread.start()
    thread.join(seconds + 0.25)  # a request that its deadline ends reports what it waited for
    finding = findings[0] if findings else failed(f"no result within {seconds:g} s", NO_ANSWER, blocks=True)
    taken = round(min(time.monotonic() - started, seconds), 3)
    remedy = sanitized(finding.remedy) if finding.remedy else None
    return Check(group, name, finding.status, sanitized(finding.detail)[:2000], remedy, taken), finding


def shown_path(path: str | os.PathLike[str]) -> str:
    """Return a path for a report, with ``~`` for the home folder: it may have the user's name."""
    text = os.fspath(path)
    try:
        home = str(Path.home())
    except RuntimeError:
        return text
    return f"~{text[len(home):]}" if len(home) > 1 and (text == home or text.startswith(home + os.sep)) else text
