"""The parameters of text generation, and the bodies of its two protocols. No network.

Reference: docs/protocol/inference ("text generation").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from attrs import Attribute, field, fields, frozen

from hfclient.errors import InvalidInputError, Unsupported
from hfclient.inference.completions.field_checks import stop_sequences

__all__ = ["COMPLETION_ROUTES", "TextParameters", "completions_body", "native_body", "parameters_of"]

COMPLETION_ROUTES: Mapping[str, str] = {
    "deepinfra": "/v1/openai/completions",
    "featherless-ai": "/v1/completions",
    "novita": "/v3/openai/completions",
    "ovhcloud": "/v1/completions",
    "scaleway": "/v1/completions",
    "together": "/v1/completions",
}
"""The routes of the providers that complete text."""

_MAX_STOPS = 4
_MAX_SEED = 2**64 - 1

_Check: TypeAlias = "Callable[[object, Attribute[Any], Any], None]"


def _number(low: float, high: float = float("inf"), *, whole: bool = False, beyond: bool = False) -> _Check:
    """Return a check for a number from *low* to *high*; *beyond*: without *low* itself. None is always allowed."""
    kinds = (int,) if whole else (int, float)

    def check(instance: object, attribute: Attribute[Any], value: Any) -> None:
        if value is None:
            return
        is_number = isinstance(value, kinds) and not isinstance(value, bool)
        if not is_number or not low <= value <= high or (beyond and value == low):
            kind = "a whole number" if whole else "a number"
            least = f"above {low:g}" if beyond else f"of at least {low:g}"
            most = f" and at most {high:g}" if high != float("inf") else ""
            raise InvalidInputError(f"{attribute.name} is {kind} {least}{most}, not {value!r}")

    return check


def _a_grammar(instance: object, attribute: Attribute[Any], value: Any) -> None:
    if value is not None and not (isinstance(value, Mapping) and "value" in value and "type" in value):
        raise InvalidInputError(
            'a grammar is {"type": "json", "value": schema} or {"type": "regex", "value": expression}, not '
            + repr(value)
        )


@frozen(kw_only=True)
class TextParameters:
    """The parameters of `InferenceClient.text`; `TextOptions` describes them.

    Raises:
        InvalidInputError: No server accepts a value.
    """

    max_new_tokens: int | None = field(default=None, validator=_number(1, whole=True))
    temperature: float | None = field(default=None, validator=_number(0))
    top_k: int | None = field(default=None, validator=_number(1, whole=True))
    top_p: float | None = field(default=None, validator=_number(0, 1, beyond=True))
    typical_p: float | None = field(default=None, validator=_number(0, 1, beyond=True))
    repetition_penalty: float | None = field(default=None, validator=_number(0, beyond=True))
    frequency_penalty: float | None = field(default=None, validator=_number(-2, 2))
    seed: int | None = field(default=None, validator=_number(0, _MAX_SEED, whole=True))
    stop: tuple[str, ...] = field(default=(), converter=stop_sequences)
    best_of: int | None = field(default=None, validator=_number(1, whole=True))
    grammar: Mapping[str, Any] | None = field(default=None, validator=_a_grammar)
    do_sample: bool | None = None
    watermark: bool | None = None
    return_full_text: bool = False
    truncate: int | None = field(default=None, validator=_number(1, whole=True))
    details: bool | None = None
    decoder_input_details: bool = False
    adapter_id: str | None = None
    top_n_tokens: int | None = field(default=None, validator=_number(0, 5, whole=True))

    def __attrs_post_init__(self) -> None:
        if self.best_of is not None and self.best_of > 1:
            if self.seed is not None:
                raise InvalidInputError("best_of generates several texts, which cannot share a seed")
            if self.do_sample is False or not (self.do_sample or self._samples):
                raise InvalidInputError("best_of needs sampling: pass do_sample=True or a temperature")

    @property
    def _samples(self) -> bool:
        shares = (self.top_p, self.typical_p)
        return bool(self.temperature or self.top_k or any(share not in (None, 1) for share in shares))

    @property
    def streams(self) -> bool:
        """Whether text-generation-inference can stream it; it cannot with several answers or the prompt's tokens."""
        return (self.best_of or 1) == 1 and not self.decoder_input_details

    def native_only(self) -> list[str]:
        """Return the given parameters that ``/v1/completions`` would ignore."""
        names = (
            "typical_p",
            "repetition_penalty",
            "grammar",
            "watermark",
            "truncate",
            "decoder_input_details",
            "adapter_id",
            "top_n_tokens",
            "return_full_text",
        )
        wanted = [name for name in names if getattr(self, name) not in (None, False)]
        return wanted + (["best_of"] if (self.best_of or 1) > 1 else [])


