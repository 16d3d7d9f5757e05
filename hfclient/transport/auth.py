"""`Auth`: what a `Session` asks about its requests and their answers, in the shape of httpx's ``auth_flow``."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Protocol

from hfclient.transport.request import Request
from hfclient.transport.response import Response

if TYPE_CHECKING:
    from hfclient.transport.session import Session

__all__ = ["Auth", "AuthFlow"]

AuthFlow = Generator[Request, Response, None]


class Auth(Protocol):
    """An authentication hook: prepares credentials, sends again after renewing them, explains a refusal."""

    def auth_flow(self, request: Request, session: Session) -> AuthFlow:
        """Yield the request to send. Each ``yield`` returns the answer, a 2xx, or raises the `APIStatusError` instead.

        After an error the flow yields another request, or raises what the caller of `Session.send` gets. After an answer it
        returns. Any other error closes the generator.

        Args:
            request: The caller's request.
            session: The session that sends it. Questions of the hook's own go through ``session.with_auth(None)``.
        """
