"""``hfclient embed``: vectors of texts."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from hfclient.cli.commands.inputs import lines_from
from hfclient.cli.commands.saving import overwrite_option, refuse_existing
from hfclient.cli.options import InferenceCall, inference_options
from hfclient.cli.output import Output, as_json
from hfclient.cli.rendering.status import warn
from hfclient.cli.rendering.tables import cell, print_table
from hfclient.cli.usage_counts import add_count
from hfclient.errors import HFClientError, MissingDependencyError
from hfclient.files.saving import write_file

__all__ = ["embed"]

_SHOWN = 4
"""Numbers of a vector in a table."""


@click.command()
@click.argument("texts", nargs=-1)
@inference_options
@click.option("--file", "path", metavar="FILE", help="One text in each line of FILE; - is standard input.")
@click.option("-o", "--output", "target", type=click.Path(dir_okay=False), metavar="FILE", help="Save the vectors: .jsonl or .npy.")
@overwrite_option
@click.option("--similarity", is_flag=True, help="Print how similar each further text is to the first one, best first.")
@click.option("--normalize/--no-normalize", default=None, help="Vectors of length 1.")
@click.option("--dimensions", type=click.IntRange(1), metavar="N", help="Length of the vectors, for models that can choose.")
@click.option("--prompt-name", metavar="NAME", help='One of the model\'s own prompts to put in front, such as "query".')
def embed(
    texts: tuple[str, ...],
    call: InferenceCall,
    path: str | None,
    target: str | None,
    overwrite: bool,
    similarity: bool,
    normalize: bool | None,
    dimensions: int | None,
    prompt_name: str | None,
) -> None:
    """Print a vector for each of TEXTS.

    Without TEXTS they are the lines of a file or of standard input. In a pipe, and with --json, that is one object per line with the
    text and its embedding; on a terminal it is a table with the first numbers.
    """
    output = Output()
    wanted = lines_from(texts, path, 'hfclient embed "on cats" "on dogs"')
    if similarity and len(wanted) < 2:
        raise click.UsageError("--similarity compares the first text with others: pass at least two")
    place = _checked(target, overwrite)
    options = call.arguments(normalize=normalize, dimensions=dimensions, prompt_name=prompt_name)
    failure: HFClientError | None = None
    with call.client() as client:
        try:
            vectors: Sequence[Sequence[float]] = client.inference.embed(wanted, **options)
        except HFClientError as error:
            failure, vectors = error, error.completed
    if vectors:
        add_count("embed", call.model, call.provider, results=len(vectors))
        if similarity:
            _print_similar(output, wanted, vectors, call.as_lines)
        elif place is not None:
            _save(place, wanted, vectors, overwrite)
            output.write(f"{place}\n")
        elif call.as_lines or not output.is_terminal:
            for text, vector in zip(wanted, vectors, strict=False):
                output.write_json({"text": text, "embedding": list(vector)})
        else:
            rows = [(text, len(vector), _start(vector)) for text, vector in zip(wanted, vectors, strict=False)]
            print_table(output, ("TEXT", "NUMBERS", "FIRST"), rows, right=("NUMBERS",), whole=0)
    if failure is not None:
        if vectors:
            warn(f"{len(vectors)} of {len(wanted)} texts were embedded before the error")
        raise failure


def _checked(target: str | None, overwrite: bool) -> Path | None:
    if target is None:
        return None
    place = Path(target)
    if place.suffix not in (".jsonl", ".npy"):
        raise click.UsageError("vectors are saved as .jsonl or .npy")
    refuse_existing(place, overwrite)
    if place.suffix == ".npy":
        try:
            import numpy  # noqa: F401
        except ImportError:
            raise MissingDependencyError(".npy needs numpy: pip install numpy") from None
    return place


def _save(place: Path, texts: Sequence[str], vectors: Sequence[Sequence[float]], overwrite: bool) -> None:
    if place.suffix == ".npy":
        import numpy as np

        buffer = io.BytesIO()
        np.save(buffer, np.asarray(vectors, dtype=np.float32), allow_pickle=False)
        content = buffer.getvalue()
    else:
        rows = zip(texts, vectors, strict=False)
        content = "".join(as_json({"text": text, "embedding": list(vector)}) + "\n" for text, vector in rows).encode()
    try:
        write_file(place, [content], overwrite=overwrite)
    except HFClientError:
        if not sys.stdout.isatty() and place.suffix == ".jsonl":
            sys.stdout.write(content.decode())  # it may have been paid for
        raise


def _print_similar(output: Output, texts: Sequence[str], vectors: Sequence[Sequence[float]], as_lines: bool) -> None:
    pairs = [(_cosine(vectors[0], vector), text) for vector, text in zip(vectors[1:], texts[1:], strict=False)]
    pairs.sort(key=lambda pair: -pair[0])
    if as_lines:
        for score, text in pairs:
            output.write_json({"text": text, "similarity": score})
        return
    print_table(output, ("SIMILARITY", "TEXT"), [(f"{score:.4f}", cell(text)) for score, text in pairs], right=("SIMILARITY",))


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    length = math.hypot(*one) * math.hypot(*other)
    return math.fsum(a * b for a, b in zip(one, other, strict=True)) / length if length else 0.0


def _start(vector: Sequence[float]) -> str:
    numbers = ", ".join(f"{number:.4f}" for number in vector[:_SHOWN])
    return numbers + (", ..." if len(vector) > _SHOWN else "")
