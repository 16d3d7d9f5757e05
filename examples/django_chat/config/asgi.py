"""The ASGI application: ``uvicorn --timeout-graceful-shutdown 10 config.asgi:application``."""

import os

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

from hfclient.web.django import get_relay

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = ASGIStaticFilesHandler(get_asgi_application())
get_relay().close_on_sigterm(5)  # a worker that ends hands its answers over to the others
