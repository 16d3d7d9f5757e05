"""`ConversationField` and `conversation_lock` with a real PostgreSQL and a real Redis, across processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests import services
from tests.chat.replay import wait_until
from tests.processes.helpers import ROOT, PromptedChatUI, Script, environment
from tests.server import PATIENCE

pytest.importorskip("django")
psycopg = pytest.importorskip("psycopg", reason="the driver of PostgreSQL")

pytestmark = pytest.mark.timeout(240)  # each test starts Django in several processes
SET_UP = """
import os, pathlib, sys, threading, time
import django
django.setup()
from django.db import connection, transaction
from hfclient import Client, ConversationBusy
from hfclient.web.django import conversation_lock
from tests.web.django_site.models import Thread

def wait_for(path):
    end = time.monotonic() + 200
    while not os.path.exists(path):
        assert time.monotonic() < end
        time.sleep(0.01)

client = Client("http://127.0.0.1:9", token="", cookies="", session="private")
"""
ROW = "Thread.objects.get(pk=1)"
QUERYSET = "Thread.objects.filter(title='first').order_by('title')"
CACHE = "'thread-1', cache='default', ttl=60"
SHORT = "'thread-1', cache='default', ttl=2"


@pytest.fixture
def site(postgres: services.PostgreSQL, redis_server: services.RedisServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """Settings for processes of the project, with empty tables and one row."""
    database = {"ENGINE": "django.db.backends.postgresql", "NAME": "hfclient", "USER": "hfclient", "HOST": "127.0.0.1", "PORT": postgres.port}
    cache = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": redis_server.url}
    text = json.dumps({"database": database, "cache": cache})
    monkeypatch.setenv("SITE", text)
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "tests.web.django_site.settings")
    code = SET_UP + (
        "from django.core.management import call_command\n"
        "call_command('migrate', run_syncdb=True, verbosity=0)\n"
        "connection.cursor().execute('TRUNCATE site_thread RESTART IDENTITY')\n"
        "Thread.objects.create(title='first')\n"
    )
    with Script(code) as script:
        status, _, err = script.end()
    assert status == 0, err
    return text


def _hold(what: str, path: Path, body: str = "pass") -> Script:
    code = f"""
with conversation_lock({what}, wait=30) as held:
    {body}
    print("held", flush=True)
    wait_for({str(path)!r})
print("released", flush=True)
"""
    return Script(SET_UP + code)


def _try(what: str, wait: str = "0", body: str = "pass") -> tuple[str, float]:
    """Return what another process gets, and after how many seconds."""
    code = f"""
started = time.monotonic()
try:
    with conversation_lock({what}, wait={wait}) as held:
        {body}
        print("held", time.monotonic() - started)
except ConversationBusy as error:
    print("busy", time.monotonic() - started)
"""
    with Script(SET_UP + code) as script:
        status, out, err = script.end()
    assert status == 0, err
    word, seconds = out.split()
    return word, float(seconds)


@pytest.mark.parametrize("what", [ROW, QUERYSET, CACHE])
def test_two_processes(what: str, site: str, tmp_path: Path) -> None:
    """While one process holds the lock, another is refused, at once or after its wait; then it gets it."""
    with _hold(what, tmp_path / "go") as holder:
        assert holder.line() == "held"
        assert _try(what)[0] == "busy"
        assert _try(what, "0.3")[0] == "busy"
        (tmp_path / "go").touch()
        assert holder.line() == "released"
        assert _try(what)[0] == "held"
        assert holder.end()[0] == 0


@pytest.mark.parametrize("what", [ROW, SHORT])
def test_a_process_that_dies(what: str, site: str, tmp_path: Path) -> None:
    """A killed process releases: its row at once, its key in the cache after the time to live."""
    with _hold(what, tmp_path / "never") as holder:
        assert holder.line() == "held"
        holder.process.send_signal(signal.SIGKILL)
        holder.process.wait(PATIENCE)
        assert _try(what, "30")[0] == "held"


def test_the_row_is_read_under_the_lock(site: str, tmp_path: Path) -> None:
    """The next holder sees what the previous one has saved, though its instance is older; other columns can be written."""
    save = "held.state = client.conversation('0' * 24); held.save()"
    with _hold(ROW, tmp_path / "go", save) as holder:
        assert holder.line() == "held"
        code = SET_UP + (
            "old = Thread.objects.get(pk=1)\n"
            "assert old.state is None\n"
            "print('read', flush=True)\n"
            "with conversation_lock(old, wait=None) as thread:\n"
            "    print(thread.state['id'], thread.state.restore(client).id, flush=True)\n"
        )
        with Script(code) as other:
            assert other.line() == "read"
            (tmp_path / "go").touch()
            assert other.line() == " ".join(["0" * 24] * 2)
            assert other.end()[0] == 0


def test_inside_of_a_transaction(site: str) -> None:
    """In a transaction of the caller the row stays locked to its end; a refusal does not end that transaction."""
    code = SET_UP + """
