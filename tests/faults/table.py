"""The expected outcome of each fault in each operation: the table for the matrix of tests and for the documentation.

    python -m tests.faults.table            writes it into docs/reliability.rst

A cell is ``"answer"`` (the right result), ``"as sent"`` (wrong bytes that cannot be detected), or the name of an error, for a
deadline followed by its name.
"""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen

from tests.faults import faults as f
from tests.faults.faults import FIN, HALF, PAGE, RESET, SILENCE, Fault

COLUMNS = {
    "turn": "a message",
    "alone": "a message, no log",
    "create": "a new conversation",
    "read": "lists of the chat server",
    "served": "models for inference",
    "file": "a file of a chat",
    "stream": "a completion",
    "call": "an embedding",
    "image": "an image",
    "result": "an image's file",
}
STREAMS = frozenset({"turn", "alone", "stream"})
READS = frozenset({"read", "served", "file", "stream", "call", "result"})
NO_COLUMNS: frozenset[str] = frozenset()
PAGE_OF_DOCS = Path(__file__).parents[2] / "docs" / "reliability.rst"
_BEGIN, _END = ".. The table is written by \"python -m tests.faults.table\".\n", ".. The end of the table.\n"


@frozen
class Row:
    """One fault.

    Attributes:
        name: Shown in the table.
        fault: What the server does.
        default: Outcome in all columns but those of `by_column`; None if the fault does not apply.
        by_column: Outcomes in single columns.
        retried: Columns whose request is sent again.
        timeouts: Deadlines that may pass in this row, in seconds; the others are not reached.
        after_text: Text arrives before the fault.
        text: The text of a stream, if it is not the usual one.
        curl: Outcomes with impersonation that differ; those requests are not sent again.
    """

    name: str
    fault: Fault
    default: str | None
    by_column: dict[str, str | None] = field(factory=dict)
    retried: frozenset[str] = NO_COLUMNS
    timeouts: dict[str, float] = field(factory=dict)
    after_text: bool = False
    text: str | None = None
    curl: dict[str, str | None] = field(factory=dict)

    def outcome(self, column: str, transport: str = "plain") -> str | None:
        if transport == "impersonate" and column in self.curl:
            return self.curl[column]
        return self.by_column.get(column, self.default)

    def is_retried(self, column: str, transport: str = "plain") -> bool:
        return column in self.retried and not (transport == "impersonate" and column in self.curl)


def row(
    name: str,
    fault: Fault,
    default: str | None,
    *,
    retried: frozenset[str] = NO_COLUMNS,
    timeouts: dict[str, float] | None = None,
    after_text: bool = False,
    text: str | None = None,
    curl: dict[str, str | None] | None = None,
    **other: str | None,
) -> Row:
    """Return a row; outcomes that differ from *default* are given by column."""
    return Row(name, fault, default, other, retried, timeouts or {}, after_text, text, curl or {})


_FIRST, _NEXT = "TransportTimeout (first_token)", "TransportTimeout (next_token)"
_IDLE, _TOTAL = "TransportTimeout (idle)", "TransportTimeout (total)"
_CUT = "StreamInterrupted"
_ALL = frozenset(COLUMNS)
_LIMITED = READS | {"image"}  # a rate limit means that nothing was done, so requests that cost money are sent again too
_FETCHED = frozenset({"read", "served", "file", "call", "result"})  # also if the body breaks off
_NO_HEADERS: dict[str, str | None] = {"turn": "answer", "alone": _CUT}
_LOST: dict[str, str | None] = {"turn": _CUT, "alone": _CUT}  # whether the message arrived is unknown, and it did not
_BROKEN: dict[str, str | None] = {**_NO_HEADERS, "stream": _CUT}
_COMPLETE: dict[str, str | None] = {"turn": "answer", "alone": "answer", "stream": "answer"}
_NO_JSON: dict[str, str | None] = {"create": "NotAChatServer", "read": "NotAChatServer"}
_SAVED: dict[str, str | None] = {"file": "as sent", "result": "as sent"}

CONNECTION = [
    row("refused", f.refused, "ConnectError", retried=_ALL),
    row("reset before the headers", f.play(RESET), "ConnectError", retried=READS, **_NO_HEADERS),
    row("closed before the headers", f.play(FIN), "ConnectError", retried=READS, **_NO_HEADERS),
    row("half-closed before the headers", f.play(HALF, SILENCE), "ConnectError", retried=READS, **_NO_HEADERS),
    row("reset in the headers", f.in_headers(RESET), "ConnectError", retried=READS, **_NO_HEADERS),
    row("closed in the headers", f.in_headers(FIN), "ConnectError", retried=READS, **_NO_HEADERS),
    row("reset after the headers", f.after_headers(RESET), "ConnectError", retried=_FETCHED | {"stream"}, **_BROKEN),
    row("closed after the headers", f.after_headers(FIN), "ConnectError", retried=_FETCHED | {"stream"}, **_BROKEN),
    row("reset in a line", f.in_body(RESET), "ConnectError", retried=_FETCHED, after_text=True, **_BROKEN),
    row("closed in a line", f.in_body(FIN), "ConnectError", retried=_FETCHED, after_text=True, **_BROKEN),
    row("half-closed in a line", f.in_body(HALF, SILENCE), "ConnectError", retried=_FETCHED, after_text=True, **_BROKEN),
]

