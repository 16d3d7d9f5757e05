"""Which providers can serve a call, and where they are reached.

The router chooses a provider for chat models only. For other models the Hub's mapping lists the providers, in the caller's
order of preference. With a Hub token a provider is reached through Hugging Face's router, with a key of its own
(``provider_keys``) on its own site. The credentials of a request depend on its URL alone.

Reference: docs/protocol/inference ("providers").
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import TypeAlias

from attrs import evolve, frozen

from hfclient.credentials import ROUTER_URL, Credentials, Secret, origin_of
from hfclient.errors import (
    CredentialsError,
    HFClientError,
    InvalidInputError,
    ModelNotFound,
    NotFoundError,
    Unsupported,
)
from hfclient.inference.models.defaults import resolve
from hfclient.inference.models.hub import Hub
from hfclient.inference.models.mapping import ProviderEntry
from hfclient.inference.providers.addresses import ADDRESSES, Target
from hfclient.inference.providers.parameters import ignored_by, providers_for, refuse_ignored
from hfclient.inference.server_urls import (
    bare_url,
    chat_url,
    is_endpoint,
    is_router,
    model_for_provider,
    refuse_url,
    root_url,
)
from hfclient.inference.unsupported_tasks import unsupported_task

__all__ = ["Candidate", "ProviderLike", "Routes", "add_keys", "check_name", "named_providers"]

ProviderLike: TypeAlias = "str | Sequence[str] | None"
"""A provider's id, several of them in the order to try, ``"auto"``, or None for the same."""

_OWN_SERVER = "openai-compatible"
_CHAT_ONLY = ("fastest", "cheapest")
_VERSION = re.compile(r"[0-9a-f]{64}")  # of a model at replicate, behind a colon
# The Hub's mapping names one task of a model that does several: sentence encoders also embed; image editors take an image and
# a text, or a text alone.
_ALSO = {
    "feature-extraction": ("sentence-similarity",),
    "sentence-similarity": ("feature-extraction",),
    "image-to-image": ("image-text-to-image",),
    "image-to-video": ("image-text-to-video",),
    "text-to-image": ("image-text-to-image",),
    "text-to-video": ("image-text-to-video",),
}
_MAX_FALLBACKS = 3


@frozen
class Candidate:
    """A provider that can serve a call.

    Attributes:
        entry: The model as this provider knows it.
        target: Where the provider is reached.
        billed: Whether ``X-HF-Bill-To`` applies: the request goes through the router, not to the provider's own site.
    """

    entry: ProviderEntry
    target: Target
    billed: bool = True

    @property
    def provider(self) -> str:
        """The provider's id."""
        return self.entry.provider


def add_keys(credentials: Credentials, keys: Mapping[str, str]) -> Credentials:
    """Return *credentials* with the providers' own *keys*, each bound to that provider's sites.

    Raises:
        InvalidInputError: The provider is unknown or has no site of its own, or the key is a Hub token.
        CredentialsError: A key has characters that a header cannot carry.
    """
    bound: dict[str, Secret] = {}
    for provider, key in keys.items():
        if key is None:  # as from os.environ.get()
            raise CredentialsError(f"the key for {provider} is None: is its variable set?")
        address = ADDRESSES.get(provider)
        if address is None or not address.sites:
            known = ", ".join(name for name, address in ADDRESSES.items() if address.sites)
            raise InvalidInputError(f"no provider {provider!r} takes a key of its own; these do: {known}")
        value = Secret("".join(key).strip())
        if not value or not value.isascii() or any(ch.isspace() for ch in value):
            raise CredentialsError(f"the key for {provider} is empty or holds characters that a key never has")
        if value.startswith(("hf_", "api_org_")):
            raise InvalidInputError(f"the key for {provider} is a Hugging Face token, which is never sent to a provider: use token=")
        bound.update((site, Secret(f"{address.scheme} {value.reveal()}")) for site in address.sites)
    return credentials.with_keys(bound) if bound else credentials


