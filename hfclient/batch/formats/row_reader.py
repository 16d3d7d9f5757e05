"""`RowReader`: from the rows of a source to items."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from hfclient.arguments.option_hints import refuse_unknown
from hfclient.batch.formats.openai_requests import is_request, read_request
from hfclient.batch.formats.sources import Source
from hfclient.batch.items import Item
from hfclient.errors import InvalidInputError

__all__ = ["RowReader"]

_INPUTS = ("input", "prompt", "prompts", "messages", "text", "image", "audio")
"""Names of an item's input, where no column was chosen."""
_IDS = ("id", "custom_id")
_PLAIN = "text"  # the column of a value that is not a row


class _EmptyInput(Exception):
    """The item's input is missing or empty. That is one failed result; all other problems of rows are problems of the source."""


class RowReader:
    """Makes items of rows.

    Args:
        source: Its columns are checked.
        column, template, options, check: As in `read_items`.

    Attributes:
        are_requests: The rows so far are requests of OpenAI's batch files.

    Raises:
        InvalidInputError: A column does not exist, or the template has something else than names of columns.
    """

    def __init__(
        self,
        source: Source,
        *,
        column: str | Mapping[str, str] | None,
        template: str | None,
        options: Collection[str] | None,
        check: Callable[[Item], object] | None = None,
    ) -> None:
        chosen = {"input": column} if isinstance(column, str) else dict(column or {})
        if template is not None and "input" in chosen:
            raise InvalidInputError("pass column= or template=, not both: either one is the input")
        if not all(isinstance(value, str) for pair in chosen.items() for value in pair):
            raise InvalidInputError('column= is the name of a column, or a mapping such as {"input": "text", "id": "key"}')
        self._known = options
        self._check = check
        self._columns = source.columns
        self._parts = None if template is None else _parts(template)
        self._is_data = bool(chosen) or template is not None or source.columns is not None
        if source.columns is not None:
            wanted = [*chosen.values(), *(name for _, name, _ in self._parts or () if name is not None)]
            for name in wanted:
                if name not in source.columns:
                    raise InvalidInputError(f"{source.name} has no column {name!r}; it has {_listed(source.columns)}")
        if self._is_data and "input" not in chosen and self._parts is None:
            chosen["input"] = _only_input(source.columns, source.name) if source.columns is not None else ""
        self._input = chosen.pop("input", None)
        self._id = chosen.pop("id", None)
        self._options = chosen
        self._check_options(self._options, "column=")
        self._is_first = True
        self.are_requests = False

    def item(self, index: int, value: Any, place: Callable[[], str], problem: str | None = None) -> Item:
        """Return the item for a row; if it cannot be read, the item has the error.

        Args:
            index: The number of the item.
            value: The row, or an input.
            place: Returns where it is, for the error.
            problem: Why the row could not be read.
        """
        if isinstance(value, Item):
            return value
        try:
            if problem is not None:
                raise InvalidInputError(problem)
            try:
                item = self._read(index, value)
            except _EmptyInput as empty:
                return self._failed(index, value, f"{place()}: {empty}", is_empty=True)
            if self._check is not None and not self.are_requests:
                self._check(item)
            return item
        except InvalidInputError as error:
            return self._failed(index, value, f"{place()}: {error.message}")

    def _failed(self, index: int, value: Any, message: str, *, is_empty: bool = False) -> Item:
        """Return the item for a row that cannot be asked, with its id if that can be read."""
        name = None
        if isinstance(value, Mapping):
            name = next((value[column] for column in ([self._id] if self._is_data else _IDS) if value.get(column) is not None), None)
        given = None if is_empty else value
        return Item(index, given, id=None if name is None else str(name), source=value, error=InvalidInputError(message), is_empty=is_empty)

    def _read(self, index: int, value: Any) -> Item:
        is_row = isinstance(value, Mapping)
        if not self._is_data:
            request = is_row and is_request(value)
            if self._is_first:
                self._is_first, self.are_requests = False, request
            if request != self.are_requests:
                raise InvalidInputError(_MIXED if request else _NO_REQUEST)
            if request:
                return read_request(index, value)
        if self._is_data:
            return self._of_row(index, value if is_row else {_PLAIN: value}, value)
        if is_row:
            return self._of_dict(index, value)
        if _is_empty(value):
            raise _EmptyInput("the input is empty")
        return Item(index, value)

    def _of_row(self, index: int, row: Mapping[str, Any], source: Any) -> Item:
        """Return the item of a row of data."""
        if self._parts is not None:
            given: Any = _filled(self._parts, row)
        else:
            name = self._input or _only_input(tuple(row), "the row")
            given = _plain(_field(row, name))
            if _is_empty(given):
                raise _EmptyInput(f"the column {name!r} is empty")
        options = {}
        for option, name in self._options.items():
            value = _plain(_field(row, name))
            if value is not None:  # the batch's own holds
                options[option] = value
        identity = None if self._id is None else _plain(_field(row, self._id))
        if self._id is not None and identity is None:
            raise InvalidInputError(f"the column {self._id!r}, the id, is empty")
        return Item(index, given, options, None if identity is None else str(identity), source)

    def _of_dict(self, index: int, row: Mapping[str, Any]) -> Item:
        """Return the item of a dict with an input and options."""
        if "role" in row and "content" in row:
            raise InvalidInputError("this is one message of a conversation; an item is a list of messages, [messages]")
        found = [name for name in _INPUTS if name in row]
        if len(found) != 1:
            raise InvalidInputError(
                f"it has {' and '.join(map(repr, found))}; choose one with column="
                if found
                else f"it has no input ({', '.join(map(repr, _INPUTS))}): choose one of {_listed(tuple(row))} with column="
            )
        options = {name: value for name, value in row.items() if name not in _IDS and name != found[0]}
        self._check_options(options, f"it has {found[0]!r} and other fields")
        given = row[found[0]]
        if _is_empty(given):
            raise _EmptyInput(f"the field {found[0]!r} is empty")
        identity = next((row[name] for name in _IDS if row.get(name) is not None), None)
        return Item(index, given, options, None if identity is None else str(identity), row)

    def _check_options(self, options: Iterable[str], what: str) -> None:
        if self._known is None:
            return
        try:
            refuse_unknown("map", options, self._known)
        except TypeError as error:
            hint = "" if what == "column=" else "; if the other fields are data, name the input with column="
            raise InvalidInputError(f"{error}{hint}") from None


