"""The table of tasks: exact bodies of the protocol, and all forms of answers."""

from __future__ import annotations

import base64
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from hfclient.errors import GenerationError, InvalidInputError, ProtocolError, Unsupported
from hfclient.inference.options import TaskOptions
from hfclient.inference.providers import Answer
from hfclient.inference.tasks import (
    TASKS,
    Box,
    BoxedObject,
    Classification,
    ExtractedAnswer,
    MaskFill,
    Ranking,
    Segment,
    Span,
    TableAnswer,
    Transcript,
    TranscriptChunk,
    decoders,
    find_task,
)
from hfclient.inference.tasks.audio import raw_result
from hfclient.inference.tasks.decoders import json_of
from hfclient.inference.tasks.pipeline_requests import (
    FileInput,
    check_inputs,
    json_request,
    pipeline_body,
    pipeline_request,
)
from hfclient.inference.tasks.transcripts import link_in, transcript, transcript_of

PNG = b"\x89PNG\r\n\x1a\n...."
PNG64 = base64.b64encode(PNG).decode()
IMAGE = FileInput(PNG, "image/png")
ANSWER = {"answer": "Ada", "score": 0.9, "start": 7, "end": 10}

BODIES: list[tuple[str, Any, dict[str, Any], Any]] = [
    ("text-classification", "hi", {}, {"inputs": "hi", "parameters": {}}),
    (
        "text-classification",
        "hi",
        {"top_k": 2, "function_to_apply": None},
        {"inputs": "hi", "parameters": {"top_k": 2}},
    ),
    (
        "token-classification",
        "Ada",
        {"aggregation_strategy": "simple"},
        {"inputs": "Ada", "parameters": {"aggregation_strategy": "simple"}},
    ),
    (
        "summarization",
        "long",
        {"generate_parameters": {"max_length": 5, "min_length": None}},
        {"inputs": "long", "parameters": {"generate_parameters": {"max_length": 5}}},
    ),
    (
        "question-answering",
        {"question": "Who?", "context": "It was Ada."},
        {"top_k": 1},
        {"inputs": {"question": "Who?", "context": "It was Ada."}, "parameters": {"top_k": 1}},
    ),
    (
        "sentence-similarity",
        {"source_sentence": "a", "sentences": ["b", "c"]},
        {},
        {"inputs": {"source_sentence": "a", "sentences": ["b", "c"]}, "parameters": {}},
    ),
    (
        "table-question-answering",
        {"query": "How many?", "table": {"n": [1, 2]}},
        {"padding": "max_length"},
        {"inputs": {"query": "How many?", "table": {"n": ["1", "2"]}}, "parameters": {"padding": "max_length"}},
    ),
    ("tabular-classification", {"age": [7]}, {}, {"inputs": {"data": {"age": ["7"]}}, "parameters": {}}),
    (
        "feature-extraction",
        ["a"],
        {"normalize": True, "prompt_name": "query"},
        {"inputs": ["a"], "normalize": True, "prompt_name": "query"},
    ),
    ("image-classification", IMAGE, {}, PNG),
    ("image-classification", IMAGE, {"top_k": 3}, {"inputs": PNG64, "parameters": {"top_k": 3}}),
    ("automatic-speech-recognition", FileInput(b"fLaC", "audio/flac"), {}, b"fLaC"),
    (
        "automatic-speech-recognition",
        FileInput(b"fLaC", "audio/flac"),
        {"return_timestamps": True},
        {"inputs": "ZkxhQw==", "parameters": {"return_timestamps": True}},
    ),
    (
        "zero-shot-image-classification",
        IMAGE,
        {"candidate_labels": ["cat", "dog"]},
        {"inputs": PNG64, "parameters": {"candidate_labels": ["cat", "dog"]}},
    ),
    (
        "document-question-answering",
        {"question": "Total?", "image": IMAGE},
        {"lang": "en"},
        {"inputs": {"question": "Total?", "image": PNG64}, "parameters": {"lang": "en"}},
    ),
    (
        "visual-question-answering",
        {"question": "What?", "image": IMAGE},
        {},
        {"inputs": {"question": "What?", "image": PNG64}, "parameters": {}},
    ),
]


def test_every_parameter_is_an_option() -> None:
    """`TaskOptions` has the parameters of all tasks, and no others."""
    parameters = {name for task in TASKS.values() for name in task.settings or ()}
    assert set(TaskOptions.__annotations__) - parameters == {"model", "provider", "parameters", "extra_body", "timeouts"}
    assert parameters <= set(TaskOptions.__annotations__)


