"""The Hub's models: search, and look up one with its providers.

Answers are cached for ten minutes. A list is lazy: a page is requested when its first entry is needed.

Reference: docs/protocol/inference ("The Hub's models").
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import quote, urlencode, urljoin, urlsplit, urlunsplit

from attrs import field, frozen

from hfclient.arguments.argument_types import check_limit
from hfclient.credentials import origin_of
from hfclient.decoding.frames import excerpt
from hfclient.decoding.json_values import list_or_empty, number_or_none, text_or_none
from hfclient.display import Displayed
from hfclient.errors import (
    APIStatusError,
    AuthenticationError,
    HFClientError,
    InvalidInputError,
    ModelNotFound,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    TransportError,
)
from hfclient.inference.models.defaults import IMAGE_MODELS, TEXT_MODELS, VISION_MODELS, nearest, resolve, unique
from hfclient.inference.models.expiring_cache import ExpiringCache
from hfclient.inference.models.mapping import ProviderEntry, parse_mapping
from hfclient.inference.server_urls import refuse_url
from hfclient.transport import Request, Session
from hfclient.transport.status_errors import restated
from hfclient.types import Results

__all__ = ["SORTS", "DefaultModels", "Hub", "HubModel", "HubModels", "next_page", "parse_hub_model"]

SORTS = {
    "trending": "trendingScore",
    "likes": "likes",
    "downloads": "downloads",
    "created": "createdAt",
    "modified": "lastModified",
}
"""Names of the orders of a list, and the Hub's names; all are descending."""

_PAGE = 100
_MAX_PAGE_SIZE = 500
_MAX_IDLE_PAGES = 10  # consecutive pages without a new model
_MAX_CACHED_PAGES = 32  # cached, of all lists together
_LINK = re.compile(r'<([^<>]*)>((?:\s*;\s*[\w-]+\s*=\s*(?:"[^"]*"|[^",;\s]+))*)')
_REL = re.compile(r';\s*rel\s*=\s*(?:"([^"]*)"|([^",;\s]+))', re.IGNORECASE)
_NAME = re.compile(r"[\w.-]+(?:/[\w.-]+)?")
_EXPAND = (
    "author",
    "createdAt",
    "disabled",
    "downloads",
    "gated",
    "inference",
    "inferenceProviderMapping",
    "lastModified",
    "library_name",
    "likes",
    "pipeline_tag",
    "private",
    "tags",
    "trendingScore",
)
# Further fields of a single model, such as its prompt template.
_EXPAND_ONE = (*_EXPAND, "cardData", "config", "safetensors", "sha", "transformersInfo")
# The older client ignored models with lower scores.
_TEXT_SCORE, _IMAGE_SCORE = 10, 20


@frozen
class HubModel(Displayed):
    """A model on the Hub.

    Attributes:
        id: Its name, such as ``"Qwen/Qwen3-8B"``.
        task: Its ``pipeline_tag``, such as ``"text-generation"``, or None.
        providers: Its providers, in your own order of preference if a token was sent, else the most used first.
        author: User or organisation that owns it.
        library: Library that loads it, such as ``"transformers"``.
        tags: Its tags.
        downloads, likes: Of the last 30 days; in all.
        trending: The Hub's trending score.
        gated: ``"auto"`` or ``"manual"`` if access to its files must be requested, else None.
        is_private: Whether it is private.
        is_warm: Whether a provider serves it right now.
        created_at, modified_at: Times in ISO 8601, UTC.
        raw: The entry as the Hub sent it; of `Hub.model` it has ``config``, ``cardData`` and more.
    """

    id: str
    task: str | None = None
    providers: tuple[ProviderEntry, ...] = ()
    author: str | None = None
    library: str | None = field(default=None, repr=False)
    tags: tuple[str, ...] = field(default=(), repr=False)
    downloads: int = 0
    likes: int = 0
    trending: float = field(default=0, repr=False)
    gated: str | None = field(default=None, repr=False)
    is_private: bool = field(default=False, repr=False)
    is_warm: bool = field(default=False, repr=False)
    created_at: str | None = field(default=None, repr=False)
    modified_at: str | None = field(default=None, repr=False)
    raw: dict[str, Any] = field(factory=dict, repr=False, eq=False)

    def provider(self, name: str) -> ProviderEntry | None:
        """Return the entry of the provider *name*, or None."""
        return next((entry for entry in self.providers if entry.provider == name), None)

    @property
    def live_providers(self) -> tuple[str, ...]:
        """The providers that pass the Hub's checks."""
        return tuple(dict.fromkeys(entry.provider for entry in self.providers if entry.status == "live"))


