"""Secrets that come back: a server that repeats the token it was sent, in a message, a page, a header or a log.

Every `hfclient.credentials.Secret` of this process is remembered here, the thousand that were used last, and masked in what others
sent wherever it becomes the text of an error or a line of a log (`hfclient.errors`, `hfclient.redaction.logs`): as it was sent,
percent-encoded, escaped for JSON or HTML, in base64 (alone or within more), and cut off. What a server sends as the content
of an answer is handed out as it is.

Nothing happens per event or per byte: the text of an error is looked through once, in time that depends on its own length and
not on how many secrets there are.
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
_MOST = 1000
_SHORTEST = 6  # characters; anything shorter would be found in the midst of ordinary text
_LONGEST_SAID = 8000  # characters of a message: a server may send a line of megabytes
_LOOKED_AT = 64 * 1024  # characters of a text in which secrets are looked for
_PROSE = 12  # characters; a shorter secret is masked where it stands alone, and a plain word is none
_RANDOM = 16  # characters
_RANDOM_LOOK = re.compile(r"[A-Za-z0-9]{12,}")  # the names of models and versions are of shorter pieces
_LONGEST_FORM = 8192  # characters of a secret that are compared
_PLAIN = re.compile(
    "accept(-[a-z]+)?|content-type|host|origin|range|referer|user-agent|openai-(organization|project)"
    "|(x-)?(request|correlation|trace|amzn-trace|amz-cf)-id|cf-ray"
)
"""Names of what says who asks, for what and from where: errors tell that."""
_TELLING = re.compile(r"auth|cookie|credential|key|pass|secret|session|signature|token", re.IGNORECASE)
_URL = re.compile(r"[a-z][a-z0-9+.-]*://(?:([^/?#]*)@)?", re.IGNORECASE)
_SCHEME = re.compile(r"([A-Za-z][\w.-]*)[ ]+(\S.*)", re.DOTALL)
_GO_JSON = {ord(ch): f"\\u{ord(ch):04x}" for ch in "&<>"}
_NET_JSON = {ord(ch): f"\\u{ord(ch):04X}" for ch in "\"&'+<>`"}
_MUSTACHE = {ord(ch): f"&#x{ord(ch):X};" for ch in "/=`"}
_ESCAPES = re.compile("%[0-9A-F]{2}")


class _Index:
    """The forms of secrets: by their first characters, in order, and all of them.

    Attributes:
        fresh: The secrets whose forms are not in it yet.
    """

    def __init__(self, fresh: dict[str, None]) -> None:
        self.fresh = fresh
        self.groups: dict[str, list[str]] = {}
        self._forms: set[str] = set()

    def add_fresh(self) -> None:
        for secret in list(self.fresh):
            for part in _parts(secret):
                for form in _forms(part):
                    if len(form) >= _SHORTEST and form not in self._forms:
                        insort(self.groups.setdefault(form[:_SHORTEST], []), form)
                        self._forms.add(form)
            self.fresh.pop(secret, None)

    def end_of_secret(self, text: str, start: int, group: list[str]) -> int | None:
        """Return where the secret that begins at *start* ends; None if none does.

        Of the forms in *group*, the two beside the text in order have the most in common with it. A form that is all there is
        as long as that, or shorter.
        """
        rest = text[start : start + _LONGEST_FORM]
        place = bisect_right(group, rest)
        longest = found = 0
        for form in group[max(place - 1, 0) : place + 1]:
            same = _alike(form, rest)
            longest = max(longest, same)
            if same >= (_PROSE if start + same == len(text) else max(_RANDOM, min(len(form), _LONGEST_FORM) // 2)):
                found = max(found, same)  # cut off
        for length in range(longest, max(found, _SHORTEST - 1), -1):
            if rest[:length] in self._forms and (length >= _PROSE or _is_alone(text, start, start + length)):
                return start + length
        return start + found if found else None


class _Memory:
    """The secrets, oldest first, and the index of their forms.

    A secret enters the index when the next error needs it, so that a process that meets new secrets all the time (a web
    server with a token for each user) pays for the new ones alone. One that is forgotten stays in the index until as many are.

    No lock: a fork or a signal handler may come at any moment, and each step on these is atomic and may be done twice.
    """

    def __init__(self) -> None:
        self._known: dict[str, None] = {}
        self._forgotten = 0
        self._index = _Index({})

    def add(self, secret: str) -> None:
        if secret in self._known:
            if len(self._known) > _MOST // 2:  # what is in use stays
                self._known.pop(secret, None)
                self._known[secret] = None
            return
        if len(secret) < _SHORTEST:
            return
        self._known[secret] = None
        self._index.fresh[secret] = None
        while len(self._known) > _MOST:
            for oldest in list(self._known)[:1]:  # not by an iterator: another thread may add one
                self._known.pop(oldest, None)
                self._index.fresh.pop(oldest, None)
                self._forgotten += 1

    def index(self) -> _Index:
        if self._forgotten >= _MOST:
            self._forgotten = 0
            self._index = _Index(dict(self._known))
            self._index.fresh.update(self._known)  # what another thread has added to the old one meanwhile
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
    """Mask the password of a URL, and those values of its query whose names or looks say that they are secret."""
    register_secret(url)
    for name, value in parse_qsl(url.partition("?")[2].partition("#")[0]):
        if may_be_secret(name, value):
            register_secret(value)


def may_be_secret(name: str, value: str) -> bool:
    """Tell whether a header, or a value of a query, is a secret rather than a word, by its name or by how random it looks.

    >>> may_be_secret("X-Api-Key", "abc"), may_be_secret("X-Tenant", "production"), may_be_secret("X-Id", "5f2b9c1d7e8a4b6c")
    (True, False, True)
    """
    if _TELLING.search(name):
        return True
    if _PLAIN.fullmatch(name.lower()):
        return False
    return any(not piece.isalpha() and not piece.isdigit() for piece in _RANDOM_LOOK.findall(value))


def sanitized(text: str) -> str:
    r"""Return what a server says as the text of an error: one line, secrets masked, control characters escaped.

    Of more than 8,000 characters the rest is left out.

    >>> sanitized("no:\n\x1b[2J")
    'no: \\x1b[2J'
    """
    if len(text) > _LONGEST_SAID:
        text = masked(text[: _LONGEST_SAID + _LOOKED_AT])[:_LONGEST_SAID] + "…"
        return one_line(text)
    return one_line(masked(text))


def masked(text: str) -> str:
    """Return *text* with stars in place of the secrets in it.

    The beginning of a secret is masked, too: 12 characters at the end of *text*; elsewhere half of it, and 16 characters. One of less than 12 characters is masked where no letter or digit
    touches it, one of less than 6 not at all, nor one that looks like a word, unless it is a password. Of a text of more than
    65,536 characters the rest stays as it is.
    """
    index = _memory.index()
    groups = index.groups
    if not groups:
        return text
    pieces: list[str] = []
    kept = place = 0
    last = min(len(text), _LOOKED_AT) - _SHORTEST
    while place <= last:
        end = None
        if (group := groups.get(text[place : place + _SHORTEST])) is not None:
            end = index.end_of_secret(text, place, group)
        if end is None:
            place += 1
        else:
            pieces += (text[kept:place], _MASK)
            kept = place = end
    return "".join(pieces) + text[kept:] if pieces else text


def _alike(one: str, other: str) -> int:
    """Return how many characters two texts have in common from their starts on."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def _is_alone(text: str, start: int, end: int) -> bool:
    return not (text[start - 1 : start].isalnum() or text[end : end + 1].isalnum())


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
        forms |= {in_json.translate(_GO_JSON), plain.replace("\\", "\\\\").translate(_NET_JSON)}
        forms |= {in_html, in_html.replace("'", "&#x27;"), in_html.replace("'", "&#39;")}
        forms.add(in_html.replace("'", "&#39;").translate(_MUSTACHE))
        forms.add(in_html.replace("&quot;", "&#34;").replace("'", "&#39;").replace("+", "&#43;"))
        forms.add(plain.rstrip("="))
        if not plain.isascii():
            forms.add(plain.encode("utf-8", "replace").decode("latin-1"))
        if len(plain) >= _SHORTEST:
            forms |= _in_base64(plain.encode("utf-8", "replace"))
    return forms | {_ESCAPES.sub(lambda found: found[0].lower(), form) for form in forms}


def _in_base64(secret: bytes) -> set[str]:
    """Return what base64 makes of *secret* wherever it stands in a longer text: each character holds six bits of three bytes."""
    forms = {binascii.b2a_base64(secret, newline=False).decode().rstrip("=")}
    for before in range(3):
        whole = binascii.b2a_base64(bytes(before) + secret, newline=False).decode()
        inner = whole[(0, 2, 3)[before] : (before + len(secret)) * 8 // 6]
        if len(inner) >= _PROSE:
            forms.add(inner)
    return forms | {form.replace("+", "-").replace("/", "_") for form in forms}
