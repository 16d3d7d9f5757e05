"""`HFClient`: the extension."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet, ref

from flask import Flask, Response, current_app, has_app_context, has_request_context, request, send_from_directory

from hfclient import Client
from hfclient.errors import HFClientError, InvalidInputError
from hfclient.web.admission import Watched
from hfclient.web.bodies import Body, sse
from hfclient.web.errors import WebError
from hfclient.web.flask.config import Settings, read_settings
from hfclient.web.flask.requests import read_json, read_prompt
from hfclient.web.problems import Problem, log_problem, problem
from hfclient.web.source import Opener, SourceLike, needs_no_body

if TYPE_CHECKING:
    from hfclient.web.guard import Guard
    from hfclient.web.relay import Allowed, OnEnd, Relay, Run

__all__ = ["HFClient"]

_T = TypeVar("_T")
_STATIC = Path(__file__).parents[1] / "static" / "hfclient"


class HFClient:
    """hfclient in a Flask application: a client, a relay and a guard from ``app.config``, streams and errors as responses.

        hf = HFClient(app)                    # or, with an application factory:
        hf = HFClient()
        def create_app():
            app = Flask(__name__)
            app.config.from_prefixed_env()
            hf.init_app(app)

    One object serves any number of applications; each has its own client, relay and guard. Nothing is opened before the first use, so
    the application may be loaded before the workers are forked.

    Args:
        app: The application; None: `init_app` is called later.
        problem: Describes errors: `hfclient.web.problem`, perhaps with options such as ``functools.partial(problem, titles=...)``.

    Raises:
        InvalidInputError: A key of the configuration is unknown, or its value cannot work.
    """

    def __init__(self, app: Flask | None = None, *, problem: Callable[..., Problem] = problem) -> None:
        self._problem = problem
        self._apps: WeakSet[Flask] = WeakSet()
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Check the configuration of *app* and register the handler of errors (unless ``HFCLIENT_ERROR_HANDLER`` is False).

        Raises:
            InvalidInputError: A key of the configuration is unknown, or its value cannot work. No value is in the message.
        """
        settings = read_settings(app.config)
        app.extensions["hfclient"] = _Made(app)
        self._apps.add(app)
        if settings.error_handler:
            app.register_error_handler(HFClientError, self.problem_response)

    @property
    def client(self) -> Client:
        """The client of the current application."""
        return self._made.once("client", lambda settings: settings.new_client())

    @property
    def relay(self) -> Relay:
        """The relay of the current application, from ``HFCLIENT_RELAY``; in memory unless it has a store.

        Chats of a worker that has died are recovered with `client`; with a client for each user set ``recover``. Its functions
        (``recover``, ``on_end``) run in the context of the application. `start` and `follow` are for views.
        """
        return self._made.once("relay", lambda settings: settings.new_relay(self._made.in_context, lambda: self.client))

    @property
    def guard(self) -> Guard:
        """The guard of the current application, from ``HFCLIENT_GUARD``.

        Raises:
            WebError: The application has no ``HFCLIENT_GUARD``.
        """
        return self._made.once("guard", lambda settings: settings.new_guard(lambda: self.client))

    @property
    def _made(self) -> _Made:
        if has_app_context():
            made = current_app.extensions.get("hfclient")
            if made is None:
                raise WebError(f"call init_app for the application {current_app.name!r} first")
        else:
            apps = list(self._apps)
            if len(apps) != 1:
                raise WebError(
                    "which application? Outside of a request use `with app.app_context():`, or take `client = hf.client` before"
                    if apps
                    else "call init_app first"
                )
            made = apps[0].extensions["hfclient"]
        assert isinstance(made, _Made)
        return made

    # Requests

    def json(self, *, max_bytes: int = 1_000_000) -> dict[str, Any]:
        """Return the JSON object in the body of the request.

        Args:
            max_bytes: The longest body.

        Raises:
            InvalidRequest: The body is not a JSON object, or its Content-Type is not JSON (400).
            RequestTooLargeError: It is longer (413), also than ``MAX_CONTENT_LENGTH``.
        """
        return read_json(request, max_bytes)

    def prompt(self, name: str = "prompt", *, max_length: int = 100_000) -> str:
        """Return a text of the request: the field *name* of its JSON object or of its form.

        Args:
            name: The field.
            max_length: The longest text, in characters. The body may have six bytes for each, and further fields.

        Raises:
            InvalidRequest: The field is missing, is not a text, or is blank (400).
            RequestTooLargeError: The text or the body is too long (413).
        """
        return read_prompt(request, name, max_length)

    # Answers that outlive the request

    def start(
        self,
        key: object,
        open: Opener,
        *,
        owner: object = None,
        idempotency_key: str | None = None,
        wait: float | None = 1.0,
        on_end: OnEnd | None = None,
        **options: Any,
    ) -> Run:
        """Start an answer that outlives this request, with ``hf.relay.start``; *open* and *on_end* run in the context of the application.

            @app.post("/threads/<thread>/ask")
            def ask(thread):
                prompt, user = hf.prompt(), current_user.id
                call = hf.guard.watch(lambda: restore(thread).send(prompt), user=user, prompt=prompt)
                return {"run": hf.start(thread, call, owner=user, idempotency_key=request.headers.get("Idempotency-Key")).id}

        Args:
            key: At most one run with this key is active, such as the id of the conversation.
            open: A function that returns a stream, or what `Guard.watch` returns. It must not use the request.
            owner: The user that the run belongs to.
            idempotency_key: A text of the browser's, new for each message; repeated, it returns the run that it started.
            wait: Seconds to wait for the stream to open, so that a refusal that comes before it raises here and becomes the status of the response.
            on_end: Called once when the run ends, to save the answer: ``on_end(run, reply, error)``.
            options: ``busy`` and ``state`` of `Relay.start`.

        Raises:
            RunBusy, TooManyRuns, StoreUnavailable, RunGone, InvalidRequest: As `Relay.start`.
            HFClientError: A refusal that came within *wait* seconds.
        """
        made = self._made
        return self.relay.start(
            key, made.opener(open), owner=owner, idempotency_key=idempotency_key, wait=wait,
            on_end=None if on_end is None else made.in_context(on_end), **options,
        )  # fmt: skip

    def follow(self, run_id: str, *, owner: object = None, allowed: Allowed | None = None, **options: Any) -> Response:
        """Return a response that follows a run from the event in the request's ``Last-Event-ID`` on.

            @app.get("/runs/<run_id>")
            def follow(run_id):
                return hf.follow(run_id, owner=current_user.id)

        A run that has ended, and whose last event the browser has, is a 204, after which an EventSource does not reconnect.

        Args:
            run_id: The run.
            owner, allowed: Who may follow it, as for `Relay.follow`.
            options: Of `stream_response`, such as ``body`` and ``format``.

        Raises:
            RunNotFound, RunGone, InvalidRequest, TooManyRuns, StoreUnavailable: As `Relay.follow`.
        """
        follower = self.relay.follow(run_id, request.headers.get("Last-Event-ID"), owner=owner, allowed=allowed)
        try:
            return self.stream_response(follower, **{"wait": None, **options})
        except BaseException:
            follower.close()
            raise

    # Responses

    def stream_response(
        self,
        source: SourceLike,
        *,
        body: Callable[..., Body] = sse,
        wait: float | None = 1.0,
        headers: Mapping[str, str] | None = None,
        on_close: Callable[[], object] | None = None,
        **options: Any,
    ) -> Response:
        """Return a response that streams an answer, from a view or a coroutine.

            return hf.stream_response(lambda: hf.client.chat(prompt))
            return hf.stream_response(hf.relay.follow(run_id, after=request.headers.get("Last-Event-ID"), owner=user))

        When the browser leaves, also while the model is silent, the answer is left as its ``on_close`` says. A request that repeats an
        earlier one (it has ``Last-Event-ID``) gets a 204, after which a browser stops, and *source* is not called: the prompt is not
        sent twice. A follower of a run continues instead, unless the browser has its last event. A HEAD request gets the headers, and
        *source* is not called.

        Args:
            source: A function that returns a stream, called in another thread in the context of the application; what `Guard.watch`
                returns, whose ``RateLimit`` header fields are added; or a stream, or a follower of a run.
            body: `hfclient.web.sse`, `hfclient.web.ndjson` or `hfclient.web.text`.
            wait: Seconds to wait for the first event, so that a refusal raises here and becomes the status of the response; later
                ones are events of the stream. None does not wait.
            headers: Further headers.
            on_close: Called once when the response has ended or was closed.
            options: Of *body*: ``format``, ``heartbeat``, ``retry``, ``details``; see `hfclient.web.sse`.

        Raises:
            HFClientError: A refusal that came within *wait* seconds.
        """
        maker = self._made
        options = {**maker.settings.body_options, "problem": self._problem, **options}
        if has_request_context():
            if needs_no_body(source, request.headers.get("Last-Event-ID")):
                close = getattr(source, "close", None)
                if close is not None:
                    close()
                if on_close is not None:
                    on_close()
                return Response(status=204)
            if request.method == "HEAD":
                wait = None
        made = body(maker.opener(source) if callable(source) else source, wait=wait, on_close=on_close, **options)
        response = Response(made, made.status, made.headers)
        response.headers.update({**(source.headers() if isinstance(source, Watched) else {}), **(headers or {})})
        return response

    def problem_response(self, error: BaseException) -> Response:
        """Return *error* as a response with its status and ``application/problem+json``, and log its text, which is not shown."""
        made = self._problem(error)
        log_problem(current_app.logger, error, "was refused", made.status)
        return Response(made.json(), made.status, made.headers)

    def static(self, filename: str) -> Response:
        """A view for the modules and the style sheet of the front end. Attach it to a URL of the application's choice:

            app.add_url_rule("/hfclient/<filename>", "hfclient", hf.static)
        """  # noqa: D415
        kind = "text/css" if filename.endswith(".css") else "text/javascript"  # the system's table may have another type for .js
        response = send_from_directory(_STATIC, filename, mimetype=kind, conditional=True)
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    def close(self, app: Flask | None = None, *, timeout: float = 25.0) -> None:
        """Close the relay and the client of *app*, or of the current application; the next use makes new ones.

        For tests. A worker that ends hands its runs over by ``hf.relay.close_on_sigterm()``; see `Relay.close_on_sigterm`.

        Args:
            app: The application.
            timeout: Seconds to wait for runs, as for `Relay.close`.
        """
        made = self._made if app is None else app.extensions["hfclient"]
        made.close(timeout)


