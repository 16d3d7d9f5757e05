"""The tasks of hf-inference as data: inputs, settings and decoders.

To add one, add a line to `_ALL`.

Reference: docs/protocol/inference ("Other tasks").
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen

from hfclient.errors import InvalidInputError, Unsupported
from hfclient.inference.tasks import decoders
from hfclient.inference.tasks.transcripts import transcript

__all__ = ["TASKS", "Task", "find_task"]

TEXT, OBJECT, IMAGE, AUDIO, QUESTION, ROOT, ANY = "text", "object", "image", "audio", "question", "root", "any"


@frozen
class Task:
    """One task.

    Attributes:
        name: As on the Hub.
        takes: Its kind of inputs: ``"text"``; an ``"object"`` with *keys*; an ``"image"`` or ``"audio"`` (a file); a
            ``"question"`` about an image; ``"root"``: an object whose fields stand next to the settings; or ``"any"`` of these.
        decode: Decodes the JSON of its answer; None if the answer is a file.
        settings: Names of its ``parameters``; None for any.
        keys: Keys that an object must have.
        path: Path after the model's own path.
        needs: Required settings.
        together: Settings that need each other.
    """

    name: str
    takes: str
    decode: Callable[[Any], Any] | None
    settings: tuple[str, ...] | None = ()
    keys: tuple[str, ...] = ()
    path: str = ""
    needs: tuple[str, ...] = field(default=(), kw_only=True)
    together: tuple[str, ...] = field(default=(), kw_only=True)

    def check(self, settings: Mapping[str, Any]) -> None:
        """Refuse settings that the task does not have.

        Raises:
            Unsupported: A setting would be ignored; the message names the task's settings.
            InvalidInputError: One is missing.
        """
        for name in settings:
            if self.settings is not None and name not in self.settings:
                known = ", ".join(self.settings) or "none"
                raise Unsupported(
                    f"{self.name} has no setting {name!r}; it has: {known}. A server's own ones go into extra_body"
                )
        for name in self.needs:
            if not settings.get(name):
                raise InvalidInputError(f"{self.name} needs {name}=")
        if missing := [name for name in self.together if not settings.get(name)]:
            given = [name for name in self.together if name not in missing]
            if given:
                raise InvalidInputError(f"{self.name} needs {' and '.join(missing)}= together with {' and '.join(given)}=")


_LABELS = ("top_k", "function_to_apply")
_GENERATION = ("generate_parameters", "truncation", "clean_up_tokenization_spaces")
_ANSWERING = ("top_k", "doc_stride", "handle_impossible_answer", "max_answer_len", "max_question_len", "max_seq_len")
_SPEECH = ("generation_parameters",)
_CANDIDATES = ("candidate_labels", "hypothesis_template")

_ALL = (
    Task("audio-classification", AUDIO, decoders.classifications, _LABELS),
    Task("audio-to-audio", AUDIO, decoders.plain_list),
    Task("automatic-speech-recognition", AUDIO, transcript, ("return_timestamps", "generation_parameters")),
    Task(
        "document-question-answering",
        QUESTION,
        decoders.answers,
        (*_ANSWERING, "lang", "word_boxes"),
        ("question", "image"),
    ),
    Task(
        "feature-extraction",
        ROOT,
        decoders.plain_list,
        ("normalize", "prompt_name", "truncate", "truncation_direction", "dimensions", "encoding_format"),
        path="/pipeline/feature-extraction",
    ),
    Task("fill-mask", TEXT, decoders.mask_fills, ("top_k", "targets")),
    Task("image-classification", IMAGE, decoders.classifications, _LABELS),
    Task(
        "image-segmentation",
        IMAGE,
        decoders.segments,
        ("subtask", "threshold", "mask_threshold", "overlap_mask_area_threshold"),
    ),
    Task("image-to-text", IMAGE, decoders.text_decoder("generated_text"), ("max_new_tokens", *_SPEECH)),
    Task("object-detection", IMAGE, decoders.boxes, ("threshold",)),
    Task("question-answering", OBJECT, decoders.answers, (*_ANSWERING, "align_to_words"), ("question", "context")),
    Task(
        "sentence-similarity",
        OBJECT,
        decoders.numbers,
        (),
        ("source_sentence", "sentences"),
        "/pipeline/sentence-similarity",
    ),
    Task("summarization", TEXT, decoders.text_decoder("summary_text", "generated_text"), _GENERATION),
    Task(
        "table-question-answering",
        OBJECT,
        decoders.table_answer,
        ("padding", "sequential", "truncation"),
        ("query", "table"),
    ),
    Task("tabular-classification", ROOT, decoders.plain_list),
    Task("tabular-regression", ROOT, decoders.plain_list),
    Task("text-classification", TEXT, decoders.classifications, _LABELS),
    Task("text-to-audio", TEXT, None, _SPEECH),
    Task("text-to-speech", TEXT, None, _SPEECH),
    Task("token-classification", TEXT, decoders.spans, ("aggregation_strategy", "ignore_labels", "stride")),
    Task(
        "translation",
        TEXT,
        decoders.text_decoder("translation_text", "generated_text"),
        ("src_lang", "tgt_lang", *_GENERATION),
        together=("src_lang", "tgt_lang"),
    ),
    Task("visual-question-answering", QUESTION, decoders.answers, ("top_k",), ("question", "image")),
    Task(
        "zero-shot-classification",
        TEXT,
        decoders.classifications,
        (*_CANDIDATES, "multi_label"),
        needs=("candidate_labels",),
    ),
    Task(
        "zero-shot-image-classification",
        IMAGE,
        decoders.classifications,
        _CANDIDATES,
        needs=("candidate_labels",),
    ),
)
TASKS: Mapping[str, Task] = {task.name: task for task in _ALL}
"""The tasks of hf-inference whose answers become values, except chat, text generation, images and videos."""

# Other tasks on the Hub (https://huggingface.co/tasks, 2026-11-28) whose name does not tell their inputs, or is similar to
# another name. Any other name is sent as well.
_OTHERS = {
    **dict.fromkeys(
        (
            "depth-estimation",
            "image-feature-extraction",
            "image-to-3d",
            "keypoint-detection",
            "mask-generation",
            "zero-shot-object-detection",
        ),
        IMAGE,
    ),
    **dict.fromkeys(("audio-text-to-text", "text-to-3d", "text2text-generation", "video-classification"), ANY),
    "voice-activity-detection": AUDIO,
}
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+")
_MIN_SIMILARITY = 0.85  # similarity from which a name is a misspelt one

_ELSEWHERE = {
    "conversational": "chat()",
    "image-text-to-image": "image_to_image()",
    "image-text-to-text": "chat()",
    "image-text-to-video": "video()",
    "image-to-image": "image_to_image()",
    "image-to-video": "video()",
    "text-generation": "text()",
    "text-to-image": "image()",
    "text-to-video": "video()",
    "text-ranking": "rerank()",
}


def find_task(name: str) -> Task:
    """Return the task of that name; an unknown one takes any inputs, and its answer is not decoded.

    Raises:
        InvalidInputError: It is not a name of a task, or a misspelt one; the message has similar names.
        Unsupported: It has its own method, which the message names.
    """
    if name in TASKS:
        return TASKS[name]
    if name in _ELSEWHERE:
        raise Unsupported(f"{name} has its own method: {_ELSEWHERE[name]}")
    if name in _OTHERS:
        return Task(name, _OTHERS[name], None, None)
    is_name = isinstance(name, str) and _NAME.fullmatch(name)
    known = [*TASKS, *_ELSEWHERE, *_OTHERS]
    if is_name and not difflib.get_close_matches(name, known, n=1, cutoff=_MIN_SIMILARITY):
        return Task(name, ANY, None, None)
    near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else f"; there are {', '.join(TASKS)}"
    raise InvalidInputError(f"unknown task {name!r}{hint}")
