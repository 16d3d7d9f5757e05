"""`ConversationField`: the state of a conversation in a column."""

from __future__ import annotations

import copy
import io
import json
import pickle
from collections.abc import Iterator
from typing import Any

import pytest

from hfclient import Client
from tests.chat.recordings import recording
from tests.chat.replay import ChatUI, form_data
from tests.web.django_site import django_database, set_up

set_up()

from django.core.exceptions import ValidationError  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.db.migrations.writer import MigrationWriter  # noqa: E402
from django.forms import modelform_factory  # noqa: E402
from django.test import override_settings  # noqa: E402

from hfclient.web.django import ConversationField, ConversationState  # noqa: E402
from tests.web.django_site.models import EditableThread, Thread  # noqa: E402

__all__ = ["django_database"]

ID = f"{7:024x}"


@pytest.fixture(autouse=True)
def _tables(django_database: None) -> None:
    """Each test has the tables, and ends with an empty one."""


@pytest.fixture
def client() -> Iterator[Client]:
    with Client("http://127.0.0.1:9", token="", cookies="", session="private") as made:
        yield made


def _state(client: Client, **more: Any) -> dict[str, Any]:
    return {**client.conversation(ID, model="org/first").to_dict(), **more}


def test_a_conversation_continues_from_the_row() -> None:
    """A conversation that is assigned before it is asked is saved as it is at save(); restore() continues where it ended."""
    with ChatUI() as ui, override_settings(HFCLIENT={"base_url": ui.url, "token": "", "cookies": "", "session": "private"}):
        ui.says(recording("plain"))
        from hfclient.web.django import get_client

        thread = Thread(state=get_client().conversation())
        assert (thread.state["id"], thread.state["model"]) == (None, None)
        conversation = get_client().conversation()
        thread.state = conversation
        conversation.ask("first")
        thread.save()
        again = Thread.objects.get(pk=thread.pk)
        assert type(again.state) is ConversationState
        assert again.state == conversation.to_dict()
        conversation.ask("second")
        thread.full_clean()
        thread.save()
        restored = Thread.objects.get(pk=thread.pk).state.restore()
        restored.ask("third")
        assert [form_data(request)["inputs"] for request in ui.of("send")] == ["first", "second", "third"]
        messages = {message["id"]: message for message in ui.chat.messages}
        assert [messages[parent]["from"] for parent in messages[ui.chat.messages[-1]["id"]]["ancestors"]].count("user") == 3


def test_values(client: Client) -> None:
    """It takes a conversation, a dict or None; a row that is read has a state, which any client restores."""
    state = _state(client)
    for value in (client.conversation(ID, model="org/first"), state, ConversationState(state)):
        thread = Thread.objects.create(state=value)
        assert thread.state == state
        thread.refresh_from_db()
        assert thread.state == state
        assert client.restore(thread.state).id == ID
        assert thread.state.restore(client).id == ID
    thread.state = None
    thread.save()
    assert Thread.objects.get(pk=thread.pk).state is None
    assert Thread.objects.create().state is None
    Thread.objects.update(state=client.conversation(ID))
    assert {thread.state["id"] for thread in Thread.objects.all()} == {ID}
    Thread.objects.bulk_create([Thread(state=client.conversation(ID)), Thread()])
    rows = list(Thread.objects.defer("state"))
    rows[0].state = client.conversation(f"{8:024x}")
    assert rows[1].state["id"] == ID
    Thread.objects.bulk_update(rows[:1], ["state"])
    assert Thread.objects.get(state__id=f"{8:024x}").pk == rows[0].pk


@pytest.mark.parametrize("value", [{}, {"id": ID}, {"version": 99}, {"version": 1, "id": 3}, [], "text", 3, {"version": 1, "known": [1]}])
def test_nonsense(value: Any, client: Client) -> None:
    """Anything else is refused when it is saved and when it is validated."""
    thread = Thread(state=value)
    with pytest.raises(ValidationError, match=r"to_dict\(\)"):
        thread.save()
    if value:  # Django does not validate what is empty
        with pytest.raises(ValidationError, match="state"):
            thread.full_clean()
    with pytest.raises(ValidationError):
        Thread.objects.update_or_create(title="x", defaults={"state": value})
    assert not Thread.objects.exists()