class _Made:
    """What was made for one application."""

    def __init__(self, app: Flask) -> None:
        self._app = ref(app)  # the application holds this object
        self._config = app.config
        self._made: dict[str, Any] = {}
        self._making = threading.RLock()
        self._settings: Settings | None = None

    @property
    def settings(self) -> Settings:
        # Not kept by init_app: a factory may change the configuration after it, until the first use.
        if self._settings is None:
            with _mistakes():
                self._settings = read_settings(self._config)
        return self._settings

    def once(self, name: str, make: Callable[[Settings], _T]) -> _T:
        made = self._made.get(name)
        if made is None:
            with self._making:  # nothing is sent meanwhile
                made = self._made.get(name)
                if made is None:
                    with _mistakes():
                        made = self._made[name] = make(self.settings)
        return made

    def in_context(self, call: Callable[..., _T]) -> Callable[..., _T]:
        """Return *call* as a function that runs in the context of the application."""
        find = self._app

        @functools.wraps(call)
        def called(*args: Any, **kwargs: Any) -> _T:
            app = find()
            with contextlib.nullcontext() if app is None else app.app_context():
                return call(*args, **kwargs)

        return called

    def opener(self, open: Opener) -> Opener:
        """Return *open* as a function that runs in the context of the application; what `Guard.watch` returns stays what it is."""
        if isinstance(open, Watched):
            open.wrap(self.in_context)
            return open
        return self.in_context(open)

    def close(self, timeout: float) -> None:
        with self._making:
            made, self._made, self._settings = self._made, {}, None
        # The relay first: it stops its answers through the client.
        if "relay" in made:
            made["relay"].close(timeout)
        if "client" in made:
            made["client"].close()


@contextlib.contextmanager
def _mistakes() -> Iterator[None]:
    """Turn an `InvalidInputError` about the configuration, which the browser has not caused, into a `WebError` (500)."""
    try:
        yield
    except InvalidInputError as error:
        raise WebError(str(error)) from error
