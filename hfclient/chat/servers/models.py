"""``client.models``: the LLMs of one chat server, cached, and found by their names."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from hfclient.arguments.argument_types import check_arguments
from hfclient.chat.servers.api import ServerApi
from hfclient.chat.wire.endpoints import Endpoints
from hfclient.chat.wire.list_entries import read_entries
from hfclient.chat.wire.messages import parse_model
from hfclient.chat.wire.server_errors import not_a_chat_server
from hfclient.display import Displayed
from hfclient.errors import BadRequestError, ModelNotFound, Unsupported
from hfclient.transport import Session
from hfclient.types import Entries, Model

__all__ = ["Models", "check_accepts_images", "default_for_images", "id_of"]

_FRESH = 60.0  # seconds: max-age of the server's own Cache-Control


class Models(Displayed):
    """The LLMs that the server offers, its default first; the list is cached for a minute.

    A name is an id in any case, the last part of an id, or a label. ``name in client.models`` is true for every name that
    `get` finds, and for a `Model` of the list.
    """

    def __init__(self, api: ServerApi, endpoints: Endpoints, session: Session) -> None:
        self._api = api
        self._endpoints = endpoints
        self._session = session
        self._cached: tuple[float, list[Model]] | None = None

    def __repr__(self) -> str:
        return "<Models>"

    def __iter__(self) -> Iterator[Model]:
        return iter(self.list())

    @property
    def known(self) -> Entries[Model] | None:
        """The list as it was last fetched, of any age, or None; nothing is sent."""
        return None if self._cached is None else Entries(self._cached[1])

    def __len__(self) -> int:
        return len(self.list())

    def __contains__(self, model: object) -> bool:
        if isinstance(model, Model):
            return model in self.list()
        if not isinstance(model, str):
            raise TypeError(f"a model is found by its name, not by {type(model).__name__}")
        return _named(model, self.list()) is not None

    def get(self, name: str, *, details: bool = False) -> Model:
        """Return the LLM called *name*: its id in any case, the last part of its id, or its label.

        Args:
            name: Its name.
            details: Also fetch its providers, with their context lengths.

        Raises:
            ModelNotFound: It does not exist; the message and ``suggestions`` hold the nearest names.
        """
        check_arguments(Models.get, locals())
        models = self.list()
        found = _named(name, models)
        if found is None:
            raise _no_model(name, models)
        return parse_model(self._api.read(self._endpoints.model(found.id), self._session)) if details else found

    @property
    def default(self) -> Model:
        """The server's default LLM.

        Raises:
            ModelNotFound: The server offers no models.
        """
        models = self.list()
        if not models:
            raise ModelNotFound("the server offers no models", status_code=0)
        return models[0]

    def list(self, *, fresh: bool = False) -> list[Model]:
        """Return all models; *fresh* bypasses the cache.

        Reference: GET {base}/api/v2/models
        """
        check_arguments(Models.list, locals())
        now = time.monotonic()
        if fresh or self._cached is None or now - self._cached[0] > _FRESH:
            request = self._endpoints.models()
            data = self._api.read(request, self._session)
            if not isinstance(data, list):
                raise not_a_chat_server(request.url, str(data)[:200])
            self._cached = (now, read_entries(data, parse_model, "models"))
        return Entries(self._cached[1])


def id_of(name: str, models: Models, error: BadRequestError) -> str:
    """Return the id of the LLM called *name*, after the server has refused that name with *error*.

    Raises:
        ModelNotFound: It does not exist; ``suggestions`` holds the nearest names.
        BadRequestError: *error* itself: the server has an LLM of that id, and refused something else.
    """
    known = models.list(fresh=True)
    found = _named(name, known)
    if found is None:
        raise _no_model(name, known, error) from error
    if found.id == name:
        raise error
    return found.id


def default_for_images(models: Models) -> Model:
    """Return the default LLM if it accepts images, else the first one that does.

    Raises:
        Unsupported: No model does.
    """
    found = next((model for model in models if model.multimodal), None)
    if found is None:
        raise Unsupported("no model of this server accepts images; describe the image in words")
    return found


def check_accepts_images(name: str, models: Models) -> None:
    """Raise `Unsupported` if the LLM called *name* does not accept images."""
    model = _named(name, models.list())
    if model is not None and not model.multimodal:
        able = [other.id for other in models if other.multimodal]
        hint = f"these do: {', '.join(able[:5])}" if able else "no model of this server does"
        raise Unsupported(f"{name} does not accept images, the server would ignore them silently; {hint}")


def _named(name: str, models: list[Model]) -> Model | None:
    """Return the LLM called *name*; None if none or several have that name."""
    wanted = name.strip().lower()
    names: tuple[Callable[[Model], str], ...] = (
        lambda model: model.id,
        lambda model: model.id.lower(),
        lambda model: model.id.lower().rpartition("/")[2],
        lambda model: model.display_name.lower(),
    )
    for name_of in names:
        found = [model for model in models if name_of(model) == (name if name_of is names[0] else wanted)]
        if len(found) == 1:
            return found[0]
    return None


def _no_model(name: str, models: list[Model], error: BadRequestError | None = None) -> ModelNotFound:
    import difflib  # for typing errors only

    ids = [model.id for model in models]
    wanted = name.strip().lower()
    whole = {i.lower(): i for i in ids}
    ends = {i.lower().rpartition("/")[2]: i for i in ids}
    near = [whole[match] for match in difflib.get_close_matches(wanted, whole, n=3, cutoff=0.6)]
    near += [ends[match] for match in difflib.get_close_matches(wanted.rpartition("/")[2], ends, n=3, cutoff=0.6)]
    near += [i for i in ids if wanted and wanted in i.lower()][:3]  # "llama" is far from its full name
    found = list(dict.fromkeys(near))
    shown = ", ".join(found or ids[:5])
    hint = (
        f"did you mean {shown}?" if found else f"this server offers {shown or 'none'}{' ...' if len(ids) > 5 else ''}"
    )
    missing = ModelNotFound(
        f"there is no model {name!r} here; {hint}",
        status_code=error.status_code if error else 0,
        method=error.method if error else None,
        url=error.url if error else None,
    )
    missing.model = name
    missing.suggestions = tuple(found)
    return missing
