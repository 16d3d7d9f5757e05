"""The calls that users write, as mypy sees them. Never run: `tox -e type` checks this file and nothing imports it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from typing_extensions import Unpack, assert_never, assert_type

from hfclient import (
    Audio,
    ChatStream,
    Client,
    CompletionStream,
    Conversation,
    ConversationInfo,
    HFClientError,
    HubModel,
    Image,
    InferenceClient,
    Job,
    Message,
    Model,
    ParseStream,
    RateLimitError,
    Reply,
    Retry,
    ServedModel,
    Stream,
    SystemMessage,
    TextStream,
    Timeouts,
    Tool,
    ToolStream,
    Transcript,
    TransportTimeout,
    User,
    UserMessage,
    Video,
    errors,
    events,
)
from hfclient.inference.options import ChatOptions


def clients() -> None:
    Client()
    Client("http://localhost:3000")
    Client("http://localhost:3000", token="hf_x", cookies={"hf-chat": "x"}, proxy=None)
    Client(cookies="hf-chat=x; token=y", impersonate="chrome")
    Client(timeouts=Timeouts(total=10), retry=Retry(attempts=1), headers={"X-Trace": "1"})
    Client(inference_url="http://localhost:8080/v1", bill_to="my-org")
    Client(on_event=print)
    assert_type(Client.local(), Client)
    assert_type(Client.local(upstream="http://localhost:8080/v1", database="chats.sqlite3"), Client)
    with Client() as client:
        assert_type(client, Client)


def chats(client: Client) -> None:
    assert_type(client.chat("hi"), ChatStream)
    assert_type(client.chat("hi").text, str)
    assert_type(client.chat("hi", model="org/name", system_prompt="Be terse.").result(), Reply)
    client.chat([{"role": "system", "content": "Be terse."}, {"role": "user", "content": "hi"}], temporary=True)
    client.chat("look", files=["cat.png", Path("dog.png"), b"bytes", ("note.txt", b"bytes")])
    client.chat("search", web_search=True, tools=["00000000000000000000000a"])
    assert_type(client.conversation(assistant="6b01306c2708438b898c6e81"), Conversation)
    with client.chat("hi", on_close="detach") as stream:
        assert_type(stream, ChatStream)
        assert_type(stream.conversation, Conversation)
        assert_type(stream.partial, Reply)
        for event in stream:
            assert_type(event, events.AnyEvent)
        for piece in stream.iter_text():
            assert_type(piece, str)
        stream.cancel()
    assert_type(client.conversation("0" * 24).read_file("0" * 64), bytes)
    assert_type(client.conversation("0" * 24).download("0" * 64, "folder"), Path)


def conversations(client: Client) -> None:
    conversation = client.conversation(model="org/name", system_prompt="Be terse.")
    assert_type(conversation.create(), Conversation)
    assert_type(conversation.fetch_message_id(), str)
    assert_type(conversation.send("hi"), ChatStream)
    assert_type(conversation.ask("hi", timeouts=Timeouts(total=5)), Reply)
    assert_type(conversation.messages(), list[Message])
    assert_type(client.restore(conversation.to_dict()), Conversation)
    assert_type(client.conversation(conversation.id), Conversation)
    for info in client.conversations:
        assert_type(info, ConversationInfo)
        assert_type(client.conversations.get(info.id), Conversation)
    for model in client.models:
        assert_type(model, Model)
    assert_type(client.models.get("name").supports_tools, bool)
    assert_type(client.whoami(), User | None)


def chat_options(client: Client, question: events.Elicitation) -> None:
    """Each call shows and checks its options; mypy refuses a misspelt one."""
    conversation = client.conversation()
    client.chat("hi", model="org/name", on_close="detach", mcp="all", tools=["0" * 24])
    conversation.send("hi", wait=None, files=[b"a", Path("b.png")], timeouts=Timeouts(total=5), on_elicitation=bool)
    conversation.edit("hi", "0" * 24, files=None, web_search=True)
    conversation.retry(mcp=["tools"], wait=5)
    conversation.attach("generation", on_close="stop")
    assert_type(conversation.answer(question, {"seats": 2}, wait=5), ChatStream | None)
    client.chat("hi", on_closed="detach")  # type: ignore[call-arg]
    client.chat("hi", temprary=True)  # type: ignore[call-arg]
    client.chat("hi", wait=5)  # type: ignore[call-arg]
    conversation.send("hi", fils=[])  # type: ignore[call-arg]
    conversation.send("hi", on_close="never")  # type: ignore[arg-type]
    conversation.ask("hi", wait=None, mcp="all")
    conversation.ask("hi", timeout=5)  # type: ignore[call-arg]
    conversation.ask("hi", on_close="detach")  # type: ignore[call-arg]
    conversation.retry(websearch=True)  # type: ignore[call-arg]
    conversation.retry(files=[])  # type: ignore[call-arg]
    conversation.edit("hi", file="cat.png")  # type: ignore[call-arg]
    conversation.attach(wait=5)  # type: ignore[call-arg]
    conversation.answer(question, True, mpc="all")  # type: ignore[call-arg]


def inference(client: Client) -> None:
    assert_type(client.inference, InferenceClient)
    stream: Stream = client.inference.chat("hi", model="Qwen/Qwen3-8B")
    assert_type(stream.result(), Reply)
    assert_type(stream.text, str)
    client.inference.chat([{"role": "user", "content": "hi"}], model="Qwen/Qwen3-8B", temperature=0.2, max_tokens=10)
    client.inference.chat([SystemMessage("Be terse."), UserMessage("hi"), stream.result()], model="m", tools=[len])


def models_and_tasks(client: Client) -> None:
    inference = client.inference
    assert_type(inference.models(), list[ServedModel])
    for model in inference.models(task="text-to-image", provider=["fal-ai"], sort="trending", limit=5):
        assert_type(model, HubModel)
    assert_type(inference.model("gpt2"), HubModel)
    assert_type(inference.embed(["a", "b"], model="BAAI/bge-m3"), list[list[float]])
    assert_type(inference.embed("a", as_numpy=True), Any)
    assert_type(inference.transcribe(Path("a.mp3"), timestamps="word"), Transcript)
    assert_type(inference.speak("hi", voice="x"), Audio)
    assert_type(inference.caption(b"bytes"), str)
    assert_type(inference.at("https://x.endpoints.huggingface.cloud"), InferenceClient)
    assert_type(inference.classify("hi", ["a", "b"])[0].label, str)
    assert_type(inference.task("fill-mask", "a [MASK]", top_k=3), Any)
    assert_type(inference.rerank("q", ["a"])[0].index, int)


@dataclass
class City:
    name: str


def tools_and_objects(client: Client) -> None:
    def get_weather(city: str) -> str:
        return city

    run = client.inference.run_tools(
        "Warm?", [get_weather, Tool.of(len), {"type": "web_search"}], model="m", temperature=0
    )
    assert_type(run, ToolStream)
    assert_type(run.result(), Reply)
    assert_type(run.messages, list[dict[str, Any]])
    client.inference.run_tools(
        "Warm?", tools=[get_weather], approve=lambda call: call.name == "get_weather", max_rounds=2
    )
    assert_type(client.inference.chat("hi", model="m", n=2, tool_choice=len, metadata={"a": "b"}), CompletionStream)
    assert_type(client.inference.text("Once upon a time", top_n_tokens=2), TextStream)
    client.inference.text("Once upon a time", model="m", max_new_tokens=9, stop="\n", seed=1, details=True).text
    client.inference.text([{"role": "user", "content": "hi"}], layout="chatml", action=None, provider=["hf-inference"])
    client.inference.chat("What is this?", model="m", images=["a.png", b"GIF89a"], files=[Path("notes.md")])
    assert_type(client.inference.parse("Where?", into=City, model="m"), City)
    assert_type(client.inference.parse("Where?", list[City], repair=2, dialect="detect"), list[City])
    assert_type(client.inference.parse("Where?", Literal["a", "b"]), Any)
    drafts = client.inference.parse_stream("Where?", into=City, timeouts=Timeouts(total=5))
    assert_type(drafts, ParseStream[City])
    assert_type(drafts.result(), City)
    for draft in drafts:
        assert_type(draft, Any)


def images_and_videos(client: Client) -> None:
    inference = client.inference
    image = inference.image("a fox", model="org/name", size="768x512", seed=7, provider=["together", "fal-ai"])
    assert_type(image, Image)
    assert_type(image.save("fox", overwrite=True), Path)
    images: list[Image] = inference.images("a fox", 3)
    assert_type(inference.images("a fox", 3).save_all("out/{i}"), list[Path])
    assert_type(images[0].load("fox.png"), Image)
    assert_type(inference.image_to_image(image, "a wolf", model="org/name", timeouts=Timeouts(total=60)), Image)
    assert_type(inference.video("it runs", image=image, model="org/name", num_frames=81), Video)
    job = inference.video_job("it runs", model="org/name", on_progress=print)
    assert_type(job, Job[Video])
    for progress in job:
        assert_type(progress, events.JobProgress)
    assert_type(job.result(), list[Video])
    assert_type(inference.image_job("a fox").cancel(), bool)
    inference.restore_job(job.to_dict()).result()
    Client(provider_keys={"together": "key"})


def every_event(event: events.AnyEvent) -> str:
    """The union is complete: a match over all classes leaves nothing."""
    match event:
        case events.Token(text) | events.Reasoning(text) | events.FinalAnswer(text):
            return text
        case events.Title(title):
            return title
        case events.Status(status) | events.ReasoningStatus(status):
            return status
        case events.ToolCall(uuid, name):
            return uuid + name
        case events.ToolResult(uuid) | events.ToolError(uuid) | events.ToolProgress(uuid) | events.ToolEta(uuid):
            return uuid
        case events.WebSearch(message):
            return message
        case events.Sources(sources):
            return ", ".join(source.link for source in sources)
        case events.File(name):
            return name
        case events.Route(route):
            return route
        case events.Elicitation(elicitation_id) | events.ElicitationResolved(elicitation_id):
            return elicitation_id
        case events.Usage(total_tokens=total):
            return str(total)
        case events.Finish(reason):
            return reason
        case events.JobProgress(provider) | events.Failover(provider):
            return provider
        case events.Unknown(kind):
            return kind
        case _:
            assert_never(event)


def failures(client: Client) -> None:
    try:
        client.chat("hi").result()
    except RateLimitError as error:
        assert_type(error.retry_after, float | None)
        assert_type(error.scope, str | None)
    except TransportTimeout as error:
        assert_type(error.deadline, str | None)
    except HFClientError as error:
        assert_type(error.partial, Reply | None)
        assert_type(errors.from_dict(error.to_dict()), HFClientError)


def options(client: Client) -> None:
    """Options that exist are accepted with their types."""
    inference = client.inference
    assert_type(Client.local(token="", cookies="", timeouts=Timeouts(total=5), on_event=print), Client)
    inference.chat("hi", model="m", system_prompt="Be terse.", logit_bias={"5": 1}, keep_reasoning=True, extra_body={"a": 1})
    inference.chat("hi", response_format={"type": "json_object"}, tools=[len], verbosity="low", n=None)
    inference.run_tools("hi", [len], model="m", max_rounds=2, parallel=False, seed=1, response_format={"type": "json_object"})
    assert_type(inference.parse("hi", City, model="m", strict=False, seed=1, max_tokens=9), City)
    assert_type(inference.parse_stream("hi", City, temperature=0), ParseStream[City])
    inference.text("x", model="m", max_prompt_length=None, top_k=5, grammar={"type": "regex", "value": "a"}, extra_body={"a": 1})
    inference.image("x", width=64, height=64, scheduler=None, lora_scale=0.5, on_progress=print)
    inference.images("x", 2, seed=1)
    inference.video("x", num_frames=8, timeouts=Timeouts(total=60))
    inference.embed("x", normalize=True, truncate=None, batch_size=4, dimensions=256, prompt_name="query")
    inference.rerank("x", ["y"], provider="tei", extra_body={"a": 1})
    inference.transcribe(b"x", language="en", timestamps=True)
    inference.speak("x", voice="a", format="mp3", speed=1)
    inference.task("token-classification", "x", aggregation_strategy="simple", model="m")
    inference.task("depth-estimation", b"x", parameters={"a": 1})
    inference.classify("x", model="m", top_k=2)
    inference.caption(b"x", max_new_tokens=5)
    assert_type(list(inference.models(search=None, author="x", warm=True, tags=["a"])), list[HubModel])


def options_passed_on(client: Client, **options: Unpack[ChatOptions]) -> str:
    """A wrapper takes the same options."""
    return client.inference.chat("hi", **options).text


def options_that_do_not_exist(client: Client) -> None:
    """A misspelt option, or a value of another type, is an error."""
    inference = client.inference
    Client.local(tokn="")  # type: ignore[call-arg]
    Client.local(token=5)  # type: ignore[arg-type]
    inference.chat("hi", tempreature=0)  # type: ignore[call-arg]
    inference.chat("hi", temperature="0")  # type: ignore[arg-type]
    inference.run_tools("hi", [len], max_round=2)  # type: ignore[call-arg]
    inference.parse("hi", City, tempreature=0)  # type: ignore[call-overload]
    inference.parse("hi", City, response_format={})  # type: ignore[call-overload]
    inference.parse_stream("hi", City, repairs=0)  # type: ignore[call-overload]
    inference.text("hi", top_kk=5)  # type: ignore[call-arg]
    inference.text("hi", extra={})  # type: ignore[call-arg]
    inference.image("x", sed=5)  # type: ignore[call-arg]
    inference.images("x", 2, step=5)  # type: ignore[call-arg]
    inference.video("x", scheduler="a")  # type: ignore[call-arg]
    inference.embed("x", batchsize=5)  # type: ignore[call-overload]
    inference.rerank("x", ["y"], top_n=5)  # type: ignore[call-arg]
    inference.transcribe(b"x", lang="en")  # type: ignore[call-arg]
    inference.speak("x", voices="a")  # type: ignore[call-arg]
    inference.task("fill-mask", "x", top_kk=5)  # type: ignore[call-arg]
    inference.classify("x", top_kk=5)  # type: ignore[call-arg]
    inference.caption(b"x", max_token=5)  # type: ignore[call-arg]
    inference.models(sarch="x")  # type: ignore[call-overload]