class Routes:
    """The providers that one client can reach.

    Args:
        credentials: Decide which providers can be reached.
        base_url: The client's inference server.
        hub: Lists the providers of a model.
        keys: The providers that the caller has a key of.
        router_url: Root of the router, below which each provider has a path; None takes Hugging Face's, if *base_url* is
            the router.
        only: The tasks that the server at *base_url* does, if they are known.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        base_url: str,
        hub: Hub,
        keys: Iterable[str] = (),
        router_url: str | None = None,
        only: Container[str] | None = None,
    ) -> None:
        self._only = only
        self._credentials = credentials
        self._base_url = base_url
        self._chat = Target(chat_url(base_url))
        self._is_router = is_router(base_url)
        self._hub = hub
        self._keys = frozenset(keys)
        self.router_url = (router_url or (origin_of(ROUTER_URL) if self._is_router else "")).rstrip("/") or None

    def check_able(self, task: str) -> None:
        """Raise `Unsupported` if the server at the base URL is known not to do *task*."""
        if self._only is not None and task not in self._only:
            raise unsupported_task(task)

    @property
    def own_server(self) -> bool:
        """Whether calls without a provider go to another server than the router."""
        return self.router_url is None

    @property
    def is_endpoint(self) -> bool:
        """Whether that server is a deployment at Hugging Face, which makes images in hf-inference's language."""
        return self.own_server and is_endpoint(self._base_url)

    def has_key(self, provider: str) -> bool:
        """Whether the caller has a key of the provider."""
        return provider in self._keys

    def target(self, provider: str) -> Target:
        """Return where *provider* is reached: on its own site with a key of its own, else through the router.

        Raises:
            Unsupported: The provider is unknown or cannot be reached.
            CredentialsError: It is reached through the router, and there is no token.
        """
        address = ADDRESSES.get(provider)
        if provider in self._keys and address is not None and address.direct:
            return Target(address.direct, routed=False, queue=address.queue or address.direct)
        if provider == "hf-inference" and self.router_url is None:
            return Target(bare_url(self._base_url))  # an Inference Endpoint with the same API
        if address is None:
            raise _unknown(provider)
        if not address.routed:
            raise CredentialsError(f"{provider} needs a key of its own: provider_keys={{{provider!r}: ...}}")
        if self.router_url is None:
            raise Unsupported(
                f"{provider} cannot be reached through {self._base_url}: leave inference_url at {ROUTER_URL}, or pass a key "
                f"of its own with provider_keys={{{provider!r}: ...}}"
            )
        if provider != "hf-inference" and not self._has_token():
            raise CredentialsError(
                f"{provider} needs a Hub token (https://huggingface.co/settings/tokens, with the permission to call "
                f"Inference Providers; run hfclient login --hub, set HF_TOKEN or pass token=), or a key of its own in provider_keys"
            )
        return Target(f"{self.router_url}/{provider}", routed=True)

    def candidates(
        self,
        task: str,
        model: str | None,
        provider: ProviderLike = None,
        settings: Iterable[str] = (),
        *,
        able: Container[str] | None = None,
    ) -> list[Candidate]:
        """Return the providers that can serve a call, best first; never empty.

        Args:
            task: As on the Hub, such as ``"text-to-image"``.
            model: The model's name on the Hub, with a provider's suffix or without; for a provider with a key of its own
                also what it is called there. None only for a server with one model.
            provider: The caller's choice; see `ProviderLike`.
            settings: Names of settings that must not be ignored.
            able: Names of the providers that have *task*; None takes those of images and videos.

        Raises:
            InvalidInputError: No model was named, or it has another task.
            ModelNotFound: No provider serves the model.
            Unsupported: The embedded server does not have the task; this client does not know a provider that serves the
                model and takes all *settings*.
            CredentialsError: The providers need credentials that are missing.
            APIStatusError, TransportError: The Hub refused, or did not answer.
        """
        wanted = list(settings)
        knows_ways = able is not None
        able = providers_for(task) if able is None else able
        model, names = _named(model, provider, self.own_server)
        if not names and self.own_server:
            self.check_able(task)
            if not knows_ways and _OWN_SERVER not in able:
                raise Unsupported(f"your own server does not have {task}; name a provider: {', '.join(providers_for(task))}")
            refuse_ignored(_OWN_SERVER, task, wanted)
            root = Target(root_url(self._base_url))
            return [Candidate(ProviderEntry(_OWN_SERVER, model or "", model=model or ""), root)]
        if len(names) == 1 and names[0] == "hf-inference" and self.own_server and not model:
            refuse_ignored("hf-inference", task, wanted)
            return [Candidate(ProviderEntry("hf-inference", ""), self.target("hf-inference"))]
        if not model:
            raise InvalidInputError("name a model with model= (-m NAME)")
        entries = self._named_entries(model, names, task, able) if names else self._mapped_entries(model, task, able)
        return self._open(entries, task, wanted, named=bool(names))

    def chat(self, model: str, provider: ProviderLike = None) -> list[Candidate]:
        """Return the providers for a chat completion, in order; each target is the whole URL.

        The router chooses by itself, so without a provider there is one candidate. A provider that the caller has a key
        of is reached on its own site, all others through the router, by a suffix of the model.

        Raises:
            InvalidInputError: A name cannot be that of a provider, or *model* has another provider's suffix.
            ModelNotFound: The provider that was named does not serve the model.
            Unsupported: The server is not the router, or the provider has no chat models.
            CredentialsError: The router needs a token, or the provider can only be reached with a key of its own.
        """
        names: list[str | None] = [None] if provider is None else [*_listed(provider)]
        plain, suffix = model, ""
        if not self.own_server and names == [None]:
            left, colon, last = model.rpartition(":")
            if colon and "/" in left and last in self._keys:
                plain, suffix = left, last
        found: list[Candidate] = []
        closed: HFClientError | None = None
        for name in names or [None]:
            own = name or suffix
            if own in self._keys:
                found.append(self._direct_chat(plain, own))
                continue
            try:
                self._check_reachable(own or (model.rpartition(":")[2] if not self.own_server else ""))
            except CredentialsError as error:  # another one of those named may have them
                closed = closed or error
                continue
            asked = model_for_provider(model, name, self._base_url)
            found.append(Candidate(ProviderEntry(name or "auto", asked, model=model), self._chat))
        if not found and closed is not None:
            raise closed
        return found

    def fallbacks(self, model: str, failed: str) -> list[Candidate]:
        """Return the providers for a chat completion after the router's own choice has *failed*.

        Raises:
            HFClientError: The Hub does not know the model, refused, or did not answer.
        """
        found: list[Candidate] = []
        for entry in _for_task(self._mapping(model), "conversational"):
            if entry.status == "live" and entry.provider != failed:
                with contextlib.suppress(CredentialsError, InvalidInputError, Unsupported):  # it cannot be reached
                    found += self.chat(model, entry.provider)
        return found[:_MAX_FALLBACKS]

    def _direct_chat(self, model: str, name: str) -> Candidate:
        able = [known for known, address in ADDRESSES.items() if address.chat]
        (candidate,) = self.candidates("conversational", model, name, able=able)
        route = ADDRESSES[name].chat or ""
        return evolve(candidate, target=Target(candidate.target.url(route)))

    def _check_reachable(self, provider: str) -> None:
        address = ADDRESSES.get(provider.lower())
        if address is not None and not address.routed:
            self.target(provider.lower())  # says which key is missing
        self.need_token()

    def need_token(self) -> None:
        """Raise an error if the server is the router and there is no token for it.

        Raises:
            CredentialsError: The message says how to get one.
        """
        if self._is_router and "Authorization" not in self._credentials.headers_for(self._chat.base):
            raise CredentialsError(
                "Hugging Face's router needs a token: make one at https://huggingface.co/settings/tokens (with the "
                "permission to call Inference Providers) and run hfclient login --hub, set HF_TOKEN, or pass token="
            )

    def forget(self, model: str) -> None:
        """Fetch the mapping of *model* again next time: it was wrong."""
        with contextlib.suppress(InvalidInputError):  # a provider's own name of it
            self._hub.forget(model)

    def _has_token(self) -> bool:
        return "Authorization" in self._credentials.headers_for(f"{self.router_url}/v1/models")

    def _mapped_entries(self, model: str, task: str, able: Container[str]) -> list[ProviderEntry]:
        """Return the providers that have *task* by the Hub's mapping, those that pass its checks first."""
        found = self._mapping(model)
        if not found:
            raise _not_served(model, "no inference provider serves it")
        fitting = _for_task(found, task)
        if not fitting:
            tasks = ", ".join(sorted({entry.task for entry in found}))
            raise InvalidInputError(f"{model} is not a model for {task}, but for {tasks}")
        known = [entry for entry in fitting if entry.provider in able]
        if not known:
            raise Unsupported(
                f"{model} is served by {', '.join(entry.provider for entry in fitting)}, which do not have {task} here"
            )
        return sorted(known, key=lambda entry: entry.status != "live")  # stable: the Hub's order is kept

    def _named_entries(
        self, model: str, names: Sequence[str], task: str, able: Container[str]
    ) -> list[ProviderEntry]:
        for name in names:
            if name not in able:
                others = ", ".join(other for other in ADDRESSES if other in able)
                raise Unsupported(f"{name} does not have {task} here; these do: {others}")
        if len(names) == 1:
            self.target(names[0])  # an error here saves a request to the Hub
        needed = [name for name in names if not ADDRESSES[name].hub_ids]
        found: list[ProviderEntry] = []
        if needed:
            try:
                found = self._mapping(model)
            except (NotFoundError, InvalidInputError):  # it may be the provider's own name of the model
                if not all(name in self._keys for name in needed):
                    raise
        entries = []
        for name in names:
            offers = [entry for entry in _for_task(found, task) if entry.provider == name]
            mapped = min(offers, key=lambda entry: entry.task != task, default=None)  # the same task first
            if mapped is None and not ADDRESSES[name].hub_ids and name not in self._keys:
                if len(names) > 1:
                    continue  # another one of those named may serve it
                raise _not_served(model, f"{name} does not serve it for {task}; {_offers(found)}")
            entries.append(mapped or ProviderEntry(name, model, task=task, model=model))
        if not entries:
            raise _not_served(model, f"none of {', '.join(names)} serves it for {task}; {_offers(found)}")
        return entries

    def _mapping(self, model: str) -> list[ProviderEntry]:
        return list(self._hub.model(model).providers)

    def _open(self, entries: list[ProviderEntry], task: str, settings: list[str], *, named: bool) -> list[Candidate]:
        """Return those of *entries* that can be reached and do not ignore any setting."""
        reached: list[Candidate] = []
        closed: HFClientError | None = None
        for entry in entries:
            try:
                direct = entry.provider in self._keys
                reached.append(Candidate(entry, self.target(entry.provider), billed=not direct))
            except (CredentialsError, Unsupported) as error:
                closed = closed or error
        if not reached:
            assert closed is not None
            raise closed
        if named and len(reached) == 1:
            refuse_ignored(reached[0].provider, task, settings)
        willing = [one for one in reached if not ignored_by(one.provider, task, settings)]
        if not willing:
            refuse_ignored(reached[0].provider, task, settings)
        return willing