@pytest.mark.parametrize(
    ("name", "inputs", "settings", "body"), BODIES, ids=[f"{i}-{row[0]}" for i, row in enumerate(BODIES)]
)
def test_bodies(name: str, inputs: Any, settings: Any, body: Any) -> None:
    """Each body follows the protocol: bare bytes without settings, base64 with them."""
    task = find_task(name)
    task.check(settings)
    assert pipeline_body(task, check_inputs(task, inputs), settings) == body


def test_extra_fields_and_headers() -> None:
    """Further fields are at the root and take precedence; a file has its type, and audio is requested as such."""
    task = TASKS["text-classification"]
    body = pipeline_body(task, "hi", {"top_k": 1}, {"options": {"wait_for_model": True}, "parameters": {"top_k": 9}})
    assert body == {"inputs": "hi", "parameters": {"top_k": 9}, "options": {"wait_for_model": True}}
    request = pipeline_request(TASKS["object-detection"], "http://h/models/o/m", IMAGE, {})
    assert (request.body, request.headers["Content-Type"]) == (PNG, "image/png")
    assert pipeline_request(TASKS["text-to-speech"], "http://h/", "hi", {}).headers["Accept"].startswith("audio/*")


def test_values_that_are_not_json() -> None:
    """A field that JSON cannot carry is refused before a request."""
    for value in (object(), "\ud800"):
        with pytest.raises(InvalidInputError, match="JSON"):
            json_request("http://h/", {"x": value})


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("summarization", ""),
        ("summarization", ["a"]),
        ("question-answering", "Who?"),
        ("question-answering", {"question": "Who?"}),
        ("visual-question-answering", {"question": "Who?", "image": None}),
        ("sentence-similarity", {"source_sentence": "a", "sentences": "b"}),
        ("table-question-answering", {"query": "q", "table": [1]}),
        ("table-question-answering", {"query": "q", "table": {"a": [1], "b": [1, 2]}}),
        ("tabular-regression", {"a": "text"}),
        ("tabular-regression", {}),
        ("tabular-regression", {"a": 5}),
    ],
)
def test_invalid_inputs(name: str, inputs: Any) -> None:
    """An input that a task does not support is refused; the error names the supported ones."""
    with pytest.raises(InvalidInputError):
        check_inputs(TASKS[name], inputs)


def test_cells() -> None:
    """Cells of a table are strings; an empty one is an empty string."""
    table = check_inputs(TASKS["table-question-answering"], {"query": "q", "table": {"a": (1, None, "x"), 2: range(3)}})["table"]
    assert table == {"a": ["1", "", "x"], "2": ["0", "1", "2"]}


def test_invalid_settings() -> None:
    """A setting that would be ignored is refused with the list of known ones; a missing one is named."""
    with pytest.raises(Unsupported, match="top_k, targets"):
        TASKS["fill-mask"].check({"topk": 5})
    with pytest.raises(InvalidInputError, match="candidate_labels"):
        TASKS["zero-shot-classification"].check({"multi_label": True})


def test_unknown_tasks() -> None:
    """Tasks of the Hub without a reader accept any input and any setting."""
    for name in ("depth-estimation", "mask-generation", "zero-shot-object-detection", "text2text-generation", "video-to-video", "new-task"):
        task = find_task(name)
        assert (task.name, task.decode) == (name, None)
        task.check({"whatever": 1})
    for name in ("text-clasification", "nonsense", "", "Depth Estimation", 5):
        with pytest.raises(InvalidInputError, match="unknown task"):
            find_task(name)  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [{"src_lang": "en_XX"}, {"tgt_lang": "de_DE"}, {"src_lang": "", "tgt_lang": "de_DE"}])
def test_settings_that_need_each_other(settings: dict[str, Any]) -> None:
    """A translation needs both languages or neither, and servers do not report it."""
    task = find_task("translation")
    with pytest.raises(InvalidInputError, match=next(name for name in ("src_lang", "tgt_lang") if not settings.get(name))):
        task.check(settings)
    task.check({})
    task.check({"src_lang": "en_XX", "tgt_lang": "de_DE"})


def test_names_of_tasks() -> None:
    """A misspelt task is corrected in the error, and one with its own method is named."""
    with pytest.raises(InvalidInputError, match="text-classification"):
        find_task("text-clasification")
    with pytest.raises(Unsupported, match=r"image\(\)"):
        find_task("text-to-image")
    assert all(task.name == name for name, task in TASKS.items())


