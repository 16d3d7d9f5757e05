"""The addresses of providers, as data: their own sites, the routes of chat completions, the form of their keys.

A provider is reached through Hugging Face's router with a Hub token (``{router}/{provider}`` and then the provider's own
route), or on its own site with a key of its own. A key that begins with ``hf_`` is a Hub token, which is never sent to a
provider.

Reference: docs/protocol/inference ("providers").
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit, urlunsplit

from attrs import field, frozen

from hfclient.errors import ProtocolError

__all__ = ["ADDRESSES", "ProviderAddress", "Target", "call_headers"]

_ROUTER = "router.huggingface.co"
_PATH = re.compile(r"/[!-~]*")  # visible ASCII, which is what a URL may have


@frozen
class ProviderAddress:
    """A provider's address.

    Attributes:
        direct: Base URL of its own site; None if it is reached through the router only.
        chat: The route of chat completions, or None if it has no chat models.
        queue: Base URL of its queue, if that is another host.
        scheme: The scheme of its key in the Authorization header.
        routed: Whether it is reached through the router.
        headers: Sent with every request to it.
        hub_ids: Whether it uses the models' names on the Hub, so that the mapping is not needed.
    """

    direct: str | None
    chat: str | None = None
    queue: str | None = None
    scheme: str = "Bearer"
    routed: bool = True
    hub_ids: bool = False
    headers: Mapping[str, str] = field(factory=dict)

    @property
    def sites(self) -> tuple[str, ...]:
        """The base URLs that the provider's own key may be sent to."""
        return tuple(url for url in (self.direct, self.queue) if url)

    @property
    def hosts(self) -> tuple[str | None, ...]:
        """The hosts of these URLs."""
        return tuple(urlsplit(url).hostname for url in self.sites)


ADDRESSES: Mapping[str, ProviderAddress] = {
    "baseten": ProviderAddress("https://inference.baseten.co", "/v1/chat/completions"),
    "cerebras": ProviderAddress("https://api.cerebras.ai", "/v1/chat/completions"),
    "cohere": ProviderAddress("https://api.cohere.com", "/compatibility/v1/chat/completions"),
    "deepinfra": ProviderAddress("https://api.deepinfra.com", "/v1/openai/chat/completions"),
    "fal-ai": ProviderAddress("https://fal.run", queue="https://queue.fal.run", scheme="Key"),
    "featherless-ai": ProviderAddress("https://api.featherless.ai", "/v1/chat/completions"),
    "fireworks-ai": ProviderAddress("https://api.fireworks.ai", "/inference/v1/chat/completions"),
    "groq": ProviderAddress("https://api.groq.com", "/openai/v1/chat/completions"),
    "hf-inference": ProviderAddress(None, "/models/{model}/v1/chat/completions", hub_ids=True),
    "novita": ProviderAddress("https://api.novita.ai", "/v3/openai/chat/completions"),
    "nscale": ProviderAddress("https://inference.api.nscale.com", "/v1/chat/completions"),
    "openai": ProviderAddress("https://api.openai.com", "/v1/chat/completions", routed=False, hub_ids=True),
    "ovhcloud": ProviderAddress("https://oai.endpoints.kepler.ai.cloud.ovh.net", "/v1/chat/completions"),
    "publicai": ProviderAddress("https://api.publicai.co", "/v1/chat/completions"),
    "replicate": ProviderAddress("https://api.replicate.com"),
    "scaleway": ProviderAddress("https://api.scaleway.ai", "/v1/chat/completions"),
    "together": ProviderAddress("https://api.together.xyz", "/v1/chat/completions"),
    "wavespeed": ProviderAddress("https://api.wavespeed.ai"),
    "zai-org": ProviderAddress(
        "https://api.z.ai",
        "/api/paas/v4/chat/completions",
        # Its site has two languages.
        headers={"Accept-Language": "en-US,en", "x-source-channel": "hugging_face"},
    ),
}
"""Every provider that this release can reach."""


def call_headers(provider: str, bill_to: str | None, base: str = "") -> dict[str, str]:
    """Return the headers of every request to *provider*, or to the provider at *base*, without credentials.

    >>> call_headers("groq", "my-org")
    {'X-HF-Bill-To': 'my-org'}
    >>> call_headers("openai-compatible", None, "https://api.z.ai/api/paas/v4")["Accept-Language"]
    'en-US,en'
    """
    address = ADDRESSES.get(provider) or _address_at(base)
    own = dict(address.headers) if address is not None else {}
    return {**own, "X-HF-Bill-To": bill_to} if bill_to else own


@functools.lru_cache(maxsize=64)
def _address_at(base: str) -> ProviderAddress | None:
    """Return the address of the provider whose own site, or whose part of the router, contains *base*."""
    parts = urlsplit(base)
    if parts.hostname == _ROUTER:
        return ADDRESSES.get(parts.path.strip("/").partition("/")[0])
    return next((address for address in ADDRESSES.values() if parts.hostname in address.hosts), None)


@frozen
class Target:
    """Where the requests of one call go.

    Attributes:
        base: What the provider's routes are appended to; its query, if any, is kept.
        routed: Whether that is Hugging Face's router.
        queue: The same for requests to the provider's queue.
    """

    base: str
    routed: bool = False
    queue: str = field()

    @queue.default
    def _queue(self) -> str:
        return self.base

    @property
    def own_site(self) -> str | None:
        """The base, if files there may need its credentials; None for the router, which has no files."""
        return None if self.routed else self.base

    def url(self, path: str, *, queue: bool = False) -> str:
        """Return the URL of *path*, which begins with a slash or is empty.

        >>> Target("https://h/v1?key=1").url("/images/generations")
        'https://h/v1/images/generations?key=1'
        """
        parts = urlsplit(self.queue if queue else self.base)
        return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/") + path, parts.query, ""))

    def resolve_link(self, url: object, *, queue: bool = False) -> str:
        """Return the URL for a link in a provider's answer: its path, below this base.

        A provider names its own host in the links of a job. Through the router that host is not reached, and credentials are
        never sent to a host that an answer names.

        Raises:
            ProtocolError: It is not a link, or its path has ``..``.
        """
        try:
            path = urlsplit(url).path if isinstance(url, str) else ""
        except ValueError:
            path = ""
        parts = unquote(path).replace("\\", "/").split("/")
        if not _PATH.fullmatch(path) or "." in parts or ".." in parts:
            raise ProtocolError("the provider's link to the job leads elsewhere", frame=str(url)[:200])
        return self.url(path, queue=queue)