@frozen
class DefaultModels:
    """Models to suggest to a user.

    Attributes:
        text: For chat and text, best first.
        image: For images.
        vision: Those that see images; they are among *text*.
        is_fresh: Whether they are from the Hub; False for the built-in ones, if it did not answer.
    """

    text: tuple[str, ...]
    image: tuple[str, ...]
    vision: tuple[str, ...] = VISION_MODELS
    is_fresh: bool = True


class HubModels(Iterator[HubModel], Displayed):
    """The models of a search on the Hub. Iterating requests each page when its first entry is needed.

    for model in inference.models(task="text-to-image", sort="trending"):
        print(model.id)
    """

    def __init__(self, models: Iterator[HubModel]) -> None:
        self._models = models

    def __repr__(self) -> str:
        return "<HubModels: iterate over it, or list(20) for the next 20 as a table>"

    def __iter__(self) -> HubModels:
        return self

    def __next__(self) -> HubModel:
        return next(self._models)

    def list(self, limit: int | None = None) -> Results[HubModel]:
        """Return the next *limit* models, or all that are left.

        Raises:
            InvalidInputError: *limit* is not an integer, or is negative.
            ProtocolError, APIStatusError, TransportError: See `InferenceClient.models`.
        """
        return Results(itertools.islice(self, check_limit(limit)))


