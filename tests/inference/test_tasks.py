"""Tasks over real HTTP: embeddings, speech, pipelines, with errors and broken connections."""

from __future__ import annotations

import base64
import io
import json
import struct
import sys
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hfclient import events
from hfclient.credentials import Credentials, Secret
from hfclient.errors import (
    APIStatusError,
    BadRequestError,
    ConnectError,
    CredentialsError,
    GenerationError,
    InvalidInputError,
    MissingDependencyError,
    ModelNotFound,
    NotFoundError,
    ProtocolError,
    RequestTooLargeError,
    ServerError,
    TransportTimeout,
    Unsupported,
)
from hfclient.inference import InferenceClient
from hfclient.inference.tasks import BoxedObject, Classification, Segment, Transcript, TranscriptChunk, sending
from hfclient.inference.tasks.audio import Audio
from hfclient.transport import Retry, Session, Timeouts, Transport
from tests.clock import FakeTime
from tests.server import PATIENCE, RST, Recorded, Server, json_answer, plain

WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(28)
MP3 = b"ID3\x04" + bytes(30)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(30)
MODEL = "o/model"
HF = f"/hf-inference/models/{MODEL}"
PIPELINE = f"{HF}/pipeline/feature-extraction"
Make = Callable[..., InferenceClient]


@pytest.fixture
def make(server: Server, transport: Transport) -> Make:
    """Makes clients for each transport; the server is router and Hub, or with ``own=True`` the caller's own."""

    def make(*, own: bool = False, token: str = "hf_secret", **options: Any) -> InferenceClient:
        credentials = Credentials(token=Secret(token) if token else None, explicit=True, token_urls=[server.url])
        timeouts = options.pop("timeouts", Timeouts(idle=PATIENCE, total=2 * PATIENCE))
        session = Session(transport, credentials, timeouts=timeouts, retry=Retry(attempts=2, backoff=0.01))
        places = {} if own else {"router_url": server.url}
        return InferenceClient(session, base_url=f"{server.url}/v1", hub_url=server.url, **places, **options)  # type: ignore[arg-type]

    return make


def serve_mapping(server: Server, task: str, **providers: str) -> None:
    mapping = {
        name.replace("_", "-"): {"status": "live", "providerId": known, "task": task}
        for name, known in providers.items()
    }
    server.on(f"/api/models/{MODEL}", json_answer({"id": MODEL, "inferenceProviderMapping": mapping}))


def lengths(request: Recorded) -> bytes:
    """Embeddings that identify their texts."""
    data = request.json()
    return json_answer([[float(len(text)), 1.0] for text in data["inputs"]])


def reversed_items(request: Recorded) -> bytes:
    items = [{"index": i, "embedding": [len(text), 1]} for i, text in enumerate(request.json()["input"])]
    return json_answer({"data": items[::-1]})


# Embeddings


def test_embeddings_at_hf_inference(server: Server, make: Make) -> None:
    """Texts are sent in batches, with the settings at the root; the vectors come in the order of the texts."""
    server.on(PIPELINE, [lengths])
    client = make(bill_to="acme")
    found = client.embed(["a", "bb", "ccc"], model=MODEL, provider="hf-inference", batch_size=2, prompt_name="query")
    assert found == [[1.0, 1.0], [2.0, 1.0], [3.0, 1.0]]
    assert [request.json() for request in server.requests] == [
        {"inputs": ["a", "bb"], "prompt_name": "query"},
        {"inputs": ["ccc"], "prompt_name": "query"},
    ]
    assert server.last.headers["authorization"] == "Bearer hf_secret"
    assert server.last.headers["x-hf-bill-to"] == "acme"


def test_nothing_to_embed(server: Server, make: Make) -> None:
    """Without texts nothing is sent, not even to the Hub."""
    assert make().embed([], model=MODEL) == []
    assert server.requests == []


def test_embeddings_at_a_mapped_provider(server: Server, make: Make) -> None:
    """The Hub's mapping gives the provider and its id of the model; the vectors are sorted and normalized."""
    serve_mapping(server, "feature-extraction", deepinfra="bge-at-deepinfra")
    server.on("/deepinfra/v1/openai/embeddings", [reversed_items])
    assert make().embed(["aaaa", "bb"], model=MODEL, normalize=True)[0] == pytest.approx([0.9701, 0.2425], abs=1e-4)
    assert server.last.json() == {"model": "bge-at-deepinfra", "input": ["aaaa", "bb"], "encoding_format": "float"}


def test_embeddings_failover(server: Server, make: Make) -> None:
    """If a provider fails, a Failover event comes and the next one gets this and all later batches."""
    serve_mapping(server, "feature-extraction", together="t", hf_inference=MODEL)
    server.on("/together/v1/embeddings", plain("busy", 503))
    server.on(PIPELINE, [lengths])
    seen: list[Any] = []
    assert make(on_event=seen.append).embed(["a", "bb"], model=MODEL, batch_size=1) == [[1.0, 1.0], [2.0, 1.0]]
    assert [(event.provider, event.to) for event in seen if isinstance(event, events.Failover)] == [
        ("together", "hf-inference")
    ]
    paths = [request.path for request in server.requests if request.method == "POST"]
    assert paths == ["/together/v1/embeddings"] * 2 + [PIPELINE] * 2


def test_embeddings_of_own_server(server: Server, make: Make) -> None:
    """An OpenAI-compatible server gets /v1/embeddings, without a model if none was named."""
    server.on("/v1/embeddings", [reversed_items])
    assert make(own=True).embed("abc") == [[3.0, 1.0]]
    assert server.last.json() == {"input": ["abc"], "encoding_format": "float"}


