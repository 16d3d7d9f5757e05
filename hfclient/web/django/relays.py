"""`DjangoRelay`: a relay whose threads do not keep connections to the database."""

from __future__ import annotations

from typing import Any

from hfclient.web.admission import Watched
from hfclient.web.django.connections import without_connections
from hfclient.web.relay import Relay
from hfclient.web.relay.runs import Run
from hfclient.web.source import Opener

__all__ = ["DjangoRelay"]

class DjangoRelay(Relay):
    """A relay for Django: the application's functions may use models.

    Django closes the connections of a thread at the end of a request. A run has a thread of its own and no request, so they are closed after
    each call of the application's functions: a run holds no connection while its answer is generated.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        for name in ("recover", "on_end"):
            if callable(options.get(name)):
                options[name] = without_connections(options[name])
        super().__init__(*args, **options)

    def start(self, key: object, open: Opener, **options: Any) -> Run:
        """Start an answer as `Relay.start` does.

        In a transaction the run may begin before the view has committed, and then it does not see what the view has saved: call this in
        ``transaction.on_commit``, or make the view non-atomic.
        """
        for name in ("on_end", "state"):
            if callable(options.get(name)):
                options[name] = without_connections(options[name])
        watched = open if isinstance(open, Watched) else None
        if watched is not None:
            watched.admit()  # here, so that a refusal is the response of the view
        try:
            return super().start(key, without_connections(open) if callable(open) else open, **options)
        except BaseException:
            if watched is not None:
                watched.close()
            raise