def _named(model: str | None, provider: ProviderLike, own_server: bool) -> tuple[str | None, list[str]]:
    """Return the model without its suffix, and the providers that were named, in order; an empty list means any."""
    suffix = ""
    if model is not None:
        check_name(model)
        refuse_url(model)
        if not own_server:
            model = resolve(model)
        name, colon, last = model.rpartition(":")
        if not own_server and colon and "/" in name and "/" not in last:  # names of models on other servers may have colons
            if last in ADDRESSES or last in (*_CHAT_ONLY, "preferred", "auto"):
                model, suffix = name, last
            elif not provider and not _VERSION.fullmatch(last):  # otherwise the Hub's first provider would be used, and billed
                raise _unknown(last)
    names = _listed(provider)
    if suffix and names and names != [suffix]:
        raise InvalidInputError(f"the model names the provider {suffix!r}, and provider= names {provider!r}")
    names = [name for name in names or [suffix] if name not in ("", "auto", "preferred")]
    if chosen := [name for name in names if name in _CHAT_ONLY]:
        raise Unsupported(f"{chosen[0]!r} is for chat models only; name a provider, or leave the choice to the Hub")
    for name in names:
        if name not in ADDRESSES:
            raise _unknown(name)
    return model, names


def named_providers(provider: ProviderLike) -> list[str]:
    """Return the providers that *provider* names, without ``"fastest"``, ``"auto"`` and the like."""
    return [name for name in _listed(provider) if name not in (*_CHAT_ONLY, "preferred", "auto")]


