"""Secrets that come back: a server that repeats the token it was sent, in a message, a page, a header or a log.

Every `hfclient.credentials.Secret` of this process is remembered here, the newest thousand of them, and masked in what others
sent wherever it becomes the text of an error or a line of a log (`hfclient.errors`, `hfclient.logs`): as it was sent,
percent-encoded, escaped for JSON or HTML, in base64, and cut off at the end of the text. What a server sends as the content
of an answer is handed out as it is.

Nothing happens per event or per byte: the text of an error is looked through once, in time that depends on its own length and
not on how many secrets there are.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator
from urllib.parse import parse_qsl, quote, quote_plus, unquote

from hfclient.printable import one_line

__all__ = ["masked", "may_be_secret", "remember", "remember_url", "said"]

_MASK = "***"
_MOST = 1000
_SHORTEST = 6  # characters; anything shorter would be found in the midst of ordinary text
_LONGEST_SAID = 8000  # characters of a message: a server may send a line of megabytes
_LOOKED_AT = 64 * 1024  # characters of a text in which secrets are looked for
_PROSE = 12  # characters; a shorter secret is masked where it stands alone, and a plain word is none
_RANDOM = 16  # characters
_TELLING = re.compile(r"auth|cookie|credential|key|pass|secret|session|signature|token", re.IGNORECASE)
_URL = re.compile(r"[a-z][a-z0-9+.-]*://(?:([^/?#]*)@)?", re.IGNORECASE)
_SCHEME = re.compile(r"([A-Za-z][\w.-]*)[ ]+(\S.*)", re.DOTALL)
_GO_JSON = {ord(ch): f"\\u{ord(ch):04x}" for ch in "&<>"}
_ESCAPES = re.compile("%[0-9A-F]{2}")


class _Memory:
    """The secrets, oldest first, and their forms by their first characters.

    No lock: a fork or a signal handler may come at any moment, and each step on these is atomic.
    """

    def __init__(self) -> None:
        self._known: dict[str, None] = {}
        self._forms: dict[str, tuple[str, ...]] | None = {}

    def add(self, secret: str) -> None:
        if secret in self._known:
            if len(self._known) > _MOST // 2:  # what is in use stays
                self._known.pop(secret, None)
                self._known[secret] = None
            return
        if len(secret) < _SHORTEST:
            return
        self._known[secret] = None
        while len(self._known) > _MOST:
            self._known.pop(next(iter(self._known), ""), None)
        self._forms = None

    def forms(self) -> dict[str, tuple[str, ...]]:
        forms = self._forms
        if forms is None:  # made when an error needs it, not for each secret
            secrets = list(self._known)
            forms = _by_start(form for secret in secrets for part in _parts(secret) for form in _forms(part))
            if self._known.keys() == set(secrets):  # else another thread has added one meanwhile
                self._forms = forms
        return forms


_memory = _Memory()


def remember(secret: str) -> None:
    """Mask *secret* from now on.

    Args:
        secret: A plain string: a token, a cookie's value, a password, the value of an Authorization or a Cookie header, or a
            URL with a password in it.
    """
    _memory.add(secret)


def remember_url(url: str) -> None:
    """Mask the password of a URL, and those values of its query whose names or looks say that they are secret."""
    remember(url)
    for name, value in parse_qsl(url.partition("?")[2].partition("#")[0]):
        if may_be_secret(name, value):
            remember(value)


def may_be_secret(name: str, value: str) -> bool:
    """Tell whether a header, or a value of a query, is a secret rather than a word, by its name or by how random it looks.

    >>> may_be_secret("X-Api-Key", "abc"), may_be_secret("X-Tenant", "production"), may_be_secret("X-Id", "5f2b9c1d7e8a4b6c")
    (True, False, True)
    """
    if _TELLING.search(name):
        return True
    return len(value) >= _RANDOM and " " not in value and not value.isalpha() and not value.isdigit()


def said(text: str) -> str:
    r"""Return what a server says as the text of an error: one line, secrets masked, control characters escaped.

    Of more than 8,000 characters the rest is left out.

    >>> said("no:\n\x1b[2J")
    'no: \\x1b[2J'
    """
    if len(text) > _LONGEST_SAID:
        text = masked(text[: _LONGEST_SAID + _LOOKED_AT])[:_LONGEST_SAID] + "…"
        return one_line(text)
    return one_line(masked(text))


def masked(text: str) -> str:
    """Return *text* with stars in place of the secrets in it.

    A secret that the end of *text* cuts off is masked, too. One of less than 12 characters is masked where no letter or digit
    touches it, one of less than 6 not at all, nor one that looks like a word, unless it is a password. Of a text of more than
    65,536 characters the rest stays as it is.
    """
    index = _memory.forms()
    if not index:
        return text
    pieces: list[str] = []
    kept = place = 0
    last = min(len(text), _LOOKED_AT) - _SHORTEST
    while place <= last:
        end = None
        if (forms := index.get(text[place : place + _SHORTEST])) is not None:
            end = _end_of_secret(text, place, forms)
        if end is None:
            place += 1
        else:
            pieces += (text[kept:place], _MASK)
            kept = place = end
    return "".join(pieces) + text[kept:] if pieces else text


def _end_of_secret(text: str, start: int, forms: tuple[str, ...]) -> int | None:
    for form in forms:
        end = start + len(form)
        if text.startswith(form, start):
            if len(form) >= _PROSE or not (text[start - 1 : start].isalnum() or text[end : end + 1].isalnum()):
                return end
        elif end > len(text) and len(text) - start >= _PROSE and form.startswith(text[start:]):
            return len(text)
    return None


def _by_start(forms: Iterable[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, set[str]] = {}
    for form in forms:
        if len(form) >= _SHORTEST:
            found.setdefault(form[:_SHORTEST], set()).add(form)
    return {start: tuple(sorted(group, key=len, reverse=True)) for start, group in found.items()}


def _parts(secret: str) -> Iterator[str]:
    """Yield what is secret in a header's value, a URL or a plain secret."""
    if url := _URL.match(secret):
        user, _, password = (url[1] or "").partition(":")
        yield password or user
        yield binascii.b2a_base64(unquote(url[1] or "").encode("utf-8", "replace"), newline=False).decode()
        return
    scheme = _SCHEME.fullmatch(secret)
    if scheme and "=" not in scheme[1]:
        yield secret
        if not _is_word(scheme[2]):
            yield scheme[2]
        if scheme[1].lower() == "basic":
            yield from _password_in(scheme[2])
        return
    for pair in secret.split(";") if "=" in secret else ():
        value = pair.partition("=")[2].strip().strip('"')
        if not _is_word(value):
            yield value
    if not _is_word(secret):
        yield secret