@pytest.mark.parametrize(
    "data",
    [
        [[{"label": "B", "score": 0.1}, {"label": "A", "score": 0.9}]],
        [{"label": "A", "score": 0.9}, {"label": "B", "score": 0.1}],
        {"sequence": "x", "labels": ["A", "B"], "scores": [0.9, 0.1]},
        [{"sequence": "x", "labels": ["B", "A"], "scores": [0.1, 0.9]}],
    ],
)
def test_classifications(data: Any) -> None:
    """Nested, flat and the older form of zero-shot give the same; the best comes first."""
    assert decoders.classifications(data) == [Classification("A", 0.9), Classification("B", 0.1)]


def test_new_fields_are_kept() -> None:
    """Further fields of a server are in ``raw``, and not in the value's equality or JSON."""
    (found,) = decoders.classifications([{"label": "A", "score": 1, "new": {"x": 1}}])
    assert found.raw["new"] == {"x": 1}
    assert found == Classification("A", 1)
    assert found.to_dict() == {"label": "A", "score": 1}


def test_spans() -> None:
    """Groups and single tokens."""
    group = {"entity_group": "PER", "score": 0.9, "word": "Ada", "start": 0, "end": 3}
    token = {"entity": "B-PER", "score": 0.5, "word": "A", "index": 1}
    assert decoders.spans([group, token]) == [Span("PER", "Ada", 0.9, 0, 3), Span("B-PER", "A", 0.5)]


def test_answers() -> None:
    """An object, or a list; the best comes first, and one without a score last."""
    assert decoders.answers(ANSWER) == [ExtractedAnswer("Ada", 0.9, 7, 10)]
    assert decoders.answers([{"answer": "x"}, ANSWER])[0].answer == "Ada"
    assert decoders.answers([]) == []


def test_fills() -> None:
    """One gap gives a list, several give a list for each."""
    one = {"score": 0.5, "sequence": "a b", "token": 7, "token_str": "b"}
    fill = MaskFill("b", 0.5, "a b", 7)
    assert decoders.mask_fills([one]) == [fill]
    assert decoders.mask_fills([[one], [one]]) == [[fill], [fill]]


def test_images() -> None:
    """Boxes and masks; a mask may be a data URL, and a score may be missing."""
    box = {"xmin": 1, "ymin": 2, "xmax": 3, "ymax": 4}
    assert decoders.boxes([{"label": "cat", "score": 0.9, "box": box}]) == [BoxedObject("cat", 0.9, Box(1, 2, 3, 4))]
    masks = [{"label": "sky", "mask": PNG64, "score": None}, {"label": "sea", "mask": f"data:image/png;base64,{PNG64}"}]
    found = decoders.segments(masks)
    assert found == [Segment("sky", PNG), Segment("sea", PNG)]
    assert "mask" not in found[0].raw
    json.dumps(found[0].to_dict())


def test_tables() -> None:
    """An answer from a table, as an object or in a list."""
    data = {"answer": "2", "coordinates": [[0, 1]], "cells": ["2"], "aggregator": "NONE"}
    assert decoders.table_answer(data) == decoders.table_answer([data]) == TableAnswer("2", ("2",), ((0, 1),))
    assert decoders.table_answer({**data, "aggregator": "SUM"}).aggregator == "SUM"


@pytest.mark.parametrize(
    "data", [[{"summary_text": "s"}], {"summary_text": "s"}, [{"generated_text": "s"}], "s", [["x"]][:0] or "s"]
)
def test_texts(data: Any) -> None:
    """A text is in a list, in an object, or bare."""
    assert decoders.text_decoder("summary_text", "generated_text")(data) == "s"


@pytest.mark.parametrize(
    "data",
    [
        {
            "text": "hi there",
            "chunks": [{"text": "hi", "timestamp": [0.0, 1]}, {"text": " there", "timestamp": [1.0, None]}],
        },
        {"text": "hi there", "segments": [{"text": "hi", "start": 0, "end": 1}, {"text": " there", "start": 1.0}]},
        {
            "output": "hi there",
            "chunks": [{"text": "hi", "timestamp": [0, 1]}, {"text": " there", "timestamp": [1, None]}],
        },
        {
            "status": "succeeded",
            "output": {
                "transcription": "hi there",
                "segments": [{"text": "hi", "start": 0, "end": 1}, {"text": " there", "start": 1}],
            },
        },
        {"text": "hi there", "words": [{"word": "hi", "start": 0, "end": 1}, {"word": " there", "start": 1}, None]},
    ],
)
def test_transcripts(data: Any) -> None:
    """All forms of transcripts become one kind of value."""
    chunks = (TranscriptChunk("hi", 0.0, 1.0), TranscriptChunk(" there", 1.0))
    assert transcript(data) == Transcript("hi there", chunks)


