"""The WSGI application: ``gunicorn --worker-class gthread --threads 32 config.wsgi``."""

import os

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
# Serves /static/ too, so that the example needs no other server. On a public site nginx or WhiteNoise does that.
application = StaticFilesHandler(get_wsgi_application())
