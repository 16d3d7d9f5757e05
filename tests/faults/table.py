"""The expected result of each fault in each operation: the table that test_matrix.py checks and that the documentation shows.

    python -m tests.faults.table            writes it into docs/reliability.rst

A cell is ``"answer"`` (the right one), ``"as sent"`` (what the server sent, which cannot be told from the right one), or the name of an
error, followed by the name of the deadline.
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
        says: The result in all columns except those in `other`; None where the fault does not apply.
        other: The result in single columns.
        again: The columns in which the request is repeated.
        timeouts: The deadlines that are short in this row, in seconds; the others do not expire.
        late: Text came before the fault.
        text: The answer of a stream, if it is not the usual one.
        curl: The result with impersonation where it differs; nothing is repeated there.
    """

    name: str
    fault: Fault
    says: str | None
    other: dict[str, str | None] = field(factory=dict)
    again: frozenset[str] = NO_COLUMNS
    timeouts: dict[str, float] = field(factory=dict)
    late: bool = False
    text: str | None = None
    curl: dict[str, str | None] = field(factory=dict)

    def outcome(self, column: str, transport: str = "plain") -> str | None:
        if transport == "impersonate" and column in self.curl:
            return self.curl[column]
        return self.other.get(column, self.says)

    def asks_again(self, column: str, transport: str = "plain") -> bool:
        return column in self.again and not (transport == "impersonate" and column in self.curl)


def row(
    name: str,
    fault: Fault,
    says: str | None,
    *,
    again: frozenset[str] = NO_COLUMNS,
    timeouts: dict[str, float] | None = None,
    late: bool = False,
    text: str | None = None,
    curl: dict[str, str | None] | None = None,
    **other: str | None,
) -> Row:
    """Return a row; results that differ from *says* are given by column."""
    return Row(name, fault, says, other, again, timeouts or {}, late, text, curl or {})


_FIRST, _NEXT = "TransportTimeout (first_token)", "TransportTimeout (next_token)"
_IDLE, _TOTAL = "TransportTimeout (idle)", "TransportTimeout (total)"
_CUT = "StreamInterrupted"
_ALL = frozenset(COLUMNS)
_LIMITED = READS | {"image"}  # a limit of requests says that nothing was done, so that even what costs is asked for again
_FETCHED = frozenset({"read", "served", "file", "call", "result"})  # also when their answer breaks off
_HEADLESS: dict[str, str | None] = {"turn": "answer", "alone": _CUT}
_LOST: dict[str, str | None] = {"turn": _CUT, "alone": _CUT}  # whether the message arrived is not known, and it did not
_BROKEN: dict[str, str | None] = {**_HEADLESS, "stream": _CUT}
_ALL_CAME: dict[str, str | None] = {"turn": "answer", "alone": "answer", "stream": "answer"}
_NO_JSON: dict[str, str | None] = {"create": "NotAChatServer", "read": "NotAChatServer"}
_SAVED: dict[str, str | None] = {"file": "as sent", "result": "as sent"}

CONNECTION = [
    row("refused", f.refused, "ConnectError", again=_ALL),
    row("reset before the head", f.played(RESET), "ConnectError", again=READS, **_HEADLESS),
    row("closed before the head", f.played(FIN), "ConnectError", again=READS, **_HEADLESS),
    row("half-closed before the head", f.played(HALF, SILENCE), "ConnectError", again=READS, **_HEADLESS),
    row("reset in the head", f.in_head(RESET), "ConnectError", again=READS, **_HEADLESS),
    row("closed in the head", f.in_head(FIN), "ConnectError", again=READS, **_HEADLESS),
    row("reset after the head", f.after_head(RESET), "ConnectError", again=_FETCHED | {"stream"}, **_BROKEN),
    row("closed after the head", f.after_head(FIN), "ConnectError", again=_FETCHED | {"stream"}, **_BROKEN),
    row("reset in mid-line", f.in_body(RESET), "ConnectError", again=_FETCHED, late=True, **_BROKEN),
    row("closed in mid-line", f.in_body(FIN), "ConnectError", again=_FETCHED, late=True, **_BROKEN),
    row("half-closed in mid-line", f.in_body(HALF, SILENCE), "ConnectError", again=_FETCHED, late=True, **_BROKEN),
]

