"""Options of gunicorn, which reads this file in its working directory."""

import os

workers = 2 if "REDIS_URL" in os.environ else 1  # without Redis, runs are in the memory of one process
worker_class, threads = "gthread", 32
graceful_timeout = 10


def post_worker_init(worker):
    """Hand the answers over to the other workers when this one ends."""
    from hfclient.web.django import get_relay

    get_relay().close_on_sigterm(5)
