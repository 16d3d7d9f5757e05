"""Masking of secrets in received text: a server may repeat a token in a message, a page, a header or a log.

The 1,000 most recently used `hfclient.credentials.Secret` values of the process are registered here. They are masked in the
text of errors and in log lines (`hfclient.errors`, `hfclient.redaction.logs`): plain, percent-encoded, escaped for JSON or
HTML, in base64 (alone or within other data), and cut off. The content of answers is not changed.

There is no cost per event or byte: the text of an error is searched once, in time that depends on its length and not on the
number of secrets.
"""

from __future__ import annotations

import binascii
import re
from bisect import bisect_right, insort
from collections.abc import Iterator
from urllib.parse import parse_qsl, quote, quote_plus, unquote

from hfclient.redaction.control_characters import one_line

__all__ = ["masked", "may_be_secret", "register_secret", "register_url_secrets", "sanitized"]

_MASK = "***"
_MAX_SECRETS = 1000
_MIN_LENGTH = 6  # characters; shorter secrets would match parts of ordinary words
_MAX_MESSAGE = 8000  # characters; a server may send a line of megabytes
_MAX_SEARCHED = 64 * 1024  # characters of a text that are searched for secrets
_PROSE = 12  # characters; a shorter secret is masked only as a whole word, and a plain word is not a secret
_RANDOM = 16  # characters
_RANDOM_LOOK = re.compile(r"[A-Za-z0-9]{12,}")  # names of models and versions have shorter parts
_MAX_COMPARED = 8192  # characters of a secret
_PLAIN = re.compile(
    "accept(-[a-z]+)?|content-type|host|origin|range|referer|user-agent|openai-(organization|project)"
    "|(x-)?(request|correlation|trace|amzn-trace|amz-cf)-id|cf-ray"
)
"""Names of headers that are not secret, and that errors may show."""
_SECRET_NAME = re.compile(r"auth|cookie|credential|key|pass|secret|session|signature|token", re.IGNORECASE)
_URL = re.compile(r"[a-z][a-z0-9+.-]*://(?:([^/?#]*)@)?", re.IGNORECASE)
_SCHEME = re.compile(r"([A-Za-z][\w.-]*)[ ]+(\S.*)", re.DOTALL)
_GO_JSON = {ord(ch): f"\\u{ord(ch):04x}" for ch in "&<>"}
_NET_JSON = {ord(ch): f"\\u{ord(ch):04X}" for ch in "\"&'+<>`"}
_MUSTACHE = {ord(ch): f"&#x{ord(ch):X};" for ch in "/=`"}
_ESCAPES = re.compile("%[0-9A-F]{2}")