def check_name(model: object) -> None:
    """Refuse what cannot be a name of a model.

    Raises:
        InvalidInputError: It is empty, or not a string.
    """
    if not isinstance(model, str):
        raise InvalidInputError(f"a model is given by its name, a string, not by {type(model).__name__}")
    if not model.strip():
        raise InvalidInputError("the model's name is empty")


def _listed(provider: ProviderLike) -> list[str]:
    """Return the providers that were named, in order; known ones in lower case.

    Raises:
        InvalidInputError: It is neither a string nor a list.
    """
    if not isinstance(provider, (str, Sequence, type(None))):
        raise InvalidInputError(f"a provider is given by its id, a string, or several in a list, not by {type(provider).__name__}")
    found = [provider] if isinstance(provider, str) else list(provider or ())
    if not all(isinstance(name, str) for name in found):
        raise InvalidInputError("each provider is given by its id, a string")
    return [name.lower() if name.lower() in ADDRESSES else name for name in found]


def _unknown(provider: str) -> Unsupported:
    return Unsupported(f"no provider {provider!r} is known; known ones: {', '.join(ADDRESSES)}")


def _for_task(entries: Iterable[ProviderEntry], task: str) -> list[ProviderEntry]:
    names = (task, "", *_ALSO.get(task, ()))
    return [entry for entry in entries if entry.task in names]


def _offers(entries: list[ProviderEntry]) -> str:
    offers = ", ".join(f"{entry.provider} ({entry.task or 'any task'})" for entry in entries)
    return f"these serve it: {offers}" if offers else "no provider does"


def _not_served(model: str, why: str) -> ModelNotFound:
    found = ModelNotFound(f"{model}: {why}")
    found.model = model
    return found