def test_no_secret_is_stored(client: Client) -> None:
    """Keys that are not a part of a state, such as a token beside it, are not saved, nor are credentials of the client."""
    secret = "hf_abcdefghijklmnop"
    with Client("http://127.0.0.1:9", token=secret, cookies={"hf-chat": secret}) as owner:
        thread = Thread.objects.create(state={**owner.conversation(ID).to_dict(), "token": secret})
    with connection.cursor() as cursor:
        cursor.execute("SELECT state FROM site_thread")
        ((text,),) = cursor.fetchall()
    assert ID in text
    assert secret not in text
    thread.refresh_from_db()
    assert "token" not in thread.state


def test_lookups(client: Client) -> None:
    """Lookups are those of JSONField: by key, by whole value, by NULL."""
    thread = Thread.objects.create(state=_state(client))
    Thread.objects.create(state=None)
    assert Thread.objects.get(state__id=ID) == thread
    assert Thread.objects.get(state__model__startswith="org/") == thread
    assert Thread.objects.get(state=_state(client)) == thread
    assert Thread.objects.get(state=client.conversation(ID, model="org/first")) == thread
    assert Thread.objects.filter(state__isnull=True).count() == 1
    assert list(Thread.objects.filter(state__has_key="leaf").values_list("state__id", "state__temporary")) == [(ID, False)]
    assert Thread.objects.filter(state__isnull=False).values("state").get()["state"]["id"] == ID


def test_copies(client: Client) -> None:
    """An instance that holds a live conversation can be copied and pickled; the copy has its state."""
    thread = Thread(state=client.conversation(ID))
    for other in (copy.deepcopy(thread), pickle.loads(pickle.dumps(thread))):
        assert type(other.state) is ConversationState
        assert other.state == thread.state
    assert json.loads(json.dumps(thread.state)) == thread.state


def test_migrations() -> None:
    """The field is described completely in a migration, by its public path."""
    field = Thread._meta.get_field("state")
    name, path, args, kwargs = field.deconstruct()
    assert (name, path, args, kwargs) == ("state", "hfclient.web.django.ConversationField", [], {"null": True, "blank": True, "editable": False})
    made = EditableThread._meta.get_field("state").clone()
    assert (type(made), made.editable, made.verbose_name) == (ConversationField, True, "the state")
    text, imports = MigrationWriter.serialize(made)
    assert text.startswith("hfclient.web.django.ConversationField(")
    scope: dict[str, Any] = {}
    exec("\n".join(imports) + f"\nmade = {text}", scope)
    assert scope["made"].deconstruct() == made.deconstruct()
    assert ConversationField(null=False).deconstruct()[3]["null"] is False


def test_fixtures(client: Client) -> None:
    """The state survives dumpdata and loaddata."""
    thread = Thread.objects.create(state=_state(client))
    for form in ("json", "jsonl"):
        out = io.StringIO()
        call_command("dumpdata", "site.Thread", format=form, stdout=out)
        from django.core import serializers

        (loaded,) = serializers.deserialize(form, out.getvalue())
        assert loaded.object.state == thread.state


def test_forms_and_the_admin(client: Client) -> None:
    """A form shows an editable field as JSON and refuses nonsense; the field is not in forms by default."""
    assert "state" not in modelform_factory(Thread, fields="__all__").base_fields
    form = modelform_factory(EditableThread, fields="__all__")
    thread = EditableThread.objects.create(state=_state(client))
    shown = form(instance=thread)
    assert ID in shown.as_p()
    assert not form({"state": json.dumps(thread.state)}, instance=thread).has_changed()
    saved = form({"state": json.dumps(_state(client, model="org/second"))}, instance=thread)
    assert saved.is_valid()
    assert EditableThread.objects.get(pk=saved.save().pk).state["model"] == "org/second"
    for text, error in (('{"id": 3}', "to_dict()"), ("nonsense", "valid JSON")):
        wrong = form({"state": text}, instance=thread)
        assert not wrong.is_valid()
        assert error in str(wrong.errors["state"])
    assert form({"state": ""}, instance=thread).save().state is None


def test_the_admin(client: Client) -> None:
    """The admin shows, saves and refuses states."""
    from django.contrib.auth.models import User
    from django.test import Client as Browser

    User.objects.create_superuser("ann", password="secret")
    browser = Browser()
    browser.login(username="ann", password="secret")
    thread = EditableThread.objects.create(state=_state(client))
    page = f"/admin/site/editablethread/{thread.pk}/change/"
    assert ID in browser.get(page).content.decode()
    answer = browser.post(page, {"state": json.dumps(_state(client, model="org/second"))})
    assert answer.status_code == 302
    thread.refresh_from_db()
    assert thread.state["model"] == "org/second"
    assert "to_dict()" in browser.post(page, {"state": '{"version": 2}'}).content.decode()
