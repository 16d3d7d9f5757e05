"""``hfclient batch``: many prompts from a file, and their answers in another one."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
from attrs import asdict, define

from hfclient.cli.commands.batch_inputs import columns_of, open_input, options_of, read_input, show_plan
from hfclient.cli.options import InferenceCall, inference_options
from hfclient.cli.output import Output, as_json
from hfclient.cli.rendering.status import warn
from hfclient.cli.usage_counts import add_count
from hfclient.errors import ConnectError, HFClientError, TransportTimeout

if TYPE_CHECKING:
    from hfclient.batch import Batch, BatchResult, ServiceBatch
    from hfclient.inference import InferenceClient

__all__ = ["batch"]

_FORMATS = ("jsonl", "csv", "tsv", "parquet", "txt")
_CALLS = ("chat", "embed", "classify", "caption", "transcribe")


@click.command()
@click.argument("file")
@inference_options
@click.option("-o", "--output", "target", metavar="FILE", help="The answers: .jsonl, .csv, .tsv or .parquet; - (the default) prints them.")
@click.option("--resume", is_flag=True, help="Continue: only what has no answer yet is asked.")
@click.option("--overwrite", is_flag=True, help="Begin again: replace the output, ask everything; with --checkpoint, what it does not have.")
@click.option("--checkpoint", metavar="PATH", help="Where answers are kept until the output is complete, and after (default: beside it).")
@click.option("--format", "kind", type=click.Choice(_FORMATS), help="Of FILE (default: as it ends).")
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="NAME",
    help="The column with the input; id=NAME or OPTION=NAME: with the id, or an option of each item.",
)
@click.option("--template", metavar="TEXT", help='The input as a text with columns in braces: "Translate: {text}".')
@click.option("--prefix", metavar="TEXT", default="", help="Put in front of the names of the new columns.")
@click.option("--call", "method", type=click.Choice(_CALLS), default="chat", help="What is asked (default: chat).")
@click.option("--system", metavar="TEXT", help="System prompt.")
@click.option("--max-tokens", type=click.IntRange(1), metavar="N", help="Maximum length of an answer.")
@click.option("--temperature", type=float, metavar="NUMBER", help="0 takes the most likely token each time.")
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="Any other option of the call, as in Python.")
@click.option("--workers", type=click.IntRange(1), metavar="N", help="Most requests at a time (default: 64).")
@click.option("--rate", metavar="LIMIT", help='Most requests in a time, such as "20/second".')
@click.option("--tokens", metavar="LIMIT", help='Most tokens in a time, such as "100000/minute".')
@click.option("--service", type=click.Choice(["batch"]), help="Use the provider's batch service: within hours, for less money.")
@click.option("--cancel", is_flag=True, help="End the jobs that --service has begun; what is done is written.")
@click.option("--cache", is_flag=True, help="Take answers that earlier batches of this user have had, and keep these.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N items.")
@click.option("--retry-failed", is_flag=True, help="Ask items that failed once more at the end.")
@click.option("--dry-run", is_flag=True, help="Check FILE, count its items and show the first request; no item is asked.")
def batch(file: str, call: InferenceCall, **given: Any) -> None:
    r"""Ask a model about each line or row of FILE, and write the answers beside it.

    FILE is JSON lines, CSV, Parquet, a text with a prompt in each line, or one of OpenAI's batch files, whose requests then go to this
    server; - is standard input. --json prints the counts as JSON.

    What was interrupted continues with the same command and --resume. The exit code is 1 if items failed; their rows say why.

    \b
    Examples:
      hfclient batch prompts.txt -o out.jsonl -m Qwen/Qwen3-8B
      hfclient batch in.csv --template "Summarise: {text}" -o out.csv --resume
      hfclient batch in.jsonl -o out.jsonl --service batch --inference-url https://api.openai.com/v1
    """
    place = _Place.checked(given)
    if given["cancel"] and not (given["service"] and given["resume"]):
        raise click.UsageError("--cancel needs --service batch and --resume")
    with contextlib.ExitStack() as stack:
        source = open_input(file, given["kind"], given["limit"], stack)
        client = stack.enter_context(call.client())
        options, columns = options_of(call, given), columns_of(given["columns"], given["template"])
        called, items = read_input(client.inference, source, given["method"], options, columns, place.prefix)
        if given["dry_run"]:
            show_plan(client.inference, called, items, as_lines=call.as_lines)
            return
        if given["overwrite"]:
            options["on_change"] = "redo"
        _check_server(client.inference)
        place.prepare(overwrite=given["overwrite"])
        counts = _Counts(cost=0.0)
        for is_last in (False, True) if given["retry_failed"] else (True,):
            try:
                made = client.inference.map(items, given["method"], **options, checkpoint=place.checkpoint)
            except TypeError as error:  # an option that a file of requests has not
                raise click.UsageError(str(error)) from None
            if given["cancel"]:
                cast("ServiceBatch", made).cancel()
            counts = _run(made, place, writes=is_last or place.path is not None).after(counts)
            if place.path is not None and not counts.failed:
                break
    add_count("batch", call.model, call.provider, results=counts.answered, prompt_tokens=counts.prompt_tokens, completion_tokens=counts.completion_tokens)
    counts.report(place, as_lines=call.as_lines)
    if counts.failed:
        raise click.exceptions.Exit(1)


@define
class _Place:
    """Where the answers go."""

    path: Path | None  # None: standard output
    checkpoint: str | None
    prefix: str
    is_own: bool  # the checkpoint is the one beside the output

    @classmethod
    def checked(cls, given: dict[str, Any]) -> _Place:
        """Return the place for the options; an existing output is not replaced unless that was asked for."""
        target, checkpoint = given["target"], given["checkpoint"]
        path = None if target in (None, "-") else Path(target)
        from hfclient.batch.formats.result_files import OUTPUTS

        if path is not None and path.suffix.lower() not in OUTPUTS:
            raise click.UsageError(f"-o {path}: results are written to files that end in {', '.join(OUTPUTS)}")
        if path is not None and path.is_dir():
            raise click.UsageError(f"-o {path} is a folder; name a file")
        if given["resume"] and given["overwrite"]:
            raise click.UsageError("--resume continues and --overwrite begins again; pass one of them")
        own = None if path is None else f"{path}.checkpoint.jsonl"
        place = cls(path, checkpoint or own, given["prefix"], checkpoint is None)
        if place.checkpoint is None and (given["resume"] or given["retry_failed"]):
            raise click.UsageError("--resume and --retry-failed need -o FILE or --checkpoint PATH")
        if not given["resume"] and not given["overwrite"] and not given["dry_run"]:
            for name in (path, own if checkpoint is None else None):
                if name is not None and os.path.lexists(name):
                    raise click.UsageError(f"{name} exists already: --resume continues it, --overwrite begins again")
        return place

    def prepare(self, *, overwrite: bool) -> None:
        """Put the old checkpoint aside, to begin again. It is not deleted: its answers may have been paid for."""
        if overwrite and self.is_own and self.checkpoint is not None and os.path.lexists(self.checkpoint):
            Path(self.checkpoint).replace(f"{self.checkpoint}.old")


@define
class _Counts:
    """What came of a batch."""

    answered: int = 0
    failed: int = 0
    stored: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    seconds: float = 0.0
    first_error: str = ""

    def add(self, result: BatchResult) -> None:
        """Count *result*."""
        self.stored += result.stored and result.ok
        if result.error is None:
            self.answered += 1
            return
        self.failed += 1
        if not self.first_error:
            name = f"item {result.index}" if result.id is None else f"item {result.index} ({result.id})"
            self.first_error = f"{name}: {type(result.error).__name__}: {result.error.message}"

    def after(self, earlier: _Counts) -> _Counts:
        """Return the counts of this and an *earlier* run over the same items, whose new answers this one has found stored."""
        self.stored -= earlier.answered - earlier.stored
        self.prompt_tokens += earlier.prompt_tokens
        self.completion_tokens += earlier.completion_tokens
        self.cost = None if self.cost is None or earlier.cost is None else self.cost + earlier.cost
        self.seconds = round(self.seconds + earlier.seconds, 3)
        return self

    def report(self, place: _Place, *, as_lines: bool) -> None:
        """Write the counts to standard error, or with *as_lines* as JSON to standard output, if that has no results."""
        where = place.path
        errors = None
        if where is not None:
            from hfclient.batch.formats.result_files import errors_path

            errors = errors_path(where) if errors_path(where).exists() else where
        if as_lines:
            fields = {"output": None if where is None else str(where), "checkpoint": place.checkpoint, **asdict(self)}
            fields["first_error"] = fields["first_error"] or None
            if where is None:
                click.echo(as_json(fields), err=True)
            else:
                Output().write_json(fields)
            return
        total, asked = self.answered + self.failed, self.answered + self.failed - self.stored
        parts = [f"{self.answered:,} of {total:,} answered"]
        if self.stored:
            parts.append(f"{self.stored:,} of them before")
        if self.failed:
            parts.append(f"{self.failed:,} failed")
        if tokens := self.prompt_tokens + self.completion_tokens:
            parts.append(f"{tokens:,} tokens")
        if self.cost:
            parts.append(f"${self.cost:.4f}" if self.cost < 1 else f"${self.cost:.2f}")
        if asked and self.seconds > 1:
            parts.append(f"{asked / self.seconds:.3g} a second")
        warn(f"{', '.join(parts)}{'' if where is None else f'; the answers are in {where}'}")
        if self.failed:
            again = "; --resume asks them again" if place.checkpoint is not None else ""
            warn(f"the first that failed is {self.first_error}{'' if errors is None else f'; the errors are in {errors}'}{again}")


def _run(made: Batch, place: _Place, *, writes: bool) -> _Counts:
    """Read all results of a batch, write them, and return the counts."""
    from hfclient.cli.commands.batch_outputs import printer_or_file

    counts, started = _Counts(), time.monotonic()
    try:
        with made, printer_or_file(made, place.path, place.prefix, writes=writes) as write:
            for result in made:
                counts.add(result)
                write(result)
    except (KeyboardInterrupt, SystemExit, HFClientError) as error:
        kept = counts.answered + sum(result.ok for result in made.unread)
        if place.checkpoint is not None and (kept or not isinstance(error, HFClientError)):
            warn(f"{kept:,} answers are in {place.checkpoint}; the same command with --resume continues")
        raise
    usage = made.usage
    counts.prompt_tokens, counts.completion_tokens = usage.prompt_tokens, usage.completion_tokens
    counts.cost, counts.seconds = made.cost, round(time.monotonic() - started, 3)
    return counts


def _check_server(inference: InferenceClient) -> None:
    """Raise if there is no server: a batch would wait for it, because one that was there may come back."""
    try:
        inference.models()
    except (ConnectError, TransportTimeout):
        raise
    except HFClientError:
        return  # it does not list its models
