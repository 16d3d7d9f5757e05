"""``hfclient transcribe``: speech as text, with times, or as subtitles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hfclient.cli.commands.inputs import file_from
from hfclient.cli.commands.saving import overwrite_option, refuse_existing
from hfclient.cli.options import InferenceCall, inference_options
from hfclient.cli.output import Output, as_json
from hfclient.cli.rendering.tables import cell
from hfclient.cli.usage_counts import add_count
from hfclient.errors import HFClientError
from hfclient.files.saving import write_file

if TYPE_CHECKING:
    from hfclient.inference import Transcript, TranscriptChunk

__all__ = ["transcribe"]

_LAST = 3.0
"""Seconds of a part whose end is not known, if nothing follows."""


@click.command()
@click.argument("file")
@inference_options
@click.option("--timestamps", is_flag=True, help="Print the parts with their times.")
@click.option("--words", is_flag=True, help="Times of words instead of sentences.")
@click.option("--format", "kind", type=click.Choice(("text", "srt", "vtt")), help="Subtitles; default: as -o ends, or text.")
@click.option("--language", metavar="CODE", help='Language of the recording, such as "en".')
@click.option("--prompt", metavar="TEXT", help="Words to expect, for spelling.")
@click.option("-o", "--output", "target", type=click.Path(dir_okay=False), metavar="FILE", help="Save it instead of printing it.")
@overwrite_option
def transcribe(
    file: str,
    call: InferenceCall,
    timestamps: bool,
    words: bool,
    kind: str | None,
    language: str | None,
    prompt: str | None,
    target: str | None,
    overwrite: bool,
) -> None:
    """Print what is said in FILE.

    FILE is a recording, a URL, or - for standard input.
    """
    output = Output()
    path = None if target is None else Path(target)
    if path is not None:
        refuse_existing(path, overwrite)
    if kind is None:
        kind = path.suffix[1:].lower() if path is not None and path.suffix.lower() in (".srt", ".vtt") else "text"
    needs_times = timestamps or words or kind != "text"
    options = call.arguments(language=language, prompt=prompt)
    if needs_times:
        options["timestamps"] = "word" if words else True
    with call.client() as client:
        found = client.inference.transcribe(file_from(file), **options)
    add_count("transcribe", call.model, found.provider, results=1)
    if call.as_lines:
        text = as_json(found.to_dict()) + "\n"
    elif needs_times and not found.chunks:
        output.write(f"{found.text.strip()}\n")  # it may have been paid for
        raise HFClientError("the provider sent no times, so this is the text alone; another --provider or --model may send them")
    else:
        text = _written(found, kind, with_times=timestamps or words)
    if path is None:
        output.write(text)
        return
    try:
        write_file(path, [text.encode("utf-8", "replace")], overwrite=overwrite)
    except HFClientError:
        output.write(text)
        raise
    output.write(f"{path}\n")


def _written(found: Transcript, kind: str, *, with_times: bool) -> str:
    if kind == "text" and not with_times:
        return found.text.strip() + "\n"
    parts = [(start, end, cell(chunk.text)) for start, end, chunk in _timed(found.chunks)]
    if kind == "text":
        return "".join(f"[{_time(start, '.')[:-1]} - {_time(end, '.')[:-1]}] {text}\n" for start, end, text in parts)
    if kind == "srt":
        return "\n".join(
            f"{number}\n{_time(start, ',')} --> {_time(end, ',')}\n{text}\n" for number, (start, end, text) in enumerate(parts, 1)
        )
    # An arrow in a text would begin another cue; tags are markup.
    return "WEBVTT\n" + "".join(
        f"\n{_time(start, '.')} --> {_time(end, '.')}\n{_escaped(text)}\n" for start, end, text in parts
    )


def _timed(chunks: Sequence[TranscriptChunk]) -> list[tuple[float, float, Any]]:
    """Return the parts with a start and an end each, also where the provider sends none."""
    found = []
    last = 0.0
    for number, chunk in enumerate(chunks):
        start = last if chunk.start is None else max(0.0, chunk.start)
        following = next((later.start for later in chunks[number + 1 :] if later.start is not None), None)
        end = chunk.end if chunk.end is not None else following if following is not None else start + _LAST
        last = max(start, end)
        found.append((start, last, chunk))
    return found


def _time(seconds: float, point: str) -> str:
    """Return a time of subtitles.

    >>> _time(3661.5, ",")
    '01:01:01,500'
    """
    thousandths = round(min(seconds, 3.6e6) * 1000)
    minutes, rest = divmod(thousandths, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{point}{rest % 1000:03}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