_MIXED = "this is a request of OpenAI's batch files, and the first line is not"
_NO_REQUEST = 'this is not a request of OpenAI\'s batch files ("custom_id", "method", "url", "body"), as the first line is'


def _only_input(columns: Sequence[str], what: str) -> str:
    """Return the column that must be the input: the only one, or the only one with a usual name."""
    usual = [name for name in columns if name in _INPUTS]
    if len(columns) == 1:
        return columns[0]
    if len(usual) == 1:
        return usual[0]
    raise InvalidInputError(f"{what} has several columns; name the input with column= or template=: {_listed(columns)}")


def _field(row: Mapping[str, Any], name: str) -> Any:
    try:
        return row[name]
    except KeyError:
        raise InvalidInputError(f"there is no column {name!r}; the row has {_listed(tuple(row))}") from None


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:20])) + (", ..." if len(names) > 20 else "") if names else "no columns"


def _is_empty(value: Any) -> bool:
    """Whether this is not an input: a missing value, or a text without a character that can be seen."""
    return not value.strip() if isinstance(value, str) else value is None or _is_missing(value)


def _is_missing(value: Any) -> bool:
    """Whether this is what a library of tables has in an empty cell."""
    return value != value if isinstance(value, float) else type(value).__name__ in ("NAType", "NaTType")


def _plain(value: Any) -> Any:
    """Return a value of a table without the types of the library: None for its missing values, a list for an array."""
    if value is None or isinstance(value, (str, int, dict)):
        return value
    if _is_missing(value):
        return None
    return value.tolist() if type(value).__module__.partition(".")[0] == "numpy" else value


_WIDE = re.compile(r"\d{5}")  # a width of a gigabyte
_Part = tuple[str, "str | None", str]


def _parts(template: str) -> list[_Part]:
    """Return the parts of a template: text, the column that follows it, and how to write its value.

    The names are only looked up in the row: there is no way to an attribute or an item of a value.
    """
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        raise InvalidInputError(f"template= is not complete: {error}; a brace of the text is written twice") from None
    parts = []
    for text, name, form, conversion in parsed:
        if name is not None and (not name or name.isdigit() or conversion or "{" in (form or "") or _WIDE.search(form or "")):
            raise InvalidInputError(f"template= has {{{name}{f'!{conversion}' if conversion else ''}{f':{form}' if form else ''}}}; braces hold the name of a column")
        parts.append((text, name, form or ""))
    if not any(name is not None for _, name, _ in parts):
        raise InvalidInputError('template= names no column, such as "Translate: {text}"')
    return parts


def _filled(parts: Iterable[_Part], row: Mapping[str, Any]) -> str:
    pieces = []
    for text, name, form in parts:
        pieces.append(text)
        if name is not None:
            value = _plain(_field(row, name))
            if value is None:  # an empty text may be one of several parts
                raise _EmptyInput(f"the column {name!r} is empty")
            try:
                pieces.append(value if isinstance(value, str) and not form else format(value, form))
            except (TypeError, ValueError) as error:
                raise InvalidInputError(f"the column {name!r} cannot be written as {{{name}:{form}}}: {error}") from None
    return "".join(pieces)