def test_embeddings_of_tei(server: Server, make: Make) -> None:
    """Without /v1/embeddings, /embed is used, from then on directly; provider="tei" uses it at once."""
    server.on("/v1/embeddings", plain("", 404))
    server.on("/embed", [lengths])
    client = make(own=True)
    assert client.embed(["a", "bb"], batch_size=1) == [[1.0, 1.0], [2.0, 1.0]]
    assert client.embed(["a"], provider="tei", truncate=True) == [[1.0, 1.0]]
    assert [request.path for request in server.requests] == ["/v1/embeddings", "/embed", "/embed", "/embed"]
    assert server.last.json() == {"inputs": ["a"], "truncate": True}


def test_server_without_embeddings(server: Server, make: Make) -> None:
    """Without any route, the error is about /v1/embeddings."""
    server.on("*", plain("not here", 404))
    with pytest.raises(NotFoundError) as caught:
        make(own=True).embed(["a"])
    assert str(caught.value.url).endswith("/v1/embeddings")


def test_too_large_batches(server: Server, make: Make) -> None:
    """A batch that is too large for the server is halved and keeps the order; a single text raises."""

    def picky(request: Recorded) -> bytes:
        return plain('{"error":"batch"}', 413) if len(request.json()["inputs"]) > 2 else lengths(request)

    server.on(PIPELINE, [picky])
    texts = ["x" * n for n in range(1, 8)]
    found = make().embed(texts, model=MODEL, provider="hf-inference")
    assert [vector[0] for vector in found] == [1, 2, 3, 4, 5, 6, 7]
    server.on(PIPELINE, plain("", 413))
    with pytest.raises(RequestTooLargeError):
        make().embed(texts, model=MODEL, provider="hf-inference")


def test_broken_connection(server: Server, make: Make) -> None:
    """An embedding request is repeated after a reset connection."""
    server.on(PIPELINE, [RST], [lengths])
    assert make().embed(["a"], model=MODEL, provider="hf-inference") == [[1.0, 1.0]]
    assert len(server.requests) == 2


def test_loading_model(server: Server, make: Make) -> None:
    """After 503 with an estimated time the client waits, but not beyond the deadline."""
    loading = json_answer({"error": "Model o/model is currently loading", "estimated_time": 0.02}, 503)
    server.on(PIPELINE, loading, loading, loading, loading, [lengths])
    assert make().embed(["a"], model=MODEL, provider="hf-inference") == [[1.0, 1.0]]
    server.on(PIPELINE, json_answer({"error": "loading", "estimated_time": 60}, 503))
    with pytest.raises(APIStatusError, match="loading"):
        make().embed(["a"], model=MODEL, provider="hf-inference", timeouts=Timeouts(total=PATIENCE))


def test_too_few_vectors(server: Server, make: Make) -> None:
    """Fewer vectors than texts raise an error."""
    server.on(PIPELINE, json_answer([[1.0]]))
    with pytest.raises(ProtocolError, match="2 texts"):
        make().embed(["a", "b"], model=MODEL, provider="hf-inference")


def test_one_deadline_for_all_batches(server: Server, make: Make, clock: FakeTime) -> None:
    """The total deadline covers the whole call, not each batch."""
    server.on(PIPELINE, [lambda _: clock.advance(0.4 * PATIENCE), lengths])
    with pytest.raises(TransportTimeout) as caught:
        make().embed(["a"] * 20, model=MODEL, provider="hf-inference", batch_size=1, timeouts=Timeouts(total=PATIENCE))
    assert caught.value.deadline == "total"
    assert len(server.requests) == 3


def test_recommended_model(server: Server, make: Make) -> None:
    """Without a model the Hub's recommended one is used; if it has none, the error asks for a name."""
    server.on("/api/tasks", json_answer({"feature-extraction": {"widgetModels": [MODEL]}}))
    server.on(PIPELINE, [lengths])
    client = make()
    assert client.embed("a", provider="hf-inference") == [[1.0, 1.0]]
    with pytest.raises(InvalidInputError, match="name a model"):
        client.task("summarization", "long")


def test_rankings(server: Server, make: Make) -> None:
    """Both kinds of servers rank texts; the router does not."""
    server.on("/v1/rerank", plain("", 404))
    server.on("/rerank", json_answer([{"index": 0, "score": 0.1}, {"index": 1, "score": 0.9}]))
    client = make(own=True)
    assert [found.index for found in client.rerank("q", ["a", "b"])] == [1, 0]
    assert server.last.json() == {"query": "q", "texts": ["a", "b"]}
    server.on("/v1/rerank", json_answer({"results": [{"index": 0, "relevance_score": 5}]}))
    assert client.rerank("q", ["a"], model="m")[0].score == 5
    assert server.last.json() == {"model": "m", "query": "q", "documents": ["a"]}
    assert client.rerank("q", []) == []
    with pytest.raises(Unsupported, match="router"):
        make().rerank("q", ["a"])


def test_sentence_encoders_embed(server: Server, make: Make) -> None:
    """Models for sentence similarity and for feature extraction both embed, as the Hub lists many as the other."""
    serve_mapping(server, "sentence-similarity", hf_inference="its/own-name")
    server.on(PIPELINE, [lengths])
    assert make().embed("abc", model=MODEL) == [[3.0, 1.0]]


def test_unknown_provider(server: Server, make: Make) -> None:
    """An unknown provider in the model's suffix raises; no other provider is called."""
    serve_mapping(server, "feature-extraction", together="x")
    with pytest.raises(Unsupported, match="no provider 'togther'"):
        make().embed("a", model=f"{MODEL}:togther")
    assert server.requests == []


