"""HTTP: a `Request` value in, a `Response` out.

`requests_transport` (the default) and `curl_transport` (curl_cffi, for ``impersonate``) are the two transports, and with their
own modules the only importers of an HTTP library; `session` has what both share.
"""

import hfclient.redaction.logs  # noqa: F401 (installs the filter of the loggers)
from hfclient.transport.base import Transport
from hfclient.transport.cancellation import Cancellation
from hfclient.transport.deadline import Clock, Deadline, Timeouts
from hfclient.transport.limits import Limits
from hfclient.transport.multipart import Multipart, Part
from hfclient.transport.request import Request
from hfclient.transport.response import Response
from hfclient.transport.retry import ONCE, Polling, Retry, Schedule, retrying
from hfclient.transport.selection import transport_for
from hfclient.transport.session import Session

__all__ = [
    "ONCE",
    "Cancellation",
    "Clock",
    "Deadline",
    "Limits",
    "Multipart",
    "Part",
    "Polling",
    "Request",
    "Response",
    "Retry",
    "Schedule",
    "Session",
    "Timeouts",
    "Transport",
    "retrying",
    "transport_for",
]
