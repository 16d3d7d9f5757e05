"""``hfclient usage``: the account behind the token, and what this machine's commands have used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hfclient.cli.options import json_option, open_inference
from hfclient.cli.output import Output
from hfclient.cli.rendering.status import warn
from hfclient.cli.rendering.tables import cell, print_table
from hfclient.cli.usage_counts import VARIABLE, Count, forget_counts, is_counting, read_counts, usage_file
from hfclient.errors import CredentialsError, HFClientError

if TYPE_CHECKING:
    from hfclient import Client
    from hfclient.inference import Account, ServedModel

__all__ = ["usage"]

_UNKNOWN = (
    "The Hub does not tell a token which credits are left: see https://huggingface.co/settings/billing.\n"
    "Chat servers do not count tokens for their users, so chats at HuggingChat are not in this list.\n"
)


@click.command()
@click.option("--days", type=click.IntRange(1), default=30, show_default=True, metavar="N", help="Counts of the last N days.")
@click.option("--cost", is_flag=True, help="Estimate the cost of tokens at the router's prices of today.")
@click.option("--no-account", is_flag=True, help="Only the counts of this machine; nothing is sent.")
@click.option("--forget", is_flag=True, help="Delete the counts of this machine.")
@click.option("--timeout", type=float, metavar="SECONDS", help="Maximum time of each request.")
@json_option
def usage(days: int, cost: bool, no_account: bool, forget: bool, timeout: float | None, as_lines: bool) -> None:
    """Show the account of the Hub token, and what hfclient's commands have used on this machine.

    The counts are in a file that only you can read: day, command, model, provider and numbers, never a text. They do not
    contain what other programs and machines use. HFCLIENT_USAGE=0 switches them off.
    """
    output = Output()
    if forget:
        forget_counts()
        click.echo("The counts of this machine were deleted.", err=True)
        return
    counts = read_counts(days)
    account: Account | None = None
    prices: dict[str, ServedModel] = {}
    failure: HFClientError | None = None
    if not no_account or cost:
        with open_inference(None, False, timeout) as client:
            try:
                account = None if no_account else _account(client)
                prices = {model.id: model for model in client.inference.models()} if cost else {}
            except HFClientError as error:  # the counts are shown all the same
                failure = error
    costs = [_cost(one, prices) for one in counts]
    if as_lines:
        rows = [{**one.to_dict(), "cost": price} for one, price in zip(counts, costs, strict=True)]
        output.write_json({"account": None if account is None else _plain(account), "counts": rows})
    else:
        if account is not None:
            _print_account(output, account)
        _print_counts(output, counts, costs if cost else None)
        output.note(_UNKNOWN.partition("\n")[0])
        output.note(_UNKNOWN.partition("\n")[2])
        if not is_counting():
            output.note(f"{VARIABLE} switches the counts off.")
    if failure is not None:
        raise failure


def _account(client: Client) -> Account | None:
    try:
        return client.inference.account()
    except CredentialsError as error:
        warn(error.message)
        return None


def _print_account(output: Output, account: Account) -> None:
    plan = {True: "PRO", False: "free", None: None}[account.is_pro]
    token = " ".join(filter(None, (account.token_name, account.token_role and f"({account.token_role})")))
    facts = {
        "Account": account.name if account.type == "user" else f"{account.name} ({account.type})",
        "Plan": plan if account.type == "user" else None,
        "Can pay": _yes(account.can_pay),
        "Billing": account.billing_mode,
        "Period ends": account.period_end and account.period_end.strftime("%Y-%m-%d"),
        "Token": token or None,
        "Token ends": account.token_end and account.token_end.strftime("%Y-%m-%d"),
    }
    for name, value in facts.items():
        if value is not None:
            output.write(f"{name + ':':13}{cell(value)}\n")
    if account.organisations:
        output.write("\n")
        rows = [(one.name, one.role, _yes(one.can_pay), _yes(one.is_enterprise)) for one in account.organisations]
        print_table(output, ("ORGANISATION", "ROLE", "CAN PAY", "ENTERPRISE"), rows)
    output.write("\n")


def _print_counts(output: Output, counts: list[Count], costs: list[float | None] | None) -> None:
    if not counts:
        output.write(f"There are no counts in {usage_file()}.\n")
        return
    titles: tuple[str, ...] = ("DAY", "COMMAND", "MODEL", "CALLS", "RESULTS", "INPUT", "OUTPUT", "PROVIDER")
    rows: list[tuple[Any, ...]] = [
        (one.day, one.command, one.model, one.calls, one.results, one.prompt_tokens or None, one.completion_tokens or None, one.provider)
        for one in counts
    ]
    right = ("CALLS", "RESULTS", "INPUT", "OUTPUT", "US DOLLARS")
    if costs is not None:
        titles += ("US DOLLARS",)
        rows = [(*row, None if price is None else f"{price:.4f}") for row, price in zip(rows, costs, strict=True)]
    print_table(output, titles, rows, right=right, whole=2)
    if costs is not None:
        known = [price for price in costs if price is not None]
        output.write(f"\nTogether {sum(known):.4f} US dollars for {len(known)} of {len(costs)} lines, at today's prices.\n")


def _cost(count: Count, prices: dict[str, ServedModel]) -> float | None:
    """Return US dollars at the price of the provider that answered; None if a price or the tokens are unknown."""
    model = prices.get(count.model)
    if model is None or not count.prompt_tokens + count.completion_tokens:
        return None
    offer = next((offer for offer in model.offers if offer.provider == count.provider), None)
    if offer is None or offer.input_price is None or offer.output_price is None:
        return None
    return (count.prompt_tokens * offer.input_price + count.completion_tokens * offer.output_price) / 1e6


def _plain(account: Account) -> dict[str, Any]:
    from attrs import asdict

    fields = asdict(account, filter=lambda attribute, value: attribute.name != "raw")
    return {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in fields.items()}


def _yes(value: bool | None) -> str | None:
    return None if value is None else "yes" if value else "no"