_SHORT = {"first_token": 0.3, "idle": 0.3}
_FOR_CONTENT: dict[str, str | None] = dict.fromkeys(("turn", "alone", "stream", "call", "image"), _FIRST)

SILENT = [
    row("silence before the head", f.played(SILENCE), _IDLE, timeouts=_SHORT, **{**_FOR_CONTENT, "turn": "answer"}),
    row("silence after the head", f.after_head(SILENCE), _IDLE, timeouts=_SHORT, **_FOR_CONTENT),
    row("silence in mid-line", f.in_body(SILENCE), _IDLE, timeouts={"idle": 1.0}, late=True, **_HEADLESS),
    row(
        "keep-alives only",
        f.alive,
        _TOTAL,
        timeouts={"first_token": 0.3, "total": 0.6},
        **_FOR_CONTENT,
    ),
    row(
        "keep-alives only, in mid-answer",
        f.stalled,
        _TOTAL,
        timeouts={"next_token": 0.3, "total": 1.0},
        late=True,
        **dict.fromkeys(_FOR_CONTENT, _NEXT),
    ),
]

BYTES = [
    row(
        "truncated gzip",
        f.body(f.packed, "Content-Encoding: gzip"),
        "ConnectError",
        curl={**dict.fromkeys(("served", "call", "image"), "ProtocolError"), **_NO_JSON},  # libcurl notices nothing
        again=_FETCHED | {"stream"},
        **_BROKEN,
    ),
    row("labelled gzip, not compressed", f.body(lambda good: b"no gzip", "Content-Encoding: gzip"), "ProtocolError"),
    row(
        "Content-Length too small",
        f.length(lambda good: good.cut, FIN),
        "ProtocolError",
        late=True,
        **{**_BROKEN, **_NO_JSON, **_SAVED},
    ),
    row(
        "Content-Length too large, closed",
        f.length(lambda good: len(good.body) + 10, FIN),
        "ConnectError",
        again=_FETCHED,
        **_ALL_CAME,
    ),
    row(
        "Content-Length too large, silence",
        f.length(lambda good: len(good.body) + 10, SILENCE),
        _IDLE,
        timeouts={"idle": 0.3},
        **_ALL_CAME,
    ),
    row(
        "a chunk longer than it says",
        f.chunks(lambda good: b"%x\r\n%b\r\n" % (good.cut, good.body)),
        "ConnectError",
        again=_FETCHED,
        late=True,
        **_BROKEN,
    ),
    row(
        "a chunk shorter than it says",
        f.chunks(lambda good: b"%x\r\n%b\r\n" % (len(good.body) + 20, good.body)),
        "ConnectError",
        again=_FETCHED,
        **_ALL_CAME,
    ),
    row(
        "a chunk without a size",
        f.chunks(lambda good: b"many\r\n%b\r\n" % good.body),
        "ConnectError",
        again=_FETCHED | {"stream"},
        **_BROKEN,
    ),
    row("a line of 100 MB", f.long_line, "ProtocolError", late=True, file=None),
    row("Content-Length of 4 GB", f.promise, "ProtocolError", file="ConnectError", again=frozenset({"file"})),
    row(
        "a chunk of 4 GB",
        f.chunks(lambda good: b"100000000\r\n" + good.body),
        "ConnectError",
        again=_FETCHED,
        **_ALL_CAME,
    ),
    row(
        "invalid UTF-8",
        f.in_mid_body(f.invalid_utf8),
        "ProtocolError",
        late=True,
        text="Hello, \ufffd\ufffdwörld!",
        stream="answer",
        **{**_NO_JSON, **_SAVED},
    ),
    row("invalid JSON", f.in_mid_body(f.invalid_json), "ProtocolError", late=True, **{**_NO_JSON, **_SAVED}),
    row(
        "HTML in mid-stream",
        f.in_mid_body(lambda good: PAGE),
        "ProtocolError",
        late=True,
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
        again=frozenset({"stream"}),
        file="as sent",
        **{**_BROKEN, **_NO_JSON},
    ),
]

