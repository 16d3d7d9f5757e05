"""``hfclient models``: the models of a chat server, of an inference server, and of the Hub."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from hfclient import HFClientError
from hfclient.cli.options import json_option, open_client, open_inference, server_options
from hfclient.cli.output import Output
from hfclient.cli.rendering.tables import print_table

if TYPE_CHECKING:
    from hfclient import HubModel, Model, ServedModel

__all__ = ["models"]

_SORTS = ("trending", "likes", "downloads", "created", "modified")


@click.group(invoke_without_command=True)
@server_options
@click.option("--inference", is_flag=True, help="List the models of Hugging Face's router instead, with prices and context.")
@click.option("--inference-url", metavar="URL", help="List the models of this OpenAI-compatible server instead.")
@json_option
@click.pass_context
def models(
    context: click.Context, /, as_lines: bool, inference: bool, inference_url: str | None, **server: Any
) -> None:
    """List the models of the server, its default first.

    That is the chat server. The router's prices are US dollars for a million tokens.
    """
    if context.invoked_subcommand is not None:
        return
    if inference or inference_url:
        if server["url"] or server["impersonate"]:
            raise click.UsageError("--url and --impersonate are for chat servers; --inference has --inference-url")
        with open_inference(inference_url, server["local"], server["timeout"]) as client:
            _print_served(client.inference.models(), as_lines)
        return
    with open_client(**server) as client:
        found = list(client.models)
    output = Output()
    if as_lines:
        for model in found:
            output.write_json(model.to_dict())
        return
    rows = [(model.id, ",".join(_abilities(model)), model.description) for model in found]
    print_table(output, ("MODEL", "ABILITIES", "DESCRIPTION"), rows)


@models.command("search")
@click.argument("words", nargs=-1)
@click.option("--task", metavar="NAME", help='Only models for this task, such as "text-to-image".')
@click.option("--provider", metavar="NAME", help='Only models that this inference provider serves; "all" for any provider.')
@click.option("--author", metavar="NAME", help="Only models of this user or organisation.")
@click.option(
    "--sort",
    type=click.Choice(_SORTS),
    default="trending",
    show_default=True,
    help="Order; the highest first.",
)
@click.option("-n", "--limit", type=click.IntRange(1), default=20, show_default=True, help="Most models to list.")
@click.option("--timeout", type=float, metavar="SECONDS", help="Maximum time of each request.")
@json_option
def _search(words: tuple[str, ...], as_lines: bool, timeout: float | None, limit: int, **filters: Any) -> None:
    """Search the Hub for models whose names contain WORDS."""
    output = Output()
    with open_inference(None, False, timeout) as client:
        found = client.inference.models(search=" ".join(words) or None, limit=limit, **filters)
        if as_lines:
            for model in found:
                output.write_json(_of_hub(model))
            return
        kept: list[HubModel] = []
        try:
            kept.extend(found)
        except HFClientError:  # of a later page
            if not kept:
                raise
            _print_hub(output, kept)
            raise
    _print_hub(output, kept)


def _abilities(model: Model) -> Iterator[str]:
    can = {"route": model.is_router, "images": model.multimodal, "tools": model.supports_tools, "reasoning": model.supports_reasoning}
    return (name for name, able in can.items() if able)


def _print_served(found: Iterable[ServedModel], as_lines: bool) -> None:
    output = Output()
    if as_lines:
        for model in found:
            output.write_json(_of_server(model))
        return
    rows = []
    for model in found:
        offer = model.cheapest
        can = [name for name, able in (("images", model.supports_images), ("tools", model.supports_tools)) if able]
        prices = (None, None) if offer is None else (_price(offer.input_price), _price(offer.output_price))
        rows.append((model.id, _tokens(model.context_length), *prices, offer and offer.provider, ",".join(can)))
    titles = ("MODEL", "CONTEXT", "INPUT", "OUTPUT", "CHEAPEST", "ABILITIES")
    if any(row[2:] != (None, None, None, "") for row in rows):
        print_table(output, titles, rows, right=("CONTEXT", "INPUT", "OUTPUT"))
    else:  # not the router
        print_table(output, titles[:2], [row[:2] for row in rows], right=("CONTEXT",))


def _print_hub(output: Output, found: Iterable[HubModel]) -> None:
    rows = [(model.id, model.task, model.downloads, model.likes, ",".join(model.live_providers)) for model in found]
    print_table(output, ("MODEL", "TASK", "DOWNLOADS", "LIKES", "PROVIDERS"), rows, right=("DOWNLOADS", "LIKES"))


def _of_server(model: ServedModel) -> dict[str, Any]:
    offers = [
        {
            "provider": offer.provider,
            "status": offer.status,
            "context_length": offer.context_length,
            "input_price": offer.input_price,
            "output_price": offer.output_price,
            "supports_tools": offer.supports_tools,
            "supports_structured_output": offer.supports_structured_output,
            "first_token": offer.first_token,
            "throughput": offer.throughput,
        }
        for offer in model.offers
    ]
    return {
        "id": model.id,
        "owned_by": model.owned_by,
        "context_length": model.context_length,
        "input_modalities": list(model.input_modalities),
        "output_modalities": list(model.output_modalities),
        "offers": offers,
    }


def _of_hub(model: HubModel) -> dict[str, Any]:
    return {
        "id": model.id,
        "task": model.task,
        "author": model.author,
        "downloads": model.downloads,
        "likes": model.likes,
        "gated": model.gated,
        "providers": list(model.live_providers),
        "created_at": model.created_at,
        "modified_at": model.modified_at,
    }


def _price(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}" if value >= 0.01 or value == 0 else f"{value:.4f}"


def _tokens(value: int | None) -> str | None:
    return None if value is None else f"{value:,}"