def _is_word(text: str) -> bool:
    """Whether *text* is an ordinary word ("expired") or a filling, which stands in texts for other reasons."""
    return (text.isalpha() and len(text) < _PROSE) or len(set(text)) < 3


def _password_in(encoded: str) -> Iterator[str]:
    try:
        pair = binascii.a2b_base64(encoded).decode("utf-8", "replace")
    except ValueError:
        return
    yield pair.partition(":")[2]


def _forms(part: str) -> set[str]:
    """Return the ways to write a secret that servers have."""
    forms = {part, unquote(part)}
    for plain in tuple(forms):
        forms |= {quote(plain, safe=""), quote(plain), quote_plus(plain), quote(quote(plain, safe=""), safe="")}
        in_json = plain.replace("\\", "\\\\").replace('"', '\\"')
        in_html = plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
        forms |= {in_json, in_json.replace("/", "\\/"), in_json.replace("\\", "\\\\").replace('"', '\\"')}
        forms.add(in_json.translate(_GO_JSON))
        forms |= {in_html, in_html.replace("'", "&#x27;"), in_html.replace("'", "&#39;")}
        forms.add(in_html.replace("&quot;", "&#34;").replace("'", "&#39;").replace("+", "&#43;"))
        forms.add(plain.rstrip("="))
        if not plain.isascii():
            forms.add(plain.encode("utf-8", "replace").decode("latin-1"))
        if len(plain) >= _SHORTEST:
            forms.add(binascii.b2a_base64(plain.encode("utf-8", "replace"), newline=False).decode().rstrip("="))
    return forms | {_ESCAPES.sub(lambda found: found[0].lower(), form) for form in forms}
