"""``hfclient video``: a video from a text, an image, or both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hfclient.cli.commands.inputs import file_from, text_from
from hfclient.cli.commands.saving import Target, print_saved, saving_options
from hfclient.cli.options import InferenceCall, inference_options
from hfclient.cli.output import Output
from hfclient.cli.rendering.status import warn
from hfclient.cli.usage_counts import add_count

if TYPE_CHECKING:
    from hfclient.inference import Job, Video

__all__ = ["video"]

_MAX_STATE = 1024 * 1024


@click.command()
@click.argument("prompt", nargs=-1)
@inference_options
@saving_options
@click.option("--image", "source", metavar="FILE", help="First frame (a file, a URL, or - for standard input).")
@click.option("--size", metavar="WxH", help="Size in pixels, such as 1280x720.")
@click.option("--aspect-ratio", metavar="W:H", help="Shape instead of a size, such as 16:9.")
@click.option("--frames", "num_frames", type=int, metavar="N", help="Number of frames.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="For the same video again.")
@click.option("--steps", type=int, metavar="N", help="Number of denoising steps.")
@click.option("--guidance", type=float, metavar="X", help="How closely to follow the prompt.")
@click.option("--negative", metavar="TEXT", help="What not to show.")
@click.option("--detach", is_flag=True, help="Print the state of the queued job instead of waiting.")
@click.option("--resume", metavar="FILE", help="Wait for the job whose state --detach has printed into FILE (or -).")
def video(
    prompt: tuple[str, ...],
    call: InferenceCall,
    target: str | None,
    overwrite: bool,
    source: str | None,
    negative: str | None,
    detach: bool,
    resume: str | None,
    **settings: Any,
) -> None:
    """Make a video of PROMPT, save it and print its path. It takes minutes; Ctrl-C cancels the job.

    With --detach the job continues at the provider: hfclient video ... --detach > job.json, and later
    hfclient video --resume job.json.
    """
    output = Output()
    place = Target(target, 1, overwrite, output)
    if resume is not None:
        if prompt or source or detach:
            raise click.UsageError("--resume takes neither a prompt nor --image nor --detach")
        state = _state_in(resume)
        with call.client() as client:
            _finish(client.inference.restore_job(state), place, output, call.as_lines)
        return
    text = "" if source and not prompt else text_from(prompt, 'hfclient video "a fox runs through snow" -m ...')
    options = call.arguments(negative_prompt=negative, **settings)
    if source is not None:
        options["image"] = file_from(source)
    with call.client() as client:
        job = client.inference.video_job(text, **options)
        if detach and not job.is_finished:
            output.write_json(job.to_dict())
            return
        _finish(job, place, output, call.as_lines)


def _finish(job: Job[Video], place: Target, output: Output, as_lines: bool) -> None:
    try:
        made = job.result()[0]
    except KeyboardInterrupt:
        if not job.is_finished and not job.cancel():
            warn(f"the job could not be cancelled at {job.provider}, which may charge for it")
        raise
    add_count("video", made.model, made.provider, results=1)
    path = place.save(made)
    if path is not None:
        print_saved(output, made, path, as_lines=as_lines)


def _state_in(name: str) -> dict[str, Any]:
    source = file_from(name)
    try:
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
        state = json.loads(data[:_MAX_STATE])
    except OSError as error:
        raise click.UsageError(f"{name} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        state = None
    if not isinstance(state, dict):
        raise click.UsageError(f"{name} does not hold the state of a job")
    return state