class Hub:
    """The Hub's models. Threads may share it.

    Args:
        session: Sends the requests, with the token if there is one.
        url: Base URL of the Hub.
        keep: How long an answer is used, in seconds.
    """

    def __init__(self, session: Session, url: str, *, keep: float = 600.0) -> None:
        origin_of(url)  # for its check
        self.url = url.rstrip("/")
        self._session = session
        self._pages: ExpiringCache[tuple[list[Any], str | None]] = ExpiringCache(keep, most=_MAX_CACHED_PAGES)
        self._models: ExpiringCache[HubModel] = ExpiringCache(keep)
        self._tasks: ExpiringCache[dict[str, Any]] = ExpiringCache(keep)
        self._defaults: ExpiringCache[DefaultModels] = ExpiringCache(keep)

    def models(
        self,
        *,
        task: str | None = None,
        provider: str | Sequence[str] | None = None,
        search: str | None = None,
        sort: str | None = None,
        limit: int | None = None,
        author: str | None = None,
        tags: str | Iterable[str] = (),
        warm: bool = False,
    ) -> HubModels:
        """Return an iterator over the Hub's models; each page is requested when its first entry is needed.

        Args:
            task: Such as ``"text-to-image"``; ``"conversational"`` means the same as ``"text-generation"``.
            provider: Only what this provider serves, or one of several; ``"all"`` for those with any provider.
            search: A part of the name.
            sort: ``"trending"``, ``"likes"``, ``"downloads"``, ``"created"`` or ``"modified"``; None is the Hub's own order.
            limit: Maximum number of models.
            author: Only this user's or organisation's.
            tags: Only models with all of these tags.
            warm: Only what is served right now.

        Raises:
            InvalidInputError: An argument is invalid. Raised at the call, the others by the iterator.
            ProtocolError: The answer is not a list of models, or its next page is on another host.
            APIStatusError, TransportError: The Hub refused, or did not answer.

        Reference: GET {hub}/api/models
        """
        check_limit(limit)
        providers = [provider] if isinstance(provider, str) else list(provider or ())
        if not all(isinstance(name, str) for name in providers):
            raise InvalidInputError("each provider is given by its id, a string")
        query: list[tuple[str, str]] = []
        if warm:
            query.append(("inference", "warm"))
        if providers:
            query.append(("inference_provider", ",".join(providers)))
        if task:
            query.append(("pipeline_tag", "text-generation" if task == "conversational" else task))
        query += [("filter", tag) for tag in ([tags] if isinstance(tags, str) else tags)]
        query += [(name, value) for name, value in (("search", search), ("author", author)) if value]
        if sort is not None:
            if sort not in SORTS and sort not in SORTS.values():
                raise InvalidInputError(f"the Hub sorts by {', '.join(SORTS)}, not by {sort!r}")
            query.append(("sort", SORTS.get(sort, sort)))
        page = _PAGE if limit is None else max(1, min(limit, _MAX_PAGE_SIZE))
        query += [("limit", str(page)), *(("expand[]", key) for key in _EXPAND)]
        return HubModels(self._walk(f"{self.url}/api/models?{urlencode(query, errors='replace')}", limit))

    def model(self, id: str) -> HubModel:
        """Return one model with its providers.

        Args:
            id: Its name; a short one such as ``"llama-3.3-70b"`` works, a provider's suffix is left out.

        Raises:
            InvalidInputError: It is not a name of a model.
            ModelNotFound: It does not exist, or is private; ``suggestions`` has similar names.
            PermissionDeniedError: The token has no access to it.
            APIStatusError, TransportError: The Hub refused, or did not answer.

        Reference: GET {hub}/api/models/{id}
        """
        name = _plain_name(id)
        if (known := self._models.get(name)) is not None:
            return known
        query = urlencode([("expand[]", key) for key in _EXPAND_ONE])
        url = f"{self.url}/api/models/{quote(name, safe='/')}"
        has_token = "Authorization" in self._session.credentials.headers_for(url)

        def refine(error: APIStatusError) -> HFClientError:
            return _refined(error, name, has_token)

        data = self._session.send(Request.read(f"{url}?{query}", refine=refine)).json()
        model = parse_hub_model(data, name)
        if model is None:
            raise ProtocolError(f"the answer of {url} is not a model", frame=str(data)[:200])
        return self._models.put(name, model)

    def recommended(self, task: str) -> str | None:
        """Return the model that the Hub recommends for *task*, or None.

        Raises:
            APIStatusError, TransportError: The Hub refused, or did not answer.

        Reference: GET {hub}/api/tasks
        """
        tasks = self._tasks.get("")
        if tasks is None:
            data = self._session.send(Request.read(f"{self.url}/api/tasks")).json()
            tasks = self._tasks.put("", data if isinstance(data, dict) else {})
        page = tasks.get(task)
        if not isinstance(page, dict):
            return None
        shown = [*list_or_empty(page.get("widgetModels")), *list_or_empty(page.get("models"))]
        names = (entry.get("id") if isinstance(entry, dict) else entry for entry in shown)
        return next((name for name in names if isinstance(name, str) and name), None)

    def default_models(self) -> DefaultModels:
        """Return models to suggest: trending ones and well-known ones; only the latter if the Hub does not answer.

        Raises nothing if the Hub does not answer: then ``is_fresh`` is False, and the next call tries again.

        Reference: GET {hub}/api/models?inference=warm, as the older HuggingFaceInference client asked
        """
        if (known := self._defaults.get("")) is not None:
            return known
        try:
            warm = self._names("inference=warm&pipeline_tag=text-generation", _TEXT_SCORE)
            images = self._names("pipeline_tag=text-to-image", _IMAGE_SCORE)
        except (APIStatusError, TransportError, ProtocolError):
            return DefaultModels(text=tuple(unique(TEXT_MODELS, VISION_MODELS)), image=IMAGE_MODELS, is_fresh=False)
        text = unique(warm, VISION_MODELS, TEXT_MODELS)
        found = DefaultModels(text=tuple(text), image=tuple(unique(IMAGE_MODELS, images)))
        return self._defaults.put("", found)

    def forget(self, id: str | None = None) -> None:
        """Remove *id*, or everything, from the cache."""
        if id is not None:
            self._models.forget(resolve(id).partition(":")[0])
            return
        self._pages.clear()
        self._models.clear()
        self._tasks.clear()
        self._defaults.clear()

    def _names(self, query: str, score: float) -> list[str]:
        """Return the models of a list's first page with a sufficient trending score, in the Hub's order."""
        entries, _ = self._page(f"{self.url}/api/models?{query}")
        models = [model for entry in entries if (model := parse_hub_model(entry)) is not None]
        return [model.id for model in models if model.trending >= score]

    def _walk(self, url: str, limit: int | None) -> Iterator[HubModel]:
        left = limit
        given: set[str] = set()  # the order may change between two pages, so models may repeat
        visited = {url}
        page: str | None = url
        idle = 0
        while page is not None and left != 0:
            entries, page = self._page(page)
            known = len(given)
            for entry in entries:
                model = parse_hub_model(entry)
                if model is None or model.id in given:
                    continue
                given.add(model.id)
                yield model
                if left is not None:
                    left -= 1
                    if left <= 0:
                        return
            idle = 0 if len(given) > known else idle + 1
            if page in visited or idle >= _MAX_IDLE_PAGES:
                raise ProtocolError("the Hub's list of models repeats its pages", frame=page)
            visited.add(page or "")

    def _page(self, url: str) -> tuple[list[Any], str | None]:
        if (known := self._pages.get(url)) is not None:
            return known
        response = self._session.send(Request.read(url))
        following = next_page(response.headers.all("link"), url)
        data = response.json()
        if not isinstance(data, list):
            raise ProtocolError("the Hub's list of models is not a list", frame=excerpt(str(data)[:300].encode()))
        return self._pages.put(url, (data, following))


