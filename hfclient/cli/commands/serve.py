"""``hfclient serve``: the embedded server, until Ctrl-C."""

from __future__ import annotations

import os

import click

__all__ = ["serve"]


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=3000, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 takes a free one."
)
@click.option("--upstream", metavar="URL", help="OpenAI-compatible API to use instead of the small model.")
@click.option("--model", metavar="NAME", help="The upstream's default model, or the path of a GGUF file.")
@click.option(
    "--database",
    type=click.Path(dir_okay=False),
    help='SQLite file for the conversations, or ":memory:" (default: a file in your data folder).',
)
@click.option("--base-path", default="", metavar="PATH", help='Path prefix, such as "/chat".')
@click.option(
    "--allowed-host", multiple=True, metavar="NAME", help="Host name of a proxy to accept; may be repeated."
)
def serve(
    host: str,
    port: int,
    upstream: str | None,
    model: str | None,
    database: str | None,
    base_path: str,
    allowed_host: tuple[str, ...],
) -> None:
    """Run a chat-ui-compatible server. A small model answers, or an OpenAI-compatible API.

    The API key of --upstream is read from the environment variable HFCLIENT_UPSTREAM_KEY.
    """
    from hfclient.local import serve as serve_forever

    serve_forever(
        host=host,
        port=port,
        upstream=upstream,
        model=model,
        database=database,
        api_key=os.environ.get("HFCLIENT_UPSTREAM_KEY") or None,
        base_path=base_path,
        allowed_hosts=allowed_host,
    )
