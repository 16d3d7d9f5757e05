"""`ConversationField`: a column that keeps the state of a conversation, from which any process continues it.

    class Thread(models.Model):
        state = ConversationField()

    conversation = thread.state.restore() if thread.state else get_client().conversation()
    reply = conversation.ask(prompt)
    thread.state = conversation
    thread.save()
"""

from __future__ import annotations

import functools
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.fields.json import KeyTransform
from django.db.models.query_utils import DeferredAttribute

from hfclient import Client, Conversation, InvalidInputError

__all__ = ["ConversationField", "ConversationState"]


class ConversationState(dict[str, Any]):
    """What `Conversation.to_dict` returned: ids and options, no texts of messages, no secrets. Plain JSON."""

    def restore(self, client: Client | None = None) -> Conversation:
        """Return the conversation. Nothing is sent.

        Args:
            client: The client that continues it, such as one of this user's; None takes `get_client`.

        Raises:
            InvalidInputError: A later release of hfclient has saved this state.
        """
        if client is None:
            from hfclient.web.django.clients import get_client

            client = get_client()
        return client.restore(dict(self))


class _Live:
    """A conversation that was assigned: each read and each save takes its state of that moment.

    It is copied and pickled, with its model instance, as its state: a conversation cannot be.
    """

    __slots__ = ("conversation",)

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation

    def state(self) -> ConversationState:
        return ConversationState(self.conversation.to_dict())

    def __reduce__(self) -> tuple[Any, ...]:
        return ConversationState, (self.conversation.to_dict(),)

    def __deepcopy__(self, memo: object) -> ConversationState:
        return self.state()


class _StateAttribute(DeferredAttribute):
    """The attribute of an instance: assigned a conversation, a dict or None, it reads as `ConversationState` or None."""

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        value = super().__get__(instance, cls)
        return value.state() if type(value) is _Live else value

    def __set__(self, instance: Any, value: Any) -> None:
        if isinstance(value, Conversation):
            value = _Live(value)
        elif type(value) is dict:
            value = ConversationState(value)
        elif type(value) is ConversationState:
            # full_clean() assigns what it has read: the conversation stays.
            held = instance.__dict__.get(self.field.attname)
            if type(held) is _Live and held.state() == value:
                return
        instance.__dict__[self.field.attname] = value


class ConversationField(models.JSONField):
    """A JSON column for the state of a `Conversation`, or NULL.

    It takes a `Conversation`, what `Conversation.to_dict` returned, or None. A conversation that was assigned is saved as it is
    at the time of ``save()``, so the order of assigning and asking does not matter. It reads as a `ConversationState`: a dict with
    ``restore()``. Lookups are those of ``JSONField``, such as ``state__id="..."`` and ``state__isnull=True``.

    By default it may be NULL and is not shown in forms (``null=True``, ``blank=True``, ``editable=False``): a state is not edited
    by hand.

    Saving anything else raises ``ValidationError``. Keys that are not a part of a state are not saved.
    """

    description = "The state of a conversation"
    descriptor_class = _StateAttribute
    default_error_messages = {  # noqa: RUF012 (as in Django)
        "invalid_state": "This is not the state of a conversation, as Conversation.to_dict() returns it."
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        for name, value in (("null", True), ("blank", True), ("editable", False)):
            kwargs.setdefault(name, value)
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        # Django leaves out what is its own default, which is not the default here.
        kwargs.update(null=self.null, blank=self.blank, editable=self.editable)
        return name, path.replace("hfclient.web.django.fields.", "hfclient.web.django."), args, kwargs

    def to_python(self, value: Any) -> Any:
        if value is None or hasattr(value, "resolve_expression"):
            return value
        if isinstance(value, Conversation):
            return ConversationState(value.to_dict())
        try:
            # The state without anything else that the dict may have.
            return ConversationState(_offline_client().restore(value).to_dict() if isinstance(value, dict) else _refused(value))
        except InvalidInputError as error:
            raise ValidationError(self.error_messages["invalid_state"], code="invalid_state") from error

    def validate(self, value: Any, model_instance: Any) -> None:
        super().validate(self.to_python(value), model_instance)

    def get_prep_value(self, value: Any) -> Any:
        # Also called with the right side of lookups, such as the text in state__id="...": so nothing is checked here.
        return super().get_prep_value(value.to_dict() if isinstance(value, Conversation) else value)

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        return super().get_db_prep_save(self.to_python(value), connection)

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        value = super().from_db_value(value, expression, connection)
        return ConversationState(value) if type(value) is dict and not isinstance(expression, KeyTransform) else value


def _refused(value: object) -> dict[str, Any]:
    raise InvalidInputError(f"a state is a dict, not a {type(value).__name__}")


@functools.cache
def _offline_client() -> Client:
    """Return a client that only checks states: it has no credentials and sends nothing."""
    return Client("http://localhost", token="", cookies="", session="private")
