"""Checks of the token at the Hub, and of the inference server."""

from __future__ import annotations

import copy
import datetime
from collections.abc import Iterable, Mapping
from typing import Any

from hfclient import Client, errors
from hfclient.credentials import HUB_URL, ROUTER_URL, is_hugging_face
from hfclient.decoding.json_values import date_or_none, list_or_empty, object_or_empty
from hfclient.doctor import answer_fields as known
from hfclient.doctor.answer_fields import compared
from hfclient.doctor.other_servers import is_chat_server
from hfclient.doctor.results import UPDATE, Finding, counted, failed, ok, skipped, warning
from hfclient.inference.server_urls import bare_url
from hfclient.transport import Request, Retry

__all__ = ["InferenceChecks"]

_TOKENS = "https://huggingface.co/settings/tokens"
_RIGHT = "inference.serverless.write"
_SOON = datetime.timedelta(days=7)
_MAX_NAMED = 8


class InferenceChecks:
    """The checks of one client's token and inference server; each method is one."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._session = copy.copy(client._session)  # without retries
        self._session.retry = Retry(attempts=1)
        self._is_router = is_hugging_face(client.inference_url)
        self._keys = [name for name, key in (client._inference_options["provider_keys"] or {}).items() if key]

    def token(self) -> Finding:
        """Ask the Hub for the account and the rights of the token.

        Reference: docs/protocol/inference ("The account of a token")
        """
        credentials = self._session.credentials
        if credentials.token is None:
            if not self._is_router or self._keys:
                return skipped("there is no token, and these servers need none")
            lacks = "there is no token, which inference at Hugging Face needs"
            remedy = f"Set HF_TOKEN to a token of {_TOKENS} with the right to call inference providers."
            # With another chat server than HuggingChat, the router is only the default.
            return warning(lacks, remedy) if is_hugging_face(self._client.base_url) else skipped(lacks)
        client = self._client
        if client.hub_url == HUB_URL and not any(map(is_hugging_face, (client.base_url, client.inference_url))):
            return skipped("the token is for servers other than Hugging Face's, which cannot be asked about it")
        url = f"{client.hub_url}/api/whoami-v2"
        if "Authorization" not in credentials.headers_for(url):
            return skipped("the token was found in the environment and is not for this Hub")
        try:
            data = self._session.send(Request.read(url)).json()
        except errors.AuthenticationError:
            return failed("the Hub does not accept the token: it was revoked, has expired, or was cut off", f"Take a new one from {_TOKENS} and set HF_TOKEN.")
        account = object_or_empty(data)
        auth = object_or_empty(account.get("auth"))
        token = object_or_empty(auth.get("accessToken"))
        role = str(token.get("role") or auth.get("type") or "unknown")
        rights = set(_rights(object_or_empty(token.get("fineGrained"))))
        parts = [f"{account.get('name')}, {'fine-grained' if role == 'fineGrained' else role}"]
        if role == "fineGrained":
            parts.append(f"rights: {', '.join(sorted(rights)[:_MAX_NAMED]) or 'none'}")
        if payers := list(_payers(account)):
            parts.append(f"can pay: {', '.join(payers[:_MAX_NAMED])}")
        if (end := _end(token, auth)) is not None:
            parts.append(f"ends {end:%Y-%m-%d}")
            if end - datetime.datetime.now(datetime.timezone.utc) < _SOON:
                return warning("; ".join(parts), f"Take a new token from {_TOKENS}")
        if role == "fineGrained" and _RIGHT not in rights and self._is_router:
            return warning(
                f"{'; '.join(parts)}; it may not call inference providers ({_RIGHT} is missing)",
                f'Edit the token at {_TOKENS}: "Make calls to Inference Providers".',
            )
        return compared("; ".join(parts), (known.HUB_USER, [data]))

    def inference(self) -> Finding:
        """List the models of the inference server.

        Reference: GET {base}/v1/models
        """
        base = self._client.inference_url
        where = f"{base} serves" if base != ROUTER_URL else "the router serves"
        if self._is_router and self._session.credentials.token is None and not self._keys:
            return skipped("there is no token for Hugging Face inference")
        url = self._client.inference.models_url
        try:
            data = self._session.send(Request.read(url)).json()
        except errors.AuthenticationError as error:
            sent = "Authorization" in self._session.credentials.headers_for(url)
            what = "does not accept the token" if sent else "wants a token"
            return failed(f"{base} {what}: {error.message}", "Pass the key of that server: inference_key=, or HFCLIENT_INFERENCE_KEY with HFCLIENT_INFERENCE_URL.")
        except errors.NotFoundError as error:
            if found := self._other():
                return found
            return failed(f"{url} does not exist: {error.message}", "Check the base URL: it usually ends in /v1. A server without a list of models may work.")
        except errors.ProtocolError as error:
            return self._other() or failed(error.message, "Check the base URL: it usually ends in /v1.")
        entries = data.get("data", data.get("models")) if isinstance(data, Mapping) else data
        if not isinstance(entries, list):
            return self._other() or failed(f"{url} gives no list of models", UPDATE)
        if not entries:
            return failed(f"{base} serves no models", "Load a model at the server, and look into its log.")
        models = [{"id": entry} if isinstance(entry, str) else entry for entry in entries]
        models = [{"id": one.get("name") or one.get("model"), **one} if isinstance(one, dict) else one for one in models]
        offers = [offer for one in models for offer in list_or_empty(object_or_empty(one).get("providers"))]
        first = object_or_empty(models[0]).get("id")
        return compared(f"{where} {counted(len(models), 'model')}, the first is {first}", (known.SERVED_MODEL, models), (known.OFFER, offers), is_today=self._is_router)

    def _other(self) -> Finding | None:
        base = self._client.inference_url
        for place in dict.fromkeys((base, bare_url(base))):
            if is_chat_server(place, self._session.bare()):
                return failed(f"{place} is a chat-ui, not an inference server", f'Use it as the chat server: Client("{place}"), or --url {place}')
        return None

    def providers(self) -> Finding:
        """Name the providers whose own keys are used; the keys are not tried."""
        if not self._keys:
            return skipped("none: calls go through the inference server")
        return ok(f"keys for {', '.join(sorted(self._keys))}")


def _rights(fine: Mapping[str, Any]) -> Iterable[str]:
    yield from (str(right) for right in list_or_empty(fine.get("global")))
    for scope in list_or_empty(fine.get("scoped")):
        yield from (str(right) for right in list_or_empty(object_or_empty(scope).get("permissions")))


def _payers(account: Mapping[str, Any]) -> Iterable[str]:
    """Yield the account and its organisations that have a way to pay."""
    for one in (account, *list_or_empty(account.get("orgs"))):
        if isinstance(one, Mapping) and one.get("canPay") is True:
            yield str(one.get("name"))


def _end(token: Mapping[str, Any], auth: Mapping[str, Any]) -> datetime.datetime | None:
    found = next((value for value in (token.get("expiration"), token.get("expiresAt"), auth.get("expiresAt")) if value), None)
    when = date_or_none(found)
    return when if when is None or when.tzinfo else when.replace(tzinfo=datetime.timezone.utc)
