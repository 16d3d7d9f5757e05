"""``hfclient speak``: text as speech."""

from __future__ import annotations

import click

from hfclient.cli.commands.inputs import text_from
from hfclient.cli.commands.saving import Target, print_saved, saving_options
from hfclient.cli.options import InferenceCall, inference_options
from hfclient.cli.output import Output
from hfclient.cli.usage_counts import add_count

__all__ = ["speak"]


@click.command()
@click.argument("text", nargs=-1)
@inference_options
@saving_options
@click.option("--voice", metavar="NAME", help="One of the model's voices.")
@click.option("--format", "kind", metavar="NAME", help='Such as "mp3" or "wav".')
@click.option("--speed", type=float, metavar="X", help="1 is normal.")
def speak(
    text: tuple[str, ...],
    call: InferenceCall,
    target: str | None,
    overwrite: bool,
    voice: str | None,
    kind: str | None,
    speed: float | None,
) -> None:
    """Read TEXT aloud, save the audio and print its path.

    Without words, or with "-", the text is read from standard input. -o - writes the audio to standard output.
    """
    output = Output()
    said = text_from(text, 'hfclient speak "Good morning."')
    place = Target(target, 1, overwrite, output)
    with call.client() as client:
        audio = client.inference.speak(said, **call.arguments(voice=voice, format=kind, speed=speed))
    add_count("speak", audio.model, audio.provider, results=1)
    path = place.save(audio)
    if path is not None:
        print_saved(output, audio, path, as_lines=call.as_lines)
