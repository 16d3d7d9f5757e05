"""What ``hfclient batch`` reads: a file or standard input, the options of the call, and the plan of ``--dry-run``."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hfclient.cli.options import InferenceCall
from hfclient.cli.output import Output, as_json

if TYPE_CHECKING:
    from hfclient.batch.calls import Call
    from hfclient.batch.formats.sources import Source
    from hfclient.batch.items import Item, Items
    from hfclient.inference import InferenceClient

__all__ = ["columns_of", "open_input", "options_of", "read_input", "show_plan"]

_CHARACTERS = 4  # of a token, for an estimate
_OF_THE_BATCH = ("checkpoint", "column", "executor", "ordered", "price", "progress", "service", "template", "workers")


def open_input(file: str, kind: str | None, limit: int | None, stack: contextlib.ExitStack) -> Source:
    """Return the rows of a file, or of standard input for ``-``.

    Standard input is copied into a temporary file: then a wrong line costs no request, and the number of items is known.

    Args:
        file: Its name.
        kind: Its format; None goes by the name, or for standard input by its first character.
        limit: Only so many rows.
        stack: Removes the temporary file.
    """
    from hfclient.batch.formats.files import open_file
    from hfclient.batch.formats.sources import First

    path, ending = Path(file), None if kind is None else f".{kind}"
    if file == "-":
        if sys.stdin is None or sys.stdin.isatty():
            raise click.UsageError("- is standard input, as in: hfclient batch - -o out.jsonl < prompts.txt")
        path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hfclient-"))) / "input"
        with path.open("wb") as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy)
        if ending is None:
            with path.open("rb") as copy:
                ending = ".jsonl" if copy.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[", b'"') else ".txt"
    source: Source = open_file(path, ending)
    if file == "-":
        source.name = "standard input"
    return source if limit is None else First(source, limit)


def columns_of(columns: Sequence[str], template: str | None) -> dict[str, Any]:
    """Return ``column=`` and ``template=`` for the options of the command."""
    chosen: dict[str, str] = {}
    for text in columns:
        option, equals, column = text.partition("=")
        if not equals or not option.isidentifier():
            option, column = "input", text
        if option in chosen:
            raise click.UsageError(f"--column: there are two columns for the {option}, {chosen[option]!r} and {column!r}")
        chosen[option] = column
    return {name: value for name, value in {"column": chosen or None, "template": template}.items() if value is not None}


def options_of(call: InferenceCall, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of `InferenceClient.map`: those of the call, and those of the batch."""
    named: dict[str, Any] = {}
    for text in given["options"]:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise click.UsageError(f'--option {text}: write NAME=VALUE, such as "top_p=0.9"')
        if name in _OF_THE_BATCH:
            raise click.UsageError(f"--option {name}: this is not an option of the call")
        try:
            named[name] = json.loads(value)
        except ValueError:
            named[name] = value
    own = {
        "system_prompt": given["system"],
        "max_tokens": given["max_tokens"],
        "temperature": given["temperature"],
        "workers": given["workers"],
        "rate": given["rate"],
        "tokens": given["tokens"],
        "cache": True if given["cache"] else None,
        "service": given["service"],
    }
    if call.timeout is not None:
        from hfclient import Timeouts

        own["timeouts"] = Timeouts(first_token=600.0, idle=600.0, total=call.timeout)
    return {**named, **call.arguments(**own)}


def read_input(
    inference: InferenceClient, source: Source, method: str, options: Mapping[str, Any], columns: Mapping[str, Any], prefix: str
) -> tuple[Call, Items]:
    """Return the call and the items, after a look at all of them: what is wrong with the input is an error before a checkpoint is made.

    Raises:
        InvalidInputError: An item cannot be read, or the input has a column of the output.
    """
    from hfclient.batch.calls import call_for
    from hfclient.batch.formats.result_files import check_columns
    from hfclient.batch.items import read_items
    from hfclient.batch.options import split_options

    try:
        called = call_for(inference, method, split_options({**options})[1])
    except TypeError as error:  # an unknown option
        raise click.UsageError(str(error)) from None
    items = read_items(source, **columns, options=called.item_options, check=called.check)
    if not items.are_requests:
        check_columns(items.columns or (), prefix)
    return called, items


def show_plan(inference: InferenceClient, called: Call, items: Items, *, as_lines: bool) -> None:
    """Print the number of items, an estimate of their tokens, and the first request."""
    count = characters = 0
    first: Item | None = None
    for item in items:
        first = first or (item if item.error is None else None)
        count += 1
        characters += _length(item.input)
    request = None if first is None else _request(inference, called, first, items.are_requests)
    if as_lines:
        Output().write_json({"items": count, "input_tokens": -(-characters // _CHARACTERS), "first_request": request})
        return
    output = Output()
    output.write(f"{count:,} items, about {-(-characters // _CHARACTERS):,} tokens of input ({_CHARACTERS} characters each)\n")
    if request is not None:
        output.write(f"The first request:\n{as_json(request, indent=2)}\n")


def _length(value: Any) -> int:
    """Return the number of characters of all texts in *value*."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(_length(part) for name, part in value.items() if name not in ("role", "type", "model"))
    return sum(map(_length, value)) if isinstance(value, (list, tuple)) else 0


def _request(inference: InferenceClient, called: Any, item: Item, is_request: bool) -> dict[str, Any]:
    if is_request:
        return {"url": item.options["url"], "body": dict(item.input)}
    from hfclient.batch.service.lines import ENDPOINTS, RequestLine

    if called.name not in ENDPOINTS:
        return {"call": called.name, "input": item.input, **item.options}
    line = json.loads(RequestLine(called, inference).write(item, "0")[0])
    return {"url": line["url"], "body": line["body"]}
