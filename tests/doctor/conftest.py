"""Running the doctor against one server."""

from __future__ import annotations

from typing import Any

from hfclient.doctor import Check, check

QUIET = ("installation", "environment", "hub", "inference")
SECRET = "hf_abcdefghijklmnopqrstuvwxyz"


def diagnosed(url: str, *, skip: tuple[str, ...] = QUIET, seconds: float = 10.0, **options: Any) -> dict[str, Check]:
    """Return the results by name for the chat server at *url*; no text has a secret."""
    given = {"token": "", "cookies": "", "session": "private", **options}
    if given["cookies"]:
        del given["session"]
    results = {result.name: result for result in check(url=url, seconds=seconds, skip=skip, **given)}
    for result in results.values():
        assert "secret" not in f"{result}".replace("secret-ballot", ""), result
        assert SECRET not in f"{result}"
        assert result.status != "failed" or result.remedy, result
        assert "\n" not in result.detail
    return results


def problems(results: dict[str, Check]) -> list[str]:
    """The names of the checks that failed or warn."""
    return [result.name for result in results.values() if result.status in ("failed", "warning")]