_SILENT = {"first_token": 5.0, "idle": 5.0}  # they pass when the server says so
_FOR_CONTENT: dict[str, str | None] = dict.fromkeys(("turn", "alone", "stream", "call", "image"), _FIRST)

SILENT = [
    row("silence before the headers", f.play(SILENCE), _IDLE, timeouts=_SILENT, **{**_FOR_CONTENT, "turn": "answer"}),
    row("silence after the headers", f.after_headers(SILENCE), _IDLE, timeouts=_SILENT, **_FOR_CONTENT),
    row("silence in a line", f.in_body(SILENCE), _IDLE, timeouts={"idle": 5.0}, after_text=True, **_NO_HEADERS),
    row(
        "keep-alives only",
        f.keep_alives,
        _TOTAL,
        timeouts={"first_token": 1.0, "total": 1000.0},
        **_FOR_CONTENT,
    ),
    row(
        "keep-alives only, during an answer",
        f.stalled,
        _TOTAL,
        timeouts={"next_token": 1.0, "total": 1000.0},
        after_text=True,
        **dict.fromkeys(_FOR_CONTENT, _NEXT),
    ),
]

BYTES = [
    row(
        "truncated gzip",
        f.body(f.half_gzip, "Content-Encoding: gzip"),
        "ConnectError",
        curl={**dict.fromkeys(("served", "call", "image"), "ProtocolError"), **_NO_JSON},  # libcurl does not detect it
        retried=_FETCHED | {"stream"},
        **_BROKEN,
    ),
    row("labelled gzip, not compressed", f.body(lambda good: b"not gzip", "Content-Encoding: gzip"), "ProtocolError"),
    row(
        "Content-Length too small",
        f.length(lambda good: good.cut, FIN),
        "ProtocolError",
        after_text=True,
        **{**_BROKEN, **_NO_JSON, **_SAVED},
    ),
    row(
        "Content-Length too large, closed",
        f.length(lambda good: len(good.body) + 10, FIN),
        "ConnectError",
        retried=_FETCHED,
        **_COMPLETE,
    ),
    row(
        "Content-Length too large, silence",
        f.length(lambda good: len(good.body) + 10, SILENCE),
        _IDLE,
        timeouts={"idle": 5.0},
        **_COMPLETE,
    ),
    row(
        "a chunk longer than it says",
        f.chunks(lambda good: b"%x\r\n%b\r\n" % (good.cut, good.body)),
        "ConnectError",
        retried=_FETCHED,
        after_text=True,
        **_BROKEN,
    ),
    row(
        "a chunk shorter than it says",
        f.chunks(lambda good: b"%x\r\n%b\r\n" % (len(good.body) + 20, good.body)),
        "ConnectError",
        retried=_FETCHED,
        **_COMPLETE,
    ),
    row(
        "a chunk without a size",
        f.chunks(lambda good: b"many\r\n%b\r\n" % good.body),
        "ConnectError",
        retried=_FETCHED | {"stream"},
        **_BROKEN,
    ),
    row("a line of 100 MB", f.long_line, "ProtocolError", after_text=True, file=None),
    row("Content-Length of 4 GB", f.huge_length, "ProtocolError", file="ConnectError", retried=frozenset({"file"})),
    row(
        "a chunk of 4 GB",
        f.chunks(lambda good: b"100000000\r\n" + good.body),
        "ConnectError",
        retried=_FETCHED,
        **_COMPLETE,
    ),
    row(
        "invalid UTF-8",
        f.in_mid_body(f.invalid_utf8),
        "ProtocolError",
        after_text=True,
        text="Hello, \ufffd\ufffdwörld!",
        stream="answer",
        **{**_NO_JSON, **_SAVED},
    ),
    row("invalid JSON", f.in_mid_body(f.invalid_json), "ProtocolError", after_text=True, **{**_NO_JSON, **_SAVED}),
    row(
        "HTML in a stream",
        f.in_mid_body(lambda good: PAGE),
        "ProtocolError",
        after_text=True,
        stream="answer",
        **{**_NO_JSON, **_SAVED},
    ),
    row(
        "HTML instead",
        f.body(lambda good: PAGE, "Content-Type: text/html"),
        "ProtocolError",
        turn="answer",
        alone="NotAChatServer",
        file="as sent",
        **_NO_JSON,
    ),
    row(
        "an empty body",
        f.body(lambda good: b""),
        "ProtocolError",
        retried=frozenset({"stream"}),
        file="as sent",
        **{**_BROKEN, **_NO_JSON},
    ),
]