@pytest.mark.parametrize("data", [{"output": ["hi", " there"]}, ["hi", " there"], "hi there", [{"text": "hi there"}]])
def test_bare_transcripts(data: Any) -> None:
    """Chunks are joined; a bare text is a transcript, and an empty one is silence."""
    assert str(transcript(data)) == "hi there"
    assert transcript({"text": ""}) == Transcript("")


SRT = "\ufeff1\r\n00:00:00,000 --> 00:00:01,500\r\nHello there.\r\n\r\n2\r\n00:00:01,500 --> 01:00:02,000\r\nSecond\r\nline.\r\n"
VTT = "WEBVTT - x\n\nNOTE no words\n\nSTYLE\n::cue {}\n\n00:00.000 --> 00:01.500 align:start\n<v Ann>Hello there.</v>\n\nid\n00:00:01.500 --> 01:00:02.000\nSecond\nline."


@pytest.mark.parametrize("form", [SRT, VTT])
@pytest.mark.parametrize("kind", ["text/plain; charset=utf-8", "application/x-subrip", "text/vtt", "application/json", ""])
@pytest.mark.parametrize("wrap", [str.encode, lambda text: json.dumps(text).encode(), lambda text: json.dumps({"text": text}).encode()])
def test_subtitles(form: str, kind: str, wrap: Any) -> None:
    """Subtitles are text with times, with any content type, bare or in JSON; ``raw`` has them unchanged."""
    said = transcript_of(Answer(wrap(form), kind.partition(";")[0]))
    assert said.text == "Hello there. Second line."
    assert [(chunk.text, chunk.start, chunk.end) for chunk in said.chunks] == [
        ("Hello there.", 0.0, 1.5),
        ("Second line.", 1.5, 3602.0),
    ]
    assert said.raw["text"].lstrip("\ufeff").strip() == form.lstrip("\ufeff").strip()


@pytest.mark.parametrize("text", ["Hello there.\n", "[Music] Hello.", "42", "<unk> Hello.", "true", "null", "1\nHello", "{x", ""])
def test_plain_texts(text: str) -> None:
    """A plain text is the transcript, whatever it looks like; an empty one is silence."""
    assert transcript_of(Answer(text.encode(), "text/plain")) == Transcript(text)


SHAPES: list[Any] = [
    {"translation": "hola amigo"},
    {"transcription": None, "translation": "hola amigo", "segments": [], "srt_file": None},
    {"segments": [{"text": " hola", "start": 0}, {"text": " amigo", "start": 1}], "detected_language": "es"},
    {"segments": [{"text": "hola", "speaker": "A"}, {"text": "amigo", "speaker": "B"}]},
    {"text": ["hola", " amigo"]},
    {"transcript": {"text": "hola amigo"}},
    [{"text": "hola"}, {"text": "amigo"}],
    [{"text": "hola", "start": 0, "end": 1}, {"text": "amigo", "start": "1.0", "end": "2.0"}],
    ["hola", " amigo"],
    [["hola amigo"]],
    {"results": {"channels": [{"alternatives": [{"transcript": "hola amigo"}]}]}},
    {"data": {"text": "hola amigo"}},
    {"transcripts": [{"text": "hola amigo"}]},
    {"vtt": "WEBVTT\n\n00:00.000 --> 00:01.000\nhola\n\n00:01.000 --> 00:02.000\namigo\n"},
    {"result": "hola amigo"},
    {"chunks": [{"text": " hola", "timestamp": [0, 1]}, {"text": " amigo", "timestamp": [1, None]}]},
    {"utterances": [{"transcript": "hola"}, {"transcript": "amigo"}]},
    {"words": [{"punctuated_word": "hola"}, {"punctuated_word": "amigo"}]},
]


@pytest.mark.parametrize("around", [lambda data: data, lambda data: {"status": "succeeded", "output": data}, lambda data: [data]])
@pytest.mark.parametrize("data", SHAPES, ids=range(len(SHAPES)))
def test_other_forms_of_transcripts(data: Any, around: Any) -> None:
    """Models at replicate, and other services, have their own names; the answer is kept."""
    said = transcript(around(data))
    assert said.text == "hola amigo"
    assert json.loads(json.dumps(said.raw)) == (around(data) if isinstance(around(data), dict) else {"text": around(data)})
    if "detected_language" in data:
        assert said.language == "es"