class _Index:
    """An index of all encodings of the secrets: a set, and sorted lists by their first characters.

    Attributes:
        fresh: Secrets that are not in the index yet.
    """

    def __init__(self, fresh: dict[str, None]) -> None:
        self.fresh = fresh
        self.groups: dict[str, list[str]] = {}
        self._forms: set[str] = set()

    def add_fresh(self) -> None:
        for secret in list(self.fresh):
            for part in _secret_parts(secret):
                for form in _encodings(part):
                    if len(form) >= _MIN_LENGTH and form not in self._forms:
                        insort(self.groups.setdefault(form[:_MIN_LENGTH], []), form)
                        self._forms.add(form)
            self.fresh.pop(secret, None)

    def end_of_secret(self, text: str, start: int, group: list[str]) -> int | None:
        """Return the end of the secret that begins at *start*; None if there is not one.

        The two neighbors of the text in the sorted *group* share the longest prefix with it. A form that is present in full
        is as long as that prefix, or shorter.
        """
        rest = text[start : start + _MAX_COMPARED]
        place = bisect_right(group, rest)
        longest = found = 0
        for form in group[max(place - 1, 0) : place + 1]:
            same = _common_prefix(form, rest)
            longest = max(longest, same)
            if same >= (_PROSE if start + same == len(text) else max(_RANDOM, min(len(form), _MAX_COMPARED) // 2)):
                found = max(found, same)  # cut off
        for length in range(longest, max(found, _MIN_LENGTH - 1), -1):
            if rest[:length] in self._forms and (length >= _PROSE or _is_whole_word(text, start, start + length)):
                return start + length
        return start + found if found else None


class _Memory:
    """The registered secrets, oldest first, and the index of their encodings.

    A secret is added to the index when the next error is made, so a process with many new secrets (a web server with a token
    for each user) pays only for the new ones. The index keeps dropped secrets until it is rebuilt, after 1,000 of them.

    There is no lock, because a fork or a signal handler may interrupt at any time: each step is atomic and may run twice.
    """

    def __init__(self) -> None:
        self._known: dict[str, None] = {}
        self._dropped = 0
        self._index = _Index({})

    def add(self, secret: str) -> None:
        if secret in self._known:
            if len(self._known) > _MAX_SECRETS // 2:  # makes it the most recent one
                self._known.pop(secret, None)
                self._known[secret] = None
            return
        if len(secret) < _MIN_LENGTH:
            return
        self._known[secret] = None
        self._index.fresh[secret] = None
        while len(self._known) > _MAX_SECRETS:
            for oldest in list(self._known)[:1]:  # a copy, because another thread may add a secret
                self._known.pop(oldest, None)
                self._index.fresh.pop(oldest, None)
                self._dropped += 1

    def index(self) -> _Index:
        if self._dropped >= _MAX_SECRETS:
            self._dropped = 0
            self._index = _Index(dict(self._known))
            self._index.fresh.update(self._known)  # includes secrets that another thread has added meanwhile
        index = self._index
        if index.fresh:
            index.add_fresh()
        return index


_memory = _Memory()


def register_secret(secret: str) -> None:
    """Mask *secret* from now on.

    Args:
        secret: A plain string: a token, a cookie's value, a password, the value of an Authorization or a Cookie header, or a
            URL with a password in it.
    """
    _memory.add(secret)


def register_url_secrets(url: str) -> None:
    """Mask the password of a URL, and the values of its query that look like secrets by name or content."""
    register_secret(url)
    for name, value in parse_qsl(url.partition("?")[2].partition("#")[0]):
        if may_be_secret(name, value):
            register_secret(value)


def may_be_secret(name: str, value: str) -> bool:
    """Return whether a header or a query value may be a secret, by its name or because it looks random.

    >>> may_be_secret("X-Api-Key", "abc"), may_be_secret("X-Tenant", "production"), may_be_secret("X-Id", "5f2b9c1d7e8a4b6c")
    (True, False, True)
    """
    if _SECRET_NAME.search(name):
        return True
    if _PLAIN.fullmatch(name.lower()):
        return False
    return any(not piece.isalpha() and not piece.isdigit() for piece in _RANDOM_LOOK.findall(value))


def sanitized(text: str) -> str:
    r"""Return received text for an error: one line, secrets masked, control characters escaped.

    Text after the first 8,000 characters is dropped.

    >>> sanitized("no:\n\x1b[2J")
    'no: \\x1b[2J'
    """
    if len(text) > _MAX_MESSAGE:
        text = masked(text[: _MAX_MESSAGE + _MAX_SEARCHED])[:_MAX_MESSAGE] + "…"
        return one_line(text)
    return one_line(masked(text))


def masked(text: str) -> str:
    """Return *text* with stars in place of secrets.

    The beginning of a secret is masked, too: at the end of *text* at least 12 characters of it; elsewhere at least half of it
    and 16 characters. A secret of less than 12 characters is masked only as a whole word; less than 6 characters and plain
    words are not masked, unless they are passwords. Only the first 65,536 characters are searched.
    """
    index = _memory.index()
    groups = index.groups
    if not groups:
        return text
    pieces: list[str] = []
    kept = place = 0
    last = min(len(text), _MAX_SEARCHED) - _MIN_LENGTH
    while place <= last:
        end = None
        if (group := groups.get(text[place : place + _MIN_LENGTH])) is not None:
            end = index.end_of_secret(text, place, group)
        if end is None:
            place += 1
        else:
            pieces += (text[kept:place], _MASK)
            kept = place = end
    return "".join(pieces) + text[kept:] if pieces else text


def _common_prefix(one: str, other: str) -> int:
    """Return the length of the common prefix of two texts."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def _is_whole_word(text: str, start: int, end: int) -> bool:
    return not (text[start - 1 : start].isalnum() or text[end : end + 1].isalnum())


def _secret_parts(secret: str) -> Iterator[str]:
    """Yield the secret parts of a header's value, a URL or a plain secret."""
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
    """Whether *text* is an ordinary word ("expired") or a row of the same characters."""
    return (text.isalpha() and len(text) < _PROSE) or len(set(text)) < 3


def _password_in(encoded: str) -> Iterator[str]:
    try:
        pair = binascii.a2b_base64(encoded).decode("utf-8", "replace")
    except ValueError:
        return
    yield pair.partition(":")[2]


def _encodings(part: str) -> set[str]:
    """Return all encodings of a secret that servers use."""
    forms = {part, unquote(part)}
    for plain in tuple(forms):
        forms |= {quote(plain, safe=""), quote(plain), quote_plus(plain), quote(quote(plain, safe=""), safe="")}
        in_json = plain.replace("\\", "\\\\").replace('"', '\\"')
        in_html = plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
        forms |= {in_json, in_json.replace("/", "\\/"), in_json.replace("\\", "\\\\").replace('"', '\\"')}
        forms |= {in_json.translate(_GO_JSON), plain.replace("\\", "\\\\").translate(_NET_JSON)}
        forms |= {in_html, in_html.replace("'", "&#x27;"), in_html.replace("'", "&#39;")}
        forms.add(in_html.replace("'", "&#39;").translate(_MUSTACHE))
        forms.add(in_html.replace("&quot;", "&#34;").replace("'", "&#39;").replace("+", "&#43;"))
        forms.add(plain.rstrip("="))
        if not plain.isascii():
            forms.add(plain.encode("utf-8", "replace").decode("latin-1"))
        if len(plain) >= _MIN_LENGTH:
            forms |= _base64_forms(plain.encode("utf-8", "replace"))
    return forms | {_ESCAPES.sub(lambda found: found[0].lower(), form) for form in forms}


def _base64_forms(secret: bytes) -> set[str]:
    """Return the base64 of *secret* alone and at each of the three alignments within longer data."""
    forms = {binascii.b2a_base64(secret, newline=False).decode().rstrip("=")}
    for before in range(3):
        whole = binascii.b2a_base64(bytes(before) + secret, newline=False).decode()
        inner = whole[(0, 2, 3)[before] : (before + len(secret)) * 8 // 6]
        if len(inner) >= _PROSE:
            forms.add(inner)
    return forms | {form.replace("+", "-").replace("/", "_") for form in forms}
