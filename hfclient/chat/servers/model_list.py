"""`ModelList`: the LLMs of one chat server, cached, and found by their names."""

from __future__ import annotations

import time
from collections.abc import Callable

from hfclient.chat.servers.api import ServerApi
from hfclient.chat.wire.endpoints import Endpoints
from hfclient.chat.wire.failures import not_a_chat_server
from hfclient.chat.wire.list_entries import read_entries
from hfclient.chat.wire.messages import parse_model
from hfclient.errors import BadRequestError, ModelNotFound, Unsupported
from hfclient.transport import Session
from hfclient.types import Entries, Model

__all__ = ["ModelList"]

_FRESH = 60.0  # seconds: max-age of the server's own Cache-Control


class ModelList:
    """The LLMs of one chat server. A name is an id in any case, the last part of an id, or a label.

    Args:
        api: The server's API.
        endpoints: The server's paths.
        session: Sends the requests.
    """

    def __init__(self, api: ServerApi, endpoints: Endpoints, session: Session) -> None:
        self._api = api
        self._endpoints = endpoints
        self._session = session
        self._cached: tuple[float, list[Model]] | None = None

    def all(self, *, fresh: bool = False) -> list[Model]:
        """Return all LLMs, the server's default first; cached for a minute unless *fresh*."""
        now = time.monotonic()
        if fresh or self._cached is None or now - self._cached[0] > _FRESH:
            request = self._endpoints.models()
            data = self._api.read(request, self._session)
            if not isinstance(data, list):
                raise not_a_chat_server(request.url, str(data)[:200])
            self._cached = (now, read_entries(data, parse_model, "models"))
        return Entries(self._cached[1])

    def default(self) -> Model:
        """Return the server's default LLM.

        Raises:
            ModelNotFound: The server offers no models.
        """
        models = self.all()
        if not models:
            raise ModelNotFound("the server offers no models", status_code=0)
        return models[0]

    def find(self, name: str) -> Model | None:
        """Return the LLM called *name*, or None."""
        return _named(name, self.all())

    def get(self, name: str) -> Model:
        """Return the LLM called *name*.

        Raises:
            ModelNotFound: It does not exist; ``suggestions`` holds the nearest names.
        """
        models = self.all()
        found = _named(name, models)
        if found is None:
            raise _no_model(name, models)
        return found

    def id_of(self, name: str, error: BadRequestError) -> str:
        """Return the id of the LLM called *name*, after the server has refused that name with *error*.

        Raises:
            ModelNotFound: It does not exist; ``suggestions`` holds the nearest names.
            BadRequestError: *error* itself: the server has an LLM of that id, and refused something else.
        """
        models = self.all(fresh=True)
        found = _named(name, models)
        if found is None:
            raise _no_model(name, models, error) from error
        if found.id == name:
            raise error
        return found.id

    def default_for_images(self) -> Model:
        """Return the default LLM if it accepts images, else the first one that does.

        Raises:
            Unsupported: No model does.
        """
        for model in self.all():
            if model.multimodal:
                return model
        raise Unsupported("no model of this server accepts images; describe the image in words")

    def check_accepts_images(self, name: str) -> None:
        """Raise `Unsupported` if the LLM called *name* does not accept images."""
        models = self.all()
        model = _named(name, models)
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