@pytest.mark.parametrize("page", ["<!DOCTYPE html><p>Wait", "\n<html><body>Wait", "<HTML>"])
def test_html_is_not_a_transcript(page: str) -> None:
    """HTML in place of text is an error."""
    with pytest.raises(ProtocolError, match="an HTML page"):
        transcript_of(Answer(page.encode(), "text/plain"))
    with pytest.raises(ProtocolError, match="an HTML page"):
        raw_result(Answer(page.encode(), "application/octet-stream"))


def test_surrogates_in_answers_of_tasks() -> None:
    """A lone surrogate in any answer, in keys too, becomes U+FFFD: all results can be encoded."""
    said = transcript_of(Answer(rb'{"text": "a\ud83d", "language": "\ude00", "segments": [{"text": "\ud83d", "start": 0, "end": 1}]}'))
    assert (said.text, said.language, said.chunks[0].text) == ("a\ufffd", "\ufffd", "\ufffd")
    assert json.dumps(said.raw, ensure_ascii=False).encode()
    for answer in (Answer(rb'{"\ud83d": ["\ude00"]}'), Answer(rb'{"\ud83d": ["\ude00"], "x": NaN}')):
        assert answer.value()["\ufffd"] == json_of(answer)["\ufffd"] == ["\ufffd"]


def test_transcripts_behind_a_link() -> None:
    """A model may answer with the URL of a file; a spoken URL is not fetched."""
    url = "https://replicate.delivery/x/out.srt?sig=1"
    for data in ({"output": url}, {"output": [url]}, {"srt_file": url, "text": None}, {"subtitles": url}, [{"output": {"txt_file": "https://h/x"}}]):
        assert link_in(Answer(json.dumps(data).encode())) in (url, "https://h/x")
    said = "https://replicate.delivery.evil.example/"
    for data in (url, {"text": url}, {"output": said}, {"output": f"See {url}."}, {"text": "hi", "srt_file": url}, {"output": "hi"}):
        assert link_in(Answer(json.dumps(data).encode())) is None
    assert link_in(Answer(url.encode(), "text/plain")) is None


@pytest.mark.parametrize("data", [None, 5, {"x": "y"}, {"output": None}, [5], {"text": {"x": 1}}, [[[[[[[[[["deep"]]]]]]]]]]])
def test_what_is_not_a_transcript(data: Any) -> None:
    """An answer without text is an error, which has the answer."""
    with pytest.raises(ProtocolError, match="transcript"):
        transcript(data)


def test_rankings() -> None:
    """Both servers' rankings, the best first."""
    expected = [Ranking(1, 0.9, "b"), Ranking(0, 0.1)]
    assert decoders.rankings([{"index": 0, "score": 0.1}, {"index": 1, "score": 0.9, "text": "b"}]) == expected
    data = {"results": [{"index": 0, "relevance_score": 0.1}, {"index": 1, "relevance_score": 0.9}]}
    assert [found.index for found in decoders.rankings(data)] == [1, 0]


@pytest.mark.parametrize("name", sorted(name for name, task in TASKS.items() if task.decode is not None))
@pytest.mark.parametrize(
    "data", [None, 5, "", {"x": 1}, [5], [{"x": []}], [[[1]]], [{"label": 1, "score": "x"}]], ids=str
)
def test_broken_answers(name: str, data: Any) -> None:
    """An answer of another form is a `ProtocolError` or passes; nothing else is raised."""
    decode = TASKS[name].decode
    assert decode is not None
    with contextlib.suppress(ProtocolError):
        decode(data)


def test_answers_that_are_not_json() -> None:
    """HTML and empty answers raise; an error with status 200 is a failed generation; NaN is accepted."""
    with pytest.raises(ProtocolError, match="HTML"):
        decoders.json_of(Answer(b"<html>"))
    with pytest.raises(ProtocolError):
        decoders.json_of(Answer(b""))
    with pytest.raises(GenerationError, match="out of memory"):
        decoders.json_of(Answer(b'{"error":["out of memory"]}'))
    assert len(decoders.json_of(Answer(b'[{"label":"a","score":NaN}]'))) == 1


def test_the_table_is_documented() -> None:
    """The page of tasks names them all."""
    page = (Path(__file__).parents[2] / "docs" / "inference-tasks.rst").read_text("utf-8")
    assert [name for name in TASKS if f"``{name}``" not in page] == []