_NAMES = tuple(attribute.name for attribute in fields(TextParameters))


def parameters_of(options: Mapping[str, Any]) -> TextParameters:
    """Return the parameters among the options of `InferenceClient.text`."""
    return TextParameters(**{name: options[name] for name in _NAMES if name in options})


def native_body(
    prompt: str,
    wanted: TextParameters,
    *,
    stream: bool | None = None,
    extra: Mapping[str, Any] | None = None,
    without: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Return the body for text-generation-inference and hf-inference.

    ``return_full_text`` is always sent, because its default depends on the route, and ``details`` unless it is False, because
    they have the finish reason. Without *do_sample* the server decides: it samples if a parameter of sampling is given. A
    temperature of 0, which it refuses, means not to sample.

    Args:
        prompt: The text.
        wanted: The parameters.
        stream: For the route that streams on request; None leaves it out.
        extra: Further parameters. They override all others; None removes one.
        without: Parameters that the server refused.

    Raises:
        InvalidInputError: There are more than four stop sequences.
    """
    if len(wanted.stop) > _MAX_STOPS and "stop" not in (extra or {}):
        raise InvalidInputError(
            f"text-generation-inference takes at most {_MAX_STOPS} stop sequences; extra_body= is not checked"
        )
    greedy = wanted.temperature == 0
    parameters = {
        "max_new_tokens": wanted.max_new_tokens,
        "temperature": None if greedy else wanted.temperature,
        "top_k": wanted.top_k,
        "top_p": None if wanted.top_p == 1 else wanted.top_p,  # 1 has no effect, and is refused
        "typical_p": None if wanted.typical_p == 1 else wanted.typical_p,
        "repetition_penalty": wanted.repetition_penalty,
        "frequency_penalty": wanted.frequency_penalty,
        "do_sample": False if greedy and wanted.do_sample is None else wanted.do_sample,
        "return_full_text": wanted.return_full_text,
        "stop": list(wanted.stop) or None,
        "truncate": wanted.truncate,
        "best_of": wanted.best_of,
        "watermark": wanted.watermark,
        "details": wanted.details is not False,
        "decoder_input_details": wanted.decoder_input_details or None,
        "seed": wanted.seed,
        "grammar": wanted.grammar,
        "adapter_id": wanted.adapter_id,
        "top_n_tokens": wanted.top_n_tokens,
        **(extra or {}),
    }
    kept = {name: value for name, value in parameters.items() if value is not None and name not in without}
    body: dict[str, Any] = {"inputs": prompt, "parameters": kept}
    if stream is not None and "stream" not in without:
        body["stream"] = stream
    return body


def completions_body(
    model: str, prompt: str, wanted: TextParameters, *, extra: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the body for ``/v1/completions``.

    Args:
        model: The server's name of it.
        prompt: The text.
        wanted: The parameters.
        extra: Further fields. They override all others; None removes one. The server is expected to know them.

    Raises:
        Unsupported: A parameter would be ignored.
    """
    if ignored := [name for name in wanted.native_only() if name not in (extra or {})]:
        raise Unsupported(
            f"/v1/completions does not have {', '.join(ignored)}; text-generation-inference and hf-inference do. A field of "
            f"the server's own goes into extra_body="
        )
    temperature = 0 if wanted.do_sample is False and wanted.temperature is None else wanted.temperature
    body = {
        "model": model,
        "prompt": prompt,
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": wanted.max_new_tokens,
        "temperature": temperature,
        "top_p": None if wanted.top_p == 1 else wanted.top_p,
        "top_k": wanted.top_k,
        "frequency_penalty": wanted.frequency_penalty,
        "seed": wanted.seed,
        "stop": list(wanted.stop) or None,
        "logprobs": 1 if wanted.details else None,
        **(extra or {}),
    }
    return {name: value for name, value in body.items() if value is not None}
