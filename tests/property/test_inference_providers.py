"""Any answer of a provider is a result, a job or an hfclient error."""

from __future__ import annotations

import contextlib
import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hfclient.errors import HFClientError
from hfclient.files.data_urls import decode_base64, decode_data_url
from hfclient.files.media_types import dimensions, sniff
from hfclient.inference.models.mapping import ProviderEntry, parse_mapping
from hfclient.inference.providers import PROVIDERS, TAKES, Answer, MediaRequest, MediaResult, QueuedJob, Target
from hfclient.inference.providers.base import id_path
from hfclient.inference.providers.parameters import checked

KEYS = st.sampled_from(
    "b64_json code content_type data detail error has_nsfw_concepts id image image_result images logs message output "
    "outputs progress_percent queue_position reason request_id response_url seed status task task_id task_status url urls "
    "get cancel video video_url videos width".split()
)
WORDS = st.sampled_from(
    "COMPLETED IN_QUEUE SUCCESS TASK_STATUS_SUCCEED completed processing queued succeeded https://x/y data:,a //x/../y ..".split()
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8) | WORDS
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=12)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=6)
_settings = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
TARGET = Target("https://router.example/p", routed=True)
QUEUED = QueuedJob(provider="any", id="1", url="https://router.example/p/1", result_url="https://router.example/p/1/r")


@pytest.mark.parametrize("name", PROVIDERS)
@_settings
@given(data=OBJECTS, rest=st.data())
def test_any_answer(name: str, data: dict[str, Any], rest: st.DataObject) -> None:
    """Any object as an answer, or as a poll's answer, is a result, a job at the provider's own URL, or an error."""
    provider = PROVIDERS[name]
    answer = Answer(json.dumps(data).encode())
    task = rest.draw(st.sampled_from(list(TAKES[name])))
    work = MediaRequest(task=task, entry=ProviderEntry(name, "m"), prompt="x")
    looks = (
        lambda: provider.decode(work, TARGET, answer),
        lambda: provider.decode_poll(QUEUED, TARGET, answer),
        lambda: provider.decode_poll(QUEUED.fetch(), TARGET, answer),
    )
    for look in looks:
        with contextlib.suppress(HFClientError):
            found = look()
            assert isinstance(found, (MediaResult, QueuedJob))
            if isinstance(found, MediaResult):
                assert all(output.content or output.url for output in found.outputs)
                assert found.outputs
            else:
                assert found.state in ("queued", "running")
                for url in (found.url, found.result_url, found.cancel and found.cancel[1]):
                    assert url is None or url.startswith("https://router.example/p/")
                    assert url is None or ".." not in urlsplit(url).path.split("/")


@_settings
@given(st.binary(max_size=60), st.sampled_from(["", "image/png", "application/json", "text/html", "application/octet-stream"]))
def test_any_bytes(body: bytes, kind: str) -> None:
    """Any bytes of any media type are a result or an hfclient error."""
    work = MediaRequest(task="text-to-image", entry=ProviderEntry("together", "m"), prompt="x")
    with contextlib.suppress(HFClientError):
        assert isinstance(PROVIDERS["together"].decode(work, TARGET, Answer(body, kind)), MediaResult)


@_settings
@given(st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"RIFF\0\0\0\0WEBPVP8 ", b"RIFF....WEBPVP8L", b""]), st.binary())
def test_any_image(start: bytes, rest: bytes) -> None:
    """Reading a broken image never raises."""
    sniff(start + rest)
    found = dimensions(start + rest)
    assert found is None or len(found) == 2


@_settings
@given(st.text())
def test_any_text(text: str) -> None:
    """Broken base64, data URLs and names raise only hfclient errors."""
    decode_base64(text)
    decode_data_url("data:" + text)
    with contextlib.suppress(HFClientError):
        assert ".." not in id_path(text).split("/")
    with contextlib.suppress(HFClientError):
        assert TARGET.resolve_link(text).startswith("https://router.example/p/")


@_settings
@given(VALUES)
def test_any_mapping(value: Any) -> None:
    """Any value in place of a mapping gives usable entries."""
    assert all(entry.provider and entry.provider_id for entry in parse_mapping(value, "a/b"))


@_settings
@given(st.dictionaries(st.sampled_from(["size", "width", "height", "seed", "steps", "guidance", "aspect_ratio"]), LEAVES))
def test_any_settings(chosen: dict[str, Any]) -> None:
    """Any settings work or are refused."""
    with contextlib.suppress(HFClientError):
        assert None not in checked(chosen).values()
