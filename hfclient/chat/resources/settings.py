"""``client.settings``: the caller's settings on a chat server.

Reference: docs/protocol/huggingchat ("settings"). The server accepts only a complete set of settings and resets missing
ones. So a change reads all settings, modifies them and writes them back, unknown keys included.
"""

from __future__ import annotations

from typing import Any

import msgspec
from attrs import evolve, field, fields, frozen

from hfclient.chat.servers.service import ChatService
from hfclient.chat.wire.server_errors import not_a_chat_server
from hfclient.errors import InvalidInputError
from hfclient.values import Value

__all__ = ["Settings", "SettingsResource"]


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


@frozen(kw_only=True, eq=False, repr=False)
class Settings(Value):
    """The caller's settings on the server; None for a setting that the server does not have.

    Attributes:
        active_model: Id of the LLM for new conversations.
        share_conversations_with_model_authors: Whether the authors of the models may see the conversations.
        custom_prompts: System prompts by model id; they are applied by clients, not by the server.
        custom_prompts_enabled: Whether each of them is in use; absent means yes.
        multimodal_overrides, tools_overrides, reasoning_overrides, artifacts_overrides: Abilities forced by model id.
        reasoning_effort_overrides: ``"low"``, ``"medium"`` or ``"high"`` by model id; applied by the server.
        provider_overrides: Inference provider by model id (HuggingChat).
        hide_prompt_examples: By model id.
        streaming_mode: ``"raw"`` or ``"smooth"``: display of an answer on the server's own page.
        direct_paste, haptics_enabled, welcome_modal_seen: Of the server's own page.
        billing_organization: Organisation that pays for inference (HuggingChat).
        raw: All keys as the server sent them.
    """

    active_model: str | None = None
    share_conversations_with_model_authors: bool | None = None
    custom_prompts: dict[str, str] | None = None
    custom_prompts_enabled: dict[str, bool] | None = None
    multimodal_overrides: dict[str, bool] | None = None
    tools_overrides: dict[str, bool] | None = None
    reasoning_overrides: dict[str, bool] | None = None
    artifacts_overrides: dict[str, bool] | None = None
    reasoning_effort_overrides: dict[str, str] | None = None
    provider_overrides: dict[str, str] | None = None
    hide_prompt_examples: dict[str, bool] | None = None
    streaming_mode: str | None = None
    direct_paste: bool | None = None
    haptics_enabled: bool | None = None
    welcome_modal_seen: bool | None = None
    billing_organization: str | None = None
    raw: dict[str, Any] = field(factory=dict, repr=False, eq=False)


_BY_MODEL = (
    *("custom_prompts", "custom_prompts_enabled", "multimodal_overrides", "tools_overrides", "reasoning_overrides"),
    *("artifacts_overrides", "reasoning_effort_overrides", "provider_overrides", "hide_prompt_examples"),
)
_NAMES = tuple(attribute.name for attribute in fields(Settings) if attribute.name != "raw")


def _convert(known: dict[str, Any]) -> Settings:
    """Return settings; a value of another type than today's stays in `Settings.raw` only."""
    fitting = {}
    for name, value in known.items():
        try:
            msgspec.convert({name: value}, Settings)
        except msgspec.ValidationError:
            continue
        fitting[name] = value
    return msgspec.convert(fitting, Settings)


class SettingsResource:
    """The caller's settings on a chat server: read and change them.

    settings = client.settings.get()
    client.settings.update(hide_prompt_examples={settings.active_model: True})
    """

    def __init__(self, service: ChatService) -> None:
        self._service = service

    def __repr__(self) -> str:
        return "<Settings of the chat server>"

    def get(self) -> Settings:
        """Return the settings as they are on the server.

        Reference: GET {base}/api/v2/user/settings
        """
        request = self._service.endpoints.settings()
        data = self._service.read(request)
        if not isinstance(data, dict):
            raise not_a_chat_server(request.url, str(data)[:200])
        known = {name: data.get(_camel(name)) for name in _NAMES}
        return evolve(_convert(known), raw=data)

    def update(self, **changes: Any) -> Settings:
        """Change the given settings, keep all others, and return the settings as the server then has them.

            client.settings.update(active_model="meta-llama/Llama-3.3-70B-Instruct")

        Raises:
            InvalidInputError: A setting of that name does not exist, or its value has the wrong type; nothing was sent.
            ModelNotFound: The server has no LLM of that name; nothing was changed.

        Reference: POST {base}/api/v2/user/settings
        """
        unknown = sorted(set(changes) - set(_NAMES))
        if unknown:
            raise InvalidInputError(f"there is no setting {', '.join(unknown)}; the settings are {', '.join(_NAMES)}")
        try:
            msgspec.convert(changes, Settings)
        except msgspec.ValidationError as exc:
            raise InvalidInputError(f"a setting has the wrong type: {exc}") from None
        except UnicodeEncodeError:
            raise InvalidInputError("a setting holds half of a character (a lone surrogate)") from None
        raw = self.get().raw
        data = {**raw, **{_camel(name): self._with_ids(name, value, raw) for name, value in changes.items()}}
        data.pop("welcomeModalSeenAt", None)  # the server's own stamp
        # Unset values are left out: the server answers 500 to a null.
        self._service.read(
            self._service.endpoints.write_settings({key: value for key, value in data.items() if value is not None})
        )
        return self.get()

    def _with_ids(self, name: str, value: Any, raw: dict[str, Any]) -> Any:
        """Return a setting with models' ids instead of short names, which the server would store and ignore."""
        if name == "active_model" and value is not None:
            return self._service.models.get(value).id
        if name not in _BY_MODEL or not value:
            return value
        known = raw.get(_camel(name)) or {}  # models that were removed included
        return {key if key in known else self._service.models.get(key).id: entry for key, entry in value.items()}
