"""Values of a relay: a run, its end, the ids of its events."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from hfclient import Conversation
from hfclient.errors import HFClientError, InvalidInputError
from hfclient.web.errors import InvalidRequest, RunFailed
from hfclient.web.problems import problem
from hfclient.web.relay.encoding import pack, unpack
from hfclient.web.relay.store import Record, Status

if TYPE_CHECKING:
    from hfclient import ChatStream, Client

__all__ = [
    "End",
    "Run",
    "chat_of",
    "described",
    "error_of",
    "event_id",
    "generator_lost",
    "number_after",
    "pack_state",
    "unpack_state",
    "valid_id",
]

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,14}")


@frozen
class End:
    """How a run ended.

    Attributes:
        status: One of the three ends.
        last: The number of its last event.
        problem: For a failed run, the error: the body of `hfclient.web.problem`, with ``detail``.
        usage: Token counts, if the service sent them.
    """

    status: Status
    last: int
    problem: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None

    @property
    def shown(self) -> dict[str, Any] | None:
        """The problem without ``detail``, the text of the error, which may name hosts and quote the service."""
        return None if self.problem is None else {name: value for name, value in self.problem.items() if name != "detail"}

    def pack(self) -> bytes:
        """Return it as bytes for a store."""
        return pack({"problem": self.problem, "usage": self.usage})

    @classmethod
    def of(cls, record: Record) -> End:
        """Return the end of a run that has ended."""
        data = unpack(record.end) if record.end else {}
        return cls(record.status, record.last, data.get("problem"), data.get("usage"))


@frozen(kw_only=True)
class Run:
    """A run as it was at one moment.

    Attributes:
        id: Its id, which cannot be guessed.
        key: The application's key.
        owner: Its owner, or None.
        status: ``"queued"``, ``"running"``, ``"completed"``, ``"interrupted"`` (stopped, with the text so far) or ``"failed"``.
        created: Seconds since 1970.
        last: The number of events so far.
        state: The ``state=`` of `Relay.start`: plain JSON types.
        chat: For an answer of a chat, once it has begun: the ``conversation`` (`Conversation.to_dict`) and the ``generation_id``, without secrets.
        problem: For a failed run: ``status``, ``code``, ``title``, ... of `hfclient.web.problem`, without ``detail``: a browser may see it. The log
            has the text of the error, and so has the `RunFailed` of a follower.
        usage: Token counts of a run that has ended, if the service sent them: the fields of `hfclient.events.Usage`.
    """

    id: str
    key: str
    owner: str | None = None
    status: Status = "queued"
    created: float = 0.0
    last: int = 0
    state: Any = field(default=None, repr=False)
    chat: dict[str, Any] | None = field(default=None, repr=False)
    problem: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None

    @property
    def ended(self) -> bool:
        """Whether the run has ended."""
        return self.status in ("completed", "interrupted", "failed")

    def attach(self, client: Client) -> ChatStream:
        """Return the stream of this answer from its start: the chat server's log has it, also if the process that asked has died.

        Args:
            client: A client with the login of the one that asked.

        Raises:
            InvalidInputError: The run is not a chat, or has not begun.
            HFClientError: As `Conversation.attach`.
        """
        if self.chat is None:
            raise InvalidInputError("this run is not an answer of a chat, or has not begun")
        return client.restore(self.chat["conversation"]).attach(self.chat["generation_id"])

    @classmethod
    def of(cls, record: Record) -> Run:
        """Return the run of a record."""
        end = End.of(record) if record.ended else None
        state, chat = unpack_state(record.state)
        return cls(
            id=record.id, key=record.key, owner=record.owner, status=record.status, created=record.created, last=record.last,
            state=state, chat=chat, problem=end.shown if end else None, usage=end.usage if end else None,
        )  # fmt: skip


def chat_of(source: object) -> dict[str, Any] | None:
    """Return what another process needs to read the answer of a chat; None for other sources."""
    conversation = getattr(source, "conversation", None)
    if not isinstance(conversation, Conversation) or conversation.id is None:
        return None
    return {"conversation": conversation.to_dict(), "generation_id": getattr(source, "generation_id", None)}


def pack_state(state: Any, chat: dict[str, Any] | None = None) -> bytes | None:
    """Return `Run.state` and `Run.chat` as bytes for a store; None without both."""
    return None if state is None and chat is None else pack([state, chat])


def unpack_state(data: bytes | None) -> tuple[Any, dict[str, Any] | None]:
    """Return the values of `pack_state`."""
    state, chat = (None, None) if data is None else unpack(data)
    return state, chat


def valid_id(run_id: object) -> bool:
    """Whether *run_id* can be the id of a run."""
    return isinstance(run_id, str) and _ID.fullmatch(run_id) is not None


def event_id(run_id: str, number: int, position: tuple[int, int, int] | None = None) -> str:
    """Return the id of an event; with its *position* if the store may not have it yet: see `hfclient.web.relay.position`."""
    return f"{run_id}:{number}" if position is None else "{}.{}.{}.{}:{}".format(run_id, *position, number)


def number_after(run_id: str, after: str | None) -> tuple[int, tuple[int, int, int] | None]:
    """Return the number of the event with the id *after*, 0 for the start, and its position, if the id has it.

    Raises:
        InvalidRequest: It is not an id of an event of this run.
    """
    if after is None or not after.strip():
        return 0, None
    name, _, number = after.strip().rpartition(":")
    run, *position = name.split(".", 4)
    if len(position) == 3 and all(map(_NUMBER.fullmatch, (*position, number))) and run == run_id:
        text, reasoning, others = map(int, position)
        return int(number), (text, reasoning, others)
    if position or run != run_id or _NUMBER.fullmatch(number) is None:
        what = "of another run" if valid_id(run) and _NUMBER.fullmatch(number) else "not an id of an event"
        raise InvalidRequest(f'Last-Event-ID is {what}; leave it out, or send "" to get the answer from its start')
    return int(number), None


def error_of(end: End) -> RunFailed:
    """Return the error that the readers of a failed run get."""
    given = end.problem or {}
    return RunFailed(f"the answer failed: {given.get('detail') or given.get('title') or 'for an unknown reason'}", problem=given)


def generator_lost() -> RunFailed:
    """Return the error of a run whose process has ended without a word."""
    return RunFailed(
        "the process that generated this answer has ended in the middle of it",
        problem={"type": "about:blank", "title": "The answer broke off. Please try again.", "status": 502, "code": "generator-lost"},
    )


def described(error: BaseException) -> dict[str, Any]:
    """Return *error* as the problem of a failed run."""
    if not isinstance(error, HFClientError) and not isinstance(error, Exception):
        error = HFClientError(f"the run was ended by {type(error).__name__}")
    try:
        return problem(error, details=True).body
    except Exception:  # noqa: BLE001 (an exception of the application that cannot be described: its `__str__` fails)
        return problem(HFClientError(type(error).__name__), details=True).body
