"""The Celery worker of the example: it generates the answers. See web.py."""

import contextlib
import json
import os

import redis
from celery import Celery

from hfclient import Client, Conversation, Reply
from hfclient.web import RedisStore, Relay, Run
from hfclient.web.errors import RunBusy

REDIS = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
LEASE = float(os.environ.get("LEASE", "15"))

celery = Celery("tasks", broker=REDIS)
# A task that a killed worker has begun is delivered again; `relay.run` refuses it, or returns at once.
celery.conf.update(task_acks_late=True, task_reject_on_worker_lost=True, task_ignore_result=True, broker_connection_retry_on_startup=True)
client = Client()  # HFCLIENT_BASE_URL, HF_TOKEN; made before the fork, so each worker has connections of its own
database = redis.Redis.from_url(REDIS)


def save(run: Run, reply: Reply, error: BaseException | None) -> None:
    """Keep the conversation for the next prompt of the thread."""
    if run.chat:
        database.set(f"thread:{run.key}", json.dumps(run.chat["conversation"]), ex=86_400)


relay = Relay(RedisStore(REDIS), lease=LEASE, recover=client, on_end=save)


def conversation(thread: str) -> Conversation:
    """The conversation of a thread."""
    known = database.get(f"thread:{thread}")
    return client.restore(json.loads(known)) if known else client.conversation()


@celery.task
def answer(run_id: str, thread: str, prompt: str) -> None:
    """Generate the answer to *prompt* as the run that the web worker has announced."""
    with contextlib.suppress(RunBusy):  # delivered twice
        relay.run(run_id, lambda: conversation(thread).send(prompt))
