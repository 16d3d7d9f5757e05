"""``hfclient doctor``: what works, what does not, and the remedy."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import click

from hfclient.cli.completion import complete_names
from hfclient.cli.options import json_option, server_options
from hfclient.cli.output import Output
from hfclient.redaction.control_characters import stripped

if TYPE_CHECKING:
    from hfclient.doctor import Check

__all__ = ["doctor"]

_MARKS = {"ok": "ok", "warning": "warn", "failed": "FAIL", "skipped": "skip"}
_COLOURS = {"ok": "green", "warning": "yellow", "failed": "red", "skipped": None}
_INDENT = 6
_NARROWEST = 30
_SLOW = 1.0  # seconds


@click.command()
@server_options
@click.option("--inference-url", metavar="URL", help="Base URL of an inference server (default: the Hugging Face router).")
@click.option(
    "--skip",
    multiple=True,
    metavar="NAME",
    help="A check, or a group of checks, to leave out; may be repeated.",
    shell_complete=complete_names("chat", "environment", "hub", "inference", "installation", "network"),
)
@click.option("--send", is_flag=True, help="Also send a message of a few words; its conversation is deleted again.")
@click.option("--strict", is_flag=True, help="Count warnings as problems, in the exit code.")
@json_option
@click.pass_context
def doctor(
    context: click.Context,
    url: str | None,
    local: bool,
    impersonate: str | None,
    timeout: float | None,
    inference_url: str | None,
    skip: tuple[str, ...],
    send: bool,
    strict: bool,
    as_lines: bool,
) -> None:
    """Check the installation, the logins and the servers: what works, what does not, and the remedy.

    Nothing is changed, and without --send no model is called. The report has no secret. --timeout limits each check (10
    seconds). The exit code is 1 if something does not work.
    """
    from hfclient import __version__
    from hfclient.doctor import check, summary

    given = {"impersonate": impersonate, "inference_url": inference_url}
    options: Any = {name: value for name, value in given.items() if value}
    results: list[Check] = []
    seconds = 10.0 if timeout is None else timeout
    output = Output()
    printer = _Printer(output)
    if not as_lines:
        printer.line(f"hfclient {__version__}")
    for result in check(url=url, local=local, seconds=seconds, skip=skip, send=send, **options):
        results.append(result)
        if as_lines:
            output.write_json(result.to_dict())
        else:
            printer.check(result)
    printer.flush()
    counts = {status: sum(result.status == status for result in results) for status in _MARKS}
    is_bad = bool(counts["failed"] or (strict and counts["warning"]))
    if as_lines:
        output.write_json({"ok": not is_bad, "version": __version__, "counts": counts, "summary": summary(results)})
    else:
        printer.line("")
        printer.paragraph(summary(results), bold=True)
    context.exit(1 if is_bad else 0)


class _Printer:
    """Prints results as they come: wrapped to the width of a terminal, one line each in a pipe."""

    def __init__(self, output: Output) -> None:
        self._colours = output.has_colour
        self._width = max(_NARROWEST, output.width) if output.is_terminal else 0
        self._group: str | None = None
        self._skipped: list[Check] = []  # with the same reason

    def check(self, result: Check) -> None:
        """Print a result; checks that are skipped for the same reason get one line."""
        before = self._skipped[-1] if self._skipped else None
        if before is not None and (before.group, before.status, before.detail) != (result.group, result.status, result.detail):
            self.flush()
        if result.status == "skipped":
            self._skipped.append(result)
        else:
            self._print(result, result.name)

    def flush(self) -> None:
        """Print the skipped checks that are waiting for others with the same reason."""
        if self._skipped:
            waiting, self._skipped = self._skipped, []
            self._print(waiting[0], ", ".join(one.name for one in waiting))

    def _print(self, result: Check, name: str) -> None:
        if result.group != self._group:
            self._group = result.group
            self.line("")
            self.line(self._styled(result.group.capitalize(), bold=True))
        mark = self._styled(f"{_MARKS[result.status]:4}", fg=_COLOURS[result.status], dim=result.status == "skipped")
        taken = f" ({result.seconds:.1f} s)" if result.seconds >= _SLOW else ""
        text = self._wrapped(f"{name}: {result.detail}{taken}", _INDENT)
        self.line(f"{mark}  {text}")
        if result.remedy:
            self.line(" " * _INDENT + self._styled(self._wrapped(f"-> {result.remedy}", _INDENT), bold=result.status == "failed"))

    def paragraph(self, text: str, *, bold: bool = False) -> None:
        self.line(self._styled(self._wrapped(text, 0), bold=bold))

    def line(self, text: str) -> None:
        click.echo(text, color=self._colours)

    def _wrapped(self, text: str, indent: int) -> str:
        text = stripped(text)
        if not self._width:
            return text
        lines = textwrap.wrap(text, self._width - indent, break_on_hyphens=False, break_long_words=False) or [""]  # URLs stay whole
        return f"\n{' ' * indent}".join(lines)

    def _styled(self, text: str, **style: Any) -> str:
        given = {name: value for name, value in style.items() if value}  # False would write a code, too
        return click.style(text, **given) if self._colours and given else text