STATUSES = [
    row("100 and 103 before the answer", f.early(f.CONTINUE, f.HINTS), "answer"),
    row("endless 103", f.early(*[f.HINTS * 100] * 200), "ProtocolError"),
    row("101", f.played(f.UPGRADE, FIN), "ConnectError", again=READS, **_HEADLESS),
    row(
        "204",
        f.played(f.EMPTY),
        "ProtocolError",
        again=frozenset({"stream"}),
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
    row("408", f.status(408), "APIStatusError", again=READS, **_LOST),
    row("409", f.status(409), "ConflictError"),
    row("410", f.status(410), "ModelGone"),
    row("413", f.status(413), "RequestTooLargeError"),
    row("422", f.status(422), "BadRequestError"),
    row("429", f.status(429), "RateLimitError", again=_LIMITED),
    row("429, Retry-After: 0", f.status(429, None, "Retry-After: 0"), "RateLimitError", again=_LIMITED),
    row("429, Retry-After: an hour", f.status(429, None, "Retry-After: 3600"), "RateLimitError"),
    row("429, Retry-After: a date", f.status(429, None, "Retry-After: {date}"), "RateLimitError"),
    row("429, Retry-After: nonsense", f.status(429, None, "Retry-After: soon"), "RateLimitError", again=_LIMITED),
    row("500", f.status(500), "ServerError"),
    row("502", f.status(502), "ServerError", again=READS, **_LOST),
    row("503", f.status(503), "ServerError", again=READS),
    row(
        "503 with estimated_time",
        f.status(503, {"error": "loading", "estimated_time": 0.2}),
        "ServerError",
        again=_LIMITED,
        timeouts={"total": 2.0},
    ),
    row("504", f.status(504), "ServerError", again=READS, **_LOST),
]

REDIRECTS = [
    row("to a login page", f.redirect(302, "{here}/login"), "AuthenticationError", result="ProtocolError"),
    row("to another host, 302", f.redirect(302, "{elsewhere}/x"), "APIStatusError", result="answer"),
    row("to another host, 307", f.redirect(307, "{elsewhere}/x"), "APIStatusError", result="answer"),
    row("in a loop", f.loop, "APIStatusError", again=_ALL),
    row("http to https", f.redirect(301, "https://127.0.0.1:1/"), "APIStatusError", result="ConnectError", again=frozenset({"result"})),
    row("https to http", f.redirect(301, "{elsewhere}/x"), "APIStatusError", result="answer"),
]

SECTIONS = {
    "The connection": CONNECTION,
    "Silence": SILENT,
    "The bytes": BYTES,
    "The status": STATUSES,
    "A redirect": REDIRECTS,
}
ROWS = [row for rows in SECTIONS.values() for row in rows]


def rst() -> str:
    """Return the table as reStructuredText."""
    lines = []
    for title, rows in SECTIONS.items():
        lines += [f".. list-table:: {title}", "   :header-rows: 1", "   :class: faults", ""]
        for cells in ([["what goes wrong", *COLUMNS.values()]], *([_cells(row)] for row in rows)):
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
            found.append(outcome + (" ↻" if row.asks_again(column) else ""))
            if column in row.curl:
                found[-1] += f" (impersonated: {row.curl[column]})"
    return found


def page(text: str) -> str:
    """Return the page of the documentation with the table as it is now."""
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise SystemExit("the page has no place for the table")
    return f"{before}{begin}\n{rst()}\n{end}{after}"


if __name__ == "__main__":
    PAGE_OF_DOCS.write_text(page(PAGE_OF_DOCS.read_text("utf-8")), "utf-8")