def test_numpy(server: Server, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors come as an array; without numpy the call raises before a request is sent."""
    np = pytest.importorskip("numpy")
    server.on("/v1/embeddings", [reversed_items])
    found = make(own=True).embed(["a", "bb", "ccc"], as_numpy=True, batch_size=2)
    assert (found.dtype, found.tolist()) == (np.float32, [[1.0, 1.0], [2.0, 1.0], [3.0, 1.0]])
    assert make(own=True).embed([], as_numpy=True).shape == (0, 0)
    count = len(server.requests)
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(MissingDependencyError, match="pip install numpy"):
        make(own=True).embed(["a"], as_numpy=True)
    assert len(server.requests) == count


def test_inference_endpoint(server: Server, make: Make) -> None:
    """A server without OpenAI's and text-embeddings-inference's routes gets the pipeline's, from then on directly."""
    for route in ("embeddings", "audio/transcriptions", "audio/speech"):
        server.on(f"/v1/{route}", json_answer({"error": f"no /v1/{route}"}, 404))
    server.on("/embed", plain(b"", 404))
    server.on("/", [lengths])
    client = make(own=True)
    assert client.embed(["abc", "d"], batch_size=1) == [[3.0, 1.0], [1.0, 1.0]]
    assert client.embed("ef", truncate=True, provider="hf-inference") == [[2.0, 1.0]]
    assert client.embed("ef") == [[2.0, 1.0]]
    assert [r.path for r in server.requests] == ["/v1/embeddings", "/embed", "/", "/", "/", "/"]
    server.on("/", json_answer({"text": "hi"}))
    said = client.transcribe(WAV)
    assert (said.text, said.provider, server.last.body) == ("hi", "hf-inference", WAV)
    server.on("/", plain(b"fLaC....", 200, "Content-Type: audio/flac"))
    spoken = client.speak("hi")
    assert (spoken.mime, spoken.provider) == ("audio/flac", "hf-inference")
    assert [r.path for r in server.requests[6:]] == ["/v1/audio/transcriptions", "/", "/v1/audio/speech", "/"]
    server.on("/", json_answer({"error": "no route"}, 405))
    with pytest.raises(NotFoundError, match="/v1/audio/speech"):
        client.speak("hi")
    with pytest.raises(NotFoundError, match="/v1/audio/speech"):
        client.speak("hi", voice="x")
    server.on("/", json_answer({"error": "out of memory"}, 500))
    with pytest.raises(ServerError, match="out of memory"):
        client.speak("hi")


@pytest.mark.parametrize("url", ["https://x.endpoints.huggingface.cloud", "http://u:pw@localhost:8080/v1", " HTTP://evil.example"])
def test_url_as_model(url: str, server: Server, make: Make) -> None:
    """A URL as the model's name raises an error that names inference.at(); nothing is sent."""
    for client in (make(), make(own=True)):
        for method, arguments in (
            (client.chat, ["hi"]),
            (client.text, ["hi"]),
            (client.image, ["hi"]),
            (client.video, ["hi"]),
            (client.embed, ["hi"]),
            (client.speak, ["hi"]),
            (client.transcribe, [WAV]),
            (client.task, ["summarization", "hi"]),
            (client.task, ["image-segmentation", PNG]),
            (client.classify, ["hi"]),
            (client.rerank, ["hi", ["x"]]),
        ):
            with pytest.raises(InvalidInputError, match=r"inference\.at\(") as caught:
                method(*arguments, model=url)  # type: ignore[operator]
            assert "pw" not in str(caught.value)
        with pytest.raises(InvalidInputError, match=r"inference\.at\("):
            client.model(url)
    assert server.requests == []


def test_another_server(server: Server, other_server: Server, make: Make) -> None:
    """at() calls another server; a token that was passed goes there, one from the environment does not."""
    other_server.on("/v1/embeddings", [reversed_items])
    client = make(bill_to="acme")
    assert client.at(other_server.url).embed("abc") == [[3.0, 1.0]]
    assert other_server.last.headers["authorization"] == "Bearer hf_secret"
    assert "x-hf-bill-to" not in other_server.last.headers
    client._service.session.credentials.explicit = False
    assert client.at(f"{other_server.url}/v1/").embed("abc") == [[3.0, 1.0]]
    assert "authorization" not in other_server.last.headers
    assert not client._service.session.credentials.headers_for(other_server.url), "the client itself is unchanged"
    with pytest.raises(InvalidInputError):
        client.at("ftp://x")


# Speech


def parts_of(request: Recorded) -> list[tuple[str, str]]:
    """The parts of a form: the line with the name, and the content."""
    boundary = request.headers["content-type"].partition("boundary=")[2].strip('"')
    found = []
    for part in request.body.decode("latin-1").split(f"--{boundary}")[1:-1]:
        head, _, content = part.partition("\r\n\r\n")
        found.append((head.strip().split("\r\n")[0].partition("form-data; ")[2], content[:-2]))
    return found


def test_transcription_at_hf_inference(server: Server, make: Make) -> None:
    """The body is the audio with its type, or base64 with settings; the result has the request id."""
    server.on(HF, json_answer({"text": "hi"}, 200, "x-request-id: r1"))
    client = make()
    assert client.transcribe(WAV, model=MODEL, provider="hf-inference") == Transcript(
        "hi", provider="hf-inference", request_id="r1"
    )
    assert (server.last.body, server.last.headers["content-type"]) == (WAV, "audio/wav")
    client.transcribe(io.BytesIO(WAV), model=MODEL, provider="hf-inference", timestamps=True, language="en")
    assert server.last.json() == {
        "inputs": base64.b64encode(WAV).decode(),
        "parameters": {"return_timestamps": True, "generation_parameters": {"language": "en"}},
    }


def test_transcription_as_a_form(server: Server, make: Make, tmp_path: Path) -> None:
    """OpenAI-compatible servers get a form with the model first and a file name with the format's suffix."""
    server.on(
        "/v1/audio/transcriptions", json_answer({"text": "hi", "segments": [{"text": "hi", "start": 0, "end": 1}]})
    )
    path = tmp_path / "no-ending"
    path.write_bytes(MP3)
    found = make(own=True).transcribe(path, model="whisper", timestamps=True, extra_body={"vad": True, "user": None})
    assert found.chunks == (TranscriptChunk("hi", 0.0, 1.0),)
    assert parts_of(server.last) == [
        ('name="model"', "whisper"),
        ('name="response_format"', "verbose_json"),
        ('name="timestamp_granularities[]"', "segment"),
        ('name="vad"', "true"),
        ('name="file"; filename="audio.mp3"', MP3.decode("latin-1")),
    ]


def test_audio_of_an_unknown_type(server: Server, make: Make, tmp_path: Path) -> None:
    """If the first bytes are unknown, the file keeps its own name, whose suffix tells servers the format."""
    server.on("/v1/audio/transcriptions", json_answer({"text": "hi"}))
    server.on(HF, json_answer({"text": "hi"}))
    path = tmp_path / "call of monday.caf"
    path.write_bytes(b"\0\1\2\3")
    for source in (path, str(path), path.open("rb")):
        make(own=True).transcribe(source)
        assert parts_of(server.last)[-1][0] == 'name="file"; filename="audio.caf"'
        if hasattr(source, "close"):
            source.close()
    make(own=True).transcribe(b"\0\1\2\3")
    assert parts_of(server.last)[-1][0] == 'name="file"; filename="audio.bin"'
    odd = tmp_path / 'x.a"b; c'
    odd.write_bytes(b"\0\1\2\3")
    make(own=True).transcribe(odd)
    assert parts_of(server.last)[-1][0] == 'name="file"; filename="audio.bin"'
    lies = tmp_path / "x.wav"
    lies.write_bytes(MP3)
    make(own=True).transcribe(lies)
    assert parts_of(server.last)[-1][0] == 'name="file"; filename="audio.mp3"', "the first bytes decide"


def test_transcription_at_fal(server: Server, make: Make) -> None:
    """fal-ai gets a data URL of an allowed type; other types and settings raise before a request is sent."""
    serve_mapping(server, "automatic-speech-recognition", fal_ai="fal-ai/whisper")
    server.on("/fal-ai/fal-ai/whisper", json_answer({"text": "hi", "chunks": [{"text": "hi", "timestamp": [0, 1]}]}))
    client = make()
    assert client.transcribe(WAV, model=MODEL).text == "hi"
    assert server.last.json() == {"audio_url": "data:audio/x-wav;base64," + base64.b64encode(WAV).decode()}
    count = len(server.requests)
    with pytest.raises(InvalidInputError, match="audio/flac"):
        client.transcribe(b"fLaC....", model=MODEL)
    with pytest.raises(Unsupported, match="language"):
        client.transcribe(WAV, model=MODEL, language="en")
    assert len(server.requests) == count


def test_transcription_at_replicate(server: Server, make: Make) -> None:
    """A running prediction is polled at the path of its link below the router."""
    serve_mapping(server, "automatic-speech-recognition", replicate="openai/whisper")
    link = {"get": "https://api.replicate.com/v1/predictions/p1"}
    server.on(
        "/replicate/v1/models/openai/whisper/predictions",
        json_answer({"id": "p1", "status": "processing", "urls": link}, 201),
    )
    done = {"id": "p1", "status": "succeeded", "output": {"transcription": "hi"}}
    server.on("/replicate/v1/predictions/p1", json_answer(done))
    assert make().transcribe(WAV, model=MODEL).text == "hi"
    assert server.requests[1].headers["prefer"] == "wait"
    assert server.last.headers["authorization"] == "Bearer hf_secret"
    server.on("/replicate/v1/predictions/p1", json_answer({"id": "p1", "status": "failed", "error": "no speech"}))
    with pytest.raises(GenerationError, match="no speech"):
        make().transcribe(WAV, model=MODEL)


def test_transcript_before_the_status(server: Server, make: Make) -> None:
    """A prediction with a text is done, whatever its status, except for a failed one."""
    serve_mapping(server, "automatic-speech-recognition", replicate="openai/whisper")
    route = "/replicate/v1/models/openai/whisper/predictions"
    server.on(route, json_answer({"id": "p1", "status": "processing", "output": {"translation": "hi"}}, 201))
    assert make().transcribe(WAV, model=MODEL).text == "hi"
    assert server.last.path == route
    server.on(route, json_answer({"id": "p1", "status": "canceled", "output": {"text": "h"}}, 201))
    with pytest.raises(GenerationError, match="canceled"):
        make().transcribe(WAV, model=MODEL)


def test_poll_that_is_a_page(server: Server, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll that returns an HTML page is repeated, because the prediction is billed and still runs."""
    monkeypatch.setattr(sending, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(sending, "_MISSES", 2)
    serve_mapping(server, "automatic-speech-recognition", replicate="openai/whisper")
    server.on("/replicate/v1/models/openai/whisper/predictions", json_answer({"id": "p1", "status": "starting"}, 201))
    page = plain("<html>wait</html>", 200, "Content-Type: text/html")
    server.on("/replicate/v1/predictions/p1", page, json_answer({"id": "p1", "status": "succeeded", "output": "hi"}))
    assert make().transcribe(WAV, model=MODEL).text == "hi"
    server.on("/replicate/v1/predictions/p1", page)
    with pytest.raises(ProtocolError) as caught:
        make().transcribe(WAV, model=MODEL)
    assert caught.value.body == "<html>wait</html>"


def test_transcripts_as_text(server: Server, make: Make) -> None:
    """With a response_format for text or subtitles, the transcript is parsed and ``raw`` has the body."""
    srt = "1\n00:00:00,000 --> 00:00:01,000\nHello there.\n"
    for form, body in (("text", "Hello there.\n"), ("srt", srt), ("vtt", "WEBVTT\n\n00:00.000 --> 00:01.000\nHello there.\n")):
        server.on("/v1/audio/transcriptions", plain(body, 200, "Content-Type: text/plain; charset=utf-8"))
        said = make(own=True).transcribe(WAV, extra_body={"response_format": form})
        assert said.text.strip() == "Hello there."
        assert said.raw["text"] == body
        assert len(said.chunks) == (form != "text")


def test_result_without_a_prediction(server: Server, make: Make) -> None:
    """An answer of replicate that is not a prediction is the result itself; an error is raised."""
    serve_mapping(server, "automatic-speech-recognition", replicate="openai/whisper")
    route = "/replicate/v1/models/openai/whisper/predictions"
    for answer in (json_answer({"text": "hi"}), json_answer("hi"), plain("hi", 200, "Content-Type: text/plain")):
        server.on(route, answer)
        assert make().transcribe(WAV, model=MODEL).text == "hi"
    for answer in (json_answer({"detail": "hi"}), json_answer({"error": "hi"})):
        server.on(route, answer)
        with pytest.raises(GenerationError, match="hi"):
            make().transcribe(WAV, model=MODEL)


def test_transcript_behind_a_link(server: Server, other_server: Server, make: Make) -> None:
    """A transcript behind a link is fetched without credentials; on failure the error has the link."""
    serve_mapping(server, "automatic-speech-recognition", replicate="openai/whisper")
    url = f"{other_server.url}/out.srt?sig=1"
    server.on("/replicate/v1/models/openai/whisper/predictions", json_answer({"id": "p1", "status": "succeeded", "output": {"srt_file": url}}))
    other_server.on("/out.srt", plain("1\n00:00:00,000 --> 00:00:01,000\nHello there.\n"))
    assert make().transcribe(WAV, model=MODEL).text == "Hello there."
    assert "authorization" not in other_server.last.headers
    other_server.on("/out.srt", plain("gone", 404))
    with pytest.raises(NotFoundError) as caught:
        make().transcribe(WAV, model=MODEL)
    assert url in caught.value.links


def test_unknown_transcript_is_kept(server: Server, make: Make) -> None:
    """The error for an unknown form has the body and its links."""
    server.on("/v1/audio/transcriptions", json_answer({"words_at": "https://h/x.json", "n": 5}))
    with pytest.raises(ProtocolError, match=r"h/x\.json") as caught:
        make(own=True).transcribe(WAV)
    assert caught.value.links == ("https://h/x.json",)
    assert caught.value.body is not None


def test_vectors_before_a_failure(server: Server, make: Make) -> None:
    """If a later batch fails, the error has the vectors of the earlier ones."""
    server.on("/v1/embeddings", json_answer({"data": [{"embedding": [1.0]}]}), json_answer({"data": "?"}))
    with pytest.raises(ProtocolError) as caught:
        make(own=True).embed(["a", "b"], batch_size=1)
    assert caught.value.completed == ([1.0],)


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("memo.m4a", b"\0\0\0\x20ftypM4A " + bytes(40), "audio/m4a"),
        ("memo.m4a", b"\0\0\0\x20ftypisom" + bytes(40), "audio/m4a"),
        ("talk.mp4", b"\0\0\0\x20ftypisom" + bytes(40), "audio/m4a"),
        ("rec.webm", b"\x1a\x45\xdf\xa3\x9f\x42\x82\x84webm" + bytes(40), "audio/webm"),
        ("a.mp3", MP3, "audio/mpeg"),
        ("a.mp3", b"\xff\xfb\x90\0" * 10, "audio/mpeg"),
        ("a.wav", WAV, "audio/wav"),
        ("a.flac", b"fLaC" + bytes(20), "audio/flac"),
        ("a.opus", b"OggS" + bytes(20), "audio/ogg"),
        ("a.amr", b"#!AMR\n" + bytes(20), "audio/amr"),
        ("a.aac", b"\xff\xf1" + bytes(20), "audio/x-audio"),
        ("a.aiff", b"FORM\0\0\0\0AIFF" + bytes(20), "audio/x-audio"),
        ("a.3gp", b"\0\0\0\x20ftyp3gp4" + bytes(40), "audio/x-audio"),
        ("a.xyz", b"\0\1\2\3", "audio/x-audio"),
    ],
)
def test_content_types_of_pipelines(server: Server, make: Make, tmp_path: Path, name: str, content: bytes, kind: str) -> None:
    """Files have a Content-Type that hf-inference and Inference Endpoints accept, for audio and images."""
    server.on(HF, json_answer({"text": "hi"}))
    path = tmp_path / name
    path.write_bytes(content)
    for source in (path, path.open("rb"), (name, content), (name, content, "application/octet-stream")):
        assert make().transcribe(source, model=MODEL, provider="hf-inference").text == "hi"
        assert server.last.headers["content-type"] == kind
        if hasattr(source, "close"):
            source.close()
    server.on(HF, json_answer([{"generated_text": "x"}]))
    make().caption(b"\0\0\0\x20ftypavif" + bytes(40), model=MODEL)
    assert server.last.headers["content-type"] == "image/x-image"


def test_endless_prediction(server: Server, make: Make, clock: FakeTime) -> None:
    """The deadline ends the wait for a transcript, and the prediction is cancelled."""
    serve_mapping(server, "automatic-speech-recognition", replicate="openai/whisper")
    links = {name: f"https://api.replicate.com/v1/predictions/p1/{name}" for name in ("get", "cancel")}
    started = {"id": "p1", "status": "starting", "urls": links}
    server.on("/replicate/v1/models/openai/whisper/predictions", json_answer(started, 201))
    look = json_answer({**started, "status": "processing"})
    server.on("/replicate/v1/predictions/p1/get", look, [lambda _: clock.advance(PATIENCE), look])
    server.on("/replicate/v1/predictions/p1/cancel", json_answer({"id": "p1", "status": "canceled"}))
    with pytest.raises(TransportTimeout, match="total"):
        make().transcribe(WAV, model=MODEL, timeouts=Timeouts(total=PATIENCE))
    assert (server.last.method, server.last.path) == ("POST", "/replicate/v1/predictions/p1/cancel")
    assert server.last.headers["authorization"] == "Bearer hf_secret"


def test_audio_by_its_url(server: Server, other_server: Server, make: Make) -> None:
    """Audio by its URL is fetched without credentials."""
    other_server.on("/a.wav", plain(WAV))
    server.on("/v1/audio/transcriptions", json_answer({"text": "hi"}))
    assert make(own=True).transcribe(f"{other_server.url}/a.wav").text == "hi"
    assert "authorization" not in other_server.last.headers


@pytest.mark.parametrize(
    "audio", [b"", PNG, b"<html>", "no-such-file.wav", "data:nonsense", 5, io.StringIO("x")], ids=range(7)
)
def test_input_that_is_not_audio(audio: Any, server: Server, make: Make) -> None:
    """Input that is not audio raises before a request is sent."""
    with pytest.raises(InvalidInputError):
        make().transcribe(audio, model=MODEL)
    assert server.requests == []


@pytest.mark.parametrize("wrap", [lambda numbers: numbers, lambda numbers: [numbers], lambda numbers: [[numbers]]])
def test_speech_as_samples(server: Server, make: Make, wrap: Any) -> None:
    """Samples from a pipeline become WAV; invalid samples raise an error that has them."""
    numbers = [0.0, 0.5, -1.0, 2.0]
    server.on(HF, json_answer({"audio": wrap(numbers), "sampling_rate": 16000}))
    said = make().speak("hi", model=MODEL, provider="hf-inference")
    with wave.open(io.BytesIO(said.content)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
        assert struct.unpack("<4h", file.readframes(9)) == (0, 16384, -32767, 32767)
    for audio, rate in ((numbers, 0), (numbers, "x"), (["a"], 8000), ([], 8000), ([[1.0], [2.0]], 8000), (None, 8000)):
        server.on(HF, json_answer({"audio": audio, "sampling_rate": rate}))
        with pytest.raises((ProtocolError, GenerationError)) as caught:
            make().speak("hi", model=MODEL, provider="hf-inference")
        assert "sampling_rate" in (caught.value.body or "")


def test_audio_tracks(server: Server, other_server: Server, make: Make) -> None:
    """Tracks of audio-to-audio come as a list with labels, alone, as links, or as the body."""
    packed = base64.b64encode(WAV).decode()
    other_server.on("/a.wav", plain(WAV))
    link = f"{other_server.url}/a.wav"
    for answer, labels in (
        (json_answer([{"label": "a", "blob": packed, "content-type": "audio/wav"}, {"label": "b", "blob": packed}]), ["a", "b"]),
        (json_answer({"blob": packed}), [""]),
        (json_answer({"audio": {"url": link}}), [""]),
        (json_answer([link]), [""]),
        (plain(WAV, 200, "Content-Type: audio/wav"), [""]),
    ):
        server.on(HF, answer)
        found = make().task("audio-to-audio", WAV, model=MODEL)
        assert [(track.content, track.label) for track in found] == [(WAV, label) for label in labels]
    server.on(HF, json_answer([{"label": "a", "sound": 5}]))
    with pytest.raises(ProtocolError) as caught:
        make().task("audio-to-audio", WAV, model=MODEL)
    assert caught.value.body == '[{"label": "a", "sound": 5}]'


def test_speech_at_hf_inference(server: Server, make: Make, tmp_path: Path) -> None:
    """The body is the audio; save() adds the right suffix."""
    server.on(HF, plain(b"fLaC....", 200, "Content-Type: audio/flac", "x-request-id: r1"))
    audio = make().speak("Good morning.", model=MODEL, provider="hf-inference")
    assert server.last.json() == {"inputs": "Good morning.", "parameters": {}}
    assert isinstance(audio, Audio)
    assert (audio.content, audio.mime, audio.prompt, audio.model) == (b"fLaC....", "audio/flac", "Good morning.", MODEL)
    assert (audio.provider, audio.request_id) == ("hf-inference", "r1")
    assert audio.save(tmp_path / "morning").read_bytes() == b"fLaC...."
    assert (tmp_path / "morning.flac").exists()
    assert "<audio controls" in audio._repr_mimebundle_()["text/html"]
    json.dumps(audio.to_dict())


def test_speech_at_other_providers(server: Server, other_server: Server, make: Make) -> None:
    """OpenAI's route, and links to a file on another host, which is fetched without credentials."""
    serve_mapping(server, "text-to-speech", together="hexgrad/Kokoro-82M")
    server.on("/together/v1/audio/speech", plain(MP3, 200, "Content-Type: audio/mpeg"))
    assert make().speak("hi", model=MODEL, format="mp3").mime == "audio/mpeg"
    sent = {"model": "hexgrad/Kokoro-82M", "input": "hi", "voice": "af_alloy", "response_format": "mp3"}
    assert server.last.json() == sent
    other_server.on("/x.wav", plain(WAV))
    serve_mapping(server, "text-to-speech", fal_ai="fal-ai/kokoro")
    server.on("/fal-ai/fal-ai/kokoro", json_answer({"audio": {"url": f"{other_server.url}/x.wav"}}))
    assert make().speak("hi", model=MODEL, extra_body={"voice": "x"}).content == WAV
    assert server.last.json() == {"text": "hi", "voice": "x"}
    assert "authorization" not in other_server.last.headers


def test_speech_is_not_repeated(server: Server, make: Make) -> None:
    """A request that may be billed is not repeated after a broken connection."""
    serve_mapping(server, "text-to-speech", fal_ai="fal-ai/kokoro", deepinfra="k")
    server.on("/fal-ai/fal-ai/kokoro", [RST])
    with pytest.raises(ConnectError):
        make().speak("hi", model=MODEL)
    assert [request.path for request in server.requests] == [f"/api/models/{MODEL}", "/fal-ai/fal-ai/kokoro"]


@pytest.mark.parametrize(
    "answer",
    [plain("<html>", 200, "Content-Type: text/html"), json_answer([]), plain(b"", 200, "Content-Type: audio/wav")],
)
def test_result_that_is_not_audio(answer: bytes, server: Server, make: Make) -> None:
    """An HTML page, an empty list or an empty body is not audio."""
    server.on(HF, answer)
    with pytest.raises((ProtocolError, GenerationError)):
        make().speak("hi", model=MODEL, provider="hf-inference")
    with pytest.raises(InvalidInputError, match="empty"):
        make().speak("  ", model=MODEL)


# Pipelines


def test_classify_by_type(server: Server, make: Make, tmp_path: Path) -> None:
    """Strings are text, bytes and files are images or audio by their first bytes, labels mean zero-shot."""
    server.on(HF, json_answer([[{"label": "A", "score": 0.9}]]))
    client = make()
    path = tmp_path / "cat.png"
    path.write_bytes(PNG)
    expected = [Classification("A", 0.9)]
    assert client.classify("I like it.", model=MODEL, top_k=1) == expected
    assert server.last.json() == {"inputs": "I like it.", "parameters": {"top_k": 1}}
    assert client.classify("I like it.", ["good", "bad"], model=MODEL, multi_label=True) == expected
    assert server.last.json()["parameters"] == {"candidate_labels": ["good", "bad"], "multi_label": True}
    assert client.classify(path, model=MODEL) == expected
    assert (server.last.body, server.last.headers["content-type"]) == (PNG, "image/png")
    assert client.classify(PNG, ["cat", "dog"], model=MODEL) == expected
    assert server.last.json()["parameters"] == {"candidate_labels": ["cat", "dog"]}
    assert client.classify(io.BytesIO(WAV), model=MODEL) == expected
    assert (server.last.body, server.last.headers["content-type"]) == (WAV, "audio/wav")
    with pytest.raises(InvalidInputError, match="neither"):
        client.classify(b"%PDF-1.7", model=MODEL)
    with pytest.raises(Unsupported, match="audio"):
        client.classify(WAV, ["a"], model=MODEL)


def test_one_at_a_time(server: Server, make: Make) -> None:
    """A list raises an error."""
    with pytest.raises(InvalidInputError, match="at a time"):
        make().classify(["a", "b"], model=MODEL)
    assert server.requests == []


def test_caption(server: Server, other_server: Server, make: Make) -> None:
    """An image by its URL is fetched without credentials and described."""
    other_server.on("/cat.png", plain(PNG))
    server.on(HF, json_answer([{"generated_text": "a cat"}]))
    assert make(token="").caption(f"{other_server.url}/cat.png", model=MODEL) == "a cat"
    assert server.last.body == PNG
    assert "authorization" not in server.last.headers


def test_tasks_by_name(server: Server, make: Make) -> None:
    """Tasks by name have typed results, and their own paths."""
    client = make(bill_to="acme")
    server.on(f"{HF}/pipeline/sentence-similarity", json_answer([0.9, 0.1]))
    inputs = {"source_sentence": "a", "sentences": ["b", "c"]}
    assert client.task("sentence-similarity", inputs, model=MODEL) == [0.9, 0.1]
    assert server.last.headers["x-hf-bill-to"] == "acme"
    box = {"xmin": 1, "ymin": 2, "xmax": 3, "ymax": 4}
    server.on(HF, json_answer([{"label": "cat", "score": 0.9, "box": box}]))
    (found,) = client.task("object-detection", PNG, model=MODEL, threshold=0.5)
    assert isinstance(found, BoxedObject)
    assert found.box.ymax == 4
    server.on(HF, json_answer([{"answer": "7", "score": 0.9}]))
    question = {"question": "Total?", "image": PNG}
    assert client.task("visual-question-answering", question, model=MODEL)[0].answer == "7"
    assert server.last.json()["inputs"] == {"question": "Total?", "image": base64.b64encode(PNG).decode()}
    server.on(
        HF, json_answer([{"label": "left", "content-type": "audio/flac", "blob": base64.b64encode(b"fLaC1").decode()}])
    )
    (track,) = client.task("audio-to-audio", WAV, model=MODEL)
    assert (track.label, track.content, track.mime) == ("left", b"fLaC1", "audio/flac")
    server.on(HF, json_answer({"text": "hi"}))
    assert client.task("automatic-speech-recognition", WAV, model=MODEL).provider == "hf-inference"


def test_unknown_tasks(server: Server, make: Make, tmp_path: Path) -> None:
    """The answer of an unknown task comes as it is: JSON, a text, a file, bytes."""
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    client = make(own=True)
    depths = {"predicted_depth": [[1.5, 2.5]], "depth": "iVBORw0K"}
    server.on("/", json_answer(depths))
    for source in (path, str(path), PNG, ("a.png", PNG)):
        assert client.task("depth-estimation", source) == depths
        assert (server.last.body, server.last.headers["content-type"]) == (PNG, "image/png")
    client.task("zero-shot-object-detection", path, candidate_labels=["cat"])
    packed = base64.b64encode(PNG).decode()
    assert server.last.json() == {"inputs": packed, "parameters": {"candidate_labels": ["cat"]}}
    client.task("image-to-something", str(path), parameters={"strength": 1})
    assert server.last.json() == {"inputs": packed, "parameters": {"strength": 1}}
    client.task("any-to-any", {"image": str(path), "text": str(path), "more": [1, 2]})
    assert server.last.json() == {"inputs": {"image": packed, "text": str(path), "more": [1, 2]}, "parameters": {}}
    client.task("text2text-generation", "hi")
    assert server.last.json() == {"inputs": "hi", "parameters": {}}
    for answer, expected in (
        (plain("words", 200, "Content-Type: text/plain"), "words"),
        (plain(PNG, 200, "Content-Type: image/png"), PNG),
        (plain(WAV, 200, "Content-Type: audio/wav"), WAV),
        (plain(b"glTF\0\1\2", 200, "Content-Type: application/octet-stream"), b"glTF\0\1\2"),
        (json_answer([1, 2]), [1, 2]),
    ):
        server.on("/", answer)
        found = client.task("text-to-3d", "a fox")
        assert getattr(found, "content", found) == expected
    server.on("/", json_answer({"error": "out of memory"}))
    with pytest.raises(GenerationError, match="out of memory"):
        client.task("text-to-3d", "a fox")
    with pytest.raises(InvalidInputError, match="takes a text, a file or a dict"):
        client.task("text-to-3d", "")


def test_unknown_task_with_a_model(server: Server, make: Make) -> None:
    """An unknown task with a model goes to the router, like every other task."""
    server.on(HF, json_answer({"masks": []}))
    assert make().task("mask-generation", PNG, model=MODEL) == {"masks": []}


def test_segmentation(server: Server, make: Make) -> None:
    """Segmentation uses the Hub's provider, hf-inference or fal-ai, whose mask has no label; settings need hf-inference."""
    mask = base64.b64encode(PNG).decode()
    path = "/fal-ai/fal-ai/birefnet/requests/q1"
    queued = {"request_id": "q1", "response_url": "https://queue.fal.run/fal-ai/birefnet/requests/q1"}
    server.on("/fal-ai/fal-ai/birefnet/v2", json_answer(queued))
    server.on(f"{path}/status", json_answer({"status": "COMPLETED"}))
    server.on(path, json_answer({"image": {"url": f"data:image/png;base64,{mask}"}}))
    server.on(HF, json_answer([{"label": "cat", "mask": mask, "score": 0.9}]))
    serve_mapping(server, "image-segmentation", fal_ai="fal-ai/birefnet/v2", hf_inference=MODEL)
    client = make()
    assert client.task("image-segmentation", PNG, model=MODEL) == [Segment("mask", PNG)]
    sent = next(r for r in server.requests if r.method == "POST")
    assert (sent.target, sent.json()) == (
        "/fal-ai/fal-ai/birefnet/v2?_subdomain=queue",
        {"image_url": f"data:image/png;base64,{mask}", "sync_mode": True},
    )
    assert client.task("image-segmentation", PNG, model=f"{MODEL}:fal-ai") == [Segment("mask", PNG)]
    assert client.task("image-segmentation", PNG, model=MODEL, provider="fal-ai") == [Segment("mask", PNG)]
    assert client.task("image-segmentation", PNG, model=MODEL, threshold=0.5)[0].label == "cat"
    assert client.task("image-segmentation", PNG, model=MODEL, provider="hf-inference")[0].label == "cat"
    with pytest.raises(Unsupported, match="fal-ai would ignore threshold"):
        client.task("image-segmentation", PNG, model=MODEL, provider="fal-ai", threshold=0.5)
    server.on(f"/api/models/{MODEL}", json_answer({"id": MODEL}))
    assert make().task("image-segmentation", PNG, model=MODEL)[0].label == "cat", "the model need not be in the mapping"


def test_pipelines_of_own_server(server: Server, make: Make) -> None:
    """An Inference Endpoint has no model in its path; text-embeddings-inference has its own routes."""
    server.on("/", json_answer([{"label": "A", "score": 0.9}]))
    server.on("/predict", json_answer([{"label": "B", "score": 0.9}]))
    client = make(own=True)
    assert client.classify("hi")[0].label == "A"
    assert client.classify("hi", provider="tei")[0].label == "B"
    assert server.last.json() == {"inputs": "hi"}
    with pytest.raises(Unsupported, match="text-embeddings-inference"):
        client.task("summarization", "long", provider="tei")
    with pytest.raises(Unsupported, match="server of your own"):
        make().classify("hi", provider="tei", model=MODEL)
    with pytest.raises(Unsupported, match="together"):
        make().classify("hi", provider="together", model=MODEL)


def test_missing_models(server: Server, make: Make) -> None:
    """A model that hf-inference does not have raises `ModelNotFound`; other errors keep its message."""
    server.on(HF, plain("Not Found", 404))
    with pytest.raises(ModelNotFound, match="does not serve o/model") as caught:
        make().classify("hi", model=MODEL)
    assert caught.value.model == MODEL
    server.on(HF, json_answer({"error": ["Error in `inputs`: field required"]}, 400))
    with pytest.raises(BadRequestError, match="field required"):
        make().classify("hi", model=MODEL)


def test_outdated_mapping(server: Server, make: Make) -> None:
    """If a provider does not have the model, the Hub's mapping is requested again."""
    serve_mapping(server, "feature-extraction", together="t")
    server.on("/together/v1/embeddings", json_answer({"error": "Model not supported by provider together"}, 400))
    client = make()
    for _ in range(2):
        with pytest.raises(ModelNotFound, match="together"):
            client.embed("a", model=MODEL)
    assert [request.path for request in server.requests].count(f"/api/models/{MODEL}") == 2


def test_renamed_model(server: Server, make: Make) -> None:
    """The redirect of a renamed model is followed, with the whole request."""
    server.on("/hf-inference/models/bert", plain("moved", 307, f"Location: {HF}"))
    server.on(HF, json_answer([{"label": "A", "score": 1}]))
    assert make().classify("hi", model="bert")[0].label == "A"
    assert server.last.json()["inputs"] == "hi"


def test_nothing_is_sent_without_a_token(server: Server, make: Make) -> None:
    """Without a token or key, providers other than hf-inference raise before a request is sent."""
    serve_mapping(server, "text-to-speech", together="k")
    with pytest.raises(CredentialsError, match="together"):
        make(token="").speak("hi", model=MODEL)
    assert [request.path for request in server.requests] == [f"/api/models/{MODEL}"]


# Models


def test_models(server: Server, make: Make) -> None:
    """models() lists the server's models, with filters the Hub's, lazily; model() has the providers."""
    server.on("/v1/models", json_answer({"data": [{"id": "a"}]}))
    server.on("/api/models", json_answer([{"id": MODEL, "inferenceProviderMapping": []}]))
    serve_mapping(server, "text-to-image", fal_ai="x")
    client = make()
    assert [model.id for model in client.models()] == ["a"]
    found = client.models(task="text-to-image", limit=5)
    assert len(server.requests) == 1
    assert [model.id for model in found] == [MODEL]
    assert client.model(MODEL).live_providers == ("fal-ai",)
    assert client.default_models().is_fresh
    with pytest.raises(InvalidInputError, match="sorts by"):
        client.models(sort="beauty")
