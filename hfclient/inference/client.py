"""`InferenceClient`: the calls for text, embeddings and tasks, with their documentation.

Calls for images, videos and speech are in `media_client.py`, those about models in `models_client.py`, the options of all calls in `options.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from hfclient.arguments.argument_types import check_arguments
from hfclient.inference.media_client import MediaClient
from hfclient.inference.options import (
    ChatOptions,
    EmbedOptions,
    ParseOptions,
    RerankOptions,
    TaskOptions,
    TextOptions,
    ToolOptions,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from hfclient.batch.batch import Batch
    from hfclient.batch.call_options import (
        MapChatOptions,
        MapClassifyOptions,
        MapEmbedOptions,
        MapImageOptions,
        MapParseOptions,
        MapSpeakOptions,
        MapTaskOptions,
        MapToolOptions,
        MapTranscribeOptions,
    )
    from hfclient.inference.completions.messages import Prompt
    from hfclient.inference.completions.stream import CompletionStream
    from hfclient.inference.content.image_inputs import ImageLike
    from hfclient.inference.schemas.tools import ToolLike
    from hfclient.inference.structured_output import ParseStream
    from hfclient.inference.tasks import Classification, Ranking
    from hfclient.inference.tasks.audio import AudioLike
    from hfclient.inference.text.generation_events import TextStream
    from hfclient.inference.tool_loop import ToolStream
    from hfclient.types import Reply

__all__ = ["InferenceClient"]

T = TypeVar("T")


class InferenceClient(MediaClient):
    """A client of Hugging Face's router, or of any OpenAI-compatible server.

    It holds no connection of its own; threads may share it.

    Args:
        session: Sends the requests; its credentials decide which token goes where.
        base_url: The router, or any OpenAI-compatible server: with or without ``/v1``, or the whole URL of its chat
            completions.
        bill_to: Organisation that pays, sent as ``X-HF-Bill-To`` with every request.
        on_event: Called with every event of every stream, before the stream's reader gets it.
        hub_url: Base URL of the Hub, which lists the providers of a model.
        router_url: Root of a router that has a path for every provider; None takes Hugging Face's, if *base_url* is there.
        provider_keys: Your own keys of single providers, by provider id. These providers are then called on their own
            sites. A key goes to its provider only, and the token does not go there.
        embedded: *base_url* is that of ``Client.local()``: its small ``"model"``, which only generates text, or its
            ``"upstream"``.

    Raises:
        InvalidInputError: A URL is not an http(s) URL, or a key belongs to an unknown provider or is a Hub token.
        CredentialsError: A key is malformed.
    """

    def at(self, url: str) -> InferenceClient:
        """Return a client for another server over the same connections, such as an Inference Endpoint.

            inference.at("https://x1y2.us-east-1.aws.endpoints.huggingface.cloud").image("a red fox")

        The token goes there as it goes to an ``inference_url``: one that was passed as ``token=`` to any *url*, one that was
        found in the environment only to Hugging Face's own hosts and endpoints. So *url* must come from a trusted source.

        Args:
            url: Base URL of the server, in any form that ``inference_url`` takes.

        Raises:
            InvalidInputError: It is not an http(s) URL.
        """
        check_arguments(InferenceClient.at, locals())
        service = self._service
        session = service.session.with_credentials(service.session.credentials.with_token_url(url))
        return InferenceClient(
            session, base_url=url, on_event=service.on_event, hub_url=service.hub.url, last=service.last
        )

    # Chat completions

    def chat(self, prompt: Prompt, **options: Unpack[ChatOptions]) -> CompletionStream:
        """Return the stream of one answer; the request has been sent when this returns.

            for event in inference.chat("hi", model="Qwen/Qwen3-8B"): ...
            inference.chat([{"role": "user", "content": "hi"}], model="Qwen/Qwen3-8B", max_tokens=20).text

        The request is repeated, as the session's `Retry` says, until an answer begins, and then sent to the next provider if
        the choice is open; never after the first token.

        Args:
            prompt: A string, or a list of messages: dicts with ``role`` and ``content``, `UserMessage` and the like, or
                a `Reply`. A user message may have files under ``images``, ``files``, ``audio`` or ``video``, where a string
                is a URL or base64, never a path; a server's own fields go into its ``extra_body``. Other keys are refused.
            options: model, system_prompt, images, files, provider, max_tokens, temperature, top_p, frequency_penalty,
                presence_penalty, logit_bias, logprobs, top_logprobs, seed, stop, tool_choice, parallel_tool_calls,
                reasoning_effort, user, keep_reasoning, n, max_completion_tokens, tool_prompt, metadata, store,
                service_tier, modalities, audio, prediction, verbosity, web_search_options, safety_identifier,
                extra_body, timeouts, tools, response_format; see `.ChatOptions`.

        Returns:
            A stream; ``.text`` and ``.result()`` read all of it.

        Raises:
            InvalidInputError: The prompt is empty, something cannot be written as JSON, a number or the seed is out of
                range, or no model was named and the server lists none.
            TypeError: There is no option of that name.
            CredentialsError: The router needs a token, and none was found; nothing was sent.
            Unsupported: *provider* with a server that is not the router.
            ModelNotFound: No provider serves the model.
            APIStatusError: The server refused: `AuthenticationError`, `CreditsExhausted`, `RateLimitError`, ...
            TransportError: No answer came.

        Reference: POST {base}/v1/chat/completions
        """
        check_arguments(InferenceClient.chat, locals())
        from hfclient.inference.completions.stream import CompletionStream

        service = self._service
        return CompletionStream(self._completions.send(prompt, options), on_event=service.on_event, last=service.last)

    def ask(self, prompt: Prompt, **options: Unpack[ChatOptions]) -> Reply:
        """Return one whole answer, which the server sends in one piece: :meth:`chat` without a stream.

            inference.ask("What is the capital of France?", model="Qwen/Qwen3-8B").text

        It costs less than a stream, for server and client. But nothing arrives before the answer is complete, so
        ``Timeouts.first_token`` applies to all of it.

        Args:
            prompt: A string or a list of messages, as for :meth:`chat`.
            options: Those of :meth:`chat`; see `.ChatOptions`.

        Raises:
            HFClientError: As :meth:`chat`, and the errors that its stream raises.

        Reference: POST {base}/v1/chat/completions, without ``stream``
        """
        check_arguments(InferenceClient.ask, locals())
        return self._completions.ask(prompt, options)

    @overload
    def map(self, items: Any, call: Literal["chat"] = "chat", **options: Unpack[MapChatOptions]) -> Batch: ...

    @overload
    def map(self, items: Any, call: Literal["parse"], *, into: Any, **options: Unpack[MapParseOptions]) -> Batch: ...

    @overload
    def map(
        self, items: Any, call: Literal["run_tools"], *, tools: Iterable[ToolLike], **options: Unpack[MapToolOptions]
    ) -> Batch: ...

    @overload
    def map(self, items: Any, call: Literal["embed"], **options: Unpack[MapEmbedOptions]) -> Batch: ...

    @overload
    def map(self, items: Any, call: Literal["classify"], **options: Unpack[MapClassifyOptions]) -> Batch: ...

    @overload
    def map(self, items: Any, call: Literal["caption"], **options: Unpack[MapTaskOptions]) -> Batch: ...

    @overload
    def map(self, items: Any, call: Literal["transcribe"], **options: Unpack[MapTranscribeOptions]) -> Batch: ...

    @overload
    def map(self, items: Any, call: Literal["image"], **options: Unpack[MapImageOptions]) -> Batch: ...

    @overload
    def map(self, items: Any, call: Literal["speak"], **options: Unpack[MapSpeakOptions]) -> Batch: ...

    @overload
    def map(self, items: Any, call: Literal["task"], *, name: str = ..., **options: Unpack[MapTaskOptions]) -> Batch: ...

    def map(self, items: Any, call: str = "chat", **options: Any) -> Batch:
        """Return a batch: an iterator over the results of one call for each of *items* (extra: batch).

            for result in inference.map(prompts, model="Qwen/Qwen3-8B", checkpoint="out.jsonl"):
                print(result.value.text if result.ok else result.error)
            inference.map(texts, "embed", model="BAAI/bge-m3")
            inference.map(letters, "parse", into=Invoice, model="Qwen/Qwen3-8B")

        Args:
            items: What to ask: an iterable of inputs (strings, lists of messages, files), or of dicts with ``input``, perhaps
                ``id``, and options of that item alone; the path of a ``.jsonl``, ``.csv``, ``.tsv``, ``.parquet`` or ``.txt`` file;
                a column or table of pandas, polars, pyarrow or datasets. They are read one by one when they are needed.
            call: The method that answers: ``"chat"`` (as :meth:`ask`), ``"parse"``, ``"run_tools"``, ``"embed"``, ``"classify"``,
                ``"caption"``, ``"transcribe"``, ``"image"``, ``"speak"`` or ``"task"``. Answers come in one piece.
            options: Those of the batch, such as workers, ordered, errors, checkpoint and progress: see `.MapOptions`. And those of
                the method: *into* for ``"parse"``, *tools* for ``"run_tools"``, *name* for ``"task"``.

        Raises:
            TypeError: There is no option of that name.
            InvalidInputError: An option has another type, or an item of a list, a file or a table cannot be asked; nothing was sent.
        """
        from hfclient.batch.maps import map_inference  # needs an extra

        return map_inference(self, items, call, options)

    def run_tools(self, prompt: Prompt, tools: Iterable[ToolLike], **options: Unpack[ToolOptions]) -> ToolStream:
        """Return the stream of an answer for which the model may call functions.

            def get_weather(city: str) -> str:
                "The weather in a city."

            for event in inference.run_tools("Is it warm in Paris?", [get_weather], model="Qwen/Qwen3-8B"):
                match event:
                    case events.ToolCall(name=name, parameters=parameters): ...
                    case events.ToolResult(outputs=outputs): ...
                    case events.Token(text): print(text, end="")

        The model sees name, docstring and signature of each function (`Tool.of`). Its arguments arrive converted to the
        annotated types. If a call fails, the model gets the reason and a `ToolError` event comes: the tool does not exist,
        the arguments do not fit, the function raises. Ids of calls are unique over all rounds.

        Args:
            prompt: A string or a list of messages, as for :meth:`chat`.
            tools: Functions, methods, partials, `Tool` objects, or JSON schemas as dicts. A call of a tool without a
                function ends the stream: it is in ``result().tool_calls``, and ``messages`` continue from there.
            options: model, system_prompt, images, files, provider, max_tokens, temperature, top_p, frequency_penalty,
                presence_penalty, logit_bias, logprobs, top_logprobs, seed, stop, tool_choice, parallel_tool_calls,
                reasoning_effort, user, keep_reasoning, n, max_completion_tokens, tool_prompt, metadata, store,
                service_tier, modalities, audio, prediction, verbosity, web_search_options, safety_identifier,
                extra_body, timeouts, max_rounds, approve, parallel, response_format; see `.ToolOptions`.

        Returns:
            One stream over all rounds. ``result()`` has the last answer's text, all calls and results, and the sum of
            the usage; ``messages`` the whole conversation.

        Raises:
            InvalidInputError: A function cannot be a tool (asynchronous, ``*args``, types without a JSON schema).
            TooManyRounds: The model keeps calling tools; raised by the iterator, as are the two below.
            Unsupported: *tool_choice* required a call and none came: the server ignores tools.
            GenerationError: An answer broke off in the middle of a call (max_tokens, a filter, a server error); the call is
                not run.
            HFClientError: As :meth:`chat`, in any round; ``partial`` has the answer so far.

        Reference: POST {base}/v1/chat/completions
        """
        check_arguments(InferenceClient.run_tools, locals())
        from hfclient.inference.tool_loop import run_tools

        return run_tools(self._completions, prompt, tools, options)

    @overload
    def parse(self, prompt: Prompt, into: type[T], **options: Unpack[ParseOptions]) -> T: ...

    @overload
    def parse(self, prompt: Prompt, into: Any, **options: Unpack[ParseOptions]) -> Any: ...

    def parse(self, prompt: Prompt, into: Any, **options: Unpack[ParseOptions]) -> Any:
        """Return the model's answer as a validated object of a class.

            @attrs.define
            class City:
                name: str
                inhabitants: int

            inference.parse("The largest city of France?", into=City, model="Qwen/Qwen3-8B")
            inference.parse("Three large cities?", into=list[City], model="Qwen/Qwen3-8B")

        The class becomes a JSON schema that the server is asked to follow. Descriptions in the docstring's ``Attributes:``
        (or in ``Annotated[int, "..."]``) are part of it; use them to explain the fields to the model.

        Args:
            prompt: A string or a list of messages, as for :meth:`chat`.
            into: An attrs class, dataclass, TypedDict, NamedTuple, msgspec Struct or pydantic model; or ``list[Class]``,
                ``Literal[...]``, an enum, ``int``, ... Unions of several dataclasses or attrs classes do not work; tagged
                Structs and pydantic models do.
            options: model, system_prompt, images, files, provider, max_tokens, temperature, top_p, frequency_penalty,
                presence_penalty, logit_bias, logprobs, top_logprobs, seed, stop, tool_choice, parallel_tool_calls,
                reasoning_effort, user, keep_reasoning, n, max_completion_tokens, tool_prompt, metadata, store,
                service_tier, modalities, audio, prediction, verbosity, web_search_options, safety_identifier,
                extra_body, timeouts, repair, strict, dialect, tools; see `.ParseOptions`.

        Raises:
            ParseError: No answer is valid, the answer was cut off (even if it can be read), or the model refused; ``raw``
                is its text, ``path`` and ``reason`` the error.
            InvalidInputError: *into* has no JSON schema.
            HFClientError: As :meth:`chat`.

        Reference: POST {base}/v1/chat/completions, ``response_format``
        """
        check_arguments(InferenceClient.parse, locals())
        from hfclient.inference.structured_output import parse_stream

        return parse_stream(self._completions, prompt, into, options).result()

    @overload
    def parse_stream(self, prompt: Prompt, into: type[T], **options: Unpack[ParseOptions]) -> ParseStream[T]: ...

    @overload
    def parse_stream(self, prompt: Prompt, into: Any, **options: Unpack[ParseOptions]) -> ParseStream[Any]: ...

    def parse_stream(self, prompt: Prompt, into: Any, **options: Unpack[ParseOptions]) -> ParseStream[Any]:
        """Return a stream of the object so far; ``result()`` is the object.

        Arguments and errors are those of :meth:`parse`; the request has been sent when this returns.
        """
        check_arguments(InferenceClient.parse_stream, locals())
        from hfclient.inference.structured_output import parse_stream

        return parse_stream(self._completions, prompt, into, options)

    # Text generation

    def text(self, prompt: Prompt, **options: Unpack[TextOptions]) -> TextStream:
        """Return the stream of a text that continues *prompt*; the request has been sent when this returns.

            inference.text("Once upon a time", model="Qwen/Qwen3-8B-Base", provider="featherless-ai", max_new_tokens=40).text
            for event in inference.text("1, 2, 3,", details=True): ...    # Token(text, id, logprob), Finish, Usage

        A string is sent as it is, and the text comes as it is. A list of messages is formatted in the layout that the Hub's
        data of the model suggest, for models without chat completions; then ``<think>`` spans are reasoning and white space
        at the beginning is left out. If the server has chat completions, prefer :meth:`chat`.

        The request is repeated, as the session's `Retry` says, until an answer begins. If a model is being loaded (503 with
        an estimated time), the call waits until ``timeouts.total`` or else ``timeouts.first_token``.

        Args:
            prompt: A string, or a list of messages.
            options: model, provider, action, layout, max_prompt_length, max_new_tokens, temperature, top_k, top_p,
                typical_p, repetition_penalty, frequency_penalty, seed, stop, best_of, grammar, do_sample, watermark,
                return_full_text, truncate, details, decoder_input_details, adapter_id, top_n_tokens, extra_body,
                timeouts; see `.TextOptions`.

        Returns:
            A stream; ``.text`` reads all of it. A special token, such as the end of the text, comes as
            ``Token("", id=2, special=True)``.

        Raises:
            InvalidInputError: A parameter is out of range, or the model has another task.
            Unsupported: The server would ignore a parameter.
            ModelNotFound: No provider serves the model.
            GenerationError: The server failed inside its answer; ``code`` is its ``error_type``, such as
                ``"validation"`` or ``"overloaded"``, ``status_code`` the status for it. Raised by the iterator.
            APIStatusError, TransportError: The server refused, or did not answer.

        Reference: POST {base}/generate_stream, POST {base}/v1/completions
        """
        check_arguments(InferenceClient.text, locals())
        return self._text.start(prompt, options)

    # Embeddings

    @overload
    def embed(
        self, texts: str | Iterable[str], *, as_numpy: Literal[False] = False, **options: Unpack[EmbedOptions]
    ) -> list[list[float]]: ...

    @overload
    def embed(self, texts: str | Iterable[str], *, as_numpy: bool, **options: Unpack[EmbedOptions]) -> Any: ...

    def embed(self, texts: str | Iterable[str], *, as_numpy: bool = False, **options: Unpack[EmbedOptions]) -> Any:
        """Return one vector per text, in the order given.

            query, *documents = inference.embed(["a cat?", "on cats", "on dogs"], model="BAAI/bge-m3")

        A long list is sent in several requests, one after the other; one that the server finds too large is halved.

        Args:
            texts: N strings, or one string for one vector; with N = 0 nothing is sent and the result is empty.
            as_numpy: Return an array of shape (N, D) and type float32 (needs numpy).
            options: model, provider, normalize, truncate, truncation_direction, prompt_name, dimensions, batch_size,
                extra_body, timeouts; see `.EmbedOptions`.

        Returns:
            N lists of D floats.

        Raises:
            InvalidInputError: One of *texts* is not a string, or there is no model.
            MissingDependencyError: *as_numpy* without numpy; nothing was sent.
            Unsupported: The provider would ignore an option, or the model returns a vector for each token.
            ModelNotFound: No provider serves the model.
            ProtocolError: The number of vectors is not the number of texts. ``completed`` on any error holds the vectors of the
                earlier requests, which may have been billed.
            APIStatusError, TransportError: The provider refused, or did not answer.

        Reference: POST {base}/v1/embeddings, POST {base}/models/{model}/pipeline/feature-extraction, POST {base}/embed
        """
        check_arguments(InferenceClient.embed, locals())
        return self._embeddings.embed(texts, options, as_numpy=as_numpy)

    def rerank(self, query: str, texts: Sequence[str], **options: Unpack[RerankOptions]) -> list[Ranking]:
        """Return how well each of *texts* fits *query*, best first. For a server of your own.

            best = inference.rerank("a cat?", ["on dogs", "on cats"])[0].index

        Args:
            query: The query.
            texts: N strings; with N = 0 nothing is sent.
            options: model, provider, extra_body, timeouts; see `.RerankOptions`.

        Raises:
            Unsupported: The router does not rank texts.
            APIStatusError, TransportError: The server refused, or did not answer.

        Reference: POST {base}/v1/rerank (llama.cpp, vLLM), POST {base}/rerank (text-embeddings-inference)
        """
        check_arguments(InferenceClient.rerank, locals())
        return self._embeddings.rerank(query, texts, options)

    # Pipelines

    def caption(self, image: ImageLike, **options: Unpack[TaskOptions]) -> str:
        """Return a description of an image.

            inference.caption("cat.jpg", model="Salesforce/blip-image-captioning-large")

        Args:
            image: A path, bytes, an open binary file, an `Image`, a PIL image, or a URL, which is fetched without credentials.
            options: Those of :meth:`task`, as are the errors.
        """
        check_arguments(InferenceClient.caption, locals())
        text: str = self._pipelines.run("image-to-text", image, options)
        return text

    def classify(
        self,
        inputs: str | ImageLike | AudioLike,
        labels: Iterable[str] | None = None,
        **options: Unpack[TaskOptions],
    ) -> list[Classification]:
        """Return labels for a text, an image or audio, best first.

            inference.classify("I like it.", model="distilbert/distilbert-base-uncased-finetuned-sst-2-english")[0].label
            inference.classify(Path("cat.jpg"), ["cat", "dog"], model="openai/clip-vit-large-patch14")

        Args:
            inputs: A string is a text; a path object, bytes, an open binary file, an `Image`, a PIL image or an `Audio` is an
                image or audio, by its first bytes.
            labels: The labels to choose from; None takes the model's own. (None for audio.)
            options: Those of :meth:`task`, as are the errors.
        """
        check_arguments(InferenceClient.classify, locals())
        return self._pipelines.classify(inputs, labels, options)

    def task(self, name: str, inputs: Any, **options: Unpack[TaskOptions]) -> Any:
        """Return the result of a pipeline: any task of hf-inference, or of an Inference Endpoint.

            inference.task("question-answering", {"question": "Who?", "context": "It was Ada."})[0].answer
            inference.task("object-detection", "street.jpg", threshold=0.8)[0].box
            inference.task("translation", "Guten Tag", model="Helsinki-NLP/opus-mt-de-en")

        Args:
            name: As on the Hub; `hfclient.inference.tasks.TASKS` has those whose answers become values. Others, such as
                ``"depth-estimation"``, are sent as well, and the answer comes as it is.
            inputs: A text; a file (path, bytes, open binary file, URL); a dict for tasks with several inputs: ``question``
                and ``context``, ``question`` and ``image``, ``query`` and ``table``, ``source_sentence`` and ``sentences``.
                For a task that is not in `TASKS` an object is a file, a string a text, or a path if the name begins with
                ``image-``, ``video-`` or ``audio-``; under ``image``, ``video`` and ``audio`` of a dict, too.
            options: model, provider, parameters, extra_body, timeouts, top_k, candidate_labels, hypothesis_template,
                multi_label, function_to_apply, threshold, subtask, mask_threshold, overlap_mask_area_threshold,
                aggregation_strategy, ignore_labels, stride, src_lang, tgt_lang, generate_parameters,
                generation_parameters, clean_up_tokenization_spaces, truncation, max_new_tokens, return_timestamps,
                targets, align_to_words, doc_stride, handle_impossible_answer, max_answer_len, max_question_len,
                max_seq_len, lang, word_boxes, padding, sequential, normalize, prompt_name, truncate,
                truncation_direction, dimensions, encoding_format; see `.TaskOptions`.

        Returns:
            Values by the task: a list of `Classification`, `Span`, `ExtractedAnswer`, `BoxedObject`, `Segment` or `MaskFill`
            (a list of such lists for several gaps), a `TableAnswer`, a `Transcript`, an `Audio` or a list of them, a list
            of numbers, or a string. For other tasks the answer's JSON, a text, an `Image`, `Video` or `Audio`, or bytes.

        Raises:
            InvalidInputError: The name is a misspelt one, *inputs* are not those of the task, or one option needs another.
            Unsupported: The task does not have an option, or has a method of its own.
            ModelNotFound: hf-inference does not serve the model.
            ProtocolError: The answer is not a result of the task.
            APIStatusError, TransportError: The server refused, or did not answer.

        Reference: POST {base}/models/{model}
        """
        check_arguments(InferenceClient.task, locals())
        return self._pipelines.run(name, inputs, options)
