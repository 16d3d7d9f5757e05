"""`Guard`: limits of requests, tokens and credits, for each user, for each key and in all.

    guard = Guard("redis://localhost:6379/1", requests="20/minute", tokens="200000/day", total={"tokens": "5000000/day"})
    stream = guard.watch(lambda: client.chat(prompt), user=user.id, prompt=prompt)

An admission counts a request and reserves tokens and credits, each with one command of the store: of twenty requests at once, one
passes a limit with one left. The end of the answer, whichever it is, replaces the reservation by the use.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol, TypeAlias
from urllib.parse import urlsplit

from hfclient.errors import InvalidInputError, RateLimitError
from hfclient.events import Usage
from hfclient.web.admission import Admission, Watched
from hfclient.web.allowances import Allowance, rate_limit_headers
from hfclient.web.errors import LimitExceeded, StoreUnavailable, WebError
from hfclient.web.limit_store import Counter, Limit, LimitStore, hashed, parse_limits
from hfclient.web.source import Source

__all__ = ["Guard", "Price"]

_REFERENCE = "env:"
_SCOPES = ("requests", "tokens", "credits")
_RESERVED = {"tokens": 1000, "credits": 0.01}

LimitTexts: TypeAlias = Mapping[str, "str | None"]


class Price(Protocol):
    """What an answer costs; `RouterPrices` is one."""

    def __call__(self, usage: Usage, model: str, provider: str | None) -> float | None:
        """Return the credits (US dollars), or None if the price is unknown."""


def _copy(configuration: dict[str, Any]) -> Guard:
    return Guard(**configuration)


class Guard:
    """Limits of requests, tokens and credits, which all workers with the same store share.

        guard = Guard("redis://localhost:6379/1", requests="20/minute", tokens="200000/day", credits="0.50/day",
                      per_key={"requests": "5/minute"}, total={"credits": "40/day"}, price=RouterPrices(client.inference))

        @app.post("/ask")
        def ask():
            prompt = hf.prompt()
            return hf.stream_response(guard.watch(lambda: client.chat(prompt), user=current_user.id, prompt=prompt))

    A limit is an amount and a time, ``"20/minute"``, ``"1000 per 12 hours"``, or several, ``"2/second; 200/hour"``. A window is a
    fixed span of the clock (a full minute; a day from 00:00 UTC), so up to two amounts can pass within one window's length around
    its end. Users' ids are hashed in the store.

    Tokens and credits are known only when an answer ends. Until then a reservation counts, and the last answer that a
    limit admits may exceed it. What is counted is what servers report (`events.Usage`), also for an answer that
    failed or was stopped after its report. Without a report, as in chat-ui, it is an estimate: a token for each four
    bytes of UTF-8 of prompt, reasoning, calls of tools and text.

    Args:
        store: Where the counters are: ``"memory://"`` (this process only), ``"redis://..."``, ``"rediss://..."``,
            ``"redis+cluster://..."``, ``"mongodb://..."`` and others of the library *limits* except memcached, which cannot count down;
            ``"env:NAME"`` for the URL in an environment variable. A guard pickles as its configuration, without a password.
        requests, tokens, credits: Limits for each user. A credit is a US dollar.
        per_key: Limits for each *key* of `watch`, such as a conversation, a tenant or a model: a mapping with the same names.
        total: Limits for all users together.
        price: Returns the credits of an answer; needed for limits of credits. An answer without a known price costs
            its reservation.
        reserve: What an answer is expected to use: ``{"tokens": 1000, "credits": 0.01}`` unless set, besides the prompt's tokens.
        on_store_error: ``"allow"`` admits requests uncounted while the store is down; ``"refuse"`` raises `StoreUnavailable`.
        hold: Whether a 429 of the provider with a time to wait holds the further requests of this process until then. For a service
            account; not for clients with each user's own credentials.
        prefix: First part of all keys, for applications that share a store.

    Raises:
        InvalidInputError: A limit or the store's URL is malformed, or limits of credits have no price.
        MissingDependencyError: The package of the store is not installed.
    """

    def __init__(
        self,
        store: str = "memory://",
        *,
        requests: str | None = None,
        tokens: str | None = None,
        credits: str | None = None,
        per_key: LimitTexts | None = None,
        total: LimitTexts | None = None,
        price: Price | None = None,
        reserve: Mapping[str, float] | None = None,
        on_store_error: Literal["allow", "refuse"] = "allow",
        hold: bool = False,
        prefix: str = "hfclient:guard",
    ) -> None:
        # What a copy in another process is made of; the URL of the store by name, if it was given so.
        self.configuration: dict[str, Any] = {
            "store": store,
            "requests": requests,
            "tokens": tokens,
            "credits": credits,
            "per_key": per_key,
            "total": total,
            "price": price,
            "reserve": reserve,
            "on_store_error": on_store_error,
            "hold": hold,
            "prefix": prefix,
        }
        if isinstance(store, str) and store.startswith(_REFERENCE):
            name = store[len(_REFERENCE) :]
            store = os.environ.get(name, "")
            if not store:
                raise InvalidInputError(f"the store of the limits is the environment variable {name}, which is not set in this process")
        if on_store_error not in ("allow", "refuse"):
            raise InvalidInputError(f'on_store_error is "allow" or "refuse", not {on_store_error!r}')
        _check_names("reserve", reserve or {}, tuple(_RESERVED))
        limits: list[Limit] = []
        tables = {"user": {"requests": requests, "tokens": tokens, "credits": credits}, "key": per_key or {}, "total": total or {}}
        for per, texts in tables.items():
            _check_names({"key": "per_key"}.get(per, per), texts, _SCOPES)
            limits += [limit for scope, text in texts.items() if text is not None for limit in parse_limits(scope, per, text)]
        if len({limit.name for limit in limits}) != len(limits):
            raise InvalidInputError("two limits of the same quantity have windows of the same length")
        if price is None and any(limit.scope == "credits" for limit in limits):
            raise InvalidInputError(
                "limits of credits need price=, such as RouterPrices(client.inference) or a function of usage, model and provider"
            )
        # The longest window first: a refusal then names the time after which the request will pass.
        self.limits = tuple(sorted(limits, key=lambda limit: -limit.window))
        self.on_store_error = on_store_error
        self.price = price
        self.reserve = {**_RESERVED, **(reserve or {})}
        self._hold = hold
        self._held_until = -math.inf
        self.store = LimitStore(store, prefix=prefix)

    def __reduce__(self) -> tuple[Any, ...]:
        url = self.configuration["store"]
        if not url.startswith(_REFERENCE) and urlsplit(url).password:
            raise InvalidInputError('the URL of the store has a password, which is not sent to other processes: Guard("env:NAME") takes it from the environment variable NAME')
        return _copy, (self.configuration,)

    def __repr__(self) -> str:
        return f"<Guard {self.store.scheme}: {'; '.join(map(str, self.limits)) or 'without limits'}>"

    def watch(
        self,
        open: Callable[[], Source],
        *,
        user: object = None,
        key: object = None,
        prompt: object = None,
        model: str = "",
        tokens: int | None = None,
    ) -> Watched:
        """Return a source that is admitted before *open* is called, and counted.

            for event in guard.watch(lambda: client.chat(prompt), user=user.id, prompt=prompt): ...
            run = relay.start(thread, guard.watch(lambda: restore(thread).send(prompt), user=user.id, prompt=prompt))

        Bodies, `Relay.start` and ``stream_response`` admit it before they answer, so that a refusal is a 429.
        One that is never opened is not counted.

        Args:
            open: The call, as a function without arguments that returns a stream.
            user: The user's id; for visitors without one a session id, or an address. Required if there are limits for users.
            key: The value for the limits of `per_key`. Required if there are such limits.
            prompt: The prompt, messages or their texts, for the estimate of tokens; include the conversation so far if its
                length matters.
            model: The model, for `price`, if the server does not send its name.
            tokens: The most that the request can use, to reserve that instead of the guard's estimate.
        """
        if not callable(open):
            raise InvalidInputError(
                "watch takes the call as a function, so that a refused request is not sent: guard.watch(lambda: client.chat(prompt), "
                "user=...); an open stream is counted by guard.admit(user).watch(stream)"
            )
        return Watched(open, lambda: self.admit(user, key=key, prompt=prompt, model=model, tokens=tokens))

    def admit(
        self, user: object = None, *, key: object = None, prompt: object = None, model: str = "", tokens: int | None = None
    ) -> Admission:
        """Count a request, reserve tokens and credits, and return the admission, which has to be closed.

            with guard.admit(user.id, prompt=prompt) as admission:
                reply = client.chat(prompt).result()
                admission.count(reply)

        Args:
            user, key, prompt, model, tokens: As for `watch`.

        Raises:
            LimitExceeded: A limit is used up; nothing was counted. ``retry_after`` is the time until its next window.
            StoreUnavailable: The store cannot be reached, with ``on_store_error="refuse"``.
            WebError: *user* or *key* is missing, but there are limits for it: a mistake of the application (500).
        """
        if (wait := self._held_until - time.monotonic()) > 0:
            raise LimitExceeded("the provider asks to wait", retry_after=wait, scope="requests")
        admission = Admission(self, user, key, prompt, model, tokens)
        admission._enter()
        return admission

    def usage(self, user: object = None, *, key: object = None) -> tuple[Allowance, ...]:
        """Return what is left: the limits of *user*, of *key* if it is given, and in all.

        Raises:
            StoreUnavailable: The store cannot be reached.
        """
        now = time.time()
        owners = {"user": user, "key": key, "total": ""}
        return tuple(
            Allowance.of(counter, self.store.read(counter), now)
            for limit in self.limits
            if (owner := owners[limit.per]) is not None
            for counter in [self.counter(limit, owner, now)]
        )

    def headers(self, user: object = None, *, key: object = None) -> dict[str, str]:
        """Return the header fields ``RateLimit-Policy`` and ``RateLimit`` for the limits of *user* and *key*; not those in all.

        Empty without limits, and while the store is down. `Watched.headers` has them without another question to the store. Credits
        are in millionths, because the fields have integers.

        Reference: https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/ (10)
        """
        try:
            return rate_limit_headers(self.usage(user, key=key))
        except StoreUnavailable:
            return {}

    def reset(self, user: object = None, *, key: object = None) -> None:
        """Set the counters of *user* and *key* to zero for their current windows.

        Raises:
            StoreUnavailable: The store cannot be reached.
        """
        now = time.time()
        owners = {"user": user, "key": key}
        given = [(limit, owner) for limit in self.limits if (owner := owners.get(limit.per)) is not None]
        self.store.clear([self.counter(limit, owner, now) for limit, owner in given])

    def counter(self, limit: Limit, owner: object, now: float) -> Counter:
        """Return the counter of *limit* for a user or key at the time *now*."""
        if limit.per == "total":
            return self.store.counter(limit, "", now)
        if owner is None or owner == "":
            name = "user" if limit.per == "user" else "key"
            raise WebError(f"there are limits for each {name}, so {name}= is required")
        return self.store.counter(limit, hashed(owner), now)

    def provider_refused(self, error: BaseException) -> None:
        """Hold further requests if *error* is a 429 of the provider and the guard was made with ``hold=True``."""
        if self._hold and isinstance(error, RateLimitError) and error.retry_after:
            self._held_until = time.monotonic() + min(error.retry_after, 300.0)


def _check_names(option: str, given: Mapping[str, object], names: tuple[str, ...]) -> None:
    if unknown := sorted(set(given) - set(names)):
        raise InvalidInputError(f"{option} has {', '.join(map(repr, unknown))}; its names are {', '.join(names)}")
