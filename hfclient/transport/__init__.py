"""The way to the network: a `Request` value in, a `Response` out.

`plain` (requests) and `impersonate` (curl_cffi) are the only modules that import an HTTP library; `session` is what
they share.
"""

from hfclient.transport.base import Request, Response, Transport
from hfclient.transport.cancellation import Cancellation
from hfclient.transport.deadline import Clock, Deadline, Timeouts
from hfclient.transport.limits import Limits
from hfclient.transport.multipart import Multipart, Part
from hfclient.transport.retry import Polling, Retry, retrying
from hfclient.transport.session import Session

__all__ = [
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
    "Session",
    "Timeouts",
    "Transport",
    "retrying",
]