def next_page(links: Iterable[str], url: str) -> str | None:
    """Return the URL of the next page of *url* from its ``Link`` headers, or None for the last page.

    It is always on the host of *url*, to which the token belongs: a mirror passes on links to huggingface.co, and only their
    query is used.

        >>> next_page(['<https://huggingface.co/api/models?cursor=x>; rel="next"'], "http://mirror/api/models?limit=1")
        'http://mirror/api/models?cursor=x'

    Raises:
        ProtocolError: The link is not to a list of the same kind.
    """
    for header in links:
        for found in _LINK.finditer(header):
            if not any("next" in f"{quoted} {bare}".lower().split() for quoted, bare in _REL.findall(found[2])):
                continue
            try:
                link = str(urljoin(url, found[1]))
                same = origin_of(link) == origin_of(url)
            except (ValueError, InvalidInputError):
                raise ProtocolError("the link to the next page is not a URL", frame=found[1][:200]) from None
            if same:
                return link
            here, there = urlsplit(url), urlsplit(link)
            if there.path.rstrip("/").rpartition("/")[2] != here.path.rstrip("/").rpartition("/")[2]:
                raise ProtocolError("the link to the next page is to another path", frame=found[1][:200])
            return str(urlunsplit((here.scheme, here.netloc, here.path, there.query, "")))
    return None


def parse_hub_model(data: Any, name: str | None = None) -> HubModel | None:
    """Return the model of an entry of ``/api/models``; None for null, or without a name."""
    if not isinstance(data, dict):
        return None
    found = text_or_none(data.get("id")) or text_or_none(data.get("modelId")) or name
    if found is None:
        return None
    gated = data.get("gated")
    return HubModel(
        id=found,
        task=text_or_none(data.get("pipeline_tag")),
        providers=tuple(parse_mapping(data.get("inferenceProviderMapping"), found)),
        author=text_or_none(data.get("author")) or (found.partition("/")[0] if "/" in found else None),
        library=text_or_none(data.get("library_name")),
        tags=tuple(tag for tag in list_or_empty(data.get("tags")) if isinstance(tag, str)),
        downloads=int(_count(data.get("downloads"))),
        likes=int(_count(data.get("likes"))),
        trending=_count(data.get("trendingScore")),
        gated=gated if isinstance(gated, str) else "auto" if gated is True else None,
        is_private=data.get("private") is True,
        is_warm=data.get("inference") == "warm",
        created_at=text_or_none(data.get("createdAt")),
        modified_at=text_or_none(data.get("lastModified")),
        raw=data,
    )


def _plain_name(id: str) -> str:
    refuse_url(id)
    name, _, suffix = resolve(id).partition(":") if isinstance(id, str) else ("", "", "")
    name = id if "/" in suffix else name  # a URL has no suffix
    if not _NAME.fullmatch(name) or any(part in ("", ".", "..") for part in name.split("/")):
        raise InvalidInputError(f"this is not a name of a model on the Hub: {id!r}")
    return name


def _refined(error: APIStatusError, name: str, has_token: bool) -> HFClientError:
    """Return a more specific error for a model that cannot be read.

    The Hub does not distinguish missing from private models: 401 without a token, 404 with one.
    """
    missing = error.code == "RepoNotFound" or isinstance(error, NotFoundError)
    if isinstance(error, AuthenticationError) and not has_token and error.code != "GatedRepo":
        missing = True
    cls: type[APIStatusError]
    if missing:
        cls, message = ModelNotFound, f"there is no model {name!r} on the Hub"
        message += (
            ", or it is private and the token does not show it" if has_token else ", or it is private: set HF_TOKEN"
        )
    elif error.code == "GatedRepo":
        cls = PermissionDeniedError
        message = f"access to {name} must be requested on its page on the Hub: {error.message}"
    else:
        return error
    refined = restated(cls, error, message)
    if isinstance(refined, ModelNotFound):
        refined.model = name
        refined.suggestions = tuple(found for found in nearest(name) if found != name)
    return refined


def _count(value: Any) -> float:
    number = number_or_none(value) or 0
    return number if abs(number) < 1e15 else 0  # not NaN or infinity
