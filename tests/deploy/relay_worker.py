"""A worker process of an application with a relay in Redis, driven by lines of JSON; and `Worker`, its handle in a test."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from tests.chat.replay import wait_until
from tests.processes.helpers import ROOT, environment
from tests.server import PATIENCE
from tests.services import STARTING

__all__ = ["Followed", "Worker"]


class Followed:
    """What a follower in a worker has received.

    Attributes:
        entries: Id and event (as a dict) of each event.
        end: Status of the end, ``"running"`` if the worker left the run, or None.
        error: Class of the error that ended it, or None.
    """

    def __init__(self) -> None:
        self.entries: list[tuple[str, dict[str, Any]]] = []
        self.end: str | None = None
        self.error: str | None = None

    @property
    def text(self) -> str:
        """The text of the tokens."""
        return "".join(event["text"] for _, event in self.entries if event["event"] == "Token")

    @property
    def numbers(self) -> list[int]:
        """The numbers of the events."""
        return [int(number.rpartition(":")[2]) for number, _ in self.entries]

    @property
    def events(self) -> list[tuple[int, dict[str, Any]]]:
        """Number and event of each event. Ids differ: those of the generating process have a position until they are stored."""
        return [(number, event) for number, (_, event) in zip(self.numbers, self.entries, strict=True)]

    @property
    def over(self) -> bool:
        """Whether it ended."""
        return self.end is not None or self.error is not None

    def wait(self) -> Followed:
        """Wait for its end."""
        wait_until(lambda: self.over)
        return self


class Worker:
    """A process with a relay.

    Args:
        redis: URL of the store.
        chat: URL of the chat server.
        options: Of the relay; ``recover=True`` attaches to the chat server's log.
    """

    def __init__(self, redis: str, chat: str, **options: Any) -> None:
        command = [sys.executable, "-m", "tests.deploy.relay_worker", redis, chat, json.dumps(options)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
            env=environment(HF_HOME="/nonexistent", HFCLIENT_HOME="/nonexistent"),
        )  # fmt: skip
        self._replies: queue.Queue[dict[str, Any]] = queue.Queue()
        self._followed: dict[int, Followed] = {}
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            data = json.loads(line)
            if "tag" not in data:
                self._replies.put(data)
                continue
            followed = self._followed[data["tag"]]
            followed.entries += map(tuple, data.get("entries", ()))
            followed.error = data.get("error")
            followed.end = data.get("end")
        self._replies.put({"error": "the worker ended"})

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send a command and return its reply."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self.process.stdin.flush()
        return self._replies.get(timeout=STARTING)  # the first reply comes when the process has started

    def start(self, prompt: str, key: str = "thread", **arguments: Any) -> str:
        """Start a run and return its id."""
        reply = self.ask("start", prompt=prompt, key=key, **arguments)
        assert "run" in reply, reply
        run: str = reply["run"]
        return run

    def follow(self, run: str, after: str | None = None) -> Followed:
        """Follow a run in a thread of the worker."""
        tag = len(self._followed)
        followed = self._followed[tag] = Followed()
        assert self.ask("follow", run=run, after=after, tag=tag) == {}
        return followed

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send the process a signal."""
        self.process.send_signal(number)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        self.process.send_signal(signal.SIGCONT)
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._thread.join(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()


def _main(redis_url: str, chat_url: str, options: dict[str, Any]) -> None:
    from hfclient import Client
    from hfclient.events import to_dict
    from hfclient.web import RedisStore, Relay
    from hfclient.web.relay import shutdown

    shutdown._FLUSH = PATIENCE  # a slow process hands its runs over, too
    client = Client(chat_url, token="", cookies={"hf-chat": "c"})
    printing = threading.Lock()

    def say(**data: Any) -> None:
        with printing:
            print(json.dumps(data), flush=True)

    if options.pop("recover", False):
        options["recover"] = client
    store = RedisStore(redis_url, timeout=options.pop("timeout", 5.0))
    relay = Relay(store, **options)

    def read(follower: Any, tag: int) -> None:
        try:
            entries = []
            for entry in follower.ticks(1.0):
                if entry is not None:
                    entries.append((entry.id, to_dict(entry.event)))
                if entries and not follower.pending:
                    say(tag=tag, entries=entries)
                    entries = []
            say(tag=tag, end=follower.status)
        except Exception as error:
            say(tag=tag, error=type(error).__name__)

    def do(data: dict[str, Any]) -> dict[str, Any]:
        match data.pop("do"):
            case "start":
                prompt = data.pop("prompt")
                conversation = client.conversation()
                return {"run": relay.start(data.pop("key"), lambda: conversation.send(prompt), **data).id}
            case "follow":
                tag = data.pop("tag")
                follower = relay.follow(data.pop("run"), data.pop("after"))
                threading.Thread(target=read, args=(follower, tag), daemon=True).start()
                return {}
            case "stop":
                return {"status": relay.stop(data["run"]).status}
            case "get":
                run = relay.get(data["run"])
                return {"status": run.status, "last": run.last, "problem": run.problem}
            case "running":
                found = relay.running(data["key"])
                return {"run": found.id if found else None}
            case "recover":
                return {"count": relay.recover_lost()}
            case "info":
                status = Path("/proc/self/status").read_text()
                rss = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
                return {"rss": rss, "threads": threading.active_count(), "files": len(os.listdir("/proc/self/fd"))}
        raise AssertionError(data)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    for line in sys.stdin:
        try:
            reply = do(json.loads(line))
        except Exception as error:
            reply = {"error": type(error).__name__, "text": str(error)}
        say(**reply)
    relay.close(1.0)
    store.close()


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