import threading
from hfclient import ConversationBusy
from django.db import connections
thread = Thread.objects.get(pk=1)
results = []
def attempt():
    try:
        with transaction.atomic():
            Thread.objects.create(title="another")
            try:
                with conversation_lock(thread):
                    results.append("held")
            except ConversationBusy:
                results.append("busy")
            results.append(Thread.objects.filter(title="another").count())
    finally:
        connections.close_all()
def run():
    other = threading.Thread(target=attempt)
    other.start()
    other.join()
with transaction.atomic():
    with conversation_lock(thread):
        run()
    run()
run()
second = Thread.objects.create(title="first")
with conversation_lock(thread):  # the second row is free, but a queryset of both names neither
    try:
        with conversation_lock(Thread.objects.filter(title="first")):
            raise AssertionError
    except Thread.MultipleObjectsReturned:
        pass
assert results == ["busy", 1, "busy", 2, "held", 3], results
for what, error in ((Thread.objects.all(), Thread.MultipleObjectsReturned), (Thread.objects.filter(pk=99), Thread.DoesNotExist)):
    try:
        with conversation_lock(what):
            raise AssertionError
    except error:
        pass
thread.delete()
thread.pk = 1
try:
    with conversation_lock(thread):
        raise AssertionError
except Thread.DoesNotExist:
    pass
"""
    with Script(code) as script:
        status, _, err = script.end()
    assert status == 0, err


@pytest.mark.parametrize("what", [ROW, CACHE])
def test_nothing_is_lost(what: str, site: str) -> None:
    """Processes that read, wait and write under the lock lose no write."""
    code = SET_UP + f"""
for _ in range(20):
    with conversation_lock({what}, wait=60):
        row = Thread.objects.get(pk=1)
        time.sleep(0.002)
        row.title = str(int(row.title.replace("first", "0")) + 1)
        row.save()
"""
    scripts = [Script(code) for _ in range(3)]
    for script in scripts:
        with script:
            status, _, err = script.end()
            assert status == 0, err
    with Script(SET_UP + "print(Thread.objects.get(pk=1).title)") as script:
        assert script.line() == "60"
        script.end()


def test_a_cache_in_the_database(site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock in a table is seen by other processes at once, though the view is in a transaction, and is renewed there."""
    settings = json.loads(site)
    settings["cache"] = {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "site_cache"}
    monkeypatch.setenv("SITE", json.dumps(settings))
    with Script(SET_UP + "from django.core.management import call_command\ncall_command('createcachetable')") as script:
        assert script.end()[0] == 0
    code = SET_UP + f"""
with transaction.atomic():
    Thread.objects.create(title="before")
    lock = conversation_lock({CACHE}).acquire()
    print("held", flush=True)
    end = lock._valid_until
    renewing = threading.Thread(target=lock.renew)  # as the thread of the locks does
    renewing.start()
    renewing.join()
    assert lock._valid_until > end
    wait_for({str(tmp_path / "go")!r})
    lock.release()
    print("released", flush=True)
    wait_for({str(tmp_path / "end")!r})
"""
    with Script(code) as holder:
        assert holder.line() == "held"
        assert _try(CACHE)[0] == "busy"
        (tmp_path / "go").touch()
        assert holder.line() == "released"
        assert _try(CACHE)[0] == "held"
        (tmp_path / "end").touch()
        assert holder.end()[0] == 0


