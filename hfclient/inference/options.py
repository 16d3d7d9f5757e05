"""The options of `InferenceClient`'s methods, each one documented once.

They are keyword arguments. A wrapper can take them and pass them on with the same types:

    def ask(prompt: str, **options: Unpack[ChatOptions]) -> str:
        return inference.chat(prompt, **options).text

An option that is None, or is not given, is not sent. A field that only some servers know goes into ``extra_body``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, Literal

    from hfclient.events import AnyEvent
    from hfclient.inference.content.attachments import FileLike
    from hfclient.inference.content.image_inputs import ImageLike
    from hfclient.inference.routing.candidates import ProviderLike
    from hfclient.inference.schemas.dialects import SchemaFormat
    from hfclient.inference.schemas.tools import ToolLike
    from hfclient.inference.tool_loop import Approve
    from hfclient.progress import Progress
    from hfclient.transport import Timeouts

__all__ = [
    "ChatOptions", "CompletionOptions", "EmbedOptions", "ImageOptions", "MediaOptions", "ModelFilters", "ParseOptions",
    "RerankOptions", "SpeakOptions", "TaskOptions", "TextOptions", "ToolOptions", "TranscribeOptions", "VideoOptions",
]  # fmt: skip


class CompletionOptions(TypedDict, total=False):
    """Options of every call that uses chat completions: `chat`, `run_tools`, `parse` and `parse_stream`.

    Args:
        model: Hub id such as ``"Qwen/Qwen3-8B"``, with or without a provider's suffix. None takes the first model that
            the server lists; on the router, the first one that *provider* serves and, if there is one, that accepts images
            or tools when the call has some.
        system_prompt: A system message in front of the prompt.
        images: One or several images for the last user message: paths, bytes, open binary files, `Image` objects, PIL
            images, data URLs, ``(name, content)``, or http(s) URLs, which the server fetches. They may also be items of
            a message's ``content``.
        files: One or several files for the last user message: text, audio, PDF, video or images, if the model takes them.
        provider: A provider's id, ``"fastest"``, ``"cheapest"``, ``"preferred"`` (your own order) or ``"auto"``; or a list
            of ids in the order to try: if one fails before its first token, the next one is called and a `Failover` event
            comes. With ``"auto"`` or None the router chooses; if its choice fails, other providers from the Hub's list are
            called. Router only, except for providers in *provider_keys*.
        max_tokens: Maximum length of the answer, in tokens.
        temperature: 0 or more; 0 takes the most likely token each time.
        top_p: Sample from the most likely tokens that add up to this probability, 0 to 1.
        frequency_penalty: -2 to 2; a positive value discourages words that came often.
        presence_penalty: -2 to 2; a positive value discourages words that came at all.
        logit_bias: Bias by token id.
        logprobs: Set ``Token.logprob``.
        top_logprobs: Number of alternatives for each token, in ``Token.extra["logprobs"]``.
        seed: For reproducible answers, where the server supports it.
        stop: A string, or up to four, at which the answer ends.
        tool_choice: ``"auto"``, ``"none"``, ``"required"``, or the tool to call: a function, a `Tool` or a name. In
            `run_tools` a choice that requires a call holds for the first round.
        parallel_tool_calls: Whether the model may make several calls at once.
        reasoning_effort: ``"none"``, ``"minimal"``, ``"low"``, ``"medium"``, ``"high"`` or ``"xhigh"``; models differ.
        user: Your own id of the end user.
        keep_reasoning: Send the reasoning text of earlier answers. Most servers refuse it; DeepSeek and Kimi want it with
            tool calls. Signed or encrypted reasoning is always sent back.
        n: Number of answers, where the server supports it. The first one is the answer; chunks of the others come as
            ``Unknown("choice", ...)``.
        max_completion_tokens: As *max_tokens*, for OpenAI models that refuse that.
        tool_prompt: Text in front of the tools (text-generation-inference).
        metadata, store, service_tier, modalities, audio, prediction, verbosity, web_search_options, safety_identifier:
            As OpenAI documents them; other servers refuse or ignore them.
        extra_body: Further fields at the root of the request. They override all others; None removes a field.
        timeouts: Timeouts of this call. ``total`` covers all requests of it, and the tools that `run_tools` runs.
    """

    model: str | None
    system_prompt: str | None
    images: Iterable[ImageLike] | ImageLike | None
    files: Iterable[FileLike] | FileLike | None
    provider: ProviderLike
    max_tokens: int | None
    temperature: float | None
    top_p: float | None
    frequency_penalty: float | None
    presence_penalty: float | None
    logit_bias: Mapping[str, float] | None
    logprobs: bool | None
    top_logprobs: int | None
    seed: int | None
    stop: str | Sequence[str] | None
    tool_choice: str | ToolLike | None
    parallel_tool_calls: bool | None
    reasoning_effort: str | None
    user: str | None
    keep_reasoning: bool
    n: int | None
    max_completion_tokens: int | None
    tool_prompt: str | None
    metadata: Mapping[str, str] | None
    store: bool | None
    service_tier: str | None
    modalities: Sequence[str] | None
    audio: Mapping[str, Any] | None
    prediction: Mapping[str, Any] | None
    verbosity: str | None
    web_search_options: Mapping[str, Any] | None
    safety_identifier: str | None
    extra_body: Mapping[str, Any] | None
    timeouts: Timeouts | None


class ChatOptions(CompletionOptions, total=False):
    """Options of `InferenceClient.chat`: those of `.CompletionOptions`, and two more.

    Args:
        tools: What the model may call: functions, `Tool` objects, or JSON schemas as dicts. Calls come as `ToolCall`
            events; `run_tools` also runs them.
        response_format: Form of the answer, such as ``{"type": "json_schema", ...}``; `parse` makes one from a class.
    """

    tools: Sequence[ToolLike] | None
    response_format: Mapping[str, Any] | SchemaFormat | None


class ToolOptions(CompletionOptions, total=False):
    """Options of `InferenceClient.run_tools`: those of `.CompletionOptions`, and four more.

    Args:
        max_rounds: Maximum number of rounds of tool calls, 8 by default.
        approve: Called with each `ToolCall` before it runs, in the reader's thread. Only True runs it; a string is the
            reason that the model gets.
        parallel: Run several calls of one answer in threads, up to 8 (the default). False runs them one after the other
            in the reader's thread, as a single call always does.
        response_format: Form of the answers, such as ``{"type": "json_object"}``.
    """

    max_rounds: int
    approve: Approve | None
    parallel: bool
    response_format: Mapping[str, Any] | SchemaFormat | None


class ParseOptions(CompletionOptions, total=False):
    """Options of `InferenceClient.parse` and `parse_stream`: those of `.CompletionOptions`, and four more.

    Args:
        repair: Number of times that an answer which does not fit is sent back to the model with the error, 1 by default.
        strict: Require every field and allow no others, as OpenAI's strict mode does (the default). An answer with an
            unknown key is then invalid; a missing field takes its default. False sends the schema as it is and ignores
            unknown keys. In both modes an object with none of the keys is invalid.
        dialect: How the schema is sent (see `hfclient.inference.schemas.dialects.DIALECTS`). None goes by the server's
            address, ``"detect"`` asks the server whether it is text-generation-inference, ``"prompt"`` describes the
            schema in the system prompt.
        tools: As in `.ChatOptions`.
    """

    repair: int
    strict: bool
    dialect: str | None
    tools: Sequence[ToolLike] | None


class TextOptions(TypedDict, total=False):
    """Options of `InferenceClient.text`.

    ``/v1/completions`` does not have *typical_p*, *repetition_penalty*, *best_of*, *grammar*, *truncate*, *watermark*,
    *adapter_id*, *top_n_tokens*, *return_full_text* and *decoder_input_details*.

    Args:
        model: Name on the Hub, with or without a provider's suffix. None takes the first model that the server lists; on
            the router, the first one that a provider here completes text with.
        provider: As in `.ImageOptions`; ``"hf-inference"`` says that a server of your own speaks its protocol.
        action: ``"continue"`` continues the last message, which is the assistant's. Messages only.
        layout: One of `hfclient.inference.text.layouts.LAYOUTS`; None takes what the Hub knows of the model. Messages only.
        max_prompt_length: Prompts with more characters are shortened, 4096 by default; None never shortens. Messages only.
        max_new_tokens: Maximum length of the text, in tokens; for messages None means 1024.
        temperature: 0 takes the most likely token each time.
        top_k: Sample from that many of the most likely tokens.
        top_p: Sample from the most likely tokens that add up to this probability.
        typical_p: Sample from the most typical tokens that add up to this probability.
        repetition_penalty: Above 1 discourages words that came already.
        frequency_penalty: -2 to 2; a positive value discourages words that came often.
        seed: For reproducible texts.
        stop: A string, or up to four, at which the text ends. text-generation-inference keeps it in the text.
        best_of: Generate so many texts and return the best one; not streamed.
        grammar: ``{"type": "json", "value": schema}`` or ``{"type": "regex", "value": expression}``.
        do_sample: False takes the most likely token each time.
        watermark: Add a watermark to the text.
        return_full_text: Put the prompt in front of the text.
        truncate: Keep only so many tokens of the prompt, the last ones.
        details: False asks for no token ids and probabilities; True asks ``/v1/completions`` for them, too.
        decoder_input_details: Return the prompt's tokens, in ``Finish.extra``; not streamed.
        adapter_id: A LoRA adapter that the server has loaded.
        top_n_tokens: Up to 5 likely tokens for each position, in ``Token.extra["top_tokens"]``.
        extra_body: Further parameters. They override all others; None removes one.
        timeouts: Timeouts of this call.
    """

    model: str | None
    provider: ProviderLike
    action: str | None
    layout: str | None
    max_prompt_length: int | None
    max_new_tokens: int | None
    temperature: float | None
    top_k: int | None
    top_p: float | None
    typical_p: float | None
    repetition_penalty: float | None
    frequency_penalty: float | None
    seed: int | None
    stop: str | Sequence[str] | None
    best_of: int | None
    grammar: Mapping[str, Any] | None
    do_sample: bool | None
    watermark: bool | None
    return_full_text: bool
    truncate: int | None
    details: bool | None
    decoder_input_details: bool
    adapter_id: str | None
    top_n_tokens: int | None
    extra_body: Mapping[str, Any] | None
    timeouts: Timeouts | None


class MediaOptions(TypedDict, total=False):
    """Options of every call that makes images or videos.

    Args:
        model: Name on the Hub, with or without a provider's suffix (``"org/name:fal-ai"``), or the name of a LoRA adapter.
            None takes FLUX.1-dev for an image from text, or the model of a server of your own.
        provider: A provider's id, several in the order to try, or ``"auto"`` (the default): the Hub's order, which is
            yours if you set one. If one fails, the next one is called.
        negative_prompt: What not to show.
        width, height: In pixels, both or neither.
        size: Width and height as one string, ``"768x512"``, or as a pair.
        aspect_ratio: The shape instead of a size, such as ``"16:9"``.
        steps: Number of denoising steps.
        guidance: How closely to follow the prompt.
        seed: 0 to 4294967295, for reproducible results.
        lora_scale: Strength of a LoRA adapter.
        extra_body: Fields of the provider's own. They override all others; None removes one.
        timeouts: Timeouts of this call. If ``total`` is None, it is 300 s for images and 1200 s for videos.
        on_progress: Called with each `JobProgress` while the job waits in a queue, and with each `Failover`.
        progress: As for `Conversation.read_file`, in percent; for several images, their number.
    """

    model: str | None
    provider: ProviderLike
    negative_prompt: str | None
    width: int | None
    height: int | None
    size: str | tuple[int, int] | None
    aspect_ratio: str | None
    steps: int | None
    guidance: float | None
    seed: int | None
    lora_scale: float | None
    extra_body: Mapping[str, Any] | None
    timeouts: Timeouts | None
    on_progress: Callable[[AnyEvent], object] | None
    progress: Progress


class ImageOptions(MediaOptions, total=False):
    """Options of `InferenceClient.image`, `images`, `image_to_image` and `image_job`: those of `.MediaOptions`, and one more.

    Args:
        scheduler: Name of the sampler.
    """

    scheduler: str | None


class VideoOptions(MediaOptions, total=False):
    """Options of `InferenceClient.video` and `video_job`: those of `.MediaOptions`, and one more.

    Args:
        num_frames: Number of frames.
    """

    num_frames: int | None


class EmbedOptions(TypedDict, total=False):
    """Options of `InferenceClient.embed`.

    Args:
        model: Hub id of an embedding model. None takes the Hub's recommended one, or the model of a server of your own.
        provider: As in `.ImageOptions`; ``"tei"`` for a text-embeddings-inference server of your own, which is also tried
            if a server does not have ``/v1/embeddings``.
        normalize: Return vectors of length 1.
        truncate: Cut texts that are too long; None leaves it to the server, which may refuse them.
        truncation_direction: The side that is cut: ``"left"`` or ``"right"``.
        prompt_name: Which of the model's own prompts to put in front, such as ``"query"``.
        dimensions: Length of the vectors, for models that can choose.
        batch_size: Maximum number of texts in one request, 32 by default.
        extra_body: Fields of the server's own. They override all others; None removes one.
        timeouts: Timeouts of this call. ``total`` covers all requests of it; if it is None, it is 300 s.
    """

    model: str | None
    provider: ProviderLike
    normalize: bool | None
    truncate: bool | None
    truncation_direction: str | None
    prompt_name: str | None
    dimensions: int | None
    batch_size: int
    extra_body: Mapping[str, Any] | None
    timeouts: Timeouts | None


class RerankOptions(TypedDict, total=False):
    """Options of `InferenceClient.rerank`.

    Args:
        model: The server's name of the model, if it has several.
        provider: ``"tei"`` for text-embeddings-inference, which is also tried if a server does not have ``/v1/rerank``.
        extra_body: Fields of the server's own.
        timeouts: Timeouts of this call. If ``total`` is None, it is 300 s.
    """

    model: str | None
    provider: str | None
    extra_body: Mapping[str, Any] | None
    timeouts: Timeouts | None


class TranscribeOptions(TypedDict, total=False):
    """Options of `InferenceClient.transcribe`.

    Args:
        model: Hub id. None takes the Hub's recommended one, or the model of a server of your own.
        provider: As in `.ImageOptions`.
        language: Language of the recording, such as ``"en"``.
        prompt: Words to expect, for spelling.
        temperature: 0 takes the most likely words.
        timestamps: Return ``chunks`` with times: True for sentences, ``"word"`` for words.
        extra_body: Fields of the provider's own. They override all others; None removes one.
        timeouts: Timeouts of this call. If ``total`` is None, it is 300 s.
    """

    model: str | None
    provider: ProviderLike
    language: str | None
    prompt: str | None
    temperature: float | None
    timestamps: bool | Literal["word"] | None
    extra_body: Mapping[str, Any] | None
    timeouts: Timeouts | None


class SpeakOptions(TypedDict, total=False):
    """Options of `InferenceClient.speak`.

    Args:
        model: Hub id. None takes the Hub's recommended one, or the model of a server of your own.
        provider: As in `.ImageOptions`.
        voice: One of the model's voices.
        format: Such as ``"mp3"`` or ``"wav"``.
        speed: 1 is normal.
        extra_body: Fields of the provider's own. They override all others; None removes one.
        timeouts: Timeouts of this call. If ``total`` is None, it is 300 s.
    """

    model: str | None
    provider: ProviderLike
    voice: str | None
    format: str | None
    speed: float | None
    extra_body: Mapping[str, Any] | None
    timeouts: Timeouts | None


class TaskOptions(TypedDict, total=False):
    """Options of `InferenceClient.task`, `caption` and `classify`.

    Besides the first five, they are the parameters of the tasks in `hfclient.inference.tasks.TASKS`, as Hugging Face
    documents them (https://huggingface.co/docs/inference-providers/tasks). A parameter that a task does not have is refused.

    Args:
        model: Hub id. None takes the Hub's recommended one, or the model of a server of your own.
        provider: ``"hf-inference"``, ``"auto"`` or None; ``"tei"`` for a text-embeddings-inference server of your own;
            ``"fal-ai"`` for ``image-segmentation``. `embed`, `transcribe` and `speak` reach other providers.
        parameters: Parameters of a task that `TASKS` does not have; its answer comes as it is.
        extra_body: Fields at the root of the request. They override all others; None removes one.
        timeouts: Timeouts of this call. If ``total`` is None, it is 300 s.
        top_k: Number of results (classification, question answering, ``fill-mask``).
        candidate_labels: The labels to choose from (zero-shot classification); needed there.
        hypothesis_template: The sentence around a label (zero-shot classification).
        multi_label: Several labels may be right (``zero-shot-classification``).
        function_to_apply: ``"sigmoid"``, ``"softmax"`` or ``"none"`` (classification).
        threshold: Minimum score (``object-detection``, ``image-segmentation``).
        subtask: ``"instance"``, ``"panoptic"`` or ``"semantic"`` (``image-segmentation``).
        mask_threshold: For each pixel of a mask (``image-segmentation``).
        overlap_mask_area_threshold: For small parts of a mask (``image-segmentation``).
        aggregation_strategy: How tokens become spans (``token-classification``).
        ignore_labels: Labels to leave out (``token-classification``).
        stride: Overlap of parts of a long text (``token-classification``).
        src_lang: Language of the text, together with *tgt_lang* (``translation``).
        tgt_lang: Language of the result, together with *src_lang* (``translation``).
        generate_parameters: Parameters of the text generation (``summarization``, ``translation``).
        generation_parameters: The same (speech, ``image-to-text``).
        clean_up_tokenization_spaces: Remove extra spaces (``summarization``, ``translation``).
        truncation: How a long text is cut (``summarization``, ``translation``, ``table-question-answering``).
        max_new_tokens: Maximum length of the text (``image-to-text``).
        return_timestamps: True or ``"word"`` (``automatic-speech-recognition``).
        targets: The words to choose from (``fill-mask``).
        align_to_words: Answers are whole words (``question-answering``).
        doc_stride: Overlap of parts of a long context (question answering).
        handle_impossible_answer: An empty answer is allowed (question answering).
        max_answer_len: In tokens or characters (question answering).
        max_question_len: In tokens (question answering).
        max_seq_len: In tokens, for question and context together (question answering).
        lang: Language of the text in the image (``document-question-answering``).
        word_boxes: Words and boxes instead of text recognition (``document-question-answering``).
        padding, sequential: For ``table-question-answering``.
        normalize, prompt_name, truncate, truncation_direction, dimensions, encoding_format: For ``feature-extraction``; see
            `.EmbedOptions`.
    """

    model: str | None
    provider: str | None
    parameters: Mapping[str, Any] | None
    extra_body: Mapping[str, Any] | None
    timeouts: Timeouts | None
    top_k: int | None
    candidate_labels: Any
    hypothesis_template: str | None
    multi_label: bool | None
    function_to_apply: str | None
    threshold: float | None
    subtask: str | None
    mask_threshold: float | None
    overlap_mask_area_threshold: float | None
    aggregation_strategy: str | None
    ignore_labels: Any
    stride: Any
    src_lang: str | None
    tgt_lang: str | None
    generate_parameters: Mapping[str, Any] | None
    generation_parameters: Mapping[str, Any] | None
    clean_up_tokenization_spaces: bool | None
    truncation: Any
    max_new_tokens: int | None
    return_timestamps: Any
    targets: Any
    align_to_words: bool | None
    doc_stride: int | None
    handle_impossible_answer: bool | None
    max_answer_len: int | None
    max_question_len: int | None
    max_seq_len: int | None
    lang: str | None
    word_boxes: Any
    padding: Any
    sequential: bool | None
    normalize: bool | None
    prompt_name: str | None
    truncate: bool | None
    truncation_direction: str | None
    dimensions: int | None
    encoding_format: str | None


class ModelFilters(TypedDict, total=False):
    """Filters of `InferenceClient.models` for the Hub's models; None filters nothing.

    Args:
        task: Such as ``"text-to-image"``.
        provider: Only models that this provider serves, or one of several; ``"all"`` for those with any provider.
        search: A part of the name.
        sort: ``"trending"``, ``"likes"``, ``"downloads"``, ``"created"`` or ``"modified"``; None is the Hub's own order.
        limit: Maximum number of models.
        author: Only models of this user or organisation.
        tags: Only models with all of these tags.
        warm: Only models that are served right now.
    """

    task: str | None
    provider: str | Sequence[str] | None
    search: str | None
    sort: str | None
    limit: int | None
    author: str | None
    tags: str | Iterable[str]
    warm: bool
