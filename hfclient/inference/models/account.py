"""The account behind the Hub token: its plan, and what can pay for inference."""

from __future__ import annotations

import datetime
from typing import Any

from attrs import field, frozen

from hfclient.decoding.json_values import date_or_none, list_or_empty, number_or_none, object_or_empty, text_or_none
from hfclient.errors import AuthenticationError, CredentialsError, ProtocolError
from hfclient.transport import Request, Session
from hfclient.transport.status_errors import restated

__all__ = ["Account", "Organisation", "fetch_account", "parse_account"]

_TOKENS = "https://huggingface.co/settings/tokens"


@frozen
class Organisation:
    """An organisation of the account.

    Attributes:
        name: What ``bill_to`` takes.
        role: The account's role in it, such as ``"admin"``, or None.
        can_pay: Whether it has a way to pay; None if the Hub does not say.
        is_enterprise: Whether it has an enterprise plan; None if the Hub does not say.
    """

    name: str
    role: str | None = None
    can_pay: bool | None = None
    is_enterprise: bool | None = None


@frozen
class Account:
    """The account that the Hub token belongs to. Missing values are None.

    Attributes:
        name: The account's name on the Hub.
        type: ``"user"``, ``"org"`` or ``"app"``.
        is_pro: Whether it has the plan PRO.
        can_pay: Whether it has a way to pay.
        billing_mode: Such as ``"postpaid"`` or ``"prepaid"``.
        period_end: End of the billing period, in UTC.
        organisations: Its organisations.
        token_name: The token's name in the settings on the Hub.
        token_role: ``"read"``, ``"write"``, ``"fineGrained"``, ``"oauth"``, ...
        token_end: When the token expires, in UTC.
        raw: The answer as the Hub sent it.
    """

    name: str
    type: str = "user"
    is_pro: bool | None = None
    can_pay: bool | None = None
    billing_mode: str | None = None
    period_end: datetime.datetime | None = None
    organisations: tuple[Organisation, ...] = ()
    token_name: str | None = None
    token_role: str | None = None
    token_end: datetime.datetime | None = None
    raw: dict[str, Any] = field(factory=dict, repr=False, eq=False)


def fetch_account(session: Session, hub_url: str) -> Account:
    """Return the account of the session's token; see `InferenceClient.account`."""
    url = f"{hub_url}/api/whoami-v2"
    if "Authorization" not in session.credentials.headers_for(url):
        raise CredentialsError(f"there is no token for {hub_url}: make one at {_TOKENS} and set HF_TOKEN")
    try:
        data = session.send(Request.read(url)).json()
    except AuthenticationError as error:
        raise restated(
            AuthenticationError, error, f"the Hub does not accept the token; make one at {_TOKENS} and set HF_TOKEN"
        ) from error
    return parse_account(data)


def parse_account(data: Any) -> Account:
    """Return the account in an answer of ``whoami-v2``.

    Raises:
        ProtocolError: It is not one.
    """
    name = text_or_none(data.get("name")) if isinstance(data, dict) else None
    if name is None:
        raise ProtocolError("the Hub's answer is not an account", frame=str(data)[:200])
    auth = object_or_empty(data.get("auth"))
    token = object_or_empty(auth.get("accessToken"))
    organisations = (_organisation(entry) for entry in list_or_empty(data.get("orgs")))
    return Account(
        name=name,
        type=text_or_none(data.get("type")) or "user",
        is_pro=_flag(data.get("isPro")),
        can_pay=_flag(data.get("canPay")),
        billing_mode=text_or_none(data.get("billingMode")),
        period_end=_time(data.get("periodEnd")),
        organisations=tuple(one for one in organisations if one is not None),
        token_name=text_or_none(token.get("displayName")),
        token_role=text_or_none(token.get("role")) or text_or_none(auth.get("type")),
        token_end=_time(token.get("expiresAt")) or _time(auth.get("expiresAt")),
        raw=data,
    )


def _organisation(entry: Any) -> Organisation | None:
    name = text_or_none(entry.get("name")) if isinstance(entry, dict) else None
    if name is None:
        return None
    return Organisation(name, text_or_none(entry.get("roleInOrg")), _flag(entry.get("canPay")), _flag(entry.get("isEnterprise")))


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _time(value: Any) -> datetime.datetime | None:
    """Return a time that is ISO 8601 or seconds since 1970."""
    number = number_or_none(value)
    if number is None:
        return date_or_none(value)
    try:
        return datetime.datetime.fromtimestamp(number, datetime.timezone.utc)
    except (ValueError, OverflowError, OSError):
        return None
