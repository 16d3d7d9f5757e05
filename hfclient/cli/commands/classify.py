"""``hfclient classify``: labels for a text, an image or audio."""

from __future__ import annotations

from pathlib import Path

import click

from hfclient.cli.commands.inputs import file_from, text_from
from hfclient.cli.options import InferenceCall, inference_options
from hfclient.cli.output import Output
from hfclient.cli.rendering.tables import bar, print_table
from hfclient.cli.usage_counts import add_count

__all__ = ["classify"]

_BAR = 30
"""Characters of the longest bar."""


@click.command()
@click.argument("text", nargs=-1)
@inference_options
@click.option("--image", "picture", metavar="FILE", help="Classify this image (a file, or - for standard input).")
@click.option("--audio", metavar="FILE", help="Classify this recording.")
@click.option("--label", "labels", multiple=True, metavar="NAME", help="A label to choose from; may be repeated.")
@click.option("--multi-label", is_flag=True, help="Several labels may be right (with --label, for texts).")
@click.option("-n", "--top", "top_k", type=click.IntRange(1), metavar="N", help="Only the N best labels.")
def classify(
    text: tuple[str, ...],
    call: InferenceCall,
    picture: str | None,
    audio: str | None,
    labels: tuple[str, ...],
    multi_label: bool,
    top_k: int | None,
) -> None:
    """Print labels for TEXT, an image or a recording.

    The best comes first. Without --label they are the model's own. Without words, or with "-", the text is read from standard input.
    """
    output = Output()
    if sum(value is not None for value in (picture, audio)) + bool(text) > 1:
        raise click.UsageError("classify one thing at a time: a text, --image or --audio")
    if multi_label and not labels:
        raise click.UsageError("--multi-label needs --label")
    source = picture or audio
    if source is None:
        inputs: Path | str | bytes = text_from(text, 'hfclient classify "I like it."')
    elif isinstance(inputs := file_from(source), str):
        raise click.UsageError("--image and --audio take files: a URL would be classified as a text")
    options = call.arguments(multi_label=True if multi_label else None, top_k=None if labels else top_k)
    with call.client() as client:
        found = client.inference.classify(inputs, list(labels) or None, **options)[:top_k]
    add_count("classify", call.model, call.provider, results=1)
    if call.as_lines:
        for one in found:
            output.write_json(one.to_dict())
        return
    rows = [(one.label, f"{one.score:.4f}") for one in found]
    if output.is_terminal:
        width = min(_BAR, max(0, output.width - max((len(one.label) for one in found), default=0) - 14))
        print_table(output, ("LABEL", "SCORE", ""), [(*row, bar(one.score, width) or " ") for row, one in zip(rows, found, strict=True)], right=("SCORE",))
    else:
        print_table(output, ("LABEL", "SCORE"), rows, right=("SCORE",))
