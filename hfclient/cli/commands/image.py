"""``hfclient image``: images from a text, or from a text and an image."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import click

from hfclient.cli.commands.inputs import file_from, text_from
from hfclient.cli.commands.saving import Target, print_saved, saving_options
from hfclient.cli.options import InferenceCall, inference_options
from hfclient.cli.output import Output
from hfclient.cli.rendering.pictures import detect, draw
from hfclient.cli.rendering.status import warn
from hfclient.cli.usage_counts import add_count
from hfclient.errors import HFClientError

if TYPE_CHECKING:
    from hfclient.inference import Image, InferenceClient

__all__ = ["image"]

_SEEDS = 2**32


@click.command()
@click.argument("prompt", nargs=-1)
@inference_options
@saving_options
@click.option("-n", "--number", type=click.IntRange(1, 64), default=1, show_default=True, help="Number of images.")
@click.option("--size", metavar="WxH", help="Size in pixels, such as 1024x768.")
@click.option("--width", type=int, metavar="PIXELS", help="Width; together with --height.")
@click.option("--height", type=int, metavar="PIXELS", help="Height; together with --width.")
@click.option("--aspect-ratio", metavar="W:H", help="Shape instead of a size, such as 16:9.")
@click.option("--seed", type=click.IntRange(0, _SEEDS - 1), help="For the same image again; the next image has the next seed.")
@click.option("--steps", type=int, metavar="N", help="Number of denoising steps.")
@click.option("--guidance", type=float, metavar="X", help="How closely to follow the prompt.")
@click.option("--negative", metavar="TEXT", help="What not to show.")
@click.option("--image", "source", metavar="FILE", help="Change this image (a file, a URL, or - for standard input).")
@click.option("--metadata/--no-metadata", default=True, help="Write prompt, model and seed into the file (default: yes).")
@click.option("--preview/--no-preview", default=None, help="Show the image here (default: if the terminal can).")
def image(
    prompt: tuple[str, ...],
    call: InferenceCall,
    target: str | None,
    overwrite: bool,
    number: int,
    source: str | None,
    negative: str | None,
    metadata: bool,
    preview: bool | None,
    **settings: Any,
) -> None:
    """Make images of PROMPT, save them and print their paths.

    Without words, or with "-", the prompt is read from standard input. Each image is saved as soon as it is made.
    """
    output = Output()
    text = "" if source and not prompt else text_from(prompt, 'hfclient image "a red fox in the snow"')
    place = Target(target, number, overwrite, output)
    options = call.arguments(negative_prompt=negative, **settings)
    if source is not None:
        options["image"] = file_from(source)
    protocol = None if place.is_stdout or call.as_lines or preview is False else detect(output)
    if preview and protocol is None:
        warn("the preview is left out: this terminal is not known to show pictures (HFCLIENT_PICTURES names its protocol)")

    def keep(made: Image) -> None:
        add_count("image", made.model, made.provider, results=1)
        path = place.save(made, metadata=None if metadata else False)
        if path is not None:
            draw(output, made.content, protocol)
            print_saved(output, made, path, as_lines=call.as_lines)

    with call.client() as client:
        _make(client.inference, text, number, options, keep)


def _make(inference: InferenceClient, text: str, number: int, options: dict[str, Any], keep: Any) -> None:
    """Make *number* images, with as few requests as the provider allows, and keep each at once."""
    made = 0
    seed = options.get("seed")
    try:
        while made < number:
            if seed is not None:
                options["seed"] = (seed + made) % _SEEDS
            with inference.image_job(text, n=number - made, **options) as job:
                for one in job.result()[: number - made]:
                    made += 1
                    keep(one)
    except HFClientError as error:
        for one in error.completed:
            with contextlib.suppress(HFClientError):
                keep(one)
                made += 1
        if number > 1 and made:
            warn(f"{made} of {number} images were made and saved")
        raise
    except KeyboardInterrupt:
        if number > 1:
            warn(f"{made} of {number} images were made and saved")
        raise
