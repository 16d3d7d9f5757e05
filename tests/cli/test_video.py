"""``hfclient video``, and images of a provider with a queue: waiting, cancelling, detaching and resuming."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hfclient.cli import options
from hfclient.inference.media import jobs
from tests.inference.test_media import JOB, MODEL, MP4, PNG, fal, make, mapping, state
from tests.server import Recorded, Server, json_answer, plain

make = make  # noqa: PLW0127 (the fixture)


@pytest.fixture
def transport_name() -> str:
    """One transport: the commands are the same with all."""
    return "plain"


@pytest.fixture(autouse=True)
def _router(make: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The commands use a router that is the test's server."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jobs, "_PACE", 0.02)

    class Opened(SimpleNamespace):
        def __enter__(self) -> Opened:
            return self

        def __exit__(self, *exc_info: object) -> None:
            pass

    monkeypatch.setattr(options, "open_inference", lambda *given: Opened(inference=make()))


def test_a_video(server: Server, command: Any, tmp_path: Path) -> None:
    """The job is polled until it is done, and the video is saved."""
    fal(server, state("IN_QUEUE", queue_position=1), state("COMPLETED"), task="text-to-video")
    code, out, err = command("video", "a fox", "-m", MODEL, "-o", "fox")
    assert (code, out, err) == (0, "fox.mp4\n", "")
    assert (tmp_path / "fox.mp4").read_bytes() == MP4
    assert server.requests[1].json()["prompt"] == "a fox"


def test_as_json(server: Server, command: Any) -> None:
    """The facts, without the bytes."""
    fal(server, state("COMPLETED"), task="text-to-video")
    _, out, _ = command("video", "a fox", "-m", MODEL, "--json")
    found = json.loads(out)
    assert (found["path"], found["mime"], found["provider"], found["request_id"]) == ("a fox.mp4", "video/mp4", "fal-ai", "764c")


def test_the_first_frame(server: Server, command: Any, tmp_path: Path) -> None:
    """With --image the prompt may be left out."""
    (tmp_path / "cat.png").write_bytes(PNG)
    fal(server, state("COMPLETED"), task="image-to-video")
    assert command("video", "--image", "cat.png", "-m", MODEL, "-o", "cat.mp4")[0] == 0
    assert server.requests[1].json()["image_url"].startswith("data:image/png;base64,")


def test_a_failure(server: Server, command: Any) -> None:
    """A job that failed is one line."""
    fal(server, state("COMPLETED", error="the prompt\x1b[2J is bad"), task="text-to-video")
    code, out, err = command("video", "a fox", "-m", MODEL)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "\x1b" not in err


@pytest.mark.parametrize("agrees", [True, False])
def test_ctrl_c_cancels(server: Server, command: Any, agrees: bool) -> None:
    """Ctrl-C asks the provider to stop; if it does not agree, a note says that it may cost something."""

    def interrupt(request: Recorded) -> bytes:
        import signal

        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        return state("IN_PROGRESS")

    fal(server, [interrupt], task="text-to-video")
    if not agrees:
        server.on(f"{JOB}/cancel", json_answer({"detail": "no"}, 400))
    code, out, err = command("video", "a fox", "-m", MODEL)
    assert (code, out) == (130, ""), err
    assert any(request.path == f"{JOB}/cancel" for request in server.requests)
    assert err == ("" if agrees else "hfclient: the job could not be cancelled at fal-ai, which may charge for it\n")


def test_detach_and_resume(server: Server, command: Any, tmp_path: Path) -> None:
    """--detach prints the job without a secret and does not cancel it; --resume waits for it."""
    fal(server, state("COMPLETED"), task="text-to-video")
    code, out, _ = command("video", "a fox", "-m", MODEL, "--detach")
    assert code == 0
    assert "secret" not in out
    assert not any("cancel" in request.path for request in server.requests)
    (tmp_path / "job.json").write_text(out)
    code, out, _ = command("video", "--resume", "job.json", "-o", "later.mp4")
    assert (code, out) == (0, "later.mp4\n")


def test_usage_errors(server: Server, command: Any, tmp_path: Path) -> None:
    """Each is one line, and nothing is sent."""
    (tmp_path / "bad.json").write_text("[1]")
    for arguments in (["--resume", "bad.json"], ["--resume", "none.json"], ["fox", "--resume", "bad.json"], ["fox", "--resume", "x", "--detach"], [""]):
        code, out, err = command("video", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1), arguments
    assert command("video", "a fox")[0] == 2  # there is no default model
    assert not server.requests


def test_each_image_has_the_next_seed(server: Server, command: Any) -> None:
    """Of several images the seed counts up, and begins again at zero."""
    mapping(server, "hf-inference")
    server.on("/hf-inference/models/acme/painter", plain(PNG, 200, "Content-Type: image/png"))
    code, out, err = command("image", "a fox", "-m", MODEL, "-n", "3", "--seed", "4294967294", "-o", "{seed}.png")
    assert (code, err, out.split()) == (0, "", ["4294967294.png", "4294967295.png", "0.png"])
