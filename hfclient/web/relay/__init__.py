"""Answers that outlive the request that asked for them: runs, their followers and their stores."""

from hfclient.web.relay.access import Allowed
from hfclient.web.relay.follower import Follower
from hfclient.web.relay.generation import OnEnd
from hfclient.web.relay.memory import MemoryStore
from hfclient.web.relay.recovery import Recover
from hfclient.web.relay.relay import Relay
from hfclient.web.relay.runs import Run
from hfclient.web.relay.store import Batch, Bounds, Record, Store, Watch, Write

__all__ = [
    "Allowed",
    "Batch",
    "Bounds",
    "Follower",
    "MemoryStore",
    "OnEnd",
    "Record",
    "Recover",
    "Relay",
    "Run",
    "Store",
    "Watch",
    "Write",
]