STATUSES = [
    row("100 and 103 before the response", f.before_response(f.CONTINUE, f.HINTS), "answer"),
    row("endless 103", f.before_response(*[f.HINTS * 100] * 200), "ProtocolError"),
    row("101", f.play(f.UPGRADE, FIN), "ConnectError", retried=READS, **_NO_HEADERS),
    row(
        "204",
        f.play(f.EMPTY),
        "ProtocolError",
        retried=frozenset({"stream"}),
        file="as sent",
        **{**_BROKEN, **_NO_JSON},
    ),
    row("400", f.status(400), "BadRequestError"),
    row("401", f.status(401), "AuthenticationError"),
    row("402", f.status(402), "CreditsExhausted"),
    row("403", f.status(403), "PermissionDeniedError"),
    row("403 with a challenge page", f.page(403, f.CHALLENGE), "CloudflareChallenge"),
    row("404", f.status(404), "NotFoundError", create="NotAChatServer", read="NotAChatServer"),
    row("405", f.status(405), "APIStatusError"),
    row("408", f.status(408), "APIStatusError", retried=READS, **_LOST),
    row("409", f.status(409), "ConflictError"),
    row("410", f.status(410), "ModelGone"),
    row("413", f.status(413), "RequestTooLargeError"),
    row("422", f.status(422), "BadRequestError"),
    row("429", f.status(429), "RateLimitError", retried=_LIMITED),
    row("429, Retry-After: 0", f.status(429, None, "Retry-After: 0"), "RateLimitError", retried=_LIMITED),
    row("429, Retry-After: an hour", f.status(429, None, "Retry-After: 3600"), "RateLimitError"),
    row("429, Retry-After: a date", f.status(429, None, "Retry-After: {date}"), "RateLimitError"),
    row("429, Retry-After: nonsense", f.status(429, None, "Retry-After: soon"), "RateLimitError", retried=_LIMITED),
    row("500", f.status(500), "ServerError"),
    row("502", f.status(502), "ServerError", retried=READS, **_LOST),
    row("503", f.status(503), "ServerError", retried=READS),
    row("503 with estimated_time", f.loading, "ServerError", retried=_LIMITED, timeouts={"total": 3.005}),
    row("504", f.status(504), "ServerError", retried=READS, **_LOST),
]

REDIRECTS = [
    row("to a login page", f.redirect(302, "{here}/login"), "AuthenticationError", result="ProtocolError"),
    row("to another host, 302", f.redirect(302, "{elsewhere}/x"), "APIStatusError", result="answer"),
    row("to another host, 307", f.redirect(307, "{elsewhere}/x"), "APIStatusError", result="answer"),
    row("in a loop", f.redirect_loop, "APIStatusError", retried=_ALL),
    row("http to https", f.redirect(301, "https://127.0.0.1:1/"), "APIStatusError", result="ConnectError", retried=frozenset({"result"})),
    row("https to http", f.redirect(301, "{elsewhere}/x"), "APIStatusError", result="answer"),
]

SECTIONS = {
    "The connection": CONNECTION,
    "Silence": SILENT,
    "The body": BYTES,
    "The status": STATUSES,
    "A redirect": REDIRECTS,
}
ROWS = [row for rows in SECTIONS.values() for row in rows]


def rst() -> str:
    """Return the table as reStructuredText."""
    lines = []
    for title, rows in SECTIONS.items():
        lines += [f".. list-table:: {title}", "   :header-rows: 1", "   :class: faults", ""]
        for cells in ([["fault", *COLUMNS.values()]], *([_cells(row)] for row in rows)):
            for first, *others in cells:
                lines.append(f"   * - {first}")
                lines += [f"     - {cell}" for cell in others]
        lines.append("")
    return "\n".join(lines)


def _cells(row: Row) -> list[str]:
    found = [row.name]
    for column in COLUMNS:
        outcome = row.outcome(column)
        if outcome is None:
            found.append("–")
        else:
            found.append(outcome + (" ↻" if row.is_retried(column) else ""))
            if column in row.curl:
                found[-1] += f" (impersonated: {row.curl[column]})"
    return found


def page(text: str) -> str:
    """Return the documentation's page with the current table."""
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise SystemExit("the page has no place for the table")
    return f"{before}{begin}\n{rst()}\n{end}{after}"


if __name__ == "__main__":
    PAGE_OF_DOCS.write_text(page(PAGE_OF_DOCS.read_text("utf-8")), "utf-8")