def test_the_cache_goes_down(site: str, redis_server: services.RedisServer) -> None:
    """Without Redis a lock is refused as 503; after a restart without memory its former holder does not release another's lock."""
    code = SET_UP + """
from hfclient.web.errors import StoreUnavailable
lock = conversation_lock("thread-1", ttl=600).acquire()
print("held", flush=True)
wait_for(PATH + "down")
try:
    conversation_lock("thread-1").acquire()
except StoreUnavailable as error:
    print("unavailable", flush=True)
wait_for(PATH + "up")
other = conversation_lock("thread-1", wait=30).acquire()
lock.renew()
print("lost" if lock.lost else "held", flush=True)
lock.release()
try:
    conversation_lock("thread-1").acquire()
except ConversationBusy:
    print("busy", flush=True)
other.release()
"""
    folder = redis_server.folder
    with Script(code.replace("PATH", repr(f"{folder}/"))) as script:
        assert script.line() == "held"
        redis_server.stop()
        (folder / "down").touch()
        assert script.line() == "unavailable"
        redis_server.start()
        (folder / "up").touch()
        assert [script.line(), script.line()] == ["lost", "busy"]
        assert script.end()[0] == 0


def test_the_field(site: str, tmp_path: Path) -> None:
    """The tests of the field pass with PostgreSQL."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "tests/web/test_django_field.py"]
    variables: dict[str, Any] = environment(SITE=site, DJANGO_SETTINGS_MODULE="tests.web.django_site.settings")
    variables.pop("PYTHONWARNINGS")
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=variables, timeout=220, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout


def test_a_waiting_process_takes_over_soon(site: str, tmp_path: Path) -> None:
    """A process that waits gets the lock soon after its release."""
    for what in (ROW, CACHE):
        go = tmp_path / f"go{len(what)}"
        with _hold(what, go) as holder, Script(
            SET_UP + f"print('waits', flush=True)\nwith conversation_lock({what}, wait=60): print('held', flush=True)"
        ) as waiting:
            assert holder.line() == "held"
            assert waiting.line() == "waits"
            time.sleep(0.5)
            go.touch()
            released = time.monotonic()
            assert waiting.line() == "held"
            assert time.monotonic() - released < PATIENCE  # without a release: a minute
            assert waiting.end()[0] == holder.end()[0] == 0


def test_runs_hold_no_connections(site: str, postgres: services.PostgreSQL, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs whose functions use models hold no connection of PostgreSQL while their answers are generated."""
    with PromptedChatUI() as ui:
        options = {"base_url": ui.url, "token": "", "cookies": "", "session": "private"}
        monkeypatch.setenv("SITE", json.dumps({**json.loads(site), "hfclient": options}))
        code = SET_UP + """
from hfclient.web.django import get_client, get_relay
names = []
def opener(number):
    def opened():
        names.append(Thread.objects.get(pk=1).title)
        return get_client().chat(f"hold {number}")
    return opened
runs = [get_relay().start(number, opener(number), on_end=lambda run, reply, error: Thread.objects.create(title=run.key)) for number in range(20)]
wait_for(PATH)
for run in runs:
    list(get_relay().follow(run.id))
assert names == ["first"] * 20
print(Thread.objects.count())
"""
        go = postgres.folder / "go"
        with Script(code.replace("PATH", repr(str(go)))) as script:
            for number in range(20):
                ui.wait_for_prompt(f"hold {number}")
            with psycopg.connect(postgres.url) as connection:
                query = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
                wait_until(lambda: connection.execute(query).fetchone()[0] <= 2)  # type: ignore[index]
            ui.go.set()
            go.touch()
            status, out, err = script.end()
            assert (status, out.strip()) == (0, "21"), err
            assert "ResourceWarning" not in err
